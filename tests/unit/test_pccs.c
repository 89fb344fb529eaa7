/* The collateral client against the simulated PCCS, and against one that
 * misbehaves. */
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include <criterion/criterion.h>

#include "common/attest/dcap.h"
#include "common/attest/pccs.h"
#include "common/net/httpd.h"
#include "node/tee/pccs_server.h"
#include "tests/lib/simworld.h"

#define DAY (24 * 3600)
#define EVAL "\"tcbEvaluationDataNumber\":"

static struct simworld w;
static struct pccs_server *server;
static struct httpd *proxy; /* serves what `mode` says */
static struct pccs *client;
static _Atomic int64_t now = SIMWORLD_NOW;

static enum mode {
	MODE_PASS,
	MODE_STATUS,
	MODE_EMPTY,
	MODE_GARBAGE,
	MODE_NO_CHAIN,
	MODE_BAD_CHAIN,
	MODE_HUGE,
	MODE_OLDER,
	MODE_UNNUMBERED,
} mode;
static unsigned mode_status;
static const char *mode_path = "";
static const char *retry_after;
static char last_tcb[128];
static atomic_uint asked;

static int64_t
the_clock(void)
{
	return now;
}

/* The documents, straight from the files, or something else instead. */
static void
answer(void *cookie, const struct httpd_request *rq, struct httpd_reply *rp)
{
	static const struct {
		const char *part, *header;
		enum sim_document what;
	} doc[] = {
		{ "/tcb", "TCB-Info-Issuer-Chain", SIM_DOC_TCB_INFO },
		{ "/identity", "SGX-Enclave-Identity-Issuer-Chain",
		    SIM_DOC_QE_IDENTITY },
		{ "/pckcrl", "SGX-PCK-CRL-Issuer-Chain", SIM_DOC_PCK_CRL },
		{ "/rootcacrl", NULL, SIM_DOC_ROOT_CRL },
	};
	bool hit = strstr(rq->path, mode_path) != NULL;

	(void)cookie;
	asked++;
	if (strstr(rq->path, "/tcb") != NULL)
		(void)snprintf(last_tcb, sizeof last_tcb, "%s", rq->path);
	for (size_t i = 0; i < 4; i++)
		if (strstr(rq->path, doc[i].part) != NULL) {
			(void)!sim_pki_document(&rp->body, w.dir, doc[i].what);
			rp->header_name = doc[i].header;
			rp->header_value = "chain";
		}
	if (!hit || mode == MODE_PASS)
		return;
	if (mode == MODE_STATUS) {
		rp->status = mode_status;
		rp->header_name = retry_after != NULL ? "Retry-After" : NULL;
		rp->header_value = retry_after;
	}
	if (mode == MODE_EMPTY)
		rp->body.len = 0;
	if (mode == MODE_GARBAGE)
		(void)!buf_set(&rp->body, "{\"a\":1}", 7);
	if (mode == MODE_NO_CHAIN)
		rp->header_name = NULL;
	if (mode == MODE_BAD_CHAIN)
		rp->header_value = "%zz";
	if (mode == MODE_OLDER || mode == MODE_UNNUMBERED) {
		char *at = strstr((char *)rp->body.p, EVAL "18");

		cr_assert_not_null(at);
		at[mode == MODE_OLDER ? strlen(EVAL "1") : 1]--; /* "..17" */
	}
	if (mode == MODE_HUGE)
		for (int i = 0; i < 600; i++)
			(void)!buf_printf(&rp->body, "%1024d", 0);
}

static void
setup(void)
{
	struct httpd_options o = { .host = "127.0.0.1",
		.max_body = 1000,
		.max_connections = 32,
		.timeout_s = 20,
		.threads = 8 };
	char url[64];

	simworld_init(&w);
	cr_assert_eq(
	    pccs_server_start(&server, w.dir, "127.0.0.1", 0, the_clock),
	    ERR_OK);
	cr_assert_eq(httpd_start(&proxy, &o, answer, NULL), ERR_OK);
	(void)snprintf(url, sizeof url, "http://127.0.0.1:%u/",
	    (unsigned)httpd_port(proxy));
	cr_assert_eq(pccs_new(&client, url, false), ERR_OK);
}

static void
teardown(void)
{
	pccs_free(client);
	httpd_stop(proxy);
	pccs_server_stop(server);
	simworld_fini(&w);
}

TestSuite(pccs, .init = setup, .fini = teardown, .timeout = 120);

static enum err
get(int64_t at, struct refusal *why)
{
	struct collateral c = { 0 };
	enum err e;

	*why = (struct refusal){ 0 };
	e = pccs_get(client, &c, SIM_FMSPC, true, at, why);
	if (e == ERR_OK)
		cr_assert_gt(c.tcb_info.len, 0);
	else
		cr_assert_eq(c.tcb_info.len, 0);
	collateral_fini(&c);
	return e;
}

/* What the simulated PCCS serves verifies a quote, end to end. */
Test(pccs, end_to_end)
{
	struct tee *t = simworld_boot(&w);
	struct buf q = { 0 }, der = { 0 };
	struct pccs *p = NULL;
	struct collateral c = { 0 };
	struct dcap_root *root = NULL;
	struct refusal why = { 0 };
	struct verdict v;
	uint8_t fmspc[6], rd[64] = { 0 };
	bool platform = false;
	char url[64];

	(void)snprintf(url, sizeof url, "http://127.0.0.1:%u",
	    (unsigned)pccs_server_port(server));
	cr_assert_eq(pccs_new(&p, url, false), ERR_OK);
	cr_assert_eq(tee_quote(t, &q, rd, &why), ERR_OK);
	cr_assert_eq(
	    dcap_platform(fmspc, &platform, buf_view(&q), &why), ERR_OK);
	cr_assert(platform);
	cr_assert_eq(pccs_get(p, &c, fmspc, platform, SIMWORLD_NOW, &why),
	    ERR_OK, "%s", why.detail);
	cr_assert_eq(sim_pki_document(&der, w.dir, SIM_DOC_ROOT), ERR_OK);
	cr_assert_eq(dcap_root_new(&root, buf_view(&der)), ERR_OK);
	cr_assert_eq(
	    dcap_verify(&v, buf_view(&q), &c, root, SIMWORLD_NOW, &why), ERR_OK,
	    "%s", why.detail);
	cr_assert_eq(v.status, TCB_UP_TO_DATE);

	/* A platform that nobody knows, and the CA that there is not. */
	collateral_fini(&c);
	fmspc[0] ^= 1;
	cr_assert_eq(
	    pccs_get(p, &c, fmspc, true, SIMWORLD_NOW, &why), ERR_AGAIN);
	cr_assert_eq(why.code, REASON_COLLATERAL_MISSING);
	cr_assert_not_null(strstr(why.detail, "404"));
	cr_assert_eq(
	    pccs_get(p, &c, SIM_FMSPC, false, SIMWORLD_NOW, &why), ERR_AGAIN);
	dcap_root_free(root);
	pccs_free(p);
	tee_close(t);
	buf_fini(&q);
	buf_fini(&der);
}

/* The simulated PCCS issues anew by itself when half of the life is over. */
Test(pccs, server_reissues)
{
	struct buf a = { 0 }, b = { 0 };
	struct pccs *p = NULL;
	struct collateral c = { 0 };
	struct refusal why = { 0 };
	char url[64];

	(void)snprintf(url, sizeof url, "http://127.0.0.1:%u",
	    (unsigned)pccs_server_port(server));
	cr_assert_eq(pccs_new(&p, url, false), ERR_OK);
	cr_assert_eq(sim_pki_document(&a, w.dir, SIM_DOC_TCB_INFO), ERR_OK);
	now = SIMWORLD_NOW + 40 * DAY;
	cr_assert_eq(pccs_get(p, &c, SIM_FMSPC, true, now, &why), ERR_OK, "%s",
	    why.detail);
	cr_assert_eq(sim_pki_document(&b, w.dir, SIM_DOC_TCB_INFO), ERR_OK);
	cr_assert_str_neq((char *)a.p, (char *)b.p);
	now = SIMWORLD_NOW;
	collateral_fini(&c);
	pccs_free(p);
	buf_fini(&a);
	buf_fini(&b);
}

/* Every status but 200 is "not now", and the reason names it. */
Test(pccs, statuses)
{
	static const struct {
		unsigned status;
		const char *says;
	} row[] = { { 404, "404" }, { 410, "410" }, { 429, "429" },
		{ 500, "HTTP 500" }, { 302, "HTTP 302" } };
	static const char *const path[] = { "/tcb", "/identity", "/pckcrl",
		"/rootcacrl" };
	struct refusal why;
	int64_t at = SIMWORLD_NOW;

	mode = MODE_STATUS;
	for (size_t i = 0; i < sizeof row / sizeof row[0]; i++)
		for (size_t j = 0; j < 4; j++) {
			mode_status = row[i].status;
			mode_path = path[j];
			at += 61; /* what a 429 by itself pauses */
			cr_assert_eq(get(at, &why), ERR_AGAIN);
			cr_assert_eq(why.code, REASON_COLLATERAL_MISSING);
			cr_assert_not_null(
			    strstr(why.detail, row[i].says), "%s", why.detail);
		}
}

/* An answer that does not parse is refused, whichever part it is. */
Test(pccs, malformed_answers)
{
	static const char *const path[] = { "/tcb", "/identity", "/pckcrl",
		"/rootcacrl" };
	struct refusal why;

	for (size_t j = 0; j < 4; j++) {
		mode_path = path[j];
		mode = MODE_EMPTY;
		cr_assert_eq(get(SIMWORLD_NOW, &why), ERR_DENIED);
		cr_assert_eq(why.code, REASON_COLLATERAL_INVALID);
		mode = MODE_GARBAGE;
		cr_assert_eq(get(SIMWORLD_NOW, &why), ERR_DENIED);
		cr_assert_eq(why.code, REASON_COLLATERAL_INVALID);
		mode = MODE_HUGE;
		cr_assert_eq(get(SIMWORLD_NOW, &why), ERR_AGAIN);
		if (j == 3)
			continue; /* the root CRL has no chain header */
		mode = MODE_NO_CHAIN;
		cr_assert_eq(get(SIMWORLD_NOW, &why), ERR_DENIED);
		mode = MODE_BAD_CHAIN;
		cr_assert_eq(get(SIMWORLD_NOW, &why), ERR_DENIED);
	}
	mode = MODE_PASS;
	cr_assert_eq(get(SIMWORLD_NOW, &why), ERR_OK, "%s", why.detail);
}

/* A bundle is asked for once; after a day again; pccs_forget drops it. */
Test(pccs, cache)
{
	struct refusal why;

	for (int i = 0; i < 5; i++)
		cr_assert_eq(get(SIMWORLD_NOW + i, &why), ERR_OK);
	cr_assert_eq(asked, 4);
	/* The moment of the next fetch is by chance, an eighth at most. */
	cr_assert_eq(get(SIMWORLD_NOW + DAY * 7 / 8 - 10, &why), ERR_OK);
	cr_assert_eq(asked, 4);
	cr_assert_eq(get(SIMWORLD_NOW + DAY + 10, &why), ERR_OK);
	cr_assert_eq(asked, 8);
	pccs_forget(client, SIM_FMSPC, true);
	cr_assert_eq(get(SIMWORLD_NOW + DAY + 10, &why), ERR_OK);
	cr_assert_eq(asked, 12);
}

/* A provider that wants a pause gets it, for as long as it says. */
Test(pccs, pauses)
{
	static const struct {
		const char *says;
		int64_t s;
	} row[] = { { NULL, 60 }, { "5", 5 }, { "0", 0 }, { "7200", 3600 },
		{ "99999999999999999999", 3600 },
		{ "Wed, 21 Oct 2026 07:28:00 GMT", 60 } };
	struct refusal why;
	int64_t at = SIMWORLD_NOW;
	unsigned before;

	mode_path = "/tcb";
	for (size_t i = 0; i < sizeof row / sizeof row[0]; i++) {
		mode = MODE_STATUS;
		mode_status = 429;
		retry_after = row[i].says;
		cr_assert_eq(get(at, &why), ERR_AGAIN);
		cr_assert_not_null(strstr(why.detail, "429"));
		before = asked;
		mode = MODE_PASS;
		if (row[i].s > 0) {
			cr_assert_eq(get(at + row[i].s - 1, &why), ERR_AGAIN);
			cr_assert_eq(why.code, REASON_COLLATERAL_MISSING);
			cr_assert_eq(asked, before);
		}
		at += row[i].s;
		cr_assert_eq(get(at, &why), ERR_OK, "%s", why.detail);
		pccs_forget(client, SIM_FMSPC, true);
	}
}

/* When one provider fails the next is asked; the one that helped stays, until
 * what it gave is found wrong. */
Test(pccs, several_providers)
{
	char url[2][64];
	const char *list[] = { url[0], url[1], "http://127.0.0.1:1" };
	struct pccs *p = NULL;
	struct collateral c = { 0 };
	struct refusal why = { 0 };

	(void)snprintf(url[0], sizeof url[0], "http://127.0.0.1:%u",
	    (unsigned)httpd_port(proxy));
	(void)snprintf(url[1], sizeof url[1], "http://127.0.0.1:%u",
	    (unsigned)pccs_server_port(server));
	cr_assert_eq(pccs_new_many(&p, list, 0, false), ERR_CONFIG);
	cr_assert_eq(
	    pccs_new_many(&p, list, LIMIT_PCCS + 1, false), ERR_CONFIG);
	cr_assert_eq(pccs_new_many(&p, list, 3, false), ERR_OK);

	mode = MODE_GARBAGE;
	mode_path = "/identity";
	cr_assert_eq(pccs_get(p, &c, SIM_FMSPC, true, SIMWORLD_NOW, &why),
	    ERR_OK, "%s", why.detail);
	cr_assert(c.sealed);
	cr_assert_eq(asked, 4);
	collateral_fini(&c);
	/* The second is asked first now; not so once it was found wrong. */
	mode = MODE_PASS;
	cr_assert_eq(
	    pccs_get(p, &c, SIM_FMSPC, true, SIMWORLD_NOW + 2 * DAY, &why),
	    ERR_OK);
	cr_assert_eq(asked, 4);
	collateral_fini(&c);
	pccs_forget(p, SIM_FMSPC, true);
	cr_assert_eq(
	    pccs_get(p, &c, SIM_FMSPC, true, SIMWORLD_NOW + 2 * DAY, &why),
	    ERR_OK);
	cr_assert_eq(asked, 8, "the dead third is skipped");
	collateral_fini(&c);
	pccs_free(p);

	/* All fail: the last one's reason. */
	list[1] = list[2];
	cr_assert_eq(pccs_new_many(&p, list, 2, false), ERR_OK);
	mode = MODE_STATUS;
	mode_status = 500;
	cr_assert_eq(
	    pccs_get(p, &c, SIM_FMSPC, true, SIMWORLD_NOW, &why), ERR_AGAIN);
	cr_assert_eq(why.code, REASON_COLLATERAL_MISSING);
	pccs_free(p);
}

/* The two kinds of documents are asked for, and kept, apart. */
Test(pccs, kinds)
{
	struct collateral c = { 0 };
	struct refusal why = { 0 };

	cr_assert_eq(pccs_get_for(client, &c, TEE_SGX, SIM_FMSPC, true,
			 SIMWORLD_NOW, &why),
	    ERR_OK);
	cr_assert_not_null(strstr(last_tcb, "/sgx/certification/v4/tcb"));
	collateral_fini(&c);
	cr_assert_eq(get(SIMWORLD_NOW, &why), ERR_OK);
	cr_assert_not_null(strstr(last_tcb, "/tdx/certification/v4/tcb"));
	cr_assert_eq(asked, 8);
	cr_assert_eq(pccs_get_for(client, &c, TEE_SEV_SNP, SIM_FMSPC, true,
			 SIMWORLD_NOW, &why),
	    ERR_CONFIG);
}

/* While a refresh fails the old bundle serves, with pauses between the
 * attempts, until its window ends; then nothing does. */
Test(pccs, serves_old_until_its_end)
{
	struct refusal why;
	int64_t end = SIMWORLD_NOW - 3600 + 30 * DAY;
	unsigned before;

	cr_assert_eq(get(SIMWORLD_NOW, &why), ERR_OK);
	mode = MODE_STATUS;
	mode_status = 500;
	cr_assert_eq(get(SIMWORLD_NOW + 16 * DAY, &why), ERR_OK);
	before = asked;
	cr_assert_eq(get(SIMWORLD_NOW + 16 * DAY + 1, &why), ERR_OK);
	cr_assert_eq(asked, before);
	cr_assert_eq(get(end, &why), ERR_OK);
	cr_assert_eq(get(end + 1, &why), ERR_AGAIN);
	cr_assert_eq(why.code, REASON_COLLATERAL_MISSING);
	/* A server that comes back with old documents does not help. */
	mode = MODE_PASS;
	cr_assert_eq(get(end + 1, &why), ERR_AGAIN);
	cr_assert_eq(why.code, REASON_COLLATERAL_EXPIRED);
	/* Nor does a clock before the window. */
	cr_assert_eq(get(SIMWORLD_NOW - 7200, &why), ERR_AGAIN);
	cr_assert_eq(why.code, REASON_COLLATERAL_EXPIRED);
	cr_assert_eq(sim_pki_refresh(w.dir, true, end + 1), ERR_OK);
	cr_assert_eq(get(end + 1, &why), ERR_OK);
}

/* P25: collateral of a lower evaluation number than what is there does not
 * take its place, in either document; and the next provider is asked. */
Test(pccs, an_older_one_does_not_replace)
{
	static const char *const part[] = { "/tcb", "/identity" };
	int64_t at = SIMWORLD_NOW, end = SIMWORLD_NOW - 3600 + 30 * DAY;
	struct collateral c = { 0 };
	struct refusal why;

	cr_assert_eq(get(at, &why), ERR_OK);
	for (size_t i = 0; i < 2; i++) {
		unsigned before = asked;

		mode = MODE_OLDER;
		mode_path = part[i];
		at += 2 * DAY;
		cr_assert_eq(
		    pccs_get(client, &c, SIM_FMSPC, true, at, &why), ERR_OK);
		cr_assert_eq(asked, before + 4);
		cr_assert_not_null(strstr((char *)c.tcb_info.p, EVAL "18"));
		cr_assert_not_null(strstr((char *)c.qe_identity.p, EVAL "18"));
		collateral_fini(&c);
		/* Not asked again at once. */
		cr_assert_eq(get(at + 1, &why), ERR_OK);
		cr_assert_eq(asked, before + 4);
	}
	/* With nothing in date, its user may judge what there is. */
	cr_assert_eq(sim_pki_refresh(w.dir, true, end + 1), ERR_OK);
	cr_assert_eq(
	    pccs_get(client, &c, SIM_FMSPC, true, end + 1, &why), ERR_OK);
	cr_assert_not_null(strstr((char *)c.qe_identity.p, EVAL "17"));
	collateral_fini(&c);
	/* And one that says no number at all is none. */
	pccs_forget(client, SIM_FMSPC, true);
	mode = MODE_UNNUMBERED;
	cr_assert_eq(get(end + 1, &why), ERR_DENIED);
	cr_assert_eq(why.code, REASON_COLLATERAL_INVALID);
}

/* Among several providers, one that lags is not asked first again. */
Test(pccs, a_lagging_provider)
{
	char url[2][64];
	const char *list[] = { url[0], url[1] };
	struct pccs *p = NULL;
	struct collateral c = { 0 };
	struct refusal why = { 0 };
	int64_t at = SIMWORLD_NOW;

	(void)snprintf(url[0], sizeof url[0], "http://127.0.0.1:%u",
	    (unsigned)httpd_port(proxy));
	(void)snprintf(url[1], sizeof url[1], "http://127.0.0.1:%u",
	    (unsigned)pccs_server_port(server));
	cr_assert_eq(pccs_new_many(&p, list, 2, false), ERR_OK);
	for (int i = 0; i < 3; i++, at += 2 * DAY) {
		cr_assert_eq(
		    pccs_get(p, &c, SIM_FMSPC, true, at, &why), ERR_OK);
		cr_assert_not_null(strstr((char *)c.tcb_info.p, EVAL "18"));
		collateral_fini(&c);
		cr_assert_eq(asked, i == 0 ? 4 : 8);
		mode = MODE_OLDER;
		mode_path = "/tcb";
	}
	pccs_free(p);
}

/* More platforms than places: the oldest goes, nothing breaks. */
Test(pccs, cache_is_bounded)
{
	struct collateral c = { 0 };
	struct refusal why;

	for (unsigned i = 0; i < 40; i++) {
		uint8_t fmspc[6] = { (uint8_t)i, 1 };

		cr_assert_eq(
		    pccs_get(client, &c, fmspc, true, SIMWORLD_NOW, &why),
		    ERR_OK);
		collateral_fini(&c);
	}
	asked = 0;
	cr_assert_eq(pccs_get(client, &c, (uint8_t[6]){ 39, 1 }, true,
			 SIMWORLD_NOW, &why),
	    ERR_OK);
	cr_assert_eq(asked, 0);
	collateral_fini(&c);
	cr_assert_eq(pccs_get(client, &c, (uint8_t[6]){ 0, 1 }, true,
			 SIMWORLD_NOW, &why),
	    ERR_OK);
	cr_assert_eq(asked, 4);
	collateral_fini(&c);
}

/* Asks for a platform of our own making, and says how often that was asked. */
static unsigned
ask_for(unsigned fmspc, bool platform_ca, int64_t at, enum err want)
{
	struct collateral c = { 0 };
	struct refusal why = { 0 };
	unsigned before = asked;

	cr_assert_eq(pccs_get(client, &c, (uint8_t[6]){ 9, (uint8_t)fmspc },
			 platform_ca, at, &why),
	    want);
	if (want != ERR_OK) {
		cr_assert_eq(why.code, REASON_COLLATERAL_MISSING);
		cr_assert_not_null(strstr(why.detail, "404"), "%s", why.detail);
	}
	collateral_fini(&c);
	return asked - before;
}

/* A platform that the provider does not know is asked for once a minute,
 * however often strangers name it; others are not held up by it. */
Test(pccs, unknown_platform)
{
	const int64_t at = SIMWORLD_NOW;
	struct pccs_stats s;

	mode = MODE_STATUS;
	mode_status = 404;
	mode_path = "/tcb";
	cr_assert_eq(ask_for(1, true, at, ERR_AGAIN), 4);
	for (int i = 0; i < 60; i++)
		cr_assert_eq(ask_for(1, true, at + i, ERR_AGAIN), 0);
	pccs_stats(&s, client);
	cr_assert_eq(s.fetches, 1);
	cr_assert_eq(s.unknown, 60);
	/* Another platform, the other CA, and a clock that went back. */
	cr_assert_eq(ask_for(2, true, at, ERR_AGAIN), 4);
	cr_assert_eq(ask_for(1, false, at, ERR_AGAIN), 4);
	cr_assert_eq(ask_for(1, true, at - 1, ERR_AGAIN), 4);
	/* Then it is known: there within the minute, at the latest. */
	mode = MODE_PASS;
	cr_assert_eq(ask_for(1, true, at + 58, ERR_AGAIN), 0);
	cr_assert_eq(ask_for(1, true, at + 59, ERR_OK), 4);
	cr_assert_eq(ask_for(1, true, at + 59, ERR_OK), 0);
	cr_assert_eq(ask_for(3, true, at, ERR_OK), 4);
	/* The CA's own document says so too. */
	mode = MODE_STATUS;
	mode_path = "/pckcrl";
	cr_assert_eq(ask_for(4, true, at, ERR_AGAIN), 4);
	cr_assert_eq(ask_for(4, true, at, ERR_AGAIN), 0);
}

/* What is not about the platform is not remembered of it. */
Test(pccs, not_the_platforms_fault)
{
	static const struct {
		unsigned status;
		const char *path;
	} row[] = { { 404, "/identity" }, { 404, "/rootcacrl" },
		{ 500, "/tcb" }, { 410, "/tcb" }, { 503, "/pckcrl" } };
	struct refusal why;
	unsigned before;

	mode = MODE_STATUS;
	for (size_t i = 0; i < sizeof row / sizeof row[0]; i++) {
		mode_status = row[i].status;
		mode_path = row[i].path;
		for (int j = 0; j < 2; j++) {
			before = asked;
			cr_assert_eq(get(SIMWORLD_NOW, &why), ERR_AGAIN);
			cr_assert_eq(asked, before + 4);
		}
	}
}

/* A provider that has forgotten a platform takes nothing away while there is
 * collateral of it; once that is over the platform is unknown. */
Test(pccs, unknown_while_an_old_one_serves)
{
	int64_t end = SIMWORLD_NOW - 3600 + 30 * DAY;

	cr_assert_eq(ask_for(1, true, SIMWORLD_NOW, ERR_OK), 4);
	mode = MODE_STATUS;
	mode_status = 404;
	mode_path = "/tcb";
	cr_assert_eq(ask_for(1, true, end - 100, ERR_OK), 4);
	cr_assert_eq(ask_for(1, true, end - 99, ERR_OK), 0);
	cr_assert_eq(ask_for(1, true, end + 1, ERR_AGAIN), 4);
	cr_assert_eq(ask_for(1, true, end + 2, ERR_AGAIN), 0);
}

/* The last 64 are remembered; the 65th takes the oldest one's place, and a
 * hundred more cost no memory. */
Test(pccs, unknown_is_bounded)
{
	mode = MODE_STATUS;
	mode_status = 404;
	mode_path = "/tcb";
	for (unsigned i = 0; i < 64; i++)
		cr_assert_eq(
		    ask_for(i, true, SIMWORLD_NOW + (i > 0), ERR_AGAIN), 4);
	cr_assert_eq(ask_for(0, true, SIMWORLD_NOW + 1, ERR_AGAIN), 0);
	cr_assert_eq(ask_for(64, true, SIMWORLD_NOW + 2, ERR_AGAIN), 4);
	for (unsigned i = 1; i <= 64; i++)
		cr_assert_eq(ask_for(i, true, SIMWORLD_NOW + 2, ERR_AGAIN), 0);
	cr_assert_eq(ask_for(0, true, SIMWORLD_NOW + 2, ERR_AGAIN), 4);
}

/* One provider does not know it, the next does: it is known. */
Test(pccs, unknown_to_one_of_two)
{
	char url[2][64];
	const char *list[] = { url[0], url[1] };
	struct pccs *p = NULL;
	struct collateral c = { 0 };
	struct refusal why = { 0 };

	(void)snprintf(url[0], sizeof url[0], "http://127.0.0.1:%u",
	    (unsigned)httpd_port(proxy));
	(void)snprintf(url[1], sizeof url[1], "http://127.0.0.1:%u",
	    (unsigned)pccs_server_port(server));
	cr_assert_eq(pccs_new_many(&p, list, 2, false), ERR_OK);
	mode = MODE_STATUS;
	mode_status = 404;
	for (int i = 0; i < 2; i++) {
		cr_assert_eq(
		    pccs_get(p, &c, SIM_FMSPC, true, SIMWORLD_NOW, &why),
		    ERR_OK, "%s", why.detail);
		collateral_fini(&c);
		pccs_forget(p, SIM_FMSPC, true);
	}
	pccs_free(p);
}

/* Only http and https, of sane length; a dead server is "not now". */
Test(pccs, bad_urls)
{
	struct pccs *p = NULL;
	struct collateral c = { 0 };
	struct refusal why;
	char longer[400] = "http://";

	cr_assert_eq(pccs_new(&p, "", false), ERR_CONFIG);
	cr_assert_eq(pccs_new(&p, "file:///etc/passwd", false), ERR_CONFIG);
	memset(longer + 7, 'a', sizeof longer - 8);
	cr_assert_eq(pccs_new(&p, longer, false), ERR_CONFIG);
	cr_assert_eq(pccs_new(&p, "http://127.0.0.1:1", false), ERR_OK);
	cr_assert_eq(
	    pccs_get(p, &c, SIM_FMSPC, true, SIMWORLD_NOW, &why), ERR_AGAIN);
	cr_assert_eq(why.code, REASON_COLLATERAL_MISSING);
	pccs_free(p);
}
