/* codes: contracts' code by its hash, kept across blocks.
 *
 * Code never changes under its hash, so what was fetched once needs no proof
 * again.  Bounded: when it is full all is forgotten but what somebody holds.
 * Thread-safe; counted references. */
#ifndef KMS_GATE_CODES_H
#define KMS_GATE_CODES_H

#include <stdint.h>

#include "common/base/buf.h"

struct codes; /* opaque */
struct code {
	uint8_t hash[32];
	struct bytes bytes; /* borrowed while the reference is held */
};

/* `max` bytes of code, and a thousand codes, are kept; NULL: no memory. */
struct codes *codes_new(size_t max);
void codes_free(struct codes *c); /* references outlive it */

/* codes_get returns a reference, or NULL if the code is not known. */
const struct code *codes_get(struct codes *c, const uint8_t hash[static 32]);
/* codes_put keeps a copy of `in` and returns a reference to it; NULL: no
 * memory.  The hash is made here. */
const struct code *codes_put(struct codes *c, struct bytes in);
void codes_unref(const struct code *k);

#endif
