/* attack: what a host can do to the disks and the processes of a cluster,
 * done to a simulated one.
 *
 * The processes, their LMDB folders and the chain are real; only the platform
 * is simulated.  Each attack begins with a cluster that is ready, tries to
 * have a key or a counter that the cluster has left behind, and ends with the
 * same cluster, ready. */
#ifndef KMS_CTL_ATTACK_H
#define KMS_CTL_ATTACK_H

#include "kms/ctl/lab.h"

#define ATTACK_NODES 3 /* the lab's; the attacks count on a quorum of two */

struct attack; /* attack_int.h */

struct attack_case {
	const char *name;
	const char *summary;
	const char *tests; /* of raft-nng-rollback.md 6 */
	/* false: it has said why (attack_broke, attack_won). */
	bool (*run)(struct attack *a);
};
/* An entry without name ends it. */
extern const struct attack_case attack_cases[];

/* attack_run runs the attack `name`, or "all", narrates it, and answers with
 * one row an attack.  CTL_OK only if every one was refused. */
enum ctl_exit attack_run(const struct ctl *c, struct lab *l, const char *name);
enum ctl_exit attack_list(const struct ctl *c);

#endif
