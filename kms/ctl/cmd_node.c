/* kmsctl node ...: what operators order a node, or about one. */
#include <string.h>

#include "common/base/name.h"
#include "kms/ctl/admin.h"
#include "kms/ctl/fleet.h"

#define ANSWER_MS 5000
#define LEAVE_MS 30000
#define REMOVE_MS 120000
#define ANCHOR_MS 120000

static enum ctl_exit
look(json_t **out, const struct ctl *c, const char *url)
{
	enum err e = admin_get(out, url, "/status", ANSWER_MS);

	if (e == ERR_OK)
		return CTL_OK;
	return ctl_fail(c, e == ERR_MALFORMED ? CTL_FAILED : CTL_UNREACHABLE,
	    "%.200s: %s; is this the admin address of a running node?", url,
	    err_text(e));
}

/* Whether the others are a majority of the seats without one voter. */
static bool
enough_without_one(const json_t *cluster, json_int_t seats)
{
	return fleet_num(cluster, "voters") - 1 >= seats / 2 + 1;
}

/* ---- drain ---- */

static enum ctl_exit
run_drain(struct ctl *c, const struct args *a)
{
	struct ctl_wait w;
	json_t *v = NULL, *now;
	const json_t *cluster;
	char name[SLOT_MAX], life[70];
	enum ctl_exit rc = look(&v, c, a->pos[0]);
	enum err e;

	if (rc != CTL_OK)
		return rc;
	cluster = json_object_get(v, "cluster");
	(void)snprintf(name, sizeof name, "%s", fleet_str(v, "slot"));
	(void)snprintf(life, sizeof life, "%s", fleet_str(v, "incarnation"));
	if (strcmp(fleet_str(cluster, "phase"), "member") == 0 &&
	    !enough_without_one(cluster, fleet_num(cluster, "seats")) &&
	    !args_has(a, "force"))
		rc = ctl_fail(c, CTL_FAILED,
		    "%s is one of %lld voters for %lld seats: without it they "
		    "are too few; start others first (or --force)",
		    name, (long long)fleet_num(cluster, "voters"),
		    (long long)fleet_num(cluster, "seats"));
	json_decref(v);
	if (rc != CTL_OK)
		return rc;
	if ((e = admin_post(a->pos[0], "/drain", ANSWER_MS)) != ERR_OK)
		return ctl_fail(c, CTL_UNREACHABLE, "%.200s/drain: %s",
		    a->pos[0], err_text(e));
	w = ctl_wait(c, "the node to leave", LEAVE_MS);
	for (;;) {
		bool left;

		now = NULL;
		/* Its process ends when it has left; something may have
		 * started another life there at once. */
		e = admin_get(&now, a->pos[0], "/status", ANSWER_MS);
		left = e == ERR_IO ||
		    (e == ERR_OK &&
			(strcmp(fleet_str(now, "incarnation"), life) != 0 ||
			    strcmp(fleet_str(now, "phase"), "halted") == 0));
		json_decref(now);
		if (left)
			return ctl_result(c,
			    json_pack("{s:s, s:s}", "left", name, "incarnation",
				life),
			    CTL_OK);
		if (!ctl_wait_more(&w))
			return ctl_fail(c, CTL_FAILED,
			    "%s has not left after %d s; see its log", name,
			    LEAVE_MS / 1000);
	}
}

/* ---- remove ---- */

static bool
seated(const struct anchor_state *s, const char *slot)
{
	for (unsigned i = 0; i < s->v.n_seats; i++)
		if (strcmp(s->v.seat[i].slot, slot) == 0)
			return true;
	return false;
}

/* What speaks against it. */
static enum ctl_exit
may_remove(const struct ctl *c, const struct args *a, const char *slot,
    const struct anchor_state *s, const json_t *fleet)
{
	const json_t *best = fleet_best(fleet);
	const json_t *row = fleet_row(best, slot);
	bool votes = strcmp(fleet_str(row, "role"), "voter") == 0 ||
	    strcmp(fleet_str(row, "role"), "leader") == 0;
	json_int_t voters =
	    fleet_num(json_object_get(best, "cluster"), "voters") - votes;
	json_int_t seats = (json_int_t)s->v.n_seats - 1;

	if (!seated(s, slot))
		return ctl_fail(
		    c, CTL_FAILED, "%s: there is no such seat", slot);
	if (seats == 0)
		return ctl_fail(c, CTL_FAILED,
		    "%s is the last seat: without any, no node may be a "
		    "member",
		    slot);
	if (best == NULL)
		return ctl_fail(c, CTL_UNREACHABLE, "no node answers there");
	if (voters < seats / 2 + 1 && !args_has(a, "force"))
		return ctl_fail(c, CTL_FAILED,
		    "%lld voters would be left for %lld seats, too few; start "
		    "others first (or --force)",
		    (long long)voters, (long long)seats);
	return CTL_OK;
}

static enum ctl_exit
take_seat(const struct ctl *c, const struct contract *k, const char *slot,
    uint64_t *block)
{
	struct refusal why = { .code = REASON_NONE };
	struct contract_tx tx = { 0 };
	enum err e = anchorabi_remove_seat(&tx.data, slot);

	memcpy(tx.to, k->anchor, sizeof tx.to);
	if (e == ERR_OK)
		e = contract_send(c, k, &tx, 1, &why);
	*block = tx.receipt.block_number;
	contract_tx_fini(&tx);
	return e == ERR_OK ? CTL_OK : ctl_denied(c, "anchor", e, &why);
}

/* Gone: a member that answers knows nobody in that slot any more. */
static enum ctl_exit
await_gone(
    struct ctl *c, const char *const where[], unsigned n, const char *slot)
{
	struct ctl_wait w = ctl_wait(c, "the cluster to let it go", REMOVE_MS);

	for (;;) {
		json_t *fleet = NULL;
		const json_t *row, *best;
		enum ctl_exit rc = fleet_look(&fleet, c, where, n);
		const char *role;
		bool gone;

		if (rc != CTL_OK)
			return rc;
		best = fleet_best(fleet);
		row = fleet_row(best, slot);
		role = fleet_str(row, "role");
		gone = best != NULL &&
		    strcmp(fleet_str(best, "slot"), slot) != 0 &&
		    fleet_leads(best) && !fleet_is(row, "seated") &&
		    (row == NULL || strcmp(role, "absent") == 0 ||
			strcmp(role, "offers") == 0);
		json_decref(fleet);
		if (gone)
			return CTL_OK;
		if (!ctl_wait_more(&w))
			return ctl_fail(c, CTL_FAILED,
			    "the seat is taken on chain, but after %d s the "
			    "leader still counts %s (did one of the nodes "
			    "given lead?)",
			    REMOVE_MS / 1000, slot);
	}
}

static enum ctl_exit
run_remove(struct ctl *c, const struct args *a)
{
	const char *slot = a->pos[0], *sim = args_get(a, "sim"),
		   *where[ARGS_POS_MAX];
	struct refusal why = { .code = REASON_NONE };
	struct anchor_state s;
	json_t *fleet = NULL;
	struct contract k;
	unsigned n = 0;
	uint64_t block = 0;
	enum ctl_exit rc;
	enum err e;

	for (unsigned i = 1; i < a->n_pos; i++)
		where[n++] = a->pos[i];
	if (n == 0 && sim != NULL)
		where[n++] = sim;
	if (!name_ok(slot, SLOT_MAX))
		return ctl_fail(c, CTL_USAGE,
		    "%.60s: a slot is 1 to 31 printable characters without "
		    "space, '/' and '#'",
		    slot);
	if (n == 0)
		return ctl_fail(c, CTL_USAGE,
		    "which cluster? give the admin addresses of its nodes, or "
		    "--sim DIR");
	if ((rc = contract_from_args(&k, c, a, true, false)) != CTL_OK)
		return rc;
	if (!k.has_anchor)
		return ctl_fail(c, CTL_USAGE,
		    "which anchor? give --anchor 0xADDRESS, or --sim DIR");
	if ((e = contract_anchor(&s, &k, &why)) != ERR_OK)
		return ctl_denied(c, "anchor", e, &why);
	if ((rc = fleet_look(&fleet, c, where, n)) != CTL_OK)
		return rc;
	rc = may_remove(c, a, slot, &s, fleet);
	json_decref(fleet);
	if (rc != CTL_OK || (rc = take_seat(c, &k, slot, &block)) != CTL_OK ||
	    (rc = await_gone(c, where, n, slot)) != CTL_OK)
		return rc;
	return ctl_result(c,
	    json_pack(
		"{s:s, s:I}", "removed", slot, "block", (json_int_t)block),
	    CTL_OK);
}

/* ---- anchor ---- */

static bool
is_anchored(const json_t *status, json_int_t generation, json_int_t index)
{
	const json_t *at =
	    json_object_get(json_object_get(status, "cluster"), "anchor");

	return fleet_num(at, "generation") == generation &&
	    fleet_num(at, "index") >= index;
}

static enum ctl_exit
run_anchor(struct ctl *c, const struct args *a)
{
	struct ctl_wait w;
	json_t *v = NULL;
	const json_t *cluster;
	json_int_t generation, index;
	enum ctl_exit rc = look(&v, c, a->pos[0]);
	enum err e;

	if (rc != CTL_OK)
		return rc;
	cluster = json_object_get(v, "cluster");
	generation = fleet_num(cluster, "generation");
	index = fleet_num(cluster, "commit");
	if (!fleet_leads(v))
		rc = ctl_fail(c, CTL_FAILED,
		    "only the leader anchors; that is %s",
		    fleet_str(cluster, "leader")[0] != '\0'
			? fleet_str(cluster, "leader")
			: "nobody");
	json_decref(v);
	if (rc != CTL_OK)
		return rc;
	if ((e = admin_post(a->pos[0], "/checkpoint", ANSWER_MS)) != ERR_OK)
		return ctl_fail(c, CTL_UNREACHABLE, "%.200s/checkpoint: %s",
		    a->pos[0], err_text(e));
	w = ctl_wait(c, "the anchor on chain", ANCHOR_MS);
	for (;;) {
		bool done;

		v = NULL;
		if ((rc = look(&v, c, a->pos[0])) != CTL_OK)
			return rc;
		done = is_anchored(v, generation, index);
		cluster = json_object_get(v, "cluster");
		rc = !done && !fleet_leads(v)
		    ? ctl_fail(c, CTL_FAILED,
			  "it does not lead any more; ask %s",
			  fleet_str(cluster, "leader"))
		    : CTL_OK;
		index = done
		    ? fleet_num(json_object_get(cluster, "anchor"), "index")
		    : index;
		json_decref(v);
		if (rc != CTL_OK)
			return rc;
		if (done)
			return ctl_result(c,
			    json_pack("{s:I, s:I}", "generation", generation,
				"index", index),
			    CTL_OK);
		if (!ctl_wait_more(&w))
			return ctl_fail(c, CTL_FAILED,
			    "not anchored after %d s; can the leader reach the "
			    "chain, and pay? (kmsctl doctor)",
			    ANCHOR_MS / 1000);
	}
}

static const struct args_option options_drain[] = {
	{ "force", NULL, "even if too few voters are left" },
	{ NULL, NULL, NULL },
};
static const struct args_option options_remove[] = {
	CONTRACT_OPTIONS_SEND,
	CONTRACT_OPTION_ANCHOR,
	{ "force", NULL, "even if too few voters are left" },
	{ NULL, NULL, NULL },
};

const struct ctl_command cmd_node[] = {
	{ "node drain", "URL", "have a node leave in an orderly way, and end",
	    options_drain, 1, 1, run_drain },
	{ "node remove", "SLOT [URL...]",
	    "take a slot's seat on chain; waits until the cluster let it go",
	    options_remove, 1, ARGS_POS_MAX, run_remove },
	{ "node anchor", "URL",
	    "put on chain what is committed now; waits until it is there", NULL,
	    1, 1, run_anchor },
	{ .name = NULL },
};
