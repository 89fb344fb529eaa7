/* tx: EIP-1559 transactions: signing, sending, waiting.
 *
 * For operators' tools (kmsctl), which pay with an account of their own.
 * One endpoint is asked and nothing it says is trusted beyond fees: the
 * caller names the chain, and the hash is computed here. */
#ifndef COMMON_ETH_TX_H
#define COMMON_ETH_TX_H

#include "common/base/reason.h"
#include "common/eth/account.h"

/* Fees and values are in wei; 2^64 wei are 18 ether. */
struct tx {
	uint64_t chain_id;
	uint64_t nonce;
	uint64_t max_priority_fee;
	uint64_t max_fee;
	uint64_t gas_limit;
	uint8_t to[20];
	uint64_t value;
	struct bytes data; /* borrows */
};

/* tx_sign replaces `raw` by the signed transaction (0x02 || RLP) and sets
 * `hash`, its identity on chain.  ERR_LIMIT: data over 64 KiB;
 * ERR_MALFORMED: bad key. */
enum err tx_sign(struct buf *raw, uint8_t hash[static 32], const struct tx *tx,
    const struct k256_secret *key);

/* How to reach the chain, and the time; mono_ms and pause_ms are the
 * machine's in a tool and the test's in a test. */
struct tx_chain {
	const char *url;
	unsigned timeout_ms; /* of one request */
	uint64_t max_fee_cap; /* wei per gas; what we refuse to exceed */
	uint64_t (*mono_ms)(void);
	void (*pause_ms)(unsigned ms);
};

/* tx_fill sets nonce, fees and gas limit for a call of `from`, having
 * checked that the endpoint serves tx->chain_id.  ERR_DENIED with
 * CHAIN_WRONG, CONTRACT_OTHER (the call would revert; detail says how),
 * CHAIN_ANSWER (fees over the cap), CHAIN_UNREACHABLE. */
enum err tx_fill(struct tx *tx, const struct tx_chain *c,
    const uint8_t from[static 20], struct refusal *why);

/* tx_send hands the signed bytes to the endpoint.  One that it knows
 * already is fine.  ERR_DENIED with CHAIN_ANSWER or CHAIN_UNREACHABLE. */
enum err tx_send(const struct tx_chain *c, struct bytes raw,
    const uint8_t hash[static 32], struct refusal *why);

struct tx_receipt {
	bool success; /* false: it was mined and reverted */
	uint64_t block_number;
	uint8_t block_hash[32];
	uint64_t gas_used;
};

/* tx_wait asks for the receipt until it is there.  ERR_TIMEOUT after
 * `wait_ms`; it may still be mined later. */
enum err tx_wait(struct tx_receipt *out, const struct tx_chain *c,
    const uint8_t hash[static 32], uint64_t wait_ms);

#endif
