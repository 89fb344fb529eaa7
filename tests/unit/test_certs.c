/* Certificates: chains that OpenSSL believes, and names that never pass. */
#include <string.h>

#include <criterion/criterion.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <sodium.h>

#include "common/crypto/hash.h"
#include "kms/keys/certs.h"
#include "tests/lib/facts.h"

#define NOW 1800000000

static struct epoch_roots *roots;
static uint8_t app_id[20];
static struct p256_secret leaf_secret;
static struct cert_request rq;
static const char *names[CERT_NAMES_MAX + 1];

static void
init(void)
{
	uint8_t a[32], b[32];

	cr_assert_geq(sodium_init(), 0);
	sha256(a, "c-kms test root k256", 20);
	sha256(b, "c-kms test root ca p256", 23);
	cr_assert_eq(epoch_roots_import(&roots, 0, a, b), ERR_OK);
	memset(app_id, 0x11, 20);
	leaf_secret = (struct p256_secret){ .b = { [31] = 5 } };
	names[0] = "app.example.com";
	rq = (struct cert_request){ .subject = "app.example.com",
		.org_name = "Example",
		.alt_names = names,
		.n_alt_names = 1,
		.usage_server_auth = true,
		.not_before = 157766400,
		.not_after = NOW + 1000 };
	cr_assert_eq(p256_pubkey(&rq.key, &leaf_secret), ERR_OK);
}

static void
fini(void)
{
	epoch_roots_free(roots);
}

TestSuite(certs, .init = init, .fini = fini);

static X509 *
parse(const struct buf *der)
{
	const uint8_t *p = der->p;
	X509 *x = d2i_X509(NULL, &p, (long)der->len);

	cr_assert_not_null(x);
	cr_assert_eq(p, der->p + der->len);
	return x;
}

/* Issues for `rq` and parses the three; the caller frees them. */
static void
issue(X509 *cert[static 3])
{
	struct buf chain[3] = { 0 };

	cr_assert_eq(certs_app(chain, roots, app_id, &rq), ERR_OK);
	for (int i = 0; i < 3; i++) {
		cert[i] = parse(&chain[i]);
		buf_fini(&chain[i]);
	}
}

static void
drop(X509 *cert[static 3])
{
	for (int i = 0; i < 3; i++)
		X509_free(cert[i]);
}

static void
refused(const char *what)
{
	struct buf chain[3] = { { .len = 1 }, { .len = 2 }, { .len = 3 } };

	cr_assert_eq(
	    certs_app(chain, roots, app_id, &rq), ERR_MALFORMED, "%s", what);
	for (size_t i = 0; i < 3; i++)
		cr_assert_eq(chain[i].len, i + 1);
}

/* The verdict of OpenSSL on leaf, app CA and root at a time and purpose. */
static int
verify(X509 *cert[static 3], X509 *anchor, int64_t when, int purpose)
{
	X509_STORE *store = X509_STORE_new();
	X509_STORE_CTX *c = X509_STORE_CTX_new();
	STACK_OF(X509) *between = sk_X509_new_null();
	int result;

	cr_assert_eq(X509_STORE_add_cert(store, anchor), 1);
	cr_assert_gt(sk_X509_push(between, cert[1]), 0);
	cr_assert_eq(X509_STORE_CTX_init(c, store, cert[0], between), 1);
	X509_STORE_CTX_set_time(c, 0, (time_t)when);
	X509_STORE_CTX_set_purpose(c, purpose);
	X509_STORE_CTX_set_flags(c, X509_V_FLAG_X509_STRICT);
	(void)X509_verify_cert(c);
	result = X509_STORE_CTX_get_error(c);
	sk_X509_free(between);
	X509_STORE_CTX_free(c);
	X509_STORE_free(store);
	return result;
}

/* The bytes inside extension `oid`, which must be an OCTET STRING in an
 * OCTET STRING; `len` is 0 when it is not there. */
static struct bytes
extension(X509 *x, const char *oid)
{
	ASN1_OBJECT *obj = OBJ_txt2obj(oid, 1);
	int at = X509_get_ext_by_OBJ(x, obj, -1);
	ASN1_OCTET_STRING *outer;
	struct bytes in;
	size_t head;

	ASN1_OBJECT_free(obj);
	if (at < 0)
		return (struct bytes){ NULL, 0 };
	cr_assert_eq(X509_EXTENSION_get_critical(X509_get_ext(x, at)), 0);
	outer = X509_EXTENSION_get_data(X509_get_ext(x, at));
	in.p = ASN1_STRING_get0_data(outer);
	in.len = (size_t)ASN1_STRING_length(outer);
	cr_assert_eq(in.p[0], 0x04);
	head = in.p[1] < 0x80 ? 2 : 2 + (in.p[1] & 0x7fu);
	return (struct bytes){ in.p + head, in.len - head };
}

static bool
is_text(struct bytes b, const char *text)
{
	return b.len == strlen(text) && memcmp(b.p, text, b.len) == 0;
}

#define OID(n) "1.3.6.1.4.1.62397.1." #n

/* The chain holds at its time and for its purpose only, and only under the
 * root that made it. */
Test(certs, chain_verifies)
{
	struct epoch_roots *other;
	struct buf der = { 0 };
	X509 *c[3], *stranger;

	issue(c);
	cr_assert_eq(verify(c, c[2], NOW, X509_PURPOSE_SSL_SERVER), X509_V_OK);
	cr_assert_eq(verify(c, c[2], NOW, X509_PURPOSE_SSL_CLIENT),
	    X509_V_ERR_INVALID_PURPOSE);
	cr_assert_eq(verify(c, c[2], NOW + 2000, X509_PURPOSE_SSL_SERVER),
	    X509_V_ERR_CERT_HAS_EXPIRED);
	cr_assert_eq(verify(c, c[2], 157766399, X509_PURPOSE_SSL_SERVER),
	    X509_V_ERR_CERT_NOT_YET_VALID);
	cr_assert_eq(epoch_roots_generate(&other, 1), ERR_OK);
	cr_assert_eq(certs_root(&der, other), ERR_OK);
	stranger = parse(&der);
	cr_assert_neq(
	    verify(c, stranger, NOW, X509_PURPOSE_SSL_SERVER), X509_V_OK);
	X509_free(stranger);
	buf_fini(&der);
	epoch_roots_free(other);
	drop(c);
}

/* Two CAs that may sign just far enough, and a leaf that may not. */
Test(certs, constraints)
{
	const uint32_t ca =
	    KU_DIGITAL_SIGNATURE | KU_KEY_CERT_SIGN | KU_CRL_SIGN;
	X509 *c[3];

	issue(c);
	cr_assert_eq(X509_get_pathlen(c[2]), 1);
	cr_assert_eq(X509_get_pathlen(c[1]), 0);
	cr_assert_eq(X509_check_ca(c[2]), 1);
	cr_assert_eq(X509_check_ca(c[1]), 1);
	cr_assert_eq(X509_check_ca(c[0]), 0);
	cr_assert_eq(X509_get_key_usage(c[2]), ca);
	cr_assert_eq(X509_get_key_usage(c[1]), ca);
	cr_assert_eq(X509_get_key_usage(c[0]), KU_DIGITAL_SIGNATURE);
	cr_assert_eq(X509_get_extended_key_usage(c[0]), XKU_SSL_SERVER);
	drop(c);
	rq.usage_client_auth = true;
	issue(c);
	cr_assert_eq(
	    X509_get_extended_key_usage(c[0]), XKU_SSL_SERVER | XKU_SSL_CLIENT);
	drop(c);
	rq.usage_server_auth = false;
	issue(c);
	cr_assert_eq(X509_get_extended_key_usage(c[0]), XKU_SSL_CLIENT);
	drop(c);
	rq.usage_client_auth = false;
	issue(c);
	cr_assert_eq(X509_get_extended_key_usage(c[0]), UINT32_MAX);
	drop(c);
}

/* Subjects and keys: the CA keys are the derived ones, the leaf has the
 * requested one; serials are positive and fresh. */
Test(certs, subjects_and_keys)
{
	static const char *const want[] = { "O = Example, CN = app.example.com",
		"O = Dstack, CN = Dstack App CA",
		"O = Dstack, CN = Dstack KMS CA" };
	struct p256_secret s;
	struct p256_pub pub;
	X509 *a[3], *b[3];

	issue(a);
	issue(b);
	for (int i = 0; i < 3; i++) {
		BIO *bio = BIO_new(BIO_s_mem());
		char *text;
		long n;

		X509_NAME_print_ex(
		    bio, X509_get_subject_name(a[i]), 0, XN_FLAG_ONELINE);
		n = BIO_get_mem_data(bio, &text);
		cr_assert_eq(strncmp(text, want[i], (size_t)n), 0);
		BIO_free(bio);
		cr_assert_eq(
		    ASN1_STRING_length(X509_get0_serialNumber(a[i])), 16);
		cr_assert_eq(X509_get_version(a[i]), 2);
		/* Only the root's is the same again. */
		cr_assert_eq(ASN1_INTEGER_cmp(X509_get0_serialNumber(a[i]),
				 X509_get0_serialNumber(b[i])) == 0,
		    i == 2);
	}
	for (int i = 0; i < 3; i++) {
		EVP_PKEY *key;

		if (i == 0)
			pub = rq.key;
		if (i == 1) {
			cr_assert_eq(keys_app_ca(&s, roots, app_id), ERR_OK);
			cr_assert_eq(p256_pubkey(&pub, &s), ERR_OK);
		}
		if (i == 2) {
			keys_root_ca(&s, roots);
			cr_assert_eq(p256_pubkey(&pub, &s), ERR_OK);
		}
		key = p256_evp_public(&pub);
		cr_assert_eq(EVP_PKEY_eq(X509_get0_pubkey(a[i]), key), 1);
		EVP_PKEY_free(key);
	}
	drop(a);
	drop(b);
}

/* dstack's extensions: app id and usage always, the others when asked. */
Test(certs, extensions)
{
	static uint8_t att[40000];
	X509 *c[3];

	issue(c);
	for (int i = 0; i < 2; i++) {
		struct bytes id = extension(c[i], OID(3));

		cr_assert_eq(id.len, 20);
		cr_assert_arr_eq(id.p, app_id, 20);
	}
	cr_assert(is_text(extension(c[0], OID(4)), "app:custom"));
	cr_assert(is_text(extension(c[1], OID(4)), "app:ca"));
	cr_assert_eq(extension(c[2], OID(3)).len, 0);
	cr_assert_eq(extension(c[2], OID(4)).len, 0);
	cr_assert_eq(extension(c[0], OID(8)).len, 0);
	cr_assert_eq(extension(c[0], OID(9)).len, 0);
	drop(c);
	memset(att, 0x3c, sizeof att);
	rq.attestation = BYTES_OF(att);
	issue(c);
	cr_assert_eq(extension(c[0], OID(8)).len, sizeof att);
	cr_assert_eq(extension(c[1], OID(8)).len, 0);
	drop(c);
	rq.attestation.len = CERT_ATTESTATION_MAX + 1;
	refused("attestation");
}

/* App info is MessagePack, to the byte, with and without an instance id and
 * with a key provider of more than 255 bytes. */
Test(certs, app_info)
{
	struct boot_info b = { .has_instance_id = true };
	uint8_t want[700];
	size_t n = 0;
	struct bytes got;
	X509 *c[3];

	memset(b.app_id, 1, 20);
	memset(b.compose_hash, 2, 32);
	memset(b.instance_id, 3, 20);
	memset(b.device_id, 4, 32);
	memset(b.mr_system, 5, 32);
	memset(b.mr_aggregated, 6, 32);
	memset(b.os_image_hash, 7, 32);
	want[n++] = 0x99;
	for (uint8_t i = 1; i <= 7; i++) {
		uint8_t len = i == 1 || i == 3 ? 20 : 32;

		want[n++] = 0xc4;
		want[n++] = len;
		memset(want + n, i, len);
		n += len;
	}
	want[n++] = 0xc4;
	want[n++] = 0;
	want[n++] = 0xc0;
	rq.app_info = &b;
	issue(c);
	got = extension(c[0], OID(9));
	cr_assert_eq(got.len, n);
	cr_assert_arr_eq(got.p, want, n);
	drop(c);

	b.has_instance_id = false;
	memset(b.key_provider, 'k', 300);
	issue(c);
	got = extension(c[0], OID(9));
	cr_assert_eq(got.len, n - 20 + 1 + 300);
	cr_assert_eq(memcmp(got.p + 1 + 22 + 34, "\xc4\x00\xc4\x20\x04", 5), 0);
	cr_assert_eq(memcmp(got.p + got.len - 304, "\xc5\x01\x2ck", 4), 0);
	cr_assert_eq(got.p[got.len - 1], 0xc0);
	drop(c);
	memset(b.key_provider, 'k', sizeof b.key_provider - 1);
	issue(c);
	drop(c);
}

/* Names and addresses that are what they say are taken. */
Test(certs, alt_names)
{
	X509 *c[3];

	names[0] = "a.example";
	names[1] = "xn--bcher-kva.example";
	names[2] = "192.0.2.7";
	names[3] = "2001:db8::1";
	names[4] = "localhost";
	names[5] = "*.apps.example.com";
	rq.n_alt_names = 6;
	issue(c);
	cr_assert_eq(X509_check_host(c[0], "a.example", 0,
			 X509_CHECK_FLAG_NEVER_CHECK_SUBJECT, NULL),
	    1);
	cr_assert_eq(
	    X509_check_host(c[0], "x.apps.example.com", 0, 0, NULL), 1);
	cr_assert_eq(X509_check_host(c[0], "b.example", 0, 0, NULL), 0);
	cr_assert_eq(X509_check_ip_asc(c[0], "192.0.2.7", 0), 1);
	cr_assert_eq(X509_check_ip_asc(c[0], "2001:db8::1", 0), 1);
	cr_assert_eq(X509_check_ip_asc(c[0], "192.0.2.8", 0), 0);
	drop(c);
	/* No name at all, and an empty subject, can be too. */
	rq.n_alt_names = 0;
	rq.subject = rq.org_name = "";
	issue(c);
	cr_assert_eq(X509_NAME_entry_count(X509_get_subject_name(c[0])), 0);
	cr_assert_eq(X509_get_ext_by_NID(c[0], NID_subject_alt_name, -1), -1);
	drop(c);
	rq.n_alt_names = 1;
	issue(c);
	cr_assert_eq(X509_EXTENSION_get_critical(X509_get_ext(c[0],
			 X509_get_ext_by_NID(c[0], NID_subject_alt_name, -1))),
	    1);
	cr_assert_eq(verify(c, c[2], NOW, X509_PURPOSE_SSL_SERVER), X509_V_OK);
	drop(c);
}

/* Everything else is no name: empty, long, other letters, control bytes,
 * OpenSSL's own syntax, half an address. */
Test(certs, alt_names_refused)
{
	static const char l64[] = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
				  "aaaaaaaaaaaaaaaaaaaa.example";
	static const char *const bad[] = { "", ".", "a.", ".a", "a..b", "-a.b",
		"a-.b", "a_b.example", "a b", "a\tb", "a\nb", "a,DNS:b",
		"DNS:a", "IP:1.2.3.4", "URI:kms:rpc", "kms:rpc", "caf\xc3\xa9",
		"a\x7f", "\xff", "1.2.3", "1.2.3.4.5", "256.1.1.1", "1.2.3.4/8",
		"[::1]", "::1%lo", ":::", "fe80::1%25eth0", "*", "*.", "*.com",
		"a.*.com", "*a.example.com", "*.*.example.com", "@", "a@b",
		"http://a", "a/b", l64 };
	char name[260];

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		names[0] = bad[i];
		refused(bad[i]);
	}
	memset(name, 'a', sizeof name);
	for (size_t i = 50; i < sizeof name; i += 50)
		name[i] = '.';
	name[254] = '\0';
	names[0] = name;
	refused("254 bytes");
	for (size_t i = 0; i <= CERT_NAMES_MAX; i++)
		names[i] = "a.example";
	rq.n_alt_names = CERT_NAMES_MAX + 1;
	refused("too many names");
}

/* Subjects that are long, hold control bytes, are no UTF-8, or read as the
 * KMS are refused, as common name and as organization. */
Test(certs, subjects_refused)
{
	static const char l65[] =
	    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	    "aaaaaaaaaaaaaaaaaaaa";
	static const char *const bad[] = { l65, "a\nb", "a\x01", "a\x7f",
		"\xff\xfe", "kms:rpc", "my KMS:rpc x", "Dstack KMS CA",
		"dstack kms ca", "Dstack App CA", "Dstack Client Temp CA",
		"the Dstack KMS" };

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		rq.subject = bad[i];
		refused(bad[i]);
		rq.subject = "ok";
		rq.org_name = bad[i];
		refused(bad[i]);
		rq.org_name = "";
	}
}

/* Times that are reversed, equal, or outside what X.509 can say. */
Test(certs, validity_refused)
{
	static const int64_t bad[][2] = { { 5, 5 }, { 2000000000, 1900000000 },
		{ -1, NOW }, { 0, 253402300800 }, { INT64_MIN, INT64_MAX },
		{ NOW, -1 }, { 0, 157766400 } };
	X509 *c[3];

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		rq.not_before = bad[i][0];
		rq.not_after = bad[i][1];
		refused("validity");
	}
	rq.not_before = 0;
	rq.not_after = 253402300799;
	issue(c);
	cr_assert_eq(verify(c, c[2], NOW, X509_PURPOSE_SSL_SERVER), X509_V_OK);
	drop(c);
}

/* A key that is no point of the curve gets no certificate. */
Test(certs, key_refused)
{
	rq.key.xy[0] ^= 1;
	refused("key");
	memset(&rq.key, 0, sizeof rq.key);
	refused("key");
}

/* The root's certificate says the same each time, and its SPKI is the
 * published one; in PEM it is the same certificate. */
Test(certs, root)
{
	struct buf a = { 0 }, b = { 0 }, pem = { 0 };
	struct epoch_public pub;
	uint8_t spki[P256_SPKI_LEN];
	unsigned char *der = NULL;
	X509 *x, *y;
	BIO *bio;

	cr_assert_eq(certs_root(&a, roots), ERR_OK);
	cr_assert_eq(certs_root(&b, roots), ERR_OK);
	x = parse(&a);
	y = parse(&b);
	cr_assert_eq(ASN1_INTEGER_cmp(
			 X509_get0_serialNumber(x), X509_get0_serialNumber(y)),
	    0);
	cr_assert_eq(
	    ASN1_TIME_compare(X509_get0_notAfter(x), X509_get0_notAfter(y)), 0);
	cr_assert_eq(
	    i2d_X509_PUBKEY(X509_get_X509_PUBKEY(x), &der), P256_SPKI_LEN);
	epoch_roots_public(roots, &pub);
	cr_assert_eq(p256_spki(spki, &pub.ca), ERR_OK);
	cr_assert_arr_eq(der, spki, sizeof spki);
	cr_assert_eq(X509_verify(x, X509_get0_pubkey(y)), 1);
	OPENSSL_free(der);
	X509_free(y);

	cr_assert_eq(buf_append(&pem, "#\n", 2, 10), ERR_OK);
	cr_assert_eq(cert_to_pem(&pem, buf_view(&a)), ERR_OK);
	cr_assert_eq(
	    strncmp((char *)pem.p, "#\n-----BEGIN CERTIFICATE-----\n", 30), 0);
	bio = BIO_new_mem_buf(pem.p, (int)pem.len);
	y = PEM_read_bio_X509(bio, NULL, NULL, NULL);
	cr_assert_eq(X509_cmp(x, y), 0);
	BIO_free(bio);
	X509_free(x);
	X509_free(y);
	buf_fini(&a);
	buf_fini(&b);
	buf_fini(&pem);
}
