/* witness: calls of contracts, executed here over proven state.
 *
 * What a call reads is fetched as it turns out to be needed, verified
 * (stateask.h), and kept for its block.  Code is kept longer, by its hash.
 * What an endpoint says of the outcome of a call is never asked.  Thread-safe;
 * blocks as its endpoints do. */
#ifndef KMS_GATE_WITNESS_H
#define KMS_GATE_WITNESS_H

#include "kms/gate/stateask.h"

struct witness; /* opaque */

/* `es` is borrowed for the life.  ERR_NOMEM. */
enum err witness_new(
    struct witness **out, struct endpoints *es, uint64_t chain_id);
void witness_free(struct witness *w); /* NULL is fine */

/* witness_world: the world of this block, with a reference for the caller and
 * with its header, which is verified against the block's hash, number and time.
 * Errors as stateask_fetch. */
enum err witness_world(struct witness *w, struct world **out,
    const struct chain_block *at, struct refusal *why);
/* witness_fetch: stateask_fetch. */
enum err witness_fetch(struct witness *w, struct world *world,
    const struct stateask_want *want, size_t n, struct refusal *why);

/* witness_call replaces `out` by what the contract returns at `at`, called by
 * nobody with `gas`.
 *
 * ERR_DENIED  it returns nothing that we could use: CONTRACT_OTHER (it
 *             reverted, failed, does what this node does not execute, or reads
 *             more than a call may), CHAIN_ANSWER (over `max` bytes)
 * ERR_AGAIN   as stateask_fetch
 * ERR_NOMEM */
struct witness_call {
	uint8_t to[20];
	struct bytes data;
	uint64_t gas;
	size_t max;
};
enum err witness_call(struct witness *w, const struct chain_block *at,
    const struct witness_call *c, struct buf *out, struct refusal *why);

#endif
