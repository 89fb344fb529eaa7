/* dcap_root: a trust anchor of DCAP: Intel's root, or a simulator's. */
#ifndef COMMON_ATTEST_DCAP_ROOT_H
#define COMMON_ATTEST_DCAP_ROOT_H

#include "common/attest/cert.h"

/* Immutable: any thread.  Fields are for the verifier's own files. */
struct dcap_root {
	struct cert *cert; /* owns */
	struct buf der; /* owns */
	uint8_t fingerprint[32]; /* SHA-256 of `der` */
	bool intel; /* it is Intel's own */
};

/* The caller owns the result and dcap_root_free()s it. */
enum err dcap_root_intel(struct dcap_root **out);
/* ERR_MALFORMED unless `der` is one self-signed P-256 CA certificate.  Its
 * verdicts are marked `simulated` unless it is Intel's own. */
enum err dcap_root_new(struct dcap_root **out, struct bytes der);
void dcap_root_free(struct dcap_root *r);

#endif
