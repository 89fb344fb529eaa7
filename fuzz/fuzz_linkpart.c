/* Target: links_part_take, the reassembly of a session's messages.
 *
 * The input is a list of items, four bytes each: by how much the number is
 * off, part, parts, and a length.  The parts themselves are made here, since
 * those of a large message are half a MiB each.  A model says which item is
 * the one that must come next: that one is taken, every other is refused, and
 * memory is what has arrived, whatever was announced. */
#include <string.h>

#include "fuzz/must.h"
#include "kms/cluster/links_part.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define ITEMS_MAX 256

static uint8_t item[LINKS_PART_HEAD + LIMIT_LINK_PART + 1];

static size_t
length_of(uint8_t code)
{
	static const size_t edge[] = { 0, LIMIT_LINK_PART - 1, LIMIT_LINK_PART,
		LIMIT_LINK_PART + 1 };

	return code < sizeof edge / sizeof edge[0] ? edge[code] : code;
}

/* A large number for 255, so that announcements can be absurd. */
static uint32_t
count_of(uint8_t code)
{
	return code == 255 ? UINT32_MAX : code;
}

struct model {
	uint64_t number;
	uint32_t part, parts;
	size_t arrived;
};

static bool
is_next(const struct model *m, uint64_t number, uint32_t part, uint32_t parts,
    size_t len)
{
	bool last = part + 1 == parts;

	return number == m->number && part == m->part && part < parts &&
	    parts <= LINKS_PARTS_MAX && (part == 0 || parts == m->parts) &&
	    len > 0 && len <= LIMIT_LINK_PART &&
	    (last || len == LIMIT_LINK_PART);
}

static void
check_taken(struct model *m, uint32_t parts, size_t len, struct bytes message)
{
	m->arrived += len;
	m->parts = parts;
	if (++m->part < parts) {
		must(message.p == NULL && message.len == 0);
		return;
	}
	must(message.p != NULL && message.len == m->arrived);
	must(message.p[message.len - 1] == (uint8_t)(parts - 1));
	must(message.p[0] == 0);
	*m = (struct model){ .number = m->number + 1 };
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct links_parts p = { 0 };
	struct model m = { 0 };

	for (size_t i = 0; i + 4 <= size && i / 4 < ITEMS_MAX; i += 4) {
		struct wr w = { .p = item, .cap = sizeof item };
		uint64_t number = m.number + (uint64_t)(int8_t)data[i];
		uint32_t part = count_of(data[i + 1]);
		uint32_t parts = count_of(data[i + 2]);
		size_t len = length_of(data[i + 3]);
		struct bytes message = { 0 };
		struct buf whole = { 0 };
		enum err e;

		wr_be64(&w, number);
		wr_be32(&w, part);
		wr_be32(&w, parts);
		/* Every byte of a part is the part's number. */
		memset(item + LINKS_PART_HEAD, (int)(part & 0xff), len);
		e = links_part_take(&p, &message, &whole,
		    (struct bytes){ item, LINKS_PART_HEAD + len });
		must((e == ERR_OK) == is_next(&m, number, part, parts, len));
		if (e == ERR_OK)
			check_taken(&m, parts, len, message);
		else
			must(message.p == NULL && whole.p == NULL);
		buf_fini(&whole);
		/* No more than twice what is here (a buffer that grows). */
		must(p.b.len == m.arrived);
		must(p.b.cap <= 2 * m.arrived + 4096);
		/* A session that was refused anything is over. */
		if (e != ERR_OK)
			break;
	}
	links_parts_fini(&p);
	return 0;
}
