#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "common/base/hex.h"
#include "common/base/log.h"

#define LINE_MAX_LEN 2048

static const char *program = "devproof-kms";
static atomic_int min_level = LOG_INFO;

void
log_set_program(const char *name)
{
	program = name;
}

void
log_set_level(enum log_level min)
{
	atomic_store(&min_level, (int)min);
}

struct line {
	char s[LINE_MAX_LEN];
	size_t len;
};

static void
put(struct line *l, const char *s, size_t n)
{
	/* Room for the newline is kept back. */
	if (n > sizeof l->s - 1 - l->len)
		n = sizeof l->s - 1 - l->len;
	memcpy(l->s + l->len, s, n);
	l->len += n;
}

static void
put_name(struct line *l, const char *name)
{
	put(l, " ", 1);
	put(l, name, strlen(name));
	put(l, "=", 1);
}

/* A value is quoted unless it is plain, and never breaks the line. */
static void
put_value(struct line *l, const char *v)
{
	size_t n = strnlen(v, LOG_VALUE_MAX);
	bool plain = n > 0;

	for (size_t i = 0; i < n; i++)
		if ((unsigned char)v[i] <= 0x20 || v[i] == '"' || v[i] == '=' ||
		    v[i] == '\\' || (unsigned char)v[i] > 0x7e)
			plain = false;
	if (plain) {
		put(l, v, n);
		return;
	}
	put(l, "\"", 1);
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)v[i];

		if (c == '"' || c == '\\')
			put(l, "\\", 1);
		put(l, c < 0x20 || c > 0x7e ? "?" : (char *)&c, 1);
	}
	put(l, "\"", 1);
}

void
log_fields(enum log_level level, const char *event, const struct log_field *f)
{
	static const char *const names[] = { "debug", "info", "warn", "error" };
	struct line l = { .len = 0 };
	struct timeval tv;
	struct tm tm;
	char tmp[160];

	if ((int)level < atomic_load(&min_level))
		return;
	(void)gettimeofday(&tv, NULL);
	(void)gmtime_r(&tv.tv_sec, &tm);
	(void)snprintf(tmp, sizeof tmp,
	    "time=%04d-%02d-%02dT%02d:%02d:%02d.%03dZ level=%s prog=%s event=",
	    tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min,
	    tm.tm_sec, (int)(tv.tv_usec / 1000), names[level], program);
	put(&l, tmp, strlen(tmp));
	put_value(&l, event);
	for (; f->name != NULL; f++) {
		put_name(&l, f->name);
		switch (f->kind) {
		case LOG_F_STR:
			put_value(&l, f->v.str != NULL ? f->v.str : "");
			break;
		case LOG_F_U64:
			(void)snprintf(tmp, sizeof tmp, "%" PRIu64, f->v.u64);
			put(&l, tmp, strlen(tmp));
			break;
		case LOG_F_I64:
			(void)snprintf(tmp, sizeof tmp, "%" PRId64, f->v.i64);
			put(&l, tmp, strlen(tmp));
			break;
		case LOG_F_HEX:
			hex_encode(tmp, f->v.hex, f->len > 64 ? 64 : f->len);
			put_value(&l, tmp);
			break;
		case LOG_F_WHY:
			put_value(&l, reason_label(f->v.why->code));
			put_name(&l, "detail");
			put_value(&l, f->v.why->detail);
			break;
		}
	}
	l.s[l.len++] = '\n';
	/* One write, so that lines of several threads do not mix. */
	(void)!write(STDERR_FILENO, l.s, l.len);
}
