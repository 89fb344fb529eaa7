/* What the chain says of batches, as a quorum of endpoints tells it. */
#include <string.h>

#include <criterion/criterion.h>

#include "common/crypto/keccak.h"
#include "common/eth/abi.h"
#include "kms/gate/checkin.h"
#include "tests/lib/mock_chain.h"

#define NOW ((int64_t)MOCK_TIME(101))
#define AT 0x6edb6422u
#define CHAIN 31337

static struct mock_chain *m;
static struct chainview *v;
static struct checkin *c;
static struct refusal why;
static struct checkin_found f;
static const uint8_t contract[20] = { 0x9f, 0xe4 };
static const uint8_t batch[3][32] = { { 1 }, { 2 }, { 3 } };

static uint64_t
mono(void)
{
	static uint64_t ms;

	return ms += 100000; /* looks anew each time */
}

static void
setup(void)
{
	struct chainview_options o = { .n = 3,
		.quorum = 2,
		.chain_id = CHAIN,
		.tag = CHAIN_FINALIZED,
		.max_age_s = UINT32_MAX,
		.poll_ms = 1,
		.timeout_ms = 20000,
		.mono_ms = mono };
	struct checkin_options co = {
		.chain_id = CHAIN, .n_urls = 3, .timeout_ms = 20000
	};

	m = mock_chain_new(3, CHAIN);
	mock_head(m, MOCK_ALL, 120, 110, 100);
	o.urls = co.urls = mock_urls(m);
	cr_assert_eq(chainview_new(&v, &o), ERR_OK);
	co.view = v;
	memcpy(co.contract, contract, sizeof contract);
	cr_assert_eq(checkin_new(&c, &co), ERR_OK);
}

static void
teardown(void)
{
	checkin_free(c);
	chainview_free(v);
	mock_chain_free(m);
}

#define SUITE(name) Test(checkin, name, .init = setup, .fini = teardown)

/* Endpoint `i` says that any batch came then. */
static void
says(unsigned i, uint64_t time)
{
	struct buf b = { 0 };

	cr_assert_eq(abi_put_u64(&b, time, 32), ERR_OK);
	mock_answer_at(m, i, contract, AT, b.p, b.len);
	buf_fini(&b);
}

static void
expect_again(enum reason code, const char *word)
{
	f = (struct checkin_found){ .which = 77 };
	why = (struct refusal){ 0 };
	cr_assert_eq(checkin_find(c, NOW, batch, 3, &f, &why), ERR_AGAIN);
	cr_assert_eq(
	    why.code, code, "%s: %s", reason_label(why.code), why.detail);
	cr_assert_not_null(strstr(why.detail, word), "%s", why.detail);
	cr_assert_eq(f.which, 77);
}

/* Options without a chain or a contract are refused. */
SUITE(options)
{
	const char *bad_url[1] = { "ftp://a/b" };
	struct checkin_options good = { .view = v,
		.chain_id = CHAIN,
		.contract = { 1 },
		.urls = mock_urls(m),
		.n_urls = 1,
		.timeout_ms = 1 };
	struct checkin_options bad[4];
	struct checkin *x = NULL;

	for (size_t i = 0; i < 4; i++)
		bad[i] = good;
	bad[0].chain_id = 0;
	memset(bad[1].contract, 0, 20);
	bad[2].urls = bad_url;
	bad[3].timeout_ms = 0;
	for (size_t i = 0; i < 4; i++)
		cr_expect_eq(checkin_new(&x, &bad[i]), ERR_CONFIG, "%zu", i);
	cr_assert_null(x);
}

/* What such a contract cannot say is no answer. */
SUITE(answers_that_are_none)
{
	uint8_t word[64] = { 0 };

	/* No contract there: eth_call gives nothing. */
	mock_answer_at(m, MOCK_ALL, contract, AT, "", 0);
	expect_again(REASON_CHAIN_ANSWER, "is there a contract");
	word[31] = 1;
	mock_answer_at(m, MOCK_ALL, contract, AT, word, 31);
	expect_again(REASON_CHAIN_ANSWER, "not a time");
	mock_answer_at(m, MOCK_ALL, contract, AT, word, 64);
	expect_again(REASON_CHAIN_ANSWER, "answer of more than 32 bytes");
	word[0] = 1; /* over 64 bits */
	mock_answer_at(m, MOCK_ALL, contract, AT, word, 32);
	expect_again(REASON_CHAIN_ANSWER, "not a time");
	mock_error(m, MOCK_ALL, AT, 3, "execution reverted");
	mock_head(m, MOCK_ALL, 121, 111, 101);
}

/* A batch does not come after the block that has it. */
SUITE(from_the_future)
{
	says(MOCK_ALL, MOCK_TIME(100) + 1);
	expect_again(REASON_CHAIN_ANSWER, "after the block");
	says(MOCK_ALL, MOCK_TIME(100));
	cr_assert_eq(checkin_find(c, NOW, batch, 3, &f, &why), ERR_OK);
	cr_assert(f.found);
}

/* A quorum that fails or disagrees finds nothing; one liar is outvoted. */
SUITE(quorum)
{
	says(0, MOCK_TIME(90));
	says(1, MOCK_TIME(91));
	says(2, 0);
	expect_again(REASON_CHAIN_DISAGREE, "");
	says(1, 0);
	cr_assert_eq(checkin_find(c, NOW, batch, 3, &f, &why), ERR_OK);
	cr_assert_not(f.found, "one endpoint alone says that it is there");
	says(1, MOCK_TIME(90));
	cr_assert_eq(checkin_find(c, NOW, batch, 3, &f, &why), ERR_OK);
	cr_assert(f.found);
	cr_assert_eq(f.which, 0);
	cr_assert_eq(f.time, MOCK_TIME(90));
	cr_assert_eq(f.block.number, 100);
	mock_down(m, 0);
	mock_down(m, 1);
	expect_again(REASON_CHAIN_UNREACHABLE, "");
}

/* None is there: that is an answer, at a block; all were asked for, at it. */
SUITE(none)
{
	says(MOCK_ALL, 0);
	cr_assert_eq(checkin_find(c, NOW, batch, 3, &f, &why), ERR_OK);
	cr_assert_not(f.found);
	cr_assert_eq(f.block.number, 100);
	cr_assert_eq(mock_count_calls_at(m, 0, contract, AT), 3);
	cr_assert_eq(checkin_find(c, NOW, batch, 0, &f, &why), ERR_OK);
	cr_assert_not(f.found);
}

/* What goes on chain for a batch: every part counts, and one batch is not the
 * beginning of another. */
SUITE(batch)
{
	static const uint8_t nonce[3][CHECKIN_NONCE_LEN] = { { 1 }, { 2 },
		{ 3 } };
	static const uint8_t swapped[2][CHECKIN_NONCE_LEN] = { { 2 }, { 1 } };
	uint8_t want[32], got[32], text[23 + 8 + 20 + 1 + 64];
	uint8_t other[20] = { 0x9f, 0xe5 };

	memset(text, 0, sizeof text);
	memcpy(text, "devproof-kms/checkin/v1", 23);
	text[23 + 6] = CHAIN >> 8;
	text[23 + 7] = CHAIN & 0xff;
	memcpy(text + 31, contract, 20);
	text[51] = 2;
	text[52] = 1;
	text[52 + 32] = 2;
	keccak256(want, text, sizeof text);
	checkin_batch(got, CHAIN, contract, nonce, 2);
	cr_assert_arr_eq(got, want, 32);
	checkin_batch(got, CHAIN + 1, contract, nonce, 2);
	cr_assert_arr_neq(got, want, 32);
	checkin_batch(got, CHAIN, other, nonce, 2);
	cr_assert_arr_neq(got, want, 32);
	checkin_batch(got, CHAIN, contract, nonce, 1);
	cr_assert_arr_neq(got, want, 32);
	checkin_batch(got, CHAIN, contract, nonce, 3);
	cr_assert_arr_neq(got, want, 32);
	checkin_batch(got, CHAIN, contract, swapped, 2);
	cr_assert_arr_neq(got, want, 32);
}

/* What no endpoint takes is not there, and the reason is told to who asks. */
SUITE(send_refused)
{
	struct k256_secret key;

	k256_generate(&key);
	mock_canned(m, MOCK_ALL, "eth_getTransactionCount",
	    "\"error\":{\"code\":-32005,\"message\":\"no\"}");
	cr_assert_eq(checkin_send(c, batch[0], &key, &why), ERR_AGAIN);
	cr_assert_neq(why.code, REASON_NONE);
	cr_assert_eq(checkin_send(c, batch[0], &key, NULL), ERR_AGAIN);
	cr_assert_eq(mock_count(m, 0, "eth_sendRawTransaction"), 0);
	checkin_free(NULL);
}
