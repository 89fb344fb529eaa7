#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "common/base/wr.h"
#include "kms/cluster/logcache.h"

void
engine_entry_hash(uint8_t out[static 32], const uint8_t prev[static 32],
    uint64_t index, uint64_t term, enum entry_kind kind, struct bytes data)
{
	crypto_generichash_state st;
	uint8_t head[17];
	struct wr w = { .p = head, .cap = sizeof head };

	wr_be64(&w, index);
	wr_be64(&w, term);
	wr_u8(&w, (uint8_t)kind);
	assert(wr_ok(&w));
	(void)crypto_generichash_init(&st, NULL, 0, 32);
	(void)crypto_generichash_update(&st, prev, 32);
	(void)crypto_generichash_update(&st, head, sizeof head);
	(void)crypto_generichash_update(&st, data.p, data.len);
	(void)crypto_generichash_final(&st, out, 32);
}

static void
drop_items(struct logcache *l, size_t from, size_t to)
{
	for (size_t i = from; i < to; i++)
		buf_fini(&l->item[i].data);
}

void
logcache_fini(struct logcache *l)
{
	drop_items(l, 0, l->n);
	free(l->item);
	*l = (struct logcache){ 0 };
}

void
logcache_reset(struct logcache *l, uint64_t index, uint64_t term,
    const uint8_t hash[static 32])
{
	drop_items(l, 0, l->n);
	l->n = 0;
	l->base_index = index;
	l->base_term = term;
	memcpy(l->base_hash, hash, sizeof l->base_hash);
}

static enum err
make_room(struct logcache *l)
{
	size_t cap = l->cap == 0 ? 64 : l->cap * 2;
	struct logcache_item *grown;

	if (l->n < l->cap)
		return ERR_OK;
	if ((grown = realloc(l->item, cap * sizeof *grown)) == NULL)
		return ERR_NOMEM;
	l->item = grown;
	l->cap = cap;
	return ERR_OK;
}

enum err
logcache_append(
    struct logcache *l, uint64_t term, enum entry_kind kind, struct bytes data)
{
	struct logcache_item it = { .term = term, .kind = kind };
	enum err e;

	if ((e = make_room(l)) != ERR_OK ||
	    (e = buf_set(&it.data, data.p, data.len)) != ERR_OK)
		return e;
	engine_entry_hash(it.hash,
	    l->n > 0 ? l->item[l->n - 1].hash : l->base_hash,
	    logcache_last(l) + 1, term, kind, data);
	l->item[l->n++] = it;
	return ERR_OK;
}

void
logcache_truncate(struct logcache *l, uint64_t index)
{
	size_t keep;

	assert(index > l->base_index);
	keep = (size_t)(index - l->base_index - 1);
	if (keep >= l->n)
		return;
	drop_items(l, keep, l->n);
	l->n = keep;
}

void
logcache_drop(struct logcache *l, uint64_t index)
{
	size_t n;

	if (index <= l->base_index)
		return;
	assert(index <= logcache_last(l));
	n = (size_t)(index - l->base_index);
	l->base_term = l->item[n - 1].term;
	memcpy(l->base_hash, l->item[n - 1].hash, sizeof l->base_hash);
	l->base_index = index;
	drop_items(l, 0, n);
	memmove(l->item, l->item + n, (l->n - n) * sizeof *l->item);
	l->n -= n;
}

uint64_t
logcache_last(const struct logcache *l)
{
	return l->base_index + l->n;
}

const struct logcache_item *
logcache_get(const struct logcache *l, uint64_t index)
{
	if (index <= l->base_index || index > logcache_last(l))
		return NULL;
	return &l->item[index - l->base_index - 1];
}

bool
logcache_hash(const struct logcache *l, uint64_t index, uint8_t out[static 32])
{
	const struct logcache_item *it = logcache_get(l, index);

	if (it == NULL && index != l->base_index)
		return false;
	memcpy(out, it != NULL ? it->hash : l->base_hash, 32);
	return true;
}

bool
logcache_term(const struct logcache *l, uint64_t index, uint64_t *out)
{
	const struct logcache_item *it = logcache_get(l, index);

	if (it == NULL && index != l->base_index)
		return false;
	*out = it != NULL ? it->term : l->base_term;
	return true;
}
