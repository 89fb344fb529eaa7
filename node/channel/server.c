/* server: the answering side on the owner's loop: listener, budgets, inbox
 * and the public calls.  See server_int.h for who may touch what. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/secret.h"
#include "node/channel/noise.h"
#include "node/channel/server_int.h"

#define TICK_MIN_MS 10u
#define TICK_MAX_MS 1000u
/* An id is a sequence number over a slot: it finds its connection at once
 * and never comes back. */
#define SLOT_BITS 20

void
channel_limits_default(struct channel_limits *out)
{
	*out = (struct channel_limits){
		.max_sessions = 1024,
		.max_sessions_per_source = 256,
		.max_sessions_per_device = 256,
		/* An agent asks a few times an hour; who counts, often. */
		.requests_per_session = 200,
		.max_half_open = 128,
		.max_half_open_per_source = 32,
		/* A host whose CVMs all come back at once; and what one source
		 * may have of us: a twentieth of a core. */
		.handshakes_per_source = 200,
		/* Two quotes of seconds each, and collateral. */
		.handshake_timeout_ms = 30 * 1000,
		.idle_timeout_ms = 15 * 60 * 1000,
		.message_timeout_ms = 60 * 1000,
		.max_memory = 128u << 20,
		/* Read one, answer it, read the next. */
		.max_pending_requests = 1,
	};
}

/* ---- the inbox ---- */

/* On a thread of nng's: leave word and wake the loop, nothing more. */
static void
on_nng(void *cookie)
{
	struct inbox_node *n = cookie;
	struct channel_server *s = n->server;

	uv_mutex_lock(&s->lock);
	n->rv = nng_aio_result(n->aio);
	n->count = nng_aio_count(n->aio);
	n->next = NULL;
	*s->last = n;
	s->last = &n->next;
	uv_mutex_unlock(&s->lock);
	(void)uv_async_send(&s->wake);
}

static void
on_wake(uv_async_t *h)
{
	struct channel_server *s = h->data;
	struct inbox_node *n, *next;

	uv_mutex_lock(&s->lock);
	n = s->first;
	s->first = NULL;
	s->last = &s->first;
	uv_mutex_unlock(&s->lock);
	for (; n != NULL; n = next) {
		/* A connection is freed only once both its nodes are here
		 * no more, so `next` outlives the call. */
		next = n->next;
		n->posted = false;
		n->handle(n);
	}
}

enum err
server_node_init(struct inbox_node *n, struct channel_server *s, struct conn *c,
    void (*handle)(struct inbox_node *n))
{
	*n = (struct inbox_node){ .server = s, .conn = c, .handle = handle };
	return nng_aio_alloc(&n->aio, on_nng, n) == 0 ? ERR_OK : ERR_NOMEM;
}

/* ---- accepting ---- */

static void post_accepts(struct channel_server *s);

static void
on_pause_over(uv_timer_t *t)
{
	post_accepts(t->data);
}

static void
post_accept(struct inbox_node *n)
{
	struct channel_server *s = n->server;

	if (s->stopping || n->posted)
		return;
	if (!rate_take(&s->accepts, clock_mono_ms())) {
		if (uv_is_active((uv_handle_t *)&s->pause) == 0)
			(void)uv_timer_start(
			    &s->pause, on_pause_over, ACCEPT_PAUSE_MS, 0);
		return;
	}
	n->posted = true;
	nng_stream_listener_accept(s->listener, n->aio);
}

static void
post_accepts(struct channel_server *s)
{
	for (unsigned i = 0; i < ACCEPTS; i++)
		post_accept(&s->accept[i]);
}

static bool
accepts_posted(const struct channel_server *s)
{
	for (unsigned i = 0; i < ACCEPTS; i++)
		if (s->accept[i].posted)
			return true;
	return false;
}

static void
free_accepts(struct channel_server *s)
{
	for (unsigned i = 0; i < ACCEPTS; i++)
		if (s->accept[i].aio != NULL)
			nng_aio_free(s->accept[i].aio);
}

static void
source_of(uint8_t out[static SOURCE_LEN], nng_stream *stream)
{
	nng_sockaddr sa = { 0 };

	memset(out, 0, SOURCE_LEN);
	if (nng_stream_get_addr(stream, NNG_OPT_REMADDR, &sa) != 0)
		return;
	if (sa.s_family == NNG_AF_INET)
		source_ip4(out, &sa.s_in.sa_addr);
	else if (sa.s_family == NNG_AF_INET6)
		source_ip6(out, sa.s_in6.sa_addr);
}

/* Whether this source, and all together, may begin another handshake now.
 * The first question of all: the answer costs less than the connection. */
static bool
within_rate(struct channel_server *s, const uint8_t source[static SOURCE_LEN])
{
	uint8_t key[RATES_KEY_LEN] = { 0 };
	uint64_t now = clock_mono_ms();

	memcpy(key, source, SOURCE_LEN);
	if (rates_take(s->sources, key, now))
		return rate_take(&s->handshakes, now);
	if (s->mute != NULL) {
		unsigned before = mute_count(s->mute);

		(void)mute_source(s->mute, source, now);
		s->stats.muted += mute_count(s->mute) - before;
	}
	return false;
}

static bool
within_budget(const struct channel_server *s, const uint8_t *source)
{
	unsigned same = 0;

	if (s->n_half >= s->o.limits.max_half_open)
		return false;
	for (uint32_t i = 0; i < s->n_slots; i++) {
		const struct conn *c = s->slot[i];

		if (c != NULL && !c->was_open &&
		    memcmp(c->source, source, sizeof c->source) == 0)
			same++;
	}
	return same < s->o.limits.max_half_open_per_source;
}

static uint32_t
free_slot(struct channel_server *s)
{
	for (uint32_t k = 0; k < s->n_slots; k++) {
		uint32_t i = (s->next_slot + k) % s->n_slots;

		if (s->slot[i] == NULL) {
			s->next_slot = i + 1;
			return i;
		}
	}
	return s->n_slots;
}

/* The connection that is to be, or false: it is closed without a word. */
static bool
take_in(struct channel_server *s, nng_stream *stream)
{
	uint8_t source[SOURCE_LEN];
	struct conn *c;
	uint32_t slot;

	if (s->stopping)
		return false;
	source_of(source, stream);
	if (!within_rate(s, source)) {
		s->stats.refused_rate++;
		return false;
	}
	slot = free_slot(s);
	if (slot == s->n_slots || !within_budget(s, source) ||
	    conn_new(&c, s, stream, source, slot,
		++s->next_seq << SLOT_BITS | slot) != ERR_OK) {
		s->stats.refused_budget++;
		return false;
	}
	s->slot[slot] = c;
	s->n_half++;
	conn_start(c);
	return true;
}

/* Most likely for want of descriptors.  The tick tries again, and no sooner:
 * the kernel keeps who waits. */
static void
accept_failed(struct channel_server *s, int rv)
{
	uint64_t now = clock_mono_ms();

	s->stats.accept_failed++;
	if (s->accept_told_ms != 0 && now - s->accept_told_ms < ACCEPT_TOLD_MS)
		return;
	s->accept_told_ms = now;
	log_event(LOG_ERROR, "channel_cannot_accept",
	    log_str("cause", nng_strerror(rv)), log_u64("half_open", s->n_half),
	    log_u64("sessions", s->n_open));
}

static void
on_accept(struct inbox_node *n)
{
	struct channel_server *s = n->server;
	nng_stream *stream;

	if (n->rv != 0) {
		if (!s->stopping)
			accept_failed(s, n->rv);
		return;
	}
	stream = nng_aio_get_output(n->aio, 0);
	s->stats.accepted++;
	if (!take_in(s, stream)) {
		nng_stream_close(stream);
		nng_stream_free(stream);
	}
	post_accept(n);
}

/* ---- time, and the end ---- */

static void
on_handle_closed(uv_handle_t *h)
{
	struct channel_server *s = h->data;

	if (--s->n_handles > 0)
		return;
	uv_mutex_destroy(&s->lock);
	secret_free(s->keys);
	rates_free(s->sources);
	rates_free(s->devices);
	mute_free(s->mute);
	free(s->slot);
	if (s->done != NULL)
		s->done(s->done_cookie);
	free(s);
}

static void
close_handles(struct channel_server *s)
{
	uv_close((uv_handle_t *)&s->wake, on_handle_closed);
	uv_close((uv_handle_t *)&s->tick, on_handle_closed);
	uv_close((uv_handle_t *)&s->pause, on_handle_closed);
}

/* Once nothing of ours is with nng or a worker. */
static void
finish(struct channel_server *s)
{
	if (!s->stopping || accepts_posted(s) || s->n_half + s->n_open > 0)
		return;
	for (uint32_t i = 0; i < s->n_slots; i++)
		if (s->slot[i] != NULL)
			return;
	nng_stream_listener_free(s->listener);
	/* Waits for a callback that is still on its way out: after this
	 * nobody sends to `wake`. */
	free_accepts(s);
	close_handles(s);
}

void
server_forget(struct conn *c)
{
	struct channel_server *s = c->server;

	s->slot[c->slot] = NULL;
	s->memory -= c->memory;
	if (!c->was_open)
		s->n_half--;
}

void
server_count(struct conn *c)
{
	size_t n = sizeof *c + session_memory(c->session) + c->out.cap +
	    c->sending.cap;

	c->server->memory += n - c->memory;
	c->memory = n;
}

bool
server_full(const struct conn *c, bool checked)
{
	const struct channel_server *s = c->server;
	const struct channel_limits *l = &s->o.limits;
	const struct boot_info *b = &c->peer.boot;
	unsigned source = 0, device = 0, app = 0;

	if (s->n_open >= l->max_sessions)
		return true;
	if (session_peer_role(c->session) != CHANNEL_APP)
		return false;
	if (s->n_open - s->n_peers >= l->max_sessions - l->max_sessions / 16)
		return true;
	if (!checked)
		return false;
	for (uint32_t i = 0; i < s->n_slots; i++) {
		const struct conn *x = s->slot[i];

		if (x == NULL || x->state != CONN_OPEN ||
		    session_peer_role(x->session) != CHANNEL_APP)
			continue;
		source += memcmp(x->source, c->source, sizeof c->source) == 0;
		if (memcmp(x->peer.boot.device_id, b->device_id,
			sizeof b->device_id) != 0)
			continue;
		device++;
		app += memcmp(x->peer.boot.app_id, b->app_id,
			   sizeof b->app_id) == 0;
	}
	return source >= l->max_sessions_per_source ||
	    device >= l->max_sessions_per_device ||
	    app >= (l->max_sessions_per_device + 1) / 2;
}

static void
on_tick(uv_timer_t *t)
{
	struct channel_server *s = t->data;
	const struct channel_context *cx = s->o.cx;
	int64_t now_s = cx->now(cx->cookie);
	uint64_t now_ms = clock_mono_ms();

	for (uint32_t i = 0; i < s->n_slots; i++)
		if (s->slot[i] != NULL)
			conn_tick(s->slot[i], now_ms, now_s);
	if (s->mute != NULL)
		mute_tick(s->mute, now_ms);
	post_accepts(s);
	finish(s);
}

static unsigned
tick_ms(const struct channel_limits *l)
{
	unsigned ms = l->handshake_timeout_ms;

	if (l->idle_timeout_ms < ms)
		ms = l->idle_timeout_ms;
	if (l->message_timeout_ms < ms)
		ms = l->message_timeout_ms;
	ms /= 4;
	return ms < TICK_MIN_MS ? TICK_MIN_MS
	    : ms > TICK_MAX_MS  ? TICK_MAX_MS
				: ms;
}

/* ---- the public calls ---- */

static enum err
listen_on(struct channel_server *s, const char *url)
{
	int port = 0, rv = nng_stream_listener_alloc(&s->listener, url);

	if (rv == NNG_ENOMEM)
		return ERR_NOMEM;
	if (rv != 0)
		return ERR_CONFIG;
	if (nng_stream_listener_set_bool(
		s->listener, NNG_OPT_TCP_NODELAY, true) != 0 ||
	    nng_stream_listener_listen(s->listener) != 0 ||
	    nng_stream_listener_get_int(
		s->listener, NNG_OPT_TCP_BOUND_PORT, &port) != 0)
		return ERR_IO;
	s->port = (uint16_t)port;
	return ERR_OK;
}

enum err
channel_server_start(struct channel_server **out, uv_loop_t *loop,
    const struct channel_server_options *o)
{
	const struct channel_limits *l = &o->limits;
	struct channel_server *s;
	enum err e = ERR_NOMEM;
	unsigned ms = tick_ms(l);

	if (l->max_sessions == 0 || l->max_half_open == 0 ||
	    l->max_half_open_per_source == 0 || l->handshakes_per_source == 0 ||
	    l->handshakes_per_source > RATE_MAX / BURST_S ||
	    l->max_sessions_per_source == 0 ||
	    l->max_sessions_per_device == 0 || l->requests_per_session == 0 ||
	    l->requests_per_session > RATE_MAX / BURST_S / DEVICE_FACTOR ||
	    l->message_timeout_ms == 0 || l->max_memory == 0 ||
	    l->max_pending_requests == 0 || l->handshake_timeout_ms == 0 ||
	    l->idle_timeout_ms == 0 ||
	    l->max_sessions >= (1u << (SLOT_BITS - 1)) ||
	    l->max_half_open >= (1u << (SLOT_BITS - 1)))
		return ERR_CONFIG;
	if ((s = calloc(1, sizeof *s)) == NULL)
		return ERR_NOMEM;
	s->loop = loop;
	s->o = *o;
	s->o.listen_url = NULL;
	s->last = &s->first;
	s->n_slots = l->max_sessions + l->max_half_open;
	s->slot = calloc(s->n_slots, sizeof *s->slot);
	s->keys = secret_new(sizeof *s->keys);
	if (s->slot == NULL || s->keys == NULL)
		goto done;
	e = rates_new(&s->sources, SOURCES, l->handshakes_per_source,
	    BURST_S * l->handshakes_per_source);
	if (e == ERR_OK)
		e = rates_new(&s->devices, DEVICES,
		    DEVICE_FACTOR * l->requests_per_session,
		    DEVICE_FACTOR * BURST_S * l->requests_per_session);
	if (e != ERR_OK)
		goto done;
	s->handshakes = rate_full(
	    HANDSHAKES_PER_S, BURST_S * HANDSHAKES_PER_S, clock_mono_ms());
	s->accepts =
	    rate_full(ACCEPTS_PER_S, ACCEPTS_PER_S / 4, clock_mono_ms());
	secret_random(s->keys, sizeof *s->keys);
	noise_public(s->s_pub, s->keys->s);
	secret_lock(s->keys);
	if ((e = listen_on(s, o->listen_url)) != ERR_OK)
		goto done;
	e = mute_new(&s->mute, s->port);
	if (e == ERR_NOTFOUND) {
		/* The bounds on accepts and handshakes are what holds. */
		log_event(LOG_INFO, "sources_not_muted",
		    log_str("cause", "the listener takes no filter"));
		e = ERR_OK;
	}
	for (unsigned i = 0; e == ERR_OK && i < ACCEPTS; i++)
		e = server_node_init(&s->accept[i], s, NULL, on_accept);
	if (e != ERR_OK)
		goto done;
	e = ERR_NOMEM;
	if (uv_mutex_init(&s->lock) != 0)
		goto done;
	if (uv_async_init(loop, &s->wake, on_wake) != 0) {
		uv_mutex_destroy(&s->lock);
		goto done;
	}
	/* These cannot fail. */
	(void)uv_timer_init(loop, &s->tick);
	(void)uv_timer_init(loop, &s->pause);
	s->n_handles = 3;
	s->wake.data = s->tick.data = s->pause.data = s;
	(void)uv_timer_start(&s->tick, on_tick, ms, ms);
	post_accepts(s);
	*out = s;
	return ERR_OK;
done:
	free_accepts(s);
	if (s->listener != NULL) {
		nng_stream_listener_close(s->listener);
		nng_stream_listener_free(s->listener);
	}
	secret_free(s->keys);
	rates_free(s->sources);
	rates_free(s->devices);
	mute_free(s->mute);
	free(s->slot);
	free(s);
	return e;
}

uint16_t
channel_server_port(const struct channel_server *s)
{
	return s->port;
}

static struct conn *
find(struct channel_server *s, uint64_t id)
{
	uint64_t slot = id & ((1u << SLOT_BITS) - 1);
	struct conn *c = slot < s->n_slots ? s->slot[slot] : NULL;

	return c != NULL && c->id == id && c->state == CONN_OPEN ? c : NULL;
}

enum err
channel_server_reply(
    struct channel_server *s, uint64_t conn, struct bytes reply)
{
	struct conn *c = find(s, conn);

	return c == NULL ? ERR_NOTFOUND : conn_reply(c, reply);
}

void
channel_server_drop(struct channel_server *s, uint64_t conn, enum reason why)
{
	struct conn *c = find(s, conn);
	struct refusal r;

	if (c == NULL)
		return;
	(void)refuse(&r, why, "dropped by its owner");
	conn_refuse(c, &r);
	conn_pump(c);
}

void
channel_server_stats(const struct channel_server *s, struct channel_stats *out)
{
	*out = s->stats;
	out->sessions_open = s->n_open;
	out->half_open = s->n_half;
	out->memory = s->memory;
}

void
channel_server_each(struct channel_server *s,
    void (*fn)(void *cookie, const struct channel_caller *who), void *cookie)
{
	for (uint32_t i = 0; i < s->n_slots; i++)
		if (s->slot[i] != NULL && s->slot[i]->state == CONN_OPEN) {
			struct channel_caller who = conn_caller(s->slot[i]);

			fn(cookie, &who);
		}
}

void
channel_server_stop(
    struct channel_server *s, void (*done)(void *cookie), void *cookie)
{
	assert(!s->stopping);
	s->stopping = true;
	s->done = done;
	s->done_cookie = cookie;
	nng_stream_listener_close(s->listener);
	for (uint32_t i = 0; i < s->n_slots; i++)
		if (s->slot[i] != NULL) {
			conn_close(s->slot[i]);
			conn_pump(s->slot[i]);
		}
	/* The end is noticed by the tick, on the loop: soon from now on. */
	(void)uv_timer_start(&s->tick, on_tick, 0, TICK_MIN_MS);
}
