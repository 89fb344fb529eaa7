/* ledger_int: the ledger's inside, for the files ledger*.c alone.
 *
 *   ledger.c           what each command does, and what can be asked
 *   ledger_epoch.c     the life of an epoch
 *   ledger_counter.c   the counters of apps
 *   ledger_audit.c     the hash chain of what auditors need
 *   ledger_snapshot.c  a whole state as bytes, and back */
#ifndef KMS_STATE_LEDGER_INT_H
#define KMS_STATE_LEDGER_INT_H

#include "kms/state/ledger.h"

/* Of the audited kinds EPOCH is the longest:
 * 12 + 8 + 33 + 64 + 104 + 66 + 25. */
#define AUDIT_COMMAND_MAX 312

struct audit_entry {
	uint64_t index;
	uint16_t len;
	uint8_t command[AUDIT_COMMAND_MAX];
};

struct audit {
	struct audit_entry *ring; /* owns LEDGER_AUDIT_MAX; n at (n-1) % MAX */
	uint64_t count; /* all ever */
	uint8_t before[32]; /* the head before the first that is kept */
	uint8_t head[32];
};

struct counters {
	struct ledger_counter *pool; /* owns; in order of creation */
	uint32_t *order; /* owns; places in pool, by app and name */
	size_t n, cap; /* of both */
};

struct tcb_floor {
	char name[TCB_NAME_MAX];
	uint64_t number; /* above 0 */
};

struct ledger {
	uint64_t index;
	uint64_t generation;
	struct ledger_anchor anchor;
	/* The highest index that was ever anchored.  A new generation's anchor
	 * may be lower; what had become effective stays so. */
	uint64_t effective;
	uint64_t floor;
	uint8_t floor_hash[32];
	struct ledger_epoch epoch[LEDGER_MAX_EPOCHS];
	size_t n_epochs;
	uint64_t n_handovers;
	struct ledger_member member[LEDGER_MAX_MEMBERS]; /* by slot */
	size_t n_members;
	struct tcb_floor tcb[LEDGER_MAX_TCB_FLOORS]; /* by name */
	size_t n_tcb;
	struct counters counters;
	struct audit audit;
};

/* ledger_deny fills the reason and returns ERR_DENIED. */
enum err ledger_deny(struct ledger_outcome *o, enum reason why);
/* ledger_note_anchor makes effective what lies at or below an index. */
void ledger_note_anchor(struct ledger *l, uint64_t index);
/* Is this very life the slot's holder? */
bool ledger_holds(const struct ledger_member *m, const uint8_t *incarnation);
struct ledger_member *ledger_member_find(struct ledger *l, const char *slot);

/* EPOCH, HELD, EPOCH_STATE: ledger_epoch.c. */
enum err ledger_epoch_apply(struct ledger *l, struct ledger_outcome *o,
    uint64_t index, const struct command *c);
enum err ledger_epoch_held(
    struct ledger *l, struct ledger_outcome *o, const struct command *c);
enum err ledger_epoch_follow(
    struct ledger *l, struct ledger_outcome *o, const struct command *c);

/* ledger_counter_apply is INCREMENT: header and ledger_counter.c. */
enum err ledger_counter_apply(
    struct counters *t, struct ledger_outcome *o, const struct command *c);
/* ledger_counter_add puts a new counter behind all others of the order, for
 * a snapshot; ERR_MALFORMED if it belongs elsewhere, ERR_LIMIT. */
enum err ledger_counter_add(struct counters *t, const struct ledger_counter *c);
/* The counter at a place of the order. */
const struct ledger_counter *ledger_counter_at(
    const struct counters *t, size_t i);
void ledger_counter_fini(struct counters *t);

bool ledger_audit_is(enum command_kind k);
/* ledger_audit_add appends an entry, dropping the oldest if full. */
void ledger_audit_add(struct audit *a, uint64_t index, struct bytes command);
/* ledger_audit_put appends without dropping: for a snapshot, which starts at
 * the first kept entry. */
void ledger_audit_put(struct audit *a, uint64_t index, struct bytes command);
size_t ledger_audit_kept(const struct audit *a);

#endif
