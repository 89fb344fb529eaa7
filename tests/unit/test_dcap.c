/* Every TDX case of ../shared/vectors/tdx: real quotes, quotes under a
 * private root, and real ones altered.  The README there says what each is;
 * expectations are Intel's column.  Each is verified from bytes, and again
 * with a cache that has seen everything before it: the same must come out. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "common/attest/dcap.h"
#include "common/attest/tcbinfo.h"
#include "common/base/file.h"
#include "common/base/hex.h"
#include "common/base/json.h"
#include "common/base/limits.h"

#define VECTORS "../shared/vectors/tdx"
#define FILE_MAX (8u * 1024 * 1024)

/* What a case gave. */
struct got {
	enum err e;
	struct verdict v;
	struct refusal why;
	char code[40]; /* "OK", or the reject code that opens the detail */
};

struct tally {
	unsigned ok, refused, sgx; /* sgx: of both, how many are SGX's */
};

static bool
have_vectors(void)
{
	struct buf b = { 0 };
	bool have = file_read(&b, VECTORS "/README.md", FILE_MAX) == ERR_OK;

	buf_fini(&b);
	return have;
}

#define NEED_VECTORS() \
	do { \
		if (!have_vectors()) \
			cr_skip_test("no vectors at " VECTORS); \
	} while (0)

static json_t *
load_json(const char *dir, const char *name)
{
	char path[512];
	struct buf b = { 0 };
	json_t *v = NULL;

	cr_assert(file_join(path, sizeof path, dir, name) == ERR_OK);
	cr_assert(file_read(&b, path, FILE_MAX) == ERR_OK, "%s", path);
	cr_assert(json_parse(&v, b.p, b.len, FILE_MAX, NULL, 0) == ERR_OK);
	buf_fini(&b);
	return v;
}

static void
load(struct buf *out, const char *dir, const char *name)
{
	char path[512];

	cr_assert(file_join(path, sizeof path, dir, name) == ERR_OK);
	cr_assert(file_read(out, path, FILE_MAX) == ERR_OK, "%s", path);
}

static void
load_collateral(struct collateral *out, const char *dir, const char *name)
{
	struct buf b = { 0 };
	struct refusal why = { 0 };

	load(&b, dir, name);
	cr_assert(collateral_from_json(out, b.p, b.len, &why) == ERR_OK, "%s",
	    why.detail);
	buf_fini(&b);
}

static struct dcap_root *
load_root(const char *dir, const char *name)
{
	struct dcap_root *r = NULL;
	struct buf b = { 0 };

	load(&b, dir, name);
	cr_assert(dcap_root_new(&r, buf_view(&b)) == ERR_OK);
	buf_fini(&b);
	return r;
}

/* The vectors' verdicts include the attribute policy, but no status list. */
static void
policy_attributes_only(struct attest_policy *p)
{
	attest_policy_any(p);
	p->allow_simulated = true;
}

/* One for all cases of a test: entries of one must not serve another. */
static struct dcap_cache *cache;

static void
same_from_cache(const struct got *g, const struct buf *quote,
    const struct collateral *c, const struct dcap_root *root, int64_t now)
{
	struct refusal why = { 0 };
	struct verdict v;

	if (cache == NULL)
		cr_assert(dcap_cache_new(&cache) == ERR_OK);
	for (int i = 0; i < 2; i++) {
		cr_assert_eq(dcap_verify_cached(&v, cache, buf_view(quote), c,
				 root, now, &why),
		    g->e, "%s, not %s", why.detail, g->why.detail);
		if (g->e != ERR_OK) {
			cr_assert_str_eq(why.detail, g->why.detail);
			cr_assert_eq(why.code, g->why.code);
			continue;
		}
		cr_assert_eq(v.status, g->v.status);
		cr_assert_eq(v.n_advisories, g->v.n_advisories);
		cr_assert_eq(v.valid_from, g->v.valid_from);
		cr_assert_eq(v.valid_until, g->v.valid_until);
		cr_assert(memcmp(v.ppid, g->v.ppid, 16) == 0);
		cr_assert(memcmp(&v.td, &g->v.td, sizeof v.td) == 0);
		cr_assert(
		    memcmp(v.sgx.report_data, g->v.sgx.report_data, 64) == 0);
	}
}

static struct got
verify(const struct buf *quote, const struct collateral *c,
    const struct dcap_root *root, int64_t now)
{
	struct got g = { .code = "OK" };
	struct verdict before;
	struct attest_policy p;

	memset(&g.v, 0x5a, sizeof g.v);
	before = g.v;
	g.e = dcap_verify(&g.v, buf_view(quote), c, root, now, &g.why);
	if (g.e != ERR_OK)
		cr_assert(memcmp(&g.v, &before, sizeof before) == 0,
		    "a refusal must leave the output alone");
	same_from_cache(&g, quote, c, root, now);
	policy_attributes_only(&p);
	if (g.e == ERR_OK)
		g.e = verdict_accept(&g.v, &p, &g.why);
	if (g.e != ERR_OK) {
		cr_assert(g.e == ERR_DENIED);
		cr_assert(g.why.code != REASON_NONE);
		snprintf(g.code, sizeof g.code, "%.*s",
		    (int)strcspn(g.why.detail, ":"), g.why.detail);
	}
	return g;
}

static void
expect_advisories(const char *name, const struct verdict *v, const json_t *list)
{
	const json_t *id;
	size_t i;

	cr_assert_eq(v->n_advisories, json_array_size(list), "%s: %u", name,
	    v->n_advisories);
	json_array_foreach(list, i, id)
	{
		unsigned k = 0;

		while (k < v->n_advisories &&
		    strcmp(v->advisory[k], json_string_value(id)) != 0)
			k++;
		cr_assert(k < v->n_advisories, "%s: no %s", name,
		    json_string_value(id));
	}
}

/* `want` is {"status","advisory_ids"} or {"reject"}. */
static void
expect(const char *name, const struct got *g, const json_t *want, bool sgx,
    struct tally *t)
{
	const char *status, *reject;

	t->sgx += sgx;
	if (json_get_str(&reject, want, "reject") == ERR_OK) {
		cr_assert(
		    g->e == ERR_DENIED, "%s: accepted, not %s", name, reject);
		cr_assert_str_eq(g->code, reject, "%s: %s, not %s", name,
		    g->why.detail, reject);
		t->refused++;
	} else {
		cr_assert(json_get_str(&status, want, "status") == ERR_OK);
		cr_assert(g->e == ERR_OK, "%s: %s", name, g->why.detail);
		cr_assert_str_eq(
		    tcb_status_text(g->v.status), status, "%s", name);
		expect_advisories(
		    name, &g->v, json_object_get(want, "advisory_ids"));
		t->ok++;
	}
}

static void
expect_status(const char *name, enum tcb_status got, const json_t *want)
{
	const char *s;

	if (json_is_object(want)) {
		cr_assert(json_get_str(&s, want, "status") == ERR_OK);
		cr_assert_str_eq(tcb_status_text(got), s, "%s", name);
	}
}

static void
expect_hex(const char *name, const uint8_t *got, size_t len, const json_t *obj,
    const char *key)
{
	uint8_t want[64];

	cr_assert(
	    json_get_hex(want, len, obj, key) == ERR_OK, "%s: %s", name, key);
	cr_assert(memcmp(got, want, len) == 0, "%s: %s", name, key);
}

struct fact {
	const char *key;
	const uint8_t *p;
	size_t len;
};

static void
expect_sgx(const char *name, const struct verdict *v, const json_t *report)
{
	uint8_t prodid[2] = { (uint8_t)v->sgx.isvprodid,
		(uint8_t)(v->sgx.isvprodid >> 8) };
	uint8_t svn[2] = { (uint8_t)v->sgx.isvsvn,
		(uint8_t)(v->sgx.isvsvn >> 8) };
	const struct fact field[] = {
		{ "cpu_svn", v->sgx.cpusvn, 16 },
		{ "misc_select", v->sgx.miscselect, 4 },
		{ "attributes", v->sgx.attributes, 16 },
		{ "mr_enclave", v->sgx.mrenclave, 32 },
		{ "mr_signer", v->sgx.mrsigner, 32 },
		{ "isv_prod_id", prodid, 2 },
		{ "isv_svn", svn, 2 },
		{ "report_data", v->sgx.report_data, 64 },
	};

	for (size_t i = 0; i < sizeof field / sizeof field[0]; i++)
		expect_hex(
		    name, field[i].p, field[i].len, report, field[i].key);
}

/* Every fact that the expectation lists beside the status. */
static void
expect_facts(const char *name, const struct verdict *v, const json_t *want)
{
	const json_t *platform = json_object_get(want, "platform_status");
	const json_t *module = json_object_get(want, "tdx_module_status");
	const json_t *td = json_object_get(want, "report");
	const json_t *col = json_object_get(want, "collateral");
	const struct fact field[] = {
		{ "tee_tcb_svn", v->td.tee_tcb_svn, 16 },
		{ "mr_seam", v->td.mrseam, 48 },
		{ "mr_signer_seam", v->td.mrsignerseam, 48 },
		{ "seam_attributes", v->td.seam_attributes, 8 },
		{ "td_attributes", v->td.td_attributes, 8 },
		{ "xfam", v->td.xfam, 8 },
		{ "mr_td", v->td.mrtd, 48 },
		{ "mr_config_id", v->td.mrconfigid, 48 },
		{ "mr_owner", v->td.mrowner, 48 },
		{ "mr_owner_config", v->td.mrownerconfig, 48 },
		{ "rtmr0", v->td.rtmr[0], 48 },
		{ "rtmr1", v->td.rtmr[1], 48 },
		{ "rtmr2", v->td.rtmr[2], 48 },
		{ "rtmr3", v->td.rtmr[3], 48 },
		{ "report_data", v->td.report_data, 64 },
		{ "tee_tcb_svn_2", v->td.tee_tcb_svn_2, 16 },
		{ "mr_service_td", v->td.mrservicetd, 48 },
	};
	uint64_t n;
	const char *s;
	int64_t date;

	expect_status(name, v->platform_status, platform);
	expect_status(name, v->module_status, module);
	expect_status(name, v->qe_status, json_object_get(want, "qe_status"));
	cr_assert(json_get_str(&s, platform, "tcb_date") == ERR_OK);
	cr_assert(tcb_date_parse(&date, s) == ERR_OK);
	cr_assert(v->tcb_date <= date && v->tcb_date > 1500000000, "%s", name);
	expect_hex(name, v->fmspc, 6, json_object_get(want, "pck"), "fmspc");
	expect_hex(name, v->ppid, 16, json_object_get(want, "pck"), "ppid");
	expect_hex(name, v->pceid, 2, json_object_get(want, "pck"), "pceid");
	expect_hex(name, v->cpusvn, 16, json_object_get(want, "pck"), "cpusvn");
	if (v->tee == TEE_SGX)
		expect_sgx(name, v, td);
	for (size_t i = 0; i < sizeof field / sizeof field[0]; i++)
		if (v->tee == TEE_TDX && (i < 15 || v->td.has_15))
			expect_hex(
			    name, field[i].p, field[i].len, td, field[i].key);
	cr_assert(json_get_u64(&n, col, "tcb_eval_data_number") == ERR_OK);
	cr_assert_eq(v->tcb_eval_number, n, "%s", name);
	cr_assert(json_get_u64(&n, col, "qe_eval_data_number") == ERR_OK);
	cr_assert_eq(v->qe_eval_number, n, "%s", name);
	cr_assert(!v->simulated);
}

/* Bounds are inclusive: good on both edges, refused one second beyond. */
static void
expect_window(const char *name, const struct buf *quote,
    const struct collateral *c, const struct dcap_root *root,
    const json_t *window)
{
	int64_t from = json_integer_value(json_array_get(window, 0));
	int64_t until = json_integer_value(json_array_get(window, 1));
	struct got g = verify(quote, c, root, from);

	cr_assert(g.e == ERR_OK, "%s: at start: %s", name, g.why.detail);
	cr_assert_eq(g.v.valid_from, from, "%s", name);
	cr_assert_eq(g.v.valid_until, until, "%s", name);
	cr_assert(verify(quote, c, root, until).e == ERR_OK, "%s", name);
	cr_assert(verify(quote, c, root, from - 1).e != ERR_OK, "%s", name);
	cr_assert(verify(quote, c, root, until + 1).e != ERR_OK, "%s", name);
}

static void
real_case(const char *name, const struct dcap_root *root, struct tally *t)
{
	char dir[300];
	struct buf quote = { 0 };
	struct collateral c = { 0 };
	json_t *doc;
	const json_t *want;
	uint64_t now;
	struct got g;

	snprintf(dir, sizeof dir, VECTORS "/real/%s", name);
	doc = load_json(dir, "expected-ref.json");
	load(&quote, dir, "quote.bin");
	load_collateral(&c, dir, "collateral.json");
	/* real/23: we use the chain inside the quote (P24). */
	want = json_object_get(doc, "intel_when_chain_inside_quote_is_used");
	if (want == NULL)
		want = json_object_get(doc, "intel");
	cr_assert(json_get_u64(&now, doc, "now") == ERR_OK);

	g = verify(&quote, &c, root, (int64_t)now);
	expect(name, &g, want, quote.len > 8 && quote.p[4] == 0, t);
	if (g.e == ERR_OK) {
		expect_facts(name, &g.v, want);
		expect_window(name, &quote, &c, root,
		    json_object_get(doc, "valid_window"));
	} else if (json_object_get(want, "without_policy") != NULL) {
		/* The facts behind what the policy refused. */
		cr_assert(dcap_verify(&g.v, buf_view(&quote), &c, root,
			      (int64_t)now, &g.why) == ERR_OK);
		expect_facts(
		    name, &g.v, json_object_get(want, "without_policy"));
	}
	json_decref(doc);
	buf_fini(&quote);
	collateral_fini(&c);
}

/* Every real quote gives Intel's answer, with the same facts. */
Test(dcap_vectors, real, .timeout = 60)
{
	struct dcap_root *root = NULL;
	struct dirent **names;
	struct tally t = { 0 };
	int n;

	NEED_VECTORS();
	cr_assert(dcap_root_intel(&root) == ERR_OK);
	n = scandir(VECTORS "/real", &names, NULL, alphasort);
	cr_assert(n > 2);
	for (int i = 0; i < n; i++) {
		if (names[i]->d_name[0] != '.')
			real_case(names[i]->d_name, root, &t);
		free(names[i]);
	}
	free(names);
	dcap_root_free(root);
	cr_assert(t.ok + t.refused >= 20 && t.sgx == 3);
	printf(
	    "real: %u accepted, %u refused, %u SGX\n", t.ok, t.refused, t.sgx);
}

/* Semantics that no bit flip reaches, under a private root. */
Test(dcap_vectors, synthetic, .timeout = 60)
{
	static const char dir[] = VECTORS "/synthetic";
	struct dcap_root *root, *intel = NULL;
	struct tally t = { 0 };
	json_t *doc, *v;
	const char *name, *path, *col;

	NEED_VECTORS();
	doc = load_json(dir, "expected-synthetic.json");
	root = load_root(dir, "root-ca.der");
	cr_assert(dcap_root_intel(&intel) == ERR_OK);
	json_object_foreach(doc, name, v)
	{
		struct buf quote = { 0 };
		struct collateral c = { 0 };
		uint64_t now;
		struct got g;

		cr_assert(json_get_str(&path, v, "quote") == ERR_OK);
		cr_assert(json_get_str(&col, v, "collateral") == ERR_OK);
		cr_assert(json_get_u64(&now, v, "now") == ERR_OK);
		load(&quote, dir, path);
		load_collateral(&c, dir, col);
		g = verify(&quote, &c, root, (int64_t)now);
		expect(name, &g, json_object_get(v, "expected"),
		    quote.len > 8 && quote.p[4] == 0, &t);
		if (g.e == ERR_OK)
			cr_assert(g.v.simulated);
		/* None of it means anything under Intel's root. */
		cr_assert(
		    verify(&quote, &c, intel, (int64_t)now).e == ERR_DENIED);
		buf_fini(&quote);
		collateral_fini(&c);
	}
	cr_assert(t.ok >= 15 && t.refused >= 50);
	printf("synthetic: %u as expected, %u refused, %u SGX\n", t.ok,
	    t.refused, t.sgx);
	json_decref(doc);
	dcap_root_free(root);
	dcap_root_free(intel);
}

static void
patch(struct buf *quote, const json_t *op)
{
	const json_t *p;
	size_t i, got;
	uint64_t cut;

	json_array_foreach(json_object_get(op, "xor"), i, p)
	    quote->p[json_integer_value(json_array_get(p, 0))] ^=
	    (uint8_t)json_integer_value(json_array_get(p, 1));
	json_array_foreach(json_object_get(op, "set"), i, p)
	{
		size_t at = (size_t)json_integer_value(json_array_get(p, 0));
		const char *hex = json_string_value(json_array_get(p, 1));

		cr_assert(at < quote->len);
		cr_assert(hex_decode(quote->p + at, quote->len - at, &got, hex,
			      strlen(hex)) == ERR_OK);
	}
	if (json_get_u64(&cut, op, "truncate") == ERR_OK) {
		cr_assert(cut <= quote->len);
		quote->len = cut;
	}
}

/* Long values are shortened in the file; the names say what was done. */
static void
patch_collateral(struct collateral *c, const char *name)
{
	struct buf text = { 0 };

	if (strcmp(name, "col:tcb_info.space") == 0) {
		const uint8_t *colon =
		    memchr(c->tcb_info.p, ':', c->tcb_info.len);
		size_t head = (size_t)(colon - c->tcb_info.p) + 1;

		cr_assert(buf_printf(&text, "%.*s %s", (int)head,
			      (const char *)c->tcb_info.p,
			      (const char *)c->tcb_info.p + head) == ERR_OK);
		buf_fini(&c->tcb_info);
		c->tcb_info = text;
	} else if (strcmp(name, "col:root_crl.flip") == 0) {
		c->root_ca_crl.p[c->root_ca_crl.len - 1] ^= 1;
	} else if (strcmp(name, "col:pck_crl.flip") == 0) {
		c->pck_crl.p[c->pck_crl.len - 1] ^= 1;
	} else {
		cr_assert_fail("unknown collateral case %s", name);
	}
}

static void
mutation(const json_t *m, const struct dcap_root *root, struct tally *t)
{
	const json_t *op = json_object_get(m, "op");
	const char *name, *base, *want, *from = NULL, *col = NULL;
	char dir[300], code[40];
	struct buf quote = { 0 };
	struct collateral c = { 0 };
	uint64_t now;
	struct got g;

	cr_assert(json_get_str(&name, m, "name") == ERR_OK);
	cr_assert(json_get_str(&base, m, "base") == ERR_OK);
	cr_assert(json_get_str(&want, m, "expect") == ERR_OK);
	cr_assert(json_get_u64(&now, m, "now") == ERR_OK);
	if (strncmp(name, "cross:", 6) == 0) {
		from = "02-v3-sgx-cfgswh-00A067";
		col = "01-v4-uptodate-B0C06F";
	}
	snprintf(dir, sizeof dir, VECTORS "/real/%s", from ? from : base);
	load(&quote, dir, "quote.bin");
	snprintf(dir, sizeof dir, VECTORS "/real/%s", col ? col : base);
	load_collateral(&c, dir, "collateral.json");
	bool sgx = quote.len > 8 && quote.p[4] == 0;

	if (json_object_get(op, "replace") != NULL)
		patch_collateral(&c, name);
	else
		patch(&quote, op);
	g = verify(&quote, &c, root, (int64_t)now);

	t->sgx += sgx;
	if (strncmp(want, "OK ", 3) == 0) {
		cr_assert(g.e == ERR_OK, "%s: %s", name, g.why.detail);
		cr_assert_str_eq(tcb_status_text(g.v.status), want + 3);
		t->ok++;
	} else {
		cr_assert(sscanf(want, "REJECT %39[A-Z0-9_]", code) == 1);
		cr_assert(g.e == ERR_DENIED, "%s accepted", name);
		cr_assert_str_eq(g.code, code, "%s on %s: %s, not %s", name,
		    base, g.why.detail, want);
		t->refused++;
	}
	buf_fini(&quote);
	collateral_fini(&c);
}

/* Real quotes and collateral, altered in one place each. */
Test(dcap_vectors, mutations, .timeout = 60)
{
	struct dcap_root *root = NULL;
	struct tally t = { 0 };
	json_t *doc;
	const json_t *m;
	size_t i;

	NEED_VECTORS();
	doc = load_json(VECTORS, "mutations-real.json");
	cr_assert(dcap_root_intel(&root) == ERR_OK);
	json_array_foreach(json_object_get(doc, "cases"), i, m)
	    mutation(m, root, &t);
	cr_assert(t.refused >= 70);
	printf("mutations: %u accepted, %u refused, %u SGX\n", t.ok, t.refused,
	    t.sgx);
	json_decref(doc);
	dcap_root_free(root);
}

/* Any single bit of a real quote up to the certificates matters, but for
 * what only informs (nothing does: header and body are signed, the rest is
 * checked).  One bit in each byte, to stay quick. */
Test(dcap_vectors, every_byte_counts, .timeout = 120)
{
	static const char dir[] = VECTORS "/real/01-v4-uptodate-B0C06F";
	struct dcap_root *root = NULL;
	struct buf quote = { 0 };
	struct collateral c = { 0 };

	NEED_VECTORS();
	cr_assert(dcap_root_intel(&root) == ERR_OK);
	load(&quote, dir, "quote.bin");
	load_collateral(&c, dir, "collateral.json");
	cr_assert(verify(&quote, &c, root, 1751328000).e == ERR_OK);
	for (size_t i = 0; i < 1258; i += 1 + i % 3) {
		uint8_t bit = (uint8_t)(1u << i % 8);

		quote.p[i] ^= bit;
		cr_assert(verify(&quote, &c, root, 1751328000).e == ERR_DENIED,
		    "byte %zu", i);
		quote.p[i] ^= bit;
	}
	buf_fini(&quote);
	collateral_fini(&c);
	dcap_root_free(root);
}

/* Collateral with a part missing is refused, whichever part. */
Test(dcap_vectors, missing_collateral)
{
	static const char dir[] = VECTORS "/real/01-v4-uptodate-B0C06F";
	struct dcap_root *root = NULL;
	struct buf quote = { 0 };
	struct collateral c = { 0 };

	NEED_VECTORS();
	cr_assert(dcap_root_intel(&root) == ERR_OK);
	load(&quote, dir, "quote.bin");
	load_collateral(&c, dir, "collateral.json");
	struct buf *part[] = { &c.tcb_info, &c.tcb_info_chain, &c.qe_identity,
		&c.qe_identity_chain, &c.root_ca_crl, &c.pck_crl };
	for (size_t i = 0; i < sizeof part / sizeof part[0]; i++) {
		struct buf keep = *part[i];
		struct got g;

		*part[i] = (struct buf){ 0 };
		g = verify(&quote, &c, root, 1751328000);
		cr_assert(g.e == ERR_DENIED);
		cr_assert_eq(g.why.code, REASON_COLLATERAL_MISSING);
		*part[i] = keep;
	}
	/* Each CRL in the other's place is another issuer's. */
	struct buf root_crl = c.root_ca_crl, pck_crl = c.pck_crl;

	c.root_ca_crl = pck_crl;
	cr_assert_str_eq(
	    verify(&quote, &c, root, 1751328000).code, "CRL_ISSUER");
	c.root_ca_crl = c.pck_crl = root_crl;
	cr_assert_str_eq(
	    verify(&quote, &c, root, 1751328000).code, "CRL_ISSUER");
	c.pck_crl = pck_crl;
	buf_fini(&quote);
	collateral_fini(&c);
	dcap_root_free(root);
}

/* Quotes of other kinds parse; without a chain they name no platform. */
Test(dcap_vectors, parse_only)
{
	static const struct {
		const char *file;
		uint16_t version, cert_type;
		const char *fmspc; /* NULL: none to be read */
	} c[] = {
		{ "oasis-v3-eppid-type3.bin", 3, 3, NULL },
		{ "oasis-v4-C0806F-notrailing.bin", 4, 5, "C0806F000000" },
		{ "dstack-tappd-v4-B0C06F.bin", 4, 5, "B0C06F000000" },
		{ "dstack-guest-agent-v4-B0C06F.bin", 4, 5, "B0C06F000000" },
	};

	NEED_VECTORS();
	for (size_t i = 0; i < sizeof c / sizeof c[0]; i++) {
		struct buf b = { 0 };
		struct refusal why = { 0 };
		struct quote q;
		uint8_t fmspc[6], want[6];
		bool platform_ca = false;

		load(&b, VECTORS "/parse-only", c[i].file);
		cr_assert(quote_parse(&q, buf_view(&b), &why) == ERR_OK, "%s",
		    why.detail);
		cr_assert_eq(q.version, c[i].version);
		cr_assert_eq(q.cert_type, c[i].cert_type);
		enum err e =
		    dcap_platform(fmspc, &platform_ca, buf_view(&b), &why);
		if (c[i].fmspc == NULL) {
			cr_assert(e == ERR_DENIED);
		} else {
			cr_assert(e == ERR_OK, "%s", why.detail);
			cr_assert(hex_fixed(want, 6, c[i].fmspc) == ERR_OK);
			cr_assert(memcmp(fmspc, want, 6) == 0);
			cr_assert(platform_ca);
		}
		buf_fini(&b);
	}
}

/* An old module of the same platform: a real "level not supported". */
Test(dcap_vectors, tappd_quote)
{
	struct dcap_root *root = NULL;
	struct buf quote = { 0 };
	struct collateral c = { 0 };

	NEED_VECTORS();
	cr_assert(dcap_root_intel(&root) == ERR_OK);
	load(&quote, VECTORS "/parse-only", "dstack-tappd-v4-B0C06F.bin");
	load_collateral(
	    &c, VECTORS "/real/01-v4-uptodate-B0C06F", "collateral.json");
	cr_assert_str_eq(
	    verify(&quote, &c, root, 1751328000).code, "TCB_NOT_SUPPORTED");
	buf_fini(&quote);
	collateral_fini(&c);
	dcap_root_free(root);
}

/* A root must be one self-signed CA certificate and no byte more. */
Test(dcap_root, refusals)
{
	struct dcap_root *r = NULL;
	struct buf der = { 0 };

	cr_assert(dcap_root_new(&r, (struct bytes){ 0 }) == ERR_MALFORMED);
	NEED_VECTORS();
	load(&der, VECTORS, "intel-sgx-root-ca.der");
	for (size_t n = 0; n < der.len; n++)
		cr_assert(dcap_root_new(&r, (struct bytes){ der.p, n }) ==
		    ERR_MALFORMED);
	der.p[der.len - 1] ^= 1;
	cr_assert(dcap_root_new(&r, buf_view(&der)) == ERR_MALFORMED);
	der.p[der.len - 1] ^= 1;
	cr_assert(buf_append(&der, "", 1, FILE_MAX) == ERR_OK);
	cr_assert(dcap_root_new(&r, buf_view(&der)) == ERR_MALFORMED);
	cr_assert_null(r);
	buf_fini(&der);
}

/* The built-in root is the published one. */
Test(dcap_root, intel)
{
	struct dcap_root *r = NULL;

	cr_assert(dcap_root_intel(&r) == ERR_OK);
	dcap_root_free(r);
}
