/* der: a reader of DER elements over the sticky cursor of rd.h.
 *
 * For the few places that need exact bytes rather than OpenSSL's view of
 * them.  Lengths are definite and minimal; a failure of any kind sets `bad`
 * in the cursor and in what it opened, so callers test once. */
#ifndef COMMON_ATTEST_DER_H
#define COMMON_ATTEST_DER_H

#include "common/base/rd.h"

enum {
	DER_INTEGER = 0x02,
	DER_BIT_STRING = 0x03,
	DER_OCTETS = 0x04,
	DER_OID = 0x06,
	DER_ENUMERATED = 0x0a,
	DER_SEQUENCE = 0x30,
	DER_CONTEXT_0 = 0xa0,
};

/* der_any opens the next element, whatever its tag, which it returns. */
uint8_t der_any(struct rd *r, struct rd *inner);

/* der_get opens the next element, which must have this tag. */
struct rd der_get(struct rd *r, uint8_t tag);

#endif
