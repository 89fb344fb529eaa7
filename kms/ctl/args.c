#include <stdio.h>
#include <string.h>

#include "kms/ctl/args.h"

static enum err
bad(char *why, const char *word, const char *what)
{
	(void)snprintf(why, ARGS_WHY_MAX, "%.100s: %s", word, what);
	return ERR_MALFORMED;
}

/* take_option reads argv[*i], which begins with "--" (or is "-x"), and maybe
 * its value. */
static enum err
take_option(struct args *a, int *i, int argc, char *const argv[], char *why)
{
	const char *word = argv[*i], *name = word + (word[1] == '-' ? 2 : 1);
	size_t len = strcspn(name, "=");
	unsigned k;

	for (k = 0; a->option != NULL && a->option[k].name != NULL; k++)
		if (strlen(a->option[k].name) == len &&
		    strncmp(a->option[k].name, name, len) == 0)
			break;
	if (a->option == NULL || a->option[k].name == NULL ||
	    k >= ARGS_OPTIONS_MAX)
		return bad(why, word, "no such option here");
	if (a->value[k] != NULL)
		return bad(why, word, "given twice");
	if (a->option[k].value == NULL) {
		if (name[len] == '=')
			return bad(why, word, "takes no value");
		a->value[k] = "";
		return ERR_OK;
	}
	if (name[len] == '=') {
		a->value[k] = name + len + 1;
		return ERR_OK;
	}
	if (*i + 1 >= argc)
		return bad(why, word, "needs a value");
	a->value[k] = argv[++*i];
	return ERR_OK;
}

enum err
args_parse(struct args *out, const struct args_option *option, unsigned min_pos,
    unsigned max_pos, int argc, char *const argv[],
    char why[static ARGS_WHY_MAX])
{
	struct args a = { .option = option };
	bool only_pos = false;

	for (int i = 0; i < argc; i++) {
		enum err e = ERR_OK;

		if (!only_pos && strcmp(argv[i], "--") == 0) {
			only_pos = true;
		} else if (!only_pos && strncmp(argv[i], "--", 2) == 0) {
			e = take_option(&a, &i, argc, argv, why);
		} else if (!only_pos && argv[i][0] == '-' &&
		    argv[i][1] != '\0' && argv[i][2] == '\0') {
			e = take_option(&a, &i, argc, argv, why);
		} else if (!only_pos && argv[i][0] == '-' &&
		    argv[i][1] != '\0') {
			e = bad(why, argv[i], "no such option here");
		} else if (a.n_pos >= max_pos || a.n_pos >= ARGS_POS_MAX) {
			e = bad(why, argv[i], "one argument too many");
		} else {
			a.pos[a.n_pos++] = argv[i];
		}
		if (e != ERR_OK)
			return e;
	}
	if (a.n_pos < min_pos) {
		(void)snprintf(why, ARGS_WHY_MAX, "%u argument%s missing",
		    min_pos - a.n_pos,
		    min_pos - a.n_pos == 1 ? " is" : "s are");
		return ERR_MALFORMED;
	}
	*out = a;
	return ERR_OK;
}

const char *
args_get(const struct args *a, const char *name)
{
	for (unsigned k = 0; a->option != NULL && a->option[k].name != NULL &&
	     k < ARGS_OPTIONS_MAX;
	     k++)
		if (strcmp(a->option[k].name, name) == 0)
			return a->value[k];
	return NULL;
}

bool
args_has(const struct args *a, const char *name)
{
	return args_get(a, name) != NULL;
}

enum err
args_u64(uint64_t *out, const char *text, uint64_t max)
{
	uint64_t v = 0;

	if (text[0] == '\0')
		return ERR_MALFORMED;
	for (; *text != '\0'; text++) {
		uint64_t d = (uint64_t)(*text - '0');

		if (*text < '0' || *text > '9' || v > (max - d) / 10 || d > max)
			return ERR_MALFORMED;
		v = 10 * v + d;
	}
	*out = v;
	return ERR_OK;
}
