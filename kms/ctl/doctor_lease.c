/* Whether nodes check in on chain, and what it means if one does not. */
#include <string.h>

#include "kms/ctl/doctor.h"

static const json_t *
lease_of(const json_t *node)
{
	return json_object_get(
	    json_object_get(json_object_get(node, "status"), "cluster"),
	    "lease");
}

/* Another node that checks in, and is renewed. */
static bool
another(const struct doctor *d, const json_t *but, bool good)
{
	const json_t *n;
	size_t i;

	json_array_foreach(json_object_get(d->fleet, "nodes"), i, n)
	{
		const json_t *l = lease_of(n);

		if (n != but && json_is_object(l) &&
		    (!good || fleet_is(l, "good")))
			return true;
	}
	return false;
}

/* Nobody's batch came through: that is about the account, or the chain. */
static void
nobody_renewed(struct doctor *d, const json_t *l)
{
	const char *error = fleet_str(l, "error");
	char where[256];

	if (error[0] != '\0')
		doctor_do(d,
		    "the last attempt said: %s (%s).  Has the cluster's "
		    "account ether (kmsctl anchor status %s), and do the "
		    "endpoints take transactions?",
		    reason_text(reason_from_label(error)), error,
		    doctor_where(d, true, where, sizeof where));
	else
		doctor_do(d,
		    "is there a leader, and is checkin.contract the same on "
		    "all nodes?  It goes on by itself once a batch is final");
}

static void
over(struct doctor *d, const json_t *n, const json_t *l, const char *name)
{
	json_int_t left = fleet_num(l, "left_s");

	if (fleet_num(l, "releases") >= fleet_num(l, "max_releases") &&
	    left > 0) {
		doctor_say(d, true, name, "lease",
		    "it gives no keys: %lld releases since its last check-in "
		    "are as many as it may",
		    (long long)fleet_num(l, "releases"));
		doctor_do(d,
		    "if so many apps are yours, raise checkin.max_releases or "
		    "shorten checkin.period_s");
		return;
	}
	doctor_say(d, true, name, "lease",
	    "it gives no keys: it has not checked in on chain lately (%s)",
	    fleet_str(l, "why"));
	if (!another(d, n, true)) {
		nobody_renewed(d, l);
		return;
	}
	doctor_do(d,
	    "others are renewed, so it is shown an old chain, or cut off from "
	    "the leader: compare its block %lld with theirs, take other "
	    "endpoints (chain.rpc), and ask who runs its host",
	    (long long)fleet_num(
		json_object_get(json_object_get(n, "status"), "chain"),
		"block_number"));
}

void
doctor_lease(struct doctor *d, const json_t *n)
{
	const json_t *l = lease_of(n);
	const char *name = fleet_str(n, "name");
	const char *phase = fleet_str(json_object_get(n, "status"), "phase");

	if (strcmp(phase, "ready") != 0 && strcmp(phase, "checkin") != 0)
		return;
	if (!json_is_object(l)) {
		if (!another(d, n, false))
			return;
		doctor_say(d, true, name, "lease",
		    "it gives keys without checking in on chain; others do "
		    "check in");
		doctor_do(d, "give it the same checkin section (kmsd.yaml)");
		return;
	}
	if (!fleet_is(l, "good")) {
		over(d, n, l, name);
	} else if (fleet_num(l, "left_s") < fleet_num(l, "lease_s") / 2) {
		doctor_say(d, false, name, "lease",
		    "it has not been renewed for long: %lld s are left, then "
		    "it gives no keys",
		    (long long)fleet_num(l, "left_s"));
		nobody_renewed(d, l);
	}
}
