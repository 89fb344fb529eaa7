/* peers: this node's connections to the other members.
 *
 * Blocking calls, made by one cluster step at a time on a worker; the status
 * may be read by any thread meanwhile.  Every connection is an attested
 * channel on which both sides asked the contract about each other, at its
 * start and whenever evidence is renewed. */
#ifndef KMS_CLUSTER_PEERS_H
#define KMS_CLUSTER_PEERS_H

#include "common/wire/msg.h"
#include "kms/keys/keyring.h"
#include "kms/service/kmsd_config.h"
#include "kms/state/state.h"
#include "node/channel/channel.h"

#define PEERS_RECORDS_MAX 512 /* in one reply; more come with the next */
#define PEERS_ROOTS_MAX STATE_MAX_EPOCHS

struct peers; /* opaque */
struct cluster_peer;

enum err peers_new(struct peers **out, const struct kmsd_config *cfg);
void peers_free(struct peers *p); /* NULL is fine */

/* What a call brought; zeroed = nothing. */
struct peers_found {
	struct epoch_roots *roots[PEERS_ROOTS_MAX]; /* owns */
	size_t n_roots;
	struct buf *record; /* owns n_records of them */
	size_t n_records;
};
void peers_found_fini(struct peers_found *f);

/* Collects a Sync request. */
struct peers_have {
	struct buf packed; /* 32 + 8 bytes each */
	enum err err;
};
void peers_have_add(struct peers_have *h,
    const uint8_t incarnation[static INCARNATION_LEN], uint64_t seq);
/* peers_have_pack writes the request and empties `h`. */
enum err peers_have_pack(struct peers_have *h, struct buf *request);

/* peers_join asks one member after the other for the roots.  Roots of epoch
 * 0 that are not `chain_root` are refused, with the member that sent them.
 * ERR_AGAIN with the last member's reason if none could give them. */
enum err peers_join(struct peers *p, const struct channel_context *cx,
    const struct kmsd_config *cfg,
    const uint8_t incarnation[static INCARNATION_LEN],
    const uint8_t chain_root[static 33], struct peers_found *found,
    struct refusal *why);

/* peers_sync asks every member for the records that we lack.  ERR_OK also
 * when some could not be reached: their status says so. */
enum err peers_sync(struct peers *p, const struct channel_context *cx,
    struct bytes have_request, struct peers_found *found, struct refusal *why);

size_t peers_status(struct peers *p, struct cluster_peer *out, size_t max);

#endif
