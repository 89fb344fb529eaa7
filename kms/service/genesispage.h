/* genesispage: what the first node shows of the roots that it made, and of the
 * log that begins with them, until the contracts name both: GET /genesis.
 *
 * Two quotes: dstack's over the public keys, and one over the anchor. */
#ifndef KMS_SERVICE_GENESISPAGE_H
#define KMS_SERVICE_GENESISPAGE_H

#include "kms/cluster/cluster.h"

struct genesispage {
	bool has;
	struct cluster_genesis g;
	struct evidence keys, anchor; /* owns; empty until quoted */
};

/* On the loop: what there is to show now. */
void genesispage_update(struct genesispage *p, const struct cluster *c);
/* On a worker, not at the same time: makes the quotes that are missing. */
void genesispage_quote(struct genesispage *p, const struct kmsd_config *cfg,
    struct self *self, const uint8_t incarnation[static INCARNATION_ID_LEN]);
bool genesispage_ready(const struct genesispage *p);
/* Appends nothing if it is not ready. */
enum err genesispage_render(struct buf *out, const struct genesispage *p,
    const uint8_t incarnation[static INCARNATION_ID_LEN]);
void genesispage_fini(struct genesispage *p);

#endif
