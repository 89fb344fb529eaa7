/* Sessions of those that the contracts do not allow any more end at the next
 * final block; all others stay, also when the chain cannot be read. */
#include <string.h>
#include <time.h>

#include <criterion/criterion.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/secret.h"
#include "common/eth/appauth.h"
#include "tests/lib/kms_ask.h"
#include "tests/lib/kms_node.h"

#define APP APPAUTH_IS_APP_ALLOWED
#define KMS APPAUTH_IS_KMS_ALLOWED

static struct kms_world w;
static struct kms_node *node;
static struct kms_caller app, peer;
static struct refusal why;

static void
setup(void)
{
	struct cluster_genesis g;

	cr_assert_eq(secret_process_init(), ERR_OK);
	log_set_level(LOG_ERROR);
	kms_world_init(&w);
	node = kms_node_start(&w, "a", true);
	kms_caller_boot(&app, &w, CHANNEL_APP, 0x42);
	kms_caller_boot(&peer, &w, CHANNEL_KMS_PEER, 0x77);
	g = kms_node_genesis(node);
	kms_world_open(&w, &g, incarnation_id(kms_node_incarnation(node)));
	kms_node_wait(node, PHASE_READY);
	kms_node_alone(&w, node);
}

static void
teardown(void)
{
	kms_caller_close(&app);
	kms_caller_close(&peer);
	kms_node_stop(node);
	kms_world_fini(&w);
}

TestSuite(recheck, .init = setup, .fini = teardown, .timeout = 240);

static struct channel *
dial(struct kms_caller *c)
{
	struct channel *ch = NULL;

	cr_assert_eq(channel_dial(&ch, &c->cx, c->role, kms_node_url(node),
			 KMS_WAIT_MS, &why),
	    ERR_OK, "%s: %s", reason_label(why.code), why.detail);
	return ch;
}

/* All that have a session are asked for at one more block. */
static void
block(void)
{
	kms_world_block(&w);
	KMS_UNTIL(
	    atomic_load(&kms_node_metrics(node)->rechecked_block) == w.block);
}

static uint64_t
ended(void)
{
	return atomic_load(&kms_node_metrics(node)->sessions_ended);
}

static bool
has_keys(struct channel *ch)
{
	KmsReply *r = kms_ask_keys(ch, -1, &why);
	bool ok = r != NULL;

	msg_reply_free(r);
	return ok;
}

/* The other end has hung up, for this reason. */
static void
expect_ended(struct channel *ch, enum reason code)
{
	struct buf reply = { 0 };
	enum err e;

	why = (struct refusal){ 0 };
	e = channel_call(ch, &reply, BYTES_STR("x"), KMS_WAIT_MS, &why);
	cr_assert_eq(e, ERR_DENIED, "%s", err_text(e));
	cr_assert_eq(
	    why.code, code, "%s: %s", reason_label(why.code), why.detail);
	buf_fini(&reply);
	channel_close(ch);
}

/* An app is removed: its requests are refused at once, its sessions end; all
 * of them cost one question a block. */
Test(recheck, app_removed)
{
	struct channel *one = dial(&app), *two = dial(&app);
	unsigned asked;

	block();
	cr_assert(has_keys(one));
	asked = mock_count_calls(w.chain, 0, APP);
	block();
	block();
	cr_assert_eq(mock_count_calls(w.chain, 0, APP), asked + 2);
	cr_assert_eq(ended(), 0);
	cr_assert(has_keys(two));
	kms_world_say(&w, APP, false, "Compose hash not allowed");
	kms_world_block(&w);
	KMS_UNTIL(ended() == 2);
	expect_ended(one, REASON_CONTRACT_COMPOSE);
	expect_ended(two, REASON_CONTRACT_COMPOSE);
	/* Allowed again: it comes again. */
	kms_world_say(&w, APP, true, "");
	one = dial(&app);
	block();
	block();
	cr_assert(has_keys(one));
	cr_assert_eq(ended(), 2);
	channel_close(one);
}

/* Who is not allowed hears so from the answer to its request: its session
 * ends only when it was there at a look before. */
Test(recheck, app_never_allowed)
{
	struct channel *ch;

	block();
	kms_world_say(&w, APP, false, "Not on my list");
	ch = dial(&app);
	cr_assert_not(has_keys(ch));
	cr_assert_eq(why.code, REASON_CONTRACT_OTHER);
	cr_assert_str_eq(why.detail, "Not on my list");
	kms_world_block(&w);
	KMS_UNTIL(ended() == 1);
	expect_ended(ch, REASON_CONTRACT_OTHER);
}

/* A chain that cannot be read takes nobody's session. */
Test(recheck, chain_away)
{
	struct channel *ch = dial(&app);

	block();
	block();
	mock_mode(w.chain, MOCK_ALL, MOCK_HTTP_500);
	kms_world_say(&w, APP, false, "Compose hash not allowed");
	(void)nanosleep(&(const struct timespec){ .tv_sec = 1 }, NULL);
	cr_assert_eq(ended(), 0);
	mock_mode(w.chain, MOCK_ALL, MOCK_FINE);
	kms_world_block(&w);
	KMS_UNTIL(ended() == 1);
	expect_ended(ch, REASON_CONTRACT_COMPOSE);
}

/* An app whose contract gives the endpoints no common answer keeps nobody else's
 * session alive: all others are judged, and that one stays. */
Test(recheck, one_without_an_answer)
{
	struct channel *one = dial(&app), *ch = dial(&peer), *two = dial(&app);

	block();
	mock_error(w.chain, MOCK_ALL, APP, -32005, "limit exceeded");
	kms_world_say(&w, KMS, false, "Aggregated MR not allowed");
	kms_world_block(&w);
	KMS_UNTIL(ended() == 1);
	expect_ended(ch, REASON_CONTRACT_MR);
	kms_world_say(&w, APP, false, "Compose hash not allowed");
	kms_world_say(&w, KMS, true, "");
	KMS_UNTIL(ended() == 3);
	expect_ended(one, REASON_CONTRACT_COMPOSE);
	expect_ended(two, REASON_CONTRACT_COMPOSE);
}

/* A session that came after the last block ends soon after the one that
 * removes its app, and not only at the next. */
Test(recheck, session_between_blocks)
{
	struct channel *ch;

	block();
	ch = dial(&app);
	cr_assert(has_keys(ch));
	kms_world_say(&w, APP, false, "Compose hash not allowed");
	kms_world_block(&w);
	KMS_UNTIL(ended() == 1);
	expect_ended(ch, REASON_CONTRACT_COMPOSE);
}

/* A KMS node is removed: its sessions here end at that block. */
Test(recheck, peer_removed)
{
	struct channel *ch = dial(&peer), *stays = dial(&app);

	block();
	cr_assert_eq(ended(), 0);
	kms_world_say(&w, KMS, false, "Aggregated MR not allowed");
	kms_world_block(&w);
	KMS_UNTIL(ended() == 1);
	expect_ended(ch, REASON_CONTRACT_MR);
	kms_world_say(&w, KMS, true, "");
	block();
	cr_assert_eq(ended(), 1);
	channel_close(stays);
}
