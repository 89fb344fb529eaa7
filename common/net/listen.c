#include <sys/socket.h>
#include <sys/stat.h>

#include <arpa/inet.h>
#include <netinet/in.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "common/net/listen.h"

/* A thousand clients may connect at once; the kernel has its own bound. */
#define BACKLOG 4096

union address {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
	struct sockaddr_un un;
};

/* ERR_OK when nothing is at the path any more. */
static enum err
clear_stale(const struct sockaddr_un *sa)
{
	struct stat st;
	enum err e = ERR_EXISTS;
	int fd;

	if (lstat(sa->sun_path, &st) != 0)
		return errno == ENOENT ? ERR_OK : ERR_IO;
	if (!S_ISSOCK(st.st_mode))
		return ERR_CONFIG; /* somebody's file: never remove it */
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return ERR_IO;
	/* A full backlog (EAGAIN) is a live server too. */
	if (connect(fd, (const struct sockaddr *)sa, sizeof *sa) != 0 &&
	    errno == ECONNREFUSED)
		e = unlink(sa->sun_path) == 0 ? ERR_OK : ERR_IO;
	(void)close(fd);
	return e;
}

enum err
listen_unix(int *out, struct listen_file *f, const char *path, mode_t mode)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	size_t n = strlen(path);
	struct stat st;
	enum err e;
	int fd;

	if (n == 0 || n >= sizeof sa.sun_path)
		return ERR_CONFIG;
	memcpy(sa.sun_path, path, n + 1);
	if ((e = clear_stale(&sa)) != ERR_OK)
		return e;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return ERR_IO;
	/* The mode before bind narrows the new file from its first moment;
	 * the one after it widens what the umask took away. */
	if (fchmod(fd, mode) != 0 ||
	    bind(fd, (struct sockaddr *)&sa, sizeof sa) != 0) {
		(void)close(fd);
		return ERR_IO;
	}
	if (chmod(sa.sun_path, mode) != 0 || listen(fd, BACKLOG) != 0 ||
	    lstat(sa.sun_path, &st) != 0) {
		(void)close(fd);
		(void)unlink(sa.sun_path);
		return ERR_IO;
	}
	memcpy(f->path, sa.sun_path, n + 1);
	f->dev = st.st_dev;
	f->ino = st.st_ino;
	*out = fd;
	return ERR_OK;
}

void
listen_unlink(const struct listen_file *f)
{
	struct stat st;

	if (f->path[0] != '\0' && lstat(f->path, &st) == 0 &&
	    st.st_dev == f->dev && st.st_ino == f->ino)
		(void)unlink(f->path);
}

static uint16_t
port_of(const union address *sa)
{
	if (sa->any.sa_family == AF_INET)
		return ntohs(sa->v4.sin_port);
	return sa->any.sa_family == AF_INET6 ? ntohs(sa->v6.sin6_port) : 0;
}

enum err
listen_tcp(int *out, uint16_t *bound, const char *host, uint16_t port)
{
	union address sa = { .any = { 0 } };
	socklen_t len;
	int one = 1, fd;

	if (inet_pton(AF_INET, host, &sa.v4.sin_addr) == 1) {
		sa.v4.sin_family = AF_INET;
		sa.v4.sin_port = htons(port);
		len = sizeof sa.v4;
	} else if (inet_pton(AF_INET6, host, &sa.v6.sin6_addr) == 1) {
		sa.v6.sin6_family = AF_INET6;
		sa.v6.sin6_port = htons(port);
		len = sizeof sa.v6;
	} else {
		return ERR_CONFIG;
	}
	fd = socket(
	    sa.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return ERR_IO;
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) != 0 ||
	    bind(fd, &sa.any, len) != 0 || listen(fd, BACKLOG) != 0 ||
	    getsockname(fd, &sa.any, &len) != 0) {
		(void)close(fd);
		return ERR_IO;
	}
	*bound = port_of(&sa);
	*out = fd;
	return ERR_OK;
}

enum err
listen_given(int fd, uint16_t *bound)
{
	union address sa = { .any = { 0 } };
	socklen_t len = sizeof sa, n = sizeof(int);
	int listens = 0, type = 0, flags = fcntl(fd, F_GETFL);

	if (flags < 0 ||
	    getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &n) != 0 ||
	    getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &n) != 0 ||
	    listens == 0 || type != SOCK_STREAM ||
	    getsockname(fd, &sa.any, &len) != 0)
		return ERR_CONFIG;
	if (fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0 ||
	    fcntl(fd, F_SETFD, FD_CLOEXEC) != 0)
		return ERR_CONFIG;
	*bound = port_of(&sa);
	return ERR_OK;
}

bool
listen_is_unix(int fd)
{
	union address sa = { .any = { 0 } };
	socklen_t len = sizeof sa;

	/* An abstract name begins with NUL, and is open to everybody. */
	return getsockname(fd, &sa.any, &len) == 0 &&
	    sa.any.sa_family == AF_UNIX && sa.un.sun_path[0] != '\0';
}
