#include <string.h>

#include "common/base/hex.h"

char *
hex_encode(char *out, const uint8_t *in, size_t len)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < len; i++) {
		out[2 * i] = digits[in[i] >> 4];
		out[2 * i + 1] = digits[in[i] & 15];
	}
	out[2 * len] = '\0';
	return out;
}

static int
nibble(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

enum err
hex_decode(
    uint8_t *out, size_t cap, size_t *out_len, const char *str, size_t str_len)
{
	if (str_len % 2 != 0)
		return ERR_MALFORMED;
	if (str_len / 2 > cap)
		return ERR_LIMIT;
	for (size_t i = 0; i < str_len / 2; i++) {
		int hi = nibble(str[2 * i]);
		int lo = nibble(str[2 * i + 1]);

		if (hi < 0 || lo < 0)
			return ERR_MALFORMED;
		out[i] = (uint8_t)(hi << 4 | lo);
	}
	*out_len = str_len / 2;
	return ERR_OK;
}

const char *
hex_skip_0x(const char *str)
{
	return str[0] == '0' && (str[1] == 'x' || str[1] == 'X') ? str + 2
								 : str;
}

enum err
hex_fixed(uint8_t *out, size_t len, const char *str)
{
	size_t got;

	str = hex_skip_0x(str);
	if (strlen(str) != 2 * len)
		return ERR_MALFORMED;
	return hex_decode(out, len, &got, str, 2 * len);
}
