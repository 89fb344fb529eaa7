/* Buckets of tokens: what they let through, and what they do not. */
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "common/base/rate.h"
#include "common/base/secret.h"

static void
setup(void)
{
	cr_assert_eq(secret_process_init(), ERR_OK);
}

TestSuite(rate, .init = setup);

static unsigned
taken(struct rate *r, uint64_t now_ms)
{
	unsigned n = 0;

	while (n < 100000 && rate_take(r, now_ms))
		n++;
	return n;
}

/* The burst at once and not one more; then what time brings, to the token. */
Test(rate, burst_and_refill)
{
	struct rate r = rate_full(10, 20, 5000);

	cr_assert_eq(taken(&r, 5000), 20);
	cr_assert(!rate_take(&r, 5099));
	cr_assert(rate_take(&r, 5100));
	cr_assert(!rate_take(&r, 5100));
	cr_assert_eq(taken(&r, 6099), 9);
	cr_assert(rate_take(&r, 6100));
	/* No more than the burst, however long nothing was taken. */
	cr_assert_eq(taken(&r, 8099), 19);
	cr_assert_eq(taken(&r, 1000000), 20);
	cr_assert_eq(taken(&r, UINT64_MAX), 20);
}

/* Fractions are not lost by asking often. */
Test(rate, asked_often)
{
	struct rate r = rate_full(3, 1, 0);
	unsigned n = taken(&r, 0);

	for (uint64_t t = 1; t <= 10000; t++)
		n += rate_take(&r, t);
	cr_assert_geq(n, 30);
	cr_assert_leq(n, 31);
}

/* A clock that goes back brings nothing, and breaks nothing. */
Test(rate, backwards)
{
	struct rate r = rate_full(10, 1, 5000);

	cr_assert(rate_take(&r, 5000));
	cr_assert(!rate_take(&r, 100));
	cr_assert(!rate_take(&r, 199));
	cr_assert(rate_take(&r, 200));
}

Test(rate, bounds)
{
	struct rates *r = NULL;
	struct rate most = rate_full(RATE_MAX, RATE_MAX, 0);

	cr_assert_eq(rates_new(&r, 8, 0, 1), ERR_CONFIG);
	cr_assert_eq(rates_new(&r, 8, 1, 0), ERR_CONFIG);
	cr_assert_eq(rates_new(&r, 8, RATE_MAX + 1, 1), ERR_CONFIG);
	cr_assert_eq(rates_new(&r, 8, 1, RATE_MAX + 1), ERR_CONFIG);
	cr_assert_null(r);
	cr_assert(rate_take(&most, UINT64_MAX));
	cr_assert(rate_take(&most, 0));
	rates_free(NULL);
}

static void
key_of(uint8_t out[static RATES_KEY_LEN], unsigned n)
{
	memset(out, 0, RATES_KEY_LEN);
	memcpy(out, &n, sizeof n);
}

/* Each key has its own bucket; one bit makes another. */
Test(rate, keys)
{
	uint8_t a[RATES_KEY_LEN] = { 1 }, b[RATES_KEY_LEN] = { 1 };
	struct rates *r;

	b[RATES_KEY_LEN - 1] ^= 1;
	cr_assert_eq(rates_new(&r, 64, 1, 2), ERR_OK);
	cr_assert(rates_take(r, a, 0));
	cr_assert(rates_take(r, a, 0));
	cr_assert(!rates_take(r, a, 0));
	cr_assert(rates_take(r, b, 0));
	cr_assert(rates_take(r, b, 0));
	cr_assert(!rates_take(r, b, 0));
	cr_assert(!rates_take(r, a, 999));
	cr_assert(rates_take(r, a, 1000));
	rates_free(r);
}

/* Thousands of keys that come once do not make it forget one that is over its
 * rate: who has taken least is forgotten first. */
Test(rate, forgets_who_took_least)
{
	uint8_t rude[RATES_KEY_LEN], other[RATES_KEY_LEN];
	struct rates *r;

	key_of(rude, 1u << 31);
	cr_assert_eq(rates_new(&r, 64, 1, 10), ERR_OK);
	while (rates_take(r, rude, 0))
		;
	for (unsigned i = 0; i < 10000; i++) {
		key_of(other, i);
		cr_assert(rates_take(r, other, 0));
		cr_assert(!rates_take(r, rude, 0));
	}
	rates_free(r);
}
