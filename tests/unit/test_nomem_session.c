/* Two sessions back to back, and no memory: at every allocation of a
 * handshake, and of every call on an open session. */
#include <string.h>

#include <criterion/criterion.h>

#include "common/base/limits.h"
#include "common/base/secret.h"
#include "node/channel/noise.h"
#include "node/channel/proof.h"
#include "node/channel/session.h"
#include "tests/lib/nomem/nomem.h"

#define CLIENT 0
#define SERVER 1

static const uint8_t contract[20] = { 7 };
static const uint8_t cookie_key[32] = { 9 };

struct side {
	uint8_t s[32], s_pub[32];
	struct session *session;
	struct buf out;
	struct session_event ev;
	struct refusal why;
	bool checked; /* the other's evidence, by its owner */
};

struct link {
	struct side side[2];
	bool challenge;
	uint32_t rekey_frames;
	size_t body_len;
};

static uint8_t body[LIMIT_MESSAGE];

static void
setup(void)
{
	cr_assert_eq(secret_process_init(), ERR_OK);
	secret_random(body, sizeof body);
}

TestSuite(nomem_session, .init = setup, .timeout = 120);

static void
close_both(void *arg)
{
	struct link *l = arg;

	for (int i = 0; i < 2; i++) {
		session_free(l->side[i].session);
		buf_fini(&l->side[i].out);
		l->side[i] = (struct side){ 0 };
	}
}

static enum err
open_side(struct link *l, int i)
{
	struct side *d = &l->side[i];
	struct session_options o = {
		.role = i == SERVER ? CHANNEL_KMS_SERVER : CHANNEL_APP,
		.chain_id = 1,
		.kms_contract = contract,
		.s = d->s,
		.s_pub = d->s_pub,
		.cookie_key = cookie_key,
		.rekey_frames = l->rekey_frames,
	};
	enum err e;

	secret_random(d->s, sizeof d->s);
	noise_public(d->s_pub, d->s);
	e = session_new(&d->session, &d->out, &o, 0);
	if (e != ERR_OK) {
		cr_assert_null(d->session, "an output of a failure");
		cr_assert_eq(d->out.len, 0, "bytes of a failure");
		return e;
	}
	if (i == SERVER)
		session_challenge(d->session, l->challenge);
	return ERR_OK;
}

/* What `from` has to say, to the other; up to one event. */
static enum err
deliver(struct link *l, int from)
{
	struct buf sent = l->side[from].out;
	struct bytes in = { sent.p, sent.len };
	struct side *to = &l->side[!from];
	enum err e;

	l->side[from].out = (struct buf){ 0 };
	e = session_feed(to->session, &to->ev, &to->out, &in, 0, &to->why);
	buf_fini(&sent);
	if (e != ERR_OK) {
		cr_assert_eq(
		    to->ev.kind, SESSION_IDLE, "an event of a failure");
		cr_assert_not(session_is_open(to->session));
	}
	return e;
}

static enum err
prove(struct link *l, int who)
{
	struct side *d = &l->side[who];
	struct evidence e = { .tee = TEE_TDX };
	enum err err;

	cr_assert_eq(d->ev.kind, SESSION_PROVE);
	failmalloc_exempt(true);
	cr_assert_eq(buf_set(&e.quote, d->ev.report_data, 64), ERR_OK);
	cr_assert_eq(buf_set(&e.event_log, "[]", 2), ERR_OK);
	failmalloc_exempt(false);
	err = session_proved(d->session, &d->ev, &d->out, &e, 0, &d->why);
	if (err != ERR_OK)
		cr_assert_not(session_is_open(d->session));
	evidence_fini(&e);
	return err;
}

static enum err
check(struct link *l, int who)
{
	struct side *d = &l->side[who];

	cr_assert_eq(d->ev.kind, SESSION_CHECK);
	cr_assert_eq(d->ev.evidence->quote.len, 64);
	cr_assert_arr_eq(d->ev.evidence->quote.p, d->ev.report_data, 64);
	d->checked = true;
	return session_checked(d->session, &d->ev);
}

/* From SESSION_PROVE at the client on. */
static enum err
proofs(struct link *l)
{
	enum err e;

	if ((e = prove(l, CLIENT)) != ERR_OK ||
	    (e = deliver(l, CLIENT)) != ERR_OK ||
	    (e = check(l, SERVER)) != ERR_OK ||
	    (e = prove(l, SERVER)) != ERR_OK ||
	    (e = deliver(l, SERVER)) != ERR_OK)
		return e;
	return check(l, CLIENT);
}

static enum err
handshake(void *arg)
{
	struct link *l = arg;
	enum err e;

	close_both(l);
	if ((e = open_side(l, CLIENT)) != ERR_OK ||
	    (e = open_side(l, SERVER)) != ERR_OK ||
	    (e = deliver(l, CLIENT)) != ERR_OK ||
	    (e = deliver(l, SERVER)) != ERR_OK)
		return e;
	if (l->challenge &&
	    ((e = deliver(l, CLIENT)) != ERR_OK ||
		(e = deliver(l, SERVER)) != ERR_OK))
		return e;
	if ((e = deliver(l, CLIENT)) != ERR_OK)
		return e;
	return proofs(l);
}

/* Nobody is open to a peer whose evidence its owner has not accepted. */
static void
check_handshake(void *arg, enum err e)
{
	struct link *l = arg;

	for (int i = 0; i < 2; i++) {
		struct side *d = &l->side[i];

		if (e == ERR_OK)
			cr_assert(session_is_open(d->session));
		if (d->session != NULL && session_is_open(d->session))
			cr_assert(d->checked);
		/* That it dies is no reason to leak, or to crash. */
		if (e != ERR_OK && d->session != NULL)
			session_refuse(d->session, &d->out, REASON_BUSY, 0);
	}
}

/* With a cookie and without, at both ends. */
Test(nomem_session, handshake)
{
	struct link l = { 0 };
	struct nomem_op op = { .name = "handshake",
		.run = handshake,
		.check = check_handshake,
		.fini = close_both };

	cr_assert_gt(nomem_each(&op, &l), 15);
	l.challenge = true;
	op.name = "handshake with a cookie";
	cr_assert_gt(nomem_each(&op, &l), 20);
}

/* ---- an open session: nothing is lost but the call ---- */

static void
opened(void *arg)
{
	cr_assert_eq(handshake(arg), ERR_OK);
	/* No room that is there by chance. */
	for (int i = 0; i < 2; i++)
		buf_fini(&((struct link *)arg)->side[i].out);
}

static struct bytes
sent(const struct link *l)
{
	return (struct bytes){ body, l->body_len };
}

static enum err
request(void *arg)
{
	struct link *l = arg;
	struct side *d = &l->side[CLIENT];

	return session_request(d->session, &d->out, sent(l), 0);
}

/* The same, and the server has two requests to answer. */
static void
asked(void *arg)
{
	struct link *l = arg;

	opened(l);
	for (int i = 0; i < 2; i++) {
		cr_assert_eq(request(l), ERR_OK);
		cr_assert_eq(deliver(l, CLIENT), ERR_OK);
		cr_assert_eq(l->side[SERVER].ev.kind, SESSION_REQUEST);
		session_consumed(l->side[SERVER].session);
	}
	for (int i = 0; i < 2; i++)
		buf_fini(&l->side[i].out);
}

static enum err
reply(void *arg)
{
	struct link *l = arg;
	struct side *d = &l->side[SERVER];

	return session_reply(d->session, &d->out, sent(l), 0);
}

static enum err
reply_refused(void *arg)
{
	struct side *d = &((struct link *)arg)->side[SERVER];

	return session_reply_refused(d->session, &d->out, REASON_BUSY, 0);
}

/* A failed call has sent nothing; one that went well is understood, and in
 * step: also when a new key came before it. */
static void
arrives(void *arg, enum err e, int from, enum session_event_kind kind)
{
	struct link *l = arg;
	struct side *to = &l->side[!from];

	cr_assert(session_is_open(l->side[from].session));
	if (e != ERR_OK) {
		cr_assert_eq(l->side[from].out.len, 0, "a call half done");
		return;
	}
	cr_assert_eq(deliver(l, from), ERR_OK);
	cr_assert_eq(to->ev.kind, kind);
	if (kind != SESSION_REQUEST_REFUSED) {
		cr_assert_eq(to->ev.body.len, l->body_len);
		cr_assert_arr_eq(to->ev.body.p, body, l->body_len);
	}
	session_consumed(to->session);
}

static void
check_request(void *arg, enum err e)
{
	arrives(arg, e, CLIENT, SESSION_REQUEST);
}

static void
check_reply(void *arg, enum err e)
{
	arrives(arg, e, SERVER, SESSION_REPLY);
}

static void
check_refused(void *arg, enum err e)
{
	arrives(arg, e, SERVER, SESSION_REQUEST_REFUSED);
}

Test(nomem_session, calls)
{
	static const size_t lens[] = { 1, 40, 3000, LIMIT_MESSAGE };
	struct nomem_op op[] = {
		{ .name = "request", .run = request, .check = check_request },
		{ .name = "reply", .run = reply, .check = check_reply },
		{ .name = "reply_refused",
		    .run = reply_refused,
		    .check = check_refused },
	};

	/* 2: each call begins with a new key. */
	for (uint32_t rekey = 0; rekey <= 4; rekey += 2)
		for (size_t k = 0; k < 4; k++)
			for (size_t i = 0; i < 3; i++) {
				struct link l = { .rekey_frames = rekey,
					.body_len = lens[k] };

				op[i].setup = i == 0 ? opened : asked;
				op[i].fini = close_both;
				cr_assert_gt(nomem_each(&op[i], &l), 0);
			}
}

/* A call that fails leaves a renewal to be begun again. */
static enum err
renew(void *arg)
{
	struct link *l = arg;
	struct side *d = &l->side[CLIENT];

	return session_renew(d->session, &d->out, 0);
}

static void
check_renew(void *arg, enum err e)
{
	struct link *l = arg;
	struct side *c = &l->side[CLIENT];

	cr_assert(session_is_open(c->session));
	cr_assert_eq(session_renewing(c->session), e == ERR_OK);
	if (e != ERR_OK) {
		cr_assert_eq(c->out.len, 0);
		return;
	}
	cr_assert_eq(deliver(l, CLIENT), ERR_OK);
	cr_assert_eq(deliver(l, SERVER), ERR_OK);
	cr_assert_eq(proofs(l), ERR_OK);
	cr_assert_eq(c->ev.kind, SESSION_RENEWED);
	cr_assert_not(session_renewing(c->session));
	/* The next one is the next for both. */
	buf_fini(&c->out);
}

Test(nomem_session, renew)
{
	for (uint32_t rekey = 0; rekey <= 4; rekey += 2) {
		struct link l = { .rekey_frames = rekey };
		struct nomem_op op = { .name = "renew",
			.setup = opened,
			.run = renew,
			.check = check_renew,
			.fini = close_both };

		cr_assert_gt(nomem_each(&op, &l), 0);
	}
}

/* A renewal that dies on the way takes the session with it: nobody stays
 * open on evidence that was to be replaced. */
static enum err
renewal(void *arg)
{
	struct link *l = arg;
	enum err e;

	if ((e = renew(l)) != ERR_OK)
		return e;
	for (int i = 0; i < 2; i++)
		l->side[i].checked = false;
	if ((e = deliver(l, CLIENT)) != ERR_OK ||
	    (e = deliver(l, SERVER)) != ERR_OK)
		return e;
	return proofs(l);
}

static void
check_renewal(void *arg, enum err e)
{
	struct link *l = arg;

	for (int i = 0; e == ERR_OK && i < 2; i++) {
		cr_assert(l->side[i].checked);
		cr_assert(session_is_open(l->side[i].session));
		cr_assert_not(session_renewing(l->side[i].session));
	}
}

Test(nomem_session, renewal)
{
	struct link l = { 0 };
	const struct nomem_op op = { .name = "renewal",
		.setup = opened,
		.run = renewal,
		.check = check_renewal,
		.fini = close_both,
		.once = true };

	cr_assert_gt(nomem_each(&op, &l), 10);
}

/* ---- evidence as it is sent ---- */

struct packed {
	struct evidence e, got;
	struct buf out;
	size_t before;
};

static void
make_evidence(void *arg)
{
	struct packed *p = arg;

	*p = (struct packed){ .e = { .tee = TEE_TDX } };
	cr_assert_eq(buf_set(&p->e.quote, body, 5000), ERR_OK);
	cr_assert_eq(buf_set(&p->e.event_log, body, 900), ERR_OK);
	cr_assert_eq(buf_set(&p->e.vm_config, body, 200), ERR_OK);
}

static void
free_evidence(void *arg)
{
	struct packed *p = arg;

	evidence_fini(&p->e);
	evidence_fini(&p->got);
	buf_fini(&p->out);
}

static enum err
pack(void *arg)
{
	struct packed *p = arg;

	return proof_pack(&p->out, &p->e);
}

static void
check_pack(void *arg, enum err e)
{
	struct packed *p = arg;

	cr_assert((e == ERR_OK) == (p->out.len > 6000));
	cr_assert(e == ERR_OK || p->out.len == 0);
}

static void
packed(void *arg)
{
	make_evidence(arg);
	cr_assert_eq(pack(arg), ERR_OK);
}

static enum err
unpack(void *arg)
{
	struct packed *p = arg;

	evidence_fini(&p->got);
	return proof_unpack(&p->got, buf_view(&p->out));
}

static void
check_unpack(void *arg, enum err e)
{
	struct packed *p = arg;

	if (e != ERR_OK) {
		cr_assert_null(p->got.quote.p);
		cr_assert_null(p->got.event_log.p);
		cr_assert_null(p->got.vm_config.p);
		return;
	}
	cr_assert_eq(p->got.quote.len, 5000);
	cr_assert_arr_eq(p->got.quote.p, body, 5000);
	cr_assert_eq(p->got.vm_config.len, 200);
}

Test(nomem_session, evidence)
{
	struct packed p;
	const struct nomem_op ops[] = {
		{ .name = "proof_pack",
		    .setup = make_evidence,
		    .run = pack,
		    .check = check_pack,
		    .fini = free_evidence },
		{ .name = "proof_unpack",
		    .setup = packed,
		    .run = unpack,
		    .check = check_unpack,
		    .fini = free_evidence },
	};

	cr_assert_gt(nomem_each(&ops[0], &p), 0);
	cr_assert_geq(nomem_each(&ops[1], &p), 5);
}
