/* stateask: accounts, slots, code and the header of one block, fetched from any
 * endpoint and believed from none.
 *
 * A header counts if its fields make the block's hash; an account or a slot if
 * its proof leads to the header's state root; code if it makes the account's
 * code hash.  One endpoint is enough for that: the next is asked for what the
 * one before did not prove.  Who sends what does not verify is counted and named
 * (endpoints_odd). */
#ifndef KMS_GATE_STATEASK_H
#define KMS_GATE_STATEASK_H

#include <stdatomic.h>

#include "kms/gate/endpoints.h"
#include "kms/gate/world.h"

/* Slots of one request: its answer stays below LIMIT_PROOF. */
#define STATEASK_SLOTS 64u

struct stateask_want {
	uint8_t address[20];
	bool code;
	unsigned n_slots;
	uint8_t slot[STATEASK_SLOTS][32];
};

struct stateask {
	struct endpoints *es;
	struct codes *codes;
	uint64_t chain_id;
	/* The endpoint that is asked first: the one that answered last. */
	_Atomic unsigned first;
};

/* stateask_fetch puts all that is wanted, and the header, into `w`; what is
 * there is not asked for.  `want` may be NULL if n is 0.
 *
 * ERR_AGAIN  CHAIN_UNREACHABLE: no endpoint has it; CHAIN_PROOF: what they
 *            sent does not verify
 * ERR_NOMEM */
enum err stateask_fetch(struct stateask *a, struct world *w,
    const struct stateask_want *want, size_t n, struct refusal *why);

#endif
