#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/hex.h"
#include "common/eth/rpc.h"
#include "tests/lib/evm_diff.h"

static json_t *
ask(const struct anvil *a, const char *method, const char *params)
{
	const struct rpc_request rq = { a->url, method, params, 60000,
		4u << 20 };
	struct rpc_reply r;

	rpc_all(&r, &rq, 1);
	if (r.err != ERR_OK) {
		(void)fprintf(stderr, "%s: %s\n", method, r.message);
		abort();
	}
	return r.result;
}

static uint64_t
number(const json_t *v, const char *key)
{
	uint64_t n = 0;
	enum err e = rpc_quantity(&n, json_object_get(v, key));

	assert(e == ERR_OK);
	return n;
}

static void
fixed(uint8_t *out, size_t len, const json_t *v, const char *key)
{
	enum err e = rpc_fixed(out, len, json_object_get(v, key));

	assert(e == ERR_OK);
}

void
evm_diff_block(struct evm_block *out, const struct anvil *a)
{
	json_t *v = ask(a, "eth_getBlockByNumber", "[\"latest\",false]");
	uint64_t fee = number(v, "baseFeePerGas");

	memset(out, 0, sizeof *out);
	out->number = number(v, "number");
	out->timestamp = number(v, "timestamp");
	out->gas_limit = number(v, "gasLimit");
	out->chain_id = ANVIL_CHAIN;
	for (size_t i = 0; i < 8; i++)
		out->base_fee[31 - i] = (uint8_t)(fee >> 8 * i);
	fixed(out->prev_randao, 32, v, "mixHash");
	fixed(out->coinbase, 20, v, "miner");
	fixed(out->hash, 32, v, "hash");
	fixed(out->parent_hash, 32, v, "parentHash");
	json_decref(v);
}

static void
put_hex(struct buf *b, const char *before, const uint8_t *p, size_t len)
{
	char *hex = malloc(2 * len + 1);
	enum err e;

	assert(hex != NULL);
	hex_encode(hex, p, len);
	e = buf_printf(b, "%s\"0x%s\"", before, hex);
	assert(e == ERR_OK);
	free(hex);
}

static void
put(struct buf *b, const char *text)
{
	enum err e = buf_printf(b, "%s", text);

	assert(e == ERR_OK);
}

/* Nonces and balances small enough for one byte. */
static void
put_overrides(struct buf *b, const struct evm_world *w)
{
	put(b, ",\"stateOverrides\":{");
	for (size_t i = 0, n = 0; i < w->n; i++) {
		const struct evm_world_account *a = w->a[i];

		/* What came from anvil needs no laying over. */
		if (a->n_slots == 0 && a->code.len == 0)
			continue;
		put_hex(b, n++ > 0 ? "," : "", a->address, 20);
		put_hex(b, ":{\"code\":", a->code.p, a->code.len);
		enum err e =
		    buf_printf(b, ",\"nonce\":\"0x%llx\",\"balance\":\"0x%x\"",
			(unsigned long long)a->account.nonce,
			a->account.balance[31]);
		assert(e == ERR_OK);
		put(b, ",\"stateDiff\":{");
		for (size_t k = 0; k < a->n_slots; k++) {
			put_hex(b, k > 0 ? "," : "", a->slot[k].key, 32);
			put_hex(b, ":", a->slot[k].value, 32);
		}
		put(b, "}}");
	}
	put(b, "}");
}

static char *
request(const struct evm_world *w, const struct evm_call *c, bool overrides)
{
	struct buf b = { 0 };
	enum err e;

	put_hex(&b, "[{\"from\":", c->from, 20);
	put_hex(&b, ",\"to\":", c->to, 20);
	put_hex(&b, ",\"data\":", c->data.p, c->data.len);
	e = buf_printf(
	    &b, ",\"gas\":\"0x%llx\"},\"latest\",", (unsigned long long)c->gas);
	assert(e == ERR_OK);
	put(&b,
	    "{\"tracer\":\"callTracer\",\"tracerConfig\":"
	    "{\"onlyTopCall\":true}");
	if (overrides)
		put_overrides(&b, w);
	put(&b, "}]");
	return (char *)b.p;
}

/* EIP-7623: the least that a transaction pays, 10 for each token. */
static uint64_t
with_floor(uint64_t used, struct bytes data)
{
	uint64_t floor = 21000;

	for (size_t i = 0; i < data.len; i++)
		floor += data.p[i] == 0 ? 10 : 40;
	return used > floor ? used : floor;
}

enum evm_outcome
evm_diff_call(struct evm_world *w, struct buf *answer, const struct evm_call *c,
    const struct evm_block *b, bool overrides)
{
	char *params = request(w, c, overrides);
	json_t *v = ask(w->anvil, "debug_traceCall", params);
	const char *error = json_string_value(json_object_get(v, "error"));
	const char *why = NULL;
	struct buf out = { 0 }, want = { 0 };
	struct evm_missing missing;
	uint64_t used = 0;
	enum evm_outcome o, theirs = EVM_RETURNED;

	if (error != NULL)
		theirs = strstr(error, "reverted") != NULL ? EVM_REVERTED
							   : EVM_FAILED;
	o = evm_world_run(w, &out, &missing, c, b, &used);
	if (o == EVM_UNSUPPORTED)
		goto done;
	if (json_object_get(v, "output") != NULL &&
	    rpc_data(&want, 1u << 20, json_object_get(v, "output")) != ERR_OK)
		why = "the output cannot be read";
	if (o != theirs)
		why = "outcomes";
	else if (o != EVM_FAILED &&
	    (out.len != want.len ||
		(out.len > 0 && memcmp(out.p, want.p, out.len) != 0)))
		why = "data";
	else if (with_floor(used, c->data) != number(v, "gasUsed"))
		why = "gas";
	if (why != NULL) {
		char *text = json_dumps(v, JSON_COMPACT);

		(void)fprintf(stderr,
		    "%s differ: we %d, %llu gas, %zu bytes\nthey %s\n%s\n", why,
		    (int)o, (unsigned long long)used, out.len, text, params);
		abort();
	}
done:
	json_decref(v);
	free(params);
	buf_fini(&want);
	if (answer != NULL && (o == EVM_RETURNED || o == EVM_REVERTED)) {
		buf_fini(answer);
		*answer = out;
	} else {
		buf_fini(&out);
	}
	return o;
}
