/* cert: certificates and CRLs of Intel's PKI, one by one: tdx-dcap.md 2.2.
 *
 * Parsing checks the profile and believes nothing; x509chain.h says which of
 * them hang together.  A parsed object is immutable: any thread. */
#ifndef COMMON_ATTEST_CERT_H
#define COMMON_ATTEST_CERT_H

#include <stdbool.h>
#include <stdint.h>

#include <openssl/x509.h>

#include "common/attest/pckext.h"

#define CN_PCK "Intel SGX PCK Certificate"
#define CN_PLATFORM_CA "Intel SGX PCK Platform CA"
#define CN_PROCESSOR_CA "Intel SGX PCK Processor CA"
#define CN_SIGNER "Intel SGX TCB Signing"

/* SEQUENCE { tbs, ecdsa-with-SHA256, BIT STRING }: certificate or CRL. */
struct signed_object {
	struct buf der; /* owns */
	struct bytes tbs; /* what was signed; borrows from der */
	struct bytes signature; /* an ECDSA-Sig-Value; borrows from der */
};

/* A certificate that fits the profile; fields are for x509chain.c. */
struct cert {
	struct signed_object o;
	X509 *x; /* owns; has no usable key of its own */
	EVP_PKEY *key; /* owns */
	int64_t not_before;
	int64_t not_after;
	uint32_t usage; /* KU_* bits */
	bool ca;
	long path_len; /* -1: no limit */
};

struct crl {
	struct signed_object o;
	X509_CRL *x; /* owns */
	int64_t this_update;
	int64_t next_update;
};

/* cert_parse reads one DER certificate: version 3, P-256, ECDSA-SHA256, key
 * usage and basic constraints present, no unknown critical extension.
 * ERR_MALFORMED otherwise.  The caller owns the result. */
enum err cert_parse(struct cert **out, struct bytes der);
void cert_free(struct cert *c);
/* Borrowed until the certificate goes. */
EVP_PKEY *cert_key(const struct cert *c);
/* cert_is_root: a self-signed CA that may sign certificates and CRLs. */
bool cert_is_root(const struct cert *c);

/* cert_pem_first reads the first certificate of PEM text, verifying nothing
 * about it: for learning which collateral to ask for. */
enum err cert_pem_first(struct cert **out, struct bytes pem);
/* cert_pck_facts reads the SGX extension and which CA the issuer's name
 * claims.  ERR_NOTFOUND: no extension; ERR_MALFORMED: malformed, or the
 * issuer is neither the Platform nor the Processor CA. */
enum err cert_pck_facts(
    struct pckext *out, bool *platform_ca, const struct cert *leaf);

enum err crl_parse(struct crl **out, struct bytes der);
void crl_free(struct crl *c);

/* The name has exactly one common name, and it is this. */
bool cert_cn_is(const X509_NAME *name, const char *want);
/* Issuer's name and key identifier are what `c` says: RFC 5280 6.1.3 and
 * 4.2.1.1. */
bool cert_names_fit(const struct cert *issuer, const struct cert *c);
bool object_signed_by(const struct signed_object *o, EVP_PKEY *key);

#endif
