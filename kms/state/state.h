/* state: the state machine of the key service, pure.
 *
 * State changes only by applying records.  A record belongs to the chain of
 * one incarnation (a process life of a node): it has the next sequence
 * number and the hash of its predecessor, so a chain can neither lose nor
 * reorder nor fork unnoticed.  Records of different incarnations commute
 * here; what may not conflict (epochs) is checked.  No I/O, no clock, no
 * randomness: time is inside the record.
 *
 *   record  'K' 'R' version u8 = 1 | kind u8 | incarnation 32 | seq u64be |
 *           previous hash 32 | time u64be | body length u16be | body
 *   hash    SHA-256 of the record; the first record has previous = zeros
 *
 *   EPOCH     number u64be | k256 pub 33 | CA x||y 64 | n u8 | certificate n
 *   STARTED   n u8 | slot n | device 32 | mr_aggregated 32
 *   HANDOVER  epoch u64be | n u8 | slot n | incarnation 32 | device 32 |
 *             mr_aggregated 32 | block number u64be | block hash 32
 *
 * Roots are not here: the state holds public halves only. */
#ifndef KMS_STATE_STATE_H
#define KMS_STATE_STATE_H

#include "common/base/buf.h"
#include "common/base/reason.h"
#include "kms/keys/keys.h"

#define INCARNATION_LEN 32
#define STATE_SLOT_MAX 64
#define STATE_RECORD_MAX 512
#define STATE_MAX_CHAINS 4096
#define STATE_MAX_RECORDS 65536
#define STATE_MAX_EPOCHS 256

enum record_kind {
	RECORD_EPOCH = 1,
	RECORD_STARTED = 2,
	RECORD_HANDOVER = 3,
};

enum epoch_state {
	EPOCH_PREPARED = 1, /* made, not on chain yet */
	EPOCH_ACTIVE = 2,
	EPOCH_TAINTED = 3,
	EPOCH_DESTROYED = 4,
};

struct epoch_entry {
	struct epoch_public pub;
	bool has_certificate; /* all but epoch 0 */
	struct k256_sig65 certificate;
};

struct member_entry {
	char slot[STATE_SLOT_MAX];
	uint8_t device_id[32];
	uint8_t mr_aggregated[32];
};

struct handover_entry {
	uint64_t epoch; /* the highest that was handed over */
	struct member_entry to;
	uint8_t incarnation[INCARNATION_LEN];
	uint64_t block_number; /* of the decision */
	uint8_t block_hash[32];
};

/* A record as read; the union's members are values. */
struct record {
	enum record_kind kind;
	uint8_t incarnation[INCARNATION_LEN];
	uint64_t seq; /* from 1 */
	uint8_t previous[32];
	uint64_t time; /* unix seconds, as its author saw them */
	union {
		struct epoch_entry epoch;
		struct member_entry started;
		struct handover_entry handover;
	} u;
};

/* record_parse recognises exactly one record; ERR_MALFORMED otherwise. */
enum err record_parse(struct record *out, struct bytes in);
/* record_write appends its bytes. */
enum err record_write(struct buf *out, const struct record *r);

struct state; /* opaque */

enum err state_new(struct state **out);
void state_free(struct state *s); /* NULL is fine */

/* state_apply applies one record.
 * ERR_EXISTS     it is there already: nothing changed
 * ERR_AGAIN      an earlier record of its chain is missing
 * ERR_MALFORMED  it is no record
 * ERR_AUTH       it does not continue its chain (fork)
 * ERR_DENIED     it contradicts the state (another root for an epoch)
 * ERR_LIMIT      the state is full
 * Only ERR_OK changes the state. */
enum err state_apply(struct state *s, struct bytes record);

/* state_next prepares the next record of an incarnation: fills seq and
 * previous of `r` from the state. */
void state_next(const struct state *s, struct record *r);

/* Epochs, ascending from 0 without gaps. */
size_t state_n_epochs(const struct state *s);
const struct epoch_entry *state_epoch(const struct state *s, uint64_t number);

size_t state_n_records(const struct state *s);

/* state_digest: equal on two nodes exactly when their chains are. */
void state_digest(const struct state *s, uint8_t out[static 32]);

/* state_have calls `fn` with the highest sequence number of each chain. */
void state_have(const struct state *s,
    void (*fn)(
	void *cookie, const uint8_t incarnation[static 32], uint64_t seq),
    void *cookie);
/* state_seq is the highest sequence number of one chain, or 0. */
uint64_t state_seq(const struct state *s, const uint8_t incarnation[static 32]);

/* state_each calls `fn` for each record in order of its chain, skipping the
 * first `skip(cookie, incarnation)` of each; it ends when `fn` is false. */
void state_each(const struct state *s,
    uint64_t (*skip)(void *cookie, const uint8_t incarnation[static 32]),
    bool (*fn)(void *cookie, struct bytes record), void *cookie);

#endif
