/* Each instruction by itself: what it leaves on the stack, and its gas by
 * the Yellow Paper; what fails, and what is refused. */
#include <stdio.h>
#include <string.h>

#include <criterion/criterion.h>

#include "common/base/hex.h"
#include "common/crypto/keccak.h"
#include "tests/lib/evm_asm.h"
#include "tests/lib/evm_world.h"

#define ARRAY_LEN(a) (sizeof(a) / sizeof(a)[0])

static const uint8_t me[20] = { 0xaa, [19] = 1 };
static const uint8_t other[20] = { 0xbb, [19] = 2 };
static const uint8_t caller[20] = { 0xcc, [19] = 3 };
static const struct evm_block block = { .number = 1000,
	.timestamp = 1700000000,
	.gas_limit = 30000000,
	.chain_id = 31337,
	.base_fee = { [31] = 7 },
	.prev_randao = { 0x11, [31] = 0x22 },
	.coinbase = { 0xee },
	.hash = { 0x99 },
	.parent_hash = { 0x98, [31] = 1 } };

static struct evm_world w;
static struct buf out;
static struct evm_missing missing;
static uint64_t used;
static struct evm_call call;

static void
setup(void)
{
	uint8_t key[32] = { 0 }, value[32] = { 0 };

	memset(&call, 0, sizeof call);
	memcpy(call.to, me, 20);
	memcpy(call.from, caller, 20);
	call.gas = 1000000;
	call.max_return = 1 << 20;
	key[31] = 5;
	value[31] = 77;
	evm_world_slot(&w, me, key, value);
	evm_world_code(&w, other, BYTES_STR("\x5b\x01\x02"));
	evm_world_at(&w, other)->account.balance[31] = 9;
}

static void
teardown(void)
{
	evm_world_fini(&w);
	buf_fini(&out);
}

TestSuite(evm, .init = setup, .fini = teardown);

static enum evm_outcome
run(const char *text)
{
	struct buf code = { 0 };
	enum evm_outcome o;

	evm_asm(&code, text);
	evm_world_code(&w, me, buf_view(&code));
	evm_world_at(&w, me)->account.balance[31] = 42;
	o = evm_world_run(&w, &out, &missing, &call, &block, &used);
	buf_fini(&code);
	return o;
}

struct example {
	const char *text;
	const char *top; /* of the stack, hex, zeros in front left out */
	unsigned gas;
};

/* Returning the top costs 13: PUSH0, MSTORE into new memory, PUSH1, PUSH0. */
static void
check(const struct example *x, size_t n)
{
	char text[512], want[65], got[65];

	for (; n > 0; x++, n--) {
		(void)snprintf(
		    text, sizeof text, "%s 0 MSTORE 32 0 RETURN", x->text);
		(void)snprintf(want, sizeof want, "%0*d%s",
		    (int)(64 - strlen(x->top)), 0, x->top);
		if (strlen(x->top) == 64)
			(void)snprintf(want, sizeof want, "%s", x->top);
		cr_assert_eq(run(text), EVM_RETURNED, "%s", x->text);
		cr_assert_eq(out.len, 32);
		hex_encode(got, out.p, 32);
		cr_assert_str_eq(got, want, "%s", x->text);
		cr_assert_eq(used, 21000 + 13 + x->gas, "%s: %u, not %u",
		    x->text, (unsigned)used - 21013, x->gas);
	}
}

#define F16 "ffffffffffffffff"
#define MINUS1 F16 F16 F16 F16
#define P1 "0x" MINUS1

Test(evm, arithmetic)
{
	static const struct example x[] = {
		{ "3 2 ADD", "5", 9 },
		{ "1 " P1 " ADD", "0", 9 },
		{ "3 2 SUB", MINUS1, 9 },
		{ "3 2 MUL", "6", 11 },
		{ "3 10 DIV", "3", 11 },
		{ "0 10 DIV", "0", 10 },
		{ "3 10 MOD", "1", 11 },
		{ "0 10 MOD", "0", 10 },
		{ P1 " 10 SDIV",
		    "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
		    "f"
		    "ffff6",
		    11 },
		{ "3 " P1 " SMOD", MINUS1, 11 },
		{ "5 3 4 ADDMOD", "2", 17 },
		{ "5 " P1 " " P1 " ADDMOD", "0", 17 },
		{ "7 5 4 MULMOD", "6", 17 },
		{ "10 2 EXP", "400", 6 + 10 + 50 },
		{ "0 2 EXP", "1", 5 + 10 },
		{ "0x0100 2 EXP", "0", 6 + 10 + 100 },
		{ "0xff 0 SIGNEXTEND", MINUS1, 10 },
		{ "0x7f 0 SIGNEXTEND", "7f", 10 },
	};

	check(x, ARRAY_LEN(x));
}

Test(evm, logic)
{
	static const struct example x[] = {
		{ "3 2 LT", "1", 9 },
		{ "2 2 LT", "0", 9 },
		{ "2 3 GT", "1", 9 },
		{ "1 " P1 " SLT", "1", 9 },
		{ "1 " P1 " LT", "0", 9 },
		{ P1 " 1 SGT", "1", 9 },
		{ "4 4 EQ", "1", 9 },
		{ "4 5 EQ", "0", 9 },
		{ "0 ISZERO", "1", 5 },
		{ "5 ISZERO", "0", 6 },
		{ "12 10 AND", "8", 9 },
		{ "12 10 OR", "e", 9 },
		{ "12 10 XOR", "6", 9 },
		{ "0 NOT", MINUS1, 5 },
		{ "0x0102 31 BYTE", "2", 9 },
		{ "0x0102 32 BYTE", "0", 9 },
		{ "1 4 SHL", "10", 9 },
		{ "16 4 SHR", "1", 9 },
		{ P1 " 4 SAR", MINUS1, 9 },
		{ P1 " 4 SHR",
		    "f"
		    "ffffffffffffff" F16 F16 F16,
		    9 },
		{ P1 " 0x0100 SHR", "0", 9 },
	};

	check(x, ARRAY_LEN(x));
}

Test(evm, stack_and_flow)
{
	static const struct example x[] = {
		{ "7 8 POP", "7", 8 },
		{ "1 2 3 DUP3", "1", 12 },
		{ "1 2 3 SWAP2", "1", 12 },
		{ "PC PC PC", "2", 6 },
		{ "1 @x JUMP #fe x: JUMPDEST", "1", 3 + 3 + 8 + 1 },
		/* what a transaction leaves, without GAS itself */
		{ "GAS", "ef036", 2 },
		{ "9 1 @x JUMPI #fe x: JUMPDEST", "9", 9 + 10 + 1 },
		{ "9 0 @x JUMPI 4 x: JUMPDEST", "4", 3 + 2 + 3 + 10 + 3 + 1 },
		{ "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 DUP16", "2", 54 },
		{ "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 SWAP16", "1", 54 },
	};

	check(x, ARRAY_LEN(x));
}

/* Memory is paid by the word, and by the square of all words. */
Test(evm, memory)
{
	static const struct example x[] = {
		{ "0 MLOAD", "0", 2 + 3 + 3 - 3 },
		{ "0x1234 0 MSTORE 0 MLOAD", "1234", 3 + 2 + 6 + 2 + 3 - 3 },
		{ "0x1234 31 MSTORE8 0 MLOAD", "34", 6 + 6 + 5 - 3 },
		{ "1 1 MSTORE MSIZE", "40", 6 + 9 + 2 - 3 },
		{ "0 0x03e0 MSTORE MSIZE", "400",
		    5 + 3 + 3 * 32 + 32 * 32 / 512 + 2 - 3 },
		{ "0 0x7fe0 MSTORE 1", "1",
		    5 + 3 + 3 * 1024 + 1024 * 1024 / 512 + 3 - 3 },
		/* Nothing at a far place is no place. */
		{ "0 " P1 " KECCAK256",
		    "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad804"
		    "5d85a470",
		    5 + 30 },
		{ "0xff 0 MSTORE8 1 0 KECCAK256",
		    "8b1a944cf13a9a1c08facb2c9e98623ef3254d2ddb48113885c3e8e9"
		    "7fec8db9",
		    5 + 6 + 5 + 36 - 3 },
		/* Overlapping, and with the source beyond the memory. */
		{ "0xaabb 0 MSTORE 32 0 1 MCOPY 0 MLOAD", "aa",
		    3 + 2 + 6 + 3 + 2 + 3 + 3 + 3 + 3 + 5 - 3 },
		{ "0xaabb 0 MSTORE 32 64 0 MCOPY 0 MLOAD MSIZE", "60",
		    3 + 2 + 6 + 3 + 3 + 2 + 3 + 3 + 6 + 5 + 2 - 3 },
	};

	check(x, ARRAY_LEN(x));
}

Test(evm, environment)
{
	static const struct example x[] = {
		{ "ADDRESS", "aa00000000000000000000000000000000000001", 2 },
		{ "ORIGIN", "cc00000000000000000000000000000000000003", 2 },
		{ "CALLER", "cc00000000000000000000000000000000000003", 2 },
		{ "CALLVALUE", "0", 2 },
		{ "GASPRICE", "0", 2 },
		{ "CALLDATASIZE", "0", 2 },
		{ "0 CALLDATALOAD", "0", 5 },
		{ "SELFBALANCE", "2a", 5 },
		{ "ADDRESS BALANCE", "2a", 102 },
		{ "0xbb00000000000000000000000000000000000002 BALANCE", "9",
		    2603 },
		{ "0xbb00000000000000000000000000000000000002 DUP1 BALANCE "
		  "POP BALANCE",
		    "9", 3 + 3 + 2600 + 2 + 100 },
		{ "0xbb00000000000000000000000000000000000002 EXTCODESIZE", "3",
		    2603 },
		{ "CODESIZE", "7", 2 },
		{ "RETURNDATASIZE", "0", 2 },
		{ "TIMESTAMP", "6553f100", 2 },
		{ "NUMBER", "3e8", 2 },
		{ "GASLIMIT", "1c9c380", 2 },
		{ "CHAINID", "7a69", 2 },
		{ "BASEFEE", "7", 2 },
		{ "5 BLOBHASH", "0", 6 },
		{ "PREVRANDAO",
		    "11000000000000000000000000000000000000000000000000000000"
		    "00000022",
		    2 },
		{ "COINBASE", "ee00000000000000000000000000000000000000", 2 },
		{ "COINBASE BALANCE", "0", 102 },
		{ "0x03e8 BLOCKHASH", "0", 23 },
		{ P1 " BLOCKHASH", "0", 23 },
		{ "0x02e7 BLOCKHASH", "0", 23 },
		{ "0x03e7 BLOCKHASH",
		    "98000000000000000000000000000000000000000000000000000000"
		    "00000001",
		    23 },
		{ "5 SLOAD", "4d", 2103 },
		{ "5 SLOAD POP 5 SLOAD", "4d", 2103 + 2 + 103 },
		{ "5 TLOAD", "0", 103 },
		{ "6 5 TSTORE 5 TLOAD", "6", 6 + 100 + 103 },
		{ "6 5 TSTORE 7 5 TSTORE 5 TLOAD", "7", 212 + 103 },
	};

	evm_world_code(&w, block.coinbase, (struct bytes){ 0 });
	check(x, ARRAY_LEN(x));
}

static void
returns(const char *text, const char *hex)
{
	char got[513];

	cr_assert_eq(run(text), EVM_RETURNED, "%s", text);
	cr_assert_leq(out.len, 256);
	cr_assert_str_eq(hex_encode(got, out.p, out.len), hex, "%s", text);
}

/* Copies are zero beyond the end of what they copy, but return data. */
Test(evm, copies)
{
	const uint8_t data[5] = { 1, 2, 3, 4, 5 };

	call.data = BYTES_OF(data);
	returns("8 2 0 CALLDATACOPY 8 0 RETURN", "0304050000000000");
	cr_assert_eq(used, 21000 + 5 * 16 + 3 + 3 + 2 + 3 + 3 + 3 + 5);
	returns("8 " P1 " 0 CALLDATACOPY 4 0 RETURN", "00000000");
	returns(
	    "0 " P1 " " P1 " CALLDATACOPY MSIZE 0 MSTORE 2 0 RETURN", "0000");
	returns("3 CALLDATALOAD 0 MSTORE 4 0 RETURN", "04050000");
	returns(P1 " CALLDATALOAD 0 MSTORE 4 0 RETURN", "00000000");
	returns("4 3 0 CODECOPY 4 0 RETURN", "035f3960");
	returns("4 2 0 0xbb00000000000000000000000000000000000002 "
		"EXTCODECOPY 4 0 RETURN",
	    "02000000");
}

Test(evm, hash_of_code)
{
	struct evm_world_account *a = evm_world_at(&w, other);
	char hash[65];

	hex_encode(hash, a->account.code_hash, 32);
	static const char text[] =
	    "0xbb00000000000000000000000000000000000002 EXTCODEHASH 0 MSTORE "
	    "32 0 RETURN";
	returns(text, hash);
	cr_assert_eq(used, 21000 + 3 + 2600 + 13);
	/* Without code: that of nothing.  Without anything: zero. */
	evm_world_code(&w, other, (struct bytes){ 0 });
	returns(text,
	    "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a47"
	    "0");
	a->account.nonce = 0;
	returns(text,
	    "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a47"
	    "0");
	a->account.balance[31] = 0;
	returns(text,
	    "000000000000000000000000000000000000000000000000000000000000000"
	    "0");
	a->account.exists = false;
	returns(text,
	    "000000000000000000000000000000000000000000000000000000000000000"
	    "0");
	/* The sender has a nonce, also one that is not there. */
	memcpy(call.from, other, sizeof call.from);
	returns(text,
	    "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a47"
	    "0");
}

Test(evm, ends)
{
	char got[65];

	cr_assert_eq(run(""), EVM_RETURNED);
	cr_assert_eq(out.len, 0);
	cr_assert_eq(used, 21000);
	cr_assert_eq(run("1 2 STOP INVALID"), EVM_RETURNED);
	cr_assert_eq(used, 21006);
	cr_assert_eq(run("0xdead 0 MSTORE 2 30 REVERT"), EVM_REVERTED);
	cr_assert_str_eq(hex_encode(got, out.p, out.len), "dead");
	cr_assert_eq(used, 21000 + 3 + 2 + 6 + 6);
	/* A push whose bytes are missing has zeros. */
	returns("0 0 MSTORE 32 0 #f3",
	    "0000000000000000000000000000000000000"
	    "000000000000000000000000000");
	cr_assert_eq(run("#61ff"), EVM_RETURNED);
	cr_assert_eq(run("#7f"), EVM_RETURNED);
}

/* A failure takes all gas. */
Test(evm, failures)
{
	static const char *const x[] = { "INVALID", "ADD", "1 ADD", "POP",
		"1 SWAP1", "1 DUP2", "MLOAD", "1 MSTORE", "1 2 ADDMOD",
		/* bad jumps: no JUMPDEST, in data, beyond, far beyond */
		"0 JUMP", "4 JUMP #615b5b5b", "@x JUMP #60 x: #5b", P1 " JUMP",
		"0x010000000000000003 JUMP JUMPDEST", "1 200 JUMPI",
		/* memory that cannot be paid */
		"0 " P1 " MSTORE", P1 " MLOAD", "0x0100000000 MLOAD",
		P1 " 0 RETURN", "1 " P1 " RETURN", P1 " 0 KECCAK256",
		"1 " P1 " 0 MCOPY", P1 " 0 0 MCOPY", P1 " " P1 " REVERT",
		"0 0xffffffffffffffff MSTORE8", P1 " 0 0 CALLDATACOPY",
		P1 " 0 LOG0", "0x100000 0 LOG0",
		/* more than was returned */
		"1 0 0 RETURNDATACOPY", "0 1 0 RETURNDATACOPY",
		P1 " 1 0 RETURNDATACOPY",
		/* endless */
		"x: JUMPDEST @x JUMP", "x: JUMPDEST 1 @x JUMP",
		"x: JUMPDEST MSIZE MLOAD POP @x JUMP" };

	for (size_t i = 0; i < ARRAY_LEN(x); i++) {
		used = 0;
		cr_assert_eq(run(x[i]), EVM_FAILED, "%s", x[i]);
		cr_assert_eq(used, call.gas, "%s", x[i]);
	}
}

/* The stack holds 1024 words, and not one more. */
Test(evm, depth_of_stack)
{
	struct buf code = { 0 };
	uint8_t push[1025];

	memset(push, 0x5f, sizeof push);
	evm_world_code(&w, me, (struct bytes){ push, 1024 });
	cr_assert_eq(evm_world_run(&w, &out, &missing, &call, &block, &used),
	    EVM_RETURNED);
	cr_assert_eq(used, 21000 + 2048);
	evm_world_code(&w, me, (struct bytes){ push, 1025 });
	cr_assert_eq(evm_world_run(&w, &out, &missing, &call, &block, &used),
	    EVM_FAILED);
	buf_fini(&code);
}

/* What is not served is neither success nor failure. */
Test(evm, refusals)
{
	static const char *const x[] = { "1 2 SSTORE", "0 0 0 CREATE",
		"0 0 0 0 CREATE2", "0 SELFDESTRUCT", "#1e", "#0c", "#21",
		"BLOBBASEFEE", "#4b", "#a5", "#b0", "#e0", "#ef", "#fb", "#f6",
		"0x12 BALANCE", "0x0100 BALANCE", "0x01ff EXTCODESIZE",
		"0x03e6 BLOCKHASH", "0x02e8 BLOCKHASH",
		/* value above zero */
		"0 0 0 0 1 ADDRESS GAS CALL", "0 0 0 0 1 ADDRESS GAS CALLCODE",
		/* precompiles that are not served */
		"0 0 0 0 5 GAS STATICCALL", "0 0 0 0 0x11 GAS STATICCALL",
		"0 0 0 0 0x0100 GAS STATICCALL", "0 0 0 0 0 9 GAS CALL" };

	used = 5;
	cr_assert_eq(buf_set(&out, "before", 6), ERR_OK);
	for (size_t i = 0; i < ARRAY_LEN(x); i++) {
		cr_assert_eq(run(x[i]), EVM_UNSUPPORTED, "%s", x[i]);
		cr_assert_eq(used, 5);
		cr_assert_str_eq((char *)out.p, "before");
	}
	cr_assert_eq(run("0 0 SLOAD"), EVM_MISSING);
	cr_assert_eq(missing.what, EVM_MISSING_SLOT);
}

Test(evm, logs_cost)
{
	cr_assert_eq(run("64 0 LOG0"), EVM_RETURNED);
	cr_assert_eq(used, 21000 + 5 + 375 + 8 * 64 + 6);
	cr_assert_eq(run("1 2 3 4 1 0 LOG4"), EVM_RETURNED);
	cr_assert_eq(used, 21000 + 17 + 5 * 375 + 8 + 3);
	cr_assert_eq(run("1 2 3 1 0 LOG4"), EVM_FAILED);
}

Test(evm, says_what_is_missing)
{
	static const uint8_t far[20] = { 0xdd, [19] = 4 };

	cr_assert_eq(run("7 SLOAD"), EVM_MISSING);
	cr_assert_eq(missing.what, EVM_MISSING_SLOT);
	cr_assert_eq(memcmp(missing.address, me, 20), 0);
	cr_assert_eq(missing.slot[31], 7);
	cr_assert_eq(run("0xdd00000000000000000000000000000000000004 BALANCE"),
	    EVM_MISSING);
	cr_assert_eq(missing.what, EVM_MISSING_ACCOUNT);
	cr_assert_eq(memcmp(missing.address, far, 20), 0);
	cr_assert_eq(run("0 0 0 0 0xdd00000000000000000000000000000000000004 "
			 "GAS STATICCALL"),
	    EVM_MISSING);
	cr_assert_eq(missing.what, EVM_MISSING_CODE);
	cr_assert_eq(memcmp(missing.address, far, 20), 0);
	memcpy(call.to, far, 20);
	cr_assert_eq(run(""), EVM_MISSING);
	cr_assert_eq(missing.what, EVM_MISSING_CODE);
}

/* What cannot be paid is not asked for. */
Test(evm, asks_only_for_what_it_can_pay)
{
	call.gas = 21000 + 2102;
	cr_assert_eq(run("7 SLOAD"), EVM_FAILED);
	call.gas++;
	cr_assert_eq(run("7 SLOAD"), EVM_MISSING);
	call.gas = 20999;
	cr_assert_eq(run("7 SLOAD"), EVM_FAILED);
	cr_assert_eq(used, 20999);
}

Test(evm, bounds)
{
	/* Gas. */
	call.gas = (uint64_t)EVM_GAS_MAX + 1;
	cr_assert_eq(run("1"), EVM_UNSUPPORTED);
	call.gas = UINT64_MAX;
	cr_assert_eq(run("1"), EVM_UNSUPPORTED);
	call.gas = EVM_GAS_MAX;
	cr_assert_eq(run("1"), EVM_RETURNED);
	/* Steps. */
	cr_assert_eq(run("x: JUMPDEST @x JUMP"), EVM_UNSUPPORTED);
	/* What is returned. */
	call.max_return = 63;
	cr_assert_eq(run("64 0 RETURN"), EVM_UNSUPPORTED);
	cr_assert_eq(run("64 0 REVERT"), EVM_UNSUPPORTED);
	cr_assert_eq(run("63 0 RETURN"), EVM_RETURNED);
	cr_assert_eq(out.len, 63);
	/* Transient slots. */
	cr_assert_eq(run("0 x: JUMPDEST 1 ADD DUP1 DUP1 TSTORE @x JUMP"),
	    EVM_UNSUPPORTED);
}

static struct bytes big_code;

static enum err
code_of_size(void *cookie, struct bytes *c, const uint8_t address[static 20])
{
	(void)cookie;
	(void)address;
	*c = big_code;
	return ERR_OK;
}

static enum err
fails(void *cookie, struct bytes *c, const uint8_t address[static 20])
{
	(void)c;
	(void)address;
	return *(enum err *)cookie;
}

Test(evm, what_the_state_says)
{
	static uint8_t big[EVM_CODE_MAX + 1];
	enum err e;
	const struct evm_state sizes = { .code = code_of_size };
	const struct evm_state broken = { .cookie = &e, .code = fails };

	big_code = (struct bytes){ big, EVM_CODE_MAX };
	cr_assert_eq(
	    evm_run(&out, &missing, &call, &block, &sizes, NULL), EVM_RETURNED);
	big_code.len++;
	cr_assert_eq(evm_run(&out, &missing, &call, &block, &sizes, NULL),
	    EVM_UNSUPPORTED);
	for (e = ERR_MALFORMED; e <= ERR_NOMEM; e++)
		cr_assert_eq(
		    evm_run(&out, &missing, &call, &block, &broken, NULL),
		    e == ERR_NOTFOUND    ? EVM_MISSING
			: e == ERR_NOMEM ? EVM_NOMEM
					 : EVM_UNSUPPORTED);
}
