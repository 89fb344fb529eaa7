/* The chain goes on while it is asked: what was said of a block is not taken
 * for what holds at another, and not kept for it.  And what else kms/gate
 * refuses where it is seldom. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <criterion/criterion.h>

#include "common/base/limits.h"
#include "common/eth/abi.h"
#include "common/eth/appauth.h"
#include "kms/gate/gate.h"
#include "kms/gate/registry.h"
#include "tests/lib/registry_says.h"

#define NOW ((int64_t)MOCK_TIME(101))
#define CHAIN 31337
#define MOCK_MAX (1u << 20)

static struct mock_chain *m;
static struct chainview *v;
static struct gate *g;
static struct registry *r;
static struct refusal why;
static struct registry_state world;
static _Atomic uint64_t fake_ms = 1000000;
static atomic_bool runs; /* the chain, whenever somebody looks at a clock */
static uint64_t height;
static const uint8_t contract[20] = { 0x9f, 0xe4 };
static const uint8_t kms[20] = { 0xc0, 0xff, 0xee }, anchor[20] = { 0xa2 };
static const struct boot_info bi = { .tcb_status = TCB_UP_TO_DATE };

static void
head(uint64_t number)
{
	height = number;
	mock_head(m, MOCK_ALL, number + 20, number + 10, number);
}

static uint64_t
mono(void)
{
	if (atomic_load(&runs)) {
		head(height + 1);
		return atomic_fetch_add(&fake_ms, 2000);
	}
	return atomic_load(&fake_ms);
}

static void
next_block(uint64_t number)
{
	head(number);
	atomic_fetch_add(&fake_ms, 2000);
}

static void
answer(uint32_t selector, const struct buf *b)
{
	mock_answer(m, MOCK_ALL, selector, b->p, b->len);
}

static void
say_allowed(uint32_t selector, bool allowed)
{
	struct buf b = { 0 };

	cr_assert_eq(abi_put_u64(&b, allowed, MOCK_MAX), ERR_OK);
	cr_assert_eq(abi_put_u64(&b, 0x40, MOCK_MAX), ERR_OK);
	cr_assert_eq(abi_put_bytes(&b, "no", 2, MOCK_MAX), ERR_OK);
	answer(selector, &b);
	buf_fini(&b);
}

static void
say_keys(size_t len)
{
	static const uint8_t bytes[200];
	struct buf b = { 0 };
	uint64_t at = 4 * ABI_WORD;

	for (unsigned i = 0; i < 4; i++) {
		cr_assert_eq(abi_put_u64(&b, at, MOCK_MAX), ERR_OK);
		at += abi_bytes_size(len);
	}
	for (unsigned i = 0; i < 4; i++)
		cr_assert_eq(abi_put_bytes(&b, bytes, len, MOCK_MAX), ERR_OK);
	answer(APPAUTH_KMS_INFO, &b);
	buf_fini(&b);
}

static void
say_gateway(const char *text)
{
	struct buf b = { 0 };

	cr_assert_eq(abi_put_u64(&b, ABI_WORD, MOCK_MAX), ERR_OK);
	cr_assert_eq(abi_put_bytes(&b, text, strlen(text), MOCK_MAX), ERR_OK);
	answer(APPAUTH_GATEWAY_APP_ID, &b);
	buf_fini(&b);
}

static void
view(struct chainview **out, bool proof)
{
	const struct chainview_options o = { .n = 3,
		.quorum = 2,
		.chain_id = CHAIN,
		.tag = CHAIN_FINALIZED,
		.max_age_s = UINT32_MAX,
		.max_ahead_s = UINT32_MAX,
		.poll_ms = 1000,
		.timeout_ms = 20000,
		.proof = proof,
		.urls = mock_urls(m),
		.mono_ms = mono };

	cr_assert_eq(chainview_new(out, &o), ERR_OK);
}

static void
setup(void)
{
	struct registry_options ro = {
		.chain_id = CHAIN, .n_urls = 3, .timeout_ms = 20000
	};
	struct k256_secret s;
	struct k256_pub root;
	uint8_t ca[32] = { 0xca };

	m = mock_chain_new(3, CHAIN);
	head(100);
	view(&v, false);
	cr_assert_eq(gate_new(&g, v, contract), ERR_OK);
	ro.view = v;
	ro.urls = mock_urls(m);
	memcpy(ro.contract, contract, 20);
	memcpy(ro.kms, kms, 20);
	memcpy(ro.anchor, anchor, 20);
	cr_assert_eq(registry_new(&r, &ro), ERR_OK);
	registry_says_new(&world, kms, anchor);
	for (unsigned i = 0; i < 2; i++) {
		k256_generate(&s);
		cr_assert_eq(k256_pubkey(&root, &s), ERR_OK);
		ca[1]++;
		registry_says_epoch(&world, &root, ca, REGISTRY_ROUTINE);
	}
	registry_says(m, MOCK_ALL, contract, &world);
	registry_says_pin(m, MOCK_ALL, contract, 1);
	say_allowed(APPAUTH_IS_APP_ALLOWED, true);
	say_allowed(APPAUTH_IS_KMS_ALLOWED, true);
	why = (struct refusal){ 0 };
}

static void
teardown(void)
{
	registry_free(r);
	gate_free(g);
	chainview_free(v);
	mock_chain_free(m);
}

TestSuite(gate_moves, .init = setup, .fini = teardown, .timeout = 120);

/* ---- a question that is held, and a block that comes meanwhile ---- */

static const uint8_t app[20] = { 0x11, 0x22 }, twin[20] = { 0x11, 0x22, 1 };
static struct gate_kms_info info;
static struct gate_decision d;
static struct registry_choice choice;
static char id[GATE_GATEWAY_ID_MAX];
static struct chain_block at;

static enum err
ask_info(void)
{
	return gate_kms_info(g, NOW, &info, &at, &why);
}

static enum err
ask_gateway(void)
{
	return gate_gateway_app_id(g, NOW, id, &at, &why);
}

static enum err
ask_app(void)
{
	enum err e = gate_ask(g, GATE_APP, &bi, NOW, &d, &why);

	at = d.block;
	return e;
}

static enum err
ask_kms(void)
{
	enum err e = gate_ask(g, GATE_KMS, &bi, NOW, &d, &why);

	at = d.block;
	return e;
}

static enum err
ask_choice(void)
{
	enum err e = registry_choose(r, app, NULL, NOW, &choice, &why);

	at = choice.block;
	return e;
}

struct asker {
	enum err (*ask)(void);
	enum err e;
};

static void *
run(void *arg)
{
	struct asker *a = arg;

	a->e = a->ask();
	return NULL;
}

/* Asks at block 100 with `selector` held; at 101 somebody else asks something
 * else of the same object; then the answer comes. */
static void
held(enum err (*ask)(void), uint32_t selector, enum err (*other)(void))
{
	struct asker a = { .ask = ask };
	pthread_t t;

	mock_hold(m, MOCK_ALL, selector);
	cr_assert_eq(pthread_create(&t, NULL, run, &a), 0);
	mock_wait_held_call(m, 0);
	next_block(101);
	cr_assert_eq(other(), ERR_OK, "%s", why.detail);
	cr_assert_eq(at.number, 101);
	mock_hold(m, MOCK_ALL, 0);
	cr_assert_eq(pthread_join(t, NULL), 0);
	cr_assert_eq(a.e, ERR_OK, "%s", why.detail);
}

/* Keys that were the contract's at the block before are not kept for this one. */
Test(gate_moves, info_of_the_block_before)
{
	say_keys(33);
	held(ask_info, APPAUTH_KMS_INFO, ask_app);
	cr_assert_eq(at.number, 100);
	cr_assert_eq(info.k256_pub_len, 33);
	say_keys(32);
	cr_assert_eq(ask_info(), ERR_OK);
	cr_assert_eq(at.number, 101);
	cr_assert_eq(info.k256_pub_len, 32);
}

Test(gate_moves, gateway_of_the_block_before)
{
	say_gateway("before");
	held(ask_gateway, APPAUTH_GATEWAY_APP_ID, ask_app);
	cr_assert_eq(at.number, 100);
	cr_assert_str_eq(id, "before");
	say_gateway("after");
	cr_assert_eq(ask_gateway(), ERR_OK);
	cr_assert_eq(at.number, 101);
	cr_assert_str_eq(id, "after");
}

/* An approval is asked for again, and it is the new one that is kept. */
Test(gate_moves, approval_of_the_block_before)
{
	held(ask_app, APPAUTH_IS_APP_ALLOWED, ask_kms);
	cr_assert_eq(d.block.number, 101);
	cr_assert_not(d.cached);
	cr_assert_eq(mock_count_calls(m, 0, APPAUTH_IS_APP_ALLOWED), 2);
	say_allowed(APPAUTH_IS_APP_ALLOWED, false);
	cr_assert_eq(ask_app(), ERR_OK);
	cr_assert(d.cached);
	cr_assert_eq(d.block.number, 101);
}

static enum err
ask_active(void)
{
	struct registry_choice c;
	enum err e = registry_active(r, NOW, &c, &why);

	at = c.block;
	return e;
}

/* A registry's state and an app's pin are those of one block, and what is said
 * of a block that is gone is not kept for the next. */
Test(gate_moves, pin_of_the_block_before)
{
	held(ask_choice, REGISTRY_PIN_OF, ask_active);
	cr_assert_eq(at.number, 100);
	cr_assert_eq(choice.number, 1);
	registry_says_pin(m, MOCK_ALL, contract, 0);
	cr_assert_eq(ask_choice(), ERR_OK);
	cr_assert_eq(at.number, 101);
	cr_assert_eq(choice.number, 0);
}

/* Where every answer is of a block that is gone by then, there is none: not an
 * approval of any of them. */
Test(gate_moves, never_in_time)
{
	struct gate_decision was = { .block.number = 7 };

	atomic_store(&runs, true);
	d = was;
	cr_assert_eq(gate_ask(g, GATE_APP, &bi, NOW, &d, &why), ERR_AGAIN);
	cr_assert_eq(why.code, REASON_CHAIN_DISAGREE);
	cr_assert_not_null(strstr(why.detail, "moved on"), "%s", why.detail);
	cr_assert_eq(d.block.number, 7);
	cr_assert_eq(mock_count_calls(m, 0, APPAUTH_IS_APP_ALLOWED), 4);
	/* A refusal is one at whatever block. */
	say_allowed(APPAUTH_IS_APP_ALLOWED, false);
	cr_assert_eq(gate_ask(g, GATE_APP, &bi, NOW, &d, NULL), ERR_DENIED);
	atomic_store(&runs, false);
	say_allowed(APPAUTH_IS_APP_ALLOWED, true);
	next_block(height + 1);
	cr_assert_eq(ask_app(), ERR_OK);
}

/* The floor rose while the endpoints were asked: what they say is below. */
Test(gate_moves, floor_rises_during_a_look)
{
	const struct chain_floor f = { .number = 105 };
	struct asker a = { .ask = ask_app };
	pthread_t t;

	mock_mode(m, MOCK_ALL, MOCK_HELD);
	cr_assert_eq(pthread_create(&t, NULL, run, &a), 0);
	mock_wait_held(m, 0);
	chainview_set_floor(v, &f);
	mock_mode(m, MOCK_ALL, MOCK_FINE);
	cr_assert_eq(pthread_join(t, NULL), 0);
	cr_assert_eq(a.e, ERR_AGAIN);
	cr_assert_eq(why.code, REASON_CHAIN_BACKWARDS, "%s", why.detail);
	next_block(105);
	cr_assert_eq(ask_app(), ERR_OK);
}

/* One that is ahead, and then does not tell the block that the others have, is no
 * voice; where it was needed there is no block. */
Test(gate_moves, silent_in_the_second_round)
{
	for (unsigned others = 2; others >= 1; others--) {
		struct asker a = { .ask = ask_app };
		pthread_t t;

		next_block(100);
		mock_head(m, 0, 121, 111, 101);
		if (others == 1)
			mock_fork(m, 2, 90, 7);
		mock_mode(m, 1, MOCK_HELD);
		cr_assert_eq(pthread_create(&t, NULL, run, &a), 0);
		mock_wait_held(m, 1);
		/* It has been asked and has answered, long since. */
		(void)nanosleep(
		    &(const struct timespec){ .tv_nsec = 400000000 }, NULL);
		mock_mode(m, 0, MOCK_GARBAGE);
		mock_mode(m, 1, MOCK_FINE);
		cr_assert_eq(pthread_join(t, NULL), 0);
		mock_mode(m, 0, MOCK_FINE);
		cr_assert_eq(a.e, others == 2 ? ERR_OK : ERR_AGAIN);
		if (others == 2)
			cr_assert_eq(d.block.number, 100);
	}
}

/* A floor of a height that is reached says which block it was: once, and it is
 * not changed afterwards. */
Test(gate_moves, floor_gets_its_hash)
{
	struct chain_floor f = { .number = 101 }, other, now;
	struct chain_block b = mock_block(m, 0, 101);

	chainview_set_floor(v, &f);
	f.has_hash = true;
	memcpy(f.hash, b.hash, 32);
	chainview_set_floor(v, &f);
	other = f;
	other.hash[0] ^= 1;
	chainview_set_floor(v, &other);
	chainview_floor(v, &now);
	cr_assert_eq(memcmp(now.hash, b.hash, 32), 0);
	next_block(101);
	cr_assert_eq(ask_app(), ERR_OK);
	/* One that it has passed does not make it look again. */
	f.number = 90;
	chainview_set_floor(v, &f);
	cr_assert_eq(ask_app(), ERR_OK);
	cr_assert(d.cached);
	/* Another block at this height is none of this chain. */
	mock_fork(m, MOCK_ALL, 101, 9);
	next_block(101);
	cr_assert_eq(ask_app(), ERR_AGAIN);
	cr_assert_eq(why.code, REASON_CHAIN_BACKWARDS, "%s", why.detail);
}

/* Who asks for the block alone is refused as everybody is. */
Test(gate_moves, block)
{
	struct chain_block b = { .number = 7 };

	cr_assert_eq(gate_block(g, NOW, &b, &why), ERR_OK);
	cr_assert_eq(b.number, 100);
	b.number = 7;
	next_block(99);
	cr_assert_eq(gate_block(g, NOW, &b, &why), ERR_AGAIN);
	cr_assert_eq(why.code, REASON_CHAIN_BACKWARDS);
	cr_assert_eq(b.number, 7);
}

/* ---- gate: what is seldom asked ---- */

/* Whether an app is registered: a bool, or no answer. */
Test(gate_moves, registered)
{
	struct buf b = { 0 };
	bool is = true;

	at = (struct chain_block){ .number = 7 };
	cr_assert_eq(abi_put_u64(&b, 2, 64), ERR_OK);
	answer(APPAUTH_REGISTERED_APPS, &b);
	cr_assert_eq(
	    gate_app_registered(g, app, NOW, &is, &at, &why), ERR_DENIED);
	cr_assert_eq(why.code, REASON_CHAIN_ANSWER);
	b.len = 0;
	answer(APPAUTH_REGISTERED_APPS, &b);
	cr_assert_eq(
	    gate_app_registered(g, app, NOW, &is, &at, &why), ERR_DENIED);
	cr_assert_eq(at.number, 7);
	cr_assert(is);
	cr_assert_eq(abi_put_u64(&b, 0, 64), ERR_OK);
	answer(APPAUTH_REGISTERED_APPS, &b);
	cr_assert_eq(gate_app_registered(g, app, NOW, &is, &at, &why), ERR_OK);
	cr_assert_not(is);
	cr_assert_eq(at.number, 100);
	next_block(99);
	cr_assert_eq(
	    gate_app_registered(g, app, NOW, &is, &at, &why), ERR_AGAIN);
	cr_assert_eq(why.code, REASON_CHAIN_BACKWARDS);
	cr_assert_eq(ask_gateway(), ERR_AGAIN);
	cr_assert_eq(why.code, REASON_CHAIN_BACKWARDS);
	next_block(100);
	mock_error(m, MOCK_ALL, APPAUTH_GATEWAY_APP_ID, 3, "reverted");
	cr_assert_eq(ask_gateway(), ERR_DENIED);
	cr_assert_eq(why.code, REASON_CONTRACT_OTHER);
	buf_fini(&b);
}

/* Code is pinned once, where state is proven, and not without end. */
Test(gate_moves, pin)
{
	static const struct standard_code code[STANDARD_CODES_MAX + 1];
	struct chainview *proven = NULL;
	struct gate *x = NULL;

	cr_assert_eq(gate_pin(g, code, 1), ERR_CONFIG);
	view(&proven, true);
	cr_assert_eq(gate_new(&x, proven, contract), ERR_OK);
	cr_assert_eq(gate_pin(x, code, STANDARD_CODES_MAX + 1), ERR_CONFIG);
	cr_assert_eq(gate_pin(x, code, STANDARD_CODES_MAX), ERR_OK);
	cr_assert_eq(gate_pin(x, code, 1), ERR_CONFIG);
	gate_free(x);
	chainview_free(proven);
	gate_free(NULL);
	chainview_free(NULL);
}

#define H64 "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

/* "role:0x..." and nothing that is nearly it. */
Test(gate_moves, listed_code)
{
	static const char *const bad[] = { "", "kms", "kms:", ":" H64,
		"kms:0x" H64 "0", "kms:0x0" H64, "KMS:0x" H64, "km:0x" H64,
		"kmss:0x" H64, " kms:0x" H64, "gateway:0x" H64 };
	struct standard_code c = { .role = STANDARD_PROXY };
	char text[100];

	for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		c.hash[0] = 0x77;
		cr_assert_eq(standard_code_parse(&c, bad[i]), ERR_MALFORMED,
		    "%s", bad[i]);
		cr_assert_eq(c.hash[0], 0x77);
	}
	for (unsigned i = STANDARD_PROXY; i <= STANDARD_APP; i++) {
		(void)snprintf(text, sizeof text, "%s:0x" H64,
		    standard_role_text((enum standard_role)i));
		cr_assert_eq(standard_code_parse(&c, text), ERR_OK);
		cr_assert_eq(c.role, (enum standard_role)i);
		cr_assert_eq(c.hash[1], 0x11);
	}
}

/* ---- registry ---- */

/* The epoch of an app that is none yet is the active one; there is none before
 * the first, nor while the registry cannot be read. */
Test(gate_moves, active)
{
	struct registry_state none;
	struct registry_choice c = { .number = 77 };

	cr_assert_eq(registry_active(r, NOW, &c, &why), ERR_OK);
	cr_assert_eq(c.number, 1);
	cr_assert_eq(c.pinned, 1);
	cr_assert_eq(c.status, REGISTRY_ACTIVE);
	registry_says_new(&none, kms, anchor);
	registry_says(m, MOCK_ALL, contract, &none);
	next_block(101);
	c.number = 77;
	cr_assert_eq(registry_active(r, NOW, &c, &why), ERR_DENIED);
	cr_assert_eq(why.code, REASON_EPOCH_UNKNOWN);
	next_block(99);
	cr_assert_eq(registry_active(r, NOW, &c, NULL), ERR_AGAIN);
	cr_assert_eq(c.number, 77);
}

/* What is published may yet be vetoed: nobody gets it, not by number either. */
Test(gate_moves, published_is_not_active)
{
	const uint64_t asked = 2;
	struct registry_choice c = { .number = 77 };
	struct registry_epoch *x;
	struct k256_secret s;

	registry_says_order(&world, REGISTRY_ROUTINE);
	x = &world.epoch[2];
	x->status = REGISTRY_PUBLISHED;
	k256_generate(&s);
	cr_assert_eq(k256_pubkey(&x->k256, &s), ERR_OK);
	cr_assert_eq(k256_address(x->signer, &x->k256), ERR_OK);
	memset(x->ca_spki_hash, 0xcb, 32);
	x->order = world.order.number;
	x->published_at = x->held_as_of = world.order.ordered_at + 5000;
	x->holders = 3;
	memset(x->held_seats, 0x5e, 32);
	registry_says(m, MOCK_ALL, contract, &world);
	cr_assert_eq(registry_choose(r, app, &asked, NOW, &c, &why), ERR_DENIED,
	    "%s", why.detail);
	cr_assert_eq(why.code, REASON_EPOCH_UNKNOWN);
	cr_assert_not_null(strstr(why.detail, "not active"), "%s", why.detail);
	cr_assert_eq(c.number, 77);
}

/* Two apps that share a place have each its own pin. */
Test(gate_moves, apps_in_one_place)
{
	struct registry_choice c;

	cr_assert_eq(registry_choose(r, app, NULL, NOW, &c, &why), ERR_OK);
	cr_assert_eq(c.number, 1);
	registry_says_pin(m, MOCK_ALL, contract, 0);
	cr_assert_eq(registry_choose(r, twin, NULL, NOW, &c, &why), ERR_OK);
	cr_assert_eq(c.number, 0);
	registry_says_pin(m, MOCK_ALL, contract, 1);
	cr_assert_eq(registry_choose(r, twin, NULL, NOW, &c, &why), ERR_OK);
	cr_assert_eq(c.number, 0); /* kept */
	cr_assert_eq(registry_choose(r, app, NULL, NOW, &c, &why), ERR_OK);
	cr_assert_eq(c.number, 1);
	cr_assert_eq(mock_count_calls(m, 0, REGISTRY_PIN_OF), 3);
	cr_assert_eq(mock_count_calls(m, 0, REGISTRY_STATE), 1);
}
