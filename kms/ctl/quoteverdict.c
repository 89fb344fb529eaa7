#include <string.h>

#include "common/base/hex.h"
#include "common/crypto/hash.h"
#include "kms/ctl/quoteverdict.h"

static void
row_td(struct quotereport *r, const char *check, const uint8_t *found,
    size_t len, const char *expected, const char *codes)
{
	char text[2 * 64 + 1];

	quotereport_row(r,
	    &(struct quoterow){ .step = 13,
		.check = check,
		.found = found != NULL ? hex_encode(text, found, len) : NULL,
		.found_in = "TD report",
		.expected = expected,
		.expected_in = "policy",
		.codes = codes });
}

/* What the policy allows, as a list; cut if it is very long. */
static const char *
allowed(char out[static QUOTEREPORT_TEXT], const struct attest_policy *p)
{
	size_t n = 0;

	out[0] = '\0';
	for (unsigned s = 0; s < TCB_STATUS_COUNT; s++)
		if (p->status[s] && n < QUOTEREPORT_TEXT)
			n += (size_t)snprintf(out + n, QUOTEREPORT_TEXT - n,
			    "%s%s", n > 0 ? ", " : "",
			    tcb_status_text((enum tcb_status)s));
	return out;
}

static const char *
advisories(char out[static QUOTEREPORT_TEXT],
    const char list[static ADVISORY_MAX][ADVISORY_LEN], unsigned n_list)
{
	size_t n = 0;

	(void)snprintf(out, QUOTEREPORT_TEXT, "none");
	for (unsigned i = 0; i < n_list && n < QUOTEREPORT_TEXT; i++)
		n += (size_t)snprintf(out + n, QUOTEREPORT_TEXT - n, "%s%s",
		    n > 0 ? ", " : "", list[i]);
	return out;
}

static void
rows_status(struct quotereport *r, const struct verdict *v,
    const struct attest_policy *p)
{
	char found[QUOTEREPORT_TEXT], may[QUOTEREPORT_TEXT],
	    with[QUOTEREPORT_TEXT + 64], date[QUOTEREPORT_DATE];
	int64_t until;

	allowed(may, p);
	if (v != NULL && verdict_in_grace(&until, v, p))
		(void)snprintf(with, sizeof with, "%s; in grace until %s", may,
		    quotereport_date(date, until));
	else
		(void)snprintf(with, sizeof with, "%s", may);
	if (v != NULL)
		(void)snprintf(found, sizeof found,
		    "%s (platform %s, module %s, QE %s)",
		    tcb_status_text(v->status),
		    tcb_status_text(v->platform_status),
		    tcb_status_text(v->module_status),
		    tcb_status_text(v->qe_status));
	quotereport_row(r,
	    &(struct quoterow){ .step = 13,
		.check = "the TCB status",
		.found = v != NULL ? found : NULL,
		.found_in = "step 12",
		.expected = with,
		.expected_in = "policy",
		.codes = "POLICY_TCB_STATUS" });
	if (v != NULL)
		advisories(found, v->advisory, v->n_advisories);
	quotereport_row(r,
	    &(struct quoterow){ .step = 13,
		.check = "the advisories",
		.found = v != NULL ? found : NULL,
		.found_in = "tcb_info, qe_identity",
		.expected = p->any_advisory
		    ? "any"
		    : advisories(may, p->advisory, p->n_advisories),
		.expected_in = "policy",
		.codes = "POLICY_ADVISORY" });
}

static void
rows_platform(struct quotereport *r, const struct verdict *v,
    const struct attest_policy *p)
{
	char found[2 * 16 + 1], numbers[64], least[64];

	if (p->n_ppids > 0)
		quotereport_row(r,
		    &(struct quoterow){ .step = 13,
			.check = "the machine (PPID)",
			.found =
			    v == NULL ? NULL : hex_encode(found, v->ppid, 16),
			.found_in = "PCK certificate",
			.expected = "one that is listed",
			.expected_in = "policy",
			.codes = "POLICY_PLATFORM" });
	if (p->min_tcb_eval == 0 && p->min_qe_eval == 0)
		return;
	if (v != NULL)
		(void)snprintf(numbers, sizeof numbers,
		    "TCB info %u, QE identity %u", v->tcb_eval_number,
		    v->qe_eval_number);
	(void)snprintf(least, sizeof least, "at least %u and %u",
	    p->min_tcb_eval, p->min_qe_eval);
	quotereport_row(r,
	    &(struct quoterow){ .step = 13,
		.check = "the evaluation numbers",
		.found = v != NULL ? numbers : NULL,
		.found_in = "tcb_info, qe_identity",
		.expected = least,
		.expected_in = "policy",
		.codes = "POLICY_EVAL_NUMBER" });
}

static void
rows_td(struct quotereport *r, const struct td_report *td,
    const struct attest_policy *p)
{
	row_td(r, "no debugging (TD attributes, bit 0)",
	    td != NULL ? td->td_attributes : NULL, 8,
	    p->allow_debug ? "any" : "off", "POLICY_DEBUG");
	row_td(r, "no attribute that is not known",
	    td != NULL ? td->td_attributes : NULL, 8,
	    "of bits 28, 30, 31 and 63 only", "POLICY_TD_RESERVED");
	row_td(r, "no exceptions by the host (SEPT_VE_DISABLE, bit 28)",
	    td != NULL ? td->td_attributes : NULL, 8,
	    p->allow_no_sept_ve ? "any" : "on", "POLICY_SEPT_VE_DISABLE");
	row_td(r, "CPU features (XFAM)", td != NULL ? td->xfam : NULL, 8,
	    "x87 and SSE on, none that is unknown", "POLICY_XFAM");
	row_td(r, "a production module (MRSIGNERSEAM)",
	    td != NULL ? td->mrsignerseam : NULL, 48, "zero", "POLICY_SEAM");
	if (td == NULL || td->has_15)
		row_td(r, "no service TD (MRSERVICETD)",
		    td != NULL ? td->mrservicetd : NULL, 48,
		    p->allow_service_td ? "any" : "zero", "POLICY_SERVICE_TD");
}

static void
rows_sgx(struct quotereport *r, const struct sgx_report *s,
    const struct attest_policy *p)
{
	char text[2 * 16 + 1];
	struct quoterow row = { .step = 13,
		.check = "no debugging (enclave attributes, bit 1)",
		.found = s != NULL ? hex_encode(text, s->attributes, 16) : NULL,
		.found_in = "enclave report",
		.expected = p->allow_debug ? "any" : "off",
		.expected_in = "policy",
		.codes = "POLICY_DEBUG" };

	quotereport_row(r, &row);
	row.check = "an enclave that was initialised (bit 0)";
	row.expected = "on";
	row.codes = "POLICY_SGX_INIT";
	quotereport_row(r, &row);
}

void
quoteverdict_policy(struct quotereport *r, enum tee_kind tee,
    const struct verdict *v, const struct attest_policy *p)
{
	if (tee == TEE_SGX)
		rows_sgx(r, v != NULL ? &v->sgx : NULL, p);
	else
		rows_td(r, v != NULL ? &v->td : NULL, p);
	rows_platform(r, v, p);
	rows_status(r, v, p);
}

json_t *
quoteverdict_td(const struct td_report *td)
{
	const struct {
		const char *name;
		const uint8_t *p;
		size_t len;
	} part[] = {
		{ "mrtd", td->mrtd, 48 },
		{ "rtmr0", td->rtmr[0], 48 },
		{ "rtmr1", td->rtmr[1], 48 },
		{ "rtmr2", td->rtmr[2], 48 },
		{ "rtmr3", td->rtmr[3], 48 },
		{ "report_data", td->report_data, 64 },
		{ "mr_config_id", td->mrconfigid, 48 },
		{ "mr_owner", td->mrowner, 48 },
		{ "mr_owner_config", td->mrownerconfig, 48 },
		{ "mr_seam", td->mrseam, 48 },
		{ "mr_signer_seam", td->mrsignerseam, 48 },
		{ "seam_attributes", td->seam_attributes, 8 },
		{ "td_attributes", td->td_attributes, 8 },
		{ "xfam", td->xfam, 8 },
		{ "tee_tcb_svn", td->tee_tcb_svn, 16 },
	};
	json_t *v = json_object();

	for (size_t i = 0; i < sizeof part / sizeof part[0]; i++)
		(void)json_set_hex(v, part[i].name, part[i].p, part[i].len);
	if (td->has_15) {
		(void)json_set_hex(v, "tee_tcb_svn_2", td->tee_tcb_svn_2, 16);
		(void)json_set_hex(v, "mr_service_td", td->mrservicetd, 48);
	}
	return v;
}

json_t *
quoteverdict_sgx(const struct sgx_report *r)
{
	json_t *v = json_object();

	(void)json_set_hex(v, "mrenclave", r->mrenclave, 32);
	(void)json_set_hex(v, "mrsigner", r->mrsigner, 32);
	(void)json_set_u64(v, "isv_prod_id", r->isvprodid);
	(void)json_set_u64(v, "isv_svn", r->isvsvn);
	(void)json_set_hex(v, "report_data", r->report_data, 64);
	(void)json_set_hex(v, "attributes", r->attributes, 16);
	(void)json_set_hex(v, "misc_select", r->miscselect, 4);
	(void)json_set_hex(v, "cpusvn", r->cpusvn, 16);
	return v;
}

json_t *
quoteverdict_measurements(const struct verdict *v)
{
	return v->tee == TEE_SGX ? quoteverdict_sgx(&v->sgx)
				 : quoteverdict_td(&v->td);
}

json_t *
quoteverdict_platform(const struct verdict *v)
{
	json_t *o = json_object();
	uint8_t device[32];

	/* dstack-compat.md 3.4: what contracts list devices by. */
	sha256(device, v->ppid, sizeof v->ppid);
	(void)json_set_hex(o, "fmspc", v->fmspc, sizeof v->fmspc);
	(void)json_set_hex(o, "pceid", v->pceid, sizeof v->pceid);
	(void)json_set_hex(o, "cpusvn", v->cpusvn, sizeof v->cpusvn);
	(void)json_set_u64(o, "pcesvn", v->pcesvn);
	(void)json_set_hex(o, "ppid", v->ppid, sizeof v->ppid);
	(void)json_set_hex(o, "device_id", device, sizeof device);
	(void)json_set_hex(o, "root_sha256", v->root_fingerprint, 32);
	return o;
}

static void
put_date(json_t *o, const char *key, int64_t at)
{
	char date[QUOTEREPORT_DATE];

	if (at != 0)
		(void)json_set_str(o, key, quotereport_date(date, at));
}

json_t *
quoteverdict_tcb(const struct verdict *v)
{
	char date[QUOTEREPORT_DATE], from[QUOTEREPORT_DATE],
	    until[QUOTEREPORT_DATE];
	json_t *o = json_pack("{s:s, s:s, s:s, s:s, s:I, s:I, s:s, s:s}",
	    "platform_status", tcb_status_text(v->platform_status),
	    "module_status", tcb_status_text(v->module_status), "qe_status",
	    tcb_status_text(v->qe_status), "tcb_date",
	    quotereport_date(date, v->tcb_date), "tcb_evaluation_number",
	    (json_int_t)v->tcb_eval_number, "qe_evaluation_number",
	    (json_int_t)v->qe_eval_number, "collateral_from",
	    quotereport_date(from, v->valid_from), "collateral_until",
	    quotereport_date(until, v->valid_until));

	put_date(o, "platform_date", v->platform_date);
	put_date(o, "module_date", v->module_date);
	put_date(o, "qe_date", v->qe_date);
	return o;
}

json_t *
quoteverdict_advisories(const struct verdict *v)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < v->n_advisories; i++)
		(void)json_array_append_new(list, json_string(v->advisory[i]));
	return list;
}
