#include <sys/prctl.h>
#include <sys/wait.h>

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "common/base/log.h"
#include "node/harden/keeper.h"

#define SOON_MS 300
#define LATER_MS 5000

struct keeper {
	sigset_t held, before;
	pid_t worker; /* 0: between two lives */
	bool ending; /* asked to */
};

/* The worker's side of the fork. */
static enum err
become(const struct keeper *k, pid_t parent)
{
	if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0)
		return ERR_IO;
	/* It may have died before that. */
	if (getppid() != parent)
		_exit(1);
	return sigprocmask(SIG_SETMASK, &k->before, NULL) == 0 ? ERR_OK
							       : ERR_IO;
}

/* One signal.  Those of a terminal reach the worker by themselves: it is in
 * the same process group. */
static void
take(struct keeper *k, const siginfo_t *s)
{
	if (s->si_signo == SIGCHLD)
		return;
	k->ending = true;
	if (k->worker != 0 && s->si_code != SI_KERNEL)
		(void)kill(k->worker, s->si_signo);
}

/* Waits for the end of the worker; `*status` is wait's. */
static void
watch(struct keeper *k, int *status)
{
	siginfo_t s;

	while (waitpid(k->worker, status, WNOHANG) == 0)
		if (sigwaitinfo(&k->held, &s) > 0)
			take(k, &s);
	k->worker = 0;
}

/* Between two lives; false if it is asked to end meanwhile. */
static bool
pause_ms(struct keeper *k, unsigned ms)
{
	struct timespec left = { .tv_sec = ms / 1000,
		.tv_nsec = (long)(ms % 1000) * 1000000 };
	siginfo_t s;

	/* What is left over of SIGCHLD would end the wait: it was taken. */
	while (!k->ending && sigtimedwait(&k->held, &s, &left) > 0)
		take(k, &s);
	return !k->ending;
}

static _Noreturn void
end_as(int status)
{
	if (WIFSIGNALED(status)) {
		sigset_t one;

		log_event(LOG_ERROR, "worker_killed",
		    log_u64("signal", (uint64_t)WTERMSIG(status)),
		    log_str("cause",
			WTERMSIG(status) == SIGSYS ? "a forbidden system call"
						   : "unknown"));
		(void)signal(WTERMSIG(status), SIG_DFL);
		(void)sigemptyset(&one);
		(void)sigaddset(&one, WTERMSIG(status));
		(void)sigprocmask(SIG_UNBLOCK, &one, NULL);
		(void)raise(WTERMSIG(status));
		_exit(128 + WTERMSIG(status));
	}
	_exit(WEXITSTATUS(status));
}

enum err
keeper_run(struct keeper_life *out, enum harden_filter how)
{
	struct keeper_life life = { .first = true };
	struct keeper k = { 0 };
	const pid_t self = getpid();
	int status = 0;
	enum err e;

	(void)sigemptyset(&k.held);
	(void)sigaddset(&k.held, SIGTERM);
	(void)sigaddset(&k.held, SIGINT);
	(void)sigaddset(&k.held, SIGCHLD);
	if (sigprocmask(SIG_BLOCK, &k.held, &k.before) != 0)
		return ERR_IO;
	if ((e = harden_filter(HARDEN_KEEPER, how)) != ERR_OK)
		return e;
	for (;;) {
		k.worker = fork();
		if (k.worker < 0)
			return ERR_IO;
		if (k.worker == 0) {
			*out = life;
			return become(&k, self);
		}
		watch(&k, &status);
		if (!WIFEXITED(status) || WEXITSTATUS(status) < KEEPER_AGAIN ||
		    WEXITSTATUS(status) > KEEPER_LATER)
			end_as(status);
		if (k.ending)
			_exit(0);
		life.first = false;
		life.disk_failed = WEXITSTATUS(status) == KEEPER_DISK;
		if (!pause_ms(&k,
			WEXITSTATUS(status) == KEEPER_LATER ? LATER_MS
							    : SOON_MS))
			_exit(0);
	}
}

_Noreturn void
keeper_again(enum keeper_end how)
{
	_exit((int)how);
}
