/* The channel over real loopback TCP: what it promises, and how it behaves
 * under peers that do not play by the rules. */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "common/base/clock.h"
#include "common/base/limits.h"
#include "common/base/log.h"
#include "common/base/secret.h"
#include "node/channel/channel.h"
#include "node/channel/noise.h"
#include "node/channel/proof.h"
#include "node/channel/session.h"

#define WAIT_MS 20000
#define LIFE_S 3600

/* One side's answers; shared with worker threads. */
struct stub {
	atomic_int proofs, checks;
	atomic_int deny; /* enum reason for check */
	atomic_int app, device; /* whose evidence it is found to be */
	atomic_llong now;
	atomic_int last_role;
	atomic_bool hold; /* check waits for `go` */
	sem_t held, go;
	struct host *host;
};

struct host {
	struct stub stub;
	struct channel_context cx;
	struct channel_server_options o;
	struct channel_server *server;
	uv_loop_t loop;
	uv_async_t async;
	pthread_t thread;
	void (*task)(struct host *h, void *arg);
	void *arg;
	sem_t task_done;
	bool stopped;
	/* Requests that say "hold" are answered by task_release. */
	uint64_t held[16];
	unsigned n_held, n_released;
	atomic_uint requests, closed;
	char url[64];
};

static enum err
stub_prove(void *cookie, struct evidence *out,
    const uint8_t report_data[static 64], struct refusal *why)
{
	struct stub *s = cookie;

	(void)why;
	s->proofs++;
	*out = (struct evidence){ .tee = TEE_TDX };
	cr_assert_eq(buf_set(&out->quote, report_data, 64), ERR_OK);
	return ERR_OK;
}

static enum err
stub_check(void *cookie, struct attested *out, const struct evidence *e,
    const uint8_t report_data[static 64], enum channel_role peer_role,
    struct refusal *why)
{
	struct stub *s = cookie;
	int deny = s->deny;

	s->checks++;
	s->last_role = (int)peer_role;
	if (s->hold) {
		sem_post(&s->held);
		sem_wait(&s->go);
	}
	if (e->quote.len != 64 || memcmp(e->quote.p, report_data, 64) != 0)
		return refuse(why, REASON_REPORT_DATA, "stub");
	if (deny != REASON_NONE)
		return refuse(why, (enum reason)deny, "stub");
	*out = (struct attested){ .verified_at = s->now };
	out->boot.app_id[0] = 42;
	out->boot.app_id[1] = (uint8_t)s->app;
	out->boot.device_id[0] = (uint8_t)s->device;
	return ERR_OK;
}

static int64_t
stub_now(void *cookie)
{
	struct stub *s = cookie;

	return s->now;
}

static void
stub_init(struct stub *s, struct channel_context *cx, struct host *h)
{
	memset(s, 0, sizeof *s);
	s->now = 1000;
	s->host = h;
	sem_init(&s->held, 0, 0);
	sem_init(&s->go, 0, 0);
	*cx = (struct channel_context){ .chain_id = 31337,
		.kms_contract = { 1 },
		.evidence_life_s = LIFE_S,
		.cookie = s,
		.prove = stub_prove,
		.check = stub_check,
		.now = stub_now };
}

/* ---- the server, on a thread of its own ---- */

static void
on_request(void *cookie, const struct channel_caller *who, struct bytes q)
{
	struct host *h = ((struct stub *)cookie)->host;

	h->requests++;
	cr_assert_eq(who->peer->boot.app_id[0], 42);
	if (who->over_rate)
		q = (struct bytes){ (const uint8_t *)"rate", 4 };
	if (q.len == 4 && memcmp(q.p, "hold", 4) == 0) {
		if (h->n_held < 16)
			h->held[h->n_held++] = who->conn;
		return;
	}
	if (q.len == 4 && memcmp(q.p, "hash", 4) == 0)
		q = (struct bytes){ who->handshake_hash, 32 };
	if (q.len == 4 && memcmp(q.p, "drop", 4) == 0) {
		channel_server_drop(h->server, who->conn, REASON_SELF_DENIED);
		cr_assert_eq(channel_server_reply(h->server, who->conn, q),
		    ERR_NOTFOUND);
		return;
	}
	cr_assert_eq(channel_server_reply(h->server, who->conn, q), ERR_OK);
}

static void
on_close(void *cookie, uint64_t conn)
{
	(void)conn;
	((struct stub *)cookie)->host->closed++;
}

static void
on_async(uv_async_t *a)
{
	struct host *h = a->data;

	if (h->task == NULL)
		return;
	h->task(h, h->arg);
	h->task = NULL;
	sem_post(&h->task_done);
}

/* Runs `task` on the loop and waits for it. */
static void
host_do(struct host *h, void (*task)(struct host *h, void *arg), void *arg)
{
	h->arg = arg;
	h->task = task;
	uv_async_send(&h->async);
	sem_wait(&h->task_done);
}

static void *
host_run(void *arg)
{
	struct host *h = arg;

	uv_run(&h->loop, UV_RUN_DEFAULT);
	return NULL;
}

static void
host_start(struct host *h)
{
	cr_assert_eq(uv_loop_init(&h->loop), 0);
	cr_assert_eq(uv_async_init(&h->loop, &h->async, on_async), 0);
	h->async.data = h;
	sem_init(&h->task_done, 0, 0);
	cr_assert_eq(channel_server_start(&h->server, &h->loop, &h->o), ERR_OK);
	snprintf(h->url, sizeof h->url, "tcp://127.0.0.1:%u",
	    (unsigned)channel_server_port(h->server));
	cr_assert_eq(pthread_create(&h->thread, NULL, host_run, h), 0);
}

static void
host_init(struct host *h)
{
	memset(h, 0, sizeof *h);
	stub_init(&h->stub, &h->cx, h);
	h->o = (struct channel_server_options){
		.listen_url = "tcp://127.0.0.1:0",
		.cx = &h->cx,
		.on_request = on_request,
		.on_close = on_close,
		.cookie = h->cx.cookie,
	};
	channel_limits_default(&h->o.limits);
	h->o.limits.max_half_open_per_source = h->o.limits.max_half_open;
}

static void
on_stopped(void *cookie)
{
	struct host *h = cookie;

	h->stopped = true;
	uv_close((uv_handle_t *)&h->async, NULL);
}

static void
task_stop(struct host *h, void *arg)
{
	(void)arg;
	channel_server_stop(h->server, on_stopped, h);
}

/* Every test ends here: the loop runs dry and closes without a handle. */
static void
host_fini(struct host *h)
{
	host_do(h, task_stop, NULL);
	pthread_join(h->thread, NULL);
	cr_assert(h->stopped);
	cr_assert_eq(uv_loop_close(&h->loop), 0);
}

static void
task_stats(struct host *h, void *arg)
{
	channel_server_stats(h->server, arg);
}

static struct channel_stats
stats(struct host *h)
{
	struct channel_stats st;

	host_do(h, task_stats, &st);
	return st;
}

/* Answers the oldest held request by its number. */
static void
task_release(struct host *h, void *arg)
{
	char answer[16];
	int n = snprintf(answer, sizeof answer, "%u", h->n_released);

	(void)arg;
	cr_assert_lt(h->n_released, h->n_held);
	(void)channel_server_reply(h->server, h->held[h->n_released++],
	    (struct bytes){ (const uint8_t *)answer, (size_t)n });
}

static void
nap(void)
{
	const struct timespec t = { .tv_nsec = 2 * 1000 * 1000 };

	nanosleep(&t, NULL);
}

/* Waits for a condition that must come true. */
#define UNTIL(cond) \
	do { \
		uint64_t end_ = clock_mono_ms() + WAIT_MS; \
		while (!(cond)) { \
			cr_assert(clock_mono_ms() < end_, "never: %s", #cond); \
			nap(); \
		} \
	} while (0)

static void
setup(void)
{
	cr_assert_eq(secret_process_init(), ERR_OK);
	log_set_level(LOG_ERROR);
}

TestSuite(channel, .init = setup, .timeout = 120);

static struct bytes
text(const char *s)
{
	return (struct bytes){ (const uint8_t *)s, strlen(s) };
}

static void
expect_call(struct channel *c, const char *q, const char *a)
{
	struct buf reply = { 0 };
	struct refusal why = { 0 };

	cr_assert_eq(channel_call(c, &reply, text(q), WAIT_MS, &why), ERR_OK,
	    "%s", why.detail);
	cr_assert_eq(reply.len, strlen(a));
	cr_assert_str_eq(reply.len > 0 ? (char *)reply.p : "", a);
	buf_fini(&reply);
}

static struct channel *
expect_dial(struct host *h, struct channel_context *cx, enum channel_role role)
{
	struct channel *c = NULL;
	struct refusal why = { 0 };

	cr_assert_eq(channel_dial(&c, cx, role, h->url, WAIT_MS, &why), ERR_OK,
	    "%s: %s", reason_label(why.code), why.detail);
	return c;
}

static enum reason
expect_denied(struct host *h, struct channel_context *cx)
{
	struct channel *c = NULL;
	struct refusal why = { 0 };

	cr_assert_eq(channel_dial(&c, cx, CHANNEL_APP, h->url, WAIT_MS, &why),
	    ERR_DENIED);
	cr_assert_null(c);
	return why.code;
}

static unsigned
count_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned n = 0;

	cr_assert_not_null(d);
	while (readdir(d) != NULL)
		n++;
	closedir(d);
	return n;
}

/* ---- well-behaved peers ---- */

/* Apps and nodes get in, are known by role, and are answered; the largest
 * message passes, a larger one is refused without harm. */
Test(channel, works)
{
	static uint8_t big[LIMIT_MESSAGE + 1];
	struct host h;
	struct stub mine;
	struct channel_context cx;
	struct channel *c;
	struct buf reply = { 0 };

	host_init(&h);
	host_start(&h);
	stub_init(&mine, &cx, NULL);
	c = expect_dial(&h, &cx, CHANNEL_KMS_PEER);
	cr_assert_eq(h.stub.last_role, CHANNEL_KMS_PEER);
	cr_assert_eq(mine.last_role, CHANNEL_KMS_SERVER);
	cr_assert_eq(channel_peer(c)->boot.app_id[0], 42);
	channel_close(c);
	c = expect_dial(&h, &cx, CHANNEL_APP);
	cr_assert_eq(h.stub.last_role, CHANNEL_APP);
	expect_call(c, "hello", "hello");
	expect_call(c, "", "");
	cr_assert_eq(channel_call(c, &reply, (struct bytes){ big, sizeof big },
			 WAIT_MS, NULL),
	    ERR_LIMIT);
	big[77] = 1;
	cr_assert_eq(channel_call(c, &reply,
			 (struct bytes){ big, LIMIT_MESSAGE }, WAIT_MS, NULL),
	    ERR_OK);
	cr_assert_eq(reply.len, LIMIT_MESSAGE);
	cr_assert_arr_eq(reply.p, big, LIMIT_MESSAGE);
	cr_assert_eq(channel_renew(c, WAIT_MS, NULL), ERR_OK);
	expect_call(c, "again", "again");
	cr_assert_eq(stats(&h).sessions_open, 1);
	channel_close(c);
	UNTIL(h.closed == 2);
	cr_assert_eq(stats(&h).sessions_open + stats(&h).half_open, 0);
	buf_fini(&reply);
	host_fini(&h);
}

/* Both ends have one name for the session, and each session another. */
Test(channel, handshake_hash)
{
	struct host h;
	struct stub mine;
	struct channel_context cx;
	struct channel *c, *d;
	struct buf reply = { 0 };

	host_init(&h);
	host_start(&h);
	stub_init(&mine, &cx, NULL);
	c = expect_dial(&h, &cx, CHANNEL_KMS_PEER);
	d = expect_dial(&h, &cx, CHANNEL_KMS_PEER);
	cr_assert_eq(
	    channel_call(c, &reply, text("hash"), WAIT_MS, NULL), ERR_OK);
	cr_assert_eq(reply.len, 32);
	cr_assert_arr_eq(reply.p, channel_handshake_hash(c), 32);
	cr_assert_arr_neq(reply.p, channel_handshake_hash(d), 32);
	channel_close(c);
	channel_close(d);
	buf_fini(&reply);
	host_fini(&h);
}

/* ---- the abort switch ---- */

struct aborted {
	struct channel_context cx;
	const char *url;
	struct channel *c; /* NULL: dials */
	enum err e;
	uint64_t ms;
};

static void *
wait_for_peer(void *arg)
{
	struct aborted *a = arg;
	struct buf reply = { 0 };
	uint64_t from = clock_mono_ms();

	a->e = a->c == NULL
	    ? channel_dial(
		  &a->c, &a->cx, CHANNEL_KMS_PEER, a->url, WAIT_MS, NULL)
	    : channel_call(a->c, &reply, text("hold"), WAIT_MS, NULL);
	a->ms = clock_mono_ms() - from;
	buf_fini(&reply);
	return NULL;
}

/* A dial and a call that wait for a silent peer end when the switch is
 * fired; nothing begins until it is reset. */
Test(channel, abort)
{
	struct host h;
	struct stub mine;
	struct aborted a = { .url = h.url };
	pthread_t t;

	host_init(&h);
	host_start(&h);
	stub_init(&mine, &a.cx, NULL);
	cr_assert_eq(channel_abort_new(&a.cx.abort), ERR_OK);
	/* The dial: the peer thinks about our evidence. */
	h.stub.hold = true;
	cr_assert_eq(pthread_create(&t, NULL, wait_for_peer, &a), 0);
	sem_wait(&h.stub.held);
	channel_abort_fire(a.cx.abort);
	pthread_join(t, NULL);
	cr_assert_eq(a.e, ERR_IO);
	cr_assert_null(a.c);
	cr_assert_lt(a.ms, WAIT_MS / 4);
	h.stub.hold = false;
	sem_post(&h.stub.go);
	/* Still fired. */
	(void)wait_for_peer(&a);
	cr_assert_eq(a.e, ERR_IO);
	cr_assert_lt(a.ms, WAIT_MS / 4);
	/* The call. */
	channel_abort_reset(a.cx.abort);
	(void)wait_for_peer(&a);
	cr_assert_eq(a.e, ERR_OK);
	cr_assert_eq(pthread_create(&t, NULL, wait_for_peer, &a), 0);
	UNTIL(h.requests == 1);
	channel_abort_fire(a.cx.abort);
	pthread_join(t, NULL);
	cr_assert_eq(a.e, ERR_IO);
	cr_assert_lt(a.ms, WAIT_MS / 4);
	(void)wait_for_peer(&a);
	cr_assert_eq(a.e, ERR_PHASE); /* a channel that failed is over */
	channel_close(a.c);
	/* Between channels there is nothing to end. */
	channel_abort_fire(a.cx.abort);
	channel_abort_reset(a.cx.abort);
	channel_abort_free(a.cx.abort);
	host_fini(&h);
}

/* However it falls between the steps of a dial, the switch ends it. */
Test(channel, abort_anywhere)
{
	struct host h;
	struct stub mine;
	struct aborted a = { .url = h.url };
	pthread_t t;

	host_init(&h);
	host_start(&h);
	stub_init(&mine, &a.cx, NULL);
	cr_assert_eq(channel_abort_new(&a.cx.abort), ERR_OK);
	for (long i = 0; i < 300; i++) {
		const struct timespec later = { .tv_nsec = i * 10000 };

		cr_assert_eq(pthread_create(&t, NULL, wait_for_peer, &a), 0);
		(void)nanosleep(&later, NULL);
		channel_abort_fire(a.cx.abort);
		pthread_join(t, NULL);
		cr_assert(a.e == ERR_IO || a.e == ERR_OK);
		cr_assert_lt(a.ms, WAIT_MS / 4);
		channel_close(a.c);
		a.c = NULL;
		channel_abort_reset(a.cx.abort);
	}
	channel_abort_free(a.cx.abort);
	host_fini(&h);
}

/* A peer that the server's policy denies hears the reason, and costs no
 * quote. */
Test(channel, denied_by_server)
{
	struct host h;
	struct stub mine;
	struct channel_context cx;

	host_init(&h);
	host_start(&h);
	stub_init(&mine, &cx, NULL);
	h.stub.deny = REASON_CONTRACT_COMPOSE;
	cr_assert_eq(expect_denied(&h, &cx), REASON_CONTRACT_COMPOSE);
	cr_assert_eq(h.stub.proofs, 0);
	cr_assert_eq(mine.checks, 0);
	cr_assert_eq(stats(&h).refusals[REASON_CONTRACT_COMPOSE], 1);
	cr_assert_eq(stats(&h).sessions_open, 0);
	host_fini(&h);
}

/* A server that the dialler's policy denies gets no request. */
Test(channel, denied_by_dialler)
{
	struct host h;
	struct stub mine;
	struct channel_context cx;

	host_init(&h);
	host_start(&h);
	stub_init(&mine, &cx, NULL);
	mine.deny = REASON_SIMULATED;
	cr_assert_eq(expect_denied(&h, &cx), REASON_SIMULATED);
	UNTIL(stats(&h).sessions_open == 0 && stats(&h).half_open == 0);
	cr_assert_eq(h.requests, 0);
	host_fini(&h);
}

/* Another chain or another KMS contract is another channel. */
Test(channel, prologue)
{
	struct host h;
	struct stub mine;
	struct channel_context cx;

	host_init(&h);
	host_start(&h);
	stub_init(&mine, &cx, NULL);
	cx.chain_id++;
	cr_assert_eq(expect_denied(&h, &cx), REASON_HANDSHAKE);
	cx.chain_id--;
	cx.kms_contract[19] ^= 1;
	cr_assert_eq(expect_denied(&h, &cx), REASON_HANDSHAKE);
	cr_assert_eq(h.stub.checks + mine.checks + mine.proofs, 0);
	host_fini(&h);
}

/* One session more than allowed is told that the server is busy. */
Test(channel, session_budget)
{
	struct host h;
	struct stub mine;
	struct channel_context cx;
	struct channel *c;

	host_init(&h);
	h.o.limits.max_sessions = 1;
	host_start(&h);
	stub_init(&mine, &cx, NULL);
	c = expect_dial(&h, &cx, CHANNEL_APP);
	cr_assert_eq(expect_denied(&h, &cx), REASON_BUSY);
	expect_call(c, "still", "still");
	channel_close(c);
	UNTIL(stats(&h).sessions_open == 0);
	c = expect_dial(&h, &cx, CHANNEL_APP);
	channel_close(c);
	host_fini(&h);
}

/* A dropped session hears why; its connection answers nothing more. */
Test(channel, drop)
{
	struct host h;
	struct stub mine;
	struct channel_context cx;
	struct channel *c;
	struct buf reply = { 0 };
	struct refusal why = { 0 };

	host_init(&h);
	host_start(&h);
	stub_init(&mine, &cx, NULL);
	c = expect_dial(&h, &cx, CHANNEL_APP);
	cr_assert_eq(
	    channel_call(c, &reply, text("drop"), WAIT_MS, &why), ERR_DENIED);
	cr_assert_eq(why.code, REASON_SELF_DENIED);
	cr_assert_eq(
	    channel_call(c, &reply, text("x"), WAIT_MS, &why), ERR_PHASE);
	cr_assert_eq(channel_renew(c, WAIT_MS, &why), ERR_PHASE);
	cr_assert_eq(h.closed, 1);
	channel_close(c);
	host_fini(&h);
}

/* A request that is never answered times out at the caller alone. */
Test(channel, call_timeout)
{
	struct host h;
	struct stub mine;
	struct channel_context cx;
	struct channel *c;
	struct buf reply = { 0 };
	struct refusal why = { 0 };

	host_init(&h);
	host_start(&h);
	stub_init(&mine, &cx, NULL);
	c = expect_dial(&h, &cx, CHANNEL_APP);
	cr_assert_eq(
	    channel_call(c, &reply, text("hold"), 50, &why), ERR_TIMEOUT);
	cr_assert_eq(why.code, REASON_TIMEOUT);
	channel_close(c);
	host_fini(&h);
}

/* Evidence past half its life is renewed before a call, on the session. */
Test(channel, renewed_at_half_life)
{
	struct host h;
	struct stub mine;
	struct channel_context cx;
	struct channel *c;

	host_init(&h);
	host_start(&h);
	stub_init(&mine, &cx, NULL);
	c = expect_dial(&h, &cx, CHANNEL_APP);
	mine.now += LIFE_S / 2 - 1;
	expect_call(c, "a", "a");
	cr_assert_eq(mine.proofs, 1);
	mine.now += 1;
	expect_call(c, "b", "b");
	cr_assert_eq(mine.proofs, 2);
	cr_assert_eq(h.stub.proofs, 2);
	expect_call(c, "c", "c");
	cr_assert_eq(mine.proofs, 2);
	/* A clock that goes back renews too. */
	mine.now -= LIFE_S;
	expect_call(c, "d", "d");
	cr_assert_eq(mine.proofs, 3);
	/* A renewal may be denied: then the session is over. */
	h.stub.deny = REASON_REVOKED;
	struct refusal why = { 0 };
	cr_assert_eq(channel_renew(c, WAIT_MS, &why), ERR_DENIED);
	cr_assert_eq(why.code, REASON_REVOKED);
	UNTIL(h.closed == 1);
	channel_close(c);
	host_fini(&h);
}

/* With expired evidence no request reaches the handler; one that renews in
 * time goes on, one that does not is dropped. */
Test(channel, evidence_expires)
{
	struct host h;
	struct stub mine;
	struct channel_context cx;
	struct channel *c;
	struct buf reply = { 0 };
	struct refusal why = { 0 };

	host_init(&h);
	h.o.limits.handshake_timeout_ms = WAIT_MS;
	host_start(&h);
	stub_init(&mine, &cx, NULL);
	c = expect_dial(&h, &cx, CHANNEL_APP);
	/* Only the server's clock says so: refused, renewed, asked again. */
	h.stub.now += LIFE_S;
	expect_call(c, "late", "late");
	cr_assert_eq(h.requests, 1);
	cr_assert_eq(stats(&h).refusals[REASON_EVIDENCE_EXPIRED], 1);
	cr_assert_eq(h.stub.checks, 2);
	/* And now nobody renews. */
	h.stub.now += LIFE_S + 60;
	UNTIL(h.closed == 1);
	cr_assert_eq(
	    channel_call(c, &reply, text("x"), WAIT_MS, &why), ERR_DENIED);
	cr_assert_eq(why.code, REASON_EVIDENCE_EXPIRED);
	cr_assert_eq(h.requests, 1);
	channel_close(c);
	host_fini(&h);
}

struct caller {
	struct host *h;
	pthread_t thread;
	int id;
};

static void *
caller_run(void *arg)
{
	struct caller *k = arg;
	struct stub mine;
	struct channel_context cx;
	struct channel *c;
	char q[32];

	stub_init(&mine, &cx, NULL);
	c = expect_dial(k->h, &cx, CHANNEL_APP);
	for (int i = 0; i < 50; i++) {
		snprintf(q, sizeof q, "%d/%d", k->id, i);
		expect_call(c, q, q);
	}
	channel_close(c);
	return NULL;
}

/* Clients at once get each their own answers, in their own order. */
Test(channel, concurrent_clients)
{
	struct host h;
	struct caller k[8];

	host_init(&h);
	host_start(&h);
	for (int i = 0; i < 8; i++) {
		k[i] = (struct caller){ .h = &h, .id = i };
		cr_assert_eq(
		    pthread_create(&k[i].thread, NULL, caller_run, &k[i]), 0);
	}
	for (int i = 0; i < 8; i++)
		pthread_join(k[i].thread, NULL);
	cr_assert_eq(h.requests, 8 * 50);
	host_fini(&h);
}

/* ---- peers made by hand ---- */

struct raw {
	int fd;
	uint8_t s[32], s_pub[32];
	struct session *session;
	struct buf out;
	struct session_event ev;
	uint8_t in[4096];
	struct bytes left;
};

static void
raw_connect_from(struct raw *r, struct host *h, uint32_t address)
{
	const struct timeval limit = { .tv_sec = WAIT_MS / 1000 };
	struct sockaddr_in from = { .sin_family = AF_INET,
		.sin_addr.s_addr = htonl(address) };
	struct sockaddr_in a = { .sin_family = AF_INET,
		.sin_port = htons(channel_server_port(h->server)),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };

	*r = (struct raw){ .fd = socket(AF_INET, SOCK_STREAM, 0) };
	cr_assert_geq(r->fd, 0);
	cr_assert_eq(bind(r->fd, (struct sockaddr *)&from, sizeof from), 0);
	cr_assert_eq(connect(r->fd, (struct sockaddr *)&a, sizeof a), 0);
	setsockopt(r->fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
}

static void
raw_connect(struct raw *r, struct host *h)
{
	raw_connect_from(r, h, INADDR_LOOPBACK);
}

static void
raw_send(struct raw *r, const void *p, size_t n)
{
	(void)!send(r->fd, p, n, MSG_NOSIGNAL);
}

static void
raw_flush(struct raw *r)
{
	raw_send(r, r->out.p, r->out.len);
	r->out.len = 0;
}

/* True when the server has ended the connection (in time). */
static bool
raw_ended(struct raw *r)
{
	ssize_t n;

	do {
		errno = 0;
		n = recv(r->fd, r->in, sizeof r->in, 0);
	} while (n > 0);
	return n == 0 || errno == ECONNRESET;
}

static void
raw_next(struct raw *r)
{
	struct refusal why;
	ssize_t n;

	do {
		raw_flush(r);
		if (r->left.len == 0) {
			n = recv(r->fd, r->in, sizeof r->in, 0);
			cr_assert_gt(n, 0);
			r->left = (struct bytes){ r->in, (size_t)n };
		}
		cr_assert_eq(session_feed(r->session, &r->ev, &r->out, &r->left,
				 clock_mono_ms(), &why),
		    ERR_OK);
	} while (r->ev.kind == SESSION_IDLE);
	raw_flush(r);
}

/* A whole attested session over a plain socket. */
static void
raw_open_from(struct raw *r, struct host *h, uint32_t address)
{
	struct session_options o = { .role = CHANNEL_APP,
		.chain_id = h->cx.chain_id,
		.kms_contract = h->cx.kms_contract };
	struct evidence e = { .tee = TEE_TDX };

	raw_connect_from(r, h, address);
	secret_random(r->s, 32);
	noise_public(r->s_pub, r->s);
	o.s = r->s;
	o.s_pub = r->s_pub;
	cr_assert_eq(
	    session_new(&r->session, &r->out, &o, clock_mono_ms()), ERR_OK);
	raw_next(r);
	cr_assert_eq(r->ev.kind, SESSION_PROVE);
	cr_assert_eq(buf_set(&e.quote, r->ev.report_data, 64), ERR_OK);
	cr_assert_eq(session_proved(r->session, &r->ev, &r->out, &e,
			 clock_mono_ms(), NULL),
	    ERR_OK);
	evidence_fini(&e);
	raw_next(r);
	cr_assert_eq(r->ev.kind, SESSION_CHECK);
	cr_assert_eq(session_checked(r->session, &r->ev), ERR_OK);
}

static void
raw_open(struct raw *r, struct host *h)
{
	raw_open_from(r, h, INADDR_LOOPBACK);
}

static void
raw_request(struct raw *r, const char *q)
{
	cr_assert_eq(
	    session_request(r->session, &r->out, text(q), clock_mono_ms()),
	    ERR_OK);
}

static void
raw_close(struct raw *r)
{
	close(r->fd);
	session_free(r->session);
	buf_fini(&r->out);
}

/* Gone without a word: a reset, as of a killed machine. */
static void
raw_kill(struct raw *r)
{
	const struct linger now = { .l_onoff = 1 };

	setsockopt(r->fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
	raw_close(r);
}

static void
expect_service(struct host *h)
{
	struct stub mine;
	struct channel_context cx;
	struct channel *c;

	stub_init(&mine, &cx, NULL);
	c = expect_dial(h, &cx, CHANNEL_APP);
	expect_call(c, "service", "service");
	channel_close(c);
}

/* Connections beyond the half-open budgets are closed at once; those
 * within are left alone, and the budget comes back. */
Test(channel, half_open_budgets)
{
	struct host h;
	struct raw r[4];

	host_init(&h);
	h.o.limits.max_half_open = 8;
	h.o.limits.max_half_open_per_source = 3;
	host_start(&h);
	for (int i = 0; i < 4; i++) {
		raw_connect(&r[i], &h);
		UNTIL(stats(&h).accepted == (uint64_t)i + 1);
	}
	cr_assert(raw_ended(&r[3]));
	cr_assert_eq(stats(&h).refused_budget, 1);
	cr_assert_eq(stats(&h).half_open, 3);
	raw_close(&r[0]);
	UNTIL(stats(&h).half_open == 2);
	expect_service(&h);
	for (int i = 1; i < 4; i++)
		raw_close(&r[i]);
	host_fini(&h);

	host_init(&h);
	h.o.limits.max_half_open = 2;
	h.o.limits.max_half_open_per_source = 8;
	host_start(&h);
	for (int i = 0; i < 3; i++) {
		raw_connect(&r[i], &h);
		UNTIL(stats(&h).accepted == (uint64_t)i + 1);
	}
	cr_assert(raw_ended(&r[2]));
	for (int i = 0; i < 3; i++)
		raw_close(&r[i]);
	host_fini(&h);
}

/* A source may begin so many handshakes, and then no more for a while; nothing
 * is read of one more, others are served, and so is this one, later. */
Test(channel, handshake_rate)
{
	const uint32_t rude = INADDR_LOOPBACK + 1;
	struct host h;
	struct raw r;
	uint64_t start = clock_mono_ms(), taken = 0;

	host_init(&h);
	h.o.limits.handshakes_per_source = 2; /* four at once */
	host_start(&h);
	/* The kernel may answer no more after the first that is refused. */
	while (stats(&h).refused_rate == 0) {
		uint64_t accepted = stats(&h).accepted;

		raw_connect_from(&r, &h, rude);
		UNTIL(stats(&h).accepted > accepted);
		taken = stats(&h).accepted - stats(&h).refused_rate;
		if (stats(&h).refused_rate > 0)
			cr_assert(raw_ended(&r));
		raw_close(&r);
		UNTIL(stats(&h).half_open == 0);
		cr_assert_leq(
		    taken, 4 + 2 * (clock_mono_ms() - start) / 1000 + 1);
	}
	cr_assert_geq(taken, 4);
	cr_assert_eq(stats(&h).refused_budget, 0);
	cr_assert_eq(h.stub.checks, 0);
	expect_service(&h);
	cr_assert_leq(stats(&h).muted, 1);
	/* Its first try may be dropped: the kernel tries again after 1, 3 s. */
	do {
		uint64_t accepted = stats(&h).accepted;

		raw_connect_from(&r, &h, rude);
		UNTIL(stats(&h).accepted > accepted);
		taken = stats(&h).half_open;
		raw_close(&r);
	} while (taken == 0);
	host_fini(&h);
}

/* So many sessions with one source; one more is told, before we prove anything
 * to it, and another source is served. */
Test(channel, sessions_per_source)
{
	struct host h;
	struct raw r[2], other;
	struct stub mine;
	struct channel_context cx;
	int proofs;

	host_init(&h);
	h.o.limits.max_sessions_per_source = 2;
	host_start(&h);
	stub_init(&mine, &cx, NULL);
	raw_open(&r[0], &h);
	raw_open(&r[1], &h);
	proofs = h.stub.proofs;
	cr_assert_eq(expect_denied(&h, &cx), REASON_BUSY);
	cr_assert_eq(h.stub.proofs, proofs);
	raw_open_from(&other, &h, INADDR_LOOPBACK + 1);
	raw_request(&other, "q");
	raw_next(&other);
	cr_assert_eq(other.ev.kind, SESSION_REPLY);
	/* KMS nodes have each other whatever apps do. */
	channel_close(expect_dial(&h, &cx, CHANNEL_KMS_PEER));
	raw_close(&r[0]);
	UNTIL(stats(&h).sessions_open == 2);
	expect_service(&h);
	raw_close(&r[1]);
	raw_close(&other);
	host_fini(&h);
}

/* So many with one platform, wherever it calls from and whatever app it says
 * it runs; of one app half as many. */
Test(channel, sessions_per_device)
{
	struct host h;
	struct raw r[4];
	struct stub mine;
	struct channel_context cx;

	host_init(&h);
	h.o.limits.max_sessions_per_device = 4;
	host_start(&h);
	stub_init(&mine, &cx, NULL);
	for (uint32_t i = 0; i < 4; i++) {
		h.stub.app = i < 2 ? 0 : 1;
		raw_open_from(&r[i], &h, INADDR_LOOPBACK + i);
		if (i == 1) /* of this app no third */
			cr_assert_eq(expect_denied(&h, &cx), REASON_BUSY);
	}
	h.stub.app = 2;
	cr_assert_eq(expect_denied(&h, &cx), REASON_BUSY);
	h.stub.device = 1;
	expect_service(&h);
	h.stub.device = 0;
	raw_close(&r[0]);
	UNTIL(stats(&h).sessions_open == 3);
	expect_service(&h);
	for (int i = 1; i < 4; i++)
		raw_close(&r[i]);
	host_fini(&h);
}

/* Apps cannot take the place that is kept for KMS nodes. */
Test(channel, place_for_peers)
{
	struct host h;
	struct raw r[15];
	struct stub mine;
	struct channel_context cx;
	struct channel *peer;

	host_init(&h);
	h.o.limits.max_sessions = 16;
	host_start(&h);
	stub_init(&mine, &cx, NULL);
	for (int i = 0; i < 15; i++)
		raw_open(&r[i], &h);
	cr_assert_eq(expect_denied(&h, &cx), REASON_BUSY);
	peer = expect_dial(&h, &cx, CHANNEL_KMS_PEER);
	expect_call(peer, "batch", "batch");
	cr_assert_eq(stats(&h).sessions_open, 16);
	channel_close(peer);
	for (int i = 0; i < 15; i++)
		raw_close(&r[i]);
	host_fini(&h);
}

/* Asks once; true if that was within the rate. */
static bool
raw_asks(struct raw *r)
{
	raw_request(r, "q");
	raw_next(r);
	cr_assert_eq(r->ev.kind, SESSION_REPLY);
	return r->ev.body.len == 1;
}

/* A session may ask so often, and is told of each request more; one that goes
 * on all the same is ended.  Time brings it back, and KMS nodes are not held
 * to it. */
Test(channel, request_rate)
{
	struct host h;
	struct raw r;
	struct stub mine;
	struct channel_context cx;
	struct channel *peer;
	uint64_t start;
	unsigned n = 0, over = 0;

	host_init(&h);
	h.o.limits.requests_per_session = 5; /* ten at once */
	host_start(&h);
	stub_init(&mine, &cx, NULL);
	raw_open(&r, &h);
	start = clock_mono_ms();
	while (raw_asks(&r))
		n++;
	cr_assert_geq(n, 10);
	cr_assert_leq(n, 10 + 5 * (clock_mono_ms() - start + 1000) / 1000);
	UNTIL(raw_asks(&r));
	/* Two hundred refusals, and what time brings, then no more. */
	for (bool ended = false; !ended; over++) {
		struct refusal why;
		ssize_t got;

		raw_request(&r, "q");
		raw_flush(&r);
		if ((got = recv(r.fd, r.in, sizeof r.in, 0)) <= 0)
			break;
		r.left = (struct bytes){ r.in, (size_t)got };
		ended = session_feed(r.session, &r.ev, &r.out, &r.left,
			    clock_mono_ms(), &why) != ERR_OK;
		if (ended)
			cr_assert_eq(why.code, REASON_RATE);
	}
	cr_assert_geq(over, 50);
	cr_assert_geq(stats(&h).refusals[REASON_RATE], 1);
	raw_close(&r);
	peer = expect_dial(&h, &cx, CHANNEL_KMS_PEER);
	for (int i = 0; i < 300; i++)
		expect_call(peer, "batch", "batch");
	channel_close(peer);
	host_fini(&h);
}

/* The sessions of a platform share a rate: one that has not asked yet finds
 * that the others have. */
Test(channel, request_rate_of_a_device)
{
	struct host h;
	struct raw r[40];
	unsigned n = 0;
	bool first;

	host_init(&h);
	h.o.limits.requests_per_session = 1; /* two at once; of all eight */
	h.o.limits.max_sessions_per_device = 200;
	host_start(&h);
	do {
		cr_assert_lt(n, 40);
		raw_open(&r[n], &h);
		first = raw_asks(&r[n]);
		if (first)
			(void)raw_asks(&r[n]);
		n++;
	} while (first);
	cr_assert_gt(n, 4);
	/* Another platform has its own. */
	h.stub.device = 1;
	raw_close(&r[0]);
	raw_open(&r[0], &h);
	cr_assert(raw_asks(&r[0]));
	for (unsigned i = 0; i < n; i++)
		raw_close(&r[i]);
	host_fini(&h);
}

/* A request that does not end, however it drips, is cut in its time; so is who
 * does not read.  Others are served meanwhile. */
Test(channel, slow_sessions)
{
	static char large[300 * 1024];
	const int small = 4096;
	struct host h;
	struct raw drip, deaf;
	uint64_t start, end;

	host_init(&h);
	h.o.limits.message_timeout_ms = 500;
	host_start(&h);
	raw_open(&drip, &h);
	raw_request(&drip, "a request");
	start = clock_mono_ms();
	end = start + WAIT_MS;
	for (size_t i = 0; stats(&h).refusals[REASON_TIMEOUT] == 0; i++) {
		if (i < drip.out.len - 1)
			raw_send(&drip, drip.out.p + i, 1);
		cr_assert_lt(clock_mono_ms(), end);
		if (i % 8 == 0)
			expect_service(&h);
		for (int k = 0; k < 25; k++)
			nap();
	}
	cr_assert_geq(clock_mono_ms() - start, 500);
	cr_assert(raw_ended(&drip));
	raw_open(&deaf, &h);
	memset(large, 'x', sizeof large - 1);
	setsockopt(deaf.fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
	for (int i = 0; i < 64; i++)
		raw_request(&deaf, large);
	for (size_t at = 0; stats(&h).refusals[REASON_TIMEOUT] == 1;) {
		ssize_t n = send(deaf.fd, deaf.out.p + at, deaf.out.len - at,
		    MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n > 0)
			at += (size_t)n;
		cr_assert_lt(clock_mono_ms(), end + WAIT_MS);
		cr_assert_leq(stats(&h).memory, 8u << 20);
		nap();
	}
	expect_service(&h);
	raw_close(&drip);
	raw_close(&deaf);
	UNTIL(stats(&h).memory == 0);
	host_fini(&h);
}

/* Of all connections together so many bytes: who holds much is ended then, and
 * who holds little is not. */
Test(channel, memory_of_all)
{
	static char large[900 * 1024];
	struct host h;
	struct raw r[4], quiet;
	unsigned ended = 0;

	host_init(&h);
	h.o.limits.max_memory = 4u << 20;
	host_start(&h);
	raw_open(&quiet, &h);
	memset(large, 'x', sizeof large - 1);
	for (int i = 0; i < 4; i++) {
		raw_open(&r[i], &h);
		raw_request(&r[i], large);
		raw_send(&r[i], r[i].out.p, r[i].out.len - 1);
		/* Whatever is read has been. */
		for (int k = 0; k < 50; k++) {
			cr_assert_leq(
			    stats(&h).memory, (4u << 20) + (2u << 20) + 100000);
			nap();
		}
	}
	UNTIL(stats(&h).refusals[REASON_BUSY] > 0);
	for (int i = 0; i < 4; i++) {
		char c;

		ended += recv(r[i].fd, &c, 1, MSG_DONTWAIT) >= 0;
	}
	cr_assert_geq(ended, 1);
	/* What it held is let go at once. */
	cr_assert_eq(ended, 1);
	cr_assert(raw_asks(&quiet));
	expect_service(&h);
	for (int i = 0; i < 4; i++)
		raw_close(&r[i]);
	raw_close(&quiet);
	UNTIL(stats(&h).memory == 0);
	host_fini(&h);
}

static long
cpu_ms(void)
{
	struct rusage u;

	cr_assert_eq(getrusage(RUSAGE_SELF, &u), 0);
	return 1000 * (u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
	    (u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1000;
}

/* Without a descriptor nobody is taken, nothing turns, and who is in notices
 * nothing; when there are some again, who waited is taken. */
Test(channel, no_descriptors_left)
{
	struct host h;
	struct raw old, waits;
	struct rlimit before, few;
	int filled[128], n = 0, fd;
	uint64_t start, taken;
	long used;

	host_init(&h);
	host_start(&h);
	raw_open(&old, &h);
	cr_assert(raw_asks(&old));
	taken = stats(&h).accepted;
	cr_assert_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
	few = (struct rlimit){ 128, before.rlim_max };
	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
	while ((fd = dup(0)) >= 0)
		filled[n++] = fd;
	cr_assert_eq(errno, EMFILE);
	cr_assert_gt(n, 1);
	close(filled[--n]); /* for our end */
	raw_connect(&waits, &h);
	used = cpu_ms();
	start = clock_mono_ms();
	while (clock_mono_ms() - start < 2500 || stats(&h).accept_failed == 0) {
		cr_assert_lt(clock_mono_ms() - start, WAIT_MS);
		cr_assert(raw_asks(&old));
		for (int k = 0; k < 50; k++)
			nap();
	}
	used = cpu_ms() - used;
	cr_assert_lt(used, 1000, "%ld ms of CPU", used);
	/* 32 a tick, and a few ticks. */
	cr_assert_lt(stats(&h).accept_failed, 32 * (WAIT_MS / 1000));
	cr_assert_eq(stats(&h).accepted, taken);
	while (n > 0)
		close(filled[--n]);
	UNTIL(stats(&h).accepted == taken + 1);
	expect_service(&h);
	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
	raw_close(&waits);
	raw_close(&old);
	host_fini(&h);
}

/* With many half-open handshakes a dialler must answer a challenge first;
 * ours does, and gets in. */
Test(channel, challenge_under_load)
{
	struct host h;
	struct raw idle[4], r;
	struct session_options o = { .role = CHANNEL_APP };

	host_init(&h);
	h.o.limits.max_half_open = 8;
	host_start(&h);
	for (int i = 0; i < 4; i++)
		raw_connect(&idle[i], &h);
	UNTIL(stats(&h).half_open == 4);
	raw_connect(&r, &h);
	secret_random(r.s, 32);
	noise_public(r.s_pub, r.s);
	o.s = r.s;
	o.s_pub = r.s_pub;
	o.chain_id = h.cx.chain_id;
	o.kms_contract = h.cx.kms_contract;
	cr_assert_eq(
	    session_new(&r.session, &r.out, &o, clock_mono_ms()), ERR_OK);
	raw_flush(&r);
	cr_assert_eq(recv(r.fd, r.in, 40, MSG_WAITALL), 40);
	cr_assert_eq(r.in[3], 2); /* RETRY */
	expect_service(&h);
	raw_close(&r);
	for (int i = 0; i < 4; i++)
		raw_close(&idle[i]);
	host_fini(&h);
}

/* Silence, or a byte now and then, ends with the handshake's time. */
Test(channel, slow_peers)
{
	struct host h;
	struct raw silent, slow;
	uint64_t end;

	host_init(&h);
	h.o.limits.handshake_timeout_ms = 150;
	host_start(&h);
	raw_connect(&silent, &h);
	raw_connect(&slow, &h);
	end = clock_mono_ms() + WAIT_MS;
	for (int i = 0; stats(&h).handshake_failed < 2; i++) {
		if (i % 8 == 0 && i < 9 * 8)
			raw_send(&slow, &"DK\1\1\0\0\0\101\3"[i / 8], 1);
		cr_assert_lt(clock_mono_ms(), end);
		nap();
	}
	cr_assert(raw_ended(&silent) && raw_ended(&slow));
	cr_assert_eq(stats(&h).refusals[REASON_TIMEOUT], 2);
	raw_close(&silent);
	raw_close(&slow);
	host_fini(&h);
}

/* An open session ends with its idle time: one that says nothing, and one
 * that says a byte of a request now and then (its own time, here, is long).
 * Whole requests keep one that is as old. */
Test(channel, idle_sessions)
{
	static char large[4096];
	struct host h;
	struct raw silent, drip, live;
	uint64_t end, asked, gap = 0;

	host_init(&h);
	h.o.limits.idle_timeout_ms = 1500;
	host_start(&h);
	raw_open(&live, &h);
	asked = clock_mono_ms();
	raw_open(&silent, &h);
	raw_open(&drip, &h);
	memset(large, 'x', sizeof large - 1);
	raw_request(&drip, large);
	end = clock_mono_ms() + WAIT_MS;
	for (size_t i = 0; stats(&h).sessions_open > 1; i++) {
		cr_assert_lt(i, drip.out.len - 1);
		raw_send(&drip, drip.out.p + i, 1);
		cr_assert_lt(clock_mono_ms(), end, "it drips on");
		if (clock_mono_ms() - asked > gap)
			gap = clock_mono_ms() - asked;
		if (gap < 1000)
			cr_assert(raw_asks(&live));
		asked = clock_mono_ms();
		for (int k = 0; k < 10; k++)
			nap();
	}
	/* Unless this machine left us no time to ask. */
	if (clock_mono_ms() - asked > gap)
		gap = clock_mono_ms() - asked;
	cr_assert(gap >= 1000 || raw_asks(&live));
	cr_assert(raw_ended(&silent) && raw_ended(&drip));
	cr_assert_geq(stats(&h).refusals[REASON_TIMEOUT], 2);
	raw_close(&silent);
	raw_close(&drip);
	raw_close(&live);
	host_fini(&h);
}

/* Garbage, other protocols, wrong versions, over-long frames, half-closed
 * and unfinished streams are each ended, and nothing is checked for them. */
Test(channel, bad_bytes)
{
	static const struct {
		const char *p;
		size_t n;
		bool close_half;
	} t[] = {
		{ "GET / HTTP/1.1\r\n\r\n", 18, false },
		{ "\0SP\0\0\x30\0\0", 8, false },
		{ "\x16\x03\x01\x02\0\x01\0\x01", 8, false },
		{ "DK\2\1\0\0\0\x41", 8, false },
		{ "DK\1\0\0\0\0\x41", 8, false },
		{ "DK\1\5\0\0\0\x41", 8, false },
		{ "DK\1\1\0\0\0\x42", 8, false },
		{ "DK\1\1\xff\xff\xff\xff", 8, false },
		{ "DK\1\1\0\0\0\x40", 8, false },
		{ "DK\1\1", 4, true },
		{ "", 0, true },
	};
	struct host h;

	host_init(&h);
	host_start(&h);
	for (size_t i = 0; i < sizeof t / sizeof t[0]; i++) {
		struct raw r;

		raw_connect(&r, &h);
		raw_send(&r, t[i].p, t[i].n);
		if (t[i].close_half)
			shutdown(r.fd, SHUT_WR);
		cr_assert(raw_ended(&r), "case %zu", i);
		raw_close(&r);
	}
	UNTIL(stats(&h).half_open == 0);
	cr_assert_eq(stats(&h).frames_refused, 9);
	cr_assert_eq(stats(&h).refusals[REASON_FRAME_TOO_LARGE], 2);
	cr_assert_eq(h.stub.checks + h.stub.proofs, 0);
	expect_service(&h);
	host_fini(&h);
}

/* An attested peer that tampers is told and dropped, even while it is
 * still sending. */
Test(channel, bad_frames_after_authentication)
{
	static uint8_t junk[200 * 1024];
	struct host h;
	struct raw r;
	struct refusal why = { 0 };
	enum err e = ERR_OK;

	host_init(&h);
	host_start(&h);
	raw_open(&r, &h);
	raw_request(&r, "q");
	r.out.p[r.out.len - 1] ^= 1;
	raw_flush(&r);
	raw_send(&r, junk, sizeof junk);
	while (e == ERR_OK) {
		ssize_t n = recv(r.fd, r.in, sizeof r.in, 0);

		cr_assert_gt(n, 0);
		r.left = (struct bytes){ r.in, (size_t)n };
		e = session_feed(
		    r.session, &r.ev, &r.out, &r.left, clock_mono_ms(), &why);
	}
	cr_assert_eq(e, ERR_DENIED);
	cr_assert(session_refused_by_peer(r.session));
	cr_assert_eq(why.code, REASON_FRAME);
	cr_assert_eq(h.requests, 0);
	raw_close(&r);
	host_fini(&h);
}

/* Answers come in the order of the requests, and no more requests are read
 * than may be unanswered. */
Test(channel, pipelined)
{
	struct host h;
	struct raw r;

	host_init(&h);
	h.o.limits.max_pending_requests = 2;
	host_start(&h);
	raw_open(&r, &h);
	for (int i = 0; i < 4; i++)
		raw_request(&r, "hold");
	raw_flush(&r);
	UNTIL(h.requests == 2);
	for (unsigned i = 0; i < 4; i++) {
		/* Whatever was going to be read has been. */
		for (int k = 0; k < 20; k++)
			(void)stats(&h);
		cr_assert_eq(h.requests, i < 2 ? i + 2 : 4);
		host_do(&h, task_release, NULL);
		raw_next(&r);
		cr_assert_eq(r.ev.kind, SESSION_REPLY);
		cr_assert_eq(r.ev.body.len, 1);
		cr_assert_eq(r.ev.body.p[0], '0' + i);
	}
	raw_close(&r);
	host_fini(&h);
}

/* Two hundred busy clients killed in every phase cost no descriptor, and
 * service goes on (nng 1.5.2 leaks one each behind its REP protocol). */
Test(channel, killed_clients)
{
	struct host h;
	unsigned before;

	host_init(&h);
	host_start(&h);
	expect_service(&h);
	UNTIL(stats(&h).sessions_open == 0);
	before = count_fds();
	for (int i = 0; i < 200; i++) {
		struct raw r;

		if (i % 4 == 0) {
			raw_connect(&r, &h);
			raw_send(&r, "DK\1\1\0", 5);
		} else {
			raw_open(&r, &h);
			raw_request(&r, i % 4 == 1 ? "hold" : "q");
			raw_request(&r, "hold");
			if (i % 4 == 3)
				r.out.len -= 5;
			raw_flush(&r);
		}
		raw_kill(&r);
	}
	UNTIL(stats(&h).sessions_open + stats(&h).half_open == 0);
	UNTIL(count_fds() <= before);
	/* Nobody is there to be answered. */
	host_do(&h, task_release, NULL);
	cr_assert_gt(h.n_held, 0);
	expect_service(&h);
	UNTIL(count_fds() <= before);
	host_fini(&h);
}

/* ---- a hostile listener ---- */

struct hostile {
	int fd;
	unsigned rounds;
	pthread_t thread;
};

static void *
hostile_run(void *arg)
{
	static const char answer[] = "DK\1\3\0\0\0\x60"
				     "0123456789";
	struct hostile *x = arg;

	for (unsigned i = 0; i < x->rounds; i++) {
		const struct linger now = { .l_onoff = 1 };
		int fd = accept(x->fd, NULL, NULL);
		char in[73];

		if (i % 5 != 0)
			(void)!recv(fd, in, sizeof in, MSG_WAITALL);
		if (i % 5 == 2)
			(void)!send(fd, answer, 18, MSG_NOSIGNAL);
		if (i % 5 == 3)
			(void)!send(fd, in, sizeof in, MSG_NOSIGNAL);
		if (i % 5 == 4)
			(void)!send(fd, "\0SP\0\0\x51\0\0", 8, MSG_NOSIGNAL);
		if (i % 2 == 0)
			setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
		close(fd);
	}
	return NULL;
}

/* A listener that resets, echoes or babbles after handshake bytes fails
 * the dial, and does nothing else to us (nng's PUSH dialler aborts). */
Test(channel, hostile_listener)
{
	struct sockaddr_in a = { .sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof a;
	struct hostile x = { .rounds = 60 };
	struct stub mine;
	struct channel_context cx;
	unsigned before = 0;
	char url[64];

	stub_init(&mine, &cx, NULL);
	x.fd = socket(AF_INET, SOCK_STREAM, 0);
	cr_assert_eq(bind(x.fd, (struct sockaddr *)&a, sizeof a), 0);
	cr_assert_eq(listen(x.fd, 16), 0);
	cr_assert_eq(getsockname(x.fd, (struct sockaddr *)&a, &len), 0);
	snprintf(url, sizeof url, "tcp://127.0.0.1:%u", ntohs(a.sin_port));
	cr_assert_eq(pthread_create(&x.thread, NULL, hostile_run, &x), 0);
	for (unsigned i = 0; i < x.rounds; i++) {
		struct channel *c = NULL;
		struct refusal why = { 0 };
		enum err e =
		    channel_dial(&c, &cx, CHANNEL_KMS_PEER, url, WAIT_MS, &why);

		cr_assert(e == ERR_IO || e == ERR_DENIED, "%s", err_text(e));
		cr_assert_null(c);
		cr_assert_neq(why.code, REASON_NONE);
		if (i == 10)
			before = count_fds();
	}
	pthread_join(x.thread, NULL);
	UNTIL(count_fds() <= before + 1);
	cr_assert_eq(mine.proofs, 0);

	/* One that accepts and says nothing, one that is not there, and no
	 * address at all. */
	struct channel *c = NULL;
	struct refusal why = { 0 };

	cr_assert_eq(
	    channel_dial(&c, &cx, CHANNEL_APP, url, 50, &why), ERR_TIMEOUT);
	close(x.fd);
	cr_assert_eq(
	    channel_dial(&c, &cx, CHANNEL_APP, url, WAIT_MS, &why), ERR_IO);
	cr_assert_eq(channel_dial(&c, &cx, CHANNEL_APP, "nowhere", 50, &why),
	    ERR_CONFIG);
	cr_assert_eq(channel_dial(&c, &cx, CHANNEL_KMS_SERVER, url, 50, &why),
	    ERR_CONFIG);
}

/* ---- the end ---- */

static void *
dial_and_fail(void *arg)
{
	struct host *h = arg;
	struct stub mine;
	struct channel_context cx;
	struct channel *c = NULL;
	struct refusal why = { 0 };

	stub_init(&mine, &cx, NULL);
	cr_assert_neq(
	    channel_dial(&c, &cx, CHANNEL_APP, h->url, WAIT_MS, &why), ERR_OK);
	return NULL;
}

/* Stopping while a worker is busy, sessions are open and requests are
 * unanswered waits for the worker and leaks nothing. */
Test(channel, stop_with_work_in_flight)
{
	struct host h;
	struct raw r, half;
	pthread_t dialler;

	host_init(&h);
	host_start(&h);
	raw_open(&r, &h);
	raw_request(&r, "hold");
	raw_flush(&r);
	raw_connect(&half, &h);
	UNTIL(h.requests == 1 && stats(&h).half_open == 1);
	h.stub.hold = true;
	cr_assert_eq(pthread_create(&dialler, NULL, dial_and_fail, &h), 0);
	sem_wait(&h.stub.held);
	host_do(&h, task_stop, NULL);
	pthread_join(dialler, NULL);
	sem_post(&h.stub.go);
	pthread_join(h.thread, NULL);
	cr_assert(h.stopped);
	cr_assert_eq(h.closed, 1);
	cr_assert_eq(uv_loop_close(&h.loop), 0);
	raw_close(&r);
	raw_close(&half);
}

/* A client that leaves while its evidence is looked at is let go. */
Test(channel, gone_during_check)
{
	struct host h;
	pthread_t dialler;

	host_init(&h);
	h.o.limits.handshake_timeout_ms = 1000;
	host_start(&h);
	h.stub.hold = true;
	cr_assert_eq(pthread_create(&dialler, NULL, dial_and_fail, &h), 0);
	sem_wait(&h.stub.held);
	pthread_join(dialler, NULL); /* timed out by the server */
	cr_assert_eq(stats(&h).half_open, 1); /* still counted */
	h.stub.hold = false;
	sem_post(&h.stub.go);
	UNTIL(stats(&h).half_open == 0);
	cr_assert_eq(h.stub.proofs, 0);
	expect_service(&h);
	host_fini(&h);
}

/* Bad addresses and limits of zero are configuration errors; a port in
 * use is an I/O error. */
Test(channel, start_refusals)
{
	struct host h;
	struct channel_server *s = NULL;
	struct channel_server_options o;

	host_init(&h);
	host_start(&h);
	o = h.o;
	o.listen_url = "nowhere";
	cr_assert_eq(channel_server_start(&s, &h.loop, &o), ERR_CONFIG);
	o.listen_url = h.url;
	cr_assert_eq(channel_server_start(&s, &h.loop, &o), ERR_IO);
	o.limits.handshakes_per_source = 0;
	cr_assert_eq(channel_server_start(&s, &h.loop, &o), ERR_CONFIG);
	o.limits = h.o.limits;
	o.limits.max_sessions_per_source = 0;
	cr_assert_eq(channel_server_start(&s, &h.loop, &o), ERR_CONFIG);
	o.limits = h.o.limits;
	o.limits.max_sessions_per_device = 0;
	cr_assert_eq(channel_server_start(&s, &h.loop, &o), ERR_CONFIG);
	o.limits = h.o.limits;
	o.limits.requests_per_session = 0;
	cr_assert_eq(channel_server_start(&s, &h.loop, &o), ERR_CONFIG);
	o.limits.requests_per_session = 2000000;
	cr_assert_eq(channel_server_start(&s, &h.loop, &o), ERR_CONFIG);
	o.limits = h.o.limits;
	o.limits.max_memory = 0;
	cr_assert_eq(channel_server_start(&s, &h.loop, &o), ERR_CONFIG);
	o.limits = h.o.limits;
	o.limits.message_timeout_ms = 0;
	cr_assert_eq(channel_server_start(&s, &h.loop, &o), ERR_CONFIG);
	o.limits = h.o.limits;
	o.limits.max_sessions = 0;
	cr_assert_eq(channel_server_start(&s, &h.loop, &o), ERR_CONFIG);
	host_fini(&h);
}
