/* name: what slots, counters and floors may be called.
 *
 * One rule for the configuration, the channel, the log and the contracts: a
 * name is one word of a log line, of a path and of a table. */
#ifndef COMMON_BASE_NAME_H
#define COMMON_BASE_NAME_H

#include <stdbool.h>
#include <stddef.h>

/* name_ok: 1 to max - 1 printable ASCII characters without space, '/' or '#',
 * and a NUL; `max` is the size of its array. */
bool name_ok(const char *s, size_t max);

#endif
