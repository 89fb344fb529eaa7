/* fake_ca: certificate chains as a KMS issues them, for tests. */
#ifndef TESTS_LIB_FAKE_CA_H
#define TESTS_LIB_FAKE_CA_H

#include "common/base/buf.h"
#include "common/crypto/p256.h"

/* fake_ca_root: DER of a self-signed root over `root`. */
void fake_ca_root(struct buf *der, const struct p256_secret *root);

/* fake_ca_chain: [leaf, app CA, root CA] for the key `leaf`. */
void fake_ca_chain(struct buf chain[static 3], const struct p256_secret *root,
    const struct p256_pub *leaf);

#endif
