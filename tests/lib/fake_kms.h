/* fake_kms: roots of some epochs, and the releases that a KMS with them would
 * send to one app; nothing is attested. */
#ifndef TESTS_LIB_FAKE_KMS_H
#define TESTS_LIB_FAKE_KMS_H

#include "common/crypto/epochcert.h"
#include "common/wire/msg.h"
#include "node/agent/release.h"

#define FAKE_EPOCHS 4

typedef Devproof__Kms__V1__AppKeys AppKeys;
typedef Devproof__Kms__V1__EpochPublic EpochPublic;

struct fake_kms {
	struct fake_epoch {
		struct k256_secret root, app;
		struct k256_pub root_pub, app_pub;
		struct k256_sig65 app_sig; /* the root's, over app_pub */
		struct p256_secret ca;
		struct buf ca_der; /* owns */
		uint8_t ca_hash[32];
		struct k256_sig65 certificate; /* but of epoch 0 */
		EpochPublic record; /* borrows, as `keys` does */
	} epoch[FAKE_EPOCHS];
	struct k256_secret signer; /* of the anchor */
	uint8_t signer_address[20];
	uint8_t bytes[32], contract[20], app_id[20], registry[20];
	EpochPublic *records[FAKE_EPOCHS];
	ProtobufCBinaryData signers[1];
	AppKeys keys; /* what is sent */
	struct release_terms terms; /* with nothing pinned */
};

/* All rotations are routine ones; epoch 0 is released, and pinned. */
void fake_kms_init(struct fake_kms *f);
void fake_kms_fini(struct fake_kms *f);
/* f->keys becomes a release of that epoch. */
void fake_kms_release(struct fake_kms *f, uint64_t epoch, uint64_t pinned);
/* Signs the certificate of an epoch; its record says so. */
void fake_kms_certify(struct fake_kms *f, uint64_t epoch,
    enum epochcert_mode mode, const struct k256_secret *by);
/* The same of `c`, as it is given. */
void fake_kms_certify_as(struct fake_kms *f, const struct epochcert *c,
    const struct k256_secret *by);
struct epochcert fake_kms_cert(
    const struct fake_kms *f, uint64_t epoch, enum epochcert_mode mode);

#endif
