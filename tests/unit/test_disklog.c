/* The log on disk: what is written is what is loaded, whole or not at all. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <criterion/criterion.h>
#include <sodium.h>

#include "kms/cluster/diskform.h"
#include "tests/lib/fault_disk.h"
#include "tests/lib/logworld.h"
#include "tests/lib/tmpdir.h"

#define MAP_MAX (32u << 20)

static char *dir;
static struct logworld w;

static void
setup(void)
{
	cr_assert(sodium_init() >= 0);
	dir = tmpdir_new();
	cr_assert_eq(logworld_open(&w, dir, "kms0", MAP_MAX), ERR_OK);
}

static void
teardown(void)
{
	logworld_close(&w);
	tmpdir_remove(dir);
}

TestSuite(disklog, .init = setup, .fini = teardown, .timeout = 120);

static void
ok(enum err e)
{
	cr_assert_eq(e, ERR_OK, "%s", err_text(e));
}

static struct logworld_print
look(uint64_t *last)
{
	struct logworld_print p;
	uint64_t n;
	struct refusal why;

	enum err e = logworld_look(w.store, &p, &n, &why);
	cr_assert_eq(e, ERR_OK, "%s", why.detail);
	if (last != NULL)
		*last = n;
	return p;
}

static bool
same(struct logworld_print a, struct logworld_print b)
{
	return memcmp(&a, &b, sizeof a) == 0;
}

/* Closes everything, as the end of a life does, and opens it again. */
static void
reopen(void)
{
	logworld_close(&w);
	ok(logworld_open(&w, dir, "kms0", MAP_MAX));
}

/* An empty store is not corrupt: there is just nothing. */
Test(disklog, empty)
{
	struct disklog_boot b;

	ok(disklog_load(w.store, &b, NULL));
	cr_assert(!b.found);
	disklog_boot_fini(&b);
}

/* A write that does not fit what is on disk is refused, and changes
 * nothing. */
Test(disklog, writes_that_do_not_fit)
{
	struct core_write good, bad;
	struct logworld_print before;
	uint64_t last;

	ok(logworld_start(&w, 0));
	ok(logworld_submit(&w, 10, 50));
	ok(logworld_turn(&w));
	ok(logworld_compact(&w, 1000, 4));
	ok(logworld_turn(&w));
	before = look(&last);
	good = (struct core_write){ .generation = 1,
		.term = 1ull << 32 | 2,
		.first = last + 1,
		.last = last + 1,
		.keep_from = engine_first(w.engine) };
	for (unsigned i = 0; i < 10; i++) {
		enum err want = ERR_PHASE;

		bad = good;
		switch (i) {
		case 0:
			bad.first++, bad.last++; /* a gap */
			break;
		case 1:
			bad.first--; /* an overlap */
			break;
		case 2:
			bad.last--; /* backwards */
			break;
		case 3:
			bad.truncate = last - 1; /* below the snapshot */
			break;
		case 4:
			bad.generation = 0;
			break;
		case 5:
			bad.term = 2ull << 32; /* of the next generation */
			break;
		case 6: /* not in the engine */
			break;
		case 7: /* more dropped than the snapshot covers */
			bad.first = 0;
			bad.snapshot = true;
			bad.keep_from = last + 2;
			break;
		case 8: /* another chain: the disk is empty, memory is not */
			bad.wipe = true;
			bad.truncate = 0;
			break;
		case 9: /* the generation is needed after a wipe, too */
			bad.wipe = true;
			bad.first = 0;
			bad.generation = 0;
			break;
		}
		ok(store_begin(w.store));
		cr_assert_eq(
		    disklog_write(w.store, &bad, w.engine, w.incarnation), want,
		    "case %u", i);
		store_abort(w.store);
		cr_assert(same(before, look(NULL)));
	}
}

/* A log in memory that is not the one on disk is noticed. */
Test(disklog, memory_and_disk_differ)
{
	struct core_write d;
	uint64_t last;

	ok(logworld_start(&w, 0));
	ok(logworld_submit(&w, 5, 50));
	ok(logworld_turn(&w));
	(void)look(&last);
	/* The next life goes on from 3, but forgets to cut the disk. */
	ok(logworld_start(&w, 3));
	ok(logworld_submit(&w, 5, 50));
	d = (struct core_write){ .generation = 2,
		.term = 2ull << 32 | 1,
		.first = last + 1,
		.last = engine_last(w.engine) };
	ok(store_begin(w.store));
	cr_assert_eq(
	    disklog_write(w.store, &d, w.engine, w.incarnation), ERR_CORRUPT);
	store_abort(w.store);
}

/* Lives, cuts, snapshots and wipes: the disk is what memory says. */
Test(disklog, round_trips)
{
	uint64_t last, before;
	struct disklog_boot b;
	struct engine_entry en;
	const struct engine_snapshot *s;

	for (unsigned life = 0; life < 12; life++) {
		(void)look(&last);
		ok(logworld_start(&w, life % 5 == 4 ? 0 : last - last % 3));
		for (unsigned turn = 0; turn < 4; turn++) {
			ok(logworld_submit(&w, 1 + turn * 10, 100 * turn));
			ok(logworld_turn(&w));
			if (turn % 2 == 1) {
				ok(logworld_compact(&w,
				    life % 4 == 3 ? 0 : 50000 * life,
				    life % 3 * 7));
				ok(logworld_turn(&w));
			}
		}
		ok(disklog_load(w.store, &b, NULL));
		cr_assert(b.found);
		cr_assert_eq(b.generation, w.generation);
		cr_assert_eq(b.log.term, engine_term(w.engine));
		cr_assert_eq(b.log.vote, engine_vote(w.engine));
		s = engine_last_snapshot(w.engine);
		cr_assert_not_null(b.log.snapshot);
		cr_assert_eq(b.snapshot.index, s->index);
		cr_assert_eq(b.snapshot.term, s->term);
		cr_assert_eq(b.snapshot.config_index, s->config_index);
		cr_assert_eq(memcmp(b.snapshot.hash, s->hash, 32), 0);
		cr_assert_eq(b.snapshot.config.n, 1);
		cr_assert_eq(b.snapshot.data.len, s->data.len);
		cr_assert(s->data.len == 0 ||
		    memcmp(b.snapshot.data.p, s->data.p, s->data.len) == 0);
		before = engine_first(w.engine);
		for (size_t i = 0; i < b.log.n_entries; i++) {
			ok(engine_entry(w.engine, before + i, &en));
			cr_assert_eq(b.entry[i].index, before + i);
			cr_assert_eq(b.entry[i].term, en.term);
			cr_assert_eq(b.entry[i].kind, en.kind);
			cr_assert_eq(memcmp(b.entry[i].hash, en.hash, 32), 0);
			cr_assert_eq(b.entry[i].data.len, en.data.len);
		}
		cr_assert_eq(
		    before + b.log.n_entries, engine_last(w.engine) + 1);
		disklog_boot_fini(&b);
		if (life % 2 == 0)
			reopen();
	}
}

/* A wipe leaves nothing, not even in other tables' way. */
Test(disklog, wipe)
{
	struct disklog_boot b;

	ok(logworld_start(&w, 0));
	ok(logworld_submit(&w, 20, 50));
	ok(logworld_turn(&w));
	ok(logworld_compact(&w, 200000, 5));
	ok(logworld_turn(&w));
	ok(store_begin(w.store));
	ok(store_put(w.store, STORE_META, BYTES_STR("floor"), BYTES_STR("x")));
	ok(disklog_wipe(w.store));
	ok(disklog_wipe(w.store));
	ok(store_commit(w.store));
	ok(disklog_load(w.store, &b, NULL));
	cr_assert(!b.found);
	disklog_boot_fini(&b);
}

/* A snapshot from a leader replaces a log that is behind it. */
Test(disklog, snapshot_ahead_of_the_log)
{
	struct logworld_print leader, follower;
	struct core_write d = { 0 };
	struct store *other = NULL;
	struct store_options o = {
		.dir = dir, .slot = "kms0", .map_max = MAP_MAX
	};
	static const uint8_t key[32] = { 1 };
	char *dir2 = tmpdir_new();
	uint64_t last;

	ok(logworld_start(&w, 0));
	ok(logworld_submit(&w, 30, 50));
	ok(logworld_turn(&w));
	ok(logworld_compact(&w, 100000, 0));
	ok(logworld_submit(&w, 3, 50));
	ok(logworld_turn(&w));
	leader = look(&last);
	o.dir = dir2;
	ok(store_open(&other, &o, key));
	d = (struct core_write){ .wipe = true,
		.generation = 1,
		.term = engine_term(w.engine),
		.vote = engine_vote(w.engine),
		.snapshot = true,
		.first = engine_first(w.engine),
		.last = last,
		.keep_from = engine_first(w.engine) };
	ok(store_begin(other));
	ok(disklog_write(other, &d, w.engine, w.incarnation));
	ok(store_commit(other));
	ok(logworld_look(other, &follower, &last, NULL));
	cr_assert(same(leader, follower));
	store_close(other);
	tmpdir_remove(dir2);
}

/* ---- crashes (T16) ---- */

struct report {
	struct logworld_print state;
	uint8_t committed;
};

/* One life: starts from the disk, and writes until it is killed. */
static void
live(int out, unsigned nth, enum fault what)
{
	struct report r = { 0 };
	uint64_t last;
	enum err e = logworld_open(&w, dir, "kms0", MAP_MAX);

	if (e != ERR_OK || logworld_look(w.store, &r.state, &last, NULL))
		_exit(10);
	if (logworld_start(&w, nth % 7 == 0 ? 0 : last - last % 3) != ERR_OK)
		_exit(11);
	fault_arm(what, 0, nth, 1);
	for (unsigned turn = 0; turn < 200; turn++) {
		while ((e = logworld_prepare(&w)) == ERR_OK) {
			/* Inside the transaction: what is to come. */
			r.committed = 0;
			if (logworld_look(w.store, &r.state, &last, NULL))
				_exit(12);
			(void)!write(out, &r, sizeof r);
			if (store_commit(w.store) != ERR_OK)
				_exit(13);
			r.committed = 1;
			(void)!write(out, &r, sizeof r);
			if (logworld_done(&w) != ERR_OK)
				_exit(14);
		}
		if (e != ERR_NOTFOUND)
			_exit(15);
		if (turn % 6 == 5 &&
		    logworld_compact(&w, turn * 1000, turn % 4) != ERR_OK)
			_exit(16);
		if (logworld_submit(&w, 1 + turn % 9, turn) != ERR_OK)
			_exit(17);
	}
	_exit(0);
}

/* Every state after a kill is the last one committed, or the one on its way:
 * before a call, in the middle of a write, or at any time. */
Test(disklog, killed_at_any_time)
{
	struct logworld_print now = look(NULL);
	unsigned killed = 0;

	logworld_close(&w);
	for (unsigned i = 0; i < 50; i++) {
		struct report r = { 0 };
		struct logworld_print acked = now, pending = now;
		int fd[2], status;
		pid_t pid;

		cr_assert_eq(pipe(fd), 0);
		if ((pid = fork()) == 0)
			live(fd[1], 1 + (i * 13) % 97,
			    i % 3 == 0       ? FAULT_KILL
				: i % 3 == 1 ? FAULT_TEAR
					     : FAULT_NONE);
		(void)close(fd[1]);
		if (i % 3 == 2) {
			struct timespec t = { .tv_nsec =
						  1000000 + i * 1999999 };

			(void)nanosleep(&t, NULL);
			(void)kill(pid, SIGKILL);
		}
		while (read(fd[0], &r, sizeof r) == sizeof r) {
			pending = r.state;
			if (r.committed)
				acked = r.state;
		}
		(void)close(fd[0]);
		cr_assert_eq(waitpid(pid, &status, 0), pid);
		cr_assert(WIFSIGNALED(status) || WEXITSTATUS(status) == 0,
		    "status %d", WEXITSTATUS(status));
		killed += WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
		ok(logworld_open(&w, dir, "kms0", MAP_MAX));
		now = look(NULL);
		cr_assert(same(now, acked) || same(now, pending), "kill %u", i);
		logworld_close(&w);
	}
	cr_assert_geq(killed, 40, "%u", killed);
}

/* ---- failing writes (T17) ---- */

/* An error is seen, nothing acknowledged is lost, and after a new start the
 * log goes on. */
static void
fail_and_go_on(enum err e, struct logworld_print acked)
{
	cr_assert(e == ERR_LIMIT || e == ERR_IO, "%s", err_text(e));
	cr_assert(same(acked, look(NULL)));
	reopen();
	cr_assert(same(acked, look(NULL)));
}

static enum err
write_until_it_fails(struct logworld_print *acked)
{
	enum err e = ERR_OK;

	for (unsigned i = 0; i < 10000 && e == ERR_OK; i++) {
		*acked = look(NULL);
		ok(logworld_submit(&w, 100, 3000));
		e = logworld_turn(&w);
	}
	return e;
}

Test(disklog, map_full)
{
	struct logworld_print acked;
	uint64_t last;

	logworld_close(&w);
	ok(logworld_open(&w, dir, "kms0", 4u << 20));
	ok(logworld_start(&w, 0));
	ok(logworld_turn(&w));
	fail_and_go_on(write_until_it_fails(&acked), acked);
	/* A new life may wipe what is there, or cut it. */
	logworld_close(&w);
	ok(logworld_open(&w, dir, "kms0", 4u << 20));
	(void)look(&last);
	ok(logworld_start(&w, last / 2));
	ok(logworld_turn(&w));
	ok(logworld_submit(&w, 50, 3000));
	ok(logworld_turn(&w));
	fail_and_go_on(write_until_it_fails(&acked), acked);
	logworld_close(&w);
	ok(logworld_open(&w, dir, "kms0", 4u << 20));
	ok(logworld_start(&w, 0));
	ok(logworld_turn(&w));
	fail_and_go_on(write_until_it_fails(&acked), acked);
}

Test(disklog, disk_full)
{
	struct logworld_print acked;
	uint64_t last;

	logworld_close(&w);
	if (mount("tmpfs", dir, "tmpfs", 0, "size=4m") != 0)
		cr_skip_test("cannot mount a tmpfs");
	ok(logworld_open(&w, dir, "kms0", MAP_MAX));
	ok(logworld_start(&w, 0));
	ok(logworld_turn(&w));
	fail_and_go_on(write_until_it_fails(&acked), acked);
	cr_assert_eq(mount("tmpfs", dir, "tmpfs", MS_REMOUNT, "size=16m"), 0);
	acked = look(&last);
	ok(logworld_start(&w, last));
	ok(logworld_submit(&w, 100, 3000));
	ok(logworld_turn(&w));
	(void)look(&last);
	logworld_close(&w);
	cr_assert_eq(umount(dir), 0);
	ok(logworld_open(&w, dir, "kms0", MAP_MAX));
}

Test(disklog, file_size_limit)
{
	struct logworld_print acked;
	struct rlimit before, small;
	uint64_t last;

	cr_assert_neq(signal(SIGXFSZ, SIG_IGN), SIG_ERR);
	cr_assert_eq(getrlimit(RLIMIT_FSIZE, &before), 0);
	small = before;
	small.rlim_cur = 3u << 20;
	ok(logworld_start(&w, 0));
	ok(logworld_turn(&w));
	cr_assert_eq(setrlimit(RLIMIT_FSIZE, &small), 0);
	fail_and_go_on(write_until_it_fails(&acked), acked);
	cr_assert_eq(setrlimit(RLIMIT_FSIZE, &before), 0);
	(void)look(&last);
	ok(logworld_start(&w, last));
	ok(logworld_submit(&w, 100, 3000));
	ok(logworld_turn(&w));
}

/* Each call in turn fails once. */
Test(disklog, any_call_fails)
{
	struct logworld_print acked, pending;
	unsigned failed = 0;
	uint64_t last;

	for (unsigned nth = 1; nth < 40; nth++) {
		enum err e;

		(void)look(&last);
		ok(logworld_start(&w, nth % 5 == 0 ? 0 : last));
		ok(logworld_turn(&w));
		ok(logworld_submit(&w, 20, 500));
		acked = pending = look(NULL);
		fault_arm(FAULT_ERROR, nth % 2 ? EIO : ENOSPC, 1 + nth % 13, 1);
		while ((e = logworld_prepare(&w)) == ERR_OK) {
			ok(logworld_look(w.store, &pending, &last, NULL));
			if ((e = store_commit(w.store)) != ERR_OK)
				break;
			acked = pending;
			ok(logworld_done(&w));
		}
		(void)fault_calls();
		if (e == ERR_NOTFOUND)
			continue;
		failed++;
		cr_assert(e == ERR_LIMIT || e == ERR_IO);
		cr_assert(same(look(NULL), acked) || same(look(NULL), pending));
		reopen();
		cr_assert(same(look(NULL), acked) || same(look(NULL), pending));
	}
	cr_assert_geq(failed, 10, "%u", failed);
}
