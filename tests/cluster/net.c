/* Links, and everything else that takes time: a heap of events. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "tests/cluster/world.h"

/* ---- the heap ---- */

static bool
before(const struct event *a, const struct event *b)
{
	return a->at < b->at || (a->at == b->at && a->seq < b->seq);
}

void
net_push(struct world *w, struct event *e)
{
	size_t i = w->n_events++;

	e->seq = w->next_seq++;
	if (w->n_events > w->events_cap) {
		w->events_cap = w->events_cap == 0 ? 256 : w->events_cap * 2;
		w->heap = realloc(w->heap, w->events_cap * sizeof *w->heap);
		if (w->heap == NULL)
			abort();
	}
	for (; i > 0 && before(e, &w->heap[(i - 1) / 2]); i = (i - 1) / 2)
		w->heap[i] = w->heap[(i - 1) / 2];
	w->heap[i] = *e;
}

bool
net_pop(struct world *w, struct event *out)
{
	struct event last;
	size_t i = 0;

	if (w->n_events == 0)
		return false;
	*out = w->heap[0];
	last = w->heap[--w->n_events];
	for (;;) {
		size_t k = 2 * i + 1;

		if (k >= w->n_events)
			break;
		if (k + 1 < w->n_events && before(&w->heap[k + 1], &w->heap[k]))
			k++;
		if (!before(&w->heap[k], &last))
			break;
		w->heap[i] = w->heap[k];
		i = k;
	}
	w->heap[i] = last;
	return true;
}

void
message_clear(struct message *m)
{
	buf_fini(&m->bytes);
}

void
event_clear(struct event *e)
{
	if (e->message != NULL)
		message_clear(e->message);
	free(e->message);
	free(e->view);
	free(e->data);
	*e = (struct event){ 0 };
}

/* ---- links ---- */

static void
copy(struct message *to, const struct message *from)
{
	*to = *from;
	to->bytes = (struct buf){ 0 };
	if (buf_set(&to->bytes, from->bytes.p, from->bytes.len) != ERR_OK)
		abort();
}

static void
push_message(struct world *w, uint64_t to, const struct message *m)
{
	struct event e = { .kind = EV_MESSAGE,
		.uid = to,
		.at = w->now + w->delay_min +
		    world_random(w, w->delay_max - w->delay_min + 1) };

	e.message = calloc(1, sizeof *e.message);
	if (e.message == NULL)
		abort();
	copy(e.message, m);
	net_push(w, &e);
}

/* A session counts its messages, so what it carries comes once.  Raft must
 * stand more; what is forwarded for a client need not (T24 does it). */
static bool
may_come_twice(const struct message *m)
{
	return m->bytes.len < 4 || m->bytes.p[3] != 5;
}

bool
net_connected(const struct world *w, const struct life *a, const struct life *b)
{
	return a->group == b->group && !w->cut[a->slot][b->slot];
}

void
net_send(struct world *w, struct life *from, const struct core_action *a)
{
	static const uint8_t anybody[INCARNATION_ID_LEN];
	const struct member *to = &a->send.to;
	bool all = memcmp(to->incarnation, anybody, sizeof anybody) == 0;
	struct message m = { .from = from->self,
		.from_uid = from->uid,
		.bytes = a->send.bytes };

	if (w->n_tape < TAPE_MAX)
		copy(&w->tape[w->n_tape++], &m);
	else if (world_chance(w, 20)) {
		unsigned k = (unsigned)world_random(w, TAPE_MAX);

		message_clear(&w->tape[k]);
		copy(&w->tape[k], &m);
	}
	for (unsigned i = 0; i < LIVES_MAX; i++) {
		struct life *l = &w->life[i];
		bool same = memcmp(l->self.incarnation, to->incarnation,
				INCARNATION_ID_LEN) == 0;

		/* Without incarnations a link ends at the slot. */
		if (w->o.plain && !all)
			same = strcmp(to->slot, l->self.slot) == 0;
		if (!l->used || l == from || (!all && !same) ||
		    !net_connected(w, from, l) || world_chance(w, w->drop))
			continue;
		push_message(w, l->uid, &m);
		if (may_come_twice(&m) && world_chance(w, w->twice))
			push_message(w, l->uid, &m);
	}
}

void
net_deliver(struct world *w, struct life *l, const struct message *m)
{
	struct core_event e = { .kind = CORE_MESSAGE,
		.message = { .from = &m->from, .bytes = buf_view(&m->bytes) } };

	if (l->frozen) {
		if (l->n_backlog < BACKLOG_MAX)
			copy(&l->backlog[l->n_backlog++], m);
		return;
	}
	w->n.messages++;
	world_give(w, l, &e);
}

/* The host plays something from its tape to somebody, also to who sent it,
 * as from who sent it.  Sessions would not let it pass. */
void
net_replay(struct world *w)
{
	const struct message *m;
	struct life *l = &w->life[world_random(w, LIVES_MAX)];

	if (w->n_tape == 0 || !l->used)
		return;
	m = &w->tape[world_random(w, w->n_tape)];
	if (!may_come_twice(m))
		return;
	w->n.replays++;
	push_message(w, l->uid, m);
}
