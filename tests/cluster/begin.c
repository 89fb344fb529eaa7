/* How a cluster begins: one node, its anchor, and then the others. */
#include <string.h>

#include "tests/cluster/world.h"

static bool
committed_epoch(struct world *w, void *cookie)
{
	struct life *l = world_at(w, 0);

	(void)cookie;
	return l != NULL && ledger_n_epochs(core_ledger(l->core)) > 0;
}

static bool
all_serve(struct world *w, void *cookie)
{
	(void)cookie;
	for (unsigned i = 0; i < w->o.slots; i++) {
		struct life *l = world_at(w, i);

		if (l == NULL || l->frozen ||
		    core_serves(l->core, life_now(w, l), NULL) != ERR_OK)
			return false;
	}
	return true;
}

static bool
knows_chain(struct world *w, void *cookie)
{
	struct core_status s;

	(void)cookie;
	core_status(world_at(w, 0)->core, &s);
	return s.anchor_ms != 0;
}

static void
begin(struct world *w, struct life *l)
{
	struct core_event e = { .kind = CORE_BEGIN };
	struct bytes data;
	struct buf b = { 0 };

	clients_epoch(&b, 0);
	data = buf_view(&b);
	e.begin.command = &data;
	e.begin.n = 1;
	world_give(w, l, &e);
	buf_fini(&b);
}

bool
world_genesis(struct world *w)
{
	static const struct disk empty;
	struct life *l = world_boot(w, 0, &empty);
	uint8_t hash[32];
	uint64_t index;

	if (!world_run_until(w, w->now + 3000, knows_chain, NULL))
		return false;
	begin(w, l);
	if (!world_run_until(w, w->now + 3000, committed_epoch, NULL))
		return false;
	index = engine_commit(core_engine(l->core));
	if (!engine_hash(core_engine(l->core), index, hash) ||
	    !chain_genesis(&w->chain, w->now, index, hash, l->self.incarnation))
		return false;
	for (unsigned i = 1; i < w->o.slots; i++)
		(void)world_boot(w, i, &empty);
	return world_run_until(w, w->now + 20000, all_serve, NULL);
}
