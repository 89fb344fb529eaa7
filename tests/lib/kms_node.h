/* kms_node: a KMS node in process, wired as kms/kmsd.c does, on loopback;
 * and the world it lives in: simulated platform, PCCS, a scripted chain.
 *
 * The steps of the cluster are taken one by one (kms_node_step), and the
 * chain is read anew only after kms_world_block: nothing happens by itself,
 * so what a test sees does not depend on time. */
#ifndef TESTS_LIB_KMS_NODE_H
#define TESTS_LIB_KMS_NODE_H

#include "kms/service/service.h"
#include "tests/lib/mock_chain.h"
#include "tests/lib/simworld.h"

#define KMS_WAIT_MS 60000
#define KMS_CHAIN_ID 31337

struct kms_world {
	struct simworld sim; /* of today, not of SIMWORLD_NOW */
	struct pccs_server *pccs;
	struct verifier *verifier;
	struct mock_chain *chain;
	uint64_t block;
	char compose[600]; /* the KMS guests' app-compose */
};

/* All is allowed at first, and no root is on chain. */
void kms_world_init(struct kms_world *w);
void kms_world_fini(struct kms_world *w);

/* What the contracts say from the next block on (or, of what was not asked
 * yet at the current one, at once): APPAUTH_IS_... */
void kms_world_say(
    struct kms_world *w, uint32_t selector, bool allowed, const char *text);
/* The root that kmsInfo names; NULL: none. */
void kms_world_root(struct kms_world *w, const struct k256_pub *root);
void kms_world_block(struct kms_world *w);

struct kms_node; /* opaque */

/* kms_node_start serves requests in PHASE_STARTING.  `peer` is another
 * node's URL, or NULL. */
struct kms_node *kms_node_start(
    struct kms_world *w, const char *slot, bool genesis, const char *peer);
/* The same with links, as slot `slot`, that dial nobody. */
struct kms_node *kms_node_start_linked(struct kms_world *w, const char *slot);
struct links_stats kms_node_links(struct kms_node *n);
void kms_node_stop(struct kms_node *n);
const char *kms_node_url(const struct kms_node *n);
struct metrics *kms_node_metrics(struct kms_node *n);
struct keyring *kms_node_keyring(struct kms_node *n);

/* kms_node_step takes one step and waits until the phase is `want`, which
 * it must not be yet. */
void kms_node_step(struct kms_node *n, enum cluster_phase want);

/* kms_node_do runs `fn` on the node's loop and waits for its end. */
void kms_node_do(struct kms_node *n,
    void (*fn)(const struct cluster *c, void *arg), void *arg);

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
void kms_caller_close(struct kms_caller *c);
/* What an honest verifier says of it. */
void kms_caller_attested(struct attested *out, struct kms_caller *c);

#endif
