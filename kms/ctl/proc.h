/* proc: programs that outlive the command that started them.
 *
 * Each runs in a session of its own, appends to a log file, and is known by
 * a pid file that holds its pid and its start time in the kernel's ticks:
 * a pid that has been given to somebody else is never signalled. */
#ifndef KMS_CTL_PROC_H
#define KMS_CTL_PROC_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "common/base/err.h"

struct proc_start {
	const char *const *argv; /* argv[0] is a path; NULL ends it */
	const char *const *env; /* "NAME=value" to add, or NULL */
	const char *log_path;
	const char *pid_path;
};

/* proc_start starts a program.  ERR_EXISTS: it runs already; ERR_NOTFOUND:
 * no such program; ERR_IO. */
enum err proc_start(const struct proc_start *p);

/* proc_run starts a program (pid_path is not used), waits at most
 * `limit_ms` and sets its exit status; killed by a signal is 128 + n. */
enum err proc_run(int *status, const struct proc_start *p, uint64_t limit_ms);

/* proc_alive: the program of this pid file runs (a zombie does not). */
bool proc_alive(const char *pid_path, pid_t *pid);

/* proc_worker: who does the work of a program that keeps a worker
 * (node/harden/keeper.h); `pid` itself if that one has no child. */
pid_t proc_worker(pid_t pid);

/* proc_stop sends `sig`, and SIGKILL once `limit_ms` have passed, waits for
 * the end and removes the pid file.  SIGKILL is for its whole group.  It is fine if nothing runs. */
enum err proc_stop(const char *pid_path, int sig, uint64_t limit_ms);

/* proc_log_tail prints the last lines of a log, indented. */
void proc_log_tail(FILE *out, const char *log_path, unsigned lines);

#endif
