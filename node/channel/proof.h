/* proof: evidence as it is bound to a session, and as it is sent. */
#ifndef NODE_CHANNEL_PROOF_H
#define NODE_CHANNEL_PROOF_H

#include "node/channel/channel.h"

/* What a quote must carry when a session begins:
 * SHA-512("devproof-kms/channel/v1" || role || hash || static). */
void proof_bind(uint8_t out[static 64], enum channel_role role,
    const uint8_t hash[static 32], const uint8_t own_static[static 32]);

/* And at its `n`-th renewal (1 is the first), for the peer's nonce:
 * SHA-512("devproof-kms/channel-renew/v1" || role || hash || static ||
 * nonce || n as 8 bytes, big-endian). */
void proof_bind_renewal(uint8_t out[static 64], enum channel_role role,
    const uint8_t hash[static 32], const uint8_t own_static[static 32],
    const uint8_t peer_nonce[static 32], uint64_t n);

/* proof_pack appends the message Evidence.  ERR_LIMIT if a part is over
 * its bound: our own peer would refuse it. */
enum err proof_pack(struct buf *out, const struct evidence *e);

/* proof_unpack copies a message Evidence out of `in`; the caller owns
 * `*out` (evidence_fini).  ERR_MALFORMED, ERR_LIMIT or ERR_NOMEM otherwise. */
enum err proof_unpack(struct evidence *out, struct bytes in);

#endif
