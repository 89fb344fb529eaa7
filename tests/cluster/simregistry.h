/* simregistry: the registry of roots as a model (contracts/src/RootRegistry),
 * with its past.  Signatures are left out: who may say what is up to the
 * world. */
#ifndef TESTS_CLUSTER_SIMREGISTRY_H
#define TESTS_CLUSTER_SIMREGISTRY_H

#include "kms/cluster/core.h"
#include "tests/cluster/simchain.h"

#define REG_PAST 64

struct simreg {
	struct registry_state now;
	struct {
		uint64_t ms;
		struct registry_state state;
	} past[REG_PAST];
	unsigned n_past;
	struct k256_pub used[256]; /* keys ever published */
	unsigned n_used;
};

/* A node's transaction: what it signs with is named. */
struct reg_tx {
	struct core_registry_write w;
	struct k256_pub k256;
	uint8_t ca_hash[32];
};

void simreg_begin(struct simreg *r, uint64_t ms, const struct k256_pub *k256,
    const uint8_t ca_hash[static 32]);
/* The contract as of `ms`; false: it was not there. */
/* Its state then, but for the seats' hash; NULL. */
const struct registry_state *simreg_past(const struct simreg *r, uint64_t ms);
bool simreg_at(const struct simreg *r, const struct chain *c, uint64_t ms,
    struct registry_state *out);

/* Each is false if the contract refuses. */
bool simreg_order(
    struct simreg *r, uint64_t ms, enum registry_mode mode, uint64_t in_s);
bool simreg_withdraw(struct simreg *r, uint64_t ms);
bool simreg_veto(struct simreg *r, uint64_t ms);
bool simreg_confirm(
    struct simreg *r, uint64_t ms, const uint8_t hash[static 32]);
bool simreg_taint(struct simreg *r, uint64_t ms, uint64_t n);
bool simreg_retire(struct simreg *r, uint64_t ms, uint64_t n, uint64_t in_s);
bool simreg_destroy(struct simreg *r, uint64_t ms, uint64_t n);
bool simreg_write(struct simreg *r, const struct chain *c, uint64_t ms,
    const struct reg_tx *t);

#endif
