#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/hex.h"
#include "common/eth/header.h"
#include "common/eth/rpc.h"
#include "kms/gate/stateask.h"

/* Depth of a proof that is plausible: a billion accounts are nine deep. */
#define NODE_MAX 1024u
/* JSON around the nodes of an account's proof, and of one slot's. */
#define PROOF_BASE (64u * 1024)
#define PROOF_SLOT (24u * 1024)
#define CODE_REPLY (2u * EVM_CODE_MAX + 4096u)

enum kind {
	ASK_HEADER,
	ASK_PROOF,
	ASK_CODE,
};

struct ask {
	enum kind kind;
	const struct stateask_want *want;
	struct buf params; /* owns */
};

/* One endpoint being asked. */
struct turn {
	struct stateask *a;
	struct world *w;
	unsigned endpoint;
	struct endpoint_notes *notes;
	bool lied; /* it sent something that does not verify */
	enum err err; /* ERR_NOMEM ends everything */
};

static void
failed(struct turn *t, const char *word)
{
	endpoints_note(t->notes, t->a->es, t->endpoint, word);
}

static void
lied(struct turn *t, const char *word)
{
	if (t->lied)
		return;
	t->lied = true;
	endpoints_odd(t->a->es, t->endpoint, ENDPOINT_ODD_PROOF, word);
	failed(t, word);
}

/* ---- what is missing ---- */

static bool
has_slots(struct world *w, const struct stateask_want *want)
{
	uint8_t value[32];

	for (unsigned i = 0; i < want->n_slots; i++)
		if (world_slot(w, value, want->address, want->slot[i]) !=
		    ERR_OK)
			return false;
	return true;
}

static bool
has_proof(struct world *w, const struct stateask_want *want)
{
	struct stateproof_account acc;

	return world_account(w, &acc, want->address) == ERR_OK &&
	    has_slots(w, want);
}

static bool
has_code(struct world *w, const struct stateask_want *want)
{
	struct bytes code;

	return !want->code || world_code(w, &code, want->address) == ERR_OK;
}

static bool
has_all(struct world *w, const struct stateask_want *want, size_t n)
{
	struct world_header h;

	if (world_header(w, &h) != ERR_OK)
		return false;
	for (size_t i = 0; i < n; i++)
		if (!has_proof(w, &want[i]) || !has_code(w, &want[i]))
			return false;
	return true;
}

/* ---- questions ---- */

static enum err
put_block(struct buf *out, const struct world *w)
{
	char hash[65];

	hex_encode(hash, world_block(w)->hash, 32);
	return buf_printf(
	    out, "{\"blockHash\":\"0x%s\",\"requireCanonical\":true}]", hash);
}

static enum err
put_params(struct ask *q, const struct world *w)
{
	char hex[65];
	enum err e;

	if (q->kind == ASK_HEADER)
		return buf_printf(&q->params, "[\"0x%s\",false]",
		    hex_encode(hex, world_block(w)->hash, 32));
	e = buf_printf(
	    &q->params, "[\"0x%s\",", hex_encode(hex, q->want->address, 20));
	if (q->kind == ASK_PROOF) {
		if (e == ERR_OK)
			e = buf_printf(&q->params, "[");
		for (unsigned i = 0; e == ERR_OK && i < q->want->n_slots; i++)
			e = buf_printf(&q->params, "%s\"0x%s\"",
			    i > 0 ? "," : "",
			    hex_encode(hex, q->want->slot[i], 32));
		if (e == ERR_OK)
			e = buf_printf(&q->params, "],");
	}
	return e == ERR_OK ? put_block(&q->params, w) : e;
}

static struct endpoint_ask
as_endpoint_ask(const struct turn *t, const struct ask *q)
{
	struct endpoint_ask ea = { .endpoint = t->endpoint,
		.params = (const char *)q->params.p };

	switch (q->kind) {
	case ASK_HEADER:
		ea.method = "eth_getBlockByHash";
		ea.max_reply = LIMIT_RPC_BLOCK;
		break;
	case ASK_PROOF:
		ea.method = "eth_getProof";
		ea.max_reply = PROOF_BASE + PROOF_SLOT * q->want->n_slots;
		break;
	case ASK_CODE:
		ea.method = "eth_getCode";
		ea.max_reply = CODE_REPLY;
		break;
	}
	return ea;
}

/* ---- answers ---- */

static enum err
check_header(struct world_header *out, const struct stateask *a,
    const struct chain_block *at, const struct header *h, const char **what)
{
	uint8_t hash[32];
	enum err e = header_hash(hash, h);

	if (e != ERR_OK)
		return e;
	*what = "its fields do not make the block's hash";
	if (memcmp(hash, at->hash, sizeof hash) != 0)
		return ERR_AUTH;
	/* What the endpoints said beside the hash was only their word. */
	*what = "the block has another number or time";
	if (h->number != at->number || h->timestamp != at->timestamp)
		return ERR_AUTH;
	*out = (struct world_header){ .block = { .number = h->number,
					  .timestamp = h->timestamp,
					  .gas_limit = h->gas_limit,
					  .chain_id = a->chain_id } };
	memcpy(out->state_root, h->state_root, 32);
	if (h->n_later > HEADER_BASE_FEE)
		memcpy(out->block.base_fee, h->later[HEADER_BASE_FEE], 32);
	memcpy(out->block.prev_randao, h->mix_hash, 32);
	memcpy(out->block.coinbase, h->coinbase, 20);
	memcpy(out->block.hash, hash, 32);
	memcpy(out->block.parent_hash, h->parent_hash, 32);
	return ERR_OK;
}

static void
take_header(struct turn *t, const json_t *v)
{
	struct header h = { .number = 0 };
	const char *what = "a header that does not parse";
	struct world_header known;
	enum err e;

	if (json_is_null(v)) {
		failed(t, "no such block");
		return;
	}
	e = header_from_json(&h, v);
	if (e == ERR_OK)
		e = check_header(&known, t->a, world_block(t->w), &h, &what);
	if (e == ERR_OK)
		world_set_header(t->w, &known);
	else if (e == ERR_NOMEM)
		t->err = e;
	else
		lied(t, what);
	header_fini(&h);
}

struct proof {
	struct buf buf[MPT_DEPTH_MAX];
	struct bytes node[MPT_DEPTH_MAX];
	size_t n;
};

static enum err
read_proof(struct proof *p, const json_t *list)
{
	enum err e;

	if (!json_is_array(list) || json_array_size(list) > MPT_DEPTH_MAX)
		return ERR_MALFORMED;
	p->n = json_array_size(list);
	for (size_t i = 0; i < p->n; i++) {
		e = rpc_data(&p->buf[i], NODE_MAX, json_array_get(list, i));
		if (e != ERR_OK)
			return e == ERR_NOMEM ? e : ERR_MALFORMED;
		p->node[i] = buf_view(&p->buf[i]);
	}
	return ERR_OK;
}

static void
proof_fini(struct proof *p)
{
	for (size_t i = 0; i < MPT_DEPTH_MAX; i++)
		buf_fini(&p->buf[i]);
}

static enum err
take_account(struct turn *t, struct proof *p, const struct stateask_want *want,
    const json_t *v, struct stateproof_account *acc)
{
	struct world_header h;
	enum err e = world_header(t->w, &h);

	if (e == ERR_OK)
		e = read_proof(p, json_object_get(v, "accountProof"));
	if (e == ERR_OK)
		e = stateproof_account(
		    acc, h.state_root, want->address, p->node, p->n);
	return e == ERR_OK ? world_put_account(t->w, want->address, acc) : e;
}

static enum err
take_slots(struct turn *t, struct proof *p, const struct stateask_want *want,
    const json_t *v, const struct stateproof_account *acc)
{
	const json_t *list = json_object_get(v, "storageProof");
	uint8_t value[32];
	enum err e = ERR_OK;

	if (json_array_size(list) != want->n_slots)
		return ERR_MALFORMED;
	for (unsigned i = 0; e == ERR_OK && i < want->n_slots; i++) {
		e = read_proof(
		    p, json_object_get(json_array_get(list, i), "proof"));
		if (e == ERR_OK)
			e = stateproof_slot(value, acc->storage_root,
			    want->slot[i], p->node, p->n);
		if (e == ERR_OK)
			e = world_put_slot(
			    t->w, want->address, want->slot[i], value);
	}
	return e;
}

static void
take_proof(struct turn *t, const struct stateask_want *want, const json_t *v)
{
	struct stateproof_account acc;
	struct proof *p = calloc(1, sizeof *p);
	const char *what = "an account that is not proven";
	enum err e = ERR_NOMEM;

	if (p == NULL) {
		t->err = ERR_NOMEM;
		return;
	}
	e = take_account(t, p, want, v, &acc);
	if (e == ERR_OK) {
		what = "a slot that is not proven";
		e = take_slots(t, p, want, v, &acc);
	}
	if (e == ERR_NOMEM)
		t->err = e;
	else if (e != ERR_OK && e != ERR_NOTFOUND) /* NOTFOUND: no header */
		lied(t, what);
	proof_fini(p);
	free(p);
}

static void
take_code(struct turn *t, const struct stateask_want *want, const json_t *v)
{
	struct stateproof_account acc;
	const struct code *k = NULL;
	struct buf code = { 0 };
	struct bytes view;
	enum err e;

	if (world_account(t->w, &acc, want->address) != ERR_OK ||
	    has_code(t->w, want))
		return;
	e = rpc_data(&code, EVM_CODE_MAX, v);
	if (e == ERR_OK) {
		k = codes_put(t->a->codes, buf_view(&code));
		e = k != NULL ? ERR_OK : ERR_NOMEM;
	}
	/* Now the world takes it, if it is the account's. */
	if (e == ERR_OK)
		e = world_code(t->w, &view, want->address);
	if (e == ERR_NOMEM)
		t->err = e;
	else if (e != ERR_OK)
		lied(t, "code that is not the account's");
	codes_unref(k);
	buf_fini(&code);
}

static void
take(struct turn *t, const struct ask *q, const struct rpc_reply *r)
{
	if (r->err == ERR_NOMEM)
		t->err = ERR_NOMEM;
	if (r->err != ERR_OK) {
		failed(t, r->message);
		return;
	}
	switch (q->kind) {
	case ASK_HEADER:
		take_header(t, r->result);
		break;
	case ASK_PROOF:
		take_proof(t, q->want, r->result);
		break;
	case ASK_CODE:
		take_code(t, q->want, r->result);
		break;
	}
}

/* ---- rounds ---- */

/* Asked in one round; answers are looked at in the order of the questions, so
 * that what verifies others comes first. */
static void
ask_round(struct turn *t, struct ask *q, size_t n)
{
	struct endpoint_ask ea[LIMIT_RPC_PARALLEL] = { 0 };
	struct rpc_reply reply[LIMIT_RPC_PARALLEL];

	for (size_t i = 0; i < n && t->err == ERR_OK; i++) {
		t->err = put_params(&q[i], t->w);
		ea[i] = as_endpoint_ask(t, &q[i]);
	}
	if (t->err == ERR_OK) {
		endpoints_ask(t->a->es, reply, ea, n);
		for (size_t i = 0; i < n; i++) {
			if (!t->lied)
				take(t, &q[i], &reply[i]);
			rpc_reply_fini(&reply[i]);
		}
	}
	for (size_t i = 0; i < n; i++)
		buf_fini(&q[i].params);
}

struct queue {
	struct ask q[LIMIT_RPC_PARALLEL];
	size_t n;
};

static void
flush(struct turn *t, struct queue *q)
{
	if (q->n > 0 && t->err == ERR_OK && !t->lied)
		ask_round(t, q->q, q->n);
	q->n = 0;
}

static void
add(struct turn *t, struct queue *q, enum kind kind,
    const struct stateask_want *want)
{
	if (q->n == LIMIT_RPC_PARALLEL)
		flush(t, q);
	q->q[q->n++] = (struct ask){ .kind = kind, .want = want };
}

static void
ask_endpoint(struct turn *t, const struct stateask_want *want, size_t n)
{
	struct world_header h;
	struct queue q = { .n = 0 };

	if (world_header(t->w, &h) != ERR_OK)
		add(t, &q, ASK_HEADER, NULL);
	for (size_t i = 0; i < n; i++) {
		if (!has_proof(t->w, &want[i]))
			add(t, &q, ASK_PROOF, &want[i]);
		if (!has_code(t->w, &want[i]))
			add(t, &q, ASK_CODE, &want[i]);
	}
	flush(t, &q);
}

enum err
stateask_fetch(struct stateask *a, struct world *w,
    const struct stateask_want *want, size_t n, struct refusal *why)
{
	unsigned count = endpoints_count(a->es);
	unsigned first = atomic_load(&a->first);
	endpoint_set lively = endpoints_lively(a->es, 1), asked = 0;
	struct endpoint_notes notes = { 0 };
	bool lies = false;

	if (has_all(w, want, n))
		return ERR_OK;
	/* The lively ones first, and then those that were silent. */
	for (unsigned k = 0; k < 2 * count; k++) {
		unsigned i = (first + k) % count;
		struct turn t = { .a = a,
			.w = w,
			.endpoint = i,
			.notes = &notes,
			.err = ERR_OK };

		if ((asked >> i & 1) != 0 ||
		    (k < count && (lively >> i & 1) == 0))
			continue;
		asked |= 1u << i;
		ask_endpoint(&t, want, n);
		if (t.err != ERR_OK)
			return t.err;
		lies |= t.lied;
		if (has_all(w, want, n)) {
			atomic_store(&a->first, i);
			return ERR_OK;
		}
	}
	(void)refuse(why, lies ? REASON_CHAIN_PROOF : REASON_CHAIN_UNREACHABLE,
	    "block %" PRIu64 ": %s", world_block(w)->number, notes.text);
	return ERR_AGAIN;
}
