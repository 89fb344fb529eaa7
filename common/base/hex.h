/* hex: lowercase hexadecimal text. */
#ifndef COMMON_BASE_HEX_H
#define COMMON_BASE_HEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/err.h"

/* hex_encode writes 2 * len digits and a NUL to `out`; returns `out`. */
char *hex_encode(char *out, const uint8_t *in, size_t len);

/* hex_decode reads exactly `str_len` digits (either case, no prefix).
 * `*out_len` is set on success.  ERR_MALFORMED: odd length or a non-digit;
 * ERR_LIMIT: more than `cap` bytes.  `out` may be written on failure. */
enum err hex_decode(
    uint8_t *out, size_t cap, size_t *out_len, const char *str, size_t str_len);

/* hex_fixed decodes a NUL-terminated string, with or without "0x", into
 * exactly `len` bytes; ERR_MALFORMED otherwise. */
enum err hex_fixed(uint8_t *out, size_t len, const char *str);

/* hex_skip_0x returns `str` behind an optional "0x". */
const char *hex_skip_0x(const char *str);

#endif
