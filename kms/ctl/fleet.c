/* Asking the nodes, and the chain. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/base/hex.h"
#include "kms/ctl/admin.h"
#include "kms/ctl/fleet.h"
#include "kms/ctl/lab.h"

#define LOOK_MS 4000

/* ---- members ---- */

const char *
fleet_str(const json_t *obj, const char *key)
{
	const char *s = json_string_value(json_object_get(obj, key));

	return s != NULL ? s : "";
}

json_int_t
fleet_num(const json_t *obj, const char *key)
{
	return json_integer_value(json_object_get(obj, key));
}

bool
fleet_is(const json_t *obj, const char *key)
{
	return json_is_true(json_object_get(obj, key));
}

uint64_t
fleet_term(const char *text)
{
	char *end = NULL;
	uint64_t high = strtoull(text, &end, 10), low = 0;

	if (end != NULL && *end == '.')
		low = strtoull(end + 1, NULL, 10);
	return high << 32 | (low & UINT32_MAX);
}

const json_t *
fleet_row(const json_t *status, const char *slot)
{
	const json_t *row,
	    *rows =
		json_object_get(json_object_get(status, "cluster"), "nodes");
	size_t i;

	json_array_foreach(rows, i,
	    row) if (strcmp(fleet_str(row, "slot"), slot) == 0) return row;
	return NULL;
}

bool
fleet_leads(const json_t *status)
{
	const char *slot = fleet_str(status, "slot");
	const json_t *c = json_object_get(status, "cluster");

	return slot[0] != '\0' && strcmp(fleet_str(c, "leader"), slot) == 0 &&
	    strcmp(fleet_str(c, "phase"), "member") == 0;
}

const json_t *
fleet_status(const json_t *fleet, const char *slot)
{
	const json_t *n;
	size_t i;

	json_array_foreach(json_object_get(fleet, "nodes"), i, n)
	{
		const json_t *s = json_object_get(n, "status");

		if (json_is_object(s) &&
		    strcmp(fleet_str(s, "slot"), slot) == 0)
			return s;
	}
	return NULL;
}

/* A greater one is a better witness. */
static uint64_t
weight(const json_t *status)
{
	const json_t *c = json_object_get(status, "cluster");
	uint64_t term = fleet_term(fleet_str(c, "term"));

	if (strcmp(fleet_str(c, "phase"), "member") != 0)
		return 1;
	return 2 * (term + 1) + fleet_leads(status);
}

const json_t *
fleet_best(const json_t *fleet)
{
	const json_t *n, *best = NULL;
	uint64_t most = 0;
	size_t i;

	json_array_foreach(json_object_get(fleet, "nodes"), i, n)
	{
		const json_t *s = json_object_get(n, "status");

		if (json_is_object(s) && weight(s) > most) {
			most = weight(s);
			best = s;
		}
	}
	return best;
}

/* ---- asking ---- */

/* ask appends one node; `name` may be NULL: its slot is its name. */
static void
ask(json_t *nodes, const char *name, const char *url, bool listed)
{
	json_t *status = NULL, *o;
	enum err e = admin_get(&status, url, "/status", LOOK_MS);

	if (e == ERR_OK && fleet_str(status, "slot")[0] == '\0')
		e = ERR_MALFORMED;
	if (e != ERR_OK) {
		json_decref(status);
		status = NULL;
	}
	if (name == NULL)
		name = status != NULL ? fleet_str(status, "slot") : url;
	o = json_pack("{s:s, s:s, s:b, s:o, s:o}", "name", name, "admin", url,
	    "listed", (int)listed, "error",
	    e == ERR_OK              ? json_null()
		: e == ERR_MALFORMED ? json_string("not a KMS node")
				     : json_string(err_text(e)),
	    "status", status != NULL ? status : json_null());
	(void)json_array_append_new(nodes, o);
}

static bool
is_url(const char *s)
{
	return strncmp(s, "http://", 7) == 0 || strncmp(s, "https://", 8) == 0;
}

static enum ctl_exit
look_at_lab(json_t *fleet, json_t *nodes, const struct ctl *c, const char *dir)
{
	char why[LAB_WHY_MAX], url[CONTRACT_URL_MAX];
	struct lab *l = NULL;
	struct contract k;

	if (lab_load(&l, dir, why) != ERR_OK)
		return ctl_fail(c, CTL_USAGE, "%s", why);
	(void)json_object_set_new(fleet, "lab", json_string(dir));
	for (unsigned i = 0; i < l->n_nodes; i++) {
		lab_admin_url(url, &l->node[i]);
		ask(nodes, l->node[i].name, url, l->node[i].listed);
	}
	lab_contract(&k, l);
	lab_free(l);
	fleet_chain(fleet, &k);
	return CTL_OK;
}

enum ctl_exit
fleet_look(json_t **out, const struct ctl *c, const char *const where[],
    unsigned n_where)
{
	json_t *fleet = json_pack("{s:n, s:[], s:n}", "lab", "nodes", "chain");
	json_t *nodes = json_object_get(fleet, "nodes");
	enum ctl_exit rc = CTL_OK;
	struct stat st;

	if (fleet == NULL)
		return ctl_fail(c, CTL_FAILED, "out of memory");
	for (unsigned i = 0; rc == CTL_OK && i < n_where; i++) {
		if (is_url(where[i]))
			ask(nodes, NULL, where[i], true);
		else if (n_where == 1 && stat(where[i], &st) == 0 &&
		    S_ISDIR(st.st_mode))
			rc = look_at_lab(fleet, nodes, c, where[i]);
		else
			rc = ctl_fail(c, CTL_USAGE,
			    "%.200s: must be http://ADDRESS:PORT of a node's "
			    "admin listener, or, alone, the folder of a "
			    "simulated cluster",
			    where[i]);
	}
	if (rc == CTL_OK)
		*out = fleet;
	else
		json_decref(fleet);
	return rc;
}

/* ---- the chain ---- */

static json_t *
hex_text(const uint8_t *p, size_t len)
{
	char text[2 + 2 * 32 + 1] = "0x";

	hex_encode(text + 2, p, len);
	return json_string(text);
}

static json_t *
point_json(const struct anchor_point *p)
{
	return json_pack("{s:I, s:I}", "generation", (json_int_t)p->generation,
	    "index", (json_int_t)p->index);
}

static json_t *
chain_json(const struct anchor_state *s, const char *ether)
{
	json_t *seats = json_array();

	for (unsigned i = 0; i < s->v.n_seats; i++)
		(void)json_array_append_new(
		    seats, json_string(s->v.seat[i].slot));
	return json_pack("{s:n, s:o, s:o, s:I, s:o, s:{s:o, s:s}, s:o, s:I}",
	    "error", "point", point_json(&s->v.at), "seats", seats, "wait_s",
	    (json_int_t)s->v.wait_s, "order",
	    s->v.order.set ? hex_text(s->v.order.incarnation, 32) : json_null(),
	    "signer", "address", hex_text(s->signer, 20), "ether", ether,
	    "announced",
	    s->v.announced.set ? point_json(&s->v.announced.to) : json_null(),
	    "open_at", (json_int_t)s->v.announced.open_at);
}

void
fleet_chain(json_t *fleet, const struct contract *k)
{
	struct refusal why = { .code = REASON_NONE };
	char ether[ETHER_TEXT] = "0";
	struct anchor_state s;
	enum err e = contract_anchor(&s, k, &why);
	json_t *o;

	if (e == ERR_OK && s.v.at.generation != 0)
		e = contract_balance(ether, k, s.signer, &why);
	o = e == ERR_OK ? chain_json(&s, ether)
			: json_pack("{s:s}", "error", why.detail);
	(void)json_object_set_new(fleet, "chain", o);
}
