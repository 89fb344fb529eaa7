/* A simulator's folder: what of it is refused, and that the published ones
 * answer byte for byte (dstack-compat.md 2.6 a and b, 6). */
#include <stdio.h>
#include <string.h>

#include <criterion/criterion.h>
#include <sodium.h>

#include "common/base/file.h"
#include "common/base/hex.h"
#include "common/base/limits.h"
#include "kms/ctl/simfixture.h"
#include "node/agent/fixture.h"
#include "node/agent/rpc.h"
#include "tests/lib/facts.h"
#include "tests/lib/tmpdir.h"

static void
init(void)
{
	cr_assert_geq(sodium_init(), 0);
}

TestSuite(fixture, .init = init);

/* ---- a folder of our own, in memory ---- */

static void
read_in(struct buf *out, const char *dir, const char *name)
{
	char path[512];

	cr_assert_eq(file_join(path, sizeof path, dir, name), ERR_OK);
	cr_assert_eq(file_read(out, path, 1 << 20), ERR_OK, "%s", path);
}

static void
files_fini(struct fixture_files *f)
{
	buf_fini(&f->app_compose);
	buf_fini(&f->app_keys);
	buf_fini(&f->sys_config);
	buf_fini(&f->quote_hex);
	buf_fini(&f->event_log);
	buf_fini(&f->attestation);
}

static void
own_files(struct fixture_files *out)
{
	struct refusal why = { .code = REASON_NONE };
	char *dir = tmpdir_new();

	cr_assert_eq(simfixture_make(dir, &why), ERR_OK, "%s", why.detail);
	cr_assert_eq(simfixture_make(dir, &why), ERR_EXISTS);
	memset(out, 0, sizeof *out);
	read_in(&out->app_compose, dir, "app-compose.json");
	read_in(&out->app_keys, dir, "appkeys.json");
	read_in(&out->sys_config, dir, "sys-config.json");
	read_in(&out->quote_hex, dir, "quote.hex");
	read_in(&out->event_log, dir, "eventlog.json");
	tmpdir_remove(dir);
}

static enum err
try(const struct fixture_files *in, struct refusal *why)
{
	struct fixture *f = NULL;
	enum err e;

	*why = (struct refusal){ .code = REASON_NONE };
	e = fixture_make(&f, in, why);
	cr_assert((e == ERR_OK) == (f != NULL));
	fixture_free(f);
	return e;
}

/* refused: these files, and the text names what is wrong. */
static void
refused(const struct fixture_files *in, const char *words)
{
	struct refusal why;

	cr_assert_eq(try(in, &why), ERR_CONFIG, "%s", words);
	cr_assert_not_null(
	    strstr(why.detail, words), "'%s' lacks '%s'", why.detail, words);
}

/* The value of one member, replaced (NULL: removed). */
static void
change(struct buf *file, const char *key, json_t *value)
{
	json_t *o = json_loadb((char *)file->p, file->len, 0, NULL);

	cr_assert_not_null(o);
	if (value == NULL)
		json_object_del(o, key);
	else
		json_object_set_new(o, key, value);
	file->len = 0;
	cr_assert_eq(json_write(file, o), ERR_OK);
	json_decref(o);
}

static void
with_key(const char *key, json_t *value, const char *words)
{
	struct fixture_files in;

	own_files(&in);
	change(&in.app_keys, key, value);
	refused(&in, words);
	files_fini(&in);
}

/* Every member of appkeys.json counts, and its kind. */
Test(fixture, app_keys_refused)
{
	char hex[131];

	with_key("k256_key", NULL, "k256_key");
	with_key("k256_key", json_string("abcd"), "k256_key");
	with_key("k256_key", json_integer(1), "k256_key");
	memset(hex, '0', 64);
	hex[64] = '\0';
	with_key("k256_key", json_string(hex), "k256_key");
	memset(hex, 'f', 64);
	with_key("k256_key", json_string(hex), "k256_key");
	with_key("k256_signature", NULL, "k256_signature");
	with_key("k256_signature", json_string(""), "k256_signature");
	memset(hex, 'f', 130);
	hex[130] = '\0';
	with_key("k256_signature", json_string(hex), "k256_signature");
	with_key("disk_crypt_key", json_string("00"), "disk_crypt_key");
	with_key("env_crypt_key", NULL, "env_crypt_key");
	with_key("key_provider", NULL, "key_provider");
	with_key("key_provider", json_string("None"), "key_provider");
	with_key("key_provider", json_object(), "key_provider");
	with_key("key_provider", json_pack("{s:{s:s}}", "Kms", "url", "x"),
	    "only None");
	with_key("key_provider", json_pack("{s:{}, s:{}}", "None", "Kms"),
	    "key_provider");
	with_key("key_provider", json_pack("{s:{s:s}}", "None", "key", "x"),
	    "no P-256 key");
	with_key("key_provider",
	    json_pack("{s:{s:s}}", "None", "key",
		"-----BEGIN PRIVATE KEY-----\nAAAA\n"
		"-----END PRIVATE KEY-----\n"),
	    "no P-256 key");
	with_key("ca_cert", NULL, "ca_cert");
	with_key("ca_cert", json_string(""), "ca_cert");
	with_key("ca_cert",
	    json_string("-----BEGIN CERTIFICATE-----\nAAAA\n"
			"-----END CERTIFICATE-----\n"),
	    "ca_cert");
}

/* The certificate must be that of the key beside it. */
Test(fixture, another_ca)
{
	struct fixture_files in, other;
	json_t *o;

	own_files(&in);
	own_files(&other);
	o = json_loadb((char *)other.app_keys.p, other.app_keys.len, 0, NULL);
	change(&in.app_keys, "ca_cert",
	    json_incref(json_object_get(o, "ca_cert")));
	refused(&in, "ca_cert is not that of");
	json_decref(o);
	files_fini(&in);
	files_fini(&other);
}

static void
with_file(size_t at, const char *text, const char *words)
{
	struct fixture_files in;
	struct buf *file;

	own_files(&in);
	file = (struct buf *)(void *)((char *)&in + at);
	cr_assert_eq(buf_set(file, text, strlen(text)), ERR_OK);
	refused(&in, words);
	files_fini(&in);
}

#define FILE_AT(member) offsetof(struct fixture_files, member)

/* Every file must be what its name says. */
Test(fixture, files_refused)
{
	with_file(FILE_AT(app_keys), "", "appkeys.json");
	with_file(FILE_AT(app_keys), "[]", "appkeys.json");
	with_file(FILE_AT(app_keys), "{", "appkeys.json");
	with_file(FILE_AT(app_compose), "", "app-compose");
	with_file(FILE_AT(app_compose), "[]", "app-compose");
	with_file(FILE_AT(app_compose), "{\"name\":7}", "name");
	with_file(
	    FILE_AT(app_compose), "{\"event_log_version\":2}", "event_log");
	with_file(FILE_AT(sys_config), "", "sys-config.json");
	with_file(FILE_AT(sys_config), "{}", "vm_config");
	with_file(FILE_AT(sys_config), "{\"vm_config\":{}}", "vm_config");
	with_file(FILE_AT(quote_hex), "", "quote.hex");
	with_file(FILE_AT(quote_hex), "\n\n", "quote.hex");
	with_file(FILE_AT(quote_hex), "04000", "quote.hex");
	with_file(FILE_AT(quote_hex), "0400zz", "quote.hex");
	with_file(FILE_AT(quote_hex), "04000200", "quote.hex");
	with_file(FILE_AT(event_log), "", "eventlog.json");
	with_file(FILE_AT(event_log), "{}", "eventlog.json");
	with_file(FILE_AT(event_log), "[]", "eventlog.json");
	with_file(FILE_AT(attestation), "x", "attestation.bin");
}

/* No prefix of a file is taken for the file, and no byte crashes anything. */
Test(fixture, cut_and_flipped)
{
	struct fixture_files in;
	struct buf *part[] = { &in.app_keys, &in.sys_config, &in.event_log,
		&in.quote_hex, &in.app_compose };
	struct refusal why;

	own_files(&in);
	cr_assert_eq(try(&in, &why), ERR_OK, "%s", why.detail);
	for (size_t i = 0; i < sizeof part / sizeof part[0]; i++) {
		struct buf *b = part[i];
		size_t len = b->len, step = len / 60 + 1;

		for (size_t n = 0; n + 2 < len; n += step) {
			uint8_t was = b->p[n];
			enum err e;

			b->p[n] ^= 0x11;
			e = try(&in, &why);
			cr_assert(e == ERR_OK || e == ERR_CONFIG);
			b->p[n] = '\0';
			b->len = n;
			/* The end of a quote is padding that is ignored. */
			e = try(&in, &why);
			cr_assert(e == ERR_CONFIG ||
			    (b == &in.quote_hex && e == ERR_OK));
			b->p[n] = was;
			b->len = len;
		}
	}
	cr_assert_eq(try(&in, &why), ERR_OK);
	files_fini(&in);
}

/* A folder without one of its files is told by that file's name. */
Test(fixture, folder_refused)
{
	static const char *const name[] = { "appkeys.json", "app-compose.json",
		"sys-config.json", "quote.hex", "eventlog.json" };
	struct refusal why = { .code = REASON_NONE };
	struct fixture *f = NULL;
	char *dir = tmpdir_new();
	char path[512];

	cr_assert_eq(simfixture_make(dir, &why), ERR_OK);
	for (size_t i = 0; i < sizeof name / sizeof name[0]; i++) {
		struct buf keep = { 0 };

		read_in(&keep, dir, name[i]);
		(void)snprintf(path, sizeof path, "%s/%s", dir, name[i]);
		cr_assert_eq(remove(path), 0);
		cr_assert_eq(fixture_load(&f, dir, &why), ERR_CONFIG);
		cr_assert_not_null(
		    strstr(why.detail, name[i]), "%s", why.detail);
		cr_assert_eq(file_write(path, "", 0, 0600), ERR_OK);
		cr_assert_eq(fixture_load(&f, dir, &why), ERR_CONFIG);
		cr_assert_eq(file_write(path, keep.p, keep.len, 0600), ERR_OK);
		buf_fini(&keep);
	}
	cr_assert_eq(fixture_load(&f, dir, &why), ERR_OK, "%s", why.detail);
	fixture_free(f);
	tmpdir_remove(dir);
}

/* ---- methods ---- */

static json_t *
call(struct fixture *f, const char *method, const char *body, unsigned want)
{
	struct agent_backend b = fixture_backend(f);
	struct rpc_reply rp = { .status = 0 };
	json_t *in = json_loads(body, 0, NULL), *out = NULL;

	cr_assert_not_null(in, "%s", body);
	rpc_call(&b, &rp, &rpc_guest, method, in, false);
	cr_assert_eq(rp.status, want, "%s: %s", method, rp.error);
	cr_assert_eq(
	    json_parse(&out, rp.body.p, rp.body.len, LIMIT_HTTP_BODY, NULL, 0),
	    ERR_OK);
	json_decref(in);
	buf_fini(&rp.body);
	return out;
}

/* Everything says that it is simulated; there are no counters and no other
 * epochs; an event is taken and goes nowhere. */
Test(fixture, methods)
{
	struct refusal why;
	struct fixture_files in;
	struct fixture *f = NULL;
	json_t *v, *w;

	own_files(&in);
	cr_assert_eq(fixture_make(&f, &in, &why), ERR_OK);
	v = call(f, "Version", "{}", 200);
	cr_assert_not_null(strstr(facts_str(v, "rev"), "simulated"));
	json_decref(v);
	v = call(f, "Info", "{}", 200);
	cr_assert(json_is_true(facts_get(v, "simulated")));
	cr_assert_eq(
	    strncmp(facts_str(v, "app_cert"), "-----BEGIN CERT", 15), 0);
	v = (json_decref(v), call(f, "GetKey", "{\"epoch\":1}", 400));
	json_decref(v);
	json_decref(call(f, "CounterGet", "{\"name\":\"n\"}", 400));
	json_decref(call(
	    f, "CounterIncrement", "{\"name\":\"n\",\"expected\":0}", 400));
	v = call(f, "GetQuote", "{}", 200);
	json_decref(call(f, "EmitEvent", "{\"event\":\"e\"}", 200));
	json_decref(call(f, "EmitEvent", "{\"event\":\"app-id\"}", 400));
	w = call(f, "GetQuote", "{}", 200);
	cr_assert(json_equal(v, w));
	cr_assert_null(json_object_get(v, "attestation"));
	json_decref(v);
	json_decref(w);
	fixture_free(f);
	files_fini(&in);
}

/* Certificates come from the folder's CA: two of them. */
Test(fixture, certificates)
{
	struct refusal why;
	struct fixture_files in;
	struct fixture *f = NULL;
	json_t *v;

	own_files(&in);
	cr_assert_eq(fixture_make(&f, &in, &why), ERR_OK);
	v = call(f, "GetTlsKey",
	    "{\"subject\":\"a\",\"alt_names\":[\"localhost\",\"::1\"],"
	    "\"usage_ra_tls\":true,\"with_app_info\":true}",
	    200);
	cr_assert_eq(json_array_size(facts_get(v, "certificate_chain")), 2);
	json_decref(v);
	json_decref(call(f, "GetTlsKey", "{\"alt_names\":[\"\"]}", 400));
	json_decref(call(f, "GetTlsKey", "{\"alt_names\":[\"a b\"]}", 400));
	json_decref(call(f, "GetTlsKey", "{\"alt_names\":[\"\\u00e9\"]}", 400));
	json_decref(call(f, "GetTlsKey",
	    "{\"subject\":\"a234567890123456789012345678901234567890123456789"
	    "0123456789012345\"}",
	    400));
	json_decref(
	    call(f, "GetTlsKey", "{\"not_after\":18446744073709551}", 400));
	json_decref(call(f, "GetTlsKey", "{\"not_after\":100}", 400));
	fixture_free(f);
	files_fini(&in);
}

/* ---- the published folders ---- */

static struct fixture *
published(const char *name)
{
	struct refusal why = { .code = REASON_NONE };
	struct fixture *f = NULL;
	struct buf there = { 0 };
	char path[256];

	(void)snprintf(path, sizeof path, "dstack/%s/appkeys.json", name);
	facts_read(&there, path); /* or skips */
	buf_fini(&there);
	(void)snprintf(path, sizeof path, "../shared/vectors/dstack/%s", name);
	cr_assert_eq(fixture_load(&f, path, &why), ERR_OK, "%s", why.detail);
	return f;
}

static void
same_text(const json_t *got, const json_t *want, const char *what)
{
	cr_assert_not_null(want, "%s", what);
	cr_assert(json_equal(got, want), "%s: %s, not %s", what,
	    json_string_value(got), json_string_value(want));
}

static void
get_key_row(struct fixture *f, const json_t *row)
{
	json_t *v,
	    *rq = json_pack("{s:O, s:O, s:O}", "path", facts_get(row, "path"),
		"purpose", facts_get(row, "purpose"), "algorithm",
		facts_get(row, "algorithm"));
	char *text = json_dumps(rq, 0);

	v = call(f, "GetKey", text, 200);
	same_text(facts_get(v, "key"), facts_get(row, "key"), text);
	cr_assert(json_equal(facts_get(v, "signature_chain"),
		      facts_get(row, "signature_chain")),
	    "%s", text);
	json_decref(v);
	json_decref(rq);
	free(text);
}

static void
sign_as(struct fixture *f, const json_t *want, const char *algorithm,
    const char *data_hex)
{
	char body[512];
	json_t *v, *chain;

	(void)snprintf(body, sizeof body,
	    "{\"algorithm\":\"%s\",\"data\":\"%s\"}", algorithm, data_hex);
	v = call(f, "Sign", body, 200);
	same_text(
	    facts_get(v, "signature"), facts_get(want, algorithm), algorithm);
	chain = facts_get(v, "signature_chain");
	cr_assert_eq(json_array_size(chain), 3);
	same_text(
	    json_array_get(chain, 0), facts_get(want, algorithm), algorithm);
	json_decref(v);
}

/* Every row of GetKey, every signature, the root's address, and Info. */
static void
check_published(const char *name)
{
	struct fixture *f = published(name);
	json_t *all = facts_json("dstack/vectors.json"), *row, *v;
	const json_t *want = facts_get(all, name), *sign;
	char hex[512], key[64];
	const char *text;
	uint8_t root[20];
	size_t i;

	json_array_foreach(facts_get(want, "get_key"), i, row)
	    get_key_row(f, row);
	cr_assert_geq(i, 5);
	fixture_root(root, f);
	hex_encode(hex, root, 20);
	cr_assert_eq(
	    strcasecmp(hex, facts_str(want, "recovered_root_address") + 2), 0);
	sign = facts_get(want, "sign");
	text = facts_str(sign, "data_ascii");
	hex_encode(hex, (const uint8_t *)text, strlen(text));
	sign_as(f, sign, "secp256k1", hex);
	sign_as(f, sign, "ed25519", hex);
	sign_as(f, sign, "secp256k1_prehashed",
	    facts_str(sign, "secp256k1_prehashed_input"));
	v = call(f, "Info", "{}", 200);
	same_text(facts_get(v, "app_id"), facts_get(want, "app_id"), "app_id");
	(void)snprintf(key, sizeof key, "quote %s", name);
	same_text(facts_get(v, "mr_aggregated"),
	    facts_get(facts_get(facts_get(all, key), "final"), "mr_aggregated"),
	    "mr_aggregated");
	json_decref(v);
	json_decref(all);
	fixture_free(f);
}

Test(fixture, published_0_5_3)
{
	check_published("sim-v0.5.3");
}

Test(fixture, published_newer)
{
	check_published("sim-head");
}

/* A quote is the stored one but for bytes 568 to 631. */
Test(fixture, quote_0_5_3)
{
	struct fixture *f = published("sim-v0.5.3");
	struct buf file = { 0 };
	const char *hex;
	json_t *v;

	facts_read(&file, "dstack/sim-v0.5.3/quote.hex");
	v = call(f, "GetQuote", "{\"report_data\":\"abcd\"}", 200);
	hex = facts_str(v, "quote");
	cr_assert_eq(strlen(hex) + 1, file.len); /* a line end */
	cr_assert_eq(memcmp(hex, file.p, 1136), 0);
	cr_assert_eq(strncmp(hex + 1136, "abcd0000", 8), 0);
	cr_assert_eq(strspn(hex + 1140, "0"), 124 + strspn(hex + 1264, "0"));
	cr_assert_str_eq(
	    hex + 1264, (file.p[file.len - 1] = '\0', (char *)file.p + 1264));
	cr_assert_null(json_object_get(v, "attestation"));
	json_decref(v);
	buf_fini(&file);
	fixture_free(f);
}

/* An attestation is the stored one but for the report data, which it has
 * twice; GetQuote of the newer folder tells it, too. */
Test(fixture, attestation_newer)
{
	struct fixture *f = published("sim-head");
	struct buf file = { 0 };
	uint8_t got[16384];
	size_t n = 0, differ = 0;
	json_t *v, *w;

	facts_read(&file, "dstack/sim-head/attestation.bin");
	v = call(f, "Attest", "{\"report_data\":\"01\"}", 200);
	w = call(f, "GetQuote", "{\"report_data\":\"01\"}", 200);
	same_text(facts_get(w, "attestation"), facts_get(v, "attestation"),
	    "attestation");
	cr_assert_eq(
	    hex_decode(got, sizeof got, &n, facts_str(v, "attestation"),
		strlen(facts_str(v, "attestation"))),
	    ERR_OK);
	cr_assert_eq(n, file.len);
	/* 2 bytes of head, 2 of the quote's length. */
	cr_assert_eq(got[4 + 568], 1);
	for (size_t i = 0; i < n; i++)
		differ += got[i] != file.p[i] && (i < 572 || i >= 636);
	cr_assert_eq(differ, 1); /* zeros but one in the file's */
	json_decref(v);
	json_decref(w);
	v = call(f, "EmitEvent", "{\"event\":\"e\"}", 400);
	cr_assert_str_eq(facts_str(v, "error"),
	    "runtime event emission is unavailable in simulator mode: e");
	json_decref(v);
	buf_fini(&file);
	fixture_free(f);
}
