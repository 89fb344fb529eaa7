/* v2key: derivations beside dstack's, where no two uses can share bytes.
 *
 *   key = HKDF-SHA256(salt "devproof-kms/v2", ikm, LP(label) || LP(epoch) ||
 *         LP(algorithm) || LP(app id) || LP(instance id) || LP(path)), 32 bytes
 *
 * LP(x) = u32be(length) || x (lp.h); the epoch is u64be, the ids have 20 bytes
 * each.  Shared by the key service (from the roots down to a replica's root)
 * and the guest agent (below it), as dstack.h is. */
#ifndef COMMON_CRYPTO_V2KEY_H
#define COMMON_CRYPTO_V2KEY_H

#include "common/crypto/k256.h"

/* Labels: of a replica's root, from a root; of a key, from that. */
#define V2KEY_REPLICA "replica"
#define V2KEY_REPLICA_KEY "replica-key"

/* Whose key it is. */
struct v2key_owner {
	uint64_t epoch;
	uint8_t app_id[20];
	uint8_t instance_id[20];
};

/* v2key_derive: ERR_LIMIT if the path is too long (4 KiB are not). */
enum err v2key_derive(uint8_t out[static 32], const uint8_t ikm[static 32],
    const char *label, const char *algorithm, const struct v2key_owner *owner,
    struct bytes path);

/* The root's word on a replica's root: SIG65(root k256,
 * "devproof-kms-replica:" || LP(epoch) || LP(app id) || LP(instance id) ||
 * LP(replica's public key, 33)). */
enum err v2key_sign_replica(struct k256_sig65 *out,
    const struct k256_secret *root, const struct v2key_owner *owner,
    const struct k256_pub *replica);
enum err v2key_recover_replica(struct k256_pub *root,
    const struct k256_sig65 *sig, const struct v2key_owner *owner,
    const struct k256_pub *replica);

/* What a key below it is. */
struct v2key_claim {
	const char *algorithm;
	struct bytes path, purpose;
	struct bytes pub; /* of the key: 33 bytes, or 32 */
};

/* The replica's word on a key: SIG65(replica's root,
 * "devproof-kms-replica-key:" || LP(algorithm) || LP(path) || LP(purpose) ||
 * LP(public key)). */
enum err v2key_sign_claim(struct k256_sig65 *out,
    const struct k256_secret *replica, const struct v2key_claim *claim);
enum err v2key_recover_claim(struct k256_pub *replica,
    const struct k256_sig65 *sig, const struct v2key_claim *claim);

#endif
