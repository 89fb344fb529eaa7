/* Keys below a root: dstack's, byte for byte (dstack-compat.md 2.6 c), and
 * nothing from roots that are none. */
#include <string.h>

#include <criterion/criterion.h>
#include <sodium.h>

#include "common/base/wr.h"
#include "common/crypto/dstack.h"
#include "common/crypto/epochcert.h"
#include "common/crypto/hash.h"
#include "common/crypto/keccak.h"
#include "common/crypto/v2key.h"
#include "kms/keys/keys.h"
#include "tests/lib/facts.h"

#define ROOT_K256 \
	"c622788ad98b75b6ad16b7a2068e7b6fd12eef5aae26cc6778da9b6e0de70be4"
#define ROOT_CA \
	"8f0a4dfc3808125d1260447fc7588b7c9c93a27ddc69cc4f9b3c68e49e7788c0"

static uint8_t app_id[20], instance_id[20];

static void
init(void)
{
	cr_assert_geq(sodium_init(), 0);
	facts_hex(app_id, 20, "00112233445566778899aabbccddeeff00112233");
	facts_hex(instance_id, 20, "a0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3");
}

TestSuite(keys, .init = init);

static struct epoch_roots *
roots(uint64_t number, const char *k256, const char *ca)
{
	struct epoch_roots *r = NULL;
	uint8_t a[32], b[32];

	facts_hex(a, 32, k256);
	facts_hex(b, 32, ca);
	cr_assert_eq(epoch_roots_import(&r, number, a, b), ERR_OK);
	return r;
}

/* The public half of the published roots. */
Test(keys, public_half)
{
	struct epoch_roots *r = roots(7, ROOT_K256, ROOT_CA);
	struct epoch_public pub;
	uint8_t address[20], spki[P256_SPKI_LEN], rd[64];

	epoch_roots_public(r, &pub);
	cr_assert_eq(pub.number, 7);
	cr_assert(facts_eq(pub.k256.b, 33,
	    "0214ddab997f8b050e2e0720a0ff5b268a76680e749ae8f25f151c9eb265e2133"
	    "8"));
	cr_assert_eq(k256_address(address, &pub.k256), ERR_OK);
	cr_assert(
	    facts_eq(address, 20, "a7b3dc0fd7490846532babaf2fd2e8e170dc4bb1"));
	cr_assert_eq(p256_spki(spki, &pub.ca), ERR_OK);
	cr_assert(facts_eq(spki, sizeof spki,
	    "3059301306072a8648ce3d020106082a8648ce3d03010703420004f4608c1c2c"
	    "25d9fc8b152400e88a80711d212c71aee8693be40bf97fa03a87308ec8a98b6e"
	    "9326c75ca3e302cfef8a80ac03d38a88277765e2f91169748222b9"));
	keys_bootstrap_report_data(rd, &pub);
	cr_assert(facts_eq(rd, 64,
	    "4b0efc1f2e0f74b349ac444cb271574048c89c72c04b61c7fcde9456c14fbe64"
	    "000000000000000000000000000000000000000000000000000000000000000"
	    "0"));
	epoch_roots_free(r);
}

/* An app's keys, with an instance and without. */
Test(keys, app)
{
	struct epoch_roots *r = roots(0, ROOT_K256, ROOT_CA);
	struct app_keys k, zero = { 0 };
	struct k256_pub pub, root;
	struct epoch_public want;

	cr_assert_eq(keys_app(&k, r, app_id, instance_id), ERR_OK);
	cr_assert_arr_eq(k.app_id, app_id, 20);
	cr_assert(facts_eq(k.k256.b, 32,
	    "07f1201334fefe51400f96730206849d8536d6fa541f9484822b5526f408446"
	    "c"));
	cr_assert(facts_eq(k.k256_signature.b, 65,
	    "caee3d7fbbf8ed58852b3cdee8b952da3d11b34c2bc9fd6863598e54f63c7652"
	    "364b1b0a9af94f50c65c4a406c5c00cccc3f5719e46623c074ca54f361d43fb6"
	    "01"));
	cr_assert(facts_eq(k.disk_crypt_key, 32,
	    "58df70bbd9a1629fd783bd7fbee19386a474004da1d9ed0a830c2ce1ccc557e"
	    "8"));
	cr_assert(facts_eq(k.env_crypt_key, 32,
	    "361c89a29376639af2b5bf279019e2bfb0090c13036e02d72e115d9478a4d5e"
	    "3"));
	cr_assert_eq(k256_pubkey(&pub, &k.k256), ERR_OK);
	cr_assert(facts_eq(pub.b, 33,
	    "0321bbcbc4354d9df4a5e50c7d727a51b88eacf4a3d8723386c7a7324d6862347"
	    "2"));
	cr_assert_eq(
	    dstack_recover_app(&root, &k.k256_signature, app_id, &pub), ERR_OK);
	epoch_roots_public(r, &want);
	cr_assert_arr_eq(root.b, want.k256.b, 33);

	cr_assert_eq(keys_app(&k, r, app_id, NULL), ERR_OK);
	cr_assert(facts_eq(k.disk_crypt_key, 32,
	    "296fd9bfa9abd25468b386b01d75b02444a9e309acf166d3858c34fc6a75d30"
	    "8"));
	cr_assert(facts_eq(k.env_crypt_key, 32,
	    "361c89a29376639af2b5bf279019e2bfb0090c13036e02d72e115d9478a4d5e"
	    "3"));
	app_keys_wipe(&k);
	cr_assert_eq(memcmp(&k, &zero, sizeof k), 0);
	epoch_roots_free(r);
}

/* A replica's root, by another implementation of the formula; each of epoch,
 * app, instance and root changes it. */
Test(keys, replica)
{
	struct epoch_roots *r = roots(7, ROOT_K256, ROOT_CA), *later;
	struct v2key_owner owner = { .epoch = 7 };
	struct app_keys k, o;
	struct k256_pub pub, root;
	struct epoch_public want;

	cr_assert_eq(keys_app(&k, r, app_id, instance_id), ERR_OK);
	cr_assert(k.has_replica);
	cr_assert(facts_eq(k.replica.b, 32,
	    "46f45c036bb4d30b55c148e2c84afd55aa0660d32ccc9a2867c26cbf76bbdc0"
	    "c"));
	cr_assert(facts_eq(k.replica_signature.b, 65,
	    "e24ab7c71cbd2bfab04d743b6850a08c0316204914491f6ea2c2038818d25f4f"
	    "0314af768343934ad5ca9be4d8336148c2d85a428cf80ae540aeb4ebc99f5ada"
	    "01"));
	memcpy(owner.app_id, app_id, 20);
	memcpy(owner.instance_id, instance_id, 20);
	cr_assert_eq(k256_pubkey(&pub, &k.replica), ERR_OK);
	cr_assert_eq(
	    v2key_recover_replica(&root, &k.replica_signature, &owner, &pub),
	    ERR_OK);
	epoch_roots_public(r, &want);
	cr_assert_arr_eq(root.b, want.k256.b, 33);

	instance_id[19] ^= 1;
	cr_assert_eq(keys_app(&o, r, app_id, instance_id), ERR_OK);
	cr_assert_neq(memcmp(o.replica.b, k.replica.b, 32), 0);
	cr_assert_eq(memcmp(o.k256.b, k.k256.b, 32), 0);
	instance_id[19] ^= 1;
	app_id[0] ^= 1;
	cr_assert_eq(keys_app(&o, r, app_id, instance_id), ERR_OK);
	cr_assert_neq(memcmp(o.replica.b, k.replica.b, 32), 0);
	app_id[0] ^= 1;
	/* The same roots under another number, and as another node has them. */
	later = roots(8, ROOT_K256, ROOT_CA);
	cr_assert_eq(keys_app(&o, later, app_id, instance_id), ERR_OK);
	cr_assert_neq(memcmp(o.replica.b, k.replica.b, 32), 0);
	epoch_roots_free(later);
	later = roots(7, ROOT_K256, ROOT_CA);
	cr_assert_eq(keys_app(&o, later, app_id, instance_id), ERR_OK);
	cr_assert_eq(memcmp(o.replica.b, k.replica.b, 32), 0);
	epoch_roots_free(later);
	later = roots(7, ROOT_CA, ROOT_CA);
	cr_assert_eq(keys_app(&o, later, app_id, instance_id), ERR_OK);
	cr_assert_neq(memcmp(o.replica.b, k.replica.b, 32), 0);
	epoch_roots_free(later);
	/* Without an instance there is none. */
	cr_assert_eq(keys_app(&o, r, app_id, NULL), ERR_OK);
	cr_assert(!o.has_replica);
	for (size_t i = 0; i < 32; i++)
		cr_assert_eq(o.replica.b[i], 0);
	app_keys_wipe(&k);
	app_keys_wipe(&o);
	epoch_roots_free(r);
}

/* The 0.5.3 simulator's disk and env keys, from its published CA root, and
 * the scalar of its app CA (vector a). */
Test(keys, simulator_ca)
{
	struct epoch_roots *r = roots(0, ROOT_K256,
	    "d4f60214a61f0e651fbf97e4b2da696ac7f898f1aa9f3d1f1282c49c6c7c0a72");
	struct p256_secret ca;
	struct app_keys k;
	uint8_t id[20], instance[20];

	facts_hex(id, 20, "ea549f02e1a25fabd1cb788380e033ec5461b2ff");
	facts_hex(instance, 20, "59df8036b824b0aac54f8998b9e1fb2a0cfc5d3a");
	cr_assert_eq(keys_app(&k, r, id, instance), ERR_OK);
	cr_assert(facts_eq(k.disk_crypt_key, 32,
	    "1122e1f340c19407adc5ec531ac98d72bcf702bf7858f6fa49b5be79b61e4d5"
	    "b"));
	cr_assert(facts_eq(k.env_crypt_key, 32,
	    "ca1a3895d9d613287fc14034d0ec60abb5089896e7c8fd7c2f02bd91fa0076a"
	    "a"));
	cr_assert_eq(keys_app_ca(&ca, r, id), ERR_OK);
	cr_assert(facts_eq(ca.b, 32,
	    "4c0569a3e088b327e0b7420a2f26e7800a9b4abdc52ed4d544a7b6507f3ae5f"
	    "a"));
	epoch_roots_free(r);
}

/* The env key's public half and both signatures over it. */
Test(keys, env_pub)
{
	struct epoch_roots *r = roots(0, ROOT_K256, ROOT_CA);
	struct k256_sig65 v0, v1, later;
	uint8_t pub[32];

	cr_assert_eq(
	    keys_env_pub(pub, &v0, &v1, r, app_id, 1700000000), ERR_OK);
	cr_assert(facts_eq(pub, 32,
	    "eaf4a34ce90a552e93545ec883c2779b91a025c35b3d7427ac5bd5799cf2311"
	    "c"));
	cr_assert(facts_eq(v0.b, 65,
	    "ea6104aca5fa03e6cd68c9d1a84eddb4d22d7dee64cf12087a0fec57fddcc314"
	    "5342dae74494479c0810053a8c81ec534317bc6653d26dfb13c15b47c36beea3"
	    "01"));
	cr_assert(facts_eq(v1.b, 65,
	    "d3fcd193a29ecc9aed68a76041ebc70cd850299ec32662c4cc70d6459bbf7e3a"
	    "5665508ae4dabe56324c4f33b68180d206dd1ef1e0c553495721efd63d6a714a"
	    "01"));
	cr_assert_eq(
	    keys_env_pub(pub, &v0, &later, r, app_id, 1700000001), ERR_OK);
	cr_assert_neq(memcmp(&v1, &later, sizeof v1), 0);
	epoch_roots_free(r);
}

/* The app CA's scalar; the root CA's copy is the root. */
Test(keys, ca)
{
	struct epoch_roots *r = roots(0, ROOT_K256, ROOT_CA);
	struct p256_secret s;

	cr_assert_eq(keys_app_ca(&s, r, app_id), ERR_OK);
	cr_assert(facts_eq(s.b, 32,
	    "6e36a369dbb76f86bc7bc798b00596279d3be5a8985668968a463a1153238b3"
	    "f"));
	keys_root_ca(&s, r);
	cr_assert(facts_eq(s.b, 32, ROOT_CA));
	epoch_roots_free(r);
}

/* Zero and the group orders are no roots, either of the two. */
Test(keys, import_refusals)
{
	static const char *const bad_k256[] = {
		"00000000000000000000000000000000000000000000000000000000000000"
		"00",
		"fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd03641"
		"41",
		"ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
		"ff"
	};
	static const char *const bad_ca[] = {
		"00000000000000000000000000000000000000000000000000000000000000"
		"00",
		"ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc6325"
		"51",
		"ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
		"ff"
	};
	struct epoch_roots *r = NULL;
	uint8_t good_k256[32], good_ca[32], bad[32];

	facts_hex(good_k256, 32, ROOT_K256);
	facts_hex(good_ca, 32, ROOT_CA);
	for (int i = 0; i < 3; i++) {
		facts_hex(bad, 32, bad_k256[i]);
		cr_assert_eq(
		    epoch_roots_import(&r, 0, bad, good_ca), ERR_MALFORMED);
		facts_hex(bad, 32, bad_ca[i]);
		cr_assert_eq(
		    epoch_roots_import(&r, 0, good_k256, bad), ERR_MALFORMED);
	}
	cr_assert_null(r);
	epoch_roots_free(r);
}

/* Roots go out and in unchanged, and fresh ones differ. */
Test(keys, export_import)
{
	struct epoch_roots *a, *b, *c;
	struct epoch_public pa, pb, pc;
	uint8_t k256[32], ca[32];

	cr_assert_eq(epoch_roots_generate(&a, 1), ERR_OK);
	cr_assert_eq(epoch_roots_generate(&b, 1), ERR_OK);
	epoch_roots_export(a, k256, ca);
	cr_assert_eq(epoch_roots_import(&c, 1, k256, ca), ERR_OK);
	memset(&pa, 0, sizeof pa);
	memset(&pb, 0, sizeof pb);
	memset(&pc, 0, sizeof pc);
	epoch_roots_public(a, &pa);
	epoch_roots_public(b, &pb);
	epoch_roots_public(c, &pc);
	cr_assert_eq(memcmp(&pa, &pc, sizeof pa), 0);
	cr_assert_neq(memcmp(&pa.k256, &pb.k256, sizeof pa.k256), 0);
	cr_assert_neq(memcmp(&pa.ca, &pb.ca, sizeof pa.ca), 0);
	epoch_roots_free(a);
	epoch_roots_free(b);
	epoch_roots_free(c);
}

/* Every app, instance and epoch has keys of its own. */
Test(keys, separation)
{
	struct epoch_roots *r = roots(0, ROOT_K256, ROOT_CA);
	struct epoch_roots *other = roots(1, ROOT_CA, ROOT_K256);
	struct app_keys a, b, c, d;
	uint8_t id[20], instance[20];

	memcpy(id, app_id, 20);
	memcpy(instance, instance_id, 20);
	id[19] ^= 1;
	instance[0] ^= 1;
	cr_assert_eq(keys_app(&a, r, app_id, instance_id), ERR_OK);
	cr_assert_eq(keys_app(&b, r, id, instance_id), ERR_OK);
	cr_assert_eq(keys_app(&c, r, app_id, instance), ERR_OK);
	cr_assert_eq(keys_app(&d, other, app_id, instance_id), ERR_OK);
	cr_assert_neq(memcmp(&a.k256, &b.k256, 32), 0);
	cr_assert_neq(memcmp(&a.k256, &d.k256, 32), 0);
	cr_assert_eq(memcmp(&a.k256, &c.k256, 32), 0);
	cr_assert_neq(memcmp(a.disk_crypt_key, b.disk_crypt_key, 32), 0);
	cr_assert_neq(memcmp(a.disk_crypt_key, c.disk_crypt_key, 32), 0);
	cr_assert_neq(memcmp(a.disk_crypt_key, d.disk_crypt_key, 32), 0);
	cr_assert_neq(memcmp(a.env_crypt_key, b.env_crypt_key, 32), 0);
	cr_assert_neq(memcmp(a.env_crypt_key, d.env_crypt_key, 32), 0);
	cr_assert_eq(d.epoch, 1);
	epoch_roots_free(r);
	epoch_roots_free(other);
}

/* An epoch certificate recovers its predecessor over exactly the bytes of
 * DESIGN 7, and each field counts. */
Test(keys, epoch_certificate)
{
	struct epoch_roots *r = roots(4, ROOT_K256, ROOT_CA), *n;
	const uint8_t registry[20] = { 0xaa };
	struct epoch_public next, pub;
	struct k256_sig65 sig, other;
	struct k256_pub got;
	uint8_t text[256], spki[P256_SPKI_LEN], h[32];
	struct wr w = { .p = text, .cap = sizeof text };

	cr_assert_eq(epoch_roots_generate(&n, 5), ERR_OK);
	epoch_roots_public(n, &next);
	epoch_roots_public(r, &pub);
	cr_assert_eq(
	    epoch_certificate(&sig, r, &next, 8453, registry, 0), ERR_OK);
	cr_assert_eq(p256_spki(spki, &next.ca), ERR_OK);
	sha256(h, spki, sizeof spki);
	wr_str(&w, "devproof-kms-epoch:");
	wr_be64(&w, 8453);
	wr_bytes(&w, registry, 20);
	wr_be64(&w, 5);
	wr_bytes(&w, next.k256.b, 33);
	wr_bytes(&w, h, 32);
	wr_u8(&w, 0);
	cr_assert_eq(
	    k256_recover65(&got, &sig, &(struct bytes){ text, w.len }, 1),
	    ERR_OK);
	cr_assert_arr_eq(got.b, pub.k256.b, 33);
	cr_assert_eq(
	    epoch_certificate(&other, r, &next, 8454, registry, 0), ERR_OK);
	cr_assert_neq(memcmp(&sig, &other, sizeof sig), 0);
	cr_assert_eq(
	    epoch_certificate(&other, r, &next, 8453, app_id, 0), ERR_OK);
	cr_assert_neq(memcmp(&sig, &other, sizeof sig), 0);
	cr_assert_eq(
	    epoch_certificate(&other, r, &next, 8453, registry, 1), ERR_OK);
	cr_assert_neq(memcmp(&sig, &other, sizeof sig), 0);

	/* Not the next epoch, no such mode, keys that are none. */
	cr_assert_eq(
	    epoch_certificate(&other, r, &next, 1, registry, 2), ERR_MALFORMED);
	next.number = 4;
	cr_assert_eq(
	    epoch_certificate(&other, r, &next, 1, registry, 0), ERR_MALFORMED);
	next.number = 6;
	cr_assert_eq(
	    epoch_certificate(&other, r, &next, 1, registry, 0), ERR_MALFORMED);
	next.number = 5;
	next.k256.b[0] = 4;
	cr_assert_eq(
	    epoch_certificate(&other, r, &next, 1, registry, 0), ERR_MALFORMED);
	epoch_roots_public(n, &next);
	next.ca.xy[0] ^= 1;
	cr_assert_eq(
	    epoch_certificate(&other, r, &next, 1, registry, 0), ERR_MALFORMED);
	epoch_roots_free(r);
	epoch_roots_free(n);
	r = roots(UINT64_MAX, ROOT_K256, ROOT_CA);
	next = pub;
	next.number = 0;
	cr_assert_eq(
	    epoch_certificate(&other, r, &next, 1, registry, 0), ERR_MALFORMED);
	epoch_roots_free(r);
}

/* The same vector as contracts/test/RootRegistry.t.sol,
 * test_vector_of_the_epoch_certificate: bytes, digest and signature. */
Test(keys, epoch_certificate_of_the_contract)
{
	struct epoch_roots *r = roots(0, ROOT_K256, ROOT_CA);
	struct epochcert c = { .chain_id = 31337, .epoch = 1 };
	uint8_t text[EPOCHCERT_LEN], digest[32], spki[P256_SPKI_LEN];
	struct epoch_public pub, next = { .number = 1 };
	struct k256_sig65 sig;

	facts_hex(c.k256.b, 33,
	    "0321bbcbc4354d9df4a5e50c7d727a51b88eacf4a3d8723386c7a7324d6862347"
	    "2");
	facts_hex(spki, sizeof spki,
	    "3059301306072a8648ce3d020106082a8648ce3d0301070342000419b2457dd9b8"
	    "aa6446d980f136fff7812ecd6c77740eeb0e28b10d56c0c00028a5b6e59dcea307"
	    "d583bd1f70769e9c116df2bcfb1758a95d8613e7de1c8482c0");
	memcpy(c.registry, app_id, 20);
	cr_assert_eq(p256_spki_parse(&next.ca, spki, sizeof spki), ERR_OK);
	cr_assert_eq(epochcert_ca_hash(c.ca_spki_hash, &next.ca), ERR_OK);
	cr_assert_eq(epochcert_message(text, &c), ERR_OK);
	cr_assert(facts_eq(text, sizeof text,
	    "64657670726f6f662d6b6d732d65706f63683a0000000000007a69001122334455"
	    "66778899aabbccddeeff0011223300000000000000010321bbcbc4354d9df4a5e5"
	    "0c7d727a51b88eacf4a3d8723386c7a7324d686234727af8c9f9564fbc3c472767"
	    "a38de21a51830c7047175cf8ec88bc9b7febc0c8a800"));
	keccak256(digest, text, sizeof text);
	cr_assert(facts_eq(digest, 32,
	    "8799c44556ef8619307f1e2c8c81f1ddc8538a0467f3252ae5fabac1a44ed6d"
	    "5"));
	next.k256 = c.k256;
	cr_assert_eq(
	    epoch_certificate(&sig, r, &next, 31337, c.registry, 0), ERR_OK);
	cr_assert(facts_eq(sig.b, 65,
	    "0a00ac59cd7002921a3a168d721dae81c551846f6294d97cce5a102dcef8393865"
	    "64c1a6fd72399d6b04c04ff93a3da5e43d93b0d3860f9bc8bfaa811f608bb50"
	    "1"));
	epoch_roots_public(r, &pub);
	cr_assert_eq(epochcert_verify(&c, &sig, &pub.k256), ERR_OK);
	c.mode = EPOCHCERT_EMERGENCY;
	cr_assert_eq(epochcert_message(text, &c), ERR_OK);
	keccak256(digest, text, sizeof text);
	cr_assert(facts_eq(digest, 32,
	    "320da7e3301f73d22e85303e902f42a37dc580472a18a65b967b5f61b25f45d"
	    "6"));
	epoch_roots_free(r);
}

/* In an emergency the anchor's signer certifies, over the emergency's bytes,
 * whatever the epoch before; keys that are none are refused. */
Test(keys, epoch_certificate_emergency)
{
	struct epoch_roots *r = roots(0, ROOT_K256, ROOT_CA), *n;
	struct epochcert c = {
		.chain_id = 8453, .epoch = 7, .mode = EPOCHCERT_EMERGENCY
	};
	struct epoch_public next;
	struct k256_secret anchor;
	struct k256_sig65 sig;
	struct k256_pub pub;
	uint8_t by[20], want[20];

	cr_assert_eq(epoch_roots_generate(&n, 7), ERR_OK);
	epoch_roots_public(n, &next);
	cr_assert_eq(keys_anchor(&anchor, r), ERR_OK);
	next.ca.xy[0] ^= 1;
	cr_assert_eq(epoch_certificate_emergency(
			 &sig, &anchor, &next, c.chain_id, c.registry),
	    ERR_MALFORMED);
	next.ca.xy[0] ^= 1;
	next.number = 0;
	cr_assert_eq(epoch_certificate_emergency(
			 &sig, &anchor, &next, c.chain_id, c.registry),
	    ERR_MALFORMED);
	next.number = 7;
	cr_assert_eq(epoch_certificate_emergency(
			 &sig, &anchor, &next, c.chain_id, c.registry),
	    ERR_OK);
	c.k256 = next.k256;
	cr_assert_eq(epochcert_ca_hash(c.ca_spki_hash, &next.ca), ERR_OK);
	cr_assert_eq(epochcert_signer(by, &c, &sig), ERR_OK);
	cr_assert_eq(k256_pubkey(&pub, &anchor), ERR_OK);
	cr_assert_eq(k256_address(want, &pub), ERR_OK);
	cr_assert_arr_eq(by, want, 20);
	c.mode = EPOCHCERT_ROUTINE;
	cr_assert_eq(epochcert_signer(by, &c, &sig), ERR_OK);
	cr_assert_neq(memcmp(by, want, 20), 0);
	k256_secret_wipe(&anchor);
	epoch_roots_free(n);
	epoch_roots_free(r);
}

/* Whoever signs a digest so has the root: the signature is of that root's key,
 * over that digest and no other. */
Test(keys, attest)
{
	struct epoch_roots *r = roots(0, ROOT_K256, ROOT_CA), *other;
	uint8_t digest[32] = { 1, 2, 3 };
	struct epoch_public pub, not ;
	struct k256_sig65 sig;
	struct k256_pub by;

	epoch_roots_public(r, &pub);
	cr_assert_eq(epoch_attest(&sig, r, digest), ERR_OK);
	cr_assert_eq(k256_recover_digest(&by, &sig, digest), ERR_OK);
	cr_assert_arr_eq(by.b, pub.k256.b, sizeof by.b);
	digest[31] ^= 1;
	if (k256_recover_digest(&by, &sig, digest) == ERR_OK)
		cr_assert_arr_neq(by.b, pub.k256.b, sizeof by.b);
	digest[31] ^= 1;
	cr_assert_eq(epoch_roots_generate(&other, 0), ERR_OK);
	epoch_roots_public(other, &not );
	cr_assert_eq(epoch_attest(&sig, other, digest), ERR_OK);
	cr_assert_eq(k256_recover_digest(&by, &sig, digest), ERR_OK);
	cr_assert_arr_eq(by.b, not .k256.b, sizeof by.b);
	epoch_roots_free(other);
	epoch_roots_free(r);
}
