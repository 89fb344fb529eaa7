/* bench_prim: what the primitives cost here and now, one at a time.
 *
 * A floor is a sum of these: what is left of a request when everything but
 * its cryptography costs nothing. */
#ifndef TESTS_BENCH_BENCH_PRIM_H
#define TESTS_BENCH_BENCH_PRIM_H

#include <stddef.h>

/* Microseconds each, one core; the best of many short runs. */
struct bench_prim {
	double x25519; /* scalar times point */
	double x25519_base; /* scalar times base point */
	double p256_sign; /* digest and key ready */
	double p256_verify; /* digest and key ready */
	double p256_base; /* scalar times base point */
	double k256_pubkey;
	double k256_sign; /* recoverable, digest ready */
	double hkdf; /* 32 bytes */
	double aead_request; /* seal or open, a request's length */
	double aead_reply; /* the same, a reply's */
};

/* Returns 0, or -1 if a library failed. */
int bench_prim_measure(
    struct bench_prim *out, size_t request_len, size_t reply_len);

/* Both sides of one session together: 6 X25519 with a point and 2 with the
 * base, 2 quotes signed, and 2 verified at 1 verification each, for PCK
 * chain, collateral and QE report are known from the session before. */
double bench_prim_session_us(const struct bench_prim *p);
/* Both sides of one release together: 3 HKDF, secp256k1 public key and
 * signature, 2 P-256 public keys, request and reply sealed and opened. */
double bench_prim_release_us(const struct bench_prim *p);

#endif
