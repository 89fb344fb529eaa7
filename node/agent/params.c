#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/hex.h"

#include "node/agent/params.h"

__attribute__((format(printf, 2, 3))) static void
problem(struct params *p, const char *fmt, ...)
{
	va_list ap;

	if (p->why[0] != '\0')
		return;
	va_start(ap, fmt);
	(void)vsnprintf(p->why, sizeof p->why, fmt, ap);
	va_end(ap);
}

const char *
params_bad(const struct params *p)
{
	return p->why[0] != '\0' ? p->why : NULL;
}

void
params_fail(struct params *p, const char *text)
{
	problem(p, "%s", text);
}

/* The member, or NULL if it is absent or wrong; null is wrong. */
static json_t *
required(struct params *p, const char *key)
{
	json_t *v = json_object_get(p->obj, key);

	if (json_is_null(v)) {
		problem(p, "%s: invalid type: null", key);
		return NULL;
	}
	return v;
}

struct bytes
params_text(struct params *p, const char *key, size_t max)
{
	const struct bytes none = BYTES_STR("");
	json_t *v = required(p, key);

	if (v == NULL)
		return none;
	if (!json_is_string(v)) {
		problem(p, "%s: expected a string", key);
		return none;
	}
	if (json_string_length(v) > max) {
		problem(p, "%s: longer than %zu bytes", key, max);
		return none;
	}
	return (struct bytes){ (const uint8_t *)json_string_value(v),
		json_string_length(v) };
}

const char *
params_str(struct params *p, const char *key, size_t max)
{
	struct bytes b = params_text(p, key, max);

	if (memchr(b.p, '\0', b.len) != NULL) {
		problem(p, "%s: a NUL character is not allowed", key);
		return "";
	}
	return (const char *)b.p;
}

void
params_bytes(struct params *p, struct buf *out, const char *key, size_t max,
    const char *too_long)
{
	json_t *v = required(p, key);
	const char *s;
	size_t n, got;

	if (v == NULL)
		return;
	if (!json_is_string(v)) {
		problem(p, "%s: expected a hex string", key);
		return;
	}
	if (strlen(json_string_value(v)) != json_string_length(v)) {
		problem(p, "%s: invalid hex digit", key);
		return;
	}
	s = hex_skip_0x(json_string_value(v));
	n = strlen(s);
	if (n % 2 != 0) {
		problem(p, "%s: odd number of hex digits", key);
		return;
	}
	if (n / 2 > max) {
		problem(p, "%s", too_long);
		return;
	}
	if (buf_reserve(out, out->len + n / 2 + 1) != ERR_OK) {
		problem(p, "out of memory");
		return;
	}
	if (hex_decode(out->p + out->len, n / 2, &got, s, n) != ERR_OK) {
		problem(p, "%s: invalid hex digit", key);
		return;
	}
	out->len += got;
}

bool
params_bool(struct params *p, const char *key)
{
	json_t *v = required(p, key);

	if (v == NULL)
		return false;
	if (p->text && json_is_string(v)) {
		if (strcmp(json_string_value(v), "true") == 0)
			return true;
		if (strcmp(json_string_value(v), "false") == 0)
			return false;
	}
	if (!json_is_boolean(v))
		problem(p, "%s: expected a boolean", key);
	return json_is_true(v);
}

bool
params_bool_opt(struct params *p, const char *key)
{
	return !json_is_null(json_object_get(p->obj, key)) &&
	    params_bool(p, key);
}

static uint64_t
number_of_text(struct params *p, const char *key, const char *s)
{
	unsigned long long n;

	errno = 0;
	n = strtoull(s, NULL, 10);
	if (s[0] == '\0' || s[strspn(s, "0123456789")] != '\0' || errno != 0 ||
	    n > INT64_MAX) {
		problem(p, "%s: expected an unsigned number", key);
		return 0;
	}
	return n;
}

uint64_t
params_u64(struct params *p, const char *key, bool *has)
{
	json_t *v = json_object_get(p->obj, key);

	*has = v != NULL && !json_is_null(v);
	if (!*has)
		return 0;
	if (p->text && json_is_string(v))
		return number_of_text(p, key, json_string_value(v));
	if (!json_is_integer(v) || json_integer_value(v) < 0) {
		problem(p, "%s: expected an unsigned number", key);
		return 0;
	}
	return (uint64_t)json_integer_value(v);
}

const json_t *
params_strs(struct params *p, const char *key, size_t max, size_t max_len)
{
	json_t *v = required(p, key), *x;
	size_t i;

	if (v == NULL)
		return NULL;
	if (!json_is_array(v)) {
		problem(p, "%s: expected a list", key);
		return NULL;
	}
	if (json_array_size(v) > max) {
		problem(p, "%s: more than %zu items", key, max);
		return NULL;
	}
	json_array_foreach(v, i, x)
	{
		if (!json_is_string(x)) {
			problem(p, "%s: expected a list of strings", key);
			return NULL;
		}
		if (strlen(json_string_value(x)) != json_string_length(x)) {
			problem(p, "%s: a NUL character is not allowed", key);
			return NULL;
		}
		if (json_string_length(x) > max_len) {
			problem(p, "%s: longer than %zu bytes", key, max_len);
			return NULL;
		}
	}
	return v;
}
