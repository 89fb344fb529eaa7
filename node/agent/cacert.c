#include <string.h>

#include <openssl/x509.h>
#include <sodium.h>

#include "common/base/limits.h"
#include "common/base/secret.h"

#include "node/agent/cacert.h"

#define PEM_LINE 64 /* RFC 7468 */

/* Exactly one certificate, or NULL. */
static X509 *
parse(struct bytes der)
{
	const unsigned char *p = der.p;
	X509 *x;

	if (der.len == 0 || der.len > LIMIT_COLLATERAL)
		return NULL;
	x = d2i_X509(NULL, &p, (long)der.len);
	if (x != NULL && p != der.p + der.len) {
		X509_free(x);
		x = NULL;
	}
	return x;
}

static enum err
spki_of(uint8_t out[static P256_SPKI_LEN], X509 *x)
{
	struct p256_pub pub;
	unsigned char *der = NULL;
	int len = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(x), &der);
	enum err e = ERR_MALFORMED;

	/* The parser insists on the one form that dstack's ids have. */
	if (len == P256_SPKI_LEN &&
	    (e = p256_spki_parse(&pub, der, P256_SPKI_LEN)) == ERR_OK)
		memcpy(out, der, P256_SPKI_LEN);
	OPENSSL_free(der);
	return e;
}

enum err
cacert_spki(uint8_t out[static P256_SPKI_LEN], struct bytes der)
{
	X509 *x = parse(der);
	enum err e = x == NULL ? ERR_MALFORMED : spki_of(out, x);

	X509_free(x);
	return e;
}

enum err
cacert_chain(const struct buf chain[static 3],
    const uint8_t leaf[static P256_SPKI_LEN],
    const uint8_t root[static P256_SPKI_LEN])
{
	X509 *x[3] = { NULL };
	uint8_t spki[P256_SPKI_LEN];
	enum err e = ERR_MALFORMED;

	for (size_t i = 0; i < 3; i++)
		if ((x[i] = parse(buf_view(&chain[i]))) == NULL)
			goto done;
	if ((e = spki_of(spki, x[0])) != ERR_OK)
		goto done;
	e = ERR_AUTH;
	if (memcmp(spki, leaf, sizeof spki) != 0)
		goto done;
	for (size_t i = 0; i < 3; i++) {
		X509 *issuer = x[i < 2 ? i + 1 : 2];

		if (X509_NAME_cmp(X509_get_issuer_name(x[i]),
			X509_get_subject_name(issuer)) != 0 ||
		    X509_verify(x[i], X509_get0_pubkey(issuer)) != 1)
			goto done;
	}
	if ((e = spki_of(spki, x[2])) != ERR_OK)
		goto done;
	e = memcmp(spki, root, sizeof spki) == 0 ? ERR_OK : ERR_AUTH;
done:
	for (size_t i = 0; i < 3; i++)
		X509_free(x[i]);
	return e;
}

size_t
cacert_pem_len(const char *label, size_t der_len)
{
	size_t n = (der_len + 2) / 3 * 4;

	return n + (n + PEM_LINE - 1) / PEM_LINE + 2 * strlen(label) +
	    sizeof("-----BEGIN -----\n-----END -----\n") - 1;
}

enum err
cacert_pem(struct buf *out, const char *label, struct bytes der)
{
	enum err e = buf_printf(out, "-----BEGIN %s-----\n", label);
	char line[PEM_LINE + 1];

	for (size_t i = 0; e == ERR_OK && i < der.len; i += PEM_LINE / 4 * 3) {
		size_t n = der.len - i;

		if (n > PEM_LINE / 4 * 3)
			n = PEM_LINE / 4 * 3;
		/* Not OpenSSL's encoder: that one looks keys up in a table. */
		(void)sodium_bin2base64(line, sizeof line, der.p + i, n,
		    sodium_base64_VARIANT_ORIGINAL);
		e = buf_append(out, line, strlen(line), SIZE_MAX);
		if (e == ERR_OK)
			e = buf_append(out, "\n", 1, SIZE_MAX);
	}
	secret_wipe(line, sizeof line);
	return e == ERR_OK ? buf_printf(out, "-----END %s-----\n", label) : e;
}
