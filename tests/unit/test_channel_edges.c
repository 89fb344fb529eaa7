/* The answering side where it is seldom: limits that are none, IPv6, places
 * that two want at once, owners that answer wrongly, peers that run ahead. */
#include <arpa/inet.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "common/base/clock.h"
#include "common/base/limits.h"
#include "common/base/log.h"
#include "common/base/rate.h"
#include "common/base/secret.h"
#include "node/channel/channel.h"
#include "node/channel/noise.h"
#include "node/channel/session.h"

#define WAIT_MS 20000
#define LIFE_S 3600

/* ---- the server, on a thread of its own ---- */

static struct {
	struct channel_server_options o;
	struct channel_server *server;
	uv_loop_t loop;
	uv_async_t async;
	pthread_t thread;
	void (*task)(void *arg);
	void *arg;
	sem_t done;
	bool stopped;
	uint64_t conn; /* of the last request */
	atomic_uint requests, checks, closed;
	/* What the owner says of evidence, and when. */
	atomic_bool hold_check, hold_prove;
	sem_t held, go;
	atomic_llong now, valid_until;
	enum err error; /* of check: without a reason */
} h;

static void
wait_if(atomic_bool *hold)
{
	if (!*hold)
		return;
	sem_post(&h.held);
	sem_wait(&h.go);
}

static enum err
prove(void *cookie, struct evidence *out, const uint8_t report_data[static 64],
    struct refusal *why)
{
	(void)cookie, (void)why;
	wait_if(&h.hold_prove);
	*out = (struct evidence){ .tee = TEE_TDX };
	return buf_set(&out->quote, report_data, 64);
}

static enum err
check(void *cookie, struct attested *out, const struct evidence *e,
    const uint8_t report_data[static 64], enum channel_role role,
    struct refusal *why)
{
	(void)cookie, (void)role;
	h.checks++;
	wait_if(&h.hold_check);
	if (h.error != ERR_OK)
		return h.error;
	if (e->quote.len != 64 || memcmp(e->quote.p, report_data, 64) != 0)
		return refuse(why, REASON_REPORT_DATA, "stub");
	*out = (struct attested){ .verified_at = h.now };
	out->verdict.valid_until = h.valid_until;
	return ERR_OK;
}

static int64_t
now(void *cookie)
{
	(void)cookie;
	return h.now;
}

static const struct channel_context cx = { .chain_id = 31337,
	.kms_contract = { 1 },
	.evidence_life_s = LIFE_S,
	.prove = prove,
	.check = check,
	.now = now };

/* "hold" is answered by a task; everything else at once. */
static void
on_request(void *cookie, const struct channel_caller *who, struct bytes q)
{
	(void)cookie;
	h.requests++;
	h.conn = who->conn;
	if (q.len == 4 && memcmp(q.p, "hold", 4) == 0)
		return;
	cr_assert_eq(channel_server_reply(h.server, who->conn, q), ERR_OK);
	cr_assert_eq(channel_server_reply(h.server, who->conn, q), ERR_PHASE);
}

static void
on_close(void *cookie, uint64_t conn)
{
	(void)cookie, (void)conn;
	h.closed++;
}

static void
on_async(uv_async_t *a)
{
	void (*task)(void *) = h.task;

	(void)a;
	h.task = NULL;
	if (task != NULL) {
		task(h.arg);
		sem_post(&h.done);
	}
}

static void
loop_do(void (*task)(void *arg), void *arg)
{
	h.arg = arg;
	h.task = task;
	uv_async_send(&h.async);
	sem_wait(&h.done);
}

static void *
run(void *arg)
{
	(void)arg;
	uv_run(&h.loop, UV_RUN_DEFAULT);
	return NULL;
}

static void
setup(void)
{
	cr_assert_eq(secret_process_init(), ERR_OK);
	log_set_level(LOG_ERROR);
	h.now = 1000;
	h.o =
	    (struct channel_server_options){ .listen_url = "tcp://127.0.0.1:0",
		    .cx = &cx,
		    .on_request = on_request,
		    .on_close = on_close };
	channel_limits_default(&h.o.limits);
	sem_init(&h.done, 0, 0);
	sem_init(&h.held, 0, 0);
	sem_init(&h.go, 0, 0);
	cr_assert_eq(uv_loop_init(&h.loop), 0);
	cr_assert_eq(uv_async_init(&h.loop, &h.async, on_async), 0);
}

TestSuite(channel_edges, .init = setup, .timeout = 120);

static void
start(void)
{
	cr_assert_eq(channel_server_start(&h.server, &h.loop, &h.o), ERR_OK);
	cr_assert_eq(pthread_create(&h.thread, NULL, run, NULL), 0);
}

static void
on_stopped(void *cookie)
{
	(void)cookie;
	h.stopped = true;
	uv_close((uv_handle_t *)&h.async, NULL);
}

static void
task_stop(void *arg)
{
	(void)arg;
	channel_server_stop(h.server, on_stopped, NULL);
}

/* The loop runs dry: nothing of the server is left. */
static void
dry(void)
{
	pthread_join(h.thread, NULL);
	cr_assert(h.stopped);
	cr_assert_eq(uv_loop_close(&h.loop), 0);
}

static void
stop(void)
{
	loop_do(task_stop, NULL);
	dry();
}

static void
task_stats(void *arg)
{
	channel_server_stats(h.server, arg);
}

static struct channel_stats
stats(void)
{
	struct channel_stats st;

	loop_do(task_stats, &st);
	return st;
}

static void
nap(long ms)
{
	const struct timespec t = { .tv_sec = ms / 1000,
		.tv_nsec = ms % 1000 * 1000000 };

	nanosleep(&t, NULL);
}

/* Waits for a condition that must come true. */
#define UNTIL(cond) \
	do { \
		uint64_t end_ = clock_mono_ms() + WAIT_MS; \
		while (!(cond)) { \
			cr_assert(clock_mono_ms() < end_, "never: %s", #cond); \
			nap(2); \
		} \
	} while (0)

/* ---- peers made by hand ---- */

struct raw {
	int fd;
	uint8_t s[32], s_pub[32];
	struct session *session;
	struct buf out;
	struct session_event ev;
	uint8_t in[4096];
	struct bytes left;
	enum err e;
	struct refusal why;
};

static void
flush(struct raw *r)
{
	if (r->out.len > 0)
		(void)!send(r->fd, r->out.p, r->out.len, MSG_NOSIGNAL);
	r->out.len = 0;
}

/* The next event; false when the server has ended it: `why` if it said so. */
static bool
next(struct raw *r)
{
	ssize_t n;

	do {
		flush(r);
		if (r->left.len == 0) {
			n = recv(r->fd, r->in, sizeof r->in, 0);
			if (n <= 0)
				return false;
			r->left = (struct bytes){ r->in, (size_t)n };
		}
		r->e = session_feed(r->session, &r->ev, &r->out, &r->left,
		    clock_mono_ms(), &r->why);
	} while (r->e == ERR_OK && r->ev.kind == SESSION_IDLE);
	return r->e == ERR_OK;
}

static void
expect_refused(struct raw *r, enum reason code)
{
	cr_assert_not(next(r));
	cr_assert_eq(r->e, ERR_DENIED);
	cr_assert(session_refused_by_peer(r->session));
	cr_assert_eq(r->why.code, code, "%s", reason_label(r->why.code));
}

/* From `from` (NULL: any) of loopback, of either version. */
static bool
raw_connect(struct raw *r, int family, const char *from)
{
	const struct timeval limit = { .tv_sec = WAIT_MS / 1000 };
	const uint16_t port = htons(channel_server_port(h.server));
	struct sockaddr_in a4 = { .sin_family = AF_INET, .sin_port = port };
	struct sockaddr_in6 a6 = { .sin6_family = AF_INET6,
		.sin6_port = port,
		.sin6_addr = IN6ADDR_LOOPBACK_INIT };
	struct sockaddr_in me = { .sin_family = AF_INET };

	*r = (struct raw){ .fd = socket(family, SOCK_STREAM, 0) };
	a4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (r->fd < 0)
		return false;
	setsockopt(r->fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
	if (from != NULL) {
		cr_assert_eq(inet_pton(AF_INET, from, &me.sin_addr), 1);
		cr_assert_eq(bind(r->fd, (struct sockaddr *)&me, sizeof me), 0);
	}
	return (family == AF_INET
		       ? connect(r->fd, (struct sockaddr *)&a4, sizeof a4)
		       : connect(r->fd, (struct sockaddr *)&a6, sizeof a6)) ==
	    0;
}

/* Up to its evidence, which is in `out` and not sent. */
static void
raw_prove(struct raw *r, enum channel_role role, size_t log_len)
{
	struct session_options o = { .role = role,
		.chain_id = cx.chain_id,
		.kms_contract = cx.kms_contract,
		.s = r->s,
		.s_pub = r->s_pub };
	struct evidence e = { .tee = TEE_TDX };

	secret_random(r->s, 32);
	noise_public(r->s_pub, r->s);
	cr_assert_eq(
	    session_new(&r->session, &r->out, &o, clock_mono_ms()), ERR_OK);
	cr_assert(next(r));
	cr_assert_eq(r->ev.kind, SESSION_PROVE);
	flush(r); /* message 3 */
	cr_assert_eq(buf_set(&e.quote, r->ev.report_data, 64), ERR_OK);
	cr_assert_eq(buf_reserve(&e.event_log, log_len), ERR_OK);
	memset(e.event_log.p, ' ', log_len);
	e.event_log.len = log_len;
	cr_assert_eq(session_proved(r->session, &r->ev, &r->out, &e,
			 clock_mono_ms(), NULL),
	    ERR_OK);
	evidence_fini(&e);
}

static void
raw_open(struct raw *r, enum channel_role role)
{
	raw_prove(r, role, 0);
	cr_assert(next(r));
	cr_assert_eq(r->ev.kind, SESSION_CHECK);
	cr_assert_eq(session_checked(r->session, &r->ev), ERR_OK);
}

static void
open4(struct raw *r, enum channel_role role)
{
	cr_assert(raw_connect(r, AF_INET, NULL));
	raw_open(r, role);
}

static void
raw_request(struct raw *r, const char *q)
{
	cr_assert_eq(session_request(r->session, &r->out,
			 (struct bytes){ (const uint8_t *)q, strlen(q) },
			 clock_mono_ms()),
	    ERR_OK);
}

static void
expect_answer(struct raw *r, const char *text)
{
	cr_assert(next(r), "%s", r->why.detail);
	cr_assert_eq(r->ev.kind, SESSION_REPLY);
	cr_assert_eq(r->ev.body.len, strlen(text));
	cr_assert_arr_eq(r->ev.body.p, text, strlen(text));
}

static void
raw_close(struct raw *r)
{
	close(r->fd);
	session_free(r->session);
	buf_fini(&r->out);
}

/* ---- beginning ---- */

/* No limit may be none, nor more than the arithmetic carries; what is no TCP
 * address cannot be listened at. */
Test(channel_edges, options)
{
	struct channel_limits bad[15], *l = bad;
	struct channel_server *s = NULL;

	for (unsigned i = 0; i < 15; i++)
		bad[i] = h.o.limits;
	l++->max_sessions = 0;
	l++->max_sessions = 1u << 19;
	l++->max_half_open = 0;
	l++->max_half_open = 1u << 19;
	l++->max_half_open_per_source = 0;
	l++->handshakes_per_source = 0;
	l++->handshakes_per_source = RATE_MAX;
	l++->max_sessions_per_source = 0;
	l++->max_sessions_per_device = 0;
	l++->requests_per_session = 0;
	l++->requests_per_session = RATE_MAX;
	l++->max_pending_requests = 0;
	l++->handshake_timeout_ms = 0;
	l++->idle_timeout_ms = 0;
	l++->message_timeout_ms = 0;
	cr_assert_eq(l, bad + 15);
	for (unsigned i = 0; i < 15; i++) {
		struct channel_server_options o = h.o;

		o.limits = bad[i];
		cr_assert_eq(
		    channel_server_start(&s, &h.loop, &o), ERR_CONFIG, "%u", i);
	}
	h.o.listen_url = "ipc:///tmp/no-such-folder/socket";
	cr_assert_eq(channel_server_start(&s, &h.loop, &h.o), ERR_IO);
	cr_assert_null(s);
	uv_close((uv_handle_t *)&h.async, NULL);
	uv_run(&h.loop, UV_RUN_DEFAULT);
	cr_assert_eq(uv_loop_close(&h.loop), 0);
}

/* A socket for both versions sees IPv4 addresses inside IPv6 ones, which are
 * all in one /64: they are as many sources all the same. */
Test(channel_edges, sources_of_both_versions)
{
	struct raw r[3], more;

	h.o.listen_url = "tcp://[::]:0";
	h.o.limits.max_sessions_per_source = 1;
	if (channel_server_start(&h.server, &h.loop, &h.o) != ERR_OK)
		cr_skip_test("no IPv6 here");
	cr_assert_eq(pthread_create(&h.thread, NULL, run, NULL), 0);
	if (!raw_connect(&r[0], AF_INET6, NULL) ||
	    !raw_connect(&r[1], AF_INET, "127.0.0.1"))
		cr_skip_test("no socket for both versions here");
	raw_open(&r[0], CHANNEL_APP);
	raw_open(&r[1], CHANNEL_APP);
	cr_assert(raw_connect(&r[2], AF_INET, "127.0.0.2"));
	raw_open(&r[2], CHANNEL_APP);
	for (unsigned i = 0; i < 3; i++) {
		raw_request(&r[i], "q");
		expect_answer(&r[i], "q");
	}
	/* One more of each is one too many. */
	cr_assert(raw_connect(&more, AF_INET6, NULL));
	raw_prove(&more, CHANNEL_APP, 0);
	expect_refused(&more, REASON_BUSY);
	raw_close(&more);
	cr_assert(raw_connect(&more, AF_INET, "127.0.0.2"));
	raw_prove(&more, CHANNEL_APP, 0);
	expect_refused(&more, REASON_BUSY);
	raw_close(&more);
	for (unsigned i = 0; i < 3; i++)
		raw_close(&r[i]);
	stop();
}

/* ---- evidence ---- */

/* An owner that fails without a reason is no acceptance, and the peer hears
 * that it was not its own doing. */
Test(channel_edges, check_fails)
{
	struct raw r;

	h.error = ERR_IO;
	start();
	cr_assert(raw_connect(&r, AF_INET, NULL));
	raw_prove(&r, CHANNEL_APP, 0);
	expect_refused(&r, REASON_INTERNAL);
	cr_assert_eq(stats().refusals[REASON_INTERNAL], 1);
	cr_assert_eq(stats().sessions_open, 0);
	raw_close(&r);
	stop();
}

/* Evidence lives no longer than the collateral that it was judged by, nor any
 * longer for collateral that outlives it. */
Test(channel_edges, ends_with_the_collateral)
{
	const int64_t life[] = { 10, LIFE_S, 10 * LIFE_S };

	start();
	for (unsigned i = 0; i < 3; i++) {
		int64_t ends = life[i] < LIFE_S ? life[i] : LIFE_S;
		unsigned asked = h.requests;
		struct raw r;

		h.valid_until = h.now + life[i];
		open4(&r, CHANNEL_APP);
		h.now += ends - 1;
		raw_request(&r, "q");
		expect_answer(&r, "q");
		h.now += 1;
		raw_request(&r, "q");
		cr_assert(next(&r));
		cr_assert_eq(r.ev.kind, SESSION_REQUEST_REFUSED);
		cr_assert_eq(r.ev.why.code, REASON_EVIDENCE_EXPIRED);
		cr_assert_eq(h.requests, asked + 1);
		raw_close(&r);
	}
	stop();
}

/* Two have passed the check, and there is place for one: the other is told
 * when it would open. */
Test(channel_edges, one_place_for_two)
{
	struct raw r[2];
	bool in[2];

	h.o.limits.max_sessions_per_source = 1;
	h.hold_prove = true;
	start();
	for (unsigned i = 0; i < 2; i++) {
		cr_assert(raw_connect(&r[i], AF_INET, NULL));
		raw_prove(&r[i], CHANNEL_APP, 0);
		flush(&r[i]);
		sem_wait(&h.held);
	}
	h.hold_prove = false;
	sem_post(&h.go);
	sem_post(&h.go);
	for (unsigned i = 0; i < 2; i++) {
		/* It may have been shown evidence, but a request is not taken. */
		cr_assert(next(&r[i]));
		cr_assert_eq(r[i].ev.kind, SESSION_CHECK);
		cr_assert_eq(session_checked(r[i].session, &r[i].ev), ERR_OK);
		raw_request(&r[i], "q");
		in[i] = next(&r[i]);
		if (!in[i])
			cr_assert_eq(r[i].why.code, REASON_BUSY);
	}
	cr_assert_neq(in[0], in[1]);
	cr_assert_eq(h.requests, 1);
	cr_assert_eq(stats().sessions_open, 1);
	raw_close(&r[0]);
	raw_close(&r[1]);
	stop();
}

/* What comes behind evidence waits until that is judged: it is then looked at
 * as what it is. */
Test(channel_edges, nothing_overtakes_the_check)
{
	static const uint8_t junk[64] = "DK\1\1\0\0\0\x41";
	struct raw r;

	h.hold_check = true;
	start();
	cr_assert(raw_connect(&r, AF_INET, NULL));
	raw_prove(&r, CHANNEL_APP, 0);
	cr_assert_eq(
	    buf_append(&r.out, junk, sizeof junk, r.out.len + 64), ERR_OK);
	flush(&r);
	sem_wait(&h.held);
	cr_assert_eq(
	    send(r.fd, junk, sizeof junk, MSG_NOSIGNAL), (ssize_t)sizeof junk);
	for (unsigned i = 0; i < 20; i++) {
		cr_assert_eq(stats().frames_refused, 0);
		nap(2);
	}
	sem_post(&h.go);
	cr_assert(next(&r));
	cr_assert_eq(r.ev.kind, SESSION_CHECK);
	expect_refused(&r, REASON_FRAME);
	cr_assert_eq(stats().frames_refused, 1);
	cr_assert_eq(h.requests, 0);
	cr_assert_eq(stats().sessions_open, 0);
	raw_close(&r);
	stop();
}

/* While a renewal is looked at, neither idle time nor the age of what is
 * renewed ends a session; an end of the server waits for it. */
Test(channel_edges, long_renewal)
{
	struct raw r;

	h.o.limits.idle_timeout_ms = 300;
	start();
	open4(&r, CHANNEL_APP);
	h.hold_check = true;
	cr_assert_eq(session_renew(r.session, &r.out, clock_mono_ms()), ERR_OK);
	cr_assert(next(&r));
	cr_assert_eq(r.ev.kind, SESSION_PROVE);
	struct evidence e = { .tee = TEE_TDX };
	cr_assert_eq(buf_set(&e.quote, r.ev.report_data, 64), ERR_OK);
	cr_assert_eq(
	    session_proved(r.session, &r.ev, &r.out, &e, clock_mono_ms(), NULL),
	    ERR_OK);
	evidence_fini(&e);
	flush(&r);
	sem_wait(&h.held);
	h.now += LIFE_S + 100;
	nap(700);
	cr_assert_eq(stats().sessions_open, 1);
	cr_assert_eq(h.closed, 0);
	loop_do(task_stop, NULL);
	nap(100);
	cr_assert_eq(h.closed, 1);
	cr_assert_not(h.stopped, "a worker is with it");
	sem_post(&h.go);
	dry();
	cr_assert_not(next(&r));
	raw_close(&r);
}

/* Its age counts from before it was looked at: if that took longer than its
 * life, it is old. */
Test(channel_edges, old_when_it_is_judged)
{
	struct raw r;

	h.hold_check = true;
	start();
	cr_assert(raw_connect(&r, AF_INET, NULL));
	raw_prove(&r, CHANNEL_APP, 0);
	flush(&r);
	sem_wait(&h.held);
	h.now += LIFE_S;
	h.hold_check = false;
	sem_post(&h.go);
	cr_assert(next(&r));
	cr_assert_eq(r.ev.kind, SESSION_CHECK);
	cr_assert_eq(session_checked(r.session, &r.ev), ERR_OK);
	raw_request(&r, "q");
	cr_assert(next(&r));
	cr_assert_eq(r.ev.kind, SESSION_REQUEST_REFUSED);
	cr_assert_eq(r.ev.why.code, REASON_EVIDENCE_EXPIRED);
	cr_assert_eq(h.requests, 0);
	raw_close(&r);
	stop();
}

/* ---- owners ---- */

static void
task_wrong_names(void *arg)
{
	const struct bytes b = BYTES_STR("x");
	const uint64_t conn = h.conn;

	(void)arg;
	/* Another life of its slot, another slot, and one that is none. */
	cr_assert_eq(
	    channel_server_reply(h.server, conn + (1u << 20), b), ERR_NOTFOUND);
	cr_assert_eq(channel_server_reply(h.server, conn + 1, b), ERR_NOTFOUND);
	cr_assert_eq(
	    channel_server_reply(h.server, conn | 0xfffff, b), ERR_NOTFOUND);
	channel_server_drop(h.server, conn + (1u << 20), REASON_SELF_DENIED);
	channel_server_drop(h.server, conn | 0xfffff, REASON_SELF_DENIED);
}

static void
task_too_large(void *arg)
{
	static const uint8_t large[LIMIT_MESSAGE + 1];

	*(enum err *)arg =
	    channel_server_reply(h.server, h.conn, BYTES_OF(large));
	cr_assert_eq(channel_server_reply(h.server, h.conn, BYTES_STR("x")),
	    ERR_NOTFOUND);
}

static void
task_answer(void *arg)
{
	cr_assert_eq(channel_server_reply(
			 h.server, h.conn, (struct bytes){ arg, strlen(arg) }),
	    ERR_OK);
}

/* A name that is none, or of another life, is nobody's; an answer that cannot
 * be sent ends the session, as the next one would be taken for it. */
Test(channel_edges, wrong_answers)
{
	enum err e = ERR_OK;
	struct raw r;

	start();
	open4(&r, CHANNEL_APP);
	raw_request(&r, "hold");
	flush(&r);
	UNTIL(h.requests == 1);
	loop_do(task_wrong_names, NULL);
	loop_do(task_answer, "right");
	expect_answer(&r, "right");
	raw_request(&r, "hold");
	flush(&r);
	UNTIL(h.requests == 2);
	loop_do(task_too_large, &e);
	cr_assert_eq(e, ERR_LIMIT);
	expect_refused(&r, REASON_INTERNAL);
	cr_assert_eq(h.closed, 1);
	raw_close(&r);
	stop();
}

struct seen {
	unsigned n, peers;
	bool whole;
};

static void
on_each(void *cookie, const struct channel_caller *who)
{
	struct seen *s = cookie;

	s->n++;
	s->peers += who->role == CHANNEL_KMS_PEER;
	s->whole = s->whole && who->peer->verified_at == h.now &&
	    who->handshake_hash != NULL && who->conn != 0;
}

static void
task_each(void *arg)
{
	channel_server_each(h.server, on_each, arg);
}

/* Who is shown of the sessions is attested and open: neither one that has only
 * connected, nor one whose evidence is looked at, nor one that was dropped. */
Test(channel_edges, each_session)
{
	struct seen s = { .whole = true };
	struct raw app, peer, gone, silent, proving;

	start();
	open4(&app, CHANNEL_APP);
	raw_request(&app, "q");
	expect_answer(&app, "q");
	open4(&peer, CHANNEL_KMS_PEER);
	open4(&gone, CHANNEL_APP);
	raw_request(&gone, "q");
	expect_answer(&gone, "q");
	raw_close(&gone);
	UNTIL(h.closed == 1);
	cr_assert(raw_connect(&silent, AF_INET, NULL));
	h.hold_check = true;
	cr_assert(raw_connect(&proving, AF_INET, NULL));
	raw_prove(&proving, CHANNEL_APP, 0);
	flush(&proving);
	sem_wait(&h.held);
	loop_do(task_each, &s);
	cr_assert_eq(s.n, 2);
	cr_assert_eq(s.peers, 1);
	cr_assert(s.whole);
	sem_post(&h.go);
	raw_close(&app);
	raw_close(&peer);
	raw_close(&silent);
	raw_close(&proving);
	stop();
}

/* ---- bytes ---- */

/* Half of a request is sent, and its other half `ms` later; what the owner does
 * meanwhile is its own affair. */
static void
in_halves(struct raw *r, long ms)
{
	struct buf b = { 0 };
	uint64_t answered;

	raw_request(r, "last");
	b = r->out;
	r->out = (struct buf){ 0 };
	cr_assert_eq(send(r->fd, b.p, 20, MSG_NOSIGNAL), 20);
	nap(ms);
	cr_assert_eq(stats().sessions_open, 1);
	answered = clock_mono_ms();
	loop_do(task_answer, "late");
	expect_answer(r, "late");
	nap(ms);
	cr_assert_eq(send(r->fd, b.p + 20, b.len - 20, MSG_NOSIGNAL),
	    (ssize_t)b.len - 20);
	buf_fini(&b);
	if (clock_mono_ms() - answered > 2 * (uint64_t)ms - 1000)
		cr_skip_test("this machine is too slow to tell");
	expect_answer(r, "last");
	cr_assert_eq(stats().refusals[REASON_TIMEOUT], 0);
}

/* A request that began while the one before was with the owner has not been
 * slow: its time begins anew when that is answered.  The same where it may not
 * be looked at before. */
Test(channel_edges, half_a_request_waits)
{
	for (unsigned pending = 1; pending <= 2; pending++) {
		struct raw r;

		h.o.limits.message_timeout_ms = 3000;
		h.o.limits.max_pending_requests = pending;
		h.requests = 0;
		start();
		open4(&r, CHANNEL_APP);
		raw_request(&r, "hold");
		flush(&r);
		UNTIL(h.requests == 1);
		in_halves(&r, 2000);
		raw_close(&r);
		if (pending == 2)
			break;
		/* Once more, with a new server on a new loop. */
		stop();
		h.stopped = false;
		cr_assert_eq(uv_loop_init(&h.loop), 0);
		cr_assert_eq(uv_async_init(&h.loop, &h.async, on_async), 0);
	}
	stop();
}

/* When there is too much memory in use, a KMS node that holds much of it goes
 * on, and a stranger with large evidence does not. */
Test(channel_edges, memory_of_peers)
{
	static char large[700 * 1024];
	struct raw peer, app;

	h.o.limits.max_memory = 64u << 10;
	start();
	open4(&peer, CHANNEL_KMS_PEER);
	memset(large, 'x', sizeof large - 1);
	raw_request(&peer, large);
	flush(&peer);
	expect_answer(&peer, large);
	cr_assert_eq(stats().refusals[REASON_BUSY], 0);
	cr_assert(raw_connect(&app, AF_INET, NULL));
	raw_prove(&app, CHANNEL_APP, LIMIT_EVENT_LOG);
	/* All but its end: it is held, and not looked at. */
	app.out.len -= 1;
	flush(&app);
	if (next(&app) || app.e != ERR_DENIED)
		cr_assert_eq(stats().refusals[REASON_BUSY], 1);
	else
		cr_assert_eq(app.why.code, REASON_BUSY);
	cr_assert_eq(h.checks, 1);
	raw_request(&peer, "q");
	expect_answer(&peer, "q");
	raw_close(&peer);
	raw_close(&app);
	UNTIL(stats().memory == 0);
	stop();
}

/* Of the waits the idle one may be the shortest. */
Test(channel_edges, short_idle)
{
	struct raw r;
	uint64_t began;

	h.o.limits.idle_timeout_ms = 200;
	start();
	open4(&r, CHANNEL_APP);
	began = clock_mono_ms();
	expect_refused(&r, REASON_TIMEOUT);
	cr_assert_lt(clock_mono_ms() - began, 10000);
	raw_close(&r);
	stop();
}
