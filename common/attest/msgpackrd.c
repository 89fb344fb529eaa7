#include <string.h>

#include "common/attest/msgpackrd.h"

#define NAME_MAX_LEN 32u

enum type { BAD, NIL, BOOL, UINT, STR, BIN, ARRAY, MAP };

struct head {
	enum type type;
	uint64_t n; /* the number; bytes, items or pairs that follow */
};

/* A big-endian number of 1, 2, 4 or 8 bytes. */
static uint64_t
number(struct rd *r, unsigned log2_len)
{
	switch (log2_len) {
	case 0:
		return rd_u8(r);
	case 1:
		return rd_be16(r);
	case 2:
		return rd_be32(r);
	default:
		return rd_be64(r);
	}
}

static struct head
head(struct rd *r)
{
	uint8_t b = rd_u8(r);
	struct head h = { .type = BAD };

	if (r->bad)
		return h;
	if (b < 0x80)
		h = (struct head){ UINT, b };
	else if (b < 0x90)
		h = (struct head){ MAP, b & 0x0fu };
	else if (b < 0xa0)
		h = (struct head){ ARRAY, b & 0x0fu };
	else if (b < 0xc0)
		h = (struct head){ STR, b & 0x1fu };
	else if (b == 0xc0)
		h.type = NIL;
	else if (b == 0xc2 || b == 0xc3)
		h.type = BOOL;
	else if (b >= 0xc4 && b <= 0xc6)
		h = (struct head){ BIN, number(r, b - 0xc4u) };
	else if (b >= 0xcc && b <= 0xcf)
		h = (struct head){ UINT, number(r, b - 0xccu) };
	else if (b >= 0xd9 && b <= 0xdb)
		h = (struct head){ STR, number(r, b - 0xd9u) };
	else if (b == 0xdc || b == 0xdd)
		h = (struct head){ ARRAY, number(r, b - 0xdbu) };
	else if (b == 0xde || b == 0xdf)
		h = (struct head){ MAP, number(r, b - 0xddu) };
	if (h.type == BAD)
		r->bad = true;
	if (r->bad)
		return (struct head){ .type = BAD };
	return h;
}

/* The number of a head of type `want`. */
static uint64_t
head_of(struct rd *r, enum type want, uint64_t max)
{
	struct head h = head(r);

	if (h.type != want || h.n > max)
		r->bad = true;
	return r->bad ? 0 : h.n;
}

uint64_t
msgpackrd_uint(struct rd *r, uint64_t max)
{
	return head_of(r, UINT, max);
}

struct bytes
msgpackrd_text(struct rd *r, size_t max)
{
	struct bytes b = { .len = (size_t)head_of(r, STR, max) };

	b.p = rd_bytes(r, b.len);
	return b.p != NULL ? b : (struct bytes){ 0 };
}

size_t
msgpackrd_array(struct rd *r, size_t max)
{
	return (size_t)head_of(r, ARRAY, max);
}

void
msgpackrd_bytes(struct rd *r, struct buf *out, size_t max)
{
	struct head h = head(r);
	const uint8_t *p;

	if ((h.type != BIN && h.type != ARRAY) || h.n > max) {
		r->bad = true;
		return;
	}
	if (h.type == BIN) {
		p = rd_bytes(r, (size_t)h.n);
		if (p != NULL &&
		    buf_append(out, p, (size_t)h.n, SIZE_MAX) != ERR_OK)
			r->bad = true;
		return;
	}
	for (uint64_t i = 0; !r->bad && i < h.n; i++) {
		uint8_t b = (uint8_t)msgpackrd_uint(r, UINT8_MAX);

		if (!r->bad && buf_append(out, &b, 1, SIZE_MAX) != ERR_OK)
			r->bad = true;
	}
}

/* One value of any kind.  Each item has a byte at least, so what a head claims
 * beyond the input ends with it. */
static void
skip(struct rd *r, unsigned depth)
{
	struct head h = head(r);

	switch (h.type) {
	case BAD:
	case NIL:
	case BOOL:
	case UINT:
		break;
	case STR:
	case BIN:
		(void)rd_bytes(r, (size_t)h.n);
		break;
	case ARRAY:
	case MAP:
		if (depth == 0) {
			r->bad = true;
			break;
		}
		for (uint64_t i = 0; !r->bad && i < h.n; i++) {
			if (h.type == MAP)
				(void)msgpackrd_text(r, NAME_MAX_LEN);
			skip(r, depth - 1);
		}
		break;
	}
}

static struct msgpackrd_member *
find(struct msgpackrd_member *m, size_t n, struct bytes name)
{
	for (size_t i = 0; i < n; i++)
		if (strlen(m[i].name) == name.len &&
		    memcmp(m[i].name, name.p, name.len) == 0)
			return &m[i];
	return NULL;
}

void
msgpackrd_map(struct rd *r, struct msgpackrd_member *m, size_t n)
{
	uint64_t pairs = head_of(r, MAP, n);

	for (size_t i = 0; i < n; i++)
		m[i].seen = false;
	for (uint64_t i = 0; !r->bad && i < pairs; i++) {
		struct bytes name = msgpackrd_text(r, NAME_MAX_LEN);
		struct msgpackrd_member *x;

		if (r->bad)
			return;
		x = find(m, n, name);
		if (x == NULL || x->seen) {
			r->bad = true;
			return;
		}
		x->seen = true;
		x->at = *r;
		skip(r, MSGPACKRD_DEPTH_MAX);
		x->at.left -= r->left;
	}
	for (size_t i = 0; i < n; i++) {
		/* After all of them: "seen" says also what was there twice. */
		if (m[i].seen && m[i].optional && m[i].at.left == 1 &&
		    m[i].at.p[0] == 0xc0)
			m[i].seen = false;
		if (!m[i].seen && !m[i].optional)
			r->bad = true;
	}
}
