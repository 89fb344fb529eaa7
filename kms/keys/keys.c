#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "common/base/hex.h"
#include "common/base/secret.h"
#include "common/base/wr.h"
#include "common/crypto/dstack.h"
#include "common/crypto/epochcert.h"
#include "common/crypto/keccak.h"
#include "common/crypto/v2key.h"
#include "kms/keys/keys.h"

/* What is in guarded memory, unreadable but for the length of one call. */
struct roots {
	struct k256_secret k256;
	struct p256_secret ca;
};

struct epoch_roots {
	struct epoch_public pub;
	struct roots *secret; /* owns, secret_new */
};

/* Takes the content of `s`: public halves are computed, memory is locked. */
static enum err
roots_new(struct epoch_roots **out, uint64_t number, const struct roots *s)
{
	struct epoch_roots *r;
	struct epoch_public pub = { .number = number };
	enum err e;

	if (k256_pubkey(&pub.k256, &s->k256) != ERR_OK)
		return ERR_MALFORMED;
	if ((e = p256_pubkey(&pub.ca, &s->ca)) != ERR_OK)
		return e == ERR_NOMEM ? e : ERR_MALFORMED;
	if ((r = calloc(1, sizeof *r)) == NULL)
		return ERR_NOMEM;
	r->pub = pub;
	if ((r->secret = secret_new(sizeof *r->secret)) == NULL) {
		free(r);
		return ERR_NOMEM;
	}
	*r->secret = *s;
	secret_lock(r->secret);
	*out = r;
	return ERR_OK;
}

enum err
epoch_roots_generate(struct epoch_roots **out, uint64_t number)
{
	struct roots s;
	enum err e;

	k256_generate(&s.k256);
	p256_generate(&s.ca);
	e = roots_new(out, number, &s);
	secret_wipe(&s, sizeof s);
	return e;
}

enum err
epoch_roots_import(struct epoch_roots **out, uint64_t number,
    const uint8_t root_k256[static 32], const uint8_t root_ca[static 32])
{
	struct roots s;
	enum err e;

	memcpy(s.k256.b, root_k256, 32);
	memcpy(s.ca.b, root_ca, 32);
	e = roots_new(out, number, &s);
	secret_wipe(&s, sizeof s);
	return e;
}

void
epoch_roots_export(struct epoch_roots *r, uint8_t root_k256[static 32],
    uint8_t root_ca[static 32])
{
	secret_open_ro(r->secret);
	memcpy(root_k256, r->secret->k256.b, 32);
	memcpy(root_ca, r->secret->ca.b, 32);
	secret_lock(r->secret);
}

void
epoch_roots_free(struct epoch_roots *r)
{
	if (r == NULL)
		return;
	secret_free(r->secret);
	free(r);
}

void
epoch_roots_public(const struct epoch_roots *r, struct epoch_public *out)
{
	*out = r->pub;
}

/* KDF(root_k256, app_id || "app-key"), and the root's word that it is. */
static enum err
app_k256(struct app_keys *k, const struct roots *s)
{
	const struct bytes info[] = { BYTES_OF(k->app_id),
		BYTES_STR("app-key") };
	struct k256_pub pub;
	enum err e = dstack_kdf(k->k256.b, s->k256.b, info, 2);

	if (e == ERR_OK)
		e = k256_pubkey(&pub, &k->k256);
	if (e == ERR_OK)
		e = dstack_sign_app(
		    &k->k256_signature, &s->k256, k->app_id, &pub);
	return e;
}

/* DH(root_ca, app_id || instance_id || "app-disk-crypt-key"). */
static enum err
disk_key(uint8_t out[static 32], const struct roots *s,
    const uint8_t app_id[static 20], const uint8_t *instance_id)
{
	const struct bytes info[] = { { app_id, 20 },
		{ instance_id, instance_id != NULL ? 20 : 0 },
		BYTES_STR("app-disk-crypt-key") };

	return dstack_kdf_dh(out, s->ca.b, info, 3);
}

/* DH(root_ca, app_id || "env-encrypt-key"). */
static enum err
env_key(uint8_t out[static 32], const struct roots *s,
    const uint8_t app_id[static 20])
{
	const struct bytes info[] = { { app_id, 20 },
		BYTES_STR("env-encrypt-key") };

	return dstack_kdf_dh(out, s->ca.b, info, 2);
}

/* What no other replica of the app can compute, and the root's word on it. */
static enum err
replica(struct app_keys *k, const struct roots *s,
    const uint8_t instance_id[static 20])
{
	struct v2key_owner owner = { .epoch = k->epoch };
	struct k256_pub pub;
	enum err e;

	memcpy(owner.app_id, k->app_id, 20);
	memcpy(owner.instance_id, instance_id, 20);
	e = v2key_derive(k->replica.b, s->k256.b, V2KEY_REPLICA, "secp256k1",
	    &owner, BYTES_STR(""));
	/* ERR_MALFORMED if these bytes are no scalar: one in 2^128. */
	if (e == ERR_OK)
		e = k256_pubkey(&pub, &k->replica);
	if (e == ERR_OK)
		e = v2key_sign_replica(
		    &k->replica_signature, &s->k256, &owner, &pub);
	k->has_replica = e == ERR_OK;
	return e;
}

enum err
keys_app(struct app_keys *out, struct epoch_roots *r,
    const uint8_t app_id[static 20], const uint8_t *instance_id)
{
	struct app_keys k = { .epoch = r->pub.number };
	enum err e;

	memcpy(k.app_id, app_id, 20);
	secret_open_ro(r->secret);
	if ((e = app_k256(&k, r->secret)) == ERR_OK &&
	    (e = disk_key(k.disk_crypt_key, r->secret, app_id, instance_id)) ==
		ERR_OK)
		e = env_key(k.env_crypt_key, r->secret, app_id);
	if (e == ERR_OK && instance_id != NULL)
		e = replica(&k, r->secret, instance_id);
	secret_lock(r->secret);
	if (e == ERR_OK)
		*out = k;
	app_keys_wipe(&k);
	return e;
}

void
app_keys_wipe(struct app_keys *k)
{
	secret_wipe(k, sizeof *k);
}

enum err
keys_app_ca(struct p256_secret *out, struct epoch_roots *r,
    const uint8_t app_id[static 20])
{
	const struct bytes info[] = { { app_id, 20 }, BYTES_STR("app-ca") };
	enum err e;

	secret_open_ro(r->secret);
	e = dstack_kdf_p256(out, r->secret->ca.b, info, 2);
	secret_lock(r->secret);
	return e;
}

enum err
keys_anchor(struct k256_secret *out, struct epoch_roots *r)
{
	const struct bytes info[] = { BYTES_STR("devproof-kms/anchor/v1") };
	struct k256_secret k;
	enum err e;

	secret_open_ro(r->secret);
	e = dstack_kdf(k.b, r->secret->k256.b, info, 1);
	secret_lock(r->secret);
	if (e == ERR_OK && !k256_secret_valid(&k))
		e = ERR_MALFORMED;
	if (e == ERR_OK)
		*out = k;
	k256_secret_wipe(&k);
	return e;
}

void
keys_root_ca(struct p256_secret *out, struct epoch_roots *r)
{
	secret_open_ro(r->secret);
	*out = r->secret->ca;
	secret_lock(r->secret);
}

/* Both forms of dstack-compat.md 2.3; the old one has no timestamp. */
static enum err
env_signatures(struct k256_sig65 *v0, struct k256_sig65 *v1,
    const struct roots *s, const uint8_t app_id[static 20], uint64_t timestamp,
    const uint8_t pub[static 32])
{
	uint8_t time[8];
	struct wr w = { .p = time, .cap = sizeof time };
	const struct bytes old[] = { BYTES_STR("dstack-env-encrypt-pubkey:"),
		{ app_id, 20 }, { pub, 32 } };
	const struct bytes new[] = { old[0], old[1], BYTES_OF(time), old[2] };
	enum err e;

	wr_be64(&w, timestamp);
	if ((e = k256_sign65(v0, &s->k256, old, 3)) != ERR_OK)
		return e;
	return k256_sign65(v1, &s->k256, new, 4);
}

enum err
keys_env_pub(uint8_t pub[static 32], struct k256_sig65 *sig,
    struct k256_sig65 *sig_v1, struct epoch_roots *r,
    const uint8_t app_id[static 20], uint64_t timestamp)
{
	uint8_t key[32] = { 0 }, point[32];
	struct k256_sig65 v0, v1;
	enum err e;

	secret_open_ro(r->secret);
	if ((e = env_key(key, r->secret, app_id)) == ERR_OK) {
		(void)crypto_scalarmult_base(point, key);
		e = env_signatures(
		    &v0, &v1, r->secret, app_id, timestamp, point);
	}
	secret_lock(r->secret);
	secret_wipe(key, sizeof key);
	secret_wipe_stack();
	if (e != ERR_OK)
		return e;
	memcpy(pub, point, 32);
	*sig = v0;
	*sig_v1 = v1;
	return ERR_OK;
}

static enum err
certificate_text(uint8_t text[static EPOCHCERT_LEN],
    const struct epoch_public *next, uint64_t chain_id,
    const uint8_t registry[static 20], uint8_t mode)
{
	struct epochcert c = { .chain_id = chain_id,
		.epoch = next->number,
		.k256 = next->k256,
		.mode = (enum epochcert_mode)mode };
	enum err e = epochcert_ca_hash(c.ca_spki_hash, &next->ca);

	memcpy(c.registry, registry, sizeof c.registry);
	return e == ERR_OK ? epochcert_message(text, &c) : e;
}

enum err
epoch_certificate(struct k256_sig65 *out, struct epoch_roots *r,
    const struct epoch_public *next, uint64_t chain_id,
    const uint8_t registry[static 20], uint8_t mode)
{
	uint8_t text[EPOCHCERT_LEN];
	enum err e;

	if (r->pub.number == UINT64_MAX || next->number != r->pub.number + 1)
		return ERR_MALFORMED;
	if ((e = certificate_text(text, next, chain_id, registry, mode)) !=
	    ERR_OK)
		return e;
	secret_open_ro(r->secret);
	e = k256_sign65(
	    out, &r->secret->k256, &(struct bytes){ text, sizeof text }, 1);
	secret_lock(r->secret);
	return e;
}

enum err
epoch_certificate_emergency(struct k256_sig65 *out,
    const struct k256_secret *anchor, const struct epoch_public *next,
    uint64_t chain_id, const uint8_t registry[static 20])
{
	uint8_t text[EPOCHCERT_LEN];
	enum err e = certificate_text(
	    text, next, chain_id, registry, EPOCHCERT_EMERGENCY);

	return e != ERR_OK
	    ? e
	    : k256_sign65(out, anchor, &(struct bytes){ text, sizeof text }, 1);
}

enum err
epoch_attest(struct k256_sig65 *out, struct epoch_roots *r,
    const uint8_t digest[static 32])
{
	enum err e;

	secret_open_ro(r->secret);
	e = k256_sign_digest(out, &r->secret->k256, digest);
	secret_lock(r->secret);
	return e;
}

void
keys_bootstrap_report_data(
    uint8_t out[static 64], const struct epoch_public *pub)
{
	uint8_t spki[P256_SPKI_LEN];
	char ca_hex[2 * P256_SPKI_LEN + 1], k256_hex[2 * 33 + 1];

	(void)p256_spki(spki, &pub->ca);
	hex_encode(ca_hex, spki, sizeof spki);
	hex_encode(k256_hex, pub->k256.b, sizeof pub->k256.b);
	memset(out, 0, 64);
	/* "note the misspelling" */
	keccak256_v(out,
	    (const struct bytes[]){ BYTES_STR("dstack-kms-genereted-keys-v1:"),
		{ (const uint8_t *)ca_hex, 2 * sizeof spki }, BYTES_STR(";"),
		{ (const uint8_t *)k256_hex, 2 * sizeof pub->k256.b },
		BYTES_STR(";") },
	    5);
}
