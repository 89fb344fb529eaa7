/* server: the methods on dstack's socket.
 *
 * dstack-compat.md 1.1 and 1.2: one path segment names the method, GET or
 * POST, JSON.  The socket appears only when the server starts, so that its
 * presence means that keys are there. */
#ifndef NODE_AGENT_SERVER_H
#define NODE_AGENT_SERVER_H

#include "common/net/httpd.h"

#include "node/agent/backend.h"

struct server; /* opaque */

/* server_start serves `b` (borrowed for the life) on a unix socket. */
enum err server_start(struct server **out, const struct agent_backend *b,
    const char *socket, mode_t mode);
void server_stop(struct server *s); /* NULL is fine */

/* server_handle is the handler itself, for tests; `cookie` is the backend. */
void server_handle(
    void *cookie, const struct httpd_request *rq, struct httpd_reply *rp);

#endif
