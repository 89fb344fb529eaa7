#include <stdio.h>
#include <string.h>

#include <sodium.h>

#include "common/base/hex.h"
#include "common/base/secret.h"
#include "common/crypto/dstack.h"
#include "common/crypto/v2key.h"
#include "kms/ctl/keychain.h"

static enum err
bad(char *why, size_t why_cap, const char *what)
{
	(void)snprintf(why, why_cap, "%s", what);
	return ERR_MALFORMED;
}

/* The public half of "key", by the algorithm. */
static enum err
pub_of_key(
    struct keychain_claim *out, const uint8_t key[static 32], bool ed25519)
{
	uint8_t secret[crypto_sign_SECRETKEYBYTES];
	struct k256_secret s;
	struct k256_pub pub;
	enum err e = ERR_OK;

	if (ed25519) {
		if (crypto_sign_seed_keypair(out->pub, secret, key) != 0)
			e = ERR_MALFORMED;
		secret_wipe(secret, sizeof secret);
		out->pub_len = 32;
		return e;
	}
	memcpy(s.b, key, sizeof s.b);
	if ((e = k256_pubkey(&pub, &s)) == ERR_OK) {
		memcpy(out->pub, pub.b, sizeof pub.b);
		out->pub_len = sizeof pub.b;
	}
	k256_secret_wipe(&s);
	return e;
}

static enum err
read_pub(struct keychain_claim *out, const json_t *v, bool ed25519, char *why,
    size_t why_cap)
{
	struct k256_pub parsed;
	uint8_t key[32];
	size_t len = ed25519 ? 32 : 33;
	enum err e;

	e = json_get_hex(out->pub, len, v, "public_key");
	out->pub_len = len;
	if (e == ERR_OK && !ed25519 &&
	    k256_pub_parse(&parsed, out->pub, len) != ERR_OK)
		e = ERR_MALFORMED;
	if (e == ERR_OK)
		return e;
	if (e != ERR_NOTFOUND)
		return bad(why, why_cap,
		    ed25519 ? "public_key: must be 32 bytes in hex"
			    : "public_key: must be a compressed point in hex");
	e = json_get_hex(key, sizeof key, v, "key");
	if (e == ERR_OK)
		e = pub_of_key(out, key, ed25519);
	secret_wipe(key, sizeof key);
	if (e == ERR_NOTFOUND)
		return bad(why, why_cap, "public_key or key is missing");
	if (e != ERR_OK)
		return bad(why, why_cap, "key: must be 32 bytes in hex");
	return ERR_OK;
}

/* What makes it a replica's; an absent "instance_id" leaves it one of all. */
static enum err
read_replica(struct keychain_replica *out, const json_t *v, bool ed25519,
    char *why, size_t why_cap)
{
	const char *path = "";
	enum err e = json_get_hex(out->instance_id, 20, v, "instance_id");

	if (e == ERR_NOTFOUND)
		return ERR_OK;
	if (e != ERR_OK)
		return bad(
		    why, why_cap, "instance_id: must be 20 bytes in hex");
	if (json_get_u64(&out->epoch, v, "epoch") != ERR_OK)
		return bad(why, why_cap,
		    "epoch: a replica's key says the number of its epoch");
	e = json_get_str(&path, v, "path");
	if (e == ERR_MALFORMED || strlen(path) >= sizeof out->path)
		return bad(why, why_cap, "path: must be short text");
	memcpy(out->path, path, strlen(path) + 1);
	out->algorithm = ed25519 ? "ed25519" : "secp256k1";
	out->is = true;
	return ERR_OK;
}

enum err
keychain_read(
    struct keychain_claim *out, const json_t *v, char *why, size_t why_cap)
{
	struct keychain_claim c = { .pub_len = 0 };
	const json_t *chain = json_object_get(v, "signature_chain");
	const char *algorithm = "secp256k1", *purpose = "";
	bool ed25519;
	enum err e;

	if (!json_is_object(v))
		return bad(why, why_cap, "not a JSON object");
	e = json_get_str(&algorithm, v, "algorithm");
	if (e == ERR_MALFORMED)
		return bad(why, why_cap, "algorithm: must be text");
	ed25519 = strcmp(algorithm, "ed25519") == 0;
	if (!ed25519 && strcmp(algorithm, "secp256k1") != 0 &&
	    strcmp(algorithm, "k256") != 0 && algorithm[0] != '\0')
		return bad(
		    why, why_cap, "algorithm: must be secp256k1 or ed25519");
	e = json_get_str(&purpose, v, "purpose");
	if (e == ERR_MALFORMED || strlen(purpose) >= sizeof c.purpose)
		return bad(why, why_cap, "purpose: must be short text");
	memcpy(c.purpose, purpose, strlen(purpose) + 1);
	if ((e = read_pub(&c, v, ed25519, why, why_cap)) != ERR_OK ||
	    (e = read_replica(&c.replica, v, ed25519, why, why_cap)) != ERR_OK)
		return e;
	if (!json_is_array(chain) || json_array_size(chain) != 2)
		return bad(
		    why, why_cap, "signature_chain: must hold two signatures");
	for (size_t i = 0; i < 2; i++) {
		const json_t *s = json_array_get(chain, i);

		if (!json_is_string(s) ||
		    hex_fixed(c.link[i].b, 65, json_string_value(s)) != ERR_OK)
			return bad(why, why_cap,
			    "signature_chain: must be 65 bytes in hex each");
	}
	*out = c;
	return ERR_OK;
}

static enum err
recover_0(struct k256_pub *out, const struct keychain_claim *c)
{
	const struct v2key_claim claim = {
		.algorithm = c->replica.algorithm,
		.path = { (const uint8_t *)c->replica.path,
		    strlen(c->replica.path) },
		.purpose = { (const uint8_t *)c->purpose, strlen(c->purpose) },
		.pub = { c->pub, c->pub_len },
	};

	if (c->replica.is)
		return v2key_recover_claim(out, &c->link[0], &claim);
	return dstack_recover_purpose(out, &c->link[0], c->purpose, claim.pub);
}

static enum err
recover_1(struct k256_pub *out, const struct keychain_claim *c,
    const uint8_t app_id[static 20], const struct k256_pub *signer)
{
	struct v2key_owner owner = { .epoch = c->replica.epoch };

	if (!c->replica.is)
		return dstack_recover_app(out, &c->link[1], app_id, signer);
	memcpy(owner.app_id, app_id, sizeof owner.app_id);
	memcpy(owner.instance_id, c->replica.instance_id,
	    sizeof owner.instance_id);
	return v2key_recover_replica(out, &c->link[1], &owner, signer);
}

/* The words of a refusal: which step, in which kind of chain. */
static enum err
broken(struct refusal *why, const struct keychain_claim *c, unsigned link,
    const char *how)
{
	const char *key = c->replica.is ? "replica's root" : "app key";

	if (link == 0)
		return refuse(why, REASON_ROOT_MISMATCH,
		    "link 0 (%s signs the derived key): %s", key, how);
	return refuse(why, REASON_ROOT_MISMATCH,
	    "link 1 (root signs the %s): %s", key, how);
}

enum err
keychain_check(struct keychain_report *out, const struct keychain_claim *c,
    const uint8_t app_id[static 20], const struct k256_pub *app,
    const struct k256_pub *root, struct refusal *why)
{
	struct keychain_report r = { .broken = KEYCHAIN_LINK_0 };
	enum err e;

	e = recover_0(&r.app, c);
	if (e != ERR_OK)
		e = broken(why, c, 0, "not a signature");
	else if (app != NULL && memcmp(app, &r.app, sizeof *app) != 0)
		e = broken(why, c, 0,
		    "another key signed it, or it was for another key or "
		    "purpose");
	if (e != ERR_OK)
		goto done;
	r.broken = KEYCHAIN_LINK_1;
	if (recover_1(&r.root, c, app_id, &r.app) != ERR_OK) {
		e = broken(why, c, 1, "not a signature");
		goto done;
	}
	if (memcmp(root, &r.root, sizeof *root) != 0) {
		/* With a known app key only link 1 can be the cause. */
		r.broken = app != NULL ? KEYCHAIN_LINK_1 : KEYCHAIN_ROOT;
		if (app != NULL)
			e = broken(why, c, 1,
			    "another root signed it, or it was for another "
			    "app");
		else
			e = refuse(why, REASON_ROOT_MISMATCH,
			    "the links end at another root: %s, app or a "
			    "signature is not what it claims to be",
			    c->replica.is ? "key, algorithm, path, purpose, "
					    "epoch, instance"
					  : "key, purpose");
		goto done;
	}
	r.broken = KEYCHAIN_HOLDS;
done:
	*out = r;
	return e;
}
