/* server_int: what the two files of the answering side share.
 *
 *   server.c       listener, budgets, loop, the public calls
 *   server_conn.c  one connection: its bytes, its session, its end
 *
 * All of it belongs to the loop thread.  nng's threads touch an inbox node
 * and nothing else; each operation has one node, so the inbox is bounded by
 * the number of connections. */
#ifndef NODE_CHANNEL_SERVER_INT_H
#define NODE_CHANNEL_SERVER_INT_H

#include <nng/nng.h>

#include "node/channel/session.h"

#define RECV_CHUNK (16u * 1024)
/* How long a refused peer may take to read why. */
#define DRAIN_MS 2000
/* How long a session with expired evidence may try to renew it. */
#define EXPIRED_GRACE_S 60

struct inbox_node {
	struct inbox_node *next;
	struct channel_server *server; /* borrows */
	struct conn *conn; /* borrows; NULL: the listener's */
	nng_aio *aio; /* owns */
	void (*handle)(struct inbox_node *n);
	bool posted; /* with nng, or in the inbox */
	int rv; /* written by nng's thread, read after the inbox */
	size_t count;
};

enum conn_state {
	CONN_HALF, /* handshake, and both proofs */
	CONN_OPEN,
	CONN_DRAIN, /* refused: flush, then wait for the peer to go */
	CONN_CLOSED, /* waits for nng and the workers to let go */
};

struct job; /* prove or check, on a worker */

struct conn {
	struct channel_server *server; /* borrows */
	uint64_t id;
	uint32_t slot;
	uint8_t source[17]; /* address family, address (IPv6: its /64) */
	enum conn_state state;
	bool was_open, pumping;
	nng_stream *stream; /* owns */
	struct inbox_node rx, tx;
	struct session *session; /* owns */
	struct job *job; /* owns while it runs, or NULL */
	struct attested peer;
	int64_t expires; /* unix seconds; of the peer's evidence */
	unsigned pending; /* requests not yet answered */
	uint64_t state_ms; /* since when in this state */
	uint64_t active_ms; /* last whole message */
	struct buf sending, out; /* own: with nng; behind it */
	size_t sent;
	/* in[at..end) is not yet fed; behind it nng may be writing.  It is
	 * read ahead of what may be fed, so that a peer's end is noticed
	 * while its request is still being worked on. */
	size_t at, end;
	uint8_t in[RECV_CHUNK];
};

struct channel_server {
	uv_loop_t *loop; /* borrows */
	struct channel_server_options o;
	uv_async_t wake;
	uv_timer_t tick;
	unsigned n_handles; /* open uv handles */
	uv_mutex_t lock; /* of the inbox */
	struct inbox_node *first, **last;
	nng_stream_listener *listener; /* owns */
	struct inbox_node accept;
	uint16_t port;
	struct server_keys *keys; /* owns, secret */
	uint8_t s_pub[32];
	struct conn **slot; /* owns */
	uint32_t n_slots, next_slot;
	uint64_t next_seq;
	unsigned n_half; /* never opened; until freed */
	unsigned n_open;
	struct channel_stats stats;
	bool stopping;
	void (*done)(void *cookie);
	void *done_cookie;
};

/* Closed except while a Noise handshake reads them. */
struct server_keys {
	uint8_t s[32];
	uint8_t cookie[32];
};

/* server.c */
enum err server_node_init(struct inbox_node *n, struct channel_server *s,
    struct conn *c, void (*handle)(struct inbox_node *n));
void server_forget(struct conn *c); /* its slot is free again */

/* server_conn.c */
enum err conn_new(struct conn **out, struct channel_server *s,
    nng_stream *stream, const uint8_t source[static 17], uint32_t slot,
    uint64_t id);
void conn_start(struct conn *c);
/* conn_pump goes on with whatever can go on; `c` may be gone afterwards. */
void conn_pump(struct conn *c);
void conn_refuse(struct conn *c, const struct refusal *why);
void conn_close(struct conn *c);
void conn_tick(struct conn *c, uint64_t now_ms, int64_t now_s);
enum err conn_reply(struct conn *c, struct bytes reply);
struct channel_caller conn_caller(const struct conn *c);

#endif
