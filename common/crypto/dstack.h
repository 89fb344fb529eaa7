/* dstack: the KDF and the signature forms that dstack's keys are built of.
 *
 * dstack-compat.md 2.1 and 2.2; shared by the key service (from the roots
 * down) and the guest agent (from the app key down). */
#ifndef COMMON_CRYPTO_DSTACK_H
#define COMMON_CRYPTO_DSTACK_H

#include "common/crypto/k256.h"
#include "common/crypto/p256.h"

/* dstack_kdf: HKDF-SHA256, salt "RATLS", info = the concatenated parts. */
enum err dstack_kdf(uint8_t out[static 32], const uint8_t ikm[static 32],
    const struct bytes *info, size_t n);
/* P256(ikm, info): ERR_MALFORMED if the result is no scalar (no retry). */
enum err dstack_kdf_p256(struct p256_secret *out, const uint8_t ikm[static 32],
    const struct bytes *info, size_t n);
/* DH(ikm, info) = SHA-256 of the PKCS#8 DER of P256(ikm, info). */
enum err dstack_kdf_dh(uint8_t out[static 32], const uint8_t ikm[static 32],
    const struct bytes *info, size_t n);

/* Link 1: SIG65(root, "dstack-kms-issued:" || app_id || app pub). */
enum err dstack_sign_app(struct k256_sig65 *out, const struct k256_secret *root,
    const uint8_t app_id[static 20], const struct k256_pub *app);
enum err dstack_recover_app(struct k256_pub *root, const struct k256_sig65 *sig,
    const uint8_t app_id[static 20], const struct k256_pub *app);

/* Link 0: SIG65(app key, purpose || ":" || hex(public key)); the public key
 * is 33 bytes (secp256k1) or 32 (ed25519). */
enum err dstack_sign_purpose(struct k256_sig65 *out,
    const struct k256_secret *app, const char *purpose, struct bytes pub);
enum err dstack_recover_purpose(struct k256_pub *app,
    const struct k256_sig65 *sig, const char *purpose, struct bytes pub);

#endif
