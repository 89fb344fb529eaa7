#include <string.h>

#include "common/base/limits.h"
#include "common/crypto/v2key.h"

#include "node/agent/params.h"
#include "node/agent/rpc_keys.h"
#include "node/agent/rpc_replica.h"

/* Fills key and link below the replica's root. */
static enum err
derive(struct appkey *key, const struct app_release *keys,
    const struct app_identity *id, struct v2key_claim *claim)
{
	struct v2key_owner owner = { .epoch = keys->epoch };
	enum err e;

	memcpy(owner.app_id, id->app_id, 20);
	memcpy(owner.instance_id, id->instance_id, 20);
	e = v2key_derive(key->secret, keys->replica.b, V2KEY_REPLICA_KEY,
	    claim->algorithm, &owner, claim->path);
	if (e == ERR_OK)
		e = appkey_public(key);
	if (e != ERR_OK)
		return e;
	claim->pub = (struct bytes){ key->pub, key->pub_len };
	return v2key_sign_claim(&key->link, &keys->replica, claim);
}

static enum err
answer(struct rpc_call *c, const struct app_release *keys,
    enum appkey_algorithm alg, struct bytes path, struct bytes purpose)
{
	const struct app_identity *id = c->backend->identity;
	struct v2key_claim claim = {
		.algorithm = appkey_word(alg), .path = path, .purpose = purpose
	};
	struct appkey key = { .algorithm = alg };
	enum err e = derive(&key, keys, id, &claim);

	if (e != ERR_OK) {
		e = rpc_fail(c, "Failed to derive key: %s", err_text(e));
		goto done;
	}
	rpc_put_hex(c, "key", key.secret, sizeof key.secret);
	rpc_put_hex(c, "public_key", key.pub, key.pub_len);
	rpc_keys_put_chain(
	    c, "signature_chain", NULL, &key.link, &keys->replica_signature);
	rpc_put_hex(c, "instance_id", id->instance_id, 20);
	rpc_put_u64(c, "epoch", keys->epoch);
done:
	appkey_wipe(&key);
	return e;
}

enum err
rpc_replica_get_key(struct rpc_call *c)
{
	struct bytes path = params_text(c->in, "path", LIMIT_KEY_PATH);
	struct bytes purpose = params_text(c->in, "purpose", LIMIT_KEY_PATH);
	const char *word = params_str(c->in, "algorithm", LIMIT_KEY_PATH);
	bool has_epoch;
	uint64_t epoch = params_u64(c->in, "epoch", &has_epoch);
	enum appkey_algorithm alg = APPKEY_SECP256K1;
	struct app_release keys = { .epoch = 0 };
	enum err e;

	if (params_bad(c->in) != NULL)
		return rpc_fail(c, "%s", params_bad(c->in));
	if (word[0] != '\0' && appkey_algorithm(&alg, word) != ERR_OK)
		return rpc_fail(c, "Unsupported algorithm");
	if (!c->backend->identity->has_instance_id)
		return rpc_fail(c,
		    "This app has no instance ids (no_instance_id): its "
		    "replicas are one");
	e = rpc_keys_release(c, &keys, has_epoch ? &epoch : NULL);
	if (e == ERR_OK && !keys.has_replica)
		e = rpc_fail(c, "The KMS gives no keys of one replica");
	if (e == ERR_OK)
		e = answer(c, &keys, alg, path, purpose);
	release_wipe(&keys);
	return e;
}
