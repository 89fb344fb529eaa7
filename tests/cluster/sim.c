/* Schedules: each is one world under one adversary, given by its seed.
 *
 * usage: sim [--schedules N] [--seed S] [--plain] [--trace] [--keep-going]
 *
 * Prints TAP.  With --plain the protection is off, and a violation must be
 * found: the exit status is 0 if it was. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/cluster/world.h"

#define GROUP 250 /* schedules of one TAP line */

struct totals {
	uint64_t schedules, failed, worlds_ms;
	uint64_t n[32];
};

static bool
acked_since(struct world *w, void *cookie)
{
	return w->last_ack_ms > *(const uint64_t *)cookie;
}

static bool
slot_serves(const struct world *w, unsigned slot)
{
	for (unsigned i = 0; i < LIVES_MAX; i++) {
		const struct life *l = &w->life[i];

		if (l->used && l->slot == slot &&
		    core_serves(l->core, life_now(w, l), NULL) == ERR_OK)
			return true;
	}
	return false;
}

static bool
all_in(struct world *w, void *cookie)
{
	(void)cookie;
	for (unsigned i = 0; i < w->o.slots; i++)
		if (!slot_serves(w, i))
			return false;
	return true;
}

static bool
leads(struct world *w, void *cookie)
{
	(void)cookie;
	return world_leader(w) != NULL;
}

/* Some disk is left that goes up to the anchor. */
static bool
can_recover(const struct world *w)
{
	bool can = false;

	for (unsigned i = 0; i < LIVES_MAX; i++)
		can |= w->life[i].used && disk_counts(w, &w->life[i].disk);
	for (unsigned i = 0; i < w->o.slots; i++)
		can |= disk_counts(w, &w->slot[i].disk);
	return can;
}

/* Liveness: when the adversary has stopped, writes succeed again; without an
 * operator if a majority of incarnations is alive. */
static void
heal(struct world *w)
{
	uint64_t since;
	bool alone;

	adversary_stop(w);
	w->governor = false;
	/* What was on its way is read; nobody is in between. */
	w->operator= false;
	if (!w->failed)
		world_run(w, w->now + 2000);
	/* Who was about to open a generation has, or will not. */
	adversary_settle(w);
	if (!w->failed)
		world_run(w, w->now + 1000);
	since = w->now;
	if (w->failed)
		return;
	alone = world_quorum_alive(w);
	if (!alone && !can_recover(w)) {
		w->n.doomed++;
		return;
	}
	w->operator= !alone;
	w->down_since = 0;
	w->halted_since = 0;
	if (!world_run_until(
		w, w->now + (alone ? 20000 : 90000), acked_since, &since) &&
	    !w->failed)
		world_fail(w, NULL, "no write succeeds%s",
		    alone ? ", though a majority is alive" : "");
	if (!w->failed && !world_run_until(w, w->now + 40000, all_in, NULL) &&
	    !w->failed)
		world_fail(w, NULL, "not every node gets in");
	if (!w->failed && w->reg != NULL) {
		governor_settle(w);
		world_run(w, w->now + 12000);
		if (!w->failed)
			check_roots_end(w);
	}
	w->clients = false;
	if (!w->failed)
		world_run(w, w->now + 1500);
	if (!w->failed)
		(void)world_run_until(w, w->now + 10000, leads, NULL);
	check_end(w);
	if (w->failed)
		world_trace_lives(w);
}

static void
run(struct world *w)
{
	uint64_t end;

	if (!world_genesis(w)) {
		world_fail(w, NULL, "the cluster did not begin");
		return;
	}
	if (w->o.seed % 2 == 1 && !w->o.plain) {
		roots_begin(w);
		w->governor = true;
		w->next_vote = w->now;
	}
	adversary_begin(w);
	end = w->now + 10000 + world_random(w, 20000);
	while (!w->failed && w->now < end) {
		world_run(w, w->now + 50 + world_random(w, 1200));
		if (!w->failed)
			adversary_act(w);
	}
	if (!w->failed && !w->o.plain)
		heal(w);
}

static void
add(struct totals *t, const struct world *w)
{
	uint64_t n[32] = { 0 };

	memcpy(n, &w->n, sizeof w->n);
	for (unsigned i = 0; i < 32; i++)
		t->n[i] += n[i];
	t->worlds_ms += w->now;
	t->schedules++;
}

static void
summary(const struct totals *t, double seconds)
{
	struct world w;

	memcpy(&w.n, t->n, sizeof w.n);
#define P(name) printf("#   %-12s %llu\n", #name, (unsigned long long)w.n.name)
	printf("# %llu schedules, %.0f s of simulated time, %.1f s\n",
	    (unsigned long long)t->schedules, (double)t->worlds_ms / 1000,
	    seconds);
	P(steps);
	P(messages);
	P(ticks);
	P(commits);
	P(elections);
	P(acked);
	P(reads);
	P(denied);
	P(unknown);
	P(not_now);
	P(crashes);
	P(freezes);
	P(partitions);
	P(restores);
	P(forks);
	P(replays);
	P(halts);
	P(evictions);
	P(orders);
	P(recoveries);
	P(excused);
	P(lost);
	P(anchored);
	P(doomed);
	P(epochs);
	P(vetoed);
	P(destroyed);
	P(remade);
	P(stuck);
#undef P
	printf("#   %.0f schedules per minute\n",
	    seconds > 0 ? (double)t->schedules * 60 / seconds : 0);
}

static uint64_t
schedule(
    struct totals *t, uint64_t seed, bool plain, bool trace, uint64_t *vetoes)
{
	struct world_options o = { .slots = seed % 3 == 0 ? 5 : 3,
		.seed = seed,
		.plain = plain,
		.trace = trace };
	struct world *w = calloc(1, sizeof *w);
	bool failed;

	if (w == NULL)
		abort();
	world_init(w, &o);
	run(w);
	add(t, w);
	*vetoes += w->chain.vetoes;
	failed = w->failed;
	if (failed) {
		t->failed++;
		printf(
		    "# seed %llu: %s\n", (unsigned long long)seed, w->failure);
	}
	w->failed = true; /* what ends now is not checked */
	world_fini(w);
	free(w);
	return failed;
}

int
main(int argc, char **argv)
{
	uint64_t n = 200, seed = 1, vetoes = 0, first = 0, bad = 0;
	bool plain = false, keep = false;
	bool trace = getenv("SIM_TRACE") != NULL;
	struct totals t = { 0 };
	struct timespec a, b;
	unsigned test = 0;

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--plain") == 0)
			plain = true;
		else if (strcmp(argv[i], "--trace") == 0)
			trace = true;
		else if (strcmp(argv[i], "--keep-going") == 0)
			keep = true;
		else if (strcmp(argv[i], "--schedules") == 0 && i + 1 < argc)
			n = strtoull(argv[++i], NULL, 10);
		else if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc)
			seed = strtoull(argv[++i], NULL, 10);
		else {
			fprintf(stderr,
			    "usage: %s [--schedules N] [--seed S] [--plain] "
			    "[--trace] [--keep-going]\n",
			    argv[0]);
			return 2;
		}
	}
	(void)setvbuf(stdout, NULL, trace ? _IOLBF : _IOFBF, 0);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &a);
	for (uint64_t i = 0; i < n; i++) {
		if (schedule(&t, seed + i, plain, trace, &vetoes) != 0) {
			bad++;
			if (first == 0)
				first = i + 1;
			if (plain && !keep)
				break;
		}
		if (!plain && ((i + 1) % GROUP == 0 || i + 1 == n)) {
			printf("%sok %u - schedules %llu to %llu\n",
			    bad > 0 ? "not " : "", ++test,
			    (unsigned long long)(seed + i - i % GROUP),
			    (unsigned long long)(seed + i));
			(void)fflush(stdout);
			if (bad > 0 && !keep)
				break;
			bad = 0;
		}
	}
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &b);
	if (plain) {
		printf("%sok 1 - without protection a violation is found "
		       "(after %llu schedules)\n",
		    first > 0 ? "" : "not ", (unsigned long long)first);
		test = 1;
	}
	printf("1..%u\n", test);
	summary(&t,
	    (double)(b.tv_sec - a.tv_sec) +
		(double)(b.tv_nsec - a.tv_nsec) / 1e9);
	printf("#   %-12s %llu\n", "vetoes", (unsigned long long)vetoes);
	return plain ? first == 0 : t.failed > 0;
}
