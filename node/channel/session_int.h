/* session_int: what the three files of a session share.
 *
 *   session.c        frames in, and what the owner says
 *   session_shake.c  the handshake's frames
 *   session_msg.c    sealed messages, both ways */
#ifndef NODE_CHANNEL_SESSION_INT_H
#define NODE_CHANNEL_SESSION_INT_H

#include "node/channel/frame.h"
#include "node/channel/noise.h"
#include "node/channel/session.h"

#define COOKIE_LEN 32
#define HELLO_LEN (1 + COOKIE_LEN + NOISE_MSG1_LEN)
#define COUNTER_LEN 8
#define NONCE_LEN 32
/* Counter, message type, tag. */
#define DATA_MIN (COUNTER_LEN + 1 + NOISE_TAG_LEN)

enum phase {
	P_HELLO, /* answering: nothing yet */
	P_ANSWER, /* dialling: message 1 is out */
	P_FINISH, /* answering: message 2 is out */
	P_PROVING, /* the owner makes our evidence */
	P_EVIDENCE, /* the peer is to show its evidence */
	P_CHECKING, /* the owner looks at it */
	P_NONCE, /* dialling, renewing: we sent our nonce, wait for theirs */
	P_OPEN,
	P_DEAD,
};

enum message {
	M_EVIDENCE = 1,
	M_REFUSED = 2, /* label length, label, text: ends the session */
	M_REQUEST = 3,
	M_REPLY = 4,
	M_REQUEST_REFUSED = 5, /* as M_REFUSED, for one request */
	M_REKEY = 6, /* the sender's next frame is under a new key */
	M_RENEW = 7, /* dialler: a nonce */
	M_NONCE = 8, /* answerer: a nonce */
	M_RENEWAL = 9, /* evidence over the peer's nonce */
};

struct direction {
	struct noise_cipher c; /* secret */
	uint32_t frames; /* under this key */
	uint64_t since_ms;
};

/* In guarded memory: it holds the ephemeral and the traffic keys. */
struct session {
	enum channel_role role, peer_role;
	enum phase phase;
	bool dialling, keyed, renewing, opened, challenge, challenged,
	    peer_refused, refused;
	struct noise noise;
	uint8_t prologue_tail[8 + 20]; /* chain id, contract */
	const uint8_t *s; /* borrows, until Noise is done */
	uint8_t s_pub[32], e[32], hello[NOISE_MSG1_LEN];
	const uint8_t *cookie_key; /* borrows */
	uint8_t source[40];
	void (*random)(void *out, size_t len);
	uint32_t rekey_frames, rekey_ms;

	struct direction tx, rx;
	uint8_t own_nonce[NONCE_LEN], peer_nonce[NONCE_LEN];
	uint64_t n_renewals;
	uint32_t unanswered; /* requests: sent, if we dial, or taken */
	struct evidence evidence; /* the peer's, in P_CHECKING */

	uint8_t head[FRAME_HEAD_LEN];
	size_t head_len;
	struct frame_head frame; /* parsed, once head_len is full */
	uint64_t n_frames; /* that came whole */
	struct buf in; /* owns: the frame so far; then its plaintext */
	bool has_body; /* `in` holds plaintext of the last event */
};

/* session_shake.c */
void session_noise_start(struct session *s);
enum err session_put_hello(
    struct session *s, struct buf *out, const uint8_t *cookie);
enum err session_on_hello(
    struct session *s, struct buf *out, struct bytes in, struct refusal *why);
enum err session_on_retry(
    struct session *s, struct buf *out, struct bytes in, struct refusal *why);
enum err session_on_answer(struct session *s, struct session_event *ev,
    struct buf *out, struct bytes in, uint64_t now_ms, struct refusal *why);
enum err session_on_finish(
    struct session *s, struct bytes in, uint64_t now_ms, struct refusal *why);

/* session_msg.c */
void session_want_prove(struct session *s, struct session_event *ev);
enum err session_put_message(struct session *s, struct buf *out,
    enum message type, struct bytes body, uint64_t now_ms);
enum err session_put_reason(struct session *s, struct buf *out,
    enum message type, enum reason code, uint64_t now_ms);
enum err session_on_data(struct session *s, struct session_event *ev,
    struct buf *out, uint64_t now_ms, struct refusal *why);

#endif
