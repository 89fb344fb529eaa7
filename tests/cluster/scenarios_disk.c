/* Old, copied and frozen nodes beside a cluster that lives. */
#include <string.h>

#include "tests/cluster/scenario.h"

/* T2: a node votes, is rolled back to before its vote, and is asked again. */
static const char *
vote_twice(struct world *w)
{
	static struct disk before;
	struct life *l;

	HOLDS(scene_write(w, 3));
	disk_copy(&before, &world_at(w, 2)->disk);
	/* The leader and s3 apart from s2: s3 votes for one of them. */
	for (unsigned round = 0; round < 40 && !w->failed; round++) {
		for (unsigned i = 0; i < LIVES_MAX; i++)
			w->life[i].group = 0;
		if ((l = world_leader(w)) != NULL)
			l->group = 1;
		world_run(w, w->now + 350 + 37ull * (round % 20));
		scene_stop(w, 2);
		l = scene_start(w, 2, &before);
		HOLDS(l != NULL);
		l->group = round % 2;
		world_run(w, w->now + 900);
	}
	disk_clear(&before);
	if (!w->o.plain) {
		HOLDS(!w->failed);
		return NULL;
	}
	HOLDS(w->failed);
	return NULL;
}

/* T6: one disk is rolled back, and one node that knows better is kept off. */
static const char *
one_back(struct world *w)
{
	static struct disk old;
	struct life *leader, *l;
	unsigned follower = 0;

	HOLDS(scene_write(w, 5));
	leader = world_leader(w);
	while (follower == leader->slot)
		follower++;
	disk_copy(&old, &world_at(w, follower)->disk);
	for (unsigned i = 0; i < 3; i++)
		if (i != follower && i != leader->slot)
			world_at(w, i)->group = 1; /* lags behind */
	HOLDS(scene_write(w, 5));
	scene_stop(w, leader->slot); /* and is kept off */
	scene_stop(w, follower);
	for (unsigned i = 0; i < LIVES_MAX; i++)
		w->life[i].group = 0;
	l = scene_start(w, follower, &old);
	disk_clear(&old);
	world_run(w, w->now + 8000);
	if (!w->o.plain) {
		/* No quorum of lives is left: nobody serves. */
		HOLDS(world_leader(w) == NULL && !scene_serves(w, l));
		return NULL;
	}
	HOLDS(
	    w->failed || (scene_write(w, 1) && w->known[0] < 10) || w->failed);
	return NULL;
}

/* T7: all disks are rolled back. */
static const char *
all_back(struct world *w)
{
	static struct disk old[3];

	HOLDS(scene_write(w, 5));
	for (unsigned i = 0; i < 3; i++)
		disk_copy(&old[i], &world_at(w, i)->disk);
	HOLDS(scene_write(w, 7));
	for (unsigned i = 0; i < 3; i++)
		scene_stop(w, i);
	for (unsigned i = 0; i < 3; i++) {
		(void)scene_start(w, i, &old[i]);
		disk_clear(&old[i]);
	}
	world_run(w, w->now + 8000);
	if (!w->o.plain) {
		HOLDS(world_leader(w) == NULL);
		return NULL;
	}
	(void)scene_write(w, 3);
	HOLDS(w->failed); /* acknowledged values are given again */
	return NULL;
}

/* T8: two are rolled back, and the newest returns later. */
static const char *
newest_returns(struct world *w)
{
	static struct disk old[3];
	struct life *leader;

	HOLDS(scene_write(w, 5));
	for (unsigned i = 0; i < 3; i++)
		disk_copy(&old[i], &world_at(w, i)->disk);
	leader = world_leader(w);
	HOLDS(scene_write(w, 5));

	unsigned newest = leader->slot;

	for (unsigned i = 0; i < 3; i++)
		scene_stop(w, i);
	for (unsigned i = 0; i < 3; i++) {
		if (i != newest)
			(void)scene_start(w, i, &old[i]);
		disk_clear(&old[i]);
	}
	world_run(w, w->now + 6000);
	if (w->o.plain) {
		(void)scene_write(w, 3);
		HOLDS(w->failed);
		return NULL;
	}
	HOLDS(world_leader(w) == NULL);
	(void)scene_start(w, newest, &w->slot[newest].disk);
	world_run(w, w->now + 3000);
	HOLDS(world_leader(w) == NULL); /* without an operator */
	scene_order(w, world_at(w, newest), false);
	HOLDS(scene_phase(w, world_at(w, newest), CORE_MEMBER, 20000));
	HOLDS(scene_wait_leader(w, 5000));
	HOLDS(scene_value(w, world_at(w, newest)) == 10);
	world_run(w, w->now + 5000);
	for (unsigned i = 0; i < 3; i++)
		HOLDS(scene_serves(w, world_at(w, i)) &&
		    scene_value(w, world_at(w, i)) == 10);
	return NULL;
}

/* T9: a copy of a node that lives. */
static const char *
fork_of_live(struct world *w)
{
	struct life *f;

	HOLDS(scene_write(w, 3));
	f = scene_start(w, 1, &world_at(w, 1)->disk);
	HOLDS(f != NULL && f->fork);
	for (unsigned i = 0; i < 20; i++) {
		HOLDS(scene_write(w, 1));
		HOLDS(core_engine(f->core) == NULL && !scene_serves(w, f));
	}
	HOLDS(scene_waits(f) == REASON_SLOT_ALIVE);
	HOLDS(scene_serves(w, world_at(w, 1)));
	return NULL;
}

/* T10: the net is split, and each half gets copies of the other's disks. */
static const char *
split_copies(struct world *w)
{
	struct life *f[3];

	HOLDS(scene_write(w, 5));
	for (unsigned i = 0; i < 3; i++) {
		f[i] = scene_start(w, i, &world_at(w, i)->disk);
		f[i]->group = 1;
	}
	world_run(w, w->now + 5000);
	if (w->o.plain) {
		for (unsigned i = 0; i < 40 && !w->failed; i++)
			for (unsigned k = 0; k < LIVES_MAX; k++) {
				struct life *l = &w->life[k];

				if (l->used && !w->failed)
					(void)clients_ask(w, l, OP_INCREMENT, 0,
					    scene_value(w, l), ++w->next_op);
				world_run(w, w->now + 20);
			}
		HOLDS(w->failed);
		return NULL;
	}
	HOLDS(scene_write(w, 5));
	for (unsigned i = 0; i < 3; i++)
		HOLDS(core_engine(f[i]->core) == NULL);
	return NULL;
}

/* T14: a node that was replaced while it was away returns. */
static const char *
zombie(struct world *w)
{
	struct life *old = world_at(w, 2), *fresh;
	uint64_t uid = old->uid;

	HOLDS(scene_write(w, 2));
	old->group = 1;
	fresh = scene_start(w, 2, &w->slot[2].disk);
	HOLDS(scene_phase(w, fresh, CORE_MEMBER, 10000));
	HOLDS(scene_write(w, 2));
	HOLDS(!scene_serves(w, old));
	old->group = 0;
	for (unsigned i = 0; i < 100 && world_life(w, uid) != NULL; i++) {
		world_run(w, w->now + 100);
		HOLDS(world_life(w, uid) == NULL || !scene_serves(w, old));
	}
	HOLDS(world_life(w, uid) == NULL); /* it was told, and ended */
	HOLDS(scene_write(w, 2) && scene_serves(w, fresh));
	return NULL;
}

/* T15: who learns neither votes nor serves. */
static const char *
learner(struct world *w)
{
	struct life *l;
	bool learnt = false;

	HOLDS(scene_write(w, 2));
	scene_stop(w, 2);
	l = scene_start(w, 2, &w->slot[2].disk);
	for (unsigned i = 0; i < 2000; i++) {
		enum core_phase p = core_phase(l->core);

		learnt |= p == CORE_LEARNING;
		HOLDS(p == CORE_MEMBER || !scene_serves(w, l));
		if (p == CORE_MEMBER)
			break;
		if (p == CORE_LEARNING) {
			uint64_t not_now = w->n.not_now;

			(void)clients_ask(w, l, OP_READ, 0, 0, 0);
			(void)clients_ask(
			    w, l, OP_INCREMENT, 0, 2, ++w->next_op);
			world_run(w, w->now + 10); /* it may write */
			HOLDS(w->n.not_now == not_now + 2);
		}
		world_run(w, w->now + 2);
	}
	HOLDS(learnt && core_phase(l->core) == CORE_MEMBER);
	return NULL;
}

/* T18: the leader is stopped for longer than an election, than it takes to
 * be replaced, than its fence; with a write and a read under way. */
static const char *
freeze_for(struct world *w, uint64_t ms)
{
	struct life *old = world_leader(w);
	uint64_t uid = old->uid, reads;

	HOLDS(scene_write(w, 3));
	(void)clients_ask(w, old, OP_READ, 0, 0, 0);
	(void)clients_ask(w, old, OP_INCREMENT, 0, 3, ++w->next_op);
	world_freeze(w, old);
	if (ms > 3000)
		w->slot[old->slot].restart_at = 0;
	if (ms > 2000)
		(void)scene_start(w, old->slot, &w->slot[old->slot].disk);
	world_run(w, w->now + 1500);
	HOLDS(scene_write(w, 3)); /* by another leader */
	world_run(w, w->now + ms);
	reads = w->n.reads;
	world_thaw(w, old);
	HOLDS(w->n.reads == reads);
	if (world_life(w, uid) != NULL) {
		HOLDS(!scene_serves(w, old) || w->failed);
		(void)clients_ask(w, old, OP_READ, 0, 0, 0);
	}
	world_run(w, w->now + 6000);
	HOLDS(!w->failed && scene_write(w, 1));
	return NULL;
}

static const char *
freeze_election(struct world *w)
{
	return freeze_for(w, 100);
}

static const char *
freeze_evict(struct world *w)
{
	return freeze_for(w, 2500);
}

static const char *
freeze_fence(struct world *w)
{
	return freeze_for(w, 10000);
}

/* T20: everything that was ever sent comes again, to everybody: messages of
 * former lives, reflected ones, ones for another. */
static const char *
replay(struct world *w)
{
	struct message all[TAPE_MAX];
	unsigned n = 0;
	uint64_t acked;

	HOLDS(scene_write(w, 3));
	for (; n < w->n_tape; n++) {
		all[n] = w->tape[n];
		w->tape[n] = (struct message){ 0 };
	}
	w->n_tape = 0;
	scene_stop(w, 2); /* a former life, from here on */
	HOLDS(scene_phase(
	    w, scene_start(w, 2, &w->slot[2].disk), CORE_MEMBER, 10000));
	acked = w->acked_max[0];
	for (unsigned i = 0; i < n; i++) {
		for (unsigned k = 0; k < LIVES_MAX; k++)
			if (w->life[k].used)
				net_deliver(w, &w->life[k], &all[i]);
		message_clear(&all[i]);
	}
	HOLDS(!w->failed && scene_write(w, 2));
	HOLDS(w->acked_max[0] == acked + 2);
	return NULL;
}

/* T24: a forwarded command comes twice: one effect. */
static const char *
twice(struct world *w)
{
	struct life *l = NULL;
	uint64_t value;

	HOLDS(scene_write(w, 3));
	for (unsigned i = 0; i < 3; i++)
		if (world_at(w, i) != world_leader(w))
			l = world_at(w, i);
	for (unsigned i = 0; i < w->n_tape; i++)
		message_clear(&w->tape[i]);
	w->n_tape = 0;
	value = scene_value(w, world_leader(w));
	(void)clients_ask(w, l, OP_INCREMENT, 0, value, ++w->next_op);
	for (unsigned i = 0; i < w->n_tape; i++)
		if (w->tape[i].bytes.p[3] == 5)
			for (unsigned k = 0; k < 3; k++)
				net_deliver(w, world_leader(w), &w->tape[i]);
	world_run(w, w->now + 500);
	HOLDS(!w->failed);
	HOLDS(scene_value(w, world_leader(w)) == value + 1);
	HOLDS(w->acked_max[0] == value + 1);
	return NULL;
}

const struct scenario scenarios_disk[] = {
	{ "t2_vote_twice", vote_twice, false, 0 },
	{ "t2_vote_twice_plain", vote_twice, true, 0 },
	{ "t6_one_back", one_back, false, 0 },
	{ "t6_one_back_plain", one_back, true, 0 },
	{ "t7_all_back", all_back, false, 0 },
	{ "t7_all_back_plain", all_back, true, 0 },
	{ "t8_newest_returns", newest_returns, false, 0 },
	{ "t8_newest_returns_plain", newest_returns, true, 0 },
	{ "t9_fork_of_live", fork_of_live, false, 0 },
	{ "t10_split_copies", split_copies, false, 0 },
	{ "t10_split_copies_plain", split_copies, true, 0 },
	{ "t14_zombie", zombie, false, 0 },
	{ "t15_learner", learner, false, 0 },
	{ "t18_freeze_election", freeze_election, false, 0 },
	{ "t18_freeze_evict", freeze_evict, false, 0 },
	{ "t18_freeze_fence", freeze_fence, false, 0 },
	{ "t20_replay", replay, false, 0 },
	{ "t24_twice", twice, false, 0 },
	{ NULL, NULL, false, 0 },
};
