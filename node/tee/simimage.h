/* simimage: simulated OS images, in dstack's "lite" form.
 *
 *   <dir>/images/<name>/sha256sum.txt         its SHA-256 is os_image_hash
 *                       measurement.tdx.cbor  what the firmware will measure
 *                       vm_config.json        the VM that boots it
 *                       boot_events.json      log of registers 0 to 2
 *
 * dstack-compat.md 3.7.  The seed decides every digest, so the same seed is
 * the same image, on any machine. */
#ifndef NODE_TEE_SIMIMAGE_H
#define NODE_TEE_SIMIMAGE_H

#include "common/base/buf.h"

#define SIM_IMAGE_VM_CONFIG "vm_config.json"
#define SIM_IMAGE_BOOT_LOG "boot_events.json"
#define SIM_IMAGE_MEASUREMENT "measurement.tdx.cbor"

/* ERR_EXISTS; ERR_CONFIG: the name is not sim_name_ok. */
enum err sim_image_create(const char *dir, const char *name, const char *seed);

#endif
