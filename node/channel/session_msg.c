/* session: sealed messages, both ways; the table is that of README.md. */
#include <assert.h>
#include <string.h>

#include "common/base/ct.h"
#include "common/base/limits.h"
#include "common/base/planted.h"
#include "common/base/rd.h"
#include "common/base/secret.h"
#include "common/base/wr.h"
#include "node/channel/proof.h"
#include "node/channel/session_int.h"

#define DATA_OVERHEAD (FRAME_HEAD_LEN + DATA_MIN)

/* One sealed frame; the head and the counter are its associated data.  The
 * plaintext is copied once, into `out`, and sealed there. */
static enum err
put_sealed(
    struct session *s, struct buf *out, enum message type, struct bytes body)
{
	size_t at = out->len;
	struct wr w;
	enum err e;

	if (!s->keyed)
		return ERR_PHASE;
	if (body.len > LIMIT_MESSAGE)
		return ERR_LIMIT;
	if ((e = buf_reserve(out, at + DATA_OVERHEAD + body.len)) != ERR_OK)
		return e;
	w = (struct wr){ .p = out->p + at, .cap = DATA_OVERHEAD + body.len };
	frame_write(w.p, FRAME_DATA, (uint32_t)(DATA_MIN + body.len));
	w.len = FRAME_HEAD_LEN;
	wr_be64(&w, s->tx.c.n);
	wr_u8(&w, (uint8_t)type);
	wr_bytes(&w, body.p, body.len);
	assert(wr_ok(&w));
	e = noise_seal(&s->tx.c, w.p + FRAME_HEAD_LEN + COUNTER_LEN,
	    1 + body.len, (struct bytes){ w.p, FRAME_HEAD_LEN + COUNTER_LEN });
	if (e != ERR_OK) {
		secret_wipe(w.p, w.cap);
		return e;
	}
	out->len = at + w.cap;
	out->p[out->len] = 0;
	s->tx.frames++;
	return ERR_OK;
}

enum err
session_put_message(struct session *s, struct buf *out, enum message type,
    struct bytes body, uint64_t now_ms)
{
	enum err e;

	/* Refuse first: a rekey alone would be a message more. */
	if (body.len > LIMIT_MESSAGE)
		return ERR_LIMIT;
	if (s->keyed &&
	    (s->tx.frames + 1 >= s->rekey_frames ||
		now_ms - s->tx.since_ms >= s->rekey_ms)) {
		e = buf_reserve(out, out->len + 2 * DATA_OVERHEAD + body.len);
		if (e != ERR_OK)
			return e;
		e = put_sealed(s, out, M_REKEY, (struct bytes){ NULL, 0 });
		if (e != ERR_OK)
			return e;
		noise_rekey(&s->tx.c);
		s->tx.frames = 0;
		s->tx.since_ms = now_ms;
	}
	return put_sealed(s, out, type, body);
}

enum err
session_put_reason(struct session *s, struct buf *out, enum message type,
    enum reason code, uint64_t now_ms)
{
	uint8_t body[1 + 64 + LIMIT_REASON_TEXT];
	const char *label = reason_label(code), *text = reason_text(code);
	struct wr w = { .p = body, .cap = sizeof body };

	wr_u8(&w, (uint8_t)strlen(label));
	wr_str(&w, label);
	wr_str(&w, text);
	assert(wr_ok(&w)); /* labels and texts are ours, and short */
	return session_put_message(
	    s, out, type, (struct bytes){ body, w.len }, now_ms);
}

void
session_want_prove(struct session *s, struct session_event *ev)
{
	const uint8_t *hash = noise_hash(&s->noise);

	s->phase = P_PROVING;
	ev->kind = SESSION_PROVE;
	if (s->renewing)
		proof_bind_renewal(ev->report_data, s->role, hash, s->s_pub,
		    s->peer_nonce, s->n_renewals);
	else
		proof_bind(ev->report_data, s->role, hash, s->s_pub);
}

static enum err
on_evidence(struct session *s, struct session_event *ev, struct bytes body,
    struct refusal *why)
{
	const uint8_t *hash = noise_hash(&s->noise);
	const uint8_t *peer = noise_peer(&s->noise);
	enum err e;

	CT_PUBLIC_BYTES(body.p, body.len); /* a quote is no secret */
	e = proof_unpack(&s->evidence, body);
	if (e == ERR_NOMEM)
		return e;
	if (e != ERR_OK)
		return refuse(
		    why, REASON_QUOTE_MALFORMED, "evidence: %s", err_text(e));
	if (s->renewing)
		proof_bind_renewal(ev->report_data, s->peer_role, hash, peer,
		    s->own_nonce, s->n_renewals);
	else
		proof_bind(ev->report_data, s->peer_role, hash, peer);
	s->phase = P_CHECKING;
	ev->kind = SESSION_CHECK;
	ev->evidence = &s->evidence;
	return ERR_OK;
}

/* A reason from the peer: its label counts, its text is for the log. */
static enum err
parse_reason(struct refusal *out, struct bytes body)
{
	char label[64], text[LIMIT_REASON_TEXT + 1];
	struct rd r = { .p = body.p, .left = body.len };
	size_t label_len, text_len;
	const uint8_t *p;
	enum reason code;

	CT_PUBLIC_BYTES(body.p, body.len); /* a reason is no secret */
	label_len = rd_u8(&r);
	p = rd_bytes(&r, label_len);
	if (p == NULL || label_len >= sizeof label ||
	    r.left > LIMIT_REASON_TEXT)
		return ERR_MALFORMED;
	memcpy(label, p, label_len);
	label[label_len] = '\0';
	text_len = r.left;
	if (text_len > 0)
		memcpy(text, r.p, text_len);
	text[text_len] = '\0';
	code = reason_from_label(label);
	(void)refuse(out, code == REASON_NONE ? REASON_INTERNAL : code,
	    "peer: %s", text);
	return ERR_OK;
}

static enum err
wrong(struct refusal *why, unsigned type, enum phase phase)
{
	return refuse(
	    why, REASON_FRAME, "message %u in phase %u", type, (unsigned)phase);
}

/* Who may send what, and when. */
static bool
message_allowed(const struct session *s, unsigned type)
{
	bool open = s->phase == P_OPEN;

	switch ((enum message)type) {
	case M_EVIDENCE:
		return s->phase == P_EVIDENCE && !s->renewing;
	case M_RENEWAL:
		return s->phase == P_EVIDENCE && s->renewing;
	case M_REQUEST:
	case M_RENEW:
		return (open || PLANTED(4)) && !s->dialling;
	case M_NONCE:
		return s->phase == P_NONCE;
	case M_REPLY:
	case M_REQUEST_REFUSED:
		/* Requests from before a renewal may be answered in it. */
		return s->dialling && s->unanswered > 0;
	case M_REFUSED:
	case M_REKEY:
		return true;
	}
	return false;
}

static enum err
on_message(struct session *s, struct session_event *ev, struct buf *out,
    unsigned type, struct bytes body, uint64_t now_ms, struct refusal *why)
{
	if (!message_allowed(s, type))
		return wrong(why, type, s->phase);
	switch ((enum message)type) {
	case M_EVIDENCE:
	case M_RENEWAL:
		return on_evidence(s, ev, body, why);
	case M_REQUEST:
		s->unanswered++;
		ev->kind = SESSION_REQUEST;
		ev->body = body;
		return ERR_OK;
	case M_REPLY:
		s->unanswered--;
		ev->kind = SESSION_REPLY;
		ev->body = body;
		return ERR_OK;
	case M_REQUEST_REFUSED:
		if (parse_reason(&ev->why, body) != ERR_OK)
			return refuse(why, REASON_FRAME, "reason");
		s->unanswered--;
		ev->kind = SESSION_REQUEST_REFUSED;
		return ERR_OK;
	case M_REFUSED:
		s->peer_refused = true;
		if (parse_reason(&ev->why, body) != ERR_OK)
			return refuse(why, REASON_FRAME, "reason");
		if (why != NULL)
			*why = ev->why;
		return ERR_DENIED;
	case M_REKEY:
		if (body.len != 0)
			return refuse(why, REASON_FRAME, "rekey with a body");
		noise_rekey(&s->rx.c);
		s->rx.frames = 0;
		s->rx.since_ms = now_ms;
		return ERR_OK;
	case M_RENEW:
		if (body.len != NONCE_LEN)
			return refuse(why, REASON_FRAME, "nonce");
		memcpy(s->peer_nonce, body.p, NONCE_LEN);
		s->random(s->own_nonce, NONCE_LEN);
		s->renewing = true;
		s->n_renewals++;
		s->phase = P_EVIDENCE;
		return session_put_message(s, out, M_NONCE,
		    (struct bytes){ s->own_nonce, NONCE_LEN }, now_ms);
	case M_NONCE:
		if (body.len != NONCE_LEN)
			return refuse(why, REASON_FRAME, "nonce");
		memcpy(s->peer_nonce, body.p, NONCE_LEN);
		session_want_prove(s, ev);
		return ERR_OK;
	}
	return wrong(why, type, s->phase);
}

/* A sealed frame: its counter must be the next one, its key neither worn
 * out nor too old. */
enum err
session_on_data(struct session *s, struct session_event *ev, struct buf *out,
    uint64_t now_ms, struct refusal *why)
{
	struct rd r = { .p = s->in.p, .left = s->in.len };
	uint8_t ad[FRAME_HEAD_LEN + COUNTER_LEN];
	uint64_t counter = rd_be64(&r);
	uint8_t *text = s->in.p + COUNTER_LEN;
	size_t len = s->in.len - COUNTER_LEN;

	if (PLANTED(2)) /* whatever the peer says is the next one */
		s->rx.c.n = counter;
	if (counter != s->rx.c.n)
		return refuse(why, REASON_FRAME_REPLAY, "frame %llu, not %llu",
		    (unsigned long long)counter, (unsigned long long)s->rx.c.n);
	memcpy(ad, s->head, FRAME_HEAD_LEN);
	memcpy(ad + FRAME_HEAD_LEN, s->in.p, COUNTER_LEN);
	if (noise_open(&s->rx.c, text, len, (struct bytes){ ad, sizeof ad }) !=
	    ERR_OK)
		return refuse(why, REASON_FRAME, "does not authenticate");
	CT_PUBLIC(text[0]); /* what kind of message it is */
	s->has_body = true;
	s->rx.frames++;
	if (text[0] != M_REKEY &&
	    (s->rx.frames >= s->rekey_frames ||
		now_ms - s->rx.since_ms >= 2 * (uint64_t)s->rekey_ms))
		return refuse(why, REASON_FRAME, "key is worn out");
	return on_message(s, ev, out, text[0],
	    (struct bytes){ text + 1, len - 1 - NOISE_TAG_LEN }, now_ms, why);
}
