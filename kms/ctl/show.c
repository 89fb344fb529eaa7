#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "kms/ctl/show.h"

/* Wide enough for "chain.kms_contract" and 32 bytes of hex beside it. */
#define NAME_MAX_SHOWN 64
#define CELL_MAX 512

static bool
is_table(const json_t *v)
{
	return json_is_array(v) && json_array_size(v) > 0 &&
	    json_is_object(json_array_get(v, 0));
}

/* The text of a scalar, or of an array of scalars. */
static void
cell(char out[static CELL_MAX], const json_t *v)
{
	size_t n = 0;

	out[0] = '\0';
	if (json_is_string(v)) {
		const char *s = json_string_value(v);

		for (; *s != '\0' && n < CELL_MAX - 1; s++)
			out[n++] = *s >= 0x20 && *s < 0x7f ? *s : '?';
		out[n] = '\0';
		if (*s != '\0')
			memcpy(out + CELL_MAX - 4, "...", 4);
	} else if (json_is_integer(v)) {
		(void)snprintf(
		    out, CELL_MAX, "%lld", (long long)json_integer_value(v));
	} else if (json_is_real(v)) {
		(void)snprintf(out, CELL_MAX, "%g", json_real_value(v));
	} else if (json_is_boolean(v)) {
		(void)snprintf(
		    out, CELL_MAX, "%s", json_is_true(v) ? "yes" : "no");
	} else if (json_is_array(v)) {
		size_t i;
		const json_t *x;

		json_array_foreach(v, i, x)
		{
			char one[CELL_MAX];

			cell(one, x);
			n += (size_t)snprintf(out + n, CELL_MAX - n, "%s%s",
			    i > 0 ? ", " : "", one);
			if (n >= CELL_MAX)
				return;
		}
	}
	if (out[0] == '\0')
		(void)snprintf(out, CELL_MAX, "-");
}

static void
join(char out[static NAME_MAX_SHOWN], const char *prefix, const char *key)
{
	(void)snprintf(out, NAME_MAX_SHOWN, "%s%s%s", prefix,
	    prefix[0] != '\0' ? "." : "", key);
	for (char *p = out; *p != '\0'; p++)
		if (*p < 0x20 || *p >= 0x7f)
			*p = '?';
}

static size_t
name_width(const char *prefix, const json_t *obj)
{
	const char *key;
	json_t *x;
	size_t w = 0;

	json_object_foreach((json_t *)(uintptr_t)obj, key, x)
	{
		char name[NAME_MAX_SHOWN];
		size_t n;

		join(name, prefix, key);
		n = json_is_object(x) ? name_width(name, x)
		    : is_table(x)     ? 0
				      : strlen(name);
		w = n > w ? n : w;
	}
	return w;
}

static void
show_table(FILE *out, const json_t *rows)
{
	const json_t *first = json_array_get(rows, 0), *row;
	const char *key;
	json_t *x;
	size_t i;

	for (int head = 1; head >= 0; head--)
		json_array_foreach(rows, i, row)
		{
			if (head && i > 0)
				break;
			json_object_foreach((json_t *)(uintptr_t)first, key, x)
			{
				char text[CELL_MAX], name[NAME_MAX_SHOWN];
				const json_t *r;
				size_t w, k;

				join(name, "", key);
				w = strlen(name);
				json_array_foreach(rows, k, r)
				{
					cell(text, json_object_get(r, key));
					w = strlen(text) > w ? strlen(text) : w;
				}
				cell(text, json_object_get(row, key));
				(void)fprintf(
				    out, "  %-*s", (int)w, head ? name : text);
			}
			(void)fputc('\n', out);
		}
}

static void
show_lines(FILE *out, const char *prefix, const json_t *obj, size_t w)
{
	const char *key;
	json_t *x;

	json_object_foreach((json_t *)(uintptr_t)obj, key, x)
	{
		char name[NAME_MAX_SHOWN], text[CELL_MAX];

		join(name, prefix, key);
		if (is_table(x))
			continue;
		if (json_is_object(x)) {
			show_lines(out, name, x, w);
			continue;
		}
		cell(text, x);
		(void)fprintf(out, "%-*s  %s\n", (int)w, name, text);
	}
}

static void
show_tables(FILE *out, const char *prefix, const json_t *obj)
{
	const char *key;
	json_t *x;

	json_object_foreach((json_t *)(uintptr_t)obj, key, x)
	{
		char name[NAME_MAX_SHOWN];

		join(name, prefix, key);
		if (json_is_object(x))
			show_tables(out, name, x);
		if (!is_table(x))
			continue;
		(void)fprintf(out, "%s:\n", name);
		show_table(out, x);
	}
}

void
show_value(FILE *out, const json_t *v)
{
	char text[CELL_MAX];

	if (json_is_object(v)) {
		show_lines(out, "", v, name_width("", v));
		show_tables(out, "", v);
	} else if (is_table(v)) {
		show_table(out, v);
	} else {
		cell(text, v);
		(void)fprintf(out, "%s\n", text);
	}
}
