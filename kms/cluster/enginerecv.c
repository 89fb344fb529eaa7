/* What comes from peers: judged here, before libraft sees it.
 *
 * libraft 0.22 counts on more than it checks (its asserts are compiled out):
 * that one leader speaks in a term, that equal places hold equal entries,
 * that a batch begins with its only configuration.  Each case is named
 * where it is met. */
#include <string.h>

#include "kms/cluster/engine_int.h"

/* ---- what is known to be the leader's ---- */

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

/* When entries of a former leader become durable, libraft tells the leader of
 * today of them as if they were its own; it would count them. */
void
engine_bound_result(
    const struct engine *e, struct raft_append_entries_result *r)
{
	uint64_t most = e->match_term == r->term ? e->match : 0;

	if (r->rejected == 0 && r->last_log_index > most)
		r->last_log_index = most;
}

/* ---- I9: one chain ---- */

static bool
same_hash(const struct engine *e, uint64_t index, uint64_t term,
    const uint8_t hash[static 32])
{
	uint64_t ours;
	uint8_t h[32];

	return !logcache_term(&e->log, index, &ours) || ours != term ||
	    !logcache_hash(&e->log, index, h) || memcmp(h, hash, 32) == 0;
}

static enum entry_kind
entry_kind(enum raft_entry_type t)
{
	return t == RAFT_COMMAND ? ENTRY_COMMAND
	    : t == RAFT_BARRIER  ? ENTRY_BARRIER
				 : ENTRY_CONFIG;
}

/* The leader's chain and ours are one, as far as both have it. */
static bool
same_history(const struct engine *e, const struct raft_append_entries *a,
    const struct engine_extra *x)
{
	if (!same_hash(e, a->prev_log_index, a->prev_log_term, x->hash))
		return false;
	for (unsigned i = 0; i < a->n_entries; i++) {
		const struct raft_entry *en = &a->entries[i];
		const struct logcache_item *it =
		    logcache_get(&e->log, a->prev_log_index + 1 + i);

		if (it == NULL || it->term != en->term)
			break;
		if (it->kind != entry_kind(en->type) ||
		    it->data.len != en->buf.len ||
		    (en->buf.len > 0 &&
			memcmp(it->data.p, en->buf.base, en->buf.len) != 0))
			return false;
	}
	return true;
}

static bool
same_past(const struct engine *e, const struct raft_install_snapshot *s,
    const struct engine_extra *x)
{
	uint64_t term;

	if (!same_hash(e, s->last_index, s->last_term, x->hash))
		return false;
	/* What is committed here is not replaced by something else. */
	return s->last_index > raft_commit_index(&e->raft) ||
	    !logcache_term(&e->log, s->last_index, &term) ||
	    term == s->last_term;
}

/* ---- entries ---- */

/* The entries [from, from + n) of `a`, in memory of their own, as raft_step
 * wants it. */
static enum err
copy_part(struct raft_append_entries *out, const struct raft_append_entries *a,
    unsigned from, unsigned n)
{
	struct raft_entry *en = raft_calloc(n, sizeof *en);
	uint8_t *batch, *p;
	size_t total = 1;

	for (unsigned i = 0; i < n; i++)
		total += a->entries[from + i].buf.len;
	p = batch = raft_malloc(total);
	if (en == NULL || batch == NULL) {
		raft_free(en);
		raft_free(batch);
		return ERR_NOMEM;
	}
	for (unsigned i = 0; i < n; i++) {
		en[i] = a->entries[from + i];
		if (en[i].buf.len > 0)
			memcpy(p, en[i].buf.base, en[i].buf.len);
		en[i].buf.base = p;
		en[i].batch = batch;
		p += en[i].buf.len;
	}
	*out = *a;
	out->entries = en;
	out->n_entries = n;
	out->prev_log_index += from;
	if (from > 0)
		out->prev_log_term = a->entries[from - 1].term;
	return ERR_OK;
}

static bool
holds(const struct engine *e, uint64_t index, uint64_t term)
{
	uint64_t ours;

	return logcache_term(&e->log, index, &ours) && ours == term;
}

/* One message to libraft, whose entries hold a configuration in the first
 * place or not at all. */
static enum err
feed(struct engine *e, uint64_t now_ms, struct raft_message *m,
    const struct engine_extra *x)
{
	struct raft_append_entries *a = &m->append_entries;
	struct raft_entry *entries = a->entries;
	struct raft_event ev = { .time = now_ms,
		.type = RAFT_RECEIVE,
		.receive = { .message = m } };
	uint64_t before = e->raft.configuration_uncommitted_index;
	uint64_t commit = raft_commit_index(&e->raft);
	struct engine_extra y = *x;
	enum err r = ERR_OK;

	y.term = a->term;
	y.last = a->prev_log_index + a->n_entries;
	y.last_term = a->n_entries > 0 ? entries[a->n_entries - 1].term
				       : a->prev_log_term;
	/* libraft would go back to the end of an old message. */
	if (a->leader_commit > commit &&
	    a->prev_log_index + a->n_entries < commit)
		a->leader_commit = commit;
	/* A leader proposes a configuration when the last one is committed.
	 * libraft remembers one only: what it would roll back to has to be
	 * the last, not the one before it. */
	if (a->n_entries > 0 && entries[0].type == RAFT_CHANGE && before != 0 &&
	    before <= a->prev_log_index && !e->is_installing &&
	    holds(e, a->prev_log_index, a->prev_log_term))
		r = engine_settle(e, now_ms, before);
	if (r == ERR_OK)
		r = engine_run(e, &ev, &y);
	else if (a->n_entries > 0)
		raft_free(entries[0].batch);
	/* The payloads were taken or freed by the step; the array is ours. */
	raft_free(entries);
	return r;
}

static enum err
feed_parts(struct engine *e, uint64_t now_ms, const struct raft_message *m,
    const struct engine_extra *x)
{
	const struct raft_append_entries *a = &m->append_entries;
	enum err r = ERR_OK;

	for (unsigned from = 0, n; r == ERR_OK && from < a->n_entries;
	     from += n) {
		struct raft_message part = *m;

		n = 1;
		while (from + n < a->n_entries &&
		    a->entries[from + n].type != RAFT_CHANGE)
			n++;
		r = copy_part(&part.append_entries, a, from, n);
		if (r == ERR_OK)
			r = feed(e, now_ms, &part, x);
		/* Refused, or not wanted now: no more of it. */
		if (!holds(e, a->prev_log_index + from + n,
			a->entries[from + n - 1].term))
			break;
	}
	return r;
}

/* Begins the message behind our snapshot, if it begins before.  What is in
 * the snapshot is committed, so a leader that is not stale has it.  libraft
 * would take what it no longer has for new, and append it at the end. */
static enum err
skip_snapshot(const struct engine *e, struct raft_message *m,
    const struct engine_extra *x)
{
	const struct engine_snapshot *s = &e->snapshot;
	struct raft_append_entries *a = &m->append_entries;
	uint64_t skip;
	uint8_t hash[32];

	if (!e->has_snapshot || a->prev_log_index >= s->index)
		return ERR_OK;
	skip = s->index - a->prev_log_index;
	memcpy(hash, x->hash, sizeof hash);
	for (uint64_t i = 0; skip <= a->n_entries && i < skip; i++) {
		const struct raft_entry *en = &a->entries[i];

		engine_entry_hash(hash, hash, a->prev_log_index + 1 + i,
		    en->term, entry_kind(en->type),
		    (struct bytes){ en->buf.base, en->buf.len });
	}
	if (skip <= a->n_entries &&
	    (a->entries[skip - 1].term != s->term ||
		memcmp(hash, s->hash, 32) != 0)) {
		enginewire_free(m);
		return ERR_CORRUPT;
	}
	a->prev_log_index = s->index;
	a->prev_log_term = s->term;
	if (skip >= a->n_entries) {
		enginewire_free(m);
		a->n_entries = 0;
		return ERR_OK;
	}
	a->n_entries -= (unsigned)skip;
	memmove(a->entries, a->entries + skip,
	    a->n_entries * sizeof *a->entries); /* all name the one batch */
	return ERR_OK;
}

static enum err
receive_append(struct engine *e, uint64_t now_ms, struct raft_message *m,
    struct engine_extra *x)
{
	struct raft_append_entries *a = &m->append_entries;
	bool parts = false;
	enum err r;

	if (!same_history(e, a, x)) {
		enginewire_free(m);
		return ERR_CORRUPT;
	}
	if (a->term < engine_term(e)) {
		enginewire_free(m);
		a->n_entries = 0;
		x->stale = true;
	} else if ((r = skip_snapshot(e, m, x)) != ERR_OK) {
		return r;
	}
	for (unsigned i = 1; i < a->n_entries; i++)
		parts |= a->entries[i].type == RAFT_CHANGE;
	if (!parts)
		return feed(e, now_ms, m, x);
	r = feed_parts(e, now_ms, m, x);
	enginewire_free(m);
	return r;
}

/* ---- the others ---- */

static enum err
receive_snapshot(struct engine *e, uint64_t now_ms, struct raft_message *m,
    struct engine_extra *x)
{
	struct raft_event ev = { .time = now_ms,
		.type = RAFT_RECEIVE,
		.receive = { .message = m } };

	if (!same_past(e, &m->install_snapshot, x)) {
		enginewire_free(m);
		return ERR_CORRUPT;
	}
	if (e->is_installing) {
		enginewire_free(m);
		return ERR_OK; /* raft sends it again */
	}
	x->stale = m->install_snapshot.term < engine_term(e);
	x->term = m->install_snapshot.term;
	x->last = m->install_snapshot.last_index;
	x->last_term = m->install_snapshot.last_term;
	return engine_run(e, &ev, x);
}

/* Messages without memory that libraft takes for more than they are. */
static bool
is_moot(const struct engine *e, const struct raft_message *m)
{
	switch (m->type) {
	case RAFT_REQUEST_VOTE_RESULT:
		/* Too late.  libraft would look at what it keeps for another
		 * state, and raise the term for an old pre-vote. */
		return engine_state(e) != ENGINE_CANDIDATE;
	case RAFT_TIMEOUT_NOW:
		/* libraft would lead the term that it is in: engine_tick. */
		return engine_only_voter(e);
	case RAFT_APPEND_ENTRIES:
	case RAFT_APPEND_ENTRIES_RESULT:
	case RAFT_REQUEST_VOTE:
	case RAFT_INSTALL_SNAPSHOT:
		return false;
	}
	return true;
}

/* Who says that it leads the term: 0 for other messages. */
static uint64_t
leader_term(const struct raft_message *m)
{
	return m->type == RAFT_APPEND_ENTRIES  ? m->append_entries.term
	    : m->type == RAFT_INSTALL_SNAPSHOT ? m->install_snapshot.term
					       : 0;
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
	struct engine_extra x;
	enum err r;

	if (!e->started)
		return ERR_PHASE;
	if (from == 0 || from == e->o.id)
		return ERR_AUTH;
	if ((r = enginewire_read(&m, &x, message)) != ERR_OK)
		return r;
	m.server_id = from;
	m.server_address = "peer";
	if (m.type == RAFT_REQUEST_VOTE && m.request_vote.candidate_id != from)
		return ERR_AUTH;
	/* One leader speaks in a term. */
	if (leader_term(&m) == engine_term(e) &&
	    engine_state(e) == ENGINE_LEADER) {
		enginewire_free(&m);
		return ERR_CORRUPT;
	}
	/* An old refusal of what it has by now: libraft would fall behind what
	 * it knows, and send nothing any more. */
	if (m.type == RAFT_APPEND_ENTRIES_RESULT &&
	    m.append_entries_result.rejected <= engine_match(e, from)) {
		if (m.append_entries_result.rejected > 0)
			m.append_entries_result.last_log_index = 0;
		m.append_entries_result.rejected = 0;
	}
	if (m.type == RAFT_APPEND_ENTRIES)
		return receive_append(e, now_ms, &m, &x);
	if (m.type == RAFT_INSTALL_SNAPSHOT)
		return receive_snapshot(e, now_ms, &m, &x);
	if (m.type == RAFT_REQUEST_VOTE &&
	    (r = catch_up_term(e, now_ms, &m)) != ERR_OK)
		return r;
	return is_moot(e, &m) ? ERR_OK : engine_run(e, &ev, &x);
}
