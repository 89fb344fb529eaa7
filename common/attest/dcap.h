/* dcap: verification of Intel quotes, after Intel's algorithm.
 *
 * Follows tdx-dcap.md section 2.  Any thread may call; `now` is unix seconds
 * and is never read inside.  The result is a verdict; see verdict.h for who
 * may accept it.
 *
 * Three ways to the same verdict: dcap_verify does everything from bytes;
 * dcap_verify_cached does each part once and keeps it; dcap_verify_bundle is
 * for a caller that keeps the bundle itself. */
#ifndef COMMON_ATTEST_DCAP_H
#define COMMON_ATTEST_DCAP_H

#include "common/attest/dcap_bundle.h"
#include "common/attest/quote.h"

/* dcap_verify checks quote and collateral in full (signatures, chains,
 * CRLs, dates, QE identity, TCB levels, module identity).  TDX quotes of
 * versions 4 and 5, SGX quotes of versions 3, 4 and 5; certification data of
 * type 5, or of another type with the PCK chain in the collateral.
 * ERR_OK: `*out` is filled.  ERR_DENIED: `*why` has the reason; its detail
 * begins with the reject code of tdx-dcap.md 2.5, e.g. "QE_REPORT_SIG: ...".
 * ERR_NOMEM. */
enum err dcap_verify(struct verdict *out, struct bytes quote,
    const struct collateral *c, const struct dcap_root *root, int64_t now,
    struct refusal *why);

/* The same, with what `k` holds taken as verified, if its window has `now`;
 * what it lacks is verified and put there. */
enum err dcap_verify_cached(struct verdict *out, struct dcap_cache *k,
    struct bytes quote, const struct collateral *c,
    const struct dcap_root *root, int64_t now, struct refusal *why);

/* The same for a bundle; `k` may be NULL.  A bundle whose window has not
 * `now` is REASON_COLLATERAL_EXPIRED. */
enum err dcap_verify_bundle(struct verdict *out, struct dcap_cache *k,
    struct bytes quote, struct dcap_bundle *b, int64_t now,
    struct refusal *why);

/* What collateral a quote asks for. */
struct dcap_need {
	enum tee_kind tee; /* TEE_TDX or TEE_SGX */
	uint8_t fmspc[6];
	bool platform_ca; /* the PCK comes from the Platform CA */
};

/* dcap_need reads, without verifying, which collateral a quote needs.  `k`
 * may be NULL. */
enum err dcap_need(struct dcap_need *out, struct dcap_cache *k,
    struct bytes quote, struct refusal *why);

/* The two facts alone. */
enum err dcap_platform(uint8_t fmspc[static 6], bool *platform_ca,
    struct bytes quote, struct refusal *why);

#endif
