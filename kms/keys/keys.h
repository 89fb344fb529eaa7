/* keys: the roots of an epoch and everything derived from them.
 *
 * The only code that turns roots into keys.  Below an epoch every derivation
 * is dstack's, byte for byte: dstack-compat.md 2.2.  Roots live in
 * secret_new memory, locked while idle; results are plain structs that the
 * caller wipes. */
#ifndef KMS_KEYS_KEYS_H
#define KMS_KEYS_KEYS_H

#include "common/crypto/k256.h"
#include "common/crypto/p256.h"

/* Both roots of one epoch; opaque, in guarded memory.  One thread at a time:
 * the keyring (keyring.h) sees to it. */
struct epoch_roots;

/* The public half, fit for chain, logs and wire. */
struct epoch_public {
	uint64_t number;
	struct k256_pub k256;
	struct p256_pub ca;
};

/* What an app gets.  Holds secrets: app_keys_wipe. */
struct app_keys {
	uint64_t epoch;
	uint8_t app_id[20];
	struct k256_secret k256;
	struct k256_sig65 k256_signature;
	uint8_t disk_crypt_key[32];
	uint8_t env_crypt_key[32];
	/* Of this instance alone; none without an instance id. */
	bool has_replica;
	struct k256_secret replica;
	struct k256_sig65 replica_signature;
};

/* epoch_roots_generate makes fresh random roots; the caller owns them. */
enum err epoch_roots_generate(struct epoch_roots **out, uint64_t number);
/* epoch_roots_import takes roots that an attested member sent or that were
 * unsealed; ERR_MALFORMED for invalid scalars. */
enum err epoch_roots_import(struct epoch_roots **out, uint64_t number,
    const uint8_t root_k256[static 32], const uint8_t root_ca[static 32]);
/* epoch_roots_export is for exactly two callers: sealing into the store and
 * the hand-over to an attested, allowed KMS node.  Wipe the results. */
void epoch_roots_export(struct epoch_roots *r, uint8_t root_k256[static 32],
    uint8_t root_ca[static 32]);
void epoch_roots_free(struct epoch_roots *r); /* wipes; NULL is fine */

void epoch_roots_public(const struct epoch_roots *r, struct epoch_public *out);

/* keys_app derives an app's keys, and its instance's (common/crypto/v2key.h);
 * `instance_id` may be NULL (no instance). */
enum err keys_app(struct app_keys *out, struct epoch_roots *r,
    const uint8_t app_id[static 20], const uint8_t *instance_id);
void app_keys_wipe(struct app_keys *k);

/* keys_app_ca derives the P-256 key of an app's CA.  Wipe it. */
enum err keys_app_ca(struct p256_secret *out, struct epoch_roots *r,
    const uint8_t app_id[static 20]);

/* keys_anchor derives the key by which the cluster speaks to its anchor on
 * chain (kms/gate/anchor.h).  Wipe it. */
enum err keys_anchor(struct k256_secret *out, struct epoch_roots *r);

/* keys_root_ca copies the P-256 root, for kms/keys/certs.c alone.  Wipe it. */
void keys_root_ca(struct p256_secret *out, struct epoch_roots *r);

/* keys_env_pub: X25519 public key of the app's env key, and the signature
 * over it (v1 form, with the timestamp): dstack-compat.md 2.3. */
enum err keys_env_pub(uint8_t pub[static 32], struct k256_sig65 *sig,
    struct k256_sig65 *sig_v1, struct epoch_roots *r,
    const uint8_t app_id[static 20], uint64_t timestamp);

/* epoch_certificate signs the successor's public half with this root:
 * DESIGN 7.  `mode` 0 routine, 1 emergency.  ERR_MALFORMED: `next` is not
 * the epoch after this one, or no such mode. */
enum err epoch_certificate(struct k256_sig65 *out, struct epoch_roots *r,
    const struct epoch_public *next, uint64_t chain_id,
    const uint8_t registry[static 20], uint8_t mode);

/* epoch_certificate_emergency: the same by the anchor's signer (keys_anchor),
 * when the root before may be stolen and its word counts for nothing. */
enum err epoch_certificate_emergency(struct k256_sig65 *out,
    const struct k256_secret *anchor, const struct epoch_public *next,
    uint64_t chain_id, const uint8_t registry[static 20]);

/* epoch_attest signs a digest of kms/gate/registryabi.h with the root itself:
 * that who signs has it.  For kms/cluster/rotate.c alone. */
enum err epoch_attest(struct k256_sig65 *out, struct epoch_roots *r,
    const uint8_t digest[static 32]);

/* keys_bootstrap_report_data: the report data of the genesis quote, which
 * binds both public roots: dstack-compat.md 3.6 "KMS bootstrap". */
void keys_bootstrap_report_data(
    uint8_t out[static 64], const struct epoch_public *pub);

#endif
