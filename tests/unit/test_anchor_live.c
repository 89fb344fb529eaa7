/* The anchor against the real contract on a real EVM: a cluster's life from
 * genesis over a veto to its second generation.  Skipped unless contracts/
 * has been built and Foundry is installed. */
#include <stdio.h>
#include <string.h>

#include <criterion/criterion.h>

#include "common/base/clock.h"
#include "common/base/hex.h"
#include "kms/gate/anchor.h"
#include "kms/gate/anchorabi.h"
#include "tests/lib/onchain.h"

#define WAIT 600u
static struct anvil av;
static struct chainview *v;
static struct anchor *a;
static struct k256_secret key;
static uint8_t signer[20];
static struct anchor_view s;
static struct refusal why;
static int64_t ahead; /* of the chain's clock before ours */
static const uint8_t kms[20] = { 0xc0, 0xff, 0xee };
static const uint8_t node[32] = { 0x0d, 0x0e };
static const uint8_t device[32] = { 0xde };

/* Two blocks behind is final; a view is used for a millisecond. */
static void
look(void)
{
	uint64_t t = clock_mono_ms();

	anvil_rpc(&av, "anvil_mine", "[\"0x3\"]");
	while (clock_mono_ms() < t + 2)
		continue;
	why = (struct refusal){ 0 };
	cr_assert_eq(anchor_read(a, clock_wall_s() + ahead, &s, &why), ERR_OK,
	    "%s: %s", reason_label(why.code), why.detail);
}

static void
pass(unsigned seconds)
{
	char params[32];

	(void)snprintf(params, sizeof params, "[%u]", seconds);
	anvil_rpc(&av, "evm_increaseTime", params);
	ahead += seconds;
}

static bool
setup(void)
{
	struct k256_pub pub;
	const char *urls[2] = { "http://127.0.0.1:1", av.url };
	const char *const *good = urls + 1;
	struct chainview_options o = { .urls = good,
		.n = 1,
		.quorum = 1,
		.chain_id = ANVIL_CHAIN,
		.tag = CHAIN_FINALIZED,
		.max_age_s = 3600,
		.poll_ms = 1,
		.timeout_ms = 30000,
		.mono_ms = clock_mono_ms };
	struct anchor_options ao = { .chain_id = ANVIL_CHAIN,
		.urls = urls,
		.n_urls = 2,
		.timeout_ms = 30000 };

	if (!anvil_start(&av) || !onchain_anchor(&av, kms, WAIT))
		return false;
	k256_generate(&key);
	cr_assert_eq(k256_pubkey(&pub, &key), ERR_OK);
	cr_assert_eq(k256_address(signer, &pub), ERR_OK);
	cr_assert_eq(chainview_new(&v, &o), ERR_OK);
	cr_assert_eq(hex_fixed(ao.contract, 20, ONCHAIN_ANCHOR), ERR_OK);
	ao.view = v;
	cr_assert_eq(anchor_new(&a, &ao), ERR_OK);
	return true;
}

static void
teardown(void)
{
	anchor_free(a);
	chainview_free(v);
	anvil_stop(&av);
}

static struct anchor_point
point(uint64_t generation, uint64_t index, uint8_t h)
{
	struct anchor_point p = { .generation = generation, .index = index };

	memset(p.hash, h, sizeof p.hash);
	return p;
}

static void
is_at(struct anchor_point p)
{
	look();
	cr_assert_eq(s.at.generation, p.generation);
	cr_assert_eq(s.at.index, p.index);
	cr_assert_arr_eq(s.at.hash, p.hash, 32);
}

static void
founded(void)
{
	struct anchor_point p = point(1, 5, 0x05);
	struct buf b = { 0 };

	cr_assert_eq(anchorabi_genesis(&b, 5, p.hash, signer, node), ERR_OK);
	onchain_owner(&av, ONCHAIN_ANCHOR, &b);
	onchain_fund(&av, signer);
}

static void
ordered(bool lossy)
{
	struct buf b = { 0 };

	cr_assert_eq(anchorabi_name_recovery(&b, node, lossy), ERR_OK);
	onchain_owner(&av, ONCHAIN_ANCHOR, &b);
	look();
	cr_assert(s.order.set);
	cr_assert_eq(s.order.lossy, lossy);
	cr_assert_arr_eq(s.order.incarnation, node, 32);
}

static enum err
write_with(const struct k256_secret *k, enum anchor_write_kind kind,
    struct anchor_point from, struct anchor_point to)
{
	struct anchor_write w = { .kind = kind, .from = from, .to = to };

	memcpy(w.incarnation, node, sizeof w.incarnation);
	why = (struct refusal){ 0 };
	return anchor_send(a, &w, k, clock_wall_s() + ahead, &why);
}

/* `want` is the contract's own word, or NULL if it shall count. */
static void
expect(enum anchor_write_kind kind, struct anchor_point from,
    struct anchor_point to, const char *want)
{
	enum err e = write_with(&key, kind, from, to);

	if (want == NULL) {
		cr_assert_eq(e, ERR_OK, "%s: %s", err_text(e), why.detail);
		return;
	}
	cr_assert_eq(e, ERR_DENIED, "%s: %s", err_text(e), why.detail);
	cr_assert_eq(why.code, REASON_CONTRACT_OTHER);
	cr_assert_not_null(strstr(why.detail, want), "%s", why.detail);
}

#define LIVE(name) Test(anchor_live, name, .fini = teardown, .timeout = 120)
#define NEED_CHAIN() \
	do { \
		if (!setup()) \
			cr_skip("no anvil, or contracts not built"); \
	} while (0)

/* Before the genesis there is no point, and nothing moves. */
LIVE(nothing_before_genesis)
{
	struct anchor_point none = { .generation = 0 };

	NEED_CHAIN();
	onchain_fund(&av, signer);
	is_at(none);
	cr_assert_eq(s.wait_s, WAIT);
	cr_assert_eq(s.n_seats, 0);
	cr_assert(!s.order.set && !s.announced.set);
	expect(ANCHOR_ADVANCE, none, point(0, 1, 1), "No cluster yet");
	expect(ANCHOR_ANNOUNCE, none, point(1, 1, 1), "No cluster yet");
	expect(ANCHOR_VETO, none, none, "nothing is announced");
}

/* Only the cluster's key moves the point, only from where it is, and of two
 * writers one loses.  Without gas nothing is sent. */
LIVE(advance)
{
	struct k256_secret other;

	NEED_CHAIN();
	founded();
	is_at(point(1, 5, 0x05));
	k256_generate(&other);
	cr_assert_eq(write_with(&other, ANCHOR_ADVANCE, point(1, 5, 0x05),
			 point(1, 6, 0x06)),
	    ERR_DENIED);
	cr_assert_not_null(strstr(why.detail, "Not signed by the cluster"));
	expect(ANCHOR_ADVANCE, point(1, 5, 0x06), point(1, 6, 0x06),
	    "The anchor is elsewhere");
	expect(ANCHOR_ADVANCE, point(1, 5, 0x05), point(1, 5, 0x06),
	    "Index does not grow");
	expect(ANCHOR_ADVANCE, point(1, 5, 0x05), point(1, 6, 0x06), NULL);
	expect(ANCHOR_ADVANCE, point(1, 5, 0x05), point(1, 7, 0x07),
	    "The anchor is elsewhere");
	is_at(point(1, 6, 0x06));
	expect(ANCHOR_ADVANCE, point(1, 6, 0x06), point(1, 9, 0x09), NULL);
	is_at(point(1, 9, 0x09));
}

LIVE(no_gas)
{
	struct buf b = { 0 };
	struct anchor_point p = point(1, 5, 0x05);

	NEED_CHAIN();
	cr_assert_eq(anchorabi_genesis(&b, 5, p.hash, signer, node), ERR_OK);
	onchain_owner(&av, ONCHAIN_ANCHOR, &b);
	cr_assert_eq(write_with(&key, ANCHOR_ADVANCE, p, point(1, 6, 0x06)),
	    ERR_AGAIN, "%s", why.detail);
	is_at(p);
	onchain_fund(&av, signer);
	expect(ANCHOR_ADVANCE, p, point(1, 6, 0x06), NULL);
}

/* A living cluster vetoes: the order falls, too. */
LIVE(vetoed)
{
	struct anchor_point p = point(1, 5, 0x05), q = point(2, 8, 0x08);

	NEED_CHAIN();
	founded();
	look();
	expect(ANCHOR_ANNOUNCE, p, q, "No order names it");
	ordered(false);
	expect(ANCHOR_ANNOUNCE, p, point(2, 5, 0x06), "Another hash");
	expect(ANCHOR_ANNOUNCE, p, q, NULL);
	expect(ANCHOR_VETO, p, q, "nothing is announced"); /* not final */
	look();
	cr_assert(s.announced.set);
	cr_assert_eq(s.announced.to.generation, 2);
	cr_assert_eq(s.announced.to.index, 8);
	cr_assert_geq(s.announced.open_at, (uint64_t)clock_wall_s());
	expect(ANCHOR_OPEN, p, q, "Too early");
	expect(ANCHOR_VETO, p, q, NULL);
	look();
	cr_assert(!s.announced.set && !s.order.set);
	cr_assert_eq(s.vetoes, 1);
	pass(WAIT);
	look();
	expect(ANCHOR_OPEN, p, q, "Nothing is announced");
	/* again, and vetoed again: the second signature counts anew */
	ordered(true);
	expect(ANCHOR_ANNOUNCE, p, q, NULL);
	look();
	expect(ANCHOR_VETO, p, q, NULL);
	look();
	cr_assert_eq(s.vetoes, 2);
}

/* Nobody vetoes: after the wait the second generation opens, once. */
LIVE(opened)
{
	struct anchor_point p = point(1, 5, 0x05), q = point(2, 8, 0x08);
	struct buf b = { 0 };

	NEED_CHAIN();
	founded();
	cr_assert_eq(anchorabi_set_seat(&b, "kms0", device), ERR_OK);
	onchain_owner(&av, ONCHAIN_ANCHOR, &b);
	cr_assert_eq(anchorabi_set_seat(&b, "kms1", node), ERR_OK);
	onchain_owner(&av, ONCHAIN_ANCHOR, &b);
	cr_assert_eq(anchorabi_remove_seat(&b, "kms0"), ERR_OK);
	onchain_owner(&av, ONCHAIN_ANCHOR, &b);
	ordered(true);
	cr_assert_eq(s.n_seats, 1);
	cr_assert_str_eq(s.seat[0].slot, "kms1");
	cr_assert_arr_eq(s.seat[0].device_id, node, 32);

	expect(ANCHOR_ANNOUNCE, p, q, NULL);
	pass(WAIT);
	look();
	expect(ANCHOR_OPEN, p, point(2, 8, 0x09), "Something else");
	expect(ANCHOR_OPEN, p, q, NULL);
	expect(ANCHOR_OPEN, p, q, "The anchor is elsewhere");
	expect(ANCHOR_ADVANCE, p, point(1, 9, 0x09), "The anchor is elsewhere");
	is_at(q);
	cr_assert(!s.order.set && !s.announced.set);
	expect(ANCHOR_ADVANCE, q, point(2, 9, 0x09), NULL);
	is_at(point(2, 9, 0x09));
}
