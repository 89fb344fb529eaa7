#include <sys/socket.h>

#include <linux/filter.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/rd.h"
#include "node/channel/mute.h"

/* For each source at most six instructions; before and behind them, eight. */
#define CODE_MAX (6u * MUTE_MAX + 8u)
#define FDS 4096
#define PASS 0xffffffffu
#define DROP 0u

struct mute {
	int fd; /* the listener's; borrows */
	unsigned n;
	struct muted {
		uint8_t source[SOURCE_LEN];
		uint64_t until_ms;
	} muted[MUTE_MAX];
};

/* ---- the socket ---- */

static bool
listens_at(int fd, uint16_t port)
{
	struct sockaddr_storage sa = { 0 };
	socklen_t len = sizeof sa;
	int on = 0;
	socklen_t on_len = sizeof on;

	if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &on, &on_len) != 0 ||
	    on == 0 || getsockname(fd, (struct sockaddr *)&sa, &len) != 0)
		return false;
	if (sa.ss_family == AF_INET)
		return ((const struct sockaddr_in *)&sa)->sin_port ==
		    htons(port);
	return sa.ss_family == AF_INET6 &&
	    ((const struct sockaddr_in6 *)&sa)->sin6_port == htons(port);
}

/* nng does not tell the descriptor that it listens with; nor may a confined
 * process look into /proc.  It is one of the first. */
static int
find_listener(uint16_t port)
{
	for (int fd = 0; fd < FDS; fd++)
		if (listens_at(fd, port))
			return fd;
	return -1;
}

/* ---- the filter ---- */

struct code {
	struct sock_filter at[CODE_MAX];
	unsigned short n;
};

static void
put(struct code *c, uint16_t op, uint32_t k, uint8_t yes, uint8_t no)
{
	c->at[c->n++] =
	    (struct sock_filter){ .code = op, .k = k, .jt = yes, .jf = no };
}

/* Of the network header, wherever the packet's data begins. */
static void
load(struct code *c, uint16_t size, uint32_t offset)
{
	put(c, BPF_LD | BPF_ABS | size, (uint32_t)SKF_NET_OFF + offset, 0, 0);
}

static void
is(struct code *c, uint32_t value, uint8_t skip_if_not)
{
	put(c, BPF_JMP | BPF_JEQ | BPF_K, value, 0, skip_if_not);
}

/* What comes from a muted source is dropped, everything else is not. */
static void
write_filter(struct code *c, const struct mute *m)
{
	load(c, BPF_B, 0);
	put(c, BPF_ALU | BPF_RSH | BPF_K, 4, 0, 0);
	put(c, BPF_MISC | BPF_TAX, 0, 0, 0); /* X: the version */
	for (unsigned i = 0; i < m->n; i++) {
		const uint8_t *s = m->muted[i].source;
		struct rd address = { .p = s + 1, .left = SOURCE_LEN - 1 };

		put(c, BPF_MISC | BPF_TXA, 0, 0, 0);
		if (s[0] == 4) {
			is(c, 4, 3);
			load(c, BPF_W, 12);
			is(c, rd_be32(&address), 1);
		} else {
			is(c, 6, 5);
			load(c, BPF_W, 8);
			is(c, rd_be32(&address), 3);
			load(c, BPF_W, 12);
			is(c, rd_be32(&address), 1);
		}
		put(c, BPF_RET | BPF_K, DROP, 0, 0);
	}
	put(c, BPF_RET | BPF_K, PASS, 0, 0);
}

static bool
attach(const struct mute *m)
{
	static const int none;
	struct code c = { .n = 0 };
	struct sock_fprog prog;

	if (m->n == 0)
		return setsockopt(m->fd, SOL_SOCKET, SO_DETACH_FILTER, &none,
			   sizeof none) == 0;
	write_filter(&c, m);
	prog = (struct sock_fprog){ .len = c.n, .filter = c.at };
	return setsockopt(m->fd, SOL_SOCKET, SO_ATTACH_FILTER, &prog,
		   sizeof prog) == 0;
}

/* ---- public ---- */

enum err
mute_new(struct mute **out, uint16_t port)
{
	struct code c = { .n = 0 };
	struct sock_fprog prog;
	struct mute *m;
	int fd = find_listener(port);

	if (fd < 0)
		return ERR_NOTFOUND;
	if ((m = calloc(1, sizeof *m)) == NULL)
		return ERR_NOMEM;
	m->fd = fd;
	write_filter(&c, m); /* that passes everything */
	prog = (struct sock_fprog){ .len = c.n, .filter = c.at };
	if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &prog, sizeof prog) !=
		0 ||
	    !attach(m)) {
		free(m);
		return ERR_NOTFOUND;
	}
	*out = m;
	return ERR_OK;
}

void
mute_free(struct mute *m)
{
	free(m);
}

bool
mute_source(
    struct mute *m, const uint8_t source[static SOURCE_LEN], uint64_t now_ms)
{
	if (source[0] != 4 && source[0] != 6)
		return false;
	for (unsigned i = 0; i < m->n; i++)
		if (memcmp(m->muted[i].source, source, SOURCE_LEN) == 0)
			return true; /* what was on its way already */
	if (m->n == MUTE_MAX)
		return false;
	memcpy(m->muted[m->n].source, source, SOURCE_LEN);
	m->muted[m->n++].until_ms = now_ms + MUTE_MS;
	if (attach(m))
		return true;
	m->n--;
	return false;
}

void
mute_tick(struct mute *m, uint64_t now_ms)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < m->n; i++)
		if (m->muted[i].until_ms > now_ms)
			m->muted[kept++] = m->muted[i];
	if (kept == m->n)
		return;
	m->n = kept;
	(void)attach(m);
}

unsigned
mute_count(const struct mute *m)
{
	return m->n;
}
