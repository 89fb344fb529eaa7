/* kmsctl sim agent: one agent on a fixture, as `phala simulator` has it.
 *
 * Prints what a shell takes, so that
 *     eval "$(kmsctl sim agent)"
 * is all that a tutorial needs; what is for people goes to the log. */
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/base/file.h"
#include "common/base/hex.h"
#include "common/eth/account.h"
#include "kms/ctl/admin.h"
#include "kms/ctl/ctl.h"
#include "kms/ctl/lab.h"
#include "kms/ctl/proc.h"
#include "kms/ctl/simfixture.h"
#include "node/agent/fixture.h"

#define SOCKET_PATH_MAX (sizeof((struct sockaddr_un *)0)->sun_path - 1)
#define LONGEST_SOCKET "/external.sock"
#define READY_MS 15000
#define STOP_MS 10000
#define ANSWER_MS 2000
#define TAIL_LINES 12
/* Below $HOME: where the incumbent's CLI keeps the published folder, and
 * where ours goes if that is not there. */
#define PUBLISHED_DIR ".phala-cloud/simulator/0.5.3"
#define OWN_DIR ".devproof-kms/simulator"

/* The roots that the published folders' signatures recover to. */
static const struct {
	const char *address, *of;
} published[] = {
	{ "8f2cf602c9695b23130367ed78d8f557554de7c5",
	    "the published folder up to 0.5.5" },
	{ "a7f6043c29f9cc1d9d6acf554c53e0c6792aaeaf",
	    "the published folder from 0.5.6 on" },
};

struct place {
	char fixture[PATH_MAX]; /* the files */
	char dir[PATH_MAX]; /* sockets, log and pid */
	char sock[PATH_MAX + 16], tappd[PATH_MAX + 16], external[PATH_MAX + 16];
	char log[PATH_MAX + 16], pid[PATH_MAX + 16];
};

static bool
has_keys(const char *dir)
{
	char path[PATH_MAX];

	return file_join(path, sizeof path, dir, "appkeys.json") == ERR_OK &&
	    access(path, F_OK) == 0;
}

/* What the command line means; folders that are named need not exist. */
static enum ctl_exit
find_dir(char out[static PATH_MAX], const struct ctl *c, const struct args *a)
{
	const char *home = getenv("HOME"), *fixture = args_get(a, "fixture");
	enum err e;

	if (a->n_pos > 0 || fixture != NULL) {
		const char *dir = a->n_pos > 0 ? a->pos[0] : fixture;

		e = strlen(dir) < PATH_MAX ? ERR_OK : ERR_LIMIT;
		if (e == ERR_OK)
			memcpy(out, dir, strlen(dir) + 1);
	} else if (home == NULL || home[0] != '/') {
		return ctl_fail(c, CTL_USAGE, "which folder? HOME is not set");
	} else {
		e = file_join(out, PATH_MAX, home, PUBLISHED_DIR);
		if (e == ERR_OK && !has_keys(out))
			e = file_join(out, PATH_MAX, home, OWN_DIR);
	}
	return e == ERR_OK ? CTL_OK
			   : ctl_fail(c, CTL_USAGE,
				 "the folder's name is too "
				 "long");
}

/* `make`: a folder that is not there is made. */
static enum ctl_exit
find_place(
    struct place *p, const struct ctl *c, const struct args *a, bool make)
{
	const char *fixture = args_get(a, "fixture");
	char dir[PATH_MAX];
	enum ctl_exit rc = find_dir(dir, c, a);

	if (rc != CTL_OK)
		return rc;
	if (make && fixture == NULL && file_mkdirs(dir) != ERR_OK)
		return ctl_fail(c, CTL_USAGE, "%.200s: cannot be made", dir);
	if (make && fixture != NULL && a->n_pos > 0 &&
	    file_mkdirs(dir) != ERR_OK)
		return ctl_fail(c, CTL_USAGE, "%.200s: cannot be made", dir);
	if (realpath(dir, p->dir) == NULL)
		return ctl_fail(c, CTL_USAGE, "%.200s: no such folder", dir);
	if (fixture == NULL)
		memcpy(p->fixture, p->dir, sizeof p->fixture);
	else if (realpath(fixture, p->fixture) == NULL)
		return ctl_fail(
		    c, CTL_USAGE, "%.200s: no such folder", fixture);
	if (strlen(p->dir) + sizeof LONGEST_SOCKET - 1 > SOCKET_PATH_MAX)
		return ctl_fail(c, CTL_USAGE,
		    "%.200s: too long a path for a socket, whose own may have "
		    "%zu bytes; name a shorter folder",
		    p->dir, SOCKET_PATH_MAX);
	if (strpbrk(p->dir, "'\n") != NULL)
		return ctl_fail(c, CTL_USAGE,
		    "the folder's name must have no quote and no line end");
	(void)snprintf(p->sock, sizeof p->sock, "%s/dstack.sock", p->dir);
	(void)snprintf(p->tappd, sizeof p->tappd, "%s/tappd.sock", p->dir);
	(void)snprintf(
	    p->external, sizeof p->external, "%s/external.sock", p->dir);
	(void)snprintf(p->log, sizeof p->log, "%s/agent.log", p->dir);
	(void)snprintf(p->pid, sizeof p->pid, "%s/agent.pid", p->dir);
	return CTL_OK;
}

/* ---- answers ---- */

static const char *
root_of(const char *address)
{
	for (size_t i = 0; i < sizeof published / sizeof published[0]; i++)
		if (strcmp(published[i].address, address) == 0)
			return published[i].of;
	return "this folder alone";
}

static void
print_export(const struct ctl *c, const char *name, const char *value)
{
	bool plain =
	    value[strspn(value,
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
		"/._-+,:@%")] == '\0';
	const char *quote = plain ? "" : "'";

	(void)fprintf(c->out, "export %s=%s%s%s\n", name, quote, value, quote);
}

/* tell says where the agent is, and whose keys it has. */
static enum ctl_exit
tell(const struct ctl *c, const struct place *p, struct fixture *f, pid_t pid)
{
	struct agent_backend b;
	char text[ACCOUNT_ADDRESS_TEXT], hex[41], id[41];
	uint8_t root[20];

	fixture_root(root, f);
	b = fixture_backend(f);
	account_address_text(text, root);
	hex_encode(hex, root, 20);
	hex_encode(id, b.identity->app_id, 20);
	if (c->json)
		return ctl_result(c,
		    json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:b, "
			      "s:I}",
			"socket", p->sock, "tappd_socket", p->tappd,
			"external_socket", p->external, "fixture", p->fixture,
			"app_id", id, "root", text, "root_of", root_of(hex),
			"log", p->log, "simulated", 1, "pid", (json_int_t)pid),
		    CTL_OK);
	ctl_note(c, "simulated agent %ld on %s: nothing is secret or attested",
	    (long)pid, p->fixture);
	ctl_note(c, "root %s (of %s), app %s", text, root_of(hex), id);
	print_export(c, "DSTACK_SIMULATOR_ENDPOINT", p->sock);
	print_export(c, "TAPPD_SIMULATOR_ENDPOINT", p->tappd);
	return CTL_OK;
}

/* ---- start ---- */

static bool
answers(const struct place *p)
{
	json_t *v = NULL, *rq = json_object();
	bool ok = rq != NULL &&
	    admin_agent(&v, p->sock, "Version", rq, ANSWER_MS, false) == ERR_OK;

	json_decref(rq);
	json_decref(v);
	return ok;
}

static enum ctl_exit
await(const struct ctl *c, const struct place *p)
{
	struct ctl_wait w = ctl_wait(c, "the agent", READY_MS);

	while (!answers(p)) {
		if (proc_alive(p->pid, NULL) && ctl_wait_more(&w))
			continue;
		(void)proc_stop(p->pid, SIGTERM, STOP_MS);
		proc_log_tail(c->log, p->log, TAIL_LINES);
		return ctl_fail(c, CTL_FAILED, "the agent does not start");
	}
	return CTL_OK;
}

static enum ctl_exit
load(struct fixture **out, const struct ctl *c, const struct place *p)
{
	struct refusal why = { .code = REASON_NONE };
	enum err e = fixture_load(out, p->fixture, &why);

	return e == ERR_OK
	    ? CTL_OK
	    : ctl_fail(c, CTL_USAGE, "%.200s: %s", p->fixture,
		  why.detail[0] != '\0' ? why.detail : err_text(e));
}

static enum ctl_exit
make_files(const struct ctl *c, const struct place *p)
{
	struct refusal why = { .code = REASON_NONE };
	enum err e;

	ctl_note(c, "%s: making keys of its own", p->fixture);
	e = simfixture_make(p->fixture, &why);
	return e == ERR_OK ? CTL_OK
			   : ctl_fail(c, CTL_FAILED, "%.200s: %s %s",
				 p->fixture, err_text(e), why.detail);
}

static enum ctl_exit
start(const struct ctl *c, const struct place *p, bool make)
{
	char program[LAB_PATH_MAX];
	const char *const argv[] = { program, "--fixture", p->fixture,
		"--socket-dir", p->dir, NULL };
	const struct proc_start ps = {
		.argv = argv, .log_path = p->log, .pid_path = p->pid
	};
	struct fixture *f = NULL;
	enum ctl_exit rc;
	pid_t pid = 0;
	enum err e;

	if (make && !has_keys(p->fixture) && (rc = make_files(c, p)) != CTL_OK)
		return rc;
	if ((rc = load(&f, c, p)) != CTL_OK)
		return rc;
	if (lab_program(program, "cvm-agent") != ERR_OK) {
		rc = ctl_fail(
		    c, CTL_FAILED, "cvm-agent is not there; run `make`");
		goto done;
	}
	if (!proc_alive(p->pid, NULL) && answers(p)) {
		rc = ctl_fail(c, CTL_FAILED,
		    "%.200s: another simulator answers there", p->sock);
		goto done;
	}
	e = proc_start(&ps);
	if (e != ERR_OK && e != ERR_EXISTS) {
		rc = ctl_fail(
		    c, CTL_FAILED, "cannot start %s: %s", program, err_text(e));
		goto done;
	}
	if ((rc = await(c, p)) == CTL_OK) {
		(void)proc_alive(p->pid, &pid);
		rc = tell(c, p, f, pid);
	}
done:
	fixture_free(f);
	return rc;
}

/* Whose keys it has is told if the files are where we were pointed to. */
static enum ctl_exit
status(const struct ctl *c, const struct place *p)
{
	struct fixture *f = NULL;
	enum ctl_exit rc;
	pid_t pid;

	if (!proc_alive(p->pid, &pid))
		return ctl_fail(
		    c, CTL_UNREACHABLE, "%.200s: no agent runs", p->dir);
	if (!answers(p))
		return ctl_fail(c, CTL_UNREACHABLE,
		    "%.200s: agent %ld does not answer", p->sock, (long)pid);
	if (!has_keys(p->fixture))
		return ctl_result(c,
		    json_pack("{s:s, s:s, s:s, s:b, s:I}", "socket", p->sock,
			"tappd_socket", p->tappd, "external_socket",
			p->external, "simulated", 1, "pid", (json_int_t)pid),
		    CTL_OK);
	if ((rc = load(&f, c, p)) == CTL_OK)
		rc = tell(c, p, f, pid);
	fixture_free(f);
	return rc;
}

static enum ctl_exit
run_agent(struct ctl *c, const struct args *a)
{
	static struct place p;
	bool stop = args_has(a, "stop"), look = args_has(a, "status");
	enum ctl_exit rc;

	if (stop && look)
		return ctl_fail(c, CTL_USAGE, "--stop or --status?");
	if ((rc = find_place(&p, c, a, !stop && !look)) != CTL_OK)
		return rc;
	if (look)
		return status(c, &p);
	if (!stop)
		return start(c, &p, args_get(a, "fixture") == NULL);
	if (proc_stop(p.pid, SIGTERM, STOP_MS) != ERR_OK)
		return ctl_fail(c, CTL_FAILED, "%.200s: cannot stop", p.dir);
	return ctl_result(c, json_pack("{s:s}", "stopped", p.dir), CTL_OK);
}

static const struct args_option options[] = {
	{ "fixture", "DIR", "its files (default: the folder itself)" },
	{ "stop", NULL, "end it" },
	{ "status", NULL, "does it run, and where" },
	{ NULL, NULL, NULL },
};

const struct ctl_command cmd_simagent[] = {
	{ "sim agent", "[DIR]",
	    "one agent on a simulator's folder, for tutorials", options, 0, 1,
	    run_agent },
	{ .name = NULL },
};
