/* p384: ECDSA on NIST P-384 with SHA-384, verification only, over OpenSSL.
 *
 * AMD's and AWS's hardware signs with it; we never do. */
#ifndef COMMON_CRYPTO_P384_H
#define COMMON_CRYPTO_P384_H

#include <stdint.h>

#include <openssl/types.h>

#include "common/base/err.h"

#define P384_SIG_LEN 96 /* big-endian r48 || s48 */

/* p384_verify_digest verifies `sig` over a SHA-384 digest.  `key` is a key
 * on P-384.  ERR_AUTH: does not verify; ERR_NOMEM. */
enum err p384_verify_digest(EVP_PKEY *key,
    const uint8_t sig[static P384_SIG_LEN], const uint8_t digest[static 48]);

#endif
