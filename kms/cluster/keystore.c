/* Wrapping keys: where they are kept, and the roots that they open.
 *
 *   STORE_EPOCH  key: number u64be; value: wrapping key 32 |
 *                k256 public key 33 | CA x||y 64 | wrapped roots 104
 *                key: UINT64_MAX; value: the anchor's key 32
 *
 * The disk is a cache here too: what it has opens nothing until the ledger
 * names the same public half, and neither ledger nor registry say that the
 * epoch is destroyed.  The anchor's key (kms/gate/anchor.h) follows from the
 * root of epoch 0 and is kept beside it, so that the cluster can speak when
 * that epoch is destroyed; the root does not follow from it. */
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
	c->anchor_key = secret_new(sizeof *c->anchor_key);
	if (c->wrap == NULL || c->anchor_key == NULL)
		return ERR_NOMEM;
	secret_lock(c->wrap);
	secret_lock(c->anchor_key);
	return ERR_OK;
}

void
keystore_free(struct cluster *c)
{
	secret_free(c->wrap);
	secret_free(c->anchor_key);
}

/* ---- the disk ---- */

static enum err
save_value(struct cluster *c, uint64_t number, struct bytes value)
{
	uint8_t key[8];
	struct wr k = { .p = key, .cap = sizeof key };
	enum err e;

	wr_be64(&k, number);
	if ((e = store_begin(c->store)) != ERR_OK)
		return e;
	if ((e = store_put(c->store, STORE_EPOCH, BYTES_OF(key), value)) ==
	    ERR_OK)
		return store_commit(c->store);
	store_abort(c->store);
	return e;
}

static enum err
save(struct cluster *c, const struct ledger_epoch *ep)
{
	uint8_t value[VALUE_LEN];
	struct wr v = { .p = value, .cap = sizeof value };
	enum err e;

	secret_open_ro(c->wrap);
	wr_bytes(&v, c->wrap[ep->pub.number].b, WRAP_KEY_LEN);
	secret_lock(c->wrap);
	wr_bytes(&v, ep->pub.k256.b, sizeof ep->pub.k256.b);
	wr_bytes(&v, ep->pub.ca.xy, sizeof ep->pub.ca.xy);
	wr_bytes(&v, ep->wrapped, WRAPPED_ROOTS_LEN);
	e = save_value(c, ep->pub.number, BYTES_OF(value));
	secret_wipe(value, sizeof value);
	return e;
}

static void
tell_save(const char *what, enum err e)
{
	if (e != ERR_OK)
		log_event(LOG_ERROR, "store_failed", log_str("what", what),
		    log_str("cause", err_text(e)));
}

/* ---- the anchor's key ---- */

/* Another key than the anchor's signer's is of another cluster. */
static bool
is_signer(const struct cluster *c, const struct k256_secret *k)
{
	static const uint8_t zero[20];
	struct k256_pub pub;
	uint8_t address[20];

	return k256_pubkey(&pub, k) == ERR_OK &&
	    k256_address(address, &pub) == ERR_OK &&
	    (memcmp(c->signer, zero, sizeof zero) == 0 ||
		memcmp(c->signer, address, sizeof address) == 0);
}

bool
cluster_anchor_key(const struct cluster *c, struct k256_secret *out)
{
	bool ok;

	if (!c->has_anchor_key)
		return false;
	secret_open_ro(c->anchor_key);
	if ((ok = is_signer(c, c->anchor_key)))
		*out = *c->anchor_key;
	secret_lock(c->anchor_key);
	return ok;
}

enum err
keystore_put_anchor(struct cluster *c, const struct k256_secret *k)
{
	if (!is_signer(c, k))
		return ERR_AUTH;
	secret_open_rw(c->anchor_key);
	if (!c->has_anchor_key || !secret_equal(c->anchor_key, k, sizeof *k))
		c->saved_anchor_key = false;
	*c->anchor_key = *k;
	secret_lock(c->anchor_key);
	c->has_anchor_key = true;
	return ERR_OK;
}

static void
derive_anchor(struct cluster *c, struct epoch_roots *epoch0)
{
	struct k256_secret k;

	if (anchor_key(&k, epoch0) == ERR_OK)
		(void)!keystore_put_anchor(c, &k);
	k256_secret_wipe(&k);
}

static void
save_anchor(struct cluster *c)
{
	struct k256_secret k;
	enum err e;

	if (c->store == NULL || c->saved_anchor_key ||
	    !cluster_anchor_key(c, &k))
		return;
	e = save_value(c, KEYSTORE_ANCHOR, BYTES_OF(k.b));
	k256_secret_wipe(&k);
	c->saved_anchor_key = e == ERR_OK;
	tell_save("anchor key", e);
}

/* ---- wrapping keys ---- */

enum err
keystore_hold(struct cluster *c, const struct wrap_key *k,
    const struct epoch_public *pub,
    const uint8_t wrapped[static WRAPPED_ROOTS_LEN])
{
	struct epoch_roots *r = NULL;
	uint64_t n = pub->number;
	enum err e;

	if (n >= LEDGER_MAX_EPOCHS)
		return ERR_LIMIT;
	if ((e = wrap_open(&r, k, pub, wrapped)) != ERR_OK)
		return e;
	if (n == 0)
		derive_anchor(c, r);
	epoch_roots_free(r);
	secret_open_rw(c->wrap);
	c->saved_wrap[n] =
	    c->saved_wrap[n] && secret_equal(&c->wrap[n], k, sizeof *k);
	c->wrap[n] = *k;
	secret_lock(c->wrap);
	c->wrap_of[n] = pub->k256;
	c->has_wrap[n] = true;
	return ERR_OK;
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

	if (number >= LEDGER_MAX_EPOCHS || number != pub->number)
		return ERR_LIMIT;
	if ((e = open_into_ring(c, k, pub, wrapped)) == ERR_OK)
		e = keystore_hold(c, k, pub, wrapped);
	return e;
}

/* Other roots of that number than the ledger's: replaced, or lost with the
 * generation that had them. */
static void
drop_other(struct cluster *c, const struct ledger_epoch *ep)
{
	uint64_t n = ep->pub.number;
	struct epoch_roots *r = keyring_use(c->o.keyring, n);
	struct epoch_public pub;

	if (r == NULL)
		return;
	epoch_roots_public(r, &pub);
	keyring_done(c->o.keyring);
	if (memcmp(&pub.k256, &ep->pub.k256, sizeof pub.k256) != 0)
		keyring_drop(c->o.keyring, n);
}

static bool
is_of(const struct cluster *c, const struct ledger_epoch *ep)
{
	uint64_t n = ep->pub.number;

	return c->has_wrap[n] &&
	    memcmp(&c->wrap_of[n], &ep->pub.k256, sizeof ep->pub.k256) == 0;
}

bool
keystore_has(const struct cluster *c, uint64_t number)
{
	const struct ledger_epoch *ep =
	    ledger_epoch(core_ledger(c->core), number);

	return ep != NULL && is_of(c, ep);
}

bool
keystore_confirmed(const struct cluster *c)
{
	return c->chain_has_root && c->has_wrap[0] &&
	    memcmp(&c->wrap_of[0], c->chain_root, sizeof c->chain_root) == 0;
}

bool
keystore_may_open(const struct cluster *c, uint64_t number)
{
	return (c->o.registry == NULL || core_registry(c->core) != NULL) &&
	    core_epoch_open(c->core, number);
}

static void
adopt(struct cluster *c, const struct ledger_epoch *ep)
{
	uint64_t n = ep->pub.number;
	struct wrap_key k;
	enum err e = ERR_OK;

	drop_other(c, ep);
	if (!keyring_has(c->o.keyring, n)) {
		secret_open_ro(c->wrap);
		k = c->wrap[n];
		secret_lock(c->wrap);
		e = open_into_ring(c, &k, &ep->pub, ep->wrapped);
		wrap_key_wipe(&k);
	}
	if (e != ERR_OK) {
		log_event(LOG_ERROR, "wrapping_key", log_u64("epoch", n),
		    log_str("cause", err_text(e)));
		c->has_wrap[n] = false;
		return;
	}
	if (c->store == NULL || c->saved_wrap[n])
		return;
	e = save(c, ep);
	c->saved_wrap[n] = e == ERR_OK;
	tell_save("wrapping key", e);
}

/* The registry ended it: no ledger is needed to know that. */
static bool
is_ended(const struct cluster *c, uint64_t n)
{
	const struct registry_state *v = core_registry(c->core);
	const struct registry_epoch *r =
	    v == NULL ? NULL : registry_epoch_of(v, n);

	if (r != NULL)
		return r->status == REGISTRY_DESTROYED && c->has_wrap[n] &&
		    memcmp(&r->k256, &c->wrap_of[n], sizeof r->k256) == 0;
	return v != NULL && v->n_epochs > 0 && n < v->epoch[0].number;
}

/* Whose epoch is gone.  A learner's ledger may be behind its disk. */
static bool
is_stale(const struct cluster *c, uint64_t n)
{
	const struct ledger *l = core_ledger(c->core);

	if (is_ended(c, n) ||
	    (n < ledger_n_epochs(l) && !core_epoch_open(c->core, n)))
		return true;
	return core_phase(c->core) == CORE_MEMBER && c->has_wrap[n] &&
	    !keystore_has(c, n);
}

void
keystore_adopt(struct cluster *c)
{
	const struct ledger *l = core_ledger(c->core);

	if (ledger_n_epochs(l) > 0)
		save_anchor(c);
	for (uint64_t n = 0; n < LEDGER_MAX_EPOCHS; n++) {
		if (!c->has_wrap[n] && !keyring_has(c->o.keyring, n))
			continue;
		if (is_stale(c, n)) {
			log_event(
			    LOG_INFO, "keys_forgotten", log_u64("epoch", n));
			keystore_forget(c, n);
		} else if (keystore_has(c, n) && keystore_may_open(c, n)) {
			adopt(c, ledger_epoch(l, n));
		}
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

const struct k256_pub *
keystore_kept(const struct cluster *c)
{
	const struct ledger *l = core_ledger(c->core);
	uint64_t n = ledger_n_epochs(l) - 1;

	if (ledger_n_epochs(l) == 0 || !keystore_has(c, n) ||
	    !keyring_has(c->o.keyring, n) ||
	    (c->store != NULL && !c->saved_wrap[n]))
		return NULL;
	return &ledger_epoch(l, n)->pub.k256;
}

bool
cluster_wrap_key(const struct cluster *c, uint64_t number, struct wrap_key *out)
{
	if (number >= LEDGER_MAX_EPOCHS || !c->has_wrap[number])
		return false;
	/* What the ledger has must be these roots, and open. */
	if (number < ledger_n_epochs(core_ledger(c->core)) &&
	    (!keystore_has(c, number) || !keystore_may_open(c, number)))
		return false;
	secret_open_ro(c->wrap);
	*out = c->wrap[number];
	secret_lock(c->wrap);
	return true;
}

/* ---- loading ---- */

static enum err
load_anchor(struct cluster *c, struct bytes value)
{
	struct k256_secret k;
	enum err e = ERR_CORRUPT;

	if (value.len != sizeof k.b)
		return e;
	memcpy(k.b, value.p, sizeof k.b);
	if (k256_secret_valid(&k) && keystore_put_anchor(c, &k) == ERR_OK) {
		c->saved_anchor_key = true;
		e = ERR_OK;
	}
	k256_secret_wipe(&k);
	return e;
}

static enum err
load_one(void *cookie, struct bytes key, struct bytes value)
{
	struct cluster *c = cookie;
	struct rd r = { .p = key.p, .left = key.len };
	struct rd v = { .p = value.p, .left = value.len };
	struct epoch_public pub = { .number = rd_be64(&r) };
	const uint8_t *wrap, *k256, *ca, *wrapped;
	struct wrap_key k;
	enum err e;

	if (rd_done(&r) && pub.number == KEYSTORE_ANCHOR)
		return load_anchor(c, value);
	wrap = rd_bytes(&v, WRAP_KEY_LEN);
	k256 = rd_bytes(&v, 33);
	ca = rd_bytes(&v, 64);
	wrapped = rd_bytes(&v, WRAPPED_ROOTS_LEN);
	if (!rd_done(&r) || !rd_done(&v) || pub.number >= LEDGER_MAX_EPOCHS ||
	    k256_pub_parse(&pub.k256, k256, 33) != ERR_OK)
		return ERR_CORRUPT;
	memcpy(pub.ca.xy, ca, sizeof pub.ca.xy);
	memcpy(k.b, wrap, sizeof k.b);
	e = keystore_hold(c, &k, &pub, wrapped);
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
