/* protodump: a protobuf message as one line of text, by its descriptor.
 *
 * For bytes that may be anything: what cannot be read is told with its place
 * and ends the line.  Long values are cut, those of keys are told by their
 * length alone, as are fields that the descriptor does not know. */
#ifndef KMS_CTL_PROTODUMP_H
#define KMS_CTL_PROTODUMP_H

#include <protobuf-c/protobuf-c.h>

#include "common/base/buf.h"

/* The text of one message; what is longer ends in "...". */
#define PROTODUMP_MAX (16u * 1024)

/* protodump appends "Name { field: value ... }" to `out`.  ERR_OK also for a
 * line that was cut; ERR_MALFORMED: the line ends in what is wrong, and at
 * which byte; ERR_NOMEM. */
enum err protodump(
    struct buf *out, const ProtobufCMessageDescriptor *d, struct bytes in);

/* protodump_text appends at most 64 characters, printable ASCII alone, in
 * quotes. */
enum err protodump_text(struct buf *out, struct bytes in);
/* protodump_hex appends short bytes in hex, of others the beginning and the
 * length. */
enum err protodump_hex(struct buf *out, struct bytes in);

#endif
