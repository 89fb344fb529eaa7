/* The two signed documents of a platform, with members that are wrong one at a
 * time: what test_dcap_tcb, which judges by them, does not bend. */
#include <stdio.h>
#include <string.h>

#include <criterion/criterion.h>

#include "common/attest/tcb.h"

#define ZERO96 \
	"000000000000000000000000000000000000000000000000" \
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
#define SVN(svn, status) \
	"{\"tcb\":{\"isvsvn\":" svn "}," \
	"\"tcbDate\":\"2024-03-13T00:00:00Z\",\"tcbStatus\":\"" status "\"}"

/* A module whose id is not of this form is none that a TD could name: it is
 * there, and matches nothing, however many there are. */
Test(tcb_docs, ids_of_modules)
{
	static const char *const other[] = { "TDX_0", "TDX_003", "TDXX03",
		"XDX_03", "TDX-03", "TDX_0g", "TDX_g3", "{DX_03", "" };
	struct buf b = { 0 };
	struct refusal why = { 0 };
	struct tcb_info t;

	for (size_t i = 0; i < sizeof other / sizeof other[0]; i++) {
		b.len = 0;
		cr_assert(
		    buf_printf(&b, HEAD "\"tdxModuleIdentities\":[") == ERR_OK);
		for (int k = 0; k < 2; k++)
			cr_assert(
			    buf_printf(&b,
				"{\"id\":\"%s\",\"mrsigner\":\"" ZERO96
				"\",\"attributes\":\"0000000000000000\","
				"\"attributesMask\":\"FFFFFFFFFFFFFFFF\","
				"\"tcbLevels\":[" SVN("1", "UpToDate") "]}%s",
				other[i], k == 0 ? "," : "") == ERR_OK);
		cr_assert(buf_printf(&b, "],\"tcbLevels\":[") == ERR_OK);
		level(&b, 3, 13, 5, 2, "UpToDate", "2024-03-13T00:00:00Z", "");
		cr_assert(buf_printf(&b, "]}") == ERR_OK);
		cr_assert(tcb_info_parse(&t, buf_view(&b), &why) == ERR_OK,
		    "%s: %s", other[i], why.detail);
		cr_assert_eq(t.n_identities, 2);
		cr_assert_eq(t.identity[0].version, -1, "%s", other[i]);
		cr_assert_eq(t.identity[1].version, -1, "%s", other[i]);
		tcb_info_fini(&t);
	}
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

/* Each member of it is there, and has its form. */
Test(tcb_docs, members)
{
	static const char good[] = QE("TD_QE", "2",
	    "\"tcbLevels\":[" SVN("2", "OutOfDate") "," SVN(
		"4", "UpToDate") "]");
	static const struct {
		const char *from, *to;
	} c[] = {
		{ "\"miscselect\":\"00000000\"", "\"miscselect\":\"000000\"" },
		{ "\"miscselect\"", "\"miscselected\"" },
		{ "\"FFFFFFFF\"", "\"FFFFFFFF0\"" },
		{ "\"FFFFFFFF\"", "\"GFFFFFFF\"" },
		{ "\"attributes\"", "\"attribute\"" },
		{ "\"11000000000000000000000000000000\"", "\"11\"" },
		{ "\"FBFFFFFFFFFFFFFF0000000000000000\"", "null" },
		{ "\"DC9E", "\"9E" },
		{ "\"mrsigner\"", "\"mrenclave\"" },
		{ "\"isvprodid\":2", "\"isvprodid\":65536" },
		{ "\"isvprodid\":2", "\"isvprodid\":\"2\"" },
		{ "\"isvprodid\":2,", "" },
		{ "2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z" },
		{ "Number\":18", "Number\":18.5" },
	};

	for (size_t i = 0; i < sizeof c / sizeof c[0]; i++) {
		const char *at = strstr(good, c[i].from);
		struct refusal why = { 0 };
		struct buf b = { 0 };
		struct qe_identity q;

		cr_assert_not_null(at, "%s", c[i].from);
		cr_assert(buf_printf(&b, "%.*s%s%s", (int)(at - good), good,
			      c[i].to, at + strlen(c[i].from)) == ERR_OK);
		cr_assert(qe_parse(&q, (char *)b.p, &why) == ERR_DENIED,
		    "%s -> %s accepted", c[i].from, c[i].to);
		cr_assert_eq(why.code, REASON_COLLATERAL_INVALID);
		buf_fini(&b);
	}
}
