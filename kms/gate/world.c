#include <assert.h>
#include <pthread.h>
#include <sodium.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/secret.h"
#include "kms/gate/world.h"

/* What one block's world may hold: a thousand apps with all that their
 * contracts read, some megabytes. */
#define ACCOUNTS_MAX 8192u
#define SLOTS_MAX 65536u
#define CODES_MAX 1024u
#define CODE_BYTES_MAX (32u << 20)
#define BUCKETS 4096u

struct account {
	struct account *next;
	uint8_t address[20];
	struct stateproof_account a;
	const struct code *code; /* holds; NULL: not asked for yet */
};

struct slot {
	struct slot *next;
	uint8_t address[20], slot[32], value[32];
};

struct world {
	_Atomic unsigned refs;
	struct chain_block at;
	struct codes *codes; /* borrows */
	uint8_t key[crypto_shorthash_KEYBYTES]; /* of the tables' hash */

	pthread_mutex_t lock; /* for all below */
	bool has_header;
	struct world_header header;
	struct account *account[BUCKETS];
	struct slot *slot[BUCKETS];
	size_t n_accounts, n_slots, n_codes, code_bytes;
};

static const uint8_t no_bytes[1];

struct world *
world_new(const struct chain_block *at, struct codes *codes)
{
	struct world *w = calloc(1, sizeof *w);

	if (w == NULL)
		return NULL;
	atomic_init(&w->refs, 1);
	w->at = *at;
	w->codes = codes;
	secret_random(w->key, sizeof w->key);
	(void)pthread_mutex_init(&w->lock, NULL);
	return w;
}

struct world *
world_ref(struct world *w)
{
	(void)atomic_fetch_add(&w->refs, 1);
	return w;
}

void
world_unref(struct world *w)
{
	if (w == NULL || atomic_fetch_sub(&w->refs, 1) != 1)
		return;
	for (unsigned i = 0; i < BUCKETS; i++) {
		for (struct account *a = w->account[i], *next; a != NULL;
		     a = next) {
			next = a->next;
			codes_unref(a->code);
			free(a);
		}
		for (struct slot *s = w->slot[i], *next; s != NULL; s = next) {
			next = s->next;
			free(s);
		}
	}
	(void)pthread_mutex_destroy(&w->lock);
	free(w);
}

const struct chain_block *
world_block(const struct world *w)
{
	return &w->at;
}

static void
lock(struct world *w)
{
	(void)pthread_mutex_lock(&w->lock);
}

static void
unlock(struct world *w)
{
	(void)pthread_mutex_unlock(&w->lock);
}

bool
world_full(const struct world *w)
{
	struct world *m = (struct world *)(uintptr_t)w;
	bool full;

	lock(m);
	full = w->n_accounts >= ACCOUNTS_MAX || w->n_slots >= SLOTS_MAX ||
	    w->n_codes >= CODES_MAX || w->code_bytes >= CODE_BYTES_MAX;
	unlock(m);
	return full;
}

enum err
world_header(struct world *w, struct world_header *out)
{
	bool has;

	lock(w);
	if ((has = w->has_header))
		*out = w->header;
	unlock(w);
	return has ? ERR_OK : ERR_NOTFOUND;
}

void
world_set_header(struct world *w, const struct world_header *h)
{
	lock(w);
	w->header = *h;
	w->has_header = true;
	unlock(w);
}

/* ---- tables ---- */

/* Keys are a stranger's choice, and he may read one again and again: so that
 * all do not meet in one place, the hash has a secret. */
static unsigned
bucket(const struct world *w, const uint8_t *p, size_t len)
{
	uint8_t h[crypto_shorthash_BYTES];

	(void)crypto_shorthash(h, p, len, w->key);
	return (unsigned)(h[0] << 8 | h[1]) % BUCKETS;
}
static_assert(0x10000 % BUCKETS == 0, "buckets divide two bytes of hash");

static struct account **
account_at(struct world *w, const uint8_t address[static 20])
{
	struct account **p = &w->account[bucket(w, address, 20)];

	while (*p != NULL && memcmp((*p)->address, address, 20) != 0)
		p = &(*p)->next;
	return p;
}

static struct slot **
slot_at(struct world *w, const uint8_t address[static 20],
    const uint8_t slot[static 32])
{
	struct slot **p;
	uint8_t key[52];

	memcpy(key, address, 20);
	memcpy(key + 20, slot, 32);
	p = &w->slot[bucket(w, key, sizeof key)];
	while (*p != NULL &&
	    (memcmp((*p)->slot, slot, 32) != 0 ||
		memcmp((*p)->address, address, 20) != 0))
		p = &(*p)->next;
	return p;
}

enum err
world_account(struct world *w, struct stateproof_account *out,
    const uint8_t address[static 20])
{
	const struct account *a;

	lock(w);
	if ((a = *account_at(w, address)) != NULL)
		*out = a->a;
	unlock(w);
	return a != NULL ? ERR_OK : ERR_NOTFOUND;
}

enum err
world_slot(struct world *w, uint8_t out[static 32],
    const uint8_t address[static 20], const uint8_t slot[static 32])
{
	const struct slot *s;

	lock(w);
	if ((s = *slot_at(w, address, slot)) != NULL)
		memcpy(out, s->value, 32);
	unlock(w);
	return s != NULL ? ERR_OK : ERR_NOTFOUND;
}

static bool
has_code(const struct stateproof_account *a)
{
	return a->exists && memcmp(a->code_hash, stateproof_no_code, 32) != 0;
}

enum err
world_code(struct world *w, struct bytes *out, const uint8_t address[static 20])
{
	enum err e = ERR_NOTFOUND;
	struct account *a;

	lock(w);
	if ((a = *account_at(w, address)) == NULL)
		goto done;
	if (!has_code(&a->a)) {
		*out = (struct bytes){ no_bytes, 0 };
		e = ERR_OK;
		goto done;
	}
	if (a->code == NULL &&
	    (a->code = codes_get(w->codes, a->a.code_hash)) != NULL) {
		w->n_codes++;
		w->code_bytes += a->code->bytes.len;
	}
	if (a->code != NULL) {
		*out = a->code->bytes;
		e = ERR_OK;
	}
done:
	unlock(w);
	return e;
}

enum err
world_put_account(struct world *w, const uint8_t address[static 20],
    const struct stateproof_account *in)
{
	struct account **p, *a;
	enum err e = ERR_OK;

	lock(w);
	p = account_at(w, address);
	if (*p == NULL) {
		if ((a = calloc(1, sizeof *a)) != NULL) {
			memcpy(a->address, address, sizeof a->address);
			a->a = *in;
			*p = a;
			w->n_accounts++;
		} else {
			e = ERR_NOMEM;
		}
	}
	unlock(w);
	return e;
}

enum err
world_put_slot(struct world *w, const uint8_t address[static 20],
    const uint8_t slot[static 32], const uint8_t value[static 32])
{
	struct slot **p, *s;
	enum err e = ERR_OK;

	lock(w);
	p = slot_at(w, address, slot);
	if (*p == NULL) {
		if ((s = calloc(1, sizeof *s)) != NULL) {
			memcpy(s->address, address, sizeof s->address);
			memcpy(s->slot, slot, sizeof s->slot);
			memcpy(s->value, value, sizeof s->value);
			*p = s;
			w->n_slots++;
		} else {
			e = ERR_NOMEM;
		}
	}
	unlock(w);
	return e;
}
