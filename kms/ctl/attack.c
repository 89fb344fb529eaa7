#include <stdarg.h>
#include <string.h>

#include "common/base/clock.h"
#include "kms/ctl/attack_int.h"
#include "kms/ctl/lab_recover.h"
#include "kms/ctl/lab_run.h"

const struct attack_case attack_cases[] = {
	{ "one-disk-back", "one disk rolled back while another node is off",
	    "T6", attack_one_disk_back },
	{ "all-disks-back", "every disk restored to an older copy", "T7",
	    attack_all_disks_back },
	{ "newest-off", "two disks restored, the newest brought back later",
	    "T8", attack_newest_off },
	{ "fork-running", "a second process from a running node's disk", "T9",
	    attack_fork_running },
	{ "two-cold-starts", "two recoveries race", "T13",
	    attack_two_cold_starts },
	{ "stale-snapshot", "older pages mixed into a newer store", "T11",
	    attack_stale_snapshot },
	{ "replayed-messages", "a life that was replaced goes on speaking",
	    "T14 T20", attack_replayed_messages },
	{ "forgotten-vote", "a node restored to before its vote", "T2 T11",
	    attack_forgotten_vote },
	{ "cold-start-while-alive", "copies of all disks, named by operators",
	    "T10 T13", attack_while_alive },
	{ "cold-start-while-cut-off", "the same, while the chain is cut off",
	    "T13 T18", attack_while_cut_off },
	{ "second-genesis", "a node that would make roots of its own", "T12",
	    attack_second_genesis },
	{ "wrong-slot", "the right image on another seat's machine", "T26",
	    attack_wrong_slot },
	{ "not-the-best-disk", "a node with an older disk is named", "T13",
	    attack_not_best },
	{ "too-few-disks", "a recovery from fewer disks than the rule asks for",
	    "T13", attack_too_few },
	{ .name = NULL },
};

/* ---- what it says ---- */

static void __attribute__((format(printf, 3, 0)))
put(FILE *f, const char *lead, const char *fmt, va_list ap)
{
	(void)fputs(lead, f);
	(void)vfprintf(f, fmt, ap);
	(void)fputc('\n', f);
	(void)fflush(f);
}

void
attack_say(struct attack *a, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	put(a->c->log, "  - ", fmt, ap);
	va_end(ap);
}

void
attack_note(struct attack *a, const char *fmt, ...)
{
	char text[256];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	attack_say(a, "%s", text);
	(void)json_array_append_new(a->notes, json_string(text));
}

static bool __attribute__((format(printf, 3, 0))) ended(
    struct attack *a, enum attack_outcome outcome, const char *fmt, va_list ap)
{
	if (a->outcome != ATTACK_REFUSED)
		return false; /* the first word counts */
	a->outcome = outcome;
	(void)vsnprintf(a->trouble, sizeof a->trouble, fmt, ap);
	attack_say(a, "%s: %s",
	    outcome == ATTACK_SUCCEEDED ? "SUCCEEDED" : "broken", a->trouble);
	return false;
}

bool
attack_broke(struct attack *a, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)ended(a, ATTACK_BROKEN, fmt, ap);
	va_end(ap);
	return false;
}

bool
attack_won(struct attack *a, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)ended(a, ATTACK_SUCCEEDED, fmt, ap);
	va_end(ap);
	return false;
}

void
attack_refused(
    struct attack *a, const char *by, const char *reason, const char *detail)
{
	attack_say(a, "refused by %s: %s%s%s%s", by, reason,
	    detail[0] != '\0' ? " (" : "", detail,
	    detail[0] != '\0' ? ")" : "");
	(void)json_array_append_new(a->refusals,
	    json_pack("{s:s, s:s, s:s}", "by", by, "reason", reason, "detail",
		detail));
}

/* ---- one, or all ---- */

static const char *
outcome_text(const struct attack *a)
{
	switch (a->outcome) {
	case ATTACK_REFUSED:
		return "refused";
	case ATTACK_SUCCEEDED:
		return "SUCCEEDED";
	case ATTACK_BROKEN:
		return "broken";
	}
	return "?";
}

/* "rollback, disks": each reason once. */
static json_t *
reasons(const json_t *refusals)
{
	char text[256] = "";
	size_t i, n = 0;
	json_t *r;

	json_array_foreach(refusals, i, r)
	{
		const char *one = attack_text(r, "reason");

		if (strstr(text, one) == NULL && n + strlen(one) + 3 < 256)
			n += (size_t)snprintf(text + n, sizeof text - n, "%s%s",
			    n > 0 ? ", " : "", one);
	}
	return json_string(text);
}

static json_t *
run_one(const struct attack_case *t, struct attack *a)
{
	uint64_t began = clock_mono_ms();
	uint64_t generation;
	json_t *row;

	a->outcome = ATTACK_REFUSED;
	a->trouble[0] = '\0';
	a->refusals = json_array();
	a->notes = json_array();
	(void)fprintf(
	    a->c->log, "%s (%s): %s\n", t->name, t->tests, t->summary);
	if (attack_read(a, &a->acked, &generation) && t->run(a) &&
	    json_array_size(a->refusals) == 0)
		(void)attack_won(a, "nobody refused anything");
	if (attack_whole(a))
		attack_say(a, "%s; the cluster is whole, the counter is %llu",
		    outcome_text(a), (unsigned long long)a->acked);
	row = json_pack("{s:s, s:s, s:o, s:I, s:s, s:s, s:o, s:o}", "attack",
	    t->name, "result", outcome_text(a), "reason", reasons(a->refusals),
	    "seconds", (json_int_t)((clock_mono_ms() - began) / 1000), "tests",
	    t->tests, "trouble", a->trouble, "refusals", a->refusals, "notes",
	    a->notes);
	return row;
}

/* In a table there is no room for what was said along the way. */
static void
for_people(json_t *rows)
{
	json_t *row;
	size_t i;

	json_array_foreach(rows, i, row)
	{
		(void)json_object_del(row, "refusals");
		(void)json_object_del(row, "notes");
		if (attack_text(row, "trouble")[0] == '\0')
			(void)json_object_set_new(
			    row, "trouble", json_string("-"));
	}
}

static bool
is_there(const char *name)
{
	if (strcmp(name, "all") == 0)
		return true;
	for (const struct attack_case *t = attack_cases; t->name != NULL; t++)
		if (strcmp(t->name, name) == 0)
			return true;
	return false;
}

enum ctl_exit
attack_run(const struct ctl *c, struct lab *l, const char *name)
{
	struct attack a = { .c = c, .l = l };
	json_t *rows = json_array();
	unsigned listed = 0, refused = 0, run = 0;
	enum ctl_exit rc = CTL_OK;

	if (!is_there(name))
		rc = ctl_fail(c, CTL_USAGE,
		    "%.60s: no such attack; see `kmsctl sim attack DIR list`",
		    name);
	for (unsigned i = 0; i < l->n_nodes; i++)
		listed += l->node[i].listed;
	if (rc == CTL_OK && listed != ATTACK_NODES)
		rc = ctl_fail(c, CTL_USAGE,
		    "the attacks are for clusters of %d nodes", ATTACK_NODES);
	lab_contract(&a.k, l);
	if (rc != CTL_OK || (rc = lab_await_ready(c, l, NULL)) != CTL_OK ||
	    (rc = probe_open(&a.probe, c, l)) != CTL_OK)
		goto done;
	for (const struct attack_case *t = attack_cases; t->name != NULL; t++) {
		if (strcmp(name, "all") != 0 && strcmp(name, t->name) != 0)
			continue;
		(void)json_array_append_new(rows, run_one(t, &a));
		run++;
		refused += a.outcome == ATTACK_REFUSED;
		if (a.outcome == ATTACK_BROKEN)
			break; /* the next would tell nothing */
	}
	if (!c->json)
		for_people(rows);
	rc = ctl_result(c,
	    json_pack("{s:o, s:I, s:I}", "attacks", json_incref(rows), "run",
		(json_int_t)run, "refused", (json_int_t)refused),
	    run == refused ? CTL_OK : CTL_FAILED);
done:
	json_decref(rows);
	probe_close(a.probe);
	return rc;
}

enum ctl_exit
attack_list(const struct ctl *c)
{
	json_t *rows = json_array();

	for (const struct attack_case *t = attack_cases; t->name != NULL; t++)
		(void)json_array_append_new(rows,
		    json_pack("{s:s, s:s, s:s}", "attack", t->name, "what",
			t->summary, "tests", t->tests));
	return ctl_result(c, json_pack("{s:o}", "attacks", rows), CTL_OK);
}
