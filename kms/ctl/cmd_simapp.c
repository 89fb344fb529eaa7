/* kmsctl sim app ...: apps of a simulated cluster and their replicas. */
#include <signal.h>
#include <string.h>

#include "common/base/hex.h"
#include "kms/ctl/admin.h"
#include "kms/ctl/cmd_sim.h"
#include "kms/ctl/lab_recover.h"
#include "kms/ctl/lab_run.h"
#include "node/tee/simhost.h"

#define SUN_PATH_MAX 107
#define BOOT_DEADLINE_S 60
#define ANSWER_MS 3000
#define HOSTS_MAX LAB_APPS_MAX

/* ---- what is told of one ---- */

static void
put_hex(json_t *v, const char *key, const uint8_t p[static 32])
{
	char hex[67] = "0x";

	hex_encode(hex + 2, p, 32);
	(void)json_object_set_new(v, key, json_string(hex));
}

static void
put_pages(json_t *v, const struct lab_app *a)
{
	char url[CONTRACT_URL_MAX];

	lab_pages_url(url, a);
	(void)json_object_set_new(v, "pages", json_string(url));
}

static json_t *
app_json(const struct lab *l, const struct lab_app *app)
{
	char socket[LAB_PATH_MAX];
	json_t *v = json_pack(
	    "{s:s, s:o}", "app", app->name, "app_id", sim_address(app->app_id));

	lab_path(socket, l, "apps/%s/dstack.sock", app->name);
	put_hex(v, "compose_hash", app->compose_hash);
	(void)json_object_set_new(v, "socket", json_string(socket));
	put_pages(v, app);
	return v;
}

/* The instance id is the agent's to tell; "" while it does not run. */
static json_t *
instance_of(const char *socket)
{
	json_t *rq = json_object(), *v = NULL, *id = NULL;
	const char *s;

	if (rq != NULL &&
	    admin_agent(&v, socket, "Info", rq, ANSWER_MS, false) == ERR_OK &&
	    json_get_str(&s, v, "instance_id") == ERR_OK)
		id = json_string(s);
	json_decref(v);
	json_decref(rq);
	return id != NULL ? id : json_string("");
}

static json_t *
cvm_row(const struct lab *l, const struct lab_app *a, const char *reason)
{
	char socket[LAB_PATH_MAX], state[LAB_REASON_MAX + 16] = "stopped";
	bool runs = lab_runs(l, a->name, NULL);
	uint8_t device[32];
	json_t *v;

	lab_path(socket, l, "apps/%s/dstack.sock", a->name);
	if (runs)
		(void)snprintf(state, sizeof state, "running");
	else if (reason != NULL && reason[0] != '\0')
		(void)snprintf(state, sizeof state, "refused (%s)", reason);
	v = json_pack("{s:s, s:s, s:o, s:s, s:s, s:o, s:s}", "name", a->name,
	    "app", a->of[0] != '\0' ? a->of : a->name, "app_id",
	    sim_address(a->app_id), "state", state, "host", a->host,
	    "instance_id", runs ? instance_of(socket) : json_string(""),
	    "socket", socket);
	if (lab_app_device(device, l, a->host) == ERR_OK)
		put_hex(v, "device_id", device);
	put_pages(v, a);
	return v;
}

enum ctl_exit
sim_start_app(
    const struct ctl *c, const struct lab *l, const struct lab_app *app)
{
	char reason[LAB_REASON_MAX];
	enum ctl_exit rc = lab_start_agent(c, l, app, reason);

	return rc == CTL_OK ? ctl_result(c, app_json(l, app), CTL_OK) : rc;
}

/* ---- sim app ---- */

/* Names with commas between them, cut apart in `text`. */
struct names {
	char text[HOSTS_MAX * (SIM_NAME_MAX + 1)];
	const char *at[HOSTS_MAX];
	unsigned n;
};

static enum ctl_exit
names_from(struct names *out, const struct ctl *c, const char *option,
    const char *text)
{
	out->n = 0;
	if (text == NULL)
		return CTL_OK;
	if (strlen(text) >= sizeof out->text)
		return ctl_fail(c, CTL_USAGE, "--%s: too long", option);
	memcpy(out->text, text, strlen(text) + 1);
	for (char *p = out->text, *next; p != NULL; p = next) {
		if ((next = strchr(p, ',')) != NULL)
			*next++ = '\0';
		if (out->n == HOSTS_MAX || !sim_name_ok(p))
			return ctl_fail(c, CTL_USAGE,
			    "--%s: names of machines with commas between, at "
			    "most %d",
			    option, HOSTS_MAX);
		out->at[out->n++] = p;
	}
	return CTL_OK;
}

struct plan {
	struct lab_app_wishes w;
	struct names hosts, devices;
	/* Where each replica runs; a machine of its own if none is named. */
	const char *host[HOSTS_MAX];
	char own[HOSTS_MAX][LAB_NAME_MAX];
	unsigned n;
};

static enum ctl_exit
plan_replicas(struct plan *p, const struct ctl *c, const struct args *a)
{
	const char *text = args_get(a, "replicas");
	uint64_t n = p->hosts.n > 0 ? p->hosts.n : 1;

	if (text != NULL &&
	    (args_u64(&n, text, HOSTS_MAX) != ERR_OK || n < p->hosts.n ||
		n == 0))
		return ctl_fail(c, CTL_USAGE,
		    "--replicas: 1 to %d, and one for each --host", HOSTS_MAX);
	p->n = (unsigned)n;
	for (unsigned i = 0; i < p->n; i++) {
		int k = i == 0 ? snprintf(p->own[i], LAB_NAME_MAX, "app0")
			       : snprintf(p->own[i], LAB_NAME_MAX, "%s-%u",
				     p->w.name, i + 1);

		if (k < 0 || k >= LAB_NAME_MAX)
			return ctl_fail(c, CTL_USAGE,
			    "%.60s: too long for replicas", p->w.name);
		p->host[i] = i < p->hosts.n ? p->hosts.at[i] : p->own[i];
	}
	return CTL_OK;
}

static enum ctl_exit
plan_from(struct plan *p, const struct ctl *c, const struct args *a)
{
	const char *image = args_get(a, "image"),
		   *deadline = args_get(a, "boot-deadline");
	uint64_t seconds = BOOT_DEADLINE_S;
	enum ctl_exit rc;

	p->w = (struct lab_app_wishes){ .name = a->pos[1],
		.image = image != NULL ? image : "app",
		.compose = args_get(a, "compose"),
		.any_device = args_has(a, "any-device"),
		.registered = !args_has(a, "no-register") };
	if (!sim_name_ok(p->w.image))
		return ctl_fail(c, CTL_USAGE, "--image is a name");
	if (deadline != NULL && args_u64(&seconds, deadline, 86400) != ERR_OK)
		return ctl_fail(c, CTL_USAGE, "--boot-deadline: seconds");
	p->w.boot_deadline_s = (unsigned)seconds;
	if ((rc = names_from(&p->hosts, c, "host", args_get(a, "host"))) !=
		CTL_OK ||
	    (rc = names_from(&p->devices, c, "devices",
		 args_get(a, "devices"))) != CTL_OK ||
	    (rc = plan_replicas(p, c, a)) != CTL_OK)
		return rc;
	if (p->w.any_device && p->devices.n > 0)
		return ctl_fail(c, CTL_USAGE,
		    "--any-device and --devices exclude each other");
	p->w.host = p->host[0];
	p->w.device = p->devices.n > 0 ? p->devices.at : p->host;
	p->w.n_devices = p->devices.n > 0 ? p->devices.n : p->n;
	return CTL_OK;
}

static enum ctl_exit
path_fits(const struct ctl *c, const struct lab *l, const char *name)
{
	if (strlen(l->dir) + strlen("/apps//dstack.sock") + strlen(name) <=
	    SUN_PATH_MAX)
		return CTL_OK;
	return ctl_fail(c, CTL_USAGE,
	    "the socket's path would be over %d bytes; use a shorter folder",
	    SUN_PATH_MAX);
}

/* Starts the app's CVMs one after the other; one that is refused is told, and
 * keeps none of the others from starting. */
static enum ctl_exit
start_all(const struct ctl *c, struct lab *l, const char *app)
{
	json_t *rows = json_array(), *told;
	enum ctl_exit rc = CTL_OK, one;
	const struct ctl quiet = {
		.json = false, .out = c->out, .log = c->log
	};

	for (unsigned i = 0; i < l->n_apps; i++) {
		const struct lab_app *a = &l->app[i];
		char reason[LAB_REASON_MAX] = "";

		if (strcmp(a->name, app) != 0 && strcmp(a->of, app) != 0)
			continue;
		one = lab_start_agent(&quiet, l, a, reason);
		if (one != CTL_OK)
			rc = one;
		(void)json_array_append_new(rows, cvm_row(l, a, reason));
	}
	told = app_json(l, lab_find_app(l, app));
	(void)json_object_set_new(told, "replicas", rows);
	return ctl_result(c, told, rc);
}

static enum ctl_exit
run_app(struct ctl *c, const struct args *a)
{
	struct lab_app *app;
	struct lab *l = NULL;
	struct plan p;
	enum ctl_exit rc;

	if ((rc = plan_from(&p, c, a)) != CTL_OK ||
	    (rc = sim_open(&l, c, a->pos[0], true)) != CTL_OK)
		return rc;
	if ((rc = sim_check_name(c, l, p.w.name)) != CTL_OK)
		goto done;
	/* The longest of its names. */
	rc = path_fits(c, l, p.n > 1 ? p.own[p.n - 1] : p.w.name);
	if (rc != CTL_OK)
		goto done;
	rc = lab_app_make(&app, c, l, &p.w);
	for (unsigned i = 1; rc == CTL_OK && i < p.n; i++)
		rc = lab_app_replica(
		    &app, c, l, p.w.name, p.host[i], p.w.boot_deadline_s);
	if (rc == CTL_OK)
		rc = p.n == 1 ? sim_start_app(c, l, app)
			      : start_all(c, l, p.w.name);
done:
	lab_free(l);
	return rc;
}

/* ---- more of one, and what there is ---- */

static enum ctl_exit
run_replica(struct ctl *c, const struct args *a)
{
	const char *host = args_get(a, "host"), *of = a->pos[1];
	char name[LAB_NAME_MAX];
	struct lab_app *first, *app;
	struct lab *l = NULL;
	enum ctl_exit rc;

	if (host != NULL && !sim_name_ok(host))
		return ctl_fail(c, CTL_USAGE, "--host is a name");
	if ((rc = sim_open(&l, c, a->pos[0], true)) != CTL_OK)
		return rc;
	first = lab_find_app(l, of);
	if (first == NULL || first->of[0] != '\0')
		rc = ctl_fail(c, CTL_USAGE, "%.60s: no such app", of);
	else if (lab_app_next_name(name, l, of) != ERR_OK)
		rc = ctl_fail(c, CTL_USAGE, "%.60s: too long for replicas", of);
	else
		rc = path_fits(c, l, name);
	if (rc != CTL_OK)
		goto done;
	if (host == NULL)
		host = name;
	if (args_has(a, "allow"))
		rc = lab_app_allow(c, l, first, host);
	if (rc == CTL_OK)
		rc = lab_app_replica(&app, c, l, of, host, BOOT_DEADLINE_S);
	if (rc == CTL_OK)
		rc = sim_start_app(c, l, app);
done:
	lab_free(l);
	return rc;
}

static enum ctl_exit
run_apps(struct ctl *c, const struct args *a)
{
	struct lab *l = NULL;
	enum ctl_exit rc = sim_open(&l, c, a->pos[0], false);
	json_t *rows;

	if (rc != CTL_OK)
		return rc;
	rows = json_array();
	for (unsigned i = 0; i < l->n_apps; i++)
		(void)json_array_append_new(rows, cvm_row(l, &l->app[i], NULL));
	rc = ctl_result(c, json_pack("{s:o}", "apps", rows), CTL_OK);
	lab_free(l);
	return rc;
}

static enum ctl_exit
run_restart(struct ctl *c, const struct args *a)
{
	const char *name = a->pos[1];
	struct lab *l = NULL;
	enum ctl_exit rc = sim_open(&l, c, a->pos[0], true);
	const struct lab_node *n;
	const struct lab_app *app;

	if (rc != CTL_OK)
		return rc;
	n = lab_find_node(l, name);
	app = lab_find_app(l, name);
	if (n == NULL && app == NULL)
		rc = ctl_fail(c, CTL_USAGE, "%.60s: no such node or app", name);
	else
		rc = lab_stop(c, l, name, SIGTERM);
	if (rc == CTL_OK && app != NULL)
		rc = sim_start_app(c, l, app);
	else if (rc == CTL_OK && (rc = lab_start_node(c, l, n)) == CTL_OK &&
	    (!n->listed || (rc = lab_await_ready(c, l, n)) == CTL_OK))
		rc = ctl_result(c, json_pack("{s:s}", "started", name), CTL_OK);
	lab_free(l);
	return rc;
}

static enum ctl_exit
run_remove(struct ctl *c, const struct args *a)
{
	const char *name = a->pos[1];
	struct lab *l = NULL;
	enum ctl_exit rc = sim_open(&l, c, a->pos[0], true);

	if (rc != CTL_OK)
		return rc;
	if (lab_find_app(l, name) == NULL)
		rc = ctl_fail(c, CTL_USAGE, "%.60s: no such app", name);
	for (unsigned i = 0; rc == CTL_OK && i < l->n_apps; i++)
		if (strcmp(l->app[i].name, name) == 0 ||
		    strcmp(l->app[i].of, name) == 0)
			rc = lab_stop(c, l, l->app[i].name, SIGTERM);
	if (rc == CTL_OK && (rc = lab_app_remove(c, l, name)) == CTL_OK)
		rc = ctl_result(c, json_pack("{s:s}", "removed", name), CTL_OK);
	lab_free(l);
	return rc;
}

static const struct args_option options_app[] = {
	{ "host", "A,B",
	    "the machine of each replica (default app0, own ones)" },
	{ "replicas", "K", "that many CVMs (default 1)" },
	{ "devices", "A,B", "machines that its contract lists (default: its)" },
	{ "any-device", NULL, "its contract allows every machine" },
	{ "image", "NAME", "the OS image (default app)" },
	{ "compose", "FILE", "its app-compose.json" },
	{ "no-register", NULL, "no app contract" },
	{ "boot-deadline", "S", "the agent gives up then (default 60)" },
	{ NULL, NULL, NULL },
};
static const struct args_option options_replica[] = {
	{ "host", "NAME", "the machine (default: one of its own)" },
	{ "allow", NULL, "have the app's contract list that machine" },
	{ NULL, NULL, NULL },
};

const struct ctl_command cmd_simapp[] = {
	{ "sim app", "DIR NAME", "add an app and start it", options_app, 2, 2,
	    run_app },
	{ "sim apps", "DIR", "its apps and their replicas", NULL, 1, 1,
	    run_apps },
	{ "sim replica", "DIR APP", "add one more CVM of an app",
	    options_replica, 2, 2, run_replica },
	{ "sim restart", "DIR NAME", "stop and start one node or app CVM", NULL,
	    2, 2, run_restart },
	{ "sim remove", "DIR NAME",
	    "an app with its replicas, or one replica; its contract stays",
	    NULL, 2, 2, run_remove },
	{ .name = NULL },
};
