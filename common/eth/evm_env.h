/* evm_env: instructions that read what is around a frame: call data, codes,
 * accounts, storage, the block; and those that would write.
 *
 * Only for evm_op.c, whose table has their opcodes. */
#ifndef COMMON_ETH_EVM_ENV_H
#define COMMON_ETH_EVM_ENV_H

#include "common/eth/evm_frame.h"

#define EVM_ENV_LIST(X) \
	X(address) \
	X(balance) \
	X(origin) \
	X(caller) \
	X(zero) \
	X(calldataload) \
	X(calldatasize) \
	X(calldatacopy) \
	X(codesize) \
	X(codecopy) \
	X(extcodesize) \
	X(extcodecopy) \
	X(extcodehash) \
	X(returndatasize) \
	X(returndatacopy) \
	X(blockhash) \
	X(coinbase) \
	X(timestamp) \
	X(number) \
	X(prevrandao) \
	X(gaslimit) \
	X(chainid) \
	X(selfbalance) \
	X(basefee) \
	X(blobhash) \
	X(sload) \
	X(tload) \
	X(tstore) \
	X(write)

#define X(name) \
	enum evm_step evm_env_##name( \
	    struct evm_run *r, struct evm_frame *f, uint8_t op);
EVM_ENV_LIST(X)
#undef X

/* evm_env_copy copies `n` bytes of `from`, at `off`, to the memory at `at`;
 * beyond its end there are zeros. */
void evm_env_copy(struct evm_frame *f, size_t at, size_t n, struct bytes from,
    const struct u256 *off);

#endif
