/* cert: the one file of DCAP verification that parses X.509, with OpenSSL.
 *
 * OpenSSL 3 decodes the public key while it parses a certificate, through a
 * general decoder that costs more than verifying a signature with the key.
 * So certificates are parsed in a library context that has no decoders; the
 * key is made from the point itself, and signatures are verified over the
 * bytes as they came. */
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/objects.h>
#include <openssl/provider.h>
#include <openssl/x509v3.h>

#include "common/attest/cert.h"
#include "common/attest/der.h"
#include "common/attest/pem.h"
#include "common/base/limits.h"
#include "common/base/memfail.h"
#include "common/crypto/p256.h"

/* RFC 5280 4.1.2.5: seconds are there, the zone is Z; nothing else. */
static bool
time_read(int64_t *out, const ASN1_TIME *t)
{
	struct tm tm;
	int want;

	if (t == NULL)
		return false;
	want = ASN1_STRING_type(t) == V_ASN1_UTCTIME ? 13 : 15;
	if (ASN1_STRING_length(t) != want ||
	    ASN1_STRING_get0_data(t)[want - 1] != 'Z' ||
	    !ASN1_TIME_to_tm(t, &tm))
		return false;
	*out = timegm(&tm);
	return true;
}

/* ecdsa-with-SHA256, without parameters: RFC 5758 3.2. */
static const uint8_t ecdsa_sha256[12] = { 0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86,
	0x48, 0xce, 0x3d, 0x04, 0x03, 0x02 };

static bool
takes_ecdsa_sha256(struct rd *r)
{
	const uint8_t *p = rd_bytes(r, sizeof ecdsa_sha256);

	return p != NULL && memcmp(p, ecdsa_sha256, sizeof ecdsa_sha256) == 0;
}

/* object_open finds the signed bytes.  The algorithm stands inside them and
 * beside them: both must be the one we verify with.  `version_tag` is that
 * of the version in front of it. */
static enum err
object_open(
    struct signed_object *o, struct bytes der, uint8_t version_tag, bool serial)
{
	struct rd r, whole, tbs, sig;
	enum err e = buf_set(&o->der, der.p, der.len);

	if (e != ERR_OK)
		return e;
	r = (struct rd){ .p = o->der.p, .left = o->der.len };
	whole = der_get(&r, DER_SEQUENCE);
	o->tbs.p = whole.p;
	tbs = der_get(&whole, DER_SEQUENCE);
	if (!rd_done(&r) || whole.bad)
		return ERR_MALFORMED;
	o->tbs.len = (size_t)(whole.p - o->tbs.p);
	if (!takes_ecdsa_sha256(&whole))
		return ERR_MALFORMED;
	sig = der_get(&whole, DER_BIT_STRING);
	/* No bit of the last byte is unused. */
	if (rd_u8(&sig) != 0 || sig.bad || !rd_done(&whole))
		return ERR_MALFORMED;
	o->signature = (struct bytes){ sig.p, sig.left };
	(void)der_get(&tbs, version_tag);
	if (serial)
		(void)der_get(&tbs, DER_INTEGER);
	return takes_ecdsa_sha256(&tbs) ? ERR_OK : ERR_MALFORMED;
}

bool
object_signed_by(const struct signed_object *o, EVP_PKEY *key)
{
	bool ok = p256_verify_der_evp(key, o->signature.p, o->signature.len,
		      o->tbs.p, o->tbs.len) == ERR_OK;

	ERR_clear_error();
	return ok;
}

/* For the life of the process, once it could be made; NULL: no memory, this
 * time. */
static OSSL_LIB_CTX *
plain_ctx(void)
{
	static _Atomic(OSSL_LIB_CTX *) made;
	OSSL_LIB_CTX *c = atomic_load(&made), *none = NULL;

	if (c != NULL || (c = OSSL_LIB_CTX_new()) == NULL)
		return c;
	/* Without any, OpenSSL would load the default provider by itself. */
	if (OSSL_PROVIDER_load(c, "null") != NULL &&
	    atomic_compare_exchange_strong(&made, &none, c))
		return c;
	OSSL_LIB_CTX_free(c); /* or another thread was first */
	return none;
}

/* An uncompressed point on the named curve: explicit parameters that happen
 * to be P-256's, or the compressed form, are another encoding. */
static EVP_PKEY *
key_of(const X509 *x)
{
	X509_PUBKEY *pub = X509_get_X509_PUBKEY(x);
	struct p256_pub xy;
	ASN1_OBJECT *alg;
	X509_ALGOR *id;
	const void *param;
	const uint8_t *point;
	int len, type;

	if (!X509_PUBKEY_get0_param(&alg, &point, &len, &id, pub))
		return NULL;
	X509_ALGOR_get0(NULL, &type, &param, id);
	if (OBJ_obj2nid(alg) != NID_X9_62_id_ecPublicKey ||
	    type != V_ASN1_OBJECT ||
	    OBJ_obj2nid(param) != NID_X9_62_prime256v1 || len != 65 ||
	    point[0] != 4)
		return NULL;
	memcpy(xy.xy, point + 1, sizeof xy.xy);
	return p256_evp_public(&xy);
}

/* Basic constraints and key usage: both there, critical, and nothing else
 * critical (what we do not know we must not skip: RFC 5280 4.2). */
static bool
criticals_fit(const X509 *x)
{
	unsigned known = 0;

	for (int i = X509_get_ext_by_critical(x, 1, -1); i >= 0;
	     i = X509_get_ext_by_critical(x, 1, i)) {
		const X509_EXTENSION *e = X509_get_ext(x, i);
		int nid = OBJ_obj2nid(
		    X509_EXTENSION_get_object((X509_EXTENSION *)(uintptr_t)e));

		if (nid != NID_basic_constraints && nid != NID_key_usage)
			return false;
		known++;
	}
	return known == 2;
}

static bool
profile_fits(struct cert *c)
{
	uint32_t flags = X509_get_extension_flags(c->x);

	/* Key usage alone would not say CA:FALSE or hide a second copy. */
	if ((flags & (EXFLAG_INVALID | EXFLAG_CRITICAL)) != 0 ||
	    (flags & (EXFLAG_BCONS | EXFLAG_KUSAGE)) !=
		(EXFLAG_BCONS | EXFLAG_KUSAGE) ||
	    X509_get_version(c->x) != X509_VERSION_3 || !criticals_fit(c->x) ||
	    !time_read(&c->not_before, X509_get0_notBefore(c->x)) ||
	    !time_read(&c->not_after, X509_get0_notAfter(c->x)))
		return false;
	c->usage = X509_get_key_usage(c->x);
	c->ca = (flags & EXFLAG_CA) != 0;
	c->path_len = X509_get_pathlen(c->x);
	if (c->ca != ((c->usage & KU_KEY_CERT_SIGN) != 0))
		return false;
	/* Key identifiers: RFC 5280 4.2.1.1 and 4.2.1.2. */
	if (c->ca && X509_get0_subject_key_id(c->x) == NULL)
		return false;
	return (flags & EXFLAG_SI) != 0 ||
	    X509_get0_authority_key_id(c->x) != NULL;
}

enum err
cert_parse(struct cert **out, struct bytes der)
{
	struct cert *c = calloc(1, sizeof *c);
	uint64_t before = memfail_count();
	OSSL_LIB_CTX *ctx;
	const uint8_t *p;
	enum err e = ERR_NOMEM;

	if (c == NULL) {
		e = memfail_note();
		goto done;
	}
	if ((ctx = plain_ctx()) == NULL)
		goto done;
	e = ERR_MALFORMED;
	if (der.len > LIMIT_CERT ||
	    (e = object_open(&c->o, der, DER_CONTEXT_0, true)) != ERR_OK)
		goto done;
	e = ERR_NOMEM;
	if ((c->x = X509_new_ex(ctx, NULL)) == NULL)
		goto done;
	p = c->o.der.p;
	e = ERR_MALFORMED;
	/* On failure c->x may be gone, or still there. */
	if (d2i_X509(&c->x, &p, (long)der.len) == NULL ||
	    p != c->o.der.p + der.len || !profile_fits(c) ||
	    (c->key = key_of(c->x)) == NULL)
		goto done;
	*out = c;
	c = NULL; /* transferred */
	e = ERR_OK;
done:
	ERR_clear_error();
	cert_free(c);
	return memfail_err(before, e);
}

void
cert_free(struct cert *c)
{
	if (c == NULL)
		return;
	X509_free(c->x);
	EVP_PKEY_free(c->key);
	buf_fini(&c->o.der);
	free(c);
}

EVP_PKEY *
cert_key(const struct cert *c)
{
	return c->key;
}

bool
cert_names_fit(const struct cert *issuer, const struct cert *c)
{
	AUTHORITY_KEYID *id;
	bool ok;

	if (X509_NAME_cmp(X509_get_subject_name(issuer->x),
		X509_get_issuer_name(c->x)) != 0)
		return false;
	id = X509_get_ext_d2i(c->x, NID_authority_key_identifier, NULL, NULL);
	/* Only a self-issued certificate may be without: profile_fits. */
	ok = id == NULL || X509_check_akid(issuer->x, id) == X509_V_OK;
	AUTHORITY_KEYID_free(id);
	return ok;
}

bool
cert_is_root(const struct cert *c)
{
	return c->ca && (c->usage & KU_CRL_SIGN) != 0 && cert_names_fit(c, c) &&
	    object_signed_by(&c->o, c->key);
}

bool
cert_cn_is(const X509_NAME *name, const char *want)
{
	int i = X509_NAME_get_index_by_NID(name, NID_commonName, -1);
	const ASN1_STRING *s;

	if (i < 0 || X509_NAME_get_index_by_NID(name, NID_commonName, i) >= 0)
		return false;
	s = X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, i));
	return (size_t)ASN1_STRING_length(s) == strlen(want) &&
	    memcmp(ASN1_STRING_get0_data(s), want, strlen(want)) == 0;
}

enum err
cert_pem_first(struct cert **out, struct bytes pem)
{
	uint8_t der[LIMIT_CERT];
	size_t len;
	enum err e = pem_next(der, &len, &pem);

	if (e != ERR_OK)
		return e == ERR_NOTFOUND ? ERR_MALFORMED : e;
	return cert_parse(out, (struct bytes){ der, len });
}

enum err
cert_pck_facts(struct pckext *out, bool *platform_ca, const struct cert *leaf)
{
	ASN1_OBJECT *oid = OBJ_txt2obj(PCKEXT_OID, 1);
	const X509_NAME *issuer = X509_get_issuer_name(leaf->x);
	const ASN1_OCTET_STRING *v;
	enum err e = ERR_NOMEM;
	int i;

	if (oid == NULL)
		goto done;
	e = ERR_NOTFOUND;
	if ((i = X509_get_ext_by_OBJ(leaf->x, oid, -1)) < 0)
		goto done;
	e = ERR_MALFORMED;
	if (X509_get_ext_by_OBJ(leaf->x, oid, i) >= 0)
		goto done;
	*platform_ca = cert_cn_is(issuer, CN_PLATFORM_CA);
	if (!*platform_ca && !cert_cn_is(issuer, CN_PROCESSOR_CA))
		goto done;
	v = X509_EXTENSION_get_data(X509_get_ext(leaf->x, i));
	e = pckext_parse(out,
	    (struct bytes){
		ASN1_STRING_get0_data(v), (size_t)ASN1_STRING_length(v) });
done:
	ASN1_OBJECT_free(oid);
	return e;
}

/* No critical extension, of the CRL or of an entry: such a list would not
 * mean "all of this issuer's certificates, by serial number". */
static bool
crl_is_plain(X509_CRL *x)
{
	STACK_OF(X509_REVOKED) *list = X509_CRL_get_REVOKED(x);

	if (X509_CRL_get_ext_by_critical(x, 1, -1) >= 0)
		return false;
	for (int i = 0; i < sk_X509_REVOKED_num(list); i++)
		if (X509_REVOKED_get_ext_by_critical(
			sk_X509_REVOKED_value(list, i), 1, -1) >= 0)
			return false;
	return true;
}

enum err
crl_parse(struct crl **out, struct bytes der)
{
	struct crl *c = calloc(1, sizeof *c);
	uint64_t before = memfail_count();
	const uint8_t *p;
	enum err e = ERR_MALFORMED;

	if (c == NULL)
		return memfail_note();
	if (der.len > LIMIT_COLLATERAL ||
	    (e = object_open(&c->o, der, DER_INTEGER, false)) != ERR_OK)
		goto done;
	p = c->o.der.p;
	c->x = d2i_X509_CRL(NULL, &p, (long)der.len);
	e = ERR_MALFORMED;
	if (c->x == NULL || p != c->o.der.p + der.len || !crl_is_plain(c->x) ||
	    !time_read(&c->this_update, X509_CRL_get0_lastUpdate(c->x)) ||
	    !time_read(&c->next_update, X509_CRL_get0_nextUpdate(c->x)))
		goto done;
	*out = c;
	c = NULL; /* transferred */
	e = ERR_OK;
done:
	ERR_clear_error();
	crl_free(c);
	return memfail_err(before, e);
}

void
crl_free(struct crl *c)
{
	if (c == NULL)
		return;
	X509_CRL_free(c->x);
	buf_fini(&c->o.der);
	free(c);
}
