#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <sodium.h>

#include "common/base/json.h"

#include "node/agent/logpage.h"

#define READ_MAX (8u << 20)
#define REPLY_MAX (4u << 20)
#define LINE_MAX_LEN (256u << 10) /* Docker cuts messages at 16 KiB */

static bool
digits(const char *s, size_t len)
{
	return len > 0 && len <= 18 && strspn(s, "0123456789") >= len;
}

enum err
logpage_time(int64_t *out, const char *text, int64_t now)
{
	static const struct {
		char unit;
		int64_t s;
	} units[] = { { 's', 1 }, { 'm', 60 }, { 'h', 3600 }, { 'd', 86400 } };
	size_t len = strlen(text);
	int64_t n;

	if (len == 0) {
		*out = 0;
		return ERR_OK;
	}
	if (digits(text, len)) {
		*out = strtoll(text, NULL, 10);
		return ERR_OK;
	}
	if (!digits(text, len - 1) || len > 10)
		return ERR_MALFORMED;
	n = strtoll(text, NULL, 10);
	for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
		if (text[len - 1] != units[i].unit)
			continue;
		n *= units[i].s;
		/* 0 would be no bound at all. */
		*out = n < now ? now - n : 1;
		return ERR_OK;
	}
	return ERR_MALFORMED;
}

enum err
logpage_tail(uint64_t *out, const char *text)
{
	uint64_t n;

	if (text[0] == '\0') {
		*out = LOGPAGE_TAIL_DEFAULT;
		return ERR_OK;
	}
	if (strcmp(text, "all") == 0) {
		*out = LOGPAGE_TAIL_MAX;
		return ERR_OK;
	}
	if (!digits(text, strlen(text)))
		return ERR_MALFORMED;
	n = strtoull(text, NULL, 10);
	*out = n < LOGPAGE_TAIL_MAX ? n : LOGPAGE_TAIL_MAX;
	return ERR_OK;
}

/* One line of the log; borrows from its JSON. */
struct entry {
	const char *stream;
	const char *time;
	const char *message;
	size_t len;
};

/* Seconds of "2024-05-06T07:08:09.123456789Z"; -1. */
static int64_t
seconds_of(const char *time)
{
	struct tm tm = { 0 };
	const char *end = strptime(time, "%Y-%m-%dT%H:%M:%S", &tm);

	return end != NULL ? (int64_t)timegm(&tm) : -1;
}

static bool
read_entry(struct entry *out, const json_t *v)
{
	const json_t *message = json_object_get(v, "log");

	if (!json_is_string(message) ||
	    json_get_str(&out->stream, v, "stream") != ERR_OK ||
	    json_get_str(&out->time, v, "time") != ERR_OK)
		return false;
	if (strcmp(out->stream, "stdout") != 0 &&
	    strcmp(out->stream, "stderr") != 0)
		return false;
	out->message = json_string_value(message);
	out->len = json_string_length(message);
	return true;
}

static bool
wanted(const struct entry *n, const struct logpage_options *o)
{
	int64_t at = seconds_of(n->time);

	return at >= 0 && (o->since == 0 || at >= o->since) &&
	    (o->until == 0 || at <= o->until);
}

/* Appends text without terminal escapes: ESC [ ... letter, ESC ] ... BEL or
 * ESC \, and ESC with one character; and without other control characters
 * but tab and line feed. */
static enum err
append_plain(struct buf *out, const char *s, size_t len)
{
	enum err e = ERR_OK;

	for (size_t i = 0; e == ERR_OK && i < len; i++) {
		unsigned char c = (unsigned char)s[i];

		if (c != 0x1b) {
			if (c >= 0x20 || c == '\t' || c == '\n')
				e = buf_append(out, &s[i], 1, SIZE_MAX);
			continue;
		}
		if (++i >= len)
			break;
		if (s[i] == '[') {
			while (++i < len && (s[i] < 0x40 || s[i] > 0x7e))
				;
		} else if (s[i] == ']') {
			while (++i < len && s[i] != 0x07 && s[i] != 0x1b)
				;
			if (i < len && s[i] == 0x1b)
				i++;
		}
	}
	return e;
}

static enum err
append_base64(struct buf *out, const void *p, size_t len)
{
	size_t cap =
	    sodium_base64_encoded_len(len, sodium_base64_VARIANT_ORIGINAL);
	char *b64 = malloc(cap);
	enum err e = ERR_NOMEM;

	if (b64 != NULL) {
		(void)sodium_bin2base64(
		    b64, cap, p, len, sodium_base64_VARIANT_ORIGINAL);
		e = buf_append(out, b64, cap - 1, SIZE_MAX);
	}
	free(b64);
	return e;
}

/* The message as asked for: with its time, as text or base64. */
static enum err
message_of(
    struct buf *out, const struct entry *n, const struct logpage_options *o)
{
	struct buf m = { 0 };
	enum err e = ERR_OK;

	if (o->timestamps)
		e = buf_printf(&m, "%s ", n->time);
	if (e == ERR_OK)
		e = buf_append(&m, n->message, n->len, SIZE_MAX);
	if (e != ERR_OK)
		goto done;
	if (!o->text)
		e = append_base64(out, m.p, m.len);
	else if (o->bare && !o->ansi)
		e = append_plain(out, (const char *)m.p, m.len);
	else
		e = buf_append(out, m.p, m.len, SIZE_MAX);
done:
	buf_fini(&m);
	return e;
}

static enum err
write_entry(
    struct buf *out, const struct entry *n, const struct logpage_options *o)
{
	struct buf m = { 0 };
	json_t *line = NULL;
	enum err e;

	if (o->bare)
		return message_of(out, n, o);
	if ((e = message_of(&m, n, o)) != ERR_OK)
		goto done;
	e = ERR_NOMEM;
	line = json_object();
	if (line == NULL ||
	    json_set_str(line, "channel", n->stream) != ERR_OK ||
	    json_set_new(line, "message",
		json_stringn(m.p != NULL ? (char *)m.p : "", m.len)) != ERR_OK)
		goto done;
	e = json_write(out, line);
	if (e == ERR_OK)
		e = buf_append(out, "\n", 1, SIZE_MAX);
done:
	json_decref(line);
	buf_fini(&m);
	return e;
}

/* The end of the file, from the beginning of a line. */
static enum err
read_end(struct buf *out, FILE *log)
{
	long size, from;
	size_t got;

	if (fseek(log, 0, SEEK_END) != 0 || (size = ftell(log)) < 0)
		return ERR_IO;
	from = size > (long)READ_MAX ? size - (long)READ_MAX : 0;
	if (fseek(log, from, SEEK_SET) != 0)
		return ERR_IO;
	if (buf_reserve(out, (size_t)(size - from) + 1) != ERR_OK)
		return ERR_NOMEM;
	got = fread(out->p, 1, (size_t)(size - from), log);
	out->len = got;
	if (from > 0) {
		uint8_t *nl = memchr(out->p, '\n', got);
		size_t skip = nl != NULL ? (size_t)(nl + 1 - out->p) : got;

		memmove(out->p, out->p + skip, got - skip);
		out->len = got - skip;
	}
	return ferror(log) ? ERR_IO : ERR_OK;
}

/* Lines from the last one on, until there are enough: their JSON, newest
 * first, in a list that the caller owns. */
static json_t *
collect(const struct buf *in, const struct logpage_options *o)
{
	json_t *list = json_array(), *v;
	size_t end = in->len, size = 0;
	struct entry n;

	while (end > 0 && json_array_size(list) < o->tail && size < REPLY_MAX) {
		const uint8_t *nl = memrchr(in->p, '\n', end - 1);
		size_t at = nl != NULL ? (size_t)(nl + 1 - in->p) : 0;
		size_t len = end - at;

		end = at;
		if (json_parse_nul(
			&v, in->p + at, len, LINE_MAX_LEN, NULL, 0) != ERR_OK)
			continue;
		if (read_entry(&n, v) && wanted(&n, o)) {
			size += 2 * n.len + 64;
			(void)json_array_append(list, v);
		}
		json_decref(v);
	}
	return list;
}

enum err
logpage_write(struct buf *out, FILE *log, const struct logpage_options *o)
{
	struct buf in = { 0 };
	json_t *list = NULL;
	enum err e = read_end(&in, log);

	if (e == ERR_OK)
		list = collect(&in, o);
	for (size_t i = json_array_size(list); e == ERR_OK && i-- > 0;) {
		struct entry n;

		if (read_entry(&n, json_array_get(list, i)))
			e = write_entry(out, &n, o);
	}
	json_decref(list);
	buf_fini(&in);
	return e;
}
