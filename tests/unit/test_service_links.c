/* The rows of the request table that are for links: who may, when, and what
 * is asked of the chain before. */
#include <time.h>

#include <criterion/criterion.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/secret.h"
#include "common/eth/appauth.h"
#include "tests/lib/link_node.h"

#define KMS APPAUTH_IS_KMS_ALLOWED

static struct kms_world w;
static struct kms_node *node;
static struct kms_caller app, peer;
static struct incarnation *me;

static void
setup(void)
{
	cr_assert_eq(secret_process_init(), ERR_OK);
	log_set_level(LOG_ERROR);
	kms_world_init(&w);
	node = kms_node_start(&w, "a", false);
	kms_caller_boot(&app, &w, CHANNEL_APP, 0x42);
	kms_caller_boot(&peer, &w, CHANNEL_KMS_PEER, 0x77);
	cr_assert_eq(incarnation_new(&me), ERR_OK);
}

static void
teardown(void)
{
	kms_caller_close(&app);
	kms_caller_close(&peer);
	incarnation_free(me);
	kms_node_stop(node);
	kms_world_fini(&w);
}

TestSuite(service_links, .init = setup, .fini = teardown, .timeout = 240);

static struct channel *
dial(struct kms_node *n, struct kms_caller *c)
{
	struct channel *ch = NULL;
	struct refusal why = { 0 };

	cr_assert_eq(channel_dial(&ch, &c->cx, c->role, kms_node_url(n),
			 KMS_WAIT_MS, &why),
	    ERR_OK, "%s: %s", reason_label(why.code), why.detail);
	return ch;
}

/* Apps have no links, whatever the phase and whatever they sign. */
Test(service_links, wrong_role)
{
	struct channel *ch = dial(node, &app);

	cr_assert_eq(link_hello(ch, me, "p"), REASON_WRONG_ROLE);
	cr_assert_eq(link_item(ch, 0, 0, 1, 8), REASON_WRONG_ROLE);
	channel_close(ch);
	cr_assert_eq(kms_node_links(node).sessions, 0);
}

/* The contract is asked at the Hello, by a node that is not ready yet; the
 * batches that follow ask nobody. */
Test(service_links, allowed_once)
{
	struct metrics *mx = kms_node_metrics(node);
	struct channel *ch = dial(node, &peer);
	unsigned calls;

	cr_assert_eq(link_item(ch, 0, 0, 1, 8), REASON_REQUEST);
	kms_world_say(&w, KMS, false, "Aggregated MR not allowed");
	kms_world_block(&w);
	cr_assert_eq(link_hello(ch, me, "p"), REASON_SELF_DENIED);
	cr_assert_eq(link_item(ch, 0, 0, 1, 8), REASON_REQUEST);
	cr_assert_eq(kms_node_links(node).sessions, 0);
	kms_world_say(&w, KMS, true, "");
	kms_world_block(&w);
	calls = mock_count(w.chain, 0, "eth_call");
	cr_assert_eq(link_hello(ch, me, "p"), REASON_NONE);
	cr_assert_gt(mock_count(w.chain, 0, "eth_call"), calls);
	cr_assert_eq(kms_node_links(node).sessions, 1);
	kms_world_block(&w);
	calls = mock_count_calls(w.chain, 0, KMS);
	for (uint64_t i = 0; i < 100; i++)
		cr_assert_eq(link_item(ch, i, 0, 1, 8), REASON_NONE);
	cr_assert_leq(mock_count_calls(w.chain, 0, KMS), calls + 1);
	cr_assert_eq(link_hello(ch, me, "p"), REASON_REQUEST);
	cr_assert_eq(kms_node_links(node).received, 100);
	cr_assert_eq(mx->requests[RQ_PEER_BATCH], 102);
	cr_assert_eq(mx->answered[RQ_PEER_BATCH], 100);
	cr_assert_eq(mx->requests[RQ_PEER_HELLO], 3);
	cr_assert_eq(mx->answered[RQ_PEER_HELLO], 1);
	channel_close(ch);
	LINK_UNTIL(kms_node_links(node).sessions == 0);
}

static void *
hello_and_give_up(void *arg)
{
	struct channel *ch = arg;

	/* The node waits for the chain, and we do not. */
	(void)link_hello(ch, me, "p");
	return NULL;
}

/* A peer that goes away while the chain is asked leaves no session. */
Test(service_links, gone_meanwhile)
{
	const struct timespec soon = { .tv_nsec = 50 * 1000 * 1000 };
	struct metrics *mx = kms_node_metrics(node);
	struct channel_context cx = peer.cx;
	struct channel *ch;
	pthread_t t;

	cr_assert_eq(channel_abort_new(&peer.cx.abort), ERR_OK);
	ch = dial(node, &peer);
	mock_mode(w.chain, MOCK_ALL, MOCK_HELD);
	kms_world_block(&w);
	cr_assert_eq(pthread_create(&t, NULL, hello_and_give_up, ch), 0);
	mock_wait_held(w.chain, 0);
	channel_abort_fire(peer.cx.abort);
	cr_assert_eq(pthread_join(t, NULL), 0);
	channel_close(ch);
	channel_abort_free(peer.cx.abort);
	peer.cx = cx;
	/* Time for the node to see the end; too little would test less. */
	(void)nanosleep(&soon, NULL);
	mock_mode(w.chain, MOCK_ALL, MOCK_FINE);
	LINK_UNTIL(mx->answered[RQ_PEER_HELLO] == 1);
	LINK_UNTIL(kms_node_links(node).sessions == 0);
	ch = dial(node, &peer);
	cr_assert_eq(link_hello(ch, me, "p"), REASON_NONE);
	cr_assert_eq(kms_node_links(node).sessions, 1);
	channel_close(ch);
}
