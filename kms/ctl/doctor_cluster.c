/* What shows when nodes, and the chain, are compared. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kms/ctl/doctor.h"

#define SILENT_MS 5000
#define BEHIND 1000 /* entries */
#define SKEW_S 10
#define WHERE_MAX 256
#define NAMES_MAX 320

static const json_t *
cluster_of(const json_t *n)
{
	return json_object_get(json_object_get(n, "status"), "cluster");
}

static const json_t *
nodes_of(const struct doctor *d)
{
	return json_object_get(d->fleet, "nodes");
}

/* ---- two histories ---- */

static void
generations(struct doctor *d)
{
	const json_t *n;
	json_int_t top = fleet_num(
	    json_object_get(json_object_get(d->fleet, "chain"), "point"),
	    "generation");
	size_t i;

	json_array_foreach(nodes_of(d), i, n)
	{
		json_int_t g = fleet_num(
		    json_object_get(cluster_of(n), "anchor"), "generation");

		top = g > top ? g : top;
	}
	json_array_foreach(nodes_of(d), i, n)
	{
		const json_t *c = cluster_of(n);
		json_int_t g = fleet_num(c, "generation");
		const char *phase = fleet_str(c, "phase");

		if (c == NULL || g == 0 || g == top ||
		    strcmp(phase, "waiting") == 0 ||
		    strcmp(phase, "joining") == 0 ||
		    strcmp(phase, "genesis") == 0)
			continue; /* what a disk offers is told below */
		doctor_say(d, true, fleet_str(n, "name"), "generation",
		    "its log is of generation %lld, the chain's of %lld: it "
		    "speaks for a past that was left behind",
		    (long long)g, (long long)top);
		doctor_do(d, "start it again: it joins generation %lld",
		    (long long)top);
	}
}

static void
compare(struct doctor *d, const json_t *a, const json_t *b)
{
	const json_t *sa = json_object_get(a, "status"),
		     *sb = json_object_get(b, "status");
	json_int_t at = fleet_num(sa, "digest_index");

	if (!json_is_object(sa) || !json_is_object(sb) || at == 0 ||
	    at != fleet_num(sb, "digest_index") ||
	    fleet_num(cluster_of(a), "generation") !=
		fleet_num(cluster_of(b), "generation") ||
	    strcmp(fleet_str(sa, "digest"), fleet_str(sb, "digest")) == 0)
		return;
	doctor_say(d, true, fleet_str(b, "name"), "digest",
	    "%s and %s hold different states at entry %lld of one generation",
	    fleet_str(a, "name"), fleet_str(b, "name"), (long long)at);
	doctor_do(d,
	    "this must not be: stop the one that differs from the others, "
	    "keep its disk and log for those who look into it, and start it "
	    "with an empty data_dir");
}

static void
digests(struct doctor *d)
{
	const json_t *a, *b;
	size_t i, j;

	json_array_foreach(nodes_of(d), i, a)
	{
		json_array_foreach(nodes_of(d), j, b) if (j > i)
		    compare(d, a, b);
	}
}

/* The same block has the same age everywhere, at one moment. */
static void
clocks(struct doctor *d)
{
	const json_t *n, *first = NULL;
	size_t i;

	json_array_foreach(nodes_of(d), i, n)
	{
		const json_t *v =
		    json_object_get(json_object_get(n, "status"), "chain");
		json_int_t off;

		if (!json_is_integer(json_object_get(v, "block_age_s")))
			continue;
		if (first == NULL) {
			first = v;
			continue;
		}
		off = fleet_num(v, "block_age_s") -
		    fleet_num(first, "block_age_s");
		if (fleet_num(v, "block_number") !=
			fleet_num(first, "block_number") ||
		    (off <= SKEW_S && off >= -SKEW_S))
			continue;
		doctor_say(d, false, fleet_str(n, "name"), "clock_skew",
		    "its clock differs by %lld s from that of the first node "
		    "asked",
		    (long long)off);
		doctor_do(d,
		    "set the clocks (NTP); evidence and collateral "
		    "are judged by them");
	}
}

/* ---- a living cluster ---- */

static void
one_member(struct doctor *d, const json_t *s, const json_t *row)
{
	const char *slot = fleet_str(row, "slot"),
		   *role = fleet_str(row, "role");
	const char *refused = fleet_str(row, "refused");
	json_int_t heard = fleet_num(row, "heard_age_ms");
	json_int_t lag = fleet_num(json_object_get(s, "cluster"), "last") -
	    fleet_num(row, "match");
	bool silent = heard > SILENT_MS ||
	    json_is_null(json_object_get(row, "heard_age_ms"));

	if (fleet_is(row, "self") || doctor_has(d, slot, "down"))
		return;
	if (strcmp(role, "absent") == 0 && fleet_is(row, "seated")) {
		doctor_say(d, true, slot, "absent",
		    "its seat is empty: no node of this slot has come");
		doctor_do(d,
		    "start it, or take the seat away: kmsctl node "
		    "remove %s",
		    slot);
	} else if (strcmp(role, "voter") == 0 && silent) {
		doctor_say(d, true, slot, "silent",
		    "a voter that the leader has not heard of for %lld ms",
		    (long long)heard);
		doctor_do(d,
		    "look at that machine and its network; it stops counting "
		    "after a while, and joins again by itself");
	} else if (strcmp(role, "voter") == 0 && lag > BEHIND &&
	    fleet_leads(s)) {
		doctor_say(d, false, slot, "behind",
		    "a voter that is %lld entries behind", (long long)lag);
		doctor_do(d, "is its disk or network slow?");
	} else if (strcmp(role, "learner") == 0) {
		doctor_say(d, false, slot, "learner",
		    "it follows, without a vote%s",
		    silent ? ", and is silent" : "");
		doctor_do(d, "it is given its vote once it has caught up");
	}
	if (refused[0] != '\0' && fleet_leads(s)) {
		doctor_say(d, true, slot, "refused",
		    "the leader does not let it in: %s (%s)",
		    reason_text(reason_from_label(refused)), refused);
	}
}

static void
members(struct doctor *d, const json_t *s)
{
	const json_t *c = json_object_get(s, "cluster"), *row;
	json_int_t voters = fleet_num(c, "voters"),
		   seats = fleet_num(c, "seats");
	size_t i;

	json_array_foreach(json_object_get(c, "nodes"), i, row)
	    one_member(d, s, row);
	if (seats > 0 && voters < seats / 2 + 1) {
		doctor_say(d, true, "cluster", "below_quorum",
		    "%lld voters for %lld seats: too few disks know what is "
		    "acknowledged",
		    (long long)voters, (long long)seats);
		doctor_do(d, "start the nodes whose seats are empty");
	} else if (voters < seats) {
		doctor_say(d, false, "cluster", "few_voters",
		    "%lld voters for %lld seats", (long long)voters,
		    (long long)seats);
	} else if (seats > 0 && seats < 3) {
		doctor_say(d, false, "cluster", "few_seats",
		    "%lld seat%s: no node may fail", (long long)seats,
		    seats == 1 ? "" : "s");
		doctor_do(d,
		    "seat three nodes or more, each on a host of "
		    "its own");
	}
}

/* ---- no living cluster ---- */

struct offers {
	json_int_t generation, index; /* of the anchor */
	unsigned all, usable; /* disks offered; those with the anchor in them */
	unsigned members; /* that run, of a quorum that does not answer */
	unsigned linked; /* of those: who sends to a majority */
	char names[NAMES_MAX], old[NAMES_MAX], running[NAMES_MAX];
	const json_t *best; /* row */
};

static void
add_name(char out[static NAMES_MAX], const json_t *row)
{
	size_t n = strlen(out);

	(void)snprintf(out + n, NAMES_MAX - n, "%s%s (log at %lld)",
	    n > 0 ? ", " : "", fleet_str(row, "slot"),
	    (long long)fleet_num(row, "head_index"));
}

static bool
newer(const json_t *a, const json_t *b)
{
	uint64_t ta = fleet_term(fleet_str(a, "head_term")),
		 tb = fleet_term(fleet_str(b, "head_term"));

	return ta > tb ||
	    (ta == tb &&
		fleet_num(a, "head_index") > fleet_num(b, "head_index"));
}

static void
offer(struct offers *o, const json_t *row)
{
	/* An empty disk offers nothing. */
	if (fleet_num(row, "head_generation") == 0)
		return;
	o->all++;
	if (fleet_num(row, "head_generation") != o->generation ||
	    fleet_num(row, "head_index") < o->index ||
	    !fleet_is(row, "seated")) {
		add_name(o->old, row);
		return;
	}
	o->usable++;
	add_name(o->names, row);
	if (o->best == NULL || newer(row, o->best))
		o->best = row;
}

static json_int_t
connected(const json_t *status)
{
	const json_t *p;
	json_int_t n = 0;
	size_t i;

	json_array_foreach(json_object_get(status, "peers"), i, p) n +=
	    fleet_is(p, "connected");
	return n;
}

/* Each node's own word first; of nodes that we cannot ask, what another has
 * heard from them. */
static void
gather(struct offers *o, const struct doctor *d)
{
	const json_t *n, *row, *heard = fleet_best(d->fleet);
	const json_t *chain = json_object_get(d->fleet, "chain");
	size_t i;

	json_array_foreach(nodes_of(d), i, n)
	{
		const json_t *a = json_object_get(cluster_of(n), "anchor");

		if (fleet_num(a, "generation") > o->generation)
			o->generation = fleet_num(a, "generation");
		if (fleet_num(a, "index") > o->index)
			o->index = fleet_num(a, "index");
	}
	chain = json_object_get(chain, "point");
	if (json_is_object(chain)) {
		o->generation = fleet_num(chain, "generation");
		o->index = fleet_num(chain, "index");
	}
	json_array_foreach(nodes_of(d), i, n)
	{
		const json_t *s = json_object_get(n, "status");

		if (!json_is_object(s) ||
		    (row = fleet_row(s, fleet_str(s, "slot"))) == NULL)
			continue;
		/* Its disk counts once this life is over. */
		if (strcmp(fleet_str(cluster_of(n), "phase"), "member") == 0) {
			o->members++;
			o->linked += connected(s) >=
			    fleet_num(cluster_of(n), "seats") / 2;
			add_name(o->running, row);
		} else {
			offer(o, row);
		}
	}
	json_array_foreach(
	    json_object_get(json_object_get(heard, "cluster"), "nodes"), i, row)
	{
		if (fleet_status(d->fleet, fleet_str(row, "slot")) == NULL &&
		    strcmp(fleet_str(row, "role"), "offers") == 0)
			offer(o, row);
	}
}

/* As the nodes count (core_anchor.c, P6), with all seats as voters. */
static unsigned
disks_needed(unsigned seats)
{
	unsigned f = seats >= 3 ? 1 : 0;
	unsigned p = seats - (seats / 2 + 1) + f + 1;

	return p < seats ? p : seats;
}

static void
how_to_recover(struct doctor *d, const struct offers *o, unsigned seats)
{
	unsigned needed = disks_needed(seats);
	const json_t *order =
	    json_object_get(json_object_get(d->fleet, "chain"), "order");
	char where[WHERE_MAX];

	doctor_where(d, true, where, sizeof where);
	/* A member that gave way may have brought a newer disk. */
	if (json_is_string(order) && o->best != NULL && o->usable >= needed) {
		doctor_do(d,
		    "%s is named to recover: wait until it has announced and "
		    "opened the next generation (or kmsctl anchor recover "
		    "--clear %s).  If that life is over, or waits with "
		    "not_best: kmsctl anchor recover 0x%s %s",
		    json_string_value(order), where,
		    fleet_str(o->best, "incarnation"), where);
	} else if (json_is_string(order)) {
		doctor_do(d,
		    "%s is named to recover: wait until it has announced and "
		    "opened the next generation (or kmsctl anchor recover "
		    "--clear %s)",
		    json_string_value(order), where);
	} else if (o->members > seats / 2 && o->linked == o->members) {
		doctor_do(d,
		    "enough members run and reach each other.  If this lasts "
		    "for more than seconds they hear each other no more, as "
		    "after the contract had denied them all for a while: "
		    "restart them all, then ask the doctor again");
	} else if (o->members > seats / 2) {
		doctor_do(d,
		    "enough members run, and elect a leader once they reach "
		    "each other: look at the network between them; do not "
		    "restart them");
	} else if (o->members > 0 && o->best != NULL &&
	    o->usable + o->members >= needed) {
		doctor_do(d,
		    "if the others still run and are only cut off, bring back "
		    "the network.  If they have ended, their quorum is gone: "
		    "kmsctl anchor recover 0x%s %s, upon which %s gives way "
		    "within a minute, and its disk counts (or restart %s "
		    "first); then ask the doctor again",
		    fleet_str(o->best, "incarnation"), where, o->running,
		    o->running);
	} else if (o->members > 0) {
		doctor_do(d,
		    "if the others still run and are only cut off, bring back "
		    "the network.  If they have ended, their quorum is gone: "
		    "start them, restart %s (a disk counts for recovery only "
		    "in a new life), and ask the doctor again",
		    o->running);
	} else if (o->best == NULL) {
		doctor_do(d,
		    "no disk here holds the anchored entry %lld of generation "
		    "%lld: find and start the nodes that do; nothing else can "
		    "recover this cluster",
		    (long long)o->index, (long long)o->generation);
	} else if (o->usable >= needed) {
		doctor_do(d,
		    "if no other node still runs: kmsctl anchor recover 0x%s "
		    "%s",
		    fleet_str(o->best, "incarnation"), where);
	} else {
		doctor_do(d,
		    "start more nodes: %u disks are here, %u are needed.  Only "
		    "if their disks are gone for good: kmsctl anchor recover "
		    "0x%s --lossy %s ; WARNING: what was acknowledged after "
		    "entry %lld and is on none of these disks is lost then, "
		    "counters among it",
		    o->usable, needed, fleet_str(o->best, "incarnation"), where,
		    (long long)o->index);
	}
}

static bool
is_seated(const json_t *status)
{
	return fleet_is(fleet_row(status, fleet_str(status, "slot")), "seated");
}

static void
no_quorum(struct doctor *d)
{
	struct offers o = { 0 };
	const json_t *n, *chain = json_object_get(d->fleet, "chain");
	unsigned asked = 0, up = 0, seats;
	size_t i;

	gather(&o, d);
	seats = (unsigned)json_array_size(json_object_get(chain, "seats"));
	json_array_foreach(nodes_of(d), i, n)
	{
		json_int_t k = fleet_num(cluster_of(n), "seats");

		asked += fleet_is(n, "listed");
		up += is_seated(json_object_get(n, "status"));
		if (k > (json_int_t)seats)
			seats = (unsigned)k;
	}
	if (seats == 0)
		seats = asked;
	doctor_say(d, true, "cluster", "no_quorum",
	    "nobody leads, so nobody serves: %u of %u seats answer, %u are "
	    "needed; members that still run: %s; disks offered: %s%s%s",
	    up < seats ? up : seats, seats, seats / 2 + 1,
	    o.members > 0 ? o.running : "none", o.usable > 0 ? o.names : "none",
	    o.old[0] != '\0'
		? "; not good enough (no seat, or older than the anchor): "
		: "",
	    o.old);
	how_to_recover(d, &o, seats);
}

/* A cluster that was never opened has no quorum to miss. */
static bool
was_opened(const struct doctor *d)
{
	const json_t *n;
	size_t i;

	if (fleet_num(
		json_object_get(json_object_get(d->fleet, "chain"), "point"),
		"generation") > 0)
		return true;
	json_array_foreach(nodes_of(d), i, n)
	{
		if (fleet_num(json_object_get(cluster_of(n), "anchor"),
			"generation") > 0)
			return true;
	}
	return false;
}

/* Somebody is a member and knows a leader that a quorum has confirmed. */
static const json_t *
alive(const struct doctor *d)
{
	const json_t *n, *best = NULL;
	size_t i;

	json_array_foreach(nodes_of(d), i, n)
	{
		const json_t *s = json_object_get(n, "status");
		const json_t *c = cluster_of(n);
		const json_t *age = json_object_get(c, "confirmed_age_ms");

		if (strcmp(fleet_str(c, "phase"), "member") != 0 ||
		    fleet_str(c, "leader")[0] == '\0' ||
		    !json_is_integer(age) ||
		    json_integer_value(age) > SILENT_MS)
			continue;
		if (best == NULL || fleet_leads(s))
			best = s;
	}
	return best;
}

/* ---- the chain ---- */

static void
money(struct doctor *d, const json_t *chain)
{
	const json_t *signer = json_object_get(chain, "signer");
	double ether = strtod(fleet_str(signer, "ether"), NULL);
	json_int_t at = fleet_num(json_object_get(chain, "point"), "index");
	const json_t *best = fleet_best(d->fleet);
	const json_t *a =
	    json_object_get(json_object_get(best, "cluster"), "anchor");
	bool pending = fleet_num(a, "critical_index") > at;

	/* "over 18" is more than enough. */
	if (fleet_num(json_object_get(chain, "point"), "generation") == 0 ||
	    strncmp(fleet_str(signer, "ether"), "over", 4) == 0)
		return;
	if (ether < 0.001) {
		doctor_say(d, true, "cluster", "gas",
		    "the cluster's account on chain has %s ether: %s",
		    fleet_str(signer, "ether"),
		    pending ? "a critical entry waits for its anchor, and has "
			      "no effect until then"
			    : "it could not anchor, veto or recover");
		doctor_do(d, "send ether to %s", fleet_str(signer, "address"));
	} else if (ether < 0.05) {
		doctor_say(d, false, "cluster", "gas_low",
		    "the cluster's account on chain has %s ether left",
		    fleet_str(signer, "ether"));
		doctor_do(d, "send ether to %s", fleet_str(signer, "address"));
	}
}

static void
on_chain(struct doctor *d)
{
	const json_t *chain = json_object_get(d->fleet, "chain");
	const json_t *next = json_object_get(chain, "announced");

	if (!json_is_object(chain))
		return;
	if (fleet_str(chain, "error")[0] != '\0') {
		doctor_say(d, true, "cluster", "chain",
		    "the anchor cannot be read from here: %s",
		    fleet_str(chain, "error"));
		doctor_do(d, "is the chain's endpoint up?");
		return;
	}
	money(d, chain);
	if (json_is_object(next) && alive(d) != NULL) {
		doctor_say(d, true, "cluster", "announced",
		    "generation %lld is announced while this one lives; its "
		    "leader will veto",
		    (long long)fleet_num(next, "generation"));
		doctor_do(d, "who gave that order?  see kmsctl anchor status");
	}
}

void
doctor_cluster(struct doctor *d)
{
	const json_t *s = alive(d);

	generations(d);
	digests(d);
	clocks(d);
	if (s != NULL)
		members(d, s);
	else if (was_opened(d))
		no_quorum(d);
	on_chain(d);
}
