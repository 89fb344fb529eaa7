/* cborrd: a cursor over untrusted CBOR, one item at a time, over libcbor's
 * streaming decoder: nothing is allocated, nothing recurses, and a count
 * that the input claims is only ever counted down.
 *
 * As with rd.h the cursor is sticky: after the first failure every item is
 * CBORRD_BAD.  Lengths and integers must have their shortest form (RFC 8949
 * 4.1), strings their length up front. */
#ifndef COMMON_ATTEST_CBORRD_H
#define COMMON_ATTEST_CBORRD_H

#include <stdbool.h>

#include "common/base/buf.h"

enum cborrd_type {
	CBORRD_BAD,
	CBORRD_UINT, /* n */
	CBORRD_NEGINT, /* -1 - n */
	CBORRD_BYTES, /* str */
	CBORRD_TEXT, /* str; not checked to be UTF-8 */
	CBORRD_ARRAY, /* n items, or indefinite */
	CBORRD_MAP, /* n pairs, or indefinite */
	CBORRD_TAG, /* n; the tagged item follows */
	CBORRD_NULL,
	CBORRD_BREAK,
	CBORRD_OTHER, /* floats, booleans, undefined, simple values */
};

struct cborrd_item {
	enum cborrd_type type;
	bool indefinite;
	uint64_t n;
	struct bytes str; /* borrows the input */
};

struct cborrd {
	const uint8_t *p;
	size_t left;
	bool bad;
	bool truncated; /* what made it bad is that the input ends */
};

struct cborrd_item cborrd_next(struct cborrd *r);

/* What is left of an array or map while it is read. */
struct cborrd_list {
	bool indefinite;
	uint64_t n;
};

/* cborrd_open reads the head of an array or map of type `want`; anything
 * else makes the cursor bad. */
struct cborrd_list cborrd_open(struct cborrd *r, enum cborrd_type want);
/* cborrd_more: is there a further item or pair?  Consumes the break. */
bool cborrd_more(struct cborrd *r, struct cborrd_list *l);

#endif
