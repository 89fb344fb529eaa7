#include <assert.h>

#include <openssl/evp.h>
#include <openssl/x509.h>

#include "tests/lib/fake_ca.h"

static void
issue(struct buf *der, EVP_PKEY *subject_key, const char *subject,
    EVP_PKEY *issuer_key, const char *issuer)
{
	X509 *x = X509_new();
	unsigned char *out = NULL;
	int len;

	assert(x != NULL);
	assert(X509_set_version(x, X509_VERSION_3) == 1);
	assert(ASN1_INTEGER_set(X509_get_serialNumber(x), 1) == 1);
	assert(X509_gmtime_adj(X509_getm_notBefore(x), -60) != NULL);
	assert(X509_gmtime_adj(X509_getm_notAfter(x), 3600) != NULL);
	assert(X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN",
	    MBSTRING_ASC, (const unsigned char *)subject, -1, -1, 0));
	assert(X509_NAME_add_entry_by_txt(X509_get_issuer_name(x), "CN",
	    MBSTRING_ASC, (const unsigned char *)issuer, -1, -1, 0));
	assert(X509_set_pubkey(x, subject_key) == 1);
	assert(X509_sign(x, issuer_key, EVP_sha256()) > 0);
	len = i2d_X509(x, &out);
	assert(len > 0);
	if (buf_set(der, out, (size_t)len) != ERR_OK)
		assert(0);
	OPENSSL_free(out);
	X509_free(x);
}

void
fake_ca_root(struct buf *der, const struct p256_secret *root)
{
	EVP_PKEY *key = p256_evp_secret(root);

	assert(key != NULL);
	issue(der, key, "root", key, "root");
	EVP_PKEY_free(key);
}

void
fake_ca_chain(struct buf chain[static 3], const struct p256_secret *root,
    const struct p256_pub *leaf)
{
	struct p256_secret ca;
	EVP_PKEY *root_key = p256_evp_secret(root), *ca_key, *leaf_key;

	p256_generate(&ca);
	ca_key = p256_evp_secret(&ca);
	leaf_key = p256_evp_public(leaf);
	assert(root_key != NULL && ca_key != NULL && leaf_key != NULL);
	issue(&chain[0], leaf_key, "leaf", ca_key, "app");
	issue(&chain[1], ca_key, "app", root_key, "root");
	issue(&chain[2], root_key, "root", root_key, "root");
	EVP_PKEY_free(root_key);
	EVP_PKEY_free(ca_key);
	EVP_PKEY_free(leaf_key);
}
