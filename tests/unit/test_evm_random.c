/* Random programs that call each other, in our EVM and in anvil's: the same
 * outcome, the same data, the same gas to the last unit.  Skipped where
 * Foundry is not installed.
 *
 *   EVM_RANDOM=5000 EVM_SEED=7 build/gcc/tests/unit/test_evm_random
 *
 * A failure prints the seed of its program: EVM_RANDOM=1 EVM_SEED=that. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "tests/lib/evm_asm.h"
#include "tests/lib/evm_diff.h"
#include "tests/lib/evm_gen.h"

#define ROUNDS 300

static const uint8_t contract[4][20] = { { 0xaa, [19] = 1 }, { 0xbb, [19] = 2 },
	{ 0xcc, [19] = 3 }, { 0xdd, [19] = 4 } };

static uint64_t
setting(const char *name, uint64_t otherwise)
{
	const char *v = getenv(name);

	return v != NULL ? strtoull(v, NULL, 0) : otherwise;
}

/* Three contracts of programs, and one without code; a few slots each. */
static void
fill(struct evm_world *w, struct evm_gen *g)
{
	struct buf code = { 0 };
	uint8_t key[32] = { 0 }, value[32];

	for (size_t i = 0; i < 3; i++) {
		/* Mostly those behind it, or there is no end to it. */
		g->target = contract + (evm_gen_next(g) % 8 == 0 ? 0 : i + 1);
		g->n_targets = (size_t)(contract + 4 - g->target);
		evm_gen_program(g, &code);
		evm_world_code(w, contract[i], buf_view(&code));
		evm_world_at(w, contract[i])->account.balance[31] =
		    (uint8_t)evm_gen_next(g);
		for (size_t k = 0; k < 4; k++) {
			key[31] = (uint8_t)(evm_gen_next(g) % 8);
			memset(value, 0, sizeof value);
			for (size_t n = evm_gen_next(g) % 33; n > 0; n--)
				value[32 - n] = (uint8_t)evm_gen_next(g);
			evm_world_slot(w, contract[i], key, value);
		}
	}
	buf_fini(&code);
}

static enum evm_outcome
one(const struct anvil *a, const struct evm_block *b, uint64_t seed)
{
	struct evm_gen g = { seed, contract, 4 };
	struct evm_world w = { .anvil = a };
	struct evm_call c = { .max_return = 1 << 20 };
	uint8_t data[80];
	enum evm_outcome o;

	fill(&w, &g);
	memcpy(c.to, contract[0], 20);
	memset(c.from, (int)(evm_gen_next(&g) % 3), 20);
	for (size_t i = 0; i < sizeof data; i++)
		data[i] = (uint8_t)evm_gen_next(&g) &
		    (evm_gen_next(&g) % 2 != 0 ? 0xff : 0);
	c.data = (struct bytes){ data, evm_gen_next(&g) % sizeof data };
	/* Above the floor of EIP-7623; sometimes just enough, often too
	 * little, mostly plenty. */
	c.gas = 25000 +
	    evm_gen_next(&g) %
		(uint64_t[]){ 2000, 100000, 1000000,
			2000000 }[evm_gen_next(&g) % 4];
	o = evm_diff_call(&w, NULL, &c, b, true);
	evm_world_fini(&w);
	return o;
}

Test(evm_random, the_same_as_anvil)
{
	uint64_t n = setting("EVM_RANDOM", ROUNDS);
	uint64_t seed = setting("EVM_SEED", 1);
	unsigned count[6] = { 0 };
	struct evm_block b;
	struct anvil a;

	if (!anvil_start(&a))
		cr_skip_test("Foundry is not installed");
	anvil_rpc(&a, "anvil_mine", "[\"0x12c\"]");
	evm_diff_block(&b, &a);
	for (uint64_t i = 0; i < n; i++) {
		(void)fprintf(stderr, "\r# EVM_SEED=%llu ",
		    (unsigned long long)(seed + i));
		count[one(&a, &b, seed + i)]++;
	}
	(void)fprintf(stderr,
	    "\r# %llu programs: %u returned, %u reverted, %u failed, %u "
	    "refused\n",
	    (unsigned long long)n, count[EVM_RETURNED], count[EVM_REVERTED],
	    count[EVM_FAILED], count[EVM_UNSUPPORTED]);
	/* The programs are worth running. */
	if (n >= 100) {
		cr_assert_gt(count[EVM_RETURNED], n / 4);
		cr_assert_gt(count[EVM_FAILED], n / 50);
		cr_assert_gt(count[EVM_REVERTED], n / 50);
		cr_assert_lt(count[EVM_UNSUPPORTED], n / 3);
	}
	anvil_stop(&a);
}

/* What chance does not find: calls of itself until the gas ends, signatures
 * at their limits, hashes of long memory. */
Test(evm_random, programs_with_a_purpose)
{
#define DEEP \
	"0 0 0 0 ADDRESS GAS STATICCALL POP 32 0 32 0 ADDRESS GAS " \
	"STATICCALL 0 MLOAD 1 ADD 0 MSTORE 32 0 RETURN"
#define RECOVER(v, r, s) \
	"7 0 MSTORE " v " 32 MSTORE " r " 64 MSTORE " s " 96 MSTORE " \
	"32 0 128 0 1 GAS STATICCALL 32 MSTORE RETURNDATASIZE 64 MSTORE " \
	"GAS 96 MSTORE 128 0 RETURN"
#define N "0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd036414"
#define GX "0x79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798"
	static const char *const x[] = { DEEP,
		"32 0 0 0 ADDRESS GAS STATICCALL 0 MLOAD 1 ADD 0 MSTORE 32 0 "
		"RETURN",
		"x: JUMPDEST MSIZE MLOAD POP 2000000 GAS GT @x JUMPI MSIZE 0 "
		"KECCAK256 0 MSTORE 32 0 RETURN",
		"0 x: JUMPDEST 1 ADD DUP1 DUP1 EXP POP 5000 GAS GT @x JUMPI 0 "
		"MSTORE 32 0 RETURN",
		RECOVER("27", GX, "1"), RECOVER("28", GX, "1"),
		RECOVER("27", GX, N "0"), RECOVER("28", GX, N "0"),
		RECOVER("27", GX, N "1"), RECOVER("27", GX, N "2"),
		RECOVER("27", N "0", "1"), RECOVER("27", N "1", "1"),
		RECOVER("26", GX, "1"), RECOVER("0", GX, "1"),
		RECOVER("29", GX, "1"), RECOVER("0x011b", GX, "1"),
		RECOVER("27", "0", "1"), RECOVER("27", GX, "0"),
		RECOVER("27", "5", "9"), RECOVER("28", "4", "9"),
		RECOVER("28", "3", "9"), RECOVER("28", "2", "9") };
	struct evm_call c = { .max_return = 1 << 20, .gas = 16000000 };
	struct evm_world w = { 0 };
	struct evm_block b;
	struct buf code = { 0 };
	struct anvil a;

	if (!anvil_start(&a))
		cr_skip_test("Foundry is not installed");
	evm_diff_block(&b, &a);
	memcpy(c.to, contract[0], 20);
	for (size_t i = 0; i < sizeof x / sizeof x[0]; i++) {
		w.anvil = &a;
		evm_asm(&code, x[i]);
		evm_world_code(&w, contract[0], buf_view(&code));
		cr_assert_eq(evm_diff_call(&w, NULL, &c, &b, true),
		    EVM_RETURNED, "%s", x[i]);
		evm_world_fini(&w);
	}
	buf_fini(&code);
	anvil_stop(&a);
}
