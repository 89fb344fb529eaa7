/* mpt: what a Merkle-Patricia trie holds at one key, proven to its root.
 *
 * Yellow Paper appendix D, for tries whose keys are hashes, as those of
 * accounts and of storage are: all keys have 32 bytes, so that no key ends
 * inside another and a branch never holds a value itself.
 *
 * A proof is the nodes from the root to where the key's path ends, in that
 * order, without those that are embedded in their parents.  Each must be used,
 * and be what its parent names.  A proof is one of presence or of absence; what
 * is neither is no proof. */
#ifndef COMMON_ETH_MPT_H
#define COMMON_ETH_MPT_H

#include "common/base/buf.h"

/* Nodes of one proof: one for every nibble of the key, and the leaf. */
#define MPT_DEPTH_MAX 65u

/* The root of an empty trie: keccak256 of the empty string's RLP. */
extern const uint8_t mpt_empty_root[32];

/* mpt_get: `key` is the hashed one.
 *
 * ERR_OK         `*value`, borrowed from the proof, is at the key; not empty
 * ERR_NOTFOUND   proven: there is nothing at the key
 * ERR_AUTH       a node is not the one that its parent (or the root) names,
 *                one is missing, or one is left over
 * ERR_MALFORMED  a node is in no form that a trie can have
 *
 * `*value` is written only on ERR_OK. */
enum err mpt_get(struct bytes *value, const uint8_t root[static 32],
    const uint8_t key[static 32], const struct bytes *node, size_t n);

#endif
