/* confine: kmsd's sandbox, by what its configuration names (node/harden). */
#ifndef KMS_SERVICE_CONFINE_H
#define KMS_SERVICE_CONFINE_H

#include "kms/service/kmsd_config.h"
#include "node/harden/keeper.h"

/* kmsd_confine takes every step of harden.h and returns in a worker of a keeper
 * (keeper.h), under the filter, with what its life begins with.  Before the
 * first thread.  Failures are logged; the process must end then. */
enum err kmsd_confine(struct keeper_life *life, const struct kmsd_config *c);

#endif
