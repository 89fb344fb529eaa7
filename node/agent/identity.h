/* identity: who this CVM is, before it asks anybody for keys.
 *
 * From the app-compose file, the configuration and a seed that the state
 * folder keeps: dstack-compat.md 3.4 and 3.9. */
#ifndef NODE_AGENT_IDENTITY_H
#define NODE_AGENT_IDENTITY_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/reason.h"

#define IDENTITY_NAME_MAX 256
#define IDENTITY_SEED_LEN 20

struct app_identity {
	struct buf compose; /* owns: the file, byte for byte */
	struct buf key_provider_id; /* owns: an SPKI, or empty */
	char name[IDENTITY_NAME_MAX];
	uint8_t compose_hash[32];
	uint8_t app_id[20];
	uint8_t instance_id[20];
	bool has_instance_id; /* false: app-compose says no_instance_id */
	/* What anybody may see on the public listener. */
	bool public_tcbinfo; /* measurements and app-compose; by default */
	bool public_logs;
	bool public_sysinfo;
	bool health_check; /* gateways ask for the containers' health */
};

/* identity_make reads (compose) as app-compose.json.  `app_id` NULL takes
 * the first 20 bytes of the compose hash.  The caller identity_fini()s
 * `*out` on success.
 * ERR_CONFIG: not an object, a member of the wrong type, or something that
 * this agent does not do (event_log_version 2, another key provider). */
enum err identity_make(struct app_identity *out, struct bytes compose,
    const uint8_t *app_id, const uint8_t seed[static IDENTITY_SEED_LEN],
    struct refusal *why);

/* identity_load does the same from files; the seed is made at the first
 * start and kept in `state_dir`. */
enum err identity_load(struct app_identity *out, const char *compose_file,
    const char *state_dir, const uint8_t *app_id, struct refusal *why);

void identity_fini(struct app_identity *id);

#endif
