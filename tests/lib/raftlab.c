#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/rd.h"
#include "tests/lib/raftlab.h"
#include "tests/lib/raftlab_check.h"

void
raftlab_config(struct engine_config *out, unsigned voters)
{
	*out = (struct engine_config){ .n = voters };
	for (unsigned i = 0; i < voters; i++) {
		out->member[i].id = i + 1;
		out->member[i].role = ENGINE_VOTER;
		(void)snprintf(out->member[i].address, ENGINE_ADDRESS_MAX,
		    "slot-%u/%u", i, i + 1);
	}
}

void
raftlab_init(struct raftlab *l, unsigned n, unsigned voters, unsigned seed)
{
	struct engine_config c;
	struct buf b = { 0 };

	assert(n <= RAFTLAB_NODES && voters <= n);
	*l = (struct raftlab){ .now = 1000, .n = n, .seed = seed };
	raftlab_config(&c, voters);
	if (engine_config_write(&b, &c) != ERR_OK)
		abort();
	for (unsigned i = 0; i < n; i++) {
		struct raftlab_disk *d = &l->node[i].disk;

		if (i < voters) {
			d->term = 1;
			if (logcache_append(&d->log, 1, ENTRY_CONFIG,
				buf_view(&b)) != ERR_OK)
				abort();
		}
		raftlab_start(l, i);
	}
	buf_fini(&b);
}

static void
end_write(struct raftlab_node *n)
{
	if (n->entry != NULL)
		for (uint64_t i = n->write.first; i <= n->write.last; i++)
			free((uint8_t *)(uintptr_t)n->entry[i - n->write.first]
				 .data.p);
	free(n->entry);
	n->entry = NULL;
	engine_effects_fini(&n->write);
	n->writing = false;
}

void
raftlab_crash(struct raftlab *l, unsigned i)
{
	end_write(&l->node[i]);
	engine_free(l->node[i].e);
	l->node[i].e = NULL;
}

void
raftlab_fini(struct raftlab *l)
{
	for (unsigned i = 0; i < l->n; i++) {
		raftlab_crash(l, i);
		logcache_fini(&l->node[i].disk.log);
		buf_fini(&l->node[i].disk.data);
		buf_fini(&l->node[i].data);
	}
	while (l->n_queue > 0)
		raftlab_drop(l, l->n_queue - 1);
	free(l->queue);
	free(l->place);
}

enum err
raftlab_boot(struct raftlab *l, unsigned i, const struct engine_boot *b)
{
	struct raftlab_node *n = &l->node[i];
	char address[ENGINE_ADDRESS_MAX];
	struct engine_options o = { .id = i + 1,
		.address = address,
		.seed = l->seed * 31 + i * 7 + 1,
		.election_ms = 300,
		.heartbeat_ms = 60 };
	enum err e;

	(void)snprintf(address, sizeof address, "slot-%u/%u", i, i + 1);
	if (engine_new(&n->e, &o) != ERR_OK)
		abort();
	n->applied = n->commit = n->last = 0;
	n->term = n->vote = 0;
	memset(n->head, 0, sizeof n->head);
	if (b->snapshot != NULL)
		n->applied = b->snapshot->index;
	if ((e = engine_start(n->e, l->now, b)) != ERR_OK) {
		raftlab_crash(l, i);
		return e;
	}
	raftlab_flush(l, i);
	return ERR_OK;
}

void
raftlab_start(struct raftlab *l, unsigned i)
{
	struct raftlab_disk *d = &l->node[i].disk;
	struct engine_boot b = { .term = d->term,
		.vote = d->vote,
		.snapshot = d->has_snapshot ? &d->snapshot : NULL,
		.n_entries = d->log.n };
	struct engine_entry *en = calloc(d->log.n + 1, sizeof *en);

	if (en == NULL)
		abort();
	for (size_t k = 0; k < d->log.n; k++)
		en[k] =
		    (struct engine_entry){ .index = d->log.base_index + 1 + k,
			    .term = d->log.item[k].term,
			    .kind = d->log.item[k].kind,
			    .data = buf_view(&d->log.item[k].data) };
	b.entry = en;
	if (raftlab_boot(l, i, &b) != ERR_OK)
		abort();
	free(en);
}

void
raftlab_isolate(struct raftlab *l, unsigned i, bool cut)
{
	for (unsigned k = 0; k < l->n; k++)
		l->cut[i][k] = l->cut[k][i] = cut;
}

/* ---- effects ---- */

static void
fatal(struct raftlab *l, enum err e)
{
	if (l->stopped == ERR_OK &&
	    (e == ERR_CORRUPT || e == ERR_NOMEM || e == ERR_PHASE))
		l->stopped = e;
}

static void
enqueue(struct raftlab *l, unsigned from, unsigned to, struct buf bytes)
{
	if (l->n_queue == l->queue_cap) {
		l->queue_cap = l->queue_cap * 2 + 16;
		l->queue = realloc(l->queue, l->queue_cap * sizeof *l->queue);
		if (l->queue == NULL)
			abort();
	}
	l->queue[l->n_queue++] =
	    (struct raftlab_message){ .from = from, .to = to, .bytes = bytes };
}

static void
post(struct raftlab *l, unsigned from, struct engine_message *m)
{
	if (m->bytes.p == NULL)
		return; /* sent before */
	assert(m->to >= 1 && m->to <= l->n && m->to != from + 1);
	raftlab_check_sent(l, from, m);
	enqueue(l, from, (unsigned)m->to - 1, m->bytes);
	m->bytes = (struct buf){ 0 };
}

static void
apply(struct raftlab *l, unsigned i)
{
	struct raftlab_node *n = &l->node[i];
	struct engine_entry en;

	while (n->applied < engine_commit(n->e)) {
		if (engine_entry(n->e, n->applied + 1, &en) != ERR_OK) {
			raftlab_break(l, "node %u: %llu is committed, and gone",
			    i, (unsigned long long)n->applied + 1);
			return;
		}
		n->applied++;
		if (en.kind == ENTRY_CONFIG)
			fatal(l,
			    engine_config_committed(n->e, l->now, n->applied));
	}
}

/* Copies what the write needs: the engine goes on meanwhile. */
static void
begin_write(struct raftlab_node *n)
{
	struct engine_effects *x = &n->write;
	const struct engine_snapshot *s = engine_last_snapshot(n->e);
	size_t count = x->first == 0 ? 0 : (size_t)(x->last - x->first + 1);

	n->entry = calloc(count + 1, sizeof *n->entry);
	if (n->entry == NULL)
		abort();
	for (size_t k = 0; k < count; k++) {
		struct engine_entry *en = &n->entry[k];
		uint8_t *copy;

		if (engine_entry(n->e, x->first + k, en) != ERR_OK ||
		    (copy = malloc(en->data.len + 1)) == NULL)
			abort();
		if (en->data.len > 0)
			memcpy(copy, en->data.p, en->data.len);
		en->data.p = copy;
	}
	if (x->snapshot) {
		n->snapshot = *s;
		if (buf_set(&n->data, s->data.p, s->data.len) != ERR_OK)
			abort();
	}
	n->writing = true;
}

static void
write_disk(struct raftlab_node *n)
{
	const struct engine_effects *x = &n->write;
	struct raftlab_disk *d = &n->disk;

	d->term = x->term;
	d->vote = x->vote;
	if (x->snapshot) {
		d->has_snapshot = true;
		d->snapshot = n->snapshot;
		if (buf_set(&d->data, n->data.p, n->data.len) != ERR_OK)
			abort();
		d->snapshot.data = buf_view(&d->data);
	}
	if (x->install)
		logcache_reset(&d->log, d->snapshot.index, d->snapshot.term,
		    d->snapshot.hash);
	if (x->truncate != 0 && x->truncate <= logcache_last(&d->log))
		logcache_truncate(&d->log, x->truncate);
	for (uint64_t i = x->first; i != 0 && i <= x->last; i++) {
		const struct engine_entry *en = &n->entry[i - x->first];

		assert(i == logcache_last(&d->log) + 1);
		if (logcache_append(&d->log, en->term, en->kind, en->data) !=
		    ERR_OK)
			abort();
		assert(
		    memcmp(d->log.item[d->log.n - 1].hash, en->hash, 32) == 0);
	}
	if (x->snapshot && !x->install)
		logcache_drop(&d->log, d->snapshot.index);
}

void
raftlab_persist(struct raftlab *l, unsigned i)
{
	struct raftlab_node *n = &l->node[i];
	struct engine_effects x;

	if (!n->writing)
		return;
	write_disk(n);
	for (size_t k = 0; k < n->write.n_messages; k++)
		post(l, i, &n->write.message[k]);
	x = n->write;
	n->write.message = NULL;
	n->write.n_messages = 0;
	end_write(n);
	free(x.message);
	if (x.install) {
		n->applied = n->snapshot.index;
		raftlab_check_state(l, i, buf_view(&n->data));
		fatal(l, engine_snapshot_installed(n->e, l->now));
	}
	if (x.first != 0)
		fatal(l, engine_persisted(n->e, l->now, x.last));
	raftlab_flush(l, i);
}

void
raftlab_flush(struct raftlab *l, unsigned i)
{
	struct raftlab_node *n = &l->node[i];
	bool more;

	raftlab_check(l, i);
	apply(l, i);
	if (n->writing)
		return;
	engine_take(n->e, &n->write);
	for (size_t k = 0; k < n->write.n_messages; k++)
		if (n->write.message[k].early)
			post(l, i, &n->write.message[k]);
	more = n->write.meta || n->write.first != 0 || n->write.truncate != 0 ||
	    n->write.snapshot || n->write.n_messages > 0;
	if (more)
		begin_write(n);
	if (!more)
		engine_effects_fini(&n->write);
	else if (!n->slow)
		raftlab_persist(l, i);
}

/* ---- network and clock ---- */

void
raftlab_drop(struct raftlab *l, size_t k)
{
	buf_fini(&l->queue[k].bytes);
	l->n_queue--;
	memmove(&l->queue[k], &l->queue[k + 1],
	    (l->n_queue - k) * sizeof *l->queue);
}

void
raftlab_repeat(struct raftlab *l, size_t k)
{
	const struct raftlab_message *m = &l->queue[k];
	struct buf copy = { 0 };

	if (buf_set(&copy, m->bytes.p, m->bytes.len) != ERR_OK)
		abort();
	enqueue(l, m->from, m->to, copy);
}

void
raftlab_deliver(struct raftlab *l, size_t k)
{
	struct raftlab_message m = l->queue[k];
	enum err e;

	l->queue[k].bytes = (struct buf){ 0 };
	raftlab_drop(l, k);
	if (l->node[m.to].e != NULL && !l->cut[m.from][m.to]) {
		e = engine_receive(
		    l->node[m.to].e, l->now, m.from + 1, buf_view(&m.bytes));
		fatal(l, e);
		if (e != ERR_OK)
			raftlab_break(l, "node %u refuses %u: %s", m.to, m.from,
			    err_text(e));
		raftlab_flush(l, m.to);
	}
	buf_fini(&m.bytes);
}

void
raftlab_pump(struct raftlab *l)
{
	while (l->n_queue > 0)
		raftlab_deliver(l, 0);
}

void
raftlab_tick(struct raftlab *l, unsigned i)
{
	if (l->node[i].e == NULL)
		return;
	fatal(l, engine_tick(l->node[i].e, l->now));
	raftlab_flush(l, i);
}

void
raftlab_run(struct raftlab *l, unsigned ms)
{
	for (unsigned t = 0; t < ms; t += 10) {
		l->now += 10;
		for (unsigned i = 0; i < l->n; i++)
			raftlab_tick(l, i);
		raftlab_pump(l);
	}
}

int
raftlab_leader(const struct raftlab *l)
{
	uint64_t term = 0;
	int at = -1;

	for (unsigned i = 0; i < l->n; i++)
		if (l->node[i].e != NULL &&
		    engine_state(l->node[i].e) == ENGINE_LEADER &&
		    engine_term(l->node[i].e) > term) {
			at = (int)i;
			term = engine_term(l->node[i].e);
		}
	return at;
}

/* Only `i` looks at the clock until it leads. */
bool
raftlab_elect(struct raftlab *l, unsigned i)
{
	for (unsigned t = 0; t < 2000; t += 10) {
		if (engine_state(l->node[i].e) == ENGINE_LEADER)
			return true;
		l->now += 10;
		for (unsigned k = 0; k < l->n; k++)
			/* A follower with a leader refuses; let it lose it. */
			if (l->node[k].e != NULL && !l->cut[i][k] && k != i &&
			    engine_state(l->node[k].e) != ENGINE_LEADER &&
			    engine_leader(l->node[k].e) != 0 &&
			    engine_deadline(l->node[k].e) <= l->now) {
				raftlab_tick(l, k);
				while (l->n_queue > 0)
					raftlab_drop(l, 0);
			}
		raftlab_tick(l, i);
		raftlab_pump(l);
	}
	return engine_state(l->node[i].e) == ENGINE_LEADER;
}

/* ---- what a client, an operator and the owner do ---- */

enum err
raftlab_submit(struct raftlab *l, unsigned i, const char *text)
{
	struct bytes d = { (const uint8_t *)text, strlen(text) };
	uint64_t at;
	enum err e =
	    engine_submit(l->node[i].e, l->now, ENTRY_COMMAND, &d, 1, &at);

	fatal(l, e);
	raftlab_flush(l, i);
	return e;
}

enum err
raftlab_change(struct raftlab *l, unsigned i, const struct engine_config *next)
{
	uint64_t at;
	enum err e = engine_reconfigure(l->node[i].e, l->now, next, &at);

	fatal(l, e);
	raftlab_flush(l, i);
	return e;
}

/* The state of index n is the chain's hash up to n. */
enum err
raftlab_compact(
    struct raftlab *l, unsigned i, uint64_t index, unsigned trailing)
{
	uint8_t state[32];
	enum err e = ERR_NOTFOUND;

	if (engine_hash(l->node[i].e, index, state))
		e = engine_compact(
		    l->node[i].e, l->now, index, BYTES_OF(state), trailing);
	fatal(l, e);
	raftlab_flush(l, i);
	return e;
}

bool
raftlab_agree(const struct raftlab *l)
{
	const struct engine *first = NULL;
	uint8_t a[32], b[32];

	for (unsigned i = 0; i < l->n; i++) {
		const struct engine *e = l->node[i].e;

		if (e == NULL)
			continue;
		if (first == NULL)
			first = e;
		if (engine_last(e) != engine_last(first) ||
		    engine_commit(e) != engine_commit(first) ||
		    !engine_hash(e, engine_last(e), a) ||
		    !engine_hash(first, engine_last(first), b) ||
		    memcmp(a, b, 32) != 0)
			return false;
	}
	return true;
}
