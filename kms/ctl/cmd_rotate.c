/* kmsctl rotate ...: the life of a cluster's roots, decided on chain.
 * `rotate status` is in rotate_status.c. */
#include <inttypes.h>
#include <string.h>

#include "common/base/hex.h"
#include "common/eth/abi.h"
#include "kms/ctl/appname.h"
#include "kms/ctl/calls.h"
#include "kms/ctl/cmd_council.h"
#include "kms/ctl/epoch0.h"
#include "kms/ctl/gov.h"
#include "kms/ctl/rotate.h"
#include "kms/ctl/when.h"

static const struct args_option options_read[] = {
	GOV_OPTIONS_READ,
	{ "nodes", "URL,URL", "ask these nodes, too (admin addresses)" },
	{ NULL, NULL, NULL },
};
static const struct args_option options_certificates[] = {
	GOV_OPTIONS_READ,
	{ "from-block", "N", "the registry is not older than that" },
	{ NULL, NULL, NULL },
};
static const struct args_option options_send[] = {
	GOV_OPTIONS_SEND,
	{ NULL, NULL, NULL },
};
static const struct args_option options_order[] = {
	GOV_OPTIONS_SEND,
	{ "emergency", NULL, "the root may be stolen: it signs nothing" },
	{ "not-before", "UNIXTIME", "no root is published earlier" },
	{ "retire-after", "90d",
	    "the epoch before ends that long after the new one begins" },
	{ NULL, NULL, NULL },
};
static const struct args_option options_retire[] = {
	GOV_OPTIONS_SEND,
	{ "at", "UNIXTIME", "from then on it may be destroyed" },
	{ "cancel", NULL, "it gets no end" },
	{ NULL, NULL, NULL },
};

/* ---- helpers ---- */

static enum ctl_exit
number_from(
    uint64_t *out, const struct ctl *c, const char *what, const char *text)
{
	if (args_u64(out, text, INT64_MAX) == ERR_OK)
		return CTL_OK;
	return ctl_fail(
	    c, CTL_USAGE, "%.40s: must be a number, not %.40s", what, text);
}

/* The registry does the call; `e` is what writing it came to. */
static enum ctl_exit
decide(struct gov *g, enum err e, struct buf *data, json_t *told)
{
	if (e != ERR_OK) {
		buf_fini(data);
		json_decref(told);
		return ctl_fail(g->c, CTL_FAILED, "%s", err_text(e));
	}
	return gov_decide(g, g->k.registry, data, told);
}

static json_t *
epoch_told(uint64_t epoch)
{
	return json_pack("{s:I}", "epoch", (json_int_t)epoch);
}

/* ---- the KMS as it was: epoch 0 ---- */

static enum err
ask_kms(struct buf *answer, const struct gov *g, uint32_t selector,
    struct refusal *why)
{
	struct buf call = { 0 };
	enum err e = calls_getter(&call, selector);

	if (e == ERR_OK)
		e = gov_call(answer, g, g->s.kms, &call, why);
	buf_fini(&call);
	return e;
}

/* So that new apps are pinned; only the owner of the KMS contract can. */
static enum ctl_exit
tell_kms(struct gov *g, bool owner, json_t *told)
{
	struct refusal why = { .code = REASON_NONE };
	struct buf answer = { 0 }, data = { 0 };
	uint8_t set[20];
	enum ctl_exit rc = CTL_OK;

	if (ask_kms(&answer, g, CALL_ROOT_REGISTRY, &why) != ERR_OK ||
	    abi_get_address(set, buf_view(&answer)) != ERR_OK)
		ctl_note(g->c,
		    "the KMS contract tells no registry of new apps: they use "
		    "epoch 0 until they move");
	else if (memcmp(set, g->k.registry, 20) == 0)
		;
	else if (!owner)
		ctl_note(g->c,
		    "the KMS contract does not tell this registry of new apps "
		    "yet: its owner has to call setRootRegistry");
	else if (calls_address(&data, CALL_SET_ROOT_REGISTRY, g->k.registry) !=
	    ERR_OK)
		rc = ctl_fail(g->c, CTL_FAILED, "out of memory");
	else
		rc = gov_send(g, g->s.kms, &data, told);
	buf_fini(&answer);
	buf_fini(&data);
	return rc;
}

static enum ctl_exit
run_init(struct ctl *c, const struct args *a)
{
	struct refusal why = { .code = REASON_NONE };
	struct buf answer = { 0 }, data = { 0 };
	uint8_t owner[20];
	json_t *told = NULL;
	struct gov g;
	bool mine;
	enum ctl_exit rc = gov_open(&g, c, a, true, true);
	enum err e;

	if (rc != CTL_OK)
		return rc;
	e = ask_kms(&answer, &g, CALL_OWNER, &why);
	if (e == ERR_OK && abi_get_address(owner, buf_view(&answer)) != ERR_OK)
		e = refuse(&why, REASON_CHAIN_ANSWER, "no owner");
	if (e == ERR_OK && g.s.n_epochs == 0)
		e = epoch0_call(&data, &g.k, g.s.kms, &why);
	if (e != ERR_OK) {
		rc = ctl_denied(c, "epoch 0", e, &why);
		goto done;
	}
	mine = g.has_who && memcmp(g.who, owner, 20) == 0;
	told = epoch_told(0);
	if ((rc = tell_kms(&g, mine, told)) != CTL_OK)
		goto done;
	if (g.s.n_epochs > 0) {
		rc = ctl_result(c, told, CTL_OK);
		told = NULL;
	} else if (mine) {
		rc = gov_send(&g, g.k.registry, &data, told);
		if (rc == CTL_OK && !g.print) {
			rc = ctl_result(c, told, CTL_OK);
			told = NULL;
		}
	} else {
		rc = gov_decide(&g, g.k.registry, &data, told);
		told = NULL;
	}
done:
	json_decref(told);
	buf_fini(&data);
	buf_fini(&answer);
	return rc;
}

/* ---- order, withdraw, confirm, veto ---- */

static enum ctl_exit
run_order(struct ctl *c, const struct args *a)
{
	const char *not_before = args_get(a, "not-before"),
		   *retire = args_get(a, "retire-after");
	bool emergency = args_has(a, "emergency");
	uint64_t from = 0, after = 0;
	struct buf data = { 0 };
	char span[WHEN_TEXT];
	struct gov g;
	enum ctl_exit rc;
	enum err e;

	if (not_before != NULL &&
	    (rc = number_from(&from, c, "--not-before", not_before)) != CTL_OK)
		return rc;
	if (retire != NULL && when_parse(&after, retire) != ERR_OK)
		return ctl_fail(c, CTL_USAGE,
		    "--retire-after: a number with d, h, min or s, not %.40s",
		    retire);
	if ((rc = gov_open(&g, c, a, true, true)) != CTL_OK)
		return rc;
	if (g.s.n_epochs == 0)
		return ctl_fail(c, CTL_FAILED,
		    "the registry has no epoch 0 yet; `kmsctl rotate init` "
		    "comes first");
	if (g.s.order.epoch != 0)
		return ctl_fail(c, CTL_FAILED,
		    "a rotation to epoch %" PRIu64 " is under way; `kmsctl "
		    "rotate status` says where it stands, `rotate withdraw` "
		    "ends it",
		    g.s.order.epoch);
	when_span(span, g.s.notice_s);
	if (after != 0 && after < g.s.notice_s)
		return ctl_fail(c, CTL_FAILED,
		    "--retire-after: the registry's notice is %s, so not "
		    "earlier than that",
		    span);
	e = registryabi_order_rotation(&data,
	    emergency ? REGISTRY_EMERGENCY : REGISTRY_ROUTINE, from, after);
	return decide(&g, e, &data, epoch_told(g.s.active + 1));
}

/* What is under way, or the user was told that nothing is. */
static enum ctl_exit
under_way(struct gov *g, struct ctl *c, const struct args *a)
{
	enum ctl_exit rc = gov_open(g, c, a, true, true);

	if (rc == CTL_OK && g->s.order.epoch == 0)
		rc = ctl_fail(c, CTL_FAILED,
		    "no rotation is under way; epoch %" PRIu64 " is active",
		    g->s.active);
	return rc;
}

static enum ctl_exit
run_withdraw(struct ctl *c, const struct args *a)
{
	struct buf data = { 0 };
	struct gov g;
	enum ctl_exit rc = under_way(&g, c, a);

	return rc != CTL_OK ? rc
			    : decide(&g, registryabi_withdraw_order(&data),
				  &data, epoch_told(g.s.order.epoch));
}

static enum ctl_exit
run_confirm(struct ctl *c, const struct args *a)
{
	const struct registry_epoch *x;
	struct buf data = { 0 };
	uint8_t hash[32], there[32];
	struct gov g;
	enum ctl_exit rc;

	if (hex_fixed(hash, 32, a->pos[0]) != ERR_OK)
		return ctl_fail(c, CTL_USAGE,
		    "%.80s: a root's hash is 32 bytes in hex; `kmsctl rotate "
		    "status` shows what each node says it is",
		    a->pos[0]);
	if ((rc = under_way(&g, c, a)) != CTL_OK)
		return rc;
	if (g.s.order.mode != REGISTRY_EMERGENCY)
		return ctl_fail(c, CTL_FAILED,
		    "the rotation under way is routine: the root before it "
		    "signs, and nothing is to be confirmed");
	x = registry_epoch_of(&g.s, g.s.order.epoch);
	if (x->status == REGISTRY_PUBLISHED) {
		registry_root_hash(there, &x->k256, x->ca_spki_hash);
		if (memcmp(there, hash, 32) != 0)
			ctl_note(c,
			    "another root is published: this vote vetoes it");
	}
	return decide(&g,
	    registryabi_confirm_root(&data, g.s.order.epoch, hash), &data,
	    json_pack("{s:I, s:o}", "epoch", (json_int_t)g.s.order.epoch,
		"root_hash", gov_hash(hash)));
}

/* The guardian of the registry does it alone. */
static enum ctl_exit
run_veto(struct ctl *c, const struct args *a)
{
	struct buf data = { 0 };
	struct gov g;
	json_t *told;
	enum ctl_exit rc = under_way(&g, c, a);
	enum err e;

	if (rc != CTL_OK)
		return rc;
	if (registry_epoch_of(&g.s, g.s.order.epoch)->status !=
	    REGISTRY_PUBLISHED)
		return ctl_fail(c, CTL_FAILED,
		    "no root is published yet; `kmsctl rotate withdraw` takes "
		    "the order back");
	told = epoch_told(g.s.order.epoch);
	e = registryabi_veto_root(&data, g.s.order.epoch);
	if (e != ERR_OK || !g.has_who ||
	    memcmp(g.who, g.s.guardian, sizeof g.who) != 0)
		return decide(&g, e, &data, told);
	rc = gov_send(&g, g.k.registry, &data, told);
	if (rc == CTL_OK && !g.print)
		return ctl_result(c, told, CTL_OK);
	json_decref(told);
	return rc;
}

/* ---- taint, retire, destroy, activate ---- */

/* An epoch that was active before, and is in use. */
static enum ctl_exit
old_epoch(const struct registry_epoch **x, struct gov *g, struct ctl *c,
    const struct args *a)
{
	uint64_t number;
	enum ctl_exit rc = number_from(&number, c, "EPOCH", a->pos[0]);

	if (rc != CTL_OK || (rc = gov_open(g, c, a, true, true)) != CTL_OK)
		return rc;
	*x = registry_epoch_of(&g->s, number);
	if (g->s.n_epochs > 0 && number == g->s.active)
		return ctl_fail(c, CTL_FAILED,
		    "epoch %" PRIu64 " is the active one, which stays: rotate "
		    "first",
		    number);
	if (*x == NULL || number > g->s.active ||
	    (*x)->status == REGISTRY_DESTROYED)
		return ctl_fail(c, CTL_FAILED, "epoch %" PRIu64 " is %s",
		    number,
		    number > g->s.active || g->s.n_epochs == 0
			? "not in use yet"
			: "destroyed already");
	return CTL_OK;
}

static enum ctl_exit
run_taint(struct ctl *c, const struct args *a)
{
	const struct registry_epoch *x;
	struct buf data = { 0 };
	struct gov g;
	enum ctl_exit rc = old_epoch(&x, &g, c, a);

	if (rc == CTL_OK && x->status == REGISTRY_TAINTED)
		rc = ctl_fail(c, CTL_FAILED,
		    "epoch %" PRIu64 " is tainted "
		    "already",
		    x->number);
	return rc != CTL_OK ? rc
			    : decide(&g, registryabi_taint(&data, x->number),
				  &data, epoch_told(x->number));
}

/* Without --at: as early as it still is in time if the proposal is executed
 * on the last day of its life. */
static uint64_t
earliest_end(const struct gov *g)
{
	return g->now + g->s.notice_s +
	    (g->has_council ? g->cs.notice_s + g->cs.life_s : 60);
}

static enum ctl_exit
run_retire(struct ctl *c, const struct args *a)
{
	const char *at_text = args_get(a, "at");
	bool cancel = args_has(a, "cancel");
	const struct registry_epoch *x;
	char when[WHEN_TEXT];
	struct buf data = { 0 };
	uint64_t at = 0;
	struct gov g;
	enum ctl_exit rc;

	if (cancel && at_text != NULL)
		return ctl_fail(c, CTL_USAGE, "--at or --cancel, not both");
	if (at_text != NULL &&
	    (rc = number_from(&at, c, "--at", at_text)) != CTL_OK)
		return rc;
	if ((rc = old_epoch(&x, &g, c, a)) != CTL_OK)
		return rc;
	if (!cancel && at_text == NULL)
		at = earliest_end(&g);
	when_seen(when, g.now + g.s.notice_s, g.now);
	if (!cancel && at < g.now + g.s.notice_s)
		return ctl_fail(c, CTL_FAILED,
		    "too early: the registry's notice is counted from the "
		    "execution, and would end %s if that were now",
		    when);
	when_seen(when, at, g.now);
	return decide(&g, registryabi_retire(&data, x->number, at), &data,
	    json_pack("{s:I, s:s}", "epoch", (json_int_t)x->number, "ends",
		cancel ? "never" : when));
}

static enum ctl_exit
run_destroy(struct ctl *c, const struct args *a)
{
	const struct registry_epoch *x;
	char when[WHEN_TEXT];
	struct buf data = { 0 };
	struct gov g;
	enum ctl_exit rc = old_epoch(&x, &g, c, a);

	if (rc != CTL_OK)
		return rc;
	if (x->retire_at == 0)
		return ctl_fail(c, CTL_FAILED,
		    "epoch %" PRIu64 " has no end; `kmsctl rotate retire "
		    "%" PRIu64 "` sets one",
		    x->number, x->number);
	when_seen(when, x->retire_at, g.now);
	if (x->retire_at > g.now + (g.has_council ? g.cs.notice_s : 0))
		return ctl_fail(c, CTL_FAILED,
		    "too early: epoch %" PRIu64 " may be destroyed from %s",
		    x->number, when);
	return decide(&g, registryabi_destroy(&data, x->number), &data,
	    epoch_told(x->number));
}

/* Nodes do it by themselves; anyone may. */
static enum ctl_exit
run_activate(struct ctl *c, const struct args *a)
{
	const struct registry_epoch *x;
	struct buf data = { 0 };
	char when[WHEN_TEXT];
	struct gov g;
	json_t *told;
	enum ctl_exit rc = under_way(&g, c, a);

	if (rc != CTL_OK)
		return rc;
	x = registry_epoch_of(&g.s, g.s.order.epoch);
	when_seen(when, x->published_at + g.s.veto_window_s, g.now);
	if (x->status != REGISTRY_PUBLISHED)
		return ctl_fail(c, CTL_FAILED, "no root is published yet");
	if (x->published_at + g.s.veto_window_s > g.now)
		return ctl_fail(
		    c, CTL_FAILED, "too early: the veto window ends %s", when);
	if (registryabi_activate(&data, x->number) != ERR_OK)
		return ctl_fail(c, CTL_FAILED, "out of memory");
	told = epoch_told(x->number);
	rc = gov_send(&g, g.k.registry, &data, told);
	if (rc == CTL_OK && !g.print)
		return ctl_result(c, told, CTL_OK);
	json_decref(told);
	return rc;
}

/* ---- pin: what an app's owner decides ---- */

static enum err
pin_of(uint64_t *out, const struct gov *g, const uint8_t app[static 20],
    struct refusal *why)
{
	struct buf call = { 0 }, answer = { 0 };
	enum err e = registryabi_call_pin_of(&call, app);

	if (e == ERR_OK)
		e = gov_call(&answer, g, g->k.registry, &call, why);
	if (e == ERR_OK && abi_get_u64(out, buf_view(&answer)) != ERR_OK)
		e = refuse(why, REASON_CHAIN_ANSWER, "not a pin");
	buf_fini(&call);
	buf_fini(&answer);
	return e;
}

/* An app contract need not have an owner: then it says so itself. */
static enum ctl_exit
owns(const struct gov *g, const uint8_t app[static 20])
{
	char me[ACCOUNT_ADDRESS_TEXT], its[ACCOUNT_ADDRESS_TEXT];
	struct refusal why = { .code = REASON_NONE };
	struct buf call = { 0 }, answer = { 0 };
	uint8_t owner[20] = { 0 };
	enum ctl_exit rc = CTL_OK;

	if (calls_getter(&call, CALL_OWNER) == ERR_OK &&
	    gov_call(&answer, g, app, &call, &why) == ERR_OK)
		(void)!abi_get_address(owner, buf_view(&answer));
	if (g->has_who && memcmp(owner, g->who, 20) != 0 &&
	    memcmp(app, g->who, 20) != 0) {
		account_address_text(me, g->who);
		account_address_text(its, owner);
		rc = ctl_fail(g->c, CTL_FAILED,
		    "only its owner moves an app's keys: that is %s, not %s",
		    its, me);
	}
	buf_fini(&call);
	buf_fini(&answer);
	return rc;
}

static enum ctl_exit
may_stay(const struct gov *g, uint64_t number)
{
	const struct registry_epoch *x = registry_epoch_of(&g->s, number);

	if (x != NULL && x->status == REGISTRY_ACTIVE && x->retire_at == 0)
		return CTL_OK;
	return ctl_fail(g->c, CTL_FAILED,
	    "epoch %" PRIu64 " is none to stay at: it is %s", number,
	    x == NULL ? number > g->s.active ? "not ordered yet" : "destroyed"
		: x->status == REGISTRY_ACTIVE
		? "in use, but its end is set"
		: registry_status_text(x->status));
}

static enum ctl_exit
run_pin(struct ctl *c, const struct args *a)
{
	struct refusal why = { .code = REASON_NONE };
	uint64_t epoch = 0, was = 0;
	struct buf data = { 0 };
	uint8_t app[20];
	struct gov g;
	json_t *told;
	enum ctl_exit rc;
	enum err e;

	if ((rc = appname_resolve(app, c, a, a->pos[0])) != CTL_OK ||
	    (a->n_pos > 1 &&
		(rc = number_from(&epoch, c, "EPOCH", a->pos[1])) != CTL_OK) ||
	    (rc = gov_open(&g, c, a, true, true)) != CTL_OK)
		return rc;
	if (a->n_pos < 2)
		epoch = g.s.active;
	if ((rc = may_stay(&g, epoch)) != CTL_OK ||
	    (rc = owns(&g, app)) != CTL_OK)
		return rc;
	e = pin_of(&was, &g, app, &why);
	if (e == ERR_OK)
		e = registryabi_pin(&data, app, epoch);
	if (e != ERR_OK)
		return ctl_denied(c, "the app's pin", e, &why);
	told = json_pack("{s:o, s:I, s:I}", "app", gov_address(app), "epoch",
	    (json_int_t)epoch, "was", (json_int_t)was);
	rc = gov_send(&g, g.k.registry, &data, told);
	if (rc == CTL_OK && !g.print)
		return ctl_result(c, told, CTL_OK);
	json_decref(told);
	return rc;
}

const struct ctl_command cmd_rotate[] = {
	{ "rotate status", "", "where it stands, what remains, what is next",
	    options_read, 0, 0, rotate_status },
	{ "rotate init", "", "epoch 0: the KMS as it is", options_send, 0, 0,
	    run_init },
	{ "rotate order", "", "a new root for the next epoch", options_order, 0,
	    0, run_order },
	{ "rotate vote", "[ID]", "as `council vote`", options_send, 0, 1,
	    cmd_council_vote },
	{ "rotate execute", "[ID]", "as `council execute`", options_send, 0, 1,
	    cmd_council_execute },
	{ "rotate confirm", "ROOTHASH", "the second vote of an emergency",
	    options_send, 1, 1, run_confirm },
	{ "rotate veto", "", "not this root: the nodes make another one",
	    options_send, 0, 0, run_veto },
	{ "rotate withdraw", "", "no rotation after all", options_send, 0, 0,
	    run_withdraw },
	{ "rotate activate", "", "if no node does it", options_send, 0, 0,
	    run_activate },
	{ "rotate taint", "EPOCH", "for old data alone, and only by number",
	    options_send, 1, 1, run_taint },
	{ "rotate retire", "EPOCH", "set the end of an old epoch",
	    options_retire, 1, 1, run_retire },
	{ "rotate destroy", "EPOCH", "after its end, for good", options_send, 1,
	    1, run_destroy },
	{ "rotate certificates", "",
	    "what leads from the root of epoch 0 to the later ones",
	    options_certificates, 0, 0, rotate_certificates },
	{ "rotate pin", "APP [EPOCH]", "move an app's keys, as its owner",
	    options_send, 1, 2, run_pin },
	{ .name = NULL },
};
