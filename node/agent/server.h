/* server: one surface of methods and pages on one listener.
 *
 * dstack-compat.md 1.1 and 1.2: one path segment names the method, GET or
 * POST, JSON or protobuf.  The socket appears only when the server starts, so
 * that its presence means that keys are there. */
#ifndef NODE_AGENT_SERVER_H
#define NODE_AGENT_SERVER_H

#include "common/net/httpd.h"

#include "node/agent/backend.h"
#include "node/agent/surface.h"

struct server; /* opaque */

/* A page that is no method of a service, asked for by GET or HEAD at a path
 * that leads to no service.  It fills the reply (httpd.h: the body, and what
 * differs from 200 and application/json) and returns true, or returns false
 * and leaves it: 404.  Called on several threads; it may block for seconds.
 * httpd_query() reads the query. */
typedef bool server_page(const struct agent_backend *b,
    const struct httpd_request *rq, struct httpd_reply *rp);

struct server_options {
	enum surface surface;
	server_page *page; /* or NULL: there are none */
	const char *unix_path; /* a socket with mode `unix_mode`; else: */
	mode_t unix_mode;
	const char *host; /* a numeric address, and */
	uint16_t port; /* 0 takes a free one; or, before both: */
	bool has_fd;
	int fd; /* listens already; the server takes it on success */
};

/* server_start serves `b` (copied; its cookie is borrowed for the life) as
 * one surface.  Errors as httpd_start. */
enum err server_start(struct server **out, const struct agent_backend *b,
    const struct server_options *o);
/* The TCP port that is listened on. */
uint16_t server_port(const struct server *s);

/* server_answer is what the server does with a request, without a socket:
 * for fuzzing.  The caller owns the reply's body. */
void server_answer(struct httpd_reply *rp, const struct agent_backend *b,
    enum surface surface, server_page *page, const struct httpd_request *rq);

void server_stop(struct server *s); /* NULL is fine */

#endif
