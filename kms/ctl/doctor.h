/* doctor: what is wrong with a cluster, and what to do, in plain words.
 *
 * Pure: from what fleet.h has gathered to a list of findings
 *   {"severity": "error" | "warning", "node": name or "cluster",
 *    "code": a short word, "what": a sentence, "do": what helps}
 * An empty list: nothing is wrong.  Codes are stable; the list is in
 * README.md. */
#ifndef KMS_CTL_DOCTOR_H
#define KMS_CTL_DOCTOR_H

#include "kms/ctl/fleet.h"

/* The caller owns the array. */
json_t *doctor_examine(const json_t *fleet);

/* doctor_print says it all to people: how the cluster is, then each. */
void doctor_print(FILE *out, const json_t *fleet, const json_t *findings);

/* ---- for doctor_node.c, doctor_roots.c, doctor_lease.c, doctor_cluster.c ---- */

struct doctor {
	const json_t *fleet;
	json_t *found; /* owns */
};

/* doctor_say adds a finding; doctor_do says what helps against the last. */
void doctor_say(struct doctor *d, bool error, const char *node,
    const char *code, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));
void doctor_do(struct doctor *d, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
bool doctor_has(const struct doctor *d, const char *node, const char *code);

/* The options by which kmsctl reaches the contracts: "--sim DIR" or with
 * capitals to be filled in.  Borrowed until the next call. */
const char *doctor_where(struct doctor *d, bool anchor, char *out, size_t cap);

/* One node; `n` is its entry in the fleet. */
void doctor_node(struct doctor *d, const json_t *n);
/* Its links; after all nodes were looked at. */
void doctor_links(struct doctor *d, const json_t *n);
/* Whether it checks in on chain; before the rest, which it explains. */
void doctor_lease(struct doctor *d, const json_t *n);
/* What it says of roots and their registry. */
void doctor_roots(struct doctor *d, const json_t *n);
/* What only shows when nodes are compared. */
void doctor_cluster(struct doctor *d);

#endif
