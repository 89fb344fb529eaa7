/* links: the thread of one link.  It dials, proves who we are, asks who the
 * peer is, and carries the queue over in batches, one at a time: the peer's
 * receipt of one is its leave to send the next. */
#include <assert.h>
#include <string.h>
#include <time.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/secret.h"
#include "kms/cluster/links_int.h"

#define DIAL_TIMEOUT_MS 15000u /* a TDX quote may take seconds */
#define CALL_TIMEOUT_MS 10000u /* a call may renew evidence first */
#define REST_MIN_MS 100u
#define REST_MAX_MS 2000u
/* An address that leads to ourselves, or where another link leads. */
#define REST_USELESS_MS 60000u
/* An idle link is tried this often, so that the end of its peer is seen. */
#define AWAKE_MS 2000u

static_assert(LIMIT_LINK_PART + LIMIT_LINK_BATCH * (LINKS_PART_HEAD + 4) + 64 <
	LIMIT_MESSAGE,
    "a batch is one message");

/* ---- waiting ---- */

/* Under the lock; may end early, for nothing. */
static void
wait_until(struct link *k, uint64_t mono_ms)
{
	struct timespec t = { .tv_sec = (time_t)(mono_ms / 1000),
		.tv_nsec = (long)(mono_ms % 1000) * 1000000 };

	(void)pthread_cond_timedwait(&k->wake, &k->links->lock, &t);
}

/* Rests, and makes ready for a new session; false: the end. */
static bool
rest(struct link *k, unsigned ms)
{
	struct links *l = k->links;
	uint64_t until;
	uint16_t r;
	bool go_on;

	/* So that peers that lost each other do not return in step. */
	secret_random(&r, sizeof r);
	until = clock_mono_ms() + ms + ms * (uint64_t)r / (4 * UINT16_MAX);
	(void)pthread_mutex_lock(&l->lock);
	while (!l->stopping && clock_mono_ms() < until)
		wait_until(k, until);
	go_on = !l->stopping;
	if (go_on) {
		k->drop = false;
		channel_abort_reset(k->abort);
	}
	(void)pthread_mutex_unlock(&l->lock);
	return go_on;
}

static unsigned
next_rest(unsigned last, enum reason why)
{
	if (why == REASON_WRONG_ROLE)
		return REST_USELESS_MS;
	return last < REST_MIN_MS    ? REST_MIN_MS
	    : 2 * last < REST_MAX_MS ? 2 * last
				     : REST_MAX_MS;
}

/* ---- one request ---- */

/* The caller owns `*reply`; it is of the case that is wanted. */
static enum err
ask(struct link *k, KmsReply **reply, KmsRequest *m, unsigned want,
    struct refusal *why)
{
	KmsReply *r = NULL;
	enum err e;

	m->id = ++k->request_id;
	k->request.len = 0;
	if ((e = msg_request_pack(&k->request, m)) != ERR_OK)
		return e;
	e = channel_call(
	    k->channel, &k->reply, buf_view(&k->request), CALL_TIMEOUT_MS, why);
	if (e != ERR_OK)
		return e;
	if (msg_reply_parse(&r, buf_view(&k->reply)) != ERR_OK)
		return refuse(why, REASON_REQUEST, "reply does not parse");
	if ((e = msg_reply_refusal(r, why)) == ERR_OK &&
	    (r->id != m->id || (unsigned)r->body_case != want))
		e = refuse(why, REASON_REQUEST, "unexpected reply");
	if (e != ERR_OK) {
		msg_reply_free(r);
		return e;
	}
	*reply = r;
	return ERR_OK;
}

/* ---- the Hello ---- */

/* Whether another link leads to the same process; under the lock. */
static bool
has_twin(const struct link *k, const uint8_t *incarnation)
{
	const struct links *l = k->links;

	for (unsigned i = 0; i < l->n; i++)
		if (&l->link[i] != k && l->link[i].status.connected &&
		    memcmp(l->link[i].status.incarnation, incarnation,
			INCARNATION_ID_LEN) == 0)
			return true;
	return false;
}

/* What waited for another than the one who answered is dropped. */
static void
sift(struct link *k)
{
	size_t n = k->n;
	bool has_big = false;

	while (n-- > 0) {
		struct links_message *m = link_pop(k);
		bool big = m->len > LIMIT_LINK_PART;

		if (m->to.slot[0] != '\0' &&
		    strcmp(m->to.slot, k->status.slot) != 0) {
			k->status.dropped++;
			link_release(m);
			continue;
		}
		k->ring[(k->first + k->n++) % LIMIT_LINK_QUEUE_ITEMS] = m;
		has_big |= big;
		if (!big)
			k->small_bytes += m->len;
	}
	k->has_big = has_big;
}

/* The link is up, unless it is of no use. */
static enum err
welcome(struct link *k, const Devproof__Kms__V1__PeerWelcome *w,
    struct refusal *why)
{
	struct links *l = k->links;
	const uint8_t *id = w->incarnation.data;
	enum err e = ERR_OK;

	if (memcmp(id, incarnation_id(l->o.incarnation), INCARNATION_ID_LEN) ==
	    0)
		return refuse(why, REASON_WRONG_ROLE, "leads to ourselves");
	if (incarnation_verify(w->signature.data, id, CHANNEL_KMS_SERVER,
		w->slot, channel_handshake_hash(k->channel)) != ERR_OK)
		return refuse(why, REASON_HANDSHAKE,
		    "welcome is not signed for this session");
	(void)pthread_mutex_lock(&l->lock);
	if (has_twin(k, id)) {
		e = refuse(why, REASON_WRONG_ROLE, "another link leads there");
	} else if (k->drop || l->stopping) {
		e = ERR_IO;
	} else {
		memcpy(k->status.slot, w->slot, strlen(w->slot) + 1);
		memcpy(k->status.incarnation, id, INCARNATION_ID_LEN);
		k->status.connected = true;
		k->status.since = clock_wall_s();
		k->status.error = REASON_NONE;
		k->attested = *channel_peer(k->channel);
		sift(k);
	}
	(void)pthread_mutex_unlock(&l->lock);
	return e;
}

static enum err
hello(struct link *k, struct refusal *why)
{
	struct links *l = k->links;
	uint8_t sig[INCARNATION_SIG_LEN];
	Devproof__Kms__V1__PeerHello h;
	KmsRequest m = DEVPROOF__KMS__V1__REQUEST__INIT;
	KmsReply *r = NULL;
	enum err e;

	e = incarnation_sign(sig, l->o.incarnation, CHANNEL_KMS_PEER, l->o.slot,
	    channel_handshake_hash(k->channel));
	if (e != ERR_OK)
		return e;
	devproof__kms__v1__peer_hello__init(&h);
	h.slot = (char *)(uintptr_t)l->o.slot;
	h.incarnation =
	    msg_bytes(incarnation_id(l->o.incarnation), INCARNATION_ID_LEN);
	h.signature = msg_bytes(sig, sizeof sig);
	m.body_case = DEVPROOF__KMS__V1__REQUEST__BODY_PEER_HELLO;
	m.peer_hello = &h;
	e = ask(k, &r, &m, DEVPROOF__KMS__V1__REPLY__BODY_PEER_WELCOME, why);
	if (e == ERR_OK)
		e = welcome(k, r->peer_welcome, why);
	msg_reply_free(r);
	return e;
}

/* ---- batches ---- */

/* Waits for something to send, and takes it; nothing: a sign of life is
 * due.  False: the session shall end. */
static bool
gather(struct link *k)
{
	struct links *l = k->links;
	uint64_t until = clock_mono_ms() + AWAKE_MS;
	size_t len = 0;
	bool go_on;

	(void)pthread_mutex_lock(&l->lock);
	while (!l->stopping && !k->drop && k->big == NULL && k->n == 0 &&
	    clock_mono_ms() < until)
		wait_until(k, until);
	go_on = !l->stopping && !k->drop;
	while (go_on && k->big == NULL && k->n > 0 &&
	    k->n_items < LIMIT_LINK_BATCH) {
		size_t next = k->ring[k->first]->len;

		/* In order: a message of several parts goes alone, once all
		 * before it have left. */
		if (len + next > LIMIT_LINK_PART) {
			if (k->n_items == 0)
				k->big = link_pop(k);
			break;
		}
		len += next;
		k->item[k->n_items++] = link_pop(k);
	}
	(void)pthread_mutex_unlock(&l->lock);
	return go_on;
}

static void
put(struct link *k, size_t i, uint64_t number, uint32_t part,
    const struct links_message *m)
{
	size_t at = k->w.len;

	links_part_write(&k->w, number, part, (struct bytes){ m->b, m->len });
	k->data[i] = msg_bytes(k->w.p + at, k->w.len - at);
}

static enum err
send_batch(struct link *k, struct refusal *why)
{
	Devproof__Kms__V1__PeerBatch b;
	KmsRequest m = DEVPROOF__KMS__V1__REQUEST__INIT;
	KmsReply *r = NULL;
	enum err e;

	k->w.len = 0;
	for (size_t i = 0; i < k->n_items; i++)
		put(k, i, k->number + i, 0, k->item[i]);
	if (k->big != NULL)
		put(k, 0, k->number, k->big_part, k->big);
	devproof__kms__v1__peer_batch__init(&b);
	b.message = k->data;
	b.n_message = k->big != NULL ? 1 : k->n_items;
	m.body_case = DEVPROOF__KMS__V1__REQUEST__BODY_PEER_BATCH;
	m.peer_batch = &b;
	if (!wr_ok(&k->w))
		return ERR_LIMIT;
	e = ask(k, &r, &m, DEVPROOF__KMS__V1__REPLY__BODY_PEER_RECEIPT, why);
	msg_reply_free(r);
	return e;
}

/* Lets go of what was under way: sent, or lost. */
static void
settle(struct link *k, bool sent)
{
	struct links *l = k->links;
	const struct attested *peer = channel_peer(k->channel);
	bool big_ends = k->big != NULL &&
	    (!sent || ++k->big_part == links_part_count(k->big->len));

	(void)pthread_mutex_lock(&l->lock);
	for (size_t i = 0; i < k->n_items; i++) {
		k->status.bytes += sent ? k->item[i]->len : 0;
		link_release(k->item[i]);
	}
	*(sent ? &k->status.sent : &k->status.dropped) += k->n_items + big_ends;
	if (big_ends) {
		k->status.bytes += sent ? k->big->len : 0;
		k->has_big = false;
		link_release(k->big);
	}
	/* The session may have renewed its evidence. */
	if (peer->verified_at != k->attested.verified_at)
		k->attested = *peer;
	(void)pthread_mutex_unlock(&l->lock);
	k->number += k->n_items + big_ends;
	k->n_items = 0;
	if (big_ends) {
		k->big = NULL;
		k->big_part = 0;
	}
}

/* ---- the thread ---- */

/* One session; how many receipts it brought. */
static uint64_t
session(struct link *k, enum err *e, struct refusal *why)
{
	uint64_t n = 0;

	k->number = 0;
	*e = channel_dial(&k->channel, &k->cx, CHANNEL_KMS_PEER, k->url,
	    DIAL_TIMEOUT_MS, why);
	if (*e == ERR_OK)
		*e = hello(k, why);
	if (*e != ERR_OK)
		return 0;
	log_event(LOG_INFO, "link_up", log_str("url", k->url),
	    log_str("slot", k->status.slot),
	    log_hex("incarnation", k->status.incarnation, INCARNATION_ID_LEN));
	while (*e == ERR_OK && gather(k)) {
		*e = send_batch(k, why);
		settle(k, *e == ERR_OK);
		n += *e == ERR_OK;
	}
	if (k->big != NULL)
		settle(k, false);
	return n;
}

/* The queue goes with the session, and what a dial that failed kept
 * waiting: it would be stale by the next one. */
static void
down(struct link *k, enum err e, const struct refusal *why)
{
	struct links *l = k->links;
	enum reason code = why->code != REASON_NONE ? why->code
	    : e == ERR_OK                           ? REASON_NONE
						    : REASON_INTERNAL;
	bool news;

	channel_close(k->channel);
	k->channel = NULL;
	(void)pthread_mutex_lock(&l->lock);
	news = !l->stopping &&
	    (k->status.connected || k->drop || code != k->status.error);
	if (k->status.connected)
		k->status.since = clock_wall_s();
	k->status.connected = false;
	k->status.error = code;
	link_clear(k);
	(void)pthread_mutex_unlock(&l->lock);
	if (news)
		log_event(LOG_WARN, "link_down", log_str("url", k->url),
		    log_str("error", err_text(e)), log_why(why));
}

void *
link_run(void *link)
{
	struct link *k = link;
	struct links *l = k->links;
	unsigned ms = 0;

	while (rest(k, ms)) {
		struct refusal why = { 0 };
		enum err e;

		if (session(k, &e, &why) > 0)
			ms = 0;
		down(k, e, &why);
		ms = next_rest(ms, why.code);
	}
	(void)pthread_mutex_lock(&l->lock);
	l->n_threads--;
	(void)pthread_mutex_unlock(&l->lock);
	/* The loop joins us before it lets go of the handle. */
	(void)uv_async_send(&l->ended);
	return NULL;
}
