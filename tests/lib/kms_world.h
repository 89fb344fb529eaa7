/* kms_world: what KMS nodes in process live in: a simulated platform with its
 * vendor, and a scripted chain with the KMS contract and the anchor.
 *
 * The chain is read anew only after kms_world_block: what the contracts say
 * changes when a test says so.  Its blocks are of the last minutes. */
#ifndef TESTS_LIB_KMS_WORLD_H
#define TESTS_LIB_KMS_WORLD_H

#include "kms/cluster/cluster.h"
#include "tests/lib/mock_chain.h"
#include "tests/lib/registry_says.h"
#include "tests/lib/simworld.h"

#define KMS_WAIT_MS 60000
#define KMS_CHAIN_ID 31337
#define KMS_POLL_MS 1000
#define KMS_FENCE_S 1800
#define KMS_SLOTS 3 /* "a", "b", "c" */

struct kms_world {
	struct simworld sim; /* of today, not of SIMWORLD_NOW */
	struct pccs_server *pccs;
	struct verifier *verifier;
	struct mock_chain *chain;
	uint64_t block;
	char compose[600]; /* the KMS guests' app-compose */
	char url[KMS_SLOTS][64]; /* where the slots' nodes listen */
	/* What ClusterAnchor.state() says after kms_world_anchor; `block` is
	 * not used. */
	struct anchor_view anchor;
	/* Nodes that start then have a registry, and what it says after
	 * kms_world_registry. */
	bool has_registry;
	struct registry_state registry;
};
extern const uint8_t kms_world_contract[20];
extern const uint8_t kms_world_registry_contract[20];
extern const uint8_t kms_world_anchor_contract[20];

/* All is allowed at first, no root is on chain, nobody has opened the anchor,
 * and host h1 has the three seats. */
void kms_world_init(struct kms_world *w);
void kms_world_fini(struct kms_world *w);
/* The chain views' clock; kms_world_block turns it. */
uint64_t kms_world_mono(void);

/* What the contracts say from the next block on (or, of what was not asked
 * yet at the current one, at once): APPAUTH_IS_... */
void kms_world_say(
    struct kms_world *w, uint32_t selector, bool allowed, const char *text);
/* The root that kmsInfo names; NULL: none. */
void kms_world_root(struct kms_world *w, const struct k256_pub *root);
void kms_world_block(struct kms_world *w);

/* ---- the anchor ---- */

/* w->anchor becomes what the contract says. */
void kms_world_anchor(struct kms_world *w);
/* One more seat, for the device of a simulated host. */
void kms_world_seat(struct kms_world *w, const char *slot, const char *host);
void kms_world_device(
    uint8_t id[static 32], const struct kms_world *w, const char *host);
/* As the operator does it: this beginning and its root go on chain. */
void kms_world_open(struct kms_world *w, const struct cluster_genesis *g,
    const uint8_t incarnation[static INCARNATION_ID_LEN]);
/* Somebody announces the next generation, to be opened `in_s` from now; and
 * that ends. */
void kms_world_announce(struct kms_world *w, int64_t in_s);
void kms_world_veto(struct kms_world *w);

/* ---- the registry ---- */

/* w->registry becomes what the contract says, and every app is pinned to
 * `pin`. */
void kms_world_registry(struct kms_world *w, uint64_t pin);

/* ---- those who call ---- */

/* A CVM that dials: an app, or a KMS node of another image. */
struct kms_caller {
	struct kms_world *w; /* borrows */
	struct tee *td; /* owns */
	struct channel_context cx;
	enum channel_role role;
};

/* Measures as dstack's guest does; `id` fills its compose hash. */
void kms_caller_boot(struct kms_caller *c, struct kms_world *w,
    enum channel_role role, uint8_t id);
/* The same; `instance` fills its instance id, -1: there is none. */
void kms_caller_boot_as(struct kms_caller *c, struct kms_world *w,
    enum channel_role role, uint8_t id, int instance);
void kms_caller_close(struct kms_caller *c);
/* What an honest verifier says of it. */
void kms_caller_attested(struct attested *out, struct kms_caller *c);

#endif
