/* ratls: what ties an attestation to the key of a certificate.
 *
 *   report data = SHA-512("ratls-cert:" || SPKI)
 *
 * dstack-compat.md 3.6.  The agent has its quote made over it, the KMS and
 * whoever connects compare it. */
#ifndef COMMON_WIRE_RATLS_H
#define COMMON_WIRE_RATLS_H

#include "common/crypto/hash.h"

static inline void
ratls_report_data(uint8_t out[static 64], struct bytes spki)
{
	const struct bytes part[] = { BYTES_STR("ratls-cert:"), spki };

	sha512_v(out, part, 2);
}

#endif
