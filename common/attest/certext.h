/* certext: what dstack's extensions of a certificate say: dstack-compat.md 4.6.
 *
 *   1.3.6.1.4.1.62397.1.1   TDX quote            the older pair of which .8
 *                      .2   event log, JSON      is the successor; the log
 *                           may be "ELGZv1" and a gzip stream
 *                      .3   app id
 *                      .4   usage, text
 *                      .8   VersionedAttestation, 0 or 1 (attestation.h)
 *                      .9   app info, MessagePack array of 9
 *
 * Each value is an OCTET STRING inside the extension's own.  Nothing is
 * verified here: who signed the certificate, and what the evidence is worth,
 * others say. */
#ifndef COMMON_ATTEST_CERTEXT_H
#define COMMON_ATTEST_CERTEXT_H

#include <openssl/types.h>

#include "common/attest/evidence.h"

#define CERTEXT_USAGE_MAX 64
/* A certificate with its attestation, DER. */
#define CERTEXT_CERT_MAX (128u * 1024)

struct certext_info {
	uint8_t app_id[20];
	uint8_t compose_hash[32];
	bool has_instance_id;
	uint8_t instance_id[20];
	uint8_t device_id[32];
	uint8_t mr_system[32];
	uint8_t mr_aggregated[32];
	uint8_t os_image_hash[32];
	char key_provider[KEY_PROVIDER_MAX]; /* or "" */
};

struct certext {
	bool has_app_id;
	uint8_t app_id[20];
	char usage[CERTEXT_USAGE_MAX]; /* "" if there is none */
	bool has_evidence; /* of .8, or of .1 and .2 */
	bool legacy; /* of these two: without a vm_config */
	struct evidence ev; /* owns; quote and log, with .8 the vm_config */
	/* What .8 says that its quote is about. */
	uint8_t report_data[64];
	bool has_info;
	struct certext_info info;
};

/* certext_read: ERR_DENIED, with REASON_QUOTE_MALFORMED (an extension that is
 * there twice, of the wrong size, or does not parse; .1 without .2; .8 beside
 * them) or those of attestation_decode.  A certificate without any is ERR_OK.
 * The caller certext_fini()s on success. */
enum err certext_read(
    struct certext *out, const X509 *cert, struct refusal *why);
void certext_fini(struct certext *c);

/* certext_parse does the same with one DER certificate. */
enum err certext_parse(
    struct certext *out, struct bytes der, struct refusal *why);

#endif
