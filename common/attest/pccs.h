/* pccs: collateral from a PCCS (or Intel's PCS), cached.
 *
 * tdx-dcap.md 3.3.  Thread-safe, blocking.  TLS is no trust anchor: all that
 * comes is signed and verified by its user.  The cache is in memory, keyed by
 * platform; an entry is fetched anew once half its window or a day has passed
 * (up to an eighth earlier, by chance, so that a fleet does not ask at once),
 * served until its end while refreshing fails (or gives a lower evaluation
 * number), and never used after it.
 *
 * Several providers are asked in turn, each for a whole bundle; the first
 * that gives one in date is asked first again.  One that answers "too many
 * requests" is left alone for as long as it says, at most an hour.
 *
 * A platform that a provider does not know, while none has it, is not asked
 * for again within a minute (the last 64 such are remembered): whoever
 * connects names a platform before anything it shows is verified. */
#ifndef COMMON_ATTEST_PCCS_H
#define COMMON_ATTEST_PCCS_H

#include <stdbool.h>

#include "common/attest/collateral.h"
#include "common/attest/verdict.h"

struct pccs; /* opaque */

enum err pccs_new(struct pccs **out, const char *url, bool insecure_tls);
/* 1 to LIMIT_PCCS providers.  ERR_CONFIG: a bad URL, or too many. */
enum err pccs_new_many(
    struct pccs **out, const char *const *url, size_t n, bool insecure_tls);
void pccs_free(struct pccs *p);

/* pccs_get copies the bundle for a platform into `*out` (caller owns), sealed.
 * ERR_AGAIN with REASON_COLLATERAL_MISSING when it cannot be fetched, or
 * _EXPIRED when what is served is not in date;
 * ERR_DENIED when what came does not parse. */
enum err pccs_get(struct pccs *p, struct collateral *out,
    const uint8_t fmspc[static 6], bool platform_ca, int64_t now,
    struct refusal *why);

/* The same for any kind: pccs_get is for TEE_TDX; TEE_SGX asks for the TCB
 * info and QE identity of SGX.  Others are ERR_CONFIG. */
enum err pccs_get_for(struct pccs *p, struct collateral *out, enum tee_kind tee,
    const uint8_t fmspc[static 6], bool platform_ca, int64_t now,
    struct refusal *why);

/* pccs_forget drops the cached (TDX) bundle of a platform: for a verifier
 * that found it wrong, so that a damaged answer does not live for a day.  The
 * provider it came from is asked last the next time. */
void pccs_forget(
    struct pccs *p, const uint8_t fmspc[static 6], bool platform_ca);

/* Since the beginning. */
struct pccs_stats {
	uint64_t fetches; /* bundles asked of a provider */
	uint64_t unknown; /* refused without asking: not known a moment ago */
};
void pccs_stats(struct pccs_stats *out, struct pccs *p);

#endif
