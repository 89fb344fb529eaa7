/* osimage: recompute MRTD and RTMR0-2 of a dstack OS image.
 *
 * The "lite" recipe of dstack-compat.md 3.7: vm_config carries the image's
 * checksum file and measurement document; nothing is downloaded.  The same
 * function serves the verifier (compare with a quote) and the simulator
 * (what the registers of its TDs shall be). */
#ifndef COMMON_ATTEST_OSIMAGE_H
#define COMMON_ATTEST_OSIMAGE_H

#include "common/attest/eventlog.h"

struct os_registers {
	uint8_t mrtd[48];
	uint8_t rtmr[3][48];
	uint8_t os_image_hash[32];
};

/* One event of an honest boot into RTMR0-2. */
struct os_event {
	uint32_t imr; /* 0..2 */
	uint32_t type;
	const char *name; /* static; "" but for the three ACPI events */
	uint8_t digest[48];
};

#define OS_EVENTS 20

/* os_image_measure computes the registers that an honest boot of the image
 * in `vm_config` (JSON) must show.  ACPI digests come from `log` (three
 * imr-0 events of type 10 with payload "ACPI DATA").
 * ERR_DENIED with REASON_OS_IMAGE and what was wrong. */
enum err os_image_measure(struct os_registers *out, struct bytes vm_config,
    const struct event_log *log, struct refusal *why);

/* os_image_events is os_image_measure that also lists the events, in the
 * order of a boot's log: what a simulated TD shows. */
enum err os_image_events(struct os_registers *out,
    struct os_event event[static OS_EVENTS], struct bytes vm_config,
    const struct event_log *log, struct refusal *why);

#endif
