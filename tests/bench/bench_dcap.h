/* bench_dcap: what a quote verification costs, against its P-256 floor. */
#ifndef TESTS_BENCH_BENCH_DCAP_H
#define TESTS_BENCH_BENCH_DCAP_H

#include <stdio.h>

/* Prints one JSON line per measurement:
 *   {"name","value","unit":"us","floor","ratio"}, bench_line.h
 * quote_verify_cold      everything from bytes; floor: 10 verifications
 * quote_verify_warm      bundle and PCK chain cached; floor: 2
 * quote_verify_warm_qe   the QE report too; floor: 1
 * The floor is the best of many single verifications with a key that is
 * ready, measured in the same rounds; values are the best as well.
 * Returns 0, or -1 if nothing could be measured. */
int bench_dcap(FILE *json);

#endif
