/* kmsctl nodes, kmsctl doctor: how the nodes of a cluster are. */
#include <string.h>

#include "kms/ctl/doctor.h"

/* The table, and with --json the pages behind it. */
static enum ctl_exit
run_nodes(struct ctl *c, const struct args *a)
{
	json_t *fleet = NULL, *found, *told, *n;
	bool good = true;
	enum ctl_exit rc = fleet_look(&fleet, c, a->pos, a->n_pos);
	size_t i;

	if (rc != CTL_OK)
		return rc;
	found = doctor_examine(fleet);
	told = json_pack("{s:o}", "nodes", fleet_table(fleet, found));
	json_array_foreach(json_object_get(fleet, "nodes"), i, n)
	{
		if (fleet_is(n, "listed"))
			good &= strcmp(fleet_str(json_object_get(n, "status"),
					   "phase"),
				    "ready") == 0;
	}
	if (c->json) {
		(void)json_object_set(told, "fleet", fleet);
		(void)json_object_set(told, "findings", found);
	}
	json_decref(found);
	json_decref(fleet);
	return ctl_result(c, told, good ? CTL_OK : CTL_FAILED);
}

static enum ctl_exit
run_doctor(struct ctl *c, const struct args *a)
{
	json_t *fleet = NULL, *found;
	struct contract k;
	enum ctl_exit rc = fleet_look(&fleet, c, a->pos, a->n_pos);

	if (rc == CTL_OK && (args_has(a, "rpc") || args_has(a, "anchor"))) {
		rc = contract_from_args(&k, c, a, false, false);
		if (rc == CTL_OK && !k.has_anchor)
			rc = ctl_fail(c, CTL_USAGE,
			    "which anchor? give --anchor 0xADDRESS, too");
		if (rc == CTL_OK)
			fleet_chain(fleet, &k);
	}
	if (rc != CTL_OK) {
		json_decref(fleet);
		return rc;
	}
	found = doctor_examine(fleet);
	rc = json_array_size(found) == 0 ? CTL_OK : CTL_FAILED;
	if (!c->json) {
		doctor_print(c->out, fleet, found);
		json_decref(found);
	} else {
		rc = ctl_result(c,
		    json_pack("{s:b, s:o}", "healthy", (int)(rc == CTL_OK),
			"findings", found),
		    rc);
	}
	json_decref(fleet);
	return rc;
}

static const struct args_option options_doctor[] = {
	{ "rpc", "URL", "the chain's endpoint: looks at the anchor, too" },
	CONTRACT_OPTION_ANCHOR,
	{ NULL, NULL, NULL },
};

const struct ctl_command cmd_nodes[] = {
	{ "nodes", "URL...|DIR", "the nodes of a cluster, one line each", NULL,
	    1, ARGS_POS_MAX, run_nodes },
	{ "doctor", "URL...|DIR", "what is wrong, and what to do",
	    options_doctor, 1, ARGS_POS_MAX, run_doctor },
	{ .name = NULL },
};
