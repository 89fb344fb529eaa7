/* simcert: see simcert.h.  Everything here signs with the simulator's own
 * keys, under names that no real verifier trusts. */
#include <string.h>
#include <time.h>

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "common/attest/certmake.h"
#include "common/base/secret.h"
#include "node/tee/simcert.h"

static const struct {
	const char *cn;
	const char *constraints;
	const char *usage;
} kinds[] = {
	[SIM_CERT_ROOT] = { "Intel SGX Root CA", "critical,CA:TRUE,pathlen:1",
	    "critical,keyCertSign,cRLSign" },
	[SIM_CERT_PCK_CA] = { "Intel SGX PCK Platform CA",
	    "critical,CA:TRUE,pathlen:0", "critical,keyCertSign,cRLSign" },
	[SIM_CERT_TCB_SIGNING] = { "Intel SGX TCB Signing", "critical,CA:FALSE",
	    "critical,digitalSignature,nonRepudiation" },
	[SIM_CERT_PCK] = { "Intel SGX PCK Certificate", "critical,CA:FALSE",
	    "critical,digitalSignature,nonRepudiation" },
};

void
sim_authority_fini(struct sim_authority *a)
{
	p256_secret_wipe(&a->key);
	buf_fini(&a->der);
}

/* ---- the SGX extension: tdx-dcap.md 2.4 ---- */

#define TAG_BOOLEAN 0x01
#define TAG_INTEGER 0x02
#define TAG_OCTETS 0x04
#define TAG_OID 0x06
#define TAG_ENUM 0x0a
#define TAG_SEQUENCE 0x30
#define EXT_MAX 1024

/* 1.2.840.113741.1.13.1, then what `suffix` adds. */
#define SGX_OID "\x2a\x86\x48\x86\xf8\x4d\x01\x0d\x01"
#define SGX_OID_TEXT "1.2.840.113741.1.13.1"

static enum err
tlv(struct buf *out, uint8_t tag, const void *p, size_t len)
{
	uint8_t head[4] = { tag };
	size_t n = 2;
	enum err e;

	if (len < 0x80) {
		head[1] = (uint8_t)len;
	} else if (len <= 0xff) {
		head[1] = 0x81;
		head[2] = (uint8_t)len;
		n = 3;
	} else {
		head[1] = 0x82;
		head[2] = (uint8_t)(len >> 8);
		head[3] = (uint8_t)len;
		n = 4;
	}
	if ((e = buf_append(out, head, n, EXT_MAX)) != ERR_OK)
		return e;
	return buf_append(out, p, len, EXT_MAX);
}

/* SEQUENCE { OID SGX_OID.suffix, value } */
static enum err
entry(struct buf *out, const uint8_t *suffix, size_t suffix_len, uint8_t tag,
    const void *p, size_t len)
{
	uint8_t oid[sizeof SGX_OID - 1 + 2];
	struct buf in = { 0 };
	enum err e;

	memcpy(oid, SGX_OID, sizeof SGX_OID - 1);
	memcpy(oid + sizeof SGX_OID - 1, suffix, suffix_len);
	e = tlv(&in, TAG_OID, oid, sizeof SGX_OID - 1 + suffix_len);
	if (e == ERR_OK)
		e = tlv(&in, tag, p, len);
	if (e == ERR_OK)
		e = tlv(out, TAG_SEQUENCE, in.p, in.len);
	buf_fini(&in);
	return e;
}

static enum err
entry1(struct buf *out, uint8_t id, uint8_t tag, const void *p, size_t len)
{
	return entry(out, &id, 1, tag, p, len);
}

static enum err
entry2(struct buf *out, uint8_t id, uint8_t sub, uint8_t tag, const void *p,
    size_t len)
{
	return entry(out, (const uint8_t[]){ id, sub }, 2, tag, p, len);
}

/* An INTEGER of one or two bytes, minimal and never negative. */
static enum err
entry_int(struct buf *out, uint8_t id, uint8_t sub, uint16_t v)
{
	uint8_t b[3] = { 0, (uint8_t)(v >> 8), (uint8_t)v };
	size_t skip = 0;

	while (skip < 2 && b[skip] == 0 && (b[skip + 1] & 0x80) == 0)
		skip++;
	return entry2(out, id, sub, TAG_INTEGER, b + skip, sizeof b - skip);
}

static enum err
tcb_entries(struct buf *out, const struct sim_platform *p)
{
	enum err e = ERR_OK;

	for (uint8_t i = 0; i < 16 && e == ERR_OK; i++)
		e = entry_int(out, 2, (uint8_t)(i + 1), p->sgx_svn[i]);
	if (e == ERR_OK)
		e = entry_int(out, 2, 17, p->pce_svn);
	if (e == ERR_OK)
		e = entry2(out, 2, 18, TAG_OCTETS, p->sgx_svn, 16);
	return e;
}

/* Dynamic platform, cached keys, SMT: as multi-package servers say. */
static enum err
config_entries(struct buf *out)
{
	const uint8_t yes = 0xff;
	enum err e = ERR_OK;

	for (uint8_t i = 1; i <= 3 && e == ERR_OK; i++)
		e = entry2(out, 7, i, TAG_BOOLEAN, &yes, 1);
	return e;
}

static enum err
sgx_extension(struct buf *out, const struct sim_platform *p)
{
	const uint8_t type = 1; /* scalable */
	struct buf tcb = { 0 }, config = { 0 }, all = { 0 };
	enum err e;

	if ((e = tcb_entries(&tcb, p)) != ERR_OK ||
	    (e = config_entries(&config)) != ERR_OK ||
	    (e = entry1(&all, 1, TAG_OCTETS, p->ppid, 16)) != ERR_OK ||
	    (e = entry1(&all, 2, TAG_SEQUENCE, tcb.p, tcb.len)) != ERR_OK ||
	    (e = entry1(&all, 3, TAG_OCTETS, SIM_PCEID, 2)) != ERR_OK ||
	    (e = entry1(&all, 4, TAG_OCTETS, SIM_FMSPC, 6)) != ERR_OK ||
	    (e = entry1(&all, 5, TAG_ENUM, &type, 1)) != ERR_OK ||
	    (e = entry1(&all, 6, TAG_OCTETS, p->instance_id, 16)) != ERR_OK ||
	    (e = entry1(&all, 7, TAG_SEQUENCE, config.p, config.len)) != ERR_OK)
		goto done;
	e = tlv(out, TAG_SEQUENCE, all.p, all.len);
done:
	buf_fini(&tcb);
	buf_fini(&config);
	buf_fini(&all);
	return e;
}

/* ---- certificates ---- */

static X509_NAME *
name_of(enum sim_cert_kind kind)
{
	X509_NAME *n = X509_NAME_new();
	const struct {
		const char *field, *text;
	} part[] = { { "CN", kinds[kind].cn }, { "O", SIM_ORGANIZATION },
		{ "L", "Nowhere" }, { "C", "ZZ" } };

	for (size_t i = 0; n != NULL && i < 4; i++)
		if (X509_NAME_add_entry_by_txt(n, part[i].field, MBSTRING_ASC,
			(const unsigned char *)part[i].text, -1, -1, 0) != 1) {
			X509_NAME_free(n);
			n = NULL;
		}
	return n;
}

static bool
set_time(ASN1_TIME **t, int64_t at)
{
	ASN1_TIME *made = ASN1_TIME_adj(*t, (time_t)at, 0, 0);

	if (made == NULL)
		return false;
	*t = made;
	return true;
}

static bool
set_serial(ASN1_INTEGER *out, const struct sim_serial *s)
{
	BIGNUM *n = BN_bin2bn(s->b, SIM_SERIAL_LEN, NULL);
	bool ok = n != NULL && BN_to_ASN1_INTEGER(n, out) != NULL;

	BN_free(n);
	return ok;
}

static bool
add_sgx_ext(X509 *x, const struct sim_platform *p)
{
	ASN1_OBJECT *oid = OBJ_txt2obj(SGX_OID_TEXT, 1);
	ASN1_OCTET_STRING *value = ASN1_OCTET_STRING_new();
	X509_EXTENSION *ext = NULL;
	struct buf der = { 0 };
	bool ok = false;

	if (oid == NULL || value == NULL || sgx_extension(&der, p) != ERR_OK ||
	    ASN1_OCTET_STRING_set(value, der.p, (int)der.len) != 1)
		goto done;
	ext = X509_EXTENSION_create_by_OBJ(NULL, oid, 0, value);
	ok = ext != NULL && X509_add_ext(x, ext, -1) == 1;
done:
	X509_EXTENSION_free(ext);
	ASN1_OCTET_STRING_free(value);
	ASN1_OBJECT_free(oid);
	buf_fini(&der);
	return ok;
}

static X509 *
parse(struct bytes der)
{
	const unsigned char *p = der.p;

	return d2i_X509(NULL, &p, (long)der.len);
}

static bool
fill(X509 *x, X509 *issuer, enum sim_cert_kind kind,
    const struct sim_serial *serial, const struct sim_platform *platform,
    int64_t from, int64_t until)
{
	ASN1_TIME *a = X509_getm_notBefore(x), *b = X509_getm_notAfter(x);
	X509_NAME *name = name_of(kind);
	bool ok = name != NULL && X509_set_version(x, X509_VERSION_3) == 1 &&
	    set_serial(X509_get_serialNumber(x), serial) &&
	    X509_set_subject_name(x, name) == 1 &&
	    X509_set_issuer_name(
		x, issuer == x ? name : X509_get_subject_name(issuer)) == 1 &&
	    set_time(&a, from) && set_time(&b, until) &&
	    certmake_conf(x, issuer, NID_subject_key_identifier, "hash") &&
	    certmake_conf(
		x, issuer, NID_authority_key_identifier, "keyid:always") &&
	    certmake_conf(x, issuer, NID_key_usage, kinds[kind].usage) &&
	    certmake_conf(
		x, issuer, NID_basic_constraints, kinds[kind].constraints) &&
	    (platform == NULL || add_sgx_ext(x, platform));

	X509_NAME_free(name);
	return ok;
}

static void
random_serial(struct sim_serial *s)
{
	secret_random(s->b, sizeof s->b);
	s->b[0] = (uint8_t)((s->b[0] & 0x3f) | 0x40);
}

/* Takes `der` from an i2d call. */
static enum err
keep_der(struct buf *out, unsigned char *der, int len)
{
	enum err e = len > 0 ? buf_set(out, der, (size_t)len) : ERR_NOMEM;

	OPENSSL_free(der);
	return e;
}

enum err
sim_cert_issue(struct buf *der, struct sim_serial *serial,
    enum sim_cert_kind kind, const struct p256_pub *key,
    const struct sim_authority *issuer, const struct sim_platform *platform,
    int64_t from, int64_t until)
{
	EVP_PKEY *pub = p256_evp_public(key);
	EVP_PKEY *signer = p256_evp_secret(&issuer->key);
	X509 *x = X509_new(), *by = NULL;
	unsigned char *raw = NULL;
	enum err e = ERR_NOMEM;
	int n;

	if (x == NULL || pub == NULL || signer == NULL)
		goto done;
	if (kind != SIM_CERT_ROOT &&
	    (by = parse(buf_view(&issuer->der))) == NULL) {
		e = ERR_CORRUPT;
		goto done;
	}
	random_serial(serial);
	if (X509_set_pubkey(x, pub) != 1 ||
	    !fill(
		x, by == NULL ? x : by, kind, serial, platform, from, until) ||
	    X509_sign(x, signer, EVP_sha256()) <= 0)
		goto done;
	n = i2d_X509(x, &raw);
	e = keep_der(der, raw, n);
done:
	X509_free(x);
	X509_free(by);
	EVP_PKEY_free(pub);
	EVP_PKEY_free(signer);
	return e;
}

enum err
sim_cert_pem(struct buf *pem, struct bytes der)
{
	X509 *x = parse(der);
	BIO *bio = BIO_new(BIO_s_mem());
	enum err e = ERR_NOMEM;
	char *p;
	long n;

	if (x == NULL)
		e = ERR_CORRUPT;
	else if (bio != NULL && PEM_write_bio_X509(bio, x) == 1 &&
	    (n = BIO_get_mem_data(bio, &p)) > 0)
		e = buf_append(pem, p, (size_t)n, SIZE_MAX);
	BIO_free(bio);
	X509_free(x);
	return e;
}

/* ---- CRLs ---- */

static bool
crl_add(X509_CRL *crl, const struct sim_serial *serial, ASN1_TIME *when)
{
	X509_REVOKED *r = X509_REVOKED_new();
	ASN1_INTEGER *n = ASN1_INTEGER_new();
	ASN1_ENUMERATED *why = ASN1_ENUMERATED_new();
	bool ok = r != NULL && n != NULL && why != NULL &&
	    set_serial(n, serial) && X509_REVOKED_set_serialNumber(r, n) == 1 &&
	    X509_REVOKED_set_revocationDate(r, when) == 1 &&
	    ASN1_ENUMERATED_set(why, CRL_REASON_KEY_COMPROMISE) == 1 &&
	    X509_REVOKED_add1_ext_i2d(r, NID_crl_reason, why, 0, 0) == 1 &&
	    X509_CRL_add0_revoked(crl, r) == 1;

	if (!ok)
		X509_REVOKED_free(r);
	ASN1_INTEGER_free(n);
	ASN1_ENUMERATED_free(why);
	return ok;
}

static bool
crl_exts(X509_CRL *crl, X509 *issuer, int64_t number)
{
	ASN1_INTEGER *n = ASN1_INTEGER_new();
	X509_EXTENSION *aki = NULL;
	X509V3_CTX ctx;
	bool ok;

	X509V3_set_ctx(&ctx, issuer, NULL, NULL, crl, 0);
	aki = X509V3_EXT_conf_nid(
	    NULL, &ctx, NID_authority_key_identifier, "keyid:always");
	ok = n != NULL && aki != NULL && X509_CRL_add_ext(crl, aki, -1) == 1 &&
	    ASN1_INTEGER_set_int64(n, number) == 1 &&
	    X509_CRL_add1_ext_i2d(crl, NID_crl_number, n, 0, 0) == 1;
	X509_EXTENSION_free(aki);
	ASN1_INTEGER_free(n);
	return ok;
}

enum err
sim_crl_issue(struct buf *der, const struct sim_authority *issuer,
    const struct sim_serial *revoked, size_t n, int64_t from, int64_t until)
{
	EVP_PKEY *signer = p256_evp_secret(&issuer->key);
	X509 *by = parse(buf_view(&issuer->der));
	X509_CRL *crl = X509_CRL_new();
	ASN1_TIME *a = NULL, *b = NULL;
	unsigned char *raw = NULL;
	enum err e = ERR_NOMEM;
	int raw_len;

	if (signer == NULL || by == NULL || crl == NULL ||
	    !set_time(&a, from) || !set_time(&b, until) ||
	    X509_CRL_set_version(crl, X509_CRL_VERSION_2) != 1 ||
	    X509_CRL_set_issuer_name(crl, X509_get_subject_name(by)) != 1 ||
	    X509_CRL_set1_lastUpdate(crl, a) != 1 ||
	    X509_CRL_set1_nextUpdate(crl, b) != 1)
		goto done;
	for (size_t i = 0; i < n; i++)
		if (!crl_add(crl, &revoked[i], a))
			goto done;
	/* The number must grow: the time of issue does. */
	if (X509_CRL_sort(crl) != 1 || !crl_exts(crl, by, from) ||
	    X509_CRL_sign(crl, signer, EVP_sha256()) <= 0)
		goto done;
	raw_len = i2d_X509_CRL(crl, &raw);
	e = keep_der(der, raw, raw_len);
done:
	ASN1_TIME_free(a);
	ASN1_TIME_free(b);
	X509_CRL_free(crl);
	X509_free(by);
	EVP_PKEY_free(signer);
	return e;
}
