/* u256: unsigned integers of 256 bits, with the arithmetic of the EVM.
 *
 * Yellow Paper 9.4.1 and appendix H: everything is modulo 2^256, division by
 * zero is zero, signed forms are two's complement.  Nothing fails.  Not in
 * constant time: for public values only.  An output may be one of the
 * inputs. */
#ifndef COMMON_ETH_U256_H
#define COMMON_ETH_U256_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct u256 {
	uint64_t w[4]; /* the lowest first */
};

struct u256 u256_from_be(const uint8_t in[static 32]);
/* At most 32 bytes. */
struct u256 u256_from_bytes(const uint8_t *in, size_t len);
void u256_to_be(uint8_t out[static 32], const struct u256 *a);

static inline struct u256
u256_from_u64(uint64_t v)
{
	return (struct u256){ { v, 0, 0, 0 } };
}

static inline bool
u256_is_zero(const struct u256 *a)
{
	return (a->w[0] | a->w[1] | a->w[2] | a->w[3]) == 0;
}

/* u256_u64 is false for values of 2^64 and above. */
static inline bool
u256_u64(uint64_t *out, const struct u256 *a)
{
	*out = a->w[0];
	return (a->w[1] | a->w[2] | a->w[3]) == 0;
}

/* Like strcmp: below, at or above 0. */
int u256_cmp(const struct u256 *a, const struct u256 *b);
int u256_scmp(const struct u256 *a, const struct u256 *b);

void u256_add(struct u256 *out, const struct u256 *a, const struct u256 *b);
void u256_sub(struct u256 *out, const struct u256 *a, const struct u256 *b);
void u256_mul(struct u256 *out, const struct u256 *a, const struct u256 *b);
void u256_div(struct u256 *out, const struct u256 *a, const struct u256 *b);
void u256_mod(struct u256 *out, const struct u256 *a, const struct u256 *b);
void u256_sdiv(struct u256 *out, const struct u256 *a, const struct u256 *b);
void u256_smod(struct u256 *out, const struct u256 *a, const struct u256 *b);
/* (a + b) mod n and (a * b) mod n, without overflow in between. */
void u256_addmod(struct u256 *out, const struct u256 *a, const struct u256 *b,
    const struct u256 *n);
void u256_mulmod(struct u256 *out, const struct u256 *a, const struct u256 *b,
    const struct u256 *n);
void u256_exp(struct u256 *out, const struct u256 *base, const struct u256 *e);
/* How many bytes the value needs, 0 for zero. */
size_t u256_size(const struct u256 *a);

/* u256_signextend takes byte `k` (0 is the lowest) as the highest. */
void u256_signextend(
    struct u256 *out, const struct u256 *k, const struct u256 *a);
/* Byte `k` of the big-endian form; 0 above 31. */
void u256_byte(struct u256 *out, const struct u256 *k, const struct u256 *a);
/* Shifts of 256 and more leave nothing, or the sign. */
void u256_shl(struct u256 *out, const struct u256 *n, const struct u256 *a);
void u256_shr(struct u256 *out, const struct u256 *n, const struct u256 *a);
void u256_sar(struct u256 *out, const struct u256 *n, const struct u256 *a);

#endif
