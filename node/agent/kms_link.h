/* kms_link: the attested channel to a KMS node, as the client's transport.
 *
 * Each connection shows this CVM's evidence and verifies the node's: quote,
 * collateral, event log and OS image (common/attest), the KMS identity by
 * chain id and contract (they are in the channel's prologue), and, if
 * configured, the node's mr_aggregated. */
#ifndef NODE_AGENT_KMS_LINK_H
#define NODE_AGENT_KMS_LINK_H

#include "common/attest/evidence.h"

#include "node/agent/kms_client.h"
#include "node/tee/tee.h"

struct kms_link; /* opaque */

/* All arguments but `c` are borrowed for the life. */
enum err kms_link_new(struct kms_link **out, struct tee *tee,
    struct verifier *verifier, const struct agent_config *c);
void kms_link_free(struct kms_link *l); /* NULL is fine */

/* The transport borrows the link. */
struct kms_transport kms_link_transport(struct kms_link *l);

#endif
