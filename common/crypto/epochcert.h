/* epochcert: what links the roots of one epoch to those before.
 *
 *   certificate  "devproof-kms-epoch:" 19 | chain id u64be | registry 20 |
 *                epoch u64be | k256 key 33 | SHA-256 of the root CA's SPKI 32 |
 *                mode u8
 *
 * 121 bytes, signed as SIG65: DESIGN 7, contracts/README.md.  In a routine
 * rotation the root before signs; in an emergency that is presumed stolen,
 * and the signer of the cluster's anchor does.  Pure. */
#ifndef COMMON_CRYPTO_EPOCHCERT_H
#define COMMON_CRYPTO_EPOCHCERT_H

#include "common/crypto/k256.h"
#include "common/crypto/p256.h"

#define EPOCHCERT_LEN 121u

enum epochcert_mode {
	EPOCHCERT_ROUTINE = 0,
	EPOCHCERT_EMERGENCY = 1,
};

struct epochcert {
	uint64_t chain_id;
	uint8_t registry[20];
	uint64_t epoch; /* whose certificate it is: never 0 */
	struct k256_pub k256;
	uint8_t ca_spki_hash[32];
	enum epochcert_mode mode;
};

/* epochcert_message writes the bytes that are signed.  ERR_MALFORMED: epoch
 * 0 has no certificate, the key is none, or there is no such mode. */
enum err epochcert_message(
    uint8_t out[static EPOCHCERT_LEN], const struct epochcert *c);

/* epochcert_ca_hash: SHA-256 of a CA key's SPKI; ERR_MALFORMED: not a key. */
enum err epochcert_ca_hash(uint8_t out[static 32], const struct p256_pub *ca);

/* epochcert_signer recovers who signed: its address.  ERR_MALFORMED as above
 * or for a signature of another form, ERR_AUTH if it recovers no key. */
enum err epochcert_signer(uint8_t out[static 20], const struct epochcert *c,
    const struct k256_sig65 *sig);

/* epochcert_verify: ERR_AUTH unless the holder of `before` signed it: the
 * root of epoch c->epoch - 1.  That says nothing in an emergency: compare
 * epochcert_signer with an address that is trusted. */
enum err epochcert_verify(const struct epochcert *c,
    const struct k256_sig65 *sig, const struct k256_pub *before);

#endif
