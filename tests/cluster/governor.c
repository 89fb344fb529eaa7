/* Who votes about roots, and who has stolen some. */
#include <string.h>

#include "tests/cluster/world.h"

bool
governor_is_thief(const struct world *w, const struct k256_pub *k)
{
	for (unsigned i = 0; i < w->n_thief; i++)
		if (memcmp(&w->thief[i], k, sizeof *k) == 0)
			return true;
	return false;
}

/* With the root before and the cluster's key, both stolen. */
static void
steal(struct world *w)
{
	struct reg_tx t = { .w = { .kind = CORE_PUBLISH } };
	struct registry_holders *h = &t.w.holders;
	struct epoch_public pub;

	if (w->n_thief == 32 || world_leader(w) == NULL)
		return;
	roots_fresh(w, &pub);
	w->thief[w->n_thief++] = t.k256 = pub.k256;
	memcpy(t.ca_hash, w->ca_hash, 32);
	h->order = w->reg->now.order.number;
	h->epoch = w->reg->now.order.epoch;
	h->seats = (uint16_t)((1u << w->chain.now.n_seats) - 1);
	h->as_of = chain_time(w->now);
	anchor_seats_hash(h->seats_hash, &w->chain.now);
	registry_root_hash(h->root_hash, &t.k256, w->ca_hash);
	if (simreg_write(w->reg, &w->chain, w->now, &t))
		world_trace(w, NULL, "a thief publishes a root");
}

static void
vote_on_order(struct world *w)
{
	const struct registry_state *v = &w->reg->now;
	const struct registry_epoch *e = registry_epoch_of(v, v->order.epoch);
	struct reg_tx t = { .w = { .kind = CORE_ACTIVATE } };
	struct life *l = world_leader(w);
	const struct ledger_epoch *have = l == NULL
	    ? NULL
	    : ledger_epoch(core_ledger(l->core), v->order.epoch);
	uint8_t hash[32];

	if (e->status == REGISTRY_PUBLISHED) {
		if (governor_is_thief(w, &e->k256) || world_chance(w, 120)) {
			w->n.vetoed++;
			world_trace(w, NULL, "the root is vetoed");
			(void)simreg_veto(w->reg, w->now);
			return;
		}
		registry_root_hash(hash, &e->k256, e->ca_spki_hash);
		if (v->order.mode == REGISTRY_EMERGENCY && world_chance(w, 700))
			(void)simreg_confirm(w->reg, w->now, hash);
		t.w.holders.epoch = e->number;
		if (world_chance(w, 200) &&
		    simreg_write(w->reg, &w->chain, w->now, &t))
			check_activated(w, e->number);
		return;
	}
	if (world_chance(w, 60)) {
		world_trace(w, NULL, "the order is withdrawn");
		(void)simreg_withdraw(w->reg, w->now);
	} else if (world_chance(w, 60) && v->order.mode == REGISTRY_ROUTINE) {
		steal(w);
	} else if (v->order.mode == REGISTRY_EMERGENCY && have != NULL &&
	    have->state == LEDGER_EPOCH_PREPARED && world_chance(w, 200)) {
		registry_root_hash(hash, &have->pub.k256, w->ca_hash);
		(void)simreg_confirm(w->reg, w->now, hash);
	}
}

static void
end_some(struct world *w)
{
	const struct registry_state *v = &w->reg->now;
	uint64_t n = world_random(w, v->active + 1);

	if (world_chance(w, 300))
		(void)simreg_taint(w->reg, w->now, n);
	else if (v->epoch[n].retire_at == 0)
		(void)simreg_retire(w->reg, w->now, n, 2);
	else if (simreg_destroy(w->reg, w->now, n)) {
		w->n.destroyed++;
		world_trace(
		    w, NULL, "epoch %llu is destroyed", (unsigned long long)n);
	}
}

void
governor_tick(struct world *w)
{
	w->next_vote = w->now + 200 + world_random(w, 1500);
	if (w->reg->now.order.epoch != 0)
		vote_on_order(w);
	else if (world_chance(w, 500))
		(void)simreg_order(w->reg, w->now,
		    world_chance(w, 300) ? REGISTRY_EMERGENCY
					 : REGISTRY_ROUTINE,
		    world_random(w, 3));
	if (world_chance(w, 250))
		end_some(w);
}

static bool
no_order(struct world *w, void *cookie)
{
	const struct registry_state *v = &w->reg->now;
	const struct registry_epoch *e = registry_epoch_of(v, v->order.epoch);
	uint8_t hash[32];

	(void)cookie;
	if (v->order.epoch == 0)
		return true;
	/* Honest voters: nobody else's root, and the one that is there. */
	if (e->status == REGISTRY_PUBLISHED && governor_is_thief(w, &e->k256)) {
		(void)simreg_veto(w->reg, w->now);
	} else if (e->status == REGISTRY_PUBLISHED &&
	    v->order.mode == REGISTRY_EMERGENCY) {
		registry_root_hash(hash, &e->k256, e->ca_spki_hash);
		if (memcmp(hash, v->order.confirmed, 32) != 0)
			(void)simreg_confirm(w->reg, w->now, hash);
	}
	return false;
}

void
governor_settle(struct world *w)
{
	const struct registry_state *v = &w->reg->now;
	const struct registry_epoch *e;

	w->governor = false;
	w->roots_lost = false;
	for (int i = 0; i < 3 && !w->failed; i++) {
		enum registry_mode mode = v->order.mode;

		if (world_run_until(w, w->now + 25000, no_order, NULL))
			return;
		/* Votes for roots that are gone, and roots that are lost:
		 * from the beginning. */
		e = registry_epoch_of(v, v->order.epoch);
		if (e == NULL)
			return;
		world_trace(w, NULL, "the order is given again%s",
		    w->roots_lost ? ": its roots are lost" : "");
		(void)simreg_withdraw(w->reg, w->now);
		(void)simreg_order(w->reg, w->now, mode, 0);
		w->n.stuck++;
	}
}
