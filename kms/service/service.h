/* service: the request table: who may ask what, in which phase.
 *
 * A request comes from an attested session (node/channel) on the loop
 * thread; role and phase are looked up before its body is used.  What asks
 * the chain or derives keys runs on a worker, and the answer goes out on
 * the loop, with one log line and one count per request. */
#ifndef KMS_SERVICE_SERVICE_H
#define KMS_SERVICE_SERVICE_H

#include "kms/cluster/cluster.h"
#include "kms/cluster/links.h"
#include "kms/gate/registry.h"
#include "kms/service/metrics.h"

struct service; /* opaque */

struct service_options {
	uv_loop_t *loop;
	const struct kmsd_config *cfg; /* all borrowed for the life */
	struct cluster *cluster;
	struct keyring *keyring;
	struct gate *gate;
	struct registry *registry; /* NULL: there is epoch 0 alone */
	struct self *self;
	struct verifier *verifier; /* of what a certificate shall carry */
	struct metrics *metrics;
};

enum err service_new(struct service **out, const struct service_options *o);
/* The server whose requests we answer and whose sessions we watch over; set
 * before the first request.  ERR_NOMEM, ERR_IO. */
enum err service_set_server(struct service *s, struct channel_server *server);

/* Matches channel_server_options.on_request; cookie is the service. */
void service_on_request(
    void *cookie, const struct channel_caller *who, struct bytes request);
/* Matches channel_server_options.on_close, with the same cookie. */
void service_on_close(void *cookie, uint64_t conn);

/* service_stop turns new requests away; `done` runs on the loop when none is
 * under way on a worker.  service_free comes after it. */
void service_stop(struct service *s, void (*done)(void *), void *cookie);
void service_free(struct service *s); /* NULL is fine */

#endif
