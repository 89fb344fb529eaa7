/* rlprd: RLP items read one after the other, in their canonical form only.
 *
 * Yellow Paper appendix B.  A value has one accepted encoding: a single byte
 * below 0x80 is itself, lengths are as short as they can be.  As with rd.h all
 * is read and checked once: what is not one whole item of the wanted kind makes
 * the cursor bad, and every later read yields nothing.  Nothing recurses: the
 * members of a list are read through a cursor of their own. */
#ifndef COMMON_ETH_RLPRD_H
#define COMMON_ETH_RLPRD_H

#include "common/base/buf.h"
#include "common/base/rd.h"

struct rlprd_item {
	bool is_list;
	struct bytes body; /* borrowed from the input, as `whole` */
	struct bytes whole; /* with its head */
};

/* rlprd_item takes the next item, whichever it is; zeros if bad. */
struct rlprd_item rlprd_item(struct rd *r);
/* rlprd_str takes a byte string. */
struct bytes rlprd_str(struct rd *r);
/* rlprd_fixed takes a byte string of `len` bytes; NULL if it has not. */
const uint8_t *rlprd_fixed(struct rd *r, size_t len);
/* rlprd_list takes a list: a cursor over its members.  If it is bad, so is
 * `r`; the caller looks whether the members were read to their end. */
struct rd rlprd_list(struct rd *r);
/* Integers: no leading zeros, and the empty string is zero. */
uint64_t rlprd_u64(struct rd *r);
/* At most 32 bytes, big-endian into `out`; untouched if bad. */
void rlprd_u256(struct rd *r, uint8_t out[static 32]);

#endif
