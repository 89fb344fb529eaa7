#include <assert.h>
#include <string.h>
#include <strings.h>

#include "common/base/planted.h"
#include "common/net/http1.h"

#define METHOD_MAX 16u
#define CHUNK_DIGITS 8u /* 4 GiB; the body's own limit is below */
/* What frames one chunk, and the trailer: nobody here reads them. */
#define CHUNK_EXTRA_MAX 4096u

enum state {
	IN_HEAD,
	AFTER_HEAD,
	IN_BODY,
	IN_CHUNK_SIZE,
	IN_CHUNK_EXT,
	IN_CHUNK,
	AFTER_CHUNK,
	IN_TRAILER,
	OVER,
};

void
http1_init(struct http1 *p, size_t max_body)
{
	*p = (struct http1){ .max_body = max_body };
}

void
http1_fini(struct http1 *p)
{
	buf_wipe(&p->head);
	buf_wipe(&p->body);
}

bool
http1_begun(const struct http1 *p)
{
	return p->head.len > 0;
}

enum http1_step
http1_refuse(struct http1 *p, unsigned status, const char *why)
{
	p->state = OVER;
	p->status = status;
	p->why = why;
	return HTTP1_REFUSED;
}

const char *
http1_reason(unsigned status)
{
	static const struct {
		unsigned status;
		const char *text;
	} all[] = {
		{ 200, "OK" },
		{ 204, "No Content" },
		{ 400, "Bad Request" },
		{ 401, "Unauthorized" },
		{ 403, "Forbidden" },
		{ 404, "Not Found" },
		{ 405, "Method Not Allowed" },
		{ 408, "Request Timeout" },
		{ 409, "Conflict" },
		{ 411, "Length Required" },
		{ 413, "Content Too Large" },
		{ 414, "URI Too Long" },
		{ 417, "Expectation Failed" },
		{ 429, "Too Many Requests" },
		{ 431, "Request Header Fields Too Large" },
		{ 500, "Internal Server Error" },
		{ 501, "Not Implemented" },
		{ 502, "Bad Gateway" },
		{ 503, "Service Unavailable" },
		{ 504, "Gateway Timeout" },
		{ 505, "HTTP Version Not Supported" },
	};

	for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
		if (all[i].status == status)
			return all[i].text;
	return "";
}

/* ---- the head ---- */

/* RFC 9110 5.6.2. */
static bool
is_token(const char *s, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		char c = s[i];

		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
			(c >= '0' && c <= '9') ||
			(c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL)))
			return false;
	}
	return len > 0;
}

/* No control characters; those above ASCII are somebody's text. */
static bool
is_text(const char *s, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (((unsigned char)s[i] < 0x20 && s[i] != '\t') ||
		    s[i] == 0x7f)
			return false;
	return true;
}

static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* In place; false for a bad escape, and for a NUL: behind it two readers of
 * the text would see different things. */
static bool
decode(char *s, bool plus)
{
	char *out = s;

	for (; *s != '\0'; s++, out++) {
		*out = plus && *s == '+' ? ' ' : *s;
		if (*s != '%')
			continue;
		/* A NUL is no digit: nothing is read beyond the end. */
		if (hex_digit(s[1]) < 0 || hex_digit(s[2]) < 0)
			return false;
		*out = (char)(hex_digit(s[1]) * 16 + hex_digit(s[2]));
		if (*out == '\0')
			return false;
		s += 2;
	}
	*out = '\0';
	return true;
}

static enum http1_step
read_query(struct http1 *p, char *s)
{
	char *next, *value;

	for (; s != NULL; s = next) {
		if ((next = strchr(s, '&')) != NULL)
			*next++ = '\0';
		if (*s == '\0') {
			if (PLANTED(8))
				next = s;
			continue;
		}
		if (p->n_query == HTTP1_QUERY_MAX)
			return http1_refuse(p, 414, "too many parameters");
		if ((value = strchr(s, '=')) != NULL)
			*value++ = '\0';
		if (!decode(s, true) || (value != NULL && !decode(value, true)))
			return http1_refuse(p, 400, "bad query");
		p->query[p->n_query++] =
		    (struct http1_pair){ s, value != NULL ? value : "" };
	}
	return HTTP1_MORE;
}

/* "/a?b", or "http://host/a?b" as proxies are asked. */
static enum http1_step
read_target(struct http1 *p, char *s)
{
	char *query;

	if (strncasecmp(s, "http://", 7) == 0) {
		s += 7;
		s += strcspn(s, "/?");
		if (*s != '/')
			return http1_refuse(p, 400, "bad target");
	}
	if (*s != '/' || strchr(s, '#') != NULL)
		return http1_refuse(p, 400, "bad target");
	if ((query = strchr(s, '?')) != NULL)
		*query++ = '\0';
	if (!decode(s, false))
		return http1_refuse(p, 400, "bad path");
	p->path = s;
	return read_query(p, query);
}

/* "GET /a HTTP/1.1" */
static enum http1_step
read_request_line(struct http1 *p, char *line)
{
	char *target = strchr(line, ' '), *version;

	if (target == NULL)
		return http1_refuse(p, 400, "bad request line");
	*target++ = '\0';
	version = strchr(target, ' ');
	if (version == NULL || !is_token(line, strlen(line)) ||
	    strlen(line) > METHOD_MAX)
		return http1_refuse(p, 400, "bad request line");
	*version++ = '\0';
	if (strncmp(version, "HTTP/", 5) != 0 || strlen(version) != 8 ||
	    version[5] < '0' || version[5] > '9' || version[6] != '.' ||
	    version[7] < '0' || version[7] > '9')
		return http1_refuse(p, 400, "bad request line");
	if (version[5] != '1')
		return http1_refuse(p, 505, "HTTP/1.1 is spoken here");
	p->method = line;
	return read_target(p, target);
}

static enum http1_step
read_length(struct http1 *p, const char *v)
{
	size_t n = 0;

	if (p->has_length)
		return http1_refuse(p, 400, "two lengths");
	if (v[0] == '\0' || v[strspn(v, "0123456789")] != '\0')
		return http1_refuse(p, 400, "bad Content-Length");
	for (; *v != '\0'; v++) {
		if (n > (SIZE_MAX - 9) / 10)
			return http1_refuse(p, 413, "body too large");
		n = n * 10 + (size_t)(*v - '0');
	}
	p->has_length = true;
	p->left = n;
	return HTTP1_MORE;
}

static enum http1_step
read_field(struct http1 *p, char *line)
{
	char *colon = strchr(line, ':'), *v, *end;

	if (colon == NULL || !is_token(line, (size_t)(colon - line)))
		return http1_refuse(p, 400, "bad header");
	*colon = '\0';
	v = colon + 1;
	v += strspn(v, " \t");
	for (end = v + strlen(v); end > v && strchr(" \t", end[-1]) != NULL;)
		*--end = '\0';
	if (strcasecmp(line, "Content-Length") == 0)
		return read_length(p, v);
	if (strcasecmp(line, "Transfer-Encoding") == 0) {
		if (p->chunked || strcasecmp(v, "chunked") != 0)
			return http1_refuse(p, 501, "only chunked is known");
		p->chunked = true;
	} else if (strcasecmp(line, "Expect") == 0) {
		if (strcasecmp(v, "100-continue") != 0)
			return http1_refuse(p, 417, "bad Expect");
		p->expect_continue = true;
	} else if (strcasecmp(line, "Content-Type") == 0) {
		/* dstack's Rust SDK says it twice, but the same. */
		if (p->content_type[0] != '\0' &&
		    strcasecmp(p->content_type, v) != 0)
			return http1_refuse(p, 400, "two content types");
		p->content_type = v;
	}
	return HTTP1_MORE;
}

/* The head is whole: every line in it ends in LF, the last one is empty. */
static enum http1_step
read_head(struct http1 *p)
{
	char *s = (char *)p->head.p, *end = s + p->head.len, *lf;
	enum http1_step step = HTTP1_MORE;

	p->content_type = "";
	for (unsigned n = 0; step == HTTP1_MORE && s < end; n++, s = lf + 1) {
		size_t len;

		lf = memchr(s, '\n', (size_t)(end - s));
		assert(lf != NULL);
		len = (size_t)(lf - s);
		if (len > 0 && s[len - 1] == '\r')
			len--;
		s[len] = '\0';
		if (len == 0)
			break;
		if (!is_text(s, len))
			return http1_refuse(p, 400, "bad character");
		if (n > HTTP1_FIELDS_MAX)
			return http1_refuse(p, 431, "too many headers");
		step = n == 0 ? read_request_line(p, s) : read_field(p, s);
	}
	if (step == HTTP1_REFUSED)
		return step;
	if (p->chunked && p->has_length)
		return http1_refuse(p, 400, "two lengths");
	if (p->left > p->max_body)
		return http1_refuse(p, 413, "body too large");
	p->body_max = p->chunked ? p->max_body : p->left;
	p->state = AFTER_HEAD;
	return HTTP1_HEAD;
}

/* Up to the empty line; what is behind it stays in `*in`. */
static enum http1_step
feed_head(struct http1 *p, struct bytes *in)
{
	size_t n = 0;
	bool whole = false;
	enum err e;

	/* Empty lines before a request are skipped (RFC 9112 2.2). */
	while (p->head.len == 0 && in->len > 0 &&
	    (in->p[0] == '\r' || in->p[0] == '\n')) {
		in->p++;
		in->len--;
	}
	if (p->head.len == 0 && in->len > 0 &&
	    !is_token((const char *)in->p, 1))
		return http1_refuse(p, 400, "this is not HTTP");
	while (n < in->len && !whole) {
		uint8_t c = in->p[n++];

		if (c == '\n') {
			whole = p->line == 0;
			p->line = 0;
		} else if (c != '\r') {
			p->line++;
		}
	}
	e = buf_append(&p->head, in->p, n, HTTP1_HEAD_MAX);
	if (e == ERR_LIMIT) {
		/* No line end yet: it is the request line that is too long. */
		if (memchr(in->p, '\n', n) == NULL &&
		    (p->head.len == 0 ||
			memchr(p->head.p, '\n', p->head.len) == NULL))
			return http1_refuse(p, 414, "request line too long");
		return http1_refuse(p, 431, "headers too large");
	}
	if (e != ERR_OK)
		return http1_refuse(p, 503, "out of memory");
	in->p += n;
	in->len -= n;
	return whole ? read_head(p) : HTTP1_MORE;
}

/* ---- the body ---- */

/* As much as there is of the `left` bytes. */
static enum http1_step
take(struct http1 *p, struct bytes *in)
{
	size_t n = in->len < p->left ? in->len : p->left;
	enum err e = buf_append(&p->body, in->p, n, p->body_max);

	if (e == ERR_LIMIT)
		return http1_refuse(p, 413, "body too large");
	if (e != ERR_OK)
		return http1_refuse(p, 503, "out of memory");
	in->p += n;
	in->len -= n;
	p->left -= n;
	return HTTP1_MORE;
}

/* One character of a chunk's frame: its size, extension, end, or of the
 * trailer. */
static enum http1_step
frame_char(struct http1 *p, char c)
{
	int d;

	if (++p->extra > CHUNK_EXTRA_MAX)
		return http1_refuse(p, 400, "bad chunk");
	switch (p->state) {
	case IN_CHUNK_SIZE:
		if ((d = hex_digit(c)) >= 0) {
			if (++p->digits > CHUNK_DIGITS)
				return http1_refuse(p, 413, "body too large");
			p->left = p->left * 16 + (size_t)d;
			return HTTP1_MORE;
		}
		if (p->digits == 0 || strchr("\r\n; \t", c) == NULL)
			return http1_refuse(p, 400, "bad chunk");
		p->state = IN_CHUNK_EXT;
		[[fallthrough]];
	case IN_CHUNK_EXT:
		if (c == '\0')
			return http1_refuse(p, 400, "bad chunk");
		if (c != '\n')
			return HTTP1_MORE;
		if (p->left > p->max_body)
			return http1_refuse(p, 413, "body too large");
		p->line = 0;
		p->state = p->left > 0 ? IN_CHUNK : IN_TRAILER;
		return HTTP1_MORE;
	case AFTER_CHUNK:
		if (c == '\r' && p->line == 0) {
			p->line = 1;
			return HTTP1_MORE;
		}
		if (c != '\n')
			return http1_refuse(p, 400, "bad chunk");
		p->digits = 0;
		p->state = IN_CHUNK_SIZE;
		return HTTP1_MORE;
	default:
		/* The trailer ends with an empty line. */
		if (c == '\n' && p->line == 0)
			p->state = OVER;
		else if (c == '\n')
			p->line = 0;
		else if (c != '\r')
			p->line++;
		return HTTP1_MORE;
	}
}

static enum http1_step
feed_chunked(struct http1 *p, struct bytes *in)
{
	enum http1_step step = HTTP1_MORE;

	while (step == HTTP1_MORE && p->state != OVER && in->len > 0) {
		if (p->state == IN_CHUNK) {
			step = take(p, in);
			if (step == HTTP1_MORE && p->left == 0) {
				p->line = p->extra = 0;
				p->state = AFTER_CHUNK;
			}
			continue;
		}
		step = frame_char(p, (char)in->p[0]);
		in->p++;
		in->len--;
	}
	return step;
}

enum http1_step
http1_feed(struct http1 *p, struct bytes *in)
{
	enum http1_step step = HTTP1_MORE;

	assert(p->state != OVER);
	if (p->state == IN_HEAD)
		return feed_head(p, in);
	if (p->state == AFTER_HEAD) {
		/* At its full size at once: growing would leave copies. */
		if (p->has_length && buf_reserve(&p->body, p->left) != ERR_OK)
			return http1_refuse(p, 503, "out of memory");
		p->state = p->chunked ? IN_CHUNK_SIZE : IN_BODY;
	}
	if (p->state != IN_BODY)
		step = feed_chunked(p, in);
	else if ((step = take(p, in)) == HTTP1_MORE && p->left == 0)
		p->state = OVER;
	return step == HTTP1_MORE && p->state == OVER ? HTTP1_WHOLE : step;
}
