#include "common/eth/rlp.h"
#include "common/base/wr.h"

/* Appendix B: up to 55 bytes the length is in the first byte, above that
 * its big-endian bytes follow. */
#define SHORT_MAX 55u
#define STR_BASE 0x80u
#define LIST_BASE 0xc0u

static void
put(struct rlp *r, const void *p, size_t len)
{
	if (r->err == ERR_OK)
		r->err = buf_append(&r->out, p, len, r->max);
}

static size_t
be_stripped(const uint8_t **p, const uint8_t *be, size_t len)
{
	while (len > 0 && *be == 0) {
		be++;
		len--;
	}
	*p = be;
	return len;
}

static void
be64(uint8_t out[static 8], uint64_t v)
{
	struct wr w = { .p = out, .cap = 8 };

	wr_be64(&w, v);
}

static void
put_head(struct rlp *r, unsigned base, size_t len)
{
	uint8_t be[8], head[9];
	const uint8_t *p;
	size_t n;

	if (len <= SHORT_MAX) {
		head[0] = (uint8_t)(base + len);
		put(r, head, 1);
		return;
	}
	be64(be, len);
	n = be_stripped(&p, be, sizeof be);
	head[0] = (uint8_t)(base + SHORT_MAX + n);
	put(r, head, 1);
	put(r, p, n);
}

void
rlp_str(struct rlp *r, const void *p, size_t len)
{
	/* A single byte below 0x80 is its own encoding. */
	if (len != 1 || *(const uint8_t *)p >= STR_BASE)
		put_head(r, STR_BASE, len);
	put(r, p, len);
}

void
rlp_uint(struct rlp *r, const uint8_t *be, size_t len)
{
	const uint8_t *p;
	size_t n = be_stripped(&p, be, len);

	rlp_str(r, p, n);
}

void
rlp_u64(struct rlp *r, uint64_t v)
{
	uint8_t be[8];

	be64(be, v);
	rlp_uint(r, be, sizeof be);
}

void
rlp_list(struct rlp *r, const struct rlp *inner)
{
	if (r->err == ERR_OK)
		r->err = inner->err;
	put_head(r, LIST_BASE, inner->out.len);
	put(r, inner->out.p, inner->out.len);
}

void
rlp_fini(struct rlp *r)
{
	buf_fini(&r->out);
}
