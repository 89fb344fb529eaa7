/* simdisk: a node's disk as a value, that can be copied, kept and restored.
 *
 * It models what kms/cluster/disklog offers: one transaction at a time, all
 * of it or nothing, and on loading a whole state that was once committed
 * (I15), perhaps an old one. */
#ifndef TESTS_CLUSTER_SIMDISK_H
#define TESTS_CLUSTER_SIMDISK_H

#include "kms/cluster/core.h"

/* Entries and snapshots never change; disks share them. */
struct disk_entry {
	unsigned refs;
	uint64_t index, term;
	enum entry_kind kind;
	uint8_t hash[32];
	size_t len;
	uint8_t data[];
};

struct disk_blob {
	unsigned refs;
	size_t len;
	uint8_t data[];
};

/* Wrapping keys, named by the roots that they open. */
#define KEYS_MAX 32
struct keyset {
	unsigned n;
	struct k256_pub k[KEYS_MAX];
};
bool keyset_has(const struct keyset *s, const struct k256_pub *k);
void keyset_add(struct keyset *s, const struct k256_pub *k); /* once */
void keyset_drop(struct keyset *s, const struct k256_pub *k);

/* Zeroed: empty. */
struct disk {
	uint64_t generation, term, vote;
	bool has_roots; /* can speak for the cluster */
	struct keyset keys;
	bool has_snapshot;
	struct engine_snapshot snapshot; /* data is in `blob` */
	struct disk_blob *blob;
	struct disk_entry **entry; /* n of them, without a gap */
	size_t n, cap;
};

/* A CORE_WRITE with what it takes from the engine. */
struct disk_write {
	struct core_write w;
	struct engine_snapshot snapshot;
	struct disk_blob *blob;
	struct disk_entry **entry;
	size_t n;
};

void disk_clear(struct disk *d);
void disk_copy(struct disk *to, const struct disk *from); /* clears `to` */
uint64_t disk_last(const struct disk *d, uint64_t *term);
/* The hash at `index`, or NULL. */
const uint8_t *disk_hash(const struct disk *d, uint64_t index);

void disk_capture(
    struct disk_write *out, const struct core_write *w, const struct engine *e);
void disk_write_clear(struct disk_write *w);
/* NULL, or what is wrong with the write: it would not load again. */
const char *disk_apply(struct disk *d, struct disk_write *w);

/* disk_boot gives what disklog_load would; `entries` is the caller's, as many
 * as d->n. */
void disk_boot(const struct disk *d, struct engine_boot *out,
    struct engine_snapshot *snapshot, struct engine_entry *entries);

#endif
