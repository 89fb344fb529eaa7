/* json: strict reading and plain writing of JSON, over jansson.
 *
 * Reading: UTF-8, one value, no trailing bytes, no duplicate keys, bounded
 * length and (by jansson) depth 2048.  Getters say what is wrong by key in
 * a refusal's detail style string, for the edge to show.
 * Writing: compact, ASCII only (others as \uXXXX), as dstack's JS SDK needs. */
#ifndef COMMON_BASE_JSON_H
#define COMMON_BASE_JSON_H

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "common/base/buf.h"

/* json_parse reads exactly one value; the caller owns `*out` (json_decref).
 * ERR_MALFORMED, ERR_LIMIT (over `max` bytes).  If `why` is not NULL it
 * gets "line L: text". */
enum err json_parse(json_t **out, const void *text, size_t len, size_t max,
    char *why, size_t why_cap);

/* json_parse_js does the same with JavaScript's numbers: all are doubles, and
 * as many digits as one likes; strings may have NUL characters. */
enum err json_parse_js(json_t **out, const void *text, size_t len, size_t max,
    char *why, size_t why_cap);

/* json_parse_nul does the same, but strings may have NUL characters: for who
 * asks for the length of every one of them. */
enum err json_parse_nul(json_t **out, const void *text, size_t len, size_t max,
    char *why, size_t why_cap);

/* Typed members.  ERR_NOTFOUND if absent or null, ERR_MALFORMED if of
 * another type or out of range.  Strings are borrowed until `obj` goes. */
enum err json_get_str(const char **out, const json_t *obj, const char *key);
enum err json_get_u64(uint64_t *out, const json_t *obj, const char *key);
enum err json_get_bool(bool *out, const json_t *obj, const char *key);
/* Hex text (0x allowed) of exactly `len` bytes. */
enum err json_get_hex(
    uint8_t *out, size_t len, const json_t *obj, const char *key);
/* Hex text (0x allowed) of at most `max` bytes, appended to `out`. */
enum err json_get_hex_buf(
    struct buf *out, size_t max, const json_t *obj, const char *key);

/* json_set_hex sets obj[key] to the hex text of the bytes. */
enum err json_set_hex(
    json_t *obj, const char *key, const uint8_t *p, size_t len);
/* json_set_str sets obj[key]; text that is not UTF-8 is ERR_MALFORMED. */
enum err json_set_str(json_t *obj, const char *key, const char *text);
enum err json_set_u64(json_t *obj, const char *key, uint64_t v);
enum err json_set_bool(json_t *obj, const char *key, bool v);
/* json_set_new sets obj[key] to `value`, which it takes even on failure. */
enum err json_set_new(json_t *obj, const char *key, json_t *value);

/* json_write appends compact ASCII JSON; json_write_pretty indents by two. */
enum err json_write(struct buf *out, const json_t *v);
enum err json_write_pretty(struct buf *out, const json_t *v);

/* json_wipe zeroes every string inside `v`, then drops the reference:
 * for replies that have held keys. */
void json_wipe(json_t *v);

/* json_wiping has jansson zero what it frees, from now on: for a program that
 * parses secrets.  Before its first use, and before the first thread. */
void json_wiping(void);

#endif
