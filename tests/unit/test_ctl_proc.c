/* proc: with /bin/sleep and /bin/sh as the programs. */
#include <criterion/criterion.h>

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/file.h"
#include "kms/ctl/proc.h"
#include "tests/lib/tmpdir.h"

struct place {
	char *dir;
	char pid[512], log[512];
	struct proc_start p;
};

static void
place_init(struct place *x, const char *const *argv)
{
	x->dir = tmpdir_new();
	cr_assert_eq(file_join(x->pid, sizeof x->pid, x->dir, "pid"), ERR_OK);
	cr_assert_eq(file_join(x->log, sizeof x->log, x->dir, "log"), ERR_OK);
	x->p = (struct proc_start){
		.argv = argv, .pid_path = x->pid, .log_path = x->log
	};
}

static const char *const sleeps[] = { "/bin/sleep", "600", NULL };
/* Says so once the signal is ignored. */
static const char *const stubborn[] = { "/bin/sh", "-c",
	"trap '' TERM; echo deaf; while :; do sleep 1; done", NULL };

static void
await_log(const struct place *x, const char *word)
{
	uint64_t end = clock_mono_ms() + 30000;
	struct buf b = { 0 };

	while (file_read(&b, x->log, 4096) != ERR_OK ||
	    strstr((char *)b.p, word) == NULL) {
		cr_assert_lt(clock_mono_ms(), end);
		(void)usleep(5000);
	}
	buf_fini(&b);
}

/* Started, seen, not started twice, stopped, gone. */
Test(ctl_proc, life, .timeout = 60)
{
	struct place x;
	pid_t pid = 0;

	place_init(&x, sleeps);
	cr_assert_not(proc_alive(x.pid, NULL));
	cr_assert_eq(proc_start(&x.p), ERR_OK);
	cr_assert(proc_alive(x.pid, &pid));
	cr_assert_eq(kill(pid, 0), 0);
	cr_assert_eq(getsid(pid), pid); /* a session of its own */
	cr_assert_eq(proc_start(&x.p), ERR_EXISTS);
	cr_assert_eq(proc_stop(x.pid, SIGTERM, 30000), ERR_OK);
	cr_assert_not(proc_alive(x.pid, NULL));
	cr_assert_neq(kill(pid, 0), 0);
	cr_assert_neq(access(x.pid, F_OK), 0);
	/* Stopping what does not run is fine. */
	cr_assert_eq(proc_stop(x.pid, SIGTERM, 0), ERR_OK);
	tmpdir_remove(x.dir);
}

/* One that ignores the signal is killed. */
Test(ctl_proc, stubborn, .timeout = 60)
{
	struct place x;
	pid_t pid;

	place_init(&x, stubborn);
	cr_assert_eq(proc_start(&x.p), ERR_OK);
	await_log(&x, "deaf");
	cr_assert(proc_alive(x.pid, &pid));
	cr_assert_eq(proc_stop(x.pid, SIGTERM, 50), ERR_OK);
	cr_assert_neq(kill(pid, 0), 0);
	tmpdir_remove(x.dir);
}

/* A pid file of a process that is another one now names nobody. */
Test(ctl_proc, somebody_else, .timeout = 60)
{
	struct place x, y;
	char text[64];
	pid_t pid;
	int n;

	place_init(&x, sleeps);
	place_init(&y, sleeps);
	cr_assert_eq(proc_start(&x.p), ERR_OK);
	cr_assert(proc_alive(x.pid, &pid));
	n = snprintf(text, sizeof text, "%d 12345\n", (int)pid);
	cr_assert_eq(file_write(y.pid, text, (size_t)n, 0600), ERR_OK);
	cr_assert_not(proc_alive(y.pid, NULL));
	cr_assert_eq(proc_stop(y.pid, SIGKILL, 1000), ERR_OK);
	cr_assert(proc_alive(x.pid, NULL));
	cr_assert_eq(proc_stop(x.pid, SIGKILL, 30000), ERR_OK);
	tmpdir_remove(x.dir);
	tmpdir_remove(y.dir);
}

/* Pid files that are damaged, or name init or nobody, are nobody's. */
Test(ctl_proc, bad_pid_files)
{
	static const char *const bad[] = { "", "x", "1 0\n", "0 0\n", "-1 0\n",
		"12345678\n", "12345678 x\n", "4294967298 1\n",
		"99999999999999999999 1\n" };
	struct place x;

	place_init(&x, sleeps);
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		cr_assert_eq(
		    file_write(x.pid, bad[i], strlen(bad[i]), 0600), ERR_OK);
		cr_assert_not(proc_alive(x.pid, NULL), "%s", bad[i]);
		cr_assert_eq(proc_stop(x.pid, SIGKILL, 100), ERR_OK);
	}
	tmpdir_remove(x.dir);
}

/* A program that is not there is an error at once, and leaves no file. */
Test(ctl_proc, no_program)
{
	static const char *const argv[] = { "/nonexistent", NULL };
	struct place x;
	int status;

	place_init(&x, argv);
	cr_assert_eq(proc_start(&x.p), ERR_NOTFOUND);
	cr_assert_neq(access(x.pid, F_OK), 0);
	cr_assert_eq(proc_run(&status, &x.p, 1000), ERR_NOTFOUND);
	tmpdir_remove(x.dir);
}

/* proc_run gives the exit status, the environment and the log; and ends
 * what takes too long, with its children. */
Test(ctl_proc, run, .timeout = 60)
{
	static const char *const argv[] = { "/bin/sh", "-c",
		"echo \"got $WORD\"; exit 7", NULL };
	static const char *const forever[] = { "/bin/sh", "-c",
		"sleep 600 & wait", NULL };
	static const char *const env[] = { "WORD=this", NULL };
	struct place x;
	int status = -1;

	place_init(&x, argv);
	x.p.env = env;
	cr_assert_eq(proc_run(&status, &x.p, 30000), ERR_OK);
	cr_assert_eq(status, 7);
	await_log(&x, "got this");
	x.p.argv = forever;
	cr_assert_eq(proc_run(&status, &x.p, 50), ERR_TIMEOUT);
	cr_assert_eq(status, 128 + SIGKILL);
	tmpdir_remove(x.dir);
}

/* Of a log the last lines are shown, and nothing that moves a cursor. */
Test(ctl_proc, log_tail)
{
	static const char text[] = "one\ntwo\nth\033[2Jree\nfour\n\n";
	char *said = NULL;
	size_t len = 0;
	struct place x;
	FILE *f = open_memstream(&said, &len);

	place_init(&x, sleeps);
	cr_assert_eq(file_write(x.log, text, sizeof text - 1, 0600), ERR_OK);
	proc_log_tail(f, x.log, 2);
	proc_log_tail(f, "/nonexistent", 2);
	(void)fclose(f);
	cr_assert_null(strstr(said, "two"));
	cr_assert_not_null(strstr(said, "    th?[2Jree\n    four\n"));
	cr_assert_null(strchr(said, '\033'));
	free(said);
	tmpdir_remove(x.dir);
}

/* Who is stopped during proc_run takes the program along. */
Test(ctl_proc, run_interrupted, .timeout = 60)
{
	static const char *const argv[] = { "/bin/sh", "-c",
		"echo $$; exec sleep 600", NULL };
	struct buf b = { 0 };
	struct place x;
	pid_t self, child;
	int st;

	place_init(&x, argv);
	if ((self = fork()) == 0) {
		(void)proc_run(&st, &x.p, 600000);
		_exit(0); /* not reached: the signal is ours */
	}
	await_log(&x, "\n");
	cr_assert_eq(file_read(&b, x.log, 64), ERR_OK);
	child = atoi((char *)b.p);
	cr_assert_eq(kill(child, 0), 0);
	cr_assert_eq(kill(self, SIGTERM), 0);
	cr_assert_eq(waitpid(self, &st, 0), self);
	cr_assert(WIFSIGNALED(st));
	cr_assert_eq(WTERMSIG(st), SIGTERM);
	cr_assert_neq(kill(child, 0), 0);
	buf_fini(&b);
	tmpdir_remove(x.dir);
}
