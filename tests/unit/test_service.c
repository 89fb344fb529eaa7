/* The key service as its callers see it: a node in process, on loopback TCP,
 * with real attestation (of simulated platforms) and a scripted chain. */
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/secret.h"
#include "common/crypto/dstack.h"
#include "common/eth/appauth.h"
#include "tests/lib/kms_ask.h"
#include "tests/lib/kms_node.h"

#define APP APPAUTH_IS_APP_ALLOWED
#define KMS APPAUTH_IS_KMS_ALLOWED

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
	node = kms_node_start(&w, "a", true, NULL);
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

/* ---- genesis ---- */

struct genesis {
	bool has;
	struct epoch_public pub;
};

static void
read_genesis(const struct cluster *c, void *arg)
{
	struct genesis *g = arg;

	g->has = cluster_genesis(c, &g->pub);
}

static struct k256_pub
make_root(void)
{
	struct genesis g;

	kms_node_step(node, PHASE_GENESIS);
	kms_node_do(node, read_genesis, &g);
	cr_assert(g.has);
	return g.pub.k256;
}

/* As the operator does it: the node's root goes on chain. */
static struct k256_pub
make_ready(void)
{
	struct k256_pub root = make_root();

	kms_world_root(&w, &root);
	kms_world_block(&w);
	kms_node_step(node, PHASE_READY);
	return root;
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
calls(void)
{
	return mock_count(w.chain, 0, "eth_call");
}

/* A KMS node that the contract does not list is refused at the handshake,
 * by the member and for the contract's own reason. */
Test(service, unlisted_peer)
{
	unsigned before = calls();

	kms_world_say(&w, KMS, false, "Aggregated MR not allowed");
	cr_assert_eq(dial_denied(&peer), REASON_CONTRACT_MR, "%s",
	    reason_label(why.code));
	cr_assert_eq(calls(), before + 1);
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
	unsigned before = calls();
	struct channel *ch;

	kms_world_say(&w, APP, false, "App not registered");
	kms_world_say(&w, KMS, false, "Aggregated MR not allowed");
	kms_world_block(&w);
	ch = dial(&app);
	cr_assert_eq(calls(), before);
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

/* Roles are not mixed, ready or not: an app gets no roots and no records, a
 * KMS node no app's keys. */
static void
wrong_roles(void)
{
	struct channel *a = dial(&app), *p = dial(&peer);
	struct metrics *mx = kms_node_metrics(node);
	uint64_t before = mx->refusals[REASON_WRONG_ROLE];

	REFUSED(kms_ask_join(a, "x", &why), REASON_WRONG_ROLE);
	REFUSED(kms_ask_sync(a, &why), REASON_WRONG_ROLE);
	REFUSED(kms_ask_keys(p, -1, &why), REASON_WRONG_ROLE);
	REFUSED(kms_ask_keys(p, 0, &why), REASON_WRONG_ROLE);
	REFUSED(kms_ask_cert(p, 0x77, false, &why), REASON_WRONG_ROLE);
	cr_assert_eq(mx->refusals[REASON_WRONG_ROLE], before + 5);
	channel_close(a);
	channel_close(p);
}

Test(service, wrong_role)
{
	wrong_roles();
	make_ready();
	wrong_roles();
}

/* A node without roots, or whose roots are not on chain, releases nothing;
 * but it tells who it is. */
static void
not_ready(void)
{
	struct channel *a = dial(&app), *p = dial(&peer);
	KmsReply *r;

	REFUSED(kms_ask_keys(a, -1, &why), REASON_NOT_READY);
	REFUSED(kms_ask_cert(a, 0x42, false, &why), REASON_NOT_READY);
	REFUSED(kms_ask_join(p, "x", &why), REASON_NOT_READY);
	REFUSED(kms_ask_sync(p, &why), REASON_NOT_READY);
	cr_assert_not_null(r = kms_ask_meta(a, &why));
	cr_assert_eq(r->body_case, DEVPROOF__KMS__V1__REPLY__BODY_META);
	cr_assert_eq(r->meta->chain_id, KMS_CHAIN_ID);
	cr_assert_eq(r->meta->n_epochs, 0);
	msg_reply_free(r);
	cr_assert_not_null(r = kms_ask_meta(p, &why));
	msg_reply_free(r);
	channel_close(a);
	channel_close(p);
}

Test(service, not_ready)
{
	not_ready();
	(void)make_root();
	not_ready();
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
	/* id 5 and no body; a body of number 9; Join with a short member. */
	static const uint8_t bare[] = { 0x08, 5 };
	static const uint8_t unknown[] = { 0x08, 5, 0x4a, 0 };
	static const uint8_t short_join[] = { 0x2a, 4, 0x0a, 0, 0x12, 0 };

	drops(BYTES_OF(junk));
	drops(BYTES_OF(bare));
	drops(BYTES_OF(unknown));
	drops(BYTES_OF(short_join));
}

/* ---- genesis ---- */

/* A node that the contract does not list makes no roots, and one whose
 * root is not named gives it up: it has nothing to release then. */
Test(service, genesis_refusals)
{
	struct k256_pub other = other_root();
	struct genesis g;
	struct channel *a;

	kms_world_say(&w, KMS, false, "Aggregated MR not allowed");
	kms_world_block(&w);
	kms_node_step(node, PHASE_JOINING);
	kms_node_do(node, read_genesis, &g);
	cr_assert_not(g.has);
	kms_world_say(&w, KMS, true, "");
	kms_world_block(&w);
	(void)make_root();
	kms_world_root(&w, &other);
	kms_world_block(&w);
	kms_node_step(node, PHASE_JOINING);
	kms_node_do(node, read_genesis, &g);
	cr_assert_not(g.has);
	a = dial(&app);
	REFUSED(kms_ask_keys(a, -1, &why), REASON_NOT_READY);
	channel_close(a);
}

/* A node in service whose root is not the contract's any more destroys it. */
Test(service, root_replaced)
{
	struct k256_pub root = make_ready(), other = other_root();
	struct channel *a = dial(&app), *p = dial(&peer);

	cr_assert(keyring_has(kms_node_keyring(node), 0));
	kms_world_root(&w, &other);
	kms_world_block(&w);
	kms_node_step(node, PHASE_JOINING);
	cr_assert_not(keyring_has(kms_node_keyring(node), 0));
	REFUSED(kms_ask_keys(a, -1, &why), REASON_NOT_READY);
	REFUSED(kms_ask_join(p, "b", &why), REASON_NOT_READY);
	/* Naming the old one again does not bring it back. */
	kms_world_root(&w, &root);
	kms_world_block(&w);
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

/* Keys are released at each request anew: only for an app that the contract
 * allows now, by a node that it allows now, under the root that it names. */
Test(service, app_keys)
{
	struct k256_pub root = make_ready(), other = other_root();
	struct channel *a = dial(&app);
	struct metrics *mx = kms_node_metrics(node);
	KmsReply *r;

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

	kms_world_root(&w, &other);
	kms_world_block(&w);
	REFUSED(kms_ask_keys(a, -1, &why), REASON_ROOT_MISMATCH);
	REFUSED(kms_ask_cert(a, 0x42, false, &why), REASON_ROOT_MISMATCH);
	kms_world_root(&w, NULL);
	kms_world_block(&w);
	REFUSED(kms_ask_keys(a, -1, &why), REASON_ROOT_MISMATCH);

	mock_mode(w.chain, MOCK_ALL, MOCK_HTTP_500);
	kms_world_block(&w);
	REFUSED(kms_ask_keys(a, -1, &why), REASON_CHAIN_UNREACHABLE);
	mock_mode(w.chain, MOCK_ALL, MOCK_FINE);
	cr_assert_eq(mx->answered[RQ_GET_APP_KEYS], 1);

	/* The same session is served again once all is well. */
	kms_world_root(&w, &root);
	kms_world_block(&w);
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
	REFUSED(kms_ask_cert(a, 0x42, true, &why), REASON_REQUEST);
	REFUSED(kms_ask_cert(a, 0x43, false, &why), REASON_REQUEST);
	cr_assert_not_null(
	    r = kms_ask_cert(a, 0x42, false, &why), "%s", why.detail);
	cr_assert_eq(r->body_case, DEVPROOF__KMS__V1__REPLY__BODY_CERT_CHAIN);
	cr_assert_eq(r->cert_chain->n_certs, 3);
	msg_reply_free(r);
	channel_close(a);
}

/* ---- hand-over ---- */

struct handovers {
	unsigned n;
	struct handover_entry last;
};

static bool
look_at(void *cookie, struct bytes record)
{
	struct handovers *h = cookie;
	struct record r;

	cr_assert_eq(record_parse(&r, record), ERR_OK);
	if (r.kind == RECORD_HANDOVER) {
		h->n++;
		h->last = r.u.handover;
	}
	return true;
}

static uint64_t
skip_none(void *cookie, const uint8_t inc[static 32])
{
	(void)cookie;
	(void)inc;
	return 0;
}

static void
read_handovers(const struct cluster *c, void *arg)
{
	state_each(cluster_state(c), skip_none, look_at, arg);
}

static struct handovers
handovers(void)
{
	struct handovers h = { 0 };

	kms_node_do(node, read_handovers, &h);
	return h;
}

static void
check_roots(const KmsReply *r, const struct k256_pub *root)
{
	struct k256_secret s;
	struct k256_pub pub;

	cr_assert_eq(r->body_case, DEVPROOF__KMS__V1__REPLY__BODY_JOINED);
	cr_assert_eq(r->joined->n_roots, 1);
	cr_assert_eq(r->joined->roots[0]->number, 0);
	cr_assert_eq(r->joined->roots[0]->root_k256.len, 32);
	memcpy(s.b, r->joined->roots[0]->root_k256.data, 32);
	cr_assert_eq(k256_pubkey(&pub, &s), ERR_OK);
	cr_assert_arr_eq(pub.b, root->b, sizeof pub.b);
}

/* Roots go to a node that the contract allows now, and never without a
 * record of who got them, at which block. */
Test(service, join)
{
	static struct attested at;
	struct k256_pub root = make_ready();
	struct channel *p = dial(&peer), *a = dial(&app);
	struct chain_block b;
	struct handovers h;
	KmsReply *r;

	REFUSED(kms_ask_join(p, "", &why), REASON_REQUEST);
	REFUSED(kms_ask_join(p, "a b", &why), REASON_REQUEST);
	REFUSED(kms_ask_join(p, "a\x7f", &why), REASON_REQUEST);

	kms_world_say(&w, KMS, false, "Aggregated MR not allowed");
	kms_world_block(&w);
	REFUSED(kms_ask_join(p, "b", &why), REASON_SELF_DENIED);
	REFUSED(kms_ask_sync(p, &why), REASON_SELF_DENIED);

	/* The node is allowed (asked for the app), the peer no more. */
	kms_world_say(&w, KMS, true, "");
	kms_world_block(&w);
	cr_assert_not_null(r = kms_ask_keys(a, -1, &why), "%s", why.detail);
	msg_reply_free(r);
	kms_world_say(&w, KMS, false, "Aggregated MR not allowed");
	REFUSED(kms_ask_join(p, "b", &why), REASON_CONTRACT_MR);
	REFUSED(kms_ask_sync(p, &why), REASON_CONTRACT_MR);
	cr_assert_eq(handovers().n, 0);

	kms_world_say(&w, KMS, true, "");
	kms_world_block(&w);
	cr_assert_not_null(r = kms_ask_join(p, "b", &why), "%s", why.detail);
	h = handovers();
	check_roots(r, &root);
	msg_reply_free(r);
	cr_assert_eq(h.n, 1);
	kms_caller_attested(&at, &peer);
	b = mock_block(w.chain, 0, w.block);
	cr_assert_str_eq(h.last.to.slot, "b");
	cr_assert_arr_eq(h.last.to.device_id, at.boot.device_id, 32);
	cr_assert_arr_eq(h.last.to.mr_aggregated, at.boot.mr_aggregated, 32);
	cr_assert_arr_eq(h.last.incarnation, kms_ask_incarnation, 32);
	cr_assert_eq(h.last.epoch, 0);
	cr_assert_eq(h.last.block_number, w.block);
	cr_assert_arr_eq(h.last.block_hash, b.hash, 32);
	/* And its successor sees it. */
	cr_assert_not_null(r = kms_ask_sync(p, &why), "%s", why.detail);
	cr_assert_eq(r->body_case, DEVPROOF__KMS__V1__REPLY__BODY_RECORDS);
	cr_assert_eq(r->records->n_record, 3); /* epoch, start, hand-over */
	msg_reply_free(r);
	channel_close(a);
	channel_close(p);
}

/* A second node, even one that may make roots, takes those on chain from a
 * member, and releases the same keys; without permission it gets none. */
Test(service, second_node)
{
	struct k256_pub root = make_ready();
	struct kms_node *b = kms_node_start(&w, "b", true, kms_node_url(node));
	struct channel *one, *two;
	struct genesis g;
	KmsReply *r, *q;

	kms_world_say(&w, KMS, false, "Aggregated MR not allowed");
	kms_world_block(&w);
	kms_node_step(b, PHASE_JOINING);
	kms_node_do(b, read_genesis, &g);
	cr_assert_not(g.has);
	two = dial_to(b, &app);
	REFUSED(kms_ask_keys(two, -1, &why), REASON_NOT_READY);
	cr_assert_eq(handovers().n, 0);

	kms_world_say(&w, KMS, true, "");
	kms_world_block(&w);
	kms_node_step(b, PHASE_READY);
	cr_assert_eq(handovers().n, 1);
	cr_assert_str_eq(handovers().last.to.slot, "b");
	one = dial(&app);
	cr_assert_not_null(r = kms_ask_keys(one, -1, &why), "%s", why.detail);
	cr_assert_not_null(q = kms_ask_keys(two, -1, &why), "%s", why.detail);
	check_keys(r, &root);
	check_keys(q, &root);
	cr_assert_arr_eq(
	    r->app_keys->k256_key.data, q->app_keys->k256_key.data, 32);
	cr_assert_arr_eq(r->app_keys->disk_crypt_key.data,
	    q->app_keys->disk_crypt_key.data, 32);
	msg_reply_free(r);
	msg_reply_free(q);
	channel_close(one);
	channel_close(two);
	kms_node_stop(b);
}
