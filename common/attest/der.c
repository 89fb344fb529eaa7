#include "common/attest/der.h"

static size_t
der_len(struct rd *r)
{
	size_t len = rd_u8(r), n = len - 0x80;

	if (len < 0x80)
		return len;
	/* Two or three bytes are 64 KiB or 16 MiB: beyond every limit. */
	if (n < 1 || n > 3) {
		r->bad = true;
		return 0;
	}
	len = 0;
	for (size_t i = 0; i < n; i++)
		len = len << 8 | rd_u8(r);
	/* A shorter form exists. */
	r->bad |= len < 0x80 || len >> (8 * (n - 1)) == 0;
	return len;
}

uint8_t
der_any(struct rd *r, struct rd *inner)
{
	uint8_t tag = rd_u8(r);
	size_t len = der_len(r);

	r->bad |= (tag & 0x1f) == 0x1f; /* long tags: none here */
	inner->p = rd_bytes(r, len);
	inner->left = inner->p != NULL ? len : 0;
	inner->bad = r->bad;
	return tag;
}

struct rd
der_get(struct rd *r, uint8_t tag)
{
	struct rd inner;

	if (der_any(r, &inner) != tag)
		r->bad = inner.bad = true;
	return inner;
}
