/* cluster_int: what the glue's files share; nobody else includes it.
 *
 *   cluster.c   the loop: events to the core, its actions carried out
 *   clusteract.c  what the core wants done, done
 *   clusterview.c answers without effects
 *   watch.c     a look at the chain and at ourselves, on a worker
 *   rotate.c    making roots, saying things to the registry, on workers
 *   handover.c  asking other members for wrapping keys, on a worker
 *   floorsync.c floors that all nodes share
 *   leaserun.c  the lease: numbers, batches, what the chain says of them
 *   keystore.c  wrapping keys: unwrapping roots, keeping them sealed */
#ifndef KMS_CLUSTER_CLUSTER_INT_H
#define KMS_CLUSTER_CLUSTER_INT_H

#include "kms/cluster/cluster.h"
#include "kms/cluster/disklog.h"
#include "kms/cluster/lease.h"
#include "kms/gate/registry.h"
#include "kms/keys/wrap.h"

#define CLUSTER_TICKETS CORE_CLIENTS_MAX
#define CORE_CLIENTS_MAX 4096

/* What one look found; filled on a worker. */
struct watch {
	uv_work_t work;
	struct cluster *c;
	/* Asked: members whose standing is looked up. */
	struct {
		uint8_t incarnation[INCARNATION_ID_LEN];
		struct boot_info boot;
		bool asked, denied; /* asked: the contract has answered */
	} peer[ENGINE_MEMBERS_MAX];
	unsigned n_peers;
	bool may_make; /* roots, if the chain knows none */
	/* Outcome. */
	uint64_t asked_ms;
	bool has_self, self_denied;
	struct attested self;
	bool has_anchor;
	struct anchor_view anchor;
	char odd[CHAINVIEW_ODD]; /* endpoints that were outvoted, with it */
	bool has_registry;
	struct registry_state registry;
	struct chain_block registry_at;
	struct refusal registry_why;
	bool has_root_info, chain_has_root;
	uint8_t chain_root[33];
	/* Batches to look for, unless this block was looked at. */
	uint8_t batch[LEASE_LOOKS][32];
	unsigned n_batches;
	uint64_t looked_at;
	bool has_checkin;
	struct checkin_found checkin;
	struct refusal checkin_why;
	struct refusal why;
	struct epoch_roots *made; /* owns */
	struct wrap_key made_key;
};

/* One round of asking for keys. */
struct handover {
	uv_work_t work;
	struct cluster *c;
	struct ledger_epoch *epoch; /* owns: what we lack is among them */
	size_t n_epochs;
	bool got[LEDGER_MAX_EPOCHS];
	struct wrap_key *key; /* owns: secret memory, n_epochs and one */
	bool got_anchor; /* key[n_epochs] is the anchor's key */
	bool lacks[LEDGER_MAX_EPOCHS], lacks_anchor;
	struct refusal why;
};

struct chain_write {
	uv_work_t work;
	struct cluster *c;
	struct anchor_write w;
	struct k256_secret key; /* wiped with it */
	struct refusal why;
	enum err err;
};

/* A batch on its way to the chain. */
struct checkin_post {
	uv_work_t work;
	struct cluster *c;
	struct lease_batch batch;
	struct k256_secret key; /* wiped with it */
	struct refusal why;
	enum err err;
};

/* rotate.c */
struct making; /* roots, on a worker */
struct registry_send; /* a transaction, on a worker */

struct cluster {
	struct cluster_options o;
	struct core *core; /* owns */
	struct links *links; /* owns */
	struct store *store; /* borrows; NULL once it failed */
	struct cluster_info info;
	struct member self;
	bool self_known; /* device and measurements are in `self` */
	bool booted;
	struct disklog_boot disk; /* until the core has it */
	struct wrap_key *wrap; /* owns: secret memory, LEDGER_MAX_EPOCHS */
	bool has_wrap[LEDGER_MAX_EPOCHS];
	bool saved_wrap[LEDGER_MAX_EPOCHS]; /* on disk */
	struct k256_pub wrap_of[LEDGER_MAX_EPOCHS]; /* which roots it opens */
	struct k256_secret *anchor_key; /* owns: secret memory */
	bool has_anchor_key, saved_anchor_key;
	uint8_t signer[20]; /* the anchor's; zero: not known */
	bool
	    made; /* this life made roots: once, and it may have dropped them */
	bool told_genesis_done;
	bool chain_has_root;
	uint8_t chain_root[33];
	enum cluster_phase told_phase;
	enum reason told; /* last trouble that was logged */
	char told_odd[CHAINVIEW_ODD];
	uint64_t told_odd_ms;

	uv_timer_t timer, watch_timer;
	uv_check_t check;
	uv_idle_t idle;
	bool dirty;
	struct watch *watch; /* owns: under way */
	struct handover *handover; /* owns: under way */
	struct chain_write *chain; /* owns: under way */
	struct making *making; /* owns: under way, */
	struct making *made_roots; /* ... and made, not in the log yet */
	/* Owns: under way, about an epoch and about hand-overs. */
	struct registry_send *sending[2];
	uint64_t next_handover_ms, handover_wait_ms;
	uint64_t handover_of; /* the newest roots that it was begun for */
	uint64_t floor_at_ms; /* when a floor was last proposed */
	uint64_t floor_seen, floor_seen_ms; /* the ledger's, and since when */
	struct checkin *checkin; /* own, both; NULL: nodes need no lease */
	struct lease *lease;
	struct checkin_post *posting; /* owns: under way */
	uint64_t lease_looked; /* at which block batches were looked for */
	enum reason lease_told; /* how the lease was, last logged */
	enum reason lease_error; /* of the last look, or of the last post */

	struct ticket {
		uint64_t number; /* 0: free */
		cluster_done_fn *done;
		void *cookie;
	} * ticket; /* owns CLUSTER_TICKETS */
	uint64_t next_ticket;
	struct late {
		struct late *next;
		cluster_done_fn *done;
		void *cookie;
		enum reason code;
	} * late; /* refused at once, told in the next turn */
	struct late *late_free; /* of late_all: no memory is no reason */
	struct late *late_all; /* owns CLUSTER_TICKETS */

	bool halted, stopping;
	uint64_t started_ms;
	unsigned open_handles; /* of uv, and the links */
	void (*done)(void *cookie);
	void *done_cookie;
};

/* cluster.c */
void cluster_event(struct cluster *c, struct core_event *e);
void cluster_maybe_done(struct cluster *c);
void cluster_tell(struct cluster *c, const struct refusal *why);

/* clusteract.c: one action; `wrote` is set to the number of a write. */
void clusteract(struct cluster *c, struct core_action *a, uint64_t *wrote);
/* The outcome of a request goes to who waits for it. */
void cluster_finish(
    struct cluster *c, struct ticket *t, const struct cluster_outcome *o);

/* watch.c */
void watch_begin(struct cluster *c);

/* handover.c */
void handover_begin(struct cluster *c);

/* floorsync.c */
void floorsync_adopt(struct cluster *c);
void floorsync_propose(struct cluster *c);

/* leaserun.c */
enum err leaserun_new(struct cluster *c);
void leaserun_free(struct cluster *c);
void leaserun_tick(struct cluster *c);
/* False: it is none of the lease's messages. */
bool leaserun_message(
    struct cluster *c, const struct member *from, struct bytes bytes);
void leaserun_list(struct cluster *c, struct watch *w); /* on the loop */
void leaserun_look(struct watch *w, int64_t now); /* on the worker */
void leaserun_seen(struct cluster *c, const struct watch *w);

/* rotate.c: the core's CORE_MAKE_ROOTS and CORE_REGISTRY_WRITE, an EPOCH
 * command that was applied, and the end. */
void rotate_make(struct cluster *c, const struct core_action *a);
void rotate_write(struct cluster *c, const struct core_registry_write *w);
void rotate_applied(struct cluster *c, const struct command *cmd);
bool rotate_busy(const struct cluster *c);
void rotate_free(struct cluster *c);

/* keystore.c */
#define KEYSTORE_ANCHOR UINT64_MAX /* number of the anchor's key */
enum err keystore_new(struct cluster *c);
void keystore_free(struct cluster *c);
/* Loads what the disk holds; none of it opens anything yet. */
enum err keystore_load(struct cluster *c);
/* The roots of the ledger's epochs into the ring, as far as they may be used;
 * what is new onto the disk; what is of no epoch any more, forgotten. */
void keystore_adopt(struct cluster *c);
/* keystore_hold keeps a key that opens these roots; not into the ring. */
enum err keystore_hold(struct cluster *c, const struct wrap_key *k,
    const struct epoch_public *pub,
    const uint8_t wrapped[static WRAPPED_ROOTS_LEN]);
/* ERR_AUTH: not the anchor's signer's. */
enum err keystore_put_anchor(struct cluster *c, const struct k256_secret *k);
/* The key here opens the very roots that the ledger has. */
bool keystore_has(const struct cluster *c, uint64_t number);
/* The epoch may be used, as far as this node knows (and it knows). */
bool keystore_may_open(const struct cluster *c, uint64_t number);
/* The roots of epoch 0 here are those that the contract names. */
bool keystore_confirmed(const struct cluster *c);
/* The newest epoch's key, if it is kept here; NULL. */
const struct k256_pub *keystore_kept(const struct cluster *c);
/* As keystore_hold, and into the ring at once: a genesis. */
enum err keystore_put(struct cluster *c, uint64_t number,
    const struct wrap_key *k, const struct epoch_public *pub,
    const uint8_t wrapped[static WRAPPED_ROOTS_LEN]);
void keystore_forget(struct cluster *c, uint64_t number);

#endif
