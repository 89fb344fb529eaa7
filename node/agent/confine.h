/* confine: the agent's sandbox, by what its configuration names
 * (node/harden). */
#ifndef NODE_AGENT_CONFINE_H
#define NODE_AGENT_CONFINE_H

#include "common/net/inherited.h"
#include "node/agent/config.h"

/* agent_confine takes every step of harden.h; `given` are the `n` sockets that stay
 * open, from INHERITED_FIRST on.  Before the first thread.  Failures are
 * logged; the process must end then.  ERR_CONFIG: process.user. */
enum err agent_confine(const struct agent_config *c, unsigned n);

#endif
