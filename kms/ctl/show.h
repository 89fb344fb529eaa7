/* show: a JSON value as text for people.
 *
 * An object becomes lines of name and value, an array of objects a table.
 * Text that came from elsewhere is shown as printable ASCII only, so that
 * no answer can move a terminal's cursor. */
#ifndef KMS_CTL_SHOW_H
#define KMS_CTL_SHOW_H

#include <stdio.h>

#include <jansson.h>

void show_value(FILE *out, const json_t *v);

#endif
