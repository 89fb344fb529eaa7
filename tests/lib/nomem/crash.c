/* Where a test program was when a signal ended it, to standard error, as
 * addresses for addr2line: the runner tells no more than that it was ended.
 * Criterion silences its workers where it prints TAP: TEST_TRACE names the file
 * that their standard error is then. */
#include <execinfo.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FRAMES 48
#define STACK (256u * 1024)

static void
say_where(int number)
{
	static const char head[] = "ended by a signal at:\n";
	void *frame[FRAMES];
	int n = backtrace(frame, FRAMES);

	(void)!write(STDERR_FILENO, head, sizeof head - 1);
	backtrace_symbols_fd(frame, n, STDERR_FILENO);
	/* SA_RESETHAND: now it ends. */
	(void)raise(number);
}

__attribute__((constructor)) static void
tell(void)
{
	static const int signals[] = { SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL,
		SIGPIPE, SIGSYS };
	static char stack[STACK];
	const stack_t alt = { .ss_sp = stack, .ss_size = sizeof stack };
	struct sigaction a = { .sa_handler = say_where,
		.sa_flags = (int)(SA_ONSTACK | SA_RESETHAND) };
	const char *to = getenv("TEST_TRACE");
	int fd = to == NULL ? -1 : open(to, O_WRONLY | O_APPEND | O_CLOEXEC);
	void *frame[1];

	if (fd >= 0) {
		(void)dup2(fd, STDERR_FILENO);
		(void)close(fd);
	}
	(void)backtrace(frame, 1); /* loads what it needs */
	(void)sigaltstack(&alt, NULL);
	for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++)
		(void)sigaction(signals[i], &a, NULL);
}
