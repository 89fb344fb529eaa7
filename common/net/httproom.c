#include <netinet/in.h>
#include <sys/socket.h>

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include <sodium.h>

#include "common/base/secret.h"
#include "common/net/httproom.h"
#include "common/net/source.h"

/* What a client has, for certain, where all connections are in use. */
#define FULL_MS 1000u
#define FULL_LINGER_MS 250u
#define NOT_READ 4096u

_Static_assert(crypto_shorthash_KEYBYTES == sizeof((struct httproom *)0)->key,
    "the key is one of shorthash");

void
httproom_init(struct httproom *r)
{
	memset(r, 0, sizeof *r);
	secret_random(r->key, sizeof r->key);
}

/* The process at the other end of a unix socket has no family. */
static void
source_of(
    uint8_t out[static SOURCE_LEN], int fd, const struct sockaddr_storage *from)
{
	struct ucred peer = { 0 };
	socklen_t len = sizeof peer;

	if (from->ss_family == AF_INET) {
		source_ip4(out, &((const struct sockaddr_in *)from)->sin_addr);
		return;
	}
	if (from->ss_family == AF_INET6) {
		source_ip6(
		    out, &((const struct sockaddr_in6 *)from)->sin6_addr);
		return;
	}
	(void)getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len);
	memset(out, 0, SOURCE_LEN);
	memcpy(out + 1, &peer.pid, sizeof peer.pid);
}

int
httproom_accept(const struct httproom *r, int listener, unsigned *bucket)
{
	struct sockaddr_storage from = { 0 };
	struct pollfd waiting = { .fd = listener, .events = POLLIN };
	socklen_t from_len = sizeof from;
	uint8_t source[SOURCE_LEN];
	uint64_t h;
	int fd;

	do {
		fd = accept4(listener, (struct sockaddr *)&from, &from_len,
		    SOCK_CLOEXEC | SOCK_NONBLOCK);
	} while (fd < 0 && (errno == EINTR || errno == ECONNABORTED));
	/* Without a descriptor it does not look whether anybody is there. */
	if (fd < 0)
		return (errno == EMFILE || errno == ENFILE ||
			   errno == ENOBUFS || errno == ENOMEM) &&
			poll(&waiting, 1, 0) == 1
		    ? HTTPROOM_NO_DESCRIPTOR
		    : HTTPROOM_NOBODY;
	source_of(source, fd, &from);
	(void)crypto_shorthash((uint8_t *)&h, source, sizeof source, r->key);
	*bucket = (unsigned)(h % HTTPROOM_BUCKETS);
	return fd;
}

/* Whether it may go though its source holds no more than others. */
static bool
had_its_time(const struct httpconn *c, uint64_t now_ms)
{
	switch (c->state) {
	case HTTPCONN_READING:
		return now_ms >= c->began_ms + FULL_MS;
	case HTTPCONN_WRITING:
		return now_ms >= c->heard_ms + FULL_MS;
	case HTTPCONN_LINGERING:
		return now_ms >= c->began_ms + FULL_LINGER_MS;
	case HTTPCONN_HANDLED:
		break;
	}
	return false;
}

/* Whether `a` goes before `b`; both may. */
static bool
goes_first(const struct httpconn *a, unsigned a_held, const struct httpconn *b,
    unsigned b_held)
{
	bool a_done = a->state == HTTPCONN_LINGERING;
	bool b_done = b->state == HTTPCONN_LINGERING;

	if (a_held != b_held)
		return a_held > b_held;
	if (a_done != b_done)
		return a_done;
	/* The list begins with the newest. */
	return a->began_ms <= b->began_ms;
}

struct httpconn *
httproom_victim(const struct httproom *r, struct httpconn *conns,
    unsigned bucket, uint64_t now_ms)
{
	const bool known = bucket < HTTPROOM_BUCKETS;
	struct httpconn *out = NULL;
	unsigned out_held = 0;

	for (struct httpconn *c = conns; c != NULL; c = c->next) {
		unsigned held = 0; /* no more than is its due */

		if (c->state == HTTPCONN_HANDLED)
			continue;
		if (known && r->held[c->bucket] >= r->held[bucket] + 2)
			held = r->held[c->bucket];
		else if (!had_its_time(c, now_ms))
			continue;
		if (out == NULL || goes_first(c, held, out, out_held)) {
			out = c;
			out_held = held;
		}
	}
	return out;
}

void
httproom_refuse(int fd)
{
	static const char full[] =
	    "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\n"
	    "Content-Type: application/json\r\nRetry-After: 1\r\n"
	    "Content-Length: 32\r\n\r\n"
	    "{\"error\":\"too many connections\"}";
	uint8_t request[NOT_READ];
	ssize_t n;

	(void)send(fd, full, sizeof full - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
	(void)shutdown(fd, SHUT_WR);
	/* What is unread when it closes would reset it. */
	n = recv(fd, request, sizeof request, MSG_DONTWAIT);
	if (n > 0)
		secret_wipe(request, (size_t)n);
	(void)close(fd);
}
