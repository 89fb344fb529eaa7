/* links: the answering side, on the loop. */
#include <string.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "kms/cluster/links_int.h"

/* A peer shows life every two seconds (AWAKE_MS): one that was silent for
 * this long gives way to another, if there is no room for both. */
#define SILENT_MS 15000u

static struct inbound *
find(const struct links *l, uint64_t conn)
{
	for (unsigned i = 0; i < LIMIT_LINK_SESSIONS; i++)
		if (l->inbound[i].used && l->inbound[i].conn == conn)
			return &l->inbound[i];
	return NULL;
}

static struct inbound *
find_incarnation(const struct links *l, const uint8_t *incarnation)
{
	for (unsigned i = 0; i < LIMIT_LINK_SESSIONS; i++)
		if (l->inbound[i].used &&
		    memcmp(l->inbound[i].from.incarnation, incarnation,
			INCARNATION_ID_LEN) == 0)
			return &l->inbound[i];
	return NULL;
}

static void
forget(struct inbound *in)
{
	links_parts_fini(&in->parts);
	*in = (struct inbound){ 0 };
}

static void
end(struct links *l, struct inbound *in)
{
	uint64_t conn = in->conn;

	forget(in); /* first: the server tells us of the end */
	if (l->server != NULL)
		channel_server_drop(l->server, conn, REASON_NOT_READY);
}

void
links_answer_fini(struct links *l)
{
	for (unsigned i = 0; i < LIMIT_LINK_SESSIONS; i++)
		forget(&l->inbound[i]);
}

void
links_closed(struct links *l, uint64_t conn)
{
	struct inbound *in = find(l, conn);

	if (in != NULL)
		forget(in);
}

bool
links_answer_attested(const struct links *l, struct attested *out,
    const uint8_t incarnation[static INCARNATION_ID_LEN])
{
	const struct inbound *in = find_incarnation(l, incarnation);

	if (in != NULL)
		*out = in->attested;
	return in != NULL;
}

void
links_answer_drop(
    struct links *l, const uint8_t incarnation[static INCARNATION_ID_LEN])
{
	struct inbound *in = find_incarnation(l, incarnation);

	if (in != NULL)
		end(l, in);
}

/* ---- Hello ---- */

static struct inbound *
place(struct links *l)
{
	struct inbound *oldest = &l->inbound[0];

	for (unsigned i = 0; i < LIMIT_LINK_SESSIONS; i++) {
		struct inbound *in = &l->inbound[i];

		if (!in->used)
			return in;
		if (in->active_ms < oldest->active_ms)
			oldest = in;
	}
	if (clock_mono_ms() - oldest->active_ms < SILENT_MS)
		return NULL;
	end(l, oldest);
	return oldest;
}

/* Our own proof, for the other role: theirs cannot be given back. */
static enum err
pack_welcome(struct links *l, const struct channel_caller *who, uint64_t id,
    struct buf *reply)
{
	uint8_t sig[INCARNATION_SIG_LEN];
	Devproof__Kms__V1__PeerWelcome w;
	KmsReply m = DEVPROOF__KMS__V1__REPLY__INIT;
	enum err e = incarnation_sign(sig, l->o.incarnation, CHANNEL_KMS_SERVER,
	    l->o.slot, who->handshake_hash);

	if (e != ERR_OK)
		return e;
	devproof__kms__v1__peer_welcome__init(&w);
	w.slot = (char *)(uintptr_t)l->o.slot;
	w.incarnation =
	    msg_bytes(incarnation_id(l->o.incarnation), INCARNATION_ID_LEN);
	w.signature = msg_bytes(sig, sizeof sig);
	m.id = id;
	m.body_case = DEVPROOF__KMS__V1__REPLY__BODY_PEER_WELCOME;
	m.peer_welcome = &w;
	return msg_reply_pack(reply, &m);
}

static enum err
hello(struct links *l, const struct channel_caller *who, const KmsRequest *m,
    struct buf *reply, struct refusal *why)
{
	const Devproof__Kms__V1__PeerHello *h = m->peer_hello;
	const uint8_t *id = h->incarnation.data;
	struct inbound *in;
	enum err e;

	if (find(l, who->conn) != NULL)
		return refuse(why, REASON_REQUEST, "second hello");
	if (memcmp(id, incarnation_id(l->o.incarnation), INCARNATION_ID_LEN) ==
	    0)
		return refuse(why, REASON_WRONG_ROLE, "our own incarnation");
	if (incarnation_verify(h->signature.data, id, CHANNEL_KMS_PEER, h->slot,
		who->handshake_hash) != ERR_OK)
		return refuse(why, REASON_HANDSHAKE,
		    "hello is not signed for this session");
	/* It has lost the session before: nothing of that one may follow. */
	if ((in = find_incarnation(l, id)) != NULL)
		end(l, in);
	if ((in = place(l)) == NULL)
		return refuse(why, REASON_BUSY, "links");
	if ((e = pack_welcome(l, who, m->id, reply)) != ERR_OK)
		return e;
	*in = (struct inbound){ .used = true,
		.conn = who->conn,
		.active_ms = clock_mono_ms(),
		.attested = *who->peer };
	memcpy(in->from.slot, h->slot, strlen(h->slot) + 1);
	memcpy(in->from.incarnation, id, INCARNATION_ID_LEN);
	memcpy(in->from.device_id, who->peer->boot.device_id, 32);
	memcpy(in->from.mr_aggregated, who->peer->boot.mr_aggregated, 32);
	log_event(LOG_INFO, "link_hello", log_u64("conn", who->conn),
	    log_str("slot", in->from.slot),
	    log_hex("incarnation", id, INCARNATION_ID_LEN),
	    log_hex("device", in->from.device_id, 32));
	return ERR_OK;
}

/* ---- batches ---- */

/* Renewed evidence shows the same machine in the same state, or its
 * messages are no longer those of the member that said Hello. */
static bool
same_machine(const struct member *m, const struct attested *now)
{
	return memcmp(m->device_id, now->boot.device_id, 32) == 0 &&
	    memcmp(m->mr_aggregated, now->boot.mr_aggregated, 32) == 0;
}

static enum err
breaks(
    struct inbound *in, struct refusal *why, enum reason code, const char *what)
{
	in->broken = true;
	links_parts_fini(&in->parts);
	return refuse(why, code, "%s", what);
}

static enum err
batch(struct links *l, const struct channel_caller *who, const KmsRequest *m,
    struct buf *reply, struct refusal *why)
{
	const Devproof__Kms__V1__PeerBatch *b = m->peer_batch;
	struct inbound *in = find(l, who->conn);
	Devproof__Kms__V1__PeerReceipt receipt;
	KmsReply answer = DEVPROOF__KMS__V1__REPLY__INIT;
	struct member from;
	enum err e;

	if (in == NULL)
		return refuse(why, REASON_REQUEST, "batch before hello");
	if (in->broken)
		return refuse(why, REASON_REQUEST, "batch on a broken link");
	if (!same_machine(&in->from, who->peer))
		return breaks(
		    in, why, REASON_PLATFORM, "not the machine of the hello");
	if (in->attested.verified_at != who->peer->verified_at)
		in->attested = *who->peer;
	in->active_ms = clock_mono_ms();
	from = in->from;
	for (size_t i = 0; i < b->n_message; i++) {
		struct bytes item = { b->message[i].data, b->message[i].len };
		struct bytes message;
		struct buf whole = { 0 };

		e = links_part_take(&in->parts, &message, &whole, item);
		if (e != ERR_OK)
			return e == ERR_NOMEM
			    ? breaks(in, why, REASON_BUSY, "no memory")
			    : breaks(in, why, REASON_REQUEST,
				  "not the next part of the next message");
		if (message.p == NULL)
			continue;
		l->received++;
		l->o.on_message(l->o.cookie, &from, message);
		buf_fini(&whole);
		/* The owner may have ended the session. */
		if ((in = find(l, who->conn)) == NULL)
			return refuse(why, REASON_NOT_READY, "dropped");
	}
	devproof__kms__v1__peer_receipt__init(&receipt);
	answer.id = m->id;
	answer.body_case = DEVPROOF__KMS__V1__REPLY__BODY_PEER_RECEIPT;
	answer.peer_receipt = &receipt;
	return msg_reply_pack(reply, &answer);
}

enum err
links_request(struct links *l, const struct channel_caller *who,
    const KmsRequest *request, struct buf *reply, struct refusal *why)
{
	bool stopping;

	(void)pthread_mutex_lock(&l->lock);
	stopping = l->stopping;
	(void)pthread_mutex_unlock(&l->lock);
	if (stopping)
		return refuse(why, REASON_NOT_READY, "stopping");
	if (who->role != CHANNEL_KMS_PEER)
		return refuse(why, REASON_WRONG_ROLE, "not a peer");
	switch ((unsigned)request->body_case) {
	case DEVPROOF__KMS__V1__REQUEST__BODY_PEER_HELLO:
		return hello(l, who, request, reply, why);
	case DEVPROOF__KMS__V1__REQUEST__BODY_PEER_BATCH:
		return batch(l, who, request, reply, why);
	default:
		return refuse(why, REASON_REQUEST, "not for links");
	}
}
