/* heldkeys: the releases that this agent holds, in guarded memory.
 *
 * The app's own epoch is fetched at boot and stays; other epochs that the
 * app asked for are kept too, a few of them.  Thread-safe. */
#ifndef NODE_AGENT_HELDKEYS_H
#define NODE_AGENT_HELDKEYS_H

#include "node/agent/release.h"

#define HELDKEYS_MAX 8

struct heldkeys; /* opaque */

/* Takes a copy of the app's own release; the caller wipes its own. */
enum err heldkeys_new(struct heldkeys **out, const struct app_release *own);
void heldkeys_free(struct heldkeys *k); /* wipes; NULL is fine */

/* heldkeys_get copies the release of `*epoch`, or the own one (NULL).
 * ERR_NOTFOUND: not held. */
enum err heldkeys_get(
    struct heldkeys *k, struct app_release *out, const uint64_t *epoch);

/* heldkeys_add keeps a copy, in place of the oldest but the own if full. */
void heldkeys_add(struct heldkeys *k, const struct app_release *r);

#endif
