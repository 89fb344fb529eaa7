#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/limits.h"
#include "common/base/yaml.h"

const cyaml_strval_t yaml_bools[2] = { { "false", YAML_FALSE },
	{ "true", YAML_TRUE } };

/* libcyaml logs the problem first and then where it was, innermost first:
 * keep these two lines. */
struct trouble {
	char what[YAML_WHY_MAX];
	char where[YAML_WHY_MAX];
};

__attribute__((format(printf, 3, 0))) static void
on_log(cyaml_log_t level, void *ctx, const char *fmt, va_list args)
{
	struct trouble *t = ctx;
	char line[YAML_WHY_MAX];
	char *s = line;
	size_t n;

	(void)level;
	if (vsnprintf(line, sizeof line, fmt, args) < 0)
		return;
	n = strlen(s);
	while (n > 0 && (s[n - 1] == '\n' || s[n - 1] == ' '))
		s[--n] = '\0';
	if (strncmp(s, "Load: ", 6) == 0)
		s += 6;
	s += strspn(s, " ");
	if (t->what[0] == '\0')
		(void)snprintf(t->what, sizeof t->what, "%s", s);
	else if (t->where[0] == '\0' && strstr(s, "line") != NULL)
		(void)snprintf(t->where, sizeof t->where, "%s", s);
}

/* libcyaml names the place where a mapping began, not the unknown key in it:
 * look for the key from there on. */
static void
point_at_key(struct trouble *t, struct bytes yaml)
{
	static const char prefix[] = "Unexpected key: ";
	const char *key = t->what + sizeof prefix - 1;
	const char *in = strstr(t->where, "line: ");
	const char *text = (const char *)yaml.p, *end = text + yaml.len;
	unsigned long from, line = 1;

	if (strncmp(t->what, prefix, sizeof prefix - 1) != 0 || in == NULL)
		return;
	from = strtoul(in + 6, NULL, 10);
	for (; text < end; line++) {
		const char *nl = memchr(text, '\n', (size_t)(end - text));
		size_t len = (size_t)((nl != NULL ? nl : end) - text);

		if (line >= from &&
		    memmem(text, len, key, strlen(key)) != NULL) {
			(void)snprintf(
			    t->where, sizeof t->where, "line: %lu", line);
			return;
		}
		text += len + 1;
	}
}

static cyaml_config_t
settings(struct trouble *t)
{
	return (cyaml_config_t){ .log_fn = on_log,
		.log_ctx = t,
		.mem_fn = cyaml_mem,
		.log_level = CYAML_LOG_WARNING,
		.flags = CYAML_CFG_NO_ALIAS };
}

enum err
yaml_parse(void **out, struct bytes text, const cyaml_schema_value_t *schema,
    char why[static YAML_WHY_MAX])
{
	struct trouble t = { .what = "" };
	const cyaml_config_t how = settings(&t);
	cyaml_data_t *data = NULL;
	cyaml_err_t ce;

	why[0] = '\0';
	if (text.len > LIMIT_CONFIG_FILE) {
		(void)snprintf(why, YAML_WHY_MAX, "file is too long");
		return ERR_CONFIG;
	}
	ce = cyaml_load_data(text.p, text.len, &how, schema, &data, NULL);
	if (ce == CYAML_OK && data != NULL) {
		*out = data;
		return ERR_OK;
	}
	point_at_key(&t, text);
	if (t.what[0] == '\0')
		(void)snprintf(t.what, sizeof t.what, "%s",
		    ce != CYAML_OK ? cyaml_strerror(ce) : "file is empty");
	(void)snprintf(why, YAML_WHY_MAX, "%.110s%s%.110s%s", t.what,
	    t.where[0] != '\0' ? " (" : "", t.where,
	    t.where[0] != '\0' ? ")" : "");
	return ERR_CONFIG;
}

void
yaml_release(void *p, const cyaml_schema_value_t *schema)
{
	struct trouble t = { .what = "" };
	const cyaml_config_t how = settings(&t);

	if (p != NULL)
		(void)!cyaml_free(&how, schema, p, 0);
}
