#include <string.h>

#include "tests/cluster/simchain.h"

uint64_t
chain_time(uint64_t ms)
{
	return 1700000000 + ms / 1000;
}

static void
remember(struct chain *c, uint64_t ms)
{
	if (c->n_past == CHAIN_PAST) {
		memmove(&c->past[0], &c->past[CHAIN_PAST / 2],
		    CHAIN_PAST / 2 * sizeof c->past[0]);
		c->n_past = CHAIN_PAST / 2;
	}
	c->past[c->n_past].ms = ms;
	c->past[c->n_past++].view = c->now;
}

void
chain_at(const struct chain *c, uint64_t ms, struct anchor_view *out)
{
	unsigned i = c->n_past;

	while (i > 0 && c->past[i - 1].ms > ms)
		i--;
	*out = i > 0 ? c->past[i - 1].view : (struct anchor_view){ 0 };
	out->wait_s = c->now.wait_s;
	out->block.number = ms / 1000;
	out->block.timestamp = chain_time(ms);
}

void
chain_seat(struct chain *c, uint64_t ms, const char *slot,
    const uint8_t device_id[static 32])
{
	struct anchor_seat *s;
	unsigned i = 0;

	while (i < c->now.n_seats && strcmp(c->now.seat[i].slot, slot) != 0)
		i++;
	c->now.n_seats += i == c->now.n_seats;
	s = &c->now.seat[i];
	memcpy(s->slot, slot, strlen(slot) + 1);
	memcpy(s->device_id, device_id, 32);
	remember(c, ms);
}

void
chain_unseat(struct chain *c, uint64_t ms, const char *slot)
{
	for (unsigned i = 0; i < c->now.n_seats; i++)
		if (strcmp(c->now.seat[i].slot, slot) == 0) {
			c->now.seat[i] = c->now.seat[--c->now.n_seats];
			remember(c, ms);
			return;
		}
}

bool
chain_genesis(struct chain *c, uint64_t ms, uint64_t index,
    const uint8_t hash[static 32], const uint8_t incarnation[static 32])
{
	if (c->now.at.generation != 0)
		return false;
	c->now.at.generation = 1;
	c->now.at.index = index;
	memcpy(c->now.at.hash, hash, 32);
	memcpy(c->now.opener, incarnation, 32);
	remember(c, ms);
	return true;
}

void
chain_order(struct chain *c, uint64_t ms, const uint8_t incarnation[static 32],
    bool lossy)
{
	struct anchor_view *v = &c->now;

	if (memcmp(v->announced.incarnation, incarnation, 32) != 0 ||
	    (v->order.lossy && !lossy))
		v->announced.set = false;
	v->order.set = true;
	v->order.lossy = lossy;
	memcpy(v->order.incarnation, incarnation, 32);
	remember(c, ms);
}

static bool
same_point(const struct anchor_point *a, const struct anchor_point *b)
{
	return a->generation == b->generation && a->index == b->index &&
	    memcmp(a->hash, b->hash, 32) == 0;
}

static bool
announce(struct anchor_view *v, uint64_t ms, const struct anchor_write *w)
{
	if (!v->order.set ||
	    memcmp(v->order.incarnation, w->incarnation, 32) != 0 ||
	    w->to.index < v->at.index ||
	    (w->to.index == v->at.index &&
		memcmp(w->to.hash, v->at.hash, 32) != 0) ||
	    (v->announced.set && w->to.index <= v->announced.to.index))
		return false;
	v->announced.set = true;
	v->announced.to = w->to;
	v->announced.to.generation = v->at.generation + 1;
	v->announced.open_at = chain_time(ms) + v->wait_s;
	memcpy(v->announced.incarnation, w->incarnation, 32);
	return true;
}

static bool
open_next(struct anchor_view *v, uint64_t ms, const struct anchor_write *w)
{
	if (!v->announced.set || w->to.index != v->announced.to.index ||
	    memcmp(w->to.hash, v->announced.to.hash, 32) != 0 ||
	    memcmp(w->incarnation, v->announced.incarnation, 32) != 0 ||
	    chain_time(ms) < v->announced.open_at)
		return false;
	v->at = v->announced.to;
	memcpy(v->opener, w->incarnation, 32);
	v->announced.set = false;
	v->order.set = false;
	v->order.lossy = false;
	return true;
}

static bool
advance(struct anchor_view *v, const struct anchor_write *w)
{
	if (w->to.index <= v->at.index)
		return false;
	v->at.index = w->to.index;
	memcpy(v->at.hash, w->to.hash, 32);
	v->announced.set = false;
	return true;
}

static bool
execute(struct chain *c, uint64_t ms, const struct anchor_write *w)
{
	struct anchor_view *v = &c->now;

	if (w->kind != ANCHOR_VETO && !same_point(&v->at, &w->from))
		return false;
	switch (w->kind) {
	case ANCHOR_ADVANCE:
		return advance(v, w);
	case ANCHOR_ANNOUNCE:
		return announce(v, ms, w);
	case ANCHOR_VETO:
		if (!v->announced.set ||
		    v->announced.to.generation != w->to.generation)
			return false;
		v->announced.set = false;
		v->order.set = false;
		v->order.lossy = false;
		v->vetoes++;
		c->vetoes++;
		return true;
	case ANCHOR_OPEN:
		if (!open_next(v, ms, w))
			return false;
		c->opened++;
		return true;
	}
	return false;
}

bool
chain_write(struct chain *c, uint64_t ms, const struct anchor_write *w)
{
	if (!execute(c, ms, w)) {
		c->refused++;
		return false;
	}
	remember(c, ms);
	return true;
}
