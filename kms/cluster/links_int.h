/* links_int: what the files of links share.
 *
 *   links.c         the owner's side: queues, status, end
 *   links_dial.c    a link's thread: dial, Hello, batches
 *   links_answer.c  the answering side: Hello, batches
 *   links_part.c    messages as parts
 *
 * `lock` is for everything between the loop and the threads; it is never
 * held over a wait, a copy of a message or a call-back. */
#ifndef KMS_CLUSTER_LINKS_INT_H
#define KMS_CLUSTER_LINKS_INT_H

#include <pthread.h>

#include "kms/cluster/links.h"
#include "kms/cluster/links_part.h"

/* One copy for all the queues that it is in. */
struct links_message {
	unsigned refs; /* under the lock */
	struct member to; /* slot and incarnation alone */
	size_t len;
	uint8_t b[];
};

struct link {
	struct links *links; /* borrows */
	char url[KMSD_URL_MAX];
	struct channel_context cx; /* the owner's, with our abort switch */
	struct channel_abort *abort; /* owns */
	pthread_t thread;
	bool has_thread;
	pthread_cond_t wake;

	/* Under the lock. */
	struct links_message **ring; /* owns; LIMIT_LINK_QUEUE_ITEMS */
	size_t first, n;
	size_t small_bytes; /* in the ring, of one part */
	bool has_big; /* one of several parts, until it is sent */
	bool drop; /* the session shall end */
	struct links_peer status;
	struct attested attested; /* while connected */

	/* The thread's own. */
	struct channel *channel; /* owns */
	uint64_t number; /* of the next message of this session */
	uint64_t request_id;
	struct links_message **item; /* own: in the batch under way */
	ProtobufCBinaryData *data; /* owns; LIMIT_LINK_BATCH */
	size_t n_items;
	struct links_message *big; /* owns, or NULL */
	uint32_t big_part; /* that is next */
	struct wr w; /* owns its bytes: the items as sent */
	struct buf request, reply; /* own */
};

/* A peer's session with us. */
struct inbound {
	bool used, broken;
	uint64_t conn;
	uint64_t active_ms;
	struct member from;
	struct attested attested;
	struct links_parts parts;
};

struct links {
	struct links_options o;
	struct channel_server *server; /* borrows; NULL: not set */
	struct link *link; /* owns */
	unsigned n;
	struct inbound *inbound; /* owns; LIMIT_LINK_SESSIONS */
	uint64_t received;
	uv_async_t ended;
	void (*done)(void *cookie);
	void *done_cookie;

	pthread_mutex_t lock;
	bool stopping;
	unsigned n_threads;
	uint64_t unclaimed;
};

/* links.c; all under the lock.  The caller owns what link_pop returns. */
struct links_message *link_pop(struct link *k);
void link_release(struct links_message *m);
void link_clear(struct link *k); /* drops the queue */

/* links_dial.c */
void *link_run(void *link);

/* links_answer.c */
void links_answer_fini(struct links *l);
bool links_answer_attested(const struct links *l, struct attested *out,
    const uint8_t incarnation[static INCARNATION_ID_LEN]);
void links_answer_drop(
    struct links *l, const uint8_t incarnation[static INCARNATION_ID_LEN]);

#endif
