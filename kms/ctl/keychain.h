/* keychain: from a derived key up to a root, by signatures alone.
 *
 * dstack-compat.md 2.2: link 0 is the app key's signature over the derived
 * public key and its purpose, link 1 the root's over the app key.  Both
 * recover their signer, so a link that was tampered with shows as another
 * signer at the end, unless the app key is known too (`app`).
 *
 * A replica's key (GetReplicaKey, common/crypto/v2key.h) has its replica's
 * root where others have the app key, and its links bind more: algorithm, path,
 * epoch and instance. */
#ifndef KMS_CTL_KEYCHAIN_H
#define KMS_CTL_KEYCHAIN_H

#include "common/base/json.h"
#include "common/base/limits.h"
#include "common/base/reason.h"
#include "common/crypto/k256.h"

/* What a replica's chain says besides. */
struct keychain_replica {
	bool is; /* else all of it is unset */
	uint64_t epoch;
	uint8_t instance_id[20];
	const char *algorithm; /* static */
	char path[LIMIT_KEY_PATH];
};

struct keychain_claim {
	uint8_t pub[33]; /* the derived key: 33 bytes, or 32 of ed25519 */
	size_t pub_len;
	char purpose[LIMIT_KEY_PATH];
	struct k256_sig65 link[2];
	struct keychain_replica replica;
};

enum keychain_step {
	KEYCHAIN_HOLDS,
	KEYCHAIN_LINK_0,
	KEYCHAIN_LINK_1,
	KEYCHAIN_ROOT, /* links are signatures, but of another root */
};

struct keychain_report {
	enum keychain_step broken;
	/* Recovered, unless link 0 is broken: the app's, or replica's, key. */
	struct k256_pub app;
	struct k256_pub root; /* recovered, unless a link is broken */
};

/* keychain_read takes GetKey's reply or the like: "signature_chain" of two,
 * "public_key" or the secret "key", and "purpose", "algorithm" (default ""
 * and secp256k1).  With an "instance_id" it is a replica's, which needs
 * "epoch" and has a "path" (default ""), too.
 * ERR_MALFORMED: `why` says which member. */
enum err keychain_read(
    struct keychain_claim *out, const json_t *v, char *why, size_t why_cap);

/* keychain_check fills `out` and returns ERR_OK when the chain ends at
 * `root`; else ERR_DENIED, `out->broken` and `why`.  `app` may be NULL.  That
 * the root is the one of a replica's epoch is the caller's to ask. */
enum err keychain_check(struct keychain_report *out,
    const struct keychain_claim *c, const uint8_t app_id[static 20],
    const struct k256_pub *app, const struct k256_pub *root,
    struct refusal *why);

#endif
