/* Which epoch an app may have, as a quorum of endpoints tells it; everything
 * that is no registry of this KMS and anchor says nothing. */
#include <stdio.h>
#include <string.h>

#include <criterion/criterion.h>

#include "common/base/clock.h"
#include "common/base/hex.h"
#include "common/crypto/hash.h"
#include "kms/ctl/calls.h"
#include "kms/gate/anchorabi.h"
#include "kms/gate/registry.h"
#include "tests/lib/onchain.h"
#include "tests/lib/registry_says.h"

#define NOW ((int64_t)MOCK_TIME(101))
#define CHAIN 31337

static struct mock_chain *m;
static struct chainview *v;
static struct registry *r;
static struct refusal why;
static uint64_t mono_ms = 1000000;
static struct registry_state world;
static struct k256_pub root[4];
static uint8_t ca[4][32];
static const uint8_t contract[20] = { 0x9f, 0xe4 };
static const uint8_t kms[20] = { 0xc0, 0xff, 0xee };
static const uint8_t anchor[20] = { 0xa2 };
static const uint8_t app[20] = { 0x11, 0x22 };

static uint64_t
mono(void)
{
	return mono_ms;
}

static void
make_roots(void)
{
	struct k256_secret s;

	for (unsigned i = 0; i < 4; i++) {
		k256_generate(&s);
		cr_assert_eq(k256_pubkey(&root[i], &s), ERR_OK);
		memset(ca[i], (int)(0xc0 + i), 32);
	}
}

static void
says(void)
{
	registry_says(m, MOCK_ALL, contract, &world);
}

static void
block(uint64_t number)
{
	mono_ms += 2000;
	mock_head(m, MOCK_ALL, number + 20, number + 10, number);
}

/* Three endpoints, two of which must agree; epoch 0 is tainted, 1 and 2 are
 * active, 3 is ordered. */
static void
setup(void)
{
	struct chainview_options o = { .n = 3,
		.quorum = 2,
		.chain_id = CHAIN,
		.max_age_s = 600,
		.poll_ms = 1000,
		.timeout_ms = 20000,
		.mono_ms = mono };
	struct registry_options ro = {
		.chain_id = CHAIN, .n_urls = 3, .timeout_ms = 20000
	};

	make_roots();
	m = mock_chain_new(3, CHAIN);
	block(100);
	o.urls = ro.urls = mock_urls(m);
	cr_assert_eq(chainview_new(&v, &o), ERR_OK);
	ro.view = v;
	memcpy(ro.contract, contract, 20);
	memcpy(ro.kms, kms, 20);
	memcpy(ro.anchor, anchor, 20);
	cr_assert_eq(registry_new(&r, &ro), ERR_OK);
	registry_says_new(&world, kms, anchor);
	for (unsigned i = 0; i < 3; i++)
		registry_says_epoch(&world, &root[i], ca[i], REGISTRY_ROUTINE);
	registry_says_status(&world, 0, REGISTRY_TAINTED);
	registry_says_order(&world, REGISTRY_EMERGENCY);
	says();
	registry_says_pin(m, MOCK_ALL, contract, 1);
	why = (struct refusal){ 0 };
}

static void
teardown(void)
{
	registry_free(r);
	chainview_free(v);
	mock_chain_free(m);
}

TestSuite(registry, .init = setup, .fini = teardown);

static void
expect_again(enum reason code, const char *words)
{
	static struct registry_state s;
	struct registry_choice c = { .number = 77 };
	struct chain_block b = { .number = 77 };

	why = (struct refusal){ 0 };
	cr_assert_eq(registry_read(r, NOW, &s, &b, &why), ERR_AGAIN);
	cr_assert_eq(
	    why.code, code, "%s: %s", reason_label(why.code), why.detail);
	cr_assert_not_null(strstr(why.detail, words), "%s", why.detail);
	cr_assert_eq(b.number, 77);
	cr_assert_eq(s.n_epochs, 0);
	cr_assert_eq(registry_read(r, NOW, &s, &b, NULL), ERR_AGAIN);
	cr_assert_eq(registry_choose(r, app, NULL, NOW, &c, &why), ERR_AGAIN);
	cr_assert_eq(why.code, code);
	cr_assert_eq(c.number, 77);
}

Test(registry, options)
{
	const char *urls[2] = { "http://127.0.0.1:1", "ftp://127.0.0.1:1" };
	struct registry_options o = { .view = v,
		.chain_id = CHAIN,
		.contract = { 1 },
		.urls = urls,
		.n_urls = 1,
		.timeout_ms = 1 };
	struct registry_options bad;
	struct registry *b = NULL;

	bad = o, bad.chain_id = 0;
	cr_assert_eq(registry_new(&b, &bad), ERR_CONFIG);
	bad = o, bad.contract[0] = 0;
	cr_assert_eq(registry_new(&b, &bad), ERR_CONFIG);
	bad = o, bad.n_urls = 0;
	cr_assert_eq(registry_new(&b, &bad), ERR_CONFIG);
	bad = o, bad.n_urls = 99;
	cr_assert_eq(registry_new(&b, &bad), ERR_CONFIG);
	bad = o, bad.n_urls = 2;
	cr_assert_eq(registry_new(&b, &bad), ERR_CONFIG);
	bad = o, bad.timeout_ms = 0;
	cr_assert_eq(registry_new(&b, &bad), ERR_CONFIG);
	cr_assert_null(b);
	cr_assert_eq(registry_new(&b, &o), ERR_OK);
	cr_assert_eq(registry_at(b)->chain_id, CHAIN);
	cr_assert_eq(registry_at(b)->contract[0], 1);
	registry_free(b);
	registry_free(NULL);
}

/* Whatever is no state of our registry is a registry that cannot be read. */
Test(registry, read_refused)
{
	static uint8_t long_answer[REGISTRYABI_STATE_MAX + 32];
	struct registry_state good = world;

	mock_answer_at(m, MOCK_ALL, contract, REGISTRY_STATE, "", 0);
	expect_again(REASON_CHAIN_ANSWER, "is there a contract");
	mock_answer_at(m, MOCK_ALL, contract, REGISTRY_STATE, "garbage", 7);
	expect_again(REASON_CHAIN_ANSWER, "not a state");
	mock_answer_at(m, MOCK_ALL, contract, REGISTRY_STATE, long_answer,
	    sizeof long_answer);
	expect_again(REASON_CHAIN_ANSWER, "registry: ");
	world.kms[0] ^= 1;
	says();
	expect_again(REASON_CHAIN_ANSWER, "another KMS contract's");
	world = good;
	world.anchor[19] ^= 1;
	says();
	expect_again(REASON_CHAIN_ANSWER, "another anchor's");
	world = good;
	world.epoch[1].status = REGISTRY_PUBLISHED;
	says();
	expect_again(REASON_CHAIN_ANSWER, "not a state");
}

/* Two of three must say the same, on the right chain. */
Test(registry, read_needs_a_quorum)
{
	struct registry_state x = world;

	x.vetoes = 1;
	registry_says(m, 0, contract, &x);
	x.vetoes = 2;
	registry_says(m, 1, contract, &x);
	expect_again(REASON_CHAIN_DISAGREE, "");
	says();
	block(101);
	mock_chain_id(m, MOCK_ALL, 1);
	expect_again(REASON_CHAIN_WRONG, "");
	mock_chain_id(m, MOCK_ALL, CHAIN);
	mock_down(m, 0);
	mock_down(m, 1);
	block(102);
	expect_again(REASON_CHAIN_UNREACHABLE, "");
}

Test(registry, read)
{
	struct chain_block b, want = mock_block(m, 0, 100);
	static struct registry_state s;

	cr_assert_eq(
	    registry_read(r, NOW, &s, &b, &why), ERR_OK, "%s", why.detail);
	cr_assert_eq(b.number, 100);
	cr_assert_arr_eq(b.hash, want.hash, 32);
	cr_assert_eq(s.n_epochs, 4);
	cr_assert_eq(s.active, 2);
	cr_assert_arr_eq(s.epoch[2].k256.b, root[2].b, 33);
}

/* ---- choosing ---- */

static void
denied(const uint64_t *asked, enum reason code, const char *words)
{
	struct registry_choice c = { .number = 77 };

	why = (struct refusal){ 0 };
	cr_assert_eq(registry_choose(r, app, asked, NOW, &c, &why), ERR_DENIED);
	cr_assert_eq(
	    why.code, code, "%s: %s", reason_label(why.code), why.detail);
	cr_assert_not_null(strstr(why.detail, words), "%s", why.detail);
	cr_assert_eq(c.number, 77);
	cr_assert_eq(registry_choose(r, app, asked, NOW, &c, NULL), ERR_DENIED);
}

static void
chosen(const uint64_t *asked, uint64_t number, enum registry_status status)
{
	struct registry_choice c;

	why = (struct refusal){ 0 };
	cr_assert_eq(registry_choose(r, app, asked, NOW, &c, &why), ERR_OK,
	    "%s", why.detail);
	cr_assert_eq(c.number, number);
	cr_assert_eq(c.status, status);
	cr_assert_arr_eq(c.k256.b, root[number].b, 33);
	cr_assert_arr_eq(c.ca_spki_hash, ca[number], 32);
}

static const uint64_t zero = 0, one = 1, two = 2, three = 3, four = 4,
		      all = UINT64_MAX;

/* What was never active is unknown; what is newer than the pin, closed. */
Test(registry, unknown_and_newer)
{
	denied(&two, REASON_EPOCH_CLOSED, "newer than the app's pin");
	denied(&three, REASON_EPOCH_UNKNOWN, "not active yet");
	denied(&four, REASON_EPOCH_UNKNOWN, "the active one is 2");
	denied(&all, REASON_EPOCH_UNKNOWN, "");
	chosen(NULL, 1, REGISTRY_ACTIVE);
	chosen(&one, 1, REGISTRY_ACTIVE);
}

/* A tainted one is for old data, by number; a destroyed one for nobody. */
Test(registry, tainted_and_destroyed)
{
	chosen(&zero, 0, REGISTRY_TAINTED);
	registry_says_pin(m, MOCK_ALL, contract, 0);
	block(101);
	denied(NULL, REASON_EPOCH_CLOSED, "tainted");
	chosen(&zero, 0, REGISTRY_TAINTED);
	registry_says_status(&world, 0, REGISTRY_DESTROYED);
	says();
	block(102);
	denied(NULL, REASON_EPOCH_CLOSED, "must pin another");
	denied(&zero, REASON_EPOCH_CLOSED, "is destroyed");
	registry_says_pin(m, MOCK_ALL, contract, 2);
	block(103);
	denied(&zero, REASON_EPOCH_CLOSED, "is destroyed");
	chosen(NULL, 2, REGISTRY_ACTIVE);
	chosen(&one, 1, REGISTRY_ACTIVE);
}

/* Those before the first that the state lists are destroyed. */
Test(registry, long_ago)
{
	struct k256_secret s;
	struct k256_pub pub;

	registry_says_new(&world, kms, anchor);
	for (unsigned i = 0; i < REGISTRY_EPOCHS_MAX; i++) {
		k256_generate(&s);
		cr_assert_eq(k256_pubkey(&pub, &s), ERR_OK);
		registry_says_epoch(&world, &pub, ca[0], REGISTRY_ROUTINE);
		if (i > 0)
			registry_says_status(&world, i - 1, REGISTRY_DESTROYED);
	}
	for (unsigned i = 0; i < REGISTRY_EPOCHS_MAX; i++) {
		struct registry_epoch *x = &world.epoch[i];

		x->number += 2;
		x->order += 2;
		if (i == 0) {
			x->published_at = x->held_as_of =
			    x->activated_at - world.veto_window_s;
			x->holders = 3;
			memset(x->held_seats, 1, 32);
		}
	}
	world.active += 2;
	world.order.number += 2;
	says();
	registry_says_pin(m, MOCK_ALL, contract, 1);
	denied(NULL, REASON_EPOCH_CLOSED, "is destroyed");
	denied(&zero, REASON_EPOCH_CLOSED, "is destroyed");
	denied(&two, REASON_EPOCH_CLOSED, "is destroyed");
	denied(&all, REASON_EPOCH_UNKNOWN, "");
}

/* An app that never pinned anything uses epoch 0; where nothing was
 * registered there is not even that. */
Test(registry, not_pinned)
{
	registry_says_new(&world, kms, anchor);
	registry_says_epoch(&world, &root[0], ca[0], REGISTRY_ROUTINE);
	says();
	registry_says_pin(m, MOCK_ALL, contract, 0);
	chosen(NULL, 0, REGISTRY_ACTIVE);
	chosen(&zero, 0, REGISTRY_ACTIVE);
	denied(&one, REASON_EPOCH_UNKNOWN, "");
	registry_says_new(&world, kms, anchor);
	says();
	block(101);
	denied(NULL, REASON_EPOCH_UNKNOWN, "no epoch 0");
	denied(&zero, REASON_EPOCH_UNKNOWN, "no epoch 0");
}

/* A pin beyond what is active, or that is no number, cannot be. */
Test(registry, impossible_pins)
{
	static const uint8_t big[32] = { 1 };
	struct registry_choice c = { .number = 77 };
	struct chain_block b;
	static struct registry_state s;

	for (unsigned i = 0; i < 4; i++) {
		registry_says_pin(m, MOCK_ALL, contract, 3);
		if (i == 1)
			mock_answer_at(
			    m, MOCK_ALL, contract, REGISTRY_PIN_OF, big, 32);
		if (i == 2)
			mock_answer_at(
			    m, MOCK_ALL, contract, REGISTRY_PIN_OF, big, 31);
		if (i == 3)
			mock_answer_at(
			    m, MOCK_ALL, contract, REGISTRY_PIN_OF, "", 0);
		block(101 + i);
		cr_assert_eq(
		    registry_choose(r, app, NULL, NOW, &c, &why), ERR_AGAIN);
		cr_assert_eq(why.code, REASON_CHAIN_ANSWER, "%s", why.detail);
		cr_assert_eq(c.number, 77);
	}
	cr_assert_eq(registry_read(r, NOW, &s, &b, &why), ERR_OK);
}

/* Asked once a block: a warm choice adds no call.  A new block forgets all,
 * and every app has a pin of its own. */
Test(registry, kept_for_a_block)
{
	uint8_t other[20] = { 0x11, 0x22, 0x33 };
	struct registry_choice c;
	unsigned states, pins;

	chosen(NULL, 1, REGISTRY_ACTIVE);
	states = mock_count_calls_at(m, 0, contract, REGISTRY_STATE);
	pins = mock_count_calls_at(m, 0, contract, REGISTRY_PIN_OF);
	registry_says_pin(m, MOCK_ALL, contract, 2);
	registry_says_status(&world, 1, REGISTRY_TAINTED);
	says();
	for (unsigned i = 0; i < 50; i++) {
		chosen(NULL, 1, REGISTRY_ACTIVE);
		chosen(&zero, 0, REGISTRY_TAINTED);
	}
	cr_assert_eq(
	    mock_count_calls_at(m, 0, contract, REGISTRY_STATE), states);
	cr_assert_eq(
	    mock_count_calls_at(m, 0, contract, REGISTRY_PIN_OF), pins);
	/* One that shares the place of the first. */
	cr_assert_eq(registry_choose(r, other, NULL, NOW, &c, &why), ERR_OK);
	cr_assert_eq(c.number, 2);
	cr_assert_eq(
	    mock_count_calls_at(m, 0, contract, REGISTRY_PIN_OF), pins + 1);
	block(101);
	chosen(NULL, 2, REGISTRY_ACTIVE);
	chosen(&one, 1, REGISTRY_TAINTED);
	cr_assert_eq(
	    mock_count_calls_at(m, 0, contract, REGISTRY_STATE), states + 1);
}

/* The contract's refusal is final if nobody takes it; nobody there is not. */
Test(registry, send_refused)
{
	struct k256_secret k;
	struct buf b = { 0 };

	k256_generate(&k);
	cr_assert_eq(registryabi_activate(&b, 3), ERR_OK);
	mock_canned(
	    m, MOCK_ALL, "eth_getTransactionCount", "\"result\":\"0x5\"");
	mock_canned(
	    m, MOCK_ALL, "eth_maxPriorityFeePerGas", "\"result\":\"0x3\"");
	mock_canned(m, MOCK_ALL, "eth_estimateGas",
	    "\"error\":{\"code\":3,\"message\":\"execution reverted: Too "
	    "early\"}");
	cr_assert_eq(registry_send(r, buf_view(&b), &k, &why), ERR_DENIED);
	cr_assert_eq(why.code, REASON_CONTRACT_OTHER);
	cr_assert_not_null(strstr(why.detail, "Too early"));
	for (unsigned i = 0; i < 3; i++)
		mock_down(m, i);
	cr_assert_eq(registry_send(r, buf_view(&b), &k, NULL), ERR_AGAIN);
	buf_fini(&b);
}

/* ---- the real contract ---- */

#define KMS_HEX "c0ffee0000000000000000000000000000000000"
#define AUTHORITY "a000000000000000000000000000000000000002"

static void
impersonate(const struct anvil *av, const char *address)
{
	char params[64];
	uint8_t a[20];

	cr_assert_eq(hex_fixed(a, 20, address), ERR_OK);
	onchain_fund(av, a);
	(void)snprintf(params, sizeof params, "[\"0x%s\"]", address);
	anvil_rpc(av, "anvil_impersonateAccount", params);
}

static bool
deployed(const struct anvil *av)
{
	static const uint8_t spki[] = "the SPKI of a CA";
	struct bytes info[4] = { { root[0].b, 33 }, { spki, sizeof spki },
		{ spki, 0 }, { spki, 0 } };
	uint8_t k[20], authority[20];
	struct buf b = { 0 };

	cr_assert_eq(hex_fixed(k, 20, KMS_HEX), ERR_OK);
	cr_assert_eq(hex_fixed(authority, 20, AUTHORITY), ERR_OK);
	if (!onchain_anchor(av, k, 60) || !onchain_put(av, "DstackKms", k) ||
	    !onchain_put(av, "OperatorCouncil", authority) ||
	    !onchain_registry(av, k, authority, 600, 3600, 300))
		return false;
	impersonate(av, AUTHORITY);
	/* initialize(owner, no factory) */
	cr_assert_eq(buf_reserve(&b, 68), ERR_OK);
	memset(b.p, 0, 68);
	cr_assert_eq(hex_fixed(b.p, 4, "485cc955"), ERR_OK);
	cr_assert_eq(hex_fixed(b.p + 16, 20, ONCHAIN_OWNER), ERR_OK);
	b.len = 68;
	onchain_owner(av, KMS_HEX, &b);
	cr_assert_eq(calls_set_kms_info(&b, info), ERR_OK);
	onchain_owner(av, KMS_HEX, &b);
	return true;
}

static void
look(const struct anvil *av, enum err want, enum reason code)
{
	uint64_t t = clock_mono_ms();
	struct registry_choice c;

	anvil_rpc(av, "anvil_mine", "[\"0x3\"]");
	while (clock_mono_ms() < t + 2)
		continue;
	why = (struct refusal){ 0 };
	cr_assert_eq(
	    registry_choose(r, app, NULL, clock_wall_s() + 60, &c, &why), want,
	    "%s: %s", reason_label(why.code), why.detail);
	cr_assert_eq(why.code, code);
	if (want == ERR_OK) {
		cr_assert_eq(c.number, 0);
		cr_assert_eq(c.pinned, 0);
		cr_assert_arr_eq(c.k256.b, root[0].b, 33);
	}
}

/* Nothing there; another KMS's; empty; and the one that counts.  A call that
 * it refuses is refused with its words. */
Test(registry_chain, real, .init = make_roots, .timeout = 120)
{
	const char *urls[1];
	struct chainview_options o = { .urls = urls,
		.n = 1,
		.quorum = 1,
		.chain_id = ANVIL_CHAIN,
		.tag = CHAIN_FINALIZED,
		.max_age_s = 3600,
		.poll_ms = 1,
		.timeout_ms = 30000,
		.mono_ms = clock_mono_ms };
	struct registry_options ro = { .chain_id = ANVIL_CHAIN,
		.urls = urls,
		.n_urls = 1,
		.timeout_ms = 30000 };
	static const char spki[] = "the SPKI of a CA";
	struct k256_secret payer;
	struct k256_pub pub;
	uint8_t address[20], hash[32];
	struct buf b = { 0 };
	struct anvil av;

	if (!anvil_start(&av) || !deployed(&av))
		cr_skip_test("no anvil, or contracts/ is not built");
	urls[0] = av.url;
	cr_assert_eq(chainview_new(&v, &o), ERR_OK);
	ro.view = v;
	cr_assert_eq(hex_fixed(ro.anchor, 20, ONCHAIN_ANCHOR), ERR_OK);
	ro.contract[0] = 1;
	cr_assert_eq(registry_new(&r, &ro), ERR_OK);
	look(&av, ERR_AGAIN, REASON_CHAIN_ANSWER);
	registry_free(r);
	cr_assert_eq(hex_fixed(ro.contract, 20, ONCHAIN_REGISTRY), ERR_OK);
	cr_assert_eq(registry_new(&r, &ro), ERR_OK);
	look(&av, ERR_AGAIN, REASON_CHAIN_ANSWER);
	registry_free(r);
	cr_assert_eq(hex_fixed(ro.kms, 20, KMS_HEX), ERR_OK);
	cr_assert_eq(registry_new(&r, &ro), ERR_OK);
	look(&av, ERR_DENIED, REASON_EPOCH_UNKNOWN);
	sha256(hash, spki, sizeof spki);
	cr_assert_eq(registryabi_register_genesis(&b, &root[0], hash), ERR_OK);
	onchain_from(&av, AUTHORITY, ONCHAIN_REGISTRY, &b);
	look(&av, ERR_OK, REASON_NONE);

	k256_generate(&payer);
	cr_assert_eq(k256_pubkey(&pub, &payer), ERR_OK);
	cr_assert_eq(k256_address(address, &pub), ERR_OK);
	onchain_fund(&av, address);
	cr_assert_eq(registryabi_activate(&b, 1), ERR_OK);
	cr_assert_eq(registry_send(r, buf_view(&b), &payer, &why), ERR_DENIED);
	cr_assert_not_null(
	    strstr(why.detail, "No root to activate"), "%s", why.detail);
	buf_fini(&b);
	registry_free(r);
	chainview_free(v);
	anvil_stop(&av);
}
