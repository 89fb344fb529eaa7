/* bench_raft: what the protection of the log costs over plain raft. */
#ifndef TESTS_BENCH_BENCH_RAFT_H
#define TESTS_BENCH_BENCH_RAFT_H

#include <stdio.h>

#include "common/base/err.h"

/* bench_raft runs two clusters of three engines in one thread, each node with
 * a store of its own under `dir`, by turns: one as it is, one plain: records
 * are stored as they are, and the hash chain is not computed.  Everything
 * else is the same code.  Lines for 1, 32 and 256 commands a turn. */
enum err bench_raft(FILE *json, const char *dir);

#endif
