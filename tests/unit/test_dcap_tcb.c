/* TCB levels, module identity, relaunch and merging as pure functions, and
 * the parsers of the two signed documents. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "common/attest/tcb.h"

#define ZERO96 \
	"000000000000000000000000000000000000000000000000" \
	"000000000000000000000000000000000000000000000000"
#define ONE96 \
	"010000000000000000000000000000000000000000000000" \
	"000000000000000000000000000000000000000000000000"

/* Appends a component array: the first few SVNs, then zeros. */
static void
comps(struct buf *b, const char *key, unsigned a0, unsigned a1, unsigned a2,
    int n)
{
	const unsigned first[3] = { a0, a1, a2 };

	cr_assert(buf_printf(b, "\"%s\":[", key) == ERR_OK);
	for (int i = 0; i < n; i++)
		cr_assert(buf_printf(b, "%s{\"svn\":%u}", i ? "," : "",
			      i < 3 ? first[i] : 0) == ERR_OK);
	cr_assert(buf_printf(b, "]") == ERR_OK);
}

static void
level(struct buf *b, unsigned sgx0, unsigned pcesvn, unsigned tdx0,
    unsigned tdx2, const char *status, const char *date, const char *more)
{
	cr_assert(buf_printf(b, "%s{\"tcb\":{",
		      b->p[b->len - 1] == '[' ? "" : ",") == ERR_OK);
	comps(b, "sgxtcbcomponents", sgx0, 0, 0, 16);
	cr_assert(buf_printf(b, ",\"pcesvn\":%u,", pcesvn) == ERR_OK);
	comps(b, "tdxtcbcomponents", tdx0, 0, tdx2, 16);
	cr_assert(buf_printf(b, "},\"tcbDate\":\"%s\",\"tcbStatus\":\"%s\"%s}",
		      date, status, more) == ERR_OK);
}

#define HEAD \
	"{\"id\":\"TDX\",\"version\":3," \
	"\"issueDate\":\"2026-01-01T00:00:00Z\"," \
	"\"nextUpdate\":\"2026-02-01T00:00:00Z\"," \
	"\"fmspc\":\"b0C06F000000\",\"pceId\":\"0000\",\"tcbType\":0," \
	"\"tcbEvaluationDataNumber\":17," \
	"\"tdxModule\":{\"mrsigner\":\"" ZERO96 "\"," \
	"\"attributes\":\"0000000000000000\"," \
	"\"attributesMask\":\"FFFFFFFFFFFFFFFF\"},"
#define MODULE(id, signer, attr, mask, levels) \
	"{\"id\":\"" id "\",\"mrsigner\":\"" signer "\"," \
	"\"attributes\":\"" attr "\",\"attributesMask\":\"" mask "\"," \
	"\"tcbLevels\":[" levels "]}"
#define SVN(svn, status) \
	"{\"tcb\":{\"isvsvn\":" svn "}," \
	"\"tcbDate\":\"2024-03-13T00:00:00Z\",\"tcbStatus\":\"" status "\"}"
/* Unsorted on purpose. */
#define MODULES \
	"\"tdxModuleIdentities\":[" MODULE("TDX_03", ZERO96, \
	    "0000000000000000", "FFFFFFFFFFFFFFFF", \
	    SVN("3", "UpToDate")) "," MODULE("tdx_01", ZERO96, \
	    "0000000000000000", "FFFFFFFFFFFFFFFF", \
	    SVN("2", "Revoked") "," SVN("6", "UpToDate") "," SVN( \
		"4", "OutOfDate")) "," MODULE("TDX_0A", ONE96, \
	    "0000000000000001", "00000000000000FF", SVN("1", "UpToDate")) "],"

/* A document of three levels, worst first in the text. */
static void
document(struct buf *b)
{
	cr_assert(buf_printf(b, HEAD MODULES "\"tcbLevels\":[") == ERR_OK);
	level(b, 1, 5, 3, 1, "OutOfDate", "2018-01-04T00:00:00Z",
	    ",\"advisoryIDs\":[\"INTEL-SA-00106\",\"INTEL-SA-00115\"]");
	level(b, 3, 13, 5, 2, "UpToDate", "2024-03-13T00:00:00Z", "");
	level(b, 2, 13, 5, 2, "ConfigurationNeeded", "2023-01-01T00:00:00Z",
	    ",\"advisoryIDs\":[\"INTEL-SA-00115\"]");
	cr_assert(buf_printf(b, "]}") == ERR_OK);
}

static void
parsed(struct tcb_info *t)
{
	struct buf b = { 0 };
	struct refusal why = { 0 };

	document(&b);
	cr_assert(
	    tcb_info_parse(t, buf_view(&b), &why) == ERR_OK, "%s", why.detail);
	buf_fini(&b);
}

static struct pckext
platform(uint8_t sgx0, uint16_t pcesvn)
{
	return (struct pckext){ .cpusvn = { sgx0 }, .pcesvn = pcesvn };
}

/* A TD on module `svn` of version `version`. */
static struct td_report
td(uint8_t svn, uint8_t version, uint8_t microcode)
{
	return (struct td_report){ .tee_tcb_svn = { svn, version, microcode } };
}

/* P9, P25: levels come out newest first, whatever the order of the text;
 * hex is read in either case. */
Test(tcb_info, sorted)
{
	struct tcb_info t;

	parsed(&t);
	cr_assert_eq(t.n_levels, 3);
	cr_assert_eq(t.level[0].sgx[0], 3);
	cr_assert_eq(t.level[1].sgx[0], 2);
	cr_assert_eq(t.level[2].sgx[0], 1);
	cr_assert_eq(t.n_identities, 3);
	cr_assert_eq(t.identity[1].version, 1);
	cr_assert_eq(t.identity[1].level[0].isvsvn, 6);
	cr_assert_eq(t.identity[1].level[2].isvsvn, 2);
	cr_assert_eq(t.identity[2].version, 10);
	cr_assert_eq(t.fmspc[0], 0xb0);
	cr_assert_eq(t.signed_at.eval_number, 17);
	cr_assert_eq(t.signed_at.issued, 1767225600);
	tcb_info_fini(&t);
}

/* Replaces the first `from` in the good document; NULL: unchanged. */
static void
refused_doc(const char *from, const char *to, const char *code)
{
	struct buf b = { 0 }, changed = { 0 };
	struct refusal why = { 0 };
	struct tcb_info t;
	char *at;

	document(&b);
	at = strstr((char *)b.p, from);
	cr_assert_not_null(at, "%s", from);
	cr_assert(buf_printf(&changed, "%.*s%s%s", (int)(at - (char *)b.p),
		      (char *)b.p, to, at + strlen(from)) == ERR_OK);
	cr_assert(tcb_info_parse(&t, buf_view(&changed), &why) == ERR_DENIED,
	    "%s -> %s accepted", from, to);
	cr_assert_eq(why.code, REASON_COLLATERAL_INVALID);
	cr_assert(strncmp(why.detail, code, strlen(code)) == 0, "%s -> %s: %s",
	    from, to, why.detail);
	buf_fini(&b);
	buf_fini(&changed);
}

/* P10, P11: each of these documents has one thing wrong. */
Test(tcb_info, refusals)
{
	static const struct {
		const char *from, *to, *code;
	} c[] = {
		{ "\"TDX\"", "\"sgx\"", "TCB_INFO_MISMATCH" },
		{ "\"TDX\"", "\"TD_QE\"", "TCB_INFO_MISMATCH" },
		{ "\"version\":3", "\"version\":2", "TCB_INFO_MISMATCH" },
		{ "\"version\":3", "\"version\":\"3\"", "JSON" },
		{ "\"version\":3", "\"version\":3.0", "JSON" },
		{ "\"version\":3", "\"version\":3,\"version\":3", "JSON" },
		{ "\"tcbType\":0", "\"tcbType\":1", "TCB_INFO_MISMATCH" },
		{ "\"tcbType\":0,", "", "TCB_INFO_MISMATCH" },
		{ "b0C06F000000", "b0C06F0000", "JSON" },
		{ "b0C06F000000", "0xb0C06F000000", "JSON" },
		{ "b0C06F000000", "g0C06F000000", "JSON" },
		{ "\"pceId\":\"0000\",", "", "JSON" },
		{ "2026-01-01T00:00:00Z", "2026-01-01T00:00:00", "JSON" },
		{ "2026-01-01T00:00:00Z", "2026-01-32T00:00:00Z", "JSON" },
		{ "2026-01-01T00:00:00Z", "2026-03-01T00:00:00Z", "JSON" },
		{ "Number\":17", "Number\":-1", "JSON" },
		{ "Number\":17", "Number\":4294967296", "JSON" },
		{ "tdxModule\"", "tdxmodule\"", "JSON" },
		{ "tdx_01", "TDX_03", "JSON: two TDX" },
		{ "\"isvsvn\":6", "\"isvsvn\":4", "JSON: two equal" },
		{ "\"isvsvn\":6", "\"isvsvn\":65536", "JSON" },
		{ "{\"svn\":1},", "", "JSON: sgxtcbcomponents" },
		{ "{\"svn\":1}", "{\"svn\":256}", "JSON: sgxtcbcomponents" },
		{ "{\"svn\":1}", "{\"svn\":true}", "JSON" },
		{ "{\"svn\":1}", "{\"svn\":1},{\"svn\":1}", "JSON" },
		{ "{\"svn\":3},{\"svn\":0},{\"svn\":1},", "", "JSON: tdxtcb" },
		{ "\"pcesvn\":5", "\"pcesvn\":65536", "JSON" },
		{ "\"pcesvn\":5", "\"pcesvn\":null", "JSON" },
		{ "Revoked", "ConfigurationNeeded", "JSON: tcbStatus of" },
		{ "\"OutOfDate\"", "\"Splendid\"", "JSON: tcbStatus" },
		{ "\"OutOfDate\",\"adv", "\"TDRelaunchAdvised\",\"adv",
		    "JSON: tcbStatus" },
		{ "INTEL-SA-00106", "intel", "JSON: advisory" },
		{ "INTEL-SA-00106", "", "JSON: advisory" },
		{ "INTEL-SA-00106", "INTEL-SA-001060000000000", "JSON" },
		{ "[\"INTEL-SA-00106\"", "[1", "JSON: advisory" },
		{ "\"advisoryIDs\":[\"INTEL-SA-00106\",\"INTEL-SA-00115\"]",
		    "\"advisoryIDs\":\"INTEL-SA-00106\"", "JSON: advisory" },
		{ "2018-01-04T00:00:00Z", "2018-1-4T00:00:00Z",
		    "JSON: tcbDate" },
		{ "FFFFFFFFFFFFFFFF", "FFFFFFFFFFFFFFF", "JSON: TDX module" },
		{ "\"attributes\":\"0000000000000000\",", "",
		    "JSON: TDX module" },
		{ "\"0000000000000001\"", "\"000000000000001\"",
		    "JSON: TDX module" },
		{ "\"00000000000000FF\"", "\"00000000000000\"",
		    "JSON: TDX module" },
		{ "2026-02-01T00:00:00Z", "2026-02-01", "JSON: issueDate" },
		{ "\"nextUpdate\":\"2026-02-01T00:00:00Z\",", "",
		    "JSON: issueDate" },
		{ "\"tcbStatus\":\"OutOfDate\",", "", "JSON: tcbStatus" },
		{ "\"OutOfDate\",\"adv",
		    "\"TDRelaunchAdvisedConfigurationNeeded\",\"adv",
		    "JSON: tcbStatus" },
		{ "\"id\":\"TDX_03\",", "", "JSON: tdxModuleIdentities id" },
		{ "\"id\":\"TDX_03\"", "\"id\":3",
		    "JSON: tdxModuleIdentities id" },
	};

	for (size_t i = 0; i < sizeof c / sizeof c[0]; i++)
		refused_doc(c[i].from, c[i].to, c[i].code);
}

/* Not one whole JSON object, or no levels: refused. */
Test(tcb_info, not_a_document)
{
	static const char *const text[] = { "", "null", "[]", "{}", "{", "3",
		"\"TDX\"", "{\"id\":\"TDX\"}", HEAD "\"tcbLevels\":[]}",
		HEAD "\"tcbLevels\":{}}", HEAD "\"tcbLevels\":[{}]}",
		HEAD "\"tcbLevels\":[{\"tcb\":[]}]}",
		HEAD "\"tdxModuleIdentities\":{},\"tcbLevels\":[]}",
		HEAD "\"tdxModuleIdentities\":[1],\"tcbLevels\":[]}" };
	struct tcb_info t;
	struct buf b = { 0 };

	for (size_t i = 0; i < sizeof text / sizeof text[0]; i++)
		cr_assert(tcb_info_parse(&t,
			      (struct bytes){
				  (const uint8_t *)text[i], strlen(text[i]) },
			      NULL) == ERR_DENIED,
		    "%s", text[i]);
	document(&b);
	for (size_t n = 0; n < b.len; n++)
		cr_assert(tcb_info_parse(&t, (struct bytes){ b.p, n }, NULL) ==
		    ERR_DENIED);
	cr_assert(buf_append(&b, "}", 1, 1 << 20) == ERR_OK);
	cr_assert(tcb_info_parse(&t, buf_view(&b), NULL) == ERR_DENIED);
	buf_fini(&b);
}

/* Two levels with equal keys would make the answer a matter of luck. */
Test(tcb_info, duplicate_levels)
{
	struct buf b = { 0 };
	struct refusal why = { 0 };
	struct tcb_info t;

	cr_assert(buf_printf(&b, HEAD MODULES "\"tcbLevels\":[") == ERR_OK);
	level(&b, 3, 13, 5, 2, "UpToDate", "2024-03-13T00:00:00Z", "");
	level(&b, 3, 13, 5, 2, "OutOfDate", "2024-03-13T00:00:00Z", "");
	cr_assert(buf_printf(&b, "]}") == ERR_OK);
	cr_assert(tcb_info_parse(&t, buf_view(&b), &why) == ERR_DENIED);
	cr_assert_str_eq(why.detail, "JSON: two equal tcbLevels");
	buf_fini(&b);
}

#define QE(id, version, more) \
	"{\"id\":\"" id "\",\"version\":" version "," \
	"\"issueDate\":\"2026-01-01T00:00:00Z\"," \
	"\"nextUpdate\":\"2026-02-01T00:00:00Z\"," \
	"\"tcbEvaluationDataNumber\":18,\"miscselect\":\"00000000\"," \
	"\"miscselectMask\":\"FFFFFFFF\"," \
	"\"attributes\":\"11000000000000000000000000000000\"," \
	"\"attributesMask\":\"FBFFFFFFFFFFFFFF0000000000000000\"," \
	"\"mrsigner\":\"DC9E2A7C6F948F17474E34A7FC43ED030F7C1563F1BABDDF" \
	"6340C82E0E54A8C5\",\"isvprodid\":2," more "}"

static enum err
qe_parse(struct qe_identity *q, const char *text, struct refusal *why)
{
	return qe_identity_parse(
	    q, (struct bytes){ (const uint8_t *)text, strlen(text) }, why);
}

/* P9: a QE identity: the right kind, levels sorted, three statuses. */
Test(qe_identity, parse)
{
	static const char good[] = QE("TD_QE", "2",
	    "\"tcbLevels\":[" SVN("2", "OutOfDate") "," SVN(
		"4", "UpToDate") "]");
	static const struct {
		const char *text, *code;
	} bad[] = {
		{ QE("QVE", "2", "\"tcbLevels\":[" SVN("4", "UpToDate") "]"),
		    "QE_IDENTITY_MISMATCH" },
		{ QE("TDX", "2", "\"tcbLevels\":[" SVN("4", "UpToDate") "]"),
		    "QE_IDENTITY_MISMATCH" },
		{ QE("TD_QE", "1", "\"tcbLevels\":[" SVN("4", "UpToDate") "]"),
		    "QE_IDENTITY_MISMATCH" },
		{ QE("TD_QE", "2", "\"tcbLevels\":[]"), "JSON" },
		{ QE("TD_QE", "2",
		      "\"tcbLevels\":[" SVN("4", "SWHardeningNeeded") "]"),
		    "JSON" },
		{ QE("TD_QE", "2",
		      "\"tcbLevels\":[" SVN("4", "UpToDate") "," SVN(
			  "4", "Revoked") "]"),
		    "JSON" },
		{ QE("TD_QE", "2",
		      "\"isvprodid\":2,\"tcbLevels\":[" SVN(
			  "4", "UpToDate") "]"),
		    "JSON" },
		{ QE("TD_QE", "2", "\"x\":1"), "JSON" },
	};
	struct refusal why = { 0 };
	struct qe_identity q;

	cr_assert(qe_parse(&q, good, &why) == ERR_OK, "%s", why.detail);
	cr_assert_eq(q.level[0].isvsvn, 4);
	cr_assert_eq(q.isvprodid, 2);
	cr_assert_eq(q.mrsigner[0], 0xdc);
	cr_assert_eq(q.signed_at.eval_number, 18);
	qe_identity_fini(&q);
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		cr_assert(qe_parse(&q, bad[i].text, &why) == ERR_DENIED);
		cr_assert(
		    strncmp(why.detail, bad[i].code, strlen(bad[i].code)) == 0,
		    "%zu: %s", i, why.detail);
	}
}

/* SGX documents are told apart by their ids; their levels have no TDX part,
 * and what is there of TDX is not looked at. */
Test(tcb_info, sgx)
{
	static const char qe_text[] =
	    QE("QE", "2", "\"tcbLevels\":[" SVN("4", "UpToDate") "]");
	struct pckext pck = { .pcesvn = 13 };
	struct buf b = { 0 };
	struct refusal why = { 0 };
	struct qe_identity q;
	struct tcb_info t;
	char *at;

	document(&b);
	at = strstr((char *)b.p, "\"TDX\"");
	memcpy(at, "\"SGX\"", 5);
	cr_assert(
	    tcb_info_parse(&t, buf_view(&b), &why) == ERR_OK, "%s", why.detail);
	cr_assert_eq(t.tee, TEE_SGX);
	cr_assert_eq(t.n_identities, 0);
	for (size_t i = 0; i < t.n_levels; i++)
		cr_assert_eq(t.level[i].tdx[0], 0);
	memcpy(pck.cpusvn, t.level[0].sgx, 16);
	cr_assert(tcb_level_match(&t, &pck, NULL) == &t.level[0]);
	tcb_info_fini(&t);
	memcpy(at, "\"TDX\"", 5);
	cr_assert(tcb_info_parse(&t, buf_view(&b), &why) == ERR_OK);
	cr_assert_eq(t.tee, TEE_TDX);
	tcb_info_fini(&t);
	buf_fini(&b);
	cr_assert(qe_parse(&q, qe_text, &why) == ERR_OK, "%s", why.detail);
	cr_assert_eq(q.tee, TEE_SGX);
	qe_identity_fini(&q);
}

/* P10: component by component; no level reached is no level. */
Test(tcb_level, match)
{
	static const uint8_t v0[16] = { 5, 0, 2 };
	struct tcb_info t;
	struct pckext p;

	parsed(&t);
	p = platform(3, 13);
	cr_assert_eq(tcb_level_match(&t, &p, v0), &t.level[0]);
	p = platform(255, 65535);
	cr_assert_eq(tcb_level_match(&t, &p, v0), &t.level[0]);
	p = platform(2, 13);
	cr_assert_eq(tcb_level_match(&t, &p, v0), &t.level[1]);
	p = platform(3, 12); /* PCESVN below the first two */
	cr_assert_eq(tcb_level_match(&t, &p, v0), &t.level[2]);
	p = platform(1, 4);
	cr_assert_null(tcb_level_match(&t, &p, v0));
	p = platform(0, 13);
	cr_assert_null(tcb_level_match(&t, &p, v0));
	/* A high component does not make up for a low one. */
	p = platform(0, 13);
	memset(p.cpusvn + 1, 255, 15);
	cr_assert_null(tcb_level_match(&t, &p, v0));
	tcb_info_fini(&t);
}

/* P7: components 0 and 1 count for module version 0 only. */
Test(tcb_level, module_components)
{
	static const uint8_t low0[16] = { 4, 0, 2 }, low1[16] = { 4, 1, 2 },
			     low2[16] = { 9, 1, 0 };
	struct pckext p = platform(3, 13);
	struct tcb_info t;

	parsed(&t);
	cr_assert_eq(tcb_level_match(&t, &p, low0), &t.level[2]);
	cr_assert_eq(tcb_level_match(&t, &p, low1), &t.level[0]);
	cr_assert_null(tcb_level_match(&t, &p, low2));
	tcb_info_fini(&t);
}

static void
module_refused(
    const struct tcb_info *t, const struct td_report *r, enum reason code)
{
	const struct svn_level *l = NULL;
	struct refusal why = { 0 };

	cr_assert(tcb_module_check(&l, t, r, &why) == ERR_DENIED);
	cr_assert_eq(why.code, code, "%s", why.detail);
	cr_assert_null(l);
}

/* P8: the module must be one that Intel names, at a level that it names. */
Test(tcb_module, identity)
{
	const struct svn_level *l = NULL;
	struct tcb_info t;
	struct td_report r;

	parsed(&t);
	r = td(5, 0, 2);
	cr_assert(tcb_module_check(&l, &t, &r, NULL) == ERR_OK);
	cr_assert_null(l);
	r = td(5, 1, 2);
	cr_assert(tcb_module_check(&l, &t, &r, NULL) == ERR_OK);
	cr_assert_eq(l->isvsvn, 4);
	r = td(255, 3, 2);
	cr_assert(tcb_module_check(&l, &t, &r, NULL) == ERR_OK);
	cr_assert_eq(l->isvsvn, 3);

	r = td(1, 1, 2);
	module_refused(&t, &r, REASON_TCB_UNKNOWN);
	r = td(6, 2, 2); /* no TDX_02 */
	module_refused(&t, &r, REASON_TDX_MODULE);
	for (uint8_t v = 0; v < 2; v++) {
		r = td(6, v, 2);
		r.mrsignerseam[47] = 1;
		module_refused(&t, &r, REASON_TDX_MODULE);
		r = td(6, v, 2);
		r.seam_attributes[7] = 0x80;
		module_refused(&t, &r, REASON_TDX_MODULE);
	}
	tcb_info_fini(&t);
}

/* P8: bits outside the mask must be zero; those inside must be as signed. */
Test(tcb_module, mask)
{
	const struct svn_level *l = NULL;
	struct td_report r = td(1, 10, 2);
	struct tcb_info t;

	parsed(&t);
	r.mrsignerseam[0] = 1;
	module_refused(&t, &r, REASON_TDX_MODULE);
	r.seam_attributes[7] = 1;
	cr_assert(tcb_module_check(&l, &t, &r, NULL) == ERR_OK);
	l = NULL;
	r.seam_attributes[0] = 1;
	module_refused(&t, &r, REASON_TDX_MODULE);
	tcb_info_fini(&t);
}

/* P8: without identities a module of version 1 or more is unknown. */
Test(tcb_module, no_identities)
{
	struct tcb_info t;
	struct td_report r = td(6, 1, 2);

	parsed(&t);
	size_t n = t.n_identities;
	t.n_identities = 0;
	module_refused(&t, &r, REASON_TDX_MODULE);
	t.n_identities = n;
	tcb_info_fini(&t);
}

/* The whole table of 2.8. */
Test(tcb_merge, table)
{
	static const struct {
		enum tcb_status platform, out_of_date;
	} row[] = {
		{ TCB_UP_TO_DATE, TCB_OUT_OF_DATE },
		{ TCB_SW_HARDENING, TCB_OUT_OF_DATE },
		{ TCB_CONFIGURATION, TCB_OUT_OF_DATE_CONFIGURATION },
		{ TCB_CONFIGURATION_SW, TCB_OUT_OF_DATE_CONFIGURATION },
		{ TCB_OUT_OF_DATE, TCB_OUT_OF_DATE },
		{ TCB_OUT_OF_DATE_CONFIGURATION,
		    TCB_OUT_OF_DATE_CONFIGURATION },
		{ TCB_REVOKED, TCB_REVOKED },
	};

	for (size_t i = 0; i < sizeof row / sizeof row[0]; i++) {
		enum tcb_status p = row[i].platform;

		cr_assert_eq(tcb_merge(p, TCB_UP_TO_DATE), p);
		cr_assert_eq(tcb_merge(p, TCB_OUT_OF_DATE), row[i].out_of_date);
		cr_assert_eq(tcb_merge(p, TCB_REVOKED), TCB_REVOKED);
	}
}

/* A TD launched on an old module that has since been updated. */
static struct td_report
relaunchable(void)
{
	struct td_report r = td(4, 1, 2);

	r.has_15 = true;
	r.tee_tcb_svn_2[0] = 6;
	r.tee_tcb_svn_2[1] = 1;
	r.tee_tcb_svn_2[2] = 2;
	return r;
}

/* Relaunch is advised only when a new start would help. */
Test(tcb_relaunch, conditions)
{
	const enum tcb_status ood = TCB_OUT_OF_DATE, utd = TCB_UP_TO_DATE;
	struct td_report r = relaunchable();
	struct pckext p = platform(3, 13);
	struct tcb_info t;

	parsed(&t);
	cr_assert_eq(tcb_relaunch(ood, ood, utd, &t, &p, &r), TCB_RELAUNCH);
	cr_assert_eq(tcb_relaunch(utd, ood, utd, &t, &p, &r), utd);
	cr_assert_eq(tcb_relaunch(ood, utd, utd, &t, &p, &r), ood);
	cr_assert_eq(tcb_relaunch(ood, ood, ood, &t, &p, &r), ood);
	cr_assert_eq(
	    tcb_relaunch(TCB_REVOKED, ood, utd, &t, &p, &r), TCB_REVOKED);

	/* What runs now must be the newest, in module and microcode. */
	r.tee_tcb_svn_2[0] = 5;
	cr_assert_eq(tcb_relaunch(ood, ood, utd, &t, &p, &r), ood);
	r = relaunchable();
	r.tee_tcb_svn_2[2] = 1;
	cr_assert_eq(tcb_relaunch(ood, ood, utd, &t, &p, &r), ood);
	r = relaunchable();
	r.tee_tcb_svn_2[1] = 2; /* no such module */
	cr_assert_eq(tcb_relaunch(ood, ood, utd, &t, &p, &r), ood);
	r.tee_tcb_svn_2[1] = 0; /* version 0: compare with the top level */
	r.tee_tcb_svn_2[0] = 4;
	cr_assert_eq(tcb_relaunch(ood, ood, utd, &t, &p, &r), ood);
	r.tee_tcb_svn_2[0] = 5;
	cr_assert_eq(tcb_relaunch(ood, ood, utd, &t, &p, &r), TCB_RELAUNCH);

	/* The platform without TDX: configuration, old, or unknown. */
	r = relaunchable();
	p = platform(2, 13);
	cr_assert_eq(tcb_relaunch(ood, ood, utd, &t, &p, &r),
	    TCB_RELAUNCH_CONFIGURATION);
	p = platform(1, 5);
	cr_assert_eq(tcb_relaunch(ood, ood, utd, &t, &p, &r), ood);
	p = platform(0, 0);
	cr_assert_eq(tcb_relaunch(ood, ood, utd, &t, &p, &r), ood);
	r.has_15 = false;
	p = platform(3, 13);
	cr_assert_eq(tcb_relaunch(ood, ood, utd, &t, &p, &r), ood);
	tcb_info_fini(&t);
}

static struct svn_level
qe_level(enum tcb_status s)
{
	struct svn_level l = { .isvsvn = 4,
		.says = { .status = s, .date = 1000000000 } };

	l.says.advisories.id[0] = "INTEL-SA-00837";
	l.says.advisories.id[1] = "INTEL-SA-00115";
	l.says.advisories.n = 2;
	return l;
}

/* The verdict keeps all three statuses, the earliest date, and each
 * advisory once, in the order platform, module, QE. */
Test(tcb_judge, union)
{
	struct svn_level qe = qe_level(TCB_OUT_OF_DATE);
	struct pckext p = platform(2, 13);
	struct td_report r = td(6, 1, 2);
	struct verdict v = { 0 };
	struct tcb_info t;

	parsed(&t);
	cr_assert(tcb_judge(&v, &t, &p, &r, &qe, NULL) == ERR_OK);
	cr_assert_eq(v.status, TCB_OUT_OF_DATE_CONFIGURATION);
	cr_assert_eq(v.platform_status, TCB_CONFIGURATION);
	cr_assert_eq(v.module_status, TCB_UP_TO_DATE);
	cr_assert_eq(v.qe_status, TCB_OUT_OF_DATE);
	cr_assert_eq(v.tcb_date, 1000000000);
	cr_assert_eq(v.n_advisories, 2);
	cr_assert_str_eq(v.advisory[0], "INTEL-SA-00115");
	cr_assert_str_eq(v.advisory[1], "INTEL-SA-00837");
	tcb_info_fini(&t);
}

/* Revoked anywhere is a refusal, not a status. */
Test(tcb_judge, revoked)
{
	struct svn_level qe = qe_level(TCB_REVOKED);
	struct pckext p = platform(3, 13);
	struct td_report r = td(6, 1, 2);
	struct refusal why = { 0 };
	struct verdict v = { 0 };
	struct tcb_info t;

	parsed(&t);
	cr_assert(tcb_judge(&v, &t, &p, &r, &qe, &why) == ERR_DENIED);
	cr_assert_eq(why.code, REASON_TCB_STATUS);
	cr_assert(strncmp(why.detail, "TCB_REVOKED", 11) == 0);
	qe = qe_level(TCB_UP_TO_DATE);
	cr_assert(tcb_judge(&v, &t, &p, &r, &qe, &why) == ERR_OK);
	r = td(3, 1, 2); /* the module's level 2 is revoked */
	cr_assert(tcb_judge(&v, &t, &p, &r, &qe, &why) == ERR_DENIED);
	cr_assert(strncmp(why.detail, "TCB_REVOKED", 11) == 0);
	t.level[0].says.status = TCB_REVOKED;
	r = td(6, 1, 2);
	cr_assert(tcb_judge(&v, &t, &p, &r, &qe, &why) == ERR_DENIED);
	/* The level that matches counts, even if a lower one were better. */
	cr_assert(strncmp(why.detail, "TCB_REVOKED", 11) == 0);
	tcb_info_fini(&t);
}

/* More advisories than a verdict holds: refused, never cut. */
Test(tcb_judge, too_many_advisories)
{
	static char id[ADVISORY_MAX][ADVISORY_LEN];
	struct svn_level qe = qe_level(TCB_UP_TO_DATE);
	struct pckext p = platform(2, 13); /* brings one */
	struct td_report r = td(6, 1, 2);
	struct verdict v = { 0 };
	struct tcb_info t;

	parsed(&t);
	for (unsigned i = 0; i < ADVISORY_MAX; i++) {
		snprintf(id[i], sizeof id[i], "INTEL-SA-9%u", i);
		qe.says.advisories.id[i] = id[i];
	}
	qe.says.advisories.n = ADVISORY_MAX;
	cr_assert(tcb_judge(&v, &t, &p, &r, &qe, NULL) == ERR_DENIED);
	qe.says.advisories.n = ADVISORY_MAX - 1;
	cr_assert(tcb_judge(&v, &t, &p, &r, &qe, NULL) == ERR_OK);
	cr_assert_eq(v.n_advisories, ADVISORY_MAX);
	tcb_info_fini(&t);
}

/* Dates have one form, and days that exist. */
Test(tcb_date, forms)
{
	static const char *const bad[] = { "", "2026-01-01",
		"2026-13-01T00:00:00Z", "2026-02-30T00:00:00Z",
		"2026-01-01T24:00:00Z", "2026-01-01T00:60:00Z",
		"2026-01-01T00:00:60Z", "2026-01-01 00:00:00Z",
		"2026-01-01T00:00:00z", "2026-01-01T00:00:00Z ",
		" 2026-01-01T00:00:00Z", "+026-01-01T00:00:00Z",
		"2026-01-01T00:00:0-Z", "2025-02-29T00:00:00Z",
		"2026x01-01T00:00:00Z", "2026-01x01T00:00:00Z",
		"2026-01-01T00x00:00Z", "2026-01-01T00:00x00Z",
		"2026-0a-01T00:00:00Z", "2026-01-0aT00:00:00Z",
		"2026-01-01T0a:00:00Z", "2026-01-01T00:0a:00Z" };
	int64_t v = 7;

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		cr_assert(
		    tcb_date_parse(&v, bad[i]) == ERR_MALFORMED, "%s", bad[i]);
	cr_assert_eq(v, 7);
	cr_assert(tcb_date_parse(&v, "2024-02-29T12:34:56Z") == ERR_OK);
	cr_assert_eq(v, 1709210096);
}
