/* Attacks on the cold start: who may open the next generation, and when. */
#include <string.h>

#include "common/base/clock.h"
#include "common/eth/rpc.h"
#include "kms/ctl/attack_int.h"
#include "kms/ctl/lab_make.h"
#include "kms/ctl/lab_relay.h"

#define STEPS 3
#define LOOK_BACK 30 /* blocks */

/* ---- the wrong disks ---- */

bool
attack_not_best(struct attack *a)
{
	const struct lab_node *old = attack_follower(a, 0), *best;

	if (old == NULL || !attack_take(a, old, "old") ||
	    !attack_grow(a, STEPS))
		return false;
	attack_say(
	    a, "every node is killed, %s gets its disk of before", old->name);
	return attack_kill_all(a) && attack_put(a, old, old, "old") &&
	    attack_start_all(a) && (best = attack_best(a)) != NULL &&
	    attack_name(a, old, false) &&
	    attack_await_refused(a, old, "not_best") && attack_reopen(a, best);
}

bool
attack_too_few(struct attack *a)
{
	const struct lab_node *hidden = attack_follower(a, 0), *best;

	if (hidden == NULL || !attack_grow(a, STEPS) || !attack_kill_all(a))
		return false;
	attack_say(a, "every node is killed, and %s stays off", hidden->name);
	for (unsigned i = 0; i < a->l->n_nodes; i++)
		if (a->l->node[i].listed && &a->l->node[i] != hidden &&
		    !attack_start(a, &a->l->node[i]))
			return false;
	if ((best = attack_best(a)) == NULL || !attack_name(a, best, false) ||
	    !attack_await_refused(a, best, "disks"))
		return false;
	attack_say(a, "%s comes back; the order still stands", hidden->name);
	return attack_start(a, hidden) &&
	    attack_await_text(a, best, "phase", "ready", ATTACK_LATE_MS);
}

/* ---- two at once ---- */

/* The newest call to the anchor that the operator did not send. */
static bool
cluster_call(struct attack *a, struct buf *out, uint64_t number)
{
	struct rpc_reply r;
	char params[64];
	const struct rpc_request rq = { .url = a->k.rpc,
		.method = "eth_getBlockByNumber",
		.params = params,
		.timeout_ms = ATTACK_ASK_MS,
		.max_reply = 1u << 20 };
	uint8_t to[20], from[20];
	const json_t *tx;
	bool found = false;
	size_t i;

	(void)snprintf(params, sizeof params, "[\"0x%llx\",true]",
	    (unsigned long long)number);
	rpc_all(&r, &rq, 1);
	json_array_foreach(json_object_get(r.result, "transactions"), i, tx)
	{
		if (rpc_fixed(to, 20, json_object_get(tx, "to")) != ERR_OK ||
		    rpc_fixed(from, 20, json_object_get(tx, "from")) !=
			ERR_OK ||
		    memcmp(to, a->k.anchor, 20) != 0 ||
		    memcmp(from, a->l->operator_address, 20) == 0)
			continue;
		out->len = 0;
		found =
		    rpc_data(out, 4096, json_object_get(tx, "input")) == ERR_OK;
	}
	rpc_reply_fini(&r);
	return found;
}

static bool
last_call(struct attack *a, struct buf *out)
{
	struct refusal why;
	uint64_t at;

	if (contract_block_number(&at, &a->k, "latest", &why) != ERR_OK)
		return attack_broke(a, "no block number");
	for (unsigned i = 0; i < LOOK_BACK && i <= at; i++)
		if (cluster_call(a, out, at - i))
			return true;
	return attack_broke(a, "the announcement is not found on chain");
}

static bool
await_announced(struct attack *a, const struct lab_node *n)
{
	struct ctl_wait w = ctl_wait(a->c, "the announcement", ATTACK_LATE_MS);
	uint8_t incarnation[32];
	struct anchor_state s;
	json_t *v = attack_page(n);
	enum err e = json_get_hex(incarnation, 32, v, "incarnation");

	json_decref(v);
	if (e != ERR_OK)
		return attack_broke(a, "%s: who is it?", n->name);
	do {
		if (!attack_anchor(a, &s))
			return false;
		if (s.v.announced.set &&
		    memcmp(s.v.announced.incarnation, incarnation, 32) == 0)
			return true;
	} while (ctl_wait_more(&w));
	return attack_broke(a, "%s does not announce", n->name);
}

/* Somebody sends again what the first one had signed. */
static bool
send_again(struct attack *a, const struct lab_node *n, struct buf *call)
{
	struct contract_tx tx = { .data = *call };
	struct refusal why = { .code = REASON_NONE };
	enum err e;

	*call = (struct buf){ 0 }; /* transferred */
	memcpy(tx.to, a->k.anchor, sizeof tx.to);
	e = contract_send(a->c, &a->k, &tx, 1, &why);
	contract_tx_fini(&tx);
	if (e == ERR_OK)
		return attack_won(
		    a, "the anchor takes the announcement of %s", n->name);
	if (e != ERR_DENIED)
		return attack_broke(a, "the anchor: %s", err_text(e));
	attack_refused(a, "the anchor", reason_label(why.code), why.detail);
	return true;
}

bool
attack_two_cold_starts(struct attack *a)
{
	const struct lab_node *one = &a->l->node[0], *two = &a->l->node[1];
	struct anchor_state before, after;
	struct buf call = { 0 };
	bool ok;

	if (!attack_agree(a) || !attack_anchor(a, &before) ||
	    !attack_kill_all(a) || !attack_start_all(a) ||
	    attack_best(a) == NULL || !attack_name(a, one, false) ||
	    !await_announced(a, one))
		return false;
	attack_say(
	    a, "%s has announced; now %s is named", one->name, two->name);
	ok = last_call(a, &call) && attack_name(a, two, false) &&
	    send_again(a, one, &call);
	buf_fini(&call);
	if (!ok || !await_announced(a, two) || !attack_await_joining(a, one) ||
	    !attack_await_text(a, two, "phase", "ready", ATTACK_LATE_MS) ||
	    !attack_await_text(a, one, "phase", "ready", ATTACK_LATE_MS) ||
	    !attack_anchor(a, &after))
		return false;
	if (after.v.at.generation != before.v.at.generation + 1)
		return attack_won(a, "the chain is at generation %llu",
		    (unsigned long long)after.v.at.generation);
	return true;
}

/* ---- copies of everything ---- */

/* A process for each slot, from a copy of its disk; they know each other. */
static bool
start_copies(struct attack *a)
{
	struct attack_copy_wishes w = { .strangers = true };
	const struct lab_node *d;

	for (unsigned i = 0; i < ATTACK_NODES; i++) {
		const struct lab_node *n = &a->l->node[i];

		w.host = n->host;
		if (!attack_take(a, n, "live") ||
		    (d = attack_copy(a, n, &w)) == NULL ||
		    !attack_put(a, d, n, "live") || !attack_start(a, d))
			return false;
	}
	for (unsigned i = 0; i < ATTACK_NODES; i++)
		if (!attack_await_joining(a, &a->copy[i]))
			return false;
	return true;
}

bool
attack_while_alive(struct attack *a)
{
	struct ctl_wait w = ctl_wait(a->c, "the veto", ATTACK_LATE_MS);
	struct anchor_state before, s;
	char detail[160];

	attack_say(a, "all disks are copied; three processes start from them");
	if (!start_copies(a) || !attack_silent(a, &a->copy[0]) ||
	    !attack_anchor(a, &before) || !attack_name(a, &a->copy[0], false))
		return false;
	do {
		if (!attack_anchor(a, &s))
			return false;
		if (s.v.at.generation != before.v.at.generation)
			return attack_won(a, "generation %llu was opened",
			    (unsigned long long)s.v.at.generation);
	} while (s.v.vetoes == before.v.vetoes && ctl_wait_more(&w));
	if (s.v.vetoes == before.v.vetoes)
		return attack_broke(a, "nobody vetoes");
	(void)snprintf(detail, sizeof detail,
	    "generation %llu was announced, the living cluster objects",
	    (unsigned long long)before.v.at.generation + 1);
	attack_refused(a, "the cluster", "vetoed", detail);
	return attack_await_joining(a, &a->copy[0]) &&
	    attack_silent(a, &a->copy[0]) && attack_grow(a, 1);
}

/* The nodes see the chain through a line that can be cut. */
static bool
use_relay(struct attack *a, uint16_t port)
{
	for (unsigned i = 0; i < ATTACK_NODES; i++) {
		const struct lab_node *n = &a->l->node[i];
		const struct lab_node_wishes w = {
			.slot = n->name, .genesis = i == 0, .rpc_port = port
		};

		if (lab_write_node(a->l, n, &w) != ERR_OK)
			return attack_broke(a, "%s: no file", n->name);
		if (!attack_kill(a, n) || !attack_start(a, n) ||
		    !attack_await_text(a, n, "phase", "ready", ATTACK_LATE_MS))
			return false;
	}
	return true;
}

/* Until the next generation is open, looks how long each node might serve. */
static bool
watch_fence(struct attack *a, uint64_t generation)
{
	struct ctl_wait w = ctl_wait(a->c, "the opening", ATTACK_LATE_MS);
	uint64_t cut = clock_mono_ms(), fenced = 0;
	struct anchor_state s;
	char detail[160];

	do {
		unsigned silent = 0;

		for (unsigned i = 0; i < ATTACK_NODES; i++) {
			json_t *v = attack_page(&a->l->node[i]);

			silent += v != NULL && attack_true(v, "cluster.fenced");
			json_decref(v);
		}
		if (silent == ATTACK_NODES && fenced == 0)
			fenced = clock_mono_ms();
		if (!attack_anchor(a, &s))
			return false;
		if (s.v.at.generation == generation)
			continue;
		if (fenced == 0)
			return attack_won(a,
			    "generation %llu is open, and %u of the nodes of "
			    "%llu may serve",
			    (unsigned long long)s.v.at.generation,
			    ATTACK_NODES - silent,
			    (unsigned long long)generation);
		(void)snprintf(detail, sizeof detail,
		    "silent %.1f s after the cut; generation %llu opened "
		    "%.1f s later",
		    (double)(fenced - cut) / 1000,
		    (unsigned long long)s.v.at.generation,
		    (double)(clock_mono_ms() - fenced) / 1000);
		attack_refused(a, "the old nodes", "fenced", detail);
		return true;
	} while (ctl_wait_more(&w));
	return attack_broke(a, "the copies do not open a generation");
}

/* The copies are the cluster now: their disks are the seats'. */
static bool
move_in(struct attack *a)
{
	for (unsigned i = 0; i < ATTACK_NODES; i++)
		if (!attack_await_text(
			a, &a->copy[i], "phase", "ready", ATTACK_LATE_MS))
			return false;
	for (unsigned i = 0; i < ATTACK_NODES; i++)
		if (!attack_take(a, &a->copy[i], "next"))
			return false;
	for (unsigned i = 0; i < ATTACK_NODES; i++)
		if (!attack_kill(a, &a->copy[i]) ||
		    !attack_kill(a, &a->l->node[i]) ||
		    !attack_put(a, &a->l->node[i], &a->copy[i], "next"))
			return false;
	return true;
}

bool
attack_while_cut_off(struct attack *a)
{
	const struct lab_node *n = &a->l->node[0];
	struct anchor_state s;
	char line[200] = "";
	uint16_t port;
	long end;

	if (lab_free_ports(&port, 1) != ERR_OK ||
	    lab_start_relay(a->c, a->l, port) != CTL_OK)
		return attack_broke(a, "no relay");
	attack_say(a, "the nodes are started anew, the chain behind a relay");
	if (!use_relay(a, port))
		return false;
	attack_say(a, "all disks are copied; three processes start from them");
	if (!start_copies(a) || !attack_anchor(a, &s))
		return false;
	end = attack_log_end(a, n);
	attack_say(a, "the nodes' line to the chain goes silent");
	if (!attack_freeze(a, LAB_RELAY) ||
	    !attack_name(a, &a->copy[0], false) ||
	    !watch_fence(a, s.v.at.generation) || !attack_silent(a, n))
		return false;
	attack_say(a, "the line is there again");
	if (!attack_thaw(a, LAB_RELAY) ||
	    !attack_await_log(
		a, n, end, "event=halted", line, sizeof line, ATTACK_LATE_MS))
		return false;
	attack_refused(a, n->name, "generation", line);
	return move_in(a);
}
