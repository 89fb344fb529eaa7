/* tcbinfo: Intel's two signed documents, TCB info (TDX or SGX, version 3) and
 * QE identity (TD_QE or QE, version 2): tdx-dcap.md 2.3.
 *
 * Parse only what a verified signature covers.  Strict: one encoding per
 * value, no duplicate keys, unknown statuses refused; unknown keys allowed,
 * since Intel adds some.  Levels come out sorted, newest first, whatever the
 * order in the text. */
#ifndef COMMON_ATTEST_TCBINFO_H
#define COMMON_ATTEST_TCBINFO_H

#include "common/attest/verdict.h"
#include "common/base/json.h"

#define TCB_COMPS 16

/* Borrowed from the document until it goes. */
struct advisories {
	const char *id[ADVISORY_MAX];
	unsigned n;
};

/* What a matched level says, of whichever kind. */
struct level_says {
	enum tcb_status status;
	int64_t date; /* unix seconds */
	struct advisories advisories;
};

struct tcb_level {
	uint8_t sgx[TCB_COMPS];
	uint16_t pcesvn;
	uint8_t tdx[TCB_COMPS]; /* TDX only, else zero */
	struct level_says says;
};

/* Levels of the QE or of a TDX module: one SVN. */
struct svn_level {
	uint16_t isvsvn;
	struct level_says says;
};

struct tdx_module {
	uint8_t mrsigner[48];
	uint8_t attributes[8];
	uint8_t attributes_mask[8];
};

struct tdx_module_identity {
	int version; /* of "TDX_<hex>"; -1: another kind of id */
	struct tdx_module expect;
	struct svn_level *level; /* owns; sorted, newest first */
	size_t n_levels;
};

struct signed_dates {
	int64_t issued;
	int64_t next_update;
	uint32_t eval_number;
};

struct tcb_info {
	json_t *doc; /* owns */
	enum tee_kind tee; /* TEE_TDX or TEE_SGX: whose levels these are */
	struct signed_dates signed_at;
	uint8_t fmspc[6];
	uint8_t pceid[2];
	struct tdx_module module; /* TDX only, as are the identities */
	struct tdx_module_identity *identity; /* owns */
	size_t n_identities;
	struct tcb_level *level; /* owns; sorted, newest first */
	size_t n_levels;
};

struct qe_identity {
	json_t *doc; /* owns */
	enum tee_kind tee; /* TEE_TDX: of the TD_QE; TEE_SGX: of the QE */
	struct signed_dates signed_at;
	uint8_t miscselect[4];
	uint8_t miscselect_mask[4];
	uint8_t attributes[16];
	uint8_t attributes_mask[16];
	uint8_t mrsigner[32];
	uint16_t isvprodid;
	struct svn_level *level; /* owns; sorted, newest first */
	size_t n_levels;
};

/* ERR_DENIED with REASON_COLLATERAL_INVALID (codes JSON, TCB_INFO_MISMATCH,
 * QE_IDENTITY_MISMATCH) or ERR_NOMEM; the caller _fini()s on success, and
 * compares `tee` with the quote's. */
enum err tcb_info_parse(
    struct tcb_info *out, struct bytes text, struct refusal *why);
void tcb_info_fini(struct tcb_info *t);
enum err qe_identity_parse(
    struct qe_identity *out, struct bytes text, struct refusal *why);
void qe_identity_fini(struct qe_identity *q);

/* tcb_date_parse reads exactly "YYYY-MM-DDTHH:MM:SSZ". */
enum err tcb_date_parse(int64_t *out, const char *text);

#endif
