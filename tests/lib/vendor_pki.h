/* vendor_pki: keys, certificates, CRLs and P-384 signatures as AMD and AWS
 * make them, for tests.  Everything aborts rather than fails. */
#ifndef TESTS_LIB_VENDOR_PKI_H
#define TESTS_LIB_VENDOR_PKI_H

#include <stdbool.h>

#include <openssl/types.h>

#include "common/base/buf.h"

enum vendor_alg {
	VENDOR_PSS_SHA384, /* salt 48 */
	VENDOR_PSS_SHA256, /* salt 32 */
	VENDOR_PSS_SHORT_SALT, /* SHA-384, salt 20 */
	VENDOR_PKCS1_SHA384,
	VENDOR_ECDSA_SHA384,
	VENDOR_ECDSA_SHA256,
};

struct vendor_ext {
	const char *oid;
	uint8_t der[80];
	size_t len;
};

struct vendor_cert {
	const char *subject;
	const char *issuer;
	EVP_PKEY *key; /* borrows both */
	EVP_PKEY *issuer_key;
	enum vendor_alg alg;
	long serial;
	int64_t from, until;
	bool ca;
	const char *constraints; /* NULL: "critical,CA:TRUE" if `ca` */
	const char *usage; /* NULL: certificate and CRL signing if `ca` */
	const char *unknown_critical; /* an OID, or NULL */
	const struct vendor_ext *ext;
	size_t n_ext;
};

EVP_PKEY *vendor_rsa(void);
EVP_PKEY *vendor_ec(const char *curve);

/* vendor_cert_der replaces `der` by the certificate. */
void vendor_cert_der(struct buf *der, const struct vendor_cert *c);
/* vendor_crl_der: a CRL that lists `serial` (0: none). */
void vendor_crl_der(struct buf *der, const char *issuer, EVP_PKEY *key,
    int64_t from, int64_t until, long serial);
/* Big-endian r || s over SHA-384 of the bytes. */
void vendor_sign(
    uint8_t rs[static 96], EVP_PKEY *key, const void *p, size_t len);
/* The certificates of PEM text, in order; how many. */
size_t vendor_pem(struct buf *der, size_t cap, struct bytes pem);

#endif
