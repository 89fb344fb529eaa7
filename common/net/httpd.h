/* httpd: a small bounded HTTP/1.1 server.
 *
 * One handler answers every request; it runs on one of the server's own
 * threads and may block.  Every connection carries one request.  Replies
 * carry an exact Content-Length and "Connection: close", never chunked
 * encoding (dstack's JS SDK needs both, eth-toolchain.md 3.2).
 *
 * What is no HTTP, too large or too slow is answered in JSON, as dstack's
 * errors are: {"error":"..."}; a client that said nothing is closed.  No
 * client can make the server wait, or hold a connection, for longer than the
 * limits below say. */
#ifndef COMMON_NET_HTTPD_H
#define COMMON_NET_HTTPD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/base/buf.h"
#include "common/net/http1.h"

struct httpd; /* opaque */

struct httpd_request {
	const char *method; /* "GET", "POST", ... */
	const char *path; /* without the query, percent-decoded */
	const char *content_type; /* "" if absent */
	struct bytes body; /* borrowed for the call; NUL behind it */
	const struct http1 *internal; /* for httpd_query */
};

/* httpd_request_of shows a whole request; it borrows all of it. */
void httpd_request_of(struct httpd_request *out, const struct http1 *in);

/* httpd_query returns the decoded value of a query parameter ("" when it
 * has none), or NULL if it is absent.  Borrowed for the call. */
const char *httpd_query(const struct httpd_request *rq, const char *name);
/* httpd_each_query calls `fn` for each query parameter. */
void httpd_each_query(const struct httpd_request *rq,
    void (*fn)(void *cookie, const char *name, const char *value),
    void *cookie);

struct httpd_reply {
	unsigned status; /* 200 unless the handler changes it */
	const char *content_type; /* static; "application/json" by default */
	struct buf body; /* the server takes it */
	bool secret; /* wipe the body once it is sent */
	const char *header_name; /* one extra header, or NULL; static */
	const char *header_value; /* one line; read when the handler returns */
};

typedef void httpd_handler(
    void *cookie, const struct httpd_request *rq, struct httpd_reply *rp);

struct httpd_options {
	const char *unix_path; /* a socket, replaced if stale; else: */
	mode_t unix_mode; /* 0 means 0600 */
	const char *host; /* a numeric address, and */
	uint16_t port; /* 0 takes a free one; or, before both: */
	bool has_fd;
	int fd; /* listens already; the server takes it on success */
	const char *header; /* "Name: value" for every reply, or NULL; static */
	size_t max_body; /* bytes; larger is answered 413 */
	size_t max_bodies; /* of all requests at once; 0: 64 MiB.  Over: 503 */
	/* One more takes the place of one of the source that holds most, or of
	 * one that has had its time (httproom.h); if there is none it is
	 * answered 503. */
	unsigned max_connections;
	unsigned timeout_s; /* of silence by the client; 1 or more */
	/* For a request to be there, however it drips; and again for its
	 * reply to be gone.  0: three times timeout_s. */
	unsigned total_s;
	unsigned threads; /* handlers that run at once: 1 or more */
};

/* httpd_start listens and serves until httpd_stop.  The caller owns `*out`.
 * ERR_IO: cannot listen; ERR_EXISTS: a live server holds the socket;
 * ERR_CONFIG: path too long, address not numeric, or `fd` does not listen. */
enum err httpd_start(struct httpd **out, const struct httpd_options *o,
    httpd_handler *handler, void *cookie);

/* httpd_port returns the TCP port that is listened on. */
uint16_t httpd_port(const struct httpd *h);

/* httpd_stop waits for running handlers, ends all connections and frees;
 * NULL is fine. */
void httpd_stop(struct httpd *h);

#endif
