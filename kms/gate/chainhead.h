/* chainhead: one look at the chain: which block do m endpoints agree on?
 *
 * No state: chainview keeps what is found, and when to look again. */
#ifndef KMS_GATE_CHAINHEAD_H
#define KMS_GATE_CHAINHEAD_H

#include "kms/gate/chainview.h"
#include "kms/gate/endpoints.h"

struct chainhead_rules {
	unsigned quorum;
	uint64_t chain_id;
	enum chain_tag tag;
	uint64_t depth;
	struct chain_floor floor;
};

/* ERR_AGAIN with CHAIN_UNREACHABLE, _WRONG, _DISAGREE or _BACKWARDS. */
enum err chainhead_find(struct chain_block *out, struct endpoints *es,
    endpoint_set set, const struct chainhead_rules *rules, struct refusal *why);

#endif
