/* kmsctl sim ...: simulated clusters. */
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/hex.h"
#include "kms/ctl/cmd_sim.h"
#include "kms/ctl/lab_make.h"
#include "kms/ctl/lab_recover.h"
#include "kms/ctl/lab_run.h"
#include "kms/ctl/lab_up.h"
#include "node/tee/pccs_server.h"
#include "node/tee/simhost.h"

#define NODES_DEFAULT 3

enum ctl_exit
sim_open(struct lab **out, const struct ctl *c, const char *dir, bool change)
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

json_t *
sim_address(const uint8_t a[static 20])
{
	char text[ACCOUNT_ADDRESS_TEXT];

	account_address_text(text, a);
	return json_string(text);
}

/* ---- init ---- */

/* "5:3": three of five members decide. */
static enum ctl_exit
council_from(struct lab *l, const struct ctl *c, const char *text)
{
	char n[16];
	size_t at = strcspn(text, ":");
	uint64_t members, votes;

	if (at >= sizeof n || text[at] != ':')
		goto bad;
	memcpy(n, text, at);
	n[at] = '\0';
	if (args_u64(&members, n, LAB_MEMBERS_MAX) != ERR_OK ||
	    args_u64(&votes, text + at + 1, members) != ERR_OK || votes == 0)
		goto bad;
	l->n_members = (unsigned)members;
	l->k_members = (unsigned)votes;
	return CTL_OK;
bad:
	return ctl_fail(c, CTL_USAGE,
	    "--council: %.20s: must be N:K, K of at most %d members", text,
	    LAB_MEMBERS_MAX);
}

static enum ctl_exit
mode_from(struct lab *l, const struct ctl *c, const char *text)
{
	l->proof = text == NULL || strcmp(text, "proof") == 0;
	return l->proof || strcmp(text, "quorum") == 0
	    ? CTL_OK
	    : ctl_fail(c, CTL_USAGE, "--chain-mode: proof or quorum");
}

static json_t *
council_json(const struct lab *l)
{
	char keys[LAB_PATH_MAX];

	if (l->n_members == 0)
		return json_null();
	lab_path(keys, l, "council/0.key");
	return json_pack("{s:o, s:o, s:s, s:s}", "contract",
	    sim_address(l->council), "decides",
	    json_sprintf("%u of %u", l->k_members, l->n_members), "first_key",
	    keys, "sign_with", "--member N");
}

/* Never NULL: of a cluster without registry there is nothing to say. */
static json_t *
registry_json(const struct lab *l)
{
	return l->n_members == 0 ? json_null() : sim_address(l->registry);
}

/* clear_old makes room for a new cluster in `dir`, if it may. */
static enum ctl_exit
clear_old(const struct ctl *c, const char *dir, bool force)
{
	char why[LAB_WHY_MAX];
	struct lab *old = NULL;
	enum ctl_exit rc = CTL_OK;

	if (lab_load(&old, dir, why) != ERR_OK) {
		/* Nothing, or something else: rmdir tells them apart. */
		if (access(dir, F_OK) == 0 && rmdir(dir) != 0)
			return ctl_fail(c, CTL_FAILED,
			    "%s: is not empty, and "
			    "no cluster that I know",
			    dir);
		return CTL_OK;
	}
	if (!force)
		rc = ctl_fail(c, CTL_FAILED,
		    "%s: there is a cluster already; --force replaces it", dir);
	else if ((rc = lab_stop_all(c, old)) == CTL_OK &&
	    lab_remove(old) != ERR_OK)
		rc = ctl_fail(c, CTL_FAILED, "%s: cannot be removed", dir);
	lab_free(old);
	return rc;
}

static enum ctl_exit
run_init(struct ctl *c, const struct args *a)
{
	const char *nodes = args_get(a, "nodes");
	uint64_t n = NODES_DEFAULT;
	char why[LAB_WHY_MAX];
	struct lab *l = NULL;
	enum ctl_exit rc;

	if (nodes != NULL &&
	    (args_u64(&n, nodes, LAB_NODES_MAX) != ERR_OK || n == 0))
		return ctl_fail(
		    c, CTL_USAGE, "--nodes: 1 to %d", LAB_NODES_MAX);
	rc = clear_old(c, a->pos[0], args_has(a, "force"));
	if (rc != CTL_OK)
		return rc;
	if (lab_new(&l, a->pos[0], why) != ERR_OK)
		return ctl_fail(c, CTL_USAGE, "%s", why);
	if ((rc = mode_from(l, c, args_get(a, "chain-mode"))) != CTL_OK)
		goto done;
	if (args_has(a, "council") &&
	    (rc = council_from(l, c, args_get(a, "council"))) != CTL_OK)
		goto done;
	if (lab_make(l, (unsigned)n, args_get(a, "hosts"), why) != ERR_OK)
		rc = ctl_fail(c, CTL_FAILED, "%s", why);
	else
		rc = ctl_result(c,
		    json_pack("{s:s, s:I, s:o, s:o, s:o, s:o, s:o}", "folder",
			l->dir, "nodes", (json_int_t)n, "operator",
			sim_address(l->operator_address), "kms_contract",
			sim_address(l->kms), "anchor_contract",
			sim_address(l->anchor), "registry_contract",
			registry_json(l), "council", council_json(l)),
		    CTL_OK);
done:
	lab_free(l);
	return rc;
}

/* ---- up, down, status ---- */

static json_t *
process_row(const struct lab *l, const char *name, const char *what,
    const char *host, const char *image)
{
	pid_t pid = 0;
	bool runs = lab_runs(l, name, &pid);

	return json_pack("{s:s, s:s, s:s, s:I, s:s, s:s}", "name", name, "what",
	    what, "state", runs ? "running" : "stopped", "pid",
	    (json_int_t)(runs ? pid : 0), "host", host, "image", image);
}

static enum ctl_exit
tell_status(const struct ctl *c, const struct lab *l)
{
	json_t *rows = json_array(), *apps = json_array();
	char url[CONTRACT_URL_MAX], pages[CONTRACT_URL_MAX],
	    socket[LAB_PATH_MAX];

	(void)json_array_append_new(
	    rows, process_row(l, LAB_CHAIN, "anvil", "", ""));
	(void)json_array_append_new(
	    rows, process_row(l, LAB_PCCS, "PCCS", "", ""));
	for (unsigned i = 0; i < l->n_nodes; i++)
		(void)json_array_append_new(rows,
		    process_row(l, l->node[i].name,
			l->node[i].listed ? "KMS" : "KMS, not listed",
			l->node[i].host, l->node[i].image));
	for (unsigned i = 0; i < l->n_apps; i++) {
		const struct lab_app *a = &l->app[i];
		char hash[67] = "0x", what[16 + LAB_NAME_MAX] = "app";

		if (a->of[0] != '\0')
			(void)snprintf(
			    what, sizeof what, "replica of %s", a->of);
		else if (!a->registered)
			(void)snprintf(
			    what, sizeof what, "%s", "app, not registered");
		(void)json_array_append_new(
		    rows, process_row(l, a->name, what, a->host, a->image));
		lab_path(socket, l, "apps/%s/dstack.sock", a->name);
		lab_pages_url(pages, a);
		hex_encode(hash + 2, a->compose_hash, 32);
		(void)json_array_append_new(apps,
		    json_pack("{s:s, s:o, s:s, s:s, s:s}", "app", a->name,
			"app_id", sim_address(a->app_id), "compose_hash", hash,
			"socket", socket, "pages", pages));
	}
	lab_rpc_url(url, l);
	return ctl_result(c,
	    json_pack("{s:s, s:s, s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:o}",
		"folder", l->dir, "rpc", url, "chain_id",
		(json_int_t)l->chain_id, "kms_contract", sim_address(l->kms),
		"anchor_contract", sim_address(l->anchor), "operator",
		sim_address(l->operator_address), "registry_contract",
		registry_json(l), "council", council_json(l), "processes", rows,
		"apps", apps),
	    CTL_OK);
}

static enum ctl_exit
run_up(struct ctl *c, const struct args *a)
{
	struct lab *l = NULL;
	enum ctl_exit rc = sim_open(&l, c, a->pos[0], true);

	if (rc == CTL_OK && (rc = lab_up(c, l)) == CTL_OK)
		rc = tell_status(c, l);
	lab_free(l);
	return rc;
}

static enum ctl_exit
run_down(struct ctl *c, const struct args *a)
{
	struct lab *l = NULL;
	enum ctl_exit rc = sim_open(&l, c, a->pos[0], true);

	if (rc == CTL_OK && (rc = lab_stop_all(c, l)) == CTL_OK)
		rc = ctl_result(
		    c, json_pack("{s:s}", "stopped", l->dir), CTL_OK);
	lab_free(l);
	return rc;
}

static enum ctl_exit
run_status(struct ctl *c, const struct args *a)
{
	struct lab *l = NULL;
	enum ctl_exit rc = sim_open(&l, c, a->pos[0], false);

	if (rc == CTL_OK)
		rc = tell_status(c, l);
	lab_free(l);
	return rc;
}

/* ---- one of them ---- */

static enum ctl_exit
start_one(const struct ctl *c, struct lab *l, const char *name)
{
	const struct lab_node *n = lab_find_node(l, name);
	const struct lab_app *app = lab_find_app(l, name);
	enum ctl_exit rc;

	if (app != NULL)
		return sim_start_app(c, l, app);
	if (n != NULL) {
		rc = lab_start_node(c, l, n);
		if (rc == CTL_OK && n->listed)
			rc = lab_await_ready(c, l, n);
	} else if (strcmp(name, LAB_CHAIN) == 0) {
		rc = lab_start_chain(c, l);
	} else if (strcmp(name, LAB_PCCS) == 0) {
		rc = lab_start_pccs(c, l);
	} else {
		return ctl_fail(c, CTL_USAGE,
		    "%.60s: no such node, app, \"chain\" or \"pccs\"", name);
	}
	return rc != CTL_OK
	    ? rc
	    : ctl_result(c, json_pack("{s:s}", "started", name), CTL_OK);
}

static enum ctl_exit
run_start(struct ctl *c, const struct args *a)
{
	struct lab *l = NULL;
	enum ctl_exit rc = sim_open(&l, c, a->pos[0], true);

	if (rc == CTL_OK)
		rc = start_one(c, l, a->pos[1]);
	lab_free(l);
	return rc;
}

static enum ctl_exit
stop_one(const struct ctl *c, const struct args *a, int sig)
{
	const char *name = a->pos[1];
	struct lab *l = NULL;
	enum ctl_exit rc = sim_open(&l, c, a->pos[0], true);

	if (rc != CTL_OK)
		return rc;
	if (lab_find_node(l, name) == NULL && lab_find_app(l, name) == NULL &&
	    strcmp(name, LAB_CHAIN) != 0 && strcmp(name, LAB_PCCS) != 0)
		rc = ctl_fail(c, CTL_USAGE,
		    "%.60s: no such node, app, \"chain\" or \"pccs\"", name);
	else if ((rc = lab_stop(c, l, name, sig)) == CTL_OK)
		rc = ctl_result(c,
		    json_pack(
			"{s:s}", sig == SIGKILL ? "killed" : "stopped", name),
		    CTL_OK);
	lab_free(l);
	return rc;
}

static enum ctl_exit
run_stop(struct ctl *c, const struct args *a)
{
	return stop_one(c, a, SIGTERM);
}

static enum ctl_exit
run_kill(struct ctl *c, const struct args *a)
{
	return stop_one(c, a, SIGKILL);
}

/* ---- more of them ---- */

enum ctl_exit
sim_check_name(const struct ctl *c, struct lab *l, const char *name)
{
	if (!sim_name_ok(name))
		return ctl_fail(c, CTL_USAGE,
		    "%.60s: a name is of a-z, 0-9 and '-', at most %d", name,
		    SIM_NAME_MAX);
	/* Each is the name of a process, too. */
	if (lab_find_node(l, name) != NULL || lab_find_app(l, name) != NULL ||
	    strcmp(name, LAB_CHAIN) == 0 || strcmp(name, LAB_PCCS) == 0 ||
	    strcmp(name, "deploy") == 0)
		return ctl_fail(c, CTL_USAGE, "%.60s: is taken", name);
	return CTL_OK;
}

/* One more KMS node, which the contract lists only if asked. */
static enum ctl_exit
run_node(struct ctl *c, const struct args *a)
{
	const char *name = a->pos[1], *host = args_get(a, "host"),
		   *image = args_get(a, "image");
	struct lab *l = NULL;
	enum ctl_exit rc = sim_open(&l, c, a->pos[0], true);
	enum err e;

	if (rc != CTL_OK)
		return rc;
	if ((rc = sim_check_name(c, l, name)) != CTL_OK)
		goto done;
	e = lab_add_node(l, name, host != NULL ? host : "app1",
	    image != NULL ? image : "kms", args_has(a, "listed"));
	if (e != ERR_OK)
		rc = ctl_fail(c, CTL_USAGE, "%.60s: %s", name,
		    e == ERR_NOTFOUND ? "no such host or image" : err_text(e));
	else if (args_has(a, "listed"))
		rc = lab_up(c, l);
	else
		rc = lab_start_node(c, l, &l->node[l->n_nodes - 1]);
	if (rc == CTL_OK) {
		char url[CONTRACT_URL_MAX];

		lab_admin_url(url, &l->node[l->n_nodes - 1]);
		rc = ctl_result(c,
		    json_pack("{s:s, s:s}", "node", name, "admin", url),
		    CTL_OK);
	}
done:
	lab_free(l);
	return rc;
}

static enum ctl_exit
run_host(struct ctl *c, const struct args *a)
{
	const char *state = a->pos[2];
	enum sim_fault fault = SIM_FAULT_NONE;
	struct lab *l = NULL;
	enum ctl_exit rc;
	enum err e = ERR_OK;

	if (strcmp(state, "ok") != 0)
		e = sim_fault_parse(&fault, state);
	if (e != ERR_OK || !sim_name_ok(a->pos[1]))
		return ctl_fail(c, CTL_USAGE,
		    "%.40s %.40s: a host, and debug, "
		    "out-of-date, revoked, no-sept-ve or ok",
		    a->pos[1], state);
	if ((rc = sim_open(&l, c, a->pos[0], true)) != CTL_OK)
		return rc;
	e = sim_host_set(l->dir, a->pos[1], fault, clock_wall_s());
	if (e != ERR_OK)
		rc = ctl_fail(c, CTL_FAILED, "%s: %s", a->pos[1], err_text(e));
	else
		rc = ctl_result(c,
		    json_pack("{s:s, s:s}", "host", a->pos[1], "state", state),
		    CTL_OK);
	lab_free(l);
	return rc;
}

/* Serves in the foreground until it is told to stop; `sim up` runs it. */
static enum ctl_exit
run_pccs(struct ctl *c, const struct args *a)
{
	struct pccs_server *s = NULL;
	struct lab *l = NULL;
	sigset_t stop;
	enum ctl_exit rc;
	enum err e;
	int sig;

	if ((rc = sim_open(&l, c, a->pos[0], false)) != CTL_OK)
		return rc;
	/* Before the server's threads, which inherit it. */
	(void)sigemptyset(&stop);
	(void)sigaddset(&stop, SIGTERM);
	(void)sigaddset(&stop, SIGINT);
	(void)sigprocmask(SIG_BLOCK, &stop, NULL);
	e = pccs_server_start(
	    &s, l->dir, "127.0.0.1", l->pccs_port, clock_wall_s);
	if (e != ERR_OK) {
		rc = ctl_fail(c, CTL_FAILED, "cannot serve on port %u: %s",
		    l->pccs_port, err_text(e));
	} else {
		ctl_note(c, "serving on port %u", pccs_server_port(s));
		(void)sigwait(&stop, &sig);
	}
	pccs_server_stop(s);
	lab_free(l);
	return rc;
}

static const struct args_option options_init[] = {
	{ "nodes", "N", "KMS nodes (default 3)" },
	{ "hosts", "A,B", "more simulated machines" },
	{ "council", "N:K", "K of N decide about roots, by a registry" },
	{ "chain-mode", "MODE", "how nodes read it: proof (default), quorum" },
	{ "force", NULL, "replace a cluster that is there" },
	{ NULL, NULL, NULL },
};
static const struct args_option options_node[] = {
	{ "host", "NAME", "the machine (default app1)" },
	{ "image", "NAME", "the OS image (default kms)" },
	{ "listed", NULL, "have the contract allow it" },
	{ NULL, NULL, NULL },
};

const struct ctl_command cmd_sim[] = {
	{ "sim init", "DIR", "make a simulated cluster", options_init, 1, 1,
	    run_init },
	{ "sim up", "DIR", "start what does not run, until all is ready", NULL,
	    1, 1, run_up },
	{ "sim down", "DIR", "stop everything", NULL, 1, 1, run_down },
	{ "sim status", "DIR", "its processes, addresses and apps", NULL, 1, 1,
	    run_status },
	{ "sim node", "DIR NAME",
	    "add a KMS node that the contract does not "
	    "list",
	    options_node, 2, 2, run_node },
	{ "sim start", "DIR NAME", "start one node or app", NULL, 2, 2,
	    run_start },
	{ "sim stop", "DIR NAME", "stop one (SIGTERM)", NULL, 2, 2, run_stop },
	{ "sim kill", "DIR NAME", "kill one (SIGKILL)", NULL, 2, 2, run_kill },
	{ "sim host", "DIR HOST STATE",
	    "ok, debug, out-of-date, revoked, no-sept-ve", NULL, 3, 3,
	    run_host },
	{ "sim pccs", "DIR", "serve collateral (`sim up` does it)", NULL, 1, 1,
	    run_pccs },
	{ .name = NULL },
};
