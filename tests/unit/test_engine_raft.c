/* Raft itself, through the engine and the linked libraft: T1, T3, T28. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include <raft.h>

#include "tests/lib/raftlab.h"
#include "tests/lib/raftmsg.h"

/* T28: Debian 12's own 0.15 fails Figure 8; engine_int.h says the same. */
static_assert(RAFT_VERSION_NUMBER >= 2201, "libraft 0.22.1 or newer");

static struct raftlab *
lab(unsigned n, unsigned voters)
{
	struct raftlab *l = malloc(sizeof *l);

	cr_assert_not_null(l);
	raftlab_init(l, n, voters, 1);
	return l;
}

static void
done(struct raftlab *l)
{
	cr_expect_str_empty(l->broken);
	cr_expect_eq(l->stopped, ERR_OK);
	raftlab_fini(l);
	free(l);
}

static struct engine *
at(const struct raftlab *l, unsigned i)
{
	return l->node[i].e;
}

/* Only nodes in `mask` reach each other. */
static void
only(struct raftlab *l, unsigned mask)
{
	for (unsigned i = 0; i < l->n; i++)
		for (unsigned k = 0; k < l->n; k++)
			l->cut[i][k] = (mask >> i & mask >> k & 1) == 0;
}

/* Appends on their way keep what they have up to `index`. */
static void
hold_back(struct raftlab *l, uint64_t index)
{
	for (size_t k = 0; k < l->n_queue; k++)
		if (l->queue[k].bytes.p[0] == MSG_APPEND)
			raftmsg_limit(&l->queue[k].bytes, index);
}

/* Figure 8 (a) to (c): S1 wrote 2^2 to itself and S2; S5 led term 3 with
 * another 2; S1 leads again and has brought 2^2 to S3, a majority. */
static struct raftlab *
figure_8(void)
{
	struct raftlab *l = lab(5, 5);
	uint64_t term;

	cr_assert(raftlab_elect(l, 0));
	raftlab_run(l, 300);
	only(l, 1 | 2);
	cr_assert_eq(raftlab_submit(l, 0, "two"), ERR_OK);
	raftlab_pump(l);
	cr_assert_eq(engine_last(at(l, 1)), 2);
	raftlab_crash(l, 0);
	only(l, 4 | 8 | 16);
	cr_assert(raftlab_elect(l, 4));
	term = engine_term(at(l, 4));
	only(l, 16);
	cr_assert_eq(raftlab_submit(l, 4, "other"), ERR_OK);
	raftlab_pump(l);
	cr_assert_eq(engine_last(at(l, 4)), 2);
	raftlab_crash(l, 4);

	raftlab_start(l, 0);
	only(l, 1 | 2 | 4);
	/* Its barrier stays at home: only votes are delivered in full. */
	for (unsigned t = 0; engine_state(at(l, 0)) != ENGINE_LEADER; t++) {
		cr_assert_lt(t, 400);
		l->now += 10;
		for (unsigned i = 1; i <= 2; i++)
			if (engine_leader(at(l, i)) != 0 &&
			    engine_deadline(at(l, i)) <= l->now)
				raftlab_tick(l, i);
		while (l->n_queue > 0)
			raftlab_drop(l, 0);
		raftlab_tick(l, 0);
		while (
		    l->n_queue > 0 && engine_state(at(l, 0)) != ENGINE_LEADER)
			raftlab_deliver(l, 0);
	}
	cr_assert_gt(engine_term(at(l, 0)), term);
	/* 2^2 reaches S3, nothing later reaches anyone. */
	for (unsigned k = 0; k < 40; k++) {
		if (k % 8 == 0) {
			l->now += 60;
			raftlab_tick(l, 0);
		}
		hold_back(l, 2);
		if (l->n_queue > 0)
			raftlab_deliver(l, 0);
	}
	while (l->n_queue > 0)
		raftlab_drop(l, 0);
	return l;
}

/* T1: an entry of an old term is on a majority: it is not committed, and S5
 * may still replace it. */
Test(engine_raft, figure_8_d)
{
	struct raftlab *l = figure_8();

	cr_assert_eq(engine_state(at(l, 0)), ENGINE_LEADER);
	cr_assert_eq(engine_last(at(l, 1)), 2);
	cr_assert_eq(engine_last(at(l, 2)), 2);
	cr_assert_geq(engine_match(at(l, 0), 2), 2);
	cr_assert_geq(engine_match(at(l, 0), 3), 2);
	cr_assert_eq(engine_commit(at(l, 0)), 1, "an old term's entry counts");
	raftlab_crash(l, 0);
	raftlab_start(l, 4);
	only(l, 2 | 4 | 8 | 16);
	cr_assert(raftlab_elect(l, 4));
	raftlab_run(l, 500);
	cr_assert_geq(engine_commit(at(l, 1)), 2);
	raftlab_start(l, 0);
	only(l, 31);
	raftlab_run(l, 1000);
	cr_assert(raftlab_agree(l));
	done(l);
}

/* T1: an entry of its own term on a majority commits both, and S5 has lost. */
Test(engine_raft, figure_8_e)
{
	struct raftlab *l = figure_8();
	struct engine_entry en;

	raftlab_run(l, 300);
	cr_assert_eq(engine_commit(at(l, 0)), 3);
	raftlab_crash(l, 0);
	raftlab_start(l, 4);
	only(l, 2 | 4 | 8 | 16);
	cr_assert(!raftlab_elect(l, 4));
	raftlab_start(l, 0);
	only(l, 31);
	raftlab_run(l, 3000);
	cr_assert(raftlab_agree(l));
	cr_assert_eq(engine_entry(at(l, 4), 2, &en), ERR_OK);
	cr_assert_eq(en.term, 2);
	done(l);
}

/* Ongaro 2015: S1 adds S5 and is cut off; S2 removes S1; both changes start
 * from the first configuration.  With `rule`, S2 first commits an entry of
 * its own term. */
static struct raftlab *
two_changes(bool rule)
{
	struct raftlab *l = lab(5, 4);
	struct engine_config c, all;

	cr_assert(raftlab_elect(l, 0));
	raftlab_run(l, 300);
	raftlab_config(&all, 5);
	c = all;
	only(l, 1 | 16);
	cr_assert_eq(raftlab_change(l, 0, &c), ERR_OK);
	raftlab_pump(l);
	raftlab_run(l, 120);
	cr_assert_eq(engine_last(at(l, 4)), 2);
	cr_assert_eq(engine_commit(at(l, 0)), 1);
	only(l, 2 | 4 | 8);
	cr_assert(raftlab_elect(l, 1));
	if (rule)
		cr_assert_eq(raftlab_submit(l, 1, "mine"), ERR_OK);
	raftlab_pump(l);
	c = (struct engine_config){ .n = 3 };
	memcpy(c.member, all.member + 1, 3 * sizeof c.member[0]);
	only(l, 2 | 4);
	cr_assert_eq(raftlab_change(l, 1, &c), ERR_OK);
	raftlab_pump(l);
	raftlab_run(l, 120);
	cr_assert_geq(engine_commit(at(l, 1)), 2);
	only(l, 1 | 8 | 16);
	return l;
}

/* T3: without the rule, two majorities that do not meet; libraft does not
 * prevent it. */
Test(engine_raft, two_leaders_without_the_rule)
{
	struct raftlab *l = two_changes(false);

	raftlab_run(l, 3000);
	cr_assert_str_not_empty(l->broken);
	raftlab_fini(l);
	free(l);
}

/* T3: with the rule (core.c keeps it), S4 knows better than to vote for S1. */
Test(engine_raft, no_two_leaders_with_the_rule)
{
	struct raftlab *l = two_changes(true);

	raftlab_run(l, 3000);
	only(l, 31);
	raftlab_run(l, 3000);
	cr_assert_eq(engine_config(at(l, 3))->n, 3);
	done(l);
}

static void
fill(struct raftlab *l, unsigned i, unsigned n)
{
	for (unsigned k = 0; k < n; k++)
		cr_assert_eq(raftlab_submit(l, i, "entry"), ERR_OK);
	raftlab_run(l, 100);
}

/* A follower that is too far behind gets the snapshot, then the rest. */
Test(engine_raft, snapshot_install)
{
	struct raftlab *l = lab(3, 3);
	const struct engine_snapshot *s;

	cr_assert(raftlab_elect(l, 0));
	raftlab_isolate(l, 2, true);
	fill(l, 0, 40);
	cr_assert_eq(raftlab_compact(l, 0, 30, 5), ERR_OK);
	cr_assert_eq(engine_first(at(l, 0)), 26);
	cr_assert_eq(raftlab_compact(l, 0, 30, 0), ERR_OK); /* no news */
	cr_assert_eq(engine_first(at(l, 0)), 26);
	raftlab_isolate(l, 2, false);
	raftlab_run(l, 2000);
	s = engine_last_snapshot(at(l, 2));
	cr_assert_not_null(s);
	cr_assert_eq(s->index, 30);
	cr_assert_eq(s->config_index, 1);
	cr_assert_eq(engine_first(at(l, 2)), 31);
	cr_assert(raftlab_agree(l));
	done(l);
}

/* While a snapshot is being written nothing of it counts, and the same
 * snapshot again changes nothing. */
Test(engine_raft, snapshot_while_installing)
{
	struct raftlab *l = lab(3, 3);

	cr_assert(raftlab_elect(l, 0));
	raftlab_isolate(l, 2, true);
	fill(l, 0, 40);
	cr_assert_eq(raftlab_compact(l, 0, 40, 0), ERR_OK);
	l->node[2].slow = true;
	raftlab_isolate(l, 2, false);
	for (unsigned k = 0; k < 100 && engine_last(at(l, 2)) < 40; k++) {
		raftlab_run(l, 20);
		if (engine_last(at(l, 2)) < 40)
			raftlab_persist(l, 2);
	}
	cr_assert_eq(engine_last(at(l, 2)), 40);
	cr_assert_lt(engine_commit(at(l, 2)), 40);
	raftlab_run(l, 400);
	for (size_t k = 0; k < l->n_queue; k++)
		raftlab_repeat(l, k);
	raftlab_pump(l);
	cr_assert_lt(engine_commit(at(l, 2)), 40);
	cr_assert_eq(engine_match(at(l, 0), 3) < 40, true);
	l->node[2].slow = false;
	raftlab_persist(l, 2);
	raftlab_run(l, 1000);
	cr_assert(raftlab_agree(l));
	done(l);
}

/* A new life begins with the snapshot and the entries behind it. */
Test(engine_raft, restart_from_snapshot)
{
	struct raftlab *l = lab(3, 3);
	uint8_t before[32], after[32];

	cr_assert(raftlab_elect(l, 0));
	fill(l, 0, 40);
	for (unsigned i = 0; i < 3; i++)
		cr_assert_eq(raftlab_compact(l, i, 20, 3), ERR_OK);
	cr_assert(engine_hash(at(l, 1), engine_last(at(l, 1)), before));
	for (unsigned i = 0; i < 3; i++)
		raftlab_crash(l, i);
	for (unsigned i = 0; i < 3; i++)
		raftlab_start(l, i);
	cr_assert_eq(engine_first(at(l, 1)), 21);
	cr_assert_eq(engine_commit(at(l, 1)), 20);
	cr_assert(engine_hash(at(l, 1), engine_last(at(l, 1)), after));
	cr_assert_arr_eq(before, after, 32);
	raftlab_run(l, 2000);
	cr_assert_geq(raftlab_leader(l), 0);
	cr_assert(raftlab_agree(l));
	done(l);
}

/* A new generation: the log of three, opened by one of them.  It leads at
 * once, the old tail is committed, and its own entry when it is durable. */
Test(engine_raft, open_generation)
{
	struct raftlab *l = lab(3, 3);
	struct raftlab_disk *d = &l->node[1].disk;
	struct engine_entry en[64];
	struct engine_boot b = { .term = 2ull << 32 | 1, .entry = en };

	cr_assert(raftlab_elect(l, 0));
	fill(l, 0, 10);
	for (unsigned i = 0; i < 3; i++)
		raftlab_crash(l, i);
	b.n_entries = d->log.n;
	for (size_t k = 0; k < d->log.n; k++)
		en[k] = (struct engine_entry){ .index = k + 1,
			.term = d->log.item[k].term,
			.kind = d->log.item[k].kind,
			.data = buf_view(&d->log.item[k].data) };
	raftlab_config(&b.open, 3);
	l->node[1].slow = true;
	cr_assert_eq(raftlab_boot(l, 1, &b), ERR_MALFORMED); /* not alone */
	b.open.member[0] = b.open.member[1];
	b.open.n = 1;
	cr_assert_eq(raftlab_boot(l, 1, &b), ERR_OK);
	cr_assert_eq(engine_state(at(l, 1)), ENGINE_LEADER);
	cr_assert_eq(engine_term(at(l, 1)), b.term);
	cr_assert_eq(engine_last(at(l, 1)), d->log.n + 1);
	cr_assert_eq(engine_commit(at(l, 1)), d->log.n);
	l->node[1].slow = false;
	raftlab_persist(l, 1);
	cr_assert_eq(engine_commit(at(l, 1)), d->log.n);
	cr_assert_eq(engine_config(at(l, 1))->n, 1);
	cr_assert_eq(raftlab_submit(l, 1, "new"), ERR_OK);
	cr_assert_eq(engine_commit(at(l, 1)), d->log.n);
	done(l);
}

static struct engine_config
config_of(const struct raftlab *l, unsigned i)
{
	return *engine_config(at(l, i));
}

/* From one to three and back to another two, a member at a time. */
Test(engine_raft, members_come_and_go)
{
	struct raftlab *l = lab(4, 1);
	struct engine_config c, all;

	raftlab_config(&all, 4);
	raftlab_run(l, 1000);
	cr_assert_eq(raftlab_leader(l), 0);
	for (unsigned i = 1; i < 4; i++) {
		c = config_of(l, 0);
		c.member[c.n] = all.member[i];
		c.member[c.n++].role = ENGINE_STANDBY;
		cr_assert_eq(raftlab_change(l, 0, &c), ERR_OK);
		c.member[i].role = ENGINE_VOTER;
		if (i > 1) /* the last change is under way */
			cr_assert_eq(raftlab_change(l, 0, &c), ERR_AGAIN);
		raftlab_run(l, 500);
		if (config_of(l, 0).member[i].role != ENGINE_VOTER)
			cr_assert_eq(raftlab_change(l, 0, &c), ERR_OK);
		raftlab_run(l, 500);
	}
	cr_assert_eq(engine_config(at(l, 3))->n, 4);
	cr_assert_eq(engine_transfer(at(l, 0), l->now, 4), ERR_OK);
	raftlab_flush(l, 0);
	raftlab_run(l, 500);
	cr_assert_eq(raftlab_leader(l), 3);
	for (unsigned i = 0; i < 2; i++) {
		c = config_of(l, 3);
		memmove(c.member, c.member + 1, --c.n * sizeof c.member[0]);
		cr_assert_eq(raftlab_change(l, 3, &c), ERR_OK);
		raftlab_run(l, 500);
	}
	/* The removed do not disturb. */
	raftlab_run(l, 3000);
	cr_assert_eq(raftlab_leader(l), 3);
	cr_assert_eq(raftlab_submit(l, 3, "end"), ERR_OK);
	raftlab_run(l, 200);
	cr_assert_eq(engine_commit(at(l, 2)), engine_last(at(l, 3)));
	done(l);
}

/* More entries than one message holds reach a follower without a refusal. */
Test(engine_raft, long_catch_up)
{
	struct raftlab *l = lab(3, 3);

	cr_assert(raftlab_elect(l, 0));
	raftlab_isolate(l, 2, true);
	fill(l, 0, 3 * ENGINE_BATCH);
	raftlab_isolate(l, 2, false);
	raftlab_run(l, 150);
	cr_assert(raftlab_agree(l));
	done(l);
}
