/* rotate: the commands of cmd_rotate.c that have a file of their own. */
#ifndef KMS_CTL_ROTATE_H
#define KMS_CTL_ROTATE_H

#include "kms/ctl/ctl.h"

enum ctl_exit rotate_certificates(struct ctl *c, const struct args *a);
enum ctl_exit rotate_status(struct ctl *c, const struct args *a);

#endif
