/* Lease and contract against a real EVM: what is found, and what is not.
 * Skipped unless contracts/ has been built and Foundry is installed. */
#include <stdio.h>
#include <string.h>

#include <criterion/criterion.h>

#include "common/base/clock.h"
#include "kms/cluster/lease.h"
#include "tests/lib/onchain.h"

static struct anvil av;
static struct chainview *v;
static struct checkin *c, *elsewhere;
static struct k256_secret key;
static struct refusal why;
static struct lease *l;
static struct lease_now now = { .boot_ms = 1000, .wall_s = 1900000000 };
static const uint8_t at[20] = { 0xc4, 0xec }, other[20] = { 0xc4, 0xed };

static struct checkin *
open_at(const uint8_t where[20])
{
	const char *urls[1] = { av.url };
	struct checkin_options o = { .view = v,
		.chain_id = ANVIL_CHAIN,
		.urls = urls,
		.n_urls = 1,
		.timeout_ms = 30000 };
	struct checkin *x;

	memcpy(o.contract, where, 20);
	cr_assert_eq(checkin_new(&x, &o), ERR_OK);
	return x;
}

static bool
setup(void)
{
	const char *urls[1] = { av.url };
	struct chainview_options o = { .urls = urls,
		.n = 1,
		.quorum = 1,
		.chain_id = ANVIL_CHAIN,
		.tag = CHAIN_FINALIZED,
		.max_age_s = 3600,
		.poll_ms = 1,
		.timeout_ms = 30000,
		.mono_ms = clock_mono_ms };
	struct lease_options lo = { .chain_id = ANVIL_CHAIN,
		.period_ms = 60000,
		.lease_ms = 600000,
		.max_releases = 10 };
	struct k256_pub pub;
	uint8_t payer[20];

	if (!anvil_start(&av) || !onchain_put(&av, "CheckIn", at))
		return false;
	k256_generate(&key);
	cr_assert_eq(k256_pubkey(&pub, &key), ERR_OK);
	cr_assert_eq(k256_address(payer, &pub), ERR_OK);
	onchain_fund(&av, payer);
	cr_assert_eq(chainview_new(&v, &o), ERR_OK);
	c = open_at(at);
	elsewhere = open_at(other);
	memcpy(lo.contract, at, 20);
	cr_assert_eq(lease_new(&l, &lo), ERR_OK);
	anvil_rpc(&av, "anvil_mine", "[\"0x5\"]");
	return true;
}

static void
teardown(void)
{
	lease_free(l);
	checkin_free(elsewhere);
	checkin_free(c);
	chainview_free(v);
	anvil_stop(&av);
}

/* A number is drawn, and a batch made of it as a leader does. */
static void
batch(struct lease_batch *b, uint8_t n)
{
	uint8_t nonce[32];

	now.boot_ms += 60000;
	now.wall_s += 60;
	memset(nonce, n, 32);
	lease_nonce(l, nonce, &now);
	cr_assert(lease_due(l, true, &now, b));
}

/* One look of the node: whether its lease is good afterwards. */
static bool
look_with(struct checkin *x)
{
	uint8_t hash[LEASE_LOOKS][32];
	const uint8_t(*p)[32] = (const uint8_t(*)[32])hash;
	unsigned n = lease_looks(l, hash);
	struct checkin_found f;
	uint64_t t = clock_mono_ms();

	while (clock_mono_ms() < t + 2)
		continue;
	why = (struct refusal){ 0 };
	if (checkin_find(x, clock_wall_s(), p, n, &f, &why) == ERR_OK &&
	    f.found)
		lease_seen(l, hash[f.which], &f.block, f.time);
	return lease_check(l, &now, NULL) == ERR_OK;
}

static void
finalize(void)
{
	anvil_rpc(&av, "anvil_mine", "[\"0x3\"]");
}

#define LIVE(name) Test(checkin_live, name, .fini = teardown, .timeout = 120)
#define NEED_CHAIN() \
	do { \
		if (!setup()) \
			cr_skip("no anvil, or contracts not built"); \
	} while (0)

/* Nothing there, another's batch, another contract, not final yet: none of it
 * is a lease.  The batch, once it is final, is. */
LIVE(found)
{
	struct lease_batch b;
	uint8_t foreign[32] = { 9 };

	NEED_CHAIN();
	batch(&b, 1);
	cr_assert_not(look_with(c));
	cr_assert_eq(checkin_send(c, foreign, &key, &why), ERR_OK);
	finalize();
	cr_assert_not(look_with(c));
	cr_assert_not(look_with(elsewhere));
	cr_assert_eq(why.code, REASON_CHAIN_ANSWER);
	cr_assert_eq(
	    checkin_send(c, b.hash, &key, &why), ERR_OK, "%s", why.detail);
	cr_assert_not(look_with(c), "mined, and not final");
	finalize();
	cr_assert(look_with(c));
	/* It comes a second time, by anyone: nothing is renewed by that. */
	now.boot_ms += 600000;
	cr_assert_not(look_with(c));
	cr_assert_eq(checkin_send(c, b.hash, &key, &why), ERR_OK);
	finalize();
	cr_assert_not(look_with(c));
}

/* Nothing is no batch: the contract says so before it is sent. */
LIVE(refused_by_the_contract)
{
	uint8_t zero[32] = { 0 };

	NEED_CHAIN();
	cr_assert_eq(checkin_send(c, zero, &key, &why), ERR_DENIED);
	cr_assert_eq(why.code, REASON_CONTRACT_OTHER);
}

/* A block that had the batch is replaced before it is final: no lease.  And
 * what is replaced above a final block takes nothing away. */
LIVE(reorganised)
{
	struct lease_batch b;

	NEED_CHAIN();
	batch(&b, 1);
	cr_assert_eq(checkin_send(c, b.hash, &key, &why), ERR_OK);
	anvil_rpc(&av, "anvil_reorg", "[1,[]]");
	finalize();
	cr_assert_not(look_with(c));
	batch(&b, 2);
	cr_assert_eq(checkin_send(c, b.hash, &key, &why), ERR_OK);
	finalize();
	cr_assert(look_with(c));
	anvil_rpc(&av, "anvil_reorg", "[1,[]]");
	cr_assert(look_with(c));
	finalize();
	cr_assert(look_with(c));
	cr_assert_eq(why.code, REASON_NONE, "%s", why.detail);
}

/* The batch before the last is final when the last is not: it counts, and the
 * last one counts more. */
LIVE(several_on_their_way)
{
	struct lease_batch first, second;
	struct lease_status s;

	NEED_CHAIN();
	batch(&first, 1);
	batch(&second, 2);
	cr_assert_eq(checkin_send(c, first.hash, &key, &why), ERR_OK);
	finalize();
	cr_assert_eq(checkin_send(c, second.hash, &key, &why), ERR_OK);
	cr_assert(look_with(c));
	lease_status(l, &now, &s);
	cr_assert_arr_eq(s.batch, first.hash, 32);
	cr_assert_eq(s.outstanding, 1);
	finalize();
	cr_assert(look_with(c));
	lease_status(l, &now, &s);
	cr_assert_arr_eq(s.batch, second.hash, 32);
	cr_assert_eq(s.outstanding, 0);
}
