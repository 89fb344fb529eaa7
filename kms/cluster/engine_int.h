/* engine_int: what the engine's files share;
 * nobody else includes it, nor libraft's header. */
#ifndef KMS_CLUSTER_ENGINE_INT_H
#define KMS_CLUSTER_ENGINE_INT_H

#include <assert.h>

#include <raft.h>

#include "kms/cluster/logcache.h"

/* Debian 12's own 0.15 commits entries that it must not (T1, T28). */
static_assert(RAFT_VERSION_NUMBER >= 2201, "libraft 0.22.1 or newer");

#define ENGINE_CONFIG_MAX \
	(16 + ENGINE_MEMBERS_MAX * (9 + ENGINE_ADDRESS_MAX)) /* bytes */

struct engine {
	struct raft raft;
	struct engine_options o;
	char address[ENGINE_ADDRESS_MAX];
	bool started;
	struct logcache log;
	bool has_snapshot;
	struct engine_snapshot snapshot;
	struct buf snapshot_data; /* owns what snapshot.data borrows */
	/* Being installed: told to libraft when it is durable. */
	struct raft_snapshot_metadata installing;
	bool is_installing;
	/* Our log up to `match` is that of the leader of `match_term`. */
	uint64_t match, match_term;
	uint64_t held_commit; /* what is told while it is being installed */
	uint64_t durable;
	uint64_t open_index; /* engine_boot's `open`, until durable; 0 */
	struct engine_config config;
	uint64_t config_index;
	struct engine_effects x; /* since the last take */
	size_t messages_cap;
};

/* A message as it is on the wire, besides what libraft keeps of it. */
struct engine_extra {
	uint8_t hash[32]; /* AE: H of the previous entry; IS: H_last */
	bool stale; /* of an older term than ours */
	uint64_t term, last, last_term; /* AE, IS: up to where it goes */
};

/* One raft_step, and everything that it asks for.  `x` is for a message. */
enum err engine_run(
    struct engine *e, struct raft_event *ev, const struct engine_extra *x);
void engine_note_match(struct engine *e, const struct engine_extra *x);
/* A follower's success says no more than what is the leader's. */
void engine_bound_result(
    const struct engine *e, struct raft_append_entries_result *r);
/* The entries from `from` on have to be written, again or for the first
 * time. */
void engine_note_append(struct engine *e, uint64_t from);
/* The configuration in force is the last one in the log, committed or not
 * (raft dissertation, 4.1). */
void engine_find_config(struct engine *e);
/* Tells libraft that the configuration at `index` is committed. */
enum err engine_settle(struct engine *e, uint64_t now_ms, uint64_t index);
/* We are the one voter of the configuration in force. */
bool engine_only_voter(const struct engine *e);
/* Whether one change leads from `a` to `b`: libraft keeps what it knows of
 * the members by their place, and checks nothing. */
bool engine_one_change(
    const struct engine_config *a, const struct engine_config *b);

/* Appends the bytes of `m`; AppendEntries are filled from the log, snapshot
 * messages from `snap`. */
enum err enginewire_write(struct buf *out, const struct raft_message *m,
    const struct logcache *log, const struct engine_snapshot *snap);

/* Reads one message.  Entries, configurations and snapshot data are
 * raft_malloc'ed, as raft_step wants them; enginewire_free undoes it when
 * raft_step was not called.  ERR_MALFORMED, ERR_NOMEM. */
enum err enginewire_read(
    struct raft_message *m, struct engine_extra *x, struct bytes in);
void enginewire_free(struct raft_message *m);

/* Between the two forms of a configuration. */
enum err enginewire_to_raft(
    struct raft_configuration *out, const struct engine_config *c);
enum err enginewire_from_raft(
    struct engine_config *out, const struct raft_configuration *c);

#endif
