#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "kms/ctl/doctor.h"

#define TEXT_MAX 1024

__attribute__((format(printf, 1, 0))) static json_t *
formatted(const char *fmt, va_list ap)
{
	char text[TEXT_MAX];

	(void)vsnprintf(text, sizeof text, fmt, ap);
	/* It quotes what nodes say: keep it to what a terminal may show. */
	for (char *s = text; *s != '\0'; s++)
		if ((unsigned char)*s < 0x20 || (unsigned char)*s > 0x7e)
			*s = '?';
	return json_string(text);
}

void
doctor_say(struct doctor *d, bool error, const char *node, const char *code,
    const char *fmt, ...)
{
	json_t *o = json_pack("{s:s, s:s, s:s}", "severity",
	    error ? "error" : "warning", "node", node, "code", code);
	va_list ap;

	va_start(ap, fmt);
	(void)json_object_set_new(o, "what", formatted(fmt, ap));
	va_end(ap);
	(void)json_object_set_new(o, "do", json_string(""));
	(void)json_array_append_new(d->found, o);
}

void
doctor_do(struct doctor *d, const char *fmt, ...)
{
	json_t *o = json_array_get(d->found, json_array_size(d->found) - 1);
	va_list ap;

	va_start(ap, fmt);
	(void)json_object_set_new(o, "do", formatted(fmt, ap));
	va_end(ap);
}

bool
doctor_has(const struct doctor *d, const char *node, const char *code)
{
	const json_t *f;
	size_t i;

	json_array_foreach(d->found, i, f)
	{
		if (strcmp(fleet_str(f, "node"), node) == 0 &&
		    strcmp(fleet_str(f, "code"), code) == 0)
			return true;
	}
	return false;
}

const char *
doctor_where(struct doctor *d, bool anchor, char *out, size_t cap)
{
	const char *lab = fleet_str(d->fleet, "lab");
	const json_t *chain = json_object_get(fleet_best(d->fleet), "chain");
	const char *key = anchor ? "anchor_contract" : "kms_contract";
	const char *contract = fleet_str(chain, key);

	if (lab[0] != '\0')
		(void)snprintf(out, cap, "--sim %s", lab);
	else
		(void)snprintf(out, cap,
		    "--rpc URL --chain-id %lld --%s 0x%s --key-file OWNER",
		    (long long)fleet_num(chain, "chain_id"),
		    anchor ? "anchor" : "kms",
		    contract[0] != '\0' ? contract : "ADDRESS");
	return out;
}

json_t *
doctor_examine(const json_t *fleet)
{
	struct doctor d = { .fleet = fleet, .found = json_array() };
	const json_t *n;
	size_t i;

	json_array_foreach(json_object_get(fleet, "nodes"), i, n)
	    doctor_lease(&d, n);
	json_array_foreach(json_object_get(fleet, "nodes"), i, n)
	    doctor_node(&d, n);
	json_array_foreach(json_object_get(fleet, "nodes"), i, n)
	    doctor_links(&d, n);
	json_array_foreach(json_object_get(fleet, "nodes"), i, n)
	    doctor_roots(&d, n);
	doctor_cluster(&d);
	return d.found;
}

/* ---- for people ---- */

static void
print_summary(FILE *out, const json_t *fleet)
{
	const json_t *n, *best = fleet_best(fleet);
	const json_t *c = json_object_get(best, "cluster");
	unsigned all = 0, up = 0, ready = 0;
	size_t i;

	json_array_foreach(json_object_get(fleet, "nodes"), i, n)
	{
		const json_t *s = json_object_get(n, "status");

		all++;
		up += json_is_object(s);
		ready += strcmp(fleet_str(s, "phase"), "ready") == 0;
	}
	(void)fprintf(out, "%u node%s asked, %u answer%s, %u ready", all,
	    all == 1 ? "" : "s", up, up == 1 ? "s" : "", ready);
	if (best != NULL)
		(void)fprintf(out,
		    "; leader %.31s, generation %lld, log at %lld, anchor at "
		    "%lld",
		    fleet_str(c, "leader")[0] != '\0' ? fleet_str(c, "leader")
						      : "unknown",
		    (long long)fleet_num(c, "generation"),
		    (long long)fleet_num(c, "commit"),
		    (long long)fleet_num(
			json_object_get(c, "anchor"), "index"));
	(void)fputc('\n', out);
}

void
doctor_print(FILE *out, const json_t *fleet, const json_t *findings)
{
	const json_t *f;
	size_t i;

	print_summary(out, fleet);
	if (json_array_size(findings) == 0)
		(void)fprintf(out, "nothing is wrong\n");
	json_array_foreach(findings, i, f)
	{
		(void)fprintf(out, "\n%s: %s (%s): %s\n",
		    fleet_str(f, "severity"), fleet_str(f, "node"),
		    fleet_str(f, "code"), fleet_str(f, "what"));
		if (fleet_str(f, "do")[0] != '\0')
			(void)fprintf(out, "  do: %s\n", fleet_str(f, "do"));
	}
}
