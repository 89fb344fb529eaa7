/* heldkeys: the releases that this agent holds, in guarded memory, and how
 * they are kept up to date.
 *
 * What the app is pinned to may change on chain, and so may what it is
 * allowed: so a release that is older than the refresh time is fetched anew
 * when it is asked for.
 *
 *   the KMS cannot be reached   what is held serves on, and that is logged
 *   it refuses the app          the call fails, and all keys are forgotten
 *   it refuses the epoch, or    the call fails, and what was asked for is
 *   its answer does not hold    forgotten: that epoch, or what is the default
 *   the pin has moved           new keys by default; the others by number
 *   a node that is behind       does not move it back
 *
 * Thread-safe; calls block as `fetch` does. */
#ifndef NODE_AGENT_HELDKEYS_H
#define NODE_AGENT_HELDKEYS_H

#include "node/agent/release.h"

#define HELDKEYS_MAX 8

struct heldkeys; /* opaque */

struct heldkeys_options {
	void *cookie;
	/* The release of `*epoch`, or of the pinned one (NULL).  `held`: there
	 * is one to fall back on, so it should not take long.  ERR_DENIED is
	 * the KMS's word, or an answer that does not hold; anything else that
	 * is not ERR_OK says that no answer could be had. */
	enum err (*fetch)(void *cookie, struct app_release *out,
	    const uint64_t *epoch, bool held, struct refusal *why);
	uint64_t (*now_ms)(void);
	unsigned refresh_ms; /* 0: at every call */
};

/* Takes a copy of the app's first release; the caller wipes its own. */
enum err heldkeys_new(struct heldkeys **out, const struct heldkeys_options *o,
    const struct app_release *own);
void heldkeys_free(struct heldkeys *k); /* wipes; NULL is fine */

/* heldkeys_get copies the release of `*epoch`, or of the epoch that the app
 * is pinned to (NULL), renewed if it is time.  release_wipe.  ERR_DENIED, or
 * what `fetch` said where nothing is held. */
enum err heldkeys_get(struct heldkeys *k, struct app_release *out,
    const uint64_t *epoch, struct refusal *why);

/* What was seen last of the app's own pin; not secret. */
struct heldkeys_pin {
	bool held; /* its keys are: else they were refused */
	uint64_t epoch;
	bool has_registry;
	uint8_t registry[20];
	uint64_t block_number;
};
void heldkeys_pin(struct heldkeys *k, struct heldkeys_pin *out);

#endif
