#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "common/base/hex.h"
#include "common/eth/abi.h"

#define Z24 "000000000000000000000000000000000000000000000000"
#define WORD(x) Z24 "00000000000000" x /* one byte */

/* Both from Foundry's `cast abi-encode 'f(bool,string)'`. */
static const char denied[] = WORD("00") WORD("40") WORD(
    "18") "436f6d706f73652068617368206e6f7420616c6c6f7765640000000000000000";
static const char allowed[] = WORD("01") WORD("40") WORD("00");
/* f(bytes,bytes,bytes,bytes) of 3, 33, 0 and 1 bytes, likewise. */
static const char four[] =
    WORD("80") WORD("c0") Z24 "0000000000000120" Z24 "0000000000000140" WORD(
	"03") "020304000000000000000000000000000000000000000000000000000000000"
	      "0" WORD("21") "ababababababababababababababababababababababababa"
			     "bababababababab"
			     "ab00000000000000000000000000000000000000000000000"
			     "000000000000000" WORD("00")
				 WORD("01") "0100000000000000000000000000000000"
					    "000000000000000000000000000000";

struct data {
	uint8_t p[1024];
	size_t len;
};

static struct bytes
unhex(struct data *d, const char *hex)
{
	cr_assert_eq(
	    hex_decode(d->p, sizeof d->p, &d->len, hex, strlen(hex)), ERR_OK);
	return (struct bytes){ d->p, d->len };
}

/* The input is put in memory of its exact size, so that a sanitizer sees
 * any read beyond it. */
static enum err
get_exact(size_t n, const uint8_t *p, size_t len)
{
	uint8_t *q = malloc(len + (len == 0));
	struct bytes in = { q, len }, m[4];
	bool b;
	enum err e;

	cr_assert_not_null(q);
	memcpy(q, p, len);
	e = n == 0 ? abi_get_bool_string(&b, &m[0], in)
		   : abi_get_dynamic(m, n, in);
	free(q);
	return e;
}

/* What the compiler writes is read. */
Test(abi, accepts_canonical)
{
	struct data d;
	struct bytes text, m[4];
	bool b = true;

	cr_assert_eq(abi_get_bool_string(&b, &text, unhex(&d, denied)), ERR_OK);
	cr_assert(!b);
	cr_assert_eq(text.len, 24);
	cr_assert_arr_eq(text.p, "Compose hash not allowed", 24);
	cr_assert_eq(
	    abi_get_bool_string(&b, &text, unhex(&d, allowed)), ERR_OK);
	cr_assert(b);
	cr_assert_eq(text.len, 0);

	cr_assert_eq(abi_get_dynamic(m, 4, unhex(&d, four)), ERR_OK);
	cr_assert_eq(m[0].len, 3);
	cr_assert_eq(m[1].len, 33);
	cr_assert_eq(m[1].p[32], 0xab);
	cr_assert_eq(m[2].len, 0);
	cr_assert_eq(m[3].len, 1);
	cr_assert_eq(m[3].p[0], 1);
}

/* Every shorter and longer input is refused. */
Test(abi, every_length_counts)
{
	static const char *const text[] = { denied, allowed, four };

	for (size_t t = 0; t < 3; t++) {
		struct data d = { 0 };
		size_t n = t == 2 ? 4 : 0;

		(void)unhex(&d, text[t]);
		for (size_t len = 0; len <= d.len + 64; len++)
			cr_assert_eq(get_exact(n, d.p, len),
			    len == d.len ? ERR_OK : ERR_MALFORMED, "%zu of %zu",
			    len, d.len);
	}
}

/* Every bit that is not of a value is structure: when it is flipped, the
 * whole is refused and the outputs are left alone. */
Test(abi, every_structural_bit_counts)
{
	struct data d;
	const struct bytes before = { (const uint8_t *)"x", 77 };

	(void)unhex(&d, denied);
	for (size_t bit = 0; bit < 8 * d.len; bit++) {
		struct bytes text = before;
		bool b = true;
		size_t at = bit / 8;
		/* The flag, the text, and lengths of 25, 26 and 28, which
		 * make some of the zeros text. */
		bool value = bit == 8 * 31 || (at >= 96 && at < 120) ||
		    (bit >= 760 && bit <= 762);

		d.p[at] ^= (uint8_t)(1u << bit % 8);
		enum err e = abi_get_bool_string(
		    &b, &text, (struct bytes){ d.p, d.len });

		cr_assert_eq(e, value ? ERR_OK : ERR_MALFORMED, "bit %zu", bit);
		if (e != ERR_OK) {
			cr_assert(b);
			cr_assert_eq(text.len, 77);
		}
		d.p[at] ^= (uint8_t)(1u << bit % 8);
	}
}

/* Members must follow each other in order, without gap or overlap. */
Test(abi, shared_and_swapped_offsets_are_refused)
{
	static const char *const bad[] = {
		/* both offsets at one member */
		WORD("40") WORD("40") WORD("00"),
		WORD("40") WORD("40") WORD("00") WORD("00"),
		/* swapped */
		WORD("60") WORD("40") WORD("00") WORD("00"),
		/* a gap of one word */
		WORD("60") WORD("80") WORD("00") WORD("00") WORD("00"),
		/* into the head */
		WORD("00") WORD("20") WORD("00") WORD("00"),
		/* lengths beyond the data, up to 2^64 - 1 and over */
		WORD("40") WORD("60") WORD("00") WORD("21"),
		WORD("40") WORD("60") WORD("00") Z24 "ffffffffffffffff",
		WORD("40") WORD("60") WORD("00") Z24 "ffffffffffffffe0",
		WORD("40") WORD("60")
		    WORD("00") "fffffffffffffffffffffffffffffffffffffffffffffff"
			       "fffffffffffffffff",
		"ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
		"ff" WORD("60") WORD("00") WORD("00"),
	};
	static const char good[] = WORD("40") WORD("60") WORD("00") WORD("00");
	struct bytes m[2];
	struct data d;

	cr_assert_eq(abi_get_dynamic(m, 2, unhex(&d, good)), ERR_OK);
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		cr_assert_eq(abi_get_dynamic(m, 2, unhex(&d, bad[i])),
		    ERR_MALFORMED, "%zu", i);
}

/* Single words are exactly one word with clean high bytes. */
Test(abi, words)
{
	uint8_t w[33] = { 0 }, out[32];
	bool b;
	uint64_t v = 7;

	for (size_t len = 0; len <= 33; len++) {
		struct bytes in = { w, len };

		cr_assert_eq(abi_get_bool(&b, in) == ERR_OK, len == 32);
		cr_assert_eq(abi_get_u64(&v, in) == ERR_OK, len == 32);
		cr_assert_eq(abi_get_address(out, in) == ERR_OK, len == 32);
		cr_assert_eq(abi_get_bytes32(out, in) == ERR_OK, len == 32);
	}
	for (size_t i = 0; i < 32; i++) {
		struct bytes in = { w, 32 };

		w[i] = 2;
		cr_assert_neq(abi_get_bool(&b, in), ERR_OK);
		cr_assert_eq(abi_get_address(out, in) == ERR_OK, i >= 12);
		cr_assert_eq(abi_get_u64(&v, in), i >= 24 ? ERR_OK : ERR_LIMIT);
		w[i] = 0;
	}
	memset(w + 24, 0xff, 8);
	cr_assert_eq(abi_get_u64(&v, (struct bytes){ w, 32 }), ERR_OK);
	cr_assert_eq(v, UINT64_MAX);
}

/* Text to be shown is cut, and can neither end early nor break a line. */
Test(abi, text_is_made_printable)
{
	char out[8];

	abi_text(out, sizeof out,
	    (struct bytes){ (const uint8_t *)"a\0b\n\x1b\x80~zz", 9 });
	cr_assert_str_eq(out, "a?b???~");
	abi_text(out, sizeof out, (struct bytes){ NULL, 0 });
	cr_assert_str_eq(out, "");
	abi_text(out, 1, (struct bytes){ (const uint8_t *)"abc", 3 });
	cr_assert_str_eq(out, "");
}

/* What is written is read back; nothing is written over the limit. */
Test(abi, put_and_get)
{
	for (size_t len = 0; len <= 65; len++) {
		uint8_t in[65];
		struct bytes out;
		struct buf b = { 0 };

		memset(in, 0xcc, sizeof in);
		cr_assert_eq(abi_put_u64(&b, 32, 4096), ERR_OK);
		cr_assert_eq(abi_put_bytes(&b, in, len, 4096), ERR_OK);
		cr_assert_eq(b.len, 32 + abi_bytes_size(len));
		cr_assert_eq(abi_get_dynamic(&out, 1, buf_view(&b)), ERR_OK);
		cr_assert_eq(out.len, len);
		cr_assert_arr_eq(out.p, in, len);
		b.len = 0;
		cr_assert_eq(
		    abi_put_bytes(&b, in, len, abi_bytes_size(len) - 1),
		    ERR_LIMIT);
		buf_fini(&b);
	}
}
