/* session: see session.h; the bytes and the steps are those of README.md.
 *
 * Each phase names the one thing that may come next.  What a frame or a
 * message is allowed to be is asked before its content is looked at. */
#include <assert.h>
#include <string.h>

#include "common/base/limits.h"
#include "common/base/planted.h"
#include "common/base/secret.h"
#include "common/base/wr.h"
#include "node/channel/proof.h"
#include "node/channel/session_int.h"

/* An idle session keeps no larger receive buffer than this. */
#define KEEP_RX (64u * 1024)

static_assert(FRAME_HEAD_LEN + HELLO_LEN <= LIMIT_HANDSHAKE_FRAME, "");

enum err
session_new(struct session **out, struct buf *bytes,
    const struct session_options *o, uint64_t now_ms)
{
	static const uint8_t no_cookie[COOKIE_LEN];
	struct session *s = secret_new(sizeof *s);
	struct buf msg = { 0 };
	struct wr w;
	enum err e = ERR_OK;

	if (s == NULL)
		return ERR_NOMEM;
	s->role = o->role;
	s->dialling = o->role != CHANNEL_KMS_SERVER;
	s->peer_role = s->dialling ? CHANNEL_KMS_SERVER : o->role;
	s->phase = s->dialling ? P_ANSWER : P_HELLO;
	w = (struct wr){ .p = s->prologue_tail,
		.cap = sizeof s->prologue_tail };
	wr_be64(&w, o->chain_id);
	wr_bytes(&w, o->kms_contract, 20);
	s->s = o->s;
	memcpy(s->s_pub, o->s_pub, sizeof s->s_pub);
	s->cookie_key = o->cookie_key;
	memcpy(s->source, o->source, sizeof s->source);
	s->random = o->random != NULL ? o->random : secret_random;
	s->rekey_frames =
	    o->rekey_frames != 0 ? o->rekey_frames : SESSION_REKEY_FRAMES;
	s->rekey_ms = o->rekey_ms != 0 ? o->rekey_ms : SESSION_REKEY_MS;
	s->tx.since_ms = s->rx.since_ms = now_ms;
	s->random(s->e, sizeof s->e);
	if (s->dialling) {
		session_noise_start(s);
		e = noise_write(&s->noise, &msg, (struct bytes){ NULL, 0 });
		if (e == ERR_OK) {
			assert(msg.len == sizeof s->hello);
			memcpy(s->hello, msg.p, sizeof s->hello);
			e = session_put_hello(s, bytes, no_cookie);
		}
	}
	buf_fini(&msg);
	if (e != ERR_OK) {
		session_free(s);
		return e;
	}
	*out = s;
	return ERR_OK;
}

void
session_free(struct session *s)
{
	if (s == NULL)
		return;
	noise_fini(&s->noise);
	evidence_fini(&s->evidence);
	buf_wipe(&s->in);
	secret_free(s);
}

/* ---- frames ---- */

/* The least and most that a frame of `type` may hold now; false: it may
 * not come at all. */
static bool
frame_allowed(
    const struct session *s, enum frame_type type, size_t *min, size_t *max)
{
	switch (type) {
	case FRAME_HELLO:
		*min = *max = HELLO_LEN;
		return s->phase == P_HELLO;
	case FRAME_RETRY:
		*min = *max = COOKIE_LEN;
		return s->phase == P_ANSWER;
	case FRAME_ANSWER:
		*min = *max = NOISE_MSG2_LEN;
		return s->phase == P_ANSWER;
	case FRAME_FINISH:
		*min = *max = NOISE_MSG3_LEN;
		return s->phase == P_FINISH;
	case FRAME_DATA:
		*min = DATA_MIN;
		*max = DATA_MIN + (s->opened ? LIMIT_MESSAGE : LIMIT_EVIDENCE);
		return s->keyed;
	}
	return false;
}

static enum err
on_head(struct session *s, struct refusal *why)
{
	size_t min = 0, max = 0;

	if (frame_parse(&s->frame, s->head) != ERR_OK)
		return refuse(why, REASON_FRAME, "bad head");
	if (!frame_allowed(s, s->frame.type, &min, &max))
		return refuse(why, REASON_FRAME, "frame %u in phase %u",
		    (unsigned)s->frame.type, (unsigned)s->phase);
	if (s->frame.len > max)
		return refuse(why, REASON_FRAME_TOO_LARGE, "%u of %zu",
		    s->frame.len, max);
	if (s->frame.len < min)
		return refuse(
		    why, REASON_FRAME, "%u of %zu", s->frame.len, min);
	return ERR_OK;
}

static enum err
on_frame(struct session *s, struct session_event *ev, struct buf *out,
    uint64_t now_ms, struct refusal *why)
{
	const struct bytes in = buf_view(&s->in);

	switch (s->frame.type) {
	case FRAME_HELLO:
		return session_on_hello(s, out, in, why);
	case FRAME_RETRY:
		return session_on_retry(s, out, in, why);
	case FRAME_ANSWER:
		return session_on_answer(s, ev, out, in, now_ms, why);
	case FRAME_FINISH:
		return session_on_finish(s, in, now_ms, why);
	case FRAME_DATA:
		return session_on_data(s, ev, out, now_ms, why);
	}
	return refuse(why, REASON_FRAME, "frame %u", (unsigned)s->frame.type);
}

static size_t
take(uint8_t *to, size_t have, size_t want, struct bytes *in)
{
	size_t n = want - have < in->len ? want - have : in->len;

	if (n > 0)
		memcpy(to + have, in->p, n);
	in->p += n;
	in->len -= n;
	return n;
}

static void
drop_frame(struct session *s)
{
	if (s->has_body)
		secret_wipe(s->in.p, s->in.len);
	s->has_body = false;
	s->in.len = 0;
	if (s->in.cap > KEEP_RX)
		buf_fini(&s->in);
}

void
session_consumed(struct session *s)
{
	/* Else `in` holds the beginning of the next frame. */
	if (s->has_body)
		drop_frame(s);
}

enum err
session_feed(struct session *s, struct session_event *ev, struct buf *out,
    struct bytes *in, uint64_t now_ms, struct refusal *why)
{
	enum err e = ERR_OK;
	size_t n;

	*ev = (struct session_event){ .kind = SESSION_IDLE };
	if (s->phase == P_DEAD)
		return refuse(why, REASON_FRAME, "session is over");
	session_consumed(s);
	while (e == ERR_OK && ev->kind == SESSION_IDLE && in->len > 0) {
		if (s->head_len < FRAME_HEAD_LEN) {
			s->head_len +=
			    take(s->head, s->head_len, FRAME_HEAD_LEN, in);
			if (s->head_len == FRAME_HEAD_LEN)
				e = on_head(s, why);
			continue;
		}
		/* The buffer grows with what has come, not with what the
		 * head claims. */
		n = s->frame.len - s->in.len;
		if (n > in->len)
			n = in->len;
		if ((e = buf_reserve(&s->in, s->in.len + n)) != ERR_OK)
			break;
		s->in.len += take(s->in.p, s->in.len, s->in.len + n, in);
		if (s->in.len < s->frame.len)
			continue;
		s->head_len = 0;
		s->n_frames++;
		e = on_frame(s, ev, out, now_ms, why);
		if (e != ERR_OK || ev->kind == SESSION_IDLE)
			drop_frame(s);
		else
			s->has_body = true;
		if (PLANTED(3)) /* the event points into it */
			buf_fini(&s->in);
	}
	if (e != ERR_OK)
		s->phase = P_DEAD;
	return e;
}

/* ---- what the owner says ---- */

enum err
session_proved(struct session *s, struct session_event *ev, struct buf *out,
    const struct evidence *e, uint64_t now_ms, struct refusal *why)
{
	struct buf msg = { 0 };
	enum err err;

	*ev = (struct session_event){ .kind = SESSION_IDLE };
	if (s->phase != P_PROVING)
		return ERR_PHASE;
	if ((err = proof_pack(&msg, e)) != ERR_OK) {
		err = err == ERR_LIMIT
		    ? refuse(why, REASON_INTERNAL, "evidence is over a bound")
		    : err;
		goto done;
	}
	err = session_put_message(s, out, s->renewing ? M_RENEWAL : M_EVIDENCE,
	    buf_view(&msg), now_ms);
	if (err != ERR_OK)
		goto done;
	if (s->dialling) {
		s->phase = P_EVIDENCE;
	} else {
		/* The peer was checked before we were asked to prove. */
		s->phase = P_OPEN;
		ev->kind = s->renewing ? SESSION_RENEWED : SESSION_OPEN;
		s->opened = true;
		s->renewing = false;
	}
done:
	if (err != ERR_OK)
		s->phase = P_DEAD;
	buf_fini(&msg);
	return err;
}

enum err
session_checked(struct session *s, struct session_event *ev)
{
	*ev = (struct session_event){ .kind = SESSION_IDLE };
	if (s->phase != P_CHECKING)
		return ERR_PHASE;
	evidence_fini(&s->evidence);
	if (s->dialling) {
		s->phase = P_OPEN;
		ev->kind = s->renewing ? SESSION_RENEWED : SESSION_OPEN;
		s->opened = true;
		s->renewing = false;
	} else {
		session_want_prove(s, ev);
	}
	return ERR_OK;
}

enum err
session_request(
    struct session *s, struct buf *out, struct bytes body, uint64_t now_ms)
{
	enum err e;

	if (!s->dialling || s->phase != P_OPEN)
		return ERR_PHASE;
	e = session_put_message(s, out, M_REQUEST, body, now_ms);
	s->unanswered += e == ERR_OK;
	return e;
}

enum err
session_renew(struct session *s, struct buf *out, uint64_t now_ms)
{
	enum err e;

	if (!s->dialling || s->phase != P_OPEN)
		return ERR_PHASE;
	s->random(s->own_nonce, NONCE_LEN);
	e = session_put_message(
	    s, out, M_RENEW, (struct bytes){ s->own_nonce, NONCE_LEN }, now_ms);
	if (e != ERR_OK)
		return e;
	s->renewing = true;
	s->n_renewals++;
	s->phase = P_NONCE;
	return ERR_OK;
}

enum err
session_reply(
    struct session *s, struct buf *out, struct bytes body, uint64_t now_ms)
{
	enum err e;

	if (s->dialling || !session_is_open(s) || s->unanswered == 0)
		return ERR_PHASE;
	e = session_put_message(s, out, M_REPLY, body, now_ms);
	s->unanswered -= e == ERR_OK;
	return e;
}

enum err
session_reply_refused(
    struct session *s, struct buf *out, enum reason code, uint64_t now_ms)
{
	enum err e;

	if (s->dialling || !session_is_open(s) || s->unanswered == 0)
		return ERR_PHASE;
	e = session_put_reason(s, out, M_REQUEST_REFUSED, code, now_ms);
	s->unanswered -= e == ERR_OK;
	return e;
}

void
session_refuse(
    struct session *s, struct buf *out, enum reason code, uint64_t now_ms)
{
	/* If this fails (no memory), the peer sees the close alone. */
	if (s->keyed && !s->peer_refused && !s->refused)
		s->refused = session_put_reason(
				 s, out, M_REFUSED, code, now_ms) == ERR_OK;
	s->phase = P_DEAD;
}

void
session_challenge(struct session *s, bool on)
{
	s->challenge = on;
}

bool
session_partial(const struct session *s)
{
	return s->head_len > 0;
}

uint64_t
session_frames(const struct session *s)
{
	return s->n_frames;
}

void
session_drop(struct session *s)
{
	assert(s->phase == P_DEAD);
	buf_wipe(&s->in);
	s->has_body = false;
}

size_t
session_memory(const struct session *s)
{
	const struct evidence *e = &s->evidence;

	return s->in.cap + e->quote.cap + e->event_log.cap + e->vm_config.cap;
}

bool
session_handshaking(const struct session *s)
{
	return !s->keyed && s->phase != P_DEAD;
}

bool
session_is_open(const struct session *s)
{
	return s->opened && s->phase != P_DEAD;
}

bool
session_renewing(const struct session *s)
{
	return s->renewing;
}

bool
session_refused_by_peer(const struct session *s)
{
	return s->peer_refused;
}

enum channel_role
session_peer_role(const struct session *s)
{
	return s->peer_role;
}

const uint8_t *
session_hash(const struct session *s)
{
	return noise_hash(&s->noise);
}
