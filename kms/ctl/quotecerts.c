#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <openssl/bn.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include "kms/ctl/quotecerts.h"

static void
name_of(char out[static QUOTECERTS_NAME], const X509_NAME *name)
{
	int i = X509_NAME_get_index_by_NID(name, NID_commonName, -1);
	const ASN1_STRING *s;
	size_t n;

	out[0] = '\0';
	if (i < 0)
		return;
	s = X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, i));
	n = (size_t)ASN1_STRING_length(s);
	n = n < QUOTECERTS_NAME ? n : QUOTECERTS_NAME - 1;
	for (size_t k = 0; k < n; k++) {
		uint8_t c = ASN1_STRING_get0_data(s)[k];

		out[k] = c >= 0x20 && c < 0x7f ? (char)c : '?';
	}
	out[n] = '\0';
}

static int64_t
time_of(const ASN1_TIME *t)
{
	struct tm tm;

	return t != NULL && ASN1_TIME_to_tm(t, &tm) == 1 ? timegm(&tm) : 0;
}

static void
serial_of(char out[static QUOTECERTS_SERIAL], const X509 *x)
{
	BIGNUM *n = ASN1_INTEGER_to_BN(X509_get0_serialNumber(x), NULL);
	char *hex = n != NULL ? BN_bn2hex(n) : NULL;
	size_t len = hex != NULL ? strlen(hex) : 0;

	len = len < QUOTECERTS_SERIAL ? len : QUOTECERTS_SERIAL - 1;
	if (len > 0)
		memcpy(out, hex, len);
	out[len] = '\0';
	OPENSSL_free(hex);
	BN_free(n);
}

static void
facts_of(struct cert_facts *out, const X509 *x)
{
	name_of(out->subject, X509_get_subject_name(x));
	name_of(out->issuer, X509_get_issuer_name(x));
	serial_of(out->serial, x);
	out->from = time_of(X509_get0_notBefore(x));
	out->until = time_of(X509_get0_notAfter(x));
}

size_t
quotecerts_pem(struct cert_facts *out, size_t max, struct bytes pem)
{
	BIO *bio;
	size_t n = 0;
	X509 *x;

	if (pem.len == 0 || pem.len > INT_MAX ||
	    (bio = BIO_new_mem_buf(pem.p, (int)pem.len)) == NULL)
		return 0;
	while (
	    n < max && (x = PEM_read_bio_X509(bio, NULL, NULL, NULL)) != NULL) {
		facts_of(&out[n++], x);
		X509_free(x);
	}
	ERR_clear_error();
	BIO_free(bio);
	return n;
}

enum err
quotecerts_der(struct cert_facts *out, struct bytes der)
{
	const uint8_t *p = der.p;
	X509 *x = der.len > LONG_MAX ? NULL : d2i_X509(NULL, &p, (long)der.len);

	ERR_clear_error();
	if (x == NULL)
		return ERR_MALFORMED;
	facts_of(out, x);
	X509_free(x);
	return ERR_OK;
}

enum err
quotecerts_crl(struct crl_facts *out, struct bytes der)
{
	const uint8_t *p = der.p;
	X509_CRL *x =
	    der.len > LONG_MAX ? NULL : d2i_X509_CRL(NULL, &p, (long)der.len);

	ERR_clear_error();
	if (x == NULL)
		return ERR_MALFORMED;
	name_of(out->issuer, X509_CRL_get_issuer(x));
	out->from = time_of(X509_CRL_get0_lastUpdate(x));
	out->until = time_of(X509_CRL_get0_nextUpdate(x));
	out->n_revoked = sk_X509_REVOKED_num(X509_CRL_get_REVOKED(x));
	out->n_revoked = out->n_revoked < 0 ? 0 : out->n_revoked;
	X509_CRL_free(x);
	return ERR_OK;
}

enum err
quotecerts_to_der(struct buf *out, struct bytes file)
{
	uint8_t *der = NULL;
	BIO *bio = NULL;
	X509 *x = NULL;
	enum err e = ERR_MALFORMED;
	int len;

	if (memmem(file.p, file.len, "-----BEGIN", 10) == NULL)
		return buf_set(out, file.p, file.len);
	if (file.len > INT_MAX ||
	    (bio = BIO_new_mem_buf(file.p, (int)file.len)) == NULL ||
	    (x = PEM_read_bio_X509(bio, NULL, NULL, NULL)) == NULL ||
	    (len = i2d_X509(x, &der)) <= 0)
		goto done;
	e = buf_set(out, der, (size_t)len);
done:
	ERR_clear_error();
	OPENSSL_free(der);
	X509_free(x);
	BIO_free(bio);
	return e;
}
