/* What must hold of roots, after every step. */
#include <string.h>

#include "tests/cluster/world.h"

/* A slot's key may be on the disk that it has now, or had last. */
static bool
slot_has(struct world *w, const char *slot, const struct k256_pub *k)
{
	for (unsigned i = 0; i < w->o.slots; i++) {
		if (strcmp(w->slot[i].name, slot) != 0)
			continue;
		if (keyset_has(&w->slot[i].disk.keys, k) ||
		    keyset_has(&w->slot[i].best.keys, k) ||
		    w->now - w->slot[i].restored_ms < w->timing.demote_ms)
			return true;
		for (unsigned j = 0; j < LIVES_MAX; j++)
			if (w->life[j].used && w->life[j].slot == i &&
			    keyset_has(&w->life[j].disk.keys, k))
				return true;
	}
	return false;
}

/* Nobody speaks for roots that are not anchored. */
void
check_evidence(
    struct world *w, struct life *l, const struct core_registry_write *t)
{
	const struct ledger_epoch *e =
	    ledger_epoch(core_ledger(l->core), t->holders.epoch);

	if (e == NULL || e->state != LEDGER_EPOCH_PREPARED ||
	    !ledger_epoch_anchored(core_ledger(l->core), e->pub.number))
		world_fail(w, l, "evidence for roots that are not anchored");
}

/* Evidence that the registry takes is true: each seat that it names has the
 * key on its disk.  What it refuses may be old: from a leader that was frozen,
 * for roots that were replaced since. */
void
check_holders(struct world *w, const struct reg_tx *t)
{
	const struct registry_holders *h = &t->w.holders;
	struct anchor_view v;
	uint8_t hash[32];

	/* The seats as of some time: those that this hash is of. */
	for (unsigned back = 0; back < 40; back++) {
		chain_at(&w->chain, w->now - 100ull * back, &v);
		anchor_seats_hash(hash, &v);
		if (memcmp(hash, h->seats_hash, 32) == 0)
			break;
	}
	for (unsigned i = 0; i < v.n_seats; i++)
		if ((h->seats >> i & 1) != 0 &&
		    !slot_has(w, v.seat[i].slot, &t->k256))
			world_fail(w, NULL,
			    "evidence says that %s holds epoch "
			    "%llu, which it does not",
			    v.seat[i].slot, (unsigned long long)h->epoch);
}

/* A root that is in use is somebody's: unless more disks were put back than
 * evidence can know of. */
void
check_activated(struct world *w, uint64_t number)
{
	const struct registry_epoch *e =
	    registry_epoch_of(&w->reg->now, number);
	unsigned put_back = 0, kept = 0;

	w->n.epochs++;
	w->steps.activated++;
	world_trace(
	    w, NULL, "epoch %llu is in use", (unsigned long long)number);
	if (governor_is_thief(w, &e->k256)) {
		world_fail(w, NULL, "a thief's root is in use");
		return;
	}
	for (unsigned i = 0; i < w->o.slots; i++) {
		put_back += w->now - w->slot[i].restored_ms < 15000;
		/* The host has it, and gave the slot another one. */
		kept += keyset_has(&w->slot[i].best.keys, &e->k256);
	}
	if (kept + roots_copies(w, &e->k256) == 0 && put_back * 2 <= w->o.slots)
		world_fail(w, NULL, "epoch %llu is in use, and nobody has it",
		    (unsigned long long)number);
}

static enum registry_status
as_registry(enum ledger_epoch_state s)
{
	switch (s) {
	case LEDGER_EPOCH_PREPARED:
		return REGISTRY_NONE;
	case LEDGER_EPOCH_ACTIVE:
		return REGISTRY_ACTIVE;
	case LEDGER_EPOCH_TAINTED:
		return REGISTRY_TAINTED;
	case LEDGER_EPOCH_DESTROYED:
		return REGISTRY_DESTROYED;
	}
	return REGISTRY_NONE;
}

void
check_roots(struct world *w, struct life *l)
{
	const struct ledger *g = core_ledger(l->core);
	const struct registry_state *past;

	if (w->reg == NULL || w->failed)
		return;
	/* One root per epoch: the registry's, on every node. */
	for (uint64_t n = 0; n < ledger_n_epochs(g); n++) {
		const struct ledger_epoch *e = ledger_epoch(g, n);
		const struct registry_epoch *r =
		    registry_epoch_of(&w->reg->now, n);

		if (n == 0 ? e->state <= LEDGER_EPOCH_ACTIVE
			   : e->state == LEDGER_EPOCH_PREPARED)
			continue;
		if (r == NULL || r->status < as_registry(e->state) ||
		    memcmp(&r->k256, &e->pub.k256, sizeof r->k256) != 0)
			world_fail(w, l,
			    "epoch %llu is in another state than on chain",
			    (unsigned long long)n);
	}
	/* Nobody uses what was destroyed before any view that still counts. */
	if (core_serves(l->core, life_now(w, l), NULL) != ERR_OK ||
	    w->now < w->timing.fence_ms + w->finality_ms + 1000 ||
	    (past = simreg_past(w->reg,
		 w->now - w->timing.fence_ms - w->finality_ms - 1000)) == NULL)
		return;
	for (size_t i = 0; i < past->n_epochs; i++)
		if (past->epoch[i].status == REGISTRY_DESTROYED &&
		    roots_usable(l, &past->epoch[i].k256))
			world_fail(w, l, "epoch %zu is destroyed, and used", i);
}

/* When all is well: the order was carried out, every node has every root that
 * is in use, and no other. */
void
check_roots_end(struct world *w)
{
	const struct registry_state *v = &w->reg->now;

	if (v->order.epoch != 0)
		world_fail(w, NULL, "the order is not carried out");
	for (unsigned k = 0; k < LIVES_MAX && !w->failed; k++) {
		const struct life *l = &w->life[k];

		if (!l->used || core_phase(l->core) != CORE_MEMBER)
			continue;
		for (size_t i = 0; i < v->n_epochs; i++) {
			const struct registry_epoch *e = &v->epoch[i];
			bool open = e->status != REGISTRY_DESTROYED;
			const struct ledger_epoch *le =
			    ledger_epoch(core_ledger(l->core), e->number);

			if (open && roots_copies(w, &e->k256) == 0)
				continue; /* all disks are older than it */
			if (roots_usable(l, &e->k256) != open ||
			    keyset_has(&l->disk.keys, &e->k256) != open)
				world_fail(w, l,
				    "in the end epoch %zu, %s, is %s", i,
				    registry_status_text(e->status),
				    open ? "not here" : "still here");
			if (le == NULL || as_registry(le->state) != e->status)
				world_fail(w, l,
				    "in the end epoch %zu is %d, on chain %s",
				    i, le == NULL ? 0 : (int)le->state,
				    registry_status_text(e->status));
		}
		for (unsigned i = 0; i < l->ram.n; i++)
			if (roots_usable(l, &l->ram.k[i]) == false)
				world_fail(w, l,
				    "in the end a key is kept "
				    "that is of no epoch");
	}
}
