/* quotejob: one `kmsctl verify quote`, from its words to its answer. */
#ifndef KMS_CTL_QUOTEJOB_H
#define KMS_CTL_QUOTEJOB_H

#include "common/attest/collateral.h"
#include "kms/ctl/ctl.h"
#include "kms/ctl/quotefile.h"
#include "kms/ctl/quoterefs.h"

struct quotejob {
	struct ctl *c; /* borrows these three */
	const struct args *a;
	const char *source; /* where the evidence is from, for people */
	const char *policy_name;
	int64_t now;
	struct attest_policy policy;
	struct quotefile file; /* owns from here on */
	struct buf root; /* DER of another trust anchor, or empty */
	const char *root_from; /* borrows: who named it */
	const char *pccs; /* borrows: unless --pccs or --collateral; or NULL */
	struct buf event_log, vm_config, compose; /* from options */
	struct quotereport report;

	/* The outcome, filled by the vendor's part. */
	const char *tee; /* static: "tdx", ...; NULL: cannot be told */
	enum tee_kind kind; /* whose policy applies */
	enum err e; /* ERR_OK, or `why` */
	struct refusal why;
	bool insecure; /* the trust anchor is not the vendor's */
	bool genuine; /* signed and in date, whatever the policy says */
	struct verdict verdict; /* when genuine, of an Intel quote */
	const char *status; /* static, when genuine; NULL: none */
	/* Members of the answer; owned, NULL when unknown. */
	json_t *advisory_ids, *platform, *tcb, *measurements, *claims, *boot,
	    *policy_json;
	const char *collateral_from; /* borrows; NULL: none was needed */
};

/* quotejob_intel verifies a TDX or SGX quote.  Returns CTL_OK when there is
 * an outcome, else it has told the user what is wrong with the words. */
enum ctl_exit quotejob_intel(struct quotejob *j);

/* The same for a SEV-SNP report (--vek, --chain, --crl) and for a document of
 * a Nitro enclave (--nonce). */
enum ctl_exit quotejob_snp(struct quotejob *j);
enum ctl_exit quotejob_nitro(struct quotejob *j);

/* quotejob_now and quotejob_policy read these two options. */
enum ctl_exit quotejob_now(struct quotejob *j);
enum ctl_exit quotejob_policy(struct quotejob *j);

/* quotejob_answer tells the outcome, rows and all; `tls` (taken, or NULL) is
 * a member of the answer.  Then quotejob_fini. */
enum ctl_exit quotejob_answer(struct quotejob *j, json_t *tls);
void quotejob_fini(struct quotejob *j);

/* quotejob_keep notes an outcome unless there is an earlier refusal. */
void quotejob_keep(struct quotejob *j, enum err e, const struct refusal *why);

/* quotejob_file reads a file that an option names; absent is empty. */
enum ctl_exit quotejob_file(
    struct quotejob *j, struct buf *out, const char *option, size_t max);

#endif
