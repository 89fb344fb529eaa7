#include <string.h>

#include <criterion/criterion.h>

#include "common/base/wr.h"
#include "kms/cluster/lease.h"

#define CHAIN 31337
#define PERIOD_MS 60000u
#define LEASE_MS 900000u
#define RELEASES 5u

static const struct lease_options o = { .chain_id = CHAIN,
	.contract = { 0xc1, 0xec },
	.period_ms = PERIOD_MS,
	.lease_ms = LEASE_MS,
	.max_releases = RELEASES };
static struct lease *l;
static struct lease_now now;
static struct refusal why;
static uint8_t last; /* of the numbers drawn */
static const uint8_t b[32] = { 0xb }, c[32] = { 0xc }, d[32] = { 0xd };

static void
setup(void)
{
	now = (struct lease_now){ .boot_ms = 5000000, .wall_s = 1900000000 };
	last = 0;
	cr_assert_eq(lease_new(&l, &o), ERR_OK);
}

static void
teardown(void)
{
	lease_free(l);
}

#define SUITE(name) Test(lease, name, .init = setup, .fini = teardown)

static void
pass(uint64_t ms)
{
	now.boot_ms += ms;
	now.wall_s += (int64_t)(ms / 1000);
}

static void
number(uint8_t out[32], uint8_t n)
{
	memset(out, n, 32);
}

static void
draw(void)
{
	uint8_t n[32];

	number(n, ++last);
	lease_nonce(l, n, &now);
}

/* A batch of one number comes as a list from `b`. */
static void
hear_list(const uint8_t (*nonce)[32], unsigned n)
{
	struct lease_batch batch = { .n = n };
	struct buf m = { 0 };

	memcpy(batch.nonce, nonce, 32u * n);
	cr_assert_eq(lease_list_write(&m, &batch), ERR_OK);
	cr_assert(lease_is_message(buf_view(&m)));
	cr_assert_eq(lease_hear(l, b, buf_view(&m), &now), ERR_OK);
	buf_fini(&m);
}

static void
listed(uint8_t n, uint8_t hash[32])
{
	uint8_t nonce[1][32];

	number(nonce[0], n);
	hear_list((const uint8_t(*)[32])nonce, 1);
	checkin_batch(hash, CHAIN, o.contract, (const uint8_t(*)[32])nonce, 1);
}

static const struct chain_block *
block(uint64_t n)
{
	static struct chain_block at;

	at = (struct chain_block){ .number = n, .timestamp = 12 * n };
	return &at;
}

/* The newest number is in a batch that is there at block `n`. */
static void
renew(uint64_t n)
{
	uint8_t hash[32];

	draw();
	listed(last, hash);
	lease_seen(l, hash, block(n), 12 * n);
}

static void
beat(const uint8_t from[32], uint8_t n, uint64_t boot_ms, bool wants)
{
	uint8_t m[64], nonce[32];
	struct wr w = { .p = m, .cap = sizeof m };

	number(nonce, n);
	wr_str(&w, "KC");
	wr_u8(&w, 1);
	wr_u8(&w, 1);
	wr_bytes(&w, nonce, 32);
	wr_be64(&w, boot_ms);
	wr_u8(&w, wants);
	cr_assert_eq(
	    lease_hear(l, from, (struct bytes){ m, w.len }, &now), ERR_OK);
}

static void
expect_refused(const char *word)
{
	why = (struct refusal){ 0 };
	cr_assert_eq(lease_check(l, &now, &why), ERR_DENIED);
	cr_assert_eq(why.code, REASON_CHAIN_LEASE);
	cr_assert_not_null(strstr(why.detail, word), "%s", why.detail);
	cr_assert_eq(lease_take(l, &now, UINT64_MAX, &why), ERR_DENIED);
	cr_assert_eq(why.code, REASON_CHAIN_LEASE);
}

static void
expect_good(void)
{
	why = (struct refusal){ 0 };
	cr_assert_eq(lease_check(l, &now, &why), ERR_OK, "%s", why.detail);
}

/* Times that could not work are refused. */
Test(lease, options)
{
	struct lease_options bad[5];
	struct lease *x = NULL;

	for (size_t i = 0; i < 5; i++)
		bad[i] = o;
	bad[0].period_ms = 0;
	bad[1].max_releases = 0;
	bad[2].lease_ms = 2 * PERIOD_MS - 1;
	bad[3].lease_ms = LEASE_PERIODS_MAX * PERIOD_MS + 1;
	bad[4].period_ms = UINT64_MAX;
	for (size_t i = 0; i < 5; i++)
		cr_expect_eq(lease_new(&x, &bad[i]), ERR_CONFIG, "%zu", i);
	cr_assert_null(x);
}

/* Nothing leaves before a number of ours was found, whatever else is. */
SUITE(none_at_first)
{
	uint8_t hash[32], foreign[1][32];

	expect_refused("no number of this life");
	draw();
	expect_refused("no number of this life");
	/* Another's number, though it is there. */
	number(foreign[0], 77);
	hear_list((const uint8_t(*)[32])foreign, 1);
	checkin_batch(
	    hash, CHAIN, o.contract, (const uint8_t(*)[32])foreign, 1);
	lease_seen(l, hash, block(9), 100);
	expect_refused("no number of this life");
	/* A hash that nobody told us the numbers of. */
	memset(hash, 3, sizeof hash);
	lease_seen(l, hash, block(9), 100);
	expect_refused("no number of this life");
	/* In a batch, and not found. */
	listed(last, hash);
	expect_refused("no number of this life");
	lease_seen(l, hash, block(9), 100);
	expect_good();
}

/* A wall clock beyond any time ends a lease: milliseconds do not wrap. */
SUITE(wall_clock_beyond_all)
{
	static const int64_t walls[] = { INT64_MAX, INT64_MAX - 1,
		INT64_MAX / 1000 + 1, 18446744073709552 + 1900000000,
		2 * 18446744073709552 + 1900000001 };

	renew(9);
	expect_good();
	for (size_t i = 0; i < sizeof walls / sizeof walls[0]; i++) {
		now.wall_s = walls[i];
		expect_refused("drawn");
	}
	/* One that was before all time when the number was drawn. */
	now.wall_s = INT64_MIN;
	renew(10);
	expect_good();
	now.wall_s = INT64_MAX;
	expect_refused("drawn");
}

/* The batch of another contract, chain, order or company is another one. */
Test(lease, batch_binds)
{
	uint8_t n[2][32], swapped[2][32], one[32], two[32], other[20] = { 1 };
	const uint8_t(*p)[32] = (const uint8_t(*)[32])n;

	number(n[0], 1);
	number(n[1], 2);
	number(swapped[0], 2);
	number(swapped[1], 1);
	checkin_batch(one, CHAIN, o.contract, p, 2);
	checkin_batch(two, CHAIN + 1, o.contract, p, 2);
	cr_assert_neq(memcmp(one, two, 32), 0);
	checkin_batch(two, CHAIN, other, p, 2);
	cr_assert_neq(memcmp(one, two, 32), 0);
	checkin_batch(two, CHAIN, o.contract, p, 1);
	cr_assert_neq(memcmp(one, two, 32), 0);
	checkin_batch(two, CHAIN, o.contract, (const uint8_t(*)[32])swapped, 2);
	cr_assert_neq(memcmp(one, two, 32), 0);
	checkin_batch(two, CHAIN, o.contract, p, 2);
	cr_assert_arr_eq(one, two, 32);
}

/* It runs from the drawing, not from when it was found. */
SUITE(runs_from_the_drawing)
{
	uint8_t hash[32];

	draw();
	listed(last, hash);
	pass(LEASE_MS - 1000);
	lease_seen(l, hash, block(9), 100);
	expect_good();
	pass(999);
	expect_good();
	pass(1);
	expect_refused("drawn 900 s ago, good for 900 s");
	pass(UINT32_MAX);
	expect_refused("good for 900 s");
}

/* What was found once gives nothing new when it is found again, and an older
 * number gives nothing after a newer one. */
SUITE(old_lists)
{
	uint8_t first[32], second[32];

	draw();
	listed(1, first);
	pass(PERIOD_MS);
	draw();
	listed(2, second);
	lease_seen(l, second, block(20), 200);
	pass(LEASE_MS - 1000);
	/* Replayed, by chain and by peer. */
	lease_seen(l, first, block(30), 300);
	lease_seen(l, second, block(30), 300);
	listed(1, first);
	lease_seen(l, first, block(31), 300);
	expect_good();
	pass(1000);
	expect_refused("found at block 20");
	lease_seen(l, second, block(40), 400);
	expect_refused("found at block 20");
	/* A newer number is what helps. */
	renew(41);
	expect_good();
}

/* A wall clock that was set back does not make it longer, nor does a boot
 * clock that stands still; each alone ends it. */
SUITE(own_clocks)
{
	renew(9);
	now.boot_ms += LEASE_MS;
	now.wall_s -= 100000;
	expect_refused("boot clock 900");
	now.boot_ms -= LEASE_MS;
	now.wall_s += 100000;
	expect_good();
	now.wall_s += LEASE_MS / 1000;
	expect_refused("wall 900");
	now.wall_s -= LEASE_MS / 1000;
	expect_good();
	/* Both stand still: this alone is not seen. */
	expect_good();
}

/* Our clocks stand still, and two others say how late it is: that decides.
 * One alone does not, be it right or wrong. */
SUITE(clocks_of_others)
{
	struct lease_status s;

	beat(b, 51, 1000000, false);
	beat(c, 61, 77, false);
	renew(9);
	beat(b, 51, 1000000 + 10 * LEASE_MS, false);
	expect_good();
	lease_status(l, &now, &s);
	cr_assert_eq(s.n_peers, 2);
	cr_assert_eq(s.peers_ms, 0);
	/* A second one, by less: as far as both say so. */
	beat(c, 61, 77 + LEASE_MS / 2, false);
	lease_status(l, &now, &s);
	cr_assert_gt(s.peers_ms, LEASE_MS / 2 - 10000);
	cr_assert_leq(s.peers_ms, LEASE_MS / 2);
	expect_good();
	beat(c, 61, 77 + LEASE_MS, false);
	expect_good(); /* they may be told late: a few seconds are given */
	beat(c, 61, 77 + LEASE_MS + 10000, false);
	expect_refused("2 peers");
	/* A clock cannot take back what it said. */
	beat(c, 61, 78, false);
	expect_refused("2 peers");
}

/* Two that run too fast do not end the lease of five. */
SUITE(fast_clocks)
{
	static const uint8_t e[32] = { 0xe };

	beat(b, 51, 1, false);
	beat(c, 52, 1, false);
	beat(d, 53, 1, false);
	beat(e, 54, 1, false);
	renew(9);
	beat(b, 51, UINT64_MAX, false);
	beat(c, 52, UINT64_MAX, false);
	expect_good();
	beat(d, 53, UINT64_MAX, false);
	expect_refused("4 peers");
}

/* So many releases, and no more, however slow all clocks are. */
SUITE(releases_are_counted)
{
	renew(9);
	for (unsigned i = 0; i < RELEASES; i++)
		cr_assert_eq(lease_take(l, &now, 9, &why), ERR_OK);
	cr_assert_eq(lease_take(l, &now, 9, &why), ERR_DENIED);
	expect_refused("5 releases since the last check-in");
	renew(10);
	cr_assert_eq(lease_take(l, &now, 10, &why), ERR_OK);
}

/* A decision at a block before the one that proves the view is young rests on
 * the lease before, or on none. */
SUITE(decision_and_lease)
{
	renew(20);
	cr_assert_eq(lease_take(l, &now, 19, &why), ERR_DENIED);
	cr_assert_eq(why.code, REASON_CHAIN_LEASE);
	cr_assert_not_null(strstr(why.detail, "before the check-in at 20"));
	cr_assert_eq(lease_take(l, &now, 20, &why), ERR_OK);
	pass(PERIOD_MS);
	renew(30);
	cr_assert_eq(lease_take(l, &now, 29, &why), ERR_OK);
	cr_assert_eq(lease_take(l, &now, 30, &why), ERR_OK);
	cr_assert_eq(lease_take(l, &now, 19, &why), ERR_DENIED);
	/* The one before has ended: the new one does not help it. */
	pass(LEASE_MS - PERIOD_MS);
	cr_assert_eq(lease_take(l, &now, 29, &why), ERR_DENIED);
	cr_assert_eq(lease_take(l, &now, 30, &why), ERR_OK);
}

/* Bytes that are no message change nothing. */
SUITE(messages_that_are_none)
{
	struct buf good = { 0 };

	draw();
	cr_assert(lease_beat(l, &good, &now));
	cr_assert_not(lease_is_message((struct bytes){ NULL, 0 }));
	cr_assert_not(lease_is_message(BYTES_STR("KP\1\1")));
	cr_assert_not(lease_is_message(BYTES_STR("KC\1")));
	for (size_t n = 0; n < good.len; n++)
		cr_expect_eq(
		    lease_hear(l, b, (struct bytes){ good.p, n }, &now),
		    ERR_MALFORMED, "%zu", n);
	cr_assert_eq(buf_append(&good, "", 1, 4096), ERR_OK);
	cr_assert_eq(lease_hear(l, b, buf_view(&good), &now), ERR_MALFORMED);
	good.len--;
	good.p[good.len - 1] = 2;
	cr_assert_eq(lease_hear(l, b, buf_view(&good), &now), ERR_MALFORMED);
	good.p[good.len - 1] = 0;
	good.p[2] = 2;
	cr_assert_eq(lease_hear(l, b, buf_view(&good), &now), ERR_MALFORMED);
	good.p[2] = 1;
	good.p[3] = 3;
	cr_assert_eq(lease_hear(l, b, buf_view(&good), &now), ERR_MALFORMED);
	good.p[3] = 2; /* a list of as many as the first number says */
	cr_assert_eq(lease_hear(l, b, buf_view(&good), &now), ERR_MALFORMED);
	cr_assert_eq(
	    lease_hear(l, b, BYTES_STR("KC\1\2\0"), &now), ERR_MALFORMED);
	good.p[3] = 1;
	cr_assert_eq(lease_hear(l, b, buf_view(&good), &now), ERR_OK);
	buf_fini(&good);
}

/* A list of too many is refused, though its length fits. */
SUITE(list_of_too_many)
{
	uint8_t m[5 + 33 * 32] = { 'K', 'C', 1, 2, 33 };

	cr_assert_eq(lease_hear(l, b, BYTES_OF(m), &now), ERR_MALFORMED);
	m[4] = 32;
	cr_assert_eq(
	    lease_hear(l, b, (struct bytes){ m, 5 + 32 * 32 }, &now), ERR_OK);
}

/* Numbers stay young, and there are not more than can be remembered. */
SUITE(when_to_draw)
{
	uint8_t hash[32];

	cr_assert(lease_wants_nonce(l, &now));
	draw();
	cr_assert_not(lease_wants_nonce(l, &now));
	pass(PERIOD_MS / 4 - 1);
	cr_assert_not(lease_wants_nonce(l, &now));
	listed(last, hash); /* it waits no more: the next one */
	cr_assert(lease_wants_nonce(l, &now));
	draw();
	listed(last, hash);
	cr_assert_not(lease_wants_nonce(l, &now));
	pass(LEASE_BEAT_MS);
	cr_assert(lease_wants_nonce(l, &now));
	/* One in a batch is kept beside any number of others. */
	for (unsigned i = 0; i < 200; i++)
		draw();
	lease_seen(l, hash, block(9), 100);
	expect_good();
}

/* What to ask the chain for: newest first, nothing that gives less than what
 * we have, and not more than fits. */
SUITE(what_to_look_for)
{
	uint8_t hash[40][32], look[LEASE_LOOKS][32];

	cr_assert_eq(lease_looks(l, look), 0);
	draw();
	cr_assert_eq(lease_looks(l, look), 0);
	for (unsigned i = 0; i < 40; i++) {
		draw();
		listed(last, hash[i]);
		listed(last, hash[i]); /* told twice */
	}
	cr_assert_eq(lease_looks(l, look), LEASE_LOOKS);
	cr_assert_arr_eq(look[0], hash[39], 32);
	cr_assert_arr_eq(look[15], hash[24], 32);
	lease_seen(l, hash[37], block(9), 100);
	cr_assert_eq(lease_looks(l, look), 2);
	cr_assert_arr_eq(look[1], hash[38], 32);
	lease_seen(l, hash[39], block(9), 100);
	cr_assert_eq(lease_looks(l, look), 0);
}

/* ---- who goes on chain ---- */

static bool
due(bool leads, struct lease_batch *batch)
{
	return lease_due(l, leads, &now, batch);
}

/* A leader brings all numbers once a period, sooner for a life without a
 * lease, and that once. */
SUITE(leader)
{
	struct lease_batch x;
	uint8_t two[32];

	cr_assert_not(due(true, &x), "without a number");
	draw();
	beat(b, 51, 1, false);
	cr_assert(due(true, &x));
	cr_assert_eq(x.n, 2);
	lease_sent(l, true, &now);
	cr_assert_not(due(true, &x), "at once");
	/* A new life knocks. */
	pass(4000);
	beat(c, 52, 1, true);
	draw();
	cr_assert(due(true, &x));
	lease_sent(l, true, &now);
	cr_assert_eq(x.n, 2, "its number, and our next one");
	lease_seen(l, x.hash, block(9), 100);
	/* It is told so, draws again, and still has none: no hurry now. */
	pass(4000);
	beat(c, 53, 1, true);
	draw();
	cr_assert_not(due(true, &x));
	pass(PERIOD_MS - 4000);
	cr_assert(due(true, &x), "the period is over");
	number(two, 53);
	cr_assert_eq(x.n, 1, "who was silent is not in it");
	pass(PERIOD_MS);
	beat(c, 53, 1, true);
	cr_assert(due(true, &x));
	cr_assert_eq(x.n, 1);
	cr_assert_arr_eq(x.nonce[0], two, 32);
}

/* After a failure there is another try in seconds, with new numbers. */
SUITE(leader_fails)
{
	struct lease_batch x;

	draw();
	cr_assert(due(true, &x));
	lease_sent(l, false, &now);
	pass(1000);
	draw();
	cr_assert_not(due(true, &x));
	pass(6000);
	cr_assert(due(true, &x));
	lease_sent(l, true, &now);
	pass(7000);
	draw();
	lease_seen(l, x.hash, block(9), 1);
	cr_assert_not(due(true, &x));
}

/* Another node does nothing, until half its lease is over: then the leader may
 * be the one that is blind. */
SUITE(not_the_leader)
{
	struct lease_batch x;

	draw();
	beat(b, 51, 1, true);
	cr_assert_not(due(false, &x));
	pass(2 * PERIOD_MS);
	cr_assert_not(due(false, &x));
	pass(1000);
	cr_assert(due(false, &x), "a life that never had one helps itself");
	lease_sent(l, true, &now);
	lease_seen(l, x.hash, block(9), 1);
	expect_good();
	for (uint64_t t = 0; t < LEASE_MS / 2 - 130000; t += 10000) {
		pass(10000);
		draw();
		cr_assert_not(due(false, &x));
	}
	pass(40000);
	draw();
	cr_assert(due(false, &x));
	lease_sent(l, true, &now);
	pass(10000);
	draw();
	cr_assert_not(due(false, &x), "once a period");
}

/* A beat tells our number and clock, no oftener than it must. */
SUITE(beats)
{
	struct buf m = { 0 };

	cr_assert_not(lease_beat(l, &m, &now));
	draw();
	cr_assert(lease_beat(l, &m, &now));
	cr_assert_eq(m.len, 45);
	cr_assert_eq(m.p[4], 1);
	cr_assert_eq(m.p[44], 1, "without a lease");
	cr_assert_not(lease_beat(l, &m, &now));
	pass(LEASE_BEAT_MS);
	renew(9);
	m.len = 0;
	cr_assert(lease_beat(l, &m, &now));
	cr_assert_eq(m.p[44], 0);
	buf_fini(&m);
}

/* More lives than there are places: the silent make room, and a batch has no
 * more than it can hold. */
SUITE(many_lives)
{
	struct lease_batch x;
	uint8_t from[32] = { 0 };

	draw();
	for (unsigned i = 0; i < 200; i++) {
		from[0] = (uint8_t)i;
		now.boot_ms++;
		beat(from, (uint8_t)(i + 50), i, true);
	}
	cr_assert(due(true, &x));
	cr_assert_eq(x.n, CHECKIN_BATCH_MAX);
}
