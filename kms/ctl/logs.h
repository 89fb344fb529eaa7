/* logs: a contract's events, in stretches that an endpoint can answer. */
#ifndef KMS_CTL_LOGS_H
#define KMS_CTL_LOGS_H

#include "kms/ctl/contract.h"

/* logs_each hands every event of `address` with these topics (JSON, as in
 * eth_getLogs) in the blocks [from, last] to `f`, the oldest first.
 * ERR_DENIED and `why`; an error of `f` other than ERR_NOMEM says that the
 * event is malformed. */
enum err logs_each(const struct contract *k, const uint8_t address[static 20],
    const char *topics, uint64_t from, uint64_t last,
    enum err (*f)(void *cookie, const json_t *log), void *cookie,
    struct refusal *why);

#endif
