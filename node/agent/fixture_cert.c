#include <string.h>

#include <openssl/x509.h>

#include "common/attest/certmake.h"

#include "node/agent/fixture_cert.h"

#define TEN_YEARS ((int64_t)3650 * 86400)

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
request_ok(const struct kms_cert_request *rq, int64_t from, int64_t until)
{
	/* RFC 5280 ub-common-name. */
	if (strlen(rq->subject) > 64 || from >= until || until > CERTMAKE_NEVER)
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
	int64_t until = rq->not_after == 0   ? now + TEN_YEARS
	    : rq->not_after > CERTMAKE_NEVER ? INT64_MAX
					     : (int64_t)rq->not_after;
	int64_t from = rq->not_before == 0    ? CERTMAKE_1975
	    : rq->not_before > CERTMAKE_NEVER ? INT64_MAX
					      : (int64_t)rq->not_before;
	const unsigned char *p = ca->der.p;
	EVP_PKEY *ca_key = NULL;
	X509 *x = NULL, *issuer = NULL;
	unsigned char *out = NULL;
	struct certmake t = {
		.org = "",
		.common_name = rq->subject,
		.not_before = from,
		.not_after = until,
		.basic_constraints = "critical,CA:FALSE",
		.key_usage = "critical,digitalSignature",
	};
	struct p256_pub pub;
	enum err e = ERR_MALFORMED;
	int n;

	if (!request_ok(rq, from, until) ||
	    p256_spki_parse(&pub, rq->spki, sizeof rq->spki) != ERR_OK)
		goto done;
	e = ERR_NOMEM;
	ca_key = p256_evp_secret(ca->key);
	t.key = p256_evp_public(&pub);
	t.issuer = issuer = d2i_X509(NULL, &p, (long)ca->der.len);
	if (ca_key == NULL || t.key == NULL || issuer == NULL)
		goto done;
	/* What is left to go wrong is a subject that is not UTF-8. */
	e = ERR_MALFORMED;
	if ((x = certmake_new(&t)) == NULL ||
	    !certmake_ext_key_usage(
		x, rq->usage_server_auth, rq->usage_client_auth) ||
	    !certmake_alt_names(x, rq->alt_names, rq->n_alt_names) ||
	    !certmake_octets(
		x, CERTMAKE_APP_ID, (struct bytes){ app_id, 20 }) ||
	    !certmake_octets(
		x, CERTMAKE_USAGE, BYTES_STR(CERTMAKE_USAGE_APP)) ||
	    (rq->attestation.len > 0 &&
		!certmake_octets(x, CERTMAKE_ATTESTATION, rq->attestation)) ||
	    (rq->with_app_info && !certmake_app_info(x, info)) ||
	    X509_sign(x, ca_key, EVP_sha256()) <= 0)
		goto done;
	e = (n = i2d_X509(x, &out)) > 0 ? buf_set(der, out, (size_t)n)
					: ERR_NOMEM;
done:
	OPENSSL_free(out);
	X509_free(x);
	X509_free(issuer);
	EVP_PKEY_free(ca_key);
	EVP_PKEY_free(t.key);
	return e;
}
