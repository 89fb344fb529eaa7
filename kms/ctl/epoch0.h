/* epoch0: the registry takes over the KMS as it was before. */
#ifndef KMS_CTL_EPOCH0_H
#define KMS_CTL_EPOCH0_H

#include "kms/ctl/contract.h"

/* epoch0_call appends the call of registerGenesis with the root that the KMS
 * contract names.  ERR_DENIED and `why` if it names none. */
enum err epoch0_call(struct buf *out, const struct contract *k,
    const uint8_t kms[static 20], struct refusal *why);

/* epoch0_there: whether k->registry has one already. */
enum err epoch0_there(bool *out, const struct contract *k, struct refusal *why);

#endif
