/* evidence: what one side of a channel shows, and its verifier.
 *
 * The verifier bundles trust anchor, collateral source and policy, and keeps
 * what it has verified (dcap_cache.h) and the highest evaluation numbers
 * (evalfloor.h).  It is thread-safe and blocking (it may fetch collateral):
 * call it from a worker. */
#ifndef COMMON_ATTEST_EVIDENCE_H
#define COMMON_ATTEST_EVIDENCE_H

#include "common/attest/bootinfo.h"
#include "common/attest/dcap.h"
#include "common/attest/evalfloor.h"
#include "common/attest/pccs.h"
#include "common/base/limits.h"

struct evidence {
	enum tee_kind tee;
	struct buf quote; /* owns all; LIMIT_QUOTE and so on apply */
	struct buf event_log;
	struct buf vm_config;
};

void evidence_fini(struct evidence *e);

/* What was verified about a peer, after policy. */
struct attested {
	struct verdict verdict;
	struct boot_info boot;
	int64_t verified_at; /* unix seconds */
};

struct verifier; /* opaque */

struct verifier_options {
	struct bytes simulated_root; /* DER; empty: Intel's root only */
	const char *pccs_url; /* e.g. "http://127.0.0.1:8081" */
	const char *pccs_more[LIMIT_PCCS - 1]; /* asked when that one fails */
	unsigned n_pccs_more;
	bool pccs_insecure_tls;
	struct attest_policy policy;
};

/* The caller owns `*out`; the options are copied. */
enum err verifier_new(struct verifier **out, const struct verifier_options *o);
void verifier_free(struct verifier *v);

/* The evaluation numbers below which collateral is refused, to be persisted
 * and restored by the owner.  Borrowed; thread-safe. */
struct evalfloor *verifier_floors(struct verifier *v);
/* What the caches hold, for status and tests. */
void verifier_cache_stats(struct dcap_cache_stats *out, struct verifier *v);
void verifier_pccs_stats(struct pccs_stats *out, struct verifier *v);

/* verifier_check verifies the evidence in full: quote, collateral, policy,
 * evaluation numbers, report data (equal to `report_data`), event log, OS
 * image.  Collateral that turns out wrong is fetched anew, once at once (from
 * another provider, if there is one) and then the next time.
 * ERR_DENIED with the reason; ERR_AGAIN when collateral cannot be had now
 * (REASON_COLLATERAL_MISSING); ERR_NOMEM, without one. */
enum err verifier_check(struct verifier *v, struct attested *out,
    const struct evidence *e, const uint8_t report_data[static 64],
    enum boot_variant variant, int64_t now, struct refusal *why);

#endif
