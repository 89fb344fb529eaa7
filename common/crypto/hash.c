/* OpenSSL's own code for these functions, by the calls that keep their state
 * where the caller says: its EVP calls allocate at every digest, and a node
 * without memory has to refuse, which takes hashes, and not to die. */
#define OPENSSL_SUPPRESS_DEPRECATED
#include <stdlib.h>
#include <string.h>

#include <openssl/ripemd.h>
#include <openssl/sha.h>

#include "common/base/secret.h"
#include "common/crypto/hash.h"

#define SHA256_BLOCK 64
#define HKDF_INFO_MAX (5u * 1024)

/* They fail for no input; what they leave of a secret is wiped. */
static void
must(int ok)
{
	if (!ok)
		abort();
}

void
sha256_v(uint8_t out[static 32], const struct bytes *part, size_t n)
{
	SHA256_CTX c;

	must(SHA256_Init(&c));
	for (size_t i = 0; i < n; i++)
		must(SHA256_Update(&c, part[i].p, part[i].len));
	must(SHA256_Final(out, &c));
	secret_wipe(&c, sizeof c);
}

void
sha384_v(uint8_t out[static 48], const struct bytes *part, size_t n)
{
	SHA512_CTX c;

	must(SHA384_Init(&c));
	for (size_t i = 0; i < n; i++)
		must(SHA384_Update(&c, part[i].p, part[i].len));
	must(SHA384_Final(out, &c));
	secret_wipe(&c, sizeof c);
}

void
sha512_v(uint8_t out[static 64], const struct bytes *part, size_t n)
{
	SHA512_CTX c;

	must(SHA512_Init(&c));
	for (size_t i = 0; i < n; i++)
		must(SHA512_Update(&c, part[i].p, part[i].len));
	must(SHA512_Final(out, &c));
	secret_wipe(&c, sizeof c);
}

void
sha256(uint8_t out[static 32], const void *in, size_t len)
{
	sha256_v(out, &(struct bytes){ in, len }, 1);
}

void
sha384(uint8_t out[static 48], const void *in, size_t len)
{
	sha384_v(out, &(struct bytes){ in, len }, 1);
}

void
sha512(uint8_t out[static 64], const void *in, size_t len)
{
	sha512_v(out, &(struct bytes){ in, len }, 1);
}

void
ripemd160(uint8_t out[static 20], const void *in, size_t len)
{
	RIPEMD160_CTX c;

	must(RIPEMD160_Init(&c));
	must(RIPEMD160_Update(&c, in, len));
	must(RIPEMD160_Final(out, &c));
}

/* RFC 2104: H(K ^ opad, H(K ^ ipad, text)). */
void
hmac_sha256(uint8_t out[static 32], const uint8_t *key, size_t key_len,
    const void *in, size_t len)
{
	uint8_t k[SHA256_BLOCK] = { 0 }, inner[32];
	struct bytes part[2] = { { k, sizeof k }, { in, len } };

	if (key_len > sizeof k)
		sha256(k, key, key_len);
	else if (key_len > 0)
		memcpy(k, key, key_len);
	for (size_t i = 0; i < sizeof k; i++)
		k[i] ^= 0x36;
	sha256_v(inner, part, 2);
	for (size_t i = 0; i < sizeof k; i++)
		k[i] ^= 0x36 ^ 0x5c;
	part[1] = (struct bytes){ inner, sizeof inner };
	sha256_v(out, part, 2);
	secret_wipe(k, sizeof k);
	secret_wipe(inner, sizeof inner);
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
	secret_wipe_stack();
	return ERR_OK;
}
