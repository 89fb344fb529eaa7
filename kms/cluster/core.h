/* core: a node's part in the cluster, as a pure function.
 *
 * Events go in (a message, the time, what the chain says), actions come out
 * (write, send, answer, write to the chain, stop).  It owns the raft engine
 * and the ledger.  No I/O, no clock, no randomness: runs under a fake world
 * in tests/cluster.  The protocol is README.md (P0 to P9), from
 * raft-nng-rollback.md 5.
 *
 * Time is milliseconds of a clock that goes on while the VM is frozen. */
#ifndef KMS_CLUSTER_CORE_H
#define KMS_CLUSTER_CORE_H

#include "kms/cluster/engine.h"
#include "kms/gate/anchor.h"
#include "kms/gate/registryabi.h"
#include "kms/state/ledger.h"

struct core; /* opaque */

struct core_timing {
	unsigned heartbeat_ms, election_ms; /* raft */
	unsigned join_ms; /* between two JOINs */
	unsigned evict_ms; /* a silent holder loses its slot to a newcomer */
	unsigned demote_ms; /* a silent voter stops counting */
	unsigned forward_ms; /* a forwarded request is given up */
	unsigned fresh_ms; /* releases rest on a round younger than this */
	unsigned fence_ms; /* without a read of the anchor nothing is served */
};
void core_timing_default(struct core_timing *out);

struct core_options {
	struct member self; /* slot, incarnation, device, measurements */
	uint64_t cluster; /* names it on the wire: from chain id, contracts */
	unsigned seed; /* of the election timeout */
	struct core_timing timing;
	unsigned snapshot_every; /* entries; 0: 8192 */
	unsigned snapshot_trailing; /* kept behind it; 0: 1024 */
	bool unsafe_plain; /* test builds only: protection off, see core.c */
};

enum core_phase {
	CORE_WAITING, /* the anchor was not read yet */
	CORE_GENESIS, /* leads a cluster that is not on chain yet */
	CORE_JOINING, /* looks for a leader; holds its disk's log as a cache */
	CORE_LEARNING, /* certified: follows the log, without a vote */
	CORE_MEMBER, /* votes and serves */
	CORE_RECOVERING, /* announced a recovery, or waits to open it */
	CORE_HALTED, /* wiped what it had: only a new life may go on */
};
const char *core_phase_text(enum core_phase p);

/* Why a node halted. */
enum core_halt {
	HALT_NONE,
	HALT_EVICTED, /* another incarnation holds the slot, or it was removed */
	HALT_GENERATION, /* the chain is a generation ahead */
	HALT_DIVERGED, /* the log or the state differs from the cluster's */
	HALT_DENIED, /* an entry says so */
	HALT_INTERNAL,
	HALT_LEFT, /* asked to, and done */
	HALT_GAVE_WAY, /* to a recovery that was ordered: its disk counts now */
	HALT_DISK, /* a write failed: said by the owner, not by the core */
};
const char *core_halt_text(enum core_halt h);

/* ---- events ---- */

enum core_event_kind {
	CORE_TICK,
	CORE_BOOT, /* first event: what the disk offered */
	CORE_MESSAGE,
	CORE_PERSISTED, /* the write with this number is durable */
	CORE_ANCHOR, /* the anchor was read */
	CORE_BEGIN, /* genesis: open a cluster with these commands */
	CORE_SUBMIT, /* a client's command */
	CORE_READ, /* a client's read: wants a state not older than now */
	CORE_PEER_DENIED, /* what the contract says of an incarnation */
	CORE_DRAIN, /* leave in an orderly way */
	CORE_CHECKPOINT, /* anchor what is committed now */
	CORE_MAY_LEAD, /* false: denied by the contract, or without its disk */
	CORE_CAN_WRITE, /* whether this node can write to the chain */
	CORE_REGISTRY, /* the registry of roots was read */
	CORE_ROOTS_MADE, /* what CORE_MAKE_ROOTS asked for */
	CORE_KEY_KEPT, /* the key of some roots is kept here */
};

struct core_event {
	enum core_event_kind kind;
	uint64_t now_ms;
	union {
		struct {
			/* Who we are: device and measurements are known
			 * by now; slot and incarnation as before. */
			const struct member *self;
			/* Borrowed for the call.  generation 0: no disk, or
			 * nothing on it. */
			uint64_t generation;
			struct engine_boot log;
			uint8_t nonce[16]; /* fresh randomness for this life */
		} boot;
		struct {
			const struct member *from; /* as its session attested */
			struct bytes bytes;
		} message;
		uint64_t persisted;
		struct {
			const struct anchor_view *view;
			uint64_t asked_ms; /* when the read began */
			int64_t wall_s;
		} anchor;
		struct {
			const struct bytes *command;
			size_t n;
		} begin;
		struct {
			uint64_t ticket; /* echoed in the outcome; not 0 */
			struct bytes command;
		} submit;
		uint64_t read_ticket;
		struct {
			const uint8_t *incarnation;
			bool denied; /* false: allowed (again) */
		} denied;
		bool can_write;
		struct {
			const struct registry_state *state;
			const struct chain_block *block;
			uint64_t asked_ms; /* as of the anchor */
			int64_t wall_s;
		} registry;
		struct bytes made; /* an EPOCH command */
		/* The newest epoch's, as far as its wrapping key is where this
		 * node keeps such keys; NULL: it is not. */
		const struct k256_pub *kept;
		bool may_lead;
	};
};

/* ---- actions ---- */

enum core_action_kind {
	CORE_WRITE, /* one durable transaction; then CORE_PERSISTED */
	CORE_SEND,
	CORE_DONE, /* outcome of a submit or a read */
	CORE_CHAIN, /* write to the anchor; what came of it is read there */
	CORE_MAKE_ROOTS, /* then CORE_ROOTS_MADE, or nothing */
	CORE_REGISTRY_WRITE, /* as CORE_CHAIN, to the registry of roots */
	CORE_APPLIED, /* a command took effect: for the owner's own books */
	CORE_HALT, /* wipe keys, stop serving, end the process */
	CORE_EVENT, /* something an operator wants to know */
};

struct core_write {
	uint64_t number; /* grows by one; named in CORE_PERSISTED */
	bool wipe; /* first drop everything */
	uint64_t generation, term, vote;
	uint64_t truncate; /* drop entries from here on; 0: none */
	/* Entries [first, last] of core_engine(), 0: none. */
	uint64_t first, last;
	/* Write engine_last_snapshot(core_engine()), and drop the entries
	 * below `keep_from`. */
	bool snapshot;
	uint64_t keep_from;
};

/* What is said to the registry (kms/gate/registryabi.h). */
struct core_registry_write {
	enum {
		CORE_PUBLISH, /* the roots of `holders.epoch`, and who holds them */
		CORE_ATTEST, /* that they still do */
		CORE_ACTIVATE,
		CORE_HANDOVERS, /* ledger_handover_get [from, from + n) */
		CORE_REGISTRY_KINDS,
	} kind;
	struct registry_holders holders;
	uint64_t from;
	unsigned n;
	uint8_t head[32]; /* of the hand-overs before `from` */
};

enum core_outcome_kind {
	CORE_OK, /* applied: `result` */
	CORE_NOT_NOW, /* no leader, fenced, or not a member: nothing was done */
	CORE_UNKNOWN, /* it may or may not be applied, now or later */
};

struct core_action {
	enum core_action_kind kind;
	struct core_write write;
	struct {
		struct member
		    to; /* slot, incarnation (zero: whoever is there) */
		struct buf bytes; /* owns */
		bool early; /* may leave before this turn's writes */
	} send;
	struct {
		uint64_t ticket;
		enum core_outcome_kind kind;
		struct ledger_outcome result;
		uint64_t index; /* of the entry, or of the read */
	} done;
	struct anchor_write chain;
	struct {
		uint64_t number;
		struct epoch_origin origin;
		uint8_t mode;
	} make;
	struct core_registry_write registry;
	struct {
		uint64_t index;
		struct command command;
	} applied;
	enum core_halt halt;
	struct {
		const char *name; /* static: "voter_demoted" ... */
		char slot[SLOT_MAX];
		char detail[160];
		bool warn;
	} event;
};

/* ---- the function ---- */

enum err core_new(struct core **out, const struct core_options *o);
void core_free(struct core *c); /* NULL is fine */

/* core_step takes one event.  ERR_NOMEM and ERR_CORRUPT: stop the process;
 * everything else (bad messages, refusals) is handled inside. */
enum err core_step(struct core *c, const struct core_event *e);
/* core_next moves out the next action; false: none is left.  The caller
 * core_action_fini()s it.  Carry them out in order: a CORE_WRITE before any
 * later CORE_SEND that is not `early`, and before CORE_DONE. */
bool core_next(struct core *c, struct core_action *out);
void core_action_fini(struct core_action *a);
/* core_deadline: when CORE_TICK wants to be given, at the latest. */
uint64_t core_deadline(const struct core *c);

/* ---- what it knows ---- */

enum core_phase core_phase(const struct core *c);
enum core_halt core_halted(const struct core *c);
const struct engine *core_engine(const struct core *c);
const struct ledger *core_ledger(const struct core *c);
const struct member *core_self(const struct core *c);
uint64_t core_generation(const struct core *c); /* of this node's log */
uint64_t core_raft_id(const uint8_t incarnation[static INCARNATION_ID_LEN]);

/* core_serves: may an answer leave at `now_ms`?  A voter among those of at
 * least a majority of the seats, not fenced, with a quorum round that began no
 * more than fresh_ms ago (I7, P7).  Ask at the
 * moment when the answer leaves. */
enum err core_serves(
    const struct core *c, uint64_t now_ms, struct refusal *why);

/* The registry as it was read last; NULL: it was not. */
const struct registry_state *core_registry(const struct core *c);
/* core_epoch_open: neither ledger nor registry say that epoch `n` of the
 * ledger is destroyed. */
bool core_epoch_open(const struct core *c, uint64_t n);

/* One row per slot known (seats, members, who knocks), for operators. */
struct core_node {
	char slot[SLOT_MAX];
	uint8_t incarnation[INCARNATION_ID_LEN];
	uint8_t device_id[32];
	bool seated; /* on chain */
	bool self, leader;
	enum { NODE_ABSENT, NODE_OFFERS, NODE_LEARNER, NODE_VOTER } role;
	uint64_t heard_ms; /* when, 0: never */
	uint64_t match; /* leader only */
	/* What it offered when it knocked: the head of its disk. */
	uint64_t offer_generation, offer_index, offer_term;
	enum reason refused; /* why it is not let in (leader), or we are not */
};
size_t core_nodes(const struct core *c, struct core_node *out, size_t max);

struct core_status {
	enum core_phase phase;
	enum core_halt halt;
	bool fenced;
	uint64_t generation, term, last, commit, applied, durable;
	char leader[SLOT_MAX]; /* "" = none known */
	uint64_t confirmed_ms; /* start of the last quorum round, 0: never */
	uint64_t anchor_ms; /* start of the last read of the anchor, 0 */
	struct anchor_point anchor; /* as read */
	uint64_t critical; /* highest critical index */
	unsigned voters, learners, seats;
	struct refusal waiting; /* why it is not a member, for people */
	/* What the leader cannot do about roots, told last; NULL: nothing. */
	const char *trouble;
	uint64_t trouble_at; /* which epoch, or hand-over */
	uint64_t rounds, applied_commands, forwarded, elections;
};
void core_status(const struct core *c, struct core_status *out);

#endif
