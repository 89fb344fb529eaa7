/* What must hold after every step; I1 to I15 are raft-nng-rollback.md 5.5. */
#include <stdlib.h>
#include <string.h>

#include "tests/cluster/world.h"

/* ---- what is committed ---- */

static struct committed *
place(struct world *w, uint64_t generation, uint64_t index)
{
	struct lineage *g;

	if (generation >= GENERATIONS_MAX)
		abort();
	g = &w->lineage[generation];
	if (index >= g->cap) {
		size_t cap = g->cap == 0 ? 512 : g->cap;

		while (cap <= index)
			cap *= 2;
		g->at = realloc(g->at, cap * sizeof *g->at);
		if (g->at == NULL)
			abort();
		memset(g->at + g->cap, 0, (cap - g->cap) * sizeof *g->at);
		g->cap = cap;
	}
	if (index >= g->n)
		g->n = (size_t)index + 1;
	return &g->at[index];
}

/* I5: from one committed configuration to the next, one server changes.
 * I4: a slot has one voter. */
static void
check_config(struct world *w, struct life *l, const struct engine_config *c)
{
	char a[SLOT_MAX], b[SLOT_MAX];

	for (unsigned i = 0; i < c->n; i++)
		for (unsigned j = 0; j < i; j++) {
			size_t n = strcspn(c->member[i].address, "/");

			memcpy(a, c->member[i].address, n);
			a[n] = '\0';
			n = strcspn(c->member[j].address, "/");
			memcpy(b, c->member[j].address, n);
			b[n] = '\0';
			if (strcmp(a, b) == 0 &&
			    c->member[i].role == ENGINE_VOTER &&
			    c->member[j].role == ENGINE_VOTER)
				world_fail(w, l, "I4: %s has two votes", a);
		}
}

static const struct engine_member *
in_config(const struct engine_config *c, uint64_t id)
{
	for (unsigned i = 0; i < c->n; i++)
		if (c->member[i].id == id)
			return &c->member[i];
	return NULL;
}

static unsigned
changes(const struct engine_config *a, const struct engine_config *b)
{
	unsigned n = 0;

	for (unsigned i = 0; i < b->n; i++) {
		const struct engine_member *m = in_config(a, b->member[i].id);

		n += m == NULL || m->role != b->member[i].role;
	}
	for (unsigned i = 0; i < a->n; i++)
		n += in_config(b, a->member[i].id) == NULL;
	return n;
}

static void
committed_config(struct world *w, struct life *l, const struct engine_entry *en)
{
	struct engine_config c, before;
	struct engine_entry e;

	if (engine_config_parse(&c, en->data) != ERR_OK) {
		world_fail(w, l, "a configuration that does not parse");
		return;
	}
	check_config(w, l, &c);
	for (uint64_t i = en->index - 1;
	     engine_entry(core_engine(l->core), i, &e) == ERR_OK; i--) {
		if (e.kind != ENTRY_CONFIG)
			continue;
		if (e.term >> 32 == en->term >> 32 &&
		    engine_config_parse(&before, e.data) == ERR_OK &&
		    changes(&before, &c) > 1)
			world_fail(w, l, "I5: two servers change at %llu",
			    (unsigned long long)en->index);
		return;
	}
}

static void
commit_one(struct world *w, struct life *l, const struct engine_entry *en)
{
	struct committed *k = place(w, core_generation(l->core), en->index);
	struct command c;

	if (k->known) {
		if (memcmp(k->hash, en->hash, sizeof k->hash) != 0)
			world_fail(w, l,
			    "entry %llu is committed twice, differently",
			    (unsigned long long)en->index);
		return;
	}
	w->n.commits++;
	k->known = true;
	k->term = en->term;
	memcpy(k->hash, en->hash, sizeof k->hash);
	if (en->kind == ENTRY_CONFIG)
		committed_config(w, l, en);
	if (en->kind != ENTRY_COMMAND || command_parse(&c, en->data) != ERR_OK)
		return;
	k->op = clients_op_of(&c);
	w->n.anchored += c.kind == COMMAND_ANCHORED;
}

/* One step may commit entries and compact them: then the disk still has them,
 * and the chain of hashes says whether they are the same. */
static void
check_compacted(struct world *w, struct life *l)
{
	const struct engine *e = core_engine(l->core);
	uint64_t end = engine_first(e) - 1;
	const uint8_t *h = disk_hash(&l->disk, end);
	uint8_t hash[32];

	if (h == NULL || !engine_hash(e, end, hash) || memcmp(h, hash, 32) != 0)
		return; /* a snapshot came from another node */
	for (size_t i = 0; i < l->disk.n && !w->failed; i++) {
		const struct disk_entry *d = l->disk.entry[i];
		struct engine_entry en = { .index = d->index,
			.term = d->term,
			.kind = d->kind,
			.data = { d->data, d->len } };

		memcpy(en.hash, d->hash, sizeof en.hash);
		/* What a configuration changes is compared in the log. */
		if (d->index > l->checked && d->index <= end &&
		    d->kind != ENTRY_CONFIG)
			commit_one(w, l, &en);
	}
}

static void
check_committed(struct world *w, struct life *l)
{
	const struct engine *e = core_engine(l->core);
	uint64_t commit = engine_commit(e);
	struct engine_entry en;

	if (commit < l->seen_commit)
		world_fail(w, l, "its commit index goes back");
	l->seen_commit = commit;
	if (l->checked + 1 < engine_first(e)) {
		check_compacted(w, l);
		l->checked = engine_first(e) - 1;
	}
	for (; l->checked < commit && !w->failed; l->checked++)
		if (engine_entry(e, l->checked + 1, &en) == ERR_OK)
			commit_one(w, l, &en);
		else
			break;
}

void
check_applied(struct world *w, struct life *l, uint64_t index)
{
	place(w, core_generation(l->core), index)->applied = true;
}

/* I9: equal history gives equal ledgers. */
static void
check_ledger(struct world *w, struct life *l)
{
	uint64_t i = ledger_index(core_ledger(l->core));
	struct committed *k;
	uint8_t digest[32];

	if (i == l->digested || i % 16 != 0 || i == 0)
		return;
	l->digested = i;
	if (ledger_digest(core_ledger(l->core), digest) != ERR_OK)
		abort();
	k = place(w, core_generation(l->core), i);
	if (k->has_digest && memcmp(k->digest, digest, 32) != 0)
		world_fail(
		    w, l, "I9: another ledger at %llu", (unsigned long long)i);
	memcpy(k->digest, digest, 32);
	k->has_digest = true;
}

/* I12: critical entries count once their anchor is final. */
static void
check_critical(struct world *w, struct life *l)
{
	const struct ledger *g = core_ledger(l->core);
	struct anchor_view v;

	chain_at(&w->chain, w->now - w->finality_ms, &v);
	for (size_t i = 0; i < ledger_n_epochs(g); i++) {
		const struct ledger_epoch *e = ledger_epoch(g, i);

		if (!ledger_epoch_anchored(g, i))
			continue;
		if (v.at.generation == 0 || v.at.index < e->index)
			world_fail(w, l,
			    "I12: epoch %zu at %llu counts, the anchor is at "
			    "%llu",
			    i, (unsigned long long)e->index,
			    (unsigned long long)v.at.index);
	}
}

/* ---- who leads, and as what ---- */

static void
check_leader(struct world *w, struct life *l)
{
	const struct engine *e = core_engine(l->core);
	uint64_t term = engine_term(e);
	const struct engine_member *m =
	    in_config(engine_config(e), core_raft_id(l->self.incarnation));
	unsigned pending = 0;
	struct engine_entry en;

	for (uint64_t k = term * 31 % TERMS_MAX;; k = (k + 1) % TERMS_MAX) {
		if (w->leader[k].term != 0 && w->leader[k].term != term)
			continue;
		if (w->leader[k].term == 0)
			w->n.elections++;
		if (w->leader[k].term == term && w->leader[k].uid != l->uid)
			world_fail(w, l,
			    "two leaders in term %llu.%llu: #%llu too",
			    (unsigned long long)(term >> 32),
			    (unsigned long long)(term & UINT32_MAX),
			    (unsigned long long)w->leader[k].uid);
		w->leader[k].term = term;
		w->leader[k].uid = l->uid;
		break;
	}
	/* I3. */
	if (!w->o.plain && (m == NULL || m->role != ENGINE_VOTER) &&
	    engine_config_index(e) <= engine_commit(e))
		world_fail(w, l, "I3: leads, and has no vote");
	/* I5: one change in flight. */
	for (uint64_t i = engine_commit(e) + 1; i <= engine_last(e); i++)
		pending += engine_entry(e, i, &en) == ERR_OK &&
		    en.kind == ENTRY_CONFIG && en.term == term;
	if (pending > 1)
		world_fail(w, l, "I5: %u changes are in flight", pending);
}

/* I6: whoever is promoted has all that is committed. */
static void
check_promotion(struct world *w, struct life *l, uint64_t commit_before)
{
	const struct engine *e = core_engine(l->core);
	const struct engine_config *c = engine_config(e);
	struct engine_config before;
	struct engine_entry en;
	uint64_t i = engine_config_index(e);

	if (i == l->seen_config)
		return;
	l->seen_config = i;
	if (engine_state(e) != ENGINE_LEADER || i <= engine_commit(e))
		return;
	while (--i > 0 && engine_entry(e, i, &en) == ERR_OK) {
		if (en.kind != ENTRY_CONFIG)
			continue;
		if (engine_config_parse(&before, en.data) != ERR_OK)
			return;
		for (unsigned k = 0; k < c->n; k++) {
			const struct engine_member *m =
			    in_config(&before, c->member[k].id);

			if (c->member[k].role == ENGINE_VOTER && m != NULL &&
			    m->role != ENGINE_VOTER &&
			    engine_match(e, m->id) < commit_before)
				world_fail(w, l, "I6: promotes who is behind");
		}
		return;
	}
}

void
check_step(struct world *w, struct life *l)
{
	const struct engine *e = core_engine(l->core);
	const struct engine_member *m;
	struct core_status s;
	uint64_t before = l->seen_commit;

	if (w->failed)
		return;
	core_status(l->core, &s);
	/* I11: what a node believes of the chain never goes back. */
	if ((s.anchor.generation << 40) + s.anchor.index < l->seen_anchor)
		world_fail(w, l, "I11: the anchor goes back");
	l->seen_anchor = (s.anchor.generation << 40) + s.anchor.index;
	if (core_phase(l->core) == CORE_MEMBER && !l->member_told) {
		struct core_event can = { .kind = CORE_CAN_WRITE,
			.can_write = true };

		l->member_told = true;
		if (!l->disk.has_roots) {
			/* It got the roots from another member. */
			l->disk.has_roots = true;
			world_give(w, l, &can);
			return;
		}
	}
	/* What a genesis makes is nobody's until the chain names it. */
	if (e == NULL || core_phase(l->core) == CORE_HALTED ||
	    (core_phase(l->core) == CORE_GENESIS &&
		w->chain.now.at.generation != 0))
		return;
	m = in_config(engine_config(e), core_raft_id(l->self.incarnation));
	check_roots(w, l);
	l->was_voter |= m != NULL && m->role == ENGINE_VOTER;
	/* I2: a life's term never goes back.  I10: it names a generation. */
	if (engine_term(e) < l->seen_term)
		world_fail(w, l, "I2: its term goes back");
	l->seen_term = engine_term(e);
	if (engine_term(e) >> 32 != core_generation(l->core) && !w->o.plain)
		world_fail(w, l, "I10: term %llx in generation %llu",
		    (unsigned long long)engine_term(e),
		    (unsigned long long)core_generation(l->core));
	check_committed(w, l);
	if (w->failed)
		return;
	if (engine_state(e) == ENGINE_LEADER)
		check_leader(w, l);
	check_promotion(w, l, before);
	check_ledger(w, l);
	if (!w->o.plain)
		check_critical(w, l);
}

/* ---- messages ---- */

#define RAFT_AT 28 /* behind the core's head */

/* A vote that leaves: by a voter only (I7), once per term (I1, I2). */
static void
check_vote(struct world *w, const struct life *l, const struct core_action *a)
{
	uint64_t me =
	    w->o.plain ? l->slot + 1 : core_raft_id(l->self.incarnation);
	uint64_t term = 0, who = 0;

	/* core_raft_id of what the message is addressed to: bytes 20 to 27. */
	for (unsigned i = 20; i < 28; i++)
		who = who << 8 | a->send.bytes.p[i];
	for (unsigned i = RAFT_AT + 2; i < RAFT_AT + 10; i++)
		term = term << 8 | a->send.bytes.p[i];
	/* A message may wait behind a write, and a later one demote it. */
	if (!w->o.plain && !l->was_voter)
		world_fail(w, l, "I7: votes, and never was a voter");
	for (uint64_t k = (term * 31 + me) % TERMS_MAX;;
	     k = (k + 1) % TERMS_MAX) {
		if (w->vote[k].term != 0 &&
		    (w->vote[k].term != term || w->vote[k].voter != me))
			continue;
		if (w->vote[k].term != 0 && w->vote[k].candidate != who)
			world_fail(w, l, "I1: votes twice in term %llu.%llu",
			    (unsigned long long)(term >> 32),
			    (unsigned long long)(term & UINT32_MAX));
		w->vote[k].term = term;
		w->vote[k].voter = me;
		w->vote[k].candidate = who;
		return;
	}
}

void
check_message(
    struct world *w, const struct life *l, const struct core_action *a)
{
	const uint8_t *p = a->send.bytes.p;

	if (a->send.bytes.len < RAFT_AT + 11 || p[3] != 1 ||
	    core_engine(l->core) == NULL)
		return;
	/* I8: before its term and vote are durable only a leader's entries
	 * may leave. */
	if (a->send.early && p[RAFT_AT] != 1)
		world_fail(w, l, "I8: raft message %u is early", p[RAFT_AT]);
	if (!a->send.early && !w->o.plain && l->writing)
		world_fail(w, l, "I8: a message passes a write");
	if (p[RAFT_AT] == 4 && p[RAFT_AT + 10] == 1)
		check_vote(w, l, a);
}

/* ---- disks ---- */

void
check_written(struct world *w, struct life *l)
{
	struct slot *s = &w->slot[l->slot];
	struct disk *d = &l->disk;
	uint64_t term, last = disk_last(d, &term);

	if (last >= s->held_cap) {
		size_t cap = s->held_cap == 0 ? 512 : s->held_cap;

		while (cap <= last)
			cap *= 2;
		s->held = realloc(s->held, cap * sizeof *s->held);
		if (s->held == NULL)
			abort();
		memset(s->held + s->held_cap, 0,
		    (cap - s->held_cap) * sizeof *s->held);
		s->held_cap = cap;
	}
	for (uint64_t i = last; i > 0 && last - i < 64; i--) {
		const uint8_t *h = disk_hash(d, i);
		struct held_hash *k = &s->held[i];
		unsigned j = 0;

		if (h == NULL)
			break;
		while (j < k->n && memcmp(k->hash[j], h, 32) != 0)
			j++;
		if (j < k->n)
			break; /* and all before it */
		if (k->n < 4)
			memcpy(k->hash[k->n++], h, 32);
	}
	/* The host keeps what it may need one day. */
	if (!world_chance(w, 4))
		return;
	if (s->n_saved < SAVED_MAX)
		disk_copy(&s->saved[s->n_saved++], d);
	else
		disk_copy(&s->saved[world_random(w, SAVED_MAX)], d);
}

/* How much of what is committed in the generation a disk holds. */
static uint64_t
holds(const struct world *w, uint64_t generation, const struct disk *d)
{
	const struct lineage *g = &w->lineage[generation];
	uint64_t term, i = disk_last(d, &term);

	for (; i > 0; i--) {
		const uint8_t *h = disk_hash(d, i);

		if (h == NULL)
			return 0;
		if (i < g->n && g->at[i].known &&
		    memcmp(g->at[i].hash, h, 32) == 0)
			return i;
	}
	return 0;
}

static uint64_t
has_held(const struct world *w, uint64_t generation, const struct slot *s)
{
	const struct lineage *g = &w->lineage[generation];

	for (uint64_t i = s->held_cap; i > 0;) {
		if (--i >= g->n || !g->at[i].known)
			continue;
		for (unsigned k = 0; k < s->held[i].n; k++)
			if (memcmp(s->held[i].hash[k], g->at[i].hash, 32) == 0)
				return i;
	}
	return 0;
}

unsigned
check_stale(struct world *w, const struct life *l)
{
	struct core_node row[64];
	size_t n = core_nodes(l->core, row, 64);
	uint64_t g = w->chain.now.at.generation;
	unsigned stale = 0;

	for (unsigned s = 0; s < w->o.slots; s++) {
		uint64_t best = 0;
		bool here = false;

		for (size_t i = 0; i < n; i++) {
			struct life *o =
			    world_by_incarnation(w, row[i].incarnation);
			uint64_t h;

			if (strcmp(row[i].slot, w->slot[s].name) != 0 ||
			    row[i].role != NODE_OFFERS)
				continue;
			here = true;
			h = o != NULL ? holds(w, g, &o->boot) : 0;
			best = h > best ? h : best;
		}
		stale += here && best < has_held(w, g, &w->slot[s]);
	}
	return stale;
}
