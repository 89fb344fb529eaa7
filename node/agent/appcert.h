/* appcert: the certificate that Info shows, with evidence in it.
 *
 * dstack has one; its key is thrown away, so it opens nothing.  It is made in
 * the background when it is first asked for: until then, and while the KMS
 * gives none, there is none. */
#ifndef NODE_AGENT_APPCERT_H
#define NODE_AGENT_APPCERT_H

#include "node/agent/backend.h"

struct appcert; /* opaque; thread-safe */

/* `b` is copied; its cookie must outlive the result. */
enum err appcert_new(struct appcert **out, const struct agent_backend *b);
/* appcert_free waits for what runs; NULL is fine. */
void appcert_free(struct appcert *a);

/* appcert_get appends the PEM chain, leaf first, or nothing. */
void appcert_get(struct appcert *a, struct buf *out);

#endif
