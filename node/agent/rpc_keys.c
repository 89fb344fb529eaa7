#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "common/base/hex.h"
#include "common/base/limits.h"
#include "common/base/secret.h"
#include "common/crypto/hash.h"
#include "common/wire/ratls.h"
#include "common/wire/signcert.h"

#include "node/agent/appkeys.h"
#include "node/agent/cacert.h"
#include "node/agent/params.h"
#include "node/agent/rpc_keys.h"

/* The key that Sign uses, as dstack fixed it. */
#define SIGN_PATH "vms"
#define SIGN_PURPOSE "signing"

static enum err
bad_algorithm(struct rpc_call *c)
{
	return rpc_fail(c, "Unsupported algorithm");
}

enum err
rpc_keys_release(
    struct rpc_call *c, struct app_release *out, const uint64_t *epoch)
{
	const struct agent_backend *b = c->backend;
	struct refusal why = { .code = REASON_NONE };
	enum err e = b->keys(b->cookie, out, epoch, &why);

	return e == ERR_OK ? e : rpc_fail_why(c, "Failed to get keys", e, &why);
}

/* Derives from the app key of the epoch (NULL: the one it is pinned to); the
 * second link of the chain comes from the release. */
static enum err
derive(struct rpc_call *c, struct appkey *out, struct k256_sig65 *issued,
    uint64_t *epoch_used, const uint64_t *epoch, const char *path,
    const char *purpose, enum appkey_algorithm alg)
{
	struct app_release keys = { .epoch = 0 };
	enum err e = rpc_keys_release(c, &keys, epoch);

	if (e != ERR_OK)
		goto done;
	e = appkey_derive(out, &keys.k256, path, purpose, alg);
	if (e != ERR_OK) {
		e = rpc_fail(c, "Failed to derive key: %s", err_text(e));
		goto done;
	}
	*issued = keys.k256_signature;
	*epoch_used = keys.epoch;
done:
	release_wipe(&keys);
	return e;
}

static void
add_hex(struct rpc_call *c, json_t *list, const uint8_t *p, size_t len)
{
	char hex[131];

	if (json_array_append_new(list, json_string(hex_encode(hex, p, len))) !=
	    0)
		c->put_failed = true;
}

void
rpc_keys_put_chain(struct rpc_call *c, const char *name, const uint8_t *sig64,
    const struct k256_sig65 *link, const struct k256_sig65 *issued)
{
	json_t *chain = json_array();

	if (sig64 != NULL)
		add_hex(c, chain, sig64, 64);
	add_hex(c, chain, link->b, sizeof link->b);
	add_hex(c, chain, issued->b, sizeof issued->b);
	rpc_put_new(c, name, chain);
}

enum err
rpc_keys_get_key_as(
    struct rpc_call *c, const char *key_name, const char *chain_name)
{
	const char *path = params_str(c->in, "path", LIMIT_KEY_PATH);
	const char *purpose = params_str(c->in, "purpose", LIMIT_KEY_PATH);
	const char *word = params_str(c->in, "algorithm", LIMIT_KEY_PATH);
	bool has_epoch;
	uint64_t epoch = params_u64(c->in, "epoch", &has_epoch), used;
	enum appkey_algorithm alg = APPKEY_SECP256K1;
	struct k256_sig65 issued;
	struct appkey key;
	enum err e;

	if (params_bad(c->in) != NULL)
		return rpc_fail(c, "%s", params_bad(c->in));
	/* Only here does an empty word mean the default. */
	if (word[0] != '\0' && appkey_algorithm(&alg, word) != ERR_OK)
		return bad_algorithm(c);
	e = derive(c, &key, &issued, &used, has_epoch ? &epoch : NULL, path,
	    purpose, alg);
	if (e != ERR_OK)
		return e;
	rpc_put_hex(c, key_name, key.secret, sizeof key.secret);
	rpc_keys_put_chain(c, chain_name, NULL, &key.link, &issued);
	rpc_put_u64(c, "epoch", used);
	appkey_wipe(&key);
	return ERR_OK;
}

enum err
rpc_keys_get_key(struct rpc_call *c)
{
	return rpc_keys_get_key_as(c, "key", "signature_chain");
}

enum err
rpc_keys_sign_key(
    struct rpc_call *c, struct appkey *out, enum appkey_algorithm algorithm)
{
	struct k256_sig65 issued;
	uint64_t used;

	return derive(
	    c, out, &issued, &used, NULL, SIGN_PATH, SIGN_PURPOSE, algorithm);
}

/* ---- Sign and Verify ---- */

enum err
rpc_keys_sign(struct rpc_call *c)
{
	const char *word = params_str(c->in, "algorithm", LIMIT_KEY_PATH);
	bool prehashed = strcmp(word, "secp256k1_prehashed") == 0;
	enum appkey_algorithm alg = APPKEY_SECP256K1;
	struct k256_sig65 issued;
	struct buf data = { 0 };
	struct appkey key = { .pub_len = 0 };
	bool has_epoch;
	uint64_t epoch = params_u64(c->in, "epoch", &has_epoch), used;
	uint8_t sig[64];
	enum err e;

	params_bytes(c->in, &data, "data", LIMIT_SIGN_DATA, "Data is too long");
	if (params_bad(c->in) != NULL)
		e = rpc_fail(c, "%s", params_bad(c->in));
	else if (!prehashed && appkey_algorithm(&alg, word) != ERR_OK)
		e = bad_algorithm(c);
	else if (prehashed && data.len != 32)
		e = rpc_fail(c,
		    "Pre-hashed signing requires a 32-byte "
		    "digest, but received %zu bytes",
		    data.len);
	else
		e = derive(c, &key, &issued, &used, has_epoch ? &epoch : NULL,
		    SIGN_PATH, SIGN_PURPOSE, alg);
	if (e != ERR_OK)
		goto done;
	e = prehashed ? appkey_sign_digest(sig, &key, data.p)
		      : appkey_sign(sig, &key, buf_view(&data));
	if (e != ERR_OK) {
		e = rpc_fail(c, "Failed to sign: %s", err_text(e));
		goto done;
	}
	rpc_put_hex(c, "signature", sig, sizeof sig);
	rpc_keys_put_chain(c, "signature_chain", sig, &key.link, &issued);
	rpc_put_hex(c, "public_key", key.pub, key.pub_len);
	if (has_epoch)
		rpc_put_u64(c, "epoch", used);
done:
	appkey_wipe(&key);
	buf_fini(&data);
	return e;
}

static enum err
verify_ed25519(struct rpc_call *c, bool *valid, const struct buf *data,
    const struct buf *sig, const struct buf *pub)
{
	if (pub->len != crypto_sign_PUBLICKEYBYTES)
		return rpc_fail(c, "ed25519 public key must be 32 bytes");
	if (sig->len != crypto_sign_BYTES)
		return rpc_fail(c, "Signature must be 64 bytes");
	*valid = crypto_sign_verify_detached(
		     sig->p, data->p, data->len, pub->p) == 0;
	return ERR_OK;
}

static enum err
verify_k256(struct rpc_call *c, bool *valid, const uint8_t digest[static 32],
    const struct buf *sig, const struct buf *pub)
{
	struct k256_pub key;
	enum err e;

	if (k256_pub_parse(&key, pub->p, pub->len) != ERR_OK)
		return rpc_fail(c, "Invalid secp256k1 public key");
	if (sig->len != 64)
		return rpc_fail(c, "Signature must be 64 bytes");
	e = k256_verify_digest(&key, sig->p, digest);
	if (e != ERR_OK && e != ERR_AUTH)
		return rpc_fail(c, "Invalid secp256k1 signature");
	*valid = e == ERR_OK;
	return ERR_OK;
}

enum err
rpc_keys_verify(struct rpc_call *c)
{
	const char *word = params_str(c->in, "algorithm", LIMIT_KEY_PATH);
	bool prehashed = strcmp(word, "secp256k1_prehashed") == 0;
	enum appkey_algorithm alg = APPKEY_SECP256K1;
	struct buf data = { 0 }, sig = { 0 }, pub = { 0 };
	uint8_t digest[32];
	bool valid = false;
	enum err e;

	params_bytes(c->in, &data, "data", LIMIT_SIGN_DATA, "Data is too long");
	params_bytes(c->in, &sig, "signature", 128, "Signature is too long");
	params_bytes(c->in, &pub, "public_key", 128, "Public key is too long");
	if (params_bad(c->in) != NULL) {
		e = rpc_fail(c, "%s", params_bad(c->in));
	} else if (!prehashed && appkey_algorithm(&alg, word) != ERR_OK) {
		e = bad_algorithm(c);
	} else if (prehashed && data.len != 32) {
		e = rpc_fail(c,
		    "Pre-hashed verification requires a 32-byte "
		    "digest, but received %zu bytes",
		    data.len);
	} else if (alg == APPKEY_ED25519) {
		e = verify_ed25519(c, &valid, &data, &sig, &pub);
	} else {
		if (prehashed)
			memcpy(digest, data.p, 32);
		else
			sha256(digest, data.p, data.len);
		e = verify_k256(c, &valid, digest, &sig, &pub);
	}
	if (e == ERR_OK)
		rpc_put_new(c, "valid", json_boolean(valid));
	buf_fini(&data);
	buf_fini(&sig);
	buf_fini(&pub);
	return e;
}

/* ---- GetTlsKey ---- */

void
rpc_keys_tls_wish(struct rpc_call *c, struct rpc_tls_wish *w)
{
	const json_t *names =
	    params_strs(c->in, "alt_names", LIMIT_ALT_NAMES, LIMIT_KEY_PATH);
	json_t *x;
	size_t i;

	w->rq.subject = params_str(c->in, "subject", LIMIT_KEY_PATH);
	w->rq.usage_server_auth = params_bool(c->in, "usage_server_auth");
	w->rq.usage_client_auth = params_bool(c->in, "usage_client_auth");
	w->ra_tls = params_bool(c->in, "usage_ra_tls");
	w->epoch = params_u64(c->in, "epoch", &w->has_epoch);
	json_array_foreach(names, i, x) w->alt_name[i] = json_string_value(x);
	w->rq.alt_names = w->alt_name;
	w->rq.n_alt_names = json_array_size(names);
}

void
rpc_keys_tls_wish_more(struct rpc_call *c, struct rpc_tls_wish *w)
{
	bool from, to;

	w->rq.not_before = params_u64(c->in, "not_before", &from);
	w->rq.not_after = params_u64(c->in, "not_after", &to);
	w->rq.with_app_info = params_bool_opt(c->in, "with_app_info");
	if (from && to && w->rq.not_before >= w->rq.not_after)
		params_fail(c->in, "not_before must be earlier than not_after");
}

/* Evidence over the certificate's key, for its extension. */
static enum err
attest_key(struct rpc_call *c, struct buf *out,
    const uint8_t spki[static P256_SPKI_LEN])
{
	const struct agent_backend *b = c->backend;
	struct refusal why = { .code = REASON_NONE };
	uint8_t rd[64];
	enum err e;

	ratls_report_data(rd, (struct bytes){ spki, P256_SPKI_LEN });
	e = b->attest(b->cookie, out, rd, true, &why);
	return e == ERR_OK ? e : rpc_fail_why(c, "Failed to attest", e, &why);
}

static enum err
put_tls_key(struct rpc_call *c, const struct p256_secret *key)
{
	uint8_t der[P256_PKCS8_LEN];
	struct buf pem = { 0 };
	enum err e;

	if ((e = p256_pkcs8(der, key)) != ERR_OK)
		goto done;
	e = buf_reserve(&pem, cacert_pem_len("PRIVATE KEY", sizeof der));
	if (e == ERR_OK)
		e = cacert_pem(
		    &pem, "PRIVATE KEY", (struct bytes){ der, sizeof der });
	if (e == ERR_OK)
		rpc_put_str(c, "key", (const char *)pem.p);
done:
	secret_wipe(der, sizeof der);
	buf_wipe(&pem);
	return e;
}

static enum err
put_tls_chain(struct rpc_call *c, const struct buf chain[static 3])
{
	json_t *list = json_array();
	enum err e = ERR_OK;

	/* A fixture's root CA issues leaves itself: then there are two. */
	for (size_t i = 0; i < 3 && chain[i].len > 0 && e == ERR_OK; i++) {
		struct buf pem = { 0 };

		e = cacert_pem(&pem, "CERTIFICATE", buf_view(&chain[i]));
		if (e == ERR_OK &&
		    json_array_append_new(
			list, json_string((const char *)pem.p)) != 0)
			e = ERR_NOMEM;
		buf_fini(&pem);
	}
	rpc_put_new(c, "certificate_chain", list);
	return e;
}

enum err
rpc_keys_issue(struct rpc_call *c, struct rpc_tls_wish *w,
    const struct p256_secret *key, const struct app_release *keys)
{
	const struct agent_backend *b = c->backend;
	struct refusal why = { .code = REASON_NONE };
	struct buf chain[3] = { { 0 } }, attestation = { 0 };
	uint8_t msg[SIGNCERT_LEN], proof[80];
	struct p256_pub pub;
	size_t proof_len;
	enum err e;

	if ((e = p256_pubkey(&pub, key)) != ERR_OK ||
	    (e = p256_spki(w->rq.spki, &pub)) != ERR_OK)
		goto done;
	if (w->ra_tls &&
	    (e = attest_key(c, &attestation, w->rq.spki)) != ERR_OK)
		goto done;
	signcert_message(msg, b->identity->app_id, w->rq.spki);
	e = p256_sign_der(proof, &proof_len, key, msg, sizeof msg);
	if (e != ERR_OK)
		goto done;
	w->rq.proof = (struct bytes){ proof, proof_len };
	w->rq.attestation = buf_view(&attestation);
	w->rq.epoch = keys->epoch;
	w->rq.root_spki = keys->ca_spki;
	e = b->sign_cert(b->cookie, chain, &w->rq, &why);
	if (e != ERR_OK) {
		e = rpc_fail_why(c, "Failed to sign certificate", e, &why);
		goto done;
	}
	if ((e = put_tls_key(c, key)) == ERR_OK)
		e = put_tls_chain(c, chain);
	if (w->has_epoch)
		rpc_put_u64(c, "epoch", keys->epoch);
done:
	for (size_t i = 0; i < 3; i++)
		buf_fini(&chain[i]);
	buf_fini(&attestation);
	return e;
}

enum err
rpc_keys_issue_fresh(struct rpc_call *c, struct rpc_tls_wish *w)
{
	struct app_release keys = { .epoch = 0 };
	struct p256_secret key;
	enum err e;

	if (params_bad(c->in) != NULL)
		return rpc_fail(c, "%s", params_bad(c->in));
	e = rpc_keys_release(c, &keys, w->has_epoch ? &w->epoch : NULL);
	if (e == ERR_OK) {
		p256_generate(&key);
		e = rpc_keys_issue(c, w, &key, &keys);
		p256_secret_wipe(&key);
	}
	release_wipe(&keys);
	return e;
}

enum err
rpc_keys_get_tls_key(struct rpc_call *c)
{
	struct rpc_tls_wish w = { .ra_tls = false };

	rpc_keys_tls_wish(c, &w);
	rpc_keys_tls_wish_more(c, &w);
	return rpc_keys_issue_fresh(c, &w);
}
