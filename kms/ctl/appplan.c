#include <string.h>

#include "common/base/hex.h"
#include "kms/ctl/appplan.h"
#include "kms/ctl/calls.h"
#include "kms/ctl/callwords.h"
#include "kms/ctl/when.h"

const char *
appplan_kind_text(enum appplan_kind k)
{
	switch (k) {
	case APPPLAN_PLAIN:
		return "DstackApp";
	case APPPLAN_TIMELOCK:
		return "TimelockAppAuth";
	case APPPLAN_QUORUM:
		return "QuorumAppAuth";
	case APPPLAN_FOREIGN:
		break;
	}
	return "rules of its own";
}

uint64_t
appplan_delay(const struct appplan_facts *f, bool lets_in)
{
	/* A quorum's votes keep machines out without any notice. */
	if (!lets_in)
		return f->kind == APPPLAN_QUORUM ? 0 : f->owner_notice_s;
	return f->owner_notice_s + f->notice_s;
}

/* ---- steps ---- */

static enum err
step_hash(struct appplan_step *s, uint32_t selector, const uint8_t h[static 32])
{
	return calls_bytes32(&s->data, selector, h);
}

/* What lets in is needed unless it has a time already; what keeps out is
 * needed if there is something to end. */
static void
settle(struct appplan_step *s, const struct appplan_facts *f, bool lets_in,
    uint64_t from, uint64_t after)
{
	uint64_t start = after > f->now ? after : f->now;

	s->lets_in = lets_in;
	s->needed = lets_in ? from == 0 : from != 0;
	if (s->needed)
		s->from = start + appplan_delay(f, lets_in);
	else
		s->from = lets_in ? from : 0;
}

enum err
appplan_steps(struct appplan_step out[static APPPLAN_STEPS_MAX], unsigned *n,
    const struct appplan_facts *f, const struct appplan_wish *w)
{
	struct appplan_step *s = out;
	uint64_t active;
	enum err e = ERR_OK;

	memset(out, 0, APPPLAN_STEPS_MAX * sizeof *out);
	for (unsigned i = 0; e == ERR_OK && i < w->n_add; i++, s++) {
		settle(s, f, true, f->add_from[i], 0);
		e = step_hash(s, CALL_ADD_DEVICE, w->add[i]);
	}
	if (e == ERR_OK && w->any_device == 1) {
		settle(s, f, true, f->any_device_from, 0);
		e = calls_bool(&s->data, CALL_SET_ANY_DEVICE, true);
		s++;
	}
	if (e == ERR_OK && w->has_new) {
		settle(s, f, true, f->new_from, 0);
		e = step_hash(s, CALL_ADD_COMPOSE, w->new_hash);
		s++;
	}
	/* What keeps out holds at once, so it comes when the rest holds. */
	active = appplan_active(f, out, (unsigned)(s - out));
	if (e == ERR_OK && w->any_device == 0) {
		settle(s, f, false, f->any_device_from, active);
		e = calls_bool(&s->data, CALL_SET_ANY_DEVICE, false);
		s++;
	}
	for (unsigned i = 0; e == ERR_OK && i < w->n_remove; i++, s++) {
		settle(s, f, false, f->remove_from[i], active);
		e = step_hash(s, CALL_REMOVE_DEVICE, w->remove[i]);
	}
	if (e == ERR_OK && w->drop_old && w->has_old) {
		settle(s, f, false, f->old_from, active);
		e = step_hash(s, CALL_REMOVE_COMPOSE, w->old_hash);
		s++;
	}
	*n = (unsigned)(s - out);
	return e;
}

void
appplan_fini(struct appplan_step *step, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		buf_fini(&step[i].data);
}

uint64_t
appplan_active(
    const struct appplan_facts *f, const struct appplan_step *step, unsigned n)
{
	uint64_t at = f->now;

	for (unsigned i = 0; i < n; i++)
		if (step[i].lets_in && step[i].from > at)
			at = step[i].from;
	return at;
}

/* ---- the answer ---- */

static json_t *
address(const uint8_t a[static 20])
{
	char text[ACCOUNT_ADDRESS_TEXT];

	account_address_text(text, a);
	return json_string(text);
}

static json_t *
when(uint64_t at, uint64_t now)
{
	char text[WHEN_TEXT];

	if (at <= now)
		return json_string("now");
	when_seen(text, at, now);
	return json_string(text);
}

static json_t *
span(uint64_t seconds)
{
	char text[WHEN_TEXT];

	if (seconds == 0)
		return json_string("none");
	when_span(text, seconds);
	return json_string(text);
}

static const char *
owner_text(const struct appplan_facts *f)
{
	switch (f->owner_kind) {
	case APPPLAN_NOBODY:
		return "nobody";
	case APPPLAN_ACCOUNT:
		return "an account";
	case APPPLAN_COUNCIL:
		return f->kind == APPPLAN_QUORUM ? "its own members"
						 : "a council";
	case APPPLAN_CONTROLLER:
		return "a TimelockController";
	case APPPLAN_CONTRACT:
		break;
	}
	return "a contract";
}

json_t *
appplan_contract_json(const struct appplan_facts *f)
{
	return json_pack("{s:s, s:o, s:s, s:o, s:o, s:o, s:o, s:o, s:b}",
	    "kind", appplan_kind_text(f->kind), "owner", address(f->owner),
	    "owner_is", owner_text(f), "notice_to_let_in",
	    span(appplan_delay(f, true)), "notice_to_keep_out",
	    span(appplan_delay(f, false)), "registered",
	    f->has_kms ? json_boolean(f->registered) : json_null(), "code",
	    json_string(!f->proxy ? "fixed"
		    : f->frozen   ? "fixed: upgrades are disabled"
				  : "its owner can replace it"),
	    "any_device",
	    f->any_device_from == 0 ? json_string("no")
				    : when(f->any_device_from, f->now),
	    "old_tcb_accepted",
	    (int)(f->any_tcb_from != 0 && f->any_tcb_from <= f->now));
}

static const char *
step_state(const struct appplan_facts *f, const struct appplan_step *s)
{
	if (s->needed)
		return "to be sent";
	return s->lets_in && s->from > f->now ? "announced" : "is so";
}

/* From when on, in words. */
static json_t *
step_effect(const struct appplan_facts *f, const struct appplan_step *s)
{
	if (!s->needed && !s->lets_in)
		return json_string("now");
	if (s->needed && f->owner_kind == APPPLAN_NOBODY)
		return json_string("never");
	if (s->needed && s->from <= f->now)
		return json_string("its block");
	return when(s->from, f->now);
}

json_t *
appplan_steps_json(
    const struct appplan_facts *f, const struct appplan_step *step, unsigned n)
{
	json_t *rows = json_array();

	for (unsigned i = 0; i < n; i++) {
		char words[CALLWORDS_MAX];
		char *hex = malloc(2 * step[i].data.len + 1);

		if (hex == NULL) {
			json_decref(rows);
			return NULL;
		}
		hex_encode(hex, step[i].data.p, step[i].data.len);
		callwords(words, buf_view(&step[i].data));
		(void)json_array_append_new(rows,
		    json_pack("{s:s, s:s, s:o, s:I, s:o, s:o}", "call", words,
			"state", step_state(f, &step[i]), "in_effect",
			step_effect(f, &step[i]), "from",
			(json_int_t)step[i].from, "to", address(f->app), "data",
			json_sprintf("0x%s", hex)));
		free(hex);
	}
	return rows;
}

json_t *
appplan_signer(const struct appplan_facts *f)
{
	char a[ACCOUNT_ADDRESS_TEXT];

	account_address_text(a, f->owner);
	switch (f->owner_kind) {
	case APPPLAN_NOBODY:
		return json_string("nobody can: it has no owner");
	case APPPLAN_ACCOUNT:
		return json_sprintf("%s, one key", a);
	case APPPLAN_COUNCIL:
		return json_sprintf("%llu of %llu members of the council %s "
				    "(kmsctl council propose TO DATA "
				    "--council %s)",
		    (unsigned long long)f->votes,
		    (unsigned long long)f->members, a, a);
	case APPPLAN_CONTROLLER:
		return json_sprintf("proposers of the TimelockController %s "
				    "(schedule, then execute)",
		    a);
	case APPPLAN_CONTRACT:
		break;
	}
	return json_sprintf("the contract %s, by its own rules", a);
}

static enum err
warn(json_t *list, const char *code, json_t *text)
{
	json_t *row = json_pack("{s:s, s:o}", "code", code, "text", text);

	return row != NULL && json_array_append_new(list, row) == 0 ? ERR_OK
								    : ERR_NOMEM;
}

static bool
is_zero(const uint8_t a[static 20])
{
	static const uint8_t none[20];

	return memcmp(a, none, 20) == 0;
}

/* What the contract is, whatever is planned. */
static enum err
warn_contract(json_t *list, const struct appplan_facts *f)
{
	enum err e = ERR_OK;

	if (f->owner_kind == APPPLAN_NOBODY)
		e = warn(list, "no_owner",
		    json_string("it has no owner: none of this can be done, "
				"now or ever"));
	else if (f->kind != APPPLAN_FOREIGN && appplan_delay(f, true) == 0)
		e = warn(list, "instant",
		    json_string("what its owner allows holds with the next "
				"block: users have no time to leave"));
	if (e == ERR_OK && f->proxy && !f->frozen)
		e = warn(list, "code",
		    json_string("the owner can replace the contract's code, "
				"and all rules with it (disableUpgrades ends "
				"that)"));
	if (e == ERR_OK && f->kind == APPPLAN_FOREIGN)
		e = warn(list, "foreign",
		    json_string("this contract has rules of its own: read its "
				"source; what is said of times may not hold"));
	if (e == ERR_OK && f->owner_kind == APPPLAN_ACCOUNT)
		e = warn(list, "one_key",
		    json_string("one key decides about the app: who steals it "
				"is the owner"));
	if (e == ERR_OK && !is_zero(f->pending_owner)) {
		char a[ACCOUNT_ADDRESS_TEXT];

		account_address_text(a, f->pending_owner);
		e = warn(list, "pending_owner",
		    json_sprintf("%s may take it over at any time", a));
	}
	if (e == ERR_OK && f->has_kms && !f->registered)
		e = warn(list, "unregistered",
		    json_string("the KMS contract does not know this app: "
				"nobody gets keys (kmsctl app register)"));
	return e;
}

enum err
appplan_warn(
    json_t *list, const struct appplan_facts *f, const struct appplan_wish *w)
{
	bool any = f->any_device_from != 0 && w->any_device != 0;
	enum err e = warn_contract(list, f);

	if (e == ERR_OK && (any || w->any_device == 1))
		e = warn(list, "any_device",
		    json_string("any machine of the right kind may run it: "
				"anybody can be a host"));
	if (e == ERR_OK && f->any_tcb_from != 0)
		e = warn(list, "old_tcb",
		    json_string("platforms without the newest patches are "
				"accepted"));
	if (e == ERR_OK && w->has_new && w->has_old &&
	    memcmp(w->new_hash, w->old_hash, 32) == 0)
		e = warn(list, "same",
		    json_string("the old and the new file have one hash: "
				"nothing to upgrade"));
	else if (e == ERR_OK && w->has_new && w->has_old && !w->drop_old &&
	    f->old_from != 0)
		e = warn(list, "old_stays",
		    json_string("the old version stays allowed: a host may "
				"start it again (--drop-old)"));
	if (e == ERR_OK && w->has_old && !w->drop_old && f->old_from == 0)
		e = warn(list, "old_unknown",
		    json_string("the old file's hash is not allowed: it is "
				"not what runs"));
	return e;
}
