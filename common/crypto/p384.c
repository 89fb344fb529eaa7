#include <openssl/bn.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/evp.h>

#include "common/base/memfail.h"
#include "common/crypto/p384.h"

enum err
p384_verify_digest(EVP_PKEY *key, const uint8_t sig[static P384_SIG_LEN],
    const uint8_t digest[static 48])
{
	uint64_t before = memfail_count();
	EVP_PKEY_CTX *c = EVP_PKEY_CTX_new(key, NULL);
	ECDSA_SIG *pair = ECDSA_SIG_new();
	BIGNUM *r = BN_bin2bn(sig, P384_SIG_LEN / 2, NULL);
	BIGNUM *s = BN_bin2bn(sig + P384_SIG_LEN / 2, P384_SIG_LEN / 2, NULL);
	uint8_t *der = NULL;
	enum err e = ERR_NOMEM;
	int n;

	if (c == NULL || pair == NULL || r == NULL || s == NULL ||
	    ECDSA_SIG_set0(pair, r, s) != 1)
		goto done;
	r = s = NULL; /* transferred */
	if ((n = i2d_ECDSA_SIG(pair, &der)) <= 0)
		goto done;
	e = ERR_AUTH;
	if (EVP_PKEY_verify_init(c) == 1 &&
	    EVP_PKEY_CTX_set_signature_md(c, EVP_sha384()) == 1 &&
	    EVP_PKEY_verify(c, der, (size_t)n, digest, 48) == 1)
		e = ERR_OK;
done:
	ERR_clear_error();
	BN_free(r);
	BN_free(s);
	OPENSSL_free(der);
	ECDSA_SIG_free(pair);
	EVP_PKEY_CTX_free(c);
	return memfail_err(before, e);
}
