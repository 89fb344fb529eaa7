/* The channel by a clock that this file keeps: it can stand still, and tell
 * when it is looked at. */
#include <arpa/inet.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/secret.h"
#include "node/channel/channel.h"

#define WAIT_MS 20000
#define LIFE_S 3600
#define AT_ONCE 500u /* ACCEPTS_PER_S / 4 of server_int.h */
#define WAITING 32u /* ACCEPTS */

/* ---- the clock: these are there in place of common/base/clock.c ---- */

static _Atomic uint64_t frozen; /* 0: it goes on */
static _Thread_local unsigned looks, fire_at; /* of this thread; 0: never */
static struct channel_abort *abort_switch;

static uint64_t
machine_ms(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

uint64_t
clock_mono_ms(void)
{
	uint64_t at = atomic_load(&frozen);

	if (fire_at != 0 && ++looks == fire_at)
		channel_abort_fire(abort_switch);
	return at != 0 ? at : machine_ms();
}

uint64_t
clock_boot_ms(void)
{
	return clock_mono_ms();
}

int64_t
clock_wall_s(void)
{
	return (int64_t)time(NULL);
}

/* ---- both sides ---- */

static struct {
	struct channel_server_options o;
	struct channel_server *server;
	uv_loop_t loop;
	uv_async_t async;
	pthread_t thread;
	atomic_bool stop;
	atomic_uint requests;
	atomic_ullong accepted, half_open;
	char url[64];
} h;
static atomic_llong now_s = 1000;

static enum err
prove(void *cookie, struct evidence *out, const uint8_t report_data[static 64],
    struct refusal *why)
{
	(void)cookie, (void)why;
	*out = (struct evidence){ .tee = TEE_TDX };
	return buf_set(&out->quote, report_data, 64);
}

static enum err
check(void *cookie, struct attested *out, const struct evidence *e,
    const uint8_t report_data[static 64], enum channel_role role,
    struct refusal *why)
{
	(void)cookie, (void)role;
	if (e->quote.len != 64 || memcmp(e->quote.p, report_data, 64) != 0)
		return refuse(why, REASON_REPORT_DATA, "stub");
	*out = (struct attested){ .verified_at = now_s };
	return ERR_OK;
}

static int64_t
now(void *cookie)
{
	(void)cookie;
	return now_s;
}

static struct channel_context cx = { .chain_id = 31337,
	.kms_contract = { 1 },
	.evidence_life_s = LIFE_S,
	.prove = prove,
	.check = check,
	.now = now };

static void
on_request(void *cookie, const struct channel_caller *who, struct bytes q)
{
	(void)cookie;
	h.requests++;
	(void)!channel_server_reply(h.server, who->conn, q);
}

static void
on_stopped(void *cookie)
{
	(void)cookie;
	uv_close((uv_handle_t *)&h.async, NULL);
}

static void
on_async(uv_async_t *a)
{
	struct channel_stats st;

	(void)a;
	if (h.stop) {
		channel_server_stop(h.server, on_stopped, NULL);
		return;
	}
	channel_server_stats(h.server, &st);
	h.accepted = st.accepted;
	h.half_open = st.half_open;
}

static void *
run(void *arg)
{
	(void)arg;
	(void)uv_run(&h.loop, UV_RUN_DEFAULT);
	return NULL;
}

static void
setup(void)
{
	cr_assert_eq(secret_process_init(), ERR_OK);
	log_set_level(LOG_ERROR);
	h.o =
	    (struct channel_server_options){ .listen_url = "tcp://127.0.0.1:0",
		    .cx = &cx,
		    .on_request = on_request };
	channel_limits_default(&h.o.limits);
	/* Three hundred short channels of one source. */
	h.o.limits.handshakes_per_source = 100000;
	h.o.limits.max_half_open_per_source = h.o.limits.max_half_open;
	cr_assert_eq(uv_loop_init(&h.loop), 0);
	cr_assert_eq(uv_async_init(&h.loop, &h.async, on_async), 0);
	cr_assert_eq(channel_server_start(&h.server, &h.loop, &h.o), ERR_OK);
	(void)snprintf(h.url, sizeof h.url, "tcp://127.0.0.1:%u",
	    (unsigned)channel_server_port(h.server));
	cr_assert_eq(pthread_create(&h.thread, NULL, run, NULL), 0);
}

static void
teardown(void)
{
	atomic_store(&frozen, 0);
	h.stop = true;
	(void)uv_async_send(&h.async);
	(void)pthread_join(h.thread, NULL);
	cr_assert_eq(uv_loop_close(&h.loop), 0);
}

TestSuite(channel_clock, .init = setup, .fini = teardown, .timeout = 120);

static uint64_t
accepted(void)
{
	(void)uv_async_send(&h.async);
	(void)nanosleep(&(const struct timespec){ .tv_nsec = 5000000 }, NULL);
	return h.accepted;
}

/* ---- accepts ---- */

/* In no time so many connections are accepted, and no more: the others wait
 * with the kernel, and none of them is lost once there is time. */
Test(channel_clock, accepts_wait)
{
	enum { N = AT_ONCE + 100 };
	static int fd[N];
	const struct sockaddr_in a = { .sin_family = AF_INET,
		.sin_port = htons(channel_server_port(h.server)),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	uint64_t end;

	atomic_store(&frozen, machine_ms());
	for (unsigned i = 0; i < N; i++) {
		fd[i] = socket(AF_INET, SOCK_STREAM, 0);
		cr_assert_geq(fd[i], 0);
		cr_assert_eq(
		    connect(fd[i], (const struct sockaddr *)&a, sizeof a), 0);
		/* The kernel keeps 128 that wait. */
		if (i % 50 == 49)
			(void)accepted();
	}
	/* What waited to be accepted before the clock stood still, and so many
	 * more. */
	for (end = machine_ms() + WAIT_MS; accepted() < AT_ONCE;)
		cr_assert_lt(machine_ms(), end);
	for (unsigned i = 0; i < 60; i++)
		cr_assert_leq(accepted(), AT_ONCE + WAITING);
	atomic_store(&frozen, 0);
	for (end = machine_ms() + WAIT_MS; accepted() < N;)
		cr_assert_lt(machine_ms(), end);
	for (unsigned i = 0; i < N; i++)
		(void)close(fd[i]);
}

/* ---- the abort switch, at each look at the clock ---- */

/* One life of a channel. */
static enum err
talk(void)
{
	struct channel *c = NULL;
	struct buf reply = { 0 };
	enum err e = channel_dial(&c, &cx, CHANNEL_APP, h.url, WAIT_MS, NULL);

	if (e == ERR_OK)
		e = channel_call(c, &reply, BYTES_STR("a"), WAIT_MS, NULL);
	if (e == ERR_OK)
		e = channel_renew(c, WAIT_MS, NULL);
	if (e == ERR_OK)
		e = channel_call(c, &reply, BYTES_STR("b"), WAIT_MS, NULL);
	channel_close(c);
	buf_fini(&reply);
	return e;
}

/* Wherever it is fired, nothing goes on behind it: no proof is made and none is
 * looked at, and the wait ends. */
Test(channel_clock, abort_at_each_look)
{
	unsigned asked = 0;

	cr_assert_eq(channel_abort_new(&abort_switch), ERR_OK);
	cx.abort = abort_switch;
	for (unsigned n = 1;; n++) {
		uint64_t began = machine_ms();
		enum err e;

		looks = 0;
		fire_at = n;
		e = talk();
		fire_at = 0;
		if (looks < n) {
			/* It has not been fired: that was all of it. */
			cr_assert_eq(e, ERR_OK);
			cr_assert_gt(n, 20);
			break;
		}
		asked += e == ERR_OK;
		cr_assert(e == ERR_IO || e == ERR_OK, "%u: %s", n, err_text(e));
		cr_assert_lt(machine_ms() - began, WAIT_MS / 2);
		cr_assert_eq(talk(), ERR_IO, "%u: it stays fired", n);
		channel_abort_reset(abort_switch);
	}
	/* The last look may come behind the last wait. */
	cr_assert_leq(asked, 2);
	cx.abort = NULL;
	channel_abort_free(abort_switch);
}
