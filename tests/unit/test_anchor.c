/* What the chain keeps for the cluster, as a quorum of endpoints tells it:
 * everything that the contract cannot have said is refused. */
#include <stdio.h>
#include <string.h>

#include <criterion/criterion.h>
#include <sodium.h>

#include "common/base/file.h"
#include "common/base/wr.h"
#include "common/crypto/keccak.h"
#include "common/eth/abi.h"
#include "kms/gate/anchor.h"
#include "kms/gate/anchorabi.h"
#include "tests/lib/facts.h"
#include "tests/lib/mock_chain.h"

#define NOW ((int64_t)MOCK_TIME(101))
#define STATE 0xc19d93fbu
#define CHAIN 31337

static struct mock_chain *m;
static struct chainview *v;
static struct anchor *a;
static struct refusal why;
static const uint8_t contract[20] = { 0x9f, 0xe4 };

/* ---- an answer of state(), word by word ---- */

enum word {
	W_OFFSET,
	W_KMS,
	W_OWNER,
	W_WAIT,
	W_SIGNER,
	W_ROTATIONS,
	W_GENERATION,
	W_INDEX,
	W_HASH,
	W_OPENER,
	W_ORDERS,
	W_ORDER,
	W_LOSSY,
	W_ANN_GENERATION,
	W_ANN_INDEX,
	W_ANN_HASH,
	W_ANN_INCARNATION,
	W_ANN_OPEN_AT,
	W_VETOES,
	W_SEATS,
	W_N_SEATS,
	W_SEAT,
	W_MAX = W_SEAT + 2 * 16,
};

struct answer {
	uint8_t w[W_MAX][32];
	unsigned n;
};

static void
number(struct answer *x, unsigned i, uint64_t n)
{
	struct wr w = { .p = x->w[i] + 24, .cap = 8 };

	memset(x->w[i], 0, 32);
	wr_be64(&w, n);
}

static void
seat(struct answer *x, const char *slot, uint8_t device)
{
	memset(x->w[x->n], 0, 32);
	memcpy(x->w[x->n], slot, strlen(slot));
	memset(x->w[x->n + 1], device, 32);
	x->n += 2;
	number(x, W_N_SEATS, (x->n - W_SEAT) / 2);
}

/* A cluster of two seats, an order, and its announcement. */
static struct answer
good(void)
{
	struct answer x = { .n = W_SEAT };

	number(&x, W_OFFSET, 0x20);
	number(&x, W_KMS, 0xaaaa);
	number(&x, W_OWNER, 0xbbbb);
	number(&x, W_WAIT, 1800);
	number(&x, W_SIGNER, 0xcccc);
	number(&x, W_ROTATIONS, 1);
	number(&x, W_GENERATION, 3);
	number(&x, W_INDEX, 70);
	memset(x.w[W_HASH], 0x11, 32);
	memset(x.w[W_OPENER], 0x44, 32);
	number(&x, W_ORDERS, 5);
	memset(x.w[W_ORDER], 0x22, 32);
	number(&x, W_LOSSY, 1);
	number(&x, W_ANN_GENERATION, 4);
	number(&x, W_ANN_INDEX, 75);
	memset(x.w[W_ANN_HASH], 0x33, 32);
	memset(x.w[W_ANN_INCARNATION], 0x22, 32);
	number(&x, W_ANN_OPEN_AT, 1700009999);
	number(&x, W_VETOES, 2);
	number(&x, W_SEATS, 19 * 32);
	seat(&x, "kms0", 0xd0);
	seat(&x, "kms1", 0xd1);
	return x;
}

static enum err
parse(const struct answer *x)
{
	struct anchor_state s, was;
	enum err e;

	memset(&s, 0x5a, sizeof s);
	was = s;
	e = anchorabi_state(
	    &s, (struct bytes){ x->w[0], (size_t)x->n * sizeof x->w[0] });
	if (e != ERR_OK)
		cr_assert_eq(memcmp(&s, &was, sizeof s), 0);
	return e;
}

static void
refuse_number(unsigned i, uint64_t n)
{
	struct answer x = good();

	number(&x, i, n);
	cr_assert_eq(parse(&x), ERR_MALFORMED, "word %u = %llu", i,
	    (unsigned long long)n);
}

/* Every length but the right one is malformed. */
Test(anchor, every_length_counts)
{
	struct answer x = good();
	struct anchor_state s;

	for (size_t len = 0; len < sizeof x.w; len++) {
		enum err want =
		    len == (size_t)x.n * 32 ? ERR_OK : ERR_MALFORMED;

		cr_assert_eq(anchorabi_state(&s, (struct bytes){ x.w[0], len }),
		    want, "%zu", len);
	}
}

/* Numbers have 64 bits, addresses 160, flags one. */
Test(anchor, high_bytes)
{
	static const uint8_t hashes[] = { W_HASH, W_OPENER, W_ORDER, W_ANN_HASH,
		W_ANN_INCARNATION };

	for (unsigned i = 0; i < W_SEAT; i++) {
		struct answer x = good();

		if (memchr(hashes, (int)i, sizeof hashes) != NULL)
			continue;
		x.w[i][0] = 1;
		cr_assert_eq(parse(&x), ERR_MALFORMED, "word %u", i);
	}
	refuse_number(W_LOSSY, 2);
}

/* Offsets have one value; a count must fit what is there. */
Test(anchor, offsets)
{
	refuse_number(W_OFFSET, 0);
	refuse_number(W_OFFSET, 0x40);
	refuse_number(W_SEATS, 18 * 32);
	refuse_number(W_SEATS, 20 * 32);
	refuse_number(W_N_SEATS, 0);
	refuse_number(W_N_SEATS, 1);
	refuse_number(W_N_SEATS, 3);
	refuse_number(W_N_SEATS, UINT64_MAX);
}

/* No cluster without all of it; none of it without a cluster. */
Test(anchor, impossible_points)
{
	refuse_number(W_KMS, 0);
	refuse_number(W_OWNER, 0);
	refuse_number(W_WAIT, 0);
	refuse_number(W_SIGNER, 0);
	refuse_number(W_GENERATION, 0);
	refuse_number(W_INDEX, 0);
	refuse_number(W_HASH, 0);
	refuse_number(W_OPENER, 0);
}

/* What the fuzzer begins with is of the contract as it is: else it would only
 * ever stand before the door. */
Test(anchor, corpus)
{
	static const char *const good_ones[] = { "announced", "empty",
		"seats" };
	struct buf b = { 0 };
	struct anchor_state s;
	char path[64];

	for (unsigned i = 0; i < 3; i++) {
		(void)snprintf(
		    path, sizeof path, "fuzz/corpora/anchor/%s", good_ones[i]);
		cr_assert_eq(file_read(&b, path, 4096), ERR_OK);
		cr_assert_eq(
		    anchorabi_state(&s, buf_view(&b)), ERR_OK, "%s", path);
	}
	cr_assert_eq(
	    file_read(&b, "fuzz/corpora/anchor/no-order", 4096), ERR_OK);
	cr_assert_eq(anchorabi_state(&s, buf_view(&b)), ERR_MALFORMED);
	buf_fini(&b);
}

/* Before the genesis nobody can have ordered anything, nor changed who signs. */
Test(anchor, impossible_beginnings)
{
	struct answer x = good();

	for (unsigned i = W_SIGNER; i <= W_VETOES; i++)
		number(&x, i, 0);
	cr_assert_eq(parse(&x), ERR_OK);
	for (unsigned i = W_SIGNER; i <= W_VETOES; i++) {
		number(&x, i, 1);
		cr_assert_eq(parse(&x), ERR_MALFORMED, "word %u", i);
		number(&x, i, 0);
	}
}

/* An announcement follows from the order and from the point. */
Test(anchor, impossible_recoveries)
{
	struct answer x = good();

	refuse_number(W_ORDERS, 0);
	refuse_number(W_ORDERS, 1); /* two vetoes took two of them */
	refuse_number(W_ORDER, 0);
	refuse_number(W_ANN_GENERATION, 0);
	refuse_number(W_ANN_GENERATION, 3);
	refuse_number(W_ANN_GENERATION, 5);
	refuse_number(W_ANN_INDEX, 69);
	refuse_number(W_ANN_INDEX, 70); /* with another hash */
	number(&x, W_ANN_INDEX, 70);
	memcpy(x.w[W_ANN_HASH], x.w[W_HASH], 32);
	cr_assert_eq(parse(&x), ERR_OK); /* nothing came after the anchor */
	x = good();
	refuse_number(W_ANN_HASH, 0);
	refuse_number(W_ANN_INCARNATION, 0);
	refuse_number(W_ANN_INCARNATION, 1);
	refuse_number(W_ANN_OPEN_AT, 0);

	/* the order withdrawn: lossy falls with it */
	for (unsigned i = W_ANN_GENERATION; i <= W_ANN_OPEN_AT; i++)
		number(&x, i, 0);
	cr_assert_eq(parse(&x), ERR_OK);
	number(&x, W_ORDER, 0);
	cr_assert_eq(parse(&x), ERR_MALFORMED);
	number(&x, W_LOSSY, 0);
	cr_assert_eq(parse(&x), ERR_OK);
	for (unsigned i = W_ANN_INDEX; i <= W_ANN_OPEN_AT; i++) {
		number(&x, i, 1);
		cr_assert_eq(parse(&x), ERR_MALFORMED, "word %u", i);
		number(&x, i, 0);
	}
}

/* Names as name_ok wants them, once each, with a device. */
Test(anchor, impossible_seats)
{
	static const char *const bad[] = { "", "a b", "a/b", "a#b", "a\x7f",
		"a\x80", "\n", "12345678901234567890123456789012" };
	struct answer x;

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		x = good();
		x.n -= 2;
		seat(&x, bad[i], 0xd1);
		cr_assert_eq(parse(&x), ERR_MALFORMED, "%s", bad[i]);
	}
	x = good();
	x.w[W_SEAT][31] = 'x'; /* behind the padding */
	cr_assert_eq(parse(&x), ERR_MALFORMED);
	x = good();
	seat(&x, "kms0", 0xd2);
	cr_assert_eq(parse(&x), ERR_MALFORMED);
	x = good();
	seat(&x, "kms2", 0);
	cr_assert_eq(parse(&x), ERR_MALFORMED);

	x = good();
	x.n = W_SEAT;
	for (char c = 'a'; c < 'a' + 15; c++)
		seat(&x, (const char[]){ c, '\0' }, 0xd1);
	cr_assert_eq(parse(&x), ERR_OK);
	cr_assert_eq((size_t)x.n * 32, ANCHORABI_STATE_MAX);
	seat(&x, "z", 0xd1);
	cr_assert_eq(parse(&x), ERR_MALFORMED);
}

/* The seats' hash is that of the words that state() has of them: keccak256 of
 * 0x20, their number, name and device of each. */
Test(anchor, seats_hash)
{
	struct answer x = good();
	struct anchor_state s;
	uint8_t want[32], got[32];

	cr_assert_eq(
	    anchorabi_state(&s, (struct bytes){ x.w[0], (size_t)x.n * 32 }),
	    ERR_OK);
	anchor_seats_hash(got, &s.v);
	number(&x, W_SEATS, 0x20);
	keccak256(want, x.w[W_SEATS], (size_t)(x.n - W_SEATS) * 32);
	cr_assert_arr_eq(got, want, 32);
	s.v.seat[1].device_id[31] ^= 1;
	anchor_seats_hash(got, &s.v);
	cr_assert_arr_neq(got, want, 32);
	s.v.seat[1].device_id[31] ^= 1;
	s.v.n_seats = 1;
	anchor_seats_hash(got, &s.v);
	cr_assert_arr_neq(got, want, 32);
}

/* ---- signatures ---- */

static struct k256_secret
key_of(uint8_t b)
{
	struct k256_secret k = { { 0 } };

	k.b[31] = b;
	return k;
}

/* The signature in calldata recovers the key, over the words that
 * contracts/README.md lists, written down here a second time. */
static void
check_signature(const struct anchor_write *w, const char *action,
    const char *words, uint64_t orders)
{
	const struct anchorabi_at at = { .chain_id = CHAIN,
		.contract = { 0x9f, 0xe4 } };
	struct k256_secret k = key_of(7);
	uint8_t domain[32], tag[32], digest[32];
	struct buf call = { 0 }, text = { 0 }, more = { 0 };
	struct k256_pub pub, got;
	struct k256_sig65 sig;

	keccak256(domain, "devproof-kms/anchor/v1", 22);
	keccak256(tag, action, strlen(action));
	cr_assert_eq(buf_set(&text, domain, 32), ERR_OK);
	cr_assert_eq(abi_put_u64(&text, CHAIN, 4096), ERR_OK);
	cr_assert_eq(abi_put_address(&text, contract, 4096), ERR_OK);
	cr_assert_eq(abi_put_bytes32(&text, tag, 4096), ERR_OK);
	facts_hex_buf(&more, words);
	cr_assert_eq(buf_append(&text, more.p, more.len, 4096), ERR_OK);
	keccak256(digest, text.p, text.len);

	cr_assert_eq(anchorabi_write(&call, &at, w, orders, &k), ERR_OK);
	cr_assert_eq(call.len % 32, 4);
	memcpy(sig.b, call.p + call.len - 96, 65);
	cr_assert(sig.b[64] == 27 || sig.b[64] == 28);
	cr_assert_eq(k256_recover_digest(&got, &sig, digest), ERR_OK);
	cr_assert_eq(k256_pubkey(&pub, &k), ERR_OK);
	cr_assert_arr_eq(got.b, pub.b, 33);
	buf_fini(&more);
	buf_fini(&text);
	buf_fini(&call);
}

#define Z62 "00000000000000000000000000000000000000000000000000000000000000"
#define H11 "1111111111111111111111111111111111111111111111111111111111111111"
#define H22 "2222222222222222222222222222222222222222222222222222222222222222"
#define H33 "3333333333333333333333333333333333333333333333333333333333333333"
#define FROM Z62 "03" Z62 "46" H11

static struct anchor_write
a_write(enum anchor_write_kind kind)
{
	struct anchor_write w = { .kind = kind,
		.from = { .generation = 3, .index = 70 },
		.to = { .generation = 4, .index = 75 } };

	memset(w.from.hash, 0x11, 32);
	memset(w.to.hash, 0x33, 32);
	memset(w.incarnation, 0x22, sizeof w.incarnation);
	return w;
}

Test(anchor, signatures)
{
	struct anchor_write w = a_write(ANCHOR_ADVANCE);

	check_signature(&w, "advance", FROM Z62 "4b" H33, 5);
	w.kind = ANCHOR_ANNOUNCE;
	check_signature(&w, "announce", FROM Z62 "4b" H33 H22 Z62 "05", 5);
	w.kind = ANCHOR_OPEN;
	check_signature(&w, "open", FROM Z62 "4b" H33 H22 Z62 "06", 6);
	w.kind = ANCHOR_VETO;
	check_signature(&w, "veto", Z62 "04" Z62 "05", 5);
}

Test(anchor, bad_keys_and_names_write_nothing)
{
	const struct anchorabi_at at = { .chain_id = CHAIN };
	struct anchor_write w = a_write(ANCHOR_OPEN);
	struct k256_secret zero = key_of(0);
	struct buf b = { 0 };

	cr_assert_eq(anchorabi_write(&b, &at, &w, 1, &zero), ERR_MALFORMED);
	cr_assert_eq(anchorabi_set_seat(&b, "a/b", w.to.hash), ERR_MALFORMED);
	cr_assert_eq(anchorabi_remove_seat(&b, ""), ERR_MALFORMED);
	cr_assert_eq(
	    anchorabi_remove_seat(&b, "12345678901234567890123456789012"),
	    ERR_MALFORMED);
	cr_assert_null(b.p);
}

/* The key is that of epoch 0 and of no other. */
Test(anchor, key)
{
	struct k256_secret k = key_of(9);
	struct epoch_roots *r = NULL;
	uint8_t x[32], y[32];

	cr_assert_geq(sodium_init(), 0);
	facts_hex(x, 32,
	    "c622788ad98b75b6ad16b7a2068e7b6fd12eef5aae26cc6778da9b6e0de70be"
	    "4");
	facts_hex(y, 32,
	    "8f0a4dfc3808125d1260447fc7588b7c9c93a27ddc69cc4f9b3c68e49e7788c"
	    "0");
	cr_assert_eq(epoch_roots_import(&r, 1, x, y), ERR_OK);
	cr_assert_eq(anchor_key(&k, r), ERR_MALFORMED);
	cr_assert_eq(k.b[31], 9);
	epoch_roots_free(r);
	cr_assert_eq(epoch_roots_import(&r, 0, x, y), ERR_OK);
	cr_assert_eq(anchor_key(&k, r), ERR_OK);
	/* HKDF-SHA256(salt "RATLS", root_k256, "devproof-kms/anchor/v1") */
	cr_assert(facts_eq(k.b, 32,
	    "cf0475efa27d5a39f0d1b99e856b5d9efa6fead4e0df9d5597672aa5b188bd7"
	    "0"));
	epoch_roots_free(r);
}

/* ---- against endpoints ---- */

static uint64_t
mono(void)
{
	return 1000000;
}

static void
answer(unsigned i, const struct answer *x)
{
	mock_answer(m, i, STATE, x->w[0], (size_t)x->n * 32);
}

/* Three endpoints, two of which must agree. */
static void
setup(void)
{
	struct chainview_options o = { .n = 3,
		.quorum = 2,
		.chain_id = CHAIN,
		.max_age_s = 600,
		.poll_ms = 1000,
		.timeout_ms = 20000,
		.mono_ms = mono };
	struct anchor_options ao = {
		.chain_id = CHAIN, .n_urls = 3, .timeout_ms = 20000
	};
	struct answer x = good();

	m = mock_chain_new(3, CHAIN);
	mock_head(m, MOCK_ALL, 120, 110, 100);
	o.urls = mock_urls(m);
	cr_assert_eq(chainview_new(&v, &o), ERR_OK);
	ao.view = v;
	ao.urls = o.urls;
	memcpy(ao.contract, contract, 20);
	cr_assert_eq(anchor_new(&a, &ao), ERR_OK);
	answer(MOCK_ALL, &x);
	why = (struct refusal){ 0 };
}

static void
teardown(void)
{
	anchor_free(a);
	chainview_free(v);
	mock_chain_free(m);
}

#define LIVE(name) Test(anchor, name, .init = setup, .fini = teardown)

LIVE(options)
{
	const char *urls[2] = { "http://127.0.0.1:1", "ftp://127.0.0.1:1" };
	struct anchor_options o = { .view = v,
		.chain_id = CHAIN,
		.contract = { 1 },
		.urls = urls,
		.n_urls = 1,
		.timeout_ms = 1 };
	struct anchor_options bad;
	struct anchor *b = NULL;

	bad = o, bad.chain_id = 0;
	cr_assert_eq(anchor_new(&b, &bad), ERR_CONFIG);
	bad = o, bad.contract[0] = 0;
	cr_assert_eq(anchor_new(&b, &bad), ERR_CONFIG);
	bad = o, bad.n_urls = 0;
	cr_assert_eq(anchor_new(&b, &bad), ERR_CONFIG);
	bad = o, bad.n_urls = 99;
	cr_assert_eq(anchor_new(&b, &bad), ERR_CONFIG);
	bad = o, bad.n_urls = 2;
	cr_assert_eq(anchor_new(&b, &bad), ERR_CONFIG);
	bad = o, bad.timeout_ms = 0;
	cr_assert_eq(anchor_new(&b, &bad), ERR_CONFIG);
	cr_assert_null(b);
	cr_assert_eq(anchor_new(&b, &o), ERR_OK);
	anchor_free(b);
	anchor_free(NULL);
}

static void
expect_again(enum reason code)
{
	struct anchor_view out = { .vetoes = 77 };

	why = (struct refusal){ 0 };
	cr_assert_eq(anchor_read(a, NOW, &out, &why), ERR_AGAIN);
	cr_assert_eq(
	    why.code, code, "%s: %s", reason_label(why.code), why.detail);
	cr_assert_eq(out.vetoes, 77);
	cr_assert_eq(anchor_read(a, NOW, &out, NULL), ERR_AGAIN);
}

/* Whatever is no state of the contract is an anchor that cannot be read. */
LIVE(read_refused)
{
	struct answer x = good();

	mock_answer(m, MOCK_ALL, STATE, "", 0);
	expect_again(REASON_CHAIN_ANSWER);
	number(&x, W_OFFSET, 0);
	answer(MOCK_ALL, &x);
	expect_again(REASON_CHAIN_ANSWER);
	x = good();
	for (char c = 'a'; c < 'a' + 14; c++)
		seat(&x, (const char[]){ c, '\0' }, 1);
	answer(MOCK_ALL, &x);
	expect_again(REASON_CHAIN_ANSWER);
	mock_error(m, MOCK_ALL, STATE, 3, "execution reverted");
	expect_again(REASON_CHAIN_ANSWER);
}

/* Two of three must say the same. */
LIVE(read_needs_a_quorum)
{
	struct answer x = good(), y = good();

	number(&x, W_VETOES, 3);
	number(&y, W_VETOES, 4);
	answer(0, &x);
	answer(1, &y);
	expect_again(REASON_CHAIN_DISAGREE);
	mock_down(m, 0);
	mock_down(m, 1);
	expect_again(REASON_CHAIN_UNREACHABLE);
}

LIVE(read)
{
	struct chain_block want = mock_block(m, 0, 100);
	struct answer lie = good();
	struct anchor_view s;

	number(&lie, W_INDEX, 71);
	answer(1, &lie);
	cr_assert_eq(anchor_read(a, NOW, &s, &why), ERR_OK, "%s", why.detail);
	cr_assert_eq(s.block.number, 100);
	cr_assert_arr_eq(s.block.hash, want.hash, 32);
	cr_assert_eq(s.wait_s, 1800);
	cr_assert_eq(s.at.generation, 3);
	cr_assert_eq(s.at.index, 70);
	cr_assert_eq(s.at.hash[31], 0x11);
	cr_assert(s.order.set && s.order.lossy);
	cr_assert_eq(s.order.incarnation[0], 0x22);
	cr_assert(s.announced.set);
	cr_assert_eq(s.announced.to.generation, 4);
	cr_assert_eq(s.announced.to.index, 75);
	cr_assert_eq(s.announced.to.hash[0], 0x33);
	cr_assert_eq(s.announced.incarnation[0], 0x22);
	cr_assert_eq(s.announced.open_at, 1700009999);
	cr_assert_eq(s.vetoes, 2);
	cr_assert_eq(s.n_seats, 2);
	cr_assert_str_eq(s.seat[1].slot, "kms1");
	cr_assert_eq(s.seat[1].device_id[31], 0xd1);
}

/* ---- sending ---- */

static void
expect_send(const struct anchor_write *w, enum err want, enum reason code)
{
	struct k256_secret k = key_of(7);
	enum err e;

	why = (struct refusal){ 0 };
	e = anchor_send(a, w, &k, NOW, &why);
	cr_assert_eq(e, want, "%s: %s", err_text(e), why.detail);
	cr_assert_eq(
	    why.code, code, "%s: %s", reason_label(why.code), why.detail);
}

static unsigned
sent(unsigned i)
{
	return mock_count(m, i, "eth_sendRawTransaction");
}

/* A veto is against something; nothing is signed otherwise. */
LIVE(veto_of_nothing)
{
	struct anchor_write w = a_write(ANCHOR_VETO);
	struct answer x = good();

	for (unsigned i = W_ANN_GENERATION; i <= W_ANN_OPEN_AT; i++)
		number(&x, i, 0);
	answer(MOCK_ALL, &x);
	expect_send(&w, ERR_DENIED, REASON_CONTRACT_OTHER);
	mock_answer(m, MOCK_ALL, STATE, "", 0);
	expect_send(&w, ERR_AGAIN, REASON_CHAIN_ANSWER);
	w.kind = ANCHOR_ANNOUNCE;
	expect_send(&w, ERR_AGAIN, REASON_CHAIN_ANSWER);
	cr_assert_eq(mock_count(m, 0, "eth_chainId"), 1);
}

static void
payable(unsigned i)
{
	mock_canned(m, i, "eth_getTransactionCount", "\"result\":\"0x5\"");
	mock_canned(m, i, "eth_maxPriorityFeePerGas", "\"result\":\"0x3\"");
	mock_canned(m, i, "eth_estimateGas", "\"result\":\"0x5208\"");
}

/* The contract's refusal is told only if no endpoint takes it; nothing is
 * sent to one that refuses or serves another chain. */
LIVE(refused_by_all)
{
	struct anchor_write w = a_write(ANCHOR_ADVANCE);

	for (unsigned i = 0; i < 3; i++)
		payable(i);
	mock_canned(m, 1, "eth_estimateGas",
	    "\"error\":{\"code\":3,\"message\":\"execution reverted: The "
	    "anchor is elsewhere\"}");
	mock_chain_id(m, 0, 1);
	mock_down(m, 2);
	expect_send(&w, ERR_DENIED, REASON_CONTRACT_OTHER);
	cr_assert_not_null(strstr(why.detail, "The anchor is elsewhere"));
	cr_assert_eq(sent(0) + sent(1), 0);
}

/* No gas, another hash than ours, nobody there: try again. */
LIVE(not_taken)
{
	struct anchor_write w = a_write(ANCHOR_ADVANCE);

	payable(0);
	payable(1);
	mock_canned(m, 0, "eth_sendRawTransaction",
	    "\"error\":{\"code\":-32000,\"message\":\"insufficient funds for "
	    "gas * price + value\"}");
	mock_canned(m, 1, "eth_sendRawTransaction", "\"result\":\"0x" H11 "\"");
	mock_down(m, 2);
	expect_send(&w, ERR_AGAIN, REASON_CHAIN_UNREACHABLE);
	cr_assert_eq(sent(0), 1);
	cr_assert_eq(sent(1), 1);
	mock_down(m, 0);
	mock_down(m, 1);
	expect_send(&w, ERR_AGAIN, REASON_CHAIN_UNREACHABLE);
}

/* An anchor of another KMS contract is not ours, whatever it says, and one that
 * cannot be read says nothing; whoever does not want to know why need not. */
LIVE(whose)
{
	struct anchor_options o = { .view = v,
		.chain_id = CHAIN,
		.contract = { 0x9f, 0xe4 },
		.kms = { [18] = 0xaa, [19] = 0xab },
		.urls = mock_urls(m),
		.n_urls = 1,
		.timeout_ms = 20000 };
	struct k256_secret key = key_of(7);
	struct anchor_write w = a_write(ANCHOR_VETO);
	struct anchor_view got = { .vetoes = 77 };
	struct anchor *other = NULL;

	cr_assert_eq(anchor_new(&other, &o), ERR_OK);
	cr_assert_eq(anchor_read(other, NOW, &got, &why), ERR_AGAIN);
	cr_assert_eq(why.code, REASON_CHAIN_ANSWER);
	cr_assert_not_null(strstr(why.detail, "another KMS contract"));
	cr_assert_eq(anchor_read(other, NOW, &got, NULL), ERR_AGAIN);
	/* Nor does anybody speak to it. */
	cr_assert_eq(anchor_send(other, &w, &key, NOW, NULL), ERR_AGAIN);
	cr_assert_eq(mock_count(m, 0, "eth_sendRawTransaction"), 0);
	cr_assert_eq(got.vetoes, 77);
	anchor_free(other);
	o.kms[19] = 0xaa;
	cr_assert_eq(anchor_new(&other, &o), ERR_OK);
	cr_assert_eq(anchor_read(other, NOW, &got, &why), ERR_OK);
	cr_assert_eq(got.vetoes, 2);
	/* A view without a block is no reading. */
	cr_assert_eq(anchor_read(other, NOW + 1000, &got, &why), ERR_AGAIN);
	cr_assert_eq(why.code, REASON_CHAIN_STALE);
	anchor_free(other);
	anchor_free(NULL);
}
