/* etcd's native way, with next to no cost on this side: gRPC is a POST over
 * HTTP/2 whose body is a flag byte, a length and a protobuf message.  Each
 * client has one connection, without TLS, and one call on it at a time.  The
 * few frames that this needs are written here (Debian's curl 7.88 cannot use
 * such a connection twice).
 *
 *   etcdserverpb.KV/Txn
 *   TxnRequest   1 Compare {1 result = EQUAL, 2 target = VALUE, 3 key, 7 value}
 *                2 RequestOp {2 PutRequest {1 key, 2 value}}
 *   TxnResponse  2 succeeded */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/bench/bench_etcd.h"
#include "tests/bench/bench_load.h"

#define SECONDS 4.0
#define MAX_BODY 512
#define TARGET_VALUE 3

/* RFC 9113 */
#define FRAME_HEAD 9
#define FRAME_MAX 16384 /* what a peer may send unasked */
#define WINDOW 65535
enum frame_type {
	FRAME_DATA = 0,
	FRAME_HEADERS = 1,
	FRAME_RST_STREAM = 3,
	FRAME_SETTINGS = 4,
	FRAME_PING = 6,
	FRAME_GOAWAY = 7,
	FRAME_WINDOW_UPDATE = 8,
};
#define FLAG_ACK 1
#define FLAG_END_STREAM 1
#define FLAG_END_HEADERS 4

struct client {
	int fd; /* owns */
	uint32_t stream; /* of the last call; odd */
	size_t taken; /* of the connection's window */
	uint8_t in[FRAME_HEAD + FRAME_MAX];
	uint8_t out[1024];
	size_t out_len;
	char authority[64];
	char key[32];
	uint64_t value;
	uint8_t reply[MAX_BODY];
	size_t reply_len;
};

/* ---- protobuf, as far as it is needed ---- */

struct pb {
	uint8_t b[MAX_BODY];
	size_t n;
};

static void
pb_number(struct pb *m, unsigned field, uint8_t small)
{
	m->b[m->n++] = (uint8_t)(field << 3);
	m->b[m->n++] = small;
}

/* All that is sent here is shorter than 128 bytes. */
static void
pb_bytes(struct pb *m, unsigned field, const void *p, size_t len)
{
	m->b[m->n++] = (uint8_t)(field << 3 | 2);
	m->b[m->n++] = (uint8_t)len;
	memcpy(m->b + m->n, p, len);
	m->n += len;
}

static void
put_request(struct pb *out, unsigned field, const char *key, const char *value)
{
	struct pb put = { .n = 0 }, op = { .n = 0 };

	pb_bytes(&put, 1, key, strlen(key));
	pb_bytes(&put, 2, value, strlen(value));
	pb_bytes(&op, 2, put.b, put.n);
	pb_bytes(out, field, op.b, op.n);
}

/* Without `old`: put whatever is there. */
static void
txn_request(struct pb *out, const char *key, const char *old, const char *new)
{
	struct pb compare = { .n = 0 }, m = { .n = 0 };

	if (old != NULL) {
		pb_number(&compare, 1, 0);
		pb_number(&compare, 2, TARGET_VALUE);
		pb_bytes(&compare, 3, key, strlen(key));
		pb_bytes(&compare, 7, old, strlen(old));
		pb_bytes(&m, 1, compare.b, compare.n);
	}
	put_request(&m, 2, key, new);
	out->n = 0;
	out->b[out->n++] = 0; /* not compressed */
	for (int shift = 24; shift >= 0; shift -= 8)
		out->b[out->n++] = (uint8_t)(m.n >> shift);
	memcpy(out->b + out->n, m.b, m.n);
	out->n += m.n;
}

/* Field 2 of the answer, a bool; absent is false. */
static bool
succeeded(const uint8_t *p, size_t len)
{
	for (size_t at = 5; at + 1 < len;) {
		unsigned tag = p[at++], n = p[at++];

		if (n >= 128)
			return false;
		if (tag == (2u << 3))
			return n == 1;
		if ((tag & 7) == 2)
			at += n;
	}
	return false;
}

/* ---- HTTP/2, as far as it is needed ---- */

static void
frame(struct client *k, enum frame_type type, uint8_t flags, uint32_t stream,
    const void *p, size_t len)
{
	uint8_t *o = k->out + k->out_len;

	for (unsigned i = 0; i < 3; i++)
		o[i] = (uint8_t)(len >> (16 - 8 * i));
	o[3] = (uint8_t)type;
	o[4] = flags;
	for (unsigned i = 0; i < 4; i++)
		o[5 + i] = (uint8_t)(stream >> (24 - 8 * i));
	if (len > 0)
		memcpy(o + FRAME_HEAD, p, len);
	k->out_len += FRAME_HEAD + len;
}

static enum err
flush(struct client *k)
{
	size_t at = 0;

	while (at < k->out_len) {
		ssize_t n =
		    send(k->fd, k->out + at, k->out_len - at, MSG_NOSIGNAL);

		if (n <= 0)
			return ERR_IO;
		at += (size_t)n;
	}
	k->out_len = 0;
	return ERR_OK;
}

static enum err
recv_all(struct client *k, uint8_t *p, size_t len)
{
	while (len > 0) {
		ssize_t n = recv(k->fd, p, len, 0);

		if (n <= 0)
			return ERR_IO;
		p += n;
		len -= (size_t)n;
	}
	return ERR_OK;
}

/* What is read is allowed to the peer anew. */
static void
give_window(struct client *k, size_t len)
{
	uint8_t n[4];

	k->taken += len;
	if (k->taken < WINDOW / 2)
		return;
	for (unsigned i = 0; i < 4; i++)
		n[i] = (uint8_t)(k->taken >> (24 - 8 * i));
	frame(k, FRAME_WINDOW_UPDATE, 0, 0, n, sizeof n);
	k->taken = 0;
}

/* Takes one frame; `over` once it ends the call. */
static enum err
take_frame(struct client *k, bool *over)
{
	const uint8_t *body = k->in + FRAME_HEAD;
	uint32_t stream = 0;
	size_t len = 0;
	uint8_t flags;
	enum err e;

	if ((e = recv_all(k, k->in, FRAME_HEAD)) != ERR_OK)
		return e;
	for (unsigned i = 0; i < 3; i++)
		len = len << 8 | k->in[i];
	for (unsigned i = 0; i < 4; i++)
		stream = stream << 8 | k->in[5 + i];
	flags = k->in[4];
	if (len > FRAME_MAX)
		return ERR_MALFORMED;
	if ((e = recv_all(k, k->in + FRAME_HEAD, len)) != ERR_OK)
		return e;
	switch (k->in[3]) {
	case FRAME_DATA:
		if (len > sizeof k->reply - k->reply_len)
			return ERR_LIMIT;
		memcpy(k->reply + k->reply_len, body, len);
		k->reply_len += len;
		give_window(k, len);
		break;
	case FRAME_HEADERS:
		break;
	case FRAME_SETTINGS:
		if ((flags & FLAG_ACK) == 0)
			frame(k, FRAME_SETTINGS, FLAG_ACK, 0, NULL, 0);
		return flush(k);
	case FRAME_PING:
		if ((flags & FLAG_ACK) == 0 && len == 8)
			frame(k, FRAME_PING, FLAG_ACK, 0, body, len);
		return flush(k);
	case FRAME_RST_STREAM:
	case FRAME_GOAWAY:
		return ERR_IO;
	default:
		return ERR_OK;
	}
	*over = stream == k->stream && (flags & FLAG_END_STREAM) != 0;
	return ERR_OK;
}

/* ---- one client ---- */

/* HPACK: indexed fields, and literal ones that are not remembered. */
static void
literal(struct pb *m, const char *value)
{
	m->b[m->n++] = (uint8_t)strlen(value);
	memcpy(m->b + m->n, value, strlen(value));
	m->n += strlen(value);
}

static void
headers(struct client *k)
{
	struct pb m = { .n = 0 };

	m.b[m.n++] = 0x83; /* :method POST */
	m.b[m.n++] = 0x86; /* :scheme http */
	m.b[m.n++] = 0x04; /* :path */
	literal(&m, "/etcdserverpb.KV/Txn");
	m.b[m.n++] = 0x01; /* :authority */
	literal(&m, k->authority);
	m.b[m.n++] = 0x0f; /* content-type */
	m.b[m.n++] = 31 - 15;
	literal(&m, "application/grpc");
	m.b[m.n++] = 0x00;
	literal(&m, "te");
	literal(&m, "trailers");
	frame(k, FRAME_HEADERS, FLAG_END_HEADERS, k->stream, m.b, m.n);
}

static enum err
txn(struct client *k, const char *old, const char *new)
{
	struct pb body;
	bool over = false;
	enum err e;

	txn_request(&body, k->key, old, new);
	k->reply_len = 0;
	k->stream += k->stream == 0 ? 1 : 2;
	headers(k);
	frame(k, FRAME_DATA, FLAG_END_STREAM, k->stream, body.b, body.n);
	e = flush(k);
	while (e == ERR_OK && !over)
		e = take_frame(k, &over);
	if (e != ERR_OK)
		return e;
	return succeeded(k->reply, k->reply_len) ? ERR_OK : ERR_DENIED;
}

static enum err
increment(void *state)
{
	struct client *k = state;
	char old[24], new[24];
	enum err e;

	(void)snprintf(old, sizeof old, "%llu", (unsigned long long)k->value);
	(void)snprintf(
	    new, sizeof new, "%llu", (unsigned long long)k->value + 1);
	if ((e = txn(k, old, new)) == ERR_OK)
		k->value++;
	return e;
}

static void
close_client(void *state)
{
	struct client *k = state;

	if (k->fd >= 0)
		(void)close(k->fd);
	free(k);
}

static enum err
dial(struct client *k, const char *url)
{
	static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
	const char *port = strrchr(url, ':');
	struct sockaddr_in to = { .sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	const struct timeval patience = { .tv_sec = 10 };
	int on = 1;

	if (port == NULL)
		return ERR_CONFIG;
	to.sin_port = htons((uint16_t)strtoul(port + 1, NULL, 10));
	(void)snprintf(k->authority, sizeof k->authority, "127.0.0.1%s", port);
	k->fd = socket(AF_INET, SOCK_STREAM, 0);
	if (k->fd < 0 ||
	    connect(k->fd, (const struct sockaddr *)&to, sizeof to) != 0 ||
	    setsockopt(k->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0 ||
	    setsockopt(k->fd, SOL_SOCKET, SO_RCVTIMEO, &patience,
		sizeof patience) != 0)
		return ERR_IO;
	memcpy(k->out, preface, sizeof preface - 1);
	k->out_len = sizeof preface - 1;
	frame(k, FRAME_SETTINGS, 0, 0, NULL, 0);
	return ERR_OK;
}

static enum err
open_client(void *cookie, void **state, unsigned thread)
{
	struct client *k = calloc(1, sizeof *k);
	enum err e;

	if (k == NULL)
		return ERR_NOMEM;
	k->fd = -1;
	(void)snprintf(k->key, sizeof k->key, "bench-%u", thread);
	e = dial(k, cookie);
	if (e == ERR_OK)
		e = txn(k, NULL, "0");
	if (e != ERR_OK) {
		close_client(k);
		return e;
	}
	*state = k;
	return ERR_OK;
}

enum err
bench_etcd(FILE *json, const char *url)
{
	static const unsigned clients[] = { 1, 32, 256 };
	const struct bench_load_work w = {
		.cookie = (void *)(uintptr_t)url,
		.open = open_client,
		.once = increment,
		.close = close_client,
	};
	enum err e = ERR_OK;

	for (size_t i = 0; e == ERR_OK && i < 3; i++) {
		struct bench_load_result r;
		char name[48];

		(void)snprintf(name, sizeof name, "etcd_commits_per_second_%u",
		    clients[i]);
		e = bench_load(&r, &w, clients[i], SECONDS);
		if (e == ERR_OK)
			bench_load_line(json, name, clients[i], &r);
	}
	return e;
}
