/* fuzz_links: the answering side of links between nodes.
 *
 * Targets: links_request (Hello, batches), links_closed, links_part_take,
 * incarnation_verify; msg_request_parse before them.
 *
 * Input: steps {op, conn, a, b}, conn % 8 is a connection with a role and an
 * owner of its own, op % 8:
 *   0 a Hello of incarnation a; b: 1 its signature is for another session,
 *     2 ... for the answering role, 4 ... is of another incarnation
 *   1 a batch with a message of a bytes, whole; b: its number is off by so much
 *   2 ... of two parts, the second in the next batch
 *   3 a request as it is: a bytes that follow
 *   4 the connection ends              5 its owner has another machine
 *   6 incarnation a is dropped         7 connection 6 is an app (a odd), or not
 *
 * Asserted: a message is given on only as that of the incarnation which signed
 * this very session, whose connection lives, on the machine that it said it
 * with, in order; an incarnation has one session; who is refused leaves no
 * state; memory is within the bounds of one message. */
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "common/base/log.h"
#include "common/base/rd.h"
#include "common/base/secret.h"
#include "common/base/wr.h"
#include "fuzz/must.h"
#include "kms/cluster/links_int.h"

#define CONNS 8
#define IDS 4
#define STEPS 128

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct conn {
	enum channel_role role;
	struct attested who;
	uint8_t handshake[32];
	/* The model: who said Hello here, -1: nobody. */
	int said;
	uint64_t number; /* of the next message */
	uint8_t device[32];
	bool broken;
} conn[CONNS];
static uint8_t id[IDS][32], key[IDS][64];
static struct incarnation *own;
static struct links l;
static unsigned now; /* which connection speaks */
static uint64_t messages;

/* What the links drop. */
void
channel_server_drop(struct channel_server *s, uint64_t c, enum reason why)
{
	(void)s;
	must(c >= 1 && c <= CONNS && why != REASON_NONE);
	conn[c - 1].said = -1;
	links_closed(&l, c);
}

static void
on_message(void *cookie, const struct member *from, struct bytes bytes)
{
	const struct conn *c = &conn[now];

	(void)cookie;
	must(c->said >= 0 && !c->broken && bytes.len > 0);
	must(memcmp(from->incarnation, id[c->said], 32) == 0);
	must(memcmp(from->device_id, c->who.boot.device_id, 32) == 0);
	messages++;
}

static void
check(void)
{
	unsigned used = 0, model = 0;

	for (unsigned i = 0; i < LIMIT_LINK_SESSIONS; i++) {
		const struct inbound *in = &l.inbound[i];

		used += in->used;
		if (!in->used)
			must(in->parts.b.p == NULL);
		must(in->parts.b.cap <= 2 * LIMIT_LINK_PART + 4096);
	}
	for (unsigned i = 0; i < CONNS; i++) {
		model += conn[i].said >= 0;
		for (unsigned k = 0; k < i; k++)
			must(conn[i].said < 0 || conn[i].said != conn[k].said);
	}
	must(used == model);
}

/* ---- requests ---- */

static enum err
ask(unsigned c, const KmsRequest *m)
{
	const struct channel_caller who = { .conn = c + 1,
		.role = conn[c].role,
		.peer = &conn[c].who,
		.handshake_hash = conn[c].handshake };
	struct buf reply = { 0 };
	struct refusal why = { 0 };
	enum err e;

	now = c;
	e = links_request(&l, &who, m, &reply, &why);
	must(e == ERR_OK ? reply.len > 0 : why.code != REASON_NONE);
	must(e != ERR_OK || conn[c].role == CHANNEL_KMS_PEER);
	buf_fini(&reply);
	return e;
}

static void
hello(unsigned c, uint8_t a, uint8_t b)
{
	static const char slot[] = "p1";
	unsigned i = a % IDS;
	uint8_t text[128], sig[64];
	struct wr w = { .p = text, .cap = sizeof text };
	Devproof__Kms__V1__PeerHello h;
	KmsRequest m = DEVPROOF__KMS__V1__REQUEST__INIT;
	bool good = (b & 7) == 0 && conn[c].role == CHANNEL_KMS_PEER &&
	    conn[c].said < 0;

	wr_str(&w, "devproof-kms/peer-hello/v1");
	wr_u8(&w, (b & 2) != 0 ? CHANNEL_KMS_SERVER : CHANNEL_KMS_PEER);
	wr_u8(&w, sizeof slot - 1);
	wr_str(&w, slot);
	wr_bytes(&w, conn[(b & 1) != 0 ? (c + 1) % CONNS : c].handshake, 32);
	must(crypto_sign_detached(sig, NULL, text, w.len,
		 key[(b & 4) != 0 ? (i + 1) % IDS : i]) == 0);
	devproof__kms__v1__peer_hello__init(&h);
	h.slot = (char *)(uintptr_t)slot;
	h.incarnation = msg_bytes(id[i], 32);
	h.signature = msg_bytes(sig, 64);
	m.body_case = DEVPROOF__KMS__V1__REQUEST__BODY_PEER_HELLO;
	m.peer_hello = &h;
	must((ask(c, &m) == ERR_OK) == good);
	if (!good)
		return;
	conn[c].said = (int)i;
	conn[c].number = 0;
	conn[c].broken = false;
	memcpy(conn[c].device, conn[c].who.boot.device_id, 32);
}

static enum err
batch(unsigned c, uint64_t number, uint32_t part, uint32_t parts, size_t len)
{
	static uint8_t item[LINKS_PART_HEAD + LIMIT_LINK_PART + 1];
	struct wr w = { .p = item, .cap = sizeof item };
	Devproof__Kms__V1__PeerBatch b;
	ProtobufCBinaryData d;
	KmsRequest m = DEVPROOF__KMS__V1__REQUEST__INIT;

	wr_be64(&w, number);
	wr_be32(&w, part);
	wr_be32(&w, parts);
	d = msg_bytes(item, LINKS_PART_HEAD + len);
	devproof__kms__v1__peer_batch__init(&b);
	b.n_message = 1;
	b.message = &d;
	m.body_case = DEVPROOF__KMS__V1__REQUEST__BODY_PEER_BATCH;
	m.peer_batch = &b;
	return ask(c, &m);
}

static bool
speaks(const struct conn *c)
{
	return c->said >= 0 && !c->broken &&
	    memcmp(c->device, c->who.boot.device_id, 32) == 0;
}

static void
whole(unsigned c, uint8_t len, uint8_t off)
{
	struct conn *x = &conn[c];
	bool good = speaks(x) && len > 0 && off == 0;
	uint64_t before = messages;

	must((batch(c, x->number + off, 0, 1, len) == ERR_OK) == good);
	must(messages == before + good);
	x->number += good;
	x->broken = x->broken || (x->said >= 0 && !good);
}

static void
halves(unsigned c, uint8_t len, uint8_t off)
{
	struct conn *x = &conn[c];
	bool good = speaks(x);
	uint64_t before = messages;

	must((batch(c, x->number, 0, 2, LIMIT_LINK_PART) == ERR_OK) == good);
	must(messages == before);
	x->broken = x->broken || (x->said >= 0 && !good);
	if (!good)
		return;
	check();
	good = len > 0 && off == 0;
	must((batch(c, x->number, 1 + off, 2, len) == ERR_OK) == good);
	must(messages == before + good);
	x->number += good;
	x->broken = !good;
}

static void
as_it_is(unsigned c, struct bytes in)
{
	KmsRequest *m = NULL;

	if (msg_request_parse(&m, in) != ERR_OK)
		return;
	/* It may be a batch; what it does to the number is not modelled. */
	if (m->body_case == DEVPROOF__KMS__V1__REQUEST__BODY_PEER_BATCH &&
	    m->peer_batch->n_message > 0)
		must(conn[c].said >= 0 || ask(c, m) != ERR_OK);
	else if (ask(c, m) == ERR_OK)
		must(m->body_case ==
			DEVPROOF__KMS__V1__REQUEST__BODY_PEER_BATCH &&
		    speaks(&conn[c]));
	else if (m->body_case == DEVPROOF__KMS__V1__REQUEST__BODY_PEER_BATCH)
		conn[c].broken = conn[c].broken || conn[c].said >= 0;
	msg_request_free(m);
}

static void
step(struct rd *in)
{
	uint8_t op = rd_u8(in), c = rd_u8(in) % CONNS, a = rd_u8(in),
		b = rd_u8(in);
	struct bytes raw;

	switch (op % 8) {
	case 0:
		hello(c, a, b);
		break;
	case 1:
		whole(c, a, b);
		break;
	case 2:
		halves(c, a, b);
		break;
	case 3:
		raw.len = a < in->left ? a : in->left;
		raw.p = rd_bytes(in, raw.len);
		if (raw.p != NULL)
			as_it_is(c, raw);
		break;
	case 4:
		conn[c].said = -1;
		links_closed(&l, c + 1u);
		break;
	case 5:
		conn[c].who.boot.device_id[0] = a;
		break;
	case 6:
		links_answer_drop(&l, id[a % IDS]);
		for (unsigned i = 0; i < CONNS; i++)
			must(conn[i].said != a % IDS);
		break;
	case 7:
		if (conn[6].said < 0)
			conn[6].role =
			    (a & 1) != 0 ? CHANNEL_APP : CHANNEL_KMS_PEER;
		break;
	}
}

static void
begin(void)
{
	memset(conn, 0, sizeof conn);
	for (unsigned i = 0; i < CONNS; i++) {
		conn[i].role = i == 7 ? CHANNEL_APP : CHANNEL_KMS_PEER;
		conn[i].said = -1;
		memset(conn[i].handshake, (int)i + 1, 32);
		conn[i].who.boot.device_id[0] = (uint8_t)i;
	}
	messages = 0;
	l = (struct links){ .o = { .incarnation = own,
				.slot = "me",
				.on_message = on_message } };
	/* Only whether there is one is looked at. */
	l.server = (struct channel_server *)(void *)conn;
	l.inbound = calloc(LIMIT_LINK_SESSIONS, sizeof *l.inbound);
	must(l.inbound != NULL);
	must(pthread_mutex_init(&l.lock, NULL) == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct rd in = { .p = data, .left = size };
	uint8_t seed[32];

	if (own == NULL) {
		must(secret_process_init() == ERR_OK);
		log_set_level(LOG_ERROR);
		must(incarnation_new(&own) == ERR_OK);
		for (unsigned i = 0; i < IDS; i++) {
			memset(seed, (int)i + 1, sizeof seed);
			must(
			    crypto_sign_seed_keypair(id[i], key[i], seed) == 0);
		}
	}
	begin();
	for (unsigned i = 0; i < STEPS && in.left > 0; i++) {
		step(&in);
		check();
	}
	links_answer_fini(&l);
	free(l.inbound);
	(void)pthread_mutex_destroy(&l.lock);
	return 0;
}
