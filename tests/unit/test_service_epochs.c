/* Which epoch's keys an app gets from a node that has a registry: what the
 * registry says at the block of the decision, and what the node itself has. */
#include <pthread.h>
#include <string.h>
#include <time.h>

#include <criterion/criterion.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/secret.h"
#include "common/crypto/dstack.h"
#include "common/crypto/envbox.h"
#include "common/crypto/epochcert.h"
#include "common/eth/appauth.h"
#include "node/agent/heldkeys.h"
#include "node/agent/kms_client.h"
#include "node/agent/kms_link.h"
#include "tests/lib/kms_ask.h"
#include "tests/lib/kms_node.h"

#define APP APPAUTH_IS_APP_ALLOWED

static struct kms_world w;
static struct kms_node *node;
static struct kms_caller app;
static struct channel *ch;
static struct refusal why;
static struct epoch_public pub[3];
static uint8_t ca[3][32];

static struct channel *
dial(void)
{
	struct channel *c = NULL;

	why = (struct refusal){ 0 };
	cr_assert_eq(channel_dial(&c, &app.cx, app.role, kms_node_url(node),
			 KMS_WAIT_MS, &why),
	    ERR_OK, "%s: %s", reason_label(why.code), why.detail);
	return c;
}

/* ---- one more epoch in this node's log and ring ---- */

static _Atomic bool submitted;

static void
on_submitted(void *cookie, const struct cluster_outcome *o)
{
	(void)cookie;
	cr_assert_eq(o->err, ERR_OK, "%s", o->why.detail);
	cr_assert_eq(o->result.err, ERR_OK, "%s", err_text(o->result.err));
	submitted = true;
}

static void
submit_epoch(struct cluster *c, void *arg)
{
	struct command *cmd = arg;

	cluster_submit(c, cmd, on_submitted, NULL);
}

static void
certify(struct command *cmd, const struct k256_secret *signer)
{
	struct epochcert c = { .chain_id = KMS_CHAIN_ID,
		.epoch = cmd->u.epoch.pub.number,
		.k256 = cmd->u.epoch.pub.k256,
		.mode = EPOCHCERT_EMERGENCY };
	uint8_t text[EPOCHCERT_LEN];

	memcpy(c.registry, kms_world_registry_contract, 20);
	cr_assert_eq(
	    epochcert_ca_hash(c.ca_spki_hash, &cmd->u.epoch.pub.ca), ERR_OK);
	cr_assert_eq(epochcert_message(text, &c), ERR_OK);
	cr_assert_eq(k256_sign65(&cmd->u.epoch.certificate, signer,
			 &(struct bytes){ text, sizeof text }, 1),
	    ERR_OK);
}

/* Roots made here, with a certificate of those before, or in an emergency of
 * `signer`; `held`: they are in the ring, too. */
static void
add_epoch_as(uint64_t number, bool held, const struct k256_secret *signer)
{
	struct keyring *ring = kms_node_keyring(node);
	struct command cmd = { .kind = COMMAND_EPOCH };
	struct epoch_roots *r = NULL, *before;
	struct wrap_key k;

	cr_assert_eq(epoch_roots_generate(&r, number), ERR_OK);
	epoch_roots_public(r, &pub[number]);
	wrap_key_generate(&k);
	cr_assert_eq(wrap_roots(cmd.u.epoch.wrapped, &k, r), ERR_OK);
	cmd.u.epoch.pub = pub[number];
	cmd.u.epoch.has_certificate = true;
	cmd.u.epoch.origin.order = number;
	cmd.u.epoch.mode = signer != NULL;
	if (signer != NULL) {
		certify(&cmd, signer);
	} else {
		cr_assert_not_null(before = keyring_use(ring, number - 1));
		cr_assert_eq(epoch_certificate(&cmd.u.epoch.certificate, before,
				 &pub[number], KMS_CHAIN_ID,
				 kms_world_registry_contract, 0),
		    ERR_OK);
		keyring_done(ring);
	}
	if (held)
		cr_assert_eq(keyring_add(ring, r), ERR_OK);
	else
		epoch_roots_free(r);
	submitted = false;
	kms_node_do(node, submit_epoch, &cmd);
	KMS_UNTIL(submitted);
	cr_assert_eq(epochcert_ca_hash(ca[number], &pub[number].ca), ERR_OK);
}

static void
add_epoch(uint64_t number, bool held)
{
	add_epoch_as(number, held, NULL);
}

static void
publish(uint64_t number)
{
	registry_says_epoch(
	    &w.registry, &pub[number].k256, ca[number], REGISTRY_ROUTINE);
}

/* A node in service, with epochs 0 and 1 here and on chain, pinned to 0. */
static void
setup(void)
{
	struct cluster_genesis g;

	cr_assert_eq(secret_process_init(), ERR_OK);
	log_set_level(LOG_ERROR);
	kms_world_init(&w);
	w.has_registry = true;
	kms_world_registry(&w, 0);
	node = kms_node_start(&w, "a", true);
	kms_caller_boot(&app, &w, CHANNEL_APP, 0x42);
	g = kms_node_genesis(node);
	pub[0] = g.pub;
	cr_assert_eq(epochcert_ca_hash(ca[0], &pub[0].ca), ERR_OK);
	kms_world_open(&w, &g, incarnation_id(kms_node_incarnation(node)));
	kms_node_wait(node, PHASE_READY);
	kms_node_alone(&w, node);
	ch = dial();
}

static void
teardown(void)
{
	channel_close(ch);
	kms_caller_close(&app);
	kms_node_stop(node);
	kms_world_fini(&w);
}

TestSuite(service_epochs, .init = setup, .fini = teardown, .timeout = 240);

static void
say(uint64_t pin)
{
	kms_world_registry(&w, pin);
	kms_world_block(&w);
}

struct entry {
	uint64_t number;
	struct anchor_point at;
	enum ledger_epoch_state state;
};

static void
read_entry(struct cluster *c, void *arg)
{
	struct entry *e = arg;
	const struct ledger_epoch *ep =
	    ledger_epoch(core_ledger(cluster_core(c)), e->number);

	e->at.index = ep->index;
	e->state = ep->state;
	cr_assert(
	    engine_hash(core_engine(cluster_core(c)), ep->index, e->at.hash));
}

/* The log follows: its entry is anchored, and the registry uses it. */
static void
follows(uint64_t number)
{
	struct entry e = { .number = number, .at = { .generation = 1 } };

	kms_node_do(node, read_entry, &e);
	w.anchor.at = e.at;
	kms_world_anchor(&w);
	kms_world_block(&w);
	KMS_UNTIL((
	    kms_node_do(node, read_entry, &e), e.state == LEDGER_EPOCH_ACTIVE));
}

static void
refused(int epoch, enum reason code, const char *words)
{
	KmsReply *r = kms_ask_keys(ch, epoch, &why);

	cr_assert_null(r);
	cr_assert_eq(
	    why.code, code, "%s: %s", reason_label(why.code), why.detail);
	cr_assert_not_null(strstr(why.detail, words), "%s", why.detail);
	r = kms_ask_cert(ch, 0x42, false, &why);
	if (epoch < 0) {
		cr_assert_null(r);
		cr_assert_eq(why.code, code);
	}
	msg_reply_free(r);
}

static void
released(int epoch, uint64_t number, uint64_t pinned)
{
	const Devproof__Kms__V1__AppKeys *k;
	struct chain_block at = mock_block(w.chain, 0, w.block);
	struct k256_secret s;
	struct k256_sig65 sig;
	struct k256_pub key, root;
	uint8_t id[20];
	KmsReply *r = kms_ask_keys(ch, epoch, &why);

	cr_assert_not_null(r, "%s: %s", reason_label(why.code), why.detail);
	k = r->app_keys;
	memset(id, 0x42, sizeof id);
	memcpy(s.b, k->k256_key.data, 32);
	memcpy(sig.b, k->k256_signature.data, 65);
	cr_assert_eq(k256_pubkey(&key, &s), ERR_OK);
	cr_assert_eq(dstack_recover_app(&root, &sig, id, &key), ERR_OK);
	cr_assert_arr_eq(root.b, pub[number].k256.b, 33);
	cr_assert_eq(k->epoch, number);
	cr_assert_eq(k->pinned_epoch, pinned);
	cr_assert_eq(k->registry.len, 20);
	cr_assert_arr_eq(k->registry.data, kms_world_registry_contract, 20);
	cr_assert_eq(k->block_number, w.block);
	cr_assert_arr_eq(k->block_hash.data, at.hash, 32);
	cr_assert_eq(k->n_anchor_signers, 0);
	cr_assert_eq(k->n_epochs, number + 1);
	for (size_t i = 0; i <= number; i++) {
		cr_assert_arr_eq(
		    k->epochs[i]->k256_pub.data, pub[i].k256.b, 33);
		cr_assert_eq(k->epochs[i]->ca_spki_hash.len, 32);
		cr_assert_arr_eq(k->epochs[i]->ca_spki_hash.data, ca[i], 32);
		cr_assert_eq(k->epochs[i]->mode, 0);
		cr_assert_eq(k->epochs[i]->certificate.len, i == 0 ? 0 : 65);
	}
	msg_reply_free(r);
}

static void
both_active(void)
{
	add_epoch(1, true);
	publish(0);
	publish(1);
}

/* Where the registry says nothing of use, nobody gets keys. */
Test(service_epochs, unreadable)
{
	publish(0);
	say(0);
	released(-1, 0, 0);
	mock_answer_at(w.chain, MOCK_ALL, kms_world_registry_contract,
	    REGISTRY_STATE, "", 0);
	kms_world_block(&w);
	refused(-1, REASON_CHAIN_ANSWER, "");
	refused(0, REASON_CHAIN_ANSWER, "");
	say(1); /* beyond what is active */
	refused(-1, REASON_CHAIN_ANSWER, "");
	w.registry.kms[0] ^= 1;
	say(0);
	refused(-1, REASON_CHAIN_ANSWER, "");
	w.registry.kms[0] ^= 1;
	registry_says_new(
	    &w.registry, kms_world_contract, kms_world_anchor_contract);
	say(0);
	refused(-1, REASON_EPOCH_UNKNOWN, "no epoch 0");
}

/* What is published must be what is here: key and CA. */
Test(service_epochs, root_mismatch)
{
	struct k256_secret s;
	struct k256_pub other;

	k256_generate(&s);
	cr_assert_eq(k256_pubkey(&other, &s), ERR_OK);
	both_active();
	w.registry.epoch[1].k256 = other;
	cr_assert_eq(k256_address(w.registry.epoch[1].signer, &other), ERR_OK);
	say(1);
	refused(-1, REASON_ROOT_MISMATCH, "");
	released(0, 0, 1);
	w.registry.n_epochs--;
	publish(1);
	w.registry.epoch[1].ca_spki_hash[31] ^= 1;
	say(1);
	refused(-1, REASON_ROOT_MISMATCH, "");
	w.registry.epoch[1].ca_spki_hash[31] ^= 1;
	w.registry.epoch[0].ca_spki_hash[0] ^= 1;
	say(1);
	refused(0, REASON_ROOT_MISMATCH, "");
	released(-1, 1, 1);
}

/* Never newer than the pin, nor what is not active yet. */
Test(service_epochs, newer_than_the_pin)
{
	both_active();
	say(0);
	refused(1, REASON_EPOCH_CLOSED, "newer than the app's pin");
	released(-1, 0, 0);
	registry_says_order(&w.registry, REGISTRY_ROUTINE);
	say(1);
	refused(2, REASON_EPOCH_UNKNOWN, "not active yet");
	refused(7, REASON_EPOCH_UNKNOWN, "");
	released(-1, 1, 1);
}

/* The owner moves the pin: the next request gets the new keys, and the old
 * ones by number, over the session that is there. */
Test(service_epochs, pin_moves)
{
	both_active();
	say(0);
	released(-1, 0, 0);
	say(1);
	released(-1, 1, 1);
	released(0, 0, 1);
	released(1, 1, 1);
	say(0);
	released(-1, 0, 0);
	refused(1, REASON_EPOCH_CLOSED, "newer");
}

/* A tainted epoch only by number, and that is counted; a destroyed one not at
 * all. */
Test(service_epochs, tainted_and_destroyed)
{
	struct metrics *mx = kms_node_metrics(node);

	both_active();
	registry_says_status(&w.registry, 0, REGISTRY_TAINTED);
	say(0);
	refused(-1, REASON_EPOCH_CLOSED, "tainted");
	cr_assert_eq(mx->tainted, 0);
	log_set_level(LOG_ERROR);
	released(0, 0, 0);
	cr_assert_eq(mx->tainted, 1);
	say(1);
	released(0, 0, 1);
	released(-1, 1, 1);
	cr_assert_eq(mx->tainted, 2);
	follows(1); /* or the node would have nothing in use */
	registry_says_status(&w.registry, 0, REGISTRY_DESTROYED);
	say(1);
	refused(0, REASON_EPOCH_CLOSED, "destroyed");
	released(-1, 1, 1);
	say(0);
	refused(-1, REASON_EPOCH_CLOSED, "must pin another");
	cr_assert_eq(mx->tainted, 2);
}

/* A node that lags behind the registry leaves it to another one. */
Test(service_epochs, not_here_yet)
{
	struct epoch_roots *r = NULL;

	publish(0);
	cr_assert_eq(epoch_roots_generate(&r, 1), ERR_OK);
	epoch_roots_public(r, &pub[1]);
	epoch_roots_free(r);
	cr_assert_eq(epochcert_ca_hash(ca[1], &pub[1].ca), ERR_OK);
	publish(1);
	say(1);
	refused(-1, REASON_NOT_READY, "");
	released(0, 0, 1);
	/* In the log, but not in the ring. */
	add_epoch(1, false);
	w.registry.n_epochs--;
	publish(1);
	say(1);
	refused(-1, REASON_NOT_READY, "");
	released(0, 0, 1);
}

/* The app's own contract still comes first. */
Test(service_epochs, app_denied)
{
	both_active();
	kms_world_say(&w, APP, false, "Compose hash not allowed");
	say(1);
	refused(-1, REASON_CONTRACT_COMPOSE, "");
	refused(0, REASON_CONTRACT_COMPOSE, "");
	refused(9, REASON_CONTRACT_COMPOSE, "");
}

/* Through all this a warm release asks the chain nothing. */
Test(service_epochs, warm)
{
	unsigned before;

	both_active();
	say(1);
	released(-1, 1, 1);
	released(0, 0, 1);
	before = mock_count_calls_at(
	    w.chain, 0, kms_world_registry_contract, REGISTRY_PIN_OF);
	for (unsigned i = 0; i < 20; i++) {
		released(-1, 1, 1);
		released(0, 0, 1);
	}
	cr_assert_eq(mock_count_calls_at(w.chain, 0,
			 kms_world_registry_contract, REGISTRY_PIN_OF),
	    before);
}

static void *
ask_in_thread(void *arg)
{
	return kms_ask_keys(arg, -1, &why);
}

/* All of one decision is of one block: when the block moves on between the
 * gate and the registry, both are asked anew. */
Test(service_epochs, one_block)
{
	pthread_t t;
	void *got = NULL;
	KmsReply *r;

	both_active();
	/* Before the block: the node asks for those with a session as well. */
	mock_hold(w.chain, 0, APP);
	say(0);
	cr_assert_eq(pthread_create(&t, NULL, ask_in_thread, ch), 0);
	mock_wait_held_call(w.chain, 0);
	say(1);
	mock_hold(w.chain, 0, 0);
	(void)pthread_join(t, &got);
	cr_assert_not_null(
	    r = got, "%s: %s", reason_label(why.code), why.detail);
	cr_assert_eq(r->app_keys->epoch, 1);
	cr_assert_eq(r->app_keys->block_number, w.block);
	msg_reply_free(r);
	cr_assert_geq(mock_count_calls(w.chain, 0, APP), 2);
}

/* After an emergency a release says who certified it. */
Test(service_epochs, emergency)
{
	const Devproof__Kms__V1__AppKeys *k;
	struct k256_secret signer;
	struct k256_pub by;
	uint8_t address[20];
	KmsReply *r;

	k256_generate(&signer);
	cr_assert_eq(k256_pubkey(&by, &signer), ERR_OK);
	cr_assert_eq(k256_address(address, &by), ERR_OK);
	publish(0);
	add_epoch_as(1, true, &signer);
	registry_says_epoch(
	    &w.registry, &pub[1].k256, ca[1], REGISTRY_EMERGENCY);
	say(1);
	released(0, 0, 1);
	cr_assert_not_null(r = kms_ask_keys(ch, -1, &why), "%s", why.detail);
	k = r->app_keys;
	cr_assert_eq(k->epochs[1]->mode, 1);
	cr_assert_eq(k->n_anchor_signers, 1);
	cr_assert_eq(k->anchor_signers[0].len, 20);
	cr_assert_arr_eq(k->anchor_signers[0].data, address, 20);
	msg_reply_free(r);
}

/* Everybody attested is told which epochs there are. */
Test(service_epochs, meta)
{
	KmsReply *r;

	both_active();
	say(1);
	cr_assert_not_null(r = kms_ask_meta(ch, &why));
	cr_assert_eq(r->meta->n_epochs, 2);
	for (size_t i = 0; i < 2; i++) {
		const Devproof__Kms__V1__EpochPublic *e = r->meta->epochs[i];

		cr_assert_eq(e->number, i);
		cr_assert_arr_eq(e->k256_pub.data, pub[i].k256.b, 33);
		cr_assert_arr_eq(e->ca_spki_hash.data, ca[i], 32);
		cr_assert_neq(e->state, 0);
		cr_assert_eq(e->mode, 0);
	}
	msg_reply_free(r);
}

/* ---- with the agent's own client at the other end ---- */

static struct agent_config cfg;
static struct kms_link *attested_link;
static struct kms_client *client;
static struct heldkeys *keys;

static enum err
fetch(void *cookie, struct app_release *out, const uint64_t *epoch, bool held,
    struct refusal *refusal)
{
	const struct kms_patience p = { .total_ms = KMS_WAIT_MS,
		.renew = held };

	(void)cookie;
	return kms_client_app_keys(client, out, epoch, &p, refusal);
}

/* Pins the genesis root and the registry, as an operator would. */
static void
agent(void)
{
	const struct heldkeys_options ho = { .fetch = fetch,
		.now_ms = clock_mono_ms };
	struct kms_client_options o = { .n_urls = 1,
		.attempt_timeout_ms = KMS_WAIT_MS,
		.terms = { .chain_id = KMS_CHAIN_ID, .has_registry = true } };
	const struct kms_patience p = { .total_ms = KMS_WAIT_MS };
	struct app_release own;

	cfg.chain_id = KMS_CHAIN_ID;
	memcpy(cfg.kms_contract, kms_world_contract, 20);
	cr_assert_eq(
	    kms_link_new(&attested_link, app.td, w.verifier, &cfg), ERR_OK);
	o.transport = kms_link_transport(attested_link);
	o.url[0] = kms_node_url(node);
	memset(o.terms.app_id, 0x42, 20);
	memcpy(o.terms.kms_contract, kms_world_contract, 20);
	memcpy(o.terms.registry, kms_world_registry_contract, 20);
	o.terms.root.kind = ROOT_PIN_PUB;
	memcpy(o.terms.root.b, pub[0].k256.b, 33);
	cr_assert_eq(kms_client_new(&client, &o), ERR_OK);
	cr_assert_eq(kms_client_app_keys(client, &own, NULL, &p, &why), ERR_OK,
	    "%s", why.detail);
	cr_assert_eq(heldkeys_new(&keys, &ho, &own), ERR_OK);
	release_wipe(&own);
}

static void
agent_end(void)
{
	heldkeys_free(keys);
	kms_client_free(client);
	kms_link_free(attested_link);
}

static const uint64_t zero = 0, one = 1;

static void
agent_gets(const uint64_t *epoch, uint64_t number)
{
	struct app_release r;

	why = (struct refusal){ 0 };
	cr_assert_eq(heldkeys_get(keys, &r, epoch, &why), ERR_OK, "%s: %s",
	    reason_label(why.code), why.detail);
	cr_assert_eq(r.epoch, number);
	cr_assert_arr_eq(r.root.b, pub[number].k256.b, 33);
	cr_assert_arr_eq(r.genesis.b, pub[0].k256.b, 33);
	release_wipe(&r);
}

static void
agent_denied(const uint64_t *epoch, enum reason code, const char *words)
{
	struct app_release r;

	why = (struct refusal){ 0 };
	cr_assert_eq(heldkeys_get(keys, &r, epoch, &why), ERR_DENIED);
	cr_assert_eq(
	    why.code, code, "%s: %s", reason_label(why.code), why.detail);
	cr_assert_not_null(strstr(why.detail, words), "%s", why.detail);
}

/* What the agent is refused it says in the words of the registry; what it is
 * given follows from the root that it pins. */
Test(service_epochs, agent)
{
	publish(0);
	say(0);
	agent();
	agent_gets(NULL, 0);
	agent_denied(&one, REASON_EPOCH_UNKNOWN, "active one is 0");
	add_epoch(1, true);
	publish(1);
	say(0);
	agent_denied(&one, REASON_EPOCH_CLOSED, "newer than the app's pin");
	agent_gets(NULL, 0);
	say(1);
	agent_gets(NULL, 1);
	agent_gets(&zero, 0);
	registry_says_status(&w.registry, 0, REGISTRY_TAINTED);
	say(1);
	agent_gets(&zero, 0);
	say(0);
	agent_denied(NULL, REASON_EPOCH_CLOSED, "only by number");
	agent_gets(&zero, 0);
	follows(1); /* or the node would have nothing in use */
	registry_says_status(&w.registry, 0, REGISTRY_DESTROYED);
	say(1);
	agent_denied(&zero, REASON_EPOCH_CLOSED, "destroyed");
	agent_gets(NULL, 1);
	/* The chain cannot be read: what is held serves on. */
	mock_mode(w.chain, MOCK_ALL, MOCK_HTTP_500);
	kms_world_block(&w);
	agent_gets(NULL, 1);
	mock_mode(w.chain, MOCK_ALL, MOCK_FINE);
	/* The app is not allowed any more: nothing does. */
	kms_world_say(&w, APP, false, "Compose hash not allowed");
	kms_world_block(&w);
	(void)nanosleep(&(const struct timespec){ .tv_sec = 1 }, NULL);
	agent_denied(NULL, REASON_CONTRACT_COMPOSE, "");
	agent_denied(&one, REASON_CONTRACT_COMPOSE, "");
	agent_end();
}

/* After an emergency the agent needs to know who may certify. */
Test(service_epochs, agent_emergency)
{
	struct k256_secret signer;

	publish(0);
	say(0);
	agent();
	k256_generate(&signer);
	add_epoch_as(1, true, &signer);
	registry_says_epoch(
	    &w.registry, &pub[1].k256, ca[1], REGISTRY_EMERGENCY);
	say(1);
	agent_denied(NULL, REASON_ROOT_MISMATCH, "set kms.anchor_signer");
	agent_gets(&zero, 0);
	agent_end();
}

/* ---- the env key ---- */

static void
env_key_of(uint8_t id, uint64_t number)
{
	const Devproof__Kms__V1__AppEnvPubKey *k;
	struct k256_sig65 sig;
	struct k256_pub root;
	uint8_t app_id[20];
	KmsReply *r = kms_ask_env_pub(ch, id, &why);

	cr_assert_not_null(r, "%s: %s", reason_label(why.code), why.detail);
	k = r->app_env_pub_key;
	memset(app_id, id, sizeof app_id);
	cr_assert_eq(k->epoch, number);
	memcpy(sig.b, k->signature_v1.data, 65);
	cr_assert_eq(envbox_signer(&root, &sig, app_id, &k->timestamp,
			 k->public_key.data),
	    ERR_OK);
	cr_assert_arr_eq(root.b, pub[number].k256.b, 33);
	memcpy(sig.b, k->signature.data, 65);
	cr_assert_eq(
	    envbox_signer(&root, &sig, app_id, NULL, k->public_key.data),
	    ERR_OK);
	cr_assert_arr_eq(root.b, pub[number].k256.b, 33);
	msg_reply_free(r);
}

static void
registered(bool is)
{
	uint8_t word[32] = { 0 };

	word[31] = is;
	mock_answer(w.chain, MOCK_ALL, APPAUTH_REGISTERED_APPS, word, 32);
}

static void
env_refused(enum reason code)
{
	KmsReply *r = kms_ask_env_pub(ch, 0x42, &why);

	cr_assert_null(r);
	cr_assert_eq(
	    why.code, code, "%s: %s", reason_label(why.code), why.detail);
}

/* It follows the app's pin; who is not registered yet gets the epoch that it
 * would be pinned to, whether epoch 0 still lives or not. */
Test(service_epochs, env_key)
{
	both_active();
	registered(true);
	say(0);
	env_key_of(0x42, 0);
	say(1);
	env_key_of(0x42, 1);
	/* The word of the KMS contract counts, and it must be one. */
	registered(false);
	say(0);
	env_key_of(0x42, 1);
	env_key_of(0x55, 1);
	mock_answer(w.chain, MOCK_ALL, APPAUTH_REGISTERED_APPS, "x", 1);
	say(0);
	env_refused(REASON_CHAIN_ANSWER);
	/* Nothing new is encrypted to a tainted epoch. */
	registered(true);
	registry_says_status(&w.registry, 0, REGISTRY_TAINTED);
	say(0);
	env_refused(REASON_EPOCH_CLOSED);
	registered(false);
	say(0);
	env_key_of(0x42, 1);
	/* A node that is not allowed vouches for nothing. */
	kms_world_say(
	    &w, APPAUTH_IS_KMS_ALLOWED, false, "Aggregated MR not allowed");
	kms_world_block(&w);
	env_refused(REASON_SELF_DENIED);
}
