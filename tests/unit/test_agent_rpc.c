#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "common/base/limits.h"
#include "common/crypto/hash.h"

#include "node/agent/rpc.h"
#include "tests/lib/fake_agent.h"
#include "tests/lib/rpc_ask.h"

static struct fake_agent fake;
static struct agent_backend backend;

static void
setup(void)
{
	fake_agent_init(&fake, &backend);
}

static void
teardown(void)
{
	fake_agent_fini(&fake);
}

TestSuite(agent_rpc, .init = setup, .fini = teardown);

static json_t *
good(const char *method, const char *body)
{
	return rpc_ask_good(&backend, &rpc_guest, method, body);
}

static void
bad(const char *method, const char *body, const char *words)
{
	rpc_ask_bad(&backend, &rpc_guest, 400, method, body, words);
}

#define str rpc_ask_str

/* `{"key":"<n times xx>"}`; the caller frees. */
static char *
hex_body(const char *key, size_t n)
{
	char *s = malloc(2 * n + strlen(key) + 16);
	int at = sprintf(s, "{\"%s\":\"", key);

	for (size_t i = 0; i < n; i++)
		at += sprintf(s + at, "ab");
	strcpy(s + at, "\"}");
	return s;
}

/* Methods that do not exist are named in a 400, whatever their bytes. */
Test(agent_rpc, unknown_method)
{
	bad("Nope", "{}", "Service not found: Nope");
	bad("", "{}", "Service not found");
	bad("getkey", "{}", "Service not found: getkey");
	bad("Get\xff\"Key", "{}", "Service not found: Get?\"Key");
	rpc_ask_bad(
	    &backend, &rpc_guest, 501, "GpuInfo", "{}", "not available");
}

/* Errors are pretty JSON with one member, as dstack prints them. */
Test(agent_rpc, error_form)
{
	struct rpc_reply rp = { .status = 0 };

	rpc_call(&backend, &rp, &rpc_guest, "Nope", NULL, false);
	cr_assert_str_eq((char *)rp.body.p,
	    "{\n  \"error\": \"Service not found: Nope\"\n}");
	cr_assert(!rp.secret);
	buf_fini(&rp.body);
}

/* A request that is not an object is refused by every method. */
Test(agent_rpc, not_an_object)
{
	static const char *const all[] = { "GetKey", "GetTlsKey", "GetQuote",
		"Attest", "Info", "Version", "Sign", "Verify", "EmitEvent",
		"CounterGet", "CounterIncrement" };

	for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
		bad(all[i], "[]", "not an object");
		bad(all[i], "null", "not an object");
		bad(all[i], "\"x\"", "not an object");
	}
}

/* null and wrong types are refused where a field is not optional. */
Test(agent_rpc, wrong_types)
{
	bad("GetKey", "{\"path\":null}", "path");
	bad("GetKey", "{\"path\":1}", "path");
	bad("GetKey", "{\"purpose\":[]}", "purpose");
	bad("GetKey", "{\"algorithm\":true}", "algorithm");
	bad("GetKey", "{\"epoch\":\"3\"}", "epoch");
	bad("GetKey", "{\"epoch\":-1}", "epoch");
	bad("GetKey", "{\"epoch\":3.0}", "epoch");
	bad("GetQuote", "{\"report_data\":null}", "report_data");
	bad("GetQuote", "{\"report_data\":7}", "report_data");
	bad("GetTlsKey", "{\"usage_server_auth\":\"true\"}",
	    "usage_server_auth");
	bad("GetTlsKey", "{\"usage_ra_tls\":null}", "usage_ra_tls");
	bad("GetTlsKey", "{\"alt_names\":\"x\"}", "alt_names");
	bad("GetTlsKey", "{\"alt_names\":[1]}", "alt_names");
	bad("GetTlsKey", "{\"not_before\":\"1\"}", "not_before");
	bad("Sign", "{\"algorithm\":\"ed25519\",\"data\":{}}", "data");
	bad("EmitEvent", "{\"event\":\"x\",\"payload\":null}", "payload");
}

/* v0's texts are strings to all: no NUL goes through one. */
Test(agent_rpc, no_nul)
{
	bad("GetKey", "{\"path\":\"a\\u0000b\"}", "path: a NUL");
	bad("GetKey", "{\"purpose\":\"\\u0000\"}", "purpose: a NUL");
	bad("Sign", "{\"algorithm\":\"ed25519\\u0000\"}", "NUL");
	bad("GetTlsKey", "{\"subject\":\"a\\u0000\"}", "NUL");
	bad("GetTlsKey", "{\"alt_names\":[\"a\\u0000\"]}", "NUL");
	bad("EmitEvent", "{\"event\":\"a\\u0000\"}", "NUL");
	bad("GetQuote", "{\"report_data\":\"00\\u0000\"}", "invalid hex");
	bad("CounterGet", "{\"name\":\"a\\u0000\"}", "NUL");
}

/* Hex is whole bytes of hex digits. */
Test(agent_rpc, bad_hex)
{
	static const char *const methods[] = { "GetQuote", "Attest" };

	for (size_t i = 0; i < 2; i++) {
		bad(methods[i], "{\"report_data\":\"abc\"}", "odd");
		bad(methods[i], "{\"report_data\":\"0xa\"}", "odd");
		bad(methods[i], "{\"report_data\":\"zz\"}", "invalid hex");
		bad(methods[i], "{\"report_data\":\"0x0x\"}", "invalid hex");
		bad(methods[i], "{\"report_data\":\"\\u00e9\\u00e9\"}",
		    "invalid hex");
	}
	bad("Sign", "{\"algorithm\":\"ed25519\",\"data\":\"0\"}", "odd");
	bad("EmitEvent", "{\"event\":\"x\",\"payload\":\"q0\"}", "hex");
}

/* 64 bytes of report data are the most; shorter is padded on the right. */
Test(agent_rpc, report_data_length)
{
	static const char *const methods[] = { "GetQuote", "Attest" };
	json_t *v;

	for (size_t i = 0; i < 2; i++) {
		char *long_body = hex_body("report_data", 65);
		char *full = hex_body("report_data", 64);

		bad(methods[i], long_body, "Report data is too long");
		json_decref(good(methods[i], full));
		cr_assert_eq(fake.last_report_data[63], 0xab);
		json_decref(good(methods[i], "{\"report_data\":\"0xAB\"}"));
		cr_assert_eq(fake.last_report_data[0], 0xab);
		cr_assert_eq(fake.last_report_data[1], 0);
		cr_assert(!fake.last_stripped);
		free(long_body);
		free(full);
	}
	v = good("GetQuote", "{\"report_data\":\"ff\"}");
	cr_assert_eq(strlen(str(v, "report_data")), 128);
	cr_assert_eq(strncmp(str(v, "report_data"), "ff00", 4), 0);
	json_decref(v);
	/* A missing field is the empty one. */
	v = good("GetQuote", NULL);
	cr_assert_eq(strncmp(str(v, "report_data"), "0000", 4), 0);
	cr_assert_null(json_object_get(v, "attestation"));
	json_decref(v);
}

/* Boot events lose their payload, ACPI DATA and runtime events keep it. */
Test(agent_rpc, quote_event_log)
{
	json_t *v = good("GetQuote", "{\"report_data\":\"\"}"), *log = NULL;
	const char *text = str(v, "event_log");

	cr_assert_eq(
	    json_parse(&log, text, strlen(text), LIMIT_EVENT_LOG, NULL, 0),
	    ERR_OK);
	cr_assert_eq(json_array_size(log), 3);
	cr_assert_str_eq(str(json_array_get(log, 0), "event_payload"), "");
	cr_assert_str_eq(
	    str(json_array_get(log, 1), "event_payload"), "414350492044415441");
	cr_assert_str_eq(str(json_array_get(log, 2), "event_payload"), "ea54");
	cr_assert_str_eq(str(json_array_get(log, 2), "digest"), "02");
	cr_assert_str_eq(str(v, "quote"), "040002");
	cr_assert_str_eq(str(v, "vm_config"), "{}");
	json_decref(log);
	json_decref(v);
}

/* Only dstack's words name an algorithm. */
Test(agent_rpc, unknown_algorithm)
{
	static const char *const words[] = { "secp256k1_prehashed", "rsa",
		"ED25519", "secp256r1", " secp256k1" };
	char body[100];

	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
		(void)sprintf(body, "{\"algorithm\":\"%s\"}", words[i]);
		bad("GetKey", body, "Unsupported algorithm");
	}
	bad("Sign", "{\"data\":\"00\"}", "Unsupported algorithm");
	bad("Sign", "{\"algorithm\":\"rsa\"}", "Unsupported algorithm");
	bad("Verify", "{\"algorithm\":\"\"}", "Unsupported algorithm");
}

/* A path is bounded, and so is every other text and list. */
Test(agent_rpc, huge_fields)
{
	char *path = hex_body("path", LIMIT_KEY_PATH / 2 + 1);
	char *data = hex_body("data", LIMIT_SIGN_DATA + 1);
	char *payload = hex_body("payload", LIMIT_EVENT_PAYLOAD + 1);
	char *subject = hex_body("subject", LIMIT_KEY_PATH / 2 + 1);
	char *event = hex_body("event", 64);
	struct buf names = { 0 };

	cr_assert_eq(buf_printf(&names, "{\"alt_names\":[\"a\""), ERR_OK);
	for (size_t i = 0; i < LIMIT_ALT_NAMES; i++)
		cr_assert_eq(buf_printf(&names, ",\"a\""), ERR_OK);
	cr_assert_eq(buf_printf(&names, "]}"), ERR_OK);
	bad("GetKey", path, "longer than");
	bad("Sign", data, "Data is too long");
	bad("EmitEvent", payload, "too long");
	bad("EmitEvent", event, "longer than");
	bad("GetTlsKey", subject, "longer than");
	bad("GetTlsKey", (char *)names.p, "more than");
	buf_fini(&names);
	free(path);
	free(data);
	free(payload);
	free(subject);
	free(event);
}

/* GetKey and Sign answer dstack's published bytes. */
Test(agent_rpc, published_keys)
{
	json_t *all = rpc_ask_vectors(), *list, *want, *v;
	size_t i;

	if (all == NULL)
		cr_skip_test("no vectors");
	list = json_object_get(json_object_get(all, "sim-v0.5.3"), "get_key");
	cr_assert_geq(json_array_size(list), 5);
	json_array_foreach(list, i, want)
	{
		char body[200];

		(void)sprintf(body,
		    "{\"path\":\"%s\",\"purpose\":\"%s\","
		    "\"algorithm\":\"%s\"}",
		    str(want, "path"), str(want, "purpose"),
		    str(want, "algorithm"));
		v = good("GetKey", body);
		cr_assert_str_eq(str(v, "key"), str(want, "key"));
		cr_assert(json_equal(json_object_get(v, "signature_chain"),
		    json_object_get(want, "signature_chain")));
		cr_assert_eq(
		    json_integer_value(json_object_get(v, "epoch")), 3);
		json_decref(v);
	}
	json_decref(all);
}

/* Sign uses ("vms", "signing") and gives a chain of three. */
Test(agent_rpc, published_signatures)
{
	/* "dstack test message", dstack-compat.md 2.6 (a) */
	static const char data[] = "64737461636b2074657374206d657373616765";
	static const char *const want[][3] = {
		{ "secp256k1", data,
		    "5c6f9dd4feddf0c0a3a54c84ef365f20fe68f2f160695f7ece2dccf906"
		    "e95ca0309c76e62bb7dae8405d625473ffdbee3455b90e9d8da814f932"
		    "7ada044d71f3" },
		{ "k256", data,
		    "5c6f9dd4feddf0c0a3a54c84ef365f20fe68f2f160695f7ece2dccf906"
		    "e95ca0309c76e62bb7dae8405d625473ffdbee3455b90e9d8da814f932"
		    "7ada044d71f3" },
		{ "secp256k1_prehashed",
		    "89fc179440e28c409e4d605f325c22ba46fa218518d66e39b73d2a7a2"
		    "32d2530",
		    "d9f0eb0b3ada8f8073fa2440401ba3da33560c2bd691d9a5accf7807c4"
		    "12476f1342425ef06e51c3ebb89d8df8d5bef5de57eb82730da80adad"
		    "c541ed7f0cd1f" },
		{ "ed25519", data,
		    "6d3d96c9d66d941f932b79511fb70a198a6bae2da81ce0aab151d379ef"
		    "fb4a4f6b90cb69712b18b290077d107e7041cf75915edf0a93de3ee029"
		    "6c9c3451f206" },
	};
	char body[600];

	for (size_t i = 0; i < 4; i++) {
		json_t *v, *chain;

		(void)sprintf(body, "{\"algorithm\":\"%s\",\"data\":\"%s\"}",
		    want[i][0], want[i][1]);
		v = good("Sign", body);
		cr_assert_str_eq(str(v, "signature"), want[i][2]);
		chain = json_object_get(v, "signature_chain");
		cr_assert_eq(json_array_size(chain), 3);
		cr_assert_str_eq(
		    json_string_value(json_array_get(chain, 0)), want[i][2]);
		cr_assert_eq(
		    strlen(json_string_value(json_array_get(chain, 1))), 130);
		(void)sprintf(body,
		    "{\"algorithm\":\"%s\",\"data\":\"%s\","
		    "\"signature\":\"%s\",\"public_key\":\"%s\"}",
		    want[i][0], want[i][1], want[i][2], str(v, "public_key"));
		json_decref(v);
		v = good("Verify", body);
		cr_assert(json_is_true(json_object_get(v, "valid")));
		json_decref(v);
		/* The signature's last digit changes: a clean "no". */
		char *sig = strstr(body, want[i][2]);

		sig[100] = sig[100] == '0' ? '1' : '0';
		v = good("Verify", body);
		cr_assert(json_is_false(json_object_get(v, "valid")));
		json_decref(v);
	}
}

/* A digest has 32 bytes; dstack's words say so. */
Test(agent_rpc, prehashed_length)
{
	for (size_t n = 0; n <= 64; n += 31) {
		char *hex = hex_body("x", n), body[256];
		char words[100];

		(void)sprintf(body,
		    "{\"algorithm\":\"secp256k1_prehashed\",\"data\":\"%.*s\"}",
		    (int)(2 * n), hex + 6);
		(void)sprintf(words,
		    "Pre-hashed signing requires a 32-byte "
		    "digest, but received %zu bytes",
		    n);
		bad("Sign", body, words);
		bad("Verify", body, "Pre-hashed verification requires");
		free(hex);
	}
}

/* Malformed keys and signatures are errors, a wrong signature is a "no". */
Test(agent_rpc, verify_refusals)
{
#define PUB "02b85cceca0c02d878f0ebcda72a97469a472416eb6faf3c4807642132f9786810"
#define R32 "0101010101010101010101010101010101010101010101010101010101010101"
#define FF32 "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
	json_t *v;

	bad("Verify", "{\"algorithm\":\"ed25519\"}", "32 bytes");
	bad("Verify", "{\"algorithm\":\"ed25519\",\"public_key\":\"" R32 "\"}",
	    "64 bytes");
	bad("Verify", "{\"algorithm\":\"secp256k1\"}", "public key");
	bad("Verify",
	    "{\"algorithm\":\"secp256k1\",\"public_key\":\"05" R32 "\"}",
	    "public key");
	bad("Verify",
	    "{\"algorithm\":\"secp256k1\",\"public_key\":\"" PUB "\","
	    "\"signature\":\"" R32 R32 "01\"}",
	    "64 bytes");
	bad("Verify",
	    "{\"algorithm\":\"secp256k1\",\"public_key\":\"" PUB "\","
	    "\"signature\":\"" FF32 FF32 "\"}",
	    "signature");
	v = good("Verify",
	    "{\"algorithm\":\"secp256k1\",\"public_key\":\"" PUB "\","
	    "\"signature\":\"" R32 R32 "\"}");
	cr_assert(json_is_false(json_object_get(v, "valid")));
	json_decref(v);
	v = good("Verify",
	    "{\"algorithm\":\"ed25519\",\"public_key\":\"" R32 "\","
	    "\"signature\":\"" R32 R32 "\"}");
	cr_assert(json_is_false(json_object_get(v, "valid")));
	json_decref(v);
}

/* Names that the system measures are not the app's to emit. */
Test(agent_rpc, reserved_events)
{
	static const char *const names[] = { "system-preparing", "app-id",
		"compose-hash", "init-script-hash", "gpu-policy-hash",
		"gpu-attestation", "instance-id", "boot-mr-done", "mr-kms",
		"os-image-hash", "key-provider", "storage-fs", "system-ready",
		"app-id:", "key-provider:x" };
	char body[100];

	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		(void)sprintf(body, "{\"event\":\"%s\"}", names[i]);
		bad("EmitEvent", body, "reserved");
	}
	bad("EmitEvent", "{}", "empty");
	bad("EmitEvent", "{\"event\":\"\",\"payload\":\"00\"}", "empty");
	cr_assert_eq(fake.n_events, 0);
}

/* Any other event is measured; the reply is null. */
Test(agent_rpc, emit_event)
{
	json_t *v =
	    good("EmitEvent", "{\"event\":\"app-id2\",\"payload\":\"0x0102\"}");

	cr_assert(json_is_null(v));
	cr_assert_eq(fake.n_events, 1);
	cr_assert_str_eq(fake.last_event, "app-id2");
	cr_assert_eq(fake.last_payload_len, 2);
	fake.fail = ERR_IO;
	bad("EmitEvent", "{\"event\":\"x\"}", "RTMR3");
}

/* An epoch that there is not is refused, by the KMS's own words. */
Test(agent_rpc, epochs)
{
	json_decref(good("GetKey", "{\"epoch\":3}"));
	json_decref(good("GetKey", "{\"epoch\":null}"));
	bad("GetKey", "{\"epoch\":4}", "No such key epoch");
}

/* GetTlsKey: a fresh key, a proof over it, and a chain of three. */
Test(agent_rpc, tls_key)
{
	json_t *a = good("GetTlsKey", "{}");
	json_t *b = good("GetTlsKey",
	    "{\"subject\":\"a.example\",\"usage_ra_tls\":true,"
	    "\"usage_server_auth\":true,\"usage_client_auth\":true,"
	    "\"alt_names\":[\"localhost\",\"127.0.0.1\"],\"not_before\":1,"
	    "\"not_after\":2,\"with_app_info\":true}");
	const struct bytes part[] = { BYTES_STR("ratls-cert:"),
		BYTES_OF(fake.last_cert.spki) };
	uint8_t rd[64];

	cr_assert(fake.proof_ok);
	cr_assert_str_neq(str(a, "key"), str(b, "key"));
	cr_assert_eq(
	    strncmp(str(a, "key"), "-----BEGIN PRIVATE KEY-----\n", 28), 0);
	cr_assert_eq(
	    json_array_size(json_object_get(b, "certificate_chain")), 3);
	cr_assert(fake.last_cert.usage_client_auth);
	cr_assert(fake.last_cert.with_app_info);
	cr_assert_eq(fake.last_cert.n_alt_names, 2);
	cr_assert_eq(fake.last_cert.not_after, 2);
	cr_assert_eq(fake.last_cert.epoch, 3);
	/* The evidence is over the certificate's key. */
	sha512_v(rd, part, 2);
	cr_assert_eq(memcmp(rd, fake.last_report_data, 64), 0);
	cr_assert(fake.last_stripped);
	json_decref(a);
	json_decref(b);
}

/* Validity must not be empty; a refusing KMS is quoted. */
Test(agent_rpc, tls_key_refusals)
{
	bad("GetTlsKey", "{\"not_before\":2,\"not_after\":2}",
	    "not_before must be earlier than not_after");
	bad("GetTlsKey", "{\"not_before\":3,\"not_after\":2}",
	    "not_before must be earlier than not_after");
	json_decref(good("GetTlsKey", "{\"not_before\":3}"));
	json_decref(good("GetTlsKey", "{\"not_before\":null}"));
	fake.fail = ERR_DENIED;
	bad("GetTlsKey", "{}", "Failed to");
}

/* Info has dstack's members, and tcb_info is JSON in a string. */
Test(agent_rpc, info)
{
	static const char *const members[] = { "app_id", "instance_id",
		"app_cert", "tcb_info", "app_name", "device_id",
		"mr_aggregated", "os_image_hash", "key_provider_info",
		"compose_hash", "vm_config", "cloud_vendor", "cloud_product",
		"kms_contract" };
	static const char *const tcb_members[] = { "mrtd", "rtmr0", "rtmr1",
		"rtmr2", "rtmr3", "mr_aggregated", "os_image_hash",
		"compose_hash", "device_id", "app_compose" };
	json_t *v = good("Info", "{}"), *tcb = NULL;
	const char *text = str(v, "tcb_info");

	for (size_t i = 0; i < sizeof members / sizeof members[0]; i++)
		(void)str(v, members[i]);
	cr_assert_str_eq(str(v, "app_name"), "caf\xc3\xa9");
	cr_assert_str_eq(str(v, "device_id"),
	    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
	cr_assert_eq(
	    json_parse(&tcb, text, strlen(text), LIMIT_HTTP_BODY, NULL, 0),
	    ERR_OK);
	for (size_t i = 0; i < sizeof tcb_members / sizeof tcb_members[0]; i++)
		(void)str(tcb, tcb_members[i]);
	cr_assert_str_eq(
	    str(tcb, "app_compose"), (const char *)fake.identity.compose.p);
	cr_assert_eq(json_array_size(json_object_get(tcb, "event_log")), 3);
	cr_assert_eq(strncmp(str(v, "key_provider_info"),
			 "{\"name\":\"kms\",\"id\":\"3059", 24),
	    0);
	json_decref(tcb);
	json_decref(v);
	fake.fail = ERR_AGAIN;
	bad("Info", "{}", "Failed to");
}

/* Info tells the app's pin and the registry that says so; what this boot was
 * measured with stays. */
Test(agent_rpc, info_of_a_moved_pin)
{
	json_t *v = good("Info", "{}"), *w;

	cr_assert_eq(json_integer_value(json_object_get(v, "epoch")), 3);
	cr_assert_str_eq(str(v, "registry"), "");
	fake.epoch = 4;
	fake.has_registry = true;
	memset(fake.release.ca_spki, 0, sizeof fake.release.ca_spki);
	w = good("Info", "{}");
	cr_assert_eq(json_integer_value(json_object_get(w, "epoch")), 4);
	cr_assert_str_eq(
	    str(w, "registry"), "7777777777777777777777777777777777777777");
	cr_assert_str_eq(
	    str(w, "key_provider_info"), str(v, "key_provider_info"));
	json_decref(v);
	json_decref(w);
}

/* An epoch may be named wherever keys are used; only who names one is told it
 * beside dstack's members. */
Test(agent_rpc, epochs_by_number)
{
	static const char *const bodies[][3] = {
		{ "GetKey", "{}", "{\"epoch\":3}" },
		{ "GetTlsKey", "{}", "{\"epoch\":3}" },
		{ "Sign", "{\"algorithm\":\"k256\",\"data\":\"00\"}",
		    "{\"algorithm\":\"k256\",\"data\":\"00\",\"epoch\":3}" },
	};
	const size_t members[] = { 3, 2, 3 };

	bad("GetKey", "{\"epoch\":2}", "No such key epoch");
	bad("GetTlsKey", "{\"epoch\":2}", "No such key epoch");
	bad("Sign", "{\"algorithm\":\"k256\",\"data\":\"00\",\"epoch\":2}",
	    "No such key epoch");
	bad("GetTlsKey", "{\"epoch\":\"3\"}", "epoch");
	bad("Sign", "{\"algorithm\":\"k256\",\"data\":\"00\",\"epoch\":-1}",
	    "epoch");
	for (size_t i = 0; i < 3; i++) {
		json_t *plain = good(bodies[i][0], bodies[i][1]);
		json_t *named = good(bodies[i][0], bodies[i][2]);

		cr_assert_eq(json_object_size(plain), members[i]);
		cr_assert_eq(json_object_get(plain, "epoch") != NULL, i == 0);
		cr_assert_eq(
		    json_integer_value(json_object_get(named, "epoch")), 3);
		json_decref(plain);
		json_decref(named);
	}
	cr_assert_eq(fake.last_cert.epoch, 3);
}

/* Version answers whatever else is asked. */
Test(agent_rpc, version)
{
	json_t *v = good("Version", "{\"unknown\":[1,2]}");

	cr_assert_str_eq(str(v, "version"), RPC_API_VERSION);
	json_decref(v);
}

/* In a query string all is text, and read as what it must be. */
Test(agent_rpc, query_text)
{
	json_t *v = NULL;

	cr_assert_eq(rpc_ask(&v, &backend, &rpc_guest, "GetKey",
			 "{\"epoch\":\"3\"}", true),
	    200);
	json_decref(v);
	cr_assert_eq(rpc_ask(&v, &backend, &rpc_guest, "GetKey",
			 "{\"epoch\":\"3x\"}", true),
	    400);
	json_decref(v);
	cr_assert_eq(rpc_ask(&v, &backend, &rpc_guest, "GetKey",
			 "{\"epoch\":\"\"}", true),
	    400);
	json_decref(v);
	cr_assert_eq(rpc_ask(&v, &backend, &rpc_guest, "GetTlsKey",
			 "{\"usage_server_auth\":\"true\"}", true),
	    200);
	json_decref(v);
	cr_assert_eq(rpc_ask(&v, &backend, &rpc_guest, "GetTlsKey",
			 "{\"usage_server_auth\":\"1\"}", true),
	    400);
	json_decref(v);
}

/* Replies that carry keys are marked to be wiped, others are not. */
Test(agent_rpc, secret_replies)
{
	struct rpc_reply rp = { .status = 0 };

	rpc_call(&backend, &rp, &rpc_guest, "GetKey", NULL, false);
	cr_assert(rp.secret && rp.status == 200);
	buf_wipe(&rp.body);
	rpc_call(&backend, &rp, &rpc_guest, "Version", NULL, false);
	cr_assert(!rp.secret);
	buf_fini(&rp.body);
}

/* ---- counters ---- */

#define NAME64 \
	"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define OP "00112233445566778899aabbccddeeff"

/* A name is 1 to 64 printable characters without space, '/' and '#'. */
Test(agent_rpc, counter_names)
{
	static const char *const names[] = { "", "a b", "a/b", "a#b", " ",
		"\\u00e9", "a\\n", "\\u007f", NAME64 "x" };
	char body[300];

	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		(void)sprintf(
		    body, "{\"name\":\"%s\",\"expected\":0}", names[i]);
		bad("CounterGet", body, "name: must be 1 to 64");
		bad("CounterIncrement", body, "name: must be 1 to 64");
	}
	bad("CounterGet", "{}", "name: must be 1 to 64");
	bad("CounterGet", "{\"name\":null}", "name");
	bad("CounterGet", "{\"name\":7}", "name");
	bad("CounterIncrement", "{\"name\":[\"a\"],\"expected\":0}", "name");
	cr_assert_eq(fake.counter.value, 0);
	json_decref(good("CounterGet", "{\"name\":\"" NAME64 "\"}"));
	json_decref(good("CounterGet", "{\"name\":\"!~.:@\"}"));
}

/* What is expected must be said, and be a number. */
Test(agent_rpc, counter_expected)
{
	bad("CounterIncrement", "{\"name\":\"a\"}", "expected");
	bad("CounterIncrement", "{\"name\":\"a\",\"expected\":null}",
	    "expected");
	bad("CounterIncrement", "{\"name\":\"a\",\"expected\":\"0\"}",
	    "expected");
	bad("CounterIncrement", "{\"name\":\"a\",\"expected\":-1}", "expected");
	bad("CounterIncrement", "{\"name\":\"a\",\"expected\":0.0}",
	    "expected");
	cr_assert_eq(fake.counter.value, 0);
}

/* An operation has 16 bytes. */
Test(agent_rpc, counter_operation)
{
	static const char *const ops[] = { "\"\"", "\"00\"", "\"" OP "00\"",
		"\"" OP "0\"", "\"zz112233445566778899aabbccddeeff\"", "7",
		"[]" };
	uint8_t first[KMS_OPERATION_LEN], want[KMS_OPERATION_LEN];
	char body[200];

	for (size_t i = 0; i < sizeof ops / sizeof ops[0]; i++) {
		(void)sprintf(body,
		    "{\"name\":\"a\",\"expected\":0,\"operation\":%s}", ops[i]);
		bad("CounterIncrement", body, "operation");
	}
	cr_assert_eq(fake.counter.value, 0);
	/* Without one each call has its own. */
	json_decref(
	    good("CounterIncrement", "{\"name\":\"a\",\"expected\":0}"));
	memcpy(first, fake.last_operation, sizeof first);
	json_decref(good("CounterIncrement",
	    "{\"name\":\"a\",\"expected\":1,\"operation\":null}"));
	cr_assert_neq(memcmp(first, fake.last_operation, sizeof first), 0);
	json_decref(good("CounterIncrement",
	    "{\"name\":\"a\",\"expected\":2,\"operation\":\"0x" OP "\"}"));
	for (size_t i = 0; i < sizeof want; i++)
		want[i] = (uint8_t)(i * 0x11);
	cr_assert_eq(memcmp(want, fake.last_operation, sizeof want), 0);
}

/* A counter elsewhere is a refusal that says where. */
Test(agent_rpc, counter_mismatch)
{
	json_t *v = NULL;

	fake.counter.value = 7;
	cr_assert_eq(rpc_ask(&v, &backend, &rpc_guest, "CounterIncrement",
			 "{\"name\":\"a\",\"expected\":5}", false),
	    400);
	cr_assert_str_eq(str(v, "error"), "The counter has another value");
	cr_assert_eq(json_integer_value(json_object_get(v, "value")), 7);
	cr_assert_eq(json_object_size(v), 2);
	json_decref(v);
	/* It may have been us: the app is told. */
	fake.counter.uncertain = true;
	cr_assert_eq(rpc_ask(&v, &backend, &rpc_guest, "CounterIncrement",
			 "{\"name\":\"a\",\"expected\":5}", false),
	    400);
	cr_assert(json_is_true(json_object_get(v, "uncertain")));
	json_decref(v);
	cr_assert_eq(fake.counter.value, 7);
	fake.fail = ERR_AGAIN;
	bad("CounterGet", "{\"name\":\"a\"}", "No leader is known");
	bad("CounterIncrement", "{\"name\":\"a\",\"expected\":7}",
	    "Failed to increment the counter: No leader is known");
}

/* The reply has name, value, generation and index; as a query, too. */
Test(agent_rpc, counters)
{
	json_t *v;

	fake.counter =
	    (struct kms_counter){ .value = 41, .generation = 2, .index = 99 };
	v = good("CounterGet", "{\"name\":\"a\"}");
	cr_assert_str_eq(str(v, "name"), "a");
	cr_assert_eq(json_integer_value(json_object_get(v, "value")), 41);
	cr_assert_eq(json_integer_value(json_object_get(v, "generation")), 2);
	cr_assert_eq(json_integer_value(json_object_get(v, "index")), 99);
	cr_assert_eq(json_object_size(v), 4);
	json_decref(v);
	cr_assert_eq(rpc_ask(&v, &backend, &rpc_guest, "CounterIncrement",
			 "{\"name\":\"a\",\"expected\":\"41\"}", true),
	    200);
	cr_assert_eq(json_integer_value(json_object_get(v, "value")), 42);
	cr_assert_eq(json_object_size(v), 4);
	json_decref(v);
}
