/* kmsctl anchor ...: what the chain keeps for a cluster, and what its
 * operators say there. */
#include <string.h>

#include "common/base/hex.h"
#include "kms/ctl/contract.h"

#define FINAL_MS 120000

static const struct args_option options_read[] = {
	CONTRACT_OPTIONS_READ,
	CONTRACT_OPTION_ANCHOR,
	{ NULL, NULL, NULL },
};
static const struct args_option options_send[] = {
	CONTRACT_OPTIONS_SEND,
	CONTRACT_OPTION_ANCHOR,
	{ "wait-final", NULL, "return once KMS nodes can see it" },
	{ NULL, NULL, NULL },
};
static const struct args_option options_recover[] = {
	CONTRACT_OPTIONS_SEND,
	CONTRACT_OPTION_ANCHOR,
	{ "lossy", NULL, "even with fewer disks than the rule asks for" },
	{ "clear", NULL, "withdraw the order" },
	{ "wait-final", NULL, "return once KMS nodes can see it" },
	{ NULL, NULL, NULL },
};

static enum ctl_exit
which(struct contract *k, const struct ctl *c, const struct args *a, bool send)
{
	enum ctl_exit rc = contract_from_args(k, c, a, send, false);

	if (rc == CTL_OK && !k->has_anchor)
		rc = ctl_fail(c, CTL_USAGE,
		    "which anchor? give --anchor 0xADDRESS, or --sim DIR");
	return rc;
}

static json_t *
hex_text(const uint8_t h[static 32])
{
	char text[67] = "0x";

	hex_encode(text + 2, h, 32);
	return json_string(text);
}

static json_t *
address_text(const uint8_t a[static 20])
{
	char text[ACCOUNT_ADDRESS_TEXT];

	account_address_text(text, a);
	return json_string(text);
}

/* ---- status ---- */

static json_t *
order_json(const struct anchor_state *s)
{
	if (!s->v.order.set)
		return json_null();
	return json_pack("{s:I, s:o, s:b}", "number", (json_int_t)s->orders,
	    "incarnation", hex_text(s->v.order.incarnation), "lossy",
	    (int)s->v.order.lossy);
}

static json_t *
announced_json(const struct anchor_view *v)
{
	if (!v->announced.set)
		return json_null();
	return json_pack("{s:I, s:I, s:o, s:o, s:I}", "generation",
	    (json_int_t)v->announced.to.generation, "index",
	    (json_int_t)v->announced.to.index, "hash",
	    hex_text(v->announced.to.hash), "incarnation",
	    hex_text(v->announced.incarnation), "open_at",
	    (json_int_t)v->announced.open_at);
}

static json_t *
seats_json(const struct anchor_view *v)
{
	json_t *seats = json_array();

	for (unsigned i = 0; i < v->n_seats; i++)
		(void)json_array_append_new(seats,
		    json_pack("{s:s, s:o}", "slot", v->seat[i].slot,
			"device_id", hex_text(v->seat[i].device_id)));
	return seats;
}

/* Nobody speaks for a cluster that was never opened. */
static json_t *
signer_json(const struct anchor_state *s, const char *ether)
{
	if (s->v.at.generation == 0)
		return json_null();
	return json_pack("{s:o, s:s, s:I}", "address", address_text(s->signer),
	    "ether", ether, "rotations", (json_int_t)s->rotations);
}

static json_t *
point_json(const struct anchor_point *p)
{
	if (p->generation == 0)
		return json_null();
	return json_pack("{s:I, s:I, s:o}", "generation",
	    (json_int_t)p->generation, "index", (json_int_t)p->index, "hash",
	    hex_text(p->hash));
}

static enum ctl_exit
run_status(struct ctl *c, const struct args *a)
{
	struct refusal why = { .code = REASON_NONE };
	char ether[ETHER_TEXT] = "0";
	struct anchor_state s;
	struct contract k;
	enum ctl_exit rc;
	enum err e;

	if ((rc = which(&k, c, a, false)) != CTL_OK)
		return rc;
	e = contract_anchor(&s, &k, &why);
	if (e == ERR_OK && s.v.at.generation != 0)
		e = contract_balance(ether, &k, s.signer, &why);
	if (e != ERR_OK)
		return ctl_denied(c, "anchor", e, &why);
	return ctl_result(c,
	    json_pack("{s:o, s:o, s:o, s:I, s:o, s:o, s:o, s:o, s:I, s:o}",
		"contract", address_text(k.anchor), "kms_contract",
		address_text(s.kms), "owner", address_text(s.owner), "wait_s",
		(json_int_t)s.v.wait_s, "point", point_json(&s.v.at), "signer",
		signer_json(&s, ether), "order", order_json(&s), "announced",
		announced_json(&s.v), "vetoes", (json_int_t)s.v.vetoes, "seats",
		seats_json(&s.v)),
	    CTL_OK);
}

/* ---- what operators say ---- */

/* send sends one call, which it takes, and answers with `told`, which it
 * takes, too. */
static enum ctl_exit
send(const struct ctl *c, const struct args *a, const struct contract *k,
    struct buf *call, json_t *told)
{
	struct contract_tx tx = { .data = *call };
	struct refusal why = { .code = REASON_NONE };
	char hash[67] = "0x";
	enum err e;

	*call = (struct buf){ 0 }; /* transferred */
	memcpy(tx.to, k->anchor, sizeof tx.to);
	e = contract_send(c, k, &tx, 1, &why);
	if (e == ERR_OK && args_has(a, "wait-final"))
		e = contract_await_final(
		    c, k, tx.receipt.block_number, FINAL_MS);
	hex_encode(hash + 2, tx.hash, 32);
	contract_tx_fini(&tx);
	if (e != ERR_OK) {
		json_decref(told);
		return ctl_denied(c, "anchor", e, &why);
	}
	(void)json_object_set_new(told, "transaction", json_string(hash));
	(void)json_object_set_new(
	    told, "block", json_integer((json_int_t)tx.receipt.block_number));
	return ctl_result(c, told, CTL_OK);
}

static enum ctl_exit
bad_slot(const struct ctl *c, const char *slot)
{
	return ctl_fail(c, CTL_USAGE,
	    "%.60s: a slot is 1 to 31 printable characters without space, "
	    "'/' and '#'",
	    slot);
}

static enum ctl_exit
run_seat_set(struct ctl *c, const struct args *a)
{
	struct buf call = { 0 };
	struct contract k;
	uint8_t device[32];
	enum ctl_exit rc;

	if (hex_fixed(device, 32, a->pos[1]) != ERR_OK)
		return ctl_fail(
		    c, CTL_USAGE, "%.80s: must be 32 bytes in hex", a->pos[1]);
	if (anchorabi_set_seat(&call, a->pos[0], device) != ERR_OK)
		return bad_slot(c, a->pos[0]);
	if ((rc = which(&k, c, a, true)) == CTL_OK)
		rc = send(c, a, &k, &call,
		    json_pack("{s:s, s:o}", "slot", a->pos[0], "device_id",
			hex_text(device)));
	buf_fini(&call);
	return rc;
}

static enum ctl_exit
run_seat_remove(struct ctl *c, const struct args *a)
{
	struct buf call = { 0 };
	struct contract k;
	enum ctl_exit rc;

	if (anchorabi_remove_seat(&call, a->pos[0]) != ERR_OK)
		return bad_slot(c, a->pos[0]);
	if ((rc = which(&k, c, a, true)) == CTL_OK)
		rc = send(
		    c, a, &k, &call, json_pack("{s:s}", "removed", a->pos[0]));
	buf_fini(&call);
	return rc;
}

static enum ctl_exit
run_recover(struct ctl *c, const struct args *a)
{
	uint8_t incarnation[INCARNATION_ID_LEN] = { 0 };
	static const uint8_t zero[INCARNATION_ID_LEN];
	bool clear = args_has(a, "clear"), lossy = args_has(a, "lossy");
	struct buf call = { 0 };
	struct contract k;
	enum ctl_exit rc;

	if (clear ? a->n_pos > 0 || lossy : a->n_pos == 0)
		return ctl_fail(c, CTL_USAGE,
		    "give the INCARNATION that shall recover the cluster "
		    "(and --lossy), or --clear alone");
	if (!clear &&
	    (hex_fixed(incarnation, sizeof incarnation, a->pos[0]) != ERR_OK ||
		memcmp(incarnation, zero, sizeof zero) == 0))
		return ctl_fail(c, CTL_USAGE,
		    "%.80s: must be 32 bytes in hex, and not zero", a->pos[0]);
	if ((rc = which(&k, c, a, true)) != CTL_OK)
		return rc;
	if (anchorabi_name_recovery(&call, incarnation, lossy) != ERR_OK)
		rc = ctl_fail(c, CTL_FAILED, "out of memory");
	else
		rc = send(c, a, &k, &call,
		    json_pack("{s:o, s:b}", "recover",
			clear ? json_null() : hex_text(incarnation), "lossy",
			(int)lossy));
	buf_fini(&call);
	return rc;
}

const struct ctl_command cmd_anchor[] = {
	{ "anchor status", "",
	    "how far the log was confirmed, seats, order, announcement",
	    options_read, 0, 0, run_status },
	{ "anchor seat set", "SLOT DEVICE", "let a device hold a slot",
	    options_send, 2, 2, run_seat_set },
	{ "anchor seat remove", "SLOT", "nobody holds it any more",
	    options_send, 1, 1, run_seat_remove },
	{ "anchor recover", "[INCARNATION]",
	    "name the node that shall recover the cluster", options_recover, 0,
	    1, run_recover },
	{ .name = NULL },
};
