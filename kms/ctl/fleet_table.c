/* One row per node: its own word where it answers, else what others see. */
#include <string.h>

#include "kms/ctl/fleet.h"

/* The short form of an incarnation; enough to tell lives apart. */
#define SHORT 8

/* Codes of what the doctor found about a node. */
static json_t *
trouble(const json_t *findings, const char *node)
{
	json_t *list = json_array(), *f;
	size_t i;

	json_array_foreach((json_t *)(uintptr_t)findings, i, f)
	{
		if (strcmp(fleet_str(f, "node"), node) == 0)
			(void)json_array_append_new(
			    list, json_string(fleet_str(f, "code")));
	}
	return list;
}

/* The youngest evidence and sign of life that another node has of a life. */
static json_t *
youngest(const json_t *fleet, const char *incarnation, const char *key)
{
	const json_t *n, *row, *v;
	json_int_t best = -1;
	size_t i, j;

	json_array_foreach(json_object_get(fleet, "nodes"), i, n)
	{
		const json_t *c =
		    json_object_get(json_object_get(n, "status"), "cluster");

		json_array_foreach(json_object_get(c, "nodes"), j, row)
		{
			v = json_object_get(row, key);
			if (fleet_is(row, "self") || !json_is_integer(v) ||
			    strcmp(fleet_str(row, "incarnation"),
				incarnation) != 0)
				continue;
			if (best < 0 || json_integer_value(v) < best)
				best = json_integer_value(v);
		}
	}
	return best < 0 ? json_null() : json_integer(best);
}

static json_int_t
newest(const json_t *fleet)
{
	const json_t *n;
	json_int_t last = 0;
	size_t i;

	json_array_foreach(json_object_get(fleet, "nodes"), i, n)
	{
		const json_t *c =
		    json_object_get(json_object_get(n, "status"), "cluster");

		if (fleet_num(c, "last") > last)
			last = fleet_num(c, "last");
	}
	return last;
}

static json_t *
copy(const json_t *obj, const char *key)
{
	json_t *v = json_object_get(obj, key);

	return v != NULL ? json_incref(v) : json_null();
}

static json_t *
short_text(const char *s)
{
	return s[0] != '\0' ? json_sprintf("%.*s", SHORT, s) : json_null();
}

static bool
follows(const json_t *leader, const char *role)
{
	return leader != NULL &&
	    (strcmp(role, "voter") == 0 || strcmp(role, "learner") == 0);
}

/* Every row has the same members: the first one makes the table's head.  What
 * another node has of the log, the `leader` (or NULL) alone knows. */
static json_t *
make_row(const char *node, const char *role, const char *phase,
    const char *incarnation, const json_t *c, const json_t *seen,
    const json_t *leader)
{
	json_t *o = json_object();
	const json_t *a = json_object_get(c, "anchor");

	(void)json_object_set_new(o, "node", json_string(node));
	(void)json_object_set_new(o, "role", json_string(role));
	(void)json_object_set_new(o, "phase", json_string(phase));
	(void)json_object_set_new(o, "incarnation", short_text(incarnation));
	(void)json_object_set_new(o, "term", copy(c, "term"));
	(void)json_object_set_new(o, "last",
	    c != NULL                   ? copy(c, "last")
		: follows(leader, role) ? copy(seen, "match")
					: json_null());
	(void)json_object_set_new(o, "commit", copy(c, "commit"));
	(void)json_object_set_new(o, "applied", copy(c, "applied"));
	(void)json_object_set_new(o, "lag", json_null());
	(void)json_object_set_new(o, "evidence_s", json_null());
	(void)json_object_set_new(o, "heard_ms", json_null());
	(void)json_object_set_new(o, "chain_age_s", json_null());
	(void)json_object_set_new(o, "fresh", copy(c, "fresh"));
	(void)json_object_set_new(o, "anchor",
	    a != NULL ? json_sprintf("%lld.%lld",
			    (long long)fleet_num(a, "generation"),
			    (long long)fleet_num(a, "index"))
		      : json_null());
	return o;
}

static void
finish_row(json_t *o, const json_t *fleet, const json_t *findings,
    const char *incarnation, const json_t *status)
{
	const json_t *last = json_object_get(o, "last");
	json_int_t lag = newest(fleet) - json_integer_value(last);

	if (json_is_integer(last))
		(void)json_object_set_new(
		    o, "lag", json_integer(lag > 0 ? lag : 0));
	if (incarnation[0] != '\0') {
		(void)json_object_set_new(o, "evidence_s",
		    youngest(fleet, incarnation, "evidence_age_s"));
		(void)json_object_set_new(o, "heard_ms",
		    youngest(fleet, incarnation, "heard_age_ms"));
	}
	(void)json_object_set_new(o, "chain_age_s",
	    copy(json_object_get(status, "chain"), "block_age_s"));
	(void)json_object_set_new(
	    o, "trouble", trouble(findings, fleet_str(o, "node")));
}

static json_t *
row_of(const json_t *fleet, const json_t *findings, const json_t *n)
{
	const json_t *s = json_object_get(n, "status"), *best, *seen, *c;
	const char *name = fleet_str(n, "name"), *incarnation, *role;
	json_t *o;

	if (!json_is_object(s))
		s = NULL;
	best = fleet_best(fleet);
	seen = s != NULL ? fleet_row(s, fleet_str(s, "slot"))
			 : fleet_row(best, name);
	c = json_object_get(s, "cluster");
	incarnation = fleet_str(s != NULL ? s : seen, "incarnation");
	role = fleet_str(seen, "role");
	o = make_row(name, role[0] != '\0' ? role : "-",
	    s != NULL ? fleet_str(s, "phase") : "down", incarnation, c, seen,
	    fleet_leads(best) ? best : NULL);
	finish_row(o, fleet, findings, incarnation, s);
	return o;
}

static bool
has_row(const json_t *rows, const char *slot)
{
	const json_t *r;
	size_t i;

	json_array_foreach(rows, i,
	    r) if (strcmp(fleet_str(r, "node"), slot) == 0) return true;
	return false;
}

json_t *
fleet_table(const json_t *fleet, const json_t *findings)
{
	json_t *rows = json_array();
	const json_t *n, *r, *best = fleet_best(fleet);
	size_t i;

	json_array_foreach(json_object_get(fleet, "nodes"), i, n)(void)
	    json_array_append_new(rows, row_of(fleet, findings, n));
	/* Who was not asked, but is known. */
	json_array_foreach(
	    json_object_get(json_object_get(best, "cluster"), "nodes"), i, r)
	{
		const char *incarnation = fleet_str(r, "incarnation");
		json_t *o;

		if (has_row(rows, fleet_str(r, "slot")))
			continue;
		o = make_row(fleet_str(r, "slot"), fleet_str(r, "role"),
		    "not asked", incarnation, NULL, r,
		    fleet_leads(best) ? best : NULL);
		finish_row(o, fleet, findings, incarnation, NULL);
		(void)json_array_append_new(rows, o);
	}
	return rows;
}
