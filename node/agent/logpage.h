/* logpage: what a container wrote, for GET /logs/<container>.
 *
 * dstack-compat.md 1.5.  Lines of {"channel": "stdout|stderr", "message":
 * base64, or text}; or, bare, the messages alone. */
#ifndef NODE_AGENT_LOGPAGE_H
#define NODE_AGENT_LOGPAGE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "common/base/buf.h"

struct logpage_options {
	int64_t since, until; /* unix seconds; 0: no bound */
	uint64_t tail; /* the last so many of these */
	bool text; /* messages are text, not base64 */
	bool timestamps; /* in front of each message */
	bool bare;
	bool ansi; /* keep escape sequences of bare text */
};

#define LOGPAGE_TAIL_DEFAULT 1000
#define LOGPAGE_TAIL_MAX 100000 /* also "all" */

/* logpage_time reads "" (0), unix seconds, or how long ago: "90s", "5m",
 * "2h", "1d".  ERR_MALFORMED. */
enum err logpage_time(int64_t *out, const char *text, int64_t now);
/* logpage_tail reads a number, "all" or "" (the default).  ERR_MALFORMED. */
enum err logpage_tail(uint64_t *out, const char *text);

/* logpage_write appends what of the log is asked for.  Looks at its last
 * 8 MiB, and gives the newest 4 MiB of an answer; a line that is no line of
 * Docker's is left out. */
enum err logpage_write(
    struct buf *out, FILE *log, const struct logpage_options *o);

#endif
