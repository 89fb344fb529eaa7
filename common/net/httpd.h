/* httpd: a small bounded HTTP/1.1 server, over libmicrohttpd.
 *
 * One handler answers every request; it runs on one of the server's own
 * threads and may block.  Replies carry an exact Content-Length and
 * "Connection: close", never chunked encoding (dstack's JS SDK needs both,
 * eth-toolchain.md 3.2). */
#ifndef COMMON_NET_HTTPD_H
#define COMMON_NET_HTTPD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/base/buf.h"

struct httpd; /* opaque */

struct httpd_request {
	const char *method; /* "GET", "POST", ... */
	const char *path; /* without the query, percent-decoded */
	const char *content_type; /* "" if absent */
	struct bytes body; /* borrowed for the call; NUL behind it */
	void *internal; /* for httpd_query */
};

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
	const char *header_value;
};

typedef void httpd_handler(
    void *cookie, const struct httpd_request *rq, struct httpd_reply *rp);

struct httpd_options {
	const char *unix_path; /* a socket, replaced if stale; else: */
	mode_t unix_mode; /* 0 means 0600 */
	const char *host; /* a numeric address, and */
	uint16_t port; /* 0 takes a free one */
	size_t max_body; /* bytes; larger is answered 413 */
	unsigned max_connections; /* further ones are closed at once */
	unsigned timeout_s; /* of silence by the client; 1 or more */
	unsigned threads; /* handlers that run at once: 1 or more */
};

/* httpd_start listens and serves until httpd_stop.  The caller owns `*out`.
 * ERR_IO: cannot listen; ERR_EXISTS: a live server holds the socket;
 * ERR_CONFIG: path too long or address not numeric. */
enum err httpd_start(struct httpd **out, const struct httpd_options *o,
    httpd_handler *handler, void *cookie);

/* httpd_port returns the TCP port that is listened on. */
uint16_t httpd_port(const struct httpd *h);

/* httpd_stop ends running handlers' connections and frees; NULL is fine. */
void httpd_stop(struct httpd *h);

#endif
