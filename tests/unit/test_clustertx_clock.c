/* A transaction that is never mined, by a clock that this file keeps: two
 * minutes pass in a moment. */
#include <string.h>
#include <time.h>

#include <criterion/criterion.h>

#include "common/base/clock.h"
#include "kms/gate/clustertx.h"
#include "tests/lib/mock_chain.h"

#define CHAIN 31337

/* In place of common/base/clock.c: for the thread that sends each look is twenty
 * seconds later; the endpoint's threads have the machine's time. */
static _Thread_local uint64_t ahead;

uint64_t
clock_mono_ms(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	if (ahead != 0)
		ahead += 20000;
	return ahead + (uint64_t)ts.tv_sec * 1000 +
	    (uint64_t)ts.tv_nsec / 1000000;
}

uint64_t
clock_boot_ms(void)
{
	return clock_mono_ms();
}

int64_t
clock_wall_s(void)
{
	return 1700000000;
}

/* It may still be mined: who sent it reads before it sends anew, and so it is
 * told that the chain did not show it, not that it was refused. */
Test(clustertx_clock, never_mined, .timeout = 60)
{
	static const uint8_t data[4] = { 1 }, contract[20] = { 0x9f, 0xe4 };
	struct mock_chain *m = mock_chain_new(1, CHAIN);
	const struct clustertx_options o = { .chain_id = CHAIN,
		.urls = mock_urls(m),
		.n_urls = 1,
		.timeout_ms = 20000 };
	struct k256_secret account;
	struct refusal why = { 0 };
	struct clustertx *t = NULL;

	k256_generate(&account);
	mock_head(m, MOCK_ALL, 120, 110, 100);
	mock_canned(
	    m, MOCK_ALL, "eth_getTransactionCount", "\"result\":\"0x5\"");
	mock_canned(
	    m, MOCK_ALL, "eth_maxPriorityFeePerGas", "\"result\":\"0x3\"");
	mock_canned(m, MOCK_ALL, "eth_estimateGas", "\"result\":\"0x5208\"");
	mock_canned(m, MOCK_ALL, "eth_sendRawTransaction",
	    "\"error\":{\"code\":-32000,\"message\":\"already known\"}");
	mock_canned(
	    m, MOCK_ALL, "eth_getTransactionReceipt", "\"result\":null");
	cr_assert_eq(clustertx_new(&t, &o), ERR_OK);
	ahead = 1;
	cr_assert_eq(
	    clustertx_send(t, contract, BYTES_OF(data), &account, &why),
	    ERR_AGAIN);
	cr_assert_eq(why.code, REASON_CHAIN_UNREACHABLE);
	cr_assert_not_null(strstr(why.detail, "not mined"), "%s", why.detail);
	cr_assert_eq(mock_count(m, 0, "eth_sendRawTransaction"), 1);
	clustertx_free(t);
	mock_chain_free(m);
}
