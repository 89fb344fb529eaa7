/* lab_run: the programs of a simulated cluster: start, wait, stop.
 *
 * Functions tell the user what went wrong, with the end of the log, and
 * return the command's exit code. */
#ifndef KMS_CTL_LAB_RUN_H
#define KMS_CTL_LAB_RUN_H

#include "kms/ctl/lab.h"

#define LAB_CHAIN "chain" /* names of the two that are no node or app */
#define LAB_PCCS "pccs"
#define LAB_STOP_MS 10000

/* lab_launch starts a program as `name`; fine if it runs already. */
enum ctl_exit lab_launch(const struct ctl *c, const struct lab *l,
    const char *name, const char *const *argv);

/* Each does nothing if it runs already, and returns once it answers. */
enum ctl_exit lab_start_chain(const struct ctl *c, const struct lab *l);
enum ctl_exit lab_start_pccs(const struct ctl *c, const struct lab *l);
enum ctl_exit lab_start_node(
    const struct ctl *c, const struct lab *l, const struct lab_node *n);
/* An agent: CTL_FAILED once a KMS has refused it for a while; it is stopped
 * then, and `reason` (a label, may be empty) is set. */
#define LAB_REASON_MAX 48
enum ctl_exit lab_start_agent(const struct ctl *c, const struct lab *l,
    const struct lab_app *a, char reason[static LAB_REASON_MAX]);

/* lab_deploy puts the contracts on a chain that has none of them. */
enum ctl_exit lab_deploy(const struct ctl *c, const struct lab *l);

/* lab_await_phase waits until a node's phase is `phase`. */
enum ctl_exit lab_await_phase(const struct ctl *c, const struct lab *l,
    const struct lab_node *n, const char *phase, uint64_t limit_ms);

/* lab_stop ends one program by its name; lab_stop_all all of them, agents
 * first and the chain last, and whatever else has a pid file. */
enum ctl_exit lab_stop(
    const struct ctl *c, const struct lab *l, const char *name, int sig);
enum ctl_exit lab_stop_all(const struct ctl *c, const struct lab *l);
bool lab_runs(const struct lab *l, const char *name, pid_t *pid);

#endif
