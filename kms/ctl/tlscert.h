/* tlscert: the chain of an app's certificate: leaf, app CA, root CA of a KMS.
 *
 * dstack-compat.md 4.6.  The shape is fixed, so each link is checked by name;
 * then OpenSSL's path check looks at the same chain once more, for what a
 * list of ours could leave out. */
#ifndef KMS_CTL_TLSCERT_H
#define KMS_CTL_TLSCERT_H

#include "common/attest/certext.h"
#include "common/crypto/p256.h"
#include "kms/ctl/quotereport.h"
#include "kms/ctl/tlsclient.h"

#define TLSCERT_PINS 64

/* Root CAs of the KMS: SHA-256 of their SPKI. */
struct tlscert_pins {
	uint8_t hash[TLSCERT_PINS][32];
	size_t n;
	const char *by; /* static, for people */
};
bool tlscert_pinned(
    const struct tlscert_pins *p, const uint8_t hash[static 32]);

/* tlscert_spki: that of one DER certificate.  ERR_MALFORMED: none, or not on
 * P-256. */
enum err tlscert_spki(uint8_t out[static P256_SPKI_LEN], struct bytes der);

/* What a chain that holds says. */
struct tlscert_facts {
	uint8_t leaf_spki[P256_SPKI_LEN];
	uint8_t root_hash[32];
	uint8_t app_id[20];
	struct certext ext; /* owns: of the leaf */
};

/* tlscert_check adds a row (step 0) for each check, in order, and stops at the
 * first that does not hold: ERR_DENIED, `why` with a TLS_ code.  `name` NULL:
 * whatever names the certificate has.  certext_fini(&out->ext) on success. */
enum err tlscert_check(struct quotereport *r, struct tlscert_facts *out,
    const struct tlsclient_peer *peer, const struct tlscert_pins *pins,
    const char *name, int64_t now, struct refusal *why);

#endif
