/* rawhttp: bytes to a socket and back, for servers that must bear anything. */
#ifndef TESTS_LIB_RAWHTTP_H
#define TESTS_LIB_RAWHTTP_H

#include <stdbool.h>

#include "common/base/buf.h"

/* A stream to a unix socket, or -1. */
int rawhttp_dial(const char *path);
/* Sends in pieces of `step` bytes, until the server takes no more. */
void rawhttp_send(int fd, struct bytes text, size_t step);
/* Reads to the end, and closes; false: reset.  `out` may be NULL. */
bool rawhttp_read(int fd, struct buf *out);
/* All of it; the caller owns `*out`. */
void rawhttp_talk(
    struct buf *out, const char *path, struct bytes text, size_t step);

/* What a reply must be, whatever was asked: a status line, an exact length,
 * "Connection: close", no chunks.  NULL if so, else what is wrong.  `*status`
 * and `*body` (borrowed) are set. */
const char *rawhttp_check(
    const struct buf *reply, unsigned *status, struct bytes *body);
/* Whether a header (with its ": ") begins with `value`. */
bool rawhttp_header(
    const struct buf *reply, const char *name, const char *value);

#endif
