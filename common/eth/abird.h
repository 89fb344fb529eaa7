/* abird: ABI words read one after the other.
 *
 * As with rd.h, all is read and checked once: a word that is not the one
 * encoding of its type makes the cursor bad and yields zero. */
#ifndef COMMON_ETH_ABIRD_H
#define COMMON_ETH_ABIRD_H

#include <string.h>

#include "common/base/rd.h"
#include "common/eth/abi.h"

static inline uint64_t
abird_u64(struct rd *r)
{
	const uint8_t *w = rd_bytes(r, ABI_WORD);
	uint64_t v = 0;

	if (w == NULL ||
	    abi_get_u64(&v, (struct bytes){ w, ABI_WORD }) != ERR_OK)
		r->bad = true;
	return v;
}

/* At most `max`. */
static inline uint64_t
abird_upto(struct rd *r, uint64_t max)
{
	uint64_t v = abird_u64(r);

	if (v <= max)
		return v;
	r->bad = true;
	return 0;
}

static inline void
abird_exactly(struct rd *r, uint64_t v)
{
	if (abird_u64(r) != v)
		r->bad = true;
}

static inline void
abird_address(struct rd *r, uint8_t out[static 20])
{
	const uint8_t *w = rd_bytes(r, ABI_WORD);

	if (w == NULL ||
	    abi_get_address(out, (struct bytes){ w, ABI_WORD }) != ERR_OK)
		r->bad = true;
}

static inline void
abird_hash(struct rd *r, uint8_t out[static 32])
{
	const uint8_t *w = rd_bytes(r, ABI_WORD);

	if (w != NULL)
		memcpy(out, w, ABI_WORD);
}

#endif
