/* Calls at a pinned block: chainview_call. */
#include <stdio.h>
#include <string.h>

#include <criterion/criterion.h>

#include "kms/gate/chainview.h"
#include "kms/gate/endpoints.h"
#include "tests/lib/mock_chain.h"

static struct mock_chain *m;
static struct chainview *v;
static struct refusal why;

static uint64_t
mono(void)
{
	return 1000000;
}

/* Three endpoints, two of which must agree. */
static void
setup(void)
{
	struct chainview_options o = { .n = 3,
		.quorum = 2,
		.chain_id = 31337,
		.max_age_s = 600,
		.poll_ms = 1000,
		.timeout_ms = 20000,
		.mono_ms = mono };

	m = mock_chain_new(3, 31337);
	mock_head(m, MOCK_ALL, 120, 110, 100);
	o.urls = mock_urls(m);
	cr_assert_eq(chainview_new(&v, &o), ERR_OK);
}

static void
teardown(void)
{
	chainview_free(v);
	mock_chain_free(m);
}

#define SUITE(name) Test(chaincall, name, .init = setup, .fini = teardown)

#define SEL 0x11223344u
static const uint8_t to[20] = { 0x9f };
static const uint8_t calldata[5] = { 0x11, 0x22, 0x33, 0x44, 0x55 };

static enum err
call_at(const struct chain_block *b, size_t max, struct buf *out)
{
	why = (struct refusal){ 0 };
	return chainview_call(v, b, to,
	    (struct bytes){ calldata, sizeof calldata }, max, out, &why);
}

static enum err
call(struct buf *out)
{
	struct chain_block b = mock_block(m, 0, 100);

	return call_at(&b, 1024, out);
}

/* m equal answers are the answer, also when one endpoint lies or fails. */
SUITE(quorum)
{
	struct buf out = { 0 };

	mock_answer(m, MOCK_ALL, SEL, "yes", 3);
	cr_assert_eq(call(&out), ERR_OK);
	cr_assert_eq(out.len, 3);
	cr_assert_arr_eq(out.p, "yes", 3);
	mock_answer(m, 1, SEL, "no", 2);
	cr_assert_eq(call(&out), ERR_OK);
	cr_assert_arr_eq(out.p, "yes", 3);
	mock_answer(m, 0, SEL, "yet", 3);
	cr_assert_eq(call(&out), ERR_AGAIN);
	cr_assert_eq(why.code, REASON_CHAIN_DISAGREE);
	mock_down(m, 1);
	cr_assert_eq(call(&out), ERR_AGAIN);
	cr_assert_eq(why.code, REASON_CHAIN_DISAGREE);
	mock_down(m, 2);
	cr_assert_eq(call(&out), ERR_AGAIN);
	cr_assert_eq(why.code, REASON_CHAIN_UNREACHABLE);
	cr_assert_arr_eq(out.p, "yes", 3);
	buf_fini(&out);
}

/* Who answered otherwise than the quorum is named; who did not answer, or
 * does not have the block, is no liar. */
SUITE(outvoted)
{
	const struct chain_block b = mock_block(m, 0, 100);
	const struct bytes in = { calldata, sizeof calldata };
	char odd[CHAINVIEW_ODD] = "x", want[64];
	struct buf out = { 0 };
	enum err e;

	mock_answer(m, MOCK_ALL, SEL, "yes", 3);
	e = chainview_call_noting(v, &b, to, in, 1024, &out, odd, &why);
	cr_assert_eq(e, ERR_OK);
	cr_assert_str_eq(odd, "");
	mock_answer(m, 1, SEL, "no", 2);
	e = chainview_call_noting(v, &b, to, in, 1024, &out, odd, &why);
	cr_assert_eq(e, ERR_OK);
	cr_assert_arr_eq(out.p, "yes", 3);
	/* By host and port: its URL has a key. */
	(void)snprintf(want, sizeof want, "%.*s: data",
	    (int)(strlen(mock_urls(m)[1]) - strlen("http:///key")),
	    mock_urls(m)[1] + strlen("http://"));
	cr_assert_str_eq(odd, want);
	mock_error(m, 1, SEL, 3, "execution reverted");
	e = chainview_call_noting(v, &b, to, in, 1024, &out, odd, &why);
	cr_assert_eq(e, ERR_OK);
	cr_assert_not_null(strstr(odd, ": revert"));
	mock_error(m, 1, SEL, -32005, "rate limit");
	e = chainview_call_noting(v, &b, to, in, 1024, &out, odd, &why);
	cr_assert_eq(e, ERR_OK);
	cr_assert_str_eq(odd, "");
	mock_fork(m, 1, 90, 1);
	e = chainview_call_noting(v, &b, to, in, 1024, &out, odd, &why);
	cr_assert_eq(e, ERR_OK);
	cr_assert_str_eq(odd, "");
	buf_fini(&out);
}

/* An endpoint that does not have the block is no voice. */
SUITE(at_the_block_only)
{
	struct buf out = { 0 };
	struct chain_block other = mock_block(m, 0, 100);

	mock_answer(m, MOCK_ALL, SEL, "yes", 3);
	mock_fork(m, 1, 90, 1);
	cr_assert_eq(call(&out), ERR_OK);
	mock_fork(m, 2, 90, 2);
	cr_assert_eq(call(&out), ERR_AGAIN);
	cr_assert_eq(why.code, REASON_CHAIN_UNREACHABLE);
	cr_assert_not_null(strstr(why.detail, "header not found"));
	mock_fork(m, MOCK_ALL, 900, 1);
	other.hash[31] ^= 1;
	cr_assert_eq(call_at(&other, 1024, &out), ERR_AGAIN);
	buf_fini(&out);
}

/* A revert is an answer, if m give it: not an endpoint's failure. */
SUITE(reverts)
{
	struct buf out = { 0 };

	mock_answer(m, MOCK_ALL, SEL, "yes", 3);
	mock_error(m, 1, SEL, 3, "execution reverted: go \\n away");
	cr_assert_eq(call(&out), ERR_OK);
	mock_error(m, 2, SEL, -32015, "VM execution error.");
	cr_assert_eq(call(&out), ERR_DENIED);
	cr_assert_eq(why.code, REASON_CONTRACT_OTHER);
	cr_assert_str_eq(
	    why.detail, "call failed: execution reverted: go ? away");
	mock_error(m, MOCK_ALL, SEL, -32000, "out of gas");
	cr_assert_eq(call(&out), ERR_DENIED);
	mock_error(m, MOCK_ALL, SEL, -32005, "rate limit");
	cr_assert_eq(call(&out), ERR_AGAIN);
	cr_assert_eq(why.code, REASON_CHAIN_UNREACHABLE);
	buf_fini(&out);
}

/* An answer over the bound is refused: by its data, and by its body. */
SUITE(too_large)
{
	static const uint8_t big[16384];
	struct chain_block b = mock_block(m, 0, 100);
	struct buf out = { 0 };

	mock_answer(m, MOCK_ALL, SEL, big, 1025);
	cr_assert_eq(call(&out), ERR_DENIED);
	cr_assert_eq(why.code, REASON_CHAIN_ANSWER);
	mock_answer(m, MOCK_ALL, SEL, big, sizeof big);
	cr_assert_eq(call(&out), ERR_DENIED);
	cr_assert_eq(why.code, REASON_CHAIN_ANSWER);
	cr_assert_eq(call_at(&b, sizeof big, &out), ERR_OK);
	cr_assert_eq(out.len, sizeof big);
	/* One endpoint's flood is only its own. */
	mock_answer(m, MOCK_ALL, SEL, "yes", 3);
	mock_mode(m, 1, MOCK_HUGE);
	cr_assert_eq(call(&out), ERR_OK);
	buf_fini(&out);
}

/* Results that are no data are no answers. */
SUITE(bad_data)
{
	static const char *const bad[] = { "\"result\":null", "\"result\":\"\"",
		"\"result\":\"0x1\"", "\"result\":17", "\"result\":\"1122\"",
		"\"result\":{}" };
	struct buf out = { 0 };

	for (size_t i = 0; i < 6; i++) {
		mock_canned(m, MOCK_ALL, "eth_call", bad[i]);
		cr_assert_eq(call(&out), ERR_AGAIN, "%zu", i);
		cr_assert_eq(why.code, REASON_CHAIN_UNREACHABLE);
	}
	mock_canned(m, MOCK_ALL, "eth_call", "\"result\":\"0x\"");
	cr_assert_eq(call(&out), ERR_OK);
	cr_assert_eq(out.len, 0);
	buf_fini(&out);
}

/* One that was silent and rests is heard before there is no answer; it is not
 * asked where the others are enough. */
SUITE(rested)
{
	unsigned asked;
	const struct chain_block b = mock_block(m, 0, 100);
	struct buf out = { 0 };

	mock_mode(m, 2, MOCK_HTTP_500);
	mock_answer(m, MOCK_ALL, SEL, "yes", 3);
	cr_assert_eq(call_at(&b, 1024, &out), ERR_OK);
	mock_mode(m, 2, MOCK_FINE);
	asked = mock_count(m, 2, NULL);
	cr_assert_eq(call_at(&b, 1024, &out), ERR_OK);
	cr_assert_eq(mock_count_calls(m, 0, SEL), 2);
	cr_assert_eq(mock_count(m, 2, NULL), asked);
	mock_answer(m, 1, SEL, "no", 2);
	cr_assert_eq(call_at(&b, 1024, &out), ERR_OK);
	cr_assert_eq(out.len, 3);
	cr_assert_eq(mock_count(m, 2, NULL), asked + 1);
	buf_fini(&out);
}

/* Endpoints are named without what their URLs keep secret. */
SUITE(labels)
{
	static const char *const url[] = { "https://u:p@ss@rpc.example/key",
		"http://127.0.0.1:8545?key=1", "https://rpc.example:8443#key" };
	static const char *const label[] = { "rpc.example", "127.0.0.1:8545",
		"rpc.example:8443" };
	struct chainview_options o = { .urls = url,
		.n = 3,
		.quorum = 2,
		.chain_id = 31337,
		.max_age_s = 600,
		.poll_ms = 1000,
		.timeout_ms = 20000,
		.mono_ms = mono };
	struct endpoint_count count[LIMIT_CHAIN_ENDPOINTS];
	struct chainview *named = NULL;

	cr_assert_eq(chainview_new(&named, &o), ERR_OK);
	cr_assert_eq(chainview_endpoint_counts(named, count), 3);
	for (unsigned i = 0; i < 3; i++)
		cr_assert_str_eq(count[i].label, label[i]);
	chainview_free(named);
}
