/* fetch: bounded HTTP requests, several at once, over libcurl.
 *
 * Blocking: call it from a worker, not from a loop.  Redirects are not
 * followed; only http and https are spoken; no proxy is taken from the
 * environment.  Every reply is bounded in bytes and in time. */
#ifndef COMMON_NET_FETCH_H
#define COMMON_NET_FETCH_H

#include <stdbool.h>

#include "common/base/buf.h"

struct fetch_request {
	const char *url;
	const char *unix_socket; /* connect to this path, or NULL */
	struct bytes post; /* p == NULL makes it a GET */
	const char *content_type; /* of `post` */
	unsigned timeout_ms; /* for the whole exchange */
	size_t max_reply; /* bytes of body */
	bool insecure_tls; /* PCCS are usually self-signed; all is signed */
};

struct fetch_reply {
	enum err err; /* OK: an HTTP answer of any status arrived */
	long status;
	struct buf body; /* owns */
	struct buf headers; /* owns: raw header lines */
};

/* fetch_all runs `n` requests in parallel and fills reply[0..n).  Each
 * reply has its own `err` (ERR_TIMEOUT, ERR_IO, ERR_LIMIT).  The caller
 * fetch_reply_fini()s every reply. */
void fetch_all(
    struct fetch_reply *reply, const struct fetch_request *rq, size_t n);

/* fetch_header copies the first value of a header (case-insensitive) into
 * `out`, percent-decoded if `decode` ('+' stays); ERR_NOTFOUND. */
enum err fetch_header(struct buf *out, const struct fetch_reply *r,
    const char *name, bool decode);

void fetch_reply_fini(struct fetch_reply *r);

#endif
