/* intelroot: the certificate that all genuine quotes end in. */
#ifndef COMMON_ATTEST_INTELROOT_H
#define COMMON_ATTEST_INTELROOT_H

#include <stdint.h>

#define INTEL_ROOT_LEN 659

extern const uint8_t intel_root_der[INTEL_ROOT_LEN];
extern const uint8_t intel_root_fingerprint[32];

#endif
