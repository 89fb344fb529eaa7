/* envpub: the public key of an app's environment, signed: dstack-compat.md 2.3.
 *
 * Not secret, for anyone: over the channel, and over HTTP (public.h). */
#ifndef KMS_SERVICE_ENVPUB_H
#define KMS_SERVICE_ENVPUB_H

#include "kms/service/job.h"

struct envpub {
	uint64_t epoch;
	uint8_t pub[32]; /* X25519 */
	struct k256_sig65 sig; /* by the epoch's root */
	struct k256_sig65 sig_v1; /* the same with the time */
	uint64_t timestamp; /* unix seconds: j->now */
};

/* envpub_make uses j->o, j->now and j->epochs only.  ERR_OK, or j->why as
 * decision_env. */
enum err envpub_make(
    struct envpub *out, struct job *j, const uint8_t app_id[static 20]);

#endif
