#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "common/net/fetch.h"
#include "common/net/httpd.h"

static struct httpd *server;
static char base[64];

static void
answer(void *cookie, const struct httpd_request *rq, struct httpd_reply *rp)
{
	(void)cookie;
	if (strcmp(rq->path, "/slow") == 0)
		(void)usleep(1000 * 1000);
	if (strcmp(rq->path, "/missing") == 0)
		rp->status = 404;
	if (strcmp(rq->path, "/moved") == 0) {
		rp->status = 302;
		rp->header_name = "Location";
		rp->header_value = "/chain";
	}
	if (strcmp(rq->path, "/chain") == 0) {
		rp->header_name = "TCB-Info-Issuer-Chain";
		rp->header_value = "a+b%20c%0Ad%2Be";
	}
	if (strcmp(rq->path, "/badchain") == 0) {
		rp->header_name = "TCB-Info-Issuer-Chain";
		rp->header_value = "a%2";
	}
	cr_assert_eq(
	    buf_printf(&rp->body, "%s %s [%s] %.*s", rq->method, rq->path,
		rq->content_type, (int)rq->body.len, (const char *)rq->body.p),
	    ERR_OK);
}

static void
setup(void)
{
	struct httpd_options o = { .host = "127.0.0.1",
		.max_body = 100000,
		.max_connections = 16,
		.timeout_s = 20,
		.threads = 8 };

	cr_assert_eq(httpd_start(&server, &o, answer, NULL), ERR_OK);
	(void)snprintf(base, sizeof base, "http://127.0.0.1:%u",
	    (unsigned)httpd_port(server));
}

static void
teardown(void)
{
	httpd_stop(server);
}

TestSuite(fetch, .init = setup, .fini = teardown, .timeout = 30);

static struct fetch_reply
get(const char *path, size_t max)
{
	char url[128];
	struct fetch_request rq = {
		.url = url, .timeout_ms = 10000, .max_reply = max
	};
	struct fetch_reply r;

	(void)snprintf(url, sizeof url, "%s%s", base, path);
	fetch_all(&r, &rq, 1);
	return r;
}

/* Status and body arrive as they are; an HTTP error is an answer. */
Test(fetch, status_and_body)
{
	struct fetch_reply r = get("/missing", 1000);

	cr_assert_eq(r.err, ERR_OK);
	cr_assert_eq(r.status, 404);
	cr_assert_str_eq((char *)r.body.p, "GET /missing [] ");
	fetch_reply_fini(&r);
}

/* A post sends its exact bytes and type, above 1 KiB without Expect. */
Test(fetch, post)
{
	char url[128], big[5000];
	struct fetch_request rq = { .url = url,
		.timeout_ms = 10000,
		.content_type = "text/x",
		.max_reply = 10000 };
	struct fetch_reply r;

	(void)snprintf(url, sizeof url, "%s/p", base);
	memset(big, 'b', sizeof big);
	rq.post = (struct bytes){ (const uint8_t *)big, sizeof big };
	fetch_all(&r, &rq, 1);
	cr_assert_eq(r.err, ERR_OK);
	cr_assert_eq(strncmp((char *)r.body.p, "POST /p [text/x] bb", 19), 0);
	cr_assert_eq(r.body.len, 17 + sizeof big);
	fetch_reply_fini(&r);

	rq.post.len = 0;
	rq.content_type = NULL;
	fetch_all(&r, &rq, 1);
	cr_assert_str_eq((char *)r.body.p, "POST /p [] ");
	fetch_reply_fini(&r);
}

/* A redirect is not followed. */
Test(fetch, no_redirect)
{
	struct fetch_reply r = get("/moved", 1000);

	cr_assert_eq(r.err, ERR_OK);
	cr_assert_eq(r.status, 302);
	fetch_reply_fini(&r);
}

/* A body over the limit is ERR_LIMIT, one at the limit is fine. */
Test(fetch, reply_limit)
{
	struct fetch_reply r = get("/", 9);

	cr_assert_eq(r.err, ERR_OK);
	cr_assert_str_eq((char *)r.body.p, "GET / [] ");
	fetch_reply_fini(&r);
	r = get("/", 8);
	cr_assert_eq(r.err, ERR_LIMIT);
	fetch_reply_fini(&r);
}

/* Other schemes, no listener and no host are errors, never success. */
Test(fetch, bad_targets)
{
	static const char *const url[] = { "file:///etc/hostname", "gopher://a",
		"ftp://127.0.0.1/", "", "http://", "http://127.0.0.1:1/",
		"http://[::1]:99999/" };
	struct fetch_request rq = { .timeout_ms = 5000, .max_reply = 1000 };

	for (size_t i = 0; i < sizeof url / sizeof url[0]; i++) {
		struct fetch_reply r;

		rq.url = url[i];
		fetch_all(&r, &rq, 1);
		cr_assert_neq(r.err, ERR_OK, "%s", url[i]);
		cr_assert_eq(r.body.len, 0);
		fetch_reply_fini(&r);
	}
}

/* Requests run side by side, and a slow one times out by itself. */
Test(fetch, parallel_and_timeout)
{
	char slow[128], fast[128];
	struct fetch_request rq[6];
	struct fetch_reply r[6];

	(void)snprintf(slow, sizeof slow, "%s/slow", base);
	(void)snprintf(fast, sizeof fast, "%s/fast", base);
	for (size_t i = 0; i < 6; i++)
		rq[i] = (struct fetch_request){ .url = i == 2 ? slow : fast,
			.timeout_ms = i == 2 ? 100 : 10000,
			.max_reply = 1000 };
	fetch_all(r, rq, 6);
	for (size_t i = 0; i < 6; i++) {
		cr_assert_eq(r[i].err, i == 2 ? ERR_TIMEOUT : ERR_OK);
		fetch_reply_fini(&r[i]);
	}
}

/* Headers are found in any case and percent-decoded; '+' stays. */
Test(fetch, header)
{
	struct fetch_reply r = get("/chain", 1000);
	struct buf v = { 0 };

	cr_assert_eq(
	    fetch_header(&v, &r, "tcb-info-issuer-chain", true), ERR_OK);
	cr_assert_str_eq((char *)v.p, "a+b c\nd+e");
	cr_assert_eq(
	    fetch_header(&v, &r, "TCB-Info-Issuer-Chain", false), ERR_OK);
	cr_assert_str_eq((char *)v.p, "a+b%20c%0Ad%2Be");
	cr_assert_eq(fetch_header(&v, &r, "TCB-Info", true), ERR_NOTFOUND);
	cr_assert_str_eq((char *)v.p, "a+b%20c%0Ad%2Be");
	fetch_reply_fini(&r);
	r = get("/badchain", 1000);
	cr_assert_eq(
	    fetch_header(&v, &r, "TCB-Info-Issuer-Chain", true), ERR_MALFORMED);
	fetch_reply_fini(&r);
	buf_fini(&v);
}
