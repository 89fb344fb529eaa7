/* kmsctl app plan: what an upgrade would change on chain; sends nothing. */
#include <string.h>

#include "common/attest/bootinfo.h"
#include "common/base/file.h"
#include "common/base/hex.h"
#include "common/base/limits.h"
#include "common/crypto/hash.h"
#include "kms/ctl/appname.h"
#include "kms/ctl/appplan.h"
#include "kms/ctl/compose.h"
#include "kms/ctl/composediff.h"
#include "kms/ctl/councilabi.h"
#include "kms/ctl/lab_app.h"
#include "kms/ctl/when.h"

#define LOOK_BACK 16 /* proposals of the owner's council */

static const struct args_option options[] = {
	CONTRACT_OPTIONS_READ,
	{ "compose", "FILE", "the new app-compose.json" },
	{ "old", "FILE", "the one that runs (in a lab: the app's own)" },
	{ "drop-old", NULL, "the old one is to be disallowed then" },
	{ "add-device", "A,B", "devices to allow (in a lab: or machines)" },
	{ "remove-device", "A,B", "devices to disallow" },
	{ "any-device", "yes|no", "allow every device, or no longer" },
	{ NULL, NULL, NULL },
};

/* All that the command was given. */
struct plan {
	const struct ctl *c;
	struct contract k;
	struct appplan_wish w;
	json_t *old, *new; /* app-compose.json */
	bool canonical; /* the new one hashes as the SDKs say */
};

/* ---- what is wished ---- */

static enum ctl_exit
read_compose(json_t **out, uint8_t hash[static 32], bool *canonical,
    const struct ctl *c, const char *path)
{
	struct buf text = { 0 }, canon = { 0 };
	enum ctl_exit rc = CTL_OK;
	uint8_t other[32];
	char why[120] = "";
	enum err e = file_read(&text, path, LIMIT_APP_COMPOSE);

	if (e != ERR_OK) {
		rc = ctl_fail(c, CTL_USAGE, "%s: %s", path, err_text(e));
		goto done;
	}
	compose_hash(hash, buf_view(&text));
	e = json_parse_js(
	    out, text.p, text.len, LIMIT_APP_COMPOSE, why, sizeof why);
	if (e == ERR_OK)
		e = compose_canonical(&canon, *out, false);
	if (e != ERR_OK) {
		rc = ctl_fail(c, CTL_FAILED, "%s: not an app-compose.json: %s",
		    path, why[0] != '\0' ? why : err_text(e));
		goto done;
	}
	sha256(other, canon.p, canon.len);
	if (canonical != NULL)
		*canonical = memcmp(other, hash, 32) == 0;
done:
	buf_fini(&canon);
	buf_fini(&text);
	return rc;
}

/* A device by its id, or in a lab by its machine. */
static enum err
one_device(uint8_t out[static 32], const struct lab *l, const char *text)
{
	if (hex_fixed(out, 32, text) == ERR_OK)
		return ERR_OK;
	return l == NULL ? ERR_MALFORMED : lab_app_device(out, l, text);
}

static enum ctl_exit
read_devices(uint8_t out[][32], unsigned *n, const struct ctl *c,
    const struct lab *l, const char *option, const char *text)
{
	char one[80];

	for (*n = 0; text != NULL && *text != '\0'; (*n)++) {
		size_t len = strcspn(text, ",");

		if (*n == APPPLAN_DEVICES_MAX)
			return ctl_fail(c, CTL_USAGE,
			    "--%s: %d devices are the most", option,
			    APPPLAN_DEVICES_MAX);
		(void)snprintf(one, sizeof one, "%.*s",
		    (int)(len < sizeof one ? len : sizeof one), text);
		if (len >= sizeof one || one_device(out[*n], l, one) != ERR_OK)
			return ctl_fail(c, CTL_USAGE,
			    "--%s: %.70s: must be 32 bytes in hex%s", option,
			    one, l != NULL ? ", or a machine" : "");
		text += len + (text[len] == ',');
	}
	return CTL_OK;
}

static enum ctl_exit
read_files(struct plan *p, const struct args *a, struct lab *l,
    const uint8_t app[static 20])
{
	const char *new = args_get(a, "compose"), *old = args_get(a, "old");
	char path[LAB_PATH_MAX];
	enum ctl_exit rc = CTL_OK;

	for (unsigned i = 0; old == NULL && l != NULL && i < l->n_apps; i++)
		if (memcmp(l->app[i].app_id, app, 20) == 0) {
			lab_path(path, l, "apps/%s/app-compose.json",
			    l->app[i].name);
			old = path;
		}
	if (new != NULL) {
		p->w.has_new = true;
		rc = read_compose(
		    &p->new, p->w.new_hash, &p->canonical, p->c, new);
	}
	if (rc == CTL_OK && old != NULL) {
		p->w.has_old = true;
		rc = read_compose(&p->old, p->w.old_hash, NULL, p->c, old);
	}
	p->w.drop_old = args_has(a, "drop-old");
	if (rc == CTL_OK && p->w.drop_old && !p->w.has_old)
		rc = ctl_fail(
		    p->c, CTL_USAGE, "--drop-old: of which file? give --old");
	return rc;
}

static enum ctl_exit
read_wish(struct plan *p, const struct args *a, const uint8_t app[static 20])
{
	const char *any = args_get(a, "any-device");
	char why[LAB_WHY_MAX];
	struct lab *l = NULL;
	enum ctl_exit rc;

	p->w.any_device = -1;
	if (any != NULL && strcmp(any, "yes") != 0 && strcmp(any, "no") != 0)
		return ctl_fail(p->c, CTL_USAGE, "--any-device: yes or no");
	if (any != NULL)
		p->w.any_device = any[0] == 'y';
	if (p->k.sim[0] != '\0' && lab_load(&l, p->k.sim, why) != ERR_OK)
		return ctl_fail(p->c, CTL_USAGE, "%s", why);
	rc = read_devices(p->w.add, &p->w.n_add, p->c, l, "add-device",
	    args_get(a, "add-device"));
	if (rc == CTL_OK)
		rc = read_devices(p->w.remove, &p->w.n_remove, p->c, l,
		    "remove-device", args_get(a, "remove-device"));
	if (rc == CTL_OK)
		rc = read_files(p, a, l, app);
	lab_free(l);
	return rc;
}

/* ---- what is on its way already ---- */

/* The open proposal of the owner's council that has this call, in words. */
static enum err
proposed(json_t **out, const struct plan *p, const struct appplan_facts *f,
    const struct appplan_step *s, uint64_t proposals, struct refusal *why)
{
	struct buf call = { 0 }, answer = { 0 };
	uint64_t first = proposals > LOOK_BACK ? proposals - LOOK_BACK : 0;
	enum err e = ERR_OK;

	*out = NULL;
	for (uint64_t i = proposals; e == ERR_OK && *out == NULL && i > first;
	     i--) {
		struct council_checklist c;
		char id[65];

		e = councilabi_call_proposal_at(&call, i - 1);
		if (e == ERR_OK)
			e = contract_call(
			    &answer, &p->k, f->owner, buf_view(&call), why);
		if (e == ERR_OK && answer.len == 32)
			e = councilabi_call_checklist(&call, answer.p);
		if (e == ERR_OK)
			e = contract_call(
			    &answer, &p->k, f->owner, buf_view(&call), why);
		if (e != ERR_OK ||
		    councilabi_checklist(&c, buf_view(&answer)) != ERR_OK ||
		    (c.stage != COUNCIL_VOTING && c.stage != COUNCIL_WAITING &&
			c.stage != COUNCIL_READY))
			continue;
		for (size_t n = 0; *out == NULL && n < c.n_calls; n++)
			if (memcmp(c.call[n].target, f->app, 20) == 0 &&
			    c.call[n].data.len == s->data.len &&
			    memcmp(c.call[n].data.p, s->data.p, s->data.len) ==
				0)
				*out = json_sprintf("proposed, %s: 0x%s",
				    council_stage_text(c.stage),
				    hex_encode(id, c.id, 32));
	}
	buf_fini(&answer);
	buf_fini(&call);
	return e;
}

static enum err
council_proposals(uint64_t *out, const struct plan *p,
    const struct appplan_facts *f, struct refusal *why)
{
	struct buf call = { 0 }, answer = { 0 };
	struct council_state s = { .proposals = 0 };
	enum err e = councilabi_call_state(&call);

	if (e == ERR_OK)
		e = contract_call(
		    &answer, &p->k, f->owner, buf_view(&call), why);
	if (e == ERR_OK && councilabi_state(&s, buf_view(&answer)) != ERR_OK)
		e = refuse(why, REASON_CHAIN_ANSWER, "not a council");
	*out = s.proposals;
	buf_fini(&answer);
	buf_fini(&call);
	return e;
}

static enum err
mark_proposed(json_t *rows, const struct plan *p, const struct appplan_facts *f,
    const struct appplan_step *step, unsigned n, struct refusal *why)
{
	uint64_t proposals = 0;
	enum err e;

	if (f->owner_kind != APPPLAN_COUNCIL)
		return ERR_OK;
	e = council_proposals(&proposals, p, f, why);
	for (unsigned i = 0; e == ERR_OK && i < n; i++) {
		json_t *text = NULL;

		if (!step[i].needed)
			continue;
		e = proposed(&text, p, f, &step[i], proposals, why);
		if (text != NULL)
			(void)json_object_set_new(
			    json_array_get(rows, i), "state", text);
	}
	return e;
}

/* ---- the answer ---- */

static json_t *
hash_text(bool there, const uint8_t h[static 32])
{
	char hex[67] = "0x";

	if (!there)
		return json_null();
	hex_encode(hex + 2, h, 32);
	return json_string(hex);
}

static json_t *
allowed_text(bool asked, uint64_t from, uint64_t now)
{
	char text[WHEN_TEXT];

	if (!asked)
		return json_null();
	if (from == 0)
		return json_string("no");
	if (from <= now)
		return json_string("yes");
	when_seen(text, from, now);
	return json_sprintf("from %s", text);
}

static json_t *
compose_json(const struct plan *p, const struct appplan_facts *f)
{
	return json_pack("{s:o, s:o, s:o, s:o}", "old",
	    hash_text(p->w.has_old, p->w.old_hash), "old_allowed",
	    allowed_text(p->w.has_old, f->old_from, f->now), "new",
	    hash_text(p->w.has_new, p->w.new_hash), "new_allowed",
	    allowed_text(p->w.has_new, f->new_from, f->now));
}

/* Would each go through, and what should be thought of? */
static enum err
warnings(json_t *list, const struct plan *p, const struct appplan_facts *f,
    const struct appplan_step *step, unsigned n, struct refusal *why)
{
	enum err e = appplan_warn(list, f, &p->w);

	if (f->owner_kind == APPPLAN_NOBODY)
		n = 0;
	for (unsigned i = 0; e == ERR_OK && i < n; i++) {
		if (!step[i].needed ||
		    (e = appplan_try(&p->k, f, &step[i], why)) == ERR_OK)
			continue;
		if (why->code != REASON_CONTRACT_OTHER)
			return e;
		(void)json_array_append_new(list,
		    json_pack("{s:s, s:o}", "code", "refused", "text",
			json_sprintf("step %u would be refused: %s", i + 1,
			    contract_reason(why))));
		e = ERR_OK;
	}
	if (e == ERR_OK && p->new != NULL && !p->canonical)
		(void)json_array_append_new(list,
		    json_pack("{s:s, s:s}", "code", "not_canonical", "text",
			"the file is not the SDKs' canonical text: their "
			"getComposeHash gives another hash; a guest measures "
			"the file"));
	if (e == ERR_OK && p->new != NULL)
		e = composediff_warn(list, p->new);
	return e;
}

static json_t *
active_text(
    const struct appplan_facts *f, const struct appplan_step *step, unsigned n)
{
	uint64_t at = appplan_active(f, step, n);
	char text[WHEN_TEXT];
	bool send = false;

	for (unsigned i = 0; i < n; i++)
		send |= step[i].needed && step[i].lets_in;
	if (send && f->owner_kind == APPPLAN_NOBODY)
		return json_string("never");
	if (at <= f->now)
		return json_string(send ? "with the block of the transactions"
					: "now: all that lets in is there");
	when_seen(text, at, f->now);
	return json_sprintf(
	    "%s%s", send ? "at the earliest, if sent now: " : "", text);
}

static enum ctl_exit
tell(const struct plan *p, const struct appplan_facts *f,
    const struct appplan_step *step, unsigned n)
{
	struct refusal why = { .code = REASON_NONE };
	json_t *list = json_array(), *v, *rows = appplan_steps_json(f, step, n);
	char id[ACCOUNT_ADDRESS_TEXT];
	enum err e = mark_proposed(rows, p, f, step, n, &why);

	if (e == ERR_OK)
		e = warnings(list, p, f, step, n, &why);
	if (e != ERR_OK) {
		json_decref(rows);
		json_decref(list);
		return ctl_denied(p->c, "app plan", e, &why);
	}
	account_address_text(id, f->app);
	v = json_pack("{s:s, s:o, s:o, s:o, s:I, s:o}", "app_id", id,
	    "contract", appplan_contract_json(f), "compose", compose_json(p, f),
	    "active", active_text(f, step, n), "active_at",
	    (json_int_t)appplan_active(f, step, n), "who_signs",
	    appplan_signer(f));
	if (p->old != NULL && p->new != NULL) {
		(void)json_object_set_new(
		    v, "changes", composediff_members(p->old, p->new));
		(void)json_object_set_new(
		    v, "lines", composediff_lines(p->old, p->new));
	}
	(void)json_object_set_new(v, "transactions", rows);
	(void)json_object_set_new(v, "warnings", list);
	return ctl_result(p->c, v, CTL_OK);
}

static enum ctl_exit
run_plan(struct ctl *c, const struct args *a)
{
	struct appplan_step step[APPPLAN_STEPS_MAX];
	struct refusal why = { .code = REASON_NONE };
	struct plan p = { .c = c };
	struct appplan_facts f;
	uint8_t app[20];
	enum ctl_exit rc;
	unsigned n = 0;
	enum err e;

	if ((rc = contract_from_args(&p.k, c, a, false, false)) != CTL_OK ||
	    (rc = appname_resolve(app, c, a, a->pos[0])) != CTL_OK ||
	    (rc = read_wish(&p, a, app)) != CTL_OK)
		goto done;
	if (!p.w.has_new && p.w.n_add + p.w.n_remove == 0 &&
	    p.w.any_device < 0 && !p.w.drop_old) {
		rc = ctl_fail(c, CTL_USAGE,
		    "what is to change? give --compose FILE, --drop-old, "
		    "--add-device, --remove-device or --any-device");
		goto done;
	}
	if ((e = appplan_read(&f, &p.k, app, &p.w, &why)) != ERR_OK) {
		rc = ctl_denied(c, "app plan", e, &why);
		goto done;
	}
	e = appplan_steps(step, &n, &f, &p.w);
	rc = e == ERR_OK ? tell(&p, &f, step, n)
			 : ctl_fail(c, CTL_FAILED, "%s", err_text(e));
	appplan_fini(step, APPPLAN_STEPS_MAX);
done:
	json_decref(p.old);
	json_decref(p.new);
	return rc;
}

const struct ctl_command cmd_plan[] = {
	{ "app plan", "APP",
	    "what an upgrade would change on chain, and when it holds", options,
	    1, 1, run_plan },
	{ .name = NULL },
};
