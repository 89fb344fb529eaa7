/* The legacy service: what TdxQuote puts into a quote, and DeriveKey's keys
 * (dstack-compat.md 1.4, 2.6 and 3.6). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>
#include <openssl/bio.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include "node/agent/rpc.h"
#include "tests/lib/facts.h"
#include "tests/lib/fake_agent.h"
#include "tests/lib/rpc_ask.h"

#define HELLO "68656c6c6f"
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

TestSuite(agent_tappd, .init = setup, .fini = teardown);

static json_t *
good(const char *method, const char *body)
{
	return rpc_ask_good(&backend, &rpc_tappd, method, body);
}

static void
bad(const char *method, const char *body, const char *words)
{
	rpc_ask_bad(&backend, &rpc_tappd, 400, method, body, words);
}

/* What is DstackGuest's alone is not here. */
Test(agent_tappd, methods)
{
	static const char *const not_here[] = { "GetKey", "GetTlsKey",
		"GetQuote", "Sign", "Verify", "EmitEvent", "CounterGet",
		"Attest" };
	static const char *const here[] = { "DeriveKey", "DeriveK256Key",
		"TdxQuote", "RawQuote", "Info", "Version" };

	for (size_t i = 0; i < sizeof not_here / sizeof not_here[0]; i++)
		bad(not_here[i], "{}", "Service not found");
	for (size_t i = 0; i < sizeof here / sizeof here[0]; i++)
		bad(here[i], "[]", "not an object");
}

/* Nine digests of prefix, colon and data, with zeros behind. */
Test(agent_tappd, tdx_quote_digests)
{
	static const struct {
		const char *hash, *want;
	} t[] = {
		{ "sha256",
		    "57d90585d4b2cce9b2818a7b2a01398d5d2d6a8cb7ca8b735acb8d3203"
		    "cf8a770000000000000000000000000000000000000000000000000000"
		    "000000000000" },
		{ "sha384",
		    "1a316c913dd051238ab7414cd2fbbf48e4f16c8c6c00adb2a2f975d6ce"
		    "01b43f844c6dc053262f3283ba928c7b883f6000000000000000000000"
		    "000000000000" },
		{ "sha512",
		    "e39fd3dbee991d65e65cc38c6e9d664324929816279a19b495bcd3f77a"
		    "62d81949ba61282d8a732916d39bb9f6a6a16d11211c0d800b6ffc56ec"
		    "f74419a7c835" },
		{ "sha3-256",
		    "393205b584269b6c90c9c2ebea4f782ca50b4d13771568f83c868788df"
		    "adb8210000000000000000000000000000000000000000000000000000"
		    "000000000000" },
		{ "sha3-384",
		    "74ae0b2a56d9367f1678987363eb63649d4d26a00a3adf440f6aac6fd1"
		    "5d95808aeb015c138fc8e842dcbd81aaa3fe5b00000000000000000000"
		    "000000000000" },
		{ "sha3-512",
		    "b0c3ee1f3a00e4d97dc29a8f69da29d724494ba2f3f46d8c987bccd96b"
		    "d1af9e64c73bf81c0048fd51ae8d71391b6da0c9e2c62c748fda447e99"
		    "6f4c45c4516c" },
		{ "keccak256",
		    "8ed51239a438104e85ca8d86fa87fbc67c21d00b124c0ff7eceee34309"
		    "f5f3620000000000000000000000000000000000000000000000000000"
		    "000000000000" },
		{ "keccak384",
		    "8c5fbcff05a0470bdfd593a9db68a1b165694bf1a07c7555e8d46750d8"
		    "02e4c524caf153b8874f4d1def46abc50859da00000000000000000000"
		    "000000000000" },
		{ "keccak512",
		    "2b7e3f26c05a7787eea41af69ebb04b8d7fa57748974530ee1a430c1b5"
		    "47bee3ec73472770c45b11e7420930d7daa295eb77cb5bf96b328a7513"
		    "d62a99c5070e" },
	};

	for (size_t i = 0; i < sizeof t / sizeof t[0]; i++) {
		char body[200];
		json_t *v;

		(void)sprintf(body,
		    "{\"report_data\":\"" HELLO "\",\"hash_algorithm\":\"%s\"}",
		    t[i].hash);
		v = good("TdxQuote", body);
		cr_assert(facts_eq(fake.last_report_data, 64, t[i].want), "%s",
		    t[i].hash);
		cr_assert_str_eq(str(v, "hash_algorithm"), t[i].hash);
		cr_assert_str_eq(str(v, "prefix"), "app-data");
		cr_assert_str_eq(str(v, "quote"), "040002");
		cr_assert_eq(json_object_size(v), 4);
		json_decref(v);
	}
}

/* By default SHA-512 and "app-data"; an own prefix is taken as it is. */
Test(agent_tappd, tdx_quote_defaults)
{
	json_t *v = good("TdxQuote", "{\"report_data\":\"0x" HELLO "\"}");

	cr_assert(facts_eq(fake.last_report_data, 64,
	    "e39fd3dbee991d65e65cc38c6e9d664324929816279a19b495bcd3f77a62d81949"
	    "ba61282d8a732916d39bb9f6a6a16d11211c0d800b6ffc56ecf74419a7c835"));
	cr_assert_str_eq(str(v, "hash_algorithm"), "sha512");
	cr_assert_str_eq(str(v, "prefix"), "app-data");
	json_decref(v);
	v = good("TdxQuote",
	    "{\"report_data\":\"" HELLO "\",\"prefix\":\"my tag\"}");
	cr_assert(facts_eq(fake.last_report_data, 64,
	    "d5b7712a6f98979771be605bf056cc9f23a3cef7f273e81174c0f79840213b058e"
	    "3e9d9b176677b6cd8e53a69ef15b95b7e8f66dee6c164e42f7d39c020d83f5"));
	cr_assert_str_eq(str(v, "prefix"), "my tag");
	json_decref(v);
	/* More than a quote holds is fine: it is hashed. */
	v = good("TdxQuote",
	    "{\"report_data\":\"" HELLO HELLO HELLO HELLO HELLO HELLO HELLO
		HELLO HELLO HELLO HELLO HELLO HELLO HELLO "\"}");
	json_decref(v);
}

/* Raw data has exactly 64 bytes, and no prefix. */
Test(agent_tappd, raw)
{
	char data[131], body[300];

	for (size_t n = 0; n <= 65; n++) {
		json_t *v;

		memset(data, 'c', sizeof data);
		data[2 * n] = '\0';
		for (int how = 0; how < 2; how++) {
			const char *m = how == 0 ? "RawQuote" : "TdxQuote";

			(void)sprintf(body,
			    "{\"report_data\":\"%s\",\"prefix\":\"p\","
			    "\"hash_algorithm\":\"raw\"}",
			    data);
			if (n != 64) {
				bad(m, body, "invalid content length");
				continue;
			}
			v = good(m, body);
			cr_assert_eq(fake.last_report_data[63], 0xcc);
			cr_assert_str_eq(str(v, "hash_algorithm"), "raw");
			cr_assert_str_eq(str(v, "prefix"), "");
			json_decref(v);
		}
	}
}

/* Only dstack's words name a digest, in lower case; bad hex stays bad. */
Test(agent_tappd, tdx_quote_refusals)
{
	static const char *const words[] = { "SHA512", "sha-512", "sha3",
		"keccak", "keccak-384", "md5", "sha512 ", "Raw" };
	char body[100];

	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
		(void)sprintf(body, "{\"hash_algorithm\":\"%s\"}", words[i]);
		bad("TdxQuote", body, "invalid hash algorithm");
	}
	bad("TdxQuote", "{\"report_data\":\"abc\"}", "odd");
	bad("TdxQuote", "{\"report_data\":null}", "report_data");
	bad("TdxQuote", "{\"hash_algorithm\":null}", "hash_algorithm");
	bad("TdxQuote", "{\"prefix\":1}", "prefix");
	bad("TdxQuote", "{\"prefix\":\"a\\u0000b\"}", "NUL");
	bad("RawQuote", "{\"report_data\":\"zz\"}", "hex");
	fake.fail = ERR_IO;
	bad("TdxQuote", "{}", "Failed to get quote: ");
}

/* The SPKI of the PEM key in the reply, as hex. */
static void
spki_of(char out[static 200], const json_t *v)
{
	const char *pem = str(v, "key");
	BIO *in = BIO_new_mem_buf(pem, -1);
	EVP_PKEY *key = PEM_read_bio_PrivateKey(in, NULL, NULL, NULL);
	uint8_t *der = NULL;
	int len = i2d_PUBKEY(key, &der);

	cr_assert_eq(len, P256_SPKI_LEN);
	for (int i = 0; i < len; i++)
		(void)sprintf(out + 2 * i, "%02x", der[i]);
	cr_assert_eq(memcmp(der, fake.last_cert.spki, P256_SPKI_LEN), 0);
	OPENSSL_free(der);
	EVP_PKEY_free(key);
	BIO_free(in);
}

/* The key follows from the path alone, as published; random_seed makes a new
 * one at each call. */
Test(agent_tappd, derive_key)
{
	static const char want[] =
	    "3059301306072a8648ce3d020106082a8648ce3d0301070342000462c694ceb92d"
	    "d3f74e0e25f1b5ca149eb69c26da63ffb616412d030ecc5930c0de20fbbd3de345"
	    "564c7bfd4d920227cd7961d4164b3a51e9026c6fae714bfcba";
	char a[200], b[200];
	json_t *v;

	v = good("DeriveKey",
	    "{\"path\":\"/tappd\",\"subject\":\"s\","
	    "\"alt_names\":[\"a.example\"],\"usage_server_auth\":true}");
	spki_of(a, v);
	cr_assert_str_eq(a, want);
	cr_assert(fake.proof_ok);
	cr_assert(fake.last_cert.usage_server_auth);
	cr_assert(!fake.last_cert.usage_client_auth);
	cr_assert(!fake.last_cert.with_app_info);
	cr_assert_eq(fake.last_cert.n_alt_names, 1);
	cr_assert_eq(fake.last_cert.attestation.len, 0);
	cr_assert_eq(
	    json_array_size(json_object_get(v, "certificate_chain")), 3);
	cr_assert_eq(json_object_size(v), 2);
	json_decref(v);
	v = good("DeriveKey",
	    "{\"path\":\"/tappd\",\"usage_client_auth\":true,"
	    "\"usage_ra_tls\":true,\"random_seed\":false}");
	spki_of(a, v);
	cr_assert_str_eq(a, want);
	cr_assert(fake.last_cert.usage_client_auth);
	cr_assert(fake.last_stripped);
	json_decref(v);
	v = good("DeriveKey", "{\"path\":\"/tappe\"}");
	spki_of(b, v);
	cr_assert_str_neq(b, want);
	json_decref(v);
	for (int i = 0; i < 2; i++) {
		memcpy(a, b, sizeof a);
		v = good(
		    "DeriveKey", "{\"path\":\"/tappd\",\"random_seed\":true}");
		spki_of(b, v);
		cr_assert_str_neq(b, a);
		cr_assert_str_neq(b, want);
		json_decref(v);
	}
}

/* Fields of later versions are unknown here, and so ignored. */
Test(agent_tappd, derive_key_later_fields)
{
	json_decref(good("DeriveKey",
	    "{\"not_before\":2,\"not_after\":1,\"with_app_info\":true}"));
	cr_assert_eq(fake.last_cert.not_before, 0);
	cr_assert_eq(fake.last_cert.not_after, 0);
	cr_assert(!fake.last_cert.with_app_info);
}

Test(agent_tappd, derive_key_refusals)
{
	bad("DeriveKey", "{\"path\":null}", "path");
	bad("DeriveKey", "{\"path\":\"a\\u0000\"}", "NUL");
	bad("DeriveKey", "{\"random_seed\":\"true\"}", "random_seed");
	bad("DeriveKey", "{\"random_seed\":null}", "random_seed");
	bad("DeriveKey", "{\"alt_names\":[\"a\",2]}", "alt_names");
	bad("DeriveKey", "{\"alt_names\":[\"a\\u0000b\"]}", "NUL");
	bad("DeriveKey", "{\"usage_ra_tls\":1}", "usage_ra_tls");
	bad("DeriveKey", "{\"epoch\":4}", "Failed to get keys");
	fake.fail = ERR_DENIED;
	bad("DeriveKey", "{\"path\":\"/tappd\"}", "Failed to get keys");
	bad("DeriveKey", "{\"random_seed\":true}", "Failed to get keys");
}

/* DeriveK256Key has GetKey's bytes under other names. */
Test(agent_tappd, derive_k256_key)
{
	json_t *v, *w;

	v = good(
	    "DeriveK256Key", "{\"path\":\"/oracle\",\"purpose\":\"ethereum\"}");
	w = rpc_ask_good(&backend, &rpc_guest, "GetKey",
	    "{\"path\":\"/oracle\",\"purpose\":\"ethereum\"}");
	cr_assert_str_eq(str(v, "k256_key"),
	    "7a7fc23b33327f46bfbd37c7ff2a104c95d13acd81909520fec163942fd7ba15");
	cr_assert_str_eq(str(v, "k256_key"), str(w, "key"));
	cr_assert(json_equal(json_object_get(v, "k256_signature_chain"),
	    json_object_get(w, "signature_chain")));
	cr_assert_null(json_object_get(v, "key"));
	json_decref(v);
	json_decref(w);
	bad("DeriveK256Key", "{\"algorithm\":\"rsa\"}",
	    "Unsupported algorithm");
	bad("DeriveK256Key", "{\"path\":1}", "path");
}
