#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <criterion/criterion.h>

#include "common/base/clock.h"
#include "common/base/limits.h"
#include "common/base/rd.h"
#include "common/base/wr.h"
#include "tests/lib/link_node.h"

static uint8_t
byte_of(uint32_t seq, size_t i)
{
	return (uint8_t)(seq * 31 + i + (i >> 8) * 7);
}

static void
fill(uint8_t *p, size_t len, uint32_t seq)
{
	struct wr w = { .p = p, .cap = len };

	for (size_t i = 0; i < len; i++)
		p[i] = byte_of(seq, i);
	if (len >= 4)
		wr_be32(&w, seq);
}

/* ---- on the loop ---- */

static void
on_message(void *cookie, const struct member *from, struct bytes b)
{
	struct link_node *n = cookie;
	struct rd r = { .p = b.p, .left = b.len };
	struct link_got *g = &n->got[atomic_load(&n->n_got) % LINK_GOT_MAX];

	*g = (struct link_got){ .from = *from, .len = b.len };
	g->seq = rd_be32(&r);
	g->whole = !r.bad;
	/* Every byte of small ones, some of large ones. */
	for (size_t i = 4; i<b.len; i += b.len> 4096 ? 61 : 1)
		g->whole &= b.p[i] == byte_of(g->seq, i);
	atomic_fetch_add(&n->n_got, 1);
	if (n->on_message != NULL)
		n->on_message(n, from);
}

static void
on_request(void *cookie, const struct channel_caller *who, struct bytes q)
{
	struct link_node *n = cookie;
	struct refusal why = { 0 };
	struct buf reply = { 0 };
	KmsRequest *m = NULL;
	enum err e;

	if (msg_request_parse(&m, q) != ERR_OK) {
		channel_server_drop(n->server, who->conn, REASON_REQUEST);
		return;
	}
	if (n->answer != NULL) {
		if (n->answer(n, who, m, &reply))
			(void)!channel_server_reply(
			    n->server, who->conn, buf_view(&reply));
		goto done;
	}
	e = n->links != NULL ? links_request(n->links, who, m, &reply, &why)
			     : refuse(&why, REASON_NOT_READY, "no links");
	if (e != ERR_OK) {
		cr_assert_eq(e, ERR_DENIED);
		atomic_fetch_add(&n->refused, 1);
		n->last_refusal = (int)why.code;
		cr_assert_eq(
		    msg_error_pack(&reply, m->id, why.code, NULL), ERR_OK);
	}
	(void)!channel_server_reply(n->server, who->conn, buf_view(&reply));
done:
	msg_request_free(m);
	buf_fini(&reply);
}

static void
on_close(void *cookie, uint64_t conn)
{
	struct link_node *n = cookie;

	if (n->links != NULL)
		links_closed(n->links, conn);
}

static void
on_async(uv_async_t *a)
{
	struct link_node *n = a->data;
	void (*task)(struct link_node *, void *);
	void *arg;

	(void)pthread_mutex_lock(&n->lock);
	task = n->task;
	arg = n->arg;
	n->task = NULL;
	(void)pthread_mutex_unlock(&n->lock);
	if (task == NULL)
		return;
	task(n, arg);
	(void)sem_post(&n->task_done);
}

void
link_node_do(struct link_node *n, void (*task)(struct link_node *n, void *arg),
    void *arg)
{
	(void)pthread_mutex_lock(&n->lock);
	n->arg = arg;
	n->task = task;
	(void)pthread_mutex_unlock(&n->lock);
	cr_assert_eq(uv_async_send(&n->async), 0);
	while (sem_wait(&n->task_done) != 0)
		;
}

static void *
run(void *arg)
{
	struct link_node *n = arg;

	(void)uv_run(&n->loop, UV_RUN_DEFAULT);
	return NULL;
}

/* ---- life ---- */

void
link_node_start(struct link_node *n, struct kms_world *w, const char *slot,
    uint8_t id, unsigned port)
{
	char listen[64];
	struct channel_server_options o = { .listen_url = listen,
		.cx = &n->td.cx,
		.on_request = on_request,
		.on_close = on_close,
		.cookie = n };

	memset(n, 0, sizeof *n);
	(void)snprintf(n->slot, sizeof n->slot, "%s", slot);
	(void)snprintf(listen, sizeof listen, "tcp://127.0.0.1:%u", port);
	n->got = calloc(LINK_GOT_MAX, sizeof *n->got);
	cr_assert_not_null(n->got);
	kms_caller_boot(&n->td, w, CHANNEL_KMS_PEER, id);
	cr_assert_eq(uv_loop_init(&n->loop), 0);
	cr_assert_eq(uv_async_init(&n->loop, &n->async, on_async), 0);
	n->async.data = n;
	cr_assert_eq(pthread_mutex_init(&n->lock, NULL), 0);
	cr_assert_eq(sem_init(&n->task_done, 0, 0), 0);
	channel_limits_default(&o.limits);
	cr_assert_eq(channel_server_start(&n->server, &n->loop, &o), ERR_OK);
	(void)snprintf(n->url, sizeof n->url, "tcp://127.0.0.1:%u",
	    (unsigned)channel_server_port(n->server));
	cr_assert_eq(pthread_create(&n->thread, NULL, run, n), 0);
}

struct join {
	const char *const *peer;
	unsigned n_peers;
};

static void
task_join(struct link_node *n, void *arg)
{
	const struct join *j = arg;
	char peer[KMSD_PEERS][KMSD_URL_MAX];
	struct links_options o = { .loop = &n->loop,
		.cx = &n->td.cx,
		.incarnation = n->incarnation,
		.slot = n->slot,
		.peer = (const char(*)[KMSD_URL_MAX])peer,
		.n_peers = j->n_peers,
		.on_message = on_message,
		.cookie = n };

	for (unsigned i = 0; i < j->n_peers; i++)
		(void)snprintf(peer[i], KMSD_URL_MAX, "%s", j->peer[i]);
	cr_assert_eq(links_new(&n->links, &o), ERR_OK);
	links_set_server(n->links, n->server);
	cr_assert_eq(links_start(n->links), ERR_OK);
}

void
link_node_join(struct link_node *n, const char *const *peer, unsigned n_peers)
{
	struct join j = { peer, n_peers };

	cr_assert_eq(incarnation_new(&n->incarnation), ERR_OK);
	link_node_do(n, task_join, &j);
}

struct stopping {
	uint64_t from, ms;
	struct link_node *n;
	sem_t stopped;
};

static void
links_stopped(void *cookie)
{
	struct stopping *s = cookie;

	s->ms = clock_mono_ms() - s->from;
	links_free(s->n->links);
	s->n->links = NULL;
	(void)sem_post(&s->stopped);
}

static void
task_stop_links(struct link_node *n, void *arg)
{
	struct stopping *s = arg;

	s->from = clock_mono_ms();
	if (n->links == NULL)
		links_stopped(s);
	else
		links_stop(n->links, links_stopped, s);
}

static void
server_stopped(void *cookie)
{
	struct link_node *n = cookie;

	uv_close((uv_handle_t *)&n->async, NULL);
}

static void
task_stop(struct link_node *n, void *arg)
{
	(void)arg;
	channel_server_stop(n->server, server_stopped, n);
}

uint64_t
link_node_stop(struct link_node *n)
{
	struct stopping s = { .n = n };

	cr_assert_eq(sem_init(&s.stopped, 0, 0), 0);
	link_node_do(n, task_stop_links, &s);
	while (sem_wait(&s.stopped) != 0)
		;
	link_node_do(n, task_stop, NULL);
	cr_assert_eq(pthread_join(n->thread, NULL), 0);
	cr_assert_eq(uv_loop_close(&n->loop), 0);
	incarnation_free(n->incarnation);
	n->incarnation = NULL;
	kms_caller_close(&n->td);
	free(n->got);
	n->got = NULL;
	(void)pthread_mutex_destroy(&n->lock);
	(void)sem_destroy(&n->task_done);
	(void)sem_destroy(&s.stopped);
	return s.ms;
}

/* ---- what it does ---- */

struct sending {
	struct member to;
	struct bytes b;
};

static void
task_send(struct link_node *n, void *arg)
{
	const struct sending *s = arg;

	links_send(n->links, &s->to, s->b);
}

void
link_node_send(struct link_node *n, const char *slot, const uint8_t *inc,
    uint32_t seq, size_t len)
{
	struct sending s = { 0 };
	uint8_t *p = malloc(len + 1);

	cr_assert_not_null(p);
	fill(p, len, seq);
	s.b = (struct bytes){ p, len };
	if (slot != NULL)
		(void)snprintf(s.to.slot, sizeof s.to.slot, "%s", slot);
	if (inc != NULL)
		memcpy(s.to.incarnation, inc, sizeof s.to.incarnation);
	link_node_do(n, task_send, &s);
	free(p);
}

struct links_peer
link_node_peer(struct link_node *n, unsigned i)
{
	struct links_peer p[KMSD_PEERS];

	cr_assert_gt(links_peers(n->links, p, KMSD_PEERS), i);
	return p[i];
}

static void
task_stats(struct link_node *n, void *arg)
{
	links_stats(n->links, arg);
}

struct links_stats
link_node_stats(struct link_node *n)
{
	struct links_stats s;

	link_node_do(n, task_stats, &s);
	return s;
}

static void
task_drop(struct link_node *n, void *arg)
{
	links_drop(n->links, arg);
}

void
link_node_drop(struct link_node *n, const uint8_t *inc)
{
	uint8_t id[INCARNATION_ID_LEN];

	memcpy(id, inc, sizeof id);
	link_node_do(n, task_drop, id);
}

struct asking {
	struct attested *out;
	const uint8_t *inc;
	bool found;
};

static void
task_attested(struct link_node *n, void *arg)
{
	struct asking *a = arg;

	a->found = links_attested(n->links, a->out, a->inc);
}

bool
link_node_attested(
    struct link_node *n, struct attested *out, const uint8_t *inc)
{
	struct asking a = { out, inc, false };

	link_node_do(n, task_attested, &a);
	return a.found;
}

/* ---- by hand ---- */

struct channel *
link_dial(struct kms_caller *c, const struct link_node *n)
{
	struct channel *ch = NULL;
	struct refusal why = { 0 };

	cr_assert_eq(
	    channel_dial(&ch, &c->cx, c->role, n->url, LINK_WAIT_MS, &why),
	    ERR_OK, "%s: %s", reason_label(why.code), why.detail);
	return ch;
}

enum reason
link_ask(struct channel *ch, KmsRequest *m, KmsReply **reply)
{
	static uint64_t id = 1000;
	struct buf q = { 0 }, a = { 0 };
	struct refusal why = { 0 };
	KmsReply *r = NULL;
	enum err e;

	m->id = ++id;
	cr_assert_eq(msg_request_pack(&q, m), ERR_OK);
	e = channel_call(ch, &a, buf_view(&q), LINK_WAIT_MS, &why);
	buf_fini(&q);
	if (e != ERR_OK)
		return why.code;
	cr_assert_eq(msg_reply_parse(&r, buf_view(&a)), ERR_OK);
	cr_assert_eq(r->id, m->id);
	buf_fini(&a);
	(void)!msg_reply_refusal(r, &why);
	if (reply != NULL && why.code == REASON_NONE)
		*reply = r;
	else
		msg_reply_free(r);
	return why.code;
}

void
link_hello_sign(struct link_hello *h, struct incarnation *i,
    enum channel_role role, const char *slot, const uint8_t *hash)
{
	h->slot = slot;
	memcpy(h->incarnation, incarnation_id(i), sizeof h->incarnation);
	cr_assert_eq(
	    incarnation_sign(h->signature, i, role, slot, hash), ERR_OK);
}

enum reason
link_hello_send(struct channel *ch, const struct link_hello *h)
{
	Devproof__Kms__V1__PeerHello b;
	KmsRequest m = DEVPROOF__KMS__V1__REQUEST__INIT;

	devproof__kms__v1__peer_hello__init(&b);
	b.slot = (char *)(uintptr_t)h->slot;
	b.incarnation = msg_bytes(h->incarnation, sizeof h->incarnation);
	b.signature = msg_bytes(h->signature, sizeof h->signature);
	m.body_case = DEVPROOF__KMS__V1__REQUEST__BODY_PEER_HELLO;
	m.peer_hello = &b;
	return link_ask(ch, &m, NULL);
}

enum reason
link_hello(struct channel *ch, struct incarnation *i, const char *slot)
{
	struct link_hello h;

	link_hello_sign(
	    &h, i, CHANNEL_KMS_PEER, slot, channel_handshake_hash(ch));
	return link_hello_send(ch, &h);
}

enum reason
link_item(struct channel *ch, uint64_t number, uint32_t part, uint32_t parts,
    size_t len)
{
	static uint8_t bytes[LIMIT_LINK_PART + 64];
	struct wr w = { .p = bytes, .cap = sizeof bytes };
	ProtobufCBinaryData item;
	Devproof__Kms__V1__PeerBatch b = DEVPROOF__KMS__V1__PEER_BATCH__INIT;
	KmsRequest m = DEVPROOF__KMS__V1__REQUEST__INIT;

	wr_be64(&w, number);
	wr_be32(&w, part);
	wr_be32(&w, parts);
	cr_assert_leq(len, sizeof bytes - w.len);
	fill(bytes + w.len, len, (uint32_t)number);
	item = msg_bytes(bytes, w.len + len);
	b.message = &item;
	b.n_message = 1;
	m.body_case = DEVPROOF__KMS__V1__REQUEST__BODY_PEER_BATCH;
	m.peer_batch = &b;
	return link_ask(ch, &m, NULL);
}
