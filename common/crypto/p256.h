/* p256: NIST P-256 keys and ECDSA with SHA-256, over OpenSSL.
 *
 * Raw signatures are big-endian r32 || s32 (as quotes and signed collateral
 * carry them); `der` forms are ASN.1. */
#ifndef COMMON_CRYPTO_P256_H
#define COMMON_CRYPTO_P256_H

#include <stdbool.h>
#include <stdint.h>

#include <openssl/types.h>

#include "common/base/buf.h"

#define P256_SPKI_LEN 91 /* SubjectPublicKeyInfo, uncompressed point */
#define P256_PKCS8_LEN 138 /* PKCS#8 v1 with public key: dstack-compat 2.1 */

struct p256_secret {
	uint8_t b[32]; /* big-endian scalar, 0 < s < n */
};
struct p256_pub {
	uint8_t xy[64]; /* x || y, a point of the curve once parsed */
};

void p256_secret_wipe(struct p256_secret *s);
/* p256_secret_valid: 0 < s < n. */
bool p256_secret_valid(const struct p256_secret *s);
void p256_generate(struct p256_secret *s);

/* p256_pubkey: ERR_MALFORMED for an invalid scalar. */
enum err p256_pubkey(struct p256_pub *out, const struct p256_secret *s);
/* p256_pub_check: ERR_MALFORMED unless x || y is on the curve. */
enum err p256_pub_check(const struct p256_pub *pub);

/* The caller owns the result (EVP_PKEY_free); NULL if the key is invalid. */
EVP_PKEY *p256_evp_secret(const struct p256_secret *s);
EVP_PKEY *p256_evp_public(const struct p256_pub *pub);

/* Fixed DER forms; *_parse is strict and ERR_MALFORMED otherwise. */
enum err p256_spki(
    uint8_t out[static P256_SPKI_LEN], const struct p256_pub *pub);
enum err p256_spki_parse(struct p256_pub *out, const uint8_t *in, size_t len);
/* The bytes hold the secret: wipe them. */
enum err p256_pkcs8(
    uint8_t out[static P256_PKCS8_LEN], const struct p256_secret *s);

/* ECDSA over SHA-256 of the message; random nonce. */
enum err p256_sign_raw(uint8_t out[static 64], const struct p256_secret *s,
    const void *msg, size_t len);
/* ERR_AUTH: does not verify; ERR_MALFORMED: key not on the curve. */
enum err p256_verify_raw(const struct p256_pub *pub,
    const uint8_t sig[static 64], const void *msg, size_t len);
/* As above with a key that is ready (saves building it). */
enum err p256_verify_raw_evp(
    EVP_PKEY *key, const uint8_t sig[static 64], const void *msg, size_t len);
enum err p256_verify_der_evp(EVP_PKEY *key, const uint8_t *sig, size_t sig_len,
    const void *msg, size_t len);
/* ASN.1 signature of at most 80 bytes. */
enum err p256_sign_der(uint8_t out[static 80], size_t *out_len,
    const struct p256_secret *s, const void *msg, size_t len);
enum err p256_verify_der(const struct p256_pub *pub, const uint8_t *sig,
    size_t sig_len, const void *msg, size_t len);

#endif
