/* public: what anyone may ask this node, over plain HTTP: dstack's
 * KMS.GetMeta and KMS.GetAppEnvEncryptPubKey (dstack-compat.md 4.1, 4.2).
 *
 *   GET  /health                                       "OK"
 *   GET  /prpc/GetMeta                                 "KMS." may go before
 *   GET  /prpc/GetAppEnvEncryptPubKey?app_id=HEX       the method; POST with
 *   POST /prpc/GetAppEnvEncryptPubKey?json             a JSON body as well
 *
 * A POST that says neither "json" nor that content type is protobuf, as is its
 * reply, errors too (common/wire/kms_public.proto).
 *
 * Nothing secret is here, and nothing that the caller has to believe: the env
 * key is signed by the root, and the root is on chain.  Requests are bounded
 * in size, number at once, and rate; a node that is not in service, or whose
 * loop has not said so for a moment, answers 503. */
#ifndef KMS_SERVICE_PUBLIC_H
#define KMS_SERVICE_PUBLIC_H

#include "kms/service/service.h"

struct public; /* opaque */

/* Requests a second, and at once; /health is not counted. */
#define PUBLIC_RATE 50
#define PUBLIC_BURST 100

/* public_start listens at o->cfg->public_host, which is set.  The options'
 * members are borrowed for the life; all but the cluster are used on threads
 * of the server. */
enum err public_start(struct public **out, const struct service_options *o);
uint16_t public_port(const struct public *p);
/* public_stop: on the loop; no handler runs when it returns, and `done` runs
 * on the loop when public_free may be called. */
void public_stop(struct public *p, void (*done)(void *), void *cookie);
void public_free(struct public *p); /* NULL is fine */

#endif
