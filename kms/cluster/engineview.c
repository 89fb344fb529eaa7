/* What the engine knows: answers without effects. */
#include <string.h>

#include "kms/cluster/engine_int.h"

enum engine_state
engine_state(const struct engine *e)
{
	if (!e->started)
		return ENGINE_OFF;
	/* The accessor is not const in libraft's header. */
	switch (raft_state((struct raft *)(uintptr_t)&e->raft)) {
	case RAFT_UNAVAILABLE:
		return ENGINE_OFF;
	case RAFT_FOLLOWER:
		return ENGINE_FOLLOWER;
	case RAFT_CANDIDATE:
		return ENGINE_CANDIDATE;
	case RAFT_LEADER:
		return ENGINE_LEADER;
	}
	return ENGINE_OFF;
}

uint64_t
engine_term(const struct engine *e)
{
	return raft_current_term(&e->raft);
}

uint64_t
engine_vote(const struct engine *e)
{
	return raft_voted_for(&e->raft);
}

uint64_t
engine_leader(const struct engine *e)
{
	raft_id id = 0;
	const char *address = NULL;

	if (e->started)
		raft_leader((struct raft *)(uintptr_t)&e->raft, &id, &address);
	return id;
}

uint64_t
engine_commit(const struct engine *e)
{
	uint64_t commit = raft_commit_index(&e->raft);

	/* The snapshot's entries count when it is there, the opening entry
	 * when it is durable. */
	if (e->is_installing && commit > e->held_commit)
		commit = e->held_commit;
	if (e->open_index != 0 && commit >= e->open_index)
		commit = e->open_index - 1;
	return commit;
}

uint64_t
engine_last(const struct engine *e)
{
	return logcache_last(&e->log);
}

uint64_t
engine_first(const struct engine *e)
{
	return e->log.base_index + 1;
}

uint64_t
engine_durable(const struct engine *e)
{
	return e->durable;
}

uint64_t
engine_match(const struct engine *e, uint64_t id)
{
	raft_index index = 0;

	if (engine_state(e) != ENGINE_LEADER ||
	    raft_match_index(&e->raft, id, &index) != 0)
		return 0;
	return index;
}

enum err
engine_entry(const struct engine *e, uint64_t index, struct engine_entry *out)
{
	const struct logcache_item *it = logcache_get(&e->log, index);

	if (it == NULL)
		return ERR_NOTFOUND;
	*out = (struct engine_entry){ .index = index,
		.term = it->term,
		.kind = it->kind,
		.data = buf_view(&it->data) };
	memcpy(out->hash, it->hash, sizeof out->hash);
	return ERR_OK;
}

bool
engine_is_vote_request(struct bytes message)
{
	return message.len > 0 && message.p[0] == RAFT_REQUEST_VOTE;
}

bool
engine_hash(const struct engine *e, uint64_t index, uint8_t out[static 32])
{
	return logcache_hash(&e->log, index, out);
}

bool
engine_term_at(const struct engine *e, uint64_t index, uint64_t *term)
{
	return logcache_term(&e->log, index, term);
}

const struct engine_snapshot *
engine_last_snapshot(const struct engine *e)
{
	return e->has_snapshot ? &e->snapshot : NULL;
}

const struct engine_config *
engine_config(const struct engine *e)
{
	return &e->config;
}

uint64_t
engine_config_index(const struct engine *e)
{
	return e->config_index;
}
