/* hash: SHA-2, SHA-3, HMAC and HKDF.
 *
 * The `_v` forms hash the concatenation of `n` parts.  None allocates, none
 * can fail, and none leaves anything of its input behind. */
#ifndef COMMON_CRYPTO_HASH_H
#define COMMON_CRYPTO_HASH_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/buf.h"

#define SHA256_LEN 32
#define SHA384_LEN 48
#define SHA512_LEN 64

void sha256(uint8_t out[static 32], const void *in, size_t len);
void sha384(uint8_t out[static 48], const void *in, size_t len);
void sha512(uint8_t out[static 64], const void *in, size_t len);

/* For Ethereum's precompile alone. */
void ripemd160(uint8_t out[static 20], const void *in, size_t len);

void sha256_v(uint8_t out[static 32], const struct bytes *part, size_t n);
void sha384_v(uint8_t out[static 48], const struct bytes *part, size_t n);
void sha512_v(uint8_t out[static 64], const struct bytes *part, size_t n);
/* FIPS 202's, by keccak.c; Ethereum's is in keccak.h. */
void sha3_256_v(uint8_t out[static 32], const struct bytes *part, size_t n);
void sha3_384_v(uint8_t out[static 48], const struct bytes *part, size_t n);
void sha3_512_v(uint8_t out[static 64], const struct bytes *part, size_t n);

void hmac_sha256(uint8_t out[static 32], const uint8_t *key, size_t key_len,
    const void *in, size_t len);

/* hkdf_sha256: RFC 5869 extract and expand; info is the concatenation of
 * `n` parts, at most 1 KiB + 4 KiB in all; out_len <= 255 * 32.
 * ERR_LIMIT when over. */
enum err hkdf_sha256(uint8_t *out, size_t out_len, struct bytes salt,
    struct bytes ikm, const struct bytes *info, size_t n);

#endif
