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
#include "kms/gate/endpoints.h"
#include "kms/state/ledger.h"

enum request_kind {
	RQ_GET_META,
	RQ_GET_APP_KEYS,
	RQ_SIGN_CERT,
	RQ_JOIN,
	RQ_COUNTER_GET,
	RQ_COUNTER_INCREMENT,
	RQ_PEER_HELLO,
	RQ_PEER_BATCH,
	RQ_GET_ENV_PUB,
	RQ_KINDS,
};
const char *request_kind_text(enum request_kind k);

#define LATENCY_BUCKETS 8

struct metrics {
	_Atomic uint64_t requests[RQ_KINDS];
	_Atomic uint64_t answered[RQ_KINDS]; /* not refused */
	_Atomic uint64_t refusals[REASON_COUNT]; /* of requests */
	_Atomic uint64_t sessions_ended; /* their owner was not allowed more */
	_Atomic uint64_t rechecked_block; /* at which all were asked for */
	_Atomic uint64_t tainted; /* answered from a tainted epoch */
	_Atomic uint64_t latency[LATENCY_BUCKETS + 1]; /* releases */
	_Atomic uint64_t latency_sum_us;
};

void metrics_latency(struct metrics *m, uint64_t us);

/* The replicated log and what stands behind it, at this node. */
struct metrics_cluster {
	const char *role; /* "leader", "voter", "learner", "offers", "absent" */
	bool leads, leader_known, fresh, fenced, disk_failed, self_denied;
	uint64_t generation, term; /* of raft, within the generation */
	uint64_t last, durable, commit, applied;
	uint64_t voters, learners, seats;
	int64_t confirmed_age_ms, anchor_age_ms; /* -1: never */
	int64_t evidence_age_s; /* the oldest of a member's; -1: none */
	uint64_t anchor_generation, anchor_index, critical_index;
	uint64_t elections, rounds, forwarded, store_commits;
	uint64_t counters;
	uint64_t commands; /* applied ones, whatever came of them */
	uint64_t effective[COMMAND_LAST + 1]; /* by kind: those that did */
	uint64_t n_epochs;
	uint8_t epoch_state[LEDGER_MAX_EPOCHS]; /* enum ledger_epoch_state */
	bool epoch_here[LEDGER_MAX_EPOCHS];
	bool has_registry;
	int64_t registry_age_ms; /* -1: never */
	uint64_t handovers, handovers_recorded;
	bool has_lease, lease_good; /* the first: it needs one */
	int64_t lease_left_s; /* negative: over */
	uint64_t lease_block, lease_releases, lease_renewed;
	uint64_t checkins_sent, checkins_failed;
	uint64_t links, links_connected, links_sessions;
	uint64_t links_sent, links_dropped, links_bytes, links_received;
};

/* Gauges of the moment; `channel_refusals` by reason. */
struct metrics_gauges {
	uint64_t phase_ready;
	uint64_t chain_block;
	int64_t chain_age_s; /* -1: none seen */
	uint64_t sessions, half_open;
	uint64_t connections, handshakes_failed; /* of the channel, in all */
	uint64_t closed_rate, closed_budget, muted; /* before a word was read */
	uint64_t log_suppressed; /* lines */
	uint64_t records, epochs, peers_connected;
	uint64_t collateral_fetches, collateral_unknown; /* pccs.h */
	const uint64_t *channel_refusals;
	const uint64_t *gate_refusals;
	const struct metrics_cluster *cluster;
	const struct endpoint_count *endpoint; /* of the chain: n_endpoints */
	unsigned n_endpoints;
};

enum err metrics_render(
    struct buf *out, const struct metrics *m, const struct metrics_gauges *g);

#endif
