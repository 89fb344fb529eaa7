#include <string.h>

#include <sodium.h>

#include "common/base/lp.h"
#include "common/base/secret.h"
#include "common/crypto/hash.h"

#include "node/agent/appkeys.h"

enum err
appkey_algorithm(enum appkey_algorithm *out, const char *word)
{
	if (strcmp(word, "secp256k1") == 0 || strcmp(word, "k256") == 0)
		*out = APPKEY_SECP256K1;
	else if (strcmp(word, "ed25519") == 0)
		*out = APPKEY_ED25519;
	else
		return ERR_UNSUPPORTED;
	return ERR_OK;
}

const char *
appkey_word(enum appkey_algorithm algorithm)
{
	return algorithm == APPKEY_ED25519 ? "ed25519" : "secp256k1";
}

enum err
appkey_public(struct appkey *k)
{
	struct k256_secret scalar;
	struct k256_pub pub;
	uint8_t expanded[crypto_sign_SECRETKEYBYTES];
	enum err e = ERR_OK;

	switch (k->algorithm) {
	case APPKEY_SECP256K1:
		memcpy(scalar.b, k->secret, sizeof scalar.b);
		e = k256_pubkey(&pub, &scalar);
		k256_secret_wipe(&scalar);
		if (e == ERR_OK)
			memcpy(k->pub, pub.b, sizeof pub.b);
		k->pub_len = 33;
		break;
	case APPKEY_ED25519:
		(void)crypto_sign_seed_keypair(k->pub, expanded, k->secret);
		secret_wipe(expanded, sizeof expanded);
		secret_wipe_stack();
		k->pub_len = 32;
		break;
	}
	return e;
}

enum err
appkey_derive(struct appkey *out, const struct k256_secret *app,
    const char *path, const char *purpose, enum appkey_algorithm algorithm)
{
	const struct bytes info = { (const uint8_t *)path, strlen(path) };
	struct appkey k = { .algorithm = algorithm };
	enum err e;

	if ((e = dstack_kdf(k.secret, app->b, &info, 1)) != ERR_OK)
		goto done;
	if ((e = appkey_public(&k)) != ERR_OK)
		goto done;
	e = dstack_sign_purpose(
	    &k.link, app, purpose, (struct bytes){ k.pub, k.pub_len });
	if (e == ERR_OK)
		*out = k;
done:
	appkey_wipe(&k);
	return e;
}

enum err
appkey_derive_v1(struct appkey *out, const struct k256_secret *app,
    struct bytes domain, enum appkey_algorithm algorithm)
{
	const char *word = appkey_word(algorithm);
	const struct bytes alg = { (const uint8_t *)word, strlen(word) };
	struct bytes field[] = { BYTES_STR("dstack-guest-v1-key"), alg, domain,
		{ NULL, 0 } };
	struct bytes part[8];
	uint8_t len[4][4];
	struct appkey k = { .algorithm = algorithm };
	enum err e;

	lp_parts(part, len, field, 3);
	e = hkdf_sha256(k.secret, sizeof k.secret, BYTES_STR("dstack-guest-v1"),
	    BYTES_OF(app->b), part, 6);
	if (e != ERR_OK)
		goto done;
	if ((e = appkey_public(&k)) != ERR_OK)
		goto done;
	field[0] = BYTES_STR("dstack-guest-v1-key-claim");
	field[3] = (struct bytes){ k.pub, k.pub_len };
	lp_parts(part, len, field, 4);
	e = k256_sign65(&k.link, app, part, 8);
	if (e == ERR_OK)
		*out = k;
done:
	appkey_wipe(&k);
	return e;
}

enum err
appkey_sign_digest(uint8_t out[static 64], const struct appkey *k,
    const uint8_t digest[static 32])
{
	struct k256_secret scalar;
	struct k256_sig65 sig;
	enum err e;

	if (k->algorithm != APPKEY_SECP256K1)
		return ERR_UNSUPPORTED;
	memcpy(scalar.b, k->secret, sizeof scalar.b);
	e = k256_sign_digest(&sig, &scalar, digest);
	k256_secret_wipe(&scalar);
	if (e == ERR_OK)
		memcpy(out, sig.b, 64);
	return e;
}

enum err
appkey_sign(uint8_t out[static 64], const struct appkey *k, struct bytes data)
{
	uint8_t expanded[crypto_sign_SECRETKEYBYTES], pub[32], digest[32];

	switch (k->algorithm) {
	case APPKEY_SECP256K1:
		sha256(digest, data.p, data.len);
		return appkey_sign_digest(out, k, digest);
	case APPKEY_ED25519:
		(void)crypto_sign_seed_keypair(pub, expanded, k->secret);
		(void)crypto_sign_detached(
		    out, NULL, data.p, data.len, expanded);
		secret_wipe(expanded, sizeof expanded);
		secret_wipe_stack();
		return ERR_OK;
	}
	return ERR_UNSUPPORTED;
}

void
appkey_wipe(struct appkey *k)
{
	secret_wipe(k, sizeof *k);
}
