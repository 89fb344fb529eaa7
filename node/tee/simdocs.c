#include <stdio.h>
#include <string.h>
#include <time.h>

#include "common/base/hex.h"
#include "common/crypto/hash.h"
#include "node/tee/simdocs.h"

/* TCB levels, best first.  A TD of the simulator has TEE_TCB_SVN[1] = 1, so
 * the components 0 and 1 are judged by the module identity TDX_01 and only
 * 2 to 15 by these levels: tdx-dcap.md 2.6, 2.7. */
static const struct {
	uint8_t sgx[16];
	uint16_t pce_svn;
	uint8_t tdx[16];
	uint8_t module_svn; /* of TDs on such a platform */
	const char *date, *status, *advisories;
} levels[] = {
	{ { 3, 3, 2, 2, 4, 1, 0, 5 }, 13, { 7, 0, 9 }, 7,
	    "2026-05-13T00:00:00Z", "UpToDate", "" },
	{ { 3, 3, 2, 2, 3, 1, 0, 5 }, 13, { 5, 0, 7 }, 4,
	    "2025-08-13T00:00:00Z", "OutOfDate", "\"" SIM_ADVISORY "\"" },
	{ { 2, 2, 2, 2, 3, 1, 0, 3 }, 5, { 3, 0, 5 }, 2, "2024-03-13T00:00:00Z",
	    "OutOfDate", "\"" SIM_ADVISORY "\",\"SIM-SA-00002\"" },
};
#define N_LEVELS (sizeof levels / sizeof levels[0])

#define ZERO48 \
	"000000000000000000000000000000000000000000000000" \
	"000000000000000000000000000000000000000000000000"
#define MODULE_RULE \
	"\"mrsigner\":\"" ZERO48 "\",\"attributes\":\"0000000000000000\"," \
	"\"attributesMask\":\"FFFFFFFFFFFFFFFF\""

enum err
sim_date(char out[static 21], int64_t at)
{
	time_t t = (time_t)at;
	struct tm tm;

	if (gmtime_r(&t, &tm) == NULL ||
	    strftime(out, 21, "%Y-%m-%dT%H:%M:%SZ", &tm) != 20)
		return ERR_LIMIT;
	return ERR_OK;
}

void
sim_platform_svns(struct sim_platform *p, unsigned level)
{
	level = level < N_LEVELS ? level : N_LEVELS - 1;
	memcpy(p->sgx_svn, levels[level].sgx, 16);
	p->pce_svn = levels[level].pce_svn;
	memcpy(p->tee_tcb_svn, levels[level].tdx, 16);
	p->tee_tcb_svn[0] = levels[level].module_svn;
	p->tee_tcb_svn[1] = 1;
}

void
sim_qe_mrsigner(uint8_t out[static 32])
{
	static const char label[] = SIM_ORGANIZATION " TD QE signer";

	sha256(out, label, sizeof label - 1);
}

static enum err
components(struct buf *out, const char *name, const uint8_t svn[static 16])
{
	enum err e = buf_printf(out, "\"%s\":[", name);

	for (unsigned i = 0; i < 16 && e == ERR_OK; i++)
		e = buf_printf(
		    out, "%s{\"svn\":%u}", i == 0 ? "" : ",", svn[i]);
	return e == ERR_OK ? buf_printf(out, "]") : e;
}

/* ,"tcbDate":..,"tcbStatus":..[,"advisoryIDs":[..]]} */
static enum err
level_end(struct buf *out, const char *date, const char *status,
    const char *advisories)
{
	enum err e = buf_printf(
	    out, ",\"tcbDate\":\"%s\",\"tcbStatus\":\"%s\"", date, status);

	if (e == ERR_OK && advisories[0] != '\0')
		e = buf_printf(out, ",\"advisoryIDs\":[%s]", advisories);
	return e == ERR_OK ? buf_printf(out, "}") : e;
}

static enum err
module_identity(struct buf *out)
{
	enum err e = buf_printf(out,
	    "\"tdxModuleIdentities\":[{\"id\":\"TDX_01\"," MODULE_RULE
	    ",\"tcbLevels\":[");

	for (size_t i = 0; i < N_LEVELS && e == ERR_OK; i++) {
		e = buf_printf(out, "%s{\"tcb\":{\"isvsvn\":%u}",
		    i == 0 ? "" : ",", levels[i].module_svn);
		if (e == ERR_OK)
			e = level_end(out, levels[i].date, levels[i].status,
			    levels[i].advisories);
	}
	return e == ERR_OK ? buf_printf(out, "]}]") : e;
}

static enum err
platform_levels(struct buf *out)
{
	enum err e = buf_printf(out, "\"tcbLevels\":[");

	for (size_t i = 0; i < N_LEVELS && e == ERR_OK; i++) {
		e = buf_printf(out, "%s{\"tcb\":{", i == 0 ? "" : ",");
		if (e == ERR_OK)
			e = components(out, "sgxtcbcomponents", levels[i].sgx);
		if (e == ERR_OK)
			e = buf_printf(
			    out, ",\"pcesvn\":%u,", levels[i].pce_svn);
		if (e == ERR_OK)
			e = components(out, "tdxtcbcomponents", levels[i].tdx);
		if (e == ERR_OK)
			e = buf_printf(out, "}");
		if (e == ERR_OK)
			e = level_end(out, levels[i].date, levels[i].status,
			    levels[i].advisories);
	}
	return e == ERR_OK ? buf_printf(out, "]") : e;
}

enum err
sim_tcb_info_text(struct buf *out, int64_t from, int64_t until)
{
	char issue[21], next[21], fmspc[13], pceid[5];
	enum err e;

	if ((e = sim_date(issue, from)) != ERR_OK ||
	    (e = sim_date(next, until)) != ERR_OK)
		return e;
	(void)hex_encode(fmspc, SIM_FMSPC, 6);
	(void)hex_encode(pceid, SIM_PCEID, 2);
	out->len = 0;
	e = buf_printf(out,
	    "{\"id\":\"TDX\",\"version\":3,\"issueDate\":\"%s\","
	    "\"nextUpdate\":\"%s\",\"fmspc\":\"%s\",\"pceId\":\"%s\","
	    "\"tcbType\":0,\"tcbEvaluationDataNumber\":%d,"
	    "\"tdxModule\":{" MODULE_RULE "},",
	    issue, next, fmspc, pceid, SIM_TCB_EVAL_NUMBER);
	if (e == ERR_OK)
		e = module_identity(out);
	if (e == ERR_OK)
		e = buf_printf(out, ",");
	if (e == ERR_OK)
		e = platform_levels(out);
	return e == ERR_OK ? buf_printf(out, "}") : e;
}

enum err
sim_qe_identity_text(struct buf *out, int64_t from, int64_t until)
{
	char issue[21], next[21], signer[65];
	uint8_t mrsigner[32];
	enum err e;

	if ((e = sim_date(issue, from)) != ERR_OK ||
	    (e = sim_date(next, until)) != ERR_OK)
		return e;
	sim_qe_mrsigner(mrsigner);
	out->len = 0;
	return buf_printf(out,
	    "{\"id\":\"TD_QE\",\"version\":2,\"issueDate\":\"%s\","
	    "\"nextUpdate\":\"%s\",\"tcbEvaluationDataNumber\":%d,"
	    "\"miscselect\":\"00000000\",\"miscselectMask\":\"FFFFFFFF\","
	    "\"attributes\":\"11000000000000000000000000000000\","
	    "\"attributesMask\":\"FBFFFFFFFFFFFFFF0000000000000000\","
	    "\"mrsigner\":\"%s\",\"isvprodid\":%d,\"tcbLevels\":["
	    "{\"tcb\":{\"isvsvn\":%d},\"tcbDate\":\"2026-05-13T00:00:00Z\","
	    "\"tcbStatus\":\"UpToDate\"},"
	    "{\"tcb\":{\"isvsvn\":4},\"tcbDate\":\"2024-03-13T00:00:00Z\","
	    "\"tcbStatus\":\"OutOfDate\",\"advisoryIDs\":[\"" SIM_ADVISORY
	    "\"]}]}",
	    issue, next, SIM_TCB_EVAL_NUMBER, hex_encode(signer, mrsigner, 32),
	    SIM_QE_ISVPRODID, SIM_QE_ISVSVN);
}
