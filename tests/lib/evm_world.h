/* evm_world: accounts with code and storage, for evm_run to read.
 *
 * What nobody has put there is missing; with an anvil behind it, it is
 * fetched from there, once. */
#ifndef TESTS_LIB_EVM_WORLD_H
#define TESTS_LIB_EVM_WORLD_H

#include "common/eth/evm.h"
#include "tests/lib/anvil.h"

#define EVM_WORLD_ACCOUNTS 32
#define EVM_WORLD_SLOTS 512

struct evm_world_account {
	uint8_t address[20];
	struct evm_account account;
	bool has_account;
	bool has_code;
	struct buf code; /* owns */
	struct {
		uint8_t key[32];
		uint8_t value[32];
	} slot[EVM_WORLD_SLOTS];
	size_t n_slots;
};

struct evm_world {
	struct evm_world_account *a[EVM_WORLD_ACCOUNTS]; /* owns */
	size_t n;
	const struct anvil *anvil; /* borrows; NULL: nothing is behind it */
	unsigned n_asked; /* requests to anvil */
};

void evm_world_fini(struct evm_world *w);

/* The account, made if need be: nothing is known of it then. */
struct evm_world_account *evm_world_at(
    struct evm_world *w, const uint8_t address[static 20]);
/* evm_world_code makes it a contract without balance. */
void evm_world_code(
    struct evm_world *w, const uint8_t address[static 20], struct bytes code);
void evm_world_slot(struct evm_world *w, const uint8_t address[static 20],
    const uint8_t key[static 32], const uint8_t value[static 32]);

/* evm_world_run is evm_run, again and again while something is missing that
 * anvil has. */
enum evm_outcome evm_world_run(struct evm_world *w, struct buf *out,
    struct evm_missing *missing, const struct evm_call *c,
    const struct evm_block *b, uint64_t *gas_used);

#endif
