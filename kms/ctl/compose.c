#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/limits.h"
#include "kms/ctl/compose.h"

/* Escapes can make a file six times as long, never more. */
#define CANONICAL_MAX (6u * LIMIT_APP_COMPOSE)

static enum err
put(struct buf *b, const char *s)
{
	return buf_append(b, s, strlen(s), CANONICAL_MAX);
}

/* The shortest digits that read back as `v`: ECMA-262 6.1.6.1.20, where
 * k digits d and n mean d * 10^(n-k). */
enum err
compose_number(char out[static COMPOSE_NUMBER_MAX], double v)
{
	char text[COMPOSE_NUMBER_MAX], digits[24];
	int k = 0, n, at = 0;

	if (!isfinite(v))
		return ERR_MALFORMED;
	if (v == 0) { /* and -0 */
		memcpy(out, "0", 2);
		return ERR_OK;
	}
	if (v < 0) {
		out[at++] = '-';
		v = -v;
	}
	for (int precision = 0; precision < 17; precision++) {
		(void)snprintf(text, sizeof text, "%.*e", precision, v);
		if (strtod(text, NULL) == v)
			break;
	}
	n = (int)strtol(strchr(text, 'e') + 1, NULL, 10) + 1;
	for (const char *p = text; *p != 'e'; p++)
		if (*p != '.')
			digits[k++] = *p;
	while (k > 1 && digits[k - 1] == '0')
		k--;
	if (k <= n && n <= 21) {
		for (int i = 0; i < n; i++)
			out[at++] = i < k ? digits[i] : '0';
	} else if (0 < n && n <= 21) {
		for (int i = 0; i < k; i++) {
			if (i == n)
				out[at++] = '.';
			out[at++] = digits[i];
		}
	} else if (-6 < n && n <= 0) {
		out[at++] = '0';
		out[at++] = '.';
		for (int i = n; i < k; i++)
			out[at++] = i < 0 ? '0' : digits[i];
	} else {
		for (int i = 0; i < k; i++) {
			if (i == 1)
				out[at++] = '.';
			out[at++] = digits[i];
		}
		at += snprintf(
		    out + at, (size_t)(COMPOSE_NUMBER_MAX - at), "e%+d", n - 1);
	}
	out[at] = '\0';
	return ERR_OK;
}

/* ECMA-262 QuoteJSONString; jansson has made sure of UTF-8. */
static enum err
put_string(struct buf *b, const char *s, size_t len)
{
	enum err e = put(b, "\"");

	for (size_t i = 0; e == ERR_OK && i < len; i++) {
		static const char from[] = "\b\t\n\f\r\"\\";
		static const char to[] = "btnfr\"\\";
		const char *at = s[i] == '\0' ? NULL : strchr(from, s[i]);

		if (at != NULL) {
			const char esc[2] = { '\\', to[at - from] };

			e = buf_append(b, esc, 2, CANONICAL_MAX);
		} else if ((unsigned char)s[i] < 0x20) {
			char esc[8];

			(void)snprintf(esc, sizeof esc, "\\u%04x",
			    (unsigned)(unsigned char)s[i]);
			e = put(b, esc);
		} else {
			e = buf_append(b, s + i, 1, CANONICAL_MAX);
		}
	}
	return e != ERR_OK ? e : put(b, "\"");
}

/* ---- the order of keys ---- */

/* JavaScript lists keys that are array indices first, as numbers, whatever
 * the order they were put in: sorting does not change that. */
static bool
array_index(uint32_t *out, const char *key)
{
	uint64_t v = 0;
	size_t n = strlen(key);

	if (n == 0 || n > 10 || strspn(key, "0123456789") != n ||
	    (key[0] == '0' && n > 1))
		return false;
	for (; *key != '\0'; key++)
		v = 10 * v + (uint64_t)(*key - '0');
	if (v >= UINT32_MAX)
		return false;
	*out = (uint32_t)v;
	return true;
}

/* The lead of a code point that UTF-16 writes as surrogates (4 bytes of
 * UTF-8) sorts below U+E000 to U+FFFF (lead EE and EF) there. */
static int
utf16_rank(unsigned char c)
{
	return c >= 0xf0 ? 0xed : c >= 0xee ? c + 0x10 : c;
}

struct key {
	const char *name;
	size_t at; /* in the file */
};

/* Array indices come first in any object of JavaScript; 0: neither is one. */
static int
by_index(const char *x, const char *y)
{
	uint32_t i, k;
	bool xi = array_index(&i, x), yi = array_index(&k, y);

	if (xi && yi)
		return i < k ? -1 : 1;
	return (int)yi - (int)xi;
}

static int
in_order(const void *a, const void *b)
{
	const struct key *x = a, *y = b;
	int r = by_index(x->name, y->name);

	return r != 0 ? r : x->at < y->at ? -1 : 1;
}

static int
sorted(const void *a, const void *b)
{
	const char *x = ((const struct key *)a)->name,
		   *y = ((const struct key *)b)->name;
	int r = by_index(x, y);

	if (r != 0)
		return r;
	while (*x != '\0' && *x == *y) {
		x++;
		y++;
	}
	if (utf16_rank((unsigned char)*x) != utf16_rank((unsigned char)*y))
		return utf16_rank((unsigned char)*x) <
			utf16_rank((unsigned char)*y)
		    ? -1
		    : 1;
	return (unsigned char)*x - (unsigned char)*y;
}

/* The SDK sorts what it takes for a plain object, by its `constructor`: one
 * with a member of that name stays as it is, with all that is in it.  Of what
 * it sorts, a member `__proto__` becomes the prototype, and is not written. */
static bool
is_sorted(const json_t *v)
{
	return json_object_get(v, "constructor") == NULL;
}

static enum err put_value(struct buf *b, const json_t *v, bool sort);

static bool
is_dropped(const char *key, const char *const *drop)
{
	for (; drop != NULL && *drop != NULL; drop++)
		if (strcmp(*drop, key) == 0)
			return true;
	return false;
}

static enum err
put_object(struct buf *b, const json_t *v, bool sort, const char *const *drop)
{
	struct key *keys = calloc(json_object_size(v) + 1, sizeof *keys);
	size_t n = 0, at = 0;
	const char *key;
	json_t *x;
	enum err e;

	if (keys == NULL)
		return ERR_NOMEM;
	sort = sort && is_sorted(v);
	json_object_foreach((json_t *)(uintptr_t)v, key, x)
	{
		at++;
		if (is_dropped(key, drop) ||
		    (sort && strcmp(key, "__proto__") == 0))
			continue;
		keys[n++] = (struct key){ .name = key, .at = at };
	}
	qsort(keys, n, sizeof *keys, sort ? sorted : in_order);
	e = put(b, "{");
	for (size_t i = 0; e == ERR_OK && i < n; i++) {
		if (i > 0)
			e = put(b, ",");
		if (e == ERR_OK)
			e = put_string(b, keys[i].name, strlen(keys[i].name));
		if (e == ERR_OK)
			e = put(b, ":");
		if (e == ERR_OK)
			e = put_value(
			    b, json_object_get(v, keys[i].name), sort);
	}
	free(keys);
	return e != ERR_OK ? e : put(b, "}");
}

static enum err
put_array(struct buf *b, const json_t *v, bool sort)
{
	enum err e = put(b, "[");
	size_t i;
	json_t *x;

	json_array_foreach(v, i, x)
	{
		if (e == ERR_OK && i > 0)
			e = put(b, ",");
		if (e == ERR_OK)
			e = put_value(b, x, sort);
	}
	return e != ERR_OK ? e : put(b, "]");
}

static enum err
put_value(struct buf *b, const json_t *v, bool sort)
{
	char number[COMPOSE_NUMBER_MAX];
	enum err e;

	switch (json_typeof(v)) {
	case JSON_OBJECT:
		return put_object(b, v, sort, NULL);
	case JSON_ARRAY:
		return put_array(b, v, sort);
	case JSON_STRING:
		return put_string(
		    b, json_string_value(v), json_string_length(v));
	case JSON_INTEGER:
	case JSON_REAL:
		/* JavaScript has doubles only. */
		e = compose_number(number, json_number_value(v));
		return e != ERR_OK ? e : put(b, number);
	case JSON_TRUE:
		return put(b, "true");
	case JSON_FALSE:
		return put(b, "false");
	case JSON_NULL:
		return put(b, "null");
	}
	return ERR_MALFORMED;
}

/* What JavaScript calls falsy. */
static bool
falsy(const json_t *v)
{
	return json_is_null(v) || json_is_false(v) ||
	    (json_is_number(v) && json_number_value(v) == 0) ||
	    (json_is_string(v) && json_string_length(v) == 0);
}

enum err
compose_canonical(struct buf *out, const json_t *v, bool clean)
{
	const char *drop[3] = { NULL }, *runner = NULL;
	const json_t *script = json_object_get(v, "pre_launch_script");
	unsigned n = 0;

	if (!json_is_object(v))
		return ERR_MALFORMED;
	if (!clean)
		return put_object(out, v, true, NULL);
	if (json_get_str(&runner, v, "runner") != ERR_OK)
		runner = "";
	if (strcmp(runner, "bash") == 0)
		drop[n++] = "docker_compose_file";
	else if (strcmp(runner, "docker-compose") == 0)
		drop[n++] = "bash_script";
	if (script != NULL && falsy(script))
		drop[n++] = "pre_launch_script";
	return put_object(out, v, true, drop);
}
