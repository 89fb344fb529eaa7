#include <string.h>

#include <criterion/criterion.h>

#include "common/base/log.h"
#include "common/base/secret.h"
#include "common/crypto/dstack.h"

#include "node/agent/kms_client.h"
#include "tests/lib/fake_kms.h"

/* A KMS whose app is pinned to epoch 1. */
static struct fake_kms kms;
static struct fake_epoch *now; /* the one that it releases */

static void
setup(void)
{
	cr_assert_eq(secret_process_init(), ERR_OK);
	log_set_level(LOG_ERROR);
	fake_kms_init(&kms);
	fake_kms_release(&kms, 1, 1);
	now = &kms.epoch[1];
}

static void
teardown(void)
{
	fake_kms_fini(&kms);
}

/* ---- the client over several nodes ---- */

/* What a node does when it is called. */
enum doing {
	GOOD,
	DOWN,
	SILENT,
	GARBAGE,
	REFUSES,
	NOT_READY,
	WRONG_ROOT,
	WRONG_ID,
	NO_EVIDENCE, /* its evidence will not do, or ours for it */
	CLOSED, /* refuses the epoch, by number */
	/* Of counters; to all else these are GOOD. */
	LOST, /* does it, and the answer is lost */
	UNKNOWN, /* does it, and cannot know */
	NO_LEADER,
	OTHER_NAME,
	LIAR /* says yes to everything */
};

static struct {
	enum doing node[4];
	unsigned opened[4], called[4], closed;
	uint64_t now_ms;
	unsigned pauses;
	unsigned recover_after; /* pauses until all nodes are GOOD; 0: never */
	bool stop;
	char trace[64]; /* one letter per open */
	/* The counter of the cluster behind them, as in kms/state. */
	uint64_t value;
	uint8_t op[16], seen[8][16];
	unsigned n_seen, asked_keys;
	/* Somebody else increments it right after a lost answer. */
	bool rival;
} net;

static size_t conns[4] = { 0, 1, 2, 3 };

static enum err
net_open(void *cookie, void **conn, const char *url, unsigned timeout_ms,
    struct refusal *why)
{
	size_t i = (size_t)(url[0] - 'a');

	(void)cookie;
	cr_assert_gt(timeout_ms, 0);
	cr_assert_leq(timeout_ms, 1000);
	net.opened[i]++;
	if (strlen(net.trace) < sizeof net.trace - 1)
		net.trace[strlen(net.trace)] = url[0];
	if (net.node[i] == DOWN) {
		return ERR_IO;
	}
	if (net.node[i] == NO_EVIDENCE)
		return refuse(why, REASON_COLLATERAL_MISSING, "for now");
	*conn = &conns[i];
	return ERR_OK;
}

/* The ledger's rule (kms/state/ledger_counter.c). */
static bool
increment(const Devproof__Kms__V1__CounterIncrement *q)
{
	memcpy(net.seen[net.n_seen++ % 8], q->operation.data, 16);
	if (net.value == q->expected + 1 &&
	    memcmp(net.op, q->operation.data, 16) == 0)
		return true;
	if (net.value != q->expected)
		return false;
	memcpy(net.op, q->operation.data, 16);
	net.value++;
	return true;
}

static enum err
counter_call(enum doing doing, struct buf *reply, const KmsRequest *rq)
{
	bool get =
	    rq->body_case == DEVPROOF__KMS__V1__REQUEST__BODY_COUNTER_GET;
	Devproof__Kms__V1__Counter m;
	KmsReply r = DEVPROOF__KMS__V1__REPLY__INIT;

	if (doing == NO_LEADER)
		return msg_error_pack(reply, rq->id, REASON_NO_LEADER, NULL);
	devproof__kms__v1__counter__init(&m);
	m.name = get ? rq->counter_get->name : rq->counter_increment->name;
	m.matched = get ? false : increment(rq->counter_increment);
	m.value = net.value;
	m.generation = 2;
	m.index = 77;
	if ((doing == LOST || doing == UNKNOWN) && net.rival) {
		memset(net.op, 0xee, 16);
		net.value++;
		net.rival = false;
	}
	if (doing == LOST)
		return ERR_TIMEOUT;
	if (doing == UNKNOWN)
		return msg_error_pack(
		    reply, rq->id, REASON_UNKNOWN_OUTCOME, NULL);
	if (doing == OTHER_NAME)
		m.name = "other";
	if (doing == LIAR)
		m.matched = !m.matched;
	r.id = rq->id;
	r.body_case = DEVPROOF__KMS__V1__REPLY__BODY_COUNTER;
	r.counter = &m;
	return msg_reply_pack(reply, &r);
}

static bool
about_counters(const KmsRequest *rq)
{
	return rq->body_case == DEVPROOF__KMS__V1__REQUEST__BODY_COUNTER_GET ||
	    rq->body_case == DEVPROOF__KMS__V1__REQUEST__BODY_COUNTER_INCREMENT;
}

static enum err
net_call(void *cookie, void *conn, struct buf *reply, struct bytes request,
    unsigned timeout_ms, struct refusal *why)
{
	size_t i = *(size_t *)conn;
	KmsReply r = DEVPROOF__KMS__V1__REPLY__INIT;
	KmsRequest *rq;
	bool by_number;
	enum err e;

	(void)cookie;
	(void)timeout_ms;
	(void)why;
	net.called[i]++;
	cr_assert_eq(msg_request_parse(&rq, request), ERR_OK);
	r.id = rq->id;
	if (about_counters(rq) &&
	    (net.node[i] == GOOD || net.node[i] >= CLOSED)) {
		e = counter_call(net.node[i], reply, rq);
		msg_request_free(rq);
		return e;
	}
	net.asked_keys += !about_counters(rq);
	by_number =
	    rq->body_case == DEVPROOF__KMS__V1__REQUEST__BODY_GET_APP_KEYS &&
	    rq->get_app_keys->choice_case ==
		DEVPROOF__KMS__V1__GET_APP_KEYS__CHOICE_EPOCH;
	msg_request_free(rq);
	r.body_case = DEVPROOF__KMS__V1__REPLY__BODY_APP_KEYS;
	r.app_keys = &kms.keys;
	switch (net.node[i]) {
	case SILENT:
		return ERR_TIMEOUT;
	case GARBAGE:
		return buf_set(reply, "\xff\xff", 2);
	case REFUSES:
		return msg_error_pack(
		    reply, r.id, REASON_CONTRACT_COMPOSE, NULL);
	case NOT_READY:
		return msg_error_pack(reply, r.id, REASON_NOT_READY, NULL);
	case WRONG_ROOT:
		now->app_sig.b[5] ^= 1;
		e = msg_reply_pack(reply, &r);
		now->app_sig.b[5] ^= 1;
		return e;
	case WRONG_ID:
		r.id++;
		return msg_reply_pack(reply, &r);
	case CLOSED:
		if (by_number)
			return msg_error_pack(
			    reply, r.id, REASON_EPOCH_CLOSED, "gone");
		break;
	case GOOD:
	case DOWN:
	case NO_EVIDENCE:
	case LOST:
	case UNKNOWN:
	case NO_LEADER:
	case OTHER_NAME:
	case LIAR:
		break;
	}
	return msg_reply_pack(reply, &r);
}

static void
net_close(void *cookie, void *conn)
{
	(void)cookie;
	(void)conn;
	net.closed++;
}

static uint64_t
net_now(void *cookie)
{
	(void)cookie;
	return net.now_ms;
}

static bool
net_pause(void *cookie, unsigned ms)
{
	(void)cookie;
	net.now_ms += ms;
	if (++net.pauses == net.recover_after)
		memset(net.node, 0, sizeof net.node);
	return !net.stop;
}

static struct kms_client *
new_client(void)
{
	struct kms_client_options o = {
		.transport = { NULL, net_open, net_call, net_close, net_now,
		    net_pause },
		.url = { "a", "b", "c" },
		.n_urls = 3,
		.attempt_timeout_ms = 1000,
		.terms = kms.terms,
	};
	struct kms_client *c;

	memset(&net, 0, sizeof net);
	cr_assert_eq(kms_client_new(&c, &o), ERR_OK);
	return c;
}

static enum err
get(struct kms_client *c, uint64_t total_ms, bool past_refusals,
    struct refusal *why)
{
	const struct kms_patience p = { .total_ms = total_ms,
		.past_refusals = past_refusals };
	struct app_release r = { .epoch = 0 };
	enum err e;

	why->code = REASON_NONE;
	e = kms_client_app_keys(c, &r, NULL, &p, why);
	cr_assert_eq(r.epoch, e == ERR_OK ? 1 : 0);
	release_wipe(&r);
	return e;
}

TestSuite(agent_kms, .init = setup, .fini = teardown);

/* Whatever is wrong with the first nodes, the next ones are asked. */
Test(agent_kms, failover)
{
	static const enum doing faults[] = { DOWN, SILENT, GARBAGE, REFUSES,
		NOT_READY, WRONG_ROOT, WRONG_ID };
	struct refusal why;

	for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
		struct kms_client *c = new_client();

		net.node[0] = faults[i];
		net.node[1] = faults[(i + 1) % 7];
		cr_assert_eq(get(c, 10000, false, &why), ERR_OK);
		cr_assert_str_eq(net.trace, "abc");
		cr_assert_eq(net.pauses, 0);
		kms_client_node(c, 0, &why);
		cr_assert_neq(why.code, REASON_NONE);
		kms_client_node(c, 2, &why);
		cr_assert_eq(why.code, REASON_NONE);
		kms_client_free(c);
	}
}

/* What every node said is in the summary, not just the first error. */
Test(agent_kms, every_error_is_told)
{
	struct kms_client *c = new_client();
	struct refusal why;

	net.node[0] = DOWN;
	net.node[1] = REFUSES;
	net.node[2] = WRONG_ROOT;
	cr_assert_eq(get(c, 100, false, &why), ERR_TIMEOUT);
	cr_assert_not_null(strstr(why.detail, "a: "));
	cr_assert_not_null(strstr(why.detail, "b: Compose hash not allowed"));
	cr_assert_not_null(strstr(why.detail, "c: "), "%s", why.detail);
	kms_client_free(c);
}

/* When all refuse, an app is told at once; a booting CVM keeps asking. */
Test(agent_kms, all_refuse)
{
	struct kms_client *c = new_client();
	struct refusal why;

	net.node[0] = net.node[1] = net.node[2] = REFUSES;
	cr_assert_eq(get(c, 60000, false, &why), ERR_DENIED);
	cr_assert_eq(net.pauses, 0);
	cr_assert_eq(why.code, REASON_CONTRACT_COMPOSE);
	cr_assert_eq(get(c, 60000, true, &why), ERR_DENIED);
	cr_assert_gt(net.pauses, 3);
	cr_assert_leq(net.now_ms, 60000);
	net.recover_after = net.pauses + 2;
	cr_assert_eq(get(c, 0, true, &why), ERR_OK);
	kms_client_free(c);
}

/* Nodes that are down are asked again, ever more slowly, until the end. */
Test(agent_kms, deadline)
{
	struct kms_client *c = new_client();
	struct refusal why;

	net.node[0] = net.node[1] = net.node[2] = DOWN;
	cr_assert_eq(get(c, 100000, false, &why), ERR_TIMEOUT);
	cr_assert_leq(net.now_ms, 100000);
	cr_assert_lt(net.pauses, 15);
	cr_assert_gt(net.pauses, 5);
	net.stop = true;
	cr_assert_eq(get(c, 0, true, &why), ERR_AGAIN);
	kms_client_free(c);
}

/* A connection is kept; when it dies, the nodes are tried in order again. */
Test(agent_kms, connection_is_kept)
{
	struct kms_client *c = new_client();
	struct refusal why;

	net.node[0] = DOWN;
	cr_assert_eq(get(c, 0, false, &why), ERR_OK);
	cr_assert_eq(get(c, 0, false, &why), ERR_OK);
	cr_assert_str_eq(net.trace, "ab");
	cr_assert_eq(net.called[1], 2);
	net.node[1] = SILENT;
	net.node[0] = GOOD;
	cr_assert_eq(get(c, 0, false, &why), ERR_OK);
	cr_assert_str_eq(net.trace, "aba");
	kms_client_free(c);
	cr_assert_eq(net.closed, 2);
}

static enum err
renew(struct kms_client *c, uint64_t *epoch, struct refusal *why)
{
	const struct kms_patience p = { .total_ms = 5000, .renew = true };
	struct app_release r = { .epoch = 99 };
	enum err e;

	why->code = REASON_NONE;
	net.pauses = 0;
	e = kms_client_app_keys(c, &r, NULL, &p, why);
	cr_assert_eq(net.pauses, 0);
	*epoch = r.epoch;
	release_wipe(&r);
	return e;
}

/* Who renews asks each node once.  A refusal is what every node answered:
 * one that could not be asked has said nothing. */
Test(agent_kms, renew)
{
	struct kms_client *c = new_client();
	struct refusal why;
	uint64_t epoch;

	cr_assert_eq(renew(c, &epoch, &why), ERR_OK);
	cr_assert_eq(epoch, 1);
	/* The pin moves, and the same session brings the new keys. */
	fake_kms_release(&kms, 2, 2);
	now = &kms.epoch[2];
	cr_assert_eq(renew(c, &epoch, &why), ERR_OK);
	cr_assert_eq(epoch, 2);
	cr_assert_str_eq(net.trace, "a");
	net.node[0] = net.node[1] = net.node[2] = REFUSES;
	cr_assert_eq(renew(c, &epoch, &why), ERR_DENIED);
	cr_assert_eq(why.code, REASON_CONTRACT_COMPOSE);
	cr_assert_eq(epoch, 99);
	net.node[1] = NO_EVIDENCE;
	cr_assert_eq(renew(c, &epoch, &why), ERR_TIMEOUT);
	net.node[0] = net.node[2] = NO_EVIDENCE;
	cr_assert_eq(renew(c, &epoch, &why), ERR_TIMEOUT);
	net.node[0] = net.node[1] = net.node[2] = DOWN;
	cr_assert_eq(renew(c, &epoch, &why), ERR_TIMEOUT);
	net.node[2] = NOT_READY;
	cr_assert_eq(renew(c, &epoch, &why), ERR_TIMEOUT);
	net.node[0] = net.node[1] = REFUSES;
	cr_assert_eq(renew(c, &epoch, &why), ERR_TIMEOUT);
	net.node[2] = WRONG_ROOT;
	cr_assert_eq(renew(c, &epoch, &why), ERR_DENIED);
	net.node[2] = GOOD;
	cr_assert_eq(renew(c, &epoch, &why), ERR_OK);
	kms_client_free(c);
}

/* Another root for an epoch that was released, or another genesis, is another
 * KMS; it does not matter what certifies it. */
Test(agent_kms, roots_are_kept)
{
	struct kms_client *c = new_client();
	struct fake_kms other;
	struct refusal why;
	uint64_t epoch;

	fake_kms_init(&other);
	cr_assert_eq(renew(c, &epoch, &why), ERR_OK);
	fake_kms_release(&kms, 2, 2);
	cr_assert_eq(renew(c, &epoch, &why), ERR_OK);
	/* A second root for epoch 1, from who stole that of epoch 0. */
	kms.epoch[1].root = other.epoch[1].root;
	kms.epoch[1].root_pub = other.epoch[1].root_pub;
	fake_kms_certify(&kms, 1, EPOCHCERT_ROUTINE, &kms.epoch[0].root);
	cr_assert_eq(dstack_sign_app(&kms.epoch[1].app_sig, &kms.epoch[1].root,
			 kms.app_id, &kms.epoch[1].app_pub),
	    ERR_OK);
	fake_kms_release(&kms, 1, 1);
	cr_assert_eq(renew(c, &epoch, &why), ERR_DENIED);
	cr_assert_eq(why.code, REASON_ROOT_MISMATCH);
	cr_assert_not_null(strstr(why.detail, "epoch 1 had another root"));
	/* All of another KMS, at an epoch that was not released before. */
	kms.keys = other.keys;
	fake_kms_release(&other, 3, 3);
	kms.keys = other.keys;
	cr_assert_eq(renew(c, &epoch, &why), ERR_DENIED);
	cr_assert_not_null(strstr(why.detail, "epoch 0 had another root"));
	fake_kms_fini(&other);
	kms_client_free(c);
}

/* ---- counters ---- */

static const uint8_t op1[16] = { 1 }, op2[16] = { 2 };

static enum err
inc(struct kms_client *c, struct kms_counter *out, uint64_t expected,
    const uint8_t *op, struct refusal *why)
{
	const struct kms_patience p = { .total_ms = 60000 };

	why->code = REASON_NONE;
	return kms_client_counter_increment(
	    c, out, "seal", expected, op, &p, why);
}

static enum err
look(struct kms_client *c, struct kms_counter *out, struct refusal *why)
{
	const struct kms_patience p = { .total_ms = 60000 };

	why->code = REASON_NONE;
	return kms_client_counter_get(c, out, "seal", &p, why);
}

/* An attested VM that cannot release this app's key is not asked about
 * counters: it could tell any value. */
Test(agent_kms, counter_of_impostor)
{
	struct kms_client *c = new_client();
	struct kms_counter n = { 0 };
	struct refusal why;

	net.node[0] = net.node[1] = net.node[2] = WRONG_ROOT;
	net.value = 5;
	cr_assert_neq(look(c, &n, &why), ERR_OK);
	cr_assert_eq(why.code, REASON_ROOT_MISMATCH);
	cr_assert_neq(inc(c, &n, 5, op1, &why), ERR_OK);
	cr_assert_eq(net.value, 5);
	/* Nor after the true KMS was seen, once the connection is another. */
	memset(net.node, 0, sizeof net.node);
	cr_assert_eq(look(c, &n, &why), ERR_OK);
	cr_assert_eq(n.value, 5);
	net.node[0] = SILENT;
	net.node[1] = net.node[2] = WRONG_ROOT;
	cr_assert_neq(look(c, &n, &why), ERR_OK);
	kms_client_free(c);
}

/* Of the first release on, its root is the only one: another attested VM
 * with roots of its own is not the KMS. */
Test(agent_kms, root_is_kept)
{
	struct kms_client *c = new_client();
	struct kms_counter n = { 0 };
	struct k256_secret other;
	struct k256_pub pub;
	struct refusal why;

	cr_assert_eq(get(c, 1000, false, &why), ERR_OK);
	k256_generate(&other);
	cr_assert_eq(k256_pubkey(&pub, &other), ERR_OK);
	now->root_pub = pub;
	fake_kms_certify(&kms, 1, EPOCHCERT_ROUTINE, &kms.epoch[0].root);
	cr_assert_eq(
	    dstack_sign_app(&now->app_sig, &other, kms.app_id, &now->app_pub),
	    ERR_OK);
	cr_assert_eq(get(c, 1000, false, &why), ERR_DENIED);
	cr_assert_eq(why.code, REASON_ROOT_MISMATCH);
	cr_assert_neq(look(c, &n, &why), ERR_OK);
	kms_client_free(c);
}

/* A connection is bound once, and again when it is another one. */
Test(agent_kms, counter_binds)
{
	struct kms_client *c = new_client();
	struct kms_counter n = { 0 };
	struct refusal why;

	cr_assert_eq(look(c, &n, &why), ERR_OK);
	cr_assert_eq(net.asked_keys, 1);
	cr_assert_eq(inc(c, &n, 0, op1, &why), ERR_OK);
	cr_assert_eq(net.asked_keys, 1);
	net.node[0] = DOWN;
	kms_client_free(c);
	c = new_client();
	cr_assert_eq(get(c, 1000, false, &why), ERR_OK);
	cr_assert_eq(look(c, &n, &why), ERR_OK);
	cr_assert_eq(net.asked_keys, 1);
	net.node[0] = NOT_READY;
	cr_assert_eq(look(c, &n, &why), ERR_OK);
	cr_assert_eq(net.asked_keys, 3);
	cr_assert_str_eq(net.trace, "aab");
	kms_client_free(c);
}

/* When the epoch that bound the last connection is destroyed, the app's own
 * binds the next one. */
Test(agent_kms, counter_binds_anew)
{
	struct kms_client *c = new_client();
	struct kms_counter n = { 0 };
	struct refusal why;

	cr_assert_eq(look(c, &n, &why), ERR_OK);
	net.node[0] = SILENT;
	net.node[1] = CLOSED;
	fake_kms_release(&kms, 2, 2);
	net.value = 3;
	net.asked_keys = 0;
	cr_assert_eq(look(c, &n, &why), ERR_OK);
	cr_assert_eq(n.value, 3);
	/* Of a, which is silent; of b by number, and by default. */
	cr_assert_eq(net.asked_keys, 3);
	kms_client_free(c);
}

/* T24: however answers get lost, the operation is repeated, not renewed, and
 * one call has one effect. */
Test(agent_kms, counter_one_effect)
{
	static const enum doing faults[] = { LOST, UNKNOWN, NO_LEADER, DOWN,
		SILENT, GARBAGE, NOT_READY, REFUSES, OTHER_NAME };
	struct kms_counter n;
	struct refusal why;

	for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++)
		for (size_t j = 0; j < sizeof faults / sizeof faults[0]; j++) {
			struct kms_client *c = new_client();

			net.value = 5;
			net.node[0] = faults[i];
			net.node[1] = faults[j];
			n = (struct kms_counter){ 0 };
			cr_assert_eq(inc(c, &n, 5, op1, &why), ERR_OK);
			cr_assert(n.matched);
			cr_assert_eq(n.value, 6);
			cr_assert_eq(n.generation, 2);
			cr_assert_eq(net.value, 6);
			for (unsigned k = 0; k < net.n_seen; k++)
				cr_assert_eq(memcmp(net.seen[k], op1, 16), 0);
			kms_client_free(c);
		}
}

/* Nodes without a leader are asked again: elections pass. */
Test(agent_kms, counter_waits_for_leader)
{
	struct kms_client *c = new_client();
	struct kms_counter n = { 0 };
	struct refusal why;

	net.node[0] = net.node[1] = net.node[2] = NO_LEADER;
	cr_assert_eq(inc(c, &n, 0, op1, &why), ERR_TIMEOUT);
	cr_assert_eq(why.code, REASON_NO_LEADER);
	cr_assert_eq(n.value, 0, "output touched");
	net.pauses = 0;
	net.recover_after = 2;
	cr_assert_eq(inc(c, &n, 0, op1, &why), ERR_OK);
	cr_assert_eq(n.value, 1);
	kms_client_free(c);
}

/* A mismatch is an answer.  After a lost one it says that it may be ours. */
Test(agent_kms, counter_mismatch)
{
	struct kms_client *c = new_client();
	struct kms_counter n = { 0 };
	struct refusal why;

	net.value = 7;
	cr_assert_eq(inc(c, &n, 5, op1, &why), ERR_OK);
	cr_assert(!n.matched);
	cr_assert(!n.uncertain);
	cr_assert_eq(n.value, 7);
	/* Ours is done, then a rival's, before we hear of it. */
	net.node[0] = LOST;
	net.rival = true;
	cr_assert_eq(inc(c, &n, 7, op2, &why), ERR_OK);
	cr_assert(!n.matched);
	cr_assert(n.uncertain);
	cr_assert_eq(n.value, 9);
	kms_client_free(c);
}

/* An answer that contradicts itself is none. */
Test(agent_kms, counter_liar)
{
	struct kms_client *c = new_client();
	struct kms_counter n = { 0 };
	struct refusal why;

	net.value = 7;
	net.node[0] = net.node[1] = net.node[2] = LIAR;
	/* It says "yes, 7" where 5 was expected. */
	cr_assert_neq(inc(c, &n, 5, op1, &why), ERR_OK);
	cr_assert_eq(n.value, 0, "output touched");
	kms_client_free(c);
}

/* ---- pins ---- */

/* With no list any node will do, with one only those on it. */
Test(agent_kms, pinned_nodes)
{
	struct agent_config c = { .n_kms_mrs = 0 };
	uint8_t mr[32] = { 7 };

	cr_assert(config_kms_pinned(&c, mr));
	c.n_kms_mrs = 2;
	cr_assert(!config_kms_pinned(&c, mr));
	memcpy(c.kms_mr[1], mr, 32);
	cr_assert(config_kms_pinned(&c, mr));
	mr[31] = 1;
	cr_assert(!config_kms_pinned(&c, mr));
}
