/* The life of an epoch in the ledger: refusals first. */
#include <stdio.h>
#include <string.h>

#include <criterion/criterion.h>
#include <sodium.h>

#include "kms/state/ledger.h"

#define N_KEYS 6

static struct ledger *l;
static struct ledger_outcome o;
static struct epoch_public keys[N_KEYS];

static enum err
apply(struct command c)
{
	struct buf b = { 0 };

	cr_assert_eq(command_write(&b, &c), ERR_OK);
	cr_assert_eq(
	    ledger_apply(l, &o, ledger_index(l) + 1, buf_view(&b)), ERR_OK);
	buf_fini(&b);
	return o.err;
}

static void
ok(struct command c)
{
	cr_assert_eq(apply(c), ERR_OK, "%s at %zu: %s",
	    command_kind_text(c.kind), (size_t)ledger_index(l),
	    reason_label(o.reason));
}

/* Whatever is not done changes nothing but the index. */
static void
refused(struct command c, enum err want, enum reason why)
{
	struct buf b[2] = { 0 };

	cr_assert_eq(ledger_snapshot(l, &b[0]), ERR_OK);
	cr_assert_eq(apply(c), want, "%s at %zu: %s", command_kind_text(c.kind),
	    (size_t)ledger_index(l), err_text(o.err));
	cr_assert_eq(o.reason, why, "%s", reason_label(o.reason));
	cr_assert_eq(ledger_snapshot(l, &b[1]), ERR_OK);
	cr_assert_eq(b[0].len, b[1].len);
	cr_assert_arr_eq(b[0].p + 11, b[1].p + 11, b[0].len - 11);
	buf_fini(&b[0]);
	buf_fini(&b[1]);
}

static void
denied(struct command c, enum reason why)
{
	refused(c, ERR_DENIED, why);
}

static void
exists(struct command c)
{
	refused(c, ERR_EXISTS, REASON_NONE);
}

static struct command
epoch(uint64_t number, uint8_t key, uint64_t order, uint64_t vetoes,
    uint64_t attempt)
{
	struct command c = { .kind = COMMAND_EPOCH };

	c.u.epoch.pub = keys[key];
	c.u.epoch.pub.number = number;
	c.u.epoch.has_certificate = number != 0;
	c.u.epoch.origin = (struct epoch_origin){ order, vetoes, attempt };
	c.u.epoch.wrapped[0] = (uint8_t)(key + 1);
	return c;
}

static struct command
state(uint64_t number, uint8_t key, enum ledger_epoch_state to)
{
	struct command c = { .kind = COMMAND_EPOCH_STATE };

	c.u.epoch_state.number = number;
	c.u.epoch_state.k256 = keys[key].k256;
	c.u.epoch_state.state = to;
	return c;
}

static struct command
held(uint64_t number, uint8_t key, const char *slot, uint8_t incarnation)
{
	struct command c = { .kind = COMMAND_HELD };

	c.u.held.number = number;
	c.u.held.k256 = keys[key].k256;
	strcpy(c.u.held.slot, slot);
	c.u.held.incarnation[0] = incarnation;
	return c;
}

static struct command
member(const char *slot, uint8_t incarnation)
{
	struct command c = { .kind = COMMAND_MEMBER };

	strcpy(c.u.member.slot, slot);
	c.u.member.incarnation[0] = incarnation;
	return c;
}

static struct command
left(const char *slot, uint8_t incarnation)
{
	struct command c = { .kind = COMMAND_LEFT };

	strcpy(c.u.left.slot, slot);
	c.u.left.incarnation[0] = incarnation;
	c.u.left.why = LEFT_REPLACED;
	return c;
}

static struct command
handover(uint64_t number, const char *slot, uint8_t incarnation)
{
	struct command c = { .kind = COMMAND_HANDOVER };

	c.u.handover.epoch = number;
	strcpy(c.u.handover.to.slot, slot);
	c.u.handover.to.incarnation[0] = incarnation;
	return c;
}

static void
anchor(void)
{
	struct command c = { .kind = COMMAND_ANCHORED };

	c.u.anchored.generation = ledger_generation(l);
	c.u.anchored.index = ledger_index(l);
	ok(c);
}

/* Generation 1, epoch 0 in use, members a, b, c of incarnations 1, 2, 3. */
static void
setup(void)
{
	struct command g = { .kind = COMMAND_GENERATION };

	cr_assert(sodium_init() >= 0);
	cr_assert_eq(ledger_new(&l), ERR_OK);
	for (uint8_t i = 0; i < N_KEYS; i++) {
		struct k256_secret k = { .b = { [31] = (uint8_t)(i + 1) } };
		struct p256_secret p = { .b = { [31] = (uint8_t)(i + 1) } };

		cr_assert_eq(k256_pubkey(&keys[i].k256, &k), ERR_OK);
		cr_assert_eq(p256_pubkey(&keys[i].ca, &p), ERR_OK);
	}
	g.u.generation.generation = 1;
	strcpy(g.u.generation.slot, "a");
	ok(g);
	ok(member("a", 1));
	ok(member("b", 2));
	ok(member("c", 3));
	ok(epoch(0, 0, 0, 0, 0));
	anchor();
}

static void
teardown(void)
{
	ledger_free(l);
}

TestSuite(ledger_epoch, .init = setup, .fini = teardown);

/* An epoch that is not in use has no successor, and an epoch in use stays. */
Test(ledger_epoch, one_after_the_other)
{
	denied(epoch(2, 1, 1, 0, 0), REASON_EPOCH_UNKNOWN);
	ok(epoch(1, 1, 1, 0, 0));
	denied(epoch(2, 2, 2, 0, 0), REASON_EPOCH_CLOSED);
	anchor();
	denied(epoch(2, 2, 2, 0, 0), REASON_EPOCH_CLOSED);
	ok(state(1, 1, LEDGER_EPOCH_ACTIVE));
	denied(epoch(1, 2, 9, 9, 9), REASON_ROOT_MISMATCH);
	denied(epoch(0, 2, 0, 0, 0), REASON_ROOT_MISMATCH);
	ok(epoch(2, 2, 2, 0, 0));
	denied(epoch(1, 3, 9, 9, 9), REASON_ROOT_MISMATCH);
	ok(state(1, 1, LEDGER_EPOCH_TAINTED));
	anchor();
	ok(state(2, 2, LEDGER_EPOCH_ACTIVE));
	ok(state(2, 2, LEDGER_EPOCH_TAINTED));
	denied(epoch(3, 3, 3, 0, 0), REASON_EPOCH_CLOSED);
}

/* Roots that are not in use give way to those of a later order, or of more
 * vetoes, and to nothing older or equal. */
Test(ledger_epoch, later_roots_replace)
{
	struct command c = epoch(1, 1, 5, 2, 1);

	ok(c);
	exists(c);
	c.u.epoch.mode = 1;
	denied(c, REASON_ROOT_MISMATCH);
	denied(epoch(1, 2, 5, 2, 1), REASON_ROOT_MISMATCH);
	denied(epoch(1, 2, 5, 2, 0), REASON_ROOT_MISMATCH);
	denied(epoch(1, 2, 5, 1, 9), REASON_ROOT_MISMATCH);
	denied(epoch(1, 2, 4, 9, 9), REASON_ROOT_MISMATCH);
	ok(epoch(1, 2, 5, 3, 0));
	cr_assert_eq(ledger_n_epochs(l), 2);
	cr_assert_eq(ledger_epoch(l, 1)->pub.k256.b[1], keys[2].k256.b[1]);
	anchor();
	cr_assert(ledger_epoch_anchored(l, 1));
	ok(epoch(1, 3, 6, 0, 0));
	/* What is anchored is the other one. */
	cr_assert(!ledger_epoch_anchored(l, 1));
	cr_assert_eq(ledger_critical_index(l), ledger_index(l));
	denied(state(1, 3, LEDGER_EPOCH_ACTIVE), REASON_NOT_READY);
	denied(state(1, 2, LEDGER_EPOCH_ACTIVE), REASON_ROOT_MISMATCH);
}

/* For the very same order other roots may come only if no majority ever had
 * the key on its disks: those may have been published. */
Test(ledger_epoch, what_a_majority_held_stays)
{
	ok(epoch(1, 1, 1, 0, 0));
	ok(held(1, 1, "a", 1));
	cr_assert(ledger_epoch_never_held(l));
	ok(epoch(1, 2, 1, 0, 1));
	ok(held(1, 2, "a", 1));
	ok(held(1, 2, "b", 2));
	cr_assert(!ledger_epoch_never_held(l));
	denied(epoch(1, 3, 1, 0, 2), REASON_ROOT_MISMATCH);
	/* ... also when they are all gone. */
	ok(left("a", 1));
	ok(left("b", 2));
	ok(member("a", 4));
	ok(member("b", 5));
	denied(epoch(1, 3, 1, 0, 2), REASON_ROOT_MISMATCH);
	/* A former life of the same slot does not count twice. */
	ok(epoch(1, 3, 1, 1, 0));
	ok(held(1, 3, "a", 4));
	ok(left("a", 4));
	ok(member("a", 6));
	ok(held(1, 3, "a", 6));
	ok(epoch(1, 4, 1, 1, 1));
}

/* Who says that he holds a key is the slot's holder now, and means this
 * very key. */
Test(ledger_epoch, holders)
{
	denied(held(1, 1, "a", 1), REASON_EPOCH_UNKNOWN);
	ok(epoch(1, 1, 1, 0, 0));
	denied(held(1, 2, "a", 1), REASON_ROOT_MISMATCH);
	denied(held(1, 1, "a", 2), REASON_NOT_MEMBER);
	denied(held(1, 1, "d", 1), REASON_NOT_MEMBER);
	denied(held(2, 1, "a", 1), REASON_EPOCH_UNKNOWN);
	ok(held(1, 1, "a", 1));
	exists(held(1, 1, "a", 1));
	cr_assert_eq(ledger_slot(l, "a")->held, LEDGER_HELD);
	cr_assert_eq(ledger_slot(l, "b")->held, LEDGER_HELD_NOT);
	ok(left("a", 1));
	cr_assert_eq(ledger_slot(l, "a")->held, LEDGER_HELD_BEFORE);
	denied(held(1, 1, "a", 1), REASON_NOT_MEMBER);
	ok(member("a", 4));
	cr_assert_eq(ledger_slot(l, "a")->held, LEDGER_HELD_BEFORE);
	denied(held(1, 1, "a", 1), REASON_NOT_MEMBER);
	ok(held(1, 1, "a", 4));
	/* Of other roots nobody has said anything. */
	ok(epoch(1, 2, 2, 0, 0));
	cr_assert_eq(ledger_slot(l, "a")->held, LEDGER_HELD_NOT);
	denied(held(1, 1, "b", 2), REASON_ROOT_MISMATCH);
	anchor();
	ok(state(1, 2, LEDGER_EPOCH_ACTIVE));
	denied(held(1, 2, "b", 2), REASON_EPOCH_CLOSED);
}

/* The state follows the registry: forward only, and only of a root that is
 * anchored, and of no other. */
Test(ledger_epoch, states_go_forward)
{
	static const uint8_t zero[WRAPPED_ROOTS_LEN];

	denied(state(1, 1, LEDGER_EPOCH_ACTIVE), REASON_EPOCH_UNKNOWN);
	exists(state(0, 0, LEDGER_EPOCH_ACTIVE));
	denied(state(0, 1, LEDGER_EPOCH_TAINTED), REASON_ROOT_MISMATCH);
	ok(epoch(1, 1, 1, 0, 0));
	denied(state(1, 1, LEDGER_EPOCH_ACTIVE), REASON_NOT_READY);
	denied(state(1, 1, LEDGER_EPOCH_DESTROYED), REASON_NOT_READY);
	anchor();
	denied(state(1, 2, LEDGER_EPOCH_ACTIVE), REASON_ROOT_MISMATCH);
	ok(state(1, 1, LEDGER_EPOCH_ACTIVE));
	exists(state(1, 1, LEDGER_EPOCH_ACTIVE));
	ok(state(0, 0, LEDGER_EPOCH_TAINTED));
	denied(state(0, 0, LEDGER_EPOCH_ACTIVE), REASON_ROLLBACK);
	ok(state(0, 0, LEDGER_EPOCH_DESTROYED));
	denied(state(0, 0, LEDGER_EPOCH_TAINTED), REASON_ROLLBACK);
	exists(state(0, 0, LEDGER_EPOCH_DESTROYED));
	cr_assert_arr_eq(ledger_epoch(l, 0)->wrapped, zero, sizeof zero);
	/* What was destroyed does not come back by its own command. */
	exists(epoch(0, 0, 0, 0, 0));
	cr_assert_arr_eq(ledger_epoch(l, 0)->wrapped, zero, sizeof zero);
	denied(epoch(0, 1, 0, 0, 0), REASON_ROOT_MISMATCH);
}

/* A whole life is kept by a snapshot, byte for byte. */
Test(ledger_epoch, snapshot_keeps_it)
{
	struct buf b[2] = { 0 };
	struct ledger *copy;

	ok(epoch(1, 1, 1, 0, 0));
	anchor();
	ok(state(1, 1, LEDGER_EPOCH_ACTIVE));
	ok(state(0, 0, LEDGER_EPOCH_DESTROYED));
	ok(epoch(2, 2, 7, 3, 1));
	ok(held(2, 2, "a", 1));
	ok(held(2, 2, "b", 2));
	ok(left("b", 2));
	anchor();
	cr_assert_eq(ledger_snapshot(l, &b[0]), ERR_OK);
	cr_assert_eq(ledger_new(&copy), ERR_OK);
	cr_assert_eq(ledger_restore(copy, buf_view(&b[0])), ERR_OK);
	cr_assert_eq(ledger_snapshot(copy, &b[1]), ERR_OK);
	cr_assert_eq(b[0].len, b[1].len);
	cr_assert_arr_eq(b[0].p, b[1].p, b[0].len);
	cr_assert_eq(ledger_epoch(copy, 0)->state, LEDGER_EPOCH_DESTROYED);
	cr_assert_eq(ledger_epoch(copy, 1)->state, LEDGER_EPOCH_ACTIVE);
	cr_assert_eq(ledger_epoch(copy, 2)->state, LEDGER_EPOCH_PREPARED);
	cr_assert(ledger_epoch_anchored(copy, 2));
	cr_assert_eq(ledger_epoch(copy, 2)->origin.order, 7);
	cr_assert_eq(ledger_epoch(copy, 2)->origin.vetoes, 3);
	cr_assert_eq(ledger_epoch(copy, 2)->origin.attempt, 1);
	cr_assert_eq(ledger_slot(copy, "a")->held, LEDGER_HELD);
	cr_assert_eq(ledger_slot(copy, "b")->held, LEDGER_HELD_BEFORE);
	ledger_free(copy);
	buf_fini(&b[0]);
	buf_fini(&b[1]);
}

/* Where the state byte of epoch `key` is in a snapshot. */
static uint8_t *
state_byte(const struct buf *b, uint8_t key)
{
	size_t len = 64 + WRAPPED_ROOTS_LEN + 1 + (key > 0 ? 65 + 25 : 0);
	uint8_t *p =
	    memmem(b->p, b->len, keys[key].k256.b, sizeof keys[key].k256.b);

	cr_assert_not_null(p);
	return p + 33 + len;
}

/* States that no sequence of commands leads to are no snapshot. */
Test(ledger_epoch, snapshot_states_agree)
{
	static const struct {
		uint8_t key, state;
	} bad[] = {
		{ 0, 0 },
		{ 0, 5 },
		{ 0, LEDGER_EPOCH_PREPARED }, /* anchored */
		{ 0, LEDGER_EPOCH_DESTROYED }, /* with wrapped roots */
		{ 1, LEDGER_EPOCH_PREPARED }, /* with a successor */
		{ 2, LEDGER_EPOCH_ACTIVE }, /* not anchored */
		{ 2, LEDGER_EPOCH_TAINTED },
	};
	struct buf b = { 0 };

	ok(epoch(1, 1, 1, 0, 0));
	anchor();
	ok(state(1, 1, LEDGER_EPOCH_ACTIVE));
	ok(epoch(2, 2, 2, 0, 0));
	cr_assert_eq(ledger_snapshot(l, &b), ERR_OK);
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		uint8_t *p = state_byte(&b, bad[i].key), was = *p;

		*p = bad[i].state;
		cr_assert_eq(ledger_restore(l, buf_view(&b)), ERR_MALFORMED,
		    "epoch %u state %u", bad[i].key, bad[i].state);
		*p = was;
	}
	cr_assert_eq(ledger_restore(l, buf_view(&b)), ERR_OK);
	buf_fini(&b);
}

/* The i-th hand-over is found, also among thousands of other entries, as long
 * as the log has it; refused ones have no number. */
Test(ledger_epoch, handovers_are_numbered)
{
	struct ledger_audit a;
	struct command c;
	char slot[SLOT_MAX];

	cr_assert(!ledger_handover_get(l, 0, &a, &c));
	denied(handover(1, "a", 1), REASON_EPOCH_UNKNOWN);
	cr_assert_eq(ledger_n_handovers(l), 0);
	ok(handover(0, "a", 1));
	ok(handover(0, "b", 2));
	cr_assert_eq(ledger_n_handovers(l), 2);
	cr_assert(ledger_handover_get(l, 0, &a, &c));
	cr_assert_str_eq(c.u.handover.to.slot, "a");
	cr_assert(ledger_handover_get(l, 1, &a, &c));
	cr_assert_str_eq(c.u.handover.to.slot, "b");
	cr_assert_eq(a.number, ledger_audit_count(l));
	cr_assert(!ledger_handover_get(l, 2, &a, &c));
	for (unsigned i = 0; i < LEDGER_AUDIT_MAX; i++) {
		(void)snprintf(slot, sizeof slot, "%s", i % 2 ? "a" : "b");
		ok(handover(0, slot, (uint8_t)(i % 2 ? 1 : 2)));
	}
	cr_assert(!ledger_handover_get(l, 1, &a, &c));
	cr_assert(ledger_handover_get(l, 2, &a, &c));
	cr_assert_eq(a.number, ledger_audit_first(l));
	cr_assert(ledger_handover_get(l, LEDGER_AUDIT_MAX + 1, &a, &c));
	cr_assert_eq(a.number, ledger_audit_count(l));
}
