/* kmsctl checkin status: who has checked in on chain, and until when that is
 * good. */
#include <string.h>

#include "common/base/hex.h"
#include "common/eth/abi.h"
#include "kms/ctl/calls.h"
#include "kms/ctl/fleet.h"

static const struct args_option options_status[] = {
	{ "rpc", "URL", "ask the chain for each batch, too" },
	{ NULL, NULL, NULL },
};

/* What the contract has of it: its time, null if it has it not; or why there
 * is no answer. */
static json_t *
on_chain(const struct contract *k, const json_t *l)
{
	const char *batch = fleet_str(json_object_get(l, "found"), "batch");
	struct buf call = { 0 }, answer = { 0 };
	struct refusal why = { .code = REASON_NONE };
	uint8_t contract[20], hash[32];
	json_t *told = NULL;
	uint64_t t;

	if (hex_fixed(contract, 20, fleet_str(l, "contract")) != ERR_OK ||
	    hex_fixed(hash, 32, batch) != ERR_OK)
		return json_null();
	if (calls_bytes32(&call, CALL_CHECKED_IN_AT, hash) != ERR_OK ||
	    contract_call(&answer, k, contract, buf_view(&call), &why) !=
		ERR_OK)
		told = json_sprintf("? %s", reason_text(why.code));
	else if (abi_get_u64(&t, buf_view(&answer)) != ERR_OK)
		told = json_string("? no such contract");
	else
		told = t != 0 ? json_integer((json_int_t)t) : json_null();
	buf_fini(&call);
	buf_fini(&answer);
	return told;
}

static json_t *
row(const json_t *n, const struct contract *k)
{
	const json_t *s = json_object_get(n, "status");
	const json_t *l =
	    json_object_get(json_object_get(s, "cluster"), "lease");
	const json_t *found = json_object_get(l, "found");
	const char *state = !json_is_object(s) ? "does not answer"
	    : !json_is_object(l)               ? "needs none"
	    : fleet_is(l, "good")              ? "good"
					       : "over";
	json_t *o = json_pack(
	    "{s:s, s:s}", "node", fleet_str(n, "name"), "lease", state);

	if (o == NULL || !json_is_object(l))
		return o;
	(void)json_object_set_new(
	    o, "left_s", json_integer(fleet_num(l, "left_s")));
	(void)json_object_set_new(o, "block",
	    json_is_object(found)
		? json_integer(fleet_num(found, "block_number"))
		: json_null());
	(void)json_object_set_new(
	    o, "releases", json_integer(fleet_num(l, "releases")));
	(void)json_object_set_new(
	    o, "renewed", json_integer(fleet_num(l, "renewed")));
	(void)json_object_set_new(
	    o, "brought", json_integer(fleet_num(l, "sent")));
	(void)json_object_set_new(
	    o, "failed", json_integer(fleet_num(l, "send_failures")));
	if (k != NULL)
		(void)json_object_set_new(o, "on_chain", on_chain(k, l));
	return o;
}

static enum ctl_exit
run_status(struct ctl *c, const struct args *a)
{
	json_t *fleet = NULL, *list, *n;
	struct contract k = { .chain_id = 0 };
	bool ask = args_has(a, "rpc"), good = true;
	enum ctl_exit rc = fleet_look(&fleet, c, a->pos, a->n_pos);
	size_t i;

	if (rc == CTL_OK && ask)
		rc = contract_from_args(&k, c, a, false, false);
	if (rc != CTL_OK) {
		json_decref(fleet);
		return rc;
	}
	list = json_array();
	json_array_foreach(json_object_get(fleet, "nodes"), i, n)
	{
		json_t *r = row(n, ask ? &k : NULL);

		good &= strcmp(fleet_str(r, "lease"), "good") == 0 ||
		    strcmp(fleet_str(r, "lease"), "needs none") == 0;
		(void)json_array_append_new(list, r);
	}
	json_decref(fleet);
	return ctl_result(
	    c, json_pack("{s:o}", "nodes", list), good ? CTL_OK : CTL_FAILED);
}

const struct ctl_command cmd_checkin[] = {
	{ "checkin status", "URL...|DIR",
	    "who has checked in on chain, and until when that is good",
	    options_status, 1, ARGS_POS_MAX, run_status },
	{ .name = NULL },
};
