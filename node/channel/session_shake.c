/* session: the handshake's frames, steps 1 to 4 of README.md. */
#include <assert.h>
#include <string.h>

#include "common/base/rd.h"
#include "common/base/secret.h"
#include "common/base/wr.h"
#include "common/crypto/hash.h"
#include "node/channel/session_int.h"

static enum err
put_frame(
    struct buf *out, enum frame_type type, const struct bytes *part, size_t n)
{
	uint8_t head[FRAME_HEAD_LEN];
	size_t len = 0;
	enum err e;

	for (size_t i = 0; i < n; i++)
		len += part[i].len;
	frame_write(head, type, (uint32_t)len);
	if ((e = buf_reserve(out, out->len + sizeof head + len)) != ERR_OK)
		return e;
	e = buf_append(out, head, sizeof head, SIZE_MAX);
	for (size_t i = 0; e == ERR_OK && i < n; i++)
		e = buf_append(out, part[i].p, part[i].len, SIZE_MAX);
	return e;
}

void
session_noise_start(struct session *s)
{
	/* Protocol and version, role of the dialler, chain id, contract. */
	static const char label[] = "devproof-kms/channel/v1";
	uint8_t prologue[sizeof label - 1 + 1 + sizeof s->prologue_tail];
	struct wr w = { .p = prologue, .cap = sizeof prologue };
	enum channel_role dialler = s->dialling ? s->role : s->peer_role;

	wr_str(&w, label);
	wr_u8(&w, (uint8_t)dialler);
	wr_bytes(&w, s->prologue_tail, sizeof s->prologue_tail);
	assert(wr_ok(&w) && w.len == sizeof prologue);
	noise_init(&s->noise, s->dialling ? NOISE_INITIATOR : NOISE_RESPONDER,
	    s->s, s->s_pub, s->e, (struct bytes){ prologue, w.len });
	secret_wipe(s->e, sizeof s->e);
}

enum err
session_put_hello(struct session *s, struct buf *out, const uint8_t *cookie)
{
	const uint8_t role = (uint8_t)s->role;
	const struct bytes part[] = { { &role, 1 }, { cookie, COOKIE_LEN },
		{ s->hello, sizeof s->hello } };

	return put_frame(out, FRAME_HELLO, part, 3);
}

/* Both keys are there: the handshake hash names the session from now on. */
static enum err
keyed(struct session *s, uint64_t now_ms, struct refusal *why)
{
	noise_split(&s->noise, &s->tx.c, &s->rx.c);
	s->keyed = true;
	s->s = NULL;
	s->tx.since_ms = s->rx.since_ms = now_ms;
	/* Someone who hands our own key back is nobody. */
	if (secret_equal(noise_peer(&s->noise), s->s_pub, 32))
		return refuse(why, REASON_HANDSHAKE, "own static key");
	return ERR_OK;
}

static void
cookie_make(
    const struct session *s, uint8_t out[static 32], const uint8_t *hello)
{
	static const char label[] = "devproof-kms/channel-cookie/v1";
	uint8_t in[sizeof label - 1 + sizeof s->source + NOISE_MSG1_LEN];
	struct wr w = { .p = in, .cap = sizeof in };

	wr_str(&w, label);
	wr_bytes(&w, s->source, sizeof s->source);
	wr_bytes(&w, hello, NOISE_MSG1_LEN);
	assert(wr_ok(&w));
	hmac_sha256(out, s->cookie_key, 32, in, w.len);
}

enum err
session_on_hello(
    struct session *s, struct buf *out, struct bytes in, struct refusal *why)
{
	static const uint8_t none[COOKIE_LEN];
	struct rd r = { .p = in.p, .left = in.len };
	uint8_t role = rd_u8(&r), want[COOKIE_LEN];
	const uint8_t *cookie = rd_bytes(&r, COOKIE_LEN);
	const uint8_t *hello = rd_bytes(&r, NOISE_MSG1_LEN);
	struct buf msg = { 0 };
	enum err e;

	assert(rd_done(&r)); /* the frame has HELLO_LEN */
	if (role != CHANNEL_KMS_PEER && role != CHANNEL_APP)
		return refuse(why, REASON_WRONG_ROLE, "role %u", role);
	/* No Diffie-Hellman before the cookie has come back. */
	cookie_make(s, want, hello);
	if (secret_equal(cookie, none, sizeof none)) {
		if (s->challenged)
			return refuse(why, REASON_HANDSHAKE, "no cookie");
		if (s->challenge) {
			s->challenged = true;
			return put_frame(out, FRAME_RETRY,
			    &(struct bytes){ want, sizeof want }, 1);
		}
	} else if (!secret_equal(cookie, want, sizeof want)) {
		return refuse(why, REASON_HANDSHAKE, "wrong cookie");
	}
	s->peer_role = (enum channel_role)role;
	session_noise_start(s);
	e = noise_read(
	    &s->noise, NULL, (struct bytes){ hello, NOISE_MSG1_LEN });
	if (e == ERR_OK)
		e = noise_write(&s->noise, &msg, (struct bytes){ NULL, 0 });
	if (e == ERR_OK)
		e = put_frame(
		    out, FRAME_ANSWER, &(struct bytes){ msg.p, msg.len }, 1);
	buf_fini(&msg);
	s->phase = P_FINISH;
	if (e == ERR_AUTH)
		return refuse(why, REASON_HANDSHAKE, "bad key");
	return e;
}

enum err
session_on_retry(
    struct session *s, struct buf *out, struct bytes in, struct refusal *why)
{
	if (s->challenged)
		return refuse(why, REASON_HANDSHAKE, "second challenge");
	s->challenged = true;
	return session_put_hello(s, out, in.p);
}

enum err
session_on_answer(struct session *s, struct session_event *ev, struct buf *out,
    struct bytes in, uint64_t now_ms, struct refusal *why)
{
	struct buf msg = { 0 };
	enum err e = noise_read(&s->noise, NULL, in);

	if (e == ERR_OK)
		e = noise_write(&s->noise, &msg, (struct bytes){ NULL, 0 });
	if (e == ERR_OK)
		e = put_frame(
		    out, FRAME_FINISH, &(struct bytes){ msg.p, msg.len }, 1);
	buf_fini(&msg);
	if (e == ERR_NOMEM)
		return e;
	if (e != ERR_OK)
		return refuse(why, REASON_HANDSHAKE, "answer: %s", err_text(e));
	if ((e = keyed(s, now_ms, why)) == ERR_OK)
		session_want_prove(s, ev);
	return e;
}

enum err
session_on_finish(
    struct session *s, struct bytes in, uint64_t now_ms, struct refusal *why)
{
	enum err e = noise_read(&s->noise, NULL, in);

	if (e != ERR_OK)
		return refuse(why, REASON_HANDSHAKE, "finish: %s", err_text(e));
	s->phase = P_EVIDENCE;
	return keyed(s, now_ms, why);
}
