/* listeners: the sockets that the agent serves, as configured or as given.
 *
 * dstack-compat.md 1.1.  systemd may have opened them before: descriptors
 * named "dstack", "tappd" and "external", or without such names in this
 * order; each takes the place of the configured one.  The first two give
 * keys and must have a path: a port is refused there. */
#ifndef NODE_AGENT_LISTENERS_H
#define NODE_AGENT_LISTENERS_H

#include "common/net/inherited.h"

#include "node/agent/config.h"
#include "node/agent/server.h"

enum { LISTENER_DSTACK, LISTENER_TAPPD, LISTENER_EXTERNAL, N_LISTENERS };

struct listeners {
	struct server *server[N_LISTENERS]; /* owns; NULL: off */
};

/* listeners_given decides which descriptor is which listener's: `at[k]` is
 * its index in `in`, or -1.  ERR_CONFIG: two for one, or one for none. */
enum err listeners_given(
    int at[static N_LISTENERS], const struct inherited *in, unsigned n);

/* listeners_start serves `b` on all of them, or on none; logs each one, and
 * what failed.  The servers take the `n` descriptors on success.  Errors as
 * server_start and listeners_given. */
enum err listeners_start(struct listeners *out, const struct agent_backend *b,
    const struct agent_config *c, const struct inherited *in, unsigned n);

void listeners_stop(struct listeners *l);

#endif
