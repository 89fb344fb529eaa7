/* fuzz_anchor: what an endpoint may answer for the state of an anchor.
 *
 * Targets: anchorabi_state.
 *
 * Asserted: what is accepted is the one encoding of its value, so that
 * writing it again gives the same bytes, and its seats have proper names. */
#include <assert.h>
#include <string.h>

#include "common/eth/abi.h"
#include "kms/gate/anchorabi.h"

#define MAX (1u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
number(struct buf *b, uint64_t v)
{
	assert(abi_put_u64(b, v, MAX) == ERR_OK);
}

static void
hash(struct buf *b, const void *v)
{
	assert(abi_put_bytes32(b, v, MAX) == ERR_OK);
}

static void
address(struct buf *b, const uint8_t v[static 20])
{
	assert(abi_put_address(b, v, MAX) == ERR_OK);
}

/* As `struct State` is declared in ClusterAnchor.sol. */
static void
write_state(struct buf *b, const struct anchor_state *s)
{
	const struct anchor_view *v = &s->v;

	number(b, ABI_WORD);
	address(b, s->kms);
	address(b, s->owner);
	number(b, v->wait_s);
	address(b, s->signer);
	number(b, s->rotations);
	number(b, v->at.generation);
	number(b, v->at.index);
	hash(b, v->at.hash);
	hash(b, v->opener);
	number(b, s->orders);
	hash(b, v->order.incarnation);
	number(b, v->order.lossy);
	number(b, v->announced.to.generation);
	number(b, v->announced.to.index);
	hash(b, v->announced.to.hash);
	hash(b, v->announced.incarnation);
	number(b, v->announced.open_at);
	number(b, v->vetoes);
	number(b, 19u * ABI_WORD);
	number(b, v->n_seats);
	for (unsigned i = 0; i < v->n_seats; i++) {
		hash(b, v->seat[i].slot);
		hash(b, v->seat[i].device_id);
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct anchor_state s;
	struct buf again = { 0 }, call = { 0 };

	if (anchorabi_state(&s, (struct bytes){ data, size }) != ERR_OK)
		return 0;
	assert(size <= ANCHORABI_STATE_MAX);
	assert(s.v.announced.set ? s.v.order.set : true);
	for (unsigned i = 0; i < s.v.n_seats; i++)
		assert(
		    anchorabi_remove_seat(&call, s.v.seat[i].slot) == ERR_OK);
	write_state(&again, &s);
	assert(again.len == size && memcmp(again.p, data, size) == 0);
	buf_fini(&again);
	buf_fini(&call);
	return 0;
}
