#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "tests/cluster/simdisk.h"

static void *
need(void *p)
{
	if (p == NULL)
		abort();
	return p;
}

static void
entry_drop(struct disk_entry *e)
{
	if (--e->refs == 0)
		free(e);
}

static void
blob_drop(struct disk_blob *b)
{
	if (b != NULL && --b->refs == 0)
		free(b);
}

static void
truncate_from(struct disk *d, uint64_t index)
{
	while (d->n > 0 && d->entry[d->n - 1]->index >= index)
		entry_drop(d->entry[--d->n]);
}

static void
drop_below(struct disk *d, uint64_t index)
{
	size_t k = 0;

	while (k < d->n && d->entry[k]->index < index)
		entry_drop(d->entry[k++]);
	if (k == 0)
		return;
	memmove(d->entry, d->entry + k, (d->n - k) * sizeof *d->entry);
	d->n -= k;
}

void
disk_clear(struct disk *d)
{
	truncate_from(d, 0);
	free(d->entry);
	blob_drop(d->blob);
	*d = (struct disk){ 0 };
}

void
disk_copy(struct disk *to, const struct disk *from)
{
	struct disk c = *from;

	c.cap = c.n;
	c.entry = c.n == 0 ? NULL : need(calloc(c.n, sizeof *c.entry));
	for (size_t i = 0; i < c.n; i++) {
		c.entry[i] = from->entry[i];
		c.entry[i]->refs++;
	}
	if (c.blob != NULL)
		c.blob->refs++;
	disk_clear(to);
	*to = c;
}

uint64_t
disk_last(const struct disk *d, uint64_t *term)
{
	*term = d->n > 0      ? d->entry[d->n - 1]->term
	    : d->has_snapshot ? d->snapshot.term
			      : 0;
	return d->n > 0       ? d->entry[d->n - 1]->index
	    : d->has_snapshot ? d->snapshot.index
			      : 0;
}

const uint8_t *
disk_hash(const struct disk *d, uint64_t index)
{
	if (d->has_snapshot && d->snapshot.index == index)
		return d->snapshot.hash;
	if (d->n == 0 || index < d->entry[0]->index ||
	    index > d->entry[d->n - 1]->index)
		return NULL;
	return d->entry[index - d->entry[0]->index]->hash;
}

bool
keyset_has(const struct keyset *s, const struct k256_pub *k)
{
	for (unsigned i = 0; i < s->n; i++)
		if (memcmp(&s->k[i], k, sizeof *k) == 0)
			return true;
	return false;
}

void
keyset_add(struct keyset *s, const struct k256_pub *k)
{
	if (!keyset_has(s, k) && s->n < KEYS_MAX)
		s->k[s->n++] = *k;
}

void
keyset_drop(struct keyset *s, const struct k256_pub *k)
{
	for (unsigned i = 0; i < s->n; i++)
		if (memcmp(&s->k[i], k, sizeof *k) == 0) {
			s->k[i] = s->k[--s->n];
			return;
		}
}

/* ---- writing ---- */

void
disk_capture(
    struct disk_write *out, const struct core_write *w, const struct engine *e)
{
	const struct engine_snapshot *s = engine_last_snapshot(e);
	struct engine_entry en;

	*out = (struct disk_write){ .w = *w };
	if (w->snapshot) {
		assert(s != NULL);
		out->snapshot = *s;
		out->blob = need(malloc(sizeof *out->blob + s->data.len));
		out->blob->refs = 1;
		out->blob->len = s->data.len;
		memcpy(out->blob->data, s->data.p, s->data.len);
	}
	if (w->first == 0)
		return;
	out->entry =
	    need(calloc((size_t)(w->last - w->first + 1), sizeof *out->entry));
	for (uint64_t i = w->first; i <= w->last; i++) {
		struct disk_entry *d;

		if (engine_entry(e, i, &en) != ERR_OK)
			abort(); /* it named an entry that it does not have */
		d = need(malloc(sizeof *d + en.data.len));
		*d = (struct disk_entry){ .refs = 1,
			.index = i,
			.term = en.term,
			.kind = en.kind,
			.len = en.data.len };
		memcpy(d->hash, en.hash, sizeof d->hash);
		if (en.data.len > 0)
			memcpy(d->data, en.data.p, en.data.len);
		out->entry[out->n++] = d;
	}
}

void
disk_write_clear(struct disk_write *w)
{
	for (size_t i = 0; i < w->n; i++)
		entry_drop(w->entry[i]);
	free(w->entry);
	blob_drop(w->blob);
	*w = (struct disk_write){ 0 };
}

static const char *
append(struct disk *d, struct disk_entry *e)
{
	static const uint8_t zero[32];
	uint64_t term, last = disk_last(d, &term);
	const uint8_t *prev = last == 0 ? zero : disk_hash(d, last);
	uint8_t h[32];

	if (e->index != last + 1)
		return "a write leaves a gap in the log";
	if (term > e->term)
		return "a write lets terms fall";
	engine_entry_hash(h, prev, e->index, e->term, e->kind,
	    (struct bytes){ e->data, e->len });
	if (memcmp(h, e->hash, sizeof h) != 0)
		return "a write breaks the hash chain";
	if (d->n == d->cap) {
		d->cap = d->cap == 0 ? 64 : d->cap * 2;
		d->entry = need(
		    realloc(d->entry, d->cap * sizeof(struct disk_entry *)));
	}
	e->refs++;
	d->entry[d->n++] = e;
	return NULL;
}

const char *
disk_apply(struct disk *d, struct disk_write *w)
{
	bool roots = d->has_roots;
	struct keyset keys = d->keys;
	const char *bad = NULL;

	if (w->w.wipe) {
		disk_clear(d);
		d->has_roots = roots;
		d->keys = keys;
	}
	d->generation = w->w.generation;
	d->term = w->w.term;
	d->vote = w->w.vote;
	if (w->w.truncate != 0)
		truncate_from(d, w->w.truncate);
	if (w->w.snapshot) {
		blob_drop(d->blob);
		d->blob = w->blob;
		w->blob = NULL;
		d->snapshot = w->snapshot;
		d->has_snapshot = true;
		d->snapshot.data =
		    (struct bytes){ d->blob->data, d->blob->len };
	}
	if (w->n > 0)
		truncate_from(d, w->entry[0]->index);
	for (size_t i = 0; i < w->n && bad == NULL; i++)
		bad = append(d, w->entry[i]);
	if (w->w.snapshot)
		drop_below(d, w->w.keep_from);
	if (bad == NULL && d->n > 0 &&
	    d->entry[0]->index > (d->has_snapshot ? d->snapshot.index : 0) + 1)
		bad = "a write leaves a gap behind the snapshot";
	if (bad == NULL && d->has_snapshot && d->n > 0 &&
	    d->entry[d->n - 1]->index < d->snapshot.index)
		bad = "a log that ends before its snapshot";
	return bad;
}

void
disk_boot(const struct disk *d, struct engine_boot *out,
    struct engine_snapshot *snapshot, struct engine_entry *entries)
{
	*out = (struct engine_boot){ .term = d->term, .vote = d->vote };
	if (d->has_snapshot) {
		*snapshot = d->snapshot;
		out->snapshot = snapshot;
	}
	for (size_t i = 0; i < d->n; i++) {
		const struct disk_entry *e = d->entry[i];

		entries[i] = (struct engine_entry){ .index = e->index,
			.term = e->term,
			.kind = e->kind,
			.data = { e->data, e->len } };
		memcpy(entries[i].hash, e->hash, sizeof e->hash);
	}
	out->entry = entries;
	out->n_entries = d->n;
}
