/* appname: an app by address, or by its name in a simulated cluster. */
#ifndef KMS_CTL_APPNAME_H
#define KMS_CTL_APPNAME_H

#include "kms/ctl/ctl.h"

/* appname_resolve reads `text`; names are those of --sim DIR.  On failure it
 * has told the user. */
enum ctl_exit appname_resolve(uint8_t out[static 20], const struct ctl *c,
    const struct args *a, const char *text);

#endif
