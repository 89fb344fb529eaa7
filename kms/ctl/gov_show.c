/* A council's proposals in words, and what stands in the way of one. */
#include <string.h>

#include "common/base/hex.h"
#include "kms/ctl/callwords.h"
#include "kms/ctl/gov.h"
#include "kms/ctl/when.h"

json_t *
gov_hash(const uint8_t h[static 32])
{
	char text[67] = "0x";

	hex_encode(text + 2, h, 32);
	return json_string(text);
}

json_t *
gov_address(const uint8_t a[static 20])
{
	char text[ACCOUNT_ADDRESS_TEXT];

	account_address_text(text, a);
	return json_string(text);
}

json_t *
gov_names(const struct council_names *names)
{
	json_t *list = json_array();

	for (size_t i = 0; i < names->n; i++)
		(void)json_array_append_new(list, gov_address(names->a[i]));
	return list;
}

json_t *
gov_calls(const struct council_checklist *c)
{
	json_t *list = json_array();

	for (size_t i = 0; i < c->n_calls; i++) {
		char words[CALLWORDS_MAX];

		callwords(words, c->call[i].data);
		(void)json_array_append_new(list,
		    json_pack("{s:o, s:s}", "target",
			gov_address(c->call[i].target), "call", words));
	}
	return list;
}

/* "0x1234abcd, ...": enough to know them by. */
static void
put_short(char *out, size_t cap, const struct council_names *names)
{
	size_t n = 0;

	out[0] = '\0';
	for (size_t i = 0; i < names->n && n < cap; i++) {
		char a[ACCOUNT_ADDRESS_TEXT];

		account_address_text(a, names->a[i]);
		n += (size_t)snprintf(
		    out + n, cap - n, "%s%.10s", i > 0 ? ", " : "", a);
	}
}

/* What it waits for, in one line. */
static void
waits_for(char out[static GOV_WHY_MAX], const struct gov *g,
    const struct council_checklist *c)
{
	char when[WHEN_TEXT], names[COUNCIL_MEMBERS_MAX * 12 + 1];

	out[0] = '\0';
	switch (c->stage) {
	case COUNCIL_VOTING:
		put_short(names, sizeof names, &c->not_voted);
		when_seen(when, c->votes_until, g->now);
		(void)snprintf(out, GOV_WHY_MAX,
		    "%llu more vote%s until %s; not yet: %s",
		    (unsigned long long)c->missing, c->missing == 1 ? "" : "s",
		    when, names);
		break;
	case COUNCIL_WAITING:
		when_seen(when, c->may_execute_at, g->now);
		(void)snprintf(
		    out, GOV_WHY_MAX, "may be executed from %s", when);
		break;
	case COUNCIL_READY:
		when_seen(when, c->may_execute_until, g->now);
		(void)snprintf(
		    out, GOV_WHY_MAX, "its execution, until %s", when);
		break;
	case COUNCIL_EXECUTED:
	case COUNCIL_VETOED:
		when_seen(when, c->ended_at, g->now);
		(void)snprintf(out, GOV_WHY_MAX, "nothing: ended %s", when);
		break;
	case COUNCIL_VOID:
		(void)snprintf(out, GOV_WHY_MAX,
		    "nothing: the members have changed since");
		break;
	case COUNCIL_NONE:
	case COUNCIL_EXPIRED:
		(void)snprintf(out, GOV_WHY_MAX, "nothing: too late");
		break;
	}
}

json_t *
gov_row(const struct gov *g, const struct council_checklist *c)
{
	char text[GOV_WHY_MAX], words[CALLWORDS_MAX] = "-", more[40] = "";

	waits_for(text, g, c);
	if (c->n_calls > 0)
		callwords(words, c->call[0].data);
	if (c->n_calls > 1)
		(void)snprintf(
		    more, sizeof more, " and %zu more", c->n_calls - 1);
	return json_pack("{s:o, s:o, s:s, s:o, s:s}", "id", gov_hash(c->id),
	    "what", json_sprintf("%s%s", words, more), "stage",
	    council_stage_text(c->stage), "votes",
	    c->needed == 0 ? json_null()
			   : json_sprintf("%zu of %llu", c->voted.n,
				 (unsigned long long)c->needed),
	    "waits_for", text);
}

/* ---- what stands in the way ---- */

static void
not_open(char why[static GOV_WHY_MAX], const struct gov *g,
    const struct council_checklist *c, const char *what)
{
	char text[GOV_WHY_MAX];

	if (c->stage == COUNCIL_NONE) {
		(void)snprintf(why, GOV_WHY_MAX,
		    "there is no such proposal in this council");
		return;
	}
	waits_for(text, g, c);
	(void)snprintf(why, GOV_WHY_MAX, "it cannot be %s: it is %s (%.380s)",
	    what, council_stage_text(c->stage), text);
}

static bool
is_member(char why[static GOV_WHY_MAX], const struct gov *g)
{
	char me[ACCOUNT_ADDRESS_TEXT];

	if (!g->has_who || council_names_has(&g->cs.members, g->who))
		return true;
	account_address_text(me, g->who);
	(void)snprintf(why, GOV_WHY_MAX,
	    "%s is not a member of the council; `kmsctl council members` "
	    "lists them",
	    me);
	return false;
}

void
gov_may_vote(char why[static GOV_WHY_MAX], const struct gov *g,
    const struct council_checklist *c)
{
	why[0] = '\0';
	if (c->stage != COUNCIL_VOTING)
		not_open(why, g, c, "voted for");
	else if (is_member(why, g) && g->has_who &&
	    council_names_has(&c->voted, g->who))
		(void)snprintf(
		    why, GOV_WHY_MAX, "this account has voted for it already");
}

void
gov_may_veto(char why[static GOV_WHY_MAX], const struct gov *g,
    const struct council_checklist *c)
{
	bool guardian = g->has_who && memcmp(g->who, g->cs.guardian, 20) == 0;

	why[0] = '\0';
	if (c->stage != COUNCIL_VOTING && c->stage != COUNCIL_WAITING &&
	    c->stage != COUNCIL_READY)
		not_open(why, g, c, "vetoed");
	else if (!guardian && is_member(why, g) && g->has_who &&
	    council_names_has(&c->vetoed, g->who))
		(void)snprintf(why, GOV_WHY_MAX,
		    "this account has vetoed it already; %llu vetoes are "
		    "needed, %zu are there",
		    (unsigned long long)c->vetoes_needed, c->vetoed.n);
}

void
gov_may_execute(char why[static GOV_WHY_MAX], const struct gov *g,
    const struct council_checklist *c)
{
	why[0] = '\0';
	if (c->stage == COUNCIL_WAITING) {
		char when[WHEN_TEXT];

		when_seen(when, c->may_execute_at, g->now);
		(void)snprintf(why, GOV_WHY_MAX,
		    "too early: the notice period runs; it may be executed "
		    "from %s",
		    when);
	} else if (c->stage != COUNCIL_READY) {
		not_open(why, g, c, "executed");
	}
}
