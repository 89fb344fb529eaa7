/* What the agent holds: renewed when it is old, kept when the KMS is away,
 * forgotten when the KMS says so, moved when the pin has moved. */
#include <string.h>

#include <criterion/criterion.h>

#include "common/base/log.h"
#include "common/base/secret.h"

#include "node/agent/heldkeys.h"

#define REFRESH 10000u

/* A KMS by its outcomes. */
static struct {
	enum err err;
	enum reason why;
	uint64_t pinned, block;
	unsigned asked;
	bool held; /* what it was told last */
	uint64_t number; /* what it was asked for last; 99: the pinned one */
} kms;
static uint64_t now_ms;
static struct heldkeys *k;

static struct app_release
release_of(uint64_t epoch)
{
	struct app_release r = { .epoch = epoch,
		.pinned = kms.pinned,
		.block_number = kms.block,
		.has_registry = true };

	memset(r.k256.b, (int)(epoch + 1), sizeof r.k256.b);
	memset(r.registry, 0x77, sizeof r.registry);
	return r;
}

static enum err
fetch(void *cookie, struct app_release *out, const uint64_t *epoch, bool held,
    struct refusal *why)
{
	(void)cookie;
	kms.asked++;
	kms.held = held;
	kms.number = epoch != NULL ? *epoch : 99;
	if (kms.err == ERR_OK)
		*out = release_of(epoch != NULL ? *epoch : kms.pinned);
	else
		(void)refuse(why, kms.why, "as the test says");
	return kms.err;
}

static uint64_t
now(void)
{
	return now_ms;
}

static void
begin(unsigned refresh_ms)
{
	const struct heldkeys_options o = {
		.fetch = fetch, .now_ms = now, .refresh_ms = refresh_ms
	};
	struct app_release r;

	cr_assert_eq(secret_process_init(), ERR_OK);
	log_set_level(LOG_ERROR);
	memset(&kms, 0, sizeof kms);
	kms.block = 100;
	now_ms = 1000000;
	r = release_of(0);
	cr_assert_eq(heldkeys_new(&k, &o, &r), ERR_OK);
}

static void
setup(void)
{
	begin(REFRESH);
}

static void
teardown(void)
{
	heldkeys_free(k);
	heldkeys_free(NULL);
}

TestSuite(agent_keys, .init = setup, .fini = teardown);

static const uint64_t zero = 0, one = 1, two = 2;

/* `epoch` NULL: by default. */
static void
gives(const uint64_t *epoch, uint64_t want)
{
	struct app_release r = { .epoch = 77 };
	struct refusal why = { .code = REASON_NONE };

	cr_assert_eq(heldkeys_get(k, &r, epoch, &why), ERR_OK, "%s",
	    reason_label(why.code));
	cr_assert_eq(r.epoch, want);
	cr_assert_eq(r.k256.b[31], (uint8_t)(want + 1));
	cr_assert_eq(why.code, REASON_NONE);
}

static void
fails(const uint64_t *epoch, enum err want, enum reason code)
{
	struct app_release r = { .epoch = 77 };
	struct refusal why = { .code = REASON_NONE };

	cr_assert_eq(heldkeys_get(k, &r, epoch, &why), want);
	cr_assert_eq(why.code, code, "%s", reason_label(why.code));
	cr_assert_eq(r.epoch, 77, "output touched");
	cr_assert_eq(heldkeys_get(k, &r, epoch, NULL), want);
}

static void
kms_fails(enum err e, enum reason code)
{
	kms.err = e;
	kms.why = code;
}

static uint64_t
pinned(void)
{
	struct heldkeys_pin p;

	heldkeys_pin(k, &p);
	cr_assert(p.has_registry);
	cr_assert_eq(p.registry[0], 0x77);
	return p.epoch;
}

static bool
held(void)
{
	struct heldkeys_pin p;

	heldkeys_pin(k, &p);
	return p.held;
}

/* Nothing is asked again before its time, and then once. */
Test(agent_keys, renewed_in_time)
{
	now_ms += REFRESH - 1;
	gives(NULL, 0);
	gives(&zero, 0);
	cr_assert_eq(kms.asked, 0);
	now_ms++;
	gives(NULL, 0);
	cr_assert_eq(kms.asked, 1);
	cr_assert_eq(kms.number, 99);
	cr_assert(kms.held);
	gives(NULL, 0);
	gives(&zero, 0);
	cr_assert_eq(kms.asked, 1);
	/* By number it has a time of its own. */
	gives(&one, 1);
	cr_assert_eq(kms.asked, 2);
	cr_assert(!kms.held);
	now_ms += REFRESH;
	gives(&one, 1);
	cr_assert_eq(kms.asked, 3);
	cr_assert_eq(kms.number, 1);
	cr_assert(kms.held);
}

/* The pin moves on chain: new keys at the next fetch, the old by number. */
Test(agent_keys, pin_moves)
{
	kms.pinned = 1;
	kms.block = 101;
	gives(NULL, 0);
	now_ms += REFRESH;
	gives(NULL, 1);
	gives(NULL, 1);
	cr_assert_eq(pinned(), 1);
	gives(&zero, 0);
	gives(&one, 1);
	now_ms += REFRESH;
	gives(&zero, 0);
	gives(NULL, 1);
	/* And back, by its owner. */
	kms.pinned = 0;
	kms.block = 102;
	now_ms += REFRESH;
	gives(NULL, 0);
	gives(&one, 1);
}

/* A node that is behind does not move it back. */
Test(agent_keys, older_block)
{
	kms.pinned = 1;
	kms.block = 101;
	now_ms += REFRESH;
	gives(NULL, 1);
	kms.pinned = 0;
	kms.block = 100;
	now_ms += REFRESH;
	gives(NULL, 1);
	cr_assert_eq(pinned(), 1);
	kms.block = 101;
	now_ms += REFRESH;
	gives(NULL, 0);
}

/* An app does not die with the KMS; and not every call waits for it. */
Test(agent_keys, kms_away)
{
	static const enum err away[] = { ERR_TIMEOUT, ERR_AGAIN, ERR_IO,
		ERR_NOMEM };

	gives(&one, 1);
	for (size_t i = 0; i < 4; i++) {
		unsigned before = kms.asked;

		kms_fails(away[i], REASON_TIMEOUT);
		now_ms += REFRESH;
		gives(NULL, 0);
		cr_assert_eq(kms.asked, before + 1);
		cr_assert(kms.held);
		gives(NULL, 0);
		gives(&one, 1);
		cr_assert_eq(kms.asked, before + 2);
		now_ms += REFRESH - 1;
		gives(NULL, 0);
		cr_assert_eq(kms.asked, before + 2);
	}
	/* What is not held cannot be had. */
	fails(&two, ERR_NOMEM, REASON_TIMEOUT);
	cr_assert(!kms.held);
	kms_fails(ERR_OK, REASON_NONE);
	kms.pinned = 1;
	now_ms += REFRESH;
	gives(NULL, 1);
}

/* An app that is no longer allowed has no keys here either: also when the
 * KMS is away after that, until it releases them again. */
Test(agent_keys, app_denied)
{
	gives(&one, 1);
	now_ms += REFRESH;
	kms_fails(ERR_DENIED, REASON_CONTRACT_COMPOSE);
	fails(NULL, ERR_DENIED, REASON_CONTRACT_COMPOSE);
	fails(&zero, ERR_DENIED, REASON_CONTRACT_COMPOSE);
	fails(&one, ERR_DENIED, REASON_CONTRACT_COMPOSE);
	kms_fails(ERR_TIMEOUT, REASON_TIMEOUT);
	fails(NULL, ERR_TIMEOUT, REASON_TIMEOUT);
	fails(&zero, ERR_TIMEOUT, REASON_TIMEOUT);
	fails(&one, ERR_TIMEOUT, REASON_TIMEOUT);
	cr_assert(!kms.held);
	cr_assert_eq(pinned(), 0);
	cr_assert(!held());
	kms_fails(ERR_OK, REASON_NONE);
	gives(NULL, 0);
	cr_assert(held());
	gives(&one, 1);
}

/* The refusal of one number is told of all. */
Test(agent_keys, app_denied_by_number)
{
	gives(&one, 1);
	now_ms += REFRESH;
	kms_fails(ERR_DENIED, REASON_CONTRACT_APP_UNKNOWN);
	fails(&one, ERR_DENIED, REASON_CONTRACT_APP_UNKNOWN);
	kms_fails(ERR_TIMEOUT, REASON_TIMEOUT);
	fails(NULL, ERR_TIMEOUT, REASON_TIMEOUT);
}

/* The pinned epoch was tainted or destroyed: no keys by default, and others
 * by number as long as the KMS gives them. */
Test(agent_keys, pinned_epoch_closed)
{
	now_ms += REFRESH;
	gives(&one, 1);
	kms_fails(ERR_DENIED, REASON_EPOCH_CLOSED);
	fails(NULL, ERR_DENIED, REASON_EPOCH_CLOSED);
	gives(&one, 1);
	kms_fails(ERR_TIMEOUT, REASON_TIMEOUT);
	fails(NULL, ERR_TIMEOUT, REASON_TIMEOUT);
	/* tainted: by number it may be had */
	kms_fails(ERR_OK, REASON_NONE);
	gives(&zero, 0);
	/* destroyed: not at all */
	now_ms += REFRESH;
	kms_fails(ERR_DENIED, REASON_EPOCH_CLOSED);
	fails(&zero, ERR_DENIED, REASON_EPOCH_CLOSED);
	kms_fails(ERR_TIMEOUT, REASON_TIMEOUT);
	fails(&zero, ERR_TIMEOUT, REASON_TIMEOUT);
	gives(&one, 1);
	/* The owner moves the pin. */
	kms_fails(ERR_OK, REASON_NONE);
	kms.pinned = 1;
	kms.block = 105;
	gives(NULL, 1);
}

/* An answer that does not hold is not replaced by old keys: who moved the pin
 * after an emergency must not go on with the stolen root's. */
Test(agent_keys, answer_does_not_hold)
{
	now_ms += REFRESH;
	kms_fails(ERR_DENIED, REASON_ROOT_MISMATCH);
	fails(NULL, ERR_DENIED, REASON_ROOT_MISMATCH);
	kms_fails(ERR_TIMEOUT, REASON_TIMEOUT);
	fails(NULL, ERR_TIMEOUT, REASON_TIMEOUT);
	gives(&zero, 0); /* by number, which the pinned root vouches for */
}

/* refresh_s 0: every call asks, but for a moment after one that failed. */
Test(agent_keys, at_every_call)
{
	heldkeys_free(k);
	begin(0);
	for (unsigned i = 1; i <= 5; i++) {
		gives(NULL, 0);
		cr_assert_eq(kms.asked, i);
	}
	kms.pinned = 1;
	gives(NULL, 1);
	gives(&zero, 0);
	gives(&zero, 0);
	cr_assert_eq(kms.asked, 8);
	kms_fails(ERR_TIMEOUT, REASON_TIMEOUT);
	gives(NULL, 1);
	gives(NULL, 1);
	cr_assert_eq(kms.asked, 9);
	now_ms += 1000;
	gives(NULL, 1);
	cr_assert_eq(kms.asked, 10);
	kms_fails(ERR_DENIED, REASON_CONTRACT_DEVICE);
	now_ms += 1000;
	fails(NULL, ERR_DENIED, REASON_CONTRACT_DEVICE);
}

/* A few are held: the own one always, and those asked for last. */
Test(agent_keys, room)
{
	kms.pinned = 1000;
	now_ms += REFRESH;
	gives(NULL, 1000);
	for (uint64_t i = 0; i < 20; i++) {
		unsigned before = kms.asked;

		now_ms++;
		gives(&i, i);
		gives(&i, i);
		cr_assert_eq(kms.asked, before + 1);
		gives(NULL, 1000);
	}
	kms.asked = 0;
	for (uint64_t i = 13; i < 20; i++)
		gives(&i, i);
	gives(NULL, 1000);
	cr_assert_eq(kms.asked, 0);
	gives(&two, 2);
	cr_assert_eq(kms.asked, 1);
}
