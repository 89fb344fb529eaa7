/* What state() returns, and what it can be. */
#include <string.h>

#include <sodium.h>

#include "common/eth/abird.h"
#include "kms/gate/registryabi.h"

#define STATE_WORDS 21u /* before the epochs: their offset is the last */
#define MAX_WAIT (365u * 86400u) /* as in the contract */
#define SEATS_BITS 0x7fffu /* 15 seats: ClusterAnchor, MAX_SEATS */

/* ---- reading ---- */

/* The order in which `struct Epoch` is declared. */
static void
rd_epoch(struct rd *r, struct registry_epoch *x)
{
	x->number = abird_u64(r);
	x->status = (enum registry_status)abird_upto(r, REGISTRY_DESTROYED);
	x->mode = (enum registry_mode)abird_upto(r, REGISTRY_EMERGENCY);
	x->k256.b[0] = (uint8_t)abird_upto(r, 3);
	abird_hash(r, x->k256.b + 1);
	abird_address(r, x->signer);
	abird_hash(r, x->ca_spki_hash);
	x->order = abird_u64(r);
	x->published_at = abird_u64(r);
	x->activated_at = abird_u64(r);
	x->tainted_at = abird_u64(r);
	x->retire_at = abird_u64(r);
	x->destroyed_at = abird_u64(r);
	x->held_as_of = abird_u64(r);
	x->holders = (uint16_t)abird_upto(r, SEATS_BITS);
	abird_hash(r, x->held_seats);
}

static void
rd_order(struct rd *r, struct registry_order *o)
{
	o->number = abird_u64(r);
	o->epoch = abird_u64(r);
	o->mode = (enum registry_mode)abird_upto(r, REGISTRY_EMERGENCY);
	o->ordered_at = abird_u64(r);
	o->not_before = abird_u64(r);
	o->retire_after = abird_u64(r);
	abird_hash(r, o->confirmed);
}

/* The order in which `struct State` is declared. */
static void
rd_state(struct rd *r, struct registry_state *s)
{
	abird_exactly(r, ABI_WORD);
	abird_address(r, s->kms);
	abird_address(r, s->anchor);
	abird_address(r, s->authority);
	abird_address(r, s->pending_authority);
	abird_address(r, s->guardian);
	s->veto_window_s = abird_u64(r);
	s->notice_s = abird_u64(r);
	s->holders_age_s = abird_u64(r);
	abird_hash(r, s->seats_hash);
	s->active = abird_u64(r);
	s->vetoes = abird_u64(r);
	s->handovers = abird_u64(r);
	abird_hash(r, s->handover_head);
	rd_order(r, &s->order);
	abird_exactly(r, STATE_WORDS * ABI_WORD);
	s->n_epochs = (size_t)abird_upto(r, REGISTRY_EPOCHS_MAX);
	for (size_t i = 0; !r->bad && i < s->n_epochs; i++)
		rd_epoch(r, &s->epoch[i]);
}

/* ---- what the contract can be in ---- */

/* Times are added below: those of blocks are nowhere near. */
static bool
times_ok(const struct registry_epoch *x)
{
	const uint64_t t[] = { x->published_at, x->activated_at, x->tainted_at,
		x->retire_at, x->destroyed_at, x->held_as_of };

	for (size_t i = 0; i < sizeof t / sizeof t[0]; i++)
		if (t[i] > INT64_MAX)
			return false;
	return true;
}

static bool
wait_ok(uint64_t seconds)
{
	return seconds >= 1 && seconds <= MAX_WAIT;
}

static bool
order_ok(const struct registry_state *s)
{
	const struct registry_order *o = &s->order;

	if (o->epoch == 0)
		return o->mode == REGISTRY_ROUTINE && o->ordered_at == 0 &&
		    o->not_before == 0 && o->retire_after == 0 &&
		    sodium_is_zero(o->confirmed, 32);
	return o->number >= 1 && o->epoch == s->active + 1 &&
	    o->ordered_at >= 1 && o->ordered_at <= INT64_MAX &&
	    o->not_before <= o->ordered_at + MAX_WAIT &&
	    (o->retire_after == 0 ||
		(o->retire_after >= s->notice_s &&
		    o->retire_after <= (uint64_t)10 * MAX_WAIT)) &&
	    (o->mode == REGISTRY_EMERGENCY || sodium_is_zero(o->confirmed, 32));
}

/* A key, its address, and a CA; no key comes twice. */
static bool
root_ok(const struct registry_state *s, const struct registry_epoch *x)
{
	struct k256_pub pub;
	uint8_t signer[20];

	if (k256_pub_parse(&pub, x->k256.b, sizeof x->k256.b) != ERR_OK ||
	    k256_address(signer, &pub) != ERR_OK ||
	    memcmp(signer, x->signer, sizeof signer) != 0 ||
	    sodium_is_zero(x->ca_spki_hash, 32))
		return false;
	for (const struct registry_epoch *y = s->epoch; y < x; y++)
		if (memcmp(y->signer, x->signer, sizeof signer) == 0)
			return false;
	return true;
}

/* Evidence was of that time, for some seats. */
static bool
held_ok(const struct registry_state *s, const struct registry_epoch *x)
{
	return x->holders != 0 && x->held_as_of != 0 &&
	    !sodium_is_zero(x->held_seats, 32) &&
	    x->published_at <= x->held_as_of + s->holders_age_s;
}

static bool
no_end(const struct registry_epoch *x)
{
	return x->tainted_at == 0 && x->retire_at == 0 && x->destroyed_at == 0;
}

static bool
ordered_ok(const struct registry_state *s, const struct registry_epoch *x)
{
	return x->mode == s->order.mode && x->k256.b[0] == 0 &&
	    sodium_is_zero(x->k256.b, sizeof x->k256.b) &&
	    sodium_is_zero(x->signer, 20) &&
	    sodium_is_zero(x->ca_spki_hash, 32) && x->order == 0 &&
	    x->published_at == 0 && x->activated_at == 0 && no_end(x) &&
	    x->held_as_of == 0 && x->holders == 0 &&
	    sodium_is_zero(x->held_seats, 32);
}

/* A second vote is for this root, or there is none yet. */
static bool
published_ok(const struct registry_state *s, const struct registry_epoch *x)
{
	uint8_t hash[32];

	registry_root_hash(hash, &x->k256, x->ca_spki_hash);
	return root_ok(s, x) && x->mode == s->order.mode &&
	    x->order == s->order.number &&
	    x->published_at >= s->order.ordered_at &&
	    x->published_at >= s->order.not_before && x->activated_at == 0 &&
	    no_end(x) && held_ok(s, x) &&
	    x->held_as_of >= s->order.ordered_at &&
	    (sodium_is_zero(s->order.confirmed, 32) ||
		memcmp(s->order.confirmed, hash, 32) == 0);
}

/* Epoch 0 was taken over; the others were published and waited for. */
static bool
begin_ok(const struct registry_state *s, const struct registry_epoch *x)
{
	if (x->number == 0)
		return x->mode == REGISTRY_ROUTINE && x->order == 0 &&
		    x->published_at == 0 && x->held_as_of == 0 &&
		    x->holders == 0 && sodium_is_zero(x->held_seats, 32);
	return x->order >= 1 && x->order <= s->order.number &&
	    x->published_at >= 1 && held_ok(s, x) &&
	    x->activated_at >= x->published_at + s->veto_window_s &&
	    x->activated_at >= x->held_as_of &&
	    x->activated_at <= x->held_as_of + s->holders_age_s;
}

/* One that was active once, and its successor if that is, too. */
static bool
used_ok(const struct registry_state *s, const struct registry_epoch *x)
{
	const struct registry_epoch *next = x + 1;
	bool tainted = x->tainted_at != 0,
	     destroyed = x->status == REGISTRY_DESTROYED;

	if (!root_ok(s, x) || x->activated_at == 0 || !begin_ok(s, x))
		return false;
	if (x->number == s->active)
		return x->status == REGISTRY_ACTIVE && no_end(x) &&
		    (s->order.epoch == 0 ||
			(s->order.number > x->order &&
			    s->order.ordered_at >= x->activated_at));
	return next->order > x->order &&
	    next->published_at >= x->activated_at &&
	    (destroyed || tainted == (x->status == REGISTRY_TAINTED)) &&
	    (!tainted || x->tainted_at >= next->activated_at) &&
	    (x->retire_at == 0 ||
		x->retire_at >= next->activated_at + s->notice_s) &&
	    destroyed == (x->destroyed_at != 0) &&
	    (!destroyed ||
		(x->retire_at != 0 && x->destroyed_at >= x->retire_at &&
		    x->destroyed_at >= x->tainted_at));
}

static bool
epoch_ok(const struct registry_state *s, const struct registry_epoch *x)
{
	if (!times_ok(x))
		return false;
	switch (x->status) {
	case REGISTRY_NONE:
		return false;
	case REGISTRY_ORDERED:
		return x->number == s->active + 1 && ordered_ok(s, x);
	case REGISTRY_PUBLISHED:
		return x->number == s->active + 1 && published_ok(s, x);
	case REGISTRY_ACTIVE:
	case REGISTRY_TAINTED:
	case REGISTRY_DESTROYED:
		return x->number <= s->active && used_ok(s, x);
	}
	return false;
}

/* Nothing else can come of the contract's functions. */
static bool
possible(const struct registry_state *s)
{
	uint64_t end = s->active + (s->order.epoch != 0 ? 2 : 1);

	if (sodium_is_zero(s->kms, 20) || sodium_is_zero(s->anchor, 20) ||
	    sodium_is_zero(s->authority, 20) ||
	    sodium_is_zero(s->seats_hash, 32) || !wait_ok(s->veto_window_s) ||
	    !wait_ok(s->notice_s) || !wait_ok(s->holders_age_s))
		return false;
	if ((s->handovers == 0) != sodium_is_zero(s->handover_head, 32) ||
	    s->active > INT64_MAX || !order_ok(s) ||
	    (s->vetoes != 0 && s->order.number == 0))
		return false;
	if (s->n_epochs == 0)
		return s->active == 0 && s->order.number == 0;
	if (s->order.number < s->active + (s->order.epoch != 0 ? 1 : 0))
		return false;
	/* All of them, or the newest 64. */
	if (s->n_epochs !=
	    (end < REGISTRY_EPOCHS_MAX ? end : REGISTRY_EPOCHS_MAX))
		return false;
	for (size_t i = 0; i < s->n_epochs; i++)
		if (s->epoch[i].number != end - s->n_epochs + i)
			return false;
	for (size_t i = 0; i < s->n_epochs; i++)
		if (!epoch_ok(s, &s->epoch[i]))
			return false;
	return true;
}

enum err
registryabi_state(struct registry_state *out, struct bytes in)
{
	struct rd r = { .p = in.p, .left = in.len };
	struct registry_state s = { .active = 0 };

	rd_state(&r, &s);
	if (!rd_done(&r) || !possible(&s))
		return ERR_MALFORMED;
	*out = s;
	return ERR_OK;
}
