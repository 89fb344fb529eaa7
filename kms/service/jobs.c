#include <stdlib.h>
#include <string.h>

#include "common/base/limits.h"
#include "common/base/log.h"
#include "common/base/secret.h"
#include "common/crypto/hash.h"
#include "common/wire/signcert.h"
#include "kms/keys/certs.h"
#include "kms/service/job.h"

/* dstack-compat.md 4.6: notBefore 1975-01-01, notAfter now + 3650 days. */
#define DEFAULT_NOT_BEFORE 157766400
#define DEFAULT_LIFE_S (3650ll * 86400)
#define MAX_ALT_NAMES 32

typedef Devproof__Kms__V1__EpochPublic EpochPublicMsg;

/* What every release rests on, asked anew at the block of the moment: this
 * node is allowed, the roots here are the contract's, and the CVM at the
 * other end is allowed. */
static enum err
may_release(struct job *j)
{
	struct gate_kms_info info;
	struct chain_block at;
	struct k256_pub root;
	enum err e;

	/* Keys go to TDX guests only: the other vendors' evidence says less
	 * (DESIGN 4). */
	if (j->caller.verdict.tee != TEE_TDX)
		return refuse(&j->why, REASON_QUOTE_UNSUPPORTED,
		    "keys are not released to this kind of platform");
	e = self_allowed(j->o->self, j->now, &j->why);
	if (e != ERR_OK)
		return e;
	e = gate_kms_info(j->o->gate, j->now, &info, &at, &j->why);
	if (e != ERR_OK)
		return e;
	if (j->n_epochs == 0 ||
	    k256_pub_parse(&root, info.k256_pub, info.k256_pub_len) != ERR_OK ||
	    memcmp(&root, &j->epochs[0].pub.k256, sizeof root) != 0)
		return refuse(&j->why, REASON_ROOT_MISMATCH,
		    "kmsInfo names another root than epoch 0");
	return gate_ask(j->o->gate, GATE_APP, &j->caller.boot, j->now,
	    &j->decision, &j->why);
}

/* The epoch that is asked for, or the one that the app is pinned to: until
 * pins are on chain, that is the genesis epoch for every app. */
static enum err
choose_epoch(struct job *j, bool asked, uint64_t number)
{
	j->epoch = asked ? number : 0;
	if (j->epoch >= j->n_epochs)
		return refuse(&j->why, REASON_EPOCH_UNKNOWN,
		    "epoch %llu of %zu", (unsigned long long)j->epoch,
		    j->n_epochs);
	return ERR_OK;
}

/* Packed public halves of epochs [0, n), with their root certificates. */
struct epochs_msg {
	EpochPublicMsg item[STATE_MAX_EPOCHS];
	EpochPublicMsg *list[STATE_MAX_EPOCHS];
	struct buf cert[STATE_MAX_EPOCHS];
	size_t n;
};

static enum err
fill_epochs(struct epochs_msg *m, struct job *j, size_t n)
{
	enum err e = ERR_OK;

	for (size_t i = 0; e == ERR_OK && i < n && i < STATE_MAX_EPOCHS; i++) {
		const struct epoch_entry *en = &j->epochs[i];

		devproof__kms__v1__epoch_public__init(&m->item[i]);
		e = keyring_ca_cert(j->o->keyring, &m->cert[i], i);
		m->item[i].number = en->pub.number;
		m->item[i].k256_pub =
		    msg_bytes(en->pub.k256.b, sizeof en->pub.k256.b);
		m->item[i].ca_cert = msg_bytes(m->cert[i].p, m->cert[i].len);
		if (en->has_certificate)
			m->item[i].certificate =
			    msg_bytes(en->certificate.b, 65);
		m->item[i].state = EPOCH_ACTIVE;
		m->list[i] = &m->item[i];
		m->n = i + 1;
	}
	return e;
}

static void
epochs_msg_free(struct epochs_msg *m)
{
	if (m == NULL)
		return;
	for (size_t i = 0; i < STATE_MAX_EPOCHS; i++)
		buf_fini(&m->cert[i]);
	free(m);
}

static enum err
derive(struct job *j, struct app_keys *out)
{
	const struct boot_info *b = &j->caller.boot;
	struct epoch_roots *r = keyring_use(j->o->keyring, j->epoch);
	enum err e;

	if (r == NULL)
		return refuse(&j->why, REASON_EPOCH_CLOSED,
		    "this node holds no such roots");
	e = keys_app(
	    out, r, b->app_id, b->has_instance_id ? b->instance_id : NULL);
	keyring_done(j->o->keyring);
	return e;
}

enum err
job_app_keys(struct job *j)
{
	const Devproof__Kms__V1__GetAppKeys *q = j->request->get_app_keys;
	const struct boot_info *b = &j->caller.boot;
	struct epochs_msg *em = calloc(1, sizeof *em);
	struct app_keys keys = { 0 };
	char gateway[GATE_GATEWAY_ID_MAX];
	Devproof__Kms__V1__AppKeys k;
	KmsReply m = DEVPROOF__KMS__V1__REPLY__INIT;
	struct chain_block at;
	enum err e = ERR_NOMEM;

	if (em == NULL)
		goto done;
	if ((e = choose_epoch(j,
		 q->choice_case ==
		     DEVPROOF__KMS__V1__GET_APP_KEYS__CHOICE_EPOCH,
		 q->epoch)) != ERR_OK ||
	    (e = may_release(j)) != ERR_OK ||
	    (e = gate_gateway_app_id(
		 j->o->gate, j->now, gateway, &at, &j->why)) != ERR_OK ||
	    (e = derive(j, &keys)) != ERR_OK ||
	    (e = fill_epochs(em, j, j->epoch + 1)) != ERR_OK)
		goto done;
	devproof__kms__v1__app_keys__init(&k);
	k.epoch = j->epoch;
	k.app_id = msg_bytes(keys.app_id, 20);
	k.k256_key = msg_bytes(keys.k256.b, 32);
	k.k256_signature = msg_bytes(keys.k256_signature.b, 65);
	k.disk_crypt_key = msg_bytes(keys.disk_crypt_key, 32);
	k.env_crypt_key = msg_bytes(keys.env_crypt_key, 32);
	k.ca_cert = em->item[j->epoch].ca_cert;
	k.os_image_hash = msg_bytes(b->os_image_hash, 32);
	k.gateway_app_id = gateway;
	k.epochs = em->list;
	k.n_epochs = em->n;
	k.chain_id = j->o->cfg->chain_id;
	k.kms_contract = msg_bytes(j->o->cfg->kms_contract, 20);
	k.block_number = j->decision.block.number;
	k.block_hash = msg_bytes(j->decision.block.hash, 32);
	m.id = j->request->id;
	m.body_case = DEVPROOF__KMS__V1__REPLY__BODY_APP_KEYS;
	m.app_keys = &k;
	e = msg_reply_pack(&j->reply, &m);
done:
	app_keys_wipe(&keys);
	epochs_msg_free(em);
	return e;
}

/* Turns the message into a request for kms/keys/certs. */
static enum err
read_sign_cert(struct job *j, struct cert_request *rq)
{
	const Devproof__Kms__V1__SignCert *q = j->request->sign_cert;
	uint8_t text[SIGNCERT_LEN];

	if (p256_spki_parse(&rq->key, q->spki.data, q->spki.len) != ERR_OK)
		return refuse(&j->why, REASON_REQUEST, "not a P-256 key");
	/* Whoever asks holds the key: no certificate for another's. */
	signcert_message(text, j->caller.boot.app_id, q->spki.data);
	if (p256_verify_der(&rq->key, q->proof.data, q->proof.len, text,
		sizeof text) != ERR_OK)
		return refuse(&j->why, REASON_REQUEST,
		    "no proof of possession of the key");
	rq->subject = q->subject;
	rq->org_name = q->org_name;
	rq->alt_names = (const char *const *)q->alt_names;
	rq->n_alt_names = q->n_alt_names;
	rq->usage_server_auth = q->usage_server_auth;
	rq->usage_client_auth = q->usage_client_auth;
	if (q->not_before > INT64_MAX || q->not_after > INT64_MAX)
		return refuse(&j->why, REASON_REQUEST, "validity");
	rq->not_before =
	    q->not_before != 0 ? (int64_t)q->not_before : DEFAULT_NOT_BEFORE;
	rq->not_after =
	    q->not_after != 0 ? (int64_t)q->not_after : j->now + DEFAULT_LIFE_S;
	if (q->attestation.len > LIMIT_QUOTE + LIMIT_EVENT_LOG)
		return refuse(&j->why, REASON_REQUEST, "attestation too long");
	rq->attestation =
	    (struct bytes){ q->attestation.data, q->attestation.len };
	rq->app_info = q->with_app_info ? &j->caller.boot : NULL;
	return ERR_OK;
}

enum err
job_sign_cert(struct job *j)
{
	const Devproof__Kms__V1__SignCert *q = j->request->sign_cert;
	struct cert_request rq = { 0 };
	struct buf chain[3] = { 0 };
	ProtobufCBinaryData item[3];
	Devproof__Kms__V1__CertChain cc = DEVPROOF__KMS__V1__CERT_CHAIN__INIT;
	KmsReply m = DEVPROOF__KMS__V1__REPLY__INIT;
	struct epoch_roots *r;
	enum err e;

	if ((e = read_sign_cert(j, &rq)) != ERR_OK ||
	    (e = choose_epoch(j,
		 q->choice_case == DEVPROOF__KMS__V1__SIGN_CERT__CHOICE_EPOCH,
		 q->epoch)) != ERR_OK ||
	    (e = may_release(j)) != ERR_OK)
		goto done;
	if ((r = keyring_use(j->o->keyring, j->epoch)) == NULL) {
		e = refuse(&j->why, REASON_EPOCH_CLOSED,
		    "this node holds no such roots");
		goto done;
	}
	e = certs_app(chain, r, j->caller.boot.app_id, &rq);
	keyring_done(j->o->keyring);
	if (e == ERR_MALFORMED)
		e = refuse(&j->why, REASON_REQUEST,
		    "a name or the validity is not acceptable");
	if (e != ERR_OK)
		goto done;
	for (int i = 0; i < 3; i++)
		item[i] = msg_bytes(chain[i].p, chain[i].len);
	cc.certs = item;
	cc.n_certs = 3;
	m.id = j->request->id;
	m.body_case = DEVPROOF__KMS__V1__REPLY__BODY_CERT_CHAIN;
	m.cert_chain = &cc;
	e = msg_reply_pack(&j->reply, &m);
done:
	for (int i = 0; i < 3; i++)
		buf_fini(&chain[i]);
	return e;
}

/* The peer was allowed when its session began; it must be so still. */
enum err
job_peer_allowed(struct job *j)
{
	enum err e = self_allowed(j->o->self, j->now, &j->why);

	if (e != ERR_OK)
		return e;
	return gate_ask(j->o->gate, GATE_KMS, &j->caller.boot, j->now,
	    &j->decision, &j->why);
}

/* The hand-over of the roots: to a KMS node whose evidence was verified on
 * this very connection, and that the contract allows now. */
enum err
job_join(struct job *j)
{
	Devproof__Kms__V1__EpochRoots item[STATE_MAX_EPOCHS],
	    *list[STATE_MAX_EPOCHS];
	uint8_t(*secret)[64] = NULL;
	Devproof__Kms__V1__Joined joined = DEVPROOF__KMS__V1__JOINED__INIT;
	KmsReply m = DEVPROOF__KMS__V1__REPLY__INIT;
	enum err e = job_peer_allowed(j);

	if (e != ERR_OK)
		return e;
	if ((secret = secret_new(sizeof *secret * (j->n_epochs + 1))) == NULL)
		return ERR_NOMEM;
	for (size_t i = 0; i < j->n_epochs; i++) {
		struct epoch_roots *r = keyring_use(j->o->keyring, i);

		if (r == NULL)
			continue; /* destroyed */
		epoch_roots_export(r, secret[i], secret[i] + 32);
		keyring_done(j->o->keyring);
		devproof__kms__v1__epoch_roots__init(&item[i]);
		item[i].number = i;
		item[i].root_k256 = msg_bytes(secret[i], 32);
		item[i].root_ca = msg_bytes(secret[i] + 32, 32);
		list[joined.n_roots++] = &item[i];
		j->epoch = i;
	}
	joined.roots = list;
	m.id = j->request->id;
	m.body_case = DEVPROOF__KMS__V1__REPLY__BODY_JOINED;
	m.joined = &joined;
	e = msg_reply_pack(&j->reply, &m);
	secret_free(secret);
	return e;
}

/* No hand-over without its record: it is kept before the reply leaves. */
enum err
job_join_finish(struct job *j)
{
	const Devproof__Kms__V1__Join *q = j->request->join;
	struct record r = { .kind = RECORD_HANDOVER };
	struct handover_entry *h = &r.u.handover;

	for (const char *p = q->slot; *p != '\0'; p++)
		if (*p <= 0x20 || *p > 0x7e)
			return refuse(&j->why, REASON_REQUEST, "slot name");
	if (q->slot[0] == '\0')
		return refuse(&j->why, REASON_REQUEST, "slot name");
	memcpy(h->to.slot, q->slot, strlen(q->slot) + 1);
	memcpy(h->to.device_id, j->caller.boot.device_id, 32);
	memcpy(h->to.mr_aggregated, j->caller.boot.mr_aggregated, 32);
	memcpy(h->incarnation, q->incarnation.data, sizeof h->incarnation);
	h->epoch = j->epoch;
	h->block_number = j->decision.block.number;
	memcpy(h->block_hash, j->decision.block.hash, sizeof h->block_hash);
	return cluster_submit(j->o->cluster, &r);
}

enum err
job_sync(struct job *j)
{
	return cluster_records(
	    j->o->cluster, &j->reply, j->request->id, j->request->sync);
}

enum err
job_peer_hello(struct job *j)
{
	const struct channel_caller who = { .conn = j->conn,
		.role = CHANNEL_KMS_PEER, /* the table's only one for it */
		.peer = &j->caller,
		.handshake_hash = j->handshake_hash };

	return links_request(j->o->links, &who, j->request, &j->reply, &j->why);
}

enum err
job_meta(struct job *j)
{
	struct epochs_msg *em = calloc(1, sizeof *em);
	Devproof__Kms__V1__Meta meta;
	KmsReply m = DEVPROOF__KMS__V1__REPLY__INIT;
	enum err e = ERR_NOMEM;

	if (em == NULL || (e = fill_epochs(em, j, j->n_epochs)) != ERR_OK)
		goto done;
	devproof__kms__v1__meta__init(&meta);
	meta.chain_id = j->o->cfg->chain_id;
	meta.kms_contract = msg_bytes(j->o->cfg->kms_contract, 20);
	meta.epochs = em->list;
	meta.n_epochs = em->n;
	meta.version = (char *)(uintptr_t)KMSD_VERSION;
	m.id = j->request->id;
	m.body_case = DEVPROOF__KMS__V1__REPLY__BODY_META;
	m.meta = &meta;
	e = msg_reply_pack(&j->reply, &m);
done:
	epochs_msg_free(em);
	return e;
}
