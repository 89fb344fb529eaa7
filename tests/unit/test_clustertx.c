/* Writers of one account do not take each other's nonce. */
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <criterion/criterion.h>

#include "common/base/clock.h"
#include "common/base/hex.h"
#include "common/crypto/keccak.h"
#include "kms/gate/anchor.h"
#include "kms/gate/clustertx.h"
#include "tests/lib/mock_chain.h"
#include "tests/lib/onchain.h"

#define CHAIN 31337
#define MAX_WRITERS 32 /* ON_THE_WAY of clustertx.c */

static const uint8_t contract[20] = { 0x9f, 0xe4 };
static struct k256_secret account, other;

static void
init(void)
{
	k256_generate(&account);
	k256_generate(&other);
}

TestSuite(clustertx, .init = init, .timeout = 200);

/* A thread that sends one transaction and waits for it. */
struct writer {
	pthread_t thread;
	struct clustertx *tx;
	const struct k256_secret *account;
	uint8_t to[20];
	enum err err;
	struct refusal why;
};

static void *
write_one(void *arg)
{
	static const uint8_t data[4] = { 1, 2, 3, 4 };
	struct writer *w = arg;

	w->err =
	    clustertx_send(w->tx, w->to, BYTES_OF(data), w->account, &w->why);
	return NULL;
}

static void
start(struct writer *w, struct clustertx *tx, const struct k256_secret *k)
{
	*w = (struct writer){ .tx = tx, .account = k };
	memcpy(w->to, contract, 20);
	cr_assert_eq(pthread_create(&w->thread, NULL, write_one, w), 0);
}

/* 0x02 || list [chain id 31337, nonce below 128, ...] */
static unsigned
nonce_of(struct mock_chain *m, unsigned i, unsigned k)
{
	uint64_t end = clock_mono_ms() + 30000;
	uint8_t raw[1024];
	size_t n, at;

	while ((n = mock_sent(m, i, k, raw, sizeof raw)) == 0) {
		cr_assert_lt(clock_mono_ms(), end, "endpoint %u, %u", i, k);
		(void)nanosleep(
		    &(const struct timespec){ .tv_nsec = 2000000 }, NULL);
	}
	cr_assert_eq(raw[0], 2);
	at = raw[1] == 0xf8 ? 3 : 2;
	cr_assert_arr_eq(raw + at, ((uint8_t[]){ 0x82, 0x7a, 0x69 }), 3);
	return raw[at + 3] == 0x80 ? 0 : raw[at + 3];
}

/* The k-th transaction that endpoint i took is mined; or reverted. */
static void
mined_as(struct mock_chain *m, unsigned i, unsigned k, bool good)
{
	uint8_t raw[1024], hash[32];
	size_t n = mock_sent(m, i, k, raw, sizeof raw);
	char text[400], hex[65];

	keccak256(hash, raw, n);
	hex_encode(hex, hash, 32);
	(void)snprintf(text, sizeof text,
	    "\"result\":{\"transactionHash\":\"0x%s\",\"status\":\"0x%d\","
	    "\"blockNumber\":\"0x1\",\"blockHash\":\"0x%s\","
	    "\"gasUsed\":\"0x1\"}",
	    hex, good, hex);
	mock_canned(m, i, "eth_getTransactionReceipt", text);
}

static void
mine(struct mock_chain *m, unsigned i, unsigned k)
{
	mined_as(m, i, k, true);
}

static struct mock_chain *
lagging_chain(unsigned n)
{
	struct mock_chain *m = mock_chain_new(n, CHAIN);

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
	return m;
}

/* Two writers, each with an endpoint that has not heard of the other's
 * transaction, take two nonces; another account is not concerned; and when
 * all is mined, what the endpoint says counts again. */
Test(clustertx, on_its_way)
{
	struct mock_chain *m = lagging_chain(2);
	const char *const *urls = mock_urls(m);
	struct clustertx_options o = { .chain_id = CHAIN,
		.urls = urls,
		.n_urls = 1,
		.timeout_ms = 20000 };
	struct clustertx *a = NULL, *b = NULL;
	struct writer w[3];

	cr_assert_eq(clustertx_new(&a, &o), ERR_OK);
	o.urls = urls + 1;
	cr_assert_eq(clustertx_new(&b, &o), ERR_OK);
	start(&w[0], a, &account);
	cr_assert_eq(nonce_of(m, 0, 0), 5);
	start(&w[1], b, &account);
	cr_assert_eq(nonce_of(m, 1, 0), 6);
	start(&w[2], b, &other);
	cr_assert_eq(nonce_of(m, 1, 1), 5);
	mine(m, 0, 0);
	(void)pthread_join(w[0].thread, NULL);
	mine(m, 1, 0);
	(void)pthread_join(w[1].thread, NULL);
	mine(m, 1, 1);
	(void)pthread_join(w[2].thread, NULL);
	for (unsigned i = 0; i < 3; i++)
		cr_assert_eq(w[i].err, ERR_OK, "%s", w[i].why.detail);
	start(&w[0], b, &account);
	cr_assert_eq(nonce_of(m, 1, 2), 5);
	mine(m, 1, 2);
	(void)pthread_join(w[0].thread, NULL);
	clustertx_free(a);
	clustertx_free(b);
	mock_chain_free(m);
}

/* What was not taken is not on its way. */
Test(clustertx, not_taken)
{
	static const uint8_t data[4] = { 1 };
	struct mock_chain *m = lagging_chain(2);
	const struct clustertx_options o = { .chain_id = CHAIN,
		.urls = mock_urls(m),
		.n_urls = 2,
		.timeout_ms = 20000 };
	struct k256_secret none = { { 0 } };
	struct refusal why = { 0 };
	struct clustertx *t = NULL;

	cr_assert_eq(clustertx_new(&t, &o), ERR_OK);
	cr_assert_eq(clustertx_send(t, contract, BYTES_OF(data), &none, &why),
	    ERR_MALFORMED);
	mock_canned(m, MOCK_ALL, "eth_sendRawTransaction",
	    "\"error\":{\"code\":-32000,\"message\":\"nonce too low\"}");
	cr_assert_eq(
	    clustertx_send(t, contract, BYTES_OF(data), &account, &why),
	    ERR_AGAIN);
	cr_assert_not_null(strstr(why.detail, "nonce too low"));
	cr_assert_eq(nonce_of(m, 0, 0), 5);
	cr_assert_eq(nonce_of(m, 1, 0), 5);
	clustertx_free(t);
	mock_chain_free(m);
}

/* On a real chain: many at once, over two sets of connections, and each is
 * mined. */
Test(clustertx, at_once)
{
	struct clustertx *t[2] = { NULL, NULL };
	struct writer w[12];
	struct k256_pub pub;
	uint8_t address[20];
	struct anvil av;

	if (!anvil_start(&av))
		cr_skip_test("no anvil");
	const char *const urls[] = { av.url };
	const struct clustertx_options o = { .chain_id = ANVIL_CHAIN,
		.urls = urls,
		.n_urls = 1,
		.timeout_ms = 30000 };

	cr_assert_eq(k256_pubkey(&pub, &account), ERR_OK);
	cr_assert_eq(k256_address(address, &pub), ERR_OK);
	onchain_fund(&av, address);
	anvil_rpc(&av, "evm_setAutomine", "[false]");
	anvil_rpc(&av, "evm_setIntervalMining", "[1]");
	for (unsigned i = 0; i < 2; i++)
		cr_assert_eq(clustertx_new(&t[i], &o), ERR_OK);
	for (unsigned i = 0; i < 12; i++)
		start(&w[i], t[i % 2], &account);
	for (unsigned i = 0; i < 12; i++)
		(void)pthread_join(w[i].thread, NULL);
	for (unsigned i = 0; i < 12; i++)
		cr_assert_eq(w[i].err, ERR_OK, "%u: %s", i, w[i].why.detail);
	clustertx_free(t[0]);
	clustertx_free(t[1]);
	anvil_stop(&av);
}

/* What was mined and reverted did not happen. */
Test(clustertx, reverted)
{
	struct mock_chain *m = lagging_chain(1);
	const struct clustertx_options o = { .chain_id = CHAIN,
		.urls = mock_urls(m),
		.n_urls = 1,
		.timeout_ms = 20000 };
	struct clustertx *t = NULL;
	struct writer w;

	cr_assert_eq(clustertx_new(&t, &o), ERR_OK);
	start(&w, t, &account);
	(void)nonce_of(m, 0, 0);
	mined_as(m, 0, 0, false);
	(void)pthread_join(w.thread, NULL);
	cr_assert_eq(w.err, ERR_DENIED);
	cr_assert_eq(w.why.code, REASON_CONTRACT_OTHER);
	cr_assert_not_null(strstr(w.why.detail, "reverted"));
	clustertx_free(t);
	mock_chain_free(m);
}

/* So many are on their way from one process, and no more: one more sends
 * nothing, and finds a place when another is done. */
Test(clustertx, too_many)
{
	struct mock_chain *m = lagging_chain(1);
	const struct clustertx_options o = { .chain_id = CHAIN,
		.urls = mock_urls(m),
		.n_urls = 1,
		.timeout_ms = 20000 };
	struct clustertx *t = NULL;
	struct writer w[MAX_WRITERS], more;

	cr_assert_eq(clustertx_new(&t, &o), ERR_OK);
	for (unsigned i = 0; i < MAX_WRITERS; i++) {
		start(&w[i], t, &account);
		cr_assert_eq(nonce_of(m, 0, i), 5 + i);
	}
	start(&more, t, &account);
	(void)pthread_join(more.thread, NULL);
	cr_assert_eq(more.err, ERR_AGAIN);
	cr_assert_eq(more.why.code, REASON_BUSY);
	cr_assert_eq(mock_count(m, 0, "eth_sendRawTransaction"), MAX_WRITERS);
	for (unsigned i = 0; i < MAX_WRITERS; i++) {
		mine(m, 0, i);
		(void)pthread_join(w[i].thread, NULL);
		cr_assert_eq(w[i].err, ERR_OK);
	}
	start(&more, t, &account);
	cr_assert_eq(nonce_of(m, 0, MAX_WRITERS), 5);
	mine(m, 0, MAX_WRITERS);
	(void)pthread_join(more.thread, NULL);
	cr_assert_eq(more.err, ERR_OK);
	clustertx_free(t);
	mock_chain_free(m);
}

/* http or https, and nothing else. */
Test(clustertx, urls)
{
	static const char *const good[] = { "https://rpc.example/key" };
	static const char *const bad[] = { "https//rpc.example", "ws://a",
		"HTTP://a", "" };
	struct clustertx_options o = {
		.chain_id = CHAIN, .urls = good, .n_urls = 1, .timeout_ms = 1
	};
	struct clustertx *t = NULL;

	for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		o.urls = &bad[i];
		cr_assert_eq(clustertx_new(&t, &o), ERR_CONFIG, "%s", bad[i]);
	}
	cr_assert_null(t);
	o.urls = good;
	cr_assert_eq(clustertx_new(&t, &o), ERR_OK);
	clustertx_free(t);
	clustertx_free(NULL);
}
