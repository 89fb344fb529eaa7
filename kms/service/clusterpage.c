#include <assert.h>
#include <string.h>

#include "common/base/clock.h"
#include "kms/service/clusterpage.h"
#include "kms/service/epochpage.h"
#include "kms/service/leasepage.h"

static const char *
role_text(const struct core_node *n)
{
	switch (n->role) {
	case NODE_ABSENT:
		return "absent";
	case NODE_OFFERS:
		return "offers";
	case NODE_LEARNER:
		return "learner";
	case NODE_VOTER:
		return n->leader ? "leader" : "voter";
	}
	return "?";
}

/* Milliseconds since `ms`, or null if it never was. */
static json_t *
age(uint64_t now, uint64_t ms)
{
	return ms == 0 ? json_null() : json_integer((json_int_t)(now - ms));
}

static json_t *
term_text(uint64_t term)
{
	return json_sprintf("%llu.%llu", (unsigned long long)(term >> 32),
	    (unsigned long long)(term & UINT32_MAX));
}

static json_t *
why_json(const struct refusal *why)
{
	if (why->code == REASON_NONE)
		return json_null();
	return json_pack("{s:s, s:s, s:s}", "reason", reason_label(why->code),
	    "text", reason_text(why->code), "detail", why->detail);
}

/* Seconds since evidence of this incarnation was last verified here. */
static json_t *
evidence_age(const struct cluster *c, const struct core_node *n)
{
	struct attested seen;

	return !n->self &&
		links_attested(cluster_links(c), &seen, n->incarnation)
	    ? json_integer(clock_wall_s() - seen.verified_at)
	    : json_null();
}

static json_t *
node_json(const struct cluster *c, const struct core_node *n, uint64_t now)
{
	json_t *o = json_object();

	(void)!json_set_str(o, "slot", n->slot);
	(void)!json_set_str(o, "role", role_text(n));
	(void)!json_set_bool(o, "self", n->self);
	(void)!json_set_bool(o, "seated", n->seated);
	(void)!json_set_hex(o, "incarnation", n->incarnation, 32);
	(void)!json_set_hex(o, "device_id", n->device_id, 32);
	(void)!json_set_new(o, "heard_age_ms",
	    n->self ? json_integer(0) : age(now, n->heard_ms));
	(void)!json_set_new(o, "evidence_age_s", evidence_age(c, n));
	(void)!json_set_u64(o, "match", n->match);
	(void)!json_set_u64(o, "head_generation", n->offer_generation);
	(void)!json_set_u64(o, "head_index", n->offer_index);
	(void)!json_set_new(o, "head_term", term_text(n->offer_term));
	(void)!json_set_new(o, "refused",
	    n->refused != REASON_NONE ? json_string(reason_label(n->refused))
				      : json_null());
	return o;
}

static json_t *
nodes_json(const struct cluster *c, uint64_t now)
{
	const struct core *core = cluster_core(c);
	struct core_node node[ENGINE_MEMBERS_MAX * 2];
	size_t n = core_nodes(core, node, sizeof node / sizeof node[0]);
	json_t *list = json_array();

	for (size_t i = 0; i < n; i++)
		(void)json_array_append_new(list, node_json(c, &node[i], now));
	return list;
}

static json_t *
anchor_json(
    const struct core_status *s, const struct cluster_info *info, uint64_t now)
{
	json_t *o = json_object();

	(void)!json_set_u64(o, "generation", s->anchor.generation);
	(void)!json_set_u64(o, "index", s->anchor.index);
	(void)!json_set_hex(o, "hash", s->anchor.hash, 32);
	(void)!json_set_new(o, "age_ms", age(now, s->anchor_ms));
	(void)!json_set_u64(o, "critical_index", s->critical);
	(void)!json_set_new(o, "error",
	    info->anchor_error != REASON_NONE
		? json_string(reason_label(info->anchor_error))
		: json_null());
	return o;
}

static json_t *
audit_json(const struct ledger *l)
{
	json_t *o = json_object();
	uint8_t head[32];

	ledger_audit_head(l, head);
	(void)!json_set_u64(o, "count", ledger_audit_count(l));
	(void)!json_set_u64(o, "first_kept", ledger_audit_first(l));
	(void)!json_set_hex(o, "head", head, sizeof head);
	return o;
}

json_t *
clusterpage_json(const struct cluster *c)
{
	const struct core *core = cluster_core(c);
	const struct ledger *l = core_ledger(core);
	uint64_t now = clock_boot_ms();
	struct cluster_info info;
	struct core_status s;
	struct refusal why = { 0 };
	json_t *o = json_object();
	uint8_t hash[32];

	core_status(core, &s);
	cluster_info(c, &info);
	(void)!json_set_str(o, "phase", core_phase_text(s.phase));
	(void)!json_set_u64(o, "generation", s.generation);
	(void)!json_set_new(o, "term", term_text(s.term));
	(void)!json_set_str(o, "leader", s.leader);
	(void)!json_set_u64(o, "last", s.last);
	(void)!json_set_u64(o, "commit", s.commit);
	(void)!json_set_u64(o, "applied", s.applied);
	(void)!json_set_u64(o, "durable", s.durable);
	(void)!json_set_u64(o, "voters", s.voters);
	(void)!json_set_u64(o, "learners", s.learners);
	(void)!json_set_u64(o, "seats", s.seats);
	(void)!json_set_bool(o, "fenced", s.fenced);
	(void)!json_set_bool(o, "fresh", cluster_serves(c, &why) == ERR_OK);
	(void)!json_set_new(o, "confirmed_age_ms", age(now, s.confirmed_ms));
	(void)!json_set_new(o, "anchor", anchor_json(&s, &info, now));
	(void)!json_set_new(o, "disk",
	    json_pack("{s:b, s:o}", "failed", (int)info.disk_unusable,
		"trouble", why_json(&info.disk)));
	(void)!json_set_new(o, "waiting", why_json(&info.waiting));
	(void)!json_set_bool(o, "self_denied", info.self_denied);
	(void)!json_set_u64(o, "chain_floor", ledger_floor(l, hash));
	(void)!json_set_new(o, "audit", audit_json(l));
	(void)!json_set_u64(o, "counters", ledger_n_counters(l));
	(void)!json_set_new(o, "registry", epochpage_registry(c));
	(void)!json_set_new(o, "lease", leasepage_json(c));
	(void)!json_set_u64(o, "elections", s.elections);
	(void)!json_set_u64(o, "rounds", s.rounds);
	(void)!json_set_u64(o, "forwarded", s.forwarded);
	(void)!json_set_u64(o, "store_commits", info.store_commits);
	(void)!json_set_new(o, "nodes", nodes_json(c, now));
	return o;
}

json_t *
clusterpage_peers(const struct cluster *c)
{
	struct links_peer peer[KMSD_PEERS];
	size_t n = links_peers(cluster_links(c), peer, KMSD_PEERS);
	json_t *list = json_array();

	for (size_t i = 0; i < n; i++) {
		json_t *o = json_object();

		(void)!json_set_str(o, "url", peer[i].url);
		(void)!json_set_bool(o, "connected", peer[i].connected);
		(void)!json_set_str(o, "slot", peer[i].slot);
		(void)!json_set_hex(o, "incarnation", peer[i].incarnation, 32);
		(void)!json_set_new(o, "since_s",
		    peer[i].since != 0
			? json_integer(clock_wall_s() - peer[i].since)
			: json_null());
		(void)!json_set_new(o, "error",
		    peer[i].error != REASON_NONE
			? json_string(reason_label(peer[i].error))
			: json_null());
		(void)!json_set_u64(o, "sent", peer[i].sent);
		(void)!json_set_u64(o, "dropped", peer[i].dropped);
		(void)!json_set_u64(o, "bytes", peer[i].bytes);
		(void)json_array_append_new(list, o);
	}
	return list;
}

/* ---- metrics ---- */

static int64_t
age_ms(uint64_t now, uint64_t ms)
{
	return ms == 0 ? -1 : (int64_t)(now - ms);
}

static void
count_links(const struct cluster *c, struct metrics_cluster *m)
{
	struct links_peer peer[KMSD_PEERS];
	struct links_stats s;
	size_t n = links_peers(cluster_links(c), peer, KMSD_PEERS);

	links_stats(cluster_links(c), &s);
	m->links = n;
	m->links_sessions = s.sessions;
	m->links_received = s.received;
	for (size_t i = 0; i < n; i++) {
		m->links_connected += peer[i].connected;
		m->links_sent += peer[i].sent;
		m->links_dropped += peer[i].dropped;
		m->links_bytes += peer[i].bytes;
	}
}

static void
count_nodes(const struct cluster *c, struct metrics_cluster *m)
{
	struct core_node node[ENGINE_MEMBERS_MAX * 2];
	size_t n =
	    core_nodes(cluster_core(c), node, sizeof node / sizeof node[0]);
	struct attested seen;

	for (size_t i = 0; i < n; i++) {
		if (node[i].self) {
			m->role = role_text(&node[i]);
			m->leads = node[i].leader;
		} else if ((node[i].role == NODE_VOTER ||
			       node[i].role == NODE_LEARNER) &&
		    links_attested(
			cluster_links(c), &seen, node[i].incarnation)) {
			int64_t age = clock_wall_s() - seen.verified_at;

			if (age > m->evidence_age_s)
				m->evidence_age_s = age;
		}
	}
}

void
clusterpage_metrics(const struct cluster *c, struct metrics_cluster *out)
{
	const struct core *core = cluster_core(c);
	uint64_t now = clock_boot_ms();
	struct cluster_info info;
	struct core_status s;

	core_status(core, &s);
	cluster_info(c, &info);
	*out = (struct metrics_cluster){ .role = "absent",
		.leader_known = s.leader[0] != '\0',
		.fresh = cluster_serves(c, NULL) == ERR_OK,
		.fenced = s.fenced,
		.disk_failed = info.disk_unusable,
		.self_denied = info.self_denied,
		.generation = s.generation,
		.term = s.term & UINT32_MAX,
		.last = s.last,
		.durable = s.durable,
		.commit = s.commit,
		.applied = s.applied,
		.voters = s.voters,
		.learners = s.learners,
		.seats = s.seats,
		.confirmed_age_ms = age_ms(now, s.confirmed_ms),
		.anchor_age_ms = age_ms(now, s.anchor_ms),
		.evidence_age_s = -1,
		.anchor_generation = s.anchor.generation,
		.anchor_index = s.anchor.index,
		.critical_index = s.critical,
		.elections = s.elections,
		.rounds = s.rounds,
		.forwarded = s.forwarded,
		.store_commits = info.store_commits,
		.counters = ledger_n_counters(core_ledger(core)),
		.commands = s.applied_commands };
	static_assert(sizeof out->effective == sizeof info.effective);
	memcpy(out->effective, info.effective, sizeof out->effective);
	epochpage_metrics(c, out);
	leasepage_metrics(c, out);
	count_links(c, out);
	count_nodes(c, out);
}
