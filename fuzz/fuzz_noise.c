/* Targets: all of noise.c, both roles.
 *
 * The first byte: bit 0 what is fuzzed (0 a handshake, 1 the transport after
 * one), bit 1 who is who, bits 2 and 3 the keys.  Then items (what, two bytes
 * of length, body).
 *
 * A handshake: both sides are honest, and what % 8 happens to a message on its
 * way (enum act), whose payload is the body.  Both sides end with the same
 * hash, the same keys and the other's static key exactly if each message
 * arrived as it was, in turn; a first message that was altered shows in the
 * second; payloads arrive; a state that has failed stays so, and is wiped.
 *
 * The transport: one side seals, the other opens, with numbers near the end of
 * all numbers, keys stepped on one side, other associated data.  What was
 * sealed opens once, in its place; all else leaves the state as it was. */
#include <string.h>

#include "common/base/rd.h"
#include "common/base/secret.h"
#include "fuzz/must.h"
#include "fuzz/mutate.h"
#include "fuzz/shake.h"

#define ITEMS_MAX 64u
#define BODY_MAX 600u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum act {
	PASS,
	FLIP, /* a bit, by the body's first two bytes */
	SHORTER,
	LONGER,
	TURN, /* the same side again, or reads what it may not */
	REPLACED, /* by the body */
	NO_PAYLOAD, /* is wanted */
	BIG, /* payload */
};

struct pair {
	struct noise n[2]; /* initiator, responder */
	uint8_t s[2][32], pub[2][32];
};

static void
begin(struct pair *p, uint8_t mode)
{
	static const uint8_t prologue[] = "prologue";

	for (unsigned i = 0; i < 2; i++) {
		uint8_t e[32];

		shake_random(p->s[i], 32);
		shake_random(e, 32);
		/* The other side's, or one for both. */
		if (i == 1 && (mode & 12) == 12)
			memcpy(p->s[1], p->s[0], 32);
		noise_public(p->pub[i], p->s[i]);
		noise_init(&p->n[i], i == 0 ? NOISE_INITIATOR : NOISE_RESPONDER,
		    p->s[i], p->pub[i], e,
		    (struct bytes){ prologue,
			sizeof prologue - (i & (unsigned)mode >> 1) });
	}
}

static void
must_be_dead(struct noise *n)
{
	static const uint8_t msg[NOISE_MSG2_LEN];
	static const uint8_t zero[32];
	struct buf out = { 0 };

	must(!noise_done(n));
	must(memcmp(n->ck, zero, 32) == 0 && memcmp(n->k, zero, 32) == 0);
	must(memcmp(n->e, zero, 32) == 0 && n->s == NULL);
	must(noise_write(n, &out, (struct bytes){ NULL, 0 }) == ERR_PHASE);
	must(out.len == 0);
	must(noise_read(n, NULL, (struct bytes){ msg, sizeof msg }) ==
	    ERR_PHASE);
	buf_fini(&out);
}

/* What becomes of a message; true: it is another one. */
static bool
alter(struct buf *msg, enum act act, struct bytes body)
{
	size_t bit = body.len > 1 ? (size_t)body.p[0] << 8 | body.p[1] : 3;

	switch (act) {
	case FLIP:
		msg->p[bit / 8 % msg->len] ^= (uint8_t)(1u << bit % 8);
		return true;
	case SHORTER:
		msg->len -= 1 + bit % msg->len;
		return true;
	case LONGER:
		must(buf_append(msg, "x", 1, SIZE_MAX) == ERR_OK);
		return true;
	case REPLACED:
		if (body.len == msg->len &&
		    memcmp(body.p, msg->p, body.len) == 0)
			return false;
		must(buf_set(msg, body.p, body.len) == ERR_OK);
		return true;
	case PASS:
	case TURN:
	case NO_PAYLOAD:
	case BIG:
		break;
	}
	return false;
}

static void
check_done(struct pair *p)
{
	struct noise_cipher c[2][2];

	must(noise_done(&p->n[0]) && noise_done(&p->n[1]));
	for (int i = 0; i < 2; i++)
		noise_split(&p->n[i], &c[i][0], &c[i][1]);
	for (int i = 0; i < 2; i++) {
		must(memcmp(c[i][0].k, c[!i][1].k, 32) == 0);
		must(memcmp(noise_peer(&p->n[i]), p->pub[!i], 32) == 0);
		must_be_dead(&p->n[i]);
	}
	must(memcmp(c[0][0].k, c[0][1].k, 32) != 0);
	must(memcmp(noise_hash(&p->n[0]), noise_hash(&p->n[1]), 32) == 0);
}

/* One message; false: the handshake is over.  `*altered`: the first one was,
 * and nobody knows yet. */
static bool
message(struct pair *p, unsigned step, enum act act, struct bytes body,
    bool *altered)
{
	struct noise *from = &p->n[step & 1], *to = &p->n[!(step & 1)];
	size_t max =
	    act == BIG ? NOISE_MSG_MAX : NOISE_MSG_MAX - NOISE_MSG2_LEN;
	struct buf msg = { 0 }, payload = { 0 };
	bool changed, good, none = act == NO_PAYLOAD;
	enum err e;

	if (act == TURN) {
		e = (body.len & 1) != 0
		    ? noise_write(to, &msg, (struct bytes){ NULL, 0 })
		    : noise_read(from, NULL, body);
		must(e == ERR_PHASE && msg.len == 0);
		must_be_dead((body.len & 1) != 0 ? to : from);
		return false;
	}
	if (body.len > max)
		body.len = max;
	e = noise_write(from, &msg, body);
	if (body.len > NOISE_MSG_MAX - NOISE_MSG2_LEN) {
		must(e == ERR_LIMIT && msg.len == 0);
		must_be_dead(from);
		return false;
	}
	/* A first message that was altered may have become a point that
	 * agrees with nobody. */
	if (e != ERR_OK) {
		must(e == ERR_AUTH && *altered && step == 1);
		must_be_dead(from);
		buf_fini(&msg);
		return false;
	}
	changed = alter(&msg, act, body);
	e = noise_read(to, none ? NULL : &payload, buf_view(&msg));
	/* Nothing protects the first: it is taken if it is long enough. */
	good = step == 0 ? msg.len >= NOISE_MSG1_LEN && msg.len <= NOISE_MSG_MAX
			 : !changed && !*altered;
	if (none && body.len > 0)
		good = false;
	must((e == ERR_OK) == good);
	if (good && step == 0)
		*altered = changed;
	if (!good)
		must(payload.len == 0);
	else if (!changed && !none)
		must(payload.len == body.len &&
		    (body.len == 0 ||
			memcmp(payload.p, body.p, body.len) == 0));
	if (!good)
		must_be_dead(to);
	buf_fini(&msg);
	buf_fini(&payload);
	return good;
}

static void
handshake(struct rd *in, uint8_t mode)
{
	struct pair p;
	/* Another prologue shows as an altered message does. */
	bool altered = false, prologue = (mode >> 1 & 1) != 0;
	unsigned step = 0;

	begin(&p, mode);
	while (step < 3) {
		enum act act = (enum act)(rd_u8(in) % 8);
		size_t len = rd_be16(in);
		struct bytes body = { .len = len < in->left ? len : in->left };
		bool hidden;

		if (body.len > BODY_MAX)
			body.len = BODY_MAX;
		body.p = rd_bytes(in, body.len);
		if (step == 1)
			altered = altered || prologue;
		hidden = altered;
		if (!message(&p, step, act, body, &altered))
			break;
		must(step == 0 || !hidden);
		step++;
	}
	if (step == 3)
		check_done(&p);
	noise_fini(&p.n[0]);
	noise_fini(&p.n[1]);
}

/* ---- the transport ---- */

enum op {
	SEAL, /* and open */
	OTHER_AD,
	ALTERED,
	STEP_ONE, /* one side's key: nothing opens until both have */
	STEP_OTHER,
	NUMBER, /* both go to this one */
	REPEAT, /* what was opened last */
	TOO_SHORT,
};

static bool
same(const struct noise_cipher *a, const struct noise_cipher *b)
{
	return a->n == b->n && memcmp(a->k, b->k, 32) == 0;
}

static void
sealed(struct noise_cipher *tx, struct noise_cipher *rx, enum op op,
    struct bytes body)
{
	uint8_t box[BODY_MAX + NOISE_TAG_LEN], copy[sizeof box];
	struct noise_cipher before = *rx, sender = *tx;
	const struct bytes ad = { body.p, body.len < 16 ? body.len : 16 };
	struct bytes other = ad;
	size_t len = body.len + NOISE_TAG_LEN;
	bool good = same(tx, rx);
	enum err e;

	if (body.len > 0)
		memcpy(box, body.p, body.len);
	e = noise_seal(tx, box, body.len, ad);
	if (sender.n == UINT64_MAX) {
		must(e == ERR_LIMIT && same(tx, &sender));
		must(noise_open(rx, box, len, ad) != ERR_OK);
		must(same(rx, &before));
		return;
	}
	must(e == ERR_OK && tx->n == sender.n + 1);
	memcpy(copy, box, len);
	if (op == OTHER_AD) {
		other = (struct bytes){ (const uint8_t *)"?", 1 };
		good = good && ad.len == 1 && ad.p[0] == '?';
	} else if (op == ALTERED) {
		box[(body.len > 0 ? body.p[0] : 7u) % len] ^= 0x40;
		good = false;
	} else if (op == TOO_SHORT) {
		len = (body.len > 0 ? body.p[0] : 0u) % len;
		good = false;
	}
	e = noise_open(rx, box, len, other);
	must((e == ERR_OK) == good);
	if (!good) {
		must(same(rx, &before));
		/* It is still good where it belongs. */
		e = noise_open(rx, copy, body.len + NOISE_TAG_LEN, ad);
		must((e == ERR_OK) == same(&sender, &before));
		memcpy(box, copy, body.len);
		good = e == ERR_OK;
	}
	if (!good) {
		must(same(rx, &before));
		return;
	}
	must(rx->n == before.n + 1);
	must(body.len == 0 || memcmp(box, body.p, body.len) == 0);
	/* Once. */
	before = *rx;
	must(noise_open(rx, copy, body.len + NOISE_TAG_LEN, ad) != ERR_OK);
	must(same(rx, &before));
}

static void
transport(struct rd *in)
{
	struct noise_cipher tx = { 0 }, rx;

	shake_random(tx.k, sizeof tx.k);
	rx = tx;
	for (unsigned i = 0; i < ITEMS_MAX && in->left > 0; i++) {
		enum op op = (enum op)(rd_u8(in) % 8);
		size_t len = rd_be16(in);
		struct bytes body = { .len = len < in->left ? len : in->left };
		struct noise_cipher before;
		struct rd number;

		if (body.len > BODY_MAX)
			body.len = BODY_MAX;
		body.p = rd_bytes(in, body.len);
		number = (struct rd){ .p = body.p, .left = body.len };
		switch (op) {
		case STEP_ONE:
		case STEP_OTHER:
			before = op == STEP_ONE ? tx : rx;
			noise_rekey(op == STEP_ONE ? &tx : &rx);
			must((op == STEP_ONE ? tx : rx).n == before.n);
			must(memcmp((op == STEP_ONE ? tx : rx).k, before.k,
				 32) != 0);
			break;
		case NUMBER:
			tx.n = rx.n = UINT64_MAX - rd_u8(&number) % 4u;
			break;
		case SEAL:
		case OTHER_AD:
		case ALTERED:
		case REPEAT:
		case TOO_SHORT:
			sealed(&tx, &rx, op, body);
			break;
		}
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct rd in = { .p = data, .left = size };
	uint8_t mode = rd_u8(&in);

	shake_restart();
	if ((mode & 1) != 0)
		transport(&in);
	else
		handshake(&in, mode);
	return 0;
}

/* ---- mutation ---- */

static const uint32_t numbers[] = { 16, 32, 48, 64, 96, 400, 416, 512, 0 };
static const struct mutate_form form = {
	.head = 1, .prefix = 1, .length = 2, .numbers = numbers
};

MUTATE_AS(&form)
