/* evm_op: one instruction.  Only for evm.c. */
#ifndef COMMON_ETH_EVM_OP_H
#define COMMON_ETH_EVM_OP_H

#include "common/eth/evm_frame.h"

/* evm_op executes the next instruction of the top frame.  With NEXT the top
 * frame may be another one. */
enum evm_step evm_op(struct evm_run *r);

#endif
