/* rlp: Ethereum's Recursive Length Prefix, writing only.
 *
 * Yellow Paper appendix B.  A list is written into a writer of its own and
 * then wrapped: rlp_list(&outer, &inner).  Errors are sticky: write all,
 * then look at `err` once. */
#ifndef COMMON_ETH_RLP_H
#define COMMON_ETH_RLP_H

#include "common/base/buf.h"

/* A zeroed struct with `max` set is an empty writer. */
struct rlp {
	struct buf out; /* owns; rlp_fini */
	size_t max; /* bytes it may hold */
	enum err err; /* ERR_OK, ERR_LIMIT or ERR_NOMEM */
};

/* rlp_str writes a byte string. */
void rlp_str(struct rlp *r, const void *p, size_t len);
/* rlp_u64 writes an integer: big-endian, no leading zeros, zero is empty. */
void rlp_u64(struct rlp *r, uint64_t v);
/* rlp_uint writes a big-endian integer of any size, zeros stripped. */
void rlp_uint(struct rlp *r, const uint8_t *be, size_t len);
/* rlp_list writes one list whose members `inner` holds. */
void rlp_list(struct rlp *r, const struct rlp *inner);

void rlp_fini(struct rlp *r);

#endif
