/* The log and the ledger behind the core: how the engine starts, what raft
 * wants written and sent, and what is applied. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "kms/cluster/core_int.h"

bool
core_leads(const struct core *c)
{
	uint64_t term;

	return c->engine != NULL && engine_state(c->engine) == ENGINE_LEADER &&
	    engine_term_at(c->engine, engine_commit(c->engine), &term) &&
	    term == engine_term(c->engine);
}

const struct engine_member *
core_config_member(const struct core *c, uint64_t id)
{
	const struct engine_config *k;

	if (c->engine == NULL)
		return NULL;
	k = engine_config(c->engine);
	for (unsigned i = 0; i < k->n; i++)
		if (k->member[i].id == id)
			return &k->member[i];
	return NULL;
}

void
core_log(struct core *c, const struct command *cmd)
{
	struct buf b = { 0 };
	struct bytes data;
	uint64_t index;
	enum err e = command_write(&b, cmd);

	if (e == ERR_OK) {
		data = buf_view(&b);
		e = engine_submit(
		    c->engine, c->now, ENTRY_COMMAND, &data, 1, &index);
	}
	if (e == ERR_OK)
		c->busy_index = index;
	else if (e != ERR_AGAIN)
		core_check(c, e);
	buf_fini(&b);
}

static void
apply_command(struct core *c, const struct engine_entry *en)
{
	struct ledger_outcome out = { 0 };
	struct core_action *a;
	struct command cmd;

	core_check(c, ledger_apply(c->ledger, &out, en->index, en->data));
	c->applied_commands++;
	core_client_applied(c, en->index, en->term, &out);
	if (out.err == ERR_OK && command_parse(&cmd, en->data) == ERR_OK) {
		a = core_act(c, CORE_APPLIED);
		a->applied.index = en->index;
		a->applied.command = cmd;
	}
}

static void
apply_config(struct core *c, uint64_t index)
{
	const struct engine_member *m;

	ledger_skip(c->ledger, index);
	core_check(c, engine_config_committed(c->engine, c->now, index));
	if (index != engine_config_index(c->engine))
		return; /* history */
	m = core_config_member(c, c->id);
	if (m == NULL && c->was_member) {
		core_halt(c, c->draining ? HALT_LEFT : HALT_EVICTED);
		return;
	}
	if (m == NULL)
		return;
	c->was_member = true;
	if (m->role == ENGINE_VOTER && c->phase == CORE_LEARNING)
		core_set_phase(c, CORE_MEMBER);
}

/* Applies what is committed.  Each entry is applied once, in order. */
void
core_log_apply(struct core *c)
{
	struct engine_entry en;
	uint64_t index;

	if (c->write_install)
		return; /* the ledger is behind until that is durable */
	while (c->failed == ERR_OK && c->phase != CORE_HALTED &&
	    (index = ledger_index(c->ledger)) < engine_commit(c->engine)) {
		if (engine_entry(c->engine, index + 1, &en) != ERR_OK) {
			core_check(c, ERR_CORRUPT);
			return;
		}
		switch (en.kind) {
		case ENTRY_COMMAND:
			apply_command(c, &en);
			break;
		case ENTRY_BARRIER:
			ledger_skip(c->ledger, en.index);
			core_client_applied(c, en.index, en.term, NULL);
			break;
		case ENTRY_CONFIG:
			apply_config(c, en.index);
			break;
		}
	}
}

/* The beginning of our leadership: an entry of our own term, before which
 * nothing about members is decided (I5). */
void
core_log_begin_term(struct core *c)
{
	struct bytes none = { (const uint8_t *)"", 0 };
	uint64_t index;

	if (engine_state(c->engine) != ENGINE_LEADER ||
	    c->led_term == engine_term(c->engine))
		return;
	if (engine_submit(c->engine, c->now, ENTRY_BARRIER, &none, 1, &index) !=
	    ERR_OK)
		return;
	c->led_term = engine_term(c->engine);
	c->led_since_ms = c->now;
	c->busy_index = index;
	c->elections++;
	core_tell(c, false, "leader", c->o.self.slot, "term %llu.%llu",
	    (unsigned long long)(c->led_term >> 32),
	    (unsigned long long)(c->led_term & UINT32_MAX));
}

void
core_log_compact(struct core *c)
{
	const struct engine_snapshot *s = engine_last_snapshot(c->engine);
	uint64_t index = ledger_index(c->ledger);
	struct buf b = { 0 };

	if (c->write_install || index > engine_durable(c->engine) ||
	    index - (s != NULL ? s->index : 0) < c->o.snapshot_every)
		return;
	core_check(c, ledger_snapshot(c->ledger, &b));
	if (c->failed == ERR_OK)
		core_check(c,
		    engine_compact(c->engine, c->now, index, buf_view(&b),
			c->o.snapshot_trailing));
	buf_fini(&b);
}

/* What raft wants done, as actions in the order of engine.h. */
void
core_log_emit(struct core *c)
{
	struct engine_effects x;
	struct core_action *a;
	bool write;

	engine_take(c->engine, &x);
	if (x.state_changed)
		core_client_lost(c);
	write = x.meta || x.first != 0 || x.truncate != 0 || x.snapshot ||
	    c->start_meta;
	for (int early = 1; early >= 0; early--) {
		if (early == 0 && write) {
			a = core_act(c, CORE_WRITE);
			a->write = (struct core_write){
				.number = ++c->write_number,
				.wipe = c->start_wipe || x.install,
				.generation = c->generation,
				.term = x.term,
				.vote = x.vote,
				.truncate = x.truncate,
				.first = x.first,
				.last = x.last,
				.snapshot = x.snapshot,
				.keep_from = engine_first(c->engine),
			};
			if (c->start_truncate != 0 && !a->write.wipe &&
			    (a->write.truncate == 0 ||
				c->start_truncate < a->write.truncate))
				a->write.truncate = c->start_truncate;
			c->write_open = true;
			c->write_last = x.last;
			c->write_install = x.install;
			c->start_wipe = c->start_meta = false;
			c->start_truncate = 0;
		}
		for (size_t i = 0; i < x.n_messages; i++) {
			struct corewire m = { .type = WIRE_RAFT,
				.body = buf_view(&x.message[i].bytes) };

			if (x.message[i].early == (early == 1))
				core_send_id(
				    c, x.message[i].to, &m, early == 1);
		}
	}
	engine_effects_fini(&x);
}

void
core_log_persisted(struct core *c, uint64_t number)
{
	if (!c->write_open || number != c->write_number || c->engine == NULL)
		return;
	c->write_open = false;
	if (c->write_install) {
		const struct engine_snapshot *s =
		    engine_last_snapshot(c->engine);

		c->write_install = false;
		core_check(c, ledger_restore(c->ledger, s->data));
		core_check(c, engine_snapshot_installed(c->engine, c->now));
	}
	if (c->write_last != 0)
		core_check(
		    c, engine_persisted(c->engine, c->now, c->write_last));
	c->write_last = 0;
}

/* ---- start of the engine ---- */

/* The log's hash chain must reach `match` unbroken, from what the disk had. */
static enum err
copy_entries(
    struct core *c, struct engine_entry **out, size_t *n, uint64_t match)
{
	uint64_t first = c->disk.base_index + 1;
	struct engine_entry *en;

	*out = NULL;
	*n = 0;
	if (match < first)
		return ERR_OK;
	en = calloc((size_t)(match - first + 1), sizeof *en);
	if (en == NULL)
		return ERR_NOMEM;
	for (uint64_t i = first; i <= match; i++) {
		const struct logcache_item *it = logcache_get(&c->disk, i);

		en[(*n)++] = (struct engine_entry){ .index = i,
			.term = it->term,
			.kind = it->kind,
			.data = buf_view(&it->data) };
	}
	*out = en;
	return ERR_OK;
}

void
core_start(struct core *c, uint64_t match, uint64_t generation, uint64_t term,
    bool open)
{
	char address[ENGINE_ADDRESS_MAX];
	struct engine_options o = { .id = c->id,
		.address = address,
		.seed = c->o.seed,
		.election_ms = c->o.timing.election_ms,
		.heartbeat_ms = c->o.timing.heartbeat_ms };
	struct engine_boot b = { .term = term };
	struct engine_entry *en = NULL;
	bool keep = match > 0 &&
	    (!c->disk_has_snapshot || match >= c->disk_snapshot.index);

	assert(c->engine == NULL);
	core_address(address, &c->o.self);
	if (keep && c->disk_has_snapshot) {
		b.snapshot = &c->disk_snapshot;
		core_check(c, ledger_restore(c->ledger, c->disk_snapshot.data));
	}
	if (keep)
		core_check(c, copy_entries(c, &en, &b.n_entries, match));
	b.entry = en;
	if (open) {
		b.open.n = 1;
		b.open.member[0].id = c->id;
		b.open.member[0].role = ENGINE_VOTER;
		core_address(b.open.member[0].address, &c->o.self);
	}
	c->generation = generation;
	c->started_ms = c->now;
	core_check(c, engine_new(&c->engine, &o));
	if (c->failed == ERR_OK)
		core_check(c, engine_start(c->engine, c->now, &b));
	c->start_meta = true;
	c->start_wipe = !keep && c->has_disk;
	if (keep && match < logcache_last(&c->disk))
		c->start_truncate = match + 1;
	free(en);
	logcache_fini(&c->disk);
	buf_fini(&c->disk_snapshot_data);
	c->disk_has_snapshot = false;
}

void
core_log_boot(struct core *c, const struct core_event *e)
{
	const struct engine_boot *b = &e->boot.log;
	static const uint8_t zero[32];

	if (e->boot.self != NULL) {
		memcpy(c->o.self.device_id, e->boot.self->device_id, 32);
		memcpy(
		    c->o.self.mr_aggregated, e->boot.self->mr_aggregated, 32);
	}
	memcpy(c->nonce, e->boot.nonce, sizeof c->nonce);
	c->next_join_ms = c->now;
	if (e->boot.generation == 0)
		return;
	c->has_disk = true;
	c->disk_generation = e->boot.generation;
	if (b->snapshot != NULL) {
		core_check(c,
		    buf_set(&c->disk_snapshot_data, b->snapshot->data.p,
			b->snapshot->data.len));
		c->disk_snapshot = *b->snapshot;
		c->disk_snapshot.data = buf_view(&c->disk_snapshot_data);
		c->disk_has_snapshot = true;
		logcache_reset(&c->disk, b->snapshot->index, b->snapshot->term,
		    b->snapshot->hash);
	} else {
		logcache_reset(&c->disk, 0, 0, zero);
	}
	for (size_t i = 0; i < b->n_entries; i++)
		if (b->entry[i].index > c->disk.base_index)
			core_check(c,
			    logcache_append(&c->disk, b->entry[i].term,
				b->entry[i].kind, b->entry[i].data));
	if (!c->o.unsafe_plain)
		return;
	/* Plain raft believes its disk: same name, same vote. */
	core_start(
	    c, logcache_last(&c->disk), e->boot.generation, b->term, false);
	c->was_member = true;
	core_set_phase(c, CORE_MEMBER);
}

/* Genesis: a log that begins with us (P0). */
void
core_log_begin(struct core *c, const struct core_event *e)
{
	struct command cmd = { .kind = COMMAND_GENERATION,
		.time = (uint64_t)c->anchor_wall_s };
	uint64_t index;

	if (c->engine != NULL || c->phase == CORE_HALTED)
		return;
	core_start(c, 0, 1, 1ull << 32 | 1, true);
	c->start_wipe = c->has_disk;
	core_set_phase(c, c->o.unsafe_plain ? CORE_MEMBER : CORE_GENESIS);
	core_log_begin_term(c);
	cmd.u.generation.generation = 1;
	memcpy(cmd.u.generation.incarnation, c->o.self.incarnation,
	    INCARNATION_ID_LEN);
	memcpy(cmd.u.generation.slot, c->o.self.slot, SLOT_MAX);
	core_log(c, &cmd);
	cmd = (struct command){ .kind = COMMAND_MEMBER,
		.time = (uint64_t)c->anchor_wall_s,
		.u.member = c->o.self };
	core_log(c, &cmd);
	core_check(c,
	    engine_submit(c->engine, c->now, ENTRY_COMMAND, e->begin.command,
		e->begin.n, &index));
	c->busy_index = index + e->begin.n - 1;
}
