/* Targets: msg_request_parse, msg_reply_parse, proof_unpack, and the packing
 * of what they took.
 *
 * The first byte chooses the message (0 a request, 1 a reply, 2 evidence).
 * A message is taken exactly if protobuf-c can read it and it keeps every
 * bound in the table below, which is kms.proto's comments, not msg.c's code.
 * What was taken is packed to a message that is taken, and packed again it is
 * the same bytes.  On an error the caller's pointer is as it was. */
#include <string.h>

#include "common/base/limits.h"
#include "common/base/name.h"
#include "common/wire/msg.h"
#include "fuzz/must.h"
#include "fuzz/mutate.h"
#include "node/channel/proof.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const ProtobufCMessageDescriptor *const forms[] = {
	&devproof__kms__v1__request__descriptor,
	&devproof__kms__v1__reply__descriptor,
	&devproof__kms__v1__evidence__descriptor,
};
/* A longer message may be refused for the number of its parts. */
#define PARTS_MATTER 8192u
#define N_FORMS (sizeof forms / sizeof forms[0])

/* ---- what kms.proto says ---- */

enum kind { SIZE, SIZE_OR_NONE, AT_MOST, FROM_ONE, NAME };

/* Of each string or bytes member; of numbers: AT_MOST is its value. */
static const struct rule {
	const ProtobufCMessageDescriptor *in;
	const char *field;
	enum kind kind;
	size_t n;
} rules[] = {
#define RULE(m, field, kind, n) \
	{ \
		&devproof__kms__v1__##m##__descriptor, #field, kind, n \
	}
	RULE(epoch_public, k256_pub, SIZE, 33),
	RULE(epoch_public, certificate, SIZE_OR_NONE, 65),
	RULE(epoch_public, mode, AT_MOST, 1),
	RULE(epoch_public, ca_spki_hash, SIZE_OR_NONE, 32),
	RULE(meta, kms_contract, SIZE, 20),
	RULE(app_keys, app_id, SIZE, 20),
	RULE(app_keys, k256_key, SIZE, 32),
	RULE(app_keys, k256_signature, SIZE, 65),
	RULE(app_keys, disk_crypt_key, SIZE, 32),
	RULE(app_keys, env_crypt_key, SIZE, 32),
	RULE(app_keys, os_image_hash, SIZE, 32),
	RULE(app_keys, kms_contract, SIZE, 20),
	RULE(app_keys, block_hash, SIZE, 32),
	RULE(app_keys, registry, SIZE_OR_NONE, 20),
	RULE(app_keys, anchor_signers, SIZE, 20),
	RULE(app_keys, replica_key, SIZE_OR_NONE, 32),
	RULE(app_keys, replica_signature, SIZE_OR_NONE, 65),
	RULE(get_app_env_pub_key, app_id, SIZE, 20),
	RULE(app_env_pub_key, public_key, SIZE, 32),
	RULE(app_env_pub_key, signature, SIZE, 65),
	RULE(app_env_pub_key, signature_v1, SIZE, 65),
	RULE(join, slot, FROM_ONE, 31),
	RULE(join, incarnation, SIZE, 32),
	RULE(join, signature, SIZE, 64),
	RULE(epoch_key, wrap_key, SIZE, 32),
	RULE(peer_hello, slot, FROM_ONE, 31),
	RULE(peer_hello, incarnation, SIZE, 32),
	RULE(peer_hello, signature, SIZE, 64),
	RULE(peer_welcome, slot, FROM_ONE, 31),
	RULE(peer_welcome, incarnation, SIZE, 32),
	RULE(peer_welcome, signature, SIZE, 64),
	RULE(peer_batch, message, FROM_ONE, LIMIT_MESSAGE),
	RULE(counter_get, name, NAME, 64),
	RULE(counter_increment, name, NAME, 64),
	RULE(counter_increment, operation, SIZE, 16),
	RULE(counter, name, NAME, 64),
};

/* How many of a repeated member. */
static const struct count {
	const ProtobufCMessageDescriptor *in;
	const char *field;
	size_t min, max;
} counts[] = {
#define COUNT(m, field, min, max) \
	{ \
		&devproof__kms__v1__##m##__descriptor, #field, min, max \
	}
	COUNT(meta, epochs, 0, 256),
	COUNT(app_keys, epochs, 0, 256),
	COUNT(app_keys, anchor_signers, 0, 256),
	COUNT(sign_cert, alt_names, 0, 32),
	COUNT(cert_chain, certs, 1, 8),
	COUNT(join, want, 0, 257),
	COUNT(joined, keys, 1, 256),
	COUNT(peer_batch, message, 0, 1024),
};
#define END(a) ((a) + sizeof(a) / sizeof(a)[0])

static bool
keeps(const struct rule *r, const ProtobufCFieldDescriptor *f, const void *at)
{
	const ProtobufCBinaryData *b = at;
	const char *text = NULL;
	size_t len = 0;

	if (f->type == PROTOBUF_C_TYPE_STRING) {
		text = *(const char *const *)at;
		len = strlen(text);
	} else if (f->type == PROTOBUF_C_TYPE_BYTES) {
		len = b->len;
	} else {
		len = *(const uint32_t *)at;
	}
	switch (r->kind) {
	case SIZE:
		return len == r->n;
	case SIZE_OR_NONE:
		return len == 0 || len == r->n;
	case AT_MOST:
		return len <= r->n;
	case FROM_ONE:
		return len >= 1 && len <= r->n;
	case NAME:
		return text != NULL && len <= r->n && name_ok(text, r->n + 1);
	}
	return false;
}

static bool good(const ProtobufCMessage *m);

static size_t
size_of(const ProtobufCFieldDescriptor *f)
{
	switch ((int)f->type) {
	case PROTOBUF_C_TYPE_BYTES:
		return sizeof(ProtobufCBinaryData);
	case PROTOBUF_C_TYPE_UINT64:
		return 8;
	case PROTOBUF_C_TYPE_UINT32:
	case PROTOBUF_C_TYPE_BOOL:
		return 4;
	default:
		return sizeof(void *);
	}
}

static bool
good_value(const ProtobufCMessageDescriptor *d,
    const ProtobufCFieldDescriptor *f, const uint8_t *at)
{
	if (f->type == PROTOBUF_C_TYPE_MESSAGE)
		return good(*(const ProtobufCMessage *const *)at);
	for (const struct rule *r = rules; r < END(rules); r++)
		if (r->in == d && strcmp(r->field, f->name) == 0 &&
		    !keeps(r, f, at))
			return false;
	return true;
}

static bool
good_list(const ProtobufCMessageDescriptor *d,
    const ProtobufCFieldDescriptor *f, const uint8_t *list, size_t n)
{
	bool ok = true;

	for (const struct count *c = counts; c < END(counts); c++)
		if (c->in == d && strcmp(c->field, f->name) == 0)
			ok = n >= c->min && n <= c->max;
	for (size_t i = 0; ok && i < n; i++)
		ok = good_value(d, f, list + i * size_of(f));
	return ok;
}

/* Every member of a message, and of those within. */
static bool
good(const ProtobufCMessage *m)
{
	const uint8_t *base = (const uint8_t *)m;

	for (unsigned i = 0; m != NULL && i < m->descriptor->n_fields; i++) {
		const ProtobufCFieldDescriptor *f = &m->descriptor->fields[i];
		const uint8_t *at = base + f->offset;
		const void *n = base + f->quantifier_offset;
		bool ok = true;

		if (f->label == PROTOBUF_C_LABEL_REPEATED)
			ok = good_list(m->descriptor, f,
			    *(const uint8_t *const *)(const void *)at,
			    *(const size_t *)n);
		else if ((f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) == 0 ||
		    *(const uint32_t *)n == f->id)
			ok = good_value(m->descriptor, f, at);
		if (!ok)
			return false;
	}
	return true;
}

/* protobuf-c takes a field of number 0 if the number is written in two bytes,
 * and writes it in one, which it does not take. */
static bool
has_field_0(const ProtobufCMessage *m)
{
	const uint8_t *base = (const uint8_t *)m;

	for (unsigned i = 0; m != NULL && i < m->n_unknown_fields; i++)
		if (m->unknown_fields[i].tag == 0)
			return true;
	for (unsigned i = 0; m != NULL && i < m->descriptor->n_fields; i++) {
		const ProtobufCFieldDescriptor *f = &m->descriptor->fields[i];
		const void *at = base + f->offset;
		const void *n = base + f->quantifier_offset;
		ProtobufCMessage *const *list = at;
		size_t count = 1;

		if (f->type != PROTOBUF_C_TYPE_MESSAGE)
			continue;
		if (f->label == PROTOBUF_C_LABEL_REPEATED) {
			list = *(ProtobufCMessage *const *const *)at;
			count = *(const size_t *)n;
		} else if (*(const uint32_t *)n != f->id) {
			continue;
		}
		while (count-- > 0)
			if (has_field_0(list[count]))
				return true;
	}
	return false;
}

static bool
has_body(const ProtobufCMessage *m)
{
	if (m->descriptor == forms[0])
		return ((const KmsRequest *)m)->body_case != 0;
	return ((const KmsReply *)m)->body_case != 0;
}

/* What belongs to one instance: both, or none. */
static bool
replica_whole(const ProtobufCMessage *m)
{
	const KmsReply *r = (const KmsReply *)m;

	return m->descriptor != forms[1] ||
	    r->body_case != DEVPROOF__KMS__V1__REPLY__BODY_APP_KEYS ||
	    (r->app_keys->replica_key.len != 0) ==
	    (r->app_keys->replica_signature.len != 0);
}

static bool
expected(const ProtobufCMessageDescriptor *d, struct bytes in)
{
	ProtobufCMessage *m = protobuf_c_message_unpack(d, NULL, in.len, in.p);
	bool ok;

	if (m == NULL)
		return false;
	ok = has_body(m) && good(m) && replica_whole(m);
	protobuf_c_message_free_unpacked(m, NULL);
	return ok;
}

/* ---- the three ---- */

static bool
same(const struct buf *a, const struct buf *b)
{
	return a->len == b->len &&
	    (a->len == 0 || memcmp(a->p, b->p, a->len) == 0);
}

static void
request(struct bytes in)
{
	KmsRequest *const before = (KmsRequest *)(void *)&in, *m = before;
	struct buf once = { 0 }, again = { 0 };
	bool ok = msg_request_parse(&m, in) == ERR_OK, whole;

	must(ok == expected(forms[0], in) || in.len > PARTS_MATTER);
	must(ok || m == before);
	if (!ok)
		return;
	must(msg_request_pack(&once, m) == ERR_OK);
	whole = !has_field_0(&m->base);
	msg_request_free(m);
	if (whole) {
		must(msg_request_parse(&m, buf_view(&once)) == ERR_OK);
		must(msg_request_pack(&again, m) == ERR_OK);
		msg_request_free(m);
		must(same(&once, &again));
	}
	buf_fini(&once);
	buf_fini(&again);
}

static void
check_refusal(const KmsReply *m)
{
	struct refusal why = { 0 };
	enum err e = msg_reply_refusal(m, &why);

	if (m->body_case != DEVPROOF__KMS__V1__REPLY__BODY_ERROR) {
		must(e == ERR_OK && why.code == REASON_NONE);
		return;
	}
	must(e == ERR_DENIED || e == ERR_AGAIN);
	must(why.code != REASON_NONE && why.code < REASON_COUNT);
	must(strnlen(why.detail, sizeof why.detail) < sizeof why.detail);
}

static void
reply(struct bytes in)
{
	KmsReply *const before = (KmsReply *)(void *)&in, *m = before;
	struct buf once = { 0 }, again = { 0 };
	bool ok = msg_reply_parse(&m, in) == ERR_OK, whole;

	must(ok == expected(forms[1], in) || in.len > PARTS_MATTER);
	must(ok || m == before);
	if (!ok)
		return;
	check_refusal(m);
	must(msg_reply_pack(&once, m) == ERR_OK);
	whole = !has_field_0(&m->base);
	msg_reply_free(m);
	if (whole) {
		must(msg_reply_parse(&m, buf_view(&once)) == ERR_OK);
		must(msg_reply_pack(&again, m) == ERR_OK);
		msg_reply_free(m);
		must(same(&once, &again));
	}
	buf_fini(&once);
	buf_fini(&again);
}

static void
evidence(struct bytes in)
{
	struct evidence e, back, before;
	struct buf once = { 0 };

	memset(&e, 0x5a, sizeof e);
	before = e;
	if (proof_unpack(&e, in) != ERR_OK) {
		must(memcmp(&e, &before, sizeof e) == 0);
		return;
	}
	must(in.len <= LIMIT_EVIDENCE);
	must(e.tee >= TEE_TDX && e.tee <= TEE_SGX);
	must(e.quote.len > 0 && e.quote.len <= LIMIT_QUOTE);
	must(e.event_log.len <= LIMIT_EVENT_LOG);
	must(e.vm_config.len <= LIMIT_VM_CONFIG);
	must(proof_pack(&once, &e) == ERR_OK);
	must(once.len <= LIMIT_EVIDENCE);
	must(proof_unpack(&back, buf_view(&once)) == ERR_OK);
	must(back.tee == e.tee && same(&back.quote, &e.quote) &&
	    same(&back.event_log, &e.event_log) &&
	    same(&back.vm_config, &e.vm_config));
	evidence_fini(&e);
	evidence_fini(&back);
	buf_fini(&once);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes in = { data + 1, size - 1 };

	if (size == 0)
		return 0;
	switch (data[0] % N_FORMS) {
	case 0:
		request(in);
		break;
	case 1:
		reply(in);
		break;
	default:
		evidence(in);
		break;
	}
	return 0;
}

/* ---- mutation ---- */

static const ProtobufCMessageDescriptor *
message(const uint8_t *head)
{
	return forms[head[0] % N_FORMS];
}

static const uint32_t numbers[] = { 20, 31, 32, 33, 64, 65, 256, 257, 0 };
static const struct mutate_form form = {
	.head = 1, .message = message, .numbers = numbers
};

MUTATE_AS(&form)
