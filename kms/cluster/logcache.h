/* logcache: the raft log in memory, hash-chained (engine.h says how). */
#ifndef KMS_CLUSTER_LOGCACHE_H
#define KMS_CLUSTER_LOGCACHE_H

#include "kms/cluster/engine.h"

struct logcache_item {
	uint64_t term;
	enum entry_kind kind;
	struct buf data; /* owns */
	uint8_t hash[32];
};

/* Zeroed: empty, and the next index is 1. */
struct logcache {
	struct logcache_item *item; /* owns n of them, cap allocated */
	size_t n, cap;
	/* What comes before item[0]: 0 and zeros at the very beginning. */
	uint64_t base_index, base_term;
	uint8_t base_hash[32];
};

void logcache_fini(struct logcache *l);
/* logcache_reset empties it, to go on after `index`. */
void logcache_reset(struct logcache *l, uint64_t index, uint64_t term,
    const uint8_t hash[static 32]);
enum err logcache_append(
    struct logcache *l, uint64_t term, enum entry_kind kind, struct bytes data);
/* logcache_truncate drops the entries from `index` on. */
void logcache_truncate(struct logcache *l, uint64_t index);
/* logcache_drop forgets the entries up to `index`, which it still names. */
void logcache_drop(struct logcache *l, uint64_t index);

uint64_t logcache_last(const struct logcache *l);
/* NULL outside [base_index + 1, last]. */
const struct logcache_item *logcache_get(
    const struct logcache *l, uint64_t index);
bool logcache_hash(
    const struct logcache *l, uint64_t index, uint8_t out[static 32]);
bool logcache_term(const struct logcache *l, uint64_t index, uint64_t *out);

#endif
