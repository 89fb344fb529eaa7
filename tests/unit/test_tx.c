#include <stdio.h>
#include <string.h>

#include <criterion/criterion.h>

#include "common/base/hex.h"
#include "common/crypto/keccak.h"
#include "common/eth/tx.h"
#include "tests/lib/mock_chain.h"

static struct k256_secret
key(void)
{
	struct k256_secret k;

	memset(k.b, 0x46, sizeof k.b); /* the key of EIP-155's example */
	return k;
}

static void
expect(const struct tx *tx, const char *hex)
{
	struct k256_secret k = key();
	struct buf raw = { 0 };
	uint8_t hash[32], h[32];
	char text[1024];

	cr_assert_eq(tx_sign(&raw, hash, tx, &k), ERR_OK);
	cr_assert_lt(2 * raw.len, sizeof text);
	cr_assert_str_eq(hex_encode(text, raw.p, raw.len), hex);
	keccak256(h, raw.p, raw.len);
	cr_assert_arr_eq(hash, h, 32);
	buf_fini(&raw);
}

/* Signed bytes equal those of Foundry's `cast mktx`, both values of the
 * parity and a zero fee included. */
Test(tx, signed_bytes)
{
	struct tx tx = { .chain_id = 31337,
		.nonce = 9,
		.max_priority_fee = 1000000000,
		.max_fee = 20000000000,
		.gas_limit = 21000,
		.value = 1000000000000000000 };
	uint8_t call[36] = { 0x06, 0xa3, 0xae, 0x96 };

	memset(tx.to, 0x35, sizeof tx.to);
	expect(&tx,
	    "02f875827a6909843b9aca008504a817c8008252089435353535353535353535"
	    "35353535353535353535880de0b6b3a764000080c080a03413ba1061c27f9306"
	    "aee97cc30aa709f22ff1995c6dd366fc561ab9e7f2c8e2a05762b8dfdb684c92"
	    "fb04f90576e949cccfda8bde0f23ea496ebe9d109349686f");

	tx =
	    (struct tx){ .chain_id = 31337, .max_fee = 1, .gas_limit = 300000 };
	cr_assert_eq(
	    hex_fixed(tx.to, 20, "9fe46736679d2d9a65f0992f2272de9f3c7fa6e0"),
	    ERR_OK);
	memset(call + 4, 0xaa, 32);
	tx.data = (struct bytes){ call, sizeof call };
	expect(&tx,
	    "02f889827a69808001830493e0949fe46736679d2d9a65f0992f2272de9f3c7f"
	    "a6e080a406a3ae96aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	    "aaaaaaaaaaaaaaaac080a0d35a8c04315aba6a7c65b3fc1bb4043e3b518ec427"
	    "1e5c04c6dddfaf583f2161a014e967becff5fd107b41214191359246881e8962"
	    "c214b4233eb562ab86da22f5");
}

/* Too much data and a key that is none are refused, output untouched. */
Test(tx, sign_refusals)
{
	static const uint8_t big[64 * 1024 + 1];
	struct tx tx = { .chain_id = 1, .data = { big, sizeof big } };
	struct k256_secret k = key(), zero = { 0 };
	struct buf raw = { 0 };
	uint8_t hash[32] = { 1 };

	cr_assert_eq(tx_sign(&raw, hash, &tx, &k), ERR_LIMIT);
	tx.data.len--;
	cr_assert_eq(tx_sign(&raw, hash, &tx, &zero), ERR_MALFORMED);
	cr_assert_null(raw.p);
	cr_assert_eq(hash[0], 1);
	cr_assert_eq(tx_sign(&raw, hash, &tx, &k), ERR_OK);
	buf_fini(&raw);
}

/* ---- against an endpoint ---- */

static struct mock_chain *m;
static struct tx_chain c;
static uint64_t fake_ms;
static unsigned pauses;
static const uint8_t from[20] = { 0xfe };

static uint64_t
mono(void)
{
	return fake_ms;
}

static void
pause_ms(unsigned ms)
{
	fake_ms += ms;
	/* The receipt comes while we wait for the third time. */
	if (++pauses == 3)
		mock_canned(m, 0, "eth_getTransactionReceipt",
		    "\"result\":{\"transactionHash\":\"0x0101010101010101010101"
		    "010101010101010101010101010101010101010101\",\"status\":"
		    "\"0x0\",\"blockNumber\":\"0x10\",\"gasUsed\":\"0x5208\","
		    "\"blockHash\":\"0x0202020202020202020202020202020202020202"
		    "020202020202020202020202\"}");
}

static void
setup(void)
{
	m = mock_chain_new(1, 31337);
	mock_canned(m, 0, "eth_getTransactionCount", "\"result\":\"0x5\"");
	mock_canned(m, 0, "eth_maxPriorityFeePerGas", "\"result\":\"0x3\"");
	mock_canned(m, 0, "eth_estimateGas", "\"result\":\"0x5208\"");
	c = (struct tx_chain){ .url = mock_urls(m)[0],
		.timeout_ms = 20000,
		.max_fee_cap = 100,
		.mono_ms = mono,
		.pause_ms = pause_ms };
}

static void
teardown(void)
{
	mock_chain_free(m);
}

/* Nonce, fees and gas come from the endpoint, with room to move. */
Test(tx, fill, .init = setup, .fini = teardown)
{
	struct tx tx = { .chain_id = 31337 };

	cr_assert_eq(tx_fill(&tx, &c, from, NULL), ERR_OK);
	cr_assert_eq(tx.nonce, 5);
	cr_assert_eq(tx.max_priority_fee, 3);
	cr_assert_eq(tx.max_fee, 2 * 7 + 3);
	cr_assert_eq(tx.gas_limit, 26250);
}

/* Another chain, a call that reverts, fees over the cap and answers that
 * are none are refused, and the transaction stays as it was. */
Test(tx, fill_refusals, .init = setup, .fini = teardown)
{
	struct tx tx = { .chain_id = 31337, .nonce = 77 };
	struct refusal why;

	tx.chain_id = 1;
	cr_assert_eq(tx_fill(&tx, &c, from, &why), ERR_DENIED);
	cr_assert_eq(why.code, REASON_CHAIN_WRONG);
	tx.chain_id = 31337;
	c.max_fee_cap = 16;
	cr_assert_eq(tx_fill(&tx, &c, from, &why), ERR_DENIED);
	cr_assert_eq(why.code, REASON_CHAIN_ANSWER);
	c.max_fee_cap = 17;
	mock_canned(m, 0, "eth_estimateGas",
	    "\"error\":{\"code\":3,\"message\":\"execution reverted: no\"}");
	cr_assert_eq(tx_fill(&tx, &c, from, &why), ERR_DENIED);
	cr_assert_eq(why.code, REASON_CONTRACT_OTHER);
	cr_assert_str_eq(why.detail, "eth_estimateGas: execution reverted: no");
	mock_canned(
	    m, 0, "eth_estimateGas", "\"result\":\"0xffffffffffffffff\"");
	cr_assert_eq(tx_fill(&tx, &c, from, &why), ERR_DENIED);
	mock_canned(m, 0, "eth_estimateGas", "\"result\":\"0x5208\"");
	mock_canned(m, 0, "eth_maxPriorityFeePerGas",
	    "\"result\":\"0xffffffffffffffff\"");
	cr_assert_eq(tx_fill(&tx, &c, from, &why), ERR_DENIED);
	mock_canned(m, 0, "eth_getTransactionCount", "\"result\":null");
	cr_assert_eq(tx_fill(&tx, &c, from, &why), ERR_DENIED);
	cr_assert_eq(why.code, REASON_CHAIN_ANSWER);
	mock_down(m, 0);
	cr_assert_eq(tx_fill(&tx, &c, from, &why), ERR_DENIED);
	cr_assert_eq(why.code, REASON_CHAIN_UNREACHABLE);
	cr_assert_eq(tx.nonce, 77);
}

/* One answer after the other is no answer, or the endpoint's refusal. */
Test(tx, fill_other_answers, .init = setup, .fini = teardown)
{
	static const struct {
		const char *method, *bad, *good;
	} x[] = {
		{ "eth_getBlockByNumber", "\"result\":null",
		    "\"result\":{\"baseFeePerGas\":\"0x7\"}" },
		{ "eth_getBlockByNumber", "\"result\":{\"number\":\"0x1\"}",
		    "\"result\":{\"baseFeePerGas\":\"0x7\"}" },
		{ "eth_getBlockByNumber",
		    "\"result\":{\"baseFeePerGas\":\"0x10000000000000000\"}",
		    "\"result\":{\"baseFeePerGas\":\"0x7\"}" },
		{ "eth_getBlockByNumber",
		    "\"error\":{\"code\":-32000,\"message\":\"no\"}",
		    "\"result\":{\"baseFeePerGas\":\"0x7\"}" },
		{ "eth_getTransactionCount", "\"result\":\"5\"",
		    "\"result\":\"0x5\"" },
		{ "eth_maxPriorityFeePerGas", "\"result\":[]",
		    "\"result\":\"0x3\"" },
		{ "eth_estimateGas", "\"result\":\"0x\"",
		    "\"result\":\"0x5208\"" },
		{ "eth_chainId", "\"result\":31337", "\"result\":\"0x7a69\"" },
	};
	struct tx tx = { .chain_id = 31337, .nonce = 77 };
	struct refusal why;

	for (size_t i = 0; i < sizeof x / sizeof x[0]; i++) {
		why.code = REASON_NONE;
		mock_canned(m, 0, x[i].method, x[i].bad);
		cr_assert_eq(
		    tx_fill(&tx, &c, from, &why), ERR_DENIED, "%s", x[i].bad);
		cr_assert_eq(why.code, REASON_CHAIN_ANSWER, "%s", x[i].bad);
		cr_assert_eq(tx.nonce, 77);
		mock_canned(m, 0, x[i].method, x[i].good);
	}
	mock_mode(m, 0, MOCK_GARBAGE);
	cr_assert_eq(tx_fill(&tx, &c, from, &why), ERR_DENIED);
	cr_assert_eq(why.code, REASON_CHAIN_ANSWER);
	mock_mode(m, 0, MOCK_FINE);
	cr_assert_eq(tx_fill(&tx, &c, from, &why), ERR_OK);
	cr_assert_eq(tx.nonce, 5);
}

/* Twice the base fee and the tip fit under the cap, each of them. */
Test(tx, fees_over_the_cap, .init = setup, .fini = teardown)
{
	struct tx tx = { .chain_id = 31337 };

	c.max_fee_cap = 13; /* the base fee is 7 */
	cr_assert_eq(tx_fill(&tx, &c, from, NULL), ERR_DENIED);
	mock_canned(m, 0, "eth_getBlockByNumber",
	    "\"result\":{\"baseFeePerGas\":\"0xffffffffffffffff\"}");
	c.max_fee_cap = UINT64_MAX;
	cr_assert_eq(tx_fill(&tx, &c, from, NULL), ERR_DENIED);
	mock_canned(m, 0, "eth_getBlockByNumber",
	    "\"result\":{\"baseFeePerGas\":\"0x7fffffffffffffff\"}");
	cr_assert_eq(tx_fill(&tx, &c, from, NULL), ERR_DENIED);
	cr_assert_eq(tx.max_fee, 0);
}

/* What no endpoint would take is not sent, nor asked about. */
Test(tx, too_large, .init = setup, .fini = teardown)
{
	static const uint8_t big[80 * 1024];
	struct tx tx = { .chain_id = 31337, .data = { big, 64 * 1024 + 1 } };
	uint8_t hash[32] = { 0 };

	cr_assert_eq(tx_fill(&tx, &c, from, NULL), ERR_LIMIT);
	cr_assert_eq(tx_send(&c, (struct bytes){ big, sizeof big }, hash, NULL),
	    ERR_LIMIT);
	cr_assert_eq(mock_count(m, 0, NULL), 0);
}

#define HASH01 \
	"\"result\":\"0x0101010101010101010101010101010101010101010101010101" \
	"010101010101\""

/* Sent is what the endpoint confirms by our own hash, or knows already. */
Test(tx, send, .init = setup, .fini = teardown)
{
	static const struct bytes raw = { (const uint8_t *)"\x02", 1 };
	struct refusal why;
	uint8_t hash[32];

	memset(hash, 1, sizeof hash);
	mock_canned(m, 0, "eth_sendRawTransaction", HASH01);
	cr_assert_eq(tx_send(&c, raw, hash, &why), ERR_OK);
	mock_canned(m, 0, "eth_sendRawTransaction",
	    "\"error\":{\"code\":-32000,\"message\":\"already known\"}");
	cr_assert_eq(tx_send(&c, raw, hash, &why), ERR_OK);
	mock_canned(m, 0, "eth_sendRawTransaction",
	    "\"error\":{\"code\":-32000,\"message\":\"nonce too low\"}");
	cr_assert_eq(tx_send(&c, raw, hash, &why), ERR_DENIED);
	cr_assert_eq(why.code, REASON_CHAIN_ANSWER);
	mock_canned(m, 0, "eth_sendRawTransaction", HASH01);
	hash[31] = 2;
	cr_assert_eq(tx_send(&c, raw, hash, &why), ERR_DENIED);
	hash[31] = 1;
	mock_canned(m, 0, "eth_sendRawTransaction", "\"result\":\"0x01\"");
	cr_assert_eq(tx_send(&c, raw, hash, &why), ERR_DENIED);
	cr_assert_eq(why.code, REASON_CHAIN_ANSWER);
	mock_canned(m, 0, "eth_sendRawTransaction", "\"result\":null");
	cr_assert_eq(tx_send(&c, raw, hash, &why), ERR_DENIED);
}

/* The receipt is waited for, up to the deadline. */
Test(tx, wait, .init = setup, .fini = teardown)
{
	struct tx_receipt r = { .gas_used = 9 };
	uint8_t hash[32];

	memset(hash, 1, sizeof hash);
	mock_canned(m, 0, "eth_getTransactionReceipt", "\"result\":null");
	cr_assert_eq(tx_wait(&r, &c, hash, 2000), ERR_TIMEOUT);
	cr_assert_eq(pauses, 2);
	cr_assert_eq(r.gas_used, 9);
	cr_assert_eq(tx_wait(&r, &c, hash, 5000), ERR_OK);
	cr_assert(!r.success);
	cr_assert_eq(r.block_number, 16);
	cr_assert_eq(r.gas_used, 21000);
	/* A receipt of another transaction is none. */
	hash[0] = 9;
	cr_assert_eq(tx_wait(&r, &c, hash, 1000), ERR_TIMEOUT);
}

/* A receipt whose members are not all what they should be is waited on. */
Test(tx, receipts_that_are_none, .init = setup, .fini = teardown)
{
	static const char one[] = "0x010101010101010101010101010101010101010101"
				  "0101010101010101010101";
	static const char *const good[5][2] = { { "transactionHash", one },
		{ "status", "0x1" }, { "blockNumber", "0x10" },
		{ "blockHash", one }, { "gasUsed", "0x5208" } };
	static const struct {
		unsigned which;
		const char *value;
	} bad[] = { { 0, "0x01" }, { 0, "" }, { 1, "0x2" }, { 1, "0x" },
		{ 1, "1" }, { 2, "latest" }, { 2, "0x10000000000000000" },
		{ 3, "0x0101" }, { 3, "none" }, { 4, "-1" }, { 4, "0x05208" } };
	const size_t n_bad = sizeof bad / sizeof bad[0];
	struct tx_receipt r = { .gas_used = 9 };
	uint8_t hash[32];

	memset(hash, 1, sizeof hash);
	for (size_t i = 0; i <= n_bad; i++) {
		char text[600] = "\"result\":{";
		size_t len = strlen(text);

		for (unsigned k = 0; k < 5; k++)
			len += (size_t)snprintf(text + len, sizeof text - len,
			    "\"%s\":\"%s\"%s", good[k][0],
			    i < n_bad && bad[i].which == k ? bad[i].value
							   : good[k][1],
			    k < 4 ? "," : "}");
		mock_canned(m, 0, "eth_getTransactionReceipt", text);
		pauses = 100; /* no other comes meanwhile */
		cr_assert_eq(tx_wait(&r, &c, hash, 0),
		    i < n_bad ? ERR_TIMEOUT : ERR_OK, "%s", text);
		cr_assert_eq(r.gas_used, i < n_bad ? 9 : 21000);
	}
	cr_assert(r.success);
}
