/* wiredump: bytes of the attested channel, told frame by frame
 * (node/channel/README.md), so that a capture or a fuzzer's finding can be read.
 *
 * Each function appends objects to the array `rows`:
 *   at      offset of the frame
 *   frame   HELLO, RETRY, ANSWER, FINISH, DATA; of a fuzz target's input
 *           INPUT (its first byte), MESSAGE
 *   length  of its body
 *   what    text: its fields, its message if it could be opened, and behind
 *           a '!' whatever is wrong
 *   bad     true if something is
 *   sealed  false if what it says was in the clear, or could be opened
 * Input may be anything.  Secret fields are told by their lengths alone. */
#ifndef KMS_CTL_WIREDUMP_H
#define KMS_CTL_WIREDUMP_H

#include <stdbool.h>

#include "common/base/buf.h"
#include "common/base/json.h"

#define WIREDUMP_KEYS_MAX 1024u
/* Frames of one stream; then a row says that there are more. */
#define WIREDUMP_FRAMES_MAX 100000u

/* Traffic keys, one for each direction of a session. */
struct wiredump_keys {
	uint8_t (*key)[32]; /* owns; secret */
	size_t n;
};

/* wiredump_keys_read takes the lines "channel_key HEX" of a text, whatever
 * else is in it.  ERR_MALFORMED: such a line without 32 bytes of hex;
 * ERR_LIMIT: more than WIREDUMP_KEYS_MAX. */
enum err wiredump_keys_read(struct wiredump_keys *out, struct bytes text);
void wiredump_keys_fini(struct wiredump_keys *k);

/* wiredump_stream: one direction from its beginning.  Each key is tried on
 * the first sealed frame; `keys` may be NULL.  ERR_MALFORMED: a row says
 * where it ends to be of this protocol; ERR_NOMEM. */
enum err wiredump_stream(
    json_t *rows, struct bytes in, const struct wiredump_keys *keys);

/* Inputs of the fuzz targets, "channel_server", "channel_shake",
 * "channel_transport" and "msg": what fuzz/fuzz_NAME.c says of its first byte,
 * then a stream, or a list of (type, two bytes of length, body).
 * ERR_NOTFOUND: no such target, or not of these. */
enum err wiredump_fuzz(json_t *rows, const char *target, struct bytes in);

#endif
