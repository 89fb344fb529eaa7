/* clustertx: transactions that the cluster's account signs and pays for.
 *
 * The anchor and the registry both write with it.  One account has one
 * sequence of nonces: so whoever takes one holds the lock until it is sent,
 * and what is on its way counts even where an endpoint has not heard of it
 * yet.  That is within a process; two nodes of a cluster may still
 * collide, and then one of the two is refused and tries again.
 *
 * Thread-safe. */
#ifndef KMS_GATE_CLUSTERTX_H
#define KMS_GATE_CLUSTERTX_H

#include "common/base/reason.h"
#include "common/crypto/k256.h"

struct clustertx; /* opaque */

struct clustertx_options {
	uint64_t chain_id;
	/* Where transactions go, in this order until one takes it. */
	const char *const *urls; /* copied */
	unsigned n_urls;
	unsigned timeout_ms; /* of one request */
};
/* ERR_CONFIG: no chain id, timeout, or http(s) URL; too many. */
enum err clustertx_new(
    struct clustertx **out, const struct clustertx_options *o);
void clustertx_free(struct clustertx *c); /* NULL is fine */

/* clustertx_send signs and sends a call of `to`, and waits until it is mined
 * (not final), for two minutes at most.
 *
 * ERR_DENIED CONTRACT_OTHER: the contract refuses; ERR_AGAIN: chain not
 * reachable, no gas, too many on their way.  After ERR_AGAIN it may still be
 * mined: read before sending anew.  `why` must not be NULL. */
enum err clustertx_send(struct clustertx *c, const uint8_t to[static 20],
    struct bytes data, const struct k256_secret *account, struct refusal *why);

#endif
