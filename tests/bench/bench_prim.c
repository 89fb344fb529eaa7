#include <stdlib.h>
#include <string.h>

#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/obj_mac.h>
#include <sodium.h>

#include "common/base/secret.h"
#include "common/crypto/dstack.h"
#include "tests/bench/bench_line.h"
#include "tests/bench/bench_prim.h"

/* Short runs, and all of them again and again: one that nothing interrupted,
 * while the neighbours were quiet, is the one that counts. */
#define ROUNDS 20
#define RUNS 20
#define IN_A_RUN 4
#define SIG_MAX 80

/* Inputs of all loops. */
struct inputs {
	uint8_t scalar[32], point[32], digest[32], nonce[12];
	struct k256_secret k256;
	struct p256_secret p256;
	EVP_PKEY *key;
	EVP_PKEY_CTX *sign, *verify;
	EC_GROUP *group; /* ready: p256_pubkey makes one each time */
	EC_POINT *product;
	BIGNUM *k;
	uint8_t sig[SIG_MAX];
	size_t sig_len;
	uint8_t *text; /* text_len, and room for a tag */
	size_t text_len;
};

static int
do_x25519(struct inputs *in)
{
	return crypto_scalarmult(in->point, in->scalar, in->point);
}

static int
do_x25519_base(struct inputs *in)
{
	uint8_t out[32];

	return crypto_scalarmult_base(out, in->scalar);
}

static int
do_p256_sign(struct inputs *in)
{
	in->sig_len = sizeof in->sig;
	return EVP_PKEY_sign(in->sign, in->sig, &in->sig_len, in->digest,
		   sizeof in->digest) == 1
	    ? 0
	    : -1;
}

static int
do_p256_verify(struct inputs *in)
{
	return EVP_PKEY_verify(in->verify, in->sig, in->sig_len, in->digest,
		   sizeof in->digest) == 1
	    ? 0
	    : -1;
}

static int
do_p256_base(struct inputs *in)
{
	return EC_POINT_mul(in->group, in->product, in->k, NULL, NULL, NULL) ==
		1
	    ? 0
	    : -1;
}

static int
do_k256_pubkey(struct inputs *in)
{
	struct k256_pub pub;

	return k256_pubkey(&pub, &in->k256) == ERR_OK ? 0 : -1;
}

static int
do_k256_sign(struct inputs *in)
{
	struct k256_sig65 sig;

	return k256_sign_digest(&sig, &in->k256, in->digest) == ERR_OK ? 0 : -1;
}

static int
do_hkdf(struct inputs *in)
{
	const struct bytes info[] = { { in->point, 20 }, BYTES_STR("app-key") };
	uint8_t out[32];

	return dstack_kdf(out, in->scalar, info, 2) == ERR_OK ? 0 : -1;
}

static int
do_aead(struct inputs *in)
{
	return crypto_aead_chacha20poly1305_ietf_encrypt(in->text, NULL,
	    in->text, in->text_len, NULL, 0, NULL, in->nonce, in->scalar);
}

static int
time_one(double *us, int (*fn)(struct inputs *), struct inputs *in)
{
	for (int r = 0; r < RUNS; r++) {
		double start = bench_now_us(), took;

		for (int i = 0; i < IN_A_RUN; i++)
			if (fn(in) != 0)
				return -1;
		took = (bench_now_us() - start) / IN_A_RUN;
		if (took < *us)
			*us = took;
	}
	return 0;
}

static int
make_inputs(struct inputs *in, size_t text_max)
{
	secret_random(in->scalar, sizeof in->scalar);
	secret_random(in->digest, sizeof in->digest);
	(void)crypto_scalarmult_base(in->point, in->scalar);
	k256_generate(&in->k256);
	p256_generate(&in->p256);
	in->text = calloc(1, text_max + 16);
	in->key = p256_evp_secret(&in->p256);
	in->group = EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1);
	if (in->text == NULL || in->key == NULL || in->group == NULL)
		return -1;
	in->product = EC_POINT_new(in->group);
	in->k = BN_bin2bn(in->p256.b, sizeof in->p256.b, NULL);
	if (in->product == NULL || in->k == NULL)
		return -1;
	BN_set_flags(in->k, BN_FLG_CONSTTIME);
	in->sign = EVP_PKEY_CTX_new(in->key, NULL);
	in->verify = EVP_PKEY_CTX_new(in->key, NULL);
	if (in->sign == NULL || in->verify == NULL ||
	    EVP_PKEY_sign_init(in->sign) != 1 ||
	    EVP_PKEY_verify_init(in->verify) != 1)
		return -1;
	return 0;
}

/* Lowers what is in `*p`. */
static int
time_all(struct bench_prim *p, struct inputs *in, size_t request_len,
    size_t reply_len)
{
	const struct {
		double *us;
		int (*fn)(struct inputs *);
	} loop[] = {
		{ &p->x25519, do_x25519 },
		{ &p->x25519_base, do_x25519_base },
		{ &p->p256_sign, do_p256_sign },
		{ &p->p256_verify, do_p256_verify },
		{ &p->p256_base, do_p256_base },
		{ &p->k256_pubkey, do_k256_pubkey },
		{ &p->k256_sign, do_k256_sign },
		{ &p->hkdf, do_hkdf },
	};

	for (size_t i = 0; i < sizeof loop / sizeof loop[0]; i++)
		if (time_one(loop[i].us, loop[i].fn, in) != 0)
			return -1;
	in->text_len = request_len;
	if (time_one(&p->aead_request, do_aead, in) != 0)
		return -1;
	in->text_len = reply_len;
	return time_one(&p->aead_reply, do_aead, in);
}

int
bench_prim_measure(struct bench_prim *out, size_t request_len, size_t reply_len)
{
	struct bench_prim p = { 1e9, 1e9, 1e9, 1e9, 1e9, 1e9, 1e9, 1e9, 1e9,
		1e9 };
	struct inputs in = { 0 };
	int rc;

	rc =
	    make_inputs(&in, request_len > reply_len ? request_len : reply_len);
	for (int i = 0; rc == 0 && i < ROUNDS; i++)
		rc = time_all(&p, &in, request_len, reply_len);
	if (rc == 0)
		*out = p;
	EVP_PKEY_CTX_free(in.sign);
	EVP_PKEY_CTX_free(in.verify);
	EVP_PKEY_free(in.key);
	BN_clear_free(in.k);
	EC_POINT_free(in.product);
	EC_GROUP_free(in.group);
	free(in.text);
	secret_wipe(&in, sizeof in);
	return rc;
}

double
bench_prim_session_us(const struct bench_prim *p)
{
	return 6 * p->x25519 + 2 * p->x25519_base + 2 * p->p256_sign +
	    2 * p->p256_verify;
}

double
bench_prim_release_us(const struct bench_prim *p)
{
	return 3 * p->hkdf + p->k256_pubkey + p->k256_sign + 2 * p->p256_base +
	    2 * (p->aead_request + p->aead_reply);
}
