/* The operators: they restart what is stuck, and name who shall recover. */
#include <string.h>

#include "tests/cluster/world.h"

/* A learner that has not seen its promotion yet gives no vote (I7). */
static bool
gives_vote(const struct life *l, uint64_t id)
{
	const struct engine_config *c;

	if (!l->used || l->draining || core_engine(l->core) == NULL ||
	    core_raft_id(l->self.incarnation) != id)
		return false;
	c = engine_config(core_engine(l->core));
	for (unsigned i = 0; i < c->n; i++)
		if (c->member[i].id == id)
			return c->member[i].role == ENGINE_VOTER;
	return false;
}

bool
world_quorum_alive(struct world *w)
{
	const struct engine_config *c;
	struct life *best = NULL;
	unsigned voters = 0, alive = 0;

	for (unsigned i = 0; i < LIVES_MAX; i++) {
		struct life *l = &w->life[i];
		const struct engine *e;

		if (!l->used || (e = core_engine(l->core)) == NULL ||
		    core_generation(l->core) != w->chain.now.at.generation)
			continue;
		if (best == NULL ||
		    engine_last(e) > engine_last(core_engine(best->core)))
			best = l;
	}
	if (best == NULL)
		return false;
	c = engine_config(core_engine(best->core));
	if (engine_config_index(core_engine(best->core)) >
	    engine_commit(core_engine(best->core)))
		return false; /* on its way: nobody can say yet */
	for (unsigned i = 0; i < c->n; i++) {
		if (c->member[i].role != ENGINE_VOTER)
			continue;
		voters++;
		for (unsigned k = 0; k < LIVES_MAX; k++)
			alive += gives_vote(&w->life[k], c->member[i].id);
	}
	return alive > voters / 2;
}

/* The disk holds the point of the chain. */
bool
disk_counts(const struct world *w, const struct disk *d)
{
	const struct anchor_point *at = &w->chain.now.at;
	const uint8_t *h = disk_hash(d, at->index);
	uint64_t term;

	if (d->generation == 0 || d->generation > at->generation)
		return false;
	/* A log is not cut to before its snapshot. */
	if (d->generation < at->generation && d->has_snapshot &&
	    d->snapshot.index > at->index)
		return false;
	if (h != NULL)
		return memcmp(h, at->hash, 32) == 0;
	return d->generation == at->generation &&
	    disk_last(d, &term) > at->index;
}

bool
disk_better(const struct world *w, const struct disk *a, const struct disk *b)
{
	bool ca = disk_counts(w, a), cb = disk_counts(w, b);

	return ca != cb ? ca : disk_beats(a, b);
}

struct life *
operator_best(struct world *w)
{
	struct life *best = NULL;

	for (unsigned i = 0; i < LIVES_MAX; i++) {
		struct life *l = &w->life[i];

		if (!l->used || l->frozen || core_engine(l->core) != NULL ||
		    w->slot[l->slot].unseated || !disk_counts(w, &l->disk))
			continue;
		if (best == NULL || disk_beats(&l->disk, &best->disk) ||
		    (l->disk.has_roots && !best->disk.has_roots &&
			!disk_beats(&best->disk, &l->disk)))
			best = l;
	}
	return best;
}

static struct life *
wrong_one(struct world *w)
{
	for (unsigned i = 0; i < 20; i++) {
		struct life *l = &w->life[world_random(w, LIVES_MAX)];

		if (l->used && core_engine(l->core) == NULL)
			return l;
	}
	return NULL;
}

/* Nodes that follow nobody keep their disks from counting. */
static void
restart_stuck(struct world *w)
{
	for (unsigned i = 0; i < LIVES_MAX; i++) {
		struct life *l = &w->life[i];

		if (l->used && core_engine(l->core) != NULL && !l->frozen) {
			world_kill(w, l, true);
			w->slot[l->slot].restart_at = w->now + 50;
		}
	}
}

void
world_trace_lives(struct world *w)
{
	struct core_status s;

	for (unsigned i = 0; i < LIVES_MAX && w->o.trace; i++) {
		if (!w->life[i].used)
			continue;
		core_status(w->life[i].core, &s);
		world_trace(w, &w->life[i],
		    "%s%s, generation %llu, term %llx, commit %llu of %llu, "
		    "leader %s, %u + %u members, waits: %s %s",
		    core_phase_text(s.phase),
		    w->life[i].frozen ? " (frozen)" : "",
		    (unsigned long long)s.generation,
		    (unsigned long long)s.term, (unsigned long long)s.commit,
		    (unsigned long long)s.last, s.leader, s.voters, s.learners,
		    reason_label(s.waiting.code), s.waiting.detail);
	}
}

void
operator_tick(struct world *w)
{
	const struct anchor_view *v = &w->chain.now;
	struct life *l;
	uint64_t patience = 6000;

	w->next_operator = w->now + 500;
	if (world_leader(w) != NULL) {
		w->down_since = 0;
		return;
	}
	if (w->down_since == 0)
		w->down_since = w->now;
	if (w->now - w->down_since < patience)
		return;
	if (v->order.set && world_by_incarnation(w, v->order.incarnation) &&
	    w->now - w->halted_since < 20000)
		return; /* under way */
	if (w->now - w->halted_since < 4000)
		return;
	w->halted_since = w->now;
	world_trace_lives(w);
	/* An order is enough for most: who knows it is lost gives way. */
	if (!world_quorum_alive(w) &&
	    (world_chance(w, 500) || w->now - w->down_since > 30000))
		restart_stuck(w);
	l = world_chance(w, w->wrong) ? wrong_one(w) : operator_best(w);
	if (l == NULL)
		return;
	if (!l->disk.has_roots &&
	    (w->o.slots > 3 || w->now - w->down_since > 40000)) {
		/* It cannot speak for the cluster, and stands in the way of
		 * those that can: it has to wait.  Of three seats it is
		 * needed, so that takes a lossy order. */
		unsigned slot = l->slot;

		world_kill(w, l, true);
		w->slot[slot].restart_at = w->now + 20000;
		w->halted_since = w->now - 3000;
		return;
	}
	w->n.orders++;
	world_trace(w, l, "is named to recover");
	chain_order(&w->chain, w->now, l->self.incarnation,
	    world_chance(w, w->lossy) || w->now - w->down_since > 40000);
}
