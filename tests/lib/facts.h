/* facts: known answers for tests, as hex text or from shared vector files.
 *
 * Files under "../shared/vectors" are other people's and not part of this
 * tree: a test that needs one is skipped when it is not there. */
#ifndef TESTS_LIB_FACTS_H
#define TESTS_LIB_FACTS_H

#include <stdbool.h>

#include <jansson.h>

#include "common/base/buf.h"

/* facts_hex decodes exactly `len` bytes of hex text or fails the test. */
void facts_hex(uint8_t *out, size_t len, const char *hex);
/* facts_hex_buf replaces `out` by the bytes of hex text of any length. */
void facts_hex_buf(struct buf *out, const char *hex);

/* facts_eq: the bytes are those of the hex text; prints them if not. */
bool facts_eq(const void *got, size_t len, const char *hex);

/* facts_read fills `out` with the file, or skips the test if it is absent;
 * facts_json parses it too.  The caller owns both. */
void facts_read(struct buf *out, const char *name);
json_t *facts_json(const char *name);

/* A member, or the test fails; borrowed. */
json_t *facts_get(const json_t *obj, const char *key);
const char *facts_str(const json_t *obj, const char *key);

#endif
