/* quotejob_snp: a SEV-SNP report, its certificates, and what they say.
 *
 * tdx-dcap.md 4.1.  The step numbers are the order of snp_verify. */
#include <string.h>

#include "common/attest/pem.h"
#include "common/base/hex.h"
#include "common/crypto/hash.h"
#include "kms/ctl/quotecerts.h"
#include "kms/ctl/quotejob.h"

#define CERT_FILE_MAX (64u * 1024)

struct files {
	struct buf vek, ask, ark, crl; /* own; DER */
};

/* ASK and ARK, in the order that AMD's service hands them out. */
static enum err
split_chain(struct files *f, struct bytes pem)
{
	struct buf *const to[] = { &f->ask, &f->ark };
	uint8_t der[LIMIT_CERT];
	size_t len;

	for (size_t i = 0; i < 2; i++) {
		enum err e = pem_next(der, &len, &pem);

		if (e != ERR_OK)
			return e;
		if ((e = buf_set(to[i], der, len)) != ERR_OK)
			return e;
	}
	return pem_next(der, &len, &pem) == ERR_NOTFOUND ? ERR_OK
							 : ERR_MALFORMED;
}

static enum ctl_exit
read_files(struct quotejob *j, struct files *f)
{
	struct buf vek = { 0 }, chain = { 0 };
	enum ctl_exit rc;

	if (args_get(j->a, "vek") == NULL || args_get(j->a, "chain") == NULL)
		return ctl_fail(j->c, CTL_USAGE,
		    "a SEV-SNP report is verified with --vek FILE and "
		    "--chain FILE");
	if ((rc = quotejob_file(j, &vek, "vek", CERT_FILE_MAX)) != CTL_OK ||
	    (rc = quotejob_file(j, &chain, "chain", CERT_FILE_MAX)) != CTL_OK ||
	    (rc = quotejob_file(j, &f->crl, "crl", CERT_FILE_MAX)) != CTL_OK)
		goto done;
	if (quotecerts_to_der(&f->vek, buf_view(&vek)) != ERR_OK)
		rc = ctl_fail(j->c, CTL_USAGE, "--vek: not a certificate");
	else if (split_chain(f, buf_view(&chain)) != ERR_OK)
		rc = ctl_fail(j->c, CTL_USAGE,
		    "--chain: not two certificates, ASK and ARK, in PEM");
done:
	buf_fini(&vek);
	buf_fini(&chain);
	return rc;
}

static void
row(struct quotejob *j, unsigned step, const char *check, const char *found,
    const char *found_in, const char *expected, const char *codes)
{
	quotereport_row(&j->report,
	    &(struct quoterow){ .step = step,
		.check = check,
		.found = found,
		.found_in = found != NULL ? found_in : NULL,
		.expected = expected,
		.codes = codes });
}

static void
row_cert(struct quotejob *j, unsigned step, const char *check,
    const struct buf *der, const char *in, const char *expected,
    const char *codes)
{
	char found[512], from[QUOTEREPORT_DATE], until[QUOTEREPORT_DATE],
	    hash[65];
	uint8_t fp[32];
	struct cert_facts c;
	bool known = quotecerts_der(&c, buf_view(der)) == ERR_OK;

	sha256(fp, der->p, der->len);
	if (known)
		(void)snprintf(found, sizeof found,
		    "%s by %s, %s .. %s, SHA-256 %s", c.subject, c.issuer,
		    quotereport_date(from, c.from),
		    quotereport_date(until, c.until),
		    hex_encode(hash, fp, sizeof fp));
	row(j, step, check, known ? found : NULL, in, expected, codes);
}

static const char *
tcb_text(char out[static 96], struct snp_tcb t)
{
	(void)snprintf(out, 96,
	    "FMC %u, bootloader %u, TEE %u, SNP %u, microcode %u", t.fmc,
	    t.bootloader, t.tee, t.snp, t.microcode);
	return out;
}

/* `v` NULL: there is no verdict. */
static void
rows_evidence(
    struct quotejob *j, const struct files *f, const struct snp_verdict *v)
{
	char tcb[96], version[64];

	if (v != NULL)
		(void)snprintf(
		    version, sizeof version, "version %u", v->report.version);
	row(j, 1, "the report parses", v != NULL ? version : NULL, "report",
	    "version 2, 3 or 5; ECDSA P-384; zeros behind the signature",
	    "REPORT_SIZE REPORT_VERSION SIG_ALGO SIG_RESERVED");
	row_cert(j, 2, "the vendor's root (ARK)", &f->ark, "--chain",
	    args_has(j->a, "root") ? "AMD's, or that of --root"
				   : "AMD's, which is built in",
	    "ARK_");
	row_cert(j, 2, "its intermediate (ASK or ASVK)", &f->ask, "--chain",
	    "signed by the ARK",
	    "ASK_PARSE ASK_ROLE ASK_ALGO ASK_ISSUER "
	    "ASK_SIG ASK_SHAPE ASK_TIME");
	row_cert(j, 2, "the chip's or the cloud's key (VCEK or VLEK)", &f->vek,
	    "--vek", "signed by the intermediate", "VEK_");
	row(j, 3, "revocation", f->crl.len > 0 ? "a CRL" : "no CRL given",
	    "--crl", "by the ARK, in date, without the intermediate",
	    "CRL ASK_REVOKED");
	row(j, 4, "the report is for this kind of key",
	    v == NULL                ? NULL
		: v->key == SNP_VCEK ? "VCEK"
				     : "VLEK",
	    "report", "that of the certificate", "KEY_INFO SIGNING_KEY VMPL");
	row(j, 5, "the product",
	    v != NULL ? snp_product_text(v->product) : NULL, "report",
	    "that of certificate and ARK", "PRODUCT");
	row(j, 6, "the TCB", v != NULL ? tcb_text(tcb, v->reported) : NULL,
	    "report, reported TCB", "exactly the certificate's",
	    "TCB_MISMATCH VEK_EXT");
	row(j, 7, "the chip", NULL, NULL, "that of the certificate", "CHIP_ID");
	row(j, 8, "the report's signature", NULL, NULL, "by the VCEK or VLEK",
	    "REPORT_SIG");
}

static void
rows_policy(struct quotejob *j, const struct snp_verdict *v)
{
	static const struct {
		const char *check, *expected, *codes;
	} part[] = {
		{ "the product", "one that is allowed", "POLICY_PRODUCT" },
		{ "no guest policy bit that is not known", "none",
		    "POLICY_RESERVED" },
		{ "no debugging (guest policy, bit 19)", "off",
		    "POLICY_DEBUG" },
		{ "no migration agent (bit 18)", "off", "POLICY_MIGRATION" },
		{ "the privilege level (VMPL)", "one that is allowed",
		    "POLICY_VMPL" },
		{ "a chip's key, not a cloud's", "unless allowed",
		    "POLICY_VLEK" },
		{ "a chip that is named", "unless allowed",
		    "POLICY_CHIP_MASKED" },
		{ "memory aliases are ruled out", "unless allowed",
		    "POLICY_ALIAS_CHECK" },
		{ "revocation was checked", "unless allowed", "POLICY_CRL" },
		{ "the least TCB", "reported and committed reach it",
		    "POLICY_TCB" },
	};

	for (size_t i = 0; i < sizeof part / sizeof part[0]; i++) {
		char found[64] = "";

		if (v != NULL && i >= 1 && i <= 3)
			(void)snprintf(found, sizeof found, "0x%llx",
			    (unsigned long long)v->report.policy);
		else if (v != NULL && i == 4)
			(void)snprintf(
			    found, sizeof found, "%u", v->report.vmpl);
		quotereport_row(&j->report,
		    &(struct quoterow){ .step = 13,
			.check = part[i].check,
			.found = found[0] != '\0' ? found : NULL,
			.found_in = found[0] != '\0' ? "report" : NULL,
			.expected = part[i].expected,
			.expected_in = "policy",
			.codes = part[i].codes });
	}
}

static json_t *
measurements(const struct snp_report *r)
{
	json_t *o = json_object();

	(void)json_set_hex(o, "measurement", r->measurement, 48);
	(void)json_set_hex(o, "host_data", r->host_data, 32);
	(void)json_set_hex(o, "report_data", r->report_data, 64);
	(void)json_set_hex(o, "id_key_digest", r->id_key_digest, 48);
	(void)json_set_hex(o, "author_key_digest", r->author_key_digest, 48);
	(void)json_set_hex(o, "family_id", r->family_id, 16);
	(void)json_set_hex(o, "image_id", r->image_id, 16);
	(void)json_set_hex(o, "report_id", r->report_id, 32);
	(void)json_set_u64(o, "guest_svn", r->guest_svn);
	(void)json_set_u64(o, "policy", r->policy);
	(void)json_set_u64(o, "vmpl", r->vmpl);
	return o;
}

static void
put_tcb(json_t *o, const char *key, struct snp_tcb t)
{
	(void)json_set_new(o, key,
	    json_pack("{s:i, s:i, s:i, s:i, s:i}", "fmc", t.fmc, "bootloader",
		t.bootloader, "tee", t.tee, "snp", t.snp, "microcode",
		t.microcode));
}

static void
judge(struct quotejob *j, const struct snp_verdict *v)
{
	const struct quoteref ref[] = {
		{ "measurement", v->report.measurement, 48, "report" },
		{ "host-data", v->report.host_data, 32, "report" },
		{ "report-data", v->report.report_data, 64, "report" },
	};
	struct refusal why = { .code = REASON_NONE };
	char from[QUOTEREPORT_DATE], until[QUOTEREPORT_DATE];
	struct verdict common;

	verdict_of_snp(&common, v);
	j->genuine = true;
	j->insecure = v->simulated;
	j->measurements = measurements(&v->report);
	j->platform = json_object();
	(void)json_set_str(
	    j->platform, "product", snp_product_text(v->product));
	(void)json_set_str(
	    j->platform, "key", v->key == SNP_VCEK ? "VCEK" : "VLEK");
	(void)json_set_hex(j->platform, "chip_id", v->report.chip_id, 64);
	(void)json_set_u64(
	    j->platform, "platform_info", v->report.platform_info);
	(void)json_set_hex(j->platform, "root_sha256", v->ark_fingerprint, 32);
	j->tcb = json_object();
	put_tcb(j->tcb, "reported", v->reported);
	put_tcb(j->tcb, "committed", v->committed);
	put_tcb(j->tcb, "launch", v->launch);
	put_tcb(j->tcb, "current", v->current);
	(void)json_set_bool(j->tcb, "crl_checked", v->crl_checked);
	(void)json_set_str(
	    j->tcb, "certificates_from", quotereport_date(from, v->valid_from));
	(void)json_set_str(j->tcb, "certificates_until",
	    quotereport_date(until, v->valid_until));
	quotejob_keep(j, verdict_accept(&common, &j->policy, &why), &why);
	quotejob_keep(j,
	    quoterefs_check(
		&j->report, j->a, ref, sizeof ref / sizeof ref[0], &why),
	    &why);
}

enum ctl_exit
quotejob_snp(struct quotejob *j)
{
	struct refusal why = { .code = REASON_NONE };
	struct files f = { .vek = { 0 } };
	struct snp_options o = { .now = j->now };
	struct snp_verdict v = { .product = SNP_MILAN };
	uint8_t ark[32];
	enum ctl_exit rc = read_files(j, &f);

	j->tee = "sev-snp";
	j->kind = TEE_SEV_SNP;
	if (rc != CTL_OK)
		goto done;
	if (j->root.len > 0) {
		sha256(ark, j->root.p, j->root.len);
		o.simulated_ark = ark;
		j->insecure = true;
		j->policy.allow_simulated = true;
		j->policy.snp.allow_simulated = true;
	}
	quotejob_keep(j,
	    snp_verify(&v,
		&(struct snp_evidence){ .report = buf_view(&j->file.ev.quote),
		    .vek = buf_view(&f.vek),
		    .ask = buf_view(&f.ask),
		    .ark = buf_view(&f.ark),
		    .crl = buf_view(&f.crl) },
		&o, &why),
	    &why);
	rows_evidence(j, &f, j->e == ERR_OK ? &v : NULL);
	rows_policy(j, j->e == ERR_OK ? &v : NULL);
	if (j->e == ERR_OK)
		judge(j, &v);
done:
	buf_fini(&f.vek);
	buf_fini(&f.ask);
	buf_fini(&f.ark);
	buf_fini(&f.crl);
	return rc;
}
