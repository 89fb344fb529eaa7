#include <arpa/inet.h>
#include <assert.h>
#include <ctype.h>
#include <string.h>
#include <strings.h>

#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "common/base/secret.h"
#include "common/base/wr.h"
#include "common/crypto/hash.h"
#include "kms/keys/certs.h"

/* dstack-compat.md 4.6: "notBefore default 1975-01-01". */
#define TIME_1975 157766400
/* 9999-12-31T23:59:59Z, RFC 5280 4.1.2.5: no well-defined expiration. */
#define TIME_NEVER 253402300799

#define SERIAL_LEN 16
/* An array of nine, seven hashes or ids, the key provider, nil. */
#define APP_INFO_MAX (1 + 7 * (2 + 32) + 3 + KEY_PROVIDER_MAX + 1)

#define OID_APP_ID "1.3.6.1.4.1.62397.1.3"
#define OID_USAGE "1.3.6.1.4.1.62397.1.4"
#define OID_ATTESTATION "1.3.6.1.4.1.62397.1.8"
#define OID_APP_INFO "1.3.6.1.4.1.62397.1.9"

/* What make() needs beside the extensions. */
struct template
{
	const uint8_t *serial; /* SERIAL_LEN bytes */
	const char *org; /* "" leaves it out */
	const char *common_name; /* likewise */
	int64_t not_before;
	int64_t not_after;
	EVP_PKEY *key;
	X509 *issuer; /* NULL: self-signed */
	const char *basic_constraints;
	const char *key_usage;
};

/* Positive, of fixed length, from the caller's bytes. */
static void
serial_fix(uint8_t serial[static SERIAL_LEN])
{
	serial[0] = (uint8_t)((serial[0] & 0x3f) | 0x40);
}

static bool
set_time(ASN1_TIME *t, int64_t s)
{
	return ASN1_TIME_set(t, (time_t)s) != NULL;
}

static bool
set_serial(X509 *x, const uint8_t serial[static SERIAL_LEN])
{
	BIGNUM *n = BN_bin2bn(serial, SERIAL_LEN, NULL);
	bool ok = n != NULL &&
	    BN_to_ASN1_INTEGER(n, X509_get_serialNumber(x)) != NULL;

	BN_free(n);
	return ok;
}

/* Text goes in as bytes, never through OpenSSL's configuration syntax. */
static bool
add_name(X509_NAME *name, int nid, const char *text)
{
	return text[0] == '\0' ||
	    X509_NAME_add_entry_by_NID(name, nid, MBSTRING_UTF8,
		(const unsigned char *)text, (int)strlen(text), -1, 0) == 1;
}

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

/* Extension `oid`, non-critical; its value is an OCTET STRING around the
 * bytes (dstack-compat.md 4.6). */
static bool
add_octets(X509 *x, const char *oid, struct bytes in)
{
	ASN1_OBJECT *obj = OBJ_txt2obj(oid, 1);
	ASN1_OCTET_STRING *inner = ASN1_OCTET_STRING_new();
	ASN1_OCTET_STRING *outer = ASN1_OCTET_STRING_new();
	X509_EXTENSION *ext = NULL;
	unsigned char *der = NULL;
	int n;
	bool ok = false;

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

/* Everything but the own extensions and the signature; NULL: no memory, or
 * text that is not UTF-8. */
static X509 *
make(const struct template *t)
{
	X509 *x = X509_new();
	X509 *issuer = t->issuer != NULL ? t->issuer : x;
	X509_NAME *name = X509_NAME_new();
	bool ok = x != NULL && name != NULL && X509_set_version(x, 2) &&
	    set_serial(x, t->serial) &&
	    set_time(X509_getm_notBefore(x), t->not_before) &&
	    set_time(X509_getm_notAfter(x), t->not_after) &&
	    add_name(name, NID_organizationName, t->org) &&
	    add_name(name, NID_commonName, t->common_name) &&
	    X509_set_subject_name(x, name) &&
	    X509_set_issuer_name(x, X509_get_subject_name(issuer)) &&
	    X509_set_pubkey(x, t->key) &&
	    add_conf(x, issuer, NID_basic_constraints, t->basic_constraints) &&
	    add_conf(x, issuer, NID_key_usage, t->key_usage) &&
	    add_conf(x, issuer, NID_subject_key_identifier, "hash") &&
	    (t->issuer == NULL ||
		add_conf(
		    x, issuer, NID_authority_key_identifier, "keyid:always"));

	X509_NAME_free(name);
	if (ok)
		return x;
	X509_free(x);
	return NULL;
}

static enum err
to_der(struct buf *out, X509 *x)
{
	unsigned char *der = NULL;
	int n = i2d_X509(x, &der);
	enum err e = n > 0 ? buf_set(out, der, (size_t)n) : ERR_NOMEM;

	OPENSSL_free(der);
	return e;
}

/* The root CA's certificate is the same each time but for its signature:
 * its serial number is made of its key. */
static enum err
make_root(X509 **out, EVP_PKEY **out_key, struct epoch_roots *r)
{
	uint8_t h[32], spki[P256_SPKI_LEN];
	struct epoch_public pub;
	struct p256_secret s;
	struct template t = {
		.serial = h,
		.org = "Dstack",
		.common_name = "Dstack KMS CA",
		.not_before = TIME_1975,
		.not_after = TIME_NEVER,
		.basic_constraints = "critical,CA:TRUE,pathlen:1",
		.key_usage = "critical,digitalSignature,keyCertSign,cRLSign",
	};
	X509 *x;

	epoch_roots_public(r, &pub);
	(void)p256_spki(spki, &pub.ca);
	sha256(h, spki, sizeof spki);
	serial_fix(h);
	keys_root_ca(&s, r);
	t.key = p256_evp_secret(&s);
	p256_secret_wipe(&s);
	if (t.key == NULL)
		return ERR_NOMEM;
	if ((x = make(&t)) == NULL || X509_sign(x, t.key, EVP_sha256()) <= 0) {
		X509_free(x);
		EVP_PKEY_free(t.key);
		return ERR_NOMEM;
	}
	*out = x;
	*out_key = t.key;
	return ERR_OK;
}

enum err
certs_root(struct buf *der, struct epoch_roots *r)
{
	EVP_PKEY *key = NULL;
	X509 *x = NULL;
	enum err e = make_root(&x, &key, r);

	if (e == ERR_OK)
		e = to_der(der, x);
	X509_free(x);
	EVP_PKEY_free(key);
	return e;
}

/* The app's CA: its key is derived, its certificate minted each time, for
 * no longer than the leaf. */
static enum err
make_app_ca(X509 **out, EVP_PKEY **out_key, struct epoch_roots *r,
    const uint8_t app_id[static 20], int64_t not_after, X509 *root,
    EVP_PKEY *root_key)
{
	uint8_t serial[SERIAL_LEN];
	struct p256_secret s = { 0 };
	struct template t = {
		.serial = serial,
		.org = "Dstack",
		.common_name = "Dstack App CA",
		.not_before = TIME_1975,
		.not_after = not_after,
		.issuer = root,
		.basic_constraints = "critical,CA:TRUE,pathlen:0",
		.key_usage = "critical,digitalSignature,keyCertSign,cRLSign",
	};
	X509 *x = NULL;
	enum err e;

	secret_random(serial, sizeof serial);
	serial_fix(serial);
	if ((e = keys_app_ca(&s, r, app_id)) != ERR_OK)
		return e;
	t.key = p256_evp_secret(&s);
	p256_secret_wipe(&s);
	if (t.key == NULL || (x = make(&t)) == NULL ||
	    !add_octets(x, OID_APP_ID, (struct bytes){ app_id, 20 }) ||
	    !add_octets(x, OID_USAGE, BYTES_STR(CERT_USAGE_APP_CA)) ||
	    X509_sign(x, root_key, EVP_sha256()) <= 0) {
		X509_free(x);
		EVP_PKEY_free(t.key);
		return ERR_NOMEM;
	}
	*out = x;
	*out_key = t.key;
	return ERR_OK;
}

/* MessagePack bin of at most 64 KiB. */
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

/* App info, .9: "MessagePack array of 9".  Unlike the peer's, its device id
 * and OS image hash are the verified ones. */
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
	assert(wr_ok(&w));
	return add_octets(x, OID_APP_INFO, (struct bytes){ out, w.len });
}

/* One label of a DNS name: 1 to 63 letters, digits, inner hyphens. */
static bool
label_ok(const char *s, size_t n)
{
	if (n < 1 || n > 63 || s[0] == '-' || s[n - 1] == '-')
		return false;
	for (size_t i = 0; i < n; i++)
		if (!isascii((unsigned char)s[i]) ||
		    (!isalnum((unsigned char)s[i]) && s[i] != '-'))
			return false;
	return true;
}

/* RFC 1123 host name; the last label is not a number (that would be a badly
 * written address); "*." may stand for the first label of three or more. */
static bool
dns_ok(const char *s)
{
	size_t left = strlen(s);
	bool digits;

	if (left == 0 || left > 253)
		return false;
	if (strncmp(s, "*.", 2) == 0) {
		if (strchr(s + 2, '.') == NULL)
			return false;
		s += 2;
	}
	for (;;) {
		size_t n = strcspn(s, ".");

		if (!label_ok(s, n))
			return false;
		digits = strspn(s, "0123456789") == n;
		if (s[n] == '\0')
			return !digits;
		s += n + 1;
	}
}

/* Address bytes of a name, or 0. */
static int
address(uint8_t out[static 16], const char *name)
{
	if (inet_pton(AF_INET, name, out) == 1)
		return 4;
	return inet_pton(AF_INET6, name, out) == 1 ? 16 : 0;
}

static bool
alt_name_ok(const char *s)
{
	uint8_t ip[16];

	return address(ip, s) != 0 || dns_ok(s);
}

/* Subject text: short, no control bytes, and nothing that reads as one of
 * the KMS's own usages or names. */
static bool
subject_ok(const char *s)
{
	static const char *const reserved[] = { "kms:", "dstack kms",
		"dstack app ca", "dstack client temp ca" };

	if (strlen(s) > CERT_SUBJECT_MAX)
		return false;
	for (const char *p = s; *p != '\0'; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			return false;
	for (size_t i = 0; i < sizeof reserved / sizeof reserved[0]; i++)
		if (strcasestr(s, reserved[i]) != NULL)
			return false;
	return true;
}

static bool
request_ok(const struct cert_request *rq)
{
	if (p256_pub_check(&rq->key) != ERR_OK || !subject_ok(rq->subject) ||
	    !subject_ok(rq->org_name) || rq->n_alt_names > CERT_NAMES_MAX ||
	    rq->not_before < 0 || rq->not_before >= rq->not_after ||
	    rq->not_after <= TIME_1975 || rq->not_after > TIME_NEVER ||
	    rq->attestation.len > CERT_ATTESTATION_MAX)
		return false;
	for (size_t i = 0; i < rq->n_alt_names; i++)
		if (!alt_name_ok(rq->alt_names[i]))
			return false;
	return true;
}

static bool
push_alt_name(GENERAL_NAMES *list, const char *text)
{
	GENERAL_NAME *g = GENERAL_NAME_new();
	ASN1_STRING *s = NULL;
	uint8_t ip[16];
	int n = address(ip, text);
	int type = n != 0 ? GEN_IPADD : GEN_DNS;

	s = n != 0 ? ASN1_OCTET_STRING_new() : ASN1_IA5STRING_new();
	if (g == NULL || s == NULL ||
	    !ASN1_STRING_set(s, n != 0 ? (const void *)ip : text,
		n != 0 ? n : (int)strlen(text)))
		goto fail;
	GENERAL_NAME_set0_value(g, type, s);
	s = NULL; /* transferred */
	if (sk_GENERAL_NAME_push(list, g) > 0)
		return true;
fail:
	ASN1_STRING_free(s);
	GENERAL_NAME_free(g);
	return false;
}

static bool
add_alt_names(X509 *x, const struct cert_request *rq)
{
	GENERAL_NAMES *list;
	/* RFC 5280 4.2.1.6: critical when the subject is empty. */
	int critical = rq->subject[0] == '\0' && rq->org_name[0] == '\0';
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
add_ext_key_usage(X509 *x, const struct cert_request *rq)
{
	const char *value = rq->usage_server_auth && rq->usage_client_auth
	    ? "serverAuth,clientAuth"
	    : rq->usage_server_auth ? "serverAuth"
				    : "clientAuth";

	return (!rq->usage_server_auth && !rq->usage_client_auth) ||
	    add_conf(x, x, NID_ext_key_usage, value);
}

static enum err
make_leaf(X509 **out, const uint8_t app_id[static 20],
    const struct cert_request *rq, X509 *ca, EVP_PKEY *ca_key)
{
	uint8_t serial[SERIAL_LEN];
	struct template t = {
		.serial = serial,
		.org = rq->org_name,
		.common_name = rq->subject,
		.not_before = rq->not_before,
		.not_after = rq->not_after,
		.issuer = ca,
		.key = p256_evp_public(&rq->key),
		.basic_constraints = "critical,CA:FALSE",
		.key_usage = "critical,digitalSignature",
	};
	X509 *x = NULL;
	enum err e = ERR_NOMEM;

	secret_random(serial, sizeof serial);
	serial_fix(serial);
	if (t.key == NULL)
		goto done;
	/* What request_ok let through and OpenSSL does not take is text that
	 * is not UTF-8. */
	e = ERR_MALFORMED;
	if ((x = make(&t)) == NULL)
		goto done;
	e = ERR_NOMEM;
	if (!add_ext_key_usage(x, rq) || !add_alt_names(x, rq) ||
	    !add_octets(x, OID_APP_ID, (struct bytes){ app_id, 20 }) ||
	    !add_octets(x, OID_USAGE, BYTES_STR(CERT_USAGE_APP)) ||
	    (rq->attestation.len > 0 &&
		!add_octets(x, OID_ATTESTATION, rq->attestation)) ||
	    (rq->app_info != NULL && !add_app_info(x, rq->app_info)) ||
	    X509_sign(x, ca_key, EVP_sha256()) <= 0)
		goto done;
	*out = x;
	x = NULL; /* transferred */
	e = ERR_OK;
done:
	X509_free(x);
	EVP_PKEY_free(t.key);
	return e;
}

enum err
certs_app(struct buf chain[static 3], struct epoch_roots *r,
    const uint8_t app_id[static 20], const struct cert_request *rq)
{
	EVP_PKEY *root_key = NULL, *ca_key = NULL;
	X509 *cert[3] = { 0 };
	struct buf der[3] = { 0 };
	enum err e;

	if (!request_ok(rq))
		return ERR_MALFORMED;
	if ((e = make_root(&cert[2], &root_key, r)) != ERR_OK ||
	    (e = make_app_ca(&cert[1], &ca_key, r, app_id, rq->not_after,
		 cert[2], root_key)) != ERR_OK ||
	    (e = make_leaf(&cert[0], app_id, rq, cert[1], ca_key)) != ERR_OK)
		goto done;
	for (int i = 0; i < 3; i++)
		if ((e = to_der(&der[i], cert[i])) != ERR_OK)
			goto done;
	for (int i = 0; i < 3; i++) {
		buf_fini(&chain[i]);
		chain[i] = der[i];
		der[i] = (struct buf){ 0 }; /* transferred */
	}
done:
	for (int i = 0; i < 3; i++) {
		buf_fini(&der[i]);
		X509_free(cert[i]);
	}
	EVP_PKEY_free(root_key);
	EVP_PKEY_free(ca_key);
	return e;
}

enum err
cert_to_pem(struct buf *pem, struct bytes der)
{
	BIO *bio = BIO_new(BIO_s_mem());
	char *text = NULL;
	long n = 0;
	enum err e = ERR_NOMEM;

	if (bio != NULL && der.len <= INT32_MAX &&
	    PEM_write_bio(bio, PEM_STRING_X509, "", der.p, (long)der.len) > 0 &&
	    (n = BIO_get_mem_data(bio, &text)) > 0)
		e = buf_append(pem, text, (size_t)n, SIZE_MAX);
	BIO_free(bio);
	return e;
}
