/* args: the words behind a command, by a table of its options.
 *
 * Options may stand anywhere: `--name value`, `--name=value`, or `--name`
 * for a flag; a name of one letter has one dash, `-o value`; `--` ends them.
 * An option that the table does not name, a missing value or a repeated
 * option is an error that says which. */
#ifndef KMS_CTL_ARGS_H
#define KMS_CTL_ARGS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/err.h"

#define ARGS_POS_MAX 16
#define ARGS_OPTIONS_MAX 32
#define ARGS_WHY_MAX 160

struct args_option {
	const char *name; /* without "--"; NULL ends the table */
	const char *value; /* what help calls its value; NULL: a flag */
	const char *help;
};

struct args {
	const char *pos[ARGS_POS_MAX]; /* borrowed from argv, as below */
	unsigned n_pos;
	const struct args_option *option;
	const char *value[ARGS_OPTIONS_MAX]; /* NULL: absent; "": a flag */
};

/* args_parse reads argv[0..argc).  ERR_MALFORMED: `why` says what. */
enum err args_parse(struct args *out, const struct args_option *option,
    unsigned min_pos, unsigned max_pos, int argc, char *const argv[],
    char why[static ARGS_WHY_MAX]);

/* args_get returns the value of an option, or NULL when it is absent (or
 * not of this command). */
const char *args_get(const struct args *a, const char *name);
bool args_has(const struct args *a, const char *name);

/* args_u64 reads decimal digits only; ERR_MALFORMED otherwise or above
 * `max`. */
enum err args_u64(uint64_t *out, const char *text, uint64_t max);

#endif
