/* What nodes say of the registry of roots, and of roots that they lack. */
#include <string.h>

#include "kms/ctl/doctor.h"

static const struct {
	const char *name, *what, *help;
} troubles[] = {
	{ "root_unknown",
	    "the registry has a root for epoch %lld that no node has",
	    "whoever published it has the root before and the cluster's key, "
	    "or all disks are older than it.  If it is not in use yet: kmsctl "
	    "rotate veto.  Then an emergency rotation" },
	{ "root_not_confirmed",
	    "the second vote for epoch %lld is for another root than the "
	    "nodes'",
	    "see kmsctl rotate status for their root's hash, and confirm that "
	    "one" },
	{ "roots_lost",
	    "a majority held the roots of epoch %lld, and none of them is "
	    "heard "
	    "of",
	    "start those nodes on their disks; if these are gone: kmsctl "
	    "rotate "
	    "withdraw, and order again" },
	{ "handovers_lost",
	    "hand-over %lld is no more in the audit log, and not in the "
	    "registry",
	    "those from then on cannot be recorded; keep the nodes' audit logs "
	    "for auditors" },
};

static void
trouble(struct doctor *d, const char *node, const json_t *r)
{
	const char *name = fleet_str(r, "trouble");

	for (size_t i = 0; i < sizeof troubles / sizeof troubles[0]; i++) {
		char what[160];
		const char *rest = strstr(troubles[i].what, "%lld");

		if (strcmp(name, troubles[i].name) != 0)
			continue;
		(void)snprintf(what, sizeof what, "%.*s%lld%s",
		    (int)(rest - troubles[i].what), troubles[i].what,
		    (long long)fleet_num(r, "trouble_at"), rest + 4);
		doctor_say(d, true, node, name, "%s", what);
		doctor_do(d, "%s", troubles[i].help);
		return;
	}
}

static void
lacks(struct doctor *d, const char *node, const json_t *status)
{
	const json_t *e;
	size_t i;

	json_array_foreach(json_object_get(status, "epochs"), i, e)
	{
		const char *state = fleet_str(e, "state");

		if (json_is_boolean(json_object_get(e, "here")) &&
		    !fleet_is(e, "here") &&
		    (strcmp(state, "active") == 0 ||
			strcmp(state, "tainted") == 0)) {
			doctor_say(d, false, node, "no_roots",
			    "it has no roots of epoch %lld, which is %s",
			    (long long)fleet_num(e, "number"), state);
			doctor_do(d,
			    "it asks the other members for them; is one of "
			    "them ready, and linked to it?");
		}
	}
}

void
doctor_roots(struct doctor *d, const json_t *n)
{
	const json_t *status = json_object_get(n, "status");
	const json_t *r =
	    json_object_get(json_object_get(status, "cluster"), "registry");
	const char *node = fleet_str(n, "name");

	if (strcmp(fleet_str(status, "phase"), "ready") == 0)
		lacks(d, node, status);
	if (!json_is_object(r))
		return;
	trouble(d, node, r);
	if (fleet_str(r, "error")[0] != '\0') {
		doctor_say(d, true, node, "registry",
		    "it cannot read the registry of roots: %s",
		    fleet_str(r, "error"));
		doctor_do(d,
		    "is chain.registry_contract the registry of this KMS and "
		    "anchor, and does the chain answer?");
	}
}
