/* quotejob_intel: collateral, verification and report of an Intel quote. */
#include <string.h>

#include "common/attest/dcap.h"
#include "common/attest/intelroot.h"
#include "common/attest/pccs.h"
#include "common/base/limits.h"
#include "common/crypto/hash.h"
#include "kms/ctl/quoteintel.h"
#include "kms/ctl/quotejob.h"
#include "kms/ctl/quoteverdict.h"

#define INTEL_PCS "https://api.trustedservices.intel.com"
#define COLLATERAL_FILE_MAX (4u * LIMIT_COLLATERAL)

/* Where the header says which TEE it is: tdx-dcap.md 1.1. */
static const char *
kind_of(struct bytes quote)
{
	static const uint8_t tdx[4] = { 0x81 }, sgx[4] = { 0 };

	if (quote.len < QUOTE_HEADER_LEN)
		return NULL;
	if (memcmp(quote.p + 4, tdx, 4) == 0)
		return "tdx";
	return memcmp(quote.p + 4, sgx, 4) == 0 ? "sgx" : NULL;
}

static enum err
fetch(struct quotejob *j, struct collateral *out, const char *url,
    struct refusal *why)
{
	struct pccs *p = NULL;
	struct dcap_need need;
	enum err e = dcap_need(&need, NULL, buf_view(&j->file.ev.quote), why);

	if (e == ERR_OK)
		e = pccs_new(&p, url, args_has(j->a, "insecure-tls"));
	if (e == ERR_OK)
		e = pccs_get_for(p, out, need.tee, need.fmspc, need.platform_ca,
		    j->now, why);
	pccs_free(p);
	return e;
}

/* The bundle: from a file, from a service, or else from Intel's. */
static enum ctl_exit
get_collateral(struct quotejob *j, struct collateral *out)
{
	const char *url = args_get(j->a, "pccs"),
		   *path = args_get(j->a, "collateral");
	struct refusal why = { .code = REASON_NONE };
	struct buf text = { 0 };
	enum ctl_exit rc = CTL_OK;
	enum err e;

	if (path == NULL && url == NULL)
		url = j->pccs;
	if (path != NULL && url != NULL)
		return ctl_fail(
		    j->c, CTL_USAGE, "--collateral or --pccs, not both");
	if (path != NULL) {
		j->collateral_from = path;
		rc = quotejob_file(j, &text, "collateral", COLLATERAL_FILE_MAX);
		if (rc != CTL_OK)
			return rc;
		e = collateral_from_json(out, text.p, text.len, &why);
	} else {
		if (url == NULL)
			ctl_note(j->c, "asking " INTEL_PCS);
		j->collateral_from = url != NULL ? url : INTEL_PCS;
		e = fetch(j, out, j->collateral_from, &why);
	}
	buf_fini(&text);
	if (e == ERR_CONFIG || e == ERR_MALFORMED)
		return ctl_fail(j->c, CTL_USAGE, "--pccs %.200s: not a URL",
		    url != NULL ? url : "");
	quotejob_keep(j, e, &why);
	return rc;
}

static enum err
get_root(struct quotejob *j, struct dcap_root **out, struct bytes *der,
    const char **from)
{
	uint8_t fp[32];

	*der = (struct bytes){ intel_root_der, sizeof intel_root_der };
	*from = "built in: Intel's";
	if (j->root.len == 0)
		return dcap_root_intel(out);
	*der = buf_view(&j->root);
	*from = j->root_from;
	sha256(fp, der->p, der->len);
	j->insecure = memcmp(fp, intel_root_fingerprint, sizeof fp) != 0;
	j->policy.allow_simulated = true; /* asked for by name */
	return dcap_root_new(out, *der);
}

static void
references(struct quotejob *j, const struct verdict *v)
{
	static const char td_in[] = "TD report", sgx_in[] = "enclave report";
	const struct td_report *td = &v->td;
	const struct quoteref of_td[] = {
		{ "mrtd", td->mrtd, 48, td_in },
		{ "rtmr0", td->rtmr[0], 48, td_in },
		{ "rtmr1", td->rtmr[1], 48, td_in },
		{ "rtmr2", td->rtmr[2], 48, td_in },
		{ "rtmr3", td->rtmr[3], 48, td_in },
		{ "report-data", td->report_data, 64, td_in },
	}, of_sgx[] = {
		{ "mrenclave", v->sgx.mrenclave, 32, sgx_in },
		{ "mrsigner", v->sgx.mrsigner, 32, sgx_in },
		{ "report-data", v->sgx.report_data, 64, sgx_in },
	};
	bool is_td = v->tee == TEE_TDX;
	const struct quoteboot boot = {
		.event_log =
		    buf_view(j->event_log.len > 0 ? &j->event_log
						  : &j->file.ev.event_log),
		.vm_config =
		    buf_view(j->vm_config.len > 0 ? &j->vm_config
						  : &j->file.ev.vm_config),
		.compose = buf_view(&j->compose),
		.vm_config_explicit = j->vm_config.len > 0,
	};
	struct refusal why = { .code = REASON_NONE };

	quotejob_keep(j,
	    quoterefs_check(&j->report, j->a, is_td ? of_td : of_sgx,
		is_td ? sizeof of_td / sizeof of_td[0]
		      : sizeof of_sgx / sizeof of_sgx[0],
		&why),
	    &why);
	if (j->file.has_report_data)
		quotejob_keep(j,
		    quoterefs_reply(&j->report, j->file.report_data,
			is_td ? td->report_data : v->sgx.report_data, &why),
		    &why);
	quotejob_keep(
	    j, quoteboot_check(&j->report, &j->boot, v, &boot, &why), &why);
}

static void
judge(struct quotejob *j, const struct verdict *v)
{
	struct refusal why = { .code = REASON_NONE };

	j->genuine = true;
	j->verdict = *v;
	j->status = tcb_status_text(v->status);
	j->advisory_ids = quoteverdict_advisories(v);
	j->platform = quoteverdict_platform(v);
	j->tcb = quoteverdict_tcb(v);
	j->measurements = quoteverdict_measurements(v);
	quotejob_keep(j, verdict_accept(v, &j->policy, &why), &why);
}

enum ctl_exit
quotejob_intel(struct quotejob *j)
{
	struct bytes quote = buf_view(&j->file.ev.quote);
	struct quoteintel look = { .quote = quote, .now = j->now };
	struct refusal why = { .code = REASON_NONE };
	struct verdict v = { .tee = TEE_TDX };
	struct collateral c = { 0 };
	struct dcap_root *root = NULL;
	enum ctl_exit rc;

	j->tee = kind_of(quote);
	j->kind =
	    j->tee != NULL && strcmp(j->tee, "sgx") == 0 ? TEE_SGX : TEE_TDX;
	if (get_root(j, &root, &look.root_der, &look.root_from) != ERR_OK)
		return ctl_fail(j->c, CTL_USAGE,
		    "--root: not a self-signed P-256 CA certificate");
	if ((rc = get_collateral(j, &c)) != CTL_OK)
		goto done;
	if (j->e == ERR_OK)
		quotejob_keep(
		    j, dcap_verify(&v, quote, &c, root, j->now, &why), &why);
	if (j->e == ERR_OK)
		judge(j, &v);
	look.collateral = &c;
	quoteintel_rows(&j->report, &look);
	quoteverdict_policy(
	    &j->report, j->kind, j->genuine ? &v : NULL, &j->policy);
	if (j->genuine)
		references(j, &v);
	else
		j->claims = quoteintel_claims(quote);
done:
	collateral_fini(&c);
	dcap_root_free(root);
	return rc;
}
