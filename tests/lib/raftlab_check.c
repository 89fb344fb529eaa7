#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/rd.h"
#include "tests/lib/raftlab_check.h"

void
raftlab_break(struct raftlab *l, const char *fmt, ...)
{
	va_list ap;

	if (l->broken[0] != '\0')
		return; /* the first one counts */
	va_start(ap, fmt);
	(void)vsnprintf(l->broken, sizeof l->broken, fmt, ap);
	va_end(ap);
}

/* Figure 3.2, Election Safety: one leader in a term. */
static void
check_reign(struct raftlab *l, unsigned i)
{
	const struct engine *e = l->node[i].e;
	uint64_t term = engine_term(e);
	uint8_t hash[32];

	/* The only voter may lead before its term is durable; a crash undoes
	 * that, and nobody heard of it (raftlab_check_sent). */
	if (engine_state(e) != ENGINE_LEADER || l->node[i].disk.term < term)
		return;
	for (unsigned k = l->n_reigns; k-- > 0;)
		if (l->reign[k].term == term) {
			if (l->reign[k].leader != i)
				raftlab_break(l,
				    "two leaders in term %llu: %llu and %u",
				    (unsigned long long)term,
				    (unsigned long long)l->reign[k].leader, i);
			return;
		}
	if (l->n_reigns == RAFTLAB_TERMS) {
		raftlab_break(l, "too many terms to check");
		return;
	}
	l->reign[l->n_reigns].term = term;
	l->reign[l->n_reigns++].leader = i;
	/* Leader Completeness: it has what was committed before. */
	for (uint64_t n = 1; n <= l->highest; n++)
		if (l->committed[n].known && l->committed[n].seen_term < term &&
		    n >= engine_first(e) &&
		    (!engine_hash(e, n, hash) ||
			memcmp(hash, l->committed[n].hash, 32) != 0))
			raftlab_break(l, "leader %u of %llu lacks %llu", i,
			    (unsigned long long)term, (unsigned long long)n);
}

/* Log Matching: one index and term, one entry and one past. */
static void
note_place(struct raftlab *l, unsigned i, uint64_t index, uint64_t term,
    const uint8_t *hash)
{
	for (size_t k = l->n_places; k-- > 0;) {
		if (l->place[k].index != index || l->place[k].term != term)
			continue;
		if (memcmp(l->place[k].hash, hash, 32) != 0)
			raftlab_break(l, "node %u: two entries are %llu^%llu",
			    i, (unsigned long long)index,
			    (unsigned long long)term);
		return;
	}
	if (l->n_places == l->places_cap) {
		l->places_cap = l->places_cap * 2 + 64;
		l->place = realloc(l->place, l->places_cap * sizeof *l->place);
		if (l->place == NULL)
			abort();
	}
	l->place[l->n_places] =
	    (struct raftlab_place){ .index = index, .term = term };
	memcpy(l->place[l->n_places++].hash, hash, 32);
}

static void
check_log(struct raftlab *l, unsigned i)
{
	struct raftlab_node *n = &l->node[i];
	uint8_t head[32], prev[32], want[32];
	struct engine_entry en;
	uint64_t last = engine_last(n->e);

	if (!engine_hash(n->e, last, head)) {
		raftlab_break(l, "node %u: its head has no hash", i);
		return;
	}
	if (last == n->last && memcmp(head, n->head, 32) == 0)
		return;
	if (engine_term_at(n->e, last, &en.term) && en.term > n->disk.term)
		return; /* as in check_reign; looked at when it is durable */
	n->last = last;
	memcpy(n->head, head, 32);
	for (uint64_t k = engine_first(n->e);
	     k <= last && last < RAFTLAB_INDEXES; k++) {
		if (engine_entry(n->e, k, &en) != ERR_OK ||
		    !engine_hash(n->e, k - 1, prev)) {
			raftlab_break(l, "node %u: a gap at %llu", i,
			    (unsigned long long)k);
			return;
		}
		engine_entry_hash(want, prev, k, en.term, en.kind, en.data);
		if (memcmp(want, en.hash, 32) != 0)
			raftlab_break(l, "node %u: chain broken at %llu", i,
			    (unsigned long long)k);
		note_place(l, i, k, en.term, en.hash);
	}
}

/* State Machine Safety: what is committed is so for all, and for ever. */
static void
check_commit(struct raftlab *l, unsigned i)
{
	struct raftlab_node *n = &l->node[i];
	uint64_t commit = engine_commit(n->e);
	uint8_t hash[32];

	if (commit < n->commit)
		raftlab_break(l, "node %u: commit went back", i);
	if (commit > engine_last(n->e))
		raftlab_break(l, "node %u: commit beyond its log", i);
	for (uint64_t k = n->commit + 1; k <= commit && k < RAFTLAB_INDEXES;
	     k++) {
		if (!engine_hash(n->e, k, hash))
			continue; /* below a snapshot */
		if (!l->committed[k].known) {
			l->committed[k].known = true;
			l->committed[k].seen_term = engine_term(n->e);
			memcpy(l->committed[k].hash, hash, 32);
			if (k > l->highest)
				l->highest = k;
		} else if (memcmp(hash, l->committed[k].hash, 32) != 0) {
			raftlab_break(l,
			    "node %u: other entry committed at "
			    "%llu",
			    i, (unsigned long long)k);
		}
	}
	n->commit = commit;
}

void
raftlab_check(struct raftlab *l, unsigned i)
{
	struct raftlab_node *n = &l->node[i];
	uint64_t term = engine_term(n->e), vote = engine_vote(n->e);

	if (term < n->term)
		raftlab_break(l, "node %u: term went back", i);
	if (term == n->term && n->vote != 0 && vote != n->vote)
		raftlab_break(l, "node %u: changed its vote", i);
	n->term = term;
	n->vote = vote;
	if (engine_durable(n->e) > engine_last(n->e))
		raftlab_break(l, "node %u: durable beyond its log", i);
	check_log(l, i);
	check_commit(l, i);
	check_reign(l, i);
}

static void
give_vote(struct raftlab *l, unsigned i, uint64_t term, uint64_t to)
{
	struct raftlab_node *n = &l->node[i];

	for (unsigned k = n->n_gave; k-- > 0;)
		if (n->gave[k].term == term) {
			if (n->gave[k].to != to)
				raftlab_break(l, "node %u voted twice in %llu",
				    i, (unsigned long long)term);
			return;
		}
	if (n->n_gave == RAFTLAB_VOTES) {
		raftlab_break(l, "too many votes to check");
		return;
	}
	n->gave[n->n_gave].term = term;
	n->gave[n->n_gave++].to = to;
}

/* I8: this is all that others ever learn of a node's votes, over its lives.
 * The bytes are enginewire.c's. */
void
raftlab_check_sent(
    struct raftlab *l, unsigned i, const struct engine_message *m)
{
	struct rd r = { .p = m->bytes.p, .left = m->bytes.len };
	uint8_t type = rd_u8(&r);
	uint64_t term;

	(void)rd_u8(&r);
	term = rd_be64(&r);
	if (type != 1 && m->early)
		raftlab_break(
		    l, "node %u: message %u may leave early", i, type);
	if (type == 3 && (m->bytes.p[m->bytes.len - 1] & 2) == 0)
		give_vote(l, i, term, i + 1);
	if (type == 4 && rd_u8(&r) == 1)
		give_vote(l, i, term, m->to);
	/* What leaves early belongs to a term that a crash cannot undo. */
	if (type == 1 && l->node[i].disk.term < term)
		raftlab_break(
		    l, "node %u: leads a term that is not durable", i);
}

void
raftlab_check_state(struct raftlab *l, unsigned i, struct bytes state)
{
	uint64_t at = l->node[i].snapshot.index;

	if (at < RAFTLAB_INDEXES && l->committed[at].known &&
	    (state.len != 32 ||
		memcmp(state.p, l->committed[at].hash, 32) != 0))
		raftlab_break(l, "node %u: another state of %llu", i,
		    (unsigned long long)at);
}
