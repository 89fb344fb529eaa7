/* disk: what a node keeps between its lives, sealed.  It is a cache: roots
 * count only once the chain has named them, records once they continue their
 * chains. */
#include <string.h>

#include "common/base/log.h"
#include "common/base/rd.h"
#include "common/base/secret.h"
#include "common/base/wr.h"
#include "kms/cluster/cluster_int.h"

/* STORE_EPOCH: key u64be number; value root_k256 32 | root_ca 32. */
enum err
disk_save_roots(struct cluster *c, uint64_t number)
{
	uint8_t key[8], value[64];
	struct wr w = { .p = key, .cap = sizeof key };
	struct epoch_roots *r;
	enum err e;

	if (c->o.store == NULL)
		return ERR_OK;
	if ((r = keyring_use(c->o.keyring, number)) == NULL)
		return ERR_NOTFOUND;
	epoch_roots_export(r, value, value + 32);
	keyring_done(c->o.keyring);
	wr_be64(&w, number);
	if ((e = store_begin(c->o.store)) == ERR_OK) {
		e = store_put(
		    c->o.store, STORE_EPOCH, BYTES_OF(key), BYTES_OF(value));
		if (e == ERR_OK)
			e = store_commit(c->o.store);
		else
			store_abort(c->o.store);
	}
	secret_wipe(value, sizeof value);
	return e;
}

enum err
disk_forget_roots(struct cluster *c, uint64_t number)
{
	uint8_t key[8];
	struct wr w = { .p = key, .cap = sizeof key };
	enum err e;

	keyring_drop(c->o.keyring, number);
	if (c->o.store == NULL)
		return ERR_OK;
	wr_be64(&w, number);
	if ((e = store_begin(c->o.store)) != ERR_OK)
		return e;
	e = store_del(c->o.store, STORE_EPOCH, BYTES_OF(key));
	if (e != ERR_OK && e != ERR_NOTFOUND) {
		store_abort(c->o.store);
		return e;
	}
	return store_commit(c->o.store);
}

static enum err
load_root(void *cookie, struct bytes key, struct bytes value)
{
	struct cluster *c = cookie;
	struct rd r = { .p = key.p, .left = key.len };
	struct epoch_roots *roots = NULL;
	uint64_t number = rd_be64(&r);
	enum err e;

	if (!rd_done(&r) || value.len != 64)
		return ERR_CORRUPT;
	if (epoch_roots_import(&roots, number, value.p, value.p + 32) != ERR_OK)
		return ERR_CORRUPT;
	if (number == 0) {
		epoch_roots_public(roots, &c->pending);
		c->has_pending = true;
	}
	if ((e = keyring_add(c->o.keyring, roots)) != ERR_OK)
		epoch_roots_free(roots);
	return e;
}

static enum err
load_record(void *cookie, struct bytes key, struct bytes value)
{
	struct cluster *c = cookie;
	enum err e = state_apply(c->state, value);

	(void)key;
	/* Records were applied before they were written, in this order. */
	return e == ERR_OK || e == ERR_NOMEM ? e : ERR_CORRUPT;
}

/* STORE_RECORD: key incarnation 32 | u64be seq; value the record. */
enum err
disk_put_record(struct cluster *c, struct bytes record)
{
	uint8_t key[INCARNATION_LEN + 8];
	struct wr w = { .p = key, .cap = sizeof key };
	struct record r;
	enum err e = record_parse(&r, record);

	if (e != ERR_OK)
		return e;
	wr_bytes(&w, r.incarnation, sizeof r.incarnation);
	wr_be64(&w, r.seq);
	return store_put(c->o.store, STORE_RECORD, BYTES_OF(key), record);
}

enum err
disk_apply_records(struct cluster *c, const struct buf *record, size_t n)
{
	bool writing = false;
	enum err e = ERR_OK;

	for (size_t i = 0; i < n && e == ERR_OK; i++) {
		enum err a = state_apply(c->state, buf_view(&record[i]));

		if (a == ERR_NOMEM)
			e = a;
		if (a == ERR_AUTH || a == ERR_DENIED || a == ERR_LIMIT)
			log_event(LOG_WARN, "record_refused",
			    log_str("cause", err_text(a)));
		if (a != ERR_OK || c->o.store == NULL)
			continue;
		if (!writing && (e = store_begin(c->o.store)) != ERR_OK)
			break;
		writing = true;
		e = disk_put_record(c, buf_view(&record[i]));
	}
	if (writing) {
		if (e == ERR_OK)
			e = store_commit(c->o.store);
		else
			store_abort(c->o.store);
	}
	return e;
}

/* STORE_META "floor": u64be number | has hash u8 | hash 32.  A restart must
 * not believe an older chain than this process has seen. */
enum err
disk_save_floor(struct cluster *c)
{
	struct chain_floor f;
	uint8_t value[8 + 1 + 32];
	struct wr w = { .p = value, .cap = sizeof value };
	enum err e;

	chainview_floor(c->o.view, &f);
	if (c->o.store == NULL || f.number <= c->saved_floor)
		return ERR_OK;
	wr_be64(&w, f.number);
	wr_u8(&w, f.has_hash);
	wr_bytes(&w, f.hash, sizeof f.hash);
	if ((e = store_begin(c->o.store)) != ERR_OK)
		return e;
	e = store_put(
	    c->o.store, STORE_META, BYTES_STR("floor"), BYTES_OF(value));
	if (e != ERR_OK) {
		store_abort(c->o.store);
		return e;
	}
	if ((e = store_commit(c->o.store)) == ERR_OK)
		c->saved_floor = f.number;
	return e;
}

static enum err
load_floor(struct cluster *c)
{
	struct chain_floor f = { 0 };
	struct buf b = { 0 };
	struct rd r;
	const uint8_t *hash;
	enum err e = store_get(c->o.store, &b, STORE_META, BYTES_STR("floor"));

	if (e == ERR_OK) {
		r = (struct rd){ .p = b.p, .left = b.len };
		f.number = rd_be64(&r);
		f.has_hash = rd_u8(&r) == 1;
		hash = rd_bytes(&r, sizeof f.hash);
		if (rd_done(&r)) {
			memcpy(f.hash, hash, sizeof f.hash);
			chainview_set_floor(c->o.view, &f);
			c->saved_floor = f.number;
		} else {
			e = ERR_CORRUPT;
		}
	}
	buf_fini(&b);
	return e == ERR_NOTFOUND ? ERR_OK : e;
}

enum err
disk_load(struct cluster *c)
{
	enum err e;

	if (c->o.store == NULL)
		return ERR_OK;
	if ((e = load_floor(c)) != ERR_OK ||
	    (e = store_each(c->o.store, STORE_EPOCH, load_root, c)) != ERR_OK)
		return e;
	return store_each(c->o.store, STORE_RECORD, load_record, c);
}
