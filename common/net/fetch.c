/* fetch: HTTP requests over libcurl's multi interface.
 *
 * One multi handle per call, driven on the caller's thread, so nothing is
 * shared between threads. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <curl/curl.h>

#include "common/base/memfail.h"
#include "common/net/fetch.h"

/* Issuer chains come in headers: two certificates, percent-encoded, are
 * about 6 KiB. */
#define HEADERS_MAX (64u * 1024)
#define POLL_MS 1000

struct transfer {
	CURL *easy; /* owns */
	struct curl_slist *headers; /* owns */
	struct fetch_reply *reply; /* borrows */
	size_t max_reply;
	bool added;
	bool over; /* a limit was hit */
	bool nomem;
};

static size_t
take(struct transfer *t, struct buf *b, const char *p, size_t n, size_t max)
{
	enum err e = buf_append(b, p, n, max);

	t->over |= e == ERR_LIMIT;
	t->nomem |= e == ERR_NOMEM;
	return e == ERR_OK ? n : 0; /* fewer makes curl stop */
}

static size_t
on_body(char *p, size_t size, size_t n, void *cookie)
{
	struct transfer *t = cookie;

	return take(t, &t->reply->body, p, size * n, t->max_reply);
}

static size_t
on_header(char *p, size_t size, size_t n, void *cookie)
{
	struct transfer *t = cookie;

	return take(t, &t->reply->headers, p, size * n, HEADERS_MAX);
}

static void
global_init(void)
{
	(void)curl_global_init_mem(CURL_GLOBAL_DEFAULT, memfail_malloc, free,
	    memfail_realloc, memfail_strdup, memfail_calloc);
}

#define SET(opt, v) \
	do { \
		CURLcode rc_ = curl_easy_setopt(t->easy, (opt), (v)); \
\
		if (rc_ != CURLE_OK) \
			return rc_ == CURLE_OUT_OF_MEMORY ? ERR_NOMEM \
							  : ERR_CONFIG; \
	} while (0)

static enum err
set_post(struct transfer *t, const struct fetch_request *rq)
{
	char line[128] = "Content-Type: ";
	size_t n = rq->content_type == NULL ? 0 : strlen(rq->content_type);
	struct curl_slist *more;

	if (n >= sizeof line - strlen(line))
		return ERR_CONFIG;
	if (n > 0)
		memcpy(line + strlen(line), rq->content_type, n + 1);
	/* "Content-Type:" alone removes curl's own; so does "Expect:". */
	t->headers = curl_slist_append(NULL, n > 0 ? line : "Content-Type:");
	if (t->headers == NULL)
		return ERR_NOMEM;
	if ((more = curl_slist_append(t->headers, "Expect:")) == NULL)
		return ERR_NOMEM;
	t->headers = more;
	SET(CURLOPT_POST, 1L);
	SET(CURLOPT_POSTFIELDS, (const char *)rq->post.p);
	SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)rq->post.len);
	SET(CURLOPT_HTTPHEADER, t->headers);
	return ERR_OK;
}

static enum err
set_up(struct transfer *t, const struct fetch_request *rq)
{
	if ((t->easy = curl_easy_init()) == NULL)
		return ERR_NOMEM;
	SET(CURLOPT_PRIVATE, (void *)t);
	SET(CURLOPT_URL, rq->url);
	SET(CURLOPT_PROTOCOLS_STR, "http,https");
	SET(CURLOPT_FOLLOWLOCATION, 0L);
	SET(CURLOPT_PROXY, "");
	if (rq->unix_socket != NULL)
		SET(CURLOPT_UNIX_SOCKET_PATH, rq->unix_socket);
	SET(CURLOPT_NOSIGNAL, 1L);
	SET(CURLOPT_TIMEOUT_MS, (long)rq->timeout_ms);
	SET(CURLOPT_CONNECTTIMEOUT_MS, (long)rq->timeout_ms);
	SET(CURLOPT_WRITEFUNCTION, on_body);
	SET(CURLOPT_WRITEDATA, (void *)t);
	SET(CURLOPT_HEADERFUNCTION, on_header);
	SET(CURLOPT_HEADERDATA, (void *)t);
	if (rq->insecure_tls) {
		SET(CURLOPT_SSL_VERIFYPEER, 0L);
		SET(CURLOPT_SSL_VERIFYHOST, 0L);
	}
	return rq->post.p == NULL ? ERR_OK : set_post(t, rq);
}

static enum err
outcome(const struct transfer *t, CURLcode rc)
{
	long status = 0;

	if (t->over)
		return ERR_LIMIT;
	if (t->nomem || rc == CURLE_OUT_OF_MEMORY)
		return ERR_NOMEM;
	if (rc == CURLE_OPERATION_TIMEDOUT)
		return ERR_TIMEOUT;
	if (rc == CURLE_URL_MALFORMAT || rc == CURLE_UNSUPPORTED_PROTOCOL)
		return ERR_CONFIG;
	if (rc != CURLE_OK)
		return ERR_IO;
	if (curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status) !=
		CURLE_OK ||
	    status == 0)
		return ERR_IO;
	t->reply->status = status;
	return ERR_OK;
}

/* What a failed call of the multi handle means for those under way: not that
 * their servers are silent. */
static enum err
stopped(CURLMcode rc)
{
	return rc == CURLM_OUT_OF_MEMORY ? ERR_NOMEM : ERR_IO;
}

/* Runs them to their end, or to a failure of ours. */
static enum err
drive(CURLM *multi)
{
	int running = 1;
	CURLMcode rc;

	while (running > 0) {
		if ((rc = curl_multi_perform(multi, &running)) != CURLM_OK ||
		    (running > 0 &&
			(rc = curl_multi_poll(multi, NULL, 0, POLL_MS, NULL)) !=
			    CURLM_OK))
			return stopped(rc);
	}
	return ERR_OK;
}

static void
collect(CURLM *multi)
{
	struct CURLMsg *m;
	int left;

	while ((m = curl_multi_info_read(multi, &left)) != NULL) {
		struct transfer *t = NULL;

		if (m->msg != CURLMSG_DONE)
			continue;
		(void)curl_easy_getinfo(
		    m->easy_handle, CURLINFO_PRIVATE, (char **)&t);
		t->reply->err = outcome(t, m->data.result);
	}
}

void
fetch_all(struct fetch_reply *reply, const struct fetch_request *rq, size_t n)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	struct transfer *t = NULL;
	CURLM *multi = NULL;
	uint64_t before;
	enum err e;

	(void)pthread_once(&once, global_init);
	for (size_t i = 0; i < n; i++)
		reply[i] = (struct fetch_reply){ .err = ERR_IO };
	before = memfail_count();
	t = calloc(n + 1, sizeof *t);
	multi = curl_multi_init();
	if (t == NULL || multi == NULL) {
		for (size_t i = 0; i < n; i++)
			reply[i].err = ERR_NOMEM;
		goto done;
	}
	for (size_t i = 0; i < n; i++) {
		CURLMcode rc;

		t[i].reply = &reply[i];
		t[i].max_reply = rq[i].max_reply;
		reply[i].err = set_up(&t[i], &rq[i]);
		if (reply[i].err != ERR_OK)
			continue;
		rc = curl_multi_add_handle(multi, t[i].easy);
		if (rc != CURLM_OK)
			reply[i].err = stopped(rc);
		t[i].added = rc == CURLM_OK;
	}
	e = drive(multi);
	/* Until it is collected. */
	for (size_t i = 0; i < n; i++)
		if (t[i].added)
			reply[i].err = e != ERR_OK ? e : ERR_TIMEOUT;
	collect(multi);
	/* Where libcurl finds no memory it says this and that: no server is
	 * silent for it. */
	for (size_t i = 0; i < n; i++)
		reply[i].err = memfail_err(before, reply[i].err);
done:
	for (size_t i = 0; t != NULL && i < n; i++) {
		if (t[i].added)
			(void)curl_multi_remove_handle(multi, t[i].easy);
		curl_easy_cleanup(t[i].easy);
		curl_slist_free_all(t[i].headers);
	}
	if (multi != NULL)
		(void)curl_multi_cleanup(multi);
	free(t);
}

/* ---- headers ---- */

static int
digit(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
		return (c | 0x20) - 'a' + 10;
	return -1;
}

/* In place; a '%' without two digits is ERR_MALFORMED. */
static enum err
percent_decode(struct buf *b)
{
	size_t w = 0;

	for (size_t i = 0; i < b->len; i++) {
		int hi, lo;

		if (b->p[i] != '%') {
			b->p[w++] = b->p[i];
			continue;
		}
		if (b->len - i < 3 || (hi = digit(b->p[i + 1])) < 0 ||
		    (lo = digit(b->p[i + 2])) < 0)
			return ERR_MALFORMED;
		b->p[w++] = (uint8_t)(hi << 4 | lo);
		i += 2;
	}
	b->len = w;
	b->p[w] = 0;
	return ERR_OK;
}

static bool
is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

enum err
fetch_header(
    struct buf *out, const struct fetch_reply *r, const char *name, bool decode)
{
	const char *p = (const char *)r->headers.p;
	const char *end = p == NULL ? NULL : p + r->headers.len;
	size_t name_len = strlen(name);
	struct buf v = { 0 };
	enum err e;

	while (p != NULL && p < end) {
		const char *nl = memchr(p, '\n', (size_t)(end - p));
		const char *stop = nl == NULL ? end : nl;
		const char *next = nl == NULL ? end : nl + 1;

		if ((size_t)(stop - p) <= name_len || p[name_len] != ':' ||
		    strncasecmp(p, name, name_len) != 0) {
			p = next;
			continue;
		}
		p += name_len + 1;
		while (p < stop && is_space(*p))
			p++;
		while (stop > p && is_space(stop[-1]))
			stop--;
		e = buf_set(&v, p, (size_t)(stop - p));
		if (e == ERR_OK && decode)
			e = percent_decode(&v);
		if (e != ERR_OK) {
			buf_fini(&v);
			return e;
		}
		buf_fini(out);
		*out = v;
		return ERR_OK;
	}
	return ERR_NOTFOUND;
}

void
fetch_reply_fini(struct fetch_reply *r)
{
	buf_fini(&r->body);
	buf_fini(&r->headers);
}
