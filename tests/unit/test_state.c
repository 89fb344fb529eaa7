#include <string.h>

#include <criterion/criterion.h>
#include <sodium.h>

#include "kms/state/state.h"

static struct state *s;
static const uint8_t inc_a[32] = { 1 }, inc_b[32] = { 2 };

static void
setup(void)
{
	cr_assert(sodium_init() >= 0);
	cr_assert_eq(state_new(&s), ERR_OK);
}

static void
teardown(void)
{
	state_free(s);
}

TestSuite(state, .init = setup, .fini = teardown);

static struct record
epoch_record(const uint8_t *inc, uint64_t number, uint8_t seed)
{
	struct record r = { .kind = RECORD_EPOCH, .time = 1700000000 };
	struct k256_secret k = { .b = { [31] = seed } };
	struct p256_secret p = { .b = { [31] = seed } };

	memcpy(r.incarnation, inc, 32);
	r.u.epoch.pub.number = number;
	cr_assert_eq(k256_pubkey(&r.u.epoch.pub.k256, &k), ERR_OK);
	cr_assert_eq(p256_pubkey(&r.u.epoch.pub.ca, &p), ERR_OK);
	r.u.epoch.has_certificate = number != 0;
	return r;
}

static struct record
started(const uint8_t *inc, const char *slot)
{
	struct record r = { .kind = RECORD_STARTED, .time = 1700000000 };

	memcpy(r.incarnation, inc, 32);
	strcpy(r.u.started.slot, slot);
	return r;
}

static struct buf
bytes_of(const struct record *r)
{
	struct buf b = { 0 };

	cr_assert_eq(record_write(&b, r), ERR_OK);
	return b;
}

static enum err
apply(struct record r, bool next)
{
	struct buf b;
	enum err e;

	if (next)
		state_next(s, &r);
	b = bytes_of(&r);
	e = state_apply(s, buf_view(&b));
	buf_fini(&b);
	return e;
}

/* Every shorter or longer input is no record; every kind reads back. */
Test(state, parse_is_exact)
{
	struct record r[3] = { epoch_record(inc_a, 1, 5), started(inc_a, "k"),
		{ .kind = RECORD_HANDOVER,
		    .seq = 1,
		    .u.handover = { .to.slot = "kms1" } } };

	for (int i = 0; i < 3; i++) {
		struct record got;
		struct buf b;

		r[i].seq = 3;
		b = bytes_of(&r[i]);
		cr_assert_eq(record_parse(&got, buf_view(&b)), ERR_OK);
		cr_assert_eq(got.kind, r[i].kind);
		for (size_t n = 0; n < b.len; n++)
			cr_assert_eq(
			    record_parse(&got, (struct bytes){ b.p, n }),
			    ERR_MALFORMED, "kind %d length %zu", i, n);
		cr_assert_eq(
		    record_parse(&got, (struct bytes){ b.p, b.len + 1 }),
		    ERR_MALFORMED);
		b.p[2] ^= 3; /* version */
		cr_assert_eq(record_parse(&got, buf_view(&b)), ERR_MALFORMED);
		b.p[2] ^= 3;
		b.p[3] = 9; /* kind */
		cr_assert_eq(record_parse(&got, buf_view(&b)), ERR_MALFORMED);
		buf_fini(&b);
	}
}

/* Keys that are no points, and certificates that are missing or too many,
 * are refused when read. */
Test(state, epoch_body_is_checked)
{
	struct record r = epoch_record(inc_a, 0, 5), got;
	struct buf b;

	r.seq = 1;
	r.u.epoch.pub.ca.xy[5] ^= 1;
	b = bytes_of(&r);
	cr_assert_eq(record_parse(&got, buf_view(&b)), ERR_MALFORMED);
	buf_fini(&b);
	r = epoch_record(inc_a, 0, 5);
	r.seq = 1;
	r.u.epoch.pub.k256.b[0] = 9;
	b = bytes_of(&r);
	cr_assert_eq(record_parse(&got, buf_view(&b)), ERR_MALFORMED);
	buf_fini(&b);
	r = epoch_record(inc_a, 0, 5);
	r.seq = 1;
	r.u.epoch.has_certificate = true;
	b = bytes_of(&r);
	cr_assert_eq(record_parse(&got, buf_view(&b)), ERR_MALFORMED);
	buf_fini(&b);
}

/* A gap, a fork and a repeat are told apart and change nothing. */
Test(state, chain_rules)
{
	uint8_t before[32], after[32];
	struct record r;

	cr_assert_eq(apply(started(inc_a, "a"), true), ERR_OK);
	cr_assert_eq(apply(started(inc_a, "b"), true), ERR_OK);
	state_digest(s, before);
	r = started(inc_a, "b");
	state_next(s, &r);
	r.seq++;
	cr_assert_eq(apply(r, false), ERR_AGAIN);
	r.seq--;
	r.previous[0] ^= 1;
	cr_assert_eq(apply(r, false), ERR_AUTH);
	r = started(inc_a, "a");
	r.seq = 1;
	cr_assert_eq(apply(r, false), ERR_EXISTS);
	r = started(inc_a, "x");
	r.seq = 1;
	cr_assert_eq(apply(r, false), ERR_AUTH);
	r = started(inc_b, "x");
	r.seq = 2;
	cr_assert_eq(apply(r, false), ERR_AGAIN);
	state_digest(s, after);
	cr_assert_arr_eq(before, after, 32);
	cr_assert_eq(state_n_records(s), 2);
}

/* One epoch number names one root, for ever; numbers have no gaps. */
Test(state, epochs_do_not_conflict)
{
	cr_assert_eq(apply(epoch_record(inc_a, 1, 5), true), ERR_DENIED);
	cr_assert_eq(apply(epoch_record(inc_a, 0, 5), true), ERR_OK);
	cr_assert_eq(apply(epoch_record(inc_b, 0, 6), true), ERR_DENIED);
	cr_assert_eq(apply(epoch_record(inc_b, 0, 5), true), ERR_OK);
	cr_assert_eq(state_n_epochs(s), 1);
	cr_assert_eq(apply(epoch_record(inc_b, 2, 7), true), ERR_DENIED);
	cr_assert_eq(apply(epoch_record(inc_b, 1, 7), true), ERR_OK);
	cr_assert_eq(state_n_epochs(s), 2);
	cr_assert_null(state_epoch(s, 2));
}

static struct state *copy_to;

static uint64_t
skip_known(void *cookie, const uint8_t incarnation[static 32])
{
	(void)cookie;
	return state_seq(copy_to, incarnation);
}

static bool
copy(void *cookie, struct bytes record)
{
	(void)cookie;
	cr_assert_eq(state_apply(copy_to, record), ERR_OK);
	return true;
}

/* Records of two incarnations reach the same digest in either order, and
 * what a peer lacks is exactly what it gets. */
Test(state, converges)
{
	uint8_t a[32], b[32];

	cr_assert_eq(state_new(&copy_to), ERR_OK);
	cr_assert_eq(apply(started(inc_b, "b"), true), ERR_OK);
	cr_assert_eq(apply(started(inc_a, "a"), true), ERR_OK);
	cr_assert_eq(apply(started(inc_b, "c"), true), ERR_OK);
	state_each(s, skip_known, copy, NULL);
	cr_assert_eq(apply(started(inc_a, "d"), true), ERR_OK);
	state_digest(s, a);
	state_digest(copy_to, b);
	cr_assert_neq(memcmp(a, b, 32), 0);
	state_each(s, skip_known, copy, NULL);
	state_digest(copy_to, b);
	cr_assert_arr_eq(a, b, 32);
	state_free(copy_to);
}
