/* pages: what a browser or a scraper may read on the public listener.
 *
 * dstack-compat.md 1.5: `GET /`, `/metrics`, `/logs/<container>`. */
#ifndef NODE_AGENT_PAGES_H
#define NODE_AGENT_PAGES_H

#include "node/agent/server.h"

/* pages_worker is the server_page of the public listener. */
server_page pages_worker;

#endif
