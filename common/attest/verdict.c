/* verdict: words for TEE and TCB status, and the one policy check.
 *
 * The attribute policy is tdx-dcap.md 2.9.  Attributes are judged before the
 * status, so that a debug TD on an old platform is called a debug TD. */
#include <string.h>

#include "common/attest/verdict.h"
#include "common/base/hex.h"

/* TD ATTRIBUTES by bit, as named in tdx-dcap.md 2.9. */
#define TD_BIT(n) (UINT64_C(1) << (n))
#define TD_DEBUG TD_BIT(0)
#define TD_TUD UINT64_C(0xff) /* bits 0..7: the TD is under debug */
#define TD_SEPT_VE_DISABLE TD_BIT(28)
#define TD_PKS TD_BIT(30)
#define TD_KL TD_BIT(31)
#define TD_PERFMON TD_BIT(63)
/* All that may be set: not 29, MIGRATABLE, nor what is new (16, 27, 62). */
#define TD_KNOWN (TD_SEPT_VE_DISABLE | TD_PKS | TD_KL | TD_PERFMON)

/* XFAM: x87 and SSE must be on; what the architecture does not define must
 * be off. */
#define XFAM_FIXED1 UINT64_C(0x3)
#define XFAM_KNOWN UINT64_C(0x0006dbe7)

/* SGX ATTRIBUTES, flags: tdx-dcap.md 1.3. */
#define SGX_INIT UINT64_C(0x1)
#define SGX_DEBUG UINT64_C(0x2)

const char *
tee_text(enum tee_kind k)
{
	switch (k) {
	case TEE_TDX:
		return "dstack-tdx";
	case TEE_SEV_SNP:
		return "dstack-amd-sev-snp";
	case TEE_NITRO:
		return "dstack-nitro-enclave";
	case TEE_SGX:
		return "sgx";
	}
	return "unknown";
}

static const char *const status_text[TCB_STATUS_COUNT] = {
#define X(name, text) [TCB_##name] = text,
	TCB_STATUS_LIST(X)
#undef X
};

const char *
tcb_status_text(enum tcb_status s)
{
	return (unsigned)s < TCB_STATUS_COUNT ? status_text[s] : "Unknown";
}

enum err
tcb_status_parse(enum tcb_status *out, const char *text)
{
	for (unsigned i = 0; i < TCB_STATUS_COUNT; i++)
		if (strcmp(status_text[i], text) == 0) {
			*out = (enum tcb_status)i;
			return ERR_OK;
		}
	return ERR_NOTFOUND;
}

void
attest_policy_default(struct attest_policy *out)
{
	memset(out, 0, sizeof *out);
	out->status[TCB_UP_TO_DATE] = true;
}

void
attest_policy_any(struct attest_policy *out)
{
	attest_policy_default(out);
	for (unsigned i = 0; i < TCB_STATUS_COUNT; i++)
		out->status[i] = i != TCB_REVOKED;
	out->any_advisory = true;
	out->allow_snp = true;
	out->allow_nitro = true;
	for (unsigned i = 0; i < SNP_PRODUCT_COUNT; i++)
		out->snp.product[i] = true;
	for (unsigned i = 0; i < SNP_N_VMPL; i++)
		out->snp.vmpl[i] = true;
	out->snp.allow_vlek = true;
	out->snp.allow_masked_chip = true;
	out->snp.allow_no_alias_check = true;
	out->snp.allow_no_crl = true;
	out->allow_sgx = true;
}

static uint64_t
le64(const uint8_t b[static 8])
{
	uint64_t v = 0;

	for (int i = 7; i >= 0; i--)
		v = v << 8 | b[i];
	return v;
}

static bool
is_zero(const uint8_t *p, size_t len)
{
	uint8_t any = 0;

	for (size_t i = 0; i < len; i++)
		any |= p[i];
	return any == 0;
}

static enum err
td_accept(const struct td_report *td, const struct attest_policy *p,
    struct refusal *why)
{
	uint64_t attr = le64(td->td_attributes);
	uint64_t xfam = le64(td->xfam);
	uint64_t known = TD_KNOWN | (p->allow_debug ? TD_DEBUG : 0);

	if ((attr & TD_DEBUG) != 0 && !p->allow_debug)
		return refuse(why, REASON_TD_DEBUG,
		    "POLICY_DEBUG: attributes 0x%llx",
		    (unsigned long long)attr);
	if ((attr & TD_TUD & ~TD_DEBUG) != 0)
		return refuse(why, REASON_TD_ATTRIBUTES,
		    "POLICY_TD_RESERVED: 0x%llx, under profiling",
		    (unsigned long long)attr);
	if ((attr & ~known) != 0)
		return refuse(why, REASON_TD_ATTRIBUTES,
		    "POLICY_TD_RESERVED: 0x%llx", (unsigned long long)attr);
	if ((attr & TD_SEPT_VE_DISABLE) == 0 && !p->allow_no_sept_ve)
		return refuse(why, REASON_TD_ATTRIBUTES,
		    "POLICY_SEPT_VE_DISABLE: 0x%llx", (unsigned long long)attr);
	if ((xfam & XFAM_FIXED1) != XFAM_FIXED1 || (xfam & ~XFAM_KNOWN) != 0)
		return refuse(why, REASON_TD_ATTRIBUTES, "POLICY_XFAM: 0x%llx",
		    (unsigned long long)xfam);
	if (!is_zero(td->mrsignerseam, sizeof td->mrsignerseam) ||
	    !is_zero(td->seam_attributes, sizeof td->seam_attributes))
		return refuse(why, REASON_TDX_MODULE,
		    "POLICY_SEAM: not an Intel production module");
	if (td->has_15 && !p->allow_service_td &&
	    !is_zero(td->mrservicetd, sizeof td->mrservicetd))
		return refuse(why, REASON_TD_ATTRIBUTES,
		    "POLICY_SERVICE_TD: a service TD is bound");
	return ERR_OK;
}

/* An enclave: flags are the first eight bytes of ATTRIBUTES, 1.3. */
static enum err
sgx_accept(const struct sgx_report *r, const struct attest_policy *p,
    struct refusal *why)
{
	uint64_t flags = le64(r->attributes);

	if ((flags & SGX_DEBUG) != 0 && !p->allow_debug)
		return refuse(why, REASON_TD_DEBUG,
		    "POLICY_DEBUG: enclave attributes 0x%llx",
		    (unsigned long long)flags);
	if ((flags & SGX_INIT) == 0)
		return refuse(why, REASON_TD_ATTRIBUTES,
		    "POLICY_SGX_INIT: enclave attributes 0x%llx",
		    (unsigned long long)flags);
	return ERR_OK;
}

/* P27: the right kind of machine, but one in an attacker's hands? */
static enum err
platform_accept(
    const struct verdict *v, const struct attest_policy *p, struct refusal *why)
{
	bool listed = p->n_ppids == 0;
	char hex[2 * sizeof v->ppid + 1];

	for (unsigned i = 0; i < p->n_ppids && i < POLICY_PLATFORMS_MAX; i++)
		listed |= memcmp(p->ppid[i], v->ppid, sizeof v->ppid) == 0;
	if (!listed)
		return refuse(why, REASON_PLATFORM,
		    "POLICY_PLATFORM: PPID %s is not listed",
		    hex_encode(hex, v->ppid, sizeof v->ppid));
	if (v->tcb_eval_number < p->min_tcb_eval ||
	    v->qe_eval_number < p->min_qe_eval)
		return refuse(why, REASON_COLLATERAL_INVALID,
		    "POLICY_EVAL_NUMBER: TCB info %u, QE identity %u",
		    v->tcb_eval_number, v->qe_eval_number);
	return ERR_OK;
}

static bool
advisory_listed(const struct attest_policy *p, const char *id)
{
	for (unsigned i = 0; i < p->n_advisories && i < ADVISORY_MAX; i++)
		if (strncmp(p->advisory[i], id, ADVISORY_LEN) == 0)
			return true;
	return false;
}

static bool
status_named(const struct verdict *v, const struct attest_policy *p)
{
	return (unsigned)v->status < TCB_STATUS_COUNT && p->status[v->status];
}

bool
verdict_in_grace(
    int64_t *until, const struct verdict *v, const struct attest_policy *p)
{
	bool late = v->status == TCB_OUT_OF_DATE || v->status == TCB_RELAUNCH;
	int64_t end;

	/* Time cures no configuration: that part must be named. */
	if (v->status == TCB_OUT_OF_DATE_CONFIGURATION ||
	    v->status == TCB_RELAUNCH_CONFIGURATION)
		late = p->status[TCB_CONFIGURATION];
	if (!late || status_named(v, p) || p->grace_s <= 0 ||
	    __builtin_add_overflow(v->tcb_date, p->grace_s, &end) ||
	    v->judged_at > end)
		return false;
	if (until != NULL)
		*until = end;
	return true;
}

static enum err
status_accept(
    const struct verdict *v, const struct attest_policy *p, struct refusal *why)
{
	/* Revoked is no status that an operator may wave through. */
	if (v->status == TCB_REVOKED ||
	    (!status_named(v, p) && !verdict_in_grace(NULL, v, p)))
		return refuse(why, REASON_TCB_STATUS,
		    "POLICY_TCB_STATUS: %s (platform %s, module %s, QE %s)",
		    tcb_status_text(v->status),
		    tcb_status_text(v->platform_status),
		    tcb_status_text(v->module_status),
		    tcb_status_text(v->qe_status));
	if (v->n_advisories > ADVISORY_MAX)
		return refuse(why, REASON_TCB_STATUS, "POLICY_ADVISORY: count");
	if (p->any_advisory)
		return ERR_OK;
	for (unsigned i = 0; i < v->n_advisories; i++)
		if (!advisory_listed(p, v->advisory[i]))
			return refuse(why, REASON_TCB_STATUS,
			    "POLICY_ADVISORY: %.*s", ADVISORY_LEN,
			    v->advisory[i]);
	return ERR_OK;
}

/* Intel's words do not apply; should anyone read them, they must not say
 * "UpToDate", which is what zero means. */
static void
not_intels(struct verdict *out, enum tee_kind tee)
{
	memset(out, 0, sizeof *out);
	out->tee = tee;
	out->status = TCB_REVOKED;
	out->platform_status = TCB_REVOKED;
	out->module_status = TCB_REVOKED;
	out->qe_status = TCB_REVOKED;
}

void
verdict_of_snp(struct verdict *out, const struct snp_verdict *v)
{
	not_intels(out, TEE_SEV_SNP);
	out->valid_from = v->valid_from;
	out->valid_until = v->valid_until;
	memcpy(out->root_fingerprint, v->ark_fingerprint, 32);
	out->simulated = v->simulated;
	out->snp = *v;
}

void
verdict_of_nitro(struct verdict *out, const struct nitro_verdict *v)
{
	not_intels(out, TEE_NITRO);
	out->valid_from = v->valid_from;
	out->valid_until = v->valid_until;
	memcpy(out->root_fingerprint, v->root_fingerprint, 32);
	out->simulated = v->simulated;
	out->nitro = *v;
}

/* What both kinds of Intel's have in common, after their attributes. */
static enum err
intel_accept(
    const struct verdict *v, const struct attest_policy *p, struct refusal *why)
{
	enum err e = v->tee == TEE_TDX ? td_accept(&v->td, p, why)
				       : sgx_accept(&v->sgx, p, why);

	if (e != ERR_OK || (e = platform_accept(v, p, why)) != ERR_OK)
		return e;
	return status_accept(v, p, why);
}

enum err
verdict_accept(const struct verdict *v, const struct attest_policy *policy,
    struct refusal *why)
{
	if (v->simulated && !policy->allow_simulated)
		return refuse(why, REASON_SIMULATED,
		    "POLICY_SIMULATED: the root is not the vendor's");
	switch (v->tee) {
	case TEE_TDX:
		return intel_accept(v, policy, why);
	case TEE_SEV_SNP:
		if (policy->allow_snp)
			return snp_accept(&v->snp, &policy->snp, why);
		break;
	case TEE_NITRO:
		if (policy->allow_nitro)
			return nitro_accept(&v->nitro, &policy->nitro, why);
		break;
	case TEE_SGX:
		if (policy->allow_sgx)
			return intel_accept(v, policy, why);
		break;
	}
	/* A kind without a policy of its own must not pass by default. */
	return refuse(
	    why, REASON_QUOTE_UNSUPPORTED, "POLICY_TEE: %s", tee_text(v->tee));
}
