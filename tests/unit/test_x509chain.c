/* Chains under a PKI made here: the shapes of Intel's, one thing wrong at a
 * time.  Times are small numbers of seconds around `NOW`. */
#include <string.h>

#include <criterion/criterion.h>

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "common/attest/x509chain.h"

#define NOW 1800000000
#define DAY 86400

#define LEAF_CN "Intel SGX PCK Certificate"
#define CA_CN "Intel SGX PCK Platform CA"
#define SIGNER_CN "Intel SGX TCB Signing"
#define KU_LEAF "critical,digitalSignature,nonRepudiation"
#define KU_CA "critical,keyCertSign,cRLSign"

/* How to make one certificate; NULL members leave an extension out. */
struct spec {
	const char *cn;
	const char *issuer_cn;
	const char *constraints;
	const char *usage;
	const char *extra; /* "OID=DER:..." marked critical */
	const char *curve;
	const char *group; /* "explicit": parameters instead of the name */
	const char *point; /* "compressed" */
	long serial;
	int64_t from, until; /* days from NOW */
	bool no_aki, version1;
};

static const struct spec root_spec = { .cn = "Root",
	.issuer_cn = "Root",
	.constraints = "critical,CA:TRUE,pathlen:1",
	.usage = KU_CA,
	.serial = 1,
	.from = -100,
	.until = 100 };
static const struct spec ca_spec = { .cn = CA_CN,
	.issuer_cn = "Root",
	.constraints = "critical,CA:TRUE,pathlen:0",
	.usage = KU_CA,
	.serial = 2,
	.from = -90,
	.until = 90 };
static const struct spec leaf_spec = { .cn = LEAF_CN,
	.issuer_cn = CA_CN,
	.constraints = "critical,CA:FALSE",
	.usage = KU_LEAF,
	.serial = 3,
	.from = -80,
	.until = 80 };
static const struct spec signer_spec = { .cn = SIGNER_CN,
	.issuer_cn = "Root",
	.constraints = "critical,CA:FALSE",
	.usage = KU_LEAF,
	.serial = 4,
	.from = -70,
	.until = 70 };

struct made {
	X509 *x;
	EVP_PKEY *key;
};

static void
set_name(X509_NAME *n, const char *cn)
{
	cr_assert(X509_NAME_add_entry_by_txt(
	    n, "CN", MBSTRING_ASC, (const unsigned char *)cn, -1, -1, 0));
}

static void
add_ext(X509 *x, X509V3_CTX *ctx, int nid, const char *value)
{
	X509_EXTENSION *e;

	if (value == NULL)
		return;
	e = X509V3_EXT_conf_nid(NULL, ctx, nid, value);
	cr_assert_not_null(e, "%s", value);
	cr_assert(X509_add_ext(x, e, -1));
	X509_EXTENSION_free(e);
}

/* A critical extension that nobody knows. */
static void
add_unknown(X509 *x, const char *oid)
{
	ASN1_OCTET_STRING *v = ASN1_OCTET_STRING_new();
	ASN1_OBJECT *o = OBJ_txt2obj(oid, 1);
	X509_EXTENSION *e;

	cr_assert(ASN1_OCTET_STRING_set(v, (const uint8_t *)"\x05\0", 2));
	e = X509_EXTENSION_create_by_OBJ(NULL, o, 1, v);
	cr_assert(X509_add_ext(x, e, -1));
	X509_EXTENSION_free(e);
	ASN1_OBJECT_free(o);
	ASN1_OCTET_STRING_free(v);
}

/* Signed by `issuer`, or by itself if that is NULL. */
static struct made
make(const struct spec *s, const struct made *issuer)
{
	struct made m = { X509_new(),
		EVP_EC_gen(s->curve != NULL ? s->curve : "P-256") };
	X509V3_CTX ctx;

	cr_assert(m.x != NULL && m.key != NULL);
	if (s->group != NULL)
		cr_assert(EVP_PKEY_set_utf8_string_param(
		    m.key, OSSL_PKEY_PARAM_EC_ENCODING, s->group));
	if (s->point != NULL)
		cr_assert(EVP_PKEY_set_utf8_string_param(m.key,
		    OSSL_PKEY_PARAM_EC_POINT_CONVERSION_FORMAT, s->point));
	cr_assert(X509_set_version(m.x, s->version1 ? 0 : 2));
	ASN1_INTEGER_set(X509_get_serialNumber(m.x), s->serial);
	set_name(X509_get_subject_name(m.x), s->cn);
	set_name(X509_get_issuer_name(m.x), s->issuer_cn);
	ASN1_TIME_set(X509_getm_notBefore(m.x), NOW + s->from * DAY);
	ASN1_TIME_set(X509_getm_notAfter(m.x), NOW + s->until * DAY);
	X509_set_pubkey(m.x, m.key);
	X509V3_set_ctx(
	    &ctx, issuer != NULL ? issuer->x : m.x, m.x, NULL, NULL, 0);
	add_ext(m.x, &ctx, NID_basic_constraints, s->constraints);
	add_ext(m.x, &ctx, NID_key_usage, s->usage);
	add_ext(m.x, &ctx, NID_subject_key_identifier, "hash");
	if (!s->no_aki)
		add_ext(m.x, &ctx, NID_authority_key_identifier, "keyid");
	if (s->extra != NULL)
		add_unknown(m.x, s->extra);
	cr_assert(
	    X509_sign(m.x, issuer != NULL ? issuer->key : m.key, EVP_sha256()));
	return m;
}

struct crl_spec {
	const char *issuer_cn;
	long revoked; /* serial; 0: none */
	int64_t from, until; /* days from NOW */
	bool critical;
	const struct made *signed_by;
};

static struct crl *
make_crl(const struct crl_spec *s)
{
	X509_CRL *c = X509_CRL_new();
	X509_NAME *n = X509_NAME_new();
	ASN1_TIME *t = ASN1_TIME_new();
	uint8_t *der = NULL;
	struct crl *out = NULL;
	int len;

	set_name(n, s->issuer_cn);
	cr_assert(X509_CRL_set_version(c, 1) && X509_CRL_set_issuer_name(c, n));
	ASN1_TIME_set(t, NOW + s->from * DAY);
	X509_CRL_set1_lastUpdate(c, t);
	ASN1_TIME_set(t, NOW + s->until * DAY);
	X509_CRL_set1_nextUpdate(c, t);
	if (s->revoked != 0) {
		X509_REVOKED *r = X509_REVOKED_new();
		ASN1_INTEGER *serial = ASN1_INTEGER_new();

		ASN1_INTEGER_set(serial, s->revoked);
		X509_REVOKED_set_serialNumber(r, serial);
		ASN1_TIME_set(t, NOW - DAY);
		X509_REVOKED_set_revocationDate(r, t);
		X509_CRL_add0_revoked(c, r);
		ASN1_INTEGER_free(serial);
	}
	if (s->critical) {
		ISSUING_DIST_POINT *idp = ISSUING_DIST_POINT_new();

		idp->onlyuser = 0xff;
		cr_assert(X509_CRL_add1_ext_i2d(c,
			      NID_issuing_distribution_point, idp, 1, 0) == 1);
		ISSUING_DIST_POINT_free(idp);
	}
	cr_assert(X509_CRL_sign(c, s->signed_by->key, EVP_sha256()));
	len = i2d_X509_CRL(c, &der);
	cr_assert(len > 0);
	if (crl_parse(&out, (struct bytes){ der, (size_t)len }) != ERR_OK)
		out = NULL;
	OPENSSL_free(der);
	X509_NAME_free(n);
	ASN1_TIME_free(t);
	X509_CRL_free(c);
	return out;
}

/* A whole PKI; a test changes what it wants before lay(). */
struct pki {
	struct spec root_s, ca_s, leaf_s, signer_s;
	struct crl_spec root_crl_s, pck_crl_s;
	struct made root, ca, leaf, signer;
	struct cert *anchor;
	uint8_t root_der[2048];
	struct crl *root_crl, *pck_crl;
	struct chain_rules rules;
	struct window w;
	struct refusal why;
};

static struct pki
plan(void)
{
	return (struct pki){ .root_s = root_spec,
		.ca_s = ca_spec,
		.leaf_s = leaf_spec,
		.signer_s = signer_spec,
		.root_crl_s = { .issuer_cn = "Root", .from = -5, .until = 20 },
		.pck_crl_s = { .issuer_cn = CA_CN, .from = -4, .until = 10 },
		.w = { INT64_MIN, INT64_MAX } };
}

static void
lay(struct pki *p)
{
	uint8_t *d = p->root_der;
	int len;

	p->root = make(&p->root_s, NULL);
	p->ca = make(&p->ca_s, &p->root);
	p->leaf = make(&p->leaf_s, &p->ca);
	p->signer = make(&p->signer_s, &p->root);
	len = i2d_X509(p->root.x, &d);
	cr_assert(len > 0 && (size_t)len <= sizeof p->root_der);
	p->rules.root_der = (struct bytes){ p->root_der, (size_t)len };
	cr_assert(cert_parse(&p->anchor, p->rules.root_der) == ERR_OK);
	p->rules.root = p->anchor;
	if (p->root_crl_s.signed_by == NULL)
		p->root_crl_s.signed_by = &p->root;
	if (p->pck_crl_s.signed_by == NULL)
		p->pck_crl_s.signed_by = &p->ca;
	p->root_crl = make_crl(&p->root_crl_s);
	p->pck_crl = make_crl(&p->pck_crl_s);
	cr_assert(p->root_crl != NULL && p->pck_crl != NULL);
	p->rules.root_crl = p->root_crl;
	p->rules.now = NOW;
}

static void
tear(struct pki *p)
{
	struct made *m[] = { &p->root, &p->ca, &p->leaf, &p->signer };

	for (size_t i = 0; i < 4; i++) {
		X509_free(m[i]->x);
		EVP_PKEY_free(m[i]->key);
	}
	cert_free(p->anchor);
	crl_free(p->root_crl);
	crl_free(p->pck_crl);
}

/* PEM text of up to four certificates. */
static struct buf
pem_of(const struct made *a, const struct made *b, const struct made *c,
    const struct made *d)
{
	const struct made *m[] = { a, b, c, d };
	struct buf out = { 0 };
	BIO *bio = BIO_new(BIO_s_mem());
	char *p;
	long n;

	for (size_t i = 0; i < 4 && m[i] != NULL; i++)
		cr_assert(PEM_write_bio_X509(bio, m[i]->x));
	n = BIO_get_mem_data(bio, &p);
	cr_assert(buf_set(&out, p, (size_t)n) == ERR_OK);
	BIO_free(bio);
	return out;
}

static void
code_is(const struct pki *p, enum err e, const char *code)
{
	if (code == NULL) {
		cr_assert(e == ERR_OK, "%s", p->why.detail);
		return;
	}
	cr_assert(e == ERR_DENIED, "accepted, not %s", code);
	cr_assert(strncmp(p->why.detail, code, strlen(code)) == 0 &&
		p->why.detail[strlen(code)] == ':',
	    "%s, not %s", p->why.detail, code);
}

static void
try_pck(struct pki *p, struct buf pem, const char *code)
{
	struct cert *leaf = NULL;
	enum err e = chain_root(&p->rules, &p->w, &p->why);

	if (e == ERR_OK)
		e = chain_pck(&leaf, buf_view(&pem), p->pck_crl, &p->rules,
		    &p->w, &p->why);
	code_is(p, e, code);
	cr_assert_eq(leaf != NULL, code == NULL);
	cert_free(leaf);
	buf_fini(&pem);
}

static void
try_signer(struct pki *p, struct buf pem, const char *code)
{
	struct cert *leaf = NULL;
	enum err e = chain_root(&p->rules, &p->w, &p->why);

	if (e == ERR_OK)
		e = chain_signer(&leaf, buf_view(&pem), "tcb_info", &p->rules,
		    &p->w, &p->why);
	code_is(p, e, code);
	cr_assert_eq(leaf != NULL, code == NULL);
	cert_free(leaf);
	buf_fini(&pem);
}

/* Lays the plan, tries both chains in their usual form. */
static void
expect(struct pki *p, const char *pck, const char *signer)
{
	lay(p);
	try_pck(p, pem_of(&p->leaf, &p->ca, &p->root, NULL), pck);
	try_signer(p, pem_of(&p->signer, &p->root, NULL, NULL), signer);
	tear(p);
}

/* The usual chains pass, with or without the root, and say until when. */
Test(x509chain, good)
{
	struct pki p = plan();

	lay(&p);
	try_pck(&p, pem_of(&p.leaf, &p.ca, &p.root, NULL), NULL);
	try_pck(&p, pem_of(&p.leaf, &p.ca, NULL, NULL), NULL);
	cr_assert_eq(p.w.from, NOW - 4 * DAY);
	cr_assert_eq(p.w.until, NOW + 10 * DAY);
	try_signer(&p, pem_of(&p.signer, &p.root, NULL, NULL), NULL);
	try_signer(&p, pem_of(&p.signer, NULL, NULL, NULL), NULL);
	tear(&p);
}

/* Any other number or order of certificates is refused. */
Test(x509chain, shapes)
{
	struct pki p = plan();

	lay(&p);
	try_pck(&p, (struct buf){ 0 }, "PCK_CHAIN_LEN");
	try_pck(&p, pem_of(&p.root, NULL, NULL, NULL), "PCK_CHAIN_LEN");
	try_pck(&p, pem_of(&p.leaf, NULL, NULL, NULL), "PCK_CHAIN_LEN");
	try_pck(&p, pem_of(&p.leaf, &p.root, NULL, NULL), "PCK_CHAIN_LEN");
	try_pck(&p, pem_of(&p.leaf, &p.ca, &p.ca, NULL), "PATH_LEN");
	try_pck(&p, pem_of(&p.leaf, &p.leaf, &p.ca, &p.root), "NOT_CA");
	try_pck(&p, pem_of(&p.ca, &p.leaf, &p.root, NULL), "CERT_CN");
	try_pck(&p, pem_of(&p.leaf, &p.leaf, &p.root, NULL), "NOT_CA");
	try_pck(&p, pem_of(&p.signer, &p.ca, &p.root, NULL), "CERT_CN");
	try_signer(&p, (struct buf){ 0 }, "CHAIN_LEN");
	try_signer(&p, pem_of(&p.root, NULL, NULL, NULL), "CHAIN_LEN");
	try_signer(&p, pem_of(&p.signer, &p.signer, NULL, NULL), "CHAIN_LEN");
	try_signer(&p, pem_of(&p.leaf, &p.ca, &p.root, NULL), "CERT_CN");
	try_signer(&p, pem_of(&p.ca, &p.root, NULL, NULL), "CERT_CN");
	tear(&p);
	/* Where no certificate forbids a longer path, we do. */
	p = plan();
	p.root_s.constraints = p.ca_s.constraints = "critical,CA:TRUE";
	lay(&p);
	try_pck(&p, pem_of(&p.leaf, &p.ca, NULL, NULL), NULL);
	try_pck(&p, pem_of(&p.leaf, &p.ca, &p.ca, NULL), "PCK_CHAIN_LEN");
	tear(&p);
}

/* PEM: nothing but certificates and white space, whole, at most four. */
Test(x509chain, pem)
{
	struct pki p = plan();
	struct buf good, b;

	lay(&p);
	good = pem_of(&p.leaf, &p.ca, NULL, NULL);
	b = (struct buf){ 0 };
	cr_assert(buf_printf(&b, " \n%s\n\n", (char *)good.p) == ERR_OK);
	b.len++; /* its NUL: some quotes carry one */
	try_pck(&p, b, NULL);
	b = (struct buf){ 0 };
	cr_assert(buf_printf(&b, "x%s", (char *)good.p) == ERR_OK);
	try_pck(&p, b, "CERT_PARSE");
	b = (struct buf){ 0 };
	cr_assert(buf_printf(&b, "%sx", (char *)good.p) == ERR_OK);
	try_pck(&p, b, "CERT_PARSE");
	for (size_t cut = 2; cut < 1200 && cut < good.len; cut += 41) {
		b = (struct buf){ 0 };
		cr_assert(buf_set(&b, good.p, good.len - cut) == ERR_OK);
		struct cert *leaf = NULL;

		cr_assert(chain_pck(&leaf, buf_view(&b), p.pck_crl, &p.rules,
			      &p.w, &p.why) == ERR_DENIED);
		buf_fini(&b);
	}
	b = (struct buf){ 0 };
	cr_assert(buf_printf(&b, "%s%s%s", (char *)good.p, (char *)good.p,
		      (char *)good.p) == ERR_OK);
	try_pck(&p, b, "CHAIN_LEN");
	buf_fini(&good);
	tear(&p);
}

/* P3: roles: names are exact. */
Test(x509chain, roles)
{
	struct pki p = plan();

	p.leaf_s.cn = LEAF_CN " ";
	p.signer_s.cn = "Intel SGX TCB Signin";
	expect(&p, "CERT_CN", "CERT_CN");
	p = plan();
	p.ca_s.cn = p.leaf_s.issuer_cn = p.pck_crl_s.issuer_cn = "Some CA";
	expect(&p, "CERT_CN", NULL);
	p = plan();
	p.ca_s.cn = p.leaf_s.issuer_cn = p.pck_crl_s.issuer_cn =
	    "Intel SGX PCK Processor CA";
	expect(&p, NULL, NULL);
}

/* Names that do not chain, CAs that are none, paths that are too long. */
Test(x509chain, issuers)
{
	struct pki p = plan();

	p.leaf_s.issuer_cn = "Intel SGX PCK Processor CA";
	p.signer_s.issuer_cn = "Toor";
	expect(&p, "CHAIN_ISSUER", "CHAIN_ISSUER");
	p = plan();
	p.ca_s.issuer_cn = "Toor";
	expect(&p, "CHAIN_ISSUER", NULL);
	p = plan();
	p.ca_s.constraints = "critical,CA:FALSE";
	p.ca_s.usage = KU_LEAF;
	expect(&p, "NOT_CA", NULL);
	p = plan();
	p.root_s.constraints = "critical,CA:TRUE,pathlen:0";
	expect(&p, "PATH_LEN", NULL);
	p = plan();
	p.root_s.constraints = "critical,CA:TRUE";
	p.ca_s.constraints = "critical,CA:TRUE";
	expect(&p, NULL, NULL);
	/* A leaf that may sign certificates. */
	p = plan();
	p.leaf_s.constraints = p.signer_s.constraints = "critical,CA:TRUE";
	p.leaf_s.usage = p.signer_s.usage =
	    "critical,keyCertSign,digitalSignature";
	expect(&p, "KEY_USAGE", "KEY_USAGE");
	p = plan();
	p.leaf_s.usage = p.signer_s.usage = "critical,nonRepudiation";
	expect(&p, "KEY_USAGE", "KEY_USAGE");
}

/* Same names, other keys: the signature decides. */
Test(x509chain, other_keys)
{
	struct pki p = plan(), q = plan();

	/* Without key identifiers to give it away, signatures must. */
	lay(&p);
	lay(&q);
	try_pck(&p, pem_of(&q.leaf, &q.ca, &p.root, NULL), "CHAIN_ISSUER");
	try_pck(&p, pem_of(&q.leaf, &q.ca, &q.root, NULL), "PATH_LEN");
	try_pck(&p, pem_of(&q.leaf, &p.ca, &p.root, NULL), "CHAIN_ISSUER");
	try_signer(&p, pem_of(&q.signer, NULL, NULL, NULL), "CHAIN_ISSUER");
	/* Names are looked at in the whole chain before any signature. */
	cr_assert(X509_sign(p.ca.x, q.root.key, EVP_sha256()));
	try_pck(&p, pem_of(&q.leaf, &p.ca, NULL, NULL), "CHAIN_ISSUER");
	cr_assert(X509_sign(p.ca.x, p.root.key, EVP_sha256()));
	/* Now with the right identifiers, signed by the wrong key. */
	cr_assert(X509_sign(p.leaf.x, q.ca.key, EVP_sha256()));
	try_pck(&p, pem_of(&p.leaf, &p.ca, NULL, NULL), "CHAIN_SIG");
	cr_assert(X509_sign(p.signer.x, q.root.key, EVP_sha256()));
	try_signer(&p, pem_of(&p.signer, NULL, NULL, NULL), "CHAIN_SIG");
	cr_assert(X509_sign(p.leaf.x, p.ca.key, EVP_sha256()));
	cr_assert(X509_sign(p.ca.x, q.root.key, EVP_sha256()));
	try_pck(&p, pem_of(&p.leaf, &p.ca, NULL, NULL), "CHAIN_SIG");
	tear(&p);
	tear(&q);
}

/* The profile: what a certificate of this PKI always has. */
Test(x509chain, profile)
{
	struct pki p = plan();

	for (int i = 0; i < 10; i++) {
		struct spec *s;

		p = plan();
		s = &p.leaf_s;
		switch (i) {
		case 0:
			s->version1 = true;
			break;
		case 1:
			s->no_aki = true;
			break;
		case 2:
			s->curve = "P-384";
			break;
		case 3:
			s->extra = "1.2.3.4.5";
			break;
		case 4:
			s->constraints = NULL;
			break;
		case 5:
			s->usage = NULL;
			break;
		case 6:
			s->constraints = "CA:FALSE";
			break;
		case 7:
			s->usage = "digitalSignature";
			break;
		case 8:
			s->group = "explicit";
			break;
		case 9:
			s->point = "compressed";
			break;
		}
		expect(&p, "CERT_PARSE", NULL);
	}
	p = plan();
	p.signer_s.no_aki = true;
	p.ca_s.usage = "critical,cRLSign"; /* a CA that may not sign */
	expect(&p, "CERT_PARSE", "CERT_PARSE");
	p = plan();
	lay(&p);
	cr_assert(X509_sign(p.leaf.x, p.ca.key, EVP_sha384()));
	try_pck(&p, pem_of(&p.leaf, &p.ca, NULL, NULL), "CERT_PARSE");
	tear(&p);
}

/* P22: every certificate and CRL must be in date; bounds are inclusive. */
Test(x509chain, dates)
{
	struct pki p;

	p = plan();
	p.leaf_s.until = p.signer_s.until = -1;
	expect(&p, "CERT_EXPIRED", "CERT_EXPIRED");
	p = plan();
	p.leaf_s.from = p.signer_s.from = 1;
	expect(&p, "CERT_NOT_YET_VALID", "CERT_NOT_YET_VALID");
	p = plan();
	p.ca_s.until = -1;
	expect(&p, "CERT_EXPIRED", NULL);
	p = plan();
	p.root_s.until = -1;
	expect(&p, "CERT_EXPIRED", "CERT_EXPIRED");
	p = plan();
	p.root_crl_s.until = -1;
	expect(&p, "CRL_EXPIRED", "CRL_EXPIRED");
	p = plan();
	p.root_crl_s.from = 1;
	expect(&p, "CRL_NOT_YET_VALID", "CRL_NOT_YET_VALID");
	p = plan();
	p.pck_crl_s.until = -1;
	expect(&p, "CRL_EXPIRED", NULL);
	p = plan();
	p.leaf_s.from = p.leaf_s.until = 0;
	p.ca_s.until = p.pck_crl_s.from = p.root_crl_s.until = 0;
	expect(&p, NULL, NULL);
}

/* P4, P23: revocation is by issuer and serial, at every level. */
Test(x509chain, revocation)
{
	struct pki p = plan();

	p.pck_crl_s.revoked = 3;
	expect(&p, "CERT_REVOKED", NULL);
	p = plan();
	p.root_crl_s.revoked = 2;
	expect(&p, "CERT_REVOKED", NULL);
	p = plan();
	p.root_crl_s.revoked = 4;
	expect(&p, NULL, "CERT_REVOKED");
	p = plan();
	p.root_crl_s.revoked = 1;
	expect(&p, "CERT_REVOKED", "CERT_REVOKED");
	/* A leaf's serial in another issuer's list means another one. */
	p = plan();
	p.root_crl_s.revoked = 3;
	p.pck_crl_s.revoked = 4;
	expect(&p, NULL, NULL);
}

/* P4: CRLs must be the issuer's own, and plain. */
Test(x509chain, crls)
{
	struct pki p, q = plan();

	lay(&q);
	p = plan();
	p.root_crl_s.signed_by = &q.root;
	expect(&p, "CRL_SIG", "CRL_SIG");
	p = plan();
	p.pck_crl_s.signed_by = &q.ca;
	expect(&p, "CRL_SIG", NULL);
	p = plan();
	p.pck_crl_s.issuer_cn = "Intel SGX PCK Processor CA";
	expect(&p, "CRL_ISSUER", NULL);
	p = plan();
	p.ca_s.usage = "critical,keyCertSign";
	expect(&p, "CRL_ISSUER", NULL);
	/* One that covers only some certificates does not parse. */
	q.pck_crl_s.critical = true;
	cr_assert_null(make_crl(&q.pck_crl_s));
	tear(&q);
}

/* A PCK leaf without the SGX extension names no platform. */
Test(x509chain, no_sgx_extension)
{
	struct pki p = plan();
	struct cert *c = NULL;
	struct pckext facts;
	struct buf pem;
	bool platform_ca;

	lay(&p);
	pem = pem_of(&p.leaf, &p.ca, NULL, NULL);
	cr_assert(cert_pem_first(&c, buf_view(&pem)) == ERR_OK);
	cr_assert(cert_pck_facts(&facts, &platform_ca, c) == ERR_NOTFOUND);
	cert_free(c);
	c = NULL;
	cr_assert(cert_pem_first(&c, (struct bytes){ 0 }) == ERR_MALFORMED);
	cr_assert_null(c);
	buf_fini(&pem);
	tear(&p);
}
