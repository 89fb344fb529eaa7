/* disklog: the raft log, its snapshot and its vote in the sealed store.
 *
 * A cache, never an authority: what is loaded is a whole state that this
 * slot once committed to disk, unmixed (I15), but perhaps an old one.
 *
 *   STORE_META "raft"          the meta record
 *   STORE_LOG  index u64be     entries, first to last without gaps
 *   STORE_SNAPSHOT number u64be  the snapshot's head, then its data in pieces
 *
 * diskform.h has their bytes.  The meta record pins all the others: entries
 * by the chain from the hash before the first to that of the last, the
 * snapshot by the hash of its head, which has the hash of the data.  So
 * whatever mixture of old and new records a host puts together, either it is
 * what one meta record was written with, or it does not load. */
#ifndef KMS_CLUSTER_DISKLOG_H
#define KMS_CLUSTER_DISKLOG_H

#include "kms/cluster/core.h"
#include "node/store/store.h"

/* What the disk offers; owns its memory.  Points into itself: not to be
 * moved. */
struct disklog_boot {
	bool found;
	uint64_t generation;
	/* Entries may begin at or below the snapshot's index: those are kept
	 * for slow followers. */
	struct engine_boot log;
	struct engine_snapshot snapshot;
	struct buf snapshot_data;
	struct engine_entry *entry;
	struct buf *payload;
};
void disklog_boot_fini(struct disklog_boot *b);

/* disklog_load reads and verifies all of it: seals, hash chain, head, no
 * gaps.  ERR_OK with found = false: an empty store.  ERR_CORRUPT with the
 * reason in `why` (which may be NULL): wipe it and join as a new node. */
enum err disklog_load(
    struct store *s, struct disklog_boot *out, struct refusal *why);

/* disklog_write carries out one CORE_WRITE inside the store's open
 * transaction, in the order wipe, truncate, entries, snapshot; a snapshot
 * ahead of the log (from a leader) replaces it before the entries.  Call it
 * before the core takes its next event: it reads from the core's engine.
 *
 * Any error: store_abort and stop.  ERR_PHASE: it does not fit what is on
 * disk (a gap, a cut below the snapshot, a generation that falls);
 * ERR_CORRUPT: the log in memory and the one on disk differ. */
enum err disklog_write(struct store *s, const struct core_write *w,
    const struct engine *e, const uint8_t incarnation[static 32]);
enum err disklog_wipe(struct store *s); /* in the open transaction */

#endif
