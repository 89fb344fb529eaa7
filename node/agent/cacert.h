/* cacert: the few questions the agent has about certificates, over OpenSSL,
 * and PEM.
 *
 * Certificates are DER of P-256 keys: dstack-compat.md 4.6. */
#ifndef NODE_AGENT_CACERT_H
#define NODE_AGENT_CACERT_H

#include "common/base/buf.h"
#include "common/crypto/p256.h"

/* cacert_spki copies the public key of a certificate; ERR_MALFORMED if the
 * bytes are not one certificate with a P-256 key. */
enum err cacert_spki(uint8_t out[static P256_SPKI_LEN], struct bytes der);

/* cacert_chain checks what a KMS issued: chain[0] is for `leaf`, each is
 * signed by the next, the last by itself and its key is `root`.
 * ERR_AUTH or ERR_MALFORMED. */
enum err cacert_chain(const struct buf chain[static 3],
    const uint8_t leaf[static P256_SPKI_LEN],
    const uint8_t root[static P256_SPKI_LEN]);

/* pem appends "-----BEGIN `label`-----" and so on.  Constant time in the
 * bytes; reserve() `out` before for secrets: cacert_pem_len bytes more. */
enum err cacert_pem(struct buf *out, const char *label, struct bytes der);
size_t cacert_pem_len(const char *label, size_t der_len);

#endif
