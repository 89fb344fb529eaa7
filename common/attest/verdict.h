/* verdict: what verified evidence says, and the policy that may accept it.
 *
 * Vendor-neutral vocabulary.  A verdict is a statement of facts that were
 * all signed and checked; it is not an approval.  Only verdict_accept,
 * with a policy, says yes: nothing else turns a verdict into trust. */
#ifndef COMMON_ATTEST_VERDICT_H
#define COMMON_ATTEST_VERDICT_H

#include <stdbool.h>
#include <stdint.h>

#include "common/attest/nitro.h"
#include "common/attest/snp.h"
#include "common/base/buf.h"
#include "common/base/reason.h"

enum tee_kind {
	TEE_TDX = 1,
	TEE_SEV_SNP = 2,
	TEE_NITRO = 3,
	TEE_SGX = 4,
};

/* tee_text returns dstack's word, e.g. "dstack-tdx". */
const char *tee_text(enum tee_kind k);

#define TCB_STATUS_LIST(X) \
	X(UP_TO_DATE, "UpToDate") \
	X(SW_HARDENING, "SWHardeningNeeded") \
	X(CONFIGURATION, "ConfigurationNeeded") \
	X(CONFIGURATION_SW, "ConfigurationAndSWHardeningNeeded") \
	X(OUT_OF_DATE, "OutOfDate") \
	X(OUT_OF_DATE_CONFIGURATION, "OutOfDateConfigurationNeeded") \
	X(RELAUNCH, "TDRelaunchAdvised") \
	X(RELAUNCH_CONFIGURATION, "TDRelaunchAdvisedConfigurationNeeded") \
	X(REVOKED, "Revoked")

enum tcb_status {
#define X(name, text) TCB_##name,
	TCB_STATUS_LIST(X)
#undef X
	    TCB_STATUS_COUNT
};

const char *tcb_status_text(enum tcb_status s);
/* ERR_NOTFOUND for a word that Intel does not define. */
enum err tcb_status_parse(enum tcb_status *out, const char *text);

#define ADVISORY_LEN 24 /* "INTEL-SA-00837" and the like, with its NUL */
#define ADVISORY_MAX 64

/* The body of a TD report: tdx-dcap.md 1.4.  Bytes as in the quote. */
struct td_report {
	uint8_t tee_tcb_svn[16];
	uint8_t mrseam[48];
	uint8_t mrsignerseam[48];
	uint8_t seam_attributes[8];
	uint8_t td_attributes[8];
	uint8_t xfam[8];
	uint8_t mrtd[48];
	uint8_t mrconfigid[48];
	uint8_t mrowner[48];
	uint8_t mrownerconfig[48];
	uint8_t rtmr[4][48];
	uint8_t report_data[64];
	bool has_15; /* the two below are there (TD 1.5 body) */
	uint8_t tee_tcb_svn_2[16];
	uint8_t mrservicetd[48];
};

/* The body of an SGX report: tdx-dcap.md 1.3.  Bytes as in the quote, but
 * for the two numbers. */
struct sgx_report {
	uint8_t cpusvn[16];
	uint8_t miscselect[4];
	uint8_t attributes[16]; /* flags, then XFRM */
	uint8_t mrenclave[32];
	uint8_t mrsigner[32];
	uint16_t isvprodid;
	uint16_t isvsvn;
	uint8_t report_data[64];
};

struct verdict {
	enum tee_kind tee;
	int64_t judged_at; /* the `now` of the verification */
	enum tcb_status status; /* merged: what a policy looks at */
	enum tcb_status platform_status;
	enum tcb_status module_status; /* UP_TO_DATE when there is none */
	enum tcb_status qe_status;
	char advisory[ADVISORY_MAX][ADVISORY_LEN];
	unsigned n_advisories;
	int64_t tcb_date; /* earliest of the three, unix seconds */
	int64_t platform_date; /* each level's own; 0: no such level */
	int64_t module_date;
	int64_t qe_date;
	int64_t valid_from; /* window in which all collateral is in date */
	int64_t valid_until;
	uint32_t tcb_eval_number; /* of TCB info */
	uint32_t qe_eval_number;
	uint8_t fmspc[6];
	uint8_t pceid[2];
	uint8_t ppid[16];
	uint8_t cpusvn[16]; /* of the PCK certificate, as the next */
	uint16_t pcesvn;
	uint16_t qe_isvsvn;
	uint8_t root_fingerprint[32]; /* SHA-256 of the root's DER */
	bool simulated; /* the root is not the vendor's own */
	/* By `tee`; the others are zero.  Side by side rather than a union, so
	 * that a reader who forgets `tee` finds zeros and no other vendor's
	 * bytes.  Status, advisories, evaluation numbers, FMSPC and PPID are
	 * Intel's notions: with other vendors the status is TCB_REVOKED. */
	struct td_report td; /* TEE_TDX */
	struct sgx_report sgx; /* TEE_SGX */
	struct snp_verdict snp; /* TEE_SEV_SNP */
	struct nitro_verdict nitro; /* TEE_NITRO */
};

/* verdict_of_snp, verdict_of_nitro: a vendor's verdict as a verdict. */
void verdict_of_snp(struct verdict *out, const struct snp_verdict *v);
void verdict_of_nitro(struct verdict *out, const struct nitro_verdict *v);

#define POLICY_PLATFORMS_MAX 64

/* What is acceptable.  Zeroed = nothing; attest_policy_default = a KMS's:
 * TDX only, UpToDate only and no advisory, no debug, SEPT_VE_DISABLE set, no
 * service TD.  TCB_REVOKED is refused whatever the policy says. */
struct attest_policy {
	bool status[TCB_STATUS_COUNT];
	/* Time to patch.  A status that `status` does not name is accepted if
	 * it is out of date (OutOfDate, TDRelaunchAdvised, or one of these
	 * with ConfigurationNeeded when that alone would be accepted) and
	 * judged_at <= tcb_date + grace_s.  tcb_date is the date of the oldest
	 * level matched, so the count begins before the newer level existed:
	 * a bound on how old the platform's TCB may be, never on how late a
	 * patch is.  0 = no grace.  Advisories must be tolerated as ever;
	 * expired collateral, or Revoked, never has a grace (2.12). */
	int64_t grace_s;
	/* Lowest acceptable tcbEvaluationDataNumber of TCB info and of the QE
	 * identity; they may differ in a healthy bundle (2.3).  0 = any. */
	uint32_t min_tcb_eval;
	uint32_t min_qe_eval;
	/* Only these machines, by PPID (P27); by default any. */
	uint8_t ppid[POLICY_PLATFORMS_MAX][16];
	unsigned n_ppids;
	/* Advisories tolerated, with whatever status; by default none. */
	char advisory[ADVISORY_MAX][ADVISORY_LEN];
	unsigned n_advisories;
	bool any_advisory;
	bool allow_debug;
	bool allow_service_td;
	bool allow_no_sept_ve;
	bool allow_simulated; /* of whichever vendor */
	bool allow_sgx; /* an enclave's verdict; keys go to TDs alone */
	/* Other vendors: off unless allowed, then by their own policies. */
	bool allow_snp;
	bool allow_nitro;
	struct snp_policy snp;
	struct nitro_policy nitro;
};

void attest_policy_default(struct attest_policy *out);

/* attest_policy_any sets a policy of what is never negotiable only: any kind
 * of TEE, any status but Revoked, any advisory; with SEV-SNP any product,
 * VMPL and key; but attributes are judged as by default, and there is no
 * debugging. */
void attest_policy_any(struct attest_policy *out);

/* verdict_accept checks the verdict against the policy: simulated root,
 * attributes (tdx-dcap.md 2.9: of a TD, with XFAM and service TD; of an
 * enclave, DEBUG and INIT), platform, evaluation numbers, status, advisories;
 * SEV-SNP and Nitro by snp_accept and nitro_accept, if the policy allows the
 * kind at all.  ERR_OK or ERR_DENIED with the first reason in `*why`; a kind
 * that is not allowed is REASON_QUOTE_UNSUPPORTED.  That an enclave's verdict
 * is accepted gives it no key: bootinfo.h knows TDs only. */
enum err verdict_accept(const struct verdict *v,
    const struct attest_policy *policy, struct refusal *why);

/* verdict_in_grace: is it the policy's grace alone that makes the status
 * acceptable?  Then `*until` (unless NULL) is its last second. */
bool verdict_in_grace(int64_t *until, const struct verdict *v,
    const struct attest_policy *policy);

#endif
