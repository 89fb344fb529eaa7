/* Replies as they are parsed: see test_msg.c for the requests. */
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>
#include <sodium.h>

#include "common/base/limits.h"
#include "common/wire/msg.h"

static const uint8_t bytes[LIMIT_MESSAGE];

static void
setup(void)
{
	cr_assert(sodium_init() >= 0);
}

TestSuite(msg_replies, .init = setup);

/* A release as it should be, of `n` epochs; `bend` changes one thing. */
static enum err
release_of(size_t n, void (*bend)(Devproof__Kms__V1__AppKeys *k))
{
	static Devproof__Kms__V1__EpochPublic ep[300], *list[300];
	static ProtobufCBinaryData signer[300];
	Devproof__Kms__V1__AppKeys k;
	KmsReply r = DEVPROOF__KMS__V1__REPLY__INIT, *got = NULL;
	struct buf b = { 0 };
	enum err e;

	devproof__kms__v1__app_keys__init(&k);
	for (size_t i = 0; i < n; i++) {
		devproof__kms__v1__epoch_public__init(&ep[i]);
		ep[i].number = i;
		ep[i].k256_pub = msg_bytes(bytes, 33);
		ep[i].ca_spki_hash = msg_bytes(bytes, 32);
		ep[i].certificate = msg_bytes(bytes, i == 0 ? 0 : 65);
		list[i] = &ep[i];
		signer[i] = msg_bytes(bytes, 20);
	}
	k.app_id = k.kms_contract = k.registry = msg_bytes(bytes, 20);
	k.k256_key = k.disk_crypt_key = k.env_crypt_key = k.os_image_hash =
	    k.block_hash = msg_bytes(bytes, 32);
	k.k256_signature = msg_bytes(bytes, 65);
	k.epochs = list;
	k.n_epochs = n;
	k.anchor_signers = signer;
	k.n_anchor_signers = n;
	if (bend != NULL)
		bend(&k);
	r.body_case = DEVPROOF__KMS__V1__REPLY__BODY_APP_KEYS;
	r.app_keys = &k;
	cr_assert_eq(msg_reply_pack(&b, &r), ERR_OK);
	e = msg_reply_parse(&got, buf_view(&b));
	msg_reply_free(got);
	buf_wipe(&b);
	return e;
}

static void
no_registry(Devproof__Kms__V1__AppKeys *k)
{
	k->registry.len = 0;
}

static void
short_registry(Devproof__Kms__V1__AppKeys *k)
{
	k->registry.len = 19;
}

static void
short_signer(Devproof__Kms__V1__AppKeys *k)
{
	k->anchor_signers[k->n_anchor_signers - 1].len = 21;
}

static void
no_signers(Devproof__Kms__V1__AppKeys *k)
{
	k->n_anchor_signers = 0;
}

static void
strange_mode(Devproof__Kms__V1__AppKeys *k)
{
	k->epochs[k->n_epochs - 1]->mode = 2;
}

static void
short_hash(Devproof__Kms__V1__AppKeys *k)
{
	k->epochs[k->n_epochs - 1]->ca_spki_hash.len = 31;
}

static void
short_certificate(Devproof__Kms__V1__AppKeys *k)
{
	k->epochs[k->n_epochs - 1]->certificate.len = 64;
}

/* A release's registry, signers and records have their sizes, or are not
 * there; and there are not more of them than epochs. */
Test(msg_replies, releases)
{
	cr_assert_eq(release_of(2, short_registry), ERR_MALFORMED);
	cr_assert_eq(release_of(2, short_signer), ERR_MALFORMED);
	cr_assert_eq(release_of(2, strange_mode), ERR_MALFORMED);
	cr_assert_eq(release_of(2, short_hash), ERR_MALFORMED);
	cr_assert_eq(release_of(2, short_certificate), ERR_MALFORMED);
	cr_assert_eq(release_of(257, NULL), ERR_MALFORMED);
	cr_assert_eq(release_of(257, no_signers), ERR_MALFORMED);
	cr_assert_eq(release_of(256, NULL), ERR_OK);
	cr_assert_eq(release_of(2, NULL), ERR_OK);
	cr_assert_eq(release_of(1, no_registry), ERR_OK);
	cr_assert_eq(release_of(1, no_signers), ERR_OK);
}

static size_t bent; /* which member, and its length */
static size_t bent_len;

static void
bend(Devproof__Kms__V1__AppKeys *k)
{
	ProtobufCBinaryData *const m[] = { &k->app_id, &k->kms_contract,
		&k->k256_key, &k->disk_crypt_key, &k->env_crypt_key,
		&k->os_image_hash, &k->block_hash, &k->k256_signature };

	m[bent]->len = bent_len;
}

/* Each of a release's keys and names has its size. */
Test(msg_replies, release_members)
{
	static const size_t len[] = { 20, 20, 32, 32, 32, 32, 32, 65 };

	for (bent = 0; bent < sizeof len / sizeof len[0]; bent++) {
		const size_t bad[] = { 0, len[bent] - 1, len[bent] + 1 };

		for (size_t i = 0; i < 3; i++) {
			bent_len = bad[i];
			cr_assert_eq(release_of(2, bend), ERR_MALFORMED,
			    "member %zu of %zu bytes", bent, bent_len);
		}
		bent_len = len[bent];
		cr_assert_eq(release_of(2, bend), ERR_OK);
	}
}

static size_t replica_len[2];

static void
replica(Devproof__Kms__V1__AppKeys *k)
{
	k->replica_key = msg_bytes(bytes, replica_len[0]);
	k->replica_signature = msg_bytes(bytes, replica_len[1]);
}

/* A replica's key comes with its signature. */
Test(msg_replies, release_replica)
{
	static const size_t bad[][2] = { { 32, 0 }, { 0, 65 }, { 31, 65 },
		{ 33, 65 }, { 32, 64 }, { 32, 66 } };

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		memcpy(replica_len, bad[i], sizeof replica_len);
		cr_assert_eq(release_of(1, replica), ERR_MALFORMED);
	}
	memcpy(replica_len, (const size_t[2]){ 32, 65 }, sizeof replica_len);
	cr_assert_eq(release_of(1, replica), ERR_OK);
}

static enum err
reply_of(const KmsReply *r)
{
	struct buf b = { 0 };
	KmsReply *got = NULL;
	enum err e;

	cr_assert_eq(msg_reply_pack(&b, r), ERR_OK);
	e = msg_reply_parse(&got, buf_view(&b));
	cr_assert((e == ERR_OK) == (got != NULL));
	msg_reply_free(got);
	buf_fini(&b);
	return e;
}

static enum err
certs_of(size_t n)
{
	static ProtobufCBinaryData cert[16];
	Devproof__Kms__V1__CertChain c = DEVPROOF__KMS__V1__CERT_CHAIN__INIT;
	KmsReply r = DEVPROOF__KMS__V1__REPLY__INIT;

	for (size_t i = 0; i < n; i++)
		cert[i] = msg_bytes(bytes, 10);
	c.certs = cert;
	c.n_certs = n;
	r.body_case = DEVPROOF__KMS__V1__REPLY__BODY_CERT_CHAIN;
	r.cert_chain = &c;
	return reply_of(&r);
}

static enum err
env_key_of(size_t key, size_t signature, size_t signature_v1)
{
	Devproof__Kms__V1__AppEnvPubKey k =
	    DEVPROOF__KMS__V1__APP_ENV_PUB_KEY__INIT;
	KmsReply r = DEVPROOF__KMS__V1__REPLY__INIT;

	k.public_key = msg_bytes(bytes, key);
	k.signature = msg_bytes(bytes, signature);
	k.signature_v1 = msg_bytes(bytes, signature_v1);
	r.body_case = DEVPROOF__KMS__V1__REPLY__BODY_APP_ENV_PUB_KEY;
	r.app_env_pub_key = &k;
	return reply_of(&r);
}

static enum err
meta_of(size_t contract, size_t pub)
{
	Devproof__Kms__V1__EpochPublic
	    e = DEVPROOF__KMS__V1__EPOCH_PUBLIC__INIT,
	    *list = &e;
	Devproof__Kms__V1__Meta meta;
	KmsReply r = DEVPROOF__KMS__V1__REPLY__INIT;

	devproof__kms__v1__meta__init(&meta);
	e.k256_pub = msg_bytes(bytes, pub);
	meta.kms_contract = msg_bytes(bytes, contract);
	meta.epochs = &list;
	meta.n_epochs = 1;
	r.body_case = DEVPROOF__KMS__V1__REPLY__BODY_META;
	r.meta = &meta;
	return reply_of(&r);
}

/* The other replies. */
Test(msg_replies, replies)
{
	KmsReply none = DEVPROOF__KMS__V1__REPLY__INIT;

	cr_assert_eq(reply_of(&none), ERR_MALFORMED);
	cr_assert_eq(certs_of(0), ERR_MALFORMED);
	cr_assert_eq(certs_of(9), ERR_MALFORMED);
	cr_assert_eq(certs_of(8), ERR_OK);
	cr_assert_eq(env_key_of(31, 65, 65), ERR_MALFORMED);
	cr_assert_eq(env_key_of(32, 64, 65), ERR_MALFORMED);
	cr_assert_eq(env_key_of(32, 65, 0), ERR_MALFORMED);
	cr_assert_eq(env_key_of(32, 65, 65), ERR_OK);
	cr_assert_eq(meta_of(19, 33), ERR_MALFORMED);
	cr_assert_eq(meta_of(20, 65), ERR_MALFORMED);
	cr_assert_eq(meta_of(20, 33), ERR_OK);
}

/* What no peer would take is not written. */
Test(msg_replies, too_long_to_send)
{
	ProtobufCBinaryData part = msg_bytes(bytes, LIMIT_MESSAGE);
	Devproof__Kms__V1__PeerBatch b = DEVPROOF__KMS__V1__PEER_BATCH__INIT;
	KmsRequest m = DEVPROOF__KMS__V1__REQUEST__INIT;
	char *text = malloc(LIMIT_MESSAGE + 1);
	struct buf out = { 0 };

	cr_assert_not_null(text);
	memset(text, 'a', LIMIT_MESSAGE);
	text[LIMIT_MESSAGE] = '\0';
	b.message = &part;
	b.n_message = 1;
	m.body_case = DEVPROOF__KMS__V1__REQUEST__BODY_PEER_BATCH;
	m.peer_batch = &b;
	cr_assert_eq(msg_request_pack(&out, &m), ERR_LIMIT);
	cr_assert_eq(msg_error_pack(&out, 1, REASON_RATE, text), ERR_LIMIT);
	cr_assert_eq(out.len, 0);
	part.len -= 64;
	text[LIMIT_MESSAGE - 64] = '\0';
	cr_assert_eq(msg_request_pack(&out, &m), ERR_OK);
	cr_assert_leq(out.len, LIMIT_MESSAGE);
	out.len = 0;
	cr_assert_eq(msg_error_pack(&out, 1, REASON_RATE, text), ERR_OK);
	cr_assert_leq(out.len, LIMIT_MESSAGE);
	buf_fini(&out);
	free(text);
}
