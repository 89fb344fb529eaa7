/* The key service as its callers see it: a node in process, on loopback TCP,
 * with real attestation (of simulated platforms) and a scripted chain. */
#include <string.h>
#include <time.h>

#include <criterion/criterion.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/secret.h"
#include "common/crypto/dstack.h"
#include "common/crypto/v2key.h"
#include "common/eth/appauth.h"
#include "tests/lib/kms_ask.h"
#include "tests/lib/link_node.h"

#define APP APPAUTH_IS_APP_ALLOWED
#define KMS APPAUTH_IS_KMS_ALLOWED
#define STATE 0xc19d93fbu /* of the anchor */

static struct kms_world w;
static struct kms_node *node;
static struct kms_caller app, peer;
static struct refusal why; /* of the last one that was refused */

static void
setup(void)
{
	cr_assert_eq(secret_process_init(), ERR_OK);
	log_set_level(LOG_ERROR);
	kms_world_init(&w);
	node = kms_node_start(&w, "a", true);
	kms_caller_boot(&app, &w, CHANNEL_APP, 0x42);
	kms_caller_boot(&peer, &w, CHANNEL_KMS_PEER, 0x77);
}

static void
teardown(void)
{
	kms_caller_close(&app);
	kms_caller_close(&peer);
	kms_node_stop(node);
	kms_world_fini(&w);
}

TestSuite(service, .init = setup, .fini = teardown, .timeout = 240);

/* ---- dialling ---- */

static struct channel *
dial_to(struct kms_node *n, struct kms_caller *c)
{
	struct channel *ch = NULL;

	why = (struct refusal){ 0 };
	cr_assert_eq(channel_dial(&ch, &c->cx, c->role, kms_node_url(n),
			 KMS_WAIT_MS, &why),
	    ERR_OK, "%s: %s", reason_label(why.code), why.detail);
	return ch;
}

static struct channel *
dial(struct kms_caller *c)
{
	return dial_to(node, c);
}

static enum reason
dial_denied(struct kms_caller *c)
{
	struct channel *ch = NULL;

	why = (struct refusal){ 0 };
	cr_assert_eq(channel_dial(&ch, &c->cx, c->role, kms_node_url(node),
			 KMS_WAIT_MS, &why),
	    ERR_DENIED);
	cr_assert_null(ch);
	return why.code;
}

#define REFUSED(reply, reason) \
	do { \
		cr_assert_null(reply); \
		cr_assert_eq(why.code, reason, "%s: %s", \
		    reason_label(why.code), why.detail); \
	} while (0)

/* The node may have seen by itself that its roots are nobody's. */
#define REFUSED_ROOT(reply) \
	do { \
		cr_assert_null(reply); \
		cr_assert(why.code == REASON_ROOT_MISMATCH || \
			why.code == REASON_NOT_READY, \
		    "%s: %s", reason_label(why.code), why.detail); \
	} while (0)

/* ---- genesis ---- */

static struct k256_pub
make_root(void)
{
	struct cluster_genesis g = kms_node_genesis(node);

	cr_assert_eq(kms_node_phase(node), PHASE_GENESIS);
	return g.pub.k256;
}

/* As the operator does it: the node's root and log go on chain. */
static struct k256_pub
make_ready(void)
{
	struct cluster_genesis g = kms_node_genesis(node);

	kms_world_open(&w, &g, incarnation_id(kms_node_incarnation(node)));
	kms_node_wait(node, PHASE_READY);
	return g.pub.k256;
}

static struct k256_pub
other_root(void)
{
	struct k256_secret s;
	struct k256_pub p;

	k256_generate(&s);
	cr_assert_eq(k256_pubkey(&p, &s), ERR_OK);
	k256_secret_wipe(&s);
	return p;
}

/* ---- who may talk ---- */

static unsigned
calls(uint32_t selector)
{
	return mock_count_calls(w.chain, 0, selector);
}

/* A KMS node that the contract does not list is refused at the handshake,
 * by the member and for the contract's own reason. */
Test(service, unlisted_peer)
{
	unsigned before;

	kms_world_say(&w, KMS, false, "Aggregated MR not allowed");
	kms_world_block(&w);
	before = calls(KMS);
	cr_assert_eq(dial_denied(&peer), REASON_CONTRACT_MR, "%s",
	    reason_label(why.code));
	cr_assert_gt(calls(KMS), before);
	kms_world_say(
	    &w, KMS, false, "KMS is not allowed to boot on this device");
	kms_world_block(&w);
	cr_assert_eq(dial_denied(&peer), REASON_CONTRACT_KMS_DEVICE);
	kms_world_say(&w, KMS, true, "");
	kms_world_block(&w);
	channel_close(dial(&peer));
}

/* What the chain does not answer is no yes. */
Test(service, peer_without_chain)
{
	struct channel *ch = NULL;

	mock_mode(w.chain, MOCK_ALL, MOCK_GARBAGE);
	kms_world_block(&w);
	cr_assert_neq(channel_dial(&ch, &peer.cx, peer.role, kms_node_url(node),
			  KMS_WAIT_MS, &why),
	    ERR_OK);
	cr_assert_null(ch);
	cr_assert_eq(
	    why.code, REASON_CHAIN_UNREACHABLE, "%s", reason_label(why.code));
}

/* An app CVM needs sound evidence to talk, and nobody's permission: the
 * contract is not even asked. */
Test(service, app_needs_no_permission_to_talk)
{
	unsigned before = calls(APP);
	struct channel *ch;

	kms_world_say(&w, APP, false, "App not registered");
	kms_world_say(&w, KMS, false, "Aggregated MR not allowed");
	kms_world_block(&w);
	ch = dial(&app);
	cr_assert_eq(calls(APP), before);
	channel_close(ch);
	/* Sound evidence it must be: here of a machine out of date. */
	kms_caller_close(&app);
	cr_assert_eq(sim_host_set(w.sim.dir, "h1", SIM_FAULT_OUT_OF_DATE,
			 clock_wall_s()),
	    ERR_OK);
	kms_caller_boot(&app, &w, CHANNEL_APP, 0x42);
	cr_assert_eq(
	    dial_denied(&app), REASON_TCB_STATUS, "%s", reason_label(why.code));
}

/* ---- the table ---- */

/* Roles are not mixed, ready or not: an app gets no wrapping keys, a KMS node
 * no app's keys and no app's counters; and links are for KMS nodes alone. */
static void
wrong_roles(void)
{
	static const uint8_t sig[INCARNATION_SIG_LEN] = { 1 };
	struct channel *a = dial(&app), *p = dial(&peer);
	struct metrics *mx = kms_node_metrics(node);
	struct incarnation *i = kms_node_incarnation(node);
	uint64_t before = mx->refusals[REASON_WRONG_ROLE];

	REFUSED(kms_ask_join(a, "x", i, &why), REASON_WRONG_ROLE);
	REFUSED(kms_ask_join_as(a, "x", incarnation_id(i), sig, &why),
	    REASON_WRONG_ROLE);
	cr_assert_eq(link_hello(a, i, "x"), REASON_WRONG_ROLE);
	cr_assert_eq(link_item(a, 0, 0, 1, 8), REASON_WRONG_ROLE);
	REFUSED(kms_ask_keys(p, -1, &why), REASON_WRONG_ROLE);
	REFUSED(kms_ask_keys(p, 0, &why), REASON_WRONG_ROLE);
	REFUSED(kms_ask_cert(p, 0x77, false, &why), REASON_WRONG_ROLE);
	REFUSED(kms_ask_counter(p, "n", &why), REASON_WRONG_ROLE);
	REFUSED(kms_ask_increment(p, "n", 0, 1, &why), REASON_WRONG_ROLE);
	cr_assert_eq(mx->refusals[REASON_WRONG_ROLE], before + 9);
	channel_close(a);
	channel_close(p);
}

Test(service, wrong_role)
{
	wrong_roles();
	make_ready();
	wrong_roles();
}

/* A node that is not in service releases nothing and promises nothing; but it
 * tells who it is. */
static void
not_ready(struct kms_node *n)
{
	struct channel *a = dial_to(n, &app), *p = dial_to(n, &peer);
	struct incarnation *i = kms_node_incarnation(n);
	KmsReply *r;

	REFUSED(kms_ask_keys(a, -1, &why), REASON_NOT_READY);
	REFUSED(kms_ask_keys(a, 0, &why), REASON_NOT_READY);
	REFUSED(kms_ask_cert(a, 0x42, false, &why), REASON_NOT_READY);
	REFUSED(kms_ask_counter(a, "n", &why), REASON_NOT_READY);
	REFUSED(kms_ask_increment(a, "n", 0, 1, &why), REASON_NOT_READY);
	REFUSED(kms_ask_join(p, "x", i, &why), REASON_NOT_READY);
	cr_assert_not_null(r = kms_ask_meta(a, &why));
	cr_assert_eq(r->body_case, DEVPROOF__KMS__V1__REPLY__BODY_META);
	cr_assert_eq(r->meta->chain_id, KMS_CHAIN_ID);
	cr_assert_str_eq(r->meta->version, KMSD_VERSION);
	msg_reply_free(r);
	cr_assert_not_null(r = kms_ask_meta(p, &why));
	msg_reply_free(r);
	channel_close(a);
	channel_close(p);
}

static void
stay(struct kms_node *n, enum cluster_phase p)
{
	kms_node_wait(n, p);
	not_ready(n);
	cr_assert_eq(kms_node_phase(n), p);
}

/* Every phase but READY that one node alone goes through. */
Test(service, not_ready)
{
	struct cluster_genesis g;
	struct kms_node *b;

	/* STARTING: the chain says nothing yet. */
	b = kms_node_start(&w, "b", false);
	stay(b, PHASE_STARTING);
	/* GENESIS: roots are here, and not on chain. */
	stay(node, PHASE_GENESIS);
	/* ... on chain is a root, and not the log. */
	g = kms_node_genesis(node);
	kms_world_root(&w, &g.pub.k256);
	kms_world_block(&w);
	stay(node, PHASE_GENESIS);
	kms_node_stop(b);
	/* JOINING: the leader does not give it its slot. */
	kms_world_open(&w, &g, incarnation_id(kms_node_incarnation(node)));
	kms_node_wait(node, PHASE_READY);
	kms_node_alone(&w, node);
	b = kms_node_start(&w, "b", true);
	stay(b, PHASE_JOINING);
	kms_node_stop(b);
	cr_assert_eq(kms_node_phase(node), PHASE_READY);
}

/* HALTED: this life is over, and what it held is gone. */
Test(service, not_ready_halted)
{
	make_ready();
	w.anchor.at.generation++;
	w.anchor.at.index += 5;
	memset(w.anchor.at.hash, 0x5a, 32);
	kms_world_anchor(&w);
	kms_world_block(&w);
	KMS_UNTIL(kms_node_halted(node) == HALT_GENERATION);
	stay(node, PHASE_HALTED);
	cr_assert_not(keyring_has(kms_node_keyring(node), 0));
}

static void
drops(struct bytes garbage)
{
	struct channel *ch = dial(&app);
	struct buf a = { 0 };
	KmsReply *r;

	why = (struct refusal){ 0 };
	cr_assert_neq(channel_call(ch, &a, garbage, KMS_WAIT_MS, &why), ERR_OK);
	cr_assert_eq(a.len, 0);
	cr_assert_eq(why.code, REASON_REQUEST, "%s", reason_label(why.code));
	cr_assert_neq(channel_call(ch, &a, garbage, KMS_WAIT_MS, &why), ERR_OK);
	channel_close(ch);
	/* Only that session is gone. */
	ch = dial(&app);
	cr_assert_not_null(r = kms_ask_meta(ch, &why));
	msg_reply_free(r);
	channel_close(ch);
}

/* Who sends what is no request is not talked to any more. */
Test(service, garbage)
{
	static const uint8_t junk[] = { 0xff, 0xff, 0xff, 0xff, 0x07 };
	/* id 5 and no body; a body of number 6; Join with a short member. */
	static const uint8_t bare[] = { 0x08, 5 };
	static const uint8_t unknown[] = { 0x08, 5, 0x32, 0 };
	static const uint8_t short_join[] = { 0x2a, 4, 0x0a, 0, 0x12, 0 };
	/* An increment without an operation. */
	static const uint8_t increment[] = { 0x52, 3, 0x0a, 1, 'n' };

	drops(BYTES_OF(junk));
	drops(BYTES_OF(bare));
	drops(BYTES_OF(unknown));
	drops(BYTES_OF(short_join));
	drops(BYTES_OF(increment));
}

/* ---- genesis ---- */

static void
read_offer(struct cluster *c, void *arg)
{
	struct cluster_genesis g;

	*(bool *)arg = cluster_genesis(c, &g);
}

static bool
offers_genesis(struct kms_node *n)
{
	bool has;

	kms_node_do(n, read_offer, &has);
	return has;
}

/* Waits until the node has looked at the chain some times more. */
static void
looks(void)
{
	unsigned end = calls(STATE) + 4;

	KMS_UNTIL(calls(STATE) >= end);
}

/* A node that the contract does not list makes no roots; nor does one that is
 * not told to. */
Test(service, genesis_denied)
{
	struct kms_node *b, *c;
	struct k256_pub other;

	kms_node_stop(node);
	kms_world_say(&w, KMS, false, "Aggregated MR not allowed");
	kms_world_block(&w);
	node = kms_node_start(&w, "a", true);
	b = kms_node_start(&w, "b", false);
	looks();
	looks();
	cr_assert_eq(kms_node_phase(node), PHASE_STARTING);
	cr_assert_not(offers_genesis(node));
	cr_assert_not(keyring_has(kms_node_keyring(node), 0));
	kms_world_say(&w, KMS, true, "");
	kms_world_block(&w);
	(void)make_root();
	cr_assert(keyring_has(kms_node_keyring(node), 0));
	cr_assert_eq(kms_node_phase(b), PHASE_STARTING);
	cr_assert_not(keyring_has(kms_node_keyring(b), 0));
	kms_node_stop(b);
	/* Nor when a root is on chain, though its cluster is not there. */
	c = kms_node_start(&w, "c", true);
	(void)kms_node_genesis(c);
	kms_node_stop(c);
	w.anchor.at = (struct anchor_point){ 1, 2, { 3 } };
	memset(w.anchor.opener, 4, 32);
	kms_world_anchor(&w);
	other = other_root();
	kms_world_root(&w, &other);
	kms_world_block(&w);
	c = kms_node_start(&w, "c", true);
	kms_node_wait(c, PHASE_JOINING);
	looks();
	cr_assert_not(keyring_has(kms_node_keyring(c), 0));
	kms_node_stop(c);
}

/* Of two that made roots the chain names one; the other's were never anybody's:
 * it destroys them, and its life is over. */
Test(service, genesis_lost)
{
	struct kms_node *b = kms_node_start(&w, "b", true);
	struct cluster_genesis one = kms_node_genesis(node);
	struct cluster_genesis two = kms_node_genesis(b);

	cr_assert_neq(memcmp(&one.pub.k256, &two.pub.k256, 33), 0);
	kms_world_open(&w, &one, incarnation_id(kms_node_incarnation(node)));
	KMS_UNTIL(kms_node_halted(b) == HALT_DIVERGED);
	cr_assert_eq(kms_node_phase(b), PHASE_HALTED);
	cr_assert_not(keyring_has(kms_node_keyring(b), 0));
	not_ready(b);
	kms_node_wait(node, PHASE_READY);
	kms_node_stop(b);
	/* What was the loser's slot is free for its next life. */
	b = kms_node_start(&w, "b", true);
	kms_node_wait(b, PHASE_READY);
	kms_node_stop(b);
}

/* The same beginning with another hash is another beginning. */
Test(service, genesis_other_hash)
{
	struct cluster_genesis g = kms_node_genesis(node);

	g.anchor.hash[31] ^= 1;
	kms_world_open(&w, &g, incarnation_id(kms_node_incarnation(node)));
	KMS_UNTIL(kms_node_halted(node) == HALT_DIVERGED);
	cr_assert_eq(kms_node_phase(node), PHASE_HALTED);
	cr_assert_not(keyring_has(kms_node_keyring(node), 0));
}

/* Roots that were made and are not those that the contract then names are
 * dropped, and with them what there was to offer. */
Test(service, genesis_other_root)
{
	struct k256_pub other = other_root();

	(void)make_root();
	kms_world_root(&w, &other);
	kms_world_block(&w);
	KMS_UNTIL(!keyring_has(kms_node_keyring(node), 0));
	cr_assert_not(offers_genesis(node));
	not_ready(node);
}

/* A node in service whose root is not the contract's any more destroys it. */
Test(service, root_replaced)
{
	struct k256_pub root = make_ready(), other = other_root();
	struct channel *a = dial(&app), *p = dial(&peer);
	struct incarnation *i = kms_node_incarnation(node);

	cr_assert(keyring_has(kms_node_keyring(node), 0));
	kms_world_root(&w, &other);
	kms_world_block(&w);
	KMS_UNTIL(!keyring_has(kms_node_keyring(node), 0));
	cr_assert_neq(kms_node_phase(node), PHASE_READY);
	REFUSED(kms_ask_keys(a, -1, &why), REASON_NOT_READY);
	REFUSED(kms_ask_join(p, "b", i, &why), REASON_NOT_READY);
	/* Naming the old one again does not bring it back. */
	kms_world_root(&w, &root);
	kms_world_block(&w);
	looks();
	REFUSED(kms_ask_keys(a, -1, &why), REASON_NOT_READY);
	channel_close(a);
	channel_close(p);
}

/* ---- releases ---- */

static void
check_keys(const KmsReply *r, const struct k256_pub *root)
{
	const Devproof__Kms__V1__AppKeys *k = r->app_keys;
	struct chain_block at = mock_block(w.chain, 0, w.block);
	struct k256_secret s;
	struct k256_sig65 sig;
	struct k256_pub pub, got;
	uint8_t id[20];

	memset(id, 0x42, sizeof id);
	cr_assert_eq(r->body_case, DEVPROOF__KMS__V1__REPLY__BODY_APP_KEYS);
	cr_assert_arr_eq(k->app_id.data, id, sizeof id);
	memcpy(s.b, k->k256_key.data, sizeof s.b);
	memcpy(sig.b, k->k256_signature.data, sizeof sig.b);
	cr_assert_eq(k256_pubkey(&pub, &s), ERR_OK);
	cr_assert_eq(dstack_recover_app(&got, &sig, id, &pub), ERR_OK);
	cr_assert_arr_eq(got.b, root->b, sizeof got.b);
	cr_assert_eq(k->n_epochs, 1);
	cr_assert_arr_eq(k->epochs[0]->k256_pub.data, root->b, 33);
	cr_assert_eq(k->block_number, w.block);
	cr_assert_arr_eq(k->block_hash.data, at.hash, 32);
}

/* The keys of a CVM of app `id`, over a channel of its own. */
static KmsReply *
keys_of(uint8_t id, int instance)
{
	struct kms_caller c;
	struct channel *ch;
	KmsReply *r;

	kms_caller_boot_as(&c, &w, CHANNEL_APP, id, instance);
	ch = dial(&c);
	cr_assert_not_null(r = kms_ask_keys(ch, -1, &why), "%s", why.detail);
	channel_close(ch);
	kms_caller_close(&c);
	return r;
}

static bool
same_bytes(ProtobufCBinaryData a, ProtobufCBinaryData b)
{
	return a.len == b.len && memcmp(a.data, b.data, a.len) == 0;
}

/* A replica's key is signed by the root for this very app and instance. */
static void
check_replica(const KmsReply *r, const struct k256_pub *root, uint8_t id,
    uint8_t instance)
{
	const Devproof__Kms__V1__AppKeys *k = r->app_keys;
	struct v2key_owner owner = { .epoch = 0 };
	struct k256_secret s;
	struct k256_sig65 sig;
	struct k256_pub pub, got;

	cr_assert_eq(k->replica_key.len, 32);
	cr_assert_eq(k->replica_signature.len, 65);
	memset(owner.app_id, id, 20);
	memset(owner.instance_id, instance, 20);
	memcpy(s.b, k->replica_key.data, 32);
	memcpy(sig.b, k->replica_signature.data, 65);
	cr_assert_eq(k256_pubkey(&pub, &s), ERR_OK);
	cr_assert_eq(v2key_recover_replica(&got, &sig, &owner, &pub), ERR_OK);
	cr_assert_arr_eq(got.b, root->b, 33);
}

/* Replicas of an app share its key, and none has another's own.  Whose it is
 * comes from the evidence: there is no way to ask for another's. */
Test(service, replica_keys)
{
	struct k256_pub root = make_ready();
	KmsReply *one, *two, *again, *none, *other;

	kms_node_alone(&w, node);
	one = keys_of(0x42, 1);
	two = keys_of(0x42, 2);
	again = keys_of(0x42, 1);
	none = keys_of(0x42, -1);
	other = keys_of(0x43, 1);
	check_replica(one, &root, 0x42, 1);
	check_replica(two, &root, 0x42, 2);
	check_replica(other, &root, 0x43, 1);
	cr_assert(same_bytes(one->app_keys->k256_key, two->app_keys->k256_key));
	cr_assert(
	    same_bytes(one->app_keys->k256_key, none->app_keys->k256_key));
	cr_assert(same_bytes(
	    one->app_keys->replica_key, again->app_keys->replica_key));
	cr_assert(!same_bytes(
	    one->app_keys->replica_key, two->app_keys->replica_key));
	cr_assert(!same_bytes(
	    one->app_keys->replica_key, other->app_keys->replica_key));
	cr_assert(
	    !same_bytes(one->app_keys->replica_key, one->app_keys->k256_key));
	cr_assert_eq(none->app_keys->replica_key.len, 0);
	cr_assert_eq(none->app_keys->replica_signature.len, 0);
	msg_reply_free(one);
	msg_reply_free(two);
	msg_reply_free(again);
	msg_reply_free(none);
	msg_reply_free(other);
}

/* Keys are released at each request anew: only for an app that the contract
 * allows now, by a node that it allows now, under the root that it names. */
Test(service, app_keys)
{
	struct k256_pub root = make_ready();
	struct channel *a = dial(&app);
	struct metrics *mx = kms_node_metrics(node);
	KmsReply *r;

	/* One voter of three seats: what it says could be lost with it. */
	REFUSED(kms_ask_keys(a, -1, &why), REASON_NOT_READY);
	kms_node_alone(&w, node);
	REFUSED(kms_ask_keys(a, 7, &why), REASON_EPOCH_UNKNOWN);
	REFUSED(kms_ask_keys(a, 1, &why), REASON_EPOCH_UNKNOWN);
	cr_assert_eq(mx->answered[RQ_GET_APP_KEYS], 0);
	cr_assert_not_null(r = kms_ask_keys(a, -1, &why), "%s", why.detail);
	check_keys(r, &root);
	msg_reply_free(r);

	kms_world_say(&w, APP, false, "Compose hash not allowed");
	kms_world_block(&w);
	REFUSED(kms_ask_keys(a, -1, &why), REASON_CONTRACT_COMPOSE);
	REFUSED(kms_ask_cert(a, 0x42, false, &why), REASON_CONTRACT_COMPOSE);
	kms_world_say(&w, APP, false, "not on a full moon");
	kms_world_block(&w);
	REFUSED(kms_ask_keys(a, -1, &why), REASON_CONTRACT_OTHER);
	cr_assert_not_null(strstr(why.detail, "full moon"));
	kms_world_say(&w, APP, true, "");

	kms_world_say(&w, KMS, false, "Aggregated MR not allowed");
	kms_world_block(&w);
	REFUSED(kms_ask_keys(a, -1, &why), REASON_SELF_DENIED);
	/* The details are for the node's own log. */
	cr_assert_null(strstr(why.detail, "Aggregated"));
	kms_world_say(&w, KMS, true, "");
	kms_world_block(&w);

	/* A contract that names no root (any more) vouches for none. */
	kms_world_root(&w, NULL);
	kms_world_block(&w);
	REFUSED_ROOT(kms_ask_keys(a, -1, &why));
	REFUSED_ROOT(kms_ask_cert(a, 0x42, false, &why));
	REFUSED_ROOT(kms_ask_counter(a, "n", &why));
	kms_world_root(&w, &root);
	kms_world_block(&w);
	kms_node_wait(node, PHASE_READY);

	mock_mode(w.chain, MOCK_ALL, MOCK_HTTP_500);
	kms_world_block(&w);
	REFUSED(kms_ask_keys(a, -1, &why), REASON_CHAIN_UNREACHABLE);
	mock_mode(w.chain, MOCK_ALL, MOCK_FINE);
	cr_assert_eq(mx->answered[RQ_GET_APP_KEYS], 1);

	/* The same session is served again once all is well. */
	kms_world_block(&w);
	kms_node_wait(node, PHASE_READY);
	cr_assert_not_null(r = kms_ask_keys(a, 0, &why), "%s: %s",
	    reason_label(why.code), why.detail);
	check_keys(r, &root);
	msg_reply_free(r);
	channel_close(a);
}

/* A certificate is for whoever shows to hold its key, for this app. */
Test(service, certificates)
{
	struct channel *a = dial(&app);
	KmsReply *r;

	(void)make_ready();
	kms_node_alone(&w, node);
	REFUSED(kms_ask_cert(a, 0x42, true, &why), REASON_REQUEST);
	REFUSED(kms_ask_cert(a, 0x43, false, &why), REASON_REQUEST);
	cr_assert_not_null(
	    r = kms_ask_cert(a, 0x42, false, &why), "%s", why.detail);
	cr_assert_eq(r->body_case, DEVPROOF__KMS__V1__REPLY__BODY_CERT_CHAIN);
	cr_assert_eq(r->cert_chain->n_certs, 3);
	msg_reply_free(r);
	channel_close(a);
}
