/* incarnation: this process's identity in the cluster.
 *
 * An Ed25519 key pair that is drawn at start, lives in guarded memory and is
 * never written anywhere; the public key is the incarnation's name (I1).  It
 * speaks for the process by signing the handshake of a session that its
 * platform has attested:
 *
 *   signed = "devproof-kms/peer-hello/v1" || role u8 || n u8 || slot n ||
 *            handshake hash 32
 *
 * `role` is the signer's on that session, so neither side's signature can be
 * given back to it. */
#ifndef KMS_CLUSTER_INCARNATION_H
#define KMS_CLUSTER_INCARNATION_H

#include "kms/state/command.h"
#include "node/channel/channel.h"

#define INCARNATION_SIG_LEN 64

struct incarnation; /* opaque */

enum err incarnation_new(struct incarnation **out);
void incarnation_free(struct incarnation *i); /* wipes; NULL is fine */
const uint8_t *incarnation_id(const struct incarnation *i); /* 32 bytes */

/* Any thread.  ERR_MALFORMED: not a slot's name. */
enum err incarnation_sign(uint8_t sig[static INCARNATION_SIG_LEN],
    struct incarnation *i, enum channel_role role, const char *slot,
    const uint8_t handshake_hash[static 32]);
/* ERR_AUTH, also for what is no slot's name or no key. */
enum err incarnation_verify(const uint8_t sig[static INCARNATION_SIG_LEN],
    const uint8_t id[static INCARNATION_ID_LEN], enum channel_role role,
    const char *slot, const uint8_t handshake_hash[static 32]);

#endif
