#include <stdio.h>
#include <string.h>

#include <sodium.h>

#include "common/base/ct.h"
#include "common/base/rd.h"
#include "common/base/secret.h"
#include "common/base/wr.h"
#include "node/store/seal.h"

#define NONCE_LEN crypto_aead_xchacha20poly1305_ietf_NPUBBYTES
#define TAG_LEN crypto_aead_xchacha20poly1305_ietf_ABYTES
#define AD_MAX (32 + 32 + 1 + SEAL_SLOT_MAX + 1 + SEAL_KEY_MAX + SEAL_CLEAR_MAX)

enum err
seal_init(struct seal *s, const uint8_t key[static 32],
    const uint8_t cluster[static 32], const char *slot)
{
	*s = (struct seal){ 0 };
	if (strlen(slot) >= sizeof s->slot)
		return ERR_CONFIG;
	if ((s->key = secret_new(32)) == NULL)
		return ERR_NOMEM;
	memcpy(s->key, key, 32);
	secret_lock(s->key);
	memcpy(s->cluster, cluster, sizeof s->cluster);
	(void)snprintf(s->slot, sizeof s->slot, "%s", slot);
	return ERR_OK;
}

void
seal_fini(struct seal *s)
{
	secret_free(s->key);
	*s = (struct seal){ 0 };
}

void
seal_use(struct seal *s)
{
	if (s->users++ == 0)
		secret_open_ro(s->key);
}

void
seal_done(struct seal *s)
{
	if (--s->users == 0)
		secret_lock(s->key);
}

static size_t
make_ad(uint8_t ad[static AD_MAX], const struct seal *s, struct bytes full,
    struct bytes clear)
{
	struct wr w = { .p = ad, .cap = AD_MAX };

	wr_str(&w, "devproof-kms/store/v2");
	wr_bytes(&w, s->cluster, sizeof s->cluster);
	wr_u8(&w, (uint8_t)strlen(s->slot));
	wr_str(&w, s->slot);
	wr_u8(&w, full.p[0]);
	wr_u8(&w, (uint8_t)(full.len - 1));
	wr_bytes(&w, full.p + 1, full.len - 1);
	wr_bytes(&w, clear.p, clear.len);
	return w.len;
}

size_t
seal_size(size_t clear_len, size_t value_len)
{
	return 1 + clear_len + NONCE_LEN + value_len + TAG_LEN;
}

void
seal_put(struct seal *s, uint8_t *out, struct bytes full, struct bytes clear,
    struct bytes value)
{
	uint8_t ad[AD_MAX];
	size_t ad_len = make_ad(ad, s, full, clear);

	*out++ = (uint8_t)clear.len;
	if (clear.len > 0)
		memcpy(out, clear.p, clear.len);
	out += clear.len;
	randombytes_buf(out, NONCE_LEN);
	seal_use(s);
	(void)crypto_aead_xchacha20poly1305_ietf_encrypt(out + NONCE_LEN, NULL,
	    value.p, value.len, ad, ad_len, NULL, out, s->key);
	seal_done(s);
	secret_wipe_stack();
}

enum err
seal_open(struct seal *s, struct buf *out, struct bytes *clear,
    struct bytes full, struct bytes sealed)
{
	struct rd r = { .p = sealed.p, .left = sealed.len };
	uint8_t ad[AD_MAX];
	const uint8_t *nonce;
	struct bytes c;
	size_t ad_len;
	enum err e;
	int rc;

	c.len = rd_u8(&r);
	c.p = rd_bytes(&r, c.len);
	nonce = rd_bytes(&r, NONCE_LEN);
	if (r.bad || r.left < TAG_LEN || c.len > SEAL_CLEAR_MAX ||
	    full.len < 2 || full.len > SEAL_KEY_MAX)
		return ERR_CORRUPT;
	ad_len = make_ad(ad, s, full, c);
	/* Growing would leave a copy of an earlier secret behind. */
	if (out->cap < r.left)
		buf_wipe(out);
	out->len = 0;
	if ((e = buf_reserve(out, r.left)) != ERR_OK)
		return e;
	seal_use(s);
	rc = crypto_aead_xchacha20poly1305_ietf_decrypt(
	    out->p, NULL, NULL, r.p, r.left, ad, ad_len, nonce, s->key);
	seal_done(s);
	secret_wipe_stack();
	CT_PUBLIC(rc); /* The caller is told. */
	if (rc != 0)
		return ERR_CORRUPT;
	out->len = r.left - TAG_LEN;
	out->p[out->len] = 0;
	*clear = c;
	return ERR_OK;
}
