/* kmsroots: the roots of a KMS that are in use, by what the chain says.
 *
 * With a registry those of all its active epochs: an app's keys may be of any
 * of them.  A tainted or destroyed epoch's are not among them: nothing new is
 * to rest on those.  Without one, what kmsInfo of the KMS contract names. */
#ifndef KMS_CTL_KMSROOTS_H
#define KMS_CTL_KMSROOTS_H

#include "kms/ctl/contract.h"
#include "kms/gate/registryabi.h"

struct kmsroot {
	uint64_t epoch;
	struct k256_pub k256;
	uint8_t ca_spki_hash[32]; /* SHA-256 of the root CA's SPKI */
};

struct kmsroots {
	struct kmsroot root[REGISTRY_EPOCHS_MAX];
	size_t n; /* 1 at least */
	const char *by; /* static, for people */
	struct contract k; /* that they were asked of */
};

/* kmsroots_from_args asks what --sim, or --rpc with --kms and --registry,
 * name.  On failure it has told the user; returns the exit code. */
enum ctl_exit kmsroots_from_args(
    struct kmsroots *out, const struct ctl *c, const struct args *a);

#endif
