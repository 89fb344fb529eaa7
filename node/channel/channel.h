/* channel: the attested channel, DESIGN 5.
 *
 * Noise_XX_25519_ChaChaPoly_SHA256, then both sides show evidence bound to
 * the handshake hash, on one connection.  The dialling side has a role (KMS
 * peer or app); the answering side is always a KMS node.
 *
 * report_data = SHA-512("devproof-kms/channel/v1" || role || handshake hash
 *                       || own static key), role: 1 byte.
 *
 * This header is what users of the channel see.  PROTOCOL in README.md. */
#ifndef NODE_CHANNEL_CHANNEL_H
#define NODE_CHANNEL_CHANNEL_H

#include <uv.h>

#include "common/attest/evidence.h"

enum channel_role {
	CHANNEL_KMS_SERVER = 1, /* the answering KMS node */
	CHANNEL_KMS_PEER = 2, /* a KMS node that dials another */
	CHANNEL_APP = 3, /* a CVM agent that wants keys */
};

/* What a channel needs from its owner.  Both callbacks block and run on
 * worker threads, several at once. */
struct channel_context {
	uint64_t chain_id; /* prologue */
	uint8_t kms_contract[20]; /* prologue */
	int64_t evidence_life_s; /* how long shown evidence is believed */
	void *cookie;
	/* Makes this side's evidence over the report data. */
	enum err (*prove)(void *cookie, struct evidence *out,
	    const uint8_t report_data[static 64], struct refusal *why);
	/* Verifies the peer's evidence and asks this side's own policy
	 * whether it may talk (peer: isKmsAllowed; app side: the KMS that
	 * the contract names).  ERR_OK fills `*out`. */
	enum err (*check)(void *cookie, struct attested *out,
	    const struct evidence *e, const uint8_t report_data[static 64],
	    enum channel_role peer_role, struct refusal *why);
	/* Unix seconds. */
	int64_t (*now)(void *cookie);
	/* Dialling side; may be NULL.  Borrowed for the channel's life. */
	struct channel_abort *abort;
};

/* ---- the dialling side: blocking, one thread at a time per channel ---- */

struct channel; /* opaque */

/* channel_abort: a switch that any thread may turn, for the one channel at a
 * time that was dialled with it.  Once it is fired, what the channel waits
 * for ends (ERR_IO), and nothing new begins; a `prove` or `check` under way
 * runs to its end.  The owner frees it after the channel. */
struct channel_abort; /* opaque */
enum err channel_abort_new(struct channel_abort **out);
void channel_abort_free(struct channel_abort *a); /* NULL is fine */
void channel_abort_fire(struct channel_abort *a); /* never blocks */
/* Ready for the next channel; the last one is closed. */
void channel_abort_reset(struct channel_abort *a);

/* channel_dial connects to "tcp://host:port", runs the handshake and both
 * attestations.  `role` is CHANNEL_KMS_PEER or CHANNEL_APP.
 * ERR_DENIED: `*why` has the reason (ours, or the one the peer sent). */
enum err channel_dial(struct channel **out, const struct channel_context *cx,
    enum channel_role role, const char *url, unsigned timeout_ms,
    struct refusal *why);

/* channel_call sends one request and waits for its reply (both opaque
 * bytes of at most LIMIT_MESSAGE).  Any error but ERR_LIMIT leaves the
 * channel unusable: close it.  If our or the peer's evidence is past half
 * its life, it is renewed first, on the same session. */
enum err channel_call(struct channel *c, struct buf *reply,
    struct bytes request, unsigned timeout_ms, struct refusal *why);

/* channel_renew shows and asks for fresh evidence now. */
enum err channel_renew(
    struct channel *c, unsigned timeout_ms, struct refusal *why);

const struct attested *channel_peer(const struct channel *c);
/* 32 bytes that name the session; the answering side sees the same in its
 * channel_caller.  Borrowed for the channel's life. */
const uint8_t *channel_handshake_hash(const struct channel *c);
void channel_close(struct channel *c); /* NULL is fine */

/* ---- the answering side: lives on the owner's uv loop ---- */

struct channel_server; /* opaque */

struct channel_limits {
	/* Authenticated; a sixteenth of them is kept for KMS nodes. */
	unsigned max_sessions;
	/* Of apps: with one address, and with one platform whoever runs there;
	 * of one app on one platform half as many as that. */
	unsigned max_sessions_per_source, max_sessions_per_device;
	/* Of apps, in a second; twice at once.  On all sessions of a platform
	 * four times as many. */
	unsigned requests_per_session;
	unsigned max_half_open; /* before authentication, in all */
	unsigned max_half_open_per_source; /* per remote address */
	unsigned handshakes_per_source; /* begun in a second; twice at once */
	unsigned handshake_timeout_ms;
	unsigned idle_timeout_ms;
	/* For a frame that has begun, and for what is sent to be taken. */
	unsigned message_timeout_ms;
	/* Bytes of all connections; over it those that hold much are ended. */
	size_t max_memory;
	unsigned max_pending_requests; /* per session, unanswered */
};

void channel_limits_default(struct channel_limits *out);

struct channel_stats {
	/* accept_failed: no descriptor was left; it is tried again. */
	uint64_t accepted, accept_failed, refused_rate, muted, refused_budget,
	    handshake_failed, sessions_open, half_open, frames_refused;
	uint64_t memory; /* bytes that connections hold now */
	uint64_t refusals[REASON_COUNT]; /* by reason, both phases */
};

/* What a request handler knows about its caller; borrowed for the call. */
struct channel_caller {
	uint64_t conn; /* names the connection; never reused */
	enum channel_role role;
	const struct attested *peer;
	const uint8_t *handshake_hash; /* 32 bytes, names the session */
	/* This request is one more than its rate allows: it is to be answered
	 * with REASON_RATE, and nothing done for it. */
	bool over_rate;
};

struct channel_server_options {
	const char *listen_url; /* "tcp://0.0.0.0:0" takes a free port */
	struct channel_limits limits;
	const struct channel_context *cx; /* borrowed for the life */
	/* All called on the loop thread. */
	void (*on_request)(void *cookie, const struct channel_caller *who,
	    struct bytes request);
	void (*on_close)(void *cookie, uint64_t conn); /* may be NULL */
	void *cookie; /* of the two above */
};

enum err channel_server_start(struct channel_server **out, uv_loop_t *loop,
    const struct channel_server_options *o);
uint16_t channel_server_port(const struct channel_server *s);

/* channel_server_reply answers the oldest unanswered request of `conn`.
 * ERR_NOTFOUND if the connection is gone: nothing else happens.  After any
 * other error but ERR_PHASE (there is no such request) it is on its way out. */
enum err channel_server_reply(
    struct channel_server *s, uint64_t conn, struct bytes reply);
/* channel_server_drop tells the peer the reason, if it can, and closes. */
void channel_server_drop(
    struct channel_server *s, uint64_t conn, enum reason why);
void channel_server_stats(
    const struct channel_server *s, struct channel_stats *out);
/* channel_server_each calls `fn` for each authenticated session. */
void channel_server_each(struct channel_server *s,
    void (*fn)(void *cookie, const struct channel_caller *who), void *cookie);
/* channel_server_stop closes all; `done` runs on the loop afterwards. */
void channel_server_stop(
    struct channel_server *s, void (*done)(void *cookie), void *cookie);

#endif
