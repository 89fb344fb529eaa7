/* admin: the node's HTTP listener for operators: /status, /genesis,
 * /metrics, /audit?from=N, /healthz, /readyz.
 *
 * The loop publishes rendered pages; handler threads only copy them, so a
 * slow reader never touches the node's state.  Nothing secret is on it.  A
 * page that was not renewed for 5 s is not shown (503): a VM that was frozen
 * must not tell what it knew before. */
#ifndef KMS_SERVICE_ADMIN_H
#define KMS_SERVICE_ADMIN_H

#include "kms/service/service.h"

struct admin; /* opaque */

struct admin_options {
	uv_loop_t *loop;
	const struct kmsd_config *cfg; /* all borrowed for the life */
	struct cluster *cluster;
	struct gate *gate;
	struct chainview *view;
	struct self *self;
	struct channel_server *server;
	struct metrics *metrics;
	struct verifier *verifier;
	struct bytes simulated_root; /* DER, or empty */
};

/* admin_start listens and renders once a second, on the loop and (for what
 * asks the chain or the platform) on a worker. */
enum err admin_start(struct admin **out, const struct admin_options *o);
uint16_t admin_port(const struct admin *a);
/* admin_over takes the pages down: what they say has ended. */
void admin_over(struct admin *a);
/* admin_stop: `done` runs on the loop when nothing is under way. */
void admin_stop(struct admin *a, void (*done)(void *), void *cookie);
void admin_free(struct admin *a); /* NULL is fine */

#endif
