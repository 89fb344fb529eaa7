#include <string.h>

#include <openssl/evp.h>
#include <sodium.h>

#include "common/base/ct.h"
#include "common/base/secret.h"
#include "common/base/wr.h"
#include "common/crypto/envbox.h"

#define TAG 16

/* One AES-256-GCM call; `tag` is written or compared. */
static enum err
gcm(bool seal, uint8_t *out, struct bytes in, const uint8_t key[static 32],
    const uint8_t iv[static ENVBOX_IV], uint8_t tag[static TAG])
{
	EVP_CIPHER_CTX *x = EVP_CIPHER_CTX_new();
	uint8_t end[16];
	int n = 0;
	enum err e = ERR_NOMEM;

	if (x == NULL ||
	    EVP_CipherInit_ex(
		x, EVP_aes_256_gcm(), NULL, key, iv, seal ? 1 : 0) != 1 ||
	    EVP_CipherUpdate(x, out, &n, in.p, (int)in.len) != 1)
		goto done;
	if (!seal &&
	    EVP_CIPHER_CTX_ctrl(x, EVP_CTRL_AEAD_SET_TAG, TAG, tag) != 1)
		goto done;
	/* A stream cipher: nothing is left for the end but the tag. */
	e = ERR_AUTH;
	if (EVP_CipherFinal_ex(x, end, &n) != 1)
		goto done;
	e = ERR_NOMEM;
	if (seal &&
	    EVP_CIPHER_CTX_ctrl(x, EVP_CTRL_AEAD_GET_TAG, TAG, tag) != 1)
		goto done;
	e = ERR_OK;
done:
	EVP_CIPHER_CTX_free(x);
	secret_wipe_stack();
	return e;
}

enum err
envbox_seal_with(struct buf *out, const uint8_t pub[static 32],
    const uint8_t secret[static 32], const uint8_t iv[static ENVBOX_IV],
    struct bytes plain)
{
	uint8_t shared[32];
	struct buf b = { 0 };
	enum err e;
	int rc;

	if (plain.len > INT32_MAX)
		return ERR_LIMIT;
	/* It refuses a result of zeros: the same for every secret. */
	rc = crypto_scalarmult(shared, secret, pub);
	secret_wipe_stack();
	CT_PUBLIC(rc);
	if (rc != 0) {
		e = ERR_AUTH;
		goto done;
	}
	if ((e = buf_reserve(&b, ENVBOX_OVERHEAD + plain.len)) != ERR_OK)
		goto done;
	(void)crypto_scalarmult_base(b.p, secret);
	secret_wipe_stack();
	memcpy(b.p + ENVBOX_PUB, iv, ENVBOX_IV);
	b.len = ENVBOX_OVERHEAD + plain.len;
	e = gcm(true, b.p + ENVBOX_PUB + ENVBOX_IV, plain, shared, iv,
	    b.p + b.len - TAG);
	if (e == ERR_OK) {
		buf_fini(out);
		*out = b;
		b = (struct buf){ 0 }; /* transferred */
	}
done:
	secret_wipe(shared, sizeof shared);
	buf_fini(&b);
	return e;
}

enum err
envbox_seal(struct buf *out, const uint8_t pub[static 32], struct bytes plain)
{
	uint8_t secret[32], iv[ENVBOX_IV];
	enum err e;

	secret_random(secret, sizeof secret);
	secret_random(iv, sizeof iv);
	e = envbox_seal_with(out, pub, secret, iv, plain);
	secret_wipe(secret, sizeof secret);
	return e;
}

enum err
envbox_open(struct buf *out, const uint8_t secret[static 32], struct bytes blob)
{
	uint8_t shared[32], tag[TAG];
	struct buf b = { 0 };
	struct bytes in;
	enum err e;
	int rc;

	if (blob.len < ENVBOX_OVERHEAD || blob.len > INT32_MAX)
		return ERR_MALFORMED;
	in = (struct bytes){ blob.p + ENVBOX_PUB + ENVBOX_IV,
		blob.len - ENVBOX_OVERHEAD };
	memcpy(tag, blob.p + blob.len - TAG, TAG);
	rc = crypto_scalarmult(shared, secret, blob.p);
	secret_wipe_stack();
	CT_PUBLIC(rc);
	if (rc != 0) {
		e = ERR_AUTH;
		goto done;
	}
	/* One more, so that text has a NUL behind it. */
	if ((e = buf_reserve(&b, in.len + 1)) != ERR_OK)
		goto done;
	e = gcm(false, b.p, in, shared, blob.p + ENVBOX_PUB, tag);
	if (e == ERR_OK) {
		b.len = in.len;
		b.p[b.len] = '\0';
		buf_wipe(out);
		*out = b;
		b = (struct buf){ 0 }; /* transferred */
	}
done:
	secret_wipe(shared, sizeof shared);
	buf_wipe(&b);
	return e;
}

enum err
envbox_signer(struct k256_pub *out, const struct k256_sig65 *sig,
    const uint8_t app_id[static 20], const uint64_t *timestamp,
    const uint8_t pub[static 32])
{
	uint8_t time[8];
	struct wr w = { .p = time, .cap = sizeof time };
	const struct bytes old[] = { BYTES_STR("dstack-env-encrypt-pubkey:"),
		{ app_id, 20 }, { pub, 32 } };
	const struct bytes new[] = { old[0], old[1], BYTES_OF(time), old[2] };

	if (timestamp == NULL)
		return k256_recover65(out, sig, old, 3);
	wr_be64(&w, *timestamp);
	return k256_recover65(out, sig, new, 4);
}
