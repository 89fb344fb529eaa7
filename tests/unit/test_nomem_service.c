/* The request table without memory: each request is run as a whole on the
 * node's loop (its worker's part, too), and each of its allocations fails.
 * Nothing leaves but a refusal, and each request has exactly one outcome. */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "common/base/clock.h"
#include "common/base/limits.h"
#include "common/base/log.h"
#include "common/base/secret.h"
#include "common/base/wr.h"
#include "common/wire/signcert.h"
#include "tests/lib/link_node.h"
#include "tests/lib/nomem/failmalloc.h"

#define CONN (1ull << 40) /* no real connection has such a number */

#define SOME 16 /* blocks, that the loop may hold for its own reasons */

/* ---- what the node says ---- */

static struct {
	atomic_uint replies, drops;
	size_t len;
	uint8_t reply[64 * 1024];
} said;

static _Thread_local bool at_once; /* workers run on this thread */

enum err __wrap_channel_server_reply(
    struct channel_server *s, uint64_t conn, struct bytes reply);
enum err __real_channel_server_reply(
    struct channel_server *s, uint64_t conn, struct bytes reply);
void __wrap_channel_server_drop(
    struct channel_server *s, uint64_t conn, enum reason code);
void __real_channel_server_drop(
    struct channel_server *s, uint64_t conn, enum reason code);
int __wrap_uv_queue_work(
    uv_loop_t *l, uv_work_t *w, uv_work_cb work, uv_after_work_cb after);
int __real_uv_queue_work(
    uv_loop_t *l, uv_work_t *w, uv_work_cb work, uv_after_work_cb after);

enum err
__wrap_channel_server_reply(
    struct channel_server *s, uint64_t conn, struct bytes reply)
{
	if (conn < CONN)
		return __real_channel_server_reply(s, conn, reply);
	cr_assert_leq(reply.len, sizeof said.reply);
	cr_assert_gt(reply.len, 0, "an empty reply");
	memcpy(said.reply, reply.p, reply.len);
	said.len = reply.len;
	(void)failmalloc_disarm();
	said.replies++;
	return ERR_OK;
}

void
__wrap_channel_server_drop(
    struct channel_server *s, uint64_t conn, enum reason code)
{
	if (conn < CONN)
		__real_channel_server_drop(s, conn, code);
	else
		said.drops++;
}

int
__wrap_uv_queue_work(
    uv_loop_t *l, uv_work_t *w, uv_work_cb work, uv_after_work_cb after)
{
	if (!at_once)
		return __real_uv_queue_work(l, w, work, after);
	w->loop = l;
	/* As libuv does: it is under way before it begins. */
	work(w);
	after(w, 0);
	return 0;
}

/* The log is not asked to fail in the middle of its step: it would stop the
 * process, as it must (kms/cluster/core.h; test_nomem_cluster). */
bool __wrap_core_next(struct core *c, struct core_action *out);
bool __real_core_next(struct core *c, struct core_action *out);
enum err __wrap_core_step(struct core *c, const struct core_event *e);
enum err __real_core_step(struct core *c, const struct core_event *e);

bool
__wrap_core_next(struct core *c, struct core_action *out)
{
	bool is;

	failmalloc_exempt(true);
	is = __real_core_next(c, out);
	failmalloc_exempt(false);
	return is;
}

enum err
__wrap_core_step(struct core *c, const struct core_event *e)
{
	enum err err;

	failmalloc_exempt(true);
	err = __real_core_step(c, e);
	failmalloc_exempt(false);
	return err;
}

/* Blocks come 12 s apart, and as fast as a test asks for them. */
static _Atomic int64_t later_s;
int64_t __wrap_clock_wall_s(void);
int64_t __real_clock_wall_s(void);

int64_t
__wrap_clock_wall_s(void)
{
	return __real_clock_wall_s() + later_s;
}

static void
next_block(struct kms_world *w)
{
	later_s += 12;
	kms_world_block(w);
}

/* ---- a node in service ---- */

static struct kms_world w;
static struct kms_node *node;
static struct attested app_as, peer_as;
static uint8_t hash[32] = { 5 };

static void
setup(void)
{
	struct kms_caller c;
	struct cluster_genesis g;

	cr_assert_eq(secret_process_init(), ERR_OK);
	log_set_level(LOG_ERROR);
	kms_world_init(&w);
	node = kms_node_start(&w, "a", true);
	kms_caller_boot(&c, &w, CHANNEL_APP, 0x42);
	kms_caller_attested(&app_as, &c);
	kms_caller_close(&c);
	kms_caller_boot(&c, &w, CHANNEL_KMS_PEER, 0x77);
	kms_caller_attested(&peer_as, &c);
	kms_caller_close(&c);
	g = kms_node_genesis(node);
	kms_world_open(&w, &g, incarnation_id(kms_node_incarnation(node)));
	kms_node_wait(node, PHASE_READY);
	kms_node_alone(&w, node);
}

static void
teardown(void)
{
	kms_node_stop(node);
	kms_world_fini(&w);
}

TestSuite(nomem_service, .init = setup, .fini = teardown, .timeout = 240);

/* ---- one request ---- */

struct ask {
	enum channel_role role;
	struct bytes first; /* said before, on the same connection */
	struct bytes request;
	enum failmalloc_mode mode;
	unsigned n;
	bool hit;
	bool later; /* the log is asked: the outcome may come then */
	uint64_t conn;
	unsigned count;
};

static void
ask_on_loop(struct cluster *c, void *arg)
{
	struct ask *a = arg;
	static uint64_t conn = CONN;
	const struct channel_caller who = { .conn = ++conn,
		.role = a->role,
		.peer = a->role == CHANNEL_APP ? &app_as : &peer_as,
		.handshake_hash = hash };

	(void)c;
	at_once = true;
	if (a->first.len > 0) {
		service_on_request(kms_node_service(node), &who, a->first);
		cr_assert_eq(said.replies, 1);
		said.replies = 0;
	}
	failmalloc_arm(FAILMALLOC_THREAD, a->mode, a->n);
	service_on_request(kms_node_service(node), &who, a->request);
	at_once = false;
	/* Until its outcome, whatever the loop does meanwhile. */
	if (!a->later)
		(void)failmalloc_disarm();
	a->conn = conn;
}

static void
close_on_loop(struct cluster *c, void *arg)
{
	struct ask *a = arg;

	(void)c;
	a->count = failmalloc_disarm();
	a->hit = failmalloc_hit();
	service_on_close(kms_node_service(node), ((struct ask *)arg)->conn);
}

/* The reply, or NULL: dropped.  The caller owns it. */
static KmsReply *
ask(struct ask *a)
{
	KmsReply *r = NULL;

	said.replies = said.drops = 0;
	kms_node_do(node, ask_on_loop, a);
	if (a->later)
		KMS_UNTIL(said.replies + said.drops > 0);
	kms_node_do(node, close_on_loop, a);
	if (said.replies + said.drops != 1)
		failmalloc_say("a request without one outcome", 0);
	cr_assert_eq(said.replies + said.drops, 1);
	if (said.replies == 1)
		cr_assert_eq(
		    msg_reply_parse(&r, (struct bytes){ said.reply, said.len }),
		    ERR_OK);
	return r;
}

struct request {
	const char *name;
	enum channel_role role;
	KmsRequest m;
	bool cold; /* ask the chain anew each time */
	bool later;
	bool slow; /* asked again every sixth time alone */
	struct bytes first;
	unsigned least; /* allocations */
	bool sparse;
	void (*check)(const KmsReply *r, const KmsReply *want);
};

/* No byte of what `want` has leaves with a refusal. */
static void
nothing_released(const KmsReply *r, const KmsReply *want)
{
	cr_assert_eq(r->body_case, DEVPROOF__KMS__V1__REPLY__BODY_ERROR);
	if (want->body_case == DEVPROOF__KMS__V1__REPLY__BODY_JOINED)
		cr_assert_null(memmem(said.reply, said.len,
		    want->joined->keys[0]->wrap_key.data, 32));
	if (want->body_case != DEVPROOF__KMS__V1__REPLY__BODY_APP_KEYS)
		return;
	cr_assert_null(
	    memmem(said.reply, said.len, want->app_keys->k256_key.data, 32));
	cr_assert_null(memmem(
	    said.reply, said.len, want->app_keys->disk_crypt_key.data, 32));
	cr_assert_null(memmem(
	    said.reply, said.len, want->app_keys->env_crypt_key.data, 32));
}

/* To be asked again, here or elsewhere: nobody is told that he may not. */
static void
not_final(const struct request *q, const KmsReply *r)
{
	struct refusal why = { 0 };

	if (msg_reply_refusal(r, &why) == ERR_AGAIN)
		return;
	failmalloc_say(q->name, 0);
	cr_assert_fail(
	    "%s: %s: %s", q->name, reason_label(why.code), why.detail);
}

static void
sweep(const struct request *q, struct bytes packed, const KmsReply *want,
    enum failmalloc_mode mode, unsigned *n_out)
{
	struct ask a = { .role = q->role,
		.request = packed,
		.mode = mode,
		.later = q->later,
		.first = q->first };
	unsigned n, count, tried = 0;

	for (n = 1;; n++) {
		KmsReply *r;

		n = failmalloc_next(n);
		tried++;

		if (q->cold)
			next_block(&w);
		a.n = n;
		r = ask(&a);
		count = a.count;
		if (!a.hit) {
			msg_reply_free(r);
			break;
		}
		if (r == NULL) {
			/* dropped: it may dial again */
		} else if (r->body_case ==
		    DEVPROOF__KMS__V1__REPLY__BODY_ERROR) {
			nothing_released(r, want);
			not_final(q, r);
		} else {
			/* What failed was not needed: the right answer. */
			cr_assert_eq(r->body_case, want->body_case);
			q->check(r, want);
		}
		msg_reply_free(r);
		if (q->slow && n % 6 != 0)
			continue;
		/* And with memory, at once; or when the chain may be asked
		 * again, if that has failed. */
		if (q->cold)
			next_block(&w);
		a.n = 0;
		r = ask(&a);
		if (r == NULL || r->body_case != want->body_case) {
			cr_assert_fail("%s: not again after %u of %u: %s",
			    q->name, n, count,
			    r != NULL ? r->error->reason : "dropped");
		}
		q->check(r, want);
		msg_reply_free(r);
	}
	*n_out = n - 1;
	if (getenv("NOMEM_SAY") != NULL)
		fprintf(stderr, "%s: %u of %u allocations\n", q->name,
		    tried - 1, n - 1);
}

/* The loop's blocks alone: threads that dial come and go. */
static void
mark_on_loop(struct cluster *c, void *arg)
{
	(void)c, (void)arg;
	failmalloc_mark(FAILMALLOC_THREAD, false);
}

/* Twice: what is held after the second time is what was after the first. */
static void
each(struct request *q)
{
	struct buf packed = { 0 };
	struct ask a = {
		.role = q->role, .later = q->later, .first = q->first
	};
	unsigned n = 0, held;
	KmsReply *want;

	q->m.id = 7;
	cr_assert_eq(msg_request_pack(&packed, &q->m), ERR_OK);
	a.request = buf_view(&packed);
	cr_assert_not_null(want = ask(&a));
	cr_assert_neq(want->body_case, DEVPROOF__KMS__V1__REPLY__BODY_ERROR,
	    "%s: %s", q->name, want->error != NULL ? want->error->reason : "");
	msg_reply_free(want);
	failmalloc_learn(q->sparse ? FAILMALLOC_OURS : FAILMALLOC_EVERY);
	want = ask(&a);
	failmalloc_learn(FAILMALLOC_NONE);
	kms_node_do(node, mark_on_loop, NULL);
	sweep(q, buf_view(&packed), want, FAILMALLOC_ONE, &n);
	cr_assert_geq(n, q->least, "%s: %u allocations", q->name, n);
	held = failmalloc_held();
	/* Without any memory no message leaves, and the log waits for its
	 * time limits. */
	if (!q->slow)
		sweep(q, buf_view(&packed), want, FAILMALLOC_ALL, &n);
	/* But for the log, which grows. */
	if (!q->later && failmalloc_held() > held + n / 8 + SOME)
		failmalloc_say(q->name, 8);
	cr_assert(q->later || failmalloc_held() <= held + n / 8 + SOME,
	    "%s: %u, then %u", q->name, held, failmalloc_held());
	msg_reply_free(want);
	buf_fini(&packed);
}

/* ---- the rows ---- */

static bool
same(ProtobufCBinaryData a, ProtobufCBinaryData b)
{
	return a.len == b.len && memcmp(a.data, b.data, a.len) == 0;
}

static void
check_meta(const KmsReply *r, const KmsReply *want)
{
	cr_assert_eq(r->meta->n_epochs, want->meta->n_epochs);
	cr_assert(same(
	    r->meta->epochs[0]->k256_pub, want->meta->epochs[0]->k256_pub));
	cr_assert(
	    same(r->meta->epochs[0]->ca_cert, want->meta->epochs[0]->ca_cert));
}

Test(nomem_service, get_meta)
{
	Devproof__Kms__V1__GetMeta b = DEVPROOF__KMS__V1__GET_META__INIT;
	struct request q = { .name = "GetMeta",
		.role = CHANNEL_APP,
		.m = DEVPROOF__KMS__V1__REQUEST__INIT,
		.least = 4,
		.check = check_meta };

	q.m.body_case = DEVPROOF__KMS__V1__REQUEST__BODY_GET_META;
	q.m.get_meta = &b;
	each(&q);
}

static void
check_keys(const KmsReply *r, const KmsReply *want)
{
	const Devproof__Kms__V1__AppKeys *a = r->app_keys, *b = want->app_keys;

	cr_assert(same(a->app_id, b->app_id));
	cr_assert(same(a->k256_key, b->k256_key));
	cr_assert(same(a->k256_signature, b->k256_signature));
	cr_assert(same(a->disk_crypt_key, b->disk_crypt_key));
	cr_assert(same(a->env_crypt_key, b->env_crypt_key));
	cr_assert(same(a->replica_key, b->replica_key));
	cr_assert(same(a->replica_signature, b->replica_signature));
	cr_assert(same(a->ca_cert, b->ca_cert));
	cr_assert(same(a->os_image_hash, b->os_image_hash));
	cr_assert_eq(a->epoch, b->epoch);
	cr_assert_eq(a->n_epochs, b->n_epochs);
	cr_assert(same(a->kms_contract, b->kms_contract));
}

static void
keys(bool cold, unsigned least)
{
	Devproof__Kms__V1__GetAppKeys b = DEVPROOF__KMS__V1__GET_APP_KEYS__INIT;
	struct request q = { .sparse = cold,
		.name = cold ? "GetAppKeys, cold" : "GetAppKeys",
		.role = CHANNEL_APP,
		.m = DEVPROOF__KMS__V1__REQUEST__INIT,
		.cold = cold,
		.least = least,
		.check = check_keys };

	q.m.body_case = DEVPROOF__KMS__V1__REQUEST__BODY_GET_APP_KEYS;
	q.m.get_app_keys = &b;
	each(&q);
}

/* At a block whose answers are there, */
Test(nomem_service, get_app_keys)
{
	keys(false, 6);
}

/* and at a new one each time: the gate, its reads, and libcurl. */
Test(nomem_service, get_app_keys_cold)
{
	keys(true, 60);
}

static void
check_cert(const KmsReply *r, const KmsReply *want)
{
	cr_assert_eq(r->cert_chain->n_certs, 3);
	cr_assert_eq(want->cert_chain->n_certs, 3);
	for (size_t i = 0; i < 3; i++)
		cr_assert_gt(r->cert_chain->certs[i].len, 200);
}

Test(nomem_service, sign_cert)
{
	Devproof__Kms__V1__SignCert b;
	struct request q = { .name = "SignCert",
		.role = CHANNEL_APP,
		.m = DEVPROOF__KMS__V1__REQUEST__INIT,
		.least = 100,
		.sparse = true,
		.check = check_cert };
	uint8_t spki[P256_SPKI_LEN], text[SIGNCERT_LEN], proof[80];
	char *names[] = { "localhost", "127.0.0.1" };
	struct p256_secret s;
	struct p256_pub pub;
	size_t len;

	p256_generate(&s);
	cr_assert_eq(p256_pubkey(&pub, &s), ERR_OK);
	cr_assert_eq(p256_spki(spki, &pub), ERR_OK);
	signcert_message(text, app_as.boot.app_id, spki);
	cr_assert_eq(p256_sign_der(proof, &len, &s, text, sizeof text), ERR_OK);
	devproof__kms__v1__sign_cert__init(&b);
	b.spki = msg_bytes(spki, sizeof spki);
	b.proof = msg_bytes(proof, len);
	b.subject = "app.example";
	b.alt_names = names;
	b.n_alt_names = 2;
	b.usage_server_auth = true;
	b.with_app_info = true;
	q.m.body_case = DEVPROOF__KMS__V1__REQUEST__BODY_SIGN_CERT;
	q.m.sign_cert = &b;
	each(&q);
}

static void
check_env(const KmsReply *r, const KmsReply *want)
{
	cr_assert(same(
	    r->app_env_pub_key->public_key, want->app_env_pub_key->public_key));
	cr_assert(same(
	    r->app_env_pub_key->signature, want->app_env_pub_key->signature));
}

Test(nomem_service, env_pub)
{
	Devproof__Kms__V1__GetAppEnvPubKey b =
	    DEVPROOF__KMS__V1__GET_APP_ENV_PUB_KEY__INIT;
	struct request q = { .name = "GetAppEnvPubKey",
		.role = CHANNEL_APP,
		.m = DEVPROOF__KMS__V1__REQUEST__INIT,
		.least = 4,
		.check = check_env };

	b.app_id = msg_bytes(app_as.boot.app_id, 20);
	q.m.body_case = DEVPROOF__KMS__V1__REQUEST__BODY_GET_APP_ENV_PUB_KEY;
	q.m.get_app_env_pub_key = &b;
	each(&q);
}

static void
check_welcome(const KmsReply *r, const KmsReply *want)
{
	cr_assert(same(
	    r->peer_welcome->incarnation, want->peer_welcome->incarnation));
}

static struct incarnation *me;

/* A Hello as slot "b", packed; the caller owns it. */
static void
pack_hello(struct buf *out)
{
	Devproof__Kms__V1__PeerHello b;
	KmsRequest m = DEVPROOF__KMS__V1__REQUEST__INIT;
	uint8_t sig[INCARNATION_SIG_LEN];

	cr_assert_eq(incarnation_new(&me), ERR_OK);
	cr_assert_eq(
	    incarnation_sign(sig, me, CHANNEL_KMS_PEER, "b", hash), ERR_OK);
	devproof__kms__v1__peer_hello__init(&b);
	b.slot = "b";
	b.incarnation = msg_bytes(incarnation_id(me), INCARNATION_ID_LEN);
	b.signature = msg_bytes(sig, sizeof sig);
	m.id = 6;
	m.body_case = DEVPROOF__KMS__V1__REQUEST__BODY_PEER_HELLO;
	m.peer_hello = &b;
	cr_assert_eq(msg_request_pack(out, &m), ERR_OK);
}

Test(nomem_service, peer_hello)
{
	struct request q = { .name = "PeerHello",
		.role = CHANNEL_KMS_PEER,
		.m = DEVPROOF__KMS__V1__REQUEST__INIT,
		.least = 4,
		.check = check_welcome };
	struct buf hello = { 0 };
	KmsRequest *m = NULL;

	pack_hello(&hello);
	cr_assert_eq(msg_request_parse(&m, buf_view(&hello)), ERR_OK);
	q.m = *m;
	each(&q);
	msg_request_free(m);
	buf_fini(&hello);
	incarnation_free(me);
}

static void
check_receipt(const KmsReply *r, const KmsReply *want)
{
	cr_assert_eq(r->body_case, want->body_case);
}

/* A message of two parts, and one that is whole. */
Test(nomem_service, peer_batch)
{
	Devproof__Kms__V1__PeerBatch b = DEVPROOF__KMS__V1__PEER_BATCH__INIT;
	struct request q = { .name = "PeerBatch",
		.role = CHANNEL_KMS_PEER,
		.m = DEVPROOF__KMS__V1__REQUEST__INIT,
		.least = 6,
		.check = check_receipt };
	static uint8_t bytes[3][16 + LIMIT_LINK_PART];
	ProtobufCBinaryData item[3];
	struct buf hello = { 0 };

	for (unsigned i = 0; i < 3; i++) {
		size_t len = i == 0 ? LIMIT_LINK_PART : 100;
		struct wr at = { .p = bytes[i], .cap = sizeof bytes[i] };

		wr_be64(&at, i < 2 ? 0 : 1);
		wr_be32(&at, i < 2 ? i : 0);
		wr_be32(&at, i < 2 ? 2 : 1);
		item[i] = msg_bytes(bytes[i], at.len + len);
	}
	pack_hello(&hello);
	q.first = buf_view(&hello);
	b.message = item;
	b.n_message = 3;
	q.m.body_case = DEVPROOF__KMS__V1__REQUEST__BODY_PEER_BATCH;
	q.m.peer_batch = &b;
	each(&q);
	buf_fini(&hello);
	incarnation_free(me);
}

/* ---- what the log is asked: its outcome comes later ---- */

static void
check_counter(const KmsReply *r, const KmsReply *want)
{
	cr_assert_str_eq(r->counter->name, want->counter->name);
	cr_assert_eq(r->counter->value, want->counter->value);
}

Test(nomem_service, counter_get)
{
	Devproof__Kms__V1__CounterGet b;
	struct request q = { .name = "CounterGet",
		.role = CHANNEL_APP,
		.m = DEVPROOF__KMS__V1__REQUEST__INIT,
		.least = 4,
		.later = true,
		.check = check_counter };

	devproof__kms__v1__counter_get__init(&b);
	b.name = "n";
	q.m.body_case = DEVPROOF__KMS__V1__REQUEST__BODY_COUNTER_GET;
	q.m.counter_get = &b;
	each(&q);
}

/* The same attempt again and again: one effect. */
Test(nomem_service, counter_increment)
{
	Devproof__Kms__V1__CounterIncrement b;
	struct request q = { .name = "CounterIncrement",
		.role = CHANNEL_APP,
		.m = DEVPROOF__KMS__V1__REQUEST__INIT,
		.least = 4,
		.later = true,
		.check = check_counter };
	uint8_t op[16] = { 3 };

	devproof__kms__v1__counter_increment__init(&b);
	b.name = "n";
	b.expected = 0;
	b.operation = msg_bytes(op, sizeof op);
	q.m.body_case = DEVPROOF__KMS__V1__REQUEST__BODY_COUNTER_INCREMENT;
	q.m.counter_increment = &b;
	each(&q);
}

static void
check_joined(const KmsReply *r, const KmsReply *want)
{
	cr_assert_eq(r->joined->n_keys, 1);
	cr_assert(same(
	    r->joined->keys[0]->wrap_key, want->joined->keys[0]->wrap_key));
}

/* The hand-over of the roots' key, to a member that asks once more. */
Test(nomem_service, join)
{
	Devproof__Kms__V1__Join j;
	struct request q = { .name = "Join",
		.role = CHANNEL_KMS_PEER,
		.m = DEVPROOF__KMS__V1__REQUEST__INIT,
		.least = 6,
		.later = true,
		.slow = true,
		.check = check_joined };
	uint8_t sig[INCARNATION_SIG_LEN];
	struct incarnation *i;
	struct kms_node *b;

	w.anchor.n_seats = 3;
	kms_world_anchor(&w);
	kms_world_block(&w);
	b = kms_node_start(&w, "b", false);
	kms_node_wait(b, PHASE_READY);
	i = kms_node_incarnation(b);
	cr_assert_eq(
	    incarnation_sign(sig, i, CHANNEL_KMS_PEER, "b", hash), ERR_OK);
	devproof__kms__v1__join__init(&j);
	j.slot = "b";
	j.incarnation = msg_bytes(incarnation_id(i), INCARNATION_ID_LEN);
	j.signature = msg_bytes(sig, sizeof sig);
	q.m.body_case = DEVPROOF__KMS__V1__REQUEST__BODY_JOIN;
	q.m.join = &j;
	each(&q);
	kms_node_stop(b);
}
