/* bootinfo: who booted, in dstack's terms (AppBootInfo).
 *
 * Built from an accepted verdict, its event log and its vm_config; every
 * value is either in the quote, replayed into one of its registers, or
 * recomputed to match one: dstack-compat.md 3.3, 3.4, 3.7 (lite recipe).  The
 * stripped log of a certificate (3.8) will do: what it leaves out of RTMR0-2
 * is what the image's registers are computed from. */
#ifndef COMMON_ATTEST_BOOTINFO_H
#define COMMON_ATTEST_BOOTINFO_H

#include "common/attest/eventlog.h"
#include "common/attest/verdict.h"

/* Which values of a growing RTMR3 identify the guest (dstack 3.4). */
enum boot_variant {
	BOOT_APP, /* RTMR3 up to boot-mr-done, key provider left out */
	BOOT_KMS, /* the final RTMR3 and the key provider */
};

#define KEY_PROVIDER_MAX 512

struct boot_info {
	enum tee_kind tee;
	uint8_t app_id[20];
	uint8_t compose_hash[32];
	uint8_t instance_id[20]; /* zero when has_instance_id is false */
	bool has_instance_id;
	uint8_t device_id[32];
	uint8_t mr_aggregated[32];
	uint8_t mr_system[32];
	uint8_t os_image_hash[32];
	char key_provider[KEY_PROVIDER_MAX]; /* JSON text of the event, or "" */
	enum tcb_status tcb_status;
	char advisory[ADVISORY_MAX][ADVISORY_LEN];
	unsigned n_advisories;
	bool simulated;
};

/* boot_info_build: ERR_DENIED with REASON_EVENT_LOG (a register does not
 * replay), REASON_OS_IMAGE (vm_config and quote do not agree; a legacy
 * vm_config without measurement document is refused), REASON_BOOT_INFO (an
 * event is missing or of the wrong size), REASON_QUOTE_UNSUPPORTED (TEE). */
enum err boot_info_build(struct boot_info *out, const struct verdict *v,
    struct bytes event_log, struct bytes vm_config, enum boot_variant variant,
    struct refusal *why);

/* boot_info_measure computes both values from raw registers without any
 * check of the OS image: for vectors and `kmsctl verify`. */
enum err boot_info_measure(uint8_t mr_system[static 32],
    uint8_t mr_aggregated[static 32], const struct td_report *td,
    const struct event_log *log, enum boot_variant variant);

/* compose_hash: SHA-256 of the file's raw bytes. */
void compose_hash(uint8_t out[static 32], struct bytes app_compose);

#endif
