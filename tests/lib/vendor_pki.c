#include <assert.h>
#include <string.h>

#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>

#include "tests/lib/vendor_pki.h"

/* Shorter than AMD's 4096: made anew by every test process. */
#define RSA_BITS 2048

EVP_PKEY *
vendor_rsa(void)
{
	EVP_PKEY *k = EVP_RSA_gen(RSA_BITS);

	assert(k != NULL);
	return k;
}

EVP_PKEY *
vendor_ec(const char *curve)
{
	EVP_PKEY *k = EVP_EC_gen(curve);

	assert(k != NULL);
	return k;
}

static const EVP_MD *
md_of(enum vendor_alg alg)
{
	return alg == VENDOR_PSS_SHA256 || alg == VENDOR_ECDSA_SHA256
	    ? EVP_sha256()
	    : EVP_sha384();
}

static EVP_MD_CTX *
signer(EVP_PKEY *key, enum vendor_alg alg)
{
	EVP_MD_CTX *c = EVP_MD_CTX_new();
	EVP_PKEY_CTX *k;
	bool pss = alg == VENDOR_PSS_SHA384 || alg == VENDOR_PSS_SHA256 ||
	    alg == VENDOR_PSS_SHORT_SALT;

	assert(
	    c != NULL && EVP_DigestSignInit(c, &k, md_of(alg), NULL, key) == 1);
	if (pss) {
		assert(EVP_PKEY_CTX_set_rsa_padding(k, RSA_PKCS1_PSS_PADDING) ==
		    1);
		assert(EVP_PKEY_CTX_set_rsa_pss_saltlen(k,
			   alg == VENDOR_PSS_SHORT_SALT
			       ? 20
			       : EVP_MD_get_size(md_of(alg))) == 1);
	}
	return c;
}

static void
add_conf(X509 *x, int nid, const char *value)
{
	X509V3_CTX v3;
	X509_EXTENSION *e;

	X509V3_set_ctx_nodb(&v3);
	X509V3_set_ctx(&v3, NULL, x, NULL, NULL, 0);
	e = X509V3_EXT_conf_nid(NULL, &v3, nid, value);
	assert(e != NULL && X509_add_ext(x, e, -1) == 1);
	X509_EXTENSION_free(e);
}

static void
add_raw(X509 *x, const char *oid, bool critical, const void *p, size_t len)
{
	ASN1_OBJECT *o = OBJ_txt2obj(oid, 1);
	ASN1_OCTET_STRING *v = ASN1_OCTET_STRING_new();
	X509_EXTENSION *e;

	assert(o != NULL && v != NULL &&
	    ASN1_OCTET_STRING_set(v, p, (int)len) == 1);
	e = X509_EXTENSION_create_by_OBJ(NULL, o, critical, v);
	assert(e != NULL && X509_add_ext(x, e, -1) == 1);
	X509_EXTENSION_free(e);
	ASN1_OCTET_STRING_free(v);
	ASN1_OBJECT_free(o);
}

static void
add_name(X509_NAME *n, const char *cn)
{
	assert(X509_NAME_add_entry_by_txt(n, "O", MBSTRING_ASC,
		   (const uint8_t *)"Test vendor", -1, -1, 0) == 1);
	assert(X509_NAME_add_entry_by_txt(
		   n, "CN", MBSTRING_ASC, (const uint8_t *)cn, -1, -1, 0) == 1);
}

static void
add_extensions(X509 *x, const struct vendor_cert *c)
{
	const char *constraints = c->constraints, *usage = c->usage;

	if (c->ca && constraints == NULL)
		constraints = "critical,CA:TRUE";
	if (c->ca && usage == NULL)
		usage = "critical,keyCertSign,cRLSign";
	if (constraints != NULL && constraints[0] != '\0')
		add_conf(x, NID_basic_constraints, constraints);
	if (usage != NULL && usage[0] != '\0')
		add_conf(x, NID_key_usage, usage);
	if (c->unknown_critical != NULL)
		add_raw(x, c->unknown_critical, true, "\x05\x00", 2);
	for (size_t i = 0; i < c->n_ext; i++)
		add_raw(x, c->ext[i].oid, false, c->ext[i].der, c->ext[i].len);
}

/* Takes `p`. */
static void
keep_der(struct buf *out, uint8_t *p, int len)
{
	assert(len > 0 && buf_set(out, p, (size_t)len) == ERR_OK);
	OPENSSL_free(p);
}

void
vendor_cert_der(struct buf *der, const struct vendor_cert *c)
{
	EVP_MD_CTX *md = signer(c->issuer_key, c->alg);
	X509 *x = X509_new();
	uint8_t *p = NULL;
	int len;

	assert(x != NULL && X509_set_version(x, X509_VERSION_3) == 1);
	assert(ASN1_INTEGER_set(X509_get_serialNumber(x), c->serial) == 1);
	assert(ASN1_TIME_set(X509_getm_notBefore(x), (time_t)c->from) != NULL);
	assert(ASN1_TIME_set(X509_getm_notAfter(x), (time_t)c->until) != NULL);
	add_name(X509_get_subject_name(x), c->subject);
	add_name(X509_get_issuer_name(x), c->issuer);
	assert(X509_set_pubkey(x, c->key) == 1);
	add_extensions(x, c);
	assert(X509_sign_ctx(x, md) > 0);
	len = i2d_X509(x, &p);
	keep_der(der, p, len);
	X509_free(x);
	EVP_MD_CTX_free(md);
}

void
vendor_crl_der(struct buf *der, const char *issuer, EVP_PKEY *key, int64_t from,
    int64_t until, long serial)
{
	EVP_MD_CTX *md = signer(key, VENDOR_PSS_SHA384);
	X509_CRL *crl = X509_CRL_new();
	X509_NAME *name = X509_NAME_new();
	ASN1_TIME *t1 = ASN1_TIME_set(NULL, (time_t)from);
	ASN1_TIME *t2 = ASN1_TIME_set(NULL, (time_t)until);
	uint8_t *p = NULL;
	int len;

	assert(crl != NULL && name != NULL && t1 != NULL && t2 != NULL);
	add_name(name, issuer);
	assert(X509_CRL_set_version(crl, X509_CRL_VERSION_2) == 1 &&
	    X509_CRL_set_issuer_name(crl, name) == 1 &&
	    X509_CRL_set1_lastUpdate(crl, t1) == 1 &&
	    X509_CRL_set1_nextUpdate(crl, t2) == 1);
	if (serial != 0) {
		X509_REVOKED *r = X509_REVOKED_new();
		ASN1_INTEGER *n = ASN1_INTEGER_new();

		assert(r != NULL && n != NULL &&
		    ASN1_INTEGER_set(n, serial) == 1 &&
		    X509_REVOKED_set_serialNumber(r, n) == 1 &&
		    X509_REVOKED_set_revocationDate(r, t1) == 1 &&
		    X509_CRL_add0_revoked(crl, r) == 1);
		ASN1_INTEGER_free(n);
	}
	assert(X509_CRL_sign_ctx(crl, md) > 0);
	len = i2d_X509_CRL(crl, &p);
	keep_der(der, p, len);
	ASN1_TIME_free(t1);
	ASN1_TIME_free(t2);
	X509_NAME_free(name);
	X509_CRL_free(crl);
	EVP_MD_CTX_free(md);
}

void
vendor_sign(uint8_t rs[static 96], EVP_PKEY *key, const void *msg, size_t len)
{
	EVP_MD_CTX *c = signer(key, VENDOR_ECDSA_SHA384);
	uint8_t der[160];
	const uint8_t *q = der;
	size_t n = sizeof der;
	ECDSA_SIG *s;

	assert(EVP_DigestSign(c, der, &n, msg, len) == 1);
	s = d2i_ECDSA_SIG(NULL, &q, (long)n);
	assert(s != NULL && BN_bn2binpad(ECDSA_SIG_get0_r(s), rs, 48) == 48 &&
	    BN_bn2binpad(ECDSA_SIG_get0_s(s), rs + 48, 48) == 48);
	ECDSA_SIG_free(s);
	EVP_MD_CTX_free(c);
}

size_t
vendor_pem(struct buf *der, size_t cap, struct bytes pem)
{
	BIO *b = BIO_new_mem_buf(pem.p, (int)pem.len);
	size_t n = 0;
	X509 *x;

	assert(b != NULL);
	while (
	    n < cap && (x = PEM_read_bio_X509(b, NULL, NULL, NULL)) != NULL) {
		uint8_t *p = NULL;
		int len = i2d_X509(x, &p);

		keep_der(&der[n++], p, len);
		X509_free(x);
	}
	BIO_free(b);
	return n;
}
