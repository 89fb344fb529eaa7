/* appkeys: the keys that an app gets from its app key, as dstack's APIs
 * derive them: dstack-compat.md 2.2.
 *
 * v0: key = KDF(app key, path); purpose and algorithm do not enter, so that
 * the same 32 bytes are a secp256k1 scalar and an ed25519 seed.  Link 0 is
 * the app key's signature over purpose and public key.
 *
 * v1: a domain and the algorithm enter, each with its length, under a salt of
 * its own; and link 0 is over both, and the public key. */
#ifndef NODE_AGENT_APPKEYS_H
#define NODE_AGENT_APPKEYS_H

#include "common/crypto/dstack.h"

enum appkey_algorithm { APPKEY_SECP256K1, APPKEY_ED25519 };

/* One derived key; holds a secret: appkey_wipe. */
struct appkey {
	enum appkey_algorithm algorithm;
	uint8_t secret[32]; /* scalar or seed */
	uint8_t pub[33]; /* compressed point, or 32 bytes */
	size_t pub_len;
	struct k256_sig65 link; /* link 0 */
};

/* appkey_algorithm reads a request's word: "secp256k1", "k256", "ed25519".
 * ERR_UNSUPPORTED for any other. */
enum err appkey_algorithm(enum appkey_algorithm *out, const char *word);

/* Its canonical word. */
const char *appkey_word(enum appkey_algorithm algorithm);

/* appkey_derive, v0: ERR_MALFORMED if the derived bytes are no scalar (one path
 * in 2^128), ERR_LIMIT for a path that is too long. */
enum err appkey_derive(struct appkey *out, const struct k256_secret *app,
    const char *path, const char *purpose, enum appkey_algorithm algorithm);

/* appkey_derive_v1: errors as above; the domain may have any bytes. */
enum err appkey_derive_v1(struct appkey *out, const struct k256_secret *app,
    struct bytes domain, enum appkey_algorithm algorithm);

/* appkey_public fills `pub` and `pub_len` of a key that has algorithm and
 * secret; ERR_MALFORMED if these bytes are no scalar. */
enum err appkey_public(struct appkey *k);

/* appkey_sign signs as dstack's Sign: secp256k1 over SHA-256 of the data,
 * ed25519 over the data itself. */
enum err appkey_sign(
    uint8_t out[static 64], const struct appkey *k, struct bytes data);
/* appkey_sign_digest signs a 32-byte digest; secp256k1 only. */
enum err appkey_sign_digest(uint8_t out[static 64], const struct appkey *k,
    const uint8_t digest[static 32]);

void appkey_wipe(struct appkey *k);

#endif
