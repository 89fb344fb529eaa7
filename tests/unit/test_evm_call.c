/* Contracts that call each other, and the precompiles. */
#include <stdio.h>
#include <string.h>

#include <criterion/criterion.h>

#include "common/base/hex.h"
#include "common/crypto/hash.h"
#include "common/crypto/k256.h"
#include "tests/lib/evm_asm.h"
#include "tests/lib/evm_world.h"

/* A calls B. */
#define B "0xbb00000000000000000000000000000000000002"
#define TOP " 0 MSTORE 32 0 RETURN"

static const uint8_t a[20] = { 0xaa, [19] = 1 };
static const uint8_t b[20] = { 0xbb, [19] = 2 };
static const uint8_t origin[20] = { 0xcc, [19] = 3 };
static const struct evm_block block = { .number = 1000 };

static struct evm_world w;
static struct buf out;
static struct evm_missing missing;
static uint64_t used;
static struct evm_call call;

static void
setup(void)
{
	memset(&call, 0, sizeof call);
	memcpy(call.to, a, 20);
	memcpy(call.from, origin, 20);
	call.gas = 1000000;
	call.max_return = 4096;
}

static void
teardown(void)
{
	evm_world_fini(&w);
	buf_fini(&out);
}

TestSuite(evm_call, .init = setup, .fini = teardown);

static void
contract(const uint8_t at[static 20], const char *text)
{
	struct buf code = { 0 };

	evm_asm(&code, text);
	evm_world_code(&w, at, buf_view(&code));
	buf_fini(&code);
}

static enum evm_outcome
run(const char *text_a, const char *text_b)
{
	contract(b, text_b);
	contract(a, text_a);
	return evm_world_run(&w, &out, &missing, &call, &block, &used);
}

/* `hex` is what A returns. */
static void
returns(const char *text_a, const char *text_b, const char *hex)
{
	char got[1025];

	cr_assert_eq(
	    run(text_a, text_b), EVM_RETURNED, "%s / %s", text_a, text_b);
	cr_assert_leq(out.len, 512);
	cr_assert_str_eq(
	    hex_encode(got, out.p, out.len), hex, "%s / %s", text_a, text_b);
}

/* The same for one word, without the zeros in front. */
static void
word(const char *text_a, const char *text_b, const char *top)
{
	char want[65];

	(void)snprintf(want, sizeof want, "%064d", 0);
	memcpy(want + 64 - strlen(top), top, strlen(top));
	returns(text_a, text_b, want);
}

#define ADDRESS_A "aa00000000000000000000000000000000000001"
#define ADDRESS_B "bb00000000000000000000000000000000000002"
#define ADDRESS_O "cc00000000000000000000000000000000000003"

Test(evm_call, who_is_who)
{
	static const struct {
		const char *how;
		const char *self, *sender;
	} x[] = {
		{ "32 0 0 0 0 " B " GAS CALL", ADDRESS_B, ADDRESS_A },
		{ "32 0 0 0 0 " B " GAS CALLCODE", ADDRESS_A, ADDRESS_A },
		{ "32 0 0 0 " B " GAS DELEGATECALL", ADDRESS_A, ADDRESS_O },
		{ "32 0 0 0 " B " GAS STATICCALL", ADDRESS_B, ADDRESS_A },
	};
	char text[256];

	for (size_t i = 0; i < 4; i++) {
		(void)snprintf(
		    text, sizeof text, "%s POP 32 0 RETURN", x[i].how);
		word(text, "ADDRESS" TOP, x[i].self);
		word(text, "CALLER" TOP, x[i].sender);
		word(text, "ORIGIN" TOP, ADDRESS_O);
		word(text, "CALLVALUE" TOP, "0");
		/* Success, of whatever it was. */
		(void)snprintf(text, sizeof text, "%s" TOP, x[i].how);
		word(text, "", "1");
		word(text, "0 0 REVERT", "0");
		word(text, "INVALID", "0");
	}
}

Test(evm_call, data_and_answer)
{
	/* In: 0x1122 at 30; out: where, and how much of it. */
	static const char text[] =
	    "0x1122 0 MSTORE 2 40 2 30 " B " GAS STATICCALL POP 32 32 RETURN";

	returns(text, "CALLDATASIZE 0 0 CALLDATACOPY CALLDATASIZE 0 RETURN",
	    "0000000000000000112200000000000000000000000000000000000000000"
	    "000");
	/* A shorter answer leaves the rest as it was, a longer one is cut. */
	returns("0xffff 0 MSTORE 32 0 0 0 " B " GAS STATICCALL 32 0 RETURN",
	    "0xaa 0 MSTORE8 1 0 RETURN",
	    "aa0000000000000000000000000000000000000000000000000000000000ff"
	    "ff");
	returns("2 0 0 0 " B " GAS STATICCALL POP RETURNDATASIZE 0 MSTORE8 "
		"RETURNDATASIZE 0 1 RETURNDATACOPY 34 0 RETURN",
	    "0xaabbcc" TOP,
	    "200000000000000000000000000000000000000000000000000000000000aa"
	    "bbcc00");
	/* A revert has an answer too, a failure has none. */
	word("0 0 0 0 " B " GAS STATICCALL POP RETURNDATASIZE" TOP,
	    "5 0 REVERT", "5");
	word("0 0 0 0 " B " GAS STATICCALL POP RETURNDATASIZE" TOP, "INVALID",
	    "0");
	/* A later call replaces it, also one without code. */
	word("0 0 0 0 " B " GAS STATICCALL 0 0 0 0 " B
	     " GAS STATICCALL RETURNDATASIZE" TOP,
	    "CALLER BALANCE", "0");
}

/* All but one 64th, or less if less is asked for. */
Test(evm_call, gas_of_calls)
{
	char hex[32];
	unsigned left, in;

	word("32 0 0 0 " B " 50000 STATICCALL POP 32 0 RETURN", "GAS" TOP,
	    "c34e"); /* 50000 - 2 */
	/* What is there when the call has been paid for. */
	left = 1000000 - 21000 - (3 + 2 + 2 + 2 + 3 + 2) - 3 - 2600;
	in = left - left / 64 - 2;
	(void)snprintf(hex, sizeof hex, "%x", in);
	word("32 0 0 0 " B " GAS STATICCALL POP 32 0 RETURN", "GAS" TOP, hex);
	/* What is not used comes back, unless it fails. */
	word("0 0 0 0 " B " 50000 STATICCALL POP GAS" TOP, "0 0 REVERT",
	    "ee5fa");
	word("0 0 0 0 " B " 50000 STATICCALL POP GAS" TOP, "INVALID", "e22ae");
	/* Warm by then. */
	word("0 0 0 0 " B " DUP1 BALANCE POP 50000 STATICCALL POP GAS" TOP,
	    "0 0 REVERT", "ee591");
}

/* What a failed frame touched is cold again, and so are its transients. */
Test(evm_call, failure_takes_back)
{
	static const char touch[] = "0 0 0 0 0 " B " GAS CALL POP "
				    "0 0 0 0 0 " B " GAS CALL POP 0";
	uint8_t key[32] = { [31] = 5 }, value[32] = { [31] = 1 };
	uint64_t good, bad;

	evm_world_slot(&w, b, key, value);
	cr_assert_eq(run(touch, "5 SLOAD POP 0 0 RETURN"), EVM_RETURNED);
	good = used;
	cr_assert_eq(run(touch, "5 SLOAD POP 0 0 REVERT"), EVM_RETURNED);
	bad = used;
	cr_assert_eq(bad - good, 2000);
	/* B adds one to a transient slot, and returns it; odd ones revert. */
#define COUNT "0 TLOAD 1 ADD DUP1 0 TSTORE DUP1 0 MSTORE "
#define TWICE \
	"32 0 0 0 0 " B " GAS CALL POP 32 32 0 0 0 " B " GAS CALL POP " \
	"64 0 RETURN"
	returns(TWICE, COUNT "32 0 RETURN",
	    "0000000000000000000000000000000000000000000000000000000000000001"
	    "0000000000000000000000000000000000000000000000000000000000000002");
	returns(TWICE, COUNT "32 0 REVERT",
	    "0000000000000000000000000000000000000000000000000000000000000001"
	    "0000000000000000000000000000000000000000000000000000000000000001");
	/* A contract's transients are its own. */
	word("7 0 TSTORE 32 0 0 0 0 " B " GAS CALL POP 32 0 RETURN",
	    "0 TLOAD" TOP, "0");
	word("7 0 TSTORE 32 0 0 0 " B " GAS DELEGATECALL POP 32 0 RETURN",
	    "0 TLOAD" TOP, "7");
}

#define C "0xdd00000000000000000000000000000000000004"
static const uint8_t c[20] = { 0xdd, [19] = 4 };

/* In a static frame writing fails, and below it too; elsewhere it is not
 * known what would follow. */
Test(evm_call, static_frames)
{
	static const char *const writes[] = { "0 0 LOG0", "1 0 0 LOG1",
		"1 2 TSTORE", "1 2 SSTORE", "0 0 0 CREATE", "0 0 0 0 CREATE2",
		"0 SELFDESTRUCT", "0 0 0 0 1 " B " GAS CALL" };
	static const char by_call[] =
	    "32 0 0 0 0 " B " 90000 CALL POP 32 0 RETURN";
	static const char by_static_call[] =
	    "32 0 0 0 " B " 90000 STATICCALL POP 32 0 RETURN";
	static const char *const below[] = { "0 0 0 0 0 " C " 50000 CALL" TOP,
		"0 0 0 0 0 " C " 50000 CALLCODE" TOP,
		"0 0 0 0 " C " 50000 DELEGATECALL" TOP,
		"0 0 0 0 " C " 50000 STATICCALL" TOP };

	for (size_t i = 0; i < sizeof writes / sizeof writes[0]; i++) {
		contract(c, writes[i]);
		for (size_t k = 0; k < 4; k++) {
			word(by_static_call, below[k], "0");
			if (k == 3)
				word(by_call, below[k], "0");
			else if (i < 3)
				word(by_call, below[k], "1");
			else
				cr_assert_eq(
				    run(by_call, below[k]), EVM_UNSUPPORTED);
		}
	}
	contract(c, "5 0 MSTORE");
	word(by_static_call, below[0], "1");
}

/* A refusal deep down is the answer of all, though A would go on. */
Test(evm_call, refusal_is_not_failure)
{
	contract(c, "BLOBBASEFEE");
	cr_assert_eq(run("0 0 0 0 " B " GAS STATICCALL" TOP,
			 "0 0 0 0 " C " GAS STATICCALL" TOP),
	    EVM_UNSUPPORTED);
	contract(c, "3 SLOAD");
	cr_assert_eq(run("0 0 0 0 " B " GAS STATICCALL" TOP,
			 "0 0 0 0 " C " GAS STATICCALL" TOP),
	    EVM_MISSING);
	cr_assert_eq(memcmp(missing.address, c, 20), 0);
	/* EIP-7702: B's code is elsewhere; its size is of the pointer. */
	static const char delegates[] =
	    "#ef0100dd00000000000000000000000000000000000004";
	cr_assert_eq(run("0 0 0 0 " B " GAS STATICCALL" TOP, delegates),
	    EVM_UNSUPPORTED);
	word(B " EXTCODESIZE" TOP, delegates, "17");
	cr_assert_eq(run(delegates, ""), EVM_UNSUPPORTED);
}

/* Calls cost heap and not stack.  Of the 1024 that are allowed no gas of ours
 * pays for all. */
Test(evm_call, endless_recursion)
{
	static const char again[] = "32 0 0 0 " B " GAS STATICCALL 0 MLOAD "
				    "1 ADD" TOP;

	static const char first[] =
	    "32 0 0 0 " B " GAS STATICCALL POP 32 0 RETURN";

	cr_assert_eq(run(first, again), EVM_RETURNED);
	cr_assert_eq(
	    out.p[30] << 8 | out.p[31], 299, "%d", out.p[30] << 8 | out.p[31]);
	call.gas = EVM_GAS_MAX;
	cr_assert_eq(run(first, again), EVM_RETURNED);
	cr_assert_eq(
	    out.p[30] << 8 | out.p[31], 592, "%d", out.p[30] << 8 | out.p[31]);
}

/* Memory of all frames together. */
Test(evm_call, endless_memory)
{
	call.gas = EVM_GAS_MAX;
	cr_assert_eq(run("0 0 0 0 " B " GAS STATICCALL" TOP,
			 "0 0x040000 MSTORE 0 0 0 0 " B " GAS STATICCALL" TOP),
	    EVM_UNSUPPORTED);
}

/* Every contract that takes part is remembered; there is an end to it. */
Test(evm_call, endless_contracts)
{
	uint8_t many[20] = { 0x77 };
	char text[256];

	for (unsigned i = 0; i < 20; i++) {
		many[19] = (uint8_t)i;
		(void)snprintf(text, sizeof text,
		    "0 0 0 0 0x77000000000000000000000000000000000000%02x "
		    "GAS STATICCALL" TOP,
		    i + 1);
		contract(many, i == 19 ? "1" TOP : text);
	}
	word("0 0 0 0 0x7700000000000000000000000000000000000000 GAS "
	     "STATICCALL" TOP,
	    "", "1");
}

static const char sha_abc[] =
    "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

Test(evm_call, digests_and_identity)
{
	/* "abc" at 0; 32 bytes of the answer. */
#define ABC "0x616263 232 SHL 0 MSTORE "
	returns(ABC "32 0 3 0 2 GAS STATICCALL POP 32 0 RETURN", "", sha_abc);
	returns(ABC "32 0 3 0 3 GAS STATICCALL POP 32 0 RETURN", "",
	    "0000000000000000000000008eb208f7e05d987a9b044a8e98c6b087f15a0bfc");
	returns(ABC "3 32 3 0 4 GAS STATICCALL POP 32 32 RETURN", "",
	    "616263000000000000000000000000000000000000000000000000000000"
	    "0000");
	/* Of nothing. */
	returns("32 0 0 0 2 GAS STATICCALL POP 32 0 RETURN", "",
	    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
	word("0 0 0 0 4 GAS STATICCALL RETURNDATASIZE ADD" TOP, "", "1");
	/* Gas: 60 + 12 a word; one less is a failure that takes it. */
	word(ABC "0 0 33 0 2 84 STATICCALL" TOP, "", "1");
	word(ABC "0 0 33 0 2 83 STATICCALL" TOP, "", "0");
	word(ABC "0 0 33 0 3 840 STATICCALL" TOP, "", "1");
	word(ABC "0 0 33 0 3 839 STATICCALL" TOP, "", "0");
	word(ABC "0 0 33 0 4 21 STATICCALL" TOP, "", "1");
	word(ABC "0 0 33 0 4 20 STATICCALL" TOP, "", "0");
	/* By every kind of call, and always warm. */
	word(ABC "32 0 3 0 0 2 GAS CALL POP 0 MLOAD 248 SHR" TOP, "", "ba");
	word(ABC "32 0 3 0 0 2 GAS CALLCODE POP 0 MLOAD 248 SHR" TOP, "", "ba");
	word(ABC "32 0 3 0 2 GAS DELEGATECALL POP 0 MLOAD 248 SHR" TOP, "",
	    "ba");
}

/* Identity within one memory, where both ranges overlap. */
Test(evm_call, identity_overlaps)
{
	returns("0x0102030405060708 192 SHL 0 MSTORE 8 1 8 0 4 GAS STATICCALL "
		"POP 10 0 RETURN",
	    "", "01010203040506070800");
}

Test(evm_call, precompile_at_the_top)
{
	char got[65];

	memset(call.to, 0, 20);
	call.to[19] = 2;
	call.data = BYTES_STR("abc");
	cr_assert_eq(evm_world_run(&w, &out, &missing, &call, &block, &used),
	    EVM_RETURNED);
	cr_assert_str_eq(hex_encode(got, out.p, out.len), sha_abc);
	cr_assert_eq(used, 21000 + 3 * 16 + 72);
	call.gas = used - 1;
	cr_assert_eq(evm_world_run(&w, &out, &missing, &call, &block, &used),
	    EVM_FAILED);
	call.to[19] = 9;
	cr_assert_eq(evm_world_run(&w, &out, &missing, &call, &block, &used),
	    EVM_UNSUPPORTED);
}

/* hash | v | r | s to number 1; what it answers. */
static void
recover(struct bytes in)
{
	memset(call.to, 0, 20);
	call.to[19] = 1;
	call.data = in;
	cr_assert_eq(evm_world_run(&w, &out, &missing, &call, &block, NULL),
	    EVM_RETURNED);
}

static void
recovers(const uint8_t in[static 128], const uint8_t *address)
{
	recover((struct bytes){ in, 128 });
	cr_assert_eq(out.len, address != NULL ? 32 : 0);
	if (address != NULL)
		cr_assert_eq(memcmp(out.p + 12, address, 20), 0);
}

/* n - s and the other v is the same signature. */
static void
turn(uint8_t in[static 128])
{
	static const uint8_t n[32] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
		0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe, 0xba,
		0xae, 0xdc, 0xe6, 0xaf, 0x48, 0xa0, 0x3b, 0xbf, 0xd2, 0x5e,
		0x8c, 0xd0, 0x36, 0x41, 0x41 };
	unsigned borrow = 0;

	for (size_t i = 32; i-- > 0;) {
		unsigned d = 0x100u + n[i] - in[96 + i] - borrow;

		in[96 + i] = (uint8_t)d;
		borrow = d < 0x100;
	}
	in[63] ^= 27 ^ 28;
}

Test(evm_call, ecrecover)
{
	struct k256_secret key;
	struct k256_sig65 sig;
	struct k256_pub pub;
	uint8_t in[160] = { 0 }, address[20];

	call.gas = 100000;
	for (unsigned i = 0; i < 20; i++) {
		k256_generate(&key);
		cr_assert_eq(k256_pubkey(&pub, &key), ERR_OK);
		cr_assert_eq(k256_address(address, &pub), ERR_OK);
		sha256(in, &i, sizeof i);
		cr_assert_eq(k256_sign_digest(&sig, &key, in), ERR_OK);
		in[63] = (uint8_t)(27 + sig.b[64]);
		memcpy(in + 64, sig.b, 64);
		recovers(in, address);
		turn(in);
		recovers(in, address);
		turn(in);
	}
	/* Longer input is cut. */
	recover(BYTES_OF(in));
	cr_assert_eq(out.len, 32);
	/* Everything else has no answer. */
	for (unsigned v = 0; v < 256; v++) {
		uint8_t was = in[63];

		in[63] = (uint8_t)v;
		if (v != 27 && v != 28)
			recovers(in, NULL);
		in[63] = was;
	}
	for (size_t i = 32; i < 63; i++) {
		in[i] = 1;
		recovers(in, NULL);
		in[i] = 0;
	}
	memset(in + 64, 0, 32);
	recovers(in, NULL);
	memset(in + 64, 0xff, 32);
	recovers(in, NULL);
	memcpy(in + 64, sig.b, 64);
	memset(in + 96, 0, 32);
	recovers(in, NULL);
	turn(in); /* s = n */
	recovers(in, NULL);
	memset(in + 96, 0xff, 32);
	recovers(in, NULL);
	recover((struct bytes){ 0 });
	cr_assert_eq(out.len, 0);
}
