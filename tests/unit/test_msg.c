#include <string.h>

#include <criterion/criterion.h>
#include <sodium.h>

#include "common/base/limits.h"
#include "common/wire/msg.h"

static uint8_t bytes[LIMIT_MESSAGE];

static void
setup(void)
{
	cr_assert(sodium_init() >= 0);
}

TestSuite(msg, .init = setup);

/* Packs the request, reads it back, and gives what reading said. */
static enum err
round_trip(const KmsRequest *m)
{
	struct buf b = { 0 };
	KmsRequest *got = NULL;
	enum err e;

	cr_assert_eq(msg_request_pack(&b, m), ERR_OK);
	e = msg_request_parse(&got, buf_view(&b));
	if (e == ERR_OK) {
		cr_assert_eq(got->id, m->id);
		cr_assert_eq(got->body_case, m->body_case);
	}
	msg_request_free(got);
	buf_fini(&b);
	return e;
}

static enum err
join_of(const char *slot, size_t incarnation, size_t signature)
{
	Devproof__Kms__V1__Join join;
	KmsRequest m = DEVPROOF__KMS__V1__REQUEST__INIT;

	devproof__kms__v1__join__init(&join);
	join.slot = (char *)(uintptr_t)slot;
	join.incarnation = msg_bytes(bytes, incarnation);
	join.signature = msg_bytes(bytes, signature);
	m.id = 7;
	m.body_case = DEVPROOF__KMS__V1__REQUEST__BODY_JOIN;
	m.join = &join;
	return round_trip(&m);
}

static enum err
join_wants(size_t n)
{
	static uint64_t want[300];
	Devproof__Kms__V1__Join join;
	KmsRequest m = DEVPROOF__KMS__V1__REQUEST__INIT;
	char slot[] = "kms1";

	devproof__kms__v1__join__init(&join);
	join.slot = slot;
	join.incarnation = msg_bytes(bytes, 32);
	join.signature = msg_bytes(bytes, 64);
	join.want = want;
	join.n_want = n;
	m.body_case = DEVPROOF__KMS__V1__REQUEST__BODY_JOIN;
	m.join = &join;
	return round_trip(&m);
}

/* There are 256 epochs, and one that begins. */
Test(msg, join_wants)
{
	cr_assert_eq(join_wants(258), ERR_MALFORMED);
	cr_assert_eq(join_wants(300), ERR_MALFORMED);
	cr_assert_eq(join_wants(257), ERR_OK);
	cr_assert_eq(join_wants(0), ERR_OK);
}

/* Members of fixed size have that size, names are bounded. */
Test(msg, sizes)
{
	char slot[33] = "";

	cr_assert_eq(join_of("", 32, 64), ERR_MALFORMED);
	cr_assert_eq(join_of("kms1", 31, 64), ERR_MALFORMED);
	cr_assert_eq(join_of("kms1", 33, 64), ERR_MALFORMED);
	cr_assert_eq(join_of("kms1", 0, 64), ERR_MALFORMED);
	cr_assert_eq(join_of("kms1", 32, 63), ERR_MALFORMED);
	cr_assert_eq(join_of("kms1", 32, 65), ERR_MALFORMED);
	cr_assert_eq(join_of("kms1", 32, 0), ERR_MALFORMED);
	memset(slot, 'a', 32);
	cr_assert_eq(join_of(slot, 32, 64), ERR_MALFORMED);
	slot[31] = '\0';
	cr_assert_eq(join_of(slot, 32, 64), ERR_OK);
	cr_assert_eq(join_of("kms1", 32, 64), ERR_OK);
}

static enum err
joined_of(size_t n, size_t len)
{
	static Devproof__Kms__V1__EpochKey key[300], *list[300];
	Devproof__Kms__V1__Joined j = DEVPROOF__KMS__V1__JOINED__INIT;
	KmsReply r = DEVPROOF__KMS__V1__REPLY__INIT, *got = NULL;
	struct buf b = { 0 };
	enum err e;

	for (size_t i = 0; i < n; i++) {
		devproof__kms__v1__epoch_key__init(&key[i]);
		key[i].number = i;
		/* The last one only: every one counts. */
		key[i].wrap_key = msg_bytes(bytes, i + 1 == n ? len : 32);
		list[i] = &key[i];
	}
	j.keys = list;
	j.n_keys = n;
	r.body_case = DEVPROOF__KMS__V1__REPLY__BODY_JOINED;
	r.joined = &j;
	cr_assert_eq(msg_reply_pack(&b, &r), ERR_OK);
	e = msg_reply_parse(&got, buf_view(&b));
	msg_reply_free(got);
	buf_wipe(&b);
	return e;
}

/* A hand-over has keys, of 32 bytes, and not more than there are epochs. */
Test(msg, joined)
{
	cr_assert_eq(joined_of(0, 0), ERR_MALFORMED);
	cr_assert_eq(joined_of(1, 0), ERR_MALFORMED);
	cr_assert_eq(joined_of(1, 31), ERR_MALFORMED);
	cr_assert_eq(joined_of(3, 33), ERR_MALFORMED);
	cr_assert_eq(joined_of(257, 32), ERR_MALFORMED);
	cr_assert_eq(joined_of(256, 32), ERR_OK);
	cr_assert_eq(joined_of(1, 32), ERR_OK);
}

static enum err
counter_of(const char *name, size_t operation)
{
	Devproof__Kms__V1__CounterGet g;
	Devproof__Kms__V1__CounterIncrement i;
	Devproof__Kms__V1__Counter c;
	KmsRequest m = DEVPROOF__KMS__V1__REQUEST__INIT;
	KmsReply r = DEVPROOF__KMS__V1__REPLY__INIT, *got = NULL;
	struct buf b = { 0 };
	enum err e;

	devproof__kms__v1__counter_get__init(&g);
	devproof__kms__v1__counter_increment__init(&i);
	devproof__kms__v1__counter__init(&c);
	g.name = i.name = c.name = (char *)(uintptr_t)name;
	i.operation = msg_bytes(bytes, operation);
	m.body_case = DEVPROOF__KMS__V1__REQUEST__BODY_COUNTER_GET;
	m.counter_get = &g;
	e = round_trip(&m);
	r.body_case = DEVPROOF__KMS__V1__REPLY__BODY_COUNTER;
	r.counter = &c;
	cr_assert_eq(msg_reply_pack(&b, &r), ERR_OK);
	cr_assert_eq(msg_reply_parse(&got, buf_view(&b)), e);
	msg_reply_free(got);
	buf_fini(&b);
	m.body_case = DEVPROOF__KMS__V1__REQUEST__BODY_COUNTER_INCREMENT;
	m.counter_increment = &i;
	if (operation == 16)
		cr_assert_eq(round_trip(&m), e);
	else
		e = round_trip(&m);
	return e;
}

/* A counter has a name as name_ok wants it, an increment a name of
 * its own. */
Test(msg, counters)
{
	static const char *const bad[] = { "", " ", "a b", "a/b", "#", "\x7f",
		"a\n", "\xc3\xa9" };
	char name[66] = "";

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		cr_assert_eq(
		    counter_of(bad[i], 16), ERR_MALFORMED, "%s", bad[i]);
	cr_assert_eq(counter_of("a", 0), ERR_MALFORMED);
	cr_assert_eq(counter_of("a", 15), ERR_MALFORMED);
	cr_assert_eq(counter_of("a", 17), ERR_MALFORMED);
	memset(name, 'a', 65);
	cr_assert_eq(counter_of(name, 16), ERR_MALFORMED);
	name[64] = '\0';
	cr_assert_eq(counter_of(name, 16), ERR_OK);
	cr_assert_eq(counter_of("!~", 16), ERR_OK);
}

/* Nothing, garbage, a request without a body, and too much are refused. */
Test(msg, refusals)
{
	KmsRequest none = DEVPROOF__KMS__V1__REQUEST__INIT;
	KmsRequest *got = NULL;
	KmsReply *reply = NULL;

	cr_assert_eq(round_trip(&none), ERR_MALFORMED);
	cr_assert_eq(
	    msg_request_parse(&got, (struct bytes){ bytes, 0 }), ERR_MALFORMED);
	memset(bytes, 0xff, sizeof bytes);
	cr_assert_eq(msg_request_parse(&got, (struct bytes){ bytes, 100 }),
	    ERR_MALFORMED);
	cr_assert_eq(msg_reply_parse(&reply, (struct bytes){ bytes, 100 }),
	    ERR_MALFORMED);
	cr_assert_eq(
	    msg_request_parse(&got, (struct bytes){ bytes, LIMIT_MESSAGE + 1 }),
	    ERR_LIMIT);
	cr_assert_eq(
	    msg_reply_parse(&reply, (struct bytes){ bytes, LIMIT_MESSAGE + 1 }),
	    ERR_LIMIT);
	cr_assert_null(got);
	cr_assert_null(reply);
}

/* A refusal crosses the wire with its label, and says who may do better. */
Test(msg, errors)
{
	static const struct {
		enum reason code;
		enum err want;
	} row[] = {
		{ REASON_CONTRACT_COMPOSE, ERR_DENIED },
		{ REASON_WRONG_ROLE, ERR_DENIED },
		{ REASON_NOT_READY, ERR_AGAIN },
		{ REASON_CHAIN_STALE, ERR_AGAIN },
		{ REASON_SELF_DENIED, ERR_AGAIN },
		{ REASON_COUNTER_LIMIT, ERR_DENIED },
		{ REASON_NO_LEADER, ERR_AGAIN },
		{ REASON_FENCED, ERR_AGAIN },
		{ REASON_EVICTED, ERR_AGAIN },
		{ REASON_NOT_MEMBER, ERR_AGAIN },
		{ REASON_UNKNOWN_OUTCOME, ERR_AGAIN },
		{ REASON_BUSY, ERR_AGAIN },
		{ REASON_RATE, ERR_AGAIN },
		{ REASON_ROOT_MISMATCH, ERR_AGAIN },
		{ REASON_CHAIN_UNREACHABLE, ERR_AGAIN },
		{ REASON_CHAIN_DISAGREE, ERR_AGAIN },
		{ REASON_CHAIN_BACKWARDS, ERR_AGAIN },
		{ REASON_CHAIN_WRONG, ERR_AGAIN },
		{ REASON_CHAIN_ANSWER, ERR_AGAIN },
		{ REASON_CHAIN_PROOF, ERR_AGAIN },
		{ REASON_CHAIN_CODE, ERR_AGAIN },
		{ REASON_CHAIN_LEASE, ERR_AGAIN },
		{ REASON_INTERNAL, ERR_AGAIN },
		{ REASON_CONTRACT_APP_UNKNOWN, ERR_DENIED },
		{ REASON_QUOTE_MALFORMED, ERR_DENIED },
	};

	for (size_t i = 0; i < sizeof row / sizeof row[0]; i++) {
		struct buf b = { 0 };
		KmsReply *m = NULL;
		struct refusal why = { 0 };

		cr_assert_eq(msg_error_pack(&b, 9, row[i].code, NULL), ERR_OK);
		cr_assert_eq(msg_reply_parse(&m, buf_view(&b)), ERR_OK);
		cr_assert_eq(m->id, 9);
		cr_assert_eq(msg_reply_refusal(m, &why), row[i].want);
		cr_assert_eq(why.code, row[i].code);
		cr_assert_str_eq(why.detail, reason_text(row[i].code));
		msg_reply_free(m);
		buf_fini(&b);
	}
}

static enum err
hello_of(const char *slot, size_t incarnation, size_t signature)
{
	Devproof__Kms__V1__PeerHello h;
	Devproof__Kms__V1__PeerWelcome w;
	KmsRequest m = DEVPROOF__KMS__V1__REQUEST__INIT;
	KmsReply r = DEVPROOF__KMS__V1__REPLY__INIT, *got = NULL;
	struct buf b = { 0 };
	enum err e;

	devproof__kms__v1__peer_hello__init(&h);
	h.slot = (char *)(uintptr_t)slot;
	h.incarnation = msg_bytes(bytes, incarnation);
	h.signature = msg_bytes(bytes, signature);
	m.body_case = DEVPROOF__KMS__V1__REQUEST__BODY_PEER_HELLO;
	m.peer_hello = &h;
	e = round_trip(&m);
	/* The answer has the same form. */
	devproof__kms__v1__peer_welcome__init(&w);
	w.slot = h.slot;
	w.incarnation = h.incarnation;
	w.signature = h.signature;
	r.body_case = DEVPROOF__KMS__V1__REPLY__BODY_PEER_WELCOME;
	r.peer_welcome = &w;
	cr_assert_eq(msg_reply_pack(&b, &r), ERR_OK);
	cr_assert_eq(msg_reply_parse(&got, buf_view(&b)), e);
	msg_reply_free(got);
	buf_fini(&b);
	return e;
}

/* A Hello and a welcome have a slot that fits, a key and a signature. */
Test(msg, peer_hello)
{
	char slot[33] = "";

	cr_assert_eq(hello_of("", 32, 64), ERR_MALFORMED);
	cr_assert_eq(hello_of("a", 31, 64), ERR_MALFORMED);
	cr_assert_eq(hello_of("a", 33, 64), ERR_MALFORMED);
	cr_assert_eq(hello_of("a", 0, 64), ERR_MALFORMED);
	cr_assert_eq(hello_of("a", 32, 63), ERR_MALFORMED);
	cr_assert_eq(hello_of("a", 32, 65), ERR_MALFORMED);
	cr_assert_eq(hello_of("a", 32, 0), ERR_MALFORMED);
	memset(slot, 'a', 32);
	cr_assert_eq(hello_of(slot, 32, 64), ERR_MALFORMED);
	slot[31] = '\0';
	cr_assert_eq(hello_of(slot, 32, 64), ERR_OK);
	cr_assert_eq(hello_of("a", 32, 64), ERR_OK);
}

static enum err
batch_of(size_t n, size_t len)
{
	static ProtobufCBinaryData item[LIMIT_LINK_BATCH + 1];
	Devproof__Kms__V1__PeerBatch b = DEVPROOF__KMS__V1__PEER_BATCH__INIT;
	KmsRequest m = DEVPROOF__KMS__V1__REQUEST__INIT;

	for (size_t i = 0; i < n; i++)
		item[i] = msg_bytes(bytes, len);
	b.message = item;
	b.n_message = n;
	m.body_case = DEVPROOF__KMS__V1__REQUEST__BODY_PEER_BATCH;
	m.peer_batch = &b;
	return round_trip(&m);
}

/* A batch has a bounded number of messages, none of them empty; it may have
 * none. */
Test(msg, peer_batch)
{
	cr_assert_eq(batch_of(LIMIT_LINK_BATCH + 1, 1), ERR_MALFORMED);
	cr_assert_eq(batch_of(1, 0), ERR_MALFORMED);
	cr_assert_eq(batch_of(0, 0), ERR_OK);
	cr_assert_eq(batch_of(LIMIT_LINK_BATCH, 1), ERR_OK);
	cr_assert_eq(batch_of(2, LIMIT_LINK_PART - 16), ERR_OK);
}

/* A request for the meta data, and `n` fields that no version knows. */
static enum err
strange(size_t n)
{
	static uint8_t in[LIMIT_MESSAGE] = { 0x12, 0 };
	KmsRequest *got = NULL;
	enum err e;

	for (size_t i = 2; i < 2 + 2 * n; i += 2) {
		in[i] = 15 << 3;
		in[i + 1] = 1;
	}
	e = msg_request_parse(&got, (struct bytes){ in, 2 + 2 * n });
	cr_assert((e == ERR_OK) == (got != NULL));
	msg_request_free(got);
	return e;
}

/* Fields of another version are passed over; half a million of them are not
 * work that anybody can order. */
Test(msg, parts)
{
	cr_assert_eq(strange(0), ERR_OK);
	cr_assert_eq(strange(1000), ERR_OK);
	cr_assert_eq(strange(20000), ERR_MALFORMED);
	cr_assert_eq(strange(LIMIT_MESSAGE / 2 - 1), ERR_MALFORMED);
}
