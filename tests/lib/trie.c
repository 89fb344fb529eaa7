#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/crypto/keccak.h"
#include "common/eth/rlp.h"
#include "tests/lib/trie.h"

#define NODE_MAX 1024u
#define NIBBLES 64u

struct build {
	const struct trie_entry *e;
	const uint8_t *key; /* whose path is kept, or NULL */
	struct trie_proof *proof; /* from the leaf up, until it is turned */
};

static unsigned
nibble(const uint8_t *p, size_t i)
{
	return i % 2 == 0 ? p[i / 2] >> 4 : p[i / 2] & 0x0f;
}

static void
put_path(struct rlp *r, const uint8_t *key, size_t at, size_t end, bool leaf)
{
	uint8_t b[33] = { 0 };
	size_t n = end - at, k = n % 2 == 0 ? 2 : 1;

	b[0] = (uint8_t)((leaf ? 0x20 : 0) | (n % 2 == 0 ? 0 : 0x10));
	for (size_t i = 0; i < n; i++, k++)
		b[k / 2] |=
		    (uint8_t)(nibble(key, at + i) << (k % 2 == 0 ? 4 : 0));
	rlp_str(r, b, n / 2 + 1);
}

static void
put_ref(struct rlp *r, const struct buf *node)
{
	uint8_t hash[32];
	enum err e;

	if (node->len >= 32) {
		keccak256(hash, node->p, node->len);
		rlp_str(r, hash, 32);
		return;
	}
	e = buf_append(&r->out, node->p, node->len, NODE_MAX);
	assert(e == ERR_OK);
}

static size_t
common(const struct trie_entry *e, size_t lo, size_t hi, size_t at)
{
	size_t n = at;

	while (n < NIBBLES && nibble(e[lo].key, n) == nibble(e[hi - 1].key, n))
		n++;
	return n - at;
}

static bool
same_path(const uint8_t *a, const uint8_t *b, size_t at, size_t end)
{
	for (; at < end; at++)
		if (nibble(a, at) != nibble(b, at))
			return false;
	return true;
}

/* The node of e[lo..hi), whose first `at` nibbles are behind us. */
static struct buf
make(struct build *b, size_t lo, size_t hi, size_t at, bool on_path)
{
	struct rlp in = { .max = NODE_MAX }, r = { .max = NODE_MAX };
	const uint8_t *key = b->e[lo].key;
	size_t same = hi - lo > 1 ? common(b->e, lo, hi, at) : 0;

	if (hi - lo == 1) {
		put_path(&in, key, at, NIBBLES, true);
		rlp_str(&in, b->e[lo].value, b->e[lo].len);
	} else if (same > 0) {
		struct buf child = make(b, lo, hi, at + same,
		    on_path && same_path(key, b->key, at, at + same));

		put_path(&in, key, at, at + same, false);
		put_ref(&in, &child);
		buf_fini(&child);
	} else {
		for (unsigned i = 0; i < 16; i++) {
			size_t end = lo;
			struct buf child;

			while (end < hi && nibble(b->e[end].key, at) == i)
				end++;
			if (end == lo) {
				rlp_str(&in, NULL, 0);
				continue;
			}
			child = make(b, lo, end, at + 1,
			    on_path && nibble(b->key, at) == i);
			put_ref(&in, &child);
			buf_fini(&child);
			lo = end;
		}
		rlp_str(&in, NULL, 0);
	}
	rlp_list(&r, &in);
	assert(r.err == ERR_OK);
	rlp_fini(&in);
	if (on_path && (r.out.len >= 32 || at == 0)) {
		enum err e =
		    buf_set(&b->proof->node[b->proof->n++], r.out.p, r.out.len);

		assert(e == ERR_OK);
	}
	return r.out;
}

static int
by_key(const void *a, const void *b)
{
	const struct trie_entry *x = a, *y = b;

	/* What is not there comes last. */
	if ((x->len == 0) != (y->len == 0))
		return x->len == 0 ? 1 : -1;
	return memcmp(x->key, y->key, 32);
}

static size_t
sort(struct trie_entry *e, size_t n)
{
	size_t used = 0;

	if (n > 0)
		qsort(e, n, sizeof *e, by_key);
	while (used < n && e[used].len > 0)
		used++;
	return used;
}

void
trie_root(uint8_t out[static 32], struct trie_entry *e, size_t n)
{
	struct build b = { .e = e };
	struct buf root;

	if ((n = sort(e, n)) == 0) {
		memcpy(out, mpt_empty_root, 32);
		return;
	}
	root = make(&b, 0, n, 0, false);
	keccak256(out, root.p, root.len);
	buf_fini(&root);
}

void
trie_prove(struct trie_proof *out, struct trie_entry *e, size_t n,
    const uint8_t key[static 32])
{
	struct build b = { .e = e, .key = key, .proof = out };
	struct buf root;

	*out = (struct trie_proof){ .n = 0 };
	if ((n = sort(e, n)) == 0)
		return;
	root = make(&b, 0, n, 0, true);
	buf_fini(&root);
	for (size_t i = 0; i < out->n / 2; i++) {
		struct buf t = out->node[i];

		out->node[i] = out->node[out->n - 1 - i];
		out->node[out->n - 1 - i] = t;
	}
	for (size_t i = 0; i < out->n; i++)
		out->view[i] = buf_view(&out->node[i]);
}

void
trie_proof_fini(struct trie_proof *p)
{
	for (size_t i = 0; i < MPT_DEPTH_MAX; i++)
		buf_fini(&p->node[i]);
	p->n = 0;
}

static void
set_value(struct trie_entry *e, struct rlp *r)
{
	assert(r->err == ERR_OK && r->out.len <= sizeof e->value);
	memcpy(e->value, r->out.p, r->out.len);
	e->len = r->out.len;
	rlp_fini(r);
}

void
trie_account(struct trie_entry *e, const uint8_t address[static 20],
    uint64_t nonce, uint64_t balance, const uint8_t storage_root[static 32],
    const uint8_t code_hash[static 32])
{
	struct rlp in = { .max = 128 }, r = { .max = 128 };

	keccak256(e->key, address, 20);
	rlp_u64(&in, nonce);
	rlp_u64(&in, balance);
	rlp_str(&in, storage_root, 32);
	rlp_str(&in, code_hash, 32);
	rlp_list(&r, &in);
	rlp_fini(&in);
	set_value(e, &r);
}

void
trie_slot(struct trie_entry *e, const uint8_t slot[static 32],
    const uint8_t value[static 32])
{
	struct rlp r = { .max = 64 };

	keccak256(e->key, slot, 32);
	rlp_uint(&r, value, 32);
	set_value(e, &r);
}
