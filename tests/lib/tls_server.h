/* tls_server: a TLS server with whatever certificates a test wants, or
 * something that is none. */
#ifndef TESTS_LIB_TLS_SERVER_H
#define TESTS_LIB_TLS_SERVER_H

#include "common/base/buf.h"
#include "common/crypto/p256.h"

enum tls_server_mode {
	TLS_SERVER_FINE,
	TLS_SERVER_SILENT, /* takes connections, says nothing */
	TLS_SERVER_GARBAGE, /* speaks something else */
	TLS_SERVER_ENDLESS, /* a record that does not end */
	TLS_SERVER_CLOSES, /* at once */
};

struct tls_server; /* opaque */

/* On loopback, or at `unix_path`; `cert` is DER, the leaf first.  The
 * handshake is all that it serves. */
struct tls_server *tls_server_start(enum tls_server_mode mode,
    const struct p256_secret *key, const struct buf *cert, size_t n,
    const char *unix_path);
unsigned tls_server_port(const struct tls_server *s);
void tls_server_stop(struct tls_server *s);

#endif
