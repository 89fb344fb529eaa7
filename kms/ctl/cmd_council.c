/* kmsctl council ...: what operators decide together. */
#include <stdlib.h>
#include <string.h>

#include "common/base/hex.h"
#include "kms/ctl/cmd_council.h"
#include "kms/ctl/gov.h"
#include "kms/ctl/when.h"

static const struct args_option options_read[] = {
	GOV_OPTIONS_READ,
	{ NULL, NULL, NULL },
};
static const struct args_option options_send[] = {
	GOV_OPTIONS_SEND,
	{ NULL, NULL, NULL },
};

/* ---- status ---- */

struct lists {
	const struct gov *g;
	json_t *open, *ended;
};

static bool
add_row(void *cookie, const struct council_checklist *c)
{
	struct lists *l = cookie;
	bool open = c->stage == COUNCIL_VOTING || c->stage == COUNCIL_WAITING ||
	    c->stage == COUNCIL_READY;

	(void)json_array_append_new(
	    open ? l->open : l->ended, gov_row(l->g, c));
	return true;
}

static json_t *
guardian_json(const struct gov *g)
{
	static const uint8_t nobody[20];

	return memcmp(g->cs.guardian, nobody, 20) == 0
	    ? json_null()
	    : gov_address(g->cs.guardian);
}

static enum ctl_exit
run_status(struct ctl *c, const struct args *a)
{
	char notice[WHEN_TEXT], life[WHEN_TEXT];
	struct refusal why = { .code = REASON_NONE };
	struct gov g;
	struct lists l = { &g, json_array(), json_array() };
	enum ctl_exit rc = gov_open(&g, c, a, false, false);
	enum err e;

	if (rc != CTL_OK)
		goto done;
	if ((e = gov_each(&g, add_row, &l, &why)) != ERR_OK) {
		rc = ctl_denied(c, "the council", e, &why);
		goto done;
	}
	when_span(notice, g.cs.notice_s);
	when_span(life, g.cs.life_s);
	return ctl_result(c,
	    json_pack("{s:o, s:s, s:I, s:I, s:o, s:s, s:s, s:o, s:I, s:o, s:o}",
		"council", gov_address(g.council), "decides",
		"votes, then the notice period, then anyone executes it",
		"votes_needed", (json_int_t)g.cs.k, "vetoes_needed",
		(json_int_t)g.cs.vetoes_needed, "guardian", guardian_json(&g),
		"notice", notice, "life", life, "members",
		gov_names(&g.cs.members), "proposals",
		(json_int_t)g.cs.proposals, "open", l.open, "ended", l.ended),
	    CTL_OK);
done:
	json_decref(l.open);
	json_decref(l.ended);
	return rc;
}

/* ---- one proposal ---- */

static enum ctl_exit
id_from(uint8_t id[static 32], const struct ctl *c, const char *text)
{
	if (hex_fixed(id, 32, text) == ERR_OK)
		return CTL_OK;
	return ctl_fail(c, CTL_USAGE,
	    "%.80s: a proposal's id is 32 bytes in hex; `kmsctl council "
	    "status` lists them",
	    text);
}

static json_t *
members_json(const struct gov *g, const struct council_checklist *c)
{
	json_t *rows = json_array();

	if (c->needed == 0) /* of another generation */
		return rows;
	for (size_t i = 0; i < g->cs.members.n; i++) {
		const uint8_t *m = g->cs.members.a[i];

		(void)json_array_append_new(rows,
		    json_pack("{s:o, s:s, s:s}", "member", gov_address(m),
			"vote", council_names_has(&c->voted, m) ? "[x]" : "[ ]",
			"veto",
			council_names_has(&c->vetoed, m) ? "[x]" : "[ ]"));
	}
	return rows;
}

/* A time, or null for none. */
static json_t *
time_json(uint64_t at, uint64_t now)
{
	char text[WHEN_TEXT];

	if (at == 0)
		return json_null();
	when_seen(text, at, now);
	return json_string(text);
}

static json_t *
next_json(const struct gov *g, const struct council_checklist *c)
{
	char next[GOV_COMMAND_MAX], hex[65];
	bool vote = c->stage == COUNCIL_VOTING;

	if (!vote && c->stage != COUNCIL_WAITING && c->stage != COUNCIL_READY)
		return json_null();
	gov_command(next, g, true, "council %s 0x%s", vote ? "vote" : "execute",
	    hex_encode(hex, c->id, 32));
	return json_string(next);
}

static enum ctl_exit
run_show(struct ctl *c, const struct args *a)
{
	struct refusal why = { .code = REASON_NONE };
	struct council_checklist p;
	struct buf answer = { 0 };
	uint8_t id[32];
	struct gov g;
	enum ctl_exit rc;
	json_t *v;
	enum err e;

	if ((rc = id_from(id, c, a->pos[0])) != CTL_OK ||
	    (rc = gov_open(&g, c, a, false, false)) != CTL_OK)
		return rc;
	if ((e = gov_checklist(&p, &answer, &g, id, &why)) != ERR_OK) {
		rc = ctl_denied(c, "the proposal", e, &why);
	} else if (p.stage == COUNCIL_NONE) {
		rc = ctl_fail(
		    c, CTL_FAILED, "there is no such proposal in this council");
	} else {
		v = gov_row(&g, &p);
		(void)json_object_set_new(
		    v, "missing", json_integer((json_int_t)p.missing));
		(void)json_object_set_new(
		    v, "proposed", time_json(p.proposed_at, g.now));
		(void)json_object_set_new(
		    v, "passed", time_json(p.passed_at, g.now));
		(void)json_object_set_new(
		    v, "may_execute", time_json(p.may_execute_at, g.now));
		(void)json_object_set_new(v, "may_execute_until",
		    time_json(p.may_execute_until, g.now));
		(void)json_object_set_new(v, "ended",
		    p.ended_at == 0 ? json_null()
				    : time_json(p.ended_at, g.now));
		(void)json_object_set_new(v, "vetoes",
		    json_sprintf("%zu of %llu", p.vetoed.n,
			(unsigned long long)p.vetoes_needed));
		(void)json_object_set_new(v, "next", next_json(&g, &p));
		(void)json_object_set_new(v, "calls", gov_calls(&p));
		(void)json_object_set_new(v, "members", members_json(&g, &p));
		rc = ctl_result(c, v, CTL_OK);
	}
	buf_fini(&answer);
	return rc;
}

/* ---- vote, veto, execute ---- */

struct act {
	const char *word;
	void (*may)(char why[static GOV_WHY_MAX], const struct gov *g,
	    const struct council_checklist *c);
	enum err (*call)(struct buf *out, const uint8_t id[static 32]);
};
static const struct act acts[] = {
	{ "voted", gov_may_vote, councilabi_vote },
	{ "vetoed", gov_may_veto, councilabi_veto },
	{ "executed", gov_may_execute, councilabi_execute },
};

/* Whose calls would fail now?  The chain says so before it is paid for. */
static enum ctl_exit
calls_hold(const struct gov *g, const struct council_checklist *p)
{
	struct refusal why = { .code = REASON_NONE };
	struct buf answer = { 0 };
	enum ctl_exit rc = CTL_OK;
	enum err e;

	/* Of several the later ones may rest on the first. */
	e = contract_call_from(&answer, &g->k, g->council, p->call[0].target,
	    p->call[0].data, &why);
	if (e == ERR_DENIED && why.code == REASON_CONTRACT_OTHER)
		rc = ctl_fail(g->c, CTL_FAILED,
		    "what was decided would be refused now: %s; it may be "
		    "tried again as long as the proposal lives",
		    contract_reason(&why));
	buf_fini(&answer);
	return rc;
}

/* After it was mined: what became of it. */
static void
tell_stage(struct gov *g, const uint8_t id[static 32], json_t *told)
{
	struct refusal why = { .code = REASON_NONE };
	struct council_checklist p;
	struct buf answer = { 0 };
	json_t *row;

	if (contract_block_time(&g->now, &g->k, &why) == ERR_OK &&
	    gov_checklist(&p, &answer, g, id, &why) == ERR_OK) {
		row = gov_row(g, &p);
		(void)json_object_del(row, "id");
		(void)json_object_update(told, row);
		json_decref(row);
		(void)json_object_set_new(told, "next", next_json(g, &p));
	}
	buf_fini(&answer);
}

static enum ctl_exit
act_on(struct gov *g, const struct act *act, const uint8_t id[static 32])
{
	struct refusal why = { .code = REASON_NONE };
	struct buf answer = { 0 }, data = { 0 };
	struct council_checklist p;
	char text[GOV_WHY_MAX];
	json_t *told = NULL;
	enum ctl_exit rc;
	enum err e;

	if ((e = gov_checklist(&p, &answer, g, id, &why)) != ERR_OK) {
		rc = ctl_denied(g->c, "the proposal", e, &why);
		goto done;
	}
	act->may(text, g, &p);
	if (text[0] != '\0') {
		rc = ctl_fail(g->c, CTL_FAILED, "%s", text);
		goto done;
	}
	if (act->call == councilabi_execute &&
	    (rc = calls_hold(g, &p)) != CTL_OK)
		goto done;
	told = json_pack(
	    "{s:o, s:o}", act->word, gov_hash(id), "calls", gov_calls(&p));
	if ((e = act->call(&data, id)) != ERR_OK) {
		rc = ctl_fail(g->c, CTL_FAILED, "%s", err_text(e));
		goto done;
	}
	rc = gov_send(g, g->council, &data, told);
	if (rc == CTL_OK && !g->print) {
		(void)json_object_del(told, "calls");
		tell_stage(g, id, told);
		rc = ctl_result(g->c, told, CTL_OK);
		told = NULL; /* transferred */
	}
done:
	json_decref(told);
	buf_fini(&data);
	buf_fini(&answer);
	return rc;
}

/* Without an id: the one proposal that this can be done to. */
struct search {
	const struct gov *g;
	const struct act *act;
	unsigned n;
	uint8_t id[32];
	char why[GOV_WHY_MAX]; /* of the newest that it cannot be done to */
};

static bool
look_for(void *cookie, const struct council_checklist *p)
{
	struct search *s = cookie;
	char why[GOV_WHY_MAX];

	s->act->may(why, s->g, p);
	if (why[0] == '\0') {
		s->n++;
		memcpy(s->id, p->id, sizeof s->id);
	} else if (s->why[0] == '\0') {
		memcpy(s->why, why, sizeof s->why);
	}
	return true;
}

static enum ctl_exit
act(struct ctl *c, const struct args *a, const struct act *act)
{
	struct refusal why = { .code = REASON_NONE };
	struct search s = { .act = act };
	struct gov g;
	enum ctl_exit rc;
	enum err e;

	if (a->n_pos > 0 && (rc = id_from(s.id, c, a->pos[0])) != CTL_OK)
		return rc;
	if ((rc = gov_open(&g, c, a, true, false)) != CTL_OK)
		return rc;
	if (!g.has_council)
		return ctl_fail(c, CTL_FAILED,
		    "the registry's authority is no OperatorCouncil");
	if (a->n_pos > 0)
		return act_on(&g, act, s.id);
	s.g = &g;
	if ((e = gov_each(&g, look_for, &s, &why)) != ERR_OK)
		return ctl_denied(c, "the council", e, &why);
	if (s.n == 0)
		return ctl_fail(c, CTL_FAILED, "no proposal can be %s%s%s%s",
		    strcmp(act->word, "voted") == 0 ? "voted for" : act->word,
		    s.why[0] != '\0' ? " (of the newest: " : "", s.why,
		    s.why[0] != '\0' ? ")" : "");
	if (s.n > 1)
		return ctl_fail(c, CTL_FAILED,
		    "which of %u proposals? give its id; `kmsctl council "
		    "status` lists them",
		    s.n);
	return act_on(&g, act, s.id);
}

enum ctl_exit
cmd_council_vote(struct ctl *c, const struct args *a)
{
	return act(c, a, &acts[0]);
}

static enum ctl_exit
run_veto(struct ctl *c, const struct args *a)
{
	return act(c, a, &acts[1]);
}

enum ctl_exit
cmd_council_execute(struct ctl *c, const struct args *a)
{
	return act(c, a, &acts[2]);
}

/* ---- proposals of any kind ---- */

static enum ctl_exit
run_propose(struct ctl *c, const struct args *a)
{
	struct council_call call[ARGS_POS_MAX / 2];
	struct buf data[ARGS_POS_MAX / 2] = { 0 };
	size_t n = a->n_pos / 2;
	struct gov g;
	enum ctl_exit rc = CTL_OK;

	if (a->n_pos % 2 != 0)
		return ctl_fail(
		    c, CTL_USAGE, "each TARGET has the DATA to call it with");
	for (size_t i = 0; rc == CTL_OK && i < n; i++) {
		const char *hex = a->pos[2 * i + 1];
		size_t len = strlen(hex) / 2;

		if (hex[0] == '0' && hex[1] == 'x')
			len--;
		if (hex_fixed(call[i].target, 20, a->pos[2 * i]) != ERR_OK)
			rc = ctl_fail(c, CTL_USAGE,
			    "%.80s: a target is an address (20 bytes in hex)",
			    a->pos[2 * i]);
		else if (len < 4 || buf_reserve(&data[i], len) != ERR_OK ||
		    hex_fixed(data[i].p, len, hex) != ERR_OK)
			rc = ctl_fail(c, CTL_USAGE,
			    "%.80s: calldata is at least 4 bytes in hex", hex);
		else
			call[i].data = (struct bytes){ data[i].p, len };
	}
	if (rc == CTL_OK)
		rc = gov_open(&g, c, a, true, false);
	if (rc == CTL_OK)
		rc = gov_propose(&g, call, n, json_object());
	for (size_t i = 0; i < ARGS_POS_MAX / 2; i++)
		buf_fini(&data[i]);
	return rc;
}

/* "0xA,0xB,0xC" */
static enum ctl_exit
names_from(struct council_names *out, const struct ctl *c, const char *list)
{
	*out = (struct council_names){ .n = 0 };
	while (*list != '\0') {
		size_t n = strcspn(list, ",");
		char one[64];

		if (out->n == COUNCIL_MEMBERS_MAX || n >= sizeof one)
			break;
		memcpy(one, list, n);
		one[n] = '\0';
		if (hex_fixed(out->a[out->n], 20, one) != ERR_OK)
			break;
		out->n++;
		list += n + (list[n] == ',');
	}
	if (*list == '\0' && out->n > 0)
		return CTL_OK;
	return ctl_fail(c, CTL_USAGE,
	    "%.80s: members are 1 to %d addresses, separated by commas", list,
	    COUNCIL_MEMBERS_MAX);
}

/* A proposal of the council about itself. */
static enum ctl_exit
about_itself(struct gov *g, struct buf *data)
{
	struct council_call call = { .data = buf_view(data) };
	enum ctl_exit rc;

	memcpy(call.target, g->council, sizeof call.target);
	rc = gov_propose(g, &call, 1, json_object());
	buf_fini(data);
	return rc;
}

static enum ctl_exit
run_members(struct ctl *c, const struct args *a)
{
	bool change = a->n_pos > 0;
	struct council_names names;
	struct buf data = { 0 };
	uint64_t k = 0;
	struct gov g;
	enum ctl_exit rc;

	if (change && (rc = names_from(&names, c, a->pos[0])) != CTL_OK)
		return rc;
	if (change &&
	    (a->n_pos < 2 || args_u64(&k, a->pos[1], names.n) != ERR_OK ||
		k == 0))
		return ctl_fail(c, CTL_USAGE,
		    "how many of them decide? give K, 1 to %zu", names.n);
	if ((rc = gov_open(&g, c, a, change, false)) != CTL_OK)
		return rc;
	if (!change)
		return ctl_result(c,
		    json_pack("{s:o, s:I, s:I, s:o, s:o}", "council",
			gov_address(g.council), "votes_needed",
			(json_int_t)g.cs.k, "generation",
			(json_int_t)g.cs.generation, "guardian",
			guardian_json(&g), "members", gov_names(&g.cs.members)),
		    CTL_OK);
	if (councilabi_set_members(&data, &names, k) != ERR_OK)
		return ctl_fail(c, CTL_FAILED, "out of memory");
	return about_itself(&g, &data);
}

static enum ctl_exit
run_guardian(struct ctl *c, const struct args *a)
{
	struct buf data = { 0 };
	uint8_t guardian[20];
	struct gov g;
	enum ctl_exit rc;

	if (hex_fixed(guardian, 20, a->pos[0]) != ERR_OK)
		return ctl_fail(c, CTL_USAGE,
		    "%.80s: must be an address (20 bytes in hex); zeros for "
		    "nobody",
		    a->pos[0]);
	if ((rc = gov_open(&g, c, a, true, false)) != CTL_OK)
		return rc;
	if (councilabi_set_guardian(&data, guardian) != ERR_OK)
		return ctl_fail(c, CTL_FAILED, "out of memory");
	return about_itself(&g, &data);
}

const struct ctl_command cmd_council[] = {
	{ "council status", "", "members, waits, and what was proposed",
	    options_read, 0, 0, run_status },
	{ "council show", "ID", "one proposal as a checklist", options_read, 1,
	    1, run_show },
	{ "council propose", "TARGET DATA ...",
	    "have the council make calls, any calls", options_send, 2,
	    ARGS_POS_MAX, run_propose },
	{ "council vote", "[ID]", "for a proposal", options_send, 0, 1,
	    cmd_council_vote },
	{ "council veto", "[ID]", "against it, before it is executed",
	    options_send, 0, 1, run_veto },
	{ "council execute", "[ID]", "after the notice period; anyone may",
	    options_send, 0, 1, cmd_council_execute },
	{ "council members", "[ADDR,ADDR,... K]",
	    "who they are; or propose others", options_send, 0, 2,
	    run_members },
	{ "council guardian", "ADDR", "propose who may veto alone",
	    options_send, 1, 1, run_guardian },
	{ .name = NULL },
};
