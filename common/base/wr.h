/* wr: a cursor that writes into the caller's buffer of known size.
 *
 * Once a write does not fit, nothing more is written and wr_ok() is false:
 * write all, then check once.  `len` is what was written so far. */
#ifndef COMMON_BASE_WR_H
#define COMMON_BASE_WR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct wr {
	uint8_t *p; /* borrows */
	size_t cap;
	size_t len;
	bool bad;
};

static inline void
wr_bytes(struct wr *w, const void *in, size_t n)
{
	if (w->bad || w->cap - w->len < n) {
		w->bad = true;
		return;
	}
	if (n > 0)
		memcpy(w->p + w->len, in, n);
	w->len += n;
}

static inline void
wr_str(struct wr *w, const char *s)
{
	wr_bytes(w, s, strlen(s));
}

static inline void
wr_u8(struct wr *w, uint8_t v)
{
	wr_bytes(w, &v, 1);
}

static inline void
wr_be16(struct wr *w, uint16_t v)
{
	wr_bytes(w, (const uint8_t[]){ (uint8_t)(v >> 8), (uint8_t)v }, 2);
}

static inline void
wr_le16(struct wr *w, uint16_t v)
{
	wr_bytes(w, (const uint8_t[]){ (uint8_t)v, (uint8_t)(v >> 8) }, 2);
}

static inline void
wr_be32(struct wr *w, uint32_t v)
{
	wr_be16(w, (uint16_t)(v >> 16));
	wr_be16(w, (uint16_t)v);
}

static inline void
wr_le32(struct wr *w, uint32_t v)
{
	wr_le16(w, (uint16_t)v);
	wr_le16(w, (uint16_t)(v >> 16));
}

static inline void
wr_be64(struct wr *w, uint64_t v)
{
	wr_be32(w, (uint32_t)(v >> 32));
	wr_be32(w, (uint32_t)v);
}

static inline void
wr_le64(struct wr *w, uint64_t v)
{
	wr_le32(w, (uint32_t)v);
	wr_le32(w, (uint32_t)(v >> 32));
}

static inline void
wr_zero(struct wr *w, size_t n)
{
	for (size_t i = 0; i < n; i++)
		wr_u8(w, 0);
}

static inline bool
wr_ok(const struct wr *w)
{
	return !w->bad;
}

#endif
