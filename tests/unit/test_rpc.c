#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <criterion/criterion.h>

#include "common/eth/rpc.h"
#include "tests/lib/mock_chain.h"

static enum err
parse(struct rpc_reply *r, const char *body)
{
	rpc_parse(r, 7, (struct bytes){ (const uint8_t *)body, strlen(body) });
	return r->err;
}

/* Only one result, of this version, for this request, is an answer. */
Test(rpc, responses)
{
	static const char *const bad[] = { "", "null", "[]", "7", "{}",
		"{\"jsonrpc\":\"2.0\",\"id\":7}",
		"{\"jsonrpc\":\"1.0\",\"id\":7,\"result\":1}",
		"{\"jsonrpc\":2.0,\"id\":7,\"result\":1}",
		"{\"id\":7,\"result\":1}", "{\"jsonrpc\":\"2.0\",\"result\":1}",
		"{\"jsonrpc\":\"2.0\",\"id\":8,\"result\":1}",
		"{\"jsonrpc\":\"2.0\",\"id\":null,\"result\":1}",
		"{\"jsonrpc\":\"2.0\",\"id\":\"7\",\"result\":1}",
		"{\"jsonrpc\":\"2.0\",\"id\":7.0,\"result\":1}",
		"{\"jsonrpc\":\"2.0\",\"id\":-7,\"result\":1}",
		"{\"jsonrpc\":\"2.0\",\"id\":7,\"result\":1,\"error\":null}",
		"{\"jsonrpc\":\"2.0\",\"id\":7,\"result\":1,\"result\":1}",
		"{\"jsonrpc\":\"2.0\",\"id\":7,\"result\":1,\"error\":"
		"{\"code\":1,\"message\":\"x\"}}",
		"{\"jsonrpc\":\"2.0\",\"id\":7,\"error\":null}",
		"{\"jsonrpc\":\"2.0\",\"id\":7,\"error\":\"x\"}",
		"{\"jsonrpc\":\"2.0\",\"id\":7,\"error\":{\"code\":1}}",
		"{\"jsonrpc\":\"2.0\",\"id\":7,\"error\":{\"code\":\"1\","
		"\"message\":\"x\"}}",
		"{\"jsonrpc\":\"2.0\",\"id\":7,\"result\":1} x",
		"[{\"jsonrpc\":\"2.0\",\"id\":7,\"result\":1}]" };
	struct rpc_reply r;

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		cr_assert_eq(parse(&r, bad[i]), ERR_MALFORMED, "%zu", i);
		cr_assert_null(r.result);
		rpc_reply_fini(&r);
	}
	cr_assert_eq(parse(&r,
			 "{\"jsonrpc\":\"2.0\",\"id\":7,\"result\":"
			 "null}"),
	    ERR_OK);
	cr_assert(json_is_null(r.result));
	rpc_reply_fini(&r);
	cr_assert_eq(parse(&r,
			 "{\"error\":{\"message\":\"a\\nb\",\"code\":"
			 "-32000},\"id\":7,\"jsonrpc\":\"2.0\"}"),
	    ERR_DENIED);
	cr_assert_eq(r.code, -32000);
	cr_assert_str_eq(r.message, "a?b");
	rpc_reply_fini(&r);
}

/* A contract's failure is told from an endpoint's. */
Test(rpc, whose_failure)
{
	static const struct {
		int64_t code;
		const char *message;
		bool evm;
	} t[] = {
		{ 3, "execution reverted: Invalid", true },
		{ 3, "", true },
		{ -32000, "execution reverted", true },
		{ -32015, "VM execution error.", true },
		{ -32000, "out of gas", true },
		{ -32000, "invalid opcode: INVALID", true },
		{ -32003, "EVM error: InvalidFEOpcode", true },
		{ -32000, "header not found", false },
		{ -32001, "Resource not found", false },
		{ -32000, "hash is not currently canonical", false },
		{ -32005, "limit exceeded", false },
		{ -32601, "Method not found", false },
		{ -32000, "missing trie node 0x00", false },
	};
	struct rpc_reply r = { 0 };

	for (size_t i = 0; i < sizeof t / sizeof t[0]; i++) {
		r.err = ERR_DENIED;
		r.code = t[i].code;
		(void)snprintf(r.message, sizeof r.message, "%s", t[i].message);
		cr_assert_eq(rpc_failed_in_evm(&r), t[i].evm, "%zu", i);
		r.err = ERR_IO;
		cr_assert(!rpc_failed_in_evm(&r));
	}
}

static json_t *
text(const char *s)
{
	json_t *v = json_string(s);

	cr_assert_not_null(v);
	return v;
}

/* "When encoding quantities: [...] the most compact representation". */
Test(rpc, quantities)
{
	static const char *const bad[] = { "", "0", "12", "0x", "0x0400",
		"0x00", "ff", "0xg", "0X1", "0x-1", "0x 1", " 0x1", "0x1 ",
		"x1" };
	uint64_t v = 5;
	json_t *j;

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		j = text(bad[i]);
		cr_assert_eq(rpc_quantity(&v, j), ERR_MALFORMED, "%zu", i);
		json_decref(j);
	}
	j = json_integer(1);
	cr_assert_eq(rpc_quantity(&v, j), ERR_MALFORMED);
	json_decref(j);
	cr_assert_eq(rpc_quantity(&v, NULL), ERR_MALFORMED);
	j = text("0x10000000000000000");
	cr_assert_eq(rpc_quantity(&v, j), ERR_LIMIT);
	json_decref(j);
	cr_assert_eq(v, 5);
	j = text("0x0");
	cr_assert_eq(rpc_quantity(&v, j), ERR_OK);
	cr_assert_eq(v, 0);
	json_decref(j);
	j = text("0xfFffffffffffffff");
	cr_assert_eq(rpc_quantity(&v, j), ERR_OK);
	cr_assert_eq(v, UINT64_MAX);
	json_decref(j);
}

/* The same of 256 bits. */
Test(rpc, quantities_of_256_bits)
{
	static const char *const bad[] = { "", "0x", "0x00", "0x01", "12",
		"0xg", "0x1 " };
	uint8_t v[32], want[32] = { 0 };
	char digits[68] = "0x1";
	json_t *j;

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		j = text(bad[i]);
		cr_assert_eq(rpc_quantity256(v, j), ERR_MALFORMED, "%zu", i);
		json_decref(j);
	}
	memset(digits + 3, '0', 64);
	j = text(digits);
	cr_assert_eq(rpc_quantity256(v, j), ERR_LIMIT);
	json_decref(j);
	digits[66] = '\0';
	j = text(digits);
	cr_assert_eq(rpc_quantity256(v, j), ERR_OK);
	want[0] = 0x10;
	cr_assert_arr_eq(v, want, 32);
	json_decref(j);
	j = text("0xabc");
	cr_assert_eq(rpc_quantity256(v, j), ERR_OK);
	want[0] = 0;
	want[30] = 0x0a;
	want[31] = 0xbc;
	cr_assert_arr_eq(v, want, 32);
	json_decref(j);
}

/* Data has two digits for each byte, and no more bytes than allowed. */
Test(rpc, data)
{
	static const char *const bad[] = { "", "0", "0x0", "0xf0f", "004200",
		"0xzz", "0X00" };
	struct buf b = { 0 };
	uint8_t two[2];
	json_t *j;

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		j = text(bad[i]);
		cr_assert_eq(rpc_data(&b, 100, j), ERR_MALFORMED, "%zu", i);
		cr_assert_eq(rpc_fixed(two, 2, j), ERR_MALFORMED, "%zu", i);
		json_decref(j);
	}
	cr_assert_eq(rpc_data(&b, 100, NULL), ERR_MALFORMED);
	j = text("0x");
	cr_assert_eq(rpc_data(&b, 0, j), ERR_OK);
	cr_assert_eq(b.len, 0);
	json_decref(j);
	j = text("0x004200");
	cr_assert_eq(rpc_data(&b, 2, j), ERR_LIMIT);
	cr_assert_eq(rpc_data(&b, 3, j), ERR_OK);
	cr_assert_eq(b.len, 3);
	cr_assert_eq(rpc_fixed(two, 2, j), ERR_MALFORMED);
	json_decref(j);
	buf_fini(&b);
}

/* Each endpoint's failure is its own, and named. */
Test(rpc, several_at_once)
{
	struct mock_chain *m = mock_chain_new(6, 31337);
	struct rpc_request rq[6];
	struct rpc_reply r[6];
	uint64_t id;

	for (unsigned i = 0; i < 6; i++)
		rq[i] = (struct rpc_request){ mock_urls(m)[i], "eth_chainId",
			"[]", 20000, 4096 };
	mock_mode(m, 1, MOCK_GARBAGE);
	mock_mode(m, 2, MOCK_HUGE);
	mock_mode(m, 3, MOCK_HTTP_500);
	mock_mode(m, 4, MOCK_OTHER_ID);
	mock_down(m, 5);
	rpc_all(r, rq, 6);
	cr_assert_eq(r[0].err, ERR_OK);
	cr_assert_eq(rpc_quantity(&id, r[0].result), ERR_OK);
	cr_assert_eq(id, 31337);
	cr_assert_eq(r[1].err, ERR_MALFORMED);
	cr_assert_eq(r[2].err, ERR_LIMIT);
	cr_assert_eq(r[3].err, ERR_IO);
	cr_assert_str_eq(r[3].message, "HTTP status 500");
	cr_assert_eq(r[4].err, ERR_MALFORMED);
	cr_assert_eq(r[5].err, ERR_IO);
	for (unsigned i = 0; i < 6; i++)
		rpc_reply_fini(&r[i]);
	mock_chain_free(m);
}
