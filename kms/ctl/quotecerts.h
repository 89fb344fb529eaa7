/* quotecerts: what certificates and CRLs say about themselves.
 *
 * For a report only: nothing is verified.  The one file of kmsctl that uses
 * OpenSSL's X.509. */
#ifndef KMS_CTL_QUOTECERTS_H
#define KMS_CTL_QUOTECERTS_H

#include <stdbool.h>

#include "common/base/buf.h"

#define QUOTECERTS_NAME 80
#define QUOTECERTS_SERIAL 64

struct cert_facts {
	char subject[QUOTECERTS_NAME]; /* common names */
	char issuer[QUOTECERTS_NAME];
	char serial[QUOTECERTS_SERIAL]; /* hex */
	int64_t from, until;
};

struct crl_facts {
	char issuer[QUOTECERTS_NAME];
	int64_t from, until;
	int n_revoked;
};

/* Reads at most `max` certificates of PEM text; returns how many. */
size_t quotecerts_pem(struct cert_facts *out, size_t max, struct bytes pem);
/* Reads one DER certificate.  ERR_MALFORMED. */
enum err quotecerts_der(struct cert_facts *out, struct bytes der);
enum err quotecerts_crl(struct crl_facts *out, struct bytes der);

/* quotecerts_to_der: a certificate file, PEM or DER, as DER. */
enum err quotecerts_to_der(struct buf *out, struct bytes file);

#endif
