/* certs: X.509 under the root CA of an epoch: dstack-compat.md 4.6. */
#ifndef KMS_KEYS_CERTS_H
#define KMS_KEYS_CERTS_H

#include "common/attest/bootinfo.h"
#include "kms/keys/keys.h"

/* Names: what agents ask for is one to five; a certificate stays small. */
#define CERT_NAMES_MAX 32
/* RFC 5280 ub-common-name and ub-organization-name. */
#define CERT_SUBJECT_MAX 64
/* Quote, log and configuration of one guest, stripped. */
#define CERT_ATTESTATION_MAX (64u * 1024)

/* The usage extension (.4).  What an app gets always says CERTMAKE_USAGE_APP,
 * so that no app can pass for a KMS, whatever names it asked for. */
#define CERT_USAGE_APP_CA "app:ca"

struct cert_request {
	struct p256_pub key;
	const char *subject; /* common name, may be "" */
	const char *org_name; /* "" leaves it out */
	/* DNS names (letters, digits, hyphens; "*." may come first) or IP
	 * addresses. */
	const char *const *alt_names;
	size_t n_alt_names;
	bool usage_server_auth;
	bool usage_client_auth;
	/* Unix seconds; from 1970 to 9999, and not_after behind 1975, when
	 * the CAs begin. */
	int64_t not_before;
	int64_t not_after;
	struct bytes attestation; /* extension .8, or empty */
	const struct boot_info *app_info; /* extension .9, or NULL */
};

/* certs_root: DER of the self-signed root CA, deterministic in content but
 * for its signature: pin the SPKI, not the bytes. */
enum err certs_root(struct buf *der, struct epoch_roots *r);

/* certs_app issues [leaf, app CA, root CA], DER, for the app of `app_id`;
 * each of `chain` is replaced on success and left alone otherwise.
 * ERR_MALFORMED: a name, the validity or the attestation's length is not
 * acceptable, or `key` is not on the curve. */
enum err certs_app(struct buf chain[static 3], struct epoch_roots *r,
    const uint8_t app_id[static 20], const struct cert_request *rq);

/* cert_to_pem appends "-----BEGIN CERTIFICATE-----..." */
enum err cert_to_pem(struct buf *pem, struct bytes der);

#endif
