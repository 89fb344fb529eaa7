/* The counter and the keys, as clients see them, and the anchor. */
#include <string.h>

#include "common/base/hex.h"
#include "common/net/fetch.h"
#include "kms/ctl/attack_int.h"

static void
ask(struct attack *a, struct probe_answer *out, const struct lab_node *n,
    enum probe_what what)
{
	probe_ask(a->probe, out, n->listen_port, what, a->acked, ATTACK_ASK_MS);
}

/* Any node of the cluster that answers. */
static bool
ask_any(struct attack *a, struct probe_answer *out, enum probe_what what)
{
	struct ctl_wait w =
	    ctl_wait(a->c, "a node that answers", ATTACK_SOON_MS);

	do {
		for (unsigned i = 0; i < a->l->n_nodes; i++) {
			const struct lab_node *n = &a->l->node[i];

			if (!n->listed || !attack_runs(a, n))
				continue;
			ask(a, out, n, what);
			if (out->err == ERR_OK)
				return true;
			/* It may have been done all the same. */
			if (what == PROBE_INCREMENT &&
			    (out->err == ERR_TIMEOUT ||
				out->why.code == REASON_UNKNOWN_OUTCOME))
				return attack_broke(a,
				    "%s: the outcome of an increment is not "
				    "known",
				    n->name);
		}
	} while (ctl_wait_more(&w));
	return attack_broke(a, "no node answers: %s",
	    out->why.code != REASON_NONE ? reason_label(out->why.code)
					 : err_text(out->err));
}

bool
attack_read(struct attack *a, uint64_t *value, uint64_t *generation)
{
	struct probe_answer r = { 0 };

	if (!ask_any(a, &r, PROBE_READ))
		return false;
	*value = r.value;
	*generation = r.generation;
	return true;
}

bool
attack_grow(struct attack *a, unsigned n)
{
	struct probe_answer r = { 0 };

	for (unsigned i = 0; i < n; i++) {
		if (!ask_any(a, &r, PROBE_INCREMENT))
			return false;
		if (!r.matched)
			return attack_won(a,
			    "the counter is %llu, but a client was told %llu",
			    (unsigned long long)r.value,
			    (unsigned long long)a->acked);
		a->acked = r.value;
	}
	return true;
}

bool
attack_silent(struct attack *a, const struct lab_node *n)
{
	static const enum probe_what all[] = { PROBE_KEYS, PROBE_READ };
	struct probe_answer r = { 0 };

	for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
		ask(a, &r, n, all[i]);
		if (r.err == ERR_OK)
			return attack_won(a, "%s answered a client", n->name);
		if (all[i] == PROBE_KEYS)
			attack_refused(a, n->name,
			    r.why.code != REASON_NONE ? reason_label(r.why.code)
						      : err_text(r.err),
			    "to an app that asks for its keys");
	}
	return true;
}

/* ---- do they agree? ---- */

static bool
one_state(struct attack *a)
{
	char digest[80] = "";
	uint64_t index = 0;
	bool same = true;

	for (unsigned i = 0; same && i < a->l->n_nodes; i++) {
		json_t *v;

		if (!a->l->node[i].listed)
			continue;
		v = attack_page(&a->l->node[i]);
		if (digest[0] == '\0') {
			index = attack_number(v, "digest_index");
			(void)snprintf(digest, sizeof digest, "%s",
			    attack_text(v, "digest"));
		}
		same = v != NULL && digest[0] != '\0' &&
		    index == attack_number(v, "digest_index") &&
		    strcmp(digest, attack_text(v, "digest")) == 0;
		json_decref(v);
	}
	return same;
}

/* Each node's own word on the counter. */
static bool
one_value(struct attack *a, bool *older)
{
	struct probe_answer r = { 0 };

	for (unsigned i = 0; i < a->l->n_nodes; i++) {
		if (!a->l->node[i].listed)
			continue;
		ask(a, &r, &a->l->node[i], PROBE_READ);
		if (r.err != ERR_OK)
			return false;
		if (r.value != a->acked) {
			*older = true;
			return attack_won(a,
			    "%s: the counter is %llu, not %llu",
			    a->l->node[i].name, (unsigned long long)r.value,
			    (unsigned long long)a->acked);
		}
	}
	return true;
}

bool
attack_agree(struct attack *a)
{
	struct ctl_wait w =
	    ctl_wait(a->c, "the nodes to agree", ATTACK_LATE_MS);
	bool older = false;

	while (!one_value(a, &older) || !one_state(a))
		if (older || !ctl_wait_more(&w))
			return attack_broke(a, "the nodes do not agree");
	return true;
}

/* ---- the anchor ---- */

bool
attack_anchor(struct attack *a, struct anchor_state *out)
{
	struct refusal why = { 0 };

	return contract_anchor(out, &a->k, &why) == ERR_OK ||
	    attack_broke(a, "the anchor cannot be read: %s", why.detail);
}

bool
attack_checkpoint(struct attack *a)
{
	const struct lab_node *n = attack_leader(a);
	json_t *v = n != NULL ? attack_page(n) : NULL;
	uint64_t at = attack_number(v, "cluster.commit");
	char url[CONTRACT_URL_MAX + 16];
	const struct fetch_request rq = { .url = url,
		.post = BYTES_STR("checkpoint"),
		.content_type = "text/plain",
		.timeout_ms = ATTACK_ASK_MS,
		.max_reply = 64 };
	struct fetch_reply r = { .err = ERR_OK };
	bool ok;

	json_decref(v);
	if (n == NULL)
		return false;
	lab_admin_url(url, n);
	(void)snprintf(
	    url + strlen(url), sizeof url - strlen(url), "/checkpoint");
	fetch_all(&r, &rq, 1);
	ok = r.err == ERR_OK && r.status == 200;
	fetch_reply_fini(&r);
	if (!ok)
		return attack_broke(a, "%s takes no checkpoint", n->name);
	/* On chain, and the log knows it: so that nothing comes after. */
	return attack_await_number(
		   a, n, "cluster.anchor.index", at, ATTACK_LATE_MS) &&
	    attack_await_number(
		a, n, "cluster.applied", at + 1, ATTACK_LATE_MS);
}

static bool
give_order(struct attack *a, const uint8_t incarnation[static 32], bool lossy)
{
	struct contract_tx tx = { 0 };
	struct refusal why = { .code = REASON_NONE };
	enum err e = anchorabi_name_recovery(&tx.data, incarnation, lossy);

	memcpy(tx.to, a->k.anchor, sizeof tx.to);
	if (e == ERR_OK)
		e = contract_send(a->c, &a->k, &tx, 1, &why);
	contract_tx_fini(&tx);
	return e == ERR_OK ||
	    attack_broke(a, "the operators' order: %s", why.detail);
}

bool
attack_name(struct attack *a, const struct lab_node *n, bool lossy)
{
	uint8_t incarnation[32];
	json_t *v = attack_page(n);
	enum err e = json_get_hex(incarnation, 32, v, "incarnation");

	json_decref(v);
	if (e != ERR_OK)
		return attack_broke(a, "%s: who is it?", n->name);
	attack_say(a, "the operators name %s on chain%s", n->name,
	    lossy ? ", lossy" : "");
	return give_order(a, incarnation, lossy);
}

bool
attack_clear_order(struct attack *a)
{
	static const uint8_t nobody[32];
	struct anchor_state s;

	if (!attack_anchor(a, &s))
		return false;
	return !s.v.order.set || give_order(a, nobody, false);
}

bool
attack_reopen(struct attack *a, const struct lab_node *n)
{
	return attack_name(a, n, false) &&
	    attack_await_text(a, n, "phase", "ready", ATTACK_LATE_MS);
}
