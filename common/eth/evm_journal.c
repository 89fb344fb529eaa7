#include <stdlib.h>
#include <string.h>

#include "common/base/secret.h"
#include "common/eth/evm.h"
#include "common/eth/evm_journal.h"

__extension__ typedef unsigned __int128 u128;

struct evm_touched {
	enum evm_touch kind;
	uint8_t address[20];
	struct u256 slot;
	struct u256 value; /* of a transient slot */
};

struct evm_undo {
	size_t at; /* index into `e` */
	struct u256 before;
};

void
evm_journal_init(struct evm_journal *j)
{
	memset(j, 0, sizeof *j);
	secret_random(j->key, sizeof j->key);
}

void
evm_journal_fini(struct evm_journal *j)
{
	free(j->e);
	free(j->table);
	free(j->undo);
	memset(j, 0, sizeof *j);
}

static uint64_t
mix(uint64_t a, uint64_t b)
{
	u128 p = (u128)a * b;

	return (uint64_t)p ^ (uint64_t)(p >> 64);
}

/* Where the hash is known the table can be made slow, hence the key; what a
 * run says never depends on it. */
static size_t
hash(const struct evm_journal *j, const struct evm_touched *t)
{
	uint64_t a[3] = { 0 }, h;

	memcpy(a, t->address, sizeof t->address);
	h = mix(a[0] ^ j->key[0], a[1] ^ j->key[1]);
	h = mix(h ^ a[2] ^ j->key[0], (uint64_t)t->kind + j->key[1]);
	h = mix(h ^ t->slot.w[0] ^ j->key[0], t->slot.w[1] ^ j->key[1]);
	h = mix(h ^ t->slot.w[2] ^ j->key[0], t->slot.w[3] ^ j->key[1]);
	return (size_t)h & (j->slots - 1);
}

static bool
same(const struct evm_touched *a, const struct evm_touched *b)
{
	return a->kind == b->kind &&
	    memcmp(a->address, b->address, sizeof a->address) == 0 &&
	    u256_cmp(&a->slot, &b->slot) == 0;
}

/* The place of `t` in the table, or the empty one where it belongs. */
static size_t
find(const struct evm_journal *j, const struct evm_touched *t)
{
	size_t at = hash(j, t);

	while (j->table[at] != 0 && !same(&j->e[j->table[at] - 1], t))
		at = (at + 1) & (j->slots - 1);
	return at;
}

/* Entries go in in their order again, so that the last is last everywhere. */
static enum err
grow(struct evm_journal *j)
{
	size_t cap = j->cap == 0 ? 32 : 2 * j->cap;
	struct evm_touched *e;
	uint32_t *table;

	if (cap > EVM_TOUCHED_MAX)
		return ERR_LIMIT;
	if ((e = realloc(j->e, cap * sizeof *e)) == NULL)
		return ERR_NOMEM;
	j->e = e;
	if ((table = calloc(2 * cap, sizeof *table)) == NULL)
		return ERR_NOMEM;
	free(j->table);
	j->table = table;
	j->slots = 2 * cap;
	j->cap = cap;
	for (size_t i = 0; i < j->n; i++)
		table[find(j, &j->e[i])] = (uint32_t)i + 1;
	return ERR_OK;
}

/* The entry for `t`, which is new or not. */
static enum err
put(struct evm_journal *j, size_t *index, bool *was, struct evm_touched *t)
{
	enum err e;
	size_t at;

	if (j->n == j->cap && (e = grow(j)) != ERR_OK)
		return e;
	at = find(j, t);
	*was = j->table[at] != 0;
	if (!*was) {
		j->e[j->n++] = *t;
		j->table[at] = (uint32_t)j->n;
	}
	*index = j->table[at] - 1;
	return ERR_OK;
}

static struct evm_touched
touched(enum evm_touch kind, const uint8_t address[static 20],
    const struct u256 *slot)
{
	struct evm_touched t = { .kind = kind, .slot = *slot };

	memcpy(t.address, address, sizeof t.address);
	return t;
}

enum err
evm_journal_warm(struct evm_journal *j, bool *was, enum evm_touch kind,
    const uint8_t address[static 20], const struct u256 *slot)
{
	struct evm_touched t = touched(kind, address, slot);
	size_t index;

	return put(j, &index, was, &t);
}

void
evm_journal_load(const struct evm_journal *j, struct u256 *out,
    const uint8_t address[static 20], const struct u256 *slot)
{
	struct evm_touched t = touched(EVM_TOUCH_TRANSIENT, address, slot);
	size_t at;

	*out = u256_from_u64(0);
	if (j->slots == 0)
		return;
	at = find(j, &t);
	if (j->table[at] != 0)
		*out = j->e[j->table[at] - 1].value;
}

enum err
evm_journal_store(struct evm_journal *j, const uint8_t address[static 20],
    const struct u256 *slot, const struct u256 *value)
{
	struct evm_touched t = touched(EVM_TOUCH_TRANSIENT, address, slot);
	struct evm_undo *undo;
	size_t index, cap;
	bool was;
	enum err e;

	if (j->n_undo == j->undo_cap) {
		cap = j->undo_cap == 0 ? 32 : 2 * j->undo_cap;
		if (cap > EVM_TOUCHED_MAX)
			return ERR_LIMIT;
		undo = realloc(j->undo, cap * sizeof *undo);
		if (undo == NULL)
			return ERR_NOMEM;
		j->undo = undo;
		j->undo_cap = cap;
	}
	if ((e = put(j, &index, &was, &t)) != ERR_OK)
		return e;
	j->undo[j->n_undo++] =
	    (struct evm_undo){ .at = index, .before = j->e[index].value };
	j->e[index].value = *value;
	return ERR_OK;
}

struct evm_mark
evm_journal_mark(const struct evm_journal *j)
{
	return (struct evm_mark){ .n = j->n, .n_undo = j->n_undo };
}

void
evm_journal_back(struct evm_journal *j, struct evm_mark to)
{
	while (j->n_undo > to.n_undo) {
		const struct evm_undo *u = &j->undo[--j->n_undo];

		j->e[u->at].value = u->before;
	}
	/* The last entry is nobody's stepping stone: it can just go. */
	while (j->n > to.n) {
		size_t at = find(j, &j->e[j->n - 1]);

		j->table[at] = 0;
		j->n--;
	}
}
