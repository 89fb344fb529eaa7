/* All of dstack's vectors that concern the agent, through its methods: a
 * fixture with the published keys answers them byte for byte
 * (dstack-compat.md 2.6, 3.2, 3.6).  GetKey and Sign are in test_fixture. */
#include <stdio.h>
#include <string.h>

#include <criterion/criterion.h>
#include <sodium.h>

#include "common/attest/eventlog.h"
#include "common/base/hex.h"
#include "common/base/limits.h"
#include "common/crypto/p256.h"
#include "node/agent/fixture.h"
#include "node/agent/rpc.h"
#include "tests/lib/facts.h"

#define SIM "dstack/sim-v0.5.3/"

static void
init(void)
{
	cr_assert_geq(sodium_init(), 0);
}

TestSuite(agent_vectors, .init = init);

/* The folder of 0.5.3, or with another app key; skips if it is not here. */
static struct fixture *
fixture_with(const char *k256_key)
{
	struct refusal why = { .code = REASON_NONE };
	struct fixture_files in = { .app_compose = { 0 } };
	struct fixture *f = NULL;

	facts_read(&in.app_keys, SIM "appkeys.json");
	facts_read(&in.app_compose, SIM "app-compose.json");
	facts_read(&in.sys_config, SIM "sys-config.json");
	facts_read(&in.quote_hex, SIM "quote.hex");
	facts_read(&in.event_log, SIM "eventlog.json");
	if (k256_key != NULL) {
		json_t *o =
		    json_loadb((char *)in.app_keys.p, in.app_keys.len, 0, NULL);

		json_object_set_new(o, "k256_key", json_string(k256_key));
		in.app_keys.len = 0;
		cr_assert_eq(json_write(&in.app_keys, o), ERR_OK);
		json_decref(o);
	}
	cr_assert_eq(fixture_make(&f, &in, &why), ERR_OK, "%s", why.detail);
	buf_fini(&in.app_keys);
	buf_fini(&in.app_compose);
	buf_fini(&in.sys_config);
	buf_fini(&in.quote_hex);
	buf_fini(&in.event_log);
	return f;
}

/* Calls a method; takes `in`. */
static json_t *
call(struct fixture *f, const struct rpc_service *s, const char *method,
    json_t *in)
{
	struct agent_backend b = fixture_backend(f);
	struct rpc_reply rp = { .status = 0 };
	json_t *out = NULL;

	cr_assert_not_null(in);
	rpc_call(&b, &rp, s, method, in, false);
	cr_assert_eq(rp.status, 200, "%s: %s", method, rp.error);
	cr_assert_eq(
	    json_parse(&out, rp.body.p, rp.body.len, LIMIT_HTTP_BODY, NULL, 0),
	    ERR_OK);
	json_decref(in);
	buf_fini(&rp.body);
	return out;
}

static void
v1_rows(struct fixture *f, const json_t *rows)
{
	json_t *row, *v;
	size_t i;

	json_array_foreach(rows, i, row)
	{
		v = call(f, &rpc_guest_v1, "GetKey",
		    json_pack("{s:O, s:O}", "domain", facts_get(row, "domain"),
			"algorithm", facts_get(row, "algorithm")));
		cr_assert_str_eq(facts_str(v, "key"), facts_str(row, "key"));
		cr_assert_str_eq(
		    facts_str(v, "public_key"), facts_str(row, "public_key"));
		/* The published rows have zeros for the KMS's signature. */
		cr_assert(json_equal(
		    json_array_get(facts_get(v, "signature_chain"), 0),
		    json_array_get(facts_get(row, "signature_chain"), 0)));
		json_decref(v);
	}
	cr_assert_geq(i, 2);
}

/* GetKey of the guest API v1: the simulator's, and the published ones. */
Test(agent_vectors, get_key_v1)
{
	json_t *all = facts_json("dstack/vectors.json");
	struct fixture *f = fixture_with(NULL);

	v1_rows(f, facts_get(facts_get(all, "sim-v0.5.3"), "get_key_v1"));
	fixture_free(f);
	f = fixture_with(facts_str(facts_get(all, "dip1"), "app_key"));
	v1_rows(f, facts_get(all, "published_guest_v1"));
	fixture_free(f);
	json_decref(all);
}

/* Tappd's derived key: the published scalar is in the PKCS#8. */
Test(agent_vectors, tappd_derive_key)
{
	json_t *all = facts_json("dstack/vectors.json"), *v;
	json_t *want =
	    facts_get(facts_get(all, "sim-v0.5.3"), "tappd_derive_key");
	struct fixture *f = fixture_with(NULL);
	uint8_t der[P256_PKCS8_LEN], again[P256_PKCS8_LEN];
	struct p256_secret s;
	const char *pem;
	size_t n = 0;

	v = call(f, &rpc_tappd, "DeriveKey",
	    json_pack("{s:O}", "path", facts_get(want, "path")));
	pem = strchr(facts_str(v, "key"), '\n') + 1;
	cr_assert_eq(sodium_base642bin(der, sizeof der, pem,
			 (size_t)(strchr(pem, '-') - pem), "\n", &n, NULL,
			 sodium_base64_VARIANT_ORIGINAL),
	    0);
	cr_assert_eq(n, sizeof der);
	facts_hex(s.b, 32, facts_str(want, "p256_scalar"));
	cr_assert_eq(p256_pkcs8(again, &s), ERR_OK);
	cr_assert_arr_eq(der, again, sizeof der);
	json_decref(v);
	json_decref(all);
	fixture_free(f);
}

/* DIP-1: what GetAttestationForAppKey has quoted. */
Test(agent_vectors, dip1)
{
	static const char *const algorithm[] = { "ed25519", "secp256k1" };
	json_t *all = facts_json("dstack/vectors.json"), *v;
	const json_t *want = facts_get(all, "dip1");
	struct fixture *f = fixture_with(facts_str(want, "app_key"));

	for (size_t i = 0; i < 2; i++) {
		v = call(f, &rpc_worker, "GetAttestationForAppKey",
		    json_pack("{s:s}", "algorithm", algorithm[i]));
		cr_assert_str_eq(
		    facts_str(v, "report_data"), facts_str(want, algorithm[i]));
		cr_assert_eq(strncmp(facts_str(v, "quote") + 1136,
				 facts_str(want, algorithm[i]), 128),
		    0);
		json_decref(v);
	}
	json_decref(all);
	fixture_free(f);
}

/* Tappd's report data, by every hash that there is a vector of. */
Test(agent_vectors, report_data)
{
	static const char *const t[][2] = {
		{ "sha512", "app_data_hello_sha512" },
		{ "", "app_data_hello_sha512" },
		{ "sha256", "app_data_hello_sha256" },
		{ "keccak256", "app_data_hello_keccak256" },
		{ "keccak512", "app_data_hello_keccak512" },
		{ "sha3-256", "app_data_hello_sha3_256" },
	};
	json_t *all = facts_json("dstack/vectors.json"), *v;
	const json_t *want = facts_get(all, "report_data");
	struct fixture *f = fixture_with(NULL);

	for (size_t i = 0; i < sizeof t / sizeof t[0]; i++) {
		v = call(f, &rpc_tappd, "TdxQuote",
		    json_pack("{s:s, s:s}", "report_data", "68656c6c6f",
			"hash_algorithm", t[i][0]));
		cr_assert_eq(strncmp(facts_str(v, "quote") + 1136,
				 facts_str(want, t[i][1]), 128),
		    0, "%s", t[i][0]);
		json_decref(v);
	}
	json_decref(all);
	fixture_free(f);
}

/* Digests of runtime events, and the register that they lead to. */
Test(agent_vectors, events)
{
	json_t *all = facts_json("dstack/vectors.json"), *ev;
	const json_t *want = facts_get(all, "rtmr3-synthetic");
	uint8_t rtmr[48] = { 0 }, digest[48];
	size_t i;

	json_array_foreach(facts_get(want, "events"), i, ev)
	{
		const char *name = facts_str(ev, "event");
		struct buf payload = { 0 };

		facts_hex_buf(&payload, facts_str(ev, "payload"));
		event_digest_v1(digest, name, buf_view(&payload));
		cr_assert(facts_eq(digest, 48, facts_str(ev, "digest_v1")));
		rtmr_extend(rtmr, digest);
		if (strcmp(name, "boot-mr-done") == 0)
			cr_assert(facts_eq(
			    rtmr, 48, facts_str(want, "rtmr3_v1_boot")));
		buf_fini(&payload);
	}
	cr_assert(facts_eq(rtmr, 48, facts_str(want, "rtmr3_v1")));
	json_decref(all);
}
