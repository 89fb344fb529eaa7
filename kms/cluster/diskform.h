/* diskform: the bytes of disklog's records.  Readers check all that one
 * record can show; how records belong together is disklog's. */
#ifndef KMS_CLUSTER_DISKFORM_H
#define KMS_CLUSTER_DISKFORM_H

#include "kms/cluster/engine.h"

struct wr;

#define DISKFORM_META_LEN (1 + 5 * 8 + 2 * 32 + 8 + 32 + 32)
#define DISKFORM_CLEAR_LEN 48 /* the longer one of the two */
#define DISKFORM_ENTRY_MAX (1 + 32 + ENGINE_ENTRY_MAX)
/* Of one piece of a snapshot: sealed, it fills 16 pages of LMDB. */
#define DISKFORM_PIECE (64u * 1024 - 128)
/* A ledger's snapshot is half of it, at most. */
#define DISKFORM_SNAPSHOT_MAX (64u << 20)

/* meta  version u8 = 1 | generation u64 | term u64 | vote u64 | first u64 |
 *       last u64 | hash before first 32 | hash of last 32 |
 *       snapshot index u64 | BLAKE2b of the snapshot's head 32 (zeros and
 *       index 0: none) | incarnation that wrote it 32
 * An empty log has last = first - 1 and twice the same hash. */
struct diskform_meta {
	uint64_t generation, term, vote;
	uint64_t first, last;
	uint8_t before[32], head[32];
	uint64_t snapshot;
	uint8_t snapshot_hash[32];
	uint8_t incarnation[32];
};
void diskform_meta_write(struct wr *w, const struct diskform_meta *m);
enum err diskform_meta_read(struct diskform_meta *out, struct bytes in);

/* entry  clear: term u64 | incarnation that wrote it 32
 *        sealed: kind u8 | hash 32 | payload
 * `data` borrows from `value`. */
void diskform_entry_write(struct wr *clear, struct wr *value,
    const struct engine_entry *e, const uint8_t incarnation[static 32]);
enum err diskform_entry_read(struct engine_entry *out, uint64_t index,
    struct bytes clear, struct bytes value);

/* A snapshot is its head (number 0) and its data in pieces (from 1), all of
 * DISKFORM_PIECE bytes but the last one.
 *
 * head   index u64 | term u64 | hash 32 | config index u64 |
 *        data length u32 | BLAKE2b of the data 32 | config
 * clear, of the head and each piece
 *        index u64 | term u64 | incarnation that wrote it 32 */
struct diskform_head {
	struct engine_snapshot snapshot; /* without data */
	size_t len;
	uint8_t digest[32];
};
/* Appends the head of `s`, whose digest it computes. */
enum err diskform_head_write(struct buf *out, const struct engine_snapshot *s);
enum err diskform_head_read(struct diskform_head *out, struct bytes in);
void diskform_clear_write(struct wr *clear, const struct engine_snapshot *s,
    const uint8_t incarnation[static 32]);
/* ERR_MALFORMED also when it is of another snapshot. */
enum err diskform_clear_read(
    const struct engine_snapshot *s, struct bytes clear);

/* BLAKE2b-256. */
void diskform_hash(uint8_t out[static 32], struct bytes in);
bool diskform_is_zero(const uint8_t hash[static 32]);

#endif
