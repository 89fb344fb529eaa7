/* keccak: the original Keccak[c=512] with 256-bit output (padding 0x01),
 * as Ethereum uses it.  Debian 12's OpenSSL has only FIPS 202's SHA-3. */
#ifndef COMMON_CRYPTO_KECCAK_H
#define COMMON_CRYPTO_KECCAK_H

#include "common/base/buf.h"

void keccak256(uint8_t out[static 32], const void *in, size_t len);
void keccak256_v(uint8_t out[static 32], const struct bytes *part, size_t n);

#endif
