/* Attacks by processes that want in: copies, the replaced, the misplaced. */
#include <string.h>

#include "kms/ctl/attack_int.h"
#include "kms/ctl/lab_make.h"

#define STEPS 3

/* T9. */
bool
attack_fork_running(struct attack *a)
{
	const struct lab_node *n = attack_follower(a, 0), *d;
	struct attack_copy_wishes w = { 0 };

	if (n == NULL)
		return false;
	w.host = n->host;
	attack_say(a, "the disk of %s is copied while it runs", n->name);
	if (!attack_take(a, n, "live") || (d = attack_copy(a, n, &w)) == NULL ||
	    !attack_put(a, d, n, "live"))
		return false;
	attack_say(a, "a second process starts from it, on the same machine");
	return attack_start(a, d) && attack_await_outside(a, d, "slot_alive") &&
	    attack_silent(a, d) && attack_grow(a, STEPS) &&
	    attack_await_outside(a, d, "slot_alive");
}

/* The other nodes know where the new life of `n` will be. */
static bool
tell_others(struct attack *a, const struct lab_node *n)
{
	for (unsigned i = 0; i < a->l->n_nodes; i++) {
		const struct lab_node *o = &a->l->node[i];
		struct lab_node_wishes w = { .slot = o->name,
			.genesis = i == 0,
			.peer = a->copy,
			.n_peers = 1 };

		if (o == n || !o->listed)
			continue;
		if (lab_write_node(a->l, o, &w) != ERR_OK)
			return attack_broke(a, "%s: no file", o->name);
		if (!attack_kill(a, o) || !attack_start(a, o) ||
		    !attack_await_text(a, o, "phase", "ready", ATTACK_LATE_MS))
			return false;
	}
	return true;
}

/* T14, T20.  What a replaced life has signed is worth nothing; here it says
 * it itself, as a leader, with the sessions that it had. */
bool
attack_replayed_messages(struct attack *a)
{
	const struct lab_node *old, *d;
	struct attack_copy_wishes w = { 0 };
	char line[200] = "";
	long end;

	if ((old = attack_leader(a)) == NULL)
		return false;
	w.host = old->host;
	if ((d = attack_copy(a, old, &w)) == NULL || !tell_others(a, old))
		return false;
	attack_say(a, "%s is frozen; a new life takes its slot", old->name);
	if (!attack_freeze(a, old->name) || !attack_start(a, d) ||
	    !attack_await_text(a, d, "phase", "ready", ATTACK_LATE_MS) ||
	    !attack_grow(a, STEPS))
		return false;
	end = attack_log_end(a, old);
	attack_say(a, "%s goes on where it was", old->name);
	if (!attack_thaw(a, old->name) ||
	    !attack_await_log(
		a, old, end, "event=halted", line, sizeof line, ATTACK_SOON_MS))
		return false;
	if (strstr(line, "why=evicted") == NULL)
		return attack_broke(a, "%s: %s", old->name, line);
	attack_refused(a, old->name, "evicted", line);
	return attack_await_outside(a, old, "slot_alive") &&
	    attack_silent(a, old) && attack_grow(a, 1);
}

/* The owner's own key cannot begin the cluster a second time. */
static bool
genesis_again(struct attack *a)
{
	static const uint8_t any[32] = { 1 };
	struct contract_tx tx = { 0 };
	struct refusal why = { .code = REASON_NONE };
	enum err e = anchorabi_genesis(&tx.data, 1, any, any, any);

	memcpy(tx.to, a->k.anchor, sizeof tx.to);
	if (e == ERR_OK)
		e = contract_send(a->c, &a->k, &tx, 1, &why);
	contract_tx_fini(&tx);
	if (e == ERR_OK)
		return attack_won(a, "the anchor has begun anew");
	if (e != ERR_DENIED)
		return attack_broke(a, "the anchor: %s", err_text(e));
	attack_refused(a, "the anchor", reason_label(why.code), why.detail);
	return true;
}

/* T12. */
bool
attack_second_genesis(struct attack *a)
{
	const struct lab_node *n = attack_follower(a, 0), *d;
	struct attack_copy_wishes w = { .genesis = true };
	json_t *v;
	bool none;

	if (n == NULL)
		return false;
	w.host = n->host;
	attack_say(a, "a node with `genesis: true` and no disk starts");
	if ((d = attack_copy(a, n, &w)) == NULL || !attack_start(a, d) ||
	    !attack_await_log(
		a, d, 0, "event=genesis_refused", NULL, 0, ATTACK_SOON_MS))
		return false;
	attack_refused(a, d->name, "genesis_done", "a root is on chain");
	if (!attack_await_outside(a, d, "slot_alive"))
		return false;
	v = attack_page(d);
	none = json_array_size(json_object_get(v, "epochs")) == 0;
	json_decref(v);
	if (!none)
		return attack_won(a, "%s has roots", d->name);
	return attack_silent(a, d) && genesis_again(a);
}

/* T26.  Image and device are on the contract's lists, but the device is not
 * the seat's. */
bool
attack_wrong_slot(struct attack *a)
{
	const struct lab_node *n = attack_follower(a, 0),
			      *elsewhere = attack_leader(a), *d;
	struct attack_copy_wishes w = { 0 };

	if (n == NULL || elsewhere == NULL)
		return false;
	w.host = elsewhere->host;
	attack_say(a, "the slot of %s is claimed on the machine of %s", n->name,
	    elsewhere->name);
	return (d = attack_copy(a, n, &w)) != NULL && attack_start(a, d) &&
	    attack_await_outside(a, d, "seat") && attack_silent(a, d);
}
