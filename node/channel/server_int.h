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

#include "common/base/limits.h"
#include "common/base/rate.h"
#include "node/channel/mute.h"
#include "node/channel/session.h"

/* Accepts that wait at once: what nng does for one connection (a turn of its
 * poller, of a worker, of our loop) it then does for many. */
#define ACCEPTS 32
/* Connections accepted in a second, whoever begins them: a tenth of a core at
 * most.  The others wait with the kernel, or try again. */
#define ACCEPTS_PER_S 2000u
#define ACCEPT_PAUSE_MS 20u
/* Between two words on accepts that fail. */
#define ACCEPT_TOLD_MS 10000u
/* Handshakes begun in a second, whoever begins them: the same once more. */
#define HANDSHAKES_PER_S 500u
/* Sources whose handshakes are counted. */
#define SOURCES 2048u
#define RECV_CHUNK (16u * 1024)
/* How long a refused peer may take to read why. */
#define DRAIN_MS 2000
/* How long a session with expired evidence may try to renew it. */
#define EXPIRED_GRACE_S 60
/* Of what max_memory is about: who holds less is left alone. */
#define MEMORY_SMALL (256u * 1024)
/* What one connection may hold: a message that comes, and in each of its two
 * buffers replies to all that it may ask at once, or evidence; they grow by
 * doubling. */
#define MEMORY_EACH(pending) \
	(sizeof(struct conn) + \
	    2 * (2 * (size_t)(pending) + 1) * (LIMIT_MESSAGE + 1024) + \
	    4 * LIMIT_CHANNEL_UNSENT + 6 * LIMIT_EVIDENCE)
/* A bucket of handshakes or requests holds what is due in so many seconds. */
#define BURST_S 2u
/* Devices whose requests are counted. */
#define DEVICES 2048u
#define DEVICE_FACTOR 4u
/* Requests over its rate that a session may make before it is ended. */
#define PATIENCE_PER_S 20u
#define PATIENCE_BURST 200u

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
	uint8_t source[SOURCE_LEN];
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
	uint64_t active_ms; /* last whole frame, or answer of ours */
	uint64_t frame_ms; /* when the frame began that is not whole */
	uint64_t sending_ms; /* when `sending` went to nng */
	struct rate requests, patience; /* of an app */
	size_t memory; /* bytes held, as counted in the server's sum */
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
	uv_timer_t tick, pause; /* pause: until more are accepted */
	unsigned n_handles; /* open uv handles */
	uv_mutex_t lock; /* of the inbox */
	struct inbox_node *first, **last;
	nng_stream_listener *listener; /* owns */
	struct inbox_node accept[ACCEPTS];
	struct rates *sources; /* owns: handshakes begun, by source */
	struct mute *mute; /* owns, or NULL: the kernel has no filters */
	struct rate handshakes, accepts; /* of all of them */
	uint64_t accept_told_ms; /* when that it fails was logged; 0: never */
	uint16_t port;
	struct server_keys *keys; /* owns, secret */
	uint8_t s_pub[32];
	struct conn **slot; /* owns */
	uint32_t n_slots, next_slot;
	uint64_t next_seq;
	unsigned n_half; /* never opened; until freed */
	unsigned n_open, n_peers; /* sessions; those of KMS nodes */
	struct rates *devices; /* owns: requests of apps, by device */
	size_t memory; /* of all connections */
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
/* Counts anew what it holds, in the sum of all. */
void server_count(struct conn *c);
/* Whether one more session of this peer is one too many: of all, and once it
 * is known who it is (`checked`) of its source, platform or app. */
bool server_full(const struct conn *c, bool checked);

/* server_conn.c */
enum err conn_new(struct conn **out, struct channel_server *s,
    nng_stream *stream, const uint8_t source[static SOURCE_LEN], uint32_t slot,
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
