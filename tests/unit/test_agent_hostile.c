/* What must be borne on every socket: whatever comes, a client gets a clear
 * error or a clean end within five seconds, and the next one is served. */
#include <sys/resource.h>
#include <sys/socket.h>

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <criterion/criterion.h>
#include <criterion/parameterized.h>

#include "common/base/clock.h"
#include "common/base/json.h"
#include "common/base/log.h"
#include "common/base/secret.h"
#include "common/wire/guest_v0.pb-c.h"
#include "common/wire/pbjson.h"

#include "node/agent/server.h"
#include "tests/lib/fake_agent.h"
#include "tests/lib/rawhttp.h"
#include "tests/lib/tmpdir.h"

#define PATIENCE_MS 5000
#define SLACK_MS 8000 /* the machine may be busy */
#define CLIENTS 1000

/* The sanitizer keeps what was freed. */
#ifdef __SANITIZE_ADDRESS__
#define MEMORY_COUNTS false
#else
#define MEMORY_COUNTS true
#endif

/* A method that each surface has, in its own path. */
static const struct place {
	enum surface surface;
	const char *at; /* of Version */
	const char *info;
} places[] = {
	{ SURFACE_GUEST, "/Version", "/Info" },
	{ SURFACE_TAPPD, "/prpc/Tappd.Version", "/prpc/Tappd.Info" },
	{ SURFACE_WORKER, "/prpc/Worker.Version", "/prpc/Worker.Info" },
};

static struct fake_agent fake;
static struct agent_backend backend;
static struct server *server;
static char *dir, path[100];

static void
begin(const struct place *p)
{
	struct server_options o = { .unix_path = path };
	const struct rlimit files = { 8192, 8192 };

	cr_assert_eq(secret_process_init(), ERR_OK);
	(void)setrlimit(RLIMIT_NOFILE, &files);
	log_set_level(LOG_ERROR);
	fake_agent_init(&fake, &backend);
	dir = tmpdir_new();
	(void)snprintf(path, sizeof path, "%s/s", dir);
	o.surface = p->surface;
	cr_assert_eq(server_start(&server, &backend, &o), ERR_OK);
}

/* It still serves. */
static void
end(const struct place *p)
{
	struct buf out, text = { 0 };

	cr_assert_eq(
	    buf_printf(&text, "GET %s HTTP/1.1\r\n\r\n", p->at), ERR_OK);
	rawhttp_talk(&out, path, buf_view(&text), 4096);
	cr_assert_not_null(out.p);
	cr_assert_not_null(strstr((char *)out.p, " 200 "));
	buf_fini(&out);
	buf_fini(&text);
	server_stop(server);
	fake_agent_fini(&fake);
	tmpdir_remove(dir);
}

/* ---- one client and its bytes ---- */

struct hostile {
	const char *name;
	struct buf text; /* owns */
	unsigned status; /* 0: whatever, as long as it is an answer */
};

#define MANY 300
static struct hostile list[MANY];
static size_t n_list;

static struct buf *
add(const char *name, unsigned status)
{
	cr_assert_lt(n_list, MANY);
	list[n_list].name = name;
	list[n_list].status = status;
	return &list[n_list++].text;
}

static void
add_text(const char *text, size_t len, unsigned status)
{
	cr_assert_eq(
	    buf_append(add(text, status), text, len, SIZE_MAX), ERR_OK);
}

#define TEXT(text, status) add_text(text, sizeof(text) - 1, status)

/* A POST of these bytes, of any type. */
static void
add_post(const char *name, const char *target, const char *type,
    struct bytes body, unsigned status)
{
	struct buf *b = add(name, status);

	cr_assert_eq(buf_printf(b,
			 "POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: %s\r\n"
			 "Content-Length: %zu\r\n\r\n",
			 target, type, body.len),
	    ERR_OK);
	if (body.len > 0)
		cr_assert_eq(buf_append(b, body.p, body.len, SIZE_MAX), ERR_OK);
}

static void
add_filled(const char *name, const char *target, const char *type,
    const char *head, char fill, size_t n, const char *tail, unsigned status)
{
	struct buf body = { 0 };

	cr_assert_eq(buf_reserve(&body, n + 100), ERR_OK);
	cr_assert_eq(buf_printf(&body, "%s", head), ERR_OK);
	memset(body.p + body.len, fill, n);
	body.len += n;
	cr_assert_eq(buf_printf(&body, "%s", tail), ERR_OK);
	add_post(name, target, type, buf_view(&body), status);
	buf_fini(&body);
}

/* Objects in objects: what a reader that calls itself has no room for. */
static void
add_nested(const char *name, const char *target, size_t n, const char *tail,
    unsigned status)
{
	struct buf body = { 0 };

	cr_assert_eq(buf_printf(&body, "["), ERR_OK);
	for (size_t i = 0; i < n; i++)
		cr_assert_eq(buf_printf(&body, "{\"a\":"), ERR_OK);
	cr_assert_eq(buf_printf(&body, "1"), ERR_OK);
	for (size_t i = 0; i < n && tail[0] != '\0'; i++)
		cr_assert_eq(buf_printf(&body, "%s", tail), ERR_OK);
	cr_assert_eq(buf_printf(&body, "]"), ERR_OK);
	add_post(name, target, "application/json", buf_view(&body), status);
	buf_fini(&body);
}

#define JSON "application/json"
#define PROTO "application/octet-stream"
#define J(name, text) add_post(name, p->info, JSON, BYTES_STR(text), 400)
#define P(name, text) add_post(name, p->info, PROTO, BYTES_STR(text), 400)

static void
add_http(void)
{
	TEXT("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400);
	TEXT("\0\0\0\0\r\n\r\n", 400);
	TEXT("GET\r\n\r\n", 400);
	TEXT("GET / HTTP/1.1\r\nno colon\r\n\r\n", 400);
	TEXT("GET / HTTP/9.9\r\n\r\n", 505);
	TEXT("GET /Ver\0sion HTTP/1.1\r\n\r\n", 400);
	TEXT("GET /Version%00 HTTP/1.1\r\n\r\n", 400);
	TEXT("GET /Version?a=%0 HTTP/1.1\r\n\r\n", 400);
	TEXT("GET / HTTP/1.1\r\nA: \0\r\n\r\n", 400);
	TEXT("GET / HTTP/1.1\r\nA: b\r\n folded\r\n\r\n", 400);
	TEXT("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505);
	TEXT("CONNECT x:443 HTTP/1.1\r\n\r\n", 400);
	TEXT("OPTIONS * HTTP/1.1\r\n\r\n", 400);
	TEXT("GET ftp://x/Version HTTP/1.1\r\n\r\n", 400);
	TEXT("GET http://x/no/such/thing HTTP/1.1\r\n\r\n", 404);
	TEXT("POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400);
	TEXT("POST / HTTP/1.1\r\nContent-Length: 1e3\r\n\r\n", 400);
	TEXT("POST / HTTP/1.1\r\nContent-Length: 0x1\r\n\r\nx", 400);
	TEXT("POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2"
	     "\r\n\r\nxx",
	    400);
	TEXT("POST / HTTP/1.1\r\nContent-Length: 18446744073709551616"
	     "\r\n\r\n",
	    413);
	TEXT("POST / HTTP/1.1\r\nContent-Length: 9999999999\r\n\r\n", 413);
	TEXT("POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n", 501);
	TEXT(
	    "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400);
	TEXT(
	    "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n", 400);
	TEXT("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
	     "ffffffffffffffff\r\n",
	    413);
	TEXT("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
	     "1\r\nabc\r\n",
	    400);
	TEXT("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n"
	     "Content-Length: 3\r\n\r\nabc",
	    400);
	TEXT("POST / HTTP/1.1\r\nExpect: miracles\r\n\r\n", 417);
	/* Two at once: the first is answered. */
	TEXT("GET /no/a HTTP/1.1\r\n\r\nGET /no/b HTTP/1.1\r\n\r\n", 404);
	/* Unfinished: silence, or half closed. */
	TEXT("G", 0);
	TEXT("GET / HTTP/1.1\r\n", 0);
	TEXT("POST / HTTP/1.1\r\nContent-Length: 10\r\n\r\n{", 0);
	TEXT("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", 0);
	TEXT("\r\n\r\n\r\n\r\n", 0);
	TEXT("", 0);
}

static void
add_methods(const struct place *p)
{
	static const char *const words[] = { "PUT", "DELETE", "HEAD", "OPTIONS",
		"PATCH", "TRACE", "get", "X-1", "POSTPOSTPOSTPOST" };

	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
		cr_assert_eq(buf_printf(add(words[i], 405),
				 "%s %s HTTP/1.1\r\nContent-Length: 2\r\n"
				 "Content-Type: application/json\r\n\r\n{}",
				 words[i], p->at),
		    ERR_OK);
	cr_assert_eq(buf_printf(add("long word", 400),
			 "POSTPOSTPOSTPOSTX %s HTTP/1.1"
			 "\r\n\r\n",
			 p->at),
	    ERR_OK);
}

static void
add_sizes(const struct place *p)
{
	struct buf *b = add("long path", 414);

	cr_assert_eq(buf_reserve(b, 200000), ERR_OK);
	cr_assert_eq(buf_printf(b, "GET /"), ERR_OK);
	memset(b->p + b->len, 'a', 100000);
	b->len += 100000;
	b = add("long header", 431);
	cr_assert_eq(buf_reserve(b, 200000), ERR_OK);
	cr_assert_eq(buf_printf(b, "GET / HTTP/1.1\r\nA: "), ERR_OK);
	memset(b->p + b->len, 'a', 100000);
	b->len += 100000;
	b = add("many headers", 431);
	cr_assert_eq(buf_printf(b, "GET / HTTP/1.1\r\n"), ERR_OK);
	for (int i = 0; i < 200; i++)
		cr_assert_eq(buf_printf(b, "A%d: b\r\n", i), ERR_OK);
	cr_assert_eq(buf_printf(b, "\r\n"), ERR_OK);
	b = add("many parameters", 414);
	cr_assert_eq(buf_printf(b, "GET %s?", p->at), ERR_OK);
	for (int i = 0; i < 200; i++)
		cr_assert_eq(buf_printf(b, "a%d=&", i), ERR_OK);
	cr_assert_eq(buf_printf(b, " HTTP/1.1\r\n\r\n"), ERR_OK);
	add_filled(
	    "large body", p->info, JSON, "{\"a\":\"", 'x', 1 << 20, "\"}", 413);
	add_filled("large message", p->info, PROTO, "", 'x', 1 << 21, "", 413);
	add_filled("spaces", p->info, JSON, "", ' ', 1 << 19, "", 400);
	add_filled("zeros", p->info, PROTO, "", '\0', 1 << 19, "", 400);
}

static void
add_json(const struct place *p)
{
	J("half", "{");
	J("a word", "nul");
	J("no object", "null");
	J("a list", "[]");
	J("a number", "1");
	J("a string", "\"{}\"");
	J("two", "{}{}");
	J("garbage behind", "{}x");
	J("twice the same", "{\"a\":1,\"a\":2}");
	J("no quotes", "{a:1}");
	J("a comma", "{\"a\":1,}");
	J("a comment", "{/**/}");
	J("NUL", "{}\0");
	J("NUL within", "{\"a\0\":1}");
	J("control", "{\"a\":\"\x01\"}");
	J("bad escape", "{\"a\":\"\\x\"}");
	J("half a surrogate", "{\"a\":\"\\ud800\"}");
	J("no UTF-8", "{\"a\":\"\xff\xfe\"}");
	J("overlong", "{\"a\":\"\xc0\x80\"}");
	J("NaN", "{\"a\":NaN}");
	J("Infinity", "{\"a\":-Infinity}");
	J("hex", "{\"a\":0x10}");
	J("a plus", "{\"a\":+1}");
	J("zeros before", "{\"a\":01}");
	J("huge exponent", "{\"a\":1e999999999}");
	J("huge number", "{\"a\":99999999999999999999999999}");
	J("byte order mark", "\xef\xbb\xbf{}");
	J("UTF-16", "\xff\xfe{\0}\0");
	add_filled(
	    "deep lists", p->info, JSON, "{\"a\":", '[', 100000, "", 400);
	add_filled("many braces", p->info, JSON, "", '{', 100000, "", 400);
	/* As deep as the reader goes: it is read, and is no object. */
	add_nested("deep objects", p->info, 2040, "}", 400);
	add_nested("deeper objects", p->info, 10000, "}", 400);
	add_nested("deep open objects", p->info, 100000, "", 400);
	add_filled(
	    "a long number", p->info, JSON, "{\"a\":1", '0', 100000, "}", 400);
}

static void
add_proto(const struct place *p)
{
	P("half a number", "\x80");
	P("an endless number", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff");
	P("a length alone", "\x0a");
	P("a length too long", "\x0a\x7f!");
	P("the longest length", "\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01");
	P("field 0", "\x00\x01");
	P("a group", "\x0b\x0c");
	P("no wire type", "\x0f");
	P("JSON", "{\"a\":1}");
	P("half a fixed", "\x09\x01");
}

static void
add_fields(void)
{
	static const char *const bad[] = {
		"{\"path\":1}",
		"{\"path\":null}",
		"{\"path\":[]}",
		"{\"path\":{}}",
		"{\"algorithm\":\"nope\"}",
		"{\"algorithm\":\"secp256k1_prehashed\"}",
		"{\"epoch\":-1}",
		"{\"epoch\":\"1\"}",
		"{\"epoch\":1.5}",
		"{\"epoch\":1e400}",
		"{\"epoch\":9223372036854775808}",
		"{\"epoch\":99}",
	};

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		add_post(bad[i], "/GetKey", JSON,
		    (struct bytes){ (const uint8_t *)bad[i], strlen(bad[i]) },
		    400);
	add_filled("a long key path", "/GetKey", JSON, "{\"path\":\"", 'a',
	    10000, "\"}", 400);
	add_filled("much report data", "/GetQuote", JSON, "{\"report_data\":\"",
	    'a', 130, "\"}", 400);
	add_post("odd", "/GetQuote", JSON,
	    BYTES_STR("{\"report_data\":\"abc\"}"), 400);
	add_post("no hex", "/GetQuote", JSON,
	    BYTES_STR("{\"report_data\":\"zz\"}"), 400);
}

static void
make_list(const struct place *p)
{
	add_http();
	add_methods(p);
	add_sizes(p);
	add_json(p);
	add_proto(p);
	if (p->surface == SURFACE_GUEST)
		add_fields();
}

/* ---- what they must get ---- */

/* An error in the form that was asked for, or a page that says 404. */
static const char *
wrong_answer(const struct hostile *h, const struct buf *reply)
{
	struct bytes body;
	unsigned status;
	json_t *v = NULL;
	const char *why;
	bool ok;

	if (reply->len == 0)
		return h->status == 0 ? NULL : "no answer";
	if ((why = rawhttp_check(reply, &status, &body)) != NULL)
		return strncmp(h->name, "HEAD", 4) == 0 ? NULL : why;
	if (h->status != 0 && status != h->status)
		return "another status";
	if (status < 400)
		return "no refusal";
	if (rawhttp_header(reply, "\r\nContent-Type: ", "text/html"))
		return status == 404 ? NULL : "a page";
	if (rawhttp_header(reply, "\r\nContent-Type: ", PROTO)) {
		if (pbjson_read(&v, &devproof__guest__v0__error__descriptor,
			body) != ERR_OK)
			return "no message";
	} else if (json_parse(&v, body.p, body.len, 1 << 20, NULL, 0) !=
	    ERR_OK) {
		return "no JSON";
	}
	for (size_t i = 0; i < body.len; i++)
		if (body.p[i] > 0x7f)
			return "no ASCII";
	ok = json_string_length(json_object_get(v, "error")) > 0;
	json_decref(v);
	return ok ? NULL : "no error in it";
}

/* All of the list at once, each in pieces of `step` bytes; then, if
 * `closes`, half closed. */
static void
all_at_once(size_t step, bool closes)
{
	static int fd[MANY];
	uint64_t began = clock_mono_ms();

	for (size_t i = 0; i < n_list; i++) {
		fd[i] = rawhttp_dial(path);
		cr_assert_geq(fd[i], 0);
		/* Byte by byte there is no end of a megabyte. */
		rawhttp_send(fd[i], buf_view(&list[i].text),
		    list[i].text.len > 10000 ? 4096 : step);
		if (closes)
			(void)shutdown(fd[i], SHUT_WR);
	}
	for (size_t i = 0; i < n_list; i++) {
		struct buf reply = { 0 };
		const char *wrong;

		(void)rawhttp_read(fd[i], &reply);
		wrong = wrong_answer(&list[i], &reply);
		cr_assert_null(wrong, "%s: %s: %s", list[i].name, wrong,
		    reply.p != NULL ? (char *)reply.p : "");
		buf_fini(&reply);
	}
	cr_assert_lt(clock_mono_ms() - began,
	    closes ? PATIENCE_MS : PATIENCE_MS + SLACK_MS);
}

ParameterizedTestParameters(agent_hostile, everything)
{
	static size_t which[] = { 0, 1, 2 };

	return cr_make_param_array(size_t, which, 3);
}

ParameterizedTest(size_t *which, agent_hostile, everything, .timeout = 120)
{
	const struct place *p = &places[*which];

	begin(p);
	make_list(p);
	all_at_once(1 << 16, true);
	all_at_once(1, true);
	all_at_once(7, false);
	for (size_t i = 0; i < n_list; i++)
		buf_fini(&list[i].text);
	end(p);
}

/* ---- changed at random ---- */

static uint32_t
next(uint32_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 17;
	return *x ^= *x << 5;
}

/* Requests with a few bytes changed, doubled or lost: any answer that is one,
 * or a clean end. */
Test(agent_hostile, changed_requests, .timeout = 120)
{
	static const char *const good[] = {
		"POST /GetKey HTTP/1.1\r\nHost: x\r\nContent-Type: "
		"application/json\r\nContent-Length: 20\r\n\r\n"
		"{\"path\":\"a\",\"epoch\":3}",
		"GET /GetQuote?report_data=0x12ab&json HTTP/1.1\r\n\r\n",
		"POST /Sign?json=1 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n"
		"\r\n1a\r\n{\"algorithm\":\"secp256k1\"}\r\n0\r\n\r\n",
		"POST /v1/GetKey HTTP/1.1\r\nContent-Length: 12\r\n\r\n"
		"\x0a\x01\x61\x12\x07"
		"ed25519",
	};
	uint32_t x = 1;

	begin(&places[0]);
	for (int round = 0; round < 3000; round++) {
		const char *from = good[round % 4];
		char text[400];
		size_t len = strlen(from);
		struct buf reply = { 0 };
		struct bytes body;
		unsigned status;
		int fd;

		memcpy(text, from, len);
		for (uint32_t n = next(&x) % 4 + 1; n > 0; n--) {
			size_t at = next(&x) % len;

			switch (next(&x) % 3) {
			case 0:
				text[at] = (char)next(&x);
				break;
			case 1:
				memmove(text + at, text + at + 1, len - at - 1);
				len--;
				break;
			default:
				memmove(text + at + 1, text + at, len - at);
				len++;
			}
		}
		fd = rawhttp_dial(path);
		cr_assert_geq(fd, 0);
		rawhttp_send(fd, (struct bytes){ (uint8_t *)text, len },
		    1 + next(&x) % len);
		(void)shutdown(fd, SHUT_WR);
		(void)rawhttp_read(fd, &reply);
		if (reply.len > 0)
			cr_assert_null(rawhttp_check(&reply, &status, &body),
			    "%.*s -> %s", (int)len, text, (char *)reply.p);
		buf_fini(&reply);
	}
	end(&places[0]);
}

/* ---- many ---- */

static size_t
resident_kib(void)
{
	char line[200];
	size_t kib = 0;
	FILE *f = fopen("/proc/self/status", "r");

	cr_assert_not_null(f);
	while (fgets(line, sizeof line, f) != NULL)
		if (strncmp(line, "VmRSS:", 6) == 0)
			kib = strtoul(line + 6, NULL, 10);
	(void)fclose(f);
	return kib;
}

/* A thousand clients are connected at once, each amid its own request, and
 * each gets its own answer. */
Test(agent_hostile, thousand_clients, .timeout = 120)
{
	static int fd[CLIENTS];
	char text[300];
	size_t before;

	begin(&places[0]);
	before = resident_kib();
	for (int half = 0; half < 2; half++)
		for (int i = 0; i < CLIENTS; i++) {
			int n = snprintf(text, sizeof text,
			    "POST /GetQuote HTTP/1.1\r\nHost: localhost\r\n"
			    "Content-Type: application/json\r\n"
			    "Content-Length: 26\r\n\r\n"
			    "{\"report_data\":\"ab%06d\"}",
			    i);

			if (half == 0)
				fd[i] = rawhttp_dial(path);
			cr_assert_geq(fd[i], 0);
			rawhttp_send(fd[i],
			    (struct bytes){
				(uint8_t *)text + (half == 0 ? 0 : n - 12),
				(size_t)(half == 0 ? n - 12 : 12) },
			    999);
		}
	for (int i = 0; i < CLIENTS; i++) {
		struct buf reply = { 0 };
		struct bytes body;
		unsigned status;

		cr_assert(rawhttp_read(fd[i], &reply));
		cr_assert_null(rawhttp_check(&reply, &status, &body));
		cr_assert_eq(status, 200);
		(void)snprintf(
		    text, sizeof text, "\"report_data\":\"ab%06d0000", i);
		cr_assert_not_null(strstr((const char *)body.p, text));
		buf_fini(&reply);
	}
	cr_assert(!MEMORY_COUNTS || resident_kib() < before + 48 * 1024);
	end(&places[0]);
}

/* Each of them sends a megabyte: some must wait for another time, and memory
 * has its bound. */
Test(agent_hostile, thousand_megabytes, .timeout = 120)
{
	static int fd[CLIENTS];
	static char chunk[4096];
	unsigned refused = 0;
	size_t before;

	begin(&places[0]);
	before = resident_kib();
	for (int i = 0; i < CLIENTS; i++) {
		const char *head = "POST /Info HTTP/1.1\r\n"
				   "Content-Length: 1048576\r\n\r\n";

		fd[i] = rawhttp_dial(path);
		cr_assert_geq(fd[i], 0);
		rawhttp_send(fd[i],
		    (struct bytes){ (const uint8_t *)head, strlen(head) }, 999);
		for (int k = 0; k < 8; k++)
			rawhttp_send(fd[i], BYTES_OF(chunk), sizeof chunk);
	}
	cr_assert(!MEMORY_COUNTS || resident_kib() < before + 128 * 1024);
	for (int i = 0; i < CLIENTS; i++) {
		struct buf reply = { 0 };

		(void)rawhttp_read(fd[i], &reply);
		refused += reply.len > 0 &&
		    strstr((char *)reply.p, "too many large") != NULL;
		cr_assert(reply.len == 0 ||
		    strncmp((char *)reply.p, "HTTP/1.1 200", 12) != 0);
		buf_fini(&reply);
	}
	cr_assert_geq(refused, CLIENTS / 2);
	end(&places[0]);
}

/* One who sends a byte now and then has an end as well. */
Test(agent_hostile, drip, .timeout = 120)
{
	const char *text = "POST /Info HTTP/1.1\r\nContent-Type: application/"
			   "json\r\nContent-Length: 2\r\n\r\n{}";
	uint64_t began;
	struct buf reply = { 0 };
	int fd;

	begin(&places[0]);
	began = clock_mono_ms();
	fd = rawhttp_dial(path);
	for (size_t i = 0; clock_mono_ms() - began < 40 * 1000; i++) {
		struct pollfd p = { .fd = fd, .events = POLLIN };

		rawhttp_send(
		    fd, (struct bytes){ (const uint8_t *)text + i, 1 }, 1);
		if (poll(&p, 1, 1000) != 0)
			break;
	}
	cr_assert_lt(clock_mono_ms() - began, 25 * 1000);
	(void)rawhttp_read(fd, &reply);
	cr_assert_not_null(strstr((char *)reply.p, " 408 "));
	buf_fini(&reply);
	end(&places[0]);
}
