/* frame: the eight bytes in front of everything on the wire.
 *
 *   0  2  "DK"
 *   2  1  version, 1
 *   3  1  type
 *   4  4  length of what follows, big-endian
 *
 * This is the whole of what is parsed before a peer is known; the caller
 * holds type and length against its phase before it reads on. */
#ifndef NODE_CHANNEL_FRAME_H
#define NODE_CHANNEL_FRAME_H

#include <stdint.h>

#include "common/base/err.h"

#define FRAME_HEAD_LEN 8

enum frame_type {
	FRAME_HELLO = 1, /* dialler: role, cookie, Noise message 1 */
	FRAME_RETRY = 2, /* answerer: cookie */
	FRAME_ANSWER = 3, /* answerer: Noise message 2 */
	FRAME_FINISH = 4, /* dialler: Noise message 3 */
	FRAME_DATA = 5, /* both: counter, sealed message */
};

struct frame_head {
	enum frame_type type;
	uint32_t len;
};

/* frame_parse: ERR_MALFORMED unless magic, version and type are known. */
enum err frame_parse(
    struct frame_head *out, const uint8_t in[static FRAME_HEAD_LEN]);
void frame_write(
    uint8_t out[static FRAME_HEAD_LEN], enum frame_type type, uint32_t len);

#endif
