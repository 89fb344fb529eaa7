/* keccak: the original Keccak (padding 0x01): with 256 bits as Ethereum uses
 * it, with more as dstack's tappd offers it.  Debian 12's OpenSSL has only
 * FIPS 202's SHA-3. */
#ifndef COMMON_CRYPTO_KECCAK_H
#define COMMON_CRYPTO_KECCAK_H

#include "common/base/buf.h"

void keccak256(uint8_t out[static 32], const void *in, size_t len);
void keccak256_v(uint8_t out[static 32], const struct bytes *part, size_t n);
void keccak384_v(uint8_t out[static 48], const struct bytes *part, size_t n);
void keccak512_v(uint8_t out[static 64], const struct bytes *part, size_t n);

#endif
