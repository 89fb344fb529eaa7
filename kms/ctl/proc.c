#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/file.h"
#include "kms/ctl/proc.h"

#define PID_FILE_MAX 64
#define STAT_MAX 4096
#define TAIL_BYTES 8192
#define ENV_MAX 8
/* A killed process goes as soon as its last system call returns. */
#define KILLED_MS 10000

extern char **environ;

/* start_ticks reads field 22 of /proc/PID/stat; false if the process is
 * gone or a zombie.  Field 2 is a name in brackets, of any characters. */
static bool
start_ticks(uint64_t *out, pid_t pid)
{
	struct buf b = { 0 };
	char path[64], *p, state;
	bool ok = false;

	(void)snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
	if (file_read(&b, path, STAT_MAX) != ERR_OK ||
	    (p = strrchr((char *)b.p, ')')) == NULL || p[1] != ' ')
		goto done;
	state = p[2];
	p += 2;
	for (int field = 3; field < 22 && p != NULL; field++)
		if ((p = strchr(p, ' ')) != NULL)
			p++;
	if (p == NULL)
		goto done;
	*out = strtoull(p, NULL, 10);
	ok = state != 'Z' && state != 'X';
done:
	buf_fini(&b);
	return ok;
}

static bool
read_pid_file(pid_t *pid, uint64_t *ticks, const char *path)
{
	struct buf b = { 0 };
	char *after, *end;
	long p;
	bool ok = false;

	if (file_read(&b, path, PID_FILE_MAX) != ERR_OK || b.len == 0)
		goto done;
	p = strtol((char *)b.p, &after, 10);
	if (p > 1 && p <= INT_MAX && *after == ' ') {
		*ticks = strtoull(after, &end, 10);
		*pid = (pid_t)p;
		ok = end != after;
	}
done:
	buf_fini(&b);
	return ok;
}

bool
proc_alive(const char *pid_path, pid_t *pid)
{
	uint64_t want, have;
	pid_t p;

	if (!read_pid_file(&p, &want, pid_path))
		return false;
	if (!start_ticks(&have, p) || have != want)
		return false;
	if (pid != NULL)
		*pid = p;
	return true;
}

/* The child's side of a start; writes errno to `report` if it fails. */
static _Noreturn void
become(const struct proc_start *p, char **env, int report)
{
	int in = open("/dev/null", O_RDONLY);
	int log = open(p->log_path, O_WRONLY | O_CREAT | O_APPEND, 0600);
	sigset_t none;
	int why;

	(void)setsid();
	(void)signal(SIGPIPE, SIG_DFL);
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	if (in >= 0 && log >= 0 && dup2(in, 0) == 0 && dup2(log, 1) == 1 &&
	    dup2(log, 2) == 2 && dup2(report, 3) == 3) {
		(void)fcntl(3, F_SETFD, FD_CLOEXEC);
		(void)close_range(4, ~0u, 0);
		report = 3;
		(void)execve(
		    p->argv[0], (char *const *)(uintptr_t)p->argv, env);
	}
	why = errno;
	(void)!write(report, &why, sizeof why);
	_exit(127);
}

/* Who stops kmsctl must not leave a program that nobody knows of. */
static void
hold_signals(sigset_t *held, sigset_t *before)
{
	(void)sigemptyset(held);
	(void)sigaddset(held, SIGHUP);
	(void)sigaddset(held, SIGINT);
	(void)sigaddset(held, SIGTERM);
	(void)sigprocmask(SIG_BLOCK, held, before);
}

/* start forks and waits until the program runs or cannot. */
static enum err
start(pid_t *out, const struct proc_start *p)
{
	char **env = NULL;
	int report[2] = { -1, -1 }, why = 0;
	size_t n = 0, k = 0;
	enum err e = ERR_IO;
	ssize_t got;
	pid_t pid;

	while (environ[n] != NULL)
		n++;
	if ((env = calloc(n + ENV_MAX + 1, sizeof *env)) == NULL)
		return ERR_NOMEM;
	for (; p->env != NULL && p->env[k] != NULL && k < ENV_MAX; k++)
		env[k] = (char *)(uintptr_t)p->env[k];
	memcpy(env + k, environ, n * sizeof *env);
	if (pipe2(report, O_CLOEXEC) != 0)
		goto done;
	if ((pid = fork()) < 0)
		goto done;
	if (pid == 0)
		become(p, env, report[1]);
	(void)close(report[1]);
	report[1] = -1;
	do
		got = read(report[0], &why, sizeof why);
	while (got < 0 && errno == EINTR);
	if (got == 0) {
		*out = pid;
		e = ERR_OK;
		goto done;
	}
	(void)waitpid(pid, NULL, 0);
	e = why == ENOENT ? ERR_NOTFOUND : ERR_IO;
done:
	if (report[0] >= 0)
		(void)close(report[0]);
	if (report[1] >= 0)
		(void)close(report[1]);
	free(env);
	return e;
}

enum err
proc_start(const struct proc_start *p)
{
	char text[PID_FILE_MAX];
	sigset_t held, before;
	uint64_t ticks = 0;
	pid_t pid;
	enum err e;
	int n;

	if (proc_alive(p->pid_path, NULL))
		return ERR_EXISTS;
	hold_signals(&held, &before);
	if ((e = start(&pid, p)) != ERR_OK)
		goto done;
	/* One that has ended already leaves a file that names nobody. */
	(void)start_ticks(&ticks, pid);
	n = snprintf(text, sizeof text, "%d %" PRIu64 "\n", (int)pid, ticks);
	e = file_write(p->pid_path, text, (size_t)n, 0600);
	if (e != ERR_OK) {
		(void)kill(pid, SIGKILL);
		(void)waitpid(pid, NULL, 0);
	}
done:
	(void)sigprocmask(SIG_SETMASK, &before, NULL);
	return e;
}

/* until_gone waits for the end of the process behind `fd`, or until `other`
 * (-1: none) can be read. */
static bool
until_gone(int fd, int other, uint64_t limit_ms)
{
	struct pollfd p[2] = { { .fd = fd, .events = POLLIN },
		{ .fd = other, .events = POLLIN } };
	uint64_t end = clock_mono_ms() + limit_ms;

	for (;;) {
		uint64_t now = clock_mono_ms();
		int left = now >= end   ? 0
		    : end - now > 60000 ? 60000
					: (int)(end - now);
		int rc = poll(p, 2, left);

		if (rc > 0)
			return p[0].revents != 0;
		if (rc < 0 && errno != EINTR)
			return false;
		if (now >= end)
			return false;
	}
}

enum err
proc_run(int *status, const struct proc_start *p, uint64_t limit_ms)
{
	int fd = -1, signals = -1, st = 0;
	sigset_t held, before;
	pid_t pid;
	enum err e;

	hold_signals(&held, &before);
	if ((e = start(&pid, p)) != ERR_OK)
		goto done;
	fd = pidfd_open(pid, 0);
	signals = signalfd(-1, &held, SFD_CLOEXEC);
	if (fd < 0 || !until_gone(fd, signals, limit_ms)) {
		/* Its session is its own, and so is its process group. */
		(void)kill(-pid, SIGKILL);
		e = ERR_TIMEOUT;
	}
	if (waitpid(pid, &st, 0) != pid)
		e = ERR_IO;
	else
		*status = WIFEXITED(st) ? WEXITSTATUS(st) : 128 + WTERMSIG(st);
done:
	if (fd >= 0)
		(void)close(fd);
	if (signals >= 0)
		(void)close(signals);
	/* A signal that was held back comes now. */
	(void)sigprocmask(SIG_SETMASK, &before, NULL);
	return e;
}

pid_t
proc_worker(pid_t pid)
{
	struct buf b = { 0 };
	char path[64];
	pid_t worker = pid;

	(void)snprintf(
	    path, sizeof path, "/proc/%d/task/%d/children", (int)pid, (int)pid);
	if (file_read(&b, path, STAT_MAX) == ERR_OK && b.len > 0)
		worker = (pid_t)strtol((const char *)b.p, NULL, 10);
	buf_fini(&b);
	return worker > 1 ? worker : pid;
}

/* The worker of a keeper, by descriptor; -1: it works itself. */
static int
worker_of(pid_t pid)
{
	pid_t worker = proc_worker(pid);

	return worker != pid ? pidfd_open(worker, 0) : -1;
}

enum err
proc_stop(const char *pid_path, int sig, uint64_t limit_ms)
{
	uint64_t want = 0, have = 0;
	enum err e = ERR_OK;
	int fd, worker = -1;
	pid_t pid;

	if (!read_pid_file(&pid, &want, pid_path))
		goto done;
	/* The descriptor holds on to the process that the start time is
	 * then read of, so the signal cannot reach a later one. */
	fd = pidfd_open(pid, 0);
	if (fd < 0)
		goto done;
	if (start_ticks(&have, pid) && have == want) {
		worker = worker_of(pid);
		if (sig == SIGKILL)
			(void)kill(-pid, sig);
		(void)pidfd_send_signal(fd, sig, NULL, 0);
		if (!until_gone(fd, -1, limit_ms)) {
			(void)kill(-pid, SIGKILL);
			(void)pidfd_send_signal(fd, SIGKILL, NULL, 0);
			e = until_gone(fd, -1, KILLED_MS) ? ERR_OK
							  : ERR_TIMEOUT;
		}
		/* Its port and its disk are free when this one is gone. */
		if (worker >= 0 && !until_gone(worker, -1, KILLED_MS))
			e = ERR_TIMEOUT;
		/* Ours if this command started it; else init reaps it. */
		(void)waitpid(pid, NULL, WNOHANG);
	}
	(void)close(fd);
	if (worker >= 0)
		(void)close(worker);
done:
	if (e == ERR_OK)
		(void)unlink(pid_path);
	return e;
}

void
proc_log_tail(FILE *out, const char *log_path, unsigned lines)
{
	char text[TAIL_BYTES + 1], *p;
	FILE *f = fopen(log_path, "re");
	size_t n;
	long size;

	if (f == NULL)
		return;
	(void)fseek(f, 0, SEEK_END);
	size = ftell(f);
	(void)fseek(f, size > TAIL_BYTES ? size - TAIL_BYTES : 0, SEEK_SET);
	n = fread(text, 1, TAIL_BYTES, f);
	(void)fclose(f);
	while (n > 0 && text[n - 1] == '\n')
		n--;
	text[n] = '\0';
	for (p = text + n; p > text; p--)
		if (p[-1] == '\n' && lines-- <= 1)
			break;
	if (*p != '\0')
		(void)fprintf(out, "--- end of %s\n", log_path);
	while (*p != '\0') {
		size_t len = strcspn(p, "\n");

		(void)fputs("    ", out);
		for (size_t i = 0; i < len; i++)
			(void)fputc(
			    p[i] >= 0x20 && p[i] < 0x7f ? p[i] : '?', out);
		(void)fputc('\n', out);
		p += len + (p[len] == '\n');
	}
}
