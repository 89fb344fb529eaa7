/* x509chain: certificates and CRLs of Intel's PKI: tdx-dcap.md 2.2.
 *
 *   root --> PCK CA --> PCK leaf     root CRL: PCK CA and TCB signer
 *       \--> TCB signer              PCK CRL: PCK leaves
 *
 * The tree is that small and its shapes are fixed, so each link is checked
 * by name rather than by a general path search: the same rules as OpenSSL's
 * strict mode with CRLs for every certificate, plus the roles, which a path
 * search does not know.  Each object is parsed once, each signature checked
 * once.  Details of refusals begin with a reject code of 2.5. */
#ifndef COMMON_ATTEST_X509CHAIN_H
#define COMMON_ATTEST_X509CHAIN_H

#include "common/attest/cert.h"
#include "common/base/reason.h"

/* The window in which everything that was checked is in date. */
struct window {
	int64_t from;
	int64_t until;
};

/* Narrows `w` to its common part with [from, until]. */
void window_narrow(struct window *w, int64_t from, int64_t until);

/* What a chain is verified against. */
struct chain_rules {
	const struct cert *root; /* the pinned one */
	struct bytes root_der;
	const struct crl *root_crl;
	int64_t now;
};

/* chain_root verifies root and root CRL as of `now`; `what` names them in
 * the refusal.  Call it once, before the two below. */
enum err chain_root(
    const struct chain_rules *r, struct window *w, struct refusal *why);

/* chain_signer verifies PEM text that is exactly a TCB signing certificate
 * (and perhaps the pinned root).  The caller owns `*out`. */
enum err chain_signer(struct cert **out, struct bytes pem, const char *what,
    const struct chain_rules *r, struct window *w, struct refusal *why);

/* chain_pck verifies PEM text that is exactly PCK leaf, PCK CA (and perhaps
 * the pinned root) against the CRL of that CA.  The caller owns `*out`. */
enum err chain_pck(struct cert **out, struct bytes pem,
    const struct crl *pck_crl, const struct chain_rules *r, struct window *w,
    struct refusal *why);

#endif
