/* T4, I8: random schedules, every property of raft after every step.
 *
 * ENGINE_SEEDS=n runs n schedules, ENGINE_SEED=s only that one. */
#include <stdlib.h>

#include <criterion/criterion.h>

#include "tests/lib/raftlab.h"
#include "tests/lib/raftlab_check.h"

#define SCHEDULES 3000
#define STEPS 300

static uint64_t state;

static unsigned
pick(unsigned n)
{
	/* splitmix64 */
	uint64_t z = (state += 0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return (unsigned)((z ^ (z >> 31)) % n);
}

static bool
leads(const struct raftlab *l, unsigned i)
{
	return l->node[i].e != NULL &&
	    engine_state(l->node[i].e) == ENGINE_LEADER;
}

/* One change at a time, after an entry of the own term is committed: I5. */
static void
change(struct raftlab *l, unsigned i)
{
	const struct engine *e = l->node[i].e;
	struct engine_config c = *engine_config(e), all;
	uint64_t term;
	unsigned k = pick(l->n), at = 0;

	if (!engine_term_at(e, engine_commit(e), &term) ||
	    term != engine_term(e))
		return;
	raftlab_config(&all, l->n);
	while (at < c.n && c.member[at].id != k + 1)
		at++;
	if (at == c.n) {
		c.member[c.n] = all.member[k];
		c.member[c.n++].role = (enum engine_role)pick(2);
	} else if (pick(2) == 0) {
		for (c.n--; at < c.n; at++)
			c.member[at] = c.member[at + 1];
	} else {
		c.member[at].role = c.member[at].role == ENGINE_VOTER
		    ? ENGINE_STANDBY
		    : ENGINE_VOTER;
	}
	/* Refused: the last voter, or the last change is under way. */
	(void)raftlab_change(l, i, &c);
}

static void
compact(struct raftlab *l, unsigned i)
{
	const struct engine *e = l->node[i].e;
	const struct engine_snapshot *s = engine_last_snapshot(e);
	uint64_t top = engine_commit(e) < engine_durable(e) ? engine_commit(e)
							    : engine_durable(e);
	uint64_t low = s != NULL ? s->index : 0;

	if (top > low)
		(void)raftlab_compact(
		    l, i, low + 1 + pick((unsigned)(top - low)), pick(4));
}

static void
disturb(struct raftlab *l, unsigned i)
{
	struct raftlab_node *n = &l->node[i];

	switch (pick(8)) {
	case 0:
		raftlab_crash(l, i);
		break;
	case 1:
		n->slow = !n->slow;
		break;
	case 2:
		l->cut[i][pick(l->n)] = pick(2);
		break;
	case 3:
		raftlab_isolate(l, i, pick(3) == 0);
		break;
	case 4:
		if (l->n_queue > 0)
			raftlab_drop(l, pick((unsigned)l->n_queue));
		break;
	case 5:
		if (n->e != NULL)
			compact(l, i);
		break;
	case 6: /* again: delivered twice */
		if (l->n_queue > 0)
			raftlab_repeat(l, pick((unsigned)l->n_queue));
		break;
	case 7:
		if (leads(l, i) && pick(2) == 0) {
			(void)engine_transfer(n->e, l->now, 0);
			raftlab_flush(l, i);
		}
		break;
	}
}

static void
step(struct raftlab *l)
{
	unsigned i = pick(l->n), what = pick(100);
	struct raftlab_node *n = &l->node[i];

	if (what < 45) {
		if (l->n_queue > 0)
			/* Mostly in order, sometimes not. */
			raftlab_deliver(
			    l, pick(4) > 0 ? 0 : pick((unsigned)l->n_queue));
	} else if (what < 60) {
		raftlab_persist(l, i);
	} else if (what < 72) {
		l->now += pick(60);
		raftlab_tick(l, i);
	} else if (what < 75) {
		l->now += 200 + pick(400);
		raftlab_tick(l, i);
	} else if (what < 86) {
		if (pick(3) > 0 && raftlab_leader(l) >= 0)
			i = (unsigned)raftlab_leader(l);
		if (leads(l, i) && pick(4) > 0)
			(void)raftlab_submit(l, i, "x");
		else if (leads(l, i))
			change(l, i);
	} else if (n->e == NULL) {
		raftlab_start(l, i);
	} else {
		disturb(l, i);
	}
}

static bool
votes(const struct engine *e, uint64_t id)
{
	const struct engine_config *c = engine_config(e);

	for (unsigned k = 0; k < c->n; k++)
		if (c->member[k].id == id)
			return c->member[k].role == ENGINE_VOTER;
	return false;
}

/* Whether node `i` can win.  A voter that does not know yet that it is one
 * gives no vote (I7), even to the one that made it a voter: when its vote is
 * needed and that one does not lead any more, nobody can. */
static bool
can_win(const struct raftlab *l, unsigned i)
{
	const struct engine *e = l->node[i].e, *o;
	uint64_t term = 0, other = 0;
	unsigned n = 0, yes = 0;

	(void)engine_term_at(e, engine_last(e), &term);
	for (unsigned k = 0; k < l->n; k++) {
		o = l->node[k].e;
		(void)engine_term_at(o, engine_last(o), &other);
		n += votes(e, k + 1);
		yes += votes(e, k + 1) && votes(o, k + 1) &&
		    (other < term ||
			(other == term && engine_last(o) <= engine_last(e)));
	}
	return votes(e, i + 1) && yes > n / 2;
}

/* When everything is well again, the cluster serves. */
static void
recover(struct raftlab *l)
{
	bool possible = false;
	int leader;
	uint64_t at;

	for (unsigned i = 0; i < l->n; i++) {
		l->node[i].slow = false;
		raftlab_isolate(l, i, false);
		raftlab_persist(l, i);
		if (l->node[i].e == NULL)
			raftlab_start(l, i);
	}
	raftlab_pump(l);
	for (unsigned i = 0; i < l->n; i++)
		possible |= can_win(l, i);
	raftlab_run(l, 4000);
	leader = raftlab_leader(l);
	if (leader < 0 && !possible)
		return;
	if (leader < 0) {
		raftlab_break(l, "no leader in the end");
		return;
	}
	if (raftlab_submit(l, (unsigned)leader, "end") != ERR_OK)
		raftlab_break(l, "the leader takes nothing");
	at = engine_last(l->node[leader].e);
	raftlab_run(l, 1000);
	/* A lost snapshot that was replaced meanwhile is given up late. */
	if (engine_commit(l->node[leader].e) < at)
		raftlab_run(l, 32000);
	if (engine_commit(l->node[leader].e) < at)
		raftlab_break(l, "nothing is committed in the end");
}

static void
run(unsigned seed, unsigned *n_reigns, uint64_t *highest)
{
	struct raftlab *l = malloc(sizeof *l);

	cr_assert_not_null(l);
	state = seed;
	raftlab_init(l, 3 + pick(3), 1 + pick(3), seed);
	for (unsigned i = 0; i < l->n; i++)
		l->node[i].slow = pick(2) == 0;
	for (unsigned k = 0;
	     k < STEPS && l->broken[0] == '\0' && l->stopped == ERR_OK; k++)
		step(l);
	if (l->broken[0] == '\0' && l->stopped == ERR_OK)
		recover(l);
	cr_assert(l->stopped == ERR_OK && l->broken[0] == '\0',
	    "ENGINE_SEED=%u: %s%s", seed, l->broken,
	    l->stopped != ERR_OK ? err_text(l->stopped) : "");
	*n_reigns += l->n_reigns;
	*highest += l->highest;
	raftlab_fini(l);
	free(l);
}

/* One leader in a term, one past of each entry, nothing committed is lost,
 * nobody votes twice: whatever is lost, late, twice, cut or crashed. */
Test(engine_random, schedules)
{
	const char *one = getenv("ENGINE_SEED"), *many = getenv("ENGINE_SEEDS");
	unsigned n =
	    many != NULL ? (unsigned)strtoul(many, NULL, 10) : SCHEDULES;
	unsigned n_reigns = 0;
	uint64_t highest = 0;

	if (one != NULL) {
		run((unsigned)strtoul(one, NULL, 10), &n_reigns, &highest);
		return;
	}
	for (unsigned seed = 1; seed <= n; seed++)
		run(seed, &n_reigns, &highest);
	/* The schedules lead somewhere. */
	cr_log_info("%u terms with a leader, %llu entries committed", n_reigns,
	    (unsigned long long)highest);
	cr_assert(n_reigns > n && highest > 5 * (uint64_t)n);
}
