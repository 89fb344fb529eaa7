/* stateproof: accounts and storage slots, proven to a block's state root.
 *
 * Yellow Paper 4.1: the state trie holds [nonce, balance, storage root, code
 * hash] at keccak256 of the address; an account's storage trie holds the RLP of
 * a slot's value at keccak256 of its number.  What is absent is zero. */
#ifndef COMMON_ETH_STATEPROOF_H
#define COMMON_ETH_STATEPROOF_H

#include <stdbool.h>

#include "common/eth/mpt.h"

/* keccak256 of nothing: the code hash of an account without code. */
extern const uint8_t stateproof_no_code[32];

struct stateproof_account {
	bool exists; /* all below is zero otherwise, but the storage root */
	uint64_t nonce;
	uint8_t balance[32]; /* big-endian */
	uint8_t storage_root[32]; /* of an absent account: the empty one */
	uint8_t code_hash[32];
};

/* Both: ERR_AUTH and ERR_MALFORMED as mpt_get; absence is ERR_OK.  Outputs are
 * written only then. */
enum err stateproof_account(struct stateproof_account *out,
    const uint8_t state_root[static 32], const uint8_t address[static 20],
    const struct bytes *node, size_t n);

/* stateproof_slot: `value` and `slot` are big-endian words.  A leaf that holds
 * zero counts as zero: anvil keeps what was set back to zero, on a chain of
 * consensus there is no such leaf. */
enum err stateproof_slot(uint8_t value[static 32],
    const uint8_t storage_root[static 32], const uint8_t slot[static 32],
    const struct bytes *node, size_t n);

#endif
