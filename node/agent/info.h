/* info: what this CVM tells about itself, in one place for the methods and
 * the dashboard.
 *
 * dstack-compat.md 1.3 to 1.6.  Nothing of it is secret, and nothing is
 * evidence; for that there are quotes. */
#ifndef NODE_AGENT_INFO_H
#define NODE_AGENT_INFO_H

#include <jansson.h>

#include "node/agent/backend.h"

#define INFO_DMI_MAX 128

struct info {
	struct agent_measured m; /* owns, as all buffers here */
	struct buf key_provider; /* JSON, as it was measured */
	/* Our own platform is unverified from inside: no PPID is known, so
	 * this is SHA-256 of nothing. */
	uint8_t device_id[32];
	/* What firmware says; "" if it says nothing. */
	char cloud_vendor[INFO_DMI_MAX];
	char cloud_product[INFO_DMI_MAX];
};

/* info_gather fills `*out`, which is empty or zero; info_fini it on success.
 * Errors as the backend's. */
enum err info_gather(
    struct info *out, const struct agent_backend *b, struct refusal *why);
void info_fini(struct info *i);

/* info_tcb appends tcb_info: pretty JSON, with the app-compose file verbatim
 * in the member "app_compose", which comes last.  ERR_MALFORMED: the event
 * log does not parse. */
enum err info_tcb(
    struct buf *out, const struct agent_backend *b, const struct info *i);

/* info_event_log is the log as everybody sees it: payloads of boot events,
 * which are large and which replay does not need, are emptied, but for the
 * three "ACPI DATA" ones, which get their names.  The caller owns the array;
 * NULL: the text is no log. */
json_t *info_event_log(const struct buf *log);

#endif
