/* common/crypto, and common/eth/account: curves, derivations, boxes. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <openssl/evp.h>
#include <sodium.h>

#include "common/base/hex.h"
#include "common/base/secret.h"
#include "common/crypto/dstack.h"
#include "common/crypto/envbox.h"
#include "common/crypto/v2key.h"
#include "common/eth/account.h"
#include "tests/ctime/ctime.h"

static const uint8_t app_id[20] = { 7 };
static const struct v2key_owner owner = { .epoch = 3, .app_id = { 7 } };

static void
k256_made(void)
{
	struct k256_secret s;
	struct k256_pub pub;

	ct_random(1);
	k256_generate(&s);
	ct_random(0);
	ct_result(&s, sizeof s);
	NEED(k256_secret_valid(&s));
	NEED(k256_pubkey(&pub, &s) == ERR_OK);
	ct_public(&pub, sizeof pub);
	k256_secret_wipe(&s);
}

static void
k256_signs(void)
{
	struct k256_secret s;
	struct k256_sig65 sig;
	struct k256_pub pub, got;
	uint8_t digest[32] = { 5 };

	ct_draw(&s, sizeof s);
	NEED(k256_pubkey(&pub, &s) == ERR_OK);
	ct_public(&pub, sizeof pub);
	NEED(k256_sign_digest(&sig, &s, digest) == ERR_OK);
	ct_public(&sig, sizeof sig);
	NEED(k256_recover_digest(&got, &sig, digest) == ERR_OK);
	NEED(memcmp(&got, &pub, sizeof pub) == 0);
	NEED(k256_sign65(&sig, &s, &BYTES_STR("text"), 1) == ERR_OK);
	ct_public(&sig, sizeof sig);
	k256_secret_wipe(&s);
}

/* A scalar that is none. */
static void
k256_refuses(void)
{
	struct k256_secret s;
	struct k256_pub pub;

	memset(&s, 0xff, sizeof s);
	ct_draw(s.b + 16, 16);
	NEED(!k256_secret_valid(&s));
	NEED(k256_pubkey(&pub, &s) == ERR_MALFORMED);
	k256_secret_wipe(&s);
}

static void
p256_made(void)
{
	struct p256_secret s;
	struct p256_pub pub;

	ct_random(1);
	p256_generate(&s);
	ct_random(0);
	ct_result(&s, sizeof s);
	NEED(p256_secret_valid(&s));
	NEED(p256_pubkey(&pub, &s) == ERR_OK);
	NEED(p256_pub_check(&pub) == ERR_OK);
	p256_secret_wipe(&s);
}

static void
p256_coded(void)
{
	uint8_t der[P256_PKCS8_LEN];
	struct p256_secret s;

	ct_draw(&s, sizeof s);
	NEED(p256_pkcs8(der, &s) == ERR_OK);
	ct_result(der + 36, 32);
	ct_gone(der, sizeof der);
	p256_secret_wipe(&s);
}

static void
p256_signs(void)
{
	uint8_t raw[64], der[80];
	struct p256_secret s;
	struct p256_pub pub;
	size_t n;

	ct_draw(&s, sizeof s);
	NEED(p256_pubkey(&pub, &s) == ERR_OK);
	ct_public(&pub, sizeof pub);
	NEED(p256_sign_raw(raw, &s, "text", 4) == ERR_OK);
	ct_public(raw, sizeof raw);
	NEED(p256_verify_raw(&pub, raw, "text", 4) == ERR_OK);
	NEED(p256_sign_der(der, &n, &s, "text", 4) == ERR_OK);
	p256_secret_wipe(&s);
}

static void
p256_library_key(void)
{
	struct p256_secret s;
	EVP_PKEY *k;

	ct_draw(&s, sizeof s);
	k = p256_evp_secret(&s);
	NEED(k != NULL);
	EVP_PKEY_free(k);
	p256_secret_wipe(&s);
}

static void
derivations(void)
{
	const struct bytes info[] = { { app_id, 20 }, BYTES_STR("app-key") };
	struct p256_secret p;
	uint8_t ikm[32], out[32];

	ct_draw(ikm, sizeof ikm);
	NEED(dstack_kdf(out, ikm, info, 2) == ERR_OK);
	ct_result(out, sizeof out);
	NEED(dstack_kdf_p256(&p, ikm, info, 2) == ERR_OK);
	ct_result(&p, sizeof p);
	p256_secret_wipe(&p);
	NEED(dstack_kdf_dh(out, ikm, info, 2) == ERR_OK);
	ct_result(out, sizeof out);
	ct_gone(out, sizeof out);
	ct_gone(ikm, sizeof ikm);
}

static void
dstack_signs(void)
{
	struct k256_secret s;
	struct k256_pub pub;
	struct k256_sig65 sig;

	ct_draw(&s, sizeof s);
	NEED(k256_pubkey(&pub, &s) == ERR_OK);
	ct_public(&pub, sizeof pub);
	NEED(dstack_sign_app(&sig, &s, app_id, &pub) == ERR_OK);
	NEED(dstack_sign_purpose(&sig, &s, "use", BYTES_OF(pub.b)) == ERR_OK);
	k256_secret_wipe(&s);
}

static void
v2keys(void)
{
	const struct v2key_claim claim = { .algorithm = "secp256k1",
		.path = BYTES_STR("p"),
		.pub = { app_id, 20 } };
	struct k256_secret s, below;
	struct k256_pub pub;
	struct k256_sig65 sig;

	ct_draw(&s, sizeof s);
	NEED(v2key_derive(below.b, s.b, V2KEY_REPLICA, "secp256k1", &owner,
		 BYTES_STR("")) == ERR_OK);
	ct_result(&below, sizeof below);
	NEED(k256_pubkey(&pub, &below) == ERR_OK);
	ct_public(&pub, sizeof pub);
	NEED(v2key_sign_replica(&sig, &s, &owner, &pub) == ERR_OK);
	NEED(v2key_sign_claim(&sig, &below, &claim) == ERR_OK);
	k256_secret_wipe(&below);
	k256_secret_wipe(&s);
}

/* The text of the box is a secret, and so is who can open it. */
static void
boxes(void)
{
	uint8_t secret[32], pub[32], text[100], mine[32], shared[32];
	static const uint8_t iv[ENVBOX_IV] = { 1 };
	struct buf box = { 0 }, out = { 0 };
	enum err e;

	ct_draw(secret, sizeof secret);
	ct_draw(text, sizeof text);
	(void)crypto_scalarmult_base(pub, secret);
	ct_public(pub, sizeof pub);
	ct_random(1);
	e = envbox_seal(&box, pub, BYTES_OF(text));
	ct_random(0);
	ct_public(box.p, box.len); /* the nonce in it, too */
	NEED(e == ERR_OK);
	/* AES's own key, and the key that it expands to first. */
	NEED(crypto_scalarmult(shared, secret, box.p) == 0);
	ct_result(shared, sizeof shared);
	ct_gone(shared, sizeof shared);
	secret_wipe_stack();
	NEED(envbox_open(&out, secret, buf_view(&box)) == ERR_OK);
	NEED(out.len == sizeof text);
	ct_result(out.p, out.len);
	buf_wipe(&out);
	ct_draw(mine, sizeof mine);
	NEED(crypto_scalarmult(shared, mine, pub) == 0);
	ct_result(shared, sizeof shared);
	ct_gone(shared, sizeof shared);
	secret_wipe_stack();
	NEED(envbox_seal_with(&box, pub, mine, iv, BYTES_OF(text)) == ERR_OK);
	ct_public(box.p, box.len);
	box.p[40] ^= 1;
	NEED(envbox_open(&out, secret, buf_view(&box)) == ERR_AUTH);
	buf_fini(&box);
	ct_gone(mine, sizeof mine);
	ct_gone(text, sizeof text);
	ct_gone(secret, sizeof secret);
}

/* What is read from a file is defined, whatever it was when it was written;
 * so this says nothing about time, and all about what is left. */
static void
account(void)
{
	char path[] = "/tmp/ctime.XXXXXX", text[65];
	struct account a;
	uint8_t key[32];
	int fd = mkstemp(path);

	ct_draw(key, sizeof key);
	ct_public(key, sizeof key);
	hex_encode(text, key, sizeof key);
	ct_secret(text, 64);
	ct_public(text, 64);
	NEED(fd >= 0 && write(fd, text, 64) == 64 && close(fd) == 0);
	NEED(account_load(&a, path) == ERR_OK);
	account_wipe(&a);
	(void)unlink(path);
	ct_gone(text, sizeof text);
	ct_gone(key, sizeof key);
}

static const struct ct_case item[] = {
	{ "k256_generate k256_secret_valid k256_pubkey k256_secret_wipe",
	    k256_made, 0 },
	{ "k256_sign_digest k256_sign65", k256_signs, 0 },
	{ "k256_secret_valid k256_pubkey: refused", k256_refuses, 0 },
	{ "p256_generate p256_secret_valid p256_pubkey p256_secret_wipe",
	    p256_made, 0 },
	{ "p256_pkcs8", p256_coded, 0 },
	{ "p256_sign_raw p256_sign_der", p256_signs, 0 },
	{ "p256_evp_secret", p256_library_key, 0 },
	{ "dstack_kdf dstack_kdf_p256 dstack_kdf_dh", derivations, 0 },
	{ "dstack_sign_app dstack_sign_purpose", dstack_signs, 0 },
	{ "v2key_derive v2key_sign_replica v2key_sign_claim", v2keys, 0 },
	{ "envbox_seal envbox_seal_with envbox_open", boxes, 0 },
	{ "account_load account_wipe", account, 0 },
};
const struct ct_cases ct_crypto = { item, sizeof item / sizeof item[0] };
