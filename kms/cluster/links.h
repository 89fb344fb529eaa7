/* links: messages between the incarnations of a cluster.
 *
 * Each node dials every other (node/channel, role CHANNEL_KMS_PEER) and
 * sends what it has for it; the other's messages come over the other's own
 * connection.  A session begins with a Hello: slot and incarnation, signed
 * by the incarnation over the session's handshake hash (incarnation.h).  So
 * a message belongs to one process life of one attested, allowed machine,
 * and to nobody else (T20).
 *
 * A link loses messages: its queue is bounded, a broken connection drops
 * what was in it, and so does a dial that failed.  It never duplicates or
 * reorders within a session, and an incarnation has one session at a time.
 *
 * One thread per peer dials and sends; it blocks in the channel and touches
 * nothing of the loop's.  All functions are for the loop, but links_peers,
 * which any thread may call. */
#ifndef KMS_CLUSTER_LINKS_H
#define KMS_CLUSTER_LINKS_H

#include <uv.h>

#include "common/wire/msg.h"
#include "kms/cluster/incarnation.h"
#include "kms/service/kmsd_config.h"

struct links; /* opaque */

struct links_options {
	uv_loop_t *loop;
	const struct channel_context *cx; /* borrowed for the life */
	struct incarnation *incarnation; /* borrowed for the life */
	const char *slot; /* our own; borrowed */
	const char (*peer)[KMSD_URL_MAX]; /* their channels; copied */
	unsigned n_peers;
	/* On the loop, from links_request: a message from `from`, whose
	 * evidence this node has verified and the contract allowed.  Both
	 * arguments borrow.  It may call anything here but links_free. */
	void (*on_message)(
	    void *cookie, const struct member *from, struct bytes bytes);
	void *cookie;
};

/* ERR_CONFIG: the slot's name, or too many peers. */
enum err links_new(struct links **out, const struct links_options *o);
/* The server whose connections links_drop ends; borrowed until links_stop. */
void links_set_server(struct links *l, struct channel_server *server);
/* Threads begin to dial. */
enum err links_start(struct links *l);

/* links_send queues a message for every configured peer that is, or may be,
 * `to`: with an incarnation, for the peer that welcomed us as it; with a slot
 * alone, for the peer that holds it, or while none is known to, for all that
 * we are not connected with; with neither, for all.  Copies.  Never blocks,
 * never calls back; what does not fit is dropped and counted, and so is what
 * is empty or over LIMIT_LINK_MESSAGE. */
void links_send(struct links *l, const struct member *to, struct bytes bytes);

/* links_request answers a peer's request on the answering side: Hello, then
 * batches.  Called by the request table.  Appends to `reply`.
 * ERR_DENIED: `why`. */
enum err links_request(struct links *l, const struct channel_caller *who,
    const KmsRequest *request, struct buf *reply, struct refusal *why);
/* The connection is gone: forget its Hello. */
void links_closed(struct links *l, uint64_t conn);

struct links_peer {
	const char *url; /* borrowed */
	bool connected;
	char slot[SLOT_MAX]; /* as it said last, "" if never */
	uint8_t incarnation[INCARNATION_ID_LEN];
	int64_t since; /* unix seconds of the last change */
	enum reason error; /* of the last attempt */
	uint64_t sent, dropped, bytes; /* messages, messages, of those sent */
};
size_t links_peers(struct links *l, struct links_peer *out, size_t max);

struct links_stats {
	uint64_t sessions; /* of peers that said Hello, now */
	uint64_t received; /* messages */
	uint64_t unclaimed; /* sent to nobody we know, or of no legal size */
};
void links_stats(struct links *l, struct links_stats *out);

/* What was verified about an incarnation, by either direction's session;
 * false if there is none now. */
bool links_attested(struct links *l, struct attested *out,
    const uint8_t incarnation[static INCARNATION_ID_LEN]);

/* links_drop ends connections with an incarnation, both ways.  Our own link
 * to it is dialled again, and it may come again: both are checked anew. */
void links_drop(
    struct links *l, const uint8_t incarnation[static INCARNATION_ID_LEN]);

/* links_stop: `done` runs on the loop when every thread has ended.  Waits on
 * the network end at once; what can take longer is a `prove` or `check` of
 * the channel context under way, which the channel server waits for too. */
void links_stop(struct links *l, void (*done)(void *), void *cookie);
/* Once `done` has run, and nobody calls links_closed any more: after the
 * channel server has stopped.  NULL is fine. */
void links_free(struct links *l);

#endif
