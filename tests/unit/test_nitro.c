/* Nitro: every case of ../shared/vectors/nitro, genuine and altered, and an
 * AWS of our own (tests/lib/fake_nitro) for what AWS's signatures keep a
 * test from reaching.  P31 in names and comments is the pitfall list of
 * tdx-dcap.md 7: root from the bundle, PCR 0 of zero, milliseconds,
 * indefinite maps, a leaf of three hours. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>
#include <openssl/bn.h>
#include <openssl/evp.h>

#include "common/attest/cborrd.h"
#include "common/attest/verdict.h"
#include "common/base/file.h"
#include "common/base/hex.h"
#include "common/base/json.h"
#include "common/crypto/hash.h"
#include "tests/lib/fake_nitro.h"

#define VECTORS "../shared/vectors/nitro"
#define FILE_MAX (1u << 20)

static bool
starts(const char *s, const char *with)
{
	return strncmp(s, with, strlen(with)) == 0;
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
	struct buf doc;
	json_t *expect, *fields; /* fields: borrowed from expect */
	struct nitro_options o;
};

static void
vector_load(struct vector *v, const char *name)
{
	char dir[256];
	uint64_t now;

	memset(v, 0, sizeof *v);
	cr_assert(file_join(dir, sizeof dir, VECTORS, name) == ERR_OK);
	load(&v->doc, dir, "doc.cose");
	v->expect = load_json(dir, "expected-nitro.json");
	v->fields = json_object_get(v->expect, "without_policy");
	if (v->fields == NULL)
		v->fields = v->expect;
	cr_assert(json_get_u64(&now, v->expect, "now") == ERR_OK);
	v->o.now = (int64_t)now;
}

static void
vector_fini(struct vector *v)
{
	buf_fini(&v->doc);
	json_decref(v->expect);
}

/* Checks one vector whole; the code that refused it, or "OK". */
static void
judge(char code[static REFUSAL_DETAIL_MAX], const struct vector *v)
{
	static const struct nitro_policy strict = { 0 };
	struct nitro_verdict got;
	struct refusal why = { 0 };

	(void)snprintf(code, REFUSAL_DETAIL_MAX, "OK");
	if (nitro_verify(&got, buf_view(&v->doc), &v->o, &why) != ERR_OK ||
	    nitro_accept(&got, &strict, &why) != ERR_OK) {
		cr_assert_neq(why.code, REASON_NONE);
		(void)snprintf(code, REFUSAL_DETAIL_MAX, "%s", why.detail);
	}
}

static void
same_opt(const json_t *f, const char *key, const struct nitro_field *got)
{
	const json_t *v = json_object_get(f, key);
	struct buf want = { 0 };

	cr_assert(v != NULL, "%s", key);
	cr_assert_eq(got->present, !json_is_null(v), "%s", key);
	if (!got->present)
		return;
	cr_assert(json_get_hex_buf(&want, NITRO_FIELD_MAX, f, key) == ERR_OK);
	cr_assert_eq(want.len, got->len, "%s", key);
	if (want.len > 0)
		cr_assert(memcmp(want.p, got->b, want.len) == 0, "%s", key);
	buf_fini(&want);
}

static void
same_fields(const json_t *f, const struct nitro_verdict *v)
{
	const json_t *window = json_object_get(f, "valid_window");
	uint8_t pcr[NITRO_PCR_LEN];
	const char *key, *s;
	uint64_t n;
	json_t *x;

	cr_assert(json_get_str(&s, f, "module_id") == ERR_OK);
	cr_assert_str_eq(s, v->module_id);
	cr_assert(json_get_u64(&n, f, "timestamp_ms") == ERR_OK);
	cr_assert_eq(n, v->timestamp_ms);
	json_object_foreach(json_object_get(f, "pcrs"), key, x)
	{
		unsigned i = (unsigned)strtoul(key, NULL, 10);

		cr_assert(json_get_hex(pcr, sizeof pcr,
			      json_object_get(f, "pcrs"), key) == ERR_OK);
		cr_assert((v->pcr_mask >> i & 1) != 0);
		cr_assert(memcmp(pcr, v->pcr[i], sizeof pcr) == 0, "%s", key);
	}
	cr_assert(json_get_u64(&n, f, "pcr_count") == ERR_OK);
	cr_assert_eq(n, (unsigned)__builtin_popcount(v->pcr_mask));
	same_opt(f, "public_key", &v->public_key);
	same_opt(f, "user_data", &v->user_data);
	same_opt(f, "nonce", &v->nonce);
	cr_assert_eq(
	    json_integer_value(json_array_get(window, 0)), v->valid_from);
	cr_assert_eq(
	    json_integer_value(json_array_get(window, 1)), v->valid_until);
	cr_assert(!v->simulated);
}

/* Every genuine document is accepted with every field as recorded; debug
 * enclaves verify and are not accepted; the others are refused. */
Test(nitro_vectors, every_case)
{
	DIR *d;
	const struct dirent *e;
	unsigned ok = 0, refused = 0;

	NEED_VECTORS();
	d = opendir(VECTORS);
	cr_assert(d != NULL);
	while ((e = readdir(d)) != NULL) {
		char code[REFUSAL_DETAIL_MAX];
		struct nitro_verdict got;
		struct refusal why = { 0 };
		const char *want = NULL;
		struct vector v;

		if (e->d_name[0] < '0' || e->d_name[0] > '9')
			continue;
		vector_load(&v, e->d_name);
		judge(code, &v);
		if (json_get_str(&want, v.expect, "reject") != ERR_OK) {
			cr_assert_str_eq(code, "OK", "%s: %s", e->d_name, code);
			ok++;
		} else {
			cr_assert(
			    starts(code, want), "%s: %s", e->d_name, code);
			refused++;
		}
		if (want == NULL || v.fields != v.expect) {
			cr_assert(nitro_verify(&got, buf_view(&v.doc), &v.o,
				      &why) == ERR_OK);
			same_fields(v.fields, &got);
		}
		vector_fini(&v);
	}
	(void)closedir(d);
	cr_assert(ok >= 6 && refused >= 6, "%u + %u", ok, refused);
}

/* s := n - s, the other signature that ECDSA allows. */
static void
other_s(uint8_t *s)
{
	static const char order[] =
	    "ffffffffffffffffffffffffffffffffffffffffffffffff"
	    "c7634d81f4372ddf581a0db248b0a77aecec196accc52973";
	BIGNUM *n = NULL, *v = BN_bin2bn(s, 48, NULL);

	cr_assert(v != NULL && BN_hex2bn(&n, order) == 96);
	cr_assert(BN_sub(v, n, v) == 1 && BN_bn2binpad(v, s, 48) == 48);
	BN_free(n);
	BN_free(v);
}

static void
alter(struct vector *v, const json_t *m)
{
	const char *name;
	uint64_t off, x;

	cr_assert(json_get_str(&name, m, "case") == ERR_OK);
	if (json_get_u64(&x, m, "now") == ERR_OK)
		v->o.now = (int64_t)x;
	if (json_get_u64(&off, m, "offset") == ERR_OK &&
	    json_get_u64(&x, m, "xor") == ERR_OK) {
		v->doc.p[off] ^= (uint8_t)x;
	} else if (starts(name, "tagged")) {
		cr_assert(buf_append(&v->doc, "", 1, FILE_MAX) == ERR_OK);
		memmove(v->doc.p + 1, v->doc.p, v->doc.len - 1);
		v->doc.p[0] = 0xd2;
	} else if (starts(name, "trailing")) {
		cr_assert(buf_append(&v->doc, "", 1, FILE_MAX) == ERR_OK);
	} else if (starts(name, "truncated")) {
		v->doc.len--;
	} else if (starts(name, "empty")) {
		v->doc.len = 0;
	} else if (starts(name, "s := n - s")) {
		other_s(v->doc.p + v->doc.len - 48);
	} else {
		cr_assert(starts(name, "now "), "%s", name);
	}
}

/* Every recorded alteration is accepted or refused as recorded; P31: the
 * clock edges of a leaf that lives for three hours are among them. */
Test(nitro_vectors, every_mutation)
{
	json_t *file, *m;
	const char *base, *want, *name;
	size_t i;

	NEED_VECTORS();
	file = load_json(VECTORS, "mutations-nitro.json");
	cr_assert(json_get_str(&base, file, "base") == ERR_OK);
	json_array_foreach(json_object_get(file, "cases"), i, m)
	{
		char code[REFUSAL_DETAIL_MAX];
		struct vector v;

		vector_load(&v, base);
		v.o.max_age_s = 4 * 3600; /* the leaf's end is the question */
		alter(&v, m);
		judge(code, &v);
		cr_assert(json_get_str(&want, m, "expect") == ERR_OK);
		cr_assert(json_get_str(&name, m, "case") == ERR_OK);
		cr_assert_eq(strcmp(code, "OK") == 0, strcmp(want, "OK") == 0,
		    "%s: %s, not %s", name, code, want);
		/* A flip inside a bundle may break several things. */
		if (starts(want, "REJECT ") && !starts(name, "flip bit 0 at"))
			cr_assert(starts(code, want + sizeof "REJECT " - 1),
			    "%s: %s, not %s", name, code, want);
		vector_fini(&v);
	}
	cr_assert(i >= 18);
	json_decref(file);
}

/* Any bit of a genuine document flipped, and any cut, is refused. */
Test(nitro_vectors, any_byte_counts, .timeout = 120)
{
	char code[REFUSAL_DETAIL_MAX];
	struct vector v;
	size_t len;

	NEED_VECTORS();
	vector_load(&v, "09-dstack-indefinite-map");
	for (size_t i = 0; i < v.doc.len; i += 37) {
		v.doc.p[i] ^= (uint8_t)(1u << i % 8);
		judge(code, &v);
		cr_assert(strcmp(code, "OK") != 0, "byte %zu", i);
		v.doc.p[i] ^= (uint8_t)(1u << i % 8);
	}
	len = v.doc.len;
	for (v.doc.len = 1; v.doc.len < len; v.doc.len++) {
		judge(code, &v);
		cr_assert(
		    starts(code, "CBOR_TRUNC"), "%zu: %s", v.doc.len, code);
	}
	judge(code, &v);
	cr_assert_str_eq(code, "OK");
	vector_fini(&v);
}

/* ---- an AWS of our own ---- */

static enum err
verify_with(struct nitro_verdict *out, struct fake_nitro *f,
    struct nitro_options o, struct refusal *why)
{
	if (o.now == 0)
		o.now = FAKE_NITRO_NOW;
	o.simulated_root = f->root_sha256;
	return nitro_verify(out, (struct bytes){ f->doc, f->w.len }, &o, why);
}

static struct nitro_verdict
good_with(struct fake_nitro *f, struct nitro_options o)
{
	struct nitro_verdict v;
	struct refusal why = { 0 };

	(void)fake_nitro_build(f);
	cr_assert(verify_with(&v, f, o, &why) == ERR_OK, "%s", why.detail);
	cr_assert(v.simulated);
	return v;
}

static struct nitro_verdict
good(struct fake_nitro *f)
{
	return good_with(f, (struct nitro_options){ 0 });
}

static void
refused_as_is(struct fake_nitro *f, struct nitro_options o, const char *code)
{
	struct nitro_verdict v, before;
	struct refusal why = { 0 };

	memset(&v, 0x5a, sizeof v);
	before = v;
	cr_assert(verify_with(&v, f, o, &why) == ERR_DENIED, "%s", code);
	cr_assert(starts(why.detail, code), "%s, not %s", why.detail, code);
	cr_assert(memcmp(&v, &before, sizeof v) == 0, "%s", code);
}

static void
bad_with(struct fake_nitro *f, struct nitro_options o, const char *code)
{
	(void)fake_nitro_build(f);
	refused_as_is(f, o, code);
}

/* The change that the test made is signed; still refused. */
static void
bad(struct fake_nitro *f, const char *code)
{
	bad_with(f, (struct nitro_options){ 0 }, code);
}

static void
denied(const struct nitro_verdict *v, const struct nitro_policy *p,
    const char *code)
{
	struct refusal why = { 0 };

	cr_assert(nitro_accept(v, p, &why) == ERR_DENIED, "%s", code);
	cr_assert(starts(why.detail, code), "%s, not %s", why.detail, code);
}

/* A document of our own verifies with every field, and is marked. */
Test(nitro, own_document)
{
	static struct fake_nitro f;
	struct nitro_verdict v;

	fake_nitro_init(&f);
	v = good(&f);
	cr_assert_str_eq(v.module_id, "i-0123-enc4567");
	cr_assert_eq(v.timestamp_ms, UINT64_C(1750000000387));
	cr_assert_eq(v.pcr_mask, 0xffffu);
	cr_assert_eq(v.pcr[15][47], 0x1f);
	cr_assert(v.public_key.present && v.public_key.len == 3);
	cr_assert(memcmp(v.user_data.b, "data", 4) == 0);
	cr_assert(memcmp(v.nonce.b, "nonce", 5) == 0);
	cr_assert_eq(v.valid_until, f.cert[0].until);
	cr_assert(memcmp(v.root_fingerprint, f.root_sha256, 32) == 0);
	cr_assert(!v.debug);
	fake_nitro_fini(&f);
}

/* P31: root.  A chain that is perfect under its own root is refused unless
 * the caller names that root, and then not accepted by default. */
Test(nitro, p31_root_from_cabundle)
{
	static struct fake_nitro f;
	struct nitro_options o = { .now = FAKE_NITRO_NOW };
	struct nitro_policy p = { 0 };
	struct nitro_verdict v;
	struct refusal why = { 0 };
	struct bytes doc;

	fake_nitro_init(&f);
	v = good(&f);
	denied(&v, &p, "POLICY_SIMULATED");
	p.allow_simulated = true;
	cr_assert(nitro_accept(&v, &p, NULL) == ERR_OK);
	doc = fake_nitro_build(&f);
	cr_assert(nitro_verify(&v, doc, &o, &why) == ERR_DENIED);
	cr_assert(starts(why.detail, "ROOT"), "%s", why.detail);
	f.root_sha256[0] ^= 1;
	refused_as_is(&f, o, "ROOT");
	f.root_sha256[0] ^= 1;
	/* The bundle must begin with it: last will not do. */
	fake_cbor_head(fake_nitro_field(&f, "cabundle"), 4, 4);
	for (int i = 1; i < FAKE_NITRO_CERTS; i++)
		fake_cbor_bytes(&f.field[5], f.der[i].p, f.der[i].len);
	bad(&f, "ROOT");
	fake_nitro_fini(&f);
}

/* P31: a genuine root before a chain that it did not issue helps nobody. */
Test(nitro, p31_genuine_root_other_chain)
{
	static struct fake_nitro f;
	struct nitro_options o = { .now = FAKE_NITRO_NOW };
	struct nitro_verdict v;
	struct refusal why = { 0 };
	struct buf pem = { 0 }, root = { 0 };
	struct wr *w;

	NEED_VECTORS();
	load(&pem, VECTORS, "aws-nitro-root-g1.pem");
	cr_assert_eq(vendor_pem(&root, 1, buf_view(&pem)), 1);
	fake_nitro_init(&f);
	w = fake_nitro_field(&f, "cabundle");
	fake_cbor_head(w, 4, 4);
	fake_cbor_bytes(w, root.p, root.len);
	for (int i = 3; i > 0; i--)
		fake_cbor_bytes(w, f.der[i].p, f.der[i].len);
	cr_assert(
	    nitro_verify(&v, fake_nitro_build(&f), &o, &why) == ERR_DENIED);
	cr_assert(starts(why.detail, "CHAIN_"), "%s", why.detail);
	fake_nitro_fini(&f);
	buf_fini(&root);
	buf_fini(&pem);
}

/* P31: PCR 0.  Any of the first three of zero is a debug enclave, accepted
 * only where the policy says so; all three must be there. */
Test(nitro, p31_pcr0_zero)
{
	static struct fake_nitro f;
	struct nitro_policy p = { .allow_simulated = true };
	struct nitro_verdict v;

	fake_nitro_init(&f);
	for (uint32_t zero = 1; zero < 8; zero++) {
		fake_nitro_pcrs(&f, 16, zero);
		v = good(&f);
		cr_assert(v.debug);
		denied(&v, &p, "DEBUG_PCR0_ZERO");
		p.allow_debug = true;
		cr_assert(nitro_accept(&v, &p, NULL) == ERR_OK);
		p.allow_debug = false;
	}
	fake_nitro_pcrs(&f, 32, 0xfffffff8);
	v = good(&f);
	cr_assert(!v.debug && v.pcr_mask == UINT32_MAX);
	fake_nitro_pcrs(&f, 3, 0);
	cr_assert(!good(&f).debug);
	fake_nitro_pcrs(&f, 2, 0);
	bad(&f, "FIELD pcrs");
	fake_nitro_pcrs(&f, 0, 0);
	bad(&f, "FIELD pcrs");
	fake_nitro_pcrs(&f, 33, 0);
	bad(&f, "FIELD pcrs");
	fake_nitro_fini(&f);
}

/* P31: milliseconds.  A time in seconds is one of 1970, and refused. */
Test(nitro, p31_timestamp_ms)
{
	static struct fake_nitro f;
	static const uint64_t wrong[] = { FAKE_NITRO_NOW,
		UINT64_C(1000000) * FAKE_NITRO_NOW, 1, INT64_MAX };

	fake_nitro_init(&f);
	for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
		fake_nitro_time(&f, wrong[i]);
		bad(&f, "CERT_TIME");
	}
	fake_nitro_time(&f, 0);
	bad(&f, "FIELD timestamp");
	fake_nitro_time(&f, UINT64_MAX);
	bad(&f, "FIELD timestamp");
	fake_cbor_head(fake_nitro_field(&f, "timestamp"), 1, 5);
	bad(&f, "FIELD timestamp");
	fake_cbor_text(fake_nitro_field(&f, "timestamp"), "1750000000387");
	bad(&f, "FIELD timestamp");
	fake_nitro_fini(&f);
}

/* A document is fresh for the given time, by default five minutes, and may
 * be a minute ahead of us. */
Test(nitro, freshness)
{
	static struct fake_nitro f;
	struct nitro_options o = { .now = FAKE_NITRO_NOW + 300 };

	fake_nitro_init(&f);
	(void)good_with(&f, o);
	o.now++;
	bad_with(&f, o, "TIMESTAMP_OLD");
	o.max_age_s = 301;
	(void)good_with(&f, o);
	o.max_age_s = -1;
	bad_with(&f, o, "TIMESTAMP_OLD");
	o.now = FAKE_NITRO_NOW - NITRO_SKEW_S;
	(void)good_with(&f, o);
	o.now--;
	bad_with(&f, o, "TIMESTAMP_FUTURE");
	fake_nitro_fini(&f);
}

/* P31: certificate lifetime.  The chain must be in date at the document's
 * time and now, both to the second, however old a document may be. */
Test(nitro, p31_cert_lifetime)
{
	static struct fake_nitro f;
	struct nitro_options o = { .max_age_s = INT64_MAX };
	const int64_t t = FAKE_NITRO_NOW;

	fake_nitro_init(&f);
	for (int i = 0; i < FAKE_NITRO_CERTS; i++) {
		int64_t from = f.cert[i].from, until = f.cert[i].until;
		char code[32];

		(void)snprintf(code, sizeof code, "CERT_TIME %d", i);
		f.cert[i].until = t - 1;
		fake_nitro_issue(&f);
		bad(&f, code);
		f.cert[i].until = t;
		fake_nitro_issue(&f);
		o.now = t;
		(void)good_with(&f, o);
		o.now = t + 1; /* in date when made, not now */
		bad_with(&f, o, code);
		f.cert[i].until = until;
		f.cert[i].from = t;
		fake_nitro_issue(&f);
		o.now = t;
		(void)good_with(&f, o);
		fake_nitro_time(&f, UINT64_C(1000) * (uint64_t)t - 1);
		bad_with(&f, o, code); /* not yet when made, now it is */
		fake_nitro_time(&f, UINT64_C(1000) * (uint64_t)t);
		o.now = t - 1;
		bad_with(&f, o, code);
		f.cert[i].from = from;
	}
	fake_nitro_fini(&f);
}

/* P31: indefinite maps mean the same as definite ones, also of PCRs, and so
 * do arrays; without an end, or with one too early, they are refused. */
Test(nitro, p31_indefinite_map)
{
	static struct fake_nitro f;
	struct nitro_verdict v;
	struct wr *w;
	uint8_t pcr[NITRO_PCR_LEN];

	fake_nitro_init(&f);
	f.indefinite = true;
	v = good(&f);
	cr_assert_eq(v.pcr_mask, 0xffffu);
	for (int end = 0; end < 2; end++) {
		w = fake_nitro_field(&f, "pcrs");
		wr_u8(w, 0xbf);
		for (uint8_t i = 0; i < 3; i++) {
			memset(pcr, 7, sizeof pcr);
			wr_u8(w, i);
			fake_cbor_bytes(w, pcr, sizeof pcr);
		}
		if (end == 0)
			wr_u8(w, 0xff);
		if (end == 0)
			cr_assert_eq(good(&f).pcr_mask, 7u);
		else
			bad(&f, "FIELD pcrs");
	}
	wr_u8(w, 3);
	wr_u8(w, 0xff); /* ends between key and value */
	bad(&f, "FIELD pcrs");
	fake_nitro_pcrs(&f, 16, 0);
	w = fake_nitro_field(&f, "cabundle");
	wr_u8(w, 0x9f);
	for (int i = FAKE_NITRO_CERTS - 1; i > 0; i--)
		fake_cbor_bytes(w, f.der[i].p, f.der[i].len);
	bad(&f, "FIELD cabundle");
	wr_u8(w, 0xff);
	(void)good(&f);
	fake_nitro_certs(&f, 4);
	wr_u8(fake_nitro_field(&f, "nonce"), 0xff);
	bad(&f, "FIELD nonce");
	f.indefinite = false;
	bad(&f, "FIELD nonce");
	fake_nitro_fini(&f);
}

/* Each field is there once; unknown ones and other types are refused. */
Test(nitro, fields)
{
	static const char *const keys[] = { "module_id", "digest", "timestamp",
		"pcrs", "certificate", "cabundle", "public_key", "user_data",
		"nonce" };
	static struct fake_nitro f;
	char code[40];

	for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
		fake_nitro_init(&f);
		(void)snprintf(code, sizeof code, "FIELD %s", keys[i]);
		for (unsigned k = 0; k < 4; k++) {
			/* false, tag, {}, a float: nobody's type */
			static const char *const v[] = { "\xf4", "\xc1\x01",
				"\xa0", "\xf9\x3c\x01" };

			wr_str(fake_nitro_field(&f, keys[i]), v[k]);
			bad(&f, code);
		}
		wr_u8(fake_nitro_field(&f, keys[i]), 0xf6); /* null */
		if (i < 6)
			bad(&f, code);
		else
			(void)good(&f);
		fake_nitro_drop(&f, keys[i]);
		if (i < 6)
			bad(&f, code);
		else
			(void)good(&f);
		fake_nitro_fini(&f);

		fake_nitro_init(&f);
		(void)snprintf(code, sizeof code, "DUPLICATE %s", keys[i]);
		wr_u8(fake_nitro_again(&f, keys[i]), 0xf6);
		bad(&f, code);
		f.indefinite = true;
		bad(&f, code);
		fake_nitro_fini(&f);
	}
	fake_nitro_init(&f);
	wr_u8(fake_nitro_field(&f, "Nonce"), 0xf6);
	bad(&f, "UNKNOWN_FIELD: Nonce");
	fake_nitro_drop(&f, "Nonce");
	(void)good(&f);
	for (f.payload_trailing = 1; f.payload_trailing < 3;
	     f.payload_trailing++) {
		f.indefinite = !f.indefinite;
		bad(&f, "TRAILING");
	}
	fake_nitro_fini(&f);
}

/* Every field has its bound, and PCRs are a map of small numbers. */
Test(nitro, bounds)
{
	static const char long_id[NITRO_MODULE_ID_MAX + 2] =
	    "iiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiii"
	    "iiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiii";
	static const char *const opt[] = { "public_key", "user_data", "nonce" };
	static uint8_t big[NITRO_FIELD_MAX + 1];
	static struct fake_nitro f;
	struct wr *w;

	fake_nitro_init(&f);
	fake_cbor_text(fake_nitro_field(&f, "module_id"), long_id + 1);
	(void)good(&f);
	fake_cbor_text(fake_nitro_field(&f, "module_id"), long_id);
	bad(&f, "FIELD module_id");
	fake_cbor_text(fake_nitro_field(&f, "module_id"), "");
	bad(&f, "FIELD module_id");
	fake_cbor_text(fake_nitro_field(&f, "module_id"), "a b");
	bad(&f, "FIELD module_id");
	fake_cbor_bytes(fake_nitro_field(&f, "module_id"), "abc", 3);
	bad(&f, "FIELD module_id");
	fake_cbor_text(fake_nitro_field(&f, "module_id"), "i");
	fake_cbor_text(fake_nitro_field(&f, "digest"), "SHA256");
	bad(&f, "FIELD digest");
	fake_cbor_text(fake_nitro_field(&f, "digest"), "SHA384");
	for (int i = 0; i < 3; i++) {
		fake_cbor_bytes(fake_nitro_field(&f, opt[i]), big, sizeof big);
		bad(&f, "FIELD ");
		fake_cbor_bytes(
		    fake_nitro_field(&f, opt[i]), big, sizeof big - 1);
		(void)good(&f);
		fake_cbor_bytes(fake_nitro_field(&f, opt[i]), big, 0);
		cr_assert(good(&f).public_key.present);
	}
	fake_cbor_bytes(fake_nitro_field(&f, "certificate"), big, sizeof big);
	bad(&f, "FIELD certificate");
	fake_cbor_bytes(fake_nitro_field(&f, "certificate"), big, 0);
	bad(&f, "FIELD certificate");
	fake_cbor_bytes(fake_nitro_field(&f, "certificate"), big, 700);
	bad(&f, "CERT_PARSE 0");
	fake_nitro_certs(&f, 4);

	w = fake_nitro_field(&f, "cabundle");
	fake_cbor_head(w, 4, 0);
	bad(&f, "FIELD cabundle");
	w = fake_nitro_field(&f, "cabundle");
	fake_cbor_head(w, 4, NITRO_CABUNDLE_MAX + 1);
	for (int i = 0; i <= NITRO_CABUNDLE_MAX; i++)
		fake_cbor_bytes(w, big, 10);
	bad(&f, "FIELD cabundle");
	w = fake_nitro_field(&f, "cabundle"); /* claims more than there is */
	fake_cbor_head(w, 4, UINT64_MAX);
	fake_cbor_bytes(w, big, 10);
	bad(&f, "FIELD cabundle");
	fake_nitro_certs(&f, 4);

	w = fake_nitro_field(&f, "pcrs"); /* PCR 1 twice */
	fake_cbor_head(w, 5, 4);
	for (uint64_t i = 0; i < 4; i++) {
		fake_cbor_head(w, 0, i < 2 ? i : i - 1);
		fake_cbor_bytes(w, big, NITRO_PCR_LEN);
	}
	bad(&f, "FIELD pcrs");
	w = fake_nitro_field(&f, "pcrs"); /* of SHA-256's length */
	fake_cbor_head(w, 5, 1);
	fake_cbor_head(w, 0, 0);
	fake_cbor_bytes(w, big, 32);
	bad(&f, "FIELD pcrs");
	w = fake_nitro_field(&f, "pcrs"); /* a negative number */
	fake_cbor_head(w, 5, 1);
	fake_cbor_head(w, 1, 0);
	fake_cbor_bytes(w, big, NITRO_PCR_LEN);
	bad(&f, "FIELD pcrs");
	w = fake_nitro_field(&f, "pcrs");
	fake_cbor_head(w, 5, UINT64_MAX);
	bad(&f, "FIELD pcrs");
	fake_nitro_fini(&f);
}

/* The frame is one COSE_Sign1 with ES384 and nothing unsigned, tagged 18 or
 * not at all. */
Test(nitro, frame)
{
	const struct {
		struct bytes tag, prot, unprot;
		size_t trailing;
		const char *code;
	} wrong[] = {
		{ .tag = BYTES_STR("\xd1"), .code = "COSE" },
		{ .tag = BYTES_STR("\xd2\xd2"), .code = "COSE" },
		{ .tag = BYTES_STR("\xd8\x12"), .code = "CBOR" },
		{ .tag = BYTES_STR("\x81"), .code = "COSE" },
		{ .tag = BYTES_STR("\xa1"), .code = "COSE" },
		{ .prot = BYTES_STR("\x43\xa1\x01\x26"), .code = "PROTECTED" },
		{ .prot = BYTES_STR("\x40"), .code = "PROTECTED" },
		{ .prot = BYTES_STR("\xa1\x01\x38\x22"), .code = "" },
		{ .prot = BYTES_STR("\x58\x04\xa1\x01\x38\x22"),
		    .code = "CBOR" },
		{ .prot = BYTES_STR("\x5f\x44\xa1\x01\x38\x22\xff"),
		    .code = "" },
		{ .prot = BYTES_STR("\x46\xa1\x01\x39\x00\x22\x00"),
		    .code = "PROTECTED" },
		{ .prot = BYTES_STR("\x64\xa1\x01\x38\x22"),
		    .code = "PROTECTED" },
		{ .unprot = BYTES_STR("\xa1\x04\x41\x00"),
		    .code = "UNPROTECTED" },
		{ .unprot = BYTES_STR("\xbf\xff"), .code = "UNPROTECTED" },
		{ .unprot = BYTES_STR("\xf6"), .code = "UNPROTECTED" },
		{ .unprot = BYTES_STR("\x40"), .code = "UNPROTECTED" },
		{ .unprot = BYTES_STR("\xb8\x00"), .code = "CBOR" },
		{ .trailing = 1, .code = "TRAILING 1" },
		{ .trailing = LIMIT_NITRO_DOC, .code = "DOC_SIZE" },
	};
	static struct fake_nitro f;
	struct nitro_options o = { 0 };

	for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
		fake_nitro_init(&f);
		f.tag = wrong[i].tag;
		if (wrong[i].prot.p != NULL)
			f.prot = wrong[i].prot;
		if (wrong[i].unprot.p != NULL)
			f.unprot = wrong[i].unprot;
		f.trailing = wrong[i].trailing;
		bad(&f, wrong[i].code);
		fake_nitro_fini(&f);
	}
	fake_nitro_init(&f);
	f.tag = BYTES_STR("\xd2");
	(void)good(&f);
	f.tag = (struct bytes){ NULL, 0 };
	(void)good(&f);
	f.doc[0] = 0x85; /* five elements */
	refused_as_is(&f, o, "COSE");
	f.doc[0] = 0x83;
	refused_as_is(&f, o, "COSE");
	f.doc[0] = 0x9f;
	refused_as_is(&f, o, "COSE");
	f.doc[0] = 0x84;
	f.w.len--;
	refused_as_is(&f, o, "CBOR_TRUNC");
	f.w.len = 0;
	refused_as_is(&f, o, "CBOR: empty");
	fake_nitro_fini(&f);
}

/* A header of null hides nothing: with or without a wrong field behind it,
 * the document is refused, and the field is told first. */
Test(nitro, null_header)
{
	static struct fake_nitro f;

	fake_nitro_init(&f);
	f.unprot = BYTES_STR("\xf6");
	bad(&f, "UNPROTECTED");
	fake_cbor_head(fake_nitro_field(&f, "cabundle"), 7, 22); /* null */
	bad(&f, "FIELD cabundle");
	fake_nitro_fini(&f);
}

/* A signature has 96 bytes, is over this payload, and is the leaf's. */
Test(nitro, signature)
{
	static struct fake_nitro f;
	struct nitro_options o = { 0 };
	EVP_PKEY *leaf;

	fake_nitro_init(&f);
	(void)good(&f);
	for (size_t i = 1; i <= 96; i += 19) {
		f.doc[f.w.len - i] ^= 1;
		refused_as_is(&f, o, "COSE_SIG");
		f.doc[f.w.len - i] ^= 1;
	}
	memset(f.doc + f.w.len - 96, 0, 96);
	refused_as_is(&f, o, "COSE_SIG");
	(void)fake_nitro_build(&f);
	f.doc[f.w.len - 97] = 95; /* 58 60 -> 58 5f */
	f.w.len--;
	refused_as_is(&f, o, "SIGNATURE_LEN");
	f.doc[f.w.len++] = 0;
	f.doc[f.w.len++] = 0;
	f.doc[f.w.len - 98] = 97;
	refused_as_is(&f, o, "SIGNATURE_LEN");
	leaf = f.key[0];
	f.key[0] = f.key[1];
	bad(&f, "COSE_SIG");
	f.key[0] = leaf;
	fake_nitro_fini(&f);
}

/* The bundle is exactly the path, in order, each certificate in its role. */
Test(nitro, chain, .timeout = 60)
{
	static struct fake_nitro f;
	EVP_PKEY *p256 = vendor_ec("P-256");
	struct wr *w;

	fake_nitro_init(&f);
	for (size_t n = 1; n < 4; n++) { /* the lowest are missing */
		fake_nitro_certs(&f, n);
		bad(&f, "CHAIN_ISSUER 0");
	}
	w = fake_nitro_field(&f, "cabundle"); /* one twice */
	fake_cbor_head(w, 4, 5);
	for (int i = 4; i > 0; i--)
		fake_cbor_bytes(w, f.der[i].p, f.der[i].len);
	fake_cbor_bytes(w, f.der[1].p, f.der[1].len);
	bad(&f, "CHAIN_");
	w = fake_nitro_field(&f, "cabundle"); /* two exchanged */
	fake_cbor_head(w, 4, 4);
	fake_cbor_bytes(w, f.der[4].p, f.der[4].len);
	fake_cbor_bytes(w, f.der[2].p, f.der[2].len);
	fake_cbor_bytes(w, f.der[3].p, f.der[3].len);
	fake_cbor_bytes(w, f.der[1].p, f.der[1].len);
	bad(&f, "CHAIN_SHAPE");

	f.cert[1].issuer_key = f.key[3];
	fake_nitro_issue(&f);
	bad(&f, "CHAIN_SIG 1");
	f.cert[1].issuer_key = f.key[2];
	f.cert[1].issuer = "elsewhere";
	fake_nitro_issue(&f);
	bad(&f, "CHAIN_ISSUER 1");
	f.cert[1].issuer = f.cert[2].subject;
	f.cert[3].constraints = "critical,CA:TRUE,pathlen:1";
	fake_nitro_issue(&f);
	bad(&f, "CHAIN_SHAPE 3");
	f.cert[3].constraints = "critical,CA:FALSE";
	fake_nitro_issue(&f);
	bad(&f, "CERT_PARSE 3");
	f.cert[3].constraints = NULL;
	f.cert[2].usage = "critical,digitalSignature";
	fake_nitro_issue(&f);
	bad(&f, "CERT_PARSE 2");
	f.cert[2].usage = NULL;
	f.cert[0].constraints = "critical,CA:TRUE";
	fake_nitro_issue(&f);
	bad(&f, "CERT_PARSE 0");
	f.cert[0].constraints = "critical,CA:FALSE";
	f.cert[0].usage = "critical,keyAgreement";
	fake_nitro_issue(&f);
	bad(&f, "CERT_PARSE 0");
	f.cert[0].usage = "critical,digitalSignature";
	f.cert[0].key = p256;
	fake_nitro_issue(&f);
	bad(&f, "CERT_PARSE 0");
	f.cert[0].key = f.key[0];
	for (int i = 0; i < FAKE_NITRO_CERTS; i++) {
		f.cert[i].alg = VENDOR_ECDSA_SHA256;
		fake_nitro_issue(&f);
		bad(&f, "CERT_ALGO");
		f.cert[i].alg = VENDOR_ECDSA_SHA384;
	}
	fake_nitro_issue(&f);
	(void)good(&f);
	EVP_PKEY_free(p256);
	fake_nitro_fini(&f);
}

/* Values that were asked for must be found, whole; absent is not empty. */
Test(nitro, asked_for)
{
	static struct fake_nitro f;
	static const char *const keys[] = { "nonce", "user_data",
		"public_key" };
	static const char *const codes[] = { "NONCE", "USER_DATA",
		"PUBLIC_KEY" };

	fake_nitro_init(&f);
	for (int i = 0; i < 3; i++) {
		struct nitro_options o = { 0 };
		struct bytes *ask[] = { &o.nonce, &o.user_data, &o.public_key };

		fake_cbor_bytes(fake_nitro_field(&f, keys[i]), "abc", 3);
		*ask[i] = BYTES_STR("abc");
		(void)good_with(&f, o);
		*ask[i] = BYTES_STR("abd");
		bad_with(&f, o, codes[i]);
		*ask[i] = BYTES_STR("ab");
		bad_with(&f, o, codes[i]);
		*ask[i] = BYTES_STR("");
		bad_with(&f, o, codes[i]);
		fake_cbor_bytes(fake_nitro_field(&f, keys[i]), "", 0);
		(void)good_with(&f, o);
		wr_u8(fake_nitro_field(&f, keys[i]), 0xf6);
		bad_with(&f, o, codes[i]);
		fake_nitro_drop(&f, keys[i]);
		bad_with(&f, o, codes[i]);
	}
	fake_nitro_fini(&f);
}

/* As a vendor-neutral verdict it is accepted only where Nitro is allowed. */
Test(nitro, neutral_verdict)
{
	static struct verdict v;
	struct nitro_verdict n = { .valid_until = 77 };
	struct attest_policy p;
	struct refusal why = { 0 };

	n.root_fingerprint[31] = 9;
	verdict_of_nitro(&v, &n);
	cr_assert_eq(v.tee, TEE_NITRO);
	cr_assert_eq(v.status, TCB_REVOKED);
	cr_assert_eq(v.valid_until, 77);
	cr_assert_eq(v.root_fingerprint[31], 9);
	attest_policy_default(&p);
	cr_assert(verdict_accept(&v, &p, &why) == ERR_DENIED);
	cr_assert(starts(why.detail, "POLICY_TEE"), "%s", why.detail);
	p.allow_snp = true;
	cr_assert(verdict_accept(&v, &p, &why) == ERR_DENIED);
	p.allow_nitro = true;
	cr_assert(verdict_accept(&v, &p, &why) == ERR_OK);
	n.debug = true;
	verdict_of_nitro(&v, &n);
	cr_assert(verdict_accept(&v, &p, &why) == ERR_DENIED);
	cr_assert(starts(why.detail, "DEBUG_PCR0_ZERO"), "%s", why.detail);
	n.debug = false;
	n.simulated = true;
	verdict_of_nitro(&v, &n);
	p.nitro.allow_simulated = true;
	cr_assert(verdict_accept(&v, &p, &why) == ERR_DENIED);
	p.allow_simulated = true;
	cr_assert(verdict_accept(&v, &p, &why) == ERR_OK);
	cr_assert_str_eq(tee_text(TEE_NITRO), "dstack-nitro-enclave");
}

/* ---- the cursor ---- */

/* Items have one form: longer heads than needed are refused, and after the
 * first failure nothing is read. */
Test(cborrd, shortest_form)
{
	const struct bytes wrong[] = { BYTES_STR("\x18\x17"),
		BYTES_STR("\x19\x00\xff"), BYTES_STR("\x1a\x00\x00\xff\xff"),
		BYTES_STR("\x1b\x00\x00\x00\x00\xff\xff\xff\xff"),
		BYTES_STR("\x38\x01"), BYTES_STR("\x58\x01q"),
		BYTES_STR("\x79\x00\x01q"), BYTES_STR("\x98\x01"),
		BYTES_STR("\xb8\x01"), BYTES_STR("\xd8\x12"), BYTES_STR("\x1c"),
		BYTES_STR("\x5c"), BYTES_STR("\xfc") };
	const struct bytes cut[] = { BYTES_STR(""), BYTES_STR("\x18"),
		BYTES_STR("\x1b\x01"), BYTES_STR("\x42q"),
		BYTES_STR("\x5b\xff\xff\xff\xff\xff\xff\xff\xffq") };

	for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
		struct cborrd r = { .p = wrong[i].p, .left = wrong[i].len };

		cr_assert_eq(cborrd_next(&r).type, CBORRD_BAD, "%zu", i);
		cr_assert(r.bad && !r.truncated, "%zu", i);
		r.p = (const uint8_t *)"\x01";
		r.left = 1;
		cr_assert_eq(cborrd_next(&r).type, CBORRD_BAD);
		cr_assert_eq(r.left, 1);
	}
	for (size_t i = 0; i < sizeof cut / sizeof cut[0]; i++) {
		struct cborrd r = { .p = cut[i].p, .left = cut[i].len };

		cr_assert_eq(cborrd_next(&r).type, CBORRD_BAD, "%zu", i);
		cr_assert(r.bad && r.truncated, "%zu", i);
	}
}

/* Every kind of item is told from every other. */
Test(cborrd, kinds)
{
	const struct {
		struct bytes in;
		enum cborrd_type type;
		uint64_t n;
	} right[] = { { BYTES_STR("\x17"), CBORRD_UINT, 23 },
		{ BYTES_STR("\x18\x18"), CBORRD_UINT, 24 },
		{ BYTES_STR("\x19\x01\x00"), CBORRD_UINT, 256 },
		{ BYTES_STR("\x1a\x00\x01\x00\x00"), CBORRD_UINT, 65536 },
		{ BYTES_STR("\x1b\x00\x00\x00\x01\x00\x00\x00\x00"),
		    CBORRD_UINT, UINT64_C(1) << 32 },
		{ BYTES_STR("\x38\x22"), CBORRD_NEGINT, 34 },
		{ BYTES_STR("\x42qq"), CBORRD_BYTES, 2 },
		{ BYTES_STR("\x62qq"), CBORRD_TEXT, 2 },
		{ BYTES_STR("\x84"), CBORRD_ARRAY, 4 },
		{ BYTES_STR("\x9f"), CBORRD_ARRAY, 0 },
		{ BYTES_STR("\xa9"), CBORRD_MAP, 9 },
		{ BYTES_STR("\xbf"), CBORRD_MAP, 0 },
		{ BYTES_STR("\xd2"), CBORRD_TAG, 18 },
		{ BYTES_STR("\xf6"), CBORRD_NULL, 0 },
		{ BYTES_STR("\xff"), CBORRD_BREAK, 0 },
		{ BYTES_STR("\xf5"), CBORRD_OTHER, 0 },
		{ BYTES_STR("\xf7"), CBORRD_OTHER, 0 },
		{ BYTES_STR("\x5f"), CBORRD_OTHER, 0 },
		{ BYTES_STR("\x7f"), CBORRD_OTHER, 0 },
		{ BYTES_STR("\xfa\x3f\x80\x00\x00"), CBORRD_OTHER, 0 } };

	for (size_t i = 0; i < sizeof right / sizeof right[0]; i++) {
		struct cborrd r = { .p = right[i].in.p,
			.left = right[i].in.len };
		struct cborrd_item it = cborrd_next(&r);

		cr_assert_eq(it.type, right[i].type, "%zu", i);
		cr_assert_eq(it.n, right[i].n, "%zu", i);
		cr_assert(!r.bad && r.left == 0, "%zu", i);
	}
}
