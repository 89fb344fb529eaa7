/* How an engine starts: from what was loaded, and perhaps one entry more. */
#include <assert.h>
#include <stdlib.h>

#include "kms/cluster/engine_int.h"

static enum err
load(struct engine *e, const struct engine_boot *b, struct raft_event *ev,
    struct raft_snapshot_metadata *md)
{
	enum err r = ERR_OK;

	if (b->snapshot != NULL) {
		if ((r = buf_set(&e->snapshot_data, b->snapshot->data.p,
			 b->snapshot->data.len)) != ERR_OK)
			return r;
		e->snapshot = *b->snapshot;
		e->snapshot.data = buf_view(&e->snapshot_data);
		e->has_snapshot = true;
		logcache_reset(&e->log, e->snapshot.index, e->snapshot.term,
		    e->snapshot.hash);
		*md =
		    (struct raft_snapshot_metadata){ .index = e->snapshot.index,
			    .term = e->snapshot.term,
			    .configuration_index = e->snapshot.config_index };
		if ((r = enginewire_to_raft(
			 &md->configuration, &e->snapshot.config)) != ERR_OK)
			return r;
		ev->start.metadata = md;
	}
	for (size_t i = 0; r == ERR_OK && i < b->n_entries; i++) {
		const struct engine_entry *en = &b->entry[i];

		/* What a snapshot covers is kept by no new life. */
		if (en->index <= e->log.base_index)
			continue;
		assert(en->index == logcache_last(&e->log) + 1);
		r = logcache_append(&e->log, en->term, en->kind, en->data);
	}
	return r;
}

/* The entry that opens a cluster or a generation. */
static enum err
append_open(struct engine *e, const struct engine_boot *b)
{
	struct buf conf = { 0 };
	enum err r;

	if (b->open.n == 0)
		return ERR_OK;
	if ((r = engine_config_write(&conf, &b->open)) == ERR_OK)
		r = logcache_append(
		    &e->log, b->term, ENTRY_CONFIG, buf_view(&conf));
	buf_fini(&conf);
	if (r == ERR_OK)
		engine_note_append(e, logcache_last(&e->log));
	return r;
}

enum err
engine_start(struct engine *e, uint64_t now_ms, const struct engine_boot *b)
{
	struct raft_event ev = { .time = now_ms, .type = RAFT_START };
	struct raft_snapshot_metadata md = { 0 };
	struct raft_entry *en = NULL;
	uint64_t first;
	enum err r;

	assert(!e->started);
	if ((r = load(e, b, &ev, &md)) != ERR_OK)
		goto done;
	e->durable = logcache_last(&e->log);
	if ((r = append_open(e, b)) != ERR_OK)
		goto done;
	first = e->log.base_index + 1;
	ev.start.term = b->term;
	ev.start.voted_for = b->vote;
	ev.start.start_index = first;
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
	e->started = true;
	engine_find_config(e);
	e->x.meta = true;
	r = engine_run(e, &ev, NULL);
done:
	/* raft_step made copies of what it keeps, but for the snapshot's
	 * configuration, which is its own now. */
	free(en);
	return r;
}
