/* compose: the hash of an app-compose.json.
 *
 * A guest measures the file's raw bytes: compose_hash of
 * common/attest/bootinfo.h.  What is here is the other form, that of the
 * SDKs' getComposeHash: dstack-compat.md 3.9. */
#ifndef KMS_CTL_COMPOSE_H
#define KMS_CTL_COMPOSE_H

#include "common/base/json.h"

/* compose_canonical appends what JavaScript's JSON.stringify gives for the
 * value with all keys sorted.  `clean` first drops what the SDK's
 * normalize=true drops.  ERR_MALFORMED: not an object. */
enum err compose_canonical(struct buf *out, const json_t *v, bool clean);

/* compose_number writes a number as ECMA-262's Number::toString does. */
#define COMPOSE_NUMBER_MAX 40
enum err compose_number(char out[static COMPOSE_NUMBER_MAX], double v);

#endif
