/* kmsctl status: one node, or all of a simulated cluster. */
#include <string.h>
#include <sys/stat.h>

#include "kms/ctl/admin.h"
#include "kms/ctl/ctl.h"
#include "kms/ctl/lab.h"

#define TIMEOUT_MS 5000

static enum ctl_exit
one_node(struct ctl *c, const char *url)
{
	const char *phase = "";
	json_t *v = NULL;
	enum err e = admin_get(&v, url, "/status", TIMEOUT_MS);

	if (e == ERR_MALFORMED)
		return ctl_fail(c, CTL_FAILED, "%s: not a KMS node", url);
	if (e != ERR_OK)
		return ctl_fail(c, CTL_UNREACHABLE,
		    "%s: %s; is this the admin address of a running node?", url,
		    err_text(e));
	(void)json_get_str(&phase, v, "phase");
	return ctl_result(
	    c, v, strcmp(phase, "ready") == 0 ? CTL_OK : CTL_FAILED);
}

/* text_at returns the text at obj[a][b] ("b" may be NULL), or "-". */
static const char *
text_at(const json_t *obj, const char *a, const char *b)
{
	const json_t *v = json_object_get(obj, a);

	if (b != NULL)
		v = json_object_get(v, b);
	return json_is_string(v) ? json_string_value(v) : "-";
}

/* One row of the table; `ready` is cleared if this node is not. */
static json_t *
row(const struct lab *l, const struct lab_node *n, bool *ready)
{
	char url[CONTRACT_URL_MAX], pid_path[LAB_PATH_MAX];
	const char *phase = "down", *why = "-";
	size_t connected = 0, i;
	json_t *v = NULL, *p, *r;
	bool alive;

	lab_admin_url(url, n);
	lab_pid_path(pid_path, l, n->name);
	alive = admin_get(&v, url, "/status", TIMEOUT_MS) == ERR_OK;
	if (alive) {
		phase = text_at(v, "phase", NULL);
		why = text_at(v, "self", "reason");
		if (strcmp(why, "-") == 0)
			why = text_at(v, "chain", "error");
	}
	json_array_foreach(json_object_get(v, "peers"), i, p) connected +=
	    json_is_true(json_object_get(p, "connected"));
	if (strcmp(phase, "ready") != 0)
		*ready = false;
	r = json_pack("{s:s, s:s, s:I, s:I, s:I, s:s, s:s}", "node", n->name,
	    "phase", phase, "peers", (json_int_t)connected, "block",
	    (json_int_t)json_integer_value(
		json_object_get(json_object_get(v, "chain"), "block_number")),
	    "releases",
	    (json_int_t)json_integer_value(json_object_get(v, "releases")),
	    "admin", url, "trouble", why);
	json_decref(v);
	return r;
}

static enum ctl_exit
whole_lab(struct ctl *c, const char *dir)
{
	char why[LAB_WHY_MAX], url[CONTRACT_URL_MAX], hex[ACCOUNT_ADDRESS_TEXT],
	    anchor[ACCOUNT_ADDRESS_TEXT];
	json_t *nodes = json_array();
	struct lab *l = NULL;
	bool ready = true;
	enum ctl_exit rc;

	if (lab_load(&l, dir, why) != ERR_OK) {
		json_decref(nodes);
		return ctl_fail(c, CTL_USAGE, "%s", why);
	}
	for (unsigned i = 0; i < l->n_nodes; i++) {
		/* A node that nobody allowed is not expected to be ready. */
		bool unused = true;

		(void)json_array_append_new(nodes,
		    row(l, &l->node[i], l->node[i].listed ? &ready : &unused));
	}
	lab_rpc_url(url, l);
	account_address_text(hex, l->kms);
	account_address_text(anchor, l->anchor);
	rc = ctl_result(c,
	    json_pack("{s:b, s:s, s:s, s:s, s:o}", "ready", (int)ready, "rpc",
		url, "kms_contract", hex, "anchor_contract", anchor, "nodes",
		nodes),
	    ready ? CTL_OK : CTL_FAILED);
	lab_free(l);
	return rc;
}

static enum ctl_exit
run_status(struct ctl *c, const struct args *a)
{
	struct stat st;

	if (strncmp(a->pos[0], "http://", 7) == 0 ||
	    strncmp(a->pos[0], "https://", 8) == 0)
		return one_node(c, a->pos[0]);
	if (stat(a->pos[0], &st) == 0 && S_ISDIR(st.st_mode))
		return whole_lab(c, a->pos[0]);
	return ctl_fail(c, CTL_USAGE,
	    "%.200s: must be http://ADDRESS:PORT of a node's admin listener, "
	    "or the folder of a simulated cluster",
	    a->pos[0]);
}

const struct ctl_command cmd_status[] = {
	{ "status", "URL|DIR", "a node, or all of a simulated cluster", NULL, 1,
	    1, run_status },
	{ .name = NULL },
};
