/* cluster: this node's part in the cluster, on the loop.
 *
 * The core (core.h) decides; here its actions are carried out: the sealed
 * log is written (one transaction a turn of the loop), messages go to the
 * links, the chain is read and written on workers, keys are asked for.
 *
 *   STARTING ─► GENESIS ────────────► READY
 *       └─────► JOINING ─► LEARNING ──┘
 *                  └─► RECOVERING ────┘
 *
 * READY: a voter that holds the roots which the contract names, and whose
 * epoch is anchored.  Whether an answer may leave is asked at that moment
 * (cluster_serves), since a node may be READY and cut off. */
#ifndef KMS_CLUSTER_CLUSTER_H
#define KMS_CLUSTER_CLUSTER_H

#include <uv.h>

#include "kms/cluster/core.h"
#include "kms/cluster/lease.h"
#include "kms/cluster/links.h"
#include "kms/gate/gate.h"
#include "kms/gate/registry.h"
#include "kms/keys/keyring.h"
#include "kms/keys/wrap.h"
#include "kms/service/self.h"
#include "node/store/store.h"

struct cluster; /* opaque */

enum cluster_phase {
	PHASE_STARTING, /* the chain has not been read yet */
	PHASE_GENESIS, /* made roots; waits for the contracts to name them */
	PHASE_JOINING, /* looks for a leader that lets it in */
	PHASE_LEARNING, /* follows the log; not a voter, or without keys yet */
	PHASE_RECOVERING, /* the cluster is down; this node may open it again */
	PHASE_READY,
	PHASE_HALTED, /* this life is over */
};
const char *cluster_phase_text(enum cluster_phase p);

struct cluster_options {
	uv_loop_t *loop;
	const struct kmsd_config *cfg; /* all borrowed for the life */
	struct store *store; /* NULL: nothing is kept on disk */
	/* The disk should be used and cannot be: this life only says so, and
	 * ends (HALT_DISK) to try again. */
	enum err disk_trouble;
	struct keyring *keyring;
	struct gate *gate;
	struct chainview *view;
	struct anchor *anchor;
	struct registry *registry; /* of roots; NULL: epoch 0 is all */
	struct self *self;
	struct verifier *verifier; /* its evaluation floors are replicated */
	const struct channel_context *cx;
	struct incarnation *incarnation;
	/* On the loop: this life is over, for the reason given.  HALT_LEFT
	 * follows cluster_drain. */
	void (*on_halt)(void *cookie, enum core_halt why);
	void *cookie;
	unsigned watch_ms; /* between looks at the chain: 0 takes 500 */
};

/* cluster_new loads what the store holds.  A log that is refused is wiped
 * (it is a cache) and said so. */
enum err cluster_new(struct cluster **out, const struct cluster_options *o);
/* cluster_start: the server whose connections links may end. */
enum err cluster_start(struct cluster *c, struct channel_server *server);
/* cluster_drain leaves the cluster in an orderly way; on_halt tells when. */
void cluster_drain(struct cluster *c);
/* cluster_stop: `done` runs on the loop when nothing is under way. */
void cluster_stop(struct cluster *c, void (*done)(void *), void *cookie);
void cluster_free(struct cluster *c); /* NULL is fine */

enum cluster_phase cluster_phase(const struct cluster *c);
const struct core *cluster_core(const struct cluster *c);
struct links *cluster_links(const struct cluster *c);
/* ERR_OK: an answer that rests on this node's state may leave now. */
enum err cluster_serves(const struct cluster *c, struct refusal *why);

/* cluster_may_release: keys that the chain allowed at block `number` may leave
 * now, as far as this node's lease goes (lease.h).  Counts them.  ERR_OK
 * where nodes need none; ERR_DENIED: CHAIN_LEASE. */
enum err cluster_may_release(
    struct cluster *c, uint64_t number, struct refusal *why);
/* For operators; false: nodes need none. */
struct cluster_lease {
	struct lease_status s;
	uint8_t contract[20];
	struct refusal why; /* what it is refused for now, or NONE */
	enum reason error; /* of the last look or post */
};
bool cluster_lease(const struct cluster *c, struct cluster_lease *out);

/* What came of a command or a read. */
struct cluster_outcome {
	/* ERR_OK: applied, `result` says what it did; ERR_AGAIN: nothing was
	 * done, `why`; ERR_TIMEOUT: it may or may not be done. */
	enum err err;
	struct refusal why;
	struct ledger_outcome result;
	uint64_t index;
};
typedef void cluster_done_fn(void *cookie, const struct cluster_outcome *o);

/* cluster_submit replicates a command (its time is filled in); `done` runs
 * on the loop later, exactly once, also when the cluster stops. */
void cluster_submit(struct cluster *c, struct command *cmd,
    cluster_done_fn *done, void *cookie);
/* cluster_read: once `done` runs with ERR_OK, this node's ledger has all
 * that any node had acknowledged when cluster_read was called. */
void cluster_read(struct cluster *c, cluster_done_fn *done, void *cookie);
/* Anchor what is committed now, on chain. */
void cluster_checkpoint(struct cluster *c);

/* A copy of the epochs' public halves for workers; the caller frees. */
struct ledger_epoch *cluster_copy_epochs(const struct cluster *c, size_t *n);

/* Its roots are here, and may be used. */
bool cluster_has_roots(const struct cluster *c, uint64_t number);

/* The wrapping key of an epoch, for a hand-over; false: not here.  Wipe it. */
bool cluster_wrap_key(
    const struct cluster *c, uint64_t number, struct wrap_key *out);

/* The anchor's key, for a hand-over; false: not here.  Wipe it. */
bool cluster_anchor_key(const struct cluster *c, struct k256_secret *out);

/* What the contracts are to name, in PHASE_GENESIS; false otherwise. */
struct cluster_genesis {
	struct epoch_public pub;
	struct anchor_point anchor; /* the log's beginning, with the roots */
	uint8_t signer[20]; /* the cluster's address on chain */
};
bool cluster_genesis(const struct cluster *c, struct cluster_genesis *out);

/* For operators. */
struct cluster_info {
	bool disk_unusable; /* this life only says so */
	struct refusal disk; /* why the disk was refused, or cannot be used */
	bool self_denied;
	struct refusal waiting; /* why it is not READY */
	bool has_block; /* the last one that was looked at whole: */
	struct chain_block block;
	int64_t anchor_read; /* unix seconds, 0: never */
	enum reason anchor_error;
	bool has_registry; /* one is configured */
	int64_t registry_read; /* unix seconds, 0: never */
	enum reason registry_error;
	uint64_t store_commits;
	/* Commands that changed the state in this life, by kind. */
	uint64_t effective[COMMAND_LAST + 1];
};
void cluster_info(const struct cluster *c, struct cluster_info *out);

#endif
