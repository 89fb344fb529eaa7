/* metrics: what the node counts, and how it tells.
 *
 * Counters may be added to from any thread.  Rendering is Prometheus text
 * (exposition format 0.0.4). */
#ifndef KMS_SERVICE_METRICS_H
#define KMS_SERVICE_METRICS_H

#include <stdatomic.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/reason.h"

enum request_kind {
	RQ_GET_META,
	RQ_GET_APP_KEYS,
	RQ_SIGN_CERT,
	RQ_JOIN,
	RQ_COUNTER_GET,
	RQ_COUNTER_INCREMENT,
	RQ_PEER_HELLO,
	RQ_PEER_BATCH,
	RQ_KINDS,
};
const char *request_kind_text(enum request_kind k);

#define LATENCY_BUCKETS 8

struct metrics {
	_Atomic uint64_t requests[RQ_KINDS];
	_Atomic uint64_t answered[RQ_KINDS]; /* not refused */
	_Atomic uint64_t refusals[REASON_COUNT]; /* of requests */
	_Atomic uint64_t latency[LATENCY_BUCKETS + 1]; /* releases */
	_Atomic uint64_t latency_sum_us;
};

void metrics_latency(struct metrics *m, uint64_t us);

/* Gauges of the moment; `channel_refusals` by reason. */
struct metrics_gauges {
	uint64_t phase_ready;
	uint64_t chain_block;
	int64_t chain_age_s; /* -1: none seen */
	uint64_t sessions, half_open;
	uint64_t records, epochs, peers_connected;
	const uint64_t *channel_refusals;
	const uint64_t *gate_refusals;
};

enum err metrics_render(
    struct buf *out, const struct metrics *m, const struct metrics_gauges *g);

#endif
