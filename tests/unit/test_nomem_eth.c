/* Contracts executed here, and proofs, without memory: no answer, rather than
 * another one. */
#include <string.h>

#include <criterion/criterion.h>

#include "common/base/secret.h"
#include "common/eth/appauth.h"
#include "common/eth/mpt.h"
#include "common/eth/rpc.h"
#include "common/eth/tx.h"
#include "tests/lib/evm_asm.h"
#include "tests/lib/evm_world.h"
#include "tests/lib/nomem/nomem.h"
#include "tests/lib/trie.h"

static void
setup(void)
{
	cr_assert_eq(secret_process_init(), ERR_OK);
}

TestSuite(nomem_eth, .init = setup, .timeout = 120);

/* ---- the EVM ---- */

/* B says 0, "not allowed".  A asks B, and says 1 when that fails: a contract
 * for which a failure of ours would be a yes. */
#define B "0xbb00000000000000000000000000000000000002"
static const char text_a[] =
    "32 0 4096 0 " B " GAS STATICCALL ISZERO @bad JUMPI "
    "1 5000 MSTORE 7 TLOAD POP 9 8 TSTORE 3 SLOAD POP "
    "0 MLOAD 0 MSTORE 32 0 RETURN "
    "bad: JUMPDEST 1 0 MSTORE 32 0 RETURN";
static const char text_b[] =
    "0 0 8192 0 4 GAS STATICCALL POP 4 SLOAD POP 0 0 MSTORE 32 0 RETURN";

struct run {
	struct evm_world w;
	struct buf out;
	struct evm_missing missing;
	struct evm_call call;
};

static const uint8_t a_at[20] = { 0xaa, [19] = 1 };
static const uint8_t b_at[20] = { 0xbb, [19] = 2 };

static void
contract(struct run *r, const uint8_t at[static 20], const char *text)
{
	struct buf code = { 0 };

	evm_asm(&code, text);
	evm_world_code(&r->w, at, buf_view(&code));
	buf_fini(&code);
}

static void
make_world(void *arg)
{
	static const uint8_t slot[2][32] = { { [31] = 3 }, { [31] = 4 } };
	struct run *r = arg;

	*r = (struct run){ .call = { .gas = 1000000, .max_return = 4096 } };
	memcpy(r->call.to, a_at, 20);
	contract(r, a_at, text_a);
	contract(r, b_at, text_b);
	evm_world_slot(&r->w, a_at, slot[0], slot[0]);
	evm_world_slot(&r->w, b_at, slot[1], slot[1]);
}

static void
free_world(void *arg)
{
	struct run *r = arg;

	evm_world_fini(&r->w);
	buf_fini(&r->out);
}

static enum err
run(void *arg)
{
	static const struct evm_block block = { .number = 1000 };
	static const uint8_t zero[32];
	struct run *r = arg;
	enum evm_outcome o;

	buf_fini(&r->out);
	o = evm_world_run(&r->w, &r->out, &r->missing, &r->call, &block, NULL);
	if (o == EVM_NOMEM) {
		cr_assert_eq(r->out.len, 0);
		return ERR_NOMEM;
	}
	cr_assert_eq(o, EVM_RETURNED);
	cr_assert_eq(r->out.len, 32);
	cr_assert_arr_eq(r->out.p, zero, 32, "allowed for want of memory");
	return ERR_OK;
}

Test(nomem_eth, evm)
{
	struct run r;
	const struct nomem_op op = { .name = "evm_run",
		.setup = make_world,
		.run = run,
		.fini = free_world };

	cr_assert_gt(nomem_each(&op, &r), 8);
}

/* ---- answers of endpoints ---- */

struct reply {
	struct rpc_reply r;
	const char *body;
	enum err want;
};

static enum err
parse(void *arg)
{
	struct reply *p = arg;

	rpc_reply_fini(&p->r);
	rpc_parse(&p->r, 7,
	    (struct bytes){ (const uint8_t *)p->body, strlen(p->body) });
	if (p->r.err == ERR_NOMEM) {
		cr_assert_null(p->r.result);
		return ERR_NOMEM;
	}
	cr_assert_eq(p->r.err, p->want);
	if (p->want == ERR_OK)
		cr_assert_str_eq(json_string_value(p->r.result),
		    "0x00112233445566778899aabbccddeeff00112233445566778899");
	return ERR_OK;
}

static void
free_reply(void *arg)
{
	rpc_reply_fini(&((struct reply *)arg)->r);
}

/* jansson would return a string that lacks a character: one digit less is
 * another number. */
Test(nomem_eth, rpc)
{
	struct reply t[] = {
		{ .body = "{\"jsonrpc\":\"2.0\",\"id\":7,\"result\":"
			  "\"0x0011223344"
			  "5566778899aabbccddeeff00112233445566778899\"}",
		    .want = ERR_OK },
		{ .body = "{\"jsonrpc\":\"2.0\",\"id\":7,\"error\":{\"code\":3,"
			  "\"message\":\"execution reverted: no\"}}",
		    .want = ERR_DENIED },
		{ .body = "{\"jsonrpc\":\"2.0\",\"id\":8,\"result\":1}",
		    .want = ERR_MALFORMED },
	};
	const struct nomem_op op = {
		.name = "rpc_parse", .run = parse, .fini = free_reply
	};

	for (size_t i = 0; i < sizeof t / sizeof t[0]; i++)
		cr_assert_gt(nomem_each(&op, &t[i]), 5);
}

/* ---- transactions ---- */

struct signing {
	struct buf raw;
	uint8_t hash[32];
};

static enum err
sign(void *arg)
{
	static const uint8_t data[300] = { 1 };
	static const struct tx tx = {
		.chain_id = 1, .max_fee = 7, .data = { data, sizeof data }
	};
	struct signing *s = arg;
	struct k256_secret key;
	enum err e;

	memset(key.b, 0x46, sizeof key.b);
	buf_fini(&s->raw);
	memset(s->hash, 0, sizeof s->hash);
	e = tx_sign(&s->raw, s->hash, &tx, &key);
	cr_assert((e == ERR_OK) == (s->raw.len > 300));
	cr_assert(e == ERR_OK || s->hash[0] == 0);
	return e;
}

static void
free_signing(void *arg)
{
	buf_fini(&((struct signing *)arg)->raw);
}

Test(nomem_eth, tx_sign)
{
	struct signing s = { .raw = { 0 } };
	const struct nomem_op op = {
		.name = "tx_sign", .run = sign, .fini = free_signing
	};

	cr_assert_gt(nomem_each(&op, &s), 3);
}
