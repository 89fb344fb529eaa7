/* httpd: one thread reads and writes for all connections, others run the
 * handler.
 *
 * A handler may block for seconds (a quote, a chain call), so it never runs
 * on the thread that keeps the time.  A connection belongs to the loop,
 * except while its request is queued or handled: then to a handler's thread,
 * which sends the reply at once, as far as the socket takes it.
 *
 *   READING -- whole --> HANDLED -- sent --> LINGERING -- client's end --> gone
 *      \_______________ refused ____________/ \_ not all: WRITING _/ */
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/secret.h"
#include "common/net/httproom.h"
#include "common/net/listen.h"

#define BODIES_DEFAULT (64u << 20)
/* A request that is refused by its length is still being sent: what is read
 * away of it, besides the largest body that is taken, eight times. */
#define DRAIN_MIN (1u << 20)
#define DRAIN_FACTOR 8u
#define TICK_MS 100
#define TOLD_MS 10000 /* between two words on descriptors that ran out */
#define EVENTS 128
#define READ_SIZE (64u * 1024)
#define READS_IN_A_ROW 16 /* before others have their turn */
#define HANDLER_STACK (512u * 1024)

/* First in, first out. */
struct queue {
	struct httpconn *first, **last;
};

struct httpd {
	httpd_handler *handler;
	void *cookie; /* borrows */
	const char *header;
	size_t max_body, max_bodies, max_drain;
	unsigned max_connections;
	uint64_t timeout_ms, total_ms;
	struct listen_file file;
	uint16_t port;
	int listener, epoll, wake; /* -1: none */
	/* The loop's alone. */
	struct httpconn *conns;
	unsigned n_conns;
	struct httproom room;
	size_t bodies; /* bytes that requests have reserved */
	bool accepting; /* false while descriptors have run out */
	uint64_t told_ms; /* when that was logged; 0: never */
	uint8_t *scratch; /* owns: READ_SIZE */
	pthread_t loop;
	bool have_loop;
	pthread_t *threads; /* owns */
	unsigned n_threads;
	/* Under the lock. */
	pthread_mutex_t lock;
	pthread_cond_t work;
	struct queue jobs, done;
	bool stopping;
};

static void
push(struct queue *q, struct httpconn *c)
{
	c->queued = NULL;
	*q->last = c;
	q->last = &c->queued;
}

static struct httpconn *
pop(struct queue *q)
{
	struct httpconn *c = q->first;

	if (c != NULL && (q->first = c->queued) == NULL)
		q->last = &q->first;
	return c;
}

static void
wake(struct httpd *h)
{
	const uint64_t one = 1;

	/* Full means that it is awake. */
	(void)!write(h->wake, &one, sizeof one);
}

/* ---- the handlers' threads ---- */

static void
handle(struct httpd *h, struct httpconn *c)
{
	struct httpd_reply rp = { .status = 200,
		.content_type = "application/json" };
	struct httpd_request rq;

	httpd_request_of(&rq, &c->in);
	h->handler(h->cookie, &rq, &rp);
	httpconn_reply(c, &rp);
	/* The rest, if any, is the loop's. */
	(void)httpconn_send(c);
}

static void *
run_handlers(void *arg)
{
	struct httpd *h = arg;
	struct httpconn *c;
	bool first;

	(void)pthread_mutex_lock(&h->lock);
	for (;;) {
		while (!h->stopping && h->jobs.first == NULL)
			(void)pthread_cond_wait(&h->work, &h->lock);
		if (h->stopping)
			break;
		c = pop(&h->jobs);
		(void)pthread_mutex_unlock(&h->lock);
		handle(h, c);
		(void)pthread_mutex_lock(&h->lock);
		first = h->done.first == NULL;
		push(&h->done, c);
		if (first)
			wake(h);
	}
	(void)pthread_mutex_unlock(&h->lock);
	return NULL;
}

/* ---- connections: the loop's ---- */

static void
conn_free(struct httpd *h, struct httpconn *c)
{
	*(c->prev != NULL ? &c->prev->next : &h->conns) = c->next;
	if (c->next != NULL)
		c->next->prev = c->prev;
	h->n_conns--;
	h->room.held[c->bucket]--;
	h->bodies -= c->reserved;
	/* A process that was forked meanwhile may have the socket, too: then
	 * closing ours does not end epoll's interest in it. */
	(void)epoll_ctl(h->epoll, EPOLL_CTL_DEL, c->fd, NULL);
	httpconn_fini(c);
	free(c);
}

/* Waits for `events` (EPOLLIN, EPOLLOUT; 0: none) of the connection. */
static void
watch(struct httpd *h, struct httpconn *c, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.ptr = c };

	(void)epoll_ctl(h->epoll, EPOLL_CTL_MOD, c->fd, &ev);
}

/* Sends, and goes on to wait for the client's end. */
static void
conn_write(struct httpd *h, struct httpconn *c)
{
	if (httpconn_send(c)) {
		c->state = HTTPCONN_LINGERING;
		c->began_ms = clock_mono_ms();
		watch(h, c, EPOLLIN);
	} else {
		c->state = HTTPCONN_WRITING;
		watch(h, c, EPOLLOUT);
	}
}

static void
conn_refuse(
    struct httpd *h, struct httpconn *c, unsigned status, const char *why)
{
	httpconn_refuse(c, status, why);
	conn_write(h, c);
}

static void
conn_whole(struct httpd *h, struct httpconn *c)
{
	c->state = HTTPCONN_HANDLED;
	watch(h, c, 0);
	(void)pthread_mutex_lock(&h->lock);
	push(&h->jobs, c);
	(void)pthread_cond_signal(&h->work);
	(void)pthread_mutex_unlock(&h->lock);
}

/* The head is there: may its body come? */
static enum http1_step
conn_head(struct httpd *h, struct httpconn *c, bool more)
{
	static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";

	if (c->in.body_max > h->max_bodies - h->bodies)
		return http1_refuse(&c->in, 503, "too many large requests");
	c->reserved = c->in.body_max;
	h->bodies += c->reserved;
	if (c->in.expect_continue && c->in.body_max > 0 && !more)
		(void)send(c->fd, go_on, sizeof go_on - 1,
		    MSG_NOSIGNAL | MSG_DONTWAIT);
	return HTTP1_MORE;
}

static enum http1_step
conn_feed(struct httpd *h, struct httpconn *c, struct bytes in)
{
	enum http1_step step = http1_feed(&c->in, &in);

	if (step == HTTP1_HEAD &&
	    (step = conn_head(h, c, in.len > 0)) == HTTP1_MORE)
		step = http1_feed(&c->in, &in);
	return step;
}

/* False when the client has gone away. */
static bool
conn_read(struct httpd *h, struct httpconn *c)
{
	for (int i = 0; i < READS_IN_A_ROW; i++) {
		ssize_t n = recv(c->fd, h->scratch, READ_SIZE, MSG_DONTWAIT);
		enum http1_step step;

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return true;
		if (n < 0 || (n == 0 && !http1_begun(&c->in)))
			return false;
		if (n == 0) {
			conn_refuse(h, c, 400, "the request ended early");
			return true;
		}
		c->heard_ms = clock_mono_ms();
		step = conn_feed(h, c, (struct bytes){ h->scratch, (size_t)n });
		secret_wipe(h->scratch, (size_t)n);
		if (step == HTTP1_WHOLE)
			conn_whole(h, c);
		else if (step == HTTP1_REFUSED)
			conn_refuse(h, c, c->in.status, c->in.why);
		if (step != HTTP1_MORE)
			return true;
	}
	return true;
}

static void
conn_event(struct httpd *h, struct httpconn *c, uint32_t events)
{
	bool live = true;

	switch (c->state) {
	case HTTPCONN_READING:
		live = conn_read(h, c);
		break;
	case HTTPCONN_WRITING:
		conn_write(h, c);
		break;
	case HTTPCONN_LINGERING:
		live = httpconn_drain(c, h->scratch, READ_SIZE, h->max_drain);
		break;
	case HTTPCONN_HANDLED:
		/* Hung up, which epoll tells unasked.  The answer is made all
		 * the same; but do not hear of it again and again. */
		if ((events & (EPOLLHUP | EPOLLERR)) != 0)
			(void)epoll_ctl(h->epoll, EPOLL_CTL_DEL, c->fd, NULL);
		return;
	}
	if (!live)
		conn_free(h, c);
}

/* Handlers have answered. */
static void
take_done(struct httpd *h)
{
	struct httpconn *c, *next;
	uint64_t n;

	(void)!read(h->wake, &n, sizeof n);
	(void)pthread_mutex_lock(&h->lock);
	c = h->done.first;
	h->done = (struct queue){ NULL, &h->done.first };
	(void)pthread_mutex_unlock(&h->lock);
	for (; c != NULL; c = next) {
		struct epoll_event ev = { .data.ptr = c };

		next = c->queued;
		/* It may have hung up meanwhile. */
		(void)epoll_ctl(h->epoll, EPOLL_CTL_ADD, c->fd, &ev);
		conn_write(h, c);
	}
}

/* ---- the loop ---- */

static void
set_accepting(struct httpd *h, bool on)
{
	struct epoll_event ev = { .events = on ? EPOLLIN : 0, .data.ptr = h };

	if (h->accepting == on)
		return;
	h->accepting = on;
	(void)epoll_ctl(h->epoll, EPOLL_CTL_MOD, h->listener, &ev);
}

/* Somebody makes room, if one may: httproom.h. */
static bool
make_room(struct httpd *h, unsigned bucket)
{
	struct httpconn *c =
	    httproom_victim(&h->room, h->conns, bucket, clock_mono_ms());

	if (c != NULL)
		conn_free(h, c);
	return c != NULL;
}

/* Takes the descriptor. */
static void
conn_new(struct httpd *h, int fd, unsigned bucket)
{
	struct epoll_event ev = { .events = EPOLLIN };
	struct httpconn *c = NULL;

	if (h->n_conns >= h->max_connections && !make_room(h, bucket)) {
		log_event(LOG_WARN, "http_full", log_u64("port", h->port),
		    log_u64("connections", h->n_conns));
		httproom_refuse(fd);
		return;
	}
	c = calloc(1, sizeof *c);
	ev.data.ptr = c;
	if (c == NULL || epoll_ctl(h->epoll, EPOLL_CTL_ADD, fd, &ev) != 0) {
		free(c);
		(void)close(fd);
		return;
	}
	httpconn_init(c, fd, h->max_body, h->header);
	c->bucket = bucket;
	h->room.held[bucket]++;
	if ((c->next = h->conns) != NULL)
		c->next->prev = c;
	h->conns = c;
	h->n_conns++;
	/* Mostly the request is there already. */
	if (!conn_read(h, c))
		conn_free(h, c);
}

/* Descriptors, or the memory for one, have run out. */
static void
no_descriptors(struct httpd *h)
{
	uint64_t now = clock_mono_ms();

	set_accepting(h, false); /* until the next tick */
	if (h->told_ms != 0 && now - h->told_ms < TOLD_MS)
		return;
	h->told_ms = now;
	log_event(LOG_ERROR, "http_cannot_accept", log_u64("port", h->port),
	    log_u64("connections", h->n_conns));
}

static void
take_connections(struct httpd *h)
{
	for (int i = 0; i < EVENTS; i++) {
		unsigned bucket;
		int fd;

		/* Of those who came in this turn some may have gone. */
		if (i > 0 && h->n_conns >= h->max_connections)
			return;
		fd = httproom_accept(&h->room, h->listener, &bucket);
		if (fd >= 0)
			conn_new(h, fd, bucket);
		else if (fd == HTTPROOM_NOBODY)
			return;
		/* Who is idle has a descriptor. */
		else if (!make_room(h, HTTPROOM_UNKNOWN)) {
			no_descriptors(h);
			return;
		}
	}
}

static void
tick(struct httpd *h)
{
	uint64_t now = clock_mono_ms();
	struct httpconn *next;

	set_accepting(h, true);
	for (struct httpconn *c = h->conns; c != NULL; c = next) {
		next = c->next;
		if (!httpconn_late(c, h->timeout_ms, h->total_ms, now))
			continue;
		if (c->state == HTTPCONN_READING && http1_begun(&c->in))
			conn_refuse(h, c, 408, "the request took too long");
		else
			conn_free(h, c);
	}
}

static bool
is_stopping(struct httpd *h)
{
	bool yes;

	(void)pthread_mutex_lock(&h->lock);
	yes = h->stopping;
	(void)pthread_mutex_unlock(&h->lock);
	return yes;
}

static void *
run_loop(void *arg)
{
	struct httpd *h = arg;
	struct epoll_event ev[EVENTS];
	uint64_t ticked = clock_mono_ms(), now;

	while (!is_stopping(h)) {
		bool news = false, answers = false;
		int n = epoll_wait(
		    h->epoll, ev, EVENTS, h->n_conns > 0 ? TICK_MS : 1000);

		/* A connection may end in each of these, and be in `ev` but
		 * once: what makes or frees others comes behind. */
		for (int i = 0; i < n; i++) {
			if (ev[i].data.ptr == h)
				news = true;
			else if (ev[i].data.ptr == &h->wake)
				answers = true;
			else
				conn_event(h, ev[i].data.ptr, ev[i].events);
		}
		if (answers)
			take_done(h);
		if (news)
			take_connections(h);
		now = clock_mono_ms();
		if (now - ticked >= TICK_MS) {
			ticked = now;
			tick(h);
		}
	}
	return NULL;
}

/* ---- public ---- */

static enum err
listen_as(struct httpd *h, const struct httpd_options *o)
{
	mode_t mode = o->unix_mode == 0 ? 0600 : o->unix_mode;
	enum err e;

	if (o->has_fd) {
		if ((e = listen_given(o->fd, &h->port)) == ERR_OK)
			h->listener = o->fd;
		return e;
	}
	if (o->unix_path != NULL)
		return listen_unix(&h->listener, &h->file, o->unix_path, mode);
	if (o->host != NULL)
		return listen_tcp(&h->listener, &h->port, o->host, o->port);
	return ERR_CONFIG;
}

static enum err
start_threads(struct httpd *h, unsigned n)
{
	struct epoll_event news = { .events = EPOLLIN, .data.ptr = h };
	struct epoll_event done = { .events = EPOLLIN, .data.ptr = &h->wake };
	pthread_attr_t attr;
	enum err e = ERR_OK;

	h->epoll = epoll_create1(EPOLL_CLOEXEC);
	h->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	h->scratch = malloc(READ_SIZE);
	h->threads = calloc(n, sizeof *h->threads);
	if (h->scratch == NULL || h->threads == NULL)
		return ERR_NOMEM;
	if (h->epoll < 0 || h->wake < 0 ||
	    epoll_ctl(h->epoll, EPOLL_CTL_ADD, h->listener, &news) != 0 ||
	    epoll_ctl(h->epoll, EPOLL_CTL_ADD, h->wake, &done) != 0)
		return ERR_IO;
	h->accepting = true;
	if (pthread_attr_init(&attr) != 0)
		return ERR_NOMEM;
	if (pthread_attr_setstacksize(&attr, HANDLER_STACK) != 0)
		e = ERR_IO;
	while (e == ERR_OK && h->n_threads < n) {
		if (pthread_create(
			&h->threads[h->n_threads], &attr, run_handlers, h) == 0)
			h->n_threads++;
		else
			e = ERR_IO;
	}
	if (e == ERR_OK)
		h->have_loop =
		    pthread_create(&h->loop, &attr, run_loop, h) == 0;
	(void)pthread_attr_destroy(&attr);
	return h->have_loop ? ERR_OK : ERR_IO;
}

enum err
httpd_start(struct httpd **out, const struct httpd_options *o,
    httpd_handler *handler, void *cookie)
{
	struct httpd *h = calloc(1, sizeof *h);
	enum err e;

	if (h == NULL)
		return ERR_NOMEM;
	assert(o->max_connections > 0 && o->threads > 0 && o->timeout_s > 0);
	h->handler = handler;
	h->cookie = cookie;
	h->header = o->header;
	h->max_body = o->max_body;
	h->max_bodies = o->max_bodies != 0 ? o->max_bodies : BODIES_DEFAULT;
	h->max_drain = DRAIN_MIN + DRAIN_FACTOR * h->max_body;
	h->max_connections = o->max_connections;
	h->timeout_ms = 1000u * (uint64_t)o->timeout_s;
	h->total_ms =
	    o->total_s != 0 ? 1000u * (uint64_t)o->total_s : 3 * h->timeout_ms;
	h->listener = h->epoll = h->wake = -1;
	httproom_init(&h->room);
	h->jobs.last = &h->jobs.first;
	h->done.last = &h->done.first;
	(void)pthread_mutex_init(&h->lock, NULL);
	(void)pthread_cond_init(&h->work, NULL);
	if ((e = listen_as(h, o)) == ERR_OK)
		e = start_threads(h, o->threads);
	if (e == ERR_OK) {
		*out = h;
		return ERR_OK;
	}
	if (o->has_fd)
		h->listener = -1; /* the caller's still */
	httpd_stop(h);
	return e;
}

uint16_t
httpd_port(const struct httpd *h)
{
	return h->port;
}

static void
close_fd(int fd)
{
	if (fd >= 0)
		(void)close(fd);
}

void
httpd_stop(struct httpd *h)
{
	if (h == NULL)
		return;
	listen_unlink(&h->file);
	(void)pthread_mutex_lock(&h->lock);
	h->stopping = true;
	(void)pthread_cond_broadcast(&h->work);
	(void)pthread_mutex_unlock(&h->lock);
	if (h->wake >= 0)
		wake(h);
	for (unsigned i = 0; i < h->n_threads; i++)
		(void)pthread_join(h->threads[i], NULL);
	if (h->have_loop)
		(void)pthread_join(h->loop, NULL);
	while (h->conns != NULL)
		conn_free(h, h->conns);
	close_fd(h->listener);
	close_fd(h->epoll);
	close_fd(h->wake);
	(void)pthread_cond_destroy(&h->work);
	(void)pthread_mutex_destroy(&h->lock);
	free(h->threads);
	free(h->scratch);
	free(h);
}
