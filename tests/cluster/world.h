/* world: a cluster of cores under one fake clock, deterministic by its seed.
 *
 *   world.c      lives of nodes, and their actions
 *   loop.c       what happens next
 *   begin.c      how a cluster begins
 *   net.c        links and everything else that takes time
 *   simdisk.c    disks          simchain.c  the anchor's contract
 *   simregistry.c  the contract of roots   roots.c  who has which
 *   governor.c   who votes about them
 *   clients.c    who asks, and what they were told
 *   check.c      what must hold after every step
 *   adversary.c  what the host does     operator.c  and the operators
 *
 * Time is milliseconds of the world; each life's own clock is ahead of it by
 * a constant, and goes on while it is frozen. */
#ifndef TESTS_CLUSTER_WORLD_H
#define TESTS_CLUSTER_WORLD_H

#include "tests/cluster/simchain.h"
#include "tests/cluster/simdisk.h"
#include "tests/cluster/simregistry.h"

#define SLOTS_MAX 5
#define LIVES_MAX 16 /* at a time */
#define SAVED_MAX 8 /* old disks that the host keeps, per slot */
#define BACKLOG_MAX 256
#define TAPE_MAX 64 /* recorded messages, to be replayed */
#define GENERATIONS_MAX 24
#define COUNTERS 3
#define OPS_MAX 64 /* under way */
#define TERMS_MAX 4096
#define PEERS_PAST 512 /* lives that are over */

struct message {
	struct member from;
	uint64_t from_uid;
	struct buf bytes; /* owns */
};

/* One life of a node. */
struct life {
	bool used;
	uint64_t uid;
	unsigned slot;
	bool fork; /* beside another life of its slot */
	struct core *core; /* owns */
	struct member self;
	struct disk disk, boot; /* now, and as it was at the start */
	uint64_t clock; /* ahead of the world */
	bool frozen;
	int die_in, freeze_in; /* actions from now; -1: not */
	unsigned group; /* links work inside a group */
	bool no_read, no_write; /* its RPC */
	uint64_t rpc_frozen_ms; /* it shows the chain as of then; 0: no */
	uint64_t next_poll, last_tick, spins;
	/* The write under way, and what waits for it. */
	bool writing;
	struct disk_write write;
	struct core_action *held; /* owns */
	size_t n_held, held_cap;
	struct message backlog[BACKLOG_MAX];
	unsigned n_backlog;
	bool written_while_frozen, member_told, draining, denied;
	/* roots.c */
	struct keyset ram;
	struct k256_pub pending; /* made here, not in the log yet */
	bool has_pending, saving;
	uint64_t next_ask;
	/* check.c */
	uint64_t checked, seen_commit, seen_config, seen_anchor, seen_term;
	uint64_t digested;
	enum core_phase phase;
	bool serves, was_voter;
};

struct slot {
	char name[SLOT_MAX];
	uint8_t device_id[32];
	struct disk best; /* the furthest that a life left behind */
	struct disk disk; /* while nobody runs on it: the newest */
	struct disk saved[SAVED_MAX];
	unsigned n_saved;
	uint64_t restart_at; /* 0: stays down */
	bool unseated;
	uint64_t restored_ms; /* when it was last given an older disk */
	/* Hashes that some disk of it has held, by index. */
	struct held_hash {
		uint8_t hash[4][32];
		uint8_t n;
	} * held;
	size_t held_cap;
};

/* What is committed, by generation. */
struct lineage {
	bool open, excused; /* excused: more disks lied than f allows */
	uint64_t open_index, first_serve_ms, last_serve_ms;
	struct committed {
		bool known;
		uint64_t term, op;
		uint8_t hash[32], digest[32];
		bool has_digest, applied;
	} * at; /* by index; owns */
	size_t n, cap;
};

enum op_kind { OP_INCREMENT, OP_READ, OP_EPOCH, OP_HANDOVER };
struct op {
	bool used;
	enum op_kind kind;
	uint64_t ticket, uid; /* of the life that was asked */
	uint64_t id; /* of the operation */
	unsigned counter;
	uint64_t expected, invoked_ms, floor, lineage_epoch;
	bool again; /* an attempt before had no outcome */
};

struct acked {
	uint64_t id, value, index, generation, ms;
	unsigned counter;
	bool lost; /* a recovery that was excused went without it */
};

enum event_kind {
	EV_NONE,
	EV_MESSAGE,
	EV_WRITTEN,
	EV_VIEW,
	EV_TX,
	EV_ROOTS, /* were made: struct made */
	EV_SAVED, /* the keys in memory are on disk */
	EV_KEYS, /* handed over: struct keyset */
	EV_REGISTRY, /* struct reg_tx */
};
struct event {
	uint64_t at, seq;
	enum event_kind kind;
	uint64_t uid;
	uint64_t number; /* EV_WRITTEN; EV_VIEW: when it was asked */
	struct message *message; /* owns */
	struct anchor_view *view; /* owns */
	struct anchor_write tx;
	void *data; /* owns; EV_VIEW: struct registry_seen, or NULL */
};

struct world_options {
	unsigned slots; /* 3 or 5 */
	uint64_t seed;
	bool plain; /* protection off */
	bool trace;
};

struct world {
	struct world_options o;
	uint64_t rng;
	uint64_t now;
	uint64_t next_uid, next_seq, next_ticket, next_op;
	struct slot slot[SLOTS_MAX];
	struct life life[LIVES_MAX];
	struct core_timing timing;
	struct chain chain;
	unsigned finality_ms, poll_ms, stale_ms;
	/* The registry of roots; NULL: there is none. */
	struct simreg *reg; /* owns */
	bool governor; /* votes, and thieves */
	uint64_t next_vote, next_root;
	struct k256_pub thief[32]; /* roots that are nobody's here */
	unsigned n_thief;
	bool roots_lost; /* a node has said so */
	uint64_t ca_known;
	uint8_t ca_hash[32]; /* all roots have one CA key */
	int arg; /* of a scenario */
	struct {
		unsigned asked, made, published, activated, written[4];
	} steps;
	/* Links. */
	unsigned delay_min, delay_max, drop, twice; /* of 1000 */
	unsigned write_min, write_max;
	bool cut[SLOTS_MAX][SLOTS_MAX];
	struct event *heap; /* owns */
	size_t n_events, events_cap;
	struct message tape[TAPE_MAX]; /* what the host has recorded */
	unsigned n_tape;
	/* What goes on by itself. */
	bool clients, restarts, operator;
	unsigned client_every;
	uint64_t next_client, next_operator, down_since, halted_since;
	unsigned lossy, wrong; /* orders, of 1000 */
	/* Clients. */
	uint64_t known[COUNTERS], acked_max[COUNTERS], possible[COUNTERS];
	uint64_t known_generation;
	struct op op[OPS_MAX];
	struct acked *acked; /* owns */
	size_t n_acked, acked_cap;
	uint64_t lineage_epoch; /* grows when acknowledged writes were lost */
	uint64_t last_ack_ms, retry_op[COUNTERS], retry_expected[COUNTERS];
	/* Checks. */
	struct lineage lineage[GENERATIONS_MAX];
	struct {
		uint64_t term, uid;
	} leader[TERMS_MAX]; /* hashed by term */
	struct {
		uint64_t term, voter, candidate;
	} vote[TERMS_MAX];
	uint64_t past[PEERS_PAST]; /* raft ids whose life is over */
	unsigned n_past;
	bool failed;
	char failure[256];
	bool expect_failure;
	struct {
		uint64_t steps, messages, commits, elections, acked, denied,
		    unknown, not_now, reads, recoveries, restores, forks,
		    crashes, freezes, partitions, halts, anchored, snapshots,
		    replays, ticks, excused, orders, lost, evictions, doomed,
		    epochs, vetoed, destroyed, remade, stuck;
	} n;
};

/* ---- world.c ---- */
void world_init(struct world *w, const struct world_options *o);
void world_fini(struct world *w);
uint64_t world_random(struct world *w, uint64_t below);
bool world_chance(struct world *w, unsigned of_1000);
void world_trace(struct world *w, const struct life *l, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void world_fail(struct world *w, const struct life *l, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* world_boot begins a life on a copy of `disk`. */
struct life *world_boot(
    struct world *w, unsigned slot, const struct disk *disk);
/* Generation, term and index of a disk's end: which goes further? */
bool disk_beats(const struct disk *a, const struct disk *b);
/* world_kill ends it; `wrote`: the write under way is on the disk. */
void world_kill(struct world *w, struct life *l, bool wrote);
void world_freeze(struct world *w, struct life *l);
void world_thaw(struct world *w, struct life *l);
struct life *world_life(struct world *w, uint64_t uid);
/* The one life of a slot that is not a fork, or NULL. */
struct life *world_at(struct world *w, unsigned slot);
struct life *world_by_incarnation(struct world *w, const uint8_t *incarnation);
uint64_t life_now(const struct world *w, const struct life *l);
/* The write with this number is durable. */
void world_written(struct world *w, struct life *l, uint64_t number);
/* world_run goes on until `ms` of the world, or a failure. */
void world_run(struct world *w, uint64_t ms);
/* ... or until `until` says so; whether it did. */
bool world_run_until(struct world *w, uint64_t ms,
    bool (*until)(struct world *w, void *cookie), void *cookie);
void world_give(struct world *w, struct life *l, struct core_event *e);
/* Genesis on slot 0, and the others join; false if they do not. */
bool world_genesis(struct world *w);
struct life *world_leader(struct world *w); /* that serves, or NULL */

/* ---- net.c ---- */
void net_push(struct world *w, struct event *e);
bool net_pop(struct world *w, struct event *out); /* the earliest */
void event_clear(struct event *e);
void net_send(struct world *w, struct life *from, const struct core_action *a);
void net_deliver(struct world *w, struct life *l, const struct message *m);
void net_replay(struct world *w); /* one message from the tape */
void message_clear(struct message *m);

bool net_connected(
    const struct world *w, const struct life *a, const struct life *b);

/* ---- clients.c ---- */
void clients_tick(struct world *w);
struct op *clients_ask(struct world *w, struct life *l, enum op_kind kind,
    unsigned counter, uint64_t expected, uint64_t id);
void clients_done(struct world *w, struct life *l, const struct core_action *a);
void clients_life_over(struct world *w, const struct life *l);
uint64_t clients_now_value(
    const struct world *w, const struct life *l, unsigned counter);
void clients_counter_name(unsigned counter, uint8_t app_id[static 20],
    char name[static COUNTER_NAME_MAX]);
void clients_epoch(struct buf *out, uint64_t order);
uint64_t clients_op_of(const struct command *c); /* 0: none */
/* A generation was opened at `index`: what was acknowledged above it? */
void clients_generation(struct world *w, uint64_t generation, uint64_t index);

/* ---- roots.c ---- */
struct registry_seen {
	struct registry_state state;
	struct chain_block block;
};
struct made {
	uint64_t number;
	struct epoch_origin origin;
	uint8_t mode;
};
void roots_begin(struct world *w); /* epoch 0 is registered */
void roots_boot(struct life *l);
/* Its key opens an epoch that may be used: it is in the ring. */
bool roots_usable(const struct life *l, const struct k256_pub *k);
void roots_poll(struct world *w, struct life *l);
void roots_act(struct world *w, struct life *l, const struct core_action *a);
void roots_applied(struct world *w, struct life *l, const struct command *c);
void roots_happen(struct world *w, struct life *l, struct event *e);
void roots_handed(struct world *w, struct life *donor, uint64_t to);
/* Everything that can keep a key: lives and disks. */
unsigned roots_copies(struct world *w, const struct k256_pub *k);
void roots_fresh(struct world *w, struct epoch_public *out);

/* ---- governor.c ---- */
void governor_tick(struct world *w);
/* The adversary is gone: the order is carried out, or given again. */
void governor_settle(struct world *w);
bool governor_is_thief(const struct world *w, const struct k256_pub *k);

/* ---- check_roots.c ---- */
void check_roots(struct world *w, struct life *l);
void check_evidence(
    struct world *w, struct life *l, const struct core_registry_write *t);
void check_holders(struct world *w, const struct reg_tx *t);
void check_activated(struct world *w, uint64_t number);
void check_roots_end(struct world *w);

/* ---- check.c ---- */
void check_step(struct world *w, struct life *l);
void check_message(
    struct world *w, const struct life *l, const struct core_action *a);
void check_written(struct world *w, struct life *l);
void check_applied(struct world *w, struct life *l, uint64_t index);
void check_tx(struct world *w, const struct life *l,
    const struct anchor_write *t, bool done);
void check_recovery(
    struct world *w, const struct life *l, const struct anchor_write *t);
void check_serving(struct world *w);
void check_end(struct world *w);
/* Slots whose disk, as told to `l`, lacks something that it once held. */
unsigned check_stale(struct world *w, const struct life *l);

/* ---- adversary.c ---- */
void adversary_begin(struct world *w);
void adversary_act(struct world *w);
void adversary_stop(struct world *w); /* heals everything */
/* Of two lives of a slot one goes on, on the slot's own disk. */
void adversary_settle(struct world *w);
/* Whether a quorum of the last configuration is alive. */
bool world_quorum_alive(struct world *w);
void world_trace_lives(struct world *w); /* what they wait for */
void operator_tick(struct world *w);
bool disk_counts(const struct world *w, const struct disk *d);
/* Which of two disks recovery wants: one that counts, and the further one. */
bool disk_better(
    const struct world *w, const struct disk *a, const struct disk *b);
struct life *operator_best(struct world *w);

#endif
