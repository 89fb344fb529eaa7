#include <stdio.h>
#include <string.h>

#include "node/harden/harden.h"

#define OPT CYAML_FLAG_OPTIONAL

const cyaml_schema_field_t harden_fields[] = {
	CYAML_FIELD_STRING("user", OPT, struct harden_file, user, 1),
	CYAML_FIELD_STRING("group", OPT, struct harden_file, group, 1),
	CYAML_FIELD_STRING("seccomp", OPT, struct harden_file, seccomp, 1),
	CYAML_FIELD_END,
};

static const char *const filters[] = { "enforce", "log", "off" };

const char *
harden_filter_text(enum harden_filter f)
{
	return filters[f];
}

enum err
harden_decode(struct harden_config *out, const struct harden_file *f,
    char why[static YAML_WHY_MAX])
{
	struct harden_config c = { .filter = HARDEN_ENFORCE };
	unsigned i = 0;

	while (f->seccomp[0] != '\0' && strcmp(f->seccomp, filters[i]) != 0)
		if (++i == sizeof filters / sizeof filters[0]) {
			(void)snprintf(why, YAML_WHY_MAX,
			    "process.seccomp: must be enforce, log or off");
			return ERR_CONFIG;
		}
	if (f->group[0] != '\0' && f->user[0] == '\0') {
		(void)snprintf(
		    why, YAML_WHY_MAX, "process.group: goes with process.user");
		return ERR_CONFIG;
	}
	c.filter = (enum harden_filter)i;
	(void)snprintf(c.user, sizeof c.user, "%s", f->user);
	(void)snprintf(c.group, sizeof c.group, "%s", f->group);
	*out = c;
	return ERR_OK;
}

enum err
harden_print(struct buf *b, const struct harden_config *c)
{
	return buf_printf(b,
	    "process.user: %s\nprocess.group: %s\nprocess.seccomp: %s\n",
	    c->user[0] != '\0' ? c->user : "as started",
	    c->group[0] != '\0' ? c->group : "the user's", filters[c->filter]);
}
