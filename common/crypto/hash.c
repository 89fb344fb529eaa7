#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "common/base/secret.h"
#include "common/crypto/hash.h"

#define HKDF_INFO_MAX (5u * 1024)

static void
must(int ok)
{
	if (!ok)
		abort(); /* out of memory inside the library */
}

/* Looked up once: EVP_sha256() has OpenSSL 3 search its providers at every
 * digest, under a lock. */
enum { SHA_256, SHA_384, SHA_512, SHA3_256, SHA3_384, SHA3_512, N_SHA };
static EVP_MD *sha[N_SHA];
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void
fetch(void)
{
	static const char *const name[N_SHA] = { "SHA2-256", "SHA2-384",
		"SHA2-512", "SHA3-256", "SHA3-384", "SHA3-512" };

	for (int i = 0; i < N_SHA; i++)
		must((sha[i] = EVP_MD_fetch(NULL, name[i], NULL)) != NULL);
}

static const EVP_MD *
known(int which)
{
	(void)pthread_once(&once, fetch);
	return sha[which];
}

static void
digest(uint8_t *out, const EVP_MD *md, const struct bytes *part, size_t n)
{
	EVP_MD_CTX *c = EVP_MD_CTX_new();

	must(c != NULL);
	must(EVP_DigestInit_ex(c, md, NULL));
	for (size_t i = 0; i < n; i++)
		must(EVP_DigestUpdate(c, part[i].p, part[i].len));
	must(EVP_DigestFinal_ex(c, out, NULL));
	EVP_MD_CTX_free(c);
}

void
sha256_v(uint8_t out[static 32], const struct bytes *part, size_t n)
{
	digest(out, known(SHA_256), part, n);
}

void
sha384_v(uint8_t out[static 48], const struct bytes *part, size_t n)
{
	digest(out, known(SHA_384), part, n);
}

void
sha512_v(uint8_t out[static 64], const struct bytes *part, size_t n)
{
	digest(out, known(SHA_512), part, n);
}

void
sha3_256_v(uint8_t out[static 32], const struct bytes *part, size_t n)
{
	digest(out, known(SHA3_256), part, n);
}

void
sha3_384_v(uint8_t out[static 48], const struct bytes *part, size_t n)
{
	digest(out, known(SHA3_384), part, n);
}

void
sha3_512_v(uint8_t out[static 64], const struct bytes *part, size_t n)
{
	digest(out, known(SHA3_512), part, n);
}

void
sha256(uint8_t out[static 32], const void *in, size_t len)
{
	digest(out, known(SHA_256), &(struct bytes){ in, len }, 1);
}

void
sha384(uint8_t out[static 48], const void *in, size_t len)
{
	digest(out, known(SHA_384), &(struct bytes){ in, len }, 1);
}

void
sha512(uint8_t out[static 64], const void *in, size_t len)
{
	digest(out, known(SHA_512), &(struct bytes){ in, len }, 1);
}

enum err
ripemd160(uint8_t out[static 20], const void *in, size_t len)
{
	EVP_MD *md = EVP_MD_fetch(NULL, "RIPEMD-160", NULL);

	if (md == NULL)
		return ERR_UNSUPPORTED;
	digest(out, md, &(struct bytes){ in, len }, 1);
	EVP_MD_free(md);
	return ERR_OK;
}

void
hmac_sha256(uint8_t out[static 32], const uint8_t *key, size_t key_len,
    const void *in, size_t len)
{
	static const uint8_t none[1];

	/* A NULL key means "reuse the last one" to OpenSSL. */
	must(HMAC(known(SHA_256), key_len > 0 ? key : none, (int)key_len, in,
		 len, out, NULL) != NULL);
}

enum err
hkdf_sha256(uint8_t *out, size_t out_len, struct bytes salt, struct bytes ikm,
    const struct bytes *info, size_t n)
{
	uint8_t prk[32], t[32] = { 0 }, block[32 + HKDF_INFO_MAX + 1];
	size_t info_len = 0, t_len = 0;

	if (out_len > 255 * 32)
		return ERR_LIMIT;
	for (size_t i = 0; i < n; i++) {
		if (info[i].len > HKDF_INFO_MAX - info_len)
			return ERR_LIMIT;
		info_len += info[i].len;
	}
	hmac_sha256(prk, salt.p, salt.len, ikm.p, ikm.len);
	/* RFC 5869 2.3: T(i) = HMAC(PRK, T(i-1) | info | i). */
	for (uint8_t i = 1; out_len > 0; i++) {
		size_t off = 0, take = out_len < 32 ? out_len : 32;

		memcpy(block, t, t_len);
		off = t_len;
		for (size_t k = 0; k < n; k++) {
			if (info[k].len > 0)
				memcpy(block + off, info[k].p, info[k].len);
			off += info[k].len;
		}
		block[off++] = i;
		hmac_sha256(t, prk, sizeof prk, block, off);
		t_len = sizeof t;
		memcpy(out, t, take);
		out += take;
		out_len -= take;
	}
	secret_wipe(prk, sizeof prk);
	secret_wipe(t, sizeof t);
	secret_wipe(block, 32);
	return ERR_OK;
}
