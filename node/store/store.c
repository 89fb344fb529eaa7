/* One unnamed LMDB database: key table u8 | name; value sealed (seal.c).
 *
 * STORE_META "version" holds the u64be transaction counter; it is written in
 * every transaction and is what store_open tries first.
 *
 * The map is as large as it may become from the start: LMDB writes to the
 * file, so that costs address space only, and one transaction can be of any
 * size that fits.
 *
 * LMDB copies the pages that it changes, so a map that is full cannot even be
 * emptied: a transaction that begins with a delete gets a sixteenth more, and
 * so does the next one (what is freed by one is free for the one after it). */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include <lmdb.h>

#include "common/base/file.h"
#include "common/base/rd.h"
#include "common/base/wr.h"
#include "node/store/pages.h"
#include "node/store/seal.h"
#include "node/store/store.h"

#define MAP_MIN (4u << 20)
#define PATH_LEN 1024
#define FULL_MAX (1 + STORE_KEY_MAX)

static_assert(FULL_MAX == SEAL_KEY_MAX && STORE_CLEAR_MAX == SEAL_CLEAR_MAX);

static const char version_key[] = "version";

struct store {
	int lock_fd; /* owns: flock on dir/lock while we live */
	MDB_env *env; /* owns */
	MDB_dbi dbi;
	MDB_txn *txn; /* owns: the open write transaction, or NULL */
	enum err txn_err; /* first failure inside it */
	bool touched; /* it has had a put or a delete */
	unsigned wide; /* transactions for which the map has its reserve */
	size_t map_max;
	uint64_t version;
	char dir[PATH_LEN];
	struct seal seal;
};

static enum err
from_mdb(int rc)
{
	switch (rc) {
	case 0:
		return ERR_OK;
	case MDB_NOTFOUND:
		return ERR_NOTFOUND;
	case MDB_MAP_FULL:
	case MDB_TXN_FULL:
	case ENOSPC:
	case EDQUOT:
	case EFBIG:
		return ERR_LIMIT;
	case MDB_CORRUPTED:
	case MDB_PAGE_NOTFOUND:
	case MDB_INVALID:
	case MDB_VERSION_MISMATCH:
		return ERR_CORRUPT;
	case ENOMEM:
		return ERR_NOMEM;
	case EAGAIN:
	case EBUSY:
		return ERR_EXISTS;
	default:
		return ERR_IO;
	}
}

/* The database's key of a record. */
struct full_key {
	uint8_t b[FULL_MAX];
	size_t len;
};

static enum err
full_key(struct full_key *out, enum store_table t, struct bytes key)
{
	if (key.len == 0 || key.len > STORE_KEY_MAX)
		return ERR_LIMIT;
	out->b[0] = (uint8_t)t;
	memcpy(out->b + 1, key.p, key.len);
	out->len = 1 + key.len;
	return ERR_OK;
}

static enum err
open_value(
    struct store *s, struct buf *out, struct bytes *clear, MDB_val k, MDB_val v)
{
	return seal_open(&s->seal, out, clear,
	    (struct bytes){ k.mv_data, k.mv_size },
	    (struct bytes){ v.mv_data, v.mv_size });
}

static enum err
put_sealed(struct store *s, enum store_table t, struct bytes key,
    struct bytes clear, struct bytes value)
{
	struct full_key fk;
	MDB_val k, v;
	enum err e = full_key(&fk, t, key);

	if (e != ERR_OK)
		return e;
	if (value.len > STORE_VALUE_MAX || clear.len > STORE_CLEAR_MAX)
		return ERR_LIMIT;
	k = (MDB_val){ fk.len, fk.b };
	v = (MDB_val){ seal_size(clear.len, value.len), NULL };
	/* LMDB hands out the page to fill: no plaintext goes near it. */
	if ((e = from_mdb(mdb_put(s->txn, s->dbi, &k, &v, MDB_RESERVE))) ==
	    ERR_OK)
		seal_put(&s->seal, v.mv_data, (struct bytes){ fk.b, fk.len },
		    clear, value);
	return e;
}

static struct bytes
version_name(void)
{
	return (struct bytes){ (const uint8_t *)version_key,
		sizeof version_key - 1 };
}

static enum err
load_version(struct store *s)
{
	struct buf b = { 0 };
	struct rd r;
	enum err e = store_get(s, &b, STORE_META, version_name());

	if (e == ERR_NOTFOUND) {
		MDB_stat st;
		MDB_txn *txn;

		/* Only an empty store may lack its version. */
		if ((e = from_mdb(mdb_txn_begin(
			 s->env, NULL, MDB_RDONLY, &txn))) != ERR_OK)
			goto done;
		e = from_mdb(mdb_stat(txn, s->dbi, &st));
		mdb_txn_abort(txn);
		if (e == ERR_OK && st.ms_entries != 0)
			e = ERR_CORRUPT;
		goto done;
	}
	if (e != ERR_OK)
		goto done;
	r = (struct rd){ .p = b.p, .left = b.len };
	s->version = rd_be64(&r);
	if (!rd_done(&r))
		e = ERR_CORRUPT;
done:
	buf_wipe(&b);
	return e;
}

/* LMDB allows several processes; one node's disk has one owner. */
static enum err
take_lock(struct store *s, const char *dir)
{
	char path[PATH_LEN];
	enum err e = file_join(path, sizeof path, dir, "lock");

	if (e != ERR_OK)
		return e;
	s->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (s->lock_fd < 0)
		return ERR_IO;
	if (flock(s->lock_fd, LOCK_EX | LOCK_NB) != 0)
		return errno == EWOULDBLOCK ? ERR_EXISTS : ERR_IO;
	return ERR_OK;
}

static void
close_env(struct store *s)
{
	if (s->env != NULL)
		mdb_env_close(s->env);
	s->env = NULL;
}

static size_t
widest(const struct store *s)
{
	return s->map_max + s->map_max / 16;
}

static enum err
open_env(struct store *s)
{
	MDB_txn *txn = NULL;
	char path[PATH_LEN];
	enum err e = file_join(path, sizeof path, s->dir, "data.mdb");

	if (e != ERR_OK || (e = pages_check(path, widest(s))) != ERR_OK)
		return e;
	s->wide = 0;
	if ((e = from_mdb(mdb_env_create(&s->env))) != ERR_OK)
		goto done;
	if ((e = from_mdb(mdb_env_set_mapsize(s->env, s->map_max))) != ERR_OK)
		goto done;
	if ((e = from_mdb(mdb_env_open(s->env, s->dir, MDB_NOTLS, 0600))) !=
	    ERR_OK)
		goto done;
	if ((e = from_mdb(mdb_txn_begin(s->env, NULL, 0, &txn))) != ERR_OK)
		goto done;
	if ((e = from_mdb(mdb_dbi_open(txn, NULL, 0, &s->dbi))) != ERR_OK)
		goto done;
	e = from_mdb(mdb_txn_commit(txn));
	txn = NULL;
	if (e == ERR_OK)
		e = load_version(s);
done:
	if (txn != NULL)
		mdb_txn_abort(txn);
	if (e != ERR_OK)
		close_env(s);
	return e;
}

enum err
store_open(struct store **out, const struct store_options *o,
    const uint8_t seal_key[static 32])
{
	struct store *s = calloc(1, sizeof *s);
	enum err e;

	if (s == NULL)
		return ERR_NOMEM;
	s->lock_fd = -1;
	if ((e = seal_init(&s->seal, seal_key, o->cluster, o->slot)) != ERR_OK)
		goto done;
	e = ERR_CONFIG;
	if (o->map_max < MAP_MIN || strlen(o->dir) >= sizeof s->dir)
		goto done;
	(void)snprintf(s->dir, sizeof s->dir, "%s", o->dir);
	s->map_max = o->map_max;
	if ((e = file_mkdirs(o->dir)) == ERR_OK &&
	    (e = take_lock(s, o->dir)) == ERR_OK)
		e = open_env(s);
done:
	if (e != ERR_OK)
		store_close(s);
	else
		*out = s;
	return e;
}

void
store_close(struct store *s)
{
	if (s == NULL)
		return;
	store_abort(s);
	close_env(s);
	if (s->lock_fd >= 0)
		(void)close(s->lock_fd);
	seal_fini(&s->seal);
	free(s);
}

enum err
store_discard(const struct store_options *o)
{
	struct store s = { .lock_fd = -1 };
	char path[PATH_LEN];
	enum err e = file_join(path, sizeof path, o->dir, "data.mdb");

	if (e != ERR_OK || (e = file_mkdirs(o->dir)) != ERR_OK ||
	    (e = take_lock(&s, o->dir)) != ERR_OK)
		goto done;
	if (unlink(path) != 0 && errno != ENOENT)
		e = ERR_IO;
done:
	if (s.lock_fd >= 0)
		(void)close(s.lock_fd);
	return e;
}

uint64_t
store_version(const struct store *s)
{
	return s->version;
}

/* LMDB gives an environment up when it could not write a meta page; whether
 * that transaction is in is then read from the file. */
static enum err
begin(struct store *s, unsigned flags, MDB_txn **out)
{
	int rc = s->env == NULL ? MDB_PANIC
				: mdb_txn_begin(s->env, NULL, flags, out);
	enum err e;

	if (rc != MDB_PANIC)
		return from_mdb(rc);
	close_env(s);
	if ((e = open_env(s)) != ERR_OK)
		return e;
	return from_mdb(mdb_txn_begin(s->env, NULL, flags, out));
}

enum err
store_begin(struct store *s)
{
	enum err e;

	if (s->txn != NULL)
		return ERR_PHASE;
	s->txn_err = ERR_OK;
	s->touched = false;
	if (s->env != NULL && s->wide > 0 && --s->wide == 0) {
		/* LMDB takes what is in use, if that is more. */
		e = from_mdb(mdb_env_set_mapsize(s->env, s->map_max));
		if (e != ERR_OK)
			return e;
	}
	if ((e = begin(s, 0, &s->txn)) == ERR_OK)
		seal_use(&s->seal);
	return e;
}

/* The first failure inside a transaction is the commit's result. */
static enum err
note(struct store *s, enum err e)
{
	if (e != ERR_OK && e != ERR_NOTFOUND && s->txn_err == ERR_OK)
		s->txn_err = e;
	return e;
}

/* Before a delete: the map can only be changed while nothing is open, and an
 * untouched transaction can begin again. */
static enum err
widen(struct store *s)
{
	MDB_envinfo info;
	enum err e = from_mdb(mdb_env_info(s->env, &info));

	if (e != ERR_OK || s->touched ||
	    (info.me_last_pgno + 1) * 4096 < s->map_max / 4 * 3)
		return e;
	store_abort(s);
	s->wide = 2;
	if ((e = from_mdb(mdb_env_set_mapsize(s->env, widest(s)))) != ERR_OK ||
	    (e = begin(s, 0, &s->txn)) != ERR_OK)
		return e;
	seal_use(&s->seal);
	return ERR_OK;
}

enum err
store_put_clear(struct store *s, enum store_table t, struct bytes key,
    struct bytes clear, struct bytes value)
{
	if (s->txn == NULL)
		return ERR_PHASE;
	s->touched = true;
	return note(s, put_sealed(s, t, key, clear, value));
}

enum err
store_put(
    struct store *s, enum store_table t, struct bytes key, struct bytes value)
{
	return store_put_clear(s, t, key, (struct bytes){ 0 }, value);
}

enum err
store_del(struct store *s, enum store_table t, struct bytes key)
{
	struct full_key fk;
	MDB_val k;
	enum err e;

	if (s->txn == NULL)
		return ERR_PHASE;
	if ((e = full_key(&fk, t, key)) != ERR_OK || (e = widen(s)) != ERR_OK)
		return e;
	s->touched = true;
	k = (MDB_val){ fk.len, fk.b };
	return note(s, from_mdb(mdb_del(s->txn, s->dbi, &k, NULL)));
}

/* Where a walk of table `t` begins and ends. */
struct range {
	struct full_key from, to; /* to.len 1: the end of the table */
};

static enum err
range_set(
    struct range *r, enum store_table t, struct bytes from, struct bytes to)
{
	enum err e;

	r->from.b[0] = r->to.b[0] = (uint8_t)t;
	r->from.len = r->to.len = 1;
	if (from.len > 0 && (e = full_key(&r->from, t, from)) != ERR_OK)
		return e;
	return to.len > 0 ? full_key(&r->to, t, to) : ERR_OK;
}

static bool
range_has(const struct range *r, const MDB_val *k)
{
	size_t n = k->mv_size < r->to.len ? k->mv_size : r->to.len;
	int c = memcmp(k->mv_data, r->to.b, n);

	return c < 0 || (c == 0 && (r->to.len == 1 || k->mv_size <= r->to.len));
}

enum err
store_del_range(
    struct store *s, enum store_table t, struct bytes from, struct bytes to)
{
	struct range range;
	MDB_cursor *c = NULL;
	MDB_val k, v;
	enum err e;

	if (s->txn == NULL)
		return ERR_PHASE;
	if ((e = range_set(&range, t, from, to)) != ERR_OK ||
	    (e = widen(s)) != ERR_OK)
		return e;
	s->touched = true;
	e = from_mdb(mdb_cursor_open(s->txn, s->dbi, &c));
	while (e == ERR_OK) {
		k = (MDB_val){ range.from.len, range.from.b };
		e = from_mdb(mdb_cursor_get(c, &k, &v, MDB_SET_RANGE));
		if (e != ERR_OK || !range_has(&range, &k))
			break;
		e = from_mdb(mdb_cursor_del(c, 0));
	}
	if (c != NULL)
		mdb_cursor_close(c);
	return note(s, e == ERR_NOTFOUND ? ERR_OK : e);
}

enum err
store_commit(struct store *s)
{
	uint8_t v[8];
	struct wr w = { .p = v, .cap = sizeof v };
	MDB_txn *txn = s->txn;
	enum err e;

	if (txn == NULL)
		return ERR_PHASE;
	e = s->txn_err;
	wr_be64(&w, s->version + 1);
	if (e == ERR_OK)
		e = put_sealed(s, STORE_META, version_name(),
		    (struct bytes){ 0 }, BYTES_OF(v));
	if (e != ERR_OK) {
		store_abort(s);
		return e;
	}
	s->txn = NULL;
	seal_done(&s->seal);
	e = from_mdb(mdb_txn_commit(txn));
	if (e == ERR_OK)
		s->version++;
	return e;
}

void
store_abort(struct store *s)
{
	if (s->txn == NULL)
		return;
	mdb_txn_abort(s->txn);
	s->txn = NULL;
	seal_done(&s->seal);
}

enum err
store_get(
    struct store *s, struct buf *out, enum store_table t, struct bytes key)
{
	struct full_key fk;
	MDB_txn *txn = s->txn;
	struct bytes clear;
	MDB_val k, v;
	enum err e = full_key(&fk, t, key);

	if (e != ERR_OK)
		return e;
	if (txn == NULL && (e = begin(s, MDB_RDONLY, &txn)) != ERR_OK)
		return e;
	k = (MDB_val){ fk.len, fk.b };
	e = from_mdb(mdb_get(txn, s->dbi, &k, &v));
	/* The value is opened into our own memory before the pages go. */
	if (e == ERR_OK)
		e = open_value(s, out, &clear, k, v);
	if (txn != s->txn)
		mdb_txn_abort(txn);
	return e;
}

enum err
store_range(struct store *s, enum store_table t, struct bytes from,
    struct bytes to, store_fn *fn, void *cookie)
{
	struct range range;
	MDB_cursor *c = NULL;
	MDB_txn *txn = s->txn;
	MDB_val k, v;
	struct buf b = { 0 };
	struct store_record r;
	enum err e = range_set(&range, t, from, to), fn_err = ERR_OK;

	if (e != ERR_OK)
		return e;
	if (txn == NULL && (e = begin(s, MDB_RDONLY, &txn)) != ERR_OK)
		return e;
	seal_use(&s->seal);
	k = (MDB_val){ range.from.len, range.from.b };
	if ((e = from_mdb(mdb_cursor_open(txn, s->dbi, &c))) == ERR_OK)
		e = from_mdb(mdb_cursor_get(c, &k, &v, MDB_SET_RANGE));
	while (e == ERR_OK && range_has(&range, &k)) {
		if ((e = open_value(s, &b, &r.clear, k, v)) != ERR_OK)
			break;
		r.key = (struct bytes){ (const uint8_t *)k.mv_data + 1,
			k.mv_size - 1 };
		r.value = buf_view(&b);
		if ((fn_err = fn(cookie, &r)) != ERR_OK)
			break;
		e = from_mdb(mdb_cursor_get(c, &k, &v, MDB_NEXT));
	}
	if (e == ERR_NOTFOUND)
		e = ERR_OK; /* the end of the database */
	seal_done(&s->seal);
	buf_wipe(&b);
	if (c != NULL)
		mdb_cursor_close(c);
	if (txn != s->txn)
		mdb_txn_abort(txn);
	return fn_err != ERR_OK ? fn_err : e;
}

struct each {
	enum err (*fn)(void *cookie, struct bytes key, struct bytes value);
	void *cookie;
};

static enum err
each_one(void *cookie, const struct store_record *r)
{
	struct each *each = cookie;

	return each->fn(each->cookie, r->key, r->value);
}

enum err
store_each(struct store *s, enum store_table t,
    enum err (*fn)(void *cookie, struct bytes key, struct bytes value),
    void *cookie)
{
	struct each each = { fn, cookie };

	return store_range(
	    s, t, (struct bytes){ 0 }, (struct bytes){ 0 }, each_one, &each);
}
