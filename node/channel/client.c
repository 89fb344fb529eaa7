/* client: the dialling side, blocking, over an nng byte stream.
 *
 * One thread at a time per channel.  Every wait has the caller's deadline;
 * nng's own protocols are not used (DESIGN 6, Transport). */
#include <pthread.h>
#include <stdlib.h>

#include <nng/nng.h>

#include "common/base/clock.h"
#include "common/base/limits.h"
#include "common/base/secret.h"
#include "node/channel/noise.h"
#include "node/channel/proof.h"
#include "node/channel/session.h"

#define RECV_CHUNK (16u * 1024)
/* To tell the peer a reason, or to hear one behind a broken send. */
#define LAST_WORDS_MS 500

struct channel {
	struct channel_context cx;
	enum channel_role role;
	nng_stream_dialer *dialer; /* owns */
	nng_stream *stream; /* owns */
	nng_aio *aio; /* owns */
	uint8_t *s; /* owns, secret; NULL once Noise is done */
	struct session *session; /* owns */
	struct attested peer;
	int64_t proved_at; /* when the evidence now believed was asked for */
	struct buf out; /* owns: sealed frames */
	struct bytes left; /* borrows from `in` */
	bool dead;
	uint8_t in[RECV_CHUNK];
};

/* ---- the abort switch ---- */

struct channel_abort {
	pthread_mutex_t lock;
	bool fired;
	nng_aio *aio; /* borrows from the channel; NULL: none */
};

enum err
channel_abort_new(struct channel_abort **out)
{
	struct channel_abort *a = calloc(1, sizeof *a);

	if (a == NULL)
		return ERR_NOMEM;
	(void)pthread_mutex_init(&a->lock, NULL);
	*out = a;
	return ERR_OK;
}

void
channel_abort_free(struct channel_abort *a)
{
	if (a == NULL)
		return;
	(void)pthread_mutex_destroy(&a->lock);
	free(a);
}

void
channel_abort_fire(struct channel_abort *a)
{
	(void)pthread_mutex_lock(&a->lock);
	a->fired = true;
	if (a->aio != NULL)
		nng_aio_cancel(a->aio);
	(void)pthread_mutex_unlock(&a->lock);
}

void
channel_abort_reset(struct channel_abort *a)
{
	(void)pthread_mutex_lock(&a->lock);
	a->fired = false;
	(void)pthread_mutex_unlock(&a->lock);
}

/* Which operations the switch of `c` ends. */
static void
abort_covers(struct channel *c, nng_aio *aio)
{
	struct channel_abort *a = c->cx.abort;

	if (a == NULL)
		return;
	(void)pthread_mutex_lock(&a->lock);
	a->aio = aio;
	(void)pthread_mutex_unlock(&a->lock);
}

static bool
aborted(struct channel *c)
{
	struct channel_abort *a = c->cx.abort;
	bool fired;

	if (a == NULL)
		return false;
	(void)pthread_mutex_lock(&a->lock);
	fired = a->fired;
	(void)pthread_mutex_unlock(&a->lock);
	return fired;
}

/* ---- bytes ---- */

static enum err
io_error(int rv, struct refusal *why)
{
	(void)refuse(why,
	    rv == NNG_ETIMEDOUT ? REASON_TIMEOUT : REASON_HANDSHAKE,
	    "connection: %s", nng_strerror(rv));
	return rv == NNG_ETIMEDOUT ? ERR_TIMEOUT
	    : rv == NNG_ENOMEM     ? ERR_NOMEM
				   : ERR_IO;
}

static int
arm(struct channel *c, uint64_t deadline)
{
	uint64_t now = clock_mono_ms();

	if (aborted(c))
		return NNG_ECANCELED;
	if (now >= deadline)
		return NNG_ETIMEDOUT;
	nng_aio_set_timeout(c->aio, (nng_duration)(deadline - now));
	return 0;
}

/* Waits for the operation that was just begun. */
static int
finish(struct channel *c)
{
	/* The switch may have been fired after arm() looked and before there
	 * was anything to cancel; from here on it finds the operation. */
	if (aborted(c))
		nng_aio_cancel(c->aio);
	nng_aio_wait(c->aio);
	return nng_aio_result(c->aio);
}

/* An operation that ended by itself at the very moment of its timeout is still
 * with nng's timer, which calls the dialler or the stream to cancel it: they
 * must not be gone by then, nor may the aio be in use on another of them.
 * nng_aio_free waits for the timer. */
static void
end_aio(struct channel *c)
{
	abort_covers(c, NULL);
	if (c->aio != NULL)
		nng_aio_free(c->aio);
	c->aio = NULL;
}

static int
dial(struct channel *c, uint64_t deadline)
{
	int rv = arm(c, deadline);

	if (rv != 0)
		return rv;
	nng_stream_dialer_dial(c->dialer, c->aio);
	if ((rv = finish(c)) == 0)
		c->stream = nng_aio_get_output(c->aio, 0);
	end_aio(c);
	if (rv == 0 && (rv = nng_aio_alloc(&c->aio, NULL, NULL)) == 0)
		abort_covers(c, c->aio);
	return rv;
}

static int
send_all(struct channel *c, uint64_t deadline)
{
	size_t at = 0;
	int rv = 0;

	while (rv == 0 && at < c->out.len) {
		nng_iov iov = { .iov_buf = c->out.p + at,
			.iov_len = c->out.len - at };

		if ((rv = arm(c, deadline)) != 0 ||
		    (rv = nng_aio_set_iov(c->aio, 1, &iov)) != 0)
			break;
		nng_stream_send(c->stream, c->aio);
		rv = finish(c);
		at += nng_aio_count(c->aio);
	}
	c->out.len = 0;
	return rv;
}

static int
recv_some(struct channel *c, uint64_t deadline)
{
	nng_iov iov = { .iov_buf = c->in, .iov_len = sizeof c->in };
	int rv;

	if ((rv = arm(c, deadline)) != 0 ||
	    (rv = nng_aio_set_iov(c->aio, 1, &iov)) != 0)
		return rv;
	nng_stream_recv(c->stream, c->aio);
	if ((rv = finish(c)) == 0)
		c->left = (struct bytes){ c->in, nng_aio_count(c->aio) };
	return rv;
}

/* ---- the session ---- */

/* The connection broke while we sent: the peer may have said why. */
static enum err
send_or_hear(struct channel *c, uint64_t deadline, struct refusal *why)
{
	uint64_t until = clock_mono_ms() + LAST_WORDS_MS;
	struct session_event ev;
	int rv = send_all(c, deadline);

	if (rv == 0)
		return ERR_OK;
	while (rv != NNG_ETIMEDOUT && recv_some(c, until) == 0)
		while (c->left.len > 0)
			if (session_feed(c->session, &ev, &c->out, &c->left,
				clock_mono_ms(), why) != ERR_OK)
				return session_refused_by_peer(c->session)
				    ? ERR_DENIED
				    : io_error(rv, why);
	return io_error(rv, why);
}

static enum err
prove(struct channel *c, struct session_event *ev, uint64_t deadline,
    struct refusal *why)
{
	struct evidence mine = { 0 };
	uint8_t rd[64];
	enum err e;

	if (aborted(c))
		return io_error(NNG_ECANCELED, why);
	for (size_t i = 0; i < sizeof rd; i++)
		rd[i] = ev->report_data[i];
	/* Its life counts from before it was made. */
	c->proved_at = c->cx.now(c->cx.cookie);
	e = c->cx.prove(c->cx.cookie, &mine, rd, why);
	if (e == ERR_OK)
		e = session_proved(
		    c->session, ev, &c->out, &mine, clock_mono_ms(), why);
	evidence_fini(&mine);
	return e != ERR_OK ? e : send_or_hear(c, deadline, why);
}

static enum err
check(struct channel *c, struct session_event *ev, struct refusal *why)
{
	struct attested peer = { 0 };
	enum err e;

	if (aborted(c))
		return io_error(NNG_ECANCELED, why);
	e = c->cx.check(c->cx.cookie, &peer, ev->evidence, ev->report_data,
	    CHANNEL_KMS_SERVER, why);
	if (e != ERR_OK)
		return e;
	c->peer = peer;
	return session_checked(c->session, ev);
}

/* Runs the session until the event that is waited for, or the refusal of a
 * request. */
static enum err
drive(struct channel *c, struct session_event *ev, enum session_event_kind want,
    uint64_t deadline, struct refusal *why)
{
	enum err e = ERR_OK;
	int rv;

	*ev = (struct session_event){ .kind = SESSION_IDLE };
	while (e == ERR_OK && ev->kind != want &&
	    ev->kind != SESSION_REQUEST_REFUSED)
		switch (ev->kind) {
		case SESSION_IDLE:
			if (c->out.len > 0 &&
			    (e = send_or_hear(c, deadline, why)) != ERR_OK)
				break;
			if (c->left.len == 0 &&
			    (rv = recv_some(c, deadline)) != 0) {
				e = io_error(rv, why);
				break;
			}
			e = session_feed(c->session, ev, &c->out, &c->left,
			    clock_mono_ms(), why);
			break;
		case SESSION_PROVE:
			/* Message 3 goes first: the peer waits for it. */
			if ((e = send_or_hear(c, deadline, why)) == ERR_OK)
				e = prove(c, ev, deadline, why);
			break;
		case SESSION_CHECK:
			e = check(c, ev, why);
			break;
		case SESSION_OPEN:
		case SESSION_RENEWED:
		case SESSION_REQUEST:
		case SESSION_REPLY:
		case SESSION_REQUEST_REFUSED:
			e = refuse(why, REASON_FRAME, "unexpected message");
			break;
		}
	return e;
}

/* The end of a channel, for a reason of ours that the peer is told. */
static enum err
give_up(struct channel *c, enum err e, const struct refusal *local,
    struct refusal *why)
{
	c->dead = true;
	if (why != NULL)
		*why = *local;
	if (c->session == NULL || session_refused_by_peer(c->session) ||
	    e == ERR_IO)
		return e;
	c->out.len = 0;
	session_refuse(c->session, &c->out,
	    local->code != REASON_NONE ? local->code : REASON_INTERNAL,
	    clock_mono_ms());
	(void)send_all(c, clock_mono_ms() + LAST_WORDS_MS);
	return e;
}

static enum err
begin(
    struct channel *c, const char *url, uint64_t deadline, struct refusal *why)
{
	struct session_options o = { .role = c->role,
		.chain_id = c->cx.chain_id,
		.kms_contract = c->cx.kms_contract };
	struct session_event ev;
	uint8_t s_pub[32];
	enum err e;
	int rv;

	/* Two small frames in a row must not wait for each other's receipt. */
	if ((rv = nng_stream_dialer_alloc(&c->dialer, url)) != 0 ||
	    (rv = nng_stream_dialer_set_bool(
		 c->dialer, NNG_OPT_TCP_NODELAY, true)) != 0 ||
	    (rv = nng_aio_alloc(&c->aio, NULL, NULL)) != 0) {
		(void)refuse(
		    why, REASON_INTERNAL, "address: %s", nng_strerror(rv));
		return rv == NNG_ENOMEM ? ERR_NOMEM : ERR_CONFIG;
	}
	abort_covers(c, c->aio);
	if ((rv = dial(c, deadline)) != 0)
		return io_error(rv, why);
	/* A static key per channel: it binds evidence to this session and
	 * names nobody beyond it. */
	if ((c->s = secret_new(NOISE_KEY_LEN)) == NULL)
		return ERR_NOMEM;
	secret_random(c->s, NOISE_KEY_LEN);
	noise_public(s_pub, c->s);
	o.s = c->s;
	o.s_pub = s_pub;
	e = session_new(&c->session, &c->out, &o, clock_mono_ms());
	if (e == ERR_OK)
		e = drive(c, &ev, SESSION_OPEN, deadline, why);
	return e;
}

enum err
channel_dial(struct channel **out, const struct channel_context *cx,
    enum channel_role role, const char *url, unsigned timeout_ms,
    struct refusal *why)
{
	uint64_t deadline = clock_mono_ms() + timeout_ms;
	struct refusal local = { 0 };
	struct channel *c = NULL;
	enum err e;

	if (role != CHANNEL_KMS_PEER && role != CHANNEL_APP)
		return ERR_CONFIG;
	if ((c = calloc(1, sizeof *c)) == NULL)
		return ERR_NOMEM;
	c->cx = *cx;
	c->role = role;
	e = begin(c, url, deadline, &local);
	if (e != ERR_OK)
		e = give_up(c, e, &local, why);
	secret_free(c->s);
	c->s = NULL;
	if (e != ERR_OK) {
		channel_close(c);
		return e;
	}
	*out = c;
	return ERR_OK;
}

static enum err
renew(struct channel *c, uint64_t deadline, struct refusal *why)
{
	struct session_event ev;
	enum err e = session_renew(c->session, &c->out, clock_mono_ms());

	return e != ERR_OK ? e : drive(c, &ev, SESSION_RENEWED, deadline, why);
}

enum err
channel_renew(struct channel *c, unsigned timeout_ms, struct refusal *why)
{
	struct refusal local = { 0 };
	enum err e;

	if (c->dead)
		return ERR_PHASE;
	e = renew(c, clock_mono_ms() + timeout_ms, &local);
	return e == ERR_OK ? e : give_up(c, e, &local, why);
}

/* Sends a request and waits; ERR_AGAIN if the peer wants new evidence. */
static enum err
ask(struct channel *c, struct buf *reply, struct bytes request,
    uint64_t deadline, struct refusal *why)
{
	struct session_event ev;
	enum err e;

	e = session_request(c->session, &c->out, request, clock_mono_ms());
	if (e == ERR_OK)
		e = drive(c, &ev, SESSION_REPLY, deadline, why);
	if (e != ERR_OK)
		return e;
	if (ev.kind == SESSION_REPLY)
		e = buf_set(reply, ev.body.p, ev.body.len);
	session_consumed(c->session);
	if (ev.kind != SESSION_REQUEST_REFUSED)
		return e;
	*why = ev.why;
	return ev.why.code == REASON_EVIDENCE_EXPIRED ? ERR_AGAIN : ERR_DENIED;
}

enum err
channel_call(struct channel *c, struct buf *reply, struct bytes request,
    unsigned timeout_ms, struct refusal *why)
{
	uint64_t deadline = clock_mono_ms() + timeout_ms;
	struct refusal local = { 0 };
	int64_t age = c->cx.now(c->cx.cookie) - c->proved_at;
	enum err e = ERR_OK;

	if (c->dead)
		return ERR_PHASE;
	if (request.len > LIMIT_MESSAGE)
		return ERR_LIMIT;
	/* Both sides' evidence is of the same age.  A clock that went back
	 * says nothing about it: renew. */
	if (age < 0 || age >= c->cx.evidence_life_s / 2)
		e = renew(c, deadline, &local);
	if (e == ERR_OK)
		e = ask(c, reply, request, deadline, &local);
	/* The peer's clock runs ahead of ours.  It has not looked at the
	 * request, so asking again is safe; once. */
	if (e == ERR_AGAIN && local.code == REASON_EVIDENCE_EXPIRED) {
		e = renew(c, deadline, &local);
		if (e == ERR_OK)
			e = ask(c, reply, request, deadline, &local);
		if (e == ERR_AGAIN)
			e = ERR_DENIED;
	}
	return e == ERR_OK ? e : give_up(c, e, &local, why);
}

const struct attested *
channel_peer(const struct channel *c)
{
	return &c->peer;
}

const uint8_t *
channel_handshake_hash(const struct channel *c)
{
	return session_hash(c->session);
}

void
channel_close(struct channel *c)
{
	if (c == NULL)
		return;
	end_aio(c); /* before what it is used on */
	if (c->stream != NULL) {
		nng_stream_close(c->stream);
		nng_stream_free(c->stream);
	}
	if (c->dialer != NULL) {
		nng_stream_dialer_close(c->dialer);
		nng_stream_dialer_free(c->dialer);
	}
	session_free(c->session);
	secret_free(c->s);
	buf_fini(&c->out);
	free(c);
}
