/* Named scenarios (raft-nng-rollback.md 6); prints TAP.
 *
 * usage: scenarios [NAME]     one of them, with its trace */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/cluster/scenario.h"

bool
scene_wait_leader(struct world *w, uint64_t ms)
{
	for (uint64_t end = w->now + ms; w->now < end && !w->failed;) {
		if (world_leader(w) != NULL)
			return true;
		world_run(w, w->now + 20);
	}
	return false;
}

bool
scene_write(struct world *w, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		uint64_t acked = w->n.acked;
		struct life *l;

		for (unsigned k = 0; k < 100 && w->n.acked == acked; k++) {
			if (!scene_wait_leader(w, 5000))
				return false;
			l = world_leader(w);
			(void)clients_ask(w, l, OP_INCREMENT, 0,
			    scene_value(w, l), ++w->next_op);
			world_run(w, w->now + 60);
		}
		if (w->n.acked == acked || w->failed)
			return false;
	}
	return true;
}

static bool
scene_plain(struct world *w)
{
	for (unsigned i = 0; i < 200 && !w->failed; i++) {
		struct life *l = world_leader(w);

		if (l != NULL &&
		    engine_config(core_engine(l->core))->n == w->o.slots)
			return true;
		world_run(w, w->now + 100);
	}
	return false;
}

bool
scene(struct world *w, bool plain)
{
	(void)plain;
	return world_genesis(w) && (!w->o.plain || scene_plain(w));
}

void
scene_stop(struct world *w, unsigned slot)
{
	struct life *l = world_at(w, slot);

	if (l != NULL)
		world_kill(w, l, true);
}

struct life *
scene_start(struct world *w, unsigned slot, const struct disk *disk)
{
	return world_boot(w, slot, disk);
}

bool
scene_phase(struct world *w, struct life *l, enum core_phase p, uint64_t ms)
{
	uint64_t uid = l->uid;

	for (uint64_t end = w->now + ms; w->now < end && !w->failed;) {
		if (!l->used || l->uid != uid)
			return p == CORE_HALTED;
		if (core_phase(l->core) == p)
			return true;
		world_run(w, w->now + 20);
	}
	return false;
}

bool
scene_serves(const struct world *w, const struct life *l)
{
	return l->used && !l->frozen &&
	    core_serves(l->core, life_now(w, l), NULL) == ERR_OK;
}

enum reason
scene_waits(const struct life *l)
{
	struct core_status s;

	core_status(l->core, &s);
	return s.waiting.code;
}

void
scene_order(struct world *w, const struct life *l, bool lossy)
{
	chain_order(&w->chain, w->now, l->self.incarnation, lossy);
}

uint64_t
scene_value(const struct world *w, const struct life *l)
{
	return clients_now_value(w, l, 0);
}

static bool
run_one(const struct scenario *s, unsigned number, bool trace)
{
	struct world_options o = {
		.slots = 3, .seed = 42, .plain = s->plain, .trace = trace
	};
	struct world *w = calloc(1, sizeof *w);
	const char *bad;

	if (w == NULL)
		abort();
	world_init(w, &o);
	w->arg = s->arg;
	bad = scene(w, s->plain) ? s->run(w) : "the cluster did not begin";
	if (bad == NULL && w->failed && !s->plain)
		bad = w->failure;
	printf("%sok %u - %s%s%s\n", bad == NULL ? "" : "not ", number, s->name,
	    bad == NULL ? "" : ": ", bad == NULL ? "" : bad);
	if (bad != NULL && w->failed)
		printf("#   %s\n", w->failure);
	if (trace)
		world_trace_lives(w);
	w->failed = true;
	world_fini(w);
	free(w);
	return bad == NULL;
}

int
main(int argc, char **argv)
{
	static const struct scenario *const all[] = { scenarios_disk,
		scenarios_cold, scenarios_member, scenarios_rotate };
	unsigned n = 0, bad = 0;

	for (unsigned i = 0; i < sizeof all / sizeof *all; i++)
		for (const struct scenario *s = all[i]; s->name != NULL; s++) {
			if (argc > 1 && strcmp(argv[1], s->name) != 0)
				continue;
			bad += !run_one(s, ++n, argc > 1);
		}
	printf("1..%u\n", n);
	return n == 0 || bad > 0;
}
