/* anchorabi: the calls of ClusterAnchor, and what state() returns.
 *
 * contracts/README.md "The anchor" has the words that are signed.  Writers
 * replace `out`; nothing here asks the chain. */
#ifndef KMS_GATE_ANCHORABI_H
#define KMS_GATE_ANCHORABI_H

#include "kms/gate/anchor.h"

/* More than 15 seats are none of ours. */
#define ANCHORABI_STATE_MAX ((20u + 2u * ANCHOR_SEATS_MAX + 1u) * 32u)

struct anchor_state {
	struct anchor_view v; /* but for `block` */
	uint8_t kms[20]; /* whose cluster's anchor it is */
	uint8_t owner[20];
	uint8_t signer[20]; /* zero before the genesis */
	uint64_t rotations; /* of the signer */
	uint64_t orders; /* ever given; what signatures name */
};

enum err anchorabi_call_state(struct buf *out);
/* anchorabi_state reads the one encoding that the contract writes, and
 * accepts what the contract can be in only.  ERR_MALFORMED. */
enum err anchorabi_state(struct anchor_state *out, struct bytes in);

/* anchorabi_write signs `w` with the cluster's key for one contract on one
 * chain.  `orders` is that of the state seen; of a VETO, from.generation is
 * the current one.  ERR_MALFORMED: bad key. */
struct anchorabi_at {
	uint64_t chain_id;
	uint8_t contract[20];
};
enum err anchorabi_write(struct buf *out, const struct anchorabi_at *at,
    const struct anchor_write *w, uint64_t orders,
    const struct k256_secret *key);

/* What owners call. */
enum err anchorabi_genesis(struct buf *out, uint64_t index,
    const uint8_t hash[static 32], const uint8_t signer[static 20],
    const uint8_t incarnation[static INCARNATION_ID_LEN]);
enum err anchorabi_name_recovery(struct buf *out,
    const uint8_t incarnation[static INCARNATION_ID_LEN], bool lossy);
/* ERR_MALFORMED: `slot` is no name (name.h) of 1 to 31 characters. */
enum err anchorabi_set_seat(
    struct buf *out, const char *slot, const uint8_t device_id[static 32]);
enum err anchorabi_remove_seat(struct buf *out, const char *slot);

#endif
