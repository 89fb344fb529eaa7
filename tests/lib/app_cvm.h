/* app_cvm: a CVM of an app, as a test's program needs it.
 *
 * It is booted on a simulated platform, with the events that an agent
 * measures, from the configuration of an app that a simulated cluster
 * (kmsctl sim) knows.  The app's own agent runs as well: this is another
 * instance. */
#ifndef TESTS_LIB_APP_CVM_H
#define TESTS_LIB_APP_CVM_H

#include "common/base/reason.h"
#include "node/agent/config.h"
#include "node/agent/identity.h"
#include "node/agent/kms_client.h"

struct app_cvm {
	struct agent_config config;
	struct app_identity identity; /* owns, as all below */
	struct verifier *verifier;
	struct tee *tee;
	struct kms_link *link;
	/* The attested channel to a node of config.kms_url.  Any thread may
	 * use it; a connection is one thread's at a time. */
	struct kms_transport transport; /* borrows */
};

/* app_cvm_boot reads dir/apps/APP/agent.yaml and boots; the CVM's own files
 * are in dir/NAME.  The caller app_cvm_free()s it. */
enum err app_cvm_boot(struct app_cvm **out, const char *dir, const char *app,
    const char *name, struct refusal *why);
void app_cvm_free(struct app_cvm *c); /* NULL is fine */

#endif
