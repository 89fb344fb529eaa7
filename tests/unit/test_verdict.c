#include <string.h>

#include <criterion/criterion.h>

#include "common/attest/verdict.h"

/* A verdict that the default policy accepts. */
static struct verdict
good(void)
{
	struct verdict v = { .tee = TEE_TDX, .status = TCB_UP_TO_DATE };

	v.td.td_attributes[3] = 0x10; /* SEPT_VE_DISABLE */
	v.td.xfam[0] = 0xe7;
	v.td.xfam[1] = 0x02;
	v.td.xfam[2] = 0x06;
	return v;
}

static struct attest_policy
policy(void)
{
	struct attest_policy p;

	attest_policy_default(&p);
	return p;
}

static void
refused(const struct verdict *v, const struct attest_policy *p,
    enum reason want, const char *code)
{
	struct refusal why = { 0 };

	cr_assert(verdict_accept(v, p, &why) == ERR_DENIED, "%s", code);
	cr_assert_eq(why.code, want, "%s", why.detail);
	cr_assert(
	    strncmp(why.detail, code, strlen(code)) == 0, "%s", why.detail);
}

static void
accepted(const struct verdict *v, const struct attest_policy *p)
{
	struct refusal why = { 0 };

	cr_assert(verdict_accept(v, p, &why) == ERR_OK, "%s", why.detail);
}

/* P6: the default accepts UpToDate; a zeroed policy accepts nothing. */
Test(verdict, default_and_none)
{
	struct verdict v = good();
	struct attest_policy p = policy(), none = { 0 };

	accepted(&v, &p);
	refused(&v, &none, REASON_TCB_STATUS, "POLICY_TCB_STATUS");
}

/* P6: each status is accepted only when the policy names it; Revoked never. */
Test(verdict, status)
{
	for (int s = 0; s < TCB_STATUS_COUNT; s++) {
		struct verdict v = good();
		struct attest_policy p = policy();

		v.status = (enum tcb_status)s;
		if (s != TCB_UP_TO_DATE)
			refused(&v, &p, REASON_TCB_STATUS, "POLICY_TCB_STATUS");
		p.status[s] = true;
		if (s == TCB_REVOKED)
			refused(&v, &p, REASON_TCB_STATUS, "POLICY_TCB_STATUS");
		else
			accepted(&v, &p);
	}
	struct verdict v = good();
	struct attest_policy p = policy();

	v.status = TCB_STATUS_COUNT;
	refused(&v, &p, REASON_TCB_STATUS, "POLICY_TCB_STATUS");
}

/* Every advisory must be tolerated by name, whatever the status. */
Test(verdict, advisories)
{
	struct verdict v = good();
	struct attest_policy p = policy();

	strcpy(v.advisory[0], "INTEL-SA-00837");
	strcpy(v.advisory[1], "INTEL-SA-00960");
	v.n_advisories = 2;
	refused(&v, &p, REASON_TCB_STATUS, "POLICY_ADVISORY");
	strcpy(p.advisory[0], "INTEL-SA-00837");
	p.n_advisories = 1;
	refused(&v, &p, REASON_TCB_STATUS, "POLICY_ADVISORY: INTEL-SA-00960");
	strcpy(p.advisory[1], "INTEL-SA-0096"); /* a prefix is another one */
	p.n_advisories = 2;
	refused(&v, &p, REASON_TCB_STATUS, "POLICY_ADVISORY");
	strcpy(p.advisory[1], "INTEL-SA-00960");
	accepted(&v, &p);
	p.n_advisories = 0;
	p.any_advisory = true;
	accepted(&v, &p);
	v.n_advisories = ADVISORY_MAX + 1;
	refused(&v, &p, REASON_TCB_STATUS, "POLICY_ADVISORY");
}

/* P12, P13, P14: of the 64 attribute bits only four may be set, and one must be. */
Test(verdict, td_attributes)
{
	struct attest_policy p = policy();

	for (unsigned bit = 0; bit < 64; bit++) {
		struct verdict v = good();

		v.td.td_attributes[bit / 8] |= (uint8_t)(1u << bit % 8);
		if (bit == 28 || bit == 30 || bit == 31 || bit == 63)
			accepted(&v, &p);
		else if (bit == 0)
			refused(&v, &p, REASON_TD_DEBUG, "POLICY_DEBUG");
		else
			refused(
			    &v, &p, REASON_TD_ATTRIBUTES, "POLICY_TD_RESERVED");
	}
	struct verdict v = good();

	v.td.td_attributes[3] = 0;
	refused(&v, &p, REASON_TD_ATTRIBUTES, "POLICY_SEPT_VE_DISABLE");
	p.allow_no_sept_ve = true;
	accepted(&v, &p);
}

/* Allowing debug allows bit 0 alone. */
Test(verdict, debug)
{
	struct verdict v = good();
	struct attest_policy p = policy();

	v.td.td_attributes[0] = 1;
	refused(&v, &p, REASON_TD_DEBUG, "POLICY_DEBUG");
	p.allow_debug = true;
	accepted(&v, &p);
	v.td.td_attributes[0] = 3;
	refused(&v, &p, REASON_TD_ATTRIBUTES, "POLICY_TD_RESERVED");
}

/* XFAM: x87 and SSE on, nothing undefined. */
Test(verdict, xfam)
{
	struct attest_policy p = policy();
	struct verdict v = good();

	v.td.xfam[0] = 0xe6;
	refused(&v, &p, REASON_TD_ATTRIBUTES, "POLICY_XFAM");
	v.td.xfam[0] = 0xe5;
	refused(&v, &p, REASON_TD_ATTRIBUTES, "POLICY_XFAM");
	v = good();
	v.td.xfam[7] = 0x80;
	refused(&v, &p, REASON_TD_ATTRIBUTES, "POLICY_XFAM");
	v = good();
	v.td.xfam[0] |= 0x08;
	refused(&v, &p, REASON_TD_ATTRIBUTES, "POLICY_XFAM");
}

/* P8, P15: a module of another signer, a bound service TD: no. */
Test(verdict, module_and_service_td)
{
	struct attest_policy p = policy();
	struct verdict v = good();

	v.td.mrsignerseam[47] = 1;
	refused(&v, &p, REASON_TDX_MODULE, "POLICY_SEAM");
	v = good();
	v.td.seam_attributes[7] = 1;
	refused(&v, &p, REASON_TDX_MODULE, "POLICY_SEAM");
	v = good();
	v.td.has_15 = true;
	accepted(&v, &p);
	v.td.mrservicetd[0] = 1;
	refused(&v, &p, REASON_TD_ATTRIBUTES, "POLICY_SERVICE_TD");
	p.allow_service_td = true;
	accepted(&v, &p);
}

/* Simulated platforms, and kinds without a policy, are refused first. */
Test(verdict, simulated_and_kind)
{
	struct attest_policy p = policy();
	struct verdict v = good();

	v.simulated = true;
	refused(&v, &p, REASON_SIMULATED, "POLICY_SIMULATED");
	p.allow_simulated = true;
	accepted(&v, &p);
	for (int k = 0; k < 6; k++) {
		v.tee = (enum tee_kind)k;
		if (v.tee != TEE_TDX && v.tee != TEE_SGX)
			refused(&v, &p, REASON_QUOTE_UNSUPPORTED, "POLICY_TEE");
	}
}

/* P12: an enclave must be initialised and not under debug. */
Test(verdict, sgx)
{
	struct attest_policy p = policy();
	struct verdict v = { .tee = TEE_SGX, .status = TCB_UP_TO_DATE };

	refused(&v, &p, REASON_QUOTE_UNSUPPORTED, "POLICY_TEE");
	p.allow_sgx = true;
	refused(&v, &p, REASON_TD_ATTRIBUTES, "POLICY_SGX_INIT");
	v.sgx.attributes[0] = 0x05;
	accepted(&v, &p);
	v.sgx.attributes[0] = 0x07;
	refused(&v, &p, REASON_TD_DEBUG, "POLICY_DEBUG");
	attest_policy_any(&p);
	refused(&v, &p, REASON_TD_DEBUG, "POLICY_DEBUG");
	p.allow_debug = true;
	accepted(&v, &p);
	v.sgx.attributes[0] = 0x02;
	refused(&v, &p, REASON_TD_ATTRIBUTES, "POLICY_SGX_INIT");
}

/* P6: "any" means any status and advisory, never Revoked nor a debug TD. */
Test(verdict, any)
{
	struct attest_policy p;
	struct verdict v = good();

	attest_policy_any(&p);
	v.n_advisories = 1;
	memcpy(v.advisory[0], "INTEL-SA-00001", 15);
	for (int i = 0; i < TCB_STATUS_COUNT; i++) {
		v.status = (enum tcb_status)i;
		if (v.status == TCB_REVOKED)
			refused(&v, &p, REASON_TCB_STATUS, "POLICY_TCB_STATUS");
		else
			accepted(&v, &p);
	}
	v.status = TCB_UP_TO_DATE;
	v.td.td_attributes[0] = 1;
	refused(&v, &p, REASON_TD_DEBUG, "POLICY_DEBUG");
}

/* A grace counts from the date of the oldest level, to the second; it is for
 * what is merely old, and waives neither configuration nor advisories. */
Test(verdict, grace)
{
	static const struct {
		enum tcb_status status;
		bool late, configuration;
	} c[] = {
		{ TCB_SW_HARDENING, false, false },
		{ TCB_CONFIGURATION, false, false },
		{ TCB_CONFIGURATION_SW, false, false },
		{ TCB_OUT_OF_DATE, true, false },
		{ TCB_OUT_OF_DATE_CONFIGURATION, true, true },
		{ TCB_RELAUNCH, true, false },
		{ TCB_RELAUNCH_CONFIGURATION, true, true },
		{ TCB_REVOKED, false, false },
	};

	for (size_t i = 0; i < sizeof c / sizeof c[0]; i++) {
		struct attest_policy p = policy();
		struct verdict v = good();
		int64_t until = 0;

		v.status = c[i].status;
		v.tcb_date = 1000;
		v.judged_at = 1500;
		refused(&v, &p, REASON_TCB_STATUS, "POLICY_TCB_STATUS");
		p.grace_s = 500;
		if (c[i].configuration) {
			refused(&v, &p, REASON_TCB_STATUS, "POLICY_TCB_STATUS");
			p.status[TCB_CONFIGURATION] = true;
		}
		cr_assert_eq(verdict_in_grace(&until, &v, &p), c[i].late);
		if (!c[i].late) {
			refused(&v, &p, REASON_TCB_STATUS, "POLICY_TCB_STATUS");
			continue;
		}
		cr_assert_eq(until, 1500);
		accepted(&v, &p);
		v.judged_at = 1501;
		refused(&v, &p, REASON_TCB_STATUS, "POLICY_TCB_STATUS");
		v.judged_at = 1500;
		v.n_advisories = 1;
		memcpy(v.advisory[0], "INTEL-SA-00001", 15);
		refused(&v, &p, REASON_TCB_STATUS, "POLICY_ADVISORY");
		v.n_advisories = 0;
		p.grace_s = INT64_MAX; /* the sum would not fit */
		refused(&v, &p, REASON_TCB_STATUS, "POLICY_TCB_STATUS");
		p.grace_s = -1;
		refused(&v, &p, REASON_TCB_STATUS, "POLICY_TCB_STATUS");
		/* A status that is named needs no grace. */
		p.grace_s = 500;
		p.status[v.status] = true;
		v.judged_at = 9999;
		accepted(&v, &p);
		cr_assert(!verdict_in_grace(NULL, &v, &p));
	}
}

/* P25: the two evaluation numbers may differ; each has its own minimum. */
Test(verdict, evaluation_numbers)
{
	struct attest_policy p = policy();
	struct verdict v = good();

	v.tcb_eval_number = 20;
	v.qe_eval_number = 19;
	accepted(&v, &p);
	p.min_tcb_eval = 20;
	p.min_qe_eval = 19;
	accepted(&v, &p);
	p.min_tcb_eval = 21;
	refused(&v, &p, REASON_COLLATERAL_INVALID, "POLICY_EVAL_NUMBER");
	p.min_tcb_eval = 20;
	p.min_qe_eval = 20;
	refused(&v, &p, REASON_COLLATERAL_INVALID, "POLICY_EVAL_NUMBER");
}

/* P27: a fleet that knows its machines admits no other, however genuine. */
Test(verdict, platforms)
{
	struct attest_policy p = policy();
	struct verdict v = good();

	memset(v.ppid, 7, sizeof v.ppid);
	p.n_ppids = 1;
	refused(&v, &p, REASON_PLATFORM, "POLICY_PLATFORM");
	memset(p.ppid[1], 7, sizeof p.ppid[1]);
	refused(&v, &p, REASON_PLATFORM, "POLICY_PLATFORM");
	p.n_ppids = 2;
	accepted(&v, &p);
	v.ppid[15] ^= 1;
	refused(&v, &p, REASON_PLATFORM, "POLICY_PLATFORM");
}

/* Words go both ways, and only Intel's. */
Test(verdict, words)
{
	enum tcb_status s = TCB_REVOKED;

	for (int i = 0; i < TCB_STATUS_COUNT; i++) {
		cr_assert(tcb_status_parse(&s,
			      tcb_status_text((enum tcb_status)i)) == ERR_OK);
		cr_assert_eq((int)s, i);
	}
	cr_assert(tcb_status_parse(&s, "uptodate") == ERR_NOTFOUND);
	cr_assert(tcb_status_parse(&s, "") == ERR_NOTFOUND);
	cr_assert(tcb_status_parse(&s, "UpToDate ") == ERR_NOTFOUND);
	cr_assert_str_eq(tcb_status_text(TCB_STATUS_COUNT), "Unknown");
	cr_assert_str_eq(tee_text(TEE_TDX), "dstack-tdx");
}
