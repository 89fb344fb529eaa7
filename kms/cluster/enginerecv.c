/* What peers send, in the form in which libraft 0.22 takes it right.  Each
 * function says what it would do otherwise; tests/cluster/sim has shown it. */
#include <string.h>

#include "kms/cluster/engine_int.h"

/* I9: the leader's chain and ours are one, as far as both have it. */
static bool
same_history(const struct engine *e, const struct raft_append_entries *a,
    const struct engine_extra *x)
{
	uint64_t term;
	uint8_t hash[32];

	return !logcache_term(&e->log, a->prev_log_index, &term) ||
	    term != a->prev_log_term ||
	    !logcache_hash(&e->log, a->prev_log_index, hash) ||
	    memcmp(hash, x->hash, sizeof hash) == 0;
}

/* libraft 0.22 takes min(leader_commit, last entry of the message) as its own
 * commit index even if that is lower: a leader that probes again from further
 * back would make it go back. */
static void
never_back(const struct engine *e, struct raft_append_entries *a)
{
	uint64_t commit = engine_commit(e);

	if (a->prev_log_index + a->n_entries < commit &&
	    a->leader_commit > commit)
		a->leader_commit = commit;
}

/* What we have already is cut off the front, so that the first entry of a
 * message is the first new one (see split_config).  What our snapshot covers
 * is committed, hence known: libraft has forgotten its terms, and would append
 * a message that begins at index 1. */
static void
skip_known(const struct engine *e, struct raft_append_entries *a)
{
	uint64_t base = e->log.base_index, term;
	unsigned k = 0;

	if (a->prev_log_index < base) {
		uint64_t n = base - a->prev_log_index;

		k = n < a->n_entries ? (unsigned)n : a->n_entries;
		a->prev_log_index = base;
		a->prev_log_term = e->log.base_term;
	} else if (!logcache_term(&e->log, a->prev_log_index, &term) ||
	    term != a->prev_log_term) {
		return;
	}
	for (; k < a->n_entries; k++) {
		const struct logcache_item *it =
		    logcache_get(&e->log, a->prev_log_index + 1);

		if (it == NULL || it->term != a->entries[k].term)
			break;
		a->prev_log_index++;
		a->prev_log_term = it->term;
	}
	if (k == 0)
		return;
	a->n_entries -= k;
	if (a->n_entries > 0) {
		memmove(a->entries, a->entries + k,
		    a->n_entries * sizeof *a->entries);
		return;
	}
	raft_free(a->entries[0].batch);
	raft_free(a->entries);
	a->entries = NULL;
}

/* libraft 0.22 believes that a new configuration is at the index of the first
 * new entry of its message, wherever it is: it would wait for another entry to
 * commit it, and allow no change ever after, or not take it back.  So what
 * follows the entries before it becomes a message of its own, in `rest`. */
static enum err
split_config(struct raft_append_entries *a, struct raft_append_entries *rest)
{
	unsigned k = 1, n;
	size_t total = 1;
	uint8_t *p;

	*rest = *a;
	rest->n_entries = 0;
	rest->entries = NULL;
	while (k < a->n_entries && a->entries[k].type != RAFT_CHANGE)
		k++;
	if (k >= a->n_entries)
		return ERR_OK;
	n = a->n_entries - k;
	for (unsigned i = k; i < a->n_entries; i++)
		total += a->entries[i].buf.len;
	rest->entries = raft_calloc(n, sizeof *rest->entries);
	p = raft_malloc(total);
	if (rest->entries == NULL || p == NULL) {
		raft_free(rest->entries);
		raft_free(p);
		rest->entries = NULL;
		return ERR_NOMEM;
	}
	rest->entries[0].batch = p;
	for (unsigned i = 0; i < n; i++) {
		struct raft_entry *en = &rest->entries[i];
		void *batch = rest->entries[0].batch;

		*en = a->entries[k + i];
		if (en->buf.len > 0)
			memcpy(p, en->buf.base, en->buf.len);
		en->buf.base = p;
		en->batch = batch;
		p += en->buf.len;
	}
	rest->n_entries = n;
	rest->prev_log_index = a->prev_log_index + k;
	rest->prev_log_term = a->entries[k - 1].term;
	a->n_entries = k;
	return ERR_OK;
}

/* How far our log is known to be the leader's of this term. */
void
engine_note_match(struct engine *e, const struct engine_extra *x)
{
	uint64_t ours;

	if (x->term != engine_term(e) || engine_state(e) != ENGINE_FOLLOWER ||
	    !logcache_term(&e->log, x->last, &ours) || ours != x->last_term)
		return;
	if (e->match_term != x->term)
		e->match = 0;
	e->match_term = x->term;
	if (e->match < x->last)
		e->match = x->last;
}

/* libraft 0.22 tells the leader of today of whatever became durable, also of
 * entries of a former one, that this one may not have: it would count us for
 * its own entry at that index. */
void
engine_bound_result(
    const struct engine *e, struct raft_append_entries_result *r)
{
	uint64_t most = e->match_term == r->term ? e->match : 0;

	if (r->rejected == 0 && r->last_log_index > most)
		r->last_log_index = most;
}

/* A leader's entries, in as many steps as it takes.  Takes a->entries. */
static enum err
receive_entries(struct engine *e, struct raft_event *ev, struct raft_message *m)
{
	struct raft_append_entries *a = &m->append_entries, rest;
	enum err r = ERR_OK;

	do {
		struct raft_entry *entries;
		struct engine_extra x = { .term = a->term };

		never_back(e, a);
		skip_known(e, a);
		if ((r = split_config(a, &rest)) != ERR_OK)
			enginewire_free(m);
		if (r != ERR_OK)
			return r;
		entries = a->entries;
		x.last = a->prev_log_index + a->n_entries;
		x.last_term = a->n_entries > 0 ? entries[a->n_entries - 1].term
					       : a->prev_log_term;
		r = engine_run(e, ev, &x);
		/* The payloads were taken or freed by the step; the array is
		 * ours. */
		raft_free(entries);
		*a = rest;
	} while (r == ERR_OK && rest.n_entries > 0);
	if (rest.n_entries > 0)
		enginewire_free(m);
	return r;
}

/* libraft 0.22 answers a pre-vote without taking over its term, nor telling
 * its own: of two nodes, of which one has the longer log and the other the
 * higher term, neither is ever elected.  Without a leader we take the term of
 * a fellow voter's: as from a candidate whose log is too old for a vote. */
static enum err
catch_up_term(struct engine *e, uint64_t now_ms, const struct raft_message *m)
{
	const struct raft_request_vote *v = &m->request_vote;
	struct raft_message plain = *m;
	struct raft_event ev = { .time = now_ms,
		.type = RAFT_RECEIVE,
		.receive = { .message = &plain } };

	if (!v->pre_vote || v->term - 1 <= engine_term(e) ||
	    engine_state(e) == ENGINE_LEADER || engine_leader(e) != 0 ||
	    engine_last(e) == 0)
		return ERR_OK;
	plain.request_vote.pre_vote = false;
	plain.request_vote.disrupt_leader = false;
	plain.request_vote.term = v->term - 1;
	plain.request_vote.last_log_index = 0;
	plain.request_vote.last_log_term = 0;
	for (unsigned i = 0; i < e->config.n; i++)
		if (e->config.member[i].id == m->server_id &&
		    e->config.member[i].role == ENGINE_VOTER)
			return engine_run(e, &ev, NULL);
	return ERR_OK;
}

enum err
engine_receive(
    struct engine *e, uint64_t now_ms, uint64_t from, struct bytes message)
{
	struct raft_message m;
	struct raft_event ev = { .time = now_ms,
		.type = RAFT_RECEIVE,
		.receive = { .message = &m } };
	struct engine_extra extra;
	enum err r;

	if (!e->started)
		return ERR_PHASE;
	if ((r = enginewire_read(&m, &extra, message)) != ERR_OK)
		return r;
	m.server_id = from;
	m.server_address = "peer";
	if (m.type == RAFT_REQUEST_VOTE && m.request_vote.candidate_id != from)
		return ERR_AUTH;
	if (m.type == RAFT_APPEND_ENTRIES) {
		/* libraft asserts that only one leader speaks in a term. */
		if (!same_history(e, &m.append_entries, &extra) ||
		    (m.append_entries.term == engine_term(e) &&
			engine_state(e) == ENGINE_LEADER)) {
			enginewire_free(&m);
			return ERR_CORRUPT;
		}
		return receive_entries(e, &ev, &m);
	}
	if (m.type == RAFT_INSTALL_SNAPSHOT &&
	    (e->is_installing || engine_state(e) == ENGINE_LEADER)) {
		enginewire_free(&m);
		return ERR_OK; /* raft sends it again */
	}
	if (m.type == RAFT_REQUEST_VOTE &&
	    (r = catch_up_term(e, now_ms, &m)) != ERR_OK)
		return r;
	if (m.type == RAFT_INSTALL_SNAPSHOT) {
		extra.term = m.install_snapshot.term;
		extra.last = m.install_snapshot.last_index;
		extra.last_term = m.install_snapshot.last_term;
	}
	return engine_run(e, &ev, &extra);
}
