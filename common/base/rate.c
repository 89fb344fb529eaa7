#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "common/base/rate.h"

#define MILLI 1000u
#define WAYS 8u /* places in which a key may be */

struct rate
rate_full(uint32_t per_s, uint32_t burst, uint64_t now_ms)
{
	return (struct rate){ .per_s = per_s,
		.burst = burst,
		.level = (uint64_t)burst * MILLI,
		.at_ms = now_ms };
}

static void
refill(struct rate *r, uint64_t now_ms)
{
	const uint64_t full = (uint64_t)r->burst * MILLI;
	uint64_t passed = now_ms > r->at_ms ? now_ms - r->at_ms : 0;

	/* `per_s` tokens a second are as many thousandths a millisecond. */
	if (passed >= full / r->per_s + 1 ||
	    r->level + passed * r->per_s > full)
		r->level = full;
	else
		r->level += passed * r->per_s;
	r->at_ms = now_ms;
}

bool
rate_take(struct rate *r, uint64_t now_ms)
{
	refill(r, now_ms);
	if (r->level < MILLI)
		return false;
	r->level -= MILLI;
	return true;
}

struct place {
	uint8_t key[RATES_KEY_LEN];
	bool used;
	struct rate rate;
};

struct rates {
	uint32_t per_s, burst;
	unsigned n_sets;
	uint8_t hash_key[crypto_shorthash_KEYBYTES]; /* nobody can aim */
	struct place place[]; /* WAYS for each set */
};

enum err
rates_new(struct rates **out, unsigned keys, uint32_t per_s, uint32_t burst)
{
	unsigned n_sets = keys / WAYS + 1;
	struct rates *r;

	if (per_s == 0 || burst == 0 || per_s > RATE_MAX || burst > RATE_MAX)
		return ERR_CONFIG;
	r = calloc(1, sizeof *r + (size_t)n_sets * WAYS * sizeof *r->place);
	if (r == NULL)
		return ERR_NOMEM;
	r->per_s = per_s;
	r->burst = burst;
	r->n_sets = n_sets;
	randombytes_buf(r->hash_key, sizeof r->hash_key);
	*out = r;
	return ERR_OK;
}

void
rates_free(struct rates *r)
{
	free(r);
}

/* The place of a key; if it has none, the one that knows least: an unused one,
 * or that with the most tokens, which is forgotten. */
static struct place *
find(struct rates *r, const uint8_t *key, uint64_t now_ms)
{
	uint8_t hash[crypto_shorthash_BYTES];
	struct place *set, *best = NULL;
	uint64_t n;

	(void)crypto_shorthash(hash, key, RATES_KEY_LEN, r->hash_key);
	memcpy(&n, hash, sizeof n);
	set = r->place + (size_t)(n % r->n_sets) * WAYS;
	for (unsigned i = 0; i < WAYS; i++) {
		struct place *p = &set[i];

		if (p->used && memcmp(p->key, key, RATES_KEY_LEN) == 0)
			return p;
		if (p->used)
			refill(&p->rate, now_ms);
		if (best == NULL || (best->used && !p->used) ||
		    (best->used && p->used && p->rate.level > best->rate.level))
			best = p;
	}
	best->used = true;
	memcpy(best->key, key, RATES_KEY_LEN);
	best->rate = rate_full(r->per_s, r->burst, now_ms);
	return best;
}

bool
rates_take(
    struct rates *r, const uint8_t key[static RATES_KEY_LEN], uint64_t now_ms)
{
	return rate_take(&find(r, key, now_ms)->rate, now_ms);
}
