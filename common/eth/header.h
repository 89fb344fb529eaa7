/* header: the header of an Ethereum block, and its hash.
 *
 * Yellow Paper 4.4.3 and what the forks since have appended: a header has the
 * fifteen fields of Frontier and then some of the later ones, without a gap.
 * How many is not asked of any calendar: the hash covers all, so that a header
 * that lacks one, or has one too many, has another hash. */
#ifndef COMMON_ETH_HEADER_H
#define COMMON_ETH_HEADER_H

#include <jansson.h>

#include "common/base/buf.h"

/* What forks appended, in order. */
#define HEADER_LATER(X) \
	X(BASE_FEE, "baseFeePerGas") /* London, EIP-1559 */ \
	X(WITHDRAWALS, "withdrawalsRoot") /* Shanghai, EIP-4895 */ \
	X(BLOB_GAS, "blobGasUsed") /* Cancun, EIP-4844 */ \
	X(EXCESS_BLOB_GAS, "excessBlobGas") \
	X(BEACON_ROOT, "parentBeaconBlockRoot") /* EIP-4788 */ \
	X(REQUESTS, "requestsHash") /* Prague, EIP-7685 */ \
	X(ACCESS_LIST, "blockAccessListHash") /* EIP-7928 */ \
	X(SLOT_NUMBER, "slotNumber") /* EIP-7843 */

enum header_later {
#define X(name, text) HEADER_##name,
	HEADER_LATER(X)
#undef X
	    HEADER_N_LATER
};

/* Header data is at most 32 bytes but for clique's seal. */
#define HEADER_EXTRA_MAX 4096u

struct header {
	uint8_t parent_hash[32], uncles_hash[32], coinbase[20];
	uint8_t state_root[32], tx_root[32], receipts_root[32];
	uint8_t bloom[256];
	uint8_t difficulty[32]; /* big-endian words, as all of 32 below */
	uint64_t number, gas_limit, gas_used, timestamp;
	struct buf extra; /* owns */
	uint8_t mix_hash[32]; /* prevRandao since the Merge */
	uint8_t nonce[8];
	unsigned n_later; /* how many of the later fields it has */
	uint8_t later[HEADER_N_LATER][32]; /* numbers, big-endian, or hashes */
};

/* header_from_json reads what eth_getBlockBy... returns; members that are not
 * of the header are passed over.  ERR_MALFORMED: a field is missing or is not
 * in its form, or a later one is there without one before it.  Written only on
 * ERR_OK; header_fini. */
enum err header_from_json(struct header *out, const json_t *block);
void header_fini(struct header *h);

/* header_rlp replaces `out` by the RLP of the header; ERR_NOMEM. */
enum err header_rlp(struct buf *out, const struct header *h);
/* header_hash: keccak256 of that. */
enum err header_hash(uint8_t out[static 32], const struct header *h);

#endif
