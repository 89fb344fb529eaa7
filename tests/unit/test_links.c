/* Links between nodes in one process, on loopback, each attested for real;
 * and what peers that do not play by the rules get from them. */
#include <arpa/inet.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "common/base/clock.h"
#include "common/base/limits.h"
#include "common/base/log.h"
#include "common/base/secret.h"
#include "kms/cluster/links_part.h"
#include "tests/lib/link_node.h"

static struct kms_world w;
static struct link_node a, b, c;
static struct kms_caller app, peer;
static struct incarnation *me; /* of `peer` */

static void
setup(void)
{
	cr_assert_eq(secret_process_init(), ERR_OK);
	log_set_level(LOG_ERROR);
	kms_world_init(&w);
	link_node_start(&a, &w, "a", 0xa1, 0);
	link_node_start(&b, &w, "b", 0xb1, 0);
	kms_caller_boot(&peer, &w, CHANNEL_KMS_PEER, 0x77);
	cr_assert_eq(incarnation_new(&me), ERR_OK);
}

static void
teardown(void)
{
	(void)link_node_stop(&a);
	(void)link_node_stop(&b);
	kms_caller_close(&peer);
	incarnation_free(me);
	kms_world_fini(&w);
}

TestSuite(links, .init = setup, .fini = teardown, .timeout = 240);

static void
join(struct link_node *n, const char *peer_url)
{
	link_node_join(n, &peer_url, peer_url != NULL);
}

/* a and b with a link each way. */
static void
pair(void)
{
	join(&a, b.url);
	join(&b, a.url);
	LINK_UNTIL(
	    link_node_peer(&a, 0).connected && link_node_peer(&b, 0).connected);
}

static const uint8_t *
id(const struct link_node *n)
{
	return incarnation_id(n->incarnation);
}

/* ---- Hello (T20) ---- */

/* Nothing is heard before a Hello, nor from an app. */
Test(links, hello_first)
{
	struct channel *ch;

	join(&a, NULL);
	ch = link_dial(&peer, &a);
	cr_assert_eq(link_item(ch, 0, 0, 1, 8), REASON_REQUEST);
	cr_assert_eq(link_hello(ch, me, "p"), REASON_NONE);
	cr_assert_eq(link_hello(ch, me, "p"), REASON_REQUEST); /* a second */
	cr_assert_eq(link_item(ch, 0, 0, 1, 8), REASON_NONE);
	channel_close(ch);
	kms_caller_boot(&app, &w, CHANNEL_APP, 0x42);
	app.role = CHANNEL_APP;
	ch = link_dial(&app, &a);
	cr_assert_eq(link_hello(ch, me, "p"), REASON_WRONG_ROLE);
	cr_assert_eq(link_item(ch, 0, 0, 1, 8), REASON_WRONG_ROLE);
	channel_close(ch);
	kms_caller_close(&app);
	cr_assert_eq(a.n_got, 1);
}

/* A Hello is good on the session, and for the slot, role and incarnation,
 * that it was signed for. */
Test(links, hello_bound)
{
	struct channel *old, *ch;
	struct link_hello h, recorded;
	struct incarnation *other = NULL;

	join(&a, NULL);
	cr_assert_eq(incarnation_new(&other), ERR_OK);
	old = link_dial(&peer, &a);
	link_hello_sign(
	    &recorded, me, CHANNEL_KMS_PEER, "p", channel_handshake_hash(old));
	cr_assert_eq(link_hello_send(old, &recorded), REASON_NONE);
	ch = link_dial(&peer, &a);
	/* Recorded on another session: replayed by whoever, while that one
	 * lives and after it. */
	cr_assert_eq(link_hello_send(ch, &recorded), REASON_HANDSHAKE);
	channel_close(old);
	LINK_UNTIL(link_node_stats(&a).sessions == 0);
	cr_assert_eq(link_hello_send(ch, &recorded), REASON_HANDSHAKE);
	/* For another slot. */
	link_hello_sign(
	    &h, me, CHANNEL_KMS_PEER, "p", channel_handshake_hash(ch));
	h.slot = "q";
	cr_assert_eq(link_hello_send(ch, &h), REASON_HANDSHAKE);
	/* In another's name. */
	h.slot = "p";
	memcpy(h.incarnation, incarnation_id(other), sizeof h.incarnation);
	cr_assert_eq(link_hello_send(ch, &h), REASON_HANDSHAKE);
	/* What an answering side would sign. */
	link_hello_sign(
	    &h, me, CHANNEL_KMS_SERVER, "p", channel_handshake_hash(ch));
	cr_assert_eq(link_hello_send(ch, &h), REASON_HANDSHAKE);
	/* A slot that is none. */
	h.slot = "p/q";
	cr_assert_eq(link_hello_send(ch, &h), REASON_HANDSHAKE);
	/* No refusal has opened the way. */
	cr_assert_eq(link_item(ch, 0, 0, 1, 8), REASON_REQUEST);
	cr_assert_eq(link_node_stats(&a).sessions, 0);
	cr_assert_eq(link_hello(ch, me, "p"), REASON_NONE);
	cr_assert_eq(link_node_stats(&a).sessions, 1);
	channel_close(ch);
	incarnation_free(other);
}

/* Our own words are not taken from others: neither the proof of our welcome
 * given back on its session, nor anything in our name. */
Test(links, reflection)
{
	Devproof__Kms__V1__PeerHello q;
	KmsRequest m = DEVPROOF__KMS__V1__REQUEST__INIT;
	KmsReply *r = NULL;
	struct channel *ch;
	struct link_hello h, own;

	join(&a, NULL);
	ch = link_dial(&peer, &a);
	link_hello_sign(
	    &own, me, CHANNEL_KMS_PEER, "p", channel_handshake_hash(ch));
	devproof__kms__v1__peer_hello__init(&q);
	q.slot = (char *)(uintptr_t) "p";
	q.incarnation = msg_bytes(own.incarnation, sizeof own.incarnation);
	q.signature = msg_bytes(own.signature, sizeof own.signature);
	m.body_case = DEVPROOF__KMS__V1__REQUEST__BODY_PEER_HELLO;
	m.peer_hello = &q;
	cr_assert_eq(link_ask(ch, &m, &r), REASON_NONE);
	cr_assert_eq(r->body_case, DEVPROOF__KMS__V1__REPLY__BODY_PEER_WELCOME);
	cr_assert_str_eq(r->peer_welcome->slot, "a");
	cr_assert_arr_eq(r->peer_welcome->incarnation.data, id(&a), 32);
	cr_assert_eq(incarnation_verify(r->peer_welcome->signature.data, id(&a),
			 CHANNEL_KMS_SERVER, "a", channel_handshake_hash(ch)),
	    ERR_OK);
	h.slot = "a";
	memcpy(h.incarnation, id(&a), sizeof h.incarnation);
	memcpy(
	    h.signature, r->peer_welcome->signature.data, sizeof h.signature);
	msg_reply_free(r);
	channel_close(ch);
	ch = link_dial(&peer, &a);
	cr_assert_eq(link_hello_send(ch, &h), REASON_WRONG_ROLE);
	/* Even if it were signed as it should be. */
	link_hello_sign(&h, a.incarnation, CHANNEL_KMS_PEER, "a",
	    channel_handshake_hash(ch));
	cr_assert_eq(link_hello_send(ch, &h), REASON_WRONG_ROLE);
	channel_close(ch);
}

/* ---- the welcome, from peers that lie ---- */

static atomic_int lie;

enum { LIE_ECHO, LIE_ROLE, LIE_HASH, LIE_SLOT, LIE_RECEIPT, LIE_OTHER };

/* b answers every Hello with a welcome that is wrong in one way. */
static bool
liar(struct link_node *n, const struct channel_caller *who, const KmsRequest *m,
    struct buf *reply)
{
	static const uint8_t other[32] = { 9 };
	Devproof__Kms__V1__PeerWelcome wl;
	Devproof__Kms__V1__PeerReceipt rc;
	KmsReply r = DEVPROOF__KMS__V1__REPLY__INIT;
	struct link_hello h;

	(void)n;
	cr_assert_eq(m->body_case, DEVPROOF__KMS__V1__REQUEST__BODY_PEER_HELLO);
	link_hello_sign(&h, me,
	    lie == LIE_ROLE ? CHANNEL_KMS_PEER : CHANNEL_KMS_SERVER, "b",
	    lie == LIE_HASH ? other : who->handshake_hash);
	devproof__kms__v1__peer_welcome__init(&wl);
	wl.slot = (char *)(uintptr_t)(lie == LIE_SLOT ? "c" : "b");
	wl.incarnation = msg_bytes(h.incarnation, sizeof h.incarnation);
	wl.signature = msg_bytes(h.signature, sizeof h.signature);
	r.id = m->id + (lie == LIE_OTHER);
	r.body_case = DEVPROOF__KMS__V1__REPLY__BODY_PEER_WELCOME;
	r.peer_welcome = &wl;
	if (lie == LIE_ECHO) {
		wl.slot = m->peer_hello->slot;
		wl.incarnation = m->peer_hello->incarnation;
		wl.signature = m->peer_hello->signature;
	} else if (lie == LIE_RECEIPT) {
		devproof__kms__v1__peer_receipt__init(&rc);
		r.body_case = DEVPROOF__KMS__V1__REPLY__BODY_PEER_RECEIPT;
		r.peer_receipt = &rc;
	}
	cr_assert_eq(msg_reply_pack(reply, &r), ERR_OK);
	return true;
}

/* A welcome binds the answering side to the session as the Hello binds us;
 * until there is one nothing is sent. */
Test(links, false_welcome)
{
	static const struct {
		int lie;
		enum reason want;
	} t[] = { { LIE_ROLE, REASON_HANDSHAKE },
		{ LIE_HASH, REASON_HANDSHAKE }, { LIE_SLOT, REASON_HANDSHAKE },
		{ LIE_RECEIPT, REASON_REQUEST }, { LIE_OTHER, REASON_REQUEST },
		{ LIE_ECHO, REASON_WRONG_ROLE } };

	b.answer = liar;
	for (size_t i = 0; i < sizeof t / sizeof t[0]; i++) {
		lie = t[i].lie;
		join(&a, b.url);
		link_node_send(&a, NULL, NULL, 1, 8);
		LINK_UNTIL(link_node_peer(&a, 0).error != REASON_NONE);
		cr_assert_eq(link_node_peer(&a, 0).error, t[i].want, "%zu", i);
		cr_assert_not(link_node_peer(&a, 0).connected);
		cr_assert_str_eq(link_node_peer(&a, 0).slot, "");
		cr_assert_eq(link_node_peer(&a, 0).sent, 0);
		(void)link_node_stop(&a);
		link_node_start(&a, &w, "a", (uint8_t)(0xa2 + i), 0);
	}
}

/* A node whose own address is in its list talks to itself no further than
 * to notice it. */
Test(links, own_address)
{
	join(&a, a.url);
	LINK_UNTIL(link_node_peer(&a, 0).error == REASON_WRONG_ROLE);
	cr_assert_not(link_node_peer(&a, 0).connected);
	cr_assert_eq(link_node_stats(&a).sessions, 0);
}

/* ---- messages ---- */

/* Both directions, in order, none lost while there is room, and each from
 * the member that its session is attested to be. */
Test(links, in_order)
{
	struct attested at;
	struct links_peer p;

	pair();
	for (uint32_t i = 0; i < 2000; i++) {
		link_node_send(&a, NULL, id(&b), i, 4 + i % 300);
		link_node_send(&b, "a", NULL, i, 4 + i % 7);
	}
	LINK_UNTIL(a.n_got == 2000 && b.n_got == 2000);
	for (uint32_t i = 0; i < 2000; i++) {
		cr_assert(b.got[i].whole && b.got[i].seq == i);
		cr_assert_eq(b.got[i].len, 4 + i % 300);
		cr_assert(a.got[i].whole && a.got[i].seq == i);
	}
	cr_assert_str_eq(b.got[0].from.slot, "a");
	cr_assert_arr_eq(b.got[0].from.incarnation, id(&a), 32);
	/* Seen as server by one, as dialler by the other. */
	cr_assert(link_node_attested(&b, &at, id(&a)));
	cr_assert_arr_eq(b.got[0].from.device_id, at.boot.device_id, 32);
	cr_assert_arr_eq(
	    b.got[0].from.mr_aggregated, at.boot.mr_aggregated, 32);
	cr_assert_not(link_node_attested(&b, &at, incarnation_id(me)));
	LINK_UNTIL(link_node_peer(&a, 0).sent == 2000);
	p = link_node_peer(&a, 0);
	cr_assert_str_eq(p.url, b.url);
	cr_assert_str_eq(p.slot, "b");
	cr_assert_arr_eq(p.incarnation, id(&b), 32);
	cr_assert_eq(p.error, REASON_NONE);
	cr_assert_eq(p.dropped, 0);
	cr_assert_eq(link_node_stats(&b).received, 2000);
	cr_assert_eq(link_node_stats(&b).sessions, 1);
}

/* A message of many parts arrives whole and in its place; empty ones and
 * larger ones go nowhere (T23). */
Test(links, large)
{
	const size_t len = 20u * 1024 * 1024 + 3;

	pair();
	link_node_send(&a, NULL, NULL, 0, LIMIT_LINK_PART);
	link_node_send(&a, NULL, NULL, 1, len);
	link_node_send(&a, NULL, NULL, 2, 9);
	LINK_UNTIL(link_node_peer(&a, 0).sent == 3);
	link_node_send(&a, NULL, NULL, 3, LIMIT_LINK_PART + 1);
	link_node_send(&a, NULL, NULL, 4, 9);
	LINK_UNTIL(link_node_peer(&a, 0).sent == 5);
	for (unsigned i = 0; i < 5; i++)
		cr_assert(b.got[i].whole && b.got[i].seq == i);
	cr_assert_eq(b.got[0].len, LIMIT_LINK_PART);
	cr_assert_eq(b.got[1].len, len);
	cr_assert_eq(b.got[3].len, LIMIT_LINK_PART + 1);
	cr_assert_eq(link_node_peer(&a, 0).dropped, 0);
	cr_assert_eq(link_node_stats(&a).unclaimed, 0);
	link_node_send(&a, NULL, NULL, 5, 0);
	link_node_send(&a, NULL, NULL, 5, LIMIT_LINK_MESSAGE + 1);
	cr_assert_eq(link_node_stats(&a).unclaimed, 2);
}

/* Three nodes: a message goes to whom it is for. */
Test(links, addresses)
{
	const char *peers[2] = { b.url, c.url };

	link_node_start(&c, &w, "c", 0xc1, 0);
	peers[1] = c.url;
	join(&b, NULL);
	join(&c, NULL);
	link_node_join(&a, peers, 2);
	LINK_UNTIL(
	    link_node_peer(&a, 0).connected && link_node_peer(&a, 1).connected);
	link_node_send(&a, "b", id(&b), 1, 8);
	link_node_send(&a, "c", NULL, 2, 8);
	link_node_send(&a, NULL, NULL, 3, 8);
	LINK_UNTIL(b.n_got == 2 && c.n_got == 2);
	cr_assert(b.got[0].seq == 1 && b.got[1].seq == 3);
	cr_assert(c.got[0].seq == 2 && c.got[1].seq == 3);
	/* An incarnation that nobody is, ourselves, an unknown slot. */
	link_node_send(&a, "b", incarnation_id(me), 4, 8);
	link_node_send(&a, "a", id(&a), 5, 8);
	link_node_send(&a, "z", NULL, 6, 8);
	cr_assert_eq(link_node_stats(&a).unclaimed, 3);
	link_node_send(&a, NULL, NULL, 7, 8);
	LINK_UNTIL(b.n_got == 3 && c.n_got == 3);
	cr_assert(b.got[2].seq == 7 && c.got[2].seq == 7);
	(void)link_node_stop(&c);
}

/* A message for a slot waits for all that may hold it, and is given to the
 * one who does. */
Test(links, waits_for_its_slot)
{
	const char *peers[2] = { b.url, c.url };

	link_node_start(&c, &w, "c", 0xc1, 0);
	peers[1] = c.url;
	link_node_join(&a, peers, 2);
	link_node_send(&a, "c", NULL, 1, 8);
	link_node_send(&a, NULL, NULL, 2, 8);
	join(&b, NULL);
	join(&c, NULL);
	/* If its first dial came too early, it is dropped: say it again. */
	LINK_UNTIL(
	    link_node_peer(&a, 0).connected && link_node_peer(&a, 1).connected);
	link_node_send(&a, NULL, NULL, 3, 8);
	LINK_UNTIL(b.n_got > 0 && b.got[b.n_got - 1].seq == 3);
	LINK_UNTIL(c.n_got > 0 && c.got[c.n_got - 1].seq == 3);
	for (unsigned i = 0; i < b.n_got; i++)
		cr_assert_neq(b.got[i].seq, 1);
	(void)link_node_stop(&c);
}

/* After a restart the address leads to another incarnation: nothing that
 * was for the old one reaches it, and what it says is its own (T20). */
Test(links, restart)
{
	uint8_t old[INCARNATION_ID_LEN];
	unsigned port;

	pair();
	memcpy(old, id(&b), sizeof old);
	cr_assert_eq(sscanf(b.url, "tcp://127.0.0.1:%u", &port), 1);
	link_node_send(&b, "a", NULL, 1, 8);
	LINK_UNTIL(a.n_got == 1);
	cr_assert_arr_eq(a.got[0].from.incarnation, old, 32);
	(void)link_node_stop(&b);
	/* Nothing else is sent: the link notices by itself. */
	LINK_UNTIL(!link_node_peer(&a, 0).connected);
	link_node_send(&a, "b", old, 2, 8);
	cr_assert_eq(link_node_stats(&a).unclaimed, 1);
	link_node_start(&b, &w, "b", 0xb2, port);
	join(&b, a.url);
	LINK_UNTIL(
	    link_node_peer(&a, 0).connected && link_node_peer(&b, 0).connected);
	cr_assert_arr_neq(id(&b), old, 32);
	link_node_send(&a, "b", old, 3, 8);
	link_node_send(&a, "b", id(&b), 4, 8);
	link_node_send(&b, "a", id(&a), 5, 8);
	LINK_UNTIL(b.n_got == 1 && a.n_got == 2);
	cr_assert_eq(b.got[0].seq, 4);
	cr_assert_arr_eq(a.got[1].from.incarnation, id(&b), 32);
	cr_assert_str_eq(a.got[1].from.slot, "b");
	cr_assert_eq(link_node_stats(&a).unclaimed, 2);
	cr_assert_eq(link_node_stats(&a).sessions, 1);
}

/* ---- peers that break the rules (T23) ---- */

/* A message that is not the next one, or not its next part, ends what this
 * session may say, and nothing else. */
Test(links, broken_order)
{
	static const struct {
		uint64_t number;
		uint32_t part, parts;
		size_t len;
	} bad[] = { { 0, 0, 1, 8 }, { 2, 0, 1, 8 }, { 1, 1, 2, 8 },
		{ 1, 0, 2, 8 }, { 1, 0, 0, 8 }, { 1, 0, 1, 0 },
		{ 1, 0, 1, LIMIT_LINK_PART + 1 },
		{ 1, 0, LINKS_PARTS_MAX + 1, LIMIT_LINK_PART } };
	unsigned n = 0;

	join(&a, NULL);
	join(&b, a.url);
	LINK_UNTIL(link_node_peer(&b, 0).connected);
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		struct channel *ch = link_dial(&peer, &a);

		cr_assert_eq(link_hello(ch, me, "p"), REASON_NONE);
		cr_assert_eq(link_item(ch, 0, 0, 1, 8), REASON_NONE);
		cr_assert_eq(link_item(ch, bad[i].number, bad[i].part,
				 bad[i].parts, bad[i].len),
		    REASON_REQUEST, "%zu", i);
		/* What would have been right is too late. */
		cr_assert_eq(link_item(ch, 1, 0, 1, 8), REASON_REQUEST);
		cr_assert_eq(link_hello(ch, me, "p"), REASON_REQUEST);
		cr_assert_eq(a.n_got, ++n);
		link_node_send(&b, "a", NULL, (uint32_t)i, 8);
		LINK_UNTIL(a.n_got == n + 1);
		cr_assert_str_eq(a.got[n++].from.slot, "b");
		channel_close(ch);
	}
	LINK_UNTIL(link_node_stats(&a).sessions == 1);
}

/* A message that never ends costs what has come of it, until its session
 * does. */
Test(links, unfinished)
{
	struct channel *ch;

	join(&a, NULL);
	ch = link_dial(&peer, &a);
	cr_assert_eq(link_hello(ch, me, "p"), REASON_NONE);
	for (uint32_t i = 0; i < 3; i++)
		cr_assert_eq(
		    link_item(ch, 0, i, LINKS_PARTS_MAX, LIMIT_LINK_PART),
		    REASON_NONE);
	/* Nothing goes past it. */
	cr_assert_eq(link_item(ch, 1, 0, 1, 8), REASON_REQUEST);
	channel_close(ch);
	LINK_UNTIL(link_node_stats(&a).sessions == 0);
	cr_assert_eq(a.n_got, 0);
}

/* An incarnation has one session: a new one ends the old one. */
Test(links, one_session)
{
	struct channel *old, *ch;

	join(&a, NULL);
	old = link_dial(&peer, &a);
	ch = link_dial(&peer, &a);
	cr_assert_eq(link_hello(old, me, "p"), REASON_NONE);
	cr_assert_eq(link_item(old, 0, 0, 1, 8), REASON_NONE);
	cr_assert_eq(link_hello(ch, me, "p"), REASON_NONE);
	cr_assert_eq(link_node_stats(&a).sessions, 1);
	cr_assert_neq(link_item(old, 1, 0, 1, 8), REASON_NONE);
	cr_assert_eq(link_item(ch, 0, 0, 1, 8), REASON_NONE);
	cr_assert_eq(a.n_got, 2);
	channel_close(old);
	channel_close(ch);
}

/* ---- slow peers (T25) ---- */

static atomic_uint held;

/* Welcomes, and then answers nothing but signs of life. */
static bool
sleepy(struct link_node *n, const struct channel_caller *who,
    const KmsRequest *m, struct buf *reply)
{
	struct refusal why;

	if (m->body_case == DEVPROOF__KMS__V1__REQUEST__BODY_PEER_BATCH &&
	    m->peer_batch->n_message > 0) {
		atomic_fetch_add(&held, 1);
		return false;
	}
	cr_assert_eq(links_request(n->links, who, m, reply, &why), ERR_OK);
	return true;
}

/* A peer that does not answer has a bounded queue and disturbs no other;
 * what does not fit is counted; stopping does not wait for it. */
Test(links, slow_peer)
{
	const char *peers[2] = { b.url, c.url };
	const size_t len = LIMIT_LINK_PART;
	struct links_peer p;
	unsigned fit = LIMIT_LINK_QUEUE / LIMIT_LINK_PART;

	link_node_start(&c, &w, "c", 0xc1, 0);
	peers[1] = c.url;
	b.answer = sleepy;
	join(&b, NULL);
	join(&c, NULL);
	link_node_join(&a, peers, 2);
	LINK_UNTIL(
	    link_node_peer(&a, 0).connected && link_node_peer(&a, 1).connected);
	link_node_send(&a, "b", NULL, 0, 8);
	LINK_UNTIL(held == 1);
	for (uint32_t i = 0; i < fit + 3; i++)
		link_node_send(&a, "b", NULL, i, len);
	for (uint32_t i = 0; i < 3; i++)
		link_node_send(&a, "b", NULL, i, 2 * len);
	p = link_node_peer(&a, 0);
	cr_assert_eq(p.sent, 0);
	cr_assert_eq(p.dropped, 3 + 2); /* bytes; one of many parts */
	for (uint32_t i = 0; i < 100; i++)
		link_node_send(&a, "c", NULL, i, 100);
	LINK_UNTIL(c.n_got == 100);
	cr_assert_eq(held, 1);
	cr_assert_lt(link_node_stop(&a), 1000);
	link_node_start(&a, &w, "a", 0xa2, 0);
	(void)link_node_stop(&c);
}

/* The number of messages that wait is bounded too. */
Test(links, many_waiting)
{
	struct links_peer p;

	b.answer = sleepy;
	join(&b, NULL);
	join(&a, b.url);
	LINK_UNTIL(link_node_peer(&a, 0).connected);
	link_node_send(&a, "b", NULL, 0, 8);
	LINK_UNTIL(held == 1);
	for (uint32_t i = 0; i < LIMIT_LINK_QUEUE_ITEMS + 5; i++)
		link_node_send(&a, "b", NULL, i, 1);
	p = link_node_peer(&a, 0);
	cr_assert(p.sent == 0 && p.dropped == 5);
}

/* An address where nobody says a word holds up no stop. */
Test(links, silent_address)
{
	struct sockaddr_in sa = { .sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof sa;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	const char *peers[2] = { NULL, "tcp://127.0.0.1:1" };
	char url[64];

	cr_assert_eq(bind(fd, (struct sockaddr *)&sa, len), 0);
	cr_assert_eq(listen(fd, 4), 0);
	cr_assert_eq(getsockname(fd, (struct sockaddr *)&sa, &len), 0);
	(void)snprintf(
	    url, sizeof url, "tcp://127.0.0.1:%u", ntohs(sa.sin_port));
	peers[0] = url;
	link_node_join(&a, peers, 2);
	LINK_UNTIL(link_node_peer(&a, 1).error != REASON_NONE);
	/* What waited for a dial that failed is dropped with it. */
	link_node_send(&a, NULL, NULL, 1, 8);
	LINK_UNTIL(link_node_peer(&a, 1).dropped == 1);
	cr_assert_eq(link_node_peer(&a, 0).dropped, 0);
	cr_assert_lt(link_node_stop(&a), 1000);
	link_node_start(&a, &w, "a", 0xa2, 0);
	close(fd);
}

/* ---- the owner's hand ---- */

/* links_drop ends both directions; the link comes back, for all is still
 * allowed, and works. */
Test(links, drop)
{
	struct attested at;
	int64_t since;

	pair();
	since = link_node_peer(&a, 0).since;
	link_node_drop(&a, incarnation_id(me)); /* nobody: nothing happens */
	cr_assert(link_node_peer(&a, 0).connected);
	link_node_drop(&a, id(&b));
	LINK_UNTIL(link_node_peer(&a, 0).connected &&
	    link_node_peer(&b, 0).connected &&
	    link_node_stats(&a).sessions == 1 &&
	    link_node_stats(&b).sessions == 1);
	cr_assert_geq(link_node_peer(&a, 0).since, since);
	cr_assert(link_node_attested(&a, &at, id(&b)));
	link_node_send(&a, "b", id(&b), 1, 8);
	LINK_UNTIL(b.n_got == 1);
}

static void
drop_sender(struct link_node *n, const struct member *from)
{
	links_drop(n->links, from->incarnation);
	n->on_message = NULL;
}

/* The owner may drop a member while it reads its message: the rest of the
 * batch is not heard. */
Test(links, drop_within)
{
	struct channel *ch;

	join(&a, NULL);
	a.on_message = drop_sender;
	ch = link_dial(&peer, &a);
	cr_assert_eq(link_hello(ch, me, "p"), REASON_NONE);
	cr_assert_neq(link_item(ch, 0, 0, 1, 8), REASON_NONE);
	channel_close(ch);
	cr_assert_eq(a.n_got, 1);
	cr_assert_eq(link_node_stats(&a).sessions, 0);
}

static void
echo(struct link_node *n, const struct member *from)
{
	struct bytes one = BYTES_STR("abcd");

	links_send(n->links, from, one);
}

/* links_send from within a message does not come back into it. */
Test(links, answer_within)
{
	pair();
	a.on_message = echo;
	for (uint32_t i = 0; i < 100; i++)
		link_node_send(&b, "a", id(&a), i, 8);
	LINK_UNTIL(a.n_got == 100 && b.n_got == 100);
}

/* ---- many ---- */

static unsigned
count_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned n = 0;

	cr_assert_not_null(d);
	while (readdir(d) != NULL)
		n++;
	closedir(d);
	return n;
}

/* Peers that say Hello and die, in the middle of a message or not, leave
 * nothing behind (T22). */
Test(links, comings_and_goings)
{
	unsigned before;

	join(&a, NULL);
	channel_close(link_dial(&peer, &a));
	LINK_UNTIL(link_node_stats(&a).sessions == 0);
	before = count_fds();
	for (unsigned i = 0; i < 200; i++) {
		struct channel *ch = link_dial(&peer, &a);

		cr_assert_eq(link_hello(ch, me, "p"), REASON_NONE);
		if (i % 2 == 0)
			cr_assert_eq(link_item(ch, 0, 0, 2, LIMIT_LINK_PART),
			    REASON_NONE);
		channel_close(ch);
	}
	LINK_UNTIL(link_node_stats(&a).sessions == 0);
	LINK_UNTIL(count_fds() <= before);
}

/* More incarnations than there is room for are refused, not served at the
 * expense of those who talk. */
Test(links, room)
{
	struct channel *ch[LIMIT_LINK_SESSIONS];

	join(&a, NULL);
	for (unsigned i = 0; i < LIMIT_LINK_SESSIONS; i++) {
		struct incarnation *x = NULL;

		cr_assert_eq(incarnation_new(&x), ERR_OK);
		ch[i] = link_dial(&peer, &a);
		cr_assert_eq(link_hello(ch[i], x, "p"), REASON_NONE);
		incarnation_free(x);
	}
	{
		struct channel *late = link_dial(&peer, &a);

		cr_assert_eq(link_hello(late, me, "p"), REASON_BUSY);
		channel_close(ch[0]);
		LINK_UNTIL(
		    link_node_stats(&a).sessions == LIMIT_LINK_SESSIONS - 1);
		cr_assert_eq(link_hello(late, me, "p"), REASON_NONE);
		channel_close(late);
	}
	for (unsigned i = 1; i < LIMIT_LINK_SESSIONS; i++)
		channel_close(ch[i]);
}

struct burst {
	uint32_t n;
};

static void
task_burst(struct link_node *n, void *arg)
{
	static uint8_t bytes[100];
	const struct member to = { .slot = "b" };

	for (uint32_t i = 0; i < ((struct burst *)arg)->n; i++)
		links_send(n->links, &to, BYTES_OF(bytes));
}

/* Thousands of small messages a second, and a lone one at once: generous
 * bounds for a busy machine, sanitizers and all. */
Test(links, speed)
{
	struct burst burst = { 1000 };
	uint64_t from, ms;

	pair();
	from = clock_mono_ms();
	for (unsigned i = 1; i <= 10; i++) {
		link_node_do(&a, task_burst, &burst);
		LINK_UNTIL(b.n_got + 3000 >= i * 1000);
	}
	LINK_UNTIL(b.n_got == 10000);
	ms = clock_mono_ms() - from;
	cr_log_info("10000 messages: %llu ms", (unsigned long long)ms);
	cr_assert_lt(ms, 2000);
	cr_assert_eq(link_node_peer(&a, 0).dropped, 0);
	burst.n = 1;
	from = clock_mono_ms();
	for (unsigned i = 1; i <= 100; i++) {
		link_node_do(&a, task_burst, &burst);
		LINK_UNTIL(b.n_got == 10000 + i);
	}
	ms = clock_mono_ms() - from;
	cr_log_info("100 one by one: %llu ms", (unsigned long long)ms);
	cr_assert_lt(ms, 2000);
}

/* ---- the library under it (T27) ---- */

/* With Debian 12's nng no protocol of it may face strangers, and PUSH may
 * not be used at all: none is in anything that we build. */
Test(links_nng, no_protocol_socket)
{
	char dir[1024] = "", cmd[1100];
	ssize_t n = readlink("/proc/self/exe", dir, sizeof dir - 1);
	char line[256];
	unsigned hits = 0, streams = 0;
	FILE *p;

	cr_assert_gt(n, 0);
	for (int up = 0; up < 3; up++)
		*strrchr(dir, '/') = '\0';
	(void)snprintf(cmd, sizeof cmd,
	    "cd %s && nm -u libkms.a libnode.a libcommon.a", dir);
	p = popen(cmd, "r");
	cr_assert_not_null(p);
	while (fgets(line, sizeof line, p) != NULL) {
		const char *s = strstr(line, " nng_");

		if (s == NULL)
			continue;
		streams += strstr(s, "nng_stream_") != NULL;
		/* nng_rep0_open, nng_push0_open_raw ...; nng_listen. */
		hits += strstr(s, "_open") != NULL ||
		    strstr(s, " nng_listen") != NULL ||
		    strstr(s, " nng_dial") != NULL;
	}
	cr_assert_eq(pclose(p), 0);
	cr_assert_gt(streams, 0, "no archives in %s?", dir);
	cr_assert_eq(hits, 0);
}
