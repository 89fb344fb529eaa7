/* The guest API of 0.6: its own keys, byte for byte (dstack-compat.md 1.6,
 * 2.2 and 2.6), and what it left out. */
#include <string.h>

#include <criterion/criterion.h>

#include "common/base/hex.h"
#include "common/crypto/hash.h"

#include "node/agent/rpc.h"
#include "tests/lib/facts.h"
#include "tests/lib/fake_agent.h"
#include "tests/lib/rpc_ask.h"

#define str rpc_ask_str

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

TestSuite(agent_v1, .init = setup, .fini = teardown);

static json_t *
good(const char *method, const char *body)
{
	return rpc_ask_good(&backend, &rpc_guest_v1, method, body);
}

static void
bad(const char *method, const char *body, const char *words)
{
	rpc_ask_bad(&backend, &rpc_guest_v1, 400, method, body, words);
}

/* What v1 dropped is gone. */
Test(agent_v1, methods)
{
	static const char *const not_here[] = { "GetTlsKey", "GetQuote", "Sign",
		"Verify", "EmitEvent", "GpuInfo", "DeriveKey" };
	static const char *const here[] = { "IssueCert", "GetKey", "Attest",
		"AttestGpu", "Info", "Version" };

	for (size_t i = 0; i < sizeof not_here / sizeof not_here[0]; i++)
		rpc_ask_none(&backend, &rpc_guest_v1, not_here[i]);
	for (size_t i = 0; i < sizeof here / sizeof here[0]; i++)
		bad(here[i], "[]", "not an object");
}

/* One row of the vectors: link 0 always, link 1 if it is this app's. */
static void
check_row(const json_t *want, bool issued)
{
	json_t *in =
	    json_pack("{s:O,s:O}", "domain", json_object_get(want, "domain"),
		"algorithm", json_object_get(want, "algorithm"));
	const json_t *links = json_object_get(want, "signature_chain"), *got;
	struct buf body = { 0 };
	json_t *v;

	cr_assert_eq(json_write(&body, in), ERR_OK);
	v = good("GetKey", (const char *)body.p);
	cr_assert_str_eq(str(v, "key"), str(want, "key"));
	cr_assert_str_eq(str(v, "public_key"), str(want, "public_key"));
	got = json_object_get(v, "signature_chain");
	cr_assert_eq(json_array_size(got), 2);
	cr_assert(json_equal(json_array_get(got, 0), json_array_get(links, 0)));
	cr_assert(!issued ||
	    json_equal(json_array_get(got, 1), json_array_get(links, 1)));
	cr_assert_eq(json_integer_value(json_object_get(v, "epoch")), 3);
	json_decref(v);
	json_decref(in);
	buf_fini(&body);
}

/* The published app key, a NUL in a domain included. */
Test(agent_v1, published_keys)
{
	json_t *all = rpc_ask_vectors(), *list, *row;
	size_t i;

	if (all == NULL)
		cr_skip_test("no vectors");
	list = json_object_get(all, "published_guest_v1");
	cr_assert_geq(json_array_size(list), 6);
	facts_hex(fake.release.k256.b, 32,
	    "1a2b3c4d5e6f7a8b9c0d1e2f3a4b5c6d7e8f9a0b1c2d3e4f5a6b7c8d9e0f1a2b");
	json_array_foreach(list, i, row) check_row(row, false);
	json_decref(all);
}

/* The two simulators' app keys. */
Test(agent_v1, simulator_keys)
{
	static const char *const sims[] = { "sim-v0.5.3", "sim-head" };
	json_t *all = rpc_ask_vectors(), *row;
	size_t i;

	if (all == NULL)
		cr_skip_test("no vectors");
	for (size_t s = 0; s < 2; s++) {
		const json_t *sim = json_object_get(all, sims[s]);
		const json_t *list = json_object_get(sim, "get_key_v1");

		facts_hex(fake.release.k256.b, 32, str(sim, "k256_key"));
		facts_hex(fake.release.k256_signature.b, 65,
		    str(sim, "k256_signature"));
		cr_assert_geq(json_array_size(list), 4);
		json_array_foreach(list, i, row) check_row(row, true);
	}
	json_decref(all);
}

/* Without vectors at hand, the one row of the reference. */
Test(agent_v1, one_key)
{
	json_t *v = good("GetKey",
	    "{\"domain\":\"storage-encryption\",\"algorithm\":\"secp256k1\"}");

	cr_assert_str_eq(str(v, "key"),
	    "80deb7720214017b30589f03c09968e595c414e795340d40f889d2f98cc1fa2e");
	cr_assert_str_eq(json_string_value(json_array_get(
			     json_object_get(v, "signature_chain"), 0)),
	    "514a04293f00e16c907cae6b693ced144b248581aecffd1180e07dfba91dab58"
	    "28a24e56eaff469f54c06658aa0ad87cb6a0384bb1adc1f0bbe1a1fea1672c1e"
	    "01");
	json_decref(v);
}

/* An algorithm must be named, by its one name. */
Test(agent_v1, algorithm)
{
	bad("GetKey", "{}",
	    "algorithm is required, use `secp256k1` or `ed25519`");
	bad("GetKey", "{\"domain\":\"x\",\"algorithm\":\"\"}",
	    "algorithm is required, use `secp256k1` or `ed25519`");
	bad("GetKey", "{\"algorithm\":\"k256\"}",
	    "unsupported algorithm `k256`, use `secp256k1` or `ed25519`");
	bad("GetKey", "{\"algorithm\":\"secp256k1_prehashed\"}",
	    "unsupported algorithm `secp256k1_prehashed`");
	bad("GetKey", "{\"algorithm\":\"Ed25519\"}", "unsupported algorithm");
	bad("GetKey", "{\"algorithm\":null}", "algorithm");
	bad("GetKey", "{\"algorithm\":\"ed25519\\u0000\"}", "NUL");
	bad("GetKey", "{\"domain\":null,\"algorithm\":\"ed25519\"}", "domain");
	bad("GetKey", "{\"domain\":7,\"algorithm\":\"ed25519\"}", "domain");
	bad("GetKey", "{\"epoch\":9,\"algorithm\":\"ed25519\"}",
	    "Failed to get keys");
}

/* Fields of v0 do not enter. */
Test(agent_v1, no_path)
{
	json_t *v = good("GetKey", "{\"algorithm\":\"ed25519\"}");
	json_t *w = good("GetKey",
	    "{\"algorithm\":\"ed25519\",\"path\":\"p\",\"purpose\":\"q\"}");

	cr_assert(json_equal(v, w));
	json_decref(v);
	json_decref(w);
}

/* IssueCert is GetTlsKey. */
Test(agent_v1, issue_cert)
{
	json_t *v = good("IssueCert",
	    "{\"subject\":\"s\",\"usage_ra_tls\":true,"
	    "\"usage_server_auth\":true,\"not_before\":1,\"not_after\":2,"
	    "\"with_app_info\":true}");

	cr_assert(fake.proof_ok);
	cr_assert(fake.last_stripped);
	cr_assert(fake.last_cert.with_app_info);
	cr_assert_eq(fake.last_cert.not_after, 2);
	cr_assert_eq(strncmp(str(v, "key"), "-----BEGIN PRIVATE KEY", 22), 0);
	cr_assert_eq(
	    json_array_size(json_object_get(v, "certificate_chain")), 3);
	json_decref(v);
	bad("IssueCert", "{\"not_before\":2,\"not_after\":2}",
	    "not_before must be earlier than not_after");
	bad("IssueCert", "{\"alt_names\":null}", "alt_names");
	fake.fail = ERR_DENIED;
	bad("IssueCert", "{}", "Failed to get keys");
}

/* Attest speaks MessagePack, and has no GPU to tell of. */
Test(agent_v1, attest)
{
	char body[200] = "{\"report_data\":\"";
	json_t *v = good("Attest",
	    "{\"report_data\":\"AB\",\"include_boottime_gpu_evidence\":true}");

	cr_assert_str_eq(str(v, "attestation"), "8301");
	cr_assert_eq(fake.last_report_data[0], 0xab);
	cr_assert_eq(fake.last_report_data[1], 0);
	cr_assert_eq(
	    json_array_size(json_object_get(v, "boottime_gpu_evidence")), 0);
	cr_assert(json_is_array(json_object_get(v, "boottime_gpu_evidence")));
	json_decref(v);
	for (int i = 0; i < 65; i++)
		strcat(body, "ab");
	strcat(body, "\"}");
	bad("Attest", body, "report data is too long");
	bad("Attest", "{\"include_boottime_gpu_evidence\":1}",
	    "include_boottime_gpu_evidence");
	fake.fail = ERR_IO;
	bad("Attest", "{}", "Failed to attest");
	backend.attest_v1 = NULL;
	rpc_ask_bad(&backend, &rpc_guest_v1, 501, "Attest", "{}", "available");
}

/* A bad nonce is the caller's fault; that there is no GPU is not. */
Test(agent_v1, attest_gpu)
{
	bad("AttestGpu", "{}",
	    "GPU attestation failed: nonce must be exactly 32 bytes, got 0");
	bad("AttestGpu", "{\"nonce\":\"00ff\"}", "exactly 32 bytes, got 2");
	rpc_ask_bad(&backend, &rpc_guest_v1, 501, "AttestGpu",
	    "{\"nonce\":\"000102030405060708090a0b0c0d0e0f"
	    "101112131415161718191a1b1c1d1e1f\"}",
	    "GPU attestation failed: GPU attestation is not available in this "
	    "image");
}

/* Identity and configuration, and no measurements. */
Test(agent_v1, info)
{
	static const char *const members[] = { "app_id", "app_name",
		"compose_hash", "app_compose", "instance_id", "device_id",
		"os_image_hash", "mr_aggregated", "vm_config",
		"key_provider_info", "cloud_vendor", "cloud_product" };
	static const char *const gone[] = { "tcb_info", "app_cert", "mrtd",
		"event_log" };
	json_t *v = good("Info", "{}");
	const char *compose = str(v, "app_compose");
	uint8_t h[32];
	char hex[65];

	for (size_t i = 0; i < sizeof members / sizeof members[0]; i++)
		(void)str(v, members[i]);
	for (size_t i = 0; i < sizeof gone / sizeof gone[0]; i++)
		cr_assert_null(json_object_get(v, gone[i]));
	sha256(h, compose, strlen(compose));
	cr_assert_str_eq(str(v, "compose_hash"), hex_encode(hex, h, 32));
	json_decref(v);
	/* Nobody is hidden from on the app's own socket. */
	fake.identity.public_tcbinfo = false;
	v = good("Info", "{}");
	cr_assert_str_eq(str(v, "vm_config"), "{}");
	json_decref(v);
	fake.fail = ERR_IO;
	bad("Info", "{}", "Failed to read measurements");
}
