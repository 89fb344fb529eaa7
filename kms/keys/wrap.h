/* wrap: an epoch's roots under a key of their own.
 *
 * The replicated state carries the wrapped roots; the wrapping key travels
 * only by hand-over between attested nodes, and lies only in sealed stores.
 * Dropping it everywhere destroys the epoch (DESIGN 7).
 *
 *   wrapped  nonce 24 | XChaCha20-Poly1305(root_k256 32 | root_ca 32) | tag 16
 *   AD       "devproof-kms/wrap/v1" | number u64be | k256 public key 33 |
 *            CA x||y 64 */
#ifndef KMS_KEYS_WRAP_H
#define KMS_KEYS_WRAP_H

#include "kms/keys/keys.h"

#define WRAP_KEY_LEN 32
#define WRAP_LEN 104

/* Holds a secret: wrap_key_wipe. */
struct wrap_key {
	uint8_t b[WRAP_KEY_LEN];
};

void wrap_key_generate(struct wrap_key *out);
void wrap_key_wipe(struct wrap_key *k);

enum err wrap_roots(uint8_t out[static WRAP_LEN], const struct wrap_key *k,
    struct epoch_roots *r);
/* wrap_open makes the roots of `pub` again; the caller owns them.
 * ERR_AUTH: another key, altered bytes, or roots of another public half;
 * ERR_NOMEM says nothing about them. */
enum err wrap_open(struct epoch_roots **out, const struct wrap_key *k,
    const struct epoch_public *pub, const uint8_t in[static WRAP_LEN]);

#endif
