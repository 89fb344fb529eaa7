/* lab_app: an app CVM of a simulated cluster. */
#ifndef KMS_CTL_LAB_APP_H
#define KMS_CTL_LAB_APP_H

#include "kms/ctl/lab.h"

struct lab_app_wishes {
	const char *name;
	const char *host; /* a simulated machine; its device is allowed */
	const char *image;
	const char *compose; /* a file to copy, or NULL for a small default */
	bool any_device;
	bool registered; /* false: no contract; the app id is its hash's */
	unsigned boot_deadline_s; /* the agent gives up then */
};

/* lab_app_make makes the folder, deploys and registers the app contract,
 * waits until that is final, and adds the app to `l` and to sim.json. */
enum ctl_exit lab_app_make(struct lab_app **out, const struct ctl *c,
    struct lab *l, const struct lab_app_wishes *w);

#endif
