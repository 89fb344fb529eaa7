/* From a pinned root of epoch 0 to later ones, by certificates alone. */
#include <string.h>

#include <criterion/criterion.h>

#include "common/base/hex.h"
#include "kms/ctl/rootchain.h"

#define N 4
#define HEX40 "00112233445566778899aabbccddeeff00112233"

static struct k256_secret key[N + 1]; /* the last: the anchor's signer */
static struct k256_pub pub[N + 1];
static uint8_t signer[1][20];
static json_t *claim;
static struct rootchain chain;
static struct refusal why;

static json_t *
epoch_json(
    uint64_t number, enum epochcert_mode mode, const struct k256_secret *by)
{
	struct epochcert c = { .chain_id = 31337,
		.epoch = number,
		.k256 = pub[number],
		.mode = mode };
	uint8_t text[EPOCHCERT_LEN];
	struct k256_sig65 sig;
	json_t *v = json_object();

	cr_assert_eq(hex_fixed(c.registry, 20, HEX40), ERR_OK);
	memset(c.ca_spki_hash, (int)number, 32);
	cr_assert_eq(epochcert_message(text, &c), ERR_OK);
	cr_assert_eq(k256_sign65(&sig, by, &BYTES_OF(text), 1), ERR_OK);
	cr_assert_eq(json_set_u64(v, "number", number), ERR_OK);
	cr_assert_eq(json_set_hex(v, "k256_pub", c.k256.b, 33), ERR_OK);
	cr_assert_eq(
	    json_set_hex(v, "ca_spki_sha256", c.ca_spki_hash, 32), ERR_OK);
	cr_assert_eq(json_set_str(v, "mode",
			 mode == EPOCHCERT_ROUTINE ? "routine" : "emergency"),
	    ERR_OK);
	cr_assert_eq(json_set_hex(v, "certificate", sig.b, 65), ERR_OK);
	return v;
}

/* Epoch 1 routine, 2 an emergency, 3 routine again. */
static void
setup(void)
{
	for (unsigned i = 0; i <= N; i++) {
		memset(key[i].b, (int)i + 1, 32);
		cr_assert_eq(k256_pubkey(&pub[i], &key[i]), ERR_OK);
	}
	cr_assert_eq(k256_address(signer[0], &pub[N]), ERR_OK);
	claim = json_pack("{s:i, s:s, s:[o, o, o, o]}", "chain_id", 31337,
	    "registry", "0x" HEX40, "epochs", json_pack("{s:i}", "number", 0),
	    epoch_json(1, EPOCHCERT_ROUTINE, &key[0]),
	    epoch_json(2, EPOCHCERT_EMERGENCY, &key[N]),
	    epoch_json(3, EPOCHCERT_ROUTINE, &key[2]));
	cr_assert_not_null(claim);
}

static void
teardown(void)
{
	json_decref(claim);
}

TestSuite(ctl_rootchain, .init = setup, .fini = teardown);

static enum err
read_claim(char *text)
{
	return rootchain_read(&chain, claim, text, 160);
}

static void
leads_to(unsigned n, size_t n_signers, enum err want)
{
	uint64_t epoch = 99;
	enum err e = rootchain_follow(
	    &epoch, &chain, &pub[0], &pub[n], signer, n_signers, &why);

	cr_assert_eq(e, want, "%s", why.detail);
	cr_assert_eq(epoch, want == ERR_OK ? n : 99);
}

static json_t *
epoch(size_t i)
{
	return json_array_get(json_object_get(claim, "epochs"), i);
}

/* A routine link needs the pinned root alone; an emergency cannot be checked
 * from it, and that is said. */
Test(ctl_rootchain, follows)
{
	char text[160];

	cr_assert_eq(read_claim(text), ERR_OK);
	cr_assert_eq(chain.n, 3);
	leads_to(0, 0, ERR_OK);
	leads_to(1, 0, ERR_OK);
	leads_to(2, 0, ERR_DENIED);
	cr_assert_not_null(strstr(why.detail, "emergency"));
	cr_assert_not_null(strstr(why.detail, "--registry"));
	leads_to(2, 1, ERR_OK);
	leads_to(3, 1, ERR_OK);
	leads_to(4, 1, ERR_DENIED); /* a key, but no epoch's */
	signer[0][0] ^= 1;
	leads_to(2, 1, ERR_DENIED);
}

/* Each word that is signed counts. */
Test(ctl_rootchain, every_word_counts)
{
	char text[160], hex[2 * 65 + 1];
	struct k256_sig65 sig;

	cr_assert_eq(read_claim(text), ERR_OK);
	sig = chain.link[0].sig;
	sig.b[40] ^= 1;
	(void)json_object_set_new(
	    epoch(1), "certificate", json_string(hex_encode(hex, sig.b, 65)));
	cr_assert_eq(read_claim(text), ERR_OK);
	leads_to(1, 1, ERR_DENIED);
	teardown();
	setup();
	(void)json_object_set_new(claim, "chain_id", json_integer(1));
	cr_assert_eq(read_claim(text), ERR_OK);
	leads_to(1, 1, ERR_DENIED);
	teardown();
	setup();
	(void)json_object_set_new(claim, "registry",
	    json_string("0x00112233445566778899aabbccddeeff00112234"));
	cr_assert_eq(read_claim(text), ERR_OK);
	leads_to(1, 1, ERR_DENIED);
	teardown();
	setup();
	(void)json_object_set_new(epoch(1), "mode", json_string("emergency"));
	cr_assert_eq(read_claim(text), ERR_OK);
	leads_to(1, 1, ERR_DENIED);
	teardown();
	setup();
	(void)json_object_set_new(epoch(1), "ca_spki_sha256",
	    json_string("0x0101010101010101010101010101010101010101010101010101"
			"010101010102"));
	cr_assert_eq(read_claim(text), ERR_OK);
	leads_to(1, 1, ERR_DENIED);
}

/* A link that does not hold hides what is behind it. */
Test(ctl_rootchain, no_skipping)
{
	char text[160];

	(void)json_array_remove(json_object_get(claim, "epochs"), 1);
	cr_assert_eq(read_claim(text), ERR_MALFORMED);
	teardown();
	setup();
	(void)json_array_set_new(json_object_get(claim, "epochs"), 1,
	    epoch_json(1, EPOCHCERT_ROUTINE, &key[3]));
	cr_assert_eq(read_claim(text), ERR_OK);
	leads_to(1, 1, ERR_DENIED);
	leads_to(2, 1, ERR_DENIED);
}

Test(ctl_rootchain, members)
{
	static const char *const needed[] = { "k256_pub", "ca_spki_sha256",
		"mode", "certificate", "number" };
	char text[160];

	for (size_t i = 0; i < 5; i++) {
		teardown();
		setup();
		(void)json_object_del(epoch(2), needed[i]);
		cr_assert_eq(read_claim(text), ERR_MALFORMED, "%s", needed[i]);
	}
	teardown();
	setup();
	(void)json_object_del(claim, "registry");
	cr_assert_eq(read_claim(text), ERR_MALFORMED);
	(void)json_object_del(claim, "epochs");
	cr_assert_eq(read_claim(text), ERR_OK);
	leads_to(0, 0, ERR_OK);
	leads_to(1, 1, ERR_DENIED);
}
