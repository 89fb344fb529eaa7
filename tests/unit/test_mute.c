/* Sources that the kernel does not answer: those that were named, no others,
 * and not for ever. */
#include <arpa/inet.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
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
source4(uint8_t out[static MUTE_SOURCE_LEN], uint32_t address)
{
	uint32_t be = htonl(address);

	memset(out, 0, MUTE_SOURCE_LEN);
	out[0] = 4;
	memcpy(out + 1, &be, 4);
}

/* The named source alone is not answered, until its time is over. */
Test(mute, one_source, .timeout = 60)
{
	uint8_t source[MUTE_SOURCE_LEN];
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
	uint8_t source[MUTE_SOURCE_LEN];
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
	uint8_t source[MUTE_SOURCE_LEN];
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
	const uint8_t none[MUTE_SOURCE_LEN] = { 0 };
	const uint8_t other[MUTE_SOURCE_LEN] = { 5, 1 };
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
