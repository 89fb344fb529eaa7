/* log: one structured line (logfmt) per event, on standard error.
 *
 *   log_event(LOG_INFO, "release", log_hex("app", id, 20), log_u64("epoch", e));
 *
 * Values are escaped and cut at LOG_VALUE_MAX; a line never spans two.
 * Fields are text, numbers, hex ids or a refusal.  No field kind accepts a
 * key type: secrets cannot be logged without naming their bytes. */
#ifndef COMMON_BASE_LOG_H
#define COMMON_BASE_LOG_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/reason.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

#define LOG_VALUE_MAX 256

struct log_field {
	const char *name; /* NULL ends the list */
	enum { LOG_F_STR, LOG_F_U64, LOG_F_I64, LOG_F_HEX, LOG_F_WHY } kind;
	union {
		const char *str;
		uint64_t u64;
		int64_t i64;
		const uint8_t *hex;
		const struct refusal *why;
	} v;
	size_t len;
};

static inline struct log_field
log_str(const char *name, const char *v)
{
	return (
	    struct log_field){ .name = name, .kind = LOG_F_STR, .v.str = v };
}

static inline struct log_field
log_u64(const char *name, uint64_t v)
{
	return (
	    struct log_field){ .name = name, .kind = LOG_F_U64, .v.u64 = v };
}

static inline struct log_field
log_i64(const char *name, int64_t v)
{
	return (
	    struct log_field){ .name = name, .kind = LOG_F_I64, .v.i64 = v };
}

/* Public identifiers only (hashes, ids, addresses); at most 64 bytes. */
static inline struct log_field
log_hex(const char *name, const uint8_t *v, size_t len)
{
	return (struct log_field){
		.name = name, .kind = LOG_F_HEX, .v.hex = v, .len = len
	};
}

/* Prints reason="..." detail="...". */
static inline struct log_field
log_why(const struct refusal *why)
{
	return (struct log_field){
		.name = "reason", .kind = LOG_F_WHY, .v.why = why
	};
}

/* What a flood may write.  A kind is an event, and its reason if it has one;
 * of each kind so many lines come a second, and so many at once; of all kinds
 * together so many.  Of the others a line tells the number, every
 * LOG_TOLD_MS while something is logged:
 *   event=log_suppressed kind=refused reason=busy count=1234
 * Lines are for people: what has to be whole is counted where it happens. */
#define LOG_KIND_PER_S 5u
#define LOG_KIND_BURST 500u
#define LOG_ALL_PER_S 20u
#define LOG_ALL_BURST 2000u
#define LOG_KINDS 128u /* further ones share the last place */
#define LOG_TOLD_MS 5000u

/* log_tick tells what was suppressed, if it is time to; for who may be silent
 * after a flood. */
void log_tick(void);
/* Lines suppressed since the start. */
uint64_t log_suppressed(void);

/* log_set_program names the program (static string) in every line. */
void log_set_program(const char *name);
void log_set_level(enum log_level min);

void log_fields(
    enum log_level level, const char *event, const struct log_field *fields);

/* log_event takes one field at least; log_plain is for none. */
#define log_event(level, event, ...) \
	log_fields( \
	    level, event, (const struct log_field[]){ __VA_ARGS__, { 0 } })
#define log_plain(level, event) \
	log_fields(level, event, (const struct log_field[]){ { 0 } })

#endif
