/* The rules of libraft's raft_step, as far as they are not in its header,
 * are in raft-nng-rollback.md 1.5; each is followed where it is named. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "kms/cluster/engine_int.h"

#define MAX_INFLIGHT 8192 /* libraft's own 32 throttles a pipeline */
#define INSTALL_SNAPSHOT_MS 30000

static_assert((int)ENGINE_STANDBY == (int)RAFT_STANDBY &&
	(int)ENGINE_VOTER == (int)RAFT_VOTER &&
	(int)ENGINE_SPARE == (int)RAFT_SPARE,
    "the roles in a configuration's bytes are libraft's");

enum err
engine_new(struct engine **out, const struct engine_options *o)
{
	struct engine *e = calloc(1, sizeof *e);

	if (e == NULL)
		return ERR_NOMEM;
	assert(o->id != 0 && strlen(o->address) < ENGINE_ADDRESS_MAX);
	e->o = *o;
	memcpy(e->address, o->address, strlen(o->address) + 1);
	e->o.address = e->address;
	if (raft_init(&e->raft, NULL, NULL, o->id, o->address) != 0) {
		free(e);
		return ERR_NOMEM;
	}
	raft_seed(&e->raft, o->seed);
	raft_set_election_timeout(&e->raft, o->election_ms);
	raft_set_heartbeat_timeout(&e->raft, o->heartbeat_ms);
	raft_set_install_snapshot_timeout(&e->raft, INSTALL_SNAPSHOT_MS);
	raft_set_pre_vote(&e->raft, true);
	raft_set_max_inflight_entries(&e->raft, MAX_INFLIGHT);
	*out = e;
	return ERR_OK;
}

void
engine_effects_fini(struct engine_effects *x)
{
	for (size_t i = 0; i < x->n_messages; i++)
		buf_fini(&x->message[i].bytes);
	free(x->message);
	*x = (struct engine_effects){ 0 };
}

void
engine_free(struct engine *e)
{
	if (e == NULL)
		return;
	raft_close(&e->raft, NULL);
	if (e->is_installing)
		raft_configuration_close(&e->installing.configuration);
	logcache_fini(&e->log);
	buf_fini(&e->snapshot_data);
	engine_effects_fini(&e->x);
	free(e);
}

/* ---- effects ---- */

/* The entries from `from` on have to be written, again or for the first
 * time. */
void
engine_note_append(struct engine *e, uint64_t from)
{
	if (e->x.first == 0 || from < e->x.first)
		e->x.first = from;
}

static void
note_truncate(struct engine *e, uint64_t from)
{
	if (e->x.truncate == 0 || from < e->x.truncate)
		e->x.truncate = from;
	if (e->durable >= from)
		e->durable = from - 1;
	if (e->x.first >= from)
		e->x.first = 0;
}

/* Our own term is durable: an entry of it is, which was written later. */
static bool
term_is_durable(const struct engine *e)
{
	uint64_t term;

	return !e->x.meta && logcache_term(&e->log, e->durable, &term) &&
	    term == engine_term(e);
}

static enum err
add_message(struct engine *e, const struct raft_message *m)
{
	struct engine_message out = { .to = m->server_id };
	enum err r;

	if (e->x.n_messages == e->messages_cap) {
		size_t cap = e->messages_cap == 0 ? 16 : e->messages_cap * 2;
		struct engine_message *grown =
		    realloc(e->x.message, cap * sizeof *grown);

		if (grown == NULL)
			return ERR_NOMEM;
		e->x.message = grown;
		e->messages_cap = cap;
	}
	r = enginewire_write(
	    &out.bytes, m, &e->log, e->has_snapshot ? &e->snapshot : NULL);
	if (r != ERR_OK) {
		buf_fini(&out.bytes);
		/* It names an entry that this very step dropped: raft asks
		 * again. */
		return r == ERR_NOTFOUND ? ERR_OK : r;
	}
	/* A leader's entries may travel while they are being written here: a
	 * quorum counts only who has them on disk. */
	out.early = m->type == RAFT_APPEND_ENTRIES && term_is_durable(e);
	e->x.message[e->x.n_messages++] = out;
	return ERR_OK;
}

static enum err
note_message(struct engine *e, const struct raft_message *m,
    const struct engine_extra *extra)
{
	struct raft_message part = *m;
	struct raft_append_entries *a = &part.append_entries;
	enum err r;

	if (m->server_id == e->o.id)
		return ERR_OK; /* the answer to vote_self */
	/* libraft answers a stale leader with a field that it never set;
	 * when that one leads our term by then, it would count. */
	if (m->type == RAFT_APPEND_ENTRIES_RESULT && extra != NULL &&
	    extra->stale)
		part.append_entries_result.last_log_index = 0;
	if (m->type == RAFT_APPEND_ENTRIES_RESULT)
		engine_bound_result(e, &part.append_entries_result);
	/* libraft echoes a pre-vote's term even when it refuses it for being
	 * low: the candidate would ask for the same one for ever. */
	if (m->type == RAFT_REQUEST_VOTE_RESULT &&
	    m->request_vote_result.pre_vote &&
	    !m->request_vote_result.vote_granted &&
	    m->request_vote_result.term < engine_term(e))
		part.request_vote_result.term = engine_term(e);
	if (m->type != RAFT_APPEND_ENTRIES || a->n_entries <= ENGINE_BATCH)
		return add_message(e, &part);
	/* libraft believes that all of them are on their way. */
	for (unsigned left = a->n_entries; left > 0; left -= a->n_entries) {
		uint64_t term;

		a->n_entries = left < ENGINE_BATCH ? left : ENGINE_BATCH;
		if ((r = add_message(e, &part)) != ERR_OK)
			return r;
		a->prev_log_index += a->n_entries;
		if (!logcache_term(&e->log, a->prev_log_index, &term))
			return ERR_OK; /* dropped in this very step */
		a->prev_log_term = term;
	}
	return ERR_OK;
}

/* Adopts new entries: of a leader's message, or our own. */
static enum err
take_entries(struct engine *e, uint64_t index, const struct raft_entry *batch,
    unsigned n)
{
	bool changed = index <= e->config_index;
	enum err r = ERR_OK;

	if (index <= logcache_last(&e->log)) {
		logcache_truncate(&e->log, index);
		note_truncate(e, index);
	}
	assert(index == logcache_last(&e->log) + 1);
	engine_note_append(e, index);
	for (unsigned i = 0; r == ERR_OK && i < n; i++) {
		enum entry_kind kind = batch[i].type == RAFT_COMMAND
		    ? ENTRY_COMMAND
		    : batch[i].type == RAFT_BARRIER ? ENTRY_BARRIER
						    : ENTRY_CONFIG;
		struct bytes data = { batch[i].buf.base, batch[i].buf.len };

		changed |= kind == ENTRY_CONFIG;
		r = logcache_append(&e->log, batch[i].term, kind, data);
	}
	if (r == ERR_OK && changed)
		engine_find_config(e);
	return r;
}

/* A snapshot from the leader: the log starts anew behind it. */
static enum err
take_snapshot(struct engine *e, const struct raft_update *u,
    const struct engine_extra *extra)
{
	const struct raft_snapshot_metadata *md = &u->snapshot.metadata;
	struct engine_snapshot s = { .index = md->index,
		.term = md->term,
		.config_index = md->configuration_index };
	enum err r;

	assert(extra != NULL && !e->is_installing);
	memcpy(s.hash, extra->hash, sizeof s.hash);
	r = enginewire_from_raft(&s.config, &md->configuration);
	if (r == ERR_OK)
		r = buf_set(&e->snapshot_data, u->snapshot.chunk.base,
		    u->snapshot.chunk.len);
	raft_free(u->snapshot.chunk.base);
	if (r != ERR_OK) {
		raft_configuration_close(&(struct raft_configuration){
		    md->configuration.servers, md->configuration.n });
		return r;
	}
	s.data = buf_view(&e->snapshot_data);
	e->snapshot = s;
	e->has_snapshot = true;
	logcache_reset(&e->log, s.index, s.term, s.hash);
	e->durable = 0;
	e->held_commit = raft_commit_index(&e->raft);
	e->x.first = 0;
	e->x.truncate = 0;
	e->x.snapshot = true;
	e->x.install = true;
	e->installing = *md;
	e->is_installing = true;
	return ERR_OK;
}

/* libraft and we follow one configuration: whose majority counts rests on
 * it, and what libraft rolls back to is not always what the log says. */
static bool
same_config(const struct engine *e)
{
	const struct raft_configuration *c = &e->raft.configuration;

	if (c->n != e->config.n)
		return false;
	for (unsigned i = 0; i < c->n; i++)
		if (c->servers[i].id != e->config.member[i].id ||
		    c->servers[i].role != (int)e->config.member[i].role)
			return false;
	return true;
}

/* A configuration is committed when its entry is: libraft wants to be told,
 * and before the next one comes. */
static enum err
settle_committed(struct engine *e, uint64_t now_ms)
{
	uint64_t index = e->raft.configuration_uncommitted_index;
	const struct logcache_item *it = logcache_get(&e->log, index);

	if (index == 0 || index > raft_commit_index(&e->raft) || it == NULL ||
	    e->is_installing)
		return ERR_OK;
	return engine_settle(e, now_ms, index);
}

/* One raft_step, and everything that it asks for. */
enum err
engine_run(
    struct engine *e, struct raft_event *ev, const struct engine_extra *extra)
{
	struct raft_update u = { 0 };
	enum err r = ERR_OK;
	int rv;

	ev->capacity = 65535;
	rv = raft_step(&e->raft, ev, &u);
	if (rv != 0 && ev->type == RAFT_SUBMIT)
		raft_free(ev->submit.entries[0].batch); /* ours again */
	switch (rv) {
	case 0:
		break;
	case RAFT_NOMEM:
		return ERR_NOMEM;
	case RAFT_NOTLEADER:
	case RAFT_CANTCHANGE:
	case RAFT_NOSPACE:
	case RAFT_BUSY:
	case RAFT_BADID:
	case RAFT_NOTFOUND:
		return ERR_AGAIN;
	default:
		/* RAFT_SHUTDOWN: an entry that is committed here differs from
		 * the leader's. */
		return ERR_CORRUPT;
	}
	if ((u.flags & (RAFT_UPDATE_CURRENT_TERM)) != 0 ||
	    (u.flags & (RAFT_UPDATE_VOTED_FOR)) != 0)
		e->x.meta = true;
	if ((u.flags & (RAFT_UPDATE_SNAPSHOT)) != 0)
		r = take_snapshot(e, &u, extra);
	if (r == ERR_OK && (u.flags & (RAFT_UPDATE_ENTRIES)) != 0)
		r = take_entries(
		    e, u.entries.index, u.entries.batch, u.entries.n);
	if ((u.flags & (RAFT_UPDATE_ENTRIES)) != 0) {
		/* Whoever made the batch, it is ours now. */
		raft_free(u.entries.batch[0].batch);
	}
	if (extra != NULL && extra->term != 0)
		engine_note_match(e, extra);
	if ((u.flags & (RAFT_UPDATE_MESSAGES)) != 0)
		for (unsigned i = 0; r == ERR_OK && i < u.messages.n; i++)
			r = note_message(e, &u.messages.batch[i], extra);
	if ((u.flags & (RAFT_UPDATE_STATE)) != 0)
		e->x.state_changed = true;
	if (r == ERR_OK)
		r = settle_committed(e, ev->time);
	if (r == ERR_OK && !e->is_installing && !same_config(e))
		r = ERR_CORRUPT;
	return r;
}

void
engine_take(struct engine *e, struct engine_effects *out)
{
	*out = e->x;
	e->x = (struct engine_effects){ 0 };
	e->messages_cap = 0;
	out->term = engine_term(e);
	out->vote = engine_vote(e);
	out->commit = engine_commit(e);
	if (out->first != 0)
		out->last = logcache_last(&e->log);
}

/* ---- events ---- */

uint64_t
engine_deadline(const struct engine *e)
{
	return e->started ? raft_timeout(&e->raft) : UINT64_MAX;
}

/* The only voter's election.  libraft makes it leader of the term that it
 * is in, which may have another leader: the one that made it the only voter
 * and does not know yet that this is committed.  So it first votes for
 * itself in a new term. */
static enum err
vote_self(struct engine *e, uint64_t now_ms)
{
	uint64_t last = logcache_last(&e->log), term = 0;
	struct raft_message m = { .type = RAFT_REQUEST_VOTE,
		.server_id = e->o.id,
		.server_address = e->address,
		.request_vote = { .version = 2,
		    .term = engine_term(e) + 1,
		    .candidate_id = e->o.id,
		    .last_log_index = last,
		    .disrupt_leader = true } };
	struct raft_event ev = { .time = now_ms,
		.type = RAFT_RECEIVE,
		.receive = { .message = &m } };
	enum err r;

	(void)logcache_term(&e->log, last, &term);
	m.request_vote.last_log_term = term;
	r = engine_run(e, &ev, NULL);
	/* The vote was no sign of another's election: time is still up. */
	e->raft.election_timer_start = 0;
	return r;
}

enum err
engine_tick(struct engine *e, uint64_t now_ms)
{
	struct raft_event ev = { .time = now_ms, .type = RAFT_TIMEOUT };
	enum err r = ERR_OK;

	if (!e->started || now_ms < raft_timeout(&e->raft))
		return ERR_OK;
	switch (engine_state(e)) {
	case ENGINE_FOLLOWER:
		if (engine_only_voter(e) && !e->is_installing &&
		    e->durable == logcache_last(&e->log))
			r = vote_self(e, now_ms);
		break;
	case ENGINE_CANDIDATE:
		/* Once past its pre-vote, or told to disrupt, libraft's
		 * candidate raises the term at every timeout, also when it is
		 * cut off or no member any more. */
		e->raft.candidate_state.disrupt_leader = false;
		e->raft.candidate_state.in_pre_vote = true;
		break;
	case ENGINE_LEADER:
	case ENGINE_OFF:
		break;
	}
	return r == ERR_OK ? engine_run(e, &ev, NULL) : r;
}

static enum err
submit(struct engine *e, uint64_t now_ms, enum entry_kind kind,
    const struct bytes *data, size_t n, uint64_t *first_index)
{
	struct raft_event ev = { .time = now_ms, .type = RAFT_SUBMIT };
	struct raft_entry *en;
	uint8_t *batch, *p;
	size_t total = 1;
	uint64_t first = logcache_last(&e->log) + 1;
	enum err r;

	if (engine_state(e) != ENGINE_LEADER)
		return ERR_AGAIN;
	assert(n > 0 && n <= UINT16_MAX);
	for (size_t i = 0; i < n; i++) {
		if (data[i].len > ENGINE_ENTRY_MAX)
			return ERR_LIMIT;
		total += data[i].len;
	}
	en = calloc(n, sizeof *en);
	batch = raft_malloc(total);
	if (en == NULL || batch == NULL) {
		free(en);
		raft_free(batch);
		return ERR_NOMEM;
	}
	p = batch;
	for (size_t i = 0; i < n; i++) {
		en[i] = (struct raft_entry){ .term = engine_term(e),
			.type = kind == ENTRY_COMMAND ? RAFT_COMMAND
			    : kind == ENTRY_BARRIER   ? RAFT_BARRIER
						      : RAFT_CHANGE,
			.buf = { .base = p, .len = data[i].len },
			.batch = batch };
		if (data[i].len > 0)
			memcpy(p, data[i].p, data[i].len);
		p += data[i].len;
	}
	ev.submit.entries = en;
	ev.submit.n = (unsigned)n;
	r = engine_run(e, &ev, NULL);
	if (r == ERR_OK)
		*first_index = first;
	free(en);
	return r;
}

enum err
engine_submit(struct engine *e, uint64_t now_ms, enum entry_kind kind,
    const struct bytes *data, size_t n, uint64_t *first_index)
{
	switch (kind) {
	case ENTRY_COMMAND:
	case ENTRY_BARRIER:
		return submit(e, now_ms, kind, data, n, first_index);
	case ENTRY_CONFIG:
		break; /* engine_reconfigure looks at it first */
	}
	return ERR_MALFORMED;
}

enum err
engine_reconfigure(struct engine *e, uint64_t now_ms,
    const struct engine_config *next, uint64_t *index)
{
	struct buf conf = { 0 };
	struct bytes data;
	enum err r = engine_config_write(&conf, next);

	if (r == ERR_OK && !engine_one_change(&e->config, next))
		r = ERR_MALFORMED;
	if (r == ERR_OK) {
		data = buf_view(&conf);
		r = submit(e, now_ms, ENTRY_CONFIG, &data, 1, index);
	}
	buf_fini(&conf);
	return r;
}

enum err
engine_transfer(struct engine *e, uint64_t now_ms, uint64_t to)
{
	struct raft_event ev = { .time = now_ms,
		.type = RAFT_TRANSFER,
		.transfer = { .server_id = to } };

	return engine_state(e) == ENGINE_LEADER ? engine_run(e, &ev, NULL)
						: ERR_AGAIN;
}

enum err
engine_persisted(struct engine *e, uint64_t now_ms, uint64_t index)
{
	struct raft_event ev = { .time = now_ms,
		.type = RAFT_PERSISTED_ENTRIES,
		.persisted_entries = { .index = index } };

	if (e->is_installing)
		return ERR_OK; /* of the log that the snapshot replaced */
	/* What was truncated meanwhile is not there any more. */
	if (e->x.truncate != 0 && index >= e->x.truncate)
		index = e->x.truncate - 1;
	if (index <= e->durable)
		return ERR_OK;
	ev.persisted_entries.index = index;
	e->durable = index;
	if (index >= e->open_index)
		e->open_index = 0;
	/* libraft took the opening entry for durable from the start. */
	return index > e->raft.last_stored ? engine_run(e, &ev, NULL) : ERR_OK;
}

enum err
engine_snapshot_installed(struct engine *e, uint64_t now_ms)
{
	struct raft_event ev = { .time = now_ms,
		.type = RAFT_PERSISTED_SNAPSHOT,
		.persisted_snapshot = {
		    .metadata = e->installing, .last = true } };

	if (!e->is_installing)
		return ERR_OK;
	e->is_installing = false;
	if (e->durable < e->snapshot.index)
		e->durable = e->snapshot.index;
	engine_find_config(e);
	return engine_run(e, &ev, NULL);
}

enum err
engine_compact(struct engine *e, uint64_t now_ms, uint64_t index,
    struct bytes state, unsigned trailing)
{
	struct raft_event ev = { .time = now_ms, .type = RAFT_SNAPSHOT };
	struct engine_snapshot s = { .index = index };
	enum err r;

	assert(index <= e->durable && index <= engine_commit(e));
	/* With a snapshot of entry 1 alone libraft believes that it still has
	 * the entry, and sends it for ever. */
	if (e->is_installing || index < 2 ||
	    (e->has_snapshot && index <= e->snapshot.index))
		return ERR_OK;
	if (!logcache_term(&e->log, index, &s.term) ||
	    !logcache_hash(&e->log, index, s.hash))
		return ERR_NOTFOUND;
	/* The configuration as of `index`: the last one at or below it. */
	s.config = e->has_snapshot ? e->snapshot.config : e->config;
	s.config_index = e->has_snapshot ? e->snapshot.config_index : 0;
	for (uint64_t i = index; i > e->log.base_index; i--) {
		const struct logcache_item *it = logcache_get(&e->log, i);

		if (it->kind != ENTRY_CONFIG)
			continue;
		if (engine_config_parse(&s.config, buf_view(&it->data)) !=
		    ERR_OK)
			abort();
		s.config_index = i;
		break;
	}
	ev.snapshot.metadata =
	    (struct raft_snapshot_metadata){ .index = s.index,
		    .term = s.term,
		    .configuration_index = s.config_index };
	if ((r = enginewire_to_raft(
		 &ev.snapshot.metadata.configuration, &s.config)) != ERR_OK)
		return r;
	if ((r = buf_set(&e->snapshot_data, state.p, state.len)) != ERR_OK) {
		raft_configuration_close(&ev.snapshot.metadata.configuration);
		return r;
	}
	s.data = buf_view(&e->snapshot_data);
	ev.snapshot.trailing = trailing;
	e->snapshot = s;
	e->has_snapshot = true;
	e->x.snapshot = true;
	r = engine_run(e, &ev, NULL);
	/* Only now: until the step returned it may ask for any entry. */
	if (r == ERR_OK && index > trailing)
		logcache_drop(&e->log, index - trailing);
	return r;
}

/* libraft was told when it was committed: nothing is left to do. */
enum err
engine_config_committed(struct engine *e, uint64_t now_ms, uint64_t index)
{
	const struct logcache_item *it = logcache_get(&e->log, index);

	(void)now_ms;
	assert(it == NULL || it->kind == ENTRY_CONFIG);
	assert(index <= engine_commit(e));
	return ERR_OK;
}
