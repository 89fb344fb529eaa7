/* release: what a KMS released to this app, verified before it is used.
 *
 * The channel has shown that the peer is an attested VM; what makes its
 * answer the right one is here: the app key must be signed by the root of
 * its epoch, that root must follow from the pinned one of epoch 0
 * (epochchain.h), and the CA must be the one that the app insists on, if any
 * of these are configured. */
#ifndef NODE_AGENT_RELEASE_H
#define NODE_AGENT_RELEASE_H

#include "common/base/reason.h"
#include "common/crypto/dstack.h"
#include "common/wire/msg.h"

#include "node/agent/config.h"

/* Holds secrets: lives in secret_new memory, or is wiped. */
struct app_release {
	uint64_t epoch;
	struct k256_secret k256;
	struct k256_sig65 k256_signature;
	uint8_t env_crypt_key[32]; /* X25519; nothing signs it */
	struct k256_pub root; /* of the epoch */
	struct k256_pub genesis; /* of epoch 0, that it follows from */
	uint64_t pinned; /* the epoch that the app is pinned to */
	bool has_registry;
	uint8_t registry[20]; /* that says so */
	/* What this instance alone has (common/crypto/v2key.h). */
	bool has_replica;
	struct k256_secret replica;
	struct k256_sig65 replica_signature;
	uint8_t ca_spki[P256_SPKI_LEN];
	uint8_t os_image_hash[32];
	uint64_t block_number;
};

/* What a release must be.  Borrows. */
struct release_terms {
	uint8_t app_id[20];
	bool has_instance_id;
	uint8_t instance_id[20];
	uint64_t chain_id;
	uint8_t kms_contract[20];
	struct root_pin root; /* of epoch 0 */
	bool has_registry;
	uint8_t registry[20];
	/* Who may have signed certificates of emergencies; and whether the
	 * nodes' code is pinned, so that their own word on it counts. */
	uint8_t anchor_signer[CONFIG_SIGNERS][20];
	unsigned n_anchor_signers;
	bool code_pinned;
	struct bytes key_provider_id; /* SPKI, or empty */
};

/* release_verify checks a reply to GetAppKeys.  `epoch` is the one that was
 * asked for, or NULL: the one that the app is pinned to.  ERR_DENIED with the
 * reason; ERR_NOMEM, without; `*out` is written only on ERR_OK. */
enum err release_verify(struct app_release *out,
    const Devproof__Kms__V1__AppKeys *in, const struct release_terms *t,
    const uint64_t *epoch, struct refusal *why);

void release_wipe(struct app_release *r);

#endif
