#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/hex.h"
#include "common/base/log.h"
#include "common/base/rate.h"

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

static void
write_line(enum log_level level, const char *event, const struct log_field *f)
{
	static const char *const names[] = { "debug", "info", "warn", "error" };
	struct line l = { .len = 0 };
	struct timeval tv;
	struct tm tm;
	char tmp[160];

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

/* ---- not too many of them ---- */

#define KIND_NAME_MAX 32

struct kind {
	char event[KIND_NAME_MAX]; /* cut; "": the kinds without a place */
	enum reason reason;
	struct rate rate;
	uint64_t untold; /* suppressed, and not told */
};

static struct {
	pthread_mutex_t lock;
	bool begun;
	struct rate all;
	struct kind kind[LOG_KINDS];
	unsigned n;
	uint64_t untold, told_ms, suppressed;
} limit = { .lock = PTHREAD_MUTEX_INITIALIZER };

static struct kind *
find_kind(const char *event, enum reason reason, uint64_t now)
{
	struct kind *k;

	for (unsigned i = 0; i < limit.n; i++) {
		k = &limit.kind[i];
		if (k->reason == reason &&
		    strncmp(k->event, event, KIND_NAME_MAX - 1) == 0)
			return k;
	}
	if (limit.n == LOG_KINDS)
		return &limit.kind[LOG_KINDS - 1];
	k = &limit.kind[limit.n++];
	k->rate = rate_full(LOG_KIND_PER_S, LOG_KIND_BURST, now);
	if (limit.n == LOG_KINDS)
		return k;
	k->reason = reason;
	(void)snprintf(k->event, sizeof k->event, "%s", event);
	return k;
}

static bool
may_write(const char *event, enum reason reason, uint64_t now)
{
	struct kind *k;
	bool may;

	(void)pthread_mutex_lock(&limit.lock);
	if (!limit.begun) {
		limit.begun = true;
		limit.all = rate_full(LOG_ALL_PER_S, LOG_ALL_BURST, now);
		limit.told_ms = now;
	}
	k = find_kind(event, reason, now);
	may = rate_take(&k->rate, now) && rate_take(&limit.all, now);
	if (!may) {
		k->untold++;
		limit.untold++;
		limit.suppressed++;
	}
	(void)pthread_mutex_unlock(&limit.lock);
	return may;
}

/* The next kind of which something is to be told, at or behind `*at`. */
static bool
next_untold(struct kind *out, unsigned *at)
{
	bool found = false;

	(void)pthread_mutex_lock(&limit.lock);
	for (; !found && *at < limit.n; (*at)++) {
		struct kind *k = &limit.kind[*at];

		found = k->untold > 0;
		if (!found)
			continue;
		*out = *k;
		limit.untold -= k->untold;
		k->untold = 0;
	}
	(void)pthread_mutex_unlock(&limit.lock);
	return found;
}

static void
tell_suppressed(uint64_t now)
{
	struct kind k;
	bool due;

	(void)pthread_mutex_lock(&limit.lock);
	due = limit.untold > 0 && now - limit.told_ms >= LOG_TOLD_MS;
	if (due)
		limit.told_ms = now;
	(void)pthread_mutex_unlock(&limit.lock);
	for (unsigned at = 0; due && next_untold(&k, &at);) {
		const struct log_field f[] = {
			log_str(
			    "kind", k.event[0] != '\0' ? k.event : "others"),
			log_str("reason", reason_label(k.reason)),
			log_u64("count", k.untold), { 0 }
		};

		write_line(LOG_WARN, "log_suppressed", f);
	}
}

void
log_tick(void)
{
	tell_suppressed(clock_mono_ms());
}

uint64_t
log_suppressed(void)
{
	uint64_t n;

	(void)pthread_mutex_lock(&limit.lock);
	n = limit.suppressed;
	(void)pthread_mutex_unlock(&limit.lock);
	return n;
}

void
log_fields(enum log_level level, const char *event, const struct log_field *f)
{
	enum reason reason = REASON_NONE;
	uint64_t now;

	if ((int)level < atomic_load(&min_level))
		return;
	for (const struct log_field *i = f; i->name != NULL; i++)
		if (i->kind == LOG_F_WHY)
			reason = i->v.why->code;
	now = clock_mono_ms();
	if (may_write(event, reason, now))
		write_line(level, event, f);
	tell_suppressed(now);
}
