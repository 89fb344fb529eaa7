/* inherited: sockets that were opened before this process, by systemd.
 *
 * The protocol of sd_listen_fds(3): LISTEN_PID is this process, LISTEN_FDS
 * descriptors begin at 3, LISTEN_FDNAMES may name them. */
#ifndef COMMON_NET_INHERITED_H
#define COMMON_NET_INHERITED_H

#include <stdbool.h>

#include "common/base/err.h"

#define INHERITED_FIRST 3
#define INHERITED_MAX 16
#define INHERITED_NAME_MAX 256

struct inherited {
	int fd;
	char name[INHERITED_NAME_MAX]; /* "" if none was given */
};

/* inherited_take reads the three variables and removes them, so that no
 * child believes them; `*n` is 0 when they are not meant for us.  Every
 * descriptor is closed on exec from now on, and the caller's.
 * ERR_CONFIG: they are meant for us and make no sense (a number that is
 * none, above INHERITED_MAX, a descriptor that is not open, other names than
 * descriptors). */
enum err inherited_take(
    struct inherited out[static INHERITED_MAX], unsigned *n, int first);

#endif
