/* bench_etcd: compare-and-increment on etcd, as its own clients do it. */
#ifndef TESTS_BENCH_BENCH_ETCD_H
#define TESTS_BENCH_BENCH_ETCD_H

#include <stdio.h>

#include "common/base/err.h"

/* bench_etcd measures the member at `url` (http://127.0.0.1:PORT): each client has
 * a connection and a key of its own, and replaces its value by the next one
 * if it is what the client expects.  A line for 1, 32 and 256 clients. */
enum err bench_etcd(FILE *json, const char *url);

#endif
