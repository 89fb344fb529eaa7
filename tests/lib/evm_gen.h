/* evm_gen: random programs for the EVM, most of which do something: their
 * operands are there, their memory is near, their loops end. */
#ifndef TESTS_LIB_EVM_GEN_H
#define TESTS_LIB_EVM_GEN_H

#include "common/base/buf.h"

struct evm_gen {
	uint64_t seed; /* and the state of the generator */
	/* Contracts that may be called, 20 bytes each; borrows. */
	const uint8_t (*target)[20];
	size_t n_targets;
};

uint64_t evm_gen_next(struct evm_gen *g);
/* evm_gen_program replaces `out`. */
void evm_gen_program(struct evm_gen *g, struct buf *out);

#endif
