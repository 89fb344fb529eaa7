/* mute: sources that the kernel does not answer for a while.
 *
 * To accept a connection and close it again costs some 40 us in nng; a source
 * that is over its rate gets less than that: a filter (classic BPF) on the
 * listening socket drops what it sends before a connection is there.  Most
 * kernels let anyone set one; where they do not let a process without
 * capabilities there is none, and the bound on accepts is what holds.  An honest
 * neighbour behind the same address tries again after a second, as TCP does.
 * All calls are the loop's.
 */
#ifndef NODE_CHANNEL_MUTE_H
#define NODE_CHANNEL_MUTE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/err.h"
#include "common/net/source.h"

#define MUTE_MAX 64u /* sources at once; others are accepted and closed */
#define MUTE_MS 1000u

struct mute; /* opaque */

/* mute_new looks for the socket of this process that listens at `port`.
 * ERR_NOTFOUND: there is none, or it takes no filter. */
enum err mute_new(struct mute **out, uint16_t port);
void mute_free(struct mute *m); /* NULL is fine; the socket may be gone */

/* mute_source drops what comes from there for MUTE_MS.  False if it is not
 * done: of another family, or too many already. */
bool mute_source(
    struct mute *m, const uint8_t source[static SOURCE_LEN], uint64_t now_ms);
/* mute_tick hears again whose time is over. */
void mute_tick(struct mute *m, uint64_t now_ms);
unsigned mute_count(const struct mute *m);

#endif
