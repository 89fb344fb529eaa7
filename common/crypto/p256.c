#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>

#include "common/base/ct.h"
#include "common/base/memfail.h"
#include "common/base/secret.h"
#include "common/crypto/p256.h"

/* SEQUENCE { SEQUENCE { id-ecPublicKey, prime256v1 }, BIT STRING { 04 ... */
static const uint8_t spki_head[27] = { 0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a,
	0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
	0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00, 0x04 };
static const uint8_t pkcs8_head[36] = { 0x30, 0x81, 0x87, 0x02, 0x01, 0x00,
	0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06,
	0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x04, 0x6d, 0x30,
	0x6b, 0x02, 0x01, 0x01, 0x04, 0x20 };
static const uint8_t pkcs8_mid[6] = { 0xa1, 0x44, 0x03, 0x42, 0x00, 0x04 };

static_assert(sizeof spki_head + 64 == P256_SPKI_LEN, "RFC 5480");
static_assert(sizeof pkcs8_head + 32 + sizeof pkcs8_mid + 64 == P256_PKCS8_LEN,
    "dstack-compat.md 2.1");

void
p256_secret_wipe(struct p256_secret *s)
{
	secret_wipe(s, sizeof *s);
}

bool
p256_secret_valid(const struct p256_secret *s)
{
	/* The group order n, SEC 2 section 2.4.2. */
	static const uint8_t n[32] = { 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff,
		0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa,
		0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc,
		0x63, 0x25, 0x51 };
	unsigned borrow = 0, any = 0, valid;

	/* s - n borrows exactly when s < n; no branch on the bytes. */
	for (int i = 31; i >= 0; i--) {
		unsigned d = (unsigned)s->b[i] - n[i] - borrow;

		borrow = d >> 31;
		any |= s->b[i];
	}
	/* any - 1 wraps for 0 alone. */
	valid = borrow & ~((any - 1) >> 31);
	CT_PUBLIC(valid); /* Who has an invalid one is told. */
	return valid == 1;
}

void
p256_generate(struct p256_secret *s)
{
	do
		secret_random(s->b, sizeof s->b);
	while (!p256_secret_valid(s));
}

/* One group for the process (building it costs more than a product): made
 * once, then only read.  NULL: no memory, this time. */
static const EC_GROUP *
the_curve(void)
{
	static _Atomic(EC_GROUP *) curve;
	EC_GROUP *g = atomic_load(&curve), *none = NULL;

	if (g != NULL ||
	    (g = EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1)) == NULL)
		return g;
	if (atomic_compare_exchange_strong(&curve, &none, g))
		return g;
	EC_GROUP_free(g); /* another thread was first */
	return none;
}

static bool
put_xy(uint8_t xy[static 64], const EC_GROUP *g, const EC_POINT *p)
{
	uint8_t point[65];
	size_t n = EC_POINT_point2oct(
	    g, p, POINT_CONVERSION_UNCOMPRESSED, point, sizeof point, NULL);

	CT_PUBLIC(n);
	CT_PUBLIC(point);
	if (n != sizeof point)
		return false;
	memcpy(xy, point + 1, 64);
	return true;
}

/* x || y of s * G. */
static enum err
base_mul(uint8_t xy[static 64], const struct p256_secret *s)
{
	const EC_GROUP *g = the_curve();
	EC_POINT *p = g != NULL ? EC_POINT_new(g) : NULL;
	BIGNUM *k = BN_secure_new();
	enum err e = ERR_NOMEM;

	if (p == NULL || k == NULL)
		goto done;
	e = ERR_MALFORMED;
	if (!p256_secret_valid(s))
		goto done;
	BN_set_flags(k, BN_FLG_CONSTTIME);
	e = ERR_NOMEM;
	if (BN_bin2bn(s->b, sizeof s->b, k) == NULL ||
	    !EC_POINT_mul(g, p, k, NULL, NULL, NULL) || !put_xy(xy, g, p))
		goto done;
	e = ERR_OK;
done:
	BN_clear_free(k);
	EC_POINT_free(p);
	secret_wipe_stack();
	return e;
}

enum err
p256_pubkey(struct p256_pub *out, const struct p256_secret *s)
{
	return base_mul(out->xy, s);
}

static EVP_PKEY *
from_params(OSSL_PARAM_BLD *b, int selection)
{
	OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(b);
	EVP_PKEY_CTX *c = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
	EVP_PKEY *key = NULL;

	if (params == NULL || c == NULL || EVP_PKEY_fromdata_init(c) <= 0 ||
	    EVP_PKEY_fromdata(c, &key, selection, params) <= 0)
		key = NULL;
	OSSL_PARAM_free(params);
	EVP_PKEY_CTX_free(c);
	return key;
}

EVP_PKEY *
p256_evp_public(const struct p256_pub *pub)
{
	OSSL_PARAM_BLD *b = OSSL_PARAM_BLD_new();
	uint8_t point[65] = { 4 };
	EVP_PKEY *key = NULL;

	memcpy(point + 1, pub->xy, 64);
	/* OpenSSL refuses a point that is not on the curve. */
	if (b != NULL &&
	    OSSL_PARAM_BLD_push_utf8_string(
		b, OSSL_PKEY_PARAM_GROUP_NAME, "prime256v1", 0) &&
	    OSSL_PARAM_BLD_push_octet_string(
		b, OSSL_PKEY_PARAM_PUB_KEY, point, sizeof point))
		key = from_params(b, EVP_PKEY_PUBLIC_KEY);
	OSSL_PARAM_BLD_free(b);
	return key;
}

EVP_PKEY *
p256_evp_secret(const struct p256_secret *s)
{
	OSSL_PARAM_BLD *b = NULL;
	BIGNUM *k = NULL;
	uint8_t point[65] = { 4 };
	EVP_PKEY *key = NULL;

	if (base_mul(point + 1, s) != ERR_OK)
		return NULL;
	b = OSSL_PARAM_BLD_new();
	k = BN_secure_new();
	if (b != NULL && k != NULL && BN_bin2bn(s->b, sizeof s->b, k) != NULL &&
	    OSSL_PARAM_BLD_push_utf8_string(
		b, OSSL_PKEY_PARAM_GROUP_NAME, "prime256v1", 0) &&
	    OSSL_PARAM_BLD_push_octet_string(
		b, OSSL_PKEY_PARAM_PUB_KEY, point, sizeof point) &&
	    OSSL_PARAM_BLD_push_BN(b, OSSL_PKEY_PARAM_PRIV_KEY, k))
		key = from_params(b, EVP_PKEY_KEYPAIR);
	BN_clear_free(k);
	OSSL_PARAM_BLD_free(b);
	return key;
}

enum err
p256_pub_check(const struct p256_pub *pub)
{
	uint64_t before = memfail_count();
	EVP_PKEY *k = p256_evp_public(pub);
	enum err e = k != NULL ? ERR_OK : ERR_MALFORMED;

	EVP_PKEY_free(k);
	return memfail_err(before, e);
}

enum err
p256_spki(uint8_t out[static P256_SPKI_LEN], const struct p256_pub *pub)
{
	memcpy(out, spki_head, sizeof spki_head);
	memcpy(out + sizeof spki_head, pub->xy, 64);
	return ERR_OK;
}

enum err
p256_spki_parse(struct p256_pub *out, const uint8_t *in, size_t len)
{
	struct p256_pub tmp;
	enum err e;

	if (len != P256_SPKI_LEN ||
	    memcmp(in, spki_head, sizeof spki_head) != 0)
		return ERR_MALFORMED;
	memcpy(tmp.xy, in + sizeof spki_head, 64);
	if ((e = p256_pub_check(&tmp)) == ERR_OK)
		*out = tmp;
	return e;
}

enum err
p256_pkcs8(uint8_t out[static P256_PKCS8_LEN], const struct p256_secret *s)
{
	uint8_t xy[64];
	enum err e = base_mul(xy, s);

	if (e != ERR_OK)
		return e;
	memcpy(out, pkcs8_head, sizeof pkcs8_head);
	out += sizeof pkcs8_head;
	memcpy(out, s->b, 32);
	out += 32;
	memcpy(out, pkcs8_mid, sizeof pkcs8_mid);
	memcpy(out + sizeof pkcs8_mid, xy, 64);
	return ERR_OK;
}

enum err
p256_sign_der(uint8_t out[static 80], size_t *out_len,
    const struct p256_secret *s, const void *msg, size_t len)
{
	uint64_t before = memfail_count();
	EVP_PKEY *key = p256_evp_secret(s);
	EVP_MD_CTX *c = EVP_MD_CTX_new();
	size_t n = 80;
	enum err e = ERR_MALFORMED;

	if (key != NULL && c != NULL &&
	    EVP_DigestSignInit(c, NULL, EVP_sha256(), NULL, key) == 1 &&
	    EVP_DigestSign(c, out, &n, msg, len) == 1) {
		CT_PUBLIC(n);
		CT_PUBLIC_BYTES(out, n);
		*out_len = n;
		e = ERR_OK;
	}
	EVP_MD_CTX_free(c);
	EVP_PKEY_free(key);
	secret_wipe_stack();
	return memfail_err(before, e);
}

enum err
p256_sign_raw(uint8_t out[static 64], const struct p256_secret *s,
    const void *msg, size_t len)
{
	uint8_t der[80];
	const uint8_t *p = der;
	size_t n;
	ECDSA_SIG *sig;
	enum err e = p256_sign_der(der, &n, s, msg, len);

	if (e != ERR_OK)
		return e;
	sig = d2i_ECDSA_SIG(NULL, &p, (long)n);
	if (sig == NULL || BN_bn2binpad(ECDSA_SIG_get0_r(sig), out, 32) != 32 ||
	    BN_bn2binpad(ECDSA_SIG_get0_s(sig), out + 32, 32) != 32)
		e = ERR_NOMEM;
	ECDSA_SIG_free(sig);
	return e;
}

enum err
p256_verify_der_evp(EVP_PKEY *key, const uint8_t *sig, size_t sig_len,
    const void *msg, size_t len)
{
	uint64_t before = memfail_count();
	EVP_MD_CTX *c = EVP_MD_CTX_new();
	enum err e = ERR_AUTH;

	if (c != NULL &&
	    EVP_DigestVerifyInit(c, NULL, EVP_sha256(), NULL, key) == 1 &&
	    EVP_DigestVerify(c, sig, sig_len, msg, len) == 1)
		e = ERR_OK;
	EVP_MD_CTX_free(c);
	return memfail_err(before, e);
}

enum err
p256_verify_raw_evp(
    EVP_PKEY *key, const uint8_t sig[static 64], const void *msg, size_t len)
{
	ECDSA_SIG *s = ECDSA_SIG_new();
	BIGNUM *r = BN_bin2bn(sig, 32, NULL);
	BIGNUM *v = BN_bin2bn(sig + 32, 32, NULL);
	uint8_t *der = NULL;
	int n;
	enum err e = ERR_NOMEM;

	if (s == NULL || r == NULL || v == NULL || !ECDSA_SIG_set0(s, r, v))
		goto done;
	r = v = NULL; /* transferred */
	if ((n = i2d_ECDSA_SIG(s, &der)) <= 0)
		goto done;
	e = p256_verify_der_evp(key, der, (size_t)n, msg, len);
done:
	BN_free(r);
	BN_free(v);
	OPENSSL_free(der);
	ECDSA_SIG_free(s);
	return e;
}

enum err
p256_verify_raw(const struct p256_pub *pub, const uint8_t sig[static 64],
    const void *msg, size_t len)
{
	uint64_t before = memfail_count();
	EVP_PKEY *key = p256_evp_public(pub);
	enum err e = ERR_MALFORMED;

	if (key != NULL)
		e = p256_verify_raw_evp(key, sig, msg, len);
	EVP_PKEY_free(key);
	return memfail_err(before, e);
}

enum err
p256_verify_der(const struct p256_pub *pub, const uint8_t *sig, size_t sig_len,
    const void *msg, size_t len)
{
	uint64_t before = memfail_count();
	EVP_PKEY *key = p256_evp_public(pub);
	enum err e = ERR_MALFORMED;

	if (key != NULL)
		e = p256_verify_der_evp(key, sig, sig_len, msg, len);
	EVP_PKEY_free(key);
	return memfail_err(before, e);
}
