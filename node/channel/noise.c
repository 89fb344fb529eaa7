/* noise: see noise.h.  Section numbers are those of revision 34. */
#include <assert.h>
#include <string.h>

#include <sodium.h>

#include "common/base/ct.h"
#include "common/base/planted.h"
#include "common/base/secret.h"
#include "common/crypto/hash.h"
#include "node/channel/noise.h"

#define NOISE_DEAD 99u
#define NOISE_STEPS 3u

static const char name[] = "Noise_XX_25519_ChaChaPoly_SHA256";
static_assert(sizeof name - 1 == 32, "5.2: a name of HASHLEN bytes is h");
static_assert(crypto_scalarmult_curve25519_BYTES == NOISE_KEY_LEN, "DHLEN");
static_assert(crypto_aead_chacha20poly1305_ietf_ABYTES == NOISE_TAG_LEN, "");

/* 12.3: 32 bits of zeros, then the nonce in little-endian order. */
static void
nonce_bytes(uint8_t out[static 12], uint64_t n)
{
	memset(out, 0, 4);
	for (unsigned i = 0; i < 8; i++)
		out[4 + i] = (uint8_t)(n >> (8 * i));
}

static void
seal(const uint8_t *k, uint64_t n, uint8_t *p, size_t len, struct bytes ad)
{
	uint8_t nonce[12];

	nonce_bytes(nonce, n);
	(void)crypto_aead_chacha20poly1305_ietf_encrypt(
	    p, NULL, p, len, ad.p, ad.len, NULL, nonce, k);
	secret_wipe_stack(); /* eight bytes of k, of a long message */
}

/* Nothing is decrypted before the tag has been checked. */
static bool
open_box(const uint8_t *k, uint64_t n, uint8_t *p, size_t len, struct bytes ad)
{
	uint8_t nonce[12];
	int rc;

	nonce_bytes(nonce, n);
	rc = crypto_aead_chacha20poly1305_ietf_decrypt(
	    p, NULL, NULL, p, len, ad.p, ad.len, nonce, k);
	secret_wipe_stack();
	CT_PUBLIC(rc); /* The verdict is what the peer sees anyway. */
	return rc == 0;
}

static void
mix_hash(struct noise *ns, const void *p, size_t len)
{
	const struct bytes part[] = { { ns->h, 32 }, { p, len } };

	sha256_v(ns->h, part, 2);
}

/* 5.2 MixKey; HKDF of 4.3 is RFC 5869 with ck as salt and no info. */
static void
mix_key(struct noise *ns, const uint8_t *ikm, size_t len)
{
	uint8_t out[64];
	enum err e;

	e = hkdf_sha256(out, sizeof out, (struct bytes){ ns->ck, 32 },
	    (struct bytes){ ikm, len }, NULL, 0);
	assert(e == ERR_OK);
	memcpy(ns->ck, out, 32);
	memcpy(ns->k, out + 32, 32);
	ns->has_k = true;
	ns->n = 0;
	secret_wipe(out, sizeof out);
}

/* DH and MixKey.  A peer that sends a point of small order would fix the
 * result to zero whatever our key is: refuse (12.1 leaves it to us). */
static enum err
mix_dh(struct noise *ns, const uint8_t *secret, const uint8_t *pub)
{
	uint8_t dh[32];
	int rc = crypto_scalarmult_curve25519(dh, secret, pub);

	CT_PUBLIC(rc); /* All zero: then there is no secret. */
	if (rc == 0)
		mix_key(ns, dh, sizeof dh);
	secret_wipe(dh, sizeof dh);
	secret_wipe_stack();
	return rc == 0 ? ERR_OK : ERR_AUTH;
}

/* 5.2 EncryptAndHash. */
static enum err
put(struct noise *ns, struct buf *out, const void *p, size_t len)
{
	size_t at = out->len, n = len + (ns->has_k ? NOISE_TAG_LEN : 0);
	enum err e;

	if ((e = buf_reserve(out, at + n)) != ERR_OK)
		return e;
	if (len > 0)
		memcpy(out->p + at, p, len);
	if (ns->has_k)
		seal(ns->k, ns->n++, out->p + at, len,
		    (struct bytes){ ns->h, 32 });
	out->len = at + n;
	out->p[out->len] = 0;
	mix_hash(ns, out->p + at, n);
	return ERR_OK;
}

/* 5.2 DecryptAndHash, of (in, len) with its tag, to `out`. */
static enum err
get(struct noise *ns, uint8_t *out, const uint8_t *in, size_t len)
{
	uint8_t tmp[NOISE_MSG_MAX];

	assert(len <= sizeof tmp);
	if (len > 0)
		memcpy(tmp, in, len);
	if (ns->has_k &&
	    !open_box(ns->k, ns->n, tmp, len, (struct bytes){ ns->h, 32 }))
		return ERR_AUTH; /* tmp holds no plaintext */
	ns->n += ns->has_k;
	mix_hash(ns, in, len);
	if (ns->has_k)
		len -= NOISE_TAG_LEN;
	if (len > 0)
		memcpy(out, tmp, len);
	secret_wipe(tmp, sizeof tmp);
	return ERR_OK;
}

static enum err
die(struct noise *ns, enum err e)
{
	noise_fini(ns);
	return e;
}

void
noise_public(uint8_t out[static 32], const uint8_t secret[static 32])
{
	int rc = crypto_scalarmult_curve25519_base(out, secret);

	secret_wipe_stack();
	assert(rc == 0); /* Clamping makes it so. */
}

void
noise_init(struct noise *ns, enum noise_side side, const uint8_t s[static 32],
    const uint8_t s_pub[static 32], const uint8_t e[static 32],
    struct bytes prologue)
{
	*ns = (struct noise){ .side = side, .s = s };
	memcpy(ns->h, name, 32);
	memcpy(ns->ck, name, 32);
	memcpy(ns->s_pub, s_pub, 32);
	memcpy(ns->e, e, 32);
	noise_public(ns->e_pub, ns->e);
	mix_hash(ns, prologue.p, prologue.len);
}

void
noise_fini(struct noise *ns)
{
	secret_wipe(ns, sizeof *ns);
	ns->step = NOISE_DEAD;
}

enum err
noise_write(struct noise *ns, struct buf *out, struct bytes payload)
{
	bool first = ns->side == NOISE_INITIATOR;
	enum err e = ERR_OK;

	if (ns->step >= NOISE_STEPS || (ns->step == 1) == first)
		return die(ns, ERR_PHASE);
	if (payload.len > NOISE_MSG_MAX - NOISE_MSG2_LEN)
		return die(ns, ERR_LIMIT);
	/* e: sent in the clear in the first two messages. */
	if (ns->step < 2) {
		e = buf_append(out, ns->e_pub, 32, SIZE_MAX);
		mix_hash(ns, ns->e_pub, 32);
	}
	/* ee, s, es */
	if (ns->step == 1) {
		if (e == ERR_OK)
			e = mix_dh(ns, ns->e, ns->re);
		if (e == ERR_OK)
			e = put(ns, out, ns->s_pub, 32);
		if (e == ERR_OK)
			e = mix_dh(ns, ns->s, ns->re);
	}
	/* s, se */
	if (ns->step == 2) {
		e = put(ns, out, ns->s_pub, 32);
		if (e == ERR_OK)
			e = mix_dh(ns, ns->s, ns->re);
	}
	if (e == ERR_OK)
		e = put(ns, out, payload.p, payload.len);
	if (e != ERR_OK)
		return die(ns, e);
	ns->step++;
	return ERR_OK;
}

enum err
noise_read(struct noise *ns, struct buf *payload, struct bytes in)
{
	static const size_t min[NOISE_STEPS] = { NOISE_MSG1_LEN, NOISE_MSG2_LEN,
		NOISE_MSG3_LEN };
	bool first = ns->side == NOISE_INITIATOR;
	uint8_t text[NOISE_MSG_MAX];
	const uint8_t *p = in.p;
	size_t n;
	enum err e = ERR_OK;

	if (ns->step >= NOISE_STEPS || (ns->step == 1) != first)
		return die(ns, ERR_PHASE);
	n = in.len;
	if (n < min[ns->step] || n > NOISE_MSG_MAX ||
	    (payload == NULL && n != min[ns->step]))
		return die(ns, ERR_MALFORMED);
	if (ns->step < 2) {
		memcpy(ns->re, p, 32);
		mix_hash(ns, ns->re, 32);
		p += 32;
		n -= 32;
	}
	/* ee, s, es */
	if (ns->step == 1) {
		e = mix_dh(ns, ns->e, ns->re);
		if (e == ERR_OK)
			e = get(ns, ns->rs, p, 48);
		if (e == ERR_OK)
			e = mix_dh(ns, ns->e, ns->rs);
		p += 48;
		n -= 48;
	}
	/* s, se */
	if (ns->step == 2) {
		e = get(ns, ns->rs, p, 48);
		if (e == ERR_OK)
			e = mix_dh(ns, ns->e, ns->rs);
		p += 48;
		n -= 48;
	}
	if (e == ERR_OK)
		e = get(ns, text, p, n);
	if (e == ERR_OK && payload != NULL)
		e = buf_append(payload, text,
		    n - (ns->has_k ? NOISE_TAG_LEN : 0), SIZE_MAX);
	secret_wipe(text, sizeof text);
	if (e != ERR_OK)
		return die(ns, e);
	ns->step++;
	return ERR_OK;
}

bool
noise_done(const struct noise *ns)
{
	return ns->step == NOISE_STEPS;
}

void
noise_split(
    struct noise *ns, struct noise_cipher *send, struct noise_cipher *recv)
{
	struct noise_cipher *c1 = ns->side == NOISE_INITIATOR ? send : recv;
	struct noise_cipher *c2 = ns->side == NOISE_INITIATOR ? recv : send;
	uint8_t hash[32], peer[32];

	assert(noise_done(ns));
	/* 5.2 Split: MixKey with no key material gives both keys. */
	mix_key(ns, NULL, 0);
	*c1 = (struct noise_cipher){ 0 };
	*c2 = (struct noise_cipher){ 0 };
	memcpy(c1->k, ns->ck, 32);
	memcpy(c2->k, ns->k, 32);
	memcpy(hash, ns->h, 32);
	memcpy(peer, ns->rs, 32);
	if (!PLANTED(7))
		noise_fini(ns);
	memcpy(ns->h, hash, 32);
	memcpy(ns->rs, peer, 32);
}

const uint8_t *
noise_hash(const struct noise *ns)
{
	return ns->h;
}

const uint8_t *
noise_peer(const struct noise *ns)
{
	return ns->rs;
}

enum err
noise_seal(struct noise_cipher *c, uint8_t *p, size_t len, struct bytes ad)
{
	/* 5.1: the nonce 2^64-1 is reserved for rekeying. */
	if (c->n == UINT64_MAX)
		return ERR_LIMIT;
	seal(c->k, c->n++, p, len, ad);
	return ERR_OK;
}

enum err
noise_open(struct noise_cipher *c, uint8_t *p, size_t len, struct bytes ad)
{
	if (c->n == UINT64_MAX)
		return ERR_LIMIT;
	if (len < NOISE_TAG_LEN || !open_box(c->k, c->n, p, len, ad))
		return ERR_AUTH;
	c->n++;
	return ERR_OK;
}

void
noise_rekey(struct noise_cipher *c)
{
	uint8_t t[32 + NOISE_TAG_LEN] = { 0 };

	seal(c->k, UINT64_MAX, t, 32, (struct bytes){ NULL, 0 });
	memcpy(c->k, t, 32);
	secret_wipe(t, sizeof t);
}
