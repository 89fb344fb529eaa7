/* listen: sockets that wait for connections.
 *
 * Every socket is non-blocking and closed on exec.  The caller owns the
 * descriptors it gets. */
#ifndef COMMON_NET_LISTEN_H
#define COMMON_NET_LISTEN_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/un.h>

#include "common/base/err.h"

/* What listen_unix made, so that nobody else's socket is removed. */
struct listen_file {
	char path[sizeof((struct sockaddr_un *)0)->sun_path]; /* "": none */
	dev_t dev;
	ino_t ino;
};

/* listen_unix listens at `path` with the permissions `mode`.  A socket that
 * nobody listens on is replaced.
 * ERR_EXISTS: a live server holds it; ERR_CONFIG: the path is too long or
 * empty, or holds what is no socket; ERR_IO. */
enum err listen_unix(
    int *fd, struct listen_file *out, const char *path, mode_t mode);

/* listen_unlink removes the socket from the file system, if it still is
 * ours. */
void listen_unlink(const struct listen_file *f);

/* listen_tcp listens at a numeric address; port 0 takes a free one, and
 * `*bound` tells it.  ERR_CONFIG: no address; ERR_IO. */
enum err listen_tcp(int *fd, uint16_t *bound, const char *host, uint16_t port);

/* listen_given makes ready a descriptor that somebody else opened: systemd.
 * ERR_CONFIG if it is no listening stream socket; it is left as it was. */
enum err listen_given(int fd, uint16_t *bound);

/* listen_is_unix: whether a socket has a path, and so its permissions. */
bool listen_is_unix(int fd);

#endif
