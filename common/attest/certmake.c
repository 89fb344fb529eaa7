#include <arpa/inet.h>
#include <string.h>

#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "common/attest/certmake.h"
#include "common/base/secret.h"
#include "common/base/wr.h"

#define OID_APP_INFO "1.3.6.1.4.1.62397.1.9"
/* An array of nine: seven hashes or ids, the key provider, nil. */
#define APP_INFO_MAX (1 + 7 * (2 + 32) + 3 + KEY_PROVIDER_MAX + 1)

static bool
set_serial(X509 *x, const uint8_t *given)
{
	uint8_t serial[CERTMAKE_SERIAL];
	BIGNUM *n;
	bool ok;

	if (given != NULL)
		memcpy(serial, given, sizeof serial);
	else
		secret_random(serial, sizeof serial);
	serial[0] = (uint8_t)((serial[0] & 0x3f) | 0x40);
	n = BN_bin2bn(serial, sizeof serial, NULL);
	ok = n != NULL && BN_to_ASN1_INTEGER(n, X509_get_serialNumber(x));
	BN_free(n);
	return ok;
}

static bool
set_time(ASN1_TIME *t, int64_t s)
{
	return ASN1_TIME_set(t, (time_t)s) != NULL;
}

static bool
add_name(X509_NAME *name, int nid, const char *text)
{
	return text[0] == '\0' ||
	    X509_NAME_add_entry_by_NID(name, nid, MBSTRING_UTF8,
		(const unsigned char *)text, (int)strlen(text), -1, 0) == 1;
}

bool
certmake_conf(X509 *x, X509 *issuer, int nid, const char *value)
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

X509 *
certmake_new(const struct certmake *t)
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
	    certmake_conf(
		x, issuer, NID_basic_constraints, t->basic_constraints) &&
	    certmake_conf(x, issuer, NID_key_usage, t->key_usage) &&
	    certmake_conf(x, issuer, NID_subject_key_identifier, "hash") &&
	    /* Of an issuer that has one: a fixture's CA may not. */
	    (t->issuer == NULL ||
		certmake_conf(
		    x, issuer, NID_authority_key_identifier, "keyid"));

	X509_NAME_free(name);
	if (ok)
		return x;
	X509_free(x);
	return NULL;
}

bool
certmake_octets(X509 *x, const char *oid, struct bytes in)
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

bool
certmake_app_info(X509 *x, const struct boot_info *b)
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
	    certmake_octets(x, OID_APP_INFO, (struct bytes){ out, w.len });
}

int
certmake_address(uint8_t out[static 16], const char *name)
{
	if (inet_pton(AF_INET, name, out) == 1)
		return 4;
	return inet_pton(AF_INET6, name, out) == 1 ? 16 : 0;
}

static bool
push_alt_name(GENERAL_NAMES *list, const char *text)
{
	GENERAL_NAME *g = GENERAL_NAME_new();
	ASN1_STRING *s = NULL;
	uint8_t ip[16];
	int n = certmake_address(ip, text);
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

bool
certmake_alt_names(X509 *x, const char *const *names, size_t n)
{
	int critical = X509_NAME_entry_count(X509_get_subject_name(x)) == 0;
	GENERAL_NAMES *list;
	bool ok;

	if (n == 0)
		return true;
	ok = (list = sk_GENERAL_NAME_new_null()) != NULL;
	for (size_t i = 0; ok && i < n; i++)
		ok = push_alt_name(list, names[i]);
	ok = ok &&
	    X509_add1_ext_i2d(x, NID_subject_alt_name, list, critical,
		X509V3_ADD_DEFAULT) == 1;
	GENERAL_NAMES_free(list);
	return ok;
}

bool
certmake_ext_key_usage(X509 *x, bool server_auth, bool client_auth)
{
	const char *value = server_auth && client_auth ? "serverAuth,clientAuth"
	    : server_auth                              ? "serverAuth"
						       : "clientAuth";

	return (!server_auth && !client_auth) ||
	    certmake_conf(x, x, NID_ext_key_usage, value);
}
