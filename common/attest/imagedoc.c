#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <cbor.h>

#include "common/attest/imagedoc.h"
#include "common/base/rd.h"

/* Everything described is below 2 GiB: dstack-compat.md 3.7 step 5. */
#define PAGES_MAX (0x80000000u / 4096)
#define MAP_MAX 8

static void
seen_other(void *bad)
{
	*(bool *)bad = true;
}

static void
seen_size(void *bad, size_t n)
{
	if (n > MAP_MAX)
		*(bool *)bad = true;
}

static void
seen_array(void *bad, size_t n)
{
	(void)n;
	*(bool *)bad = true;
}

static void
seen_tag(void *bad, uint64_t tag)
{
	(void)tag;
	*(bool *)bad = true;
}

/* libcbor allocates what a header declares before it has seen the content,
 * so headers are looked at first: no arrays, no tags, only small maps. */
static bool
headers_ok(struct bytes in)
{
	struct cbor_callbacks cb = cbor_empty_callbacks;
	bool bad = false;

	cb.array_start = seen_array;
	cb.indef_array_start = seen_other;
	cb.byte_string_start = seen_other;
	cb.string_start = seen_other;
	cb.tag = seen_tag;
	cb.map_start = seen_size;
	while (in.len > 0 && !bad) {
		struct cbor_decoder_result r =
		    cbor_stream_decode(in.p, in.len, &cb, &bad);

		if (r.status != CBOR_DECODER_FINISHED || r.read == 0 ||
		    r.read > in.len)
			return false;
		in.p += r.read;
		in.len -= r.read;
	}
	return !bad;
}

static bool
text_is(const cbor_item_t *v, const char *text)
{
	size_t n = strlen(text);

	return cbor_isa_string(v) && cbor_string_is_definite(v) &&
	    cbor_string_length(v) == n &&
	    memcmp(cbor_string_handle(v), text, n) == 0;
}

/* Reads a map that has exactly the `n` members named, in any order. */
static bool
members(cbor_item_t **out, const cbor_item_t *map, const char *const *name,
    size_t n)
{
	struct cbor_pair *pair;

	if (!cbor_isa_map(map) || cbor_map_size(map) != n)
		return false;
	pair = cbor_map_handle(map);
	memset(out, 0, n * sizeof *out);
	for (size_t i = 0; i < n; i++) {
		size_t k = 0;

		while (k < n && !text_is(pair[i].key, name[k]))
			k++;
		if (k == n || out[k] != NULL)
			return false;
		out[k] = pair[i].value;
	}
	return true;
}

static bool
bytes48(uint8_t out[static 48], const cbor_item_t *v)
{
	if (!cbor_isa_bytestring(v) || !cbor_bytestring_is_definite(v) ||
	    cbor_bytestring_length(v) != 48)
		return false;
	memcpy(out, cbor_bytestring_handle(v), 48);
	return true;
}

/* LEB128, shortest form, at most PAGES_MAX; poisons the cursor otherwise. */
static uint64_t
varint(struct rd *r)
{
	uint64_t v = 0;

	for (unsigned shift = 0; shift < 21; shift += 7) {
		uint8_t c = rd_u8(r);

		v |= (uint64_t)(c & 0x7f) << shift;
		if ((c & 0x80) == 0) {
			if ((c == 0 && shift > 0) || v > PAGES_MAX)
				break;
			return v;
		}
	}
	r->bad = true;
	return 0;
}

static int
by_start(const void *a, const void *b)
{
	const struct image_range *x = a, *y = b;

	return (x->start > y->start) - (x->start < y->start);
}

/* base_page, hob_page_delta, n, n x (start_delta, page_count). */
static bool
parse_hob(struct image_doc *d, const cbor_item_t *v)
{
	struct rd r = { 0 };
	uint64_t base, n;

	if (!cbor_isa_bytestring(v) || !cbor_bytestring_is_definite(v))
		return false;
	r.p = cbor_bytestring_handle(v);
	r.left = cbor_bytestring_length(v);
	base = varint(&r);
	d->hob_addr = (base + varint(&r)) * 4096;
	n = varint(&r);
	if (r.bad || n > IMAGE_DOC_RANGES)
		return false;
	for (d->n_ranges = 0; d->n_ranges < n; d->n_ranges++) {
		uint64_t start = base + varint(&r), count = varint(&r);

		/* The last page stays free: the HOB list ends in a range
		 * that is not accepted. */
		if (count == 0 || start + count >= PAGES_MAX)
			return false;
		d->range[d->n_ranges] = (struct image_range){ start * 4096,
			(start + count) * 4096 };
	}
	if (!rd_done(&r))
		return false;
	qsort(d->range, d->n_ranges, sizeof d->range[0], by_start);
	for (size_t i = 1; i < d->n_ranges; i++)
		if (d->range[i].start < d->range[i - 1].end)
			return false;
	return true;
}

/* Fills `d` from the document's items; returns what is wrong or NULL. */
static const char *
fill(struct image_doc *d, const cbor_item_t *root)
{
	static const char *const top[] = { "version", "image", "tdvf" };
	static const char *const image[] = { "cmdline_sha384",
		"kernel_authenticode", "initrd_sha384" };
	static const char *const tdvf[] = { "ovmf", "mrtd", "td_hob" };
	static const char *const mrtd[] = { "single_pass", "two_pass" };
	cbor_item_t *t[3], *m[3];

	if (!members(t, root, top, 3))
		return "members of the document";
	if (!cbor_isa_uint(t[0]) || cbor_get_int(t[0]) != 3)
		return "version";
	if (!members(m, t[1], image, 3) || !bytes48(d->cmdline_sha384, m[0]) ||
	    !bytes48(d->kernel_authenticode, m[1]) ||
	    !bytes48(d->initrd_sha384, m[2]))
		return "image";
	if (!members(t, t[2], tdvf, 3))
		return "tdvf";
	if (!text_is(t[0], "pre202505"))
		return "tdvf.ovmf";
	if (!members(m, t[1], mrtd, 2) || !bytes48(d->mrtd_single_pass, m[0]) ||
	    !bytes48(d->mrtd_two_pass, m[1]))
		return "tdvf.mrtd";
	return parse_hob(d, t[2]) ? NULL : "tdvf.td_hob";
}

enum err
image_doc_parse(struct image_doc *out, const char **what, struct bytes in)
{
	struct image_doc d = { 0 };
	struct cbor_load_result res;
	cbor_item_t *root = NULL;

	*what = "not one small CBOR map";
	if (in.len == 0 || in.len > IMAGE_DOC_MAX || !headers_ok(in))
		return ERR_MALFORMED;
	root = cbor_load(in.p, in.len, &res);
	if (root != NULL && res.read == in.len)
		*what = fill(&d, root);
	if (root != NULL)
		cbor_decref(&root);
	if (*what != NULL)
		return ERR_MALFORMED;
	*out = d;
	return ERR_OK;
}
