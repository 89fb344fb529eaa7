#include <string.h>

#include <criterion/criterion.h>

#include "common/eth/abi.h"
#include "tests/lib/registry_says.h"

#define MAX (1u << 20)
#define WINDOW 600u
#define NOTICE 3600u
#define START 1700000000u
#define APART 100000u /* seconds between epochs */

void
registry_says_new(struct registry_state *s, const uint8_t kms[static 20],
    const uint8_t anchor[static 20])
{
	*s = (struct registry_state){ .veto_window_s = WINDOW,
		.notice_s = NOTICE,
		.holders_age_s = WINDOW };
	memcpy(s->kms, kms, 20);
	memcpy(s->anchor, anchor, 20);
	memset(s->authority, 0xa0, 20);
	memset(s->seats_hash, 0x5e, 32);
}

void
registry_says_epoch(struct registry_state *s, const struct k256_pub *k256,
    const uint8_t ca_spki_hash[static 32], enum registry_mode mode)
{
	uint64_t number = s->n_epochs;
	struct registry_epoch *x = &s->epoch[s->n_epochs++];

	cr_assert_eq(s->order.epoch, 0);
	cr_assert_leq(s->n_epochs, REGISTRY_EPOCHS_MAX);
	*x = (struct registry_epoch){ .number = number,
		.status = REGISTRY_ACTIVE,
		.mode = mode,
		.k256 = *k256,
		.activated_at = START + number * APART + WINDOW };
	memcpy(x->ca_spki_hash, ca_spki_hash, 32);
	cr_assert_eq(k256_address(x->signer, k256), ERR_OK);
	s->active = number;
	if (number == 0)
		return;
	x->order = number;
	x->published_at = x->held_as_of = x->activated_at - WINDOW;
	x->holders = 3;
	memset(x->held_seats, 0x5e, 32);
	s->order.number = number;
}

void
registry_says_order(struct registry_state *s, enum registry_mode mode)
{
	struct registry_epoch *x = &s->epoch[s->n_epochs++];

	s->order.number++;
	s->order.epoch = s->active + 1;
	s->order.mode = mode;
	s->order.ordered_at = s->epoch[s->active].activated_at;
	*x = (struct registry_epoch){ .number = s->active + 1,
		.status = REGISTRY_ORDERED,
		.mode = mode };
}

void
registry_says_status(
    struct registry_state *s, uint64_t number, enum registry_status status)
{
	struct registry_epoch *x = &s->epoch[number];

	cr_assert_lt(number, s->active);
	x->status = status;
	if (status == REGISTRY_TAINTED)
		x->tainted_at = x[1].activated_at;
	if (status == REGISTRY_DESTROYED) {
		x->retire_at = x[1].activated_at + NOTICE;
		x->destroyed_at = x->retire_at;
	}
}

/* ---- the encoding, as fuzz/fuzz_registryabi.c checks it ---- */

static void
number_(struct buf *b, uint64_t v)
{
	cr_assert_eq(abi_put_u64(b, v, MAX), ERR_OK);
}

static void
hash(struct buf *b, const uint8_t v[static 32])
{
	cr_assert_eq(abi_put_bytes32(b, v, MAX), ERR_OK);
}

static void
address(struct buf *b, const uint8_t v[static 20])
{
	cr_assert_eq(abi_put_address(b, v, MAX), ERR_OK);
}

static void
write_epoch(struct buf *b, const struct registry_epoch *x)
{
	number_(b, x->number);
	number_(b, x->status);
	number_(b, x->mode);
	number_(b, x->k256.b[0]);
	hash(b, x->k256.b + 1);
	address(b, x->signer);
	hash(b, x->ca_spki_hash);
	number_(b, x->order);
	number_(b, x->published_at);
	number_(b, x->activated_at);
	number_(b, x->tainted_at);
	number_(b, x->retire_at);
	number_(b, x->destroyed_at);
	number_(b, x->held_as_of);
	number_(b, x->holders);
	hash(b, x->held_seats);
}

void
registry_says_write(struct buf *b, const struct registry_state *s)
{
	number_(b, ABI_WORD);
	address(b, s->kms);
	address(b, s->anchor);
	address(b, s->authority);
	address(b, s->pending_authority);
	address(b, s->guardian);
	number_(b, s->veto_window_s);
	number_(b, s->notice_s);
	number_(b, s->holders_age_s);
	hash(b, s->seats_hash);
	number_(b, s->active);
	number_(b, s->vetoes);
	number_(b, s->handovers);
	hash(b, s->handover_head);
	number_(b, s->order.number);
	number_(b, s->order.epoch);
	number_(b, s->order.mode);
	number_(b, s->order.ordered_at);
	number_(b, s->order.not_before);
	number_(b, s->order.retire_after);
	hash(b, s->order.confirmed);
	number_(b, 21u * ABI_WORD);
	number_(b, s->n_epochs);
	for (size_t i = 0; i < s->n_epochs; i++)
		write_epoch(b, &s->epoch[i]);
}

void
registry_says(struct mock_chain *m, unsigned i,
    const uint8_t contract[static 20], const struct registry_state *s)
{
	struct buf b = { 0 };

	registry_says_write(&b, s);
	mock_answer_at(m, i, contract, REGISTRY_STATE, b.p, b.len);
	buf_fini(&b);
}

void
registry_says_pin(struct mock_chain *m, unsigned i,
    const uint8_t contract[static 20], uint64_t epoch)
{
	struct buf b = { 0 };

	number_(&b, epoch);
	mock_answer_at(m, i, contract, REGISTRY_PIN_OF, b.p, b.len);
	buf_fini(&b);
}
