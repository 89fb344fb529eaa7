#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "common/base/wr.h"
#include "tests/lib/logworld.h"

enum err
logworld_open(
    struct logworld *w, const char *dir, const char *slot, size_t map_max)
{
	static const uint8_t key[32] = { 1 };
	struct store_options o = {
		.dir = dir, .slot = slot, .map_max = map_max
	};

	*w = (struct logworld){ .now = 1000 };
	return store_open(&w->store, &o, key);
}

void
logworld_close(struct logworld *w)
{
	engine_free(w->engine);
	store_close(w->store);
	*w = (struct logworld){ 0 };
}

enum err
logworld_start(struct logworld *w, uint64_t match)
{
	struct engine_options o = { .id = 1,
		.address = "kms0/1",
		.election_ms = 300,
		.heartbeat_ms = 50 };
	struct disklog_boot boot = { 0 };
	struct engine_boot b = { .open.n = 1 };
	enum err e = disklog_load(w->store, &boot, NULL);
	bool keep = match > 0 && match >= boot.snapshot.index;

	if (e != ERR_OK)
		return e;
	engine_free(w->engine);
	w->engine = NULL;
	w->generation = boot.generation + 1;
	randombytes_buf(w->incarnation, sizeof w->incarnation);
	b.term = w->generation << 32 | 1;
	b.open.member[0] =
	    (struct engine_member){ .id = 1, .role = ENGINE_VOTER };
	memcpy(b.open.member[0].address, "kms0/1", 7);
	w->write = (struct core_write){ .wipe = boot.found && !keep };
	if (keep) {
		b.snapshot = boot.log.snapshot;
		b.entry = boot.entry;
		while (b.n_entries < boot.log.n_entries &&
		    boot.entry[b.n_entries].index <= match)
			b.n_entries++;
		w->write.truncate = match + 1;
	}
	if ((e = engine_new(&w->engine, &o)) == ERR_OK)
		e = engine_start(w->engine, w->now, &b);
	disklog_boot_fini(&boot);
	return e;
}

enum err
logworld_prepare(struct logworld *w)
{
	struct engine_effects x;
	struct core_write *d = &w->write;
	enum err e;

	engine_take(w->engine, &x);
	d->wipe = d->wipe || x.install;
	d->generation = w->generation;
	d->term = x.term;
	d->vote = x.vote;
	if (x.truncate != 0 && (d->truncate == 0 || x.truncate < d->truncate))
		d->truncate = x.truncate;
	d->first = x.first;
	d->last = x.last;
	d->snapshot = x.snapshot;
	d->keep_from = engine_first(w->engine);
	e = x.meta || x.first != 0 || x.snapshot ? ERR_OK : ERR_NOTFOUND;
	engine_effects_fini(&x);
	if (e != ERR_OK)
		return e;
	d->number = ++w->number;
	if ((e = store_begin(w->store)) != ERR_OK)
		return e;
	e = disklog_write(w->store, d, w->engine, w->incarnation);
	if (e != ERR_OK)
		store_abort(w->store);
	return e;
}

enum err
logworld_done(struct logworld *w)
{
	uint64_t last = w->write.first != 0 ? w->write.last : 0;

	w->write = (struct core_write){ 0 };
	return last == 0 ? ERR_OK : engine_persisted(w->engine, ++w->now, last);
}

enum err
logworld_turn(struct logworld *w)
{
	enum err e;

	while ((e = logworld_prepare(w)) == ERR_OK) {
		if ((e = store_commit(w->store)) != ERR_OK ||
		    (e = logworld_done(w)) != ERR_OK)
			return e;
	}
	return e == ERR_NOTFOUND ? ERR_OK : e;
}

enum err
logworld_submit(struct logworld *w, unsigned n, size_t len)
{
	uint8_t payload[ENGINE_ENTRY_MAX];
	struct bytes data = { payload, len };
	enum err e = ERR_OK;

	for (unsigned i = 0; i < n && e == ERR_OK; i++) {
		uint64_t index;

		randombytes_buf(payload, len);
		e = engine_submit(
		    w->engine, ++w->now, ENTRY_COMMAND, &data, 1, &index);
	}
	return e;
}

enum err
logworld_compact(struct logworld *w, size_t len, unsigned trailing)
{
	uint8_t *state = malloc(len + 1);
	enum err e;

	if (state == NULL)
		return ERR_NOMEM;
	randombytes_buf(state, len);
	e = engine_compact(w->engine, ++w->now, engine_commit(w->engine),
	    (struct bytes){ state, len }, trailing);
	free(state);
	return e;
}

static void
add(crypto_generichash_state *st, uint64_t v)
{
	uint8_t b[8];
	struct wr w = { .p = b, .cap = sizeof b };

	wr_be64(&w, v);
	(void)crypto_generichash_update(st, b, sizeof b);
}

enum err
logworld_look(struct store *s, struct logworld_print *out, uint64_t *last,
    struct refusal *why)
{
	struct disklog_boot b;
	crypto_generichash_state st;
	enum err e = disklog_load(s, &b, why);

	if (e != ERR_OK)
		return e;
	(void)crypto_generichash_init(&st, NULL, 0, 32);
	add(&st, b.found);
	add(&st, b.generation);
	add(&st, b.log.term);
	add(&st, b.log.vote);
	add(&st, b.snapshot.index);
	add(&st, b.snapshot.term);
	add(&st, b.snapshot.config_index);
	(void)crypto_generichash_update(&st, b.snapshot.hash, 32);
	(void)crypto_generichash_update(
	    &st, b.snapshot.data.p, b.snapshot.data.len);
	*last = b.snapshot.index;
	for (size_t i = 0; i < b.log.n_entries; i++) {
		const struct engine_entry *en = &b.entry[i];

		add(&st, en->index);
		add(&st, en->term);
		add(&st, en->kind);
		add(&st, en->data.len);
		(void)crypto_generichash_update(&st, en->data.p, en->data.len);
		*last = en->index;
	}
	(void)crypto_generichash_final(&st, out->b, sizeof out->b);
	disklog_boot_fini(&b);
	return ERR_OK;
}
