/* keyring: the roots that this process holds, by epoch.
 *
 * Thread-safe.  Roots enter by generation, by hand-over from an attested
 * member, or from the sealed store, and leave by keyring_drop only. */
#ifndef KMS_KEYS_KEYRING_H
#define KMS_KEYS_KEYRING_H

#include "kms/keys/keys.h"

struct keyring; /* opaque */

enum err keyring_new(struct keyring **out);
void keyring_free(struct keyring *k); /* wipes; NULL is fine */

/* keyring_add takes `r` on success.  ERR_EXISTS: the epoch has other roots
 * already (equal ones are ERR_OK, and `r` is freed). */
enum err keyring_add(struct keyring *k, struct epoch_roots *r);
/* keyring_clear drops all of them. */
void keyring_clear(struct keyring *k);
void keyring_drop(struct keyring *k, uint64_t number);
bool keyring_has(struct keyring *k, uint64_t number);

/* keyring_ca_cert copies the DER of the epoch's root CA certificate, which
 * is minted once per process; ERR_NOTFOUND. */
enum err keyring_ca_cert(struct keyring *k, struct buf *der, uint64_t number);

/* keyring_use locks the ring and borrows the roots until keyring_done; NULL
 * if the epoch is not held (nothing is locked then). */
struct epoch_roots *keyring_use(struct keyring *k, uint64_t number);
void keyring_done(struct keyring *k);

#endif
