/* engine: raft as a pure function, with the log it works on.
 *
 * The one file that includes libraft (cowsql 0.22, its raft_step core).
 * Events go in with the time inside; what must be written, sent or applied
 * comes out as effects.  No I/O, no clock, no threads.
 *
 * The log is hash-chained:
 *   H_i = BLAKE2b-256(H_{i-1} || i u64be || term u64be || kind u8 || payload)
 * and every AppendEntries carries H of its previous entry: equal (index,
 * term) with unequal hashes is a fork, and stops the node (I9).
 *
 * Effects must be carried out in this order (raft-nng-rollback.md 1.5):
 * term, vote, truncation, entries and snapshot durable; then the messages
 * (those with `early` may leave before); then engine_persisted. */
#ifndef KMS_CLUSTER_ENGINE_H
#define KMS_CLUSTER_ENGINE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/buf.h"

struct engine; /* opaque */

#define ENGINE_MEMBERS_MAX 16
#define ENGINE_ADDRESS_MAX 112 /* with NUL */
#define ENGINE_ENTRY_MAX 4096 /* bytes of payload */
#define ENGINE_BATCH 512 /* entries in one message */

enum entry_kind {
	ENTRY_COMMAND = 1,
	ENTRY_BARRIER = 2,
	ENTRY_CONFIG = 3,
};

enum engine_role { ENGINE_STANDBY = 0, ENGINE_VOTER = 1, ENGINE_SPARE = 2 };

struct engine_member {
	uint64_t id; /* not 0 */
	char address[ENGINE_ADDRESS_MAX]; /* "slot/incarnation in hex" */
	enum engine_role role;
};

struct engine_config {
	struct engine_member member[ENGINE_MEMBERS_MAX];
	unsigned n;
};

/* A log entry; data borrows from the engine until the next call on it. */
struct engine_entry {
	uint64_t index, term;
	enum entry_kind kind;
	struct bytes data;
	uint8_t hash[32]; /* H of the chain up to and with it */
};

/* A snapshot of everything up to `index`. */
struct engine_snapshot {
	uint64_t index, term;
	uint8_t hash[32]; /* H_index */
	struct engine_config config;
	uint64_t config_index;
	struct bytes data; /* the state's bytes; borrows */
};

struct engine_options {
	uint64_t id;
	const char *address;
	unsigned seed; /* of the randomised election timeout */
	unsigned election_ms, heartbeat_ms;
};

/* What a node starts from.  Entries follow the snapshot without a gap (or
 * start at 1); hashes were verified by who loaded them. */
struct engine_boot {
	uint64_t term, vote;
	const struct engine_snapshot *snapshot; /* NULL: none */
	const struct engine_entry *entry;
	size_t n_entries;
	/* Appended as a new entry of term `term`, not yet durable: what opens
	 * a cluster or a generation.  n = 0: none.  This node is its one
	 * voter, and `term` is one that nobody led before. */
	struct engine_config open;
};

enum err engine_new(struct engine **out, const struct engine_options *o);
void engine_free(struct engine *e); /* NULL is fine */

enum err engine_start(
    struct engine *e, uint64_t now_ms, const struct engine_boot *b);

/* engine_deadline: when engine_tick wants to be called. */
uint64_t engine_deadline(const struct engine *e);
enum err engine_tick(struct engine *e, uint64_t now_ms);

/* engine_receive takes a message that an authenticated peer sent.
 * ERR_MALFORMED: it is none (nothing changed); ERR_AUTH: it names another
 * sender; ERR_CORRUPT: the log forked, stop; ERR_NOMEM: stop. */
enum err engine_receive(
    struct engine *e, uint64_t now_ms, uint64_t from, struct bytes message);

/* Whether a message asks for a vote; it may be anything. */
bool engine_is_vote_request(struct bytes message);

/* engine_submit appends `n` commands or barriers (leader only).
 * ERR_AGAIN: not the leader; ERR_LIMIT: one is too long; ERR_MALFORMED: a
 * configuration (engine_reconfigure takes those). */
enum err engine_submit(struct engine *e, uint64_t now_ms, enum entry_kind kind,
    const struct bytes *data, size_t n, uint64_t *first_index);
/* One member added at the end, or removed, or in another role; the order is
 * kept.  ERR_MALFORMED: anything else, or no voter would be left.
 * ERR_AGAIN: not the leader, or the last change is not committed.  The caller
 * sees to the rest of I5: an entry of the own term is committed first. */
enum err engine_reconfigure(struct engine *e, uint64_t now_ms,
    const struct engine_config *next, uint64_t *index);
enum err engine_transfer(struct engine *e, uint64_t now_ms, uint64_t to);

/* All entries up to `index`, of what the effects told, are durable.  One
 * write at a time: effects that name entries or truncate are taken when the
 * write before them was told here, since an index does not say which of two
 * entries it was. */
enum err engine_persisted(struct engine *e, uint64_t now_ms, uint64_t index);
/* The snapshot that an effect brought is durable and restored. */
enum err engine_snapshot_installed(struct engine *e, uint64_t now_ms);

/* engine_compact replaces the entries up to `index` (applied and durable)
 * by a snapshot with the state's bytes, and keeps `trailing` of them for
 * slow followers.  The effect `snapshot` tells what to write. */
enum err engine_compact(struct engine *e, uint64_t now_ms, uint64_t index,
    struct bytes state, unsigned trailing);

/* A configuration entry that was applied.  The engine sees commits itself:
 * nothing is left to do here. */
enum err engine_config_committed(
    struct engine *e, uint64_t now_ms, uint64_t index);

/* ---- what there is to do ---- */

struct engine_message {
	uint64_t to;
	struct buf bytes; /* owns */
	bool early; /* may leave before this turn is durable */
};

struct engine_effects {
	bool meta; /* term or vote changed */
	uint64_t term, vote;
	uint64_t truncate; /* drop entries from this index on; 0: none */
	uint64_t first, last; /* append these; 0: none */
	bool snapshot; /* write engine_last_snapshot */
	bool install; /* ... it came from the leader: wipe the log, restore */
	struct engine_message *message; /* owns n_messages */
	size_t n_messages;
	uint64_t commit; /* commit index now */
	bool state_changed; /* leader, term or role */
};
/* engine_take moves out what has come together since the last call. */
void engine_take(struct engine *e, struct engine_effects *out);
void engine_effects_fini(struct engine_effects *x);

/* ---- what it knows ---- */

enum engine_state {
	ENGINE_OFF,
	ENGINE_FOLLOWER,
	ENGINE_CANDIDATE,
	ENGINE_LEADER
};
enum engine_state engine_state(const struct engine *e);
uint64_t engine_term(const struct engine *e);
uint64_t engine_vote(const struct engine *e);
uint64_t engine_leader(const struct engine *e); /* id, or 0 */
/* Below the entries of a snapshot that is being installed, and below an
 * opening entry that is not durable; else as raft counts.  It may run ahead
 * of the own disk. */
uint64_t engine_commit(const struct engine *e);
uint64_t engine_last(const struct engine *e); /* index */
uint64_t engine_first(const struct engine *e); /* lowest kept, or last + 1 */
uint64_t engine_durable(const struct engine *e); /* highest persisted */
/* Match index of a member (leader only); 0 if unknown. */
uint64_t engine_match(const struct engine *e, uint64_t id);
/* ERR_NOTFOUND outside [first, last]. */
enum err engine_entry(
    const struct engine *e, uint64_t index, struct engine_entry *out);
/* Term and hash of an index: also for the snapshot's own, and for 0. */
bool engine_hash(
    const struct engine *e, uint64_t index, uint8_t out[static 32]);
bool engine_term_at(const struct engine *e, uint64_t index, uint64_t *term);
/* The last snapshot, or NULL. */
const struct engine_snapshot *engine_last_snapshot(const struct engine *e);
/* The configuration in force (the latest in the log), and the committed one
 * as far as it was told. */
const struct engine_config *engine_config(const struct engine *e);
uint64_t engine_config_index(const struct engine *e);

void engine_entry_hash(uint8_t out[static 32], const uint8_t prev[static 32],
    uint64_t index, uint64_t term, enum entry_kind kind, struct bytes data);
/* A configuration as an entry's payload. */
enum err engine_config_write(struct buf *out, const struct engine_config *c);
enum err engine_config_parse(struct engine_config *out, struct bytes in);

#endif
