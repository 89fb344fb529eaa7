#include <string.h>

#include <criterion/criterion.h>

#include "common/base/secret.h"
#include "kms/cluster/incarnation.h"

static const uint8_t hash[32] = { 1, 2, 3 };
static struct incarnation *a;
static uint8_t sig[INCARNATION_SIG_LEN];

static void
setup(void)
{
	cr_assert_eq(secret_process_init(), ERR_OK);
	cr_assert_eq(incarnation_new(&a), ERR_OK);
	cr_assert_eq(
	    incarnation_sign(sig, a, CHANNEL_KMS_PEER, "a", hash), ERR_OK);
}

static void
teardown(void)
{
	incarnation_free(a);
	incarnation_free(NULL);
}

TestSuite(incarnation, .init = setup, .fini = teardown);

/* A signature is for one role, slot, session and incarnation. */
Test(incarnation, for_one_thing_only)
{
	uint8_t other_hash[32] = { 1, 2, 4 };
	struct incarnation *b = NULL;
	const uint8_t *id = incarnation_id(a);

	cr_assert_eq(incarnation_new(&b), ERR_OK);
	cr_assert_eq(incarnation_verify(sig, id, CHANNEL_KMS_SERVER, "a", hash),
	    ERR_AUTH);
	cr_assert_eq(
	    incarnation_verify(sig, id, CHANNEL_KMS_PEER, "b", hash), ERR_AUTH);
	cr_assert_eq(
	    incarnation_verify(sig, id, CHANNEL_KMS_PEER, "a", other_hash),
	    ERR_AUTH);
	cr_assert_eq(incarnation_verify(
			 sig, incarnation_id(b), CHANNEL_KMS_PEER, "a", hash),
	    ERR_AUTH);
	cr_assert_eq(
	    incarnation_verify(sig, id, CHANNEL_KMS_PEER, "a", hash), ERR_OK);
	incarnation_free(b);
}

/* Any flipped bit is refused. */
Test(incarnation, every_bit_counts)
{
	for (unsigned i = 0; i < 8 * sizeof sig; i++) {
		sig[i / 8] ^= (uint8_t)(1u << i % 8);
		cr_assert_eq(incarnation_verify(sig, incarnation_id(a),
				 CHANNEL_KMS_PEER, "a", hash),
		    ERR_AUTH);
		sig[i / 8] ^= (uint8_t)(1u << i % 8);
	}
}

/* A key that everybody can sign for is nobody's. */
Test(incarnation, small_order)
{
	static const uint8_t zero[INCARNATION_ID_LEN];
	uint8_t one[INCARNATION_ID_LEN] = { 1 };
	uint8_t s[INCARNATION_SIG_LEN] = { 1 };

	cr_assert_eq(
	    incarnation_verify(s, zero, CHANNEL_KMS_PEER, "a", hash), ERR_AUTH);
	/* R = 1, S = 0 holds for the neutral element, on any message. */
	cr_assert_eq(
	    incarnation_verify(s, one, CHANNEL_KMS_PEER, "a", hash), ERR_AUTH);
}

/* Slots are short printable names, and nothing else is signed. */
Test(incarnation, slot_names)
{
	static const char *const bad[] = { "", " ", "a b", "a/b", "a#b", "a\n",
		"\x7f", "\xc3\xa4", "12345678901234567890123456789012" };
	static const char *const good[] = { "a", "kms-1.example:9",
		"1234567890123456789012345678901" };

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		cr_assert_eq(
		    incarnation_sign(sig, a, CHANNEL_KMS_PEER, bad[i], hash),
		    ERR_MALFORMED);
		cr_assert_eq(incarnation_verify(sig, incarnation_id(a),
				 CHANNEL_KMS_PEER, bad[i], hash),
		    ERR_AUTH);
	}
	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
		cr_assert_eq(
		    incarnation_sign(sig, a, CHANNEL_KMS_PEER, good[i], hash),
		    ERR_OK);
		cr_assert_eq(incarnation_verify(sig, incarnation_id(a),
				 CHANNEL_KMS_PEER, good[i], hash),
		    ERR_OK);
	}
}
