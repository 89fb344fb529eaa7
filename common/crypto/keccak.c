/* Follows the Keccak reference 3.0, sections 1.2 (permutation) and 1.1.3
 * (sponge); the rate is 200 bytes less twice the output.  Checked against
 * FIPS 202 SHA-3 of OpenSSL, which differs in the padding byte alone. */
#include <string.h>

#include "common/base/secret.h"
#include "common/crypto/hash.h"
#include "common/crypto/keccak.h"

struct sponge {
	uint64_t a[25]; /* lane x, y at a[x + 5 * y] */
	size_t rate; /* bytes */
	size_t pos;
};

static inline uint64_t
rol(uint64_t v, unsigned n)
{
	return n == 0 ? v : v << n | v >> (64 - n);
}

static void
permute(uint64_t a[static 25])
{
	static const uint64_t round_constant[24] = { 0x0000000000000001,
		0x0000000000008082, 0x800000000000808a, 0x8000000080008000,
		0x000000000000808b, 0x0000000080000001, 0x8000000080008081,
		0x8000000000008009, 0x000000000000008a, 0x0000000000000088,
		0x0000000080008009, 0x000000008000000a, 0x000000008000808b,
		0x800000000000008b, 0x8000000000008089, 0x8000000000008003,
		0x8000000000008002, 0x8000000000000080, 0x000000000000800a,
		0x800000008000000a, 0x8000000080008081, 0x8000000000008080,
		0x0000000080000001, 0x8000000080008008 };
	/* Rotation of lane (x, y), and where pi moves it. */
	static const uint8_t rotation[25] = { 0, 1, 62, 28, 27, 36, 44, 6, 55,
		20, 3, 10, 43, 25, 39, 41, 45, 15, 21, 8, 18, 2, 61, 56, 14 };
	uint64_t b[25], c[5], d;

	for (int round = 0; round < 24; round++) {
		/* theta */
		for (int x = 0; x < 5; x++)
			c[x] =
			    a[x] ^ a[x + 5] ^ a[x + 10] ^ a[x + 15] ^ a[x + 20];
		for (int x = 0; x < 5; x++) {
			d = c[(x + 4) % 5] ^ rol(c[(x + 1) % 5], 1);
			for (int y = 0; y < 25; y += 5)
				a[x + y] ^= d;
		}
		/* rho and pi */
		for (int x = 0; x < 5; x++)
			for (int y = 0; y < 5; y++)
				b[y + 5 * ((2 * x + 3 * y) % 5)] =
				    rol(a[x + 5 * y], rotation[x + 5 * y]);
		/* chi */
		for (int y = 0; y < 25; y += 5)
			for (int x = 0; x < 5; x++)
				a[x + y] = b[x + y] ^
				    (~b[(x + 1) % 5 + y] & b[(x + 2) % 5 + y]);
		/* iota */
		a[0] ^= round_constant[round];
	}
	secret_wipe(b, sizeof b);
}

static void
absorb_byte(struct sponge *s, uint8_t v)
{
	s->a[s->pos / 8] ^= (uint64_t)v << 8 * (s->pos % 8);
	if (++s->pos == s->rate) {
		permute(s->a);
		s->pos = 0;
	}
}

/* What comes behind the message: the first bit of pad10*1; FIPS 202 6.1 has
 * 01 before it, so that its functions are others. */
#define PAD_KECCAK 0x01u
#define PAD_SHA3 0x06u

static void
sponge(uint8_t *out, size_t out_len, const struct bytes *part, size_t n,
    uint64_t pad)
{
	struct sponge s = { .rate = 200 - 2 * out_len };

	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < part[i].len; k++)
			absorb_byte(&s, part[i].p[k]);
	/* First bit at pos, last bit at the end of the block. */
	s.a[s.pos / 8] ^= pad << 8 * (s.pos % 8);
	s.a[(s.rate - 1) / 8] ^= (uint64_t)0x80 << 56;
	permute(s.a);
	for (size_t i = 0; i < out_len; i++)
		out[i] = (uint8_t)(s.a[i / 8] >> 8 * (i % 8));
	secret_wipe(&s, sizeof s);
}

static void
keccak(uint8_t *out, size_t out_len, const struct bytes *part, size_t n)
{
	sponge(out, out_len, part, n, PAD_KECCAK);
}

void
keccak256_v(uint8_t out[static 32], const struct bytes *part, size_t n)
{
	keccak(out, 32, part, n);
}

void
keccak384_v(uint8_t out[static 48], const struct bytes *part, size_t n)
{
	keccak(out, 48, part, n);
}

void
keccak512_v(uint8_t out[static 64], const struct bytes *part, size_t n)
{
	keccak(out, 64, part, n);
}

void
keccak256(uint8_t out[static 32], const void *in, size_t len)
{
	keccak(out, 32, &(struct bytes){ in, len }, 1);
}

void
sha3_256_v(uint8_t out[static 32], const struct bytes *part, size_t n)
{
	sponge(out, 32, part, n, PAD_SHA3);
}

void
sha3_384_v(uint8_t out[static 48], const struct bytes *part, size_t n)
{
	sponge(out, 48, part, n, PAD_SHA3);
}

void
sha3_512_v(uint8_t out[static 64], const struct bytes *part, size_t n)
{
	sponge(out, 64, part, n, PAD_SHA3);
}
