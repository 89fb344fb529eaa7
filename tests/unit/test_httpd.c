#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/net/httpd.h"
#include "common/net/listen.h"

#define TEST_TIMEOUT 30

static char dir[64];
static char path[100];
static struct httpd *server;

/* Answers with what it saw: "METHOD path [query x] body". */
static void
echo(void *cookie, const struct httpd_request *rq, struct httpd_reply *rp)
{
	const char *x = httpd_query(rq, "x");

	(void)cookie;
	if (strcmp(rq->path, "/slow") == 0)
		(void)usleep(1500 * 1000);
	if (strcmp(rq->path, "/status") == 0)
		rp->status = 404;
	if (strcmp(rq->path, "/header") == 0) {
		rp->header_name = "X-Chain";
		rp->header_value = "a%0Ab";
	}
	if (strcmp(rq->path, "/empty") == 0)
		return;
	rp->secret = true;
	cr_assert_eq(rq->body.p[rq->body.len], 0);
	cr_assert_eq(buf_printf(&rp->body, "%s %s x=%s %.*s", rq->method,
			 rq->path, x == NULL ? "none" : x, (int)rq->body.len,
			 (const char *)rq->body.p),
	    ERR_OK);
}

static void
setup(void)
{
	(void)snprintf(dir, sizeof dir, "/tmp/httpd.XXXXXX");
	cr_assert_not_null(mkdtemp(dir));
	(void)snprintf(path, sizeof path, "%s/sock", dir);
}

static void
teardown(void)
{
	httpd_stop(server);
	server = NULL;
	(void)unlink(path);
	(void)rmdir(dir);
}

TestSuite(httpd, .init = setup, .fini = teardown, .timeout = TEST_TIMEOUT);

static struct httpd_options
options(void)
{
	return (struct httpd_options){ .unix_path = path,
		.max_body = 1000,
		.max_connections = 8,
		.timeout_s = 20,
		.threads = 2 };
}

static void
start(void)
{
	struct httpd_options o = options();

	cr_assert_eq(httpd_start(&server, &o, echo, NULL), ERR_OK);
}

static int
dial(void)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	(void)snprintf(sa.sun_path, sizeof sa.sun_path, "%s", path);
	if (connect(fd, (struct sockaddr *)&sa, sizeof sa) != 0) {
		(void)close(fd);
		return -1;
	}
	return fd;
}

static void
put(int fd, const char *p, size_t len)
{
	(void)!send(fd, p, len, MSG_NOSIGNAL);
}

/* Reads to the end of the stream; false if it was reset instead. */
static bool
read_all(int fd, struct buf *out)
{
	char chunk[4096];
	ssize_t n;

	while ((n = read(fd, chunk, sizeof chunk)) > 0)
		cr_assert_eq(
		    buf_append(out, chunk, (size_t)n, 1 << 22), ERR_OK);
	(void)close(fd);
	return n == 0;
}

static char *
talk(const char *request)
{
	struct buf out = { 0 };
	int fd = dial();

	cr_assert_geq(fd, 0);
	put(fd, request, strlen(request));
	cr_assert(read_all(fd, &out), "reset instead of closed");
	cr_assert_not_null(out.p);
	return (char *)out.p;
}

static void
assert_has(const char *reply, const char *what)
{
	cr_assert_not_null(
	    strstr(reply, what), "no \"%s\" in: %s", what, reply);
}

static void
assert_reply(const char *reply, const char *status, const char *body)
{
	const char *b = strstr(reply, "\r\n\r\n");
	char len[64];

	cr_assert(strncmp(reply, status, strlen(status)) == 0, "%s", reply);
	cr_assert_not_null(b);
	cr_assert_str_eq(b + 4, body);
	(void)snprintf(
	    len, sizeof len, "\r\nContent-Length: %zu\r\n", strlen(body));
	assert_has(reply, len);
	assert_has(reply, "\r\nConnection: close\r\n");
	cr_assert_null(strstr(reply, "chunked"));
}

/* A reply has its exact length, says close, and the server closes. */
Test(httpd, exact_length_and_close)
{
	char *r;

	start();
	r = talk("POST /a%20b?x=1%262 HTTP/1.1\r\nHost: l\r\n"
		 "Content-Length: 5\r\n\r\nhello");
	assert_reply(r, "HTTP/1.1 200 ", "POST /a b x=1&2 hello");
	assert_has(r, "\r\nContent-Type: application/json\r\n");
	free(r);
	r = talk("GET /q?x HTTP/1.1\r\n\r\n");
	assert_reply(r, "HTTP/1.1 200 ", "GET /q x= ");
	free(r);
	r = talk("GET /empty HTTP/1.1\r\nHost: l\r\n\r\n");
	assert_reply(r, "HTTP/1.1 200 ", "");
	free(r);
	r = talk("GET /status HTTP/1.1\r\nHost: l\r\n\r\n");
	assert_reply(r, "HTTP/1.1 404 ", "GET /status x=none ");
	free(r);
	r = talk("GET /header HTTP/1.1\r\nHost: l\r\n\r\n");
	assert_has(r, "\r\nX-Chain: a%0Ab\r\n");
	free(r);
}

/* A body at the limit is taken; one byte more is 413, declared or not. */
Test(httpd, body_limit)
{
	char rq[8192], *r;
	int n;

	start();
	n = snprintf(
	    rq, sizeof rq, "POST / HTTP/1.1\r\nContent-Length: 1000\r\n\r\n");
	memset(rq + n, 'x', 1000);
	rq[n + 1000] = '\0';
	r = talk(rq);
	assert_has(r, "HTTP/1.1 200 ");
	free(r);

	n = snprintf(
	    rq, sizeof rq, "POST / HTTP/1.1\r\nContent-Length: 1001\r\n\r\n");
	memset(rq + n, 'x', 1001);
	rq[n + 1001] = '\0';
	r = talk(rq);
	assert_reply(r, "HTTP/1.1 413 ", "{\"error\":\"body too large\"}");
	free(r);

	r = talk("POST / HTTP/1.1\r\n"
		 "Content-Length: 99999999999999999999999\r\n\r\n");
	cr_assert(strncmp(r, "HTTP/1.1 4", 10) == 0, "%s", r);
	free(r);

	n = snprintf(rq, sizeof rq,
	    "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3e9\r\n");
	memset(rq + n, 'x', 1001);
	(void)snprintf(rq + n + 1001, 100, "\r\n0\r\n\r\n");
	r = talk(rq);
	assert_reply(r, "HTTP/1.1 413 ", "{\"error\":\"body too large\"}");
	free(r);
}

/* A chunked body that goes on and on is cut off, without an answer. */
Test(httpd, endless_chunked_body_is_cut)
{
	char chunk[1010];
	struct buf out = { 0 };
	const char *head =
	    "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
	int fd;

	start();
	fd = dial();
	memcpy(chunk, "3e8\r\n", 5);
	memset(chunk + 5, 'x', 1000);
	memcpy(chunk + 1005, "\r\n", 2);
	put(fd, head, strlen(head));
	for (int i = 0; i < 50; i++)
		put(fd, chunk, 1007);
	(void)read_all(fd, &out);
	cr_assert(
	    out.p == NULL || strncmp((char *)out.p, "HTTP/1.1 200", 12) != 0);
	buf_fini(&out);
}

/* Bytes behind a body that was declared too short do no harm: dstack's JS
 * SDK counts UTF-16 units. */
Test(httpd, trailing_bytes_are_tolerated)
{
	start();
	for (int i = 0; i < 50; i++) {
		char *r = talk("POST /GetKey HTTP/1.1\r\nHost: localhost\r\n"
			       "Content-Length: 4\r\n\r\n1234567");

		assert_reply(r, "HTTP/1.1 200 ", "POST /GetKey x=none 1234");
		free(r);
	}
}

/* A client that closes its writing half still gets its reply. */
Test(httpd, half_close)
{
	const char *rq = "POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\nhi";

	start();
	for (int i = 0; i < 20; i++) {
		struct buf out = { 0 };
		int fd = dial();

		put(fd, rq, strlen(rq));
		cr_assert_eq(shutdown(fd, SHUT_WR), 0);
		cr_assert(read_all(fd, &out));
		assert_reply(
		    (char *)out.p, "HTTP/1.1 200 ", "POST / x=none hi");
		buf_fini(&out);
	}
}

/* A request that is cut short gets no 200 and leaves the server alive. */
Test(httpd, half_request)
{
	static const char *const part[] = {
		"",
		"P",
		"POST / HTTP/1.1\r\nContent-Le",
		"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nhi",
	};
	char *r;

	start();
	for (size_t i = 0; i < sizeof part / sizeof part[0]; i++) {
		struct buf out = { 0 };
		int fd = dial();

		put(fd, part[i], strlen(part[i]));
		(void)shutdown(fd, SHUT_WR);
		(void)read_all(fd, &out);
		cr_assert(
		    out.p == NULL || strstr((char *)out.p, " 200 ") == NULL);
		buf_fini(&out);
	}
	r = talk("GET / HTTP/1.1\r\n\r\n");
	assert_has(r, " 200 ");
	free(r);
}

/* A request may come in six pieces. */
Test(httpd, six_pieces)
{
	static const char *const piece[] = { "POS", "T /p HTTP/1.1\r",
		"\nHost:", " l\r\nContent-Length: 6\r\n\r\n", "abc", "def" };
	struct buf out = { 0 };
	int fd;

	start();
	fd = dial();
	for (size_t i = 0; i < 6; i++) {
		put(fd, piece[i], strlen(piece[i]));
		(void)usleep(2000);
	}
	cr_assert(read_all(fd, &out));
	assert_reply((char *)out.p, "HTTP/1.1 200 ", "POST /p x=none abcdef");
	buf_fini(&out);
}

/* A silent client is closed after the timeout; a slow handler is not. */
Test(httpd, timeout)
{
	struct httpd_options o = options();
	struct buf out = { 0 };
	char *r;
	int fd;

	o.timeout_s = 1;
	cr_assert_eq(httpd_start(&server, &o, echo, NULL), ERR_OK);
	fd = dial();
	put(fd, "GET / HT", 8);
	r = talk("GET /slow HTTP/1.1\r\n\r\n");
	assert_reply(r, "HTTP/1.1 200 ", "GET /slow x=none ");
	free(r);
	(void)read_all(fd, &out);
	cr_assert(out.p == NULL || strstr((char *)out.p, " 200 ") == NULL);
	buf_fini(&out);
}

/* Over-long and broken heads are answered 4xx or closed, never a crash. */
Test(httpd, bad_heads)
{
	static const char *const bad[] = {
		"\r\n\r\n\r\n\r\n",
		"GET\r\n\r\n",
		"GET / HTTP/9.9\r\n\r\n",
		"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
		"POST / HTTP/1.1\r\nContent-Length: 5x\r\n\r\nhello",
		"P / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
		"GET /a%00b HTTP/1.1\r\n\r\n",
		"GET /?x=a%00b HTTP/1.1\r\n\r\n",
		"\x16\x03\x01\x02\r\n\r\n",
	};
	char *r, *big = calloc(1, 200000);
	struct buf out = { 0 };
	int fd;

	start();
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		fd = dial();
		put(fd, bad[i], strlen(bad[i]));
		(void)shutdown(fd, SHUT_WR);
		(void)read_all(fd, &out);
		cr_assert(out.len == 0 ||
			strncmp((char *)out.p, "HTTP/1.1 4", 10) == 0 ||
			strncmp((char *)out.p, "HTTP/1.1 5", 10) == 0 ||
			strncmp((char *)out.p, "HTTP/1.0 4", 10) == 0,
		    "%zu: %s", i, (char *)out.p);
		out.len = 0;
	}
	(void)sprintf(big, "GET / HTTP/1.1\r\nA: ");
	memset(big + strlen(big), 'a', 190000);
	fd = dial();
	put(fd, big, strlen(big));
	(void)read_all(fd, &out);
	cr_assert(
	    out.len == 0 || strncmp((char *)out.p, "HTTP/1.1 4", 10) == 0);
	buf_fini(&out);
	free(big);
	r = talk("GET / HTTP/1.1\r\n\r\n");
	assert_has(r, " 200 ");
	free(r);
}

/* A socket that nobody listens on is replaced; a live one is refused, and
 * so is a path that holds somebody's file. */
Test(httpd, unix_socket_life)
{
	struct httpd_options o = options();
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	struct httpd *second = NULL;
	struct stat st;
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	char *r;

	(void)snprintf(sa.sun_path, sizeof sa.sun_path, "%s", path);
	cr_assert_eq(bind(fd, (struct sockaddr *)&sa, sizeof sa), 0);
	(void)close(fd);
	o.unix_mode = 0660;
	cr_assert_eq(httpd_start(&server, &o, echo, NULL), ERR_OK);
	cr_assert_eq(stat(path, &st), 0);
	cr_assert_eq(st.st_mode & 0777, 0660);
	cr_assert_eq(httpd_start(&second, &o, echo, NULL), ERR_EXISTS);
	cr_assert_null(second);
	r = talk("GET / HTTP/1.1\r\n\r\n");
	assert_has(r, " 200 ");
	free(r);
	httpd_stop(server);
	server = NULL;
	cr_assert_neq(stat(path, &st), 0);

	cr_assert_eq(file_write(path, "x", 1, 0600), ERR_OK);
	cr_assert_eq(httpd_start(&second, &o, echo, NULL), ERR_CONFIG);
	cr_assert_eq(stat(path, &st), 0);
}

/* Bad options are refused with their own codes. */
Test(httpd, bad_options)
{
	struct httpd_options o = options();
	struct httpd *h = NULL;
	char longer[200];

	memset(longer, 'a', sizeof longer);
	longer[199] = '\0';
	o.unix_path = longer;
	cr_assert_eq(httpd_start(&h, &o, echo, NULL), ERR_CONFIG);
	o.unix_path = "";
	cr_assert_eq(httpd_start(&h, &o, echo, NULL), ERR_CONFIG);
	o.unix_path = "/nonexistent/dir/s";
	cr_assert_eq(httpd_start(&h, &o, echo, NULL), ERR_IO);
	o.unix_path = NULL;
	cr_assert_eq(httpd_start(&h, &o, echo, NULL), ERR_CONFIG);
	o.host = "localhost";
	cr_assert_eq(httpd_start(&h, &o, echo, NULL), ERR_CONFIG);
	cr_assert_null(h);
}

static char *
talk_tcp(uint16_t port, const char *rq)
{
	struct sockaddr_in sa = { .sin_family = AF_INET,
		.sin_port = htons(port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct buf out = { 0 };
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	cr_assert_eq(connect(fd, (struct sockaddr *)&sa, sizeof sa), 0);
	put(fd, rq, strlen(rq));
	cr_assert(read_all(fd, &out), "reset");
	return (char *)out.p;
}

/* TCP takes a free port, and a port in use is refused. */
Test(httpd, tcp)
{
	struct httpd_options o = options();
	struct httpd *second = NULL;
	char *r;

	o.unix_path = NULL;
	o.host = "127.0.0.1";
	cr_assert_eq(httpd_start(&server, &o, echo, NULL), ERR_OK);
	cr_assert_neq(httpd_port(server), 0);
	r = talk_tcp(httpd_port(server),
	    "POST /t HTTP/1.1\r\nContent-Length: 2\r\n\r\nhi+junk");
	assert_reply(r, "HTTP/1.1 200 ", "POST /t x=none hi");
	free(r);
	o.port = httpd_port(server);
	cr_assert_eq(httpd_start(&second, &o, echo, NULL), ERR_IO);
}

/* Connections over the bound are closed at once; a place that gets free is
 * used again. */
Test(httpd, connection_bound)
{
	struct httpd_options o = options();
	struct buf out = { 0 };
	bool served = false;
	int a, b, c;

	o.max_connections = 2;
	cr_assert_eq(httpd_start(&server, &o, echo, NULL), ERR_OK);
	a = dial();
	b = dial();
	put(a, "G", 1);
	put(b, "G", 1);
	c = dial();
	put(c, "GET / HTTP/1.1\r\n\r\n", 18);
	(void)read_all(c, &out);
	assert_reply((char *)out.p, "HTTP/1.1 503 ",
	    "{\"error\":\"too many connections\"}");
	(void)close(a);
	for (int i = 0; i < 500 && !served; i++) {
		(void)usleep(10 * 1000);
		out.len = 0;
		c = dial();
		put(c, "GET / HTTP/1.1\r\n\r\n", 18);
		(void)read_all(c, &out);
		served = strncmp((char *)out.p, "HTTP/1.1 200 ", 13) == 0;
	}
	cr_assert(served);
	(void)close(b);
	buf_fini(&out);
}

/* Who is idle, or drips, keeps nobody out: the oldest of them makes room after
 * a second, while who is being answered stays. */
Test(httpd, idle_connections_make_room)
{
	struct httpd_options o = options();
	struct buf out = { 0 };
	int slow[8], c;

	o.max_connections = 8;
	o.timeout_s = 60;
	cr_assert_eq(httpd_start(&server, &o, echo, NULL), ERR_OK);
	for (int i = 0; i < 8; i++) {
		slow[i] = dial();
		if (i % 2 == 0)
			put(slow[i], "GET / HT", 8);
	}
	(void)usleep(1500 * 1000);
	for (int i = 0; i < 8; i++) {
		put(slow[7], "G", i == 0); /* it drips */
		c = dial();
		put(c, "GET / HTTP/1.1\r\n\r\n", 18);
		(void)read_all(c, &out);
		assert_has((char *)out.p, "HTTP/1.1 200 ");
		out.len = 0;
	}
	(void)read_all(slow[0], &out); /* cut */
	cr_assert_eq(out.len, 0);
	for (int i = 1; i < 8; i++)
		(void)close(slow[i]);
	buf_fini(&out);
}

/* Who has an answer and does not go keeps nobody out, either. */
Test(httpd, who_lingers_makes_room)
{
	struct httpd_options o = options();
	struct buf out = { 0 };
	int done[8];

	o.max_connections = 8;
	cr_assert_eq(httpd_start(&server, &o, echo, NULL), ERR_OK);
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < 8; i++) {
			done[i] = dial();
			put(done[i], "GET / HTTP/1.1\r\n\r\n", 18);
			cr_assert_eq(recv(done[i], &(char){ 0 }, 1, 0), 1);
		}
		(void)usleep(400 * 1000);
		for (int i = 0; i < 8; i++) {
			int c = dial();

			put(c, "GET / HTTP/1.1\r\n\r\n", 18);
			(void)read_all(c, &out);
			assert_has((char *)out.p, "HTTP/1.1 200 ");
			out.len = 0;
		}
		for (int i = 0; i < 8; i++)
			(void)close(done[i]);
	}
	buf_fini(&out);
}

/* ---- many from one source ---- */

static int
dial_tcp(uint16_t port, uint32_t from)
{
	struct sockaddr_in sa = { .sin_family = AF_INET,
		.sin_addr.s_addr = htonl(from) };
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	cr_assert_geq(fd, 0);
	cr_assert_eq(bind(fd, (struct sockaddr *)&sa, sizeof sa), 0);
	sa.sin_port = htons(port);
	sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	cr_assert_eq(connect(fd, (struct sockaddr *)&sa, sizeof sa), 0);
	return fd;
}

#define FLOOD_OPEN 800

static atomic_bool flood_over;
static atomic_uint flooded;

/* Opens connections without end, each as slow as may be, and keeps the last
 * FLOOD_OPEN of them. */
static void *
flood(void *arg)
{
	static const char *const said[] = { "", "G", "GET / HTTP/1.1\r\nA: ",
		"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\n",
		"GET / HTTP/1.1\r\n\r\n" };
	const uint16_t port = *(const uint16_t *)arg;
	static int fd[FLOOD_OPEN];

	memset(fd, -1, sizeof fd);
	for (unsigned i = 0; !flood_over; i++) {
		int *slot = &fd[i % FLOOD_OPEN];

		if (*slot >= 0)
			(void)close(*slot);
		*slot = dial_tcp(port, INADDR_LOOPBACK);
		put(*slot, said[i % 5], strlen(said[i % 5]));
		put(fd[i / 2 % FLOOD_OPEN], "a", 1);
		flooded++;
		(void)usleep(300);
	}
	for (int i = 0; i < FLOOD_OPEN; i++)
		if (fd[i] >= 0)
			(void)close(fd[i]);
	return NULL;
}

/* One source that opens thousands of connections takes nothing from another,
 * though none of them is a second old. */
Test(httpd, one_source_keeps_nobody_out)
{
	struct httpd_options o = options();
	const uint32_t other = INADDR_LOOPBACK + 1;
	struct buf out = { 0 };
	pthread_t flooder;
	struct rlimit l;
	uint16_t port;
	uint64_t slowest = 0;

	cr_assert_eq(getrlimit(RLIMIT_NOFILE, &l), 0);
	if (l.rlim_max < FLOOD_OPEN + 200)
		cr_skip("only %lu descriptors", (unsigned long)l.rlim_max);
	l.rlim_cur = l.rlim_max;
	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &l), 0);
	o.unix_path = NULL;
	o.host = "127.0.0.1";
	o.max_connections = 64;
	o.timeout_s = 5;
	cr_assert_eq(httpd_start(&server, &o, echo, NULL), ERR_OK);
	port = httpd_port(server);
	log_set_level(LOG_ERROR); /* each refusal has a line */
	cr_assert_eq(pthread_create(&flooder, NULL, flood, &port), 0);
	while (flooded < 200)
		(void)usleep(1000);
	/* Some at once, slow ones of theirs among them, so that they hold
	 * places. */
	for (int i = 0; i < 20 || flooded < 2000; i++) {
		uint64_t began = clock_mono_ms();
		int idle = dial_tcp(port, other), fd = dial_tcp(port, other);

		put(fd, "GET /a HTTP/1.1\r\n\r\n", 19);
		out.len = 0;
		(void)read_all(fd, &out);
		assert_has((char *)out.p, "GET /a");
		put(idle, "GET /b HTTP/1.1\r\n\r\n", 19);
		out.len = 0;
		(void)read_all(idle, &out);
		assert_has((char *)out.p, "GET /b");
		if (clock_mono_ms() - began > slowest)
			slowest = clock_mono_ms() - began;
		(void)usleep(20 * 1000);
	}
	flood_over = true;
	cr_assert_eq(pthread_join(flooder, NULL), 0);
	cr_assert_lt(
	    slowest, 5000, "served in %llu ms", (unsigned long long)slowest);
	cr_log_info(
	    "%u connections, %llu ms", flooded, (unsigned long long)slowest);
	buf_fini(&out);
}

static long
cpu_ms(void)
{
	struct rusage u;

	cr_assert_eq(getrusage(RUSAGE_SELF, &u), 0);
	return 1000 * (u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
	    (u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1000;
}

/* Who cannot be taken for want of descriptors waits, and the loop does not
 * turn meanwhile; then he is served. */
Test(httpd, no_descriptors_left)
{
	static const char request[] = "GET /a HTTP/1.1\r\n\r\n";
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	struct rlimit before, none;
	struct buf out = { 0 };
	struct pollfd answer;
	char name[100];
	FILE *log;
	long used;
	int fd;

	(void)snprintf(name, sizeof name, "%s/log", dir);
	log = freopen(name, "w+", stderr);
	cr_assert_not_null(log);
	start(); /* the loop's thread writes there */
	(void)snprintf(sa.sun_path, sizeof sa.sun_path, "%s", path);
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	cr_assert_geq(fd, 0);
	cr_assert_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
	none = (struct rlimit){ (rlim_t)fd + 1, before.rlim_max };
	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
	cr_assert_eq(connect(fd, (struct sockaddr *)&sa, sizeof sa), 0);
	put(fd, request, sizeof request - 1);
	used = cpu_ms();
	answer = (struct pollfd){ .fd = fd, .events = POLLIN };
	cr_assert_eq(poll(&answer, 1, 1500), 0, "it was taken");
	used = cpu_ms() - used;
	cr_assert_lt(used, 500, "%ld ms of CPU", used);
	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
	cr_assert_eq(poll(&answer, 1, 10000), 1, "it is not taken");
	cr_assert(read_all(fd, &out));
	assert_has((char *)out.p, "GET /a");
	/* One word of it, however often it was tried. */
	out.len = 0;
	cr_assert_eq(file_read(&out, name, 1 << 16), ERR_OK);
	cr_assert_eq(buf_append(&out, "", 1, SIZE_MAX), ERR_OK);
	assert_has((char *)out.p, "event=http_cannot_accept");
	cr_assert_null(
	    strstr(strstr((char *)out.p, "http_cannot") + 1, "http_"));
	(void)unlink(name);
	buf_fini(&out);
}

/* Who is idle gives its descriptor to who has none. */
Test(httpd, idle_connections_give_descriptors)
{
	struct rlimit before, few;
	struct buf out = { 0 };
	int idle, fd, last = -1;
	uint64_t began;

	start();
	idle = dial();
	free(talk("GET / HTTP/1.0\r\n\r\n")); /* behind it: it is taken */
	cr_assert_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
	few = (struct rlimit){ 64, before.rlim_max };
	(void)usleep(1200 * 1000);
	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
	while ((fd = dup(0)) >= 0)
		last = fd;
	cr_assert_eq(errno, EMFILE);
	(void)close(last); /* for our end */
	began = clock_mono_ms();
	fd = dial();
	put(fd, "GET /a HTTP/1.1\r\n\r\n", 19);
	cr_assert(read_all(fd, &out));
	assert_has((char *)out.p, "GET /a");
	cr_assert_lt(clock_mono_ms() - began, 10000);
	out.len = 0;
	(void)read_all(idle, &out);
	cr_assert_eq(out.len, 0);
	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
	buf_fini(&out);
}

static long
elapsed_ms(uint64_t since)
{
	return (long)(clock_mono_ms() - since);
}

/* A client that says a byte now and then has a bound as a whole, and gets
 * words; one that never said anything is just closed. */
Test(httpd, slow_drip)
{
	struct httpd_options o = options();
	uint64_t began = clock_mono_ms();
	struct buf out = { 0 };
	int fd, mute;

	o.timeout_s = 1;
	o.total_s = 2;
	cr_assert_eq(httpd_start(&server, &o, echo, NULL), ERR_OK);
	mute = dial();
	fd = dial();
	put(fd, "GET /", 5);
	while (elapsed_ms(began) < 10 * 1000 &&
	    send(fd, "a", 1, MSG_NOSIGNAL) == 1) {
		struct pollfd p = { .fd = fd, .events = POLLIN };

		(void)poll(&p, 1, 200);
		if (p.revents != 0)
			break;
	}
	cr_assert_geq(elapsed_ms(began), 1900);
	cr_assert_lt(elapsed_ms(began), 10 * 1000);
	(void)read_all(fd, &out);
	assert_reply((char *)out.p, "HTTP/1.1 408 ",
	    "{\"error\":\"the request took too long\"}");
	out.len = 0;
	cr_assert(read_all(mute, &out));
	cr_assert_eq(out.len, 0);
	buf_fini(&out);
}

/* A process that was started while a connection was open keeps it open, and
 * epoll goes on telling of it; the loop must not, when it has freed it. */
Test(httpd, outlived_by_a_fork)
{
	int fd, told[2], status;
	pid_t child;
	char c;

	start();
	cr_assert_eq(pipe(told), 0);
	fd = dial();
	/* Answered behind it: so it has been accepted. */
	free(talk("GET / HTTP/1.0\r\n\r\n"));
	if ((child = fork()) == 0) {
		(void)close(fd); /* the client's end; the other stays */
		(void)!write(told[1], "", 1);
		for (;;)
			(void)pause();
	}
	cr_assert_gt(child, 0);
	cr_assert_eq(read(told[0], &c, 1), 1);
	(void)close(fd);
	for (int i = 0; i < 20; i++) {
		char *reply = talk("GET /x HTTP/1.0\r\n\r\n");

		assert_has(reply, "HTTP/1.1 200 ");
		free(reply);
	}
	(void)kill(child, SIGKILL);
	cr_assert_eq(waitpid(child, &status, 0), child);
	(void)close(told[0]);
	(void)close(told[1]);
}

/* While every handler is busy, others' mistakes are still answered. */
Test(httpd, loop_does_not_wait_for_handlers)
{
	struct httpd_options o = options();
	uint64_t began = clock_mono_ms();
	char *r;
	int a, b;

	o.threads = 1;
	cr_assert_eq(httpd_start(&server, &o, echo, NULL), ERR_OK);
	a = dial();
	put(a, "GET /slow HTTP/1.1\r\n\r\n", 22);
	b = dial();
	put(b, "GET /q HTTP/1.1\r\n\r\n", 19);
	r = talk("GET /\r\n\r\n");
	assert_reply(r, "HTTP/1.1 400 ", "{\"error\":\"bad request line\"}");
	cr_assert_lt(elapsed_ms(began), 1400);
	free(r);
	(void)close(a); /* a client that does not wait does no harm */
	{
		struct buf out = { 0 };

		cr_assert(read_all(b, &out));
		assert_reply((char *)out.p, "HTTP/1.1 200 ", "GET /q x=none ");
		buf_fini(&out);
	}
}

/* Bodies have a bound together, too; its memory comes back. */
Test(httpd, bodies_together)
{
	struct httpd_options o = options();
	const char *rq = "POST / HTTP/1.1\r\nContent-Length: 1000\r\n\r\n";
	char *r;
	int a;

	o.max_bodies = 1500;
	cr_assert_eq(httpd_start(&server, &o, echo, NULL), ERR_OK);
	a = dial();
	put(a, rq, strlen(rq));
	for (int i = 0; i < 2; i++) {
		/* Poll: what came first is not read first for sure. */
		for (int k = 0; k < 500; k++) {
			r = talk("POST / HTTP/1.1\r\nContent-Length: 600"
				 "\r\n\r\n");
			if (strstr(r, " 503 ") != NULL)
				break;
			free(r);
			cr_assert_lt(k, 499);
		}
		assert_reply(r, "HTTP/1.1 503 ",
		    "{\"error\":\"too many large requests\"}");
		free(r);
		r = talk("POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\nhi");
		assert_has(r, " 200 ");
		free(r);
	}
	(void)close(a);
}

/* "Expect: 100-continue" is answered before the body is there. */
Test(httpd, expect_continue)
{
	const char *rq = "POST / HTTP/1.1\r\nContent-Length: 2\r\n"
			 "Expect: 100-continue\r\n\r\n";
	struct buf out = { 0 };
	char got[26] = "";
	int fd;

	start();
	fd = dial();
	put(fd, rq, strlen(rq));
	cr_assert_eq(recv(fd, got, 25, MSG_WAITALL), 25);
	cr_assert_str_eq(got, "HTTP/1.1 100 Continue\r\n\r\n");
	put(fd, "hi", 2);
	cr_assert(read_all(fd, &out));
	assert_reply((char *)out.p, "HTTP/1.1 200 ", "POST / x=none hi");
	buf_fini(&out);
}

/* HEAD has GET's head alone. */
Test(httpd, head)
{
	char *r;

	start();
	r = talk("HEAD / HTTP/1.1\r\n\r\n");
	assert_has(r, "\r\nContent-Length: 14\r\n");
	cr_assert_str_eq(strstr(r, "\r\n\r\n"), "\r\n\r\n");
	free(r);
}

#define LARGE (3u << 20)

static void
large(void *cookie, const struct httpd_request *rq, struct httpd_reply *rp)
{
	(void)cookie;
	(void)rq;
	cr_assert_eq(buf_reserve(&rp->body, LARGE), ERR_OK);
	memset(rp->body.p, 'x', LARGE);
	rp->body.len = LARGE;
}

/* A reply that no socket takes at once arrives whole at a slow reader; one
 * who does not read at all is closed. */
Test(httpd, large_reply)
{
	struct httpd_options o = options();
	struct buf out = { 0 };
	int fd, deaf;

	o.timeout_s = 1;
	cr_assert_eq(httpd_start(&server, &o, large, NULL), ERR_OK);
	fd = dial();
	deaf = dial();
	put(fd, "GET / HTTP/1.1\r\n\r\n", 18);
	put(deaf, "GET / HTTP/1.1\r\n\r\n", 18);
	(void)usleep(300 * 1000);
	cr_assert(read_all(fd, &out));
	cr_assert_gt(out.len, LARGE);
	cr_assert_eq(out.p[out.len - LARGE], 'x');
	cr_assert_eq(memcmp(out.p + out.len - LARGE - 4, "\r\n\r\n", 4), 0);
	out.len = 0;
	(void)usleep(1700 * 1000);
	(void)read_all(deaf, &out);
	cr_assert_lt(out.len, LARGE);
	buf_fini(&out);
}

/* A socket that listens already is served, and not removed; what does not
 * listen is refused and left to the caller. */
Test(httpd, given_socket)
{
	struct httpd_options o = options();
	struct listen_file file = { .path = "" };
	struct httpd *h = NULL;
	struct stat st;
	int pair[2], fd;
	char *r;

	cr_assert_eq(listen_unix(&fd, &file, path, 0600), ERR_OK);
	o.unix_path = NULL;
	o.has_fd = true;
	o.fd = fd;
	cr_assert_eq(httpd_start(&server, &o, echo, NULL), ERR_OK);
	r = talk("GET / HTTP/1.1\r\n\r\n");
	assert_has(r, " 200 ");
	free(r);
	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	o.fd = pair[0];
	cr_assert_eq(httpd_start(&h, &o, echo, NULL), ERR_CONFIG);
	cr_assert_eq(write(pair[0], "x", 1), 1);
	o.fd = 0x7fff;
	cr_assert_eq(httpd_start(&h, &o, echo, NULL), ERR_CONFIG);
	httpd_stop(server);
	server = NULL;
	cr_assert_eq(stat(path, &st), 0);
}
