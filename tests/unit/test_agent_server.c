#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "common/base/json.h"
#include "common/base/log.h"
#include "common/base/secret.h"

#include "node/agent/server.h"
#include "tests/lib/fake_agent.h"

static struct fake_agent fake;
static struct agent_backend backend;
static struct server *server;
static char dir[] = "/tmp/agent-server-XXXXXX", path[64];
static const struct server_options options = {
	.surface = SURFACE_GUEST,
	.unix_path = path,
	.unix_mode = 0660,
};

static void
setup(void)
{
	cr_assert_eq(secret_process_init(), ERR_OK);
	log_set_level(LOG_ERROR);
	fake_agent_init(&fake, &backend);
	cr_assert_not_null(mkdtemp(dir));
	(void)snprintf(path, sizeof path, "%s/s.sock", dir);
	cr_assert_eq(server_start(&server, &backend, &options), ERR_OK);
}

static void
teardown(void)
{
	server_stop(server);
	(void)unlink(path);
	(void)rmdir(dir);
	fake_agent_fini(&fake);
}

TestSuite(agent_server, .init = setup, .fini = teardown, .timeout = 60);

/* Sends the text in pieces of `step` bytes, and reads to the end. */
static char *
talk(const char *text, size_t step)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	size_t len = strlen(text), got = 0, cap = 1 << 18;
	char *out = malloc(cap);
	ssize_t n;

	(void)snprintf(a.sun_path, sizeof a.sun_path, "%s", path);
	cr_assert_eq(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
	for (size_t i = 0; i < len; i += step) {
		size_t k = len - i < step ? len - i : step;

		/* A server that has answered already may have closed. */
		if (send(fd, text + i, k, MSG_NOSIGNAL) != (ssize_t)k)
			break;
	}
	while ((n = read(fd, out + got, cap - 1 - got)) > 0)
		got += (size_t)n;
	out[got] = '\0';
	(void)close(fd);
	return out;
}

/* Checks status line, length and form of an answer, as the JS SDK reads it;
 * returns its body. */
static json_t *
answer(const char *text, size_t step, const char *status)
{
	char *out = talk(text, step), *body = strstr(out, "\r\n\r\n");
	const char *len = strstr(out, "Content-Length: ");
	json_t *v = NULL;

	cr_assert_eq(strncmp(out, status, strlen(status)), 0, "%s", out);
	cr_assert_not_null(body);
	cr_assert_not_null(len);
	cr_assert_null(strstr(out, "chunked"));
	cr_assert_not_null(strstr(out, "Connection: close"));
	body += 4;
	cr_assert_eq((size_t)atoi(len + 16), strlen(body));
	for (const char *s = body; *s != '\0'; s++)
		cr_assert((unsigned char)*s < 0x80);
	cr_assert_eq(
	    json_parse(&v, body, strlen(body), 1 << 18, NULL, 0), ERR_OK);
	free(out);
	return v;
}

#define JSON_POST(path, len, body) \
	"POST " path " HTTP/1.1\r\nHost: localhost\r\n" \
	"Content-Type: application/json\r\nContent-Length: " len \
	"\r\n\r\n" body

static void
refused(const char *text, const char *status, const char *words)
{
	json_t *v = answer(text, 4096, status);
	const char *error = json_string_value(json_object_get(v, "error"));

	cr_assert_not_null(error);
	cr_assert_not_null(
	    strstr(error, words), "'%s' lacks '%s'", error, words);
	json_decref(v);
}

/* Nothing is there: 404, and no JSON. */
static void
unmounted(const char *text)
{
	char *out = talk(text, 4096);

	cr_assert_eq(strncmp(out, "HTTP/1.1 404 ", 13), 0, "%s", out);
	cr_assert_not_null(strstr(out, "\r\nContent-Type: text/html"));
	cr_assert_not_null(strstr(out, "\r\n\r\n<"));
	free(out);
}

static void
serve(enum surface surface)
{
	struct server_options o = options;

	server_stop(server);
	o.surface = surface;
	cr_assert_eq(server_start(&server, &backend, &o), ERR_OK);
}

/* The socket has the configured permissions. */
Test(agent_server, mode)
{
	struct stat st;

	cr_assert_eq(stat(path, &st), 0);
	cr_assert_eq(st.st_mode & 0777, 0660);
}

/* Requests may come in any pieces; replies have what the JS SDK needs. */
Test(agent_server, pieces)
{
	static const char text[] = JSON_POST("/GetKey", "48",
	    "{\"path\":\"\",\"purpose\":\"\",\"algorithm\":\"secp256k1\"}");

	for (size_t step = 1; step < sizeof text; step = step * 3 + 1) {
		json_t *v = answer(text, step, "HTTP/1.1 200 ");

		cr_assert_str_eq(json_string_value(json_object_get(v, "key")),
		    "38309afef2058aef6aee6ef7baca26942986ee387836a0dbdb5791f4f"
		    "5a8142c");
		json_decref(v);
	}
}

/* An app name that is not ASCII arrives escaped. */
Test(agent_server, ascii_only)
{
	json_t *v =
	    answer(JSON_POST("/Info", "2", "{}"), 4096, "HTTP/1.1 200 ");

	cr_assert_str_eq(
	    json_string_value(json_object_get(v, "app_name")), "caf\xc3\xa9");
	json_decref(v);
}

/* The JS SDK counts UTF-16 units, not bytes: such a body is cut, whatever
 * comes behind it and whenever, and nobody waits for that. */
Test(agent_server, short_length)
{
#define CUT "{\"path\":\"/cl\xc3\xa9\",\"purpose\":\"p\"}"
	json_decref(
	    answer(JSON_POST("/GetKey", "30", CUT), 4096, "HTTP/1.1 200 "));
	for (size_t step = 1; step < 999; step *= 7)
		json_decref(answer(
		    JSON_POST("/GetKey", "29", CUT), step, "HTTP/1.1 400 "));
	refused(JSON_POST("/GetKey", "29", CUT "POST / HTTP/1.1\r\n\r\n"),
	    "HTTP/1.1 400 ", "Failed to parse request");
	refused(JSON_POST("/GetKey", "1", "{}"), "HTTP/1.1 400 ",
	    "Failed to parse request");
}

/* What is no method, no JSON or no POST is refused in JSON. */
Test(agent_server, refusals)
{
	refused(JSON_POST("/Nope", "2", "{}"), "HTTP/1.1 400 ",
	    "Service not found: Nope");
	refused(
	    JSON_POST("/GetKey", "1", "{"), "HTTP/1.1 400 ", "Failed to parse");
	refused(JSON_POST("/GetKey", "4", "null"), "HTTP/1.1 400 ",
	    "not an object");
	refused(JSON_POST("/Info", "5", "{} {}"), "HTTP/1.1 400 ",
	    "Failed to parse");
	refused("PUT /Info HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
	    "HTTP/1.1 405 ", "Method not allowed");
	refused("GET /GetQuote?report_data=0 HTTP/1.1\r\nHost: x\r\n\r\n",
	    "HTTP/1.1 400 ", "odd");
	refused("GET /GetQuote?report_data=00&report_data=01 HTTP/1.1\r\n"
		"Host: x\r\n\r\n",
	    "HTTP/1.1 400 ", "expected a hex string");
}

/* JSON can also be asked for by method and query. */
Test(agent_server, other_ways)
{
	json_decref(answer(
	    "GET /Version HTTP/1.1\r\nHost: x\r\n\r\n", 4096, "HTTP/1.1 200 "));
	json_decref(answer("GET /GetQuote?report_data=0x12ab HTTP/1.1\r\n"
			   "Host: x\r\n\r\n",
	    4096, "HTTP/1.1 200 "));
	cr_assert_eq(fake.last_report_data[1], 0xab);
	json_decref(answer("POST /Info?json HTTP/1.1\r\nHost: x\r\n"
			   "Content-Length: 0\r\n\r\n",
	    4096, "HTTP/1.1 200 "));
	json_decref(answer("POST /Info HTTP/1.1\r\nHost: x\r\nContent-Type: "
			   "application/json; charset=utf-8\r\n"
			   "Content-Length: 0\r\n\r\n",
	    4096, "HTTP/1.1 200 "));
	json_decref(answer("GET /GetTlsKey?usage_server_auth=true&alt_names=a"
			   "&alt_names=b HTTP/1.1\r\nHost: x\r\n\r\n",
	    4096, "HTTP/1.1 200 "));
	cr_assert_eq(fake.last_cert.n_alt_names, 2);
}

/* A second agent does not take the socket of a living one. */
Test(agent_server, one_socket)
{
	struct server *second;

	cr_assert_eq(server_start(&second, &backend, &options), ERR_EXISTS);
	json_decref(
	    answer(JSON_POST("/Version", "2", "{}"), 4096, "HTTP/1.1 200 "));
}

/* Version, or the refusal of a method that is not there, at a path. */
static void
at(const char *path_, const char *status, const char *words)
{
	char text[200], *out;

	(void)snprintf(
	    text, sizeof text, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path_);
	if (status == NULL) {
		unmounted(text);
		return;
	}
	out = talk(text, 4096);
	cr_assert_eq(strncmp(out + 9, status, 3), 0, "%s: not %s: %s", path_,
	    status, out);
	cr_assert_not_null(strstr(out, words), "%s: %s", path_, out);
	free(out);
}

#define NONE "\"error\": \"Service not found: X\""
#define ALIVE "\"version\":\"0.5.11\""

/* Old methods that are not there are 400, new ones 404; a version that is
 * not served is 404 without JSON. */
Test(agent_server, routes_guest)
{
	static const char *const v0[] = { "/", "/v0/", "/prpc/", "/prpc/v0/",
		"/DstackGuest.", "/v0/DstackGuest.", "/prpc/DstackGuest." };
	static const char *const v1[] = { "/v1/", "/prpc/v1/",
		"/v1/DstackGuest." };
	static const char *const none[] = { "/", "/v2/", "/v1/v1/", "/prpc/v2/",
		"//", "/prpc/prpc/", "/v1/a/" };
	char text[64];

	for (size_t i = 0; i < 7; i++) {
		(void)snprintf(text, sizeof text, "%sX", v0[i]);
		at(text, "400", NONE);
		(void)snprintf(text, sizeof text, "%sVersion", v0[i]);
		at(text, "200", ALIVE);
		(void)snprintf(text, sizeof text, "%sVersion/", v0[i]);
		at(text, NULL, NULL);
	}
	for (size_t i = 0; i < 3; i++) {
		(void)snprintf(text, sizeof text, "%sX", v1[i]);
		at(text, "404", NONE);
		(void)snprintf(text, sizeof text, "%sVersion", v1[i]);
		at(text, "200", ALIVE);
	}
	for (size_t i = 1; i < 7; i++) {
		(void)snprintf(text, sizeof text, "%sVersion", none[i]);
		at(text, NULL, NULL);
	}
	at("/", NULL, NULL);
	at("/v1/", NULL, NULL);
	at("/Tappd.Version", "400", "Service not found: Tappd.Version");
	at("/v1/Sign", "404", "Service not found: Sign");
	at("/DstackGuest.DstackGuest.X", "400", "not found: DstackGuest.X");
}

Test(agent_server, routes_tappd)
{
	serve(SURFACE_TAPPD);
	at("/prpc/X", "400", NONE);
	at("/prpc/Tappd.X", "400", NONE);
	at("/prpc/Worker.X", "400", "not found: Worker.X");
	at("/prpc/Tappd.Version", "200", ALIVE);
	at("/prpc/Version", "200", ALIVE);
	at("/prpc/Tappd.Info", "200", "\"tcb_info\":\"");
	at("/Info", "200", "\"tcb_info\":\"");
	at("/GetKey", "200", "\"signature_chain\":[");
	at("/v1/Version", NULL, NULL);
	at("/prpc/v1/Version", NULL, NULL);
}

Test(agent_server, routes_worker)
{
	serve(SURFACE_WORKER);
	at("/prpc/X", "400", NONE);
	at("/prpc/v1/X", "404", NONE);
	at("/v1/Worker.X", "404", NONE);
	at("/prpc/GetKey", "400", "Service not found: GetKey");
	at("/prpc/DstackGuest.GetKey", "400", "Service not found: Dstack");
	at("/prpc/v1/GetKey", "404", "Service not found: GetKey");
	at("/GetKey", NULL, NULL);
	at("/Version", NULL, NULL);
	at("/prpc/Worker.Version", "200", ALIVE);
	at("/prpc/v0/Version", "200", ALIVE);
	at("/v0/Version", "200", ALIVE);
	at("/v1/Version", "200", ALIVE);
	at("/prpc/v1/Worker.Version", "200", ALIVE);
	at("/prpc/Version", "200", "\r\nX-App-Version: v0.5.11 (");
	at("/prpc/X", "400", "\r\nX-App-Version: ");
	at("/nothing/at", "404", "\r\nX-App-Version: ");
	at("/%00", "400", "\r\nX-App-Version: ");
}

static bool
page(const struct agent_backend *b, const struct httpd_request *rq,
    struct httpd_reply *rp)
{
	cr_assert_eq(b->cookie, &fake);
	if (strcmp(rq->path, "/") != 0)
		return false;
	rp->content_type = "text/html; charset=utf-8";
	rp->header_name = "X-Page";
	rp->header_value = "1";
	return buf_printf(&rp->body, "<p>a page") == ERR_OK;
}

/* Pages are for GET alone, and where no service is. */
Test(agent_server, pages)
{
	struct server_options o = options;
	char *out;

	server_stop(server);
	o.surface = SURFACE_WORKER;
	o.page = page;
	cr_assert_eq(server_start(&server, &backend, &o), ERR_OK);
	unmounted(JSON_POST("/", "2", "{}"));
	unmounted("GET /x HTTP/1.1\r\nHost: x\r\n\r\n");
	out = talk("GET / HTTP/1.1\r\nHost: x\r\n\r\n", 4096);
	cr_assert_not_null(strstr(out, "Content-Type: text/html"));
	cr_assert_not_null(strstr(out, "\r\nX-App-Version: v0.5.11 ("));
	cr_assert_not_null(strstr(out, "\r\nX-Page: 1\r\n"));
	cr_assert_not_null(strstr(out, "\r\n\r\n<p>a page"));
	free(out);
	json_decref(answer("GET /prpc/Version HTTP/1.1\r\nHost: x\r\n\r\n",
	    4096, "HTTP/1.1 200 "));
}
