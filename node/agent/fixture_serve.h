/* fixture_serve: a fixture on the sockets of the incumbent's simulator. */
#ifndef NODE_AGENT_FIXTURE_SERVE_H
#define NODE_AGENT_FIXTURE_SERVE_H

#include "common/base/err.h"

/* fixture_serve serves the folder `dir` on dstack.sock, tappd.sock and
 * external.sock in `socket_dir` until the program is told to stop (stop.h).
 * ERR_CONFIG: a file, or a socket's path; the log says which and why. */
enum err fixture_serve(const char *dir, const char *socket_dir);

#endif
