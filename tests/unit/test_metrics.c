/* The metrics page: what a scraper refuses, it must not hold. */
#include <criterion/criterion.h>

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kms/service/metrics.h"

static struct metrics m;
static uint64_t none[REASON_COUNT];
static struct metrics_cluster cluster;
static struct metrics_gauges g;
static struct buf page;

static void
setup(void)
{
	cluster = (struct metrics_cluster){ .role = "voter",
		.confirmed_age_ms = -1,
		.anchor_age_ms = -1,
		.evidence_age_s = -1 };
	g = (struct metrics_gauges){ .chain_age_s = -1,
		.channel_refusals = none,
		.gate_refusals = none,
		.cluster = &cluster };
}

static void
teardown(void)
{
	buf_fini(&page);
}

TestSuite(metrics, .init = setup, .fini = teardown);

static const char *
render(void)
{
	page.len = 0;
	cr_assert_eq(metrics_render(&page, &m, &g), ERR_OK);
	cr_assert_eq(buf_append(&page, "", 1, SIZE_MAX), ERR_OK);
	return (const char *)page.p;
}

/* A line of the page is exactly this. */
static void
has(const char *line)
{
	char text[200];

	(void)snprintf(text, sizeof text, "\n%s\n", line);
	cr_assert_not_null(strstr(render(), text), "no '%s' in\n%s", line,
	    (const char *)page.p);
}

/* name{labels} value: returns the length of the name, 0 if it is none. */
static size_t
sample(const char *line)
{
	size_t n = strspn(line, "abcdefghijklmnopqrstuvwxyz0123456789_");
	const char *p = line + n;
	char *end;

	if (n == 0 || isdigit((unsigned char)line[0]))
		return 0;
	if (*p == '{') {
		p = strchr(p, '}');
		if (p == NULL)
			return 0;
		p++;
	}
	if (*p++ != ' ')
		return 0;
	(void)strtod(p, &end);
	return end != p && *end == '\0' ? n : 0;
}

/* Every sample has its type before it, of that name, once; counters are
 * called so. */
Test(metrics, exposition_format)
{
	char *text = strdup(render()), *save = NULL, type[80] = "", kind[20];
	char seen[100][80];
	unsigned n_seen = 0, n = 0;

	for (char *l = strtok_r(text, "\n", &save); l != NULL;
	     l = strtok_r(NULL, "\n", &save)) {
		size_t len;

		if (strncmp(l, "# HELP ", 7) == 0)
			continue;
		if (sscanf(l, "# TYPE %79s %19s", type, kind) == 2) {
			for (unsigned i = 0; i < n_seen; i++)
				cr_assert_str_neq(seen[i], type, "twice");
			cr_assert_lt(n_seen, sizeof seen / sizeof seen[0]);
			strcpy(seen[n_seen++], type);
			len = strlen(type);
			cr_assert_eq(strcmp(kind, "counter") == 0,
			    len > 6 && strcmp(type + len - 6, "_total") == 0,
			    "%s is a %s", type, kind);
			continue;
		}
		len = sample(l);
		cr_assert_gt(len, 0, "no sample: '%s'", l);
		cr_assert_eq(strncmp(l, type, strlen(type)), 0,
		    "'%s' below the type of %s", l, type);
		n++;
	}
	cr_assert_gt(n, 60);
	free(text);
}

/* Without a cluster (before it is made) the rest is there. */
Test(metrics, no_cluster)
{
	g.cluster = NULL;
	cr_assert_null(strstr(render(), "kms_raft_"));
	cr_assert_not_null(strstr((const char *)page.p, "kms_ready 0"));
}

/* What strangers cost a PCCS, and what they did not. */
Test(metrics, collateral)
{
	g.collateral_fetches = 3;
	g.collateral_unknown = 5;
	has("kms_collateral_fetches_total 3");
	has("kms_collateral_unknown_total 5");
}

/* A flood is seen here, whatever the log has of it. */
Test(metrics, strangers)
{
	has("kms_connections_total 0");
	g.connections = 9;
	g.handshakes_failed = 8;
	g.closed_rate = 7;
	g.closed_budget = 6;
	g.muted = 5;
	g.log_suppressed = 4;
	has("kms_connections_total 9");
	has("kms_handshakes_failed_total 8");
	has("kms_connections_closed_total{bound=\"rate\"} 7");
	has("kms_connections_closed_total{bound=\"half_open\"} 6");
	has("kms_sources_muted_total 5");
	has("kms_log_suppressed_total 4");
}

/* What never was is -1, not a small age. */
Test(metrics, never)
{
	has("kms_confirmed_age_seconds -1");
	has("kms_anchor_age_seconds -1");
	has("kms_evidence_age_seconds -1");
	has("kms_chain_age_seconds -1");
	cluster.confirmed_age_ms = cluster.anchor_age_ms = 0;
	cluster.evidence_age_s = 0;
	has("kms_confirmed_age_seconds 0");
	has("kms_anchor_age_seconds 0");
	has("kms_evidence_age_seconds 0");
}

/* One role at a time. */
Test(metrics, role)
{
	has("kms_raft_role{role=\"voter\"} 1");
	has("kms_raft_role{role=\"leader\"} 0");
	cluster.role = "leader";
	has("kms_raft_role{role=\"voter\"} 0");
	has("kms_raft_role{role=\"leader\"} 1");
}

/* Each number is under its own name. */
Test(metrics, values)
{
	cluster = (struct metrics_cluster){ .role = "leader",
		.leads = true,
		.leader_known = true,
		.fresh = true,
		.generation = 2,
		.term = 7,
		.last = 11,
		.durable = 12,
		.commit = 13,
		.applied = 14,
		.voters = 3,
		.learners = 1,
		.seats = 4,
		.confirmed_age_ms = 1500,
		.anchor_age_ms = 2500,
		.evidence_age_s = 60,
		.anchor_generation = 21,
		.anchor_index = 22,
		.critical_index = 23,
		.elections = 31,
		.rounds = 32,
		.forwarded = 33,
		.store_commits = 34,
		.counters = 35,
		.commands = 36,
		.links = 2,
		.links_connected = 1,
		.links_sessions = 41,
		.links_sent = 42,
		.links_dropped = 43,
		.links_bytes = 44,
		.links_received = 45 };
	cluster.n_epochs = 2;
	cluster.epoch_state[0] = LEDGER_EPOCH_DESTROYED;
	cluster.epoch_state[1] = LEDGER_EPOCH_ACTIVE;
	cluster.epoch_here[1] = true;
	cluster.has_registry = true;
	cluster.registry_age_ms = 1500;
	cluster.handovers = 61;
	cluster.handovers_recorded = 60;
	cluster.effective[COMMAND_INCREMENT] = 51;
	cluster.effective[COMMAND_LAST] = 52;
	has("kms_epoch_state{epoch=\"0\"} 4");
	has("kms_epoch_state{epoch=\"1\"} 2");
	has("kms_epoch_here{epoch=\"0\"} 0");
	has("kms_epoch_here{epoch=\"1\"} 1");
	has("kms_handovers_total 61");
	has("kms_handovers_recorded_total 60");
	has("kms_registry_age_seconds 1.5");
	has("kms_raft_generation 2");
	has("kms_raft_term 7");
	has("kms_raft_last_index 11");
	has("kms_raft_durable_index 12");
	has("kms_raft_commit_index 13");
	has("kms_raft_applied_index 14");
	has("kms_raft_leader_known 1");
	has("kms_raft_voters 3");
	has("kms_raft_learners 1");
	has("kms_seats 4");
	has("kms_fresh 1");
	has("kms_fenced 0");
	has("kms_confirmed_age_seconds 1.5");
	has("kms_anchor_age_seconds 2.5");
	has("kms_evidence_age_seconds 60");
	has("kms_anchor_generation 21");
	has("kms_anchor_index 22");
	has("kms_anchor_critical_index 23");
	has("kms_raft_elections_total 31");
	has("kms_raft_rounds_total 32");
	has("kms_raft_forwarded_total 33");
	has("kms_store_commits_total 34");
	has("kms_counters 35");
	has("kms_commands_applied_total 36");
	has("kms_links 2");
	has("kms_links_connected 1");
	has("kms_links_sessions 41");
	has("kms_links_sent_total 42");
	has("kms_links_dropped_total 43");
	has("kms_links_sent_bytes_total 44");
	has("kms_links_received_total 45");
	has("kms_commands_total{kind=\"increment\"} 51");
	has("kms_commands_total{kind=\"epoch_state\"} 52");
	has("kms_commands_total{kind=\"epoch\"} 0");
	cluster.fenced = cluster.disk_failed = cluster.self_denied = true;
	has("kms_fenced 1");
	has("kms_disk_failed 1");
	has("kms_self_denied 1");
}

/* Each endpoint of the chain has its counts; a name that would break the page
 * is left out. */
Test(metrics, endpoints)
{
	const struct endpoint_count ends[] = {
		{ .label = "127.0.0.1:8545", .odd = { 1, 2, 3, 4 } },
		{ .label = "rpc\"x" },
	};

	g.endpoint = ends;
	g.n_endpoints = 2;
	has("kms_chain_endpoint_odd_total{endpoint=\"127.0.0.1:8545\","
	    "what=\"answer\"} 3");
	has("kms_chain_endpoint_odd_total{endpoint=\"127.0.0.1:8545\","
	    "what=\"proof\"} 4");
	cr_assert_null(strstr(render(), "rpc"));
}
