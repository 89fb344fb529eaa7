#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/base/hex.h"
#include "common/eth/rpc.h"
#include "common/net/fetch.h"
#include "kms/ctl/lab.h"
#include "kms/gate/gate.h"
#include "tests/bench/bench_gate.h"

#define BLOCKS 40u
#define TIMES 2000u
#define POLL_MS 1000u
#define NODES_MAX 64u

static uint64_t fake_ms = 1;

static uint64_t
mono(void)
{
	return fake_ms;
}

static double
cpu_us(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static void
line(FILE *json, const char *name, double us)
{
	(void)fprintf(json,
	    "{\"name\":\"%s\",\"value\":%.2f,\"unit\":\"us\"}\n", name, us);
}

struct setting {
	struct lab *lab;
	char url[CONTRACT_URL_MAX];
	struct chainview *v;
	struct boot_info bi;
	struct standard_code code[8];
	unsigned n;
};

static enum err
open_view(struct setting *s)
{
	const char *url[1] = { s->url };
	const struct chainview_options o = { .urls = url,
		.n = 1,
		.quorum = 1,
		.chain_id = s->lab->chain_id,
		.tag = CHAIN_LATEST,
		.max_age_s = 1000000,
		.max_ahead_s = 1000000,
		.poll_ms = POLL_MS,
		.timeout_ms = 30000,
		.proof = true,
		.mono_ms = mono };

	return chainview_new(&s->v, &o);
}

static enum err
mine(const struct setting *s)
{
	const struct rpc_request rq = { s->url, "evm_mine", "[]", 30000,
		1u << 16 };
	struct rpc_reply r;
	enum err e;

	rpc_all(&r, &rq, 1);
	e = r.err;
	rpc_reply_fini(&r);
	fake_ms += 2 * (uint64_t)POLL_MS;
	return e;
}

/* The code of an address, and of what it delegates to, with a role each. */
static enum err
list_code(struct setting *s, const uint8_t address[static 20],
    enum standard_role role, struct refusal *why)
{
	struct witness *w = chainview_witness(s->v);
	struct stateask_want want = { .n_slots = 1 };
	struct stateproof_account a;
	struct chain_block b;
	struct world *world = NULL;
	uint8_t impl[32];
	enum err e;

	memcpy(want.address, address, 20);
	memcpy(want.slot[0], standard_implementation_slot, 32);
	if ((e = chainview_get(s->v, time(NULL), &b, why)) != ERR_OK ||
	    (e = witness_world(w, &world, &b, why)) != ERR_OK ||
	    (e = witness_fetch(w, world, &want, 1, why)) != ERR_OK ||
	    (e = world_account(world, &a, address)) != ERR_OK)
		goto done;
	s->code[s->n].role = STANDARD_PROXY;
	memcpy(s->code[s->n++].hash, a.code_hash, 32);
	if ((e = world_slot(world, impl, address, want.slot[0])) != ERR_OK)
		goto done;
	memcpy(want.address, impl + 12, 20);
	want.n_slots = 0;
	if ((e = witness_fetch(w, world, &want, 1, why)) != ERR_OK ||
	    (e = world_account(world, &a, want.address)) != ERR_OK)
		goto done;
	s->code[s->n].role = role;
	memcpy(s->code[s->n++].hash, a.code_hash, 32);
done:
	world_unref(world);
	return e;
}

static enum err
open_gate(struct gate **out, const struct setting *s, bool pinned)
{
	enum err e = gate_new(out, s->v, s->lab->kms);

	if (e == ERR_OK && pinned)
		e = gate_pin(*out, s->code, s->n);
	return e;
}

static enum err
ask(struct gate *g, const struct setting *s, struct refusal *why)
{
	struct gate_decision d;
	enum err e = gate_ask(g, GATE_APP, &s->bi, time(NULL), &d, why);

	return e == ERR_DENIED ? ERR_OK : e;
}

/* The first decision of each of some blocks: the best. */
static enum err
by_block(FILE *json, const struct setting *s, struct refusal *why)
{
	struct gate *g = NULL;
	double best = 1e9;
	enum err e = open_gate(&g, s, true);

	for (unsigned i = 0; e == ERR_OK && i < BLOCKS; i++) {
		struct chain_block b;
		double t;

		if ((e = mine(s)) != ERR_OK ||
		    (e = chainview_get(s->v, time(NULL), &b, why)) != ERR_OK)
			break;
		t = cpu_us();
		e = ask(g, s, why);
		t = cpu_us() - t;
		if (t < best)
			best = t;
	}
	line(json, "gate_decision_block", best);
	if (e == ERR_OK) {
		double t = cpu_us();

		for (unsigned i = 0; e == ERR_OK && i < TIMES; i++)
			e = ask(g, s, why);
		line(json, "gate_decision_cached", (cpu_us() - t) / TIMES);
	}
	gate_free(g);
	return e;
}

/* All is known of the block, but not the answer. */
static enum err
decide(FILE *json, const char *name, const struct setting *s, bool pinned,
    struct refusal *why)
{
	double best = 1e9;
	enum err e = ERR_OK;

	for (unsigned i = 0; e == ERR_OK && i < BLOCKS; i++) {
		struct gate *g = NULL;
		double t;

		if ((e = open_gate(&g, s, pinned)) != ERR_OK)
			break;
		t = cpu_us();
		e = ask(g, s, why);
		t = cpu_us() - t;
		if (i > 0 && t < best) /* the first one fetches */
			best = t;
		gate_free(g);
	}
	line(json, name, best);
	return e;
}

/* ---- proofs alone ---- */

static enum err
fetch_proof(struct buf *out, const struct setting *s,
    const uint8_t address[static 20], unsigned n_slots)
{
	struct fetch_request rq = { .url = s->url,
		.content_type = "application/json",
		.timeout_ms = 30000,
		.max_reply = 1u << 20 };
	struct buf body = { 0 };
	struct fetch_reply r;
	char hex[41];
	enum err e;

	e = buf_printf(&body,
	    "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"eth_getProof\","
	    "\"params\":[\"0x%s\",[",
	    hex_encode(hex, address, 20));
	for (unsigned i = 0; e == ERR_OK && i < n_slots; i++)
		e = buf_printf(&body, "%s\"0x%064x\"", i > 0 ? "," : "", i);
	if (e == ERR_OK)
		e = buf_printf(&body, "],\"latest\"]}");
	rq.post = buf_view(&body);
	fetch_all(&r, &rq, 1);
	if (e == ERR_OK)
		e = r.err;
	if (e == ERR_OK)
		e = buf_set(out, r.body.p, r.body.len);
	fetch_reply_fini(&r);
	buf_fini(&body);
	return e;
}

struct nodes {
	struct buf buf[NODES_MAX];
	struct bytes view[NODES_MAX];
	size_t n;
};

static void
read_nodes(struct nodes *p, const json_t *list)
{
	p->n = json_array_size(list) < NODES_MAX ? json_array_size(list)
						 : NODES_MAX;
	for (size_t i = 0; i < p->n; i++)
		if (rpc_data(&p->buf[i], 1024, json_array_get(list, i)) ==
		    ERR_OK)
			p->view[i] = buf_view(&p->buf[i]);
}

/* As stateask does, from the reply's bytes.  The root is hashed as well. */
static void
verify(struct nodes *p, const struct buf *reply, const uint8_t root[static 32],
    const uint8_t address[static 20])
{
	struct stateproof_account a;
	struct rpc_reply r;
	const json_t *list, *one;
	uint8_t slot[32] = { 0 }, value[32];
	size_t i;

	rpc_parse(&r, 1, buf_view(reply));
	read_nodes(p, json_object_get(r.result, "accountProof"));
	if (stateproof_account(&a, root, address, p->view, p->n) != ERR_OK)
		(void)fprintf(stderr, "bench: not proven\n");
	list = json_object_get(r.result, "storageProof");
	json_array_foreach(list, i, one)
	{
		slot[31] = (uint8_t)i;
		read_nodes(p, json_object_get(one, "proof"));
		if (stateproof_slot(
			value, a.storage_root, slot, p->view, p->n) != ERR_OK)
			(void)fprintf(stderr, "bench: not proven\n");
	}
	rpc_reply_fini(&r);
}

/* Both contracts with as many slots as a decision reads, and both
 * implementations' accounts: here, the contracts' own again. */
static enum err
proofs(FILE *json, const struct setting *s, struct refusal *why)
{
	const uint8_t *app = s->bi.app_id, *kms = s->lab->kms;
	static struct nodes p;
	struct buf reply[3] = { { 0 } };
	struct world_header h;
	struct chain_block b;
	struct world *world = NULL;
	enum err e;
	double t;

	if ((e = mine(s)) != ERR_OK ||
	    (e = chainview_get(s->v, time(NULL), &b, why)) != ERR_OK ||
	    (e = witness_world(chainview_witness(s->v), &world, &b, why)) !=
		ERR_OK ||
	    (e = world_header(world, &h)) != ERR_OK ||
	    (e = fetch_proof(&reply[0], s, kms, 3)) != ERR_OK ||
	    (e = fetch_proof(&reply[1], s, app, 5)) != ERR_OK ||
	    (e = fetch_proof(&reply[2], s, app, 0)) != ERR_OK)
		goto done;
	t = cpu_us();
	for (unsigned i = 0; i < TIMES / 10; i++) {
		verify(&p, &reply[0], h.state_root, kms);
		verify(&p, &reply[1], h.state_root, app);
		verify(&p, &reply[2], h.state_root, app);
		verify(&p, &reply[2], h.state_root, app);
	}
	line(json, "gate_proofs_verify", (cpu_us() - t) / (TIMES / 10));
done:
	for (unsigned i = 0; i < 3; i++)
		buf_fini(&reply[i]);
	for (unsigned i = 0; i < NODES_MAX; i++)
		buf_fini(&p.buf[i]);
	world_unref(world);
	return e;
}

enum err
bench_gate(FILE *json, const char *dir, struct refusal *why)
{
	struct setting s = { .bi = { .tcb_status = TCB_UP_TO_DATE } };
	const struct lab_app *app;
	char text[LAB_WHY_MAX];
	enum err e = lab_load(&s.lab, dir, text);

	if (e != ERR_OK) {
		(void)refuse(why, REASON_INTERNAL, "%s", text);
		return e;
	}
	if ((app = lab_find_app(s.lab, "bench")) == NULL) {
		e = ERR_NOTFOUND;
		goto done;
	}
	lab_rpc_url(s.url, s.lab);
	memcpy(s.bi.app_id, app->app_id, 20);
	memcpy(s.bi.compose_hash, app->compose_hash, 32);
	/* run.sh has it allowed: the question goes all the way. */
	memset(s.bi.os_image_hash, 0xbe, 32);
	if ((e = open_view(&s)) == ERR_OK &&
	    (e = list_code(&s, s.lab->kms, STANDARD_KMS, why)) == ERR_OK &&
	    (e = list_code(&s, app->app_id, STANDARD_APP, why)) == ERR_OK &&
	    (e = proofs(json, &s, why)) == ERR_OK &&
	    (e = decide(json, "gate_decide_slots", &s, true, why)) == ERR_OK &&
	    (e = decide(json, "gate_decide_executed", &s, false, why)) ==
		ERR_OK)
		e = by_block(json, &s, why);
done:
	chainview_free(s.v);
	lab_free(s.lab);
	return e;
}
