/* dstack's KDF and links against published values: dstack-compat.md 2.6. */
#include <string.h>

#include <criterion/criterion.h>

#include "common/crypto/dstack.h"
#include "common/crypto/hash.h"
#include "tests/lib/facts.h"

/* The published vector of DH; the split of the info does not matter. */
Test(dstack, dh_published)
{
	static const char want[] =
	    "663afd58820be8ad645f9c035e93199d114ab16f738db62393bc1d7d623e8813";
	const struct bytes one[] = { BYTES_STR("context one"),
		BYTES_STR("context two") };
	const struct bytes two[] = { BYTES_STR("context onecontext two") };
	uint8_t ikm[32], out[32];

	facts_hex(ikm, 32,
	    "f57527cea4ab7ffb49af99b158cdc0e3ec06398f528349ea236b7d2afe19cec1");
	cr_assert_eq(dstack_kdf_dh(out, ikm, one, 2), ERR_OK);
	cr_assert(facts_eq(out, 32, want));
	cr_assert_eq(dstack_kdf_dh(out, ikm, two, 1), ERR_OK);
	cr_assert(facts_eq(out, 32, want));
}

/* The local provider's three keys from one seed (vector e). */
Test(dstack, local_provider)
{
	const struct bytes ca = BYTES_STR("app-key");
	const struct bytes disk = BYTES_STR("app-disk-key");
	const struct bytes k256 = BYTES_STR("app-k256-key");
	struct p256_secret s;
	uint8_t seed[32], out[32];

	facts_hex(seed, 32,
	    "bdd502afd461d6626f0e1d18824143a5862046c3d866297ca8b8c7588ce20a13");
	cr_assert_eq(dstack_kdf_p256(&s, seed, &ca, 1), ERR_OK);
	cr_assert(facts_eq(s.b, 32,
	    "f84df471e91d28fa715b4b5f5ca07ded1a6282ce8211de137c70a9c4491e149"
	    "2"));
	cr_assert_eq(dstack_kdf_dh(out, seed, &disk, 1), ERR_OK);
	cr_assert(facts_eq(out, 32,
	    "1576b5cddbfe0967021bddc25d08a6ceb4db205edf0b01b81d6b42eb166b808"
	    "c"));
	cr_assert_eq(dstack_kdf(out, seed, &k256, 1), ERR_OK);
	cr_assert(facts_eq(out, 32,
	    "9f072d438a1375325abfc174e8468dfedb542fae261e359aeb5ffffee60e397"
	    "e"));
}

/* Context that is too long is refused and leaves the outputs alone. */
Test(dstack, kdf_limit)
{
	static const uint8_t info[8192];
	const struct bytes part = BYTES_OF(info);
	const uint8_t ikm[32] = { 1 };
	struct p256_secret s = { { 7 } };
	uint8_t out[32] = { 7 };

	cr_assert_eq(dstack_kdf(out, ikm, &part, 1), ERR_LIMIT);
	cr_assert_eq(dstack_kdf_p256(&s, ikm, &part, 1), ERR_LIMIT);
	cr_assert_eq(dstack_kdf_dh(out, ikm, &part, 1), ERR_LIMIT);
	cr_assert_eq(out[0], 7);
	cr_assert_eq(s.b[0], 7);
}

/* The 0.5.3 simulator's link 1 recovers its published root, and any other
 * app id or app key recovers another one (vector a). */
Test(dstack, link1_of_the_simulator)
{
	uint8_t app_id[20], address[20];
	struct k256_pub app, root;
	struct k256_sig65 sig;

	facts_hex(app_id, 20, "ea549f02e1a25fabd1cb788380e033ec5461b2ff");
	facts_hex(app.b, 33,
	    "02b85cceca0c02d878f0ebcda72a97469a472416eb6faf3c4807642132f978681"
	    "0");
	facts_hex(sig.b, 65,
	    "2f431c7956869a4fe3e028c5f9518a935e2d01e81a3628f8b1d178fc2fac7b6d"
	    "2405ace433624e5568e23c4ed291dbaf60dac79b756837c0fe745154ebfdc0a6"
	    "01");
	cr_assert_eq(dstack_recover_app(&root, &sig, app_id, &app), ERR_OK);
	cr_assert(facts_eq(root.b, 33,
	    "02cad3a8bb11c5c0858fb3e402048b5137457039d577986daade678ed4b4ab1b9"
	    "b"));
	cr_assert_eq(k256_address(address, &root), ERR_OK);
	cr_assert(
	    facts_eq(address, 20, "8f2cf602c9695b23130367ed78d8f557554de7c5"));
	app_id[0] ^= 1;
	if (dstack_recover_app(&root, &sig, app_id, &app) == ERR_OK) {
		cr_assert_eq(k256_address(address, &root), ERR_OK);
		cr_assert_neq(address[0], 0x8f);
	}
}

/* Link 0 is the published one, and recovers only for its purpose and key. */
Test(dstack, link0_published)
{
	const struct bytes path = BYTES_STR("test");
	struct k256_secret app, key;
	struct k256_pub pub, app_pub, got;
	struct k256_sig65 sig;

	facts_hex(app.b, 32,
	    "1a2b3c4d5e6f7a8b9c0d1e2f3a4b5c6d7e8f9a0b1c2d3e4f5a6b7c8d9e0f1a2b");
	cr_assert_eq(k256_pubkey(&app_pub, &app), ERR_OK);
	cr_assert_eq(dstack_kdf(key.b, app.b, &path, 1), ERR_OK);
	cr_assert_eq(k256_pubkey(&pub, &key), ERR_OK);
	cr_assert_eq(
	    dstack_sign_purpose(&sig, &app, "signing", BYTES_OF(pub.b)),
	    ERR_OK);
	cr_assert(facts_eq(sig.b, 65,
	    "c8a3dcf06c4e95bd78a5d7a1c8fcff171fc5848cfae804c6fc11bda4dc5d4062"
	    "379995390843827444992c4c0e4bac70f0f878e01b9fc8b98cd7126fe5a3876b"
	    "01"));
	cr_assert_eq(
	    dstack_recover_purpose(&got, &sig, "signing", BYTES_OF(pub.b)),
	    ERR_OK);
	cr_assert_arr_eq(got.b, app_pub.b, 33);
	if (dstack_recover_purpose(&got, &sig, "signinh", BYTES_OF(pub.b)) ==
	    ERR_OK)
		cr_assert_neq(memcmp(got.b, app_pub.b, 33), 0);
}

/* Only 32- and 33-byte public keys are named; a bad root signs nothing. */
Test(dstack, refusals)
{
	const uint8_t app_id[20] = { 1 }, pub[65] = { 2 };
	struct k256_secret none = { 0 }, one = { 0 };
	struct k256_pub app = { { 2 } }, got;
	struct k256_sig65 sig = { 0 };

	one.b[31] = 1;
	for (size_t n = 0; n <= sizeof pub; n++) {
		if (n == 32 || n == 33)
			continue;
		cr_assert_eq(dstack_sign_purpose(
				 &sig, &one, "p", (struct bytes){ pub, n }),
		    ERR_MALFORMED);
		cr_assert_eq(dstack_recover_purpose(
				 &got, &sig, "p", (struct bytes){ pub, n }),
		    ERR_MALFORMED);
	}
	cr_assert_eq(dstack_sign_app(&sig, &none, app_id, &app), ERR_MALFORMED);
	cr_assert_neq(dstack_recover_app(&got, &sig, app_id, &app), ERR_OK);
}
