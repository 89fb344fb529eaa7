/* What a disk can do to a store: fail, fill up, be cut, lie.  Records are
 * "k000" ... with one value for all of them, the number of the transaction
 * that wrote it: a state is whole exactly when they agree. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <criterion/criterion.h>
#include <sodium.h>

#include "common/base/file.h"
#include "common/base/rd.h"
#include "common/base/wr.h"
#include "node/store/pages.h"
#include "node/store/store.h"
#include "tests/lib/fault_disk.h"
#include "tests/lib/tmpdir.h"

#define RECORDS 8u
#define VALUE 700u /* a number and padding: several pages in all */
#define ALL ((struct bytes){ 0 })
#define MAP_MAX (8u << 20)

static char *dir;
static char path[600];
static const uint8_t key[32] = { 1 };

static void
setup(void)
{
	cr_assert(sodium_init() >= 0);
	dir = tmpdir_new();
	cr_assert_eq(file_join(path, sizeof path, dir, "data.mdb"), ERR_OK);
}

static void
teardown(void)
{
	tmpdir_remove(dir);
}

TestSuite(store_disk, .init = setup, .fini = teardown, .timeout = 300);

static enum err
try_open(struct store **out, size_t map_max)
{
	struct store_options o = {
		.dir = dir, .slot = "kms0", .map_max = map_max
	};

	return store_open(out, &o, key);
}

static struct store *
must_open(void)
{
	struct store *s = NULL;

	cr_assert_eq(try_open(&s, MAP_MAX), ERR_OK);
	return s;
}

/* One transaction that replaces every record. */
static enum err
write_state(struct store *s, uint64_t number)
{
	enum err e = store_begin(s);

	for (unsigned i = 0; i < RECORDS && e == ERR_OK; i++) {
		uint8_t v[VALUE] = { 0 };
		struct wr w = { .p = v, .cap = 8 };
		char k[12];

		(void)snprintf(k, sizeof k, "k%03u", i);
		wr_be64(&w, number);
		e = store_put(s, STORE_LOG,
		    (struct bytes){ (uint8_t *)k, strlen(k) }, BYTES_OF(v));
	}
	if (e == ERR_OK)
		return store_commit(s);
	store_abort(s);
	return e;
}

struct seen {
	uint64_t number;
	unsigned n;
};

static enum err
see(void *cookie, const struct store_record *r)
{
	struct seen *seen = cookie;
	struct rd v = { .p = r->value.p, .left = 8 };
	uint64_t number = rd_be64(&v);

	if (r->value.len != VALUE || (seen->n > 0 && number != seen->number))
		return ERR_CORRUPT;
	seen->number = number;
	seen->n++;
	return ERR_OK;
}

/* The number of the state, which must be whole. */
static uint64_t
must_be_whole(struct store *s)
{
	struct seen seen = { 0 };

	cr_assert_eq(store_range(s, STORE_LOG, ALL, ALL, see, &seen), ERR_OK);
	cr_assert(seen.n == RECORDS || (seen.n == 0 && store_version(s) == 0));
	return seen.number;
}

/* Any call that fails, once or for a while, fails the commit; then all is
 * as before, or (a meta page written and not taken back) all is new; and
 * the store goes on. */
Test(store_disk, writes_that_fail)
{
	static const int errors[] = { EIO, ENOSPC, 0 };
	struct store *s = must_open();
	uint64_t state = 1;
	unsigned failed = 0;

	cr_assert_eq(write_state(s, state), ERR_OK);
	for (unsigned i = 0; i < 3; i++) {
		for (unsigned times = 1; times <= 3; times++) {
			for (unsigned nth = 1; nth < 12; nth++) {
				uint64_t version = store_version(s), now;
				enum err e;

				fault_arm(
				    errors[i] != 0 ? FAULT_ERROR : FAULT_SHORT,
				    errors[i], nth, times);
				e = write_state(s, state + 1);
				if (fault_calls() < nth)
					cr_assert_eq(e, ERR_OK);
				cr_assert(e == ERR_OK || e == ERR_IO ||
				    e == ERR_LIMIT);
				/* The next begin settles what is there. */
				cr_assert_eq(store_begin(s), ERR_OK);
				store_abort(s);
				now = must_be_whole(s);
				cr_assert(now == state + 1 ||
				    (e != ERR_OK && now == state));
				cr_assert_eq(store_version(s),
				    now == state ? version : version + 1);
				failed += e != ERR_OK;
				state += 2;
				cr_assert_eq(write_state(s, state), ERR_OK);
				cr_assert_eq(must_be_whole(s), state);
			}
		}
	}
	cr_assert_geq(failed, 20);
	store_close(s);
	s = must_open();
	cr_assert_eq(must_be_whole(s), state);
	store_close(s);
}

/* A process that ends before, or half-way through, any write leaves a whole
 * state: never older than what was acknowledged. */
Test(store_disk, killed_at_any_write)
{
	unsigned killed = 0;

	for (unsigned nth = 1; nth <= 24; nth++) {
		int pipe_fd[2], status;
		uint64_t acked = 0, now;
		struct store *s;
		pid_t pid;

		cr_assert_eq(pipe(pipe_fd), 0);
		if ((pid = fork()) == 0) {
			s = must_open();
			now = must_be_whole(s);
			fault_arm(nth % 2 ? FAULT_KILL : FAULT_TEAR, 0, nth, 1);
			for (unsigned i = 0; i < 5; i++) {
				if (write_state(s, ++now) != ERR_OK)
					_exit(1);
				(void)!write(pipe_fd[1], &now, sizeof now);
			}
			_exit(0);
		}
		(void)close(pipe_fd[1]);
		while (read(pipe_fd[0], &now, sizeof now) == sizeof now)
			acked = now;
		(void)close(pipe_fd[0]);
		cr_assert_eq(waitpid(pid, &status, 0), pid);
		cr_assert(WIFSIGNALED(status) || WEXITSTATUS(status) == 0);
		killed += WIFSIGNALED(status);
		s = must_open();
		now = must_be_whole(s);
		cr_assert_geq(now, acked);
		cr_assert_leq(now, acked == 0 ? now : acked + 1);
		store_close(s);
	}
	cr_assert_geq(killed, 10);
}

/* Fills with states whose values grow in number until one does not fit. */
static enum err
fill(struct store *s, unsigned *n)
{
	static uint8_t big[100000];
	enum err e;

	do {
		uint8_t k[4] = { (uint8_t)(*n >> 8), (uint8_t)*n };

		if ((e = store_begin(s)) != ERR_OK)
			return e;
		if ((e = store_put(s, STORE_SNAPSHOT, BYTES_OF(k),
			 BYTES_OF(big))) == ERR_OK)
			e = store_commit(s);
		else
			store_abort(s);
	} while (e == ERR_OK && ++*n < 1000);
	return e;
}

static void
empty(struct store *s)
{
	cr_assert_eq(store_begin(s), ERR_OK);
	cr_assert_eq(store_del_range(s, STORE_SNAPSHOT, ALL, ALL), ERR_OK);
	cr_assert_eq(store_commit(s), ERR_OK);
}

static void
fill_and_go_on(struct store *s)
{
	unsigned first = 0, again = 0;
	enum err e;

	cr_assert_eq(write_state(s, 7), ERR_OK);
	e = fill(s, &first);
	cr_assert(e == ERR_LIMIT || e == ERR_IO);
	cr_assert_gt(first, 10);
	cr_assert_eq(must_be_whole(s), 7);
	/* Space comes back by deletes, in pieces: most of it fits again. */
	empty(s);
	cr_assert_eq(must_be_whole(s), 7);
	cr_assert_eq(write_state(s, 8), ERR_OK);
	e = fill(s, &again);
	cr_assert(e == ERR_LIMIT || e == ERR_IO);
	cr_assert_geq(again * 3, first * 2, "%u then %u", first, again);
	cr_assert_eq(must_be_whole(s), 8);
}

/* A full map is LIMIT; deletes, or a larger map, make room. */
Test(store_disk, map_full)
{
	struct store *s = must_open();
	unsigned n = 2000;

	fill_and_go_on(s);
	store_close(s);
	cr_assert_eq(try_open(&s, 4u << 20), ERR_LIMIT);
	cr_assert_eq(try_open(&s, 2 * MAP_MAX), ERR_OK);
	cr_assert_eq(must_be_whole(s), 8);
	cr_assert_eq(fill(s, &n), ERR_OK); /* ends after the first */
	store_close(s);
}

/* The same for a file that may not grow. */
Test(store_disk, file_size_limit)
{
	struct rlimit before, small;
	struct store *s = must_open();

	cr_assert_neq(signal(SIGXFSZ, SIG_IGN), SIG_ERR);
	cr_assert_eq(getrlimit(RLIMIT_FSIZE, &before), 0);
	small = before;
	small.rlim_cur = 3u << 20;
	cr_assert_eq(setrlimit(RLIMIT_FSIZE, &small), 0);
	fill_and_go_on(s);
	cr_assert_eq(setrlimit(RLIMIT_FSIZE, &before), 0);
	cr_assert_eq(write_state(s, 9), ERR_OK);
	store_close(s);
	s = must_open();
	cr_assert_eq(must_be_whole(s), 9);
	store_close(s);
}

/* And for a disk without space. */
Test(store_disk, disk_full)
{
	struct store *s;

	if (mount("tmpfs", dir, "tmpfs", 0, "size=3m") != 0)
		cr_skip_test("cannot mount a tmpfs");
	s = must_open();
	fill_and_go_on(s);
	store_close(s);
	s = must_open();
	cr_assert_eq(must_be_whole(s), 8);
	store_close(s);
	cr_assert_eq(umount(dir), 0);
}

static struct buf
read_image(void)
{
	struct buf b = { 0 };

	cr_assert_eq(file_read(&b, path, 64u << 20), ERR_OK);
	return b;
}

static void
write_image(const uint8_t *p, size_t len)
{
	int fd = open(path, O_WRONLY | O_TRUNC | O_CREAT, 0600);

	cr_assert_geq(fd, 0);
	cr_assert_eq(pwrite(fd, p, len, 0), (ssize_t)len);
	(void)close(fd);
}

/* Opens what may be damaged, reads and writes all of it: no crash, and no
 * value that was not sealed.  True: a whole state is there. */
static bool
survives(void)
{
	struct store *s = NULL;
	struct seen seen = { 0 };
	enum err e = try_open(&s, MAP_MAX);
	bool whole;

	if (e != ERR_OK) {
		cr_assert(
		    e == ERR_CORRUPT || e == ERR_LIMIT, "%s", err_text(e));
		return false;
	}
	e = store_range(s, STORE_LOG, ALL, ALL, see, &seen);
	cr_assert(e == ERR_OK || e == ERR_CORRUPT);
	whole = e == ERR_OK && seen.n == RECORDS;
	e = write_state(s, 1u << 20);
	cr_assert(
	    e == ERR_OK || e == ERR_CORRUPT || e == ERR_IO || e == ERR_LIMIT);
	store_close(s);
	return whole;
}

/* A file cut anywhere is CORRUPT, not a crash. */
Test(store_disk, cut_files)
{
	struct store *s = must_open();
	struct buf image;
	unsigned whole = 0, cuts = 0;

	for (unsigned i = 1; i < 4; i++)
		cr_assert_eq(write_state(s, i), ERR_OK);
	empty(s); /* a free list, too */
	store_close(s);
	image = read_image();
	for (size_t len = 1; len < image.len; len += 1021) {
		write_image(image.p, len);
		whole += survives();
		cuts++;
	}
	cr_assert_lt(whole, cuts / 2);
	/* Cut to nothing is the same as new: the disk is a cache. */
	write_image(image.p, 0);
	s = must_open();
	cr_assert_eq(store_version(s), 0);
	store_close(s);
	buf_fini(&image);
}

/* Any byte changed: refused, or without effect. */
Test(store_disk, changed_bytes)
{
	struct store *s = must_open();
	struct buf image;
	uint32_t seed = 1;

	for (unsigned i = 1; i < 4; i++)
		cr_assert_eq(write_state(s, i), ERR_OK);
	store_close(s);
	image = read_image();
	for (size_t at = 0; at < image.len; at++) {
		uint8_t was = image.p[at];

		/* All of what LMDB believes, some of what is sealed. */
		if (at % 4096 >= 64 && at % 89 != 0)
			continue;
		seed = seed * 1664525 + 1013904223;
		image.p[at] ^= (uint8_t)(1u << (seed >> 29));
		write_image(image.p, image.len);
		(void)survives();
		image.p[at] = (uint8_t)(was + 1 + seed % 255);
		write_image(image.p, image.len);
		(void)survives();
		image.p[at] = was;
	}
	write_image(image.p, image.len);
	cr_assert(survives());
	buf_fini(&image);
}

/* Whatever LMDB itself writes passes: values of all sizes, in any order,
 * replaced and deleted. */
Test(store_disk, healthy_files_pass)
{
	struct store *s = must_open();
	static uint8_t v[20000];
	uint32_t x = 12345;

	for (unsigned txn = 0; txn < 400; txn++) {
		cr_assert_eq(store_begin(s), ERR_OK);
		for (unsigned i = 0; i < 25; i++) {
			uint8_t k[3];
			struct bytes name = { k, 1 + (x >> 20) % 3 }, big;

			x = x * 1664525 + 1013904223;
			k[0] = (uint8_t)(x >> 24);
			k[1] = (uint8_t)(x >> 16);
			k[2] = 7;
			big = (struct bytes){ v,
				(x >> 8) % ((x >> 28) < 2 ? sizeof v : 900) };
			if (txn % 100 > 70 || (x >> 5) % 4 == 0)
				(void)!store_del(s, STORE_LOG, name);
			else
				cr_assert_eq(
				    store_put(s, STORE_LOG, name, big), ERR_OK);
		}
		if (txn % 150 == 149)
			cr_assert_eq(
			    store_del_range(s, STORE_LOG, ALL, ALL), ERR_OK);
		cr_assert_eq(store_commit(s), ERR_OK);
		cr_assert_eq(pages_check(path, MAP_MAX), ERR_OK, "txn %u", txn);
	}
	store_close(s);
}
