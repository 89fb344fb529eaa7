/* The floor of a call is a bare server's: it accepts, reads once, writes as
 * many bytes as the agent does and closes, on as many threads as there are
 * cores, with the same clients.  To that comes the call's cryptography. */
#include <sys/socket.h>

#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/net/listen.h"
#include "tests/bench/bench_line.h"
#include "tests/bench/bench_load.h"
#include "tests/bench/bench_prim.h"
#include "tests/bench/bench_socket.h"
#include "tests/lib/rawhttp.h"

#define SECONDS 2.0
#define CLIENTS 64
#define BARE_MAX 16

#define POST(path, len, body) \
	("POST " path " HTTP/1.1\r\nHost: localhost\r\n" \
	 "Content-Type: application/json\r\nContent-Length: " len \
	 "\r\n\r\n" body)

static const struct call {
	const char *one, *many; /* the lines' names */
	const char *text;
	/* How often each primitive is needed. */
	unsigned hkdf, pubkey, sign;
} calls[] = {
	{ "agent_version_1", "agent_version_64", POST("/Version", "2", "{}"), 0,
	    0, 0 },
	{ "agent_get_key_1", "agent_get_key_64",
	    POST("/GetKey", "27", "{\"path\":\"/a\",\"purpose\":\"b\"}"), 1, 1,
	    1 },
	{ "agent_sign_1", "agent_sign_64",
	    POST("/Sign", "45",
		"{\"algorithm\":\"secp256k1\",\"data\":\"68656c6c6f\"}"),
	    1, 1, 2 },
};

/* ---- clients ---- */

struct target {
	const char *path;
	struct bytes text;
	bool must_be_http;
};

static enum err
client_open(void *cookie, void **state, unsigned thread)
{
	(void)thread;
	*state = cookie;
	return ERR_OK;
}

static void
client_close(void *state)
{
	(void)state;
}

static enum err
ask(struct buf *reply, const struct target *t)
{
	int fd = rawhttp_dial(t->path);

	if (fd < 0)
		return ERR_IO;
	rawhttp_send(fd, t->text, t->text.len);
	(void)rawhttp_read(fd, reply);
	if (t->must_be_http &&
	    (reply->len < 12 || memcmp(reply->p, "HTTP/1.1 200", 12) != 0))
		return ERR_MALFORMED;
	return reply->len > 0 ? ERR_OK : ERR_IO;
}

static enum err
client_once(void *state)
{
	struct buf reply = { 0 };
	enum err e = ask(&reply, state);

	buf_wipe(&reply);
	return e;
}

static enum err
rate(double *out, struct target *t, unsigned clients)
{
	const struct bench_load_work w = { .cookie = t,
		.open = client_open,
		.once = client_once,
		.close = client_close };
	struct bench_load_result r;
	enum err e = bench_load(&r, &w, clients, SECONDS);

	*out = r.per_second;
	return e;
}

/* ---- the bare server ---- */

struct bare {
	int listener;
	size_t reply_len;
	struct listen_file file;
	pthread_t thread[BARE_MAX];
	unsigned n_threads;
};

static void *
bare_run(void *arg)
{
	struct bare *b = arg;
	char request[4096], *reply = calloc(1, b->reply_len);

	if (reply == NULL)
		abort();
	for (;;) {
		int fd = accept(b->listener, NULL, NULL);

		if (fd < 0)
			break;
		if (recv(fd, request, sizeof request, 0) > 0)
			(void)!send(fd, reply, b->reply_len, MSG_NOSIGNAL);
		(void)close(fd);
	}
	free(reply);
	return NULL;
}

static enum err
bare_start(struct bare *b, const char *path, size_t reply_len, unsigned threads)
{
	enum err e;

	*b = (struct bare){ .reply_len = reply_len };
	if ((e = listen_unix(&b->listener, &b->file, path, 0600)) != ERR_OK)
		return e;
	if (fcntl(b->listener, F_SETFL, 0) != 0)
		return ERR_IO;
	while (b->n_threads < threads && b->n_threads < BARE_MAX)
		if (pthread_create(
			&b->thread[b->n_threads++], NULL, bare_run, b) != 0)
			abort();
	return ERR_OK;
}

static void
bare_stop(struct bare *b)
{
	/* Wakes all who accept. */
	(void)shutdown(b->listener, SHUT_RDWR);
	for (unsigned i = 0; i < b->n_threads; i++)
		(void)pthread_join(b->thread[i], NULL);
	(void)close(b->listener);
	listen_unlink(&b->file);
}

/* ---- */

static enum err
measure(FILE *json, const char *path, const char *bare_path,
    const struct call *c, const struct bench_prim *p, unsigned cores)
{
	double crypto = c->hkdf * p->hkdf + c->pubkey * p->k256_pubkey +
	    c->sign * p->k256_sign;
	struct bytes text = { (const uint8_t *)c->text, strlen(c->text) };
	struct target agent = { path, text, true };
	struct target bare = { bare_path, text, false };
	double one = 0, many = 0, bare_one = 0, bare_many = 0;
	struct buf reply = { 0 };
	struct bare b;
	enum err e = ask(&reply, &agent);

	if (e == ERR_OK)
		e = rate(&one, &agent, 1);
	if (e == ERR_OK)
		e = rate(&many, &agent, CLIENTS);
	if (e == ERR_OK)
		e = bare_start(&b, bare_path, reply.len, cores);
	if (e != ERR_OK)
		goto done;
	e = rate(&bare_one, &bare, 1);
	if (e == ERR_OK)
		e = rate(&bare_many, &bare, CLIENTS);
	bare_stop(&b);
	if (e != ERR_OK)
		goto done;
	bench_line_rate(json, c->one, one, 1e6 / (1e6 / bare_one + crypto));
	bench_line_rate(
	    json, c->many, many, 1e6 / (1e6 / bare_many + crypto / cores));
done:
	buf_wipe(&reply);
	return e;
}

enum err
bench_socket(FILE *json, const char *path)
{
	long cores = sysconf(_SC_NPROCESSORS_ONLN);
	char bare_path[sizeof((struct sockaddr_un *)0)->sun_path];
	struct bench_prim p;
	enum err e = ERR_OK;

	if ((size_t)snprintf(bare_path, sizeof bare_path, "%s.bare", path) >=
	    sizeof bare_path)
		return ERR_CONFIG;
	if (bench_prim_measure(&p, 100, 100) != 0)
		return ERR_IO;
	for (size_t i = 0; e == ERR_OK && i < sizeof calls / sizeof calls[0];
	     i++)
		e = measure(json, path, bare_path, &calls[i], &p,
		    cores > 0 ? (unsigned)cores : 1);
	return e;
}
