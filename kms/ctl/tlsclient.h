/* tlsclient: a TLS handshake with a live server, and what it showed.
 *
 * Nothing is trusted here: the handshake proves that the server has the leaf's
 * key (TLS 1.2 with ECDHE, or 1.3), and no more.  Bounded in time and bytes. */
#ifndef KMS_CTL_TLSCLIENT_H
#define KMS_CTL_TLSCLIENT_H

#include "common/base/buf.h"
#include "common/base/reason.h"

#define TLSCLIENT_CERTS 6
/* Of a chain in one message; a leaf with its attestation is below 80 KiB. */
#define TLSCLIENT_CHAIN_MAX (256 * 1024)

struct tlsclient_peer {
	struct buf cert[TLSCLIENT_CERTS]; /* owns: DER, the leaf first */
	size_t n;
	char version[16]; /* "TLSv1.3" */
	char cipher[48];
};

struct tlsclient_options {
	const char *host, *port; /* or: */
	const char *unix_path;
	const char *name; /* of the server (SNI), or NULL */
	unsigned timeout_ms; /* for all of it */
};

/* tlsclient_shake connects, shakes hands, and closes.  ERR_IO: nobody answers
 * there; ERR_TIMEOUT; ERR_DENIED: what answers speaks no TLS, or none that
 * proves anything; `why` says more.  tlsclient_peer_fini on success. */
enum err tlsclient_shake(struct tlsclient_peer *out,
    const struct tlsclient_options *o, struct refusal *why);
void tlsclient_peer_fini(struct tlsclient_peer *p);

#endif
