/* Clients: increments with the value they expect, reads, now and then a new
 * epoch.  What they were told is kept, and compared (linearizability): an
 * acknowledged increment gives a value once; whoever asks later sees it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/rd.h"
#include "common/base/wr.h"
#include "tests/cluster/world.h"

void
clients_counter_name(unsigned counter, uint8_t app_id[static 20],
    char name[static COUNTER_NAME_MAX])
{
	memset(app_id, 0x11, 20);
	(void)snprintf(name, COUNTER_NAME_MAX, "c%u", counter);
}

uint64_t
clients_op_of(const struct command *c)
{
	struct rd r = { .p = c->u.increment.operation, .left = 8 };

	return c->kind == COMMAND_INCREMENT ? rd_be64(&r) : 0;
}

uint64_t
clients_now_value(const struct world *w, const struct life *l, unsigned counter)
{
	uint8_t app[20];
	char name[COUNTER_NAME_MAX];

	(void)w;
	clients_counter_name(counter, app, name);
	return ledger_counter_get(core_ledger(l->core), app, name);
}

/* ---- asking ---- */

static void
increment(struct buf *out, const struct op *o)
{
	struct command c = { .kind = COMMAND_INCREMENT, .time = 1700000000 };
	struct wr wr = { .p = c.u.increment.operation, .cap = 16 };

	clients_counter_name(
	    o->counter, c.u.increment.app_id, c.u.increment.name);
	c.u.increment.expected = o->expected;
	wr_be64(&wr, o->id);
	if (command_write(out, &c) != ERR_OK)
		abort();
}

/* An epoch whose roots are the curves' base points: number 0, or the next
 * order's of number 1. */
void
clients_epoch(struct buf *out, uint64_t order)
{
	/* clang-format off */
	static const uint8_t k256[33] = {
		0x02, 0x79, 0xbe, 0x66, 0x7e, 0xf9, 0xdc, 0xbb, 0xac, 0x55,
		0xa0, 0x62, 0x95, 0xce, 0x87, 0x0b, 0x07, 0x02, 0x9b, 0xfc,
		0xdb, 0x2d, 0xce, 0x28, 0xd9, 0x59, 0xf2, 0x81, 0x5b, 0x16,
		0xf8, 0x17, 0x98 };
	static const uint8_t p256[64] = {
		0x6b, 0x17, 0xd1, 0xf2, 0xe1, 0x2c, 0x42, 0x47, 0xf8, 0xbc,
		0xe6, 0xe5, 0x63, 0xa4, 0x40, 0xf2, 0x77, 0x03, 0x7d, 0x81,
		0x2d, 0xeb, 0x33, 0xa0, 0xf4, 0xa1, 0x39, 0x45, 0xd8, 0x98,
		0xc2, 0x96, 0x4f, 0xe3, 0x42, 0xe2, 0xfe, 0x1a, 0x7f, 0x9b,
		0x8e, 0xe7, 0xeb, 0x4a, 0x7c, 0x0f, 0x9e, 0x16, 0x2b, 0xce,
		0x33, 0x57, 0x6b, 0x31, 0x5e, 0xce, 0xcb, 0xb6, 0x40, 0x68,
		0x37, 0xbf, 0x51, 0xf5 };
	/* clang-format on */
	struct command c = { .kind = COMMAND_EPOCH, .time = 1700000000 };

	c.u.epoch.pub.number = order > 0;
	c.u.epoch.origin.order = order;
	memcpy(c.u.epoch.pub.k256.b, k256, sizeof k256);
	memcpy(c.u.epoch.pub.ca.xy, p256, sizeof p256);
	c.u.epoch.wrapped[0] = (uint8_t)order;
	c.u.epoch.has_certificate = order > 0;
	if (command_write(out, &c) != ERR_OK)
		abort();
}

/* To the life `expected`, of what this one has. */
static void
handover(struct world *w, struct life *l, struct buf *out, const struct op *o)
{
	struct command c = { .kind = COMMAND_HANDOVER, .time = 1700000000 };
	const struct ledger *g = core_ledger(l->core);
	const struct life *to = world_life(w, o->expected);

	for (uint64_t n = 0; n < ledger_n_epochs(g); n++)
		if (roots_usable(l, &ledger_epoch(g, n)->pub.k256))
			c.u.handover.epoch = n;
	c.u.handover.to = to->self;
	if (command_write(out, &c) != ERR_OK)
		abort();
}

struct op *
clients_ask(struct world *w, struct life *l, enum op_kind kind,
    unsigned counter, uint64_t expected, uint64_t id)
{
	struct core_event e = { .kind =
				    kind == OP_READ ? CORE_READ : CORE_SUBMIT };
	struct buf b = { 0 };
	struct op *o = NULL;

	for (unsigned i = 0; i < OPS_MAX && o == NULL; i++)
		if (!w->op[i].used)
			o = &w->op[i];
	if (o == NULL || l->frozen)
		return NULL;
	*o = (struct op){ .used = true,
		.kind = kind,
		.ticket = ++w->next_ticket,
		.uid = l->uid,
		.id = id,
		.counter = counter,
		.expected = expected,
		.again = id != 0 && id == w->retry_op[counter],
		.invoked_ms = w->now,
		.floor = w->acked_max[counter],
		.lineage_epoch = w->lineage_epoch };
	if (kind == OP_READ) {
		e.read_ticket = o->ticket;
		world_give(w, l, &e);
		return o;
	}
	if (kind == OP_INCREMENT)
		increment(&b, o);
	else if (kind == OP_HANDOVER)
		handover(w, l, &b, o);
	else
		clients_epoch(&b, o->expected);
	if (kind == OP_INCREMENT && w->possible[counter] < expected + 1)
		w->possible[counter] = expected + 1;
	e.submit.ticket = o->ticket;
	e.submit.command = buf_view(&b);
	world_give(w, l, &e);
	buf_fini(&b);
	return o;
}

void
clients_tick(struct world *w)
{
	unsigned c = (unsigned)world_random(w, COUNTERS);
	struct life *l = &w->life[world_random(w, LIVES_MAX)];

	w->next_client = w->now + 1 + world_random(w, 2ull * w->client_every);
	for (unsigned i = 0; i < 8 && (!l->used || l->frozen); i++)
		l = &w->life[world_random(w, LIVES_MAX)];
	if (!l->used || l->frozen)
		return;
	if (world_chance(w, 250)) {
		(void)clients_ask(w, l, OP_READ, c, 0, 0);
		return;
	}
	if (w->reg == NULL && world_chance(w, 15)) {
		if (ledger_n_epochs(core_ledger(l->core)) > 0)
			(void)clients_ask(w, l, OP_EPOCH, 0, ++w->next_op, 0);
		return;
	}
	/* The same attempt again, if its outcome was not told. */
	if (w->retry_op[c] != 0 && world_chance(w, 500)) {
		(void)clients_ask(w, l, OP_INCREMENT, c, w->retry_expected[c],
		    w->retry_op[c]);
		return;
	}
	(void)clients_ask(w, l, OP_INCREMENT, c, w->known[c], ++w->next_op);
}

/* ---- answers ---- */

static void
note_acked(struct world *w, const struct op *o, uint64_t value, uint64_t index,
    uint64_t generation)
{
	if (w->n_acked == w->acked_cap) {
		w->acked_cap = w->acked_cap == 0 ? 256 : w->acked_cap * 2;
		w->acked = realloc(w->acked, w->acked_cap * sizeof *w->acked);
		if (w->acked == NULL)
			abort();
	}
	w->acked[w->n_acked++] = (struct acked){ .id = o->id,
		.value = value,
		.index = index,
		.generation = generation,
		.ms = w->now,
		.counter = o->counter };
	if (w->acked_max[o->counter] < value)
		w->acked_max[o->counter] = value;
	w->n.acked++;
	w->last_ack_ms = w->now;
}

static void
acked_increment(struct world *w, struct life *l, const struct op *o,
    const struct core_action *a)
{
	uint64_t g = core_generation(l->core), v = a->done.result.value;
	const struct lineage *g1 =
	    g < GENERATIONS_MAX ? &w->lineage[g] : &w->lineage[0];

	if (v != o->expected + 1)
		world_fail(w, l, "an increment from %llu gives %llu",
		    (unsigned long long)o->expected, (unsigned long long)v);
	if (o->lineage_epoch == w->lineage_epoch && v < o->floor)
		world_fail(w, l,
		    "value %llu of c%u, after %llu was acknowledged",
		    (unsigned long long)v, o->counter,
		    (unsigned long long)o->floor);
	if (g + 1 < GENERATIONS_MAX && w->lineage[g + 1].open &&
	    a->done.index > w->lineage[g + 1].open_index)
		world_fail(w, l,
		    "entry %llu of generation %llu is acknowledged after the "
		    "next one began at %llu",
		    (unsigned long long)a->done.index, (unsigned long long)g,
		    (unsigned long long)w->lineage[g + 1].open_index);
	if (a->done.index >= g1->n || !g1->at[a->done.index].known ||
	    g1->at[a->done.index].op != o->id)
		world_fail(w, l, "entry %llu is acknowledged, and is not it",
		    (unsigned long long)a->done.index);
	for (size_t i = 0; i < w->n_acked; i++) {
		const struct acked *k = &w->acked[i];

		if (!k->lost && k->counter == o->counter && k->value == v &&
		    k->id != o->id)
			world_fail(w, l, "value %llu of c%u is given twice",
			    (unsigned long long)v, o->counter);
	}
	note_acked(w, o, v, a->done.index, g);
	w->known[o->counter] = v;
	if (w->retry_op[o->counter] == o->id)
		w->retry_op[o->counter] = 0;
}

static void
answered_read(struct world *w, struct life *l, const struct op *o)
{
	uint64_t v = clients_now_value(w, l, o->counter);

	w->n.reads++;
	if (o->lineage_epoch != w->lineage_epoch)
		return;
	if (v < o->floor)
		world_fail(w, l,
		    "a read of c%u gives %llu, after %llu was acknowledged",
		    o->counter, (unsigned long long)v,
		    (unsigned long long)o->floor);
	if (v > w->possible[o->counter])
		world_fail(w, l, "a read of c%u gives %llu, at most %llu is",
		    o->counter, (unsigned long long)v,
		    (unsigned long long)w->possible[o->counter]);
	w->known[o->counter] = v;
}

/* It was told "no": it must never have had its effect. */
static void
check_denied(struct world *w, struct life *l, const struct op *o)
{
	uint64_t g = core_generation(l->core);

	w->n.denied++;
	if (o->again || g >= GENERATIONS_MAX)
		return;
	for (size_t i = 1; i < w->lineage[g].n; i++)
		if (w->lineage[g].at[i].op == o->id &&
		    w->lineage[g].at[i].applied)
			world_fail(w, l, "operation %llu is denied, and done",
			    (unsigned long long)o->id);
}

void
clients_done(struct world *w, struct life *l, const struct core_action *a)
{
	enum core_outcome_kind kind = a->done.kind;
	struct op *o = NULL;

	for (unsigned i = 0; i < OPS_MAX; i++)
		if (w->op[i].used && w->op[i].ticket == a->done.ticket)
			o = &w->op[i];
	if (o == NULL) {
		world_fail(w, l, "an outcome that nobody waits for");
		return;
	}
	o->used = false;
	/* The owner asks whether the answer may leave (I7, P7). */
	if (kind == CORE_OK &&
	    core_serves(l->core, life_now(w, l), NULL) != ERR_OK)
		kind = o->kind == OP_READ ? CORE_NOT_NOW : CORE_UNKNOWN;
	if (kind == CORE_UNKNOWN) {
		w->n.unknown++;
		if (o->kind == OP_INCREMENT) {
			w->retry_op[o->counter] = o->id;
			w->retry_expected[o->counter] = o->expected;
		}
		return;
	}
	if (kind == CORE_NOT_NOW) {
		w->n.not_now++;
		return;
	}
	if (o->kind == OP_READ) {
		answered_read(w, l, o);
	} else if (o->kind == OP_HANDOVER) {
		if (a->done.result.err == ERR_OK)
			roots_handed(w, l, o->expected);
	} else if (o->kind == OP_INCREMENT) {
		if (a->done.result.err == ERR_OK) {
			acked_increment(w, l, o, a);
			return;
		}
		check_denied(w, l, o);
		w->known[o->counter] = a->done.result.value;
		if (w->retry_op[o->counter] == o->id)
			w->retry_op[o->counter] = 0;
	}
}

void
clients_life_over(struct world *w, const struct life *l)
{
	for (unsigned i = 0; i < OPS_MAX; i++) {
		struct op *o = &w->op[i];

		if (!o->used || o->uid != l->uid)
			continue;
		o->used = false;
		w->n.unknown++;
		if (o->kind == OP_INCREMENT) {
			w->retry_op[o->counter] = o->id;
			w->retry_expected[o->counter] = o->expected;
		}
	}
}

/* It is not above the point at which the generation begins, but there its
 * opener's disk may hold another entry, which nobody had committed. */
static bool
is_kept(const struct lineage *g, const struct acked *k, uint64_t index)
{
	return k->index <= index &&
	    (!g->at[k->index].known || g->at[k->index].op == k->id);
}

void
clients_generation(struct world *w, uint64_t generation, uint64_t index)
{
	uint64_t lost = 0;

	for (size_t i = 0; i < w->n_acked; i++) {
		struct acked *k = &w->acked[i];

		if (k->lost || k->generation >= generation ||
		    is_kept(&w->lineage[generation], k, index))
			continue;
		k->lost = true;
		lost++;
	}
	w->n.lost += lost;
	if (lost == 0)
		return;
	if (!w->lineage[generation].excused)
		world_fail(w, NULL,
		    "%llu acknowledged writes are not in generation %llu, "
		    "which began at %llu",
		    (unsigned long long)lost, (unsigned long long)generation,
		    (unsigned long long)index);
	w->lineage_epoch++;
	memset(w->acked_max, 0, sizeof w->acked_max);
	for (size_t i = 0; i < w->n_acked; i++) {
		const struct acked *k = &w->acked[i];

		if (!k->lost && w->acked_max[k->counter] < k->value)
			w->acked_max[k->counter] = k->value;
	}
	/* Clients learn it as they go on. */
	memset(w->known, 0, sizeof w->known);
	memset(w->retry_op, 0, sizeof w->retry_op);
}
