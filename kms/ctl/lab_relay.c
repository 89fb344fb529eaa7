#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "kms/ctl/lab_relay.h"
#include "kms/ctl/lab_run.h"
#include "kms/ctl/proc.h"

#define START_MS 10000
#define PIECE 16384
#define BACKLOG 64

struct line {
	int a, b;
};

static struct sockaddr_in
local(uint16_t port)
{
	return (struct sockaddr_in){ .sin_family = AF_INET,
		.sin_port = htons(port),
		.sin_addr = { htonl(INADDR_LOOPBACK) } };
}

static int
dial(uint16_t port)
{
	struct sockaddr_in at = local(port);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd >= 0 && connect(fd, (struct sockaddr *)&at, sizeof at) == 0)
		return fd;
	if (fd >= 0)
		(void)close(fd);
	return -1;
}

/* One piece from one end to the other; false at the end of either. */
static bool
pass(int from, int to)
{
	char piece[PIECE];
	ssize_t n = read(from, piece, sizeof piece), sent;

	if (n < 0 && errno == EINTR)
		return true;
	for (ssize_t at = 0; at < n; at += sent) {
		sent = send(to, piece + at, (size_t)(n - at), MSG_NOSIGNAL);
		if (sent < 0)
			return false;
	}
	return n > 0;
}

static void *
carry(void *cookie)
{
	struct line *l = cookie;
	struct pollfd p[2] = { { .fd = l->a, .events = POLLIN },
		{ .fd = l->b, .events = POLLIN } };
	bool open = true;

	while (open) {
		if (poll(p, 2, -1) < 0 && errno != EINTR)
			break;
		if (p[0].revents != 0)
			open = pass(l->a, l->b);
		if (open && p[1].revents != 0)
			open = pass(l->b, l->a);
	}
	(void)close(l->a);
	(void)close(l->b);
	free(l);
	return NULL;
}

static void
begin(int fd, uint16_t to)
{
	struct line *l = malloc(sizeof *l);
	pthread_t t;

	if (l != NULL) {
		l->a = fd;
		l->b = dial(to);
		if (l->b >= 0 && pthread_create(&t, NULL, carry, l) == 0) {
			(void)pthread_detach(t);
			return;
		}
		if (l->b >= 0)
			(void)close(l->b);
	}
	free(l);
	(void)close(fd);
}

enum err
lab_relay(uint16_t from, uint16_t to)
{
	struct sockaddr_in at = local(from);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;

	if (fd < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
	    bind(fd, (struct sockaddr *)&at, sizeof at) != 0 ||
	    listen(fd, BACKLOG) != 0) {
		if (fd >= 0)
			(void)close(fd);
		return ERR_IO;
	}
	for (;;) {
		int got = accept4(fd, NULL, NULL, SOCK_CLOEXEC);

		if (got >= 0)
			begin(got, to);
		else if (errno != EINTR && errno != ECONNABORTED)
			(void)usleep(10000); /* out of descriptors */
	}
}

enum ctl_exit
lab_start_relay(const struct ctl *c, const struct lab *l, uint16_t port)
{
	struct ctl_wait w = ctl_wait(c, "the relay", START_MS);
	char self[LAB_PATH_MAX], text[8];
	const char *const argv[] = { self, "sim", "relay", l->dir, text, NULL };
	enum ctl_exit rc;
	int fd;

	if (lab_program(self, "kmsctl") != ERR_OK)
		return ctl_fail(c, CTL_FAILED, "kmsctl is not there");
	(void)snprintf(text, sizeof text, "%u", port);
	if ((rc = lab_launch(c, l, LAB_RELAY, argv)) != CTL_OK)
		return rc;
	while ((fd = dial(port)) < 0)
		if (!ctl_wait_more(&w))
			return ctl_fail(
			    c, CTL_FAILED, "the relay does not listen");
	(void)close(fd);
	return CTL_OK;
}
