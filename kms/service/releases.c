#include <stdlib.h>
#include <string.h>

#include "common/attest/attestation.h"
#include "common/base/limits.h"
#include "common/base/secret.h"
#include "common/crypto/epochcert.h"
#include "common/wire/ratls.h"
#include "common/wire/signcert.h"
#include "kms/keys/certs.h"
#include "kms/service/decision.h"

/* dstack-compat.md 4.6: notBefore 1975-01-01, notAfter now + 3650 days. */
#define DEFAULT_NOT_BEFORE 157766400
#define DEFAULT_LIFE_S (3650ll * 86400)

typedef Devproof__Kms__V1__EpochPublic EpochPublicMsg;

/* An app that may have keys may have counters. */
enum err
job_app_allowed(struct job *j)
{
	return decision_app(j);
}

/* Packed public halves of epochs [0, n), with their root certificates. */
struct epochs_msg {
	EpochPublicMsg item[LEDGER_MAX_EPOCHS];
	EpochPublicMsg *list[LEDGER_MAX_EPOCHS];
	struct buf cert[LEDGER_MAX_EPOCHS];
	uint8_t ca_hash[LEDGER_MAX_EPOCHS][32];
	size_t n;
	/* Who signed the emergency certificates among them. */
	uint8_t signer[LEDGER_MAX_EPOCHS][20];
	ProtobufCBinaryData signers[LEDGER_MAX_EPOCHS];
	size_t n_signers;
};

/* What the registry has seen signed by the anchor's signer: its root is the
 * one published, and who signed it stands in the certificate. */
static enum err
add_signer(
    struct epochs_msg *m, const struct job *j, const struct ledger_epoch *en)
{
	struct epochcert c = { .chain_id = j->o->cfg->chain_id,
		.epoch = en->pub.number,
		.k256 = en->pub.k256,
		.mode = EPOCHCERT_EMERGENCY };
	uint8_t *signer = m->signer[m->n_signers];
	enum err e;

	memcpy(c.registry, j->o->cfg->registry_contract, sizeof c.registry);
	memcpy(c.ca_spki_hash, m->ca_hash[en->pub.number], 32);
	if ((e = epochcert_signer(signer, &c, &en->certificate)) == ERR_OK)
		m->signers[m->n_signers++] = msg_bytes(signer, 20);
	return e;
}

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
		if (e == ERR_OK)
			e = epochcert_ca_hash(m->ca_hash[i], &en->pub.ca);
		if (e == ERR_OK && en->has_certificate &&
		    en->mode == EPOCHCERT_EMERGENCY)
			e = add_signer(m, j, en);
		m->item[i].number = en->pub.number;
		m->item[i].k256_pub =
		    msg_bytes(en->pub.k256.b, sizeof en->pub.k256.b);
		m->item[i].ca_cert = msg_bytes(m->cert[i].p, m->cert[i].len);
		if (en->has_certificate)
			m->item[i].certificate =
			    msg_bytes(en->certificate.b, 65);
		m->item[i].state = en->state;
		m->item[i].mode = en->mode;
		m->item[i].ca_spki_hash = msg_bytes(m->ca_hash[i], 32);
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

/* Another node may hold them, or this one, later. */
static enum err
no_roots(struct job *j)
{
	return refuse(&j->why, REASON_NOT_READY,
	    "the roots of epoch %llu are not here",
	    (unsigned long long)j->epoch);
}

static enum err
derive(struct job *j, struct app_keys *out)
{
	const struct boot_info *b = &j->caller.boot;
	struct epoch_roots *r = keyring_use(j->o->keyring, j->epoch);
	enum err e;

	if (r == NULL)
		return no_roots(j);
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
	if ((e = decision_epoch(j,
		 q->choice_case == DEVPROOF__KMS__V1__GET_APP_KEYS__CHOICE_EPOCH
		     ? &q->epoch
		     : NULL)) != ERR_OK ||
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
	if (keys.has_replica) {
		k.replica_key = msg_bytes(keys.replica.b, 32);
		k.replica_signature = msg_bytes(keys.replica_signature.b, 65);
	}
	k.ca_cert = em->item[j->epoch].ca_cert;
	k.os_image_hash = msg_bytes(b->os_image_hash, 32);
	k.gateway_app_id = gateway;
	k.epochs = em->list;
	k.n_epochs = em->n;
	k.chain_id = j->o->cfg->chain_id;
	k.kms_contract = msg_bytes(j->o->cfg->kms_contract, 20);
	k.block_number = j->decision.block.number;
	k.block_hash = msg_bytes(j->decision.block.hash, 32);
	if (j->o->registry != NULL)
		k.registry = msg_bytes(j->o->cfg->registry_contract, 20);
	k.pinned_epoch = j->pinned;
	k.anchor_signers = em->signers;
	k.n_anchor_signers = em->n_signers;
	m.id = j->request->id;
	m.body_case = DEVPROOF__KMS__V1__REPLY__BODY_APP_KEYS;
	m.app_keys = &k;
	e = msg_reply_pack(&j->reply, &m);
done:
	app_keys_wipe(&keys);
	epochs_msg_free(em);
	secret_wipe_stack(); /* the copies that the packing made */
	return e;
}

static bool
same_guest(const struct boot_info *a, const struct boot_info *b)
{
	return memcmp(a->app_id, b->app_id, sizeof a->app_id) == 0 &&
	    memcmp(a->compose_hash, b->compose_hash, sizeof a->compose_hash) ==
	    0 &&
	    a->has_instance_id == b->has_instance_id &&
	    memcmp(a->instance_id, b->instance_id, sizeof a->instance_id) ==
	    0 &&
	    memcmp(a->device_id, b->device_id, sizeof a->device_id) == 0 &&
	    memcmp(a->mr_aggregated, b->mr_aggregated,
		sizeof a->mr_aggregated) == 0 &&
	    memcmp(a->os_image_hash, b->os_image_hash,
		sizeof a->os_image_hash) == 0;
}

/* What goes into a certificate under our root is genuine, about this very
 * key, and of the guest at the other end: an app that could have another's
 * attestation certified would pass for it. */
static enum err
check_attestation(struct job *j, struct bytes attestation, struct bytes spki)
{
	uint8_t shown[64], want[64];
	struct evidence ev = { .tee = TEE_TDX };
	struct attested who;
	enum err e;

	e = attestation_decode(&ev, shown, attestation, &j->why);
	if (e != ERR_OK)
		return e;
	ratls_report_data(want, spki);
	if (memcmp(shown, want, sizeof want) != 0)
		e = refuse(&j->why, REASON_REPORT_DATA,
		    "the attestation is not about the certificate's key");
	else
		e = verifier_check(
		    j->o->verifier, &who, &ev, want, BOOT_APP, j->now, &j->why);
	if (e == ERR_OK && !same_guest(&who.boot, &j->caller.boot))
		e = refuse(&j->why, REASON_BOOT_INFO,
		    "the attestation is not that of the caller");
	evidence_fini(&ev);
	return e;
}

/* Turns the message into a request for kms/keys/certs. */
static enum err
read_sign_cert(struct job *j, struct cert_request *rq)
{
	const Devproof__Kms__V1__SignCert *q = j->request->sign_cert;
	uint8_t text[SIGNCERT_LEN];
	enum err e;

	e = p256_spki_parse(&rq->key, q->spki.data, q->spki.len);
	if (e == ERR_NOMEM)
		return e;
	if (e != ERR_OK)
		return refuse(&j->why, REASON_REQUEST, "not a P-256 key");
	/* Whoever asks holds the key: no certificate for another's. */
	signcert_message(text, j->caller.boot.app_id, q->spki.data);
	e = p256_verify_der(
	    &rq->key, q->proof.data, q->proof.len, text, sizeof text);
	if (e == ERR_NOMEM)
		return e;
	if (e != ERR_OK)
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
	if (q->attestation.len > CERT_ATTESTATION_MAX)
		return refuse(&j->why, REASON_REQUEST, "attestation too long");
	rq->attestation =
	    (struct bytes){ q->attestation.data, q->attestation.len };
	rq->app_info = q->with_app_info ? &j->caller.boot : NULL;
	if (q->attestation.len == 0)
		return ERR_OK;
	return check_attestation(
	    j, rq->attestation, (struct bytes){ q->spki.data, q->spki.len });
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
	    (e = decision_epoch(j,
		 q->choice_case == DEVPROOF__KMS__V1__SIGN_CERT__CHOICE_EPOCH
		     ? &q->epoch
		     : NULL)) != ERR_OK)
		goto done;
	if ((r = keyring_use(j->o->keyring, j->epoch)) == NULL) {
		e = no_roots(j);
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
