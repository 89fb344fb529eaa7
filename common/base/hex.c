#include <stdbool.h>
#include <string.h>

#include "common/base/ct.h"
#include "common/base/hex.h"

/* Both ways keys go through here: no branch and no table looks at a digit,
 * only at whether there is one that is none. */

static char
digit(unsigned v)
{
	/* 9 - v wraps for the letters, which are 39 further on. */
	return (char)('0' + v + ((9 - v) >> 8 & 39));
}

char *
hex_encode(char *out, const uint8_t *in, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		out[2 * i] = digit(in[i] >> 4u);
		out[2 * i + 1] = digit(in[i] & 15u);
	}
	out[2 * len] = '\0';
	return out;
}

/* 1 if v < n, for small n: also when v is a difference that has wrapped. */
static unsigned
below(unsigned v, unsigned n)
{
	return ((v - n) & ~v) >> 31;
}

static unsigned
nibble(char c, unsigned *bad)
{
	unsigned number = (unsigned char)c - (unsigned)'0';
	unsigned letter = ((unsigned char)c | 32u) - 'a';
	unsigned is_number = below(number, 10), is_letter = below(letter, 6);

	*bad |= 1 ^ (is_number | is_letter);
	return ((0 - is_number) & number) | ((0 - is_letter) & (letter + 10));
}

enum err
hex_decode(
    uint8_t *out, size_t cap, size_t *out_len, const char *str, size_t str_len)
{
	unsigned bad = 0;

	if (str_len % 2 != 0)
		return ERR_MALFORMED;
	if (str_len / 2 > cap)
		return ERR_LIMIT;
	for (size_t i = 0; i < str_len / 2; i++)
		out[i] = (uint8_t)(nibble(str[2 * i], &bad) << 4 |
		    nibble(str[2 * i + 1], &bad));
	CT_PUBLIC(bad); /* The caller is told; of a key it is always 0. */
	if (bad != 0)
		return ERR_MALFORMED;
	*out_len = str_len / 2;
	return ERR_OK;
}

const char *
hex_skip_0x(const char *str)
{
	bool empty = str[0] == '\0', x;

	CT_PUBLIC(empty);
	if (empty)
		return str;
	/* This one first: it is the same for every digit of a key. */
	x = str[1] == 'x' || str[1] == 'X';
	CT_PUBLIC(x);
	return x && str[0] == '0' ? str + 2 : str;
}

enum err
hex_fixed(uint8_t *out, size_t len, const char *str)
{
	size_t got, n = strlen(str);

	if (n == 2 * len + 2) {
		str = hex_skip_0x(str);
		n = strlen(str);
	}
	if (n != 2 * len)
		return ERR_MALFORMED;
	return hex_decode(out, len, &got, str, n);
}
