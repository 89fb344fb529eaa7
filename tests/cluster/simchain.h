/* simchain: the anchor's contract as a model (contracts/src/ClusterAnchor),
 * with its past: readers see it as it was some time ago. */
#ifndef TESTS_CLUSTER_SIMCHAIN_H
#define TESTS_CLUSTER_SIMCHAIN_H

#include "kms/gate/anchor.h"

#define CHAIN_PAST 512

struct chain {
	struct anchor_view now; /* block is filled in by chain_at */
	struct {
		uint64_t ms;
		struct anchor_view view;
	} past[CHAIN_PAST];
	unsigned n_past;
	unsigned vetoes, opened, refused;
};

/* Milliseconds of the world as seconds of a block. */
uint64_t chain_time(uint64_t ms);
/* The contract as of `ms`. */
void chain_at(const struct chain *c, uint64_t ms, struct anchor_view *out);

void chain_seat(struct chain *c, uint64_t ms, const char *slot,
    const uint8_t device_id[static 32]);
void chain_unseat(struct chain *c, uint64_t ms, const char *slot);
bool chain_genesis(struct chain *c, uint64_t ms, uint64_t index,
    const uint8_t hash[static 32], const uint8_t incarnation[static 32]);
void chain_order(struct chain *c, uint64_t ms,
    const uint8_t incarnation[static 32], bool lossy);
/* false: the contract refuses. */
bool chain_write(struct chain *c, uint64_t ms, const struct anchor_write *w);

#endif
