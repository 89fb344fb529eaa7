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
