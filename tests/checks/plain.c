/* plain: runs the tests of a unit test program without Criterion's library.
 *
 * Its runner starts every test as a worker with threads, sockets and memory
 * maps of its own, none of them built for a checker: ThreadSanitizer and
 * MemorySanitizer cannot even start it, and valgrind follows more than the
 * test.  Here a test is a fork of this process and nothing else.  The tests
 * are the same objects: this file has what Criterion's macros call.
 *
 *   test_x [-jN] [--filter SUITE/NAME]     TAP on stdout, the rest on stderr
 *
 * SLOW=n multiplies every time limit. */
#include <sys/wait.h>

#include <err.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <criterion/criterion.h>
#include <criterion/parameterized.h>

#define TIME_LIMIT_S 300 /* of a test that names none */
#define EXIT_FAILED 1
#define EXIT_SKIPPED 77
#define JOBS_MAX 16

/* The sections that Test() and TestSuite() fill; the second may be empty. */
extern struct criterion_test *__start_cr_tst[], *__stop_cr_tst[];
extern struct criterion_suite *__start_cr_sts[] __attribute__((weak));
extern struct criterion_suite *__stop_cr_sts[] __attribute__((weak));

struct criterion_options criterion_options;

/* The test of this process. */
static const struct criterion_test *current;
static const struct criterion_suite *suite;
static void *param; /* of a parameterized one */

/* What runs now, in the process that started it; pid 0: nothing. */
static struct job {
	pid_t pid;
	const struct criterion_test *test;
	size_t param;
} jobs[JOBS_MAX];
static unsigned n_jobs = 1, n_running, n_failed;

/* ---- what the macros call ---- */

[[gnu::format(printf, 2, 3)]] int
cr_asprintf(char **out, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vasprintf(out, fmt, ap);
	va_end(ap);
	if (n < 0)
		err(2, "vasprintf");
	return n;
}

void
cr_asprintf_free(char *buf)
{
	free(buf);
}

/* The argument that follows is the text of the expression, if there is one. */
char *
cr_translate_assert_msg(int which, ...)
{
	char *out;
	va_list ap;

	va_start(ap, which);
	(void)cr_asprintf(&out, "%s",
	    which == CRITERION_ASSERT_MSG_FAIL ? "failed"
					       : va_arg(ap, const char *));
	va_end(ap);
	return out;
}

void
cri_asserts_passed_incr(void)
{
}

void
criterion_send_assert(struct criterion_assert_stats *s)
{
	(void)fprintf(stderr, "%s:%u: assertion failed: %s\n", s->file, s->line,
	    s->message);
}

/* say prints a line on stderr. */
[[gnu::format(printf, 1, 0)]] static void
say(const char *fmt, va_list ap)
{
	(void)vfprintf(stderr, fmt, ap);
	(void)fputc('\n', stderr);
}

[[gnu::format(printf, 2, 3)]] void
cr_log(enum criterion_severity severity, const char *fmt, ...)
{
	va_list ap;

	(void)severity;
	va_start(ap, fmt);
	say(fmt, ap);
	va_end(ap);
}

void
criterion_internal_test_setup(void)
{
	if (suite != NULL && suite->data->init != NULL)
		suite->data->init();
	if (current->data->init != NULL)
		current->data->init();
}

void
criterion_internal_test_teardown(void)
{
	if (current->data->fini != NULL)
		current->data->fini();
	if (suite != NULL && suite->data->fini != NULL)
		suite->data->fini();
}

void
criterion_internal_test_main(void (*fn)(void))
{
	if (current->data->kind_ == CR_TEST_PARAMETERIZED)
		((void (*)(void *))fn)(param);
	else
		fn();
}

/* A failed check ends the process, whichever thread made it. */
void
criterion_abort_test(void)
{
	criterion_internal_test_teardown();
	(void)fflush(NULL);
	_exit(EXIT_FAILED);
}

static bool failed_softly;

void
criterion_continue_test(void)
{
	failed_softly = true;
}

[[gnu::format(printf, 1, 2)]] void
criterion_skip_test(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say(fmt, ap);
	va_end(ap);
	criterion_internal_test_teardown();
	(void)fflush(NULL);
	_exit(EXIT_SKIPPED);
}

/* ---- the runner ---- */

static const struct criterion_suite *
suite_of(const struct criterion_test *t)
{
	for (struct criterion_suite **s = __start_cr_sts; s < __stop_cr_sts;
	     s++)
		if (strcmp((*s)->name, t->category) == 0)
			return *s;
	return NULL;
}

static unsigned
time_limit(void)
{
	const char *slow = getenv("SLOW");
	const double times = slow == NULL ? 1 : strtod(slow, NULL);
	double s = current->data->timeout;

	if (s <= 0 && suite != NULL)
		s = suite->data->timeout;
	return (unsigned)((s <= 0 ? TIME_LIMIT_S : s) * times) + 1;
}

/* In the child.  exit() and not _exit(): a checker reports there. */
static _Noreturn void
run_here(void)
{
	/* What a test prints is no TAP of ours. */
	(void)dup2(STDERR_FILENO, STDOUT_FILENO);
	(void)alarm(time_limit());
	current->test();
	exit(failed_softly ? EXIT_FAILED : 0);
}

static void
report(const struct job *j, int status)
{
	const int want = j->test->data->signal;
	char of[32] = "", why[64] = "";

	if (j->test->data->kind_ == CR_TEST_PARAMETERIZED)
		(void)snprintf(of, sizeof of, " (%zu)", j->param);
	if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_SKIPPED) {
		printf("ok - %s::%s%s # skip\n", j->test->category,
		    j->test->name, of);
		return;
	}
	if (WIFSIGNALED(status) && WTERMSIG(status) != want)
		(void)snprintf(why, sizeof why, ": signal %d%s",
		    WTERMSIG(status),
		    WTERMSIG(status) == SIGALRM ? ", out of time" : "");
	else if (!WIFSIGNALED(status) && want != 0)
		(void)snprintf(why, sizeof why, ": no signal %d", want);
	else if (!WIFSIGNALED(status) && WEXITSTATUS(status) != 0)
		(void)snprintf(
		    why, sizeof why, ": exit status %d", WEXITSTATUS(status));
	n_failed += why[0] != '\0';
	printf("%s - %s::%s%s%s\n", why[0] == '\0' ? "ok" : "not ok",
	    j->test->category, j->test->name, of, why);
}

static void
wait_for_one(void)
{
	int status;
	const pid_t pid = wait(&status);

	if (pid < 0)
		err(2, "wait");
	for (unsigned i = 0; i < n_jobs; i++) {
		if (jobs[i].pid != pid)
			continue;
		report(&jobs[i], status);
		jobs[i].pid = 0;
		n_running--;
	}
}

static void
start(const struct criterion_test *t, size_t i, void *arg)
{
	struct job *free_job = jobs;
	pid_t pid;

	while (n_running == n_jobs)
		wait_for_one();
	while (free_job->pid != 0)
		free_job++;
	current = t;
	suite = suite_of(t);
	param = arg;
	(void)fflush(NULL);
	if ((pid = fork()) < 0)
		err(2, "fork");
	if (pid == 0)
		run_here();
	*free_job = (struct job){ pid, t, i };
	n_running++;
}

static void
start_all(const struct criterion_test *t)
{
	struct criterion_test_params p;

	if (t->data->kind_ != CR_TEST_PARAMETERIZED) {
		start(t, 0, NULL);
		return;
	}
	p = t->data->param_();
	for (size_t i = 0; i < p.length; i++)
		start(t, i, (char *)p.params + i * p.size);
	while (n_running > 0) /* the parameters may go then */
		wait_for_one();
	if (p.cleanup != NULL)
		p.cleanup(&p);
}

static bool
wanted(const struct criterion_test *t, const char *filter)
{
	const size_t n = strlen(t->category);

	return filter == NULL ||
	    (strncmp(filter, t->category, n) == 0 && filter[n] == '/' &&
		(strcmp(filter + n + 1, "*") == 0 ||
		    strcmp(filter + n + 1, t->name) == 0));
}

int
main(int argc, char **argv)
{
	const char *filter = NULL;

	for (int i = 1; i < argc; i++) {
		if (strncmp(argv[i], "-j", 2) == 0)
			n_jobs = (unsigned)strtoul(argv[i] + 2, NULL, 10);
		else if (strcmp(argv[i], "--filter") == 0 && i + 1 < argc)
			filter = argv[++i];
		else
			errx(2, "usage: %s [-jN] [--filter SUITE/NAME]",
			    argv[0]);
	}
	if (n_jobs < 1 || n_jobs > JOBS_MAX)
		errx(2, "-j1 to -j%d", JOBS_MAX);
	/* The linker's gaps between objects are empty pointers. */
	for (struct criterion_test **t = __start_cr_tst; t < __stop_cr_tst; t++)
		if (*t != NULL && wanted(*t, filter))
			start_all(*t);
	while (n_running > 0)
		wait_for_one();
	return n_failed == 0 ? 0 : EXIT_FAILED;
}
