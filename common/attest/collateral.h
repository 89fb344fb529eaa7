/* collateral: what Intel signs about platforms, as one bundle.
 *
 * The JSON form (collateral_from_json, _to_json) has the member names of the
 * widely used dcap-qvl bundle: pck_crl_issuer_chain, root_ca_crl (hex DER),
 * pck_crl (hex DER), tcb_info_issuer_chain, tcb_info (text),
 * tcb_info_signature (hex), qe_identity_issuer_chain, qe_identity (text),
 * qe_identity_signature (hex), optional pck_certificate_chain (PEM).  No
 * verifier needs pck_crl_issuer_chain, so it may be absent too. */
#ifndef COMMON_ATTEST_COLLATERAL_H
#define COMMON_ATTEST_COLLATERAL_H

#include <stdbool.h>

#include "common/base/buf.h"
#include "common/base/reason.h"

struct collateral {
	struct buf tcb_info; /* exact signed bytes of the inner object */
	uint8_t tcb_info_signature[64];
	struct buf tcb_info_chain; /* PEM */
	struct buf qe_identity; /* exact signed bytes */
	uint8_t qe_identity_signature[64];
	struct buf qe_identity_chain; /* PEM */
	struct buf root_ca_crl; /* DER */
	struct buf pck_crl; /* DER */
	struct buf pck_crl_chain; /* PEM */
	struct buf pck_chain; /* PEM, optional */
	/* SHA-256 of all the above, once collateral_seal() has set it; what
	 * is sealed must not change. */
	bool sealed;
	uint8_t id[32];
};

/* collateral_id: SHA-256 over all parts, each with its length; what a seal
 * says, or else computed.  collateral_seal computes it once for many uses. */
void collateral_id(uint8_t id[static 32], const struct collateral *c);
void collateral_seal(struct collateral *c);

/* collateral_from_json: ERR_DENIED with REASON_COLLATERAL_INVALID; the caller
 * collateral_fini()s the result.  Nothing is verified here. */
enum err collateral_from_json(
    struct collateral *out, const void *text, size_t len, struct refusal *why);
enum err collateral_to_json(struct buf *out, const struct collateral *c);

/* collateral_split extracts the exact bytes of member `name` and the
 * signature from a PCS reply {"<name>":{...},"signature":"<hex>"}, in either
 * order and without other members: tdx-dcap.md 2.3.  ERR_MALFORMED
 * otherwise.  The inner object's own syntax is checked by its parser, after
 * its signature. */
enum err collateral_split(struct buf *inner, uint8_t signature[static 64],
    struct bytes reply, const char *name);

void collateral_fini(struct collateral *c);

#endif
