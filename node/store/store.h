/* store: sealed records in LMDB.
 *
 * Every value is XChaCha20-Poly1305 under the platform's sealing key, with
 * associated data (cluster, slot, table, key): a record cannot be moved to
 * another place, node or cluster.  LMDB sees sealed bytes only.
 *
 * The disk is a cache, never an authority (DESIGN 6): a whole folder can be
 * copied or restored by the host, and nothing here can tell.  What is loaded
 * must be confirmed elsewhere (chain, peers) before it is used.
 *
 * Not thread-safe: it belongs to the loop. */
#ifndef NODE_STORE_STORE_H
#define NODE_STORE_STORE_H

#include "common/base/buf.h"

enum store_table {
	STORE_META = 1,
	STORE_EPOCH = 2, /* public half and roots of an epoch */
	STORE_RECORD = 3, /* entries of kms/state */
};

#define STORE_KEY_MAX 64
#define STORE_VALUE_MAX (256u * 1024)

struct store; /* opaque */

struct store_options {
	const char *dir; /* created if missing, 0700 */
	uint8_t cluster[32]; /* names the cluster */
	const char *slot; /* names the node */
	size_t map_max; /* bytes; the map grows up to it, then ERR_LIMIT */
};

/* store_open opens the environment.  `seal_key` is copied into locked
 * memory.  ERR_CORRUPT: the folder was sealed under another key, cluster or
 * slot, or is damaged; ERR_EXISTS: another process holds it; ERR_IO. */
enum err store_open(struct store **out, const struct store_options *o,
    const uint8_t seal_key[static 32]);
void store_close(struct store *s); /* NULL is fine */

/* store_version grows by one with every committed transaction. */
uint64_t store_version(const struct store *s);

/* One write transaction at a time: begin, puts and deletes, commit (one
 * fsync) or abort.  A failed put makes the commit fail. */
enum err store_begin(struct store *s);
enum err store_put(
    struct store *s, enum store_table t, struct bytes key, struct bytes value);
enum err store_del(struct store *s, enum store_table t, struct bytes key);
enum err store_commit(struct store *s);
void store_abort(struct store *s);

/* store_get replaces `out` by the opened value (buf_wipe it).
 * ERR_NOTFOUND, ERR_CORRUPT. */
enum err store_get(
    struct store *s, struct buf *out, enum store_table t, struct bytes key);

/* store_each calls `fn` for each record of a table in key order; a result
 * other than ERR_OK ends the walk and is returned. */
enum err store_each(struct store *s, enum store_table t,
    enum err (*fn)(void *cookie, struct bytes key, struct bytes value),
    void *cookie);

#endif
