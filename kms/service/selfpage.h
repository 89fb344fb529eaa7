/* selfpage: what a node measures as, and what it tolerates in others, as JSON
 * for operators and auditors. */
#ifndef KMS_SERVICE_SELFPAGE_H
#define KMS_SERVICE_SELFPAGE_H

#include "common/attest/evidence.h"
#include "common/base/json.h"

/* selfpage_measurements adds the members to `o`. */
enum err selfpage_measurements(json_t *o, const struct boot_info *b);
json_t *selfpage_policy(const struct attest_policy *p);

#endif
