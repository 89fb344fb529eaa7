/* world: what has been proven of the chain's state at one block.
 *
 * Accounts and slots by address, and the code that accounts have; nothing gets
 * in but through stateask, which verifies it.  Entries are never changed or
 * removed while somebody holds the world, so that code can be lent.  Thread-safe;
 * counted references. */
#ifndef KMS_GATE_WORLD_H
#define KMS_GATE_WORLD_H

#include "common/eth/evm.h"
#include "common/eth/stateproof.h"
#include "kms/gate/chainview.h"
#include "kms/gate/codes.h"

struct world; /* opaque */

/* A world without anything in it, and one reference; NULL: no memory. */
struct world *world_new(const struct chain_block *at, struct codes *codes);
struct world *world_ref(struct world *w);
void world_unref(struct world *w); /* NULL is fine */

const struct chain_block *world_block(const struct world *w);
/* True once so much is known that it should not grow: hostile contracts can
 * make us read what they like.  The owner begins a new one then. */
bool world_full(const struct world *w);

/* The verified header: what the EVM needs of it, and the state root. */
struct world_header {
	uint8_t state_root[32];
	struct evm_block block;
};
/* All getters: ERR_NOTFOUND until it is known. */
enum err world_header(struct world *w, struct world_header *out);
void world_set_header(struct world *w, const struct world_header *h);

enum err world_account(struct world *w, struct stateproof_account *out,
    const uint8_t address[static 20]);
enum err world_slot(struct world *w, uint8_t out[static 32],
    const uint8_t address[static 20], const uint8_t slot[static 32]);
/* The code of an account; borrowed while the world is held.  Looks among the
 * codes that were seen at other blocks as well. */
enum err world_code(
    struct world *w, struct bytes *out, const uint8_t address[static 20]);

/* ERR_NOMEM.  What is known already stays. */
enum err world_put_account(struct world *w, const uint8_t address[static 20],
    const struct stateproof_account *a);
enum err world_put_slot(struct world *w, const uint8_t address[static 20],
    const uint8_t slot[static 32], const uint8_t value[static 32]);

#endif
