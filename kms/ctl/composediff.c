#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kms/ctl/composediff.h"

#define SHOWN_MAX 64 /* of a value */
#define LINE_MAX_SHOWN 160

/* ---- members ---- */

static unsigned
count_lines(const char *s)
{
	unsigned n = *s != '\0';

	for (; *s != '\0'; s++)
		n += *s == '\n' && s[1] != '\0';
	return n;
}

static bool
is_text(const json_t *v)
{
	return json_is_string(v) && strchr(json_string_value(v), '\n') != NULL;
}

/* A value in one short line; "-" for none. */
static json_t *
shown(const json_t *v)
{
	char *text;
	json_t *out;

	if (v == NULL)
		return json_string("-");
	if (is_text(v))
		return json_sprintf(
		    "%u lines", count_lines(json_string_value(v)));
	text =
	    json_dumps(v, JSON_COMPACT | JSON_ENCODE_ANY | JSON_ENSURE_ASCII);
	if (text == NULL)
		return NULL;
	if (strlen(text) > SHOWN_MAX)
		memcpy(text + SHOWN_MAX - 3, "...", 4);
	out = json_string(text);
	free(text);
	return out;
}

static void
put_member(json_t *rows, const char *key, const json_t *old, const json_t *new)
{
	const char *change = old == NULL ? "added"
	    : new == NULL                ? "removed"
					 : "changed";

	(void)json_array_append_new(rows,
	    json_pack("{s:s, s:s, s:o, s:o}", "member", key, "change", change,
		"old", shown(old), "new", shown(new)));
}

json_t *
composediff_members(const json_t *old, const json_t *new)
{
	json_t *rows = json_array(), *x;
	const char *key;

	if (rows == NULL)
		return NULL;
	json_object_foreach((json_t *)(uintptr_t) new, key, x)
	{
		const json_t *before = json_object_get(old, key);

		if (before == NULL || !json_equal(before, x))
			put_member(rows, key, before, x);
	}
	json_object_foreach((json_t *)(uintptr_t)old, key, x)
	{
		if (json_object_get(new, key) == NULL)
			put_member(rows, key, x, NULL);
	}
	return rows;
}

/* ---- lines ---- */

/* The end of the line at `s`: its newline or the text's end. */
static const char *
line_end(const char *s)
{
	return s + strcspn(s, "\n");
}

static const char *
next_line(const char *s)
{
	s = line_end(s);
	return *s == '\n' ? s + 1 : s;
}

/* skip_common leaves the first lines that differ, and where the last ones
 * end. */
static void
skip_common(
    const char **a, const char **a_end, const char **b, const char **b_end)
{
	const char *x = *a, *y = *b;

	*a_end = x + strlen(x);
	*b_end = y + strlen(y);
	while (*x != '\0' && *y != '\0') {
		size_t n = (size_t)(next_line(x) - x);

		if ((size_t)(next_line(y) - y) != n || memcmp(x, y, n) != 0)
			break;
		x += n;
		y += n;
	}
	*a = x;
	*b = y;
	/* Back from the end, and then up to a line's end. */
	x = *a_end;
	y = *b_end;
	while (x > *a && y > *b && x[-1] == y[-1]) {
		x--;
		y--;
		if ((x == *a || x[-1] == '\n') && (y == *b || y[-1] == '\n')) {
			*a_end = x;
			*b_end = y;
		}
	}
}

static bool
put_lines(json_t *rows, const char *key, const char *sign, const char *at,
    const char *end)
{
	for (; at < end; at = next_line(at)) {
		char line[LINE_MAX_SHOWN + 1];
		size_t n = (size_t)(line_end(at) - at);

		if (json_array_size(rows) >= COMPOSEDIFF_LINES - 1) {
			(void)json_array_append_new(rows,
			    json_pack("{s:s, s:s, s:s}", "member", key,
				"change", "", "line", "... and more"));
			return false;
		}
		if (n > LINE_MAX_SHOWN) {
			n = LINE_MAX_SHOWN;
			/* Not in the middle of a character. */
			while (n > 0 && ((unsigned char)at[n] & 0xc0) == 0x80)
				n--;
		}
		memcpy(line, at, n);
		line[n] = '\0';
		(void)json_array_append_new(rows,
		    json_pack("{s:s, s:s, s:s}", "member", key, "change", sign,
			"line", line));
	}
	return true;
}

json_t *
composediff_lines(const json_t *old, const json_t *new)
{
	json_t *rows = json_array(), *x;
	const char *key;

	if (rows == NULL)
		return NULL;
	json_object_foreach((json_t *)(uintptr_t) new, key, x)
	{
		const json_t *before = json_object_get(old, key);
		const char *a, *b, *a_end, *b_end;

		if (!json_is_string(before) || !json_is_string(x) ||
		    (!is_text(before) && !is_text(x)) || json_equal(before, x))
			continue;
		a = json_string_value(before);
		b = json_string_value(x);
		skip_common(&a, &a_end, &b, &b_end);
		if (!put_lines(rows, key, "-", a, a_end) ||
		    !put_lines(rows, key, "+", b, b_end))
			break;
	}
	return rows;
}

/* ---- warnings ---- */

static bool
flag(const json_t *v, const char *key)
{
	return json_is_true(json_object_get(v, key));
}

static bool
says(const json_t *v, const char *key, const char *text)
{
	const char *s = json_string_value(json_object_get(v, key));

	return s != NULL && strcmp(s, text) == 0;
}

/* The first image of a compose file that no digest names.  It is YAML, but
 * not parsed: what comes after `image:` on a line. */
static bool
loose_image(char out[static SHOWN_MAX], const char *text)
{
	for (const char *p = text; (p = strstr(p, "image")) != NULL;) {
		size_t n;

		p += strlen("image");
		p += *p == '"' || *p == '\'';
		p += strspn(p, " \t");
		if (*p != ':')
			continue;
		p++;
		p += strspn(p, " \t\"'");
		n = strcspn(p, " \t\r\n\"',}#");
		if (n == 0)
			continue;
		if (n >= SHOWN_MAX)
			n = SHOWN_MAX - 1;
		memcpy(out, p, n);
		out[n] = '\0';
		if (strstr(out, "@sha256:") == NULL &&
		    memmem(p, strcspn(p, " \t\r\n\"',}#"), "@sha256:", 8) ==
			NULL)
			return true;
	}
	return false;
}

static enum err
warn(json_t *list, const char *code, json_t *text)
{
	json_t *row = json_pack("{s:s, s:o}", "code", code, "text", text);

	return row != NULL && json_array_append_new(list, row) == 0 ? ERR_OK
								    : ERR_NOMEM;
}

enum err
composediff_warn(json_t *list, const json_t *compose)
{
	const char *name = NULL, *text = NULL;
	char image[SHOWN_MAX];
	enum err e = ERR_OK;

	if (json_get_str(&name, compose, "name") == ERR_OK)
		e = warn(list, "name",
		    json_sprintf("the name \"%.60s\" is inside the hash: under "
				 "another name it is another compose hash",
			name));
	if (e == ERR_OK &&
	    json_get_str(&text, compose, "docker_compose_file") == ERR_OK &&
	    loose_image(image, text))
		e = warn(list, "image",
		    json_sprintf(
			"%s: no digest (@sha256:...), so what runs can "
			"change while the hash stays",
			image));
	if (e == ERR_OK &&
	    !(flag(compose, "kms_enabled") ||
		says(compose, "key_provider", "kms")))
		e = warn(list, "no_kms",
		    json_string("it asks no KMS for keys (kms_enabled, "
				"key_provider)"));
	else if (e == ERR_OK &&
	    !json_is_string(json_object_get(compose, "key_provider_id")))
		e = warn(list, "any_kms",
		    json_string("no key_provider_id: a host can start it "
				"under a KMS of his own, with other keys"));
	if (e == ERR_OK && flag(compose, "no_instance_id"))
		e = warn(list, "no_instance_id",
		    json_string("no_instance_id: all replicas have one disk "
				"key, and are one instance"));
	if (e == ERR_OK && flag(compose, "public_logs"))
		e = warn(list, "public_logs",
		    json_string("public_logs: anybody can read its logs"));
	if (e == ERR_OK &&
	    json_array_size(json_object_get(compose, "allowed_envs")) > 0)
		e = warn(list, "allowed_envs",
		    json_sprintf("%zu variables (allowed_envs) are set by "
				 "whoever deploys it, outside the hash",
			json_array_size(
			    json_object_get(compose, "allowed_envs"))));
	return e;
}
