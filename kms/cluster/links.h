/* links: messages between the incarnations of a cluster.
 *
 * Each node dials every other (node/channel, role CHANNEL_KMS_PEER) and
 * sends what it has for it; the other's messages come over the other's own
 * connection.  A session begins with a Hello: slot and incarnation, signed
 * by the incarnation's Ed25519 key over the session's handshake hash; the
 * incarnation's name is that public key.  So a message belongs to one
 * process life of one attested, allowed machine, and to nobody else (T20).
 *
 * A link loses messages: its queue is bounded, a broken connection drops
 * what was in it.  It never duplicates or reorders within a session. */
#ifndef KMS_CLUSTER_LINKS_H
#define KMS_CLUSTER_LINKS_H

#include <uv.h>

#include "kms/service/kmsd_config.h"
#include "kms/state/command.h"
#include "node/channel/channel.h"

/* This process's identity: the key is drawn at start, lives in guarded
 * memory and is never written anywhere (I1). */
struct incarnation; /* opaque */
enum err incarnation_new(struct incarnation **out);
void incarnation_free(struct incarnation *i); /* wipes; NULL is fine */
const uint8_t *incarnation_id(const struct incarnation *i); /* 32 bytes */

#define LINKS_HELLO_SIG_LEN 64
enum err incarnation_sign(uint8_t sig[static LINKS_HELLO_SIG_LEN],
    struct incarnation *i, const char *slot,
    const uint8_t handshake_hash[static 32]);
/* ERR_AUTH */
enum err incarnation_verify(const uint8_t sig[static LINKS_HELLO_SIG_LEN],
    const uint8_t id[static INCARNATION_ID_LEN], const char *slot,
    const uint8_t handshake_hash[static 32]);

struct links; /* opaque */

struct links_options {
	uv_loop_t *loop;
	const struct channel_context *cx; /* borrowed for the life */
	struct incarnation *incarnation; /* borrowed for the life */
	const char *slot; /* our own; borrowed */
	const char (*peer)[KMSD_URL_MAX]; /* their channels; copied */
	unsigned n_peers;
	/* On the loop: a message from `from`, whose evidence this node has
	 * verified and the contract allowed.  `bytes` borrows. */
	void (*on_message)(
	    void *cookie, const struct member *from, struct bytes bytes);
	void *cookie;
};

enum err links_new(struct links **out, const struct links_options *o);
/* Threads begin to dial. */
void links_start(struct links *l);

/* links_send queues a message for every configured peer that is, or may be,
 * `to` (zero incarnation: whoever holds the slot; empty slot: all).  Copies.
 * Never blocks; what does not fit is dropped and counted. */
void links_send(struct links *l, const struct member *to, struct bytes bytes);

/* links_request answers a peer's request on the answering side: Hello, then
 * batches.  Called by the request table on the loop.  Replaces `reply`.
 * ERR_DENIED: `why`. */
enum err links_request(struct links *l, const struct channel_caller *who,
    struct bytes request, struct buf *reply, struct refusal *why);
/* The connection is gone: forget its Hello. */
void links_closed(struct links *l, uint64_t conn);

struct links_peer {
	const char *url; /* borrowed */
	bool connected;
	char slot[SLOT_MAX]; /* as it said, "" if never */
	uint8_t incarnation[INCARNATION_ID_LEN];
	int64_t since; /* unix seconds of the last change */
	enum reason error; /* of the last attempt */
	uint64_t sent, dropped, bytes;
};
size_t links_peers(struct links *l, struct links_peer *out, size_t max);

/* What was verified about an incarnation, by either direction's session;
 * false if there is none now. */
bool links_attested(struct links *l, struct attested *out,
    const uint8_t incarnation[static INCARNATION_ID_LEN]);

/* links_drop ends connections with an incarnation, both ways. */
void links_drop(
    struct links *l, const uint8_t incarnation[static INCARNATION_ID_LEN]);

/* links_stop: `done` runs on the loop when every thread has ended. */
void links_stop(struct links *l, void (*done)(void *), void *cookie);
void links_free(struct links *l); /* NULL is fine */

#endif
