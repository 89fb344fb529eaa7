#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <criterion/criterion.h>
#include <sodium.h>

#include "common/crypto/hash.h"
#include "kms/state/ledger.h"

#define N_KEYS 4

static struct ledger *l;
static struct ledger_outcome o;
static uint8_t state_before[32]; /* without its index */
static struct epoch_public keys[N_KEYS];

static void
setup(void)
{
	cr_assert(sodium_init() >= 0);
	cr_assert_eq(ledger_new(&l), ERR_OK);
	for (uint8_t i = 0; i < N_KEYS; i++) {
		struct k256_secret k = { .b = { [31] = (uint8_t)(i + 1) } };
		struct p256_secret p = { .b = { [31] = (uint8_t)(i + 1) } };

		cr_assert_eq(k256_pubkey(&keys[i].k256, &k), ERR_OK);
		cr_assert_eq(p256_pubkey(&keys[i].ca, &p), ERR_OK);
	}
}

static void
teardown(void)
{
	ledger_free(l);
}

TestSuite(ledger, .init = setup, .fini = teardown);

static struct command
command(enum command_kind kind)
{
	return (struct command){ .kind = kind, .time = 1700000000 };
}

static struct command
epoch(uint64_t number, uint8_t key)
{
	struct command c = command(COMMAND_EPOCH);

	c.u.epoch.pub = keys[key % N_KEYS];
	c.u.epoch.pub.number = number;
	c.u.epoch.has_certificate = number != 0;
	c.u.epoch.origin.order = number; /* 0 for epoch 0 */
	return c;
}

static struct command
follows(uint64_t number, enum ledger_epoch_state state)
{
	struct command c = command(COMMAND_EPOCH_STATE);

	c.u.epoch_state.number = number;
	c.u.epoch_state.state = state;
	c.u.epoch_state.k256 = ledger_epoch(l, number)->pub.k256;
	return c;
}

static struct command
member(const char *slot, uint8_t incarnation)
{
	struct command c = command(COMMAND_MEMBER);

	strcpy(c.u.member.slot, slot);
	c.u.member.incarnation[0] = incarnation;
	return c;
}

static struct command
left(const char *slot, uint8_t incarnation)
{
	struct command c = command(COMMAND_LEFT);

	strcpy(c.u.left.slot, slot);
	c.u.left.incarnation[0] = incarnation;
	c.u.left.why = LEFT_REPLACED;
	return c;
}

static struct command
handover(uint64_t number, const char *slot, uint8_t incarnation)
{
	struct command c = command(COMMAND_HANDOVER);

	c.u.handover.epoch = number;
	strcpy(c.u.handover.to.slot, slot);
	c.u.handover.to.incarnation[0] = incarnation;
	return c;
}

static struct command
generation(uint64_t number)
{
	struct command c = command(COMMAND_GENERATION);

	c.u.generation.generation = number;
	strcpy(c.u.generation.slot, "a");
	return c;
}

static struct command
anchored(uint64_t number, uint64_t index, uint8_t hash)
{
	struct command c = command(COMMAND_ANCHORED);

	c.u.anchored.generation = number;
	c.u.anchored.index = index;
	c.u.anchored.hash[0] = hash;
	return c;
}

static struct command
block_floor(uint64_t number, uint8_t hash)
{
	struct command c = command(COMMAND_FLOOR);

	c.u.floor.number = number;
	c.u.floor.hash[0] = hash;
	return c;
}

static struct command
tcb_floor(const char *name, uint64_t number)
{
	struct command c = command(COMMAND_TCB_FLOOR);

	strcpy(c.u.tcb_floor.name, name);
	c.u.tcb_floor.number = number;
	return c;
}

static struct command
increment(uint8_t app, const char *name, uint64_t expected, uint8_t operation)
{
	struct command c = command(COMMAND_INCREMENT);

	c.u.increment.app_id[0] = app;
	strcpy(c.u.increment.name, name);
	c.u.increment.expected = expected;
	c.u.increment.operation[0] = operation;
	return c;
}

/* The digest of all but the index of the last entry. */
static void
digest_but_index(const struct ledger *x, uint8_t out[static 32])
{
	struct buf b = { 0 };

	cr_assert_eq(ledger_snapshot(x, &b), ERR_OK);
	memset(b.p + 3, 0, 8);
	sha256(out, b.p, b.len);
	buf_fini(&b);
}

static enum err
apply_to(struct ledger *to, struct command c)
{
	struct buf b = { 0 };
	uint64_t index = ledger_index(to) + 1;

	cr_assert_eq(command_write(&b, &c), ERR_OK);
	cr_assert_eq(ledger_apply(to, &o, index, buf_view(&b)), ERR_OK);
	cr_assert_eq(ledger_index(to), index);
	buf_fini(&b);
	return o.err;
}

static void
ok(struct command c)
{
	cr_assert_eq(apply_to(l, c), ERR_OK, "%s at %zu: %s",
	    command_kind_text(c.kind), (size_t)ledger_index(l),
	    err_text(o.err));
	cr_assert_eq(o.reason, REASON_NONE);
}

/* Another outcome than success changes nothing but the index. */
static void
unchanged(struct command c, enum err want, enum reason why)
{
	uint8_t after[32];

	digest_but_index(l, state_before);
	cr_assert_eq(apply_to(l, c), want, "%s at %zu: %s",
	    command_kind_text(c.kind), (size_t)ledger_index(l),
	    err_text(o.err));
	cr_assert_eq(o.reason, why, "%s", reason_label(o.reason));
	digest_but_index(l, after);
	cr_assert_arr_eq(state_before, after, 32);
}

static void
denied(struct command c, enum reason why)
{
	unchanged(c, ERR_DENIED, why);
}

static void
exists(struct command c)
{
	unchanged(c, ERR_EXISTS, REASON_NONE);
}

/* Bytes that are no command only move the index. */
Test(ledger, malformed)
{
	uint8_t after[32];

	digest_but_index(l, state_before);
	cr_assert_eq(ledger_apply(l, &o, 5, BYTES_STR("KC?")), ERR_OK);
	cr_assert_eq(o.err, ERR_MALFORMED);
	cr_assert_eq(ledger_index(l), 5);
	ledger_skip(l, 9);
	cr_assert_eq(ledger_index(l), 9);
	digest_but_index(l, after);
	cr_assert_arr_eq(state_before, after, 32);
}

/* The index never goes back, nor stands still. */
Test(ledger, index_goes_up, .signal = SIGABRT)
{
	ledger_skip(l, 9);
	(void)!ledger_apply(l, &o, 9, BYTES_STR("KC?"));
}
Test(ledger, index_goes_up_when_skipping, .signal = SIGABRT)
{
	ledger_skip(l, 9);
	ledger_skip(l, 9);
}

/* Epoch 0 is one root, for ever; numbers have no gaps. */
Test(ledger, epochs_do_not_conflict)
{
	struct command c = epoch(0, 0);

	denied(epoch(1, 0), REASON_EPOCH_UNKNOWN);
	ok(c);
	exists(c);
	denied(epoch(0, 1), REASON_ROOT_MISMATCH);
	c.u.epoch.pub.ca = keys[1].ca;
	denied(c, REASON_ROOT_MISMATCH);
	c = epoch(0, 0);
	c.u.epoch.wrapped[103] = 1;
	denied(c, REASON_ROOT_MISMATCH);
	denied(epoch(2, 1), REASON_EPOCH_UNKNOWN);
	cr_assert_eq(ledger_n_epochs(l), 1);
	cr_assert_null(ledger_epoch(l, 1));
	cr_assert_eq(ledger_epoch(l, 0)->pub.number, 0);
}

/* An epoch in use. */
static void
in_use(uint64_t number)
{
	ok(epoch(number, (uint8_t)number));
	ok(anchored(1, ledger_index(l), 1));
	if (number > 0)
		ok(follows(number, LEDGER_EPOCH_ACTIVE));
}

/* The table of epochs has an end. */
Test(ledger, epochs_are_bounded)
{
	ok(generation(1));
	for (unsigned i = 0; i < LEDGER_MAX_EPOCHS; i++)
		in_use(i);
	unchanged(epoch(LEDGER_MAX_EPOCHS, 0), ERR_LIMIT, REASON_NONE);
}

/* Epoch 0 is prepared until its own index is anchored, not before. */
Test(ledger, epoch_0_is_active_once_anchored)
{
	ok(generation(1));
	ok(epoch(0, 0)); /* 2 */
	ok(anchored(1, 1, 1));
	cr_assert_eq(ledger_epoch(l, 0)->state, LEDGER_EPOCH_PREPARED);
	cr_assert(!ledger_epoch_anchored(l, 0));
	ok(anchored(1, 2, 2));
	cr_assert_eq(ledger_epoch(l, 0)->state, LEDGER_EPOCH_ACTIVE);
	cr_assert(ledger_epoch_anchored(l, 0));
	cr_assert(!ledger_epoch_anchored(l, 1));
	cr_assert_eq(ledger_anchor(l)->index, 2);
	cr_assert_eq(ledger_anchor(l)->hash[0], 2);
}

/* The anchor never goes back, is never ahead of the log, and one place in
 * the log has one hash. */
Test(ledger, anchor_goes_up)
{
	denied(anchored(0, 1, 1), REASON_ROLLBACK);
	denied(anchored(1, 1, 1), REASON_ROLLBACK);
	ok(generation(1));
	ledger_skip(l, 9);
	denied(anchored(1, 10, 1), REASON_ROLLBACK); /* its own index */
	ok(anchored(1, 10, 1));
	exists(anchored(1, 10, 1));
	denied(anchored(1, 10, 2), REASON_FORKED);
	denied(anchored(1, 9, 1), REASON_ROLLBACK);
	denied(anchored(2, 12, 1), REASON_ROLLBACK);
	ok(generation(2));
	ok(anchored(2, 12, 3));
	denied(anchored(1, 13, 3), REASON_ROLLBACK);
	cr_assert_eq(ledger_anchor(l)->generation, 2);
	cr_assert_eq(ledger_anchor(l)->index, 12);
}

/* What became effective stays so under a lower anchor of a later
 * generation. */
Test(ledger, effective_is_for_ever)
{
	ok(generation(1));
	ok(member("a", 1));
	ok(epoch(0, 0));
	ok(anchored(1, 3, 1));
	ok(generation(2));
	ok(anchored(2, 1, 1));
	for (int i = 0; i < 2; i++) {
		struct buf b = { 0 };

		cr_assert_eq(ledger_anchor(l)->index, 1);
		cr_assert_eq(ledger_epoch(l, 0)->state, LEDGER_EPOCH_ACTIVE);
		/* And once more after a snapshot. */
		cr_assert_eq(ledger_snapshot(l, &b), ERR_OK);
		cr_assert_eq(ledger_restore(l, buf_view(&b)), ERR_OK);
		buf_fini(&b);
	}
}

/* Generations come one by one, from 1. */
Test(ledger, generations)
{
	denied(generation(0), REASON_FORKED);
	denied(generation(2), REASON_FORKED);
	ok(generation(1));
	denied(generation(1), REASON_FORKED);
	denied(generation(3), REASON_FORKED);
	ok(generation(2));
	cr_assert_eq(ledger_generation(l), 2);
}

/* A slot has one holder at a time, and who follows waits until it left. */
Test(ledger, one_holder_of_a_slot)
{
	struct command c = member("a", 1);

	denied(left("a", 1), REASON_NOT_MEMBER);
	ok(c);
	exists(c);
	c.u.member.mr_aggregated[0] = 1;
	denied(c, REASON_SLOT_ALIVE);
	denied(member("a", 2), REASON_SLOT_ALIVE);
	denied(member("b", 1), REASON_SEAT); /* two seats, one life */
	denied(left("a", 2), REASON_NOT_MEMBER);
	ok(left("a", 1));
	exists(left("a", 1));
	denied(left("a", 2), REASON_NOT_MEMBER);
	cr_assert(!ledger_slot(l, "a")->present);
	ok(member("a", 2));
	denied(left("a", 1), REASON_NOT_MEMBER);
	cr_assert_eq(ledger_slot(l, "a")->lives, 2);
	cr_assert_eq(ledger_slot(l, "a")->since, ledger_index(l) - 1);
	ok(member("b", 1));
}

/* Members are sorted by slot, whatever came first, up to a bound. */
Test(ledger, members_are_bounded)
{
	char slot[SLOT_MAX];

	for (unsigned i = 0; i < LEDGER_MAX_MEMBERS; i++) {
		(void)snprintf(slot, sizeof slot, "s%02u", i * 37 % 64);
		ok(member(slot, (uint8_t)(i + 1)));
	}
	unchanged(member("t", 99), ERR_LIMIT, REASON_NONE);
	ok(left("s00", 1));
	ok(member("s00", 99));
	cr_assert_eq(ledger_n_members(l), LEDGER_MAX_MEMBERS);
	for (size_t i = 0; i < LEDGER_MAX_MEMBERS; i++) {
		(void)snprintf(slot, sizeof slot, "s%02zu", i);
		cr_assert_str_eq(ledger_member(l, i)->who.slot, slot);
	}
	cr_assert_null(ledger_member(l, LEDGER_MAX_MEMBERS));
	cr_assert_null(ledger_slot(l, "t"));
}

/* Roots are handed to present members only. */
Test(ledger, handover_to_members)
{
	denied(handover(0, "a", 1), REASON_EPOCH_UNKNOWN);
	ok(epoch(0, 0));
	denied(handover(0, "a", 1), REASON_NOT_MEMBER);
	ok(member("a", 1));
	ok(member("b", 2));
	denied(handover(0, "a", 2), REASON_NOT_MEMBER);
	denied(handover(1, "a", 1), REASON_EPOCH_UNKNOWN);
	ok(handover(0, "a", 1));
	ok(left("a", 1));
	denied(handover(0, "a", 1), REASON_NOT_MEMBER);
}

/* Only a success of EPOCH moves the critical index. */
Test(ledger, critical_index)
{
	cr_assert_eq(ledger_critical_index(l), 0);
	ok(member("a", 1));
	ok(generation(1));
	ok(block_floor(1, 1));
	cr_assert_eq(ledger_critical_index(l), 0);
	ok(epoch(0, 0));
	cr_assert_eq(ledger_critical_index(l), 4);
	exists(epoch(0, 0));
	denied(epoch(0, 1), REASON_ROOT_MISMATCH);
	cr_assert_eq(ledger_critical_index(l), 4);
	ok(anchored(1, 4, 1));
	ok(epoch(1, 1));
	cr_assert_eq(ledger_critical_index(l), 8);
	ok(anchored(1, 8, 1));
	ok(follows(1, LEDGER_EPOCH_ACTIVE));
	cr_assert_eq(ledger_critical_index(l), 8);
}

/* The chain's floor goes up, and a block has one hash. */
Test(ledger, block_floor_goes_up)
{
	uint8_t hash[32];

	cr_assert_eq(ledger_floor(l, hash), 0);
	ok(block_floor(7, 1));
	exists(block_floor(7, 1));
	denied(block_floor(7, 2), REASON_CHAIN_DISAGREE);
	exists(block_floor(6, 3));
	ok(block_floor(8, 4));
	cr_assert_eq(ledger_floor(l, hash), 8);
	cr_assert_eq(hash[0], 4);
}

/* A TCB floor goes up, and there are so many of them. */
Test(ledger, tcb_floors_go_up)
{
	char name[TCB_NAME_MAX];

	exists(tcb_floor("x000", 0));
	ok(tcb_floor("x000", 5));
	exists(tcb_floor("x000", 5));
	exists(tcb_floor("x000", 4));
	for (unsigned i = LEDGER_MAX_TCB_FLOORS - 1; i > 0; i--) {
		(void)snprintf(name, sizeof name, "x%03u", i);
		ok(tcb_floor(name, i));
	}
	unchanged(tcb_floor("y", 1), ERR_LIMIT, REASON_NONE);
	ok(tcb_floor("x000", 6));
	cr_assert_eq(ledger_tcb_floor(l, "x000"), 6);
	cr_assert_eq(ledger_tcb_floor(l, "y"), 0);
	cr_assert_eq(ledger_n_tcb_floors(l), LEDGER_MAX_TCB_FLOORS);
	cr_assert_eq(ledger_tcb_floor_at(l, 200, name), 200);
	cr_assert_str_eq(name, "x200");
}

/* A counter never goes back, and no value is given twice. */
Test(ledger, counter_moves_from_what_is_expected)
{
	ok(increment(1, "n", 0, 1));
	cr_assert_eq(o.value, 1);
	ok(increment(1, "n", 1, 2));
	cr_assert_eq(o.value, 2);
	for (uint64_t expected = 0; expected < 5; expected++) {
		if (expected == 2)
			continue;
		denied(increment(1, "n", expected, 9), REASON_COUNTER_MISMATCH);
		cr_assert_eq(o.value, 2);
	}
	denied(increment(1, "n", UINT64_MAX, 9), REASON_COUNTER_MISMATCH);
	cr_assert_eq(ledger_counter_get(l, (uint8_t[20]){ 1 }, "n"), 2);
}

/* A counter that was never seen is 0, and expecting else makes none. */
Test(ledger, counter_begins_at_zero)
{
	denied(increment(1, "n", 1, 1), REASON_COUNTER_MISMATCH);
	cr_assert_eq(o.value, 0);
	/* UINT64_MAX + 1 is not 0 here, zeroed operation or not. */
	denied(increment(1, "n", UINT64_MAX, 0), REASON_COUNTER_MISMATCH);
	cr_assert_eq(ledger_n_counters(l), 0);
	cr_assert_eq(ledger_counter_get(l, (uint8_t[20]){ 1 }, "n"), 0);
}

/* The same attempt again has one effect, until another one follows. */
Test(ledger, counter_retry_has_one_effect)
{
	ok(increment(1, "n", 0, 1));
	for (int i = 0; i < 3; i++) {
		unchanged(increment(1, "n", 0, 1), ERR_OK, REASON_NONE);
		cr_assert_eq(o.value, 1);
	}
	denied(increment(1, "n", 0, 2), REASON_COUNTER_MISMATCH);
	ok(increment(1, "n", 1, 2));
	denied(increment(1, "n", 0, 1), REASON_COUNTER_MISMATCH);
	cr_assert_eq(o.value, 2);
}

/* An operation's name may come again: the expectation tells them apart. */
Test(ledger, counter_operation_again)
{
	ok(increment(1, "n", 0, 1));
	ok(increment(1, "n", 1, 1));
	cr_assert_eq(o.value, 2);
	unchanged(increment(1, "n", 1, 1), ERR_OK, REASON_NONE);
	denied(increment(1, "n", 0, 1), REASON_COUNTER_MISMATCH);
}

/* Apps do not share counters, whatever their names. */
Test(ledger, counters_are_per_app)
{
	ok(increment(1, "n", 0, 1));
	ok(increment(1, "n", 1, 2));
	ok(increment(2, "n", 0, 1));
	cr_assert_eq(o.value, 1);
	ok(increment(1, "m", 0, 1));
	ok(increment(1, "nn", 0, 1));
	cr_assert_eq(ledger_counter_get(l, (uint8_t[20]){ 1 }, "n"), 2);
	cr_assert_eq(ledger_counter_get(l, (uint8_t[20]){ 2 }, "n"), 1);
	cr_assert_eq(ledger_counter_get(l, (uint8_t[20]){ 3 }, "n"), 0);
	cr_assert_eq(ledger_n_counters_app(l, (uint8_t[20]){ 1 }), 3);
	cr_assert_eq(ledger_n_counters_app(l, (uint8_t[20]){ 2 }), 1);
	cr_assert_eq(ledger_n_counters_app(l, (uint8_t[20]){ 3 }), 0);
	cr_assert_eq(ledger_n_counters(l), 4);
}

static uint64_t
millis(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* Fills the ledger with `n` counters of every app from `app` on. */
static void
fill_counters(unsigned app, unsigned n_apps, unsigned n)
{
	char name[COUNTER_NAME_MAX];

	for (unsigned i = 0; i < n_apps * n; i++) {
		struct command c;

		(void)snprintf(name, sizeof name, "%064u", i / n_apps * 7 % n);
		c = increment((uint8_t)(app + i % n_apps), name, 0, 1);
		ok(c);
	}
}

/* An app has its share of counters, and all of them have a bound; those
 * that are there still move. */
Test(ledger, counters_are_bounded)
{
	struct ledger *copy;
	struct buf b = { 0 };
	uint64_t start;

	fill_counters(0, 1, LEDGER_MAX_COUNTERS_APP);
	unchanged(increment(0, "x", 0, 1), ERR_LIMIT, REASON_NONE);
	cr_assert_eq(o.value, 0);
	ok(increment(1, "x", 0, 1));
	ledger_free(l);
	cr_assert_eq(ledger_new(&l), ERR_OK);
	start = millis();
	fill_counters(0, LEDGER_MAX_COUNTERS / LEDGER_MAX_COUNTERS_APP,
	    LEDGER_MAX_COUNTERS_APP);
	cr_log_info("filled in %zu ms", (size_t)(millis() - start));
	cr_assert_eq(ledger_n_counters(l), LEDGER_MAX_COUNTERS);
	/* No app is left that has none: two differ in another byte. */
	struct command c = increment(0, "x", 0, 1);
	c.u.increment.app_id[19] = 1;
	unchanged(c, ERR_LIMIT, REASON_NONE);
	c = increment(200, "", 1, 2);
	(void)snprintf(c.u.increment.name, COUNTER_NAME_MAX, "%064u", 9);
	ok(c);
	cr_assert_eq(o.value, 2);
	start = millis();
	cr_assert_eq(ledger_snapshot(l, &b), ERR_OK);
	cr_log_info(
	    "%zu bytes written in %zu ms", b.len, (size_t)(millis() - start));
	cr_assert_eq(ledger_new(&copy), ERR_OK);
	start = millis();
	cr_assert_eq(ledger_restore(copy, buf_view(&b)), ERR_OK);
	cr_log_info("read in %zu ms", (size_t)(millis() - start));
	cr_assert_eq(ledger_n_counters(copy), LEDGER_MAX_COUNTERS);
	ledger_free(copy);
	buf_fini(&b);
}

/* The last value of a counter is its end; it does not wrap. */
Test(ledger, counter_ends)
{
	static const uint8_t one[9] = { 'n', 0, 0, 0, 0, 0, 0, 0, 1 };
	struct buf b = { 0 };
	uint8_t *p;

	ok(increment(1, "n", 0, 1));
	cr_assert_eq(ledger_snapshot(l, &b), ERR_OK);
	p = memmem(b.p, b.len, one, sizeof one);
	cr_assert_not_null(p);
	memset(p + 1, 0xff, 8);
	cr_assert_eq(ledger_restore(l, buf_view(&b)), ERR_OK);
	unchanged(increment(1, "n", UINT64_MAX, 2), ERR_LIMIT, REASON_NONE);
	cr_assert_eq(o.value, UINT64_MAX);
	denied(increment(1, "n", 0, 1), REASON_COUNTER_MISMATCH);
	unchanged(increment(1, "n", UINT64_MAX - 1, 1), ERR_OK, REASON_NONE);
	buf_fini(&b);
}

/* head' = SHA-256(head || index u64be || length u32be || command) */
static void
chain(uint8_t head[static 32], const struct ledger_audit *a)
{
	uint8_t in[32 + 12 + COMMAND_MAX];

	memcpy(in, head, 32);
	for (int i = 0; i < 8; i++)
		in[32 + i] = (uint8_t)(a->index >> (56 - 8 * i));
	for (int i = 0; i < 4; i++)
		in[40 + i] = (uint8_t)(a->command.len >> (24 - 8 * i));
	memcpy(in + 44, a->command.p, a->command.len);
	sha256(head, in, 44 + a->command.len);
}

/* What auditors need is recorded, in order, and nothing that failed. */
Test(ledger, audit_log)
{
	static const enum command_kind want[] = { COMMAND_GENERATION,
		COMMAND_MEMBER, COMMAND_EPOCH, COMMAND_HANDOVER, COMMAND_LEFT,
		COMMAND_ANCHORED, COMMAND_EPOCH_STATE };
	uint8_t head[32] = { 0 }, got[32];
	struct ledger_audit a;

	cr_assert_eq(ledger_audit_count(l), 0);
	cr_assert_eq(ledger_audit_first(l), 1);
	cr_assert(!ledger_audit_get(l, 0, &a));
	cr_assert(!ledger_audit_get(l, 1, &a));
	ok(generation(1));
	ok(member("a", 1));
	exists(member("a", 1));
	ok(increment(1, "n", 0, 1));
	ok(block_floor(1, 1));
	ok(tcb_floor("t", 1));
	ok(epoch(0, 0));
	denied(epoch(0, 1), REASON_ROOT_MISMATCH);
	ok(handover(0, "a", 1));
	ok(left("a", 1));
	ok(anchored(1, 9, 1));
	ok(follows(0, LEDGER_EPOCH_TAINTED));
	exists(follows(0, LEDGER_EPOCH_TAINTED));
	cr_assert_eq(ledger_audit_count(l), sizeof want / sizeof want[0]);
	for (uint64_t n = 1; n <= ledger_audit_count(l); n++) {
		struct command c;

		cr_assert(ledger_audit_get(l, n, &a));
		cr_assert_eq(a.number, n);
		cr_assert_eq(command_parse(&c, a.command), ERR_OK);
		cr_assert_eq(c.kind, want[n - 1]);
		chain(head, &a);
	}
	cr_assert_eq(a.index, 12);
	ledger_audit_head(l, got);
	cr_assert_arr_eq(head, got, 32);
}

/* The oldest entries go, their number and the chain stay, also across a
 * snapshot. */
Test(ledger, audit_ring)
{
	uint8_t head[32] = { 0 }, got[32], digest[2][32];
	unsigned n = 2 * LEDGER_AUDIT_MAX + 5;
	struct ledger *copy;
	struct ledger_audit a;
	struct buf b = { 0 };

	for (unsigned i = 1; i <= n; i++) {
		ok(generation(i));
		cr_assert(ledger_audit_get(l, i, &a));
		chain(head, &a);
	}
	cr_assert_eq(ledger_audit_count(l), n);
	cr_assert_eq(ledger_audit_first(l), n - LEDGER_AUDIT_MAX + 1);
	cr_assert(!ledger_audit_get(l, n - LEDGER_AUDIT_MAX, &a));
	cr_assert(!ledger_audit_get(l, n + 1, &a));
	cr_assert_eq(ledger_snapshot(l, &b), ERR_OK);
	cr_assert_eq(ledger_new(&copy), ERR_OK);
	cr_assert_eq(ledger_restore(copy, buf_view(&b)), ERR_OK);
	ledger_audit_head(copy, got);
	cr_assert_arr_eq(head, got, 32);
	for (unsigned i = n + 1; i <= n + 9; i++) {
		cr_assert_eq(apply_to(copy, generation(i)), ERR_OK);
		ok(generation(i));
	}
	cr_assert_eq(ledger_digest(l, digest[0]), ERR_OK);
	cr_assert_eq(ledger_digest(copy, digest[1]), ERR_OK);
	cr_assert_arr_eq(digest[0], digest[1], 32);
	cr_assert(ledger_audit_get(copy, n - LEDGER_AUDIT_MAX + 10, &a));
	cr_assert_eq(a.index, n - LEDGER_AUDIT_MAX + 10);
	ledger_free(copy);
	buf_fini(&b);
}

/* A state with something of everything. */
static void
some_of_all(void)
{
	ok(generation(1));
	ok(member("b", 1));
	ok(member("a", 2));
	ok(epoch(0, 0));
	ok(anchored(1, 4, 7));
	ok(left("b", 1));
	ok(member("b", 3));
	ok(epoch(1, 1));
	ok(handover(1, "b", 3));
	ok(follows(0, LEDGER_EPOCH_TAINTED));
	ok(block_floor(9, 9));
	ok(tcb_floor("y", 3));
	ok(tcb_floor("x", 4));
	ok(increment(1, "n", 0, 1));
	ok(increment(1, "m", 0, 1));
	ok(increment(0, "z", 0, 1));
}

static struct buf
snapshot(void)
{
	struct buf b = { 0 };

	cr_assert_eq(ledger_snapshot(l, &b), ERR_OK);
	return b;
}

/* A refused snapshot leaves the ledger as it was. */
static void
not_restored(const uint8_t *p, size_t len, const char *what, size_t at)
{
	uint8_t before[32], after[32];

	cr_assert_eq(ledger_digest(l, before), ERR_OK);
	cr_assert_eq(ledger_restore(l, (struct bytes){ p, len }), ERR_MALFORMED,
	    "%s %zu", what, at);
	cr_assert_eq(ledger_digest(l, after), ERR_OK);
	cr_assert_arr_eq(before, after, 32);
}

/* No shorter or longer snapshot is one. */
Test(ledger, snapshot_length_counts)
{
	struct buf b;

	some_of_all();
	b = snapshot();
	for (size_t n = 0; n <= b.len + 1; n++)
		if (n != b.len)
			not_restored(b.p, n, "length", n);
	buf_fini(&b);
}

/* Every flipped bit is refused, or is another state with these bytes. */
Test(ledger, snapshot_is_canonical)
{
	struct ledger *copy;
	struct buf b, again = { 0 };
	unsigned accepted = 0;

	some_of_all();
	b = snapshot();
	cr_assert_eq(ledger_new(&copy), ERR_OK);
	for (size_t i = 0; i < 8 * b.len; i++) {
		b.p[i / 8] ^= (uint8_t)(1u << i % 8);
		if (ledger_restore(copy, buf_view(&b)) == ERR_OK) {
			again.len = 0;
			cr_assert_eq(ledger_snapshot(copy, &again), ERR_OK);
			cr_assert_eq(again.len, b.len);
			cr_assert_arr_eq(again.p, b.p, b.len, "bit %zu", i);
			accepted++;
		}
		b.p[i / 8] ^= (uint8_t)(1u << i % 8);
	}
	cr_assert_gt(accepted, 0);
	ledger_free(copy);
	buf_fini(&again);
	buf_fini(&b);
}

static void
put64(uint8_t *p, uint64_t v)
{
	for (int i = 0; i < 8; i++)
		p[i] = (uint8_t)(v >> (56 - 8 * i));
}

/* Numbers that no sequence of commands could have led to are refused. */
Test(ledger, snapshot_numbers_agree)
{
	static const struct {
		size_t at;
		uint64_t v;
	} bad[] = {
		{ 3, 7 }, /* the index: below that of epoch 1 */
		{ 115, 9 }, /* hand-overs: more than the audit log */
		{ 11, 0 }, /* the generation: below the anchor's */
		{ 11, 17 }, /* ... above the index */
		{ 19, 0 }, /* the anchor's: none, yet an index */
		{ 19, 2 }, /* ... above the log's */
		{ 27, 5 }, /* the anchor's index: above what is effective */
		{ 27, 3 }, /* ... below, in the first generation */
		{ 67, 3 }, /* effective: below the anchor */
		{ 67, 16 }, /* ... and not below the index */
		{ 75, 0 }, /* the floor: none, yet a hash */
	};
	struct buf b;
	uint8_t old[8], *p;

	some_of_all();
	b = snapshot();
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		memcpy(old, b.p + bad[i].at, 8);
		put64(b.p + bad[i].at, bad[i].v);
		not_restored(b.p, b.len, "number", i);
		memcpy(b.p + bad[i].at, old, 8);
	}
	p = memmem(b.p, b.len, "\1n\0\0\0\0\0\0\0\1", 10);
	cr_assert_not_null(p);
	put64(p + 2, 0); /* a counter that was never incremented */
	not_restored(b.p, b.len, "counter", 0);
	buf_fini(&b);
}

/* A slot's numbers agree with each other and with the audit log. */
Test(ledger, snapshot_members_agree)
{
	static const struct {
		size_t at; /* behind the slot's name, "b" */
		uint64_t v;
	} bad[] = {
		{ 98, 0 }, /* since no entry */
		{ 98, 17 }, /* ... or one behind the last */
		{ 98, 3 }, /* ... or the entry of slot "a" */
		{ 106, 0 }, /* no life */
		{ 106, 5 }, /* more lives than entries */
		{ 106, 3 }, /* more lives than the audit log */
	};
	struct buf b;
	uint8_t old[8], *p;

	some_of_all();
	b = snapshot();
	p = memmem(b.p, b.len, "\1b\3", 3);
	cr_assert_not_null(p);
	p += 2;
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		memcpy(old, p + bad[i].at, 8);
		put64(p + bad[i].at, bad[i].v);
		not_restored(b.p, b.len, "member", i);
		memcpy(p + bad[i].at, old, 8);
	}
	p[96] = 2; /* present: neither no nor yes */
	not_restored(b.p, b.len, "present", 0);
	p[96] = 1;
	p[97] = 3; /* held: none of the three */
	not_restored(b.p, b.len, "held", 0);
	p[96] = 0;
	p[97] = 2; /* held by who left */
	not_restored(b.p, b.len, "held", 1);
	p[96] = 1;
	p[97] = 0;
	p[0] = 2; /* the life that holds slot "a" */
	not_restored(b.p, b.len, "incarnation", 0);
	buf_fini(&b);
}

/* The audit entries are part of what is checked. */
Test(ledger, snapshot_audit_is_checked)
{
	struct buf b;
	struct ledger_audit a;
	uint8_t *p;

	some_of_all();
	b = snapshot();
	cr_assert(ledger_audit_get(l, 3, &a));
	p = memmem(b.p, b.len, a.command.p, a.command.len);
	cr_assert_not_null(p);
	p[11] ^= 1; /* its time */
	not_restored(b.p, b.len, "entry", 0);
	p[11] ^= 1;
	p[-3] ^= 1; /* its index */
	not_restored(b.p, b.len, "index", 0);
	p[-3] ^= 1;
	b.p[b.len - 1] ^= 1; /* the head */
	not_restored(b.p, b.len, "head", 0);
	buf_fini(&b);
}

/* The same content in another order is no snapshot. */
Test(ledger, snapshot_is_sorted)
{
	static const char x[] = "\1x\0\0\0\0\0\0\0\4",
			  y[] = "\1y\0\0\0\0\0\0\0\3";
	struct buf b;
	uint8_t *p;

	some_of_all();
	b = snapshot();
	p = memmem(b.p, b.len, x, 10);
	cr_assert_not_null(p);
	cr_assert_arr_eq(p + 10, y, 10);
	memcpy(p, y, 10);
	memcpy(p + 10, x, 10);
	not_restored(b.p, b.len, "order", 0);
	memcpy(p, x, 10);
	memcpy(p + 10, x, 10);
	not_restored(b.p, b.len, "twice", 0);
	buf_fini(&b);
}

/* What is restored is the same state, and does the same from then on. */
Test(ledger, restored_is_equal)
{
	uint8_t before[32], after[32];
	struct buf b, again;

	some_of_all();
	cr_assert_eq(ledger_digest(l, before), ERR_OK);
	b = snapshot();
	ok(left("b", 3));
	ok(increment(5, "q", 0, 1));
	cr_assert_eq(ledger_restore(l, buf_view(&b)), ERR_OK);
	cr_assert_eq(ledger_digest(l, after), ERR_OK);
	cr_assert_arr_eq(before, after, 32);
	again = snapshot();
	cr_assert_eq(again.len, b.len);
	cr_assert_arr_eq(again.p, b.p, b.len);
	cr_assert_eq(ledger_epoch(l, 0)->state, LEDGER_EPOCH_TAINTED);
	cr_assert_eq(ledger_epoch(l, 1)->state, LEDGER_EPOCH_PREPARED);
	cr_assert_eq(ledger_slot(l, "b")->lives, 2);
	cr_assert_eq(ledger_n_handovers(l), 1);
	cr_assert_eq(ledger_critical_index(l), 8);
	ok(anchored(1, 10, 1));
	cr_assert(ledger_epoch_anchored(l, 1));
	cr_assert_eq(ledger_epoch(l, 1)->state, LEDGER_EPOCH_PREPARED);
	ok(follows(1, LEDGER_EPOCH_ACTIVE));
	cr_assert_eq(ledger_epoch(l, 1)->state, LEDGER_EPOCH_ACTIVE);
	buf_fini(&again);
	buf_fini(&b);
}

static uint64_t seed;

static unsigned
below(unsigned n)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (unsigned)(seed >> 33) % n;
}

/* Of the newest epoch, or one before; of a key that it may have. */
static struct command
any_state(const char *slot, uint8_t v)
{
	uint64_t n = ledger_n_epochs(l) - below(2);
	struct command c = command(COMMAND_EPOCH_STATE);
	struct command h = command(COMMAND_HELD);
	const struct ledger_epoch *e = ledger_epoch(l, n - 1);

	c.u.epoch_state.number = h.u.held.number = n - 1;
	c.u.epoch_state.k256 = h.u.held.k256 =
	    e != NULL ? e->pub.k256 : keys[0].k256;
	c.u.epoch_state.state =
	    LEDGER_EPOCH_ACTIVE + (below(4) == 0 ? below(3) : 0);
	strcpy(h.u.held.slot, slot);
	h.u.held.incarnation[0] = (uint8_t)(2 * v);
	return below(2) == 0 || n == 1 ? c : h;
}

static struct command
any_command(void)
{
	static const char *const name[] = { "a", "b", "c", "dd" };
	const char *s = name[below(4)];
	uint8_t v = (uint8_t)below(3);

	switch (below(12)) {
	case 0:
		return epoch(ledger_n_epochs(l) - below(2), (uint8_t)below(9));
	case 1:
	case 2:
		return member(s, (uint8_t)below(6));
	case 3:
	case 4:
		return left(s, (uint8_t)below(6));
	case 5:
		return handover(below(4), s, (uint8_t)below(6));
	case 6:
		return generation(ledger_generation(l) + below(3));
	case 7:
		return anchored(ledger_generation(l) - below(2),
		    ledger_index(l) - below(4), v);
	case 8:
		return block_floor(below(1000), v);
	case 9:
		return tcb_floor(s, below(100));
	case 10:
		return any_state(s, v);
	default:
		return increment(v, s,
		    ledger_counter_get(l, (uint8_t[20]){ v }, s),
		    (uint8_t)below(4));
	}
}

/* Two ledgers that are fed alike are alike, even if one of them was written
 * and read back in between; numbers that go up never go down. */
Test(ledger, determinism)
{
	for (uint64_t run = 1; run <= 30; run++) {
		struct ledger *twin;
		uint8_t d[2][32];
		unsigned n_ok = 0;

		teardown();
		cr_assert_eq(ledger_new(&l), ERR_OK);
		cr_assert_eq(ledger_new(&twin), ERR_OK);
		seed = run;
		for (int i = 0; i < 300; i++) {
			struct command c = any_command();
			struct ledger_outcome mine;
			uint64_t critical = ledger_critical_index(l);

			(void)!apply_to(l, c);
			mine = o;
			(void)!apply_to(twin, c);
			cr_assert_eq(mine.err, o.err, "run %zu", (size_t)run);
			cr_assert_eq(mine.reason, o.reason);
			cr_assert_eq(mine.value, o.value);
			cr_assert_geq(ledger_critical_index(l), critical);
			n_ok += o.err == ERR_OK;
			if (i % 50 == 25) {
				struct buf b = snapshot();

				cr_assert_eq(ledger_restore(twin, buf_view(&b)),
				    ERR_OK, "run %zu step %d", (size_t)run, i);
				buf_fini(&b);
			}
		}
		cr_assert_gt(n_ok, 60);
		cr_assert_eq(ledger_digest(l, d[0]), ERR_OK);
		cr_assert_eq(ledger_digest(twin, d[1]), ERR_OK);
		cr_assert_arr_eq(d[0], d[1], 32, "run %zu", (size_t)run);
		ledger_free(twin);
	}
}
