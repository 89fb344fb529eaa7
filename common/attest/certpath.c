/* certpath: OpenSSL's X.509 for AMD and AWS.
 *
 * Dates are checked here and not by X509_verify_cert, which takes the last
 * second of a certificate for one too late (RFC 5280 4.1.2.5: inclusive). */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/objects.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "common/attest/certpath.h"
#include "common/base/limits.h"
#include "common/crypto/hash.h"

#define P384_POINT_LEN 97

struct link {
	X509 *x; /* owns */
	int64_t not_before;
	int64_t not_after;
};

struct certpath {
	struct link link[CERTPATH_MAX];
	size_t n;
	uint8_t anchor_sha256[32];
};

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

/* An uncompressed point on the named curve, and nothing that equals it. */
static bool
key_is_p384(const X509 *x)
{
	X509_PUBKEY *pub = X509_get_X509_PUBKEY(x);
	ASN1_OBJECT *alg;
	X509_ALGOR *id;
	const void *param;
	const uint8_t *point;
	int len, type;

	if (X509_get0_pubkey(x) == NULL ||
	    !X509_PUBKEY_get0_param(&alg, &point, &len, &id, pub))
		return false;
	X509_ALGOR_get0(NULL, &type, &param, id);
	return OBJ_obj2nid(alg) == NID_X9_62_id_ecPublicKey &&
	    type == V_ASN1_OBJECT && OBJ_obj2nid(param) == NID_secp384r1 &&
	    len == P384_POINT_LEN && point[0] == 4;
}

static bool
link_fits(struct link *l, bool leaf)
{
	uint32_t flags = X509_get_extension_flags(l->x);
	const uint32_t ca = EXFLAG_BCONS | EXFLAG_KUSAGE | EXFLAG_CA;

	if ((flags & (EXFLAG_INVALID | EXFLAG_CRITICAL)) != 0 ||
	    X509_get_version(l->x) != X509_VERSION_3 ||
	    !time_read(&l->not_before, X509_get0_notBefore(l->x)) ||
	    !time_read(&l->not_after, X509_get0_notAfter(l->x)))
		return false;
	/* AMD's leaves carry neither constraints nor usage; a CA in the
	 * leaf's place would be a role confusion all the same. */
	if (leaf)
		return (flags & EXFLAG_CA) == 0 &&
		    ((flags & EXFLAG_KUSAGE) == 0 ||
			(X509_get_key_usage(l->x) & KU_DIGITAL_SIGNATURE) !=
			    0) &&
		    key_is_p384(l->x);
	return (flags & ca) == ca &&
	    (X509_get_key_usage(l->x) & KU_KEY_CERT_SIGN) != 0;
}

static enum err
link_parse(struct link *l, struct bytes der, bool leaf)
{
	const uint8_t *p = der.p;

	if (der.len == 0 || der.len > LIMIT_CERT)
		return ERR_MALFORMED;
	l->x = d2i_X509(NULL, &p, (long)der.len);
	if (l->x == NULL || p != der.p + der.len || !link_fits(l, leaf))
		return ERR_MALFORMED;
	return ERR_OK;
}

enum err
certpath_new(
    struct certpath **out, size_t *at, const struct bytes *der, size_t n)
{
	struct certpath *p = calloc(1, sizeof *p);
	enum err e = ERR_OK;

	if (p == NULL)
		return ERR_NOMEM;
	*at = 0;
	if (n < 2 || n > CERTPATH_MAX)
		e = ERR_MALFORMED;
	for (size_t i = 0; e == ERR_OK && i < n; i++) {
		*at = i;
		p->n = i + 1;
		e = link_parse(&p->link[i], der[i], i == 0);
	}
	ERR_clear_error();
	if (e != ERR_OK) {
		certpath_free(p);
		return e;
	}
	sha256(p->anchor_sha256, der[n - 1].p, der[n - 1].len);
	*out = p;
	return ERR_OK;
}

void
certpath_free(struct certpath *p)
{
	if (p == NULL)
		return;
	for (size_t i = 0; i < p->n; i++)
		X509_free(p->link[i].x);
	free(p);
}

EVP_PKEY *
certpath_leaf_key(const struct certpath *p)
{
	return X509_get0_pubkey(p->link[0].x);
}

void
certpath_fingerprint(const struct certpath *p, uint8_t out[static 32])
{
	memcpy(out, p->anchor_sha256, 32);
}

bool
certpath_cn_is(const struct certpath *p, size_t i, const char *want)
{
	const X509_NAME *name = X509_get_subject_name(p->link[i].x);
	int at = X509_NAME_get_index_by_NID(name, NID_commonName, -1);
	const ASN1_STRING *s;

	if (at < 0 || X509_NAME_get_index_by_NID(name, NID_commonName, at) >= 0)
		return false;
	s = X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at));
	return (size_t)ASN1_STRING_length(s) == strlen(want) &&
	    memcmp(ASN1_STRING_get0_data(s), want, strlen(want)) == 0;
}

bool
certpath_signed_with(const struct certpath *p, size_t i, enum certpath_sig alg)
{
	int md, key;
	uint32_t flags;

	if (X509_get_signature_info(p->link[i].x, &md, &key, NULL, &flags) !=
		1 ||
	    md != NID_sha384)
		return false;
	switch (alg) {
	case CERTPATH_PSS_SHA384:
		/* The flag says: MGF1 hash and salt length fit the hash. */
		return key == NID_rsassaPss && (flags & X509_SIG_INFO_TLS) != 0;
	case CERTPATH_ECDSA_SHA384:
		return key == NID_X9_62_id_ecPublicKey;
	}
	return false;
}

enum err
certpath_leaf_ext(struct bytes *out, const struct certpath *p, const char *oid)
{
	ASN1_OBJECT *o = OBJ_txt2obj(oid, 1);
	const ASN1_OCTET_STRING *v;
	enum err e = ERR_NOMEM;
	int i;

	if (o == NULL)
		return e;
	e = ERR_NOTFOUND;
	if ((i = X509_get_ext_by_OBJ(p->link[0].x, o, -1)) < 0)
		goto done;
	e = ERR_MALFORMED;
	if (X509_get_ext_by_OBJ(p->link[0].x, o, i) >= 0)
		goto done;
	v = X509_EXTENSION_get_data(X509_get_ext(p->link[0].x, i));
	*out = (struct bytes){ ASN1_STRING_get0_data(v),
		(size_t)ASN1_STRING_length(v) };
	e = ERR_OK;
done:
	ASN1_OBJECT_free(o);
	return e;
}

static enum certpath_fault
fault_of(int error)
{
	switch (error) {
	case X509_V_OK:
		return CERTPATH_OK;
	case X509_V_ERR_CERT_SIGNATURE_FAILURE:
	case X509_V_ERR_UNABLE_TO_DECRYPT_CERT_SIGNATURE:
	case X509_V_ERR_UNABLE_TO_DECODE_ISSUER_PUBLIC_KEY:
		return CERTPATH_SIGNATURE;
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
	case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
	case X509_V_ERR_SUBJECT_ISSUER_MISMATCH:
	case X509_V_ERR_AKID_SKID_MISMATCH:
	case X509_V_ERR_AKID_ISSUER_SERIAL_MISMATCH:
	case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
	case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
		return CERTPATH_ISSUER;
	default: /* an int, not an enum of ours */
		return CERTPATH_SHAPE;
	}
}

/* OpenSSL may leave out what it does not need: then the path is not the
 * one that the caller described. */
static bool
same_path(X509_STORE_CTX *ctx, const struct certpath *p)
{
	const STACK_OF(X509) *found = X509_STORE_CTX_get0_chain(ctx);

	if (sk_X509_num(found) != (int)p->n)
		return false;
	for (int i = 0; i < (int)p->n; i++)
		if (X509_cmp(sk_X509_value(found, i), p->link[i].x) != 0)
			return false;
	return true;
}

enum certpath_fault
certpath_verify(const struct certpath *p, size_t *at, const char **text)
{
	X509_STORE *store = X509_STORE_new();
	X509_STORE_CTX *ctx = X509_STORE_CTX_new();
	STACK_OF(X509) *middle = sk_X509_new_null();
	enum certpath_fault f = CERTPATH_SHAPE;
	size_t depth;

	*at = 0;
	*text = "out of memory";
	if (store == NULL || ctx == NULL || middle == NULL ||
	    X509_STORE_add_cert(store, p->link[p->n - 1].x) != 1)
		goto done;
	for (size_t i = 1; i + 1 < p->n; i++)
		if (sk_X509_push(middle, p->link[i].x) <= 0)
			goto done;
	if (X509_STORE_CTX_init(ctx, store, p->link[0].x, middle) != 1)
		goto done;
	X509_VERIFY_PARAM_set_flags(X509_STORE_CTX_get0_param(ctx),
	    X509_V_FLAG_NO_CHECK_TIME | X509_V_FLAG_CHECK_SS_SIGNATURE);
	if (X509_verify_cert(ctx) != 1) {
		f = fault_of(X509_STORE_CTX_get_error(ctx));
		if (f == CERTPATH_OK)
			f = CERTPATH_SHAPE;
		depth = (size_t)X509_STORE_CTX_get_error_depth(ctx);
		*at = depth < p->n ? depth : p->n - 1;
		*text = X509_verify_cert_error_string(
		    X509_STORE_CTX_get_error(ctx));
	} else if (!same_path(ctx, p)) {
		*text = "a certificate is not part of the path";
	} else {
		f = CERTPATH_OK;
	}
done:
	ERR_clear_error();
	sk_X509_free(middle); /* the certificates stay the path's */
	X509_STORE_CTX_free(ctx);
	X509_STORE_free(store);
	return f;
}

enum certpath_fault
certpath_in_date(const struct certpath *p, size_t *at, int64_t now)
{
	for (size_t i = 0; i < p->n; i++)
		if (now < p->link[i].not_before || now > p->link[i].not_after) {
			*at = i;
			return CERTPATH_TIME;
		}
	return CERTPATH_OK;
}

void
certpath_window(const struct certpath *p, int64_t *from, int64_t *until)
{
	*from = INT64_MIN;
	*until = INT64_MAX;
	for (size_t i = 0; i < p->n; i++) {
		if (p->link[i].not_before > *from)
			*from = p->link[i].not_before;
		if (p->link[i].not_after < *until)
			*until = p->link[i].not_after;
	}
}

/* A critical extension would make it another list than "all that this
 * issuer revoked, by serial number". */
static bool
crl_is_plain(X509_CRL *crl)
{
	STACK_OF(X509_REVOKED) *list = X509_CRL_get_REVOKED(crl);

	if (X509_CRL_get_ext_by_critical(crl, 1, -1) >= 0)
		return false;
	for (int i = 0; i < sk_X509_REVOKED_num(list); i++)
		if (X509_REVOKED_get_ext_by_critical(
			sk_X509_REVOKED_value(list, i), 1, -1) >= 0)
			return false;
	return true;
}

static enum certpath_fault
crl_check(
    const struct certpath *p, X509_CRL *crl, int64_t now, const char **text)
{
	const struct link *anchor = &p->link[p->n - 1];
	const struct link *below = &p->link[p->n - 2];
	X509_REVOKED *entry = NULL;
	int64_t from, until;

	*text = "CRL issuer";
	if (X509_NAME_cmp(X509_CRL_get_issuer(crl),
		X509_get_subject_name(anchor->x)) != 0 ||
	    (X509_get_key_usage(anchor->x) & KU_CRL_SIGN) == 0)
		return CERTPATH_ISSUER;
	*text = "CRL extensions or dates";
	if (!crl_is_plain(crl) ||
	    !time_read(&from, X509_CRL_get0_lastUpdate(crl)) ||
	    !time_read(&until, X509_CRL_get0_nextUpdate(crl)))
		return CERTPATH_SHAPE;
	*text = "CRL signature";
	if (X509_CRL_verify(crl, X509_get0_pubkey(anchor->x)) != 1)
		return CERTPATH_SIGNATURE;
	*text = "CRL out of date";
	if (now < from || now > until)
		return CERTPATH_TIME;
	*text = "certificate below the root";
	if (X509_CRL_get0_by_serial(
		crl, &entry, X509_get_serialNumber(below->x)) != 0)
		return CERTPATH_REVOKED;
	return CERTPATH_OK;
}

enum certpath_fault
certpath_crl(
    const struct certpath *p, struct bytes der, int64_t now, const char **text)
{
	enum certpath_fault f = CERTPATH_SHAPE;
	X509_CRL *crl = NULL;
	const uint8_t *q = der.p;

	*text = "CRL does not parse";
	if (der.len == 0 || der.len > LIMIT_COLLATERAL)
		return f;
	crl = d2i_X509_CRL(NULL, &q, (long)der.len);
	if (crl != NULL && q == der.p + der.len)
		f = crl_check(p, crl, now, text);
	ERR_clear_error();
	X509_CRL_free(crl);
	return f;
}
