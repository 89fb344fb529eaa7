/* fuzz_registryabi: what an endpoint may answer for the state of a registry.
 *
 * Targets: registryabi_state.
 *
 * Asserted: what is accepted is the one encoding of its value, so that
 * writing it again gives the same bytes; there is an active epoch, and only
 * the one after it can be under way. */
#include <assert.h>
#include <string.h>

#include "common/eth/abi.h"
#include "kms/gate/registryabi.h"

#define MAX (1u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
number(struct buf *b, uint64_t v)
{
	assert(abi_put_u64(b, v, MAX) == ERR_OK);
}

static void
hash(struct buf *b, const uint8_t v[static 32])
{
	assert(abi_put_bytes32(b, v, MAX) == ERR_OK);
}

static void
address(struct buf *b, const uint8_t v[static 20])
{
	assert(abi_put_address(b, v, MAX) == ERR_OK);
}

/* As `struct Epoch` is declared in RootRegistry.sol. */
static void
write_epoch(struct buf *b, const struct registry_epoch *x)
{
	number(b, x->number);
	number(b, x->status);
	number(b, x->mode);
	number(b, x->k256.b[0]);
	hash(b, x->k256.b + 1);
	address(b, x->signer);
	hash(b, x->ca_spki_hash);
	number(b, x->order);
	number(b, x->published_at);
	number(b, x->activated_at);
	number(b, x->tainted_at);
	number(b, x->retire_at);
	number(b, x->destroyed_at);
	number(b, x->held_as_of);
	number(b, x->holders);
	hash(b, x->held_seats);
}

/* And `struct State`. */
static void
write_state(struct buf *b, const struct registry_state *s)
{
	number(b, ABI_WORD);
	address(b, s->kms);
	address(b, s->anchor);
	address(b, s->authority);
	address(b, s->pending_authority);
	address(b, s->guardian);
	number(b, s->veto_window_s);
	number(b, s->notice_s);
	number(b, s->holders_age_s);
	hash(b, s->seats_hash);
	number(b, s->active);
	number(b, s->vetoes);
	number(b, s->handovers);
	hash(b, s->handover_head);
	number(b, s->order.number);
	number(b, s->order.epoch);
	number(b, s->order.mode);
	number(b, s->order.ordered_at);
	number(b, s->order.not_before);
	number(b, s->order.retire_after);
	hash(b, s->order.confirmed);
	number(b, 21u * ABI_WORD);
	number(b, s->n_epochs);
	for (size_t i = 0; i < s->n_epochs; i++)
		write_epoch(b, &s->epoch[i]);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct registry_state s;
	const struct registry_epoch *active;
	struct buf again = { 0 };

	if (registryabi_state(&s, (struct bytes){ data, size }) != ERR_OK)
		return 0;
	assert(size <= REGISTRYABI_STATE_MAX);
	active = registry_epoch_of(&s, s.active);
	assert(s.n_epochs == 0 ||
	    (active != NULL && active->status == REGISTRY_ACTIVE));
	assert(registry_epoch_of(&s, s.active + 2) == NULL);
	assert((registry_epoch_of(&s, s.active + 1) != NULL) ==
	    (s.order.epoch != 0));
	write_state(&again, &s);
	assert(again.len == size && memcmp(again.p, data, size) == 0);
	buf_fini(&again);
	return 0;
}
