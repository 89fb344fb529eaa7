#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/file.h"

#define PATH_CAP 1024

enum err
file_read(struct buf *out, const char *path, size_t max)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	uint8_t chunk[8192];
	enum err e = ERR_OK;

	if (fd < 0)
		return errno == ENOENT ? ERR_NOTFOUND : ERR_IO;
	out->len = 0;
	for (;;) {
		ssize_t n = read(fd, chunk, sizeof chunk);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			e = ERR_IO;
		if (n <= 0)
			break;
		if ((e = buf_append(out, chunk, (size_t)n, max)) != ERR_OK)
			break;
	}
	(void)close(fd);
	if (e == ERR_OK)
		e = buf_append(out, "", 0, max); /* an empty file is "" */
	return e;
}

static enum err
write_all(int fd, const uint8_t *p, size_t len)
{
	while (len > 0) {
		ssize_t n = write(fd, p, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return ERR_IO;
		p += n;
		len -= (size_t)n;
	}
	return ERR_OK;
}

enum err
file_write(const char *path, const void *p, size_t len, mode_t mode)
{
	char tmp[PATH_CAP];
	enum err e;
	int fd;

	if ((size_t)snprintf(
		tmp, sizeof tmp, "%s.tmp%d", path, (int)getpid()) >= sizeof tmp)
		return ERR_LIMIT;
	fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
	if (fd < 0)
		return ERR_IO;
	e = write_all(fd, p, len);
	if (e == ERR_OK && (fchmod(fd, mode) != 0 || fsync(fd) != 0))
		e = ERR_IO;
	if (close(fd) != 0 && e == ERR_OK)
		e = ERR_IO;
	if (e == ERR_OK && rename(tmp, path) != 0)
		e = ERR_IO;
	if (e != ERR_OK)
		(void)unlink(tmp);
	return e;
}

enum err
file_mkdirs(const char *path)
{
	char tmp[PATH_CAP];
	size_t n = strlen(path);

	if (n == 0 || n >= sizeof tmp)
		return ERR_LIMIT;
	memcpy(tmp, path, n + 1);
	for (size_t i = 1; i <= n; i++) {
		if (tmp[i] != '/' && tmp[i] != '\0')
			continue;
		tmp[i] = '\0';
		if (mkdir(tmp, 0700) != 0 && errno != EEXIST)
			return ERR_IO;
		tmp[i] = path[i];
	}
	return ERR_OK;
}

enum err
file_join(char *out, size_t cap, const char *dir, const char *name)
{
	int n = snprintf(out, cap, "%s/%s", dir, name);

	return n < 0 || (size_t)n >= cap ? ERR_LIMIT : ERR_OK;
}
