/* What a node tells anyone over HTTP: dstack's members, signed by the root;
 * and that it tells nothing else, to nobody too much. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <criterion/criterion.h>

#include "common/base/clock.h"
#include "common/base/hex.h"
#include "common/base/json.h"
#include "common/base/log.h"
#include "common/base/secret.h"
#include "common/crypto/envbox.h"
#include "common/eth/appauth.h"
#include "common/net/fetch.h"
#include "common/wire/kms_public.pb-c.h"
#include "common/wire/pbjson.h"
#include "kms/service/public.h"
#include "tests/lib/kms_ask.h"
#include "tests/lib/kms_node.h"

#define APP "4242424242424242424242424242424242424242"

static struct kms_world w;
static struct kms_node *node;
static struct k256_pub root;

static void
setup(void)
{
	cr_assert_eq(secret_process_init(), ERR_OK);
	log_set_level(LOG_ERROR);
	kms_world_init(&w);
	node = kms_node_start(&w, "a", true);
}

static void
teardown(void)
{
	kms_node_stop(node);
	kms_world_fini(&w);
}

TestSuite(service_public, .init = setup, .fini = teardown, .timeout = 240);

static struct fetch_reply reply; /* of the last request */

/* `post.p` NULL: GET. */
static long
http_bytes(const char *path, struct bytes post, const char *type)
{
	char url[700];
	struct fetch_request rq = { .url = url,
		.content_type = type,
		.timeout_ms = 20000,
		.max_reply = 1u << 16 };

	(void)snprintf(url, sizeof url, "http://127.0.0.1:%u%s",
	    kms_node_public_port(node), path);
	rq.post = post;
	fetch_reply_fini(&reply);
	fetch_all(&reply, &rq, 1);
	cr_assert_eq(reply.err, ERR_OK, "%s: %s", path, err_text(reply.err));
	return reply.status;
}

/* `post` NULL: GET. */
static long
http(const char *path, const char *post, const char *type)
{
	return http_bytes(path,
	    (struct bytes){
		(const uint8_t *)post, post != NULL ? strlen(post) : 0 },
	    type);
}

/* The error's words, which must be there. */
static void
refused(long status, const char *path, const char *post, const char *type,
    const char *words)
{
	json_t *v = NULL;
	const char *text = NULL;

	cr_assert_eq(http(path, post, type), status, "%s: %ld %s", path,
	    reply.status, (const char *)reply.body.p);
	cr_assert_eq(
	    json_parse(&v, reply.body.p, reply.body.len, 1u << 16, NULL, 0),
	    ERR_OK);
	cr_assert_eq(json_get_str(&text, v, "error"), ERR_OK);
	cr_assert_not_null(strstr(text, words), "%s", text);
	json_decref(v);
}

static json_t *
given(const char *path, const char *post, const char *type)
{
	json_t *v = NULL;

	cr_assert_eq(http(path, post, type), 200, "%s: %s", path,
	    (const char *)reply.body.p);
	cr_assert_eq(
	    json_parse(&v, reply.body.p, reply.body.len, 1u << 16, NULL, 0),
	    ERR_OK);
	return v;
}

static void
make_ready(void)
{
	struct cluster_genesis g = kms_node_genesis(node);

	root = g.pub.k256;
	kms_world_open(&w, &g, incarnation_id(kms_node_incarnation(node)));
	kms_node_wait(node, PHASE_READY);
	kms_node_alone(&w, node);
	KMS_UNTIL(http("/prpc/GetMeta", NULL, NULL) == 200);
}

/* Nobody who is not in service speaks for the KMS. */
Test(service_public, not_in_service)
{
	refused(503, "/prpc/GetMeta", NULL, NULL, "not ready");
	refused(503, "/prpc/GetAppEnvEncryptPubKey?app_id=" APP, NULL, NULL,
	    "not ready");
	cr_assert_eq(http("/health", NULL, NULL), 200);
	cr_assert_str_eq((const char *)reply.body.p, "OK");
	make_ready();
	kms_world_say(&w, APPAUTH_IS_KMS_ALLOWED, false, "no");
	kms_world_block(&w);
	refused(503, "/prpc/GetAppEnvEncryptPubKey?app_id=" APP, NULL, NULL,
	    "not allowed");
	kms_world_say(&w, APPAUTH_IS_KMS_ALLOWED, true, "");
	mock_mode(w.chain, MOCK_ALL, MOCK_HTTP_500);
	kms_world_block(&w);
	refused(503, "/prpc/GetAppEnvEncryptPubKey?app_id=" APP, NULL, NULL,
	    "Chain");
}

#define JSON "application/json"
#define ENV "/prpc/GetAppEnvEncryptPubKey"

/* Nothing but the two methods, and these in no other form. */
Test(service_public, refusals)
{
	char large[5000];

	make_ready();
	refused(400, ENV, NULL, NULL, "20 bytes");
	refused(400, ENV "?app_id=", NULL, NULL, "20 bytes");
	refused(400, ENV "?app_id=42", NULL, NULL, "20 bytes");
	refused(400, ENV "?app_id=" APP "42", NULL, NULL, "20 bytes");
	refused(400, ENV "?app_id=x" APP, NULL, NULL, "20 bytes");
	refused(400, ENV "?json", "", NULL, "20 bytes");
	refused(400, ENV "?json", "[]", NULL, "20 bytes");
	refused(400, ENV "?json", "{\"app_id\":7}", NULL, "20 bytes");
	refused(400, ENV "?json", "{\"app_id\":\"" APP "\"", NULL, "line");
	for (unsigned i = 0; i < 5; i++) {
		static const char *const closed[] = { "GetAppKey", "GetKmsKey",
			"SignCert", "GetTempCaCert", "KMS.KMS.GetMeta" };
		char path[64];

		(void)snprintf(path, sizeof path, "/prpc/KMS.%s", closed[i]);
		refused(400, path, "{}", JSON, "Service not found");
	}
	refused(400, "/prpc/%ff%1b", NULL, NULL, "Service not found: ??");
	refused(404, "/prpc/a/GetMeta", NULL, NULL, "Not found");
	refused(404, "/status", NULL, NULL, "Not found");
	refused(404, "/prpc", NULL, NULL, "Not found");
	memset(large, ' ', sizeof large);
	large[sizeof large - 1] = '\0';
	cr_assert_eq(http(ENV "?json", large, JSON), 413);
}

/* A message of a reply; its status is `status`. */
static json_t *
answered(long status, const char *path, struct bytes post,
    const ProtobufCMessageDescriptor *form)
{
	json_t *v = NULL;
	struct buf type = { 0 };

	cr_assert_eq(http_bytes(path, post, "application/x-protobuf"), status,
	    "%s: %ld", path, reply.status);
	cr_assert_eq(
	    fetch_header(&type, &reply, "content-type", false), ERR_OK);
	cr_assert_eq(type.len, strlen("application/octet-stream"));
	buf_fini(&type);
	cr_assert_eq(pbjson_read(&v, form, buf_view(&reply.body)), ERR_OK);
	return v;
}

#define FORM(name) (&devproof__kms__pub__##name##__descriptor)
#define B(text) BYTES_STR(text)
#define APP_BYTES "BBBBBBBBBBBBBBBBBBBB"

/* What is no message, or not this one, is refused in a message. */
Test(service_public, protobuf_refusals)
{
	static const struct {
		const char *path;
		struct bytes post;
		const char *words;
	} bad[] = {
		{ ENV, { (const uint8_t *)"", 0 }, "20 bytes" },
		{ ENV "?app_id=" APP, { (const uint8_t *)"", 0 }, "20 bytes" },
		/* 19 and 21 bytes; nothing behind the length; a number */
		{ ENV, { (const uint8_t *)"\x0a\x13" APP_BYTES, 21 },
		    "20 bytes" },
		{ ENV, { (const uint8_t *)"\x0a\x15" APP_BYTES "B", 23 },
		    "20 bytes" },
		{ ENV, { (const uint8_t *)"\x0a\x14", 2 }, "decode" },
		{ ENV, { (const uint8_t *)"\x0a\x14" APP_BYTES "\x0a", 23 },
		    "decode" },
		{ ENV, { (const uint8_t *)"\x08\x14", 2 }, "decode" },
		{ ENV, { (const uint8_t *)"{\"app_id\":\"" APP "\"}", 53 },
		    "decode" },
		{ "/prpc/GetMeta", { (const uint8_t *)"{}", 2 }, "decode" },
		{ "/prpc/KMS.GetAppKey", { (const uint8_t *)"", 0 },
		    "Service not found" },
	};
	static const uint8_t large[5000];

	make_ready();
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		json_t *v =
		    answered(400, bad[i].path, bad[i].post, FORM(error));
		const char *text = NULL;

		cr_assert_eq(json_get_str(&text, v, "error"), ERR_OK, "%zu", i);
		cr_assert_not_null(
		    strstr(text, bad[i].words), "%zu: %s", i, text);
		json_decref(v);
	}
	cr_assert_eq(
	    http_bytes(ENV, BYTES_OF(large), "application/x-protobuf"), 413);
}

static void
env_key(json_t *v)
{
	uint8_t pub[32], app_id[20];
	struct k256_sig65 v0, v1;
	struct k256_pub got;
	uint64_t at = 0;

	memset(app_id, 0x42, sizeof app_id);
	cr_assert_eq(json_get_hex(pub, 32, v, "public_key"), ERR_OK);
	cr_assert_eq(json_get_hex(v0.b, 65, v, "signature"), ERR_OK);
	cr_assert_eq(json_get_hex(v1.b, 65, v, "signature_v1"), ERR_OK);
	cr_assert_eq(json_get_u64(&at, v, "timestamp"), ERR_OK);
	cr_assert_leq(at, (uint64_t)clock_wall_s());
	cr_assert_geq(at + 60, (uint64_t)clock_wall_s());
	cr_assert_eq(envbox_signer(&got, &v0, app_id, NULL, pub), ERR_OK);
	cr_assert_arr_eq(got.b, root.b, 33);
	cr_assert_eq(envbox_signer(&got, &v1, app_id, &at, pub), ERR_OK);
	cr_assert_arr_eq(got.b, root.b, 33);
	json_decref(v);
}

/* Each form of a request that dstack's clients use. */
Test(service_public, env_key)
{
	make_ready();
	env_key(given(ENV "?app_id=" APP, NULL, NULL));
	env_key(given(
	    "/prpc/KMS.GetAppEnvEncryptPubKey?app_id=0x" APP, NULL, NULL));
	env_key(given(ENV "?json", "{\"app_id\":\"" APP "\"}", NULL));
	env_key(given(ENV, "{\"app_id\":\"0x" APP "\",\"more\":1}",
	    "application/json; charset=utf-8"));
	env_key(answered(200, ENV, B("\x0a\x14" APP_BYTES),
	    FORM(get_app_env_encrypt_pub_key_reply)));
	/* By number, as others' descriptors have it: the key is field 1. */
	cr_assert_eq(memcmp(reply.body.p, "\x0a\x20", 2), 0);
	cr_assert_eq(memcmp(reply.body.p + 34, "\x12\x41", 2), 0);
	/* A field that nobody knows here is passed over. */
	env_key(answered(200, ENV "?more=1", B("\x12\x01x\x0a\x14" APP_BYTES),
	    FORM(get_app_env_encrypt_pub_key_reply)));
}

/* The message says what the JSON says, but for what is null or a default. */
static void
same_in_protobuf(json_t *v)
{
	json_t *m = answered(200, "/prpc/GetMeta",
	    (struct bytes){ (const uint8_t *)"", 0 }, FORM(get_meta_reply));
	json_t *value;
	const char *name;
	size_t n = 0;

	json_object_foreach(v, name, value)
	{
		const json_t *got = json_object_get(m, name);

		if (json_is_null(value) || json_is_false(value) ||
		    strcmp(name, "epoch") == 0)
			continue;
		n++;
		if (strcmp(name, "epochs") == 0)
			cr_assert_eq(json_array_size(got), 1);
		else
			cr_assert(json_equal(got, value), "%s", name);
	}
	cr_assert_geq(n, 6);
	json_decref(m);
}

/* dstack's members, all of them; and no key. */
Test(service_public, meta)
{
	static const char *const member[] = { "ca_cert", "allow_any_upgrade",
		"k256_pubkey", "bootstrap_info", "is_dev", "gateway_app_id",
		"kms_contract_address", "chain_id", "app_auth_implementation" };
	uint8_t pub[33];
	uint64_t id;
	json_t *v;

	make_ready();
	v = given("/prpc/KMS.GetMeta?json", "{}", NULL);
	for (size_t i = 0; i < sizeof member / sizeof member[0]; i++)
		cr_assert_not_null(
		    json_object_get(v, member[i]), "%s", member[i]);
	cr_assert_eq(json_get_hex(pub, 33, v, "k256_pubkey"), ERR_OK);
	cr_assert_arr_eq(pub, root.b, 33);
	cr_assert_eq(json_get_u64(&id, v, "chain_id"), ERR_OK);
	cr_assert_eq(id, KMS_CHAIN_ID);
	cr_assert(json_is_true(json_object_get(v, "is_dev")));
	cr_assert_eq(strncmp(json_string_value(json_object_get(v, "ca_cert")),
			 "-----BEGIN CERTIFICATE-----\n", 28),
	    0);
	cr_assert_eq(json_array_size(json_object_get(v, "epochs")), 1);
	same_in_protobuf(v);
	json_decref(v);
}

/* Who asks too often waits; what is alive stays to be seen. */
Test(service_public, rate)
{
	unsigned late = 0;

	for (unsigned i = 0; i < 3 * PUBLIC_BURST; i++)
		late += http("/prpc/Nothing", NULL, NULL) == 429;
	/* A slow machine may earn some of them meanwhile. */
	cr_assert(late > 0 || reply.status == 400);
	cr_assert_eq(http("/health", NULL, NULL), 200);
	KMS_UNTIL(http("/prpc/Nothing", NULL, NULL) == 400);
}
