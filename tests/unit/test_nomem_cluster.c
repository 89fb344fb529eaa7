/* The log without memory.  An engine that finds none has to be stopped: it
 * says so, has not committed or promised anything by it, and loses nothing
 * when it is freed. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "common/base/secret.h"
#include "kms/cluster/disklog.h"
#include "kms/cluster/incarnation.h"
#include "tests/lib/logworld.h"
#include "tests/lib/nomem/nomem.h"
#include "tests/lib/raftlab.h"
#include "tests/lib/tmpdir.h"

static void
setup(void)
{
	cr_assert_eq(secret_process_init(), ERR_OK);
}

TestSuite(nomem_cluster, .init = setup, .timeout = 120);

/* ---- the engine ---- */

struct lab {
	struct raftlab *l;
	unsigned node; /* whose call it is */
	struct buf message; /* for it, from node 0 */
	unsigned before; /* entries that are there */
	uint64_t last, commit;
};

static void
note(struct lab *b)
{
	const struct engine *e = b->l->node[b->node].e;

	b->last = engine_last(e);
	b->commit = engine_commit(e);
}

static void
make_lab(void *arg)
{
	struct lab *b = arg;

	b->l = malloc(sizeof *b->l);
	cr_assert_not_null(b->l);
	raftlab_init(b->l, 3, 3, 1);
	cr_assert(raftlab_elect(b->l, 0));
	for (unsigned i = 0; i < b->before; i++)
		cr_assert_eq(raftlab_submit(b->l, 0, "before"), ERR_OK);
	raftlab_pump(b->l);
	note(b);
}

static void
free_lab(void *arg)
{
	struct lab *b = arg;

	buf_fini(&b->message);
	raftlab_fini(b->l);
	free(b->l);
	b->l = NULL;
}

static enum err
submit(void *arg)
{
	const struct bytes data[2] = { BYTES_STR("a command"),
		BYTES_STR("another") };
	struct lab *b = arg;
	uint64_t first = 0;
	enum err e = engine_submit(
	    b->l->node[0].e, b->l->now, ENTRY_COMMAND, data, 2, &first);

	cr_assert_eq(first, e == ERR_OK ? b->last + 1 : 0);
	return e;
}

/* Nobody else has it: nothing is committed, either way. */
static void
check_submit(void *arg, enum err e)
{
	struct lab *b = arg;

	(void)e;
	cr_assert_eq(engine_commit(b->l->node[0].e), b->commit);
}

/* What node 0 has for node 1 about a new entry. */
static void
make_message(void *arg)
{
	struct lab *b = arg;

	make_lab(b);
	cr_assert_eq(raftlab_submit(b->l, 0, "new"), ERR_OK);
	for (size_t k = 0; k < b->l->n_queue; k++)
		if (b->l->queue[k].to == 1)
			cr_assert_eq(
			    buf_set(&b->message, b->l->queue[k].bytes.p,
				b->l->queue[k].bytes.len),
			    ERR_OK);
	cr_assert_gt(b->message.len, 0);
}

static enum err
receive(void *arg)
{
	struct lab *b = arg;

	return engine_receive(
	    b->l->node[1].e, b->l->now, 1, buf_view(&b->message));
}

/* It is not told to the leader as its own before it is on the disk. */
static void
check_receive(void *arg, enum err e)
{
	struct lab *b = arg;
	const struct engine *en = b->l->node[1].e;

	cr_assert_leq(engine_commit(en), b->last);
	cr_assert_eq(engine_durable(en), b->last);
	if (e == ERR_OK)
		cr_assert_eq(engine_last(en), b->last + 1);
}

static enum err
compact(void *arg)
{
	struct lab *b = arg;

	return engine_compact(
	    b->l->node[0].e, b->l->now, b->commit, BYTES_STR("the state"), 1);
}

static enum err
tick(void *arg)
{
	struct lab *b = arg;
	struct engine *e = b->l->node[0].e;

	return engine_tick(e, engine_deadline(e));
}

static enum err
elect(void *arg)
{
	struct lab *b = arg;
	struct engine *e = b->l->node[1].e;

	return engine_tick(e, b->l->now + 10000000);
}

/* At sizes where its tables grow. */
Test(nomem_cluster, engine)
{
	static const unsigned sizes[] = { 1, 14, 15, 16, 31, 62, 63, 64 };
	struct nomem_op op[] = {
		{ .name = "engine_submit",
		    .run = submit,
		    .check = check_submit },
		{ .name = "engine_receive",
		    .setup = make_message,
		    .run = receive,
		    .check = check_receive },
		{ .name = "engine_compact", .run = compact },
		{ .name = "engine_tick, leader", .run = tick },
		{ .name = "engine_tick, candidate", .run = elect },
	};

	for (size_t k = 0; k < sizeof sizes / sizeof sizes[0]; k++)
		for (size_t i = 0; i < sizeof op / sizeof op[0]; i++) {
			struct lab b = { .node = i == 1 || i == 4,
				.before = sizes[k] };

			if (op[i].setup == NULL)
				op[i].setup = make_lab;
			op[i].fini = free_lab;
			op[i].once = true;
			(void)nomem_each(&op[i], &b);
		}
}

/* ---- the log on disk ---- */

struct disk {
	char *dir;
	struct logworld w;
	struct disklog_boot boot;
	struct refusal why;
};

static void
make_disk(void *arg)
{
	struct disk *d = arg;

	*d = (struct disk){ .dir = tmpdir_new() };
	cr_assert_eq(logworld_open(&d->w, d->dir, "a", 32u << 20), ERR_OK);
	cr_assert_eq(logworld_start(&d->w, 0), ERR_OK);
	cr_assert_eq(logworld_turn(&d->w), ERR_OK);
	cr_assert_eq(logworld_submit(&d->w, 20, 50), ERR_OK);
	cr_assert_eq(logworld_turn(&d->w), ERR_OK);
	cr_assert_eq(logworld_compact(&d->w, 3000, 4), ERR_OK);
	cr_assert_eq(logworld_turn(&d->w), ERR_OK);
	cr_assert_eq(logworld_submit(&d->w, 20, 50), ERR_OK);
}

static void
free_disk(void *arg)
{
	struct disk *d = arg;

	disklog_boot_fini(&d->boot);
	logworld_close(&d->w);
	tmpdir_remove(d->dir);
}

static enum err
load(void *arg)
{
	struct disk *d = arg;
	enum err e;

	disklog_boot_fini(&d->boot);
	d->boot = (struct disklog_boot){ 0 };
	d->why = (struct refusal){ 0 };
	/* CORRUPT would have it wiped. */
	e = disklog_load(d->w.store, &d->boot, &d->why);
	if (e == ERR_OK)
		cr_assert_gt(d->boot.log.n_entries, 0);
	else
		cr_assert_eq(d->boot.entry, NULL);
	return e;
}

/* One write of the loop, which is whole or not there. */
static enum err
write_turn(void *arg)
{
	struct disk *d = arg;
	struct logworld_print before, now;
	uint64_t last;
	enum err e;

	failmalloc_exempt(true);
	cr_assert_eq(
	    logworld_look(d->w.store, &before, &last, &d->why), ERR_OK);
	failmalloc_exempt(false);
	e = logworld_turn(&d->w);
	failmalloc_exempt(true);
	if (e != ERR_OK) {
		store_abort(d->w.store);
		cr_assert_eq(
		    logworld_look(d->w.store, &now, &last, &d->why), ERR_OK);
		cr_assert_arr_eq(now.b, before.b, sizeof now.b);
	}
	failmalloc_exempt(false);
	return e;
}

Test(nomem_cluster, disklog)
{
	struct disk d;
	const struct nomem_op op[] = {
		{ .name = "disklog_load",
		    .setup = make_disk,
		    .run = load,
		    .fini = free_disk },
		{ .name = "disklog_write",
		    .setup = make_disk,
		    .run = write_turn,
		    .fini = free_disk,
		    .once = true },
	};

	for (size_t i = 0; i < sizeof op / sizeof op[0]; i++)
		cr_assert_gt(nomem_each(&op[i], &d), 0);
}

/* ---- who a node is ---- */

static enum err
be_someone(void *arg)
{
	struct incarnation **i = arg;

	incarnation_free(*i);
	*i = NULL;
	return incarnation_new(i);
}

static void
be_nobody(void *arg)
{
	struct incarnation **i = arg;

	incarnation_free(*i);
	*i = NULL;
}

Test(nomem_cluster, incarnation)
{
	struct incarnation *i = NULL;
	const struct nomem_op op = {
		.name = "incarnation_new", .run = be_someone, .fini = be_nobody
	};

	cr_assert_eq(nomem_each(&op, &i), 2);
}
