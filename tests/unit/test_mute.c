/* Sources that the kernel does not answer: those that were named, no others,
 * and not for ever. */
#include <arpa/inet.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "common/net/listen.h"
#include "node/channel/mute.h"

/* Long for a loopback connection, short for the first repeat of a SYN (1 s). */
#define SOON_MS 300

static struct mute *
open_mute(int *fd, uint16_t *port, const char *host)
{
	struct mute *m = NULL;

	cr_assert_eq(listen_tcp(fd, port, host, 0), ERR_OK);
	if (mute_new(&m, *port) != ERR_OK)
		cr_skip_test("no filters on sockets here");
	return m;
}

static bool
connects(int family, const struct sockaddr *from, const struct sockaddr *to,
    socklen_t len)
{
	int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK, 0), error = 0;
	struct pollfd p = { .fd = fd, .events = POLLOUT };
	socklen_t error_len = sizeof error;
	bool yes;

	cr_assert_geq(fd, 0);
	cr_assert_eq(bind(fd, from, len), 0);
	(void)connect(fd, to, len);
	yes = poll(&p, 1, SOON_MS) == 1 &&
	    getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &error_len) == 0 &&
	    error == 0;
	(void)close(fd);
	return yes;
}

static bool
connects4(uint32_t from, uint16_t port)
{
	const struct sockaddr_in a = { .sin_family = AF_INET,
		.sin_addr.s_addr = htonl(from) };
	const struct sockaddr_in b = { .sin_family = AF_INET,
		.sin_port = htons(port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };

	return connects(AF_INET, (const struct sockaddr *)&a,
	    (const struct sockaddr *)&b, sizeof a);
}

static void
source4(uint8_t out[static SOURCE_LEN], uint32_t address)
{
	uint32_t be = htonl(address);

	source_ip4(out, &be);
}

/* The named source alone is not answered, until its time is over. */
Test(mute, one_source, .timeout = 60)
{
	uint8_t source[SOURCE_LEN];
	uint16_t port;
	int fd;
	struct mute *m = open_mute(&fd, &port, "127.0.0.1");

	cr_assert(connects4(0x7f000002, port));
	source4(source, 0x7f000002);
	cr_assert(mute_source(m, source, 1000));
	cr_assert_eq(mute_count(m), 1);
	cr_assert(!connects4(0x7f000002, port));
	cr_assert(connects4(0x7f000003, port));
	cr_assert(connects4(0x7f000001, port));
	/* Again is not longer. */
	cr_assert(mute_source(m, source, 1500));
	cr_assert_eq(mute_count(m), 1);
	mute_tick(m, 1000 + MUTE_MS - 1);
	cr_assert(!connects4(0x7f000002, port));
	mute_tick(m, 1000 + MUTE_MS);
	cr_assert_eq(mute_count(m), 0);
	cr_assert(connects4(0x7f000002, port));
	mute_free(m);
	close(fd);
}

/* As many as there is place for, each of them; one more is told. */
Test(mute, most, .timeout = 60)
{
	uint8_t source[SOURCE_LEN];
	uint16_t port;
	int fd;
	struct mute *m = open_mute(&fd, &port, "127.0.0.1");

	for (uint32_t i = 0; i < MUTE_MAX; i++) {
		source4(source, 0x7f000100 + i);
		cr_assert(mute_source(m, source, i));
	}
	source4(source, 0x7f000100 + MUTE_MAX);
	cr_assert(!mute_source(m, source, 0));
	cr_assert_eq(mute_count(m), MUTE_MAX);
	cr_assert(!connects4(0x7f000100, port));
	cr_assert(!connects4(0x7f000100 + MUTE_MAX - 1, port));
	cr_assert(connects4(0x7f000100 + MUTE_MAX, port));
	mute_tick(m, MUTE_MS); /* the first alone */
	cr_assert_eq(mute_count(m), MUTE_MAX - 1);
	cr_assert(connects4(0x7f000100, port));
	cr_assert(!connects4(0x7f000101, port));
	mute_free(m);
	close(fd);
}

/* An IPv6 source is its /64, beside IPv4 ones. */
Test(mute, ipv6, .timeout = 60)
{
	const struct sockaddr_in6 a = { .sin6_family = AF_INET6,
		.sin6_addr = IN6ADDR_LOOPBACK_INIT };
	struct sockaddr_in6 b = a;
	uint8_t source[SOURCE_LEN];
	uint16_t port;
	int fd;
	struct mute *m;

	if (listen_tcp(&fd, &port, "::1", 0) != ERR_OK)
		cr_skip_test("no IPv6 here");
	close(fd);
	m = open_mute(&fd, &port, "::1");
	b.sin6_port = htons(port);
	source4(source, 0x7f000002);
	cr_assert(mute_source(m, source, 0));
	memset(source, 0, sizeof source);
	source[0] = 6;
	source[8] = 1; /* another /64 */
	cr_assert(mute_source(m, source, 0));
	cr_assert(connects(AF_INET6, (const struct sockaddr *)&a,
	    (const struct sockaddr *)&b, sizeof a));
	source[8] = 0;
	cr_assert(mute_source(m, source, 1));
	cr_assert(!connects(AF_INET6, (const struct sockaddr *)&a,
	    (const struct sockaddr *)&b, sizeof a));
	mute_tick(m, 1 + MUTE_MS);
	cr_assert(connects(AF_INET6, (const struct sockaddr *)&a,
	    (const struct sockaddr *)&b, sizeof a));
	mute_free(m);
	close(fd);
}

/* Who has no address is not muted; a port where nobody listens has no filter. */
Test(mute, refusals, .timeout = 60)
{
	const uint8_t none[SOURCE_LEN] = { 0 };
	const uint8_t other[SOURCE_LEN] = { 5, 1 };
	struct mute *m, *no = NULL;
	uint16_t port;
	int fd;

	m = open_mute(&fd, &port, "127.0.0.1");
	cr_assert(!mute_source(m, none, 0));
	cr_assert(!mute_source(m, other, 0));
	cr_assert_eq(mute_count(m), 0);
	mute_free(m);
	close(fd);
	cr_assert_eq(mute_new(&no, port), ERR_NOTFOUND);
	cr_assert_null(no);
	mute_free(NULL);
}

static int
listens6(uint16_t *port)
{
	struct sockaddr_in6 a = { .sin6_family = AF_INET6,
		.sin6_addr = IN6ADDR_LOOPBACK_INIT };
	socklen_t len = sizeof a;
	int fd = socket(AF_INET6, SOCK_STREAM, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof a) != 0 ||
	    listen(fd, 4) != 0)
		cr_skip_test("no IPv6 here");
	cr_assert_eq(getsockname(fd, (struct sockaddr *)&a, &len), 0);
	*port = ntohs(a.sin6_port);
	return fd;
}

/* Of several sockets that listen it is the one at that port: neither one of
 * another kind, nor one at another port of either version. */
Test(mute, the_right_socket, .timeout = 60)
{
	const struct sockaddr_un at = { .sun_family = AF_UNIX,
		.sun_path = "\0devproof-kms-test-mute" };
	struct sockaddr_in6 a = { .sin6_family = AF_INET6,
		.sin6_addr = IN6ADDR_LOOPBACK_INIT };
	struct sockaddr_in6 b = a;
	uint8_t source[SOURCE_LEN] = { 6 };
	uint16_t first, second, four;
	int local = socket(AF_UNIX, SOCK_STREAM, 0), fd[3];
	struct mute *m;

	/* In this order: those that are not meant come first. */
	(void)bind(local, (const struct sockaddr *)&at, sizeof at);
	cr_assert_eq(listen(local, 1), 0);
	cr_assert_eq(listen_tcp(&fd[0], &four, "127.0.0.1", 0), ERR_OK);
	fd[1] = listens6(&first);
	fd[2] = listens6(&second);
	if (mute_new(&m, second) != ERR_OK)
		cr_skip_test("no filters on sockets here");
	cr_assert(mute_source(m, source, 0)); /* ::/64, where ::1 is */
	b.sin6_port = htons(second);
	cr_assert_not(connects(AF_INET6, (const struct sockaddr *)&a,
	    (const struct sockaddr *)&b, sizeof a));
	b.sin6_port = htons(first);
	cr_assert(connects(AF_INET6, (const struct sockaddr *)&a,
	    (const struct sockaddr *)&b, sizeof a));
	cr_assert(connects4(INADDR_LOOPBACK, four));
	mute_free(m);
	close(local);
	for (unsigned i = 0; i < 3; i++)
		close(fd[i]);
}

/* Where the kernel does not take the filter, nobody is said to be muted. */
Test(mute, socket_is_gone, .timeout = 60)
{
	uint8_t source[SOURCE_LEN];
	uint16_t port;
	int fd;
	struct mute *m = open_mute(&fd, &port, "127.0.0.1");

	close(fd);
	source4(source, 0x7f000002);
	cr_assert_not(mute_source(m, source, 0));
	cr_assert_eq(mute_count(m), 0);
	mute_free(m);
}
