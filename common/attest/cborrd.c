/* cborrd: the one file that includes libcbor. */
#include <cbor.h>

#include "common/attest/cborrd.h"

#define BREAK 0xff
/* Tags 0 to 23, in one byte.  libcbor before 0.9 refuses most of them as
 * unassigned, 18 among them, so they are read here. */
#define TAG_SHORT_FIRST 0xc0
#define TAG_SHORT_LAST 0xd7

static void
on_number(struct cborrd_item *it, enum cborrd_type type, uint64_t n)
{
	it->type = type;
	it->n = n;
}

/* One callback for each width: libcbor tells them apart, we do not. */
#define NUMBER(name, width, type) \
	static void name(void *it, uint##width##_t n) \
	{ \
		on_number(it, type, n); \
	}
NUMBER(on_uint8, 8, CBORRD_UINT)
NUMBER(on_uint16, 16, CBORRD_UINT)
NUMBER(on_uint32, 32, CBORRD_UINT)
NUMBER(on_uint64, 64, CBORRD_UINT)
NUMBER(on_neg8, 8, CBORRD_NEGINT)
NUMBER(on_neg16, 16, CBORRD_NEGINT)
NUMBER(on_neg32, 32, CBORRD_NEGINT)
NUMBER(on_neg64, 64, CBORRD_NEGINT)
NUMBER(on_tag, 64, CBORRD_TAG)

static void
on_array(void *it, size_t n)
{
	on_number(it, CBORRD_ARRAY, n);
}

static void
on_map(void *it, size_t n)
{
	on_number(it, CBORRD_MAP, n);
}

static void
on_indef_array(void *ctx)
{
	struct cborrd_item *it = ctx;

	it->type = CBORRD_ARRAY;
	it->indefinite = true;
}

static void
on_indef_map(void *ctx)
{
	struct cborrd_item *it = ctx;

	it->type = CBORRD_MAP;
	it->indefinite = true;
}

static void
on_string(struct cborrd_item *it, enum cborrd_type type, cbor_data p, size_t n)
{
	it->type = type;
	it->n = n;
	it->str = (struct bytes){ p, n };
}

static void
on_bytes(void *it, cbor_data p, size_t n)
{
	on_string(it, CBORRD_BYTES, p, n);
}

static void
on_text(void *it, cbor_data p, size_t n)
{
	on_string(it, CBORRD_TEXT, p, n);
}

static void
on_null(void *it)
{
	on_number(it, CBORRD_NULL, 0);
}

static void
on_break(void *it)
{
	on_number(it, CBORRD_BREAK, 0);
}

static void
on_other(void *it)
{
	on_number(it, CBORRD_OTHER, 0);
}

static void
on_bool(void *it, bool b)
{
	(void)b;
	on_other(it);
}

static void
on_float(void *it, float f)
{
	(void)f;
	on_other(it);
}

static void
on_double(void *it, double d)
{
	(void)d;
	on_other(it);
}

static const struct cbor_callbacks callbacks = {
	.uint8 = on_uint8,
	.uint16 = on_uint16,
	.uint32 = on_uint32,
	.uint64 = on_uint64,
	.negint8 = on_neg8,
	.negint16 = on_neg16,
	.negint32 = on_neg32,
	.negint64 = on_neg64,
	.byte_string_start = on_other,
	.byte_string = on_bytes,
	.string_start = on_other,
	.string = on_text,
	.indef_array_start = on_indef_array,
	.array_start = on_array,
	.indef_map_start = on_indef_map,
	.map_start = on_map,
	.tag = on_tag,
	.float2 = on_float,
	.float4 = on_float,
	.float8 = on_double,
	.undefined = on_other,
	.null = on_null,
	.boolean = on_bool,
	.indef_break = on_break,
};

/* Bytes of a head whose argument is `n` (RFC 8949 3). */
static size_t
head_len(uint64_t n)
{
	if (n < 24)
		return 1;
	if (n <= UINT8_MAX)
		return 2;
	if (n <= UINT16_MAX)
		return 3;
	return n <= UINT32_MAX ? 5 : 9;
}

static bool
shortest(const struct cborrd_item *it, size_t read)
{
	switch (it->type) {
	case CBORRD_UINT:
	case CBORRD_NEGINT:
	case CBORRD_TAG:
		return read == head_len(it->n);
	case CBORRD_BYTES:
	case CBORRD_TEXT:
		return read - it->str.len == head_len(it->n);
	case CBORRD_ARRAY:
	case CBORRD_MAP:
		return it->indefinite || read == head_len(it->n);
	case CBORRD_BAD:
		return false;
	case CBORRD_NULL:
	case CBORRD_BREAK:
	case CBORRD_OTHER:
		return true;
	}
	return false;
}

struct cborrd_item
cborrd_next(struct cborrd *r)
{
	struct cborrd_item it = { 0 };
	struct cbor_decoder_result d;

	if (r->bad)
		return it;
	if (r->left == 0) {
		r->bad = r->truncated = true;
		return it;
	}
	if (r->p[0] >= TAG_SHORT_FIRST && r->p[0] <= TAG_SHORT_LAST) {
		on_tag(&it, r->p[0] - TAG_SHORT_FIRST);
		r->p++;
		r->left--;
		return it;
	}
	d = cbor_stream_decode(r->p, r->left, &callbacks, &it);
	if (d.status != CBOR_DECODER_FINISHED || d.read > r->left ||
	    !shortest(&it, d.read)) {
		r->bad = true;
		r->truncated = d.status == CBOR_DECODER_NEDATA;
		return (struct cborrd_item){ 0 };
	}
	r->p += d.read;
	r->left -= d.read;
	return it;
}

struct cborrd_list
cborrd_open(struct cborrd *r, enum cborrd_type want)
{
	struct cborrd_item it = cborrd_next(r);

	if (it.type != want) {
		r->bad = true;
		return (struct cborrd_list){ 0 };
	}
	return (struct cborrd_list){ it.indefinite, it.n };
}

bool
cborrd_more(struct cborrd *r, struct cborrd_list *l)
{
	if (r->bad)
		return false;
	if (!l->indefinite)
		return l->n > 0 && l->n-- > 0;
	if (r->left == 0) {
		r->bad = r->truncated = true;
		return false;
	}
	if (r->p[0] != BREAK)
		return true;
	r->p++;
	r->left--;
	return false;
}
