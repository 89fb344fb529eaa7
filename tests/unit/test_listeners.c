#include <sys/socket.h>
#include <sys/stat.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <criterion/criterion.h>

#include "common/base/log.h"
#include "common/base/secret.h"
#include "common/net/listen.h"

#include "node/agent/listeners.h"
#include "tests/lib/fake_agent.h"
#include "tests/lib/rawhttp.h"
#include "tests/lib/tmpdir.h"

#define FIRST 200 /* descriptors that nobody else here uses */

static struct fake_agent fake;
static struct agent_backend backend;
static struct agent_config config;
static struct listeners all;
static char *dir;

static void
setup(void)
{
	cr_assert_eq(secret_process_init(), ERR_OK);
	log_set_level(LOG_ERROR);
	fake_agent_init(&fake, &backend);
	dir = tmpdir_new();
	(void)snprintf(config.socket, sizeof config.socket, "%s/d", dir);
	config.socket_mode = 0600;
}

static void
teardown(void)
{
	listeners_stop(&all);
	fake_agent_fini(&fake);
	tmpdir_remove(dir);
}

TestSuite(listeners, .init = setup, .fini = teardown, .timeout = 60);

static void
given(const char *pid, const char *fds, const char *names)
{
	char me[32];

	(void)snprintf(me, sizeof me, "%d", (int)getpid());
	(void)setenv("LISTEN_PID", pid != NULL ? pid : me, 1);
	(void)setenv("LISTEN_FDS", fds, 1);
	(void)unsetenv("LISTEN_FDNAMES");
	if (names != NULL)
		(void)setenv("LISTEN_FDNAMES", names, 1);
}

/* Variables for others are not ours; those for us must make sense.  None is
 * left. */
Test(listeners, variables)
{
	static const struct {
		const char *fds, *names;
	} bad[] = { { "", NULL }, { "x", NULL }, { "-1", NULL }, { "17", NULL },
		{ "3", NULL }, { "99999999999999999999", NULL }, { "2", "a" },
		{ "2", "a:b:c" }, { "1", "a:" }, { "2", "" } };
	struct inherited in[INHERITED_MAX];
	unsigned n = 9;

	cr_assert_eq(dup2(0, FIRST), FIRST);
	cr_assert_eq(dup2(0, FIRST + 1), FIRST + 1);
	cr_assert_eq(inherited_take(in, &n, FIRST), ERR_OK);
	cr_assert_eq(n, 0);
	given("1", "1", NULL);
	cr_assert_eq(inherited_take(in, &n, FIRST), ERR_OK);
	cr_assert_eq(n, 0);
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		given(NULL, bad[i].fds, bad[i].names);
		cr_assert_eq(
		    inherited_take(in, &n, FIRST), ERR_CONFIG, "%zu", i);
		cr_assert_eq(n, 0);
		cr_assert_null(getenv("LISTEN_PID"));
	}
	given(NULL, "0", "");
	cr_assert_eq(inherited_take(in, &n, FIRST), ERR_OK);
	cr_assert_eq(n, 0);
	given(NULL, "2", ":tappd");
	cr_assert_eq(inherited_take(in, &n, FIRST), ERR_OK);
	cr_assert_eq(n, 2);
	cr_assert_eq(in[1].fd, FIRST + 1);
	cr_assert_str_eq(in[0].name, "");
	cr_assert_str_eq(in[1].name, "tappd");
	cr_assert_null(getenv("LISTEN_FDS"));
	cr_assert_null(getenv("LISTEN_FDNAMES"));
}

/* By name if there is one of ours, else by order. */
Test(listeners, who_is_who)
{
	static const struct inherited unit[] = { { 3, "a.socket" },
		{ 4, "b.socket" }, { 5, "" }, { 6, "" } };
	static const struct inherited named[] = { { 3, "external" },
		{ 4, "dstack" }, { 5, "dstack" }, { 6, "other" } };
	int at[N_LISTENERS];

	cr_assert_eq(listeners_given(at, unit, 4), ERR_CONFIG);
	cr_assert_eq(listeners_given(at, named, 3), ERR_CONFIG);
	cr_assert_eq(listeners_given(at, named + 2, 2), ERR_CONFIG);
	cr_assert_eq(listeners_given(at, unit, 0), ERR_OK);
	cr_assert(at[0] == -1 && at[1] == -1 && at[2] == -1);
	cr_assert_eq(listeners_given(at, unit, 2), ERR_OK);
	cr_assert(at[0] == 0 && at[1] == 1 && at[2] == -1);
	cr_assert_eq(listeners_given(at, named, 2), ERR_OK);
	cr_assert(at[0] == 1 && at[1] == -1 && at[2] == 0);
}

static void
says(const char *path, const char *target, const char *what)
{
	struct buf out, text = { 0 };

	cr_assert_eq(
	    buf_printf(&text, "GET %s HTTP/1.1\r\n\r\n", target), ERR_OK);
	rawhttp_talk(&out, path, buf_view(&text), 4096);
	cr_assert_not_null(out.p, "%s is not there", path);
	cr_assert_not_null(
	    strstr((char *)out.p, what), "%s: %s", path, (char *)out.p);
	buf_fini(&out);
	buf_fini(&text);
}

/* What is not configured is not there; each socket has its own surface. */
Test(listeners, configured)
{
	struct stat st;

	cr_assert_eq(listeners_start(&all, &backend, &config, NULL, 0), ERR_OK);
	cr_assert_null(all.server[LISTENER_TAPPD]);
	cr_assert_null(all.server[LISTENER_EXTERNAL]);
	says(config.socket, "/Version", " 200 ");
	says(config.socket, "/prpc/Tappd.Version", " 400 ");
	listeners_stop(&all);
	cr_assert_neq(stat(config.socket, &st), 0);

	(void)snprintf(
	    config.tappd_socket, sizeof config.tappd_socket, "%s/t", dir);
	(void)strcpy(config.external_host, "127.0.0.1");
	cr_assert_eq(listeners_start(&all, &backend, &config, NULL, 0), ERR_OK);
	says(config.tappd_socket, "/prpc/Tappd.Version", " 200 ");
	cr_assert_eq(stat(config.tappd_socket, &st), 0);
	cr_assert_eq(st.st_mode & 0777, 0600);
	cr_assert_gt(server_port(all.server[LISTENER_EXTERNAL]), 0);
}

/* One that cannot listen stops all. */
Test(listeners, all_or_none)
{
	struct stat st;

	(void)strcpy(config.tappd_socket, "/nonexistent/t");
	cr_assert_eq(listeners_start(&all, &backend, &config, NULL, 0), ERR_IO);
	cr_assert_null(all.server[LISTENER_DSTACK]);
	cr_assert_neq(stat(config.socket, &st), 0);
}

/* A given socket takes the place of the configured one. */
Test(listeners, given_sockets)
{
	struct inherited in[2] = { { 0, "tappd" }, { 0, "dstack" } };
	struct listen_file files[2];
	char path[2][300];
	struct stat st;

	for (int i = 0; i < 2; i++) {
		(void)snprintf(path[i], sizeof path[i], "%s/given%d", dir, i);
		cr_assert_eq(
		    listen_unix(&in[i].fd, &files[i], path[i], 0600), ERR_OK);
	}
	cr_assert_eq(listeners_start(&all, &backend, &config, in, 2), ERR_OK);
	says(path[0], "/prpc/Tappd.Version", " 200 ");
	says(path[1], "/v1/Version", " 200 ");
	cr_assert_neq(stat(config.socket, &st), 0);
	listeners_stop(&all);
	cr_assert_eq(stat(path[0], &st), 0);
}

/* Keys are for who may open a file: a port is for the public methods alone,
 * whatever order or name a unit gives it. */
Test(listeners, no_keys_on_a_port)
{
	struct inherited in[1] = { { 0, "" } };
	uint16_t port;

	for (int i = 0; i < 3; i++) {
		static const char *const name[] = { "", "dstack", "tappd" };

		(void)strcpy(in[0].name, name[i]);
		cr_assert_eq(
		    listen_tcp(&in[0].fd, &port, "127.0.0.1", 0), ERR_OK);
		cr_assert_eq(listeners_start(&all, &backend, &config, in, 1),
		    ERR_CONFIG);
		cr_assert_null(all.server[LISTENER_DSTACK]);
		cr_assert_null(all.server[LISTENER_TAPPD]);
		cr_assert_eq(close(in[0].fd), 0);
	}
	(void)strcpy(in[0].name, "external");
	cr_assert_eq(listen_tcp(&in[0].fd, &port, "127.0.0.1", 0), ERR_OK);
	cr_assert_eq(listeners_start(&all, &backend, &config, in, 1), ERR_OK);
	cr_assert_eq(server_port(all.server[LISTENER_EXTERNAL]), port);
}
