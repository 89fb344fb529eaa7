/* envfile: the variables that somebody wants encrypted, from lines or words.
 *
 *   NAME=value          the rest of the line as it is, without blanks around
 *   NAME='value'        as it is
 *   NAME="value"        \n \r \t \" \\ \$ \` stand for themselves
 *   # comment           and empty lines
 *   export NAME=value   as in a shell's file
 *
 * A value is on one line; nothing is expanded. */
#ifndef KMS_CTL_ENVFILE_H
#define KMS_CTL_ENVFILE_H

#include "common/base/json.h"

#define ENVFILE_MAX (2u * 1024 * 1024)
#define ENVFILE_WHY_MAX 160

/* envfile_new: {"env": []}; json_wipe it.  NULL: no memory. */
json_t *envfile_new(void);

/* envfile_add_lines adds a file's variables, envfile_add one "NAME=value" as it
 * is.  ERR_MALFORMED, ERR_LIMIT (appenv.h has the limits), ERR_EXISTS (a name
 * twice): `why` says where and what, without the value. */
enum err envfile_add_lines(
    json_t *env, struct bytes text, char why[static ENVFILE_WHY_MAX]);
enum err envfile_add(
    json_t *env, const char *word, char why[static ENVFILE_WHY_MAX]);
size_t envfile_count(const json_t *env);

#endif
