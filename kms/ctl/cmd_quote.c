/* kmsctl verify quote: is this evidence genuine, and what does it say? */
#include <string.h>

#include "common/base/file.h"
#include "common/base/limits.h"
#include "kms/ctl/quotecerts.h"
#include "kms/ctl/quotejob.h"

#define ROOT_FILE_MAX (16u * 1024)

static enum ctl_exit
read_root(struct quotejob *j)
{
	struct buf text = { 0 };
	enum ctl_exit rc = quotejob_file(j, &text, "root", ROOT_FILE_MAX);

	j->root_from = args_get(j->a, "root");
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
	if ((rc = quotejob_now(j)) != CTL_OK ||
	    (rc = quotejob_policy(j)) != CTL_OK ||
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

static enum ctl_exit
run_quote(struct ctl *c, const struct args *a)
{
	struct quotejob j = { .c = c, .a = a, .source = a->pos[0] };
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
		rc = quotejob_answer(&j, NULL);
	}
done:
	quotejob_fini(&j);
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
