/* Roots under a key of their own: they come back under the right key, for the
 * right public half, from untouched bytes; and never otherwise. */
#include <string.h>

#include <criterion/criterion.h>
#include <sodium.h>

#include "common/base/secret.h"
#include "common/base/wr.h"
#include "kms/keys/keyring.h"
#include "kms/keys/wrap.h"

#define NONCE_LEN 24

static struct epoch_roots *roots;
static struct epoch_public pub;
static struct wrap_key key;
static uint8_t wrapped[WRAP_LEN];

static void
setup(void)
{
	cr_assert_eq(secret_process_init(), ERR_OK);
	cr_assert_eq(epoch_roots_generate(&roots, 3), ERR_OK);
	epoch_roots_public(roots, &pub);
	wrap_key_generate(&key);
	cr_assert_eq(wrap_roots(wrapped, &key, roots), ERR_OK);
}

static void
teardown(void)
{
	epoch_roots_free(roots);
	wrap_key_wipe(&key);
}

TestSuite(wrap, .init = setup, .fini = teardown);

static enum err
open_with(const struct wrap_key *k, const struct epoch_public *p,
    const uint8_t in[static WRAP_LEN])
{
	struct epoch_roots *out = NULL;
	enum err e = wrap_open(&out, k, p, in);

	cr_assert_eq(e == ERR_OK, out != NULL);
	epoch_roots_free(out);
	return e;
}

/* Nonce, box and tag: no bit may differ. */
Test(wrap, every_bit)
{
	for (size_t i = 0; i < 8 * sizeof wrapped; i++) {
		wrapped[i / 8] ^= (uint8_t)(1u << i % 8);
		cr_assert_eq(
		    open_with(&key, &pub, wrapped), ERR_AUTH, "bit %zu", i);
		wrapped[i / 8] ^= (uint8_t)(1u << i % 8);
	}
	cr_assert_eq(open_with(&key, &pub, wrapped), ERR_OK);
}

Test(wrap, every_bit_of_the_key)
{
	struct wrap_key other;

	for (size_t i = 0; i < 8 * sizeof key.b; i++) {
		key.b[i / 8] ^= (uint8_t)(1u << i % 8);
		cr_assert_eq(open_with(&key, &pub, wrapped), ERR_AUTH);
		key.b[i / 8] ^= (uint8_t)(1u << i % 8);
	}
	wrap_key_generate(&other);
	cr_assert_neq(memcmp(&other, &key, sizeof key), 0);
	cr_assert_eq(open_with(&other, &pub, wrapped), ERR_AUTH);
	memset(&other, 0, sizeof other);
	cr_assert_eq(open_with(&other, &pub, wrapped), ERR_AUTH);
}

/* The number and both public keys are bound, bit by bit. */
Test(wrap, another_public_half)
{
	struct epoch_public p;

	for (unsigned i = 0; i < 64; i++) {
		p = pub;
		p.number ^= 1ull << i;
		cr_assert_eq(open_with(&key, &p, wrapped), ERR_AUTH);
	}
	for (size_t i = 0; i < 8 * sizeof pub.k256.b; i++) {
		p = pub;
		p.k256.b[i / 8] ^= (uint8_t)(1u << i % 8);
		cr_assert_eq(open_with(&key, &p, wrapped), ERR_AUTH);
	}
	for (size_t i = 0; i < 8 * sizeof pub.ca.xy; i++) {
		p = pub;
		p.ca.xy[i / 8] ^= (uint8_t)(1u << i % 8);
		cr_assert_eq(open_with(&key, &p, wrapped), ERR_AUTH);
	}
}

/* Seals any roots for the public half of others: as somebody could who has
 * the wrapping key. */
static void
forge(uint8_t out[static WRAP_LEN], const uint8_t plain[static 64],
    const struct epoch_public *p)
{
	uint8_t ad[20 + 8 + 33 + 64];
	struct wr w = { .p = ad, .cap = sizeof ad };
	unsigned long long len;

	wr_str(&w, "devproof-kms/wrap/v1");
	wr_be64(&w, p->number);
	wr_bytes(&w, p->k256.b, sizeof p->k256.b);
	wr_bytes(&w, p->ca.xy, sizeof p->ca.xy);
	cr_assert(wr_ok(&w));
	memset(out, 7, NONCE_LEN);
	cr_assert_eq(crypto_aead_xchacha20poly1305_ietf_encrypt(out + NONCE_LEN,
			 &len, plain, 64, ad, w.len, NULL, out, key.b),
	    0);
	cr_assert_eq(NONCE_LEN + len, WRAP_LEN);
}

/* The header's bytes, made by hand; and, sealed as well, what is not the roots
 * of that public half: either root of another epoch, none at all. */
Test(wrap, roots_of_another)
{
	struct epoch_roots *other = NULL;
	uint8_t good[64], bad[64], forged[WRAP_LEN];

	epoch_roots_export(roots, good, good + 32);
	cr_assert_eq(epoch_roots_generate(&other, 3), ERR_OK);
	epoch_roots_export(other, bad, bad + 32);
	epoch_roots_free(other);

	forge(forged, bad, &pub);
	cr_assert_eq(open_with(&key, &pub, forged), ERR_AUTH);
	memcpy(bad, good, 32);
	forge(forged, bad, &pub);
	cr_assert_eq(open_with(&key, &pub, forged), ERR_AUTH);
	memset(bad, 0, 32);
	memcpy(bad + 32, good + 32, 32);
	forge(forged, bad, &pub);
	cr_assert_eq(open_with(&key, &pub, forged), ERR_AUTH);
	memset(bad, 0xff, 64);
	forge(forged, bad, &pub);
	cr_assert_eq(open_with(&key, &pub, forged), ERR_AUTH);

	forge(forged, good, &pub);
	cr_assert_eq(open_with(&key, &pub, forged), ERR_OK);
}

/* What comes back is what went in; twice wrapped are two boxes. */
Test(wrap, round_trip)
{
	struct epoch_roots *out = NULL;
	struct epoch_public got;
	uint8_t one[64], two[64], again[WRAP_LEN];

	cr_assert_eq(wrap_open(&out, &key, &pub, wrapped), ERR_OK);
	epoch_roots_public(out, &got);
	cr_assert_eq(got.number, 3);
	epoch_roots_export(roots, one, one + 32);
	epoch_roots_export(out, two, two + 32);
	cr_assert_arr_eq(one, two, sizeof one);
	cr_assert_eq(wrap_roots(again, &key, out), ERR_OK);
	cr_assert_neq(memcmp(again, wrapped, NONCE_LEN), 0);
	cr_assert_neq(memcmp(again + NONCE_LEN, wrapped + NONCE_LEN,
			  WRAP_LEN - NONCE_LEN),
	    0);
	cr_assert_eq(open_with(&key, &pub, again), ERR_OK);
	epoch_roots_free(out);
	wrap_key_wipe(&key);
	for (size_t i = 0; i < sizeof key.b; i++)
		cr_assert_eq(key.b[i], 0);
}

/* ---- the ring ---- */

static struct epoch_roots *
fresh(uint64_t number)
{
	struct epoch_roots *r = NULL;

	cr_assert_eq(epoch_roots_generate(&r, number), ERR_OK);
	return r;
}

Test(wrap, keyring)
{
	struct keyring *ring = NULL;
	struct epoch_roots *same = NULL, *r;
	struct buf der = { 0 };

	cr_assert_eq(keyring_new(&ring), ERR_OK);
	cr_assert_not(keyring_has(ring, 3));
	cr_assert_null(keyring_use(ring, 3));
	cr_assert_eq(keyring_ca_cert(ring, &der, 3), ERR_NOTFOUND);
	keyring_drop(ring, 3);
	keyring_clear(ring);

	/* Other roots of an epoch that is here do not replace it. */
	cr_assert_eq(keyring_add(ring, fresh(3)), ERR_OK);
	r = fresh(3);
	cr_assert_eq(keyring_add(ring, r), ERR_EXISTS);
	epoch_roots_free(r);
	keyring_drop(ring, 3);
	cr_assert_eq(wrap_open(&same, &key, &pub, wrapped), ERR_OK);
	cr_assert_eq(keyring_add(ring, same), ERR_OK);
	cr_assert_eq(wrap_open(&same, &key, &pub, wrapped), ERR_OK);
	cr_assert_eq(keyring_add(ring, same), ERR_OK);
	cr_assert_eq(keyring_ca_cert(ring, &der, 3), ERR_OK);
	cr_assert_gt(der.len, 0);

	/* Cleared: nothing is left, and it can be filled again. */
	for (uint64_t i = 0; i < 3; i++)
		cr_assert_eq(keyring_add(ring, fresh(i)), ERR_OK);
	keyring_clear(ring);
	for (uint64_t i = 0; i < 4; i++) {
		cr_assert_not(keyring_has(ring, i));
		cr_assert_null(keyring_use(ring, i));
	}
	cr_assert_eq(keyring_ca_cert(ring, &der, 3), ERR_NOTFOUND);
	cr_assert_eq(keyring_add(ring, fresh(3)), ERR_OK);
	cr_assert(keyring_has(ring, 3));
	buf_fini(&der);
	keyring_free(ring);
}

/* Half of an epoch's public keys is not the epoch: roots that share one key with
 * those that are here are others, and the caller's to free. */
Test(wrap, keyring_compares_both_keys)
{
	const uint8_t a[32] = { [31] = 5 }, b[32] = { [31] = 6 };
	const uint8_t c[32] = { [31] = 7 };
	struct epoch_public have, got;
	struct keyring *ring = NULL;
	struct epoch_roots *r = NULL;

	cr_assert_eq(keyring_new(&ring), ERR_OK);
	cr_assert_eq(epoch_roots_import(&r, 4, a, b), ERR_OK);
	epoch_roots_public(r, &have);
	cr_assert_eq(keyring_add(ring, r), ERR_OK);
	cr_assert_eq(epoch_roots_import(&r, 4, a, c), ERR_OK);
	cr_assert_eq(keyring_add(ring, r), ERR_EXISTS);
	epoch_roots_free(r);
	cr_assert_eq(epoch_roots_import(&r, 4, c, b), ERR_OK);
	cr_assert_eq(keyring_add(ring, r), ERR_EXISTS);
	epoch_roots_free(r);
	epoch_roots_public(keyring_use(ring, 4), &got);
	keyring_done(ring);
	cr_assert_eq(memcmp(&got.ca, &have.ca, sizeof got.ca), 0);
	keyring_free(ring);
}

/* Dropping one leaves the others, wherever it was. */
Test(wrap, keyring_drops_one)
{
	for (uint64_t gone = 0; gone < 3; gone++) {
		struct keyring *ring = NULL;

		cr_assert_eq(keyring_new(&ring), ERR_OK);
		for (uint64_t i = 0; i < 3; i++)
			cr_assert_eq(keyring_add(ring, fresh(i)), ERR_OK);
		keyring_drop(ring, 7);
		keyring_drop(ring, gone);
		for (uint64_t i = 0; i < 3; i++)
			cr_assert_eq(keyring_has(ring, i), i != gone);
		keyring_free(ring);
	}
}
