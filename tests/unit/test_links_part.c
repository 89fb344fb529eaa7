#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "kms/cluster/links_part.h"

#define PART LIMIT_LINK_PART

static uint8_t bytes[3 * PART];
static uint8_t item[LINKS_PART_HEAD + PART + 1];
static struct links_parts rx;
static struct bytes message;
static struct buf whole;

static void
setup(void)
{
	for (size_t i = 0; i < sizeof bytes; i++)
		bytes[i] = (uint8_t)(i * 7 + (i >> 13));
}

static void
teardown(void)
{
	links_parts_fini(&rx);
	buf_fini(&whole);
}

TestSuite(links_part, .init = setup, .fini = teardown);

/* Gives an item with any head and `len` bytes. */
static enum err
give(uint64_t number, uint32_t part, uint32_t parts, size_t len)
{
	struct wr w = { .p = item, .cap = sizeof item };

	wr_be64(&w, number);
	wr_be32(&w, part);
	wr_be32(&w, parts);
	wr_bytes(&w, bytes, len);
	cr_assert(wr_ok(&w));
	return links_part_take(
	    &rx, &message, &whole, (struct bytes){ item, w.len });
}

/* What is shorter than a head, or empty, or longer than a part, is refused. */
Test(links_part, sizes)
{
	for (size_t n = 0; n <= LINKS_PART_HEAD; n++) {
		uint8_t *p = calloc(1, n + 1);

		p[n > 0 ? n - 1 : 0] = 1;
		cr_assert_eq(links_part_take(
				 &rx, &message, &whole, (struct bytes){ p, n }),
		    ERR_MALFORMED);
		free(p);
	}
	cr_assert_eq(give(0, 0, 1, 0), ERR_MALFORMED);
	cr_assert_eq(give(0, 0, 1, PART + 1), ERR_MALFORMED);
	cr_assert_eq(give(0, 0, 1, PART), ERR_OK);
	cr_assert_eq(message.len, PART);
	cr_assert_eq(give(1, 0, 1, 1), ERR_OK);
	cr_assert_eq(message.len, 1);
	cr_assert_null(whole.p);
}

/* Heads that no sender writes: no parts, too many, a part beyond the end. */
Test(links_part, heads)
{
	cr_assert_eq(give(0, 0, 0, 1), ERR_MALFORMED);
	cr_assert_eq(give(0, 1, 1, 1), ERR_MALFORMED);
	cr_assert_eq(give(0, 1, 0, 1), ERR_MALFORMED);
	cr_assert_eq(give(0, UINT32_MAX, 1, 1), ERR_MALFORMED);
	cr_assert_eq(give(0, 0, LINKS_PARTS_MAX + 1, PART), ERR_MALFORMED);
	cr_assert_eq(give(0, 0, UINT32_MAX, PART), ERR_MALFORMED);
	cr_assert_eq(rx.b.cap, 0);
	/* The largest claim costs no more than what came with it. */
	cr_assert_eq(give(0, 0, LINKS_PARTS_MAX, PART), ERR_OK);
	cr_assert_null(message.p);
	cr_assert_leq(rx.b.cap, 2 * PART);
}

/* Only the next number is taken: none is left out, repeated or early. */
Test(links_part, numbers)
{
	cr_assert_eq(give(1, 0, 1, 9), ERR_MALFORMED);
	cr_assert_eq(give(UINT64_MAX, 0, 1, 9), ERR_MALFORMED);
	cr_assert_eq(give(0, 0, 1, 9), ERR_OK);
	cr_assert_eq(give(0, 0, 1, 9), ERR_MALFORMED);
	cr_assert_eq(give(2, 0, 1, 9), ERR_MALFORMED);
	cr_assert_eq(give(1, 0, 1, 9), ERR_OK);
}

/* Parts come in order, each once, all of one message, full but for the
 * last. */
Test(links_part, parts)
{
	cr_assert_eq(give(0, 1, 3, PART), ERR_MALFORMED); /* not the first */
	cr_assert_eq(give(0, 0, 3, PART - 1), ERR_MALFORMED); /* not full */
	cr_assert_eq(give(0, 0, 3, PART), ERR_OK);
	cr_assert_null(message.p);
	cr_assert_eq(give(0, 0, 3, PART), ERR_MALFORMED); /* again */
	cr_assert_eq(give(0, 2, 3, PART), ERR_MALFORMED); /* left out */
	cr_assert_eq(give(0, 1, 4, PART), ERR_MALFORMED); /* grows */
	cr_assert_eq(give(0, 1, 2, PART), ERR_MALFORMED); /* shrinks */
	cr_assert_eq(give(1, 1, 3, PART), ERR_MALFORMED); /* another's */
	cr_assert_eq(give(1, 0, 1, 5), ERR_MALFORMED); /* in between */
	cr_assert_eq(give(0, 0, 1, 5), ERR_MALFORMED);
	cr_assert_eq(give(0, 1, 3, 5), ERR_MALFORMED); /* not full */
	cr_assert_eq(give(0, 1, 3, PART), ERR_OK);
	cr_assert_null(message.p);
	cr_assert_eq(give(0, 2, 3, 0), ERR_MALFORMED);
	cr_assert_eq(give(0, 2, 3, 5), ERR_OK);
	cr_assert_eq(message.len, 2 * PART + 5);
	cr_assert_eq(message.p, whole.p);
	cr_assert_eq(give(1, 0, 1, 5), ERR_OK); /* the next one */
}

/* What is written is taken, for every length around the borders. */
Test(links_part, round_trip)
{
	static const size_t len[] = { 1, 2, PART - 1, PART, PART + 1,
		2 * PART - 1, 2 * PART, 2 * PART + 1, 3 * PART };

	for (size_t i = 0; i < sizeof len / sizeof len[0]; i++) {
		struct bytes m = { bytes, len[i] };
		uint32_t parts = links_part_count(m.len);

		for (uint32_t k = 0; k < parts; k++) {
			struct wr w = { .p = item, .cap = sizeof item };

			links_part_write(&w, i, k, m);
			cr_assert(wr_ok(&w));
			cr_assert_eq(links_part_take(&rx, &message, &whole,
					 (struct bytes){ item, w.len }),
			    ERR_OK);
			cr_assert_eq(message.p != NULL, k + 1 == parts);
		}
		cr_assert_eq(message.len, m.len);
		cr_assert_arr_eq(message.p, m.p, m.len);
		buf_fini(&whole);
	}
}

/* The largest message has the largest number of parts. */
Test(links_part, count)
{
	cr_assert_eq(links_part_count(1), 1);
	cr_assert_eq(links_part_count(PART), 1);
	cr_assert_eq(links_part_count(PART + 1), 2);
	cr_assert_eq(links_part_count(LIMIT_LINK_MESSAGE), LINKS_PARTS_MAX);
}
