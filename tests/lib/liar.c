#include <arpa/inet.h>
#include <assert.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/json.h"
#include "common/eth/rpc.h"
#include "common/net/fetch.h"
#include "tests/lib/liar.h"

#define REQUEST_MAX (1u << 20)
#define REPLY_MAX (8u << 20)
/* More than any answer may have. */
#define ENDLESS_BYTES (4u << 20)
#define DRIP_BYTES 400u
#define DRIP_US 50000u

struct liar {
	const char *upstream;
	char url[64];
	int fd;
	_Atomic int lie;
	_Atomic uint64_t old;
	_Atomic bool stopping;
	_Atomic unsigned open; /* connections */
	pthread_t thread;
};

struct conn {
	struct liar *l;
	int fd;
};

const char *
lie_text(enum lie lie)
{
	static const char *const text[] = {
#define X(name) #name,
		LIE_LIST(X)
#undef X
	};

	return text[lie];
}

/* ---- altering ---- */

/* The k-th digit from the end. */
static void
flip(json_t *obj, const char *key, size_t k)
{
	json_t *v = json_object_get(obj, key);
	size_t len = json_string_length(v);
	char *s;
	int rc;

	if (len < 3 + k)
		return;
	s = strdup(json_string_value(v));
	assert(s != NULL);
	s[len - 1 - k] = s[len - 1 - k] == '1' ? '0' : '1';
	rc = json_string_set(v, s);
	assert(rc == 0);
	free(s);
}

/* Of the last node of a proof. */
static void
flip_node(json_t *list, size_t k)
{
	size_t n = json_array_size(list);
	json_t *box;
	int rc;

	if (n == 0)
		return;
	box = json_object();
	rc = json_object_set(box, "v", json_array_get(list, n - 1));
	assert(rc == 0);
	flip(box, "v", k);
	json_decref(box);
}

static void
alter_slots(json_t *result, bool drop)
{
	json_t *list = json_object_get(result, "storageProof"), *one;
	size_t i;

	json_array_foreach(list, i, one)
	{
		json_t *proof = json_object_get(one, "proof");

		if (drop && json_array_size(proof) > 0) {
			(void)json_array_remove(
			    proof, json_array_size(proof) - 1);
		} else {
			flip(one, "value", 0);
			flip_node(proof, 0);
		}
	}
}

/* The word of isAllowed, where the answer begins. */
static void
alter_call(json_t *reply)
{
	json_t *v = json_object_get(reply, "result");
	size_t len = json_string_length(v);

	if (len >= 66)
		flip(reply, "result", len - 66);
}

static void
alter_time(json_t *result)
{
	uint64_t t;
	char text[32];

	if (rpc_quantity(&t, json_object_get(result, "timestamp")) != ERR_OK)
		return;
	(void)snprintf(text, sizeof text, "0x%llx", (unsigned long long)t + 30);
	(void)json_object_set_new(result, "timestamp", json_string(text));
}

/* 64 accounts, one of them with 1,024 slots, of which the call needs none. */
static json_t *
much(void)
{
	json_t *list = json_array();
	char address[43], slot[67];

	for (unsigned i = 0; i < 64; i++) {
		json_t *keys = json_array();

		for (unsigned k = 0; i == 0 && k < 1024; k++) {
			(void)snprintf(slot, sizeof slot, "0x%064x", k);
			(void)json_array_append_new(keys, json_string(slot));
		}
		(void)snprintf(address, sizeof address, "0x77%038x", i);
		(void)json_array_append_new(list,
		    json_pack(
			"{s:s,s:o}", "address", address, "storageKeys", keys));
	}
	return json_pack("{s:o,s:s}", "accessList", list, "gasUsed", "0x1");
}

static void
alter(enum lie lie, const char *method, json_t *reply)
{
	json_t *result = json_object_get(reply, "result");
	bool is_block = strncmp(method, "eth_getBlockBy", 14) == 0;

	if (lie == LIE_VALUE && strcmp(method, "eth_call") == 0)
		alter_call(reply);
	if ((lie == LIE_VALUE || lie == LIE_DROP) &&
	    strcmp(method, "eth_getProof") == 0)
		alter_slots(result, lie == LIE_DROP);
	if (lie == LIE_ROOT && strcmp(method, "eth_getProof") == 0) {
		flip(result, "storageHash", 5);
		flip_node(json_object_get(result, "accountProof"), 70);
	}
	if (lie == LIE_STATE && is_block)
		flip(result, "stateRoot", 0);
	if (lie == LIE_TIME && is_block)
		alter_time(result);
	if (lie == LIE_FORK && strcmp(method, "eth_getBlockByNumber") == 0)
		flip(result, "hash", 0);
	if (lie == LIE_CHAIN && strcmp(method, "eth_chainId") == 0)
		(void)json_object_set_new(reply, "result", json_string("0x1"));
	if (lie == LIE_HINT && strcmp(method, "eth_createAccessList") == 0)
		(void)json_object_set_new(reply, "result", much());
	if (lie == LIE_NULL)
		(void)json_object_set_new(reply, "result", json_null());
	if (lie == LIE_SHAPE)
		(void)json_object_set_new(
		    reply, "result", json_pack("[[],{}]"));
	if (lie == LIE_CODE && strcmp(method, "eth_getCode") == 0) {
		char *more = malloc(json_string_length(result) + 3);

		assert(more != NULL);
		(void)snprintf(more, json_string_length(result) + 3, "%s00",
		    json_string_value(result));
		(void)json_object_set_new(reply, "result", json_string(more));
		free(more);
	}
}

/* State of another block. */
static void
ask_old(json_t *request, const char *method, uint64_t old)
{
	json_t *params = json_object_get(request, "params");
	char number[32];

	if (strcmp(method, "eth_call") != 0 &&
	    strcmp(method, "eth_getProof") != 0 &&
	    strcmp(method, "eth_getCode") != 0)
		return;
	(void)snprintf(
	    number, sizeof number, "0x%llx", (unsigned long long)old);
	(void)json_array_set_new(
	    params, json_array_size(params) - 1, json_string(number));
}

/* ---- HTTP ---- */

static void
put(int fd, const void *p, size_t len)
{
	const uint8_t *at = p;

	while (len > 0) {
		ssize_t n = send(fd, at, len, MSG_NOSIGNAL);

		if (n <= 0)
			return;
		at += n;
		len -= (size_t)n;
	}
}

static bool
read_request(int fd, struct buf *body)
{
	char head[4096], *end;
	size_t n = 0, want;
	const char *len;

	do {
		ssize_t r = recv(fd, head + n, sizeof head - 1 - n, 0);

		if (r <= 0)
			return false;
		n += (size_t)r;
		head[n] = '\0';
	} while (
	    (end = strstr(head, "\r\n\r\n")) == NULL && n < sizeof head - 1);
	if (end == NULL || (len = strcasestr(head, "content-length:")) == NULL)
		return false;
	want = strtoul(len + 15, NULL, 10);
	if (want > REQUEST_MAX || buf_reserve(body, want + 1) != ERR_OK)
		return false;
	end += 4;
	body->len = n - (size_t)(end - head);
	memcpy(body->p, end, body->len);
	while (body->len < want) {
		ssize_t r = recv(fd, body->p + body->len, want - body->len, 0);

		if (r <= 0)
			return false;
		body->len += (size_t)r;
	}
	return true;
}

static void
reply_json(int fd, const void *p, size_t len, const char *more)
{
	char head[160];
	int n = snprintf(head, sizeof head,
	    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n%s"
	    "Content-Length: %zu\r\nConnection: close\r\n\r\n",
	    more, len);

	put(fd, head, (size_t)n);
	put(fd, p, len);
}

static void
endless(int fd)
{
	static char spaces[65536];
	static const char head[] = "HTTP/1.1 200 OK\r\nConnection: close\r\n"
				   "\r\n{\"jsonrpc\":\"2.0\",\"result\":\"0x";

	memset(spaces, '0', sizeof spaces);
	put(fd, head, sizeof head - 1);
	for (size_t i = 0; i < ENDLESS_BYTES; i += sizeof spaces)
		put(fd, spaces, sizeof spaces);
}

static void
drip(const struct liar *l, int fd)
{
	static const char head[] = "HTTP/1.1 200 OK\r\nConnection: close\r\n"
				   "\r\n{";

	put(fd, head, sizeof head - 1);
	for (unsigned i = 0; i < DRIP_BYTES && !l->stopping; i++) {
		put(fd, " ", 1);
		(void)usleep(DRIP_US);
	}
}

static void
redirect(const struct liar *l, int fd)
{
	char text[256];
	int n = snprintf(text, sizeof text,
	    "HTTP/1.1 307 Temporary Redirect\r\nLocation: %s\r\n"
	    "Content-Length: 0\r\nConnection: close\r\n\r\n",
	    l->upstream);

	put(fd, text, (size_t)n);
}

/* 64 KiB of spaces; nobody has to unpack more to see what is meant. */
static const char bomb[] =
    "\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03\xed\xc1\x81\x00\x00\x00"
    "\x00\x80\x20\x95\xfd\x29\x17\xa9\x0a\x00\x00\x00\x00\x00\x00\x00"
    "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
    "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
    "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
    "\x00\x00\x00\x00\x00\x00\x00\x00\x6a\x94\x19\x2c\xb4\x00\x00\x01"
    "\x00";

static void
pass_on(struct liar *l, int fd, enum lie lie, const struct buf *body)
{
	struct fetch_request rq = { .url = l->upstream,
		.content_type = "application/json",
		.timeout_ms = 30000,
		.max_reply = REPLY_MAX };
	struct fetch_reply r;
	json_t *v = NULL, *request = NULL;
	struct buf out = { 0 }, ask = { 0 };
	const char *method;
	enum err e;

	e = json_parse(&request, body->p, body->len, REQUEST_MAX, NULL, 0);
	assert(e == ERR_OK);
	e = json_get_str(&method, request, "method");
	assert(e == ERR_OK);
	if (lie == LIE_OLD)
		ask_old(request, method, l->old);
	e = json_write(&ask, request);
	assert(e == ERR_OK);
	rq.post = buf_view(&ask);
	fetch_all(&r, &rq, 1);
	if (r.err == ERR_OK &&
	    json_parse(&v, r.body.p, r.body.len, REPLY_MAX, NULL, 0) ==
		ERR_OK) {
		alter(lie, method, v);
		if (json_write(&out, v) == ERR_OK)
			reply_json(fd, out.p, out.len, "");
	}
	json_decref(v);
	json_decref(request);
	fetch_reply_fini(&r);
	buf_fini(&out);
	buf_fini(&ask);
}

static void *
serve(void *cookie)
{
	struct conn *c = cookie;
	struct liar *l = c->l;
	enum lie lie = (enum lie)atomic_load(&l->lie);
	struct buf body = { 0 };

	if (read_request(c->fd, &body)) {
		if (lie == LIE_ENDLESS)
			endless(c->fd);
		else if (lie == LIE_DRIP)
			drip(l, c->fd);
		else if (lie == LIE_REDIRECT)
			redirect(l, c->fd);
		else if (lie == LIE_GZIP)
			reply_json(c->fd, bomb, sizeof bomb - 1,
			    "Content-Encoding: gzip\r\n");
		else
			pass_on(l, c->fd, lie, &body);
	}
	buf_fini(&body);
	(void)close(c->fd);
	free(c);
	atomic_fetch_sub(&l->open, 1);
	return NULL;
}

static void *
listen_loop(void *cookie)
{
	struct liar *l = cookie;
	int fd;

	while ((fd = accept(l->fd, NULL, NULL)) >= 0 && !l->stopping) {
		struct conn *c = malloc(sizeof *c);
		pthread_t t;
		int rc;

		assert(c != NULL);
		*c = (struct conn){ l, fd };
		atomic_fetch_add(&l->open, 1);
		rc = pthread_create(&t, NULL, serve, c);
		assert(rc == 0);
		(void)pthread_detach(t);
	}
	if (fd >= 0)
		(void)close(fd);
	return NULL;
}

struct liar *
liar_start(const char *upstream)
{
	struct sockaddr_in at = { .sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof at;
	struct liar *l = calloc(1, sizeof *l);
	int rc;

	assert(l != NULL);
	l->upstream = upstream;
	l->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	rc = bind(l->fd, (const struct sockaddr *)&at, sizeof at);
	assert(rc == 0);
	rc = listen(l->fd, 64);
	assert(rc == 0);
	rc = getsockname(l->fd, (struct sockaddr *)&at, &len);
	assert(rc == 0);
	(void)snprintf(
	    l->url, sizeof l->url, "http://127.0.0.1:%u/", ntohs(at.sin_port));
	rc = pthread_create(&l->thread, NULL, listen_loop, l);
	assert(rc == 0);
	return l;
}

void
liar_stop(struct liar *l)
{
	if (l == NULL)
		return;
	l->stopping = true;
	(void)shutdown(l->fd, SHUT_RDWR);
	(void)pthread_join(l->thread, NULL);
	while (atomic_load(&l->open) > 0)
		(void)usleep(1000);
	(void)close(l->fd);
	free(l);
}

const char *
liar_url(const struct liar *l)
{
	return l->url;
}

void
liar_tell(struct liar *l, enum lie lie, uint64_t old)
{
	l->old = old;
	l->lie = (int)lie;
}
