/* cmd_council: what `kmsctl rotate` has in common with `kmsctl council`. */
#ifndef KMS_CTL_CMD_COUNCIL_H
#define KMS_CTL_CMD_COUNCIL_H

#include "kms/ctl/ctl.h"

/* For the proposal a->pos[0], or the only one that it can be done to. */
enum ctl_exit cmd_council_vote(struct ctl *c, const struct args *a);
enum ctl_exit cmd_council_execute(struct ctl *c, const struct args *a);

#endif
