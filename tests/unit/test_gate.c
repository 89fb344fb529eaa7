#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "common/base/limits.h"
#include "common/eth/abi.h"
#include "common/eth/appauth.h"
#include "kms/gate/gate.h"
#include "tests/lib/mock_chain.h"

#define NOW ((int64_t)MOCK_TIME(101))
#define APP APPAUTH_IS_APP_ALLOWED
#define KMS APPAUTH_IS_KMS_ALLOWED

static struct mock_chain *m;
static struct chainview *v;
static struct gate *g;
static struct refusal why;
static struct gate_decision d;
static struct boot_info bi;
static _Atomic uint64_t fake_ms = 1000000;
static const uint8_t contract[20] = { 0x9f, 0xe4 };

static uint64_t
mono(void)
{
	return atomic_load(&fake_ms);
}

static void
next_block(uint64_t number)
{
	mock_head(m, MOCK_ALL, number + 20, number + 10, number);
	atomic_fetch_add(&fake_ms, 1000);
}

/* (bool, string) as the compiler encodes it. */
static void
put_answer(struct buf *b, bool allowed, const char *text, size_t len)
{
	cr_assert_eq(abi_put_u64(b, allowed, 1u << 20), ERR_OK);
	cr_assert_eq(abi_put_u64(b, 0x40, 1u << 20), ERR_OK);
	cr_assert_eq(abi_put_bytes(b, text, len, 1u << 20), ERR_OK);
}

static void
say(unsigned i, uint32_t selector, bool allowed, const char *text)
{
	struct buf b = { 0 };

	put_answer(&b, allowed, text, strlen(text));
	mock_answer(m, i, selector, b.p, b.len);
	buf_fini(&b);
}

static void
setup(void)
{
	struct chainview_options o = { .n = 3,
		.quorum = 2,
		.chain_id = 31337,
		.tag = CHAIN_FINALIZED,
		.max_age_s = 600,
		.poll_ms = 1000,
		.timeout_ms = 20000,
		.mono_ms = mono };

	m = mock_chain_new(3, 31337);
	mock_head(m, MOCK_ALL, 120, 110, 100);
	o.urls = mock_urls(m);
	cr_assert_eq(chainview_new(&v, &o), ERR_OK);
	cr_assert_eq(gate_new(&g, v, contract), ERR_OK);
	bi = (struct boot_info){ .tcb_status = TCB_UP_TO_DATE };
	memset(bi.app_id, 0x11, sizeof bi.app_id);
	say(MOCK_ALL, APP, true, "");
	say(MOCK_ALL, KMS, true, "");
}

static void
teardown(void)
{
	gate_free(g);
	chainview_free(v);
	mock_chain_free(m);
}

static enum err
ask(enum gate_kind kind)
{
	why = (struct refusal){ 0 };
	d = (struct gate_decision){ 0 };
	return gate_ask(g, kind, &bi, NOW, &d, &why);
}

static void
expect_denied(enum reason code, const char *detail)
{
	cr_assert_eq(ask(GATE_APP), ERR_DENIED);
	cr_assert_eq(
	    why.code, code, "%s: %s", reason_label(why.code), why.detail);
	if (detail != NULL)
		cr_assert_str_eq(why.detail, detail);
}

static unsigned
calls(void)
{
	return mock_count(m, 0, "eth_call");
}

#define SUITE(name) Test(gate, name, .init = setup, .fini = teardown)

/* Each question has its own answer, at the pinned block. */
SUITE(two_questions)
{
	struct chain_block want = mock_block(m, 0, 100);

	say(MOCK_ALL, KMS, false, "Aggregated MR not allowed");
	cr_assert_eq(ask(GATE_APP), ERR_OK);
	cr_assert_eq(d.block.number, 100);
	cr_assert_arr_eq(d.block.hash, want.hash, 32);
	cr_assert(!d.cached);
	cr_assert_eq(ask(GATE_KMS), ERR_DENIED);
	cr_assert_eq(why.code, REASON_CONTRACT_MR);
	cr_assert_eq(d.block.number, 100);
}

/* The contracts' own words become our codes; others are kept as text. */
SUITE(reasons)
{
	static const struct {
		const char *text;
		enum reason code;
	} t[] = {
		{ "TCB status is not up to date", REASON_CONTRACT_TCB },
		{ "OS image is not allowed", REASON_CONTRACT_OS_IMAGE },
		{ "App not registered", REASON_CONTRACT_APP_UNKNOWN },
		{ "App not deployed or invalid address",
		    REASON_CONTRACT_APP_ADDRESS },
		{ "Compose hash not allowed", REASON_CONTRACT_COMPOSE },
		{ "Device not allowed", REASON_CONTRACT_DEVICE },
		{ "", REASON_CONTRACT_OTHER },
		{ "compose hash not allowed", REASON_CONTRACT_OTHER },
		{ "Notice period", REASON_CONTRACT_OTHER },
	};

	for (size_t i = 0; i < sizeof t / sizeof t[0]; i++) {
		say(MOCK_ALL, APP, false, t[i].text);
		bi.app_id[0]++;
		expect_denied(t[i].code, t[i].text);
	}
}

/* A contract's text cannot break a log line, nor fill it. */
SUITE(lying_text)
{
	struct buf b = { 0 };
	char text[5000];

	say(MOCK_ALL, APP, false,
	    "no\nlevel=info event=\"allowed\"\x1b[2J\xff");
	expect_denied(
	    REASON_CONTRACT_OTHER, "no?level=info event=\"allowed\"?[2J?");
	memset(text, 'x', sizeof text);
	put_answer(&b, false, text, sizeof text);
	mock_answer(m, MOCK_ALL, APP, b.p, b.len);
	next_block(101);
	expect_denied(REASON_CONTRACT_OTHER, NULL);
	cr_assert_leq(strlen(why.detail), LIMIT_REASON_TEXT);
	/* Text beside "allowed" changes nothing. */
	say(MOCK_ALL, APP, true, "App not registered");
	next_block(102);
	cr_assert_eq(ask(GATE_APP), ERR_OK);
	buf_fini(&b);
}

/* Answers in any other form than the compiler's are a refusal. */
SUITE(non_canonical)
{
	struct buf b = { 0 };

	put_answer(&b, true, "ok", 2);
	/* Each time another app, so that each is asked for; a length of 18
	 * in byte 95 would just be a longer text. */
	for (uint8_t at = 0; at < 95; at++) {
		bi.app_id[0] = at;
		b.p[at] ^= 0x10;
		mock_answer(m, MOCK_ALL, APP, b.p, b.len);
		b.p[at] ^= 0x10;
		expect_denied(REASON_CHAIN_ANSWER, NULL);
	}
	bi.app_id[5] = 5;
	mock_answer(m, MOCK_ALL, APP, b.p, b.len - 1);
	expect_denied(REASON_CHAIN_ANSWER, NULL);
	bi.app_id[5]++;
	b.p[b.len - 1] = 1; /* padding */
	mock_answer(m, MOCK_ALL, APP, b.p, b.len);
	expect_denied(REASON_CHAIN_ANSWER, NULL);
	bi.app_id[5]++;
	mock_answer(m, MOCK_ALL, APP, "", 0);
	expect_denied(REASON_CHAIN_ANSWER,
	    "empty answer: is there a contract at the address?");
	buf_fini(&b);
}

/* A contract that reverts, burns its gas or returns a flood is refused;
 * the next app is served all the same. */
SUITE(hostile_contracts)
{
	uint8_t *big = calloc(1, LIMIT_CALL_ANSWER + 1);

	cr_assert_not_null(big);
	mock_error(m, MOCK_ALL, APP, 3, "execution reverted");
	expect_denied(REASON_CONTRACT_OTHER, "call failed: execution reverted");
	bi.app_id[0]++;
	mock_error(m, MOCK_ALL, APP, -32000, "out of gas");
	expect_denied(REASON_CONTRACT_OTHER, "call failed: out of gas");
	bi.app_id[0]++;
	mock_answer(m, MOCK_ALL, APP, big, LIMIT_CALL_ANSWER + 1);
	expect_denied(REASON_CHAIN_ANSWER, NULL);
	bi.app_id[0]++;
	say(MOCK_ALL, APP, true, "");
	cr_assert_eq(ask(GATE_APP), ERR_OK);
	free(big);
}

/* A decision is asked for once per block and forgotten with it, whether
 * it was yes or no. */
SUITE(cache_lives_one_block)
{
	cr_assert_eq(ask(GATE_APP), ERR_OK);
	say(MOCK_ALL, APP, false, "Compose hash not allowed");
	cr_assert_eq(ask(GATE_APP), ERR_OK);
	cr_assert(d.cached);
	cr_assert_eq(calls(), 1);
	/* Still the same block after another look. */
	next_block(100);
	cr_assert_eq(ask(GATE_APP), ERR_OK);
	cr_assert(d.cached);
	next_block(101);
	expect_denied(REASON_CONTRACT_COMPOSE, "Compose hash not allowed");
	cr_assert(!d.cached);
	cr_assert_eq(d.block.number, 101);
	say(MOCK_ALL, APP, true, "");
	expect_denied(REASON_CONTRACT_COMPOSE, "Compose hash not allowed");
	cr_assert(d.cached);
	cr_assert_eq(calls(), 2);
	next_block(102);
	cr_assert_eq(ask(GATE_APP), ERR_OK);
}

/* Every part of the boot information is part of the question. */
SUITE(cache_keyed_by_all)
{
	cr_assert_eq(ask(GATE_APP), ERR_OK);
	say(MOCK_ALL, APP, false, "Compose hash not allowed");
	bi.compose_hash[31] ^= 1;
	expect_denied(REASON_CONTRACT_COMPOSE, NULL);
	bi.compose_hash[31] ^= 1;
	cr_assert_eq(ask(GATE_APP), ERR_OK);
	bi.tcb_status = TCB_OUT_OF_DATE;
	expect_denied(REASON_CONTRACT_COMPOSE, NULL);
	bi.tcb_status = TCB_UP_TO_DATE;
	say(MOCK_ALL, KMS, false, "OS image is not allowed");
	cr_assert_eq(ask(GATE_KMS), ERR_DENIED);
	cr_assert_eq(ask(GATE_APP), ERR_OK);
	cr_assert(d.cached);
}

/* A kept "yes" is no answer once the chain cannot be read, is stale, or
 * has gone back. */
SUITE(cache_never_outlives_the_view)
{
	cr_assert_eq(ask(GATE_APP), ERR_OK);
	cr_assert_eq(
	    gate_ask(g, GATE_APP, &bi, NOW + 1000, &d, &why), ERR_AGAIN);
	cr_assert_eq(why.code, REASON_CHAIN_STALE);
	next_block(99);
	cr_assert_eq(ask(GATE_APP), ERR_AGAIN);
	cr_assert_eq(why.code, REASON_CHAIN_BACKWARDS);
	cr_assert_eq(d.block.number, 0);
	mock_mode(m, MOCK_ALL, MOCK_GARBAGE);
	next_block(100);
	cr_assert_eq(ask(GATE_APP), ERR_AGAIN);
	cr_assert_eq(why.code, REASON_CHAIN_UNREACHABLE);
	mock_mode(m, MOCK_ALL, MOCK_FINE);
	next_block(100);
	cr_assert_eq(ask(GATE_APP), ERR_OK);
}

/* Endpoints that do not agree on an answer give none, and that is not
 * remembered. */
SUITE(disagreement)
{
	say(0, APP, false, "App not registered");
	say(1, APP, false, "Device not allowed");
	cr_assert_eq(ask(GATE_APP), ERR_AGAIN);
	cr_assert_eq(why.code, REASON_CHAIN_DISAGREE);
	say(1, APP, true, "");
	cr_assert_eq(ask(GATE_APP), ERR_OK);
	cr_assert(!d.cached);
}

/* A boot info outside its own bounds asks nobody. */
SUITE(bad_boot_info)
{
	bi.n_advisories = ADVISORY_MAX + 1;
	cr_assert_eq(ask(GATE_APP), ERR_MALFORMED);
	cr_assert_eq(mock_count(m, 0, NULL), 0);
}

/* Outcomes are counted by reason. */
SUITE(counters)
{
	struct gate_stats s;

	cr_assert_eq(ask(GATE_APP), ERR_OK);
	cr_assert_eq(ask(GATE_APP), ERR_OK);
	say(MOCK_ALL, KMS, false, "OS image is not allowed");
	cr_assert_eq(ask(GATE_KMS), ERR_DENIED);
	next_block(99);
	cr_assert_eq(ask(GATE_APP), ERR_AGAIN);
	gate_stats(g, &s);
	cr_assert_eq(s.allowed, 2);
	cr_assert_eq(s.denied, 1);
	cr_assert_eq(s.again, 1);
	cr_assert_eq(s.from_cache, 1);
	cr_assert_eq(s.by_reason[REASON_CONTRACT_OS_IMAGE], 1);
	cr_assert_eq(s.by_reason[REASON_CHAIN_BACKWARDS], 1);
}

static atomic_uint wrong;

/* Even threads ask for an allowed app, odd ones for a denied one. */
static void *
one_caller(void *cookie)
{
	unsigned n = *(const unsigned *)cookie;
	enum gate_kind kind = n % 2 == 0 ? GATE_APP : GATE_KMS;
	enum err want = n % 2 == 0 ? ERR_OK : ERR_DENIED;

	for (unsigned i = 0; i < 8; i++) {
		struct boot_info b = bi;
		struct gate_decision got;
		struct refusal r = { 0 };

		b.device_id[0] = (uint8_t)(n / 2 % 3);
		b.device_id[1] = (uint8_t)i;
		if (gate_ask(g, kind, &b, NOW, &got, &r) != want ||
		    got.block.number < 100 || got.block.number > 103)
			atomic_fetch_add(&wrong, 1);
	}
	return NULL;
}

/* Threads that ask different things at once, while blocks come, each get
 * their own answer. */
SUITE(concurrent_callers)
{
	pthread_t t[12];
	unsigned n[12];

	say(MOCK_ALL, KMS, false, "OS image is not allowed");
	for (unsigned i = 0; i < 12; i++) {
		n[i] = i;
		cr_assert_eq(pthread_create(&t[i], NULL, one_caller, &n[i]), 0);
	}
	for (uint64_t b = 101; b <= 103; b++)
		next_block(b);
	for (unsigned i = 0; i < 12; i++)
		cr_assert_eq(pthread_join(t[i], NULL), 0);
	cr_assert_eq(atomic_load(&wrong), 0);
}

static void *
slow_caller(void *arg)
{
	(void)arg;
	d = (struct gate_decision){ .cached = false };
	return gate_ask(g, GATE_APP, &bi, NOW, &d, &why) == ERR_OK ? NULL : &d;
}

/* A contract that is long in answering (or an endpoint) does not make keys
 * leave by what held at a block that is not the current one any more. */
SUITE(approval_is_of_the_current_block)
{
	pthread_t t;
	void *failed;

	mock_hold(m, MOCK_ALL, APP);
	cr_assert_eq(pthread_create(&t, NULL, slow_caller, NULL), 0);
	mock_wait_held_call(m, 0);
	next_block(101);
	mock_hold(m, MOCK_ALL, 0);
	cr_assert_eq(pthread_join(t, &failed), 0);
	cr_assert_null(failed, "%s", why.detail);
	cr_assert_eq(d.block.number, 101);
	cr_assert_eq(mock_count_calls(m, 0, APP), 2);
	/* Nor while the chain cannot be read. */
	next_block(102);
	mock_hold(m, MOCK_ALL, APP);
	cr_assert_eq(pthread_create(&t, NULL, slow_caller, NULL), 0);
	for (unsigned i = 0; i < 3; i++)
		mock_wait_held_call(m, i);
	mock_canned(m, MOCK_ALL, "eth_getBlockByNumber",
	    "\"error\":{\"code\":-32005,\"message\":\"no\"}");
	atomic_fetch_add(&fake_ms, 1000);
	mock_hold(m, MOCK_ALL, 0);
	cr_assert_eq(pthread_join(t, &failed), 0);
	cr_assert_not_null(failed);
	cr_assert_eq(why.code, REASON_CHAIN_UNREACHABLE);
}

/* ---- getters ---- */

static void
say_info(size_t k256_len, size_t ca_len, size_t quote_len)
{
	static uint8_t bytes[LIMIT_KMS_INFO];
	size_t len[4] = { k256_len, ca_len, quote_len, 10 };
	size_t at = sizeof len / sizeof len[0] * ABI_WORD;
	struct buf b = { 0 };

	memset(bytes, 0xab, sizeof bytes);
	for (size_t i = 0; i < 4; i++) {
		cr_assert_eq(abi_put_u64(&b, at, 1u << 20), ERR_OK);
		at += abi_bytes_size(len[i]);
	}
	for (size_t i = 0; i < 4; i++)
		cr_assert_eq(
		    abi_put_bytes(&b, bytes, len[i], 1u << 20), ERR_OK);
	mock_answer(m, MOCK_ALL, APPAUTH_KMS_INFO, b.p, b.len);
	buf_fini(&b);
}

/* The registered keys are read beside a large quote, once per block. */
SUITE(kms_info)
{
	struct gate_kms_info info;
	struct chain_block b;

	say_info(33, 91, 200 * 1024);
	cr_assert_eq(gate_kms_info(g, NOW, &info, &b, &why), ERR_OK);
	cr_assert_eq(info.k256_pub_len, 33);
	cr_assert_eq(info.ca_pub_len, 91);
	cr_assert_eq(info.ca_pub[90], 0xab);
	cr_assert_eq(b.number, 100);
	say_info(0, 0, 0);
	cr_assert_eq(gate_kms_info(g, NOW, &info, &b, &why), ERR_OK);
	cr_assert_eq(info.k256_pub_len, 33);
	cr_assert_eq(calls(), 1);
	next_block(101);
	cr_assert_eq(gate_kms_info(g, NOW, &info, &b, &why), ERR_OK);
	cr_assert_eq(info.k256_pub_len, 0);
	cr_assert_eq(b.number, 101);
}

/* Keys or answers over their bounds, and other forms, are refused. */
SUITE(kms_info_refusals)
{
	struct gate_kms_info info = { .ca_pub_len = 77 };
	struct chain_block b;

	say_info(GATE_PUB_MAX + 1, 91, 0);
	cr_assert_eq(gate_kms_info(g, NOW, &info, &b, &why), ERR_DENIED);
	cr_assert_eq(why.code, REASON_CHAIN_ANSWER);
	say_info(33, GATE_PUB_MAX + 1, 0);
	cr_assert_eq(gate_kms_info(g, NOW, &info, &b, &why), ERR_DENIED);
	say_info(33, 91, LIMIT_KMS_INFO - 100);
	cr_assert_eq(gate_kms_info(g, NOW, &info, &b, &why), ERR_DENIED);
	cr_assert_eq(why.code, REASON_CHAIN_ANSWER);
	mock_answer(m, MOCK_ALL, APPAUTH_KMS_INFO, "", 0);
	cr_assert_eq(gate_kms_info(g, NOW, &info, &b, &why), ERR_DENIED);
	next_block(99);
	cr_assert_eq(gate_kms_info(g, NOW, &info, &b, &why), ERR_AGAIN);
	cr_assert_eq(why.code, REASON_CHAIN_BACKWARDS);
	cr_assert_eq(info.ca_pub_len, 77);
}

static void
say_gateway(const char *text, size_t len)
{
	struct buf b = { 0 };

	cr_assert_eq(abi_put_u64(&b, ABI_WORD, 4096), ERR_OK);
	cr_assert_eq(abi_put_bytes(&b, text, len, 4096), ERR_OK);
	mock_answer(m, MOCK_ALL, APPAUTH_GATEWAY_APP_ID, b.p, b.len);
	buf_fini(&b);
}

/* The gateway's id is plain text of bounded length or refused. */
SUITE(gateway_app_id)
{
	char id[GATE_GATEWAY_ID_MAX] = "unset", text[GATE_GATEWAY_ID_MAX];
	struct chain_block b;

	memset(text, 'a', sizeof text);
	say_gateway(text, sizeof text);
	cr_assert_eq(gate_gateway_app_id(g, NOW, id, &b, &why), ERR_DENIED);
	say_gateway("a\0b", 3);
	cr_assert_eq(gate_gateway_app_id(g, NOW, id, &b, &why), ERR_DENIED);
	say_gateway("caf\xc3\xa9", 5);
	cr_assert_eq(gate_gateway_app_id(g, NOW, id, &b, &why), ERR_DENIED);
	mock_answer(m, MOCK_ALL, APPAUTH_GATEWAY_APP_ID, "", 0);
	cr_assert_eq(gate_gateway_app_id(g, NOW, id, &b, &why), ERR_DENIED);
	cr_assert_str_eq(id, "unset");
	say_gateway(text, sizeof text - 1);
	cr_assert_eq(gate_gateway_app_id(g, NOW, id, &b, &why), ERR_OK);
	cr_assert_eq(strlen(id), sizeof text - 1);
	/* It is kept for its block, and forgotten with it. */
	say_gateway("any", 3);
	cr_assert_eq(gate_gateway_app_id(g, NOW, id, &b, &why), ERR_OK);
	cr_assert_eq(strlen(id), sizeof text - 1);
	cr_assert_eq(b.number, 100);
	next_block(101);
	cr_assert_eq(gate_gateway_app_id(g, NOW, id, &b, &why), ERR_OK);
	cr_assert_str_eq(id, "any");
	cr_assert_eq(b.number, 101);
}
