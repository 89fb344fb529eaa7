/* Keys of the v2 form, by another implementation, and that no two uses share
 * bytes. */
#include <string.h>

#include <criterion/criterion.h>

#include "common/crypto/v2key.h"
#include "tests/lib/facts.h"

static struct v2key_owner owner;
static struct k256_secret replica;

static void
init(void)
{
	owner.epoch = 7;
	facts_hex(owner.app_id, 20, "00112233445566778899aabbccddeeff00112233");
	facts_hex(
	    owner.instance_id, 20, "a0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3");
	facts_hex(replica.b, 32,
	    "46f45c036bb4d30b55c148e2c84afd55aa0660d32ccc9a2867c26cbf76bbdc0"
	    "c");
}

TestSuite(v2key, .init = init);

static void
derive(uint8_t out[static 32], const char *label, const char *algorithm,
    struct bytes path)
{
	cr_assert_eq(
	    v2key_derive(out, replica.b, label, algorithm, &owner, path),
	    ERR_OK);
}

/* Two keys of a path, one for each algorithm. */
Test(v2key, values)
{
	uint8_t k[32];

	derive(k, V2KEY_REPLICA_KEY, "secp256k1", BYTES_STR("/db"));
	cr_assert(facts_eq(k, 32,
	    "7c8f03f20fed052d95a69087fef79a20347d1fafc0d2dafcc74ed1d4eea30f9"
	    "4"));
	derive(k, V2KEY_REPLICA_KEY, "ed25519", BYTES_STR("/db"));
	cr_assert(facts_eq(k, 32,
	    "dfc414411dacbf0b19d35fa4e526f23c8eb532653ee3b03a5c73e18224929e8"
	    "3"));
}

/* Bytes that move from one field to the next make another key. */
Test(v2key, no_two_alike)
{
	uint8_t k[8][32];

	derive(k[0], "ab", "c", BYTES_STR("d"));
	derive(k[1], "a", "bc", BYTES_STR("d"));
	derive(k[2], "ab", "", BYTES_STR("cd"));
	derive(k[3], "ab", "c", BYTES_STR(""));
	derive(k[4], "ab", "c", BYTES_STR("d\0"));
	owner.epoch++;
	derive(k[5], "ab", "c", BYTES_STR("d"));
	owner.instance_id[0] ^= 1;
	derive(k[6], "ab", "c", BYTES_STR("d"));
	replica.b[0] ^= 1;
	derive(k[7], "ab", "c", BYTES_STR("d"));
	for (size_t i = 0; i < 8; i++)
		for (size_t j = 0; j < i; j++)
			cr_assert_neq(
			    memcmp(k[i], k[j], 32), 0, "%zu %zu", i, j);
}

/* A path of 4 KiB has room, one of 8 does not. */
Test(v2key, path_limit)
{
	static uint8_t path[8192];
	uint8_t k[32];

	derive(k, V2KEY_REPLICA_KEY, "secp256k1", (struct bytes){ path, 4096 });
	cr_assert_eq(v2key_derive(k, replica.b, V2KEY_REPLICA_KEY, "secp256k1",
			 &owner, (struct bytes){ path, sizeof path }),
	    ERR_LIMIT);
}

/* The replica's word on a key: byte for byte, and of nothing else. */
Test(v2key, claim)
{
	uint8_t pub[33];
	struct v2key_claim claim = { .algorithm = "secp256k1",
		.path = BYTES_STR("/db"),
		.purpose = BYTES_STR("signing"),
		.pub = { pub, 33 } };
	struct k256_sig65 sig;
	struct k256_pub want, got;

	facts_hex(pub, 33,
	    "02fd3e477f0833f886f1123b5192a40751e5a6ed8c37fabc12395fe1b9bc0a736"
	    "9");
	cr_assert_eq(v2key_sign_claim(&sig, &replica, &claim), ERR_OK);
	cr_assert(facts_eq(sig.b, 65,
	    "08c3f7540b698163b30aec67e63131ed17c0f7a9742de49365137e5be09d8e73"
	    "1f7815cf1aeb7deb834090c846ae279449a8a6ea5b7ffd74748d16943d78bcfe"
	    "01"));
	cr_assert_eq(k256_pubkey(&want, &replica), ERR_OK);
	cr_assert_eq(v2key_recover_claim(&got, &sig, &claim), ERR_OK);
	cr_assert_arr_eq(got.b, want.b, 33);
	claim.path = BYTES_STR("/dbs");
	claim.purpose = BYTES_STR("igning");
	if (v2key_recover_claim(&got, &sig, &claim) == ERR_OK)
		cr_assert_neq(memcmp(got.b, want.b, 33), 0);
}
