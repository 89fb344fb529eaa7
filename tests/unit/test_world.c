/* What is proven of one block, kept. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <criterion/criterion.h>

#include "kms/gate/world.h"

static const struct chain_block at = { .number = 7 };

static double
cpu_s(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* The next number from `i` on whose slot a table without a secret (FNV-1a)
 * would put into its first place of 4,096. */
static uint64_t
next_slot(uint8_t slot[static 32], uint64_t i)
{
	const uint64_t prime = 0x100000001b3;
	uint64_t begin = 0xcbf29ce484222325, h;

	memset(slot, 0, 32);
	for (unsigned k = 0; k < 28; k++)
		begin *= prime;
	do {
		i++;
		h = begin;
		for (unsigned k = 0; k < 4; k++) {
			slot[28 + k] = (uint8_t)(i >> (24 - 8 * k));
			h = (h ^ slot[28 + k]) * prime;
		}
	} while ((h >> 40) % 4096 != 0);
	return i;
}

/* A contract chooses the slots that it reads, and reading them again is cheap
 * for it: they are not found by walking past each other. */
Test(world, chosen_slots_do_not_meet)
{
	enum { N = 24000, READS = 20000 };
	static uint8_t slot[N][32];
	const uint8_t address[20] = { 0xad };
	struct codes *codes = codes_new(1024);
	struct world *w = world_new(&at, codes);
	uint64_t next = 0;
	uint8_t v[32];
	double t;

	cr_assert_not_null(w);
	for (unsigned i = 0; i < N; i++)
		next = next_slot(slot[i], next);
	t = cpu_s();
	for (unsigned i = 0; i < N; i++)
		cr_assert_eq(
		    world_put_slot(w, address, slot[i], slot[i]), ERR_OK);
	for (unsigned i = 0; i < READS; i++) {
		cr_assert_eq(world_slot(w, v, address, slot[i % N]), ERR_OK);
		cr_assert_arr_eq(v, slot[i % N], 32);
	}
	t = cpu_s() - t;
	cr_assert_lt(t, 0.25, "%.3f s", t);
	world_unref(w);
	codes_free(codes);
}

/* Code by its hash: what is put twice is there once; what does not fit beside
 * the others makes them go, and what never fits is not kept.  What somebody
 * holds stays. */
Test(world, codes_are_bounded)
{
	uint8_t bytes[3][700] = { { 1 }, { 2 }, { 3 } }, large[1025] = { 4 };
	struct codes *codes = codes_new(1024);
	const struct code *a, *b, *again, *big;

	a = codes_put(codes, BYTES_OF(bytes[0]));
	again = codes_put(codes, BYTES_OF(bytes[0]));
	cr_assert_eq(a, again);
	codes_unref(again);
	b = codes_put(codes, BYTES_OF(bytes[1]));
	cr_assert_null(codes_get(codes, a->hash));
	again = codes_get(codes, b->hash);
	cr_assert_eq(b, again);
	codes_unref(again);
	/* Forgotten, and still what it was. */
	cr_assert_eq(a->bytes.len, sizeof bytes[0]);
	cr_assert_arr_eq(a->bytes.p, bytes[0], sizeof bytes[0]);
	big = codes_put(codes, BYTES_OF(large));
	cr_assert_null(codes_get(codes, big->hash));
	cr_assert_null(codes_get(codes, b->hash));
	cr_assert_arr_eq(big->bytes.p, large, sizeof large);
	codes_free(codes);
	cr_assert_arr_eq(b->bytes.p, bytes[1], sizeof bytes[1]);
	codes_unref(a);
	codes_unref(b);
	codes_unref(big);
	codes_unref(NULL);
	codes_free(NULL);
}

/* Nor are there more than a thousand, however small. */
Test(world, codes_are_counted)
{
	struct codes *codes = codes_new(1u << 20);
	uint8_t first[32];

	for (unsigned i = 0; i < 1025; i++) {
		uint8_t bytes[2] = { (uint8_t)i, (uint8_t)(i >> 8) };
		const struct code *k = codes_put(codes, BYTES_OF(bytes));

		cr_assert_not_null(k);
		if (i == 0)
			memcpy(first, k->hash, 32);
		codes_unref(k);
		k = codes_get(codes, first);
		cr_assert_eq(k != NULL, i < 1024, "%u", i);
		codes_unref(k);
	}
	codes_free(codes);
}

/* A world that a contract has filled is said to be full: by accounts, and by
 * slots. */
Test(world, full)
{
	const uint8_t zero[32] = { 0 };
	const struct stateproof_account nothing = { .exists = false };
	struct codes *codes = codes_new(1024);
	struct world *w = world_new(&at, codes);
	uint8_t key[32] = { 0 };
	unsigned n = 0;

	for (; !world_full(w) && n < 1000000; n++) {
		key[0] = (uint8_t)n, key[1] = (uint8_t)(n >> 8);
		key[2] = (uint8_t)(n >> 16);
		cr_assert_eq(world_put_account(w, key, &nothing), ERR_OK);
	}
	cr_assert_gt(n, 100);
	cr_assert_lt(n, 1000000);
	world_unref(w);
	w = world_new(&at, codes);
	for (n = 0; !world_full(w) && n < 1000000; n++) {
		key[0] = (uint8_t)n, key[1] = (uint8_t)(n >> 8);
		key[2] = (uint8_t)(n >> 16);
		cr_assert_eq(world_put_slot(w, key, key, zero), ERR_OK);
	}
	cr_assert_gt(n, 1000);
	cr_assert_lt(n, 1000000);
	world_unref(w);
	codes_free(codes);
}
