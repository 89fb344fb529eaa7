/* command: what can be written into the replicated log.
 *
 * A command is the payload of one log entry.  It was checked by the node
 * that submitted it; every node applies it again from its bytes alone, so
 * its meaning depends on nothing else: time and randomness are inside.
 *
 *   command  'K' 'C' version u8 = 1 | kind u8 | time u64be | body
 *
 *   EPOCH      number u64 | k256 pub 33 | CA x||y 64 | wrapped roots 104 |
 *              n u8 | certificate n (0 or 65) |
 *              all but epoch 0: order u64 | vetoes u64 | try u64 | mode u8
 *   MEMBER     n u8 | slot n | incarnation 32 | device 32 | mr_aggregated 32
 *   LEFT       n u8 | slot n | incarnation 32 | why u8 (enum left_why)
 *   HANDOVER   epoch u64 | n u8 | slot n | incarnation 32 | device 32 |
 *              mr_aggregated 32 | block number u64 | block hash 32
 *   GENERATION generation u64 | incarnation 32 | n u8 | slot n | lossy u8
 *   ANCHORED   generation u64 | index u64 | hash 32
 *   FLOOR      block number u64 | block hash 32
 *   TCB_FLOOR  n u8 | name n | number u64
 *   INCREMENT  app 20 | n u8 | name n | expected u64 | operation 16
 *   HELD       number u64 | k256 pub 33 | n u8 | slot n | incarnation 32
 *   EPOCH_STATE  number u64 | k256 pub 33 | state u8 (enum ledger_epoch_state) |
 *              block number u64 | block hash 32
 *
 * Integers are big-endian; nothing may follow the body.  Kind 10 was for
 * revocations, which nobody wrote, and stays unused. */
#ifndef KMS_STATE_COMMAND_H
#define KMS_STATE_COMMAND_H

#include <stdbool.h>

#include "common/base/buf.h"
#include "kms/keys/keys.h"

#define SLOT_MAX 32 /* with NUL: 31 characters, one word on chain */
#define INCARNATION_ID_LEN 32
#define COUNTER_NAME_MAX 65 /* with NUL */
#define TCB_NAME_MAX 65 /* with NUL */
#define COMMAND_MAX 1024
#define WRAPPED_ROOTS_LEN 104 /* nonce 24 | sealed (k256 32 | CA 32) | tag */

enum command_kind {
	COMMAND_EPOCH = 1,
	COMMAND_MEMBER = 2,
	COMMAND_LEFT = 3,
	COMMAND_HANDOVER = 4,
	COMMAND_GENERATION = 5,
	COMMAND_ANCHORED = 6,
	COMMAND_FLOOR = 7,
	COMMAND_TCB_FLOOR = 8,
	COMMAND_INCREMENT = 9,
	COMMAND_HELD = 11,
	COMMAND_EPOCH_STATE = 12,
};
#define COMMAND_LAST COMMAND_EPOCH_STATE

enum left_why {
	LEFT_REPLACED = 1, /* a new incarnation took its slot */
	LEFT_STOPPED = 2, /* said so itself */
	LEFT_DENIED = 3, /* the contract no longer allows it */
	LEFT_REMOVED = 4, /* an operator removed the slot */
};

/* The life of an epoch (DESIGN 7), as the registry on chain says it. */
enum ledger_epoch_state {
	LEDGER_EPOCH_PREPARED = 1, /* recorded; not in use */
	LEDGER_EPOCH_ACTIVE = 2,
	LEDGER_EPOCH_TAINTED = 3,
	LEDGER_EPOCH_DESTROYED = 4,
};

/* What an epoch's roots were made for: of two for one number, the later one
 * counts. */
struct epoch_origin {
	uint64_t order; /* number of the registry's order, from 1 */
	uint64_t vetoes; /* that the registry had counted by then */
	uint64_t attempt; /* those before were lost by all who held them */
};

/* One seat's holder: a process life of a node. */
struct member {
	char slot[SLOT_MAX]; /* printable ASCII without spaces or '/' */
	uint8_t incarnation[INCARNATION_ID_LEN];
	uint8_t device_id[32];
	uint8_t mr_aggregated[32];
};

struct command {
	enum command_kind kind;
	uint64_t time; /* unix seconds, as its author saw them */
	union {
		struct {
			struct epoch_public pub;
			uint8_t wrapped[WRAPPED_ROOTS_LEN];
			bool has_certificate; /* all but epoch 0 */
			struct k256_sig65 certificate;
			/* All but epoch 0: */
			struct epoch_origin origin;
			uint8_t mode; /* 0 routine, 1 emergency */
		} epoch;
		struct member member;
		struct {
			char slot[SLOT_MAX];
			uint8_t incarnation[INCARNATION_ID_LEN];
			enum left_why why;
		} left;
		struct {
			uint64_t epoch; /* the highest that was handed over */
			struct member to;
			uint64_t block_number; /* of the decision */
			uint8_t block_hash[32];
		} handover;
		struct {
			uint64_t generation;
			uint8_t incarnation[INCARNATION_ID_LEN];
			char slot[SLOT_MAX];
			bool lossy; /* fewer disks than the rule asks for */
		} generation;
		struct {
			uint64_t generation;
			uint64_t index;
			uint8_t hash[32];
		} anchored;
		struct {
			uint64_t number;
			uint8_t hash[32];
		} floor;
		struct {
			char name[TCB_NAME_MAX]; /* printable, no spaces */
			uint64_t number;
		} tcb_floor;
		struct {
			uint8_t app_id[20];
			char name[COUNTER_NAME_MAX]; /* printable, no spaces */
			uint64_t expected;
			uint8_t operation[16]; /* names the caller's attempt */
		} increment;
		/* A member has this epoch's wrapping key on its own disk. */
		struct {
			uint64_t number;
			struct k256_pub k256;
			char slot[SLOT_MAX];
			uint8_t incarnation[INCARNATION_ID_LEN];
		} held;
		struct {
			uint64_t number;
			struct k256_pub k256;
			enum ledger_epoch_state state; /* not PREPARED */
			uint64_t block_number; /* where the registry said it */
			uint8_t block_hash[32];
		} epoch_state;
	} u;
};

/* command_parse recognises exactly one command; ERR_MALFORMED otherwise. */
enum err command_parse(struct command *out, struct bytes in);
/* command_write appends its bytes; ERR_MALFORMED if a name in it is not
 * name_ok (name.h). */
enum err command_write(struct buf *out, const struct command *c);
/* command_may_repeat: twice in the log it is done once, and whoever is told
 * ERR_OK by either knows that.  An increment names its attempt and the value
 * before. */
bool command_may_repeat(struct bytes in);
const char *command_kind_text(enum command_kind k);
/* Critical commands take effect once their entry is anchored on chain. */
bool command_is_critical(enum command_kind k);

#endif
