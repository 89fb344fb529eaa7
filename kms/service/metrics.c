#include <inttypes.h>
#include <string.h>

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
	case RQ_GET_ENV_PUB:
		return "get_app_env_pub_key";
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

/* ---- the cluster ---- */

/* Sticky: once it has failed nothing is added. */
struct page {
	struct buf *out;
	enum err e;
};

static void
head(struct page *p, const char *name, const char *type, const char *help)
{
	if (p->e == ERR_OK)
		p->e = buf_printf(p->out, "# HELP %s %s\n# TYPE %s %s\n", name,
		    help, name, type);
}

static void
value(struct page *p, const char *name, uint64_t v)
{
	if (p->e == ERR_OK)
		p->e = buf_printf(p->out, "%s %" PRIu64 "\n", name, v);
}

static void
gauge(struct page *p, const char *name, const char *help, uint64_t v)
{
	head(p, name, "gauge", help);
	value(p, name, v);
}

static void
counter(struct page *p, const char *name, const char *help, uint64_t v)
{
	head(p, name, "counter", help);
	value(p, name, v);
}

/* -1 stays -1. */
static void
seconds(struct page *p, const char *name, const char *help, int64_t ms)
{
	head(p, name, "gauge", help);
	if (p->e == ERR_OK)
		p->e = buf_printf(
		    p->out, "%s %g\n", name, ms < 0 ? -1.0 : (double)ms / 1000);
}

static void
render_role(struct page *p, const char *role)
{
	static const char *const all[] = { "leader", "voter", "learner",
		"offers", "absent" };

	head(p, "kms_raft_role", "gauge", "1 for the role of this node.");
	for (size_t i = 0; p->e == ERR_OK && i < sizeof all / sizeof *all; i++)
		p->e = buf_printf(p->out, "kms_raft_role{role=\"%s\"} %d\n",
		    all[i], strcmp(all[i], role) == 0);
}

static void
render_log(struct page *p, const struct metrics_cluster *c)
{
	render_role(p, c->role);
	gauge(p, "kms_raft_generation", "Generation of this node's log.",
	    c->generation);
	gauge(p, "kms_raft_term", "Term within the generation.", c->term);
	gauge(p, "kms_raft_last_index", "Last entry of the log.", c->last);
	gauge(p, "kms_raft_durable_index", "Last entry that is on disk.",
	    c->durable);
	gauge(p, "kms_raft_commit_index", "Last entry that is committed.",
	    c->commit);
	gauge(p, "kms_raft_applied_index", "Last entry that is applied.",
	    c->applied);
	gauge(p, "kms_raft_leader_known", "1 when a leader is known.",
	    c->leader_known);
	gauge(p, "kms_raft_voters", "Members that vote.", c->voters);
	gauge(p, "kms_raft_learners", "Members without a vote.", c->learners);
	gauge(p, "kms_seats", "Seats on chain.", c->seats);
	counter(p, "kms_raft_elections_total", "Elections that it has won.",
	    c->elections);
	counter(p, "kms_raft_rounds_total",
	    "Rounds in which a quorum confirmed it as leader.", c->rounds);
	counter(p, "kms_raft_forwarded_total",
	    "Requests that it passed on to the leader.", c->forwarded);
	counter(p, "kms_commands_applied_total",
	    "Commands applied, also those that changed nothing.", c->commands);
	head(p, "kms_commands_total", "counter",
	    "Commands that changed the state, by kind.");
	for (unsigned i = 1; p->e == ERR_OK && i <= COMMAND_LAST; i++) {
		const char *kind = command_kind_text((enum command_kind)i);

		if (strcmp(kind, "unknown") != 0)
			p->e = buf_printf(p->out,
			    "kms_commands_total{kind=\"%s\"} %" PRIu64 "\n",
			    kind, c->effective[i]);
	}
}

static void
render_epochs(struct page *p, const struct metrics_cluster *c)
{
	head(p, "kms_epoch_state", "gauge",
	    "1 prepared, 2 active, 3 tainted, 4 destroyed.");
	for (uint64_t i = 0; p->e == ERR_OK && i < c->n_epochs; i++)
		p->e = buf_printf(p->out,
		    "kms_epoch_state{epoch=\"%" PRIu64 "\"} %u\n", i,
		    c->epoch_state[i]);
	head(p, "kms_epoch_here", "gauge",
	    "1 when this node has the roots and may use them.");
	for (uint64_t i = 0; p->e == ERR_OK && i < c->n_epochs; i++)
		p->e = buf_printf(p->out,
		    "kms_epoch_here{epoch=\"%" PRIu64 "\"} %d\n", i,
		    c->epoch_here[i]);
	counter(p, "kms_handovers_total", "Hand-overs of roots in the log.",
	    c->handovers);
	if (!c->has_registry)
		return;
	counter(p, "kms_handovers_recorded_total",
	    "Those that the registry has.", c->handovers_recorded);
	seconds(p, "kms_registry_age_seconds",
	    "Since it read the registry of roots; -1: never.",
	    c->registry_age_ms);
}

static void
render_trust(struct page *p, const struct metrics_cluster *c)
{
	gauge(p, "kms_fresh", "1 when what it answers is known to be current.",
	    c->fresh);
	gauge(p, "kms_fenced", "1 when the anchor was not read in time.",
	    c->fenced);
	gauge(p, "kms_self_denied", "1 when the contract refuses this node.",
	    c->self_denied);
	seconds(p, "kms_confirmed_age_seconds",
	    "Since a quorum confirmed it; -1: never.", c->confirmed_age_ms);
	seconds(p, "kms_anchor_age_seconds",
	    "Since the anchor was read; -1: never.", c->anchor_age_ms);
	seconds(p, "kms_evidence_age_seconds",
	    "Oldest evidence of another member; -1: none.",
	    c->evidence_age_s < 0 ? -1 : c->evidence_age_s * 1000);
	gauge(p, "kms_anchor_generation", "Generation on chain.",
	    c->anchor_generation);
	gauge(p, "kms_anchor_index", "Anchored entry.", c->anchor_index);
	gauge(p, "kms_anchor_critical_index",
	    "Last critical entry; above the anchor it has no effect yet.",
	    c->critical_index);
	gauge(p, "kms_disk_failed", "1 when its disk cannot be written.",
	    c->disk_failed);
	counter(p, "kms_store_commits_total", "Transactions of the store.",
	    c->store_commits);
	gauge(p, "kms_counters", "Counters of all apps.", c->counters);
}

static void
render_lease(struct page *p, const struct metrics_cluster *c)
{
	if (!c->has_lease)
		return;
	gauge(p, "kms_lease_good",
	    "1 when it has checked in on chain lately enough to release keys.",
	    c->lease_good);
	head(p, "kms_lease_left_seconds", "gauge",
	    "Until the lease is over; negative: since.");
	if (p->e == ERR_OK)
		p->e = buf_printf(p->out,
		    "kms_lease_left_seconds %" PRId64 "\n", c->lease_left_s);
	gauge(p, "kms_lease_block",
	    "Final block in which its number was found last.", c->lease_block);
	gauge(p, "kms_lease_releases", "Releases in this lease.",
	    c->lease_releases);
	counter(p, "kms_lease_renewed_total", "Leases it has had.",
	    c->lease_renewed);
	counter(p, "kms_checkins_sent_total",
	    "Batches that it brought onto the chain.", c->checkins_sent);
	counter(p, "kms_checkins_failed_total", "Batches that it could not.",
	    c->checkins_failed);
}

static void
render_links(struct page *p, const struct metrics_cluster *c)
{
	gauge(p, "kms_links", "Configured peers.", c->links);
	gauge(p, "kms_links_connected", "Peers that it sends to.",
	    c->links_connected);
	gauge(p, "kms_links_sessions", "Peers that send to it.",
	    c->links_sessions);
	counter(p, "kms_links_sent_total", "Messages sent.", c->links_sent);
	counter(p, "kms_links_dropped_total",
	    "Messages that were not sent: raft says them again.",
	    c->links_dropped);
	counter(p, "kms_links_sent_bytes_total", "Bytes of those sent.",
	    c->links_bytes);
	counter(p, "kms_links_received_total", "Messages received.",
	    c->links_received);
}

/* What strangers tried, and what it did not cost. */
static void
render_strangers(struct page *p, const struct metrics_gauges *g)
{
	counter(p, "kms_connections_total", "Connections to the channel.",
	    g->connections);
	head(p, "kms_connections_closed_total", "counter",
	    "Those closed before a word was read, by the bound they met.");
	if (p->e == ERR_OK)
		p->e = buf_printf(p->out,
		    "kms_connections_closed_total{bound=\"rate\"} %" PRIu64 "\n"
		    "kms_connections_closed_total{bound=\"half_open\"} "
		    "%" PRIu64 "\n",
		    g->closed_rate, g->closed_budget);
	counter(p, "kms_sources_muted_total",
	    "Times that a source over its rate was not heard for a second.",
	    g->muted);
	counter(p, "kms_handshakes_failed_total",
	    "Connections that ended before both sides were attested.",
	    g->handshakes_failed);
	counter(p, "kms_log_suppressed_total",
	    "Log lines that were too many of their kind.", g->log_suppressed);
}

/* A label may be in a URL's own words: quotes and backslashes are no part of a
 * host's name. */
static void
render_endpoints(struct page *p, const struct metrics_gauges *g)
{
	head(p, "kms_chain_endpoint_odd_total", "counter",
	    "What an endpoint said and others, or proofs, say otherwise.");
	for (unsigned i = 0; i < g->n_endpoints; i++) {
		const struct endpoint_count *n = &g->endpoint[i];

		if (strpbrk(n->label, "\"\\\n") != NULL)
			continue;
		for (unsigned k = 0; p->e == ERR_OK && k < ENDPOINT_ODD_KINDS;
		     k++)
			p->e = buf_printf(p->out,
			    "kms_chain_endpoint_odd_total{endpoint=\"%s\","
			    "what=\"%s\"} %" PRIu64 "\n",
			    n->label, endpoint_odd_label((enum endpoint_odd)k),
			    n->odd[k]);
	}
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
	struct page p;

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
	if (e == ERR_OK)
		e = render_latency(out, m);
	p = (struct page){ .out = out, .e = e };
	counter(&p, "kms_collateral_fetches_total",
	    "Times that a provider was asked for a platform's collateral.",
	    g->collateral_fetches);
	counter(&p, "kms_collateral_unknown_total",
	    "Platforms refused without asking: not known a moment ago.",
	    g->collateral_unknown);
	counter(&p, "kms_sessions_ended_total",
	    "Sessions ended because their owner is not allowed any more.",
	    atomic_load(&m->sessions_ended));
	gauge(&p, "kms_rechecked_block",
	    "Block at which everyone with a session was asked for.",
	    atomic_load(&m->rechecked_block));
	counter(&p, "kms_tainted_total",
	    "Keys and certificates given from a tainted epoch.",
	    atomic_load(&m->tainted));
	render_strangers(&p, g);
	render_endpoints(&p, g);
	if (g->cluster != NULL) {
		render_log(&p, g->cluster);
		render_trust(&p, g->cluster);
		render_epochs(&p, g->cluster);
		render_lease(&p, g->cluster);
		render_links(&p, g->cluster);
	}
	return p.e;
}
