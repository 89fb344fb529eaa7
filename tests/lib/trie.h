/* trie: Merkle-Patricia tries of the tests' own making, and proofs of them.
 *
 * Slow and plain: all is built anew for every root and proof.  Aborts when out
 * of memory. */
#ifndef TESTS_LIB_TRIE_H
#define TESTS_LIB_TRIE_H

#include <stdbool.h>

#include "common/eth/mpt.h"

struct trie_entry {
	uint8_t key[32]; /* hashed already */
	uint8_t value[128];
	size_t len; /* 0: the entry is not there */
};

struct trie_proof {
	struct buf node[MPT_DEPTH_MAX]; /* owns */
	struct bytes view[MPT_DEPTH_MAX];
	size_t n;
};

/* `e` is sorted in place; keys differ. */
void trie_root(uint8_t out[static 32], struct trie_entry *e, size_t n);
/* The proof of what is at `key`, or that nothing is; trie_proof_fini. */
void trie_prove(struct trie_proof *out, struct trie_entry *e, size_t n,
    const uint8_t key[static 32]);
void trie_proof_fini(struct trie_proof *p);

/* The bytes of an account's and of a slot's leaf. */
void trie_account(struct trie_entry *e, const uint8_t address[static 20],
    uint64_t nonce, uint64_t balance, const uint8_t storage_root[static 32],
    const uint8_t code_hash[static 32]);
void trie_slot(struct trie_entry *e, const uint8_t slot[static 32],
    const uint8_t value[static 32]);

#endif
