/* certpath: certificate paths of AMD and AWS, from leaf to anchor.
 *
 * The caller says which certificates make the path and pins the anchor (by
 * certpath_fingerprint) and the roles (certpath_cn_is); OpenSSL's path check
 * (X509_verify_cert) then has exactly these to choose from, and the path it
 * finds must be the caller's, certificate by certificate.  Intel's PKI has
 * x509chain, which knows its CRLs and roles. */
#ifndef COMMON_ATTEST_CERTPATH_H
#define COMMON_ATTEST_CERTPATH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <openssl/types.h>

#include "common/base/buf.h"

#define CERTPATH_MAX 8

struct certpath; /* opaque, immutable */

enum certpath_sig {
	CERTPATH_PSS_SHA384, /* MGF1 with SHA-384, salt of 48 bytes */
	CERTPATH_ECDSA_SHA384,
};

enum certpath_fault {
	CERTPATH_OK,
	CERTPATH_ISSUER, /* not issued by the next one */
	CERTPATH_SIGNATURE,
	CERTPATH_TIME,
	CERTPATH_SHAPE, /* CA flag, path length, critical extension, ... */
	CERTPATH_REVOKED,
};

/* certpath_new parses `n` certificates in DER, leaf first, anchor last;
 * 2 <= n <= CERTPATH_MAX.  All but the leaf are CAs that may sign
 * certificates; the leaf is no CA and its key is a named P-384 key.
 * ERR_MALFORMED: `*at` says which.  The caller owns `*out`. */
enum err certpath_new(
    struct certpath **out, size_t *at, const struct bytes *der, size_t n);
void certpath_free(struct certpath *p);

/* Borrowed until the path goes. */
EVP_PKEY *certpath_leaf_key(const struct certpath *p);
/* SHA-256 of the anchor's DER. */
void certpath_fingerprint(const struct certpath *p, uint8_t out[static 32]);
/* The subject's one common name is `want`. */
bool certpath_cn_is(const struct certpath *p, size_t i, const char *want);
bool certpath_signed_with(
    const struct certpath *p, size_t i, enum certpath_sig alg);
/* certpath_leaf_ext: value of the leaf's extension `oid`, borrowed.
 * ERR_NOTFOUND; ERR_MALFORMED when it is there twice. */
enum err certpath_leaf_ext(
    struct bytes *out, const struct certpath *p, const char *oid);

/* certpath_verify checks names, CA rules and signatures.  On a fault `*at`
 * is the certificate's place and `*text` (static) says more. */
enum certpath_fault certpath_verify(
    const struct certpath *p, size_t *at, const char **text);
/* certpath_in_date: every certificate's period holds `now`, ends included. */
enum certpath_fault certpath_in_date(
    const struct certpath *p, size_t *at, int64_t now);
/* The window in which certpath_in_date says yes. */
void certpath_window(const struct certpath *p, int64_t *from, int64_t *until);

/* certpath_crl checks the anchor's CRL (DER): issuer, signature, dates, and
 * that the certificate below the anchor is not on it. */
enum certpath_fault certpath_crl(
    const struct certpath *p, struct bytes crl, int64_t now, const char **text);

#endif
