/* eventlog: dstack's measured events and their replay into RTMRs.
 *
 * JSON: an array of {"imr","event_type","digest","event","event_payload"}:
 * dstack-compat.md 1.3 and 3.2.  Digests of runtime events (imr 3, type
 * 0x08000001) are always recomputed from name and payload; a digest that is
 * present and differs is an error. */
#ifndef COMMON_ATTEST_EVENTLOG_H
#define COMMON_ATTEST_EVENTLOG_H

#include <stdbool.h>

#include "common/base/buf.h"
#include "common/base/reason.h"

#define EVENT_RUNTIME 0x08000001u
#define EVENT_MAX 512
#define EVENT_NAME_MAX 128

struct event {
	uint32_t imr; /* 0..3 */
	uint32_t type;
	uint8_t digest[48];
	char name[EVENT_NAME_MAX];
	struct bytes payload; /* points into the log's own memory */
	bool v2; /* JCS digest: dstack-compat.md 3.2 */
};

struct event_log {
	struct event *event; /* owns */
	size_t n;
	struct buf payloads; /* owns */
};

/* event_log_parse: ERR_DENIED with REASON_EVENT_LOG. */
enum err event_log_parse(
    struct event_log *out, struct bytes json, struct refusal *why);
void event_log_fini(struct event_log *l);

/* event_digest_v1: SHA-384(u32le(type) ":" name ":" payload). */
void event_digest_v1(
    uint8_t out[static 48], const char *name, struct bytes payload);

/* rtmr_extend: R = SHA-384(R || digest). */
void rtmr_extend(uint8_t rtmr[static 48], const uint8_t digest[static 48]);

/* event_log_replay folds the events of one register, from zero, up to and
 * including the first runtime event named `until` (NULL: all). */
void event_log_replay(uint8_t out[static 48], const struct event_log *l,
    uint32_t imr, const char *until);

/* event_log_is_acpi: one of the three events that a boot adds to RTMR0 and
 * no image fixes. */
bool event_log_is_acpi(const struct event *e);

/* event_log_stripped: outside RTMR3 there is nothing but ACPI events, three of
 * them: the form that certificates carry (dstack-compat.md 3.8).  Then RTMR0-2
 * are no replay; only a comparison with the OS image's can say what they are. */
bool event_log_stripped(const struct event_log *l);

/* event_log_find returns the first runtime event of that name before
 * "system-ready", or NULL. */
const struct event *event_log_find(const struct event_log *l, const char *name);

#endif
