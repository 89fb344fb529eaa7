/* quoteverdict: a verdict on an Intel quote, and the policy, for a report. */
#ifndef KMS_CTL_QUOTEVERDICT_H
#define KMS_CTL_QUOTEVERDICT_H

#include "common/attest/verdict.h"
#include "kms/ctl/quotereport.h"

/* quoteverdict_policy adds the rows of step 13, the policy.  `v` NULL:
 * there is no verdict, so they are only named. */
void quoteverdict_policy(struct quotereport *r, enum tee_kind tee,
    const struct verdict *v, const struct attest_policy *p);

/* Members of the answer; the caller owns them. */
json_t *quoteverdict_td(const struct td_report *td);
json_t *quoteverdict_sgx(const struct sgx_report *r);
json_t *quoteverdict_measurements(const struct verdict *v);
json_t *quoteverdict_platform(const struct verdict *v);
json_t *quoteverdict_tcb(const struct verdict *v);
json_t *quoteverdict_advisories(const struct verdict *v);

#endif
