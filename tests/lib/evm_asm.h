/* evm_asm: EVM code from words, so that a test can be read.
 *
 *   "2 3 ADD 0 MSTORE 32 0 RETURN"     numbers are pushed, shortest form,
 *                                      decimal or 0x hex (whole bytes)
 *   "loop: JUMPDEST @loop JUMP"        a label, and its place (PUSH2)
 *   "#5b60"                            these bytes
 *
 * A word that is none of these aborts. */
#ifndef TESTS_LIB_EVM_ASM_H
#define TESTS_LIB_EVM_ASM_H

#include "common/base/buf.h"

/* evm_asm replaces `out`. */
void evm_asm(struct buf *out, const char *text);

/* evm_asm_name: the name of an instruction, "0x.." if it has none. */
const char *evm_asm_name(uint8_t op);

#endif
