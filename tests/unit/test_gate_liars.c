/* Endpoints that lie, in both modes: no lie changes a decision, it is refused
 * and named, and the others are enough.  Real contracts on a real chain; the
 * liars are between.  Skipped unless contracts/ has been built and Foundry is
 * installed. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "common/base/clock.h"
#include "common/base/hex.h"
#include "common/crypto/keccak.h"
#include "common/eth/abi.h"
#include "common/eth/rpc.h"
#include "kms/gate/endpoints.h"
#include "kms/gate/gate.h"
#include "tests/lib/liar.h"
#include "tests/lib/onchain.h"

#define ENDS 3u

static struct anvil a;
static struct liar *end[ENDS];
static uint64_t old; /* a block at which what is gone was allowed */

static const uint8_t kms[20] = { [0] = 0xc0, [19] = 1 };
static const uint8_t app[20] = { [0] = 0xc0, [19] = 2 };
static const uint8_t compose[32] = { 0xcc }, gone[32] = { 0xdd };
static const uint8_t os[32] = { 0x05 };
static struct standard_code code[2];

enum mode {
	QUORUM,
	EXECUTED,
	PINNED,
	MODES,
};
static const char *const mode_text[] = { "quorum", "executed", "pinned" };

static void
call(const uint8_t to[static 20], uint32_t selector, const uint8_t *arg,
    size_t len)
{
	const uint8_t sel[4] = { (uint8_t)(selector >> 24),
		(uint8_t)(selector >> 16), (uint8_t)(selector >> 8),
		(uint8_t)selector };
	uint8_t word[32] = { 0 };
	struct buf b = { 0 };
	char hex[41];

	memcpy(word + 32 - len, arg, len);
	cr_assert_eq(buf_set(&b, sel, 4), ERR_OK);
	cr_assert_eq(abi_put_bytes32(&b, word, 4096), ERR_OK);
	onchain_owner(&a, hex_encode(hex, to, 20), &b);
}

static void
initialise(void)
{
	uint8_t owner[20];
	struct buf b = { 0 };
	char hex[41];

	cr_assert_eq(hex_fixed(owner, 20, ONCHAIN_OWNER), ERR_OK);
	cr_assert_eq(buf_set(&b, "\x48\x5c\xc9\x55", 4), ERR_OK);
	cr_assert_eq(abi_put_address(&b, owner, 4096), ERR_OK);
	cr_assert_eq(abi_put_address(&b, app, 4096), ERR_OK);
	onchain_owner(&a, hex_encode(hex, kms, 20), &b);
	/* initialize(owner, false, false, true, 0, compose) */
	cr_assert_eq(buf_set(&b, "\x9e\xd2\x81\x93", 4), ERR_OK);
	cr_assert_eq(abi_put_address(&b, owner, 4096), ERR_OK);
	for (uint64_t i = 0; i < 4; i++)
		cr_assert_eq(abi_put_u64(&b, i == 2, 4096), ERR_OK);
	cr_assert_eq(abi_put_bytes32(&b, compose, 4096), ERR_OK);
	onchain_owner(&a, hex_encode(hex, app, 20), &b);
}

static struct standard_code
code_at(enum standard_role role, const uint8_t address[static 20])
{
	struct standard_code c = { .role = role };
	struct buf bytes = { 0 };
	char params[64], hex[41];
	json_t *v;

	(void)snprintf(params, sizeof params, "[\"0x%s\",\"latest\"]",
	    hex_encode(hex, address, 20));
	v = anvil_ask(&a, "eth_getCode", params);
	cr_assert_eq(rpc_data(&bytes, 1u << 17, v), ERR_OK);
	keccak256(c.hash, bytes.p, bytes.len);
	buf_fini(&bytes);
	json_decref(v);
	return c;
}

static bool
setup(void)
{
	json_t *v;

	if (!anvil_start(&a) || !onchain_put(&a, "DstackKms", kms) ||
	    !onchain_put(&a, "DstackApp", app))
		return false;
	initialise();
	call(kms, 0x17a1d80f, app, 20); /* registerApp */
	call(kms, 0x06a3ae96, os, 32); /* addOsImageHash */
	call(app, 0xdfc77223, gone, 32); /* addComposeHash */
	v = anvil_ask(&a, "eth_blockNumber", "[]");
	cr_assert_eq(rpc_quantity(&old, v), ERR_OK);
	json_decref(v);
	call(app, 0x67b3f22c, gone, 32); /* removeComposeHash */
	anvil_rpc(&a, "anvil_mine", "[\"0x3\"]");
	code[0] = code_at(STANDARD_KMS, kms);
	code[1] = code_at(STANDARD_APP, app);
	for (unsigned i = 0; i < ENDS; i++)
		end[i] = liar_start(a.url);
	return true;
}

static void
teardown(void)
{
	for (unsigned i = 0; i < ENDS; i++)
		liar_stop(end[i]);
	anvil_stop(&a);
}

struct look {
	struct chainview *v;
	struct gate *g;
	enum err allowed, refused; /* of what is, and of what is not */
	struct refusal why_allowed, why_refused;
	struct endpoint_count count[LIMIT_CHAIN_ENDPOINTS];
};

static enum err
ask(struct gate *g, const uint8_t hash[static 32], struct refusal *why)
{
	struct boot_info bi = { .tcb_status = TCB_UP_TO_DATE };
	struct gate_decision d;

	memcpy(bi.app_id, app, 20);
	memcpy(bi.compose_hash, hash, 32);
	memcpy(bi.os_image_hash, os, 32);
	return gate_ask(g, GATE_APP, &bi, clock_wall_s(), &d, why);
}

/* A new view, so that nothing is known from before, asks both. */
static void
look(struct look *l, enum mode mode, unsigned timeout_ms)
{
	const char *url[ENDS];
	struct chainview_options o = { .urls = url,
		.n = ENDS,
		.quorum = 2,
		.chain_id = ANVIL_CHAIN,
		.tag = CHAIN_FINALIZED,
		.max_age_s = 3600,
		.poll_ms = 600000,
		.timeout_ms = timeout_ms,
		.proof = mode != QUORUM,
		.mono_ms = clock_mono_ms };

	for (unsigned i = 0; i < ENDS; i++)
		url[i] = liar_url(end[i]);
	*l = (struct look){ .v = NULL };
	cr_assert_eq(chainview_new(&l->v, &o), ERR_OK);
	cr_assert_eq(gate_new(&l->g, l->v, kms), ERR_OK);
	if (mode == PINNED)
		cr_assert_eq(gate_pin(l->g, code, 2), ERR_OK);
	l->allowed = ask(l->g, compose, &l->why_allowed);
	l->refused = ask(l->g, gone, &l->why_refused);
	cr_assert_eq(chainview_endpoint_counts(l->v, l->count), ENDS);
	gate_free(l->g);
	chainview_free(l->v);
}

static void
tell(unsigned from, unsigned to, enum lie lie)
{
	for (unsigned i = 0; i < ENDS; i++)
		liar_tell(end[i], i >= from && i < to ? lie : LIE_NONE, old);
}

static uint64_t
odd(const struct look *l, unsigned i)
{
	uint64_t n = 0;

	for (unsigned k = 0; k < ENDPOINT_ODD_KINDS; k++)
		n += l->count[i].odd[k];
	return n;
}

/* Lies that this mode has to do with, and that can be told from silence. */
static bool
is_named(enum mode mode, enum lie lie)
{
	switch (lie) {
	case LIE_CHAIN:
	case LIE_FORK:
	case LIE_TIME:
		return true;
	case LIE_VALUE:
	case LIE_OLD:
		return true;
	case LIE_DROP:
	case LIE_ROOT:
	case LIE_STATE:
	case LIE_SHAPE:
		return mode != QUORUM;
	case LIE_ENDLESS: /* the others' answers to a call are small */
		return mode == QUORUM;
	case LIE_CODE:
		return mode == EXECUTED;
	case LIE_NONE:
	case LIE_HINT: /* a guess that is wrong is no lie */
	case LIE_NULL:
	case LIE_DRIP:
	case LIE_REDIRECT:
	case LIE_GZIP:
	case LIES:
		break;
	}
	return false;
}

static unsigned
patience(enum lie lie)
{
	return lie == LIE_DRIP ? 1000 : 20000;
}

/* One of three, the one that is asked first: both decisions are as without it,
 * and nobody else is named. */
static void
one_lies(enum mode mode, enum lie lie)
{
	struct look l;

	tell(0, 1, lie);
	look(&l, mode, patience(lie));
	cr_assert_eq(l.allowed, ERR_OK, "%s, %s: %s %s", mode_text[mode],
	    lie_text(lie), reason_label(l.why_allowed.code),
	    l.why_allowed.detail);
	cr_assert_eq(
	    l.refused, ERR_DENIED, "%s, %s", mode_text[mode], lie_text(lie));
	cr_assert_eq(l.why_refused.code, REASON_CONTRACT_COMPOSE);
	cr_assert_eq(odd(&l, 0) > 0, is_named(mode, lie), "%s, %s: %lu",
	    mode_text[mode], lie_text(lie), (unsigned long)odd(&l, 0));
	cr_assert_eq(odd(&l, 1) + odd(&l, 2), 0, "%s, %s", mode_text[mode],
	    lie_text(lie));
}

#define EACH_LIE(test) \
	if (!setup()) \
		cr_skip("no anvil, or contracts not built"); \
	for (unsigned lie_ = LIE_NONE; lie_ < LIES; lie_++) \
	test(mode, (enum lie)lie_)

Test(gate_liars, one_of_three_quorum, .fini = teardown, .timeout = 300)
{
	enum mode mode = QUORUM;

	EACH_LIE(one_lies);
}

Test(gate_liars, one_of_three_executed, .fini = teardown, .timeout = 300)
{
	enum mode mode = EXECUTED;

	EACH_LIE(one_lies);
}

Test(gate_liars, one_of_three_pinned, .fini = teardown, .timeout = 300)
{
	enum mode mode = PINNED;

	EACH_LIE(one_lies);
}

/* All tell the same lie, and agree.  In mode proof that is silence, with a
 * reason, unless the lie is about something that nobody asks for: then it is
 * the truth.  Never is it another decision. */
static void
all_lie(enum mode mode, enum lie lie)
{
	bool matters = lie != LIE_NONE && lie != LIE_HINT &&
	    !(mode == PINNED && lie == LIE_CODE);
	struct look l;

	tell(0, ENDS, lie);
	look(&l, mode, patience(lie));
	if (!matters) {
		cr_assert_eq(l.allowed, ERR_OK);
		cr_assert_eq(l.refused, ERR_DENIED);
		return;
	}
	cr_assert_eq(l.allowed, ERR_AGAIN, "%s, %s: %s %s", mode_text[mode],
	    lie_text(lie), err_text(l.allowed), l.why_allowed.detail);
	cr_assert_eq(l.refused, ERR_AGAIN, "%s, %s: %s %s", mode_text[mode],
	    lie_text(lie), err_text(l.refused), l.why_refused.detail);
	if (lie == LIE_VALUE || lie == LIE_DROP || lie == LIE_CODE ||
	    lie == LIE_OLD || lie == LIE_ROOT || lie == LIE_STATE ||
	    lie == LIE_TIME)
		cr_assert_eq(l.why_allowed.code, REASON_CHAIN_PROOF, "%s",
		    l.why_allowed.detail);
}

Test(gate_liars, all_executed, .fini = teardown, .timeout = 300)
{
	enum mode mode = EXECUTED;

	EACH_LIE(all_lie);
}

Test(gate_liars, all_pinned, .fini = teardown, .timeout = 300)
{
	enum mode mode = PINNED;

	EACH_LIE(all_lie);
}

/* In mode quorum two that do not agree with each other are no quorum. */
Test(gate_liars, two_lie_differently_quorum, .fini = teardown, .timeout = 300)
{
	struct look l;

	if (!setup())
		cr_skip("no anvil, or contracts not built");
	for (unsigned lie = LIE_CHAIN; lie < LIES; lie++) {
		if (lie == LIE_HINT)
			continue; /* nobody asks */
		tell(0, 1, LIE_FORK);
		liar_tell(end[1], (enum lie)lie, old);
		look(&l, QUORUM, patience((enum lie)lie));
		cr_assert_eq(
		    l.allowed, ERR_AGAIN, "%s", lie_text((enum lie)lie));
		cr_assert_eq(l.refused, ERR_AGAIN);
	}
}

/* All say, later, that a block which was verified is younger than it is: to stop
 * time by telling the same block for ever. */
Test(gate_liars, time_of_a_known_block, .fini = teardown, .timeout = 300)
{
	const char *url[1];
	struct chainview_options o = { .urls = url,
		.n = 1,
		.quorum = 1,
		.chain_id = ANVIL_CHAIN,
		.tag = CHAIN_FINALIZED,
		.max_age_s = 3600,
		.poll_ms = 1,
		.timeout_ms = 20000,
		.proof = true,
		.mono_ms = clock_mono_ms };
	struct refusal why = { .code = REASON_NONE };
	struct chainview *v = NULL;
	struct chain_block b;
	uint64_t t;

	if (!setup())
		cr_skip("no anvil, or contracts not built");
	url[0] = liar_url(end[0]);
	cr_assert_eq(chainview_new(&v, &o), ERR_OK);
	cr_assert_eq(chainview_get(v, clock_wall_s(), &b, &why), ERR_OK);
	tell(0, 1, LIE_TIME);
	for (t = clock_mono_ms(); clock_mono_ms() < t + 3;)
		continue;
	cr_assert_eq(chainview_get(v, clock_wall_s(), &b, &why), ERR_AGAIN);
	cr_assert_eq(why.code, REASON_CHAIN_PROOF, "%s", why.detail);
	chainview_free(v);
}

/* A KMS contract of code that is not on the list is not asked: the refusal
 * names it.  An app's contract of such code is executed. */
Test(gate_liars, unlisted_code, .fini = teardown, .timeout = 300)
{
	struct look l;
	char hex[65];

	if (!setup())
		cr_skip("no anvil, or contracts not built");
	tell(0, 0, LIE_NONE);
	hex_encode(hex, code[0].hash, 32);
	code[0].hash[3] ^= 1;
	look(&l, PINNED, 20000);
	cr_assert_eq(l.allowed, ERR_AGAIN);
	cr_assert_eq(l.why_allowed.code, REASON_CHAIN_CODE);
	cr_assert_not_null(
	    strstr(l.why_allowed.detail, hex), "%s", l.why_allowed.detail);
	code[0].hash[3] ^= 1;
	code[1].hash[3] ^= 1;
	look(&l, PINNED, 20000);
	cr_assert_eq(l.allowed, ERR_OK);
	cr_assert_eq(l.refused, ERR_DENIED);
	cr_assert_eq(l.why_refused.code, REASON_CONTRACT_COMPOSE);
	/* The roles are not the same: an app's code is no KMS contract's. */
	code[0].role = STANDARD_APP;
	look(&l, PINNED, 20000);
	cr_assert_eq(l.allowed, ERR_AGAIN);
	cr_assert_eq(l.why_allowed.code, REASON_CHAIN_CODE);
}

/* The view is there, and then all lie or are silent: what a KMS node asks of the
 * listed contract has no answer, neither a yes nor keys, and an app none either.
 * Nothing of it is kept: when they tell the truth again, so does the gate. */
Test(gate_liars, pinned_and_then_lies, .fini = teardown, .timeout = 300)
{
	static const enum lie lies[] = { LIE_DROP, LIE_ROOT, LIE_NULL,
		LIE_SHAPE, LIE_VALUE };
	const struct boot_info kms_node = { .tcb_status = TCB_UP_TO_DATE };
	const char *url[ENDS];
	struct chainview_options o = { .urls = url,
		.n = ENDS,
		.quorum = 2,
		.chain_id = ANVIL_CHAIN,
		.tag = CHAIN_FINALIZED,
		.max_age_s = 3600,
		.poll_ms = 600000,
		.timeout_ms = 20000,
		.proof = true,
		.mono_ms = clock_mono_ms };

	if (!setup())
		cr_skip("no anvil, or contracts not built");
	for (unsigned i = 0; i < ENDS; i++)
		url[i] = liar_url(end[i]);
	for (unsigned i = 0; i < sizeof lies / sizeof lies[0]; i++) {
		struct gate_kms_info info = { .ca_pub_len = 77 };
		struct gate_decision d = { .block.number = 77 };
		struct refusal why = { .code = REASON_NONE };
		struct chainview *v = NULL;
		struct gate *g = NULL;
		struct chain_block b;
		int64_t now = clock_wall_s();

		tell(0, 0, LIE_NONE);
		cr_assert_eq(chainview_new(&v, &o), ERR_OK);
		cr_assert_eq(gate_new(&g, v, kms), ERR_OK);
		cr_assert_eq(gate_pin(g, code, 2), ERR_OK);
		cr_assert_eq(chainview_get(v, now, &b, &why), ERR_OK);
		tell(0, ENDS, lies[i]);
		cr_assert_eq(gate_kms_info(g, now, &info, &b, &why), ERR_AGAIN,
		    "%s", lie_text(lies[i]));
		cr_assert_eq(info.ca_pub_len, 77);
		cr_assert_eq(gate_ask(g, GATE_KMS, &kms_node, now, &d, &why),
		    ERR_AGAIN, "%s", lie_text(lies[i]));
		cr_assert_eq(ask(g, compose, &why), ERR_AGAIN);
		cr_assert_eq(d.block.number, 77);
		tell(0, 0, LIE_NONE);
		cr_assert_eq(gate_ask(g, GATE_KMS, &kms_node, now, &d, &why),
		    ERR_DENIED);
		cr_assert_eq(why.code, REASON_CONTRACT_OS_IMAGE);
		cr_assert_eq(ask(g, compose, &why), ERR_OK);
		gate_free(g);
		chainview_free(v);
	}
}
