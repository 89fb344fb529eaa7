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

const struct scenario scenarios_member[] = {
	{ "delisted_leader", delisted_leader, false },
	{ "other_device", other_device, false },
	{ NULL, NULL, false },
};
