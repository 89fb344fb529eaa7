/* What a registry of roots says, and what is said to it: anything but the
 * one encoding of a state that its functions can lead to is refused. */
#include <string.h>

#include <criterion/criterion.h>

#include "common/base/file.h"
#include "common/base/wr.h"
#include "common/crypto/keccak.h"
#include "kms/gate/registryabi.h"
#include "tests/lib/facts.h"

/* ---- reading: an answer of the real contract (test_registry_live),
 *      changed word by word ---- */

/* Epoch 0 destroyed, 1 tainted and with an end, 2 active, 3 published. */
#define ANSWER "fuzz/corpora/registryabi/published"

enum word {
	W_OFFSET,
	W_KMS,
	W_ANCHOR,
	W_AUTHORITY,
	W_PENDING,
	W_GUARDIAN,
	W_WINDOW,
	W_NOTICE,
	W_AGE,
	W_SEATS_HASH,
	W_ACTIVE,
	W_VETOES,
	W_HANDOVERS,
	W_HEAD,
	W_ORDER,
	W_ORDER_EPOCH,
	W_ORDER_MODE,
	W_ORDERED_AT,
	W_NOT_BEFORE,
	W_RETIRE_AFTER,
	W_CONFIRMED,
	W_EPOCHS,
	W_N_EPOCHS,
	W_EPOCH,
};
enum of_epoch {
	E_NUMBER,
	E_STATUS,
	E_MODE,
	E_PREFIX,
	E_X,
	E_SIGNER,
	E_CA,
	E_ORDER,
	E_PUBLISHED_AT,
	E_ACTIVATED_AT,
	E_TAINTED_AT,
	E_RETIRE_AT,
	E_DESTROYED_AT,
	E_HELD_AS_OF,
	E_HOLDERS,
	E_HELD_SEATS,
	E_WORDS,
};
#define EPOCH(i, w) (W_EPOCH + (i)*E_WORDS + (w))

static struct buf good;
static struct registry_state base;

static void
setup(void)
{
	cr_assert_eq(
	    file_read(&good, ANSWER, REGISTRYABI_STATE_MAX), ERR_OK, ANSWER);
	cr_assert_eq(registryabi_state(&base, buf_view(&good)), ERR_OK);
	cr_assert_eq(good.len, EPOCH(4, 0) * 32);
	cr_assert_eq(base.active, 2);
	cr_assert_eq(base.order.epoch, 3);
}

TestSuite(registryabi, .init = setup);

static enum err
parse(const struct buf *b)
{
	static struct registry_state s, was;
	enum err e;

	memset(&s, 0x5a, sizeof s);
	was = s;
	e = registryabi_state(&s, buf_view(b));
	if (e != ERR_OK)
		cr_assert_eq(memcmp(&s, &was, sizeof s), 0);
	return e;
}

static struct buf
copy(void)
{
	struct buf b = { 0 };

	cr_assert_eq(buf_set(&b, good.p, good.len), ERR_OK);
	return b;
}

static void
number(struct buf *b, unsigned word, uint64_t n)
{
	struct wr w = { .p = b->p + word * 32 + 24, .cap = 8 };

	memset(b->p + word * 32, 0, 32);
	wr_be64(&w, n);
}

static uint64_t
number_at(unsigned word)
{
	uint64_t n = 0;

	for (unsigned i = 24; i < 32; i++)
		n = n << 8 | good.p[word * 32 + i];
	return n;
}

static void
try_number(unsigned word, uint64_t n, enum err want)
{
	struct buf b = copy();

	number(&b, word, n);
	cr_assert_eq(
	    parse(&b), want, "word %u = %llu", word, (unsigned long long)n);
	buf_fini(&b);
}

static void
refuse(unsigned word, uint64_t n)
{
	try_number(word, n, ERR_MALFORMED);
}

/* Every length but the right one is malformed. */
Test(registryabi, every_length_counts)
{
	static struct registry_state s;
	struct buf b = copy();

	cr_assert_eq(
	    buf_append(&b, (uint8_t[32]){ 0 }, 32, UINT32_MAX), ERR_OK);
	for (size_t len = 0; len <= b.len; len++)
		cr_assert_eq(registryabi_state(&s, (struct bytes){ b.p, len }),
		    len == good.len ? ERR_OK : ERR_MALFORMED, "%zu", len);
	buf_fini(&b);
}

/* Numbers have 64 bits, addresses 160, the rest less. */
Test(registryabi, high_bytes)
{
	static const uint8_t hashes[] = { W_SEATS_HASH, W_HEAD, W_CONFIRMED };
	static const uint8_t of_epoch[] = { E_X, E_CA, E_HELD_SEATS };

	for (unsigned i = 0; i < good.len / 32; i++) {
		struct buf b = copy();
		bool hash = i < W_EPOCH
		    ? memchr(hashes, (int)i, sizeof hashes) != NULL
		    : memchr(of_epoch, (int)((i - W_EPOCH) % E_WORDS),
			  sizeof of_epoch) != NULL;

		b.p[i * 32] ^= 1;
		cr_assert(hash || parse(&b) == ERR_MALFORMED, "word %u", i);
		buf_fini(&b);
	}
	for (unsigned i = 0; i < 4; i++) {
		refuse(EPOCH(i, E_STATUS), 6);
		refuse(EPOCH(i, E_MODE), 2);
		refuse(EPOCH(i, E_PREFIX), 4);
		refuse(EPOCH(i, E_HOLDERS), 0x8000);
	}
	refuse(W_ORDER_MODE, 2);
}

Test(registryabi, offsets)
{
	refuse(W_OFFSET, 0);
	refuse(W_OFFSET, 0x40);
	refuse(W_EPOCHS, 20 * 32);
	refuse(W_EPOCHS, 22 * 32);
	refuse(W_N_EPOCHS, 0);
	refuse(W_N_EPOCHS, 3);
	refuse(W_N_EPOCHS, 5);
	refuse(W_N_EPOCHS, UINT64_MAX);
}

/* There is no registry without a KMS, an anchor, somebody who decides, and
 * its three waits. */
Test(registryabi, impossible_registries)
{
	refuse(W_KMS, 0);
	refuse(W_ANCHOR, 0);
	refuse(W_AUTHORITY, 0);
	refuse(W_SEATS_HASH, 0);
	for (unsigned i = W_WINDOW; i <= W_AGE; i++) {
		refuse(i, 0);
		refuse(i, 365u * 86400u + 1);
	}
	refuse(W_HANDOVERS, 0);
	refuse(W_HEAD, 0);
	refuse(W_ACTIVE, 1);
	refuse(W_ACTIVE, 3);
	refuse(W_ACTIVE, UINT64_MAX);
	try_number(W_PENDING, 5, ERR_OK);
	try_number(W_GUARDIAN, 5, ERR_OK);
	try_number(W_VETOES, 9, ERR_OK);
}

/* An order is for the epoch after the active one, and all of it is there. */
Test(registryabi, impossible_orders)
{
	refuse(W_ORDER, 0);
	refuse(W_ORDER, base.epoch[2].order);
	refuse(W_ORDER_EPOCH, 0);
	refuse(W_ORDER_EPOCH, 2);
	refuse(W_ORDER_EPOCH, 4);
	refuse(W_ORDER_MODE, 1); /* another than the epoch's */
	refuse(W_ORDERED_AT, 0);
	refuse(W_ORDERED_AT, base.epoch[2].activated_at - 1);
	refuse(W_ORDERED_AT, base.epoch[3].published_at + 1);
	refuse(W_NOT_BEFORE, base.epoch[3].published_at + 1);
	refuse(W_NOT_BEFORE, base.order.ordered_at + 365u * 86400u + 1);
	refuse(W_RETIRE_AFTER, base.notice_s - 1);
	refuse(W_RETIRE_AFTER, (uint64_t)3650 * 86400 + 1);
	refuse(W_CONFIRMED, 1); /* only an emergency is */
}

/* Numbers ascend, and each status has its place. */
Test(registryabi, impossible_epochs)
{
	for (unsigned i = 0; i < 4; i++) {
		refuse(EPOCH(i, E_NUMBER), i + 1);
		for (unsigned status = 0; status < 6; status++)
			if (status != number_at(EPOCH(i, E_STATUS)))
				refuse(EPOCH(i, E_STATUS), status);
		for (unsigned w = E_PREFIX; w <= E_SIGNER; w++)
			refuse(EPOCH(i, w), 0);
		refuse(EPOCH(i, E_PREFIX), 5 - number_at(EPOCH(i, E_PREFIX)));
		refuse(EPOCH(i, E_SIGNER), 1);
		refuse(EPOCH(i, E_CA), 0);
	}
	/* no root without the evidence that it is held */
	for (unsigned i = 1; i < 4; i++) {
		refuse(EPOCH(i, E_ORDER), 0);
		refuse(EPOCH(i, E_PUBLISHED_AT), 0);
		refuse(EPOCH(i, E_HELD_AS_OF), 0);
		refuse(EPOCH(i, E_HOLDERS), 0);
		refuse(EPOCH(i, E_HELD_SEATS), 0);
	}
	/* but for that of epoch 0, which was there before */
	refuse(EPOCH(0, E_MODE), 1);
	for (unsigned w = E_HELD_AS_OF; w < E_WORDS; w++)
		refuse(EPOCH(0, w), 1);
	refuse(EPOCH(0, E_ORDER), 1);
	refuse(EPOCH(0, E_PUBLISHED_AT), 1);
}

/* No step comes before the one that it waits for. */
Test(registryabi, impossible_times)
{
	const struct registry_epoch *x = base.epoch;

	for (unsigned i = 0; i < 3; i++)
		refuse(EPOCH(i, E_ACTIVATED_AT), 0);
	for (unsigned i = 1; i < 3; i++) {
		refuse(EPOCH(i, E_ACTIVATED_AT),
		    x[i].published_at + base.veto_window_s - 1);
		refuse(EPOCH(i, E_ACTIVATED_AT),
		    x[i].held_as_of + base.holders_age_s + 1);
		refuse(EPOCH(i, E_HELD_AS_OF), x[i].activated_at + 1);
	}
	refuse(EPOCH(3, E_ACTIVATED_AT), x[3].published_at);
	refuse(
	    EPOCH(3, E_PUBLISHED_AT), x[3].held_as_of + base.holders_age_s + 1);
	refuse(EPOCH(3, E_HELD_AS_OF), base.order.ordered_at - 1);
	refuse(EPOCH(3, E_ORDER), base.order.number - 1);
	/* ends: never of the active one, nor of one that is to come */
	for (unsigned w = E_TAINTED_AT; w <= E_DESTROYED_AT; w++) {
		refuse(EPOCH(2, w), x[2].activated_at + 9999);
		refuse(EPOCH(3, w), x[2].activated_at + 9999);
	}
	refuse(EPOCH(1, E_TAINTED_AT), 0);
	refuse(EPOCH(1, E_TAINTED_AT), x[2].activated_at - 1);
	refuse(EPOCH(1, E_DESTROYED_AT), x[1].retire_at);
	try_number(EPOCH(1, E_RETIRE_AT), 0, ERR_OK);
	refuse(EPOCH(1, E_RETIRE_AT), x[2].activated_at + base.notice_s - 1);
	refuse(EPOCH(0, E_RETIRE_AT), 0);
	refuse(EPOCH(0, E_RETIRE_AT), x[0].destroyed_at + 1);
	refuse(EPOCH(0, E_DESTROYED_AT), 0);
	for (unsigned i = 0; i < 4; i++)
		for (unsigned w = E_PUBLISHED_AT; w <= E_HELD_AS_OF; w++)
			refuse(EPOCH(i, w), UINT64_MAX);
}

/* A key that was published once never comes again. */
Test(registryabi, no_key_twice)
{
	struct buf b = copy();

	memcpy(b.p + EPOCH(3, E_PREFIX) * 32, b.p + EPOCH(1, E_PREFIX) * 32,
	    3 * 32);
	cr_assert_eq(parse(&b), ERR_MALFORMED);
	buf_fini(&b);
}

/* The states on the way there, as the real contract told them. */
Test(registryabi, the_second_vote)
{
	struct registry_state s;
	struct buf b = { 0 };

	cr_assert_eq(file_read(&b, "fuzz/corpora/registryabi/confirmed",
			 REGISTRYABI_STATE_MAX),
	    ERR_OK);
	cr_assert_eq(registryabi_state(&s, buf_view(&b)), ERR_OK);
	cr_assert_eq(s.order.mode, REGISTRY_EMERGENCY);
	cr_assert_null(registry_epoch_of(&s, 3));
	cr_assert_eq(registry_epoch_of(&s, 2)->status, REGISTRY_ORDERED);
	/* nothing of a root is there yet */
	for (unsigned w = E_PREFIX; w < E_WORDS; w++) {
		number(&b, EPOCH(2, w), 1);
		cr_assert_eq(parse(&b), ERR_MALFORMED, "word %u", w);
		number(&b, EPOCH(2, w), 0);
	}
	number(&b, W_CONFIRMED, 0);
	cr_assert_eq(parse(&b), ERR_OK);
	buf_fini(&b);
}

Test(registryabi, the_first_epoch)
{
	struct registry_state s = { .n_epochs = 2 };

	s.epoch[0].number = 70;
	s.epoch[1].number = 71;
	cr_assert_null(registry_epoch_of(&s, 69));
	cr_assert_eq(registry_epoch_of(&s, 71), &s.epoch[1]);
	cr_assert_null(registry_epoch_of(&s, 72));
	s.n_epochs = 0;
	cr_assert_null(registry_epoch_of(&s, 0));
}

/* ---- writing: constants of `cast keccak`, `cast abi-encode` and
 *      `cast calldata` ---- */

#define H1 "1111111111111111111111111111111111111111111111111111111111111111"
#define Z62 "00000000000000000000000000000000000000000000000000000000000000"
#define REGISTRY "00112233445566778899aabbccddeeff00112233"

static struct k256_pub key;
static uint8_t h1[32], at_contract[20];
static struct registry_holders holders = {
	.order = 5, .epoch = 2, .seats = 11, .as_of = 1700000000
};
static struct registry_handover handover[2] = {
	{ .audit = 9, .epoch = 2 },
	{ .audit = 10, .epoch = 2 },
};

static void
facts(void)
{
	setup();
	facts_hex(key.b, 33,
	    "0321bbcbc4354d9df4a5e50c7d727a51b88eacf4a3d8723386c7a7324d6862347"
	    "2");
	facts_hex(at_contract, 20, REGISTRY);
	memset(h1, 0x11, sizeof h1);
	memset(holders.root_hash, 0x11, 32);
	memset(holders.seats_hash, 0x22, 32);
	for (unsigned i = 0; i < 2; i++) {
		memset(handover[i].slot, 0x22, 32);
		memset(handover[i].incarnation, 0x33, 32);
		memset(handover[i].device_id, 0x44, 32);
		memset(handover[i].mr_aggregated, 0x55, 32);
	}
}

static void
is_hash(const uint8_t got[static 32], const char *want)
{
	uint8_t w[32];

	facts_hex(w, 32, want);
	cr_assert_arr_eq(got, w, 32, "%s", want);
}

Test(registryabi, digests, .init = facts)
{
	struct registryabi_at at = { .chain_id = 31337 };
	uint8_t d[32], head[32];

	memcpy(at.contract, at_contract, 20);
	registry_root_hash(d, &key, h1);
	is_hash(d,
	    "f6b2e0e1d98dd386558620bd93de998ff0f5e9538102ffdae08364e55e3d2b31");
	registry_holders_digest(d, &at, &holders);
	is_hash(d,
	    "60d17dbe184d38c0aacdbde9a5df930ab7d0e770123cb4db2e430367133274fa");
	memcpy(head, h1, 32);
	registry_handover_step(head, 7, &handover[0]);
	is_hash(head,
	    "125f75318dd3cc4b3c3548b0872ceef8aebba370fbd04a46001076bc0ae9110e");
	registry_handover_digest(d, &at, 8, head);
	is_hash(d,
	    "79e4f62ad8901fef26c5d7a5b6e0001c6320f0149b35cc76514d59d3c11875e1");
}

/* Takes the call. */
static void
is_call(enum err e, struct buf *b, const char *want)
{
	struct buf w = { 0 };

	cr_assert_eq(e, ERR_OK);
	facts_hex_buf(&w, want);
	cr_assert_eq(b->len, w.len, "%s", want);
	cr_assert_arr_eq(b->p, w.p, w.len, "%s", want);
	buf_fini(&w);
	buf_fini(b);
}

static void
is_long_call(enum err e, struct buf *b, const char *want_keccak)
{
	uint8_t hash[32];

	cr_assert_eq(e, ERR_OK);
	keccak256(hash, b->p, b->len);
	is_hash(hash, want_keccak);
	buf_fini(b);
}

Test(registryabi, calls, .init = facts)
{
	struct buf b = { 0 };

	is_call(registryabi_call_state(&b), &b, "c19d93fb");
	is_call(registryabi_call_pin_of(&b, at_contract), &b,
	    "f2c0c658000000000000000000000000" REGISTRY);
	is_call(registryabi_activate(&b, 2), &b, "fc7e4746" Z62 "02");
	is_call(registryabi_order_rotation(&b, REGISTRY_EMERGENCY, 77, 88), &b,
	    "91da71ff" Z62 "01" Z62 "4d" Z62 "58");
	is_call(registryabi_withdraw_order(&b), &b, "f8178c59");
	is_call(
	    registryabi_confirm_root(&b, 2, h1), &b, "7e7db71e" Z62 "02" H1);
	is_call(registryabi_veto_root(&b, 2), &b, "efb44be3" Z62 "02");
	is_call(registryabi_taint(&b, 1), &b, "ca0fa0ad" Z62 "01");
	is_call(
	    registryabi_retire(&b, 1, 99), &b, "b17e903a" Z62 "01" Z62 "63");
	is_call(registryabi_destroy(&b, 1), &b, "52316c6c" Z62 "01");
	is_call(registryabi_pin(&b, at_contract, 2), &b,
	    "1b86ac3a000000000000000000000000" REGISTRY Z62 "02");
}

Test(registryabi, calls_with_signatures, .init = facts)
{
	struct k256_sig65 s1, s2, s3;
	struct buf b = { 0 };

	memset(s1.b, 0xa1, 65);
	memset(s2.b, 0xa2, 65);
	memset(s3.b, 0xa3, 65);
	is_long_call(registryabi_register_genesis(&b, &key, h1), &b,
	    "668339b8b2bbaa1627a9fac050649fe14cd87783f7a9fe47ea17477c8baa91b1");
	is_long_call(
	    registryabi_publish_root(&b, &key, h1, &s1, &holders, &s2, &s3), &b,
	    "f2eab6fd4dc21eb0f3b51b9b451a365527df5d15a4f1dfcc79de665ac58df159");
	is_long_call(registryabi_attest_holders(&b, &holders, &s2, &s3), &b,
	    "3ccafcb285106360866b347d915f3c1047f6de5cee94974938d45f197a681832");
	is_long_call(registryabi_record_handovers(&b, 7, handover, 2, &s1), &b,
	    "0e3a080753fa4b2f34259699bc40d0c249f4ac8ffbbf943fc5bedbd1167494c1");
	cr_assert_eq(
	    registryabi_record_handovers(&b, 7, handover, 0, &s1), ERR_LIMIT);
	cr_assert_eq(registryabi_record_handovers(
			 &b, 7, handover, REGISTRY_HANDOVERS_MAX + 1, &s1),
	    ERR_LIMIT);
	cr_assert_null(b.p);
}

/* Writers append: a caller may have bytes before the call. */
Test(registryabi, writers_append)
{
	struct buf b = { 0 };

	cr_assert_eq(registryabi_withdraw_order(&b), ERR_OK);
	is_call(registryabi_call_state(&b), &b, "f8178c59c19d93fb");
}
