/* The dialling side and an answerer that is attested, speaks the protocol, and
 * does not play by the rules: each way out of a call has its reason. */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "common/base/limits.h"
#include "common/base/log.h"
#include "common/base/secret.h"
#include "node/channel/channel.h"
#include "node/channel/noise.h"
#include "node/channel/session.h"

#define WAIT_MS 20000
#define LIFE_S 3600

/* ---- the answerer: one connection, on a thread of its own ---- */

struct answerer {
	void (*act)(struct answerer *a); /* once the session is open */
	sem_t dialled; /* the other side has opened, too */
	int receive_buffer; /* 0: the system's */
	bool rekey; /* before each answer */
	uint64_t ms; /* of what it sends */
	int listener, fd;
	char url[64];
	pthread_t thread;
	uint8_t s[32], s_pub[32];
	struct session *session;
	struct session_event ev;
	struct buf out;
	uint8_t in[4096];
	struct bytes left;
	enum err e; /* what its session said last */
	struct refusal why;
	unsigned requests, checks;
};

static void
send_all(struct answerer *a, const void *p, size_t n)
{
	cr_assert_eq(send(a->fd, p, n, MSG_NOSIGNAL), (ssize_t)n);
}

static void
flush(struct answerer *a)
{
	if (a->out.len > 0)
		send_all(a, a->out.p, a->out.len);
	a->out.len = 0;
}

/* The next event; false when the other side is gone, or has been refused. */
static bool
next(struct answerer *a)
{
	ssize_t n;

	do {
		flush(a);
		if (a->left.len == 0) {
			n = recv(a->fd, a->in, sizeof a->in, 0);
			if (n <= 0)
				return false;
			a->left = (struct bytes){ a->in, (size_t)n };
		}
		a->e = session_feed(
		    a->session, &a->ev, &a->out, &a->left, 0, &a->why);
	} while (a->e == ERR_OK && a->ev.kind == SESSION_IDLE);
	a->requests += a->e == ERR_OK && a->ev.kind == SESSION_REQUEST;
	a->checks += a->e == ERR_OK && a->ev.kind == SESSION_CHECK;
	return a->e == ERR_OK;
}

/* Believes what was shown, and shows its own. */
static void
believe(struct answerer *a)
{
	struct evidence e = { .tee = TEE_TDX };

	cr_assert_eq(a->ev.kind, SESSION_CHECK);
	cr_assert_eq(session_checked(a->session, &a->ev), ERR_OK);
	cr_assert_eq(a->ev.kind, SESSION_PROVE);
	cr_assert_eq(buf_set(&e.quote, a->ev.report_data, 64), ERR_OK);
	cr_assert_eq(
	    session_proved(a->session, &a->ev, &a->out, &e, 0, NULL), ERR_OK);
	evidence_fini(&e);
	flush(a);
}

static void
answer(struct answerer *a, const char *text)
{
	a->ms += a->rekey ? SESSION_REKEY_MS : 0;
	cr_assert_eq(
	    session_reply(a->session, &a->out,
		(struct bytes){ (const uint8_t *)text, strlen(text) }, a->ms),
	    ERR_OK);
	flush(a);
}

static void
refuse_request(struct answerer *a, enum reason code)
{
	cr_assert(next(a));
	cr_assert_eq(a->ev.kind, SESSION_REQUEST);
	cr_assert_eq(
	    session_reply_refused(a->session, &a->out, code, 0), ERR_OK);
	flush(a);
}

/* Gone, and whatever is sent from now on fails at once. */
static void
reset(struct answerer *a)
{
	const struct linger now = { .l_onoff = 1 };

	setsockopt(a->fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
	close(a->fd);
	a->fd = -1;
}

static void *
run(void *arg)
{
	static const uint8_t contract[20] = { 1 }, cookie_key[32] = { 2 };
	const struct timeval limit = { .tv_sec = WAIT_MS / 1000 };
	const int on = 1;
	struct answerer *a = arg;
	struct session_options o = { .role = CHANNEL_KMS_SERVER,
		.chain_id = 31337,
		.kms_contract = contract,
		.s = a->s,
		.s_pub = a->s_pub,
		.cookie_key = cookie_key };

	a->fd = accept(a->listener, NULL, NULL);
	cr_assert_geq(a->fd, 0);
	setsockopt(a->fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
	setsockopt(a->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	secret_random(a->s, 32);
	noise_public(a->s_pub, a->s);
	cr_assert_eq(session_new(&a->session, &a->out, &o, 0), ERR_OK);
	if (next(a)) {
		believe(a);
		sem_wait(&a->dialled);
		if (a->act != NULL)
			a->act(a);
	}
	if (a->fd >= 0)
		close(a->fd);
	return NULL;
}

static void
begin(struct answerer *a, void (*act)(struct answerer *a))
{
	struct sockaddr_in at = { .sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof at;

	a->act = act;
	a->fd = -1;
	sem_init(&a->dialled, 0, 0);
	a->listener = socket(AF_INET, SOCK_STREAM, 0);
	if (a->receive_buffer != 0)
		setsockopt(a->listener, SOL_SOCKET, SO_RCVBUF,
		    &a->receive_buffer, sizeof a->receive_buffer);
	cr_assert_eq(bind(a->listener, (struct sockaddr *)&at, sizeof at), 0);
	cr_assert_eq(listen(a->listener, 1), 0);
	cr_assert_eq(getsockname(a->listener, (struct sockaddr *)&at, &len), 0);
	(void)snprintf(a->url, sizeof a->url, "tcp://127.0.0.1:%u",
	    (unsigned)ntohs(at.sin_port));
	cr_assert_eq(pthread_create(&a->thread, NULL, run, a), 0);
}

/* Waits for the answerer to have done what it does. */
static void
ended(struct answerer *a)
{
	cr_assert_eq(pthread_join(a->thread, NULL), 0);
}

static void
end(struct answerer *a)
{
	close(a->listener);
	session_free(a->session);
	buf_fini(&a->out);
}

/* ---- our side ---- */

static struct {
	unsigned proofs, checks;
	int64_t now;
	enum err prove_error;
	enum reason prove_reason;
} my;

static enum err
my_prove(void *cookie, struct evidence *out,
    const uint8_t report_data[static 64], struct refusal *why)
{
	(void)cookie;
	my.proofs++;
	if (my.prove_error != ERR_OK && my.prove_reason != REASON_NONE)
		(void)refuse(why, my.prove_reason, "stub");
	if (my.prove_error != ERR_OK)
		return my.prove_error;
	*out = (struct evidence){ .tee = TEE_TDX };
	return buf_set(&out->quote, report_data, 64);
}

static enum err
my_check(void *cookie, struct attested *out, const struct evidence *e,
    const uint8_t report_data[static 64], enum channel_role role,
    struct refusal *why)
{
	(void)cookie;
	my.checks++;
	cr_assert_eq(role, CHANNEL_KMS_SERVER);
	if (e->quote.len != 64 || memcmp(e->quote.p, report_data, 64) != 0)
		return refuse(why, REASON_REPORT_DATA, "stub");
	*out = (struct attested){ .verified_at = my.now };
	return ERR_OK;
}

static int64_t
my_now(void *cookie)
{
	(void)cookie;
	return my.now;
}

static const struct channel_context cx = { .chain_id = 31337,
	.kms_contract = { 1 },
	.evidence_life_s = LIFE_S,
	.prove = my_prove,
	.check = my_check,
	.now = my_now };
static struct channel *c;
static struct refusal why;
static struct buf reply;

static void
setup(void)
{
	cr_assert_eq(secret_process_init(), ERR_OK);
	log_set_level(LOG_ERROR);
	my.now = 1000;
}

static void
teardown(void)
{
	channel_close(c);
	buf_fini(&reply);
}

TestSuite(channel_dial, .init = setup, .fini = teardown, .timeout = 120);

static enum err
dial(struct answerer *a, unsigned ms)
{
	enum err e;

	why = (struct refusal){ 0 };
	e = channel_dial(&c, &cx, CHANNEL_APP, a->url, ms, &why);
	if (e == ERR_OK)
		sem_post(&a->dialled);
	return e;
}

static enum err
call(const char *text)
{
	why = (struct refusal){ 0 };
	reply.len = 0;
	return channel_call(c, &reply,
	    (struct bytes){ (const uint8_t *)text, strlen(text) }, WAIT_MS,
	    &why);
}

/* A channel that has failed once is over. */
static void
expect_over(void)
{
	cr_assert_eq(call("again"), ERR_PHASE);
	cr_assert_eq(channel_renew(c, WAIT_MS, &why), ERR_PHASE);
	cr_assert_eq(reply.len, 0);
}

/* ---- a send that fails ---- */

static void
refuse_and_reset(struct answerer *a)
{
	session_refuse(a->session, &a->out, REASON_REVOKED, 0);
	flush(a);
	reset(a);
}

/* The peer said why before it went: that is what a caller hears, though it was
 * the send that failed. */
Test(channel_dial, reason_behind_a_reset)
{
	struct answerer a = { .fd = -1 };

	begin(&a, refuse_and_reset);
	cr_assert_eq(dial(&a, WAIT_MS), ERR_OK);
	ended(&a);
	cr_assert_eq(call("q"), ERR_DENIED, "%s", why.detail);
	cr_assert_eq(why.code, REASON_REVOKED, "%s", why.detail);
	expect_over();
	end(&a);
}

static void
lie_and_reset(struct answerer *a)
{
	static const uint8_t frame[33] = "DK\1\5\0\0\0\x19";

	send_all(a, frame, sizeof frame);
	reset(a);
}

static void
part_and_reset(struct answerer *a)
{
	send_all(a, "DK\1\5\0\0", 6);
	reset(a);
}

/* What is no refusal of the peer's is none: a frame that does not open, and a
 * part of one. */
Test(channel_dial, no_reason_behind_a_reset)
{
	void (*const act[])(
	    struct answerer *) = { lie_and_reset, part_and_reset, reset };

	for (unsigned i = 0; i < 3; i++) {
		struct answerer a = { .fd = -1 };

		begin(&a, act[i]);
		cr_assert_eq(dial(&a, WAIT_MS), ERR_OK);
		ended(&a);
		cr_assert_eq(call("q"), ERR_IO, "%u", i);
		cr_assert_eq(why.code, REASON_HANDSHAKE, "%s", why.detail);
		expect_over();
		channel_close(c);
		c = NULL;
		end(&a);
	}
}

static void
deaf(struct answerer *a)
{
	char byte;

	/* Until the other side is gone: nothing is taken out. */
	for (int i = 0; i < 100; i++) {
		const struct timespec t = { .tv_nsec = 10 * 1000 * 1000 };

		(void)nanosleep(&t, NULL);
		if (recv(a->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0)
			break;
	}
}

/* One that does not read costs the caller its time, and no more. */
Test(channel_dial, not_read)
{
	static uint8_t large[LIMIT_MESSAGE];
	struct answerer a = { .receive_buffer = 4096 };

	begin(&a, deaf);
	cr_assert_eq(dial(&a, WAIT_MS), ERR_OK);
	cr_assert_eq(
	    channel_call(c, &reply, BYTES_OF(large), 200, &why), ERR_TIMEOUT);
	cr_assert_eq(why.code, REASON_TIMEOUT);
	cr_assert_eq(a.requests, 0);
	expect_over();
	channel_close(c);
	c = NULL;
	ended(&a);
	end(&a);
}

/* Without time there is nobody to prove anything to. */
Test(channel_dial, no_time)
{
	struct answerer a = { .fd = -1 };

	begin(&a, NULL);
	cr_assert_eq(dial(&a, 0), ERR_TIMEOUT);
	cr_assert_null(c);
	cr_assert_eq(why.code, REASON_TIMEOUT);
	cr_assert_eq(my.proofs + my.checks, 0);
	cr_assert_eq(dial(&a, WAIT_MS), ERR_OK);
	ended(&a);
	end(&a);
}

/* ---- requests that are refused ---- */

static void
busy(struct answerer *a)
{
	refuse_request(a, REASON_BUSY);
	(void)next(a);
}

/* Another reason than old evidence is the end: nothing is asked again. */
Test(channel_dial, request_refused)
{
	struct answerer a = { .fd = -1 };

	begin(&a, busy);
	cr_assert_eq(dial(&a, WAIT_MS), ERR_OK);
	cr_assert_eq(call("q"), ERR_DENIED);
	cr_assert_eq(why.code, REASON_BUSY);
	expect_over();
	ended(&a);
	cr_assert_eq(a.requests, 1);
	cr_assert_eq(my.proofs, 1);
	end(&a);
}

static void
always_expired(struct answerer *a)
{
	refuse_request(a, REASON_EVIDENCE_EXPIRED);
	cr_assert(next(a));
	believe(a);
	refuse_request(a, REASON_EVIDENCE_EXPIRED);
	(void)next(a);
}

/* New evidence is shown once for a request, and not for ever. */
Test(channel_dial, always_expired)
{
	struct answerer a = { .fd = -1 };

	begin(&a, always_expired);
	cr_assert_eq(dial(&a, WAIT_MS), ERR_OK);
	cr_assert_eq(call("q"), ERR_DENIED);
	cr_assert_eq(why.code, REASON_EVIDENCE_EXPIRED);
	expect_over();
	ended(&a);
	cr_assert_eq(a.requests, 2);
	cr_assert_eq(my.proofs, 2);
	end(&a);
}

static void
expired_then_no(struct answerer *a)
{
	refuse_request(a, REASON_EVIDENCE_EXPIRED);
	cr_assert(next(a));
	cr_assert_eq(a->ev.kind, SESSION_CHECK);
	session_refuse(a->session, &a->out, REASON_REVOKED, 0);
	flush(a);
}

/* If the new evidence is not accepted, the request is not made again. */
Test(channel_dial, expired_then_denied)
{
	struct answerer a = { .fd = -1 };

	begin(&a, expired_then_no);
	cr_assert_eq(dial(&a, WAIT_MS), ERR_OK);
	cr_assert_eq(call("q"), ERR_DENIED);
	cr_assert_eq(why.code, REASON_REVOKED);
	expect_over();
	ended(&a);
	cr_assert_eq(a.requests, 1);
	end(&a);
}

static void
no_renewal(struct answerer *a)
{
	cr_assert(next(a));
	cr_assert_eq(a->ev.kind, SESSION_CHECK);
	session_refuse(a->session, &a->out, REASON_REVOKED, 0);
	flush(a);
}

/* Nor is it made at all when the renewal before it fails. */
Test(channel_dial, renewal_denied)
{
	struct answerer a = { .fd = -1 };

	begin(&a, no_renewal);
	cr_assert_eq(dial(&a, WAIT_MS), ERR_OK);
	my.now += LIFE_S / 2;
	cr_assert_eq(call("q"), ERR_DENIED);
	cr_assert_eq(why.code, REASON_REVOKED);
	expect_over();
	ended(&a);
	cr_assert_eq(a.requests, 0);
	cr_assert_eq(a.checks, 2);
	end(&a);
}

/* ---- evidence of our own that there is none of ---- */

static void
until_gone(struct answerer *a)
{
	while (next(a))
		continue;
}

/* Whoever waits for evidence is told that there will be none, and why. */
Test(channel_dial, cannot_prove)
{
	static const struct {
		enum err e;
		enum reason code, heard;
	} t[] = {
		{ ERR_DENIED, REASON_TCB_STATUS, REASON_TCB_STATUS },
		{ ERR_NOMEM, REASON_NONE, REASON_INTERNAL },
	};

	for (unsigned i = 0; i < 2; i++) {
		struct answerer a = { .fd = -1 };

		my.prove_error = t[i].e;
		my.prove_reason = t[i].code;
		begin(&a, until_gone);
		cr_assert_eq(dial(&a, WAIT_MS), t[i].e);
		cr_assert_null(c);
		cr_assert_eq(why.code, t[i].code);
		ended(&a);
		cr_assert_eq(a.e, ERR_DENIED);
		cr_assert(session_refused_by_peer(a.session));
		cr_assert_eq(a.why.code, t[i].heard);
		cr_assert_eq(a.checks, 0);
		end(&a);
	}
	cr_assert_eq(my.checks, 0);
}

/* The same at a renewal: the request is not made. */
Test(channel_dial, cannot_renew)
{
	struct answerer a = { .fd = -1 };

	begin(&a, until_gone);
	cr_assert_eq(dial(&a, WAIT_MS), ERR_OK);
	my.prove_error = ERR_DENIED;
	my.prove_reason = REASON_TCB_STATUS;
	my.now += LIFE_S / 2;
	cr_assert_eq(call("q"), ERR_DENIED);
	cr_assert_eq(why.code, REASON_TCB_STATUS);
	expect_over();
	ended(&a);
	cr_assert_eq(a.why.code, REASON_TCB_STATUS);
	cr_assert_eq(a.requests, 0);
	end(&a);
}

/* ---- several frames at once ---- */

static void
serve(struct answerer *a)
{
	while (next(a))
		answer(a, "yes");
}

/* The peer's keys change every few frames: the new key's first frame comes
 * with the word that there is one. */
Test(channel_dial, rekeyed)
{
	struct answerer a = { .rekey = true };

	begin(&a, serve);
	cr_assert_eq(dial(&a, WAIT_MS), ERR_OK);
	for (int i = 0; i < 20; i++) {
		cr_assert_eq(call("q"), ERR_OK, "%s", why.detail);
		cr_assert_eq(reply.len, 3);
		cr_assert_arr_eq(reply.p, "yes", 3);
	}
	channel_close(c);
	c = NULL;
	ended(&a);
	cr_assert_eq(a.requests, 20);
	end(&a);
}
