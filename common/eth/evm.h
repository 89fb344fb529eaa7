/* evm: one call of a contract, executed here, over state that the caller
 * has proven.  For contracts whose rules we do not know: the gate runs them
 * instead of asking somebody what they would say.
 *
 * The call is eth_call's: a transaction of `from` without value and at gas
 * price 0, in the context of block `b`, whose effects are thrown away.
 * Yellow Paper section 9, and the EIPs up to Prague that evm_op.c names.
 *
 * What is served is exact, gas included.  What is not is never guessed: a
 * run that comes to it ends as EVM_UNSUPPORTED, also when it is a contract
 * called by another that would have survived a failure.  That is
 *   - writes: SSTORE, CREATE, CREATE2, SELFDESTRUCT, value above 0.  In a
 *     static frame they fail, as they do on chain.  LOG and TSTORE are
 *     served: nothing outlives the call.
 *   - what differs between the forks that chains run now: opcodes that Prague
 *     does not have (other than INVALID), the addresses 0x12 to 0x1ff
 *   - the precompiles 0x05 to 0x11, and code that delegates (EIP-7702)
 *   - BLOBBASEFEE, and BLOCKHASH of the last 256 blocks but the parent
 *   - more than the bounds below.
 *
 * Time is bounded by gas and EVM_STEPS_MAX, memory by EVM_MEMORY_MAX; calls
 * between contracts use the heap and not the stack.  No state is kept from
 * one run to the next; any thread may run one. */
#ifndef COMMON_ETH_EVM_H
#define COMMON_ETH_EVM_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/buf.h"

/* Mainnet blocks have 60 M gas; the gate gives a call far less. */
#define EVM_GAS_MAX 100000000u
/* Instructions of one run; a hundred times the largest getter of ours. */
#define EVM_STEPS_MAX 8000000u
/* Memory, stacks and return data of all frames together. */
#define EVM_MEMORY_MAX (32u << 20)
/* One contract: EIP-170 allows 24 KiB, some chains four times that. */
#define EVM_CODE_MAX (96u << 10)
/* Contracts that take part, and addresses, slots and transient slots that
 * are touched, in one run. */
#define EVM_CODES_MAX 256u
#define EVM_TOUCHED_MAX 65536u

struct evm_account {
	bool exists;
	uint64_t nonce;
	uint8_t balance[32]; /* big-endian, as all numbers of 32 bytes here */
	uint8_t code_hash[32];
};

/* What a run reads, each thing at its first use.  The cookie is the
 * caller's.
 *
 * ERR_OK        the value is what the block's state root proves
 * ERR_NOTFOUND  not in the witness yet: the run ends as EVM_MISSING
 * ERR_NOMEM     it ends as EVM_NOMEM; any other error: EVM_UNSUPPORTED
 *
 * An account that is proven absent has exists = false, empty code and zero
 * slots.  The run believes `code` to have the account's code_hash. */
struct evm_state {
	void *cookie;
	enum err (*account)(void *cookie, struct evm_account *out,
	    const uint8_t address[static 20]);
	enum err (*code)(void *cookie, struct bytes *out,
	    const uint8_t address[static 20]); /* borrowed for the run */
	enum err (*storage)(void *cookie, uint8_t out[static 32],
	    const uint8_t address[static 20], const uint8_t slot[static 32]);
};

/* The block in whose state the call runs, from its header. */
struct evm_block {
	uint64_t number;
	uint64_t timestamp;
	uint64_t gas_limit;
	uint64_t chain_id;
	/* The header's.  Some clients' eth_call has BASEFEE say 0. */
	uint8_t base_fee[32];
	uint8_t prev_randao[32]; /* the header's mixHash */
	uint8_t coinbase[20];
	uint8_t hash[32]; /* its own, which no instruction can read */
	uint8_t parent_hash[32]; /* all zero: not known */
};

struct evm_missing {
	enum { EVM_MISSING_ACCOUNT, EVM_MISSING_CODE, EVM_MISSING_SLOT } what;
	uint8_t address[20];
	uint8_t slot[32]; /* of EVM_MISSING_SLOT */
};

enum MUST_CHECK evm_outcome {
	EVM_RETURNED, /* `out` is what it returned */
	EVM_REVERTED, /* `out` is why, in the contract's words */
	EVM_FAILED, /* out of gas, bad jump, bad instruction, stack */
	EVM_UNSUPPORTED, /* see above: nothing is known of the answer */
	EVM_MISSING, /* `missing` says what; provide it and run again */
	EVM_NOMEM,
};

struct evm_call {
	uint8_t from[20];
	uint8_t to[20];
	struct bytes data; /* borrowed for the run */
	/* The transaction's: 21,000 and the price of `data` are taken from it
	 * first, as eth_call does.  At most EVM_GAS_MAX. */
	uint64_t gas;
	/* Longer answers are EVM_UNSUPPORTED. */
	size_t max_return;
};

/* evm_run executes `c`.
 *
 * `out` is replaced on EVM_RETURNED and EVM_REVERTED, `missing` written on
 * EVM_MISSING; they are untouched otherwise.  `gas_used` (may be NULL) is
 * written with the first three outcomes: all gas but what was left over,
 * before the floor of EIP-7623.  Deterministic. */
enum evm_outcome evm_run(struct buf *out, struct evm_missing *missing,
    const struct evm_call *c, const struct evm_block *b,
    const struct evm_state *s, uint64_t *gas_used);

#endif
