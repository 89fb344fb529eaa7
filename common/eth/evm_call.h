/* evm_call: one contract calls another, and gets its answer.
 * Only for evm*.c. */
#ifndef COMMON_ETH_EVM_CALL_H
#define COMMON_ETH_EVM_CALL_H

#include "common/eth/evm_frame.h"

/* CALL, CALLCODE, DELEGATECALL, STATICCALL. */
enum evm_step evm_call_op(struct evm_run *r, struct evm_frame *f, uint8_t op);

/* evm_call_done ends the top frame, which is not the first one, as `how`
 * says: RETURN, REVERT or FAIL. */
enum evm_step evm_call_done(struct evm_run *r, enum evm_step how);

#endif
