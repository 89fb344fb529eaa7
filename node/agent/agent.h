/* agent: this CVM with its TEE, its keys and its KMS: the real backend.
 *
 * agent_boot goes through dstack's boot (dstack-compat.md 3.3, 4.5):
 * identity, events up to boot-mr-done, keys, events up to system-ready.
 * Afterwards the backend answers the socket's methods from many threads. */
#ifndef NODE_AGENT_AGENT_H
#define NODE_AGENT_AGENT_H

#include "node/agent/backend.h"

struct agent; /* opaque */

/* agent_boot returns only when keys are there.  The caller owns `*out`.
 * ERR_AGAIN: stopped by a signal; other errors: see `*why`. */
enum err agent_boot(
    struct agent **out, const struct agent_config *c, struct refusal *why);
void agent_free(struct agent *a); /* NULL is fine */

/* agent_backend: the functions borrow the agent. */
struct agent_backend agent_backend(struct agent *a);

#endif
