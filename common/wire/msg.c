#include <string.h>

#include "common/base/limits.h"
#include "common/base/name.h"
#include "common/wire/msg.h"
#include "common/wire/pballoc.h"

/* Bounds of repeated members, so that a small message cannot ask for much
 * work: epochs are created by vote, certificates are three. */
#define MAX_EPOCHS 256
#define MAX_CERTS 8
#define MAX_COUNTER_NAME 64
#define MAX_ALT_NAMES 32
#define MAX_SLOT 31

/* What one message may cost while it is parsed: its own bytes, and 40 or more
 * per part.  The most parts are in a reply with 256 epochs of five each, and in
 * a batch of 1024. */
#define MAX_BYTES (LIMIT_MESSAGE + 512u * 1024)
#define MAX_PARTS 8192u

static bool
size_is(const ProtobufCBinaryData *b, size_t len)
{
	return b->len == len;
}

static bool
epochs_ok(Devproof__Kms__V1__EpochPublic *const *e, size_t n)
{
	if (n > MAX_EPOCHS)
		return false;
	for (size_t i = 0; i < n; i++)
		if (!size_is(&e[i]->k256_pub, 33) || e[i]->mode > 1 ||
		    (e[i]->ca_spki_hash.len != 0 &&
			!size_is(&e[i]->ca_spki_hash, 32)) ||
		    (e[i]->certificate.len != 0 &&
			!size_is(&e[i]->certificate, 65)))
			return false;
	return true;
}

/* Of a Hello and of its answer. */
static bool
peer_ok(const char *slot, const ProtobufCBinaryData *incarnation,
    const ProtobufCBinaryData *signature)
{
	return slot[0] != '\0' && strlen(slot) <= MAX_SLOT &&
	    size_is(incarnation, 32) && size_is(signature, 64);
}

/* Its length in all is that of the request. */
static bool
batch_ok(const Devproof__Kms__V1__PeerBatch *b)
{
	if (b->n_message > LIMIT_LINK_BATCH)
		return false;
	for (size_t i = 0; i < b->n_message; i++)
		if (b->message[i].len == 0)
			return false;
	return true;
}

static bool
request_ok(const KmsRequest *m)
{
	switch (m->body_case) {
	case DEVPROOF__KMS__V1__REQUEST__BODY_GET_META:
	case DEVPROOF__KMS__V1__REQUEST__BODY_GET_APP_KEYS:
		return true;
	case DEVPROOF__KMS__V1__REQUEST__BODY_SIGN_CERT:
		return m->sign_cert->n_alt_names <= MAX_ALT_NAMES;
	case DEVPROOF__KMS__V1__REQUEST__BODY_JOIN:
		return peer_ok(m->join->slot, &m->join->incarnation,
			   &m->join->signature) &&
		    m->join->n_want <= MAX_EPOCHS + 1;
	case DEVPROOF__KMS__V1__REQUEST__BODY_COUNTER_GET:
		return name_ok(m->counter_get->name, MAX_COUNTER_NAME + 1);
	case DEVPROOF__KMS__V1__REQUEST__BODY_COUNTER_INCREMENT:
		return name_ok(
			   m->counter_increment->name, MAX_COUNTER_NAME + 1) &&
		    size_is(&m->counter_increment->operation, 16);
	case DEVPROOF__KMS__V1__REQUEST__BODY_PEER_HELLO:
		return peer_ok(m->peer_hello->slot, &m->peer_hello->incarnation,
		    &m->peer_hello->signature);
	case DEVPROOF__KMS__V1__REQUEST__BODY_PEER_BATCH:
		return batch_ok(m->peer_batch);
	case DEVPROOF__KMS__V1__REQUEST__BODY_GET_APP_ENV_PUB_KEY:
		return size_is(&m->get_app_env_pub_key->app_id, 20);
	case DEVPROOF__KMS__V1__REQUEST__BODY__NOT_SET:
	case _DEVPROOF__KMS__V1__REQUEST__BODY__CASE_IS_INT_SIZE:
		return false;
	}
	return false;
}

static bool
app_keys_ok(const Devproof__Kms__V1__AppKeys *k)
{
	if ((k->registry.len != 0 && !size_is(&k->registry, 20)) ||
	    k->n_anchor_signers > MAX_EPOCHS)
		return false;
	for (size_t i = 0; i < k->n_anchor_signers; i++)
		if (!size_is(&k->anchor_signers[i], 20))
			return false;
	if ((k->replica_key.len != 0 || k->replica_signature.len != 0) &&
	    (!size_is(&k->replica_key, 32) ||
		!size_is(&k->replica_signature, 65)))
		return false;
	return size_is(&k->app_id, 20) && size_is(&k->k256_key, 32) &&
	    size_is(&k->k256_signature, 65) &&
	    size_is(&k->disk_crypt_key, 32) && size_is(&k->env_crypt_key, 32) &&
	    size_is(&k->os_image_hash, 32) && size_is(&k->kms_contract, 20) &&
	    size_is(&k->block_hash, 32) && epochs_ok(k->epochs, k->n_epochs);
}

static bool
reply_ok(const KmsReply *m)
{
	switch (m->body_case) {
	case DEVPROOF__KMS__V1__REPLY__BODY_ERROR:
		return true;
	case DEVPROOF__KMS__V1__REPLY__BODY_META:
		return size_is(&m->meta->kms_contract, 20) &&
		    epochs_ok(m->meta->epochs, m->meta->n_epochs);
	case DEVPROOF__KMS__V1__REPLY__BODY_APP_KEYS:
		return app_keys_ok(m->app_keys);
	case DEVPROOF__KMS__V1__REPLY__BODY_CERT_CHAIN:
		return m->cert_chain->n_certs >= 1 &&
		    m->cert_chain->n_certs <= MAX_CERTS;
	case DEVPROOF__KMS__V1__REPLY__BODY_JOINED:
		if (m->joined->n_keys == 0 || m->joined->n_keys > MAX_EPOCHS)
			return false;
		for (size_t i = 0; i < m->joined->n_keys; i++)
			if (!size_is(&m->joined->keys[i]->wrap_key, 32))
				return false;
		return true;
	case DEVPROOF__KMS__V1__REPLY__BODY_COUNTER:
		return name_ok(m->counter->name, MAX_COUNTER_NAME + 1);
	case DEVPROOF__KMS__V1__REPLY__BODY_PEER_WELCOME:
		return peer_ok(m->peer_welcome->slot,
		    &m->peer_welcome->incarnation, &m->peer_welcome->signature);
	case DEVPROOF__KMS__V1__REPLY__BODY_PEER_RECEIPT:
		return true;
	case DEVPROOF__KMS__V1__REPLY__BODY_APP_ENV_PUB_KEY:
		return size_is(&m->app_env_pub_key->public_key, 32) &&
		    size_is(&m->app_env_pub_key->signature, 65) &&
		    size_is(&m->app_env_pub_key->signature_v1, 65);
	case DEVPROOF__KMS__V1__REPLY__BODY__NOT_SET:
	case _DEVPROOF__KMS__V1__REPLY__BODY__CASE_IS_INT_SIZE:
		return false;
	}
	return false;
}

enum err
msg_request_parse(KmsRequest **out, struct bytes in)
{
	struct pballoc alloc;
	KmsRequest *m;

	if (in.len > LIMIT_MESSAGE)
		return ERR_LIMIT;
	pballoc_init(&alloc, MAX_BYTES, MAX_PARTS);
	m = devproof__kms__v1__request__unpack(&alloc.a, in.len, in.p);
	if (m == NULL)
		return alloc.failed ? ERR_NOMEM : ERR_MALFORMED;
	if (!request_ok(m)) {
		msg_request_free(m);
		return ERR_MALFORMED;
	}
	*out = m;
	return ERR_OK;
}

enum err
msg_reply_parse(KmsReply **out, struct bytes in)
{
	struct pballoc alloc;
	KmsReply *m;

	if (in.len > LIMIT_MESSAGE)
		return ERR_LIMIT;
	pballoc_init(&alloc, MAX_BYTES, MAX_PARTS);
	m = devproof__kms__v1__reply__unpack(&alloc.a, in.len, in.p);
	if (m == NULL)
		return alloc.failed ? ERR_NOMEM : ERR_MALFORMED;
	if (!reply_ok(m)) {
		msg_reply_free(m);
		return ERR_MALFORMED;
	}
	*out = m;
	return ERR_OK;
}

void
msg_request_free(KmsRequest *m)
{
	devproof__kms__v1__request__free_unpacked(m, &pballoc_wiping);
}

void
msg_reply_free(KmsReply *m)
{
	devproof__kms__v1__reply__free_unpacked(m, &pballoc_wiping);
}

enum err
msg_request_pack(struct buf *out, const KmsRequest *m)
{
	size_t n = devproof__kms__v1__request__get_packed_size(m);
	enum err e;

	if (n > LIMIT_MESSAGE)
		return ERR_LIMIT;
	if ((e = buf_reserve(out, out->len + n)) != ERR_OK)
		return e;
	out->len += devproof__kms__v1__request__pack(m, out->p + out->len);
	return ERR_OK;
}

enum err
msg_reply_pack(struct buf *out, const KmsReply *m)
{
	size_t n = devproof__kms__v1__reply__get_packed_size(m);
	enum err e;

	if (n > LIMIT_MESSAGE)
		return ERR_LIMIT;
	if ((e = buf_reserve(out, out->len + n)) != ERR_OK)
		return e;
	out->len += devproof__kms__v1__reply__pack(m, out->p + out->len);
	return ERR_OK;
}

enum err
msg_error_pack(struct buf *out, uint64_t id, enum reason code, const char *text)
{
	Devproof__Kms__V1__Error error;
	KmsReply m = DEVPROOF__KMS__V1__REPLY__INIT;

	devproof__kms__v1__error__init(&error);
	error.reason = (char *)(uintptr_t)reason_label(code);
	error.text =
	    (char *)(uintptr_t)(text != NULL ? text : reason_text(code));
	m.id = id;
	m.body_case = DEVPROOF__KMS__V1__REPLY__BODY_ERROR;
	m.error = &error;
	return msg_reply_pack(out, &m);
}

enum err
msg_reply_refusal(const KmsReply *m, struct refusal *why)
{
	enum reason code;

	if (m->body_case != DEVPROOF__KMS__V1__REPLY__BODY_ERROR)
		return ERR_OK;
	code = reason_from_label(m->error->reason);
	(void)refuse(why, code, "%s", m->error->text);
	switch ((unsigned)code) { /* the others are final */
	case REASON_NOT_READY:
	case REASON_BUSY:
	case REASON_RATE:
	case REASON_SELF_DENIED:
	case REASON_ROOT_MISMATCH:
	case REASON_CHAIN_UNREACHABLE:
	case REASON_CHAIN_DISAGREE:
	case REASON_CHAIN_STALE:
	case REASON_CHAIN_BACKWARDS:
	case REASON_CHAIN_WRONG:
	case REASON_CHAIN_ANSWER:
	case REASON_CHAIN_PROOF:
	case REASON_CHAIN_CODE:
	case REASON_CHAIN_LEASE:
	/* Elections pass, and another node may have a quorum behind it. */
	case REASON_NO_LEADER:
	case REASON_FENCED:
	case REASON_EVICTED:
	case REASON_NOT_MEMBER:
	case REASON_UNKNOWN_OUTCOME:
	case REASON_INTERNAL:
		return ERR_AGAIN;
	default:
		return ERR_DENIED;
	}
}
