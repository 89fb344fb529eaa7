#include <string.h>

#include "common/base/file.h"
#include "kms/ctl/admin.h"
#include "kms/ctl/calls.h"
#include "kms/ctl/epoch0.h"
#include "kms/ctl/genesis.h"
#include "kms/ctl/lab_recover.h"
#include "kms/ctl/lab_run.h"
#include "kms/ctl/lab_up.h"

#define ANSWER_MS 3000
#define SELF_MS 30000
#define READY_MS 90000
#define ROOT_MAX 4096
#define LISTS 3

/* What a node measures as, and the three lists that must name it. */
struct self {
	uint8_t value[LISTS][32];
};
#define DEVICE 2 /* of them: who may sit */
static const struct {
	const char *key; /* in /status "self" */
	uint32_t has, add;
} lists[LISTS] = {
	{ "os_image_hash", CALL_HAS_OS_IMAGE, CALL_ADD_OS_IMAGE },
	{ "mr_aggregated", CALL_HAS_KMS_MR, CALL_ADD_KMS_MR },
	{ "device_id", CALL_HAS_KMS_DEVICE, CALL_ADD_KMS_DEVICE },
};

/* ask_self waits until a node has looked at itself. */
static enum ctl_exit
ask_self(struct self *out, const struct ctl *c, const struct lab *l,
    const struct lab_node *n)
{
	char url[CONTRACT_URL_MAX], what[64];
	struct ctl_wait w;

	(void)snprintf(what, sizeof what, "%s to measure itself", n->name);
	w = ctl_wait(c, what, SELF_MS);
	lab_admin_url(url, n);
	for (;;) {
		json_t *v = NULL, *self;
		enum err e = admin_get(&v, url, "/status", ANSWER_MS);

		self = json_object_get(v, "self");
		for (unsigned i = 0; e == ERR_OK && i < LISTS; i++)
			e = json_get_hex(out->value[i], 32, self, lists[i].key);
		json_decref(v);
		if (e == ERR_OK)
			return CTL_OK;
		if (!lab_runs(l, n->name, NULL) || !ctl_wait_more(&w))
			return ctl_fail(c, CTL_FAILED,
			    "%s does not say what it is; see log/%s.log",
			    n->name, n->name);
	}
}

/* add_missing appends a transaction for each list that lacks the node. */
static enum err
add_missing(struct contract_tx *tx, size_t *n, const struct self *s,
    const struct contract *k, struct refusal *why)
{
	struct buf call = { 0 };
	enum err e = ERR_OK;

	for (unsigned i = 0; e == ERR_OK && i < LISTS; i++) {
		struct contract_tx *t = &tx[*n];
		bool has = false;

		e = calls_bytes32(&call, lists[i].has, s->value[i]);
		if (e == ERR_OK)
			e = contract_call_bool(
			    &has, k, k->kms, buf_view(&call), why);
		if (e != ERR_OK || has)
			continue;
		memcpy(t->to, k->kms, sizeof t->to);
		e = calls_bytes32(&t->data, lists[i].add, s->value[i]);
		/* Nodes share image and measurements. */
		for (size_t j = 0; e == ERR_OK && j < *n; j++)
			has |= tx[j].data.len == t->data.len &&
			    memcmp(tx[j].data.p, t->data.p, t->data.len) == 0;
		if (has)
			contract_tx_fini(t);
		else
			(*n)++;
	}
	buf_fini(&call);
	return e;
}

static enum ctl_exit
allow_nodes(const struct ctl *c, const struct lab *l, const struct contract *k)
{
	struct contract_tx tx[LISTS * LAB_NODES_MAX] = { 0 };
	struct refusal why = { .code = REASON_NONE };
	enum ctl_exit rc = CTL_OK;
	size_t n = 0;
	struct self s;
	enum err e = ERR_OK;

	for (unsigned i = 0; e == ERR_OK && i < l->n_nodes; i++) {
		if (!l->node[i].listed)
			continue;
		if ((rc = ask_self(&s, c, l, &l->node[i])) != CTL_OK)
			goto done;
		e = add_missing(tx, &n, &s, k, &why);
	}
	if (e == ERR_OK && n > 0) {
		ctl_note(c, "allowing the nodes on chain");
		e = contract_send(c, k, tx, n, &why);
	}
	if (e != ERR_OK)
		rc = ctl_denied(c, "allowing the nodes", e, &why);
done:
	for (size_t i = 0; i < LISTS * LAB_NODES_MAX; i++)
		contract_tx_fini(&tx[i]);
	return rc;
}

static bool
sits(const struct anchor_view *v, const char *slot,
    const uint8_t device_id[static 32])
{
	for (unsigned i = 0; i < v->n_seats; i++)
		if (strcmp(v->seat[i].slot, slot) == 0)
			return memcmp(v->seat[i].device_id, device_id, 32) == 0;
	return false;
}

/* Every listed node has a seat of its name, for its host's device. */
static enum ctl_exit
seat_nodes(const struct ctl *c, const struct lab *l, const struct contract *k)
{
	struct contract_tx tx[LAB_NODES_MAX] = { 0 };
	struct refusal why = { .code = REASON_NONE };
	enum ctl_exit rc = CTL_OK;
	struct anchor_state a;
	size_t n = 0;
	struct self s;
	enum err e = contract_anchor(&a, k, &why);

	for (unsigned i = 0; e == ERR_OK && i < l->n_nodes; i++) {
		const struct lab_node *node = &l->node[i];

		if (!node->listed)
			continue;
		if ((rc = ask_self(&s, c, l, node)) != CTL_OK)
			goto done;
		if (sits(&a.v, node->name, s.value[DEVICE]))
			continue;
		memcpy(tx[n].to, k->anchor, sizeof tx[n].to);
		e = anchorabi_set_seat(
		    &tx[n++].data, node->name, s.value[DEVICE]);
	}
	if (e == ERR_OK && n > 0) {
		ctl_note(c, "giving the nodes their seats on chain");
		e = contract_send(c, k, tx, n, &why);
	}
	if (e != ERR_OK)
		rc = ctl_denied(c, "the nodes' seats", e, &why);
done:
	for (size_t i = 0; i < LAB_NODES_MAX; i++)
		contract_tx_fini(&tx[i]);
	return rc;
}

/* publish is for a contract that names no root yet. */
static enum ctl_exit
publish(const struct ctl *c, const struct lab *l, const struct contract *k)
{
	char node[CONTRACT_URL_MAX], pccs[CONTRACT_URL_MAX], path[LAB_PATH_MAX];
	struct refusal why = { .code = REASON_NONE };
	struct genesis_options o = {
		.node = node, .pccs_url = pccs, .fund_wei = GENESIS_FUND_LAB
	};
	struct genesis_result r = { .block = 0 };
	struct buf root = { 0 };
	enum ctl_exit rc;
	enum err e;

	rc = lab_await_phase(c, l, &l->node[0], "genesis", READY_MS);
	if (rc != CTL_OK)
		return rc;
	lab_admin_url(node, &l->node[0]);
	lab_pccs_url(pccs, l);
	lab_path(path, l, "sim-root.der");
	e = file_read(&root, path, ROOT_MAX);
	o.simulated_root = buf_view(&root);
	if (e == ERR_OK) {
		ctl_note(c, "checking %s's quote and publishing its roots",
		    l->node[0].name);
		e = genesis_publish(&r, c, k, &o, &why);
	}
	if (e != ERR_OK && e != ERR_EXISTS)
		rc = ctl_denied(c, "genesis", e, &why);
	buf_fini(&root);
	return rc;
}

static enum ctl_exit
root_is_there(bool *out, const struct ctl *c, const struct contract *k)
{
	struct refusal why = { .code = REASON_NONE };
	enum err e = genesis_done(out, k, &why);

	return e == ERR_OK ? CTL_OK : ctl_denied(c, "the chain", e, &why);
}

/* The registry, if there is one, takes over what the nodes have made. */
static enum ctl_exit
register_epoch0(
    const struct ctl *c, const struct lab *l, const struct contract *k)
{
	struct contract_tx tx = { .to = { 0 } };
	struct refusal why = { .code = REASON_NONE };
	enum ctl_exit rc = CTL_OK;
	bool there = false;
	enum err e;

	if (l->n_members == 0)
		return CTL_OK;
	e = epoch0_there(&there, k, &why);
	if (e == ERR_OK && !there) {
		ctl_note(c, "registering the root of epoch 0");
		memcpy(tx.to, k->registry, sizeof tx.to);
		e = epoch0_call(&tx.data, k, k->kms, &why);
		if (e == ERR_OK)
			e = contract_send(c, k, &tx, 1, &why);
	}
	if (e != ERR_OK)
		rc = ctl_denied(c, "epoch 0", e, &why);
	contract_tx_fini(&tx);
	return rc;
}

enum ctl_exit
lab_up(const struct ctl *c, const struct lab *l)
{
	struct contract k;
	enum ctl_exit rc;
	bool done = false;

	lab_contract(&k, l);
	if ((rc = lab_start_chain(c, l)) != CTL_OK ||
	    (rc = lab_deploy(c, l)) != CTL_OK ||
	    (rc = lab_start_pccs(c, l)) != CTL_OK)
		return rc;
	for (unsigned i = 0; i < l->n_nodes; i++)
		if ((rc = lab_start_node(c, l, &l->node[i])) != CTL_OK)
			return rc;
	if ((rc = allow_nodes(c, l, &k)) != CTL_OK ||
	    (rc = seat_nodes(c, l, &k)) != CTL_OK ||
	    (rc = root_is_there(&done, c, &k)) != CTL_OK ||
	    (!done && (rc = publish(c, l, &k)) != CTL_OK) ||
	    (rc = register_epoch0(c, l, &k)) != CTL_OK)
		return rc;
	return lab_await_ready(c, l, NULL);
}
