#include <string.h>

#include <criterion/criterion.h>

#include "common/base/hex.h"
#include "common/eth/rlp.h"

static void
expect(struct rlp *r, const char *hex)
{
	char text[2 * 2048 + 1];

	cr_assert_eq(r->err, ERR_OK);
	cr_assert_leq(r->out.len, 2048);
	hex_encode(text, r->out.p, r->out.len);
	cr_assert_str_eq(text, hex);
	rlp_fini(r);
}

/* The examples of ethereum.org's page on RLP come out byte for byte. */
Test(rlp, published_examples)
{
	static const char lorem[] =
	    "Lorem ipsum dolor sit amet, consectetur adipisicing elit";
	struct rlp r = { .max = 2048 }, in = { .max = 2048 };
	struct rlp one = { .max = 2048 }, two = { .max = 2048 };
	struct rlp none = { .max = 0 };

	rlp_str(&r, "dog", 3);
	expect(&r, "83646f67");

	r = (struct rlp){ .max = 2048 };
	rlp_str(&in, "cat", 3);
	rlp_str(&in, "dog", 3);
	rlp_list(&r, &in);
	expect(&r, "c88363617483646f67");
	rlp_fini(&in);

	r = (struct rlp){ .max = 2048 };
	rlp_str(&r, NULL, 0);
	rlp_list(&r, &none);
	rlp_u64(&r, 0);
	rlp_str(&r, "\0", 1);
	rlp_u64(&r, 15);
	rlp_u64(&r, 1024);
	expect(&r, "80c080000f820400");

	/* The set theoretical representation of three. */
	r = (struct rlp){ .max = 2048 };
	in = (struct rlp){ .max = 2048 };
	rlp_list(&one, &none); /* [] */
	rlp_list(&two, &none);
	rlp_list(&two, &one); /* [] [[]] */
	rlp_list(&in, &none);
	rlp_list(&in, &one);
	rlp_list(&in, &two);
	rlp_list(&r, &in);
	expect(&r, "c7c0c1c0c3c0c1c0");
	rlp_fini(&in);
	rlp_fini(&one);
	rlp_fini(&two);

	r = (struct rlp){ .max = 2048 };
	rlp_str(&r, lorem, 56);
	cr_assert_eq(r.out.len, 58);
	cr_assert_eq(r.out.p[0], 0xb8);
	cr_assert_eq(r.out.p[1], 56);
	rlp_fini(&r);
}

/* At each length where the form changes, the head is the shortest. */
Test(rlp, heads_at_the_edges)
{
	static const uint8_t zeros[1024];
	static const struct {
		size_t len;
		const char *head;
	} t[] = { { 1, "00" }, { 2, "82" }, { 55, "b7" }, { 56, "b838" },
		{ 255, "b8ff" }, { 256, "b90100" }, { 1024, "b90400" } };

	for (size_t i = 0; i < sizeof t / sizeof t[0]; i++) {
		struct rlp r = { .max = 2048 };
		char text[2 * 8 + 1];

		rlp_str(&r, zeros, t[i].len);
		hex_encode(text, r.out.p, strlen(t[i].head) / 2);
		cr_assert_str_eq(text, t[i].head);
		rlp_fini(&r);
	}
}

/* Integers have no leading zeros; 0x80 needs a head and 0x7f does not. */
Test(rlp, integers)
{
	static const uint8_t be[32] = { [30] = 1, [31] = 2 };
	static const uint8_t zero[32];
	struct rlp r = { .max = 64 };

	rlp_u64(&r, 0x7f);
	rlp_u64(&r, 0x80);
	rlp_u64(&r, UINT64_MAX);
	rlp_uint(&r, be, 32);
	rlp_uint(&r, zero, 32);
	expect(&r, "7f818088ffffffffffffffff82010280");
}

/* What does not fit is an error that stays, also through lists. */
Test(rlp, limit_is_sticky)
{
	struct rlp r = { .max = 3 }, outer = { .max = 100 };

	rlp_str(&r, "abc", 3);
	cr_assert_eq(r.err, ERR_LIMIT);
	rlp_u64(&r, 1);
	cr_assert_eq(r.err, ERR_LIMIT);
	rlp_list(&outer, &r);
	cr_assert_eq(outer.err, ERR_LIMIT);
	rlp_fini(&r);
	rlp_fini(&outer);
}
