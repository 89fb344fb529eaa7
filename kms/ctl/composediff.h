/* composediff: what changes from one app-compose.json to the next, and what in
 * one of them should make its readers look twice.  Pure.  Members:
 * dstack-compat.md 3.9. */
#ifndef KMS_CTL_COMPOSEDIFF_H
#define KMS_CTL_COMPOSEDIFF_H

#include "common/base/json.h"

/* composediff_members: a row {member, change, old, new} for each member that
 * was added, removed or changed; long values are cut.  The caller owns it;
 * NULL: no memory. */
json_t *composediff_members(const json_t *old, const json_t *new);

/* composediff_lines: rows {member, change: "-" or "+", line} of the members
 * that are texts of several lines; what is common at their beginning and end
 * is left out.  At most COMPOSEDIFF_LINES rows, the last of which says so. */
#define COMPOSEDIFF_LINES 200
json_t *composediff_lines(const json_t *old, const json_t *new);

/* composediff_warn appends rows {code, text} to `list`. */
enum err composediff_warn(json_t *list, const json_t *compose);

#endif
