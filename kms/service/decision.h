/* decision: may this app have keys, and of which epoch?
 *
 * Every answer of the chain that one decision rests on is of one block: this
 * node's own permission, the root that the KMS contract names, the app's
 * permission, the registry's epochs and the app's pin.  All are kept per
 * block where they are read, so that a warm decision asks nothing. */
#ifndef KMS_SERVICE_DECISION_H
#define KMS_SERVICE_DECISION_H

#include "kms/service/job.h"

/* decision_app: on ERR_OK j->decision says at which block.  Blocks as
 * gate_ask does. */
enum err decision_app(struct job *j);

/* decision_epoch: the same, and which epoch it gets: the one that it is
 * pinned to, or `*asked`.  On ERR_OK j->epoch, j->pinned and j->tainted are
 * set.  EPOCH_UNKNOWN, EPOCH_CLOSED: registry.h; ROOT_MISMATCH: what this
 * node has is not what was published; NOT_READY: it does not know it yet. */
enum err decision_epoch(struct job *j, const uint64_t *asked);

/* decision_env: whose env key is for data that is made now for `app_id`, which
 * need not run, nor be allowed, nor be registered: the epoch that it is pinned
 * to; if the KMS contract does not know it, the active one, which it would be
 * pinned to.  This node must be allowed, and its root the contract's, as
 * ever.  On ERR_OK j->epoch is set. */
enum err decision_env(struct job *j, const uint8_t app_id[static 20]);

#endif
