/* Goal: a node that did not hear the list of its own batch is told again. */
#include <string.h>

#include <criterion/criterion.h>

#include "kms/cluster/lease.h"

#define CHAIN 31337
#define PERIOD_MS 60000u

static const struct lease_options o = { .chain_id = CHAIN,
	.contract = { 0xc1, 0xec },
	.period_ms = PERIOD_MS,
	.lease_ms = 15 * PERIOD_MS,
	.max_releases = 5 };
static const uint8_t b[32] = { 0xb }, c[32] = { 0xc };
/* The leader, and a life that begins. */
static struct lease *leader, *young;
static struct lease_now now;

static void
draw(struct lease *l, uint8_t n)
{
	uint8_t nonce[32];

	memset(nonce, n, sizeof nonce);
	lease_nonce(l, nonce, &now);
}

static void
setup(void)
{
	now = (struct lease_now){ .boot_ms = 5000000, .wall_s = 1900000000 };
	cr_assert_eq(lease_new(&leader, &o), ERR_OK);
	cr_assert_eq(lease_new(&young, &o), ERR_OK);
	draw(leader, 1);
}

static void
teardown(void)
{
	lease_free(leader);
	lease_free(young);
}

#define SUITE(name) Test(lease_post, name, .init = setup, .fini = teardown)

static void
pass(uint64_t ms)
{
	now.boot_ms += ms;
	now.wall_s += (int64_t)(ms / 1000);
}

/* What `from` says reaches `to`. */
static void
hear(struct lease *to, struct lease *from, const uint8_t id[32])
{
	struct buf m = { 0 };

	cr_assert(lease_beat(from, &m, &now));
	cr_assert_eq(lease_hear(to, id, buf_view(&m), &now), ERR_OK);
	buf_fini(&m);
}

static void
deliver(struct lease *to, const struct lease_batch *x)
{
	struct buf m = { 0 };

	cr_assert_eq(lease_list_write(&m, x), ERR_OK);
	cr_assert_eq(lease_hear(to, b, buf_view(&m), &now), ERR_OK);
	buf_fini(&m);
}

/* The list is lost on the way: without a second telling the node would have
 * nothing to look for until the period is over. */
SUITE(lost_list)
{
	uint8_t look[LEASE_LOOKS][32];
	struct lease_batch x, y;
	struct chain_block at = { .number = 9, .timestamp = 100 };

	cr_assert_not(lease_retell(leader, &now, &y), "nothing was brought");
	draw(young, 2);
	hear(leader, young, c);
	cr_assert_not(lease_retell(leader, &now, &y), "nothing was brought");
	cr_assert(lease_due(leader, true, &now, &x));
	cr_assert_eq(x.n, 2);
	cr_assert_not(lease_retell(leader, &now, &y), "it was told just now");
	pass(LEASE_BEAT_MS);
	hear(leader, young, c);
	cr_assert_eq(lease_looks(young, look), 0);
	cr_assert(lease_retell(leader, &now, &y));
	cr_assert_eq(y.n, x.n);
	cr_assert_arr_eq(y.hash, x.hash, 32);
	cr_assert_not(lease_retell(leader, &now, &y), "no oftener than a beat");
	deliver(young, &y);
	cr_assert_eq(lease_looks(young, look), 1);
	cr_assert_arr_eq(look[0], x.hash, 32);
	lease_seen(young, look[0], &at, 100);
	/* Now it has one, and says so: nobody is told any more. */
	pass(LEASE_BEAT_MS);
	hear(leader, young, c);
	cr_assert_not(lease_retell(leader, &now, &y));
}

/* Those of the period in turn; none that is older, to none who is silent. */
SUITE(in_turn)
{
	struct lease_batch x[2], y;

	draw(young, 2);
	hear(leader, young, c);
	cr_assert(lease_due(leader, true, &now, &x[0]));
	lease_sent(leader, false, &now); /* so that another is due soon */
	pass(7000);
	draw(leader, 3);
	hear(leader, young, c);
	cr_assert(lease_due(leader, true, &now, &x[1]));
	for (unsigned i = 0; i < 4; i++) {
		pass(LEASE_BEAT_MS);
		hear(leader, young, c);
		cr_assert(lease_retell(leader, &now, &y));
		cr_assert_arr_eq(y.hash, x[i % 2].hash, 32);
	}
	pass(7 * LEASE_BEAT_MS);
	cr_assert_not(lease_retell(leader, &now, &y), "it was silent");
	pass(PERIOD_MS - 7000 - 11 * LEASE_BEAT_MS);
	for (unsigned i = 0; i < 2; i++) {
		hear(leader, young, c);
		cr_assert(lease_retell(leader, &now, &y));
		cr_assert_arr_eq(y.hash, x[1].hash, 32, "the first is old");
		pass(LEASE_BEAT_MS);
	}
	pass(PERIOD_MS);
	hear(leader, young, c);
	cr_assert_not(lease_retell(leader, &now, &y), "both are old");
}
