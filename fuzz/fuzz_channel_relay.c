/* Targets: two connections, four honest sides, and a network that belongs to
 * the fuzzer: whole sessions from HELLO to renewals and worn-out keys.
 *
 * The first byte: bit 0 cookies, bit 1 keys that wear out soon, bit 2 the
 * second dialler is a KMS node, bit 3 all sessions are open already (and it
 * is).  Then pairs of bytes (what, which): what % 16 says what happens (enum act), which % 4 to which wire or side.
 * Owners do what they should: prove, check, answer.
 *
 * The network has every frame that was ever sent, and no key.  What a side
 * takes is what the other end of its session (the one with the same hash) has
 * sent, in order, once; nobody is shown evidence that does not fit; a session
 * that is open at the dialler is open at one answerer; and while the network
 * only carries, nobody refuses anything. */
#include <stdlib.h>
#include <string.h>

#include "common/base/rd.h"
#include "fuzz/must.h"
#include "fuzz/mutate.h"
#include "fuzz/shake.h"

#define STEPS_MAX 100u
#define QUEUE_MAX 12u
#define LOG_MAX 64u
#define SIDES 4 /* diallers 0 and 1, answerers 2 and 3 */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum act {
	CARRY, /* the first frame of a wire, to its end; as are 1 to 5 */
	ASK = 6, /* a dialler's owner sends a request */
	RENEW,
	PASS, /* a minute per `which`, for everybody */
	DROP,
	SWAP, /* the first two */
	TWICE, /* carried, and it stays */
	ASTRAY, /* to another side: which >> 2 */
	AGAIN, /* any old frame: which >> 2, to the side `which` */
	FLIP, /* a bit of the first; which >> 2 */
	CUT, /* a part of it, and the rest at once */
};

struct frame {
	struct buf b;
};

struct side {
	struct session *s;
	struct buf out;
	struct frame wire[QUEUE_MAX]; /* on the way to the other end */
	size_t n_wire;
	/* What was sent and taken on this session, by this side. */
	uint32_t sent, taken;
	bool dead;
};

struct run {
	struct side side[SIDES];
	struct frame log[LOG_MAX];
	size_t n_log;
	uint64_t now;
	bool meddled;
};

static bool
dials(const struct run *r, const struct side *d)
{
	return d < &r->side[2];
}

/* Moves whole frames from what a side has sent to its wire. */
static void
collect(struct run *r, struct side *d)
{
	size_t at = 0;

	while (at < d->out.len) {
		struct frame_head head = { .type = FRAME_DATA };
		const uint8_t *p = d->out.p + at;
		size_t len;

		must(d->out.len - at >= FRAME_HEAD_LEN);
		must(frame_parse(&head, p) == ERR_OK);
		len = FRAME_HEAD_LEN + head.len;
		must(d->out.len - at >= len);
		at += len;
		if (d->n_wire == QUEUE_MAX) {
			r->meddled = true; /* lost */
			continue;
		}
		must(buf_set(&d->wire[d->n_wire++].b, p, len) == ERR_OK);
		if (r->n_log < LOG_MAX)
			must(buf_set(&r->log[r->n_log++].b, p, len) == ERR_OK);
	}
	d->out.len = 0;
}

/* The other end, by the session's name. */
static struct side *
end_of(struct run *r, const struct side *d)
{
	struct side *found = NULL;

	for (int i = 0; i < SIDES; i++) {
		struct side *o = &r->side[i];

		if (dials(r, o) == dials(r, d) || session_handshaking(o->s) ||
		    memcmp(session_hash(o->s), session_hash(d->s), 32) != 0)
			continue;
		must(found == NULL);
		found = o;
	}
	must(found != NULL);
	return found;
}

/* The body of the n-th message of a side in a session, either way. */
static void
words(const struct run *r, const struct side *d, uint32_t n,
    uint8_t out[static 8])
{
	out[0] = (uint8_t)(d - r->side);
	out[1] = dials(r, d) ? 'q' : 'a';
	out[2] = (uint8_t)n;
	out[3] = (uint8_t)(n >> 8);
	memcpy(out + 4, session_hash(d->s), 4);
}

static void
prove(struct run *r, struct side *d, struct session_event *ev)
{
	struct evidence e = { .tee = TEE_TDX };
	struct refusal why;

	must(buf_set(&e.quote, ev->report_data, 64) == ERR_OK);
	must(session_proved(d->s, ev, &d->out, &e, r->now, &why) == ERR_OK);
	evidence_fini(&e);
}

static void
take(struct run *r, struct side *d, const struct session_event *ev)
{
	struct side *from = end_of(r, d);
	uint8_t want[8];

	must(from->sent > d->taken);
	words(r, from, d->taken++, want);
	must(ev->body.len == sizeof want);
	must(memcmp(ev->body.p, want, sizeof want) == 0);
}

static void
answer(struct run *r, struct side *d)
{
	uint8_t body[8];

	words(r, d, d->sent++, body);
	must(session_reply(d->s, &d->out, (struct bytes){ body, sizeof body },
		 r->now) == ERR_OK);
}

static void
own(struct run *r, struct side *d, struct session_event *ev)
{
	while (ev->kind != SESSION_IDLE)
		switch (ev->kind) {
		case SESSION_PROVE:
			prove(r, d, ev);
			break;
		case SESSION_CHECK:
			(void)end_of(r, d);
			must(ev->evidence->quote.len == 64);
			must(memcmp(ev->evidence->quote.p, ev->report_data,
				 64) == 0);
			must(session_checked(d->s, ev) == ERR_OK);
			break;
		case SESSION_OPEN:
		case SESSION_RENEWED:
			if (dials(r, d))
				must(end_of(r, d)->dead ||
				    session_is_open(end_of(r, d)->s));
			ev->kind = SESSION_IDLE;
			break;
		case SESSION_REQUEST:
			must(!dials(r, d));
			take(r, d, ev);
			answer(r, d);
			ev->kind = SESSION_IDLE;
			break;
		case SESSION_REPLY:
			must(dials(r, d));
			take(r, d, ev);
			ev->kind = SESSION_IDLE;
			break;
		case SESSION_REQUEST_REFUSED: /* no owner here does */
		case SESSION_IDLE:
			abort();
		}
}

static void
feed(struct run *r, struct side *d, struct bytes in)
{
	struct session_event ev;
	struct refusal why = { 0 };

	while (in.len > 0 && !d->dead) {
		if (session_feed(d->s, &ev, &d->out, &in, r->now, &why) ==
		    ERR_OK) {
			own(r, d, &ev);
		} else {
			must(r->meddled);
			session_refuse(d->s, &d->out, why.code, r->now);
			d->dead = true;
		}
	}
	collect(r, d);
}

static void
first_goes(struct side *d)
{
	buf_fini(&d->wire[0].b);
	memmove(d->wire, d->wire + 1, --d->n_wire * sizeof *d->wire);
	d->wire[d->n_wire] = (struct frame){ 0 };
}

/* The first frame on the wire of `from` arrives at `to`. */
static void
arrive(struct run *r, struct side *from, struct side *to, size_t cut)
{
	struct buf b = from->wire[0].b;

	from->wire[0].b = (struct buf){ 0 };
	first_goes(from);
	cut = cut < b.len ? cut : b.len;
	feed(r, to, (struct bytes){ b.p, cut });
	feed(r, to, (struct bytes){ b.p + cut, b.len - cut });
	buf_fini(&b);
}

/* A dialler's owner; nothing happens where it may not be. */
static void
ask(struct run *r, struct side *d)
{
	uint8_t body[8];

	if (!dials(r, d) || session_handshaking(d->s))
		return;
	words(r, d, d->sent, body);
	if (session_request(d->s, &d->out, (struct bytes){ body, sizeof body },
		r->now) == ERR_OK)
		d->sent++;
	collect(r, d);
}

/* What the network does to the first frame of a wire. */
static void
meddle(struct run *r, enum act act, struct side *d, uint8_t arg)
{
	struct buf *b = &d->wire[0].b;
	struct frame tmp = { 0 };

	r->meddled = true;
	switch ((int)act) {
	case DROP:
		first_goes(d);
		break;
	case SWAP:
		if (d->n_wire < 2)
			break;
		tmp = d->wire[0];
		d->wire[0] = d->wire[1];
		d->wire[1] = tmp;
		break;
	case TWICE:
		must(buf_set(&tmp.b, b->p, b->len) == ERR_OK);
		feed(r, &r->side[(size_t)(d - r->side) ^ 2], buf_view(&tmp.b));
		buf_fini(&tmp.b);
		break;
	case ASTRAY:
		arrive(r, d, &r->side[arg % SIDES], 0);
		break;
	case FLIP:
		b->p[(size_t)arg * 7 % b->len] ^= (uint8_t)(1u << arg % 8);
		break;
	}
}

static void
step(struct run *r, uint8_t what, uint8_t which)
{
	struct side *d = &r->side[which % SIDES];
	enum act act = (enum act)(what % 16);

	switch ((int)act) {
	case ASK:
		ask(r, d);
		break;
	case RENEW:
		if (dials(r, d))
			(void)session_renew(d->s, &d->out, r->now);
		collect(r, d);
		break;
	case PASS:
		r->now += which * (uint64_t)60000;
		/* An honest peer does not wait for so long with a frame. */
		r->meddled = true;
		break;
	case AGAIN:
		r->meddled = true;
		if (r->n_log > 0)
			feed(r, d, buf_view(&r->log[which / 4 % r->n_log].b));
		break;
	default:
		if (d->n_wire == 0)
			break;
		if (act < ASK || act == CUT)
			arrive(r, d, &r->side[(which % SIDES) ^ 2],
			    act == CUT ? which / 4 : 0);
		else
			meddle(r, act, d, which / 4);
		break;
	}
}

static void
begin(struct run *r, uint8_t mode)
{
	struct session *pair[2];

	for (int i = 0; i < SIDES; i++) {
		struct side *d = &r->side[i];
		enum channel_role role = i >= 2  ? CHANNEL_KMS_SERVER
		    : i == 1 && (mode & 12) != 0 ? CHANNEL_KMS_PEER
						 : CHANNEL_APP;
		struct session_options o = shake_options(role, 1);

		o.source[7] = (uint8_t)i;
		o.rekey_frames = (mode & 2) != 0 ? 4 : 0;
		if ((mode & 8) == 0) {
			must(session_new(&d->s, &d->out, &o, 0) == ERR_OK);
			session_challenge(d->s, (mode & 1) != 0);
			collect(r, d);
		} else if (i < 2) {
			shake_new(pair, role, true);
			d->s = pair[SHAKE_DIALLER];
			r->side[i + 2].s = pair[SHAKE_ANSWERER];
		}
		if (o.rekey_frames != 0)
			d->s->rekey_frames = o.rekey_frames;
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct rd in = { .p = data, .left = size };
	struct run r = { 0 };

	shake_restart();
	begin(&r, rd_u8(&in));
	for (unsigned i = 0; i < STEPS_MAX && in.left >= 2; i++) {
		uint8_t what = rd_u8(&in);

		step(&r, what, rd_u8(&in));
	}
	for (int i = 0; i < SIDES; i++) {
		session_free(r.side[i].s);
		buf_fini(&r.side[i].out);
		for (size_t k = 0; k < r.side[i].n_wire; k++)
			buf_fini(&r.side[i].wire[k].b);
	}
	for (size_t k = 0; k < r.n_log; k++)
		buf_fini(&r.log[k].b);
	return 0;
}

/* ---- mutation ---- */

static const struct mutate_form form = { .head = 1, .prefix = 2 };

MUTATE_AS(&form)
