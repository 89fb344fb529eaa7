/* SEV-SNP: every case of ../shared/vectors/snp, genuine and altered, and an
 * AMD of our own (tests/lib/fake_amd) for what AMD's signatures keep a test
 * from reaching.  P30 in names and comments is the pitfall list of
 * tdx-dcap.md 7: TCB against the certificate, VMPL, VLEK, byte order of the
 * signature, unsigned tail. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <criterion/criterion.h>
#include <openssl/evp.h>

#include "common/attest/verdict.h"
#include "common/base/file.h"
#include "common/base/hex.h"
#include "common/base/json.h"
#include "tests/lib/fake_amd.h"

#define VECTORS "../shared/vectors/snp"
#define FILE_MAX (1u << 20)
#define DAY_S 86400

static bool
starts(const char *s, const char *with)
{
	return strncmp(s, with, strlen(with)) == 0;
}

/* A policy that takes everything but what a test is about. */
static struct snp_policy
lenient(void)
{
	return (struct snp_policy){
		.product = { true, true, true },
		.vmpl = { true, true, true, true },
		.allow_vlek = true,
		.allow_no_alias_check = true,
		.allow_no_crl = true,
		.allow_simulated = true,
	};
}

/* ---- the vectors ---- */

static void
load(struct buf *out, const char *dir, const char *name)
{
	char path[512];

	cr_assert(file_join(path, sizeof path, dir, name) == ERR_OK);
	cr_assert(file_read(out, path, FILE_MAX) == ERR_OK, "%s", path);
}

static json_t *
load_json(const char *dir, const char *name)
{
	struct buf b = { 0 };
	json_t *v = NULL;

	load(&b, dir, name);
	cr_assert(json_parse(&v, b.p, b.len, FILE_MAX, NULL, 0) == ERR_OK);
	buf_fini(&b);
	return v;
}

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

struct vector {
	struct buf report, vek, ca[2];
	json_t *expect, *fields; /* fields: borrowed from expect */
	struct snp_evidence ev;
	struct snp_options o;
};

static int64_t
date(const char *text)
{
	struct tm tm = { 0 };

	cr_assert(strptime(text, "%Y-%m-%d", &tm) != NULL);
	return timegm(&tm);
}

static void
vector_load(struct vector *v, const char *name)
{
	char dir[256], path[512];
	const json_t *vek;
	struct buf pem = { 0 };
	const char *s;

	memset(v, 0, sizeof *v);
	cr_assert(file_join(dir, sizeof dir, VECTORS, name) == ERR_OK);
	load(&v->report, dir, "report.bin");
	load(&v->vek, dir, "vek.der");
	v->expect = load_json(dir, "expected-snp.json");
	v->fields = json_object_get(v->expect, "without_policy");
	if (v->fields == NULL)
		v->fields = v->expect;
	cr_assert(json_get_str(&s, v->expect, "chain") == ERR_OK);
	cr_assert(file_join(path, sizeof path, VECTORS, s) == ERR_OK);
	cr_assert(file_read(&pem, path, FILE_MAX) == ERR_OK);
	cr_assert_eq(vendor_pem(v->ca, 2, buf_view(&pem)), 2);
	buf_fini(&pem);
	v->o.now = 1735000000; /* December 2024 */
	vek = json_object_get(v->fields, "vek");
	if (vek != NULL) {
		cr_assert(json_get_str(&s, vek, "not_before") == ERR_OK);
		v->o.now = date(s) + DAY_S;
	}
	v->ev = (struct snp_evidence){ .report = buf_view(&v->report),
		.vek = buf_view(&v->vek),
		.ask = buf_view(&v->ca[0]),
		.ark = buf_view(&v->ca[1]) };
}

static void
vector_fini(struct vector *v)
{
	buf_fini(&v->report);
	buf_fini(&v->vek);
	buf_fini(&v->ca[0]);
	buf_fini(&v->ca[1]);
	json_decref(v->expect);
}

static void
same_hex(const json_t *f, const char *key, const uint8_t *got, size_t len)
{
	uint8_t want[64];

	cr_assert(json_get_hex(want, len, f, key) == ERR_OK, "%s", key);
	cr_assert(memcmp(want, got, len) == 0, "%s", key);
}

static void
same_u64(const json_t *f, const char *key, uint64_t got)
{
	uint64_t want;

	cr_assert(json_get_u64(&want, f, key) == ERR_OK, "%s", key);
	cr_assert_eq(want, got, "%s", key);
}

static void
same_tcb(const json_t *f, const char *key, const struct snp_tcb *got)
{
	const json_t *t = json_object_get(f, key);

	cr_assert(t != NULL, "%s", key);
	same_u64(t, "bl", got->bootloader);
	same_u64(t, "tee", got->tee);
	same_u64(t, "snp", got->snp);
	same_u64(t, "ucode", got->microcode);
	cr_assert_eq(got->fmc, 0);
}

static void
same_fields(const json_t *f, const struct snp_verdict *v)
{
	const struct snp_report *r = &v->report;
	const json_t *cpu = json_object_get(f, "cpuid");
	char text[32];
	const char *s;

	same_u64(f, "version", r->version);
	same_u64(f, "guest_svn", r->guest_svn);
	same_u64(f, "policy", r->policy);
	same_hex(f, "family_id", r->family_id, 16);
	same_hex(f, "image_id", r->image_id, 16);
	same_u64(f, "vmpl", r->vmpl);
	same_u64(f, "platform_info", r->platform_info);
	same_u64(f, "key_info", r->key_info);
	same_hex(f, "report_data", r->report_data, 64);
	same_hex(f, "measurement", r->measurement, 48);
	same_hex(f, "host_data", r->host_data, 32);
	same_hex(f, "id_key_digest", r->id_key_digest, 48);
	same_hex(f, "author_key_digest", r->author_key_digest, 48);
	same_hex(f, "report_id", r->report_id, 32);
	same_hex(f, "report_id_ma", r->report_id_ma, 32);
	same_hex(f, "chip_id", r->chip_id, 64);
	same_tcb(f, "current_tcb", &v->current);
	same_tcb(f, "reported_tcb", &v->reported);
	same_tcb(f, "committed_tcb", &v->committed);
	same_tcb(f, "launch_tcb", &v->launch);
	same_u64(f, "signing_key", (uint64_t)v->key);
	same_u64(f, "mask_chip_key", v->chip_masked);
	(void)snprintf(text, sizeof text, "%u.%u.%u", r->current_version[0],
	    r->current_version[1], r->current_version[2]);
	cr_assert(json_get_str(&s, f, "current_version") == ERR_OK);
	cr_assert_str_eq(s, text);
	cr_assert_eq(r->has_cpuid, cpu != NULL);
	if (cpu != NULL) {
		same_u64(cpu, "family", r->cpuid_family);
		same_u64(cpu, "model", r->cpuid_model);
		same_u64(cpu, "stepping", r->cpuid_stepping);
	}
	cr_assert_eq(v->product, SNP_MILAN);
	cr_assert(!v->simulated && !v->crl_checked);
	cr_assert_eq(v->csp_id[0] != '\0', v->key == SNP_VLEK);
}

static bool
expects_policy(const struct vector *v)
{
	return v->fields != v->expect;
}

/* Checks one vector whole; the code that refused it, or "OK". */
static void
judge(char code[static REFUSAL_DETAIL_MAX], const struct vector *v)
{
	struct snp_policy p = lenient();
	struct snp_verdict got;
	struct refusal why = { 0 };

	(void)snprintf(code, REFUSAL_DETAIL_MAX, "OK");
	if (snp_verify(&got, &v->ev, &v->o, &why) != ERR_OK ||
	    snp_accept(&got, &p, &why) != ERR_OK) {
		cr_assert_neq(why.code, REASON_NONE);
		(void)snprintf(code, REFUSAL_DETAIL_MAX, "%s", why.detail);
	}
}

/* Every genuine report is accepted with every field as recorded; every other
 * one is refused, for the recorded reason. */
Test(snp_vectors, every_case)
{
	DIR *d;
	const struct dirent *e;
	unsigned ok = 0, refused = 0;

	NEED_VECTORS();
	d = opendir(VECTORS);
	cr_assert(d != NULL);
	while ((e = readdir(d)) != NULL) {
		char code[REFUSAL_DETAIL_MAX];
		struct vector v;
		struct snp_verdict got;
		struct refusal why = { 0 };
		const char *want = NULL;

		if (e->d_name[0] < '0' || e->d_name[0] > '9')
			continue;
		vector_load(&v, e->d_name);
		judge(code, &v);
		if (json_get_str(&want, v.expect, "reject") == ERR_OK) {
			cr_assert(
			    starts(code, want), "%s: %s", e->d_name, code);
			refused++;
		} else {
			cr_assert_str_eq(code, "OK", "%s: %s", e->d_name, code);
			ok++;
		}
		if (want == NULL || expects_policy(&v)) {
			cr_assert(
			    snp_verify(&got, &v.ev, &v.o, &why) == ERR_OK);
			same_fields(v.fields, &got);
		}
		vector_fini(&v);
	}
	(void)closedir(d);
	cr_assert(ok >= 7 && refused >= 4, "%u + %u", ok, refused);
}

static void
alter(struct buf *b, const json_t *m)
{
	const char *set;
	uint64_t off, x;
	size_t n;

	if (json_get_u64(&x, m, "length") == ERR_OK) {
		if (x > b->len)
			cr_assert(buf_append(b, "", 1, x) == ERR_OK);
		b->len = x;
		return;
	}
	cr_assert(json_get_u64(&off, m, "offset") == ERR_OK);
	if (json_get_str(&set, m, "set") == ERR_OK)
		cr_assert(hex_decode(b->p + off, b->len - off, &n, set,
			      strlen(set)) == ERR_OK);
	else if (json_get_u64(&x, m, "xor") == ERR_OK)
		b->p[off] ^= (uint8_t)x;
}

/* Every recorded alteration gives the recorded answer. */
Test(snp_vectors, every_mutation)
{
	json_t *file, *m;
	const char *base, *want;
	size_t i;

	NEED_VECTORS();
	file = load_json(VECTORS, "mutations-snp.json");
	cr_assert(json_get_str(&base, file, "base") == ERR_OK);
	json_array_foreach(json_object_get(file, "cases"), i, m)
	{
		char code[REFUSAL_DETAIL_MAX];
		struct vector v;

		vector_load(&v, base);
		alter(&v.report, m);
		v.ev.report = buf_view(&v.report);
		judge(code, &v);
		cr_assert(json_get_str(&want, m, "expect") == ERR_OK);
		if (starts(want, "REJECT "))
			want += sizeof "REJECT " - 1;
		cr_assert(starts(code, want), "%zu: %s, not %s", i, code, want);
		vector_fini(&v);
	}
	cr_assert(i >= 25);
	json_decref(file);
}

/* P30: byte order.  A genuine signature read big-endian does not verify; any
 * bit of the genuine report or signature flipped is refused. */
Test(snp_vectors, any_byte_counts, .timeout = 120)
{
	char code[REFUSAL_DETAIL_MAX];
	struct vector v;

	NEED_VECTORS();
	vector_load(&v, "06-milan-v3-vcek-dstack");
	for (size_t i = 0; i < SNP_REPORT_LEN; i += 23) {
		v.report.p[i] ^= (uint8_t)(1u << i % 8);
		judge(code, &v);
		cr_assert(strcmp(code, "OK") != 0, "byte %zu", i);
		v.report.p[i] ^= (uint8_t)(1u << i % 8);
	}
	judge(code, &v);
	cr_assert_str_eq(code, "OK");
	for (size_t part = 0; part < 2; part++)
		for (size_t i = 0; i < 24; i++) {
			uint8_t *s = v.report.p + SNP_SIGNED_LEN + 72 * part;
			uint8_t t = s[i];

			s[i] = s[47 - i];
			s[47 - i] = t;
		}
	judge(code, &v);
	cr_assert(starts(code, "REPORT_SIG"), "%s", code);
	vector_fini(&v);
}

/* A certificate is good from its first to its last second, and a genuine
 * chain whose parts are swapped, cut or dropped is refused. */
Test(snp_vectors, chain_edges)
{
	char code[REFUSAL_DETAIL_MAX];
	struct vector v;
	struct snp_verdict got;
	struct bytes t;

	NEED_VECTORS();
	vector_load(&v, "02-milan-v3-vlek-trustee");
	cr_assert(snp_verify(&got, &v.ev, &v.o, NULL) == ERR_OK);
	v.o.now = got.valid_until;
	judge(code, &v);
	cr_assert_str_eq(code, "OK");
	v.o.now++;
	judge(code, &v);
	cr_assert(starts(code, "VEK_TIME"), "%s", code);
	v.o.now = got.valid_from - 1;
	judge(code, &v);
	cr_assert(starts(code, "VEK_TIME"), "%s", code);
	v.o.now = got.valid_from;
	judge(code, &v);
	cr_assert_str_eq(code, "OK");
	t = v.ev.ask;
	v.ev.ask = v.ev.ark;
	judge(code, &v);
	cr_assert(starts(code, "ASK_ROLE"), "%s", code);
	v.ev.ark = t;
	judge(code, &v);
	cr_assert(starts(code, "ARK_PIN"), "%s", code);
	v.ev.ark = v.ev.ask;
	v.ev.ask = (struct bytes){ t.p, t.len - 1 };
	judge(code, &v);
	cr_assert(starts(code, "ASK_PARSE"), "%s", code);
	v.ev.ask = (struct bytes){ NULL, 0 };
	judge(code, &v);
	cr_assert(starts(code, "ASK_PARSE"), "%s", code);
	vector_fini(&v);
}

/* The genuine Turin VCEK and its chain are believed: what is missing in
 * public is a report, and none that we make is signed by that key. */
Test(snp_vectors, turin_chain)
{
	struct buf vek = { 0 }, pem = { 0 }, ca[2] = { 0 };
	struct fake_amd a;
	struct snp_verdict got;
	struct snp_options o = { .now = 1750000000 };
	struct refusal why = { 0 };

	NEED_VECTORS();
	load(&vek, VECTORS, "turin-vcek-chain-only/vek.der");
	load(&pem, VECTORS, "ca/ask_ark_turin_vcek.pem");
	cr_assert_eq(vendor_pem(ca, 2, buf_view(&pem)), 2);
	fake_amd_init(&a, SNP_TURIN, SNP_VCEK);
	fake_amd_build(&a);
	a.ev.vek = buf_view(&vek);
	a.ev.ask = buf_view(&ca[0]);
	a.ev.ark = buf_view(&ca[1]);
	cr_assert(snp_verify(&got, &a.ev, &o, &why) == ERR_DENIED);
	cr_assert(starts(why.detail, "REPORT_SIG"), "%s", why.detail);
	fake_amd_fini(&a);
	for (int i = 0; i < 2; i++)
		buf_fini(&ca[i]);
	buf_fini(&pem);
	buf_fini(&vek);
}

/* ---- an AMD of our own ---- */

static enum err
verify(struct snp_verdict *out, const struct fake_amd *a, struct refusal *why)
{
	struct snp_options o = { .now = FAKE_AMD_NOW,
		.simulated_ark = a->ark_sha256 };

	return snp_verify(out, &a->ev, &o, why);
}

static void
good(struct fake_amd *a)
{
	struct snp_verdict v;
	struct refusal why = { 0 };

	fake_amd_build(a);
	cr_assert(verify(&v, a, &why) == ERR_OK, "%s", why.detail);
	cr_assert(v.simulated);
}

/* Signs nothing anew: for changes behind the signature. */
static void
refused_as_is(const struct fake_amd *a, const char *code)
{
	struct snp_verdict v, before;
	struct refusal why = { 0 };

	memset(&v, 0x5a, sizeof v);
	before = v;
	cr_assert(verify(&v, a, &why) == ERR_DENIED, "%s", code);
	cr_assert(starts(why.detail, code), "%s, not %s", why.detail, code);
	cr_assert(memcmp(&v, &before, sizeof v) == 0, "%s", code);
}

/* The change that the test made is certified and signed; still refused. */
static void
bad(struct fake_amd *a, const char *code)
{
	fake_amd_build(a);
	refused_as_is(a, code);
}

static void
denied(
    const struct snp_verdict *v, const struct snp_policy *p, const char *code)
{
	struct refusal why = { 0 };

	cr_assert(snp_accept(v, p, &why) == ERR_DENIED, "%s", code);
	cr_assert(starts(why.detail, code), "%s, not %s", why.detail, code);
}

/* Reports of every product verify under their own chain, by VCEK and VLEK,
 * but only if the caller names the root; and are marked. */
Test(snp, own_root)
{
	for (int p = 0; p < SNP_PRODUCT_COUNT; p++) {
		enum snp_key key = p == SNP_GENOA ? SNP_VLEK : SNP_VCEK;
		struct snp_options o = { .now = FAKE_AMD_NOW };
		struct fake_amd a;
		struct snp_verdict v;
		struct refusal why = { 0 };

		fake_amd_init(&a, (enum snp_product)p, key);
		good(&a);
		cr_assert(verify(&v, &a, NULL) == ERR_OK);
		cr_assert_eq((int)v.product, p);
		cr_assert_eq(v.key, key);
		cr_assert_eq(v.reported.fmc, p == SNP_TURIN ? 1 : 0);
		cr_assert_eq(v.reported.bootloader, 3);
		cr_assert_eq(v.reported.snp, 8);
		cr_assert_eq(v.reported.microcode, 115);
		cr_assert_eq(v.hwid_len,
		    key == SNP_VLEK ? 0u : (p == SNP_TURIN ? 8u : 64u));
		cr_assert_str_eq(v.csp_id, key == SNP_VLEK ? "CN=cloud" : "");
		cr_assert(snp_verify(&v, &a.ev, &o, &why) == ERR_DENIED);
		cr_assert(starts(why.detail, "ARK_PIN"), "%s", why.detail);
		a.ark_sha256[31] ^= 1;
		refused_as_is(&a, "ARK_PIN");
		fake_amd_fini(&a);
	}
}

/* P30: unsigned tail.  Every byte behind s must be zero, and so must what is
 * wider than the curve in r and s; sizes are exact. */
Test(snp, p30_unsigned_tail)
{
	struct fake_amd a;

	fake_amd_init(&a, SNP_GENOA, SNP_VCEK);
	good(&a);
	for (size_t i = SNP_SIGNED_LEN + 144; i < SNP_REPORT_LEN; i += 13) {
		a.report[i] = 0x80;
		refused_as_is(&a, "SIG_RESERVED");
		a.report[i] = 0;
	}
	a.report[SNP_REPORT_LEN - 1] = 1;
	refused_as_is(&a, "SIG_RESERVED");
	a.report[SNP_REPORT_LEN - 1] = 0;
	for (size_t i = 48; i < 72; i++) {
		a.report[SNP_SIGNED_LEN + i] = 1;
		refused_as_is(&a, "REPORT_SIG");
		a.report[SNP_SIGNED_LEN + i] = 0;
		a.report[SNP_SIGNED_LEN + 72 + i] = 1;
		refused_as_is(&a, "REPORT_SIG");
		a.report[SNP_SIGNED_LEN + 72 + i] = 0;
	}
	for (size_t n = 0; n < SNP_REPORT_LEN; n += 97) {
		a.ev.report.len = n;
		refused_as_is(&a, "REPORT_SIZE");
	}
	a.ev.report.len = SNP_REPORT_LEN - 1;
	refused_as_is(&a, "REPORT_SIZE 1183");
	a.ev.report.len = SNP_REPORT_LEN + 1;
	refused_as_is(&a, "REPORT_SIZE 1185");
	fake_amd_fini(&a);
}

/* P30: signature byte order.  r and s are little-endian; the same numbers
 * written big-endian are refused, and so are zeros and another key's. */
Test(snp, p30_signature_byte_order)
{
	struct fake_amd a;
	uint8_t rs[96];
	EVP_PKEY *other = vendor_ec("P-384");

	fake_amd_init(&a, SNP_GENOA, SNP_VCEK);
	good(&a);
	vendor_sign(rs, a.key[FAKE_VEK], a.report, SNP_SIGNED_LEN);
	memcpy(a.report + SNP_SIGNED_LEN, rs, 48);
	memcpy(a.report + SNP_SIGNED_LEN + 72, rs + 48, 48);
	refused_as_is(&a, "REPORT_SIG");
	memset(a.report + SNP_SIGNED_LEN, 0, 144);
	refused_as_is(&a, "REPORT_SIG");
	memset(a.report + SNP_SIGNED_LEN, 0xff, 48);
	refused_as_is(&a, "REPORT_SIG");
	fake_amd_sign(&a, other);
	refused_as_is(&a, "REPORT_SIG");
	fake_amd_sign(&a, a.key[FAKE_VEK]);
	a.report[0x90] ^= 1;
	refused_as_is(&a, "REPORT_SIG");
	EVP_PKEY_free(other);
	fake_amd_fini(&a);
}

/* P30: reported_tcb equals the certificate's TCB in every byte: neither an
 * older nor a newer claim passes, signed as it may be. */
Test(snp, p30_tcb_exact)
{
	static const enum snp_product both[] = { SNP_MILAN, SNP_TURIN };

	for (int i = 0; i < 2; i++) {
		struct fake_amd a;

		fake_amd_init(&a, both[i], SNP_VCEK);
		good(&a);
		for (size_t at = 0x180; at < 0x188; at++) {
			a.report[at]++;
			fake_amd_sign(&a, a.key[FAKE_VEK]);
			refused_as_is(&a, "TCB_MISMATCH");
			a.report[at] = (uint8_t)(a.report[at] - 2);
			fake_amd_sign(&a, a.key[FAKE_VEK]);
			refused_as_is(&a, "TCB_MISMATCH");
			a.report[at]++;
		}
		/* The others are the platform's business. */
		a.report[0x38] = 200;
		fake_amd_spl(&a, "3.8", 200);
		a.report[0x187] = 200;
		good(&a);
		fake_amd_fini(&a);
	}
}

/* P30: the layout is the product's.  Turin's bytes under Milan's layout are
 * another TCB; FMC belongs to Turin, and must be there. */
Test(snp, p30_tcb_layout)
{
	static const uint8_t turin[8] = { 1, 3, 0, 8, 0, 0, 0, 115 };
	static const uint8_t milan[8] = { 3, 0, 0, 0, 0, 0, 8, 115 };
	struct fake_amd a;

	fake_amd_init(&a, SNP_MILAN, SNP_VCEK);
	memcpy(a.report + 0x180, turin, 8);
	bad(&a, "TCB_MISMATCH");
	memcpy(a.report + 0x180, milan, 8);
	fake_amd_ext_add(&a, "3.9", "\x02\x01\x00", 3);
	good(&a);
	fake_amd_spl(&a, "3.9", 1);
	bad(&a, "TCB_MISMATCH");
	fake_amd_ext_drop(&a, "3.9");
	fake_amd_ext_drop(&a, "3.4"); /* reserved: may be missing */
	good(&a);
	fake_amd_ext_drop(&a, "3.3");
	bad(&a, "VEK_EXT");
	fake_amd_fini(&a);

	fake_amd_init(&a, SNP_TURIN, SNP_VCEK);
	memcpy(a.report + 0x180, milan, 8);
	bad(&a, "TCB_MISMATCH");
	memcpy(a.report + 0x180, turin, 8);
	fake_amd_spl(&a, "3.9", 2);
	bad(&a, "TCB_MISMATCH: byte 0");
	fake_amd_ext_drop(&a, "3.9");
	bad(&a, "VEK_EXT");
	fake_amd_fini(&a);
}

/* P30: VMPL.  What a policy does not list is refused; beyond 3 it is no
 * level at all. */
Test(snp, p30_vmpl)
{
	struct fake_amd a;
	struct snp_verdict v;
	struct snp_policy p = lenient();

	fake_amd_init(&a, SNP_GENOA, SNP_VCEK);
	good(&a);
	for (uint32_t i = 0; i < SNP_N_VMPL; i++) {
		fake_amd_le32(&a, 0x30, i);
		fake_amd_sign(&a, a.key[FAKE_VEK]);
		cr_assert(verify(&v, &a, NULL) == ERR_OK);
		cr_assert_eq(v.report.vmpl, i);
		p.vmpl[i] = false;
		denied(&v, &p, "POLICY_VMPL");
		p.vmpl[i] = true;
		cr_assert(snp_accept(&v, &p, NULL) == ERR_OK);
	}
	snp_policy_default(&p);
	p.allow_no_crl = p.allow_simulated = true;
	denied(&v, &p, "POLICY_VMPL: 3");
	fake_amd_le32(&a, 0x30, 4);
	bad(&a, "VMPL");
	fake_amd_le32(&a, 0x30, 0x10000);
	bad(&a, "VMPL");
	v.report.vmpl = 4; /* made by hand: no index out of range */
	denied(&v, &p, "POLICY_VMPL");
	fake_amd_fini(&a);
}

/* P30: VLEK.  Accepted only where the policy says so; and report, name of
 * the key, its issuer and its extensions must all say the same kind. */
Test(snp, p30_vlek)
{
	struct fake_amd a;
	struct snp_verdict v;
	struct snp_policy p = lenient();

	fake_amd_init(&a, SNP_GENOA, SNP_VLEK);
	good(&a);
	cr_assert(verify(&v, &a, NULL) == ERR_OK);
	cr_assert(snp_accept(&v, &p, NULL) == ERR_OK);
	p.allow_vlek = false;
	denied(&v, &p, "POLICY_VLEK");
	v.key = SNP_KEY_NONE;
	p.allow_vlek = true;
	denied(&v, &p, "POLICY_VLEK");
	fake_amd_le32(&a, 0x48, 0); /* says VCEK */
	bad(&a, "SIGNING_KEY");
	fake_amd_le32(&a, 0x48, 7u << 2); /* says none */
	bad(&a, "SIGNING_KEY");
	fake_amd_le32(&a, 0x48, 2u << 2);
	bad(&a, "SIGNING_KEY");
	fake_amd_le32(&a, 0x48, 1u << 2 | 0x20);
	bad(&a, "KEY_INFO");
	fake_amd_le32(&a, 0x48, 1u << 2 | 1); /* author key: fine */
	good(&a);
	a.cert[FAKE_VEK].subject = "SEV-VCEK";
	bad(&a, "ASK_ROLE");
	a.cert[FAKE_VEK].subject = "SEV-VEK";
	bad(&a, "VEK_ROLE");
	a.cert[FAKE_VEK].subject = "SEV-VLEK";
	fake_amd_ext_add(&a, "4", "12345678", 8);
	bad(&a, "VEK_EXT");
	fake_amd_ext_drop(&a, "4");
	fake_amd_ext_drop(&a, "5");
	bad(&a, "VEK_EXT");
	fake_amd_fini(&a);

	fake_amd_init(&a, SNP_GENOA, SNP_VCEK);
	fake_amd_le32(&a, 0x48, 1u << 2); /* says VLEK */
	bad(&a, "SIGNING_KEY");
	fake_amd_le32(&a, 0x48, 0);
	fake_amd_ext_add(&a, "5",
	    "\x16\x02"
	    "me",
	    4);
	bad(&a, "VEK_EXT");
	fake_amd_fini(&a);
}

/* The chip in the report is the one the VCEK was issued for: 64 bytes, 8 on
 * Turin; masked means zero, said so, and allowed. */
Test(snp, chip_id)
{
	struct fake_amd a;
	struct snp_verdict v;
	struct snp_policy p = lenient();
	uint8_t wrapped[66] = { 4, 64 };

	fake_amd_init(&a, SNP_GENOA, SNP_VCEK);
	good(&a);
	a.report[0x1a0 + 63] ^= 1;
	bad(&a, "CHIP_ID");
	a.report[0x1a0 + 63] ^= 1;
	memcpy(wrapped + 2, fake_amd_ext(&a, "4")->der, 64);
	fake_amd_ext_drop(&a, "4");
	bad(&a, "VEK_EXT");
	fake_amd_ext_add(&a, "4", wrapped + 2, 8); /* Turin's length */
	bad(&a, "VEK_EXT");
	fake_amd_ext_drop(&a, "4");
	fake_amd_ext_add(&a, "4", wrapped, 66); /* as an OCTET STRING */
	good(&a);
	wrapped[1] = 63;
	fake_amd_ext_drop(&a, "4");
	fake_amd_ext_add(&a, "4", wrapped, 66);
	bad(&a, "VEK_EXT");
	wrapped[1] = 64;
	fake_amd_ext_drop(&a, "4");
	fake_amd_ext_add(&a, "4", wrapped, 66);

	fake_amd_le32(&a, 0x48, 2); /* masked, and yet there */
	bad(&a, "CHIP_ID");
	memset(a.report + 0x1a0, 0, 64);
	good(&a);
	cr_assert(verify(&v, &a, NULL) == ERR_OK);
	cr_assert(v.chip_masked && v.hwid_len == 64);
	denied(&v, &p, "POLICY_CHIP_MASKED");
	p.allow_masked_chip = true;
	cr_assert(snp_accept(&v, &p, NULL) == ERR_OK);
	fake_amd_le32(&a, 0x48, 0); /* zero without being masked */
	bad(&a, "CHIP_ID");
	fake_amd_fini(&a);

	fake_amd_init(&a, SNP_TURIN, SNP_VCEK);
	a.report[0x1a0 + 7] ^= 1;
	bad(&a, "CHIP_ID");
	fake_amd_fini(&a);
}

/* Certificate, chain and CPUID name the same product. */
Test(snp, product)
{
	static const struct {
		uint8_t family, model;
		bool genoa;
	} cpus[] = { { 0x19, 0x10, true }, { 0x19, 0x1f, true },
		{ 0x19, 0xa0, true }, { 0x19, 0xaf, true },
		{ 0x19, 0x0f, false }, { 0x19, 0x20, false },
		{ 0x19, 0x9f, false }, { 0x19, 0xb0, false },
		{ 0x1a, 0x11, false }, { 0x17, 0x11, false }, { 0, 0, false } };
	static const struct {
		const char *der;
		bool genoa;
	} names[] = { { "\x16\x05"
			"Genoa",
			  true },
		{ "\x16\x08"
		  "Genoa-B1",
		    true },
		{ "\x16\x05"
		  "Siena",
		    true },
		{ "\x16\x07"
		  "Bergamo",
		    true },
		{ "\x16\x05"
		  "Milan",
		    false },
		{ "\x16\x06"
		  "Genoax",
		    false },
		{ "\x16\x03"
		  "Gen",
		    false },
		{ "\x16\x01-", false },
		{ "\x0c\x05"
		  "Genoa",
		    false },
		{ "\x16\x04"
		  "Genoa",
		    false } };
	struct fake_amd a;

	fake_amd_init(&a, SNP_GENOA, SNP_VCEK);
	good(&a);
	for (size_t i = 0; i < sizeof cpus / sizeof cpus[0]; i++) {
		a.report[0x188] = cpus[i].family;
		a.report[0x189] = cpus[i].model;
		fake_amd_sign(&a, a.key[FAKE_VEK]);
		if (cpus[i].genoa)
			cr_assert(verify(&(struct snp_verdict){ 0 }, &a,
				      NULL) == ERR_OK);
		else
			refused_as_is(&a, "PRODUCT");
	}
	fake_amd_le32(&a, 0, 2); /* version 2 has no CPUID: not looked at */
	good(&a);
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		fake_amd_ext_drop(&a, "2");
		fake_amd_ext_add(&a, "2", names[i].der, strlen(names[i].der));
		if (names[i].genoa)
			good(&a);
		else
			bad(&a,
			    names[i].der[0] != 0x16 ||
				    strlen(names[i].der) !=
					2u + (size_t)names[i].der[1]
				? "VEK_EXT"
				: "PRODUCT");
	}
	fake_amd_ext_drop(&a, "2");
	bad(&a, "VEK_EXT");
	fake_amd_fini(&a);
}

/* SPL extensions are single DER integers of 0 to 255, each there once. */
Test(snp, spl_encoding)
{
	static const struct {
		const char *der;
		size_t len;
	} wrong[] = { { "\x02\x01\x80", 3 }, { "\x02\x02\x00\x73", 4 },
		{ "\x02\x02\x01\x00", 4 }, { "\x02\x01\x73\x00", 4 },
		{ "\x04\x01\x73", 3 }, { "\x02\x00", 2 }, { "", 0 } };
	struct fake_amd a;

	fake_amd_init(&a, SNP_GENOA, SNP_VCEK);
	for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
		fake_amd_ext_drop(&a, "3.8");
		fake_amd_ext_add(&a, "3.8", wrong[i].der, wrong[i].len);
		bad(&a, "VEK_EXT");
	}
	fake_amd_ext_drop(&a, "3.8");
	fake_amd_ext_add(&a, "3.8", "\x02\x01\x73", 3);
	good(&a);
	fake_amd_ext_add(&a, "3.8", "\x02\x01\x73", 3);
	fake_amd_build(&a);
	/* OpenSSL may call the certificate invalid before we see it. */
	refused_as_is(&a, "VEK_");
	fake_amd_fini(&a);
}

/* Versions 2, 3 and 5 exist, with their fields; others are refused, and so
 * is every signature algorithm but one. */
Test(snp, versions)
{
	struct fake_amd a;
	struct snp_verdict v;

	fake_amd_init(&a, SNP_GENOA, SNP_VCEK);
	a.report[0x1f8] = 0x11;
	a.report[0x200] = 0x22;
	for (uint32_t i = 0; i < 8; i++) {
		fake_amd_le32(&a, 0, i);
		if (i != 2 && i != 3 && i != 5) {
			bad(&a, "REPORT_VERSION");
			continue;
		}
		good(&a);
		cr_assert(verify(&v, &a, NULL) == ERR_OK);
		cr_assert_eq(v.report.has_cpuid, i >= 3);
		cr_assert_eq(v.report.has_mitigation, i == 5);
		cr_assert_eq(v.report.launch_mitigation, i == 5 ? 0x11u : 0u);
		cr_assert_eq(v.report.current_mitigation, i == 5 ? 0x22u : 0u);
		cr_assert_eq(v.report.current_version[0], 1);
		cr_assert_eq(v.report.current_version[1], 55);
		cr_assert_eq(v.report.current_version[2], 29);
	}
	fake_amd_le32(&a, 0, 0x01000003);
	bad(&a, "REPORT_VERSION");
	fake_amd_le32(&a, 0, 3);
	fake_amd_le32(&a, 0x34, 0);
	bad(&a, "SIG_ALGO");
	fake_amd_le32(&a, 0x34, 2);
	bad(&a, "SIG_ALGO");
	fake_amd_fini(&a);
}

/* Each certificate has its role: names, CA rules, key, algorithm, dates. */
Test(snp, chain, .timeout = 60)
{
	struct fake_amd a;
	EVP_PKEY *p256 = vendor_ec("P-256"), *other = vendor_rsa();

	fake_amd_init(&a, SNP_GENOA, SNP_VCEK);
	good(&a);
	a.cert[FAKE_ASK].subject = a.cert[FAKE_VEK].issuer = "SEV-Milan";
	bad(&a, "ASK_ROLE");
	a.cert[FAKE_ASK].subject = a.cert[FAKE_VEK].issuer = "SEV-Genoa";
	a.cert[FAKE_VEK].issuer = "SEV-Milan";
	bad(&a, "VEK_ISSUER");
	a.cert[FAKE_VEK].issuer = "SEV-Genoa";
	a.cert[FAKE_VEK].issuer_key = other;
	bad(&a, "VEK_SIG");
	a.cert[FAKE_VEK].issuer_key = a.key[FAKE_ARK];
	bad(&a, "VEK_SIG");
	a.cert[FAKE_VEK].issuer_key = a.key[FAKE_ASK];
	a.cert[FAKE_ASK].issuer_key = other;
	bad(&a, "ASK_SIG");
	a.cert[FAKE_ASK].issuer_key = a.key[FAKE_ARK];
	a.cert[FAKE_ARK].subject = a.cert[FAKE_ARK].issuer = "ARK-Rome";
	a.cert[FAKE_ASK].issuer = "ARK-Rome";
	bad(&a, "ARK_ROLE");
	a.cert[FAKE_ARK].subject = a.cert[FAKE_ARK].issuer = "ARK-Genoa";
	a.cert[FAKE_ASK].issuer = "ARK-Genoa";

	a.cert[FAKE_ASK].ca = false;
	a.cert[FAKE_ASK].constraints = "critical,CA:FALSE";
	bad(&a, "ASK_PARSE");
	a.cert[FAKE_ASK].ca = true;
	a.cert[FAKE_ASK].constraints = "";
	bad(&a, "ASK_PARSE");
	a.cert[FAKE_ASK].constraints = NULL;
	a.cert[FAKE_ASK].usage = "critical,digitalSignature";
	bad(&a, "ASK_PARSE");
	a.cert[FAKE_ASK].usage = NULL;
	a.cert[FAKE_ARK].constraints = "critical,CA:TRUE,pathlen:0";
	bad(&a, "ARK_SHAPE");
	a.cert[FAKE_ARK].constraints = NULL;
	a.cert[FAKE_VEK].ca = true;
	bad(&a, "VEK_PARSE");
	a.cert[FAKE_VEK].ca = false;
	a.cert[FAKE_VEK].usage = "critical,keyAgreement";
	bad(&a, "VEK_PARSE");
	a.cert[FAKE_VEK].usage = NULL;
	a.cert[FAKE_VEK].unknown_critical = "1.3.6.1.4.1.99999.1";
	bad(&a, "VEK_PARSE");
	a.cert[FAKE_VEK].unknown_critical = NULL;
	a.cert[FAKE_VEK].key = p256;
	bad(&a, "VEK_PARSE");
	a.cert[FAKE_VEK].key = other;
	bad(&a, "VEK_PARSE");
	a.cert[FAKE_VEK].key = a.key[FAKE_VEK];
	good(&a);
	EVP_PKEY_free(p256);
	EVP_PKEY_free(other);
	fake_amd_fini(&a);
}

/* All three are signed with RSASSA-PSS, SHA-384, salt 48, and in date. */
Test(snp, chain_algorithm_and_dates, .timeout = 60)
{
	static const enum vendor_alg wrong[] = { VENDOR_PSS_SHA256,
		VENDOR_PSS_SHORT_SALT, VENDOR_PKCS1_SHA384 };
	static const char *const who[FAKE_AMD_CERTS] = { "VEK", "ASK", "ARK" };
	struct fake_amd a;
	char code[32];

	fake_amd_init(&a, SNP_GENOA, SNP_VCEK);
	for (int i = 0; i < FAKE_AMD_CERTS; i++) {
		int64_t from = a.cert[i].from, until = a.cert[i].until;

		(void)snprintf(code, sizeof code, "%s_ALGO", who[i]);
		for (size_t k = 0; k < sizeof wrong / sizeof wrong[0]; k++) {
			a.cert[i].alg = wrong[k];
			bad(&a, code);
		}
		a.cert[i].alg = VENDOR_PSS_SHA384;
		(void)snprintf(code, sizeof code, "%s_TIME", who[i]);
		a.cert[i].until = FAKE_AMD_NOW - 1;
		bad(&a, code);
		a.cert[i].until = FAKE_AMD_NOW;
		good(&a);
		a.cert[i].until = until;
		a.cert[i].from = FAKE_AMD_NOW + 1;
		bad(&a, code);
		a.cert[i].from = FAKE_AMD_NOW;
		good(&a);
		a.cert[i].from = from;
	}
	for (int i = 0; i < FAKE_AMD_CERTS; i++) {
		struct bytes *part[] = { &a.ev.vek, &a.ev.ask, &a.ev.ark };

		good(&a);
		(void)snprintf(code, sizeof code, "%s_PARSE", who[i]);
		part[i]->len--;
		refused_as_is(&a, code);
		part[i]->len += 2; /* the NUL that a buf keeps */
		refused_as_is(&a, code);
		*part[i] = (struct bytes){ NULL, 0 };
		refused_as_is(&a, code);
	}
	fake_amd_fini(&a);
}

/* A CRL is the ARK's, in date, and does not list the ASK; without one the
 * default policy says no. */
Test(snp, crl)
{
	struct fake_amd a;
	struct snp_verdict v;
	struct snp_policy p;
	const int64_t t = FAKE_AMD_NOW;

	fake_amd_init(&a, SNP_GENOA, SNP_VCEK);
	good(&a);
	snp_policy_default(&p);
	p.allow_simulated = true;
	cr_assert(verify(&v, &a, NULL) == ERR_OK && !v.crl_checked);
	denied(&v, &p, "POLICY_CRL");
	vendor_crl_der(&a.crl, "ARK-Genoa", a.key[FAKE_ARK], t, t, 0x999);
	good(&a);
	cr_assert(verify(&v, &a, NULL) == ERR_OK && v.crl_checked);
	cr_assert(snp_accept(&v, &p, NULL) == ERR_OK);
	vendor_crl_der(
	    &a.crl, "ARK-Genoa", a.key[FAKE_ARK], t, t, 0x10000 + FAKE_ASK);
	bad(&a, "ASK_REVOKED");
	vendor_crl_der(&a.crl, "ARK-Genoa", a.key[FAKE_ASK], t, t, 0);
	bad(&a, "CRL: CRL signature");
	vendor_crl_der(&a.crl, "ARK-Milan", a.key[FAKE_ARK], t, t, 0);
	bad(&a, "CRL: CRL issuer");
	vendor_crl_der(&a.crl, "ARK-Genoa", a.key[FAKE_ARK], t - 9, t - 1, 0);
	bad(&a, "CRL: CRL out of date");
	vendor_crl_der(&a.crl, "ARK-Genoa", a.key[FAKE_ARK], t + 1, t + 9, 0);
	bad(&a, "CRL: CRL out of date");
	vendor_crl_der(&a.crl, "ARK-Genoa", a.key[FAKE_ARK], t, t, 0);
	fake_amd_build(&a);
	a.ev.crl.len--;
	refused_as_is(&a, "CRL");
	a.ev.crl.len += 2;
	refused_as_is(&a, "CRL");
	fake_amd_fini(&a);
}

/* Report data that was asked for must be found, whole. */
Test(snp, report_data)
{
	struct fake_amd a;
	struct snp_verdict v;
	struct refusal why = { 0 };
	uint8_t want[64];
	struct snp_options o = { .now = FAKE_AMD_NOW, .report_data = want };

	fake_amd_init(&a, SNP_GENOA, SNP_VCEK);
	good(&a);
	o.simulated_ark = a.ark_sha256;
	memcpy(want, a.report + 0x50, 64);
	cr_assert(snp_verify(&v, &a.ev, &o, &why) == ERR_OK);
	for (size_t i = 0; i < 64; i += 21) {
		want[i] ^= 1;
		cr_assert(snp_verify(&v, &a.ev, &o, &why) == ERR_DENIED);
		cr_assert_eq(why.code, REASON_REPORT_DATA);
		cr_assert(starts(why.detail, "REPORT_DATA"));
		want[i] ^= 1;
	}
	fake_amd_fini(&a);
}

/* A verdict for acceptance alone: nothing is signed. */
static struct snp_verdict
verdict_by_hand(void)
{
	struct snp_verdict v = { .product = SNP_GENOA, .crl_checked = true };

	v.report.policy = UINT64_C(0x30000);
	v.report.platform_info = 0x20;
	v.reported = v.committed = (struct snp_tcb){ 0, 5, 1, 9, 70 };
	return v;
}

/* The default policy takes a good Genoa report; nothing else by itself. */
Test(snp, acceptance)
{
	struct snp_verdict good_v = verdict_by_hand(), v;
	struct snp_policy p, none = { 0 };

	snp_policy_default(&p);
	cr_assert(snp_accept(&good_v, &p, NULL) == ERR_OK);
	denied(&good_v, &none, "POLICY_PRODUCT");
	v = good_v;
	v.simulated = true;
	denied(&v, &p, "POLICY_SIMULATED");
	v = good_v;
	v.product = SNP_MILAN;
	denied(&v, &p, "POLICY_PRODUCT: Milan");
	v.product = SNP_PRODUCT_COUNT;
	denied(&v, &p, "POLICY_PRODUCT");
	v = good_v;
	v.report.policy = UINT64_C(0x10000);
	denied(&v, &p, "POLICY_RESERVED");
	for (int bit = 26; bit < 64; bit++) {
		v.report.policy = UINT64_C(0x30000) | UINT64_C(1) << bit;
		denied(&v, &p, "POLICY_RESERVED");
	}
	v.report.policy = UINT64_C(0xb0000);
	denied(&v, &p, "POLICY_DEBUG");
	v.report.policy = UINT64_C(0x70000);
	denied(&v, &p, "POLICY_MIGRATION");
	v.report.policy = UINT64_C(0x3f3ffff); /* all that is no danger */
	cr_assert(snp_accept(&v, &p, NULL) == ERR_OK);
	v = good_v;
	v.report.platform_info = ~UINT64_C(0x20);
	denied(&v, &p, "POLICY_ALIAS_CHECK");
	v.report.platform_info = ~UINT64_C(0);
	cr_assert(snp_accept(&v, &p, NULL) == ERR_OK);
}

/* The TCB floor holds part by part, for reported and committed TCB. */
Test(snp, tcb_floor)
{
	struct snp_verdict v = verdict_by_hand();
	struct snp_policy p;
	struct snp_tcb *min;

	snp_policy_default(&p);
	min = &p.min_tcb[SNP_GENOA];
	*min = v.reported;
	p.min_tcb[SNP_TURIN].snp = 255;
	cr_assert(snp_accept(&v, &p, NULL) == ERR_OK);
	v.reported.microcode = 255; /* does not make up for the others */
	for (int i = 0; i < 5; i++) {
		uint8_t *part[] = { &min->fmc, &min->bootloader, &min->tee,
			&min->snp, &min->microcode };

		(*part[i])++;
		denied(&v, &p, "POLICY_TCB");
		(*part[i])--;
	}
	v.committed.snp--;
	denied(&v, &p, "POLICY_TCB");
	v.committed.snp++;
	v.reported.bootloader--;
	denied(&v, &p, "POLICY_TCB");
}

/* As a vendor-neutral verdict it is accepted only where SNP is allowed. */
Test(snp, neutral_verdict)
{
	struct snp_verdict s = verdict_by_hand();
	struct attest_policy p;
	struct verdict v;
	struct refusal why = { 0 };

	s.valid_until = 77;
	s.ark_fingerprint[0] = 9;
	verdict_of_snp(&v, &s);
	cr_assert_eq(v.tee, TEE_SEV_SNP);
	cr_assert_eq(v.status, TCB_REVOKED);
	cr_assert_eq(v.valid_until, 77);
	cr_assert_eq(v.root_fingerprint[0], 9);
	attest_policy_default(&p);
	cr_assert(verdict_accept(&v, &p, &why) == ERR_DENIED);
	cr_assert(starts(why.detail, "POLICY_TEE"), "%s", why.detail);
	p.allow_snp = true;
	cr_assert(verdict_accept(&v, &p, &why) == ERR_DENIED);
	cr_assert(starts(why.detail, "POLICY_PRODUCT"), "%s", why.detail);
	snp_policy_default(&p.snp);
	cr_assert(verdict_accept(&v, &p, &why) == ERR_OK);
	s.simulated = true;
	verdict_of_snp(&v, &s);
	p.snp.allow_simulated = true;
	cr_assert(verdict_accept(&v, &p, &why) == ERR_DENIED);
	p.allow_simulated = true;
	cr_assert(verdict_accept(&v, &p, &why) == ERR_OK);
	p.snp.allow_simulated = false;
	cr_assert(verdict_accept(&v, &p, &why) == ERR_DENIED);
	cr_assert_str_eq(tee_text(TEE_SEV_SNP), "dstack-amd-sev-snp");
	cr_assert_str_eq(snp_product_text(SNP_PRODUCT_COUNT), "unknown");
}
