/* clock: the only place that asks the machine for the time.
 *
 * Only a daemon's loop and the tools call these; everything below takes
 * `now` as an argument, so that a test can choose it. */
#ifndef COMMON_BASE_CLOCK_H
#define COMMON_BASE_CLOCK_H

#include <stdint.h>

/* Milliseconds of CLOCK_MONOTONIC. */
uint64_t clock_mono_ms(void);

/* Milliseconds of CLOCK_BOOTTIME: goes on while the machine is suspended. */
uint64_t clock_boot_ms(void);

/* Seconds since 1970-01-01T00:00:00Z.  In a TD this comes from the host. */
int64_t clock_wall_s(void);

#endif
