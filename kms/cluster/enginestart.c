/* How an engine starts: from what was loaded, and perhaps one entry more. */
#include <assert.h>
#include <stdlib.h>

#include "kms/cluster/engine_int.h"

/* What libraft takes on trust. */
static bool
is_sound(const struct engine_entry *en, uint64_t least, uint64_t most)
{
	struct engine_config c;

	if (en->term == 0 || en->term < least || en->term > most ||
	    en->data.len > ENGINE_ENTRY_MAX)
		return false;
	if (en->kind == ENTRY_CONFIG)
		return engine_config_parse(&c, en->data) == ERR_OK;
	return en->index != 1; /* a log begins with a configuration */
}

static enum err
load(struct engine *e, const struct engine_boot *b)
{
	enum err r = ERR_OK;
	uint64_t least;

	if (b->snapshot != NULL) {
		if (b->snapshot->index == 0 || b->snapshot->term == 0 ||
		    b->snapshot->term > b->term)
			return ERR_CORRUPT;
		if ((r = buf_set(&e->snapshot_data, b->snapshot->data.p,
			 b->snapshot->data.len)) != ERR_OK)
			return r;
		e->snapshot = *b->snapshot;
		e->snapshot.data = buf_view(&e->snapshot_data);
		e->has_snapshot = true;
		logcache_reset(&e->log, e->snapshot.index, e->snapshot.term,
		    e->snapshot.hash);
	}
	least = e->log.base_term;
	for (size_t i = 0; r == ERR_OK && i < b->n_entries; i++) {
		const struct engine_entry *en = &b->entry[i];

		/* What a snapshot covers is kept by no new life. */
		if (en->index <= e->log.base_index)
			continue;
		assert(en->index == logcache_last(&e->log) + 1);
		if (!is_sound(en, least, b->term))
			return ERR_CORRUPT;
		least = en->term;
		r = logcache_append(&e->log, en->term, en->kind, en->data);
	}
	return r;
}

/* The entry that opens a cluster or a generation. */
static enum err
append_open(struct engine *e, const struct engine_boot *b)
{
	struct buf conf = { 0 };
	uint64_t least = 1;
	enum err r;

	(void)logcache_term(&e->log, logcache_last(&e->log), &least);
	if (b->open.n == 0)
		return ERR_OK;
	if ((r = engine_config_write(&conf, &b->open)) == ERR_OK)
		r = logcache_append(
		    &e->log, b->term, ENTRY_CONFIG, buf_view(&conf));
	buf_fini(&conf);
	if (r != ERR_OK)
		return r;
	e->open_index = logcache_last(&e->log);
	engine_note_append(e, e->open_index);
	engine_find_config(e);
	/* libraft takes it for durable: true when no one else's vote counts
	 * and nothing is told as committed before it is (engine_commit). */
	return engine_only_voter(e) && b->term >= least ? ERR_OK
							: ERR_MALFORMED;
}

enum err
engine_start(struct engine *e, uint64_t now_ms, const struct engine_boot *b)
{
	struct raft_event ev = { .time = now_ms, .type = RAFT_START };
	struct raft_snapshot_metadata md = { 0 };
	struct raft_entry *en = NULL;
	enum err r;

	assert(!e->started);
	if ((r = load(e, b)) != ERR_OK)
		goto done;
	e->durable = logcache_last(&e->log);
	if ((r = append_open(e, b)) != ERR_OK)
		goto done;
	ev.start.term = b->term;
	ev.start.voted_for = b->vote;
	ev.start.start_index = e->log.base_index + 1;
	ev.start.n_entries = (unsigned)e->log.n;
	if (e->log.n > 0) {
		en = calloc(e->log.n, sizeof *en);
		if (en == NULL) {
			r = ERR_NOMEM;
			goto done;
		}
	}
	for (size_t i = 0; i < e->log.n; i++) {
		const struct logcache_item *it = &e->log.item[i];

		en[i] = (struct raft_entry){ .term = it->term,
			.type = it->kind == ENTRY_COMMAND ? RAFT_COMMAND
			    : it->kind == ENTRY_BARRIER   ? RAFT_BARRIER
							  : RAFT_CHANGE,
			.buf = { .base = it->data.p, .len = it->data.len } };
	}
	ev.start.entries = en;
	if (e->has_snapshot) {
		md.index = e->snapshot.index;
		md.term = e->snapshot.term;
		md.configuration_index = e->snapshot.config_index;
		if ((r = enginewire_to_raft(
			 &md.configuration, &e->snapshot.config)) != ERR_OK)
			goto done;
		ev.start.metadata = &md; /* takes the configuration */
	}
	e->started = true;
	engine_find_config(e);
	/* The only voter leads at once.  In a term of its own: the one that
	 * it was in may have had another leader, `open` brings a new one. */
	if (engine_only_voter(e)) {
		if (b->open.n == 0)
			ev.start.term++;
		ev.start.voted_for = e->o.id;
	}
	e->x.meta = true;
	r = engine_run(e, &ev, NULL);
	/* It keeps copies, but when it fails it frees the array itself. */
	if (r != ERR_OK)
		en = NULL;
done:
	free(en);
	return r;
}
