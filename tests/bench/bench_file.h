/* bench_file: what verifying one given quote costs, everything from bytes. */
#ifndef TESTS_BENCH_BENCH_FILE_H
#define TESTS_BENCH_BENCH_FILE_H

#include <stdio.h>

/* bench_file prints one JSON line, "quote_verify_same_quote": the best of many
 * verifications of the quote in a file, under the root in a DER file or, if
 * that is "intel", Intel's, as of `now`; floor: 10 P-256 verifications, each
 * the best, measured in the same rounds.  Returns 0, or -1 after saying why:
 * the quote does not verify, or a file cannot be read. */
int bench_file(FILE *json, const char *quote, const char *collateral,
    const char *root, const char *now);

#endif
