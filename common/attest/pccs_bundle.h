/* pccs_bundle: a platform's collateral from one provider: four documents,
 * and the window in which all of them are in date.
 *
 * tdx-dcap.md 3.3.  Blocking; keeps nothing.  What comes is parsed as far as
 * its window and its evaluation numbers; it is not verified. */
#ifndef COMMON_ATTEST_PCCS_BUNDLE_H
#define COMMON_ATTEST_PCCS_BUNDLE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/attest/collateral.h"
#include "common/attest/verdict.h"

#define PCCS_PAUSE_MAX_S 3600 /* that a provider may ask for */

struct pccs_key {
	enum tee_kind tee; /* TEE_TDX or TEE_SGX */
	uint8_t fmspc[6];
	bool platform_ca;
};

struct pccs_bundle {
	struct collateral c; /* owns; sealed */
	int64_t from, until; /* the common window of all four */
	uint64_t number[2]; /* of TCB info and QE identity, as they say */
};

/* What a failure says about the next attempt. */
struct pccs_trouble {
	int64_t pause_s; /* the provider is not to be asked for so long */
	bool unknown; /* it says that there is no such platform */
};

/* pccs_bundle_fetch asks `base` (a URL without a slash at its end).  `*out`
 * is the caller's on ERR_OK, and untouched otherwise; `*trouble` is written.
 * Errors as pccs_get (pccs.h). */
enum err pccs_bundle_fetch(struct pccs_bundle *out,
    struct pccs_trouble *trouble, const struct pccs_key *k, const char *base,
    bool insecure_tls, int64_t now, struct refusal *why);
enum err pccs_bundle_copy(struct collateral *out, const struct pccs_bundle *b);

#endif
