/* Roots are rotated, while the host and voters do what they can. */
#include <string.h>

#include "tests/cluster/scenario.h"

/* ---- what has happened ---- */

static const struct ledger_epoch *
at_leader(struct world *w, uint64_t n)
{
	struct life *l = world_leader(w);

	return l == NULL ? NULL : ledger_epoch(core_ledger(l->core), n);
}

static unsigned
holders(struct world *w)
{
	struct life *l = world_leader(w);
	unsigned n = 0;

	for (size_t i = 0;
	     l != NULL && i < ledger_n_members(core_ledger(l->core)); i++)
		n +=
		    ledger_member(core_ledger(l->core), i)->held == LEDGER_HELD;
	return n;
}

static enum registry_status
seen(struct world *w, uint64_t n)
{
	struct life *l = world_leader(w);
	const struct registry_epoch *e =
	    l == NULL || core_registry(l->core) == NULL
	    ? NULL
	    : registry_epoch_of(core_registry(l->core), n);

	return e == NULL ? REGISTRY_NONE : e->status;
}

static enum registry_status
on_chain(const struct world *w, uint64_t n)
{
	const struct registry_epoch *e = registry_epoch_of(&w->reg->now, n);

	return e == NULL ? REGISTRY_NONE : e->status;
}

/* The steps of a rotation to epoch 1, in order. */
enum step {
	ORDERED, /* and the leader has seen it */
	ASKED,
	MADE,
	APPLIED,
	ANCHORED,
	HELD_BY_ONE,
	HELD_BY_TWO,
	SENT,
	PUBLISHED,
	PUBLISHED_SEEN,
	ATTESTED, /* once more */
	ACTIVATING,
	IN_USE,
	IN_USE_SEEN,
	IN_USE_APPLIED,
	N_STEPS,
};

static bool
reached(struct world *w, void *cookie)
{
	const struct ledger_epoch *e = at_leader(w, 1);
	struct life *l = world_leader(w);

	switch (*(const enum step *)cookie) {
	case ORDERED:
		return seen(w, 1) == REGISTRY_ORDERED;
	case ASKED:
		return w->steps.asked > 0;
	case MADE:
		return w->steps.made > 0;
	case APPLIED:
		return e != NULL;
	case ANCHORED:
		return e != NULL &&
		    ledger_epoch_anchored(core_ledger(l->core), 1);
	case HELD_BY_ONE:
		return holders(w) >= 1;
	case HELD_BY_TWO:
		return holders(w) >= 2;
	case SENT:
		return w->steps.written[CORE_PUBLISH] > 0;
	case PUBLISHED:
		return on_chain(w, 1) == REGISTRY_PUBLISHED;
	case PUBLISHED_SEEN:
		return seen(w, 1) == REGISTRY_PUBLISHED;
	case ATTESTED:
		return w->steps.written[CORE_ATTEST] > 0;
	case ACTIVATING:
		return w->steps.written[CORE_ACTIVATE] > 0;
	case IN_USE:
		return on_chain(w, 1) == REGISTRY_ACTIVE;
	case IN_USE_SEEN:
		return seen(w, 1) == REGISTRY_ACTIVE;
	case IN_USE_APPLIED:
	case N_STEPS:
		break;
	}
	return e != NULL && e->state == LEDGER_EPOCH_ACTIVE;
}

static bool
until(struct world *w, enum step s, uint64_t ms)
{
	return world_run_until(w, w->now + ms, reached, &s);
}

/* Every node has the epoch in use, and its key. */
static bool
everywhere(struct world *w, void *cookie)
{
	uint64_t n = *(const uint64_t *)cookie;

	for (unsigned i = 0; i < w->o.slots; i++) {
		struct life *l = world_at(w, i);
		const struct ledger_epoch *e =
		    l == NULL ? NULL : ledger_epoch(core_ledger(l->core), n);

		if (e == NULL || e->state != LEDGER_EPOCH_ACTIVE ||
		    !roots_usable(l, &e->pub.k256) || !scene_serves(w, l))
			return false;
	}
	return true;
}

static bool
in_use(struct world *w, uint64_t n, uint64_t ms)
{
	return world_run_until(w, w->now + ms, everywhere, &n);
}

static bool
order(struct world *w, enum registry_mode mode)
{
	roots_begin(w);
	world_run(w, w->now + 1000);
	return simreg_order(w->reg, w->now, mode, 0);
}

static void
hash(struct world *w, uint8_t out[static 32], const struct k256_pub *k)
{
	registry_root_hash(out, k, w->ca_hash);
}

/* ---- nothing happens to it ---- */

/* Roots are made once, published once, and in use on all nodes; the next one
 * follows. */
static const char *
undisturbed(struct world *w)
{
	HOLDS(order(w, REGISTRY_ROUTINE));
	HOLDS(in_use(w, 1, 15000));
	HOLDS(w->steps.made == 1 && w->steps.published == 1);
	HOLDS(simreg_order(w->reg, w->now, REGISTRY_EMERGENCY, 2));
	HOLDS(!in_use(w, 2, 10000)); /* not before the second vote */
	HOLDS(on_chain(w, 2) == REGISTRY_PUBLISHED);
	uint8_t h[32];
	hash(w, h, &w->reg->now.epoch[2].k256);
	HOLDS(simreg_confirm(w->reg, w->now, h));
	HOLDS(in_use(w, 2, 10000));
	HOLDS(w->steps.made == 2);
	world_run(w, w->now + 8000);
	check_roots_end(w);
	/* Each hand-over is on chain: two nodes, twice. */
	HOLDS(w->reg->now.handovers >= 4);
	HOLDS(w->reg->now.handovers ==
	    ledger_n_handovers(core_ledger(world_leader(w)->core)));
	return NULL;
}

/* Without an order, or before its time, nobody makes anything. */
static const char *
not_yet(struct world *w)
{
	roots_begin(w);
	world_run(w, w->now + 5000);
	HOLDS(w->steps.asked == 0);
	HOLDS(simreg_order(w->reg, w->now, REGISTRY_ROUTINE, 5));
	world_run(w, w->now + 4500);
	HOLDS(w->steps.asked == 0);
	HOLDS(in_use(w, 1, 15000));
	return NULL;
}

/* ---- the leader fails between any two steps ---- */

static const char *
fails(struct world *w, int how)
{
	static const struct disk empty;
	struct life *l;
	unsigned slot;

	HOLDS(order(w, REGISTRY_ROUTINE));
	HOLDS(until(w, (enum step)w->arg, 15000));
	l = world_leader(w);
	HOLDS(l != NULL);
	slot = l->slot;
	if (how == 2) {
		world_freeze(w, l);
		world_run(w, w->now + 6000);
		world_thaw(w, l);
		/* It was replaced meanwhile, or goes on. */
		w->restarts = true;
	} else {
		scene_stop(w, slot);
		(void)scene_start(
		    w, slot, how == 0 ? &w->slot[slot].disk : &empty);
	}
	HOLDS(in_use(w, 1, 60000));
	world_run(w, w->now + 8000);
	check_roots_end(w);
	HOLDS(!w->failed && w->steps.activated == 1);
	return NULL;
}

static const char *
restarts(struct world *w)
{
	return fails(w, 0);
}

static const char *
loses_disk(struct world *w)
{
	return fails(w, 1);
}

static const char *
freezes(struct world *w)
{
	return fails(w, 2);
}

/* Gone for good: two of three carry on. */
static const char *
is_gone(struct world *w)
{
	HOLDS(order(w, REGISTRY_ROUTINE));
	HOLDS(until(w, (enum step)w->arg, 15000));
	HOLDS(world_leader(w) != NULL);
	scene_stop(w, world_leader(w)->slot);
	HOLDS(until(w, IN_USE_APPLIED, 60000));
	HOLDS(!w->failed && w->steps.activated == 1);
	return NULL;
}

/* All of them at once, and back with their disks: the operators name one. */
static const char *
power_loss(struct world *w)
{
	w->restarts = true;
	w->operator= true;
	HOLDS(order(w, REGISTRY_ROUTINE));
	HOLDS(until(w, (enum step)w->arg, 15000));
	for (unsigned i = 0; i < w->o.slots; i++)
		scene_stop(w, i);
	HOLDS(in_use(w, 1, 120000));
	world_run(w, w->now + 8000);
	check_roots_end(w);
	HOLDS(!w->failed);
	return NULL;
}

/* ---- two leaders ---- */

/* One was cut off when it had made roots; another makes some.  There is one
 * root, and the other's is nowhere. */
static const char *
two_leaders(struct world *w)
{
	struct life *l;
	struct k256_pub first;

	HOLDS(order(w, REGISTRY_ROUTINE));
	HOLDS(until(w, ASKED, 15000));
	l = world_leader(w);
	l->group = 1;
	world_run(w, w->now + 500);
	HOLDS(l->used && l->has_pending);
	first = l->pending;
	HOLDS(until(w, IN_USE_APPLIED, 40000));
	l->group = 0;
	w->restarts = true;
	HOLDS(in_use(w, 1, 20000));
	HOLDS(memcmp(&at_leader(w, 1)->pub.k256, &first, sizeof first) != 0);
	HOLDS(roots_copies(w, &first) == 0);
	HOLDS(w->steps.made >= 2 && w->steps.published == 1);
	return NULL;
}

/* ---- votes ---- */

static const char *
vetoed(struct world *w)
{
	struct k256_pub first;

	HOLDS(order(w, REGISTRY_ROUTINE));
	HOLDS(until(w, PUBLISHED, 15000));
	first = w->reg->now.epoch[1].k256;
	HOLDS(simreg_veto(w->reg, w->now));
	HOLDS(in_use(w, 1, 25000));
	HOLDS(memcmp(&w->reg->now.epoch[1].k256, &first, sizeof first) != 0);
	world_run(w, w->now + 3000);
	HOLDS(roots_copies(w, &first) == 0);
	HOLDS(at_leader(w, 1)->origin.vetoes == 1);
	return NULL;
}

static const char *
withdrawn(struct world *w)
{
	struct k256_pub first;

	HOLDS(order(w, REGISTRY_ROUTINE));
	HOLDS(until(w, (enum step)w->arg, 15000));
	HOLDS(simreg_withdraw(w->reg, w->now));
	world_run(w, w->now + 8000);
	HOLDS(on_chain(w, 1) == REGISTRY_NONE);
	HOLDS(at_leader(w, 1) != NULL);
	HOLDS(at_leader(w, 1)->state == LEDGER_EPOCH_PREPARED);
	first = at_leader(w, 1)->pub.k256;
	HOLDS(simreg_order(w->reg, w->now, REGISTRY_ROUTINE, 0));
	HOLDS(in_use(w, 1, 25000));
	HOLDS(memcmp(&w->reg->now.epoch[1].k256, &first, sizeof first) != 0);
	HOLDS(at_leader(w, 1)->origin.order == 2);
	world_run(w, w->now + 3000);
	HOLDS(roots_copies(w, &first) == 0);
	return NULL;
}

/* The second vote came first, for a hash: ours is published, another root is
 * not. */
static const char *
confirmed_before(struct world *w)
{
	uint8_t other[32] = { 7 }, ours[32];

	HOLDS(order(w, REGISTRY_EMERGENCY));
	HOLDS(simreg_confirm(w->reg, w->now, other));
	HOLDS(until(w, HELD_BY_TWO, 15000));
	world_run(w, w->now + 8000);
	HOLDS(w->steps.written[CORE_PUBLISH] == 0);
	hash(w, ours, &at_leader(w, 1)->pub.k256);
	HOLDS(simreg_confirm(w->reg, w->now, ours));
	HOLDS(in_use(w, 1, 15000));
	HOLDS(w->steps.made == 1);
	return NULL;
}

/* A thief has the root before and the cluster's key. */
static bool
thief_publishes(struct world *w)
{
	struct reg_tx t = { .w = { .kind = CORE_PUBLISH } };
	struct registry_holders *h = &t.w.holders;
	struct epoch_public pub;

	roots_fresh(w, &pub);
	w->thief[w->n_thief++] = t.k256 = pub.k256;
	memcpy(t.ca_hash, w->ca_hash, 32);
	h->order = h->epoch = 1;
	h->seats = 7;
	h->as_of = chain_time(w->now);
	anchor_seats_hash(h->seats_hash, &w->chain.now);
	hash(w, h->root_hash, &t.k256);
	return simreg_write(w->reg, &w->chain, w->now, &t);
}

/* He is faster than the nodes, in an emergency: their roots are made all the
 * same, so that there is something to vote for; that vote vetoes his, and the
 * very roots that it is for are published. */
static const char *
thief_first(struct world *w)
{
	uint8_t ours[32];

	HOLDS(order(w, REGISTRY_EMERGENCY));
	HOLDS(thief_publishes(w));
	HOLDS(until(w, HELD_BY_TWO, 15000));
	HOLDS(on_chain(w, 1) == REGISTRY_PUBLISHED);
	HOLDS(w->steps.written[CORE_PUBLISH] == 0);
	hash(w, ours, &at_leader(w, 1)->pub.k256);
	HOLDS(simreg_confirm(w->reg, w->now, ours));
	HOLDS(in_use(w, 1, 25000));
	HOLDS(w->steps.made == 1);
	HOLDS(w->reg->now.vetoes == 1);
	return NULL;
}

/* His root is published, not ours; nobody puts it in use, and after the veto
 * ours comes. */
static const char *
stolen(struct world *w)
{
	HOLDS(order(w, REGISTRY_ROUTINE));
	HOLDS(until(w, APPLIED, 15000));
	HOLDS(thief_publishes(w));
	world_run(w, w->now + 10000);
	HOLDS(w->steps.written[CORE_ACTIVATE] == 0);
	HOLDS(w->steps.written[CORE_ATTEST] == 0);
	HOLDS(on_chain(w, 1) == REGISTRY_PUBLISHED);
	HOLDS(simreg_veto(w->reg, w->now));
	HOLDS(in_use(w, 1, 25000));
	return NULL;
}

/* ---- what is lost ---- */

/* The one who had the roots is gone with its disk, before anybody else had
 * them: others are made. */
static const char *
holders_lost(struct world *w)
{
	static const struct disk empty;
	struct life *l;

	HOLDS(order(w, REGISTRY_ROUTINE));
	for (unsigned i = 0; i < LIVES_MAX; i++)
		w->life[i].next_ask = w->now + 4000; /* nobody asks yet */
	HOLDS(until(w, HELD_BY_ONE, 3000));
	l = world_leader(w);
	HOLDS(keyset_has(&l->ram, &at_leader(w, 1)->pub.k256));
	scene_stop(w, l->slot);
	if (w->arg == 1)
		(void)scene_start(w, l->slot, &empty);
	HOLDS(until(w, IN_USE_APPLIED, 60000));
	HOLDS(at_leader(w, 1)->origin.attempt >= 1);
	HOLDS(w->steps.published == 1);
	return NULL;
}

/* A majority had them, and lost them with their disks: they may have been
 * published, so that only a new order brings others. */
static const char *
majority_lost(struct world *w)
{
	static const struct disk empty;
	struct k256_pub first;
	unsigned last;

	HOLDS(order(w, REGISTRY_ROUTINE));
	for (unsigned i = 0; i < LIVES_MAX; i++)
		w->life[i].no_write = true; /* but it is not published */
	for (unsigned i = 0; i < LIVES_MAX; i++)
		w->life[i].next_ask = w->now + 2500;
	HOLDS(until(w, HELD_BY_TWO, 15000));
	first = at_leader(w, 1)->pub.k256;
	/* One after the other, each with an empty disk. */
	for (unsigned i = 0; i < 3; i++) {
		for (unsigned k = 0; k < LIVES_MAX; k++)
			w->life[k].next_ask = w->now + 20000;
		last = i;
		scene_stop(w, last);
		(void)scene_start(w, last, &empty);
		for (unsigned k = 0; k < LIVES_MAX; k++)
			w->life[k].next_ask = w->now + 20000;
		world_run(w, w->now + 5000);
	}
	HOLDS(roots_copies(w, &first) == 0);
	world_run(w, w->now + 12000);
	HOLDS(w->roots_lost);
	HOLDS(memcmp(&at_leader(w, 1)->pub.k256, &first, sizeof first) == 0);
	return NULL;
}

/* ---- destruction ---- */

/* A destroyed epoch is nowhere, and an old disk does not bring it back: not
 * one by one, and not all at once in a new generation. */
static const char *
destroyed(struct world *w)
{
	static struct disk old[3];
	struct k256_pub zero = at_leader(w, 0)->pub.k256;

	HOLDS(order(w, REGISTRY_ROUTINE));
	HOLDS(in_use(w, 1, 15000));
	for (unsigned i = 0; i < 3; i++)
		disk_copy(&old[i], &world_at(w, i)->disk);
	HOLDS(simreg_retire(w->reg, w->now, 0, 2));
	world_run(w, w->now + 2500);
	HOLDS(simreg_destroy(w->reg, w->now, 0));
	world_run(w, w->now + 4000);
	HOLDS(roots_copies(w, &zero) == 0);
	for (unsigned i = 0; i < 3; i++) {
		scene_stop(w, i);
		HOLDS(roots_copies(w, &zero) == 0);
		HOLDS(scene_start(w, i, &old[i]) != NULL);
		HOLDS(roots_copies(w, &zero) == 1); /* as on that disk */
		world_run(w, w->now + 6000);
		HOLDS(roots_copies(w, &zero) == 0);
	}
	HOLDS(in_use(w, 1, 5000));
	w->operator= true;
	w->restarts = true;
	for (unsigned i = 0; i < 3; i++)
		scene_stop(w, i);
	for (unsigned i = 0; i < 3; i++) {
		keyset_add(&w->slot[i].disk.keys, &zero);
		disk_clear(&old[i]);
	}
	HOLDS(in_use(w, 1, 90000));
	world_run(w, w->now + 3000);
	HOLDS(roots_copies(w, &zero) == 0);
	check_roots_end(w);
	return NULL;
}

#define EACH(name, run) \
	{ name "_after_order", run, false, ORDERED }, \
	    { name "_after_asking", run, false, ASKED }, \
	    { name "_after_making", run, false, MADE }, \
	    { name "_after_logging", run, false, APPLIED }, \
	    { name "_after_anchoring", run, false, ANCHORED }, \
	    { name "_after_one_holds", run, false, HELD_BY_ONE }, \
	    { name "_after_two_hold", run, false, HELD_BY_TWO }, \
	    { name "_after_sending", run, false, SENT }, \
	    { name "_after_publication", run, false, PUBLISHED }, \
	    { name "_after_seeing_it", run, false, PUBLISHED_SEEN }, \
	    { name "_after_activating", run, false, ACTIVATING }, \
	    { name "_after_activation", run, false, IN_USE }, \
	    { name "_after_seeing_that", run, false, IN_USE_SEEN }, \
	{ \
		name "_after_all", run, false, IN_USE_APPLIED \
	}

const struct scenario scenarios_rotate[] = {
	{ "rotate_undisturbed", undisturbed, false, 0 },
	{ "rotate_not_yet", not_yet, false, 0 },
	EACH("leader_restarts", restarts),
	EACH("leader_loses_disk", loses_disk),
	EACH("leader_freezes", freezes),
	EACH("leader_is_gone", is_gone),
	EACH("power_loss", power_loss),
	{ "rotate_two_leaders", two_leaders, false, 0 },
	{ "rotate_vetoed", vetoed, false, 0 },
	{ "rotate_withdrawn_made", withdrawn, false, HELD_BY_ONE },
	{ "rotate_withdrawn_published", withdrawn, false, PUBLISHED },
	{ "rotate_confirmed_before", confirmed_before, false, 0 },
	{ "rotate_stolen", stolen, false, 0 },
	{ "rotate_thief_first", thief_first, false, 0 },
	{ "rotate_maker_gone", holders_lost, false, 0 },
	{ "rotate_maker_empty", holders_lost, false, 1 },
	{ "rotate_majority_lost", majority_lost, false, 0 },
	{ "rotate_destroyed", destroyed, false, 0 },
	{ NULL, NULL, false, 0 },
};
