/* GetReplicaKey: keys below the replica's root, and who gets none. */
#include <string.h>

#include <criterion/criterion.h>

#include "common/crypto/v2key.h"

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

TestSuite(agent_replica, .init = setup, .fini = teardown);

static json_t *
good(const char *body)
{
	return rpc_ask_good(&backend, &rpc_guest, "GetReplicaKey", body);
}

static void
bad(const char *body, const char *words)
{
	rpc_ask_bad(&backend, &rpc_guest, 400, "GetReplicaKey", body, words);
}

/* The chain leads from the key over the replica's root to the KMS's word. */
Test(agent_replica, chain)
{
	json_t *v = good("{\"path\":\"/db\",\"purpose\":\"p\"}");
	const json_t *chain = json_object_get(v, "signature_chain");
	struct v2key_claim claim = { .algorithm = "secp256k1",
		.path = BYTES_STR("/db"),
		.purpose = BYTES_STR("p") };
	struct k256_secret key;
	struct k256_sig65 link;
	struct k256_pub pub, want, got;

	facts_hex(key.b, 32, str(v, "key"));
	cr_assert_eq(k256_pubkey(&pub, &key), ERR_OK);
	cr_assert(facts_eq(pub.b, 33, str(v, "public_key")));
	claim.pub = BYTES_OF(pub.b);
	cr_assert_eq(json_array_size(chain), 2);
	facts_hex(link.b, 65, json_string_value(json_array_get(chain, 0)));
	cr_assert_eq(v2key_recover_claim(&got, &link, &claim), ERR_OK);
	cr_assert_eq(k256_pubkey(&want, &fake.release.replica), ERR_OK);
	cr_assert_arr_eq(got.b, want.b, 33);
	cr_assert(facts_eq(fake.release.replica_signature.b, 65,
	    json_string_value(json_array_get(chain, 1))));
	cr_assert(
	    facts_eq(fake.identity.instance_id, 20, str(v, "instance_id")));
	cr_assert_eq(json_integer_value(json_object_get(v, "epoch")), 3);
	json_decref(v);
}

/* Path, algorithm and the replica's root enter; the purpose is in the chain
 * alone; no key of GetKey comes out. */
Test(agent_replica, what_enters)
{
	static const char *const bodies[] = { "{\"path\":\"a\"}",
		"{\"path\":\"b\"}", "{\"path\":\"a\\u0000\"}",
		"{\"path\":\"a\",\"algorithm\":\"ed25519\"}" };
	char keys[5][65];
	json_t *v;

	for (size_t i = 0; i < 4; i++) {
		v = good(bodies[i]);
		strcpy(keys[i], str(v, "key"));
		json_decref(v);
	}
	v = rpc_ask_good(&backend, &rpc_guest, "GetKey", "{\"path\":\"a\"}");
	strcpy(keys[4], str(v, "key"));
	json_decref(v);
	for (size_t i = 0; i < 5; i++)
		for (size_t j = 0; j < i; j++)
			cr_assert_str_neq(keys[i], keys[j]);
	v = good("{\"path\":\"a\",\"algorithm\":\"k256\",\"purpose\":\"x\"}");
	cr_assert_str_eq(str(v, "key"), keys[0]);
	json_decref(v);
	fake.release.replica.b[0] ^= 1;
	v = good(bodies[0]);
	cr_assert_str_neq(str(v, "key"), keys[0]);
	json_decref(v);
}

Test(agent_replica, refusals)
{
	bad("{\"algorithm\":\"rsa\"}", "Unsupported algorithm");
	bad("{\"algorithm\":\"secp256k1_prehashed\"}", "Unsupported");
	bad("{\"path\":null}", "path");
	bad("{\"purpose\":3}", "purpose");
	bad("{\"epoch\":2}", "Failed to get keys");
	bad("{\"epoch\":\"3\"}", "epoch");
	bad("[]", "not an object");
	/* A KMS of an older version releases no such key. */
	fake.release.has_replica = false;
	bad("{}", "The KMS gives no keys of one replica");
	/* Replicas that cannot be told apart have nothing of their own. */
	fake.release.has_replica = true;
	fake.identity.has_instance_id = false;
	bad("{}", "no_instance_id");
	fake.identity.has_instance_id = true;
	fake.fail = ERR_DENIED;
	bad("{}", "Failed to get keys");
}
