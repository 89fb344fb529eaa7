/* signcert: what an app signs to show that it holds a certificate's key.
 *
 * The agent makes SignCert.proof and the KMS checks it over these bytes:
 *
 *   "devproof-kms/sign-cert/v1" || app_id 20 || SPKI 91
 *
 * as ECDSA P-256 with SHA-256 (DER).  The app id binds the proof to one app:
 * the caller's id comes from its evidence, so another app cannot have a key
 * certified that it only saw. */
#ifndef COMMON_WIRE_SIGNCERT_H
#define COMMON_WIRE_SIGNCERT_H

#include <assert.h>

#include "common/base/wr.h"
#include "common/crypto/p256.h"

#define SIGNCERT_CONTEXT "devproof-kms/sign-cert/v1"
#define SIGNCERT_LEN (sizeof(SIGNCERT_CONTEXT) - 1 + 20 + P256_SPKI_LEN)

static inline void
signcert_message(uint8_t out[static SIGNCERT_LEN],
    const uint8_t app_id[static 20], const uint8_t spki[static P256_SPKI_LEN])
{
	struct wr w = { .p = out, .cap = SIGNCERT_LEN };

	wr_str(&w, SIGNCERT_CONTEXT);
	wr_bytes(&w, app_id, 20);
	wr_bytes(&w, spki, P256_SPKI_LEN);
	assert(wr_ok(&w) && w.len == SIGNCERT_LEN);
}

#endif
