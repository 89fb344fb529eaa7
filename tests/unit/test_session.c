/* Two sessions back to back in memory, and everything each refuses. */
#include <string.h>

#include <criterion/criterion.h>

#include "common/base/limits.h"
#include "common/base/secret.h"
#include "node/channel/proof.h"
#include "node/channel/session_int.h"

#define CLIENT 0
#define SERVER 1

static const uint8_t contract[20] = { 7 };
static const uint8_t cookie_key[32] = { 9 };

struct side {
	uint8_t s[32], s_pub[32];
	struct session *session;
	struct buf out; /* frames not yet delivered */
	struct session_event ev;
	struct refusal why;
};

struct link {
	struct side side[2];
	uint64_t now_ms;
	uint32_t rekey_frames, rekey_ms;
	enum channel_role role;
	uint64_t chain_id[2];
};

static void
setup(void)
{
	cr_assert_eq(secret_process_init(), ERR_OK);
}

TestSuite(session, .init = setup);

static void
link_open(struct link *l)
{
	for (int i = 0; i < 2; i++) {
		struct side *d = &l->side[i];
		struct session_options o = {
			.role = i == SERVER ? CHANNEL_KMS_SERVER : l->role,
			.chain_id = l->chain_id[i],
			.kms_contract = contract,
			.s = d->s,
			.s_pub = d->s_pub,
			.cookie_key = cookie_key,
			.rekey_frames = l->rekey_frames,
			.rekey_ms = l->rekey_ms,
		};

		secret_random(d->s, sizeof d->s);
		noise_public(d->s_pub, d->s);
		cr_assert_eq(
		    session_new(&d->session, &d->out, &o, l->now_ms), ERR_OK);
	}
}

static void
link_init(struct link *l)
{
	*l = (struct link){ .role = CHANNEL_APP, .chain_id = { 1, 1 } };
	link_open(l);
}

static void
link_fini(struct link *l)
{
	for (int i = 0; i < 2; i++) {
		session_free(l->side[i].session);
		buf_fini(&l->side[i].out);
	}
}

/* Feeds bytes to one side, up to its next event. */
static enum err
feed(struct link *l, int to, struct bytes *in)
{
	struct side *d = &l->side[to];

	return session_feed(
	    d->session, &d->ev, &d->out, in, l->now_ms, &d->why);
}

/* Delivers what `from` has sent; at most one event may come of it. */
static enum err
deliver(struct link *l, int from)
{
	struct buf sent = l->side[from].out;
	struct bytes in = { sent.p, sent.len };
	enum err e;

	l->side[from].out = (struct buf){ 0 };
	e = feed(l, !from, &in);
	if (e == ERR_OK)
		cr_assert_eq(in.len, 0, "one event a time");
	buf_fini(&sent);
	return e;
}

/* The stub's quote is the report data itself. */
static void
prove(struct link *l, int who)
{
	struct side *d = &l->side[who];
	struct evidence e = { .tee = TEE_TDX };

	cr_assert_eq(d->ev.kind, SESSION_PROVE);
	cr_assert_eq(buf_set(&e.quote, d->ev.report_data, 64), ERR_OK);
	cr_assert_eq(buf_set(&e.event_log, "[]", 2), ERR_OK);
	cr_assert_eq(
	    session_proved(d->session, &d->ev, &d->out, &e, l->now_ms, &d->why),
	    ERR_OK);
	evidence_fini(&e);
}

static bool
bound(const struct side *d)
{
	cr_assert_eq(d->ev.kind, SESSION_CHECK);
	return d->ev.evidence->quote.len == 64 &&
	    memcmp(d->ev.evidence->quote.p, d->ev.report_data, 64) == 0;
}

static void
check(struct link *l, int who)
{
	struct side *d = &l->side[who];

	cr_assert(bound(d));
	cr_assert_eq(session_checked(d->session, &d->ev), ERR_OK);
}

/* Noise only: the client is asked to prove. */
static void
run_noise(struct link *l)
{
	cr_assert_eq(deliver(l, CLIENT), ERR_OK);
	cr_assert_eq(deliver(l, SERVER), ERR_OK);
	cr_assert_eq(l->side[CLIENT].ev.kind, SESSION_PROVE);
	cr_assert_eq(deliver(l, CLIENT), ERR_OK);
}

/* From SESSION_PROVE at the client to the end, first time or renewal. */
static void
run_proofs(struct link *l, enum session_event_kind end)
{
	prove(l, CLIENT);
	cr_assert_eq(deliver(l, CLIENT), ERR_OK);
	check(l, SERVER);
	prove(l, SERVER);
	cr_assert_eq(l->side[SERVER].ev.kind, end);
	cr_assert_eq(deliver(l, SERVER), ERR_OK);
	check(l, CLIENT);
	cr_assert_eq(l->side[CLIENT].ev.kind, end);
}

static void
run_open(struct link *l)
{
	run_noise(l);
	run_proofs(l, SESSION_OPEN);
}

static struct bytes
text(const char *s)
{
	return (struct bytes){ (const uint8_t *)s, strlen(s) };
}

static enum err
request(struct link *l, struct bytes body)
{
	struct side *d = &l->side[CLIENT];

	return session_request(d->session, &d->out, body, l->now_ms);
}

static void
expect_body(const struct side *d, enum session_event_kind kind, struct bytes b)
{
	cr_assert_eq(d->ev.kind, kind);
	cr_assert_eq(d->ev.body.len, b.len);
	if (b.len > 0)
		cr_assert_arr_eq(d->ev.body.p, b.p, b.len);
}

static void
call(struct link *l, const char *q)
{
	struct side *s = &l->side[SERVER], *c = &l->side[CLIENT];

	cr_assert_eq(request(l, text(q)), ERR_OK);
	cr_assert_eq(deliver(l, CLIENT), ERR_OK);
	expect_body(s, SESSION_REQUEST, text(q));
	cr_assert_eq(
	    session_reply(s->session, &s->out, text("yes"), l->now_ms), ERR_OK);
	cr_assert_eq(deliver(l, SERVER), ERR_OK);
	expect_body(c, SESSION_REPLY, text("yes"));
}

/* Both sides open, agree on the hash, and talk; also from 0 to the most
 * bytes, also one byte at a time. */
Test(session, works)
{
	static uint8_t big[LIMIT_MESSAGE];
	struct link l;
	struct buf sent;
	struct bytes one;

	link_init(&l);
	run_open(&l);
	cr_assert(session_is_open(l.side[0].session) &&
	    session_is_open(l.side[1].session));
	cr_assert_arr_eq(session_hash(l.side[0].session),
	    session_hash(l.side[1].session), 32);
	cr_assert_eq(session_peer_role(l.side[1].session), CHANNEL_APP);
	call(&l, "may I?");
	call(&l, "");
	cr_assert_eq(request(&l, (struct bytes){ big, sizeof big }), ERR_OK);
	cr_assert_eq(deliver(&l, CLIENT), ERR_OK);
	expect_body(&l.side[SERVER], SESSION_REQUEST,
	    (struct bytes){ big, sizeof big });
	cr_assert_eq(
	    request(&l, (struct bytes){ big, sizeof big + 1 }), ERR_LIMIT);
	cr_assert_eq(l.side[CLIENT].out.len, 0);

	cr_assert_eq(request(&l, text("slowly")), ERR_OK);
	sent = l.side[CLIENT].out;
	l.side[CLIENT].out = (struct buf){ 0 };
	for (size_t i = 0; i < sent.len; i++) {
		cr_assert_eq(l.side[SERVER].ev.kind == SESSION_IDLE, i > 0);
		one = (struct bytes){ sent.p + i, 1 };
		cr_assert_eq(feed(&l, SERVER, &one), ERR_OK);
	}
	expect_body(&l.side[SERVER], SESSION_REQUEST, text("slowly"));
	buf_fini(&sent);
	link_fini(&l);
}

/* A different chain, or a role swapped on the way, is no handshake. */
Test(session, prologue_counts)
{
	struct link l = { .role = CHANNEL_APP, .chain_id = { 1, 2 } };

	link_open(&l);
	cr_assert_eq(deliver(&l, CLIENT), ERR_OK);
	cr_assert_eq(deliver(&l, SERVER), ERR_DENIED);
	cr_assert_eq(l.side[CLIENT].why.code, REASON_HANDSHAKE);
	link_fini(&l);

	link_init(&l);
	l.side[CLIENT].out.p[8] = CHANNEL_KMS_PEER;
	cr_assert_eq(deliver(&l, CLIENT), ERR_OK);
	cr_assert_eq(deliver(&l, SERVER), ERR_DENIED);
	cr_assert_eq(l.side[CLIENT].why.code, REASON_HANDSHAKE);
	link_fini(&l);
}

/* Only a KMS node or an app may dial. */
Test(session, roles_that_may_dial)
{
	for (unsigned role = 0; role < 256; role++) {
		struct link l;
		enum err e;

		link_init(&l);
		l.side[CLIENT].out.p[8] = (uint8_t)role;
		e = deliver(&l, CLIENT);
		if (role == CHANNEL_KMS_PEER || role == CHANNEL_APP) {
			cr_assert_eq(e, ERR_OK);
		} else {
			cr_assert_eq(e, ERR_DENIED);
			cr_assert_eq(
			    l.side[SERVER].why.code, REASON_WRONG_ROLE);
			cr_assert_eq(l.side[SERVER].out.len, 0);
		}
		link_fini(&l);
	}
}

/* Runs the honest frames before number `k` (0 is HELLO); the frame itself
 * is left in the returned side's `out`. */
static int
run_to_frame(struct link *l, unsigned k)
{
	if (k == 0)
		return CLIENT;
	cr_assert_eq(deliver(l, CLIENT), ERR_OK);
	if (k == 1)
		return SERVER;
	cr_assert_eq(deliver(l, SERVER), ERR_OK);
	if (k == 2)
		return CLIENT;
	cr_assert_eq(deliver(l, CLIENT), ERR_OK);
	prove(l, CLIENT);
	if (k == 3)
		return CLIENT;
	cr_assert_eq(deliver(l, CLIENT), ERR_OK);
	check(l, SERVER);
	prove(l, SERVER);
	if (k == 4)
		return SERVER;
	cr_assert_eq(deliver(l, SERVER), ERR_OK);
	check(l, CLIENT);
	cr_assert_eq(request(l, text("q")), ERR_OK);
	if (k == 5)
		return CLIENT;
	cr_assert_eq(deliver(l, CLIENT), ERR_OK);
	cr_assert_eq(session_reply(l->side[SERVER].session,
			 &l->side[SERVER].out, text("a"), l->now_ms),
	    ERR_OK);
	return SERVER;
}
#define N_FRAMES 7

/* Any one byte of any frame altered: the receiver refuses, or waits for
 * bytes that do not come, or (HELLO, which nothing protects yet) the other
 * side refuses what comes of it.  Nobody gets an event. */
Test(session, every_byte_counts, .timeout = 120)
{
	for (unsigned k = 0; k < N_FRAMES; k++)
		for (size_t at = 0;; at++) {
			struct link l;
			struct side *to;
			enum err e;
			int from;

			link_init(&l);
			from = run_to_frame(&l, k);
			to = &l.side[!from];
			if (at >= l.side[from].out.len) {
				link_fini(&l);
				break;
			}
			l.side[from].out.p[at] ^= 1;
			e = deliver(&l, from);
			if (k == 0 && e == ERR_OK)
				e = deliver(&l, SERVER);
			if (e == ERR_OK)
				cr_assert_eq(to->ev.kind, SESSION_IDLE,
				    "frame %u byte %zu", k, at);
			else
				cr_assert_eq(e, ERR_DENIED);
			link_fini(&l);
		}
}

/* A frame cut short never counts; the same frame twice is refused. */
Test(session, truncated_and_repeated)
{
	for (unsigned k = 0; k < N_FRAMES; k++) {
		struct link l;
		struct buf sent;
		struct bytes in;
		int from;

		link_init(&l);
		from = run_to_frame(&l, k);
		sent = l.side[from].out;
		l.side[from].out = (struct buf){ 0 };
		in = (struct bytes){ sent.p, sent.len - 1 };
		cr_assert_eq(feed(&l, !from, &in), ERR_OK);
		cr_assert_eq(l.side[!from].ev.kind, SESSION_IDLE);
		in = (struct bytes){ sent.p + sent.len - 1, 1 };
		cr_assert_eq(feed(&l, !from, &in), ERR_OK);
		in = (struct bytes){ sent.p, sent.len };
		cr_assert_eq(feed(&l, !from, &in), ERR_DENIED);
		cr_assert_eq(l.side[!from].why.code,
		    k < 3 ? REASON_FRAME : REASON_FRAME_REPLAY);
		buf_fini(&sent);
		link_fini(&l);
	}
}

/* Frames swapped, or one left out, are refused as out of order. */
Test(session, reordered_and_dropped)
{
	struct link l;

	link_init(&l);
	run_open(&l);
	cr_assert_eq(request(&l, text("1")), ERR_OK);
	l.side[CLIENT].out.len = 0; /* lost on the way */
	cr_assert_eq(request(&l, text("2")), ERR_OK);
	cr_assert_eq(deliver(&l, CLIENT), ERR_DENIED);
	cr_assert_eq(l.side[SERVER].why.code, REASON_FRAME_REPLAY);
	/* A dead session takes nothing more. */
	cr_assert_eq(request(&l, text("3")), ERR_OK);
	cr_assert_eq(deliver(&l, CLIENT), ERR_DENIED);
	cr_assert(!session_is_open(l.side[SERVER].session));
	link_fini(&l);
}

/* One's own frame back opens nothing. */
Test(session, reflected)
{
	for (unsigned k = 0; k < N_FRAMES; k++) {
		struct link l;
		struct buf sent;
		struct bytes in;
		int from;

		link_init(&l);
		from = run_to_frame(&l, k);
		sent = l.side[from].out;
		l.side[from].out = (struct buf){ 0 };
		in = (struct bytes){ sent.p, sent.len };
		cr_assert_eq(feed(&l, from, &in), ERR_DENIED, "frame %u", k);
		buf_fini(&sent);
		link_fini(&l);
	}
}

/* A frame of another session, even with the right counter, is refused. */
Test(session, other_sessions_frames)
{
	for (unsigned k = 1; k < N_FRAMES; k++) {
		struct link a, b;
		struct bytes in;
		int from;

		link_init(&a);
		link_init(&b);
		from = run_to_frame(&a, k);
		cr_assert_eq(run_to_frame(&b, k), from);
		in = buf_view(&a.side[from].out);
		cr_assert_eq(feed(&b, !from, &in), ERR_DENIED, "frame %u", k);
		link_fini(&a);
		link_fini(&b);
	}
}

/* Lengths over the phase's bound are refused from the head alone. */
Test(session, oversized)
{
	static const struct {
		unsigned k;
		uint32_t len;
	} t[] = { { 0, 66 }, { 1, 97 }, { 2, 65 },
		{ 3, LIMIT_EVIDENCE + 8 + 1 + 16 + 1 },
		{ 4, LIMIT_EVIDENCE + 8 + 1 + 16 + 1 },
		{ 5, LIMIT_MESSAGE + 8 + 1 + 16 + 1 }, { 6, UINT32_MAX } };

	for (size_t i = 0; i < sizeof t / sizeof t[0]; i++) {
		struct link l;
		struct bytes in;
		uint8_t head[8];
		int from;

		link_init(&l);
		from = run_to_frame(&l, t[i].k);
		memcpy(head, l.side[from].out.p, 8);
		for (int b = 0; b < 4; b++)
			head[4 + b] = (uint8_t)(t[i].len >> (24 - 8 * b));
		in = (struct bytes){ head, 8 };
		cr_assert_eq(feed(&l, !from, &in), ERR_DENIED);
		cr_assert_eq(l.side[!from].why.code, REASON_FRAME_TOO_LARGE);
		/* And too short ones. */
		link_fini(&l);
		link_init(&l);
		from = run_to_frame(&l, t[i].k);
		memset(head + 4, 0, 4);
		in = (struct bytes){ head, 8 };
		cr_assert_eq(feed(&l, !from, &in), ERR_DENIED);
		cr_assert_eq(l.side[!from].why.code, REASON_FRAME);
		link_fini(&l);
	}
}

/* Nothing but evidence is taken before evidence was checked. */
Test(session, nothing_before_authentication)
{
	struct link l;
	struct side *c, *s;

	/* The owner cannot send requests before the session is open. */
	link_init(&l);
	c = &l.side[CLIENT];
	s = &l.side[SERVER];
	cr_assert_eq(request(&l, text("q")), ERR_PHASE);
	cr_assert_eq(
	    session_reply(s->session, &s->out, text("a"), 0), ERR_PHASE);
	cr_assert_eq(session_checked(s->session, &s->ev), ERR_PHASE);
	run_noise(&l);
	cr_assert_eq(request(&l, text("q")), ERR_PHASE);
	cr_assert_eq(session_renew(c->session, &c->out, 0), ERR_PHASE);
	cr_assert_eq(
	    session_reply(s->session, &s->out, text("a"), 0), ERR_PHASE);
	cr_assert_eq(session_checked(s->session, &s->ev), ERR_PHASE);
	prove(&l, CLIENT);
	cr_assert_eq(deliver(&l, CLIENT), ERR_OK);
	cr_assert_eq(s->ev.kind, SESSION_CHECK);
	/* Shown is not checked. */
	cr_assert_eq(
	    session_reply(s->session, &s->out, text("a"), 0), ERR_PHASE);
	cr_assert(!session_is_open(s->session));
	link_fini(&l);
}

/* A live peer that shows no evidence: whatever it seals in place of it,
 * the server refuses, and nothing reaches the owner. */
Test(session, messages_in_place_of_evidence)
{
	for (unsigned type = 0; type < 256; type++) {
		struct link l;
		struct side *c = &l.side[CLIENT], *s = &l.side[SERVER];
		uint8_t body[32] = { 0 };
		enum err e;

		if (type == M_REKEY)
			continue; /* empty, and without an event */
		link_init(&l);
		run_noise(&l);
		cr_assert_eq(
		    session_put_message(c->session, &c->out, (enum message)type,
			(struct bytes){ body, sizeof body }, 0),
		    ERR_OK);
		e = deliver(&l, CLIENT);
		cr_assert_eq(e, ERR_DENIED, "message %u", type);
		cr_assert_eq(s->ev.kind, SESSION_IDLE);
		cr_assert(!session_is_open(s->session));
		link_fini(&l);
	}
}

/* Evidence without a quote does not even leave. */
Test(session, empty_evidence)
{
	struct evidence none = { .tee = TEE_TDX };
	struct side *c = NULL;
	struct link l;

	link_init(&l);
	c = &l.side[CLIENT];
	run_noise(&l);
	cr_assert_eq(
	    session_proved(c->session, &c->ev, &c->out, &none, 0, &c->why),
	    ERR_DENIED);
	cr_assert_eq(c->out.len, 0);
	link_fini(&l);
}

/* Evidence is bound to role, session and key: that of another session, of
 * the other role, or an earlier one is not what SESSION_CHECK asks for. */
Test(session, evidence_is_bound)
{
	struct link a, b;
	uint8_t other[64];

	link_init(&a);
	link_init(&b);
	run_noise(&a);
	run_noise(&b);
	/* Another session's. */
	memcpy(other, a.side[CLIENT].ev.report_data, 64);
	cr_assert_neq(memcmp(other, b.side[CLIENT].ev.report_data, 64), 0);
	memcpy(b.side[CLIENT].ev.report_data, other, 64);
	prove(&b, CLIENT);
	cr_assert_eq(deliver(&b, CLIENT), ERR_OK);
	cr_assert(!bound(&b.side[SERVER]));
	/* The other role's, of the same session: the client's own evidence
	 * sent back to it. */
	memcpy(other, a.side[CLIENT].ev.report_data, 64);
	prove(&a, CLIENT);
	cr_assert_eq(deliver(&a, CLIENT), ERR_OK);
	check(&a, SERVER);
	memcpy(a.side[SERVER].ev.report_data, other, 64);
	prove(&a, SERVER);
	cr_assert_eq(deliver(&a, SERVER), ERR_OK);
	cr_assert(!bound(&a.side[CLIENT]));
	link_fini(&a);
	link_fini(&b);
}

/* Each input of the report data changes it. */
Test(session, report_data_inputs)
{
	uint8_t h[32] = { 1 }, k[32] = { 2 }, n[32] = { 3 };
	uint8_t base[64], renew[64], got[64];

	proof_bind(base, CHANNEL_APP, h, k);
	proof_bind(got, CHANNEL_KMS_PEER, h, k);
	cr_assert_neq(memcmp(got, base, 64), 0);
	proof_bind_renewal(renew, CHANNEL_APP, h, k, n, 1);
	cr_assert_neq(memcmp(renew, base, 64), 0);
	proof_bind_renewal(got, CHANNEL_APP, h, k, n, 2);
	cr_assert_neq(memcmp(got, renew, 64), 0);
	proof_bind_renewal(got, CHANNEL_KMS_SERVER, h, k, n, 1);
	cr_assert_neq(memcmp(got, renew, 64), 0);
	n[31] ^= 1;
	proof_bind_renewal(got, CHANNEL_APP, h, k, n, 1);
	cr_assert_neq(memcmp(got, renew, 64), 0);
	h[31] ^= 1;
	proof_bind(got, CHANNEL_APP, h, k);
	cr_assert_neq(memcmp(got, base, 64), 0);
}

/* The reason of a refusal reaches the peer; after it nothing does. */
Test(session, refusal_is_told)
{
	struct link l;
	struct side *s = NULL, *c = NULL;

	link_init(&l);
	c = &l.side[CLIENT];
	s = &l.side[SERVER];
	run_noise(&l);
	prove(&l, CLIENT);
	cr_assert_eq(deliver(&l, CLIENT), ERR_OK);
	cr_assert_eq(s->ev.kind, SESSION_CHECK);
	session_refuse(s->session, &s->out, REASON_TCB_STATUS, 0);
	cr_assert_eq(session_checked(s->session, &s->ev), ERR_PHASE);
	cr_assert_eq(deliver(&l, SERVER), ERR_DENIED);
	cr_assert_eq(c->why.code, REASON_TCB_STATUS);
	cr_assert_str_eq(c->why.detail, "peer: TCB status is not accepted");
	cr_assert(session_refused_by_peer(c->session));
	/* The refused one does not answer a refusal by another. */
	session_refuse(c->session, &c->out, REASON_FRAME, 0);
	cr_assert_eq(c->out.len, 0);
	link_fini(&l);

	/* Before Noise is done there is nobody to tell. */
	link_init(&l);
	c = &l.side[CLIENT];
	s = &l.side[SERVER];
	session_refuse(s->session, &s->out, REASON_BUSY, 0);
	cr_assert_eq(s->out.len, 0);
	link_fini(&l);
}

/* One request may be refused and the session goes on. */
Test(session, request_refused)
{
	struct link l;
	struct side *s = NULL;

	link_init(&l);
	s = &l.side[SERVER];
	run_open(&l);
	cr_assert_eq(request(&l, text("q")), ERR_OK);
	cr_assert_eq(deliver(&l, CLIENT), ERR_OK);
	cr_assert_eq(session_reply_refused(
			 s->session, &s->out, REASON_EVIDENCE_EXPIRED, 0),
	    ERR_OK);
	cr_assert_eq(deliver(&l, SERVER), ERR_OK);
	cr_assert_eq(l.side[CLIENT].ev.kind, SESSION_REQUEST_REFUSED);
	cr_assert_eq(l.side[CLIENT].ev.why.code, REASON_EVIDENCE_EXPIRED);
	call(&l, "again");
	link_fini(&l);
}

/* An answer is to a request: a second one, or one in a renewal that nothing
 * was asked before, cannot be sent, and ends the session of who gets it. */
Test(session, one_answer_each)
{
	for (unsigned k = 0; k < 4; k++) {
		struct link l;
		struct side *c = &l.side[CLIENT], *s = &l.side[SERVER];

		link_init(&l);
		run_open(&l);
		if ((k & 1) != 0)
			call(&l, "q");
		cr_assert_eq(session_reply(s->session, &s->out, text("a"), 0),
		    ERR_PHASE);
		cr_assert_eq(
		    session_reply_refused(s->session, &s->out, REASON_BUSY, 0),
		    ERR_PHASE);
		cr_assert_eq(s->out.len, 0);
		if ((k & 2) != 0)
			cr_assert_eq(
			    session_renew(c->session, &c->out, 0), ERR_OK);
		cr_assert_eq((k & 1) != 0
			? session_put_reason(s->session, &s->out,
			      M_REQUEST_REFUSED, REASON_BUSY, 0)
			: session_put_message(
			      s->session, &s->out, M_REPLY, text("a"), 0),
		    ERR_OK);
		cr_assert_eq(deliver(&l, SERVER), ERR_DENIED);
		cr_assert_eq(c->why.code, REASON_FRAME);
		cr_assert(!session_is_open(c->session));
		link_fini(&l);
	}
}

/* Keys change every few frames and after a while, unseen by the owner; a
 * peer that goes on with a worn-out key is refused. */
Test(session, rekey)
{
	struct link l = { .role = CHANNEL_KMS_PEER,
		.chain_id = { 1, 1 },
		.rekey_frames = 4 };
	struct session_options o = { .role = CHANNEL_APP,
		.chain_id = 1,
		.kms_contract = contract,
		.rekey_frames = 1000 };
	struct side *c = &l.side[CLIENT];
	unsigned n = 0;

	link_open(&l);
	run_open(&l);
	for (int i = 0; i < 40; i++)
		call(&l, "q");
	/* By time: after ten minutes the next frame brings a new key. */
	l.now_ms += SESSION_REKEY_MS;
	cr_assert_eq(request(&l, text("late")), ERR_OK);
	cr_assert_eq(
	    c->out.len, (8 + 8 + 1 + 16) + (8 + 8 + 1 + 16) + strlen("late"));
	cr_assert_eq(deliver(&l, CLIENT), ERR_OK);
	link_fini(&l);

	/* A client whose count is higher than ours. */
	link_init(&l);
	session_free(l.side[CLIENT].session);
	session_free(l.side[SERVER].session);
	l.side[CLIENT].out.len = 0;
	o.s = c->s;
	o.s_pub = c->s_pub;
	cr_assert_eq(session_new(&c->session, &c->out, &o, 0), ERR_OK);
	o.role = CHANNEL_KMS_SERVER;
	o.s = l.side[SERVER].s;
	o.s_pub = l.side[SERVER].s_pub;
	o.cookie_key = cookie_key;
	o.rekey_frames = 4;
	cr_assert_eq(
	    session_new(&l.side[SERVER].session, &l.side[SERVER].out, &o, 0),
	    ERR_OK);
	run_open(&l);
	for (;; n++) {
		enum err e;

		cr_assert_eq(request(&l, text("q")), ERR_OK);
		if ((e = deliver(&l, CLIENT)) != ERR_OK)
			break;
	}
	cr_assert_eq(n, 2); /* evidence, two requests, then it is worn */
	cr_assert_eq(l.side[SERVER].why.code, REASON_FRAME);
	link_fini(&l);
}

/* A key older than twice its time opens no message. */
Test(session, old_key)
{
	struct link l;
	struct buf kept;

	link_init(&l);
	run_open(&l);
	cr_assert_eq(request(&l, text("q")), ERR_OK);
	kept = l.side[CLIENT].out;
	l.side[CLIENT].out = (struct buf){ 0 };
	l.now_ms += 2 * SESSION_REKEY_MS;
	l.side[CLIENT].out = kept;
	cr_assert_eq(deliver(&l, CLIENT), ERR_DENIED);
	cr_assert_eq(l.side[SERVER].why.code, REASON_FRAME);
	link_fini(&l);
}

static void
begin_renewal(struct link *l)
{
	struct side *c = &l->side[CLIENT];

	cr_assert_eq(session_renew(c->session, &c->out, l->now_ms), ERR_OK);
	cr_assert_eq(deliver(l, CLIENT), ERR_OK);
	cr_assert(session_renewing(l->side[SERVER].session));
	cr_assert_eq(deliver(l, SERVER), ERR_OK);
}

/* Evidence is renewed inside the session, over and over, each time over
 * new report data; an earlier renewal's evidence does not fit. */
Test(session, renewal)
{
	struct link l;
	struct side *c = NULL;
	uint8_t first[64], second[64];

	link_init(&l);
	c = &l.side[CLIENT];
	run_open(&l);
	begin_renewal(&l);
	memcpy(first, c->ev.report_data, 64);
	run_proofs(&l, SESSION_RENEWED);
	call(&l, "still here");
	begin_renewal(&l);
	memcpy(second, c->ev.report_data, 64);
	cr_assert_neq(memcmp(first, second, 64), 0);
	run_proofs(&l, SESSION_RENEWED);
	begin_renewal(&l);
	memcpy(c->ev.report_data, second, 64);
	prove(&l, CLIENT);
	cr_assert_eq(deliver(&l, CLIENT), ERR_OK);
	cr_assert(!bound(&l.side[SERVER]));
	link_fini(&l);
}

/* In a renewal, requests wait; answers to earlier ones may come. */
Test(session, renewal_and_requests)
{
	struct link l;
	struct side *c = NULL, *s = NULL;

	link_init(&l);
	c = &l.side[CLIENT];
	s = &l.side[SERVER];
	run_open(&l);
	cr_assert_eq(request(&l, text("q")), ERR_OK);
	cr_assert_eq(deliver(&l, CLIENT), ERR_OK);
	cr_assert_eq(session_renew(c->session, &c->out, 0), ERR_OK);
	cr_assert_eq(request(&l, text("no")), ERR_PHASE);
	cr_assert_eq(session_renew(c->session, &c->out, 0), ERR_PHASE);
	cr_assert_eq(session_reply(s->session, &s->out, text("a"), 0), ERR_OK);
	cr_assert_eq(deliver(&l, SERVER), ERR_OK);
	expect_body(c, SESSION_REPLY, text("a"));
	cr_assert_eq(deliver(&l, CLIENT), ERR_OK);
	cr_assert_eq(deliver(&l, SERVER), ERR_OK);
	run_proofs(&l, SESSION_RENEWED);
	call(&l, "q");
	link_fini(&l);
}

/* Under load a dialler must echo a cookie first; a wrong one, one of
 * another connection, or none the second time is refused without work. */
Test(session, cookie)
{
	struct link l, m;
	struct buf hello = { 0 };
	struct bytes in;

	link_init(&l);
	session_challenge(l.side[SERVER].session, true);
	cr_assert_eq(
	    buf_set(&hello, l.side[CLIENT].out.p, l.side[CLIENT].out.len),
	    ERR_OK);
	cr_assert_eq(deliver(&l, CLIENT), ERR_OK);
	cr_assert_eq(l.side[SERVER].out.len, 8 + 32);
	cr_assert_eq(deliver(&l, SERVER), ERR_OK);
	run_open(&l);
	link_fini(&l);

	/* None the second time. */
	link_init(&l);
	session_challenge(l.side[SERVER].session, true);
	cr_assert_eq(deliver(&l, CLIENT), ERR_OK);
	in = buf_view(&hello);
	cr_assert_eq(feed(&l, SERVER, &in), ERR_DENIED);
	cr_assert_eq(l.side[SERVER].why.code, REASON_HANDSHAKE);
	link_fini(&l);

	/* A cookie for another key share, or altered. */
	link_init(&l);
	link_init(&m);
	session_challenge(l.side[SERVER].session, true);
	session_challenge(m.side[SERVER].session, true);
	cr_assert_eq(deliver(&l, CLIENT), ERR_OK);
	cr_assert_eq(deliver(&m, CLIENT), ERR_OK);
	cr_assert_eq(deliver(&l, SERVER), ERR_OK);
	cr_assert_eq(deliver(&m, SERVER), ERR_OK);
	memcpy(m.side[CLIENT].out.p + 9, l.side[CLIENT].out.p + 9, 32);
	cr_assert_eq(deliver(&m, CLIENT), ERR_DENIED);
	l.side[CLIENT].out.p[40] ^= 1;
	cr_assert_eq(deliver(&l, CLIENT), ERR_DENIED);
	link_fini(&l);
	link_fini(&m);

	/* A second challenge is refused by the dialler. */
	link_init(&l);
	session_challenge(l.side[SERVER].session, true);
	cr_assert_eq(deliver(&l, CLIENT), ERR_OK);
	hello.len = 0;
	cr_assert_eq(buf_append(&hello, l.side[SERVER].out.p,
			 l.side[SERVER].out.len, SIZE_MAX),
	    ERR_OK);
	cr_assert_eq(deliver(&l, SERVER), ERR_OK);
	in = buf_view(&hello);
	cr_assert_eq(feed(&l, CLIENT, &in), ERR_DENIED);
	link_fini(&l);
	buf_fini(&hello);
}

/* Evidence over any bound, of no known TEE, or garbage is not unpacked. */
Test(session, evidence_bounds)
{
	static uint8_t big[LIMIT_EVENT_LOG + 1];
	struct evidence e = { .tee = TEE_TDX }, got = { 0 };
	struct buf out = { 0 };

	cr_assert_eq(proof_pack(&out, &e), ERR_LIMIT); /* no quote */
	cr_assert_eq(buf_set(&e.quote, big, LIMIT_QUOTE), ERR_OK);
	cr_assert_eq(buf_set(&e.event_log, big, LIMIT_EVENT_LOG), ERR_OK);
	cr_assert_eq(buf_set(&e.vm_config, big, LIMIT_VM_CONFIG), ERR_OK);
	cr_assert_eq(proof_pack(&out, &e), ERR_OK);
	cr_assert_leq(out.len, LIMIT_EVIDENCE);
	cr_assert_eq(proof_unpack(&got, buf_view(&out)), ERR_OK);
	cr_assert_eq(got.event_log.len, LIMIT_EVENT_LOG);
	evidence_fini(&got);
	cr_assert_eq(proof_unpack(&got, (struct bytes){ out.p, out.len - 1 }),
	    ERR_MALFORMED);
	cr_assert_eq(buf_set(&e.quote, big, LIMIT_QUOTE + 1), ERR_OK);
	cr_assert_eq(proof_pack(&out, &e), ERR_LIMIT);
	cr_assert_eq(buf_set(&e.quote, big, 10), ERR_OK);
	e.tee = (enum tee_kind)0;
	out.len = 0;
	cr_assert_eq(proof_pack(&out, &e), ERR_OK);
	cr_assert_eq(proof_unpack(&got, buf_view(&out)), ERR_MALFORMED);
	cr_assert_eq(proof_unpack(&got, text("\xff\xff\xff")), ERR_MALFORMED);
	evidence_fini(&e);
	buf_fini(&out);
}

/* Good evidence, and `n` fields that no version knows. */
static enum err
strange(size_t n)
{
	struct evidence e = { .tee = TEE_TDX }, got = { 0 };
	struct buf b = { 0 };
	enum err err;

	cr_assert_eq(buf_set(&e.quote, "q", 1), ERR_OK);
	cr_assert_eq(proof_pack(&b, &e), ERR_OK);
	for (size_t i = 0; i < n; i++)
		cr_assert_eq(buf_append(&b, "\x78\x01", 2, SIZE_MAX), ERR_OK);
	err = proof_unpack(&got, buf_view(&b));
	cr_assert((err == ERR_OK) == (got.quote.len == 1));
	evidence_fini(&got);
	evidence_fini(&e);
	buf_fini(&b);
	return err;
}

/* Fields of another version are passed over; a stranger cannot order the work
 * of ninety thousand of them. */
Test(session, evidence_of_parts)
{
	cr_assert_eq(strange(0), ERR_OK);
	cr_assert_eq(strange(30), ERR_OK);
	cr_assert_eq(strange(200), ERR_MALFORMED);
	cr_assert_eq(strange(LIMIT_EVIDENCE / 2 - 10), ERR_MALFORMED);
}

/* A label that we do not know is a refusal all the same, of no reason that
 * anybody would act on; its text is shown as the peer's. */
Test(session, unknown_label)
{
	struct link l;
	struct side *c = &l.side[CLIENT], *s = &l.side[SERVER];

	link_init(&l);
	run_open(&l);
	cr_assert_eq(request(&l, text("q")), ERR_OK);
	cr_assert_eq(deliver(&l, CLIENT), ERR_OK);
	cr_assert_eq(session_put_message(s->session, &s->out, M_REQUEST_REFUSED,
			 text("\6futurenot yet"), 0),
	    ERR_OK);
	cr_assert_eq(deliver(&l, SERVER), ERR_OK);
	cr_assert_eq(c->ev.kind, SESSION_REQUEST_REFUSED);
	cr_assert_eq(c->ev.why.code, REASON_INTERNAL);
	cr_assert_str_eq(c->ev.why.detail, "peer: not yet");
	/* "none" is no way to say yes. */
	cr_assert_eq(session_put_message(
			 s->session, &s->out, M_REFUSED, text("\4none"), 0),
	    ERR_OK);
	cr_assert_eq(deliver(&l, SERVER), ERR_DENIED);
	cr_assert_eq(c->why.code, REASON_INTERNAL);
	cr_assert(session_refused_by_peer(c->session));
	link_fini(&l);
}

/* A peer's word ends the session whether or not anybody wants to know it; and
 * nothing can be said before there are keys, nor more than a message holds. */
Test(session, said_to_nobody)
{
	static const uint8_t large[LIMIT_MESSAGE + 1];
	struct buf none = { 0 }, sent;
	struct bytes in;
	struct link l;
	struct side *c = &l.side[CLIENT], *s = &l.side[SERVER];

	link_init(&l);
	cr_assert_eq(
	    session_put_message(s->session, &none, M_REPLY, text("a"), 0),
	    ERR_PHASE);
	run_open(&l);
	cr_assert_eq(
	    session_put_message(s->session, &none, M_REPLY, BYTES_OF(large), 0),
	    ERR_LIMIT);
	cr_assert_eq(none.len, 0);
	session_refuse(s->session, &s->out, REASON_BUSY, 0);
	sent = s->out;
	s->out = (struct buf){ 0 };
	in = buf_view(&sent);
	cr_assert_eq(session_feed(c->session, &c->ev, &c->out, &in, 0, NULL),
	    ERR_DENIED);
	cr_assert(session_refused_by_peer(c->session));
	cr_assert_not(session_is_open(c->session));
	buf_fini(&sent);
	link_fini(&l);
}

/* The age at which a key is replaced is the owner's to set. */
Test(session, rekey_age)
{
	struct link l = {
		.role = CHANNEL_APP, .chain_id = { 1, 1 }, .rekey_ms = 1000
	};

	link_open(&l);
	run_open(&l);
	l.now_ms = 999;
	cr_assert_eq(request(&l, text("q")), ERR_OK);
	size_t one = l.side[CLIENT].out.len;
	cr_assert_eq(deliver(&l, CLIENT), ERR_OK);
	cr_assert_eq(session_reply(l.side[SERVER].session, &l.side[SERVER].out,
			 text("a"), l.now_ms),
	    ERR_OK);
	cr_assert_eq(deliver(&l, SERVER), ERR_OK);
	l.now_ms = 1000;
	cr_assert_eq(request(&l, text("q")), ERR_OK);
	cr_assert_gt(l.side[CLIENT].out.len, one); /* REKEY goes before it */
	cr_assert_eq(deliver(&l, CLIENT), ERR_OK);
	cr_assert_eq(l.side[SERVER].ev.kind, SESSION_REQUEST);
	link_fini(&l);
}

/* More than any evidence may be is not unpacked. */
Test(session, evidence_too_large)
{
	static uint8_t large[LIMIT_EVIDENCE + 1];
	struct evidence e = { .tee = TEE_TDX }, was = e;
	struct buf b = { 0 };

	cr_assert_eq(proof_unpack(&e, BYTES_OF(large)), ERR_LIMIT);
	cr_assert_eq(memcmp(&e, &was, sizeof e), 0);
	/* Nor is it sent: each part by itself. */
	for (unsigned i = 0; i < 3; i++) {
		struct buf *part[] = { &e.quote, &e.event_log, &e.vm_config };
		const size_t max[] = { LIMIT_QUOTE, LIMIT_EVENT_LOG,
			LIMIT_VM_CONFIG };

		cr_assert_eq(buf_set(&e.quote, large, 64), ERR_OK);
		cr_assert_eq(buf_set(part[i], large, max[i] + 1), ERR_OK);
		cr_assert_eq(proof_pack(&b, &e), ERR_LIMIT);
		cr_assert_eq(b.len, 0);
		part[i]->len = max[i];
		cr_assert_eq(proof_pack(&b, &e), ERR_OK);
		b.len = 0;
		part[i]->len = 0;
	}
	buf_fini(&b);
	evidence_fini(&e);
}
