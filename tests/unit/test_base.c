#include <string.h>

#include <criterion/criterion.h>

#include "common/base/buf.h"
#include "common/base/hex.h"
#include "common/base/json.h"
#include "common/base/name.h"
#include "common/base/rd.h"
#include "common/base/reason.h"
#include "common/base/wr.h"
#include "common/crypto/keccak.h"

/* A short read poisons the cursor for good. */
Test(rd, short_read_is_sticky)
{
	const uint8_t in[3] = { 1, 2, 3 };
	struct rd r = { .p = in, .left = sizeof in };

	cr_assert_eq(rd_be16(&r), 0x0102);
	cr_assert_eq(rd_be16(&r), 0);
	cr_assert_eq(rd_u8(&r), 0);
	cr_assert(!rd_done(&r));
}

/* A byte left over is not done. */
Test(rd, trailing_byte_is_not_done)
{
	const uint8_t in[3] = { 1, 2, 3 };
	struct rd r = { .p = in, .left = sizeof in };

	(void)rd_be16(&r);
	cr_assert(!rd_done(&r));
	(void)rd_u8(&r);
	cr_assert(rd_done(&r));
}

/* Integers are read by their named order. */
Test(rd, orders)
{
	const uint8_t in[8] = { 1, 2, 3, 4, 5, 6, 7, 8 };
	struct rd a = { .p = in, .left = 8 }, b = a;

	cr_assert_eq(rd_be64(&a), 0x0102030405060708u);
	cr_assert_eq(rd_le64(&b), 0x0807060504030201u);
}

/* What does not fit is not written, nor is anything after it. */
Test(wr, overflow_is_sticky)
{
	uint8_t out[3] = { 9, 9, 9 };
	struct wr w = { .p = out, .cap = sizeof out };

	wr_be16(&w, 0x0102);
	wr_be16(&w, 0x0304);
	wr_u8(&w, 5);
	cr_assert(!wr_ok(&w));
	cr_assert_eq(out[2], 9);
}

/* A buffer never grows past its limit and keeps what it had. */
Test(buf, limit)
{
	struct buf b = { 0 };

	cr_assert_eq(buf_append(&b, "abc", 3, 4), ERR_OK);
	cr_assert_eq(buf_append(&b, "de", 2, 4), ERR_LIMIT);
	cr_assert_eq(b.len, 3);
	cr_assert_str_eq((char *)b.p, "abc");
	buf_fini(&b);
}

/* Odd lengths, other letters and over-long text are refused. */
/* A digit is one of 22 characters, in either place, and no other. */
Test(hex, every_character)
{
	static const char digits[] = "0123456789abcdef0123456789ABCDEF";
	uint8_t out[1];
	size_t n;

	for (int c = 0; c < 256; c++) {
		const char *at = c != 0 ? strchr(digits, c) : NULL;
		char high[2] = { (char)c, '5' }, low[2] = { '5', (char)c };
		int v = at != NULL ? (int)((at - digits) % 16) : -1;
		enum err want = v >= 0 ? ERR_OK : ERR_MALFORMED;

		cr_assert_eq(hex_decode(out, 1, &n, high, 2), want, "%d", c);
		cr_assert(v < 0 || out[0] == v * 16 + 5, "%d", c);
		cr_assert_eq(hex_decode(out, 1, &n, low, 2), want, "%d", c);
		cr_assert(v < 0 || out[0] == 5 * 16 + v, "%d", c);
	}
}

Test(hex, refusals)
{
	uint8_t out[2];
	size_t n = 77;

	cr_assert_eq(hex_decode(out, 2, &n, "abc", 3), ERR_MALFORMED);
	cr_assert_eq(hex_decode(out, 2, &n, "0g", 2), ERR_MALFORMED);
	cr_assert_eq(hex_decode(out, 2, &n, "0x12", 4), ERR_MALFORMED);
	cr_assert_eq(hex_decode(out, 2, &n, "aabbcc", 6), ERR_LIMIT);
	cr_assert_eq(n, 77);
	cr_assert_eq(hex_fixed(out, 2, "0xaab"), ERR_MALFORMED);
	cr_assert_eq(hex_fixed(out, 2, "0xAAbb"), ERR_OK);
	cr_assert_eq(out[1], 0xbb);
}

/* Duplicate keys, trailing bytes, wrong types, embedded NULs are refused. */
Test(json, refusals)
{
	static const char *const bad[] = { "", "{", "{}x", "{\"a\":1,\"a\":2}",
		"{\"a\":\"\xff\"}", "{'a':1}", "nul", "[1,]" };
	json_t *v = NULL;
	const char *s;
	uint64_t u;

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		cr_assert_neq(
		    json_parse(&v, bad[i], strlen(bad[i]), 100, NULL, 0),
		    ERR_OK, "%s", bad[i]);
	cr_assert_eq(json_parse(&v, "{\"a\":1}", 7, 6, NULL, 0), ERR_LIMIT);
	cr_assert_eq(json_parse(&v, "{\"a\":1}", 7, 7, NULL, 0), ERR_OK);
	cr_assert_eq(json_get_str(&s, v, "a"), ERR_MALFORMED);
	cr_assert_eq(json_get_u64(&u, v, "b"), ERR_NOTFOUND);
	cr_assert_eq(json_get_u64(&u, v, "a"), ERR_OK);
	cr_assert_eq(u, 1);
	json_decref(v);
	cr_assert_eq(json_parse(&v, "{\"a\":-1}", 8, 100, NULL, 0), ERR_OK);
	cr_assert_eq(json_get_u64(&u, v, "a"), ERR_MALFORMED);
	json_decref(v);
}

/* What is written is ASCII, so that byte and character counts agree. */
Test(json, ascii_out)
{
	json_t *v = json_object();
	struct buf b = { 0 };

	cr_assert_eq(json_set_str(v, "n", "caf\xc3\xa9"), ERR_OK);
	cr_assert_eq(json_write(&b, v), ERR_OK);
	cr_assert_str_eq((char *)b.p, "{\"n\":\"caf\\u00E9\"}");
	json_decref(v);
	buf_fini(&b);
}

/* Labels are unique and map back; contract words map to their codes. */
Test(reason, labels)
{
	for (unsigned i = 0; i < REASON_COUNT; i++)
		cr_assert_eq(
		    reason_from_label(reason_label((enum reason)i)), i);
	cr_assert_eq(reason_from_contract("Compose hash not allowed"),
	    REASON_CONTRACT_COMPOSE);
	cr_assert_eq(reason_from_contract("Compose hash not allowed "),
	    REASON_CONTRACT_OTHER);
	cr_assert_eq(reason_from_contract("Bad frame"), REASON_CONTRACT_OTHER);
}

/* A refusal's detail never carries control bytes into a log. */
Test(reason, detail_is_printable)
{
	struct refusal why;

	cr_assert_eq(
	    refuse(&why, REASON_FRAME, "a\nb%s", "\x1b[0m"), ERR_DENIED);
	cr_assert_str_eq(why.detail, "a?b?[0m");
}

/* Keccak-256 of "" and "abc" as in the Ethereum yellow paper's usage, and
 * block-boundary lengths against themselves in two parts. */
Test(keccak, vectors)
{
	uint8_t h[32], g[32], in[400];
	char hex[65];

	keccak256(h, "", 0);
	cr_assert_str_eq(hex_encode(hex, h, 32),
	    "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470");
	keccak256(h, "abc", 3);
	cr_assert_str_eq(hex_encode(hex, h, 32),
	    "4e03657aea45a94fc7d47ba826c8d667c0d1e6e33a64a036ec44f58fa12d6c45");
	memset(in, 7, sizeof in);
	for (size_t n = 134; n < 140; n++) {
		keccak256(h, in, n);
		keccak256_v(g,
		    (const struct bytes[]){ { in, 100 }, { in, n - 100 } }, 2);
		cr_assert_arr_eq(h, g, 32);
		keccak256(g, in, n + 1);
		cr_assert_neq(memcmp(h, g, 32), 0);
	}
}

/* Names are 1 to max - 1 printable characters without space, '/', '#'. */
Test(name, one_rule)
{
	char s[32 + 1];

	cr_assert(!name_ok("", 32));
	cr_assert(!name_ok("a", 1));
	cr_assert(!name_ok("a", 0));
	memset(s, 'a', sizeof s);
	cr_assert(!name_ok(s, 32)); /* no NUL within max */
	s[31] = '\0';
	cr_assert(name_ok(s, 32));
	cr_assert(!name_ok(s, 31));
	for (int c = 1; c < 256; c++) {
		bool ok = c > 0x20 && c < 0x7f && c != '/' && c != '#';

		s[3] = (char)c;
		cr_assert_eq(name_ok(s, 32), ok, "%02x", c);
	}
}
