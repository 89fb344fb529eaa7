/* fuzz_http1: a stream of requests, one behind the other, in any pieces.
 *
 * Targets: http1_feed, http1_refuse, httpd_query.
 *
 * The first byte is the size of the pieces, the second how much a body may
 * have (times 16).
 *
 * Asserted: pieces do not matter; a request ends at one byte and no earlier or
 * later, so that two readers cannot see two ends; its body is within bounds,
 * and what is kept of it is no more than came; what was read, written again
 * with a length and without chunks, is read as the same. */
#include <string.h>

#include "common/net/httpd.h"
#include "fuzz/must.h"

#define REQUESTS 16

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Feeds it in pieces; `*used` are the bytes that it took. */
static enum http1_step
feed(struct http1 *p, struct bytes in, size_t step, size_t max, size_t *used)
{
	enum http1_step got = HTTP1_MORE;
	size_t at = 0;
	bool head = false;

	http1_init(p, max);
	while (got == HTTP1_MORE && at < in.len) {
		struct bytes piece = { in.p + at,
			in.len - at < step ? in.len - at : step };
		size_t whole = piece.len;

		while ((got = http1_feed(p, &piece)) == HTTP1_HEAD) {
			must(!head); /* once */
			head = true;
			must(p->body_max <= max && p->method[0] != '\0');
		}
		must(piece.len <= whole && piece.p >= in.p);
		must(got != HTTP1_MORE || piece.len == 0);
		at += whole - piece.len;
	}
	must(got != HTTP1_WHOLE || head);
	must(p->body.len <= max && p->body.len <= at);
	must(p->head.len <= at + 1 && p->head.len <= HTTP1_HEAD_MAX + 1);
	if (got == HTTP1_REFUSED)
		must(p->status >= 400 && p->status < 600 &&
		    http1_reason(p->status)[0] != '\0' && p->why[0] != '\0');
	*used = at;
	return got;
}

static void
same(const struct http1 *a, const struct http1 *b)
{
	must(strcmp(a->method, b->method) == 0);
	must(strcmp(a->path, b->path) == 0);
	must(strcmp(a->content_type, b->content_type) == 0);
	must(a->n_query == b->n_query && a->n_query <= HTTP1_QUERY_MAX);
	for (size_t i = 0; i < a->n_query; i++)
		must(strcmp(a->query[i].name, b->query[i].name) == 0 &&
		    strcmp(a->query[i].value, b->query[i].value) == 0);
	must(a->body.len == b->body.len &&
	    (a->body.len == 0 ||
		memcmp(a->body.p, b->body.p, a->body.len) == 0));
}

/* Every byte but letters and digits as %XX. */
static void
put_encoded(struct buf *b, const char *s)
{
	for (; *s != '\0'; s++)
		must(buf_printf(b, "%%%02X", (unsigned char)*s) == ERR_OK);
}

static void
write_again(const struct http1 *p, size_t max)
{
	struct buf b = { 0 };
	struct http1 again;
	size_t used;

	must(buf_printf(&b, "%s /", p->method) == ERR_OK);
	put_encoded(&b, p->path + 1);
	for (size_t i = 0; i < p->n_query; i++) {
		must(buf_printf(&b, i == 0 ? "?" : "&") == ERR_OK);
		put_encoded(&b, p->query[i].name);
		must(buf_printf(&b, "=") == ERR_OK);
		put_encoded(&b, p->query[i].value);
	}
	must(buf_printf(&b, " HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\n",
		 p->body.len) == ERR_OK);
	if (p->content_type[0] != '\0')
		must(buf_printf(&b, "Content-Type: %s\r\n", p->content_type) ==
		    ERR_OK);
	must(buf_printf(&b, "\r\n") == ERR_OK);
	if (b.len < HTTP1_HEAD_MAX / 2) {
		must(
		    buf_append(&b, p->body.p, p->body.len, SIZE_MAX) == ERR_OK);
		must(feed(&again, buf_view(&b), b.len, max, &used) ==
		    HTTP1_WHOLE);
		must(used == b.len);
		same(p, &again);
		http1_fini(&again);
	}
	buf_fini(&b);
}

static void
look_up(const struct http1 *p)
{
	struct httpd_request rq;

	httpd_request_of(&rq, p);
	must(httpd_query(&rq, "\x01") == NULL || p->n_query > 0);
	for (size_t i = 0; i < p->n_query; i++)
		must(httpd_query(&rq, p->query[i].name) != NULL);
}

/* True: there is a next one. */
static bool
one(struct bytes *in, size_t step, size_t max)
{
	struct http1 whole, pieces, cut;
	size_t used, used2;
	enum http1_step a = feed(&whole, *in, in->len, max, &used),
			b = feed(&pieces, *in, step, max, &used2);

	must(a == b);
	if (a == HTTP1_REFUSED)
		must(whole.status == pieces.status);
	if (a == HTTP1_WHOLE) {
		must(used == used2);
		same(&whole, &pieces);
		look_up(&whole);
		write_again(&whole, max);
		/* All of it is needed. */
		must(feed(&cut, (struct bytes){ in->p, used - 1 }, used, max,
			 &used2) == HTTP1_MORE);
		http1_fini(&cut);
		in->p += used;
		in->len -= used;
	}
	http1_fini(&whole);
	http1_fini(&pieces);
	return a == HTTP1_WHOLE && in->len > 0;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes in = { data + 2, size - 2 };

	if (size < 3)
		return 0;
	for (unsigned i = 0; i < REQUESTS; i++)
		if (!one(&in, data[0] % 32 + 1u, data[1] * 16u))
			break;
	return 0;
}
