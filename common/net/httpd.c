/* httpd: HTTP/1.1 over libmicrohttpd, one thread per connection.
 *
 * A handler may block for seconds (a quote, a chain call).  In a pool of
 * event loops it would hold up every other connection of its loop, so each
 * connection has its own thread, max_connections bounds them, and
 * `threads` bounds how many handlers run at once.
 *
 * Request state is made when the request line is there (uri_seen) and freed
 * when libmicrohttpd is done with the request (completed). */
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <arpa/inet.h>
#include <netinet/in.h>

#include <assert.h>
#include <errno.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <microhttpd.h>

#include "common/net/httpd.h"

#define BACKLOG 64
/* A chunked body has no length up front: what is over the limit is thrown
 * away, so that the client gets to read its 413, but only this much. */
#define DISCARD_FACTOR 2
/* Bytes that a closing connection reads away: see drain(). */
#define DRAIN_MAX (64u * 1024)

struct httpd {
	struct MHD_Daemon *mhd;
	httpd_handler *handler;
	void *cookie; /* borrows */
	size_t max_body;
	unsigned timeout_s;
	sem_t running; /* handlers that may still start */
	bool have_sem;
	uint16_t port;
	char unix_path[sizeof((struct sockaddr_un *)0)->sun_path];
	dev_t unix_dev; /* of our socket, so that a successor's is kept */
	ino_t unix_ino;
};

struct request {
	struct buf body;
	size_t seen; /* bytes of body, kept or not */
	bool started; /* the first, bodiless call was made */
	bool bad_uri;
	bool over;
};

/* ---- replies ---- */

struct owned_body {
	struct buf buf;
	bool secret;
};

static void
owned_body_free(void *cls)
{
	struct owned_body *o = cls;

	if (o->secret)
		buf_wipe(&o->buf);
	else
		buf_fini(&o->buf);
	free(o);
}

/* Takes the reply's body. */
static enum MHD_Result
send_reply(struct MHD_Connection *c, struct httpd_reply *rp)
{
	struct owned_body *o = calloc(1, sizeof *o);
	struct MHD_Response *r = NULL;
	enum MHD_Result ok = MHD_NO;

	if (o == NULL) {
		buf_wipe(&rp->body);
		return MHD_NO;
	}
	o->buf = rp->body;
	o->secret = rp->secret;
	rp->body = (struct buf){ 0 };
	r = MHD_create_response_from_buffer_with_free_callback_cls(
	    o->buf.len, o->buf.p, owned_body_free, o);
	if (r == NULL) {
		owned_body_free(o);
		return MHD_NO;
	}
	if (MHD_add_response_header(r, "Connection", "close") == MHD_YES &&
	    MHD_add_response_header(r, "Content-Type", rp->content_type) ==
		MHD_YES &&
	    (rp->header_name == NULL ||
		MHD_add_response_header(r, rp->header_name, rp->header_value) ==
		    MHD_YES))
		ok = MHD_queue_response(c, rp->status, r);
	MHD_destroy_response(r);
	return ok;
}

/* Static JSON text, in the form of dstack's own errors. */
static enum MHD_Result
send_error(struct MHD_Connection *c, unsigned status, const char *json)
{
	struct httpd_reply rp = { .status = status,
		.content_type = "application/json" };

	if (buf_set(&rp.body, json, strlen(json)) != ERR_OK)
		return MHD_NO;
	return send_reply(c, &rp);
}

/* ---- requests ---- */

static void *
uri_seen(void *cls, const char *uri, struct MHD_Connection *c)
{
	struct request *rq = calloc(1, sizeof *rq);

	(void)cls;
	(void)c;
	/* Decoded, a NUL would cut path or value short: never let two
	 * readers see different strings. */
	if (rq != NULL)
		rq->bad_uri = strstr(uri, "%00") != NULL;
	return rq;
}

static void
completed(void *cls, struct MHD_Connection *c, void **con_cls,
    enum MHD_RequestTerminationCode why)
{
	struct request *rq = *con_cls;

	(void)cls;
	(void)c;
	(void)why;
	if (rq == NULL)
		return;
	buf_wipe(&rq->body); /* it may hold an app's secret */
	free(rq);
	*con_cls = NULL;
}

/* True if a declared length is over the limit, or is no number. */
static bool
declared_over(struct MHD_Connection *c, size_t max)
{
	const char *v =
	    MHD_lookup_connection_value(c, MHD_HEADER_KIND, "Content-Length");
	unsigned long long n;
	char *end;

	if (v == NULL)
		return false;
	errno = 0;
	n = strtoull(v, &end, 10);
	return errno != 0 || *end != '\0' || n > max;
}

static enum MHD_Result
first_call(struct httpd *h, struct MHD_Connection *c, struct request *rq)
{
	rq->started = true;
	if (rq->bad_uri)
		return send_error(c, 400, "{\"error\":\"bad path\"}");
	if (declared_over(c, h->max_body))
		return send_error(c, 413, "{\"error\":\"body too large\"}");
	return MHD_YES;
}

static enum MHD_Result
take_body(struct httpd *h, struct request *rq, const char *p, size_t *len)
{
	size_t n = *len;

	if (rq->seen + n > h->max_body)
		rq->over = true;
	if (rq->seen + n > h->max_body * DISCARD_FACTOR)
		return MHD_NO;
	rq->seen += n;
	*len = 0;
	if (rq->over)
		return MHD_YES;
	return buf_append(&rq->body, p, n, h->max_body) == ERR_OK ? MHD_YES
								  : MHD_NO;
}

static enum MHD_Result
run_handler(struct httpd *h, struct MHD_Connection *c, struct request *rq,
    const char *method, const char *path)
{
	const char *type =
	    MHD_lookup_connection_value(c, MHD_HEADER_KIND, "Content-Type");
	struct httpd_request in = {
		.method = method,
		.path = path,
		.content_type = type == NULL ? "" : type,
		.internal = c,
	};
	struct httpd_reply rp = { .status = 200,
		.content_type = "application/json" };

	in.body = buf_view(&rq->body);
	if (in.body.p == NULL)
		in.body.p = (const uint8_t *)"";
	/* The silence is ours while a handler runs: without this a slow one
	 * would find its connection timed out. */
	(void)MHD_set_connection_option(c, MHD_CONNECTION_OPTION_TIMEOUT, 0u);
	while (sem_wait(&h->running) != 0)
		assert(errno == EINTR);
	h->handler(h->cookie, &in, &rp);
	(void)sem_post(&h->running);
	(void)MHD_set_connection_option(
	    c, MHD_CONNECTION_OPTION_TIMEOUT, h->timeout_s);
	return send_reply(c, &rp);
}

static enum MHD_Result
on_request(void *cls, struct MHD_Connection *c, const char *path,
    const char *method, const char *version, const char *data, size_t *len,
    void **con_cls)
{
	struct httpd *h = cls;
	struct request *rq = *con_cls;

	(void)version;
	if (rq == NULL) /* no memory when the request began */
		return MHD_NO;
	if (!rq->started)
		return first_call(h, c, rq);
	if (*len > 0)
		return take_body(h, rq, data, len);
	if (rq->over)
		return send_error(c, 413, "{\"error\":\"body too large\"}");
	return run_handler(h, c, rq, method, path);
}

/* drain reads away what a client sent beyond its request.  Closing a socket
 * with unread bytes resets it, and the client then never sees the end of its
 * reply; dstack's JS SDK sends such bytes (eth-toolchain.md 3.2, 5). */
static void
drain(void *cls, struct MHD_Connection *c, void **socket_cls,
    enum MHD_ConnectionNotificationCode what)
{
	const union MHD_ConnectionInfo *i;
	char junk[4096];
	size_t total = 0;
	ssize_t n;

	(void)cls;
	(void)socket_cls;
	if (what != MHD_CONNECTION_NOTIFY_CLOSED)
		return;
	i = MHD_get_connection_info(c, MHD_CONNECTION_INFO_CONNECTION_FD);
	if (i == NULL)
		return;
	while (total < DRAIN_MAX &&
	    (n = recv(i->connect_fd, junk, sizeof junk, MSG_DONTWAIT)) > 0)
		total += (size_t)n;
}

/* ---- listening ---- */

/* ERR_OK when nothing is at the path any more. */
static enum err
clear_stale(const struct sockaddr_un *sa)
{
	struct stat st;
	enum err e = ERR_EXISTS;
	int fd;

	if (lstat(sa->sun_path, &st) != 0)
		return errno == ENOENT ? ERR_OK : ERR_IO;
	if (!S_ISSOCK(st.st_mode))
		return ERR_CONFIG; /* somebody's file: never remove it */
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return ERR_IO;
	/* A full backlog (EAGAIN) is a live server too. */
	if (connect(fd, (const struct sockaddr *)sa, sizeof *sa) != 0 &&
	    errno == ECONNREFUSED)
		e = unlink(sa->sun_path) == 0 ? ERR_OK : ERR_IO;
	(void)close(fd);
	return e;
}

static enum err
listen_unix(int *out, struct httpd *h, const struct httpd_options *o)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	mode_t mode = o->unix_mode == 0 ? 0600 : o->unix_mode;
	size_t n = strlen(o->unix_path);
	struct stat st;
	enum err e;
	int fd;

	if (n == 0 || n >= sizeof sa.sun_path)
		return ERR_CONFIG;
	memcpy(sa.sun_path, o->unix_path, n + 1);
	if ((e = clear_stale(&sa)) != ERR_OK)
		return e;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return ERR_IO;
	/* The mode before bind narrows the new file from its first moment;
	 * the one after it widens what the umask took away. */
	if (fchmod(fd, mode) != 0 ||
	    bind(fd, (struct sockaddr *)&sa, sizeof sa) != 0) {
		(void)close(fd);
		return ERR_IO;
	}
	if (chmod(sa.sun_path, mode) != 0 || listen(fd, BACKLOG) != 0 ||
	    lstat(sa.sun_path, &st) != 0) {
		(void)close(fd);
		(void)unlink(sa.sun_path);
		return ERR_IO;
	}
	memcpy(h->unix_path, sa.sun_path, n + 1);
	h->unix_dev = st.st_dev;
	h->unix_ino = st.st_ino;
	*out = fd;
	return ERR_OK;
}

static enum err
listen_tcp(int *out, struct httpd *h, const struct httpd_options *o)
{
	union {
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	} sa = { 0 };
	socklen_t len;
	int one = 1, fd;

	if (inet_pton(AF_INET, o->host, &sa.v4.sin_addr) == 1) {
		sa.v4.sin_family = AF_INET;
		sa.v4.sin_port = htons(o->port);
		len = sizeof sa.v4;
	} else if (inet_pton(AF_INET6, o->host, &sa.v6.sin6_addr) == 1) {
		sa.v6.sin6_family = AF_INET6;
		sa.v6.sin6_port = htons(o->port);
		len = sizeof sa.v6;
	} else {
		return ERR_CONFIG;
	}
	fd = socket(
	    sa.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return ERR_IO;
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) != 0 ||
	    bind(fd, &sa.any, len) != 0 || listen(fd, BACKLOG) != 0 ||
	    getsockname(fd, &sa.any, &len) != 0) {
		(void)close(fd);
		return ERR_IO;
	}
	h->port = ntohs(
	    sa.any.sa_family == AF_INET ? sa.v4.sin_port : sa.v6.sin6_port);
	*out = fd;
	return ERR_OK;
}

/* ---- public ---- */

const char *
httpd_query(const struct httpd_request *rq, const char *name)
{
	const char *v = NULL;
	size_t len;

	if (MHD_lookup_connection_value_n(rq->internal, MHD_GET_ARGUMENT_KIND,
		name, strlen(name), &v, &len) != MHD_YES)
		return NULL;
	return v == NULL ? "" : v;
}

struct each_query {
	void (*fn)(void *, const char *, const char *);
	void *cookie;
};

static enum MHD_Result
each_query(
    void *cls, enum MHD_ValueKind kind, const char *name, const char *value)
{
	struct each_query *q = cls;

	(void)kind;
	q->fn(q->cookie, name, value == NULL ? "" : value);
	return MHD_YES;
}

void
httpd_each_query(const struct httpd_request *rq,
    void (*fn)(void *cookie, const char *name, const char *value), void *cookie)
{
	struct each_query q = { fn, cookie };

	(void)MHD_get_connection_values(
	    rq->internal, MHD_GET_ARGUMENT_KIND, each_query, &q);
}

enum err
httpd_start(struct httpd **out, const struct httpd_options *o,
    httpd_handler *handler, void *cookie)
{
	struct httpd *h = calloc(1, sizeof *h);
	enum err e;
	int fd = -1;

	if (h == NULL)
		return ERR_NOMEM;
	assert(o->max_connections > 0 && o->threads > 0 && o->timeout_s > 0);
	h->handler = handler;
	h->cookie = cookie;
	h->max_body = o->max_body;
	h->timeout_s = o->timeout_s;
	if (o->unix_path == NULL && o->host == NULL)
		e = ERR_CONFIG;
	else
		e = o->unix_path != NULL ? listen_unix(&fd, h, o)
					 : listen_tcp(&fd, h, o);
	if (e == ERR_OK && sem_init(&h->running, 0, o->threads) != 0)
		e = ERR_CONFIG;
	if (e != ERR_OK)
		goto done;
	h->have_sem = true;
	h->mhd = MHD_start_daemon(MHD_USE_THREAD_PER_CONNECTION |
		MHD_USE_POLL_INTERNAL_THREAD | MHD_USE_ITC,
	    0, NULL, NULL, on_request, h, MHD_OPTION_LISTEN_SOCKET, fd,
	    MHD_OPTION_CONNECTION_LIMIT, o->max_connections,
	    MHD_OPTION_CONNECTION_TIMEOUT, o->timeout_s,
	    MHD_OPTION_URI_LOG_CALLBACK, uri_seen, NULL,
	    MHD_OPTION_NOTIFY_COMPLETED, completed, NULL,
	    MHD_OPTION_NOTIFY_CONNECTION, drain, NULL, MHD_OPTION_END);
	/* From here on the socket is libmicrohttpd's: it closes it when it
	 * stops.  If it could not start, nothing was handed over. */
	if (h->mhd == NULL) {
		e = ERR_IO;
		goto done;
	}
	fd = -1;
	*out = h;
	h = NULL;
done:
	if (fd >= 0)
		(void)close(fd);
	httpd_stop(h);
	return e;
}

uint16_t
httpd_port(const struct httpd *h)
{
	return h->port;
}

void
httpd_stop(struct httpd *h)
{
	struct stat st;

	if (h == NULL)
		return;
	if (h->unix_path[0] != '\0' && lstat(h->unix_path, &st) == 0 &&
	    st.st_dev == h->unix_dev && st.st_ino == h->unix_ino)
		(void)unlink(h->unix_path);
	if (h->mhd != NULL)
		MHD_stop_daemon(h->mhd);
	if (h->have_sem)
		(void)sem_destroy(&h->running);
	free(h);
}
