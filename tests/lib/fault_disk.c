#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "tests/lib/fault_disk.h"

static struct {
	enum fault what;
	int error;
	unsigned nth, times, calls;
} armed;

void
fault_arm(enum fault what, int error, unsigned nth, unsigned times)
{
	armed.what = what;
	armed.error = error;
	armed.nth = nth;
	armed.times = times;
	armed.calls = 0;
}

unsigned
fault_calls(void)
{
	unsigned n = armed.calls;

	fault_arm(FAULT_NONE, 0, 0, 0);
	return n;
}

static bool
hit(int fd)
{
	struct stat st;

	if (armed.nth == 0 || fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
		return false;
	armed.calls++;
	if (armed.what == FAULT_NONE || armed.calls < armed.nth ||
	    armed.calls - armed.nth >= armed.times)
		return false;
	if (armed.what == FAULT_KILL)
		(void)raise(SIGKILL);
	errno = armed.error;
	return true;
}

static ssize_t
half(ssize_t n)
{
	if (armed.what == FAULT_TEAR)
		(void)raise(SIGKILL);
	return n;
}

ssize_t
pwrite(int fd, const void *p, size_t len, off_t at)
{
	if (!hit(fd))
		return syscall(SYS_pwrite64, fd, p, len, at);
	if (armed.what == FAULT_ERROR)
		return -1;
	return half(syscall(SYS_pwrite64, fd, p, len / 2, at));
}

ssize_t
writev(int fd, const struct iovec *v, int n)
{
	if (!hit(fd))
		return syscall(SYS_writev, fd, v, n);
	if (armed.what == FAULT_ERROR)
		return -1;
	return half(syscall(SYS_writev, fd, v, n / 2));
}

int
fdatasync(int fd)
{
	if (!hit(fd))
		return (int)syscall(SYS_fdatasync, fd);
	if (armed.what == FAULT_TEAR)
		(void)raise(SIGKILL);
	return armed.what == FAULT_ERROR ? -1 : 0;
}
