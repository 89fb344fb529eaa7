/* liar: JSON-RPC endpoints that pass on what a real one says, until told to lie.
 *
 * Raw sockets, one thread a connection, so that answers can be wrong below
 * HTTP as well. */
#ifndef TESTS_LIB_LIAR_H
#define TESTS_LIB_LIAR_H

#include <stdint.h>

struct liar; /* opaque */

#define LIE_LIST(X) \
	X(NONE) \
	X(VALUE) /* another answer to a call; another value in a proof */ \
	X(DROP) /* the last node of each slot's proof is missing */ \
	X(CODE) /* code with a byte more */ \
	X(OLD) /* calls, proofs and code of block `old` */ \
	X(ROOT) /* another storage hash in an account's proof */ \
	X(STATE) /* another state root in headers */ \
	X(TIME) /* headers are half a minute younger */ \
	X(FORK) /* another hash of blocks that are asked for by number */ \
	X(CHAIN) /* another chain id */ \
	X(HINT) /* an access list of as much as one call may read */ \
	X(NULL) /* null for everything */ \
	X(SHAPE) /* an array for everything */ \
	X(ENDLESS) /* JSON without end */ \
	X(DRIP) /* a byte now and then */ \
	X(REDIRECT) /* to the truth */ \
	X(GZIP) /* a small body that is large unpacked */

enum lie {
#define X(name) LIE_##name,
	LIE_LIST(X)
#undef X
	    LIES
};
const char *lie_text(enum lie lie);

/* Aborts if it cannot listen; `upstream` is borrowed. */
struct liar *liar_start(const char *upstream);
void liar_stop(struct liar *l);
const char *liar_url(const struct liar *l);
void liar_tell(struct liar *l, enum lie lie, uint64_t old);

#endif
