/* The channel over loopback TCP, and each allocation of one of its ends fails:
 * whoever waits is told at once, nobody gets in, and the next one is served. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <criterion/criterion.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/secret.h"
#include "node/channel/channel.h"
#include "tests/lib/nomem/nomem.h"

#define WAIT_MS 20000
#define AT_ONCE_MS 8000 /* on a busy machine */

struct host {
	struct channel_context cx;
	struct channel_server_options o;
	struct channel_server *server;
	uv_loop_t loop;
	uv_async_t async;
	pthread_t thread;
	atomic_bool stop;
	atomic_uint requests, unchecked;
	char url[64];
};

static struct host h;

/* The owners of both ends have memory. */
static enum err
stub_prove(void *cookie, struct evidence *out,
    const uint8_t report_data[static 64], struct refusal *why)
{
	(void)cookie, (void)why;
	failmalloc_exempt(true);
	*out = (struct evidence){ .tee = TEE_TDX };
	cr_assert_eq(buf_set(&out->quote, report_data, 64), ERR_OK);
	failmalloc_exempt(false);
	return ERR_OK;
}

static enum err
stub_check(void *cookie, struct attested *out, const struct evidence *e,
    const uint8_t report_data[static 64], enum channel_role role,
    struct refusal *why)
{
	(void)cookie, (void)role;
	if (e->quote.len != 64 || memcmp(e->quote.p, report_data, 64) != 0)
		return refuse(why, REASON_REPORT_DATA, "stub");
	*out = (struct attested){ .verified_at = 1000 };
	out->boot.app_id[0] = 42;
	return ERR_OK;
}

static int64_t
stub_now(void *cookie)
{
	(void)cookie;
	return 1000;
}

static void
on_request(void *cookie, const struct channel_caller *who, struct bytes q)
{
	(void)cookie;
	h.requests++;
	if (who->peer->boot.app_id[0] != 42)
		h.unchecked++;
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
	(void)a;
	if (h.stop)
		channel_server_stop(h.server, on_stopped, NULL);
}

static void *
run_loop(void *arg)
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
	h.cx = (struct channel_context){ .chain_id = 31337,
		.kms_contract = { 1 },
		.evidence_life_s = 3600,
		.prove = stub_prove,
		.check = stub_check,
		.now = stub_now };
	h.o = (struct channel_server_options){
		.listen_url = "tcp://127.0.0.1:0",
		.cx = &h.cx,
		.on_request = on_request,
	};
	channel_limits_default(&h.o.limits);
	h.o.limits.max_half_open_per_source = h.o.limits.max_half_open;
	cr_assert_eq(uv_loop_init(&h.loop), 0);
	cr_assert_eq(uv_async_init(&h.loop, &h.async, on_async), 0);
	cr_assert_eq(channel_server_start(&h.server, &h.loop, &h.o), ERR_OK);
	(void)snprintf(h.url, sizeof h.url, "tcp://127.0.0.1:%u",
	    (unsigned)channel_server_port(h.server));
	cr_assert_eq(pthread_create(&h.thread, NULL, run_loop, NULL), 0);
}

/* The loop runs dry: no connection is left behind. */
static void
teardown(void)
{
	h.stop = true;
	(void)uv_async_send(&h.async);
	(void)pthread_join(h.thread, NULL);
	cr_assert_eq(uv_loop_close(&h.loop), 0);
	cr_assert_eq(h.unchecked, 0);
}

TestSuite(nomem_channel, .init = setup, .fini = teardown, .timeout = 240);

/* One life of a channel. */
static enum err
talk(void *arg)
{
	struct channel *ch = NULL;
	struct buf reply = { 0 };
	struct refusal why = { 0 };
	uint64_t began = clock_mono_ms();
	enum err e;

	(void)arg;
	e = channel_dial(&ch, &h.cx, CHANNEL_APP, h.url, WAIT_MS, &why);
	if (e == ERR_OK)
		e = channel_call(ch, &reply, BYTES_STR("hello"), WAIT_MS, &why);
	if (e == ERR_OK)
		e = channel_renew(ch, WAIT_MS, &why);
	if (e == ERR_OK)
		e = channel_call(ch, &reply, BYTES_STR("hello"), WAIT_MS, &why);
	if (e == ERR_OK) {
		cr_assert_eq(reply.len, 5);
		cr_assert_arr_eq(reply.p, "hello", 5);
	}
	cr_assert_lt(clock_mono_ms() - began, AT_ONCE_MS, "nobody was told: %s",
	    err_text(e));
	channel_close(ch);
	buf_fini(&reply);
	return e;
}

/* The switch that ends a wait. */
static enum err
make_switch(void *arg)
{
	struct channel_abort *a = NULL;
	enum err e = channel_abort_new(&a);

	(void)arg;
	cr_assert_eq(a != NULL, e == ERR_OK);
	channel_abort_free(a);
	return e;
}

Test(nomem_channel, abort_switch)
{
	const struct nomem_op op = { .name = "abort", .run = make_switch };

	cr_assert_eq(nomem_each(&op, NULL), 1);
}

Test(nomem_channel, dialling)
{
	const struct nomem_op op = { .name = "dialling", .run = talk };

	cr_assert_gt(nomem_each(&op, NULL), 20);
}

/* The other end: its loop and its workers.  What the one who dials sees of it
 * is a refusal, or that the connection is gone. */
Test(nomem_channel, answering)
{
	const enum failmalloc_mode mode[] = { FAILMALLOC_ONE, FAILMALLOC_ALL };
	enum err e;

	failmalloc_exempt(true);
	for (int m = 0; m < 2; m++)
		for (unsigned n = 1;; n++) {
			failmalloc_arm(FAILMALLOC_PROCESS, mode[m], n);
			e = talk(NULL);
			(void)failmalloc_disarm();
			if (!failmalloc_hit()) {
				cr_assert_eq(e, ERR_OK);
				cr_assert_gt(n, 15);
				break;
			}
			cr_assert(e == ERR_OK || e == ERR_DENIED || e == ERR_IO,
			    "%s", err_text(e));
			e = talk(NULL);
			if (e != ERR_OK)
				failmalloc_say("answering", 0);
			cr_assert_eq(e, ERR_OK, "not again: %s", err_text(e));
		}
	failmalloc_exempt(false);
}

/* A server that cannot begin leaves nothing behind. */
struct start {
	uv_loop_t loop;
	struct channel_server *s;
	bool stopped;
};

static void
make_loop(void *arg)
{
	struct start *s = arg;

	*s = (struct start){ .stopped = false };
	cr_assert_eq(uv_loop_init(&s->loop), 0);
}

static enum err
begin(void *arg)
{
	struct start *s = arg;
	enum err e = channel_server_start(&s->s, &s->loop, &h.o);

	if (e != ERR_OK)
		cr_assert_null(s->s);
	return e;
}

static void
has_stopped(void *cookie)
{
	((struct start *)cookie)->stopped = true;
}

static void
end(void *arg)
{
	struct start *s = arg;

	channel_server_stop(s->s, has_stopped, s);
	(void)uv_run(&s->loop, UV_RUN_DEFAULT);
	cr_assert(s->stopped);
	cr_assert_eq(uv_loop_close(&s->loop), 0);
}

static enum err
begin_once(void *arg)
{
	struct start *s = arg;

	return s->s != NULL ? ERR_OK : begin(s);
}

Test(nomem_channel, starting)
{
	struct start s;
	const struct nomem_op op = { .name = "channel_server_start",
		.setup = make_loop,
		.run = begin_once,
		.fini = end };

	cr_assert_gt(nomem_each(&op, &s), 2);
}
