/* server: one connection.
 *
 * Bytes come in chunks; the session turns them into events; slow questions
 * (prove, check) go to a worker and nothing more is read until the answer
 * is back.  A request is read only while its predecessors' answers can be
 * sent, so a slow peer hurts only itself.  Every failure leads to
 * conn_refuse or conn_close, from any state. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/limits.h"
#include "common/base/log.h"
#include "common/base/secret.h"
#include "common/base/wr.h"
#include "node/channel/proof.h"
#include "node/channel/server_int.h"

struct job {
	uv_work_t work;
	struct conn *conn; /* borrows; it waits for us */
	const struct channel_context *cx; /* borrows */
	bool check; /* else: prove */
	enum channel_role peer_role;
	int64_t started; /* unix seconds */
	struct evidence evidence; /* owns: theirs, or the one made */
	uint8_t report_data[64];
	struct attested peer;
	enum err e;
	struct refusal why;
};

static void on_recv(struct inbox_node *n);
static void on_send(struct inbox_node *n);

/* ---- life ---- */

static void
conn_free(struct conn *c)
{
	if (c->rx.aio != NULL)
		nng_aio_free(c->rx.aio);
	if (c->tx.aio != NULL)
		nng_aio_free(c->tx.aio);
	if (c->stream != NULL)
		nng_stream_free(c->stream);
	session_free(c->session);
	buf_fini(&c->sending);
	buf_fini(&c->out);
	free(c);
}

enum err
conn_new(struct conn **out, struct channel_server *s, nng_stream *stream,
    const uint8_t source[static SOURCE_LEN], uint32_t slot, uint64_t id)
{
	struct session_options o = { .role = CHANNEL_KMS_SERVER,
		.chain_id = s->o.cx->chain_id,
		.kms_contract = s->o.cx->kms_contract,
		.s = s->keys->s,
		.s_pub = s->s_pub,
		.cookie_key = s->keys->cookie };
	struct wr w = { .p = o.source, .cap = sizeof o.source };
	struct conn *c = calloc(1, sizeof *c);
	uint64_t now = clock_mono_ms();
	enum err e;

	if (c == NULL)
		return ERR_NOMEM;
	c->server = s;
	c->id = id;
	c->slot = slot;
	memcpy(c->source, source, sizeof c->source);
	c->state_ms = c->active_ms = now;
	wr_be64(&w, id);
	wr_bytes(&w, source, 17);
	if ((e = server_node_init(&c->rx, s, c, on_recv)) != ERR_OK ||
	    (e = server_node_init(&c->tx, s, c, on_send)) != ERR_OK ||
	    (e = session_new(&c->session, &c->out, &o, now)) != ERR_OK) {
		conn_free(c);
		return e;
	}
	c->stream = stream; /* taken only on success */
	*out = c;
	return ERR_OK;
}

void
conn_start(struct conn *c)
{
	conn_pump(c);
}

struct channel_caller
conn_caller(const struct conn *c)
{
	return (struct channel_caller){ .conn = c->id,
		.role = session_peer_role(c->session),
		.peer = &c->peer,
		.handshake_hash = session_hash(c->session) };
}

/* Leaves CONN_HALF or CONN_OPEN for good. */
static void
leave(struct conn *c, enum conn_state next)
{
	struct channel_server *s = c->server;
	enum conn_state was = c->state;

	c->state = next;
	c->state_ms = clock_mono_ms();
	if (was == CONN_HALF)
		s->stats.handshake_failed++;
	if (was != CONN_OPEN)
		return;
	s->n_open--;
	s->n_peers -= session_peer_role(c->session) == CHANNEL_KMS_PEER;
	c->pending = 0;
	if (s->o.on_close != NULL)
		s->o.on_close(s->o.cookie, c->id);
}

void
conn_close(struct conn *c)
{
	if (c->state == CONN_CLOSED)
		return;
	if (c->job != NULL)
		/* If it has not begun; it comes back either way. */
		(void)uv_cancel((uv_req_t *)&c->job->work);
	leave(c, CONN_CLOSED);
	nng_stream_close(c->stream);
}

void
conn_refuse(struct conn *c, const struct refusal *why)
{
	struct channel_server *s = c->server;
	bool known = !session_handshaking(c->session);

	if (c->state == CONN_DRAIN || c->state == CONN_CLOSED)
		return;
	if (!session_refused_by_peer(c->session))
		s->stats.refusals[why->code]++;
	/* Strangers are counted; only a live peer is worth a line. */
	log_event(known ? LOG_WARN : LOG_DEBUG, "channel_refused",
	    log_u64("conn", c->id),
	    log_u64("role", (uint64_t)session_peer_role(c->session)),
	    log_why(why));
	session_refuse(c->session, &c->out, why->code, clock_mono_ms());
	if (c->out.len + c->sending.len > 0)
		leave(c, CONN_DRAIN);
	else
		conn_close(c);
}

static void
refuse_with(struct conn *c, enum reason code, const char *detail)
{
	struct refusal why;

	(void)refuse(&why, code, "%s", detail);
	conn_refuse(c, &why);
}

/* ---- workers ---- */

static void
on_worker(uv_work_t *w)
{
	struct job *j = w->data;

	if (j->check)
		j->e = j->cx->check(j->cx->cookie, &j->peer, &j->evidence,
		    j->report_data, j->peer_role, &j->why);
	else
		j->e = j->cx->prove(
		    j->cx->cookie, &j->evidence, j->report_data, &j->why);
}

static void on_event(struct conn *c, struct session_event *ev);

static void
on_worker_done(uv_work_t *w, int status)
{
	struct job *j = w->data;
	struct conn *c = j->conn;
	struct session_event ev = { .kind = SESSION_IDLE };
	int64_t life = j->cx->evidence_life_s;

	c->job = NULL;
	c->active_ms = clock_mono_ms(); /* the silence was ours */
	if (status != 0 || (c->state != CONN_HALF && c->state != CONN_OPEN))
		goto done;
	if (j->e == ERR_OK && j->check) {
		c->peer = j->peer;
		c->expires = j->started + life;
		/* Collateral may run out earlier; zero: it never does. */
		if (j->peer.verdict.valid_until != 0 &&
		    j->peer.verdict.valid_until < c->expires)
			c->expires = j->peer.verdict.valid_until;
		/* Before it costs a quote of ours. */
		j->e = !c->was_open && server_full(c, true)
		    ? refuse(&j->why, REASON_BUSY, "sessions of this peer")
		    : session_checked(c->session, &ev);
	} else if (j->e == ERR_OK) {
		j->e = session_proved(c->session, &ev, &c->out, &j->evidence,
		    clock_mono_ms(), &j->why);
	}
	if (j->e != ERR_OK) {
		if (j->why.code == REASON_NONE)
			(void)refuse(&j->why, REASON_INTERNAL, "%s: %s",
			    j->check ? "check" : "prove", err_text(j->e));
		conn_refuse(c, &j->why);
	} else {
		on_event(c, &ev);
	}
done:
	evidence_fini(&j->evidence);
	free(j);
	conn_pump(c);
}

static void
start_job(struct conn *c, struct session_event *ev)
{
	struct channel_server *s = c->server;
	struct job *j = calloc(1, sizeof *j);

	if (j == NULL) {
		refuse_with(c, REASON_INTERNAL, "no memory");
		return;
	}
	j->work.data = j;
	j->conn = c;
	j->cx = s->o.cx;
	j->check = ev->kind == SESSION_CHECK;
	j->peer_role = session_peer_role(c->session);
	/* The life of evidence counts from before it was looked at. */
	j->started = s->o.cx->now(s->o.cx->cookie);
	memcpy(j->report_data, ev->report_data, sizeof j->report_data);
	if (j->check) {
		j->evidence = *ev->evidence;
		*ev->evidence = (struct evidence){ 0 };
	}
	c->job = j;
	if (uv_queue_work(s->loop, &j->work, on_worker, on_worker_done) != 0) {
		c->job = NULL;
		evidence_fini(&j->evidence);
		free(j);
		refuse_with(c, REASON_INTERNAL, "no worker");
	}
}

/* ---- events ---- */

static bool
expired(const struct conn *c)
{
	const struct channel_context *cx = c->server->o.cx;

	return cx->now(cx->cookie) >= c->expires;
}

static void
on_open(struct conn *c)
{
	struct channel_server *s = c->server;
	const unsigned per_s = s->o.limits.requests_per_session;

	if (server_full(c, true)) {
		refuse_with(c, REASON_BUSY, "sessions");
		return;
	}
	c->state = CONN_OPEN;
	c->state_ms = clock_mono_ms();
	c->requests = rate_full(per_s, BURST_S * per_s, c->state_ms);
	c->patience = rate_full(PATIENCE_PER_S, PATIENCE_BURST, c->state_ms);
	s->n_peers += session_peer_role(c->session) == CHANNEL_KMS_PEER;
	c->was_open = true;
	s->n_half--;
	s->n_open++;
	log_event(LOG_INFO, "channel_open", log_u64("conn", c->id),
	    log_u64("role", (uint64_t)session_peer_role(c->session)),
	    log_str("tcb_status", tcb_status_text(c->peer.verdict.status)));
}

/* KMS nodes talk as fast as they do: a link has one batch under way. */
static bool
over_rate(struct conn *c)
{
	uint64_t now = clock_mono_ms();

	if (session_peer_role(c->session) != CHANNEL_APP)
		return false;
	return !rate_take(&c->requests, now) ||
	    !rates_take(c->server->devices, c->peer.boot.device_id, now);
}

static void
on_request(struct conn *c, struct bytes body)
{
	struct channel_server *s = c->server;
	struct channel_caller who = conn_caller(c);

	if (!expired(c)) {
		who.over_rate = over_rate(c);
		if (who.over_rate &&
		    !rate_take(&c->patience, clock_mono_ms())) {
			refuse_with(c, REASON_RATE, "does not wait");
			return;
		}
		c->pending++;
		s->o.on_request(s->o.cookie, &who, body);
		return;
	}
	s->stats.refusals[REASON_EVIDENCE_EXPIRED]++;
	if (session_reply_refused(c->session, &c->out, REASON_EVIDENCE_EXPIRED,
		clock_mono_ms()) != ERR_OK)
		conn_close(c);
}

static void
on_event(struct conn *c, struct session_event *ev)
{
	switch (ev->kind) {
	case SESSION_IDLE:
		return;
	case SESSION_CHECK:
		/* Before anything slow is done for it. */
		if (!c->was_open && server_full(c, false)) {
			refuse_with(c, REASON_BUSY, "sessions");
			return;
		}
		start_job(c, ev);
		return;
	case SESSION_PROVE:
		start_job(c, ev);
		return;
	case SESSION_OPEN:
		on_open(c);
		return;
	case SESSION_RENEWED:
		return;
	case SESSION_REQUEST:
		on_request(c, ev->body);
		return;
	case SESSION_REPLY:
	case SESSION_REQUEST_REFUSED:
		break; /* A session refuses these on this side. */
	}
	refuse_with(c, REASON_FRAME, "unexpected message");
}

/* ---- bytes ---- */

/* Whether the next frame may be looked at. */
static bool
may_feed(const struct conn *c)
{
	unsigned max = c->server->o.limits.max_pending_requests;

	if (c->job != NULL || (c->state != CONN_HALF && c->state != CONN_OPEN))
		return false;
	if (c->out.len + (c->sending.len - c->sent) > LIMIT_CHANNEL_UNSENT)
		return false;
	/* A refusal must not overtake an answer. */
	return c->pending < (c->state == CONN_OPEN && expired(c) ? 1 : max);
}

static void
feed(struct conn *c)
{
	struct channel_server *s = c->server;
	struct session_event ev;
	struct refusal why = { 0 };
	struct bytes in = { c->in + c->at, c->end - c->at };
	bool shaking = session_handshaking(c->session);
	uint64_t whole = session_frames(c->session);
	enum err e;

	if (shaking) {
		session_challenge(
		    c->session, s->n_half > s->o.limits.max_half_open / 2);
		secret_open_ro(s->keys);
	}
	e = session_feed(c->session, &ev, &c->out, &in, clock_mono_ms(), &why);
	c->at = c->end - in.len;
	if (shaking)
		secret_lock(s->keys);
	/* Whole frames are a sign of life, bytes are none: a frame that goes
	 * on keeps the time of its beginning. */
	if (session_frames(c->session) != whole) {
		c->active_ms = clock_mono_ms();
		c->frame_ms = 0;
	}
	if (c->frame_ms == 0 && session_partial(c->session))
		c->frame_ms = clock_mono_ms();
	if (e == ERR_OK) {
		on_event(c, &ev);
		session_consumed(c->session);
		return;
	}
	if (e != ERR_DENIED)
		(void)refuse(&why, REASON_INTERNAL, "%s", err_text(e));
	if (!session_refused_by_peer(c->session))
		s->stats.frames_refused++;
	conn_refuse(c, &why);
}

static void
post_send(struct conn *c)
{
	nng_iov iov;

	if (c->tx.posted || c->state == CONN_CLOSED)
		return;
	if (c->sent == c->sending.len) {
		struct buf empty = c->sending;

		if (empty.cap > LIMIT_CHANNEL_UNSENT)
			buf_fini(&empty);
		empty.len = 0;
		c->sending = c->out;
		c->out = empty;
		c->sent = 0;
		c->sending_ms = clock_mono_ms();
	}
	if (c->sending.len == 0)
		return;
	iov = (nng_iov){ .iov_buf = c->sending.p + c->sent,
		.iov_len = c->sending.len - c->sent };
	nng_aio_set_timeout(
	    c->tx.aio, (nng_duration)c->server->o.limits.message_timeout_ms);
	if (nng_aio_set_iov(c->tx.aio, 1, &iov) != 0) {
		conn_close(c);
		return;
	}
	c->tx.posted = true;
	nng_stream_send(c->stream, c->tx.aio);
}

static void
post_recv(struct conn *c)
{
	nng_iov iov;

	if (c->rx.posted || c->state == CONN_CLOSED)
		return;
	memmove(c->in, c->in + c->at, c->end - c->at);
	c->end -= c->at;
	c->at = 0;
	if (c->end == sizeof c->in)
		return;
	iov = (nng_iov){ .iov_buf = c->in + c->end,
		.iov_len = sizeof c->in - c->end };
	if (nng_aio_set_iov(c->rx.aio, 1, &iov) != 0) {
		conn_close(c);
		return;
	}
	c->rx.posted = true;
	nng_stream_recv(c->stream, c->rx.aio);
}

/* What it holds, and in all: who holds much when there is too much is ended,
 * and lets go of it at once.  KMS nodes have each other's batches to take. */
static void
count_memory(struct conn *c)
{
	const struct channel_limits *l = &c->server->o.limits;

	server_count(c);
	assert(c->memory <= MEMORY_EACH(l->max_pending_requests));
	if (c->server->memory <= l->max_memory || c->memory <= MEMORY_SMALL ||
	    session_peer_role(c->session) == CHANNEL_KMS_PEER ||
	    (c->state != CONN_HALF && c->state != CONN_OPEN))
		return;
	refuse_with(c, REASON_BUSY, "memory");
	session_drop(c->session);
	server_count(c);
}

void
conn_pump(struct conn *c)
{
	if (c->pumping)
		return;
	c->pumping = true;
	while (c->at < c->end && may_feed(c))
		feed(c);
	count_memory(c);
	if (c->state == CONN_DRAIN)
		c->at = c->end; /* nobody listens any more */
	post_send(c);
	post_recv(c);
	c->pumping = false;
	if (c->state != CONN_CLOSED || c->rx.posted || c->tx.posted ||
	    c->job != NULL)
		return;
	server_forget(c);
	conn_free(c);
}

static void
on_recv(struct inbox_node *n)
{
	struct conn *c = n->conn;

	if (n->rv != 0 || n->count == 0)
		conn_close(c); /* gone, or half gone: there is no such thing */
	else
		c->end += n->count;
	conn_pump(c);
}

/* What was sent is not taken: it would not read the reason either. */
static void
not_read(struct conn *c)
{
	if (c->state == CONN_CLOSED)
		return;
	c->server->stats.refusals[REASON_TIMEOUT]++;
	conn_close(c);
}

static void
on_send(struct inbox_node *n)
{
	struct conn *c = n->conn;

	if (n->rv == NNG_ETIMEDOUT)
		not_read(c);
	else if (n->rv != 0)
		conn_close(c);
	else
		c->sent += n->count;
	conn_pump(c);
}

enum err
conn_reply(struct conn *c, struct bytes reply)
{
	enum err e;

	if (c->pending == 0)
		return ERR_PHASE;
	e = session_reply(c->session, &c->out, reply, clock_mono_ms());
	if (e != ERR_OK) {
		/* The next answer would be taken for this one. */
		refuse_with(c, REASON_INTERNAL, err_text(e));
		conn_pump(c);
		return e;
	}
	c->pending--;
	c->active_ms = clock_mono_ms();
	if (c->frame_ms != 0)
		c->frame_ms = c->active_ms; /* it had to wait for us */
	conn_pump(c);
	return ERR_OK;
}

void
conn_tick(struct conn *c, uint64_t now_ms, int64_t now_s)
{
	const struct channel_limits *l = &c->server->o.limits;

	if (c->sent < c->sending.len &&
	    now_ms - c->sending_ms >= l->message_timeout_ms)
		not_read(c);
	switch (c->state) {
	case CONN_HALF:
		if (now_ms - c->state_ms >= l->handshake_timeout_ms)
			refuse_with(c, REASON_TIMEOUT, "handshake");
		break;
	case CONN_OPEN:
		if (now_s - c->expires >= EXPIRED_GRACE_S && c->job == NULL)
			refuse_with(c, REASON_EVIDENCE_EXPIRED, "not renewed");
		else if (c->job == NULL &&
		    now_ms - c->active_ms >= l->idle_timeout_ms)
			refuse_with(c, REASON_TIMEOUT, "idle");
		else if (c->frame_ms != 0 && may_feed(c) &&
		    now_ms - c->frame_ms >= l->message_timeout_ms)
			refuse_with(c, REASON_TIMEOUT, "message");
		break;
	case CONN_DRAIN:
		if (now_ms - c->state_ms >= DRAIN_MS)
			conn_close(c);
		break;
	case CONN_CLOSED:
		break;
	}
	conn_pump(c);
}
