/* The loop: events go to the core as they come; what it wants done is
 * carried out once a turn, so that all that one turn writes is one
 * transaction (group commit). */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/hex.h"
#include "common/base/log.h"
#include "common/base/rd.h"
#include "common/base/secret.h"
#include "common/crypto/hash.h"
#include "kms/cluster/cluster_int.h"

#define WATCH_MS 500
#define DISK_RETRY_MS 10000

const char *
cluster_phase_text(enum cluster_phase p)
{
	switch (p) {
	case PHASE_STARTING:
		return "starting";
	case PHASE_GENESIS:
		return "genesis";
	case PHASE_JOINING:
		return "joining";
	case PHASE_LEARNING:
		return "learning";
	case PHASE_RECOVERING:
		return "recovering";
	case PHASE_READY:
		return "ready";
	case PHASE_HALTED:
		return "halted";
	}
	return "?";
}

static void
step(struct cluster *c, struct core_event *e)
{
	enum err err;

	e->now_ms = clock_boot_ms();
	err = core_step(c->core, e);
	if (err == ERR_OK)
		return;
	/* Out of memory, or a state that cannot be: never go on. */
	log_event(LOG_ERROR, "cluster_failed", log_str("cause", err_text(err)));
	abort();
}

static void on_timer(uv_timer_t *t);

static void
arm(struct cluster *c)
{
	uint64_t now = clock_boot_ms(), at = core_deadline(c->core);

	(void)uv_timer_start(&c->timer, on_timer,
	    at <= now             ? 0
		: at - now > 1000 ? 1000
				  : at - now,
	    0);
}

static void
tell_phase(struct cluster *c)
{
	enum cluster_phase p = cluster_phase(c);

	if (p == c->told_phase)
		return;
	c->told_phase = p;
	c->told = REASON_NONE;
	/* A state that came as a snapshot has floors, too: before it serves. */
	floorsync_adopt(c);
	log_event(LOG_INFO, "phase", log_str("phase", cluster_phase_text(p)));
}

/* One turn: everything that has come together is carried out. */
static void
pump(struct cluster *c)
{
	struct core_action a;
	uint64_t wrote;

	c->dirty = false;
	do {
		struct core_event e = { .kind = CORE_PERSISTED };

		wrote = 0;
		while (core_next(c->core, &a)) {
			clusteract(c, &a, &wrote);
			core_action_fini(&a);
		}
		e.persisted = wrote;
		if (wrote != 0)
			step(c, &e);
	} while (wrote != 0);
	tell_phase(c);
	arm(c);
}

static void
on_idle(uv_idle_t *h)
{
	(void)h; /* it only keeps the loop from sleeping */
}

/* Refused at once, but told later, as every outcome is. */
static void
not_now(
    struct cluster *c, cluster_done_fn *done, void *cookie, enum reason code)
{
	struct late *l;

	if (done == NULL)
		return;
	if ((l = c->late_free) != NULL)
		c->late_free = l->next;
	else if ((l = calloc(1, sizeof *l)) == NULL)
		abort(); /* nobody may wait for ever */
	l->done = done;
	l->cookie = cookie;
	l->code = code;
	l->next = c->late;
	c->late = l;
	(void)uv_idle_start(&c->idle, on_idle);
}

static void
late_done(struct cluster *c, struct late *l)
{
	if (l < c->late_all || l >= c->late_all + CLUSTER_TICKETS) {
		free(l);
		return;
	}
	l->next = c->late_free;
	c->late_free = l;
}

static void
tell_late(struct cluster *c)
{
	struct late *l = c->late;

	c->late = NULL;
	while (l != NULL) {
		struct late *next = l->next;
		struct cluster_outcome o = { .err = ERR_AGAIN };

		(void)refuse(&o.why, l->code, "not now");
		l->done(l->cookie, &o);
		late_done(c, l);
		l = next;
	}
}

static void
on_check(uv_check_t *h)
{
	struct cluster *c = h->data;

	(void)uv_idle_stop(&c->idle);
	tell_late(c);
	if (c->dirty && !c->stopping)
		pump(c);
}

void
cluster_event(struct cluster *c, struct core_event *e)
{
	if (c->halted || c->stopping)
		return;
	step(c, e);
	if (!c->dirty)
		(void)uv_idle_start(&c->idle, on_idle);
	c->dirty = true;
}

static void
on_timer(uv_timer_t *t)
{
	struct core_event e = { .kind = CORE_TICK };

	cluster_event(t->data, &e);
}

static void
on_watch(uv_timer_t *t)
{
	struct cluster *c = t->data;

	if (c->o.disk_trouble != ERR_OK && !c->halted &&
	    clock_boot_ms() - c->started_ms >= DISK_RETRY_MS) {
		c->halted = true;
		c->o.on_halt(c->o.cookie, HALT_DISK);
		return;
	}
	leaserun_tick(c);
	watch_begin(c);
}

static void
on_message(void *cookie, const struct member *from, struct bytes bytes)
{
	struct core_event e = { .kind = CORE_MESSAGE,
		.message = { .from = from, .bytes = bytes } };

	if (!leaserun_message(cookie, from, bytes))
		cluster_event(cookie, &e);
}

void
cluster_tell(struct cluster *c, const struct refusal *why)
{
	/* Once per kind of trouble: a node may wait for hours. */
	c->info.waiting = *why;
	if (why->code == c->told)
		return;
	c->told = why->code;
	log_event(LOG_WARN, "waiting",
	    log_str("phase", cluster_phase_text(cluster_phase(c))),
	    log_why(why));
}

/* ---- clients ---- */

static struct ticket *
take_ticket(struct cluster *c, cluster_done_fn *done, void *cookie)
{
	for (unsigned i = 0; i < CLUSTER_TICKETS; i++) {
		struct ticket *t =
		    &c->ticket[++c->next_ticket % CLUSTER_TICKETS];

		if (t->number != 0 || c->next_ticket == 0)
			continue;
		*t = (struct ticket){
			.number = c->next_ticket, .done = done, .cookie = cookie
		};
		return t;
	}
	return NULL;
}

void
cluster_submit(
    struct cluster *c, struct command *cmd, cluster_done_fn *done, void *cookie)
{
	struct core_event e = { .kind = CORE_SUBMIT };
	struct buf b = { 0 };
	struct ticket *t;
	enum err err;

	cmd->time = (uint64_t)clock_wall_s();
	if (c->stopping || c->halted) {
		not_now(c, done, cookie, REASON_NOT_READY);
	} else if ((err = command_write(&b, cmd)) != ERR_OK) {
		not_now(c, done, cookie,
		    err == ERR_NOMEM ? REASON_BUSY : REASON_REQUEST);
	} else if ((t = take_ticket(c, done, cookie)) == NULL) {
		not_now(c, done, cookie, REASON_BUSY);
	} else {
		e.submit.ticket = t->number;
		e.submit.command = buf_view(&b);
		cluster_event(c, &e);
	}
	buf_fini(&b);
}

void
cluster_read(struct cluster *c, cluster_done_fn *done, void *cookie)
{
	struct core_event e = { .kind = CORE_READ };
	struct ticket *t;

	if (c->stopping || c->halted) {
		not_now(c, done, cookie, REASON_NOT_READY);
	} else if ((t = take_ticket(c, done, cookie)) == NULL) {
		not_now(c, done, cookie, REASON_BUSY);
	} else {
		e.read_ticket = t->number;
		cluster_event(c, &e);
	}
}

void
cluster_checkpoint(struct cluster *c)
{
	struct core_event e = { .kind = CORE_CHECKPOINT };

	cluster_event(c, &e);
}

/* ---- life ---- */

static uint64_t
cluster_name(const struct kmsd_config *cfg)
{
	uint8_t h[32], chain[8];
	struct rd r = { .p = h, .left = 8 };

	for (int i = 0; i < 8; i++)
		chain[i] = (uint8_t)(cfg->chain_id >> (56 - 8 * i));
	sha256_v(h,
	    (const struct bytes[]){ BYTES_STR("devproof-kms/cluster/v1"),
		BYTES_OF(chain), BYTES_OF(cfg->kms_contract),
		BYTES_OF(cfg->anchor_contract) },
	    4);
	return rd_be64(&r);
}

static enum err
load_disk(struct cluster *c)
{
	enum err e;

	if (c->store == NULL)
		return ERR_OK;
	if ((e = keystore_load(c)) == ERR_CORRUPT)
		(void)refuse(&c->info.disk, REASON_ROLLBACK,
		    "a wrapping key on disk does not open its roots");
	if (e == ERR_OK)
		e = disklog_load(c->store, &c->disk, &c->info.disk);
	if (e != ERR_CORRUPT)
		return e;
	log_event(LOG_ERROR, "disk_refused", log_why(&c->info.disk));
	disklog_boot_fini(&c->disk);
	c->disk = (struct disklog_boot){ 0 };
	if ((e = store_begin(c->store)) != ERR_OK)
		return e;
	if ((e = disklog_wipe(c->store)) != ERR_OK) {
		store_abort(c->store);
		return e;
	}
	return store_commit(c->store);
}

static enum err
open_core(struct cluster *c)
{
	struct core_options o = { .self = c->self,
		.cluster = cluster_name(c->o.cfg) };
	struct links_options lo = { .loop = c->o.loop,
		.cx = c->o.cx,
		.incarnation = c->o.incarnation,
		.slot = c->o.cfg->slot,
		.peer = c->o.cfg->peer,
		.n_peers = c->o.cfg->n_peers,
		.on_message = on_message,
		.cookie = c };
	enum err e;

	core_timing_default(&o.timing);
	o.timing.fence_ms = 1000 * c->o.cfg->fence_s;
	o.snapshot_every = c->o.cfg->snapshot_every; /* 0 in tests */
	o.snapshot_trailing = o.snapshot_every / 8;
	secret_random(&o.seed, sizeof o.seed);
	if ((e = core_new(&c->core, &o)) != ERR_OK)
		return e;
	return links_new(&c->links, &lo);
}

enum err
cluster_new(struct cluster **out, const struct cluster_options *o)
{
	struct cluster *c = calloc(1, sizeof *c);
	enum err e = ERR_NOMEM;

	if (c == NULL)
		return e;
	c->o = *o;
	c->store = o->store;
	c->started_ms = clock_boot_ms();
	c->info.disk_unusable = o->disk_trouble != ERR_OK;
	if (o->disk_trouble != ERR_OK)
		(void)refuse(&c->info.disk, REASON_INTERNAL,
		    "the disk cannot be written: %s",
		    err_text(o->disk_trouble));
	memcpy(c->self.slot, o->cfg->slot, strnlen(o->cfg->slot, SLOT_MAX - 1));
	memcpy(c->self.incarnation, incarnation_id(o->incarnation),
	    INCARNATION_ID_LEN);
	c->ticket = calloc(CLUSTER_TICKETS, sizeof *c->ticket);
	c->late_all = calloc(CLUSTER_TICKETS, sizeof *c->late_all);
	for (unsigned i = 0; c->late_all != NULL && i < CLUSTER_TICKETS; i++)
		late_done(c, &c->late_all[i]);
	if (c->ticket == NULL || c->late_all == NULL ||
	    (e = leaserun_new(c)) != ERR_OK ||
	    (e = keystore_new(c)) != ERR_OK || (e = open_core(c)) != ERR_OK ||
	    (e = load_disk(c)) != ERR_OK) {
		cluster_free(c);
		return e;
	}
	*out = c;
	return ERR_OK;
}

enum err
cluster_start(struct cluster *c, struct channel_server *server)
{
	unsigned every = c->o.watch_ms != 0 ? c->o.watch_ms : WATCH_MS;

	(void)uv_timer_init(c->o.loop, &c->timer);
	(void)uv_timer_init(c->o.loop, &c->watch_timer);
	(void)uv_check_init(c->o.loop, &c->check);
	(void)uv_idle_init(c->o.loop, &c->idle);
	c->timer.data = c->watch_timer.data = c->check.data = c->idle.data = c;
	c->open_handles = 4 + 1; /* and the links */
	(void)uv_check_start(&c->check, on_check);
	(void)uv_timer_start(&c->watch_timer, on_watch, 0, every);
	links_set_server(c->links, server);
	return links_start(c->links);
}

void
cluster_drain(struct cluster *c)
{
	struct core_event e = { .kind = CORE_DRAIN };

	cluster_event(c, &e);
}

void
cluster_maybe_done(struct cluster *c)
{
	void (*done)(void *) = c->done;

	if (!c->stopping || c->open_handles > 0 || c->watch != NULL ||
	    c->handover != NULL || c->chain != NULL || c->posting != NULL ||
	    rotate_busy(c) || done == NULL)
		return;
	c->done = NULL;
	done(c->done_cookie);
}

static void
one_closed(struct cluster *c)
{
	c->open_handles--;
	cluster_maybe_done(c);
}

static void
on_closed(uv_handle_t *h)
{
	one_closed(h->data);
}

static void
links_stopped(void *cookie)
{
	one_closed(cookie);
}

void
cluster_stop(struct cluster *c, void (*done)(void *), void *cookie)
{
	struct cluster_outcome o = { .err = ERR_TIMEOUT };

	c->stopping = true;
	c->done = done;
	c->done_cookie = cookie;
	(void)refuse(&o.why, REASON_UNKNOWN_OUTCOME, "this node stops");
	for (unsigned i = 0; i < CLUSTER_TICKETS; i++)
		if (c->ticket[i].number != 0)
			cluster_finish(c, &c->ticket[i], &o);
	uv_close((uv_handle_t *)&c->timer, on_closed);
	uv_close((uv_handle_t *)&c->watch_timer, on_closed);
	uv_close((uv_handle_t *)&c->check, on_closed);
	uv_close((uv_handle_t *)&c->idle, on_closed);
	links_stop(c->links, links_stopped, c);
}

void
cluster_free(struct cluster *c)
{
	if (c == NULL)
		return;
	links_free(c->links);
	core_free(c->core);
	disklog_boot_fini(&c->disk);
	rotate_free(c);
	leaserun_free(c);
	keystore_free(c);
	free(c->ticket);
	free(c->late_all);
	free(c);
}
