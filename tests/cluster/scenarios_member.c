/* Seats that are taken away, and nodes that leave. */
#include "tests/cluster/scenario.h"

/* The leader loses its seat while its vote is needed: it hands leadership on
 * and stays, until those who are left are a majority without it. */
static const char *
delisted_leader(struct world *w)
{
	struct life *old = world_leader(w), *l;
	uint64_t uid = old->uid;
	unsigned other = (old->slot + 1) % 3;

	HOLDS(scene_write(w, 2));
	scene_stop(w, other);
	chain_unseat(&w->chain, w->now, w->slot[old->slot].name);
	for (unsigned i = 0; i < 6; i++) {
		world_run(w, w->now + 1000);
		HOLDS(scene_write(w, 1));
	}
	HOLDS(world_life(w, uid) != NULL && world_leader(w) != old);
	l = scene_start(w, other, &w->slot[other].disk);
	HOLDS(scene_phase(w, l, CORE_MEMBER, 10000));
	world_run(w, w->now + 4000);
	HOLDS(world_life(w, uid) == NULL && scene_write(w, 1));
	return NULL;
}

/* The seat of the leader is given to another machine: that one gets it. */
static const char *
other_device(struct world *w)
{
	struct life *old = world_leader(w), *l;
	uint64_t uid = old->uid;
	struct slot *s = &w->slot[old->slot];

	HOLDS(scene_write(w, 2));
	s->device_id[0] ^= 0x80;
	chain_seat(&w->chain, w->now, s->name, s->device_id);
	world_run(w, w->now + 1000);
	l = scene_start(w, old->slot, &s->disk);
	HOLDS(scene_phase(w, l, CORE_MEMBER, 15000));
	HOLDS(world_life(w, uid) == NULL && scene_write(w, 1));
	return NULL;
}

/* Two of three are killed and come back; the third lives on as a member of a
 * cluster that is no more.  It gives way once a recovery is ordered, and
 * only then do the disks suffice. */
static const char *
gives_way(struct world *w)
{
	struct life *old, *l;
	uint64_t uid;

	HOLDS(scene_write(w, 4));
	old = world_leader(w);
	uid = old->uid;
	for (unsigned i = 0; i < 3; i++)
		if (i != old->slot)
			scene_stop(w, i);
	world_run(w, w->now + 5000);
	for (unsigned i = 0; i < 3; i++)
		if (i != old->slot)
			(void)scene_start(w, i, &w->slot[i].disk);
	world_run(w, w->now + 15000);
	HOLDS(world_life(w, uid) != NULL && world_leader(w) == NULL);
	l = operator_best(w);
	scene_order(w, l, false);
	world_run(w, w->now + 2500);
	HOLDS(world_life(w, uid) != NULL); /* others may yet be heard */
	HOLDS(scene_waits(l) == REASON_DISKS);
	world_run(w, w->now + 2500);
	HOLDS(world_life(w, uid) == NULL);
	(void)scene_start(w, old->slot, &w->slot[old->slot].disk);
	world_run(w, w->now + 2000);
	if (operator_best(w) != l)
		scene_order(w, l = operator_best(w), false);
	HOLDS(scene_phase(w, l, CORE_MEMBER, 20000));
	HOLDS(core_generation(l->core) == 2 && scene_write(w, 2));
	HOLDS(w->acked_max[0] == 6);
	return NULL;
}

static void
apart(struct world *w, bool cut)
{
	for (unsigned i = 0; i < 3; i++)
		for (unsigned j = 0; j < 3; j++)
			w->cut[i][j] = cut && i != j;
}

/* All are cut off from each other for `ms`, and an order names one of them
 * from `order_ms` on: they live on, and so does their cluster. */
static const char *
lives_on(struct world *w, uint64_t order_ms, uint64_t ms)
{
	struct life *l[3];
	uint64_t uid[3];

	HOLDS(scene_write(w, 2));
	for (unsigned i = 0; i < 3; i++) {
		l[i] = world_at(w, i);
		uid[i] = l[i]->uid;
	}
	if (order_ms == 0)
		scene_order(w, l[1], false);
	world_run(w, w->now + 2000);
	HOLDS(scene_write(w, 1));
	apart(w, true);
	world_run(w, w->now + order_ms);
	if (order_ms != 0)
		scene_order(w, l[1], false);
	world_run(w, w->now + ms - order_ms);
	apart(w, false);
	world_run(w, w->now + 8000);
	for (unsigned i = 0; i < 3; i++)
		HOLDS(world_life(w, uid[i]) != NULL && scene_serves(w, l[i]));
	HOLDS(scene_write(w, 1) && w->chain.now.at.generation == 1);
	return NULL;
}

/* An order that the cluster outlived does not count later. */
static const char *
old_order(struct world *w)
{
	return lives_on(w, 0, 20000);
}

/* Nor one that comes when those who were cut off are about to meet again. */
static const char *
early_order(struct world *w)
{
	return lives_on(w, 1000, 4500);
}

static const char *
late_order(struct world *w)
{
	return lives_on(w, 10000, 12500);
}

const struct scenario scenarios_member[] = {
	{ "delisted_leader", delisted_leader, false, 0 },
	{ "other_device", other_device, false, 0 },
	{ "gives_way", gives_way, false, 0 },
	{ "outlives_old_order", old_order, false, 0 },
	{ "outlives_early_order", early_order, false, 0 },
	{ "outlives_late_order", late_order, false, 0 },
	{ NULL, NULL, false, 0 },
};
