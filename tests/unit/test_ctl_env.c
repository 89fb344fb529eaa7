/* kmsctl env encrypt: what a line says, and to whose key it is encrypted: one
 * that a root signed which is trusted, for this app, a moment ago. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>
#include <sodium.h>

#include "common/base/clock.h"
#include "common/base/hex.h"
#include "common/base/secret.h"
#include "common/base/wr.h"
#include "common/crypto/envbox.h"
#include "common/net/httpd.h"
#include "kms/ctl/ctl.h"
#include "kms/ctl/envfile.h"

#define APP "4242424242424242424242424242424242424242"

TestSuite(ctl_env, .timeout = 60);

/* ---- lines ---- */

static void
line_is(const char *line, const char *want)
{
	char why[ENVFILE_WHY_MAX] = "";
	json_t *env = envfile_new();
	struct buf got = { 0 };

	cr_assert_eq(
	    envfile_add_lines(env,
		(struct bytes){ (const uint8_t *)line, strlen(line) }, why),
	    ERR_OK, "%s: %s", line, why);
	cr_assert_eq(json_write(&got, json_object_get(env, "env")), ERR_OK);
	cr_assert_str_eq((const char *)got.p, want);
	buf_fini(&got);
	json_decref(env);
}

static void
line_is_not(const char *line, const char *words)
{
	char why[ENVFILE_WHY_MAX] = "";
	json_t *env = envfile_new();

	cr_assert_neq(
	    envfile_add_lines(env,
		(struct bytes){ (const uint8_t *)line, strlen(line) }, why),
	    ERR_OK, "%s", line);
	cr_assert_not_null(strstr(why, words), "%s: %s", line, why);
	json_decref(env);
}

#define ONE(value) "[{\"key\":\"A\",\"value\":\"" value "\"}]"

Test(ctl_env, lines)
{
	line_is_not("A", "line 1: must be NAME=value");
	line_is_not("A=1\n\n=2", "line 3");
	line_is_not("1A=1", "letters, digits");
	line_is_not("A B=1", "letters, digits");
	line_is_not("A=1\nA=2", "line 2: A is there twice");
	line_is_not("A='it's'", "single quotes");
	line_is_not("A='x", "single quotes");
	line_is_not("A='", "single quotes");
	line_is_not("A=\"x", "double quotes");
	line_is_not("A=\"", "double quotes");
	line_is_not("A=\"x\\\"", "double quotes");
	line_is_not("A=\"x\" y", "double quotes");
	line_is_not("A=\"\\q\"", "double quotes");
	line_is_not("A=x\\", "backslash");
	line_is_not("A='x\\'", "backslash");
	line_is_not("A=\"x\\\\\"", "backslash");
	line_is_not("A=\xff", "not UTF-8");
	line_is("# A=1\n\n \t\n", "[]");
	line_is("A=1", ONE("1"));
	line_is(" export A= x=y # z \r\n", ONE("x=y # z"));
	line_is("A=", ONE(""));
	line_is("A='it is $X \\n'", ONE("it is $X \\\\n"));
	line_is(
	    "A=\"it's \\\"\\n\\t\\\\\\$\\`\"", ONE("it's \\\"\\n\\t\\\\$`"));
	line_is_not("A =1", "letters, digits");
}

/* Words come as they are, quotes and all. */
Test(ctl_env, words)
{
	char why[ENVFILE_WHY_MAX];
	json_t *env = envfile_new();

	cr_assert_neq(envfile_add(env, "A", why), ERR_OK);
	cr_assert_neq(envfile_add(env, "=x", why), ERR_OK);
	cr_assert_neq(envfile_add(env, "A-B=x", why), ERR_OK);
	cr_assert_eq(envfile_add(env, "A='x'=", why), ERR_OK);
	cr_assert_eq(envfile_add(env, "A=y", why), ERR_EXISTS);
	cr_assert_eq(envfile_count(env), 1);
	json_decref(env);
}

/* ---- a KMS that says what a test wants ---- */

static struct fake {
	struct httpd *http;
	char url[64];
	struct k256_secret root;
	struct k256_pub root_pub;
	char root_hex[67];
	uint8_t secret[32], pub[32];
	/* What is wrong. */
	unsigned status;
	const char *body; /* instead of all else */
	int64_t shift_s; /* of the time */
	bool lies; /* about the time: it is not the one that was signed */
	bool other_root, other_app, no_v1, low_order;
} kms;

static void
answer(struct buf *out)
{
	uint8_t app_id[20], time[8];
	struct wr w = { .p = time, .cap = 8 };
	uint64_t at = (uint64_t)(clock_wall_s() + kms.shift_s);
	struct k256_secret root = kms.root;
	struct k256_sig65 sig;
	json_t *v = json_object();

	memset(app_id, kms.other_app ? 0x43 : 0x42, sizeof app_id);
	wr_be64(&w, at);
	if (kms.other_root)
		root.b[31] ^= 1;
	if (kms.low_order)
		memset(kms.pub, 0, 32);
	const struct bytes part[] = { BYTES_STR("dstack-env-encrypt-pubkey:"),
		BYTES_OF(app_id), BYTES_OF(time), BYTES_OF(kms.pub) };

	cr_assert_eq(k256_sign65(&sig, &root, part, 4), ERR_OK);
	(void)json_set_hex(v, "public_key", kms.pub, 32);
	(void)json_set_hex(v, "signature", sig.b, 65);
	(void)json_set_u64(v, "timestamp", at - (kms.lies ? 30 : 0));
	if (!kms.no_v1)
		(void)json_set_hex(v, "signature_v1", sig.b, 65);
	cr_assert_eq(json_write(out, v), ERR_OK);
	json_decref(v);
}

static void
on_http(void *cookie, const struct httpd_request *rq, struct httpd_reply *rp)
{
	(void)cookie;
	cr_assert_str_eq(rq->path, "/prpc/GetAppEnvEncryptPubKey");
	cr_assert_str_eq((const char *)rq->body.p, "{\"app_id\":\"" APP "\"}");
	rp->status = kms.status;
	if (kms.body != NULL)
		(void)buf_printf(&rp->body, "%s", kms.body);
	else
		answer(&rp->body);
}

static void
open_kms(void)
{
	const struct httpd_options o = { .host = "127.0.0.1",
		.max_body = 4096,
		.max_connections = 4,
		.timeout_s = 20,
		.threads = 1 };

	cr_assert_eq(secret_process_init(), ERR_OK);
	k256_generate(&kms.root);
	cr_assert_eq(k256_pubkey(&kms.root_pub, &kms.root), ERR_OK);
	hex_encode(kms.root_hex, kms.root_pub.b, 33);
	secret_random(kms.secret, 32);
	(void)crypto_scalarmult_base(kms.pub, kms.secret);
	kms.status = 200;
	cr_assert_eq(httpd_start(&kms.http, &o, on_http, NULL), ERR_OK);
	(void)snprintf(kms.url, sizeof kms.url, "http://127.0.0.1:%u",
	    httpd_port(kms.http));
}

static void
close_kms(void)
{
	httpd_stop(kms.http);
}

TestSuite(ctl_env_kms, .init = open_kms, .fini = close_kms, .timeout = 60);

static int
run(json_t **out, const char *root, const char *word)
{
	char *text = NULL, *log_text = NULL;
	const char *argv[] = { "kmsctl", "env", "encrypt", "--json", "--app",
		"0x" APP, "--kms-url", kms.url, "--root", root, word };
	size_t len = 0, log_len = 0;
	FILE *f = open_memstream(&text, &len),
	     *log = open_memstream(&log_text, &log_len);
	int rc = (int)ctl_main(f, log, sizeof argv / sizeof argv[0],
	    (char *const *)(uintptr_t)argv);

	(void)fclose(f);
	(void)fclose(log);
	cr_assert_eq(json_parse(out, text, len, 1u << 20, NULL, 0), ERR_OK,
	    "%s%s", text, log_text);
	free(text);
	free(log_text);
	return rc;
}

static void
refused(int want, const char *words)
{
	json_t *v = NULL;
	const char *text = NULL;

	cr_assert_eq(run(&v, kms.root_hex, "A=1"), want);
	cr_assert_eq(json_get_str(&text, v, "error"), ERR_OK);
	cr_assert_not_null(strstr(text, words), "%s", text);
	json_decref(v);
}

static void
given(const char *root)
{
	struct buf blob = { 0 }, plain = { 0 };
	json_t *v = NULL;

	cr_assert_eq(run(&v, root, "A=1"), CTL_OK);
	cr_assert_eq(
	    json_get_hex_buf(&blob, 1u << 16, v, "encrypted_env"), ERR_OK);
	cr_assert_eq(envbox_open(&plain, kms.secret, buf_view(&blob)), ERR_OK);
	cr_assert_str_eq((const char *)plain.p,
	    "{\"env\":[{\"key\":\"A\",\"value\":\"1\"}]}");
	json_decref(v);
	buf_fini(&blob);
	buf_wipe(&plain);
}

/* Whose key it is, and since when, must be signed by who is trusted. */
Test(ctl_env_kms, signature)
{
	kms.other_root = true;
	refused(CTL_FAILED, "which is no root");
	kms.other_root = false;
	kms.other_app = true;
	refused(CTL_FAILED, "which is no root");
	kms.other_app = false;
	kms.lies = true;
	refused(CTL_FAILED, "which is no root");
	kms.lies = false;
	kms.no_v1 = true;
	refused(CTL_FAILED, "signature_v1");
	kms.no_v1 = false;
	kms.shift_s = -330;
	refused(CTL_FAILED, "old");
	kms.shift_s = 90;
	refused(CTL_FAILED, "from the future");
	kms.shift_s = -240;
	given(kms.root_hex);
	kms.shift_s = 30;
	given(kms.root_hex);
	kms.shift_s = 0;
	kms.low_order = true;
	refused(CTL_FAILED, "");
}

/* A root by its address will do. */
Test(ctl_env_kms, by_address)
{
	uint8_t address[20];
	char hex[43] = "0x";
	json_t *v = NULL;

	cr_assert_eq(k256_address(address, &kms.root_pub), ERR_OK);
	hex_encode(hex + 2, address, 20);
	given(hex);
	hex[5] = hex[5] == '0' ? '1' : '0';
	cr_assert_eq(run(&v, hex, "A=1"), CTL_FAILED);
	json_decref(v);
	cr_assert_eq(run(&v, "0x12", "A=1"), CTL_USAGE);
	json_decref(v);
	cr_assert_eq(run(&v, kms.root_hex, "A"), CTL_USAGE);
	json_decref(v);
}

/* What is no answer, or nobody there. */
Test(ctl_env_kms, answers)
{
	kms.body = "hello";
	refused(CTL_FAILED, "no JSON");
	kms.body = "{}";
	refused(CTL_FAILED, "signature_v1");
	kms.body = "{\"error\":\"This node is not ready\"}";
	kms.status = 503;
	refused(CTL_UNREACHABLE, "not ready");
	kms.status = 400;
	refused(CTL_FAILED, "not ready");
	httpd_stop(kms.http);
	kms.http = NULL;
	refused(CTL_UNREACHABLE, "127.0.0.1");
}
