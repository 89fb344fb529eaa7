/* evm_diff: one call, executed by our EVM and by anvil's. */
#ifndef TESTS_LIB_EVM_DIFF_H
#define TESTS_LIB_EVM_DIFF_H

#include "tests/lib/evm_world.h"

/* evm_diff_block reads anvil's latest block. */
void evm_diff_block(struct evm_block *out, const struct anvil *a);

/* evm_diff_call runs `c` in both, what `w` has laid over anvil's state if
 * `overrides`; aborts with a message and the call if they do not agree on
 * the outcome, the data and the gas.  EVM_UNSUPPORTED agrees with all.
 * `out` is as with evm_run, and may be NULL. */
enum evm_outcome evm_diff_call(struct evm_world *w, struct buf *out,
    const struct evm_call *c, const struct evm_block *b, bool overrides);

#endif
