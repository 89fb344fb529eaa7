/* lab_recover: the operators' part in a cold start of a simulated cluster.
 *
 * When no quorum of live nodes is left, nobody serves until the operators
 * name a node on chain (raft-nng-rollback.md, P6).  In the lab they trust
 * their own disks: the node with the newest log is named once all listed
 * nodes are there.  A member of the lost cluster that still runs gives way to
 * that order (up to demote_ms, 30 s, after it was confirmed last); if its
 * disk is newer then, it is named. */
#ifndef KMS_CTL_LAB_RECOVER_H
#define KMS_CTL_LAB_RECOVER_H

#include "kms/ctl/lab.h"

/* lab_await_ready waits until `only`, or every listed node, is ready.  If all
 * listed nodes are up and none of them finds a leader, it names one.
 * ERR: CTL_FAILED with what they are waiting for. */
enum ctl_exit lab_await_ready(
    const struct ctl *c, const struct lab *l, const struct lab_node *only);

#endif
