/* store: sealed records in LMDB.
 *
 * Every value is XChaCha20-Poly1305 under the platform's sealing key, with
 * associated data (cluster, slot, table, key, and a clear header): a record
 * cannot be moved to another place, node or cluster.  LMDB sees sealed bytes
 * and those headers only.
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
	STORE_LOG = 4, /* raft's entries (kms/cluster/disklog) */
	STORE_SNAPSHOT = 5, /* and its snapshot, in pieces */
};

#define STORE_KEY_MAX 64 /* the name */
#define STORE_CLEAR_MAX 64 /* the header in clear */
#define STORE_VALUE_MAX (256u * 1024)

struct store; /* opaque */

struct store_options {
	const char *dir; /* created if missing, 0700 */
	uint8_t cluster[32]; /* names the cluster */
	const char *slot; /* names the node */
	size_t map_max; /* bytes; the file grows up to it, then ERR_LIMIT */
};

/* store_open checks the file's pages and opens it.  `seal_key` is copied
 * into locked memory.  ERR_CORRUPT: the folder was sealed under another key,
 * cluster or slot, or is damaged; ERR_EXISTS: another process holds it;
 * ERR_LIMIT: it is larger than map_max; ERR_IO. */
enum err store_open(struct store **out, const struct store_options *o,
    const uint8_t seal_key[static 32]);
void store_close(struct store *s); /* NULL is fine */

/* store_discard deletes a closed store that cannot be opened.
 * ERR_EXISTS: it has an owner; ERR_IO. */
enum err store_discard(const struct store_options *o);

/* store_version grows by one with every committed transaction. */
uint64_t store_version(const struct store *s);

/* One write transaction at a time: begin, puts and deletes, commit (one
 * fsync) or abort.  A failed put makes the commit fail.
 *
 * A commit that fails (ERR_LIMIT: map or disk full; ERR_IO) has changed
 * nothing, and the next transaction starts from what was committed before.
 * One exception: if even the last write, of a meta page, failed, the
 * transaction may be in; store_version tells, after the next store_begin.
 *
 * A transaction that begins with a delete may use a sixteenth more than
 * map_max, so that a full store can be emptied. */
enum err store_begin(struct store *s);
enum err store_put(
    struct store *s, enum store_table t, struct bytes key, struct bytes value);
/* The header is on disk as it is, authenticated with the value. */
enum err store_put_clear(struct store *s, enum store_table t, struct bytes key,
    struct bytes clear, struct bytes value);
enum err store_del(struct store *s, enum store_table t, struct bytes key);
/* Keys `from` to `to`, both included, in the order of their bytes; an empty
 * one is the table's beginning or end. */
enum err store_del_range(
    struct store *s, enum store_table t, struct bytes from, struct bytes to);
enum err store_commit(struct store *s);
void store_abort(struct store *s);

/* store_get replaces `out` by the opened value (buf_wipe it).
 * ERR_NOTFOUND, ERR_CORRUPT. */
enum err store_get(
    struct store *s, struct buf *out, enum store_table t, struct bytes key);

/* Reads see the open transaction's own puts and deletes, if there is one. */

struct store_record { /* borrows until fn returns */
	struct bytes key, clear, value;
};
typedef enum err store_fn(void *cookie, const struct store_record *r);

/* store_range calls `fn` for each record from `from` to `to` (as above) in
 * key order, in one read transaction; a result other than ERR_OK ends the
 * walk and is returned.  `fn` must not write. */
enum err store_range(struct store *s, enum store_table t, struct bytes from,
    struct bytes to, store_fn *fn, void *cookie);

/* store_each is store_range over a whole table. */
enum err store_each(struct store *s, enum store_table t,
    enum err (*fn)(void *cookie, struct bytes key, struct bytes value),
    void *cookie);

#endif
