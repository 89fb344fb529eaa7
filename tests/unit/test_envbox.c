/* The encrypted environment of dstack, byte for byte (dstack-compat.md 2.6 c),
 * and nothing that was altered, is another's, or has no secret in it. */
#include <string.h>

#include <criterion/criterion.h>
#include <sodium.h>

#include "common/crypto/envbox.h"
#include "tests/lib/facts.h"

#define PLAIN \
	"{\"env\":[{\"key\":\"A\",\"value\":\"1\"},{\"key\":\"SECRET\"," \
	"\"value\":\"s3cr3t \xc3\xa9\"}]}"
#define BLOB \
	"d16fe0906f4fe43aa9592e32f40e2e69a8d7307457e0c65888c14b9b342a12453ca4" \
	"4f3bc919a07ec52688c360e259454f02bf331e2acc7bcf64b2f9fa4f84cce7977334" \
	"b8825f8d5bd91bb0996683f5ab26de79186e3416ac18270feedbd7a3eafea1ef6646" \
	"5bfb330156c59f4dcb39cc4189c7603ee45db185aaec0234656880f9"
#define BLOB_LEN (ENVBOX_OVERHEAD + sizeof PLAIN - 1)

static uint8_t secret[32], pub[32], eph[32], iv[12], app_id[20];

static void
init(void)
{
	cr_assert_geq(sodium_init(), 0);
	facts_hex(secret, 32,
	    "361c89a29376639af2b5bf279019e2bfb0090c13036e02d72e115d9478a4d5e3");
	facts_hex(pub, 32,
	    "eaf4a34ce90a552e93545ec883c2779b91a025c35b3d7427ac5bd5799cf2311c");
	facts_hex(eph, 32,
	    "f4c9aad3cb72bf622b5f3ccd81a97b849705868874bb9321df18e8f6a1997b47");
	facts_hex(iv, 12, "3ca44f3bc919a07ec52688c3");
	facts_hex(app_id, 20, "00112233445566778899aabbccddeeff00112233");
}

TestSuite(envbox, .init = init);

static const struct bytes plain = { (const uint8_t *)PLAIN, sizeof PLAIN - 1 };

/* Both ways, the published bytes. */
Test(envbox, vector)
{
	struct buf b = { 0 }, back = { 0 };

	cr_assert_eq(envbox_seal_with(&b, pub, eph, iv, plain), ERR_OK);
	cr_assert_eq(b.len, BLOB_LEN);
	cr_assert(facts_eq(b.p, b.len, BLOB));
	cr_assert_eq(envbox_open(&back, secret, buf_view(&b)), ERR_OK);
	cr_assert_eq(back.len, plain.len);
	cr_assert_arr_eq(back.p, plain.p, plain.len);
	buf_wipe(&back);
	buf_fini(&b);
}

/* Any bit, any missing end, any other key; the output is left alone. */
Test(envbox, refused)
{
	uint8_t other[32];
	struct buf b = { 0 }, out = { 0 };

	cr_assert_eq(buf_set(&out, "as before", 9), ERR_OK);
	cr_assert_eq(envbox_seal_with(&b, pub, eph, iv, plain), ERR_OK);
	for (size_t i = 0; i < 8 * b.len; i++) {
		/* X25519 ignores the top bit of a point: it is another
		 * encoding of the same, and the secret is the same. */
		if (i == 8 * 31 + 7)
			continue;
		b.p[i / 8] ^= (uint8_t)(1u << i % 8);
		cr_assert_eq(envbox_open(&out, secret, buf_view(&b)), ERR_AUTH);
		b.p[i / 8] ^= (uint8_t)(1u << i % 8);
	}
	for (size_t n = 0; n < b.len; n++)
		cr_assert_eq(
		    envbox_open(&out, secret, (struct bytes){ b.p, n }),
		    n < ENVBOX_OVERHEAD ? ERR_MALFORMED : ERR_AUTH);
	memcpy(other, secret, 32);
	other[9] ^= 1;
	cr_assert_eq(envbox_open(&out, other, buf_view(&b)), ERR_AUTH);
	cr_assert_eq(out.len, 9);
	cr_assert_arr_eq(out.p, "as before", 9);
	buf_fini(&out);
	buf_fini(&b);
}

/* Points of low order give a secret of zeros, which everybody knows. */
Test(envbox, low_order)
{
	static const char *const point[] = {
		"00000000000000000000000000000000000000000000000000000000000000"
		"00",
		"01000000000000000000000000000000000000000000000000000000000000"
		"00",
		"e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b8"
		"00",
		"5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f11"
		"57",
		"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
		"7f",
	};

	for (size_t i = 0; i < sizeof point / sizeof point[0]; i++) {
		uint8_t blob[ENVBOX_OVERHEAD + 4] = { 0 };
		struct buf out = { 0 };

		facts_hex(blob, 32, point[i]);
		cr_assert_eq(
		    envbox_open(&out, secret, BYTES_OF(blob)), ERR_AUTH);
		cr_assert_eq(envbox_seal(&out, blob, plain), ERR_AUTH);
		cr_assert_null(out.p);
	}
}

/* Never the same twice; an empty environment has a box as well. */
Test(envbox, fresh)
{
	struct buf a = { 0 }, b = { 0 }, out = { 0 };

	cr_assert_eq(envbox_seal(&a, pub, plain), ERR_OK);
	cr_assert_eq(envbox_seal(&b, pub, plain), ERR_OK);
	cr_assert_neq(memcmp(a.p, b.p, 32), 0);
	cr_assert_neq(memcmp(a.p + 32, b.p + 32, 12), 0);
	cr_assert_eq(envbox_open(&out, secret, buf_view(&b)), ERR_OK);
	cr_assert_eq(envbox_seal(&a, pub, (struct bytes){ NULL, 0 }), ERR_OK);
	cr_assert_eq(envbox_open(&out, secret, buf_view(&a)), ERR_OK);
	cr_assert_eq(out.len, 0);
	buf_fini(&a);
	buf_fini(&b);
	buf_wipe(&out);
}

/* The root signed it, for this app and this time. */
Test(envbox, signer)
{
	static const char root[] = "0214ddab997f8b050e2e0720a0ff5b268a76680e74"
				   "9ae8f25f151c9eb265e21338";
	const uint64_t at = 1700000000, later = 1700000001;
	struct k256_sig65 v0, v1;
	struct k256_pub got;

	facts_hex(v0.b, 65,
	    "ea6104aca5fa03e6cd68c9d1a84eddb4d22d7dee64cf12087a0fec57fddcc314"
	    "5342dae74494479c0810053a8c81ec534317bc6653d26dfb13c15b47c36beea3"
	    "01");
	facts_hex(v1.b, 65,
	    "d3fcd193a29ecc9aed68a76041ebc70cd850299ec32662c4cc70d6459bbf7e3a"
	    "5665508ae4dabe56324c4f33b68180d206dd1ef1e0c553495721efd63d6a714a"
	    "01");
	cr_assert_eq(envbox_signer(&got, &v0, app_id, NULL, pub), ERR_OK);
	cr_assert(facts_eq(got.b, 33, root));
	cr_assert_eq(envbox_signer(&got, &v1, app_id, &at, pub), ERR_OK);
	cr_assert(facts_eq(got.b, 33, root));
	/* Somebody else's word, or nobody's. */
	cr_assert(envbox_signer(&got, &v1, app_id, &later, pub) != ERR_OK ||
	    !facts_eq(got.b, 33, root));
	cr_assert(envbox_signer(&got, &v1, app_id, NULL, pub) != ERR_OK ||
	    !facts_eq(got.b, 33, root));
	app_id[3] ^= 1;
	cr_assert(envbox_signer(&got, &v1, app_id, &at, pub) != ERR_OK ||
	    !facts_eq(got.b, 33, root));
}
