/* Genesis and cold starts: T12, T13. */
#include <string.h>

#include "tests/cluster/scenario.h"

static void
power_off(struct world *w)
{
	for (unsigned i = 0; i < LIVES_MAX; i++)
		if (w->life[i].used)
			world_kill(w, &w->life[i], true);
}

/* T12: a second genesis: the chain takes one. */
static const char *
second_genesis(struct world *w)
{
	static const struct disk empty;
	struct life *l;
	struct core_event e = { .kind = CORE_BEGIN };
	struct bytes data;
	struct buf b = { 0 };
	uint8_t hash[32];
	uint64_t uid;

	l = scene_start(w, 0, &empty);
	uid = l->uid;
	l->no_read = true;
	l->group = 1;
	clients_epoch(&b, 0);
	data = buf_view(&b);
	e.begin.command = &data;
	e.begin.n = 1;
	world_give(w, l, &e);
	buf_fini(&b);
	world_run(w, w->now + 1000);
	HOLDS(core_phase(l->core) == CORE_GENESIS && !scene_serves(w, l));
	HOLDS(engine_hash(core_engine(l->core), 1, hash));
	HOLDS(!chain_genesis(&w->chain, w->now, 1, hash, l->self.incarnation));
	l->no_read = false;
	world_run(w, w->now + 2000);
	HOLDS(world_life(w, uid) == NULL); /* the chain names another */
	HOLDS(scene_write(w, 1));
	return NULL;
}

/* The ordinary cold start: the best of all disks goes on. */
static const char *
cold_start(struct world *w)
{
	struct life *l;

	HOLDS(scene_write(w, 4));
	power_off(w);
	for (unsigned i = 0; i < 3; i++)
		(void)scene_start(w, i, &w->slot[i].disk);
	world_run(w, w->now + 4000);
	HOLDS(world_leader(w) == NULL);
	l = operator_best(w);
	scene_order(w, l, false);
	HOLDS(scene_phase(w, l, CORE_MEMBER, 15000));
	HOLDS(core_generation(l->core) == 2 && scene_write(w, 2));
	HOLDS(w->acked_max[0] == 6);
	return NULL;
}

/* T13: the disk ends below the anchor. */
static const char *
below_anchor(struct world *w)
{
	static struct disk old[3];

	HOLDS(scene_write(w, 2));
	for (unsigned i = 0; i < 3; i++)
		disk_copy(&old[i], &world_at(w, i)->disk);
	HOLDS(scene_write(w, 3));

	struct core_event e = { .kind = CORE_CHECKPOINT };
	uint64_t anchored = w->chain.now.at.index;

	world_give(w, world_leader(w), &e);
	world_run(w, w->now + 8000);
	HOLDS(w->chain.now.at.index > anchored);
	power_off(w);
	for (unsigned i = 0; i < 3; i++) {
		(void)scene_start(w, i, &old[i]);
		disk_clear(&old[i]);
	}
	scene_order(w, world_at(w, 0), true); /* even a lossy order */
	HOLDS(!scene_phase(w, world_at(w, 0), CORE_MEMBER, 20000));
	HOLDS(scene_waits(world_at(w, 0)) == REASON_ROLLBACK);
	HOLDS(w->chain.now.at.generation == 1);
	return NULL;
}

/* T13: at the anchor the disk has another hash. */
static const char *
other_hash(struct world *w)
{
	struct life *l;

	HOLDS(scene_write(w, 3));
	power_off(w);
	w->chain.now.at.hash[5] ^= 1;
	chain_order(&w->chain, w->now, w->chain.now.opener, false);
	for (unsigned i = 0; i < 3; i++)
		(void)scene_start(w, i, &w->slot[i].disk);
	world_run(w, w->now + 3000);
	l = world_at(w, 1);
	scene_order(w, l, true);
	HOLDS(!scene_phase(w, l, CORE_MEMBER, 20000));
	HOLDS(scene_waits(l) == REASON_ROLLBACK);
	return NULL;
}

/* T13: fewer heads than the rule asks for. */
static const char *
few_heads(struct world *w)
{
	struct life *l;

	HOLDS(scene_write(w, 3));
	power_off(w);
	(void)scene_start(w, 0, &w->slot[0].disk);
	(void)scene_start(w, 1, &w->slot[1].disk);
	world_run(w, w->now + 2000);
	l = operator_best(w);
	scene_order(w, l, false);
	HOLDS(!scene_phase(w, l, CORE_RECOVERING, 20000));
	HOLDS(scene_waits(l) == REASON_DISKS);
	/* Operators may say that they accept it. */
	scene_order(w, l, true);
	HOLDS(scene_phase(w, l, CORE_MEMBER, 20000));
	return NULL;
}

/* T13: another disk goes further. */
static const char *
not_best(struct world *w)
{
	struct life *l;

	HOLDS(scene_write(w, 2));
	world_at(w, 2)->group = 1; /* falls behind */
	HOLDS(scene_write(w, 3));
	power_off(w);
	for (unsigned i = 0; i < 3; i++)
		(void)scene_start(w, i, &w->slot[i].disk);
	world_run(w, w->now + 2000);
	l = world_at(w, 2);
	scene_order(w, l, false);
	HOLDS(!scene_phase(w, l, CORE_RECOVERING, 15000));
	HOLDS(scene_waits(l) == REASON_NOT_BEST);
	return NULL;
}

/* T13: a copy of a slot, on an old disk, is named; the slot's own life has
 * what the others lack. */
static const char *
own_slot(struct world *w)
{
	static struct disk old[3];
	struct life *l, *newest;

	HOLDS(scene_write(w, 2));
	for (unsigned i = 0; i < 3; i++)
		disk_copy(&old[i], &world_at(w, i)->disk);
	HOLDS(scene_write(w, 3));
	power_off(w);
	newest = scene_start(w, 0, &w->slot[0].disk);
	l = scene_start(w, 0, &old[0]);
	(void)scene_start(w, 1, &old[1]);
	(void)scene_start(w, 2, &old[2]);
	for (unsigned i = 0; i < 3; i++)
		disk_clear(&old[i]);
	world_run(w, w->now + 2000);
	scene_order(w, l, false);
	HOLDS(!scene_phase(w, l, CORE_RECOVERING, 15000));
	HOLDS(scene_waits(l) == REASON_NOT_BEST);
	scene_order(w, newest, false);
	HOLDS(scene_phase(w, newest, CORE_MEMBER, 15000));
	HOLDS(scene_write(w, 1) && w->acked_max[0] == 6);
	return NULL;
}

/* T13: a node without a seat is named: the next leader would remove it. */
static const char *
no_seat(struct world *w)
{
	struct life *l;

	HOLDS(scene_write(w, 3));
	power_off(w);
	for (unsigned i = 0; i < 3; i++)
		(void)scene_start(w, i, &w->slot[i].disk);
	world_run(w, w->now + 2000);
	l = operator_best(w);
	chain_unseat(&w->chain, w->now, w->slot[l->slot].name);
	scene_order(w, l, true);
	HOLDS(!scene_phase(w, l, CORE_RECOVERING, 15000));
	HOLDS(scene_waits(l) == REASON_SEAT);
	chain_seat(&w->chain, w->now, w->slot[l->slot].name,
	    w->slot[l->slot].device_id);
	HOLDS(scene_phase(w, l, CORE_MEMBER, 15000) && scene_write(w, 1));
	return NULL;
}

/* T13: two nodes with one head race; one opens the generation. */
static const char *
two_race(struct world *w)
{
	struct life *a, *b;

	HOLDS(scene_write(w, 3));
	world_run(w, w->now + 1000);
	power_off(w);
	for (unsigned i = 0; i < 3; i++)
		(void)scene_start(w, i, &w->slot[i].disk);
	world_run(w, w->now + 2000);
	a = world_at(w, 0);
	b = world_at(w, 1);
	scene_order(w, a, false);
	HOLDS(scene_phase(w, a, CORE_RECOVERING, 5000));
	world_run(w, w->now + 2000);
	scene_order(w, b, false);
	world_run(w, w->now + 25000);
	HOLDS(w->chain.opened == 1 && w->chain.now.at.generation == 2);
	HOLDS(scene_serves(w, a) && scene_serves(w, b)); /* of one cluster */
	HOLDS(core_generation(a->core) == 2 && scene_write(w, 1));
	return NULL;
}

static struct life *
copies(struct world *w)
{
	struct life *f[3];

	for (unsigned i = 0; i < 3; i++) {
		f[i] = scene_start(w, i, &world_at(w, i)->disk);
		f[i]->group = 1;
	}
	world_run(w, w->now + 1500);
	scene_order(w, f[0], true);
	return f[0];
}

/* T13: a recovery while the old quorum lives is vetoed. */
static const char *
vetoed(struct world *w)
{
	struct life *l;

	HOLDS(scene_write(w, 3));
	l = copies(w);
	HOLDS(scene_phase(w, l, CORE_RECOVERING, 5000));
	for (unsigned i = 0; i < 15; i++) {
		world_run(w, w->now + 1000);
		HOLDS(scene_write(w, 1));
	}
	HOLDS(w->chain.vetoes == 1 && w->chain.now.at.generation == 1);
	HOLDS(core_engine(l->core) == NULL && !scene_serves(w, l));
	return NULL;
}

/* T13: the old quorum lives, but is cut off from the chain: it is silent
 * before the next generation opens. */
static const char *
fenced(struct world *w, bool reads)
{
	struct life *l;
	uint64_t opened;

	HOLDS(scene_write(w, 3));
	for (unsigned i = 0; i < 3; i++) {
		world_at(w, i)->no_read = !reads;
		world_at(w, i)->no_write = true;
	}
	l = copies(w);
	opened = w->chain.opened;
	while (w->chain.opened == opened && w->now < 60000 && !w->failed)
		world_run(w, w->now + 10);
	HOLDS(!w->failed && w->chain.opened == 1);
	for (unsigned i = 0; i < LIVES_MAX; i++)
		HOLDS(!w->life[i].used || !scene_serves(w, &w->life[i]));
	HOLDS(scene_phase(w, l, CORE_MEMBER, 5000));
	world_run(w, w->now + 8000);
	HOLDS(!w->failed && scene_serves(w, l));
	return NULL;
}

static const char *
fence_cut(struct world *w)
{
	return fenced(w, false);
}

static const char *
fence_no_veto(struct world *w)
{
	return fenced(w, true);
}

/* T13: an RPC that shows the anchor as it was, to a stale node that is to
 * recover: the contract's compare-and-swap does not fall for it. */
static const char *
lying_rpc(struct world *w)
{
	static struct disk old[3];
	struct core_event e = { .kind = CORE_CHECKPOINT };
	uint64_t then, anchored;
	struct life *l;

	HOLDS(scene_write(w, 2));
	for (unsigned i = 0; i < 3; i++)
		disk_copy(&old[i], &world_at(w, i)->disk);
	world_run(w, w->now + 1000);
	then = w->now - w->finality_ms;
	anchored = w->chain.now.at.index;
	HOLDS(scene_write(w, 3));
	world_give(w, world_leader(w), &e);
	world_run(w, w->now + 8000);
	HOLDS(w->chain.now.at.index > anchored);
	power_off(w);
	w->stale_ms = 1000000; /* nobody looks at the time of its blocks */
	for (unsigned i = 0; i < 3; i++) {
		l = scene_start(w, i, &old[i]);
		l->rpc_frozen_ms = then;
		disk_clear(&old[i]);
	}
	l = world_at(w, 0);
	/* It shows an order, too. */
	w->chain.past[w->chain.n_past - 1].ms += 0;
	scene_order(w, l, true);
	for (unsigned i = 0; i < w->chain.n_past; i++)
		if (w->chain.past[i].ms <= then) {
			w->chain.past[i].view.order.set = true;
			memcpy(w->chain.past[i].view.order.incarnation,
			    l->self.incarnation, INCARNATION_ID_LEN);
			w->chain.past[i].view.order.lossy = true;
		}
	HOLDS(scene_phase(w, l, CORE_RECOVERING, 10000)); /* it believes */
	world_run(w, w->now + 20000);
	HOLDS(w->chain.opened == 0 && w->chain.refused > 0);
	HOLDS(world_leader(w) == NULL);
	return NULL;
}

const struct scenario scenarios_cold[] = {
	{ "t12_second_genesis", second_genesis, false, 0 },
	{ "t13_cold_start", cold_start, false, 0 },
	{ "t13_below_anchor", below_anchor, false, 0 },
	{ "t13_other_hash", other_hash, false, 0 },
	{ "t13_few_heads", few_heads, false, 0 },
	{ "t13_not_best", not_best, false, 0 },
	{ "t13_own_slot", own_slot, false, 0 },
	{ "t13_no_seat", no_seat, false, 0 },
	{ "t13_two_race", two_race, false, 0 },
	{ "t13_vetoed", vetoed, false, 0 },
	{ "t13_fenced", fence_cut, false, 0 },
	{ "t13_fenced_no_veto", fence_no_veto, false, 0 },
	{ "t13_lying_rpc", lying_rpc, false, 0 },
	{ NULL, NULL, false, 0 },
};
