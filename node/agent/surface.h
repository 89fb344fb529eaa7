/* surface: which paths lead to which method on which listener.
 *
 * dstack-compat.md 1.1. */
#ifndef NODE_AGENT_SURFACE_H
#define NODE_AGENT_SURFACE_H

#include "node/agent/rpc.h"

enum surface {
	SURFACE_GUEST, /* dstack.sock: the app's */
	SURFACE_TAPPD, /* tappd.sock: the app's, as before 0.5 */
	SURFACE_WORKER, /* port 8090: everybody's */
};

/* surface_route finds the service of `path` and points `*method` to the last
 * segment of it, behind the service's name and a dot, if they are there.
 * ERR_NOTFOUND: nothing is mounted there. */
enum err surface_route(const struct rpc_service **service, const char **method,
    enum surface surface, const char *path);

#endif
