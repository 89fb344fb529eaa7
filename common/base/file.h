/* file: whole files, bounded, written so that a crash leaves old or new. */
#ifndef COMMON_BASE_FILE_H
#define COMMON_BASE_FILE_H

#include <sys/types.h>

#include "common/base/buf.h"

/* file_read replaces `out` by the content of `path`.
 * ERR_NOTFOUND, ERR_LIMIT (over `max` bytes), ERR_IO. */
enum err file_read(struct buf *out, const char *path, size_t max);

/* file_write writes a temporary beside `path`, syncs and renames it. */
enum err file_write(const char *path, const void *p, size_t len, mode_t mode);

/* file_mkdirs creates `path` and missing parents, mode 0700. */
enum err file_mkdirs(const char *path);

/* file_join writes "dir/name" to (out, cap); ERR_LIMIT if it does not fit. */
enum err file_join(char *out, size_t cap, const char *dir, const char *name);

#endif
