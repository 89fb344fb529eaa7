/* cmd_sim: what the commands of simulated clusters share.  Functions have told
 * the user when they fail. */
#ifndef KMS_CTL_CMD_SIM_H
#define KMS_CTL_CMD_SIM_H

#include "kms/ctl/lab_app.h"

/* sim_open loads the folder; `change`: as the only one that changes it.  The
 * caller frees `*out` in any case. */
enum ctl_exit sim_open(
    struct lab **out, const struct ctl *c, const char *dir, bool change);

/* sim_check_name: may something new have this name? */
enum ctl_exit sim_check_name(
    const struct ctl *c, struct lab *l, const char *name);

json_t *sim_address(const uint8_t a[static 20]);

/* sim_start_app starts an agent, waits for its keys, and prints where it is;
 * a refusal has its reason in the answer. */
enum ctl_exit sim_start_app(
    const struct ctl *c, const struct lab *l, const struct lab_app *app);

#endif
