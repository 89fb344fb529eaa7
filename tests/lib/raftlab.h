/* raftlab: engines in one process, with a network, disks and a clock that the
 * test moves.
 *
 * Node i has raft id i + 1.  Everything is deterministic.  A disk is what was
 * persisted: with `slow`, a node's write stays open until raftlab_persist,
 * and its messages that are not `early` wait for it; a crash loses both.
 * After every step the properties of raft are checked over all nodes and all
 * of the past; the first that does not hold is told in `broken`. */
#ifndef TESTS_LIB_RAFTLAB_H
#define TESTS_LIB_RAFTLAB_H

#include "kms/cluster/logcache.h"

#define RAFTLAB_NODES 5
#define RAFTLAB_INDEXES 8192 /* a longer log is not checked */
#define RAFTLAB_VOTES 512 /* the votes that a node gave, by term */
#define RAFTLAB_TERMS 512

struct raftlab_disk {
	uint64_t term, vote;
	bool has_snapshot;
	struct engine_snapshot snapshot;
	struct buf data; /* owns what snapshot.data borrows */
	struct logcache log; /* owns */
};

struct raftlab_message {
	unsigned from, to;
	struct buf bytes; /* owns */
};

struct raftlab_node {
	struct engine *e; /* owns; NULL: down */
	bool slow;
	struct raftlab_disk disk;
	/* The write under way. */
	bool writing;
	struct engine_effects write;
	struct engine_entry *entry; /* owns; their data too */
	struct engine_snapshot snapshot;
	struct buf data;
	/* As of the last check. */
	uint64_t applied, term, vote, commit, last;
	uint8_t head[32];
	struct {
		uint64_t term, to;
	} gave[RAFTLAB_VOTES];
	unsigned n_gave;
};

struct raftlab {
	uint64_t now;
	unsigned n, seed;
	struct raftlab_node node[RAFTLAB_NODES];
	bool cut[RAFTLAB_NODES][RAFTLAB_NODES]; /* from, to */
	struct raftlab_message *queue; /* owns */
	size_t n_queue, queue_cap;
	/* Everything that ever was. */
	struct {
		uint64_t term, leader;
	} reign[RAFTLAB_TERMS];
	unsigned n_reigns;
	struct {
		bool known;
		uint64_t seen_term; /* of who saw it committed first */
		uint8_t hash[32];
	} committed[RAFTLAB_INDEXES];
	uint64_t highest; /* committed */
	struct raftlab_place {
		uint64_t index, term;
		uint8_t hash[32];
	} * place; /* owns: each (index, term) that was in a log */
	size_t n_places, places_cap;
	enum err stopped; /* the first fatal error of an engine */
	char broken[200];
};

/* `n` nodes, of which the first `voters` are in the first configuration. */
void raftlab_init(
    struct raftlab *l, unsigned n, unsigned voters, unsigned seed);
void raftlab_fini(struct raftlab *l);
void raftlab_config(struct engine_config *out, unsigned voters);

/* raftlab_start brings a node up from its disk. */
void raftlab_start(struct raftlab *l, unsigned i);
/* raftlab_boot does so from what the test says. */
enum err raftlab_boot(
    struct raftlab *l, unsigned i, const struct engine_boot *b);
void raftlab_crash(struct raftlab *l, unsigned i);
void raftlab_isolate(struct raftlab *l, unsigned i, bool cut);

/* raftlab_flush carries out effects; call it after any call on an engine. */
void raftlab_flush(struct raftlab *l, unsigned i);
void raftlab_persist(struct raftlab *l, unsigned i);
/* raftlab_deliver takes message `k` out of the queue. */
void raftlab_deliver(struct raftlab *l, size_t k);
void raftlab_drop(struct raftlab *l, size_t k);
void raftlab_repeat(struct raftlab *l, size_t k); /* it comes twice */
void raftlab_pump(struct raftlab *l); /* until the queue is empty */
void raftlab_tick(struct raftlab *l, unsigned i);
void raftlab_run(struct raftlab *l, unsigned ms);

/* The leader of the highest term, or -1. */
int raftlab_leader(const struct raftlab *l);
/* raftlab_elect lets node `i` win, when it can. */
bool raftlab_elect(struct raftlab *l, unsigned i);
enum err raftlab_submit(struct raftlab *l, unsigned i, const char *text);
enum err raftlab_change(
    struct raftlab *l, unsigned i, const struct engine_config *next);
enum err raftlab_compact(
    struct raftlab *l, unsigned i, uint64_t index, unsigned trailing);
/* All nodes that are up have one log, down to the bytes. */
bool raftlab_agree(const struct raftlab *l);

#endif
