/* Certificates and CRLs as they are parsed, one thing wrong at a time: what
 * test_x509chain, which has whole chains, does not bend. */
#include <string.h>

#include <criterion/criterion.h>

#include <openssl/x509v3.h>

#include "common/attest/cert.h"
#include "common/base/limits.h"

#define NOW 1800000000
#define SGX_OID "1.2.840.113741.1.13.1"
#define KU_CA "critical,keyCertSign,cRLSign"

static EVP_PKEY *key;

static void
setup(void)
{
	key = EVP_EC_gen("P-256");
	cr_assert_not_null(key);
}

static void
teardown(void)
{
	EVP_PKEY_free(key);
}

TestSuite(cert, .init = setup, .fini = teardown);

static void
add_cn(X509_NAME *n, const char *cn)
{
	cr_assert(X509_NAME_add_entry_by_txt(
	    n, "CN", MBSTRING_ASC, (const uint8_t *)cn, -1, -1, 0));
}

static void
add_ext(X509 *x, int nid, const char *value)
{
	X509V3_CTX ctx;
	X509_EXTENSION *e;

	X509V3_set_ctx(&ctx, x, x, NULL, NULL, 0);
	e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	cr_assert_not_null(e, "%s", value);
	cr_assert(X509_add_ext(x, e, -1));
	X509_EXTENSION_free(e);
}

static X509_EXTENSION *
raw_ext(const char *oid, bool critical)
{
	ASN1_OCTET_STRING *v = ASN1_OCTET_STRING_new();
	ASN1_OBJECT *o = OBJ_txt2obj(oid, 1);
	X509_EXTENSION *e;

	cr_assert(ASN1_OCTET_STRING_set(v, (const uint8_t *)"\x05\0", 2));
	e = X509_EXTENSION_create_by_OBJ(NULL, o, critical, v);
	cr_assert_not_null(e);
	ASN1_OBJECT_free(o);
	ASN1_OCTET_STRING_free(v);
	return e;
}

/* A root that cert_parse takes, but for its extensions, and not signed. */
static X509 *
blank(void)
{
	X509 *x = X509_new();

	cr_assert_not_null(x);
	cr_assert(X509_set_version(x, X509_VERSION_3));
	ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
	add_cn(X509_get_subject_name(x), "Root");
	add_cn(X509_get_issuer_name(x), "Root");
	ASN1_TIME_set(X509_getm_notBefore(x), NOW - 1000);
	ASN1_TIME_set(X509_getm_notAfter(x), NOW + 1000);
	X509_set_pubkey(x, key);
	return x;
}

static X509 *
root(void)
{
	X509 *x = blank();

	add_ext(x, NID_basic_constraints, "critical,CA:TRUE");
	add_ext(x, NID_key_usage, KU_CA);
	add_ext(x, NID_subject_key_identifier, "hash");
	return x;
}

static void
sign(struct buf *der, X509 *x)
{
	uint8_t *p = NULL;
	int len;

	cr_assert(X509_sign(x, key, EVP_sha256()));
	len = i2d_X509(x, &p);
	cr_assert_gt(len, 0);
	cr_assert_eq(buf_set(der, p, (size_t)len), ERR_OK);
	OPENSSL_free(p);
}

/* Takes `x`, signs it, and gives what parsing says; a good one is put into
 * `*out` if that is not NULL. */
static enum err
parse(struct cert **out, X509 *x)
{
	struct buf der = { 0 };
	struct cert *c = NULL;
	enum err e;

	sign(&der, x);
	X509_free(x);
	e = cert_parse(&c, buf_view(&der));
	cr_assert((e == ERR_OK) == (c != NULL));
	buf_fini(&der);
	if (out != NULL)
		*out = c;
	else
		cert_free(c);
	return e;
}

Test(cert, good)
{
	struct cert *c;

	cr_assert_eq(parse(&c, root()), ERR_OK);
	cr_assert(cert_is_root(c));
	cr_assert(cert_cn_is(X509_get_subject_name(c->x), "Root"));
	cr_assert_eq(c->not_before, NOW - 1000);
	cert_free(c);
}

/* Critical is what we know, and both of it; a CA has a key identifier. */
Test(cert, extensions)
{
	X509_EXTENSION *e;
	X509 *x;

	x = root();
	add_ext(x, NID_ext_key_usage, "critical,serverAuth");
	cr_assert_eq(parse(NULL, x), ERR_MALFORMED);
	x = root();
	add_ext(x, NID_name_constraints, "critical,permitted;DNS:example");
	cr_assert_eq(parse(NULL, x), ERR_MALFORMED);
	x = root();
	e = raw_ext("1.3.6.1.4.1.99999.1", true);
	X509_add_ext(x, e, -1);
	X509_EXTENSION_free(e);
	cr_assert_eq(parse(NULL, x), ERR_MALFORMED);
	x = root(); /* not critical: passed over */
	add_ext(x, NID_ext_key_usage, "serverAuth");
	cr_assert_eq(parse(NULL, x), ERR_OK);
	x = blank();
	add_ext(x, NID_basic_constraints, "critical,CA:TRUE");
	add_ext(x, NID_key_usage, KU_CA);
	cr_assert_eq(parse(NULL, x), ERR_MALFORMED);
	x = blank();
	add_ext(x, NID_basic_constraints, "CA:TRUE");
	add_ext(x, NID_key_usage, KU_CA);
	add_ext(x, NID_subject_key_identifier, "hash");
	cr_assert_eq(parse(NULL, x), ERR_MALFORMED);
	x = blank();
	add_ext(x, NID_basic_constraints, "critical,CA:TRUE");
	add_ext(x, NID_key_usage, "critical,cRLSign");
	add_ext(x, NID_subject_key_identifier, "hash");
	cr_assert_eq(parse(NULL, x), ERR_MALFORMED);
}

static void
bend_time(ASN1_TIME *t, int type, const char *text)
{
	cr_assert(ASN1_STRING_set(t, text, -1));
	t->type = type;
}

/* Times have seconds and end in Z: RFC 5280 4.1.2.5. */
Test(cert, times)
{
	static const struct {
		int type;
		const char *text;
		enum err want;
	} row[] = {
		{ V_ASN1_UTCTIME, "2701010000Z", ERR_MALFORMED },
		{ V_ASN1_UTCTIME, "270101000000+0000", ERR_MALFORMED },
		{ V_ASN1_UTCTIME, "2701010000000", ERR_MALFORMED },
		{ V_ASN1_UTCTIME, "271301000000Z", ERR_MALFORMED },
		{ V_ASN1_UTCTIME, "270101000060Z", ERR_MALFORMED },
		{ V_ASN1_UTCTIME, "", ERR_MALFORMED },
		{ V_ASN1_GENERALIZEDTIME, "20270101000000.5Z", ERR_MALFORMED },
		{ V_ASN1_GENERALIZEDTIME, "270101000000Z", ERR_MALFORMED },
		{ V_ASN1_GENERALIZEDTIME, "2027010100000xZ", ERR_MALFORMED },
		{ V_ASN1_UTCTIME, "270101000000Z", ERR_OK },
		{ V_ASN1_GENERALIZEDTIME, "20510101000000Z", ERR_OK },
	};

	for (size_t i = 0; i < sizeof row / sizeof row[0]; i++) {
		X509 *x = root();

		bend_time(X509_getm_notBefore(x), row[i].type, row[i].text);
		cr_assert_eq(parse(NULL, x), row[i].want, "%s", row[i].text);
		x = root();
		bend_time(X509_getm_notAfter(x), row[i].type, row[i].text);
		cr_assert_eq(parse(NULL, x), row[i].want, "%s", row[i].text);
	}
}

/* A key of another kind, whoever signed it. */
Test(cert, keys)
{
	EVP_PKEY *rsa = EVP_RSA_gen(2048),
		 *ed = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
	X509 *x;

	x = root();
	X509_set_pubkey(x, rsa);
	cr_assert_eq(parse(NULL, x), ERR_MALFORMED);
	x = root();
	X509_set_pubkey(x, ed);
	cr_assert_eq(parse(NULL, x), ERR_MALFORMED);
	EVP_PKEY_free(rsa);
	EVP_PKEY_free(ed);
}

/* The DER around the signature, and bytes behind all. */
Test(cert, frame)
{
	struct buf der = { 0 };
	const ASN1_BIT_STRING *sig;
	struct cert *c = NULL;
	X509 *x = root();
	size_t unused;

	sign(&der, x);
	X509_get0_signature(&sig, NULL, x);
	unused = der.len - (size_t)sig->length - 1;
	cr_assert_eq(der.p[unused], 0);
	for (unsigned bits = 1; bits < 9; bits++) {
		der.p[unused] = (uint8_t)bits;
		cr_assert_eq(cert_parse(&c, buf_view(&der)), ERR_MALFORMED);
	}
	der.p[unused] = 0;
	cr_assert_eq(buf_append(&der, "", 1, SIZE_MAX), ERR_OK);
	cr_assert_eq(cert_parse(&c, buf_view(&der)), ERR_MALFORMED);
	der.len -= 2;
	cr_assert_eq(cert_parse(&c, buf_view(&der)), ERR_MALFORMED);
	/* Outer length one more, and a byte for it, within nothing. */
	der.len++;
	cr_assert_eq(der.p[1], 0x82);
	der.p[3]++;
	cr_assert_eq(buf_append(&der, "", 1, SIZE_MAX), ERR_OK);
	cr_assert_eq(cert_parse(&c, buf_view(&der)), ERR_MALFORMED);
	cr_assert_null(c);
	der.p[3]--;
	der.len--;
	cr_assert_eq(cert_parse(&c, buf_view(&der)), ERR_OK);
	cert_free(c);
	c = NULL;
	cr_assert_eq(buf_reserve(&der, LIMIT_CERT + 1), ERR_OK);
	der.len = LIMIT_CERT + 1;
	cr_assert_eq(cert_parse(&c, buf_view(&der)), ERR_MALFORMED);
	cr_assert_null(c);
	buf_fini(&der);
	X509_free(x);
}

/* A name with two common names is nobody's; one without is not either. */
Test(cert, common_names)
{
	X509_NAME *n = X509_NAME_new();

	cr_assert_not(cert_cn_is(n, ""));
	cr_assert_not(cert_cn_is(n, "a"));
	add_cn(n, "a");
	cr_assert(cert_cn_is(n, "a"));
	cr_assert_not(cert_cn_is(n, "ab"));
	cr_assert_not(cert_cn_is(n, "b"));
	cr_assert_not(cert_cn_is(n, ""));
	add_cn(n, "b");
	cr_assert_not(cert_cn_is(n, "a"));
	cr_assert_not(cert_cn_is(n, "b"));
	X509_NAME_free(n);
}

/* Facts of a platform stand there once, under an issuer that may say them. */
Test(cert, pck_facts)
{
	X509_EXTENSION *sgx = raw_ext(SGX_OID, false);
	struct pckext facts;
	bool platform = false;
	struct cert *c;
	X509 *x = root();

	cr_assert_eq(parse(&c, x), ERR_OK);
	cr_assert_eq(cert_pck_facts(&facts, &platform, c), ERR_NOTFOUND);
	cert_free(c);
	x = root(); /* of neither CA */
	X509_add_ext(x, sgx, -1);
	cr_assert_eq(parse(&c, x), ERR_OK);
	cr_assert_eq(cert_pck_facts(&facts, &platform, c), ERR_MALFORMED);
	cert_free(c);
	x = root(); /* twice */
	X509_add_ext(x, sgx, -1);
	X509_add_ext(x, sgx, -1);
	cr_assert_eq(parse(&c, x), ERR_OK);
	cr_assert_eq(cert_pck_facts(&facts, &platform, c), ERR_MALFORMED);
	cert_free(c);
	cr_assert_not(platform);
	X509_EXTENSION_free(sgx);
}

/* ---- CRLs ---- */

struct crl_spec {
	X509_EXTENSION *of_list, *of_entry; /* borrowed */
	bool no_next;
	const char *next; /* a UTCTime as it stands */
};

static void
make_crl(struct buf *der, const struct crl_spec *s)
{
	X509_CRL *x = X509_CRL_new();
	X509_NAME *name = X509_NAME_new();
	ASN1_TIME *t = ASN1_TIME_set(NULL, NOW);
	X509_REVOKED *r = X509_REVOKED_new();
	ASN1_INTEGER *n = ASN1_INTEGER_new();
	uint8_t *p = NULL;
	int len;

	add_cn(name, "Root");
	cr_assert(X509_CRL_set_version(x, X509_CRL_VERSION_2) &&
	    X509_CRL_set_issuer_name(x, name) &&
	    X509_CRL_set1_lastUpdate(x, t));
	ASN1_INTEGER_set(n, 7);
	cr_assert(X509_REVOKED_set_serialNumber(r, n) &&
	    X509_REVOKED_set_revocationDate(r, t));
	if (s->of_entry != NULL)
		cr_assert(X509_REVOKED_add_ext(r, s->of_entry, -1));
	cr_assert(X509_CRL_add0_revoked(x, r));
	if (s->of_list != NULL)
		cr_assert(X509_CRL_add_ext(x, s->of_list, -1));
	if (s->next != NULL)
		bend_time(t, V_ASN1_UTCTIME, s->next);
	if (!s->no_next)
		cr_assert(X509_CRL_set1_nextUpdate(x, t));
	cr_assert(X509_CRL_sign(x, key, EVP_sha256()));
	len = i2d_X509_CRL(x, &p);
	cr_assert_gt(len, 0);
	cr_assert_eq(buf_set(der, p, (size_t)len), ERR_OK);
	OPENSSL_free(p);
	ASN1_INTEGER_free(n);
	ASN1_TIME_free(t);
	X509_NAME_free(name);
	X509_CRL_free(x);
}

static enum err
crl_of(struct crl_spec s)
{
	struct buf der = { 0 };
	struct crl *c = NULL;
	enum err e;

	make_crl(&der, &s);
	e = crl_parse(&c, buf_view(&der));
	cr_assert((e == ERR_OK) == (c != NULL));
	crl_free(c);
	buf_fini(&der);
	return e;
}

/* A list that means something else than "these serial numbers", or without an
 * end, is none. */
Test(cert, crls)
{
	X509_EXTENSION *critical = raw_ext("1.3.6.1.4.1.99999.1", true);
	X509_EXTENSION *other = raw_ext("1.3.6.1.4.1.99999.1", false);
	struct buf der = { 0 };
	struct crl *c = NULL;

	cr_assert_eq(crl_of((struct crl_spec){ 0 }), ERR_OK);
	cr_assert_eq(
	    crl_of((struct crl_spec){ .of_list = critical }), ERR_MALFORMED);
	cr_assert_eq(
	    crl_of((struct crl_spec){ .of_entry = critical }), ERR_MALFORMED);
	cr_assert_eq(
	    crl_of((struct crl_spec){ .of_list = other, .of_entry = other }),
	    ERR_OK);
	cr_assert_eq(
	    crl_of((struct crl_spec){ .no_next = true }), ERR_MALFORMED);
	cr_assert_eq(
	    crl_of((struct crl_spec){ .next = "2701010000Z" }), ERR_MALFORMED);
	make_crl(&der, &(struct crl_spec){ 0 });
	cr_assert_eq(buf_append(&der, "", 1, SIZE_MAX), ERR_OK);
	cr_assert_eq(crl_parse(&c, buf_view(&der)), ERR_MALFORMED);
	cr_assert_eq(buf_reserve(&der, LIMIT_COLLATERAL + 1), ERR_OK);
	der.len = LIMIT_COLLATERAL + 1;
	cr_assert_eq(crl_parse(&c, buf_view(&der)), ERR_MALFORMED);
	cr_assert_null(c);
	buf_fini(&der);
	X509_EXTENSION_free(critical);
	X509_EXTENSION_free(other);
}
