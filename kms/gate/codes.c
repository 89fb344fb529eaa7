#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "common/crypto/keccak.h"
#include "kms/gate/codes.h"

#define KEPT_MAX 1024u

struct kept {
	struct code code; /* first: what is handed out */
	_Atomic unsigned refs;
	uint8_t bytes[];
};

struct codes {
	pthread_mutex_t lock;
	size_t max, total; /* bytes */
	unsigned n;
	struct kept *kept[KEPT_MAX]; /* one reference each */
};

struct codes *
codes_new(size_t max)
{
	struct codes *c = calloc(1, sizeof *c);

	if (c == NULL)
		return NULL;
	(void)pthread_mutex_init(&c->lock, NULL);
	c->max = max;
	return c;
}

void
codes_unref(const struct code *k)
{
	struct kept *p = (struct kept *)(uintptr_t)k;

	if (p != NULL && atomic_fetch_sub(&p->refs, 1) == 1)
		free(p);
}

static void
forget(struct codes *c)
{
	while (c->n > 0)
		codes_unref(&c->kept[--c->n]->code);
	c->total = 0;
}

void
codes_free(struct codes *c)
{
	if (c == NULL)
		return;
	forget(c);
	(void)pthread_mutex_destroy(&c->lock);
	free(c);
}

/* Under the lock. */
static struct kept *
find(const struct codes *c, const uint8_t hash[static 32])
{
	for (unsigned i = 0; i < c->n; i++)
		if (memcmp(c->kept[i]->code.hash, hash, 32) == 0)
			return c->kept[i];
	return NULL;
}

const struct code *
codes_get(struct codes *c, const uint8_t hash[static 32])
{
	struct kept *k;

	(void)pthread_mutex_lock(&c->lock);
	if ((k = find(c, hash)) != NULL)
		(void)atomic_fetch_add(&k->refs, 1);
	(void)pthread_mutex_unlock(&c->lock);
	return k != NULL ? &k->code : NULL;
}

const struct code *
codes_put(struct codes *c, struct bytes in)
{
	struct kept *k, *old;

	if ((k = malloc(sizeof *k + in.len)) == NULL)
		return NULL;
	if (in.len > 0)
		memcpy(k->bytes, in.p, in.len);
	k->code.bytes = (struct bytes){ k->bytes, in.len };
	keccak256(k->code.hash, in.p, in.len);
	atomic_init(&k->refs, 1);
	(void)pthread_mutex_lock(&c->lock);
	if ((old = find(c, k->code.hash)) != NULL) {
		(void)atomic_fetch_add(&old->refs, 1);
		free(k);
		k = old;
	} else {
		if (c->n == KEPT_MAX || c->total + in.len > c->max)
			forget(c);
		if (in.len <= c->max) {
			(void)atomic_fetch_add(&k->refs, 1);
			c->kept[c->n++] = k;
			c->total += in.len;
		}
	}
	(void)pthread_mutex_unlock(&c->lock);
	return &k->code;
}
