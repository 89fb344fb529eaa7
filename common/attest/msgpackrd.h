/* msgpackrd: a cursor over untrusted MessagePack, on rd.h: nothing recurses
 * deeper than its bound, and a count that the input claims is only ever
 * counted down, never allocated.
 *
 * Known are nil, booleans, unsigned integers, str, bin, arrays, and maps whose
 * keys are names; negative numbers, floats and extensions make the cursor bad.
 * Heads and integers need not be the shortest: writers differ. */
#ifndef COMMON_ATTEST_MSGPACKRD_H
#define COMMON_ATTEST_MSGPACKRD_H

#include "common/base/buf.h"
#include "common/base/rd.h"

/* Values within values; an attestation has six levels. */
#define MSGPACKRD_DEPTH_MAX 8u

/* An unsigned integer of at most `max`; else the cursor is bad, as in all of
 * these, and 0 or nothing the result. */
uint64_t msgpackrd_uint(struct rd *r, uint64_t max);
/* A str of at most `max` bytes, borrowed; not checked to be UTF-8. */
struct bytes msgpackrd_text(struct rd *r, size_t max);
/* The count of an array, at most `max`; its items follow. */
size_t msgpackrd_array(struct rd *r, size_t max);
/* msgpackrd_bytes appends a bin, or an array of integers below 256, of at most
 * `max` bytes to `out`. */
void msgpackrd_bytes(struct rd *r, struct buf *out, size_t max);

/* One member of a map. */
struct msgpackrd_member {
	const char *name;
	bool optional; /* may be absent, or nil, which is the same */
	/* What was found; `at` has exactly the value's bytes. */
	bool seen;
	struct rd at;
};

/* msgpackrd_map reads a whole map, its members in any order, and leaves the
 * values to be read from `at`.  A name that is not among the `n`, one that is
 * there twice, and one that lacks make the cursor bad. */
void msgpackrd_map(struct rd *r, struct msgpackrd_member *m, size_t n);

#endif
