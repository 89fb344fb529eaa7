#include <sys/socket.h>

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/secret.h"
#include "common/net/httpconn.h"

#define LINGER_MS 2000u
#define READS_IN_A_ROW 16 /* before others have their turn */

void
httpconn_init(struct httpconn *c, int fd, size_t max_body, const char *header)
{
	*c = (struct httpconn){
		.fd = fd, .header = header, .state = HTTPCONN_READING
	};
	http1_init(&c->in, max_body);
	c->began_ms = c->heard_ms = clock_mono_ms();
}

void
httpconn_fini(struct httpconn *c)
{
	(void)close(c->fd);
	http1_fini(&c->in);
	buf_fini(&c->head);
	if (c->secret)
		buf_wipe(&c->body);
	else
		buf_fini(&c->body);
}

void
httpconn_reply(struct httpconn *c, struct httpd_reply *rp)
{
	const char *phrase = http1_reason(rp->status);
	enum err e;

	/* What a client sent could end the line here, and begin another. */
	assert(rp->header_name == NULL ||
	    strpbrk(rp->header_value, "\r\n") == NULL);
	e = buf_printf(&c->head,
	    "HTTP/1.1 %u %s\r\nConnection: close\r\nContent-Type: %s\r\n"
	    "Content-Length: %zu\r\n",
	    rp->status, phrase[0] != '\0' ? phrase : "Status", rp->content_type,
	    rp->body.len);
	if (e == ERR_OK && c->header != NULL)
		e = buf_printf(&c->head, "%s\r\n", c->header);
	if (e == ERR_OK && rp->header_name != NULL)
		e = buf_printf(
		    &c->head, "%s: %s\r\n", rp->header_name, rp->header_value);
	if (e == ERR_OK)
		e = buf_printf(&c->head, "\r\n");
	c->body = rp->body; /* transferred */
	c->secret = rp->secret;
	rp->body = (struct buf){ 0 };
	c->out[0] = (struct iovec){ c->head.p, c->head.len };
	c->out[1] = (struct iovec){ c->body.p, c->body.len };
	/* Without memory nothing is sent: closed. */
	if (e != ERR_OK)
		c->out[0].iov_len = c->out[1].iov_len = 0;
	/* A reply to HEAD has the head that GET would get. */
	if (c->in.method != NULL && strcmp(c->in.method, "HEAD") == 0)
		c->out[1].iov_len = 0;
	c->began_ms = c->heard_ms = clock_mono_ms();
}

void
httpconn_refuse(struct httpconn *c, unsigned status, const char *text)
{
	struct httpd_reply rp = { .status = status,
		.content_type = "application/json" };

	/* Without memory the client gets a status and an empty body. */
	if (buf_printf(&rp.body, "{\"error\":\"%s\"}", text) != ERR_OK)
		buf_fini(&rp.body);
	httpconn_reply(c, &rp);
}

bool
httpconn_send(struct httpconn *c)
{
	while (c->out[0].iov_len + c->out[1].iov_len > 0) {
		struct msghdr m = { .msg_iov = c->out, .msg_iovlen = 2 };
		ssize_t n = sendmsg(c->fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno != EAGAIN && errno != ENOBUFS;
		for (int i = 0; i < 2; i++) {
			struct iovec *v = &c->out[i];
			size_t k =
			    (size_t)n < v->iov_len ? (size_t)n : v->iov_len;

			if (k > 0)
				v->iov_base = (char *)v->iov_base + k;
			v->iov_len -= k;
			n -= (ssize_t)k;
		}
		c->heard_ms = clock_mono_ms();
	}
	(void)shutdown(c->fd, SHUT_WR);
	return true;
}

bool
httpconn_drain(struct httpconn *c, uint8_t *scratch, size_t cap, size_t max)
{
	for (int i = 0; i < READS_IN_A_ROW; i++) {
		ssize_t n = recv(c->fd, scratch, cap, MSG_DONTWAIT);

		if (n < 0)
			return errno == EAGAIN || errno == EINTR;
		secret_wipe(scratch, (size_t)n);
		c->drained += (size_t)n;
		if (n == 0 || c->drained > max)
			return false;
	}
	return true;
}

bool
httpconn_late(const struct httpconn *c, uint64_t timeout_ms, uint64_t total_ms,
    uint64_t now_ms)
{
	/* Another thread has it, and the silence is ours. */
	if (c->state == HTTPCONN_HANDLED)
		return false;
	/* A clock that was read before the event may be behind it. */
	if (now_ms < c->heard_ms)
		return false;
	if (c->state == HTTPCONN_LINGERING)
		return now_ms - c->began_ms >= LINGER_MS;
	return now_ms - c->heard_ms >= timeout_ms ||
	    now_ms - c->began_ms >= total_ms;
}

/* ---- requests, as handlers see them ---- */

void
httpd_request_of(struct httpd_request *out, const struct http1 *in)
{
	*out = (struct httpd_request){
		.method = in->method,
		.path = in->path,
		.content_type = in->content_type,
		.body = buf_view(&in->body),
		.internal = in,
	};
	if (out->body.p == NULL)
		out->body.p = (const uint8_t *)"";
}

const char *
httpd_query(const struct httpd_request *rq, const char *name)
{
	const struct http1 *in = rq->internal;

	for (size_t i = 0; i < in->n_query; i++)
		if (strcmp(in->query[i].name, name) == 0)
			return in->query[i].value;
	return NULL;
}

void
httpd_each_query(const struct httpd_request *rq,
    void (*fn)(void *cookie, const char *name, const char *value), void *cookie)
{
	const struct http1 *in = rq->internal;

	for (size_t i = 0; i < in->n_query; i++)
		fn(cookie, in->query[i].name, in->query[i].value);
}
