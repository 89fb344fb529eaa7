#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "common/net/http1.h"

#define BODY_MAX 20

/* Bytes that feed() did not need. */
static size_t behind;

/* Feeds the text in pieces of `step` bytes, to the end or to a verdict. */
static enum http1_step
feed(struct http1 *p, const char *text, size_t len, size_t step)
{
	enum http1_step got = HTTP1_MORE;

	http1_init(p, BODY_MAX);
	for (size_t i = 0; i < len && got == HTTP1_MORE; i += step) {
		struct bytes in = { (const uint8_t *)text + i,
			len - i < step ? len - i : step };

		while ((got = http1_feed(p, &in)) == HTTP1_HEAD)
			cr_assert_not_null(p->method);
		if (got == HTTP1_MORE)
			cr_assert_eq(in.len, 0);
		behind = len - i - (step < len - i ? step : len - i) + in.len;
	}
	return got;
}

static void
is_refused(const char *text, size_t len, unsigned status)
{
	struct http1 p;

	for (size_t step = 1; step <= len; step = step * 2 + 1) {
		cr_assert_eq(
		    feed(&p, text, len, step), HTTP1_REFUSED, "%s", text);
		cr_assert_eq(p.status, status, "%u, not %u, for %s", p.status,
		    status, text);
		cr_assert_not_null(p.why);
		cr_assert(http1_reason(p.status)[0] != '\0');
		http1_fini(&p);
	}
}

#define REFUSED(text, status) is_refused(text, sizeof(text) - 1, status)

#define L "Content-Length: "
#define CH "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"

/* A content type may be said twice, if it is the same (dstack's Rust SDK). */
Test(http1, content_type_twice)
{
	static const char same[] =
	    "POST /Info HTTP/1.1\r\ncontent-type: application/json\r\n"
	    "Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";
	struct http1 p;

	cr_assert_eq(feed(&p, same, sizeof same - 1, 7), HTTP1_WHOLE);
	cr_assert_str_eq(p.content_type, "application/json");
	http1_fini(&p);
}

/* What two readers could read as two requests is none. */
Test(http1, refusals)
{
	REFUSED("\x16\x03\x01\x02", 400);
	REFUSED("GET\r\n\r\n", 400);
	REFUSED("GET /\r\n\r\n", 400);
	REFUSED("GET / HTTP/1.1 x\r\n\r\n", 400);
	REFUSED("GET  / HTTP/1.1\r\n\r\n", 400);
	REFUSED("G@T / HTTP/1.1\r\n\r\n", 400);
	REFUSED("ABCDEFGHIJKLMNOPQ / HTTP/1.1\r\n\r\n", 400);
	REFUSED("GET / HTTP/1.10\r\n\r\n", 400);
	REFUSED("GET / http/1.1\r\n\r\n", 400);
	REFUSED("GET / HTTP/2.0\r\n\r\n", 505);
	REFUSED("GET a HTTP/1.1\r\n\r\n", 400);
	REFUSED("OPTIONS * HTTP/1.1\r\n\r\n", 400);
	REFUSED("CONNECT x:1 HTTP/1.1\r\n\r\n", 400);
	REFUSED("GET https://x/ HTTP/1.1\r\n\r\n", 400);
	REFUSED("GET http://x HTTP/1.1\r\n\r\n", 400);
	REFUSED("GET http://x?a/ HTTP/1.1\r\n\r\n", 400);
	REFUSED("GET /a#b HTTP/1.1\r\n\r\n", 400);
	REFUSED("GET /%00 HTTP/1.1\r\n\r\n", 400);
	REFUSED("GET /% HTTP/1.1\r\n\r\n", 400);
	REFUSED("GET /%1 HTTP/1.1\r\n\r\n", 400);
	REFUSED("GET /?a=%zz HTTP/1.1\r\n\r\n", 400);
	REFUSED("GET /?%00=1 HTTP/1.1\r\n\r\n", 400);
	REFUSED("GET /a\0b HTTP/1.1\r\n\r\n", 400);
	REFUSED("GET /a\rb HTTP/1.1\r\n\r\n", 400);
	REFUSED("GET / HTTP/1.1\r\r\n\r\n", 400);
	REFUSED("GET / HTTP/1.1\r\nA: \x01\r\n\r\n", 400);
	REFUSED("GET / HTTP/1.1\r\nA\r\n\r\n", 400);
	REFUSED("GET / HTTP/1.1\r\n: a\r\n\r\n", 400);
	REFUSED("GET / HTTP/1.1\r\nA : a\r\n\r\n", 400);
	REFUSED("GET / HTTP/1.1\r\nA: a\r\n b\r\n\r\n", 400);
	REFUSED("GET / HTTP/1.1\r\nExpect: wonders\r\n\r\n", 417);
	REFUSED("GET / HTTP/1.1\r\nContent-Type: a\r\nContent-Type: b\r\n\r\n",
	    400);
	REFUSED("POST / HTTP/1.1\r\n" L "\r\n\r\n", 400);
	REFUSED("POST / HTTP/1.1\r\n" L "-1\r\n\r\n", 400);
	REFUSED("POST / HTTP/1.1\r\n" L "+1\r\n\r\n", 400);
	REFUSED("POST / HTTP/1.1\r\n" L "1x\r\n\r\n", 400);
	REFUSED("POST / HTTP/1.1\r\n" L "1, 1\r\n\r\n", 400);
	REFUSED("POST / HTTP/1.1\r\n" L "1\r\n" L "1\r\n\r\n", 400);
	REFUSED("POST / HTTP/1.1\r\n" L "21\r\n\r\n", 413);
	REFUSED("POST / HTTP/1.1\r\n" L "18446744073709551617\r\n\r\n", 413);
	REFUSED("POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n", 501);
	REFUSED(
	    "POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501);
	REFUSED("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n"
		"Transfer-Encoding: chunked\r\n\r\n",
	    501);
	REFUSED("POST / HTTP/1.1\r\n" L
		"1\r\nTransfer-Encoding: chunked\r\n\r\n",
	    400);
}

Test(http1, chunk_refusals)
{
	REFUSED(CH "\r\n", 400);
	REFUSED(CH "zz\r\n", 400);
	REFUSED(CH "0x1\r\n", 400);
	REFUSED(CH "-1\r\n", 400);
	REFUSED(CH "1\0\r\n", 400);
	REFUSED(CH "1;\0\r\n", 400);
	REFUSED(CH "1\r\nab", 400);
	REFUSED(CH "1\r\na\r\r\n", 400);
	REFUSED(CH "15\r\n", 413);
	REFUSED(CH "14\r\n12345678901234567890\r\n1\r\na", 413);
	REFUSED(CH "fffffffff\r\n", 413);
	REFUSED(CH "ffffffffffffffff1\r\n", 413);
}

/* A head, and what frames a chunk, have an end. */
Test(http1, bounds)
{
	size_t cap = 200000;
	char *text = malloc(cap + 1);
	int n;

	n = snprintf(text, cap, "GET /");
	memset(text + n, 'a', cap - (size_t)n);
	is_refused(text, cap, 414);
	n = snprintf(text, cap, "GET / HTTP/1.1\r\nA: ");
	memset(text + n, 'a', cap - (size_t)n);
	is_refused(text, cap, 431);
	n = snprintf(text, cap, "%s1;", CH);
	memset(text + n, 'a', cap - (size_t)n);
	is_refused(text, cap, 400);
	n = snprintf(text, cap, "%s0\r\n", CH);
	memset(text + n, 'a', cap - (size_t)n);
	is_refused(text, cap, 400);

	n = snprintf(text, cap, "GET / HTTP/1.1\r\n");
	for (unsigned i = 0; i <= HTTP1_FIELDS_MAX; i++)
		n += snprintf(text + n, cap - (size_t)n, "A: b\r\n");
	(void)snprintf(text + n, cap - (size_t)n, "\r\n");
	is_refused(text, strlen(text), 431);
	n = snprintf(text, cap, "GET /?");
	for (unsigned i = 0; i <= HTTP1_QUERY_MAX; i++)
		n += snprintf(text + n, cap - (size_t)n, "a&");
	(void)snprintf(text + n, cap - (size_t)n, " HTTP/1.1\r\n\r\n");
	is_refused(text, strlen(text), 414);
	free(text);
}

static void
is_whole(const char *text, const char *method, const char *path,
    const char *body, const char *beyond)
{
	struct http1 p;

	for (size_t step = 1; step <= strlen(text); step = step * 2 + 1) {
		cr_assert_eq(feed(&p, text, strlen(text), step), HTTP1_WHOLE,
		    "%s: %s", text, p.why);
		cr_assert_str_eq(p.method, method);
		cr_assert_str_eq(p.path, path);
		cr_assert_eq(p.body.len, strlen(body));
		cr_assert_eq(memcmp(p.body.len ? (char *)p.body.p : "", body,
				 strlen(body)),
		    0);
		cr_assert_eq(behind, strlen(beyond));
		http1_fini(&p);
	}
}

Test(http1, requests)
{
	is_whole("GET / HTTP/1.1\r\n\r\n", "GET", "/", "", "");
	is_whole("\r\n\n\r\nGET / HTTP/1.0\n\n", "GET", "/", "", "");
	is_whole("GET http://x:1/a%20b+c?d HTTP/1.1\r\nHost: x\r\n\r\n", "GET",
	    "/a b+c", "", "");
	is_whole("get HTTP://x/?b HTTP/1.1\r\n\r\n", "get", "/", "", "");
}

Test(http1, bodies)
{
	is_whole("POST /a HTTP/1.1\r\n" L "20\r\n\r\n12345678901234567890",
	    "POST", "/a", "12345678901234567890", "");
	is_whole(
	    "POST /a HTTP/1.1\r\n" L "2 \r\n\r\nabc", "POST", "/a", "ab", "c");
	is_whole("POST /a HTTP/1.1\r\n" L "0\r\n\r\nPOST /b", "POST", "/a", "",
	    "POST /b");
	is_whole(CH "0\r\n\r\n", "POST", "/", "", "");
	is_whole(CH "1\r\na\r\n0013;x=\"y\"\r\n1234567890123456789\r\n"
		    "00\r\nT: x\r\n\r\n+",
	    "POST", "/", "a1234567890123456789", "+");
	is_whole(CH "A\n1234567890\na\n1234567890\n0\n\n", "POST", "/",
	    "12345678901234567890", "");
}

/* Parameters are decoded one by one. */
Test(http1, query)
{
	static const char text[] =
	    "GET /x?a=1%262&&b&c=+%2B&a==&%61%3d=%c3%a9 HTTP/1.1\r\n\r\n";
	static const struct http1_pair want[] = { { "a", "1&2" }, { "b", "" },
		{ "c", " +" }, { "a", "=" }, { "a=", "\xc3\xa9" } };
	struct http1 p;

	cr_assert_eq(feed(&p, text, sizeof text - 1, 7), HTTP1_WHOLE);
	cr_assert_eq(p.n_query, 5);
	for (size_t i = 0; i < 5; i++) {
		cr_assert_str_eq(p.query[i].name, want[i].name);
		cr_assert_str_eq(p.query[i].value, want[i].value);
	}
	http1_fini(&p);
}

/* The owner hears of the head before memory is taken for the body. */
Test(http1, head_first)
{
	static const char text[] = "POST / HTTP/1.1\r\nContent-Length: 9\r\n"
				   "Expect: 100-Continue\r\n\r\n";
	struct bytes in = BYTES_STR(text);
	struct http1 p;

	http1_init(&p, BODY_MAX);
	cr_assert_not(http1_begun(&p));
	cr_assert_eq(http1_feed(&p, &in), HTTP1_HEAD);
	cr_assert(http1_begun(&p));
	cr_assert(p.expect_continue);
	cr_assert_eq(p.body_max, 9);
	cr_assert_null(p.body.p);
	cr_assert_eq(http1_feed(&p, &in), HTTP1_MORE);
	http1_fini(&p);
}
