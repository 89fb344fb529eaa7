/* checkin: when a batch of nodes' numbers came onto the chain
 * (contracts/src/CheckIn).
 *
 * A number that a node has just drawn was in no block before.  So the final
 * block in which the node finds the batch that contains it is younger than
 * the number, whatever its timestamp says (README.md, "Check-in"). */
#ifndef KMS_GATE_CHECKIN_H
#define KMS_GATE_CHECKIN_H

#include "kms/gate/chainview.h"
#include "kms/gate/clustertx.h"

#define CHECKIN_NONCE_LEN 32
/* In one batch: every member, and who is about to be one. */
#define CHECKIN_BATCH_MAX 32

struct checkin; /* opaque; thread-safe, blocks as chainview does */

struct checkin_options {
	struct chainview *view; /* borrowed for the life */
	uint64_t chain_id;
	uint8_t contract[20];
	/* Where transactions go, in this order until one takes it. */
	const char *const *urls; /* copied */
	unsigned n_urls;
	unsigned timeout_ms;
};
/* ERR_CONFIG: no chain id, contract, timeout, or http(s) URL; too many. */
enum err checkin_new(struct checkin **out, const struct checkin_options *o);
void checkin_free(struct checkin *c); /* NULL is fine */

/* checkin_batch: what goes on chain for 1 to CHECKIN_BATCH_MAX numbers:
 * keccak256("devproof-kms/checkin/v1" || chain id u64be || contract 20 ||
 * n u8 || n * 32). */
void checkin_batch(uint8_t out[static 32], uint64_t chain_id,
    const uint8_t contract[static 20],
    const uint8_t (*nonce)[CHECKIN_NONCE_LEN], unsigned n);

struct checkin_found {
	struct chain_block block; /* at which all was asked */
	bool found;
	unsigned which; /* of the batches asked for */
	uint64_t time; /* block time at which it came, unix seconds */
};

/* checkin_find asks for `n` batches in this order, at one block of the chain
 * view, until one is there.  ERR_AGAIN: a CHAIN_ reason; CHAIN_ANSWER if what
 * the quorum says is nothing that the contract can say. */
enum err checkin_find(struct checkin *c, int64_t now,
    const uint8_t (*batch)[32], unsigned n, struct checkin_found *out,
    struct refusal *why);

/* checkin_send brings a batch onto the chain and waits until it is mined (not
 * final).  Errors as clustertx_send. */
enum err checkin_send(struct checkin *c, const uint8_t batch[static 32],
    const struct k256_secret *account, struct refusal *why);

#endif
