/* 256-bit arithmetic against OpenSSL's BN, on values that lie at the edges
 * of limbs, and on random ones of every length. */
#include <stdio.h>
#include <string.h>

#include <criterion/criterion.h>
#include <openssl/bn.h>

#include "common/base/hex.h"
#include "common/eth/u256.h"

#define ROUNDS 20000

static BN_CTX *ctx;
static BIGNUM *two256, *two255;
static uint64_t seed;

static void
setup(void)
{
	ctx = BN_CTX_new();
	two256 = BN_new();
	two255 = BN_new();
	cr_assert(BN_set_bit(two256, 256) && BN_set_bit(two255, 255));
	seed = 1;
}

static void
teardown(void)
{
	BN_free(two256);
	BN_free(two255);
	BN_CTX_free(ctx);
}

TestSuite(u256, .init = setup, .fini = teardown);

static uint64_t
next(void)
{
	uint64_t z = seed += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

/* Limbs that are all zeros, all ones, one bit, or random. */
static uint64_t
limb(void)
{
	switch (next() % 5) {
	case 0:
		return 0;
	case 1:
		return UINT64_MAX;
	case 2:
		return (uint64_t)1 << next() % 64;
	case 3:
		return UINT64_MAX - ((uint64_t)1 << next() % 64);
	default:
		return next() >> next() % 64;
	}
}

static struct u256
value(void)
{
	struct u256 r = { 0 };
	size_t n = next() % 5;

	for (size_t i = 0; i < n; i++)
		r.w[i] = limb();
	return r;
}

/* The caller frees. */
static BIGNUM *
bn(const struct u256 *a)
{
	uint8_t be[32];
	BIGNUM *b;

	u256_to_be(be, a);
	b = BN_bin2bn(be, sizeof be, NULL);
	cr_assert_not_null(b);
	return b;
}

static BIGNUM *
bn_signed(const struct u256 *a)
{
	BIGNUM *b = bn(a);

	if (BN_cmp(b, two255) >= 0)
		cr_assert(BN_sub(b, b, two256));
	return b;
}

static void
check(const char *what, const struct u256 *got, BIGNUM *want)
{
	uint8_t a[32], b[32];
	char ah[65], bh[65];

	/* Into [0, 2^256). */
	cr_assert(BN_nnmod(want, want, two256, ctx));
	cr_assert_eq(BN_bn2binpad(want, b, sizeof b), 32);
	u256_to_be(a, got);
	cr_assert_eq(memcmp(a, b, 32), 0, "%s: %s, not %s", what,
	    hex_encode(ah, a, 32), hex_encode(bh, b, 32));
}

Test(u256, sum_difference_product)
{
	for (int i = 0; i < ROUNDS; i++) {
		struct u256 a = value(), b = value(), r;
		BIGNUM *x = bn(&a), *y = bn(&b), *z = BN_new();

		u256_add(&r, &a, &b);
		cr_assert(BN_add(z, x, y));
		check("add", &r, z);
		u256_sub(&r, &a, &b);
		cr_assert(BN_sub(z, x, y));
		check("sub", &r, z);
		u256_mul(&r, &a, &b);
		cr_assert(BN_mul(z, x, y, ctx));
		check("mul", &r, z);
		cr_assert_eq(u256_cmp(&a, &b) > 0, BN_cmp(x, y) > 0, "above");
		cr_assert_eq(u256_cmp(&a, &b) < 0, BN_cmp(x, y) < 0, "below");
		cr_assert_eq(u256_size(&a), (size_t)BN_num_bytes(x));
		BN_free(x);
		BN_free(y);
		BN_free(z);
	}
}

Test(u256, quotient_and_remainder)
{
	for (int i = 0; i < ROUNDS; i++) {
		struct u256 a = value(), b = value(), q, m;
		BIGNUM *x = bn(&a), *y = bn(&b), *z = BN_new(), *w = BN_new();

		u256_div(&q, &a, &b);
		u256_mod(&m, &a, &b);
		if (!u256_is_zero(&b))
			cr_assert(BN_div(z, w, x, y, ctx));
		check("div", &q, z);
		check("mod", &m, w);
		BN_free(x);
		BN_free(y);
		BN_free(z);
		BN_free(w);
	}
}

/* A quotient digit that is guessed one or two too large: dividends of the
 * form q * b + (b - 1), divisors with extreme upper limbs. */
Test(u256, quotients_with_hard_digits)
{
	for (int i = 0; i < ROUNDS; i++) {
		struct u256 b = value(), q = value(), a, r, one;
		BIGNUM *x, *y, *z = BN_new(), *w = BN_new();

		one = u256_from_u64(1);
		b.w[3] = 0;
		b.w[2] = next() % 2 != 0 ? (uint64_t)1 << 63 : UINT64_MAX;
		q.w[1] = q.w[2] = q.w[3] = 0;
		u256_mul(&a, &q, &b);
		u256_add(&a, &a, &b);
		u256_sub(&a, &a, &one);
		x = bn(&a);
		y = bn(&b);
		cr_assert(BN_div(z, w, x, y, ctx));
		u256_div(&r, &a, &b);
		check("div", &r, z);
		u256_mod(&r, &a, &b);
		check("mod", &r, w);
		BN_free(x);
		BN_free(y);
		BN_free(z);
		BN_free(w);
	}
}

Test(u256, signed_division_truncates)
{
	for (int i = 0; i < ROUNDS; i++) {
		struct u256 a = value(), b = value(), q, m;
		BIGNUM *x = bn_signed(&a), *y = bn_signed(&b);
		BIGNUM *z = BN_new(), *w = BN_new();

		u256_sdiv(&q, &a, &b);
		u256_smod(&m, &a, &b);
		if (!u256_is_zero(&b))
			cr_assert(BN_div(z, w, x, y, ctx));
		check("sdiv", &q, z);
		check("smod", &m, w);
		cr_assert_eq(u256_scmp(&a, &b) > 0, BN_cmp(x, y) > 0, "above");
		cr_assert_eq(u256_scmp(&a, &b) < 0, BN_cmp(x, y) < 0, "below");
		BN_free(x);
		BN_free(y);
		BN_free(z);
		BN_free(w);
	}
}

Test(u256, modular)
{
	for (int i = 0; i < ROUNDS; i++) {
		struct u256 a = value(), b = value(), n = value(), s, p;
		BIGNUM *x = bn(&a), *y = bn(&b), *k = bn(&n);
		BIGNUM *z = BN_new(), *w = BN_new();

		u256_addmod(&s, &a, &b, &n);
		u256_mulmod(&p, &a, &b, &n);
		if (!u256_is_zero(&n)) {
			cr_assert(BN_mod_add(z, x, y, k, ctx));
			cr_assert(BN_mod_mul(w, x, y, k, ctx));
		}
		check("addmod", &s, z);
		check("mulmod", &p, w);
		BN_free(x);
		BN_free(y);
		BN_free(k);
		BN_free(z);
		BN_free(w);
	}
}

Test(u256, power)
{
	for (int i = 0; i < ROUNDS / 40; i++) {
		struct u256 a = value(), e = value(), r;
		BIGNUM *x = bn(&a), *y = bn(&e), *z = BN_new();

		u256_exp(&r, &a, &e);
		cr_assert(BN_mod_exp(z, x, y, two256, ctx));
		check("exp", &r, z);
		BN_free(x);
		BN_free(y);
		BN_free(z);
	}
}

static void
shift(int by)
{
	struct u256 a = value(), n = u256_from_u64((uint64_t)by), r;
	BIGNUM *x = bn(&a), *s = bn_signed(&a), *z = BN_new();

	u256_shl(&r, &n, &a);
	cr_assert(BN_lshift(z, x, by));
	check("shl", &r, z);
	u256_shr(&r, &n, &a);
	cr_assert(BN_rshift(z, x, by));
	check("shr", &r, z);
	/* Towards minus infinity: -((-x - 1) >> n) - 1. */
	u256_sar(&r, &n, &a);
	if (BN_is_negative(s)) {
		BN_set_negative(s, 0);
		cr_assert(BN_sub_word(s, 1) && BN_rshift(z, s, by));
		cr_assert(BN_add_word(z, 1));
		BN_set_negative(z, 1);
	} else {
		cr_assert(BN_rshift(z, s, by));
	}
	check("sar", &r, z);
	BN_free(x);
	BN_free(s);
	BN_free(z);
}

Test(u256, shifts)
{
	for (int by = 0; by < 300; by++)
		for (int i = 0; i < 20; i++)
			shift(by);
	/* Above 2^64 only the low limb would say otherwise. */
	struct u256 n = { { 1, 0, 0, 1 } }, a = { { 8, 0, 0, 1ull << 63 } };
	struct u256 r,
	    minus = { { UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX } };

	u256_shl(&r, &n, &a);
	cr_assert(u256_is_zero(&r));
	u256_shr(&r, &n, &a);
	cr_assert(u256_is_zero(&r));
	u256_sar(&r, &n, &a);
	cr_assert_eq(u256_cmp(&r, &minus), 0);
}

Test(u256, bytes_and_signs)
{
	for (int i = 0; i < ROUNDS; i++) {
		struct u256 a = value(), k = u256_from_u64(next() % 40), r;
		uint8_t be[32], want[32];
		size_t at = (size_t)k.w[0];

		if (next() % 8 == 0)
			k.w[1 + next() % 3] = 1;
		bool small = (k.w[1] | k.w[2] | k.w[3]) == 0;
		u256_to_be(be, &a);
		u256_byte(&r, &k, &a);
		cr_assert_eq(r.w[0], small && at < 32 ? be[at] : 0);
		cr_assert_eq(r.w[1] | r.w[2] | r.w[3], 0);
		u256_signextend(&r, &k, &a);
		memcpy(want, be, 32);
		if (small && at < 31)
			memset(want, be[31 - at] >> 7 != 0 ? 0xff : 0, 31 - at);
		u256_to_be(be, &r);
		cr_assert_eq(memcmp(be, want, 32), 0, "signextend %zu", at);
		u256_to_be(be, &a);
		r = u256_from_be(be);
		cr_assert_eq(u256_cmp(&r, &a), 0);
		r = u256_from_bytes(be + 32 - u256_size(&a), u256_size(&a));
		cr_assert_eq(u256_cmp(&r, &a), 0);
	}
}

Test(u256, only_64_bits_are_a_u64)
{
	struct u256 a = { { UINT64_MAX, 0, 0, 0 } };
	uint64_t v;

	cr_assert(u256_u64(&v, &a));
	cr_assert_eq(v, UINT64_MAX);
	for (int i = 1; i < 4; i++) {
		a = u256_from_u64(5);
		a.w[i] = 1;
		cr_assert_not(u256_u64(&v, &a));
	}
}

/* An output may be one of the inputs. */
Test(u256, in_place)
{
	for (int i = 0; i < ROUNDS / 4; i++) {
		struct u256 a = value(), b = value(), n = value(), r, x;

#define SAME2(f) \
	do { \
		f(&r, &a, &b); \
		x = a; \
		f(&x, &x, &b); \
		cr_assert_eq(u256_cmp(&x, &r), 0, #f); \
		x = b; \
		f(&x, &a, &x); \
		cr_assert_eq(u256_cmp(&x, &r), 0, #f); \
	} while (0)
		SAME2(u256_add);
		SAME2(u256_sub);
		SAME2(u256_mul);
		SAME2(u256_div);
		SAME2(u256_mod);
		SAME2(u256_sdiv);
		SAME2(u256_smod);
		SAME2(u256_byte);
		SAME2(u256_signextend);
		SAME2(u256_shl);
		SAME2(u256_shr);
		SAME2(u256_sar);
		u256_addmod(&r, &a, &b, &n);
		x = n;
		u256_addmod(&x, &a, &b, &x);
		cr_assert_eq(u256_cmp(&x, &r), 0, "addmod");
		u256_mulmod(&r, &a, &b, &n);
		x = n;
		u256_mulmod(&x, &a, &b, &x);
		cr_assert_eq(u256_cmp(&x, &r), 0, "mulmod");
	}
}
