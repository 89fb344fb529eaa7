/* The gate and the transactions against real contracts on a real EVM.
 * Skipped unless contracts/ has been built and Foundry is installed. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "common/base/clock.h"
#include "common/base/hex.h"
#include "common/crypto/keccak.h"
#include "common/eth/abi.h"
#include "common/eth/rpc.h"
#include "common/eth/tx.h"
#include "kms/gate/gate.h"
#include "tests/lib/onchain.h"

static struct anvil a;
static struct chainview *v;
static struct gate *g;
static struct account owner;
static const uint8_t kms[20] = { [0] = 0xc0, [19] = 1 };
static const uint8_t app[20] = { [0] = 0xc0, [19] = 2 };
static const uint8_t os[32] = { 0x05 };
static const uint8_t compose[32] = { 0xcc };

static void
no_pause(unsigned ms)
{
	(void)ms;
}

/* Signs, sends and waits: every transaction of this file goes that way. */
static void
send(const uint8_t to[static 20], struct buf *calldata)
{
	struct tx_chain c = { .url = a.url,
		.timeout_ms = 30000,
		.max_fee_cap = 1000000000000,
		.mono_ms = clock_mono_ms,
		.pause_ms = no_pause };
	struct tx tx = { .chain_id = ANVIL_CHAIN };
	struct tx_receipt r;
	struct refusal why = { 0 };
	struct buf raw = { 0 };
	uint8_t hash[32];

	memcpy(tx.to, to, 20);
	tx.data = buf_view(calldata);
	cr_assert_eq(
	    tx_fill(&tx, &c, owner.address, &why), ERR_OK, "%s", why.detail);
	cr_assert_eq(tx_sign(&raw, hash, &tx, &owner.key), ERR_OK);
	cr_assert_eq(
	    tx_send(&c, buf_view(&raw), hash, &why), ERR_OK, "%s", why.detail);
	cr_assert_eq(tx_wait(&r, &c, hash, 30000), ERR_OK);
	cr_assert(r.success);
	buf_fini(&raw);
	buf_fini(calldata);
}

static void
word(struct buf *b, const uint8_t *p, size_t len)
{
	uint8_t w[32] = { 0 };

	memcpy(w + 32 - len, p, len);
	cr_assert_eq(abi_put_bytes32(b, w, 4096), ERR_OK);
}

/* A function of one static argument. */
static void
call1(const uint8_t to[static 20], uint32_t selector, const uint8_t *p,
    size_t len)
{
	const uint8_t sel[4] = { (uint8_t)(selector >> 24),
		(uint8_t)(selector >> 16), (uint8_t)(selector >> 8),
		(uint8_t)selector };
	struct buf b = { 0 };

	cr_assert_eq(buf_set(&b, sel, 4), ERR_OK);
	word(&b, p, len);
	send(to, &b);
}

static void
mine_to_final(void)
{
	anvil_rpc(&a, "anvil_mine", "[\"0x3\"]");
}

static void
setup_contracts(void)
{
	static const uint8_t zero[32];
	struct buf b = { 0 };

	/* initialize(address owner, address appImplementation) */
	cr_assert_eq(buf_set(&b, "\x48\x5c\xc9\x55", 4), ERR_OK);
	word(&b, owner.address, 20);
	word(&b, app, 20);
	send(kms, &b);
	/* initialize(owner, disableUpgrades, requireTcbUpToDate,
	 * allowAnyDevice, deviceId, composeHash) */
	cr_assert_eq(buf_set(&b, "\x9e\xd2\x81\x93", 4), ERR_OK);
	word(&b, owner.address, 20);
	word(&b, zero, 1);
	word(&b, (const uint8_t[]){ 1 }, 1);
	word(&b, (const uint8_t[]){ 1 }, 1);
	word(&b, zero, 32);
	word(&b, compose, 32);
	send(app, &b);
	/* setKmsInfo((bytes,bytes,bytes,bytes)) */
	cr_assert_eq(buf_set(&b, "\x7d\x02\x53\x52", 4), ERR_OK);
	cr_assert_eq(abi_put_u64(&b, 0x20, 4096), ERR_OK);
	for (uint64_t at = 0x80; at <= 0x140; at += 0x40)
		cr_assert_eq(abi_put_u64(&b, at, 4096), ERR_OK);
	for (unsigned i = 0; i < 4; i++)
		cr_assert_eq(abi_put_bytes(&b, "keys", 4, 4096), ERR_OK);
	send(kms, &b);
}

/* The code at an address, by its hash. */
static struct standard_code
code_at(enum standard_role role, const uint8_t address[static 20])
{
	struct standard_code c = { .role = role };
	struct buf code = { 0 };
	char params[64], hex[41];
	json_t *text;

	(void)snprintf(params, sizeof params, "[\"0x%s\",\"latest\"]",
	    hex_encode(hex, address, 20));
	text = anvil_ask(&a, "eth_getCode", params);
	cr_assert_eq(rpc_data(&code, 1u << 17, text), ERR_OK);
	cr_assert_gt(code.len, 1000);
	keccak256(c.hash, code.p, code.len);
	buf_fini(&code);
	json_decref(text);
	return c;
}

enum mode {
	QUORUM, /* what anvil answers */
	EXECUTED, /* on proven state */
	PINNED, /* from proven slots */
};

static bool
setup(enum mode mode)
{
	struct k256_pub pub;
	const char *url[1] = { a.url };
	struct chainview_options o = { .urls = url,
		.n = 1,
		.quorum = 1,
		.chain_id = ANVIL_CHAIN,
		.tag = CHAIN_FINALIZED,
		.max_age_s = 3600,
		.poll_ms = 1,
		.timeout_ms = 30000,
		.proof = mode != QUORUM,
		.mono_ms = clock_mono_ms };

	if (!anvil_start(&a))
		return false;
	if (!onchain_put(&a, "DstackKms", kms) ||
	    !onchain_put(&a, "DstackApp", app))
		return false;
	cr_assert_eq(hex_fixed(owner.key.b, 32, ONCHAIN_OWNER_KEY), ERR_OK);
	cr_assert_eq(k256_pubkey(&pub, &owner.key), ERR_OK);
	cr_assert_eq(k256_address(owner.address, &pub), ERR_OK);
	setup_contracts();
	cr_assert_eq(chainview_new(&v, &o), ERR_OK);
	cr_assert_eq(gate_new(&g, v, kms), ERR_OK);
	if (mode == PINNED) {
		const struct standard_code codes[] = {
			code_at(STANDARD_KMS, kms), code_at(STANDARD_APP, app)
		};

		cr_assert_eq(gate_pin(g, codes, 2), ERR_OK);
	}
	return true;
}

static void
expect(enum gate_kind kind, const struct boot_info *bi, enum err want,
    enum reason code)
{
	struct gate_decision d;
	struct refusal why = { 0 };
	uint64_t t = clock_mono_ms();
	enum err e;

	/* A view is used for a millisecond here: let it pass. */
	while (clock_mono_ms() < t + 2)
		continue;
	e = gate_ask(g, kind, bi, clock_wall_s(), &d, &why);
	cr_assert_eq(e, want, "%s: %s", reason_label(why.code), why.detail);
	cr_assert_eq(
	    why.code, code, "%s: %s", reason_label(why.code), why.detail);
}

static void
teardown(void)
{
	gate_free(g);
	chainview_free(v);
	anvil_stop(&a);
}

/* The real contracts refuse with each of their reasons in turn, allow what
 * was registered once that is final, and take it back. */
static void
story(enum mode mode)
{
	struct boot_info bi = { .tcb_status = TCB_UP_TO_DATE };
	struct gate_kms_info info;
	struct chain_block at;

	if (!setup(mode))
		cr_skip("no anvil, or contracts not built");
	memcpy(bi.app_id, app, 20);
	memcpy(bi.compose_hash, compose, 32);
	memcpy(bi.os_image_hash, os, 32);
	mine_to_final();
	expect(GATE_APP, &bi, ERR_DENIED, REASON_CONTRACT_APP_UNKNOWN);
	expect(GATE_KMS, &bi, ERR_DENIED, REASON_CONTRACT_OS_IMAGE);
	call1(kms, 0x17a1d80f, app, 20); /* registerApp */
	call1(kms, 0x06a3ae96, os, 32); /* addOsImageHash */
	expect(GATE_APP, &bi, ERR_DENIED, REASON_CONTRACT_APP_UNKNOWN);
	mine_to_final();
	expect(GATE_APP, &bi, ERR_OK, REASON_NONE);
	expect(GATE_KMS, &bi, ERR_DENIED, REASON_CONTRACT_MR);
	bi.tcb_status = TCB_OUT_OF_DATE;
	expect(GATE_APP, &bi, ERR_DENIED, REASON_CONTRACT_TCB);
	expect(GATE_KMS, &bi, ERR_DENIED, REASON_CONTRACT_TCB);
	bi.tcb_status = TCB_UP_TO_DATE;
	bi.compose_hash[0] ^= 1;
	expect(GATE_APP, &bi, ERR_DENIED, REASON_CONTRACT_COMPOSE);
	bi.compose_hash[0] ^= 1;
	call1(kms, 0x3e32d346, bi.mr_aggregated, 32);
	mine_to_final();
	expect(GATE_KMS, &bi, ERR_DENIED, REASON_CONTRACT_KMS_DEVICE);
	call1(kms, 0x4d5922a1, bi.device_id, 32);
	call1(app, 0x67b3f22c, compose, 32); /* removeComposeHash */
	mine_to_final();
	expect(GATE_KMS, &bi, ERR_OK, REASON_NONE);
	expect(GATE_APP, &bi, ERR_DENIED, REASON_CONTRACT_COMPOSE);
	cr_assert_eq(
	    gate_kms_info(g, clock_wall_s(), &info, &at, NULL), ERR_OK);
	cr_assert_eq(info.k256_pub_len, 4);
	cr_assert_arr_eq(info.ca_pub, "keys", 4);
}

Test(gate_live, as_anvil_answers, .fini = teardown, .timeout = 120)
{
	story(QUORUM);
}

Test(gate_live, as_it_is_executed, .fini = teardown, .timeout = 120)
{
	story(EXECUTED);
}

Test(gate_live, as_the_slots_are, .fini = teardown, .timeout = 120)
{
	story(PINNED);
}
