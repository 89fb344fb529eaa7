/* Messages without memory: none is read or written in part, and nobody is told
 * that what was sent is malformed. */
#include <string.h>

#include <criterion/criterion.h>

#include "common/base/hex.h"
#include "common/base/secret.h"
#include "common/wire/msg.h"
#include "common/wire/pbjson.h"
#include "tests/lib/nomem/nomem.h"

#define K(name) (&devproof__kms__v1__##name##__descriptor)

static void
setup(void)
{
	cr_assert_eq(secret_process_init(), ERR_OK);
}

TestSuite(nomem_wire, .init = setup, .timeout = 120);

/* ---- protobuf and JSON ---- */

struct job {
	const ProtobufCMessageDescriptor *d;
	const char *hex, *json; /* the same message; json NULL: not one */
	struct buf in, out;
	json_t *v;
};

static void
make_job(void *arg)
{
	struct job *j = arg;

	cr_assert_eq(buf_reserve(&j->in, strlen(j->hex) / 2 + 1), ERR_OK);
	cr_assert_eq(hex_decode(j->in.p, strlen(j->hex) / 2, &j->in.len, j->hex,
			 strlen(j->hex)),
	    ERR_OK);
}

static void
free_job(void *arg)
{
	struct job *j = arg;

	buf_fini(&j->in);
	buf_fini(&j->out);
	json_decref(j->v);
	j->v = NULL;
}

static enum err
read_job(void *arg)
{
	struct job *j = arg;
	enum err e;

	json_decref(j->v);
	j->v = NULL;
	e = pbjson_read(&j->v, j->d, buf_view(&j->in));
	cr_assert((e == ERR_OK) == (j->v != NULL));
	/* It is refused for what it is, and for nothing else. */
	return e == ERR_MALFORMED && j->json == NULL ? ERR_OK : e;
}

static void
check_read(void *arg, enum err e)
{
	struct job *j = arg;
	json_t *want;

	if (e != ERR_OK || j->json == NULL)
		return;
	want = json_loads(j->json, 0, NULL);
	cr_assert(json_equal(j->v, want));
	json_decref(want);
}

Test(nomem_wire, pbjson_read)
{
	struct job jobs[] = {
		{ .d = K(request),
		    .hex = "080b3a030a01613a041202abcd3a030a0162",
		    .json = "{\"id\":11,\"peer_hello\":{\"slot\":\"b\","
			    "\"incarnation\":\"abcd\"}}" },
		{ .d = K(join),
		    .hex = "0a01611202abcd20012202020322020405",
		    .json = "{\"slot\":\"a\",\"incarnation\":\"abcd\","
			    "\"want\":[1,2,3,4,5]}" },
		{ .d = K(request), .hex = "080b3a030a01ff" },
	};
	const struct nomem_op op = { .name = "pbjson_read",
		.setup = make_job,
		.run = read_job,
		.check = check_read,
		.fini = free_job };

	for (size_t i = 0; i < sizeof jobs / sizeof jobs[0]; i++)
		cr_assert_gt(nomem_each(&op, &jobs[i]), 3);
}

static void
make_object(void *arg)
{
	struct job *j = arg;

	make_job(arg);
	j->v = json_loads(j->json, 0, NULL);
	cr_assert_not_null(j->v);
}

static enum err
write_job(void *arg)
{
	struct job *j = arg;

	j->out.len = 0;
	return pbjson_write(&j->out, j->d, j->v);
}

static void
check_written(void *arg, enum err e)
{
	struct job *j = arg;

	if (e != ERR_OK) {
		cr_assert_eq(j->out.len, 0);
		return;
	}
	cr_assert_eq(j->out.len, j->in.len);
	cr_assert_arr_eq(j->out.p, j->in.p, j->in.len);
}

Test(nomem_wire, pbjson_write)
{
	struct job j = { .d = K(request),
		.hex = "080b3a070a01621202abcd",
		.json = "{\"id\":11,\"peer_hello\":{\"slot\":\"b\","
			"\"incarnation\":\"abcd\"}}" };
	const struct nomem_op op = { .name = "pbjson_write",
		.setup = make_object,
		.run = write_job,
		.check = check_written,
		.fini = free_job };

	cr_assert_geq(nomem_each(&op, &j), 1);
}

/* ---- requests and replies ---- */

struct exchange {
	struct buf request, reply; /* packed */
	struct buf out;
	KmsRequest *rq;
	KmsReply *rp;
};

static void
make_exchange(void *arg)
{
	struct exchange *x = arg;
	Devproof__Kms__V1__CounterIncrement i;
	KmsRequest m = DEVPROOF__KMS__V1__REQUEST__INIT;
	static const uint8_t operation[16] = { 1 };
	char name[] = "counter.of.mine";

	devproof__kms__v1__counter_increment__init(&i);
	i.name = name;
	i.operation = msg_bytes(operation, sizeof operation);
	m.body_case = DEVPROOF__KMS__V1__REQUEST__BODY_COUNTER_INCREMENT;
	m.counter_increment = &i;
	cr_assert_eq(msg_request_pack(&x->request, &m), ERR_OK);
	cr_assert_eq(
	    msg_error_pack(&x->reply, 7, REASON_RATE, "a text"), ERR_OK);
}

static void
free_exchange(void *arg)
{
	struct exchange *x = arg;

	buf_fini(&x->request);
	buf_fini(&x->reply);
	buf_fini(&x->out);
	msg_request_free(x->rq);
	msg_reply_free(x->rp);
	*x = (struct exchange){ .rq = NULL };
}

static enum err
parse_exchange(void *arg)
{
	struct exchange *x = arg;
	enum err e;

	msg_request_free(x->rq);
	msg_reply_free(x->rp);
	x->rq = NULL;
	x->rp = NULL;
	e = msg_request_parse(&x->rq, buf_view(&x->request));
	cr_assert((e == ERR_OK) == (x->rq != NULL));
	if (e != ERR_OK)
		return e;
	e = msg_reply_parse(&x->rp, buf_view(&x->reply));
	cr_assert((e == ERR_OK) == (x->rp != NULL));
	return e;
}

Test(nomem_wire, parse)
{
	struct exchange x = { .rq = NULL };
	const struct nomem_op op = { .name = "msg_parse",
		.setup = make_exchange,
		.run = parse_exchange,
		.fini = free_exchange };

	cr_assert_gt(nomem_each(&op, &x), 4);
}

static enum err
pack_error(void *arg)
{
	struct exchange *x = arg;
	enum err e;

	buf_fini(&x->out);
	e = msg_error_pack(&x->out, 7, REASON_RATE, "a text");
	cr_assert_eq(x->out.len, e == ERR_OK ? x->reply.len : 0);
	return e;
}

static enum err
pack_request(void *arg)
{
	struct exchange *x = arg;
	Devproof__Kms__V1__GetMeta meta = DEVPROOF__KMS__V1__GET_META__INIT;
	KmsRequest m = DEVPROOF__KMS__V1__REQUEST__INIT;
	enum err e;

	m.body_case = DEVPROOF__KMS__V1__REQUEST__BODY_GET_META;
	m.get_meta = &meta;
	buf_fini(&x->out);
	e = msg_request_pack(&x->out, &m);
	cr_assert_eq(x->out.len, e == ERR_OK ? 2 : 0);
	return e;
}

Test(nomem_wire, pack)
{
	struct exchange x = { .rq = NULL };
	struct nomem_op op = { .name = "msg_error_pack",
		.setup = make_exchange,
		.run = pack_error,
		.fini = free_exchange };

	cr_assert_geq(nomem_each(&op, &x), 1);
	op.name = "msg_request_pack";
	op.run = pack_request;
	cr_assert_geq(nomem_each(&op, &x), 1);
}
