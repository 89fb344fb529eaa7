/* libraft 0.22.1 goes wrong in each of these; the engine does not let it. */
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "common/base/rd.h"
#include "tests/lib/raftlab.h"
#include "tests/lib/raftmsg.h"

static struct raftlab *l;
static struct buf msg, conf[3];

static void
setup(void)
{
	struct engine_config c;

	l = malloc(sizeof *l);
	cr_assert_not_null(l);
	raftlab_init(l, 4, 3, 1);
	/* Three voters; a learner more; which becomes a voter. */
	raftlab_config(&c, 3);
	cr_assert_eq(engine_config_write(&conf[0], &c), ERR_OK);
	raftlab_config(&c, 4);
	c.member[3].role = ENGINE_STANDBY;
	cr_assert_eq(engine_config_write(&conf[1], &c), ERR_OK);
	c.member[3].role = ENGINE_VOTER;
	cr_assert_eq(engine_config_write(&conf[2], &c), ERR_OK);
}

static void
teardown(void)
{
	cr_expect_str_empty(l->broken);
	cr_expect_eq(l->stopped, ERR_OK);
	raftlab_fini(l);
	free(l);
	buf_fini(&msg);
	for (unsigned i = 0; i < 3; i++)
		buf_fini(&conf[i]);
}

TestSuite(engine_traps, .init = setup, .fini = teardown);

static struct engine *
at(unsigned i)
{
	return l->node[i].e;
}

static enum err
give(unsigned i, uint64_t from, const struct raftmsg *m)
{
	enum err r;

	raftmsg_write(&msg, m);
	r = engine_receive(at(i), l->now, from, buf_view(&msg));
	raftlab_flush(l, i);
	return r;
}

/* From id 2 to node 2, behind what node 2 has at `prev`. */
static enum err
append(uint64_t term, uint64_t prev, uint64_t commit,
    const struct raftmsg_entry *en, uint32_t n)
{
	struct raftmsg m = { .type = MSG_APPEND,
		.term = term,
		.prev = prev,
		.commit = commit,
		.entry = en,
		.n = n };

	cr_assert(engine_term_at(at(2), prev, &m.prev_term));
	cr_assert(engine_hash(at(2), prev, m.hash));
	return give(2, term == 3 ? 1 : 2, &m);
}

/* The last message on its way, with what comes behind its term. */
static struct rd
answer(uint8_t type)
{
	const struct raftlab_message *m;
	struct rd r;

	cr_assert_gt(l->n_queue, 0);
	m = &l->queue[l->n_queue - 1];
	r = (struct rd){ .p = m->bytes.p, .left = m->bytes.len };
	cr_assert_eq(rd_u8(&r), type);
	(void)rd_u8(&r);
	return r;
}

/* Two configurations on their way, in one message or one by one; the second
 * is replaced: the first is in force, not the one before it.  (libraft: the
 * one before.) */
Test(engine_traps, rollback_to_the_last_but_one)
{
	struct raftmsg_entry en[4] = { { 2, ENTRY_COMMAND, BYTES_STR("a") },
		{ 2, ENTRY_CONFIG, buf_view(&conf[1]) },
		{ 2, ENTRY_COMMAND, BYTES_STR("b") },
		{ 2, ENTRY_CONFIG, buf_view(&conf[2]) } };
	struct raftmsg_entry other = { 3, ENTRY_COMMAND, BYTES_STR("c") };

	cr_assert_eq(append(2, 1, 1, en, 4), ERR_OK);
	cr_assert_eq(engine_config_index(at(2)), 5);
	cr_assert_eq(append(3, 4, 1, &other, 1), ERR_OK);
	cr_assert_eq(engine_config_index(at(2)), 3);
	cr_assert_eq(engine_config(at(2))->n, 4);
	cr_assert_eq(engine_config(at(2))->member[3].role, ENGINE_STANDBY);
}

Test(engine_traps, rollback_one_by_one)
{
	struct raftmsg_entry a = { 2, ENTRY_CONFIG, buf_view(&conf[1]) },
			     b = { 2, ENTRY_CONFIG, buf_view(&conf[2]) },
			     other = { 3, ENTRY_COMMAND, BYTES_STR("c") };

	cr_assert_eq(append(2, 1, 1, &a, 1), ERR_OK);
	/* Says at once that the first is committed. */
	cr_assert_eq(append(2, 2, 2, &b, 1), ERR_OK);
	cr_assert_eq(append(3, 2, 2, &other, 1), ERR_OK);
	cr_assert_eq(engine_config_index(at(2)), 2);
	cr_assert_eq(engine_config(at(2))->member[3].role, ENGINE_STANDBY);
}

/* A configuration in the middle of a message is replaced, with all before it
 * kept.  (libraft noted it under the first index: it stayed in force.) */
Test(engine_traps, rollback_in_the_middle)
{
	struct raftmsg_entry en[3] = { { 2, ENTRY_COMMAND, BYTES_STR("a") },
		{ 2, ENTRY_COMMAND, BYTES_STR("b") },
		{ 2, ENTRY_CONFIG, buf_view(&conf[1]) } };
	struct raftmsg_entry other = { 3, ENTRY_COMMAND, BYTES_STR("c") };

	cr_assert_eq(append(2, 1, 1, en, 3), ERR_OK);
	cr_assert_eq(engine_config_index(at(2)), 4);
	cr_assert_eq(append(3, 3, 1, &other, 1), ERR_OK);
	cr_assert_eq(engine_config_index(at(2)), 1);
	cr_assert_eq(engine_config(at(2))->n, 3);
}

/* A message whose first part is refused is refused in full. */
Test(engine_traps, parts_behind_a_gap)
{
	struct raftmsg_entry en[2] = { { 2, ENTRY_COMMAND, BYTES_STR("a") },
		{ 2, ENTRY_CONFIG, buf_view(&conf[1]) } };
	struct raftmsg m = { .type = MSG_APPEND,
		.term = 2,
		.prev = 7,
		.prev_term = 2,
		.entry = en,
		.n = 2 };
	struct rd r;

	cr_assert_eq(give(2, 2, &m), ERR_OK);
	cr_assert_eq(engine_last(at(2)), 1);
	cr_assert_eq(l->n_queue, 1);
	r = answer(MSG_APPENDED);
	(void)rd_be64(&r);
	cr_assert_eq(rd_be64(&r), 7);
	cr_assert_eq(rd_be64(&r), 1);
}

/* The leader makes another the only voter and does not know yet that this is
 * committed: the other leads, in a term of its own. */
Test(engine_traps, only_voter_in_a_new_term)
{
	struct engine_config c;
	uint64_t term;
	unsigned i;

	raftlab_fini(l);
	raftlab_init(l, 2, 2, 1);
	cr_assert(raftlab_elect(l, 0));
	raftlab_run(l, 200);
	term = engine_term(at(0));
	c = *engine_config(at(0));
	c.member[0].role = ENGINE_STANDBY;
	cr_assert_eq(raftlab_change(l, 0, &c), ERR_OK);
	raftlab_deliver(l, 0);
	cr_assert_eq(engine_config_index(at(1)), 2);
	/* Nor when it is told to lead at once: libraft did, in this term. */
	cr_assert_eq(give(1, 1,
			 &(struct raftmsg){ .type = MSG_TIMEOUT,
			     .term = term,
			     .last = 2,
			     .last_term = term }),
	    ERR_OK);
	cr_assert_eq(engine_state(at(1)), ENGINE_FOLLOWER);
	raftlab_isolate(l, 0, true);
	for (i = 0; i < 200 && engine_state(at(1)) != ENGINE_LEADER; i++) {
		l->now += 10;
		raftlab_tick(l, 1);
	}
	cr_assert_eq(engine_state(at(1)), ENGINE_LEADER);
	cr_assert_gt(engine_term(at(1)), term);
	cr_assert_eq(engine_vote(at(1)), 2);
	cr_assert_eq(engine_state(at(0)), ENGINE_LEADER);
	cr_assert_eq(engine_term(at(0)), term);
}

/* ... also after a crash; its vote is written with the term. */
Test(engine_traps, only_voter_starts)
{
	uint64_t term;

	raftlab_fini(l);
	raftlab_init(l, 1, 1, 1);
	cr_assert_eq(engine_state(at(0)), ENGINE_LEADER);
	term = engine_term(at(0));
	cr_assert_gt(term, 1);
	raftlab_crash(l, 0);
	raftlab_start(l, 0);
	cr_assert_gt(engine_term(at(0)), term);
	cr_assert_eq(l->node[0].disk.vote, 1);
}

/* What a stale leader is answered says nothing of our log: it may lead our
 * term by then.  (libraft: bytes from its stack.) */
Test(engine_traps, stale_leaders)
{
	struct raftmsg_entry en = { 5, ENTRY_COMMAND, BYTES_STR("a") };
	struct raftmsg m = { .type = MSG_APPEND, .term = 4 },
		       s = { .type = MSG_SNAPSHOT,
			       .term = 4,
			       .last = 9,
			       .last_term = 4,
			       .config_index = 1,
			       .config = buf_view(&conf[0]) };
	struct rd r;

	cr_assert_eq(append(5, 1, 1, &en, 1), ERR_OK);
	for (unsigned k = 0; k < 2; k++) {
		cr_assert_eq(give(2, 1, k == 0 ? &m : &s), ERR_OK);
		r = answer(MSG_APPENDED);
		cr_assert_eq(rd_be64(&r), 5);
		cr_assert_eq(rd_be64(&r), 0);
		cr_assert_eq(rd_be64(&r), 0);
	}
}

/* An old message with a new commit index does not undo commits. */
Test(engine_traps, commit_stays)
{
	struct raftmsg_entry en[4] = { { 2, ENTRY_COMMAND, BYTES_STR("a") },
		{ 2, ENTRY_COMMAND, BYTES_STR("b") },
		{ 2, ENTRY_COMMAND, BYTES_STR("c") },
		{ 2, ENTRY_COMMAND, BYTES_STR("d") } };

	cr_assert_eq(append(2, 1, 4, en, 4), ERR_OK);
	cr_assert_eq(engine_commit(at(2)), 4);
	cr_assert_eq(append(2, 1, 5, en, 1), ERR_OK);
	cr_assert_eq(engine_commit(at(2)), 4);
	cr_assert_eq(append(2, 0, 5, NULL, 0), ERR_OK);
	cr_assert_eq(engine_commit(at(2)), 4);
	cr_assert_eq(append(2, 5, 5, NULL, 0), ERR_OK);
	cr_assert_eq(engine_commit(at(2)), 5);
}

/* What begins before a snapshot goes on behind it; another past is a fork.
 * (libraft appended all of it again.) */
Test(engine_traps, append_before_a_snapshot)
{
	struct raftmsg_entry en[5] = { { 1, ENTRY_CONFIG, buf_view(&conf[0]) },
		{ 2, ENTRY_COMMAND, BYTES_STR("a") },
		{ 2, ENTRY_COMMAND, BYTES_STR("b") },
		{ 2, ENTRY_COMMAND, BYTES_STR("c") },
		{ 2, ENTRY_COMMAND, BYTES_STR("d") } };
	struct raftmsg m = {
		.type = MSG_APPEND, .term = 2, .commit = 5, .entry = en, .n = 5
	};
	struct rd r;

	cr_assert_eq(append(2, 1, 4, en + 1, 3), ERR_OK);
	cr_assert_eq(raftlab_compact(l, 2, 3, 1), ERR_OK);
	cr_assert_eq(engine_first(at(2)), 3);
	cr_assert_eq(give(2, 2, &m), ERR_OK);
	cr_assert_eq(engine_last(at(2)), 5);
	cr_assert_eq(engine_commit(at(2)), 5);
	r = answer(MSG_APPENDED);
	cr_assert_eq(rd_be64(&r), 2);
	cr_assert_eq(rd_be64(&r), 0);
	cr_assert_eq(rd_be64(&r), 5);
	m.n = 2; /* ends before it */
	cr_assert_eq(give(2, 2, &m), ERR_OK);
	cr_assert_eq(engine_last(at(2)), 5);
	m.n = 5;
	en[1].data = BYTES_STR("A");
	cr_assert_eq(give(2, 2, &m), ERR_CORRUPT);
	en[1].data = BYTES_STR("a");
	en[2].term = 1;
	en[1].term = 1;
	cr_assert_eq(give(2, 2, &m), ERR_CORRUPT);
	cr_assert_eq(engine_last(at(2)), 5);
}

/* A refusal that comes after the follower has what it refused. */
Test(engine_traps, late_refusal)
{
	struct raftmsg m = { .type = MSG_APPENDED };

	cr_assert(raftlab_elect(l, 0));
	cr_assert_eq(raftlab_submit(l, 0, "a"), ERR_OK);
	raftlab_run(l, 100);
	cr_assert_eq(engine_match(at(0), 2), 2);
	/* Not heard of for a while: probed, from behind what it has. */
	raftlab_isolate(l, 1, true);
	raftlab_run(l, 1000);
	m.term = engine_term(at(0));
	m.rejected = 2;
	m.last = 1;
	cr_assert_eq(give(0, 2, &m), ERR_OK);
	raftlab_isolate(l, 1, false);
	raftlab_isolate(l, 2, true);
	cr_assert_eq(raftlab_submit(l, 0, "b"), ERR_OK);
	raftlab_run(l, 200);
	cr_assert_eq(engine_match(at(0), 2), 3);
	cr_assert_eq(engine_commit(at(0)), 3);
}

/* A pre-vote for a low term is refused with our own, or the candidate would
 * never ask for a higher one. */
Test(engine_traps, refused_pre_vote)
{
	struct raftmsg m = { .type = MSG_VOTE,
		.term = 9,
		.candidate = 1,
		.last = 1,
		.last_term = 1 };
	struct rd r;

	cr_assert_eq(give(2, 1, &m), ERR_OK);
	cr_assert_eq(engine_term(at(2)), 9);
	m.candidate = 2;
	m.term = 3;
	m.flags = 2;
	cr_assert_eq(give(2, 2, &m), ERR_OK);
	r = answer(MSG_VOTED);
	cr_assert_eq(rd_be64(&r), 9);
	cr_assert_eq(rd_u8(&r), 2);
}

/* A member that was told to lead, and then removed, asks for pre-votes like
 * everybody.  (libraft: raised everybody's term at each timeout.) */
Test(engine_traps, told_to_disrupt)
{
	uint64_t term;

	cr_assert(raftlab_elect(l, 0));
	raftlab_run(l, 200);
	term = engine_term(at(0));
	cr_assert_eq(give(1, 1,
			 &(struct raftmsg){ .type = MSG_TIMEOUT,
			     .term = term,
			     .last = 1,
			     .last_term = 1 }),
	    ERR_OK);
	cr_assert_eq(engine_state(at(1)), ENGINE_CANDIDATE);
	cr_assert_eq(engine_term(at(1)), term + 1);
	for (unsigned i = 0; i < 200; i++) {
		while (l->n_queue > 0)
			raftlab_drop(l, 0);
		l->now += 10;
		raftlab_tick(l, 1);
	}
	cr_assert_eq(engine_state(at(1)), ENGINE_CANDIDATE);
	cr_assert_eq(engine_term(at(1)), term + 1);
}

/* A write of the log that a snapshot replaced does not make it durable. */
Test(engine_traps, write_of_a_replaced_log)
{
	struct raftmsg_entry en[3] = { { 2, ENTRY_COMMAND, BYTES_STR("a") },
		{ 2, ENTRY_COMMAND, BYTES_STR("b") },
		{ 2, ENTRY_COMMAND, BYTES_STR("c") } };
	struct raftmsg s = { .type = MSG_SNAPSHOT,
		.term = 3,
		.last = 3,
		.last_term = 3,
		.config_index = 1,
		.config = buf_view(&conf[0]) };

	l->node[2].slow = true;
	cr_assert_eq(append(2, 1, 1, en, 3), ERR_OK);
	cr_assert_eq(give(2, 1, &s), ERR_OK);
	cr_assert_eq(give(2, 1, &s), ERR_OK); /* again */
	cr_assert_eq(engine_last(at(2)), 3);
	cr_assert_eq(engine_persisted(at(2), l->now, 4), ERR_OK);
	cr_assert_eq(engine_durable(at(2)), 0);
	cr_assert_eq(engine_commit(at(2)), 1);
}
