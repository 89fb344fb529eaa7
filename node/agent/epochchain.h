/* epochchain: from the pinned root to the one that a release comes from.
 *
 * What an app pins is the root of epoch 0.  Each later root is linked to the
 * one before by a certificate (common/crypto/epochcert), which the release
 * brings along: routine ones are signed by the root before.  After an
 * emergency that one is presumed stolen and proves nothing: then the signer
 * of the cluster's anchor counts, and only one that is known here. */
#ifndef NODE_AGENT_EPOCHCHAIN_H
#define NODE_AGENT_EPOCHCHAIN_H

#include "node/agent/release.h"

/* epochchain_verify checks the records [0, in->epoch] of a release.
 *
 * ERR_DENIED  EPOCH_UNKNOWN: a record or a certificate is missing
 *             ROOT_MISMATCH: genesis is not the pinned root; a certificate is
 *             of another chain, registry, epoch, key, CA or mode, or signed
 *             by somebody else
 *             CHAIN_WRONG: it names another registry than the configured one,
 *             or none where it must */
enum err epochchain_verify(const Devproof__Kms__V1__AppKeys *in,
    const struct release_terms *t, struct refusal *why);

#endif
