/* dashboard: the page about this app, for people.
 *
 * One HTML document without scripts and without anything from elsewhere; all
 * that is shown is escaped.  dstack-compat.md 1.5: its textarea holds
 * tcb_info as it is; empty if app-compose says public_tcbinfo false. */
#ifndef NODE_AGENT_DASHBOARD_H
#define NODE_AGENT_DASHBOARD_H

#include "node/agent/backend.h"

/* dashboard_write appends the page.  Errors as the backend's. */
enum err dashboard_write(
    struct buf *out, const struct agent_backend *b, struct refusal *why);

/* dashboard_policy is the Content-Security-Policy that goes with it; static. */
const char *dashboard_policy(void);

#endif
