/* pccs_server: a simulated PCCS: the simulator's documents over HTTP.
 *
 * Speaks the routes of tdx-dcap.md 3.3 that a verifier of TDX quotes needs,
 * as Intel's caching service does.  Documents are issued anew at start and
 * when half their life has passed; they are read from their files at each
 * request, so that a revocation shows at once. */
#ifndef NODE_TEE_PCCS_SERVER_H
#define NODE_TEE_PCCS_SERVER_H

#include "common/base/buf.h"

struct pccs_server; /* opaque */

/* pccs_server_start serves the simulator folder `dir`.  `host` is a numeric
 * address; port 0 takes a free one.  `clock` gives unix seconds for the
 * re-issue (clock_wall_s).  The caller owns `*out`.
 * ERR_NOTFOUND: no PKI there; ERR_IO: cannot listen. */
enum err pccs_server_start(struct pccs_server **out, const char *dir,
    const char *host, uint16_t port, int64_t (*clock)(void));
uint16_t pccs_server_port(const struct pccs_server *s);
void pccs_server_stop(struct pccs_server *s); /* NULL is fine */

#endif
