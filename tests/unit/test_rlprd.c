/* Reading RLP: one form of each value, and nothing else. */
#include <string.h>

#include <criterion/criterion.h>

#include "common/eth/rlp.h"
#include "common/eth/rlprd.h"

static struct rd
over(const void *p, size_t len)
{
	return (struct rd){ .p = p, .left = len };
}

static void
expect_bad(const char *p, size_t len)
{
	struct rd r = over(p, len);
	struct rlprd_item it = rlprd_item(&r);

	cr_assert(r.bad, "%02x", (uint8_t)p[0]);
	cr_assert_null(it.body.p);
	cr_assert_null(it.whole.p);
	(void)rlprd_item(&r);
	cr_assert(r.bad);
}

Test(rlprd, what_is_refused)
{
	char text[300];

	expect_bad("", 0);
	expect_bad("\x81\x7f", 2); /* a small byte with a head */
	expect_bad("\x81", 1); /* cut */
	expect_bad("\x83"
		   "ab",
	    3);
	expect_bad("\xc2\x01", 2);
	expect_bad("\xb8", 1);
	expect_bad("\xb9\x01", 2);
	expect_bad("\xbf\xff\xff\xff\xff\xff\xff\xff\xff", 9);
	expect_bad("\xff\xff\xff\xff\xff\xff\xff\xff\xff", 9);
	expect_bad("\xfb\xff\xff\xff\xff", 5);
	memset(text, 'x', sizeof text);
	memcpy(text, "\xb8\x37", 2); /* 55 fits into the head */
	expect_bad(text, 57);
	memcpy(text, "\xf8\x37", 2);
	expect_bad(text, 57);
	memcpy(text, "\xb9\x00\x38", 3); /* a leading zero */
	expect_bad(text, 59);
	memcpy(text, "\xf9\x00\x38", 3);
	expect_bad(text, 59);
	memcpy(text, "\xb8\x38", 2); /* one byte short */
	expect_bad(text, 57);
}

Test(rlprd, kinds_are_not_confused)
{
	struct rd r = over("\xc0", 1), m;
	uint8_t w[32] = { 7 };

	cr_assert_null(rlprd_str(&r).p);
	cr_assert(r.bad);
	r = over("\x83"
		 "dog",
	    4);
	m = rlprd_list(&r);
	cr_assert(r.bad && m.bad && !rd_done(&m));
	r = over("\x83"
		 "dog",
	    4);
	cr_assert_null(rlprd_fixed(&r, 4));
	cr_assert(r.bad);
	/* Numbers: a leading zero, too wide, a list. */
	r = over("\x82\x00\x01", 3);
	cr_assert_eq(rlprd_u64(&r), 0);
	cr_assert(r.bad);
	r = over("\x00", 1);
	cr_assert_eq(rlprd_u64(&r), 0);
	cr_assert(r.bad);
	r = over("\x89\x01\x02\x03\x04\x05\x06\x07\x08\x09", 10);
	cr_assert_eq(rlprd_u64(&r), 0);
	cr_assert(r.bad);
	r = over("\xa1\x01"
		 "0123456789abcdef0123456789abcdef",
	    34);
	rlprd_u256(&r, w);
	cr_assert(r.bad);
	cr_assert_eq(w[0], 7);
}

Test(rlprd, what_is_read)
{
	struct rd r = over("\xc8\x83"
			   "cat"
			   "\x83"
			   "dog"
			   "\x80\x05",
		      11),
		  m;
	struct bytes s;
	uint8_t w[32];

	m = rlprd_list(&r);
	s = rlprd_str(&m);
	cr_assert_eq(s.len, 3);
	cr_assert_arr_eq(s.p, "cat", 3);
	cr_assert(!rd_done(&m));
	cr_assert_arr_eq(rlprd_fixed(&m, 3), "dog", 3);
	cr_assert(rd_done(&m));
	cr_assert(!rd_done(&r));
	cr_assert_eq(rlprd_u64(&r), 0);
	rlprd_u256(&r, w);
	cr_assert_eq(w[31], 5);
	cr_assert(rd_done(&r));
}

/* Whatever the writer makes of lengths around each boundary is read again. */
Test(rlprd, round_trip)
{
	static uint8_t in[70000];

	for (size_t len = 0; len <= 70000; len = len < 300 ? len + 1 : 3 * len)
		for (unsigned list = 0; list < 2; list++) {
			struct rlp inner = { .max = 1u << 20 };
			struct rlp out = { .max = 1u << 20 };
			struct rlprd_item it;
			struct rd r;

			/* Of zeros: one byte each in a list. */
			if (list == 1) {
				for (size_t i = 0; i < len; i++)
					rlp_str(&inner, in, 1);
				rlp_list(&out, &inner);
			} else {
				rlp_str(&out, in, len);
			}
			r = over(out.out.p, out.out.len);
			it = rlprd_item(&r);
			cr_assert(rd_done(&r), "%zu", len);
			cr_assert_eq(it.is_list, list == 1);
			cr_assert_eq(it.body.len, len);
			cr_assert_eq(it.whole.len, out.out.len);
			rlp_fini(&inner);
			rlp_fini(&out);
		}
}
