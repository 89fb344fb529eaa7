#include <stdio.h>
#include <string.h>

#include "common/base/buf.h"
#include "kms/ctl/envfile.h"
#include "node/agent/appenv.h"

json_t *
envfile_new(void)
{
	return json_pack("{s:[]}", "env");
}

size_t
envfile_count(const json_t *env)
{
	return json_array_size(json_object_get(env, "env"));
}

/* What an agent would not take is refused here already. */
static enum err
add(json_t *env, const char *name, const char *value, size_t len, char *why)
{
	json_t *list = json_object_get(env, "env"), *x, *item;
	size_t i, total = strlen(name) + len;

	if (!appenv_name_ok(name)) {
		(void)snprintf(why, ENVFILE_WHY_MAX,
		    "%.60s: a name is letters, digits and _, at most %d", name,
		    APPENV_NAME);
		return ERR_MALFORMED;
	}
	json_array_foreach(list, i, x)
	{
		const json_t *v = json_object_get(x, "value");
		const char *key = json_string_value(json_object_get(x, "key"));

		if (strcmp(key, name) == 0) {
			(void)snprintf(
			    why, ENVFILE_WHY_MAX, "%.60s is there twice", name);
			return ERR_EXISTS;
		}
		total += strlen(key) + json_string_length(v);
	}
	if (len > APPENV_VALUE || total > APPENV_TOTAL ||
	    json_array_size(list) == APPENV_ITEMS) {
		(void)snprintf(why, ENVFILE_WHY_MAX,
		    "%.60s: too much: %d variables, values of 128 KiB, 1 MiB "
		    "in all",
		    name, APPENV_ITEMS);
		return ERR_LIMIT;
	}
	if (!appenv_value_ok(value, len)) {
		(void)snprintf(why, ENVFILE_WHY_MAX,
		    "%.60s: no value may have NUL, or end in a backslash",
		    name);
		return ERR_MALFORMED;
	}
	item = json_pack("{s:s, s:s%}", "key", name, "value", value, len);
	if (item == NULL) {
		(void)snprintf(
		    why, ENVFILE_WHY_MAX, "%.60s: not UTF-8 text", name);
		return ERR_MALFORMED;
	}
	return json_array_append_new(list, item) == 0 ? ERR_OK : ERR_NOMEM;
}

static enum err
bad(char *why, const char *what)
{
	(void)snprintf(why, ENVFILE_WHY_MAX, "%s", what);
	return ERR_MALFORMED;
}

enum err
envfile_add(json_t *env, const char *word, char why[static ENVFILE_WHY_MAX])
{
	char name[APPENV_NAME + 2];
	const char *eq = strchr(word, '=');
	size_t n;

	if (eq == NULL || eq == word)
		return bad(why, "must be NAME=value");
	n = (size_t)(eq - word);
	if (n > APPENV_NAME)
		return bad(why, "a name is too long");
	memcpy(name, word, n);
	name[n] = '\0';
	return add(env, name, eq + 1, strlen(eq + 1), why);
}

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

/* Undoes double quotes in place; ERR_MALFORMED: they do not end there. */
static enum err
unquote(char *s, size_t *len)
{
	size_t to = 0;

	for (size_t i = 1; i < *len; i++) {
		char c = s[i];

		if (c == '"') {
			*len = to;
			return s[i + 1] == '\0' ? ERR_OK : ERR_MALFORMED;
		}
		if (c == '\\' && i + 1 < *len) {
			c = s[++i];
			c = c == 'n'   ? '\n'
			    : c == 'r' ? '\r'
			    : c == 't' ? '\t'
				       : c;
			if (strchr("\n\r\t\"\\$`", c) == NULL)
				return ERR_MALFORMED;
		}
		s[to++] = c;
	}
	return ERR_MALFORMED;
}

/* One line, NUL-terminated, which is changed. */
static enum err
add_line(json_t *env, char *line, char *why)
{
	char *eq, *value;
	size_t n;

	while (is_blank(*line))
		line++;
	if (*line == '\0' || *line == '#')
		return ERR_OK;
	if (strncmp(line, "export ", 7) == 0)
		line += 7;
	if ((eq = strchr(line, '=')) == NULL)
		return bad(why, "must be NAME=value");
	*eq = '\0';
	for (value = eq + 1; is_blank(*value);)
		value++;
	n = strlen(value);
	while (n > 0 && is_blank(value[n - 1]))
		value[--n] = '\0';
	if (*value == '\'') {
		if (n < 2 || strchr(value + 1, '\'') != value + n - 1)
			return bad(why, "single quotes do not end the line");
		return add(env, line, value + 1, n - 2, why);
	}
	if (*value == '"' && unquote(value, &n) != ERR_OK)
		return bad(why,
		    "double quotes do not end the line, or \\ "
		    "before something else");
	return add(env, line, value, n, why);
}

enum err
envfile_add_lines(
    json_t *env, struct bytes text, char why[static ENVFILE_WHY_MAX])
{
	struct buf copy = { 0 };
	char detail[ENVFILE_WHY_MAX] = "";
	unsigned number = 1;
	char *at;
	enum err e;

	if (text.len > ENVFILE_MAX || memchr(text.p, '\0', text.len) != NULL)
		return bad(why, "too long, or not text");
	if ((e = buf_set(&copy, text.p, text.len)) != ERR_OK)
		return e;
	at = (char *)copy.p;
	while (e == ERR_OK && at != NULL && *at != '\0') {
		char *end = strchr(at, '\n');

		if (end != NULL)
			*end = '\0';
		e = add_line(env, at, detail);
		if (e != ERR_OK)
			(void)snprintf(why, ENVFILE_WHY_MAX, "line %u: %.130s",
			    number, detail);
		number++;
		at = end != NULL ? end + 1 : NULL;
	}
	buf_wipe(&copy);
	return e;
}
