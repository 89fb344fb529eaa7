#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "common/base/buf.h"
#include "common/base/memfail.h"

#define PRINTF_MAX (16u << 20)

enum err
buf_reserve(struct buf *b, size_t cap)
{
	size_t want;
	uint8_t *p;

	if (b->p != NULL && cap <= b->cap)
		return ERR_OK;
	if (cap > SIZE_MAX / 4)
		return ERR_LIMIT;
	want = b->cap * 2 > cap ? b->cap * 2 : cap;
	if (want < 64)
		want = 64;
	if ((p = realloc(b->p, want + 1)) == NULL)
		return memfail_note();
	b->p = p;
	b->cap = want;
	b->p[b->len] = 0;
	return ERR_OK;
}

enum err
buf_append(struct buf *b, const void *in, size_t len, size_t max)
{
	enum err e;

	if (b->len > max || max - b->len < len)
		return ERR_LIMIT;
	if ((e = buf_reserve(b, b->len + len)) != ERR_OK)
		return e;
	if (len > 0)
		memcpy(b->p + b->len, in, len);
	b->len += len;
	b->p[b->len] = 0;
	return ERR_OK;
}

enum err
buf_set(struct buf *b, const void *in, size_t len)
{
	b->len = 0;
	return buf_append(b, in, len, SIZE_MAX);
}

enum err
buf_printf(struct buf *b, const char *fmt, ...)
{
	va_list ap;
	enum err e;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (n < 0 || (size_t)n > PRINTF_MAX || b->len > PRINTF_MAX)
		return ERR_LIMIT;
	if ((e = buf_reserve(b, b->len + (size_t)n)) != ERR_OK)
		return e;
	va_start(ap, fmt);
	(void)vsnprintf((char *)b->p + b->len, (size_t)n + 1, fmt, ap);
	va_end(ap);
	b->len += (size_t)n;
	return ERR_OK;
}

void
buf_fini(struct buf *b)
{
	free(b->p);
	*b = (struct buf){ 0 };
}

void
buf_wipe(struct buf *b)
{
	if (b->p != NULL)
		sodium_memzero(b->p, b->cap + 1);
	buf_fini(b);
}
