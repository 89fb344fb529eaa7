/* session: one attested channel as a pure state machine.
 *
 * Bytes of the stream go in, bytes for the stream and events come out; the
 * time and the source of randomness are given.  It does no I/O, knows no
 * nng, and runs the same on both sides.  PROTOCOL in README.md.
 *
 * Every function that returns ERR_DENIED has filled `*why`, and the session
 * is dead: session_refuse may still tell the peer, then free it. */
#ifndef NODE_CHANNEL_SESSION_H
#define NODE_CHANNEL_SESSION_H

#include "node/channel/channel.h"

/* A key seals this many frames, the one that replaces it included ... */
#define SESSION_REKEY_FRAMES (1u << 16)
/* ... and no others once it is this old (receivers allow twice that). */
#define SESSION_REKEY_MS (10u * 60 * 1000)

struct session; /* opaque */

struct session_options {
	enum channel_role role; /* our own; KMS_SERVER answers, others dial */
	uint64_t chain_id;
	const uint8_t *kms_contract; /* 20 bytes; borrowed for the call */
	/* Static key pair; the secret is borrowed until Noise is done
	 * (session_handshaking), and is read inside session_feed alone. */
	const uint8_t *s;
	const uint8_t *s_pub;
	/* Answering side: makes cookies for `source`, which names the
	 * connection and its address; borrowed for the life. */
	const uint8_t *cookie_key; /* 32 bytes */
	uint8_t source[40];
	void (*random)(void *out, size_t len); /* NULL: secret_random */
	uint32_t rekey_frames; /* 0: SESSION_REKEY_FRAMES */
	uint32_t rekey_ms; /* 0: SESSION_REKEY_MS */
};

enum session_event_kind {
	SESSION_IDLE, /* all input is used up */
	SESSION_PROVE, /* make evidence over `report_data`: session_proved */
	SESSION_CHECK, /* check `evidence` against it: session_checked */
	SESSION_OPEN, /* both have shown and checked: requests may flow */
	SESSION_RENEWED, /* the same, again */
	SESSION_REQUEST, /* `body`, from a peer whose evidence was checked */
	SESSION_REPLY, /* `body` */
	SESSION_REQUEST_REFUSED, /* the oldest request; `why` */
};

struct session_event {
	enum session_event_kind kind;
	struct bytes body; /* borrows until session_consumed or _feed */
	struct evidence *evidence; /* borrows until session_checked */
	uint8_t report_data[64];
	struct refusal why;
};

/* session_new begins a session; the dialling side's first frame is
 * appended to `out`.  The caller owns `*s`. */
enum err session_new(struct session **s, struct buf *out,
    const struct session_options *o, uint64_t now_ms);
void session_free(struct session *s); /* NULL is fine */

/* session_feed takes bytes from the front of `*in` up to the next event, or
 * all of them (SESSION_IDLE); frames for the peer are appended to `out`. */
enum err session_feed(struct session *s, struct session_event *ev,
    struct buf *out, struct bytes *in, uint64_t now_ms, struct refusal *why);

/* session_consumed wipes the body of the last event. */
void session_consumed(struct session *s);

/* session_proved sends the evidence that SESSION_PROVE asked for. */
enum err session_proved(struct session *s, struct session_event *ev,
    struct buf *out, const struct evidence *e, uint64_t now_ms,
    struct refusal *why);

/* session_checked says that the evidence of SESSION_CHECK was accepted by
 * the owner; there is no other way to an open session.  If it was not:
 * session_refuse. */
enum err session_checked(struct session *s, struct session_event *ev);

/* Dialling side.  ERR_PHASE unless open and not renewing; ERR_LIMIT. */
enum err session_request(
    struct session *s, struct buf *out, struct bytes body, uint64_t now_ms);
/* session_renew asks for new evidence, and will show ours. */
enum err session_renew(struct session *s, struct buf *out, uint64_t now_ms);

/* Answering side.  ERR_PHASE unless open or renewing and a request is
 * unanswered; ERR_LIMIT. */
enum err session_reply(
    struct session *s, struct buf *out, struct bytes body, uint64_t now_ms);
/* session_reply_refused answers one request with a reason. */
enum err session_reply_refused(
    struct session *s, struct buf *out, enum reason code, uint64_t now_ms);

/* session_refuse ends the session, from any phase; if Noise is done and the
 * peer was not the one to refuse, it is told the reason. */
void session_refuse(
    struct session *s, struct buf *out, enum reason code, uint64_t now_ms);

/* session_challenge makes a coming HELLO need a cookie (or not). */
void session_challenge(struct session *s, bool on);

/* A frame has begun and is not whole. */
bool session_partial(const struct session *s);
/* Frames that came whole. */
uint64_t session_frames(const struct session *s);
/* session_drop lets what has come in go, of a session that is dead (it has
 * failed, or was refused) and whose last event is consumed. */
void session_drop(struct session *s);

/* Bytes that it holds for what came. */
size_t session_memory(const struct session *s);

bool session_handshaking(const struct session *s); /* Noise is not done */
bool session_is_open(const struct session *s); /* maybe renewing */
bool session_renewing(const struct session *s);
bool session_refused_by_peer(const struct session *s);
enum channel_role session_peer_role(const struct session *s);
const uint8_t *session_hash(const struct session *s); /* 32 bytes */

#endif
