/* The rows of the request table that rest on the cluster: hand-over of keys,
 * counters, and whether an answer may leave at all. */
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <criterion/criterion.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/secret.h"
#include "common/eth/appauth.h"
#include "kms/service/clusterpage.h"
#include "kms/service/genesispage.h"
#include "tests/lib/kms_ask.h"
#include "tests/lib/kms_node.h"

#define APP APPAUTH_IS_APP_ALLOWED
#define KMS APPAUTH_IS_KMS_ALLOWED

static struct kms_world w;
static struct kms_node *a, *b;
static struct kms_caller app, peer;
static struct refusal why; /* of the last one that was refused */
static struct cluster_genesis genesis;

static void
setup(void)
{
	cr_assert_eq(secret_process_init(), ERR_OK);
	/* What is refused and vetoed here is not news. */
	log_set_level(LOG_ERROR);
	kms_world_init(&w);
	a = kms_node_start(&w, "a", true);
	genesis = kms_node_genesis(a);
	kms_world_open(&w, &genesis, incarnation_id(kms_node_incarnation(a)));
	kms_node_wait(a, PHASE_READY);
	kms_caller_boot(&app, &w, CHANNEL_APP, 0x42);
	kms_caller_boot(&peer, &w, CHANNEL_KMS_PEER, 0x77);
}

static void
stop(struct kms_node **n)
{
	if (*n != NULL)
		kms_node_stop(*n);
	*n = NULL;
}

static void
teardown(void)
{
	kms_caller_close(&app);
	kms_caller_close(&peer);
	stop(&b);
	stop(&a);
	kms_world_fini(&w);
}

TestSuite(service_cluster, .init = setup, .fini = teardown, .timeout = 300);

static struct channel *
dial(struct kms_node *n, struct kms_caller *c)
{
	struct channel *ch = NULL;

	why = (struct refusal){ 0 };
	cr_assert_eq(channel_dial(&ch, &c->cx, c->role, kms_node_url(n),
			 KMS_WAIT_MS, &why),
	    ERR_OK, "%s: %s", reason_label(why.code), why.detail);
	return ch;
}

static void
start_b(void)
{
	b = kms_node_start(&w, "b", false);
	kms_node_wait(b, PHASE_READY);
}

#define REFUSED(reply, reason) \
	do { \
		cr_assert_null(reply); \
		cr_assert_eq(why.code, reason, "%s: %s", \
		    reason_label(why.code), why.detail); \
	} while (0)

/* Asks until it is refused for `reason`: what came before was still so.  Not
 * faster than a session may (limits.requests_per_s). */
static void
refused_in_the_end(struct channel *ch, enum reason reason)
{
	const struct timespec pause = { .tv_nsec = 20000000 };
	KmsReply *r;

	do {
		r = kms_ask_keys(ch, -1, &why);
		msg_reply_free(r);
		(void)nanosleep(&pause, NULL);
	} while (r != NULL);
	REFUSED(r, reason);
}

/* ---- hand-over ---- */

struct handovers {
	unsigned n;
	struct command last;
};

static void
read_handovers(struct cluster *c, void *arg)
{
	const struct ledger *l = core_ledger(cluster_core(c));
	struct handovers *h = arg;
	struct ledger_audit at;

	for (uint64_t i = ledger_audit_first(l); i <= ledger_audit_count(l);
	     i++) {
		struct command cmd;

		cr_assert(ledger_audit_get(l, i, &at));
		cr_assert_eq(command_parse(&cmd, at.command), ERR_OK);
		if (cmd.kind != COMMAND_HANDOVER)
			continue;
		h->n++;
		h->last = cmd;
	}
}

static struct handovers
handovers(void)
{
	struct handovers h = { 0 };

	kms_node_do(a, read_handovers, &h);
	return h;
}

struct wrapped {
	uint8_t bytes[WRAPPED_ROOTS_LEN];
	struct epoch_public pub;
};

static void
read_wrapped(struct cluster *c, void *arg)
{
	const struct ledger_epoch *ep =
	    ledger_epoch(core_ledger(cluster_core(c)), 0);
	struct wrapped *out = arg;

	memcpy(out->bytes, ep->wrapped, sizeof out->bytes);
	out->pub = ep->pub;
}

/* The keys open what the log carries, and that is the root on chain. */
static void
check_joined(const KmsReply *r)
{
	struct epoch_roots *roots = NULL;
	struct epoch_public pub;
	struct wrapped x;
	struct wrap_key k;

	cr_assert_eq(r->body_case, DEVPROOF__KMS__V1__REPLY__BODY_JOINED);
	cr_assert_eq(r->joined->n_keys, 1);
	cr_assert_eq(r->joined->keys[0]->number, 0);
	kms_node_do(a, read_wrapped, &x);
	memcpy(k.b, r->joined->keys[0]->wrap_key.data, sizeof k.b);
	cr_assert_eq(wrap_open(&roots, &k, &x.pub, x.bytes), ERR_OK);
	epoch_roots_public(roots, &pub);
	cr_assert_arr_eq(pub.k256.b, genesis.pub.k256.b, 33);
	epoch_roots_free(roots);
}

/* Wrapping keys go to whom the log has admitted: this slot, this incarnation,
 * this device; shown over this very session. */
Test(service_cluster, join_refusals)
{
	struct channel *p = dial(a, &peer), *q = dial(a, &peer);
	struct incarnation *theirs, *other = NULL;
	uint8_t sig[INCARNATION_SIG_LEN], id[INCARNATION_ID_LEN];
	const uint8_t *hash = channel_handshake_hash(p);
	struct kms_caller far;
	struct channel *f;
	unsigned before;
	KmsReply *r;

	start_b();
	before = handovers().n;
	theirs = kms_node_incarnation(b);
	memcpy(id, incarnation_id(theirs), sizeof id);
	cr_assert_eq(incarnation_new(&other), ERR_OK);

	/* Nobody's signature, every bit of the right one, another session's,
	 * another role's, another slot's, another key's. */
	memset(sig, 0, sizeof sig);
	REFUSED(kms_ask_join_as(p, "b", id, sig, &why), REASON_HANDSHAKE);
	for (size_t i = 0; i < 8 * sizeof sig; i += 37) {
		cr_assert_eq(
		    incarnation_sign(sig, theirs, CHANNEL_KMS_PEER, "b", hash),
		    ERR_OK);
		sig[i / 8] ^= (uint8_t)(1u << i % 8);
		REFUSED(
		    kms_ask_join_as(p, "b", id, sig, &why), REASON_HANDSHAKE);
	}
	cr_assert_eq(incarnation_sign(sig, theirs, CHANNEL_KMS_PEER, "b",
			 channel_handshake_hash(q)),
	    ERR_OK);
	REFUSED(kms_ask_join_as(p, "b", id, sig, &why), REASON_HANDSHAKE);
	cr_assert_eq(
	    incarnation_sign(sig, theirs, CHANNEL_APP, "b", hash), ERR_OK);
	REFUSED(kms_ask_join_as(p, "b", id, sig, &why), REASON_HANDSHAKE);
	cr_assert_eq(
	    incarnation_sign(sig, theirs, CHANNEL_KMS_PEER, "a", hash), ERR_OK);
	REFUSED(kms_ask_join_as(p, "b", id, sig, &why), REASON_HANDSHAKE);
	cr_assert_eq(
	    incarnation_sign(sig, other, CHANNEL_KMS_PEER, "b", hash), ERR_OK);
	REFUSED(kms_ask_join_as(p, "b", id, sig, &why), REASON_HANDSHAKE);

	/* Signed well, and not admitted: another incarnation of the slot,
	 * slots that it does not hold. */
	REFUSED(kms_ask_join(p, "b", other, &why), REASON_NOT_MEMBER);
	REFUSED(kms_ask_join(p, "a", theirs, &why), REASON_NOT_MEMBER);
	REFUSED(kms_ask_join(p, "c", theirs, &why), REASON_NOT_MEMBER);
	REFUSED(kms_ask_join(p, "x", other, &why), REASON_NOT_MEMBER);

	/* Admitted, but at the other end is another machine. */
	cr_assert_eq(sim_host_create(w.sim.dir, "h2", clock_wall_s()), ERR_OK);
	(void)snprintf(w.sim.host, sizeof w.sim.host, "%s/hosts/h2", w.sim.dir);
	kms_caller_boot(&far, &w, CHANNEL_KMS_PEER, 0x78);
	f = dial(a, &far);
	REFUSED(kms_ask_join(f, "b", theirs, &why), REASON_NOT_MEMBER);
	channel_close(f);
	kms_caller_close(&far);

	/* No more allowed, one or the other side. */
	kms_world_say(&w, KMS, false, "Aggregated MR not allowed");
	kms_world_block(&w);
	REFUSED(kms_ask_join(p, "b", theirs, &why), REASON_SELF_DENIED);
	kms_world_say(&w, KMS, true, "");
	kms_world_block(&w);
	mock_mode(w.chain, MOCK_ALL, MOCK_HTTP_500);
	kms_world_block(&w);
	REFUSED(kms_ask_join(p, "b", theirs, &why), REASON_CHAIN_UNREACHABLE);
	mock_mode(w.chain, MOCK_ALL, MOCK_FINE);
	kms_world_block(&w);
	cr_assert_eq(handovers().n, before);

	/* What is right is recorded before it is answered.  (On a slow machine
	 * an attempt may be recorded and not answered: then that is what is
	 * found.) */
	KMS_UNTIL((r = kms_ask_join(p, "b", theirs, &why)) != NULL);
	cr_assert_gt(handovers().n, before);
	check_joined(r);
	msg_reply_free(r);
	channel_close(p);
	channel_close(q);
	incarnation_free(other);
}

/* The record says who got the keys, and at which block it was allowed. */
Test(service_cluster, join)
{
	static struct attested at;
	struct channel *p;
	struct chain_block blk;
	struct handovers h;
	KmsReply *r;

	start_b();
	cr_assert_geq(handovers().n, 1);
	cr_assert_str_eq(handovers().last.u.handover.to.slot, "b");
	p = dial(a, &peer);
	kms_world_block(&w);
	blk = mock_block(w.chain, 0, w.block);
	cr_assert_not_null(
	    r = kms_ask_join(p, "b", kms_node_incarnation(b), &why), "%s: %s",
	    reason_label(why.code), why.detail);
	h = handovers();
	check_joined(r);
	msg_reply_free(r);
	kms_caller_attested(&at, &peer);
	cr_assert_str_eq(h.last.u.handover.to.slot, "b");
	cr_assert_arr_eq(h.last.u.handover.to.incarnation,
	    incarnation_id(kms_node_incarnation(b)), 32);
	cr_assert_arr_eq(h.last.u.handover.to.device_id, at.boot.device_id, 32);
	cr_assert_eq(h.last.u.handover.epoch, 0);
	cr_assert_eq(h.last.u.handover.block_number, w.block);
	cr_assert_arr_eq(h.last.u.handover.block_hash, blk.hash, 32);
	channel_close(p);
}

/* ---- two nodes ---- */

/* A second node, even one that may make roots, gets those on chain, and
 * releases the same keys; without the contract's permission it gets none. */
Test(service_cluster, second_node)
{
	struct channel *one, *two;
	KmsReply *r, *q;

	kms_world_say(&w, KMS, false, "Aggregated MR not allowed");
	kms_world_block(&w);
	b = kms_node_start(&w, "b", true);
	kms_node_wait(b, PHASE_JOINING);
	two = dial(b, &app);
	REFUSED(kms_ask_keys(two, -1, &why), REASON_NOT_READY);
	cr_assert_not(keyring_has(kms_node_keyring(b), 0));
	cr_assert_eq(handovers().n, 0);

	kms_world_say(&w, KMS, true, "");
	kms_world_block(&w);
	kms_node_wait(b, PHASE_READY);
	cr_assert_geq(handovers().n, 1);
	one = dial(a, &app);
	cr_assert_not_null(r = kms_ask_keys(one, -1, &why), "%s", why.detail);
	cr_assert_not_null(q = kms_ask_keys(two, -1, &why), "%s", why.detail);
	cr_assert_arr_eq(
	    r->app_keys->k256_key.data, q->app_keys->k256_key.data, 32);
	cr_assert_arr_eq(r->app_keys->disk_crypt_key.data,
	    q->app_keys->disk_crypt_key.data, 32);
	cr_assert_arr_eq(
	    q->app_keys->epochs[0]->k256_pub.data, genesis.pub.k256.b, 33);
	msg_reply_free(r);
	msg_reply_free(q);
	channel_close(one);
	channel_close(two);
}

/* LEARNING: admitted, and nobody gives it the keys: it serves nobody, and
 * tells who it is all the same. */
Test(service_cluster, without_keys)
{
	struct channel *ch;
	KmsReply *r;

	start_b();
	keyring_clear(kms_node_keyring(b));
	kms_node_wait(b, PHASE_LEARNING);
	ch = dial(b, &app);
	REFUSED(kms_ask_keys(ch, -1, &why), REASON_NOT_READY);
	REFUSED(kms_ask_counter(ch, "n", &why), REASON_NOT_READY);
	cr_assert_not_null(r = kms_ask_meta(ch, &why));
	cr_assert_eq(r->meta->n_epochs, 1);
	cr_assert_arr_eq(
	    r->meta->epochs[0]->k256_pub.data, genesis.pub.k256.b, 33);
	cr_assert_eq(r->meta->epochs[0]->ca_cert.len, 0);
	msg_reply_free(r);
	channel_close(ch);
}

/* ---- freshness ---- */

/* Cut off from the others a node is READY still, and releases nothing: the
 * cluster may have gone on without it. */
static void
cut_off(struct kms_node *n, struct kms_node **other)
{
	struct channel *ch = dial(n, &app), *p = dial(n, &peer);
	KmsReply *r;

	cr_assert_not_null(r = kms_ask_keys(ch, -1, &why), "%s", why.detail);
	msg_reply_free(r);
	cr_assert_not_null(r = kms_ask_increment(ch, "n", 0, 1, &why));
	msg_reply_free(r);
	stop(other);
	refused_in_the_end(ch, REASON_NO_LEADER);
	REFUSED(kms_ask_cert(ch, 0x42, false, &why), REASON_NO_LEADER);
	REFUSED(kms_ask_counter(ch, "n", &why), REASON_NO_LEADER);
	cr_assert_null(kms_ask_increment(ch, "n", 1, 2, &why));
	cr_assert(
	    why.code == REASON_NO_LEADER || why.code == REASON_UNKNOWN_OUTCOME);
	REFUSED(kms_ask_join(p, "a", kms_node_incarnation(n), &why),
	    n == a ? why.code : REASON_NOT_MEMBER);
	cr_assert_eq(kms_node_phase(n), PHASE_READY);
	channel_close(ch);
	channel_close(p);
}

Test(service_cluster, leader_cut_off)
{
	struct channel *ch;

	start_b();
	cut_off(a, &b);
	/* The other is back, with nothing.  Of two voters one is not enough to
	 * let it in: that takes an operator's order. */
	b = kms_node_start(&w, "b", true);
	kms_node_wait(b, PHASE_JOINING);
	ch = dial(a, &app);
	for (int i = 0; i < 3; i++)
		REFUSED(kms_ask_counter(ch, "n", &why), REASON_NO_LEADER);
	channel_close(ch);
	cr_assert_eq(kms_node_phase(b), PHASE_JOINING);
	cr_assert_not(keyring_has(kms_node_keyring(b), 0));
}

Test(service_cluster, follower_cut_off)
{
	start_b();
	cut_off(b, &a);
}

/* An orderly end needs no quorum of two afterwards. */
Test(service_cluster, drained)
{
	struct channel *ch;
	KmsReply *r;

	start_b();
	/* Two of three seats are the least: it may not go below. */
	w.anchor.n_seats = 1;
	w.anchor.seat[0] = w.anchor.seat[1];
	kms_world_anchor(&w);
	kms_world_block(&w);
	/* Only b has a seat now: a makes it the leader, and is removed. */
	KMS_UNTIL(kms_node_halted(a) != HALT_NONE);
	cr_assert_eq(kms_node_halted(a), HALT_EVICTED);
	ch = dial(b, &app);
	KMS_UNTIL((r = kms_ask_keys(ch, -1, &why)) != NULL);
	msg_reply_free(r);
	channel_close(ch);
}

/* ---- the fence ---- */

/* Somebody announced another generation, and it may soon be open: silence. */
Test(service_cluster, fenced)
{
	struct channel *ch = dial(a, &app), *p = dial(a, &peer);
	KmsReply *r;

	kms_node_alone(&w, a);
	/* Far away it is only vetoed. */
	kms_world_announce(&w, 10l * KMS_FENCE_S);
	cr_assert_not_null(r = kms_ask_keys(ch, -1, &why), "%s", why.detail);
	msg_reply_free(r);
	kms_world_announce(&w, 60);
	refused_in_the_end(ch, REASON_FENCED);
	REFUSED(kms_ask_cert(ch, 0x42, false, &why), REASON_FENCED);
	REFUSED(kms_ask_counter(ch, "n", &why), REASON_FENCED);
	/* It is in the log; that it is done may not be said now. */
	REFUSED(kms_ask_increment(ch, "n", 0, 1, &why), REASON_UNKNOWN_OUTCOME);
	kms_world_veto(&w);
	KMS_UNTIL((r = kms_ask_keys(ch, -1, &why)) != NULL);
	msg_reply_free(r);
	channel_close(ch);
	channel_close(p);
}

struct asking {
	struct channel *ch;
	KmsReply *reply;
	struct refusal why;
};

static void *
ask_in_thread(void *arg)
{
	struct asking *q = arg;

	q->reply = kms_ask_keys(q->ch, -1, &q->why);
	return NULL;
}

static void
read_status(struct cluster *c, void *arg)
{
	core_status(cluster_core(c), arg);
}

static bool
is_fenced(void)
{
	struct core_status s;

	kms_node_do(a, read_status, &s);
	return s.fenced;
}

/* The keys are derived, and then the fence falls: they do not leave. */
Test(service_cluster, fenced_when_it_leaves)
{
	struct asking q = { 0 };
	struct metrics *mx = kms_node_metrics(a);
	KmsReply *r;
	pthread_t t;

	kms_node_alone(&w, a);
	/* Before there is a session, whose owner the node asks for as well. */
	mock_hold(w.chain, MOCK_ALL, APP);
	q.ch = dial(a, &app);
	cr_assert_eq(pthread_create(&t, NULL, ask_in_thread, &q), 0);
	mock_wait_held_call(w.chain, 0);
	kms_world_announce(&w, 60);
	KMS_UNTIL(is_fenced());
	mock_hold(w.chain, MOCK_ALL, 0);
	cr_assert_eq(pthread_join(t, NULL), 0);
	cr_assert_null(q.reply);
	cr_assert_eq(q.why.code, REASON_FENCED, "%s", reason_label(q.why.code));
	cr_assert_eq(mx->answered[RQ_GET_APP_KEYS], 0);
	kms_world_veto(&w);
	KMS_UNTIL((r = kms_ask_keys(q.ch, -1, &why)) != NULL);
	msg_reply_free(r);
	channel_close(q.ch);
}

/* ---- counters ---- */

static uint64_t
counter_of(struct channel *ch, const char *name)
{
	KmsReply *r = kms_ask_counter(ch, name, &why);
	uint64_t value;

	cr_assert_not_null(r, "%s: %s", reason_label(why.code), why.detail);
	cr_assert_eq(r->body_case, DEVPROOF__KMS__V1__REPLY__BODY_COUNTER);
	cr_assert_str_eq(r->counter->name, name);
	cr_assert_eq(r->counter->generation, 1);
	value = r->counter->value;
	msg_reply_free(r);
	return value;
}

static uint64_t
increment(struct channel *ch, const char *name, uint64_t expected,
    uint8_t operation, bool matched)
{
	KmsReply *r = kms_ask_increment(ch, name, expected, operation, &why);
	uint64_t value;

	cr_assert_not_null(r, "%s: %s", reason_label(why.code), why.detail);
	cr_assert_eq(r->body_case, DEVPROOF__KMS__V1__REPLY__BODY_COUNTER);
	cr_assert_str_eq(r->counter->name, name);
	cr_assert_eq(r->counter->matched, matched);
	cr_assert_gt(r->counter->index, 0);
	value = r->counter->value;
	msg_reply_free(r);
	return value;
}

Test(service_cluster, counter_refusals)
{
	struct channel *ch = dial(a, &app);
	unsigned before = mock_count_calls(w.chain, 0, APP);

	kms_node_alone(&w, a);
	kms_world_say(&w, APP, false, "Compose hash not allowed");
	kms_world_block(&w);
	REFUSED(kms_ask_counter(ch, "n", &why), REASON_CONTRACT_COMPOSE);
	REFUSED(
	    kms_ask_increment(ch, "n", 0, 1, &why), REASON_CONTRACT_COMPOSE);
	cr_assert_gt(mock_count_calls(w.chain, 0, APP), before);
	kms_world_say(&w, APP, true, "");
	kms_world_block(&w);
	cr_assert_eq(counter_of(ch, "n"), 0);
	channel_close(ch);
}

/* An app has so many counters and no more, and is told that it is this; the
 * others go on. */
Test(service_cluster, counter_limit)
{
	struct channel *ch = dial(a, &app);
	char name[16];

	kms_node_alone(&w, a);
	for (unsigned i = 0; i < LEDGER_MAX_COUNTERS_APP; i++) {
		(void)snprintf(name, sizeof name, "n%u", i);
		cr_assert_eq(increment(ch, name, 0, 1, true), 1);
	}
	REFUSED(
	    kms_ask_increment(ch, "more", 0, 1, &why), REASON_COUNTER_LIMIT);
	cr_assert_eq(counter_of(ch, "more"), 0);
	cr_assert_eq(increment(ch, "n0", 1, 2, true), 2);
	channel_close(ch);
}

/* One up, and never down: whoever expects another value changes nothing, and
 * whoever repeats its attempt does not count twice. */
Test(service_cluster, counters)
{
	struct channel *ch = dial(a, &app), *ch2;
	struct kms_caller other;

	kms_node_alone(&w, a);
	cr_assert_eq(increment(ch, "n", 7, 1, false), 0);
	cr_assert_eq(counter_of(ch, "n"), 0);
	cr_assert_eq(increment(ch, "n", 0, 1, true), 1);
	/* The answer was lost: the same attempt again. */
	cr_assert_eq(increment(ch, "n", 0, 1, true), 1);
	cr_assert_eq(counter_of(ch, "n"), 1);
	/* Another attempt with the old value. */
	cr_assert_eq(increment(ch, "n", 0, 2, false), 1);
	cr_assert_eq(increment(ch, "n", 1, 3, true), 2);
	/* The first one again, too late. */
	cr_assert_eq(increment(ch, "n", 0, 1, false), 2);
	cr_assert_eq(increment(ch, "m", 0, 4, true), 1);
	cr_assert_eq(counter_of(ch, "n"), 2);

	/* Another app's are others; another session of the app has these. */
	kms_caller_boot(&other, &w, CHANNEL_APP, 0x43);
	ch2 = dial(a, &other);
	cr_assert_eq(counter_of(ch2, "n"), 0);
	cr_assert_eq(increment(ch2, "n", 2, 5, false), 0);
	cr_assert_eq(increment(ch2, "n", 0, 1, true), 1);
	cr_assert_eq(counter_of(ch, "n"), 2);
	channel_close(ch2);
	kms_caller_close(&other);
	ch2 = dial(a, &app);
	cr_assert_eq(counter_of(ch2, "n"), 2);
	channel_close(ch2);
	channel_close(ch);
}

/* Every node tells the same, at once: what one has acknowledged, the next
 * question to another one knows. */
Test(service_cluster, counters_on_two)
{
	struct channel *one, *two;

	start_b();
	one = dial(a, &app);
	two = dial(b, &app);
	for (uint64_t i = 0; i < 20; i++) {
		struct channel *w1 = i % 2 == 0 ? one : two;
		struct channel *w2 = i % 2 == 0 ? two : one;

		cr_assert_eq(
		    increment(w1, "n", i, (uint8_t)(i + 1), true), i + 1);
		cr_assert_eq(counter_of(w2, "n"), i + 1);
		/* The attempt is known everywhere. */
		cr_assert_eq(
		    increment(w2, "n", i, (uint8_t)(i + 1), true), i + 1);
	}
	channel_close(one);
	channel_close(two);
}

/* ---- what operators see ---- */

static void
read_page(struct cluster *c, void *arg)
{
	*(json_t **)arg = clusterpage_json(c);
}

static const char *
text_of(const json_t *o, const char *member)
{
	const char *s = json_string_value(json_object_get(o, member));

	cr_assert_not_null(s, "%s", member);
	return s;
}

Test(service_cluster, page)
{
	json_t *o, *nodes, *row;
	size_t i;

	start_b();
	kms_node_do(a, read_page, &o);
	cr_assert_str_eq(text_of(o, "phase"), "member");
	cr_assert_str_eq(text_of(o, "leader"), "a");
	cr_assert_eq(json_integer_value(json_object_get(o, "generation")), 1);
	cr_assert_eq(json_integer_value(json_object_get(o, "voters")), 2);
	cr_assert_eq(json_integer_value(json_object_get(o, "seats")), 3);
	cr_assert(json_is_true(json_object_get(o, "fresh")));
	cr_assert(json_is_false(json_object_get(o, "fenced")));
	cr_assert(json_is_null(json_object_get(o, "waiting")));
	nodes = json_object_get(o, "nodes");
	cr_assert_eq(json_array_size(nodes), 3);
	json_array_foreach(nodes, i, row)
	{
		const char *slot = text_of(row, "slot");

		cr_assert_str_eq(text_of(row, "role"),
		    strcmp(slot, "a") == 0       ? "leader"
			: strcmp(slot, "b") == 0 ? "voter"
						 : "absent");
	}
	json_decref(o);
}

static void
update_page(struct cluster *c, void *arg)
{
	genesispage_update(arg, c);
}

/* The page of a beginning: two quotes, until the chain knows it. */
Test(service_cluster, genesis_page)
{
	const uint8_t *id;
	struct genesispage p = { 0 };
	struct buf text = { 0 };
	json_t *v = NULL;

	stop(&a);
	w.anchor.at = (struct anchor_point){ 0 };
	memset(w.anchor.opener, 0, sizeof w.anchor.opener);
	kms_world_anchor(&w);
	kms_world_root(&w, NULL);
	kms_world_block(&w);
	a = kms_node_start(&w, "a", true);
	id = incarnation_id(kms_node_incarnation(a));
	kms_node_do(a, update_page, &p);
	cr_assert_not(genesispage_ready(&p));
	cr_assert_eq(genesispage_render(&text, &p, id), ERR_OK);
	cr_assert_eq(text.len, 0);

	genesis = kms_node_genesis(a);
	kms_node_do(a, update_page, &p);
	cr_assert(p.has);
	cr_assert_not(genesispage_ready(&p));
	cr_assert_eq(genesispage_render(&text, &p, id), ERR_OK);
	cr_assert_eq(text.len, 0);
	genesispage_quote(&p, kms_node_config(a), kms_node_self(a), id);
	cr_assert(genesispage_ready(&p));
	cr_assert_eq(genesispage_render(&text, &p, id), ERR_OK);
	cr_assert_eq(
	    json_parse(&v, text.p, text.len, 1u << 20, NULL, 0), ERR_OK);
	cr_assert_eq(json_integer_value(json_object_get(
			 json_object_get(v, "anchor"), "index")),
	    (json_int_t)genesis.anchor.index);
	json_decref(v);
	buf_fini(&text);

	kms_world_open(&w, &genesis, id);
	kms_node_wait(a, PHASE_READY);
	kms_node_do(a, update_page, &p);
	cr_assert_not(genesispage_ready(&p));
	cr_assert_eq(genesispage_render(&text, &p, id), ERR_OK);
	cr_assert_eq(text.len, 0);
	genesispage_fini(&p);
}
