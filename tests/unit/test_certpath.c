/* Paths of AMD's and AWS's kind, one thing wrong at a time: what test_snp and
 * test_nitro, which have whole documents, do not bend. */
#include <string.h>

#include <criterion/criterion.h>

#include <openssl/core_names.h>
#include <openssl/x509v3.h>

#include "common/attest/certpath.h"
#include "common/base/limits.h"
#include "tests/lib/vendor_pki.h"

#define NOW 1800000000
#define OID "1.3.6.1.4.1.3704.1.1"

enum { LEAF, MIDDLE, ANCHOR, N };

static EVP_PKEY *key[N];
static struct vendor_cert cert[N];
static struct buf der[N];

static void
setup(void)
{
	static const char *const name[] = { "Leaf", "Middle", "Anchor",
		"Anchor" };

	key[LEAF] = vendor_ec("P-384");
	key[MIDDLE] = vendor_rsa();
	key[ANCHOR] = vendor_rsa();
	for (int i = 0; i < N; i++)
		cert[i] = (struct vendor_cert){ .subject = name[i],
			.issuer = name[i + 1],
			.key = key[i],
			.issuer_key = key[i < ANCHOR ? i + 1 : i],
			.alg = VENDOR_PSS_SHA384,
			.serial = i + 1,
			.from = NOW - 1000,
			.until = NOW + 1000,
			.ca = i != LEAF };
}

static void
teardown(void)
{
	for (int i = 0; i < N; i++) {
		EVP_PKEY_free(key[i]);
		buf_fini(&der[i]);
	}
}

TestSuite(certpath, .init = setup, .fini = teardown, .timeout = 120);

static struct bytes *
issue(void)
{
	static struct bytes view[N];

	for (int i = 0; i < N; i++) {
		vendor_cert_der(&der[i], &cert[i]);
		view[i] = buf_view(&der[i]);
	}
	return view;
}

static struct certpath *
good(void)
{
	struct certpath *p = NULL;
	size_t at = 9;

	cr_assert_eq(certpath_new(&p, &at, issue(), N), ERR_OK);
	return p;
}

/* Certificate `want_at` is to blame. */
static void
refused(const struct bytes *d, size_t n, size_t want_at)
{
	struct certpath *p = NULL;
	size_t at = 9;

	cr_assert_eq(certpath_new(&p, &at, d, n), ERR_MALFORMED);
	cr_assert_null(p);
	cr_assert_eq(at, want_at);
}

Test(certpath, how_many)
{
	struct bytes many[CERTPATH_MAX + 1];
	const struct bytes *d = issue();
	struct certpath *p = NULL;
	size_t at;

	certpath_free(NULL);
	for (size_t i = 0; i <= CERTPATH_MAX; i++)
		many[i] = d[i == 0 ? LEAF : ANCHOR];
	refused(many, 0, 0);
	refused(many, 1, 0);
	refused(many, CERTPATH_MAX + 1, 0);
	cr_assert_eq(certpath_new(&p, &at, many, CERTPATH_MAX), ERR_OK);
	certpath_free(p);
}

Test(certpath, sizes)
{
	static uint8_t big[LIMIT_CERT + 1];
	struct bytes d[N];

	memcpy(d, issue(), sizeof d);
	d[MIDDLE].len = 0;
	refused(d, N, MIDDLE);
	memcpy(big, der[MIDDLE].p, der[MIDDLE].len);
	d[MIDDLE] = (struct bytes){ big, sizeof big };
	refused(d, N, MIDDLE);
	d[MIDDLE].len = der[MIDDLE].len + 1; /* a byte behind it */
	refused(d, N, MIDDLE);
	d[MIDDLE].len = der[MIDDLE].len - 1;
	refused(d, N, MIDDLE);
}

/* The leaf's key is a point on P-384 by its name. */
Test(certpath, leaf_keys)
{
	EVP_PKEY *k[4] = { vendor_ec("P-256"), vendor_rsa(), vendor_ec("P-384"),
		vendor_ec("P-384") };

	cr_assert(EVP_PKEY_set_utf8_string_param(
	    k[2], OSSL_PKEY_PARAM_EC_POINT_CONVERSION_FORMAT, "compressed"));
	cr_assert(EVP_PKEY_set_utf8_string_param(
	    k[3], OSSL_PKEY_PARAM_EC_ENCODING, "explicit"));
	for (size_t i = 0; i < 4; i++) {
		cert[LEAF].key = k[i];
		refused(issue(), N, LEAF);
		EVP_PKEY_free(k[i]);
	}
}

/* Who may be what. */
Test(certpath, roles)
{
	struct certpath *p;

	cert[LEAF].constraints = "critical,CA:TRUE";
	refused(issue(), N, LEAF);
	cert[LEAF].constraints = NULL;
	cert[LEAF].usage = "critical,keyAgreement";
	refused(issue(), N, LEAF);
	cert[LEAF].usage = "critical,digitalSignature";
	certpath_free(good());
	for (int i = MIDDLE; i <= ANCHOR; i++) {
		cert[i].usage = "critical,cRLSign";
		refused(issue(), N, (size_t)i);
		cert[i].usage = "";
		refused(issue(), N, (size_t)i);
		cert[i].usage = NULL;
		cert[i].constraints = "critical,CA:FALSE";
		refused(issue(), N, (size_t)i);
		cert[i].constraints = NULL;
		cert[i].unknown_critical = "1.3.6.1.4.1.99999.1";
		refused(issue(), N, (size_t)i);
		cert[i].unknown_critical = NULL;
	}
	p = good();
	cr_assert(certpath_cn_is(p, MIDDLE, "Middle"));
	cr_assert_not(certpath_cn_is(p, MIDDLE, "Anchor"));
	cr_assert_not(certpath_cn_is(p, MIDDLE, "Middl"));
	cr_assert_not(certpath_cn_is(p, MIDDLE, ""));
	certpath_free(p);
}

/* `bend` changes certificate `i`, which is encoded anew: its signature is that
 * of before, which nobody looks at here. */
static struct bytes
bent(int i, void (*bend)(X509 *x))
{
	const uint8_t *q = der[i].p;
	X509 *x = d2i_X509(NULL, &q, (long)der[i].len);
	struct bytes view;
	uint8_t *p = NULL;
	int len;

	bend(x);
	len = i2d_re_X509_tbs(x, &p);
	cr_assert_gt(len, 0);
	OPENSSL_free(p);
	p = NULL;
	len = i2d_X509(x, &p);
	cr_assert_eq(buf_set(&der[i], p, (size_t)len), ERR_OK);
	view = buf_view(&der[i]);
	OPENSSL_free(p);
	X509_free(x);
	return view;
}

static void
second_cn(X509 *x)
{
	cr_assert(X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN",
	    MBSTRING_ASC, (const uint8_t *)"Other", -1, -1, 0));
}

static void
no_name(X509 *x)
{
	X509_NAME *n = X509_NAME_new();

	cr_assert(X509_set_subject_name(x, n));
	X509_NAME_free(n);
}

static void
version_2(X509 *x)
{
	cr_assert(X509_set_version(x, X509_VERSION_2));
}

static const char *time_text;

static void
from_text(X509 *x)
{
	ASN1_TIME *t = X509_getm_notBefore(x);

	cr_assert(ASN1_STRING_set(t, time_text, -1));
}

static void
until_text(X509 *x)
{
	ASN1_TIME *t = X509_getm_notAfter(x);

	cr_assert(ASN1_STRING_set(t, time_text, -1));
}

static void
until_2051(X509 *x)
{
	cr_assert(ASN1_TIME_set_string_X509(
	    X509_getm_notAfter(x), "20510101000000Z"));
}

Test(certpath, names)
{
	struct bytes d[N];
	struct certpath *p = NULL;
	size_t at;

	memcpy(d, issue(), sizeof d);
	d[ANCHOR] = bent(ANCHOR, second_cn);
	cr_assert_eq(certpath_new(&p, &at, d, N), ERR_OK);
	cr_assert_not(certpath_cn_is(p, ANCHOR, "Anchor"));
	cr_assert_not(certpath_cn_is(p, ANCHOR, "Other"));
	certpath_free(p);
	d[ANCHOR] = bent(ANCHOR, no_name);
	cr_assert_eq(certpath_new(&p, &at, d, N), ERR_OK);
	cr_assert_not(certpath_cn_is(p, ANCHOR, "Anchor"));
	cr_assert_not(certpath_cn_is(p, ANCHOR, ""));
	certpath_free(p);
}

Test(certpath, versions_and_times)
{
	static const char *const bad[] = { "", "2701010000Z",
		"270101000000+0000", "2701010000000", "271301000000Z",
		"20270101000000Z" };
	struct certpath *p = NULL;
	int64_t from, until;
	struct bytes d[N];
	size_t at;

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		time_text = bad[i];
		memcpy(d, issue(), sizeof d);
		d[MIDDLE] = bent(MIDDLE, from_text);
		refused(d, N, MIDDLE);
		memcpy(d, issue(), sizeof d);
		d[LEAF] = bent(LEAF, until_text);
		refused(d, N, LEAF);
	}
	memcpy(d, issue(), sizeof d);
	d[MIDDLE] = bent(MIDDLE, version_2);
	refused(d, N, MIDDLE);
	memcpy(d, issue(), sizeof d);
	for (int i = 0; i < N; i++)
		d[i] = bent(i, until_2051);
	cr_assert_eq(certpath_new(&p, &at, d, N), ERR_OK);
	certpath_window(p, &from, &until);
	cr_assert_eq(from, NOW - 1000);
	cr_assert_eq(until, 2556144000);
	certpath_free(p);
}

/* A leaf's extension is there once. */
Test(certpath, extensions)
{
	struct vendor_ext ext[2] = {
		{ .oid = OID, .der = { 2, 1, 5 }, .len = 3 },
		{ .oid = OID, .der = { 2, 1, 6 }, .len = 3 },
	};
	struct certpath *p = good();
	struct bytes v = { 0 };

	cr_assert_eq(certpath_leaf_ext(&v, p, OID), ERR_NOTFOUND);
	certpath_free(p);
	cert[LEAF].ext = ext;
	cert[LEAF].n_ext = 2;
	p = good();
	cr_assert_eq(certpath_leaf_ext(&v, p, OID), ERR_MALFORMED);
	cr_assert_null(v.p);
	certpath_free(p);
	cert[LEAF].n_ext = 1;
	p = good();
	cr_assert_eq(certpath_leaf_ext(&v, p, OID), ERR_OK);
	cr_assert_eq(v.len, 3);
	cr_assert_arr_eq(v.p, ext[0].der, 3);
	certpath_free(p);
}

/* ---- CRLs ---- */

static X509_EXTENSION *
critical(void)
{
	ASN1_OCTET_STRING *v = ASN1_OCTET_STRING_new();
	ASN1_OBJECT *o = OBJ_txt2obj("1.3.6.1.4.1.99999.1", 1);
	X509_EXTENSION *e;

	cr_assert(ASN1_OCTET_STRING_set(v, (const uint8_t *)"\x05\0", 2));
	e = X509_EXTENSION_create_by_OBJ(NULL, o, 1, v);
	ASN1_OBJECT_free(o);
	ASN1_OCTET_STRING_free(v);
	return e;
}

enum bend_crl { LIST_EXTENSION, ENTRY_EXTENSION, NO_END, BAD_END, N_BENDS };

/* The CRL with a change, and a signature of another kind over it. */
static void
bend_crl(struct buf *crl, enum bend_crl how)
{
	const uint8_t *q = crl->p;
	X509_CRL *x = d2i_X509_CRL(NULL, &q, (long)crl->len);
	X509_EXTENSION *e = critical();
	ASN1_TIME *t;
	uint8_t *p = NULL;
	int len;

	switch (how) {
	case LIST_EXTENSION:
		cr_assert(X509_CRL_add_ext(x, e, -1));
		break;
	case ENTRY_EXTENSION:
		cr_assert(X509_REVOKED_add_ext(
		    sk_X509_REVOKED_value(X509_CRL_get_REVOKED(x), 0), e, -1));
		break;
	case NO_END:
		cr_assert(ASN1_STRING_set(
		    (ASN1_TIME *)(uintptr_t)X509_CRL_get0_nextUpdate(x), "",
		    -1));
		break;
	case BAD_END:
		t = (ASN1_TIME *)(uintptr_t)X509_CRL_get0_nextUpdate(x);
		cr_assert(ASN1_STRING_set(t, "2701010000Z", -1));
		break;
	case N_BENDS:
		break;
	}
	cr_assert(X509_CRL_sign(x, key[ANCHOR], EVP_sha384()));
	len = i2d_X509_CRL(x, &p);
	cr_assert_eq(buf_set(crl, p, (size_t)len), ERR_OK);
	OPENSSL_free(p);
	X509_EXTENSION_free(e);
	X509_CRL_free(x);
}

Test(certpath, crls)
{
	struct certpath *p = good();
	struct buf crl = { 0 };
	const char *text = NULL;

	vendor_crl_der(&crl, "Anchor", key[ANCHOR], NOW - 10, NOW + 10, 99);
	cr_assert_eq(certpath_crl(p, buf_view(&crl), NOW, &text), CERTPATH_OK);
	cr_assert_eq(
	    certpath_crl(p, buf_view(&crl), NOW + 11, &text), CERTPATH_TIME);
	cr_assert_eq(
	    certpath_crl(p, buf_view(&crl), NOW - 11, &text), CERTPATH_TIME);
	cr_assert_eq(
	    certpath_crl(p, (struct bytes){ 0 }, NOW, &text), CERTPATH_SHAPE);
	crl.len--;
	cr_assert_eq(
	    certpath_crl(p, buf_view(&crl), NOW, &text), CERTPATH_SHAPE);
	crl.len++;
	cr_assert_eq(buf_append(&crl, "", 1, SIZE_MAX), ERR_OK);
	cr_assert_eq(
	    certpath_crl(p, buf_view(&crl), NOW, &text), CERTPATH_SHAPE);
	cr_assert_eq(buf_reserve(&crl, LIMIT_COLLATERAL + 1), ERR_OK);
	crl.len = LIMIT_COLLATERAL + 1;
	cr_assert_eq(
	    certpath_crl(p, buf_view(&crl), NOW, &text), CERTPATH_SHAPE);
	vendor_crl_der(&crl, "Anchor", key[ANCHOR], NOW - 10, NOW + 10,
	    cert[MIDDLE].serial);
	cr_assert_eq(
	    certpath_crl(p, buf_view(&crl), NOW, &text), CERTPATH_REVOKED);
	vendor_crl_der(&crl, "Anchor", key[MIDDLE], NOW - 10, NOW + 10, 99);
	cr_assert_eq(
	    certpath_crl(p, buf_view(&crl), NOW, &text), CERTPATH_SIGNATURE);
	vendor_crl_der(&crl, "Middle", key[ANCHOR], NOW - 10, NOW + 10, 99);
	cr_assert_eq(
	    certpath_crl(p, buf_view(&crl), NOW, &text), CERTPATH_ISSUER);
	for (int how = 0; how < N_BENDS; how++) {
		vendor_crl_der(
		    &crl, "Anchor", key[ANCHOR], NOW - 10, NOW + 10, 99);
		bend_crl(&crl, (enum bend_crl)how);
		cr_assert_eq(certpath_crl(p, buf_view(&crl), NOW, &text),
		    CERTPATH_SHAPE, "%d", how);
		cr_assert_str_eq(text, "CRL extensions or dates");
	}
	certpath_free(p);
	/* An anchor that may not sign lists. */
	cert[ANCHOR].usage = "critical,keyCertSign";
	p = good();
	vendor_crl_der(&crl, "Anchor", key[ANCHOR], NOW - 10, NOW + 10, 99);
	cr_assert_eq(
	    certpath_crl(p, buf_view(&crl), NOW, &text), CERTPATH_ISSUER);
	certpath_free(p);
	buf_fini(&crl);
}

/* A fault has its kind and its place. */
Test(certpath, verify)
{
	struct certpath *p = good();
	const char *text = NULL;
	size_t at = 9;

	cr_assert_eq(certpath_verify(p, &at, &text), CERTPATH_OK);
	certpath_free(p);
	cert[LEAF].issuer = "Someone";
	p = good();
	cr_assert_eq(certpath_verify(p, &at, &text), CERTPATH_ISSUER);
	cr_assert_eq(at, LEAF);
	certpath_free(p);
	cert[LEAF].issuer = "Middle";
	cert[LEAF].issuer_key = key[ANCHOR];
	p = good();
	cr_assert_eq(certpath_verify(p, &at, &text), CERTPATH_SIGNATURE);
	cr_assert_eq(at, LEAF);
	certpath_free(p);
	cert[LEAF].issuer_key = key[MIDDLE];
	cert[ANCHOR].issuer_key = key[MIDDLE]; /* not its own */
	p = good();
	cr_assert_eq(certpath_verify(p, &at, &text), CERTPATH_SIGNATURE);
	cr_assert_eq(at, ANCHOR);
	certpath_free(p);
	cert[ANCHOR].issuer_key = key[ANCHOR];
	cert[ANCHOR].constraints = "critical,CA:TRUE,pathlen:0";
	p = good();
	cr_assert_eq(certpath_verify(p, &at, &text), CERTPATH_SHAPE);
	certpath_free(p);
}
