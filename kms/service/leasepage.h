/* leasepage: the lease (kms/cluster/lease.h) as operators see it. */
#ifndef KMS_SERVICE_LEASEPAGE_H
#define KMS_SERVICE_LEASEPAGE_H

#include "common/base/json.h"
#include "kms/cluster/cluster.h"
#include "kms/service/metrics.h"

/* null where nodes need none. */
json_t *leasepage_json(const struct cluster *c);
void leasepage_metrics(const struct cluster *c, struct metrics_cluster *out);

/* Keys may leave, as far as the lease goes. */
bool leasepage_good(const struct cluster *c);
/* It needs a lease, and never had one in this life. */
bool leasepage_waits(const struct cluster *c);

#endif
