/* kmsctl verify quote: what a file is taken for, what a policy allows, how
 * a report names its refused row, and the command as a whole. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>
#include <sodium.h>

#include "common/attest/attestation_v1.h"
#include "common/base/file.h"
#include "common/base/hex.h"
#include "kms/ctl/ctl.h"
#include "kms/ctl/quotefile.h"
#include "kms/ctl/quotepolicy.h"
#include "kms/ctl/quotereport.h"
#include "tests/lib/fake_amd.h"
#include "tests/lib/fake_nitro.h"
#include "tests/lib/simworld.h"

TestSuite(ctl_quote, .timeout = 60);

static struct refusal
refused(const char *detail)
{
	struct refusal why = { .code = REASON_QUOTE_MALFORMED };

	(void)snprintf(why.detail, sizeof why.detail, "%s", detail);
	return why;
}

/* ---- codes ---- */

/* Only a word of capitals before a colon is a reject code. */
Test(ctl_quote, code_is_the_first_word)
{
	static const char *const none[] = { "", "no code here", "quote: x",
		"QUOTE_SIG", ": x",
		"A_CODE_THAT_IS_LONGER_THAN_ANY_OF_THE_REFERENCE: x" };
	struct refusal why = refused("QE_REPORT_SIG: not by the PCK key");
	char code[QUOTEREPORT_CODE] = "";

	cr_expect(quotereport_code(code, &why));
	cr_expect_str_eq(code, "QE_REPORT_SIG");
	for (size_t i = 0; i < sizeof none / sizeof none[0]; i++) {
		why = refused(none[i]);
		cr_expect_not(quotereport_code(code, &why), "%s", none[i]);
	}
}

/* What depends on the caller's wishes is no reject code of the evidence. */
Test(ctl_quote, wishes_are_no_reject_code)
{
	static const char *const evidence[] = { "POLICY_DEBUG", "QUOTE_SIG",
		"POLICY_SERVICE_TD", "TCB_REVOKED", "COLLATERAL_EXPIRED" };

	cr_expect(quotereport_is_caller("POLICY_TCB_STATUS"));
	cr_expect(quotereport_is_caller("POLICY_ADVISORY"));
	cr_expect(quotereport_is_caller("REFERENCE"));
	for (size_t i = 0; i < sizeof evidence / sizeof evidence[0]; i++)
		cr_expect_not(quotereport_is_caller(evidence[i]));
}

/* Codes that name a field or a place keep it; others end at the colon. */
Test(ctl_quote, codes_with_a_place)
{
	static const struct {
		const char *detail, *code;
	} part[] = {
		{ "FIELD cabundle: missing", "FIELD cabundle" },
		{ "REPORT_SIZE 1183", "REPORT_SIZE 1183" },
		{ "CHAIN_SIG 2: certificate signature failure", "CHAIN_SIG 2" },
		{ "TRAILING 1 in the payload", "TRAILING 1" },
		{ "VEK_SIG: certificate signature failure", "VEK_SIG" },
	};

	for (size_t i = 0; i < sizeof part / sizeof part[0]; i++) {
		struct refusal why = refused(part[i].detail);
		char code[QUOTEREPORT_CODE] = "";

		cr_expect(quotereport_code(code, &why), "%s", part[i].detail);
		cr_expect_str_eq(code, part[i].code);
	}
	cr_expect_not(quotereport_code((char[QUOTEREPORT_CODE]){ 0 },
	    &(struct refusal){ .detail = "TCB info: not known (404)" }));
}

/* ---- rows ---- */

static void
row(struct quotereport *r, unsigned step, const char *codes,
    const char *subject, enum row_holds holds)
{
	quotereport_row(r,
	    &(struct quoterow){ .step = step,
		.check = "check",
		.codes = codes,
		.subject = subject,
		.holds = holds });
}

static void
expect_results(const struct quotereport *r, const char *const *want, size_t n)
{
	cr_assert_eq(json_array_size(r->rows), n);
	for (size_t i = 0; i < n; i++)
		cr_expect_str_eq(json_string_value(json_object_get(
				     json_array_get(r->rows, i), "result")),
		    want[i], "row %zu", i);
}

/* A refusal marks the row of its code and subject; what stands before has
 * passed, what stands behind was never looked at. */
Test(ctl_quote, one_row_is_refused)
{
	static const char *const want[] = { "ok", "ok", "refused",
		"not checked", "not checked" };
	struct refusal why = refused("CERT_EXPIRED: qe_identity certificate");
	struct quotereport r;

	cr_assert_eq(quotereport_init(&r), ERR_OK);
	row(&r, 1, "QUOTE_", NULL, ROW_HOLDS);
	row(&r, 3, "CERT_ CHAIN_", "tcb_info", ROW_TOLD);
	row(&r, 4, "CHAIN_ CERT_", "qe_identity", ROW_TOLD);
	row(&r, 6, "CERT_", "pck", ROW_TOLD);
	row(&r, 9, "QE_IDENTITY_MISMATCH", NULL, ROW_DIFFERS);
	cr_expect(quotereport_settle(&r, &why));
	expect_results(&r, want, 5);
	quotereport_fini(&r);
}

/* Of rows with one code, the refused one is that which does not hold. */
Test(ctl_quote, a_row_that_holds_is_not_the_refused_one)
{
	static const char *const want[] = { "ok", "refused", "not checked" };
	struct refusal why = refused("QE_IDENTITY_MISMATCH: isvprodid");
	struct quotereport r;

	cr_assert_eq(quotereport_init(&r), ERR_OK);
	row(&r, 9, "QE_IDENTITY_MISMATCH", NULL, ROW_HOLDS);
	row(&r, 9, "QE_IDENTITY_MISMATCH", NULL, ROW_DIFFERS);
	row(&r, 10, "QUOTE_SIG", NULL, ROW_TOLD);
	cr_expect(quotereport_settle(&r, &why));
	expect_results(&r, want, 3);
	quotereport_fini(&r);
}

/* A code that no row knows leaves nothing "ok" but what was compared. */
Test(ctl_quote, unknown_code_trusts_no_row)
{
	static const char *const want[] = { "ok", "not checked",
		"not checked" };
	struct refusal why = refused("SOMETHING_NEW: x");
	struct quotereport r;

	cr_assert_eq(quotereport_init(&r), ERR_OK);
	row(&r, 1, "QUOTE_", NULL, ROW_HOLDS);
	row(&r, 7, "QE_REPORT_SIG", NULL, ROW_TOLD);
	row(&r, 9, "QE_IDENTITY_MISMATCH", NULL, ROW_DIFFERS);
	cr_expect(quotereport_settle(&r, &why));
	expect_results(&r, want, 3);
	quotereport_fini(&r);
}

/* A verdict that says yes where the report sees a difference is no yes. */
Test(ctl_quote, a_contradiction_is_told)
{
	static const char *const want[] = { "ok", "differs" };
	struct quotereport r;

	cr_assert_eq(quotereport_init(&r), ERR_OK);
	row(&r, 7, "QE_REPORT_SIG", NULL, ROW_TOLD);
	row(&r, 11, "TCB_INFO_MISMATCH", NULL, ROW_DIFFERS);
	cr_expect_not(quotereport_settle(&r, NULL));
	expect_results(&r, want, 2);
	quotereport_fini(&r);
}

/* Reference values are compared whatever the policy said, and say so. */
Test(ctl_quote, references_behind_a_refusal_are_shown)
{
	static const char *const want[] = { "refused", "not checked", "ok",
		"refused" };
	struct refusal why = refused("POLICY_TCB_STATUS: OutOfDate");
	struct quotereport r;

	cr_assert_eq(quotereport_init(&r), ERR_OK);
	row(&r, 13, "POLICY_TCB_STATUS", NULL, ROW_TOLD);
	row(&r, 13, "POLICY_ADVISORY", NULL, ROW_TOLD);
	row(&r, QUOTEREPORT_REFS, "REFERENCE", NULL, ROW_HOLDS);
	row(&r, QUOTEREPORT_REFS, "REFERENCE", NULL, ROW_DIFFERS);
	cr_expect(quotereport_settle(&r, &why));
	expect_results(&r, want, 4);
	quotereport_fini(&r);
}

/* Text of others cannot move the cursor or add a line. */
Test(ctl_quote, report_text_is_printable)
{
	json_t *v = json_pack("{s:b, s:{s:s, s:s}, s:{s:s}, s:[]}", "accepted",
	    0, "refusal", "text", "Quote does not parse", "detail",
	    "a\033[2Jb\nresult ACCEPTED", "boot", "key_provider", "x\r\ny",
	    "steps");
	char *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);

	cr_assert_not_null(v);
	quotereport_text(f, v);
	(void)fclose(f);
	cr_expect_null(strchr(text, '\033'));
	cr_expect_null(strchr(text, '\r'));
	cr_expect_null(strstr(text, "\nresult ACCEPTED"));
	cr_expect_not_null(strstr(text, "REFUSED: Quote does not parse"));
	free(text);
	json_decref(v);
}

/* ---- policies ---- */

/* `any` is every status but Revoked, and not one attribute more. */
Test(ctl_quote, any_is_not_everything)
{
	struct attest_policy p;
	char why[YAML_WHY_MAX];

	cr_assert_eq(quotepolicy_load(&p, "any", why), ERR_OK);
	for (unsigned s = 0; s < TCB_STATUS_COUNT; s++)
		cr_expect_eq(p.status[s], s != TCB_REVOKED);
	cr_expect(p.any_advisory);
	cr_expect_not(p.allow_debug || p.allow_service_td ||
	    p.allow_no_sept_ve || p.allow_simulated);
}

/* A file replaces the list of statuses and leaves the rest at its default. */
Test(ctl_quote, policy_of_a_file)
{
	struct attest_policy p;
	char why[YAML_WHY_MAX];

	cr_assert_eq(quotepolicy_parse(&p,
			 BYTES_STR("allow_status: [SWHardeningNeeded]\n"
				   "allow_advisory: [INTEL-SA-00615]\n"
				   "allow_debug: true\n"),
			 why),
	    ERR_OK, "%s", why);
	cr_expect(p.status[TCB_SW_HARDENING]);
	cr_expect_not(p.status[TCB_UP_TO_DATE]);
	cr_expect_eq(p.n_advisories, 1);
	cr_expect_str_eq(p.advisory[0], "INTEL-SA-00615");
	cr_expect(p.allow_debug);
	cr_expect_not(p.any_advisory || p.allow_service_td);
}

/* What the file says of grace, numbers, machines and other vendors. */
Test(ctl_quote, policy_of_other_parts)
{
	struct attest_policy p;
	char why[YAML_WHY_MAX];

	cr_assert_eq(quotepolicy_parse(&p,
			 BYTES_STR("grace_days: 30\n"
				   "min_tcb_evaluation_number: 18\n"
				   "allow_ppid: "
				   "[00112233445566778899aabbccddeeff]\n"
				   "snp_products: [Milan]\n"
				   "snp_vmpl: [1, 3]\n"
				   "snp_min_tcb: { snp: 8 }\n"
				   "snp_allow_vlek: true\n"),
			 why),
	    ERR_OK, "%s", why);
	cr_expect_eq(p.grace_s, 30 * 86400);
	cr_expect_eq(p.min_tcb_eval, 18);
	cr_expect_eq(p.n_ppids, 1);
	cr_expect_eq(p.ppid[0][15], 0xff);
	cr_expect(p.snp.product[SNP_MILAN] && !p.snp.product[SNP_GENOA]);
	cr_expect(!p.snp.vmpl[0] && p.snp.vmpl[1] && p.snp.vmpl[3]);
	cr_expect_eq(p.snp.min_tcb[SNP_MILAN].snp, 8);
	cr_expect(p.snp.allow_vlek && !p.snp.allow_debug);
	cr_expect(p.status[TCB_UP_TO_DATE]);
}

/* Revoked, unknown words, unknown keys and other types are refused. */
Test(ctl_quote, bad_policies)
{
	static const char *const bad[] = { "allow_status: [Revoked]\n",
		"allow_status: [Fine]\n", "allow_status: []\n",
		"allow_all: true\n", "allow_debug: maybe\n",
		"allow_simulated: true\n", "[]\n", "", "grace_days: 4000\n",
		"grace_days: -1\n", "allow_ppid: [0011]\n",
		"snp_products: [Naples]\n", "snp_vmpl: [4]\n",
		"snp_min_tcb: { ucode: 3 }\n" };
	char why[YAML_WHY_MAX];

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		struct attest_policy p;
		struct bytes text = { (const uint8_t *)bad[i], strlen(bad[i]) };

		cr_expect_eq(
		    quotepolicy_parse(&p, text, why), ERR_CONFIG, "%s", bad[i]);
	}
	cr_expect_eq(quotepolicy_load(&(struct attest_policy){ 0 },
			 "/nonexistent/policy", why),
	    ERR_CONFIG);
}

/* ---- files ---- */

static struct bytes
text_bytes(const char *s)
{
	return (struct bytes){ (const uint8_t *)s, strlen(s) };
}

static void
expect_file(const char *in, const char *form, const char *quote_hex)
{
	struct quotefile f;
	struct refusal why = { 0 };
	char hex[64] = "";

	cr_assert_eq(
	    quotefile_read(&f, text_bytes(in), &why), ERR_OK, "%s", in);
	cr_expect_str_eq(f.form, form, "%s", in);
	cr_assert_lt(f.ev.quote.len, 32);
	hex_encode(hex, f.ev.quote.p, f.ev.quote.len);
	cr_expect_str_eq(hex, quote_hex, "%s", in);
	quotefile_fini(&f);
}

/* The bytes decide what a file is. */
Test(ctl_quote, forms_of_a_file)
{
	expect_file("04000200", "hex text", "04000200");
	expect_file("0x04 00\n02 FF\n", "hex text", "040002ff");
	expect_file("{\"quote\":\"0400\"}", "GetQuote reply", "0400");
	expect_file(" {\"quote\":\"0x04\",\"event_log\":\"[]\"}",
	    "GetQuote reply", "04");
	expect_file("BAACAIEAAAA=", "base64 text", "0400020081000000");
	expect_file("BAACAI\nEAAAA=\n", "base64 text", "0400020081000000");
	/* Broken forms are bytes, for the parser to refuse. */
	expect_file("040", "binary", "303430");
	expect_file("{\"quote\":", "binary", "7b2271756f7465223a");
	expect_file("0x", "binary", "3078");
	expect_file("BAACAIEAAAA", "binary", "4241414341494541414141");
	expect_file("BAACAIEAAAB=", "binary", "42414143414945414141423d");
	expect_file("BAAC-IEAAAA=", "binary", "424141432d4945414141413d");
}

/* JSON that holds no evidence is told as such, never taken for bytes. */
Test(ctl_quote, json_without_a_quote)
{
	static const char *const bad[] = { "{}", "{\"quote\":\"xyz\"}",
		"{\"quote\":5}", "{\"attestation\":\"zz\"}",
		"{\"attestation\":\"0102\"}", "{\"attestation\":\"83\"}",
		"83a776657273696f6e01", "\x83\xa7version\x02",
		"{\"quote\":\"00\",\"report_data\":\"123\"}" };
	struct quotefile f;
	struct refusal why;

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		cr_expect_eq(quotefile_read(&f, text_bytes(bad[i]), &why),
		    ERR_MALFORMED, "%s", bad[i]);
}

/* The event log may be text or JSON; either way it is the log. */
Test(ctl_quote, reply_brings_its_log)
{
	static const char *const in[] = {
		"{\"quote\":\"04\",\"event_log\":\"[{}]\",\"vm_config\":"
		"\"{}\",\"report_data\":\"ab\"}",
		"{\"quote\":\"04\",\"event_log\":[{}],\"vm_config\":{},"
		"\"report_data\":\"ab\"}",
	};

	for (size_t i = 0; i < 2; i++) {
		struct quotefile f;
		struct refusal why;

		cr_assert_eq(
		    quotefile_read(&f, text_bytes(in[i]), &why), ERR_OK);
		cr_expect_str_eq((char *)f.ev.event_log.p, "[{}]");
		cr_expect_str_eq((char *)f.ev.vm_config.p, "{}");
		cr_expect(f.has_report_data);
		cr_expect_eq(f.report_data[0], 0xab);
		cr_expect_eq(f.report_data[1], 0);
		quotefile_fini(&f);
	}
}

/* The vendor is told by the first bytes, and an Intel quote of a report's
 * length stays one. */
Test(ctl_quote, vendor_by_the_bytes)
{
	uint8_t b[QUOTEFILE_SNP_LEN] = { 3 };

	cr_expect_eq(quotefile_kind_of(BYTES_OF(b)), QUOTEFILE_SNP);
	cr_expect_eq(quotefile_kind_of((struct bytes){ b, sizeof b - 1 }),
	    QUOTEFILE_INTEL);
	b[2] = 2; /* the attestation key type of a v3 quote */
	cr_expect_eq(quotefile_kind_of(BYTES_OF(b)), QUOTEFILE_INTEL);
	cr_expect_eq(
	    quotefile_kind_of(BYTES_STR("\x84\x44\xa1")), QUOTEFILE_NITRO);
	cr_expect_eq(
	    quotefile_kind_of(BYTES_STR("\xd2\x84\x44")), QUOTEFILE_NITRO);
	cr_expect_eq(quotefile_kind_of(BYTES_STR("\x84")), QUOTEFILE_INTEL);
	cr_expect_eq(quotefile_kind_of(BYTES_STR("")), QUOTEFILE_INTEL);
}

/* ---- the command ---- */

static struct simworld w;
static char quote[512], attest[512], bundle[512], root[512], event_log[512],
    vm[512];

static void
write_file(char path[static 512], const char *name, const struct buf *b)
{
	(void)snprintf(path, 512, "%s/%s", w.dir, name);
	cr_assert_eq(file_write(path, b->p, b->len, 0600), ERR_OK);
}

/* As Attest of the guest API v1 answers; without a vm_config, since this guest
 * has not booted as far as boot information needs. */
static void
attest_reply(const struct evidence *ev, const uint8_t rd[static 64])
{
	const struct evidence bare = {
		.tee = TEE_TDX, .quote = ev->quote, .event_log = ev->event_log
	}; /* borrows */
	struct buf raw = { 0 }, text = { 0 };
	json_t *v = json_object();

	cr_assert_eq(attestation_v1_encode(&raw, &bare, rd, NULL), ERR_OK);
	cr_assert_eq(json_set_hex(v, "attestation", raw.p, raw.len), ERR_OK);
	cr_assert_eq(json_write(&text, v), ERR_OK);
	write_file(attest, "attest", &text);
	json_decref(v);
	buf_fini(&raw);
	buf_fini(&text);
}

static void
setup(void)
{
	const uint8_t rd[64] = { 0xaa, 0xbb };
	struct evidence ev = { .tee = TEE_TDX };
	struct buf text = { 0 }, der = { 0 };
	struct refusal why = { 0 };
	struct collateral c;
	struct tee *t;

	simworld_init(&w);
	t = simworld_boot(&w);
	cr_assert_eq(tee_extend(t, "app-id", (struct bytes){ rd, 20 }), ERR_OK);
	cr_assert_eq(tee_evidence(t, &ev, rd, &why), ERR_OK, "%s", why.detail);
	tee_close(t);
	simworld_collateral(&c, &w);
	cr_assert_eq(collateral_to_json(&text, &c), ERR_OK);
	cr_assert_eq(sim_pki_document(&der, w.dir, SIM_DOC_ROOT), ERR_OK);
	write_file(quote, "quote", &ev.quote);
	attest_reply(&ev, rd);
	write_file(event_log, "log", &ev.event_log);
	write_file(vm, "vm", &ev.vm_config);
	write_file(bundle, "bundle", &text);
	write_file(root, "root.der", &der);
	collateral_fini(&c);
	evidence_fini(&ev);
	buf_fini(&text);
	buf_fini(&der);
}

static void
teardown(void)
{
	simworld_fini(&w);
}

TestSuite(ctl_quote_command, .init = setup, .fini = teardown, .timeout = 60);

/* Runs `kmsctl verify quote FILE --json` and the words; the caller owns the
 * answer. */
static int
run(json_t **out, const char *file, const char *const *word)
{
	char now[32], *text = NULL, *log_text = NULL;
	char *argv[32] = { (char *)(uintptr_t) "kmsctl",
		(char *)(uintptr_t) "verify", (char *)(uintptr_t) "quote",
		(char *)(uintptr_t)file, (char *)(uintptr_t) "--json",
		(char *)(uintptr_t) "--collateral", bundle };
	size_t len = 0, log_len = 0;
	FILE *f = open_memstream(&text, &len),
	     *log = open_memstream(&log_text, &log_len);
	bool has_now = false;
	int n = 7, rc;

	for (; *word != NULL; word++) {
		has_now = has_now || strncmp(*word, "--now", 5) == 0;
		argv[n++] = (char *)(uintptr_t)*word;
	}
	(void)snprintf(now, sizeof now, "--now=%lld", SIMWORLD_NOW);
	if (!has_now)
		argv[n++] = now;
	rc = (int)ctl_main(f, log, n, argv);
	(void)fclose(f);
	(void)fclose(log);
	cr_assert_eq(json_parse(out, text, len, 1u << 20, NULL, 0), ERR_OK,
	    "%s%s", text, log_text);
	free(text);
	free(log_text);
	return rc;
}

#define RUN(out, file, ...) \
	run(out, file, (const char *const[]){ __VA_ARGS__, NULL })

static void
expect_text(const json_t *v, const char *key, const char *want)
{
	const char *got = json_string_value(json_object_get(v, key));

	cr_expect_not_null(json_object_get(v, key), "%s", key);
	if (want == NULL)
		cr_expect_null(got, "%s is %s", key, got);
	else
		cr_expect_str_eq(got != NULL ? got : "null", want, "%s", key);
}

static bool
accepted(const json_t *v)
{
	return json_is_true(json_object_get(v, "accepted"));
}

/* An honest quote is accepted under the root it names, and marked. */
Test(ctl_quote_command, accepted_with_its_root)
{
	json_t *v;

	cr_expect_eq(RUN(&v, quote, "--root", root, "--event-log", event_log,
			 "--report-data", "0xaabb"),
	    CTL_OK);
	cr_expect(accepted(v));
	cr_expect(json_is_true(json_object_get(v, "insecure")));
	expect_text(v, "tee", "tdx");
	expect_text(v, "status", "UpToDate");
	expect_text(v, "reject", NULL);
	cr_expect_eq(json_array_size(json_object_get(v, "advisory_ids")), 0);
	cr_expect_not_null(json_string_value(
	    json_object_get(json_object_get(v, "measurements"), "mrtd")));
	json_decref(v);
}

/* The same quote in a reply of Attest, which brings its log. */
Test(ctl_quote_command, attestation_v1)
{
	json_t *v;

	cr_expect_eq(RUN(&v, attest, "--policy", "any"), CTL_FAILED);
	cr_expect_not(accepted(v));
	json_decref(v);
	cr_expect_eq(RUN(&v, attest, "--root", root, "--report-data", "0xaabc"),
	    CTL_FAILED);
	cr_expect_not(accepted(v));
	json_decref(v);
	cr_expect_eq(
	    RUN(&v, attest, "--root", root, "--report-data", "0xaabb"), CTL_OK);
	cr_expect(accepted(v));
	expect_text(v, "tee", "tdx");
	json_decref(v);
}

/* Without the simulator's root it is refused, with no status to take for a
 * result and no measurement that looks verified. */
Test(ctl_quote_command, refused_without_it)
{
	json_t *v;

	cr_expect_eq(RUN(&v, quote, "--policy", "any"), CTL_FAILED);
	cr_expect_not(accepted(v));
	cr_expect(json_is_false(json_object_get(v, "insecure")));
	expect_text(v, "status", NULL);
	cr_expect_not_null(json_string_value(json_object_get(v, "reject")));
	cr_expect(json_is_null(json_object_get(v, "measurements")));
	cr_expect(json_is_object(json_object_get(v, "claims_unverified")));
	json_decref(v);
}

/* Each expected value that differs refuses; the status stays told, and it
 * is no reject code of the evidence. */
Test(ctl_quote_command, references)
{
	static const char *const option[] = { "--mrtd", "--rtmr0", "--rtmr1",
		"--rtmr2", "--rtmr3", "--report-data" };
	char wrong[97];

	memset(wrong, '7', 96);
	wrong[96] = '\0';
	for (size_t i = 0; i < sizeof option / sizeof option[0]; i++) {
		json_t *v;

		cr_expect_eq(RUN(&v, quote, "--root", root, option[i], wrong),
		    CTL_FAILED, "%s", option[i]);
		cr_expect_not(accepted(v));
		expect_text(v, "status", "UpToDate");
		expect_text(v, "reject", NULL);
		expect_text(json_object_get(v, "refusal"), "code", "REFERENCE");
		json_decref(v);
	}
}

/* A value that is no value of that size is a mistake of the caller: exit
 * status 2, whatever the quote says. */
Test(ctl_quote_command, bad_words)
{
	static const struct {
		const char *option, *value;
	} bad[] = {
		{ "--mrtd", "abcd" },
		{ "--rtmr3", "" },
		{ "--pcr0", "00" },
		{ "--report-data", "xyz" },
		{ "--now", "yesterday" },
		{ "--policy", "/nonexistent/policy" },
		{ "--event-log", "/nonexistent/log" },
		{ "--root", "/nonexistent/root" },
		{ "--root", quote },
		{ "--compose", root },
		{ "--pccs", "http://127.0.0.1:1" },
	};

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		json_t *v;

		cr_expect_eq(RUN(&v, quote, bad[i].option, bad[i].value),
		    CTL_USAGE, "%s", bad[i].option);
		cr_expect_not_null(json_object_get(v, "error"));
		json_decref(v);
	}
}

/* A value that this kind of evidence does not have is no match. */
Test(ctl_quote_command, values_of_others)
{
	static const struct {
		const char *option;
		int digits;
	} part[] = { { "--mrenclave", 64 }, { "--pcr0", 96 },
		{ "--measurement", 96 }, { "--host-data", 64 } };

	for (size_t i = 0; i < sizeof part / sizeof part[0]; i++) {
		char zero[97];
		json_t *v;

		memset(zero, '0', sizeof zero);
		zero[part[i].digits] = '\0';
		cr_expect_eq(
		    RUN(&v, quote, "--root", root, part[i].option, zero),
		    CTL_FAILED, "%s", part[i].option);
		expect_text(json_object_get(v, "refusal"), "code", "REFERENCE");
		json_decref(v);
	}
}

/* Another log, or the same without its last event, does not replay. */
Test(ctl_quote_command, event_log_that_does_not_replay)
{
	struct buf text = { 0 };
	char other[512];
	json_t *log = NULL, *v;

	cr_assert_eq(file_read(&text, event_log, 1u << 20), ERR_OK);
	cr_assert_eq(
	    json_parse(&log, text.p, text.len, 1u << 20, NULL, 0), ERR_OK);
	cr_assert_eq(json_array_remove(log, json_array_size(log) - 1), 0);
	text.len = 0;
	cr_assert_eq(json_write(&text, log), ERR_OK);
	write_file(other, "other", &text);
	cr_expect_eq(
	    RUN(&v, quote, "--root", root, "--event-log", other), CTL_FAILED);
	cr_expect_not(accepted(v));
	expect_text(json_object_get(v, "refusal"), "code", "EVENT_LOG");
	/* What it claims was measured is not shown. */
	cr_expect_null(json_object_get(json_object_get(v, "boot"), "app_id"));
	json_decref(v);
	json_decref(log);
	buf_fini(&text);
}

/* Any flipped bit of header, body and signatures is refused. */
Test(ctl_quote_command, tampered)
{
	/* Header, MRTD, report data, signature, key, QE report, its
	 * signature: tdx-dcap.md 1. */
	static const size_t at[] = { 2, 14, 184, 568, 640, 704, 780, 1160 };
	struct buf q = { 0 };
	char path[512];

	cr_assert_eq(file_read(&q, quote, 1u << 20), ERR_OK);
	for (size_t i = 0; i < sizeof at / sizeof at[0]; i++) {
		json_t *v;

		q.p[at[i]] ^= 1;
		write_file(path, "tampered", &q);
		q.p[at[i]] ^= 1;
		cr_expect_eq(RUN(&v, path, "--root", root, "--policy", "any"),
		    CTL_FAILED, "byte %zu", at[i]);
		cr_expect_not(accepted(v));
		cr_expect_not_null(
		    json_string_value(json_object_get(v, "reject")), "byte %zu",
		    at[i]);
		json_decref(v);
	}
	buf_fini(&q);
}

/* Collateral counts as of --now, in both of its forms. */
Test(ctl_quote_command, as_of)
{
	json_t *v;

	cr_expect_eq(
	    RUN(&v, quote, "--root", root, "--now", "2040-01-01T00:00:00Z"),
	    CTL_FAILED);
	expect_text(v, "status", NULL);
	json_decref(v);
	cr_expect_eq(
	    RUN(&v, quote, "--root", root, "--now", "1600000000"), CTL_FAILED);
	cr_expect_not(accepted(v));
	json_decref(v);
}

/* ---- other vendors ---- */

static void
append_pem(struct buf *out, const struct buf *der)
{
	char text[8192];

	(void)sodium_bin2base64(text, sizeof text, der->p, der->len,
	    sodium_base64_VARIANT_ORIGINAL);
	cr_assert_eq(buf_printf(out, "-----BEGIN CERTIFICATE-----\n"), ERR_OK);
	for (size_t i = 0; i < strlen(text); i += 64)
		cr_assert_eq(buf_printf(out, "%.64s\n", text + i), ERR_OK);
	cr_assert_eq(buf_printf(out, "-----END CERTIFICATE-----\n"), ERR_OK);
}

/* A SEV-SNP report of an AMD of our own: accepted under that root with its
 * certificates and no other way; a flipped bit refused. */
Test(ctl_quote_command, snp_report)
{
	char report[512], vek[512], chain[512], ark[512], bad[512];
	struct buf b = { 0 }, pem = { 0 };
	struct fake_amd a;
	json_t *v;

	fake_amd_init(&a, SNP_GENOA, SNP_VCEK);
	fake_amd_build(&a);
	append_pem(&pem, &a.der[FAKE_ASK]);
	append_pem(&pem, &a.der[FAKE_ARK]);
	cr_assert_eq(buf_set(&b, a.report, sizeof a.report), ERR_OK);
	write_file(report, "report", &b);
	b.p[0x90] ^= 1;
	write_file(bad, "bad", &b);
	write_file(vek, "vek", &a.der[FAKE_VEK]);
	write_file(ark, "ark", &a.der[FAKE_ARK]);
	write_file(chain, "chain", &pem);
#define SNP(out, file, ...) \
	RUN(out, file, "--vek", vek, "--chain", chain, "--policy", "any", \
	    "--now", "1750000000", __VA_ARGS__)
	cr_expect_eq(SNP(&v, report, "--root", ark), CTL_OK);
	expect_text(v, "tee", "sev-snp");
	cr_expect(json_is_true(json_object_get(v, "insecure")));
	cr_expect(json_is_null(json_object_get(v, "status")));
	json_decref(v);
	cr_expect_eq(SNP(&v, report, "--insecure-tls"), CTL_FAILED);
	expect_text(v, "reject", "ARK_PIN");
	json_decref(v);
	cr_expect_eq(SNP(&v, bad, "--root", ark), CTL_FAILED);
	expect_text(v, "reject", "REPORT_SIG");
	cr_expect(json_is_null(json_object_get(v, "measurements")));
	json_decref(v);
	cr_expect_eq(RUN(&v, report, "--root", ark), CTL_USAGE);
	json_decref(v);
	fake_amd_fini(&a);
	buf_fini(&b);
	buf_fini(&pem);
}

/* A Nitro document of an AWS of our own, fresh and with our nonce. */
Test(ctl_quote_command, nitro_document)
{
	static struct fake_nitro f;
	char doc[512], aws[512];
	struct buf b = { 0 };
	struct bytes text;
	json_t *v;

	fake_nitro_init(&f);
	text = fake_nitro_build(&f);
	cr_assert_eq(buf_set(&b, text.p, text.len), ERR_OK);
	write_file(doc, "doc", &b);
	write_file(aws, "aws", &f.der[FAKE_NITRO_CERTS - 1]);
	cr_expect_eq(RUN(&v, doc, "--root", aws, "--now", "1750000000",
			 "--nonce", "6e6f6e6365"),
	    CTL_OK);
	expect_text(v, "tee", "nitro");
	json_decref(v);
	cr_expect_eq(
	    RUN(&v, doc, "--root", aws, "--now", "1750000000", "--nonce", "00"),
	    CTL_FAILED);
	expect_text(v, "reject", "NONCE");
	json_decref(v);
	cr_expect_eq(RUN(&v, doc, "--now", "1750000000"), CTL_FAILED);
	expect_text(v, "reject", "ROOT");
	json_decref(v);
	cr_expect_eq(
	    RUN(&v, doc, "--root", aws, "--now", "1750003600"), CTL_FAILED);
	expect_text(v, "reject", "TIMESTAMP_OLD");
	json_decref(v);
	fake_nitro_fini(&f);
	buf_fini(&b);
}

/* With a verdict of yes, every row is "ok"; with a no, exactly one of the
 * algorithm's is refused. */
Test(ctl_quote_command, rows_agree_with_the_verdict)
{
	for (int good = 0; good < 2; good++) {
		unsigned n_refused = 0, n_other = 0;
		const json_t *row_v;
		json_t *v;
		size_t i;

		(void)(good ? RUN(&v, quote, "--root", root)
			    : RUN(&v, quote, "--policy", "any"));
		json_array_foreach(json_object_get(v, "steps"), i, row_v)
		{
			const char *s =
			    json_string_value(json_object_get(row_v, "result"));

			n_refused += strcmp(s, "refused") == 0;
			n_other += strcmp(s, "ok") != 0;
		}
		cr_expect_gt(i, 30);
		cr_expect_eq(n_refused, good ? 0 : 1);
		cr_expect(good ? n_other == 0 : n_other > 1);
		json_decref(v);
	}
}
