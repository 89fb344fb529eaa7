/* seal: how one record of the store is sealed.
 *
 *   sealed  len(clear) u8 | clear | nonce 24 | ciphertext | tag 16
 *   AD      "devproof-kms/store/v2" | cluster 32 | len(slot) u8 | slot |
 *           table u8 | len(name) u8 | name | clear
 *
 * XChaCha20-Poly1305 under the platform's sealing key. */
#ifndef NODE_STORE_SEAL_H
#define NODE_STORE_SEAL_H

#include "common/base/buf.h"

#define SEAL_SLOT_MAX 64 /* with NUL */
#define SEAL_KEY_MAX 65 /* table u8 | name */
#define SEAL_CLEAR_MAX 64

struct seal {
	uint8_t *key; /* owns: secret memory, 32 bytes */
	unsigned users; /* the key is readable while there are any */
	uint8_t cluster[32];
	char slot[SEAL_SLOT_MAX];
};

/* seal_init copies `key` into locked memory.  ERR_CONFIG: the slot's name is
 * too long; ERR_NOMEM.  seal_fini also takes a zeroed struct. */
enum err seal_init(struct seal *s, const uint8_t key[static 32],
    const uint8_t cluster[static 32], const char *slot);
void seal_fini(struct seal *s);

/* Two system calls for each record would be felt: a walk or a transaction
 * opens the key once.  Calls nest. */
void seal_use(struct seal *s);
void seal_done(struct seal *s);

size_t seal_size(size_t clear_len, size_t value_len);
/* seal_put fills seal_size bytes at `out`.  `full` is table u8 | name. */
void seal_put(struct seal *s, uint8_t *out, struct bytes full,
    struct bytes clear, struct bytes value);
/* seal_open replaces `out` by the value; `clear` borrows from `sealed`.
 * ERR_CORRUPT: this is not what was sealed for `full`; ERR_NOMEM. */
enum err seal_open(struct seal *s, struct buf *out, struct bytes *clear,
    struct bytes full, struct bytes sealed);

#endif
