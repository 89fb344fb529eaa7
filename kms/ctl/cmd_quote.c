/* kmsctl verify quote: is this evidence genuine, and what does it say? */
#include <string.h>

#include "common/attest/tcbinfo.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/hex.h"
#include "common/base/limits.h"
#include "common/crypto/hash.h"
#include "kms/ctl/quotecerts.h"
#include "kms/ctl/quotejob.h"
#include "kms/ctl/quotepolicy.h"

#define ROOT_FILE_MAX (16u * 1024)

void
quotejob_keep(struct quotejob *j, enum err e, const struct refusal *why)
{
	if (j->e == ERR_OK && e != ERR_OK) {
		j->e = e;
		j->why = *why;
	}
}

enum ctl_exit
quotejob_file(
    struct quotejob *j, struct buf *out, const char *option, size_t max)
{
	const char *path = args_get(j->a, option);
	enum err e;

	if (path == NULL)
		return CTL_OK;
	e = file_read(out, path, max);
	if (e == ERR_OK && out->len == 0)
		e = ERR_MALFORMED;
	return e == ERR_OK ? CTL_OK
			   : ctl_fail(j->c, CTL_USAGE, "--%s %.200s: %s",
				 option, path, err_text(e));
}

/* ---- the words ---- */

static enum ctl_exit
read_now(struct quotejob *j)
{
	const char *text = args_get(j->a, "now");
	uint64_t t;

	if (text == NULL) {
		j->now = clock_wall_s();
		return CTL_OK;
	}
	if (tcb_date_parse(&j->now, text) == ERR_OK)
		return CTL_OK;
	if (args_u64(&t, text, INT64_MAX) != ERR_OK)
		return ctl_fail(j->c, CTL_USAGE,
		    "--now: seconds since 1970, "
		    "or 2026-01-02T03:04:05Z");
	j->now = (int64_t)t;
	return CTL_OK;
}

static enum ctl_exit
read_policy(struct quotejob *j)
{
	const char *word = args_get(j->a, "policy");
	char why[YAML_WHY_MAX];

	if (quotepolicy_load(&j->policy, word, why) != ERR_OK)
		return ctl_fail(j->c, CTL_USAGE, "--policy: %s", why);
	j->policy_name = word != NULL ? word : "default";
	return CTL_OK;
}

static enum ctl_exit
read_root(struct quotejob *j)
{
	struct buf text = { 0 };
	enum ctl_exit rc = quotejob_file(j, &text, "root", ROOT_FILE_MAX);

	if (rc == CTL_OK && text.len > 0 &&
	    quotecerts_to_der(&j->root, buf_view(&text)) != ERR_OK)
		rc = ctl_fail(j->c, CTL_USAGE, "--root: not a certificate");
	buf_fini(&text);
	return rc;
}

static enum ctl_exit
read_evidence(struct quotejob *j)
{
	const char *path = j->a->pos[0];
	struct buf bytes = { 0 };
	struct refusal why = { .code = REASON_NONE };
	enum ctl_exit rc = CTL_OK;
	enum err e = file_read(&bytes, path, QUOTEFILE_MAX);

	if (e != ERR_OK)
		rc = ctl_fail(j->c, CTL_USAGE, "%.200s: %s", path, err_text(e));
	else if ((e = quotefile_read(&j->file, buf_view(&bytes), &why)) !=
	    ERR_OK)
		rc = ctl_fail(j->c, CTL_USAGE, "%.200s: %s", path,
		    why.detail[0] != '\0' ? why.detail : err_text(e));
	buf_fini(&bytes);
	return rc;
}

static enum ctl_exit
read_all(struct quotejob *j)
{
	struct refusal why;
	enum ctl_exit rc;

	if (quoterefs_valid(j->a, &why) != ERR_OK)
		return ctl_fail(j->c, CTL_USAGE, "%s", why.detail);
	if ((rc = read_now(j)) != CTL_OK || (rc = read_policy(j)) != CTL_OK ||
	    (rc = read_root(j)) != CTL_OK ||
	    (rc = read_evidence(j)) != CTL_OK ||
	    (rc = quotejob_file(
		 j, &j->event_log, "event-log", LIMIT_EVENT_LOG)) != CTL_OK ||
	    (rc = quotejob_file(
		 j, &j->vm_config, "vm-config", LIMIT_VM_CONFIG)) != CTL_OK)
		return rc;
	rc = quotejob_file(j, &j->compose, "compose", LIMIT_APP_COMPOSE);
	if (rc != CTL_OK || j->event_log.len > 0 ||
	    j->file.ev.event_log.len > 0)
		return rc;
	/* Nothing in a quote alone says what was composed or booted. */
	if (j->compose.len > 0 || j->vm_config.len > 0)
		return ctl_fail(j->c, CTL_USAGE,
		    "--compose and --vm-config need an --event-log");
	return CTL_OK;
}

/* ---- the answer ---- */

static json_t *
evidence_json(const struct quotejob *j)
{
	const struct buf *q = &j->file.ev.quote;
	json_t *o = json_object();
	char date[QUOTEREPORT_DATE];
	uint8_t hash[32];

	sha256(hash, q->p, q->len);
	(void)json_set_str(o, "file", j->a->pos[0]);
	(void)json_set_str(o, "form", j->file.form);
	(void)json_set_u64(o, "bytes", q->len);
	(void)json_set_hex(o, "sha256", hash, 32);
	(void)json_set_str(o, "as_of", quotereport_date(date, j->now));
	if (j->collateral_from != NULL)
		(void)json_set_str(o, "collateral", j->collateral_from);
	return o;
}

static json_t *
refusal_json(const struct quotejob *j)
{
	char code[QUOTEREPORT_CODE];

	if (j->e == ERR_OK)
		return json_null();
	if (j->why.code == REASON_NONE)
		return json_pack("{s:n, s:s, s:s, s:s}", "code", "label",
		    "internal", "text", err_text(j->e), "detail", "");
	return json_pack("{s:s?, s:s, s:s, s:s}", "code",
	    quotereport_code(code, &j->why) ? code : NULL, "label",
	    reason_label(j->why.code), "text", reason_text(j->why.code),
	    "detail", j->why.detail);
}

/* The reject code: why the evidence itself is refused, whoever asks. */
static bool
rejected(const struct quotejob *j, char code[static QUOTEREPORT_CODE])
{
	return j->e != ERR_OK && quotereport_code(code, &j->why) &&
	    !quotereport_is_caller(code);
}

static void
put(json_t *o, const char *key, json_t *v)
{
	(void)json_object_set_new(o, key, v != NULL ? v : json_null());
}

/* Genuine, yet rejected by what no policy allows: the status is told apart,
 * so that nobody takes it for a result. */
static void
put_status(json_t *o, struct quotejob *j)
{
	char code[QUOTEREPORT_CODE];
	bool reject = rejected(j, code);
	json_t *list = j->advisory_ids != NULL ? j->advisory_ids : json_array();
	json_t *status =
	    j->status != NULL ? json_string(j->status) : json_null();

	j->advisory_ids = NULL;
	if (j->genuine && reject) {
		put(o, "without_policy",
		    json_pack(
			"{s:o, s:o}", "status", status, "advisory_ids", list));
		status = json_null();
		list = json_array();
	}
	put(o, "status", status);
	put(o, "advisory_ids", list);
	put(o, "reject", reject ? json_string(code) : json_null());
}

static enum ctl_exit
tell(struct quotejob *j)
{
	json_t *o = json_object();
	enum ctl_exit rc = j->e == ERR_OK ? CTL_OK : CTL_FAILED;

	if (j->e == ERR_AGAIN && j->why.code == REASON_COLLATERAL_MISSING)
		rc = CTL_UNREACHABLE;
	put(o, "tee", j->tee != NULL ? json_string(j->tee) : json_null());
	put(o, "accepted", json_boolean(j->e == ERR_OK));
	put(o, "insecure", json_boolean(j->insecure));
	put_status(o, j);
	put(o, "refusal", refusal_json(j));
	put(o, "now", json_integer((json_int_t)j->now));
	put(o, "policy_name", json_string(j->policy_name));
	put(o, "evidence", evidence_json(j));
	put(o, "steps", json_incref(j->report.rows));
	put(o, "platform", json_incref(j->platform));
	put(o, "tcb", json_incref(j->tcb));
	put(o, "measurements", json_incref(j->measurements));
	put(o, "claims_unverified", json_incref(j->claims));
	put(o, "boot", json_incref(j->boot));
	put(o, "policy", json_incref(j->policy_json));
	if (j->c->json)
		return ctl_result(j->c, o, rc);
	quotereport_text(j->c->out, o);
	json_decref(o);
	return rc;
}

/* What the caller wants checked, and evidence of this kind cannot answer,
 * must not look like checked: a host chooses which kind it shows. */
static void
unanswered(struct quotejob *j)
{
	static const struct {
		const char *option;
		enum quotefile_kind kind; /* that can answer */
	} asked[] = {
		{ "nonce", QUOTEFILE_NITRO },
		{ "event-log", QUOTEFILE_INTEL },
		{ "vm-config", QUOTEFILE_INTEL },
		{ "compose", QUOTEFILE_INTEL },
	};
	struct refusal why = { .code = REASON_NONE };

	for (size_t i = 0; i < sizeof asked / sizeof asked[0]; i++)
		if (args_has(j->a, asked[i].option) &&
		    asked[i].kind != j->file.kind)
			quotejob_keep(j,
			    refuse(&why, REASON_REFERENCE,
				"REFERENCE: this evidence has no %s",
				asked[i].option),
			    &why);
}

static void
settle(struct quotejob *j)
{
	bool agrees =
	    quotereport_settle(&j->report, j->e == ERR_OK ? NULL : &j->why);

	/* Two readings of one document: if they differ, believe neither. */
	if (j->e == ERR_OK && !agrees)
		j->e = refuse(&j->why, REASON_INTERNAL,
		    "INCONSISTENT: a check that was passed differs here");
}

static enum ctl_exit
run_quote(struct ctl *c, const struct args *a)
{
	struct quotejob j = { .c = c, .a = a };
	enum ctl_exit rc = CTL_FAILED;

	if (quotereport_init(&j.report) != ERR_OK)
		return ctl_fail(c, CTL_FAILED, "out of memory");
	if ((rc = read_all(&j)) != CTL_OK)
		goto done;
	switch (j.file.kind) {
	case QUOTEFILE_INTEL:
		rc = quotejob_intel(&j);
		break;
	case QUOTEFILE_SNP:
		rc = quotejob_snp(&j);
		break;
	case QUOTEFILE_NITRO:
		rc = quotejob_nitro(&j);
		break;
	}
	if (rc == CTL_OK) {
		unanswered(&j);
		j.policy_json = quotepolicy_json(&j.policy, j.kind);
		settle(&j);
		rc = tell(&j);
	}
done:
	json_decref(j.advisory_ids);
	json_decref(j.platform);
	json_decref(j.tcb);
	json_decref(j.measurements);
	json_decref(j.claims);
	json_decref(j.boot);
	json_decref(j.policy_json);
	quotereport_fini(&j.report);
	quotefile_fini(&j.file);
	buf_fini(&j.root);
	buf_fini(&j.event_log);
	buf_fini(&j.vm_config);
	buf_fini(&j.compose);
	return rc;
}

static const struct args_option options[] = {
	{ "collateral", "FILE", "a saved bundle (`collateral fetch`)" },
	{ "pccs", "URL", "or a PCCS (default: Intel's own service)" },
	{ "insecure-tls", NULL, "take any certificate of the PCCS" },
	{ "now", "T", "as of: seconds, or 2026-01-02T03:04:05Z" },
	{ "policy", "P", "default, any, or a YAML file" },
	{ "root", "FILE", "another trust anchor: marks it insecure" },
	{ "event-log", "FILE", "replay it into RTMR0-3" },
	{ "vm-config", "FILE", "recompute the OS image's registers" },
	{ "compose", "FILE", "the app-compose that must be measured" },
	{ "report-data", "HEX", "expected; up to 64 bytes" },
	{ "mrtd", "HEX", "expected; 48 bytes" },
	{ "rtmr0", "HEX", "expected" },
	{ "rtmr1", "HEX", "expected" },
	{ "rtmr2", "HEX", "expected" },
	{ "rtmr3", "HEX", "expected" },
	{ "mrenclave", "HEX", "expected; SGX" },
	{ "mrsigner", "HEX", "expected; SGX" },
	{ "measurement", "HEX", "expected; SEV-SNP" },
	{ "host-data", "HEX", "expected; SEV-SNP" },
	{ "pcr0", "HEX", "expected; Nitro" },
	{ "pcr1", "HEX", "expected; Nitro" },
	{ "pcr2", "HEX", "expected; Nitro" },
	{ "vek", "FILE", "SEV-SNP: the VCEK or VLEK certificate" },
	{ "chain", "FILE", "SEV-SNP: ASK (or ASVK), then ARK, in PEM" },
	{ "crl", "FILE", "SEV-SNP: the ARK's CRL, in DER" },
	{ "nonce", "HEX", "Nitro: the nonce that you asked with" },
	{ NULL, NULL, NULL },
};

const struct ctl_command cmd_quote[] = {
	{ "verify quote", "FILE", "verify evidence of a CVM, check by check",
	    options, 1, 1, run_quote },
	{ .name = NULL },
};
