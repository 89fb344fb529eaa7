/* fleet: what the nodes of one cluster say of themselves, at one moment.
 *
 *   {"lab": DIR or null,
 *    "nodes": [{"name", "admin", "listed", "error" or null,
 *               "status": /status or null}],
 *    "chain": null, or {"point", "signer", "order", "announced", "wait_s",
 *               "seats": [slot], "error"}}
 *
 * Text from nodes is theirs, not ours: readers take numbers and short words
 * by the functions below, and show.h prints nothing but ASCII. */
#ifndef KMS_CTL_FLEET_H
#define KMS_CTL_FLEET_H

#include "kms/ctl/contract.h"

/* fleet_look asks the nodes at these admin addresses, or all nodes of the
 * simulated cluster in one folder.  A node that does not answer is in it
 * all the same.  Else the exit code; the user was told. */
enum ctl_exit fleet_look(json_t **out, const struct ctl *c,
    const char *const where[], unsigned n_where);

/* fleet_chain reads the anchor (k->has_anchor) into fleet["chain"]. */
void fleet_chain(json_t *fleet, const struct contract *k);

/* Members, or "" and 0 and false if they are not there or of another type. */
const char *fleet_str(const json_t *obj, const char *key);
json_int_t fleet_num(const json_t *obj, const char *key);
bool fleet_is(const json_t *obj, const char *key);

/* The /status of the node that leads, or else of the member that knows most,
 * or else of any; NULL if nobody answers. */
const json_t *fleet_best(const json_t *fleet);
/* Whether that one leads. */
bool fleet_leads(const json_t *status);
/* The row about `slot` in a /status; NULL if there is none. */
const json_t *fleet_row(const json_t *status, const char *slot);
/* The /status of the node of this name or slot, or NULL. */
const json_t *fleet_status(const json_t *fleet, const char *slot);

/* fleet_table has one row per node; `findings` are the doctor's. */
json_t *fleet_table(const json_t *fleet, const json_t *findings);

/* "generation.term" as one number: a greater one is newer. */
uint64_t fleet_term(const char *text);

#endif
