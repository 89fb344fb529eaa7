/* The host: it stops, restores, copies and freezes nodes, cuts links and
 * RPC, and replays what it has recorded.  And the operators, who are honest
 * but may err. */
#include <stdlib.h>
#include <string.h>

#include "tests/cluster/world.h"

static struct life *
any_life(struct world *w)
{
	struct life *l = NULL;
	unsigned n = 0;

	for (unsigned i = 0; i < LIVES_MAX; i++)
		if (w->life[i].used && world_random(w, ++n) == 0)
			l = &w->life[i];
	return l;
}

static struct life *
leader_or_any(struct world *w)
{
	struct life *l = world_chance(w, 400) ? world_leader(w) : NULL;

	return l != NULL ? l : any_life(w);
}

static void
crash(struct world *w)
{
	struct life *l = leader_or_any(w);

	if (l == NULL)
		return;
	if (world_chance(w, 600)) {
		l->die_in = (int)world_random(w, 8);
		return;
	}
	w->n.crashes++;
	world_kill(w, l, world_chance(w, 500));
}

static void
power_loss(struct world *w)
{
	unsigned slots = w->o.slots;

	world_trace(w, NULL, "power is lost");
	for (unsigned i = 0; i < LIVES_MAX; i++)
		if (w->life[i].used && world_chance(w, 900)) {
			w->n.crashes++;
			world_kill(w, &w->life[i], world_chance(w, 500));
		}
	/* Not all come back at once. */
	for (unsigned i = 0; i < slots; i++)
		if (world_chance(w, 200))
			w->slot[i].restart_at = w->now + 6000;
}

static void
freeze(struct world *w)
{
	struct life *l = leader_or_any(w);

	if (l == NULL)
		return;
	if (world_chance(w, 500))
		l->freeze_in = (int)world_random(w, 8);
	else
		world_freeze(w, l);
}

static void
thaw(struct world *w)
{
	for (unsigned i = 0; i < LIVES_MAX; i++)
		if (w->life[i].used && w->life[i].frozen &&
		    world_chance(w, 400))
			world_thaw(w, &w->life[i]);
}

static void
partition(struct world *w)
{
	w->n.partitions++;
	for (unsigned i = 0; i < LIVES_MAX; i++)
		w->life[i].group = (unsigned)world_random(w, 2);
	if (world_chance(w, 300)) {
		unsigned a = (unsigned)world_random(w, w->o.slots);
		unsigned b = (unsigned)world_random(w, w->o.slots);

		w->cut[a][b] = a != b;
	}
}

static void
heal_links(struct world *w)
{
	for (unsigned i = 0; i < LIVES_MAX; i++)
		w->life[i].group = 0;
	memset(w->cut, 0, sizeof w->cut);
}

static void
rpc(struct world *w)
{
	bool all = world_chance(w, 250);
	struct life *one = any_life(w);
	unsigned what = (unsigned)world_random(w, 4);

	for (unsigned i = 0; i < LIVES_MAX; i++) {
		struct life *l = &w->life[i];

		if (!l->used || (!all && l != one))
			continue;
		l->no_read = what == 0;
		l->no_write = what == 1;
		l->rpc_frozen_ms = what == 2 ? w->now - w->finality_ms : 0;
	}
}

/* The disk that a slot is started with: another one than its newest. */
static const struct disk *
wrong_disk(struct world *w, unsigned slot)
{
	static const struct disk empty;
	const struct slot *s = &w->slot[slot];
	const struct slot *o = &w->slot[world_random(w, w->o.slots)];

	if (world_chance(w, 150))
		return &empty;
	/* Another slot's disk does not unseal: the same as none. */
	if (o != s && world_chance(w, 100))
		return &empty;
	return s->n_saved > 0 ? &s->saved[world_random(w, s->n_saved)]
			      : &s->disk;
}

static void
restore(struct world *w)
{
	unsigned slot = (unsigned)world_random(w, w->o.slots);
	struct life *l = world_at(w, slot);
	bool newest = world_chance(w, 300);

	if (l != NULL) {
		w->n.crashes++;
		world_kill(w, l, world_chance(w, 500));
	}
	if (world_at(w, slot) != NULL)
		return;
	w->n.restores += !newest;
	if (!newest)
		w->slot[slot].restored_ms = w->now;
	w->slot[slot].restart_at = 0;
	(void)world_boot(
	    w, slot, newest ? &w->slot[slot].disk : wrong_disk(w, slot));
}

static void
fork_one(struct world *w, unsigned slot, unsigned group)
{
	struct life *l = world_at(w, slot), *f;
	const struct disk *d =
	    l != NULL && world_chance(w, 700) ? &l->disk : wrong_disk(w, slot);
	unsigned n = 0;

	for (unsigned i = 0; i < LIVES_MAX; i++)
		n += w->life[i].used && w->life[i].slot == slot;
	if (n >= 3 || (f = world_boot(w, slot, d)) == NULL)
		return;
	w->n.forks++;
	f->group = group;
}

/* Copies of all disks, apart from the cluster that lives; and an order. */
static void
shadow(struct world *w)
{
	struct life *best = NULL;
	bool cut = world_chance(w, 500);

	for (unsigned i = 0; i < LIVES_MAX; i++) {
		struct life *l = &w->life[i];

		if (l->used && cut) {
			l->no_read = world_chance(w, 700);
			l->no_write = true;
		}
	}
	for (unsigned i = 0; i < w->o.slots; i++)
		fork_one(w, i, 1);
	for (unsigned i = 0; i < LIVES_MAX; i++) {
		struct life *l = &w->life[i];

		if (l->used && l->group == 1 && core_engine(l->core) == NULL &&
		    (best == NULL || l->disk.n > best->disk.n))
			best = l;
	}
	if (best == NULL)
		return;
	world_trace(w, best, "is named, beside a cluster that lives");
	w->n.orders++;
	chain_order(&w->chain, w->now, best->self.incarnation,
	    world_chance(w, w->lossy));
}

static void
reseat(struct world *w, unsigned slot)
{
	struct slot *s = &w->slot[slot];

	s->unseated = false;
	chain_seat(&w->chain, w->now, s->name, s->device_id);
}

static void
drain(struct world *w)
{
	struct life *l = any_life(w);
	struct core_event e = { .kind = CORE_DRAIN };

	if (l != NULL && !l->frozen) {
		l->draining = true;
		world_give(w, l, &e);
	}
}

static void
checkpoint(struct world *w)
{
	struct life *l = world_leader(w);
	struct core_event e = { .kind = CORE_CHECKPOINT };

	if (l != NULL)
		world_give(w, l, &e);
}

/* The contract no longer allows a life; not all have read it yet. */
static void
deny(struct world *w)
{
	struct life *l = any_life(w);
	uint8_t incarnation[INCARNATION_ID_LEN];
	struct core_event e = { .kind = CORE_PEER_DENIED,
		.denied = { .incarnation = incarnation } };

	if (l == NULL)
		return;
	world_trace(w, l, "is denied");
	memcpy(incarnation, l->self.incarnation, sizeof incarnation);
	l->denied = true;
	for (unsigned i = 0; i < LIVES_MAX; i++) {
		struct life *o = &w->life[i];

		if (o->used && o != l && !o->frozen && world_chance(w, 900))
			world_give(w, o, &e);
	}
}

/* Operators take a seat away, and give it back. */
static void
seats(struct world *w)
{
	const struct slot *s = &w->slot[world_random(w, w->o.slots)];

	if (w->o.slots < 5)
		return;
	for (unsigned i = 0; i < w->o.slots; i++)
		if (w->slot[i].unseated) {
			reseat(w, i);
			return;
		}
	world_trace(w, NULL, "%s loses its seat", s->name);
	chain_unseat(&w->chain, w->now, s->name);
	w->slot[s - w->slot].unseated = true;
}

static void
links(struct world *w)
{
	w->delay_max = 1 + (unsigned)world_random(w, world_random(w, 400));
	w->delay_max += w->delay_min;
	w->drop = (unsigned)world_random(w, 150);
	w->twice = (unsigned)world_random(w, 100);
	w->write_max = w->write_min + (unsigned)world_random(w, 60);
}

void
adversary_begin(struct world *w)
{
	w->clients = true;
	w->restarts = true;
	w->operator= true;
	w->lossy = world_chance(w, 200) ? 300 : 0;
	w->wrong = world_chance(w, 300) ? 300 : 0;
	w->next_client = w->now;
	w->next_operator = w->now;
	w->last_ack_ms = w->now;
}

void
adversary_act(struct world *w)
{
	static const struct {
		unsigned weight;
		void (*act)(struct world *);
	} all[] = {
		{ 14, crash },
		{ 2, power_loss },
		{ 8, freeze },
		{ 14, thaw },
		{ 6, partition },
		{ 8, heal_links },
		{ 6, rpc },
		{ 10, restore },
		{ 2, shadow },
		{ 3, drain },
		{ 3, checkpoint },
		{ 4, links },
		{ 2, deny },
		{ 2, seats },
		{ 12, net_replay },
	};
	/* Every schedule has its own liking. */
	unsigned total = 0, like[sizeof all / sizeof *all], pick;

	for (unsigned i = 0; i < sizeof all / sizeof *all; i++) {
		uint64_t h = (w->o.seed + 1) * 0x9e3779b97f4a7c15 * (i + 7);

		like[i] = all[i].weight * (unsigned)((h >> 40) % 4);
		total += like[i];
	}
	if (total == 0)
		return;
	pick = (unsigned)world_random(w, total);
	for (unsigned i = 0; i < sizeof all / sizeof *all; i++) {
		if (pick < like[i]) {
			all[i].act(w);
			break;
		}
		pick -= like[i];
	}
	if (world_chance(w, 60))
		fork_one(w, (unsigned)world_random(w, w->o.slots),
		    world_chance(w, 300) ? 1 : 0);
}

/* Of a slot's lives one goes on: the one that is furthest in.  If none has
 * joined, it starts again from the best disk that was ever its own. */
static void
one_honest(struct world *w, unsigned slot)
{
	struct life *keep = NULL;
	uint64_t uid;

	for (unsigned i = 0; i < LIVES_MAX; i++) {
		struct life *l = &w->life[i];

		if (l->used && l->slot == slot &&
		    core_engine(l->core) != NULL &&
		    (keep == NULL ||
			(core_phase(l->core) == CORE_MEMBER &&
			    core_phase(keep->core) != CORE_MEMBER)))
			keep = l;
	}
	uid = keep != NULL ? keep->uid : 0;
	for (unsigned i = 0; i < LIVES_MAX; i++) {
		struct life *l = &w->life[i];

		/* It may have opened a generation just now. */
		if (l->used && l->slot == slot &&
		    core_phase(l->core) == CORE_RECOVERING) {
			uid = uid == 0 ? l->uid : uid;
			continue;
		}
		if (l->used && l->slot == slot && l->uid != uid &&
		    (keep == NULL || core_engine(l->core) == NULL ||
			core_phase(l->core) != CORE_MEMBER))
			world_kill(w, l, true);
	}
	if (uid != 0)
		return;
	if (disk_better(w, &w->slot[slot].best, &w->slot[slot].disk))
		disk_copy(&w->slot[slot].disk, &w->slot[slot].best);
	w->slot[slot].restart_at = w->now + 100;
}

void
adversary_settle(struct world *w)
{
	for (unsigned i = 0; i < w->o.slots && !w->failed; i++)
		one_honest(w, i);
}

void
adversary_stop(struct world *w)
{
	world_trace(w, NULL, "the adversary stops");
	heal_links(w);
	w->drop = w->twice = 0;
	w->delay_max = w->delay_min + 5;
	w->write_max = w->write_min + 4;
	w->wrong = 0;
	w->lossy = 0;
	for (unsigned i = 0; i < LIVES_MAX; i++) {
		struct life *l = &w->life[i];

		if (!l->used)
			continue;
		l->no_read = l->no_write = false;
		l->rpc_frozen_ms = 0;
		l->die_in = l->freeze_in = -1;
	}
	for (unsigned i = 0; i < LIVES_MAX && !w->failed; i++)
		if (w->life[i].used)
			world_thaw(w, &w->life[i]);
	for (unsigned i = 0; i < w->o.slots; i++)
		if (w->slot[i].unseated)
			reseat(w, i);
	for (unsigned i = 0; i < LIVES_MAX && !w->failed; i++)
		if (w->life[i].used && w->life[i].denied)
			world_kill(w, &w->life[i], true);
	adversary_settle(w);
}
