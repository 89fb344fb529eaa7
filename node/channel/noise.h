/* noise: Noise_XX_25519_ChaChaPoly_SHA256, revision 34 of the Noise
 * specification, as a pure state machine over libsodium.
 *
 *   -> e
 *   <- e, ee, s, es
 *   -> s, se
 *
 * Nothing here draws randomness, reads a clock, allocates or logs.  The
 * caller's storage holds secrets: noise_fini wipes it, on every path. */
#ifndef NODE_CHANNEL_NOISE_H
#define NODE_CHANNEL_NOISE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/buf.h"

#define NOISE_KEY_LEN 32
#define NOISE_TAG_LEN 16
/* The three messages with an empty payload. */
#define NOISE_MSG1_LEN 32
#define NOISE_MSG2_LEN (32 + 48 + NOISE_TAG_LEN)
#define NOISE_MSG3_LEN (48 + NOISE_TAG_LEN)
/* Any handshake message, payload included: more than the channel sends. */
#define NOISE_MSG_MAX 512u

enum noise_side { NOISE_INITIATOR, NOISE_RESPONDER };

/* One direction of transport, after the handshake. */
struct noise_cipher {
	uint8_t k[NOISE_KEY_LEN]; /* secret */
	uint64_t n; /* the next nonce */
};

/* The handshake; treat as opaque. */
struct noise {
	enum noise_side side;
	unsigned step; /* messages done so far; NOISE_DEAD after a failure */
	bool has_k;
	uint64_t n;
	uint8_t ck[32], k[32], h[32]; /* ck, k: secret */
	uint8_t e[32], e_pub[32]; /* e: secret */
	uint8_t s_pub[32], re[32], rs[32];
	const uint8_t *s; /* borrows, secret; until noise_fini */
};

/* noise_public computes the public key of `secret`. */
void noise_public(uint8_t out[static 32], const uint8_t secret[static 32]);

/* noise_init begins a handshake.  `s` (the static secret) is borrowed and
 * read by noise_write and noise_read alone; `e` is copied and must be
 * random and used once. */
void noise_init(struct noise *ns, enum noise_side side,
    const uint8_t s[static 32], const uint8_t s_pub[static 32],
    const uint8_t e[static 32], struct bytes prologue);
void noise_fini(struct noise *ns);

/* noise_write appends this side's next message with `payload` to `out`.
 * ERR_PHASE out of turn, ERR_LIMIT above NOISE_MSG_MAX, ERR_AUTH when a
 * Diffie-Hellman result is all zero.  After an error the handshake is dead. */
enum err noise_write(struct noise *ns, struct buf *out, struct bytes payload);

/* noise_read takes the peer's next message and appends its payload to
 * `payload`, which may be NULL if an empty one is required.
 * ERR_MALFORMED (length), ERR_AUTH, ERR_PHASE; then the handshake is dead. */
enum err noise_read(struct noise *ns, struct buf *payload, struct bytes in);

bool noise_done(const struct noise *ns);

/* noise_split gives both ciphers and wipes the handshake's secrets; the
 * handshake hash and the peer's static key remain readable.  Call it once,
 * when noise_done. */
void noise_split(
    struct noise *ns, struct noise_cipher *send, struct noise_cipher *recv);
const uint8_t *noise_hash(const struct noise *ns);
const uint8_t *noise_peer(const struct noise *ns);

/* noise_seal encrypts (p, len) in place and writes the tag behind it: the
 * caller has room for NOISE_TAG_LEN more bytes.  ERR_LIMIT once the nonces
 * are used up. */
enum err noise_seal(
    struct noise_cipher *c, uint8_t *p, size_t len, struct bytes ad);
/* noise_open decrypts (p, len) in place, tag included.  On ERR_AUTH
 * the nonce is as it was and the bytes are lost (libsodium zeroes them). */
enum err noise_open(
    struct noise_cipher *c, uint8_t *p, size_t len, struct bytes ad);
/* noise_rekey: section 4.2 of the specification; the nonce goes on. */
void noise_rekey(struct noise_cipher *c);

#endif
