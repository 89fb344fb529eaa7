#include <string.h>

#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "common/base/hex.h"
#include "common/crypto/hash.h"
#include "kms/ctl/quotecerts.h"
#include "kms/ctl/tlscert.h"

#define USAGE_LEAF "app:custom"
#define USAGE_CA "app:ca"

enum { LEAF, APP_CA, ROOT_CA, CHAIN_LEN };

static const char *const who[] = { "leaf", "app CA", "root CA" };

struct chain {
	struct quotereport *r;
	const struct tlsclient_peer *peer;
	X509 *x[CHAIN_LEN]; /* owns */
	struct certext ext[CHAIN_LEN]; /* owns */
	struct cert_facts facts[CHAIN_LEN];
	int64_t now;
	struct refusal *why;
};

bool
tlscert_pinned(const struct tlscert_pins *p, const uint8_t hash[static 32])
{
	for (size_t i = 0; i < p->n; i++)
		if (memcmp(p->hash[i], hash, 32) == 0)
			return true;
	return false;
}

/* A row, and the refusal if it does not hold. */
static enum err
told(struct chain *c, bool holds, const char *code, enum reason reason,
    const char *check, const char *found, const char *expected)
{
	quotereport_row(c->r,
	    &(struct quoterow){ .check = check,
		.found = found,
		.found_in = found != NULL ? "certificate" : NULL,
		.expected = expected,
		.codes = code,
		.holds = holds ? ROW_HOLDS : ROW_DIFFERS });
	return holds ? ERR_OK
		     : refuse(c->why, reason, "%s: not so: %s", code, check);
}

static enum err
read_chain(struct chain *c)
{
	char found[16];
	enum err e;

	(void)snprintf(found, sizeof found, "%zu", c->peer->n);
	e = told(c, c->peer->n == CHAIN_LEN, "TLS_CHAIN", REASON_REFERENCE,
	    "the server shows leaf, app CA and root CA", found, "3");
	for (int i = 0; e == ERR_OK && i < CHAIN_LEN; i++) {
		struct bytes der = buf_view(&c->peer->cert[i]);
		const unsigned char *at = der.p;

		c->x[i] = d2i_X509(NULL, &at, (long)der.len);
		e = c->x[i] == NULL ? ERR_MALFORMED
				    : quotecerts_der(&c->facts[i], der);
		if (e == ERR_OK &&
		    certext_read(&c->ext[i], c->x[i], c->why) != ERR_OK) {
			char detail[REFUSAL_DETAIL_MAX];
			enum reason code = c->why->code;

			memcpy(detail, c->why->detail, sizeof detail);
			(void)told(c, false, "TLS_EXTENSION", code,
			    "the extensions are dstack's", NULL, NULL);
			return refuse(c->why, code, "TLS_EXTENSION: %s: %.150s",
			    who[i], detail);
		}
		if (e != ERR_OK)
			return told(c, false, "TLS_CHAIN", REASON_REFERENCE,
			    "the certificates parse", NULL, NULL);
	}
	return e;
}

static enum err
spki_of(uint8_t out[static P256_SPKI_LEN], X509 *x)
{
	unsigned char *der = NULL;
	int n = i2d_PUBKEY(X509_get0_pubkey(x), &der);
	struct p256_pub pub;
	enum err e =
	    n > 0 ? p256_spki_parse(&pub, der, (size_t)n) : ERR_MALFORMED;

	if (e == ERR_OK)
		memcpy(out, der, P256_SPKI_LEN);
	OPENSSL_free(der);
	return e;
}

enum err
tlscert_spki(uint8_t out[static P256_SPKI_LEN], struct bytes der)
{
	const unsigned char *at = der.p;
	X509 *x = d2i_X509(NULL, &at, (long)der.len);
	enum err e = x != NULL ? spki_of(out, x) : ERR_MALFORMED;

	X509_free(x);
	return e;
}

static enum err
check_keys(struct chain *c, struct tlscert_facts *f)
{
	uint8_t spki[P256_SPKI_LEN];
	enum err e = spki_of(f->leaf_spki, c->x[LEAF]);

	e = told(c, e == ERR_OK, "TLS_KEY", REASON_REFERENCE,
	    "the leaf's key is on P-256, and signed this handshake", NULL,
	    NULL);
	if (e != ERR_OK)
		return e;
	e = spki_of(spki, c->x[ROOT_CA]);
	sha256(f->root_hash, spki, sizeof spki);
	return e == ERR_OK ? e
			   : told(c, false, "TLS_ROOT", REASON_ROOT_MISMATCH,
				 "the root CA's key is on P-256", NULL, NULL);
}

static enum err
check_root(struct chain *c, const struct tlscert_facts *f,
    const struct tlscert_pins *pins)
{
	char found[65], first[65], expected[160];

	hex_encode(first, pins->hash[0], 32);
	(void)snprintf(expected, sizeof expected, "%s%s", first,
	    pins->n > 1 ? ", or another in use" : "");
	quotereport_row(c->r,
	    &(struct quoterow){ .check = "the root CA's SPKI is the KMS's",
		.found = hex_encode(found, f->root_hash, 32),
		.found_in = "SHA-256, certificate",
		.expected = expected,
		.expected_in = pins->by,
		.codes = "TLS_ROOT",
		.holds = tlscert_pinned(pins, f->root_hash) ? ROW_HOLDS
							    : ROW_DIFFERS });
	if (tlscert_pinned(pins, f->root_hash))
		return ERR_OK;
	return refuse(c->why, REASON_ROOT_MISMATCH,
	    "TLS_ROOT: not the root CA of this KMS");
}

/* Signed by that key, and named after it. */
static bool
signed_by(X509 *x, X509 *issuer)
{
	return X509_verify(x, X509_get0_pubkey(issuer)) == 1 &&
	    X509_NAME_cmp(
		X509_get_issuer_name(x), X509_get_subject_name(issuer)) == 0;
}

static enum err
check_signatures(struct chain *c)
{
	enum err e;

	e = told(c, signed_by(c->x[APP_CA], c->x[ROOT_CA]), "TLS_CHAIN",
	    REASON_REFERENCE, "the root CA signed the app CA",
	    c->facts[APP_CA].issuer, c->facts[ROOT_CA].subject);
	if (e != ERR_OK)
		return e;
	return told(c, signed_by(c->x[LEAF], c->x[APP_CA]), "TLS_CHAIN",
	    REASON_REFERENCE, "the app CA signed the leaf",
	    c->facts[LEAF].issuer, c->facts[APP_CA].subject);
}

static enum err
check_times(struct chain *c)
{
	for (int i = 0; i < CHAIN_LEN; i++) {
		const struct cert_facts *f = &c->facts[i];
		char from[QUOTEREPORT_DATE], until[QUOTEREPORT_DATE],
		    now[QUOTEREPORT_DATE], window[64], check[64];
		enum err e;

		(void)snprintf(
		    check, sizeof check, "the %s is in date", who[i]);
		(void)snprintf(window, sizeof window, "%s to %s",
		    quotereport_date(from, f->from),
		    quotereport_date(until, f->until));
		e = told(c, f->from <= c->now && c->now <= f->until, "TLS_TIME",
		    REASON_REFERENCE, check, window,
		    quotereport_date(now, c->now));
		if (e != ERR_OK)
			return e;
	}
	return ERR_OK;
}

/* What each is for: nobody passes for another, and no app for the KMS. */
static enum err
check_roles(struct chain *c)
{
	uint32_t leaf = X509_get_extension_flags(c->x[LEAF]),
		 ca = X509_get_extension_flags(c->x[APP_CA]);
	enum err e;

	e = told(c,
	    (ca & EXFLAG_CA) != 0 && (ca & EXFLAG_INVALID) == 0 &&
		X509_get_pathlen(c->x[APP_CA]) == 0 &&
		(X509_get_key_usage(c->x[APP_CA]) & KU_KEY_CERT_SIGN) != 0,
	    "TLS_ROLE", REASON_WRONG_ROLE,
	    "the app CA may sign leaves, and no CA", NULL, NULL);
	if (e == ERR_OK)
		e = told(c,
		    (leaf & (EXFLAG_CA | EXFLAG_INVALID)) == 0 &&
			(X509_get_key_usage(c->x[LEAF]) &
			    KU_DIGITAL_SIGNATURE) != 0,
		    "TLS_ROLE", REASON_WRONG_ROLE,
		    "the leaf is no CA, and may sign", NULL, NULL);
	if (e == ERR_OK)
		e = told(c, strcmp(c->ext[APP_CA].usage, USAGE_CA) == 0,
		    "TLS_USAGE", REASON_WRONG_ROLE,
		    "the app CA's usage is an app CA's", c->ext[APP_CA].usage,
		    USAGE_CA);
	if (e == ERR_OK)
		e = told(c, strcmp(c->ext[LEAF].usage, USAGE_LEAF) == 0,
		    "TLS_USAGE", REASON_WRONG_ROLE,
		    "the leaf's usage is an app's", c->ext[LEAF].usage,
		    USAGE_LEAF);
	return e;
}

static enum err
check_app(struct chain *c, struct tlscert_facts *f)
{
	const struct certext *leaf = &c->ext[LEAF], *ca = &c->ext[APP_CA];
	char a[41], b[41];
	bool same = leaf->has_app_id && ca->has_app_id &&
	    memcmp(leaf->app_id, ca->app_id, 20) == 0;

	memcpy(f->app_id, leaf->app_id, 20);
	return told(c, same, "TLS_APP", REASON_REFERENCE,
	    "leaf and app CA are of one app",
	    leaf->has_app_id ? hex_encode(a, leaf->app_id, 20) : "no app",
	    ca->has_app_id ? hex_encode(b, ca->app_id, 20) : "no app");
}

/* The same chain as OpenSSL sees it: unknown critical extensions, names,
 * constraints, purpose. */
static enum err
check_path(struct chain *c)
{
	X509_STORE *store = X509_STORE_new();
	X509_STORE_CTX *x = X509_STORE_CTX_new();
	STACK_OF(X509) *between = sk_X509_new_null();
	X509_VERIFY_PARAM *p;
	const char *text = "out of memory";
	bool ok = false;

	if (store == NULL || x == NULL || between == NULL ||
	    X509_STORE_add_cert(store, c->x[ROOT_CA]) != 1 ||
	    sk_X509_push(between, c->x[APP_CA]) <= 0 ||
	    X509_STORE_CTX_init(x, store, c->x[LEAF], between) != 1)
		goto done;
	p = X509_STORE_CTX_get0_param(x);
	X509_VERIFY_PARAM_set_time(p, (time_t)c->now);
	(void)X509_VERIFY_PARAM_set_purpose(p, X509_PURPOSE_SSL_SERVER);
	ok = X509_verify_cert(x) == 1;
	text = X509_verify_cert_error_string(X509_STORE_CTX_get_error(x));
done:
	X509_STORE_CTX_free(x);
	X509_STORE_free(store);
	sk_X509_free(between);
	return told(c, ok, "TLS_PATH", REASON_REFERENCE,
	    "the path is one for a TLS server", ok ? NULL : text, NULL);
}

static enum err
check_name(struct chain *c, const char *name)
{
	bool has = name == NULL ||
	    X509_check_host(c->x[LEAF], name, 0, 0, NULL) == 1 ||
	    X509_check_ip_asc(c->x[LEAF], name, 0) == 1;

	return name == NULL
	    ? ERR_OK
	    : told(c, has, "TLS_NAME", REASON_REFERENCE,
		  "the leaf names the server", c->facts[LEAF].subject, name);
}

static enum err
check_all(struct chain *c, struct tlscert_facts *f,
    const struct tlscert_pins *pins, const char *name)
{
	enum err e;

	if ((e = read_chain(c)) != ERR_OK || (e = check_keys(c, f)) != ERR_OK ||
	    (e = check_root(c, f, pins)) != ERR_OK ||
	    (e = check_signatures(c)) != ERR_OK ||
	    (e = check_times(c)) != ERR_OK || (e = check_roles(c)) != ERR_OK ||
	    (e = check_app(c, f)) != ERR_OK || (e = check_path(c)) != ERR_OK ||
	    (e = check_name(c, name)) != ERR_OK)
		return e;
	return told(c, c->ext[LEAF].has_evidence, "TLS_ATTESTATION",
	    REASON_QUOTE_MALFORMED, "the leaf carries attestation", NULL, NULL);
}

enum err
tlscert_check(struct quotereport *r, struct tlscert_facts *out,
    const struct tlsclient_peer *peer, const struct tlscert_pins *pins,
    const char *name, int64_t now, struct refusal *why)
{
	struct chain c = { .r = r, .peer = peer, .now = now, .why = why };
	struct tlscert_facts f = { .ext = { .has_app_id = false } };
	enum err e = check_all(&c, &f, pins, name);

	if (e == ERR_OK) {
		f.ext = c.ext[LEAF];
		c.ext[LEAF] = (struct certext){ 0 }; /* transferred */
		*out = f;
	}
	for (int i = 0; i < CHAIN_LEN; i++) {
		certext_fini(&c.ext[i]);
		X509_free(c.x[i]);
	}
	return e;
}
