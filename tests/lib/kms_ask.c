#include <string.h>

#include <criterion/criterion.h>

#include "common/wire/signcert.h"
#include "tests/lib/kms_ask.h"
#include "tests/lib/kms_node.h"

static KmsReply *
ask(struct channel *ch, KmsRequest *m, struct refusal *why)
{
	static uint64_t id = 70;
	struct buf q = { 0 }, a = { 0 };
	KmsReply *r = NULL;

	m->id = ++id;
	*why = (struct refusal){ 0 };
	cr_assert_eq(msg_request_pack(&q, m), ERR_OK);
	cr_assert_eq(channel_call(ch, &a, buf_view(&q), KMS_WAIT_MS, why),
	    ERR_OK, "%s: %s", reason_label(why->code), why->detail);
	cr_assert_eq(msg_reply_parse(&r, buf_view(&a)), ERR_OK);
	cr_assert_eq(r->id, id);
	buf_fini(&q);
	buf_wipe(&a);
	if (msg_reply_refusal(r, why) != ERR_OK) {
		msg_reply_free(r);
		r = NULL;
	}
	return r;
}

KmsReply *
kms_ask_meta(struct channel *ch, struct refusal *why)
{
	Devproof__Kms__V1__GetMeta b = DEVPROOF__KMS__V1__GET_META__INIT;
	KmsRequest m = DEVPROOF__KMS__V1__REQUEST__INIT;

	m.body_case = DEVPROOF__KMS__V1__REQUEST__BODY_GET_META;
	m.get_meta = &b;
	return ask(ch, &m, why);
}

KmsReply *
kms_ask_env_pub(struct channel *ch, uint8_t id, struct refusal *why)
{
	Devproof__Kms__V1__GetAppEnvPubKey b =
	    DEVPROOF__KMS__V1__GET_APP_ENV_PUB_KEY__INIT;
	KmsRequest m = DEVPROOF__KMS__V1__REQUEST__INIT;
	uint8_t app_id[20];

	memset(app_id, id, sizeof app_id);
	b.app_id = msg_bytes(app_id, sizeof app_id);
	m.body_case = DEVPROOF__KMS__V1__REQUEST__BODY_GET_APP_ENV_PUB_KEY;
	m.get_app_env_pub_key = &b;
	return ask(ch, &m, why);
}

KmsReply *
kms_ask_keys(struct channel *ch, int epoch, struct refusal *why)
{
	Devproof__Kms__V1__GetAppKeys b = DEVPROOF__KMS__V1__GET_APP_KEYS__INIT;
	KmsRequest m = DEVPROOF__KMS__V1__REQUEST__INIT;

	if (epoch >= 0) {
		b.choice_case = DEVPROOF__KMS__V1__GET_APP_KEYS__CHOICE_EPOCH;
		b.epoch = (uint64_t)epoch;
	}
	m.body_case = DEVPROOF__KMS__V1__REQUEST__BODY_GET_APP_KEYS;
	m.get_app_keys = &b;
	return ask(ch, &m, why);
}

static KmsReply *
ask_cert(struct channel *ch, uint8_t id, bool forged, kms_ask_attest *attest,
    void *cookie, struct refusal *why)
{
	Devproof__Kms__V1__SignCert b;
	KmsRequest m = DEVPROOF__KMS__V1__REQUEST__INIT;
	uint8_t spki[P256_SPKI_LEN], text[SIGNCERT_LEN], proof[80];
	struct buf attestation = { 0 };
	uint8_t app_id[20];
	struct p256_secret s;
	struct p256_pub pub;
	KmsReply *r;
	size_t len;

	memset(app_id, id, sizeof app_id);
	p256_generate(&s);
	cr_assert_eq(p256_pubkey(&pub, &s), ERR_OK);
	cr_assert_eq(p256_spki(spki, &pub), ERR_OK);
	signcert_message(text, app_id, spki);
	if (forged)
		p256_generate(&s);
	cr_assert_eq(p256_sign_der(proof, &len, &s, text, sizeof text), ERR_OK);
	p256_secret_wipe(&s);
	devproof__kms__v1__sign_cert__init(&b);
	b.spki = msg_bytes(spki, sizeof spki);
	b.proof = msg_bytes(proof, len);
	if (attest != NULL)
		attest(cookie, &attestation, spki);
	b.attestation = msg_bytes(attestation.p, attestation.len);
	m.body_case = DEVPROOF__KMS__V1__REQUEST__BODY_SIGN_CERT;
	m.sign_cert = &b;
	r = ask(ch, &m, why);
	buf_fini(&attestation);
	return r;
}

KmsReply *
kms_ask_cert(struct channel *ch, uint8_t id, bool forged, struct refusal *why)
{
	return ask_cert(ch, id, forged, NULL, NULL, why);
}

KmsReply *
kms_ask_cert_attested(struct channel *ch, uint8_t id, kms_ask_attest *attest,
    void *cookie, struct refusal *why)
{
	return ask_cert(ch, id, false, attest, cookie, why);
}

KmsReply *
kms_ask_join_as(struct channel *ch, const char *slot,
    const uint8_t incarnation[static INCARNATION_ID_LEN],
    const uint8_t signature[static INCARNATION_SIG_LEN], struct refusal *why)
{
	Devproof__Kms__V1__Join b;
	KmsRequest m = DEVPROOF__KMS__V1__REQUEST__INIT;

	devproof__kms__v1__join__init(&b);
	b.slot = (char *)(uintptr_t)slot;
	b.incarnation = msg_bytes(incarnation, INCARNATION_ID_LEN);
	b.signature = msg_bytes(signature, INCARNATION_SIG_LEN);
	m.body_case = DEVPROOF__KMS__V1__REQUEST__BODY_JOIN;
	m.join = &b;
	return ask(ch, &m, why);
}

KmsReply *
kms_ask_join(struct channel *ch, const char *slot, struct incarnation *i,
    struct refusal *why)
{
	uint8_t sig[INCARNATION_SIG_LEN];

	cr_assert_eq(incarnation_sign(sig, i, CHANNEL_KMS_PEER, slot,
			 channel_handshake_hash(ch)),
	    ERR_OK);
	return kms_ask_join_as(ch, slot, incarnation_id(i), sig, why);
}

KmsReply *
kms_ask_counter(struct channel *ch, const char *name, struct refusal *why)
{
	Devproof__Kms__V1__CounterGet b;
	KmsRequest m = DEVPROOF__KMS__V1__REQUEST__INIT;

	devproof__kms__v1__counter_get__init(&b);
	b.name = (char *)(uintptr_t)name;
	m.body_case = DEVPROOF__KMS__V1__REQUEST__BODY_COUNTER_GET;
	m.counter_get = &b;
	return ask(ch, &m, why);
}

KmsReply *
kms_ask_increment(struct channel *ch, const char *name, uint64_t expected,
    uint8_t operation, struct refusal *why)
{
	Devproof__Kms__V1__CounterIncrement b;
	KmsRequest m = DEVPROOF__KMS__V1__REQUEST__INIT;
	uint8_t op[16];

	memset(op, operation, sizeof op);
	devproof__kms__v1__counter_increment__init(&b);
	b.name = (char *)(uintptr_t)name;
	b.expected = expected;
	b.operation = msg_bytes(op, sizeof op);
	m.body_case = DEVPROOF__KMS__V1__REQUEST__BODY_COUNTER_INCREMENT;
	m.counter_increment = &b;
	return ask(ch, &m, why);
}
