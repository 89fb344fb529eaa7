/* Targets: session_new, session_feed until Noise is done, frame_parse,
 * session_shake.c, noise.c, on either side.
 *
 * The first byte chooses our side (bit 0: we dial), who the peer is (bit 1: a
 * stranger, whose bytes the rest is, as they come), the dialler's role (bit
 * 2), and whether a cookie is demanded (bit 3).  A peer that can do Noise sends
 * a list of frames (type, two bytes of length, body) that are made here; the
 * first five bytes of a body (zero if absent) say what is wrong with one:
 *   0  role in HELLO: 0 the right one, else that number
 *   1  cookie (enum cookie)
 *   2  its point (0 good, 1 to 7 of small order, else any)
 *   3  prologue: bit 0 another role, bit 1 chain, bit 2 contract; bit 3: the
 *      static key is ours
 *   4, 5  what is xored to the frame's body, and where
 *   6  and up: the cookie, in RETRY
 *
 * Keys exist exactly if nothing was wrong, and then both sides have the same;
 * no Diffie-Hellman result is sent without the cookie that was demanded; a
 * stranger gets a RETRY and an ANSWER (or a HELLO more) and never further. */
#include <string.h>

#include "common/base/limits.h"
#include "common/base/rd.h"
#include "common/base/wr.h"
#include "common/crypto/hash.h"
#include "fuzz/must.h"
#include "fuzz/mutate.h"
#include "fuzz/shake.h"
#include "node/channel/proof.h"

#define ITEMS_MAX 16u
#define LABEL "devproof-kms/channel/v1"
#define COOKIE_LABEL "devproof-kms/channel-cookie/v1"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum cookie { NONE, RIGHT, OF_ANOTHER_CONNECTION, OF_ANOTHER_HELLO, JUNK };

/* Of libsodium's list, which is of 12.1 of the curve's own page. */
static const uint8_t small[7][32] = { { 0 }, { 1 },
	{ 0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3,
	    0xfa, 0xf1, 0x9f, 0xc4, 0x6a, 0xda, 0x09, 0x8d, 0xeb, 0x9c, 0x32,
	    0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16, 0x5f, 0x49, 0xb8, 0x00 },
	{ 0x5f, 0x9c, 0x95, 0xbc, 0xa3, 0x50, 0x8c, 0x24, 0xb1, 0xd0, 0xb1,
	    0x55, 0x9c, 0x83, 0xef, 0x5b, 0x04, 0x44, 0x5c, 0xc4, 0x58, 0x1c,
	    0x8e, 0x86, 0xd8, 0x22, 0x4e, 0xdd, 0xd0, 0x9f, 0x11, 0x57 },
	{ 0xec, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
	    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
	    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f },
	{ 0xed, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
	    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
	    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f },
	{ 0xee, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
	    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
	    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f } };

enum step { S_HELLO, S_ANSWER, S_FINISH, S_KEYED, S_DEAD };

/* What the head of an item's body says. */
struct wrongs {
	uint8_t role, cookie, point, prologue, flip, at;
};

struct run {
	struct session *s;
	struct buf out;
	bool dialling, challenge, challenged;
	enum channel_role role; /* the dialler's */
	enum step step;
	struct noise peer;
	bool peer_bad; /* its Noise state has ended, or cannot fit */
	bool ours; /* it has our static key */
	struct session_event ev;
	uint8_t hello[NOISE_MSG1_LEN]; /* the dialler's */
	unsigned sent[8]; /* frames of ours, by type */
	uint8_t body[128]; /* of the last of them */
};

static size_t
length_of(unsigned type)
{
	switch (type) {
	case FRAME_HELLO:
		return HELLO_LEN;
	case FRAME_RETRY:
		return COOKIE_LEN;
	case FRAME_ANSWER:
		return NOISE_MSG2_LEN;
	case FRAME_FINISH:
		return NOISE_MSG3_LEN;
	default:
		return 0;
	}
}

/* What we have sent: `want`, or nothing (0). */
static void
read_ours(struct run *r, unsigned want)
{
	struct frame_head head = { .type = FRAME_DATA };

	if (want == 0) {
		must(r->out.len == 0);
		return;
	}
	must(r->out.len == FRAME_HEAD_LEN + length_of(want));
	must(frame_parse(&head, r->out.p) == ERR_OK);
	must(head.type == want && head.len == length_of(want));
	memcpy(r->body, r->out.p + FRAME_HEAD_LEN, head.len);
	r->sent[want]++;
	r->out.len = 0;
	must(r->sent[FRAME_RETRY] <= 1 && r->sent[FRAME_ANSWER] <= 1);
	must(r->sent[FRAME_FINISH] <= 1 && r->sent[FRAME_HELLO] <= 2);
}

static enum err
feed(struct run *r, struct bytes in)
{
	struct refusal why = { 0 };
	enum err e = session_feed(r->s, &r->ev, &r->out, &in, 0, &why);

	must(e == ERR_OK || (e == ERR_DENIED && why.code != REASON_NONE));
	must(r->ev.kind == SESSION_IDLE || r->ev.kind == SESSION_PROVE);
	must(r->s->in.cap <= 4 * LIMIT_HANDSHAKE_FRAME);
	if (e != ERR_OK)
		r->step = S_DEAD;
	must(!session_is_open(r->s));
	return e;
}

static void
refused(struct run *r, struct bytes in)
{
	must(feed(r, in) == ERR_DENIED);
	read_ours(r, 0);
	must(!session_handshaking(r->s));
}

/* ---- a peer that can do Noise ---- */

static void
cookie_for(struct run *r, uint8_t out[static 32], const uint8_t *hello,
    uint8_t connection)
{
	uint8_t in[sizeof COOKIE_LABEL - 1 + 40 + NOISE_MSG1_LEN];
	struct wr w = { .p = in, .cap = sizeof in };
	uint8_t source[40];

	memcpy(source, r->s->source, sizeof source);
	source[7] ^= connection;
	wr_str(&w, COOKIE_LABEL);
	wr_bytes(&w, source, sizeof source);
	wr_bytes(&w, hello, NOISE_MSG1_LEN);
	must(wr_ok(&w));
	hmac_sha256(out, shake_options(CHANNEL_KMS_SERVER, 1).cookie_key, 32,
	    in, w.len);
}

/* The peer begins; what is wrong with it will show. */
static void
peer_begin(struct run *r, const struct wrongs *is, uint8_t role)
{
	enum channel_role as = r->dialling ? CHANNEL_KMS_SERVER : CHANNEL_APP;
	struct session_options o;
	uint8_t prologue[sizeof LABEL - 1 + 1 + 8 + 20], contract[20], e[32];
	struct wr w = { .p = prologue, .cap = sizeof prologue };

	r->ours = (is->prologue & 8) != 0;
	if (r->ours)
		as = r->dialling ? CHANNEL_APP : CHANNEL_KMS_SERVER;
	o = shake_options(as, 1);
	memcpy(contract, o.kms_contract, sizeof contract);
	contract[19] ^= (is->prologue & 4) != 0;
	wr_str(&w, LABEL);
	wr_u8(&w, (uint8_t)(role ^ (is->prologue & 1)));
	wr_be64(&w, o.chain_id ^ (is->prologue >> 1 & 1));
	wr_bytes(&w, contract, sizeof contract);
	must(wr_ok(&w));
	shake_random(e, sizeof e);
	noise_init(&r->peer, r->dialling ? NOISE_RESPONDER : NOISE_INITIATOR,
	    o.s, o.s_pub, e, (struct bytes){ prologue, w.len });
	r->peer_bad = (is->prologue & 7) != 0;
}

/* Noise says how it went at the first tag; until then all is well. */
static void
peer_read(struct run *r, struct bytes in)
{
	must((noise_read(&r->peer, NULL, in) == ERR_OK) ==
	    (!r->peer_bad || in.len == NOISE_MSG1_LEN));
}

static bool
peer_write(struct run *r, struct buf *out)
{
	return noise_write(&r->peer, out, (struct bytes){ NULL, 0 }) == ERR_OK;
}

static bool
flip(uint8_t *body, size_t len, const struct wrongs *is)
{
	body[is->at % len] ^= is->flip;
	return is->flip != 0;
}

static void
frame_of(struct buf *out, unsigned type, const void *body, size_t len)
{
	must(buf_reserve(out, FRAME_HEAD_LEN + len) == ERR_OK);
	frame_write(out->p, (enum frame_type)type, (uint32_t)len);
	memcpy(out->p + FRAME_HEAD_LEN, body, len);
	out->len = FRAME_HEAD_LEN + len;
}

/* Both have the same keys, and the hash that names the session. */
static void
check_keyed(struct run *r)
{
	struct noise_cipher send, recv;
	const struct direction *tx = &r->s->tx, *rx = &r->s->rx;

	must(noise_done(&r->peer));
	noise_split(&r->peer, &send, &recv);
	must(memcmp(noise_hash(&r->peer), session_hash(r->s), 32) == 0);
	must(memcmp(send.k, rx->c.k, 32) == 0);
	must(memcmp(recv.k, tx->c.k, 32) == 0);
	must(memcmp(send.k, recv.k, 32) != 0);
	must(send.n == 0 && recv.n == 0 && tx->c.n == 0 && rx->c.n == 0);
	must(!session_handshaking(r->s));
	/* What made them is gone, and so is what was borrowed. */
	for (size_t i = 0; i < 32; i++)
		must(r->s->noise.ck[i] == 0 && r->s->noise.e[i] == 0 &&
		    r->s->noise.k[i] == 0);
	must(r->s->s == NULL && r->s->noise.s == NULL);
	r->step = S_KEYED;
}

static void
hello(struct run *r, const struct wrongs *is)
{
	uint8_t body[HELLO_LEN], other[32];
	uint8_t role = is->role != 0 ? is->role : (uint8_t)r->role;
	uint8_t *cookie = body + 1, *msg = body + 1 + COOKIE_LEN;
	struct buf out = { 0 }, f = { 0 };
	bool right, none, ok = role == CHANNEL_APP || role == CHANNEL_KMS_PEER;
	bool point = is->point >= 1 && is->point <= 7;
	uint8_t zero[COOKIE_LEN] = { 0 };

	peer_begin(r, is, role);
	must(peer_write(r, &out) && out.len == NOISE_MSG1_LEN);
	body[0] = role;
	memcpy(msg, point ? small[is->point - 1] : out.p, NOISE_MSG1_LEN);
	if (is->point > 7)
		msg[31] ^= is->point;
	memset(cookie, 0, COOKIE_LEN);
	memset(other, 0x77, sizeof other);
	if (is->cookie == RIGHT)
		cookie_for(r, cookie, msg, 0);
	else if (is->cookie == OF_ANOTHER_CONNECTION)
		cookie_for(r, cookie, msg, 1);
	else if (is->cookie == OF_ANOTHER_HELLO)
		cookie_for(r, cookie, other, 0);
	else if (is->cookie >= JUNK)
		memset(cookie, is->cookie, COOKIE_LEN);
	(void)flip(body, sizeof body, is);
	/* Judged by what is sent in the end. */
	role = body[0];
	ok = (role == CHANNEL_APP || role == CHANNEL_KMS_PEER) &&
	    r->step == S_HELLO;
	cookie_for(r, other, msg, 0);
	right = memcmp(cookie, other, COOKIE_LEN) == 0;
	none = memcmp(cookie, zero, COOKIE_LEN) == 0;
	frame_of(&f, FRAME_HELLO, body, sizeof body);
	if (!ok || (!right && !none) || (none && r->challenged)) {
		refused(r, buf_view(&f));
	} else if (none && r->challenge) {
		must(feed(r, buf_view(&f)) == ERR_OK);
		read_ours(r, FRAME_RETRY);
		must(memcmp(r->body, other, COOKIE_LEN) == 0);
		r->challenged = true;
	} else if (feed(r, buf_view(&f)) == ERR_OK) {
		for (size_t i = 0; i < 7; i++)
			must(memcmp(msg, small[i], 32) != 0);
		read_ours(r, FRAME_ANSWER);
		r->step = S_FINISH;
		/* It has another idea of what was sent. */
		if (memcmp(msg, out.p, NOISE_MSG1_LEN) != 0 ||
		    role != (is->role != 0 ? is->role : r->role))
			r->peer_bad = true;
	} else {
		/* A point of small order (the top bit does not count). */
		must(point || is->point > 7 || is->flip != 0);
		read_ours(r, 0);
	}
	buf_fini(&out);
	buf_fini(&f);
}

static void
finish(struct run *r, const struct wrongs *is)
{
	struct buf out = { 0 }, f = { 0 };
	bool flipped;

	if (r->step == S_FINISH) {
		peer_read(r, (struct bytes){ r->body, NOISE_MSG2_LEN });
		if (!r->peer_bad)
			must(peer_write(r, &out));
	}
	must(buf_reserve(&out, NOISE_MSG3_LEN) == ERR_OK);
	if (out.len == 0)
		memset(out.p, 0x33, NOISE_MSG3_LEN);
	flipped = flip(out.p, NOISE_MSG3_LEN, is);
	frame_of(&f, FRAME_FINISH, out.p, NOISE_MSG3_LEN);
	if (r->step != S_FINISH || r->peer_bad || r->ours || flipped) {
		refused(r, buf_view(&f));
	} else {
		must(feed(r, buf_view(&f)) == ERR_OK);
		must(r->ev.kind == SESSION_IDLE);
		read_ours(r, 0);
		check_keyed(r);
	}
	buf_fini(&out);
	buf_fini(&f);
}

static void
retry(struct run *r, struct bytes body)
{
	uint8_t cookie[COOKIE_LEN] = { 0 };
	struct buf f = { 0 };

	for (size_t i = 6; i < body.len && i < 6 + COOKIE_LEN; i++)
		cookie[i - 6] = body.p[i];
	frame_of(&f, FRAME_RETRY, cookie, sizeof cookie);
	if (r->step != S_ANSWER || r->challenged) {
		refused(r, buf_view(&f));
	} else {
		must(feed(r, buf_view(&f)) == ERR_OK);
		read_ours(r, FRAME_HELLO);
		must(r->body[0] == r->role);
		must(memcmp(r->body + 1, cookie, COOKIE_LEN) == 0);
		must(memcmp(r->body + 1 + COOKIE_LEN, r->hello,
			 NOISE_MSG1_LEN) == 0);
		r->challenged = true;
	}
	buf_fini(&f);
}

static void
answer(struct run *r, const struct wrongs *is)
{
	struct buf out = { 0 }, f = { 0 };
	bool wrong = r->step != S_ANSWER;
	uint8_t want[64];

	peer_begin(r, is, (uint8_t)r->role);
	must(noise_read(&r->peer, NULL,
		 (struct bytes){ r->hello, NOISE_MSG1_LEN }) == ERR_OK);
	must(peer_write(r, &out) && out.len == NOISE_MSG2_LEN);
	if (is->point >= 1 && is->point <= 7)
		memcpy(out.p, small[is->point - 1], 32);
	wrong = wrong || (is->point >= 1 && is->point <= 7);
	wrong = flip(out.p, out.len, is) || wrong || r->peer_bad || r->ours;
	frame_of(&f, FRAME_ANSWER, out.p, out.len);
	if (wrong) {
		must(feed(r, buf_view(&f)) == ERR_DENIED);
		/* Our FINISH, if Noise was well but the key was our own. */
		if (r->ours && !r->peer_bad && r->out.len > 0)
			read_ours(r, FRAME_FINISH);
		read_ours(r, 0);
	} else {
		must(feed(r, buf_view(&f)) == ERR_OK);
		read_ours(r, FRAME_FINISH);
		must(r->ev.kind == SESSION_PROVE);
		peer_read(r, (struct bytes){ r->body, NOISE_MSG3_LEN });
		check_keyed(r);
		proof_bind(want, r->role, session_hash(r->s),
		    shake_static_public(SHAKE_DIALLER));
		must(memcmp(want, r->ev.report_data, 64) == 0);
	}
	buf_fini(&out);
	buf_fini(&f);
}

/* A frame that nobody may send now. */
static void
other(struct run *r, unsigned type, struct bytes body)
{
	struct buf f = { 0 };

	must(buf_reserve(&f, FRAME_HEAD_LEN) == ERR_OK);
	frame_write(f.p, (enum frame_type)type, (uint32_t)body.len);
	must(buf_append(&f, "", 0, SIZE_MAX) == ERR_OK);
	f.len = FRAME_HEAD_LEN;
	if (body.len > 0)
		must(buf_append(&f, body.p, body.len, SIZE_MAX) == ERR_OK);
	refused(r, buf_view(&f));
	buf_fini(&f);
}

static void
frames(struct run *r, struct rd *in)
{
	for (unsigned i = 0;
	     i < ITEMS_MAX && in->left > 0 && r->step != S_KEYED; i++) {
		unsigned type = rd_u8(in);
		size_t len = rd_be16(in);
		struct bytes body = { .len = len < in->left ? len : in->left };
		uint8_t w[6] = { 0 };
		struct wrongs is;

		if ((body.p = rd_bytes(in, body.len)) == NULL)
			break;
		if (body.len > 0)
			memcpy(w, body.p, body.len < 6 ? body.len : 6);
		is = (struct wrongs){ w[0], w[1], w[2], w[3], w[4], w[5] };
		if (type == FRAME_HELLO && !r->dialling)
			hello(r, &is);
		else if (type == FRAME_FINISH && !r->dialling)
			finish(r, &is);
		else if (type == FRAME_RETRY && r->dialling)
			retry(r, body);
		else if (type == FRAME_ANSWER && r->dialling)
			answer(r, &is);
		else
			other(r, type, body);
	}
}

/* ---- a stranger ---- */

/* Whatever it sends; our frames are those of a handshake that goes nowhere. */
static void
stranger(struct run *r, struct bytes in)
{
	size_t step = 1 + in.len / 3;

	while (in.len > 0 && r->step != S_DEAD) {
		struct bytes piece = { in.p, in.len < step ? in.len : step };

		(void)feed(r, piece);
		in.p += piece.len;
		in.len -= piece.len;
		while (r->out.len > 0) {
			struct frame_head head = { .type = FRAME_DATA };
			struct buf rest = { 0 };
			size_t n = 0;

			must(r->out.len >= FRAME_HEAD_LEN);
			must(frame_parse(&head, r->out.p) == ERR_OK);
			must(head.type ==
				(r->dialling ? FRAME_HELLO : FRAME_RETRY) ||
			    (!r->dialling && head.type == FRAME_ANSWER));
			n = FRAME_HEAD_LEN + length_of(head.type);
			must(r->out.len >= n);
			must(buf_set(&rest, r->out.p + n, r->out.len - n) ==
			    ERR_OK);
			r->out.len = n;
			read_ours(r, head.type);
			buf_fini(&r->out);
			r->out = rest;
		}
		must(r->ev.kind == SESSION_IDLE && !r->s->keyed);
		/* Without its cookie nothing is computed for it. */
		must(!r->challenge || r->sent[FRAME_ANSWER] == 0);
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct rd in = { .p = data, .left = size };
	uint8_t mode = rd_u8(&in);
	struct run r = { .dialling = (mode & 1) != 0,
		.challenge = (mode & 8) != 0,
		.role = (mode & 4) != 0 ? CHANNEL_KMS_PEER : CHANNEL_APP };
	struct session_options o;

	shake_restart();
	o = shake_options(r.dialling ? r.role : CHANNEL_KMS_SERVER, 1);
	must(session_new(&r.s, &r.out, &o, 0) == ERR_OK);
	session_challenge(r.s, r.challenge);
	r.step = r.dialling ? S_ANSWER : S_HELLO;
	read_ours(&r, r.dialling ? FRAME_HELLO : 0);
	if (r.dialling)
		memcpy(r.hello, r.body + 1 + COOKIE_LEN, NOISE_MSG1_LEN);
	if ((mode & 2) != 0 && in.left > 0)
		stranger(&r, (struct bytes){ in.p, in.left });
	else
		frames(&r, &in);
	session_free(r.s);
	noise_fini(&r.peer);
	buf_fini(&r.out);
	return 0;
}

/* ---- mutation ---- */

static const uint32_t numbers[] = { 25, 32, 64, 65, 96, 0 };
static const struct mutate_form forms[2] = {
	{ .head = 1, .prefix = 1, .length = 2, .numbers = numbers },
	{ .head = 1, .prefix = 4, .length = 4, .numbers = numbers },
};

static const struct mutate_form *
form_of(const uint8_t *data, size_t size)
{
	return &forms[size > 0 && (data[0] & 2) != 0];
}

MUTATE_AS(form_of(data, size))
