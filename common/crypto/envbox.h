/* envbox: an app's encrypted environment, and the signature over the key that
 * it is made with: dstack-compat.md 2.3 and 2.4.
 *
 *   blob = ephemeral X25519 public key 32 | IV 12 | AES-256-GCM | tag 16
 *   key  = X25519(secret, public) as it is, no KDF; no associated data
 *
 * It does not say whom it is for, nor by whom it is: whoever knows the public
 * key can make one. */
#ifndef COMMON_CRYPTO_ENVBOX_H
#define COMMON_CRYPTO_ENVBOX_H

#include "common/crypto/k256.h"

#define ENVBOX_PUB 32
#define ENVBOX_IV 12
#define ENVBOX_OVERHEAD (ENVBOX_PUB + ENVBOX_IV + 16)

/* envbox_seal replaces `out` by the blob of (plain), with a fresh key and IV.
 * ERR_AUTH: `pub` is a point of low order; ERR_LIMIT: over INT32_MAX. */
enum err envbox_seal(
    struct buf *out, const uint8_t pub[static 32], struct bytes plain);
/* The same with an ephemeral secret and an IV of the caller's choice, which
 * must never be used twice: for vectors. */
enum err envbox_seal_with(struct buf *out, const uint8_t pub[static 32],
    const uint8_t secret[static 32], const uint8_t iv[static ENVBOX_IV],
    struct bytes plain);

/* envbox_open replaces `out` by the plaintext: secrets, buf_wipe it.
 * ERR_MALFORMED: too short, or too long; ERR_AUTH: another key's, altered, or
 * the shared secret is all zero. */
enum err envbox_open(
    struct buf *out, const uint8_t secret[static 32], struct bytes blob);

/* envbox_signer recovers who signed the env key of an app: SIG65 over
 *   "dstack-env-encrypt-pubkey:" || app id || [u64be timestamp ||] public key
 * `timestamp` NULL: the form without it.  Errors as k256_recover65. */
enum err envbox_signer(struct k256_pub *out, const struct k256_sig65 *sig,
    const uint8_t app_id[static 20], const uint64_t *timestamp,
    const uint8_t pub[static 32]);

#endif
