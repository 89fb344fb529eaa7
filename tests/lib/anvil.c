#include <assert.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/eth/rpc.h"
#include "tests/lib/anvil.h"

/* The program itself, not the wrapper in .bin, which would orphan it. */
#define PROGRAM "contracts/node_modules/@foundry-rs/anvil-linux-amd64/bin/anvil"

static void
child(int out, const char *rules)
{
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (dup2(out, STDOUT_FILENO) < 0)
		_exit(126);
	(void)execl(PROGRAM, PROGRAM, "--port", "0", "--chain-id", "31337",
	    "--slots-in-an-epoch", "1", rules != NULL ? "--hardfork" : NULL,
	    rules, (char *)NULL);
	_exit(127);
}

/* Once it listens the pipe is closed: anvil goes on when it cannot log, but
 * would stop at a pipe that nobody empties. */
static bool
find_port(int fd, unsigned *port)
{
	static const char mark[] = "Listening on 127.0.0.1:";
	char line[512];
	FILE *f = fdopen(fd, "r");
	bool found = false;

	assert(f != NULL);
	while (!found && fgets(line, sizeof line, f) != NULL) {
		const char *p = strstr(line, mark);

		if (p != NULL) {
			*port =
			    (unsigned)strtoul(p + sizeof mark - 1, NULL, 10);
			found = *port > 0 && *port < 65536;
		}
	}
	(void)fclose(f);
	return found;
}

bool
anvil_start(struct anvil *a)
{
	return anvil_start_fork(a, NULL);
}

bool
anvil_start_fork(struct anvil *a, const char *rules)
{
	unsigned port = 0;
	int fd[2];

	if (access(PROGRAM, X_OK) != 0)
		return false;
	/* anvil must not hold the end that it would have to empty. */
	assert(pipe2(fd, O_CLOEXEC) == 0);
	a->pid = fork();
	assert(a->pid >= 0);
	if (a->pid == 0)
		child(fd[1], rules);
	(void)close(fd[1]);
	if (!find_port(fd[0], &port)) {
		anvil_stop(a);
		abort();
	}
	(void)snprintf(a->url, sizeof a->url, "http://127.0.0.1:%u", port);
	return true;
}

void
anvil_stop(struct anvil *a)
{
	if (a->pid <= 0)
		return;
	(void)kill(a->pid, SIGKILL);
	(void)waitpid(a->pid, NULL, 0);
	a->pid = 0;
}

json_t *
anvil_ask(const struct anvil *a, const char *method, const char *params)
{
	const struct rpc_request rq = { a->url, method, params, 30000,
		1u << 20 };
	struct rpc_reply r;
	json_t *v;

	rpc_all(&r, &rq, 1);
	if (r.err != ERR_OK) {
		(void)fprintf(stderr, "%s: %s\n", method, r.message);
		abort();
	}
	v = json_incref(r.result);
	rpc_reply_fini(&r);
	return v;
}

void
anvil_rpc(const struct anvil *a, const char *method, const char *params)
{
	json_decref(anvil_ask(a, method, params));
}
