/* node/agent: what an app gets; and common/wire, which carries it there. */
#include <stdlib.h>
#include <string.h>

#include "common/base/json.h"
#include "common/base/secret.h"
#include "common/crypto/hash.h"
#include "common/wire/msg.h"
#include "common/wire/pbjson.h"
#include "kms/keys/certs.h"
#include "node/agent/appenv.h"
#include "node/agent/appkeys.h"
#include "node/agent/cacert.h"
#include "node/agent/heldkeys.h"
#include "tests/ctime/ctime.h"

static void
derived(void)
{
	static const enum appkey_algorithm algorithm[] = { APPKEY_SECP256K1,
		APPKEY_ED25519 };
	struct k256_secret app;
	struct appkey k;
	uint8_t sig[64], wide[64], digest[32] = { 1 };

	ct_draw(&app, sizeof app);
	for (int i = 0; i < 2; i++) {
		NEED(appkey_derive(&k, &app, "path", "use", algorithm[i]) ==
		    ERR_OK);
		ct_result(k.secret, sizeof k.secret);
		NEED(appkey_public(&k) == ERR_OK);
		NEED(appkey_sign(sig, &k, BYTES_STR("text")) == ERR_OK);
		/* What Ed25519 makes of its seed. */
		sha512(wide, k.secret, sizeof k.secret);
		ct_result(wide, sizeof wide);
		ct_gone(wide, sizeof wide);
		secret_wipe_stack();
		if (i == 0)
			NEED(appkey_sign_digest(sig, &k, digest) == ERR_OK);
		appkey_wipe(&k);
		NEED(appkey_derive_v1(&k, &app, BYTES_STR("domain"),
			 algorithm[i]) == ERR_OK);
		ct_result(k.secret, sizeof k.secret);
		appkey_wipe(&k);
	}
	k256_secret_wipe(&app);
}

static void
pem(void)
{
	uint8_t der[138];
	struct buf out = { 0 };

	ct_draw(der, sizeof der);
	NEED(buf_reserve(&out, cacert_pem_len("PRIVATE KEY", sizeof der)) ==
	    ERR_OK);
	NEED(cacert_pem(&out, "PRIVATE KEY", BYTES_OF(der)) == ERR_OK);
	ct_result(out.p + 28, 64);
	buf_wipe(&out);
	ct_gone(der, sizeof der);
}

/* A reply with keys, packed as kmsd does, and taken as an agent does. */
static void
reply(void)
{
	static uint8_t app_id[20] = { 7 }, instance_id[20] = { 8 }, zero[32];
	const struct release_terms t = { .app_id = { 7 },
		.has_instance_id = true,
		.instance_id = { 8 },
		.chain_id = 1 };
	Devproof__Kms__V1__EpochPublic ep, *list[] = { &ep };
	Devproof__Kms__V1__AppKeys k;
	KmsReply m = DEVPROOF__KMS__V1__REPLY__INIT, *parsed = NULL;
	struct epoch_roots *r = NULL;
	struct epoch_public pub;
	struct app_keys keys;
	struct app_release got;
	struct refusal why;
	struct buf b = { 0 }, ca = { 0 };

	ct_random(1);
	NEED(epoch_roots_generate(&r, 0) == ERR_OK);
	ct_random(0);
	epoch_roots_public(r, &pub);
	ct_public(&pub, sizeof pub);
	NEED(keys_app(&keys, r, app_id, instance_id) == ERR_OK);
	NEED(certs_root(&ca, r) == ERR_OK);
	epoch_roots_free(r);
	devproof__kms__v1__epoch_public__init(&ep);
	ep.k256_pub = msg_bytes(pub.k256.b, 33);
	devproof__kms__v1__app_keys__init(&k);
	k.chain_id = 1;
	k.app_id = msg_bytes(app_id, 20);
	k.k256_key = msg_bytes(keys.k256.b, 32);
	k.k256_signature = msg_bytes(keys.k256_signature.b, 65);
	k.disk_crypt_key = msg_bytes(keys.disk_crypt_key, 32);
	k.env_crypt_key = msg_bytes(keys.env_crypt_key, 32);
	k.replica_key = msg_bytes(keys.replica.b, 32);
	k.replica_signature = msg_bytes(keys.replica_signature.b, 65);
	k.os_image_hash = msg_bytes(zero, 32);
	k.kms_contract = msg_bytes(zero, 20);
	k.block_hash = msg_bytes(zero, 32);
	k.ca_cert = msg_bytes(ca.p, ca.len);
	k.epochs = list;
	k.n_epochs = 1;
	m.body_case = DEVPROOF__KMS__V1__REPLY__BODY_APP_KEYS;
	m.app_keys = &k;
	NEED(msg_reply_pack(&b, &m) == ERR_OK);
	app_keys_wipe(&keys);
	NEED(msg_reply_parse(&parsed, buf_view(&b)) == ERR_OK);
	ct_result(parsed->app_keys->k256_key.data, 32);
	ct_result(parsed->app_keys->env_crypt_key.data, 32);
	ct_result(parsed->app_keys->disk_crypt_key.data, 32);
	NEED(release_verify(&got, parsed->app_keys, &t, NULL, &why) == ERR_OK);
	ct_result(&got.k256, sizeof got.k256);
	ct_result(&got.replica, sizeof got.replica);
	release_wipe(&got);
	msg_reply_free(parsed);
	buf_wipe(&b);
	buf_fini(&ca);
}

/* The wrapping keys, as they go from one node to another. */
static void
joined(void)
{
	Devproof__Kms__V1__EpochKey k = DEVPROOF__KMS__V1__EPOCH_KEY__INIT,
				    *list[] = { &k };
	Devproof__Kms__V1__Joined j = DEVPROOF__KMS__V1__JOINED__INIT;
	KmsReply m = DEVPROOF__KMS__V1__REPLY__INIT, *parsed = NULL;
	struct buf b = { 0 };
	uint8_t key[32];

	ct_draw(key, sizeof key);
	k.number = 1;
	k.wrap_key = msg_bytes(key, 32);
	j.keys = list;
	j.n_keys = 1;
	m.body_case = DEVPROOF__KMS__V1__REPLY__BODY_JOINED;
	m.joined = &j;
	NEED(msg_reply_pack(&b, &m) == ERR_OK);
	ct_gone(key, sizeof key);
	NEED(msg_reply_parse(&parsed, buf_view(&b)) == ERR_OK);
	ct_result(parsed->joined->keys[0]->wrap_key.data, 32);
	msg_reply_free(parsed);
	buf_wipe(&b);
}

/* JSON to protobuf, as for an app that speaks that. */
static void
as_protobuf(void)
{
	json_t *o = json_object(), *again = NULL;
	struct buf b = { 0 };
	uint8_t key[32];

	ct_draw(key, sizeof key);
	NEED(json_set_hex(o, "wrap_key", key, sizeof key) == ERR_OK);
	ct_gone(key, sizeof key);
	NEED(pbjson_write(&b, &devproof__kms__v1__epoch_key__descriptor, o) ==
	    ERR_OK);
	NEED(pbjson_read(&again, &devproof__kms__v1__epoch_key__descriptor,
		 buf_view(&b)) == ERR_OK);
	json_wipe(again);
	json_wipe(o);
	buf_wipe(&b);
}

/* ---- what the agent holds ---- */

static uint64_t
clock_of_test(void)
{
	return 1;
}

static enum err
no_fetch(void *cookie, struct app_release *out, const uint64_t *epoch,
    bool held, struct refusal *why)
{
	(void)cookie;
	(void)out;
	(void)epoch;
	(void)held;
	(void)why;
	return ERR_TIMEOUT;
}

static void
held(void)
{
	const struct heldkeys_options o = {
		.fetch = no_fetch, .now_ms = clock_of_test, .refresh_ms = 1000
	};
	struct app_release r = { .epoch = 0 };
	struct heldkeys *k = NULL;

	ct_draw(&r.k256, sizeof r.k256);
	ct_draw(r.env_crypt_key, sizeof r.env_crypt_key);
	ct_draw(&r.replica, sizeof r.replica);
	NEED(heldkeys_new(&k, &o, &r) == ERR_OK);
	release_wipe(&r);
	NEED(heldkeys_get(k, &r, NULL, NULL) == ERR_OK);
	ct_result(&r.k256, sizeof r.k256);
	release_wipe(&r);
	heldkeys_free(k);
}

static const struct ct_case item[] = {
	{ "appkey_derive appkey_derive_v1 appkey_public appkey_sign "
	  "appkey_sign_digest appkey_wipe",
	    derived, 0 },
	{ "cacert_pem", pem, 0 },
	{ "release_verify msg_reply_pack msg_reply_parse msg_reply_free", reply,
	    0 },
	{ "msg_reply_pack msg_reply_parse: wrapping keys", joined, 0 },
	{ "pbjson_write pbjson_read", as_protobuf, 0 },
	{ "heldkeys_new heldkeys_get heldkeys_free release_wipe", held, 0 },
};
const struct ct_cases ct_agent = { item, sizeof item / sizeof item[0] };
