/* disklog: the raft log, its snapshot and its vote in the sealed store.
 *
 * A cache, never an authority: what is loaded is a whole state that this
 * slot once committed to disk, unmixed (I15), but perhaps an old one.
 *
 *   STORE_META "raft"      version u8 = 1 | generation u64 | term u64 |
 *                          vote u64 | first u64 | last u64 | head hash 32 |
 *                          incarnation 32 | snapshot length u32, chunks u32
 *   STORE_LOG  index u64   clear: term u64, incarnation 32 (associated data)
 *                          sealed: kind u8 | hash 32 | payload
 *   STORE_SNAPSHOT number  clear: snapshot index u64, term u64, incarnation
 *                          sealed: chunk; chunk 0 begins with index u64,
 *                          term u64, hash 32, config index u64, config
 */
#ifndef KMS_CLUSTER_DISKLOG_H
#define KMS_CLUSTER_DISKLOG_H

#include "kms/cluster/core.h"
#include "node/store/store.h"

/* What the disk offers; owns its memory. */
struct disklog_boot {
	bool found;
	uint64_t generation;
	struct engine_boot log; /* points into what this struct owns */
	struct engine_snapshot snapshot;
	struct buf snapshot_data;
	struct engine_entry *entry;
	struct buf *payload;
};
void disklog_boot_fini(struct disklog_boot *b);

/* disklog_load reads and verifies all of it: seals, hash chain, head, no
 * gaps.  ERR_OK with found = false: an empty store.  ERR_CORRUPT with the
 * reason in `why`: wipe it and join as a new node. */
enum err disklog_load(
    struct store *s, struct disklog_boot *out, struct refusal *why);

/* disklog_write carries out one CORE_WRITE inside the store's open
 * transaction. */
enum err disklog_write(struct store *s, const struct core_write *w,
    const struct engine *e, const uint8_t incarnation[static 32]);
enum err disklog_wipe(struct store *s); /* in the open transaction */

#endif
