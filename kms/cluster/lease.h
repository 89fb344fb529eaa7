/* lease: may this node still release keys, or has it been shown an old chain?
 *
 * A node draws a number (a nonce), has it put on chain together with those of
 * the others (kms/gate/checkin.h), and finds it there in a final block.  Its
 * lease runs from the moment at which it drew the number, so that whatever a
 * host delays only shortens it.  README.md, "Check-in", has what this proves,
 * and against which clocks.
 *
 * Pure: time is an argument, and so is chance; one thread.  The glue is
 * checkin.c. */
#ifndef KMS_CLUSTER_LEASE_H
#define KMS_CLUSTER_LEASE_H

#include "kms/gate/checkin.h"
#include "kms/state/command.h"

#define LEASE_BEAT_MS 2000u /* between two messages to all */
#define LEASE_HEARD_MAX 32 /* incarnations: those that one batch can have */
#define LEASE_NONCES 64
#define LEASE_LOOKS 16 /* batches asked for at one look */

struct lease; /* opaque */

struct lease_options {
	uint64_t chain_id; /* of the batch's hash, as `contract` */
	uint8_t contract[20];
	uint64_t period_ms; /* between two batches */
	uint64_t lease_ms; /* at most LEASE_PERIODS_MAX of them */
	uint64_t max_releases; /* in one lease */
};
#define LEASE_PERIODS_MAX 40

/* Two clocks of this node; hosts can stop or set either. */
struct lease_now {
	uint64_t boot_ms; /* one that suspension does not stop */
	int64_t wall_s;
};

/* ERR_CONFIG: a zero, less than two periods, or too many. */
enum err lease_new(struct lease **out, const struct lease_options *o);
void lease_free(struct lease *l); /* NULL is fine */

/* ---- our numbers ---- */

/* lease_wants_nonce: it is time for another; then lease_nonce takes one that
 * was drawn just now. */
bool lease_wants_nonce(const struct lease *l, const struct lease_now *now);
void lease_nonce(struct lease *l, const uint8_t nonce[static CHECKIN_NONCE_LEN],
    const struct lease_now *now);

/* ---- messages between nodes: "KC" | version u8 = 1 | type u8 | ...
 *   1  beat: nonce 32 | the sender's boot_ms u64be | wants u8: 1, it has none
 *   2  list: n u8 | n * nonce, what a batch is made of ---- */

bool lease_is_message(struct bytes in);
/* lease_beat appends what all nodes are told, once LEASE_BEAT_MS have passed;
 * false: not yet. */
bool lease_beat(struct lease *l, struct buf *out, const struct lease_now *now);
/* lease_hear takes a message from the node that attested this incarnation.
 * ERR_MALFORMED: ignored. */
enum err lease_hear(struct lease *l,
    const uint8_t from[static INCARNATION_ID_LEN], struct bytes in,
    const struct lease_now *now);

/* ---- who brings a batch onto the chain ---- */

struct lease_batch {
	uint8_t hash[32];
	uint8_t nonce[CHECKIN_BATCH_MAX][CHECKIN_NONCE_LEN];
	unsigned n;
};
/* lease_due: it is for this node to do it now.  The leader does, once in a
 * period, and a little sooner for a life that has none yet; another node does
 * when its own lease is half over, since the leader may be the one that is
 * blind. */
bool lease_due(struct lease *l, bool leads, const struct lease_now *now,
    struct lease_batch *out);
/* What came of it: after a failure it is due again in a moment. */
void lease_sent(struct lease *l, bool ok, const struct lease_now *now);
/* lease_retell: a batch of this node's of the last period, for somebody who is
 * without a lease and may not have heard its list; each LEASE_BEAT_MS, in
 * turn.  false: there is nobody, or nothing, or not yet. */
bool lease_retell(
    struct lease *l, const struct lease_now *now, struct lease_batch *out);
/* lease_list_write appends the message that tells what a batch is made of. */
enum err lease_list_write(struct buf *out, const struct lease_batch *b);

/* ---- what the chain says ---- */

/* lease_looks lists batches that would give a newer lease, newest first. */
unsigned lease_looks(
    const struct lease *l, uint8_t batch[static LEASE_LOOKS][32]);
/* lease_seen: that batch is there at this final block. */
void lease_seen(struct lease *l, const uint8_t batch[static 32],
    const struct chain_block *at, uint64_t time);

/* ---- the question ---- */

/* lease_take: may an answer that rests on the chain as it was at block
 * `number` leave now?  Counts it.  ERR_DENIED: CHAIN_LEASE. */
enum err lease_take(struct lease *l, const struct lease_now *now,
    uint64_t number, struct refusal *why);
/* The same, of the newest lease, without counting. */
enum err lease_check(
    const struct lease *l, const struct lease_now *now, struct refusal *why);

struct lease_status {
	bool has; /* a lease, perhaps one that has ended */
	int64_t left_ms; /* negative: over for so long */
	uint64_t elapsed_ms; /* since the number was drawn: the longest of: */
	uint64_t boot_ms, wall_ms, peers_ms;
	unsigned n_peers; /* whose clocks count */
	uint64_t block_number, block_time; /* where the number was found */
	uint64_t batch_time; /* when it came onto the chain */
	uint8_t batch[32];
	uint64_t releases; /* in this lease */
	uint64_t lease_ms, period_ms, max_releases; /* as configured */
	unsigned outstanding; /* numbers that are in batches not seen yet */
	uint64_t renewed, sent, send_failures;
};
void lease_status(const struct lease *l, const struct lease_now *now,
    struct lease_status *out);

#endif
