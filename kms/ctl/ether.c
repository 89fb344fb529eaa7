#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "kms/ctl/ether.h"

#define WEI 1000000000000000000u
#define DECIMALS 18u

/* Appends decimal digits to `*v`. */
static enum err
digits(uint64_t *v, const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		uint64_t d = (uint64_t)(s[i] - '0');

		if (s[i] < '0' || s[i] > '9')
			return ERR_MALFORMED;
		if (*v > (UINT64_MAX - d) / 10)
			return ERR_LIMIT;
		*v = *v * 10 + d;
	}
	return ERR_OK;
}

enum err
ether_parse(uint64_t *wei, const char *text)
{
	size_t whole = strcspn(text, "."), part = 0;
	uint64_t v = 0;
	enum err e;

	if (text[whole] == '.' && (part = strlen(text + whole + 1)) == 0)
		return ERR_MALFORMED;
	if (whole == 0 || part > DECIMALS)
		return ERR_MALFORMED;
	if ((e = digits(&v, text, whole)) != ERR_OK ||
	    (e = digits(&v, text + whole + 1, part)) != ERR_OK ||
	    (e = digits(&v, "000000000000000000", DECIMALS - part)) != ERR_OK)
		return e;
	*wei = v;
	return ERR_OK;
}

void
ether_text(char out[static ETHER_TEXT], uint64_t wei)
{
	int n = snprintf(
	    out, ETHER_TEXT, "%" PRIu64 ".%018" PRIu64, wei / WEI, wei % WEI);

	while (out[n - 1] == '0')
		out[--n] = '\0';
	if (out[n - 1] == '.')
		out[n - 1] = '\0';
}
