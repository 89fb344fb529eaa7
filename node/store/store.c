/* Layout: one unnamed LMDB database.
 *
 *   key    table u8 | name
 *   value  nonce 24 | ciphertext | tag 16
 *   AD     "devproof-kms/store/v1" | cluster 32 | len(slot) u8 | slot |
 *          table u8 | name
 *
 * STORE_META "version" holds the u64be transaction counter; it is written in
 * every transaction and is what store_open tries first. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include <lmdb.h>
#include <sodium.h>

#include "common/base/file.h"
#include "common/base/rd.h"
#include "common/base/secret.h"
#include "common/base/wr.h"
#include "node/store/store.h"

#define NONCE_LEN crypto_aead_xchacha20poly1305_ietf_NPUBBYTES
#define TAG_LEN crypto_aead_xchacha20poly1305_ietf_ABYTES
#define SLOT_MAX 64
#define MAP_START (4u << 20)
#define AD_MAX (32 + 32 + 1 + SLOT_MAX + 1 + STORE_KEY_MAX)

static const char version_key[] = "version";

struct store {
	int lock_fd; /* owns: flock on dir/lock while we live */
	MDB_env *env; /* owns */
	MDB_dbi dbi;
	MDB_txn *txn; /* owns: the open write transaction, or NULL */
	enum err txn_err; /* first failure inside it */
	size_t map, map_max;
	uint64_t version;
	uint8_t cluster[32];
	char slot[SLOT_MAX];
	uint8_t *key; /* owns: secret memory, 32 bytes */
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
	case ENOSPC:
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

static enum err
full_key(struct wr *w, enum store_table t, struct bytes key)
{
	if (key.len == 0 || key.len > STORE_KEY_MAX)
		return ERR_LIMIT;
	wr_u8(w, (uint8_t)t);
	wr_bytes(w, key.p, key.len);
	return wr_ok(w) ? ERR_OK : ERR_LIMIT;
}

static size_t
make_ad(uint8_t ad[static AD_MAX], const struct store *s, struct bytes full)
{
	struct wr w = { .p = ad, .cap = AD_MAX };

	wr_str(&w, "devproof-kms/store/v1");
	wr_bytes(&w, s->cluster, sizeof s->cluster);
	wr_u8(&w, (uint8_t)strlen(s->slot));
	wr_str(&w, s->slot);
	wr_bytes(&w, full.p, full.len);
	return w.len;
}

static enum err
open_value(const struct store *s, struct buf *out, struct bytes full, MDB_val v)
{
	const uint8_t *p = v.mv_data;
	uint8_t ad[AD_MAX];
	size_t ad_len = make_ad(ad, s, full);
	enum err e;
	int rc;

	if (v.mv_size < NONCE_LEN + TAG_LEN)
		return ERR_CORRUPT;
	/* Growing would leave a copy of an earlier secret behind. */
	if (out->cap < v.mv_size)
		buf_wipe(out);
	out->len = 0;
	if ((e = buf_reserve(out, v.mv_size)) != ERR_OK)
		return e;
	secret_open_ro(s->key);
	rc = crypto_aead_xchacha20poly1305_ietf_decrypt(out->p, NULL, NULL,
	    p + NONCE_LEN, v.mv_size - NONCE_LEN, ad, ad_len, p, s->key);
	secret_lock(s->key);
	if (rc != 0)
		return ERR_CORRUPT;
	out->len = v.mv_size - NONCE_LEN - TAG_LEN;
	out->p[out->len] = 0;
	return ERR_OK;
}

static enum err
put_sealed(
    struct store *s, enum store_table t, struct bytes key, struct bytes value)
{
	uint8_t fk[1 + STORE_KEY_MAX], ad[AD_MAX];
	struct wr w = { .p = fk, .cap = sizeof fk };
	MDB_val k, v;
	uint8_t *p;
	size_t ad_len;
	enum err e = full_key(&w, t, key);

	if (e != ERR_OK)
		return e;
	if (value.len > STORE_VALUE_MAX)
		return ERR_LIMIT;
	k = (MDB_val){ w.len, fk };
	v = (MDB_val){ NONCE_LEN + value.len + TAG_LEN, NULL };
	/* LMDB hands out the page to fill: no plaintext goes near it. */
	if ((e = from_mdb(mdb_put(s->txn, s->dbi, &k, &v, MDB_RESERVE))) !=
	    ERR_OK)
		return e;
	p = v.mv_data;
	ad_len = make_ad(ad, s, (struct bytes){ fk, w.len });
	randombytes_buf(p, NONCE_LEN);
	secret_open_ro(s->key);
	(void)crypto_aead_xchacha20poly1305_ietf_encrypt(p + NONCE_LEN, NULL,
	    value.p, value.len, ad, ad_len, NULL, p, s->key);
	secret_lock(s->key);
	return ERR_OK;
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
	char path[1024];
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

enum err
store_open(struct store **out, const struct store_options *o,
    const uint8_t seal_key[static 32])
{
	struct store *s = calloc(1, sizeof *s);
	MDB_txn *txn = NULL;
	MDB_envinfo info;
	enum err e = ERR_NOMEM;

	if (s == NULL)
		return ERR_NOMEM;
	s->lock_fd = -1;
	if ((s->key = secret_new(32)) == NULL)
		goto done;
	memcpy(s->key, seal_key, 32);
	secret_lock(s->key);
	memcpy(s->cluster, o->cluster, sizeof s->cluster);
	e = ERR_CONFIG;
	if (strlen(o->slot) >= sizeof s->slot || o->map_max < MAP_START)
		goto done;
	(void)snprintf(s->slot, sizeof s->slot, "%s", o->slot);
	s->map_max = o->map_max;
	if ((e = file_mkdirs(o->dir)) != ERR_OK ||
	    (e = take_lock(s, o->dir)) != ERR_OK)
		goto done;
	if ((e = from_mdb(mdb_env_create(&s->env))) != ERR_OK)
		goto done;
	if ((e = from_mdb(mdb_env_set_mapsize(s->env, MAP_START))) != ERR_OK)
		goto done;
	if ((e = from_mdb(mdb_env_open(s->env, o->dir, MDB_NOTLS, 0600))) !=
	    ERR_OK)
		goto done;
	/* An existing file may be larger than the start size. */
	if ((e = from_mdb(mdb_env_info(s->env, &info))) != ERR_OK)
		goto done;
	s->map = info.me_mapsize;
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
	if (s->env != NULL)
		mdb_env_close(s->env);
	if (s->lock_fd >= 0)
		(void)close(s->lock_fd);
	secret_free(s->key);
	free(s);
}

uint64_t
store_version(const struct store *s)
{
	return s->version;
}

/* Doubles the map when less than a quarter (or one large value) is left. */
static enum err
grow_map(struct store *s)
{
	MDB_envinfo info;
	size_t used, want;
	enum err e = from_mdb(mdb_env_info(s->env, &info));

	if (e != ERR_OK)
		return e;
	used = (info.me_last_pgno + 1) * 4096;
	if (used + STORE_VALUE_MAX * 2 <= s->map / 4 * 3 ||
	    s->map >= s->map_max)
		return ERR_OK;
	want = s->map * 2 > s->map_max ? s->map_max : s->map * 2;
	if ((e = from_mdb(mdb_env_set_mapsize(s->env, want))) == ERR_OK)
		s->map = want;
	return e;
}

enum err
store_begin(struct store *s)
{
	enum err e;

	if (s->txn != NULL)
		return ERR_PHASE;
	if ((e = grow_map(s)) != ERR_OK)
		return e;
	s->txn_err = ERR_OK;
	return from_mdb(mdb_txn_begin(s->env, NULL, 0, &s->txn));
}

enum err
store_put(
    struct store *s, enum store_table t, struct bytes key, struct bytes value)
{
	enum err e;

	if (s->txn == NULL)
		return ERR_PHASE;
	e = put_sealed(s, t, key, value);
	if (e != ERR_OK && s->txn_err == ERR_OK)
		s->txn_err = e;
	return e;
}

enum err
store_del(struct store *s, enum store_table t, struct bytes key)
{
	uint8_t fk[1 + STORE_KEY_MAX];
	struct wr w = { .p = fk, .cap = sizeof fk };
	MDB_val k;
	enum err e;

	if (s->txn == NULL)
		return ERR_PHASE;
	if ((e = full_key(&w, t, key)) != ERR_OK)
		return e;
	k = (MDB_val){ w.len, fk };
	e = from_mdb(mdb_del(s->txn, s->dbi, &k, NULL));
	if (e != ERR_OK && e != ERR_NOTFOUND && s->txn_err == ERR_OK)
		s->txn_err = e;
	return e;
}

enum err
store_commit(struct store *s)
{
	uint8_t v[8];
	struct wr w = { .p = v, .cap = sizeof v };
	enum err e;

	if (s->txn == NULL)
		return ERR_PHASE;
	e = s->txn_err;
	wr_be64(&w, s->version + 1);
	if (e == ERR_OK)
		e = put_sealed(s, STORE_META, version_name(),
		    (struct bytes){ v, sizeof v });
	if (e != ERR_OK) {
		store_abort(s);
		return e;
	}
	e = from_mdb(mdb_txn_commit(s->txn));
	s->txn = NULL;
	if (e == ERR_OK)
		s->version++;
	return e;
}

void
store_abort(struct store *s)
{
	if (s->txn != NULL)
		mdb_txn_abort(s->txn);
	s->txn = NULL;
}

enum err
store_get(
    struct store *s, struct buf *out, enum store_table t, struct bytes key)
{
	uint8_t fk[1 + STORE_KEY_MAX];
	struct wr w = { .p = fk, .cap = sizeof fk };
	MDB_txn *txn = s->txn;
	MDB_val k, v;
	enum err e = full_key(&w, t, key);

	if (e != ERR_OK)
		return e;
	if (txn == NULL &&
	    (e = from_mdb(mdb_txn_begin(s->env, NULL, MDB_RDONLY, &txn))) !=
		ERR_OK)
		return e;
	k = (MDB_val){ w.len, fk };
	e = from_mdb(mdb_get(txn, s->dbi, &k, &v));
	/* The value is opened into our own memory before the pages go. */
	if (e == ERR_OK)
		e = open_value(s, out, (struct bytes){ fk, w.len }, v);
	if (txn != s->txn)
		mdb_txn_abort(txn);
	return e;
}

enum err
store_each(struct store *s, enum store_table t,
    enum err (*fn)(void *cookie, struct bytes key, struct bytes value),
    void *cookie)
{
	uint8_t first[1] = { (uint8_t)t };
	MDB_val k = { 1, first }, v;
	MDB_cursor *c = NULL;
	MDB_txn *txn = NULL;
	struct buf b = { 0 };
	enum err e, fn_err = ERR_OK;

	if ((e = from_mdb(mdb_txn_begin(s->env, NULL, MDB_RDONLY, &txn))) !=
	    ERR_OK)
		return e;
	if ((e = from_mdb(mdb_cursor_open(txn, s->dbi, &c))) != ERR_OK)
		goto done;
	e = from_mdb(mdb_cursor_get(c, &k, &v, MDB_SET_RANGE));
	while (e == ERR_OK) {
		const uint8_t *kp = k.mv_data;

		if (kp[0] != (uint8_t)t)
			break;
		e = open_value(s, &b, (struct bytes){ kp, k.mv_size }, v);
		if (e == ERR_OK)
			fn_err =
			    fn(cookie, (struct bytes){ kp + 1, k.mv_size - 1 },
				buf_view(&b));
		if (fn_err != ERR_OK)
			break;
		if (e == ERR_OK)
			e = from_mdb(mdb_cursor_get(c, &k, &v, MDB_NEXT));
	}
	if (e == ERR_NOTFOUND)
		e = ERR_OK; /* the end of the database */
done:
	buf_wipe(&b);
	if (c != NULL)
		mdb_cursor_close(c);
	mdb_txn_abort(txn);
	return fn_err != ERR_OK ? fn_err : e;
}
