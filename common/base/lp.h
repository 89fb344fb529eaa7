/* lp: length-prefixed fields, u32be(length) || bytes, so that no two lists of
 * fields have the same bytes: for what is hashed, derived from or signed. */
#ifndef COMMON_BASE_LP_H
#define COMMON_BASE_LP_H

#include "common/base/buf.h"

/* lp_parts lists the bytes of `n` fields: part[] has room for 2n, which
 * borrow from len[], of n, and from the fields.  Fields are below 4 GiB. */
static inline void
lp_parts(
    struct bytes *part, uint8_t (*len)[4], const struct bytes *field, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		for (unsigned k = 0; k < 4; k++)
			len[i][k] = (uint8_t)(field[i].len >> (24 - 8 * k));
		part[2 * i] = (struct bytes){ len[i], 4 };
		part[2 * i + 1] = field[i];
	}
}

#endif
