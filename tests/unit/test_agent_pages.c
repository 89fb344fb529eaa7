/* The public listener's pages: who may see which, what is escaped, and what of
 * a log is shown. */
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "common/base/file.h"
#include "common/base/log.h"
#include "common/base/secret.h"

#include "node/agent/dashboard.h"
#include "node/agent/logpage.h"
#include "node/agent/pages.h"
#include "node/agent/sysinfo.h"
#include "tests/lib/fake_agent.h"
#include "tests/lib/tmpdir.h"

static struct fake_agent fake;
static struct agent_backend backend;
static struct server *server;
static char *dir, sock[100], logs[100];

static void
serve(void)
{
	const struct server_options o = { .surface = SURFACE_WORKER,
		.page = pages_worker,
		.unix_path = sock,
		.unix_mode = 0600 };

	server_stop(server);
	server = NULL;
	cr_assert_eq(server_start(&server, &backend, &o), ERR_OK);
}

static void
setup(void)
{
	cr_assert_eq(secret_process_init(), ERR_OK);
	log_set_level(LOG_ERROR);
	fake_agent_init(&fake, &backend);
	dir = tmpdir_new();
	(void)snprintf(sock, sizeof sock, "%s/s", dir);
	(void)snprintf(logs, sizeof logs, "%s/containers", dir);
	cr_assert_eq(mkdir(logs, 0700), 0);
	serve();
}

static void
teardown(void)
{
	server_stop(server);
	fake_agent_fini(&fake);
	tmpdir_remove(dir);
}

TestSuite(agent_pages, .init = setup, .fini = teardown, .timeout = 60);

/* The whole answer; the caller frees. */
static char *
ask(const char *method, const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	size_t got = 0, cap = 8u << 20;
	char *out = malloc(cap), rq[512];
	ssize_t n;

	(void)snprintf(
	    rq, sizeof rq, "%s %s HTTP/1.1\r\nHost: x\r\n\r\n", method, path);
	(void)snprintf(a.sun_path, sizeof a.sun_path, "%s", sock);
	cr_assert_eq(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
	cr_assert_eq(
	    send(fd, rq, strlen(rq), MSG_NOSIGNAL), (ssize_t)strlen(rq));
	(void)shutdown(fd, SHUT_WR);
	while ((n = read(fd, out + got, cap - 1 - got)) > 0)
		got += (size_t)n;
	out[got] = '\0';
	(void)close(fd);
	return out;
}

/* The body of a GET that answers `status`; the caller frees. */
static char *
get(const char *path, unsigned status)
{
	char *all = ask("GET", path), *body, line[32];

	(void)snprintf(line, sizeof line, "HTTP/1.1 %u ", status);
	cr_assert_eq(
	    strncmp(all, line, strlen(line)), 0, "%s: %.60s", path, all);
	body = strstr(all, "\r\n\r\n");
	cr_assert_not_null(body);
	body = strdup(body + 4);
	free(all);
	return body;
}

static void
refused(const char *path, unsigned status, const char *words)
{
	char *body = get(path, status);

	cr_assert_not_null(strstr(body, "\"error\": \""), "%s", body);
	cr_assert_not_null(strstr(body, words), "%s lacks %s", body, words);
	free(body);
}

/* No page and no method is there. */
static void
absent(const char *path)
{
	free(get(path, 404));
}

static void
has(const char *text, const char *words)
{
	cr_assert_not_null(
	    strstr(text, words), "no '%s' in: %.400s", words, text);
}

/* What app-compose does not make public is not there at all. */
Test(agent_pages, not_public)
{
	absent("/metrics");
	absent("/logs/web");
	absent("/logs/");
	absent("/favicon.ico");
	absent("/index.html");
	fake.identity.public_logs = true;
	refused("/logs/web", 404, "logs_dir is not configured");
	absent("/logs/a/b");
	absent("/logs/");
}

/* ---- The dashboard ---- */

/* What the tutorial does: un-escape the page, take the first match of
 * "app_compose": "<JSON string>".  The caller frees the string. */
static char *
tutorial(const char *page)
{
	static const char *const from[] = { "&quot;", "&#39;", "&lt;", "&gt;",
		"&amp;" };
	static const char to[] = "\"'<>&";
	char *plain = malloc(strlen(page) + 1), *w = plain, *at, *end, *out;
	json_t *v = NULL;

	for (const char *s = page; *s != '\0';) {
		size_t k = 0;

		while (k < 5 && strncmp(s, from[k], strlen(from[k])) != 0)
			k++;
		*w++ = k < 5 ? to[k] : *s;
		s += k < 5 ? strlen(from[k]) : 1;
	}
	*w = '\0';
	at = strstr(plain, "\"app_compose\": \"");
	cr_assert_not_null(at);
	at += strlen("\"app_compose\": ");
	for (end = at + 1; *end != '"'; end++)
		end += *end == '\\';
	cr_assert_eq(
	    json_parse(&v, at, (size_t)(end + 1 - at), 1u << 20, NULL, 0),
	    ERR_OK);
	out = strdup(json_string_value(v));
	json_decref(v);
	free(plain);
	return out;
}

/* The page has its policy, names the app, and holds app-compose exactly. */
Test(agent_pages, dashboard)
{
	char *all = ask("GET", "/"), *compose;

	has(all, "HTTP/1.1 200 ");
	has(all, "Content-Type: text/html; charset=utf-8");
	has(all,
	    "Content-Security-Policy: default-src 'none'; style-src 'sha256-");
	has(all, "<title>caf\xc3\xa9</title>");
	has(all, "ea549f02e1a25fabd1cb788380e033ec5461b2ff");
	cr_assert_null(strstr(all, "<script"));
	cr_assert_null(strstr(all, "simulated"));
	cr_assert_null(strstr(all, "/metrics"));
	compose = tutorial(all);
	cr_assert_str_eq(compose, (char *)fake.identity.compose.p);
	free(compose);
	free(all);
	backend.simulated = true;
	serve();
	all = get("/", 200);
	has(all, "simulated: protects nothing");
	free(all);
	fake.fail = ERR_IO;
	refused("/", 500, "Failed to read measurements");
}

/* HEAD gets the same without a body; other methods have no page. */
Test(agent_pages, methods)
{
	char *all = ask("HEAD", "/");

	has(all, "HTTP/1.1 200 ");
	cr_assert_null(strstr(all, "<html"));
	free(all);
	all = ask("POST", "/");
	has(all, "HTTP/1.1 404 ");
	free(all);
	all = ask("DELETE", "/metrics");
	has(all, "HTTP/1.1 404 ");
	free(all);
}

/* Names that are markup are shown as they are written; so is app-compose. */
Test(agent_pages, escapes)
{
	static const char compose[] =
	    "{\"name\":\"<script>alert('1')</script>&amp;\","
	    "\"docker_compose_file\":\"</textarea><b>\\\"app_compose\\\": "
	    "\\\"x\\\" &lt;\\n\"}";
	static const uint8_t seed[20] = { 7 };
	char *page, *got;

	identity_fini(&fake.identity);
	cr_assert_eq(
	    identity_make(&fake.identity, BYTES_STR(compose), NULL, seed, NULL),
	    ERR_OK);
	page = get("/", 200);
	cr_assert_null(strstr(page, "<script"));
	cr_assert_null(strstr(page, "<b>"));
	has(page,
	    "<h1>&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&amp;amp;");
	got = tutorial(page);
	cr_assert_str_eq(got, compose);
	free(got);
	free(page);
}

/* Without public_tcbinfo the textarea is blank, and nothing is measured. */
Test(agent_pages, no_tcbinfo)
{
	char *page;

	fake.identity.public_tcbinfo = false;
	page = get("/", 200);
	has(page, "></textarea>");
	cr_assert_null(strstr(page, "RTMR"));
	cr_assert_null(strstr(page, "app_compose"));
	free(page);
}

/* ---- /metrics ---- */

Test(agent_pages, metrics)
{
	static const char *const names[] = { "system_os_name{os_name=\"",
		"system_os_version{os_version=\"",
		"system_kernel_version{kernel_version=\"",
		"system_cpu_model{cpu_model=\"", "system_num_cpus ",
		"system_memory_total ", "system_memory_available ",
		"system_memory_used ", "system_memory_free ",
		"system_swap_total ", "system_swap_used ", "system_swap_free ",
		"system_uptime ", "system_load_average_1m ",
		"system_load_average_5m ", "system_load_average_15m ",
		"disk_total_size{name=\"", "disk_free_size{name=\"",
		"disk_used_size{name=\"", "disk_usage_percentage{name=\"" };
	char *all;

	fake.identity.public_sysinfo = true;
	all = ask("GET", "/metrics");
	has(all, "Content-Type: text/plain");
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		char line[80];

		(void)snprintf(line, sizeof line, "\n%s", names[i]);
		has(all, line);
	}
	has(all, ", mount_point=\"");
	free(all);
	all = get("/", 200);
	has(all, "href=\"/metrics\"");
	free(all);
}

/* Values of labels are escaped; a machine without numbers is no crash. */
Test(agent_pages, metrics_labels)
{
	struct sysinfo_facts f = { .n_disks = 1 };
	struct buf out = { 0 };

	strcpy(f.os_name, "a\"b\\c\nd");
	strcpy(f.disk[0].name, "/dev/x");
	strcpy(f.disk[0].mount_point, "/");
	f.disk[0].total = 400;
	f.disk[0].free = 100;
	f.load[0] = 1.5;
	cr_assert_eq(sysinfo_metrics(&out, &f), ERR_OK);
	has((char *)out.p, "system_os_name{os_name=\"a\\\"b\\\\c\\nd\"} 1\n");
	has((char *)out.p, "system_load_average_1m 150\n");
	has((char *)out.p,
	    "disk_usage_percentage{name=\"/dev/x\", mount_point=\"/\"} "
	    "75.00\n");
	buf_fini(&out);
}

/* ---- /logs ---- */

#define ID "abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789"
#define LINE(stream, text, time) \
	"{\"log\":\"" text "\",\"stream\":\"" stream "\",\"time\":\"" time \
	"\"}\n"

static void
put(const char *id, const char *name, const char *text)
{
	char path[512];

	(void)snprintf(path, sizeof path, "%s/%s", logs, id);
	(void)mkdir(path, 0700);
	(void)snprintf(path, sizeof path, "%s/%s/%s", logs, id, name);
	cr_assert_eq(file_write(path, text, strlen(text), 0600), ERR_OK);
}

static void
with_logs(const char *log)
{
	put(ID, "config.v2.json",
	    "{\"Name\":\"/web\",\"Config\":{\"Image\":\"<i>nginx\"},"
	    "\"State\":{\"Running\":true}}");
	put(ID, ID "-json.log", log);
	fake.identity.public_logs = true;
	backend.logs_dir = logs;
	serve();
}

static void
shows(const char *path, const char *want)
{
	char *body = get(path, 200);

	cr_assert_str_eq(body, want, "%s: %s", path, body);
	free(body);
}

#define THREE \
	LINE("stdout", "one\\n", "2024-05-06T07:08:09.123456789Z") \
	LINE("stderr", "t\\u001B[31mw\\u001B[0mo\\n", "2024-05-06T07:08:10Z") \
	"no line of Docker's\n" LINE( \
	    "stdout", "caf\xc3\xa9 \\u0000<\\n", "2024-05-06T07:08:11Z")

/* Lines of JSON, base64 or text; or the messages alone. */
Test(agent_pages, logs)
{
	with_logs(THREE);
	shows("/logs/web?tail=1",
	    "{\"channel\":\"stdout\",\"message\":\"Y2Fmw6kgADwK\"}\n");
	shows("/logs/web?text=true&tail=2",
	    "{\"channel\":\"stderr\",\"message\":\"t\\u001B[31mw\\u001B["
	    "0mo\\n\"}\n"
	    "{\"channel\":\"stdout\",\"message\":\"caf\\u00E9 "
	    "\\u0000<\\n\"}\n");
	shows("/logs/web?text=true&bare=true", "one\ntwo\ncaf\xc3\xa9 <\n");
	shows("/logs/web?text&bare&ansi&since=1714979290&until=1714979290",
	    "t\x1b[31mw\x1b[0mo\n");
	shows("/logs/web?text=true&bare=true&timestamps=true&tail=1",
	    "2024-05-06T07:08:11Z caf\xc3\xa9 <\n");
	shows("/logs/web?bare=true&tail=1", "Y2Fmw6kgADwK");
	shows("/logs/web?tail=0", "");
	shows("/logs/web?text=true&bare=true&since=1h", "");
	shows("/logs/web?text=true&bare=true&until=1h&tail=all",
	    "one\ntwo\ncaf\xc3\xa9 <\n");
}

/* By name or id; the folder decides which there are, not the path. */
Test(agent_pages, logs_names)
{
	char secret[300], link[300];

	with_logs(THREE);
	shows("/logs/" ID "?text=true&bare=true&tail=1&until=1714979289",
	    "one\n");
	shows("/logs/abcdef012345?text=1&bare=1&tail=1&until=1714979289",
	    "one\n");
	refused("/logs/abcdef01234", 404, "No such container");
	refused("/logs/we", 404, "No such container");
	refused("/logs/%2e%2e", 404, "No such container");
	absent("/logs/..%2f..%2fetc%2fpasswd");
	absent("/logs/web/../../x");
	/* A log that is a link elsewhere is none. */
	(void)snprintf(secret, sizeof secret, "%s/secret", dir);
	cr_assert_eq(file_write(secret, THREE, strlen(THREE), 0600), ERR_OK);
	(void)snprintf(link, sizeof link, "%s/%s/%s-json.log", logs, ID, ID);
	cr_assert_eq(unlink(link), 0);
	cr_assert_eq(symlink(secret, link), 0);
	refused("/logs/web", 404, "No such container");
}

/* The dashboard lists containers, and escapes what they are called. */
Test(agent_pages, containers)
{
	char *page;

	with_logs("");
	page = get("/", 200);
	has(page, "<code>&lt;i&gt;nginx</code>");
	has(page, "href=\"/logs/web?text=true&amp;bare=true");
	free(page);
	fake.identity.public_logs = false;
	page = get("/", 200);
	cr_assert_null(strstr(page, "nginx"));
	free(page);
}

Test(agent_pages, logs_query)
{
	static const char *const times[] = { "x", "1w", "-1", "1.5h", "h", "+3",
		"99999999999h", "%20", "1%20h" };
	char path[80];

	with_logs(THREE);
	for (size_t i = 0; i < sizeof times / sizeof times[0]; i++) {
		(void)snprintf(
		    path, sizeof path, "/logs/web?since=%s", times[i]);
		refused(path, 400, "Invalid since");
		(void)snprintf(
		    path, sizeof path, "/logs/web?until=%s", times[i]);
		refused(path, 400, "Invalid until");
	}
	refused("/logs/web?tail=-1", 400, "Invalid tail");
	refused("/logs/web?tail=ten", 400, "Invalid tail");
	refused("/logs/web?text=maybe", 400, "Invalid flag");
	refused("/logs/web?follow=true", 400, "follow is not available");
	shows("/logs/web?follow=false&tail=0", "");
}

/* Folders that are no containers', and configurations that are none. */
Test(agent_pages, odd_folders)
{
	char path[300];

	with_logs("");
	put("0000000000000000000000000000000000000000000000000000000000000001",
	    "config.v2.json", "not json");
	put("0000000000000000000000000000000000000000000000000000000000000002",
	    "config.v2.json", "[]");
	put("0000000000000000000000000000000000000000000000000000000000000003",
	    "config.v2.json", "{\"Name\":\"/stateless\"}");
	put("notanid", "config.v2.json", "{\"Name\":\"/odd\",\"State\":{}}");
	(void)snprintf(path, sizeof path, "%s/%064d", logs, 4);
	cr_assert_eq(symlink("/etc", path), 0);
	refused("/logs/stateless", 404, "No such container");
	refused("/logs/odd", 404, "No such container");
	shows("/logs/web", "");
}

/* A log of any size is read from its end, and the answer is bounded. */
Test(agent_pages, logs_bounds)
{
	struct buf big = { 0 };
	char *body;

	for (int i = 0; i < 100000; i++)
		cr_assert_eq(buf_printf(&big,
				 LINE("stdout",
				     "line %06d of many, of which "
				     "each is some bytes long\\n",
				     "2024-05-06T07:08:09Z"),
				 i),
		    ERR_OK);
	with_logs((char *)big.p);
	body = get("/logs/web?text=true&tail=all", 200);
	cr_assert_lt(strlen(body), 5u << 20);
	cr_assert_gt(strlen(body), 1u << 20);
	has(body + strlen(body) - 120, "line 099999");
	cr_assert_eq(strncmp(body, "{\"channel\"", 10), 0);
	free(body);
	body = get("/logs/web?text=true&bare=true", 200);
	cr_assert_eq(strncmp(body, "line 099000 ", 12), 0);
	free(body);
	buf_fini(&big);
}
