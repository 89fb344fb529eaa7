/* One life after the other: none begins that should not, each ends with its
 * keeper, and what ends it is told. */
#include <sys/socket.h>
#include <sys/wait.h>

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/secret.h"
#include "node/harden/keeper.h"

#define WAIT_MS 60000
#define NOT_HERE 77

static int line[2]; /* each life writes one letter */

static void
setup(void)
{
	cr_assert_eq(secret_process_init(), ERR_OK);
	log_set_level(LOG_ERROR);
	cr_assert_eq(pipe(line), 0);
}

TestSuite(keeper, .init = setup, .timeout = 240);

/* A keeper whose workers run `live`, which ends them. */
static pid_t
keep(void (*live)(const struct keeper_life *life))
{
	pid_t pid = fork();
	struct keeper_life life;

	cr_assert(pid >= 0);
	if (pid != 0) {
		(void)close(line[1]);
		return pid;
	}
	if (keeper_run(&life, HARDEN_ENFORCE) != ERR_OK)
		_exit(99);
	live(&life);
	_exit(98);
}

static void
tell(char c)
{
	(void)!write(line[1], &c, 1);
}

/* The next letter, or 0 when nobody is left who could write one. */
static char
heard(void)
{
	struct pollfd p = { .fd = line[0], .events = POLLIN };
	char c = 0;

	cr_assert_eq(poll(&p, 1, WAIT_MS), 1);
	return read(line[0], &c, 1) == 1 ? c : 0;
}

static int
ended(pid_t pid)
{
	int status = 0;

	cr_assert_eq(waitpid(pid, &status, 0), pid);
	return status;
}

static void
three_lives(const struct keeper_life *life)
{
	if (life->first) {
		tell('1');
		keeper_again(KEEPER_AGAIN);
	}
	if (!life->disk_failed) {
		tell('2');
		keeper_again(KEEPER_DISK);
	}
	tell('3');
	_exit(7);
}

/* Each life knows what it begins with; the last one's status is the keeper's. */
Test(keeper, lives)
{
	pid_t pid = keep(three_lives);
	int status;

	cr_assert_eq(heard(), '1');
	cr_assert_eq(heard(), '2');
	cr_assert_eq(heard(), '3');
	cr_assert_eq(heard(), 0);
	status = ended(pid);
	cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 7, "%#x", status);
}

static void
crashes(const struct keeper_life *life)
{
	(void)life;
	tell('1');
	abort();
}

/* Who crashes is not brought back by us: its addresses would be the same. */
Test(keeper, no_life_after_a_crash)
{
	pid_t pid = keep(crashes);
	int status;

	cr_assert_eq(heard(), '1');
	cr_assert_eq(heard(), 0);
	status = ended(pid);
	cr_assert(
	    WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT, "%#x", status);
}

static void
on_term(int sig)
{
	(void)sig;
	_exit(5);
}

static void
waits(const struct keeper_life *life)
{
	(void)life;
	(void)signal(SIGTERM, on_term);
	tell('1');
	for (;;)
		(void)usleep(1000);
}

/* SIGTERM is the worker's to answer. */
Test(keeper, is_asked_to_end)
{
	pid_t pid = keep(waits);
	int status;

	cr_assert_eq(heard(), '1');
	cr_assert_eq(kill(pid, SIGTERM), 0);
	status = ended(pid);
	cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 5, "%#x", status);
}

/* Nobody serves whom nobody keeps. */
Test(keeper, no_life_without_its_keeper)
{
	pid_t pid = keep(waits);

	cr_assert_eq(heard(), '1');
	cr_assert_eq(kill(pid, SIGKILL), 0);
	(void)ended(pid);
	cr_assert_eq(heard(), 0);
}

static void
cannot_start(const struct keeper_life *life)
{
	(void)life;
	tell('1');
	keeper_again(KEEPER_LATER);
}

/* Between two lives there is nobody to ask. */
Test(keeper, ends_between_lives)
{
	pid_t pid = keep(cannot_start);
	uint64_t began;
	int status;

	cr_assert_eq(heard(), '1');
	began = clock_mono_ms();
	(void)usleep(100 * 1000);
	cr_assert_eq(kill(pid, SIGTERM), 0);
	status = ended(pid);
	cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0, "%#x", status);
	cr_assert_lt(clock_mono_ms() - began, 4000);
}

/* ---- what a keeper itself cannot ---- */

static char *const no_args[] = { NULL };

static void
runs_program(void)
{
	(void)execve("/bin/true", no_args, no_args);
}

static void
opens_packets(void)
{
	(void)socket(AF_PACKET, SOCK_RAW, 0);
}

static void
new_namespace(void)
{
	(void)unshare(CLONE_NEWUSER);
}

Test(keeper, is_under_a_filter)
{
	static void (*const forbidden[])(
	    void) = { runs_program, opens_packets, new_namespace };

	for (size_t i = 0; i < sizeof forbidden / sizeof forbidden[0]; i++) {
		pid_t pid = fork();
		struct harden_state s;
		int status;

		if (pid == 0) {
			if (harden_filter(HARDEN_KEEPER, HARDEN_ENFORCE) !=
			    ERR_OK)
				_exit(99);
			harden_state(&s);
			if (!s.kernel_filters)
				_exit(NOT_HERE);
			forbidden[i]();
			_exit(0);
		}
		status = ended(pid);
		if (WIFEXITED(status) && WEXITSTATUS(status) == NOT_HERE)
			cr_skip_test("no filter in this build");
		cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS,
		    "%zu: %#x", i, status);
	}
}

/* A worker puts its own filter on top, and cannot fork any more. */
static void
filtered(const struct keeper_life *life)
{
	(void)life;
	if (harden_filter(HARDEN_WORKER, HARDEN_ENFORCE) != ERR_OK)
		_exit(97);
	tell('1');
	if (fork() == 0)
		_exit(0);
	_exit(6);
}

Test(keeper, its_worker_cannot_fork)
{
	pid_t pid = keep(filtered);
	int status;

	cr_assert_eq(heard(), '1');
	status = ended(pid);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 6)
		cr_skip_test("no filter in this build");
	cr_assert(
	    WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS, "%#x", status);
}
