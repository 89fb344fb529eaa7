/* Targets: session_feed behind the AEAD, all of session_msg.c, and what an
 * owner may call, on either side of a session.
 *
 * The fuzzer is the peer and holds its keys.  The first byte chooses our side
 * (bit 0: we dial), the dialler's role (bit 1), whether the session is open
 * already (bit 2) and how soon a key is worn out (bits 3, 4).  The rest is a
 * list of (what, two bytes of length, body).
 *   what < 128: the peer sends a message of type what % 16; bits 4 to 6 say
 *               what becomes of its frame (enum way)
 *   otherwise:  our owner does something (enum act)
 * Evidence with a body of one byte is made here, see bindings; its quote is the
 * report data, and the owner takes it if that is what must be quoted now.
 *
 * A model made out of README.md says what is taken; nothing else is.  What
 * is refused ends the session: from then on nothing is sent, nothing happens,
 * nothing changes.  Every frame of ours opens with the peer's keys, is the
 * next one, is expected, and is not under a key that is worn out. */
#include <string.h>

#include "common/base/limits.h"
#include "common/base/rd.h"
#include "common/base/wr.h"
#include "fuzz/must.h"
#include "fuzz/mutate.h"
#include "fuzz/shake.h"
#include "node/channel/proof.h"

#include "common/wire/kms.pb-c.h"

#define ITEMS_MAX 48u
/* Messages of the largest size, which take a while. */
#define BIG_MAX 1u
/* A frame that claims to be longer than this is not filled up. */
#define FILL_MAX 4096u

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum way {
	AS_IS,
	TWICE, /* the second must be refused, as must all that follow */
	LOST, /* the next one must be refused */
	FLIPPED, /* one bit of it */
	COUNTER, /* sealed for another place, or under the key before */
	PIECES,
	BARE, /* the body is a frame's, not sealed, of that type */
	REFLECTED, /* our own last frame, instead */
};

enum act {
	REQUEST,
	RENEW,
	REPLY,
	REPLY_REFUSED,
	PROVE,
	CHECKED,
	REFUSE,
	TIME, /* passes: four bytes of milliseconds */
	CONSUMED,
	NOTHING, /* is fed */
	TOO_LONG, /* what we send */
	BIG, /* what the peer sends */
	N_ACTS,
};

enum step { S_PROVE, S_EVIDENCE, S_CHECK, S_NONCE, S_OPEN, S_DEAD };

struct run {
	struct session *s;
	/* The peer's: to us, from us, and before its last REKEY. */
	struct noise_cipher tx, rx, old;
	bool has_old, gap, stuck;
	unsigned big;
	uint64_t now;
	struct buf out, last, sent; /* ours: to read, last frame, last body */

	/* The model. */
	enum step step;
	bool dialling, opened, renewing, peer_refused, told, fits;
	enum channel_role own, peer;
	uint64_t renewals;
	uint8_t own_nonce[32], peer_nonce[32];
	unsigned unanswered;
	uint32_t rekey_frames, rx_frames, tx_frames;
	uint64_t rx_since, tx_since;
};

static uint8_t zeros[LIMIT_MESSAGE + 64];

/* ---- evidence ---- */

static const uint8_t *
static_of(const struct run *r, bool own)
{
	return shake_static_public(
	    own == r->dialling ? SHAKE_DIALLER : SHAKE_ANSWERER);
}

/* What one side must quote now. */
static void
binding(const struct run *r, bool own, uint8_t out[static 64])
{
	enum channel_role role = own ? r->own : r->peer;
	const uint8_t *hash = session_hash(r->s);

	if (r->renewing)
		proof_bind_renewal(out, role, hash, static_of(r, own),
		    own ? r->peer_nonce : r->own_nonce, r->renewals);
	else
		proof_bind(out, role, hash, static_of(r, own));
}

/* What the peer has, or could have got from somebody. */
static void
bindings(const struct run *r, uint8_t which, uint8_t out[static 64])
{
	uint8_t hash[32];

	memcpy(hash, session_hash(r->s), 32);
	switch (which % 8) {
	case 1: /* from the beginning of this session */
		proof_bind(out, r->peer, hash, static_of(r, false));
		break;
	case 2: /* from the renewal before */
		proof_bind_renewal(out, r->peer, hash, static_of(r, false),
		    r->own_nonce, r->renewals - 1);
		break;
	case 3: /* our own */
		binding(r, true, out);
		break;
	case 4: /* over a nonce of its own */
		proof_bind_renewal(out, r->peer, hash, static_of(r, false),
		    r->peer_nonce, r->renewals);
		break;
	case 5: /* from another session */
		hash[0] ^= 1;
		proof_bind(out, r->peer, hash, static_of(r, false));
		break;
	case 6: /* with our static key */
		proof_bind(out, r->peer, hash, static_of(r, true));
		break;
	case 7: /* of another role */
		proof_bind(out,
		    r->peer == CHANNEL_APP ? CHANNEL_KMS_PEER : CHANNEL_APP,
		    hash, static_of(r, false));
		break;
	default:
		binding(r, false, out);
		break;
	}
}

static void
put_evidence(const struct run *r, struct buf *out, uint8_t which)
{
	struct evidence e = { .tee = TEE_TDX };
	uint8_t quote[64];

	bindings(r, which, quote);
	must(buf_set(&e.quote, quote, sizeof quote) == ERR_OK);
	must(proof_pack(out, &e) == ERR_OK);
	evidence_fini(&e);
}

/* ---- what we send ---- */

/* Reads all of it; at most one message besides REKEY, which is `want` (0:
 * none) and whose body is left in r->sent. */
static void
read_ours(struct run *r, unsigned want)
{
	size_t at = 0;
	unsigned n = 0;

	while (at < r->out.len) {
		uint8_t *p = r->out.p + at, *text = p + FRAME_HEAD_LEN + 8;
		struct frame_head head;
		struct rd counter = { .p = p + FRAME_HEAD_LEN, .left = 8 };
		uint8_t ad[FRAME_HEAD_LEN + 8];

		must(r->out.len - at >= FRAME_HEAD_LEN + DATA_MIN);
		must(frame_parse(&head, p) == ERR_OK);
		must(head.type == FRAME_DATA && head.len >= DATA_MIN);
		must(r->out.len - at >= FRAME_HEAD_LEN + head.len);
		must(buf_set(&r->last, p, FRAME_HEAD_LEN + head.len) == ERR_OK);
		memcpy(ad, p, sizeof ad);
		must(rd_be64(&counter) == r->rx.n);
		must(noise_open(&r->rx, text, head.len - 8,
			 (struct bytes){ ad, sizeof ad }) == ERR_OK);
		r->tx_frames++;
		if (text[0] == M_REKEY) {
			must(head.len == DATA_MIN);
			must(r->tx_frames <= r->rekey_frames);
			noise_rekey(&r->rx);
			r->tx_frames = 0;
			r->tx_since = r->now;
		} else {
			must(r->tx_frames < r->rekey_frames);
			must(r->now - r->tx_since < SESSION_REKEY_MS);
			must(text[0] == want && ++n == 1);
			must(buf_set(&r->sent, text + 1, head.len - DATA_MIN) ==
			    ERR_OK);
		}
		at += FRAME_HEAD_LEN + head.len;
	}
	must(n == (want != 0));
	r->out.len = 0;
}

/* ---- what comes ---- */

static void
dead(struct run *r)
{
	r->step = S_DEAD;
	read_ours(r, 0);
	must(!session_is_open(r->s));
	must(session_refused_by_peer(r->s) == r->peer_refused);
}

static enum err
feed(struct run *r, struct session_event *ev, struct bytes in)
{
	struct refusal why = { 0 };
	size_t had = r->s->in.len;
	enum err e = session_feed(r->s, ev, &r->out, &in, r->now, &why);

	must(e == ERR_OK ? in.len == 0 : e == ERR_DENIED);
	must(e == ERR_OK || why.code != REASON_NONE);
	must(e == ERR_OK || ev->kind == SESSION_IDLE || why.code != 0);
	/* Memory is for what has come. */
	must(r->s->in.cap <= 2 * (had + in.len) + 2 * r->s->in.len + 65536);
	return e;
}

static void
refused(struct run *r, struct bytes in)
{
	struct session_event ev;

	must(feed(r, &ev, in) == ERR_DENIED);
	dead(r);
}

static bool
reason_ok(struct bytes body)
{
	return body.len >= 1 && body.p[0] < 64 && body.len - 1 >= body.p[0] &&
	    body.len - 1 - body.p[0] <= LIMIT_REASON_TEXT;
}

static bool
evidence_ok(struct run *r, struct bytes body)
{
	struct evidence e;
	uint8_t want[64];

	if (proof_unpack(&e, body) != ERR_OK)
		return false;
	binding(r, false, want);
	r->fits = e.quote.len == 64 && memcmp(e.quote.p, want, 64) == 0;
	evidence_fini(&e);
	return true;
}

/* Who may send what, and when: the table of README.md. */
static bool
allowed(struct run *r, unsigned type, struct bytes body)
{
	bool open = r->step == S_OPEN;

	switch (type) {
	case M_EVIDENCE:
		return r->step == S_EVIDENCE && !r->renewing &&
		    evidence_ok(r, body);
	case M_RENEWAL:
		return r->step == S_EVIDENCE && r->renewing &&
		    evidence_ok(r, body);
	case M_REQUEST:
		return open && !r->dialling;
	case M_REPLY:
		return r->dialling && r->unanswered > 0;
	case M_REQUEST_REFUSED:
		return r->dialling && r->unanswered > 0 && reason_ok(body);
	case M_REKEY:
		return body.len == 0;
	case M_RENEW:
		return open && !r->dialling && body.len == 32;
	case M_NONCE:
		return r->step == S_NONCE && body.len == 32;
	default: /* and M_REFUSED, which ends it */
		return false;
	}
}

/* The same, of its effects. */
static void
taken(struct run *r, unsigned type, struct bytes body,
    const struct session_event *ev)
{
	uint8_t want[64];
	unsigned answer = 0;

	switch (type) {
	case M_EVIDENCE:
	case M_RENEWAL:
		must(ev->kind == SESSION_CHECK && ev->evidence != NULL);
		binding(r, false, want);
		must(memcmp(ev->report_data, want, 64) == 0);
		r->step = S_CHECK;
		break;
	case M_REQUEST:
	case M_REPLY:
		must(ev->kind ==
		    (type == M_REPLY ? SESSION_REPLY : SESSION_REQUEST));
		must(ev->body.len == body.len &&
		    (body.len == 0 ||
			memcmp(ev->body.p, body.p, body.len) == 0));
		r->unanswered += type == M_REPLY ? -1u : 1u;
		break;
	case M_REQUEST_REFUSED:
		must(ev->kind == SESSION_REQUEST_REFUSED);
		must(ev->why.code != REASON_NONE);
		r->unanswered--;
		break;
	case M_REKEY:
		must(ev->kind == SESSION_IDLE);
		r->old = r->tx;
		r->has_old = true;
		noise_rekey(&r->tx);
		r->rx_frames = 0;
		r->rx_since = r->now;
		break;
	case M_RENEW:
		must(ev->kind == SESSION_IDLE);
		memcpy(r->peer_nonce, body.p, 32);
		r->renewing = true;
		r->renewals++;
		r->step = S_EVIDENCE;
		answer = M_NONCE;
		break;
	default: /* M_NONCE */
		memcpy(r->peer_nonce, body.p, 32);
		must(ev->kind == SESSION_PROVE);
		binding(r, true, want);
		must(memcmp(ev->report_data, want, 64) == 0);
		r->step = S_PROVE;
		break;
	}
	read_ours(r, answer);
	if (answer == M_NONCE) {
		must(r->sent.len == 32);
		must(memcmp(r->sent.p, r->own_nonce, 32) != 0);
		memcpy(r->own_nonce, r->sent.p, 32);
	}
}

static void
deliver(struct run *r, unsigned type, struct bytes body, struct bytes frame)
{
	struct session_event ev;
	bool ok = !r->gap && r->step != S_DEAD;
	bool big = body.len + DATA_MIN >
	    DATA_MIN + (r->opened ? LIMIT_MESSAGE : LIMIT_EVIDENCE);
	enum err e;

	if (ok && !big) {
		r->rx_frames++;
		ok = type == M_REKEY ||
		    (r->rx_frames < r->rekey_frames &&
			r->now - r->rx_since < 2 * SESSION_REKEY_MS);
		/* It is heard in every phase, and is the end. */
		r->peer_refused = r->peer_refused || (ok && type == M_REFUSED);
		ok = ok && allowed(r, type, body);
	}
	e = feed(r, &ev, frame);
	must((e == ERR_OK) == (ok && !big));
	if (e == ERR_OK)
		taken(r, type, body, &ev);
	else
		dead(r);
	must(session_is_open(r->s) == (r->opened && r->step != S_DEAD));
}

/* ---- what the peer does ---- */

static void
seal(struct buf *out, struct noise_cipher *c, unsigned type, struct bytes body)
{
	size_t len = DATA_MIN + body.len;
	struct wr w;

	must(buf_reserve(out, FRAME_HEAD_LEN + len) == ERR_OK);
	w = (struct wr){ .p = out->p, .cap = FRAME_HEAD_LEN + len };
	frame_write(w.p, FRAME_DATA, (uint32_t)len);
	w.len = FRAME_HEAD_LEN;
	wr_be64(&w, c->n);
	wr_u8(&w, (uint8_t)type);
	wr_bytes(&w, body.p, body.len);
	must(noise_seal(c, w.p + FRAME_HEAD_LEN + 8, 1 + body.len,
		 (struct bytes){ w.p, FRAME_HEAD_LEN + 8 }) == ERR_OK);
	out->len = w.cap;
}

/* A frame that is no good; what it says is yet to come is zeros. */
static void
bad_frame(struct run *r, struct bytes frame)
{
	struct session_event ev;
	enum err e = feed(r, &ev, frame);

	if (e == ERR_OK) {
		must(ev.kind == SESSION_IDLE && r->step != S_DEAD);
		must(r->s->head_len == FRAME_HEAD_LEN);
		must(r->s->frame.len > r->s->in.len);
		refused(
		    r, (struct bytes){ zeros, r->s->frame.len - r->s->in.len });
	} else {
		dead(r);
	}
}

static void
in_pieces(struct run *r, unsigned type, struct bytes body, struct bytes frame)
{
	size_t at = 1 + (body.len > 0 ? body.p[0] : 11) % (frame.len - 1);
	struct session_event ev;

	if (r->step != S_DEAD && !r->gap &&
	    feed(r, &ev, (struct bytes){ frame.p, at }) == ERR_OK) {
		must(ev.kind == SESSION_IDLE);
		frame.p += at;
		frame.len -= at;
	}
	deliver(r, type, body, frame);
}

/* Sealed well, but not what comes next. */
static void
elsewhere(struct run *r, unsigned type, struct bytes body)
{
	struct noise_cipher c = r->tx;
	struct buf f = { 0 };

	if (r->has_old && body.len > 0 && (body.p[0] & 1) != 0) {
		c = r->old;
		c.n = r->tx.n;
	} else {
		c.n += body.len > 1 ? body.p[1] + 1u : UINT64_MAX;
		/* Not where one was lost, and nowhere that does not exist. */
		if (r->gap || c.n == UINT64_MAX)
			c.n = r->tx.n + 1;
	}
	seal(&f, &c, type, body);
	refused(r, buf_view(&f));
	buf_fini(&f);
}

static void
from_peer(struct run *r, unsigned type, enum way way, struct bytes body)
{
	struct buf f = { 0 }, made = { 0 };
	size_t bit = body.len > 1 ? (size_t)body.p[0] << 8 | body.p[1] : 5;

	if ((type == M_EVIDENCE || type == M_RENEWAL) && body.len == 1) {
		put_evidence(r, &made, body.p[0]);
		body = buf_view(&made);
	}
	if (way == BARE) {
		must(buf_reserve(&f, FRAME_HEAD_LEN + body.len) == ERR_OK);
		frame_write(f.p, (enum frame_type)type, (uint32_t)body.len);
		if (body.len > 0)
			memcpy(f.p + FRAME_HEAD_LEN, body.p, body.len);
		f.len = FRAME_HEAD_LEN + body.len;
		refused(r, buf_view(&f));
		goto done;
	}
	if (way == COUNTER) {
		elsewhere(r, type, body);
		goto done;
	}
	if (way == REFLECTED) {
		if (r->last.len > 0)
			refused(r, buf_view(&r->last));
		goto done;
	}
	seal(&f, &r->tx, type, body);
	if (way == LOST) {
		r->gap = true;
	} else if (way == FLIPPED) {
		f.p[bit / 8 % f.len] ^= (uint8_t)(1u << bit % 8);
		bad_frame(r, buf_view(&f));
	} else if (way == PIECES) {
		in_pieces(r, type, body, buf_view(&f));
	} else {
		deliver(r, type, body, buf_view(&f));
		if (way == TWICE)
			refused(r, buf_view(&f));
	}
done:
	buf_fini(&f);
	buf_fini(&made);
}

/* ---- what our owner does ---- */

static void
prove(struct run *r, struct bytes body)
{
	struct evidence e = { .tee = TEE_TDX };
	struct session_event ev;
	struct refusal why = { 0 };
	bool ok = r->step == S_PROVE, empty = body.len == 2;
	uint8_t quote[64];
	enum err got;

	binding(r, true, quote);
	must(buf_set(&e.quote, quote, empty ? 0 : 64) == ERR_OK);
	got = session_proved(r->s, &ev, &r->out, &e, r->now, &why);
	evidence_fini(&e);
	if (!ok) {
		must(got == ERR_PHASE && ev.kind == SESSION_IDLE);
		/* A call out of turn ends it, too, or changes nothing. */
		must(r->out.len == 0);
		return;
	}
	if (empty) {
		must(got == ERR_DENIED && why.code == REASON_INTERNAL);
		dead(r);
		return;
	}
	must(got == ERR_OK);
	read_ours(r, r->renewing ? M_RENEWAL : M_EVIDENCE);
	must(proof_unpack(&e, buf_view(&r->sent)) == ERR_OK);
	must(e.quote.len == 64 && memcmp(e.quote.p, quote, 64) == 0);
	evidence_fini(&e);
	if (r->dialling) {
		must(ev.kind == SESSION_IDLE);
		r->step = S_EVIDENCE;
	} else {
		must(ev.kind == (r->renewing ? SESSION_RENEWED : SESSION_OPEN));
		r->step = S_OPEN;
		r->opened = true;
		r->renewing = false;
	}
}

static void
refuse_it(struct run *r)
{
	bool tell = !r->peer_refused && !r->told;

	session_refuse(r->s, &r->out, REASON_TCB_STATUS, r->now);
	read_ours(r, tell ? M_REFUSED : 0);
	must(!tell || reason_ok(buf_view(&r->sent)));
	r->told = true;
	dead(r);
}

/* The owner says yes to what fits, and no to all else. */
static void
checked(struct run *r)
{
	struct session_event ev;
	uint8_t want[64];

	if (r->step != S_CHECK) {
		must(session_checked(r->s, &ev) == ERR_PHASE);
		return;
	}
	if (!r->fits) {
		refuse_it(r);
		return;
	}
	must(session_checked(r->s, &ev) == ERR_OK);
	if (r->dialling) {
		must(ev.kind == (r->renewing ? SESSION_RENEWED : SESSION_OPEN));
		r->step = S_OPEN;
		r->opened = true;
		r->renewing = false;
	} else {
		must(ev.kind == SESSION_PROVE);
		binding(r, true, want);
		must(memcmp(ev.report_data, want, 64) == 0);
		r->step = S_PROVE;
	}
}

/* A message of ours: sent as it is, or nothing has changed. */
static void
ours(struct run *r, enum act act, struct bytes body)
{
	static const unsigned type[] = { M_REQUEST, M_RENEW, M_REPLY,
		M_REQUEST_REFUSED };
	bool live = r->opened && r->step != S_DEAD;
	bool ok = act <= RENEW ? r->dialling && r->step == S_OPEN
			       : !r->dialling && live && r->unanswered > 0;
	uint8_t before[sizeof *r->s];
	enum err e;

	memcpy(before, r->s, sizeof before);
	if (act == REQUEST)
		e = session_request(r->s, &r->out, body, r->now);
	else if (act == RENEW)
		e = session_renew(r->s, &r->out, r->now);
	else if (act == REPLY)
		e = session_reply(r->s, &r->out, body, r->now);
	else
		e = session_reply_refused(
		    r->s, &r->out, REASON_EVIDENCE_EXPIRED, r->now);
	if (!ok || body.len > LIMIT_MESSAGE) {
		must(e == (ok ? ERR_LIMIT : ERR_PHASE));
		must(r->out.len == 0);
		must(memcmp(before, r->s, sizeof before) == 0);
		return;
	}
	must(e == ERR_OK);
	read_ours(r, type[act]);
	if (act == REQUEST || act == REPLY)
		must(r->sent.len == body.len &&
		    (body.len == 0 ||
			memcmp(r->sent.p, body.p, body.len) == 0));
	if (act == RENEW) {
		must(r->sent.len == 32);
		must(memcmp(r->sent.p, r->own_nonce, 32) != 0);
		memcpy(r->own_nonce, r->sent.p, 32);
		r->renewing = true;
		r->renewals++;
		r->step = S_NONCE;
	} else {
		r->unanswered += act == REQUEST ? 1u : -1u;
	}
}

/* As large as a message gets, and evidence; a body of three bytes says so. */
static void
big(struct run *r, struct bytes body)
{
	static const size_t sizes[] = { LIMIT_EVIDENCE, LIMIT_EVIDENCE + 1,
		LIMIT_MESSAGE, LIMIT_MESSAGE + 1 };
	static const unsigned types[] = { M_EVIDENCE, M_REQUEST, M_REPLY,
		M_RENEWAL };
	struct bytes long_body = { zeros, 0 };
	struct buf f = { 0 };
	unsigned type;

	if (body.len != 3 || r->big++ >= BIG_MAX)
		return;
	type = types[body.p[0] >> 2 & 3];
	long_body.len = sizes[body.p[0] & 3];
	seal(&f, &r->tx, type, long_body);
	deliver(r, type, long_body, buf_view(&f));
	buf_fini(&f);
}

static void
from_owner(struct run *r, enum act act, struct bytes body)
{
	struct rd ms = { .p = body.p, .left = body.len };
	struct session_event ev;
	enum err e;

	switch (act) {
	case REQUEST:
	case RENEW:
	case REPLY:
	case REPLY_REFUSED:
		ours(r, act, body);
		break;
	case TOO_LONG:
		ours(r, (body.len & 1) != 0 ? REQUEST : REPLY,
		    (struct bytes){ zeros, LIMIT_MESSAGE + 1 });
		break;
	case PROVE:
		prove(r, body);
		break;
	case CHECKED:
		checked(r);
		break;
	case REFUSE:
		refuse_it(r);
		break;
	case TIME:
		r->now += rd_be32(&ms);
		break;
	case CONSUMED:
		session_consumed(r->s);
		break;
	case NOTHING:
		e = feed(r, &ev, (struct bytes){ NULL, 0 });
		must((e == ERR_OK) == (r->step != S_DEAD));
		must(ev.kind == SESSION_IDLE);
		break;
	case BIG:
		big(r, body);
		break;
	case N_ACTS:
		break;
	}
	must(session_is_open(r->s) == (r->opened && r->step != S_DEAD));
}

static struct run
begin(uint8_t mode, struct session *pair[static 2])
{
	static const uint32_t frames[] = { 3, 8, SESSION_REKEY_FRAMES,
		SESSION_REKEY_FRAMES };
	struct run r = { .dialling = (mode & 1) != 0,
		.opened = (mode & 4) != 0,
		.rekey_frames = frames[mode >> 3 & 3] };
	enum channel_role role =
	    (mode & 2) != 0 ? CHANNEL_KMS_PEER : CHANNEL_APP;

	shake_new(pair, role, r.opened);
	r.s = pair[r.dialling ? SHAKE_DIALLER : SHAKE_ANSWERER];
	r.s->rekey_frames = r.rekey_frames;
	r.own = r.dialling ? role : CHANNEL_KMS_SERVER;
	r.peer = r.dialling ? CHANNEL_KMS_SERVER : role;
	r.tx = r.s->rx.c;
	r.rx = r.s->tx.c;
	r.rx_frames = r.tx_frames = r.opened;
	r.step = r.opened ? S_OPEN : r.dialling ? S_PROVE : S_EVIDENCE;
	return r;
}

/* The handshakes are made once a process: before the first input. */
int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	for (uint8_t mode = 0; mode < 8; mode++)
		(void)LLVMFuzzerTestOneInput(&mode, 1);
	return 0;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct rd in = { .p = data, .left = size };
	struct session *pair[2];
	struct run r;

	shake_restart();
	r = begin(rd_u8(&in), pair);
	for (unsigned i = 0; i < ITEMS_MAX && in.left > 0 && !r.stuck; i++) {
		uint8_t what = rd_u8(&in);
		size_t len = rd_be16(&in);
		struct bytes body;

		body.len = len < in.left ? len : in.left;
		if ((body.p = rd_bytes(&in, body.len)) == NULL)
			break;
		if (what < 128)
			from_peer(&r, what % 16, (enum way)(what >> 4), body);
		else
			from_owner(&r, (enum act)(what % N_ACTS), body);
	}
	session_free(pair[0]);
	session_free(pair[1]);
	buf_fini(&r.out);
	buf_fini(&r.last);
	buf_fini(&r.sent);
	return 0;
}

/* ---- mutation ---- */

static const ProtobufCMessageDescriptor *
message(const uint8_t *item)
{
	return item[0] == M_EVIDENCE || item[0] == M_RENEWAL
	    ? &devproof__kms__v1__evidence__descriptor
	    : NULL;
}

static const uint32_t numbers[] = { 4, 32, 64, 200, SESSION_REKEY_MS,
	2 * SESSION_REKEY_MS, 0 };
static const struct mutate_form form = { .head = 1,
	.prefix = 1,
	.length = 2,
	.message = message,
	.numbers = numbers };

MUTATE_AS(&form)
