/* Attacks on disks: a host restores what was there before. */
#include <string.h>

#include "kms/ctl/attack_int.h"
#include "kms/ctl/lab_make.h"

#define STEPS 3 /* what is lost if an attack succeeds */
#define SNAPSHOT_EVERY 16

/* T6.  Plain raft loses acknowledged writes here: two disks that never had
 * them elect a leader. */
bool
attack_one_disk_back(struct attack *a)
{
	const struct lab_node *off = attack_follower(a, 0),
			      *back = attack_follower(a, 1),
			      *newest = attack_leader(a);

	if (off == NULL || back == NULL || newest == NULL)
		return false;
	attack_say(
	    a, "%s goes off; the disk of %s is copied", off->name, back->name);
	if (!attack_take(a, back, "old") || !attack_kill(a, off) ||
	    !attack_grow(a, STEPS))
		return false;
	attack_say(a,
	    "clients count to %llu; then %s goes off and %s gets its old "
	    "disk",
	    (unsigned long long)a->acked, newest->name, back->name);
	if (!attack_kill(a, newest) || !attack_kill(a, back) ||
	    !attack_put(a, back, back, "old") || !attack_start(a, off) ||
	    !attack_start(a, back) || !attack_await_joining(a, off) ||
	    !attack_await_joining(a, back))
		return false;
	attack_say(a, "two of three are there, a majority for plain raft");
	if (!attack_silent(a, off) || !attack_silent(a, back) ||
	    !attack_name(a, back, false) ||
	    !attack_await_refused(a, back, "disks"))
		return false;
	attack_say(a, "%s comes back", newest->name);
	return attack_start(a, newest) &&
	    attack_await_refused(a, back, "not_best") &&
	    attack_await_joining(a, newest) && attack_reopen(a, newest);
}

static bool
take_all(struct attack *a, const char *tag)
{
	bool ok = true;

	for (unsigned i = 0; i < a->l->n_nodes; i++)
		if (a->l->node[i].listed)
			ok = ok && attack_take(a, &a->l->node[i], tag);
	return ok;
}

static bool
restore_all(struct attack *a, const char *tag)
{
	bool ok = attack_kill_all(a);

	for (unsigned i = 0; i < a->l->n_nodes; i++)
		if (a->l->node[i].listed)
			ok = ok &&
			    attack_put(a, &a->l->node[i], &a->l->node[i], tag);
	return ok && attack_start_all(a);
}

/* T7.  The whole rollback: nothing but the chain can tell. */
bool
attack_all_disks_back(struct attack *a)
{
	uint64_t anchored, lost, generation;
	const struct lab_node *best;

	attack_say(a, "all disks are copied");
	if (!take_all(a, "old") || !attack_grow(a, STEPS) ||
	    !attack_checkpoint(a))
		return false;
	anchored = a->acked;
	attack_say(a, "clients count to %llu, which is anchored, and further",
	    (unsigned long long)anchored);
	if (!take_all(a, "anchored") || !attack_grow(a, STEPS))
		return false;
	lost = a->acked;
	attack_say(a, "every node is killed and gets its first copy");
	if (!restore_all(a, "old") || (best = attack_best(a)) == NULL ||
	    !attack_silent(a, best) || !attack_name(a, best, false) ||
	    !attack_await_refused(a, best, "rollback"))
		return false;
	/* The documented residual: all disks, back to no further than the
	 * anchor.  It is no secret: the generation has grown. */
	attack_say(a, "every node gets the copy from after the anchor");
	if (!restore_all(a, "anchored") || (best = attack_best(a)) == NULL ||
	    !attack_reopen(a, best) || !attack_read(a, &a->acked, &generation))
		return false;
	if (a->acked < anchored)
		return attack_won(a, "the counter is %llu, %llu was anchored",
		    (unsigned long long)a->acked, (unsigned long long)anchored);
	attack_note(a,
	    "whoever restores every disk and has the operators' order can "
	    "withhold what came after the anchor (%llu to %llu), not "
	    "silently: each answer now says generation %llu",
	    (unsigned long long)a->acked + 1, (unsigned long long)lost,
	    (unsigned long long)generation);
	return true;
}

/* T8.  In plain raft the fork reuses (index, term), and nodes with different
 * histories believe that they agree, for ever. */
bool
attack_newest_off(struct attack *a)
{
	const struct lab_node *one = attack_follower(a, 0),
			      *two = attack_follower(a, 1),
			      *newest = attack_leader(a);
	uint64_t lost, generation;
	char line[200] = "";
	long end;

	if (one == NULL || two == NULL || newest == NULL)
		return false;
	attack_say(
	    a, "the disks of %s and %s are copied", one->name, two->name);
	if (!attack_take(a, one, "old") || !attack_take(a, two, "old") ||
	    !attack_grow(a, STEPS) || !attack_kill_all(a) ||
	    !attack_put(a, one, one, "old") || !attack_put(a, two, two, "old"))
		return false;
	lost = a->acked;
	attack_say(
	    a, "%s stays off, the two start from their copies", newest->name);
	if (!attack_start(a, one) || !attack_start(a, two) ||
	    (one = attack_best(a)) == NULL || !attack_name(a, one, false) ||
	    !attack_await_refused(a, one, "disks"))
		return false;
	attack_say(a, "operators who give %s up may say so", newest->name);
	if (!attack_name(a, one, true) ||
	    !attack_await_text(a, one, "phase", "ready", ATTACK_LATE_MS) ||
	    !attack_read(a, &a->acked, &generation))
		return false;
	attack_note(a,
	    "by a lossy order %llu to %llu are given up, and each answer says "
	    "generation %llu",
	    (unsigned long long)a->acked + 1, (unsigned long long)lost,
	    (unsigned long long)generation);
	if (!attack_grow(a, STEPS + 1))
		return false;
	end = attack_log_end(a, newest);
	attack_say(a, "%s comes back with a history of its own", newest->name);
	if (!attack_start(a, newest) ||
	    !attack_await_log(a, newest, end, "event=disk_cut", line,
		sizeof line, ATTACK_LATE_MS))
		return false;
	attack_refused(a, newest->name, "disk_cut", line);
	return attack_await_text(a, newest, "phase", "ready", ATTACK_LATE_MS);
}

/* ---- one store out of two ---- */

/* What a node that starts says about its disk. */
static bool
mixed_disk(struct attack *a, const struct lab_node *n)
{
	char line[200] = "", path[LAB_PATH_MAX];
	long end = attack_log_end(a, n);
	json_t *v;

	if (!attack_mix(a, n, "new", "old") || !attack_start(a, n) ||
	    !attack_await_text(a, n, "phase", "ready", ATTACK_LATE_MS))
		return false;
	v = attack_page(n);
	lab_log_path(path, a->l, n->name);
	if (attack_text(v, "cluster.disk.trouble.reason")[0] != '\0')
		attack_refused(a, n->name, "corrupt",
		    attack_text(v, "cluster.disk.trouble.detail"));
	else if (attack_log_has(
		     path, end, "event=disk_refused", line, sizeof line))
		attack_refused(a, n->name, "corrupt", line);
	else if (attack_log_has(path, end, "event=disk_cut", line, sizeof line))
		attack_refused(a, n->name, "disk_cut", line);
	else
		attack_note(a, "none of the older pages was one that %s reads",
		    n->name);
	json_decref(v);
	return true;
}

/* T11.  Every record is sealed for its place, and one record pins the others;
 * so a store is one of its own past states, or it is none. */
bool
attack_stale_snapshot(struct attack *a)
{
	const struct lab_node *n = attack_follower(a, 0);
	struct lab_node_wishes w = { .snapshot_every = SNAPSHOT_EVERY };

	if (n == NULL)
		return false;
	w.slot = n->name;
	attack_say(
	    a, "%s takes a snapshot every %d entries", n->name, SNAPSHOT_EVERY);
	if (lab_write_node(a->l, n, &w) != ERR_OK || !attack_kill(a, n) ||
	    !attack_start(a, n) ||
	    !attack_await_text(a, n, "phase", "ready", ATTACK_LATE_MS) ||
	    !attack_grow(a, 2 * SNAPSHOT_EVERY + STEPS) ||
	    !attack_take(a, n, "old") ||
	    !attack_grow(a, 2 * SNAPSHOT_EVERY + STEPS) || !attack_kill(a, n) ||
	    !attack_take(a, n, "new"))
		return false;
	attack_say(a, "its newer store gets pages of the older one");
	if (!mixed_disk(a, n))
		return false;
	attack_say(a, "its newer store is replaced by the older one");
	if (!attack_kill(a, n) || !attack_put(a, n, n, "old") ||
	    !attack_start(a, n) ||
	    !attack_await_text(a, n, "phase", "ready", ATTACK_LATE_MS))
		return false;
	attack_note(a,
	    "the older store is the beginning of the cluster's log: %s took "
	    "the rest from the cluster",
	    n->name);
	return true;
}

/* ---- a vote that is not on the disk any more ---- */

/* T2.  In plain raft the node would vote again in the same term. */
bool
attack_forgotten_vote(struct attack *a)
{
	const struct lab_node *first = attack_leader(a),
			      *voter = attack_follower(a, 0),
			      *other = attack_follower(a, 1), *second;
	char life[80], detail[160];
	json_t *v;

	if (first == NULL || voter == NULL || other == NULL ||
	    !attack_take(a, voter, "old"))
		return false;
	v = attack_page(voter);
	(void)snprintf(life, sizeof life, "%s", attack_text(v, "incarnation"));
	json_decref(v);
	attack_say(a, "%s is frozen, so that %s and %s vote", first->name,
	    voter->name, other->name);
	if (!attack_freeze(a, first->name) ||
	    (second = attack_leader(a)) == NULL)
		return false;
	attack_say(a, "%s leads; %s is killed and gets its disk of before",
	    second->name, voter->name);
	if (!attack_kill(a, voter) || !attack_put(a, voter, voter, "old") ||
	    !attack_start(a, voter) || !attack_await_joining(a, voter))
		return false;
	/* `other` is alone: the one vote that it needs was the old life's. */
	if (!attack_await_stale(a, other) || !attack_silent(a, other) ||
	    !attack_silent(a, voter))
		return false;
	v = attack_page(voter);
	(void)snprintf(detail, sizeof detail,
	    "the life %.8s that voted is gone; %.8s has no vote", life,
	    attack_text(v, "incarnation"));
	if (strcmp(life, attack_text(v, "incarnation")) == 0)
		(void)attack_won(a, "%s is the same again", voter->name);
	else if (strcmp(attack_text(v, "phase"), "joining") != 0)
		(void)attack_won(
		    a, "%s is %s", voter->name, attack_text(v, "phase"));
	else
		attack_refused(a, voter->name, "not_member", detail);
	json_decref(v);
	attack_say(a, "%s goes on", first->name);
	return attack_thaw(a, first->name) &&
	    attack_await_text(a, voter, "phase", "ready", ATTACK_LATE_MS);
}
