/* k256: secp256k1 keys and ECDSA, over libsecp256k1.
 *
 * Signatures are low-S with RFC 6979 nonces (HMAC-SHA-256), so they are
 * byte-exact reproducible.  SIG65 is r32 || s32 || v with v = 0 or 1, over
 * keccak256 of the message: dstack-compat.md 2.1. */
#ifndef COMMON_CRYPTO_K256_H
#define COMMON_CRYPTO_K256_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/buf.h"

struct k256_secret {
	uint8_t b[32]; /* big-endian scalar, 0 < s < n */
};
struct k256_pub {
	uint8_t b[33]; /* SEC1 compressed */
};
struct k256_sig65 {
	uint8_t b[65];
};

/* k256_secret_valid: 0 < s < n. */
bool k256_secret_valid(const struct k256_secret *s);
void k256_secret_wipe(struct k256_secret *s);
/* k256_generate fills `s` with a random valid scalar. */
void k256_generate(struct k256_secret *s);

/* k256_pubkey: ERR_MALFORMED if `s` is not a valid scalar. */
enum err k256_pubkey(struct k256_pub *out, const struct k256_secret *s);
/* k256_pub_parse reads a 33- or 65-byte SEC1 point; ERR_MALFORMED. */
enum err k256_pub_parse(struct k256_pub *out, const uint8_t *in, size_t len);
/* k256_pub_uncompressed writes 04 || X || Y; ERR_MALFORMED for a bad key. */
enum err k256_pub_uncompressed(
    uint8_t out[static 65], const struct k256_pub *pub);
/* k256_address: last 20 bytes of keccak256(X || Y). */
enum err k256_address(uint8_t out[static 20], const struct k256_pub *pub);

/* k256_sign_digest signs a 32-byte digest, recoverable. */
enum err k256_sign_digest(struct k256_sig65 *out, const struct k256_secret *s,
    const uint8_t digest[static 32]);
/* k256_sign65 signs keccak256 of the concatenated parts (SIG65). */
enum err k256_sign65(struct k256_sig65 *out, const struct k256_secret *s,
    const struct bytes *part, size_t n);

/* k256_recover_digest: v may be 0, 1, 27 or 28; high-S and anything else
 * is ERR_MALFORMED; a signature that recovers no key is ERR_AUTH. */
enum err k256_recover_digest(struct k256_pub *out, const struct k256_sig65 *sig,
    const uint8_t digest[static 32]);
enum err k256_recover65(struct k256_pub *out, const struct k256_sig65 *sig,
    const struct bytes *part, size_t n);

/* k256_verify_digest checks a 64-byte r || s; high-S is ERR_AUTH.
 * ERR_MALFORMED: r or s out of range, or a bad key. */
enum err k256_verify_digest(const struct k256_pub *pub,
    const uint8_t sig[static 64], const uint8_t digest[static 32]);

#endif
