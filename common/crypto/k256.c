#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <secp256k1.h>
#include <secp256k1_preallocated.h>
#include <secp256k1_recovery.h>

#include "common/base/ct.h"
#include "common/base/secret.h"
#include "common/crypto/k256.h"
#include "common/crypto/keccak.h"

/* In memory of our own, so that there always is one. */
#define CONTEXT_MAX 1024
static _Alignas(16) uint8_t space[CONTEXT_MAX];
static secp256k1_context *shared;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void
make_context(void)
{
	/* Enough for everything since 0.2. */
	const unsigned flags = SECP256K1_CONTEXT_NONE;
	uint8_t seed[32];

	if (secp256k1_context_preallocated_size(flags) > sizeof space)
		abort();
	shared = secp256k1_context_preallocated_create(space, flags);
	secret_random(seed, sizeof seed);
	/* Blinding hides scalars from side channels; see secp256k1.h. */
	if (shared == NULL || !secp256k1_context_randomize(shared, seed))
		abort();
	secret_wipe(seed, sizeof seed);
}

/* One context for the process: written once, then only read. */
static const secp256k1_context *
ctx(void)
{
	if (pthread_once(&once, make_context) != 0)
		abort();
	return shared;
}

bool
k256_secret_valid(const struct k256_secret *s)
{
	int ok = secp256k1_ec_seckey_verify(ctx(), s->b);

	secret_wipe_stack();
	CT_PUBLIC(ok); /* Who has an invalid one is told. */
	return ok == 1;
}

void
k256_secret_wipe(struct k256_secret *s)
{
	secret_wipe(s, sizeof *s);
}

void
k256_generate(struct k256_secret *s)
{
	do
		secret_random(s->b, sizeof s->b);
	while (!k256_secret_valid(s));
}

static void
serialize(struct k256_pub *out, const secp256k1_pubkey *pub)
{
	size_t len = sizeof out->b;

	(void)secp256k1_ec_pubkey_serialize(
	    ctx(), out->b, &len, pub, SECP256K1_EC_COMPRESSED);
}

enum err
k256_pubkey(struct k256_pub *out, const struct k256_secret *s)
{
	secp256k1_pubkey pub;
	int ok = secp256k1_ec_pubkey_create(ctx(), &pub, s->b);

	secret_wipe_stack();
	CT_PUBLIC(ok);
	CT_PUBLIC(pub);
	if (!ok)
		return ERR_MALFORMED;
	serialize(out, &pub);
	return ERR_OK;
}

enum err
k256_pub_parse(struct k256_pub *out, const uint8_t *in, size_t len)
{
	secp256k1_pubkey pub;

	/* SEC1 hybrid forms (06, 07) have 65 bytes too: refuse them. */
	if (len != 33 && (len != 65 || in[0] != 4))
		return ERR_MALFORMED;
	if (!secp256k1_ec_pubkey_parse(ctx(), &pub, in, len))
		return ERR_MALFORMED;
	serialize(out, &pub);
	return ERR_OK;
}

enum err
k256_pub_uncompressed(uint8_t out[static 65], const struct k256_pub *pub)
{
	secp256k1_pubkey p;
	size_t len = 65;

	if (!secp256k1_ec_pubkey_parse(ctx(), &p, pub->b, sizeof pub->b))
		return ERR_MALFORMED;
	(void)secp256k1_ec_pubkey_serialize(
	    ctx(), out, &len, &p, SECP256K1_EC_UNCOMPRESSED);
	return ERR_OK;
}

enum err
k256_address(uint8_t out[static 20], const struct k256_pub *pub)
{
	uint8_t point[65], h[32];
	enum err e = k256_pub_uncompressed(point, pub);

	if (e != ERR_OK)
		return e;
	keccak256(h, point + 1, 64);
	memcpy(out, h + 12, 20);
	return ERR_OK;
}

enum err
k256_sign_digest(struct k256_sig65 *out, const struct k256_secret *s,
    const uint8_t digest[static 32])
{
	secp256k1_ecdsa_recoverable_signature sig;
	int recid, ok;

	/* NULL nonce function: RFC 6979, and the result is low-S. */
	ok = secp256k1_ecdsa_sign_recoverable(
	    ctx(), &sig, digest, s->b, NULL, NULL);
	secret_wipe_stack();
	CT_PUBLIC(ok);
	CT_PUBLIC(sig);
	if (!ok)
		return ERR_MALFORMED;
	(void)secp256k1_ecdsa_recoverable_signature_serialize_compact(
	    ctx(), out->b, &recid, &sig);
	out->b[64] = (uint8_t)recid;
	return ERR_OK;
}

enum err
k256_sign65(struct k256_sig65 *out, const struct k256_secret *s,
    const struct bytes *part, size_t n)
{
	uint8_t digest[32];

	keccak256_v(digest, part, n);
	return k256_sign_digest(out, s, digest);
}

/* Parses r || s and refuses high-S: one encoding per signature. */
static enum err
parse_low_s(secp256k1_ecdsa_signature *out, const uint8_t rs[static 64])
{
	if (!secp256k1_ecdsa_signature_parse_compact(ctx(), out, rs))
		return ERR_MALFORMED;
	if (secp256k1_ecdsa_signature_normalize(ctx(), NULL, out))
		return ERR_AUTH;
	return ERR_OK;
}

enum err
k256_recover_digest(struct k256_pub *out, const struct k256_sig65 *sig,
    const uint8_t digest[static 32])
{
	secp256k1_ecdsa_recoverable_signature rsig;
	secp256k1_ecdsa_signature plain;
	secp256k1_pubkey pub;
	int v = sig->b[64];

	if (v >= 27)
		v -= 27;
	if (v != 0 && v != 1)
		return ERR_MALFORMED;
	if (parse_low_s(&plain, sig->b) != ERR_OK)
		return ERR_MALFORMED;
	if (!secp256k1_ecdsa_recoverable_signature_parse_compact(
		ctx(), &rsig, sig->b, v))
		return ERR_MALFORMED;
	if (!secp256k1_ecdsa_recover(ctx(), &pub, &rsig, digest))
		return ERR_AUTH;
	serialize(out, &pub);
	return ERR_OK;
}

enum err
k256_recover65(struct k256_pub *out, const struct k256_sig65 *sig,
    const struct bytes *part, size_t n)
{
	uint8_t digest[32];

	keccak256_v(digest, part, n);
	return k256_recover_digest(out, sig, digest);
}

enum err
k256_verify_digest(const struct k256_pub *pub, const uint8_t sig[static 64],
    const uint8_t digest[static 32])
{
	secp256k1_ecdsa_signature s;
	secp256k1_pubkey p;
	enum err e;

	if (!secp256k1_ec_pubkey_parse(ctx(), &p, pub->b, sizeof pub->b))
		return ERR_MALFORMED;
	if ((e = parse_low_s(&s, sig)) != ERR_OK)
		return e;
	return secp256k1_ecdsa_verify(ctx(), &s, digest, &p) ? ERR_OK
							     : ERR_AUTH;
}
