/* fixture_cert: certificates of a fixture, signed here by its root CA.
 *
 * The real agent's are issued by the KMS (kms/keys/certs.h); a fixture has
 * the CA's key instead: dstack-compat.md 4.6 and 6. */
#ifndef NODE_AGENT_FIXTURE_CERT_H
#define NODE_AGENT_FIXTURE_CERT_H

#include "common/attest/bootinfo.h"

#include "node/agent/kms_client.h"

struct fixture_ca {
	const struct p256_secret *key;
	struct bytes der; /* its certificate */
};

/* fixture_cert_issue makes the leaf for `rq` (its proof, epoch and root are
 * not looked at) into an empty buffer, DER.  `info` is told if rq asks for
 * the app's.  Times that are not given are 1975 and ten years from `now`.
 * ERR_MALFORMED: a name or the validity is not acceptable. */
enum err fixture_cert_issue(struct buf *der, const struct fixture_ca *ca,
    const struct kms_cert_request *rq, const uint8_t app_id[static 20],
    const struct boot_info *info, int64_t now);

#endif
