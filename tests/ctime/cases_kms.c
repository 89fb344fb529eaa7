/* kms/keys, and the incarnation's key of kms/cluster. */
#include <string.h>

#include <sodium.h>

#include "common/base/secret.h"
#include "kms/cluster/incarnation.h"
#include "kms/keys/certs.h"
#include "kms/keys/keyring.h"
#include "kms/keys/wrap.h"
#include "tests/ctime/ctime.h"

static const uint8_t app_id[20] = { 7 }, instance_id[20] = { 8 },
		     registry[20] = { 9 };

static struct epoch_roots *
roots(uint64_t number)
{
	struct epoch_roots *r = NULL;

	ct_random(1);
	NEED(epoch_roots_generate(&r, number) == ERR_OK);
	ct_random(0);
	return r;
}

/* The public half is public. */
static struct epoch_public
half(const struct epoch_roots *r)
{
	struct epoch_public pub;

	epoch_roots_public(r, &pub);
	ct_public(&pub, sizeof pub);
	return pub;
}

static void
life(void)
{
	struct epoch_roots *r = roots(0), *again = NULL;
	struct epoch_public a, b;
	uint8_t k256[32], ca[32];

	epoch_roots_export(r, k256, ca);
	ct_result(k256, 32);
	ct_result(ca, 32);
	NEED(epoch_roots_import(&again, 0, k256, ca) == ERR_OK);
	a = half(r);
	b = half(again);
	NEED(memcmp(&a.k256, &b.k256, sizeof a.k256) == 0 &&
	    memcmp(&a.ca, &b.ca, sizeof a.ca) == 0);
	epoch_roots_free(r);
	epoch_roots_free(again);
	ct_gone(k256, sizeof k256);
	ct_gone(ca, sizeof ca);
}

static void
app(void)
{
	struct epoch_roots *r = roots(0);
	struct app_keys k;

	NEED(keys_app(&k, r, app_id, instance_id) == ERR_OK);
	ct_result(&k.k256, sizeof k.k256);
	ct_result(k.disk_crypt_key, 32);
	ct_result(k.env_crypt_key, 32);
	ct_result(&k.replica, sizeof k.replica);
	app_keys_wipe(&k);
	NEED(keys_app(&k, r, app_id, NULL) == ERR_OK);
	ct_result(k.disk_crypt_key, 32);
	app_keys_wipe(&k);
	epoch_roots_free(r);
}

static void
other_keys(void)
{
	struct epoch_roots *r = roots(0);
	struct k256_secret anchor;
	struct p256_secret ca, root;

	NEED(keys_app_ca(&ca, r, app_id) == ERR_OK);
	ct_result(&ca, sizeof ca);
	NEED(keys_anchor(&anchor, r) == ERR_OK);
	ct_result(&anchor, sizeof anchor);
	keys_root_ca(&root, r);
	ct_result(&root, sizeof root);
	p256_secret_wipe(&ca);
	p256_secret_wipe(&root);
	k256_secret_wipe(&anchor);
	epoch_roots_free(r);
}

static void
env_pub(void)
{
	struct epoch_roots *r = roots(0);
	struct k256_sig65 a, b;
	struct app_keys k;
	uint8_t pub[32];

	/* Whose public half it is. */
	NEED(keys_app(&k, r, app_id, NULL) == ERR_OK);
	ct_result(k.env_crypt_key, 32);
	app_keys_wipe(&k);
	NEED(keys_env_pub(pub, &a, &b, r, app_id, 1234567) == ERR_OK);
	epoch_roots_free(r);
}

static void
certificates(void)
{
	struct epoch_roots *r = roots(0), *next = roots(1);
	struct epoch_public pub = half(next);
	struct k256_secret anchor;
	struct k256_sig65 sig;
	uint8_t digest[32] = { 1 };

	NEED(epoch_certificate(&sig, r, &pub, 31337, registry, 0) == ERR_OK);
	NEED(keys_anchor(&anchor, r) == ERR_OK);
	ct_result(&anchor, sizeof anchor);
	NEED(epoch_certificate_emergency(
		 &sig, &anchor, &pub, 31337, registry) == ERR_OK);
	NEED(epoch_attest(&sig, r, digest) == ERR_OK);
	k256_secret_wipe(&anchor);
	epoch_roots_free(r);
	epoch_roots_free(next);
}

static void
x509(void)
{
	struct epoch_roots *r = roots(0);
	struct p256_secret leaf;
	struct cert_request rq = { .subject = "app.example",
		.org_name = "",
		.usage_server_auth = true,
		.not_before = 1700000000,
		.not_after = 1800000000 };
	struct buf chain[3] = { 0 }, der = { 0 };

	(void)half(r);
	p256_generate(&leaf);
	NEED(p256_pubkey(&rq.key, &leaf) == ERR_OK);
	NEED(certs_root(&der, r) == ERR_OK);
	NEED(certs_app(chain, r, app_id, &rq) == ERR_OK);
	for (int i = 0; i < 3; i++)
		buf_fini(&chain[i]);
	buf_fini(&der);
	epoch_roots_free(r);
}

static void
ring(void)
{
	struct epoch_roots *r = roots(0), *s = roots(1), *used;
	struct keyring *k = NULL;
	struct app_keys keys;
	struct buf der = { 0 };

	NEED(keyring_new(&k) == ERR_OK);
	NEED(keyring_add(k, r) == ERR_OK);
	NEED(keyring_add(k, s) == ERR_OK);
	NEED(keyring_has(k, 1));
	NEED(keyring_ca_cert(k, &der, 0) == ERR_OK);
	used = keyring_use(k, 1);
	NEED(used != NULL);
	NEED(keys_app(&keys, used, app_id, NULL) == ERR_OK);
	keyring_done(k);
	app_keys_wipe(&keys);
	keyring_drop(k, 1);
	keyring_clear(k);
	keyring_free(k);
	buf_fini(&der);
}

static void
wrapped(void)
{
	struct epoch_roots *r = roots(4), *again = NULL;
	struct epoch_public pub = half(r);
	uint8_t box[WRAP_LEN], inner[32];
	struct wrap_key k;

	ct_random(1);
	wrap_key_generate(&k);
	ct_random(0);
	ct_result(&k, sizeof k);
	NEED(wrap_roots(box, &k, r) == ERR_OK);
	ct_public(box, sizeof box);
	/* What XChaCha20 makes of its key and the nonce. */
	(void)crypto_core_hchacha20(inner, box, k.b, NULL);
	ct_result(inner, sizeof inner);
	ct_gone(inner, sizeof inner);
	secret_wipe_stack();
	NEED(wrap_open(&again, &k, &pub, box) == ERR_OK);
	epoch_roots_free(again);
	box[30] ^= 1;
	NEED(wrap_open(&again, &k, &pub, box) == ERR_AUTH);
	wrap_key_wipe(&k);
	epoch_roots_free(r);
}

static void
incarnation(void)
{
	struct incarnation *i = NULL;
	uint8_t sig[INCARNATION_SIG_LEN], hash[32] = { 3 };

	ct_random(1);
	NEED(incarnation_new(&i) == ERR_OK);
	ct_random(0);
	NEED(incarnation_sign(sig, i, CHANNEL_KMS_PEER, "a", hash) == ERR_OK);
	ct_public(sig, sizeof sig);
	NEED(incarnation_verify(sig, incarnation_id(i), CHANNEL_KMS_PEER, "a",
		 hash) == ERR_OK);
	incarnation_free(i);
}

static const struct ct_case item[] = {
	{ "epoch_roots_generate epoch_roots_export epoch_roots_import "
	  "epoch_roots_free epoch_roots_public",
	    life, 0 },
	{ "keys_app app_keys_wipe", app, 0 },
	{ "keys_app_ca keys_anchor keys_root_ca", other_keys, 0 },
	{ "keys_env_pub", env_pub, 0 },
	{ "epoch_certificate epoch_certificate_emergency epoch_attest",
	    certificates, 0 },
	{ "certs_root certs_app", x509, 0 },
	{ "keyring_add keyring_use keyring_done keyring_ca_cert keyring_drop "
	  "keyring_clear keyring_free keyring_has keyring_new",
	    ring, 0 },
	{ "wrap_key_generate wrap_roots wrap_open wrap_key_wipe", wrapped, 0 },
	{ "incarnation_new incarnation_sign incarnation_free", incarnation, 0 },
};
const struct ct_cases ct_kms = { item, sizeof item / sizeof item[0] };
