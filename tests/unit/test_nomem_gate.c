/* The gate in mode proof without memory, against real contracts: header,
 * accounts, slots and code are fetched, proven and executed, and each of the
 * allocations fails.  No yes, and no no, comes of it.
 * Skipped unless contracts/ has been built and Foundry is installed. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <criterion/criterion.h>

#include "common/base/clock.h"
#include "common/base/hex.h"
#include "common/base/log.h"
#include "common/base/secret.h"
#include "common/crypto/keccak.h"
#include "common/eth/abi.h"
#include "common/eth/rpc.h"
#include "kms/gate/gate.h"
#include "tests/lib/nomem/nomem.h"
#include "tests/lib/onchain.h"

#define KMS_HEX "c000000000000000000000000000000000000001"
#define APP_HEX "c000000000000000000000000000000000000002"

static struct anvil a;
static const uint8_t kms[20] = { [0] = 0xc0, [19] = 1 };
static const uint8_t app[20] = { [0] = 0xc0, [19] = 2 };
static const uint8_t os[32] = { 0x05 };
static const uint8_t compose[32] = { 0xcc };

static void
word(struct buf *b, const void *p, size_t len)
{
	uint8_t w[32] = { 0 };

	memcpy(w + 32 - len, p, len);
	cr_assert_eq(abi_put_bytes32(b, w, 4096), ERR_OK);
}

static void
call1(const char *to, const char *selector, const void *p, size_t len)
{
	struct buf b = { 0 };

	cr_assert_eq(buf_set(&b, selector, 4), ERR_OK);
	word(&b, p, len);
	onchain_owner(&a, to, &b);
}

/* The app is registered, and its compose hash and OS image are allowed. */
static bool
start(void)
{
	static const uint8_t zero[32], one = 1;
	uint8_t owner[20];
	struct buf b = { 0 };

	cr_assert_eq(secret_process_init(), ERR_OK);
	log_set_level(LOG_ERROR);
	if (!anvil_start(&a) || !onchain_put(&a, "DstackKms", kms) ||
	    !onchain_put(&a, "DstackApp", app))
		return false;
	cr_assert_eq(hex_fixed(owner, 20, ONCHAIN_OWNER), ERR_OK);
	/* initialize(address owner, address appImplementation) */
	cr_assert_eq(buf_set(&b, "\x48\x5c\xc9\x55", 4), ERR_OK);
	word(&b, owner, 20);
	word(&b, app, 20);
	onchain_owner(&a, KMS_HEX, &b);
	/* initialize(owner, disableUpgrades, requireTcbUpToDate,
	 * allowAnyDevice, deviceId, composeHash) */
	b = (struct buf){ 0 };
	cr_assert_eq(buf_set(&b, "\x9e\xd2\x81\x93", 4), ERR_OK);
	word(&b, owner, 20);
	word(&b, zero, 1);
	word(&b, &one, 1);
	word(&b, &one, 1);
	word(&b, zero, 32);
	word(&b, compose, 32);
	onchain_owner(&a, APP_HEX, &b);
	call1(KMS_HEX, "\x17\xa1\xd8\x0f", app, 20); /* registerApp */
	call1(KMS_HEX, "\x06\xa3\xae\x96", os, 32); /* addOsImageHash */
	anvil_rpc(&a, "anvil_mine", "[\"0x3\"]");
	return true;
}

static void
stop(void)
{
	anvil_stop(&a);
}

/* The code at an address, by its hash. */
static struct standard_code
code_at(enum standard_role role, const char *address)
{
	struct standard_code c = { .role = role };
	struct buf code = { 0 };
	char params[64];
	json_t *text;

	(void)snprintf(params, sizeof params, "[\"0x%s\",\"latest\"]", address);
	text = anvil_ask(&a, "eth_getCode", params);
	cr_assert_eq(rpc_data(&code, 1u << 17, text), ERR_OK);
	keccak256(c.hash, code.p, code.len);
	buf_fini(&code);
	json_decref(text);
	return c;
}

struct ask {
	bool pinned;
	struct standard_code code[2];
	struct boot_info bi;
	enum reason want; /* REASON_NONE: allowed */
	struct chainview *v;
	struct gate *g;
};

static void
open_gate(void *arg)
{
	struct ask *q = arg;
	const char *url[1] = { a.url };
	const struct chainview_options o = { .urls = url,
		.n = 1,
		.quorum = 1,
		.chain_id = ANVIL_CHAIN,
		.tag = CHAIN_FINALIZED,
		.max_age_s = 3600,
		.poll_ms = 1,
		.timeout_ms = 30000,
		.proof = true,
		.mono_ms = clock_mono_ms };

	cr_assert_eq(chainview_new(&q->v, &o), ERR_OK);
	cr_assert_eq(gate_new(&q->g, q->v, kms), ERR_OK);
	if (q->pinned)
		cr_assert_eq(gate_pin(q->g, q->code, 2), ERR_OK);
}

static void
close_gate(void *arg)
{
	struct ask *q = arg;

	gate_free(q->g);
	chainview_free(q->v);
}

/* ERR_OK: the answer is the right one. */
static enum err
ask(void *arg)
{
	struct ask *q = arg;
	struct gate_decision d;
	struct refusal why = { 0 };
	enum err e = gate_ask(q->g, GATE_APP, &q->bi, clock_wall_s(), &d, &why);

	if (e != ERR_OK && e != ERR_DENIED)
		return e;
	cr_assert_eq(e, q->want == REASON_NONE ? ERR_OK : ERR_DENIED, "%s: %s",
	    reason_label(why.code), why.detail);
	cr_assert_eq(
	    why.code, q->want, "%s: %s", reason_label(why.code), why.detail);
	return ERR_OK;
}

/* A look that failed is not taken again at once. */
static void
wait_for_look(void *arg, enum err e)
{
	uint64_t began = clock_mono_ms();

	(void)arg;
	while (e != ERR_OK && clock_mono_ms() < began + 1100)
		(void)nanosleep(
		    &(const struct timespec){ .tv_nsec = 20000000 }, NULL);
}

static void
both(bool pinned)
{
	struct ask q = { .pinned = pinned,
		.bi = { .tcb_status = TCB_UP_TO_DATE } };
	struct nomem_op op = { .name = "gate_ask",
		.setup = open_gate,
		.run = ask,
		.fini = close_gate,
		.also = 1u << ERR_AGAIN,
		.once = true,
		.sparse = true };

	if (!start())
		cr_skip("no anvil, or contracts not built");
	if (pinned) {
		q.code[0] = code_at(STANDARD_KMS, KMS_HEX);
		q.code[1] = code_at(STANDARD_APP, APP_HEX);
	}
	memcpy(q.bi.app_id, app, 20);
	memcpy(q.bi.compose_hash, compose, 32);
	memcpy(q.bi.os_image_hash, os, 32);
	cr_assert_gt(nomem_each(&op, &q), 40);
	/* A refusal stays one. */
	q.bi.compose_hash[5] ^= 1;
	q.want = REASON_CONTRACT_COMPOSE;
	cr_assert_gt(nomem_each(&op, &q), 40);
	/* And the same gate answers afterwards: a few times, as it waits. */
	q.bi.compose_hash[5] ^= 1;
	q.want = REASON_NONE;
	open_gate(&q);
	for (unsigned n = 3; n < 240; n += 40) {
		enum err e;

		failmalloc_arm(FAILMALLOC_THREAD, FAILMALLOC_ALL, n);
		e = ask(&q);
		(void)failmalloc_disarm();
		wait_for_look(&q, e);
		cr_assert_eq(ask(&q), ERR_OK, "not again");
		anvil_rpc(&a, "anvil_mine", "[\"0x1\"]");
	}
	close_gate(&q);
}

Test(nomem_gate, executed, .fini = stop, .timeout = 240)
{
	both(false);
}

Test(nomem_gate, pinned, .fini = stop, .timeout = 240)
{
	both(true);
}
