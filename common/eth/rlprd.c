#include <string.h>

#include "common/base/planted.h"
#include "common/eth/rlprd.h"

/* Appendix B: the first byte tells the kind and either the length or, above
 * 55, in how many bytes the length follows. */
#define SHORT_MAX 55u
#define STR_BASE 0x80u
#define LIST_BASE 0xc0u
/* Bytes of a length: nothing that is read here needs a fifth. */
#define LENGTH_MAX 4u

/* A length that did not fit into the first byte, and so is above 55. */
static size_t
long_length(struct rd *r, size_t n)
{
	const uint8_t *p = n <= LENGTH_MAX ? rd_bytes(r, n) : NULL;
	size_t len = 0;

	if (p == NULL || p[0] == 0) {
		r->bad = true;
		return 0;
	}
	for (size_t i = 0; i < n; i++)
		len = len << 8 | p[i];
	if (len <= SHORT_MAX)
		r->bad = true;
	return len;
}

struct rlprd_item
rlprd_item(struct rd *r)
{
	const uint8_t *start = r->p, *p;
	struct rlprd_item it = { .is_list = false };
	uint8_t head = rd_u8(r);
	size_t len;

	if (r->bad)
		return it;
	if (head < STR_BASE) {
		it.body = it.whole = (struct bytes){ start, 1 };
		return it;
	}
	it.is_list = head >= LIST_BASE;
	len = head - (it.is_list ? LIST_BASE : STR_BASE);
	if (len > SHORT_MAX)
		len = long_length(r, len - SHORT_MAX);
	p = rd_bytes(r, len);
	/* One small byte is written without a head. */
	if (p != NULL && !it.is_list && len == 1 && p[0] < STR_BASE)
		r->bad = true;
	if (r->bad)
		return (struct rlprd_item){ .is_list = false };
	it.body = (struct bytes){ p, len };
	it.whole = (struct bytes){ start, (size_t)(r->p - start) };
	return it;
}

struct bytes
rlprd_str(struct rd *r)
{
	struct rlprd_item it = rlprd_item(r);

	if (it.is_list)
		r->bad = true;
	return r->bad ? (struct bytes){ NULL, 0 } : it.body;
}

const uint8_t *
rlprd_fixed(struct rd *r, size_t len)
{
	struct bytes s = rlprd_str(r);

	if (s.len != len)
		r->bad = true;
	return r->bad ? NULL : s.p;
}

struct rd
rlprd_list(struct rd *r)
{
	struct rlprd_item it = rlprd_item(r);

	if (!it.is_list)
		r->bad = true;
	if (r->bad)
		return (struct rd){ .bad = true };
	return (struct rd){ .p = it.body.p, .left = it.body.len };
}

uint64_t
rlprd_u64(struct rd *r)
{
	struct bytes s = rlprd_str(r);
	uint64_t v = 0;

	if ((s.len > 8 && !PLANTED(6)) || (s.len > 0 && s.p[0] == 0))
		r->bad = true;
	if (r->bad)
		return 0;
	for (size_t i = 0; i < s.len; i++)
		v = v << 8 | s.p[i];
	return v;
}

void
rlprd_u256(struct rd *r, uint8_t out[static 32])
{
	struct bytes s = rlprd_str(r);

	if (s.len > 32 || (s.len > 0 && s.p[0] == 0))
		r->bad = true;
	if (r->bad)
		return;
	memset(out, 0, 32);
	if (s.len > 0)
		memcpy(out + 32 - s.len, s.p, s.len);
}
