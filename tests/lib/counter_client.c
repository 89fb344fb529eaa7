#include <string.h>
#include <time.h>

#include "common/wire/msg.h"
#include "tests/lib/counter_client.h"

uint64_t
counter_client_now(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

void
counter_client_close(struct counter_client *c)
{
	if (c->conn != NULL)
		c->cvm->transport.close(c->cvm->transport.cookie, c->conn);
	c->conn = NULL;
}

void
counter_client_move(struct counter_client *c, unsigned node)
{
	if (node != c->node)
		counter_client_close(c);
	c->node = node;
}

enum err
counter_client_dial(struct counter_client *c)
{
	const struct kms_transport *t = &c->cvm->transport;

	c->why = (struct refusal){ 0 };
	if (c->conn != NULL)
		return ERR_OK;
	return t->open(t->cookie, &c->conn, c->cvm->config.kms_url[c->node],
	    c->timeout_ms, &c->why);
}

/* Was it refused for good?  These may follow what has been done. */
static enum history_outcome
refused(const struct refusal *why)
{
	return why->code == REASON_UNKNOWN_OUTCOME ||
		why->code == REASON_INTERNAL || why->code == REASON_TIMEOUT
	    ? HISTORY_UNKNOWN
	    : HISTORY_NO;
}

static enum err
take(struct history_op *op, const KmsReply *m)
{
	const Devproof__Kms__V1__Counter *v;

	if (m->body_case != DEVPROOF__KMS__V1__REPLY__BODY_COUNTER)
		return ERR_MALFORMED;
	v = m->counter;
	if (strcmp(v->name, op->counter) != 0)
		return ERR_MALFORMED;
	op->value = v->value;
	op->generation = v->generation;
	op->index = v->index;
	op->outcome = op->kind == HISTORY_GET || v->matched ? HISTORY_OK
							    : HISTORY_MISMATCH;
	return ERR_OK;
}

static enum err
pack(struct buf *out, const struct counter_client *c,
    const struct history_op *op)
{
	Devproof__Kms__V1__CounterGet get;
	Devproof__Kms__V1__CounterIncrement inc;
	KmsRequest rq = DEVPROOF__KMS__V1__REQUEST__INIT;

	devproof__kms__v1__counter_get__init(&get);
	devproof__kms__v1__counter_increment__init(&inc);
	rq.id = c->next_id;
	get.name = inc.name = (char *)(uintptr_t)op->counter;
	inc.expected = op->expected;
	inc.operation = msg_bytes(op->operation, sizeof op->operation);
	if (op->kind == HISTORY_GET) {
		rq.body_case = DEVPROOF__KMS__V1__REQUEST__BODY_COUNTER_GET;
		rq.counter_get = &get;
	} else {
		rq.body_case =
		    DEVPROOF__KMS__V1__REQUEST__BODY_COUNTER_INCREMENT;
		rq.counter_increment = &inc;
	}
	return msg_request_pack(out, &rq);
}

void
counter_client_ask(struct counter_client *c, struct history_op *op)
{
	const struct kms_transport *t = &c->cvm->transport;
	struct buf out = { 0 }, in = { 0 };
	KmsReply *m = NULL;
	enum err e;

	c->next_id++;
	c->why = (struct refusal){ 0 };
	op->node = c->node;
	op->outcome = HISTORY_UNKNOWN;
	op->invoke_ns = counter_client_now();
	if ((e = pack(&out, c, op)) == ERR_OK)
		e = t->call(t->cookie, c->conn, &in, buf_view(&out),
		    c->timeout_ms, &c->why);
	op->return_ns = counter_client_now();
	if (e == ERR_OK && (e = msg_reply_parse(&m, buf_view(&in))) == ERR_OK) {
		if (msg_reply_refusal(m, &c->why) != ERR_OK)
			op->outcome = refused(&c->why);
		else
			e = take(op, m);
	}
	if (e != ERR_OK)
		counter_client_close(c);
	msg_reply_free(m);
	buf_fini(&in);
	buf_fini(&out);
}
