/* kmsctl audit: the chain's account of hand-overs and epochs against that of
 * each node. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "kms/ctl/admin.h"
#include "kms/ctl/audit.h"
#include "kms/ctl/gov.h"
#include "kms/ctl/lab.h"
#include "kms/ctl/logs.h"

#define TIMEOUT_MS 10000
#define NODES_MAX 15

static enum err
take_log(void *cookie, const json_t *log)
{
	return audit_chain_log(cookie, log);
}

static enum err
read_node(struct audit_node *n, const char *url)
{
	bool more = true;
	enum err e = ERR_OK;

	while (e == ERR_OK && more) {
		char path[64];
		json_t *page = NULL;

		(void)snprintf(path, sizeof path, "/audit?from=%" PRIu64,
		    n->n == 0 ? 0 : n->first + n->n);
		e = admin_get(&page, url, path, TIMEOUT_MS);
		if (e == ERR_OK)
			e = audit_node_page(n, page, &more);
		json_decref(page);
	}
	return e;
}

struct source {
	char name[AUDIT_NAME_MAX];
	char url[CONTRACT_URL_MAX];
};

static enum ctl_exit
sources(struct source *out, size_t *n, const struct ctl *c,
    const struct contract *k, const struct args *a)
{
	char why[LAB_WHY_MAX];
	struct lab *l = NULL;

	*n = 0;
	for (unsigned i = 0; i < a->n_pos; i++) {
		if (*n == NODES_MAX)
			return ctl_fail(c, CTL_USAGE, "too many nodes");
		(void)snprintf(
		    out[*n].name, sizeof out[*n].name, "%.60s", a->pos[i]);
		(void)snprintf(
		    out[*n].url, sizeof out[*n].url, "%.250s", a->pos[i]);
		(*n)++;
	}
	if (*n > 0)
		return CTL_OK;
	if (k->sim[0] == '\0')
		return ctl_fail(c, CTL_USAGE,
		    "which nodes? give their admin addresses, or --sim DIR");
	if (lab_load(&l, k->sim, why) != ERR_OK)
		return ctl_fail(c, CTL_USAGE, "%s", why);
	for (unsigned i = 0; i < l->n_nodes; i++) {
		if (!l->node[i].listed)
			continue;
		(void)snprintf(
		    out[*n].name, sizeof out[*n].name, "%s", l->node[i].name);
		lab_admin_url(out[*n].url, &l->node[i]);
		(*n)++;
	}
	lab_free(l);
	return CTL_OK;
}

static json_t *
node_row(const struct audit_node *n)
{
	unsigned handovers = 0, changes = 0;

	for (size_t i = 0; i < n->n; i++) {
		const struct audit_entry *e = &n->entry[i];

		handovers += e->known && e->cmd.kind == COMMAND_HANDOVER;
		changes += e->known && e->cmd.kind == COMMAND_EPOCH_STATE;
	}
	return json_pack("{s:s, s:I, s:I, s:I, s:I, s:b}", "node", n->name,
	    "entries", (json_int_t)n->count, "first_kept", (json_int_t)n->first,
	    "handovers", (json_int_t)handovers, "epoch_changes",
	    (json_int_t)changes, "chain_holds",
	    (int)(memcmp(n->head, n->computed, 32) == 0));
}

static enum ctl_exit
tell(const struct ctl *c, const struct audit_chain *ch,
    const struct audit_node *node, size_t n, json_t *rows, json_t *findings)
{
	bool clean = audit_clean(findings);

	for (size_t i = 0; i < n; i++)
		(void)json_array_append_new(rows, node_row(&node[i]));
	if (!clean)
		(void)fprintf(c->log,
		    "kmsctl: the chain and the nodes do not tell the same\n");
	return ctl_result(c,
	    json_pack("{s:b, s:I, s:I, s:I, s:O, s:O}", "clean", (int)clean,
		"handovers_on_chain", (json_int_t)ch->n_handovers,
		"epoch_events", (json_int_t)ch->n_changes, "active_epoch",
		(json_int_t)ch->state.active, "nodes", rows, "findings",
		findings),
	    clean ? CTL_OK : CTL_FAILED);
}

/* State and events of the same moment: a hand-over that is recorded between
 * the two questions is none that is missing. */
static enum ctl_exit
read_chain(struct audit_chain *out, struct gov *g, const struct ctl *c,
    const struct args *a, uint64_t from)
{
	struct refusal why = { .code = REASON_NONE };
	uint64_t last = 0;
	enum ctl_exit rc;
	enum err e;

	for (unsigned i = 0; i < 3; i++) {
		if ((rc = gov_open(g, c, a, false, true)) != CTL_OK)
			return rc;
		audit_chain_fini(out);
		out->state = g->s;
		out->now = g->now;
		e = contract_block_number(&last, &g->k, "latest", &why);
		if (e == ERR_OK)
			e = logs_each(&g->k, g->k.registry, audit_topics, from,
			    last, take_log, out, &why);
		if (e != ERR_OK)
			return ctl_denied(c, "the registry's events", e, &why);
		if (out->n_handovers == out->state.handovers)
			break;
	}
	return CTL_OK;
}

static enum ctl_exit
run_audit(struct ctl *c, const struct args *a)
{
	const char *from_text = args_get(a, "from-block");
	struct audit_node node[NODES_MAX] = { 0 };
	struct source source[NODES_MAX];
	struct audit_chain chain = { .now = 0 };
	json_t *rows = json_array(), *findings = NULL;
	uint64_t from = 0;
	size_t n = 0;
	struct gov g;
	enum ctl_exit rc;
	enum err e;

	if (from_text != NULL &&
	    args_u64(&from, from_text, INT64_MAX) != ERR_OK) {
		rc = ctl_fail(c, CTL_USAGE, "--from-block: a block's number");
		goto done;
	}
	if ((rc = read_chain(&chain, &g, c, a, from)) != CTL_OK ||
	    (rc = sources(source, &n, c, &g.k, a)) != CTL_OK)
		goto done;
	for (size_t i = 0; i < n; i++) {
		memcpy(node[i].name, source[i].name, sizeof node[i].name);
		if ((e = read_node(&node[i], source[i].url)) != ERR_OK) {
			rc = ctl_fail(c,
			    e == ERR_MALFORMED || e == ERR_PHASE
				? CTL_FAILED
				: CTL_UNREACHABLE,
			    "%s: its audit log: %s", source[i].name,
			    err_text(e));
			goto done;
		}
	}
	findings = audit_findings(&chain, node, n, (uint64_t)clock_wall_s());
	rc = tell(c, &chain, node, n, rows, findings);
done:
	json_decref(rows);
	json_decref(findings);
	audit_chain_fini(&chain);
	for (size_t i = 0; i < NODES_MAX; i++)
		audit_node_fini(&node[i]);
	return rc;
}

static const struct args_option options[] = {
	GOV_OPTIONS_READ,
	{ "from-block", "N", "the registry is not older than that" },
	{ NULL, NULL, NULL },
};

const struct ctl_command cmd_audit[] = {
	{ "audit", "[URL ...]",
	    "hand-overs and epochs: does the chain say what nodes do?", options,
	    0, NODES_MAX, run_audit },
	{ .name = NULL },
};
