/* What must hold over time: generations, their service, the end. */
#include <stdlib.h>
#include <string.h>

#include "tests/cluster/world.h"

/* A generation begins with what its opener has on its disk. */
static void
begin_lineage(struct world *w, const struct life *l, uint64_t generation,
    uint64_t index, const uint8_t *hash)
{
	struct lineage *g, *old;

	if (generation >= GENERATIONS_MAX)
		return;
	g = &w->lineage[generation];
	old = &w->lineage[generation - 1];
	g->open = true;
	g->open_index = index;
	/* I13: never below the anchor; the contract's model holds it, and
	 * this holds that the history is one. */
	if (index < old->n && old->at[index].known &&
	    memcmp(old->at[index].hash, hash, 32) != 0 && !g->excused)
		world_fail(w, l,
		    "generation %llu begins with another history at %llu",
		    (unsigned long long)generation, (unsigned long long)index);
	g->cap = index + 512;
	g->n = (size_t)index + 1;
	g->at = calloc(g->cap, sizeof *g->at);
	if (g->at == NULL)
		abort();
	for (uint64_t i = 1; i <= index; i++) {
		const uint8_t *h = l != NULL ? disk_hash(&l->boot, i) : NULL;

		if (i < old->n && old->at[i].known &&
		    (h == NULL || memcmp(h, old->at[i].hash, 32) == 0)) {
			g->at[i] = old->at[i];
			continue;
		}
		if (h == NULL)
			continue;
		memcpy(g->at[i].hash, h, 32);
		g->at[i].known = true;
		for (size_t k = 0; k < l->boot.n; k++) {
			const struct disk_entry *e = l->boot.entry[k];
			struct command c;

			if (e->index == i && e->kind == ENTRY_COMMAND &&
			    command_parse(&c,
				(struct bytes){ e->data, e->len }) == ERR_OK)
				g->at[i].op = clients_op_of(&c);
		}
	}
	clients_generation(w, generation, index);
}

/* f disks may be rolled back (P6). */
static unsigned
allowed_lies(const struct world *w)
{
	return w->o.slots >= 3 ? 1 : 0;
}

/* A node is about to announce a generation, or to open it: if more disks lie
 * than the rule allows for, what was not anchored may be lost. */
void
check_recovery(
    struct world *w, const struct life *l, const struct anchor_write *t)
{
	uint64_t next = t->from.generation + 1;
	unsigned stale;

	if (next >= GENERATIONS_MAX ||
	    (t->kind != ANCHOR_ANNOUNCE && t->kind != ANCHOR_OPEN))
		return;
	stale = check_stale(w, l);
	if (t->kind == ANCHOR_ANNOUNCE)
		w->lineage[next].excused = w->chain.now.order.lossy;
	if (stale > allowed_lies(w))
		w->lineage[next].excused = true;
	world_trace(w, l, "%u disks lie%s", stale,
	    w->lineage[next].excused ? ", too many" : "");
}

void
check_tx(struct world *w, const struct life *l, const struct anchor_write *t,
    bool done)
{
	uint64_t next = t->from.generation + 1;

	world_trace(w, l, "chain %s %u: %llu.%llu", done ? "takes" : "refuses",
	    (unsigned)t->kind, (unsigned long long)t->to.generation,
	    (unsigned long long)t->to.index);
	if (!done)
		return;
	if (t->kind != ANCHOR_OPEN)
		return;
	w->n.recoveries++;
	if (w->lineage[next].excused)
		w->n.excused++;
	begin_lineage(w, l, next, t->to.index, t->to.hash);
}

/* I14: two generations never serve at one time.  I7: who serves has a vote
 * by a configuration of its generation. */
void
check_serving(struct world *w)
{
	uint64_t lowest = UINT64_MAX, highest = 0;
	struct life *low = NULL;

	if (w->o.plain || w->failed)
		return;
	for (unsigned i = 0; i < LIVES_MAX; i++) {
		struct life *l = &w->life[i];
		uint64_t g;

		if (!l->used || l->frozen || core_engine(l->core) == NULL)
			continue;
		l->serves =
		    core_serves(l->core, life_now(w, l), NULL) == ERR_OK;
		if (!l->serves)
			continue;
		g = core_generation(l->core);
		if (g < lowest) {
			lowest = g;
			low = l;
		}
		highest = g > highest ? g : highest;
		if (g >= GENERATIONS_MAX)
			continue;
		if (w->lineage[g].first_serve_ms == 0)
			w->lineage[g].first_serve_ms = w->now;
		w->lineage[g].last_serve_ms = w->now;
	}
	if (lowest < highest)
		world_fail(w, low, "I14: generations %llu and %llu both serve",
		    (unsigned long long)lowest, (unsigned long long)highest);
	for (uint64_t g = 1; lowest != UINT64_MAX && g + 1 < GENERATIONS_MAX;
	     g++)
		if (g == lowest && w->lineage[g + 1].first_serve_ms != 0)
			world_fail(w, low,
			    "I14: generation %llu serves after its successor",
			    (unsigned long long)g);
}

/* In the end what was acknowledged is there. */
void
check_end(struct world *w)
{
	struct life *l = world_leader(w);

	if (w->failed)
		return;
	if (l == NULL) {
		world_fail(w, NULL, "nobody leads in the end");
		return;
	}
	for (unsigned c = 0; c < COUNTERS; c++)
		if (clients_now_value(w, l, c) < w->acked_max[c])
			world_fail(w, l,
			    "c%u ends at %llu, %llu was acknowledged", c,
			    (unsigned long long)clients_now_value(w, l, c),
			    (unsigned long long)w->acked_max[c]);
	/* Equal logs, equal ledgers. */
	for (unsigned i = 0; i < LIVES_MAX; i++) {
		struct life *o = &w->life[i];
		uint8_t a[32], b[32];

		if (!o->used || o == l ||
		    ledger_index(core_ledger(o->core)) !=
			ledger_index(core_ledger(l->core)) ||
		    core_generation(o->core) != core_generation(l->core) ||
		    core_engine(o->core) == NULL)
			continue;
		if (ledger_digest(core_ledger(o->core), a) != ERR_OK ||
		    ledger_digest(core_ledger(l->core), b) != ERR_OK)
			abort();
		if (memcmp(a, b, 32) != 0)
			world_fail(w, o, "I9: in the end another ledger");
	}
}
