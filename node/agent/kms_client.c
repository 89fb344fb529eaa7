#include <assert.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/log.h"
#include "common/base/name.h"

#include "node/agent/cacert.h"
#include "node/agent/kms_client.h"

#define PAUSE_FIRST_MS 500
#define PAUSE_MAX_MS 15000
/* Releases bring the records of all epochs, and msg.c takes no more. */
#define EPOCHS_MAX 256

struct kms_client {
	struct kms_client_options o;
	pthread_mutex_t lock; /* guards all below */
	void *conn; /* kept open between calls, or NULL */
	size_t conn_node;
	/* The node at its other end has released the app's key over it. */
	bool conn_bound;
	/* The releases so far: which roots are the KMS's. */
	bool has_genesis;
	struct k256_pub genesis;
	struct {
		bool known;
		struct k256_pub root;
	} seen[EPOCHS_MAX];
	uint64_t last_epoch; /* of the latest one */
	uint64_t next_id;
	struct refusal last[CONFIG_KMS_URLS];
};

/* One request on its way through the nodes. */
struct exchange {
	KmsRequest *request;
	/* Takes what it needs from a reply that is no error; a reply that
	 * does not hold is refused and the next node asked. */
	enum err (*take)(
	    struct exchange *x, const KmsReply *reply, struct refusal *why);
	void *cookie;
	struct kms_client *client; /* borrows */
	bool past_refusals;
	bool renew;
	bool answered; /* by the node that was tried last, whatever it said */
	bool wants_bound; /* only over a connection that is bound */
	unsigned sent; /* how often it went out */
	uint64_t until_ms; /* 0: for ever */
};

enum err
kms_client_new(struct kms_client **out, const struct kms_client_options *o)
{
	struct kms_client *c;

	assert(o->n_urls > 0 && o->n_urls <= CONFIG_KMS_URLS);
	if ((c = calloc(1, sizeof *c)) == NULL)
		return ERR_NOMEM;
	if (pthread_mutex_init(&c->lock, NULL) != 0) {
		free(c);
		return ERR_NOMEM;
	}
	c->o = *o;
	c->next_id = 1;
	*out = c;
	return ERR_OK;
}

static void
hang_up(struct kms_client *c)
{
	if (c->conn != NULL)
		c->o.transport.close(c->o.transport.cookie, c->conn);
	c->conn = NULL;
	c->conn_bound = false;
}

void
kms_client_free(struct kms_client *c)
{
	if (c == NULL)
		return;
	hang_up(c);
	(void)pthread_mutex_destroy(&c->lock);
	free(c);
}

/* The time for one step: the node's own, or what is left of the whole. */
static unsigned
step_ms(struct kms_client *c, const struct exchange *x)
{
	uint64_t now = c->o.transport.now_ms(c->o.transport.cookie);
	unsigned ms = c->o.attempt_timeout_ms;

	if (x->until_ms == 0)
		return ms;
	if (now >= x->until_ms)
		return 1;
	return x->until_ms - now < ms ? (unsigned)(x->until_ms - now) : ms;
}

/* One request, one reply, on the open connection. */
static enum err
ask(struct kms_client *c, struct exchange *x, struct refusal *why)
{
	const struct kms_transport *t = &c->o.transport;
	struct buf out = { 0 }, in = { 0 };
	KmsReply *reply = NULL;
	enum err e;

	x->request->id = c->next_id++;
	if ((e = msg_request_pack(&out, x->request)) != ERR_OK)
		goto done;
	x->sent++;
	e = t->call(
	    t->cookie, c->conn, &in, buf_view(&out), step_ms(c, x), why);
	if (e != ERR_OK)
		goto done;
	x->answered = true;
	if ((e = msg_reply_parse(&reply, buf_view(&in))) != ERR_OK)
		goto done;
	if (reply->id != x->request->id) {
		e = ERR_MALFORMED;
		goto done;
	}
	if ((e = msg_reply_refusal(reply, why)) == ERR_OK)
		e = x->take(x, reply, why);
done:
	msg_reply_free(reply);
	buf_wipe(&in);
	buf_fini(&out);
	return e;
}

static enum err bind_conn(
    struct kms_client *c, uint64_t until_ms, struct refusal *why);

/* Opens node `i` unless it is the open one, and asks it. */
static enum err
ask_node(struct kms_client *c, struct exchange *x, size_t i)
{
	const struct kms_transport *t = &c->o.transport;
	struct refusal why = { .code = REASON_NONE };
	enum err e = ERR_OK;

	x->answered = false;
	if (c->conn != NULL && c->conn_node != i)
		hang_up(c);
	if (c->conn == NULL) {
		e = t->open(
		    t->cookie, &c->conn, c->o.url[i], step_ms(c, x), &why);
		c->conn_node = i;
	}
	if (e == ERR_OK && x->wants_bound && !c->conn_bound)
		e = bind_conn(c, x->until_ms, &why);
	if (e == ERR_OK)
		e = ask(c, x, &why);
	if (e == ERR_OK) {
		c->last[i].code = REASON_NONE;
		return ERR_OK;
	}
	hang_up(c);
	/* No reason given: the error itself is all there is. */
	if (why.code == REASON_NONE)
		(void)refuse(&why,
		    e == ERR_TIMEOUT ? REASON_TIMEOUT : REASON_INTERNAL, "%s",
		    err_text(e));
	c->last[i] = why;
	log_event(LOG_WARN, "kms_node_failed", log_str("url", c->o.url[i]),
	    log_str("error", err_text(e)), log_why(&why));
	return e;
}

/* "url: text (detail); url: ..." of every node, as far as it fits. */
static void
sum_up(const struct kms_client *c, struct refusal *why)
{
	struct refusal all = { .code = REASON_NONE };
	size_t n = 0;

	for (size_t i = 0; i < c->o.n_urls && n < sizeof all.detail; i++) {
		const struct refusal *r = &c->last[i];
		const char *text = reason_text(r->code);
		/* A node without words of its own repeats the sentence. */
		bool more =
		    r->detail[0] != '\0' && strcmp(r->detail, text) != 0;
		int k;

		if (r->code == REASON_NONE)
			continue;
		if (all.code == REASON_NONE)
			all.code = r->code;
		k = snprintf(all.detail + n, sizeof all.detail - n,
		    "%s%s: %s%s%s%s", n > 0 ? "; " : "", c->o.url[i], text,
		    more ? " (" : "", more ? r->detail : "", more ? ")" : "");
		n += k > 0 ? (size_t)k : 0;
	}
	if (why != NULL)
		*why = all;
}

/* For who only renews, a node that could not be asked has not refused. */
static bool
refused(const struct exchange *x, enum err e)
{
	return e == ERR_DENIED && (x->answered || !x->renew);
}

/* One round: the open connection first, then each node in order.
 * ERR_DENIED only if every node refused. */
static enum err
round_of_all(struct kms_client *c, struct exchange *x)
{
	bool all_refused = true;
	size_t tried = SIZE_MAX;
	enum err e;

	if (c->conn != NULL) {
		tried = c->conn_node;
		if ((e = ask_node(c, x, tried)) == ERR_OK)
			return ERR_OK;
		/* A dead connection says nothing about its node. */
		if (!refused(x, e))
			tried = SIZE_MAX;
	}
	for (size_t i = 0; i < c->o.n_urls; i++) {
		if (i == tried)
			continue;
		if ((e = ask_node(c, x, i)) == ERR_OK)
			return ERR_OK;
		if (!refused(x, e))
			all_refused = false;
	}
	return all_refused ? ERR_DENIED : ERR_AGAIN;
}

static enum err
exchange_run(struct kms_client *c, struct exchange *x, struct refusal *why)
{
	const struct kms_transport *t = &c->o.transport;
	unsigned pause_ms = PAUSE_FIRST_MS;
	enum err e;

	for (;;) {
		uint64_t now;

		e = round_of_all(c, x);
		if (e == ERR_OK)
			return ERR_OK;
		sum_up(c, why);
		if (e == ERR_DENIED && !x->past_refusals)
			return ERR_DENIED;
		if (x->renew)
			return ERR_TIMEOUT;
		now = t->now_ms(t->cookie);
		if (x->until_ms != 0 && now + pause_ms >= x->until_ms)
			return e == ERR_DENIED ? e : ERR_TIMEOUT;
		log_event(LOG_INFO, "kms_retry", log_u64("in_ms", pause_ms));
		if (!t->pause(t->cookie, pause_ms))
			return ERR_AGAIN;
		pause_ms =
		    pause_ms * 2 < PAUSE_MAX_MS ? pause_ms * 2 : PAUSE_MAX_MS;
	}
}

static enum err
exchange_start(struct kms_client *c, struct exchange *x,
    const struct kms_patience *patience, struct refusal *why)
{
	const struct kms_transport *t = &c->o.transport;
	enum err e;

	(void)pthread_mutex_lock(&c->lock);
	x->client = c;
	x->past_refusals = patience->past_refusals;
	x->renew = patience->renew;
	if (patience->total_ms != 0)
		x->until_ms = t->now_ms(t->cookie) + patience->total_ms;
	e = exchange_run(c, x, why);
	(void)pthread_mutex_unlock(&c->lock);
	return e;
}

/* ---- GetAppKeys ---- */

struct keys_wanted {
	struct app_release *out;
	const struct release_terms *terms;
	const uint64_t *epoch;
};

/* A good release: its roots are those of before, and the node is the KMS. */
static enum err
note_root(
    struct kms_client *c, const struct app_release *r, struct refusal *why)
{
	assert(r->epoch < EPOCHS_MAX);
	if (c->has_genesis &&
	    memcmp(&r->genesis, &c->genesis, sizeof c->genesis) != 0)
		return refuse(why, REASON_ROOT_MISMATCH,
		    "epoch 0 had another root before");
	if (c->seen[r->epoch].known &&
	    memcmp(&r->root, &c->seen[r->epoch].root, sizeof r->root) != 0)
		return refuse(why, REASON_ROOT_MISMATCH,
		    "epoch %llu had another root before",
		    (unsigned long long)r->epoch);
	c->has_genesis = true;
	c->genesis = r->genesis;
	c->seen[r->epoch].known = true;
	c->seen[r->epoch].root = r->root;
	c->last_epoch = r->epoch;
	c->conn_bound = true;
	return ERR_OK;
}

static enum err
take_keys(struct exchange *x, const KmsReply *reply, struct refusal *why)
{
	struct keys_wanted *w = x->cookie;
	struct app_release r = { .epoch = 0 };
	enum err e;

	if (reply->body_case != DEVPROOF__KMS__V1__REPLY__BODY_APP_KEYS)
		return ERR_MALFORMED;
	e = release_verify(&r, reply->app_keys, w->terms, w->epoch, why);
	if (e == ERR_OK)
		e = note_root(x->client, &r, why);
	if (e == ERR_OK)
		*w->out = r;
	release_wipe(&r);
	return e;
}

enum err
kms_client_app_keys(struct kms_client *c, struct app_release *out,
    const uint64_t *epoch, const struct kms_patience *patience,
    struct refusal *why)
{
	Devproof__Kms__V1__GetAppKeys get =
	    DEVPROOF__KMS__V1__GET_APP_KEYS__INIT;
	KmsRequest rq = DEVPROOF__KMS__V1__REQUEST__INIT;
	struct keys_wanted w = { out, &c->o.terms, epoch };
	struct exchange x = { .request = &rq, .take = take_keys, .cookie = &w };

	if (epoch != NULL) {
		get.choice_case = DEVPROOF__KMS__V1__GET_APP_KEYS__CHOICE_EPOCH;
		get.epoch = *epoch;
	}
	rq.body_case = DEVPROOF__KMS__V1__REQUEST__BODY_GET_APP_KEYS;
	rq.get_app_keys = &get;
	return exchange_start(c, &x, patience, why);
}

static enum err
bind_by(struct kms_client *c, const uint64_t *epoch, uint64_t until_ms,
    struct refusal *why)
{
	Devproof__Kms__V1__GetAppKeys get =
	    DEVPROOF__KMS__V1__GET_APP_KEYS__INIT;
	KmsRequest rq = DEVPROOF__KMS__V1__REQUEST__INIT;
	struct app_release r = { .epoch = 0 };
	struct keys_wanted w = { &r, &c->o.terms, epoch };
	struct exchange x = { .request = &rq,
		.take = take_keys,
		.cookie = &w,
		.client = c,
		.until_ms = until_ms };
	enum err e;

	if (epoch != NULL) {
		get.choice_case = DEVPROOF__KMS__V1__GET_APP_KEYS__CHOICE_EPOCH;
		get.epoch = *epoch;
	}
	rq.body_case = DEVPROOF__KMS__V1__REQUEST__BODY_GET_APP_KEYS;
	rq.get_app_keys = &get;
	e = ask(c, &x, why);
	release_wipe(&r);
	return e;
}

/* Has the node release the app's key over the open connection: to that only
 * who holds the root can answer, and what it says next comes from the same.
 * By the root that answered last, by number: an epoch may be tainted by now;
 * but if it is gone, or newer than the app's pin, by whatever that is. */
static enum err
bind_conn(struct kms_client *c, uint64_t until_ms, struct refusal *why)
{
	const uint64_t last = c->last_epoch;
	enum err e;

	if (!c->has_genesis)
		return bind_by(c, NULL, until_ms, why);
	e = bind_by(c, &last, until_ms, why);
	if (e == ERR_DENIED &&
	    (why->code == REASON_EPOCH_CLOSED ||
		why->code == REASON_EPOCH_UNKNOWN))
		e = bind_by(c, NULL, until_ms, why);
	return e;
}

/* ---- SignCert ---- */

struct cert_wanted {
	struct buf *chain; /* three */
	const struct kms_cert_request *rq;
};

static enum err
take_cert(struct exchange *x, const KmsReply *reply, struct refusal *why)
{
	struct cert_wanted *w = x->cookie;
	enum err e = ERR_MALFORMED;

	if (reply->body_case != DEVPROOF__KMS__V1__REPLY__BODY_CERT_CHAIN ||
	    reply->cert_chain->n_certs != 3)
		goto done;
	for (size_t i = 0; i < 3; i++) {
		ProtobufCBinaryData b = reply->cert_chain->certs[i];

		if ((e = buf_set(&w->chain[i], b.data, b.len)) != ERR_OK)
			goto done;
	}
	e = cacert_chain(w->chain, w->rq->spki, w->rq->root_spki);
	if (e != ERR_OK)
		e = refuse(
		    why, REASON_ROOT_MISMATCH, "certificate chain is not ours");
done:
	for (size_t i = 0; e != ERR_OK && i < 3; i++)
		buf_fini(&w->chain[i]);
	return e;
}

enum err
kms_client_sign_cert(struct kms_client *c, struct buf chain[static 3],
    const struct kms_cert_request *in, const struct kms_patience *patience,
    struct refusal *why)
{
	Devproof__Kms__V1__SignCert sign;
	KmsRequest rq = DEVPROOF__KMS__V1__REQUEST__INIT;
	struct cert_wanted w = { chain, in };
	struct exchange x = { .request = &rq, .take = take_cert, .cookie = &w };

	devproof__kms__v1__sign_cert__init(&sign);
	/* protobuf-c has no const; nothing is written through these. */
	sign.spki = msg_bytes(in->spki, sizeof in->spki);
	sign.proof = msg_bytes(in->proof.p, in->proof.len);
	sign.subject = (char *)(uintptr_t)in->subject;
	sign.alt_names = (char **)(uintptr_t)in->alt_names;
	sign.n_alt_names = in->n_alt_names;
	sign.usage_server_auth = in->usage_server_auth;
	sign.usage_client_auth = in->usage_client_auth;
	sign.with_app_info = in->with_app_info;
	sign.not_before = in->not_before;
	sign.not_after = in->not_after;
	sign.attestation = msg_bytes(in->attestation.p, in->attestation.len);
	sign.choice_case = DEVPROOF__KMS__V1__SIGN_CERT__CHOICE_EPOCH;
	sign.epoch = in->epoch;
	rq.body_case = DEVPROOF__KMS__V1__REQUEST__BODY_SIGN_CERT;
	rq.sign_cert = &sign;
	return exchange_start(c, &x, patience, why);
}

/* ---- counters ---- */

struct counter_wanted {
	struct kms_counter *out;
	const char *name;
	const uint64_t *expected; /* NULL: only asked for */
};

static enum err
take_counter(struct exchange *x, const KmsReply *reply, struct refusal *why)
{
	const struct counter_wanted *w = x->cookie;
	const Devproof__Kms__V1__Counter *m;

	if (reply->body_case != DEVPROOF__KMS__V1__REPLY__BODY_COUNTER)
		return ERR_MALFORMED;
	m = reply->counter;
	if (strcmp(m->name, w->name) != 0)
		return refuse(why, REASON_REQUEST, "another counter");
	/* One that matched moved by one, one that did not was elsewhere. */
	if (w->expected != NULL &&
	    (m->matched ? m->value == 0 || m->value - 1 != *w->expected
			: m->value == *w->expected))
		return refuse(
		    why, REASON_REQUEST, "the answer contradicts the request");
	*w->out = (struct kms_counter){ .value = m->value,
		.generation = m->generation,
		.index = m->index,
		.matched = w->expected != NULL && m->matched,
		.uncertain =
		    w->expected != NULL && !m->matched && x->sent > 1 };
	return ERR_OK;
}

enum err
kms_client_counter_get(struct kms_client *c, struct kms_counter *out,
    const char *name, const struct kms_patience *patience, struct refusal *why)
{
	Devproof__Kms__V1__CounterGet get;
	KmsRequest rq = DEVPROOF__KMS__V1__REQUEST__INIT;
	struct counter_wanted w = { .out = out, .name = name };
	struct exchange x = { .request = &rq,
		.take = take_counter,
		.cookie = &w,
		.wants_bound = true };

	assert(name_ok(name, KMS_COUNTER_NAME_MAX + 1));
	devproof__kms__v1__counter_get__init(&get);
	get.name = (char *)(uintptr_t)name;
	rq.body_case = DEVPROOF__KMS__V1__REQUEST__BODY_COUNTER_GET;
	rq.counter_get = &get;
	return exchange_start(c, &x, patience, why);
}

enum err
kms_client_counter_increment(struct kms_client *c, struct kms_counter *out,
    const char *name, uint64_t expected,
    const uint8_t operation[static KMS_OPERATION_LEN],
    const struct kms_patience *patience, struct refusal *why)
{
	Devproof__Kms__V1__CounterIncrement inc;
	KmsRequest rq = DEVPROOF__KMS__V1__REQUEST__INIT;
	struct counter_wanted w = {
		.out = out, .name = name, .expected = &expected
	};
	struct exchange x = { .request = &rq,
		.take = take_counter,
		.cookie = &w,
		.wants_bound = true };

	assert(name_ok(name, KMS_COUNTER_NAME_MAX + 1));
	devproof__kms__v1__counter_increment__init(&inc);
	inc.name = (char *)(uintptr_t)name;
	inc.expected = expected;
	inc.operation = msg_bytes(operation, KMS_OPERATION_LEN);
	rq.body_case = DEVPROOF__KMS__V1__REQUEST__BODY_COUNTER_INCREMENT;
	rq.counter_increment = &inc;
	return exchange_start(c, &x, patience, why);
}

void
kms_client_node(struct kms_client *c, size_t i, struct refusal *out)
{
	assert(i < c->o.n_urls);
	(void)pthread_mutex_lock(&c->lock);
	*out = c->last[i];
	(void)pthread_mutex_unlock(&c->lock);
}
