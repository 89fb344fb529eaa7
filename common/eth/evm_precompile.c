#include <string.h>

#include "common/crypto/hash.h"
#include "common/crypto/k256.h"
#include "common/crypto/keccak.h"
#include "common/eth/evm_precompile.h"

/* The order of secp256k1's group, and half of it. */
static const struct u256 order = { { 0xbfd25e8cd0364141, 0xbaaedce6af48a03b,
    0xfffffffffffffffe, 0xffffffffffffffff } };
static const struct u256 half = { { 0xdfe92f46681b20a0, 0x5d576e7357a4501d,
    0xffffffffffffffff, 0x7fffffffffffffff } };

/* hash | v | r | s, a word each; anything that recovers no key has an empty
 * answer.  High s is valid here, unlike in transactions: it is the same as
 * n - s with the other v. */
static struct bytes
ecrecover(uint8_t space[static 32], struct bytes in)
{
	const struct bytes nothing = { 0 };
	uint8_t w[128] = { 0 };
	struct k256_sig65 sig;
	struct k256_pub pub;
	struct u256 v, s;
	uint8_t address[20];
	uint64_t id;

	if (in.len > 0)
		memcpy(w, in.p, in.len < sizeof w ? in.len : sizeof w);
	v = u256_from_be(w + 32);
	s = u256_from_be(w + 96);
	if (!u256_u64(&id, &v) || (id != 27 && id != 28) ||
	    u256_cmp(&s, &order) >= 0)
		return nothing;
	if (u256_cmp(&s, &half) > 0) {
		u256_sub(&s, &order, &s);
		id ^= 27 ^ 28;
	}
	memcpy(sig.b, w + 64, 32);
	u256_to_be(sig.b + 32, &s);
	sig.b[64] = (uint8_t)id;
	if (k256_recover_digest(&pub, &sig, w) != ERR_OK ||
	    k256_address(address, &pub) != ERR_OK)
		return nothing;
	memset(space, 0, 12);
	memcpy(space + 12, address, sizeof address);
	return (struct bytes){ space, 32 };
}

enum evm_step
evm_precompile(struct bytes *out, uint8_t space[static 32], uint64_t *gas,
    unsigned n, struct bytes in)
{
	/* Gas: fixed, and for each word of input. */
	static const uint64_t price[5][2] = { { 0, 0 }, { 3000, 0 }, { 60, 12 },
		{ 600, 120 }, { 15, 3 } };
	uint64_t cost;

	if (n < 1 || n > 4)
		return EVM_STEP_REFUSE;
	cost = price[n][0] + price[n][1] * EVM_WORDS(in.len);
	if (cost > *gas)
		return EVM_STEP_FAIL;
	switch (n) {
	case 1:
		*out = ecrecover(space, in);
		break;
	case 2:
		sha256(space, in.p, in.len);
		*out = (struct bytes){ space, 32 };
		break;
	case 3:
		memset(space, 0, 12);
		ripemd160(space + 12, in.p, in.len);
		*out = (struct bytes){ space, 32 };
		break;
	default:
		*out = in;
		break;
	}
	*gas -= cost;
	return EVM_STEP_RETURN;
}
