/* lab_up: from files to a cluster that releases keys. */
#ifndef KMS_CTL_LAB_UP_H
#define KMS_CTL_LAB_UP_H

#include "kms/ctl/lab.h"

/* lab_up starts what does not run: chain, contracts, PCCS, nodes; has the
 * listed nodes allowed by the contract and seated at the anchor, publishes
 * the first roots, and waits until all listed nodes are ready.  On a running
 * cluster it only looks. */
enum ctl_exit lab_up(const struct ctl *c, const struct lab *l);

#endif
