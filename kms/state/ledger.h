/* ledger: the replicated state of the key service, pure.
 *
 * It changes only by ledger_apply, one committed log entry after the other,
 * and is the same on every node that applied the same entries: no I/O, no
 * clock, no randomness.
 *
 * A critical command (a root) is recorded when it is applied, and effective
 * once an ANCHORED command says that its index is on chain.  Epoch 0 is ACTIVE
 * then.  Every later one is PREPARED until an EPOCH_STATE says that the
 * registry of roots has it ACTIVE, and may be replaced until then: by roots
 * for a later order, or after a veto; or for the same one, as long as no
 * majority ever had the key on its disks, so that nobody can have published
 * it.
 *
 * The audit log is a hash chain over what auditors need (epochs and their
 * states, members, hand-overs, generations):
 *   head' = SHA-256(head || index u64be || length u32be || command)
 * The last LEDGER_AUDIT_MAX are kept, and the number of all. */
#ifndef KMS_STATE_LEDGER_H
#define KMS_STATE_LEDGER_H

#include "common/base/reason.h"
#include "kms/state/command.h"

#define LEDGER_MAX_EPOCHS 256
#define LEDGER_MAX_MEMBERS 64 /* slots ever seen */
#define LEDGER_MAX_COUNTERS 65536
#define LEDGER_MAX_COUNTERS_APP 256
#define LEDGER_MAX_TCB_FLOORS 256
#define LEDGER_AUDIT_MAX 4096
#define LEDGER_SNAPSHOT_MAX (32u << 20)

struct ledger_epoch {
	struct epoch_public pub;
	uint8_t wrapped[WRAPPED_ROOTS_LEN]; /* zeros once DESTROYED */
	bool has_certificate;
	struct k256_sig65 certificate;
	struct epoch_origin origin; /* zeros for epoch 0 */
	uint8_t mode; /* 0 routine, 1 emergency */
	enum ledger_epoch_state state;
	uint64_t index; /* of its EPOCH entry */
};

/* Of the newest epoch: has the slot's holder its wrapping key on disk? */
enum ledger_held {
	LEDGER_HELD_NOT,
	LEDGER_HELD_BEFORE, /* a former life of the slot said so */
	LEDGER_HELD, /* its present holder did */
};

struct ledger_member {
	struct member who; /* the slot's holder, or its last one */
	bool present; /* false: it left */
	enum ledger_held held; /* of the newest epoch; not of epoch 0 */
	uint64_t since; /* index of its MEMBER entry */
	uint64_t lives; /* incarnations that this slot has had */
};

struct ledger_counter {
	uint8_t app_id[20];
	char name[COUNTER_NAME_MAX];
	uint64_t value;
	uint8_t operation[16]; /* of the increment that made it */
};

struct ledger_audit {
	uint64_t number; /* from 1, without gaps */
	uint64_t index; /* of the log entry */
	struct bytes command; /* borrows until the next apply */
};

/* What a command did. */
struct ledger_outcome {
	/* ERR_OK, ERR_EXISTS (it changes nothing: already so), ERR_DENIED
	 * (contradicts the state), ERR_LIMIT, ERR_MALFORMED.  Only ERR_OK
	 * changed anything but ledger_index. */
	enum err err;
	enum reason reason; /* for ERR_DENIED: REASON_COUNTER_MISMATCH ... */
	uint64_t value; /* of the counter, after (or as it is, if denied) */
};

struct ledger; /* opaque */

enum err ledger_new(struct ledger **out);
void ledger_free(struct ledger *l); /* NULL is fine */

/* ledger_apply applies the entry at `index`, which must be above
 * ledger_index (asserted).  Deterministic: the same bytes give the same
 * outcome on every node.  ERR_NOMEM is the only error of the call itself;
 * the caller must stop then. */
enum err ledger_apply(struct ledger *l, struct ledger_outcome *out,
    uint64_t index, struct bytes command);

/* The index of the last entry that was applied (or skipped). */
uint64_t ledger_index(const struct ledger *l);
/* ledger_skip notes an entry without a command (barrier, configuration). */
void ledger_skip(struct ledger *l, uint64_t index);

/* A whole state as bytes, appended to `out`; canonical: equal states give
 * equal bytes (ledger_snapshot.c has the table).
 * ledger_restore replaces the content of `l`, or leaves it untouched
 * (ERR_MALFORMED, ERR_NOMEM). */
enum err ledger_snapshot(const struct ledger *l, struct buf *out);
enum err ledger_restore(struct ledger *l, struct bytes snapshot);
/* SHA-256 of the snapshot: equal exactly when the states are. */
enum err ledger_digest(const struct ledger *l, uint8_t out[static 32]);

/* Epochs, ascending from 0 without gaps. */
size_t ledger_n_epochs(const struct ledger *l);
const struct ledger_epoch *ledger_epoch(const struct ledger *l, uint64_t n);
/* Its EPOCH entry is on chain, inside the anchored log. */
bool ledger_epoch_anchored(const struct ledger *l, uint64_t n);
/* Has origin `a` come after `b`? */
bool epoch_origin_after(
    const struct epoch_origin *a, const struct epoch_origin *b);
/* Other roots for the newest epoch's very order may replace it. */
bool ledger_epoch_never_held(const struct ledger *l);

/* Slots ever seen, sorted by name; pointers and places are good until the
 * next apply or restore. */
size_t ledger_n_members(const struct ledger *l);
const struct ledger_member *ledger_member(const struct ledger *l, size_t i);
const struct ledger_member *ledger_slot(
    const struct ledger *l, const char *slot);

/* The anchor as the log knows it: generation 0 before the first. */
struct ledger_anchor {
	uint64_t generation;
	uint64_t index;
	uint8_t hash[32];
};
const struct ledger_anchor *ledger_anchor(const struct ledger *l);
/* The highest index that was ever anchored. */
uint64_t ledger_effective(const struct ledger *l);
/* The highest index of a critical command; above the anchor's it is not
 * effective yet. */
uint64_t ledger_critical_index(const struct ledger *l);
uint64_t ledger_generation(const struct ledger *l);

/* The highest chain block that the cluster has seen (0: none). */
uint64_t ledger_floor(const struct ledger *l, uint8_t hash[static 32]);
size_t ledger_n_tcb_floors(const struct ledger *l);
uint64_t ledger_tcb_floor_at(
    const struct ledger *l, size_t i, char name[static TCB_NAME_MAX]);
uint64_t ledger_tcb_floor(const struct ledger *l, const char *name);

/* A counter that was never incremented has value 0. */
uint64_t ledger_counter_get(
    const struct ledger *l, const uint8_t app_id[static 20], const char *name);
size_t ledger_n_counters(const struct ledger *l);
size_t ledger_n_counters_app(
    const struct ledger *l, const uint8_t app_id[static 20]);

/* Hand-overs ever; the i-th from 0 among those that the audit log still has:
 * its entry there, and the command. */
uint64_t ledger_n_handovers(const struct ledger *l);
bool ledger_handover_get(const struct ledger *l, uint64_t i,
    struct ledger_audit *out, struct command *cmd);

/* The audit log: all entries ever, those still kept, and the chain's head. */
uint64_t ledger_audit_count(const struct ledger *l);
uint64_t ledger_audit_first(const struct ledger *l);
bool ledger_audit_get(
    const struct ledger *l, uint64_t number, struct ledger_audit *out);
/* The head before the first that is kept. */
void ledger_audit_before(const struct ledger *l, uint8_t out[static 32]);
void ledger_audit_head(const struct ledger *l, uint8_t out[static 32]);

#endif
