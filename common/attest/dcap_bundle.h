/* dcap_bundle: collateral, verified once; and a PCK chain under it.
 *
 * Steps 2 to 6 of tdx-dcap.md 2.5.  Both objects are immutable and counted:
 * any thread may use them, and keep them while it holds a reference.  They
 * are true from window.from to window.until, both included, and say nothing
 * outside: the user compares. */
#ifndef COMMON_ATTEST_DCAP_BUNDLE_H
#define COMMON_ATTEST_DCAP_BUNDLE_H

#include "common/attest/collateral.h"
#include "common/attest/dcap_cache.h"
#include "common/attest/dcap_root.h"
#include "common/attest/tcbinfo.h"
#include "common/attest/x509chain.h"

/* Fields are for dcap.c. */
struct dcap_bundle {
	struct dcap_obj obj; /* first */
	uint8_t id[32]; /* of the collateral and the root */
	const struct dcap_root *root; /* borrows: outlives the bundle */
	struct crl *root_crl; /* owns all these */
	struct crl *pck_crl; /* parsed; verified with the CA of a PCK chain */
	struct tcb_info tcb;
	struct qe_identity qe;
	struct buf pck_chain; /* PEM, for quotes without one; may be empty */
	struct window window;
};

/* dcap_bundle_id: the key of a bundle in a cache. */
void dcap_bundle_id(uint8_t id[static 32], const struct collateral *c,
    const struct dcap_root *root);

/* dcap_bundle_new verifies root CRL, both documents and their issuer chains
 * as of `now`, and parses the PCK CRL.  The caller owns `*out` (unref).
 * ERR_DENIED with REASON_COLLATERAL_*; ERR_NOMEM. */
enum err dcap_bundle_new(struct dcap_bundle **out, const struct collateral *c,
    const struct dcap_root *root, int64_t now, struct refusal *why);
void dcap_bundle_unref(struct dcap_bundle *b); /* NULL is fine */

/* Fields are for dcap.c. */
struct dcap_pck {
	struct dcap_obj obj; /* first */
	struct cert *leaf; /* owns */
	struct pckext facts;
	bool platform_ca;
	struct window window; /* of the chain and of its CRL */
};

/* dcap_pck_new verifies the PEM text of a PCK chain, its CRL included.
 * ERR_DENIED with REASON_PCK_CHAIN, _REVOKED or _COLLATERAL_*. */
enum err dcap_pck_new(struct dcap_pck **out, struct bytes pem,
    const struct dcap_bundle *b, int64_t now, struct refusal *why);
void dcap_pck_unref(struct dcap_pck *p); /* NULL is fine */

static inline bool
window_has(const struct window *w, int64_t now)
{
	return w->from <= now && now <= w->until;
}

#endif
