/* epochpage: what /status and /metrics say of roots. */
#ifndef KMS_SERVICE_EPOCHPAGE_H
#define KMS_SERVICE_EPOCHPAGE_H

#include <jansson.h>

#include "kms/cluster/cluster.h"
#include "kms/service/metrics.h"

/* "epochs": one object per epoch of the ledger. */
json_t *epochpage_epochs(const struct cluster *c);
/* "registry": null without one. */
json_t *epochpage_registry(const struct cluster *c);
void epochpage_metrics(const struct cluster *c, struct metrics_cluster *out);

#endif
