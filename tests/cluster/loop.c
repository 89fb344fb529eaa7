/* The loop: what happens next, and to whom. */
#include <stdlib.h>
#include <string.h>

#include "tests/cluster/world.h"

static void
poll_chain(struct world *w, struct life *l)
{
	struct event e = { .kind = EV_VIEW, .uid = l->uid, .number = w->now };
	uint64_t seen = w->now - w->finality_ms;

	l->next_poll = w->now + w->poll_ms / 2 + world_random(w, w->poll_ms);
	if (l->rpc_frozen_ms != 0 && l->rpc_frozen_ms < seen)
		seen = l->rpc_frozen_ms;
	/* A view that is too old fails closed. */
	if (l->no_read || seen + w->stale_ms + w->finality_ms < w->now)
		return;
	e.at = w->now + 5 + world_random(w, 100);
	e.view = calloc(1, sizeof *e.view);
	if (e.view == NULL)
		abort();
	chain_at(&w->chain, seen, e.view);
	if (w->reg != NULL) {
		struct registry_seen *r = calloc(1, sizeof *r);

		if (r == NULL)
			abort();
		r->block = e.view->block;
		e.data = r;
		if (!simreg_at(w->reg, &w->chain, seen, &r->state)) {
			free(r);
			e.data = NULL;
		}
	}
	net_push(w, &e);
}

static void
give_view(struct world *w, struct life *l, const struct event *ev)
{
	struct core_event e = { .kind = CORE_ANCHOR,
		.anchor = { .view = ev->view,
		    .asked_ms = ev->number + l->clock,
		    .wall_s = (int64_t)chain_time(w->now) } };
	const struct registry_seen *r = ev->data;
	uint64_t uid = l->uid;

	world_give(w, l, &e);
	if (r != NULL && l->used && l->uid == uid && !l->frozen) {
		e = (struct core_event){ .kind = CORE_REGISTRY,
			.registry = { .state = &r->state,
			    .block = &r->block,
			    .asked_ms = ev->number + l->clock,
			    .wall_s = (int64_t)chain_time(w->now) } };
		world_give(w, l, &e);
	}
	if (w->reg != NULL && l->used && l->uid == uid && !l->frozen)
		roots_poll(w, l);
}

static void
happen(struct world *w, struct event *e)
{
	struct life *l = world_life(w, e->uid);

	switch (e->kind) {
	case EV_MESSAGE:
		if (l != NULL)
			net_deliver(w, l, e->message);
		break;
	case EV_WRITTEN:
		if (l != NULL && l->writing && l->write.w.number == e->number)
			world_written(w, l, e->number);
		break;
	case EV_VIEW:
		if (l != NULL && !l->frozen && !l->no_read)
			give_view(w, l, e);
		break;
	case EV_TX:
		check_tx(w, l, &e->tx, chain_write(&w->chain, w->now, &e->tx));
		break;
	case EV_ROOTS:
	case EV_SAVED:
	case EV_KEYS:
	case EV_REGISTRY:
		roots_happen(w, l, e);
		break;
	case EV_NONE:
		break;
	}
}

static uint64_t
tick_at(const struct life *l)
{
	uint64_t d = core_deadline(l->core);

	if (l->frozen)
		return UINT64_MAX;
	d = d == UINT64_MAX ? d : d > l->clock ? d - l->clock : 0;
	return d <= l->last_tick ? l->last_tick + 1 : d;
}

static uint64_t
next_time(struct world *w)
{
	uint64_t at = w->n_events > 0 ? w->heap[0].at : UINT64_MAX;

	for (unsigned i = 0; i < LIVES_MAX; i++) {
		const struct life *l = &w->life[i];

		if (!l->used)
			continue;
		if (tick_at(l) < at)
			at = tick_at(l);
		if (!l->frozen && l->next_poll < at)
			at = l->next_poll;
	}
	for (unsigned i = 0; w->restarts && i < w->o.slots; i++)
		if (w->slot[i].restart_at != 0 && w->slot[i].restart_at < at)
			at = w->slot[i].restart_at;
	if (w->clients && w->next_client < at)
		at = w->next_client;
	if (w->operator&& w->next_operator<at)
		at = w->next_operator;
	if (w->governor && w->next_vote < at)
		at = w->next_vote;
	return at < w->now ? w->now : at;
}

static void
tick(struct world *w, struct life *l)
{
	struct core_event e = { .kind = CORE_TICK };

	l->spins = w->now <= l->last_tick + 1 ? l->spins + 1 : 0;
	l->last_tick = w->now;
	w->n.ticks++;
	if (l->spins > 2000) {
		world_fail(w, l, "its deadline stands still");
		return;
	}
	world_give(w, l, &e);
}

static void
restart(struct world *w, unsigned slot)
{
	w->slot[slot].restart_at = 0;
	if (world_at(w, slot) == NULL)
		(void)world_boot(w, slot, &w->slot[slot].disk);
}

static void
turn(struct world *w)
{
	struct event e;

	if (w->n_events > 0 && w->heap[0].at <= w->now) {
		(void)net_pop(w, &e);
		happen(w, &e);
		event_clear(&e);
		return;
	}
	for (unsigned i = 0; i < LIVES_MAX; i++) {
		struct life *l = &w->life[i];

		if (l->used && !l->frozen && l->next_poll <= w->now)
			poll_chain(w, l);
		if (l->used && tick_at(l) <= w->now)
			tick(w, l);
	}
	for (unsigned i = 0; w->restarts && i < w->o.slots; i++)
		if (w->slot[i].restart_at != 0 &&
		    w->slot[i].restart_at <= w->now)
			restart(w, i);
	if (w->clients && w->next_client <= w->now)
		clients_tick(w);
	if (w->operator&& w->next_operator <= w->now)
		operator_tick(w);
	if (w->governor && w->next_vote <= w->now)
		governor_tick(w);
}

bool
world_run_until(struct world *w, uint64_t ms,
    bool (*until)(struct world *w, void *cookie), void *cookie)
{
	while (!w->failed) {
		uint64_t at = next_time(w);

		if (until != NULL && until(w, cookie))
			return true;
		if (at > ms)
			break;
		w->now = at;
		turn(w);
		check_serving(w);
	}
	if (w->now < ms && !w->failed)
		w->now = ms;
	return false;
}

void
world_run(struct world *w, uint64_t ms)
{
	(void)world_run_until(w, ms, NULL, NULL);
}
