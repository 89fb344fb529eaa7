/* Hashes, secp256k1, P-256: known answers, and what they must refuse. */
#include <string.h>

#include <criterion/criterion.h>
#include <openssl/evp.h>

#include "common/base/secret.h"
#include "common/crypto/hash.h"
#include "common/crypto/k256.h"
#include "common/crypto/keccak.h"
#include "common/crypto/p256.h"
#include "tests/lib/facts.h"

/* secp256k1's order n, and n / 2 (the largest low S). */
#define K256_N \
	"fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141"
/* P-256's order n. */
#define P256_N \
	"ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551"

static struct k256_secret
k256_fixed(const char *hex)
{
	struct k256_secret s;

	facts_hex(s.b, sizeof s.b, hex);
	return s;
}

static struct p256_secret
p256_fixed(const char *hex)
{
	struct p256_secret s;

	facts_hex(s.b, sizeof s.b, hex);
	return s;
}

/* FIPS 180-4 examples ("abc"); parts hash as their concatenation. */
Test(hash, sha2)
{
	const struct bytes part[] = { BYTES_STR("a"), { NULL, 0 },
		BYTES_STR("bc") };
	uint8_t h[64], g[64];

	sha256(h, "abc", 3);
	cr_assert(facts_eq(h, 32,
	    "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015a"
	    "d"));
	sha256_v(g, part, 3);
	cr_assert_arr_eq(g, h, 32);
	sha384(h, "abc", 3);
	cr_assert(facts_eq(h, 48,
	    "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed"
	    "8086072ba1e7cc2358baeca134c825a7"));
	sha384_v(g, part, 3);
	cr_assert_arr_eq(g, h, 48);
	sha512(h, "abc", 3);
	cr_assert(facts_eq(h, 64,
	    "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
	    "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49"
	    "f"));
	sha512_v(g, part, 3);
	cr_assert_arr_eq(g, h, 64);
}

/* RFC 4231 cases 1 and 2; an empty key is a key, not the last one again. */
Test(hash, hmac)
{
	uint8_t key[20], h[32], g[32];

	memset(key, 0x0b, sizeof key);
	hmac_sha256(h, key, sizeof key, "Hi There", 8);
	cr_assert(facts_eq(h, 32,
	    "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff"
	    "7"));
	hmac_sha256(
	    h, (const uint8_t *)"Jefe", 4, "what do ya want for nothing?", 28);
	cr_assert(facts_eq(h, 32,
	    "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec384"
	    "3"));
	hmac_sha256(h, NULL, 0, "", 0);
	cr_assert(facts_eq(h, 32,
	    "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5a"
	    "d"));
	hmac_sha256(g, key, 0, "", 0);
	cr_assert_arr_eq(g, h, 32);
}

/* RFC 5869 appendix A, test cases 1 to 3. */
Test(hkdf, rfc5869)
{
	uint8_t ikm[80], salt[80], info[80], okm[82];

	memset(ikm, 0x0b, 22);
	for (uint8_t i = 0; i < 13; i++)
		salt[i] = i;
	for (uint8_t i = 0; i < 10; i++)
		info[i] = (uint8_t)(0xf0 + i);
	cr_assert_eq(
	    hkdf_sha256(okm, 42, (struct bytes){ salt, 13 },
		(struct bytes){ ikm, 22 }, &(struct bytes){ info, 10 }, 1),
	    ERR_OK);
	cr_assert(facts_eq(okm, 42,
	    "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf"
	    "34007208d5b887185865"));
	for (uint8_t i = 0; i < 80; i++) {
		ikm[i] = i;
		salt[i] = (uint8_t)(0x60 + i);
		info[i] = (uint8_t)(0xb0 + i);
	}
	/* The info in three parts: only the concatenation counts. */
	cr_assert_eq(hkdf_sha256(okm, 82, BYTES_OF(salt), BYTES_OF(ikm),
			 (const struct bytes[]){
			     { info, 1 }, { NULL, 0 }, { info + 1, 79 } },
			 3),
	    ERR_OK);
	cr_assert(facts_eq(okm, 82,
	    "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c"
	    "59045a99cac7827271cb41c65e590e09da3275600c2f09b8367793a9aca3db71"
	    "cc30c58179ec3e87c14c01d5c1f3434f1d87"));
	memset(ikm, 0x0b, 22);
	cr_assert_eq(hkdf_sha256(okm, 42, (struct bytes){ NULL, 0 },
			 (struct bytes){ ikm, 22 }, NULL, 0),
	    ERR_OK);
	cr_assert(facts_eq(okm, 42,
	    "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d"
	    "9d201395faa4b61a96c8"));
}

/* Output above 255 blocks and info above its bound are refused, also when
 * the sum of the parts would overflow. */
Test(hkdf, limits)
{
	static uint8_t okm[255 * 32 + 1], info[5 * 1024 + 1];
	const struct bytes none = { NULL, 0 }, key = BYTES_STR("k");
	const struct bytes huge[] = { { info, 2 }, { info, SIZE_MAX } };

	cr_assert_eq(
	    hkdf_sha256(okm, sizeof okm, none, key, NULL, 0), ERR_LIMIT);
	cr_assert_eq(
	    hkdf_sha256(okm, sizeof okm - 1, none, key, NULL, 0), ERR_OK);
	cr_assert_eq(hkdf_sha256(okm, 32, none, key,
			 &(struct bytes){ info, sizeof info }, 1),
	    ERR_LIMIT);
	cr_assert_eq(hkdf_sha256(okm, 32, none, key,
			 &(struct bytes){ info, sizeof info - 1 }, 1),
	    ERR_OK);
	cr_assert_eq(hkdf_sha256(okm, 32, none, key, huge, 2), ERR_LIMIT);
}

/* Zero, n and anything above are no scalars; n - 1 is one. */
Test(k256, scalar_range)
{
	struct k256_secret s = { 0 };
	struct k256_pub pub;
	struct k256_sig65 sig;
	uint8_t digest[32] = { 1 };

	cr_assert(!k256_secret_valid(&s));
	cr_assert_eq(k256_pubkey(&pub, &s), ERR_MALFORMED);
	cr_assert_eq(k256_sign_digest(&sig, &s, digest), ERR_MALFORMED);
	s = k256_fixed(K256_N);
	cr_assert(!k256_secret_valid(&s));
	cr_assert_eq(k256_pubkey(&pub, &s), ERR_MALFORMED);
	cr_assert_eq(k256_sign_digest(&sig, &s, digest), ERR_MALFORMED);
	memset(s.b, 0xff, sizeof s.b);
	cr_assert(!k256_secret_valid(&s));
	s = k256_fixed(K256_N);
	s.b[31]--;
	cr_assert(k256_secret_valid(&s));
	cr_assert_eq(k256_pubkey(&pub, &s), ERR_OK);
	k256_secret_wipe(&s);
	cr_assert(!k256_secret_valid(&s));
}

/* Key 1 has the generator as its point, and a known address. */
Test(k256, generator)
{
	struct k256_secret s = { 0 };
	struct k256_pub pub, again;
	uint8_t full[65], addr[20];

	s.b[31] = 1;
	cr_assert_eq(k256_pubkey(&pub, &s), ERR_OK);
	cr_assert(facts_eq(pub.b, 33,
	    "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f8179"
	    "8"));
	cr_assert_eq(k256_address(addr, &pub), ERR_OK);
	cr_assert(
	    facts_eq(addr, 20, "7e5f4552091a69125d5dfcb7b8c2659029395bdf"));
	cr_assert_eq(k256_pub_uncompressed(full, &pub), ERR_OK);
	cr_assert_eq(k256_pub_parse(&again, full, 65), ERR_OK);
	cr_assert_arr_eq(again.b, pub.b, 33);
	cr_assert_eq(k256_pub_parse(&again, pub.b, 33), ERR_OK);
	cr_assert_arr_eq(again.b, pub.b, 33);
}

/* Points off the curve, hybrid forms and other lengths are refused. */
Test(k256, points_refused)
{
	struct k256_secret s = { 0 };
	struct k256_pub pub, bad;
	uint8_t full[66] = { 0 }, addr[20];

	s.b[31] = 3;
	cr_assert_eq(k256_pubkey(&pub, &s), ERR_OK);
	cr_assert_eq(k256_pub_uncompressed(full, &pub), ERR_OK);
	for (size_t n = 0; n <= sizeof full; n++)
		if (n != 65)
			cr_assert_eq(
			    k256_pub_parse(&bad, full, n), ERR_MALFORMED);
	full[0] = 6;
	cr_assert_eq(k256_pub_parse(&bad, full, 65), ERR_MALFORMED);
	full[0] = 7;
	cr_assert_eq(k256_pub_parse(&bad, full, 65), ERR_MALFORMED);
	full[0] = 4;
	full[64] ^= 1;
	cr_assert_eq(k256_pub_parse(&bad, full, 65), ERR_MALFORMED);
	memset(bad.b, 0xff, sizeof bad.b);
	bad.b[0] = 2;
	cr_assert_eq(k256_pub_uncompressed(full, &bad), ERR_MALFORMED);
	cr_assert_eq(k256_address(addr, &bad), ERR_MALFORMED);
	cr_assert_eq(k256_pub_parse(&pub, bad.b, 33), ERR_MALFORMED);
}

/* RFC 6979 with HMAC-SHA-256: the well known answer for key 1 over
 * SHA-256("Satoshi Nakamoto"), twice the same, always low-S. */
Test(k256, rfc6979)
{
	static const uint8_t half_n[32] = { 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff,
		0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
		0x5d, 0x57, 0x6e, 0x73, 0x57, 0xa4, 0x50, 0x1d, 0xdf, 0xe9,
		0x2f, 0x46, 0x68, 0x1b, 0x20, 0xa0 };
	struct k256_secret s = { 0 };
	struct k256_sig65 sig, again;
	uint8_t digest[32];

	s.b[31] = 1;
	sha256(digest, "Satoshi Nakamoto", 16);
	cr_assert_eq(k256_sign_digest(&sig, &s, digest), ERR_OK);
	cr_assert(facts_eq(sig.b, 64,
	    "934b1ea10a4b3c1757e2b0c017d0b6143ce3c9a7e6a4a49860d7a6ab210ee3d8"
	    "2442ce9d2b916064108014783e923ec36b49743e2ffa1c4496f01a512aafd9e"
	    "5"));
	cr_assert_eq(k256_sign_digest(&again, &s, digest), ERR_OK);
	cr_assert_arr_eq(again.b, sig.b, 65);
	for (uint8_t i = 0; i < 64; i++) {
		digest[0] = i;
		cr_assert_eq(k256_sign_digest(&sig, &s, digest), ERR_OK);
		cr_assert_leq(memcmp(sig.b + 32, half_n, 32), 0);
		cr_assert_leq(sig.b[64], 1);
	}
}

/* Recovery yields the signer, with v or v + 27; any other v, a high S, zero
 * or over-large r and s are malformed; another digest is another key. */
Test(k256, recover)
{
	struct k256_secret s = k256_fixed(
	    "e0e5d254fb944dcc370a2e5288b336a1e809871545a73ee645368957fefa31f9");
	const struct bytes part[] = { BYTES_STR("ab"), BYTES_STR("c") };
	struct k256_pub pub, got;
	struct k256_sig65 sig, bad;
	uint8_t digest[32], n[32];
	unsigned borrow = 0;

	keccak256(digest, "abc", 3);
	facts_hex(n, 32, K256_N);
	cr_assert_eq(k256_pubkey(&pub, &s), ERR_OK);
	cr_assert_eq(k256_sign65(&sig, &s, part, 2), ERR_OK);
	cr_assert_eq(k256_recover65(&got, &sig, part, 2), ERR_OK);
	cr_assert_arr_eq(got.b, pub.b, 33);
	for (unsigned v = 0; v < 256; v++) {
		bool ok = v < 2 || v == 27 || v == 28;

		bad = sig;
		bad.b[64] = (uint8_t)v;
		if (!ok)
			cr_assert_eq(k256_recover_digest(&got, &bad, digest),
			    ERR_MALFORMED, "v %u", v);
	}
	bad = sig;
	bad.b[64] = (uint8_t)(sig.b[64] + 27);
	cr_assert_eq(k256_recover_digest(&got, &bad, digest), ERR_OK);
	cr_assert_arr_eq(got.b, pub.b, 33);

	/* s' = n - s with the other v is the same key's malleated form. */
	bad = sig;
	for (int i = 31; i >= 0; i--) {
		unsigned d = (unsigned)n[i] - sig.b[32 + i] - borrow;

		bad.b[32 + i] = (uint8_t)d;
		borrow = d >> 31;
	}
	bad.b[64] ^= 1;
	cr_assert_eq(k256_recover_digest(&got, &bad, digest), ERR_MALFORMED);
	cr_assert_eq(k256_verify_digest(&pub, bad.b, digest), ERR_AUTH);

	bad = sig;
	memcpy(bad.b, n, 32);
	cr_assert_eq(k256_recover_digest(&got, &bad, digest), ERR_MALFORMED);
	bad = sig;
	memcpy(bad.b + 32, n, 32);
	cr_assert_eq(k256_recover_digest(&got, &bad, digest), ERR_MALFORMED);
	bad = sig;
	memset(bad.b, 0, 32);
	cr_assert_neq(k256_recover_digest(&got, &bad, digest), ERR_OK);
	bad = sig;
	memset(bad.b + 32, 0, 32);
	cr_assert_neq(k256_recover_digest(&got, &bad, digest), ERR_OK);

	digest[0] ^= 1;
	if (k256_recover_digest(&got, &sig, digest) == ERR_OK)
		cr_assert_neq(memcmp(got.b, pub.b, 33), 0);
}

/* A signature is of one digest and one key: every flipped bit is refused. */
Test(k256, verify_every_bit)
{
	struct k256_secret s = { 0 };
	struct k256_pub pub, other;
	struct k256_sig65 sig;
	uint8_t digest[32];

	s.b[31] = 9;
	sha256(digest, "x", 1);
	cr_assert_eq(k256_pubkey(&pub, &s), ERR_OK);
	cr_assert_eq(k256_sign_digest(&sig, &s, digest), ERR_OK);
	cr_assert_eq(k256_verify_digest(&pub, sig.b, digest), ERR_OK);
	for (size_t i = 0; i < 64 * 8; i += 3) {
		sig.b[i / 8] ^= (uint8_t)(1u << i % 8);
		cr_assert_neq(k256_verify_digest(&pub, sig.b, digest), ERR_OK);
		sig.b[i / 8] ^= (uint8_t)(1u << i % 8);
	}
	digest[31] ^= 1;
	cr_assert_eq(k256_verify_digest(&pub, sig.b, digest), ERR_AUTH);
	digest[31] ^= 1;
	s.b[31] = 10;
	cr_assert_eq(k256_pubkey(&other, &s), ERR_OK);
	cr_assert_eq(k256_verify_digest(&other, sig.b, digest), ERR_AUTH);
	pub.b[0] = 5;
	cr_assert_eq(k256_verify_digest(&pub, sig.b, digest), ERR_MALFORMED);
}

/* Generated keys are valid and differ. */
Test(generate, fresh)
{
	struct k256_secret a, b;
	struct p256_secret c, d;

	k256_generate(&a);
	k256_generate(&b);
	cr_assert(k256_secret_valid(&a));
	cr_assert_neq(memcmp(&a, &b, sizeof a), 0);
	p256_generate(&c);
	p256_generate(&d);
	cr_assert(p256_secret_valid(&c));
	cr_assert_neq(memcmp(&c, &d, sizeof c), 0);
}

/* Zero, n and above are no scalars of P-256 either. */
Test(p256, scalar_range)
{
	struct p256_secret s = { 0 };
	struct p256_pub pub;
	uint8_t der[P256_PKCS8_LEN], sig[80];
	size_t n;

	for (int i = 0; i < 3; i++) {
		if (i == 1)
			s = p256_fixed(P256_N);
		if (i == 2)
			memset(s.b, 0xff, sizeof s.b);
		cr_assert(!p256_secret_valid(&s));
		cr_assert_eq(p256_pubkey(&pub, &s), ERR_MALFORMED);
		cr_assert_eq(p256_pkcs8(der, &s), ERR_MALFORMED);
		cr_assert_null(p256_evp_secret(&s));
		cr_assert_eq(p256_sign_raw(sig, &s, "m", 1), ERR_MALFORMED);
		cr_assert_eq(p256_sign_der(sig, &n, &s, "m", 1), ERR_MALFORMED);
	}
	s = p256_fixed(P256_N);
	s.b[31]--;
	cr_assert(p256_secret_valid(&s));
	cr_assert_eq(p256_pubkey(&pub, &s), ERR_OK);
}

/* Fixed DER forms: RFC 6979 A.2.5's key, SPKI and PKCS#8 in exactly their
 * lengths, readable by OpenSSL as that key. */
Test(p256, der_forms)
{
	struct p256_secret s = p256_fixed(
	    "c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721");
	struct p256_pub pub, got;
	uint8_t spki[P256_SPKI_LEN], pkcs8[P256_PKCS8_LEN];
	const uint8_t *p = pkcs8;
	EVP_PKEY *key, *same;

	cr_assert_eq(p256_pubkey(&pub, &s), ERR_OK);
	cr_assert(facts_eq(pub.xy, 64,
	    "60fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb6"
	    "7903fe1008b8bc99a41ae9e95628bc64f2f1b20c2d7e9f5177a3c294d446229"
	    "9"));
	cr_assert_eq(p256_spki(spki, &pub), ERR_OK);
	cr_assert_eq(p256_spki_parse(&got, spki, sizeof spki), ERR_OK);
	cr_assert_arr_eq(got.xy, pub.xy, 64);
	cr_assert_eq(p256_pkcs8(pkcs8, &s), ERR_OK);
	key = d2i_AutoPrivateKey(NULL, &p, sizeof pkcs8);
	same = p256_evp_secret(&s);
	cr_assert_eq(p - pkcs8, P256_PKCS8_LEN);
	cr_assert_eq(EVP_PKEY_eq(key, same), 1);
	EVP_PKEY_free(key);
	EVP_PKEY_free(same);
}

/* Any change of an SPKI's frame, of its length, or a point that is not on
 * the curve is malformed. */
Test(p256, spki_refusals)
{
	struct p256_secret s = { 0 };
	struct p256_pub pub, got;
	uint8_t spki[P256_SPKI_LEN + 1] = { 0 };

	s.b[31] = 2;
	cr_assert_eq(p256_pubkey(&pub, &s), ERR_OK);
	cr_assert_eq(p256_spki(spki, &pub), ERR_OK);
	for (size_t n = 0; n <= sizeof spki; n++)
		if (n != P256_SPKI_LEN)
			cr_assert_eq(
			    p256_spki_parse(&got, spki, n), ERR_MALFORMED);
	for (size_t i = 0; i < P256_SPKI_LEN; i++) {
		spki[i] ^= 1;
		cr_assert_eq(p256_spki_parse(&got, spki, P256_SPKI_LEN),
		    ERR_MALFORMED, "byte %zu", i);
		spki[i] ^= 1;
	}
	memset(pub.xy, 0, 64);
	cr_assert_eq(p256_pub_check(&pub), ERR_MALFORMED);
	memset(pub.xy, 0xff, 64);
	cr_assert_eq(p256_pub_check(&pub), ERR_MALFORMED);
	cr_assert_null(p256_evp_public(&pub));
}

/* RFC 6979 A.2.5 signature over "sample" verifies in both forms; every
 * other message, key or bit does not. */
Test(p256, verify)
{
	struct p256_secret s = p256_fixed(
	    "c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721");
	struct p256_pub pub, other;
	uint8_t sig[64], der[80];
	size_t n;

	cr_assert_eq(p256_pubkey(&pub, &s), ERR_OK);
	facts_hex(sig, 64,
	    "efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716"
	    "f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8");
	cr_assert_eq(p256_verify_raw(&pub, sig, "sample", 6), ERR_OK);
	cr_assert_eq(p256_verify_raw(&pub, sig, "sampl", 5), ERR_AUTH);
	for (size_t i = 0; i < 64; i++) {
		sig[i] ^= 0x10;
		cr_assert_eq(p256_verify_raw(&pub, sig, "sample", 6), ERR_AUTH);
		sig[i] ^= 0x10;
	}
	s.b[31] ^= 1;
	cr_assert_eq(p256_pubkey(&other, &s), ERR_OK);
	cr_assert_eq(p256_verify_raw(&other, sig, "sample", 6), ERR_AUTH);
	memset(other.xy, 1, 64);
	cr_assert_eq(p256_verify_raw(&other, sig, "sample", 6), ERR_MALFORMED);
	memset(sig, 0, 64);
	cr_assert_eq(p256_verify_raw(&pub, sig, "sample", 6), ERR_AUTH);

	s.b[31] ^= 1;
	cr_assert_eq(p256_sign_raw(sig, &s, "m", 1), ERR_OK);
	cr_assert_eq(p256_verify_raw(&pub, sig, "m", 1), ERR_OK);
	cr_assert_eq(p256_sign_der(der, &n, &s, "m", 1), ERR_OK);
	cr_assert_leq(n, 72);
	cr_assert_eq(p256_verify_der(&pub, der, n, "m", 1), ERR_OK);
	cr_assert_eq(p256_verify_der(&pub, der, n - 1, "m", 1), ERR_AUTH);
	cr_assert_eq(p256_verify_der(&pub, der, n, "n", 1), ERR_AUTH);
	cr_assert_eq(p256_verify_der(&pub, der, 0, "m", 1), ERR_AUTH);
}
