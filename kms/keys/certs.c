#include <ctype.h>
#include <string.h>
#include <strings.h>

#include <openssl/pem.h>
#include <openssl/x509.h>

#include "common/attest/certmake.h"
#include "common/base/ct.h"
#include "common/base/memfail.h"
#include "common/crypto/hash.h"
#include "kms/keys/certs.h"

static enum err
to_der(struct buf *out, X509 *x)
{
	unsigned char *der = NULL;
	int n = i2d_X509(x, &der);
	enum err e = ERR_NOMEM;

	CT_PUBLIC(n);
	CT_PUBLIC(der);
	if (n > 0) {
		CT_PUBLIC_BYTES(der, (size_t)n);
		e = buf_set(out, der, (size_t)n);
	}
	OPENSSL_free(der);
	return e;
}

static bool
sign(X509 *x, EVP_PKEY *key)
{
	int n = X509_sign(x, key, EVP_sha256());

	CT_PUBLIC(n); /* the signature's length */
	return n > 0;
}

/* The root CA's certificate is the same each time but for its signature:
 * its serial number is made of its key. */
static enum err
make_root(X509 **out, EVP_PKEY **out_key, struct epoch_roots *r)
{
	uint8_t h[32], spki[P256_SPKI_LEN];
	struct epoch_public pub;
	struct p256_secret s;
	struct certmake t = {
		.serial = h,
		.org = "Dstack",
		.common_name = "Dstack KMS CA",
		.not_before = CERTMAKE_1975,
		.not_after = CERTMAKE_NEVER,
		.basic_constraints = "critical,CA:TRUE,pathlen:1",
		.key_usage = "critical,digitalSignature,keyCertSign,cRLSign",
	};
	X509 *x;

	epoch_roots_public(r, &pub);
	(void)p256_spki(spki, &pub.ca);
	sha256(h, spki, sizeof spki);
	keys_root_ca(&s, r);
	t.key = p256_evp_secret(&s);
	p256_secret_wipe(&s);
	if (t.key == NULL)
		return ERR_NOMEM;
	if ((x = certmake_new(&t)) == NULL || !sign(x, t.key)) {
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
	struct p256_secret s = { 0 };
	struct certmake t = {
		.org = "Dstack",
		.common_name = "Dstack App CA",
		.not_before = CERTMAKE_1975,
		.not_after = not_after,
		.issuer = root,
		.basic_constraints = "critical,CA:TRUE,pathlen:0",
		.key_usage = "critical,digitalSignature,keyCertSign,cRLSign",
	};
	X509 *x = NULL;
	enum err e;

	if ((e = keys_app_ca(&s, r, app_id)) != ERR_OK)
		return e;
	t.key = p256_evp_secret(&s);
	p256_secret_wipe(&s);
	if (t.key == NULL || (x = certmake_new(&t)) == NULL ||
	    !certmake_octets(
		x, CERTMAKE_APP_ID, (struct bytes){ app_id, 20 }) ||
	    !certmake_octets(x, CERTMAKE_USAGE, BYTES_STR(CERT_USAGE_APP_CA)) ||
	    !sign(x, root_key)) {
		X509_free(x);
		EVP_PKEY_free(t.key);
		return ERR_NOMEM;
	}
	*out = x;
	*out_key = t.key;
	return ERR_OK;
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

static bool
alt_name_ok(const char *s)
{
	uint8_t ip[16];

	return certmake_address(ip, s) != 0 || dns_ok(s);
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
	    rq->not_after <= CERTMAKE_1975 || rq->not_after > CERTMAKE_NEVER ||
	    rq->attestation.len > CERT_ATTESTATION_MAX)
		return false;
	for (size_t i = 0; i < rq->n_alt_names; i++)
		if (!alt_name_ok(rq->alt_names[i]))
			return false;
	return true;
}

static enum err
make_leaf(X509 **out, const uint8_t app_id[static 20],
    const struct cert_request *rq, X509 *ca, EVP_PKEY *ca_key)
{
	struct certmake t = {
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

	if (t.key == NULL)
		goto done;
	/* What request_ok let through and OpenSSL does not take is text that
	 * is not UTF-8. */
	e = ERR_MALFORMED;
	if ((x = certmake_new(&t)) == NULL)
		goto done;
	e = ERR_NOMEM;
	if (!certmake_ext_key_usage(
		x, rq->usage_server_auth, rq->usage_client_auth) ||
	    !certmake_alt_names(x, rq->alt_names, rq->n_alt_names) ||
	    !certmake_octets(
		x, CERTMAKE_APP_ID, (struct bytes){ app_id, 20 }) ||
	    !certmake_octets(
		x, CERTMAKE_USAGE, BYTES_STR(CERTMAKE_USAGE_APP)) ||
	    (rq->attestation.len > 0 &&
		!certmake_octets(x, CERTMAKE_ATTESTATION, rq->attestation)) ||
	    (rq->app_info != NULL && !certmake_app_info(x, rq->app_info)) ||
	    !sign(x, ca_key))
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
	uint64_t before = memfail_count();
	enum err e;

	if (!request_ok(rq))
		return memfail_err(before, ERR_MALFORMED);
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
	return memfail_err(before, e);
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
