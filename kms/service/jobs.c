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
	EpochPublicMsg item[LEDGER_MAX_EPOCHS];
	EpochPublicMsg *list[LEDGER_MAX_EPOCHS];
	struct buf cert[LEDGER_MAX_EPOCHS];
	size_t n;
};

static enum err
fill_epochs(struct epochs_msg *m, struct job *j, size_t n)
{
	enum err e = ERR_OK;

	for (size_t i = 0; e == ERR_OK && i < n && i < LEDGER_MAX_EPOCHS; i++) {
		const struct ledger_epoch *en = &j->epochs[i];

		devproof__kms__v1__epoch_public__init(&m->item[i]);
		e = keyring_ca_cert(j->o->keyring, &m->cert[i], i);
		/* Who does not hold the roots can tell all but this. */
		if (e == ERR_NOTFOUND)
			e = ERR_OK;
		m->item[i].number = en->pub.number;
		m->item[i].k256_pub =
		    msg_bytes(en->pub.k256.b, sizeof en->pub.k256.b);
		m->item[i].ca_cert = msg_bytes(m->cert[i].p, m->cert[i].len);
		if (en->has_certificate)
			m->item[i].certificate =
			    msg_bytes(en->certificate.b, 65);
		m->item[i].state = en->state;
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
	for (size_t i = 0; i < LEDGER_MAX_EPOCHS; i++)
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

/* An app that may have keys may have counters. */
enum err
job_app_allowed(struct job *j)
{
	return may_release(j);
}

/* The hand-over of the wrapping keys: to a KMS node whose evidence was
 * verified on this very connection, that the contract allows now, and that
 * shows itself to be an incarnation (the log's word on it comes next). */
enum err
job_join(struct job *j)
{
	const Devproof__Kms__V1__Join *q = j->request->join;
	enum err e = job_peer_allowed(j);

	if (e == ERR_OK &&
	    incarnation_verify(q->signature.data, q->incarnation.data,
		CHANNEL_KMS_PEER, q->slot, j->handshake_hash) != ERR_OK)
		e = refuse(&j->why, REASON_HANDSHAKE,
		    "the incarnation did not sign this session");
	return e;
}

/* Packs the keys of all epochs that are held here. */
static enum err
pack_keys(struct job *j)
{
	Devproof__Kms__V1__EpochKey item[LEDGER_MAX_EPOCHS],
	    *list[LEDGER_MAX_EPOCHS];
	Devproof__Kms__V1__Joined joined = DEVPROOF__KMS__V1__JOINED__INIT;
	KmsReply m = DEVPROOF__KMS__V1__REPLY__INIT;
	struct wrap_key *key = secret_new(sizeof *key * (j->n_epochs + 1));
	enum err e;

	if (key == NULL)
		return ERR_NOMEM;
	for (size_t i = 0; i < j->n_epochs; i++) {
		if (!cluster_wrap_key(j->o->cluster, i, &key[i]))
			continue; /* destroyed, or not here yet */
		devproof__kms__v1__epoch_key__init(&item[i]);
		item[i].number = i;
		item[i].wrap_key = msg_bytes(key[i].b, sizeof key[i].b);
		list[joined.n_keys++] = &item[i];
	}
	joined.keys = list;
	m.id = j->request->id;
	m.body_case = DEVPROOF__KMS__V1__REPLY__BODY_JOINED;
	m.joined = &joined;
	e = joined.n_keys > 0
	    ? msg_reply_pack(&j->reply, &m)
	    : refuse(&j->why, REASON_NOT_READY, "no keys here");
	secret_free(key);
	return e;
}

static enum err
from_outcome(struct job *j, const struct cluster_outcome *o)
{
	if (o->err != ERR_OK) {
		j->why = o->why;
		return ERR_DENIED;
	}
	if (o->result.err != ERR_OK)
		return refuse(&j->why,
		    o->result.reason != REASON_NONE ? o->result.reason
						    : REASON_REQUEST,
		    "%s", err_text(o->result.err));
	return ERR_OK;
}

static void
join_recorded(void *cookie, const struct cluster_outcome *o)
{
	struct job *j = cookie;

	j->err = from_outcome(j, o);
	if (j->err == ERR_OK)
		j->err = cluster_serves(j->o->cluster, &j->why);
	if (j->err == ERR_OK)
		j->err = pack_keys(j);
	job_resume(j);
}

/* No hand-over without its record, and none to who is not a member. */
enum err
job_join_finish(struct job *j)
{
	const Devproof__Kms__V1__Join *q = j->request->join;
	const struct ledger *l = core_ledger(cluster_core(j->o->cluster));
	const struct ledger_member *m = ledger_slot(l, q->slot);
	struct command cmd = { .kind = COMMAND_HANDOVER };

	if (m == NULL || !m->present ||
	    memcmp(m->who.incarnation, q->incarnation.data,
		INCARNATION_ID_LEN) != 0 ||
	    memcmp(m->who.device_id, j->caller.boot.device_id, 32) != 0)
		return refuse(&j->why, REASON_NOT_MEMBER,
		    "the log has not admitted this incarnation");
	j->epoch = j->n_epochs > 0 ? j->n_epochs - 1 : 0;
	cmd.u.handover.epoch = j->epoch;
	cmd.u.handover.to = m->who;
	cmd.u.handover.block_number = j->decision.block.number;
	memcpy(cmd.u.handover.block_hash, j->decision.block.hash, 32);
	j->waiting = true;
	cluster_submit(j->o->cluster, &cmd, join_recorded, j);
	return ERR_OK;
}

/* ---- counters ---- */

static enum err
pack_counter(struct job *j, const char *name, uint64_t value, bool matched,
    uint64_t index)
{
	Devproof__Kms__V1__Counter c;
	KmsReply m = DEVPROOF__KMS__V1__REPLY__INIT;

	devproof__kms__v1__counter__init(&c);
	c.name = (char *)(uintptr_t)name;
	c.value = value;
	c.matched = matched;
	c.index = index;
	c.generation = core_generation(cluster_core(j->o->cluster));
	m.id = j->request->id;
	m.body_case = DEVPROOF__KMS__V1__REPLY__BODY_COUNTER;
	m.counter = &c;
	return msg_reply_pack(&j->reply, &m);
}

static void
counter_read(void *cookie, const struct cluster_outcome *o)
{
	struct job *j = cookie;
	const struct ledger *l = core_ledger(cluster_core(j->o->cluster));
	const char *name = j->request->counter_get->name;

	j->err = from_outcome(j, o);
	if (j->err == ERR_OK)
		j->err = cluster_serves(j->o->cluster, &j->why);
	if (j->err == ERR_OK) {
		/* At the place where the ledger is by now, which may be
		 * beyond the one that was asked for: it orders answers. */
		j->err = pack_counter(j, name,
		    ledger_counter_get(l, j->caller.boot.app_id, name), false,
		    ledger_index(l));
	}
	job_resume(j);
}

enum err
job_counter_get(struct job *j)
{
	j->waiting = true;
	cluster_read(j->o->cluster, counter_read, j);
	return ERR_OK;
}

static void
counter_written(void *cookie, const struct cluster_outcome *o)
{
	struct job *j = cookie;
	struct refusal late = { 0 };
	bool mismatch = o->err == ERR_OK && o->result.err == ERR_DENIED &&
	    o->result.reason == REASON_COUNTER_MISMATCH;

	j->err = mismatch ? ERR_OK : from_outcome(j, o);
	if (o->err == ERR_OK && o->result.err == ERR_LIMIT)
		(void)refuse(&j->why, REASON_COUNTER_LIMIT, "%s",
		    j->request->counter_increment->name);
	/* A generation that has ended may not be told as if it went on.  It is
	 * done here all the same: the reason may not say that it is not. */
	if (j->err == ERR_OK && cluster_serves(j->o->cluster, &late) != ERR_OK)
		j->err = refuse(&j->why, REASON_UNKNOWN_OUTCOME, "%s: %s",
		    reason_label(late.code), late.detail);
	if (j->err == ERR_OK)
		j->err = pack_counter(j, j->request->counter_increment->name,
		    o->result.value, !mismatch, o->index);
	job_resume(j);
}

enum err
job_counter_increment(struct job *j)
{
	const Devproof__Kms__V1__CounterIncrement *q =
	    j->request->counter_increment;
	struct command cmd = { .kind = COMMAND_INCREMENT };

	memcpy(cmd.u.increment.app_id, j->caller.boot.app_id, 20);
	memcpy(cmd.u.increment.name, q->name, strlen(q->name) + 1);
	cmd.u.increment.expected = q->expected;
	memcpy(cmd.u.increment.operation, q->operation.data, 16);
	j->waiting = true;
	cluster_submit(j->o->cluster, &cmd, counter_written, j);
	return ERR_OK;
}

enum err
job_peer_hello(struct job *j)
{
	const struct channel_caller who = { .conn = j->conn,
		.role = CHANNEL_KMS_PEER, /* the table's only one for it */
		.peer = &j->caller,
		.handshake_hash = j->handshake_hash };

	return links_request(
	    cluster_links(j->o->cluster), &who, j->request, &j->reply, &j->why);
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
