/* pbjson: protobuf to JSON and back, as descriptors say.
 *
 * dstack-compat.md 1.2: a message is an object, its members have the names
 * of the fields; bytes are lowercase hex (input: 0x and upper case, too),
 * repeated fields are arrays, numbers are numbers.  Fields that one side
 * does not know are ignored.  What is not on the wire is not in the object.
 *
 * Descriptors are protobuf-c's.  Types in use: string, bytes, bool, uint32,
 * uint64, message; a descriptor with another is our mistake. */
#ifndef COMMON_WIRE_PBJSON_H
#define COMMON_WIRE_PBJSON_H

#include <protobuf-c/protobuf-c.h>

#include "common/base/json.h"

/* Messages within messages; ours have two levels. */
#define PBJSON_DEPTH_MAX 8u
/* Values in one message: a list of them costs more memory here than there. */
#define PBJSON_VALUES_MAX 10000u

/* pbjson_read makes an object out of one message; the caller owns it, and
 * json_wipe()s it if it holds secrets.
 * ERR_MALFORMED: no such message, or text that is not UTF-8, or a number
 * above 2^63 - 1; ERR_LIMIT: too many values, too deep; ERR_NOMEM.
 * `*out` is written on ERR_OK alone. */
enum err pbjson_read(
    json_t **out, const ProtobufCMessageDescriptor *d, struct bytes in);

/* pbjson_write appends the message that the object (or null, which has no
 * fields) describes.  A field with its default value is left out, unless it
 * is in a oneof.  `out` is reserved once: no copies stay behind.
 * ERR_MALFORMED: a member has another type than its field; ERR_LIMIT: too
 * deep; ERR_NOMEM.  On an error nothing is appended. */
enum err pbjson_write(
    struct buf *out, const ProtobufCMessageDescriptor *d, const json_t *v);

#endif
