#include <assert.h>
#include <string.h>

#include <sodium.h>

#include "common/base/ct.h"
#include "common/base/secret.h"
#include "common/base/wr.h"
#include "kms/keys/wrap.h"

#define NONCE_LEN crypto_aead_xchacha20poly1305_ietf_NPUBBYTES
#define AD_MAX 160

static_assert(
    WRAP_LEN == NONCE_LEN + 64 + crypto_aead_xchacha20poly1305_ietf_ABYTES,
    "wrap.h");

void
wrap_key_generate(struct wrap_key *out)
{
	secret_random(out->b, sizeof out->b);
}

void
wrap_key_wipe(struct wrap_key *k)
{
	secret_wipe(k, sizeof *k);
}

static size_t
associated(uint8_t out[static AD_MAX], const struct epoch_public *pub)
{
	struct wr w = { .p = out, .cap = AD_MAX };

	wr_str(&w, "devproof-kms/wrap/v1");
	wr_be64(&w, pub->number);
	wr_bytes(&w, pub->k256.b, sizeof pub->k256.b);
	wr_bytes(&w, &pub->ca, sizeof pub->ca);
	return w.len;
}

enum err
wrap_roots(uint8_t out[static WRAP_LEN], const struct wrap_key *k,
    struct epoch_roots *r)
{
	struct epoch_public pub;
	uint8_t plain[64], ad[AD_MAX];
	unsigned long long len;
	int rc;

	epoch_roots_public(r, &pub);
	epoch_roots_export(r, plain, plain + 32);
	secret_random(out, NONCE_LEN);
	rc = crypto_aead_xchacha20poly1305_ietf_encrypt(out + NONCE_LEN, &len,
	    plain, sizeof plain, ad, associated(ad, &pub), NULL, out, k->b);
	secret_wipe(plain, sizeof plain);
	secret_wipe_stack();
	return rc == 0 ? ERR_OK : ERR_NOMEM;
}

enum err
wrap_open(struct epoch_roots **out, const struct wrap_key *k,
    const struct epoch_public *pub, const uint8_t in[static WRAP_LEN])
{
	uint8_t plain[64], ad[AD_MAX];
	struct epoch_roots *r = NULL;
	struct epoch_public got;
	enum err e = ERR_AUTH;
	int rc = crypto_aead_xchacha20poly1305_ietf_decrypt(plain, NULL, NULL,
	    in + NONCE_LEN, WRAP_LEN - NONCE_LEN, ad, associated(ad, pub), in,
	    k->b);

	secret_wipe_stack();
	CT_PUBLIC(rc); /* The caller is told. */
	if (rc != 0)
		return e;
	e = epoch_roots_import(&r, pub->number, plain, plain + 32);
	if (e == ERR_OK) {
		epoch_roots_public(r, &got);
		if (memcmp(&got.k256, &pub->k256, sizeof got.k256) != 0 ||
		    memcmp(&got.ca, &pub->ca, sizeof got.ca) != 0)
			e = ERR_AUTH;
	} else if (e != ERR_NOMEM) {
		e = ERR_AUTH;
	}
	secret_wipe(plain, sizeof plain);
	if (e == ERR_OK)
		*out = r;
	else
		epoch_roots_free(r);
	return e;
}
