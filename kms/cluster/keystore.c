/* Wrapping keys: where they are kept, and the roots that they open.
 *
 *   STORE_EPOCH  key: number u64be; value: wrapping key 32 |
 *                k256 public key 33 | CA x||y 64 | wrapped roots 104
 *
 * The disk is a cache here too: what it opens counts only once the ledger
 * and the contract name the same public half. */
#include <string.h>

#include "common/base/log.h"
#include "common/base/rd.h"
#include "common/base/secret.h"
#include "common/base/wr.h"
#include "kms/cluster/cluster_int.h"

#define VALUE_LEN (WRAP_KEY_LEN + 33 + 64 + WRAPPED_ROOTS_LEN)

enum err
keystore_new(struct cluster *c)
{
	c->wrap = secret_new(LEDGER_MAX_EPOCHS * sizeof *c->wrap);
	if (c->wrap == NULL)
		return ERR_NOMEM;
	secret_lock(c->wrap);
	return ERR_OK;
}

static void
set_wrap(struct cluster *c, uint64_t number, const struct wrap_key *k)
{
	secret_open_rw(c->wrap);
	c->wrap[number] = *k;
	secret_lock(c->wrap);
	c->has_wrap[number] = true;
}

/* The roots into the ring; ERR_EXISTS: others are there. */
static enum err
open_into_ring(struct cluster *c, const struct wrap_key *k,
    const struct epoch_public *pub,
    const uint8_t wrapped[static WRAPPED_ROOTS_LEN])
{
	struct epoch_roots *r = NULL;
	enum err e = wrap_open(&r, k, pub, wrapped);

	if (e == ERR_OK && (e = keyring_add(c->o.keyring, r)) != ERR_OK)
		epoch_roots_free(r);
	return e;
}

enum err
keystore_put(struct cluster *c, uint64_t number, const struct wrap_key *k,
    const struct epoch_public *pub,
    const uint8_t wrapped[static WRAPPED_ROOTS_LEN])
{
	enum err e;

	if (number >= LEDGER_MAX_EPOCHS)
		return ERR_LIMIT;
	if ((e = open_into_ring(c, k, pub, wrapped)) == ERR_OK)
		set_wrap(c, number, k);
	return e;
}

static enum err
save(struct cluster *c, uint64_t number, const struct epoch_public *pub,
    const uint8_t wrapped[static WRAPPED_ROOTS_LEN])
{
	uint8_t key[8], value[VALUE_LEN];
	struct wr k = { .p = key, .cap = sizeof key };
	struct wr v = { .p = value, .cap = sizeof value };
	enum err e;

	wr_be64(&k, number);
	secret_open_ro(c->wrap);
	wr_bytes(&v, c->wrap[number].b, WRAP_KEY_LEN);
	secret_lock(c->wrap);
	wr_bytes(&v, pub->k256.b, sizeof pub->k256.b);
	wr_bytes(&v, pub->ca.xy, sizeof pub->ca.xy);
	wr_bytes(&v, wrapped, WRAPPED_ROOTS_LEN);
	if ((e = store_begin(c->store)) == ERR_OK) {
		e = store_put(
		    c->store, STORE_EPOCH, BYTES_OF(key), BYTES_OF(value));
		if (e == ERR_OK)
			e = store_commit(c->store);
		else
			store_abort(c->store);
	}
	secret_wipe(value, sizeof value);
	return e;
}

void
keystore_adopt(struct cluster *c)
{
	const struct ledger *l = core_ledger(c->core);
	struct wrap_key k;

	for (uint64_t i = 0; i < ledger_n_epochs(l); i++) {
		const struct ledger_epoch *ep = ledger_epoch(l, i);
		enum err e = ERR_OK;

		if (!c->has_wrap[i] || ep->state == LEDGER_EPOCH_DESTROYED)
			continue;
		if (!keyring_has(c->o.keyring, i)) {
			secret_open_ro(c->wrap);
			k = c->wrap[i];
			secret_lock(c->wrap);
			e = open_into_ring(c, &k, &ep->pub, ep->wrapped);
			wrap_key_wipe(&k);
		}
		if (e != ERR_OK) {
			log_event(LOG_ERROR, "wrapping_key",
			    log_u64("epoch", i), log_str("cause", err_text(e)));
			c->has_wrap[i] = false;
			continue;
		}
		if (c->store == NULL || c->saved_wrap[i])
			continue;
		e = save(c, i, &ep->pub, ep->wrapped);
		c->saved_wrap[i] = e == ERR_OK;
		if (e != ERR_OK)
			log_event(LOG_ERROR, "store_failed",
			    log_str("what", "wrapping key"),
			    log_str("cause", err_text(e)));
	}
}

void
keystore_forget(struct cluster *c, uint64_t number)
{
	uint8_t key[8];
	struct wr w = { .p = key, .cap = sizeof key };

	keyring_drop(c->o.keyring, number);
	secret_open_rw(c->wrap);
	wrap_key_wipe(&c->wrap[number]);
	secret_lock(c->wrap);
	c->has_wrap[number] = c->saved_wrap[number] = false;
	if (c->store == NULL)
		return;
	wr_be64(&w, number);
	if (store_begin(c->store) != ERR_OK)
		return;
	if (store_del(c->store, STORE_EPOCH, BYTES_OF(key)) == ERR_OK)
		(void)!store_commit(c->store);
	else
		store_abort(c->store);
}

bool
cluster_wrap_key(const struct cluster *c, uint64_t number, struct wrap_key *out)
{
	if (number >= LEDGER_MAX_EPOCHS || !c->has_wrap[number])
		return false;
	secret_open_ro(c->wrap);
	*out = c->wrap[number];
	secret_lock(c->wrap);
	return true;
}

static enum err
load_one(void *cookie, struct bytes key, struct bytes value)
{
	struct cluster *c = cookie;
	struct rd r = { .p = key.p, .left = key.len };
	struct rd v = { .p = value.p, .left = value.len };
	struct epoch_public pub = { .number = rd_be64(&r) };
	const uint8_t *wrap = rd_bytes(&v, WRAP_KEY_LEN);
	const uint8_t *k256 = rd_bytes(&v, 33), *ca = rd_bytes(&v, 64);
	const uint8_t *wrapped = rd_bytes(&v, WRAPPED_ROOTS_LEN);
	struct wrap_key k;
	enum err e;

	if (!rd_done(&r) || !rd_done(&v) || pub.number >= LEDGER_MAX_EPOCHS ||
	    k256_pub_parse(&pub.k256, k256, 33) != ERR_OK)
		return ERR_CORRUPT;
	memcpy(pub.ca.xy, ca, sizeof pub.ca.xy);
	memcpy(k.b, wrap, sizeof k.b);
	e = keystore_put(c, pub.number, &k, &pub, wrapped);
	wrap_key_wipe(&k);
	c->saved_wrap[pub.number] = e == ERR_OK;
	return e == ERR_NOMEM ? e : e == ERR_OK ? ERR_OK : ERR_CORRUPT;
}

enum err
keystore_load(struct cluster *c)
{
	if (c->store == NULL)
		return ERR_OK;
	return store_each(c->store, STORE_EPOCH, load_one, c);
}
