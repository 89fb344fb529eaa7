/* httproom: who gives way when all connections of a listener are in use.
 *
 * Clients are told apart by their source: an IPv4 address, an IPv6 /64, or the
 * process at the other end of a unix socket.  Sources are counted in buckets
 * that nobody can aim at; two that share one are fair to each other as one. */
#ifndef COMMON_NET_HTTPROOM_H
#define COMMON_NET_HTTPROOM_H

#include "common/net/httpconn.h"

#define HTTPROOM_BUCKETS 1024u
/* Where a source is not known yet: it holds nothing, and takes nothing away
 * from who holds much. */
#define HTTPROOM_UNKNOWN HTTPROOM_BUCKETS

struct httproom {
	unsigned held[HTTPROOM_BUCKETS]; /* connections */
	uint8_t key[16];
};

void httproom_init(struct httproom *r);

/* httproom_accept takes a connection, non-blocking and closed on exec, and
 * finds its bucket.  The caller owns the descriptor; or one of these. */
#define HTTPROOM_NOBODY (-1) /* waits, or the listener has failed */
#define HTTPROOM_NO_DESCRIPTOR (-2) /* nor memory for one; somebody waits */
int httproom_accept(const struct httproom *r, int listener, unsigned *bucket);

/* httproom_victim finds the connection in the list `conns` that makes room
 * for one more of `bucket`, or NULL:
 *   one of a source that holds two more than the newcomer's, of the source
 *   that holds most; it matters not for how long;
 *   else one that has had its time: a second for its request, or for taking
 *   some more of its reply, or a moment behind its reply.
 * Who has its reply goes first, then the oldest.  Never one whose request is
 * being answered. */
struct httpconn *httproom_victim(const struct httproom *r,
    struct httpconn *conns, unsigned bucket, uint64_t now_ms);

/* httproom_refuse says 503, if the socket takes it at once, and closes. */
void httproom_refuse(int fd);

#endif
