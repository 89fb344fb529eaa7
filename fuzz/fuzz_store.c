/* fuzz_store: what a host can make of the records on a disk.
 *
 * Targets: store_open, store_range, store_get, seal_open, disklog_load.
 *
 * A node's history is made once: three lives, forks of its log, snapshots; all
 * its records are kept as they were sealed after each transaction, and so are
 * those of another node under the same key.  Input: which state the disk is in
 * (u8), then steps {op, a, b, c}, each on the sealed records, behind LMDB:
 *   0 a record gets the value that it had in another state
 *   1 ... the value of another record, in any state
 *   2 ... the value of the same record of the other node
 *   3 ... one byte of another value     4 ... a shorter value
 *   5 it is deleted                     6 all of a table, as in another state
 *   7 one byte of every value is another
 * A last odd byte asks for another key (1) or slot (2).
 *
 * Asserted: a record opens as what was once sealed for that very name by the
 * node that it is opened as, or not at all; nothing opens under another key;
 * what the log loads is one whole state that this node once committed. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <lmdb.h>
#include <sodium.h>

#include "common/base/file.h"
#include "common/base/log.h"
#include "common/base/rd.h"
#include "common/base/secret.h"
#include "fuzz/must.h"
#include "fuzz/scratch.h"
#include "tests/lib/logworld.h"

#define MAP_MAX (16u << 20)
#define STATES_MAX 48
#define RECORDS_MAX 128
#define STEPS 24

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* As LMDB has it. */
struct record {
	struct buf key, value;
};
struct state {
	struct record r[RECORDS_MAX];
	size_t n;
	struct logworld_print print;
};

static struct state mine[STATES_MAX], others[STATES_MAX];
static unsigned n_mine, n_others;
static char dir[2][SCRATCH_MAX];
/* What each record that ever was opens as, of each of the two nodes. */
static struct opened {
	uint8_t (*hash)[32];
	size_t n;
} known[2];
static unsigned whose; /* 1: the other's */
static bool crossed; /* a value of the other's is on the disk */

/* ---- LMDB ---- */

static MDB_env *
env_open(const char *at)
{
	MDB_env *env = NULL;

	must(mdb_env_create(&env) == 0);
	must(mdb_env_set_mapsize(env, MAP_MAX) == 0);
	must(mdb_env_open(env, at, MDB_NOSYNC | MDB_NOLOCK, 0600) == 0);
	return env;
}

static void
dump(struct state *s, const char *at)
{
	MDB_env *env = env_open(at);
	MDB_txn *txn = NULL;
	MDB_cursor *c = NULL;
	MDB_val k = { 0 }, v = { 0 };
	MDB_dbi dbi;

	must(mdb_txn_begin(env, NULL, MDB_RDONLY, &txn) == 0);
	must(mdb_dbi_open(txn, NULL, 0, &dbi) == 0);
	must(mdb_cursor_open(txn, dbi, &c) == 0);
	while (mdb_cursor_get(c, &k, &v, MDB_NEXT) == 0) {
		must(s->n < RECORDS_MAX);
		must(buf_set(&s->r[s->n].key, k.mv_data, k.mv_size) == ERR_OK);
		must(
		    buf_set(&s->r[s->n].value, v.mv_data, v.mv_size) == ERR_OK);
		s->n++;
	}
	mdb_cursor_close(c);
	mdb_txn_abort(txn);
	mdb_env_close(env);
}

static void
write_all(const struct state *s, const char *at)
{
	char path[128];
	MDB_env *env;
	MDB_txn *txn = NULL;
	MDB_dbi dbi;

	must(file_join(path, sizeof path, at, "data.mdb") == ERR_OK);
	(void)remove(path);
	env = env_open(at);
	must(mdb_txn_begin(env, NULL, 0, &txn) == 0);
	must(mdb_dbi_open(txn, NULL, 0, &dbi) == 0);
	for (size_t i = 0; i < s->n; i++) {
		MDB_val k = { s->r[i].key.len, s->r[i].key.p };
		MDB_val v = { s->r[i].value.len, s->r[i].value.p };

		if (k.mv_size != 0)
			must(mdb_put(txn, dbi, &k, &v, 0) == 0);
	}
	must(mdb_txn_commit(txn) == 0);
	mdb_env_close(env);
}

/* ---- what a record opens as ---- */

static void
print(uint8_t out[static 32], enum store_table t, const struct store_record *r)
{
	crypto_generichash_state h;
	uint8_t head[3] = { (uint8_t)t, (uint8_t)r->key.len,
		(uint8_t)r->clear.len };

	(void)crypto_generichash_init(&h, NULL, 0, 32);
	(void)crypto_generichash_update(&h, head, sizeof head);
	(void)crypto_generichash_update(&h, r->key.p, r->key.len);
	(void)crypto_generichash_update(&h, r->clear.p, r->clear.len);
	(void)crypto_generichash_update(&h, r->value.p, r->value.len);
	(void)crypto_generichash_final(&h, out, 32);
}

static enum store_table table;
static unsigned n_opened;

static bool
is_known(const uint8_t hash[static 32])
{
	for (size_t i = 0; i < known[whose].n; i++)
		if (memcmp(known[whose].hash[i], hash, 32) == 0)
			return true;
	return false;
}

static enum err
learn(void *cookie, const struct store_record *r)
{
	struct opened *o = &known[whose];
	uint8_t hash[32];

	(void)cookie;
	print(hash, table, r);
	if (is_known(hash))
		return ERR_OK;
	o->hash = realloc(o->hash, (o->n + 1) * sizeof *o->hash);
	must(o->hash != NULL);
	memcpy(o->hash[o->n++], hash, 32);
	return ERR_OK;
}

static enum err
recognise(void *cookie, const struct store_record *r)
{
	uint8_t hash[32];

	(void)cookie;
	n_opened++;
	print(hash, table, r);
	must(is_known(hash));
	return ERR_OK;
}

/* ERR_OK, or that of the first that does not open. */
static enum err
each(struct store *s, store_fn *fn)
{
	const struct bytes none = { NULL, 0 };
	enum err e, first = ERR_OK;

	for (int t = STORE_META; t <= STORE_SNAPSHOT; t++) {
		table = (enum store_table)t;
		e = store_range(s, table, none, none, fn, NULL);
		if (first == ERR_OK)
			first = e;
	}
	return first;
}

/* ---- the history ---- */

static void
note(struct logworld *w, struct state *s, unsigned *n, const char *at)
{
	uint64_t last;

	must(*n < STATES_MAX);
	must(logworld_look(w->store, &s[*n].print, &last, NULL) == ERR_OK);
	whose = s != mine;
	must(each(w->store, learn) == ERR_OK);
	dump(&s[*n], at);
	(*n)++;
}

static void
turn(struct logworld *w, struct state *s, unsigned *n, const char *at)
{
	while (logworld_prepare(w) == ERR_OK) {
		must(store_commit(w->store) == ERR_OK);
		must(logworld_done(w) == ERR_OK);
		note(w, s, n, at);
	}
}

static void
history(struct state *s, unsigned *n, const char *at, const char *slot)
{
	struct logworld_print p;
	struct logworld w;
	uint64_t last;

	must(logworld_open(&w, at, slot, MAP_MAX) == ERR_OK);
	note(&w, s, n, at);
	for (unsigned life = 0; life < 3; life++) {
		must(logworld_look(w.store, &p, &last, NULL) == ERR_OK);
		must(logworld_start(&w, life == 2 ? 0 : last - last % 3) ==
		    ERR_OK);
		turn(&w, s, n, at);
		for (unsigned i = 0; i < 3; i++) {
			must(logworld_submit(&w, 2 + i, 20 + 100 * (i % 2)) ==
			    ERR_OK);
			turn(&w, s, n, at);
			if (i != 1)
				continue;
			must(logworld_compact(
				 &w, 300 + 40000 * (life == 1), 2) == ERR_OK);
			turn(&w, s, n, at);
		}
	}
	logworld_close(&w);
}

static void
clean_up(void)
{
	static const char *const name[] = { "data.mdb", "lock.mdb", "lock" };
	char path[128];

	for (unsigned i = 0; i < 2; i++) {
		for (unsigned k = 0; k < 3; k++)
			if (file_join(path, sizeof path, dir[i], name[k]) ==
			    ERR_OK)
				(void)remove(path);
		(void)remove(dir[i]);
	}
}

static void
set_up(void)
{
	must(secret_process_init() == ERR_OK);
	log_set_level(LOG_ERROR);
	for (unsigned i = 0; i < 2; i++)
		scratch_dir(dir[i], "store");
	(void)atexit(clean_up);
	history(mine, &n_mine, dir[0], "kms0");
	history(others, &n_others, dir[1], "kms1");
}

/* ---- the host ---- */

static void
set(struct record *r, const struct buf *v)
{
	if (r != NULL)
		must(buf_set(&r->value, v->p, v->len) == ERR_OK);
}

static const struct buf *
same_name(const struct state *s, const struct record *r)
{
	for (size_t i = 0; i < s->n; i++)
		if (s->r[i].key.len == r->key.len &&
		    memcmp(s->r[i].key.p, r->key.p, r->key.len) == 0)
			return &s->r[i].value;
	return NULL;
}

static void
step(struct state *s, const uint8_t *d)
{
	struct record *r = s->n > 0 ? &s->r[d[1] % s->n] : NULL;
	const struct state *from = &mine[d[2] % n_mine];
	const struct buf *v = NULL;

	if (r == NULL || r->key.len == 0 || r->value.len == 0)
		return;
	switch (d[0] % 8) {
	case 0:
		v = same_name(from, r);
		break;
	case 1:
		if (from->n > 0)
			v = &from->r[d[3] % from->n].value;
		break;
	case 2:
		v = same_name(&others[d[2] % n_others], r);
		crossed = crossed || v != NULL;
		break;
	case 3:
		r->value.p[(d[2] * 8u) % r->value.len] ^= d[3];
		break;
	case 4:
		r->value.len -= d[2] % r->value.len;
		break;
	case 5:
		r->key.len = 0;
		break;
	case 6:
		for (size_t i = 0; i < s->n; i++) {
			struct record *x = &s->r[i];

			if (x->key.len > 0 && x->key.p[0] == r->key.p[0] &&
			    (v = same_name(from, x)) != NULL)
				set(x, v);
		}
		return;
	case 7:
		for (size_t i = 0; i < s->n; i++)
			if (s->r[i].value.len > 2)
				s->r[i].value.p[d[2] % s->r[i].value.len] ^=
				    d[3];
		return;
	}
	if (v != NULL)
		set(r, v);
}

/* ---- and what the node makes of it ---- */

static bool
was_state(const struct logworld_print *p)
{
	const struct state *s = whose == 0 ? mine : others;

	for (unsigned i = 0; i < (whose == 0 ? n_mine : n_others); i++)
		if (memcmp(p, &s[i].print, sizeof *p) == 0)
			return true;
	return false;
}

static void
check(const uint8_t key[static 32], const char *slot, bool right)
{
	struct store_options o = {
		.dir = dir[0], .slot = slot, .map_max = MAP_MAX
	};
	struct logworld_print p;
	struct store *s = NULL;
	struct refusal why = { 0 };
	uint64_t last;
	enum err e = store_open(&s, &o, key);

	whose = strcmp(slot, "kms1") == 0;
	if (e != ERR_OK) {
		must(e == ERR_CORRUPT && s == NULL);
		return;
	}
	n_opened = 0;
	e = each(s, recognise);
	must(e == ERR_OK || e == ERR_CORRUPT);
	must(n_opened == 0 || (right && (whose == 0 || crossed)));
	e = logworld_look(s, &p, &last, &why);
	must(e == ERR_OK || e == ERR_CORRUPT || e == ERR_NOTFOUND);
	must(e != ERR_OK || was_state(&p));
	store_close(s);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t right[32] = { 1 }, wrong[32] = { 2 };
	static struct state s;
	const struct state *base;
	uint8_t how = 0;

	if (n_mine == 0)
		set_up();
	if (size == 0)
		return 0;
	crossed = false;
	base = &mine[data[0] % n_mine];
	s.n = base->n;
	for (size_t i = 0; i < s.n; i++) {
		must(buf_set(&s.r[i].key, base->r[i].key.p,
			 base->r[i].key.len) == ERR_OK);
		set(&s.r[i], &base->r[i].value);
	}
	for (size_t i = 0; i < STEPS && size - 1 >= 4 * (i + 1); i++)
		step(&s, data + 1 + 4 * i);
	write_all(&s, dir[0]);
	if (size % 4 == 2)
		how = data[size - 1] % 4;
	check(how == 1 ? wrong : right, how == 2 ? "kms1" : "kms0", how != 1);
	return 0;
}
