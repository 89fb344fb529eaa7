/* httpconn: one connection of httpd, with its request and its reply.
 *
 * Who calls when is httpd.c's business; nothing here waits. */
#ifndef COMMON_NET_HTTPCONN_H
#define COMMON_NET_HTTPCONN_H

#include <sys/uio.h>

#include "common/net/httpd.h"

enum httpconn_state {
	HTTPCONN_READING,
	HTTPCONN_HANDLED, /* in a queue, or with a handler */
	HTTPCONN_WRITING,
	/* Closing a socket with unread bytes resets it, and the client then
	 * never sees the end of its reply; dstack's JS SDK sends such bytes
	 * (eth-toolchain.md 3.2, 5).  So our half is shut first, and what
	 * still comes is read away until the client's end, within bounds. */
	HTTPCONN_LINGERING,
};

struct httpconn {
	/* httpd's: the list of all, a queue, and the budget of bodies. */
	struct httpconn *prev, *next, *queued;
	size_t reserved;
	unsigned bucket; /* of its source: httproom.h */

	int fd; /* owns */
	const char *header; /* "Name: value" of every reply, or NULL; borrows */
	enum httpconn_state state;
	struct http1 in; /* owns */
	uint64_t began_ms; /* accepted; then: the reply was made, was sent */
	uint64_t heard_ms; /* when the client last did something */
	struct buf head; /* owns: the reply's */
	struct iovec out[2]; /* what is left to send: head, body */
	struct buf body; /* owns: the reply's */
	bool secret; /* of the body */
	size_t drained;
};

/* httpconn_init begins to read; takes `fd`, borrows `header` (or NULL). */
void httpconn_init(
    struct httpconn *c, int fd, size_t max_body, const char *header);
void httpconn_fini(struct httpconn *c);

/* httpconn_reply makes the bytes of a reply; takes its body. */
void httpconn_reply(struct httpconn *c, struct httpd_reply *rp);
/* httpconn_refuse is a reply {"error":text}. */
void httpconn_refuse(struct httpconn *c, unsigned status, const char *text);

/* httpconn_send sends what the socket takes.  True when nothing is left to
 * send: all is gone and our half is shut, or the client is gone. */
bool httpconn_send(struct httpconn *c);

/* httpconn_drain reads away what came, using `scratch`.  False when the
 * client's end is there, or more than `max` bytes were. */
bool httpconn_drain(
    struct httpconn *c, uint8_t *scratch, size_t cap, size_t max);

/* httpconn_late: whether the client has had its time. */
bool httpconn_late(const struct httpconn *c, uint64_t timeout_ms,
    uint64_t total_ms, uint64_t now_ms);

#endif
