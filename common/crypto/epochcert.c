#include <assert.h>
#include <string.h>

#include "common/base/wr.h"
#include "common/crypto/epochcert.h"
#include "common/crypto/hash.h"

static_assert(19 + 8 + 20 + 8 + 33 + 32 + 1 == EPOCHCERT_LEN, "its parts");

enum err
epochcert_message(uint8_t out[static EPOCHCERT_LEN], const struct epochcert *c)
{
	struct wr w = { .p = out, .cap = EPOCHCERT_LEN };
	struct k256_pub key;

	if (c->epoch == 0 ||
	    (c->mode != EPOCHCERT_ROUTINE && c->mode != EPOCHCERT_EMERGENCY) ||
	    k256_pub_parse(&key, c->k256.b, sizeof c->k256.b) != ERR_OK)
		return ERR_MALFORMED;
	wr_str(&w, "devproof-kms-epoch:");
	wr_be64(&w, c->chain_id);
	wr_bytes(&w, c->registry, sizeof c->registry);
	wr_be64(&w, c->epoch);
	wr_bytes(&w, c->k256.b, sizeof c->k256.b);
	wr_bytes(&w, c->ca_spki_hash, sizeof c->ca_spki_hash);
	wr_u8(&w, (uint8_t)c->mode);
	assert(wr_ok(&w) && w.len == EPOCHCERT_LEN);
	return ERR_OK;
}

enum err
epochcert_ca_hash(uint8_t out[static 32], const struct p256_pub *ca)
{
	uint8_t spki[P256_SPKI_LEN];
	enum err e = p256_pub_check(ca);

	if (e == ERR_OK && (e = p256_spki(spki, ca)) == ERR_OK)
		sha256(out, spki, sizeof spki);
	return e;
}

static enum err
recover(struct k256_pub *out, const struct epochcert *c,
    const struct k256_sig65 *sig)
{
	uint8_t text[EPOCHCERT_LEN];
	enum err e = epochcert_message(text, c);

	if (e != ERR_OK)
		return e;
	return k256_recover65(
	    out, sig, &(struct bytes){ text, sizeof text }, 1);
}

enum err
epochcert_signer(uint8_t out[static 20], const struct epochcert *c,
    const struct k256_sig65 *sig)
{
	struct k256_pub by;
	enum err e = recover(&by, c, sig);

	return e == ERR_OK ? k256_address(out, &by) : e;
}

enum err
epochcert_verify(const struct epochcert *c, const struct k256_sig65 *sig,
    const struct k256_pub *before)
{
	struct k256_pub by;
	enum err e = recover(&by, c, sig);

	if (e == ERR_OK && memcmp(&by, before, sizeof by) != 0)
		e = ERR_AUTH;
	return e;
}
