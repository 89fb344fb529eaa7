/* Certificates of epochs: who signed which bytes, and nothing else passes. */
#include <string.h>

#include <criterion/criterion.h>
#include <sodium.h>

#include "common/crypto/epochcert.h"
#include "tests/lib/facts.h"

static struct k256_secret root, other;
static struct k256_pub root_pub, other_pub;
static struct epochcert cert;
static struct k256_sig65 sig;

static void
sign(const struct k256_secret *by)
{
	uint8_t text[EPOCHCERT_LEN];

	cr_assert_eq(epochcert_message(text, &cert), ERR_OK);
	cr_assert_eq(
	    k256_sign65(&sig, by, &(struct bytes){ text, sizeof text }, 1),
	    ERR_OK);
}

static void
init(void)
{
	struct k256_secret next;

	cr_assert_geq(sodium_init(), 0);
	k256_generate(&root);
	k256_generate(&other);
	k256_generate(&next);
	cr_assert_eq(k256_pubkey(&root_pub, &root), ERR_OK);
	cr_assert_eq(k256_pubkey(&other_pub, &other), ERR_OK);
	cert = (struct epochcert){ .chain_id = 31337, .epoch = 3 };
	memset(cert.registry, 0x11, 20);
	cr_assert_eq(k256_pubkey(&cert.k256, &next), ERR_OK);
	memset(cert.ca_spki_hash, 0x22, 32);
	sign(&root);
}

TestSuite(epochcert, .init = init);

/* Another chain, registry, epoch, key, CA, mode or signer is another
 * certificate. */
Test(epochcert, every_field_counts)
{
	const struct epochcert good = cert;

	cr_assert_eq(epochcert_verify(&cert, &sig, &root_pub), ERR_OK);
	cr_assert_eq(epochcert_verify(&cert, &sig, &other_pub), ERR_AUTH);
	cert.chain_id++;
	cr_assert_eq(epochcert_verify(&cert, &sig, &root_pub), ERR_AUTH);
	cert = good;
	cert.registry[19] ^= 1;
	cr_assert_eq(epochcert_verify(&cert, &sig, &root_pub), ERR_AUTH);
	cert = good;
	cert.epoch = 2;
	cr_assert_eq(epochcert_verify(&cert, &sig, &root_pub), ERR_AUTH);
	cert = good;
	cert.k256 = other_pub;
	cr_assert_eq(epochcert_verify(&cert, &sig, &root_pub), ERR_AUTH);
	cert = good;
	cert.ca_spki_hash[0] ^= 1;
	cr_assert_eq(epochcert_verify(&cert, &sig, &root_pub), ERR_AUTH);
	cert = good;
	cert.mode = EPOCHCERT_EMERGENCY;
	cr_assert_eq(epochcert_verify(&cert, &sig, &root_pub), ERR_AUTH);
	cert = good;
	sign(&other);
	cr_assert_eq(epochcert_verify(&cert, &sig, &root_pub), ERR_AUTH);
	memset(sig.b, 0, sizeof sig.b);
	cr_assert_neq(epochcert_verify(&cert, &sig, &root_pub), ERR_OK);
	memset(sig.b, 0xff, sizeof sig.b);
	cr_assert_neq(epochcert_verify(&cert, &sig, &root_pub), ERR_OK);
}

/* What is no certificate has no bytes. */
Test(epochcert, malformed)
{
	const struct epochcert good = cert;
	uint8_t text[EPOCHCERT_LEN], was[EPOCHCERT_LEN], address[20];
	struct p256_pub ca = { { 0 } };

	memset(text, 0x5a, sizeof text);
	memcpy(was, text, sizeof was);
	cert.epoch = 0;
	cr_assert_eq(epochcert_message(text, &cert), ERR_MALFORMED);
	cr_assert_eq(epochcert_signer(address, &cert, &sig), ERR_MALFORMED);
	cr_assert_eq(epochcert_verify(&cert, &sig, &root_pub), ERR_MALFORMED);
	cert = good;
	cert.mode = (enum epochcert_mode)2;
	cr_assert_eq(epochcert_message(text, &cert), ERR_MALFORMED);
	cert = good;
	cert.k256.b[0] = 4;
	cr_assert_eq(epochcert_message(text, &cert), ERR_MALFORMED);
	memset(cert.k256.b, 0xff, sizeof cert.k256.b);
	cert.k256.b[0] = 2;
	cr_assert_eq(epochcert_message(text, &cert), ERR_MALFORMED);
	cr_assert_arr_eq(text, was, sizeof was);
	cr_assert_eq(epochcert_ca_hash(text, &ca), ERR_MALFORMED);
}

/* In an emergency it is the address that counts. */
Test(epochcert, signer)
{
	uint8_t got[20], want[20];

	cert.mode = EPOCHCERT_EMERGENCY;
	sign(&other);
	cr_assert_eq(epochcert_signer(got, &cert, &sig), ERR_OK);
	cr_assert_eq(k256_address(want, &other_pub), ERR_OK);
	cr_assert_arr_eq(got, want, 20);
	/* As the contract takes it: v is 27 or 28. */
	sig.b[64] = (uint8_t)(sig.b[64] + 27);
	cr_assert_eq(epochcert_signer(got, &cert, &sig), ERR_OK);
	cr_assert_arr_eq(got, want, 20);
	cert.registry[0] ^= 1;
	cr_assert_eq(epochcert_signer(got, &cert, &sig), ERR_OK);
	cr_assert_neq(memcmp(got, want, 20), 0);
}
