/* ether: amounts as people write them, in wei as the chain counts them. */
#ifndef KMS_CTL_ETHER_H
#define KMS_CTL_ETHER_H

#include <stdint.h>

#include "common/base/err.h"

#define ETHER_TEXT 24 /* "18.446744073709551615" */

/* ether_parse reads "10" or "0.25": decimal digits, at most 18 of them
 * behind the point.  ERR_MALFORMED; ERR_LIMIT: over 2^64 - 1 wei. */
enum err ether_parse(uint64_t *wei, const char *text);
/* ether_text writes no digit more than needed. */
void ether_text(char out[static ETHER_TEXT], uint64_t wei);

#endif
