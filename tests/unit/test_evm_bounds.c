/* Bounds that no contract of ours comes near: what is past them is refused,
 * what is at them is not. */
#include <stdio.h>
#include <string.h>

#include <criterion/criterion.h>

#include "tests/lib/evm_asm.h"
#include "tests/lib/evm_world.h"

#define TOP " 0 MSTORE 32 0 RETURN"
#define B "0xbb00000000000000000000000000000000000002"

static const uint8_t me[20] = { 0xaa, [19] = 1 };
static const uint8_t b[20] = { 0xbb, [19] = 2 };

static struct evm_world w;
static struct buf out;
static struct evm_missing missing;
static uint64_t used;
static struct evm_call call;
static struct evm_block block;

static void
setup(void)
{
	call = (struct evm_call){ .gas = EVM_GAS_MAX, .max_return = 4096 };
	memcpy(call.to, me, 20);
	block = (struct evm_block){ .number = 1000 };
}

static void
teardown(void)
{
	evm_world_fini(&w);
	buf_fini(&out);
}

TestSuite(evm_bounds, .init = setup, .fini = teardown);

static void
contract(const uint8_t at[static 20], const char *text)
{
	struct buf code = { 0 };

	evm_asm(&code, text);
	evm_world_code(&w, at, buf_view(&code));
	buf_fini(&code);
}

static enum evm_outcome
run(const char *text)
{
	contract(me, text);
	return evm_world_run(&w, &out, &missing, &call, &block, &used);
}

static unsigned
low_word(void)
{
	cr_assert_eq(out.len, 32);
	return (unsigned)out.p[30] << 8 | out.p[31];
}

/* ---- contracts ---- */

static struct buf mine;
static unsigned n_asked;

/* Ours is at `me`; all others are one byte, which is no instruction. */
static enum err
code_of(void *cookie, struct bytes *c, const uint8_t address[static 20])
{
	(void)cookie;
	n_asked++;
	*c = memcmp(address, me, 20) == 0
	    ? buf_view(&mine)
	    : (struct bytes){ (const uint8_t *)"\xfe", 1 };
	return ERR_OK;
}

static enum evm_outcome
sizes_of(unsigned n)
{
	static const struct evm_state state = { .code = code_of };
	enum evm_outcome o;
	char text[160];

	(void)snprintf(text, sizeof text,
	    "0 x: JUMPDEST 1 ADD DUP1 0x010000 ADD EXTCODESIZE POP "
	    "DUP1 0x%06x SUB @x JUMPI" TOP,
	    n);
	evm_asm(&mine, text);
	n_asked = 0;
	o = evm_run(&out, &missing, &call, &block, &state, &used);
	buf_fini(&mine);
	return o;
}

/* One call sees so many contracts' code, its own among them. */
Test(evm_bounds, contracts)
{
	cr_assert_eq(sizes_of(EVM_CODES_MAX), EVM_UNSUPPORTED);
	cr_assert_eq(n_asked, EVM_CODES_MAX);
	cr_assert_eq(sizes_of(EVM_CODES_MAX - 1), EVM_RETURNED);
	cr_assert_eq(low_word(), EVM_CODES_MAX - 1);
}

/* ---- memory and journal ---- */

/* Sizes and offsets that no gas pays for fail like those that cost too
 * much, whichever of the two it is. */
Test(evm_bounds, addresses)
{
	static const char *const far[] = {
		"0x0100000001 0 RETURN",
		"0xffffffffffffffff 0 RETURN",
		"0x010000000000000000 0 RETURN",
		"1 0x0100000001 RETURN",
		"1 0xffffffffffffffff RETURN",
		"1 0x010000000000000000 RETURN",
		"0x0100000001 0x0100000001 REVERT",
		"0x0100000001 0 KECCAK256",
	};

	for (size_t i = 0; i < sizeof far / sizeof far[0]; i++) {
		cr_assert_eq(run(far[i]), EVM_FAILED, "%s", far[i]);
		cr_assert_eq(used, call.gas);
		cr_assert_eq(out.len, 0);
	}
	/* Nothing can be taken from anywhere. */
	cr_assert_eq(run("0 0xffffffffffffffff RETURN"), EVM_RETURNED);
}

/* A slot that is written again and again fills the journal, too: each has
 * what it may have to be taken back to. */
Test(evm_bounds, writes)
{
	cr_assert_eq(run("x: JUMPDEST 1 1 TSTORE @x JUMP"), EVM_UNSUPPORTED);
	cr_assert_eq(run("0 x: JUMPDEST 1 ADD DUP1 1 TSTORE "
			 "DUP1 0x7fff SUB @x JUMPI 1 TLOAD" TOP),
	    EVM_RETURNED);
	cr_assert_eq(low_word(), 0x7fff);
}

/* ---- calls ---- */

/* Value is not sent: what a call with some would do is not known here.  Nor in
 * a static frame, where CALLCODE may name one. */
Test(evm_bounds, value)
{
	contract(b, "0 0 0 0 1 0x03 GAS CALLCODE" TOP);
	cr_assert_eq(run("32 0 0 0 " B " GAS STATICCALL" TOP), EVM_UNSUPPORTED);
	contract(b, "0 0 0 0 1 0x03 GAS CALL" TOP);
	cr_assert_eq(run("32 0 0 0 " B " GAS STATICCALL" TOP), EVM_RETURNED);
	cr_assert_eq(low_word(), 0);
	cr_assert_eq(run("0 0 0 0 1 " B " GAS CALL" TOP), EVM_UNSUPPORTED);
}

/* Whoever offers more gas than there is offers all but a part. */
Test(evm_bounds, offers)
{
	static const char all[] = "0xffffffffffffffffffffffffffffffff"
				  "ffffffffffffffffffffffffffffffff";
	char text[200];
	uint64_t first;

	call.gas = 100000;
	contract(b, "GAS" TOP);
	(void)snprintf(text, sizeof text,
	    "32 0 0 0 " B " %s STATICCALL POP 32 0 RETURN", all);
	cr_assert_eq(run(text), EVM_RETURNED);
	first = (uint64_t)out.p[29] << 16 | low_word();
	cr_assert_lt(first, call.gas - call.gas / 64);
	(void)snprintf(text, sizeof text,
	    "32 0 0 0 " B " %s STATICCALL POP 32 0 RETURN",
	    "0x010000000000000000");
	cr_assert_eq(run(text), EVM_RETURNED);
	cr_assert_geq((uint64_t)out.p[29] << 16 | low_word(), first);
}

/* ---- what is not known ---- */

/* The parent's hash, where nobody said it; what is older. */
Test(evm_bounds, block_hashes)
{
	cr_assert_eq(run("999 BLOCKHASH" TOP), EVM_UNSUPPORTED);
	cr_assert_eq(run("998 BLOCKHASH" TOP), EVM_UNSUPPORTED);
	cr_assert_eq(run("1000 BLOCKHASH" TOP), EVM_RETURNED);
	cr_assert_eq(low_word(), 0);
	block.parent_hash[31] = 9;
	cr_assert_eq(run("999 BLOCKHASH" TOP), EVM_RETURNED);
	cr_assert_eq(low_word(), 9);
	cr_assert_eq(run("998 BLOCKHASH" TOP), EVM_UNSUPPORTED);
}

/* The balance of one who is not there is none, of one of whom nobody has said
 * anything it is missing. */
Test(evm_bounds, balances)
{
	struct evm_world_account *x = evm_world_at(&w, b);
	struct buf code = { 0 };

	cr_assert_eq(run(B " BALANCE" TOP), EVM_MISSING);
	cr_assert_eq(missing.what, EVM_MISSING_ACCOUNT);
	x->has_account = true;
	x->account.exists = false;
	x->account.balance[31] = 5;
	cr_assert_eq(run(B " BALANCE" TOP), EVM_RETURNED);
	cr_assert_eq(low_word(), 0);
	x->account.exists = true;
	cr_assert_eq(run(B " BALANCE" TOP), EVM_RETURNED);
	cr_assert_eq(low_word(), 5);

	evm_asm(&code, "SELFBALANCE" TOP);
	evm_world_code(&w, me, buf_view(&code));
	buf_fini(&code);
	x = evm_world_at(&w, me);
	x->has_account = false;
	cr_assert_eq(evm_world_run(&w, &out, &missing, &call, &block, &used),
	    EVM_MISSING);
	cr_assert_eq(missing.what, EVM_MISSING_ACCOUNT);
	cr_assert_arr_eq(missing.address, me, 20);
	x->has_account = true;
	x->account.exists = false;
	x->account.balance[31] = 5;
	cr_assert_eq(evm_world_run(&w, &out, &missing, &call, &block, &used),
	    EVM_RETURNED);
	cr_assert_eq(low_word(), 0);
}
