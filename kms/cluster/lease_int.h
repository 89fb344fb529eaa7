/* lease_int: what the lease's files share; nobody else includes it.
 *
 *   lease.c       our numbers, the clocks, the question
 *   lease_post.c  what nodes tell each other, and who goes on chain when */
#ifndef KMS_CLUSTER_LEASE_INT_H
#define KMS_CLUSTER_LEASE_INT_H

#include "kms/cluster/lease.h"

#define LEASE_CLOCKS 15 /* seats but ours */
/* A clock that was not heard for so long is not compared. */
#define LEASE_CLOCK_LIFE_MS (3 * LEASE_BEAT_MS)
/* What was heard last may be a beat old at either end, and slow to come. */
#define LEASE_CLOCK_SLACK_MS (2 * LEASE_BEAT_MS + 1000)
/* Batches that one number may be in: each node may make its own. */
#define LEASE_BATCHES 4
/* Batches of one period that are told again. */
#define LEASE_TOLD 4

/* A moment, by our clocks and by those of others. */
struct lease_mark {
	struct lease_now now;
	unsigned n_clocks;
	struct {
		uint8_t incarnation[INCARNATION_ID_LEN];
		uint64_t boot_ms;
	} clock[LEASE_CLOCKS];
};

/* A number of ours. */
struct lease_own {
	uint64_t number; /* the how manieth, 0: free */
	uint8_t nonce[CHECKIN_NONCE_LEN];
	struct lease_mark made;
	uint8_t batch[LEASE_BATCHES][32]; /* oldest first */
	unsigned n_batches;
};

struct lease_held {
	uint64_t number; /* of the nonce, 0: none */
	struct lease_mark made;
	struct chain_block block;
	uint64_t time;
	uint8_t batch[32];
	uint64_t used;
};

/* What an incarnation said last. */
struct lease_heard {
	uint8_t incarnation[INCARNATION_ID_LEN];
	uint8_t nonce[CHECKIN_NONCE_LEN];
	uint64_t boot_ms; /* its clock */
	uint64_t at_ms; /* by ours */
	bool wants; /* it has no lease */
	bool listed; /* this nonce is in a batch of ours */
	bool hurried; /* a batch came sooner for it: once in its life */
};

/* A batch that this node brought. */
struct lease_told {
	struct lease_batch batch; /* of n 0: none */
	uint64_t at_ms;
};

struct lease {
	struct lease_options o;
	struct lease_own own[LEASE_NONCES];
	uint64_t n_drawn;
	unsigned newest; /* of `own`, if n_drawn > 0 */
	struct lease_held held[2]; /* the newest, and the one before */
	uint64_t renewed;

	struct lease_heard heard[LEASE_HEARD_MAX];
	unsigned n_heard;
	uint64_t next_beat_ms;

	bool hurried; /* as above, for ourselves */
	uint64_t listed; /* our own newest number in a batch of ours */
	uint64_t began_ms; /* the first question, for who waits */
	uint64_t posted_ms, retry_ms; /* 0: never; not before */
	/* What this node brought last, for who did not hear it. */
	struct lease_told told[LEASE_TOLD];
	uint64_t n_told, n_retold, next_tell_ms;
	uint64_t sent, send_failures;
};

/* NULL: none was drawn yet. */
struct lease_own *lease_newest(const struct lease *l);
/* Our numbers in it are in a batch. */
void lease_note_batch(struct lease *l, const struct lease_batch *b);

#endif
