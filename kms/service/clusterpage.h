/* clusterpage: the cluster as one node sees it, as JSON for operators.
 *
 *   {"generation", "term", "leader", "last", "commit", "applied", "durable",
 *    "voters", "learners", "seats", "fenced", "fresh", "confirmed_age_ms",
 *    "anchor": {...}, "disk": {...}, "waiting": null or {...}, "audit": {...},
 *    "counters", "nodes": [...]}
 *
 * On the loop. */
#ifndef KMS_SERVICE_CLUSTERPAGE_H
#define KMS_SERVICE_CLUSTERPAGE_H

#include "common/base/json.h"
#include "kms/cluster/cluster.h"
#include "kms/service/metrics.h"

json_t *clusterpage_json(const struct cluster *c);
/* [{"url", "connected", "slot", "incarnation", "since", "error", "sent",
 *   "dropped", "bytes"}] */
json_t *clusterpage_peers(const struct cluster *c);
/* The same as numbers. */
void clusterpage_metrics(const struct cluster *c, struct metrics_cluster *out);

#endif
