/* bench_gate: what a decision of the gate costs in mode proof. */
#ifndef TESTS_BENCH_BENCH_GATE_H
#define TESTS_BENCH_BENCH_GATE_H

#include <stdio.h>

#include "common/base/reason.h"

/* Prints one JSON line per measurement, processor time of one thread in us, of
 * the app "bench" of the simulated cluster in `dir`:
 *   gate_proofs_verify     the JSON of what one decision needs, parsed and
 *                          verified: all that follows the network
 *   gate_decide_slots      the decision, once that is known, from slots
 *   gate_decide_executed   and by executing the contracts
 *   gate_decision_block    all of a block's first decision, requests included
 *   gate_decision_cached   the same question again at the same block */
enum err bench_gate(FILE *json, const char *dir, struct refusal *why);

#endif
