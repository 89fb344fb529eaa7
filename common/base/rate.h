/* rate: how often something may be done, as buckets of tokens.
 *
 * A bucket begins full with `burst` tokens and gains `per_s` a second; what is
 * done takes one.  `rates` has a bucket for each of many keys (addresses,
 * devices) in memory of a fixed size: a key that has long not been seen is
 * forgotten first, and then begins with a full bucket again, so whoever has
 * many keys needs a bound on all of them besides. */
#ifndef COMMON_BASE_RATE_H
#define COMMON_BASE_RATE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/err.h"

struct rate {
	uint32_t per_s, burst; /* 1 to RATE_MAX */
	uint64_t level; /* thousandths of tokens */
	uint64_t at_ms; /* when that was so */
};

#define RATE_MAX 10000000u

/* rate_full is a full bucket; times are those of one clock, in milliseconds. */
struct rate rate_full(uint32_t per_s, uint32_t burst, uint64_t now_ms);

/* rate_take takes a token, if there is one.  A clock that goes backwards
 * brings nothing. */
bool rate_take(struct rate *r, uint64_t now_ms);

#define RATES_KEY_LEN 32

struct rates; /* opaque */

/* rates_new makes buckets for the last `keys` keys or so (rounded up). */
enum err rates_new(
    struct rates **out, unsigned keys, uint32_t per_s, uint32_t burst);
void rates_free(struct rates *r); /* NULL is fine */

/* rates_take takes a token from the bucket of `key`. */
bool rates_take(
    struct rates *r, const uint8_t key[static RATES_KEY_LEN], uint64_t now_ms);

#endif
