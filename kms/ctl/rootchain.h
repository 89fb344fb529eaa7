/* rootchain: which roots follow from the one of epoch 0 that somebody pinned.
 *
 * Offline, by the certificates that a release brought along:
 *   "registry": 20 bytes in hex, "chain_id": a number,
 *   "epochs": [{"number", "k256_pub", "ca_spki_sha256", "mode": "routine" or
 *               "emergency", "certificate": 65 bytes in hex}, ...]
 * A routine certificate is signed by the root before.  One of an emergency is
 * not: whoever signed it has to be known (the anchor's signer), or the
 * registry has to be asked.  Pure. */
#ifndef KMS_CTL_ROOTCHAIN_H
#define KMS_CTL_ROOTCHAIN_H

#include "common/base/json.h"
#include "common/base/reason.h"
#include "common/crypto/epochcert.h"

#define ROOTCHAIN_MAX 64
#define ROOTCHAIN_SIGNERS 8

struct rootchain_link {
	struct epochcert cert;
	struct k256_sig65 sig;
};

struct rootchain {
	struct rootchain_link link[ROOTCHAIN_MAX]; /* epochs 1, 2, ... */
	size_t n;
};

/* rootchain_read takes them from a claim; none is fine.  Epoch 0 may be
 * among them, without a certificate.  ERR_MALFORMED: `why` says what. */
enum err rootchain_read(
    struct rootchain *out, const json_t *claim, char *why, size_t why_cap);

/* rootchain_follow finds the epoch whose root is `root`, from `genesis` on.
 * `signer` are those of the anchor that are trusted.  ERR_DENIED: none, or a
 * link before it does not hold or cannot be checked; `why` says which. */
enum err rootchain_follow(uint64_t *epoch, const struct rootchain *c,
    const struct k256_pub *genesis, const struct k256_pub *root,
    const uint8_t (*signer)[20], size_t n_signers, struct refusal *why);

#endif
