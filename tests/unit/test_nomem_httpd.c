/* The HTTP server without memory: whoever asks gets the answer, an error, or
 * the end of the connection, at once; then the next one is served. */
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "common/base/clock.h"
#include "common/base/secret.h"
#include "common/net/httpd.h"
#include "tests/lib/nomem/nomem.h"

#define AT_ONCE_MS 6000

static struct httpd *server;
static char request[3000];
static size_t request_len;

static void
answer(void *cookie, const struct httpd_request *rq, struct httpd_reply *rp)
{
	(void)cookie;
	rp->secret = true;
	if (buf_printf(&rp->body, "%zu bytes, x=%s", rq->body.len,
		httpd_query(rq, "x")) != ERR_OK)
		rp->status = 500;
}

static const struct httpd_options options = { .host = "127.0.0.1",
	.max_body = 4096,
	.max_connections = 8,
	.timeout_s = 20,
	.threads = 2 };

static void
setup(void)
{
	cr_assert_eq(secret_process_init(), ERR_OK);
	request_len = (size_t)snprintf(request, sizeof request,
	    "POST /p%%61th?x=1%%32&y=z HTTP/1.1\r\nHost: a\r\n"
	    "Content-Type: text/plain\r\nContent-Length: 2000\r\n\r\n");
	memset(request + request_len, 'b', 2000);
	request_len += 2000;
}

TestSuite(nomem_httpd, .init = setup, .timeout = 120);

/* The status, or 0: closed.  Allocates nothing. */
static int
ask(uint16_t port)
{
	const struct sockaddr_in sa = { .sin_family = AF_INET,
		.sin_port = htons(port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	const struct timeval limit = { .tv_sec = 20 };
	uint64_t began = clock_mono_ms();
	int fd = socket(AF_INET, SOCK_STREAM, 0), status = 0;
	char got[2000];
	size_t len = 0;
	ssize_t n;

	cr_assert_geq(fd, 0);
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
	cr_assert_eq(connect(fd, (const struct sockaddr *)&sa, sizeof sa), 0);
	for (size_t at = 0; at < request_len; at += (size_t)n)
		if ((n = send(fd, request + at, request_len - at,
			 MSG_NOSIGNAL)) <= 0)
			break;
	while (len < sizeof got - 1 &&
	    (n = recv(fd, got + len, sizeof got - 1 - len, 0)) > 0)
		len += (size_t)n;
	got[len] = '\0';
	(void)close(fd);
	cr_assert_lt(clock_mono_ms() - began, AT_ONCE_MS, "it waits");
	if (len == 0)
		return 0;
	cr_assert_eq(sscanf(got, "HTTP/1.1 %d ", &status), 1, "%s", got);
	if (status == 200)
		cr_assert_not_null(strstr(got, "\r\n\r\n2000 bytes, x=12"));
	else
		cr_assert_geq(status, 500, "%s", got);
	return status;
}

Test(nomem_httpd, answering)
{
	const enum failmalloc_mode mode[] = { FAILMALLOC_ONE, FAILMALLOC_ALL };

	failmalloc_exempt(true);
	cr_assert_eq(httpd_start(&server, &options, answer, NULL), ERR_OK);
	for (int m = 0; m < 2; m++)
		for (unsigned n = 1;; n++) {
			int status;

			failmalloc_arm(FAILMALLOC_PROCESS, mode[m], n);
			status = ask(httpd_port(server));
			(void)failmalloc_disarm();
			if (!failmalloc_hit()) {
				cr_assert_eq(status, 200);
				cr_assert_gt(n, 4);
				break;
			}
			cr_assert_eq(ask(httpd_port(server)), 200,
			    "not again after %u", n);
		}
	httpd_stop(server);
	failmalloc_exempt(false);
}

/* A server that cannot begin leaves nothing behind. */
static enum err
start(void *arg)
{
	struct httpd **h = arg;
	enum err e;

	httpd_stop(*h);
	*h = NULL;
	if ((e = httpd_start(h, &options, answer, NULL)) != ERR_OK)
		cr_assert_null(*h);
	return e;
}

static void
stop(void *arg)
{
	struct httpd **h = arg;

	httpd_stop(*h);
	*h = NULL;
}

Test(nomem_httpd, starting)
{
	struct httpd *h = NULL;
	const struct nomem_op op = {
		.name = "httpd_start", .run = start, .fini = stop
	};

	cr_assert_gt(nomem_each(&op, &h), 2);
}
