#include <inttypes.h>

#include "kms/service/metrics.h"

static const uint64_t bounds_us[LATENCY_BUCKETS] = { 250, 500, 1000, 2500, 5000,
	25000, 100000, 1000000 };

const char *
request_kind_text(enum request_kind k)
{
	switch (k) {
	case RQ_GET_META:
		return "get_meta";
	case RQ_GET_APP_KEYS:
		return "get_app_keys";
	case RQ_SIGN_CERT:
		return "sign_cert";
	case RQ_JOIN:
		return "join";
	case RQ_COUNTER_GET:
		return "counter_get";
	case RQ_COUNTER_INCREMENT:
		return "counter_increment";
	case RQ_PEER_HELLO:
		return "peer_hello";
	case RQ_PEER_BATCH:
		return "peer_batch";
	case RQ_KINDS:
		break;
	}
	return "?";
}

void
metrics_latency(struct metrics *m, uint64_t us)
{
	unsigned i = 0;

	while (i < LATENCY_BUCKETS && us > bounds_us[i])
		i++;
	atomic_fetch_add(&m->latency[i], 1);
	atomic_fetch_add(&m->latency_sum_us, us);
}

static enum err
render_latency(struct buf *out, const struct metrics *m)
{
	uint64_t n = 0;
	enum err e = buf_printf(out,
	    "# HELP kms_release_seconds Time from request to reply.\n"
	    "# TYPE kms_release_seconds histogram\n");

	for (unsigned i = 0; e == ERR_OK && i < LATENCY_BUCKETS; i++) {
		n += atomic_load(&m->latency[i]);
		e = buf_printf(out,
		    "kms_release_seconds_bucket{le=\"%g\"} %" PRIu64 "\n",
		    (double)bounds_us[i] / 1e6, n);
	}
	n += atomic_load(&m->latency[LATENCY_BUCKETS]);
	if (e == ERR_OK)
		e = buf_printf(out,
		    "kms_release_seconds_bucket{le=\"+Inf\"} %" PRIu64 "\n"
		    "kms_release_seconds_sum %g\n"
		    "kms_release_seconds_count %" PRIu64 "\n",
		    n, (double)atomic_load(&m->latency_sum_us) / 1e6, n);
	return e;
}

static enum err
render_refusals(struct buf *out, const char *where, unsigned i, uint64_t n)
{
	return n == 0 ? ERR_OK
		      : buf_printf(out,
			    "kms_refusals_total{at=\"%s\",reason=\"%s\"} "
			    "%" PRIu64 "\n",
			    where, reason_label((enum reason)i), n);
}

enum err
metrics_render(
    struct buf *out, const struct metrics *m, const struct metrics_gauges *g)
{
	enum err e = buf_printf(out,
	    "# HELP kms_ready 1 when this node releases keys.\n"
	    "# TYPE kms_ready gauge\nkms_ready %" PRIu64 "\n"
	    "# HELP kms_chain_block Block at which the gate is asked.\n"
	    "# TYPE kms_chain_block gauge\nkms_chain_block %" PRIu64 "\n"
	    "# HELP kms_chain_age_seconds Age of that block; -1: none.\n"
	    "# TYPE kms_chain_age_seconds gauge\n"
	    "kms_chain_age_seconds %" PRId64 "\n"
	    "# TYPE kms_sessions gauge\nkms_sessions %" PRIu64 "\n"
	    "# TYPE kms_half_open gauge\nkms_half_open %" PRIu64 "\n"
	    "# TYPE kms_records gauge\nkms_records %" PRIu64 "\n"
	    "# TYPE kms_epochs gauge\nkms_epochs %" PRIu64 "\n"
	    "# TYPE kms_peers_connected gauge\n"
	    "kms_peers_connected %" PRIu64 "\n"
	    "# HELP kms_requests_total Requests, by kind and outcome.\n"
	    "# TYPE kms_requests_total counter\n",
	    g->phase_ready, g->chain_block, g->chain_age_s, g->sessions,
	    g->half_open, g->records, g->epochs, g->peers_connected);

	for (unsigned i = 0; e == ERR_OK && i < RQ_KINDS; i++) {
		uint64_t all = atomic_load(&m->requests[i]);
		uint64_t ok = atomic_load(&m->answered[i]);
		const char *kind = request_kind_text((enum request_kind)i);

		e = buf_printf(out,
		    "kms_requests_total{kind=\"%s\",outcome=\"answered\"} "
		    "%" PRIu64 "\n"
		    "kms_requests_total{kind=\"%s\",outcome=\"other\"} "
		    "%" PRIu64 "\n",
		    kind, ok, kind, all > ok ? all - ok : 0);
	}
	if (e == ERR_OK)
		e = buf_printf(out,
		    "# HELP kms_refusals_total Refusals, by place, reason.\n"
		    "# TYPE kms_refusals_total counter\n");
	for (unsigned i = 0; e == ERR_OK && i < REASON_COUNT; i++) {
		e = render_refusals(
		    out, "request", i, atomic_load(&m->refusals[i]));
		if (e == ERR_OK)
			e = render_refusals(
			    out, "channel", i, g->channel_refusals[i]);
		if (e == ERR_OK)
			e = render_refusals(
			    out, "gate", i, g->gate_refusals[i]);
	}
	return e == ERR_OK ? render_latency(out, m) : e;
}
