/* registry: the RootRegistry of one KMS contract, as its nodes see it.
 *
 * Which epochs there are and what state they are in, which one an app is
 * pinned to, and what the cluster has to say there.  All is read at the block
 * of the chain view, and kept for that block alone.  DESIGN 7, 8.
 *
 * Thread-safe; blocks as chainview does. */
#ifndef KMS_GATE_REGISTRY_H
#define KMS_GATE_REGISTRY_H

#include "kms/gate/chainview.h"
#include "kms/gate/registryabi.h"

struct registry; /* opaque */

struct registry_options {
	struct chainview *view; /* borrowed for the life */
	uint64_t chain_id;
	uint8_t contract[20];
	uint8_t kms[20], anchor[20]; /* whose registry it must be */
	/* Where transactions go, in this order until one takes it. */
	const char *const *urls; /* copied */
	unsigned n_urls;
	unsigned timeout_ms;
};
/* ERR_CONFIG: no chain id, contract, timeout, or http(s) URL; too many. */
enum err registry_new(struct registry **out, const struct registry_options *o);
void registry_free(struct registry *r); /* NULL is fine */
const struct registryabi_at *registry_at(const struct registry *r);

/* registry_read: all of it.  ERR_AGAIN with a CHAIN_ reason; CHAIN_ANSWER if
 * what the quorum says is no state of a registry of this KMS and anchor. */
enum err registry_read(struct registry *r, int64_t now,
    struct registry_state *out, struct chain_block *at, struct refusal *why);

/* registry_choose answers which epoch an app may have keys of, at one block.
 * `asked` is NULL (the one that it is pinned to) or a number.
 *
 * ERR_OK      *number, *key and *ca_spki_hash are that epoch's as published
 * ERR_DENIED  EPOCH_UNKNOWN: no such epoch was ever active; EPOCH_CLOSED: it
 *             is destroyed, tainted and not asked for by number, or newer
 *             than the app's pin
 * ERR_AGAIN   as registry_read */
struct registry_choice {
	uint64_t number, pinned;
	enum registry_status status; /* ACTIVE or TAINTED */
	struct k256_pub k256;
	uint8_t ca_spki_hash[32];
	struct chain_block block;
};
enum err registry_choose(struct registry *r, const uint8_t app_id[static 20],
    const uint64_t *asked, int64_t now, struct registry_choice *out,
    struct refusal *why);

/* registry_active answers for an app that is none yet: the epoch that it would
 * be pinned to.  Errors as registry_choose. */
enum err registry_active(struct registry *r, int64_t now,
    struct registry_choice *out, struct refusal *why);

/* registry_send signs a transaction with the cluster's account and waits
 * until it is mined, as anchor_send does; `data` is one of registryabi's
 * calls of nodes.  Errors as anchor_send. */
enum err registry_send(struct registry *r, struct bytes data,
    const struct k256_secret *account, struct refusal *why);

#endif
