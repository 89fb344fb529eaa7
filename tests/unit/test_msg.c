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
join_of(size_t incarnation, const char *slot)
{
	Devproof__Kms__V1__Join join;
	KmsRequest m = DEVPROOF__KMS__V1__REQUEST__INIT;

	devproof__kms__v1__join__init(&join);
	join.slot = (char *)(uintptr_t)slot;
	join.incarnation = msg_bytes(bytes, incarnation);
	m.id = 7;
	m.body_case = DEVPROOF__KMS__V1__REQUEST__BODY_JOIN;
	m.join = &join;
	return round_trip(&m);
}

/* Members of fixed size have that size, names are bounded. */
Test(msg, sizes)
{
	char slot[65];

	memset(slot, 'a', 64);
	slot[64] = '\0';
	cr_assert_eq(join_of(32, "kms1"), ERR_OK);
	cr_assert_eq(join_of(31, "kms1"), ERR_MALFORMED);
	cr_assert_eq(join_of(33, "kms1"), ERR_MALFORMED);
	cr_assert_eq(join_of(0, "kms1"), ERR_MALFORMED);
	cr_assert_eq(join_of(32, slot), ERR_MALFORMED);
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
