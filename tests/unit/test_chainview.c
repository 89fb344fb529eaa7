#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include <criterion/criterion.h>

#include "common/base/limits.h"
#include "kms/gate/chainview.h"
#include "tests/lib/mock_chain.h"

#define CHAIN 31337
#define NOW ((int64_t)MOCK_TIME(101))
#define POLL_MS 2000

static struct mock_chain *m;
static struct chainview *v;
static struct chainview_options o;
static _Atomic uint64_t fake_ms = 1000000;
static struct refusal why;

static uint64_t
mono(void)
{
	return atomic_load(&fake_ms);
}

/* The next get looks at the chain again. */
static void
later(void)
{
	atomic_fetch_add(&fake_ms, POLL_MS);
}

/* Three endpoints, all at block 120, final up to 100; two must agree. */
static void
setup(void)
{
	m = mock_chain_new(3, CHAIN);
	mock_head(m, MOCK_ALL, 120, 110, 100);
	o = (struct chainview_options){ .urls = mock_urls(m),
		.n = 3,
		.quorum = 2,
		.chain_id = CHAIN,
		.tag = CHAIN_FINALIZED,
		.max_age_s = 600,
		.poll_ms = POLL_MS,
		.timeout_ms = 20000,
		.mono_ms = mono };
	cr_assert_eq(chainview_new(&v, &o), ERR_OK);
}

static void
teardown(void)
{
	chainview_free(v);
	mock_chain_free(m);
}

static void
again_with(void)
{
	chainview_free(v);
	cr_assert_eq(chainview_new(&v, &o), ERR_OK);
}

static void
expect_block(uint64_t number, unsigned like)
{
	struct chain_block want = mock_block(m, like, number), b;
	enum err e = chainview_get(v, NOW, &b, &why);

	cr_assert_eq(e, ERR_OK, "%s: %s", reason_label(why.code), why.detail);
	cr_assert_eq(b.number, number);
	cr_assert_eq(b.timestamp, want.timestamp);
	cr_assert_arr_eq(b.hash, want.hash, 32);
}

static void
expect_refused(enum reason code, const char *word)
{
	struct chain_block b = { .number = 7 };

	why = (struct refusal){ 0 };
	cr_assert_eq(chainview_get(v, NOW, &b, &why), ERR_AGAIN);
	cr_assert_eq(
	    why.code, code, "%s: %s", reason_label(why.code), why.detail);
	cr_assert_not_null(strstr(why.detail, word), "%s", why.detail);
	cr_assert_eq(b.number, 7);
}

#define SUITE(name) Test(chainview, name, .init = setup, .fini = teardown)

/* Options that could not give one answer are refused. */
SUITE(options)
{
	const char *twice[3] = { o.urls[0], o.urls[1], o.urls[0] };
	const char *odd[3] = { o.urls[0], o.urls[1], "ftp://a/b" };
	const char *empty[3] = { o.urls[0], o.urls[1], "http:///b" };
	struct chainview_options bad[14];
	struct chainview *x = NULL;
	size_t n = 0;

	for (size_t i = 0; i < 14; i++)
		bad[i] = o;
	bad[n++].n = 0;
	bad[n++].n = LIMIT_CHAIN_ENDPOINTS + 1;
	bad[n++].quorum = 0;
	bad[n++].quorum = 1; /* of 3: two answers could win */
	bad[n++].quorum = 4;
	bad[n++].chain_id = 0;
	bad[n++].depth = 1; /* of final blocks: no sense */
	bad[n++].max_age_s = 0;
	bad[n++].poll_ms = 0;
	bad[n++].timeout_ms = 0;
	bad[n++].mono_ms = NULL;
	bad[n++].urls = twice;
	bad[n++].urls = odd;
	bad[n++].urls = empty;
	for (size_t i = 0; i < n; i++)
		cr_assert_eq(chainview_new(&x, &bad[i]), ERR_CONFIG, "%zu", i);
	cr_assert_null(x);
}

/* Each tag names its own block, and a depth counts from the latest. */
SUITE(tags)
{
	mock_head(m, MOCK_ALL, 120, 103, 100);
	expect_block(100, 0);
	o.tag = CHAIN_SAFE;
	again_with();
	expect_block(103, 0);
	o.tag = CHAIN_LATEST;
	o.depth = 19;
	again_with();
	expect_block(101, 0);
	o.depth = 121;
	o.max_age_s = 100000;
	again_with();
	expect_block(0, 0);
}

/* One of one is a quorum: the mode for development. */
SUITE(single_endpoint)
{
	o.n = 1;
	o.quorum = 1;
	again_with();
	expect_block(100, 0);
}

/* Within poll_ms the endpoints are not asked again; after it they are. */
SUITE(pinned_until_poll)
{
	expect_block(100, 0);
	mock_head(m, MOCK_ALL, 120, 110, 101);
	atomic_fetch_add(&fake_ms, POLL_MS - 1);
	expect_block(100, 0);
	cr_assert_eq(mock_count(m, 0, "eth_chainId"), 1);
	atomic_fetch_add(&fake_ms, 1);
	expect_block(101, 0);
	cr_assert_eq(mock_count(m, 0, "eth_chainId"), 2);
}

/* The height is one that m have reached; a lone runner ahead or behind
 * does not move it. */
SUITE(height_of_the_quorum)
{
	mock_head(m, 0, 1u << 20, 110, 1u << 19);
	mock_head(m, 1, 120, 110, 99);
	expect_block(100, 2);
	later();
	mock_head(m, 0, 120, 110, 3);
	mock_head(m, 1, 120, 110, 101);
	mock_head(m, 2, 120, 110, 102);
	expect_block(101, 2);
}

/* One of three may be down, answer rubbish, or speak of another chain or
 * another block; two may not. */
SUITE(one_of_three_may_fail)
{
	static const enum mock_mode modes[] = { MOCK_GARBAGE, MOCK_HUGE,
		MOCK_HTTP_500, MOCK_OTHER_ID };

	for (size_t i = 0; i < 4; i++) {
		later();
		mock_mode(m, 1, modes[i]);
		expect_block(100, 0);
		later();
		mock_mode(m, 2, modes[i]);
		expect_refused(REASON_CHAIN_UNREACHABLE, "127.0.0.1:");
		cr_assert_null(strstr(why.detail, "/key"));
		later();
		mock_mode(m, MOCK_ALL, MOCK_FINE);
		expect_block(100, 0);
	}
	later();
	mock_down(m, 1);
	expect_block(100, 0);
	later();
	mock_down(m, 0);
	expect_refused(REASON_CHAIN_UNREACHABLE, "127.0.0.1:");
}

/* An endpoint that accepts a request and then says nothing costs one
 * timeout, and is not asked again for a while. */
SUITE(silence)
{
	o.timeout_ms = 2000;
	again_with();
	mock_mode(m, 2, MOCK_HELD);
	expect_block(100, 0);
	cr_assert_eq(mock_count(m, 2, "eth_chainId"), 1);
	later();
	expect_block(100, 0);
	cr_assert_eq(mock_count(m, 2, "eth_chainId"), 1);
	/* With another one lost it is needed, and is asked. */
	later();
	mock_down(m, 1);
	mock_mode(m, 2, MOCK_FINE);
	expect_block(100, 0);
	cr_assert_eq(mock_count(m, 2, "eth_chainId"), 2);
}

/* Silence of two of three is no view. */
SUITE(silence_of_two)
{
	o.timeout_ms = 500;
	again_with();
	mock_mode(m, 1, MOCK_HELD);
	mock_mode(m, 2, MOCK_HELD);
	expect_refused(REASON_CHAIN_UNREACHABLE, "timed out");
}

/* A wrong chain id takes an endpoint out; too many are CHAIN_WRONG. */
SUITE(wrong_chain)
{
	mock_chain_id(m, 1, 1);
	expect_block(100, 0);
	later();
	mock_chain_id(m, 0, 1);
	expect_refused(REASON_CHAIN_WRONG, "chain 1");
	later();
	mock_canned(m, MOCK_ALL, "eth_chainId", "\"result\":31337");
	expect_refused(REASON_CHAIN_UNREACHABLE, "bad chain id");
}

/* Without m equal hashes there is no block, and both sides are named. */
SUITE(disagreement)
{
	mock_fork(m, 1, 90, 1);
	expect_block(100, 0);
	later();
	mock_fork(m, 2, 90, 2);
	expect_refused(REASON_CHAIN_DISAGREE, "block 100");
	o.n = 2;
	again_with();
	expect_refused(REASON_CHAIN_DISAGREE, "127.0.0.1:");
	/* Unanimity is asked of two of two. */
	mock_fork(m, 1, 101, 1);
	later();
	expect_block(100, 0);
}

/* The same hash with another time is disagreement too. */
SUITE(disagreement_on_time)
{
	mock_canned(m, 1, "eth_getBlockByNumber",
	    "\"result\":{\"number\":\"0x64\",\"timestamp\":\"0x6553f5b0\","
	    "\"hash\":\"0x0000000000000000000000000000000000000000000000000000"
	    "000000000000\"}");
	mock_canned(m, 2, "eth_getBlockByNumber",
	    "\"result\":{\"number\":\"0x64\",\"timestamp\":\"0x6553f5b1\","
	    "\"hash\":\"0x0000000000000000000000000000000000000000000000000000"
	    "000000000000\"}");
	expect_refused(REASON_CHAIN_DISAGREE, "block 100");
}

/* Blocks with missing, odd or other numbers are no blocks. */
SUITE(bad_blocks)
{
#define H \
	"\"hash\":\"0x00000000000000000000000000000000000000000000000000" \
	"00000000000000\""
	static const char *const bad[] = { "\"result\":null", "\"result\":[]",
		"\"result\":{}", "\"result\":{\"number\":\"0x64\"," H "}",
		"\"result\":{\"number\":\"0x064\",\"timestamp\":\"0x6553f5b0\""
		"," H "}",
		"\"result\":{\"number\":100,\"timestamp\":\"0x6553f5b0\"," H
		"}",
		"\"result\":{\"number\":\"0x64\",\"timestamp\":\"0x6553f5b0\""
		",\"hash\":\"0x00\"}",
		"\"result\":{\"number\":\"0x64\",\"timestamp\":"
		"\"0x6553f5b06553f5b06553f5b0\"," H "}" };

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		mock_canned(m, MOCK_ALL, "eth_getBlockByNumber", bad[i]);
		later();
		expect_refused(REASON_CHAIN_UNREACHABLE, "block");
	}
	/* Asked for one number, answering with another. */
	o.tag = CHAIN_LATEST;
	o.depth = 5;
	again_with();
	mock_canned(m, MOCK_ALL, "eth_getBlockByNumber",
	    "\"result\":{\"number\":\"0x64\",\"timestamp\":\"0x6553f5b0\"," H
	    "}");
	expect_refused(REASON_CHAIN_UNREACHABLE, "not the block asked");
}

/* A simulator's chain may be years ahead. */
SUITE(ahead)
{
	int64_t t = (int64_t)MOCK_TIME(100);
	struct chain_block b;

	o.max_ahead_s = 86400;
	again_with();
	cr_assert_eq(chainview_get(v, t - 86400, &b, &why), ERR_OK);
	cr_assert_eq(chainview_get(v, t - 86401, &b, &why), ERR_AGAIN);
	cr_assert_eq(why.code, REASON_CHAIN_STALE);
	cr_assert_eq(chainview_get(v, t + 600, &b, &why), ERR_OK);
	cr_assert_eq(chainview_get(v, t + 601, &b, &why), ERR_AGAIN);
}

/* A block is used up to max_age_s and 60 s ahead of our clock, no more;
 * that holds for a pinned block as well. */
SUITE(age)
{
	int64_t t = (int64_t)MOCK_TIME(100);
	struct chain_block b;

	cr_assert_eq(chainview_get(v, t + 600, &b, &why), ERR_OK);
	cr_assert_eq(chainview_get(v, t + 601, &b, &why), ERR_AGAIN);
	cr_assert_eq(why.code, REASON_CHAIN_STALE);
	cr_assert_eq(chainview_get(v, t - 60, &b, &why), ERR_OK);
	cr_assert_eq(chainview_get(v, t - 61, &b, &why), ERR_AGAIN);
	cr_assert_eq(why.code, REASON_CHAIN_STALE);
	cr_assert_eq(mock_count(m, 0, "eth_chainId"), 1);

	later();
	cr_assert_eq(chainview_get(v, t + 601, &b, &why), ERR_AGAIN);
	cr_assert_eq(why.code, REASON_CHAIN_STALE);
	later();
	cr_assert_eq(chainview_get(v, t - 61, &b, &why), ERR_AGAIN);
	cr_assert_eq(why.code, REASON_CHAIN_STALE);
	later();
	cr_assert_eq(chainview_get(v, INT64_MIN, &b, &why), ERR_AGAIN);
	later();
	cr_assert_eq(chainview_get(v, INT64_MAX, &b, &why), ERR_AGAIN);
	/* It was 600 s old ten seconds ago, whatever the wall clock says. */
	later();
	cr_assert_eq(chainview_get(v, t, &b, &why), ERR_AGAIN);
	cr_assert_eq(why.code, REASON_CHAIN_STALE);
	cr_assert_not_null(strstr(why.detail, "set back"), "%s", why.detail);
	later();
	mock_head(m, MOCK_ALL, 122, 112, 102);
	cr_assert_eq(chainview_get(v, t, &b, &why), ERR_OK);
}

/* The later of the two clocks counts: one that is set back does not make a
 * block young, the pinned one or another old one; and neither does a
 * monotonic clock that stands still while the wall clock goes on. */
SUITE(two_clocks)
{
	int64_t t = (int64_t)MOCK_TIME(100);
	struct chain_block b;

	cr_assert_eq(chainview_now(v, t), t, "nothing was accepted yet");
	cr_assert_eq(chainview_get(v, t + 10, &b, &why), ERR_OK);
	cr_assert_eq(chainview_now(v, t - 5000), t + 10);
	/* Wall stands still, mono goes on; the chain is frozen. */
	atomic_fetch_add(&fake_ms, 590000);
	cr_assert_eq(chainview_get(v, t + 10, &b, &why), ERR_OK);
	atomic_fetch_add(&fake_ms, 1000);
	cr_assert_eq(chainview_get(v, t + 10, &b, &why), ERR_AGAIN);
	cr_assert_eq(why.code, REASON_CHAIN_STALE);
	/* Old blocks one after the other, each young by the wall clock. */
	later();
	mock_head(m, MOCK_ALL, 121, 111, 101);
	cr_assert_eq(chainview_get(v, t + 12, &b, &why), ERR_OK);
	atomic_fetch_add(&fake_ms, 13000);
	mock_head(m, MOCK_ALL, 122, 112, 102);
	cr_assert_eq(chainview_get(v, t + 24, &b, &why), ERR_OK);
	atomic_fetch_add(&fake_ms, 601000);
	mock_head(m, MOCK_ALL, 123, 113, 103);
	cr_assert_eq(chainview_get(v, t + 36, &b, &why), ERR_AGAIN);
	cr_assert_eq(why.code, REASON_CHAIN_STALE);
	cr_assert_not_null(strstr(why.detail, "set back"), "%s", why.detail);
	/* The chain that goes on is young by both. */
	later();
	mock_head(m, MOCK_ALL, 320, 310, 210);
	cr_assert_eq(chainview_get(v, t + 1300, &b, &why), ERR_OK);
	/* Mono stands still: the wall clock decides. */
	cr_assert_eq(chainview_get(v, t + 1320 + 601, &b, &why), ERR_AGAIN);
	cr_assert_eq(why.code, REASON_CHAIN_STALE);
}

/* A clock that was ahead when nothing was accepted does no harm later. */
SUITE(clock_was_wrong)
{
	int64_t t = (int64_t)MOCK_TIME(100);
	struct chain_block b;

	cr_assert_eq(chainview_get(v, t + 100000, &b, &why), ERR_AGAIN);
	later();
	cr_assert_eq(chainview_get(v, t, &b, &why), ERR_OK);
	cr_assert_eq(chainview_now(v, t), t);
}

/* A block that was refused for its age does not raise the floor. */
SUITE(stale_block_is_not_the_floor)
{
	struct chain_floor f;
	struct chain_block b;

	cr_assert_eq(chainview_get(v, NOW + 10000, &b, &why), ERR_AGAIN);
	chainview_floor(v, &f);
	cr_assert_eq(f.number, 0);
	cr_assert(!f.has_hash);
}

/* The view never falls below the highest block seen. */
SUITE(backwards)
{
	expect_block(100, 0);
	later();
	mock_head(m, MOCK_ALL, 120, 110, 99);
	expect_refused(REASON_CHAIN_BACKWARDS, "block 99 after 100");
	later();
	mock_head(m, MOCK_ALL, 120, 110, 100);
	expect_block(100, 0);
}

/* Another block at the same height is refused, whatever a quorum says. */
SUITE(same_number_other_hash)
{
	expect_block(100, 0);
	later();
	mock_fork(m, MOCK_ALL, 100, 1);
	expect_refused(REASON_CHAIN_BACKWARDS, "block 100");
}

/* A higher final block whose past lacks the one we saw is refused; below
 * the latest block reorganisations are taken as they come. */
SUITE(reorganised_below)
{
	expect_block(100, 0);
	later();
	mock_fork(m, MOCK_ALL, 95, 1);
	mock_head(m, MOCK_ALL, 120, 110, 105);
	expect_refused(REASON_CHAIN_BACKWARDS, "another past");
	/* One endpoint of another history is one endpoint lost. */
	mock_fork(m, 1, 101, 0);
	mock_fork(m, 2, 101, 0);
	later();
	expect_block(105, 1);

	o.tag = CHAIN_LATEST;
	o.depth = 15;
	again_with();
	expect_block(105, 1);
	mock_fork(m, MOCK_ALL, 95, 1);
	mock_head(m, MOCK_ALL, 121, 110, 105);
	later();
	expect_block(106, 0);
}

/* The floor survives a restart in the caller's hands, rises only, and
 * holds against a chain that is behind or another one. */
SUITE(floor)
{
	struct chain_floor f, low = { .number = 5 };
	struct chain_floor high = { .number = 101 };

	expect_block(100, 0);
	chainview_floor(v, &f);
	cr_assert_eq(f.number, 100);
	cr_assert(f.has_hash);

	again_with();
	chainview_set_floor(v, &f);
	chainview_set_floor(v, &low);
	expect_block(100, 0);
	mock_head(m, MOCK_ALL, 120, 110, 98);
	again_with();
	chainview_set_floor(v, &f);
	expect_refused(REASON_CHAIN_BACKWARDS, "98 after 100");

	mock_head(m, MOCK_ALL, 120, 110, 100);
	f.hash[0] ^= 1;
	again_with();
	chainview_set_floor(v, &f);
	expect_refused(REASON_CHAIN_BACKWARDS, "another one");

	/* A floor above the pinned block unpins it at once. */
	again_with();
	expect_block(100, 0);
	chainview_set_floor(v, &high);
	expect_refused(REASON_CHAIN_BACKWARDS, "100 after 101");
}

/* A failure is not repeated by every caller at once. */
SUITE(failures_are_shared_for_a_second)
{
	mock_mode(m, MOCK_ALL, MOCK_GARBAGE);
	expect_refused(REASON_CHAIN_UNREACHABLE, "");
	mock_mode(m, MOCK_ALL, MOCK_FINE);
	atomic_fetch_add(&fake_ms, 999);
	expect_refused(REASON_CHAIN_UNREACHABLE, "");
	cr_assert_eq(mock_count(m, 0, "eth_chainId"), 1);
	atomic_fetch_add(&fake_ms, 1);
	expect_block(100, 0);
}

static void *
one_caller(void *cookie)
{
	struct chain_block b;

	(void)cookie;
	return chainview_get(v, NOW, &b, NULL) == ERR_OK && b.number == 100
	    ? v
	    : NULL;
}

/* Many callers at once make one look at the chain. */
SUITE(concurrent_callers)
{
	pthread_t t[16];
	void *ok;

	mock_mode(m, 0, MOCK_HELD);
	for (size_t i = 0; i < 16; i++)
		cr_assert_eq(pthread_create(&t[i], NULL, one_caller, NULL), 0);
	mock_wait_held(m, 0);
	mock_mode(m, 0, MOCK_FINE);
	for (size_t i = 0; i < 16; i++) {
		cr_assert_eq(pthread_join(t[i], &ok), 0);
		cr_assert_not_null(ok);
	}
	cr_assert_eq(mock_count(m, 0, "eth_chainId"), 1);
	cr_assert_eq(mock_count(m, 1, "eth_chainId"), 1);
}
