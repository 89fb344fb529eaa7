/* when: times of blocks as people read them. */
#ifndef KMS_CTL_WHEN_H
#define KMS_CTL_WHEN_H

#include <stdint.h>

#include "common/base/err.h"

#define WHEN_TEXT 64

/* when_date writes "2026-11-25 14:53:50 UTC", or "-" for 0. */
void when_date(char out[static WHEN_TEXT], uint64_t at);
/* when_seen adds how far that is: "... (in 1 d 2 h)", "... (5 min ago)". */
void when_seen(char out[static WHEN_TEXT], uint64_t at, uint64_t now);
/* when_span writes "2 d", "1 h 30 min", "12 s": the two greatest units. */
void when_span(char out[static WHEN_TEXT], uint64_t seconds);
/* when_parse reads "90", "15min", "36h", "7d": seconds.  ERR_MALFORMED. */
enum err when_parse(uint64_t *seconds, const char *text);

#endif
