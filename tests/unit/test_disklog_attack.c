/* What a host can do to the log on disk (T11): whatever it puts together
 * from all that this slot and others ever sealed, either it does not load,
 * or it is one whole state that was once committed (I15). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>
#include <lmdb.h>
#include <sodium.h>

#include "common/base/file.h"
#include "common/base/wr.h"
#include "tests/lib/logworld.h"
#include "tests/lib/tmpdir.h"

#define MAP_MAX (16u << 20)
#define STATES_MAX 64u
#define PAGE 4096u

static char *dir;
static char path[600];
static struct logworld w;

/* Every state that was ever committed, with the file as it was then. */
static struct {
	struct logworld_print print;
	struct buf image;
} state[STATES_MAX];
static unsigned n_states;

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
	for (unsigned i = 0; i < n_states; i++)
		buf_fini(&state[i].image);
	tmpdir_remove(dir);
}

TestSuite(disklog_attack, .init = setup, .fini = teardown, .timeout = 300);

static void
ok(enum err e)
{
	cr_assert_eq(e, ERR_OK, "%s", err_text(e));
}

static void
note_state(void)
{
	uint64_t last;

	cr_assert_lt(n_states, STATES_MAX);
	ok(logworld_look(w.store, &state[n_states].print, &last, NULL));
	ok(file_read(&state[n_states].image, path, MAP_MAX));
	n_states++;
}

static void
turn(void)
{
	enum err e;

	while ((e = logworld_prepare(&w)) == ERR_OK) {
		ok(store_commit(w.store));
		ok(logworld_done(&w));
		note_state();
	}
	cr_assert_eq(e, ERR_NOTFOUND);
}

/* Three lives with forks of the log, snapshots and a wipe; closed then. */
static void
history(const char *slot)
{
	struct logworld_print p;
	uint64_t last;

	ok(logworld_open(&w, dir, slot, MAP_MAX));
	note_state();
	for (unsigned life = 0; life < 3; life++) {
		ok(logworld_look(w.store, &p, &last, NULL));
		ok(logworld_start(&w, life == 2 ? 0 : last - last % 3));
		turn();
		for (unsigned i = 0; i < 3; i++) {
			ok(logworld_submit(&w, 3 + i, 20 + 1500 * (i % 2)));
			turn();
			if (i != 1)
				continue;
			ok(logworld_compact(&w, 3000 + 40000 * life, 2));
			turn();
		}
	}
	logworld_close(&w);
}

static void
write_image(const uint8_t *p, size_t len)
{
	FILE *f = fopen(path, "wb");

	cr_assert_not_null(f);
	cr_assert_eq(fwrite(p, 1, len, f), len);
	cr_assert_eq(fclose(f), 0);
}

/* Loads what is there: true if it loads; then it is a state of ours. */
static bool
loads(struct logworld_print *out)
{
	struct logworld_print p;
	struct refusal why;
	uint64_t last;
	enum err e = logworld_open(&w, dir, "kms0", MAP_MAX);

	if (e != ERR_OK) {
		cr_assert(
		    e == ERR_CORRUPT || e == ERR_LIMIT, "%s", err_text(e));
		return false;
	}
	e = logworld_look(w.store, &p, &last, &why);
	logworld_close(&w);
	if (e != ERR_OK) {
		cr_assert_eq(e, ERR_CORRUPT, "%s", err_text(e));
		cr_assert_neq(why.detail[0], 0);
		return false;
	}
	for (unsigned i = 0; i < n_states; i++) {
		if (memcmp(&state[i].print, &p, sizeof p) == 0) {
			if (out != NULL)
				*out = p;
			return true;
		}
	}
	cr_assert_fail("a state that never was");
	return false;
}

/* A file as it once was loads: that is what a cache can be. */
Test(disklog_attack, whole_old_files)
{
	struct logworld_print p;

	history("kms0");
	for (unsigned i = 0; i < n_states; i++) {
		write_image(state[i].image.p, state[i].image.len);
		cr_assert(loads(&p));
		cr_assert_eq(memcmp(&p, &state[i].print, sizeof p), 0);
	}
}

/* Single pages, and random sets of them, of another time. */
Test(disklog_attack, old_pages_in_a_new_file)
{
	uint32_t x = 1;
	unsigned loaded = 0, refused = 0;

	history("kms0");
	for (unsigned round = 0; round < 3000; round++) {
		const struct buf *a, *b;
		struct buf mix = { 0 };

		x = x * 1664525 + 1013904223;
		a = &state[(x >> 8) % n_states].image;
		/* Half of them are neighbours in time. */
		b = round % 2 ? &state[((x >> 8) + 1 + x % 3) % n_states].image
			      : &state[(x >> 16) % n_states].image;
		ok(buf_set(&mix, a->p, a->len));
		for (size_t at = 0; at < mix.len; at += PAGE) {
			bool pick = round % 3 == 0
			    ? at / PAGE == (x >> 4) % (mix.len / PAGE)
			    : (x = x * 1664525 + 1013904223) >> 28 < round % 16;

			if (pick && at + PAGE <= b->len)
				memcpy(mix.p + at, b->p + at, PAGE);
		}
		write_image(mix.p, mix.len);
		if (loads(NULL))
			loaded++;
		else
			refused++;
		buf_fini(&mix);
	}
	cr_assert(loaded > 100 && refused > 100, "%u %u", loaded, refused);
}

/* Cuts and changed bytes. */
Test(disklog_attack, damaged_files)
{
	const struct buf *image;
	struct buf copy = { 0 };
	unsigned refused = 0;
	uint32_t x = 7;

	history("kms0");
	image = &state[n_states - 1].image;
	for (size_t len = 511; len < image->len; len += 2557) {
		write_image(image->p, len);
		refused += !loads(NULL);
	}
	cr_assert_gt(refused, 10);
	ok(buf_set(&copy, image->p, image->len));
	for (size_t at = 0; at < copy.len; at++) {
		if (at % PAGE >= 64 && at % 97 != 0)
			continue;
		x = x * 1664525 + 1013904223;
		copy.p[at] ^= (uint8_t)(1u << (x >> 29));
		write_image(copy.p, copy.len);
		refused += !loads(NULL);
		copy.p[at] = image->p[at];
	}
	cr_assert_gt(refused, 500);
	buf_fini(&copy);
}

/* ---- single sealed records, put where they do not belong ---- */

/* Reads (or writes, if `set`) a raw record of the file at `where`. */
static bool
raw(const char *where, enum store_table t, const uint8_t *name, size_t len,
    struct buf *value, bool set)
{
	uint8_t key[65] = { (uint8_t)t };
	MDB_val k = { 1 + len, key }, v;
	MDB_env *env;
	MDB_txn *txn;
	MDB_dbi dbi;
	int rc;

	memcpy(key + 1, name, len);
	cr_assert_eq(mdb_env_create(&env), 0);
	cr_assert_eq(mdb_env_set_mapsize(env, MAP_MAX), 0);
	cr_assert_eq(mdb_env_open(env, where, 0, 0600), 0);
	cr_assert_eq(mdb_txn_begin(env, NULL, 0, &txn), 0);
	cr_assert_eq(mdb_dbi_open(txn, NULL, 0, &dbi), 0);
	if (set && value == NULL) {
		rc = mdb_del(txn, dbi, &k, NULL);
	} else if (set) {
		v = (MDB_val){ value->len, value->p };
		rc = mdb_put(txn, dbi, &k, &v, 0);
	} else if ((rc = mdb_get(txn, dbi, &k, &v)) == 0) {
		ok(buf_set(value, v.mv_data, v.mv_size));
	}
	cr_assert_eq(mdb_txn_commit(txn), 0);
	mdb_env_close(env);
	return rc == 0;
}

static bool
raw_number(const char *where, enum store_table t, uint64_t number,
    struct buf *value, bool set)
{
	uint8_t name[8];
	struct wr n = { .p = name, .cap = sizeof name };

	wr_be64(&n, number);
	return raw(where, t, name, sizeof name, value, set);
}

static bool
raw_meta(const char *where, struct buf *value, bool set)
{
	return raw(where, STORE_META, (const uint8_t *)"raft", 4, value, set);
}

/* A meta record of another time: only over the log that it was written
 * with. */
Test(disklog_attack, old_meta)
{
	struct logworld_print p;
	struct buf meta[STATES_MAX] = { 0 };
	unsigned loaded = 0;

	history("kms0");
	for (unsigned i = 1; i < n_states; i++) {
		write_image(state[i].image.p, state[i].image.len);
		cr_assert(raw_meta(dir, &meta[i], false));
	}
	for (unsigned i = 1; i < n_states; i++) {
		for (unsigned k = 1; k < n_states; k++) {
			write_image(state[i].image.p, state[i].image.len);
			cr_assert(raw_meta(dir, &meta[k], true));
			if (!loads(&p))
				continue;
			/* It says what that meta record always said. */
			cr_assert_eq(memcmp(&p, &state[k].print, sizeof p), 0);
			loaded++;
		}
	}
	/* Each with its own, and a few whose logs are equal. */
	cr_assert_geq(loaded, n_states - 1);
	cr_assert_leq(loaded, 4 * n_states);
	/* Without one, it is not an empty store. */
	write_image(state[n_states - 1].image.p, state[n_states - 1].image.len);
	cr_assert(raw_meta(dir, NULL, true));
	cr_assert(!loads(NULL));
	for (unsigned i = 1; i < n_states; i++)
		buf_fini(&meta[i]);
}

/* Entries: another index's, another time's, too few, too many. */
Test(disklog_attack, moved_entries)
{
	struct buf a = { 0 }, b = { 0 };
	const struct buf *image;
	unsigned forks = 0, tried = 0;

	history("kms0");
	for (unsigned i = 1; i < n_states; i++) {
		image = &state[i].image;
		for (uint64_t at = 1; at < 40; at++) {
			write_image(image->p, image->len);
			if (!raw_number(dir, STORE_LOG, at, &a, false))
				continue;
			/* Missing. */
			cr_assert(raw_number(dir, STORE_LOG, at, NULL, true));
			cr_assert(!loads(NULL));
			/* In its neighbour's place, and beside the log. */
			for (unsigned d = 0; d < 2; d++) {
				write_image(image->p, image->len);
				cr_assert(raw_number(dir, STORE_LOG,
				    d == 0 ? at + 1 : 1000, &a, true));
				cr_assert(!loads(NULL));
			}
			tried++;
		}
	}
	cr_assert_gt(tried, 50);
	/* The same index, of another life: seal and name are good. */
	image = &state[n_states - 1].image;
	for (unsigned i = 1; i < n_states; i++) {
		for (uint64_t at = 1; at < 40; at++) {
			write_image(state[i].image.p, state[i].image.len);
			if (!raw_number(dir, STORE_LOG, at, &a, false))
				continue;
			write_image(image->p, image->len);
			if (raw_number(dir, STORE_LOG, at, &b, false) &&
			    b.len == a.len && memcmp(a.p, b.p, a.len) == 0)
				continue; /* the very same */
			cr_assert(raw_number(dir, STORE_LOG, at, &a, true));
			cr_assert(!loads(NULL));
			forks++;
		}
	}
	cr_assert_gt(forks, 50);
	buf_fini(&a);
	buf_fini(&b);
}

/* Pieces of a snapshot: of another one, missing, too many. */
Test(disklog_attack, mixed_snapshots)
{
	struct buf a = { 0 }, b = { 0 };
	const struct buf *last;
	unsigned tried = 0;

	history("kms0");
	last = &state[n_states - 1].image;
	for (uint64_t at = 0; at < 4; at++) {
		write_image(last->p, last->len);
		if (!raw_number(dir, STORE_SNAPSHOT, at, &b, false))
			continue;
		cr_assert(raw_number(dir, STORE_SNAPSHOT, at, NULL, true));
		cr_assert(!loads(NULL));
		write_image(last->p, last->len);
		cr_assert(raw_number(dir, STORE_SNAPSHOT, at + 1, &b, true));
		cr_assert(!loads(NULL));
		for (unsigned i = 1; i < n_states; i++) {
			write_image(state[i].image.p, state[i].image.len);
			if (!raw_number(dir, STORE_SNAPSHOT, at, &a, false) ||
			    (a.len == b.len && memcmp(a.p, b.p, a.len) == 0))
				continue;
			write_image(last->p, last->len);
			cr_assert(
			    raw_number(dir, STORE_SNAPSHOT, at, &a, true));
			cr_assert(!loads(NULL));
			tried++;
		}
	}
	cr_assert_gt(tried, 10);
	buf_fini(&a);
	buf_fini(&b);
}

/* Two forks of one log with equal entries and unequal snapshots at the same
 * index: no piece, and not all of them, can change places. */
Test(disklog_attack, twin_snapshots)
{
	struct buf piece[2][5] = { 0 };
	const struct buf *image;
	struct logworld_print p;
	unsigned base, n = 0;
	uint64_t last;

	history("kms0");
	base = n_states - 1;
	for (unsigned i = 0; i < 2; i++) {
		write_image(state[base].image.p, state[base].image.len);
		ok(logworld_open(&w, dir, "kms0", MAP_MAX));
		ok(logworld_look(w.store, &p, &last, NULL));
		ok(logworld_start(&w, last));
		turn();
		ok(logworld_compact(&w, 200000, 2));
		turn();
		logworld_close(&w);
		for (n = 0; n < 5; n++)
			cr_assert(raw_number(
			    dir, STORE_SNAPSHOT, n, &piece[i][n], false));
	}
	image = &state[n_states - 1].image;
	for (unsigned set = 1; set < 1u << n; set++) {
		write_image(image->p, image->len);
		for (unsigned i = 0; i < n; i++)
			if ((set >> i & 1) != 0)
				cr_assert(raw_number(dir, STORE_SNAPSHOT, i,
				    &piece[0][i], true));
		cr_assert(!loads(NULL));
	}
	write_image(image->p, image->len);
	cr_assert(loads(&p));
	for (unsigned i = 0; i < n; i++) {
		buf_fini(&piece[0][i]);
		buf_fini(&piece[1][i]);
	}
}

/* Records of another slot, under the same key, in our place. */
Test(disklog_attack, another_slot)
{
	struct buf a = { 0 };
	char *ours = dir, *theirs = tmpdir_new();

	history("kms0");
	ok(logworld_open(&w, theirs, "kms1", MAP_MAX));
	ok(logworld_start(&w, 0));
	ok(logworld_submit(&w, 40, 20));
	ok(logworld_turn(&w));
	logworld_close(&w);
	for (uint64_t at = 1; at < 40; at++) {
		cr_assert(raw_number(theirs, STORE_LOG, at, &a, false));
		write_image(
		    state[n_states - 1].image.p, state[n_states - 1].image.len);
		cr_assert(raw_number(ours, STORE_LOG, at, &a, true));
		cr_assert(!loads(NULL));
	}
	cr_assert(raw_meta(theirs, &a, false));
	write_image(state[n_states - 1].image.p, state[n_states - 1].image.len);
	cr_assert(raw_meta(ours, &a, true));
	cr_assert(!loads(NULL));
	buf_fini(&a);
	tmpdir_remove(theirs);
}
