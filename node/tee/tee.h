/* tee: the confidential VM that this process runs in.
 *
 * One interface, two platforms: the TDX device (configfs-tsm, sysfs) and a
 * simulated one whose quotes have the genuine format under the simulator's
 * own root.  Quotes may take seconds: call tee_quote from a worker; it is
 * thread-safe.  DESIGN 3, tdx-dcap.md 3. */
#ifndef NODE_TEE_TEE_H
#define NODE_TEE_TEE_H

#include "common/attest/evidence.h"

/* Where the kernel's interfaces of TDX are: both are written. */
#define TEE_TDX_REPORTS "/sys/kernel/config/tsm/report"
#define TEE_TDX_RTMRS "/sys/devices/virtual/misc/tdx_guest/measurements"

struct tee; /* opaque */

struct tee_options {
	bool simulated;
	const char *sim_host; /* folder of a simulated host (platform) */
	const char *sim_image; /* folder of a simulated OS image */
	/* 32 bytes: the app-compose.json that the simulated host names in
	 * MRCONFIGID, in dstack's V1 form (dstack-compat.md 3.5); NULL: none.
	 * On TDX the real host has done so, or not. */
	const uint8_t *sim_compose_hash;
	const char *run_dir; /* RTMR3 and its log live here, per boot */
};

/* tee_boot starts the life of this CVM: on the simulator RTMR3 is zero
 * again and the boot log is that of the image; on TDX the log that the
 * guest has written so far is read.  The caller owns `*out`. */
enum err tee_boot(
    struct tee **out, const struct tee_options *o, struct refusal *why);
void tee_close(struct tee *t);

bool tee_simulated(const struct tee *t);

/* tee_extend measures one runtime event into RTMR3 and the log. */
enum err tee_extend(struct tee *t, const char *name, struct bytes payload);

/* tee_quote appends a quote over the report data to `out`. */
enum err tee_quote(struct tee *t, struct buf *out,
    const uint8_t report_data[static 64], struct refusal *why);

/* Copies of the event log (JSON array, all registers) and vm_config. */
enum err tee_event_log(struct tee *t, struct buf *out);
enum err tee_vm_config(struct tee *t, struct buf *out);

/* tee_evidence is quote, log and vm_config together, consistent: the quote
 * is taken again if an event was measured meanwhile. */
enum err tee_evidence(struct tee *t, struct evidence *out,
    const uint8_t report_data[static 64], struct refusal *why);

/* tee_seal_key derives a key that only this platform and image can get.
 * ERR_UNSUPPORTED on TDX: there is none; a node then starts empty. */
enum err tee_seal_key(struct tee *t, uint8_t out[static 32], const char *label);

#endif
