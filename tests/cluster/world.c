/* Lives of nodes: what a node's loop does around its core. */
#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/cluster/world.h"

uint64_t
world_random(struct world *w, uint64_t below)
{
	uint64_t z = w->rng += 0x9e3779b97f4a7c15;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	z ^= z >> 31;
	return below == 0 ? 0 : z % below;
}

bool
world_chance(struct world *w, unsigned of_1000)
{
	return of_1000 > 0 && world_random(w, 1000) < of_1000;
}

static void
print_life(const struct world *w, const struct life *l)
{
	printf("# %6.3f ", (double)w->now / 1000);
	if (l != NULL)
		printf("%s#%-3llu ", w->slot[l->slot].name,
		    (unsigned long long)l->uid);
}

void
world_trace(struct world *w, const struct life *l, const char *fmt, ...)
{
	va_list ap;

	if (!w->o.trace)
		return;
	print_life(w, l);
	va_start(ap, fmt);
	(void)vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
}

void
world_fail(struct world *w, const struct life *l, const char *fmt, ...)
{
	char s[200];
	va_list ap;

	if (w->failed)
		return;
	va_start(ap, fmt);
	(void)vsnprintf(s, sizeof s, fmt, ap);
	va_end(ap);
	w->failed = true;
	(void)snprintf(w->failure, sizeof w->failure, "%.3f s, %s#%llu: %s",
	    (double)w->now / 1000, l != NULL ? w->slot[l->slot].name : "-",
	    (unsigned long long)(l != NULL ? l->uid : 0), s);
	world_trace(w, l, "VIOLATION %s", s);
}

/* ---- lives ---- */

uint64_t
life_now(const struct world *w, const struct life *l)
{
	return w->now + l->clock;
}

struct life *
world_life(struct world *w, uint64_t uid)
{
	for (unsigned i = 0; i < LIVES_MAX; i++)
		if (w->life[i].used && w->life[i].uid == uid)
			return &w->life[i];
	return NULL;
}

struct life *
world_at(struct world *w, unsigned slot)
{
	for (unsigned i = 0; i < LIVES_MAX; i++)
		if (w->life[i].used && w->life[i].slot == slot &&
		    !w->life[i].fork)
			return &w->life[i];
	return NULL;
}

struct life *
world_by_incarnation(struct world *w, const uint8_t *incarnation)
{
	for (unsigned i = 0; i < LIVES_MAX; i++)
		if (w->life[i].used &&
		    memcmp(w->life[i].self.incarnation, incarnation,
			INCARNATION_ID_LEN) == 0)
			return &w->life[i];
	return NULL;
}

struct life *
world_leader(struct world *w)
{
	for (unsigned i = 0; i < LIVES_MAX; i++) {
		struct life *l = &w->life[i];

		if (l->used && !l->frozen && core_engine(l->core) != NULL &&
		    engine_state(core_engine(l->core)) == ENGINE_LEADER &&
		    core_serves(l->core, life_now(w, l), NULL) == ERR_OK)
			return l;
	}
	return NULL;
}

static void
fill(struct world *w, uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		p[i] = (uint8_t)world_random(w, 256);
}

static void
give_boot(struct world *w, struct life *l)
{
	struct core_event e = { .kind = CORE_BOOT };
	struct engine_snapshot snapshot;
	struct engine_entry *en = calloc(l->disk.n + 1, sizeof *en);

	if (en == NULL)
		abort();
	e.boot.generation = l->disk.generation;
	disk_boot(&l->disk, &e.boot.log, &snapshot, en);
	fill(w, e.boot.nonce, sizeof e.boot.nonce);
	world_give(w, l, &e);
	free(en);
	if (l->used && l->disk.has_roots) {
		e = (struct core_event){ .kind = CORE_CAN_WRITE,
			.can_write = true };
		world_give(w, l, &e);
	}
}

struct life *
world_boot(struct world *w, unsigned slot, const struct disk *disk)
{
	struct core_options o = { .cluster = 7,
		.timing = w->timing,
		.snapshot_every = 48,
		.snapshot_trailing = 12,
		.unsafe_plain = w->o.plain };
	struct life *l = NULL;

	for (unsigned i = 0; i < LIVES_MAX && l == NULL; i++)
		if (!w->life[i].used)
			l = &w->life[i];
	if (l == NULL)
		return NULL;
	*l = (struct life){ .used = true,
		.uid = ++w->next_uid,
		.slot = slot,
		.fork = world_at(w, slot) != NULL,
		.die_in = -1,
		.freeze_in = -1,
		.clock = world_random(w, 1000000) };
	memcpy(l->self.slot, w->slot[slot].name, SLOT_MAX);
	memcpy(l->self.device_id, w->slot[slot].device_id, 32);
	fill(w, l->self.incarnation, sizeof l->self.incarnation);
	disk_copy(&l->disk, disk);
	disk_copy(&l->boot, disk);
	roots_boot(l);
	o.self = l->self;
	o.seed = (unsigned)world_random(w, 1u << 30);
	if (core_new(&l->core, &o) != ERR_OK)
		abort();
	world_trace(w, l, "boots, disk of generation %llu, %zu entries%s",
	    (unsigned long long)disk->generation, disk->n,
	    l->fork ? ", a fork" : "");
	l->next_poll = w->now + world_random(w, w->poll_ms);
	give_boot(w, l);
	return l->used ? l : NULL;
}

bool
disk_beats(const struct disk *a, const struct disk *b)
{
	uint64_t at, bt, al = disk_last(a, &at), bl = disk_last(b, &bt);

	if (a->generation != b->generation)
		return a->generation > b->generation;
	return at != bt ? at > bt : al > bl;
}

void
world_kill(struct world *w, struct life *l, bool wrote)
{
	struct slot *s = &w->slot[l->slot];

	world_trace(w, l, "ends");
	if (l->writing && wrote)
		(void)disk_apply(&l->disk, &l->write);
	if (l->writing && wrote)
		check_written(w, l);
	clients_life_over(w, l);
	if (w->n_past < PEERS_PAST)
		w->past[w->n_past++] = core_raft_id(l->self.incarnation);
	/* The newest disk of the slot stays in it. */
	if (!l->fork || s->disk.generation == 0)
		disk_copy(&s->disk, &l->disk);
	if (disk_better(w, &l->disk, &s->best))
		disk_copy(&s->best, &l->disk);
	disk_clear(&l->disk);
	disk_clear(&l->boot);
	disk_write_clear(&l->write);
	for (size_t i = 0; i < l->n_held; i++)
		core_action_fini(&l->held[i]);
	free(l->held);
	for (unsigned i = 0; i < l->n_backlog; i++)
		message_clear(&l->backlog[i]);
	core_free(l->core);
	l->used = false;
	/* A fork that is left alone is the slot's life now. */
	for (unsigned i = 0; i < LIVES_MAX && !l->fork; i++)
		if (w->life[i].used && w->life[i].slot == l->slot) {
			w->life[i].fork = false;
			break;
		}
	s->restart_at = w->now + 200 + world_random(w, 1500);
}

void
world_freeze(struct world *w, struct life *l)
{
	if (l->frozen)
		return;
	world_trace(w, l, "freezes");
	l->frozen = true;
	w->n.freezes++;
}

/* ---- actions ---- */

static void
chain_action(struct world *w, struct life *l, const struct anchor_write *t)
{
	struct event e = { .kind = EV_TX,
		.uid = l->uid,
		.tx = *t,
		.at = w->now + 20 + world_random(w, 200) };

	world_trace(w, l, "chain write %u at %llu.%llu", (unsigned)t->kind,
	    (unsigned long long)t->to.generation,
	    (unsigned long long)t->to.index);
	check_recovery(w, l, t);
	if (!l->no_write)
		net_push(w, &e);
}

static void
begin_write(struct world *w, struct life *l, const struct core_write *cw)
{
	struct event e = { .kind = EV_WRITTEN,
		.uid = l->uid,
		.number = cw->number,
		.at = w->now + w->write_min +
		    world_random(w, w->write_max - w->write_min + 1) };

	if (l->writing) {
		world_fail(w, l, "a second write while one is under way");
		return;
	}
	disk_capture(&l->write, cw, core_engine(l->core));
	l->writing = true;
	net_push(w, &e);
}

static void
tell(struct world *w, const struct life *l, const struct core_action *a)
{
	if (strcmp(a->event.name, "roots_lost") == 0)
		w->roots_lost = true;
	if (strcmp(a->event.name, "member_replaced") == 0)
		w->n.evictions++;
	world_trace(
	    w, l, "%s %s: %s", a->event.name, a->event.slot, a->event.detail);
}

/* The life may be over afterwards. */
static void
perform(struct world *w, struct life *l, struct core_action *a)
{
	switch (a->kind) {
	case CORE_WRITE:
		begin_write(w, l, &a->write);
		break;
	case CORE_SEND:
		check_message(w, l, a);
		net_send(w, l, a);
		break;
	case CORE_DONE:
		clients_done(w, l, a);
		break;
	case CORE_CHAIN:
		chain_action(w, l, &a->chain);
		break;
	case CORE_MAKE_ROOTS:
	case CORE_REGISTRY_WRITE:
		roots_act(w, l, a);
		break;
	case CORE_APPLIED:
		check_applied(w, l, a->applied.index);
		roots_applied(w, l, &a->applied.command);
		break;
	case CORE_HALT:
		world_trace(w, l, "halts: %s", core_halt_text(a->halt));
		w->n.halts++;
		world_kill(w, l, world_chance(w, 500));
		break;
	case CORE_EVENT:
		tell(w, l, a);
		break;
	}
}

static void
hold(struct life *l, const struct core_action *a)
{
	if (l->n_held == l->held_cap) {
		l->held_cap = l->held_cap == 0 ? 16 : l->held_cap * 2;
		l->held = realloc(l->held, l->held_cap * sizeof *l->held);
		if (l->held == NULL)
			abort();
	}
	l->held[l->n_held++] = *a;
}

/* A node may die or freeze between any two of its actions. */
static bool
interrupted(struct world *w, struct life *l)
{
	if (l->die_in == 0) {
		w->n.crashes++;
		world_kill(w, l, world_chance(w, 500));
		return true;
	}
	if (l->freeze_in == 0) {
		l->freeze_in = -1;
		world_freeze(w, l);
	}
	l->die_in -= l->die_in > 0;
	l->freeze_in -= l->freeze_in > 0;
	return l->frozen;
}

/* What waited for the write goes out; what comes from the core follows. */
static void
carry_out(struct world *w, struct life *l)
{
	struct core_action a;
	uint64_t uid = l->uid;

	while (l->used && l->uid == uid && l->n_held > 0 && !l->writing) {
		if (interrupted(w, l))
			return;
		a = l->held[0];
		memmove(l->held, l->held + 1, --l->n_held * sizeof *l->held);
		perform(w, l, &a);
		core_action_fini(&a);
	}
	while (l->used && l->uid == uid && !interrupted(w, l) &&
	    core_next(l->core, &a)) {
		bool waits = (l->writing || l->n_held > 0) &&
		    ((a.kind == CORE_SEND && !a.send.early) ||
			a.kind == CORE_DONE || a.kind == CORE_WRITE);

		if (waits) {
			hold(l, &a);
			continue;
		}
		perform(w, l, &a);
		core_action_fini(&a);
	}
}

void
world_give(struct world *w, struct life *l, struct core_event *e)
{
	uint64_t uid = l->uid;
	enum err r;

	assert(!l->frozen);
	e->now_ms = life_now(w, l);
	w->n.steps++;
	r = core_step(l->core, e);
	if (r != ERR_OK) {
		world_fail(w, l, "core_step says %s", err_text(r));
		return;
	}
	check_step(w, l);
	carry_out(w, l);
	if (l->used && l->uid == uid)
		check_step(w, l);
}

void
world_written(struct world *w, struct life *l, uint64_t number)
{
	struct core_event e = { .kind = CORE_PERSISTED, .persisted = number };
	const char *bad;

	if (l->frozen) {
		l->written_while_frozen = true; /* the host's disk goes on */
		return;
	}
	bad = disk_apply(&l->disk, &l->write);
	disk_write_clear(&l->write);
	l->writing = false;
	if (bad != NULL)
		world_fail(w, l, "%s", bad);
	check_written(w, l);
	world_give(w, l, &e);
}

void
world_thaw(struct world *w, struct life *l)
{
	uint64_t uid = l->uid;

	if (!l->frozen)
		return;
	world_trace(w, l, "goes on");
	l->frozen = false;
	carry_out(w, l);
	if (!l->used || l->uid != uid || l->frozen)
		return;
	if (l->written_while_frozen) {
		l->written_while_frozen = false;
		world_written(w, l, l->write.w.number);
	}
	for (unsigned i = 0; i < BACKLOG_MAX; i++) {
		struct message m;

		if (!l->used || l->uid != uid || l->frozen || l->n_backlog == 0)
			return;
		m = l->backlog[0];
		memmove(l->backlog, l->backlog + 1,
		    --l->n_backlog * sizeof l->backlog[0]);
		net_deliver(w, l, &m);
		message_clear(&m);
	}
}

/* ---- begin and end ---- */

void
world_init(struct world *w, const struct world_options *o)
{
	*w = (struct world){ .o = *o,
		.rng = o->seed * 0x2545f4914f6cdd1d + 1,
		.now = 10000,
		.finality_ms = 500,
		.poll_ms = 400,
		.stale_ms = 1500,
		.delay_min = 1,
		.delay_max = 5,
		.write_min = 1,
		.write_max = 4,
		.client_every = 120 };
	w->timing = (struct core_timing){ .heartbeat_ms = 100,
		.election_ms = 400,
		.join_ms = 150,
		.evict_ms = 1500,
		.demote_ms = 6000,
		.forward_ms = 2000,
		.fresh_ms = 1500,
		.fence_ms = 3000 };
	w->chain.now.wait_s = 7;
	for (unsigned i = 0; i < o->slots; i++) {
		struct slot *s = &w->slot[i];

		(void)snprintf(s->name, sizeof s->name, "s%u", i + 1);
		memset(s->device_id, (int)i + 1, sizeof s->device_id);
		chain_seat(&w->chain, 0, s->name, s->device_id);
	}
}

void
world_fini(struct world *w)
{
	for (unsigned i = 0; i < LIVES_MAX; i++)
		if (w->life[i].used)
			world_kill(w, &w->life[i], false);
	for (unsigned i = 0; i < SLOTS_MAX; i++) {
		disk_clear(&w->slot[i].disk);
		disk_clear(&w->slot[i].best);
		for (unsigned k = 0; k < w->slot[i].n_saved; k++)
			disk_clear(&w->slot[i].saved[k]);
		free(w->slot[i].held);
	}
	for (size_t i = 0; i < w->n_events; i++)
		event_clear(&w->heap[i]);
	free(w->heap);
	for (unsigned i = 0; i < w->n_tape; i++)
		message_clear(&w->tape[i]);
	for (unsigned i = 0; i < GENERATIONS_MAX; i++)
		free(w->lineage[i].at);
	free(w->acked);
	free(w->reg);
}
