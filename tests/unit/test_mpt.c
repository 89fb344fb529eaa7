/* Proofs of tries: what is proven, and that nothing else is. */
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "common/crypto/keccak.h"
#include "common/eth/mpt.h"
#include "common/eth/rlp.h"
#include "common/eth/stateproof.h"
#include "tests/lib/trie.h"

static uint64_t seed = 0x1234567;

static uint32_t
random32(void)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(seed >> 33);
}

/* Keys that share `shared` bytes, so that paths are long and nodes small. */
static void
fill(struct trie_entry *e, size_t n, size_t shared, size_t max_len)
{
	for (size_t i = 0; i < n; i++) {
		memset(e[i].key, 0x77, 32);
		for (size_t k = shared; k < 32; k++)
			e[i].key[k] = (uint8_t)random32();
		e[i].key[31] = (uint8_t)i;
		e[i].key[30] = (uint8_t)(random32() % 4);
		e[i].len = 1 + random32() % max_len;
		for (size_t k = 0; k < e[i].len; k++)
			e[i].value[k] = (uint8_t)random32();
	}
}

static const struct trie_entry *
find(const struct trie_entry *e, size_t n, const uint8_t *key)
{
	for (size_t i = 0; i < n; i++)
		if (memcmp(e[i].key, key, 32) == 0)
			return &e[i];
	return NULL;
}

static void
expect_truth(struct trie_entry *e, size_t n, const uint8_t root[static 32],
    const uint8_t key[static 32])
{
	struct trie_proof p;
	const struct trie_entry *want;
	struct bytes v = { NULL, 0 };
	enum err got;

	trie_prove(&p, e, n, key);
	want = find(e, n, key);
	got = mpt_get(&v, root, key, p.view, p.n);
	cr_assert_eq(
	    got, want != NULL ? ERR_OK : ERR_NOTFOUND, "%s", err_text(got));
	if (want != NULL) {
		cr_assert_eq(v.len, want->len);
		cr_assert_arr_eq(v.p, want->value, v.len);
	}
	trie_proof_fini(&p);
}

/* Tries of all shapes: with one entry, wide ones, deep ones whose last nodes
 * are embedded in their parents; what is there, and what is beside it. */
Test(mpt, presence_and_absence)
{
	static const size_t shared[] = { 0, 1, 15, 29, 30 };
	static struct trie_entry e[200];
	uint8_t root[32], key[32];

	for (size_t s = 0; s < 5; s++)
		for (size_t n = 1; n <= 200; n = 2 * n + 1) {
			fill(e, n, shared[s], s % 2 == 0 ? 3 : 70);
			trie_root(root, e, n);
			for (size_t i = 0; i < n; i++) {
				memcpy(key, e[i].key, 32);
				expect_truth(e, n, root, key);
				key[random32() % 32] ^=
				    (uint8_t)(1u << random32() % 8);
				expect_truth(e, n, root, key);
			}
		}
}

Test(mpt, empty_trie)
{
	const uint8_t null[1] = { 0x80 }, other[1] = { 0x81 };
	struct bytes node[2] = { BYTES_OF(null), BYTES_OF(null) }, v;
	uint8_t key[32] = { 1 };

	cr_assert_eq(mpt_get(&v, mpt_empty_root, key, node, 2), ERR_MALFORMED);
	node[0] = BYTES_OF(other);
	cr_assert_eq(mpt_get(&v, mpt_empty_root, key, node, 1), ERR_AUTH);
	node[0] = BYTES_OF(null);
	cr_assert_eq(mpt_get(&v, mpt_empty_root, key, node, 1), ERR_NOTFOUND);
	cr_assert_eq(mpt_get(&v, mpt_empty_root, key, NULL, 0), ERR_NOTFOUND);
	cr_assert_eq(mpt_get(&v, key, key, NULL, 0), ERR_AUTH);
}

/* Nothing that can be done to a proof makes it prove something else: a bit
 * flipped, a node dropped, doubled, appended, another order, another root. */
Test(mpt, altered_proofs_prove_nothing)
{
	static struct trie_entry e[60];
	struct bytes node[MPT_DEPTH_MAX + 1], v;
	struct trie_proof p;
	uint8_t root[32], key[32];

	for (unsigned round = 0; round < 12; round++) {
		size_t n = 1 + random32() % 60;

		fill(e, n, round % 3 == 0 ? 29 : 0, 40);
		trie_root(root, e, n);
		memcpy(key, e[random32() % n].key, 32);
		if (round % 2 == 1)
			key[0] ^= 0x10;
		trie_prove(&p, e, n, key);
		for (size_t i = 0; i < p.n; i++) {
			size_t k = 0;

			for (size_t b = 0; b < 8 * p.node[i].len; b++) {
				p.node[i].p[b / 8] ^= (uint8_t)(1u << b % 8);
				cr_assert_eq(
				    mpt_get(&v, root, key, p.view, p.n),
				    ERR_AUTH);
				p.node[i].p[b / 8] ^= (uint8_t)(1u << b % 8);
			}
			for (size_t j = 0; j < p.n; j++)
				if (j != i)
					node[k++] = p.view[j];
			cr_assert_eq(mpt_get(&v, root, key, node, k), ERR_AUTH);
			memcpy(node, p.view, p.n * sizeof node[0]);
			node[p.n] = p.view[i];
			cr_assert_eq(
			    mpt_get(&v, root, key, node, p.n + 1), ERR_AUTH);
			node[i].len--;
			cr_assert_eq(
			    mpt_get(&v, root, key, node, p.n), ERR_AUTH);
		}
		root[random32() % 32] ^= 1;
		cr_assert_eq(mpt_get(&v, root, key, p.view, p.n), ERR_AUTH);
		trie_proof_fini(&p);
	}
}

/* The proof of one key is none of another. */
Test(mpt, a_proof_is_of_its_key)
{
	static struct trie_entry e[64];
	struct trie_proof p;
	struct bytes v;
	uint8_t root[32], key[32];
	unsigned refused = 0;

	fill(e, 64, 0, 8);
	trie_root(root, e, 64);
	memcpy(key, e[7].key, 32);
	trie_prove(&p, e, 64, key);
	for (size_t i = 0; i < 64; i++) {
		enum err got = mpt_get(&v, root, e[i].key, p.view, p.n);

		cr_assert_eq(got == ERR_OK, i == 7);
		cr_assert_neq(got, ERR_NOTFOUND);
		refused += got == ERR_AUTH;
	}
	cr_assert_eq(refused, 63);
	trie_proof_fini(&p);
}

/* ---- tries that cannot be, hashed rightly ---- */

static struct rlp in;

static void
open_list(void)
{
	in = (struct rlp){ .max = 4096 };
}

static struct buf
close_list(void)
{
	struct rlp r = { .max = 4096 };

	rlp_list(&r, &in);
	cr_assert_eq(r.err, ERR_OK);
	rlp_fini(&in);
	return r.out;
}

/* A leaf of the last `nibbles` of the key 0x000..., even ones only. */
static struct buf
leaf(size_t nibbles, const char *value)
{
	uint8_t path[33] = { 0x20 };

	open_list();
	rlp_str(&in, path, 1 + nibbles / 2);
	rlp_str(&in, value, strlen(value));
	return close_list();
}

static enum err
prove(struct buf *a, struct buf *b, struct bytes *v)
{
	static const uint8_t key[32];
	const struct bytes node[2] = { buf_view(a),
		b != NULL ? buf_view(b) : (struct bytes){ NULL, 0 } };
	uint8_t root[32];
	enum err e;

	keccak256(root, a->p, a->len);
	e = mpt_get(v, root, key, node, b != NULL ? 2 : 1);
	return e;
}

static void
expect_malformed(struct buf a, struct buf *b)
{
	struct bytes v = { NULL, 0 };
	enum err e = prove(&a, b, &v);

	cr_assert_eq(e, ERR_MALFORMED, "%s", err_text(e));
	buf_fini(&a);
	if (b != NULL)
		buf_fini(b);
}

static void
put_hash(const struct buf *node)
{
	uint8_t hash[32];

	keccak256(hash, node->p, node->len);
	rlp_str(&in, hash, 32);
}

static void
put_nothing(unsigned n)
{
	while (n-- > 0)
		rlp_str(&in, NULL, 0);
}

Test(mpt, leaves_that_cannot_be)
{
	struct bytes v;
	struct buf b = leaf(64, "value");

	cr_assert_eq(prove(&b, NULL, &v), ERR_OK);
	cr_assert_eq(v.len, 5);
	/* A flag nibble of 4 and up; padding that is not zero. */
	b.p[2] = 0x60;
	expect_malformed(b, NULL);
	b = leaf(64, "value");
	b.p[2] = 0x21;
	expect_malformed(b, NULL);
	expect_malformed(leaf(64, ""), NULL); /* an empty value */
	expect_malformed(leaf(62, "value"), NULL); /* ends early */
	open_list(); /* a path of no byte, and one that is too long */
	put_nothing(1);
	rlp_str(&in, "value", 5);
	expect_malformed(close_list(), NULL);
	open_list();
	rlp_str(&in,
	    "\x20"
	    "0123456789abcdef0123456789abcdef0",
	    34);
	rlp_str(&in, "value", 5);
	expect_malformed(close_list(), NULL);
	open_list(); /* a list as the path */
	rlp_list(&in, &(struct rlp){ .max = 0 });
	rlp_str(&in, "value", 5);
	expect_malformed(close_list(), NULL);
	open_list(); /* one item, three items */
	rlp_str(&in, "\x20", 1);
	expect_malformed(close_list(), NULL);
	open_list();
	put_nothing(3);
	expect_malformed(close_list(), NULL);
	open_list(); /* a list as the value */
	rlp_str(&in, (uint8_t[33]){ 0x20 }, 33);
	rlp_list(&in, &(struct rlp){ .max = 0 });
	expect_malformed(close_list(), NULL);
}

Test(mpt, branches_that_cannot_be)
{
	struct bytes v;
	struct buf sub = leaf(62, "a longer value than that");

	/* Of one child; with a value; of 16 and of 18 members; a child of 31
	 * bytes; and one that is no list but a short text. */
	for (unsigned way = 0; way < 6; way++) {
		open_list();
		put_nothing(way == 5 ? 0 : 1);
		if (way == 5)
			rlp_str(&in, "\x01\x02", 2);
		if (way == 0)
			put_nothing(1);
		else
			rlp_str(&in, (uint8_t[32]){ 9 }, way == 4 ? 31 : 32);
		rlp_str(&in, (uint8_t[32]){ 9 }, 32);
		put_nothing(way == 2 ? 12 : way == 3 ? 14 : 13);
		rlp_str(&in, "value", way == 1 ? 5 : 0);
		expect_malformed(close_list(), NULL);
	}
	buf_fini(&sub);
	/* A branch where the key has ended. */
	open_list();
	rlp_str(&in, (uint8_t[33]){ 0x00 }, 33);
	rlp_str(&in, (uint8_t[32]){ 9 }, 32);
	expect_malformed(close_list(), NULL);
	/* What the empty slot of a good one proves. */
	open_list();
	put_nothing(1);
	rlp_str(&in, (uint8_t[32]){ 9 }, 32);
	rlp_str(&in, (uint8_t[32]){ 9 }, 32);
	put_nothing(14);
	sub = close_list();
	cr_assert_eq(prove(&sub, NULL, &v), ERR_NOTFOUND);
	buf_fini(&sub);
}

Test(mpt, extensions_that_cannot_be)
{
	struct buf sub;

	/* To a leaf, which would be one leaf; to an extension; to nothing;
	 * without a path. */
	sub = leaf(62, "a longer value than that");
	open_list();
	rlp_str(&in, "\x00\x00", 2);
	put_hash(&sub);
	expect_malformed(close_list(), &sub);
	open_list();
	rlp_str(&in, "\x00\x00", 2);
	rlp_str(&in, (uint8_t[32]){ 9 }, 32);
	sub = close_list();
	open_list();
	rlp_str(&in, "\x00\x00", 2);
	put_hash(&sub);
	expect_malformed(close_list(), &sub);
	open_list();
	rlp_str(&in, "\x00\x00", 2);
	put_nothing(1);
	expect_malformed(close_list(), NULL);
	open_list();
	rlp_str(&in, "\x00", 1);
	rlp_str(&in, (uint8_t[32]){ 9 }, 32);
	expect_malformed(close_list(), NULL);
}

/* Branches all the way down the key 0x000...: 64 of them have a nibble to go
 * by, and a proof has no more nodes than a key can pass. */
Test(mpt, no_deeper_than_the_key)
{
	struct buf node[MPT_DEPTH_MAX + 1];
	struct bytes view[MPT_DEPTH_MAX + 1], v = { NULL, 0 };
	static const uint8_t key[32];
	uint8_t root[32];

	for (size_t i = MPT_DEPTH_MAX + 1; i-- > 0;) {
		open_list();
		if (i < MPT_DEPTH_MAX)
			put_hash(&node[i + 1]);
		else
			rlp_str(&in, (uint8_t[32]){ 9 }, 32);
		rlp_str(&in, (uint8_t[32]){ 9 }, 32);
		put_nothing(15);
		node[i] = close_list();
		view[i] = buf_view(&node[i]);
	}
	keccak256(root, node[0].p, node[0].len);
	cr_assert_eq(mpt_get(&v, root, key, view, MPT_DEPTH_MAX + 1), ERR_AUTH);
	cr_assert_eq(
	    mpt_get(&v, root, key, view, MPT_DEPTH_MAX), ERR_MALFORMED);
	cr_assert_eq(mpt_get(&v, root, key, view, MPT_DEPTH_MAX - 1), ERR_AUTH);
	cr_assert_null(v.p);
	for (size_t i = 0; i <= MPT_DEPTH_MAX; i++)
		buf_fini(&node[i]);
}

/* A node of fewer than 32 bytes belongs into its parent, a larger one not. */
Test(mpt, small_nodes_are_embedded)
{
	struct buf sub, top;
	struct bytes v;

	open_list(); /* a branch, 20 bytes: a hash of it is not canonical */
	rlp_str(&in, "\x01", 1);
	put_nothing(16);
	sub = close_list();
	cr_assert_lt(sub.len, 32);
	open_list();
	rlp_str(&in, "\x00\x00", 2);
	put_hash(&sub);
	expect_malformed(close_list(), &sub);

	open_list(); /* a leaf of 40 bytes as it is */
	rlp_str(&in, (uint8_t[32]){ 0x3f }, 32);
	rlp_str(&in, "\x01\x02\x03\x04\x05", 5);
	sub = close_list();
	open_list();
	cr_assert_eq(buf_append(&in.out, sub.p, sub.len, 4096), ERR_OK);
	rlp_str(&in, (uint8_t[32]){ 9 }, 32);
	put_nothing(15);
	buf_fini(&sub);
	expect_malformed(close_list(), NULL);
	top = leaf(64, "v");
	cr_assert_eq(prove(&top, NULL, &v), ERR_OK);
	buf_fini(&top);
}

/* ---- accounts and slots ---- */

Test(stateproof, accounts)
{
	struct stateproof_account a;
	struct trie_entry e[3];
	struct trie_proof p;
	uint8_t root[32], addr[3][20] = { { 1 }, { 2 }, { 3 } }, sr[32] = { 7 };

	for (unsigned i = 0; i < 3; i++)
		trie_account(&e[i], addr[i], i, (uint64_t)1000 * i, sr,
		    stateproof_no_code);
	e[2].len = 0; /* the third is not there */
	trie_root(root, e, 3);
	for (unsigned i = 0; i < 3; i++) {
		uint8_t key[32];

		keccak256(key, addr[i], 20);
		trie_prove(&p, e, 3, key);
		/* Of another account the same nodes prove nothing or less. */
		memset(&a, 0xee, sizeof a);
		cr_assert_eq(
		    stateproof_account(&a, root, addr[i], p.view, p.n), ERR_OK);
		cr_assert_eq(a.exists, i < 2);
		cr_assert_eq(a.nonce, i < 2 ? i : 0);
		cr_assert_arr_eq(
		    a.storage_root, i < 2 ? sr : mpt_empty_root, 32);
		cr_assert_eq(a.balance[30], i == 1 ? 1000 >> 8 : 0);
		trie_proof_fini(&p);
	}
}

/* What is at the account's place and is no account. */
Test(stateproof, leaves_that_are_no_account)
{
	static const uint8_t addr[20] = { 1 };
	struct stateproof_account a;
	struct trie_entry good, e;
	struct trie_proof p;
	uint8_t root[32], key[32];

	keccak256(key, addr, 20);
	trie_account(&good, addr, 5, 77, mpt_empty_root, stateproof_no_code);
	for (size_t i = 0; i < 8 * good.len; i++) {
		e = good;
		e.value[i / 8] ^= (uint8_t)(1u << i % 8);
		trie_root(root, &e, 1);
		trie_prove(&p, &e, 1, key);
		/* Head bytes make it another form; numbers and hashes are
		 * others then. */
		if (stateproof_account(&a, root, addr, p.view, p.n) == ERR_OK)
			cr_assert(i / 8 != 0 && i / 8 != 1 && i / 8 != 4 &&
			    i / 8 != 37);
		trie_proof_fini(&p);
	}
	e = good;
	e.len--;
	trie_root(root, &e, 1);
	trie_prove(&p, &e, 1, key);
	cr_assert_eq(
	    stateproof_account(&a, root, addr, p.view, p.n), ERR_MALFORMED);
	trie_proof_fini(&p);
}

static enum err
slot_of(uint8_t out[static 32], const void *value, size_t len)
{
	static const uint8_t slot[32] = { [31] = 5 };
	struct trie_entry e = { .len = len };
	struct trie_proof p;
	uint8_t root[32], key[32];
	enum err got;

	keccak256(key, slot, 32);
	memcpy(e.key, key, 32);
	memcpy(e.value, value, len);
	trie_root(root, &e, 1);
	trie_prove(&p, &e, 1, key);
	got = stateproof_slot(out, root, slot, p.view, p.n);
	trie_proof_fini(&p);
	return got;
}

Test(stateproof, slots)
{
	uint8_t v[32], big[33] = { 0xa0, 0xff, [32] = 1 };

	/* Leading zero; longer than a word; a list; two items; half of one;
	 * one byte with a head that it does not need. */
	cr_assert_eq(slot_of(v, "\x82\x00\x01", 3), ERR_MALFORMED);
	cr_assert_eq(slot_of(v, "\x00", 1), ERR_MALFORMED);
	cr_assert_eq(slot_of(v,
			 "\xa1"
			 "0123456789abcdef0123456789abcdefg",
			 34),
	    ERR_MALFORMED);
	cr_assert_eq(slot_of(v, "\xc1\x01", 2), ERR_MALFORMED);
	cr_assert_eq(slot_of(v, "\x01\x01", 2), ERR_MALFORMED);
	cr_assert_eq(slot_of(v, "\x82\x01", 2), ERR_MALFORMED);
	cr_assert_eq(slot_of(v, "\x81\x01", 2), ERR_MALFORMED);
	cr_assert_eq(slot_of(v, "\x01", 1), ERR_OK);
	cr_assert_eq(v[31], 1);
	cr_assert_eq(slot_of(v, big, sizeof big), ERR_OK);
	cr_assert_eq(v[0], 0xff);
	cr_assert_eq(v[31], 1);
	/* anvil's zero. */
	cr_assert_eq(slot_of(v, "\x80", 1), ERR_OK);
	cr_assert_arr_eq(v, (uint8_t[32]){ 0 }, 32);
	memset(v, 9, 32);
	cr_assert_eq(stateproof_slot(v, mpt_empty_root, v, NULL, 0), ERR_OK);
	cr_assert_arr_eq(v, (uint8_t[32]){ 0 }, 32);
}
