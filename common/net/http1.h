/* http1: one HTTP/1.1 request out of bytes that come in any pieces.
 *
 * No sockets, no time.  Strict where two readers could see two requests
 * (lengths, NUL and control characters, folded lines), and bounded in every
 * part; what is refused has a status and words for the client.
 *
 * RFC 9112: origin-form and absolute-form targets, Content-Length or the
 * chunked encoding, but never both.  A line may end in LF alone (2.2). */
#ifndef COMMON_NET_HTTP1_H
#define COMMON_NET_HTTP1_H

#include <stdbool.h>

#include "common/base/buf.h"

/* Request line and fields; a GET of dstack's methods carries all of its
 * fields there. */
#define HTTP1_HEAD_MAX (64u * 1024)
#define HTTP1_FIELDS_MAX 100u
#define HTTP1_QUERY_MAX 128u

enum http1_step {
	HTTP1_MORE, /* give more bytes */
	HTTP1_HEAD, /* the head is there: call again, even without bytes */
	HTTP1_WHOLE, /* the request is there */
	HTTP1_REFUSED, /* `status` and `why` are set */
};

struct http1_pair {
	const char *name; /* decoded */
	const char *value; /* decoded; "" if there was none */
};

struct http1 {
	/* From HTTP1_HEAD on.  All text is borrowed from `head`. */
	const char *method;
	const char *path; /* without the query, percent-decoded */
	const char *content_type; /* "" if absent */
	struct http1_pair query[HTTP1_QUERY_MAX];
	size_t n_query;
	bool expect_continue; /* it waits for "100 Continue" */
	size_t body_max; /* bytes that the body may have: of memory, too */
	/* From HTTP1_WHOLE on. */
	struct buf body; /* owns */
	/* With HTTP1_REFUSED. */
	unsigned status;
	const char *why; /* static */

	/* private */
	struct buf head; /* owns */
	size_t max_body;
	size_t line; /* bytes of the head's unfinished line */
	size_t left; /* of the body, or of this chunk */
	size_t extra; /* bytes of this chunk's frame, or of the trailer */
	unsigned digits;
	bool has_length;
	bool chunked;
	int state;
};

/* http1_init begins a request whose body has at most `max_body` bytes. */
void http1_init(struct http1 *p, size_t max_body);

/* http1_feed takes bytes from the front of `*in`; what is behind the request
 * stays.  After HTTP1_WHOLE or
 * HTTP1_REFUSED it is not called any more. */
enum http1_step http1_feed(struct http1 *p, struct bytes *in);

/* http1_refuse notes a refusal by the owner; returns HTTP1_REFUSED. */
enum http1_step http1_refuse(struct http1 *p, unsigned status, const char *why);

/* http1_begun: whether anything but empty lines came. */
bool http1_begun(const struct http1 *p);

/* http1_fini wipes and frees: requests may hold an app's secret. */
void http1_fini(struct http1 *p);

/* http1_reason is the status's phrase, "" if it is not known here. */
const char *http1_reason(unsigned status);

#endif
