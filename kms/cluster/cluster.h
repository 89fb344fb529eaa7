/* cluster: what makes N nodes one key service.
 *
 * This is replication in its first form: members exchange the records of
 * kms/state by anti-entropy (records of different incarnations commute), and
 * a new member receives the roots from any other, on the same attested
 * connection.  Callers see phases, the state, and cluster_submit; a
 * consensus log can take the place of what is behind them.
 *
 * Which root is the cluster's is never a matter of who says so first: it is
 * the one that the KMS contract names.  A root that is not on chain releases
 * nothing, and a disk that holds another one is not believed.
 *
 *   STARTING ──► JOINING ──► READY        the contract names a root
 *       │           ▲          ▲
 *       └──► GENESIS ┴──────────┘         it names none, and we may make one
 *
 * Lives on the loop thread; slow work runs on uv's workers. */
#ifndef KMS_CLUSTER_CLUSTER_H
#define KMS_CLUSTER_CLUSTER_H

#include <uv.h>

#include "common/wire/msg.h"
#include "kms/keys/keyring.h"
#include "kms/service/self.h"
#include "kms/state/state.h"
#include "node/store/store.h"

struct cluster; /* opaque */

enum cluster_phase {
	PHASE_STARTING, /* the chain has not been read yet */
	PHASE_JOINING, /* waits for a member to hand the roots over */
	PHASE_GENESIS, /* made roots; waits for the contract to name them */
	PHASE_READY, /* holds the roots that the contract names */
};
const char *cluster_phase_text(enum cluster_phase p);

struct cluster_options {
	uv_loop_t *loop;
	const struct kmsd_config *cfg; /* all borrowed for the life */
	struct store *store; /* NULL: nothing is kept on disk */
	struct keyring *keyring;
	struct gate *gate;
	struct chainview *view; /* its floor is kept on disk */
	struct self *self;
	const struct channel_context *cx;
	unsigned tick_ms; /* between steps: 0 takes 1000 */
};

/* cluster_new loads what the store holds; ERR_CORRUPT stops the node.
 * cluster_start begins the steps on the loop. */
enum err cluster_new(struct cluster **out, const struct cluster_options *o);
void cluster_start(struct cluster *c);
/* cluster_stop ends the steps; `done` runs on the loop when none is under
 * way.  cluster_free comes after it. */
void cluster_stop(struct cluster *c, void (*done)(void *), void *cookie);
void cluster_free(struct cluster *c); /* NULL is fine */

enum cluster_phase cluster_phase(const struct cluster *c);
const uint8_t *cluster_incarnation(const struct cluster *c); /* 32 bytes */
const struct state *cluster_state(const struct cluster *c);

/* cluster_submit completes a record (incarnation, seq, previous), applies
 * it and makes it durable before it returns. */
enum err cluster_submit(struct cluster *c, struct record *r);

/* cluster_records answers a peer's Sync: packs what it lacks. */
enum err cluster_records(const struct cluster *c, struct buf *reply,
    uint64_t id, const Devproof__Kms__V1__Sync *have);
/* A copy of the epochs' public halves for workers; the caller frees. */
struct epoch_entry *cluster_copy_epochs(const struct cluster *c, size_t *n);

struct cluster_peer {
	const char *url; /* borrowed */
	bool connected;
	int64_t last_sync; /* unix seconds, or 0 */
	enum reason error; /* of the last attempt */
};
size_t cluster_peers(
    const struct cluster *c, struct cluster_peer *out, size_t max);

/* The public half of roots that wait for the contract, in PHASE_GENESIS;
 * false otherwise. */
bool cluster_genesis(const struct cluster *c, struct epoch_public *out);

#endif
