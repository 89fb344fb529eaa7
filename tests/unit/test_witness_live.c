/* What contracts can do to the node that executes them: each way to give no
 * answer is a refusal with its reason, and what a call reads has a bound, also
 * where an endpoint's hint is no help.  Small contracts on a real chain.
 * Skipped unless Foundry is installed. */
#include <stdio.h>
#include <string.h>

#include <criterion/criterion.h>

#include "common/base/clock.h"
#include "common/base/hex.h"
#include "common/base/limits.h"
#include "common/base/log.h"
#include "kms/gate/chainview.h"
#include "tests/lib/anvil.h"
#include "tests/lib/evm_asm.h"
#include "tests/lib/liar.h"

static struct anvil a;
static struct liar *l;
static struct chainview *v;
static struct chain_block at;
static struct buf out;
static struct refusal why;
static const uint8_t to[20] = { 0xc0, [19] = 7 };
#define TO "c000000000000000000000000000000000000007"

static void
teardown(void)
{
	buf_fini(&out);
	chainview_free(v);
	if (l != NULL)
		liar_stop(l);
	anvil_stop(&a);
}

static void
setup(void)
{
	const char *url[1];
	const struct chainview_options o = { .urls = url,
		.n = 1,
		.quorum = 1,
		.chain_id = ANVIL_CHAIN,
		.tag = CHAIN_LATEST,
		.max_age_s = 3600,
		.poll_ms = 1,
		.timeout_ms = 30000,
		.proof = true,
		.mono_ms = clock_mono_ms };

	log_set_level(LOG_ERROR);
	if (!anvil_start(&a))
		cr_skip_test("no anvil");
	l = liar_start(a.url);
	url[0] = liar_url(l);
	cr_assert_eq(chainview_new(&v, &o), ERR_OK);
}

TestSuite(witness_live, .init = setup, .fini = teardown, .timeout = 240);

/* The contract is this, from a new block on, and has a slot of its own. */
static void
is(const char *code)
{
	struct buf bytes = { 0 }, params = { 0 };
	char hex[2 * 2048 + 1];
	uint64_t t = clock_mono_ms();
	enum err e;

	evm_asm(&bytes, code);
	cr_assert_leq(bytes.len, 2048);
	cr_assert_eq(buf_printf(&params, "[\"0x" TO "\",\"0x%s\"]",
			 hex_encode(hex, bytes.p, bytes.len)),
	    ERR_OK);
	anvil_rpc(&a, "anvil_setCode", (char *)params.p);
	anvil_rpc(&a, "evm_mine", "[]");
	buf_fini(&params);
	buf_fini(&bytes);
	while (clock_mono_ms() < t + 2)
		continue; /* the view is used for a millisecond */
	e = chainview_get(v, clock_wall_s(), &at, &why);
	cr_assert_eq(e, ERR_OK, "%s", why.detail);
}

static void
has_storage(void)
{
	anvil_rpc(&a, "anvil_setStorageAt",
	    "[\"0x" TO "\",\"0x"
	    "000000000000000000000000000000000000000000000000000000000000ff77"
	    "\",\"0x"
	    "00000000000000000000000000000000000000000000000000000000000000aa"
	    "\"]");
}

static enum err
call(size_t max)
{
	static const uint8_t data[4] = { 1, 2, 3, 4 };

	why = (struct refusal){ 0 };
	cr_assert_eq(buf_set(&out, "before", 6), ERR_OK);
	return chainview_call(v, &at, to, BYTES_OF(data), max, &out, &why);
}

static void
refuses(const char *code, enum reason reason, const char *detail)
{
	is(code);
	cr_assert_eq(call(1024), ERR_DENIED, "%s", code);
	cr_assert_eq(why.code, reason, "%s: %s", code, why.detail);
	cr_assert_str_eq(why.detail, detail, "%s", code);
	cr_assert_eq(out.len, 6, "%s", code);
}

static void
returns(const char *code, uint8_t last)
{
	is(code);
	cr_assert_eq(call(1024), ERR_OK, "%s: %s", code, why.detail);
	cr_assert_eq(out.len, 32, "%s", code);
	cr_assert_eq(out.p[31], last, "%s: %u", code, out.p[31]);
}

#define OTHER REASON_CONTRACT_OTHER
#define Z28 "00000000000000000000000000000000000000000000000000000000"
#define ERROR_NO \
	"#7f08c379a0" Z28 " 0 MSTORE 32 4 MSTORE 2 36 MSTORE " \
	"#7f6e6f" Z28 "0000 68 MSTORE "
#define FAILED "call failed: out of gas, or a bad instruction"
#define ANSWER " 0 MSTORE 32 0 RETURN"

/* Reverts with and without words, runs that end badly or not at all. */
Test(witness_live, no_answer)
{
	refuses("0 0 REVERT", OTHER, "call failed: reverted");
	refuses(ERROR_NO "100 0 REVERT", OTHER, "call failed: reverted: no");
	/* What only looks like words is not shown. */
	refuses(ERROR_NO "4 0 REVERT", OTHER, "call failed: reverted");
	refuses(ERROR_NO "3 0 REVERT", OTHER, "call failed: reverted");
	refuses(ERROR_NO "99 0 REVERT", OTHER, "call failed: reverted");
	refuses(ERROR_NO "100 1 REVERT", OTHER, "call failed: reverted");
	refuses("#fe", OTHER, FAILED);
	refuses("loop: JUMPDEST @loop JUMP", OTHER, FAILED);
	refuses("1 0 SSTORE 0 0 RETURN", OTHER,
	    "call failed: it does, or answers, what this node does not "
	    "execute");
	returns("7" ANSWER, 7);
}

/* An answer may be as long as the caller has room for, and no longer. */
Test(witness_live, too_long)
{
	is("1024 0 RETURN");
	cr_assert_eq(call(1024), ERR_OK, "%s", why.detail);
	cr_assert_eq(out.len, 1024);
	refuses("1025 0 RETURN", REASON_CHAIN_ANSWER,
	    "answer of more than 1024 bytes");
	refuses("1000000 0 RETURN", REASON_CHAIN_ANSWER,
	    "answer of more than 1024 bytes");
	refuses("1000000 0 REVERT", OTHER, "call failed: reverted");
}

/* Where a contract has no storage nothing is asked for, and other accounts are
 * found as they are: one of anvil's that is rich, and one that is nobody. */
Test(witness_live, what_it_reads)
{
	returns("5 SLOAD" ANSWER, 0);
	has_storage();
	returns("0xff77 SLOAD" ANSWER, 0xaa);
	returns("0xff78 SLOAD" ANSWER, 0);
	returns("0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266 BALANCE ISZERO "
		"ISZERO" ANSWER,
	    1);
	returns(
	    "0x00000000000000000000000000000000dead0001 BALANCE ISZERO" ANSWER,
	    1);
	returns(
	    "0x00000000000000000000000000000000dead0001 EXTCODESIZE" ANSWER, 0);
}

/* COUNT times: DO with the number of the turn on the stack, which it takes. */
#define LOOP(count, what) \
	"0 loop: JUMPDEST DUP1 " what " POP 1 ADD DUP1 #61" count \
	" GT @loop JUMPI 9" ANSWER

/* So many accounts and slots, and no more: whether they are guessed, in a row,
 * or one after the other. */
Test(witness_live, reads_too_much)
{
	static const char much[] = "call failed: it reads more than a call may";

	has_storage();
	returns(LOOP("003c", "0xdead0000 ADD BALANCE"), 9); /* 60 */
	refuses(LOOP("0064", "0xdead0000 ADD BALANCE"), OTHER, much);
	returns(LOOP("03e8", "SLOAD"), 9); /* 1000 */
	refuses(LOOP("0480", "SLOAD"), OTHER, much); /* 1152, in a row */
	refuses(LOOP("0480", "0 MSTORE 32 0 #20 SLOAD"), OTHER, much);
}

/* With a hint that is no help, what lies in a row is found all the same; at the
 * end of numbers, too. */
Test(witness_live, without_a_hint)
{
	liar_tell(l, LIE_HINT, 0);
	has_storage();
	returns(LOOP("0190", "SLOAD"), 9); /* 400 */
	returns(LOOP("0005", "NOT SLOAD"), 9);
	returns("1 NOT SLOAD 0 NOT SLOAD POP POP 9" ANSWER, 9);
	returns("2 NOT SLOAD 1 NOT SLOAD 0 NOT SLOAD POP POP POP 9" ANSWER, 9);
	refuses(LOOP("0080", "0 MSTORE 32 0 #20 SLOAD"), OTHER,
	    "call failed: it reads more than a call may");
}

/* The world of a block is kept for who comes next, and an older one is not put
 * in its place. */
Test(witness_live, older_block)
{
	struct chain_block before;

	returns("7" ANSWER, 7);
	before = at;
	returns("8" ANSWER, 8);
	/* Not every chain still proves what was: then there is no answer. */
	at = before;
	if (call(1024) == ERR_OK)
		cr_assert_eq(out.p[31], 7);
	else
		cr_assert_eq(why.code, REASON_CHAIN_PROOF, "%s", why.detail);
	cr_assert_eq(chainview_get(v, clock_wall_s(), &at, &why), ERR_OK);
	cr_assert_eq(call(1024), ERR_OK);
	cr_assert_eq(out.p[31], 8);
	/* A block that says another number or time of itself is none. */
	at.number++;
	cr_assert_eq(call(1024), ERR_AGAIN);
	cr_assert_eq(why.code, REASON_CHAIN_PROOF, "%s", why.detail);
	at.number--;
	at.timestamp++;
	cr_assert_eq(call(1024), ERR_AGAIN);
	cr_assert_eq(why.code, REASON_CHAIN_PROOF, "%s", why.detail);
	at.timestamp--;
	cr_assert_eq(call(1024), ERR_OK);
}
