#include <sys/socket.h>
#include <sys/un.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/lib/rawhttp.h"

#define REPLY_MAX (16u << 20)

int
rawhttp_dial(const char *path)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)snprintf(sa.sun_path, sizeof sa.sun_path, "%s", path);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&sa, sizeof sa) != 0) {
		(void)close(fd);
		return -1;
	}
	return fd;
}

void
rawhttp_send(int fd, struct bytes text, size_t step)
{
	for (size_t i = 0; i < text.len; i += step) {
		size_t n = text.len - i < step ? text.len - i : step;

		if (send(fd, text.p + i, n, MSG_NOSIGNAL) != (ssize_t)n)
			return;
	}
}

bool
rawhttp_read(int fd, struct buf *out)
{
	char chunk[16384];
	ssize_t n;

	while ((n = read(fd, chunk, sizeof chunk)) > 0)
		if (out != NULL &&
		    buf_append(out, chunk, (size_t)n, REPLY_MAX) != ERR_OK)
			abort();
	(void)close(fd);
	return n == 0;
}

void
rawhttp_talk(struct buf *out, const char *path, struct bytes text, size_t step)
{
	int fd = rawhttp_dial(path);

	*out = (struct buf){ 0 };
	if (fd < 0)
		return;
	rawhttp_send(fd, text, step);
	(void)rawhttp_read(fd, out);
}

bool
rawhttp_header(const struct buf *reply, const char *name, const char *value)
{
	const char *at = strstr((const char *)reply->p, name);
	const char *end = strstr((const char *)reply->p, "\r\n\r\n");

	return at != NULL && at < end &&
	    strncmp(at + strlen(name), value, strlen(value)) == 0;
}

const char *
rawhttp_check(const struct buf *reply, unsigned *status, struct bytes *body)
{
	const char *text = (const char *)reply->p, *end, *len;

	if (text == NULL || strncmp(text, "HTTP/1.1 ", 9) != 0)
		return "no status line";
	*status = (unsigned)strtoul(text + 9, NULL, 10);
	if ((end = strstr(text, "\r\n\r\n")) == NULL)
		return "no end of the head";
	end += 4;
	*body = (struct bytes){ (const uint8_t *)end,
		reply->len - (size_t)(end - text) };
	if (!rawhttp_header(reply, "\r\nConnection: ", "close\r\n"))
		return "no close";
	len = strstr(text, "\r\nContent-Length: ");
	if (len == NULL || len > end ||
	    strtoul(len + 18, NULL, 10) != body->len)
		return "not the length of the body";
	if (rawhttp_header(reply, "\r\nTransfer-Encoding: ", ""))
		return "an encoding";
	return NULL;
}
