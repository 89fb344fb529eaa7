/* The public listener's methods: what is hidden, which key is attested, what
 * health is (dstack-compat.md 1.5, 1.6, 2.6 d). */
#include <sys/stat.h>

#include <stdio.h>
#include <string.h>

#include <criterion/criterion.h>

#include "common/base/file.h"

#include "node/agent/rpc.h"
#include "node/agent/rpc_worker.h"
#include "tests/lib/facts.h"
#include "tests/lib/fake_agent.h"
#include "tests/lib/rpc_ask.h"
#include "tests/lib/tmpdir.h"

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

TestSuite(agent_worker, .init = setup, .fini = teardown);

static json_t *
good(const char *method, const char *body)
{
	return rpc_ask_good(&backend, &rpc_worker, method, body);
}

static json_t *
good_v1(const char *method)
{
	return rpc_ask_good(&backend, &rpc_worker_v1, method, "{}");
}

static void
bad(const char *method, const char *body, const char *words)
{
	rpc_ask_bad(&backend, &rpc_worker, 400, method, body, words);
}

/* Nothing here gives a key, or lets a stranger choose what is signed or
 * attested. */
Test(agent_worker, methods)
{
	static const char *const not_here[] = { "GetKey", "GetTlsKey",
		"GetQuote", "Sign", "EmitEvent", "Attest", "DeriveKey",
		"TdxQuote", "RawQuote", "IssueCert", "CounterGet",
		"CounterIncrement", "GetReplicaKey", "AttestGpu" };

	for (size_t i = 0; i < sizeof not_here / sizeof not_here[0]; i++) {
		rpc_ask_none(&backend, &rpc_worker, not_here[i]);
		rpc_ask_none(&backend, &rpc_worker_v1, not_here[i]);
	}
	json_decref(good("Version", "{}"));
	json_decref(good_v1("Version"));
}

/* Documents are blank if app-compose says so; identity stays. */
Test(agent_worker, info)
{
	json_t *v = good("Info", "{}");

	cr_assert_not_null(strstr(str(v, "tcb_info"), "\"app_compose\": \""));
	cr_assert_str_eq(str(v, "vm_config"), "{}");
	json_decref(v);
	fake.identity.public_tcbinfo = false;
	v = good("Info", "{}");
	cr_assert_str_eq(str(v, "tcb_info"), "");
	cr_assert_str_eq(str(v, "vm_config"), "");
	cr_assert_eq(strlen(str(v, "compose_hash")), 64);
	cr_assert_eq(strncmp(str(v, "key_provider_info"), "{", 1), 0);
	json_decref(v);
	fake.fail = ERR_IO;
	bad("Info", "{}", "Failed to read measurements");
}

/* What went wrong here is for the app and the log: a stranger gets the
 * sentence without the detail, which may name files, hosts and blocks. */
Test(agent_worker, no_details)
{
	struct rpc_reply rp = { .status = 0 };
	json_t *none = json_object();

	fake.fail = ERR_IO;
	rpc_ask_bad(&backend, &rpc_guest, 400, "GetQuote", "{}", "no device");
	rpc_ask_bad(&backend, &rpc_guest, 400, "GetKey", "{}", "no host");
	rpc_call(
	    &backend, &rp, &rpc_worker, "GetAttestationForAppKey", none, false);
	cr_assert_eq(rp.status, 400);
	cr_assert_null(strstr(rp.error, "no host"), "%s", rp.error);
	buf_fini(&rp.body);
	for (int i = 0; i < 2; i++) {
		rp = (struct rpc_reply){ .status = 0 };
		rpc_call(&backend, &rp, i == 0 ? &rpc_worker : &rpc_worker_v1,
		    "Info", none, false);
		cr_assert_eq(rp.status, 400);
		cr_assert_eq(
		    strncmp(rp.error, "Failed to read measurements: ", 29), 0);
		cr_assert_null(strstr(rp.error, "no file"), "%s", rp.error);
		buf_fini(&rp.body);
	}
	json_decref(none);
}

/* v1 blanks one document more. */
Test(agent_worker, info_v1)
{
	static const char *const documents[] = { "app_compose", "vm_config",
		"key_provider_info" };
	json_t *v = good_v1("Info");

	for (size_t i = 0; i < 3; i++)
		cr_assert_gt(strlen(str(v, documents[i])), 0);
	json_decref(v);
	fake.identity.public_tcbinfo = false;
	v = good_v1("Info");
	for (size_t i = 0; i < 3; i++)
		cr_assert_str_eq(str(v, documents[i]), "");
	cr_assert_eq(strlen(str(v, "app_id")), 40);
	cr_assert_null(json_object_get(v, "tcb_info"));
	json_decref(v);
}

/* The certificate is shown when there is one. */
Test(agent_worker, app_cert)
{
	json_t *v = good("Info", "{}");

	cr_assert_str_eq(str(v, "app_cert"), "");
	json_decref(v);
	fake.app_cert = "-----BEGIN CERTIFICATE-----\n";
	v = good("Info", "{}");
	cr_assert_str_eq(str(v, "app_cert"), fake.app_cert);
	json_decref(v);
	backend.app_cert = NULL;
	v = good("Info", "{}");
	cr_assert_str_eq(str(v, "app_cert"), "");
	json_decref(v);
}

/* The published strings of the published key; the longer one fills all. */
Test(agent_worker, app_key_published)
{
	static const char *const want[][2] = {
		{ "{\"algorithm\":\"ed25519\"}",
		    "dip1::ed25519-pk:"
		    "5Pbre1Amf1hrp2V2bbfKlIfxpQb2pJAmrgmhxgVoG9s" },
		{ "{\"algorithm\":\"secp256k1\"}",
		    "dip1::secp256k1c-pk:"
		    "A6t_JdVkVdMAocH3f1f20WGT6JzdntxcXimUtEax8zc9" },
	};

	facts_hex(fake.release.k256.b, 32,
	    "1a2b3c4d5e6f7a8b9c0d1e2f3a4b5c6d7e8f9a0b1c2d3e4f5a6b7c8d9e0f1a2b");
	for (size_t i = 0; i < 2; i++) {
		json_t *v = good("GetAttestationForAppKey", want[i][0]);
		size_t len = strlen(want[i][1]);

		cr_assert_eq(memcmp(fake.last_report_data, want[i][1], len), 0);
		for (size_t k = len; k < 64; k++)
			cr_assert_eq(fake.last_report_data[k], 0);
		cr_assert_eq(strlen(str(v, "report_data")), 128);
		cr_assert_str_eq(str(v, "quote"), "040002");
		cr_assert_str_eq(str(v, "vm_config"), "{}");
		(void)str(v, "event_log");
		json_decref(v);
	}
}

/* The same, from the vectors, by all names of the algorithm. */
Test(agent_worker, app_key_vectors)
{
	json_t *all = rpc_ask_vectors();
	const json_t *dip;

	if (all == NULL)
		cr_skip_test("no vectors");
	dip = json_object_get(all, "dip1");
	facts_hex(fake.release.k256.b, 32, str(dip, "app_key"));
	json_decref(
	    good("GetAttestationForAppKey", "{\"algorithm\":\"ed25519\"}"));
	cr_assert(facts_eq(fake.last_report_data, 64, str(dip, "ed25519")));
	for (int i = 0; i < 3; i++) {
		static const char *const body[] = {
			"{\"algorithm\":\"secp256k1\"}",
			"{\"algorithm\":\"k256\"}",
			"{\"algorithm\":\"secp256k1_prehashed\"}"
		};

		json_decref(good("GetAttestationForAppKey", body[i]));
		cr_assert(
		    facts_eq(fake.last_report_data, 64, str(dip, "secp256k1")));
	}
	json_decref(all);
}

Test(agent_worker, app_key_refusals)
{
	bad("GetAttestationForAppKey", "{}", "Unsupported algorithm");
	bad("GetAttestationForAppKey", "{\"algorithm\":\"rsa\"}",
	    "Unsupported algorithm");
	bad("GetAttestationForAppKey", "{\"algorithm\":1}", "algorithm");
	/* Nobody chooses what is attested. */
	json_decref(good("GetAttestationForAppKey",
	    "{\"algorithm\":\"ed25519\",\"report_data\":\"ffff\"}"));
	cr_assert_eq(memcmp(fake.last_report_data, "dip1::", 6), 0);
	fake.fail = ERR_IO;
	bad("GetAttestationForAppKey", "{\"algorithm\":\"ed25519\"}",
	    "Failed to get keys");
}

/* ---- Health ---- */

static void
healthy(bool want, size_t n_unhealthy, const char *error)
{
	json_t *v = good_v1("Health");

	cr_assert_eq(json_is_true(json_object_get(v, "healthy")), want);
	cr_assert_eq(
	    json_array_size(json_object_get(v, "unhealthy")), n_unhealthy);
	cr_assert_not_null(strstr(str(v, "error"), error));
	cr_assert(error[0] != '\0' || str(v, "error")[0] == '\0');
	cr_assert_eq(json_object_size(v), 3);
	json_decref(v);
}

static void
put_container(const char *dir, char id, const char *config)
{
	char sub[200], file[300];
	char hex[65];

	memset(hex, id, 64);
	hex[64] = '\0';
	(void)snprintf(sub, sizeof sub, "%s/%s", dir, hex);
	(void)mkdir(sub, 0700);
	(void)snprintf(file, sizeof file, "%s/config.v2.json", sub);
	cr_assert_eq(file_write(file, config, strlen(config), 0600), ERR_OK);
}

#define CONTAINER(name, health) \
	"{\"Name\":\"/" name "\",\"Config\":{\"Image\":\"i\",\"Labels\":" \
	"{\"com.docker.compose.project\":\"p\"}}," \
	"\"State\":{\"Running\":true" health "}}"
#define HEALTH(word) ",\"Health\":{\"Status\":\"" word "\"}"

/* Who did not ask to be judged is well; who did, and cannot be seen, is not. */
Test(agent_worker, health)
{
	char *dir;
	json_t *v;

	healthy(true, 0, "");
	fake.identity.health_check = true;
	healthy(false, 0, "logs_dir is not configured");
	backend.logs_dir = "/nonexistent/containers";
	healthy(false, 0, "cannot be read");
	dir = tmpdir_new();
	backend.logs_dir = dir;
	healthy(false, 1, "");
	/* A container that is none of the app's says nothing of it. */
	put_container(dir, 'a', "{\"Name\":\"/x\",\"State\":{}}");
	healthy(false, 1, "");
	put_container(dir, 'b', CONTAINER("web", HEALTH("healthy")));
	put_container(dir, 'c', CONTAINER("job", ""));
	healthy(true, 0, "");
	put_container(dir, 'd', CONTAINER("db", HEALTH("starting")));
	put_container(dir, 'e', CONTAINER("api", HEALTH("degraded")));
	v = good_v1("Health");
	cr_assert(json_is_false(json_object_get(v, "healthy")));
	cr_assert_str_eq(
	    str(json_array_get(json_object_get(v, "unhealthy"), 1), "name"),
	    "db");
	cr_assert_str_eq(
	    str(json_array_get(json_object_get(v, "unhealthy"), 1), "status"),
	    "starting");
	json_decref(v);
	tmpdir_remove(dir);
}
