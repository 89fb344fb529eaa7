/* Limbs of 64 bits.  Division is Knuth's algorithm D (The Art of Computer
 * Programming, volume 2, 4.3.1). */
#include <string.h>

#include "common/eth/u256.h"

__extension__ typedef unsigned __int128 u128;

#define LIMBS 4

struct u256
u256_from_be(const uint8_t in[static 32])
{
	struct u256 r;

	for (size_t i = 0; i < LIMBS; i++) {
		const uint8_t *p = in + 8 * (LIMBS - 1 - i);

		r.w[i] = 0;
		for (size_t k = 0; k < 8; k++)
			r.w[i] = r.w[i] << 8 | p[k];
	}
	return r;
}

struct u256
u256_from_bytes(const uint8_t *in, size_t len)
{
	struct u256 r = { 0 };

	for (size_t i = 0; i < len; i++) {
		size_t at = len - 1 - i;

		r.w[at / 8] |= (uint64_t)in[i] << 8 * (at % 8);
	}
	return r;
}

void
u256_to_be(uint8_t out[static 32], const struct u256 *a)
{
	for (size_t i = 0; i < 32; i++) {
		size_t at = 31 - i;

		out[i] = (uint8_t)(a->w[at / 8] >> 8 * (at % 8));
	}
}

int
u256_cmp(const struct u256 *a, const struct u256 *b)
{
	for (size_t i = LIMBS; i-- > 0;)
		if (a->w[i] != b->w[i])
			return a->w[i] < b->w[i] ? -1 : 1;
	return 0;
}

static bool
negative(const struct u256 *a)
{
	return a->w[3] >> 63 != 0;
}

int
u256_scmp(const struct u256 *a, const struct u256 *b)
{
	if (negative(a) != negative(b))
		return negative(a) ? -1 : 1;
	return u256_cmp(a, b);
}

/* Returns the carry. */
static uint64_t
add(struct u256 *out, const struct u256 *a, const struct u256 *b)
{
	uint64_t carry = 0;

	for (size_t i = 0; i < LIMBS; i++) {
		u128 s = (u128)a->w[i] + b->w[i] + carry;

		out->w[i] = (uint64_t)s;
		carry = (uint64_t)(s >> 64);
	}
	return carry;
}

void
u256_add(struct u256 *out, const struct u256 *a, const struct u256 *b)
{
	(void)add(out, a, b);
}

void
u256_sub(struct u256 *out, const struct u256 *a, const struct u256 *b)
{
	uint64_t borrow = 0;

	for (size_t i = 0; i < LIMBS; i++) {
		u128 d = (u128)a->w[i] - b->w[i] - borrow;

		out->w[i] = (uint64_t)d;
		borrow = (uint64_t)(d >> 64) & 1;
	}
}

static void
negate(struct u256 *a)
{
	const struct u256 zero = { 0 };

	u256_sub(a, &zero, a);
}

void
u256_mul(struct u256 *out, const struct u256 *a, const struct u256 *b)
{
	struct u256 r = { 0 };

	for (size_t i = 0; i < LIMBS; i++) {
		uint64_t carry = 0;

		for (size_t k = 0; i + k < LIMBS; k++) {
			u128 t = (u128)a->w[i] * b->w[k] + r.w[i + k] + carry;

			r.w[i + k] = (uint64_t)t;
			carry = (uint64_t)(t >> 64);
		}
	}
	*out = r;
}

static void
mul_wide(
    uint64_t r[static 2 * LIMBS], const struct u256 *a, const struct u256 *b)
{
	memset(r, 0, 2 * LIMBS * sizeof r[0]);
	for (size_t i = 0; i < LIMBS; i++) {
		uint64_t carry = 0;

		for (size_t k = 0; k < LIMBS; k++) {
			u128 t = (u128)a->w[i] * b->w[k] + r[i + k] + carry;

			r[i + k] = (uint64_t)t;
			carry = (uint64_t)(t >> 64);
		}
		r[i + LIMBS] = carry;
	}
}

static size_t
limbs_of(const uint64_t *w, size_t n)
{
	while (n > 0 && w[n - 1] == 0)
		n--;
	return n;
}

/* Divides `n` limbs, n <= 8, by one limb; returns the remainder. */
static uint64_t
div_small(uint64_t *q, const uint64_t *a, size_t n, uint64_t d)
{
	uint64_t rem = 0;

	for (size_t i = n; i-- > 0;) {
		u128 t = (u128)rem << 64 | a[i];

		q[i] = (uint64_t)(t / d);
		rem = (uint64_t)(t % d);
	}
	return rem;
}

/* Steps D2 to D7: `u` has m + n + 1 limbs and becomes the remainder, `v` has
 * n >= 2 limbs with the highest bit set. */
static void
div_knuth(uint64_t *q, uint64_t *u, const uint64_t *v, size_t m, size_t n)
{
	for (size_t j = m + 1; j-- > 0;) {
		u128 top = (u128)u[j + n] << 64 | u[j + n - 1];
		u128 guess, rest;
		uint64_t borrow = 0, carry = 0;

		/* D3: at most two too large. */
		if (u[j + n] >= v[n - 1]) {
			guess = UINT64_MAX;
			rest = top - guess * v[n - 1];
		} else {
			guess = top / v[n - 1];
			rest = top % v[n - 1];
		}
		while (rest >> 64 == 0 &&
		    guess * v[n - 2] > (rest << 64 | u[j + n - 2])) {
			guess--;
			rest += v[n - 1];
		}
		/* D4: multiply and subtract. */
		for (size_t i = 0; i < n; i++) {
			u128 p = guess * v[i] + carry;
			u128 d = (u128)u[i + j] - (uint64_t)p - borrow;

			carry = (uint64_t)(p >> 64);
			u[i + j] = (uint64_t)d;
			borrow = (uint64_t)(d >> 64) & 1;
		}
		u128 d = (u128)u[j + n] - carry - borrow;

		u[j + n] = (uint64_t)d;
		/* D6: one too large after all, rarely. */
		if ((d >> 64) != 0) {
			carry = 0;
			guess--;
			for (size_t i = 0; i < n; i++) {
				u128 s = (u128)u[i + j] + v[i] + carry;

				u[i + j] = (uint64_t)s;
				carry = (uint64_t)(s >> 64);
			}
			u[j + n] += carry;
		}
		q[j] = (uint64_t)guess;
	}
}

/* Divides `a` of `len` limbs, at most 8; the quotient (NULL: not wanted) has
 * as many limbs.  `d` is not zero. */
static void
divide(uint64_t *quotient, struct u256 *remainder, const uint64_t *a,
    size_t len, const struct u256 *d)
{
	uint64_t u[2 * LIMBS + 1] = { 0 }, v[LIMBS] = { 0 };
	uint64_t q[2 * LIMBS + 1] = { 0 };
	size_t n = limbs_of(d->w, LIMBS), m = limbs_of(a, len);
	unsigned shift;

	if (n == 1) {
		*remainder =
		    u256_from_u64(m == 0 ? 0 : div_small(q, a, m, d->w[0]));
	} else if (m < n) {
		*remainder = (struct u256){ 0 };
		memcpy(remainder->w, a, m * sizeof a[0]);
	} else {
		shift = (unsigned)__builtin_clzll(d->w[n - 1]);
		/* D1: normalise. */
		for (size_t i = 0; i < n; i++)
			v[i] = (uint64_t)((((u128)d->w[i] << 64 |
					       (i > 0 ? d->w[i - 1] : 0))
					      << shift) >>
			    64);
		for (size_t i = 0; i <= m; i++)
			u[i] = (uint64_t)((((u128)(i < m ? a[i] : 0) << 64 |
					       (i > 0 ? a[i - 1] : 0))
					      << shift) >>
			    64);
		div_knuth(q, u, v, m - n, n);
		/* D8: the remainder, shifted back. */
		*remainder = (struct u256){ 0 };
		for (size_t i = 0; i < n; i++)
			remainder->w[i] =
			    (uint64_t)(((u128)(i + 1 < n ? u[i + 1] : 0) << 64 |
					   u[i]) >>
				shift);
	}
	if (quotient != NULL)
		memcpy(quotient, q, len * sizeof q[0]);
}

void
u256_div(struct u256 *out, const struct u256 *a, const struct u256 *b)
{
	struct u256 q = { 0 }, rem;

	if (u256_is_zero(b)) {
		*out = *b;
		return;
	}
	divide(q.w, &rem, a->w, LIMBS, b);
	*out = q;
}

void
u256_mod(struct u256 *out, const struct u256 *a, const struct u256 *b)
{
	struct u256 rem;

	if (u256_is_zero(b)) {
		*out = *b;
		return;
	}
	divide(NULL, &rem, a->w, LIMBS, b);
	*out = rem;
}

/* -2^255 / -1 is -2^255, by itself: negate() leaves it as it is. */
void
u256_sdiv(struct u256 *out, const struct u256 *a, const struct u256 *b)
{
	struct u256 x = *a, y = *b;
	bool minus = negative(a) != negative(b);

	if (negative(&x))
		negate(&x);
	if (negative(&y))
		negate(&y);
	u256_div(out, &x, &y);
	if (minus)
		negate(out);
}

void
u256_smod(struct u256 *out, const struct u256 *a, const struct u256 *b)
{
	struct u256 x = *a, y = *b;
	bool minus = negative(a);

	if (minus)
		negate(&x);
	if (negative(&y))
		negate(&y);
	u256_mod(out, &x, &y);
	if (minus)
		negate(out);
}

void
u256_addmod(struct u256 *out, const struct u256 *a, const struct u256 *b,
    const struct u256 *n)
{
	uint64_t wide[LIMBS + 1];
	struct u256 sum, rem;

	wide[LIMBS] = add(&sum, a, b);
	memcpy(wide, sum.w, sizeof sum.w);
	if (u256_is_zero(n)) {
		*out = *n;
		return;
	}
	divide(NULL, &rem, wide, LIMBS + 1, n);
	*out = rem;
}

void
u256_mulmod(struct u256 *out, const struct u256 *a, const struct u256 *b,
    const struct u256 *n)
{
	uint64_t wide[2 * LIMBS];
	struct u256 rem;

	if (u256_is_zero(n)) {
		*out = *n;
		return;
	}
	mul_wide(wide, a, b);
	divide(NULL, &rem, wide, 2 * LIMBS, n);
	*out = rem;
}

void
u256_exp(struct u256 *out, const struct u256 *base, const struct u256 *e)
{
	struct u256 r = u256_from_u64(1), b = *base;
	size_t bits = 8 * u256_size(e);

	for (size_t i = 0; i < bits; i++) {
		if ((e->w[i / 64] >> (i % 64) & 1) != 0)
			u256_mul(&r, &r, &b);
		u256_mul(&b, &b, &b);
	}
	*out = r;
}

size_t
u256_size(const struct u256 *a)
{
	size_t n = limbs_of(a->w, LIMBS);

	if (n == 0)
		return 0;
	return 8 * n - (size_t)__builtin_clzll(a->w[n - 1]) / 8;
}

void
u256_signextend(struct u256 *out, const struct u256 *k, const struct u256 *a)
{
	struct u256 n, r;
	uint64_t at;

	if (!u256_u64(&at, k) || at > 30) {
		*out = *a;
		return;
	}
	n = u256_from_u64(248 - 8 * at);
	u256_shl(&r, &n, a);
	u256_sar(out, &n, &r);
}

void
u256_byte(struct u256 *out, const struct u256 *k, const struct u256 *a)
{
	uint64_t at;

	if (!u256_u64(&at, k) || at > 31)
		*out = u256_from_u64(0);
	else
		*out = u256_from_u64(
		    a->w[(31 - at) / 8] >> 8 * ((31 - at) % 8) & 0xff);
}

/* False when everything is shifted out. */
static bool
shift_by(size_t *limbs, unsigned *bits, const struct u256 *n)
{
	uint64_t by;

	if (!u256_u64(&by, n) || by > 255)
		return false;
	*limbs = (size_t)(by / 64);
	*bits = (unsigned)(by % 64);
	return true;
}

void
u256_shl(struct u256 *out, const struct u256 *n, const struct u256 *a)
{
	struct u256 r = { 0 };
	size_t limbs;
	unsigned bits;

	if (shift_by(&limbs, &bits, n))
		for (size_t i = limbs; i < LIMBS; i++) {
			r.w[i] = a->w[i - limbs] << bits;
			if (bits > 0 && i > limbs)
				r.w[i] |= a->w[i - limbs - 1] >> (64 - bits);
		}
	*out = r;
}

/* `fill` is what comes in from the left: 0 or all ones. */
static void
shift_right(
    struct u256 *out, const struct u256 *n, const struct u256 *a, uint64_t fill)
{
	struct u256 r = { { fill, fill, fill, fill } };
	size_t limbs;
	unsigned bits;

	if (shift_by(&limbs, &bits, n))
		for (size_t i = 0; i + limbs < LIMBS; i++) {
			uint64_t above =
			    i + limbs + 1 < LIMBS ? a->w[i + limbs + 1] : fill;

			r.w[i] = a->w[i + limbs] >> bits;
			if (bits > 0)
				r.w[i] |= above << (64 - bits);
		}
	*out = r;
}

void
u256_shr(struct u256 *out, const struct u256 *n, const struct u256 *a)
{
	shift_right(out, n, a, 0);
}

void
u256_sar(struct u256 *out, const struct u256 *n, const struct u256 *a)
{
	shift_right(out, n, a, negative(a) ? UINT64_MAX : 0);
}
