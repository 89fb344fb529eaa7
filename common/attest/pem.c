#include <string.h>

#include <openssl/evp.h>

#include "common/attest/pem.h"

#define PEM_BEGIN "-----BEGIN CERTIFICATE-----"
#define PEM_END "-----END CERTIFICATE-----"

enum err
pem_next(uint8_t der[static LIMIT_CERT], size_t *der_len, struct bytes *pem)
{
	static const char space[] = " \t\r\n";
	const size_t begin_len = sizeof PEM_BEGIN - 1;
	EVP_ENCODE_CTX *ctx = NULL;
	const uint8_t *body, *end;
	int n = 0, tail = 0;
	enum err e = ERR_MALFORMED;

	while (pem->len > 0 && memchr(space, pem->p[0], sizeof space)) {
		pem->p++;
		pem->len--;
	}
	if (pem->len == 0)
		return ERR_NOTFOUND;
	if (pem->len < begin_len || memcmp(pem->p, PEM_BEGIN, begin_len) != 0)
		return ERR_MALFORMED;
	body = pem->p + begin_len;
	end = memmem(body, pem->len - begin_len, PEM_END, sizeof PEM_END - 1);
	/* Three bytes out of four, so the result fits; the decoder takes a
	 * dash for an end, so refuse dashes. */
	if (end == NULL || (size_t)(end - body) > LIMIT_CERT ||
	    memchr(body, '-', (size_t)(end - body)) != NULL)
		return ERR_MALFORMED;
	if ((ctx = EVP_ENCODE_CTX_new()) == NULL)
		return ERR_NOMEM;
	EVP_DecodeInit(ctx);
	if (EVP_DecodeUpdate(ctx, der, &n, body, (int)(end - body)) >= 0 &&
	    EVP_DecodeFinal(ctx, der + n, &tail) == 1) {
		*der_len = (size_t)n + (size_t)tail;
		pem->len -= (size_t)(end - pem->p) + sizeof PEM_END - 1;
		pem->p = end + sizeof PEM_END - 1;
		e = ERR_OK;
	}
	EVP_ENCODE_CTX_free(ctx);
	return e;
}
