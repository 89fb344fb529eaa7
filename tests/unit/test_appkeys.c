/* Keys below the app key: dstack's GetKey and Sign, byte for byte
 * (dstack-compat.md 2.6 a, b, d). */
#include <string.h>

#include <criterion/criterion.h>
#include <sodium.h>

#include "common/crypto/hash.h"
#include "common/crypto/keccak.h"
#include "node/agent/appkeys.h"
#include "tests/lib/facts.h"

#define SIM_KEY \
	"e0e5d254fb944dcc370a2e5288b336a1e809871545a73ee645368957fefa31f9"

static void
init(void)
{
	cr_assert_geq(sodium_init(), 0);
}

TestSuite(appkeys, .init = init);

static struct k256_secret
app_key(const char *hex)
{
	struct k256_secret s;

	facts_hex(s.b, 32, hex);
	return s;
}

/* One published row; its link must recover the app's public key. */
static void
row(const char *app, const char *path, const char *purpose, const char *word,
    const char *key, const char *pub, const char *link)
{
	struct k256_secret s = app_key(app);
	enum appkey_algorithm alg;
	struct k256_pub want, got;
	struct appkey k;

	cr_assert_eq(appkey_algorithm(&alg, word), ERR_OK);
	cr_assert_eq(appkey_derive(&k, &s, path, purpose, alg), ERR_OK);
	cr_assert(facts_eq(k.secret, 32, key));
	cr_assert(facts_eq(k.pub, k.pub_len, pub));
	cr_assert(facts_eq(k.link.b, 65, link));
	cr_assert_eq(k256_pubkey(&want, &s), ERR_OK);
	cr_assert_eq(dstack_recover_purpose(&got, &k.link, purpose,
			 (struct bytes){ k.pub, k.pub_len }),
	    ERR_OK);
	cr_assert_arr_eq(got.b, want.b, 33);
	appkey_wipe(&k);
}

/* The 0.5.3 simulator, the newer one, and the published app key. */
Test(appkeys, published_rows)
{
	row(SIM_KEY, "", "", "secp256k1",
	    "38309afef2058aef6aee6ef7baca26942986ee387836a0dbdb5791f4f5a8142c",
	    "03a907a097e19f27b9c320acfa90e744c24c6c0fd73c07faf28d70ec633a985ac"
	    "7",
	    "9f3f2ca85e1ac9ef4acb716658a66d8b0b0926f8445121638356596b865b40af"
	    "5db2b2fa02f143f6a0f0e31c799ea5ed93bcb284572b18c816ff4a1f4ecb744b"
	    "00");
	row(SIM_KEY, "/oracle", "ethereum", "k256",
	    "7a7fc23b33327f46bfbd37c7ff2a104c95d13acd81909520fec163942fd7ba15",
	    "02f79b023158b235e0787db27c2519caeb48ef6bb63d207d51ec8a1ecfd38c1f8"
	    "2",
	    "3daf33caf576205d75ccac8796ecad7e64f202cd670a8e8edc9347f5d3a6d0e0"
	    "7b1433be598ef7022acdbf06b65f2eb836aad58aa6c7061adc327258881b6c9d"
	    "01");
	row(SIM_KEY, "/oracle", "ethereum", "ed25519",
	    "7a7fc23b33327f46bfbd37c7ff2a104c95d13acd81909520fec163942fd7ba15",
	    "d828e11b8328488ba42b51415607d8cdde300f20062d8be23c19b4136348c95f",
	    "66f68adebf23b191bcceac834152c7aabbd61adfba1ded9da6eaaaba3646b1cb"
	    "63b77bbddd243200b88a9be18603fde2c60aa71433740ce7aeb3a574be474f9d"
	    "01");
	row("d6e88992cdeeee35fe70b5db61ab66cdb191fb9b6ec9313757ef162dd7214d5d",
	    "/oracle", "ethereum", "secp256k1",
	    "7082fb2ace29842af9a787459474aa65b5bc9bc670f821784b45312641a0968a",
	    "02c47ec9f81efe42b0e4dfcaf8d90e4b7a8c8817fa8e2428a9bd1656aad1df34f"
	    "e",
	    "d9b9ba898d725844975345286a19d84ec3bc14ed8539f69bf6fb21ce59bdee14"
	    "6022654d324bb3378f5ddfb51bf102c5fadc88c19b1552203b8cc74063cbed6e"
	    "00");
}

/* Sign's key is ("vms", "signing"); three published signatures. */
Test(appkeys, published_signatures)
{
	const struct bytes data = BYTES_STR("dstack test message");
	struct k256_secret s = app_key(SIM_KEY);
	struct appkey k;
	uint8_t sig[64], digest[32];

	cr_assert_eq(
	    appkey_derive(&k, &s, "vms", "signing", APPKEY_SECP256K1), ERR_OK);
	cr_assert_eq(appkey_sign(sig, &k, data), ERR_OK);
	cr_assert(facts_eq(sig, 64,
	    "5c6f9dd4feddf0c0a3a54c84ef365f20fe68f2f160695f7ece2dccf906e95ca0"
	    "309c76e62bb7dae8405d625473ffdbee3455b90e9d8da814f9327ada044d71f"
	    "3"));
	keccak256_v(digest, &data, 1);
	cr_assert_eq(appkey_sign_digest(sig, &k, digest), ERR_OK);
	cr_assert(facts_eq(sig, 64,
	    "d9f0eb0b3ada8f8073fa2440401ba3da33560c2bd691d9a5accf7807c412476f"
	    "1342425ef06e51c3ebb89d8df8d5bef5de57eb82730da80adadc541ed7f0cd1"
	    "f"));
	cr_assert_eq(
	    appkey_derive(&k, &s, "vms", "signing", APPKEY_ED25519), ERR_OK);
	cr_assert_eq(appkey_sign(sig, &k, data), ERR_OK);
	cr_assert(facts_eq(sig, 64,
	    "6d3d96c9d66d941f932b79511fb70a198a6bae2da81ce0aab151d379effb4a4f"
	    "6b90cb69712b18b290077d107e7041cf75915edf0a93de3ee0296c9c3451f20"
	    "6"));
	/* A digest is no message of ed25519. */
	cr_assert_eq(appkey_sign_digest(sig, &k, digest), ERR_UNSUPPORTED);
	appkey_wipe(&k);
}

/* Every row of the shared vectors, three app keys in all. */
Test(appkeys, all_rows)
{
	static const char *const set[] = { "sim-v0.5.3", "sim-head",
		"kms-synthetic" };
	json_t *all = facts_json("dstack/vectors.json"), *v;
	size_t i;

	for (int n = 0; n < 3; n++) {
		json_t *s = facts_get(all, set[n]);

		json_array_foreach(facts_get(s, "get_key"), i, v)
		{
			row(facts_str(s, "k256_key"), facts_str(v, "path"),
			    facts_str(v, "purpose"), facts_str(v, "algorithm"),
			    facts_str(v, "key"), facts_str(v, "public_key"),
			    json_string_value(json_array_get(
				facts_get(v, "signature_chain"), 0)));
		}
	}
	json_decref(all);
}

/* Other words are no algorithm, nor are these in another case. */
Test(appkeys, algorithms_refused)
{
	static const char *const bad[] = { "", "secp256k1_prehashed",
		"SECP256K1", "ed25519 ", "p256", "k2" };
	enum appkey_algorithm alg = APPKEY_ED25519;

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		cr_assert_eq(appkey_algorithm(&alg, bad[i]), ERR_UNSUPPORTED);
	cr_assert_eq(alg, APPKEY_ED25519);
}

/* A path that is too long, or an app key that is none, gives no key and
 * leaves the output alone. */
Test(appkeys, derive_refusals)
{
	static char path[8192];
	struct k256_secret s = app_key(SIM_KEY), none = { 0 };
	struct appkey k = { .pub_len = 7 };

	memset(path, 'a', sizeof path - 1);
	cr_assert_eq(
	    appkey_derive(&k, &s, path, "", APPKEY_SECP256K1), ERR_LIMIT);
	cr_assert_eq(
	    appkey_derive(&k, &none, "", "", APPKEY_ED25519), ERR_MALFORMED);
	cr_assert_eq(k.pub_len, 7);
}
