/* evm_precompile: the contracts that are part of the protocol: ecrecover,
 * sha256, ripemd160, identity (Yellow Paper appendix E).  Only for evm*.c. */
#ifndef COMMON_ETH_EVM_PRECOMPILE_H
#define COMMON_ETH_EVM_PRECOMPILE_H

#include "common/eth/evm_frame.h"

/* evm_precompile runs number `n` (of evm_frame_reserved, not 0).  On RETURN
 * `gas` is what is left, and `out` the answer: borrowed from `space` or
 * `in`.  FAIL: not enough gas; REFUSE: not served. */
enum evm_step evm_precompile(struct bytes *out, uint8_t space[static 32],
    uint64_t *gas, unsigned n, struct bytes in);

#endif
