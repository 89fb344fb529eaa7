/* States that no RootRegistry can be in, one change at a time, from states that
 * it can be in: each is no answer.  tests/unit/test_registryabi.c has those of
 * a real contract. */
#include <signal.h>
#include <string.h>

#include <criterion/criterion.h>

#include "kms/gate/registryabi.h"
#include "tests/lib/registry_says.h"

static struct registry_state now; /* what is changed */

static const uint8_t kms[20] = { 0xc0 }, anchor[20] = { 0xa2 };

/* Epochs 0 (destroyed), 1 (tainted) and 2. */
static void
used(void)
{
	struct k256_secret s;
	struct k256_pub root;
	uint8_t ca[32] = { 0xca };

	registry_says_new(&now, kms, anchor);
	for (unsigned i = 0; i < 3; i++) {
		k256_generate(&s);
		cr_assert_eq(k256_pubkey(&root, &s), ERR_OK);
		ca[1]++;
		registry_says_epoch(&now, &root, ca, REGISTRY_ROUTINE);
	}
	registry_says_status(&now, 0, REGISTRY_DESTROYED);
	registry_says_status(&now, 1, REGISTRY_TAINTED);
}

/* And one that is ordered. */
static void
ordered(void)
{
	used();
	registry_says_order(&now, REGISTRY_EMERGENCY);
}

/* And published, confirmed by a second vote. */
static void
published(void)
{
	struct registry_epoch *x = &now.epoch[3];
	struct k256_secret s;

	ordered();
	k256_generate(&s);
	cr_assert_eq(k256_pubkey(&x->k256, &s), ERR_OK);
	cr_assert_eq(k256_address(x->signer, &x->k256), ERR_OK);
	x->status = REGISTRY_PUBLISHED;
	memset(x->ca_spki_hash, 0xcb, 32);
	x->order = now.order.number;
	x->published_at = x->held_as_of = now.order.ordered_at + 5000;
	x->holders = 3;
	memset(x->held_seats, 0x5e, 32);
	registry_root_hash(now.order.confirmed, &x->k256, x->ca_spki_hash);
}

/* No genesis yet. */
static void
none(void)
{
	registry_says_new(&now, kms, anchor);
}

static enum err
parse(void)
{
	struct registry_state got, was;
	struct buf b = { 0 };
	enum err e;

	memset(&got, 0x5a, sizeof got);
	was = got;
	registry_says_write(&b, &now);
	e = registryabi_state(&got, buf_view(&b));
	if (e != ERR_OK)
		cr_assert_eq(memcmp(&got, &was, sizeof got), 0);
	buf_fini(&b);
	return e;
}

/* `change` makes of a state that can be one that cannot. */
#define REFUSE(make, change) \
	do { \
		make(); \
		cr_assert_eq(parse(), ERR_OK, "%s", #make); \
		change; \
		cr_assert_eq( \
		    parse(), ERR_MALFORMED, "%s: %s", #make, #change); \
	} while (0)

#define E(i) (now.epoch[i])

/* Where nothing is ordered there is nothing of an order. */
Test(registry_states, no_order)
{
	REFUSE(used, now.order.mode = REGISTRY_EMERGENCY);
	REFUSE(used, now.order.ordered_at = 1);
	REFUSE(used, now.order.not_before = 1);
	REFUSE(used, now.order.retire_after = now.notice_s);
	REFUSE(used, now.order.confirmed[31] = 1);
	REFUSE(used, now.order.number = 1); /* two epochs were ordered */
	REFUSE(used, now.order.number = 0);
}

/* An order is for the next epoch, of a time that can be, and of one mode with
 * what was made for it. */
Test(registry_states, order)
{
	REFUSE(ordered, now.order.epoch = 2);
	REFUSE(ordered, now.order.epoch = 4);
	REFUSE(ordered, now.order.number = 2);
	REFUSE(ordered, now.order.ordered_at = 0);
	REFUSE(ordered, now.order.ordered_at = (uint64_t)INT64_MAX + 1);
	REFUSE(ordered, now.order.ordered_at = E(2).activated_at - 1);
	REFUSE(ordered, now.order.not_before = (uint64_t)1 << 60);
	REFUSE(ordered, now.order.retire_after = now.notice_s - 1);
	REFUSE(ordered, now.order.retire_after = (uint64_t)1 << 60);
	REFUSE(ordered, now.order.mode = REGISTRY_ROUTINE);
	REFUSE(ordered, E(3).mode = REGISTRY_ROUTINE);
	REFUSE(ordered, E(3).number = 2);
	REFUSE(ordered, E(3).status = REGISTRY_NONE);
	REFUSE(ordered, E(3).status = REGISTRY_ACTIVE);
	REFUSE(ordered, E(3).order = 1);
	REFUSE(ordered, E(3).holders = 1);
	REFUSE(ordered, now.n_epochs = 3);
}

/* What is published is by this order, held, and the root of the second vote. */
Test(registry_states, published)
{
	REFUSE(published, now.order.confirmed[5] ^= 1);
	REFUSE(published, E(3).order--);
	REFUSE(published, E(3).order++);
	REFUSE(published, E(3).published_at = now.order.ordered_at - 1);
	REFUSE(published, now.order.not_before = E(3).published_at + 1);
	REFUSE(published, E(3).activated_at = E(3).published_at + 9999);
	REFUSE(published, E(3).tainted_at = E(3).published_at);
	REFUSE(published, E(3).holders = 0);
	REFUSE(published, E(3).held_as_of = 0);
	REFUSE(published, memset(E(3).held_seats, 0, 32));
	REFUSE(published, E(3).held_as_of = now.order.ordered_at - 1);
	REFUSE(published, E(3).published_at += now.holders_age_s + 1);
	REFUSE(published, memset(E(3).ca_spki_hash, 0, 32));
	REFUSE(published, E(3).signer[0] ^= 1);
	REFUSE(published, E(3).k256.b[0] = 4);
	REFUSE(published, E(3).mode = REGISTRY_ROUTINE);
	/* without a second vote there is nothing to compare it with */
	published();
	memset(now.order.confirmed, 0, 32);
	cr_assert_eq(parse(), ERR_OK);
}

/* An epoch that is or was in use came about as the contract lets it. */
Test(registry_states, in_use)
{
	REFUSE(used, E(2).order = 0);
	REFUSE(used, E(2).order = 3);
	REFUSE(used, E(2).order = 1); /* that of the one before */
	REFUSE(used, E(2).published_at = 0);
	REFUSE(used, E(2).published_at = E(1).activated_at - 1);
	REFUSE(used, E(2).activated_at = 0);
	REFUSE(used, E(2).activated_at--);
	REFUSE(used, E(2).activated_at++);
	REFUSE(used, E(2).held_as_of = E(2).activated_at + 1);
	REFUSE(used, E(2).tainted_at = E(2).activated_at);
	REFUSE(used, E(2).retire_at = E(2).activated_at);
	REFUSE(used, E(2).status = REGISTRY_TAINTED);
	REFUSE(used, E(0).order = 1);
	REFUSE(used, E(0).published_at = 1);
	REFUSE(used, E(0).holders = 1);
	REFUSE(used, E(0).mode = REGISTRY_EMERGENCY);
	REFUSE(used, E(0).held_as_of = 1);
	REFUSE(used, E(0).held_seats[0] = 1);
}

/* And ends so. */
Test(registry_states, ended)
{
	REFUSE(used, E(1).tainted_at = 0);
	REFUSE(used, E(1).tainted_at = E(2).activated_at - 1);
	REFUSE(used, E(1).status = REGISTRY_ACTIVE);
	REFUSE(used, E(1).destroyed_at = E(1).tainted_at);
	REFUSE(used, E(1).retire_at = E(2).activated_at + now.notice_s - 1);
	REFUSE(used, E(0).destroyed_at = 0);
	REFUSE(used, E(0).retire_at = 0);
	REFUSE(used, E(0).destroyed_at = E(0).retire_at - 1);
	REFUSE(used, E(0).tainted_at = E(0).destroyed_at + 1);
	REFUSE(used, E(0).status = REGISTRY_TAINTED);
}

/* Epochs are all there, in order, each with a key of its own. */
Test(registry_states, all)
{
	REFUSE(used, now.n_epochs = 2);
	REFUSE(used, now.active = 1);
	REFUSE(used, now.active = 3);
	REFUSE(used, now.active = (uint64_t)INT64_MAX + 1);
	REFUSE(used, E(1).number = 2);
	REFUSE(used, E(2).k256 = E(1).k256;
	       memcpy(E(2).signer, E(1).signer, 20));
	REFUSE(used, memset(now.kms, 0, 20));
	REFUSE(used, memset(now.anchor, 0, 20));
	REFUSE(used, memset(now.authority, 0, 20));
	REFUSE(used, memset(now.seats_hash, 0, 32));
	REFUSE(used, now.veto_window_s = 0);
	REFUSE(used, now.notice_s = 0);
	REFUSE(used, now.holders_age_s = 0);
	REFUSE(used, now.handovers = 1);
	REFUSE(used, now.handover_head[0] = 1);
}

/* Before the first there is nothing. */
Test(registry_states, none)
{
	REFUSE(none, now.active = 1);
	REFUSE(none, now.order.number = 1);
	REFUSE(none, now.vetoes = 1);
	REFUSE(none, now.order.epoch = 1; now.order.number = 1;
	       now.order.ordered_at = 1);
}

/* Each status has its word. */
Test(registry_states, words)
{
	cr_assert_str_eq(registry_status_text(REGISTRY_NONE), "none");
	cr_assert_str_eq(registry_status_text(REGISTRY_ORDERED), "ordered");
	cr_assert_str_eq(registry_status_text(REGISTRY_DESTROYED), "destroyed");
}

Test(registry_states, no_such_word, .signal = SIGABRT)
{
	(void)registry_status_text(
	    (enum registry_status)(1 + (int)REGISTRY_DESTROYED));
}
