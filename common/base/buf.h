/* buf: bytes on the heap that grow up to a limit, and a borrowed view.
 *
 * A zeroed `struct buf` is empty and valid.  It owns its memory; buf_fini
 * frees it and leaves it empty.  buf_wipe zeroes the bytes first: use it
 * for anything that has held a secret (growth by buf_append may leave
 * copies behind, so reserve such buffers at full size first). */
#ifndef COMMON_BASE_BUF_H
#define COMMON_BASE_BUF_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/err.h"

struct bytes {
	const uint8_t *p; /* borrows */
	size_t len;
};

/* Views of a string literal (without its NUL) and of an array. */
#define BYTES_STR(s) ((struct bytes){ (const uint8_t *)(s), sizeof(s) - 1 })
#define BYTES_OF(a) ((struct bytes){ (const uint8_t *)(a), sizeof(a) })

struct buf {
	uint8_t *p; /* owns; has one NUL byte behind `len` when not NULL */
	size_t len;
	size_t cap;
};

/* buf_append adds `len` bytes; ERR_LIMIT if the sum would exceed `max`.
 * After any success `p[len]` is NUL, so text can be read as a string. */
enum err buf_append(struct buf *b, const void *in, size_t len, size_t max);

/* buf_reserve makes room for `cap` bytes in all. */
enum err buf_reserve(struct buf *b, size_t cap);

/* buf_set replaces the content by a copy of the bytes. */
enum err buf_set(struct buf *b, const void *in, size_t len);

/* buf_printf appends formatted text; ERR_LIMIT above 16 MiB in all. */
enum err buf_printf(struct buf *b, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

static inline struct bytes
buf_view(const struct buf *b)
{
	return (struct bytes){ b->p, b->len };
}

void buf_fini(struct buf *b);
void buf_wipe(struct buf *b);

#endif
