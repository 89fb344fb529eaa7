#include <assert.h>

#include "common/base/planted.h"
#include "common/base/rd.h"
#include "kms/cluster/links_part.h"

static_assert(LIMIT_LINK_MESSAGE % LIMIT_LINK_PART == 0, "whole parts");

uint32_t
links_part_count(size_t len)
{
	assert(len > 0 && len <= LIMIT_LINK_MESSAGE);
	return (uint32_t)((len + LIMIT_LINK_PART - 1) / LIMIT_LINK_PART);
}

void
links_part_write(
    struct wr *w, uint64_t number, uint32_t part, struct bytes message)
{
	uint32_t parts = links_part_count(message.len);
	size_t at = (size_t)part * LIMIT_LINK_PART;
	size_t left = message.len - at;

	assert(part < parts);
	wr_be64(w, number);
	wr_be32(w, part);
	wr_be32(w, parts);
	wr_bytes(
	    w, message.p + at, left < LIMIT_LINK_PART ? left : LIMIT_LINK_PART);
}

enum err
links_part_take(struct links_parts *p, struct bytes *message, struct buf *whole,
    struct bytes item)
{
	struct rd r = { .p = item.p, .left = item.len };
	uint64_t number = rd_be64(&r);
	uint32_t part = rd_be32(&r);
	uint32_t parts = rd_be32(&r);
	enum err e;

	if (r.bad || r.left == 0 || r.left > LIMIT_LINK_PART || parts == 0 ||
	    parts > LINKS_PARTS_MAX || (number != p->number && !PLANTED(10)) ||
	    part != p->part || part >= parts ||
	    (part > 0 && parts != p->parts) ||
	    (part + 1 < parts && r.left != LIMIT_LINK_PART))
		return ERR_MALFORMED;
	if (parts == 1) {
		p->number++;
		*message = (struct bytes){ r.p, r.left };
		return ERR_OK;
	}
	/* Memory grows with what is here, not with what is announced. */
	e = buf_append(&p->b, r.p, r.left, LIMIT_LINK_MESSAGE);
	if (e != ERR_OK)
		return e;
	p->parts = parts;
	if (++p->part < parts) {
		*message = (struct bytes){ NULL, 0 };
		return ERR_OK;
	}
	*whole = p->b;
	p->b = (struct buf){ 0 };
	p->part = 0;
	p->number++;
	*message = buf_view(whole);
	return ERR_OK;
}

void
links_parts_fini(struct links_parts *p)
{
	buf_fini(&p->b);
}
