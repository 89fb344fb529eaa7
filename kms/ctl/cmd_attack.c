/* kmsctl sim attack, and what it is made of. */
#include <string.h>

#include "common/base/clock.h"
#include "kms/ctl/attack.h"
#include "kms/ctl/lab_probe.h"
#include "kms/ctl/lab_relay.h"

#define PROBE_MS 10000

static enum ctl_exit
open_lab(struct lab **out, const struct ctl *c, const char *dir, bool change)
{
	char why[LAB_WHY_MAX];
	enum err e = lab_load(out, dir, why);

	if (e != ERR_OK)
		return ctl_fail(c, CTL_USAGE, "%s", why);
	if (change && (e = lab_lock(*out)) != ERR_OK) {
		lab_free(*out);
		*out = NULL;
		return ctl_fail(c, CTL_FAILED, "%s: %s", dir,
		    e == ERR_AGAIN ? "another kmsctl is at work there"
				   : err_text(e));
	}
	return CTL_OK;
}

static enum ctl_exit
run_attack(struct ctl *c, const struct args *a)
{
	const char *name = a->n_pos > 1 ? a->pos[1] : "list";
	struct lab *l = NULL;
	enum ctl_exit rc;

	if (strcmp(name, "list") == 0)
		return attack_list(c);
	rc = open_lab(&l, c, a->pos[0], true);
	if (rc == CTL_OK)
		rc = attack_run(c, l, name);
	lab_free(l);
	return rc;
}

static json_t *
answer_json(const struct probe_answer *r, const char *node, uint64_t ms)
{
	json_t *o = json_pack("{s:s, s:b, s:I}", "node", node, "ok",
	    (int)(r->err == ERR_OK), "ms", (json_int_t)ms);

	if (r->err == ERR_OK) {
		(void)!json_set_u64(o, "value", r->value);
		(void)!json_set_bool(o, "matched", r->matched);
		(void)!json_set_u64(o, "generation", r->generation);
		(void)!json_set_u64(o, "index", r->index);
	} else {
		(void)!json_set_str(o, "reason",
		    r->why.code != REASON_NONE ? reason_label(r->why.code)
					       : err_text(r->err));
	}
	return o;
}

static bool
parse_what(enum probe_what *out, const char *text)
{
	static const char *const names[] = { [PROBE_KEYS] = "keys",
		[PROBE_READ] = "read",
		[PROBE_INCREMENT] = "increment" };

	for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++)
		if (strcmp(text, names[i]) == 0) {
			*out = (enum probe_what)i;
			return true;
		}
	return false;
}

static enum ctl_exit
run_probe(struct ctl *c, const struct args *a)
{
	const char *expected = args_get(a, "expected");
	uint64_t from = 0, began, limit = PROBE_MS;
	const struct lab_node *n;
	struct probe_answer r;
	struct probe *p = NULL;
	struct lab *l = NULL;
	enum probe_what what;
	enum ctl_exit rc;

	if (!parse_what(&what, a->pos[2]) ||
	    (expected != NULL &&
		args_u64(&from, expected, INT64_MAX) != ERR_OK) ||
	    (args_has(a, "timeout") &&
		args_u64(&limit, args_get(a, "timeout"), 600000) != ERR_OK))
		return ctl_fail(
		    c, CTL_USAGE, "keys, read, or increment (--expected N)");
	if ((rc = open_lab(&l, c, a->pos[0], false)) != CTL_OK)
		return rc;
	if ((n = lab_find_node(l, a->pos[1])) == NULL)
		rc = ctl_fail(c, CTL_USAGE, "%.60s: no such node", a->pos[1]);
	else if ((rc = probe_open(&p, c, l)) == CTL_OK) {
		began = clock_mono_ms();
		probe_ask(p, &r, n->listen_port, what, from, (unsigned)limit);
		rc = ctl_result(c,
		    answer_json(&r, n->name, clock_mono_ms() - began),
		    r.err == ERR_OK ? CTL_OK : CTL_FAILED);
	}
	probe_close(p);
	lab_free(l);
	return rc;
}

/* Serves in the foreground until it is told to stop. */
static enum ctl_exit
run_relay(struct ctl *c, const struct args *a)
{
	struct lab *l = NULL;
	enum ctl_exit rc;
	uint64_t port;

	if (args_u64(&port, a->pos[1], UINT16_MAX) != ERR_OK || port == 0)
		return ctl_fail(c, CTL_USAGE, "%.20s: a port", a->pos[1]);
	if ((rc = open_lab(&l, c, a->pos[0], false)) != CTL_OK)
		return rc;
	if (lab_relay((uint16_t)port, l->rpc_port) != ERR_OK)
		rc = ctl_fail(
		    c, CTL_FAILED, "cannot listen on port %u", (unsigned)port);
	lab_free(l);
	return rc;
}

static const struct args_option options_probe[] = {
	{ "expected", "N", "the counter's value before the increment" },
	{ "timeout", "MS", "for the session, and again for the answer" },
	{ NULL, NULL, NULL },
};

const struct ctl_command cmd_attack[] = {
	{ "sim attack", "DIR [NAME|all|list]",
	    "roll back, fork and replay: each must be refused", NULL, 1, 2,
	    run_attack },
	{ "sim probe", "DIR NODE keys|read|increment",
	    "ask one node as an app does, once", options_probe, 3, 3,
	    run_probe },
	{ "sim relay", "DIR PORT", "forward to the chain (attacks use it)",
	    NULL, 2, 2, run_relay },
	{ .name = NULL },
};
