/* bench_counter: compare-and-increment on a cluster, from app CVMs. */
#ifndef TESTS_BENCH_BENCH_COUNTER_H
#define TESTS_BENCH_BENCH_COUNTER_H

#include <stdio.h>

#include "common/base/reason.h"

/* bench_counter measures the cluster in `dir` (its app "bench"): each client
 * has a session with the leader and a counter of its own.  Prints a line for
 * 1, 32 and 256 clients. */
enum err bench_counter(FILE *json, const char *dir, struct refusal *why);

/* bench_failover kills the leader `kills` times, with SIGKILL, and measures
 * the time to the next acknowledged increment, for a client that has a
 * session with another node; then `replaced` times any node, started again
 * at once by `kmsctl`, until it is a voter. */
enum err bench_failover(FILE *json, const char *dir, const char *kmsctl,
    unsigned kills, unsigned replaced, struct refusal *why);

#endif
