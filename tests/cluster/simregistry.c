#include <string.h>

#include "tests/cluster/simregistry.h"

static void
remember(struct simreg *r, uint64_t ms)
{
	if (r->n_past == REG_PAST) {
		memmove(&r->past[0], &r->past[REG_PAST / 2],
		    REG_PAST / 2 * sizeof r->past[0]);
		r->n_past = REG_PAST / 2;
	}
	r->past[r->n_past].ms = ms;
	r->past[r->n_past++].state = r->now;
}

static struct registry_epoch *
epoch(struct simreg *r, uint64_t n)
{
	return n < r->now.n_epochs ? &r->now.epoch[n] : NULL;
}

void
simreg_begin(struct simreg *r, uint64_t ms, const struct k256_pub *k256,
    const uint8_t ca_hash[static 32])
{
	struct registry_epoch *e = &r->now.epoch[0];

	*r = (struct simreg){ 0 };
	r->now.veto_window_s = 6;
	r->now.notice_s = 2;
	r->now.holders_age_s = 5; /* below the window */
	r->now.n_epochs = 1;
	e->status = REGISTRY_ACTIVE;
	e->k256 = *k256;
	memcpy(e->ca_spki_hash, ca_hash, 32);
	e->activated_at = chain_time(ms);
	r->used[r->n_used++] = *k256;
	remember(r, ms);
}

const struct registry_state *
simreg_past(const struct simreg *r, uint64_t ms)
{
	unsigned i = r->n_past;

	while (i > 0 && r->past[i - 1].ms > ms)
		i--;
	return i == 0 ? NULL : &r->past[i - 1].state;
}

bool
simreg_at(const struct simreg *r, const struct chain *c, uint64_t ms,
    struct registry_state *out)
{
	const struct registry_state *past = simreg_past(r, ms);
	struct anchor_view v;

	if (past == NULL)
		return false;
	*out = *past;
	chain_at(c, ms, &v);
	anchor_seats_hash(out->seats_hash, &v);
	return true;
}

static void
clear_order(struct simreg *r)
{
	r->now.order = (struct registry_order){ .number = r->now.order.number };
}

bool
simreg_order(
    struct simreg *r, uint64_t ms, enum registry_mode mode, uint64_t in_s)
{
	struct registry_order *o = &r->now.order;
	struct registry_epoch *e;

	if (o->epoch != 0 || r->now.active + 1 >= REGISTRY_EPOCHS_MAX)
		return false;
	*o = (struct registry_order){ .number = o->number + 1,
		.epoch = r->now.active + 1,
		.mode = mode,
		.ordered_at = chain_time(ms),
		.not_before = chain_time(ms) + in_s };
	e = &r->now.epoch[o->epoch];
	*e = (struct registry_epoch){
		.number = o->epoch, .status = REGISTRY_ORDERED, .mode = mode
	};
	r->now.n_epochs = (size_t)o->epoch + 1;
	remember(r, ms);
	return true;
}

bool
simreg_withdraw(struct simreg *r, uint64_t ms)
{
	if (r->now.order.epoch == 0)
		return false;
	r->now.n_epochs--;
	clear_order(r);
	remember(r, ms);
	return true;
}

static void
veto(struct simreg *r, struct registry_epoch *e)
{
	r->now.vetoes++;
	memset(r->now.order.confirmed, 0, 32);
	*e = (struct registry_epoch){
		.number = e->number, .status = REGISTRY_ORDERED, .mode = e->mode
	};
}

bool
simreg_veto(struct simreg *r, uint64_t ms)
{
	struct registry_epoch *e = epoch(r, r->now.order.epoch);

	if (e == NULL || e->status != REGISTRY_PUBLISHED)
		return false;
	veto(r, e);
	remember(r, ms);
	return true;
}

static void
hash_of(uint8_t out[static 32], const struct registry_epoch *e)
{
	registry_root_hash(out, &e->k256, e->ca_spki_hash);
}

bool
simreg_confirm(struct simreg *r, uint64_t ms, const uint8_t hash[static 32])
{
	struct registry_epoch *e = epoch(r, r->now.order.epoch);
	uint8_t have[32];

	if (r->now.order.epoch == 0 || r->now.order.mode != REGISTRY_EMERGENCY)
		return false;
	hash_of(have, e);
	if (e->status == REGISTRY_PUBLISHED && memcmp(have, hash, 32) != 0)
		veto(r, e);
	memcpy(r->now.order.confirmed, hash, 32);
	remember(r, ms);
	return true;
}

bool
simreg_taint(struct simreg *r, uint64_t ms, uint64_t n)
{
	struct registry_epoch *e = epoch(r, n);

	if (e == NULL || n == r->now.active || e->status != REGISTRY_ACTIVE)
		return false;
	e->status = REGISTRY_TAINTED;
	e->tainted_at = chain_time(ms);
	remember(r, ms);
	return true;
}

static bool
lives(const struct simreg *r, const struct registry_epoch *e)
{
	return e != NULL && e->number != r->now.active &&
	    (e->status == REGISTRY_ACTIVE || e->status == REGISTRY_TAINTED);
}

bool
simreg_retire(struct simreg *r, uint64_t ms, uint64_t n, uint64_t in_s)
{
	struct registry_epoch *e = epoch(r, n);

	if (!lives(r, e) || in_s < r->now.notice_s)
		return false;
	e->retire_at = chain_time(ms) + in_s;
	remember(r, ms);
	return true;
}

bool
simreg_destroy(struct simreg *r, uint64_t ms, uint64_t n)
{
	struct registry_epoch *e = epoch(r, n);

	if (!lives(r, e) || e->retire_at == 0 || chain_time(ms) < e->retire_at)
		return false;
	e->status = REGISTRY_DESTROYED;
	e->destroyed_at = chain_time(ms);
	remember(r, ms);
	return true;
}

/* ---- what nodes send ---- */

static bool
attest(struct simreg *r, const struct chain *c, uint64_t ms,
    struct registry_epoch *e, const struct reg_tx *t)
{
	const struct registry_holders *h = &t->w.holders;
	unsigned n = c->now.n_seats, count = 0;
	uint8_t seats[32], root[32];

	anchor_seats_hash(seats, &c->now);
	hash_of(root, e);
	for (unsigned i = 0; i < 16; i++)
		count += h->seats >> i & 1;
	if (h->as_of > chain_time(ms) || h->as_of < r->now.order.ordered_at ||
	    chain_time(ms) > h->as_of + r->now.holders_age_s ||
	    h->seats >> n != 0 || 2 * count <= n || 3 * count < 2 * n ||
	    h->order != r->now.order.number || h->epoch != e->number ||
	    memcmp(h->seats_hash, seats, 32) != 0 ||
	    memcmp(h->root_hash, root, 32) != 0 ||
	    memcmp(&t->k256, &e->k256, sizeof e->k256) != 0)
		return false;
	e->held_as_of = h->as_of;
	e->holders = h->seats;
	memcpy(e->held_seats, seats, 32);
	return true;
}

static bool
was_used(const struct simreg *r, const struct k256_pub *k)
{
	for (unsigned i = 0; i < r->n_used; i++)
		if (memcmp(&r->used[i], k, sizeof *k) == 0)
			return true;
	return false;
}

static bool
publish(struct simreg *r, const struct chain *c, uint64_t ms,
    const struct reg_tx *t)
{
	const struct registry_order *o = &r->now.order;
	struct registry_epoch *e = epoch(r, t->w.holders.epoch), was;
	static const uint8_t zero[32];
	uint8_t hash[32];

	registry_root_hash(hash, &t->k256, t->ca_hash);
	if (o->epoch == 0 || e == NULL || e->number != o->epoch ||
	    e->status != REGISTRY_ORDERED || chain_time(ms) < o->not_before ||
	    was_used(r, &t->k256) || r->n_used == 256 ||
	    (memcmp(o->confirmed, zero, 32) != 0 &&
		memcmp(o->confirmed, hash, 32) != 0))
		return false;
	was = *e;
	e->k256 = t->k256;
	memcpy(e->ca_spki_hash, t->ca_hash, 32);
	if (!attest(r, c, ms, e, t)) {
		*e = was;
		return false;
	}
	r->used[r->n_used++] = t->k256;
	e->status = REGISTRY_PUBLISHED;
	e->order = o->number;
	e->published_at = chain_time(ms);
	return true;
}

static bool
activate(struct simreg *r, const struct chain *c, uint64_t ms, uint64_t n)
{
	struct registry_epoch *e = epoch(r, n);
	uint8_t hash[32], seats[32];

	if (e == NULL || e->status != REGISTRY_PUBLISHED)
		return false;
	anchor_seats_hash(seats, &c->now);
	hash_of(hash, e);
	if (chain_time(ms) < e->published_at + r->now.veto_window_s ||
	    (e->mode == REGISTRY_EMERGENCY &&
		memcmp(r->now.order.confirmed, hash, 32) != 0) ||
	    chain_time(ms) > e->held_as_of + r->now.holders_age_s ||
	    memcmp(e->held_seats, seats, 32) != 0)
		return false;
	e->status = REGISTRY_ACTIVE;
	e->activated_at = chain_time(ms);
	r->now.active = n;
	clear_order(r);
	return true;
}

static bool
execute(struct simreg *r, const struct chain *c, uint64_t ms,
    const struct reg_tx *t)
{
	struct registry_epoch *e;

	switch (t->w.kind) {
	case CORE_PUBLISH:
		return publish(r, c, ms, t);
	case CORE_ATTEST:
		e = epoch(r, t->w.holders.epoch);
		return e != NULL && e->status == REGISTRY_PUBLISHED &&
		    t->w.holders.as_of > e->held_as_of &&
		    attest(r, c, ms, e, t);
	case CORE_ACTIVATE:
		return activate(r, c, ms, t->w.holders.epoch);
	case CORE_REGISTRY_KINDS:
		return false;
	case CORE_HANDOVERS:
		if (t->w.from != r->now.handovers || t->w.n == 0 ||
		    memcmp(t->w.head, r->now.handover_head, 32) != 0)
			return false;
		r->now.handovers += t->w.n;
		r->now.handover_head[0]++;
		return true;
	}
	return false;
}

bool
simreg_write(struct simreg *r, const struct chain *c, uint64_t ms,
    const struct reg_tx *t)
{
	if (!execute(r, c, ms, t))
		return false;
	remember(r, ms);
	return true;
}
