#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "common/attest/dcap_cache.h"

/* A fleet has few platform types, each with two documents per month; hosts
 * are many, and each has one QE at a time. */
static const unsigned places[DCAP_CACHE_KINDS] = {
	[DCAP_CACHE_PLATFORM] = 256,
	[DCAP_CACHE_BUNDLE] = 32,
	[DCAP_CACHE_PCK] = 256,
	[DCAP_CACHE_QE] = 256,
};

struct slot {
	uint8_t key[32];
	struct dcap_obj *o; /* owns a reference; NULL: free */
	uint64_t last_use;
};

struct table {
	struct slot *slot; /* owns */
	uint64_t hits, misses;
};

struct dcap_cache {
	pthread_mutex_t lock; /* guards all below */
	struct table table[DCAP_CACHE_KINDS];
	uint64_t uses;
};

void
dcap_obj_init(struct dcap_obj *o, void (*destroy)(struct dcap_obj *))
{
	atomic_init(&o->refs, 1);
	o->destroy = destroy;
}

struct dcap_obj *
dcap_obj_ref(struct dcap_obj *o)
{
	(void)atomic_fetch_add(&o->refs, 1);
	return o;
}

void
dcap_obj_unref(struct dcap_obj *o)
{
	if (o != NULL && atomic_fetch_sub(&o->refs, 1) == 1)
		o->destroy(o);
}

enum err
dcap_cache_new(struct dcap_cache **out)
{
	struct dcap_cache *k = calloc(1, sizeof *k);

	if (k == NULL)
		return ERR_NOMEM;
	(void)pthread_mutex_init(&k->lock, NULL);
	for (int i = 0; i < DCAP_CACHE_KINDS; i++) {
		k->table[i].slot = calloc(places[i], sizeof(struct slot));
		if (k->table[i].slot == NULL) {
			dcap_cache_free(k);
			return ERR_NOMEM;
		}
	}
	*out = k;
	return ERR_OK;
}

void
dcap_cache_free(struct dcap_cache *k)
{
	if (k == NULL)
		return;
	for (int i = 0; i < DCAP_CACHE_KINDS; i++) {
		for (unsigned j = 0; j < places[i]; j++)
			if (k->table[i].slot != NULL)
				dcap_obj_unref(k->table[i].slot[j].o);
		free(k->table[i].slot);
	}
	(void)pthread_mutex_destroy(&k->lock);
	free(k);
}

/* With the lock held: the slot of the key, or else the one to replace. */
static struct slot *
find(struct table *t, unsigned n, const uint8_t key[static 32])
{
	struct slot *oldest = &t->slot[0];

	for (unsigned i = 0; i < n; i++) {
		struct slot *s = &t->slot[i];

		if (s->o != NULL && memcmp(s->key, key, 32) == 0)
			return s;
		if (s->last_use < oldest->last_use)
			oldest = s; /* free ones have last_use 0 */
	}
	return oldest;
}

struct dcap_obj *
dcap_cache_get(struct dcap_cache *k, enum dcap_cache_kind kind,
    const uint8_t key[static 32])
{
	struct table *t = &k->table[kind];
	struct dcap_obj *o = NULL;
	struct slot *s;

	(void)pthread_mutex_lock(&k->lock);
	s = find(t, places[kind], key);
	if (s->o != NULL && memcmp(s->key, key, 32) == 0) {
		s->last_use = ++k->uses;
		o = dcap_obj_ref(s->o);
		t->hits++;
	} else {
		t->misses++;
	}
	(void)pthread_mutex_unlock(&k->lock);
	return o;
}

void
dcap_cache_put(struct dcap_cache *k, enum dcap_cache_kind kind,
    const uint8_t key[static 32], struct dcap_obj *o)
{
	struct dcap_obj *old;
	struct slot *s;

	(void)dcap_obj_ref(o);
	(void)pthread_mutex_lock(&k->lock);
	s = find(&k->table[kind], places[kind], key);
	old = s->o;
	memcpy(s->key, key, 32);
	s->o = o;
	s->last_use = ++k->uses;
	(void)pthread_mutex_unlock(&k->lock);
	dcap_obj_unref(old); /* outside the lock: it may be a large one */
}

void
dcap_cache_stats(struct dcap_cache_stats *out, struct dcap_cache *k)
{
	*out = (struct dcap_cache_stats){ 0 };
	(void)pthread_mutex_lock(&k->lock);
	for (int i = 0; i < DCAP_CACHE_KINDS; i++) {
		out->hits[i] = k->table[i].hits;
		out->misses[i] = k->table[i].misses;
		for (unsigned j = 0; j < places[i]; j++)
			out->held[i] += k->table[i].slot[j].o != NULL;
	}
	(void)pthread_mutex_unlock(&k->lock);
}
