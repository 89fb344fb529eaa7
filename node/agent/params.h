/* params: the fields of one request, by dstack's JSON rules.
 *
 * dstack-compat.md 1.2: names verbatim; unknown fields ignored; a missing
 * field has its default; null is an error unless the field is optional;
 * bytes are hex with or without 0x.  Fields of a GET come from the query
 * string: all of them are text then.
 *
 * The reader is sticky, like rd.h: read all fields, then ask params_bad()
 * once; it tells the first problem. */
#ifndef NODE_AGENT_PARAMS_H
#define NODE_AGENT_PARAMS_H

#include "common/base/json.h"

#define PARAMS_WHY_MAX 160

struct params {
	json_t *obj; /* borrows; an object */
	bool text; /* from a query string */
	char why[PARAMS_WHY_MAX]; /* "" while all is well */
};

/* params_bad returns the first problem, or NULL. */
const char *params_bad(const struct params *p);
/* params_fail notes a problem that the reader itself cannot see. */
void params_fail(struct params *p, const char *text);

/* Text of at most `max` bytes, "" by default; borrowed until `obj` goes.  A
 * NUL inside is a problem. */
const char *params_str(struct params *p, const char *key, size_t max);
/* The same, with any characters: it has a length. */
struct bytes params_text(struct params *p, const char *key, size_t max);
/* Bytes, appended to `out`; over `max` is the problem `too_long`. */
void params_bytes(struct params *p, struct buf *out, const char *key,
    size_t max, const char *too_long);
bool params_bool(struct params *p, const char *key);
/* As above, where the message has an optional field: null is false. */
bool params_bool_opt(struct params *p, const char *key);
/* An optional number; `*has` says whether it is there. */
uint64_t params_u64(struct params *p, const char *key, bool *has);
/* A list of at most `max` texts; NULL if absent.  Borrowed. */
const json_t *params_strs(
    struct params *p, const char *key, size_t max, size_t max_len);

#endif
