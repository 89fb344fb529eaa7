/* pages: is this file one whole LMDB database?
 *
 * LMDB trusts its file: a cut one is SIGBUS, and a page whose offsets lie is
 * read (or written) out of bounds.  Our file lies on a disk that the host
 * owns, so it is walked with plain reads before LMDB maps it: both meta
 * pages, and every page that the newer one reaches.
 *
 * This is about shape only.  What the values say is sealed, and their order
 * and completeness is for who loads them (kms/cluster/disklog). */
#ifndef NODE_STORE_PAGES_H
#define NODE_STORE_PAGES_H

#include "common/base/buf.h"

/* pages_check walks the file at `path`.
 *
 * ERR_OK       there is none, it is empty, or it is whole
 * ERR_CORRUPT  LMDB must not see it
 * ERR_LIMIT    it is larger than `size_max` bytes
 * ERR_IO, ERR_NOMEM */
enum err pages_check(const char *path, size_t size_max);

#endif
