/* boot: what this CVM measures about itself, in dstack's order.
 *
 * dstack-compat.md 3.3: system-preparing, app-id, compose-hash, instance-id,
 * boot-mr-done; then, when the keys are there, os-image-hash, key-provider,
 * system-ready.
 *
 * The plan is a list, and boot_run() compares it with what is measured
 * already before it adds the rest.  So an agent that starts again within
 * one boot measures nothing twice, and one that would have to contradict
 * its own log stops instead: RTMR3 only grows. */
#ifndef NODE_AGENT_BOOT_H
#define NODE_AGENT_BOOT_H

#include "node/agent/identity.h"

#define BOOT_EVENTS_MAX 8
#define BOOT_PAYLOAD_MAX 320 /* key-provider JSON with 91 bytes of SPKI */

struct boot_event {
	const char *name; /* static */
	uint8_t payload[BOOT_PAYLOAD_MAX];
	size_t len;
};

struct boot_plan {
	struct boot_event event[BOOT_EVENTS_MAX];
	size_t n;
};

/* Where events are measured: the TEE, or a test. */
struct boot_register {
	void *cookie;
	/* The event log as JSON, all registers. */
	enum err (*log)(void *cookie, struct buf *out);
	enum err (*extend)(
	    void *cookie, const char *name, struct bytes payload);
};

/* boot_plan_identity starts a plan: everything before the keys. */
void boot_plan_identity(struct boot_plan *p, const struct app_identity *id);

/* boot_plan_keys adds what follows them; `ca_spki` is the SPKI of the root
 * CA that the keys came with.  ERR_LIMIT if it is too long. */
enum err boot_plan_keys(struct boot_plan *p,
    const uint8_t os_image_hash[static 32], struct bytes ca_spki);

/* boot_key_provider appends the payload of the key-provider event. */
enum err boot_key_provider(struct buf *out, struct bytes ca_spki);

/* boot_run measures the events of the plan that are missing.
 * ERR_DENIED (REASON_EVENT_LOG): the log holds something else already. */
enum err boot_run(const struct boot_register *r, const struct boot_plan *p,
    struct refusal *why);

/* boot_reserved says whether an app may not emit an event of this name:
 * the system's own, also with ":..." behind, since a V1 digest joins name
 * and payload by a colon. */
bool boot_reserved(const char *name);

#endif
