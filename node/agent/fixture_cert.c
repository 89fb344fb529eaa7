#include <arpa/inet.h>
#include <string.h>

#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "common/base/secret.h"
#include "common/base/wr.h"

#include "node/agent/fixture_cert.h"

/* dstack-compat.md 4.6: notBefore 1975-01-01, notAfter now + 3650 days. */
#define TIME_1975 157766400
#define TIME_NEVER 253402300799 /* 9999-12-31T23:59:59Z */
#define TEN_YEARS ((int64_t)3650 * 86400)
#define SERIAL_LEN 16

#define OID_APP_ID "1.3.6.1.4.1.62397.1.3"
#define OID_USAGE "1.3.6.1.4.1.62397.1.4"
#define OID_ATTESTATION "1.3.6.1.4.1.62397.1.8"
#define OID_APP_INFO "1.3.6.1.4.1.62397.1.9"
#define USAGE_APP "app:custom"
/* An array of nine: seven hashes or ids, the key provider, nil. */
#define APP_INFO_MAX (1 + 7 * (2 + 32) + 3 + KEY_PROVIDER_MAX + 1)

/* An extension in OpenSSL's configuration syntax: constants only. */
static bool
add_conf(X509 *x, X509 *issuer, int nid, const char *value)
{
	X509V3_CTX ctx;
	X509_EXTENSION *ext;
	bool ok;

	X509V3_set_ctx(&ctx, issuer, x, NULL, NULL, 0);
	ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	ok = ext != NULL && X509_add_ext(x, ext, -1) == 1;
	X509_EXTENSION_free(ext);
	return ok;
}

/* "Value = DER OCTET STRING around the bytes", non-critical. */
static bool
add_octets(X509 *x, const char *oid, struct bytes in)
{
	ASN1_OBJECT *obj = OBJ_txt2obj(oid, 1);
	ASN1_OCTET_STRING *inner = ASN1_OCTET_STRING_new();
	ASN1_OCTET_STRING *outer = ASN1_OCTET_STRING_new();
	X509_EXTENSION *ext = NULL;
	unsigned char *der = NULL;
	bool ok = false;
	int n;

	if (obj == NULL || inner == NULL || outer == NULL ||
	    !ASN1_OCTET_STRING_set(inner, in.p, (int)in.len) ||
	    (n = i2d_ASN1_OCTET_STRING(inner, &der)) <= 0 ||
	    !ASN1_OCTET_STRING_set(outer, der, n))
		goto done;
	ext = X509_EXTENSION_create_by_OBJ(NULL, obj, 0, outer);
	ok = ext != NULL && X509_add_ext(x, ext, -1) == 1;
done:
	X509_EXTENSION_free(ext);
	OPENSSL_free(der);
	ASN1_OCTET_STRING_free(inner);
	ASN1_OCTET_STRING_free(outer);
	ASN1_OBJECT_free(obj);
	return ok;
}

static void
pack_bin(struct wr *w, const void *p, size_t len)
{
	if (len < 256) {
		wr_u8(w, 0xc4);
		wr_u8(w, (uint8_t)len);
	} else {
		wr_u8(w, 0xc5);
		wr_be16(w, (uint16_t)len);
	}
	wr_bytes(w, p, len);
}

/* App info, .9: "MessagePack array of 9". */
static bool
add_app_info(X509 *x, const struct boot_info *b)
{
	uint8_t out[APP_INFO_MAX];
	struct wr w = { .p = out, .cap = sizeof out };

	wr_u8(&w, 0x99);
	pack_bin(&w, b->app_id, 20);
	pack_bin(&w, b->compose_hash, 32);
	pack_bin(&w, b->instance_id, b->has_instance_id ? 20 : 0);
	pack_bin(&w, b->device_id, 32);
	pack_bin(&w, b->mr_system, 32);
	pack_bin(&w, b->mr_aggregated, 32);
	pack_bin(&w, b->os_image_hash, 32);
	pack_bin(&w, b->key_provider, strlen(b->key_provider));
	wr_u8(&w, 0xc0);
	return wr_ok(&w) &&
	    add_octets(x, OID_APP_INFO, (struct bytes){ out, w.len });
}

/* Printable ASCII without space: what IA5 names and addresses are of. */
static bool
name_text_ok(const char *s)
{
	size_t n = strlen(s);

	for (size_t i = 0; i < n; i++)
		if (s[i] <= 0x20 || s[i] > 0x7e)
			return false;
	return n > 0 && n <= 253;
}

static bool
push_alt_name(GENERAL_NAMES *list, const char *text)
{
	GENERAL_NAME *g = GENERAL_NAME_new();
	ASN1_STRING *s = NULL;
	uint8_t ip[16];
	int n = inet_pton(AF_INET, text, ip) == 1 ? 4
	    : inet_pton(AF_INET6, text, ip) == 1  ? 16
						  : 0;

	s = n != 0 ? ASN1_OCTET_STRING_new() : ASN1_IA5STRING_new();
	if (g == NULL || s == NULL ||
	    !ASN1_STRING_set(s, n != 0 ? (const void *)ip : text,
		n != 0 ? n : (int)strlen(text)))
		goto fail;
	GENERAL_NAME_set0_value(g, n != 0 ? GEN_IPADD : GEN_DNS, s);
	s = NULL; /* transferred */
	if (sk_GENERAL_NAME_push(list, g) > 0)
		return true;
fail:
	ASN1_STRING_free(s);
	GENERAL_NAME_free(g);
	return false;
}

static bool
add_alt_names(X509 *x, const struct kms_cert_request *rq)
{
	GENERAL_NAMES *list;
	/* RFC 5280 4.2.1.6: critical when the subject is empty. */
	int critical = rq->subject[0] == '\0';
	bool ok;

	if (rq->n_alt_names == 0)
		return true;
	ok = (list = sk_GENERAL_NAME_new_null()) != NULL;
	for (size_t i = 0; ok && i < rq->n_alt_names; i++)
		ok = push_alt_name(list, rq->alt_names[i]);
	ok = ok &&
	    X509_add1_ext_i2d(x, NID_subject_alt_name, list, critical,
		X509V3_ADD_DEFAULT) == 1;
	GENERAL_NAMES_free(list);
	return ok;
}

static bool
add_usage(X509 *x, const struct kms_cert_request *rq)
{
	const char *value = rq->usage_server_auth && rq->usage_client_auth
	    ? "serverAuth,clientAuth"
	    : rq->usage_server_auth ? "serverAuth"
				    : "clientAuth";

	return (!rq->usage_server_auth && !rq->usage_client_auth) ||
	    add_conf(x, x, NID_ext_key_usage, value);
}

/* Names, numbers, times, key. */
static bool
fill(X509 *x, X509 *issuer, const struct kms_cert_request *rq, EVP_PKEY *key,
    int64_t not_before, int64_t not_after)
{
	X509_NAME *name = X509_NAME_new();
	uint8_t serial[SERIAL_LEN];
	BIGNUM *n;
	bool ok;

	secret_random(serial, sizeof serial);
	serial[0] = (uint8_t)((serial[0] & 0x3f) | 0x40);
	n = BN_bin2bn(serial, sizeof serial, NULL);
	ok = n != NULL && name != NULL && X509_set_version(x, 2) &&
	    BN_to_ASN1_INTEGER(n, X509_get_serialNumber(x)) != NULL &&
	    ASN1_TIME_set(X509_getm_notBefore(x), (time_t)not_before) != NULL &&
	    ASN1_TIME_set(X509_getm_notAfter(x), (time_t)not_after) != NULL &&
	    (rq->subject[0] == '\0' ||
		X509_NAME_add_entry_by_NID(name, NID_commonName, MBSTRING_UTF8,
		    (const unsigned char *)rq->subject, -1, -1, 0) == 1) &&
	    X509_set_subject_name(x, name) &&
	    X509_set_issuer_name(x, X509_get_subject_name(issuer)) &&
	    X509_set_pubkey(x, key) &&
	    add_conf(x, issuer, NID_basic_constraints, "critical,CA:FALSE") &&
	    add_conf(x, issuer, NID_key_usage, "critical,digitalSignature") &&
	    add_conf(x, issuer, NID_subject_key_identifier, "hash") &&
	    add_conf(x, issuer, NID_authority_key_identifier, "keyid");
	BN_free(n);
	X509_NAME_free(name);
	return ok;
}

static bool
request_ok(const struct kms_cert_request *rq, int64_t from, int64_t until)
{
	/* RFC 5280 ub-common-name. */
	if (strlen(rq->subject) > 64 || from >= until || until > TIME_NEVER)
		return false;
	for (size_t i = 0; i < rq->n_alt_names; i++)
		if (!name_text_ok(rq->alt_names[i]))
			return false;
	return true;
}

enum err
fixture_cert_issue(struct buf *der, const struct fixture_ca *ca,
    const struct kms_cert_request *rq, const uint8_t app_id[static 20],
    const struct boot_info *info, int64_t now)
{
	/* A number beyond the calendar is refused below. */
	int64_t until = rq->not_after == 0 ? now + TEN_YEARS
	    : rq->not_after > TIME_NEVER   ? INT64_MAX
					   : (int64_t)rq->not_after;
	int64_t from = rq->not_before == 0 ? TIME_1975
	    : rq->not_before > TIME_NEVER  ? INT64_MAX
					   : (int64_t)rq->not_before;
	const unsigned char *p = ca->der.p;
	EVP_PKEY *ca_key = NULL, *key = NULL;
	X509 *x = NULL, *issuer = NULL;
	unsigned char *out = NULL;
	struct p256_pub pub;
	enum err e = ERR_MALFORMED;
	int n;

	if (!request_ok(rq, from, until) ||
	    p256_spki_parse(&pub, rq->spki, sizeof rq->spki) != ERR_OK)
		goto done;
	e = ERR_NOMEM;
	ca_key = p256_evp_secret(ca->key);
	key = p256_evp_public(&pub);
	issuer = d2i_X509(NULL, &p, (long)ca->der.len);
	x = X509_new();
	if (ca_key == NULL || key == NULL || issuer == NULL || x == NULL)
		goto done;
	/* What is left to go wrong is a subject that is not UTF-8. */
	e = ERR_MALFORMED;
	if (!fill(x, issuer, rq, key, from, until) || !add_usage(x, rq) ||
	    !add_alt_names(x, rq) ||
	    !add_octets(x, OID_APP_ID, (struct bytes){ app_id, 20 }) ||
	    !add_octets(x, OID_USAGE, BYTES_STR(USAGE_APP)) ||
	    (rq->attestation.len > 0 &&
		!add_octets(x, OID_ATTESTATION, rq->attestation)) ||
	    (rq->with_app_info && !add_app_info(x, info)) ||
	    X509_sign(x, ca_key, EVP_sha256()) <= 0)
		goto done;
	e = (n = i2d_X509(x, &out)) > 0 ? buf_set(der, out, (size_t)n)
					: ERR_NOMEM;
done:
	OPENSSL_free(out);
	X509_free(x);
	X509_free(issuer);
	EVP_PKEY_free(ca_key);
	EVP_PKEY_free(key);
	return e;
}
