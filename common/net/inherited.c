#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/net/inherited.h"

/* A plain decimal number, or -1. */
static long
number(const char *s)
{
	long v;

	if (s == NULL || s[0] == '\0' || s[strspn(s, "0123456789")] != '\0')
		return -1;
	errno = 0;
	v = strtol(s, NULL, 10);
	return errno == 0 ? v : -1;
}

/* "dstack:tappd" */
static enum err
read_names(struct inherited *out, unsigned n, const char *s)
{
	for (unsigned i = 0; i < n; i++) {
		size_t len = strcspn(s, ":");

		if (len >= INHERITED_NAME_MAX)
			return ERR_CONFIG;
		memcpy(out[i].name, s, len);
		out[i].name[len] = '\0';
		s += len;
		if ((*s == ':') != (i + 1 < n))
			return ERR_CONFIG;
		s += *s == ':';
	}
	return ERR_OK;
}

static enum err
read_all(struct inherited *out, unsigned *n, int first)
{
	const char *pid = getenv("LISTEN_PID"), *fds = getenv("LISTEN_FDS");
	const char *names = getenv("LISTEN_FDNAMES");
	long k = number(fds);

	*n = 0;
	if (pid == NULL || fds == NULL || number(pid) != (long)getpid())
		return ERR_OK;
	if (k < 0 || k > INHERITED_MAX)
		return ERR_CONFIG;
	for (long i = 0; i < k; i++) {
		out[i] = (struct inherited){ .fd = first + (int)i };
		if (fcntl(out[i].fd, F_SETFD, FD_CLOEXEC) != 0)
			return ERR_CONFIG;
	}
	if (names != NULL && k > 0 &&
	    read_names(out, (unsigned)k, names) != ERR_OK)
		return ERR_CONFIG;
	*n = (unsigned)k;
	return ERR_OK;
}

enum err
inherited_take(
    struct inherited out[static INHERITED_MAX], unsigned *n, int first)
{
	enum err e = read_all(out, n, first);

	(void)unsetenv("LISTEN_PID");
	(void)unsetenv("LISTEN_FDS");
	(void)unsetenv("LISTEN_FDNAMES");
	return e;
}
