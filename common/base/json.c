#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/hex.h"
#include "common/base/json.h"
#include "common/base/memfail.h"
#include "common/base/secret.h"

static enum err
parse(json_t **out, const void *text, size_t len, size_t max, size_t flags,
    char *why, size_t why_cap)
{
	uint64_t before = memfail_count();
	json_error_t je;
	json_t *v;

	if (len > max) {
		if (why != NULL)
			(void)snprintf(
			    why, why_cap, "longer than %zu bytes", max);
		return ERR_LIMIT;
	}
	v = json_loadb(
	    text, len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | flags, &je);
	/* Its calls are bound as they come, which saves whatever vector
	 * registers have at the time. */
	secret_wipe_stack();
	/* It may have come out, without a character: memfail.h. */
	if (memfail_count() != before) {
		json_decref(v);
		if (why != NULL)
			(void)snprintf(why, why_cap, "%s", err_text(ERR_NOMEM));
		return ERR_NOMEM;
	}
	if (v == NULL) {
		if (why != NULL)
			(void)snprintf(
			    why, why_cap, "line %d: %s", je.line, je.text);
		return ERR_MALFORMED;
	}
	*out = v;
	return ERR_OK;
}

enum err
json_parse(json_t **out, const void *text, size_t len, size_t max, char *why,
    size_t why_cap)
{
	return parse(out, text, len, max, 0, why, why_cap);
}

enum err
json_parse_js(json_t **out, const void *text, size_t len, size_t max, char *why,
    size_t why_cap)
{
	return parse(out, text, len, max,
	    JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL, why, why_cap);
}

enum err
json_parse_nul(json_t **out, const void *text, size_t len, size_t max,
    char *why, size_t why_cap)
{
	return parse(out, text, len, max, JSON_ALLOW_NUL, why, why_cap);
}

static enum err
member(json_t **out, const json_t *obj, const char *key)
{
	json_t *v;

	if (!json_is_object(obj))
		return ERR_MALFORMED;
	v = json_object_get(obj, key);
	if (v == NULL || json_is_null(v))
		return ERR_NOTFOUND;
	*out = v;
	return ERR_OK;
}

enum err
json_get_str(const char **out, const json_t *obj, const char *key)
{
	json_t *v;
	enum err e = member(&v, obj, key);

	if (e != ERR_OK)
		return e;
	/* A NUL inside would make the C string another one. */
	if (!json_is_string(v) ||
	    strlen(json_string_value(v)) != json_string_length(v))
		return ERR_MALFORMED;
	*out = json_string_value(v);
	return ERR_OK;
}

enum err
json_get_u64(uint64_t *out, const json_t *obj, const char *key)
{
	json_t *v;
	enum err e = member(&v, obj, key);

	if (e != ERR_OK)
		return e;
	if (!json_is_integer(v) || json_integer_value(v) < 0)
		return ERR_MALFORMED;
	*out = (uint64_t)json_integer_value(v);
	return ERR_OK;
}

enum err
json_get_bool(bool *out, const json_t *obj, const char *key)
{
	json_t *v;
	enum err e = member(&v, obj, key);

	if (e != ERR_OK)
		return e;
	if (!json_is_boolean(v))
		return ERR_MALFORMED;
	*out = json_is_true(v);
	return ERR_OK;
}

enum err
json_get_hex(uint8_t *out, size_t len, const json_t *obj, const char *key)
{
	const char *s;
	enum err e = json_get_str(&s, obj, key);

	return e != ERR_OK ? e : hex_fixed(out, len, s);
}

enum err
json_get_hex_buf(
    struct buf *out, size_t max, const json_t *obj, const char *key)
{
	const char *s;
	size_t n, got;
	enum err e = json_get_str(&s, obj, key);

	if (e != ERR_OK)
		return e;
	s = hex_skip_0x(s);
	n = strlen(s) / 2;
	if (n > max || out->len > max - n)
		return ERR_LIMIT;
	if ((e = buf_reserve(out, out->len + n)) != ERR_OK)
		return e;
	e = hex_decode(out->p + out->len, n, &got, s, strlen(s));
	if (e == ERR_OK)
		out->len += got;
	out->p[out->len] = 0;
	return e;
}

enum err
json_set_new(json_t *obj, const char *key, json_t *value)
{
	if (value == NULL)
		return ERR_NOMEM;
	return json_object_set_new(obj, key, value) == 0 ? ERR_OK : ERR_NOMEM;
}

enum err
json_set_hex(json_t *obj, const char *key, const uint8_t *p, size_t len)
{
	char *s = malloc(2 * len + 1);
	enum err e;

	if (s == NULL)
		return memfail_note();
	hex_encode(s, p, len);
	e = json_set_new(obj, key, json_string(s));
	secret_wipe(s, 2 * len);
	free(s);
	secret_wipe_stack(); /* as in parse */
	return e;
}

enum err
json_set_str(json_t *obj, const char *key, const char *text)
{
	uint64_t before = memfail_count();
	json_t *v = json_string(text);

	if (v == NULL)
		return memfail_err(before, ERR_MALFORMED);
	return json_set_new(obj, key, v);
}

enum err
json_set_u64(json_t *obj, const char *key, uint64_t v)
{
	if (v > INT64_MAX)
		return ERR_LIMIT;
	return json_set_new(obj, key, json_integer((json_int_t)v));
}

enum err
json_set_bool(json_t *obj, const char *key, bool v)
{
	return json_set_new(obj, key, json_boolean(v));
}

static enum err
dump(struct buf *out, const json_t *v, size_t flags)
{
	size_t n = json_dumpb(v, NULL, 0, flags), got;
	enum err e;

	if (n == 0)
		return ERR_NOMEM;
	if ((e = buf_reserve(out, out->len + n)) != ERR_OK)
		return e;
	got = json_dumpb(v, (char *)out->p + out->len, n, flags);
	secret_wipe_stack(); /* as in parse */
	if (got != n)
		return ERR_NOMEM;
	out->len += n;
	out->p[out->len] = 0;
	return ERR_OK;
}

enum err
json_write(struct buf *out, const json_t *v)
{
	return dump(out, v, JSON_COMPACT | JSON_ENSURE_ASCII | JSON_ENCODE_ANY);
}

enum err
json_write_pretty(struct buf *out, const json_t *v)
{
	return dump(
	    out, v, JSON_INDENT(2) | JSON_ENSURE_ASCII | JSON_ENCODE_ANY);
}

static void
wipe_inside(json_t *v)
{
	const char *key;
	json_t *x;
	size_t i;

	if (json_is_string(v)) {
		/* The string is ours alone: the value is about to go. */
		secret_wipe((void *)(uintptr_t)json_string_value(v),
		    json_string_length(v));
		return;
	}
	json_object_foreach(v, key, x) wipe_inside(x);
	json_array_foreach(v, i, x) wipe_inside(x);
}

void
json_wipe(json_t *v)
{
	if (v == NULL)
		return;
	wipe_inside(v);
	json_decref(v);
}

static void
wiping_free(void *p)
{
	if (p == NULL)
		return;
	secret_wipe(p, malloc_usable_size(p));
	free(p);
}

void
json_wiping(void)
{
	json_set_alloc_funcs(memfail_malloc, wiping_free);
}
